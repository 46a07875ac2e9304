# SPDX-License-Identifier: Apache-2.0
"""How much memory the rooms of a server and of a proxy can make, whoever runs in them. Each has a bound (RLIMIT_DATA) that follows from what it
was allowed: connections and requests of a front, guests of a worker. Escaped code gets no more; clients who come to it are turned away, and
everybody else is served."""

import contextlib
import pathlib
import re
import resource
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import ambit
from ambit import contains, environment, equal, execute, hooked_binary
from proxy import Proxy, World
from serving import Serving, component, read_until, wait_for
from test_http_in import PREFACE, fields, frame

MIB = 1 << 20
# src/ingress/ingress.c: each place, each request under way or waiting, the room's own; and the places of who is told that all are taken.
CONNECTION, EXCHANGE, OWN, OVER = 256 << 10, MIB, 128 * MIB, 64
# src/worker/worker.c: for each guest beside its --memory, the engine's.
REQUEST, ENGINE = 8 * MIB, 1024 * MIB
# src/control/proxy.h
PROXY_REQUESTS = 896 + 4096


def test_escaped_code_makes_no_more():
    """Native code that has taken over a front, or the worker of a server, maps 64 GiB: refused. Control: with the bound left out it succeeds."""
    serve = ["serve", *ambit.allow_missing(), "--listen", "127.0.0.1:0", "--workers", "1", "--connections", "100", "--concurrency", "4", component()]
    proxy = ["proxy", *ambit.allow_missing(), "--listen", "127.0.0.1:0", "--connections", "100"]
    for command, variable, without in ((serve, "AMBIT_TEST_INGRESS_SKIP", "probe-memory"), (serve, "AMBIT_TEST_JAIL_SKIP", "probe,memory"),
                                       (proxy, "AMBIT_TEST_INGRESS_SKIP", "probe-memory")):
        for skip, wanted in (("probe", "probe fill-memory: refused (Cannot allocate memory)"), (without, "probe fill-memory: succeeded")):
            r = execute([hooked_binary(), *map(str, command)], environ=environment({variable: skip}))
            equal(r.rc, 127, repr(r))
            contains(r.err, wanted, f"{command[0]} {variable}={skip}")


def data_limit(pid):
    return int(re.search(r"^Max data size +(\w+) ", pathlib.Path(f"/proc/{pid}/limits").read_text(), re.M).group(1))


def data(pid):
    return int(re.search(r"^VmData:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M).group(1)) << 10


def test_the_bound_follows_from_what_is_allowed():
    flags = ["--connections", "1000", "--concurrency", "3", "--queue", "7", "--memory", "64MiB"]
    with Serving(component(), "--workers", "1", *flags) as s:
        rooms = s.rooms()
        equal(data_limit(rooms["ingress"][0]), OWN + (1000 + OVER) * CONNECTION + (3 + 7) * EXCHANGE)
        beside = data_limit(rooms["worker"][0]) - 3 * (64 * MIB + REQUEST) - ENGINE    # what the engine has reserved
        assert abs(beside - data(rooms["worker"][0])) < 16 * MIB, (beside, data(rooms["worker"][0]))
    with Proxy([], "--connections", "1000") as p:
        equal(data_limit(p.rooms()["ingress"][0]), OWN + (1000 + OVER) * CONNECTION + PROXY_REQUESTS * EXCHANGE)


def leave(pid, more):
    """The room is near its bound: it may make so much more and nothing beyond."""
    resource.prlimit(pid, resource.RLIMIT_DATA, (data(pid) + more,) * 2)


def ask(port, text):
    with socket.create_connection(("127.0.0.1", port), 30) as c:
        c.sendall(text)
        return b"".join(iter(lambda: c.recv(65536), b""))


def crowd(port, count, text):
    """So many clients that hold their places with what they sent; how many of them were let go of at once."""
    with contextlib.ExitStack() as stack:
        held, gone = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(count)], 0
        for c in held:
            with contextlib.suppress(OSError):
                c.sendall(text)
        for c in held:
            c.settimeout(0.02)
            try:
                gone += c.recv(1) == b"" or True
            except TimeoutError:
                pass
            except OSError:
                gone += 1
        return gone


HEAD = b"GET /hello HTTP/1.1\r\nHost: a\r\n"
HUGE = HEAD + b"X: " + b"a" * 60000    # and no end
LAST = b"Connection: close\r\n\r\n"


def test_a_front_at_its_bound_turns_clients_away():
    """Two pairs, one of them at its bound: clients that it has no memory for are closed, those of the other pair are served meanwhile, and
    when they are gone it serves as before. Control: the same crowd is held by fronts that may have it."""
    for bounded in (False, True):
        with Serving(component(), "--workers", "2") as s:
            before = s.rooms()["ingress"]
            if bounded:
                leave(before[0], 2 * MIB)
            away = crowd(s.port, 200, HUGE)
            print(away, "of 200 turned away;", "it died" if s.rooms()["ingress"] != before else "it lived")
            assert 20 < away < 180 if bounded else away == 0, away
            wait_for(lambda: len(s.rooms().get("ingress", [])) == 2, "two fronts")
            for _ in range(40):
                contains(ask(s.port, HEAD + LAST), b"hello\n")
            equal(len(s.rooms()["worker"]), 2)


def test_a_proxys_front_at_its_bound():
    """The same, of a proxy with one front."""
    for bounded in (False, True):
        with World() as w, w.proxy() as p:
            equal(p.status(w.url("/hello"))[0], 200)
            if bounded:
                leave(p.rooms()["ingress"][0], 2 * MIB)
            away = crowd(p.port, 200, HUGE)
            print(away, "of 200 turned away")
            assert away > 100 if bounded else away == 0, away
            wait_for(lambda: len(p.rooms().get("ingress", [])) == 1, "a front")
            for _ in range(10):
                equal(p.status(w.url("/hello"))[0], 200)
            equal({role: len(pids) for role, pids in p.rooms().items()}, {"ingress": 1, "egress": 1, "keeper": 1})


def test_a_worker_at_its_bound_answers_5xx():
    """Guests that it has no memory for end with 500; when they have, all are answered again. Control: a worker that may have it ends
    them at their own limit, with 503."""
    for bounded in (False, True):
        with Serving(component(), "--workers", "1", "--concurrency", "16", "--memory", "64MiB") as s:
            before = s.rooms()["worker"]
            if bounded:
                leave(before[0], 4 * MIB)
            with contextlib.ExitStack() as stack:
                held = [stack.enter_context(socket.create_connection(("127.0.0.1", s.port), 30)) for _ in range(16)]
                for c in held:
                    c.sendall(b"GET /memory HTTP/1.1\r\nHost: a\r\n" + LAST)
                got = {b"".join(iter(lambda c=c: c.recv(65536), b""))[9:12] for c in held}
            equal(got, {b"500"} if bounded else {b"503"})
            equal(s.rooms()["worker"], before, "it lives")
            for _ in range(20):
                contains(ask(s.port, HEAD + LAST), b"hello\n")


def long_head(stream, size):
    """A request of HTTP/2 that names two hosts, with a field of so many bytes, in as many frames as that takes."""
    rest, block = size - 127, fields((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/hello"), (b"host", b"b"))
    block += b"\0\1x\x7f"
    while rest >= 128:
        block, rest = block + bytes([rest % 128 | 128]), rest // 128
    block += bytes([rest]) + b"a" * size
    pieces = [block[i:i + 16384] for i in range(0, len(block), 16384)]
    return b"".join(frame(1 if i == 0 else 9, (1 if i == 0 else 0) | (4 if i == len(pieces) - 1 else 0), stream, piece) for i, piece in enumerate(pieces))


def test_refused_heads_are_not_kept():
    """A client of HTTP/2 that takes no answers (its window is 0) holds a hundred streams of each connection open. None of them has a place of a
    request; what the front keeps of each is less than its head, which can be 60 kB."""
    with Serving(component(), "--workers", "1") as s, contextlib.ExitStack() as stack:
        front = s.rooms()["ingress"][0]
        contains(ask(s.port, HEAD + LAST), b"hello\n")
        before = data(front)
        for _ in range(5):
            c = stack.enter_context(socket.create_connection(("127.0.0.1", s.port), 30))
            c.sendall(PREFACE + frame(4, 0, 0, b"\0\4" + bytes(4)))
            for i in range(100):
                c.sendall(long_head(2 * i + 1, 60000))
            c.sendall(frame(6, 0, 0, b"all seen"))
            read_until(c, frame(6, 1, 0, b"all seen"))
        more = (data(front) - before) / 500
        print(f"{more:.0f} bytes for each stream")
        assert more < 20000, more
