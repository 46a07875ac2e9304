# SPDX-License-Identifier: Apache-2.0
"""JavaScript that ships: a script under Ambit does what it does under Node, says why where it cannot, and ends by a limit or an error,
never by a trap, whatever it does to itself.

What Node 20 prints stands in the tables, so that they pass without it; where that Node is on the machine, the tables themselves are
checked against it. (Other versions show a few values in other ways.)
"""

import functools
import json
import os
import re
import shutil
import textwrap

from ambit import AMBIT, LIMIT, TIME_LIMIT, TOP, TRAP, allow_missing, contains, environment, equal, execute, lacks, run, write
from origin import Origin


@functools.cache
def node():
    """The path of the Node that can be compared with, or None."""
    path = shutil.which("node")
    if path is None:
        return None
    version = re.match(r"v(\d+)", execute([path, "--version"]).out)
    return path if version and int(version[1]) == 20 else None


def script(code, *args, flags=(), name="script.mjs", **options):
    write(name, textwrap.dedent(code))
    return run("run", "-q", *flags, name, *args, **options)


def prints(code, wanted, *args, flags=("--read", ".", "--write", "out"), stdin="", name="script.mjs", rc=0, native=True):
    """Standard output and exit code are those; under Node too, where it is."""
    os.makedirs("out", exist_ok=True)
    wanted = textwrap.dedent(wanted).lstrip("\n")
    if native and node():
        write(name, textwrap.dedent(code))
        theirs = execute([node(), name, *args], stdin, environment())
        equal((theirs.out, theirs.rc), (wanted, rc), f"the table differs from Node: {theirs!r}")
        shutil.rmtree("out")
        os.makedirs("out")
    ours = script(code, *args, flags=flags, name=name, stdin=stdin)
    equal((ours.out, ours.rc), (wanted, rc), repr(ours))
    return ours


def test_vectors():
    """What tests/vectors/javascript/NAME.mjs prints is NAME.out, which Node wrote."""
    for file in sorted((TOP / "tests" / "vectors" / "javascript").glob("*.mjs")):
        prints(file.read_text(), file.with_suffix(".out").read_text())


def test_loop_order():
    prints("""
        setTimeout(() => console.log("timeout 2"), 2);
        setTimeout(() => { console.log("timeout 1"); process.nextTick(() => console.log("tick in timeout")); Promise.resolve().then(() => console.log("job in timeout")); }, 1);
        queueMicrotask(() => console.log("microtask"));
        process.nextTick(() => console.log("tick"));
        Promise.resolve().then(() => console.log("job"));
        const cleared = setTimeout(() => console.log("never"), 1); clearTimeout(cleared);
        let n = 0; const every = setInterval(() => { console.log("interval", ++n); if (n === 3) clearInterval(every); }, 20);
        setTimeout(() => console.log("unref'd"), 10000).unref();
        await new Promise((done) => setTimeout(done, 40));
        process.on("exit", (code) => console.log("exit", code));
        console.log("end");
    """, """
        microtask
        job
        tick
        timeout 1
        tick in timeout
        job in timeout
        timeout 2
        interval 1
        end
        interval 2
        interval 3
        exit 0
    """, native=False)


def test_modules():
    write("lib/a.mjs", "export const a = 1; export default function named() { return import.meta.url.split('/').slice(-2).join('/') }\nexport { b } from './b.js';\n")
    write("lib/b.js", "import { a } from './a.mjs';\nexport const b = () => a + 1;\n")
    write("lib/data.json", '{"k": [1, 2]}')
    write("package.json", '{"type": "module"}')
    prints("""
        import named, { a, b } from "./lib/a.mjs";
        import * as all from "./lib/a.mjs";
        import data from "./lib/data.json" with { type: "json" };
        import path, { join } from "node:path";
        import { readFileSync } from "fs";
        console.log(a, b(), named(), Object.keys(all), data.k[1], join("a", "..", "b"), path.extname("x.tar.gz"), typeof readFileSync);
        console.log((await import(new URL("./lib/b.js", import.meta.url))).b() === b());
        for (const wrong of ["./nope.mjs", "no-such-package", "node:nope", "./lib", "https://x.y/z.js"])
          try { await import(wrong); console.log("imported", wrong); } catch (e) { console.log(e.code); }
        export {};
    """, """
        1 2 lib/a.mjs [ 'a', 'b', 'default' ] 2 b .gz function
        true
        ERR_MODULE_NOT_FOUND
        ERR_MODULE_NOT_FOUND
        ERR_UNKNOWN_BUILTIN_MODULE
        ERR_UNSUPPORTED_DIR_IMPORT
        ERR_UNSUPPORTED_ESM_URL_SCHEME
    """)
    equal(script("await import('./lib/data.json').catch((e) => console.log(e.code))", flags=("--read", ".")).out, "ERR_IMPORT_ATTRIBUTE_MISSING\n")


def test_files():
    write("in.txt", "line one\nline two\n")
    prints("""
        import fs from "node:fs";
        import { readFile, writeFile, stat, rm } from "node:fs/promises";
        console.log(fs.readFileSync("in.txt", "utf8").split("\\n"), (await readFile("in.txt")).length);
        fs.writeFileSync("out/a.txt", "héllo"); fs.appendFileSync("out/a.txt", " more"); console.log(fs.readFileSync("out/a.txt", { encoding: "utf8" }));
        fs.mkdirSync("out/deep/er/still", { recursive: true }); await writeFile("out/deep/f.bin", new Uint8Array([1, 2, 255]));
        console.log(fs.readdirSync("out").sort(), fs.readdirSync("out", { recursive: true }).sort());
        console.log(fs.readdirSync("out/deep", { withFileTypes: true }).map((e) => [e.name, e.isFile(), e.isDirectory()]).sort());
        const s = await stat("out/a.txt"); console.log(s.size, s.isFile(), s.mtime instanceof Date, fs.existsSync("out/a.txt"), fs.existsSync("out/nope"));
        fs.renameSync("out/a.txt", "out/b.txt"); fs.copyFileSync("out/b.txt", "out/c.txt"); fs.unlinkSync("out/b.txt"); console.log(fs.readFileSync("out/c.txt", "utf8"));
        const dir = fs.mkdtempSync("out/tmp-"); console.log(dir.length, fs.statSync(dir).isDirectory());
        const tries = { missing: () => fs.readFileSync("out/none"), directory: () => fs.readFileSync("out"), exists: () => fs.mkdirSync("out"),
          notEmpty: () => fs.rmdirSync("out/deep"), scan: () => fs.readdirSync("nowhere"), exclusive: () => fs.writeFileSync("out/c.txt", "", { flag: "wx" }),
          file: () => fs.statSync("out/c.txt/x"), type: () => fs.readFileSync({}), rename: () => fs.renameSync("out/x", "out/y"), nul: () => fs.statSync("a\\0b") };
        for (const [name, f] of Object.entries(tries)) try { f(); console.log(name, "worked"); } catch (e) { console.log(name, e.code, e.syscall, e.path, e.message.split("\\n")[0].slice(0, 80)); }
        await rm("out/deep", { recursive: true }); await rm("out/none", { force: true }); await rm("out/none").catch((e) => console.log(e.code));
        fs.readFile("in.txt", "utf8", (error, text) => { console.log("callback", error, text.length); fs.readFile("none", (e) => console.log(e.code)); });
        const big = "0123456789".repeat(200000); fs.writeFileSync("out/big", big); console.log(fs.readFileSync("out/big", "utf8") === big);
        fs.appendFileSync("out/big", big); console.log(fs.statSync("out/big").size);
    """, """
        [ 'line one', 'line two', '' ] 18
        héllo more
        [ 'a.txt', 'deep' ] [ 'a.txt', 'deep', 'deep/er', 'deep/er/still', 'deep/f.bin' ]
        [ [ 'er', false, true ], [ 'f.bin', true, false ] ]
        11 true true true false
        héllo more
        14 true
        missing ENOENT open out/none ENOENT: no such file or directory, open 'out/none'
        directory EISDIR read undefined EISDIR: illegal operation on a directory, read
        exists EEXIST mkdir out EEXIST: file already exists, mkdir 'out'
        notEmpty ENOTEMPTY rmdir out/deep ENOTEMPTY: directory not empty, rmdir 'out/deep'
        scan ENOENT scandir nowhere ENOENT: no such file or directory, scandir 'nowhere'
        exclusive EEXIST open out/c.txt EEXIST: file already exists, open 'out/c.txt'
        file ENOTDIR stat out/c.txt/x ENOTDIR: not a directory, stat 'out/c.txt/x'
        type ERR_INVALID_ARG_TYPE undefined undefined The "path" argument must be of type string or an instance of Buffer or URL. Rece
        rename ENOENT rename out/x ENOENT: no such file or directory, rename 'out/x' -> 'out/y'
        nul ERR_INVALID_ARG_VALUE undefined undefined The argument 'path' must be a string, Uint8Array, or URL without null bytes. Rec
        ENOENT
        true
        4000000
        callback null 18
        ENOENT
    """)


def test_process():
    prints("""
        process.stdout.write("no newline|"); process.stdout.write(new Uint8Array([104, 105, 10]));
        console.log(process.argv.slice(2), process.env.GIVEN, typeof process.hrtime.bigint(), process.hrtime().length, typeof process.pid);
        let text = ""; for await (const chunk of process.stdin.setEncoding("utf8")) text += chunk; console.log(JSON.stringify(text));
        process.exitCode = 3;
    """, """
        no newline|hi
        [ 'one', '-x', '--read', 'ü' ] undefined bigint 2 number
        "some\\ninput é"
    """, "one", "-x", "--read", "ü", stdin="some\ninput é", rc=3)
    prints("import fs from 'fs'; console.log(fs.readFileSync(0, 'utf8').toUpperCase()); process.exit(7); console.log('never')", "ABC\n", stdin="abc", rc=7)
    prints("process.stdin.on('data', (d) => console.log(String(d))).on('end', () => console.log('end'))", "xyz\nend\n", stdin="xyz")
    ours = script("console.log(process.cwd(), process.argv[1], process.env)", flags=("--env", "A=1"))
    equal(ours.out, "/work /work/script.mjs { A: '1' }\n", repr(ours))


def test_errors_end_with_code_1_and_say_where():
    for code, line, message in (
            ("\nfunction boom() {\n  throw new TypeError('bad');\n}\nboom();", 3, "TypeError: bad\n    at boom (/work/script.mjs:3:"),
            ("await Promise.reject(new Error('rejected'))", 1, "Error: rejected"),
            ("Promise.reject(new Error('nobody catches'));\nsetTimeout(() => console.log('late'), 100)", 1, "Error: nobody catches"),
            ("setTimeout(() => {\n null.x }, 1)", 2, "TypeError: "),
            ("let x = ;", 1, "SyntaxError: "),
            ("queueMicrotask(() => { throw new RangeError('micro') })", 1, "RangeError: micro"),
            ("process.nextTick(() => { throw new Error('tick') })", 1, "Error: tick")):
        result = script(code)
        equal((result.rc, result.out), (1, ""), repr(result))
        contains(result.err, f"/work/script.mjs:{line}\n", code)
        contains(result.err, message, code)
        lacks(result.err, "ambit:runtime", code)
    for value in ("'text'", "undefined", "null", "{ a: 1 }", "Symbol('s')"):
        result = script(f"throw {value}")
        equal(result.rc, 1, repr(result))
        contains(result.err, "Uncaught ")
    result = script("console.log('before'); await new Promise(() => {})")
    equal((result.rc, result.out), (13, "before\n"), repr(result))
    contains(result.err, "unsettled top-level await")
    result = script("process.on('uncaughtException', (e) => console.log('handled', e.message)); setTimeout(() => console.log('goes on'), 5); throw new Error('x')")
    equal((result.rc, result.out), (0, "handled x\ngoes on\n"), repr(result))


def test_absent_is_absent():
    result = script("""
        console.log(typeof require, typeof XMLHttpRequest, typeof WebSocket, typeof Worker, typeof Intl, typeof Blob, typeof process.binding, typeof process.kill);
        for (const name of ["child_process", "net", "worker_threads", "http", "vm"]) await import(`node:${name}`).then(() => console.log(name), (e) => console.log(e.code));
        console.log(typeof native, typeof hooks, Object.keys(globalThis).includes("native"), typeof std, typeof os);
    """)
    equal(result.out, "undefined undefined undefined undefined undefined undefined undefined undefined\n" + "ERR_UNKNOWN_BUILTIN_MODULE\n" * 5
          + "undefined undefined false undefined undefined\n", repr(result))


def test_what_a_file_is():
    write("tool", "#!/usr/bin/env node\nconsole.log('by its line', import.meta.filename)\n")
    write("other", "#!/usr/bin/env -S ambit run\nconsole.log('ambit line')\n")
    write("plain.js", "console.log(this === undefined, 'plain')\n")
    equal(run("run", "-q", "tool").out, "by its line /work/tool\n")
    equal(run("run", "-q", "other").out, "ambit line\n")
    equal(run("run", "-q", "plain.js").out, "true plain\n")
    equal(run("run", "-q", "-", "a", stdin="#!/usr/bin/env node\nconsole.log(process.argv.slice(2))\n").out, "[ 'a' ]\n")
    os.makedirs("elsewhere/sub", exist_ok=True)
    os.symlink("../plain.js", "elsewhere/link.js")
    equal(run("run", "-q", "elsewhere/link.js").out, "true plain\n")
    write("x.ts", "let a: number = 1")
    contains(run("run", "x.ts").err, "TypeScript")
    described = run("inspect", "--json", "plain.js")
    equal(json.loads(described.out)["kind"], "javascript", repr(described))
    result = run("run", "plain.js")
    program = result.events_of("program")[0]
    equal((program["kind"], program["script_guest"]), ("javascript", "/work/plain.js"), repr(program))
    result = run("run", "plain.js", env={"AMBIT_JS_COMPONENT": "/nowhere/js.wasm"})
    contains(result.err, "AMBIT_JS_COMPONENT")


def test_denials_are_nodes_errors_with_the_smallest_grant():
    write("secret.txt", "s")
    write("helper.mjs", "export const x = 1")
    code = "import fs from 'fs'; try { fs.readFileSync('secret.txt') } catch (e) { console.log(e.code, e.message) }"
    write("script.mjs", code)
    result = run("run", "script.mjs")
    equal(result.out, "EACCES EACCES: permission denied, open 'secret.txt'\n", repr(result))
    contains(result.err, "paths: [secret.txt]")
    write("script.mjs", "import './helper.mjs'")
    result = run("run", "script.mjs")
    equal(result.rc, 1)
    contains(result.err, "EACCES: permission denied, open '/work/helper.mjs'")
    contains(result.err, "allow: [read]")
    contains(result.err, "paths: [helper.mjs]")
    with Origin() as o:
        write("script.mjs", f"try {{ await fetch('{o.url('/hello')}') }} catch (e) {{ console.log(e.name, e.message, e.cause.code) }}")
        result = run("run", "script.mjs")
        equal(result.out, "TypeError fetch failed EACCES\n", repr(result))
        contains(result.err, f"http: http://127.0.0.1:{o.port}")
        equal(o.requests, [])


# Each goes too deep somewhere: in calls, in the parser, in JSON, in proxies, in the library.
DEEP = """
    const f = () => f() + 1, N = 30000, nest = (n) => { let o = {}, x = o; for (let i = 0; i < n; i++) x = x.a = {}; return o; };
    const around = (open, close) => (0, eval)(open.repeat(N) + "1" + close.repeat(N));
    const list = (n) => { let a = []; for (let i = 0; i < n; i++) a = [a]; return a; };
    const all = { calls: f, stringify: () => JSON.stringify(nest(N)), parse: () => JSON.parse("[".repeat(N) + "]".repeat(N)), brackets: () => around("[", "]"),
      parens: () => around("(", ")"), unary: () => around("-+", ""), blocks: () => around("{", "}"), arrows: () => around("x=>", ""), ifs: () => around("if(1)", ";"),
      ternary: () => around("1?", ":1"), template: () => around("`${", "}`"), assign: () => around("a=", ""), news: () => around("new ", ""), objects: () => around("({a:", "})"),
      classes: () => around("(class{[", "](){}})"), functions: () => around("(function(){", "})"), regexp: () => new RegExp("(".repeat(N)), flat: () => list(N).flat(Infinity), text: () => String(list(N)),
      proxy: () => { let p = {}; for (let i = 0; i < N; i++) p = new Proxy(p, {}); return p.x; }, isArray: () => { let p = []; for (let i = 0; i < N; i++) p = new Proxy(p, {}); return Array.isArray(p); },
      classChain: () => { let C = class {}; for (let i = 0; i < N; i++) C = class extends C {}; return new C(); },
      clone: () => structuredClone(nest(N)), map: () => { const g = () => [1].map(g); g(); }, sort: () => { const g = () => [2, 1].sort(g); g(); }, replace: () => { const g = () => "x".replace(/x/, g); g(); },
      getter: () => { const o = { get a() { return this.a; } }; return o.a; }, generator: () => { function* g() { yield* g(); } return [...g()]; }, toJSON: () => { const o = { toJSON: () => JSON.stringify(o) }; return JSON.stringify(o); },
      inspect: () => { const o = { [Symbol.for("nodejs.util.inspect.custom")]: (d, x, inspect) => inspect(o) }; console.log(o); } };
    const wanted = process.argv[2].split(",");
    for (const name of wanted) { let how = "no error"; try { all[name](); } catch (e) { how = e.name; } console.log(name, how); }
    console.log("alive");
"""


def test_depth_is_an_error_never_a_trap():
    names = re.findall(r"\b(\w+): (?:f,|\(\) =>)", DEEP.split("const all =")[1].split("const wanted")[0])
    names = [n for n in names if n not in ("a", "o", "toJSON")] + ["toJSON"]
    for i in range(0, len(names), 8):
        some = names[i:i + 8]
        result = script(DEEP, ",".join(some), flags=("--memory", "1GiB", "--cpu", "60s", "--wall", "120s"), timeout=150)
        equal(result.rc, 0, repr(result))
        lines = result.out.splitlines()
        equal(lines[-1], "alive", repr(result))
        for name, line in zip(some, lines):
            assert re.fullmatch(rf"{name} (RangeError|SyntaxError|InternalError|TypeError|ReferenceError)", line), repr(result)


def test_endless_scripts_end_by_a_limit():
    for code in ("/(a+)+$/.test('a'.repeat(60) + 'b')", "for (;;);", "const g = () => queueMicrotask(g); g()",
                 "process.nextTick(function f() { process.nextTick(f) })", "process.on('exit', () => { for (;;); })", "(async () => { for (;;) await 1 })()"):
        result = script(code, flags=("--cpu", "1s"))
        equal(result.rc, TIME_LIMIT, f"{code}: {result!r}")
    for code in ("setInterval(() => {}, 5)", "await new Promise((r) => setTimeout(r, 1e9))"):
        result = script(code, flags=("--wall", "1s"))
        equal(result.rc, TIME_LIMIT, f"{code}: {result!r}")


def test_output_that_nobody_reads_ends_the_script():
    write("script.mjs", "for (let i = 0; ; i++) console.log('line', i)")
    result = execute(["/bin/sh", "-c", f"{AMBIT} run -q {' '.join(allow_missing())} --cpu 20s script.mjs | head -n 2"], environ=environment())
    equal(result.out, "line 0\nline 1\n", repr(result))
    contains(result.err, "EPIPE")


def test_memory_ends_by_a_limit():
    for code in ("const a = []; for (;;) a.push({ a: 1, b: [1, 2] })", "let s = 'x'; for (;;) s += s + 'y'; ", "const a = []; for (;;) a.push(new Uint8Array(1e6).fill(1))",
                 "'x'.repeat(2 ** 29).split('')"):
        result = script(code, flags=("--memory", "64MiB", "--cpu", "30s"))
        assert result.rc in (LIMIT, 1), f"{code}: {result!r}"
        assert result.rc != TRAP, repr(result)


def test_a_script_that_breaks_its_own_language_breaks_itself_alone():
    for code in (
            "Array.prototype.push = () => { throw 1 }; Array.prototype.shift = () => { throw 2 }; setTimeout(() => {}, 1); null.x",
            "Promise.prototype.then = () => 1; Function.prototype.call = null; Reflect.apply = null; Array.prototype[Symbol.iterator] = null; null.x",
            "Object.defineProperty(Object.prototype, 'done', { get() { throw 1 }, set() { throw 2 } }); setTimeout(() => {}, 1); null.x",
            "Error.prototype.toString = () => { throw 1 }; Error.prepareStackTrace = () => { throw 2 }; RegExp.prototype.exec = null; throw new Error('x')",
            "throw { get stack() { throw 5 }, [Symbol.for('nodejs.util.inspect.custom')]() { throw 9 } }",
            "globalThis.process = null; globalThis.console = null; Map.prototype.get = null; throw new Error('x')",
            "Object.freeze(Object.prototype); Object.freeze(Array.prototype); Object.freeze(globalThis); throw new Error('x')",
            "for (const o of [Array, String, Map, Promise, Object, Function, RegExp]) for (const k of Reflect.ownKeys(o.prototype)) try { delete o.prototype[k] } catch {} null.x"):
        result = script(code, flags=("--cpu", "5s", "--wall", "5s"))
        assert result.rc in (1, TIME_LIMIT), f"{code}: {result!r}"


def test_the_example_of_the_page():
    page = (TOP / "docs" / "javascript.md").read_text()
    code, shown = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("js", "text"))
    write("notes.txt", "a note\n")
    result = script(code, "a", "b", flags=("--read", "."), name="app.js")
    equal((result.out, result.rc), (shown, 0), repr(result))


# ---- fetch ----

FETCH = """
    const base = process.argv[2];
    const tell = async (name, f) => { try { console.log(name, await f()); } catch (e) { console.log(name, e.name, e.message, e.cause?.code ?? e.cause?.message ?? ""); } };
"""


def test_fetch():
    with Origin() as o:
        write("net.yaml", f"version: 1\ngrants:\n  - http: http://127.0.0.1:{o.port}\n    methods: [\"*\"]\n    paths: [\"/**\"]\n    addresses: [127.0.0.1]\n")
        code = FETCH + """
            await tell("hello", async () => { const r = await fetch(base + "/hello"); return [r.status, r.ok, r.redirected, r.url === base + "/hello", await r.text()]; });
            await tell("missing", async () => (await fetch(base + "/none")).status);
            await tell("redirect", async () => { const r = await fetch(base + "/redirect?to=/hello"); return [r.redirected, r.url.slice(base.length), await r.text()]; });
            await tell("manual", async () => { const r = await fetch(base + "/redirect?to=/hello", { redirect: "manual" }); return [r.status, r.headers.get("location")]; });
            await tell("error", async () => fetch(base + "/redirect?to=/hello", { redirect: "error" }));
            await tell("echo", async () => { const r = await fetch(base + "/echo", { method: "POST", body: "abc", headers: { "x-a": "b" } }); const seen = await r.json(); return [seen.method, seen.size]; });
            await tell("stream", async () => { const body = ReadableStream.from((async function* () { for (let i = 0; i < 10; i++) { await new Promise((r) => setTimeout(r, 2)); yield new Uint8Array(1000).fill(i); } })());
              const seen = await (await fetch(base + "/echo", { method: "PUT", body, duplex: "half" })).json(); return [seen.method, seen.size]; });
            await tell("aborted", async () => fetch(base + "/hello", { signal: AbortSignal.abort() }));
            await tell("scheme", async () => fetch("ftp://x/"));
        """
        prints(code, """
            hello [ 200, true, false, true, 'hello world\\n' ]
            missing 404
            redirect [ true, '/hello', 'hello world\\n' ]
            manual [ 302, '/hello' ]
            error TypeError fetch failed unexpected redirect
            echo [ 'POST', 3 ]
            stream [ 'PUT', 10000 ]
            aborted AbortError This operation was aborted 
            scheme TypeError fetch failed unknown scheme
        """, f"http://127.0.0.1:{o.port}", flags=("-g", "net.yaml"))
        framed = [method for method, _, headers, _ in o.requests if "transfer-encoding" in headers or "content-length" in headers]
        equal(sorted(set(framed)), ["POST", "PUT"], "requests with a body, and only those, say how long it is")


def test_answers_that_nobody_reads_give_their_handles_back():
    with Origin() as o:
        write("net.yaml", f"version: 1\ngrants:\n  - http: http://127.0.0.1:{o.port}\n    paths: [\"/**\"]\n    addresses: [127.0.0.1]\n")
        result = script("for (let i = 0; i < 300; i++) await fetch(process.argv[2]); console.log('done')", o.url("/hello"), flags=("-g", "net.yaml", "--handles", "600"))
        equal((result.out, result.rc), ("done\n", 0), repr(result))


def test_a_redirect_is_decided_anew():
    with Origin() as allowed, Origin() as other:
        write("net.yaml", f"version: 1\ngrants:\n  - http: http://127.0.0.1:{allowed.port}\n    paths: [\"/**\"]\n    addresses: [127.0.0.1]\n")
        write("script.mjs", FETCH + f"await tell('away', async () => fetch(base + '/redirect?to={other.url('/hello')}'));")
        result = run("run", "-g", "net.yaml", "script.mjs", f"http://127.0.0.1:{allowed.port}")
        equal(result.out, "away TypeError fetch failed EACCES\n", repr(result))
        contains(result.err, f"http: http://127.0.0.1:{other.port}")
        equal(other.requests, [])
