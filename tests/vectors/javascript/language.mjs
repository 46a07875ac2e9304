import fs from "node:fs"; import util from "node:util"; import { EventEmitter, once } from "node:events"; import os from "node:os"; import * as ns from "node:process"; import { Buffer as B2 } from "node:buffer";
console.log(util.inspect({a:{b:{c:{}}}},{depth:0}), util.inspect("x"), util.format("%s:%s","a",1,2), util.isDeepStrictEqual([1,{a:2}],[1,{a:2}]));
const e=new EventEmitter(); e.on("x",(a)=>console.log("x",a)); e.once("x",()=>console.log("once")); e.emit("x",1); e.emit("x",2); setTimeout(()=>e.emit("y",5),1); console.log(await once(e,"y"));
try { e.emit("error", new Error("boo")) } catch (x) { console.log(x.message) }
class MyE extends Error { constructor(m){ super(m); this.name="MyE"; this.extra=1 } }
try { throw new MyE("m") } catch (x) { console.log(String(x), x.stack.split("\n")[0], Object.keys(x)) }
console.log([1,2,3].toSorted().at(-1), 1, structuredClone([1n]), Array.fromAsync ? 1:1);
console.log("a-b-c".replaceAll("-","+"), "x".padStart(3), /(?<y>\d{4})/.exec("in 2024").groups.y, [..."aXbX".matchAll(/X/g)].length, "ß".toUpperCase(), "é".normalize("NFD").length);
console.log(new Date(Date.UTC(2024,1,29,12)).toISOString(), new Date("2024-03-01T00:00:00Z").getTime(), JSON.stringify({d:new Date(0),u:undefined,n:null,nested:[1,{a:[]}]},null,2));
const b=B2.alloc(8); b.writeUInt32BE(0xdeadbeef,0); b.writeInt16LE(-2,4); console.log(b, b.readUInt32BE(0).toString(16), b.readInt16LE(4), b.subarray(0,2), b.slice(0,2).equals(B2.from([0xde,0xad])), B2.byteLength("é"), B2.isBuffer(b), JSON.stringify(B2.from("a")), b.toString("base64url"), [...B2.from("ab").entries()].length);
label: for (const i of [1,2]) { for (const j of [1,2]) { if (j===2) continue label; console.log(i,j) } }
const { a, ...rest } = { a: 1, b: 2, c: 3 }; console.log(a, rest, a?.b?.c, null ?? "d"); 
function* g(){ const x = yield 1; console.log("got", x); return 5 } const it=g(); it.next(); console.log(it.next("v"));
async function* ag(){ yield 1; yield 2 } for await (const x of ag()) console.log(x);
console.log(await Promise.allSettled([Promise.resolve(1), Promise.reject(new Error("r"))]).then(r=>r.map(x=>x.status)), await Promise.any([Promise.reject(1),Promise.resolve(2)]), 1);
console.log(typeof ns.argv, ns.cwd===undefined, 0.1+0.2, (1234.5678).toFixed(2), 1e21, parseInt("12px"), Number("0x1f"), (255).toString(16), 2**53, -7%3, 5n**30n, BigInt.asUintN(8,300n));
const wm=new WeakMap(), k={}; wm.set(k,1); console.log(wm.get(k));
