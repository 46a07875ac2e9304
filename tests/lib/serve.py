# SPDX-License-Identifier: Apache-2.0
"""`ambit serve` under test: the server, raw clients, figures of its rooms. (serving.py makes the component; its server hears all the time.)"""

import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

import ambit
from ambit import allow_missing, environment
from serving import component  # made once, whoever asks first


class Server:
    """`with Server("--wall", "1s") as s:` serves on s.port; `s.end()` drains it and gives exit code and standard error."""

    def __init__(self, *flags, file=None, binary=None, skip=None, env=None, workers=1):
        extra = dict(env or {})
        if skip:
            binary = binary or ambit.hooked_binary()
            extra["AMBIT_TEST_INGRESS_SKIP"] = skip
        self.command = [str(binary or ambit.AMBIT), "serve", "--json", "--listen", "127.0.0.1:0", "--workers", str(workers),
                        *allow_missing(), *map(str, flags), str(file or component())]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment(extra))
        self.err = b""
        self.started = json.loads(self.line(60))
        self.port = int(self.started["listening"].rsplit(":", 1)[1])

    def line(self, timeout=10):
        """The next line of standard error."""
        end = time.monotonic() + timeout
        while b"\n" not in self.err:
            ready, _, _ = select.select([self.process.stderr], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            if not chunk:
                self.process.kill()
                raise AssertionError(f"$ {' '.join(self.command)}\nno line on standard error: {self.err!r}")
            self.err += chunk
        line, _, self.err = self.err.partition(b"\n")
        return line.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def end(self, sig=signal.SIGTERM, timeout=30):
        self.process.send_signal(sig)
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, (self.err + err).decode()

    def rooms(self, kind=""):
        """Process ids of the rooms, by their kind."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
                name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
                if int(stat.rsplit(")", 1)[1].split()[1]) == self.process.pid and name.startswith("ambit-" + kind):
                    found.append(int(pid))
        return found

    def memory(self):
        """Bytes of memory that the rooms have for themselves, all together."""
        total = 0
        for pid in self.rooms():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
        return total

    def connect(self, timeout=20):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, request, timeout=20):
        """Sends bytes on a connection of their own and reads to the end; a reset is b"RESET" at the end."""
        with self.connect(timeout) as s:
            s.sendall(request)
            return read_all(s)

    def get(self, path, extra=""):
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{extra}\r\n".encode())


def read_all(s):
    data = b""
    try:
        while chunk := s.recv(1 << 20):
            data += chunk
    except ConnectionResetError:
        data += b"RESET"
    return data


def read_until(s, end):
    data = b""
    while end not in data:
        chunk = s.recv(65536)
        if not chunk:
            raise AssertionError(f"the end came before {end!r}: {data!r}")
        data += chunk
    return data
