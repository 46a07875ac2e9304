// SPDX-License-Identifier: Apache-2.0
// Event, EventTarget, AbortController and AbortSignal (DOM Standard, without a tree).

class Event {
  #type; #cancelable; #stopped = false; #prevented = false;
  target = null;
  constructor(type, init) {
    if (arguments.length === 0) throw coded(new TypeError('The "type" argument must be specified'), "ERR_MISSING_ARGS");
    this.#type = `${type}`;
    this.#cancelable = !!init?.cancelable;
    this.timeStamp = now() - startMs;
  }
  get type() { return this.#type; }
  get currentTarget() { return this.target; }
  get cancelable() { return this.#cancelable; }
  get defaultPrevented() { return this.#prevented; }
  preventDefault() { if (this.#cancelable) this.#prevented = true; }
  stopPropagation() {}
  stopImmediatePropagation() { this.#stopped = true; }
  static stopped(event) { return event.#stopped; }
}
class CustomEvent extends Event {
  constructor(type, init) { super(type, init); this.detail = init?.detail ?? null; }
}
const eventStopped = Event.stopped;
delete Event.stopped;

class EventTarget {
  #listeners = [];
  addEventListener(type, listener, options) {
    if (listener === null || listener === undefined) return;
    const capture = typeof options === "boolean" ? options : !!options?.capture;
    if (options?.signal?.aborted) return;
    if (this.#listeners.some((l) => l.type === `${type}` && l.listener === listener && l.capture === capture)) return;
    this.#listeners.push({ type: `${type}`, listener, capture, once: !!options?.once });
    options?.signal?.addEventListener("abort", () => this.removeEventListener(type, listener, options), { once: true });
  }
  removeEventListener(type, listener, options) {
    const capture = typeof options === "boolean" ? options : !!options?.capture;
    this.#listeners = this.#listeners.filter((l) => l.type !== `${type}` || l.listener !== listener || l.capture !== capture);
  }
  dispatchEvent(event) {
    if (!(event instanceof Event)) throw argumentError("event", "an instance of Event", event);
    event.target = this;
    const list = this.#listeners.filter((l) => l.type === event.type);
    const own = this[`on${event.type}`];
    if (typeof own === "function") list.push({ listener: own, once: false, type: event.type });
    for (const l of list) {
      if (eventStopped(event)) break;
      if (l.once) this.#listeners = this.#listeners.filter((x) => x !== l);
      try {
        if (typeof l.listener === "function") apply(l.listener, this, [event]);
        else l.listener.handleEvent(event);
      } catch (error) {
        ticks.push([() => { throw error; }, []]);
      }
    }
    return !event.defaultPrevented;
  }
}

const signalMake = Symbol("make");
class AbortSignal extends EventTarget {
  #aborted = false; #reason = undefined;
  onabort = null;
  constructor(key) {
    if (key !== signalMake) throw coded(new TypeError("Illegal constructor"), "ERR_ILLEGAL_CONSTRUCTOR");
    super();
    Object.defineProperty(this, "onabort", { enumerable: false });
  }
  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
  static abort(reason) {
    const signal = new AbortSignal(signalMake);
    signalAbort(signal, reason);
    return signal;
  }
  static timeout(milliseconds) {
    const signal = new AbortSignal(signalMake);
    new Timeout(() => signalAbort(signal, domError("The operation was aborted due to timeout", "TimeoutError")), milliseconds, [], false).unref();
    return signal;
  }
  static any(signals) {
    const signal = new AbortSignal(signalMake);
    for (const s of signals) {
      if (s.aborted) {
        signalAbort(signal, s.reason);
        break;
      }
      s.addEventListener("abort", () => signalAbort(signal, s.reason), { once: true });
    }
    return signal;
  }
  static run(signal, reason) {
    if (signal.#aborted) return;
    signal.#aborted = true;
    signal.#reason = reason === undefined ? domError("This operation was aborted", "AbortError") : reason;
    signal.dispatchEvent(new Event("abort"));
  }
  get [Symbol.toStringTag]() { return "AbortSignal"; }
  [customInspect]() { return `AbortSignal { aborted: ${this.#aborted} }`; }
}
const signalAbort = AbortSignal.run;
delete AbortSignal.run;

class AbortController {
  #signal = new AbortSignal(signalMake);
  get signal() { return this.#signal; }
  abort(reason) { signalAbort(this.#signal, reason); }
  get [Symbol.toStringTag]() { return "AbortController"; }
  [customInspect]() { return `AbortController { signal: ${inspect(this.#signal)} }`; }
}
define(globals, { Event, CustomEvent, EventTarget, AbortSignal, AbortController });
