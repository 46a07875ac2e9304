// SPDX-License-Identifier: Apache-2.0
// util.inspect: values as people read them, laid out as Node lays them out (tests compare the two).

const customInspect = Symbol.for("nodejs.util.inspect.custom");
const typedArrayTag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag).get;
const inspectDefaults = {
  depth: 2, breakLength: 80, compact: 3, showHidden: false, sorted: false, getters: false,
  maxArrayLength: 100, maxStringLength: 10000,
};
const IDENTIFIER = /^[a-zA-Z_][a-zA-Z_0-9]*$/;

function quoteString(text) {
  let quote = "'";
  if (text.includes("'")) quote = !text.includes('"') ? '"' : !text.includes("`") && !text.includes("${") ? "`" : "'";
  const named = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\" };
  const body = text.replace(/[\x00-\x1f\x7f-\x9f\\'"`]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, (c) =>
    named[c] ?? (c === quote ? "\\" + c : "'\"`".includes(c) ? c
      : c > "\u00ff" ? "\\u" + c.charCodeAt(0).toString(16).toUpperCase()
      : "\\x" + c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")));
  return quote + body + quote;
}

function inspectNumber(n) { return Object.is(n, -0) ? "-0" : String(n); }

function inspectPrimitive(ctx, value, top) {
  switch (typeof value) {
  case "string": {
    let cut = "";
    if (value.length > ctx.maxStringLength) {
      const more = value.length - ctx.maxStringLength;
      value = value.slice(0, ctx.maxStringLength);
      cut = `... ${more} more character${more > 1 ? "s" : ""}`;
    }
    if (!top && value.length > 16 && value.length > ctx.breakLength - ctx.indent - 4)
      return value.split(/(?<=\n)/).map(quoteString).join(` +\n${" ".repeat(ctx.indent + 2)}`) + cut;
    return quoteString(value) + cut;
  }
  case "number": return inspectNumber(value);
  case "bigint": return `${value}n`;
  case "symbol": return value.toString();
  default: return String(value);
  }
}

function constructorName(value) {
  for (let o = value, hops = 0; o !== null && hops < 1000; o = Object.getPrototypeOf(o), hops++) {
    const d = Object.getOwnPropertyDescriptor(o, "constructor");
    if (d !== undefined && typeof d.value === "function" && d.value.name !== "" && (o === value || isInstance(value, d.value)))
      return d.value.name;
  }
  return null;
}

function isInstance(value, constructor) {
  try { return value instanceof constructor; } catch { return false; }
}

function tagOf(value, name) {
  let tag;
  try { tag = value[Symbol.toStringTag]; } catch { return ""; }
  return typeof tag === "string" && tag !== "" && tag !== name ? tag : "";
}

function prefixOf(name, tag, fallback, size = "") {
  const shown = name === null ? `[${fallback}${size}: null prototype]` : name + size;
  return tag && tag !== name ? `${shown} [${tag}] ` : `${shown} `;
}

function keysOf(value, ctx, indexed) {
  let keys = ctx.showHidden ? Object.getOwnPropertyNames(value) : Object.keys(value);
  if (indexed) keys = keys.filter((k) => !/^(0|[1-9][0-9]*)$/.test(k));
  const symbols = Object.getOwnPropertySymbols(value)
    .filter((s) => ctx.showHidden || Object.prototype.propertyIsEnumerable.call(value, s));
  return [...keys, ...symbols];
}

function inspectKey(key) {
  if (typeof key === "symbol") return `[${key.toString()}]`;
  if (key === "__proto__") return "['__proto__']";
  return IDENTIFIER.test(key) ? key : quoteString(key);
}

function inspectProperty(ctx, value, key, level, array) {
  const d = Object.getOwnPropertyDescriptor(value, key);
  let text;
  ctx.indent += 2;
  if (d === undefined) text = "undefined";
  else if ("value" in d) text = inspectValue(ctx, d.value, level);
  else if (d.get !== undefined) text = d.set !== undefined ? "[Getter/Setter]" : "[Getter]";
  else text = d.set !== undefined ? "[Setter]" : "undefined";
  ctx.indent -= 2;
  if (array) return text;
  const name = d !== undefined && !d.enumerable ? `[${String(key)}]` : inspectKey(key);
  return `${name}: ${text}`;
}

function inspectFunction(value, name, tag) {
  const source = Function.prototype.toString.call(value);
  if (source.startsWith("class") && source.endsWith("}")) {
    let text = `[class ${value.name === "" ? "(anonymous)" : value.name}`;
    if (name !== "Function" && name !== null) text += ` [${name}]`;
    const parent = Object.getPrototypeOf(value);
    if (parent?.name) text += ` extends ${parent.name}`;
    else if (parent === null) text += " extends null";
    return text + "]";
  }
  const kind = /^(Async)?(Generator)?Function$/.test(Object.prototype.toString.call(value).slice(8, -1))
    ? Object.prototype.toString.call(value).slice(8, -1) : "Function";
  let text = value.name === "" ? `[${kind} (anonymous)]` : `[${kind}: ${String(value.name)}]`;
  if (name === null) text += " Object <null prototype>";
  if (tag && tag !== kind) text += ` [${tag}]`;
  return text;
}

function inspectError(ctx, value, keys) {
  const name = value.name !== undefined ? String(value.name) : "Error";
  const message = value.message !== undefined ? String(value.message) : "";
  const own = constructorName(value) ?? name;
  let head = name === "Error" && own !== "Error" ? own : name;
  if (own !== head && !head.includes(own) && isInstance(value, Error) && /^(Error|TypeError|RangeError|SyntaxError|ReferenceError|EvalError|URIError)$/.test(head)) head = own;
  if (typeof value.code === "string" && keys.includes("code") && value instanceof Error && value[codeInName]) head = `${head} [${value.code}]`;
  const text = message === "" ? head : `${head}: ${message}`;
  const lines = frames(value);
  let shown = lines === "" ? `[${text}]` : `${text}\n${lines}`;
  if (ctx.indent > 0) shown = shown.replaceAll("\n", "\n" + " ".repeat(ctx.indent));
  return shown;
}
const codeInName = Symbol("code in name");

function hiddenErrorKeys(value, keys) {
  keys = keys.filter((k) => !["stack", "message", "fileName", "lineNumber", "columnNumber"].includes(k)
    || Object.prototype.propertyIsEnumerable.call(value, k));
  keys = keys.filter((k) => k !== "name" || !String(value.name).length);
  for (const k of ["cause", "errors"])
    if (Object.hasOwn(value, k) && !keys.includes(k)) keys.push(k);
  return keys;
}

function listArray(ctx, value, level) {
  const out = [], shown = Math.min(ctx.maxArrayLength, value.length);
  let i = 0;
  for (; i < value.length && out.length < shown; i++) {
    if (Object.hasOwn(value, i)) {
      out.push(inspectProperty(ctx, value, String(i), level, true));
      continue;
    }
    let gap = i;
    while (gap < value.length && !Object.hasOwn(value, gap) && gap - i < 1e6) gap++;
    if (gap - i >= 1e6) {
      const next = Object.keys(value).find((k) => Number(k) > i && /^\d+$/.test(k));
      gap = next === undefined ? value.length : Number(next);
    }
    out.push(`<${gap - i} empty item${gap - i > 1 ? "s" : ""}>`);
    i = gap - 1;
  }
  const left = value.length - i;
  if (left > 0) out.push(`... ${left} more item${left > 1 ? "s" : ""}`);
  return out;
}

function listTyped(ctx, value) {
  const out = [], length = value.length, shown = Math.min(ctx.maxArrayLength, length);
  for (let i = 0; i < shown; i++) out.push(typeof value[i] === "bigint" ? `${value[i]}n` : inspectNumber(value[i]));
  if (length > shown) out.push(`... ${length - shown} more item${length - shown > 1 ? "s" : ""}`);
  return out;
}

function listIterated(ctx, values, total, one) {
  const out = [];
  ctx.indent += 2;
  for (const v of values) {
    if (out.length === ctx.maxArrayLength) {
      out.push(`... ${total - out.length} more item${total - out.length > 1 ? "s" : ""}`);
      break;
    }
    out.push(one(v));
  }
  ctx.indent -= 2;
  return out;
}

// What kind of thing it is: { base, braces, list, array, indexed }; list() gives the entries before the keys.
function shapeOf(ctx, value, level, name, tag) {
  const plain = { base: "", braces: ["{", "}"], list: null, array: false, indexed: false };
  const size = (n) => `(${n})`;
  if (Array.isArray(value)) {
    const prefix = name !== "Array" || tag ? prefixOf(name, tag, "Array", size(value.length)) : "";
    return { ...plain, braces: [`${prefix}[`, "]"], list: () => listArray(ctx, value, level), array: true, indexed: true };
  }
  const typed = typedArrayTag.call(value);
  if (typed !== undefined)
    return { ...plain, braces: [`${prefixOf(name, tag === typed ? "" : tag, typed, size(value.length))}[`, "]"],
      list: () => listTyped(ctx, value), array: true, indexed: true };
  if (value instanceof Set && name !== null)
    return { ...plain, braces: [`${prefixOf(name, tag, "Set", size(value.size))}{`, "}"],
      list: () => listIterated(ctx, Set.prototype.values.call(value), value.size, (v) => inspectValue(ctx, v, level)) };
  if (value instanceof Map && name !== null)
    return { ...plain, braces: [`${prefixOf(name, tag, "Map", size(value.size))}{`, "}"],
      list: () => listIterated(ctx, Map.prototype.entries.call(value), value.size,
        ([k, v]) => `${inspectValue(ctx, k, level)} => ${inspectValue(ctx, v, level)}`) };
  if (typeof value === "function") return { ...plain, base: inspectFunction(value, name, tag) };
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind === "RegExp") return { ...plain, base: RegExp.prototype.toString.call(value) };
  if (kind === "Date")
    return { ...plain, base: Number.isNaN(Date.prototype.getTime.call(value)) ? "Invalid Date" : Date.prototype.toISOString.call(value) };
  if (kind === "Arguments") return { ...plain, braces: ["[Arguments] {", "}"] };
  if (value instanceof ArrayBuffer) return { ...plain, braces: [`${prefixOf(name, tag === "ArrayBuffer" ? "" : tag, "ArrayBuffer")}{`, "}"],
    list: () => {
      const bytes = new Uint8Array(value, 0, Math.min(50, value.byteLength));
      const more = value.byteLength - bytes.length;
      return [`[Uint8Contents]: <${Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ")}`
        + `${more > 0 ? ` ... ${more} more byte${more > 1 ? "s" : ""}` : ""}>`, `byteLength: ${value.byteLength}`];
    } };
  if (kind === "DataView") return { ...plain, braces: ["DataView {", "}"], list: () => {
    ctx.indent += 2;
    const buffer = inspectValue(ctx, value.buffer, level);
    ctx.indent -= 2;
    return [`byteLength: ${value.byteLength}`, `byteOffset: ${value.byteOffset}`, `buffer: ${buffer}`];
  } };
  if (value instanceof Promise) return { ...plain, braces: ["Promise {", "}"], list: () => [promiseState(ctx, value, level)] };
  if (kind === "WeakSet" || kind === "WeakMap")
    return { ...plain, braces: [`${prefixOf(name, "", kind)}{`, "}"], list: () => ["<items unknown>"] };
  for (const [type, box] of [["Number", Number], ["String", String], ["Boolean", Boolean], ["BigInt", BigInt], ["Symbol", Symbol]])
    if (kind === type && value instanceof box) {
      let inner;
      try { inner = box.prototype.valueOf.call(value); } catch { break; }
      return { ...plain, base: `[${type}${name !== type && name !== null ? ` (${name})` : ""}: ${inspectPrimitive(ctx, inner, true)}]`, indexed: type === "String" };
    }
  if (kind === "Map Iterator" || kind === "Set Iterator" || kind === "Generator" || kind === "Module")
    return { ...plain, braces: [kind === "Module" ? "[Module: null prototype] {" : kind === "Generator" ? "Object [Generator] {" : `[${kind}] {`, "}"] };
  return { ...plain, braces: [name === "Object" && !tag ? "{" : `${prefixOf(name, tag, "Object")}{`, "}"] };
}

function promiseState(ctx, value, level) {
  const [state, result] = native.promise(value);
  if (state === 0) return "<pending>";
  ctx.indent += 2;
  const text = inspectValue(ctx, result, level);
  ctx.indent -= 2;
  return state === 2 ? `<rejected> ${text}` : text;
}

function groupArray(ctx, out, value) {
  const extra = value.length > ctx.maxArrayLength ? 1 : 0, count = out.length - extra;
  const widths = out.slice(0, count).map((s) => s.length);
  const total = widths.reduce((a, b) => a + b + 2, 0), widest = Math.max(...widths), cell = widest + 2;
  if (cell * 3 + ctx.indent >= ctx.breakLength || !(total / cell > 5 || widest <= 6)) return out;
  const bias = Math.max(cell - 3 - Math.sqrt(cell - total / out.length), 1);
  const columns = Math.min(Math.round(Math.sqrt(2.5 * bias * count) / bias), Math.floor((ctx.breakLength - ctx.indent) / cell),
    ctx.compact * 4, 15);
  if (columns <= 1) return out;
  const room = [];
  for (let i = 0; i < columns; i++) {
    let most = 0;
    for (let j = i; j < count; j += columns) most = Math.max(most, widths[j]);
    room.push(most + 2);
  }
  const numbers = value !== undefined && Array.prototype.every.call(value, (v) => typeof v === "number" || typeof v === "bigint");
  const rows = [];
  for (let i = 0; i < count; i += columns) {
    const end = Math.min(i + columns, count);
    let row = "";
    for (let j = i; j < end - 1; j++) row += numbers ? `${out[j]}, `.padStart(room[j - i]) : `${out[j]}, `.padEnd(room[j - i]);
    row += numbers ? out[end - 1].padStart(room[end - 1 - i] - 2) : out[end - 1];
    rows.push(row);
  }
  if (extra) rows.push(out[count]);
  return rows;
}

function join(ctx, out, base, braces, level, array, value) {
  const entries = out.length;
  if (array && entries > 6) out = groupArray(ctx, out, value);
  if (ctx.deepest - level < ctx.compact && entries === out.length) {
    const start = out.length + ctx.indent + braces[0].length + base.length + 10;
    const total = out.reduce((sum, s) => sum + s.length, out.length + start);
    if (total <= ctx.breakLength && !base.includes("\n")) {
      const line = out.join(", ");
      if (!line.includes("\n")) return `${base ? `${base} ` : ""}${braces[0]} ${line} ${braces[1]}`;
    }
  }
  const indent = `\n${" ".repeat(ctx.indent)}`;
  return `${base ? `${base} ` : ""}${braces[0]}${indent}  ${out.join(`,${indent}  `)}${indent}${braces[1]}`;
}

function inspectRaw(ctx, value, level) {
  const name = constructorName(value), tag = tagOf(value, name);
  const error = value instanceof Error || Object.prototype.toString.call(value) === "[object Error]";
  const shape = error ? { base: "", braces: ["{", "}"], list: null, array: false, indexed: false } : shapeOf(ctx, value, level + 1, name, tag);
  let keys = keysOf(value, ctx, shape.indexed);
  if (error) {
    shape.base = inspectError(ctx, value, keys);
    keys = hiddenErrorKeys(value, keys);
  }
  if (keys.length === 0 && shape.list === null)
    return shape.base !== "" ? shape.base : `${shape.braces[0]}}`;
  if (level > ctx.depth) return shape.array ? "[Array]" : `[${name === null ? "Object: null prototype" : tag && tag !== name ? `${name} [${tag}]` : name}]`;
  ctx.seen.push(value);
  ctx.deepest = level;
  const out = shape.list !== null ? shape.list() : [];
  for (const key of keys) out.push(inspectProperty(ctx, value, key, level + 1, false));
  ctx.seen.pop();
  if (ctx.sorted && !shape.array) out.sort();
  if (ctx.circular?.has(value)) {
    const mark = `<ref *${ctx.circular.get(value)}>`;
    if (shape.base === "") shape.braces[0] = `${mark} ${shape.braces[0]}`;
    else shape.base = `${mark} ${shape.base}`;
  }
  if (out.length === 0) return `${shape.base ? `${shape.base} ` : ""}${shape.braces[0]}${shape.braces[1]}`;
  return join(ctx, out, shape.base, shape.braces, level, shape.array, value);
}

function inspectValue(ctx, value, level) {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return inspectPrimitive(ctx, value, level === 0);
  let custom;
  try { custom = value[customInspect]; } catch { custom = undefined; }
  if (typeof custom === "function" && custom !== inspect) {
    const depth = ctx.depth - level;
    const got = custom.call(value, depth, { ...ctx.options, depth }, inspect);
    if (got !== value) return typeof got === "string" ? got.replaceAll("\n", `\n${" ".repeat(ctx.indent)}`) : inspectValue(ctx, got, level);
  }
  if (ctx.seen.includes(value)) {
    ctx.circular ??= new Map();
    if (!ctx.circular.has(value)) ctx.circular.set(value, ctx.circular.size + 1);
    return `[Circular *${ctx.circular.get(value)}]`;
  }
  return inspectRaw(ctx, value, level);
}

function inspect(value, options, depth) {
  if (options === true || options === false) options = { showHidden: options, depth: depth === undefined ? 2 : depth };
  const ctx = { ...inspectDefaults, ...options, seen: [], indent: 0, deepest: 0, circular: undefined, options };
  if (ctx.depth === null) ctx.depth = Infinity;
  if (ctx.maxArrayLength === null) ctx.maxArrayLength = Infinity;
  if (ctx.maxStringLength === null) ctx.maxStringLength = Infinity;
  return inspectValue(ctx, value, 0);
}
inspect.custom = customInspect;
inspect.defaultOptions = inspectDefaults;

function formatOne(letter, value) {
  switch (letter) {
  case "s":
    if (typeof value === "string") return value;
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "number") return inspectNumber(value);
    if (typeof value !== "object" || value === null) return String(value);
    return Object.hasOwn(value, "toString") || value instanceof Error ? String(value) : inspect(value, { depth: 0 });
  case "d": return typeof value === "bigint" ? `${value}n` : typeof value === "symbol" || typeof value === "object" ? inspectNumber(typeof value === "symbol" ? NaN : Number(value)) : inspectNumber(Number(value));
  case "i": return typeof value === "bigint" ? `${value}n` : typeof value === "symbol" ? "NaN" : inspectNumber(parseInt(value));
  case "f": return typeof value === "symbol" ? "NaN" : inspectNumber(parseFloat(value));
  case "j": try { return JSON.stringify(value); } catch (e) { if (/circular/i.test(e.message)) return "[Circular]"; throw e; }
  case "o": return inspect(value, { showHidden: true, depth: 4 });
  case "O": return inspect(value);
  case "c": return "";
  }
}

function format(...args) {
  let i = 0, text = "";
  if (typeof args[0] === "string") {
    i = 1;
    text = args.length === 1 ? args[0] : args[0].replace(/%([sdifjoOc%])/g, (all, letter) =>
      letter === "%" ? "%" : i < args.length ? formatOne(letter, args[i++]) : all);
  }
  for (; i < args.length; i++)
    text += (i > 0 ? " " : "") + (typeof args[i] === "string" ? args[i] : inspect(args[i]));
  return text;
}

builtins.util = {
  inspect, format,
  promisify(f) {
    checkCallback(f, "original");
    return function (...args) {
      return new Promise((resolve, reject) => apply(f, this, [...args, (error, value) => error ? reject(error) : resolve(value)]));
    };
  },
  isDeepStrictEqual: (a, b) => deepEqual(a, b),
  inherits(child, parent) { Object.setPrototypeOf(child.prototype, parent.prototype); },
};

function deepEqual(a, b, seen = new Map()) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (a instanceof Date && a.getTime() !== b.getTime()) return false;
  if (a instanceof RegExp && String(a) !== String(b)) return false;
  if (a instanceof Map || a instanceof Set) {
    if (a.size !== b.size) return false;
    const left = [...b];
    for (const x of a) {
      const i = left.findIndex((y) => deepEqual(x, y, seen));
      if (i < 0) return false;
      left.splice(i, 1);
    }
  }
  const keys = Reflect.ownKeys(a).filter((k) => Object.prototype.propertyIsEnumerable.call(a, k));
  const others = Reflect.ownKeys(b).filter((k) => Object.prototype.propertyIsEnumerable.call(b, k));
  return keys.length === others.length && keys.every((k) => Object.hasOwn(b, k) && deepEqual(a[k], b[k], seen))
    && (!Array.isArray(a) || a.length === b.length);
}
