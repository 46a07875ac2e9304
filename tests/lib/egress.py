# SPDX-License-Identifier: Apache-2.0
"""A real egress room and what it meets: `with Egress(grants) as e: e.ask(url=…)`; hostile origins, a DNS server and certificates of
our own, all on loopback. tests/lib/egress_driver.c plays the worker and says what its lines mean.
"""

import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

from ambit import HOOKED_BUILD, allow_missing

# enum egress_skip of src/wire/egress.h
SKIP = {"decision": 1 << 16, "address": 1 << 17, "pin": 1 << 18, "tls": 1 << 19, "strict": 1 << 20, "sizes": 1 << 21, "counters": 1 << 22,
        "timeouts": 1 << 23, "frames": 1 << 27, "scrub": 1 << 25, "placeholder": 1 << 26, "told": 1 << 28, "wipe": 1 << 30}
LAYERS = ["user-namespace", "pid-namespace", "net-namespace", "mount-namespace", "ipc-namespace", "landlock", "seccomp", "rlimits",
          "no-new-privileges"]
LOOPBACK = ["127.0.0.0/8", "::1/128"]


def driver():
    binary = pathlib.Path(os.environ.get("AMBIT_EGRESS_DRIVER", HOOKED_BUILD / "tests/unit/egress_driver"))
    assert binary.exists(), "this test needs the test build: run it by `make test` or `tests/run`"
    return binary


class Egress:
    def __init__(self, *grants, skip=(), ca=None, resolver=None, listen=(), expires=None, explains=False,
                 secrets=None, placeholders=None, errors=None):
        self.grants = {"version": 1, "grants": list(grants)}
        if expires:
            self.grants["expires"] = expires
        bits = sum(SKIP[name] for name in ([skip] if isinstance(skip, str) else skip))
        missing = sum(1 << LAYERS.index(flag.split("=")[1]) for flag in allow_missing())
        self.options = [f"skip={bits}", f"missing={missing}"] + [f"listen={l}" for l in listen]
        self.options += [f"ca={ca}"] if ca else []
        self.options += [f"resolver={resolver}"] if resolver else []
        self.options += ["explains"] if explains else []
        self.options += ["keeper"] if secrets is not None else []
        self.options += [f"placeholders={json.dumps(placeholders)}"] if placeholders else []
        self.secrets, self.errors = secrets, errors

    def __enter__(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as f:
            json.dump(self.grants, f)
        self.process = subprocess.Popen([driver(), f.name, *self.options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        if self.secrets is not None:
            self.keeper(values=[[name, value] for name, value in self.secrets.items()])
        return self

    def keeper(self, **how):
        """What the keeper that the driver plays answers from now on."""
        return self.command(do="keeper", **how)

    def asks(self):
        return self.command(do="asks")

    def room(self):
        """The room's process."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 1, children
        return int(children[0])

    def command(self, **line):
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the driver ended with {self.process.wait()} at {line}"
        return json.loads(answer)

    def ask(self, url, **more):
        """One request and how it ended; with times=n a list."""
        answers = self.command(url=url, **more)
        return answers if "times" in more else answers[0]

    def records(self):
        return self.command(do="records")

    def __exit__(self, kind, *_):
        self.process.stdin.close()
        code = self.process.wait(20)
        assert kind or code == 0, f"the driver ended with {code}"


def grant(origin, **more):
    return {"http": origin, "methods": ["*"], "addresses": LOOPBACK, **more}


class Raw:
    """An origin that answers each connection's first request with the given bytes, whatever they are, then does what `after` says:
    "close", "hold" (open, silent), or a function of the socket. `heard` is what came, a list of bytes, one a connection."""

    def __init__(self, answer, after="close", context=None, address="127.0.0.1"):
        self.answer, self.after, self.context, self.address = answer, after, context, address
        self.heard, self.open = [], []

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.socket = socket.create_server((self.address, 0), family=family, backlog=128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def url(self, path="/", host=None, scheme="http"):
        host = host or (f"[{self.address}]" if ":" in self.address else self.address)
        return f"{scheme}://{host}:{self.port}{path}"

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.heard.append(b"")  # in the order of connections, whatever thread is first
            threading.Thread(target=self.one, args=(connection, len(self.heard) - 1), daemon=True).start()

    def one(self, connection, place):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.open.append(connection)
            while b"\r\n\r\n" not in self.heard[place]:
                more = connection.recv(65536)
                if not more:
                    return
                self.heard[place] += more
            answer = self.answer(self.heard[place]) if callable(self.answer) else self.answer
            for part in answer if isinstance(answer, (list, tuple)) else [answer]:
                connection.sendall(part)
            if callable(self.after):
                self.after(connection)
            elif self.after == "hold":
                while more := connection.recv(65536):
                    self.heard[place] += more
            if self.context and self.after == "close":
                connection = connection.unwrap()
        except (OSError, ssl.SSLError, ValueError):
            pass
        finally:
            if self.after == "close":
                self.linger(connection)
            if self.after != "hold":
                connection.close()

    @staticmethod
    def linger(connection):
        """Takes what is still on its way: a close before that is a reset, which may overtake the answer."""
        try:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while connection.recv(1 << 20):
                pass
        except OSError:
            pass

    def __exit__(self, *_):
        self.socket.close()
        for connection in self.open:
            try:
                connection.close()
            except OSError:
                pass


class Dns:
    """A DNS server: `zones` maps a name to a list of answers ("127.0.0.1", "::1", "cname:other"), or to a function of how often it
    was asked that gives one. `asked` is every name that came, with its type."""

    def __init__(self, zones, ttl=0):
        self.zones, self.ttl, self.asked, self.counts = zones, ttl, [], {}

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.at = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(query), sender)
            except OSError:
                return

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, (kind, _) = ".".join(labels), struct.unpack(">HH", query[at + 1:at + 5])
        question = query[12:at + 5]
        self.asked.append((name, kind))
        records, owner, seen = [], name, 0
        while seen < 5 and owner in self.zones:
            seen += 1
            answers = self.zones[owner]
            if callable(answers):
                key = (owner, kind)
                self.counts[key] = self.counts.get(key, 0) + 1
                answers = answers(self.counts[key])
            target = next((a[6:] for a in answers if a.startswith("cname:")), None)
            if target:
                records.append(self.record(owner, 5, self.encode(target)))
                owner = target
                continue
            for a in answers:
                v6 = ":" in a
                if kind == (28 if v6 else 1):
                    records.append(self.record(owner, kind, socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, a)))
            break
        code = 0 if name in self.zones else 3
        return query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0) + question + b"".join(records)

    @staticmethod
    def encode(name):
        return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

    def record(self, name, kind, data):
        return self.encode(name) + struct.pack(">HHIH", kind, 1, self.ttl, len(data)) + data

    def __exit__(self, *_):
        self.socket.close()


class Authority:
    """A certificate authority in a folder: `context(names, …)` is a server's TLS, `ca` the file that trusts it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.ca, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.ca,
                     "-subj", "/CN=test authority", "-days", "2")
        self.count = 0

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    def context(self, names, days=2, self_signed=False, alpn=None, maximum=None):
        self.count += 1
        stem = self.folder / f"server{self.count}"
        key, request, certificate, extra = (stem.with_suffix(s) for s in (".key", ".csr", ".pem", ".ext"))
        alternatives = ",".join(("IP:" if n.replace(".", "").isdigit() or ":" in n else "DNS:") + n for n in names)
        extra.write_text(f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj",
                     "/CN=server")
        signer = ["-signkey", key] if self_signed else ["-CA", self.ca, "-CAkey", self.key, "-set_serial", str(1000 + self.count)]
        # -days 0 and less: it has ended already.
        self.openssl("x509", "-req", "-in", request, *signer, "-out", certificate, "-days", str(days), "-extfile", extra)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if maximum:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = maximum
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(certificate, key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context
