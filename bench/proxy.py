# SPDX-License-Identifier: Apache-2.0
"""The rows of `ambit proxy`: what it costs to look into TLS on the way, beside mitmproxy (from PyPI) and beside a plain nginx that ends
TLS and opens it again, which decides nothing: the limit. Used by bench/run.

The origin is one nginx with TLS on loopback that gives files of 1 KiB and 1 MiB. bench/load.c asks, over kept connections: through CONNECT for
the two proxies, straight for nginx. All verify the origin's certificate. Each pair starts its servers anew, in turn; CPU time is what the kernel
counted for all processes of a server while the load ran. The latency rows add what a request costs more than one to the origin without anything
between, at a fixed arrival rate.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time

from serve import cpu_seconds, resident_kib

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
COMMON = """
{user} daemon off; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1; worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600s; default_type application/octet-stream;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    ssl_certificate {ca}/leaf.pem; ssl_certificate_key {ca}/leaf.key; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:4m;
    {rest}
}}
"""
ORIGIN = "server {{ listen 127.0.0.1:{port} ssl backlog=4096; root {www}; }}"
REVERSE = """
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        location / {{
            proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_buffering on;
            proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}/ca.pem; proxy_ssl_session_reuse on;
            proxy_max_temp_file_size 0;
        }}
    }}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(port, process, what):
    for _ in range(400):
        if process.poll() is not None:
            raise SystemExit(f"{what} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{what} does not listen")


class Authority:
    """A CA and a certificate for localhost, by openssl."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.openssl("req", "-x509", *key, "-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=bench authority", "-days", "2")
        self.openssl("req", *key, "-keyout", folder / "leaf.key", "-out", folder / "leaf.csr", "-subj", "/CN=localhost")
        (folder / "leaf.ext").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        self.openssl("x509", "-req", "-in", folder / "leaf.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-set_serial", "7", "-out",
                     folder / "leaf.pem", "-days", "2", "-extfile", folder / "leaf.ext")

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


class Process:
    """A server of a command, ended by its process id."""

    def start(self, command, port, what, **more):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)
        wait_for(port, self.process, what)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu(self):
        return cpu_seconds(self.process.pid)


class Nginx(Process):
    """The origin (`rest` is ORIGIN) or the reverse proxy."""

    def __init__(self, folder, ca, rest, **values):
        self.port, self.folder = free_port(), folder
        folder.mkdir()
        rest = rest.format(port=self.port, ca=ca.folder, **values)
        (folder / "nginx.conf").write_text(COMMON.format(folder=folder, ca=ca.folder, rest=rest, user="user root;" if os.geteuid() == 0 else ""))
        self.how = ["--address", f"127.0.0.1:{self.port}", "--ca", ca.folder / "ca.pem"]

    def __enter__(self):
        self.start([NGINX, "-p", self.folder, "-c", self.folder / "nginx.conf"], self.port, "nginx", stderr=subprocess.DEVNULL)
        return self


class Mitmproxy(Process):
    def __init__(self, folder, ca, program):
        self.port, self.folder, self.ca, self.program = free_port(), folder, ca, program

    def __enter__(self):
        self.start([self.program, "-q", "--listen-host", "127.0.0.1", "--listen-port", self.port, "--set", f"confdir={self.folder}", "--set",
                    f"ssl_verify_upstream_trusted_ca={self.ca.folder / 'ca.pem'}", "--set", "stream_large_bodies=64k", "--set", "http2=false",
                    "--set", "flow_detail=0"], self.port, "mitmdump", stderr=subprocess.DEVNULL)
        self.how = ["--proxy", f"127.0.0.1:{self.port}", "--ca", self.folder / "mitmproxy-ca-cert.pem"]
        return self


class Ambit(Process):
    def __init__(self, folder, ca, bench, *grants):
        self.port, self.folder, self.ca, self.bench, self.grants = free_port(), folder, ca, bench, grants

    def __enter__(self):
        self.folder.mkdir(exist_ok=True)
        (self.folder / "grants.yaml").write_text(json.dumps({"version": 1, "grants": list(self.grants)}))
        env, ca = self.folder / "env", self.folder / "ca.pem"
        self.log = open(self.folder / "log", "w+", encoding="utf-8")
        self.start([self.bench.ambit, "proxy", "-q", "-g", self.folder / "grants.yaml", "--listen", f"127.0.0.1:{self.port}", "--env", env, "--ca-out", ca,
                    "--ca", self.ca.folder / "ca.pem", "--connections", "20000"], self.port, "ambit proxy", env=self.bench.environ, stderr=self.log)
        for _ in range(200):  # the port is open before the settings are written
            if env.exists() or self.process.poll() is not None:
                break
            time.sleep(0.05)
        login = re.search(r"(?i)https_proxy=['\"]?http://([^@]+)@", env.read_text()).group(1)
        self.how = ["--proxy", f"127.0.0.1:{self.port}", "--login", login, "--ca", ca]
        return self

    def __exit__(self, *how):
        super().__exit__(*how)
        self.log.close()


class ProxyRows:
    def __init__(self, bench, load, mitmdump):
        self.bench, self.load, self.mitmdump = bench, load, mitmdump
        self.folder = bench.folder / "proxy"
        self.folder.mkdir()
        self.ca = Authority(self.folder / "ca")
        www = self.folder / "www"
        www.mkdir()
        (www / "1k").write_bytes(b"x" * 1024)
        (www / "1m").write_bytes(b"x" * (1 << 20))
        self.origin = Nginx(self.folder / "origin", self.ca, ORIGIN, www=www)
        self.count = 0

    def place(self):
        self.count += 1
        return self.folder / f"server{self.count}"

    def ambit(self, *more):
        return Ambit(self.place(), self.ca, self.bench, {"http": f"https://localhost:{self.origin.port}", "addresses": ["127.0.0.0/8", "::1/128"]}, *more)

    def mitmproxy(self):
        return Mitmproxy(self.place(), self.ca, self.mitmdump)

    def nginx(self):
        return Nginx(self.place(), self.ca, REVERSE, origin=self.origin.port)

    def ask(self, server, *words, host="localhost", timeout=300):
        """One run of the load, and the server's CPU seconds meanwhile."""
        before = server.cpu()
        done = subprocess.run([str(w) for w in (self.load, host, self.origin.port, *server.how, *words)], capture_output=True, text=True, timeout=timeout,
                              check=False)
        if done.returncode != 0:
            raise SystemExit(f"load: {done.stderr}")
        result = json.loads(done.stdout)
        if result["errors"]:
            raise SystemExit(f"load: {result}")
        return {**result, "cpu_us": (server.cpu() - before) * 1e6 / max(result["done"], 1)}

    def pairs(self, ours, theirs, measure):
        """[(ours, theirs)], each a server of its own, in turn."""
        result = []
        for i in range(self.bench.serve_rounds):
            pair = {}
            for mine in (True, False) if i % 2 == 0 else (False, True):
                with (ours if mine else theirs)() as server:
                    self.ask(server, "--path", "/1k", "--connections", 4, "--requests", 50)  # warm
                    pair[mine] = measure(server)
            result.append((pair[True], pair[False]))
        return result

    # ---- rows --------------------------------------------------------------------------------------------------------

    def throughput(self, size, path, connections, requests):
        for name, peer, scale, promise in (("mitmproxy", self.mitmproxy, 10, 10), ("nginx, TLS to TLS", self.nginx, 1, 0.5)):
            def measure(server):
                count = requests // scale if isinstance(server, Mitmproxy) else requests
                return self.ask(server, "--path", path, "--connections", connections, "--requests", count)
            pairs = self.pairs(self.ambit, peer, measure)
            self.bench.compare(f"proxy: requests per second, {size}, {connections} connections", promise, name, [(a["rate"], b["rate"]) for a, b in pairs],
                               "/s", at_least=True)
            self.bench.compare(f"proxy: CPU per request, {size}, {connections} connections", None, name, [(a["cpu_us"], b["cpu_us"]) for a, b in pairs], "µs")

    def latency(self, size, path, rate, seconds):
        direct = [self.ask(self.origin, "--path", path, "--connections", 16, "--rate", rate, "--seconds", seconds) for _ in range(3)]
        base = {p: statistics.median(d[p] for d in direct) for p in ("p50", "p99")}
        for name, peer in (("mitmproxy", self.mitmproxy), ("nginx, TLS to TLS", self.nginx)):
            pairs = self.pairs(self.ambit, peer, lambda s: self.ask(s, "--path", path, "--connections", 16, "--rate", rate, "--seconds", seconds))
            for p in ("p50", "p99"):
                self.bench.compare(f"proxy: latency added at {p}, {size}, {rate} requests/s", None, name,
                                   [(max(a[p] - base[p], 0.1), max(b[p] - base[p], 0.1)) for a, b in pairs], f"µs over {base[p]:.0f}")

    def idle(self, count):
        with self.ambit() as server:
            self.ask(server, "--path", "/1k", "--connections", 4, "--requests", 50)
            before = resident_kib(server.process.pid)
            began = time.monotonic()
            load = subprocess.Popen([str(w) for w in (self.load, "localhost", self.origin.port, *server.how, "--path", "/1k", "--connections", count, "--idle")],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                opened = json.loads(load.stdout.readline() or "{}").get("open")
                took = time.monotonic() - began
                used = resident_kib(server.process.pid) - before
                cpu = server.cpu()
                time.sleep(5)
                cpu = server.cpu() - cpu
                report = json.loads(load.communicate("\n", timeout=300)[0] or "{}") if opened else {}
            finally:
                load.kill()
                load.wait()
        self.bench.fact(f"proxy: {count:,} idle tunnels, open and answering", "all", report.get("done", 0), report.get("done") == count, "tunnels",
                        f"opened in {took:.1f} s; one request on each, p99 {report.get('p99', 0) / 1e3:.1f} ms; CPU while idle {cpu / 5 * 100:.1f} %")
        self.bench.fact(f"proxy: {count:,} idle tunnels, memory each", None, used / max(opened or 1, 1), None, "KiB, all rooms")

    def minting(self, seconds):
        """Leaves for hosts that nobody asked for before, and what that does to somebody else's requests."""
        grant = {"http": f"https://*.mint.test:{self.origin.port}", "addresses": ["127.0.0.0/8"]}
        with self.ambit(grant) as server:
            quiet = ["--path", "/1k", "--connections", 4, "--rate", 100, "--seconds", seconds]
            self.ask(server, "--path", "/1k", "--connections", 4, "--requests", 50)
            before = self.ask(server, *quiet)
            flood = subprocess.Popen([str(w) for w in (self.load, "mint.test", self.origin.port, *server.how, "--connections", 16, "--mint", "--seconds", seconds + 2)],
                                     stdout=subprocess.PIPE, text=True)
            try:
                time.sleep(1)
                meanwhile = self.ask(server, *quiet)
                minted = json.loads(flood.communicate(timeout=120)[0] or "{}")
            finally:
                flood.kill()
                flood.wait()
        self.bench.fact("proxy: leaves minted in a flood of random hosts", None, minted.get("rate", 0), None, "leaves/s",
                        f"handshake p50 {minted.get('p50', 0) / 1e3:.1f} ms, p99 {minted.get('p99', 0) / 1e3:.1f} ms; {minted.get('errors')} errors {minted.get('why', '')}")
        self.bench.fact("proxy: p99 of another client's requests in the flood ÷ before", None, meanwhile["p99"] / before["p99"], None, "×",
                        f"{before['p99'] / 1e3:.2f} → {meanwhile['p99'] / 1e3:.2f} ms at 100 requests/s")

    def rows(self):
        with self.origin:
            self.throughput("1 KiB", "/1k", 32, 6000)
            self.throughput("1 MiB", "/1m", 8, 400)
            self.latency("1 KiB", "/1k", 100, 5)
            self.latency("1 MiB", "/1m", 20, 5)
            self.idle(10000)
            self.minting(5)
