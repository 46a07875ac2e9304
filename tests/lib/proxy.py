# SPDX-License-Identifier: Apache-2.0
"""`ambit proxy` for tests: `with Proxy(grants) as p: … p.env, p.curl(url), p.reload(grants), p.told("denied")`, and origins for native clients.

`World()` is what most tests want: a certificate authority, a DNS server that leads names of ours to loopback, and an https origin
behind one of them. Clients get nothing but the settings that the proxy wrote, read by a shell as a person would."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

import ambit
import origin
from egress import LOOPBACK, Authority, Dns
from serving import WAIT_S, Serving, wait_for

HOST = "origin.test"  # of the reserved domain: it leads nowhere but here
BLOCK = bytes(range(256)) * 256


class Handler(origin.Handler):
    """What clients of a proxy want beside: bodies that are not kept, ranges, files, a repository behind `git http-backend`."""

    def read_body(self):
        """Large bodies are hashed and not kept: the body then is their digest."""
        size = int(self.headers.get("content-length") or 0)
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            digest, size = hashlib.sha256(), 0
            while part := int(self.rfile.readline().split(b";")[0], 16):
                digest.update(self.rfile.read(part))
                self.rfile.readline()
                size += part
            while self.rfile.readline().strip():
                pass
            self.digest, self.size = digest.hexdigest(), size
            return b""
        if size <= 1 << 20:
            body = self.rfile.read(size)
            self.digest, self.size = hashlib.sha256(body).hexdigest(), size
            return body
        digest, left = hashlib.sha256(), size
        while left:
            chunk = self.rfile.read(min(left, 1 << 20))
            if not chunk:
                break
            digest.update(chunk)
            left -= len(chunk)
        self.digest, self.size = digest.hexdigest(), size - left
        return b""

    def at_sink(self, _query, _body):
        self.answer(200, f"{self.size} {self.digest}\n".encode())

    def at_range(self, _query, _body):
        body, asked = BLOCK, self.headers.get("range")
        if not asked:
            return self.answer(200, body, accept_ranges="bytes")
        first, last = asked.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last or len(body) - 1), len(body) - 1)
        return self.answer(206, body[first:last + 1], content_range=f"bytes {first}-{last}/{len(body)}")

    def at_ticks(self, query, _body):
        """One event, then the next only when the test says so: a proxy that holds events back never shows the first."""
        self.answer(200, content_length=None, transfer_encoding="chunked", content_type="text/event-stream")
        for i in range(int(query.get("n", 3))):
            part = f"data: tick {i}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
            if not self.server.origin.tick.acquire(timeout=60):
                break
        self.wfile.write(b"0\r\n\r\n")

    def at_drip(self, _query, _body):
        """Goes on until somebody ends it; what came of that is counted."""
        self.server.origin.dripping += 1
        self.answer(200, content_length=None, transfer_encoding="chunked", content_type="application/octet-stream")
        try:
            while not self.server.origin.dry.wait(0.02):
                self.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.origin.cut += 1
            self.close_connection = True

    def at_who(self, _query, _body):
        self.answer(200, json.dumps({k.lower(): v for k, v in self.headers.items()}).encode() + b"\n", content_type="application/json")

    def at_files(self, _query, _body):
        """Of a folder of the test's, for registries and indexes."""
        path = self.path.split("?")[0].removeprefix("/files")
        found = self.server.origin.files.get(path)
        if found is None:
            return self.at_unknown(None, None)
        return self.answer(200, found[1], content_type=found[0])

    def any_method(self):
        if self.path.startswith("/git/"):
            self.server.origin.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, b""))
            return self.git()
        return super().any_method()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_PURGE = any_method

    def git(self):
        """CGI to git's own server; a password where the test wants one."""
        wanted = self.server.origin.password
        if wanted and self.headers.get("authorization") != wanted:
            origin.Handler.read_body(self)
            return self.answer(401, b"who?\n", www_authenticate='Basic realm="git"')
        path, _, query = self.path.partition("?")
        environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "GIT_PROJECT_ROOT": str(self.server.origin.root),
                   "GIT_HTTP_EXPORT_ALL": "1",
                   "PATH_INFO": path.removeprefix("/git"), "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "somebody",
                   "REMOTE_ADDR": "127.0.0.1", "CONTENT_TYPE": self.headers.get("content-type", ""),
                   "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""), "GIT_PROTOCOL": self.headers.get("git-protocol", "")}
        body = origin.Handler.read_body(self)
        environ["CONTENT_LENGTH"] = str(len(body))
        answer = subprocess.run(["git", "http-backend"], input=body, env=environ, stdout=subprocess.PIPE, check=False, timeout=120).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(fields.pop("Status", "200").split()[0])
        self.send_response(status)
        for name, value in {**fields, "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)
        return None


class Site(origin.Origin):
    """The https origin of these tests. `files`: {path: (type, bytes)} below /files; `root`: of repositories below /git/."""

    def __init__(self, host=HOST, tls=None):
        super().__init__(host, tls, Handler)
        self.files, self.root, self.password = {}, None, None
        self.tick, self.dry, self.dripping, self.cut = threading.Semaphore(0), threading.Event(), 0, 0


class World(contextlib.ExitStack):
    """`with World() as w: w.origin, w.dns, w.authority, w.grant(methods=["GET"])`."""

    def __init__(self, names=(HOST,), tls=True, alpn=None):
        super().__init__()
        self.names, self.tls, self.alpn = names, tls, alpn

    def __enter__(self):
        super().__enter__()
        self.authority = Authority(tempfile.mkdtemp(prefix="authority-"))
        self.dns = self.enter_context(Dns({name: ["127.0.0.1"] for name in self.names}))
        self.origin = self.enter_context(Site(tls=self.authority.context(self.names, alpn=self.alpn) if self.tls else None))
        return self

    def grant(self, host=HOST, port=None, scheme=None, **more):
        scheme = scheme or ("https" if self.tls else "http")
        return {"http": f"{scheme}://{host}:{port or self.origin.port}", "methods": ["*"], "addresses": LOOPBACK, **more}

    def url(self, path="", host=HOST):
        return f"{'https' if self.tls else 'http'}://{host}:{self.origin.port}{path}"

    def proxy(self, *grants, flags=(), **more):
        """A proxy that knows this world; without grants it has one for all of the origin."""
        return Proxy(list(grants) if grants else [self.grant()], "--ca", self.authority.ca, "--resolver", self.dns.at, *flags, **more)


class Download:
    """`begun()` returns when bytes of the body have come; `end()` waits for the end and is its result."""

    def __init__(self, proxy, url, arguments):
        self.file, self.results = pathlib.Path(tempfile.mkdtemp(prefix="download-")) / "body", []
        self.thread = threading.Thread(target=lambda: self.results.append(proxy.curl("-N", "-o", self.file, *arguments, url)), daemon=True)
        self.thread.start()

    def begun(self):
        wait_for(lambda: self.results or self.file.exists() and self.file.stat().st_size > 0, "the first bytes of a download")
        assert not self.results, f"a download was over at once: {self.results}"
        return self

    def end(self):
        self.thread.join(WAIT_S)
        assert self.results, "a download that never ends"
        return self.results[0]


class Proxy(Serving):  # pylint: disable=super-init-not-called
    """`grants` go into a file of grants. `secrets`: {name: value} for a vault of its own. It has to end with 0."""

    def __init__(self, grants=(), *flags, secrets=None, binary=None, skip=None, ingress_skip=None, expect=0, text=None, env=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="proxy-"))
        self.file, self.receipt = self.folder / "grants.json", self.folder / "receipt.jsonl"
        self.write(grants, text)
        self.binary = binary or (ambit.hooked_binary() if skip or ingress_skip else ambit.AMBIT)
        extra = dict(env or {})
        if skip:
            extra["AMBIT_TEST_JAIL_SKIP"] = skip
        if ingress_skip:
            extra["AMBIT_TEST_INGRESS_SKIP"] = ingress_skip
        if secrets:
            extra["AMBIT_STATE_DIR"] = str(self.folder / "state")
            extra["AMBIT_VAULT_KEY"] = f"file:{self.folder / 'vault.key'}"
        self.command = [str(self.binary), "proxy", *ambit.allow_missing(), "--json", "--listen", "127.0.0.1:0", "--receipt", str(self.receipt),
                        "-g", str(self.file), *map(str, flags)]
        self.env, self.expect, self.said, self.rc = ambit.environment(extra), expect, [], None
        for name, value in (secrets or {}).items():
            made = ambit.execute([self.binary, "secret", "set", name, *ambit.allow_missing()], stdin=value, environ=self.env)
            assert made.rc == 0, repr(made)

    def write(self, grants, text=None):
        temporary = self.file.with_suffix(".new")
        temporary.write_text(text if text is not None else json.dumps({"version": 1, "grants": list(grants)}))
        os.replace(temporary, self.file)

    def __enter__(self):
        super().__enter__()
        told = self.told("listening")[0]
        self.env_file, self.ca_file = told["env_file"], told["ca_file"]
        self.settings = self.read_settings()
        self.with_token = self.settings["HTTPS_PROXY"]
        self.token = self.with_token.split(":")[2].split("@")[0]
        return self

    def read_settings(self):
        """As a shell reads them."""
        out = subprocess.run(["sh", "-c", '. "$0" && env -0', self.env_file], env={"PATH": os.environ["PATH"]}, check=True,
                             stdout=subprocess.PIPE).stdout
        return dict(pair.split("=", 1) for pair in out.decode().split("\0") if "=" in pair and not pair.startswith(("PWD=", "SHLVL=", "_=")))

    def client(self, *command, stdin=b"", timeout=120, cwd=None, **extra):
        """A native client with the settings and nothing else of ours."""
        environ = {**{n: os.environ[n] for n in ("PATH", "HOME", "TMPDIR") if n in os.environ}, "LANG": "C.UTF-8", **self.settings,
                   **{k: str(v) for k, v in extra.items()}}
        return ambit.execute(command, stdin, environ, cwd, timeout)

    def curl(self, *arguments, **more):
        return self.client("curl", "-sS", "--max-time", "110", *arguments, **more)

    def download(self, url, *arguments):
        """curl beside the test: a `Download` of what does not end by itself, whose first bytes are there."""
        return Download(self, url, arguments).begun()

    def status(self, url, *arguments):
        """The status that curl got, of CONNECT where that was refused, and what came with it."""
        result = self.curl("-o", "-", "-w", "\n%{http_code} %{http_connect}", *arguments, url)
        body, _, codes = result.out.rpartition("\n")
        status, connect = codes.split()
        return int(status) or int(connect), body

    def reload(self, grants=(), text=None):
        """Writes the grants and waits for what comes of it: the line that says so."""
        before = len(self.told("reloaded")), len(self.told("not_reloaded"))
        self.write(grants, text)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: (len(self.told("reloaded")), len(self.told("not_reloaded"))) != before, lambda: f"a reload: {self.said}")
        done = self.told("reloaded")[before[0]:]
        return done[0]["reloaded"] if done else self.told("not_reloaded")[-1]["not_reloaded"]

    def denied(self):
        return [line["denied"] for line in self.told("denied")]

    def events(self, name=None):
        lines = [json.loads(line) for line in self.receipt.read_text().splitlines()]
        return [e for e in lines if name in (None, e["event"])]

    def kept(self, name):
        """Events of the receipt, after the end."""
        return [e for e in self.last if e["event"] == name]

    def __exit__(self, *args):
        try:
            super().__exit__(*args)
        finally:
            self.last = self.events() if self.receipt.exists() else []
            shutil.rmtree(self.folder, ignore_errors=True)
