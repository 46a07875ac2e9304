// SPDX-License-Identifier: Apache-2.0
// URL and URLSearchParams (URL Standard). Hosts are ASCII: a name with other letters is refused, because turning it into punycode needs
// tables that are not here, and a wrong answer would be a wrong destination.

const SPECIAL = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21", "file:": "" };
const isSpecial = (protocol) => Object.hasOwn(SPECIAL, protocol);

function invalidUrl(input, base) {
  return coded(new TypeError("Invalid URL"), "ERR_INVALID_URL", base === undefined ? { input } : { input, base });
}

function percentEncode(text, pattern) {
  return text.toWellFormed().replace(pattern, (c) => Array.from(encodeText(c), (b) => `%${b.toString(16).toUpperCase().padStart(2, "0")}`).join(""));
}
// The percent-encode sets; each takes what is beyond ASCII too.
const SET_C0 = /[^\x20-\x7e]/gu, SET_FRAGMENT = /[^\x21\x23-\x3b\x3d\x3f-\x5f\x61-\x7e]/gu, SET_QUERY = /[^\x21\x24-\x3b\x3d\x3f-\x7e]/gu,
  SET_SPECIAL_QUERY = /[^\x21\x24-\x26\x28-\x3b\x3d\x3f-\x7e]/gu, SET_PATH = /[^\x21\x24-\x3b\x3d\x40-\x5d\x5f\x61-\x7a\x7c\x7e]/gu,
  SET_USER = /[^\x21\x24-\x2e\x30-\x39\x41-\x5a\x5f\x61-\x7a\x7e]/gu;

function percentDecode(text) {
  const bytes = encodeText(text), out = [];
  for (let i = 0; i < bytes.length; i++) {
    const hex = bytes[i] === 37 ? String.fromCharCode(bytes[i + 1], bytes[i + 2]) : "";
    if (/^[0-9a-f]{2}$/i.test(hex)) { out.push(parseInt(hex, 16)); i += 2; }
    else out.push(bytes[i]);
  }
  return Uint8Array.from(out);
}

// An IPv4 address as the standard reads it (hex, octal, fewer parts); null when it is a name, undefined when it is wrong.
function parseIPv4(host) {
  const parts = host.split(".");
  if (parts.at(-1) === "" && parts.length > 1) parts.pop();
  if (!/^(0x[0-9a-f]*|[0-9]+)$/i.test(parts.at(-1))) return null;
  if (parts.length > 4) return undefined;
  const numbers = [];
  for (const p of parts) {
    const [digits, radix] = /^0x/i.test(p) ? [p.slice(2), 16] : p.length > 1 && p[0] === "0" ? [p.slice(1), 8] : [p, 10];
    if (p === "" || !(radix === 16 ? /^[0-9a-f]*$/i : radix === 8 ? /^[0-7]*$/ : /^[0-9]+$/).test(digits)) return undefined;
    numbers.push(digits === "" ? 0 : parseInt(digits, radix));
  }
  const last = numbers.pop();
  if (numbers.some((n) => n > 255) || last >= 256 ** (4 - numbers.length)) return undefined;
  let address = last;
  numbers.forEach((n, i) => { address += n * 256 ** (3 - i); });
  return [24, 16, 8, 0].map((s) => Math.floor(address / 2 ** s) % 256).join(".");
}

function parseIPv6(text) {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const read = (half, last) => {
    if (half === "") return [];
    const out = [], parts = half.split(":");
    for (let i = 0; i < parts.length; i++) {
      if (last && i === parts.length - 1 && parts[i].includes(".")) {
        const v4 = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(parts[i])?.slice(1).map(Number);
        if (!v4 || v4.some((n) => n > 255)) return undefined;
        out.push(v4[0] * 256 + v4[1], v4[2] * 256 + v4[3]);
      } else if (/^[0-9a-f]{1,4}$/i.test(parts[i])) out.push(parseInt(parts[i], 16));
      else return undefined;
    }
    return out;
  };
  const head = read(halves[0], halves.length === 1), tail = halves.length === 2 ? read(halves[1], true) : [];
  if (!head || !tail) return undefined;
  const gap = 8 - head.length - tail.length;
  if (halves.length === 2 ? gap < 1 : gap !== 0) return undefined;
  const pieces = [...head, ...new Array(halves.length === 2 ? gap : 0).fill(0), ...tail];
  let best = -1, length = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && pieces[j] === 0) j++;
    if (j - i > length) [best, length] = [i, j - i];
  }
  const hex = (list) => list.map((n) => n.toString(16)).join(":");
  return best < 0 ? hex(pieces) : `${hex(pieces.slice(0, best))}::${hex(pieces.slice(best + length))}`;
}

// The host, canonical; undefined when it is none.
function parseHost(text, special) {
  if (text.startsWith("[")) {
    const inner = text.endsWith("]") ? parseIPv6(text.slice(1, -1)) : undefined;
    return inner === undefined ? undefined : `[${inner}]`;
  }
  if (!special) return /[\0\t\n\r #/:<>?@[\\\]^|]/.test(text) ? undefined : percentEncode(text, SET_C0);
  const name = native.utf8(percentDecode(text), false).toLowerCase();
  if (name === "" || /[^\x21-\x7e]|[%#/:<>?@[\\\]^|]/.test(name)) return undefined;
  const v4 = parseIPv4(name);
  return v4 === null ? name : v4;
}

function parsePath(text, special, file, start) {
  const out = start.slice();
  const parts = special ? text.split(/[/\\]/) : text.split("/");
  parts.forEach((part, i) => {
    const last = i === parts.length - 1, dots = part.replace(/%2e/gi, ".");
    if (dots === "..") {
      if (!(file && out.length === 1 && /^[a-z]:$/i.test(out[0]))) out.pop();
      if (last) out.push("");
    } else if (dots === ".") {
      if (last) out.push("");
    } else out.push(percentEncode(part, SET_PATH));
  });
  return out;
}

function setAuthority(u, text, special) {
  const at = text.lastIndexOf("@");
  if (at >= 0) {
    const [user, ...word] = text.slice(0, at).split(":");
    u.username = percentEncode(user, SET_USER);
    u.password = percentEncode(word.join(":"), SET_USER);
    text = text.slice(at + 1);
    if (text === "") return false;
  }
  const [, host, port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(text) ?? [];
  if (host === undefined || (host === "" && (special || port !== undefined || at >= 0))) return false;
  if (!setPort(u, port ?? "")) return false;
  u.host = host === "" ? "" : parseHost(host, special);
  return u.host !== undefined;
}

function setPort(u, port) {
  if (!/^[0-9]*$/.test(port) || Number(port) > 65535) return false;
  u.port = port === "" || String(Number(port)) === SPECIAL[u.protocol] ? "" : String(Number(port));
  return true;
}

const emptyUrl = () => ({ protocol: "", username: "", password: "", host: null, port: "", path: [], opaque: null, query: null, fragment: null });

// The record of a URL, or null. `base` is a record.
function parseUrl(input, base) {
  let text = input.replace(/^[\x00-\x20]+|[\x00-\x20]+$/g, "").replace(/[\t\n\r]/g, "");
  const u = emptyUrl();
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text);
  const hash = text.indexOf("#");
  if (hash >= 0) {
    u.fragment = percentEncode(text.slice(hash + 1), SET_FRAGMENT);
    text = text.slice(0, hash);
  }
  let relative = false;
  if (scheme !== null && text.startsWith(scheme[0])) {
    u.protocol = scheme[0].toLowerCase();
    text = text.slice(scheme[0].length);
    relative = isSpecial(u.protocol) && base?.protocol === u.protocol && !/^[/\\]/.test(text) && (u.protocol !== "file:" || true);
    if (!relative && !isSpecial(u.protocol) && !text.startsWith("/")) return opaqueUrl(u, text);
  } else {
    if (!base || (base.opaque !== null && (text !== "" || hash < 0))) return null;
    u.protocol = base.protocol;
    relative = true;
    if (base.opaque !== null) return { ...base, fragment: u.fragment };
  }
  const special = isSpecial(u.protocol), mark = text.indexOf("?");
  if (mark >= 0) {
    u.query = percentEncode(text.slice(mark + 1), special ? SET_SPECIAL_QUERY : SET_QUERY);
    text = text.slice(0, mark);
  }
  return fillUrl(u, special ? text.replaceAll("\\", "/") : text, relative ? base : null, special, mark >= 0, base);
}

function opaqueUrl(u, text) {
  const mark = text.indexOf("?");
  if (mark >= 0) {
    u.query = percentEncode(text.slice(mark + 1), SET_QUERY);
    text = text.slice(0, mark);
  }
  u.opaque = percentEncode(text, SET_C0);
  return u;
}

function fillUrl(u, text, relative, special, hasQuery, base) {
  const file = u.protocol === "file:";
  if (text.startsWith("//") || (special && !file && relative === null)) {
    text = text.replace(special && !file ? /^\/*/ : /^\/\//, "");
    const end = text.indexOf("/"), authority = end < 0 ? text : text.slice(0, end);
    if (file) {
      u.host = authority === "" || authority === "localhost" ? "" : parseHost(authority, true);
      if (u.host === undefined) return null;
    } else if (!setAuthority(u, authority, special)) return null;
    u.path = end < 0 ? (special ? [""] : []) : parsePath(text.slice(end + 1), special, file, []);
    return u;
  }
  const from = relative ?? (file && base?.protocol === "file:" ? base : null);
  if (from !== null) Object.assign(u, { username: from.username, password: from.password, host: from.host, port: from.port });
  else if (file) u.host = "";
  if (text.startsWith("/")) u.path = parsePath(text.slice(1), special, file, []);
  else if (text === "") {
    u.path = from?.path ?? (special ? [""] : []);
    if (!hasQuery) u.query = from?.query ?? null;
  } else u.path = parsePath(text, special, file, from?.path.slice(0, -1) ?? []);
  return u;
}

const pathnameOf = (u) => u.opaque !== null ? u.opaque : u.path.length > 0 ? `/${u.path.join("/")}` : "";
const hostOf = (u) => `${u.host ?? ""}${u.port !== "" ? `:${u.port}` : ""}`;

function hrefOf(u, withFragment = true) {
  let out = u.protocol;
  if (u.host !== null) {
    out += "//";
    if (u.username !== "" || u.password !== "") out += `${u.username}${u.password !== "" ? `:${u.password}` : ""}@`;
    out += hostOf(u);
  } else if (u.opaque === null && u.path.length > 1 && u.path[0] === "") out += "/.";
  out += pathnameOf(u);
  if (u.query !== null) out += `?${u.query}`;
  if (withFragment && u.fragment !== null) out += `#${u.fragment}`;
  return out;
}

class URLSearchParams {
  #list = [];
  #url = null;
  constructor(init = "") {
    if (typeof init === "object" || typeof init === "function") {
      if (init === null) init = "null";
      else if (typeof init[Symbol.iterator] === "function") {
        for (const pair of init) {
          const [name, value, ...rest] = pair;
          if (value === undefined || rest.length > 0) throw coded(new TypeError("Each query pair must be an iterable [name, value] tuple"), "ERR_INVALID_TUPLE");
          this.#list.push([`${name}`.toWellFormed(), `${value}`.toWellFormed()]);
        }
        return;
      } else {
        for (const name of Object.keys(init)) this.#list.push([name.toWellFormed(), `${init[name]}`.toWellFormed()]);
        return;
      }
    }
    this.#parse(`${init}`.replace(/^\?/, ""));
  }
  static of(url, query) { // taken away below, as are the other two
    const params = new URLSearchParams(query);
    params.#url = url;
    return params;
  }
  static reset(params, query) { params.#list = []; params.#parse(query); }
  #parse(text) {
    for (const part of text.split("&")) {
      if (part === "") continue;
      const i = part.indexOf("="), decode = (s) => native.utf8(percentDecode(s.replaceAll("+", " ")), false);
      this.#list.push(i < 0 ? [decode(part), ""] : [decode(part.slice(0, i)), decode(part.slice(i + 1))]);
    }
  }
  #changed() { if (this.#url !== null) urlSetQuery(this.#url, this.toString()); }
  append(name, value) { this.#list.push([`${name}`, `${value}`]); this.#changed(); }
  delete(name, value) {
    this.#list = this.#list.filter(([n, v]) => n !== `${name}` || (value !== undefined && v !== `${value}`));
    this.#changed();
  }
  get(name) { return this.#list.find(([n]) => n === `${name}`)?.[1] ?? null; }
  getAll(name) { return this.#list.filter(([n]) => n === `${name}`).map(([, v]) => v); }
  has(name, value) { return this.#list.some(([n, v]) => n === `${name}` && (value === undefined || v === `${value}`)); }
  set(name, value) {
    const i = this.#list.findIndex(([n]) => n === `${name}`);
    if (i < 0) this.#list.push([`${name}`, `${value}`]);
    else {
      this.#list[i][1] = `${value}`;
      this.#list = this.#list.filter(([n], j) => j <= i || n !== `${name}`);
    }
    this.#changed();
  }
  sort() { this.#list.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0); this.#changed(); }
  get size() { return this.#list.length; }
  forEach(callback, that) { for (const [n, v] of this.#list) apply(callback, that, [v, n, this]); }
  *entries() { for (const [n, v] of this.#list) yield [n, v]; }
  *keys() { for (const [n] of this.#list) yield n; }
  *values() { for (const [, v] of this.#list) yield v; }
  [Symbol.iterator]() { return this.entries(); }
  toString() {
    const encode = (s) => percentEncode(s, /[^\x20*\x2d.0-9A-Z_a-z]/gu).replaceAll(" ", "+");
    return this.#list.map(([n, v]) => `${encode(n)}=${encode(v)}`).join("&");
  }
  get [Symbol.toStringTag]() { return "URLSearchParams"; }
  [customInspect]() {
    return this.#list.length === 0 ? "URLSearchParams {}" : `URLSearchParams { ${this.#list.map(([n, v]) => `${quoteString(n)} => ${quoteString(v)}`).join(", ")} }`;
  }
}

const paramsOf = URLSearchParams.of, paramsReset = URLSearchParams.reset;
delete URLSearchParams.of;
delete URLSearchParams.reset;

class URL {
  #u; #params;
  constructor(input, base) {
    let from;
    if (base !== undefined) {
      from = base instanceof URL ? base.#u : parseUrl(`${base}`);
      if (from === null) throw invalidUrl(`${input}`, `${base}`);
    }
    this.#u = parseUrl(`${input}`.toWellFormed(), from);
    if (this.#u === null) throw invalidUrl(`${input}`, base === undefined ? undefined : `${base}`);
    this.#params = paramsOf(this, this.#u.query ?? "");
  }
  static canParse(input, base) { try { new URL(input, base); return true; } catch { return false; } }
  static parse(input, base) { try { return new URL(input, base); } catch { return null; } }
  static query(url, text) { url.#u.query = text === "" ? null : text; }
  get href() { return hrefOf(this.#u); }
  set href(v) {
    const u = parseUrl(`${v}`);
    if (u === null) throw invalidUrl(`${v}`);
    this.#u = u;
    paramsReset(this.#params, u.query ?? "");
  }
  get origin() { return isSpecial(this.#u.protocol) && this.#u.protocol !== "file:" ? `${this.#u.protocol}//${hostOf(this.#u)}` : "null"; }
  get protocol() { return this.#u.protocol; }
  set protocol(v) {
    const p = /^([a-z][a-z0-9+.-]*):?/i.exec(`${v}`)?.[1].toLowerCase();
    if (p === undefined || isSpecial(`${p}:`) !== isSpecial(this.#u.protocol)) return;
    this.#u.protocol = `${p}:`;
    setPort(this.#u, this.#u.port);
  }
  get username() { return this.#u.username; }
  set username(v) { if (this.#u.host) this.#u.username = percentEncode(`${v}`, SET_USER); }
  get password() { return this.#u.password; }
  set password(v) { if (this.#u.host) this.#u.password = percentEncode(`${v}`, SET_USER); }
  get host() { return hostOf(this.#u); }
  set host(v) {
    if (this.#u.opaque !== null) return;
    const [, host, port] = /^(\[[^\]]*\]|[^:/?#\\]*)(?::([0-9]+))?/.exec(`${v}`) ?? [];
    const parsed = host ? parseHost(host, isSpecial(this.#u.protocol)) : undefined;
    if (parsed === undefined) return;
    this.#u.host = parsed;
    if (port !== undefined) setPort(this.#u, port);
  }
  get hostname() { return this.#u.host ?? ""; }
  set hostname(v) {
    const parsed = this.#u.opaque === null && `${v}` !== "" ? parseHost(/^(\[[^\]]*\]|[^:/?#\\]*)/.exec(`${v}`)[0], isSpecial(this.#u.protocol)) : undefined;
    if (parsed !== undefined) this.#u.host = parsed;
  }
  get port() { return this.#u.port; }
  set port(v) { if (this.#u.host && this.#u.protocol !== "file:") setPort(this.#u, /^[0-9]*/.exec(`${v}`)[0]); }
  get pathname() { return pathnameOf(this.#u); }
  set pathname(v) {
    if (this.#u.opaque !== null) return;
    const special = isSpecial(this.#u.protocol);
    this.#u.path = parsePath(`${v}`.replace(special ? /^[/\\]/ : /^\//, "").replace(/[?#]/g, (c) => c === "?" ? "%3F" : "%23"), special, this.#u.protocol === "file:", []);
  }
  get search() { return this.#u.query ? `?${this.#u.query}` : ""; }
  set search(v) {
    v = `${v}`.replace(/^\?/, "");
    this.#u.query = v === "" ? null : percentEncode(v.replaceAll("#", "%23"), isSpecial(this.#u.protocol) ? SET_SPECIAL_QUERY : SET_QUERY);
    paramsReset(this.#params, v);
  }
  get searchParams() { return this.#params; }
  get hash() { return this.#u.fragment ? `#${this.#u.fragment}` : ""; }
  set hash(v) {
    v = `${v}`.replace(/^#/, "");
    this.#u.fragment = v === "" ? null : percentEncode(v, SET_FRAGMENT);
  }
  toString() { return this.href; }
  toJSON() { return this.href; }
  get [Symbol.toStringTag]() { return "URL"; }
  [customInspect](depth, options) {
    const names = ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "searchParams", "hash"];
    return `URL ${inspect(Object.fromEntries(names.map((n) => [n, this[n]])), options)}`;
  }
}
const urlSetQuery = URL.query;
delete URL.query;
define(globals, { URL, URLSearchParams });

builtins.url = {
  URL, URLSearchParams,
  fileURLToPath(url) {
    if (typeof url === "string") url = new URL(url);
    if (!(url instanceof URL)) throw argumentError("path", "of type string or an instance of URL", url);
    if (url.protocol !== "file:") throw coded(new TypeError("The URL must be of scheme file"), "ERR_INVALID_URL_SCHEME");
    if (url.hostname !== "") throw coded(new TypeError('File URL host must be "localhost" or empty on wasi'), "ERR_INVALID_FILE_URL_HOST");
    if (/%2f/i.test(url.pathname)) throw coded(new TypeError("File URL path must not include encoded / characters"), "ERR_INVALID_FILE_URL_PATH");
    return native.utf8(percentDecode(url.pathname), false);
  },
  pathToFileURL(p) {
    const out = new URL("file:///");
    let full = path.resolve(p);
    if (p.endsWith("/") && !full.endsWith("/")) full += "/";
    out.pathname = full.replace(/[%\\\n\r\t]/g, (c) => encodeURIComponent(c));
    return out;
  },
};
