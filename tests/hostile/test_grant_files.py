# SPDX-License-Identifier: Apache-2.0
"""Bad grant files through `ambit run -g`, mounts over what is never granted, and control characters in all that is printed."""

import os
import pathlib
import re
import stat
import tempfile

import ambit
from ambit import BAD_GRANT, TOP, TRAP, cc_guest, contains, environment, equal, execute, lacks, run, run_on_terminal, script, wat, write

FSOP = TOP / "tests" / "hostile" / "guests" / "fsop.c"
NOTHING = '(module (memory (export "memory") 1) (func (export "_start")))'
HEAD = "version: 1\ngrants:\n"


def refused(text, *parts, name="bad.yaml", at=None):
    """Exit code 121, three lines, line and column, and nothing left: no receipt, no output of the guest."""
    result = run("run", "-g", write(name, text), wat(NOTHING))
    equal(result.rc, BAD_GRANT, f"{text!r}\n{result!r}")
    equal(result.out, "")
    assert result.err.count("\n") <= 4 and result.err.startswith("ambit: "), result.err
    contains(result.err, "\n  why: ")
    if at is not None:
        assert re.search(rf"(line {at[0]}, column {at[1]}\b|:{at[0]}:{at[1]}: )", result.err), f"not at {at}: {result.err}"
    for part in parts:
        contains(result.err, part)
    equal(result.events, [], "a receipt was begun")
    return result


def test_a_refused_file_leaves_no_receipt():
    state = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))  # of this test alone: others run beside it on the shared one
    runs = pathlib.Path(state) / "runs"
    run("run", wat(NOTHING), env={"AMBIT_STATE_DIR": state}, rc=0)
    before = set(os.listdir(runs))
    assert before, "the control left none either"
    run("run", "-g", write("bad.yaml", "version: 2\n"), wat(NOTHING), env={"AMBIT_STATE_DIR": state}, rc=BAD_GRANT)
    equal(set(os.listdir(runs)), before)


def test_control_a_good_file_is_taken():
    os.mkdir("src")
    for text in (HEAD + "  - {fs: /work/src, from: {dir: src}, allow: ro}\n", '{"version": 1, "grants": [{"args": "given"}]}', "version: 1\ngrants: []\n"):
        run("run", "-g", write("good.yaml", text), wat(NOTHING), rc=0)


def test_bad_grant_files():
    os.mkdir("src")
    fs = "  - fs: /work\n    from: {dir: src}\n    allow: ro\n"
    refused(HEAD + "  - fs: /work\n    form: {dir: src}\n    allow: ro\n", "form", at=(4, 5))
    refused(HEAD + fs + "    allow: rw\n", "allow", at=(6, 5))
    refused("version: 1\nversion: 1\ngrants: []\n", "version", at=(2, 1))
    refused("version: 1\nlimit: {cpu: 1s}\ngrants: []\n", "limit", at=(2, 1))
    refused(HEAD + "  - fs: &a /work\n    from: memory\n    allow: ro\n", at=(3, 9))
    refused(HEAD + "  - &x {args: given}\n  - *x\n", at=(3, 5))
    refused(HEAD + "  - !!map {args: given}\n", at=(3, 5))
    refused(HEAD + "  - {<<: {args: given}}\n", at=(3, 6))
    refused("version: 1\nlimits: {memory: 64MB}\ngrants: []\n", "64MB", "MiB", at=(2, 18))
    refused("version: 1\nlimits: {cpu: 2}\ngrants: []\n", at=(2, 15))
    refused("version: 1\nlimits: {cpu: 2 s}\ngrants: []\n", at=(2, 15))
    refused("version: 1\nlimits: {handles: many}\ngrants: []\n", at=(2, 19))
    refused("version: 1\nlimits: {wall: -1s}\ngrants: []\n", at=(2, 16))
    refused("version: 1\nlimits: {memory: 99999999999999999999GiB}\ngrants: []\n", at=(2, 18))
    refused("version: 2\ngrants: []\n", "version", at=(1, 10))
    refused("grants: []\n", "version")
    refused(HEAD + "  - {fs: /work/../etc, from: memory, allow: ro}\n", "..", at=(3, 10))
    refused(HEAD + "  - {fs: work, from: memory, allow: ro}\n", "/work/work", at=(3, 10))
    refused(HEAD + "  - {fs: /work, from: {dir: src/../..}, allow: ro}\n", "..", at=(3, 29))
    refused(HEAD + '  - {fs: /work, from: {dir: src}, allow: ro, paths: ["../**"]}\n', "..")
    refused(HEAD + '  - {fs: /work, from: {dir: src}, allow: ro, paths: ["a//b"]}\n')
    refused(HEAD + '  - {fs: /work, from: {dir: src}, allow: ro, paths: ["/etc"]}\n', "relative")
    refused(HEAD + '  - {fs: /work, from: {dir: src}, allow: ro, paths: ["[a-z]"]}\n')
    refused(HEAD + '  - {fs: /work, from: {dir: src}, allow: ro, paths: []}\n')
    refused(HEAD + "  - {fs: /work, from: {dir: src}, allow: [read, raed]}\n", "raed")
    refused(HEAD + "  - {fs: /work, from: {dir: src}, allow: []}\n")
    refused(HEAD + "  - {model: [a/b]}\n", "model")
    refused(HEAD + "  - {http: https://example.org/, methods: [GET]}\n", "paths", at=(3, 12))
    refused(HEAD + "  - {http: https://u:p@example.org}\n", at=(3, 12))
    refused(HEAD + "  - {http: http://0x7f.1}\n", at=(3, 12))
    refused(HEAD + "  - {http: http://169.254.169.254}\n", at=(3, 12))
    refused(HEAD + "  - {http: https://example.org, methods: [get]}\n", "GET", at=(3, 43))
    refused(HEAD + "  - {http: https://example.org, methods: [CONNECT]}\n", at=(3, 43))
    refused(HEAD + '  - {http: https://example.org, paths: ["/a?b"]}\n', "query", at=(3, 41))
    refused(HEAD + '  - {http: https://example.org, paths: ["/a/../b"]}\n', at=(3, 41))
    refused(HEAD + '  - {http: https://example.org, paths: ["/%61"]}\n', "/a", at=(3, 41))
    refused(HEAD + '  - {http: https://example.org, set_headers: {x: "a\\r\\nhost: b"}}\n', at=(3, 50))
    refused(HEAD + "  - {http: https://example.org, set_headers: {Host: b}}\n", at=(3, 47))
    refused(HEAD + '  - {http: https://example.org, set_headers: {authorization: "Bearer ${TOKEN}"}}\n', "means nothing", at=(3, 62))
    refused(HEAD + '  - {http: http://example.org, set_headers: {authorization: "Bearer ${secret:x}"}}\n', "over http", at=(3, 12))
    refused(HEAD + '  - {http: https://example.org, require_headers: {authorization: "Bearer ${secret:x}"}}\n', "only in `set_headers`", at=(3, 66))
    refused(HEAD + "  - {http: https://example.org, registry_guard: lockfile}\n", "not available", at=(3, 33))
    refused(HEAD + "  - {http: https://example.org, addresses: [169.254.169.254]}\n", "secrets")
    refused(HEAD + "  - {http: https://example.org, addresses: [0.0.0.0/0, localhost]}\n", at=(3, 56))
    refused(HEAD + "  - {http: https://example.org, rate: 1e9/s}\n", "30/min", at=(3, 39))
    refused(HEAD + "  - {keyvalue: cache}\n", "allow", at=(3, 5))
    refused(HEAD + "  - {keyvalue: cache, allow: [get, write]}\n", "write", at=(3, 36))
    refused(HEAD + "  - {secret: x}\n", "secret")
    refused(HEAD + "  - {env: {LANG: 1}}\n", "quote it", at=(3, 18))
    refused(HEAD + '  - {env: {"A=B": x}}\n')
    refused(HEAD + "  - {clock: yesterday}\n")
    refused(HEAD + "  - {stdio: [stdout, stdlog]}\n", "stdlog")
    refused(HEAD + "  - {log: [loud]}\n", "loud")
    refused(HEAD + "  - {args: given}\n--- \nversion: 1\ngrants: []\n")
    refused("version: 1\ngrants: [\n")
    refused("\x00\x01\x02", at=(1, 1))
    refused(HEAD + "  - {args: given} # \x1b\n", "control characters", at=(3, 21))
    refused(b"version: 1\ngrants: [\xff\xfe]\n")
    refused("")
    refused("- 1\n")
    refused("[" * 100000)
    refused('{"version": 1, "grants": [], "grants": []}', "grants")
    refused("version: 1\nexpires: soon\ngrants: []\n")
    refused(HEAD + "  - {args: given}\n" * 2000)
    # A folder that is not there, and a file in its place.
    refused(HEAD + "  - {fs: /work, from: {dir: nowhere}, allow: ro}\n", "mkdir -p")
    write("file", "x")
    refused(HEAD + "  - {fs: /work, from: {dir: file}, allow: ro}\n", "file")


def test_overlapping_mounts():
    os.mkdir("one")
    os.mkdir("two")
    refused(HEAD + "  - {fs: /work, from: {dir: one}, allow: ro}\n  - {fs: /work, from: {dir: two}, allow: ro}\n", "bad.yaml:3", "bad.yaml:4")
    refused(HEAD + "  - {fs: /work, from: {dir: one}, allow: ro}\n  - {fs: /work, from: memory, allow: ro}\n")
    # Of two files, and of a file and a flag.
    a = write("a.yaml", HEAD + "  - {fs: /work, from: {dir: one}, allow: ro}\n")
    b = write("b.yaml", HEAD + "  - {fs: /work, from: {dir: two}, allow: ro}\n")
    equal(run("run", "-g", a, "-g", b, wat(NOTHING)).rc, BAD_GRANT)
    equal(run("run", "-g", a, "--read", "two:/work", wat(NOTHING)).rc, BAD_GRANT)
    # Controls: one source twice, and one inside the other, are fine.
    run("run", "-g", a, "--read", "one:/work", wat(NOTHING), rc=0)
    run("run", "-g", a, "--read", "two:/work/two", wat(NOTHING), rc=0)


def test_globs_that_match_nothing():
    """Not an error: the file may come to be. Everything is denied, and the nearest rule named."""
    os.mkdir("src")
    write("src/main.c", "int x;")
    grants = write("g.yaml", HEAD + '  - {fs: /work, from: {dir: src}, allow: ro, paths: ["*.zig", "lib/**"]}\n  - {stdio: [stdout]}\n  - {args: given}\n')
    result = run("run", "-g", grants, cc_guest(FSOP), "get", "work/main.c")
    equal((result.out, result.events_of("denial")[0]["reason"]), ("acces\n", "no-path"))
    contains(result.err, "g.yaml:3")
    write("src/new.zig", "now")
    equal(run("run", "-g", grants, cc_guest(FSOP), "get", "work/new.zig").out, "ok now\n")


def test_mounts_over_ambits_own_state():
    folder = pathlib.Path.cwd()
    home = folder / "home"
    state = home / "state" / "ambit"
    state.mkdir(parents=True, mode=0o700)
    (home / "state").chmod(0o700)
    env = {"AMBIT_STATE_DIR": str(state)}
    run("run", wat(NOTHING), env=env, rc=0)
    (folder / "link").symlink_to(home)
    (folder / "deep").symlink_to(state / "cache")
    key = [p for p in state.rglob("*") if p.is_file()]
    assert key, "the state folder has nothing to steal"
    for host in (state, state / "cache", state / "runs", home / "state", home, folder, "/", folder / "link", folder / "deep", folder / "link" / "state"):
        for allow in ("ro", "rw"):
            text = HEAD + f'  - {{fs: /s, from: {{dir: "{host}"}}, allow: {allow}}}\n'
            before = len(os.listdir(state / "runs"))
            result = run("run", "-g", write("s.yaml", text), wat(NOTHING), env=env)
            equal(result.rc, BAD_GRANT, f"{host}\n{result!r}")
            linked = host in (folder / "link", folder / "deep", folder / "link" / "state")
            contains(result.err, "through a link" if linked else "Ambit's own state")
            contains(result.err, "s.yaml:3")
            assert len(os.listdir(state / "runs")) <= before + 1
        equal(run("run", "--read", f"{host}:/s", wat(NOTHING), env=env).rc, BAD_GRANT, host)
    # To read what provably leaves it out is fine, to write is not: a worker has the whole folder.
    name = key[0].relative_to(home)
    for allow, paths, rc in (("ro", '["documents/**"]', 0), ("ro", '["documents/**", "st*/**"]', BAD_GRANT), ("ro", '["**/ambit"]', BAD_GRANT),
                             ("rw", '["documents/**"]', BAD_GRANT), ("[delete]", '["documents/**"]', BAD_GRANT)):
        text = HEAD + f'  - {{fs: /s, from: {{dir: "{home}"}}, allow: {allow}, paths: {paths}}}\n  - {{stdio: [stdout]}}\n'
        result = run("run", "-q", "-g", write("s.yaml", text), cc_guest(FSOP), "stat", f"s/{name}", env=env)
        if rc:
            equal(result.rc, rc, f"{allow} {paths}\n{result!r}")
        else:
            equal(result.out, "acces\n")
    # Control: the neighbour is fine, and with the state elsewhere the same folder is.
    (home / "documents").mkdir()
    run("run", "--read", f"{home / 'documents'}:/s", wat(NOTHING), env=env, rc=0)
    result = run("run", "-q", "--read", f"{home}:/s", cc_guest(FSOP), "stat", f"s/{name}", isolated=True, rc=0)
    contains(result.out, "ok 4")


def test_mounts_through_planted_links():
    """Case 5 for control itself: what a guest, a clone or a neighbour in /tmp made must not decide which folder is granted."""
    folder = pathlib.Path.cwd()
    (folder / "home").mkdir()
    (folder / "home" / "key").write_text("canary")
    (folder / "tree" / "real").mkdir(parents=True)
    (folder / "tree" / "real" / "key").write_text("harmless")
    (folder / "tree" / "data").symlink_to("../home")
    (folder / "tree" / "deep").symlink_to("..")
    for host in ("data", "data/.", "deep/home", folder / "tree" / "data"):
        text = HEAD + f'  - {{fs: /work, from: {{dir: "{host}"}}, allow: ro}}\n  - {{stdio: [stdout]}}\n'
        result = run("run", "-g", write("tree/g.yaml", text), cc_guest(FSOP), "get", "work/key")
        equal(result.rc, BAD_GRANT, f"{host}\n{result!r}")
        contains(result.err, "through a link")
        contains(result.err, f"it leads to {folder / 'home'}: grant that")
        lacks(result.out, "canary")
        for flag in ("--read", "--write"):
            equal(run("run", flag, f"tree/{host}:/work" if isinstance(host, str) else f"{host}:/work", wat(NOTHING)).rc, BAD_GRANT, host)
    # Control: the same without the link, and where the link leads, said in so many words.
    text = HEAD + '  - {fs: /work, from: {dir: "%s"}, allow: ro}\n  - {stdio: [stdout]}\n'
    equal(run("run", "-q", "-g", write("tree/g.yaml", text % "real"), cc_guest(FSOP), "get", "work/key", rc=0).out, "ok harmless\n")
    equal(run("run", "-q", "-g", write("tree/g.yaml", text % "../home"), cc_guest(FSOP), "get", "work/key", rc=0).out, "ok canary\n")


def test_what_control_writes_goes_through_no_planted_link():
    """A guest that may write below out/ leaves links where the next run's receipt and learned grants are asked for."""
    folder = pathlib.Path.cwd()
    (folder / "home").mkdir()
    (folder / "home" / "profile").write_text("canary")
    (folder / "out").mkdir()
    (folder / "out" / "r.jsonl").symlink_to("../home/profile")
    (folder / "out" / "h").symlink_to("../home")
    for path in ("out/r.jsonl", "out/h/new", "out/h/profile"):
        result = run("run", "--receipt", path, wat(NOTHING))
        equal(result.rc, ambit.INTERNAL, f"{path}\n{result!r}")
        contains(result.err, "not written through a link")
    run("run", "--learn", "out/h/new", cc_guest(FSOP), "get", "work/none")
    run("run", "--learn", "out/l.yaml", cc_guest(FSOP), "get", "work/none")
    (folder / "out" / "l.yaml").unlink()
    (folder / "out" / "l.yaml").symlink_to("../home/learned")
    run("run", "--learn", "out/l.yaml", cc_guest(FSOP), "get", "work/none")
    assert not (folder / "out" / "l.yaml").is_symlink(), "a learned file replaces a link"
    equal((folder / "home" / "profile").read_text(), "canary")
    equal(os.listdir(folder / "home"), ["profile"])
    # Control: beside the links it is written.
    run("run", "--receipt", "out/mine.jsonl", wat(NOTHING), rc=0)
    assert (folder / "out" / "mine.jsonl").stat().st_size > 0


def test_mounts_of_the_kernels_folders():
    for host in ("/proc", "/proc/self", "/proc/self/root", "/proc/1", "/sys", "/sys/kernel", "/dev", "/dev/pts", "/dev/fd"):
        if not os.path.isdir(host):
            continue
        result = run("run", "-g", write("k.yaml", HEAD + f'  - {{fs: /k, from: {{dir: "{host}"}}, allow: ro}}\n'), wat(NOTHING))
        equal(result.rc, BAD_GRANT, f"{host}\n{result!r}")
    os.symlink("/proc", "link")
    equal(run("run", "--read", "link:/k", wat(NOTHING)).rc, BAD_GRANT)
    # Control: a folder of files of that name.
    os.mkdir("proc")
    run("run", "--read", "proc:/proc", wat(NOTHING), rc=0)


def test_mount_of_a_folder_with_devices():
    """devtmpfs calls itself tmpfs; it is known by what it holds."""
    os.mkdir("devices")
    run("run", "--read", "devices:/d", wat(NOTHING), rc=0)  # the control: the same folder without the node
    try:
        os.mknod("devices/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        return  # nobody but root makes devices
    result = run("run", "--read", "devices:/d", wat(NOTHING))
    equal(result.rc, BAD_GRANT, repr(result))


def test_no_grant_is_proposed_for_the_kernels_folders():
    result = run("run", script("open('/proc/self/environ')", "peek.py"))
    denial, = [d for d in result.events_of("denial") if d["resource"].startswith("/proc")]
    equal((denial["reason"], denial["smallest_grant"]), ("no-grant", ""))


# ---- control characters ------------------------------------------------------------------------------------------------------

ESC, OSC, BIDI, C1 = "\x1b[31m", "\x1b]52;c;ZXZpbA==\x07", "\u202e", "\u009b31m"
EVIL = f"e{ESC}{OSC}{BIDI}{C1}\r\u2066\u200b\U000e0041\x7fvil"


def clean(raw, about=""):
    """Nothing in it but visible characters and line ends."""
    text = raw.decode("utf-8")
    for character in text:
        code = ord(character)
        bad = code < 0x20 and character not in "\n\t" or 0x7f <= code < 0xa0 or 0x200b <= code <= 0x200f or 0x202a <= code <= 0x202e or \
            0x2060 <= code <= 0x206f or 0xe0000 <= code <= 0xe0fff
        assert not bad, f"{about}: U+{code:04X} in {text!r}"


def stderr_of(result):
    return result.err.encode("utf-8", "surrogatepass")


def test_control_characters_in_names_and_arguments():
    name = EVIL.replace("/", "")
    folder = pathlib.Path.cwd() / name
    folder.mkdir()
    clean(stderr_of(run("run", folder / "nothing.wasm")), "a missing file")
    clean(stderr_of(run("run", write(folder / (name + ".wasm"), "not wasm"))), "a bad file")
    script = run_on_terminal("run", write(folder / (name + ".py"), "import nothing\n"), timeout=120)
    clean(re.sub(rb"\x1b\[[0-9;]*[mK]", b"", script.raw_out).replace(b"\r", b""), "a script")
    clean(stderr_of(run("run", "--" + name, "x")), "a flag")
    clean(stderr_of(run(name)), "a verb")
    for flags in (("--read", name + "/none"), ("--env", name), ("--cpu", name), ("--clock", name), ("--log", name), ("--cwd", name),
                  ("--random", name), ("--allow-missing-jail", name), ("--tmp", name), ("--config", name), ("--invoke", name)):
        result = run("run", *flags, wat(NOTHING))
        assert result.rc != 0, flags
        clean(stderr_of(result), flags)
    clean(stderr_of(run("run", "--learn", "/none/" + name, cc_guest(FSOP), "get", name, rc=ambit.INTERNAL)), "--learn")
    result = run("run", "--read", folder, "--env", f"X={name}", "--config", f"x={name}", cc_guest(FSOP), "get", name)
    clean(stderr_of(result), "a denied path")
    contains(result.events_of("denial")[0]["resource"], EVIL)  # control: that is what it was
    contains(result.err, "\\x1b[31m")
    clean(run("runs", "show", "last").raw_out, "a receipt")
    clean(run("runs", "ls").raw_out, "receipts")
    clean(run("inspect", write(folder / "x.wasm", "\0asm" + EVIL)).raw_out, "inspect")


def test_control_characters_in_grant_files():
    quoted = '"' + "".join(c if " " < c < "\x7f" else f"\\U{ord(c):08x}" for c in EVIL) + '"'
    for text in (HEAD + f"  - {{{quoted}: x}}\n", HEAD + f"  - {{fs: {quoted}, from: memory, allow: ro}}\n", HEAD + f"  - {{stdio: [{quoted}]}}\n",
                 HEAD + f"  - {{fs: /w, from: {{dir: {quoted}}}, allow: ro}}\n", HEAD + f"  - {{log: [{quoted}]}}\n", HEAD + f"  - {{clock: {quoted}}}\n",
                 HEAD + f"  - {{fs: /w, from: memory, allow: [{quoted}]}}\n", HEAD + f"  - {{env: {{{quoted}: x}}}}\n", HEAD + f"  - {{fs: /w, from: memory, allow: ro, paths: ['[', {quoted}]}}\n",
                 f"version: {quoted}\ngrants: []\n", f"limits: {{cpu: {quoted}}}\n", HEAD + "  - {stdio: [" + EVIL + "]}\n"):
        result = refused(text, name=EVIL.replace("/", "") + ".yaml")
        clean(stderr_of(result), text)
        for verb in ("check", "explain"):
            result = run("grant", verb, EVIL + ".yaml")
            clean(stderr_of(result) + result.raw_out, text)
    pattern = quoted.replace("[", chr(92) * 2 + "[")
    good = write("good.yaml", HEAD + f"  - {{env: {{X: {quoted}}}}}\n  - {{fs: /{'x'}, from: memory, allow: ro, paths: [{pattern}]}}\n")
    result = run("grant", "explain", good, rc=0)
    clean(result.raw_out, "explain")
    contains(result.out, "\\x1b[31m")


WRITES = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 8) "%s")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const %d))
    (drop (call $write (i32.const %d) (i32.const 0) (i32.const 1) (i32.const 4000)))))"""


def test_raw_output_of_the_guest_on_a_terminal():
    """On a terminal what a guest writes is filtered: colours pass, whatever else moves, titles, copies or hides does not."""
    evil = f"{ESC}red\x1b[0m {OSC}{BIDI}{C1}\x1b[2J\x1b]0;title\x07\x1bP+q\x1b\\\x1b[8mhidden\rover"
    raw = evil.encode()
    for fd in (1, 2):
        guest = wat(WRITES % ("".join(f"\\{b:02x}" for b in raw), len(raw), fd))
        shown = run_on_terminal("run", "-q", guest)
        equal(shown.rc, 0, repr(shown))
        contains(shown.raw_out, b"\x1b[31mred\x1b[0m")
        rest = shown.raw_out.replace(b"\x1b[31m", b"").replace(b"\x1b[0m", b"").replace(b"\r\n", b"\n")
        clean(rest, "terminal")
        contains(rest, b"\\x1b]52;")
        # Control: through a pipe it is what the guest wrote, so there was something to filter.
        result = run("run", "-q", guest, rc=0)
        equal(result.raw_out if fd == 1 else result.err.encode(), raw)


def test_control_characters_in_trap_messages_and_names_of_functions():
    name = "".join(f"\\{b:02x}" for b in EVIL.encode())
    # The name section gives the function a name for the backtrace.
    result = run("run", wat(f'(module (memory (export "memory") 1) (func ${"f"} (@name "{name}") unreachable) (func (export "_start") (call $f)))'))
    if result.rc != TRAP:
        result = run("run", wat(f'(module (memory (export "memory") 1) (func (export "_start") (call $f)) (func $f (export "{name}") unreachable))'))
    equal(result.rc, TRAP, repr(result))
    clean(stderr_of(result), "a trap")
    clean(run("runs", "show", "last").raw_out, "its receipt")
    # An import of that name.
    result = run("run", wat(f'(module (import "{name}" "{name}" (func)) (memory (export "memory") 1) (func (export "_start")))'))
    assert result.rc in (ambit.BAD_COMPONENT, ambit.DENIED), repr(result)
    clean(stderr_of(result), "an import")


LOGS = """(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $log
    (type $l (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
    (data (i32.const 16) "%(text)s"))
  (core instance $i (instantiate $m))
  (core func $log (canon lower (func $log "log") (memory $i "memory") (realloc (func $i "realloc"))))
  (core module $main
    (import "" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $log (i32.const %(level)d) (i32.const 16) (i32.const %(size)d) (i32.const 16) (i32.const %(size)d)) (i32.const 0)))
  (core instance $r (instantiate $main (with "" (instance (export "log" (func $log))))))
  (func $run (result (result)) (canon lift (core func $r "run")))
  (component $c (import "run" (func $f (result (result)))) (export "run" (func $f)))
  (instance $run (instantiate $c (with "run" (func $run))))
  (export "wasi:cli/run@0.2.0" (instance $run)))"""


def test_control_characters_in_log_lines():
    raw = (EVIL + "\n[error] forged").encode()
    guest = wat(LOGS % {"text": "".join(f"\\{b:02x}" for b in raw), "size": len(raw), "level": 2})
    result = run("run", "--log", "all", guest, rc=0)
    clean(stderr_of(result), "a log line")
    equal(len([line for line in result.err.splitlines() if line.startswith("[")]), 1, result.err)
    contains(result.events_of("log")[0]["message"], EVIL)  # control: it was there
    result = run("run", guest, rc=0)
    equal(result.events_of("log"), [])
    contains(result.events_of("denial")[0]["smallest_grant"], "log: [info]")
