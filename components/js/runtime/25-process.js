// SPDX-License-Identifier: Apache-2.0
// node:events and process; what happens to an error that nobody catches.

class EventEmitter {
  #listeners(name) { return (this._events ??= Object.create(null))[name] ??= []; }
  on(name, listener) { return this.addListener(name, listener); }
  addListener(name, listener) {
    checkCallback(listener, "listener");
    this.#listeners(name).push({ listener, once: false });
    return this;
  }
  prependListener(name, listener) { this.#listeners(name).unshift({ listener, once: false }); return this; }
  once(name, listener) {
    checkCallback(listener, "listener");
    this.#listeners(name).push({ listener, once: true });
    return this;
  }
  off(name, listener) { return this.removeListener(name, listener); }
  removeListener(name, listener) {
    const list = this.#listeners(name), i = list.findLastIndex((l) => l.listener === listener);
    if (i >= 0) this._events[name] = list.toSpliced(i, 1);
    return this;
  }
  removeAllListeners(name) {
    if (name === undefined) this._events = Object.create(null);
    else this._events && delete this._events[name];
    return this;
  }
  emit(name, ...args) {
    const list = this.#listeners(name);
    if (list.length === 0) {
      if (name !== "error") return false;
      throw args[0] instanceof Error ? args[0] : coded(new Error(`Unhandled error. (${inspect(args[0])})`), "ERR_UNHANDLED_ERROR");
    }
    for (const { listener, once } of [...list]) {
      if (once) this.removeListener(name, listener);
      apply(listener, this, args);
    }
    return true;
  }
  listeners(name) { return this.#listeners(name).map((l) => l.listener); }
  listenerCount(name) { return this.#listeners(name).length; }
  eventNames() { return Reflect.ownKeys(this._events ?? {}).filter((n) => this._events[n].length > 0); }
  setMaxListeners() { return this; }
}
EventEmitter.EventEmitter = EventEmitter;
EventEmitter.once = (emitter, name) => new Promise((resolve, reject) => {
  const failed = (error) => { emitter.off(name, got); reject(error); };
  const got = (...args) => { emitter.off("error", failed); resolve(args); };
  emitter.once(name, got);
  if (name !== "error") emitter.once("error", failed);
});
builtins.events = EventEmitter;

function toText(chunk, encoding) {
  if (typeof chunk === "string") return encoding === undefined || /^utf-?8$/i.test(encoding) ? chunk : Buffer.from(chunk, encoding);
  return asBytes(chunk, "chunk");
}

class StandardOutput extends EventEmitter {
  #stream;
  constructor(stream) { super(); this.#stream = stream; this.fd = stream; this.writable = true; }
  write(chunk, encoding, callback) {
    if (typeof encoding === "function") [callback, encoding] = [encoding, undefined];
    put(this.#stream, toText(chunk, encoding));
    if (callback) ticks.push([callback, []]);
    return true;
  }
  end(chunk, encoding, callback) {
    if (chunk !== undefined && typeof chunk !== "function") this.write(chunk, encoding);
    ticks.push([() => this.emit("finish"), []]);
    return this;
  }
}

// Standard input: bytes, or text after setEncoding; by events, by `for await`, or whole with fs.readFileSync(0).
class StandardInput extends EventEmitter {
  #decoder = null;
  #flowing = false;
  #ended = false;
  constructor() { super(); this.fd = 0; this.readable = true; }
  setEncoding(encoding) { this.#decoder = new TextDecoder(encoding === undefined ? "utf-8" : encoding.replace(/^utf8$/i, "utf-8")); return this; }
  async #next() {
    if (this.#ended) return null;
    for (;;) {
      const got = native.read(native.stdin(), 65536, false);
      if (got === null) {
        this.#ended = true;
        this.readable = false;
        const rest = this.#decoder?.decode();
        return rest ? rest : null;
      }
      if (typeof got === "string" || typeof got === "number") throw coded(new Error(`EIO: i/o error, read${typeof got === "string" ? ` (${got})` : ""}`), "EIO", { syscall: "read" });
      if (got.length === 0) await wait(native.subscribeInput(native.stdin()));
      else {
        const chunk = this.#decoder !== null ? this.#decoder.decode(got, { stream: true }) : toBuffer(got);
        if (chunk.length > 0) return chunk;
      }
    }
  }
  async *[Symbol.asyncIterator]() {
    for (let chunk; (chunk = await this.#next()) !== null;) yield chunk;
  }
  on(name, listener) {
    super.on(name, listener);
    if (name === "data") this.resume();
    return this;
  }
  resume() {
    if (!this.#flowing) {
      this.#flowing = true;
      this.#flow().catch((e) => hooks.fatal(e));
    }
    return this;
  }
  pause() { this.#flowing = false; return this; }
  async #flow() {
    try {
      for (let chunk; this.#flowing && (chunk = await this.#next()) !== null;) this.emit("data", chunk);
    } catch (error) {
      this.emit("error", error);
      return;
    }
    if (!this.#ended) return;
    this.emit("end");
    this.emit("close");
  }
}

class Process extends EventEmitter {
  argv = [];
  env = {};
  platform = "wasi";
  arch = "wasm32";
  pid = 1;
  title = "ambit";
  exitCode = undefined;
  release = { name: "ambit" };
  versions = { quickjs: native.version() };
  stdout = new StandardOutput(1);
  stderr = new StandardOutput(2);
  stdin = new StandardInput();
  exit(code) {
    if (code !== undefined) this.exitCode = code;
    leave(this.exitCode ?? 0);
  }
  cwd() { return cwd; }
  chdir(path) {
    const target = absolute(path);
    const stat = checked(native.stat(target, true), "chdir", target);
    if (stat[0] !== DIRECTORY) throw fsError("ENOTDIR", "chdir", target);
    cwd = builtins.path.normalize(target);
  }
  nextTick(callback, ...args) { checkCallback(callback, "callback"); ticks.push([callback, args]); }
  uptime() { return (now() - startMs) / 1000; }
  emitWarning(warning, type = "Warning") {
    native.print(2, `(ambit) ${warning instanceof Error ? `${warning.name}: ${warning.message}` : `${typeof type === "string" ? type : type?.type ?? "Warning"}: ${warning}`}\n`);
  }
  hrtime = Object.assign((previous) => {
    let at = native.now();
    if (previous) at -= BigInt(previous[0]) * 1000000000n + BigInt(previous[1]);
    return [Number(at / 1000000000n), Number(at % 1000000000n)];
  }, { bigint: () => native.now() });
}
const process = new Process();
Object.defineProperty(process, Symbol.toStringTag, { value: "process", configurable: true });
define(globals, { process });
builtins.process = process;

// ---- the end ----

let leaving = false, mainSettled = false;

function exitNumber(code) {
  const n = Number(code);
  return Number.isInteger(n) ? n & 255 : 1;
}

function leave(code) {
  if (!leaving) {
    leaving = true;
    try {
      process.emit("exit", exitNumber(code));
      code = process.exitCode ?? code;
    } catch (error) {
      show(error);
      code = 1;
    }
  }
  native.exit(exitNumber(code));
}

hooks.finish = function () {
  if (!mainSettled) {
    native.print(2, "Warning: Detected unsettled top-level await\n");
    process.exitCode ??= 13;
  }
  leave(process.exitCode ?? 0);
  return 0;
};

// The place of the error, the line, and the error, as Node shows them.
function show(error) {
  let text, at = "";
  try {
    text = error instanceof Error ? inspect(error) : `Uncaught ${inspect(error)}`;
    if (error instanceof Error && frames(error) === "") text = text.replace(/^\[([^\n]*)\]/, "$1");
    const [, file, line, column] = /(?:\(|at )((?:\/|[A-Za-z]:)[^()\n]*):(\d+):(\d+)\)?$/m.exec(error instanceof Error ? frames(error) : "") ?? [];
    if (file !== undefined) {
      const bytes = native.readFile(file);
      const source = typeof bytes === "number" ? undefined : native.utf8(bytes, false).split("\n")[Number(line) - 1];
      at = source === undefined ? `${file}:${line}\n\n` : `${file}:${line}\n${source.slice(0, 500)}\n${" ".repeat(Math.min(500, Math.max(0, Number(column) - 1)))}^\n\n`;
    }
    if (/^ReferenceError: '?(require|module|exports|__dirname|__filename)'? is not defined/.test(text))
      text += "\n\nThe script runs as an ES module, in which there is no CommonJS: use import and export, import.meta.dirname and import.meta.filename.";
  } catch {
    text ??= "Uncaught exception that cannot be shown";
  }
  native.print(2, `${at}${text}\n`);
}

hooks.fatal = function (error, origin = "uncaughtException") {
  if (!leaving && process.listenerCount("uncaughtException") > 0) {
    process.emit("uncaughtException", error, origin);
    return;
  }
  show(error);
  process.exitCode = 1;
  leave(1);
};

const rejections = new Map();
hooks.rejected = function (promise, reason, handled) {
  if (handled) rejections.delete(promise);
  else rejections.set(promise, reason);
};

function reportRejections() {
  const list = [...rejections];
  rejections.clear();
  for (const [promise, reason] of list) {
    if (process.listenerCount("unhandledRejection") > 0) process.emit("unhandledRejection", reason, promise);
    else hooks.fatal(reason, "unhandledRejection");
  }
}
