// SPDX-License-Identifier: Apache-2.0
// Timers, microtasks and promises, in the order that they promise.
const log = [];
setTimeout(() => log.push("timeout 20"), 20);
setTimeout((a, b) => log.push(`timeout 0 ${a} ${b}`), 0, "x", "y");
const cancelled = setTimeout(() => log.push("never"), 5);
clearTimeout(cancelled);
queueMicrotask(() => log.push("microtask"));
Promise.resolve().then(() => log.push("then")).finally(() => log.push("finally"));
let ticks = 0;
await new Promise((done) => { const every = setInterval(() => { if (++ticks === 3) { clearInterval(every); done(); } }, 12); });
log.push(`ticks ${ticks}`);
console.log(log.join(", "));
const sleep = (ms, value) => new Promise((done) => setTimeout(done, ms, value));
console.log((await Promise.all([sleep(30, "a"), sleep(10, "b"), sleep(20, "c")])).join(), await Promise.race([sleep(50, "late"), sleep(5, "soon")]));
console.log((await Promise.allSettled([sleep(1, 1), Promise.reject(new Error("no"))])).map((r) => r.status).join(), await Promise.any([Promise.reject(1), sleep(2, "any")]));
async function* ticker(n) { for (let i = 0; i < n; i++) { await sleep(2); yield i; } }
const got = [];
for await (const i of ticker(4)) got.push(i);
console.log(got.join());
const start = performance.now();
await sleep(25);
console.log(performance.now() - start >= 24);
