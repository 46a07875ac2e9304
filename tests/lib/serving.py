# SPDX-License-Identifier: Apache-2.0
"""`ambit serve` for tests: `with Serving(component(), "--workers", "2") as s: … s.port, s.rooms(), s.said, s.get("/hello")`;
`serve("--wall", "1s")` is the same with that component and one worker.

It listens on a free port of loopback, is stopped by a signal when the block ends, and then has to end with 0. What its rooms
take in memory and how many descriptors a process has are read from /proc; a room is a direct child, named by its command line.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request

import ambit

SOURCE = ambit.TOP / "tests/guests/http"
WAIT_S = 60


def wait_for(condition, what, seconds=WAIT_S):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never came: {what() if callable(what) else what}"
        time.sleep(0.01)


def component():
    """The component of tests/guests/http, built once and kept."""
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(SOURCE.iterdir()) if p.is_file())).hexdigest()[:16]
    made = ambit.GUESTS / f"http-{digest}.wasm"
    if not made.exists():
        ambit.GUESTS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ambit.GUESTS) as work:
            out = pathlib.Path(work) / "server.wasm"
            home = os.environ.get("AMBIT_TEST_HOME", os.environ["HOME"])
            result = ambit.execute([SOURCE / "build", out], timeout=900, environ={**os.environ, "HOME": home})
            assert result.rc == 0, repr(result)
            os.replace(out, made)
    return made


def adopt():
    """Who is left over without a parent becomes a child of this test's, and is seen: zombies included."""
    PR_SET_CHILD_SUBREAPER = 36
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def children(pid):
    return [int(c) for t in pathlib.Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rooms(pid):
    """{role: [pid]} of the rooms below a command; one that has died does not count."""
    found = {}
    for child in children(pid):
        with contextlib.suppress(OSError, IndexError):
            command = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if command[1] == b"--room":
                found.setdefault(command[2].decode(), []).append(child)
    return {role: sorted(pids) for role, pids in found.items()}


def proportional_bytes(pid):
    """Memory that a process is answerable for: its own, and its part of what it shares (PSS)."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def read_all(s):
    """What comes to the end, however it ends: a reset, too."""
    data = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while chunk := s.recv(1 << 20):
            data += chunk
    return data


def read_until(s, end):
    data = b""
    while end not in data:
        chunk = s.recv(65536)
        assert chunk, f"the end came before {end!r}: {data!r}"
        data += chunk
    return data


class Serving:
    """`expect`: the exit code it has to end with; None where the test looks itself (`rc`). `skip`: a defence of the ingress room that a
    negative control leaves open."""

    def __init__(self, file, *flags, env=None, expect=0, binary=None, skip=None):
        binary = binary or (ambit.hooked_binary() if skip else ambit.AMBIT)
        self.command = [str(binary), "serve", *ambit.allow_missing(), "--json", "--listen", "127.0.0.1:0", *map(str, flags), str(file)]
        self.env, self.expect, self.said, self.rc = ambit.environment({**(env or {}), "AMBIT_TEST_INGRESS_SKIP": skip}), expect, [], None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=self.env)  # of the test's own session: who ends the test ends this
        self.output, self.heard = b"", 0
        self.readers = [threading.Thread(target=self._hear, daemon=True), threading.Thread(target=self._read, daemon=True)]
        for t in self.readers:
            t.start()
        try:
            wait_for(lambda: self.told("listening") or self.process.poll() is not None, lambda: f"a listener: {self.said}")
            assert self.told("listening"), f"serve ended with {self.process.returncode}: {self.said}"
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        self.started = self.told("listening")[0]
        self.url = self.started["listening"]
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def _hear(self):
        self.said.extend(line.decode("utf-8", "backslashreplace").rstrip("\n") for line in self.process.stderr)

    def _read(self):
        for chunk in iter(lambda: self.process.stdout.read1(65536), b""):
            self.output += chunk

    def told(self, key):
        """The lines of JSON it has printed that have this key."""
        lines = []
        for line in list(self.said):
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if isinstance(line, dict) and key in line]

    def next_line(self, words):
        """The next line it says that holds these words; those before it are passed over."""
        found = []

        def said():
            while not found and self.heard < len(self.said):
                self.heard += 1
                if words in self.said[self.heard - 1]:
                    found.append(self.said[self.heard - 1])
            return found
        wait_for(said, lambda: f"{words!r}: {self.said}")
        return found[0]

    @property
    def pid(self):
        return self.process.pid

    def rooms(self):
        return rooms(self.pid)

    def resident(self, role=None, kinds=("RssAnon:", "RssShmem:")):
        """Bytes that the rooms of a role, or all, have resident for themselves."""
        total = 0
        for pid in [pid for kind, pids in self.rooms().items() if role in (None, kind) for pid in pids]:
            for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith(kinds):
                    total += int(line.split()[1]) * 1024
        return total

    def memory(self):
        """Bytes of memory that the rooms have allocated, all together."""
        return self.resident(kinds=("RssAnon:",))

    def connect(self, timeout=WAIT_S):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, request, timeout=WAIT_S):
        """Sends bytes on a connection of their own and reads to the end; who is answered before all is sent may be cut off sending."""
        with self.connect(timeout) as s:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                s.sendall(request)
            return read_all(s)

    def get(self, path, extra=""):
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{extra}\r\n".encode())

    def metrics(self):
        """{name: figure}, with --metrics."""
        with urllib.request.urlopen(self.started["metrics"], timeout=WAIT_S) as answer:
            return {name: int(figure) for name, figure in re.findall(r"^(\w+) (\d+)$", answer.read().decode(), re.M)}

    def wait_for_requests(self, running, waiting=0):
        """Until so many are at the guest, and so many wait for a place, with --metrics."""
        wanted = {"ambit_serve_requests_running": running, "ambit_serve_requests_waiting": waiting}
        wait_for(lambda: wanted.items() <= self.metrics().items(), lambda: f"{wanted}: {self.metrics()}")

    def end(self, number=signal.SIGTERM):
        """Ends it: exit code, standard output, standard error, at which the test looks itself."""
        self.expect = None
        return self.stop(number), self.output, "\n".join(self.said)

    def stop(self, number=signal.SIGTERM):
        """Ends it; its rooms die with it. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.rc = self.process.wait(WAIT_S)
        finally:
            self.process.kill()
        for t in self.readers:
            t.join(WAIT_S)
        return self.rc

    def __exit__(self, kind, *_):
        self.stop()
        if kind is None and self.expect is not None:
            ambit.equal(self.rc, self.expect, f"the end of {self.command}: {self.said}")


def serve(*flags, workers=1, **more):
    """The component of these tests served."""
    return Serving(component(), "--workers", str(workers), *flags, **more)
