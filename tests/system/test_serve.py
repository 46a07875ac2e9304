# SPDX-License-Identifier: Apache-2.0
"""`ambit serve`: what a client sees of a component, through every process that is between them."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading

from ambit import BAD_COMPONENT, BAD_GRANT, USAGE, allow_missing, contains, equal, lacks, run, write
from serving import component, read_all, read_until, serve, wait_for

MIB = 1 << 20


def test_answers_with_a_fresh_instance():
    with serve(workers=2) as s:
        connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=20)
        for _ in range(5):
            connection.request("GET", "/count")
            answer = connection.getresponse()
            equal((answer.status, answer.read()), (200, b"1\n"))
            assert answer.getheader("date") and not answer.getheader("server")
        connection.request("HEAD", "/hello")
        answer = connection.getresponse()
        equal((answer.status, answer.getheader("content-length"), answer.read()), (200, "6", b""))
        connection.request("GET", "/status/404")
        equal(connection.getresponse().status, 404)
        connection.close()
        code, out, err = s.end()
        equal((code, out), (0, b""), err)
        equal(json.loads(err.splitlines()[-1])["outcome"], "exited")


def test_pipelined_requests_are_answered_in_order():
    with serve() as s:
        answer = s.ask(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                       b"GET /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        places = [answer.index(t) for t in (b"data: tick", b"0\r\n\r\nHTTP/1.1 200", b"hello\n", b"1\n")]
        equal(places, sorted(places))


def test_bodies_chunks_and_trailers():
    with serve() as s:
        contains(s.ask(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                       b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"), b"abc")
        contains(s.get("/trailers"), b"\r\n0\r\nx-trailer: yes\r\n\r\n")
        contains(s.ask(b"GET /trailers HTTP/1.0\r\n\r\n"), b"\r\n\r\nbody")


def test_continue_comes_when_the_guest_reads():
    with serve() as s, s.connect() as c:
        c.sendall(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        read_until(c, b"HTTP/1.1 100 Continue\r\n\r\n")
        c.sendall(b"abc")
        contains(read_until(c, b"3\n"), b"HTTP/1.1 200 OK")
        c.sendall(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        answer = read_all(c)
        lacks(answer, b" 100 ")
        contains(answer, b"connection: close")


def test_events_come_as_they_are_made():
    with serve() as s, s.connect() as c:
        c.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        first = read_until(c, b"data: tick")
        equal(first.count(b"data: tick"), 1)
        read_until(c, b"0\r\n\r\n")


def test_what_a_guest_does_wrong_touches_its_own_request():
    with serve("--wall", "1s", "--memory", "64MiB") as s, s.connect() as held:
        held.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        read_until(held, b"hello\n")
        for path, status in (("/trap", 500), ("/never", 500), ("/spin", 504), ("/hold", 504), ("/memory", 503)):
            contains(s.get(path), f"HTTP/1.1 {status} ".encode(), path)
        contains(s.get("/memory"), b"retry-after: ")
        for path in ("/late-trap", "/drop-stream"):
            answer = s.get(path)
            contains(answer, b"part", path)
            lacks(answer, b"\r\n0\r\n\r\n", path)
        answer = s.get("/short")
        contains(answer, b"content-length: 10\r\n")
        equal(answer.partition(b"\r\n\r\n")[2], b"hello")
        held.sendall(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n")
        read_until(held, b"1\n")


def test_large_bodies_go_through_flat_memory():
    size = 1024 * MIB
    with serve("--wall", "10m", "--cpu", "10m") as s:
        s.get("/big/1000000")
        before, most, stop = s.memory(), [0], threading.Event()

        def watch():
            while not stop.wait(0.05):
                most[0] = max(most[0], s.memory())
        watcher = threading.Thread(target=watch)
        watcher.start()
        with s.connect(120) as c:
            c.sendall(f"GET /big/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            came = 0
            while chunk := c.recv(MIB):
                came += len(chunk)
        with s.connect(120) as c:
            c.sendall(f"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode())
            block = bytes(MIB)
            for _ in range(size // MIB):
                c.sendall(block)
            answer = read_all(c)
        stop.set()
        watcher.join()
        assert size < came < size + 1000, came
        contains(answer, f"{size}\n".encode())
        assert most[0] < before + 32 * MIB, (before, most[0])


def test_drains():
    with serve("--drain", "20s", "--wall", "1m") as s:
        rooms = [pid for pids in s.rooms().values() for pid in pids]
        with s.connect() as busy, s.connect() as idle:
            idle.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            read_until(idle, b"hello\n")
            busy.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
            read_until(busy, b"bo")
            s.process.send_signal(signal.SIGTERM)
            equal(read_all(idle), b"")
            wait_for(lambda: refuses(s), "the end of listening")
            busy.sendall(b"dy")
            contains(read_all(busy), b"dy")
        equal(s.process.wait(60), 0)
        assert rooms and not any(os.path.exists(f"/proc/{pid}") for pid in rooms), rooms


def refuses(s):
    """It listens no more."""
    try:
        s.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_ends_what_outlives_the_drain_and_at_once_when_asked_twice():
    metrics = ("--metrics", "127.0.0.1:0", "--wall", "10m")
    with serve("--drain", "1s", *metrics) as s, s.connect() as c:
        c.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        s.wait_for_requests(1)
        equal(s.end()[0], 0)
    with serve("--drain", "10m", *metrics) as s, s.connect() as c:
        c.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        s.wait_for_requests(1)
        s.process.send_signal(signal.SIGINT)
        wait_for(lambda: refuses(s), "the first signal's effect")
        equal(s.end(signal.SIGINT)[0], 130)


def test_full_is_answered_503():
    with serve("--concurrency", "1", "--queue", "1", "--wall", "1m", "--metrics", "127.0.0.1:0") as s:
        held = []
        for waiting in range(2):
            held.append(s.connect())
            held[-1].sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            s.wait_for_requests(1, waiting)
        answer = s.get("/hello")
        contains(answer, b"HTTP/1.1 503 ")
        contains(answer, b"retry-after: ")
        for c in held:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            c.close()
        wait_for(lambda: b"hello" in s.get("/hello"), "its place")


def test_rooms_that_die_come_back():
    with serve("--metrics", "127.0.0.1:0") as s:
        for role in ("worker", "ingress") * 3:
            (victim,) = s.rooms()[role]
            os.kill(victim, signal.SIGKILL)
            s.next_line("it is started again")
            # Until the new link is there a request still goes the way of the dead worker: 502, and no more.
            answers = [b"HTTP/1.1 502 "]
            wait_for(lambda: answers.append(s.get("/hello")) or b"HTTP/1.1 502 " not in answers[-1], lambda: answers[-1])
            contains(answers[-1], b"hello", role)
        with s.connect() as c:
            c.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            s.wait_for_requests(1)
            os.kill(s.rooms()["worker"][0], signal.SIGKILL)
            contains(read_until(c, b"\r\n\r\n"), b"HTTP/1.1 502 ")


def places(s, role):
    """Where the threads of each room of a role may run, in the order of cores; a thread that has just ended is nowhere."""
    found = []
    for pid in s.rooms().get(role, []):
        where = set()
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                where.add(tuple(sorted(os.sched_getaffinity(int(thread)))))
        found += [where] if where else []
    return sorted(found, key=min)


def test_as_many_pairs_as_cores_have_one_each():
    ours = os.sched_getaffinity(0)
    cores = sorted(ours)[:2]
    if len(cores) < 2:
        return
    os.sched_setaffinity(0, cores)
    try:
        with serve(workers=2) as s:
            for role in ("worker", "ingress"):
                equal(places(s, role), [{(core,)} for core in cores], role)
                os.kill(s.rooms()[role][0], signal.SIGKILL)
                s.next_line("it is started again")
                # it has its name before its place
                wait_for(lambda: b"hello" in s.get("/hello") and places(s, role) == [{(core,)} for core in cores], lambda: f"{role}: {places(s, role)}")
        with serve(workers=3) as s:
            for role in ("worker", "ingress"):
                equal(places(s, role), [{tuple(cores)}] * 3, role)
    finally:
        os.sched_setaffinity(0, ours)


def test_log_and_metrics():
    log = pathlib.Path("access.log").absolute()
    with serve("--access-log", log, "--metrics", "127.0.0.1:0") as s:
        s.get("/hello?x=%22", 'User-Agent: "\x1b[31m\r\n')
        s.get("/hello", 'User-Agent: a"b\r\n')
        s.get("/trap")
        metrics = s.metrics()
        equal(metrics["ambit_serve_responses_5xx_total"], 1)
        # A web page whose name leads to this machine is not told; who names the address is.
        for host, status in (("rebound.example:80", 421), ("127.0.0.1.example", 421), ("localhost:1", 200), ("[::1]:9", 200)):
            answer = curl("-H", f"Host: {host}", s.started["metrics"])
            contains(answer.stdout, f"HTTP/1.1 {status} ".encode())
        equal(metrics["ambit_serve_requests_malformed_total"], 1)
        # It answers figures and nothing else: nobody reaches the guest through it.
        elsewhere = s.started["metrics"].replace("/metrics", "/hello")
        equal([curl(how, elsewhere).stdout.count(b"hello") for how in ("--http1.1", "--http2-prior-knowledge")], [0, 0])
        contains(curl("--http2-prior-knowledge", f"http://127.0.0.1:{s.port}/hello").stdout, b"hello")    # control
        equal(s.end()[0], 0)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    equal([line["status"] for line in lines], [400, 200, 500, 505, 200])
    equal((lines[1]["target"], lines[1]["agent"], lines[1]["sent"], lines[1]["whole"]), ("/hello", 'a"b', 6, True))


def certificate():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost"], check=True, capture_output=True)


def curl(*args):
    return subprocess.run(["curl", "-s", "-i", "--max-time", "30", *map(str, args)], capture_output=True, check=False)


def test_http_2_and_tls():
    if not shutil.which("curl") or not shutil.which("openssl"):
        return
    certificate()
    with serve("--tls-cert", "cert.pem", "--tls-key", "key.pem", "--wall", "1s") as s:
        for version in ("--http1.1", "--http2"):
            for path, part in (("hello", b"hello\n"), ("trap", b"500 Internal"), ("spin", b"504 Gateway"), ("trailers", b"x-trailer: yes")):
                answer = curl(version, "--cacert", "cert.pem", f"https://localhost:{s.port}/{path}")
                contains(answer.stdout, part)
                contains(answer.stdout.split()[0], b"HTTP/2" if version == "--http2" else b"HTTP/1.1")
            equal(curl(version, "--cacert", "cert.pem", f"https://localhost:{s.port}/late-trap").returncode != 0, True)
        lacks(curl("--tls-max", "1.1", "--cacert", "cert.pem", f"https://localhost:{s.port}/hello").stdout, b"hello")
        equal(s.end()[0], 0)
    with serve() as s:
        answer = curl("--http2-prior-knowledge", "--data-binary", "@cert.pem", f"http://127.0.0.1:{s.port}/echo")
        contains(answer.stdout, b"HTTP/2 200")
        contains(answer.stdout, pathlib.Path("cert.pem").read_bytes())


def test_says_what_it_cannot_serve():
    write("script.py", "print(1)\n")
    result = run("serve", *allow_missing(), "--listen", "127.0.0.1:0", "script.py", rc=BAD_COMPONENT)
    contains(result.err, "Python script")
    write("command.wat", "(component)")
    result = run("serve", *allow_missing(), "--listen", "127.0.0.1:0", "command.wat", rc=BAD_COMPONENT)
    contains(result.err, "wasi:http/incoming-handler")
    contains(run("serve", "command.wat", rc=USAGE).err, "--listen is missing")
    contains(run("serve", *allow_missing(), "--listen", "8080", "command.wat", rc=USAGE).err, "ADDR:PORT")
    with serve() as s:
        result = run("serve", *allow_missing(), "--listen", f"127.0.0.1:{s.port}", component(), rc=BAD_GRANT)
        contains(result.err, "another program listens there")
