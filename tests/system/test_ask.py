# SPDX-License-Identifier: Apache-2.0
"""`ambit run --ask`: a person at a terminal is asked before something is denied, and nobody else ever is."""

import json
import os
import signal

from ambit import USAGE, contains, equal, lacks, run, run_on_terminal, script, write
from egress import Dns, Raw
from serving import rooms
from test_docs import holds, receipt_schema

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


# ---- requests ----

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
FETCH = """
import sys, urllib.request
for word in sys.argv[1:]:
    method, url = word.split(" ")
    try:
        r = urllib.request.urlopen(urllib.request.Request(url, method=method, data=b"abc" if method == "POST" else None), timeout=10)
        print(method, url[-2:], "gave", r.read().decode())
    except Exception as e:
        print(method, url[-2:], "failed")
"""


def fetch(answers, *words, more=()):
    return run_on_terminal("run", "--ask", *more, script(FETCH), *words, answers=answers)


def heard(origin):
    return [b" ".join(text.split(b" ")[:2]).decode() for text in origin.heard]


def uses(result):
    return {e["rule"]: e["count"] for e in result.events_of("use") if e["observed_by"] == "egress"}


def test_once_is_one_request():
    with Raw(OK) as o:
        r = fetch(["o", "n"], f"GET {o.url('/a')}", f"GET {o.url('/a')}", f"GET {o.url('/a')}")
        equal((r.out.count("/a gave hello"), r.out.count("/a failed")), (1, 2), r)
        equal(heard(o), ["GET /a"])
        equal(answers_of(r), [("once", o.url("/a")), ("never", o.url("/a"))])
        rule = r.events_of("answer")[0]["rule"]
        equal(uses(r), {rule: 1})
        equal([e["rule"] for e in r.events_of("http.request")], [rule])
        contains(r.events_of("answer")[0]["grant"], 'addresses: ["127.0.0.1"]')
        equal(len(r.events_of("denial")), 1)
        holds(r, receipt_schema())


def test_this_run_is_for_all_requests_of_one_kind():
    with Raw(OK) as o:
        a, b = o.url("/a"), o.url("/b")
        r = fetch(["r", "r", "n"], f"GET {a}?secret=1", f"GET {a}", f"POST {a}", f"GET {b}", f"POST {a}", f"GET {a}")
        equal(r.out.count("gave hello"), 5, r)
        equal(r.out.count("/b failed"), 1)
        equal(heard(o), ["GET /a?secret=1", "GET /a", "POST /a", "POST /a", "GET /a"])
        equal(answers_of(r), [("run", a), ("run", a), ("never", b)])
        first, second = (e["rule"] for e in r.events_of("answer")[:2])
        equal(uses(r), {first: 3, second: 2})
        lacks(r.out.split("gave")[0], "secret")


def test_a_refused_request_is_not_asked_about_again():
    with Raw(OK) as o:
        r = fetch(["n"], f"GET {o.url('/a')}", f"GET {o.url('/a')}")
        equal((r.out.count("failed"), heard(o)), (2, []))
        equal(len(r.events_of("denial")), 1)


def test_grants_of_the_start_go_on_beside_answers():
    """An answer is one rule more: the counter of the first stays where it was."""
    with Raw(OK) as o:
        grant = {"http": o.url()[:-1], "paths": ["/a"], "addresses": ["127.0.0.0/8"], "max_requests": 2}
        write("http.json", json.dumps({"version": 1, "grants": [grant]}))
        words = [f"GET {o.url(path)}" for path in ("/a", "/b", "/a", "/a", "/b")]
        r = fetch(["r"], *words, more=("-g", "http.json"))
        equal(heard(o), ["GET /a", "GET /b", "GET /a", "GET /b"])
        equal(uses(r), {0: 2, r.events_of("answer")[0]["rule"]: 2})


def test_what_a_name_hides_is_told():
    """Egress alone learns that a name is of this machine: the grant with the address is for another run."""
    with Dns({"inner.test": ["127.0.0.1"]}) as d, Raw(OK) as o:
        url = o.url("/x", host="inner.test")
        r = fetch(["r"], f"GET {url}", f"GET {url}", more=("--resolver", d.at))
        equal((r.out.count("failed"), heard(o)), (2, []), r)
        contains(r.out, "start a new run with this grant")
        contains(r.events_of("denial")[0]["smallest_grant"], "127.0.0.1")


def test_egress_may_die_while_somebody_thinks():
    """The answer waits for the room that is started again, which has all answers and all counters."""
    def kill(answer):
        def now(pid):
            os.kill(rooms(pid)["egress"][0], signal.SIGKILL)
            return answer
        return now
    with Raw(OK) as o:
        a, b = o.url("/a"), o.url("/b")
        r = fetch(["r", kill("o"), kill("r"), "n"], f"GET {o.url('/')}", f"GET {a}", f"GET {b}", f"GET {a}", f"GET {b}")
        equal((heard(o), r.out.count("failed")), (["GET /", "GET /a", "GET /b", "GET /b"], 1), r)
        equal(len(r.events_of("egress.died")), 2)
        first = r.events_of("answer")[0]["rule"]
        equal(uses(r), {first: 1, first + 1: 1, first + 2: 2})


def test_ctrl_c_at_a_request_sends_nothing():
    with Raw(OK) as o:
        r = fetch(["\x03"], f"GET {o.url('/a')}", f"GET {o.url('/b')}")
        equal((r.rc, heard(o)), (130, []))


def test_thinking_about_a_request_is_no_time_of_the_guest():
    with Raw(OK) as o:
        r = fetch([(1.5, "o")], f"GET {o.url('/a')}", more=("--wall", "1s", "--cpu", "30s"))
        contains(r.out, "/a gave hello", r)


def test_an_url_cannot_fake_a_question():
    with Raw(OK) as o:
        r = fetch(["n"], f"GET {o.url('/%1b[2Ja%0dambit:')}", f"GET {o.url('/%20allow%20it%20(o)nce?%0aallow%20it')}")
        lacks(r.out, "\x1b[2Ja", r)
        contains(r.out, "/%20allow%20it%20(o)nce", r)
        lacks(r.out, "(o)nce?", r)
        equal((r.out.count("allow it [o]nce"), heard(o)), (1, []), r)
