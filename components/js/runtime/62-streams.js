// SPDX-License-Identifier: Apache-2.0
// ReadableStream, WritableStream, TransformStream (Streams Standard): default readers and writers, back-pressure by high-water mark,
// tee, pipeTo, pipeThrough, async iteration. Byte streams with readers of one's own buffer (BYOB) are not there.

const deferred = () => {
  const d = {};
  d.promise = new Promise((resolve, reject) => { d.resolve = resolve; d.reject = reject; });
  return d;
};
const quiet = (promise) => { promise.catch(() => {}); return promise; };
const lockedError = (what) => coded(new TypeError(`Invalid state: ${what} is locked`), "ERR_INVALID_STATE");

function strategyOf(strategy, fallback) {
  const mark = strategy?.highWaterMark === undefined ? fallback : Number(strategy.highWaterMark);
  if (Number.isNaN(mark) || mark < 0) throw coded(new RangeError(`The property 'strategy.highWaterMark' is invalid. Received ${inspect(strategy.highWaterMark)}`), "ERR_INVALID_ARG_VALUE");
  return { mark, size: typeof strategy?.size === "function" ? (chunk) => Number(apply(strategy.size, undefined, [chunk])) : () => 1 };
}

class ReadableStreamDefaultController {
  #c;
  constructor(core) { this.#c = core; }
  get desiredSize() { return this.#c.state === "errored" ? null : this.#c.state === "closed" ? 0 : this.#c.mark - this.#c.queued; }
  enqueue(chunk) {
    const c = this.#c;
    if (c.closing || c.state !== "readable") throw coded(new TypeError("Invalid state: Controller is already closed"), "ERR_INVALID_STATE");
    if (c.waiting.length > 0) c.waiting.shift().resolve({ value: chunk, done: false });
    else {
      const size = c.size(chunk);
      c.queue.push([chunk, size]);
      c.queued += size;
    }
    readablePull(c);
  }
  close() {
    if (this.#c.closing || this.#c.state !== "readable") throw coded(new TypeError("Invalid state: Controller is already closed"), "ERR_INVALID_STATE");
    this.#c.closing = true;
    if (this.#c.queue.length === 0) readableClose(this.#c);
  }
  error(reason) { readableError(this.#c, reason); }
}

function readableClose(c) {
  if (c.state !== "readable") return;
  c.state = "closed";
  for (const w of c.waiting.splice(0)) w.resolve({ value: undefined, done: true });
  c.closed.resolve();
}

function readableError(c, reason) {
  if (c.state !== "readable") return;
  c.state = "errored";
  c.reason = reason;
  c.queue.length = 0;
  for (const w of c.waiting.splice(0)) w.reject(reason);
  quiet(c.closed.promise);
  c.closed.reject(reason);
}

function readablePull(c) {
  if (!c.started || c.state !== "readable" || c.closing) return;
  if (c.waiting.length === 0 && c.queued >= c.mark) return;
  if (c.pulling) {
    c.again = true;
    return;
  }
  if (!c.pull) return;
  c.pulling = true;
  let done;
  try { done = Promise.resolve(c.pull(c.controller)); } catch (e) { done = Promise.reject(e); }
  done.then(() => {
    c.pulling = false;
    if (c.again) {
      c.again = false;
      readablePull(c);
    }
  }, (e) => readableError(c, e));
}

function readableRead(c) {
  c.disturbed = true;
  if (c.queue.length > 0) {
    const [value, size] = c.queue.shift();
    c.queued -= size;
    if (c.closing && c.queue.length === 0) readableClose(c);
    else readablePull(c);
    return Promise.resolve({ value, done: false });
  }
  if (c.state === "errored") return Promise.reject(c.reason);
  if (c.state === "closed") return Promise.resolve({ value: undefined, done: true });
  const d = deferred();
  c.waiting.push(d);
  readablePull(c);
  return d.promise;
}

async function readableCancel(c, reason) {
  c.disturbed = true;
  if (c.state === "errored") throw c.reason;
  if (c.state === "closed") return;
  c.queue.length = 0;
  readableClose(c);
  if (c.cancel) await c.cancel(reason);
}

class ReadableStreamDefaultReader {
  #c; #closed;
  constructor(stream) {
    this.#c = readableCore(stream);
    if (this.#c.reader !== null) throw lockedError("ReadableStream");
    this.#c.reader = this;
    this.#closed = this.#c.closed.promise;
  }
  get closed() { return this.#closed; }
  read() { return this.#c === null ? Promise.reject(coded(new TypeError("Invalid state: The reader is not attached to a stream"), "ERR_INVALID_STATE")) : readableRead(this.#c); }
  cancel(reason) { return this.#c === null ? Promise.reject(coded(new TypeError("Invalid state: The reader is not attached to a stream"), "ERR_INVALID_STATE")) : readableCancel(this.#c, reason); }
  releaseLock() {
    if (this.#c === null) return;
    const gone = coded(new TypeError("Invalid state: Releasing reader"), "ERR_INVALID_STATE");
    for (const w of this.#c.waiting.splice(0)) w.reject(gone);
    this.#c.reader = null;
    this.#c = null;
  }
}

class ReadableStream {
  #c;
  constructor(source = {}, strategy = {}) {
    if (source?.type === "bytes") throw new RangeError("ReadableStream: byte streams (type 'bytes') are not supported");
    if (source?.type !== undefined) throw coded(new RangeError(`The property 'type' is invalid. Received ${inspect(source.type)}`), "ERR_INVALID_ARG_VALUE");
    const c = this.#c = { state: "readable", reason: undefined, queue: [], queued: 0, waiting: [], reader: null, closing: false, started: false,
      pulling: false, again: false, disturbed: false, closed: deferred(), ...strategyOf(strategy, 1),
      pull: source.pull ? (x) => source.pull(x) : null, cancel: source.cancel ? (x) => source.cancel(x) : null };
    c.controller = new ReadableStreamDefaultController(c);
    const started = source.start ? source.start(c.controller) : undefined;
    Promise.resolve(started).then(() => { c.started = true; readablePull(c); }, (e) => readableError(c, e));
  }
  static core(stream) {
    if (!(stream instanceof ReadableStream)) throw argumentError("stream", "an instance of ReadableStream", stream);
    return stream.#c;
  }
  static from(iterable) {
    const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(await value);
      },
      async cancel(reason) { await iterator.return?.(reason); },
    }, { highWaterMark: 0 });
  }
  get locked() { return this.#c.reader !== null; }
  cancel(reason) { return this.locked ? Promise.reject(lockedError("ReadableStream")) : readableCancel(this.#c, reason); }
  getReader(options) {
    if (options?.mode !== undefined) throw coded(new TypeError("ReadableStream: readers with a buffer of their own (BYOB) are not supported"), "ERR_INVALID_ARG_VALUE");
    return new ReadableStreamDefaultReader(this);
  }
  tee() {
    const reader = this.getReader(), halves = [];
    let busy = false, cancelled = 0;
    const pull = async () => {
      if (busy) return;
      busy = true;
      try {
        const { value, done } = await reader.read();
        for (const h of halves) if (!h.off) { if (done) h.controller.close(); else h.controller.enqueue(value); }
      } catch (e) {
        for (const h of halves) if (!h.off) h.controller.error(e);
      }
      busy = false;
    };
    return [0, 1].map(() => {
      const half = { off: false, controller: null };
      halves.push(half);
      return new ReadableStream({ start(c) { half.controller = c; }, pull, async cancel(reason) {
        half.off = true;
        if (++cancelled === 2) await reader.cancel(reason);
      } }, { highWaterMark: 0 });
    });
  }
  async pipeTo(target, { preventClose, preventAbort, preventCancel, signal } = {}) {
    const reader = this.getReader(), writer = target.getWriter();
    const stop = deferred();
    quiet(stop.promise);
    const aborted = () => stop.reject(signal.reason);
    if (signal?.aborted) aborted();
    signal?.addEventListener("abort", aborted, { once: true });
    let reading = false;
    try {
      for (;;) {
        await Promise.race([writer.ready, stop.promise]);
        reading = true;
        const { value, done } = await Promise.race([reader.read(), stop.promise]);
        reading = false;
        if (done) break;
        quiet(writer.write(value));
      }
      if (!preventClose) await writer.close();
    } catch (error) {
      if (reading && !signal?.aborted) { if (!preventAbort) await quiet(writer.abort(error)).catch(() => {}); }
      else {
        if (!preventCancel) await reader.cancel(error).catch(() => {});
        if (signal?.aborted && !preventAbort) await writer.abort(error).catch(() => {});
      }
      throw error;
    } finally {
      signal?.removeEventListener("abort", aborted);
      reader.releaseLock();
      writer.releaseLock();
    }
  }
  pipeThrough({ readable, writable }, options) {
    quiet(this.pipeTo(writable, options));
    return readable;
  }
  values({ preventCancel } = {}) {
    const reader = this.getReader();
    return {
      async next() {
        const got = await reader.read();
        if (got.done) reader.releaseLock();
        return got;
      },
      async return(value) {
        if (!preventCancel) await reader.cancel(value);
        reader.releaseLock();
        return { value, done: true };
      },
      [Symbol.asyncIterator]() { return this; },
    };
  }
  [Symbol.asyncIterator](options) { return this.values(options); }
  get [Symbol.toStringTag]() { return "ReadableStream"; }
  [customInspect]() { return `ReadableStream { locked: ${this.locked}, state: '${this.#c.state}', supportsBYOB: false }`; }
}
const readableCore = ReadableStream.core;

// ---- writable ----

function writableError(c, reason) {
  if (c.state === "errored" || c.state === "closed") return;
  c.state = "errored";
  c.reason = reason;
  c.signal.abort(reason);
  for (const w of c.queue.splice(0)) w.done.reject(reason);
  c.queued = 0;
  quiet(c.closed.promise);
  c.closed.reject(reason);
  quiet(c.ready.promise);
  c.ready.reject(reason);
}

function writableReady(c) {
  const full = c.queued >= c.mark;
  if (full && c.open) {
    c.ready = deferred();
    quiet(c.ready.promise);
  } else if (!full && !c.open) c.ready.resolve();
  c.open = !full;
}

async function writableRun(c) {
  if (c.running || !c.started) return;
  c.running = true;
  while (c.queue.length > 0 && c.state === "writable") {
    const item = c.queue[0];
    try {
      if (item.close) await c.sink.close?.();
      else await c.sink.write?.(item.chunk, c.controller);
    } catch (e) {
      c.queue.shift();
      item.done.reject(e);
      writableError(c, e);
      break;
    }
    if (c.state !== "writable") break;
    c.queue.shift();
    c.queued -= item.size;
    if (item.close) {
      c.state = "closed";
      c.closed.resolve();
    }
    writableReady(c);
    item.done.resolve();
  }
  c.running = false;
}

class WritableStreamDefaultController {
  #c;
  constructor(core) { this.#c = core; }
  get signal() { return this.#c.signal.signal; }
  error(reason) { writableError(this.#c, reason); }
}

function writableAdd(c, item) {
  if (c.state === "errored") return Promise.reject(c.reason);
  if (c.state === "closed" || c.closing) return Promise.reject(coded(new TypeError("Invalid state: WritableStream is closed"), "ERR_INVALID_STATE"));
  if (item.close) c.closing = true;
  try { item.size = item.close ? 0 : c.size(item.chunk); } catch (e) { writableError(c, e); return Promise.reject(e); }
  item.done = deferred();
  c.queue.push(item);
  c.queued += item.size;
  writableReady(c);
  writableRun(c);
  return item.done.promise;
}

async function writableAbort(c, reason) {
  if (c.state === "closed" || c.state === "errored") return;
  writableError(c, reason);
  await c.sink.abort?.(reason);
}

class WritableStreamDefaultWriter {
  #c;
  constructor(stream) {
    this.#c = writableCore(stream);
    if (this.#c.writer !== null) throw lockedError("WritableStream");
    this.#c.writer = this;
  }
  #check() { if (this.#c === null) throw coded(new TypeError("Invalid state: Writer is not bound to a WritableStream"), "ERR_INVALID_STATE"); return this.#c; }
  get closed() { return this.#check().closed.promise; }
  get ready() { return this.#check().ready.promise; }
  get desiredSize() { const c = this.#check(); return c.state === "errored" ? null : c.state === "closed" ? 0 : c.mark - c.queued; }
  async write(chunk) { return writableAdd(this.#check(), { chunk, close: false }); }
  async close() { return writableAdd(this.#check(), { close: true }); }
  async abort(reason) { return writableAbort(this.#check(), reason); }
  releaseLock() {
    if (this.#c !== null) this.#c.writer = null;
    this.#c = null;
  }
}

class WritableStream {
  #c;
  constructor(sink = {}, strategy = {}) {
    const c = this.#c = { state: "writable", reason: undefined, queue: [], queued: 0, writer: null, closing: false, started: false, running: false,
      open: true, closed: deferred(), ready: deferred(), signal: new AbortController(), sink, ...strategyOf(strategy, 1) };
    c.ready.resolve();
    c.controller = new WritableStreamDefaultController(c);
    const started = sink.start ? sink.start(c.controller) : undefined;
    Promise.resolve(started).then(() => { c.started = true; writableReady(c); writableRun(c); }, (e) => writableError(c, e));
  }
  static core(stream) {
    if (!(stream instanceof WritableStream)) throw argumentError("stream", "an instance of WritableStream", stream);
    return stream.#c;
  }
  get locked() { return this.#c.writer !== null; }
  getWriter() { return new WritableStreamDefaultWriter(this); }
  async abort(reason) {
    if (this.locked) throw lockedError("WritableStream");
    return writableAbort(this.#c, reason);
  }
  async close() {
    if (this.locked) throw lockedError("WritableStream");
    return writableAdd(this.#c, { close: true });
  }
  get [Symbol.toStringTag]() { return "WritableStream"; }
  [customInspect]() { return `WritableStream { locked: ${this.locked}, state: '${this.#c.state}' }`; }
}
const writableCore = WritableStream.core;

class TransformStream {
  #readable; #writable;
  constructor(transformer = {}, writableStrategy = {}, readableStrategy = {}) {
    let out, wanted = deferred();
    this.#readable = new ReadableStream({
      start(c) { out = c; },
      pull() { wanted.resolve(); wanted = deferred(); },
      cancel: async (reason) => {
        writableError(writableCore(this.#writable), reason);
        await transformer.cancel?.(reason);
      },
    }, { highWaterMark: 0, ...readableStrategy });
    const controller = {
      get desiredSize() { return out.desiredSize; },
      enqueue(chunk) { out.enqueue(chunk); },
      error: (reason) => { out.error(reason); writableError(writableCore(this.#writable), reason); },
      terminate: () => { out.close(); writableError(writableCore(this.#writable), coded(new TypeError("Invalid state: TransformStream was terminated"), "ERR_INVALID_STATE")); },
    };
    const guarded = async (run) => {
      try { return await run(); } catch (e) { out.error(e); throw e; }
    };
    const core = readableCore(this.#readable);
    this.#writable = new WritableStream({
      start: () => transformer.start?.(controller),
      async write(chunk) {
        while (core.state === "readable" && core.waiting.length === 0 && core.queued >= core.mark) await wanted.promise;
        await guarded(() => transformer.transform ? transformer.transform(chunk, controller) : out.enqueue(chunk));
      },
      async close() {
        await guarded(() => transformer.flush?.(controller));
        if (core.state === "readable" && !core.closing) out.close();
      },
      async abort(reason) { out.error(reason); },
    }, writableStrategy);
  }
  get readable() { return this.#readable; }
  get writable() { return this.#writable; }
  get [Symbol.toStringTag]() { return "TransformStream"; }
}

class TextEncoderStream extends TransformStream {
  constructor() { super({ transform(chunk, c) { const bytes = encodeText(`${chunk}`); if (bytes.length > 0) c.enqueue(bytes); } }); }
  get encoding() { return "utf-8"; }
}
class TextDecoderStream extends TransformStream {
  #decoder;
  constructor(label, options) {
    const decoder = new TextDecoder(label, options);
    super({
      transform(chunk, c) { const text = decoder.decode(chunk, { stream: true }); if (text !== "") c.enqueue(text); },
      flush(c) { const text = decoder.decode(); if (text !== "") c.enqueue(text); },
    });
    this.#decoder = decoder;
  }
  get encoding() { return this.#decoder.encoding; }
}
class CountQueuingStrategy { constructor({ highWaterMark }) { this.highWaterMark = highWaterMark; } size() { return 1; } }
class ByteLengthQueuingStrategy { constructor({ highWaterMark }) { this.highWaterMark = highWaterMark; } size(chunk) { return chunk.byteLength; } }

delete ReadableStream.core;
delete WritableStream.core;
ReadableStreamDefaultReader.prototype.constructor = ReadableStreamDefaultReader;
const streamGlobals = { ReadableStream, ReadableStreamDefaultReader, WritableStream, WritableStreamDefaultWriter, TransformStream, TextEncoderStream,
  TextDecoderStream, CountQueuingStrategy, ByteLengthQueuingStrategy };
define(globals, streamGlobals);
builtins["stream/web"] = streamGlobals;
