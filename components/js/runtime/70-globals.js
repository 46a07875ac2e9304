// SPDX-License-Identifier: Apache-2.0
// crypto (digests and random numbers), structuredClone, performance.

const HASHES = { "SHA-1": 0, "SHA-256": 1, "SHA-384": 2, "SHA-512": 3 };
const RANDOM_MAX = 65536;

function randomUUID() {
  const b = native.random(16);
  b[6] = b[6] & 15 | 64;
  b[8] = b[8] & 63 | 128;
  const hex = Buffer.prototype.toString.call(toBuffer(b), "hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function getRandomValues(array) {
  if (!ArrayBuffer.isView(array) || /^Float|DataView/.test(Object.prototype.toString.call(array).slice(8, -1)))
    throw domError("The data argument must be an integer-type TypedArray", "TypeMismatchError");
  if (array.byteLength > RANDOM_MAX) throw domError(`The requested length exceeds ${RANDOM_MAX} bytes`, "QuotaExceededError");
  asBytes(array).set(native.random(array.byteLength));
  return array;
}

class SubtleCrypto {
  async digest(algorithm, data) {
    const name = `${typeof algorithm === "object" ? algorithm?.name : algorithm}`.toUpperCase();
    if (!Object.hasOwn(HASHES, name)) throw domError("Unrecognized algorithm name", "NotSupportedError");
    return native.digest(HASHES[name], asBytes(data).slice()).buffer;
  }
}
class Crypto {
  subtle = new SubtleCrypto();
  getRandomValues(array) { return getRandomValues(array); }
  randomUUID() { return randomUUID(); }
}
const crypto = new Crypto();
define(globals, { crypto, Crypto, SubtleCrypto });

class Hash {
  #parts = []; #index; #done = false;
  constructor(name) {
    const key = `${name}`.toUpperCase().replace(/^SHA-?/, "SHA-");
    if (!Object.hasOwn(HASHES, key)) throw coded(new Error("Digest method not supported"), "ERR_CRYPTO_INVALID_DIGEST");
    this.#index = HASHES[key];
  }
  update(data, encoding) {
    if (this.#done) throw coded(new Error("Digest already called"), "ERR_CRYPTO_HASH_FINALIZED");
    this.#parts.push(typeof data === "string" ? Buffer.from(data, encoding) : Buffer.from(asBytes(data)));
    return this;
  }
  digest(encoding) {
    if (this.#done) throw coded(new Error("Digest already called"), "ERR_CRYPTO_HASH_FINALIZED");
    this.#done = true;
    const out = toBuffer(native.digest(this.#index, Buffer.concat(this.#parts)));
    return encoding === undefined ? out : out.toString(encoding);
  }
}
builtins.crypto = {
  randomUUID, getRandomValues, webcrypto: crypto,
  randomBytes(size) {
    const parts = [];
    for (let left = size; left > 0; left -= RANDOM_MAX) parts.push(native.random(Math.min(left, RANDOM_MAX)));
    return Buffer.concat(parts);
  },
  createHash: (name) => new Hash(name),
};

// ---- structuredClone ----

const ERROR_TYPES = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

function cloneValue(value, seen) {
  if (typeof value === "symbol") throw domError(`${value.toString()} could not be cloned.`, "DataCloneError");
  if (typeof value === "function") throw domError(`${Function.prototype.toString.call(value).slice(0, 100)} could not be cloned.`, "DataCloneError");
  if (typeof value !== "object" || value === null) return value;
  if (seen.has(value)) return seen.get(value);
  const keep = (copy) => { seen.set(value, copy); return copy; };
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (ArrayBuffer.isView(value)) {
    const buffer = cloneValue(value.buffer, seen), typed = typedArrayTag.call(value);
    return keep(typed === undefined ? new DataView(buffer, value.byteOffset, value.byteLength) : new globals[typed](buffer, value.byteOffset, value.length));
  }
  if (["Number", "String", "Boolean", "BigInt"].includes(kind)) return keep(Object(value.valueOf()));
  if (value instanceof Map) {
    const copy = keep(new Map());
    for (const [k, v] of [...value]) copy.set(cloneValue(k, seen), cloneValue(v, seen));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    for (const v of [...value]) copy.add(cloneValue(v, seen));
    return copy;
  }
  if (value instanceof Error) {
    const copy = keep(new (ERROR_TYPES[value.name] ?? Error)(value.message));
    Object.defineProperty(copy, "stack", { value: value.stack, configurable: true, writable: true });
    if (Object.hasOwn(value, "cause")) Object.defineProperty(copy, "cause", { value: cloneValue(value.cause, seen), configurable: true, writable: true });
    return copy;
  }
  if (!Array.isArray(value) && kind !== "Object" || value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef)
    throw domError(`#<${kind}> could not be cloned.`, "DataCloneError");
  const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) copy[key] = cloneValue(value[key], seen);
  return copy;
}

function structuredClone(value, options) {
  const seen = new Map();
  for (const buffer of options?.transfer ?? []) {
    if (!(buffer instanceof ArrayBuffer)) throw domError("Value not transferable", "DataCloneError");
    seen.set(buffer, null);
  }
  for (const buffer of seen.keys()) seen.set(buffer, buffer.transfer());
  return cloneValue(value, seen);
}

// ---- performance ----

class Performance {
  now() { return now() - startMs; }
  get timeOrigin() { return Date.now() - (now() - startMs); }
  toJSON() { return { timeOrigin: this.timeOrigin }; }
}
const performance = new Performance();
Object.defineProperty(globals, "structuredClone", { value: structuredClone, writable: true, configurable: true, enumerable: true });
Object.defineProperty(globals, "performance", { value: performance, writable: true, configurable: true, enumerable: true });
Object.defineProperty(globals, "global", { value: globals, writable: true, configurable: true });
builtins.perf_hooks = { performance };
builtins.os = { EOL: "\n", tmpdir: () => process.env.TMPDIR ?? "/tmp" };
Math.random = native.mathRandom;
delete globals.navigator;
