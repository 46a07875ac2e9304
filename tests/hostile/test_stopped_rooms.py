# SPDX-License-Identifier: Apache-2.0
"""Rooms that take nothing any more: who has taken one over can stop it, and does not read what control says. Control waits for no room
longer than for one that runs; the room is ended, as if it had died, and started again. What control would send to a channel that is
full is in tests/unit/test_egress.c and test_control_keeper.c, too."""

import os
import pathlib
import signal

from ambit import equal
from proxy import World
from serving import wait_for

RELOADS = 400  # more frames than a socket holds


def stop(p, role):
    """Stops one room of the proxy: its pid."""
    pid = p.rooms()[role][0]
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "T", f"{role} stopped")
    return pid


def pending(pid, number):
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines())
    return int(status["ShdPnd"], 16) >> number - 1 & 1


def test_egress_that_takes_no_grant():
    """A reload in which it has to take one."""
    with World() as w, w.proxy(w.grant(paths=["/hello"])) as p:
        equal(p.status(w.url("/hello"))[0], 200)
        stopped = stop(p, "egress")
        equal(p.reload([w.grant(paths=["/hello"]), w.grant(paths=["/echo"])]), {"kept": 1, "added": 1, "revoked": 0})
        equal((p.status(w.url("/echo"))[0], p.status(w.url("/hello"))[0], p.status(w.url("/who"))[0]), (200, 200, 403))
        assert p.rooms()["egress"] != [stopped], "the room that takes nothing lives"
        equal(len(p.events("egress.died")), 1)


def test_a_signal_while_egress_takes_no_grant():
    """SIGTERM, as a rule while control waits in the reload: the proxy ends as it should, with 0."""
    with World() as w, w.proxy(w.grant(paths=["/hello"])) as p:
        equal(p.status(w.url("/hello"))[0], 200)
        stop(p, "egress")
        p.write([w.grant(paths=["/hello"]), w.grant(paths=["/echo"])])
        p.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not pending(p.pid, signal.SIGHUP), "a reload that has begun")


def test_a_signal_while_egress_does_not_start():
    with World() as w, w.proxy() as p:
        stop(p, "egress")


def test_a_front_that_hears_nothing():
    """So many reloads that what it is told of them fills its channel."""
    with World() as w, w.proxy(w.grant(paths=["/hello"])) as p:
        stopped = stop(p, "ingress")
        for i in range(RELOADS):
            equal(p.reload([w.grant(paths=["/hello"])] if i % 2 else [])["added"], i % 2)
        equal(p.status(w.url("/hello"))[0], 200)
        assert stopped not in p.rooms()["ingress"], "the room that takes nothing lives"
