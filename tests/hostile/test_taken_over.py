# SPDX-License-Identifier: Apache-2.0
"""Rooms that were taken over, as the others see them (groups 66 and 72, and "replay or widen a handle, name another rule, reset a
counter"). What such a room says over its link and writes into memory that it shares is played here, byte by byte, against a real
egress room and a real control; each defence is left open once, and the same attack then succeeds.
"""

import json
import os
import pathlib
import struct
import subprocess
import time

from ambit import allow_missing, contains, environment, equal, execute, hooked_binary, run, script
from egress import Egress, Raw, grant

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
REQUEST, BODY, END, WINDOW, DISCARD = 64, 66, 67, 68, 69    # enum http_frame of src/wire/http.h
NO_BODY, SECURE, UPGRADE = 2, 4, 8                          # enum http_request_flag
RULE = struct.Struct("<QQQQQQQQ")                           # struct egress_counter of src/wire/egress.h


# ---- a worker's link ----

def text(value):
    value = value.encode()
    return struct.pack("<I", len(value)) + value


def head(number, target="/a/x", authority="", method="GET", flags=NO_BODY, peer="", fields=(), behind=b""):
    """An HTTP_REQUEST as a worker's own code would write it, or never would."""
    never = struct.pack("<Q", (1 << 64) - 1)
    listed = struct.pack("<H", len(fields)) + b"".join(text(name) + text(value) for name, value in fields)
    return (struct.pack("<QI", number, flags) + text(method) + text(authority) + text(target) + text(peer) + 3 * never + listed + behind).hex()


def forged(at):
    """What a request may say of itself, each field forged: (what, frame, why it does not go; None: the link ends)."""
    rule = struct.pack("<I", 1)
    return [
        ("another rule's path", head(1, "/b/x", at), "no-method"),
        ("another rule's method", head(1, "/a/x", at, "DELETE"), "no-method"),
        ("another rule's path, in another spelling", head(1, "/a/../b/x", at), "no-method"),
        ("another rule's path, escaped", head(1, "/a/%2e%2e/b/x", at), "no-method"),
        ("a host of no rule", head(1, "/a/x", "127.0.0.2:" + at.split(":")[1]), "no-grant"),
        ("a host in front of another", head(1, "/a/x", "x@" + at), "malformed"),
        ("another scheme", head(1, "/a/x", at, flags=NO_BODY | SECURE), "no-grant"),
        ("a whole URL for a path", head(1, f"http://{at}/b/x", at), None),
        ("a path over two lines", head(1, "/a/x HTTP/1.1\r\nx: y", at), None),
        ("the number of a rule behind it", head(1, "/b/x", at, behind=rule), None),
        ("a flag that is none", head(1, "/a/x", at, flags=NO_BODY | 1 << 31), None),
        ("a WebSocket with a body that is none", head(1, "/a/x", at, flags=NO_BODY | UPGRADE), None),
        ("a rule in a header", head(1, "/b/x", at, fields=[("x-ambit-rule", "1")]), "no-method"),
    ]


RULES = [{"paths": ["/a/**"], "methods": ["GET"]}, {"paths": ["/b/**"], "methods": ["DELETE"], "require_headers": {"x-key": "held-by-another"}}]


def sent(frames, skip=()):
    """What an origin heard of frames on a link, and what control was told was denied; a request that is allowed goes last, on a new link."""
    with Raw(OK) as o:
        at = f"127.0.0.1:{o.port}"
        with Egress(*[grant(f"http://{at}", **rule) for rule in RULES], skip=skip, explains=True) as e:
            for frame in frames(at):
                e.command(do="raw", kind=REQUEST, payload=frame)
            e.command(do="relink")
            equal(e.ask(o.url("/a/last")).get("status"), 200, "the room lives, and the link that is new works")
            heard = [h.split(b"\r\n")[0].decode() for h in o.heard]
            equal(heard[-1:], ["GET /a/last HTTP/1.1"])
            return heard[:-1], [r for r in e.records() if r["event"] == "denied"]


def test_a_link_names_no_rule():
    """A request has no place for a rule: whatever its fields say, egress decides by its own rules, and says which refused it. Control: with
    egress's decision left open the same frames reach the origin."""
    reasons = {"no-path": "no pattern", "no-method": "method", "no-grant": "no grant", "malformed": "not a URL that Ambit dials"}
    for i, (what, _, reason) in enumerate(forged("127.0.0.1:1")):
        heard, denied = sent(lambda at, i=i: [forged(at)[i][1]])
        equal(heard, [], what)
        if reason is None:
            equal(denied, [], what)     # who breaks the protocol is not spoken to any more
        else:
            equal(len(denied), 1, (what, denied))
            contains(denied[0]["reason"], reasons[reason], what)
            assert denied[0]["rule"] in (-1, 0, 1), denied
    for what in ("another rule's path", "another rule's method", "a rule in a header"):
        i = [name for name, *_ in forged("127.0.0.1:1")].index(what)
        heard, _ = sent(lambda at, i=i: [forged(at)[i][1]], skip="decision")
        equal(len(heard), 1, f"control: {what}")


def test_numbers_are_not_used_again():
    """An exchange's number is good once: who sends it again ends its link, and nothing of that goes out. Control: with the next number it
    does."""
    heard, _ = sent(lambda at: [head(1, "/a/1", at), head(1, "/a/2", at), head(2, "/a/3", at)])
    equal(heard, ["GET /a/1 HTTP/1.1"])
    heard, _ = sent(lambda at: [head(7, "/a/1", at), head(6, "/a/2", at)])
    equal(heard, ["GET /a/1 HTTP/1.1"])
    heard, _ = sent(lambda at: [head(0, "/a/1", at)])
    equal(heard, [])
    heard, _ = sent(lambda at: [head(1, "/a/1", at), head(2, "/a/2", at)])
    equal(heard, ["GET /a/1 HTTP/1.1", "GET /a/2 HTTP/1.1"], "control")


def test_a_link_reaches_no_other_ones_requests():
    """Numbers are each link's own: a worker that names an exchange of another one's ends its own link, and the other's request goes on as
    it was. Control: on the link whose it is, the same frame does what it says."""
    frame = struct.pack("<Q", 1) + b"-smuggled"
    for mine in (False, True):
        with Raw(b"", after="hold") as o, Egress(grant(o.url()[:-1])) as e:
            e.ask(o.url("/upload"), method="POST", body="begun", no_end=True, seconds=0.3)
            if not mine:
                e.command(do="swap")
            for kind in (BODY, END):
                e.command(do="raw", kind=kind, payload=(frame if kind == BODY else frame[:8] + b"\0\0").hex())
            until = time.monotonic() + 5
            while mine and b"smuggled" not in o.heard[0] and time.monotonic() < until:
                time.sleep(0.02)
            equal(b"smuggled" in o.heard[0], mine, "control" if mine else "another's")
            contains(o.heard[0].decode(), "begun")
            equal(len(o.heard), 1)
            if not mine:
                equal(e.ask(o.url("/x"), seconds=0.3)["over"], False)    # nobody speaks to the link that did it
                e.command(do="swap")
                equal(e.ask(o.url("/y"), seconds=0.3)["over"], False)    # the other's works: the origin hears it, and holds it
                equal([h.split(b" ")[1] for h in o.heard], [b"/upload", b"/y"])


# ---- the counters ----

def counters_of(pid):
    """The counters of a process's egress: the file itself, as whoever has the room has it."""
    for room in [pid, *map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        for fd in pathlib.Path(f"/proc/{room}/fd").iterdir():
            try:
                if os.readlink(fd).startswith("/memfd:ambit-counters"):
                    return os.open(fd, os.O_RDWR)
            except FileNotFoundError:
                continue
    raise AssertionError("no counters")


def set_back(pid, **what):
    fd = counters_of(pid)
    try:
        rule = list(RULE.unpack(os.pread(fd, RULE.size, 0)))
        rule[0] = what.get("requests", rule[0])
        rule[1] = what.get("rate_until_ns", rule[1])
        os.pwrite(fd, RULE.pack(*rule), 0)
    finally:
        os.close(fd)


def budget(attack, skip=(), **limits):
    """Eight requests under a grant of three; `attack(e, i)` after each. (how many the origin heard, what the driver said when it ended)"""
    limits = limits or {"max_requests": 3}
    with Raw(OK) as o:
        e = Egress(grant(o.url()[:-1], **limits), skip=skip, errors=subprocess.PIPE)
        e.__enter__()
        try:
            for i in range(8):
                e.ask(o.url())
                attack(e, i)
        except (AssertionError, BrokenPipeError):
            assert e.process.wait(20) == 2, "control ended the room, and the driver with it"
        e.process.stdin.close()
        e.process.wait(20)
        said = e.process.stderr.read().decode()
        return len(o.heard), said


def test_counters_are_not_set_back():
    """Egress, taken over, writes its own counters: control has seen them, and ends it at the next thing it is told. Controls: control does
    not compare, and the budget has no end; nobody attacks, and it has the one that was granted."""
    equal(budget(lambda e, i: None)[0], 3)
    heard, said = budget(lambda e, i: set_back(e.process.pid, requests=0))
    assert heard <= 3, heard
    contains(said, "egress set back what it has counted of grant 1")
    equal(budget(lambda e, i: set_back(e.process.pid, requests=0), skip="told")[0], 8, "control")
    heard, said = budget(lambda e, i: set_back(e.process.pid, rate_until_ns=0), rate="3/h")
    assert heard <= 3, heard
    contains(said, "set back")
    equal(budget(lambda e, i: set_back(e.process.pid, rate_until_ns=0), rate="3/h", skip="told")[0], 8, "control")


def test_a_room_that_does_not_look_at_its_counters():
    """It counts, and sends all the same: control counts what it is told of, too."""
    heard, said = budget(lambda e, i: None, skip="counters")
    assert heard <= 4, heard
    contains(said, "egress told of more requests than grant 1 allows")
    equal(budget(lambda e, i: None, skip=("counters", "told"))[0], 8, "control")
    heard, said = budget(lambda e, i: None, skip="counters", rate="3/h")
    assert heard <= 4, heard
    contains(said, "egress set back what it has counted of grant 1")    # the bucket is fuller than it can be
    equal(budget(lambda e, i: None, skip=("counters", "told"), rate="3/h")[0], 8, "control")


def test_a_bucket_that_is_emptier_than_the_grant_lets_it_become():
    """The room pays for every request, and sends before it may. Control: the same within the rate is none of control's business."""
    with Raw(OK) as o:
        for far, status in ((30, 2), (0, 0)):
            e = Egress(grant(o.url()[:-1], paths=["/a"], rate="3/h"), skip="counters", errors=subprocess.PIPE)
            e.__enter__()
            e.ask(o.url("/denied"))     # it is there
            set_back(e.process.pid, rate_until_ns=time.monotonic_ns() + (20 + far) * 60 * 10**9 + 20 * 60 * 10**9)
            try:
                e.ask(o.url("/a"))
            except AssertionError:
                pass
            e.process.stdin.close()
            equal((far, e.process.wait(20)), (far, status))
            if status:
                contains(e.process.stderr.read().decode(), "egress told of more requests than grant 1 allows")


def test_a_death_is_no_fresh_budget():
    """Set back, then dead: the room that would come back does not."""
    def attack(e, i):
        if i == 1:
            set_back(e.process.pid, requests=0)
            e.command(do="kill")
    heard, said = budget(attack)
    equal(heard, 2)
    contains(said, "egress set back")
    assert budget(attack, skip="told")[0] > 3, "control"


ASK = """
import sys, urllib.request
for i in range(8):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=20).status, flush=True)
    except Exception as e:
        print("failed", e, flush=True)
"""


def test_a_run_with_such_a_room_ends():
    """What a person sees of it, and what the receipt says. Control: nobody compares, and all eight go."""
    for skip, requests in (("", 2), ("egress-told", 8)):
        process = []

        def answer(_):
            set_back(process[0].pid, requests=0)
            return OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        with Raw(answer) as o:
            receipt = pathlib.Path(f"receipt{requests}.jsonl").resolve()
            grants = json.dumps({"version": 1, "grants": [grant(o.url()[:-1], max_requests=3)]})
            pathlib.Path("grants.json").write_text(grants)
            process.append(subprocess.Popen(
                [hooked_binary(), "run", "--json", *allow_missing(), "--receipt", receipt, "-g", "grants.json", script(ASK), o.url()],
                env=environment({"AMBIT_TEST_JAIL_SKIP": skip} if skip else {}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True))
            out, err = process[0].communicate(timeout=120)
            if skip:
                equal((process[0].returncode, out.count("200"), len(o.heard)), (0, 8, 8), f"control\n{err}")
                continue
            equal(process[0].returncode, 127, f"{out}{err}")
            assert len(o.heard) <= requests, o.heard    # the one that control was told of may have gone
            told = json.loads(err.splitlines()[-1])
            equal(told["outcome"], "failed")
            contains(told["why"], "egress set back what it has counted of grant 1")
            assert "retryable" not in told, told
            finished = [json.loads(line) for line in receipt.read_text().splitlines()][-1]
            equal((finished["event"], finished["outcome"]), ("run.finished", "failed"))
