# SPDX-License-Identifier: Apache-2.0
"""Each room, killed under each command that has it (group 72): what a person, a program and the receipt are told. A death is typed and
may be tried again; what the file, the grants or a limit did is not. How they come back under load is in tests/system/test_rooms_killed.py
and test_proxy.py; that a death resets no counter in test_taken_over.py.
"""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from ambit import AMBIT, allow_missing, contains, environment, equal, run, script, write
from egress import Raw
from proxy import World
from serving import Serving, component, rooms, wait_for
from test_secret import VALUE, place, put

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
ASK = """
import sys, urllib.request
for i in range(4):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=30).status, flush=True)
    except Exception as e:
        print("failed", e, flush=True)
"""


def started(*words, env=None):
    return subprocess.Popen([AMBIT, *map(str, words)], env=env or environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def room_of(process, role):
    """The one room of that role, as soon as it is there."""
    found = []

    def there():
        assert process.poll() is None, process.stderr.read()
        found[:] = rooms(process.pid).get(role, [])
        return found
    wait_for(there, role)
    return found[0]


def events_of(receipt, name):
    return [e for e in map(json.loads, pathlib.Path(receipt).read_text().splitlines()) if e["event"] == name]


def told(process, retryable, why, rc=127):
    """How it ended, by its exit code, in words, and by --json."""
    out, err = process.communicate(timeout=120)
    equal(process.returncode, rc, err)
    answer = json.loads(err.splitlines()[-1])
    equal((answer.get("retryable", False), answer["exit_code"]), (retryable, rc), err)
    contains(answer["why"], why)
    contains(err, f"  why: {answer['why']}")
    return out, answer


def test_the_compiler_of_a_run():
    """Nothing is known to be wrong with the file. Control: with a file that is, it is not worth trying again."""
    receipt = pathlib.Path("receipt.jsonl").resolve()
    env = environment(isolated=True)
    guest = write("long.wat", "(module " + "\n".join(f"(func (param i64) (result i64) {'local.get 0 i64.const 3 i64.mul ' + 'i64.const 7 i64.add i64.const 3 i64.mul ' * 400})"
                                                     for _ in range(3000)) + ' (func (export "_start")))')
    process = started("run", "--json", *allow_missing(), "--receipt", receipt, guest, env=env)
    os.kill(room_of(process, "compiler"), signal.SIGKILL)
    _, answer = told(process, True, "the compiler ended without an answer: signal 9")
    equal(answer["outcome"], "failed")
    (finished,) = events_of(receipt, "run.finished")
    equal((finished["outcome"], finished["retryable"]), ("failed", True))
    process = started("run", "--json", *allow_missing(), write("bad.wat", "(module"))
    told(process, False, "", rc=122)


def run_with(role, receipt, answer_of):
    """A run with every room, whose origin does something when it is asked the second time."""
    env = place(guests=True)
    put(env)
    asked, process = [], []

    def answer(_):
        asked.append(1)
        if len(asked) == 2:
            answer_of(process[0])
        return OK
    with Raw(answer) as o:
        guest = script(ASK)
        run("run", guest, o.url("/denied"), env=env)      # machine code is there: no compiler now
        process.append(started("run", "--json", *allow_missing(), "--receipt", receipt, "--net", f"GET http://127.0.0.1:{o.port}/**", "--secret",
                               f"github-token@127.0.0.1:{o.port}", guest, o.url("/a"), env=environment(env)))
        out, err = process[0].communicate(timeout=120)
        assert all(f"authorization: Bearer {VALUE}".encode() in h for h in o.heard if h), o.heard
        return process[0].returncode, out.split("\n"), json.loads(err.splitlines()[-1])


def kill(role):
    return lambda process: [os.kill(pid, signal.SIGKILL) for pid in rooms(process.pid)[role]]


def test_the_rooms_of_a_run():
    """The worker's death is the run's; egress and keeper come back: the one request fails with the interface's own error, or none, and the
    run goes on."""
    code, out, answer = run_with("worker", "worker.jsonl", kill("worker"))
    equal((code, answer["outcome"], answer["retryable"]), (127, "failed", True))
    contains(answer["why"], "the worker ended without a report: signal 9 (killed)")
    contains(answer["hint"], "tried again")
    equal([e["retryable"] for e in events_of("worker.jsonl", "run.finished")], [True])

    code, out, answer = run_with("egress", "egress.jsonl", kill("egress"))
    equal((code, answer["outcome"], answer.get("retryable")), (0, "exited", None))
    equal((out[0], out[1].split()[0], out[2:4]), ("200", "failed", ["200", "200"]))
    equal([e["why"] for e in events_of("egress.jsonl", "egress.died")], ["signal 9 (killed)"])

    code, out, answer = run_with("keeper", "keeper.jsonl", kill("keeper"))
    equal((code, answer["outcome"], out[:4]), (0, "exited", ["200"] * 4))
    equal([e["why"] for e in events_of("keeper.jsonl", "keeper.died")], ["signal 9 (killed)"])
    for name, died in (("egress.jsonl", "keeper.died"), ("keeper.jsonl", "egress.died"), ("worker.jsonl", "egress.died")):
        equal(events_of(name, died), [], "control: who lived is not told of")


def test_a_room_that_dies_at_its_start():
    """Before anything ran: stopped in its start, then killed. The run does not begin, and may be tried again."""
    env = place(guests=True)
    put(env)
    for role in ("keeper", "egress"):
        with Raw(OK) as o:
            process = started("run", "--json", *allow_missing(), "--receipt", f"{role}.jsonl", "--net", f"GET http://127.0.0.1:{o.port}/**",
                              "--secret", f"github-token@127.0.0.1:{o.port}", script(ASK), o.url("/a"), env=environment(env))
            os.kill(room_of(process, role), signal.SIGKILL)
            out, err = process.communicate(timeout=120)
            answer = json.loads(err.splitlines()[-1])
            if process.returncode == 0:     # it was there already when it died, and came back
                equal(len(events_of(f"{role}.jsonl", f"{role}.died")), 1)
                continue
            equal((process.returncode, answer["outcome"], answer["retryable"], o.heard), (127, "failed", True, []), err)
            contains(answer["why"], f"{role} did not start: signal 9 (killed)")


def status_of(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return "reset", b""


def test_the_rooms_of_a_server():
    """Who asks while a room dies gets 502, 503 or a cut connection, never silence; the next one an answer. The command lives, and its receipt
    names the room and why."""
    env = place()
    put(env)
    with Raw(OK) as o:
        receipt = pathlib.Path("receipt.jsonl").resolve()
        with Serving(component(), "--workers", "1", "--receipt", receipt, "--net", f"GET http://127.0.0.1:{o.port}/**", "--secret",
                     f"github-token@127.0.0.1:{o.port}", env=env) as s:
            for role in ("worker", "ingress", "egress", "keeper"):
                equal(status_of(s.port, f"/ask/{o.port}/a"), (200, b"hello"), role)
                victim, = s.rooms()[role]
                os.kill(victim, signal.SIGKILL)
                while (met := status_of(s.port, f"/ask/{o.port}/a"))[0] != 200:
                    assert met[0] in (500, 502, 503, 504, "reset"), (role, met)
                wait_for(lambda: s.rooms().get(role, [victim]) not in ([victim], []), f"another {role}")
                assert s.process.poll() is None, s.said
        kinds = [json.loads(line) for line in receipt.read_text().splitlines()]
        died = {e["event"]: e["why"] for e in kinds if e["event"].endswith(".died")}
        equal(died, {"egress.died": "signal 9 (killed)", "keeper.died": "signal 9 (killed)"})
        (served,) = [e for e in kinds if e["event"] == "served"]
        equal({k: v for k, v in served.items() if k.endswith("_restarts")}, {"worker_restarts": 1, "ingress_restarts": 1, "egress_restarts": 1})


def test_the_rooms_of_a_proxy():
    """A front's death cuts its connections; egress's is a 502 with a problem document that says it may be tried again; keeper's is waited
    for. Control: what is denied is not worth trying again."""
    process = []

    def answer(heard):
        if b" /kill " in heard:
            kill("egress")(process[0])
            time.sleep(1)       # it answers nobody any more
        return OK
    with World() as w, Raw(answer) as o:
        plain = w.grant("127.0.0.1", o.port, "http", paths=["/kill", "/fine"])
        with w.proxy(plain, w.grant(set_headers={"authorization": "Bearer ${secret:the-token}"}), secrets={"the-token": "a-value-of-20-bytes!"}) as p:
            process.append(p.process)
            equal(p.status(w.url("/hello"))[0], 200)
            for role in ("ingress", "egress", "keeper"):
                (victim,) = p.rooms()[role]
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda: p.rooms().get(role, [victim]) != [victim], f"another {role}")
                wait_for(lambda: p.status(w.url("/hello"))[0] == 200, f"an answer after {role}")
            status, body = p.status(o.url("/kill"))
            problem = json.loads(body)
            equal((status, problem["status"], problem.get("retryable")), (502, 502, True), problem)
            wait_for(lambda: p.status(o.url("/fine"))[0] == 200, "egress is back")
            status, body = p.status(o.url("/denied"))
            equal((status, json.loads(body).get("retryable")), (403, None), "control")
    for role, count in (("egress", 2), ("keeper", 1)):
        equal([e["why"] for e in p.kept(f"{role}.died")], ["signal 9 (killed)"] * count, role)
    (totals,) = p.kept("proxied")
    equal([totals[f"{r}_restarts"] for r in ("front", "egress", "keeper")], [1, 2, 1])
