#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that people use against `ambit serve`: curl, h2load, wrk, Node and Python, over HTTP/1.0, 1.1 and 2, plain and TLS.

    tests/interop/clients.py [--only TEXT] [--small]

A *case* is something asked of the component tests/guests/http, and what must come back: status, headers, the digest of the
body, trailers. A *client* does it in its own way (class Client); the table is cases × clients, where a client can do the case.
What streams is shown by cause, not by time: a client sends its next line only when the last one has come back, or gets events of
an answer that never ends.

Bodies go from 0 to 1 GiB both ways (--small: to 1 MiB). While one is under way, the memory (PSS) of every process of Ambit is read
again and again; it may grow by FLAT at most over what it was after a warm-up. Negative controls: a guest that keeps its body in
memory must break that rule, and a wrong digest and a wrong order must be noticed.
The last line is `N passed, N failed`; the exit code is 0 only when something ran and nothing failed.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import pathlib
import re
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.dont_write_bytecode = True
import ambit  # noqa: E402  pylint: disable=wrong-import-position
from serving import Serving, component, proportional_bytes  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 300  # seconds, for what never comes
FLAT = 64 << 20  # bytes that a process may grow by, whatever the body is
MIB, GIB = 1 << 20, 1 << 30
SIZES = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, MIB, 100 * MIB]
TURNS = 5


class Bodies:
    """The body that is sent: the first N bytes of one file, which holds no two equal blocks."""

    def __init__(self, folder, largest):
        self.folder, self.path, self.largest = folder, folder / "body", largest
        pattern = bytes(range(256)) * 256
        with open(self.path, "wb") as f:
            for i in range(max(largest >> 16, 2) + 1):
                f.write(i.to_bytes(8, "big") + pattern[8:])
        self.digests = {}

    def file(self, size):
        """A file of just that size: a name of its own for curl, which sends whole files."""
        path = self.folder / f"body-{size}"
        if not path.exists():
            with open(self.path, "rb") as f, open(path, "wb") as to:
                left = size
                while left > 0:
                    left -= os.sendfile(to.fileno(), f.fileno(), size - left, left)
        return path

    def digest(self, size):
        if size not in self.digests:
            with open(self.path, "rb") as f:
                self.digests[size] = digest_of(iter(lambda: f.read(MIB), b""), size)
        return self.digests[size]


def digest_of(chunks, size):
    made, left = hashlib.sha256(), size
    for chunk in chunks:
        made.update(chunk[:left])
        left -= min(len(chunk), left)
        if left == 0:
            break
    return made.hexdigest()


def zeros(size):
    return digest_of(iter(lambda: bytes(MIB), None), size)


@dataclasses.dataclass
class Ask:
    """What a client is to ask. `size`: a body of so many bytes. `events`: stop after so many. `turns`: lines sent, each after the
    one before has come back."""
    path: str
    method: str = "GET"
    size: int | None = None
    trailers: dict | None = None
    expect: bool = False
    times: int = 1
    events: int = 0
    turns: int = 0


@dataclasses.dataclass
class Answer:
    status: int = 0
    headers: dict = dataclasses.field(default_factory=dict)  # lower-case name -> [value]
    sha256: str = ""
    bytes: int = 0
    trailers: dict = dataclasses.field(default_factory=dict)
    continued: bool = False
    reused: bool = False
    events: int = 0
    turns: int = 0
    error: str = ""


def by_name(pairs):
    found = {}
    for name, value in pairs:
        found.setdefault(name.lower(), []).append(value)
    return found


class Client:
    """`can` names what a client is able to do; a case says what it needs (duplex: to read while it sends). ask() answers one Answer
    for each of `times`."""
    name, can = "", frozenset()
    scheme = "http"

    def __init__(self, place):
        self.place = place  # where: servers, bodies, certificate

    def url(self, path):
        return self.place.url(self.scheme, path)

    def close(self):
        pass


# ---- curl ----

class Curl(Client):
    """The command. What it saw on the wire (100, reuse of a connection) is read from -v."""
    flags = ()
    can = frozenset("body duplex head trailers-back continue reuse events status".split())  # turns: it reads its input before it reads an answer

    def __init__(self, place, name, flags, scheme="http", without=()):
        super().__init__(place)
        self.name, self.flags, self.scheme = name, flags, scheme
        self.can = Curl.can - frozenset(without)

    def ask(self, a):
        with tempfile.TemporaryDirectory(dir=self.place.folder) as work:
            command = ["curl", "-sv", "--no-buffer", *self.flags, "--cacert", self.place.certificate, "--noproxy", "*", "-D", f"{work}/head",
                       "-m", str(PATIENCE)]
            command += ["-I"] if a.method == "HEAD" else ["-X", a.method] if a.method != "GET" else []
            command += ["-H", "Expect: 100-continue" if a.expect else "Expect:"]
            sent = ["-T", self.place.bodies.file(a.size)] if a.size is not None else []
            for i in range(a.times):
                command += [*sent, *(["-o", f"{work}/out{i}"] if a.times > 1 else []), self.url(a.path)]
            with open(f"{work}/err", "wb") as err, subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                                                  stderr=err) as process:
                try:
                    answer = self.read(a, process)
                    code = process.wait(PATIENCE)
                finally:
                    process.kill()
            said = pathlib.Path(f"{work}/err").read_text(errors="replace")
            answer.error = f"curl {code}" if code and not a.events else ""
            answers = [dataclasses.replace(answer) for _ in range(a.times)]
            blocks = self.heads(pathlib.Path(f"{work}/head").read_text(errors="replace"))
            for made, (status, pairs, trailers) in zip(answers, blocks):
                made.status, made.headers, made.trailers = status, by_name(pairs), dict(trailers)
            for i, made in enumerate(answers):
                made.continued = bool(re.search(r"^< HTTP/[\d.]+ 100", said, re.M))
                if a.times > 1 and a.method != "HEAD" and (out := pathlib.Path(f"{work}/out{i}")).exists():
                    made.sha256 = hashlib.sha256(out.read_bytes()).hexdigest()
            answers[-1].reused = "Re-using existing connection" in said
            return answers

    @staticmethod
    def read(a, process):
        answer, made, text = Answer(), hashlib.sha256(), b""
        while chunk := process.stdout.read1(MIB):
            if a.method == "HEAD":
                continue  # curl prints the head there
            made.update(chunk)
            answer.bytes += len(chunk)
            if a.events:
                text += chunk
                answer.events = text.count(b"\n\n")
                if answer.events >= a.events:
                    process.terminate()
                    break
        answer.sha256 = made.hexdigest()
        return answer

    @staticmethod
    def heads(text):
        """[(status, headers, trailers)] of what -D wrote; interim answers left out."""
        blocks = []
        for part in re.split(r"(?m)^(?=HTTP/)", text):
            lines = part.replace("\r", "").split("\n")
            if len(lines) < 2 or not lines[0].startswith("HTTP/"):
                continue
            status, end = int(lines[0].split()[1]), lines.index("")
            pair = [[tuple(line.split(": ", 1)) for line in some if ": " in line] for some in (lines[1:end], lines[end + 1:])]
            if status >= 200:
                blocks.append((status, *pair))
        return blocks


# ---- Node ----

class Node(Client):
    can = {"http": "body duplex head trailers trailers-back continue reuse events turns status", "http2": "body duplex head trailers trailers-back continue events turns status",
           "fetch": "body duplex head events status"}

    def __init__(self, place, name, kind, scheme):
        super().__init__(place)
        self.name, self.kind, self.scheme = name, kind, scheme
        self.can = frozenset(Node.can["http" if kind == "https" else kind].split())

    def ask(self, a):
        spec = {"url": self.url(a.path), "method": a.method, "headers": {}, "times": a.times, "events": a.events, "turns": a.turns}
        if a.size is not None:
            spec |= {"file": str(self.place.bodies.path), "size": a.size}
            if self.kind != "fetch" and not a.trailers:
                spec["headers"]["content-length"] = a.size
        if a.trailers:
            spec |= {"trailers": a.trailers, "headers": {"trailer": ", ".join(a.trailers)}}
        if a.expect:
            spec["expect"] = True
            spec["headers"]["expect"] = "100-continue"
        if self.scheme == "https":
            spec["ca"] = str(self.place.certificate)
        said = subprocess.run(["node", str(HERE / "clients.js"), self.kind, json.dumps(spec)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=PATIENCE, check=False, env={**os.environ, "NODE_EXTRA_CA_CERTS": str(self.place.certificate)})
        if not said.stdout:
            return [Answer(error=said.stderr.decode(errors="replace")[-300:])]
        names = {f.name for f in dataclasses.fields(Answer)}
        answers = []
        for one in json.loads(said.stdout):
            raw = one.pop("headers", [])
            answers.append(Answer(**{k: v for k, v in one.items() if k in names and v is not None}, headers=by_name(zip(raw[::2], raw[1::2]))))
        return answers


# ---- Python ----

class Part:
    """The first bytes of a file, as a file."""

    def __init__(self, path, size):
        self.file, self.left = open(path, "rb"), size  # pylint: disable=consider-using-with

    def read(self, n=-1):
        part = self.file.read(min(n, self.left) if n >= 0 else self.left)
        self.left -= len(part)
        return part


def take(a, read):
    """Reads a body by read(); an Answer without its head."""
    answer, made, text = Answer(), hashlib.sha256(), b""
    while chunk := read():
        made.update(chunk)
        answer.bytes += len(chunk)
        if a.events:
            text += chunk
            answer.events = text.count(b"\n\n")
            if answer.events >= a.events:
                break
    answer.sha256 = made.hexdigest()
    return answer


class HttpClient(Client):
    can = frozenset("body head reuse events status".split())

    def __init__(self, place, name, scheme):
        super().__init__(place)
        self.name, self.scheme = name, scheme

    def ask(self, a):
        connection = http.client.HTTPConnection("127.0.0.1", self.place.port, timeout=PATIENCE) if self.scheme == "http" else \
            http.client.HTTPSConnection("localhost", self.place.tls_port, timeout=PATIENCE, context=self.place.tls())
        answers, connected = [], None
        with contextlib.closing(connection):
            for _ in range(a.times):
                body = None if a.size is None else Part(self.place.bodies.path, a.size)
                try:
                    connection.request(a.method, a.path, body, {} if a.size is None else {"content-length": str(a.size)})
                    reused = connected is not None and connected is connection.sock
                    connected = connection.sock
                    response = connection.getresponse()
                    answer = take(a, lambda r=response: r.read1(65536) if a.events else r.read(65536))
                    answer.status, answer.headers, answer.reused = response.status, by_name(response.getheaders()), reused
                except (OSError, http.client.HTTPException) as e:
                    answer = Answer(error=repr(e))
                answers.append(answer)
        return answers


class Urllib(Client):
    can = frozenset("body head events status".split())

    def __init__(self, place, name, scheme):
        super().__init__(place)
        self.name, self.scheme = name, scheme

    def ask(self, a):
        body = None if a.size is None else Part(self.place.bodies.path, a.size)
        request = urllib.request.Request(self.url(a.path), data=body, method=a.method, headers={} if body is None else {"content-length": str(a.size)})
        handlers = [urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=self.place.tls())] if self.scheme == "https" else [])
        try:
            response = urllib.request.build_opener(*handlers).open(request, timeout=PATIENCE)
        except urllib.error.HTTPError as e:
            response = e
        except (OSError, http.client.HTTPException) as e:
            return [Answer(error=repr(e))]
        with response:
            try:
                answer = take(a, response.readline if a.events else lambda: response.read(65536))
            except (OSError, http.client.HTTPException) as e:
                answer = Answer(error=repr(e))
            answer.status, answer.headers = response.status, by_name(response.getheaders())
        return [answer]


class Raw(Client):
    """A socket and the bytes themselves, chunked in both directions."""
    name = "python socket"
    can = frozenset("body duplex head trailers trailers-back continue reuse events turns status pipeline slow".split())

    def open(self):
        s = socket.create_connection(("127.0.0.1", self.place.port), timeout=PATIENCE)
        return s, s.makefile("rb")

    def ask(self, a):
        answers = []
        s, file = self.open()
        with s, file:
            for i in range(a.times):
                try:
                    answers.append(self.exchange(a, s, file))
                    answers[-1].reused = i > 0
                except (OSError, ValueError) as e:
                    answers.append(Answer(error=repr(e)))
                    break
        return answers

    def exchange(self, a, s, file):
        chunked = a.size is not None or a.turns
        head = f"{a.method} {a.path} HTTP/1.1\r\nHost: localhost\r\n" + ("Transfer-Encoding: chunked\r\n" if chunked else "") + \
            ("Expect: 100-continue\r\n" if a.expect else "") + (f"Trailer: {', '.join(a.trailers)}\r\n" if a.trailers else "")
        s.sendall(head.encode() + b"\r\n")
        continued = False
        if a.expect:
            continued = self.head(file)[0] == 100
        sender = threading.Thread(target=self.send, args=(a, s))
        if a.size is not None:
            sender.start()
        answer = Answer()
        status, headers = self.head(file)
        if a.turns:
            chunks = self.chunks(file, answer)
            for i in range(a.turns):
                s.sendall(self.chunk(f"turn {i}\n".encode()))
                answer.turns += next(chunks) == f"turn {i}\n".encode()
            s.sendall(b"0\r\n\r\n")
            answer.bytes = sum(map(len, chunks))
        elif a.method != "HEAD" and status not in (204, 304):
            trailers = answer.trailers
            answer = take(a, self.body(headers, file, answer))
            answer.trailers = trailers
        if a.size is not None:
            sender.join()
        answer.status, answer.headers, answer.continued = status, headers, continued
        return answer

    @staticmethod
    def chunk(data):
        return b"%x\r\n%b\r\n" % (len(data), data)

    def send(self, a, s):
        part = Part(self.place.bodies.path, a.size)
        with contextlib.suppress(OSError):
            while data := part.read(256 << 10):
                s.sendall(self.chunk(data))
            s.sendall(b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in (a.trailers or {}).items()).encode() + b"\r\n")

    @staticmethod
    def head(file):
        line = file.readline()
        if not line.startswith(b"HTTP/1.1 "):
            raise ValueError(f"no head: {line!r}")
        pairs = []
        while (row := file.readline().decode().strip()):
            pairs.append(tuple(row.split(": ", 1)))
        return int(line.split()[1]), by_name(pairs)

    @staticmethod
    def chunks(file, answer):
        while size := int(file.readline().split(b";")[0], 16):
            yield file.read(size)
            file.readline()
        while (row := file.readline().decode().strip()):
            name, value = row.split(": ", 1)
            answer.trailers[name.lower()] = value

    def body(self, headers, file, answer):
        if "chunked" in headers.get("transfer-encoding", []):
            parts = self.chunks(file, answer)
            return lambda: next(parts, b"")
        left = [int(headers["content-length"][0])]

        def read():
            part = file.read1(min(left[0], 65536)) if left[0] else b""
            left[0] -= len(part)
            return part
        return read


def clients_of(place):
    return [
        Curl(place, "curl 1.1", ["--http1.1"]),
        Curl(place, "curl 1.0", ["--http1.0"], without=("reuse", "continue", "trailers-back")),
        # curl 7.88 fails itself when it uses such a connection again (16; with nginx too).
        Curl(place, "curl h2c", ["--http2-prior-knowledge"], without=("continue", "reuse")),
        Curl(place, "curl tls 1.1", ["--http1.1"], "https"),
        Curl(place, "curl tls h2", ["--http2"], "https", without=("continue",)),
        Node(place, "node http", "http", "http"),
        Node(place, "node https", "https", "https"),
        Node(place, "node h2c", "http2", "http"),
        Node(place, "node tls h2", "http2", "https"),
        Node(place, "node fetch", "fetch", "http"),
        HttpClient(place, "http.client", "http"),
        HttpClient(place, "http.client tls", "https"),
        Urllib(place, "urllib", "http"),
        Urllib(place, "urllib tls", "https"),
        Raw(place),
    ]


# ---- memory ----

class Memory:
    """`with Memory(serving) as m: …` then m.growth(): {process: bytes it grew by at most}."""

    def __init__(self, serving):
        self.serving, self.stop, self.samples = serving, threading.Event(), 0
        self.first, self.most = {}, {}

    def look(self):
        for role, pids in {**self.serving.rooms(), "control": [self.serving.pid]}.items():
            for pid in pids:
                with contextlib.suppress(OSError):
                    used = proportional_bytes(pid)
                    self.first.setdefault((role, pid), used)
                    self.most[role, pid] = max(used, self.most.get((role, pid), 0))
        self.samples += 1

    def watch(self):
        while not self.stop.wait(0.05):
            self.look()

    def __enter__(self):
        self.look()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.look()

    def growth(self):
        return {f"{role} {pid}": self.most[role, pid] - self.first[role, pid] for role, pid in self.most}

    def faults(self):
        return [f"{name} grew by {grown >> 20} MiB" for name, grown in self.growth().items() if grown > FLAT]


# ---- cases ----

HELLO = hashlib.sha256(b"hello\n").hexdigest()


def differences(got, **wanted):
    found = [f"error: {got.error}"] if got.error and "error" not in wanted else []
    for name, value in wanted.items():
        seen = getattr(got, name)
        if seen != value:
            found.append(f"{name}: {seen!r}, not {value!r}")
    return found


def header(got, name, *values):
    seen = got.headers.get(name, [])
    return [] if seen == list(values) else [f"header {name}: {seen}, not {list(values)}"]


def case_status(client):
    for status in (200, 204, 304, 404, 418, 503):
        got = client.ask(Ask(f"/status/{status}"))[0]
        yield from (f"{status}: {d}" for d in differences(got, status=status, bytes=0))


def case_headers(client):
    got = client.ask(Ask("/cookies"))[0]
    yield from differences(got, status=200, bytes=4)
    cookies = got.headers.get("set-cookie", [])
    if cookies not in (["a=1; Path=/", "b=2"], ["a=1; Path=/, b=2"]):
        yield f"set-cookie: {cookies}"
    yield from header(got, "x-thing", "one")


def case_head(client):
    got = client.ask(Ask("/hello", "HEAD"))[0]
    yield from differences(got, status=200, bytes=0)
    yield from header(got, "content-length", "6")


def case_reuse(client):
    for method in ("GET", "HEAD"):
        answers = client.ask(Ask("/hello", method, times=3))
        yield from differences(answers[-1], status=200, reused=True)
        if len(answers) != 3:
            yield f"{method}: {len(answers)} answers"
    # An answer that does not read the body; the connection is used again or closed, never read as the next request.
    answers = client.ask(Ask("/ignore", "POST", size=65536, times=3))
    yield from (d for got in answers for d in differences(got, status=200, sha256=HELLO))


def case_trailers_back(client):
    got = client.ask(Ask("/trailers"))[0]
    yield from differences(got, status=200, bytes=4, trailers={"x-trailer": "yes"})


def case_trailers(client):
    got = client.ask(Ask("/finish", "POST", size=100_000, trailers={"x-one": "1", "x-two": "zwei"}))[0]
    wanted = hashlib.sha256(b"x-one: 1\nx-two: zwei\n").hexdigest()
    yield from differences(got, status=200, sha256=wanted)


def case_continue(client):
    got = client.ask(Ask("/sink", "POST", size=200_000, expect=True))[0]
    yield from differences(got, status=200, continued=True, sha256=hashlib.sha256(b"200000\n").hexdigest())
    if not isinstance(client, Raw):
        return
    s, file = client.open()  # a guest that does not want the body: nobody is told to send it
    with s, file:
        s.sendall(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        status, headers = client.head(file)
        if status != 200 or file.read(6) != b"hello\n":
            yield f"asked for a body that is not wanted: {status} {headers}"


def case_events(client):
    got = client.ask(Ask("/events"))[0]
    yield from differences(got, status=200, bytes=36)
    yield from header(got, "content-type", "text/event-stream")
    got = client.ask(Ask("/events/hold", events=3))[0]  # the answer never ends: what arrives was not held back
    yield from differences(got, events=3)


def case_turns(client):
    got = client.ask(Ask("/echo", "POST", turns=TURNS))[0]
    yield from differences(got, turns=TURNS)


def case_cut(client):
    """An answer that ends in the middle is noticed by the client; the next one is whole."""
    got = client.ask(Ask("/late-trap"))[0]
    if not got.error and client.name != "curl 1.0":  # HTTP/1.0 has nothing to tell it by
        yield f"an answer cut short looks whole: {got}"
    yield from differences(client.ask(Ask("/trap"))[0], status=500)
    yield from differences(client.ask(Ask("/hello"))[0], status=200, sha256=HELLO)


def case_pipeline(client):
    s, file = client.open()
    with s, file:
        s.sendall(b"".join(b"GET /head?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % i if i % 3 else
                           b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d" % i for i in range(60)))
        for i in range(60):
            status, headers = client.head(file)
            answer = Answer()
            read = client.body(headers, file, answer)
            body = b"".join(iter(read, b""))
            wanted = f"GET /head?n={i}\n".encode() if i % 3 else b"%04d" % i
            if status != 200 or not body.startswith(wanted):
                yield f"answer {i}: {status} {body!r}"


def case_slow(client):
    """One client that reads, and one that sends, a little at a time: others are answered between any two of its steps."""
    other = next(c for c in client.place.clients if c.name == "http.client")
    with contextlib.ExitStack() as stack:
        reader, file = client.open()
        stack.enter_context(reader)
        stack.enter_context(file)
        reader.sendall(b"GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (256 * MIB))
        client.head(file)
        sender, back = client.open()
        stack.enter_context(sender)
        stack.enter_context(back)
        sender.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.head(back)
        for i in range(20):
            if len(file.read(65536)) != 65536:
                yield f"the slow reader got nothing at {i}"
            sender.sendall(b"1\r")
            yield from differences(other.ask(Ask("/hello"))[0], status=200, sha256=HELLO)
            sender.sendall(b"\nx\r\n")
            if (got := back.readline() + back.readline()) != b"1\r\nx\r\n":
                yield f"the slow sender got {got!r} at {i}"


def body_case(size, directions=("echo",)):
    def run(client):
        bodies = client.place.bodies
        for way in directions:
            if way == "echo" and size > MIB and "duplex" not in client.can:
                continue  # it sends all before it reads: no server can hold that answer for it
            if way == "echo":
                got = client.ask(Ask("/echo", "POST", size=size))[0]
                yield from (f"echo: {d}" for d in differences(got, status=200, bytes=size, sha256=bodies.digest(size)))
            elif way == "down":
                got = client.ask(Ask(f"/big/{size}"))[0]
                yield from (f"down: {d}" for d in differences(got, status=200, bytes=size, sha256=zeros(size)))
            else:
                got = client.ask(Ask("/sink", "POST", size=size))[0]
                yield from (f"up: {d}" for d in differences(got, status=200, sha256=hashlib.sha256(f"{size}\n".encode()).hexdigest()))
    return run


def words(size):
    if size >= GIB:
        return f"{size // GIB} GiB"
    return f"{size // MIB} MiB" if size >= MIB else f"{size}"


LARGE_CLIENTS = ("curl 1.1", "curl tls h2", "node http", "node h2c", "http.client")


def cases_of(small):
    """(name, what it needs, clients or None for all that can, generator of faults, memory is watched)"""
    yield from (("status", "status", None, case_status, False), ("headers twice", "status", None, case_headers, False),
                ("HEAD", "head", None, case_head, False), ("connection used again", "reuse", None, case_reuse, False),
                ("trailers of an answer", "trailers-back", None, case_trailers_back, False),
                ("trailers of a request", "trailers", None, case_trailers, False), ("100-continue", "continue", None, case_continue, False),
                ("events one by one", "events", None, case_events, False), ("turn by turn", "turns", None, case_turns, False),
                ("cut short", "status", None, case_cut, False), ("pipelining", "pipeline", None, case_pipeline, False),
                ("slow reader and sender", "slow", None, case_slow, True))
    for size in SIZES:
        if not small or size <= MIB:
            yield f"body of {words(size)}", "body", None, body_case(size, ("echo", "down", "up")), size >= MIB
    if not small:
        yield "body of 1 GiB", "body", LARGE_CLIENTS, body_case(GIB, ("down", "up")), True
        yield "body of 1 GiB, both ways", "body", LARGE_CLIENTS[:3], body_case(GIB), True


# ---- load generators ----

def load_faults(place):
    """(name, [faults], words)"""
    secure = place.url("https", "/hello")
    plain = place.url("http", "/hello")
    for name, flags, url in (("h2load h2c", [], plain), ("h2load --h1", ["--h1"], plain), ("h2load tls h2", [], secure), ("h2load tls --h1", ["--h1"], secure)):
        said = subprocess.run(["h2load", "-n", "3000", "-c", "30", "-m", "1" if "--h1" in flags else "10", *flags, url], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False).stdout
        found = re.search(r"requests: 3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout", said)
        codes = re.search(r"status codes: 3000 2xx", said)
        rate = re.search(r"finished in .*", said)
        yield name, [] if found and codes else [said[-600:]], rate[0] if rate else ""
    for url in (plain, secure):
        said = subprocess.run(["wrk", "-t", "1", "-c", "64", "-d", "2s", url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE, check=False).stdout
        served = re.search(r"(\d+) requests in", said)
        ok = served and int(served[1]) > 100 and "Non-2xx" not in said and "Socket errors" not in said
        yield f"wrk {url.split(':')[0]}", [] if ok else [said[-600:]], served[0] if served else ""


# ---- all together ----

class Place:
    """Two servers of one component, one of them over TLS; what all clients share."""

    def __init__(self, folder, small):
        self.folder = folder
        self.bodies = Bodies(folder, MIB if small else GIB)
        self.certificate, key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(self.certificate)],
                       stderr=subprocess.DEVNULL, check=True)
        limits = ["--wall", "10m", "--cpu", "5m", "--hostcalls", "100000000", "--workers", "1"]
        self.plain = Serving(component(), *limits)
        self.secure = Serving(component(), *limits, "--tls-cert", self.certificate, "--tls-key", key)

    def __enter__(self):
        self.plain.__enter__()
        self.secure.__enter__()
        self.port, self.tls_port = self.plain.port, self.secure.port
        self.clients = clients_of(self)
        return self

    def __exit__(self, *args):
        try:
            self.plain.__exit__(*args)
        finally:
            self.secure.__exit__(*args)

    def url(self, scheme, path):
        return f"http://127.0.0.1:{self.port}{path}" if scheme == "http" else f"https://localhost:{self.tls_port}{path}"

    def tls(self):
        return ssl.create_default_context(cafile=str(self.certificate))

    def server_of(self, client):
        return self.plain if client.scheme == "http" else self.secure


def run_case(place, case, client):
    """[faults], and the most that a process grew by where that is watched."""
    _, _, _, faults, watched = case
    try:
        if not watched:
            return list(faults(client)), None
        list(body_case(MIB)(client))  # warm
        with Memory(place.server_of(client)) as memory:
            found = list(faults(client))
        return found + memory.faults(), max(memory.growth().values())
    except (OSError, ValueError, subprocess.SubprocessError) as e:
        return [f"{type(e).__name__}: {e}"], None


def controls(place, small):
    """(name, noticed)"""
    client = place.clients[0]
    yield "a wrong digest", bool(differences(client.ask(Ask("/echo", "POST", size=65536))[0], sha256=place.bodies.digest(65537)))
    yield "an answer cut short", bool(client.ask(Ask("/short"))[0].error)
    if not small:
        case = ("", "", None, lambda c: differences(c.ask(Ask("/buffer", "POST", size=192 * MIB))[0], status=200), True)
        found, grown = run_case(place, case, client)
        yield f"a guest that keeps 192 MiB ({found[:1]}, {(grown or 0) >> 20} MiB)", len(found) == 1 and "grew" in found[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases or clients whose name holds TEXT")
    parser.add_argument("--small", action="store_true", help="bodies to 1 MiB")
    arguments = parser.parse_args()
    passed = failed = 0

    def report(name, who, found, about):
        nonlocal passed, failed
        passed, failed = passed + (not found), failed + bool(found)
        print(f"{'FAILED' if found else 'ok':7}{name:30} {who:18} {about}", flush=True)
        print("".join(f"       | {line}\n" for text in found for line in str(text).splitlines()), end="", flush=True)

    with tempfile.TemporaryDirectory(prefix="ambit-clients-") as folder, Place(pathlib.Path(folder), arguments.small) as place:
        for case in cases_of(arguments.small):
            name, needs, names, _, _ = case
            for client in place.clients:
                if needs not in client.can or (names and client.name not in names) or arguments.only not in f"{name} / {client.name}":
                    continue
                start = time.monotonic()
                found, grown = run_case(place, case, client)
                report(name, client.name, found, f"{time.monotonic() - start:6.2f} s" + (f", grew {grown / MIB:.1f} MiB at most" if grown is not None else ""))
        if arguments.only in "load":
            for name, found, about in load_faults(place):
                report("load", name, found, about)
        if not arguments.only:
            for name, noticed in controls(place, arguments.small):
                report("control", name, [] if noticed else ["NOT noticed"], "")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
