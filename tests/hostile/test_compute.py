# SPDX-License-Identifier: Apache-2.0
"""Hostile compute and hostile binaries: groups 48 to 52 of the hostile cases. Guests are in guests/.

A case of a limit has its negative control: the same guest in the test build with only that limit left open, which then gets
what it wanted. Where the defence cannot be left open (the bounds checks of WebAssembly and of the canonical ABI are in the
machine code itself), the control is the same guest doing the same thing properly: it must succeed, so that the refusal is the
answer to the one thing that differs.
"""

import concurrent.futures
import os
import pathlib
import random
import shutil
import tempfile
import time

from ambit import (BAD_COMPONENT, DENIED, INTERNAL, LIMIT, TIME_LIMIT, TRAP, AMBIT, allow_missing, cc_guest, contains,
                   environment, equal, execute, lacks, run, write)
from serving import adopt, children

adopt()  # what outlives a command is ours, and nothing_left() sees it

GUESTS = pathlib.Path(__file__).resolve().parent / "guests"
OURS = {INTERNAL, *range(128, 256)} | {-n for n in range(1, 65)}   # our own fault, or a signal: never because of a guest
HELLO = bytes.fromhex("0061736d01000000010c0260047f7f7f7f017f60000002230116776173695f736e617073686f745f70726576696577310866645f77726974650000030201010503010001071302066d656d6f72790200065f737461727400010a1d011b004100412036020041044106360200410141004101411010001a0b0b0c010041200b0668656c6c6f0a")


def guest(name):
    return GUESTS / f"{name}.wat"


def figures(result):
    return result.events_of("run.finished")[-1]["worker_figures"]


def limit_of(result):
    return [e["limit"] for e in result.events_of("limit")]


def nothing_left():
    """No process of this test's but this one; nothing in TMPDIR but what the tests' own library puts there."""
    for _ in range(500):  # who was killed is gone a moment later
        while children(os.getpid()) and os.waitpid(-1, os.WNOHANG)[0]:
            pass
        if not children(os.getpid()):
            break
        time.sleep(0.02)
    left = {pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(os.getpid())}
    assert not left, f"left running: {left}"
    here = pathlib.Path(os.environ.get("TMPDIR", "/tmp"))
    strange = [p.name for p in here.iterdir() if not p.name.startswith(("receipt-", "state-", "wat-", "ambit-test-"))] \
        if "TMPDIR" in os.environ else []
    assert not strange, f"left in TMPDIR: {strange}"


def ends(result, rc, limit=None, why=None):
    """The three things a person sees: exit code, which limit, why."""
    equal(result.rc, rc, repr(result))
    equal(limit_of(result), [limit] if limit else [], repr(result))
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert lines and lines[0].startswith("ambit: "), repr(result)
    assert any(line.startswith("  why: ") for line in lines), repr(result)
    if why:
        contains(result.err, why)
    assert result.events_of("run.finished")[-1]["exit_code"] == rc, repr(result)
    return result


# ---- time --------------------------------------------------------------------------------------------------------------

def test_a_loop_ends_at_the_cpu_limit():
    for name in ("spin", "start-spin", "destructor-spin", "realloc-spins"):
        r = ends(run("run", "--cpu", "100ms", "--wall", "60s", guest(name)), TIME_LIMIT, "cpu", "100 ms of CPU time")
        assert figures(r)["cpu_ns"] >= 100e6, repr(r)
        control = run("run", "--cpu", "100ms", "--wall", "1s", guest(name), skip="cpu")
        ends(control, TIME_LIMIT, "wall")
        assert figures(control)["cpu_ns"] > figures(r)["cpu_ns"] or figures(control)["slices"] > figures(r)["slices"], \
            f"with the limit off it must go on\n{control!r}"
    nothing_left()


def test_a_sleeper_ends_at_the_wall_limit():
    ends(run("run", "--wall", "300ms", guest("sleep")), TIME_LIMIT, "wall")
    equal(run("run", "--wall", "300ms", guest("sleep"), skip="wall").rc, 0, "control")
    nothing_left()


def test_a_bulk_instruction_is_ended_after_at_most_one_more():
    r = ends(run("run", "--cpu", "100ms", guest("fill")), TIME_LIMIT, "cpu")
    equal(figures(r)["memory_peak_bytes"], 128 << 20)
    ends(run("run", "--cpu", "100ms", "--wall", "1s", guest("fill"), skip="cpu"), TIME_LIMIT, "wall")


def test_one_who_loops_does_not_touch_another():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        loops = [pool.submit(run, "run", "--cpu", "1s", guest("spin")) for _ in range(3)]
        for _ in range(3):
            equal(run("run", guest("hello"), rc=0).out, "hello\n")
        for loop in loops:
            equal(loop.result().rc, TIME_LIMIT)
    nothing_left()


# ---- space -------------------------------------------------------------------------------------------------------------

def test_deep_recursion_traps():
    ends(run("run", guest("recurse")), TRAP, why="call stack exhausted")
    equal(run("run", guest("recurse-1000")).rc, 0, "control: what is not endless")


def memory_case(name, limit, peak_above=0):
    r = ends(run("run", "--memory", limit, guest(name)), LIMIT, "memory")
    cap = int(limit[:-3]) << 20
    assert peak_above <= figures(r)["memory_peak_bytes"] <= cap, repr(r)
    equal(run("run", "--memory", limit, guest(name), skip="memory").rc, 0, f"control: {name} gets it when nobody counts")


def test_memory_is_summed_and_ends_at_the_page():
    memory_case("grow-slowly", "32MiB", (32 << 20) - 65535)         # within one page
    memory_case("instances", "64MiB", 48 << 20)                     # within one instance's memory, of four
    memory_case("memories", "64MiB", 48 << 20)                      # the same in one module
    memory_case("tables", "4MiB", 2 << 20)                          # tables count as well


def test_memory_and_tables_of_gigabytes():
    memory_case("grow-4g", "256MiB")
    r = ends(run("run", guest("table-2g")), LIMIT, "memory")
    assert figures(r)["memory_peak_bytes"] < 1 << 20, repr(r)
    # With the count off the pool is the last wall: the growth is refused, the guest sees -1 and traps.
    ends(run("run", guest("table-2g"), skip="memory"), TRAP)


# ---- what can be counted -----------------------------------------------------------------------------------------------

def test_handles():
    for name in ("stream-leak", "pollable-leak", "resource-leak"):
        ends(run("run", "--handles", "500", guest(name)), LIMIT, "handles", "500 handles")
        control = run("run", "--handles", "500", guest(name), skip="handles")
        equal(control.rc, 0, f"control: 100,000 of them\n{control!r}")
    nothing_left()


def test_output_is_delivered_to_the_byte():
    r = ends(run("run", "--output", "1000001", guest("output")), LIMIT, "output")
    equal(r.raw_out, b"x" * 1000001)
    control = run("run", "--output", "1000001", guest("output"), skip="output")
    equal((control.rc, control.raw_out), (0, b"x" * (4 << 20)), "control")


def test_hostcalls():
    r = ends(run("run", "--hostcalls", "1000", guest("hostcalls")), LIMIT, "hostcalls")
    equal(figures(r)["hostcalls"], 1000)
    control = run("run", "--hostcalls", "1000", guest("hostcalls"), skip="hostcalls")
    equal(control.rc, 0, repr(control))
    assert figures(control)["hostcalls"] >= 5000, repr(control)


def test_bytes_of_one_host_call():
    ends(run("run", guest("random-huge")), LIMIT, "hostcall-bytes")
    ends(run("run", guest("random-200m")), LIMIT, "hostcall-bytes")
    equal(run("run", guest("random-200m"), skip="hostcall-bytes").rc, 0, "control")
    equal(run("run", guest("random-good")).rc, 0)


# ---- pointers, lengths, handles, texts ---------------------------------------------------------------------------------

REFUSED = {
    "stream-use": ["stream-use-after-drop", "stream-double-drop", "stream-forged", "stream-forged-huge", "stream-wild-pointer",
                   "stream-wrap-around", "stream-huge-length", "stream-wild-result", "stream-misaligned-result"],
    "string-good": ["string-not-utf8", "string-surrogate", "string-overlong", "string-beyond-unicode", "string-cut", "string-wild",
                    "string-wrap", "string-huge", "enum-unknown"],
    "resource-good": ["destructor-trap", "resource-forged", "resource-use-after-drop"],
    "random-good": ["realloc-wild", "realloc-trap", "realloc-reenters"],
}


def test_what_the_canonical_abi_must_refuse():
    for good, bad in REFUSED.items():
        equal(run("run", "--log", "all", guest(good)).rc, 0, f"control: {good}")
        for name in bad:
            r = ends(run("run", "--log", "all", guest(name)), TRAP)
            lacks(r.out, "good", "nothing of the call may have happened")
            equal(r.events_of("log"), [], repr(r))
    nothing_left()


def test_results_that_their_types_do_not_have():
    contains(run("run", "--invoke", "good-char", guest("results"), rc=0).out, "'a'")
    for name in ("beyond", "surrogate", "enum", "wild-string", "huge-list", "wild-result"):
        r = ends(run("run", "--invoke", name, guest("results")), TRAP)
        equal(r.out, "")


def test_wild_pointers_in_wasi_01():
    """Each call with addresses beyond, at the edge, and wrapping around: it comes back with an error, or traps. Nothing else."""
    module = cc_guest(GUESTS / "wild.c")
    write("in/file", "content")
    calls = range(26)
    wild = [("0xffffffff", "0xffffffff"), ("0xfffffff0", "0x20"), ("0x7fffffff", "0x7fffffff"), ("0", "0xffffffff")]

    def one(call, pointer, length):
        r = run("run", "--bare", "-g", "g.yaml", "--memory", "64MiB", "--cpu", "2s", module, call, pointer, length, stdin=b"secret")
        assert r.rc in (0, TRAP, LIMIT), repr(r)
        if r.rc == 0:
            contains(r.out[-9:], "errno ", repr(r))
        lacks(r.out.replace("errno", ""), "secret")
        return call, pointer, r.rc == 0 and "errno 0" in r.out

    write("g.yaml", "version: 1\ngrants:\n  - stdio: [stdin, stdout, stderr]\n  - args: given\n  - clock: real\n  - random: real\n"
                    "  - fs: /data\n    from: { dir: in }\n    allow: ro\n")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda a: one(*a), [(c, *w) for c in calls for w in wild]))
    # Address 0 is in the guest's memory like any other, and an empty environment is written nowhere.
    succeeded = {c for c, pointer, ok in answers if ok and pointer != "0"}
    assert succeeded <= {1}, f"beyond the guest's memory: {succeeded}"
    equal(run("run", module, 3, "0x10000", "8", rc=0).out, "errno 0\n", "control: the same call, a proper address")
    nothing_left()


# ---- what is not granted -----------------------------------------------------------------------------------------------

def test_an_ungranted_import_stops_the_start():
    """Case 50: at the start, by name, although it is never called. Control: the same component without that import runs."""
    for name, rc, missing in (("ungranted", DENIED, "acme:billing/customers@1.0.0"), ("ungranted-preview1", BAD_COMPONENT, "env")):
        r = run("run", guest(name), rc=rc)
        contains(r.err, missing)
        equal(r.out, "")
    text = guest("ungranted").read_text().splitlines()
    equal(run("run", write("control.wat", "\n".join(t for t in text if "acme:" not in t)), "--", rc=None).rc, 0, "control")


def test_an_import_of_http_is_linked_and_denied_at_the_call():
    """wasi:http is always there, as the interpreters that ship need it; without a grant each request is denied (test_http_out)."""
    equal(run("run", guest("ungranted-http"), rc=0).out, "")


def test_clocks_and_random_bytes_are_no_channel_without_a_grant():
    """Case 52. The control is the same guest with both granted: then two runs do differ."""
    write("g.yaml", "version: 1\ngrants:\n  - stdio: [stdout, stderr]\n")
    runs = [run("run", "--bare", "-g", "g.yaml", guest("channel"), rc=0).raw_out for _ in range(3)]
    equal(len(runs[0]), 8 * 24)
    assert runs[0] == runs[1] == runs[2], runs
    fixed = ["--clock", "2026-01-01T00:00:00Z", "--random", "seed:1"]
    assert run("run", *fixed, guest("channel")).raw_out == run("run", *fixed, guest("channel")).raw_out
    assert run("run", guest("channel"), rc=0).raw_out != run("run", guest("channel"), rc=0).raw_out, "control: granted"


# ---- binaries ----------------------------------------------------------------------------------------------------------

def refused(path, *words, rc=BAD_COMPONENT, **more):
    r = run("run", path, timeout=20, **more)
    equal(r.rc, rc, repr(r))
    equal(r.out, "")
    for word in words:
        contains(r.err, word)
    assert "why:" in r.err and "try:" in r.err, repr(r)
    return r


def test_what_is_no_webassembly():
    """Control: the bytes that the corpus below is made of run."""
    equal(run("run", write("hello.wasm", HELLO), rc=0).out, "hello\n", "control")
    refused(write("empty.wasm", b""))
    refused(write("zeros.wasm", bytes(100)))
    refused(write("magic.wasm", b"\0asm"))
    refused(write("version.wasm", b"\0asm\x63\0\0\0"))
    refused(shutil.copy("/bin/true", "elf.wasm"), "ELF")
    refused(write("script.wasm", "#!/bin/sh\necho hello\n"), "script")
    refused(write("text.wat", "(module (func"))
    refused(write("wasi03.wat", '(component (import "wasi:cli/run@0.3.0-rc" (instance (export "run" (func async (result (result)))))))'),
            "0.3")
    refused(write("control.wat", '(module (import "\\1b[31mred\\00\\0a" "x" (func)) (func (export "_start")))'))
    lacks(run("run", "control.wat").err, "\x1b")
    nothing_left()


def test_machine_code_of_others():
    state = tempfile.mkdtemp(prefix="state-", dir=os.environ.get("TMPDIR"))
    run("run", write("hello.wasm", HELLO), env={"AMBIT_STATE_DIR": state}, rc=0)
    code = sorted(pathlib.Path(state, "cache").glob("*.code"))
    equal(len(code), 1)
    refused(write("foreign.cwasm", code[0].read_bytes()), "machine code")
    refused(write("foreign.wasm", code[0].read_bytes()), "machine code")


def test_files_that_are_none():
    os.mkdir("folder.wasm")
    os.mkfifo("fifo.wasm")
    for path in ("folder.wasm", "fifo.wasm", "/dev/zero", "/dev/null", "missing.wasm"):
        r = run("run", path, timeout=20)
        assert r.rc == BAD_COMPONENT, repr(r)
    with open("sparse.wasm", "wb") as f:
        f.write(b"\0asm\x01\0\0\0")
        f.truncate(600 << 20)
    r = refused("sparse.wasm")
    assert r.seconds < 20, repr(r)
    nothing_left()


def test_every_truncation_and_many_flips():
    """No byte string makes Ambit fault: it runs, or is refused with a reason. Nothing refused gets into the cache."""
    state = tempfile.mkdtemp(prefix="state-", dir=os.environ.get("TMPDIR"))
    dice = random.Random(52)
    corpus = [HELLO[:n] for n in range(0, len(HELLO), 3)]
    for _ in range(60):
        changed = bytearray(HELLO)
        for _ in range(dice.choice((1, 1, 2, 8))):
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        corpus.append(bytes(changed))
    for _ in range(10):
        at = dice.randrange(8, len(HELLO))
        corpus.append(HELLO[:at] + dice.randbytes(dice.randrange(1, 200)) + HELLO[at:])

    def one(number):
        path = write(f"corpus/{number}.wasm", corpus[number])
        r = run("run", "-q", "--cpu", "300ms", "--wall", "5s", path, env={"AMBIT_STATE_DIR": state})
        assert r.rc not in OURS, f"{corpus[number].hex()}\n{r!r}"
        if r.rc == BAD_COMPONENT:
            contains(r.err, "why:", corpus[number].hex())
        return r.rc

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(one, range(len(corpus))))
    kept = len(list(pathlib.Path(state, "cache").glob("*.code")))
    compiled = len({corpus[i] for i, rc in enumerate(codes) if rc != BAD_COMPONENT})
    assert kept <= compiled, f"{kept} entries for {compiled} that compiled"
    assert codes.count(BAD_COMPONENT) > len(corpus) // 2
    equal(execute([AMBIT, "cache", "verify"], environ=environment({"AMBIT_STATE_DIR": state})).rc, 0)
    nothing_left()


# ---- compile bombs -----------------------------------------------------------------------------------------------------

def uleb(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 127
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


def section(number, content):
    return bytes([number]) + uleb(len(content)) + content


def module_of(code, local_count):
    """A module whose `_start` has so many i64 variables and this code."""
    body = uleb(1) + uleb(local_count) + b"\x7e" + code + b"\x0b"
    return (b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\0") + section(3, b"\1\0") + section(7, b"\1\6_start\0\0") +
            section(10, b"\1" + uleb(len(body)) + body))


def bomb(branches, variables):
    """Every variable lives across every branch: the register allocator's work is their product."""
    code = bytearray()
    for i in range(branches):
        a, b = uleb(i * 7 % variables), uleb(i * 13 % variables)
        # if (a) { b = a + b }
        code += b"\x20" + a + b"\x50\x04\x40\x20" + a + b"\x20" + b + b"\x7c\x21" + b + b"\x0b"
    return module_of(bytes(code), variables)


def compiling(path, state, *limits, timeout=60):
    """`ambit run` under limits of the caller's (prlimit), which the compiler room keeps when they are below its own."""
    receipt = tempfile.mktemp(prefix="receipt-", dir=os.environ.get("TMPDIR"))
    return execute(["prlimit", *limits, AMBIT, "run", *allow_missing(), "--receipt", receipt, path], timeout=timeout,
                   environ=environment({"AMBIT_STATE_DIR": state}), receipt=receipt)


def test_compile_bombs_end_at_the_limit():
    """Control: a smaller one of the same making compiles and runs; and the bomb goes on past the limit when that is higher."""
    state = tempfile.mkdtemp(prefix="state-", dir=os.environ.get("TMPDIR"))
    equal(compiling(write("small.wasm", bomb(50, 20)), state).rc, 0, "control: the same in small")
    before = sorted(p.name for p in pathlib.Path(state, "cache").glob("*.code"))
    path = write("bomb.wasm", bomb(6000, 1500))
    assert len(path.read_bytes()) < 150_000
    r = compiling(path, state, "--cpu=2:2")
    equal(r.rc, BAD_COMPONENT, repr(r))
    assert "why:" in r.err and "try:" in r.err and "limit" in r.err, repr(r)
    try:
        elsewhere = tempfile.mkdtemp(prefix="state-", dir=os.environ.get("TMPDIR"))  # a fast machine may finish it
        control = compiling(path, elsewhere, "--cpu=60:60", timeout=4)
        assert control.seconds > 2, f"control: it is no bomb\n{control!r}"
    except AssertionError as still_running:
        contains(str(still_running), "no end after")
    equal(sorted(p.name for p in pathlib.Path(state, "cache").glob("*.code")), before, "nothing half-made is kept")
    equal(compiling("small.wasm", state).rc, 0, "afterwards everything works")
    nothing_left()
