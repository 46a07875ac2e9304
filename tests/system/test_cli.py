# SPDX-License-Identifier: Apache-2.0
"""The command line: help from one source, exit codes, errors in three lines, receipts, terminals, signals."""

import json
import os
import pathlib
import re
import signal
import subprocess

import ambit
from ambit import (BAD_COMPONENT, BAD_GRANT, DENIED, LIMIT, TIME_LIMIT, TRAP, USAGE, contains, environment, equal, lacks, run,
                   run_on_terminal, wat, write)

HELLO = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "TEXT")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const SIZE))
    (drop (call $write (i32.const FD) (i32.const 0) (i32.const 1) (i32.const 4000)))))"""
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop br 0)))'
TRAPS = '(module (memory (export "memory") 1) (func (export "_start") unreachable))'


def hello(text="hello\\n", size=6, fd=1):
    return wat(HELLO.replace("TEXT", text).replace("SIZE", str(size)).replace("FD", str(fd)), "hello.wat")


def exits(code):
    return wat(f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))""")


VERBS = ("run", "serve", "proxy", "secret", "inspect", "grant", "runs", "doctor", "cache", "help")


# ---- help -------------------------------------------------------------------------------------------------------------

def test_help_names_every_verb_and_exit_code():
    result = run("help", rc=0)
    for verb in VERBS:
        contains(result.out, f"  {verb}")
    for code in (*range(120, 128), 130):
        contains(result.out, str(code))
    contains(result.out, "default limits: memory ")


def test_help_of_each_verb_is_the_same_by_every_way():
    for verb in VERBS:
        equal(run(verb, "--help", rc=0).out, run("help", verb, rc=0).out, verb)
        contains(run("help", "--man", verb, rc=0).out, ".SH SYNOPSIS")


def test_manual_pages_are_valid_roff():
    for verb in ("", *VERBS):
        page = run("help", "--man", *([verb] if verb else []), rc=0).out
        for line in page.splitlines():
            assert not line.startswith("'"), line
            if line.startswith("."):
                assert re.match(r"\.(TH|SH|TP|PP|B|br)( |$)", line), line


def test_completion_is_valid_and_knows_every_flag():
    flags = re.findall(r"--[a-z-]+", run("help", "run", rc=0).out)
    for shell in ("bash", "zsh", "fish"):
        text = run("help", "--completion", shell, rc=0).out
        for flag in set(flags) - {"--help"}:
            contains(text, flag if shell != "fish" else "-l " + flag[2:])
        if shell == "bash":
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    equal(run("help", "--completion", "tcsh").rc, USAGE)


def test_bash_completion_completes():
    script = run("help", "--completion", "bash", rc=0).out + """
COMP_WORDS=(ambit ru); COMP_CWORD=1; _ambit; echo "${COMPREPLY[@]}"
COMP_WORDS=(ambit run --rec); COMP_CWORD=2; _ambit; echo "${COMPREPLY[@]}"
"""
    out = subprocess.run(["bash"], input=script, text=True, capture_output=True, check=True).stdout
    equal(out, "run runs\n--receipt\n")


# ---- usage ------------------------------------------------------------------------------------------------------------

def test_unknown_verb_names_the_nearest():
    result = run("rn", rc=USAGE)
    contains(result.err, "did you mean: ambit run?")
    equal(run(rc=USAGE).err, "")
    contains(run("./x.wasm", rc=USAGE).err, "ambit run ./x.wasm")


def test_unknown_flag_names_the_nearest():
    contains(run("run", "--reed", ".", "x", rc=USAGE).err, "did you mean --read?")
    contains(run("doctor", "--jason", rc=USAGE).err, "did you mean --json?")


def test_usage_errors():
    for args in (["run"], ["run", "--read"], ["run", "--quiet=1", "x"], ["run", "--cpu", "2", "x"], ["run", "--memory", "64MB", "x"],
                 ["run", "--handles", "-1", "x"], ["run", "--cwd", "work", "x"], ["run", "--allow-missing-jail", "moat", "x"],
                 ["runs"], ["runs", "show"], ["doctor", "now"], ["help", "nothing"], ["run", "--tmp", "much", "x"],
                 ["run", "--ask", "x"], ["run", "--resolver", "localhost", "x"], ["serve"], ["serve", "x"],
                 ["serve", "--listen", "127.0.0.1:0"], ["serve", "--listen", "127.0.0.1:0", "--workers", "0", "x"],
                 ["serve", "--listen", "127.0.0.1:0", "--ask", "x"], ["serve", "--listen", "127.0.0.1:0", "x", "argument"]):
        result = run(*args)
        equal(result.rc, USAGE, repr(result))
        contains(result.err, "  why: ")
        contains(result.err, "  try: ")


def test_grants_in_flags_that_are_not_valid():
    """The flag is known and has its argument: it is the grant that cannot be given."""
    for args in (["--net", "x"], ["--net", "ftp://a/"], ["--net", "get https://a/"], ["--keyvalue", "b:burn"], ["--read", "nowhere"],
                 ["--secret", "x"], ["--secret", "tok@api.test"], ["--net", "http://a.test/", "--secret", "tok@a.test"], ["-g", "missing.yaml"]):
        for verb in (["run"], ["serve", "--listen", "127.0.0.1:0"]):
            result = run(*verb, *args, hello())
            equal(result.rc, BAD_GRANT, repr(result))
            contains(result.err, "  why: ")
            contains(result.err, "  try: ")


def test_flags_that_come_later_say_so():
    for flag in ("--session", "--base"):
        result = run("run", flag, "x", hello(), rc=USAGE)
        contains(result.err, "not there yet")


def test_flags_of_egress_want_a_grant_that_uses_them():
    for flag, value in (("--ca", write("ca.pem", "-----BEGIN CERTIFICATE-----\n")), ("--resolver", "127.0.0.1:53")):
        result = run("run", flag, value, hello(), rc=BAD_GRANT)
        contains(result.err, f"{flag} is given, and no grant of http")


def test_everything_after_file_is_the_guests():
    guest = exits(5)
    equal(run("run", guest, "--read", "/nowhere", "--", "-q").rc, 5)
    equal(run("run", "-q", "--", guest, "-q").rc, 5)


# ---- what is run --------------------------------------------------------------------------------------------------------

def test_output_and_exit_code_are_the_guests():
    equal(run("run", "-q", hello(), rc=0).out, "hello\n")
    for code in (0, 1, 7, 120, 124, 255):
        equal(run("run", "-q", exits(code)).rc, code)


def test_json_tells_exit_codes_apart():
    for guest, code, outcome in ((exits(126), 126, "exited"), (wat(TRAPS), TRAP, "trapped")):
        result = run("run", "--json", guest, rc=code)
        last = json.loads(result.err.splitlines()[-1])
        equal((last["outcome"], last["exit_code"]), (outcome, code))


def test_files_that_are_not_run_name_the_reason():
    rows = {"x.sh": "#!/bin/sh\necho", "x.cwasm": b"\x7fELF" + bytes(64), "x.txt": "hello", "empty.wasm": "", "x.rb": "puts 1",
            "broken.wasm": b"\0asm\x01\0\0\0\xff\xff", "broken.wat": "(module (func"}
    for name, content in rows.items():
        write(name, content)
        result = run("run", name)
        equal(result.rc, BAD_COMPONENT, repr(result))
        contains(result.err, "Ambit does not run this file")
        contains(result.err, "  why: ")
    equal(run("run", "not-there.wasm").rc, BAD_COMPONENT)
    equal(run("run", ".").rc, BAD_COMPONENT)


def test_standard_input_is_a_file():
    equal(run("run", "-q", "-", stdin=hello().read_bytes(), rc=0).out, "hello\n")
    equal(run("run", "-", stdin=b"\0\1\2").rc, BAD_COMPONENT)


# ---- grants ------------------------------------------------------------------------------------------------------------

def test_bad_grants():
    state = os.environ["AMBIT_STATE_DIR"] if "AMBIT_STATE_DIR" in os.environ else None
    guest = hello()
    for flags in (["--read", "missing"], ["--read", "/proc"], ["--read", "/sys"], ["--read", "/dev"], ["--read", "/dev/null:/x"],
                  ["--read", "/"], ["-g", "missing.yaml"], ["--env", "NOT_SET_ANYWHERE"], ["--clock", "noon"], ["--random", "dice"],
                  ["--log", "loud"], ["--config", "key"]):
        result = run("run", *flags, guest)
        equal(result.rc, BAD_GRANT, repr(result))
    if state:
        pathlib.Path(state, "runs").mkdir(parents=True, exist_ok=True)
        for folder in (state, os.path.join(state, "runs"), os.path.dirname(state)):
            result = run("run", "--read", folder + ":/x", guest)
            equal(result.rc, BAD_GRANT, repr(result))
            contains(result.err, "Ambit's own state")
        name = os.path.basename(state)
        for paths, allow, rc in ((["other/**"], "ro", 0), ([name], "ro", BAD_GRANT), ([name + "/**"], "ro", BAD_GRANT), (["*"], "ro", BAD_GRANT),
                                 (["**/key"], "ro", BAD_GRANT), (["other/**"], "rw", BAD_GRANT)):
            grants = {"version": 1, "grants": [{"fs": "/x", "from": {"dir": os.path.dirname(state)}, "allow": allow, "paths": paths}]}
            equal(run("run", "-g", write("g.json", json.dumps(grants)), guest).rc, rc, f"{paths} {allow}")


def test_names_are_escaped():
    result = run("run", "--read", "\x1b[2Jx", hello())
    lacks(result.err, "\x1b")
    result = run("run", "\x1b[2Jx\n.wasm")
    lacks(result.err, "\x1b")


# ---- ends --------------------------------------------------------------------------------------------------------------

def test_limits_have_exit_codes_and_name_the_flag():
    result = run("run", "--cpu", "200ms", wat(SPIN), rc=TIME_LIMIT)
    contains(result.err, "--cpu")
    result = run("run", "--wall", "300ms", wat(SPIN), rc=TIME_LIMIT)
    contains(result.err, "--wall")
    grow = '(module (memory (export "memory") 1) (func (export "_start") (loop (drop (memory.grow (i32.const 100))) br 0)))'
    result = run("run", "--memory", "4MiB", wat(grow), rc=LIMIT)
    contains(result.err, "--memory")


def test_invoke():
    adds = wat("""(component
      (core module $m (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
      (core instance $i (instantiate $m))
      (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))""")
    equal(run("run", "-q", "--invoke", "add", adds, "2", "40", rc=0).out, "42\n")
    for flags, args in ((["--invoke", "sub"], ["1", "2"]), (["--invoke", "add"], ["1"]), (["--invoke", "add"], ["1", "x"]), ([], [])):
        result = run("run", *flags, adds, *args, rc=BAD_COMPONENT)
        contains(result.err, "ambit inspect")


def test_trap_and_missing_import():
    contains(run("run", wat(TRAPS), rc=TRAP).err, "unreachable")
    missing = '(component (import "acme:x/y@1.0.0" (instance (export "f" (func)))))'
    result = run("run", wat(missing))
    assert result.rc in (DENIED, BAD_COMPONENT), repr(result)
    contains(result.err, "acme:x/y" if result.rc == DENIED else "  why: ")


def test_interrupt_asks_then_ends():
    spins = wat(HELLO.replace("TEXT", "hello\\n").replace("SIZE", "6").replace("FD", "1").replace("4000)))))", "4000))) (loop br 0)))"))
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen([str(ambit.AMBIT), "run", *ambit.allow_missing(), "-q", str(spins)], env=environment(), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        equal(process.stdout.readline(), b"hello\n")  # it is in its loop
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        equal(process.returncode, code, err)


# ---- receipt -------------------------------------------------------------------------------------------------------------

def test_receipt_is_kept_and_shown():
    alone = {"AMBIT_STATE_DIR": environment(isolated=True)["AMBIT_STATE_DIR"]}  # "last" is not another test's run
    result = run("run", hello(), env=alone, rc=0)
    names = [event["event"] for event in result.events]
    equal(names[0], "run.started")
    equal(names[-1], "run.finished")
    for name in ("grants", "program", "cache", "jail"):
        assert name in names, names
    equal(result.events[-1]["outcome"], "exited")
    shown = run("runs", "show", "last", env=alone, rc=0).out
    contains(shown, result.events[0]["id"])
    listed = json.loads(run("runs", "ls", "--json", env=alone, rc=0).out)
    assert any(row["id"] == result.events[0]["id"] for row in listed)


def test_receipt_fits_its_schema():
    schema = json.loads((ambit.TOP / "docs/schemas/receipt.schema.json").read_text())
    known = {s["properties"]["event"]["const"]: s for s in schema["oneOf"]}
    os.mkdir("out")
    for result in (run("run", "--write", "out", hello()), run("run", "--cpu", "100ms", wat(SPIN)), run("run", "--bare", hello()),
                   run("run", wat(TRAPS))):
        assert result.events
        for event in result.events:
            shape = known[event["event"]]
            assert set(shape["required"]) <= set(event) <= set(shape["properties"]), event


def test_no_receipt_no_run():
    result = run("run", "--receipt", "/nowhere/at/all", hello(), rc=ambit.INTERNAL)
    equal(result.out, "")
    if os.path.exists("/dev/full"):
        equal(run("run", "--receipt", "/dev/full", hello(), rc=ambit.INTERNAL).out, "")


def test_values_of_variables_are_not_in_the_receipt():
    result = run("run", "--env", "TOKEN=do-not-keep-me", "--config", "key=nor-me", hello(), rc=0)
    text = json.dumps(result.events)
    contains(text, "TOKEN")
    lacks(text, "do-not-keep-me")
    lacks(text, "nor-me")


def test_nothing_is_left_behind():
    env = environment(isolated=True)
    for _ in range(3):
        run("run", "-q", "-", stdin=hello().read_bytes(), env={"AMBIT_STATE_DIR": env["AMBIT_STATE_DIR"]}, rc=0)
    assert not list(pathlib.Path(env["AMBIT_STATE_DIR"]).glob("tmp/*"))


def test_quiet_is_quiet_and_the_summary_is_short():
    equal(run("run", "-q", hello(), rc=0).err, "")
    result = run("run", hello(), rc=0)
    equal(len(result.err.splitlines()), 2 if ambit.allow_missing() else 1, result.err)  # the second names missing layers
    contains(result.err, "exit code 0")


# ---- learn ---------------------------------------------------------------------------------------------------------------

def test_learn_keeps_other_files_and_writes_nothing_for_nothing():
    write("mine.yaml", "version: 1\n")
    result = run("run", "--learn", "mine.yaml", hello(), rc=USAGE)
    contains(result.err, "was not written by --learn")
    run("run", "--learn", "none.yaml", hello(), rc=0)
    assert not os.path.exists("none.yaml")


def test_learned_grants_are_valid_and_enough():
    guest = hello()
    result = run("run", "--bare", "--learn", "needs.yaml", guest)
    lacks(result.out, "hello")
    run("grant", "check", "needs.yaml", rc=0)
    equal(run("run", "--bare", "-g", "needs.yaml", guest, rc=0).out, "hello\n")


# ---- terminal --------------------------------------------------------------------------------------------------------------

def test_terminal_output_keeps_colour_and_escapes_the_rest():
    guest = hello("\\1b[31mred\\1b[0m \\1b]0;title\\07\\n", 22)
    out = run_on_terminal("run", "-q", guest).raw_out
    contains(out, b"\x1b[31mred\x1b[0m")
    lacks(out, b"\x1b]0;")
    contains(out, b"title")


def test_no_color():
    plain = run_on_terminal("nothing", env={"NO_COLOR": "1"}).raw_out
    lacks(plain, b"\x1b[")
    contains(run_on_terminal("nothing", env={"NO_COLOR": None, "TERM": "xterm"}).raw_out, b"\x1b[")
