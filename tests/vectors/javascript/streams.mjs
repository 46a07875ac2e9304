// streams edge cases
const log = [];
const rs = new ReadableStream({ start(c) { this.n = 0 }, pull(c) { c.enqueue(this.n++); if (this.n === 3) c.close() } });
for await (const x of rs) log.push(x);
const ws = new WritableStream({ write(c) { log.push("w" + c) }, close() { log.push("closed") }, abort(r) { log.push("abort " + r) } });
await ReadableStream.from([1, 2]).pipeTo(ws); console.log(log.join());
try { const w = new WritableStream({ write() { throw new Error("bad write") } }).getWriter(); await w.write(1) } catch (e) { console.log(e.message) }
const e = new ReadableStream({ start(c) { c.error(new Error("err")) } }); try { await e.getReader().read() } catch (x) { console.log(x.message) }
try { const r = new ReadableStream(); r.getReader(); r.getReader() } catch (x) { console.log(x.name, x.code) }
let cancelled; const c = new ReadableStream({ pull(c) { c.enqueue(1) }, cancel(r) { cancelled = r } }); for await (const x of c) break; console.log(cancelled, c.locked);
const t = ReadableStream.from(["a", "b"]).pipeThrough(new TextEncoderStream()).pipeThrough(new TextDecoderStream()); console.log(await new Response(t.pipeThrough(new TextEncoderStream())).text());
const slow = new WritableStream({ async write(x) { await new Promise(r => setTimeout(r, 2)); log.push("s" + x) } }, { highWaterMark: 2 }); const w = slow.getWriter(); console.log(w.desiredSize); w.write(1); w.write(2); console.log(w.desiredSize); await w.ready; await w.close(); console.log(log.slice(-2).join());
const ac = new AbortController(); setTimeout(() => ac.abort(new Error("stop")), 5); try { await new ReadableStream({ pull() { return new Promise(() => {}) } }).pipeTo(new WritableStream({ abort(r) { console.log("ab", r.message) } }), { signal: ac.signal }) } catch (x) { console.log(x.message) }
const bad = new TransformStream({ transform() { throw new Error("tx") } }); const bw = bad.writable.getWriter(); bw.write(1).catch(x => console.log("w", x.message)); try { await bad.readable.getReader().read() } catch (x) { console.log("r", x.message) }
const res = new Response(ReadableStream.from([new Uint8Array([104, 105])])); const cl = res.clone(); console.log(await res.text(), await cl.text()); try { await res.text() } catch (x) { console.log(x.name) }
console.log(await new Response(null).text() === "", new Response("x", { status: 404, statusText: "NF" }).ok, Response.error().type, Response.redirect("http://a/b").headers.get("location"), await new Response(new URLSearchParams("a=1")).text());
const et = new EventTarget(); et.addEventListener("a", (e) => console.log(e.type, e instanceof Event, e.target === et), { once: true }); et.dispatchEvent(new Event("a")); et.dispatchEvent(new Event("a")); et.addEventListener("c", { handleEvent(e) { console.log(e.detail) } }); et.dispatchEvent(new CustomEvent("c", { detail: 5 }));
console.log(AbortSignal.any([AbortSignal.abort("x")]).reason, AbortSignal.abort().reason.name);
queueMicrotask(() => console.log("end"));
