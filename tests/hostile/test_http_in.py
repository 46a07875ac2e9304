# SPDX-License-Identifier: Apache-2.0
"""Hostile clients of `ambit serve`: what two servers could read differently, who is slow, who is many, who floods."""

import contextlib
import resource
import select
import socket
import struct
import time

from ambit import contains, equal, lacks, negative_control
from serving import read_all, read_until, serve

HOST = b"Host: a\r\n"
INNER = b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

SMUGGLING = [
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 0, 40\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nabcd" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 0x4\r\n\r\nabcd" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length : 4\r\n\r\nabcd" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\nZ\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n" + INNER,
    b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 40\r\n\r\n" + INNER,
    b"GET /hello HTTP/1.1\r\n" + HOST + b"Host: b\r\n\r\n" + INNER,
    b"GET /hello HTTP/1.1\r\n\r\n" + INNER,
    b"GET http://b/hello HTTP/1.1\r\n" + HOST + b"\r\n" + INNER,
    b"GET /hello HTTP/1.1\r\n" + HOST + b"X: 1\r\n folded\r\n\r\n" + INNER,
    b"GET /hello HTTP/1.1\r\n" + HOST + b" X: 1\r\n\r\n" + INNER,
    b"GET /hello HTTP/1.1\n" + HOST + b"\n" + INNER,
    b"GET /hello HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n" + INNER,
    b"GET /hello HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n" + INNER,
    b"GET /hello\x01 HTTP/1.1\r\n" + HOST + b"\r\n" + INNER,
    b"GET  /hello HTTP/1.1\r\n" + HOST + b"\r\n" + INNER,
    b"GET /hello HTTP/1.1 \r\n" + HOST + b"\r\n" + INNER,
    b"GET /hello HTTP/1.2\r\n" + HOST + b"\r\n" + INNER,
    b"GE\0T /hello HTTP/1.1\r\n" + HOST + b"\r\n" + INNER,
    b"GET /hello\r\n" + INNER,
]


def test_no_request_is_read_as_two():
    with serve("--wall", "2s") as s:
        for text in SMUGGLING:
            answer = s.ask(text)
            status = answer.split(b" ")[1] if answer.startswith(b"HTTP/1.1 ") else answer
            assert status in (b"400", b"501", b"505"), (text, answer)
            equal(answer.count(b"HTTP/1.1 "), 1, repr(text))
            lacks(answer, b"\r\n\r\n1\n", repr(text))
        # The same clients with nothing odd get two answers: the table above proves something.
        answer = s.ask(b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nabcd" +
                       INNER[:-2] + b"Connection: close\r\n\r\n")
        equal(answer.count(b"HTTP/1.1 200"), 2)


def test_what_is_too_large():
    with serve() as s:
        for text, status in ((b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"414"),
                             (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70000 + b"\r\n\r\n", b"431"),
                             (b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * 300 + b"\r\n", b"431"),
                             (b"POST /sink HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 5000 + b"\r\n", b"400")):
            answer = s.ask(text)
            equal(answer.split(b" ")[1:2], [status], repr(text[:60]))
        contains(s.get("/hello"), b"hello")


def test_slow_clients_take_nobodys_place():
    def attack(skip):
        with serve("--connections", "50", skip=skip) as s, contextlib.ExitStack() as stack:
            for _ in range(60):
                c = stack.enter_context(s.connect())
                with contextlib.suppress(OSError):
                    c.sendall(b"GET /hello HT")
            return b"hello\n" not in s.get("/hello")
    negative_control(attack, "eviction")


def test_slow_heads_end():
    def attack(skip):
        with serve("--client-timeout", "1s", skip=skip) as s, s.connect() as c:
            c.sendall(b"GET /hello HTTP/1.1\r\n")
            end = time.monotonic() + 6
            with contextlib.suppress(OSError):
                while time.monotonic() < end:
                    c.sendall(b"X")
                    if select.select([c], [], [], 0.2)[0]:
                        return False
            return True
    negative_control(attack, "timeouts")


def test_half_closed_clients():
    with serve("--client-timeout", "1s", "--wall", "1m") as s:
        for text, part in ((b"GET /hello HTTP/1.1\r\n" + HOST + b"\r\n", b"hello\n"),
                           (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", b"abc")):
            with s.connect() as c:
                c.sendall(text)
                c.shutdown(socket.SHUT_WR)
                contains(read_all(c), part)
        with s.connect() as c:  # nobody is left to be answered
            c.sendall(b"GET /hold HTTP/1.1\r\n" + HOST + b"\r\n")
            c.shutdown(socket.SHUT_WR)
            equal(read_all(c), b"")


def test_ten_thousand_connections():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(10000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with serve("--keep-alive", "5m", "--client-timeout", "5m", "--connections", str(wanted + 100)) as s:
        s.get("/hello")
        before, held = s.memory(), []
        for n in range(wanted):
            # One address has about 28,000 ports; two hundred at once is what a backlog takes on any machine.
            held.append(s.connect())
            if n % 200 == 0:
                held[-1].sendall(b"GET /hello HTTP/1.1\r\n" + HOST + b"\r\n")
                read_until(held[-1], b"hello\n")
        for c in (held[0], held[wanted // 2], held[-1]):
            c.sendall(b"GET /count HTTP/1.1\r\n" + HOST + b"\r\n")
            read_until(c, b"1\n")
        grown = s.memory() - before
        assert grown < wanted * 2048 + (8 << 20), f"{grown / wanted:.0f} bytes a connection"
        for c in held:
            c.close()


def test_pipelining_is_bounded():
    with serve() as s, s.connect() as c:
        before = s.memory()
        c.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError, OSError):
            while sent < 200 << 20:
                c.sendall(b"GET /big/100000 HTTP/1.1\r\n" + HOST + b"\r\n")
                sent += 50
        assert sent < 200 << 20
        assert s.memory() < before + (8 << 20)
        contains(s.get("/hello"), b"hello")


# ---- HTTP/2 ------------------------------------------------------------------------------------------------------------

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


# Literal fields without indexing; names and values shorter than 127 bytes.
def fields(*pairs):
    return b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in pairs)


GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/hold"))


MARK = b"the mark"


def flood(s, frames, start=PREFACE + frame(4, 0, 0)):
    """Sends frames until the server ends the connection: True; or until it answers a ping behind the last of them: False."""
    with s.connect() as c:
        came = b""
        try:
            c.sendall(start)
            for part in frames:
                c.sendall(part)
                while select.select([c], [], [], 0)[0]:
                    if not c.recv(65536):
                        return True
            c.sendall(frame(6, 0, 0, MARK))
            while MARK not in came:
                more = c.recv(65536)
                if not more:
                    return True
                came = came[-len(MARK):] + more
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False


FLOODS = {
    "ping": lambda: (frame(6, 0, 0, bytes(8)) * 50 for _ in range(200)),
    "settings": lambda: (frame(4, 0, 0) * 50 for _ in range(200)),
    "rapid reset": lambda: (frame(1, 5, 2 * n + 1, fields(*GET)) + frame(3, 0, 2 * n + 1, struct.pack(">I", 8)) for n in range(5000)),
    "priority": lambda: (frame(2, 0, 1, bytes([0, 0, 0, 0, 1])) * 50 for _ in range(200)),
    "empty data": lambda: iter([frame(1, 4, 1, fields((b":method", b"POST"), *GET[1:]))] + [frame(0, 0, 1) * 50] * 200),
    "continuation": lambda: iter([frame(1, 0, 1, fields(*GET))] + [frame(9, 0, 1, fields((b"x", b"y" * 100)) * 50)] * 500),
}


def test_floods_of_http_2_end_the_connection():
    with serve("--wall", "1m") as s:
        for name, frames in FLOODS.items():
            assert flood(s, frames()), name
            contains(s.get("/hello"), b"hello", name)
    def attack(skip):
        with serve("--wall", "1m", skip=skip) as s:
            return not flood(s, FLOODS["priority"]())
    negative_control(attack, "h2-floods")


def test_malformed_http_2():
    with serve("--wall", "5s") as s:
        for bad in (((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/hello"), (b":authority", b"a"), (b"host", b"b")),
                    (*GET[:3], (b":path", b"/hel lo")), (*GET[:3], (b":path", b"hello")), (*GET, (b"connection", b"close")),
                    (*GET, (b"transfer-encoding", b"chunked")), (*GET, (b"X-Upper", b"1")), (*GET, (b"x", b"a\r\nb: c")),
                    (*GET, (b":path", b"/other")), (*GET[:2], (b":authority", b"a b"), GET[3]), GET[1:]):
            with s.connect() as c:
                # refused behind the ping at the latest, which a server that went on would answer
                c.sendall(PREFACE + frame(4, 0, 0) + frame(1, 5, 1, fields(*bad)) + frame(6, 0, 0, MARK))
                data = b""

                def refused():
                    return b"\0\0\4\3\0\0\0\0\1" in data or b"400" in data or b"\x8c" in data
                with contextlib.suppress(ConnectionResetError):
                    while not (refused() and MARK in data) and (chunk := c.recv(65536)):
                        data += chunk
                lacks(data, b"hello\n", repr(bad))
                assert refused(), (bad, data)
        contains(s.get("/hello"), b"hello")
        equal(len(s.rooms()["worker"]), 1)
