// SPDX-License-Identifier: Apache-2.0
// node:path, and how modules are found: `node:` names, and files relative to the importing one. The C side loads and compiles.

function checkPath(path, name = "path") {
  if (typeof path !== "string") throw argumentError(name, "of type string", path);
}

function normalizeParts(path, absolutePath) {
  const out = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") out.push(part);
    else if (out.length > 0 && out.at(-1) !== "..") out.pop();
    else if (!absolutePath) out.push("..");
  }
  return out.join("/");
}

const path = {
  sep: "/", delimiter: ":",
  normalize(p) {
    checkPath(p);
    if (p === "") return ".";
    const isAbsolute = p.startsWith("/");
    let out = normalizeParts(p, isAbsolute);
    if (out === "" && !isAbsolute) return p.endsWith("/") ? "./" : ".";
    if (out !== "" && p.endsWith("/")) out += "/";
    return isAbsolute ? `/${out}` : out;
  },
  join(...parts) {
    parts.forEach((p) => checkPath(p));
    const joined = parts.filter((p) => p !== "").join("/");
    return joined === "" ? "." : path.normalize(joined);
  },
  resolve(...parts) {
    let out = "";
    for (let i = parts.length - 1; i >= -1 && !out.startsWith("/"); i--) {
      const p = i >= 0 ? parts[i] : cwd;
      checkPath(p, `paths[${i}]`);
      if (p !== "") out = out === "" ? p : `${p}/${out}`;
    }
    return `/${normalizeParts(out, true)}`;
  },
  isAbsolute(p) { checkPath(p); return p.startsWith("/"); },
  dirname(p) {
    checkPath(p);
    const trimmed = p.replace(/(?<=.)\/+$/, ""), i = trimmed.lastIndexOf("/");
    return i < 0 ? "." : i === 0 ? "/" : trimmed.slice(0, i);
  },
  basename(p, end) {
    checkPath(p);
    const trimmed = p.replace(/\/+$/, "");
    const base = trimmed.slice(trimmed.lastIndexOf("/") + 1);
    return end !== undefined && base.endsWith(end) ? base.slice(0, base.length - end.length) : base;
  },
  extname(p) {
    const base = path.basename(p), i = base.lastIndexOf(".");
    return i <= 0 || base === ".." ? "" : base.slice(i);
  },
  relative(from, to) {
    const a = path.resolve(from).split("/").filter(Boolean), b = path.resolve(to).split("/").filter(Boolean);
    let same = 0;
    while (same < a.length && same < b.length && a[same] === b[same]) same++;
    return [...a.slice(same).fill(".."), ...b.slice(same)].join("/");
  },
  parse(p) {
    checkPath(p);
    const base = path.basename(p), ext = path.extname(p), root = p.startsWith("/") ? "/" : "";
    const dir = path.dirname(p);
    return { root, dir: dir === "." && !/^\.\/+[^/]/.test(p) ? "" : dir, base, ext, name: ext === "" ? base : base.slice(0, -ext.length) };
  },
  format(o) {
    const dir = o.dir || o.root, base = o.base || `${o.name ?? ""}${o.ext ? (o.ext.startsWith(".") ? o.ext : `.${o.ext}`) : ""}`;
    return !dir ? base : dir === o.root ? `${dir}${base}` : `${dir}/${base}`;
  },
  toNamespacedPath(p) { return p; },
};
path.posix = path;
builtins.path = path;
builtins["path/posix"] = path;

// ---- resolution ----

const own = (name) => Object.hasOwn(builtins, name);

function missing(kind, what, base) {
  const from = base.startsWith("ambit:") ? "" : ` imported from ${base}`;
  return coded(new Error(`Cannot find ${kind} '${what}'${from}`), "ERR_MODULE_NOT_FOUND");
}

function filePlace(name, base) {
  if (name.startsWith("file:")) return builtins.url.fileURLToPath(name);
  const plain = base.startsWith("ambit:") ? name : name.replace(/[?#].*$/s, "");
  let decoded = plain;
  try { if (!base.startsWith("ambit:")) decoded = decodeURIComponent(plain); } catch { /* as it stands */ }
  return path.resolve(path.dirname(base.startsWith("ambit:") ? "/" : base), decoded);
}

hooks.resolve = function (base, name) {
  if (name.startsWith("node:")) {
    if (own(name.slice(5))) return name;
    throw coded(new Error(`No such built-in module: ${name}`), "ERR_UNKNOWN_BUILTIN_MODULE");
  }
  if (own(name)) return `node:${name}`;
  if (!/^(\.{0,2}\/|file:)/.test(name)) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(name))
      throw coded(new Error(`Only URLs with a scheme in: file, and node are supported by Ambit's module loader. Received protocol '${name.slice(0, name.indexOf(":") + 1)}'`), "ERR_UNSUPPORTED_ESM_URL_SCHEME");
    throw missing("package", name, base);
  }
  const file = filePlace(name, base);
  importers.set(file, base);
  return file;
};
const importers = new Map(); // file → who asked for it last, for messages

// A module's file, or what Node says when it cannot be had. It is opened at once: a look beforehand would be one more thing to grant.
function readModule(file) {
  const got = native.readFile(file), base = importers.get(file) ?? "ambit:";
  if (typeof got !== "number") return got;
  const code = ERRORS[-1 - got];
  if (code === "ENOENT" || code === "ENOTDIR") throw missing("module", file, base);
  if (code === "EISDIR") throw coded(new Error(`Directory import '${file}' is not supported resolving ES modules imported from ${base}`), "ERR_UNSUPPORTED_DIR_IMPORT");
  throw fsError(code, "open", file);
}

// The exports of a `node:` module or a JSON file; null for a file with source text.
hooks.object = function (name, attributes) {
  const type = attributes?.type;
  if (name.startsWith("node:")) {
    const value = builtins[name.slice(5)];
    const exports = { default: value };
    for (const key of [...Object.keys(value), ...(value === process ? ["exit", "cwd", "chdir", "nextTick", "uptime", "emitWarning", "on", "once", "off", "emit"] : value === EventEmitter ? ["EventEmitter", "once"] : [])])
      exports[key] = typeof value[key] === "function" && value === process && key !== "hrtime" ? value[key].bind(process) : value[key];
    return exports;
  }
  if (type !== undefined && type !== "json")
    throw coded(new TypeError(`Import attribute "type" with value "${type}" is not supported`), "ERR_IMPORT_ATTRIBUTE_UNSUPPORTED");
  const ext = path.extname(name);
  if (ext === ".json" || type === "json") {
    if (type !== "json")
      throw coded(new TypeError(`Module "${builtins.url.pathToFileURL(name)}" needs an import attribute of "type: json"`), "ERR_IMPORT_ATTRIBUTE_MISSING");
    const text = native.utf8(readModule(name), false);
    try { return { default: JSON.parse(text.replace(/^\ufeff/, "")) }; }
    catch (e) { throw new SyntaxError(`${name}: ${e.message}`); }
  }
  if (ext === ".ts" || ext === ".wasm" || ext === ".node" || ext === ".tsx" || ext === ".jsx")
    throw coded(new TypeError(`Unknown file extension "${ext}" for ${name}`), "ERR_UNKNOWN_FILE_EXTENSION");
  return null;
};

hooks.unreadable = function (name) { readModule(name); };

hooks.meta = function (meta, name) {
  meta.dirname = path.dirname(name);
  meta.filename = name;
  meta.url = builtins.url.pathToFileURL(name).href;
  meta.resolve = (specifier) => {
    const found = hooks.resolve(name, `${specifier}`);
    return found.startsWith("node:") ? found : builtins.url.pathToFileURL(found).href;
  };
};

hooks.start = function () {
  startMs = now();
  cwd = native.cwd();
  const args = native.args(), env = native.env();
  for (let i = 0; i < env.length; i += 2) process.env[env[i]] = env[i + 1];
  if (args.length < 2) {
    native.print(2, "js: no script is named\n");
    native.exit(2);
  }
  const script = path.resolve(args[1]);
  process.argv = [args[0], script, ...args.slice(2)];
  import(script).then(() => { mainSettled = true; }, (error) => { mainSettled = true; hooks.fatal(error); });
};
