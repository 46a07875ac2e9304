# SPDX-License-Identifier: Apache-2.0
"""`ambit run --ask`: a person at a terminal is asked before something is denied, and nobody else ever is."""

import ambit
from ambit import USAGE, contains, equal, lacks, run, run_on_terminal, script, write

GRANTS = """version: 1
grants:
  - fs: /work/data
    from: { dir: data }
    allow: ro
    paths: [a.txt, "."]
"""
READER = """
import sys
for name in sys.argv[1:]:
    try:
        print(name, "gave", open("/work/data/" + name).read().strip())
    except OSError as e:
        print(name, "failed", e.errno)
"""


def prepare():
    for name in ("a.txt", "b.txt", "c.txt"):
        write(f"data/{name}", f"text-of-{name[0]}\n")
    write("grants.yaml", GRANTS)
    return script(READER)


def ask(answers, *names, more=()):
    """`answers`: what is typed at each question; the text of the terminal and the result."""
    guest = prepare()
    return run_on_terminal("run", "--ask", *more, "-g", "grants.yaml", guest, *names, answers=answers)


def answers_of(result):
    return [(e["answer"], e["resource"]) for e in result.events_of("answer")]


def test_never_is_remembered():
    r = ask(["n"], "a.txt", "b.txt", "b.txt")
    contains(r.out, "a.txt gave text-of-a")
    equal(r.out.count("b.txt failed"), 2)
    equal(r.out.count("allow it"), 1)
    equal(answers_of(r), [("never", "/work/data/b.txt")])
    equal(len(r.events_of("denial")), 1)


def test_once_is_for_one_call():
    r = ask(["o", "n"], "b.txt", "b.txt")
    equal((r.out.count("b.txt gave"), r.out.count("b.txt failed")), (1, 1))
    equal([a for a, _ in answers_of(r)], ["once", "never"])


def test_this_run_is_for_all_calls():
    r = ask(["r"], "b.txt", "b.txt", "b.txt")
    equal(r.out.count("b.txt gave text-of-b"), 3)
    equal(answers_of(r), [("run", "/work/data/b.txt")])
    contains(r.events_of("answer")[0]["grant"], "paths: [b.txt]")
    equal(r.events_of("denial"), [])


def test_an_answer_is_about_one_thing():
    r = ask(["r", "n"], "b.txt", "c.txt", "b.txt")
    equal(r.out.count("b.txt gave"), 2)
    contains(r.out, "c.txt failed")


def test_no_clear_answer_is_no():
    r = ask(["maybe", "yes", "1"], "b.txt")
    equal(r.out.count("allow it"), 3)
    contains(r.out, "b.txt failed")
    equal([a for a, _ in answers_of(r)], ["never"])


def test_what_the_jail_cannot_do_is_told():
    r = ask([], "../../etc/hostname")
    lacks(r.out, "allow it [o]nce")
    contains(r.out, "start a new run with this grant")
    contains(r.out, "hostname failed")


def test_ctrl_c_ends_the_question_and_the_guest():
    r = ask(["\x03"], "b.txt", "a.txt")
    equal(r.rc, 130)
    lacks(r.out, "a.txt gave")


def test_waiting_is_no_time_of_the_guest():
    r = ask([(1.5, "r")], "b.txt", more=("--wall", "1s", "--cpu", "30s"))
    contains(r.out, "b.txt gave", r)


def test_names_cannot_fake_a_question():
    r = ask(["n"], "\x1b[2Jb\rambit: allow it?")
    lacks(r.out, "\x1b[2Jb", r)
    contains(r.out, "\\x1b[2Jb", r)


def test_without_a_terminal_nobody_is_asked():
    guest = prepare()
    r = run("run", "--ask", "-g", "grants.yaml", guest, "b.txt", stdin=b"r\n")
    equal(r.rc, USAGE)
    contains(r.err, "not a terminal")
    contains(r.err, "--learn")
    lacks(r.out, "b.txt")
