// SPDX-License-Identifier: Apache-2.0
// TextEncoder, TextDecoder, atob, btoa, and Buffer: the part of Node's that turns bytes into text and back.

function asBytes(value, name = "data") {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw argumentError(name, "of type string or an instance of Buffer, TypedArray, or DataView", value);
}

const encodeText = (text) => native.bytes(text.toWellFormed());

class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return encodeText(`${text}`); }
  encodeInto(text, target) {
    let read = 0, written = 0;
    for (const c of `${text}`.toWellFormed()) {
      const bytes = native.bytes(c);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += c.length;
    }
    return { read, written };
  }
}

const LABELS = {
  "utf-8": "utf-8", utf8: "utf-8", "unicode-1-1-utf-8": "utf-8", "utf-16le": "utf-16le", "utf-16": "utf-16le", "ucs-2": "utf-16le",
  latin1: "windows-1252", "iso-8859-1": "windows-1252", ascii: "windows-1252", "us-ascii": "windows-1252", "windows-1252": "windows-1252",
};
const WINDOWS_1252 = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

class TextDecoder {
  #encoding; #fatal; #keep; #rest = new Uint8Array(0); #begun = false;
  constructor(label = "utf-8", options = {}) {
    const key = `${label}`.trim().toLowerCase();
    if (!Object.hasOwn(LABELS, key)) throw coded(new RangeError(`The "${label}" encoding is not supported`), "ERR_ENCODING_NOT_SUPPORTED");
    this.#encoding = LABELS[key];
    this.#fatal = !!options.fatal;
    this.#keep = !!options.ignoreBOM;
  }
  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#keep; }
  decode(input, options) {
    let bytes = input === undefined ? new Uint8Array(0) : asBytes(input, "input");
    if (this.#rest.length > 0) {
      const joined = new Uint8Array(this.#rest.length + bytes.length);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.length);
      bytes = joined;
      this.#rest = new Uint8Array(0);
    }
    if (options?.stream) {
      const whole = bytes.length - unfinished(bytes, this.#encoding);
      this.#rest = bytes.slice(whole);
      bytes = bytes.subarray(0, whole);
    }
    let text = this.#text(bytes);
    if (text.length > 0 && !this.#begun && !this.#keep && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    this.#begun = !!options?.stream && (this.#begun || bytes.length > 0);
    return text;
  }
  #text(bytes) {
    if (this.#encoding === "utf-8") {
      const text = native.utf8(bytes, this.#fatal);
      if (text === null) throw coded(new TypeError("The encoded data was not valid for encoding utf-8"), "ERR_ENCODING_INVALID_ENCODED_DATA");
      return text;
    }
    if (this.#encoding === "utf-16le") {
      const text = utf16Text(bytes) + (bytes.length % 2 ? "\ufffd" : "");
      if (this.#fatal && (!text.isWellFormed() || bytes.length % 2)) throw coded(new TypeError("The encoded data was not valid for encoding utf-16le"), "ERR_ENCODING_INVALID_ENCODED_DATA");
      return text.toWellFormed();
    }
    return latin1Text(bytes).replace(/[\x80-\x9f]/g, (c) => WINDOWS_1252[c.charCodeAt(0) - 0x80]);
  }
}

// How many bytes at the end begin a character that is not complete.
function unfinished(bytes, encoding) {
  if (encoding === "utf-16le") return bytes.length % 2;
  if (encoding !== "utf-8") return 0;
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const b = bytes[bytes.length - back];
    if (b >= 0x80 && b < 0xc0) continue;
    const need = b >= 0xf0 && b < 0xf5 ? 4 : b >= 0xe0 ? 3 : b >= 0xc2 ? 2 : 1;
    return b < 0xf5 && need > back && native.utf8(bytes.subarray(bytes.length - back), false).length === 1 ? back : 0;
  }
  return 0;
}

function latin1Text(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode.apply(null, bytes.subarray(i, i + 8192));
  return text;
}

function utf16Text(bytes) {
  let text = "";
  for (let i = 0; i + 1 < bytes.length; i += 8192) {
    const units = [];
    for (let j = i; j + 1 < bytes.length && j < i + 8192; j += 2) units.push(bytes[j] | bytes[j + 1] << 8);
    text += String.fromCharCode.apply(null, units);
  }
  return text;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
function base64Text(bytes, url = false) {
  const letters = url ? `${BASE64.slice(0, 62)}-_` : BASE64, out = [];
  let i = 0;
  for (; i + 2 < bytes.length; i += 3) {
    const n = bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2];
    out.push(letters[n >> 18] + letters[n >> 12 & 63] + letters[n >> 6 & 63] + letters[n & 63]);
  }
  const left = bytes.length - i, n = bytes[i] << 16 | bytes[i + 1] << 8;
  if (left > 0) out.push(letters[n >> 18] + letters[n >> 12 & 63] + (left === 2 ? letters[n >> 6 & 63] : url ? "" : "=") + (url ? "" : "="));
  return out.join("");
}

const BASE64_VALUE = new Int8Array(128).fill(-1);
for (let i = 0; i < 64; i++) BASE64_VALUE[BASE64.charCodeAt(i)] = i;
BASE64_VALUE["-".charCodeAt(0)] = 62;
BASE64_VALUE["_".charCodeAt(0)] = 63;

function base64Bytes(text) {
  const out = new Uint8Array(Math.floor(text.length * 3 / 4) + 3);
  let bits = 0, have = 0, n = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 61) break;
    const v = c < 128 ? BASE64_VALUE[c] : -1;
    if (v < 0) continue;
    bits = (bits << 6 | v) & 0xffffff;
    have += 6;
    if (have >= 8) out[n++] = bits >> (have -= 8) & 255;
  }
  return out.slice(0, n);
}

function domError(message, name) { return new DOMException(message, name); }

define(globals, {
  TextEncoder, TextDecoder,
  btoa(text) {
    text = `${text}`;
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) {
      if (text.charCodeAt(i) > 255) throw domError("Invalid character", "InvalidCharacterError");
      bytes[i] = text.charCodeAt(i);
    }
    return base64Text(bytes);
  },
  atob(text) {
    text = `${text}`.replace(/[\t\n\f\r ]/g, "");
    if (text.length % 4 === 0) text = text.replace(/==?$/, "");
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw domError("The string to be decoded is not correctly encoded.", "InvalidCharacterError");
    return latin1Text(base64Bytes(text));
  },
});
builtins.util.TextEncoder = TextEncoder;
builtins.util.TextDecoder = TextDecoder;

// ---- Buffer ----

function encodingName(encoding = "utf8") {
  const e = `${encoding}`.toLowerCase();
  const known = { utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url", latin1: "latin1", binary: "latin1",
    ascii: "ascii", utf16le: "utf16le", "utf-16le": "utf16le", ucs2: "utf16le", "ucs-2": "utf16le" };
  if (!Object.hasOwn(known, e)) throw coded(new TypeError(`Unknown encoding: ${encoding}`), "ERR_UNKNOWN_ENCODING");
  return known[e];
}

function textBytes(text, encoding) {
  switch (encodingName(encoding)) {
  case "utf8": return encodeText(text);
  case "hex": {
    const pairs = /^(?:[0-9a-f]{2})*/i.exec(text)[0], out = new Uint8Array(pairs.length / 2);
    for (let i = 0; i < out.length; i++) out[i] = parseInt(pairs.slice(2 * i, 2 * i + 2), 16);
    return out;
  }
  case "base64": case "base64url": return base64Bytes(text);
  case "utf16le": return Uint8Array.from({ length: text.length * 2 }, (_, i) => text.charCodeAt(i >> 1) >> (i & 1 ? 8 : 0) & 255);
  default: return Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i) & 255);
  }
}

class Buffer extends Uint8Array {
  static from(value, encoding, length) {
    if (typeof value === "string") return toBuffer(textBytes(value, encoding));
    if (value instanceof ArrayBuffer) return new Buffer(value, encoding, length);
    if (ArrayBuffer.isView(value) || Array.isArray(value)) return toBuffer(Uint8Array.from(value));
    if (value !== null && typeof value === "object" && value.type === "Buffer" && Array.isArray(value.data)) return toBuffer(Uint8Array.from(value.data));
    throw argumentError("first argument", "of type string or an instance of Buffer, ArrayBuffer, or Array or an Array-like Object", value);
  }
  static alloc(size, fill, encoding) {
    const b = new Buffer(size);
    return fill === undefined ? b : b.fill(fill, 0, size, encoding);
  }
  static allocUnsafe(size) { return new Buffer(size); }
  static concat(list, total = list.reduce((n, b) => n + b.length, 0)) {
    const out = new Buffer(total);
    let at = 0;
    for (const b of list) {
      const part = b.length > total - at ? b.subarray(0, total - at) : b;
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
  static isBuffer(value) { return value instanceof Buffer; }
  static isEncoding(name) { try { encodingName(name); return typeof name === "string"; } catch { return false; } }
  static byteLength(value, encoding) { return typeof value === "string" ? textBytes(value, encoding).length : value.byteLength; }
  static compare(a, b) {
    const n = Math.min(a.length, b.length);
    for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
    return Math.sign(a.length - b.length);
  }
  static get [Symbol.species]() { return Buffer; }
  toString(encoding, start = 0, end = this.length) {
    const bytes = start === 0 && end >= this.length ? this : this.subarray(start, end);
    switch (encodingName(encoding)) {
    case "utf8": return native.utf8(bytes, false);
    case "hex": { let out = ""; for (const b of bytes) out += (b < 16 ? "0" : "") + b.toString(16); return out; }
    case "base64": return base64Text(bytes);
    case "base64url": return base64Text(bytes, true);
    case "latin1": return latin1Text(bytes);
    case "utf16le": return utf16Text(bytes);
    default: return latin1Text(bytes.map((b) => b & 127));
    }
  }
  toJSON() { return { type: "Buffer", data: Array.from(this) }; }
  equals(other) { return Buffer.compare(this, other) === 0; }
  compare(other) { return Buffer.compare(this, other); }
  slice(start, end) { return this.subarray(start, end); }
  write(text, offset = 0, length = this.length - offset, encoding) {
    if (typeof offset === "string") [encoding, offset, length] = [offset, 0, this.length];
    const bytes = textBytes(text, encoding).subarray(0, Math.min(length, this.length - offset));
    this.set(bytes, offset);
    return bytes.length;
  }
  copy(target, at = 0, start = 0, end = this.length) {
    const part = this.subarray(start, Math.min(end, start + Math.max(0, target.length - at)));
    target.set(part, at);
    return part.length;
  }
  fill(value, start = 0, end = this.length, encoding) {
    if (typeof start === "string") [encoding, start] = [start, 0];
    if (typeof value === "number") return super.fill(value, start, end);
    const bytes = typeof value === "string" ? textBytes(value, encoding) : value;
    for (let i = start, j = 0; i < end; i++, j++) this[i] = bytes.length > 0 ? bytes[j % bytes.length] : 0;
    return this;
  }
  indexOf(value, from = 0, encoding) {
    if (typeof value === "number") return super.indexOf(value, from);
    const bytes = typeof value === "string" ? textBytes(value, encoding) : value;
    for (let i = from < 0 ? Math.max(0, this.length + from) : from; i + bytes.length <= this.length; i++) {
      let j = 0;
      while (j < bytes.length && this[i + j] === bytes[j]) j++;
      if (j === bytes.length) return i;
    }
    return -1;
  }
  includes(value, from, encoding) { return this.indexOf(value, from, encoding) >= 0; }
  [customInspect]() {
    const shown = Array.from(this.subarray(0, 50), (b) => b.toString(16).padStart(2, "0")).join(" "), more = this.length - 50;
    return `<Buffer${shown ? " " : ""}${shown}${more > 0 ? ` ... ${more} more byte${more > 1 ? "s" : ""}` : ""}>`;
  }
}
for (const [kind, method, size] of [["UInt8", "Uint8", 1], ["Int8", "Int8", 1], ["UInt16", "Uint16", 2], ["Int16", "Int16", 2], ["UInt32", "Uint32", 4],
  ["Int32", "Int32", 4], ["Float", "Float32", 4], ["Double", "Float64", 8], ["BigInt64", "BigInt64", 8], ["BigUInt64", "BigUint64", 8]])
  for (const end of size === 1 ? [""] : ["LE", "BE"]) {
    const view = (b) => new DataView(b.buffer, b.byteOffset, b.byteLength);
    define(Buffer.prototype, {
      [`read${kind}${end}`](at = 0) { return view(this)[`get${method}`](at, end === "LE"); },
      [`write${kind}${end}`](value, at = 0) { view(this)[`set${method}`](at, value, end === "LE"); return at + size; },
    });
  }

function toBuffer(bytes) { return new Buffer(bytes.buffer, bytes.byteOffset, bytes.length); }
define(globals, { Buffer });
builtins.buffer = { Buffer, atob: globals.atob, btoa: globals.btoa };
