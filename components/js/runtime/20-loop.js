// SPDX-License-Identifier: Apache-2.0
// The event loop: ticks, timers, immediates, and waiting for pollables of the host. main.c runs promise jobs until there are none,
// then calls `hooks.turn`, which runs at most one callback and says whether anything is still alive.

const ticks = [];            // nextTick
let immediates = [];
const ready = [];            // callbacks that are due
const waiters = [];          // { handle, done, ref } for pollables, which `turn` drops
const heap = [];             // timers by time, then by order of creation
let timerOrder = 0, timersAlive = 0;

function earlier(a, b) { return a.due < b.due || (a.due === b.due && a.order < b.order); }
function heapPlace(timer, i) { heap[i] = timer; timer.place = i; }
function heapUp(i) {
  const timer = heap[i];
  for (let up; i > 0 && earlier(timer, heap[up = (i - 1) >> 1]); i = up) heapPlace(heap[up], i);
  heapPlace(timer, i);
}
function heapDown(i) {
  const timer = heap[i];
  for (let down; (down = 2 * i + 1) < heap.length; i = down) {
    if (down + 1 < heap.length && earlier(heap[down + 1], heap[down])) down++;
    if (!earlier(heap[down], timer)) break;
    heapPlace(heap[down], i);
  }
  heapPlace(timer, i);
}
function heapRemove(timer) {
  const i = timer.place, last = heap.length - 1, moved = heap[last];
  heap.length = last;
  timer.place = -1;
  if (i === last) return;
  heapPlace(moved, i);
  heapUp(i);
  heapDown(moved.place);
}

const timersById = new Map();

class Timeout {
  constructor(callback, delay, args, repeat) {
    delay = Number(delay);
    if (!(delay >= 1 && delay <= 2147483647)) delay = 1;
    Object.defineProperties(this, {
      due: { value: 0, writable: true }, order: { value: 0, writable: true }, place: { value: -1, writable: true },
      delay: { value: Math.trunc(delay) }, callback: { value: callback }, args: { value: args }, repeat: { value: repeat },
      live: { value: false, writable: true }, kept: { value: true, writable: true }, id: { value: ++timerOrder },
    });
    arm(this);
  }
  ref() { if (!this.kept && this.live) timersAlive++; this.kept = true; return this; }
  unref() { if (this.kept && this.live) timersAlive--; this.kept = false; return this; }
  hasRef() { return this.kept; }
  refresh() { disarm(this); arm(this); return this; }
  close() { disarm(this); return this; }
  [Symbol.toPrimitive]() { timersById.set(this.id, this); return this.id; }
}

function arm(timer) {
  timer.due = now() + timer.delay;
  timer.order = ++timerOrder;
  timer.live = true;
  if (timer.kept) timersAlive++;
  timer.place = heap.length;
  heap.push(timer);
  heapUp(timer.place);
}

function disarm(timer) {
  if (timer.live && timer.kept) timersAlive--;
  timer.live = false;
  timersById.delete(timer.id);
  if (timer.place >= 0) heapRemove(timer);
}

function fire(timer) {
  if (!timer.live) return;
  if (timer.repeat) {
    disarm(timer);
    arm(timer);
  } else disarm(timer);
  apply(timer.callback, timer, timer.args);
}

function clear(timer) {
  if (typeof timer === "number" || typeof timer === "string") timer = timersById.get(Number(timer));
  if (timer instanceof Timeout) disarm(timer);
}

class Immediate {
  constructor(callback, args) { this.callback = callback; this.args = args; this.live = true; this.kept = true; }
  ref() { this.kept = true; return this; }
  unref() { this.kept = false; return this; }
  hasRef() { return this.kept; }
}

const timerFunctions = {
  setTimeout(callback, delay, ...args) { checkCallback(callback, "callback"); return new Timeout(callback, delay, args, false); },
  setInterval(callback, delay, ...args) { checkCallback(callback, "callback"); return new Timeout(callback, delay, args, true); },
  setImmediate(callback, ...args) {
    checkCallback(callback, "callback");
    const immediate = new Immediate(callback, args);
    immediates.push(immediate);
    return immediate;
  },
  clearTimeout: clear,
  clearInterval: clear,
  clearImmediate(immediate) { if (immediate instanceof Immediate) immediate.live = false; },
};
define(globals, timerFunctions, true);
define(globals, { queueMicrotask(callback) { checkCallback(callback, "callback"); native.enqueue(() => {
  try { callback(); } catch (e) { hooks.fatal(e); }
}); } }, true);
builtins.timers = timerFunctions;
builtins["timers/promises"] = {
  setTimeout(delay, value, options) {
    return new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted) return reject(signal.reason);
      const timer = new Timeout(() => resolve(value), delay, [], false);
      signal?.addEventListener("abort", () => { disarm(timer); reject(signal.reason); }, { once: true });
    });
  },
  setImmediate(value) { return new Promise((resolve) => timerFunctions.setImmediate(() => resolve(value))); },
};

// Resolves when the pollable is ready. Takes the pollable; `cancel` is filled with a function that gives up waiting.
function wait(pollable, cancel) {
  return new Promise((resolve) => {
    const waiter = { handle: pollable, done: resolve, ref: true };
    waiters.push(waiter);
    if (cancel) cancel.now = () => {
      const i = waiters.indexOf(waiter);
      if (i < 0) return;
      waiters.splice(i, 1);
      native.dropPollable(pollable);
      resolve(false);
    };
  });
}

function poll(milliseconds) {
  if (waiters.length === 0 && milliseconds === 0) return;
  const list = waiters.slice(), handles = list.map((w) => w.handle);
  const timer = milliseconds < Infinity ? native.after(milliseconds) : -1;
  if (timer >= 0) handles.push(timer);
  const indices = native.poll(handles);
  if (timer >= 0) native.dropPollable(timer);
  for (const i of indices) {
    const waiter = list[i];
    if (waiter === undefined) continue;
    waiters.splice(waiters.indexOf(waiter), 1);
    native.dropPollable(waiter.handle);
    ready.push(() => waiter.done(true));
  }
}

function duePush() {
  const at = now();
  const due = [];
  while (heap.length > 0 && heap[0].due <= at) {
    const timer = heap[0];
    heapRemove(timer);
    due.push(timer);
  }
  for (const timer of due) ready.push(() => fire(timer));
}

function immediatesPush() {
  const batch = immediates;
  immediates = [];
  for (const i of batch) ready.push(() => { if (i.live) apply(i.callback, i, i.args); });
}

// Fills `ready`, waiting if need be; false when nothing can ever become ready.
function refill() {
  if (heap.length > 0) duePush();
  const soon = ready.length > 0 || immediates.length > 0;
  const alive = soon || timersAlive > 0 || waiters.some((w) => w.ref);
  if (!alive) return false;
  const next = soon ? 0 : heap.length > 0 ? Math.max(0, heap[0].due - now()) : Infinity;
  poll(next);
  if (ready.length === 0 && heap.length > 0) duePush();
  immediatesPush();
  return true;
}

function runTicks() {
  if (ticks.length === 0) return false;
  while (ticks.length > 0) {
    const [callback, args] = ticks.shift();
    apply(callback, undefined, args);
  }
  return true;
}

let beforeExitCode = undefined;
hooks.turn = function () {
  try {
    if (runTicks()) return true;
    if (rejections.size > 0) {
      reportRejections();
      return true;
    }
    if (ready.length > 0) {
      ready.shift()();
      runTicks(); // before the promise jobs that the callback made
      return true;
    }
    if (refill()) return true;
    if (beforeExitCode === timerOrder + immediates.length) return false;
    beforeExitCode = timerOrder + immediates.length;
    return process.emit("beforeExit", process.exitCode ?? 0);
  } catch (error) {
    hooks.fatal(error);
    return true;
  }
};
