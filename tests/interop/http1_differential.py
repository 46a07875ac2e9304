#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP/1.1 codec beside Node's parser and nginx: one table of raw bytes, three readers.

    tests/interop/http1_differential.py [-v]

Each input goes, on a connection of its own, (a) to a Node http server, (b) through nginx as a reverse proxy to a recorder, so that
what is seen is what nginx forwards, (c) to our codec (build/tests/unit/http1_driver). A *reading* is the requests that were whole
(method, path and query, host, body) and how it ended: `end`, or `no` (refused, or cut short).

What is asserted, for every input:
  - what we read to its end, Node and nginx read to its end, the same; so what two of them read differently, we reject;
  - the requests that we read before we reject something are those that they read, as far as each of them read.
EXCEPTIONS are inputs that one of them refuses to serve, not reads differently; each has a reason, and each must be used.
Negative controls: a codec that overlooks one fault (build-test/, with test hooks) must be noticed.
The inputs are tests/vectors/http1/requests and changes of valid requests made by a generator with a fixed seed.
"""

import collections
import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
sys.dont_write_bytecode = True
import vectors  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 20  # seconds, for what never comes
CHANGES = 1000
Request = collections.namedtuple("Request", "method target host body")
Reading = collections.namedtuple("Reading", "requests end closes", defaults=(False,))
NODE_METHODS = set("ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS PATCH"
                   " POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE".split())


def leaves_root(request):
    depth = 0
    for segment in re.sub(r"%2[eE]", ".", request.target.split("?")[0]).split("/")[1:]:
        depth += 0 if segment in ("", ".") else -1 if segment == ".." else 1
        if depth < 0:
            return True
    return False


# (who refuses, which of our requests, reason)
EXCEPTIONS = [
    ("node", lambda r: r.method not in NODE_METHODS, "Node knows a closed list of methods; RFC 9110 9.1 lets any token be one, and wasi:http has `other`"),
    ("nginx", lambda r: not re.fullmatch("[A-Z_-]+", r.method), "nginx takes methods of capitals, _ and - only"),
    ("nginx", lambda r: r.method in ("CONNECT", "TRACE"), "nginx serves no CONNECT and no TRACE"),
    ("nginx", lambda r: r.target == "*", "nginx has no OPTIONS *"),
    ("nginx", leaves_root, "nginx refuses paths that leave the root; where a path leads is for who routes it (url.h)"),
]


# ---- the three readers ----

def exchange(path, data):
    """Sends everything, says that no more comes, and waits for the end."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(path)
        sender = threading.Thread(target=send, args=(s, data))
        sender.start()
        answer = b""
        try:
            while part := s.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        sender.join()
    return answer


def send(s, data):
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # refused before the end


def plain_host(host):
    return re.sub(r":\d+$", "", host).lower()


def split_absolute(method, target):
    """Absolute-form is passed on whole by Node, split by us and nginx: the same request."""
    found = re.match(r"(?i)https?://[^/?]*(.*)$", target, re.S)
    if not found:
        return target
    return found[1] or ("*" if method == "OPTIONS" else "/")


class Node:
    def __init__(self, folder):
        self.path, self.number = f"{folder}/node.sock", 0
        self.process = subprocess.Popen(["node", str(TOP / "tests" / "interop" / "http1_recorder.js"), self.path], stdout=subprocess.PIPE)
        assert json.loads(self.process.stdout.readline())["ready"]

    def read(self, data):
        self.number += 1
        exchange(self.path, data)
        requests, end = [], "end"
        while True:
            said = json.loads(self.process.stdout.readline())
            assert said["connection"] == self.number, said
            if "closed" in said:
                return Reading(requests, end)
            if "refused" in said:
                end = "no"
            else:
                target = "" if said["method"] == "CONNECT" else split_absolute(said["method"], said["target"])
                requests.append(Request(said["method"], target, plain_host(said["host"]), bytes.fromhex(said["body"])))

    def close(self):
        self.process.terminate()
        self.process.wait()


CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 64; }}
http {{
    access_log off; client_max_body_size 0; client_header_buffer_size 128k; large_client_header_buffers 8 128k; keepalive_requests 100000;
    client_body_buffer_size 2m; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen unix:{folder}/nginx.sock;
        location / {{
            proxy_pass http://unix:{folder}/recorder.sock; proxy_http_version 1.1; proxy_ignore_client_abort on;
            proxy_set_header Host $host;
        }}
    }}
}}
"""


class Nginx:
    def __init__(self, folder):
        self.path, self.requests = f"{folder}/nginx.sock", []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{folder}/recorder.sock")
        self.listener.listen(64)
        threading.Thread(target=self.record, daemon=True).start()
        pathlib.Path(folder, "nginx.conf").write_text(CONFIGURATION.format(folder=folder))
        binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = subprocess.Popen([binary, "-p", folder, "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
        while not os.path.exists(self.path):
            assert self.process.poll() is None, pathlib.Path(folder, "error.log").read_text()
            threading.Event().wait(0.01)

    def record(self):
        """nginx reads a request whole before it forwards it, with a length."""
        while True:
            s = self.listener.accept()[0]
            with s:
                data = b""
                while b"\r\n\r\n" not in data and (part := s.recv(65536)):
                    data += part
                head, _, body = data.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                while len(body) < int(fields.get("content-length", 0)) and (part := s.recv(65536)):
                    body += part
                method, target, _ = lines[0].split(" ", 2)
                self.requests.append(Request(method, target, plain_host(fields.get("host", "")), body))
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def read(self, data):
        self.requests = []
        answers = re.findall(rb"HTTP/1\.1 (\d\d\d) ", exchange(self.path, data))
        final = [a for a in answers if a[:1] != b"1"]
        return Reading(list(self.requests), "end" if all(a == b"200" for a in final) and len(final) == len(self.requests) else "no")

    def close(self):
        self.process.terminate()
        self.process.wait()


LINE = re.compile(r"(\S+) (\S+) @(\S*)(?: path=(\S*))? (?:none|length=\d+|chunked)[ \w.]* \{([^}]*)\}(?: \+\d+)? ; ")


def unescape(text):
    return re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), text)


def ours(driver, inputs, *flags):
    """The codec's reading of each. What comes after a request that closes the connection is read by nobody: users of the codec stop
    at `keep_alive`, nginx does, and Node calls it an error."""
    given = b"".join(struct.pack("<I", len(data)) + data for data in inputs)
    lines = subprocess.run([str(driver), "request", *flags], input=given, stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")[:-1]
    assert len(lines) == len(inputs)
    for line in lines:
        requests, at = [], 0
        while found := LINE.match(line, at):
            target = found[2] if found[4] is None else found[4]
            requests.append(Request(found[1], unescape(target), plain_host(found[3]), unescape(found[5]).encode("latin-1")))
            at = found.end()
            if " keep" not in found[0].partition(" {")[0]:
                break
        closes = found is not None
        yield Reading(requests, "end" if closes or line[at:] == "end" else "no", closes), line


# ---- inputs ----

VALID = [
    b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"GET http://example.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n",
    b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /1.0 HTTP/1.0\r\nHost: a\r\n\r\n",
]
PIECES = [b"\r", b"\n", b"\r\n", b"\t", b" ", b"\x00", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff", b":", b",", b";", b"\"", b"#", b"%", b"%2f", b"/", b"/../", b"?",
          b"\\", b"@", b"[", b"0", b"5", b"+", b"-", b"x", b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 3\r\n", b"content-length:0\r\n",
          b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n", b"X:\r\n", b" y\r\n", b"Upgrade: h2c\r\n",
          b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"]


def changed(chosen):
    data = chosen.choice(VALID)
    for _ in range(chosen.choice((1, 1, 1, 2))):
        whole_line = chosen.random() < 0.4
        places = [m.end() for m in re.finditer(rb"\r\n", data)] if whole_line else range(len(data))
        at, piece = chosen.choice(list(places)), chosen.choice([p for p in PIECES if p.endswith(b"\r\n") == whole_line])
        data = data[:at] + piece + data[at + chosen.choice((0, 0, 1, len(piece))):]
    return data


def inputs():
    rows = {row.data: row.why for row in vectors.http1(TOP / "tests" / "vectors" / "http1" / "requests") if not row.limits and row.data}
    for data in VALID:
        rows.setdefault(data, "valid")
    chosen = random.Random(4)
    while len(rows) < 200 + CHANGES:
        data = changed(chosen)
        rows.setdefault(data, f"changed {data[:200]!r}")
    return rows


# ---- comparing ----

def exception(who, reading, theirs):
    """The exception that explains why `who` stopped where it did: it refused the request that comes next."""
    if theirs.end == "no" and theirs.requests == reading.requests[:len(theirs.requests)] and len(theirs.requests) < len(reading.requests):
        for index, (refuses, matches, _) in enumerate(EXCEPTIONS):
            if refuses == who and matches(reading.requests[len(theirs.requests)]):
                return index
    return None


def compare(reading, others, used):
    """What is wrong with our reading beside the others'."""
    wrong = []
    for who, theirs in others.items():
        together = min(len(reading.requests), len(theirs.requests))
        if reading.requests[:together] != theirs.requests[:together]:
            wrong.append(f"{who} reads other requests: {theirs}")
        elif reading.end == "end" and theirs[:2] != reading[:2] and not (reading.closes and theirs.requests == reading.requests):
            index = exception(who, reading, theirs)
            if index is None:
                wrong.append(f"{who} reads it otherwise: {theirs}")
            else:
                used.add(index)
    return wrong


def judge(rows, readings, others, verbose=False):
    used, wrong, accepted = set(), [], 0
    for (data, why), (reading, line), theirs in zip(rows.items(), readings, others):
        accepted += reading.end == "end"
        for fault in compare(reading, theirs, used):
            wrong.append(f"{why}\n    {data[:300]!r}\n    ours: {line[:300]}\n    {fault[:400]}")
        if verbose:
            print(f"{why[:70]:70} ours {line.rsplit(' ', 1)[-1]:20} node {theirs['node'].end} nginx {theirs['nginx'].end}")
    return wrong, used, accepted


def driver(build, *options):
    folder = TOP / build
    if not (folder / "build.ninja").exists():
        static = json.loads((TOP / "build" / "meson-info" / "intro-buildoptions.json").read_text())
        static = next(o["value"] for o in static if o["name"] == "static_libraries")
        subprocess.run(["meson", "setup", str(folder), "--buildtype=release", f"-Dstatic_libraries={str(static).lower()}", *options], cwd=TOP, check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(folder), "--quiet", "tests/unit/http1_driver"], check=True, stdout=subprocess.DEVNULL)
    return folder / "tests" / "unit" / "http1_driver"


def read_others(rows):
    with tempfile.TemporaryDirectory(prefix="ambit-http1-") as folder:
        servers = {"node": Node(folder), "nginx": Nginx(folder)}
        try:
            return [{who: server.read(data) for who, server in servers.items()} for data in rows]
        finally:
            for server in servers.values():
                server.close()


def main():
    rows = inputs()
    if not shutil.which("node") or not shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"):
        print("node and nginx are needed: scripts/bootstrap --tests")
        return 1
    plain, hooked = (os.environ.get(n) or driver(*b) for n, b in (("AMBIT_TEST_DRIVER", ("build",)),
                                                                   ("AMBIT_TEST_HOOKED_DRIVER", ("build-test", "-Dtest_hooks=true"))))
    others = read_others(rows)
    wrong, used, accepted = judge(rows, ours(plain, rows), others, "-v" in sys.argv)
    differ = sum(o["node"] != o["nginx"] for o in others)
    failed = len(wrong)
    print("".join(f"FAILED {text}\n" for text in wrong), end="")
    for index, (who, _, reason) in enumerate(EXCEPTIONS):
        print(f"       exception, {who}: {reason}{'' if index in used else ' - NOT USED: remove it'}")
        failed += index not in used
    for fault in ("LENGTH_AND_CODING", "SPACE_BEFORE_COLON"):
        noticed = judge(rows, ours(hooked, rows, "--lenient", fault), others)[0]
        print(f"{'ok' if noticed else 'FAILED':7}control: a codec that overlooks {fault} is {'noticed in ' + str(len(noticed)) + ' inputs' if noticed else 'NOT noticed'}")
        failed += not noticed
    if accepted < 50 or differ < 20:
        print("FAILED the table is too tame")
        failed += 1
    print(f"{len(rows)} inputs, {accepted} accepted by us, {differ} read differently by Node and nginx: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
