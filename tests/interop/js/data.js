// SPDX-License-Identifier: Apache-2.0
// The language: numbers, dates, regular expressions, collections, classes, generators, errors, JSON, sorting.
const rows = "name,price\nÄpfel,2.50\nsaw,19.90\npear,0.99".split("\n").slice(1).map((l) => l.split(",")).map(([name, price]) => ({ name, price: Number(price) }));
console.log(JSON.stringify(rows.toSorted((a, b) => a.price - b.price), null, 2));
console.log(rows.reduce((s, r) => s + r.price, 0).toFixed(2), Math.max(...rows.map((r) => r.price)));
console.log(JSON.stringify(Object.groupBy(rows, (r) => (r.price > 1 ? "dear" : "cheap"))));
console.log(0.1 + 0.2, 1e21, -0, 1 / 3, 2 ** 53 + 1, Number.EPSILON, parseInt("ff", 16), (255).toString(2), Number("0x1f"), parseFloat("3.7abc"));
console.log(String(123456789012345678901234567890n ** 3n), BigInt.asUintN(8, 300n) === 44n);
console.log(new Date(Date.UTC(2026, 1, 29, 12)).toISOString(), new Date("2026-01-31T10:00:00+02:00").getTime(), new Date(0).toJSON());
console.log("größer €uro".replace(/(?<word>\p{L}+)/gu, (w) => `<${w}>`), "a1b22".match(/\d+/g).join(), [..."x1y2".matchAll(/([a-z])(\d)/g)].map((m) => m[2]).join());
console.log("ﬁ".normalize("NFKC"), [..."👍ü"].length, "abc".at(-1), "x".padStart(3, "ab"), "İ".toLowerCase().length, "straße".toUpperCase());
const map = new Map([["a", 1], [{}, 2]]), set = new Set([1, 2, 3]);
console.log(map.size, [...set.union?.(new Set([4])) ?? [1, 2, 3, 4]].join(), [...map.values()].join());
class Animal {
  #name;
  static count = 0;
  constructor(name) { this.#name = name; Animal.count++; }
  get name() { return this.#name; }
  *[Symbol.iterator]() { yield* this.#name; }
}
class Dog extends Animal { speak() { return `${this.name} barks`; } }
console.log(new Dog("Rex").speak(), [...new Dog("ab")].join("-"), Animal.count, new Dog("x") instanceof Animal);
function* fibonacci() { for (let [a, b] = [0n, 1n]; ; [a, b] = [b, a + b]) yield a; }
for (const [i, f] of fibonacci().take(90).toArray().entries()) if (i % 30 === 29) console.log(String(f));
try { null.x; } catch (e) { console.log(e instanceof TypeError, e.name); }
try { throw new Error("outer", { cause: new RangeError("inner") }); } catch (e) { console.log(e.message, e.cause.message); }
const { a = 1, ...rest } = { b: 2, c: 3 };
console.log(a, JSON.stringify(rest), [3, 1, 2].sort().join(), [10, 9, 1].sort().join(), [1, [2, [3]]].flat(Infinity).join(), structuredClone({ d: [1] }).d[0]);
console.log(JSON.stringify({ u: undefined, n: null, nan: NaN, d: new Date(0), s: "\u2028\ud800" }), JSON.parse('[1e3,"\\u00fc"]').join());
console.log(new Uint8Array(new Float64Array([1.5]).buffer).join(), new DataView(new ArrayBuffer(8)).getInt16(0));
const proxy = new Proxy({}, { get: (_, k) => `got ${String(k)}` });
console.log(proxy.anything, Reflect.ownKeys({ z: 1, 2: 1, 1: 1 }).join(), typeof globalThis, [1, 2, 3].findLast((x) => x < 3), Array.from({ length: 3 }, (_, i) => i * i).join());
