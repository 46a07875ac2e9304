// SPDX-License-Identifier: Apache-2.0
// node:fs and node:path, synchronous and with promises: what is written, read, listed and refused.
import * as fs from "node:fs";
import * as path from "node:path";

function attempt(name, call) {
  try { console.log(name, call() ?? "done"); } catch (e) { console.log(name, e.code); }
}
fs.mkdirSync("made/deep/er", { recursive: true });
fs.writeFileSync("made/a.txt", "text ü\n");
fs.appendFileSync("made/a.txt", "more\n");
fs.writeFileSync("made/bytes", Buffer.from([0, 255, 128]));
console.log(fs.readFileSync("made/a.txt", "utf8"), fs.readFileSync("made/bytes").length, [...fs.readFileSync("made/bytes")].join());
console.log(fs.readdirSync("made").toSorted().join(), fs.existsSync("made/none"), fs.statSync("made/a.txt").size, fs.statSync("made").isDirectory());
fs.renameSync("made/bytes", "made/deep/bytes");
console.log(fs.readdirSync("made", { withFileTypes: true }).map((e) => `${e.name}:${e.isFile()}`).toSorted().join());
attempt("missing", () => fs.readFileSync("none"));
attempt("exists", () => fs.mkdirSync("made"));
attempt("not empty", () => fs.rmdirSync("made/deep"));
attempt("not a folder", () => fs.readdirSync("made/a.txt"));
attempt("no parent", () => fs.writeFileSync("x/y/z", ""));
attempt("unlink", () => fs.unlinkSync("made/none"));
fs.rmSync("made/deep", { recursive: true });
fs.rmSync("made/none", { force: true });
console.log(fs.readdirSync("made").join());
await fs.promises.mkdir("later");
await fs.promises.writeFile("later/b.json", JSON.stringify({ n: [1, 2] }));
console.log(JSON.parse(await fs.promises.readFile("later/b.json", "utf8")).n.length, (await fs.promises.stat("later/b.json")).isFile(), (await fs.promises.readdir("later")).join());
await fs.promises.rename("later/b.json", "later/c.json");
await fs.promises.rm("later/none", { force: true });
try { await fs.promises.readFile("later/b.json"); } catch (e) { console.log(e.code); }
console.log(path.join("/a", "../b", "./c"), path.basename("/x/y.tar.gz", ".gz"), path.extname("a.b.c"), path.dirname("/a/b/c"), path.normalize("a//b/../c/."),
  path.relative("/a/b/c", "/a/d"), path.isAbsolute("a"), JSON.stringify(path.parse("/home/x.txt")), path.resolve("/a", "b", "../c"), path.sep);
console.log(fs.readFileSync("input.txt", "utf8").split("\n").length);
