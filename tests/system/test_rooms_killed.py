# SPDX-License-Identifier: Apache-2.0
"""Kill −9 of each room under load: the listener lives, what was under way gets an answer or a reset and never hangs, the next
request works, and no process or descriptor is left. A few kills here; `make soak` does AMBIT_TEST_KILLS (200)."""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import ambit
from origin import Handler, Origin
from serving import Serving, children, component, descriptors, proportional_bytes, rooms, wait_for

KILLS = int(os.environ.get("AMBIT_TEST_KILLS", "9"))
LEAK = 4 << 20  # bytes that control may have more after all kills: one link that stays mapped each time would be more
PATIENCE_S = 170 * (10 if "AMBIT_TEST_SOAK_RUNS" in os.environ else 1)
WAIT_S = 30  # an answer that takes longer than any limit involved is a hang
MET = {200, 500, 502, 503, 504, "reset"}  # what a request that a kill has met may come to
# (method, path, body): an answer that fits in a frame, one that is under way for a while, bodies in and out
REQUESTS = [("GET", "/hello", b""), ("GET", f"/big/{1 << 20}", b""), ("POST", "/echo", b"x" * 100_000), ("POST", "/sink", b"y" * 300_000)]
WANTED = [b"hello\n", bytes(1 << 20), b"x" * 100_000, b"300000\n"]


class Load:
    """Clients that ask again and again over kept connections, and count how they were answered."""

    def __init__(self, port, clients, requests=tuple(zip(REQUESTS, WANTED))):
        self.port, self.requests, self.stop, self.faults = port, requests, False, []
        self.answers = {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(i,), daemon=True) for i in range(clients)]
        for t in self.threads:
            t.start()

    def count(self, what):
        with self.lock:
            self.answers[what] = self.answers.get(what, 0) + 1

    @property
    def good(self):
        return self.answers.get(200, 0)

    def client(self, number):
        connection = None
        while not self.stop:
            number += 1
            (method, path, body), wanted = self.requests[number % len(self.requests)]
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
                connection.request(method, path, body)
                response = connection.getresponse()
                got = response.read()
                self.count(response.status)
                if response.status != 200:
                    time.sleep(0.005)
                elif got != wanted:
                    self.faults.append(f"{path}: {len(got)} bytes, not the {len(wanted)} wanted")
            except TimeoutError as e:
                self.faults.append(f"{path} hung: {e!r}")
                return
            except (OSError, http.client.HTTPException):
                self.count("reset")
                connection.close()
                connection = None
                time.sleep(0.002)

    def finish(self):
        self.stop = True
        for t in self.threads:
            t.join(WAIT_S + 5)
        assert not self.faults, self.faults[:5]
        assert not any(t.is_alive() for t in self.threads), "a request hung"
        assert not set(self.answers) - MET, f"answers of an unknown kind: {self.answers}"


def came_back(now, whole, victim):
    return {role: len(pids) for role, pids in now.items()} == whole and not any(victim in pids for pids in now.values())


def kill_in_turn(serving, load, victims, whole):
    """Kills one room after another; each has to come back, and requests to be answered again, before the next one goes."""
    for i in range(KILLS):
        role, which = victims[i % len(victims)]
        victim = serving.rooms()[role][which]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: came_back(serving.rooms(), whole, victim), f"{role} started again after kill {i}", WAIT_S)
        answered = load.good
        wait_for(lambda: load.good > answered + 20, lambda: f"answers after kill {i} ({role}): {load.answers}", WAIT_S)
        assert serving.process.poll() is None, f"the command ended: {serving.said}"


def settled(serving, whole, descriptors_before):
    wait_for(lambda: descriptors(serving.pid) <= descriptors_before, lambda: f"{descriptors_before} descriptors: {descriptors(serving.pid)}")
    ambit.equal({r: len(p) for r, p in serving.rooms().items()}, whole, "rooms at the end")
    ambit.equal(len(children(serving.pid)), sum(whole.values()), "children at the end")


def killed(victims, whole, load_of, *flags):
    with Serving(component(), *flags) as serving:
        load = load_of(serving)
        wait_for(lambda: load.good > 50, lambda: f"answers before the first kill: {load.answers}")
        ambit.equal({r: len(p) for r, p in serving.rooms().items()}, whole, "rooms")
        before, memory = descriptors(serving.pid), proportional_bytes(serving.pid)
        kill_in_turn(serving, load, victims, whole)
        load.finish()
        settled(serving, whole, before)
        grown = proportional_bytes(serving.pid) - memory
        assert grown < LEAK, f"control grew by {grown} bytes in {KILLS} kills"
        pids = [p for group in serving.rooms().values() for p in group]
    print(f"{KILLS} kills: {load.answers}, control grew by {grown} bytes")
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}").exists(), f"room {pid} outlived its command"


def test_serving_rooms_are_killed():
    killed([("worker", 0), ("ingress", 0), ("worker", 1), ("ingress", 1)], {"worker": 2, "ingress": 2},
           lambda s: Load(s.port, 8), "--workers", "2")


def test_egress_is_killed_while_it_serves():
    with Origin() as origin:
        grants = ambit.write("grants.yaml", json.dumps({"version": 1, "grants": [
            {"http": f"http://127.0.0.1:{origin.port}", "methods": ["GET"], "addresses": ["127.0.0.1"]}]}))
        asking = tuple([(("GET", f"/ask/{origin.port}/big?n=300000", b""), (bytes(range(256)) * 1172)[:300_000]),
                        (("GET", f"/ask/{origin.port}/hello", b""), b"hello world\n"), (REQUESTS[0], WANTED[0])])
        killed([("egress", 0), ("egress", 0), ("worker", 0)], {"worker": 2, "ingress": 2, "egress": 1},
               lambda s: Load(s.port, 6, asking), "--workers", "2", "-g", grants)


ASKER = """
const url = process.argv[2], count = Number(process.argv[3]);
let answered = 0, failed = 0;
for (let i = 0; answered < count; i++) {
    try {
        const response = await fetch(url + '?' + i);
        const text = await response.text();
        if (response.status !== 200 || text.length < 1) throw new Error('an answer that is none: ' + response.status);
        answered++;
        if (answered % 10 === 0) console.log(answered);
    } catch (e) {
        failed++;
        if (failed > 100 * count) throw e;
        await new Promise((done) => setTimeout(done, 5));
    }
}
console.log('end', answered, failed);
"""


class Killer(Handler):
    """Every twentieth request ends the room that sent it, by turns before it is answered and behind it."""

    def at_hello(self, query, body):
        o = self.server.origin
        o.count += 1
        if o.count % 40 == 20:
            o.kill()
        super().at_hello(query, body)
        if o.count % 40 == 0:
            o.kill()


def test_egress_is_killed():
    ambit.write("ask.mjs", ASKER)
    kills, opened = [], []

    def kill():
        for victim in rooms(process.pid).get("egress", []) if len(kills) < KILLS else []:
            kills.append(victim)
            os.kill(victim, signal.SIGKILL)
            opened.append(descriptors(process.pid))

    with Origin(handler=Killer) as origin:
        origin.count, origin.kill = 0, kill
        url = origin.url("/hello")
        ambit.write("grants.yaml", json.dumps({"version": 1, "grants": [
            {"http": f"http://127.0.0.1:{origin.port}", "methods": ["GET"], "addresses": ["127.0.0.1"]}]}))
        process = subprocess.Popen([str(ambit.AMBIT), "run", *ambit.allow_missing(), "--wall", "10m", "-g", "grants.yaml", "ask.mjs",
                                    url, str(KILLS * 20)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=ambit.environment())
        out, err = process.communicate(timeout=PATIENCE_S)
    ambit.equal(process.returncode, 0, f"{out[-200:]} {err}")
    assert len(kills) >= KILLS, f"only {len(kills)} kills"
    assert max(opened) <= opened[0] + 8, f"descriptors after each kill: {opened}"
    ambit.equal(out.splitlines()[-1].split()[:2], ["end", str(KILLS * 20)])
    for pid in kills:
        assert not pathlib.Path(f"/proc/{pid}").exists(), f"room {pid} outlived its command"
