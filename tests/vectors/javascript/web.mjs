const u = new URL("https://us%65r:p@EXAMPLE.com:443/a/./b/../c d?x=1&y=é#f"); console.log(u.href, u.origin, u.host, u.pathname, u.search, u.hash, u.username);
for (const [a, b] of [["../x?q", "http://h/a/b/c"], ["//o/p", "https://h/"], ["http://0x7f.1/"], ["http://[::0:1]:80/"], ["#z", "http://h/?k"], ["file:///a/../b"],
  ["data:text/plain,hi"], ["http://h:99999/"], ["http://a b/"], ["/x"], ["http://h/%2e%2E/y"], ["HTTP:\\\\h\\p"], ["http://ex%41mple.com/"], ["http://1.2.3/"], ["http://h/?a=b c'\""], ["mailto:a@b"]])
  try { console.log(new URL(a, b).href); } catch (e) { console.log(e.code, e.input); }
const p = new URLSearchParams("a=1&b=2&a=3+4%21"); p.append("ü", "&="); p.delete("b"); console.log(p.getAll("a"), p.toString(), p.size, [...p.keys()]);
u.searchParams.set("x", "9"); u.hash = ""; u.port = "8080"; u.pathname = "/new"; console.log(String(u), URL.canParse("nope"));
console.log(new TextEncoder().encode("aé€😀\ud800").join(), new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x68, 0xc3, 0x28, 0xf0, 0x9f, 0x98, 0x80, 0xe2, 0x82])));
const d = new TextDecoder(); console.log(d.decode(new Uint8Array([0xe2, 0x82]), { stream: true }) + d.decode(new Uint8Array([0xac])), new TextDecoder("utf-16le").decode(new Uint8Array([104, 0, 105, 0])));
try { new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([255])); } catch (e) { console.log(e.name, e.code); }
console.log(btoa("hällo"), atob(" aGk= "), Buffer.from("68656c6c6f", "hex").toString(), Buffer.from("aGk", "base64").toString("latin1"), Buffer.concat([Buffer.from("a"), Buffer.from("b")]).toString("base64"));
try { atob("a"); } catch (e) { console.log(e.name, e instanceof DOMException); }
const o = { d: new Date(5), m: new Map([[1, { z: 1 }]]), s: new Set([1]), r: /x/g, a: [1, , 3], e: new RangeError("r"), b: new Uint8Array([1]) }; o.o = o;
const c = structuredClone(o); console.log(c.d.getTime(), c.m.get(1), c.s.has(1), c.r.flags, c.a, c.e.message, c.e instanceof RangeError, c.b, c.o === c);
try { structuredClone(() => {}); } catch (e) { console.log(e.name); }
for (const name of ["SHA-1", "SHA-256", "SHA-384", "SHA-512"]) for (const n of [0, 3, 55, 56, 64, 111, 112, 128, 1000])
  console.log(name, n, Buffer.from(await crypto.subtle.digest(name, new Uint8Array(n).fill(97))).toString("hex").slice(0, 16));
console.log(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()), crypto.getRandomValues(new Uint32Array(4)).some((x) => x > 0));
const ac = new AbortController(); ac.signal.addEventListener("abort", () => console.log("aborted", ac.signal.reason.name)); ac.abort();
const signal = AbortSignal.timeout(5); await new Promise((r) => { signal.onabort = r; setTimeout(r, 1000); }); console.log(signal.aborted, signal.reason.name);
const t = new TransformStream({ transform(x, c) { c.enqueue(x * 2); }, flush(c) { c.enqueue("end"); } });
const got = []; const w = t.writable.getWriter(); (async () => { for (const x of [1, 2, 3]) await w.write(x); await w.close(); })(); for await (const x of t.readable) got.push(x); console.log(got);
const [left, right] = new ReadableStream({ start(c) { c.enqueue("a"); c.enqueue("b"); c.close(); } }).tee(); const read = async (s) => { const out = []; for await (const x of s) out.push(x); return out.join(""); };
console.log(await Promise.all([read(left), read(right)]));
console.log(await new Response("body").text(), await Response.json({ a: 1 }).json(), [...new Headers([["B", "2"], ["a", "1"], ["b", "3"]])], [...new Headers({ X: " y " })]);
const r = new Request("http://h/p", { method: "post", body: "x", headers: { A: "b" } }); console.log(r.method, r.url, r.headers.get("content-type"), await r.clone().text(), await r.text(), r.bodyUsed);
for (const wrong of [() => new Request("http://u:p@h/"), () => new Request("http://h", { method: "GET", body: "x" }), () => new Headers({ "a b": "c" }), () => new Headers({ a: "b\nc" }), () => new Response("x", { status: 99 })])
  try { wrong(); console.log("no error"); } catch (e) { console.log(e.name); }
console.log(typeof performance.now(), performance.now() < 60000, Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000);
