# SPDX-License-Identifier: Apache-2.0
"""The rows of `ambit serve` beside `wasmtime serve`, and of requests that guests send. Used by bench/run.

Both servers get the same component and make a fresh instance per request. wrk (closed loop) gives requests per second and
h2load --rps (fixed arrival rate) the latencies; the servers' CPU time is what the kernel counted for all their processes
while the load ran, divided by the requests that were answered. Pairs are interleaved.
"""

import os
import re
import signal
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """The process and all below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
                    parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    found = {pid}
    while True:
        more = {p for p, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def cpu_seconds(pid):
    total = 0
    for process in descendants(pid):
        try:
            with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICKS


def resident_kib(pid):
    total = 0
    for process in descendants(pid):
        try:
            with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total


class Server:
    """A serving command on a port that it chose; ended by its process id."""

    def __init__(self, command, environ, path):
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env=environ)
        self.url, said = None, []
        for line in self.process.stderr:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                self.url = f"{found.group(0)}/{path}"
                break
        if not self.url:
            raise SystemExit(f"{command[0]} serve did not start:\n{''.join(said)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()

    def load(self, connections, seconds):
        """wrk: requests per second, CPU microseconds of the server per request."""
        before = cpu_seconds(self.process.pid)
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", self.url], capture_output=True, text=True,
                              check=True)
        used = cpu_seconds(self.process.pid) - before
        requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1))
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
        if wrong or not requests:
            raise SystemExit(f"{self.url}: {done.stdout}")
        return {"rate": rate, "cpu_us": used * 1e6 / requests, "requests": requests}

    def latency(self, rate, seconds, clients=16):
        """h2load over HTTP/1.1 at a fixed arrival rate: microseconds at p50 and p99."""
        with tempfile.NamedTemporaryFile() as log:
            subprocess.run(["h2load", "--h1", f"-c{clients}", "-t1", f"--rps={max(rate // clients, 1)}", f"-D{seconds}",
                            f"--log-file={log.name}", self.url], capture_output=True, text=True, check=True)
            times = []
            for line in log.read().decode().splitlines():
                _, status, microseconds = line.split("\t")[:3]
                if status != "200":
                    raise SystemExit(f"{self.url}: an answer {status} at {rate}/s")
                times.append(int(microseconds))
        times.sort()
        return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100], "count": len(times)}


class ServeRows:
    """Rows of one component, which answers GET of `path`."""

    def __init__(self, bench, component, path):
        self.bench, self.component, self.path = bench, component, path

    def ours(self):
        return Server([self.bench.ambit, "serve", "--listen", "127.0.0.1:0", self.component], self.bench.environ, self.path)

    def theirs(self):
        return Server([self.bench.wasmtime, "serve", "-Scli", "--addr", "127.0.0.1:0", "--allow-precompiled", self.compiled()], self.bench.environ, self.path)

    def compiled(self):
        code = self.bench.folder / (self.component.name + ".cwasm")
        if not code.exists():
            subprocess.run([self.bench.wasmtime, "compile", "-o", code, self.component], check=True)
        return code

    def pairs(self, measure):
        """[(ambit, wasmtime)], each a server of its own, in turn."""
        result = []
        for i in range(self.bench.serve_rounds):
            pair = {}
            for mine in (True, False) if i % 2 == 0 else (False, True):
                with self.ours() if mine else self.theirs() as server:
                    time.sleep(0.3)
                    server.load(4, 1)  # code and pools are warm
                    pair[mine] = measure(server)
            result.append((pair[True], pair[False]))
        return result

    def rows(self, name, connections, seconds, cpu_promise, rate_promise):
        bench = self.bench
        for count in connections:
            pairs = self.pairs(lambda server: server.load(count, seconds))
            bench.compare(f"serve {name}: server CPU per request, {count} connections", cpu_promise, "wasmtime serve",
                          [(a["cpu_us"], b["cpu_us"]) for a, b in pairs], "µs")
            bench.compare(f"serve {name}: requests per second, {count} connections", rate_promise, "wasmtime serve",
                          [(a["rate"], b["rate"]) for a, b in pairs], "/s", at_least=True)

    def latency_rows(self, name, rate, seconds):
        pairs = self.pairs(lambda server: server.latency(rate, seconds))
        for percentile, promise in (("p50", None), ("p99", 1.0)):
            self.bench.compare(f"serve {name}: latency {percentile} at {rate} requests/s", promise, "wasmtime serve",
                               [(a[percentile], b[percentile]) for a, b in pairs], "µs")
