// SPDX-License-Identifier: Apache-2.0
// node:fs and node:fs/promises over wasi:filesystem: whole operations on paths. Errors are Node's: code, syscall, path, message.

// The codes of wasi:filesystem, in its order.
const ERRORS = `EACCES EAGAIN EALREADY EBADF EBUSY EDEADLK EDQUOT EEXIST EFBIG EILSEQ EINPROGRESS EINTR EINVAL EIO EISDIR ELOOP EMLINK
  EMSGSIZE ENAMETOOLONG ENODEV ENOENT ENOLCK ENOMEM ENOSPC ENOTDIR ENOTEMPTY ENOTRECOVERABLE ENOTSUP ENOTTY ENXIO EOVERFLOW EPERM EPIPE
  EROFS ESPIPE ETXTBSY EXDEV`.split(/\s+/);
const ERROR_TEXT = {
  EACCES: ["permission denied", 13], EAGAIN: ["resource temporarily unavailable", 11], EALREADY: ["connection already in progress", 114],
  EBADF: ["bad file descriptor", 9], EBUSY: ["resource busy or locked", 16], EDEADLK: ["resource deadlock would occur", 35],
  EDQUOT: ["disk quota exceeded", 122], EEXIST: ["file already exists", 17], EFBIG: ["file too large", 27],
  EILSEQ: ["illegal byte sequence", 84], EINTR: ["interrupted system call", 4], EINVAL: ["invalid argument", 22], EIO: ["i/o error", 5],
  EISDIR: ["illegal operation on a directory", 21], ELOOP: ["too many symbolic links encountered", 40], EMLINK: ["too many links", 31],
  ENAMETOOLONG: ["name too long", 36], ENODEV: ["no such device", 19], ENOENT: ["no such file or directory", 2],
  ENOMEM: ["not enough memory", 12], ENOSPC: ["no space left on device", 28], ENOTDIR: ["not a directory", 20],
  ENOTEMPTY: ["directory not empty", 39], ENOTSUP: ["operation not supported on socket", 95], ENOTTY: ["inappropriate ioctl for device", 25],
  EOVERFLOW: ["value too large for defined data type", 75], EPERM: ["operation not permitted", 1], EPIPE: ["broken pipe", 32],
  EROFS: ["read-only file system", 30], ESPIPE: ["invalid seek", 29], ETXTBSY: ["text file is busy", 26],
  EXDEV: ["cross-device link not permitted", 18],
};
const DIRECTORY = 3, LINK = 5, REGULAR = 6; // descriptor-type

function fsError(code, syscall, path, dest) {
  const [text, errno] = ERROR_TEXT[code] ?? ["unknown error", 0];
  const error = new Error(`${code}: ${text}, ${syscall}${path !== undefined ? ` '${path}'` : ""}${dest !== undefined ? ` -> '${dest}'` : ""}`);
  error.errno = -errno;
  error.code = code;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  if (dest !== undefined) error.dest = dest;
  return error;
}

// The answer of a native call, or Node's error for a negative number.
function checked(answer, syscall, path, dest) {
  if (typeof answer === "number" && answer < 0) throw fsError(ERRORS[-1 - answer] ?? "EIO", syscall, path, dest);
  return answer;
}

function pathText(p, name = "path") {
  if (typeof p === "string") { /* as it is */ }
  else if (p instanceof URL) p = builtins.url.fileURLToPath(p);
  else if (p instanceof Uint8Array) p = native.utf8(p, false);
  else throw argumentError(name, "of type string or an instance of Buffer or URL", p);
  if (p.includes("\0")) throw coded(new TypeError(`The argument '${name}' must be a string, Uint8Array, or URL without null bytes. Received ${inspect(p)}`), "ERR_INVALID_ARG_VALUE");
  return p;
}

// Only joined, not normalised: `..` after a symbolic link is the system's to decide.
function absolute(p) { return p.startsWith("/") ? p : p === "" ? "" : `${cwd === "/" ? "" : cwd}/${p}`; }

function encodingOf(options) {
  const e = typeof options === "string" ? options : options?.encoding;
  return e === null || e === undefined || e === "buffer" ? null : e;
}

class Stats {
  #type;
  constructor([type, links, size, atimeMs, mtimeMs, ctimeMs]) {
    this.#type = type;
    Object.assign(this, { size, nlink: links, atimeMs, mtimeMs, ctimeMs });
    this.atime = new Date(atimeMs);
    this.mtime = new Date(mtimeMs);
    this.ctime = new Date(ctimeMs);
  }
  isFile() { return this.#type === REGULAR; }
  isDirectory() { return this.#type === DIRECTORY; }
  isSymbolicLink() { return this.#type === LINK; }
  isBlockDevice() { return this.#type === 1; }
  isCharacterDevice() { return this.#type === 2; }
  isFIFO() { return this.#type === 4; }
  isSocket() { return this.#type === 7; }
}

class Dirent {
  #type;
  constructor(name, parent, type) { this.name = name; this.parentPath = parent; this.path = parent; this.#type = type; }
  isFile() { return this.#type === REGULAR; }
  isDirectory() { return this.#type === DIRECTORY; }
  isSymbolicLink() { return this.#type === LINK; }
  isBlockDevice() { return this.#type === 1; }
  isCharacterDevice() { return this.#type === 2; }
  isFIFO() { return this.#type === 4; }
  isSocket() { return this.#type === 7; }
}

function readStdin() {
  const chunks = [];
  for (let got; (got = native.read(native.stdin(), 65536, true)) !== null;) {
    if (!(got instanceof Uint8Array)) throw fsError("EIO", "read");
    chunks.push(got);
  }
  return Buffer.concat(chunks);
}

function writeData(data) {
  if (typeof data === "string") return data;
  if (ArrayBuffer.isView(data)) return asBytes(data);
  throw argumentError("data", "of type string or an instance of Buffer, TypedArray, or DataView", data);
}

const WRITE_HOW = { w: 0, a: 1, wx: 2, xw: 2 };
function writeFile(p, data, options, how) {
  p = pathText(p);
  const flag = typeof options === "object" && options !== null ? options.flag : undefined;
  if (flag !== undefined) {
    if (!Object.hasOwn(WRITE_HOW, flag)) throw coded(new TypeError(`The argument 'flags' is invalid. Received ${inspect(flag)}`), "ERR_INVALID_ARG_VALUE");
    how = WRITE_HOW[flag];
  }
  const encoding = encodingOf(options);
  data = writeData(data);
  if (typeof data === "string" && encoding !== null && !/^utf-?8$/i.test(encoding)) data = Buffer.from(data, encoding);
  if (typeof data === "string") data = data.toWellFormed();
  checked(native.writeFile(absolute(p), data, how), "open", p);
}

function readdirNames(p, shown) {
  const flat = checked(native.readdir(absolute(p)), "scandir", shown ?? p), list = [];
  for (let i = 0; i < flat.length; i += 2) list.push({ name: flat[i], type: flat[i + 1] });
  return list.sort((a, b) => a.name < b.name ? -1 : 1);
}

function removeTree(p, shown, syscall) {
  const stat = checked(native.stat(absolute(p), false), "lstat", shown);
  if (stat[0] !== DIRECTORY) {
    checked(native.unlink(absolute(p)), "unlink", p);
    return;
  }
  for (const { name } of readdirNames(p)) removeTree(`${p}/${name}`, `${p}/${name}`, syscall);
  checked(native.rmdir(absolute(p)), "rmdir", p);
}

function isMissing(answer) { return typeof answer === "number" && ["ENOENT", "ENOTDIR"].includes(ERRORS[-1 - answer]); }

const constants = { F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1, COPYFILE_EXCL: 1 };

// Every operation once; `fs` calls it at once, `fs/promises` in a promise, and the callback forms after it.
const operations = {
  readFile(p, options) {
    const encoding = encodingOf(options);
    let bytes;
    if (p === 0 || p === "/dev/stdin") bytes = readStdin();
    else {
      p = pathText(p);
      const got = native.readFile(absolute(p));
      if (typeof got === "number" && ERRORS[-1 - got] === "EISDIR") throw fsError("EISDIR", "read");
      bytes = toBuffer(checked(got, "open", p));
    }
    return encoding === null ? bytes : bytes.toString(encoding);
  },
  writeFile(p, data, options) { writeFile(p, data, options, 0); },
  appendFile(p, data, options) { writeFile(p, data, options, 1); },
  readdir(p, options) {
    p = pathText(p);
    if (!options?.recursive) {
      const list = readdirNames(p);
      return options?.withFileTypes ? list.map((e) => new Dirent(e.name, p, e.type)) : list.map((e) => e.name);
    }
    const out = [], queue = [""];
    for (let inner; (inner = queue.shift()) !== undefined;) {
      const folder = inner === "" ? p : `${p}/${inner}`;
      for (const e of readdirNames(folder)) {
        const name = inner === "" ? e.name : `${inner}/${e.name}`;
        out.push(options.withFileTypes ? new Dirent(e.name, folder, e.type) : name);
        if (e.type === DIRECTORY) queue.push(name);
      }
    }
    return out;
  },
  stat(p, options) {
    p = pathText(p);
    const got = native.stat(absolute(p), true);
    if (options?.throwIfNoEntry === false && isMissing(got)) return undefined;
    return new Stats(checked(got, "stat", p));
  },
  lstat(p, options) {
    p = pathText(p);
    const got = native.stat(absolute(p), false);
    if (options?.throwIfNoEntry === false && isMissing(got)) return undefined;
    return new Stats(checked(got, "lstat", p));
  },
  mkdir(p, options) {
    p = pathText(p);
    if (!(typeof options === "object" && options?.recursive)) {
      checked(native.mkdir(absolute(p)), "mkdir", p);
      return undefined;
    }
    const full = path.resolve(p), todo = [];
    for (let at = full; ; at = path.dirname(at)) {
      const stat = native.stat(at, true);
      if (typeof stat !== "number") {
        if (stat[0] !== DIRECTORY) throw fsError(at === full ? "EEXIST" : "ENOTDIR", "mkdir", p);
        break;
      }
      if (!isMissing(stat) || at === "/") checked(stat, "mkdir", p);
      todo.push(at);
    }
    for (const at of todo.toReversed()) {
      const made = native.mkdir(at);
      if (made < 0 && ERRORS[-1 - made] !== "EEXIST") checked(made, "mkdir", p);
    }
    return todo.at(-1);
  },
  rm(p, options) {
    p = pathText(p);
    const stat = native.stat(absolute(p), false);
    if (isMissing(stat) && options?.force) return;
    if (checked(stat, "rm", p)[0] === DIRECTORY && !options?.recursive)
      throw coded(new Error(`Path is a directory: rm returned EISDIR (is a directory) ${p}`), "ERR_FS_EISDIR", { errno: 21, syscall: "rm", path: p });
    removeTree(p, p, "rm");
  },
  rmdir(p) { p = pathText(p); checked(native.rmdir(absolute(p)), "rmdir", p); },
  unlink(p) { p = pathText(p); checked(native.unlink(absolute(p)), "unlink", p); },
  rename(from, to) {
    from = pathText(from, "oldPath");
    to = pathText(to, "newPath");
    checked(native.rename(absolute(from), absolute(to)), "rename", from, to);
  },
  access(p, mode = constants.F_OK) {
    p = pathText(p);
    checked(native.stat(absolute(p), true), "access", p);
  },
  copyFile(from, to, mode = 0) {
    from = pathText(from, "src");
    to = pathText(to, "dest");
    const bytes = checked(native.readFile(absolute(from)), "copyfile", from, to);
    checked(native.writeFile(absolute(to), bytes, mode & constants.COPYFILE_EXCL ? 2 : 0), "copyfile", from, to);
  },
  mkdtemp(prefix) {
    prefix = pathText(prefix, "prefix");
    const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (let tries = 0; ; tries++) {
      const name = prefix + Array.from(native.random(6), (b) => letters[b % letters.length]).join("");
      const made = native.mkdir(absolute(name));
      if (made === 0) return name;
      if (ERRORS[-1 - made] !== "EEXIST" || tries > 50) checked(made, "mkdtemp", `${prefix}XXXXXX`);
    }
  },
  truncate(p, size = 0) { p = pathText(p); checked(native.truncate(absolute(p), size), "open", p); },
  readlink(p) { p = pathText(p); return checked(native.readlink(absolute(p)), "readlink", p); },
};
// Whether a mode is granted cannot be asked of WASI; `access` says whether the file is there. See docs/javascript.md.

const fs = { constants }, fsPromises = { constants };
for (const name of Object.keys(operations)) {
  const run = operations[name];
  fs[`${name}Sync`] = { [`${name}Sync`](...args) { return run(...args); } }[`${name}Sync`];
  fsPromises[name] = { async [name](...args) { return run(...args); } }[name];
  fs[name] = { [name](...args) {
    const callback = args.pop();
    checkCallback(callback, "cb");
    let error = null, value;
    try { value = run(...args); } catch (e) {
      if (e.syscall === undefined) throw e;
      error = e;
    }
    immediates.push(new Immediate(callback, error !== null ? [error] : value === undefined ? [null] : [null, value]));
  } }[name];
}
fs.existsSync = (p) => {
  try { return typeof native.stat(absolute(pathText(p)), true) !== "number"; } catch { return false; }
};
fs.Stats = Stats;
fs.Dirent = Dirent;
fs.promises = fsPromises;
builtins.fs = fs;
builtins["fs/promises"] = fsPromises;
