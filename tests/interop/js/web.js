// SPDX-License-Identifier: Apache-2.0
// URL, URLSearchParams, TextEncoder and TextDecoder, crypto: what the web gives.
const url = new URL("../x/./y?q=1&q=ü#frag", "https://user:pa%20ss@Example.ORG:443/a/b/c");
console.log(url.href, url.host, url.port, url.pathname, url.search, url.hash, url.username, url.origin);
for (const bad of ["nothing", "http://", "http://a b/", "http://[::1", "http://1.2.3.400/"]) {
  try { console.log(new URL(bad).href); } catch (e) { console.log(bad, e instanceof TypeError); }
}
console.log(new URL("http://127.1/").hostname, new URL("http://EXAMPLE.com./%7Efoo/%2e%2e/b").href, new URL("file:///a/../b").href);
const query = new URLSearchParams("a=1&b=2&a=%C3%BC+x");
query.append("c", "d&e");
query.delete("b");
console.log(query.toString(), query.getAll("a").join("|"), query.has("c"), [...query.keys()].join());
const bytes = new TextEncoder().encode("ü€👍");
console.log(bytes.join(), new TextDecoder().decode(bytes), new TextDecoder().decode(new Uint8Array([0x61, 0xff, 0x62])));
try { new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xff])); } catch (e) { console.log(e instanceof TypeError); }
const hex = (b) => [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, "0")).join("");
for (const name of ["SHA-1", "SHA-256", "SHA-384", "SHA-512"]) console.log(name, hex(await crypto.subtle.digest(name, bytes)));
console.log(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()), crypto.getRandomValues(new Uint8Array(8)).length);
console.log(btoa("hello"), atob("aGVsbG8="), encodeURIComponent("a b/ü"), decodeURIComponent("%C3%BC"), escape("ü"));
