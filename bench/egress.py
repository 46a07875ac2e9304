# SPDX-License-Identifier: Apache-2.0
"""The rows of requests that guests send: JavaScript's fetch through worker, link and egress, beside curl without any of it.
Used by bench/run. The origin is nginx on loopback; both ask it over kept connections, one request at a time. What starting
costs is taken off: each figure is the difference of a long and a short run."""

import os
import pathlib
import shutil
import subprocess
import time

SCRIPT = """
const [url, count] = process.argv.slice(2);
let bytes = 0;
for (let i = 0; i < Number(count); i++) {
    const response = await fetch(url);
    for await (const chunk of response.body) bytes += chunk.length;
}
console.log(bytes);
"""
CONFIGURATION = """
{user} daemon off; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


class Origin:
    def __init__(self, folder, port):
        self.folder, self.port = pathlib.Path(folder) / "origin", port
        (self.folder / "www").mkdir(parents=True)
        (self.folder / "www/1k").write_bytes(b"x" * 1024)
        (self.folder / "www/1m").write_bytes(b"x" * (1 << 20))
        (self.folder / "nginx.conf").write_text(CONFIGURATION.format(
            folder=self.folder, port=port, user="user root;" if os.geteuid() == 0 else ""))

    def __enter__(self):
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([nginx, "-p", self.folder, "-c", self.folder / "nginx.conf"], stderr=subprocess.DEVNULL)
        for _ in range(100):
            if subprocess.run(["curl", "-sf", "-o", "/dev/null", self.url("1k")], check=False).returncode == 0:
                return self
            time.sleep(0.05)
        raise SystemExit("nginx did not start")

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


class EgressRows:
    def __init__(self, bench, origin):
        self.bench, self.origin = bench, origin
        (bench.tree / "ask.mjs").write_text(SCRIPT)

    def ours(self, name, count):
        return self.bench.timed(self.bench.ambit, "run", "-q", "--wall", "5m", "--cpu", "5m", "--hostcalls", "100000000", "--net",
                                f"http://127.0.0.1:{self.origin.port}/**", "ask.mjs", self.origin.url(name), count)

    def theirs(self, name, count):
        return self.bench.timed("curl", "-sf", "-o", "/dev/null", f"{self.origin.url(name)}?[1-{count}]")

    def each(self, asker, name, count):
        """Nanoseconds of one request."""
        return (asker(name, count)["wall"] - asker(name, 1)["wall"]) / (count - 1)

    def rows(self):
        pairs = [(self.each(self.ours, "1k", 1000) / 1e3, self.each(self.theirs, "1k", 1000) / 1e3)
                 for _ in range(self.bench.serve_rounds)]
        self.bench.compare("egress: a request of 1 KiB, one after the other", None, "curl direct", pairs, "µs")
        pairs = [((1 << 20) / self.each(self.ours, "1m", 200) * 1e3, (1 << 20) / self.each(self.theirs, "1m", 200) * 1e3)
                 for _ in range(self.bench.serve_rounds)]
        self.bench.compare("egress: bodies of 1 MiB, one after the other", None, "curl direct", pairs, "MB/s", at_least=True)
