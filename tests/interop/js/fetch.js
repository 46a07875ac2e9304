// SPDX-License-Identifier: Apache-2.0
// fetch: methods, headers, bodies, streams, redirects and errors.
const base = `http://127.0.0.1:${process.argv[2]}`;
const hello = await fetch(`${base}/hello?name=w%C3%B6rld`);
console.log(hello.status, hello.ok, hello.headers.get("Content-Type"), hello.headers.get("etag"), hello.redirected, await hello.text());
const seen = async (options, path = "/echo") => {
  const { method, target, headers, size, sha256 } = await (await fetch(base + path, options)).json();
  console.log(method, target, JSON.stringify(headers.filter(([k]) => k.startsWith("x-") || k === "content-type")), size, sha256.slice(0, 16));
};
await seen({});
await seen({ method: "POST", body: "text ü" });
await seen({ method: "PUT", body: JSON.stringify({ a: 1 }), headers: { "content-type": "application/json", "X-A": "1" } });
await seen({ method: "DELETE", headers: new Headers([["X-B", "1"], ["x-b", "2"]]) });
await seen({ method: "POST", body: new Uint8Array(300000).fill(7) });
await seen({ method: "POST", body: new URLSearchParams({ a: "1", b: "ü" }) });
for (const status of [404, 500, 204]) { const r = await fetch(`${base}/status/${status}`); console.log(r.status, r.ok, (await r.text()).trim()); }
const moved = await fetch(`${base}/redirect?to=/hello`);
console.log(moved.redirected, moved.url.endsWith("/hello"), await moved.text());
console.log((await fetch(`${base}/redirect?to=/hello`, { redirect: "manual" })).status);
try { await fetch(`${base}/redirect?to=/hello`, { redirect: "error" }); } catch (e) { console.log(e instanceof TypeError); }
let count = 0;
for await (const chunk of (await fetch(`${base}/big?n=2000000`)).body) count += chunk.length;
console.log(count);
const reader = (await fetch(`${base}/events?n=3`)).body.getReader();
let text = "";
for (let part = await reader.read(); !part.done; part = await reader.read()) text += new TextDecoder().decode(part.value);
console.log(JSON.stringify(text));
for (const path of ["/cut", "/nothing"]) {
  try { await (await fetch(base + path)).text(); console.log("no error"); } catch (e) { console.log(path, e instanceof TypeError); }
}
try { await fetch("http://127.0.0.1:1/"); } catch (e) { console.log(e instanceof TypeError); }
try { await fetch(`${base}/slow?s=3`, { signal: AbortSignal.timeout(100) }); } catch (e) { console.log(e.name); }
try { await fetch("nonsense"); } catch (e) { console.log(e instanceof TypeError); }
console.log((await Promise.all([1, 2, 3].map(async (n) => (await fetch(`${base}/hello?name=${n}`)).text()))).map((t) => t.trim()).join());
const twice = await fetch(`${base}/hello`);
await twice.text();
try { await twice.text(); } catch (e) { console.log(e instanceof TypeError, twice.bodyUsed); }
