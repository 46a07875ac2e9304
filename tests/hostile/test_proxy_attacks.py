# SPDX-License-Identifier: Apache-2.0
"""More of what a hostile client tries at a real `ambit proxy`: to get a secret's value out or a placeholder in, to say one thing to the
front and another to the origin, to make a reload or a flood stop the others. docs/hostile-cases.md says which case is where."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import threading

from ambit import contains, equal, lacks
from egress import Raw
from proxy import HOST, World
from serving import read_all, read_until, wait_for
from test_proxy import PREFACE, connect, frame, get, last, plain, tunnel

VALUE = "s3cr3t-Value/with+all=of~it.0123456789"
OTHER = "another-secret-0123456789abcdef"
BEARER = {"set_headers": {"authorization": "Bearer ${secret:token}"}}


class Heard(Raw):
    """An origin behind TLS that keeps every byte it heard, and answers each connection's first request."""

    def __init__(self, w, names=(HOST,), answer=b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", after="close"):
        super().__init__(answer, after, w.authority.context(list(names)))


@contextlib.contextmanager
def secretive(*more_grants, names=(HOST,), **options):
    """A world with an origin that hears, and a proxy that has a secret for it."""
    with World(names=names) as w, Heard(w, names) as o:
        grants = [w.grant(port=o.port, **BEARER), *[g(w, o) for g in more_grants]]
        with w.proxy(*grants, secrets={"token": VALUE, "other": OTHER}, **options) as p:
            p.placeholder = p.settings["AMBIT_SECRET_TOKEN"]
            yield w, o, p


def at(o, host=HOST):
    return f"{host}:{o.port}"


def ask(w, o, p, request):
    """A request's bytes in a tunnel to the origin, and all that came back."""
    with tunnel(w, p, port=o.port) as s:
        s.sendall(request if isinstance(request, bytes) else request.encode("latin-1"))
        return read_all(s)


def head(o, *lines, first="GET /x HTTP/1.1"):
    return "\r\n".join([first, f"Host: {at(o)}", *lines, "Connection: close", "", ""])


def sent_values(heard, name=b"authorization"):
    return [line.split(b":", 1)[1].strip() for line in heard.split(b"\r\n") if line.lower().startswith(name + b":")]


def read_some(s):
    chunk = s.recv(65536)
    assert chunk, "it ended"
    return chunk


# ---- the header that the grant sets (31, 36, 39) -------------------------------------------------------------------------

def test_no_client_strips_or_doubles_the_secrets_header():
    with secretive() as (w, o, p):
        mine = "Authorization: Bearer mine"
        for lines in (["Connection: authorization"], ["Connection: Authorization, close", mine], [mine, mine], ["AUTHORIZATION: x", "authorization: y"],
                      ["Authorization:"], ["Authorization: b\xe4r"], [f"Authorization: {p.placeholder}", mine], ["authorization_: z", mine],
                      ["Proxy-Authorization: Bearer x", "Connection: proxy-authorization"]):
            before = len(o.heard)
            answer = ask(w, o, p, head(o, *lines))
            assert answer.startswith(b"HTTP/1.1 200 "), (lines, answer)
            heard = o.heard[before]
            value = VALUE.encode() if f"Authorization: {p.placeholder}" in lines else b"Bearer " + VALUE.encode()
            equal(sent_values(heard), [value], repr(heard))
            lacks(heard.decode("latin-1").lower(), "mine")
            lacks(heard.decode("latin-1").lower(), "proxy-authorization")
        for line in ("Authorization : x", "Authorization\t: x", " Authorization: x", "Authorization: a\rb", "Authorization: a\nb", "Authorization: a\0b"):
            before = len(o.heard)
            assert ask(w, o, p, head(o, line)).startswith(b"HTTP/1.1 400 "), line
            equal(len(o.heard), before)


def test_placeholders_go_nowhere_else():
    """37, 39: every place and spelling that a native client has; other launches' and guessed ones."""
    def wild(w, o):
        return w.grant(host="*.origin.test", port=o.port)

    def others(w, o):
        return w.grant(host="other.test", port=o.port, set_headers={"authorization": "Bearer ${secret:other}"})
    with secretive(wild, others, names=(HOST, "other.test", "*.origin.test")) as (w, o, p), w.proxy() as second:
        token, far = p.placeholder, p.placeholder[:-8] + ("A" * 8 if p.placeholder[-8:] != "A" * 8 else "B" * 8)
        equal([name for name in second.settings if name.startswith("AMBIT_SECRET_")], [])
        basic = base64.b64encode(f"u:{token}".encode()).decode()
        b64 = base64.b64encode(token.encode()).decode()
        hexed = token.encode().hex()
        chunks = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (token[:5], token[5:20], token[20:])) + "0\r\n\r\n"
        coded = "Transfer-Encoding: chunked"
        heads = [head(o, f"X-Token: {token}"), head(o, f"Cookie: a={token}"), head(o, f"Cookie: a={b64}"), head(o, f"{token}: 1"), head(o, f"{token.lower()}: 1"),
                 head(o, f"Authorization: Bearer {far}"), head(o, f"Authorization: Basic {basic.rstrip('=')}!"), head(o, f"Authorization: {hexed}"),
                 head(o, f"Authorization: Bearer {p.settings['AMBIT_SECRET_OTHER']}"), head(o, first=f"GET /{token} HTTP/1.1"),
                 head(o, first=f"GET /?a={token.replace('_', '%5f')} HTTP/1.1"), head(o, first=f"GET /?a={b64} HTTP/1.1"),
                 head(o, f"Content-Length: {len(token)}", first="POST /x HTTP/1.1") + token, head(o, coded, first="POST /x HTTP/1.1") + chunks,
                 head(o, coded, "Trailer: x-t", first="POST /x HTTP/1.1") + f"2\r\nhi\r\n0\r\nX-T: {token}\r\n\r\n",
                 head(o, coded, first="POST /x HTTP/1.1") + f"2\r\nhi\r\n0\r\nX-Other: 1\r\n{token}: 1\r\n\r\n"]
        for request in heads:
            answer = ask(w, o, p, request)
            assert answer.startswith(b"HTTP/1.1 403 ") and b"placeholder" in answer, (request, answer)
        # an extension of a chunk goes nowhere, whatever it says
        assert ask(w, o, p, head(o, coded, first="POST /x HTTP/1.1") + f"2;{token}\r\nhi\r\n0\r\n\r\n").startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
        # in the name that is asked for: of CONNECT, of TLS
        label = token.lower().replace("_", "-")[:60]
        for name in (token[:60], token.replace("_", "")[:60], label):
            s, answer = connect(p, f"{name}.{HOST}:{o.port}")
            s.close()
            lacks(answer.decode("latin-1"), VALUE)
        with contextlib.suppress(ssl.SSLError, ValueError), tunnel(w, p, name=f"{label}.{HOST}", port=o.port) as s:
            s.sendall(head(o).encode())
            lacks(read_all(s).decode("latin-1"), "HTTP/1.1 200 ")
        # over HTTP/2: a header in pieces, a body in pieces
        fields = b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in ((b"x-token", token.encode()),))
        block = b"\x82\x87\x44\x02/x\x41" + bytes([len(at(o))]) + at(o).encode() + fields
        posted = b"\x83\x87\x44\x02/x\x41" + bytes([len(at(o))]) + at(o).encode()
        for frames in ([frame(1, 1, 1, block[:20])] + [frame(9, 0, 1, block[20:60]), frame(9, 4, 1, block[60:])],
                       [frame(1, 4, 1, posted)] + [frame(0, 0, 1, token[i:i + 7].encode()) for i in range(0, len(token), 7)] + [frame(0, 1, 1, b"")]):
            with tunnel(w, p, port=o.port, alpn=("h2",)) as s:
                s.sendall(PREFACE + frame(4, 0, 0) + b"".join(frames))
                contains(read_until(s, b"placeholder"), b'"status": 403')
        for heard in o.heard:
            lacks(heard.decode("latin-1").upper(), "AMBIT_SECRET")
            lacks(heard.decode("latin-1"), "AMBIT-SECRET")
        # its own place is where the value goes, and nowhere else
        before = len(o.heard)
        assert ask(w, o, p, head(o, f"Authorization: Basic {basic}")).startswith(b"HTTP/1.1 200 ")
        equal(sent_values(o.heard[before]), [b"Basic " + base64.b64encode(f"u:{VALUE}".encode())])
        lacks("".join(p.said), VALUE)


# ---- what the front says and what the origin hears (31–34, 40, 46) ---------------------------------------------------------

def test_a_tunnel_in_one_piece():
    """CONNECT and ClientHello in one write; whatever else comes with it is refused."""
    with World() as w, w.proxy() as p:
        target = f"{HOST}:{w.origin.port}"
        context = ssl.create_default_context(cafile=p.ca_file)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        s, answer = connect(p, target, outgoing.read())
        with s:
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            incoming.write(answer.split(b"\r\n\r\n", 1)[1])
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(read_some(s))
            s.sendall(outgoing.read())
            tls.write(last(w))
            s.sendall(outgoing.read())
            got = b""
            while b"hello world" not in got:
                incoming.write(read_some(s))
                with contextlib.suppress(ssl.SSLWantReadError):
                    while more := tls.read(65536):
                        got += more
        head_of = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Bearer {p.token}\r\n"
        for more in ("Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Content-Length: 0\r\nContent-Length: 3\r\n\r\nabc",
                     "Host: other.test:1\r\n\r\n"):
            with plain(p, (head_of + more).encode()) as s:
                assert read_all(s).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), more
        # HTTP/1.0, too
        with plain(p, head_of.replace("HTTP/1.1", "HTTP/1.0").encode() + b"\r\n") as s:
            contains(read_until(s, b"\r\n\r\n"), b" 200 ")
        equal(p.status(w.url("/hello"))[0], 200)


def test_absolute_targets():
    """What is dialled is what was decided, however it is written; what cannot be written canonically goes nowhere."""
    with World(tls=False) as w, World(tls=False) as other, other.proxy() as second:
        o = w.origin
        grants = [w.grant(), {"http": f"http://127.0.0.1:{second.port}", "methods": ["*"], "addresses": ["127.0.0.0/8"]}]
        with w.proxy(*grants) as p:
            def absolute(target, host=None, more="", version="1.1"):
                authority = (target.split("/") + [HOST] * 2)[2] if host is None else host
                with plain(p, f"GET {target} HTTP/{version}\r\nHost: {authority}\r\nProxy-Authorization: Bearer {p.token}\r\n{more}"
                              "Connection: close\r\n\r\n".encode("latin-1")) as s:
                    return read_all(s)
            def status(*a, **b):
                return int(absolute(*a, **b).split()[1])
            for same in (f"http://{HOST}:{o.port}/hello", f"http://{HOST.upper()}:{o.port}/hello", f"http://{HOST}.:{o.port}/hello"):
                assert status(same) in (200, 400), same
            equal(status(f"http://{HOST}:{o.port}/hello", version="1.0"), 200)
            arrived = len(o.requests)
            for target in (f"http://me@{HOST}:{o.port}/", f"http://{HOST}:{o.port}@evil.test/", f"http://me:pass@{HOST}:{o.port}/", f"http://{HOST}:{o.port}#@x/",
                           f"http://[fe80::1%25lo]:{o.port}/", f"http://[fe80::1%lo]:{o.port}/", f"http://127.1:{o.port}/", f"http://0x7f000001:{o.port}/",
                           f"http://2130706433:{o.port}/", f"http://017700000001:{o.port}/", f"http://{HOST}\\.evil.test:{o.port}/", f"http://{HOST}:0{o.port}0/",
                           f"http://{HOST}:/", f"http:///{HOST}", f"ftp://{HOST}:{o.port}/", f"http:{HOST}:{o.port}/", f"http://{HOST}%2eevil.test:{o.port}/",
                           f"http://\xef\xbd\x8frigin.test:{o.port}/", f"http://..{HOST}:{o.port}/", f"http://{HOST}..:{o.port}/"):
                equal(status(target), 400, target)
            for target in (f"http://127.0.0.1:{p.port}/", f"http://[::1]:{p.port}/", f"http://[::ffff:127.0.0.1]:{p.port}/", "http://169.254.169.254/",
                           "http://[fd00:ec2::254]/", "http://metadata.google.internal/", f"http://{HOST}.evil.test:{o.port}/", f"http://[::]:{o.port}/",
                           f"http://0.0.0.0:{o.port}/", f"http://[64:ff9b::7f00:1]:{o.port}/", f"http://localhost:{o.port}/"):
                equal(status(target), 403, target)
            equal(status(f"http://{HOST}:{o.port}/", host="evil.test"), 400)
            equal(len(o.requests), arrived)
            # another proxy is a server like any other: without its token, which is taken off on the way
            for more in ("", f"Proxy-Authorization: Bearer {second.token}\r\n", f"Proxy_Authorization: Bearer {second.token}\r\n"):
                answer = absolute(f"http://127.0.0.1:{second.port}/", more=more)
                assert int(answer.split()[1]) in (400, 407), answer
            equal(other.origin.requests, [])


def test_bodies_that_are_not_as_long_as_they_say():
    """Shorter: the origin does not see its end. Longer: the rest is another request, of this tunnel's."""
    with World() as w, Heard(w, after="hold") as o, w.proxy(w.grant(port=o.port)) as p:
        for lines, body in ((["Content-Length: 10"], b"12345"), (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n"), (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n"),
                            (["Transfer-Encoding: chunked"], b"5\r\nhelloX\r\n0\r\n\r\n"), (["Transfer-Encoding: chunked"], b"-1\r\n\r\n"),
                            (["Content-Length: 5, 5"], b"hello"), (["Content-Length: +5"], b"hello"), (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n")):
            before = len(o.heard)
            with tunnel(w, p, port=o.port) as s:
                s.sendall(head(o, *lines, first="PUT /x HTTP/1.1").encode() + body)
                s.close()
            equal(p.status(w.url("/hello").replace(str(w.origin.port), str(o.port)))[0], 200, repr(body))
            for heard in o.heard[before:]:
                assert not heard.startswith(b"PUT") or not (heard.endswith(b"0\r\n\r\n") or heard.endswith(b"\r\n\r\n12345hello")), heard
        # a request in a body stays in it
        inner = get(w, "/smuggled", host=at(o))
        before = len(o.heard)
        answer = ask(w, o, p, head(o, f"Content-Length: {len(inner)}", "Connection: content-length", first="POST /x HTTP/1.1").encode() + inner)
        equal(answer.count(b"HTTP/1.1 "), 1)
        wait_for(lambda: b"/smuggled" in o.heard[before], lambda: o.heard[before])
        equal(len(o.heard), before + 1)
        headers, _, body = o.heard[before].partition(b"\r\n\r\n")
        lacks(headers, b"smuggled")
        if b"chunked" in headers.lower():
            contains(body, b"%x\r\n" % len(inner))
        else:
            contains(headers.lower(), b"content-length: %d" % len(inner))


# ---- reloads (63) ----------------------------------------------------------------------------------------------------------

def test_grants_that_are_no_file():
    """A file of grants that became something that never ends, or never answers: refused, and the proxy does all that it did."""
    with World() as w, w.proxy() as p:
        def fifo(path):
            os.mkfifo(path)

        def tree(path):
            os.mkdir(path)
            pathlib.Path(path, "grants.json").write_text("{}")

        def listener(path):
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(str(path))

        def large(path):
            with open(path, "wb") as f:
                f.truncate(1 << 30)
        for i, become in enumerate((fifo, tree, listener, large, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink("/dev/tty", path),
                                    lambda path: os.symlink("nowhere", path), lambda path: os.symlink(path, path),
                                    lambda path: pathlib.Path(path).write_bytes(b"\xff\xfe\0\x1b]0;x\x07" * 1000))):
            new = p.folder / f"new{i}"
            os.rename(p.file, p.folder / "kept")
            become(p.file)
            p.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(p.told("not_reloaded")) == i + 1, lambda: f"refusal {i}: {p.said}", 30)
            equal(p.status(w.url("/hello"))[0], 200)
            os.rename(p.file, new)
            os.rename(p.folder / "kept", p.file)
        equal(p.reload([])["revoked"], 1)
        equal(p.status(w.url("/hello"))[0], 403)
        lacks("".join(p.said), "\x1b")


def test_a_storm_of_reloads():
    """A hundred, with traffic: each answer is by one of the two sets, none fails, and the last set is the one in force."""
    with World() as w:
        both, one = [w.grant(paths=["/hello"]), w.grant(paths=["/echo"])], [w.grant(paths=["/hello"])]
        with w.proxy(*both) as p:
            stop, wrong, counts = threading.Event(), [], {200: 0, 403: 0}

            def ask(s, path, good):
                """Whether the tunnel is still there: what is no longer granted is cut, also within its answer."""
                s.sendall(get(w, path))
                answer = read_until(s, b"\r\n\r\n")
                headers, _, body = answer.partition(b"\r\n\r\n")
                size = int(headers.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(body) < size and (more := s.recv(65536)):
                    body += more
                status = int(headers.split()[1])
                counts[status] = counts.get(status, 0) + 1
                if status not in good or (len(body) < size and path == "/hello"):
                    wrong.append((path, answer))
                return len(body) == size

            def traffic():
                while not stop.is_set():
                    path = "/hello"
                    try:
                        with tunnel(w, p) as s:
                            while not stop.is_set() and ask(s, "/hello", (200,)):
                                path = "/echo"
                                if not ask(s, path, (200, 403)):
                                    break
                                path = "/hello"
                    except (AssertionError, OSError) as e:
                        if path == "/hello":  # the other one may be cut at any place
                            wrong.append((path, repr(e)))
            loads = [threading.Thread(target=traffic, daemon=True) for _ in range(3)]
            for t in loads:
                t.start()
            for i in range(100):
                p.write(one if i % 2 == 0 else both)
                p.process.send_signal(signal.SIGHUP)
                if i % 5 == 0:
                    wait_for(lambda: p.told("reloaded"), lambda: p.said)
            p.reload(one)  # it, or one before it that was still to be told
            wait_for(lambda: p.status(w.url("/echo"))[0] == 403, lambda: p.said)
            wait_for(lambda: counts[200] > 20, lambda: counts)
            stop.set()
            for t in loads:
                t.join(60)
            assert not any(t.is_alive() for t in loads), "an answer never came"
            equal(wrong, [])
            equal(p.told("not_reloaded"), [])


# ---- floods (41, 44, 72, 77) ---------------------------------------------------------------------------------------------------

def test_a_flood_of_granted_hosts_starves_nobody():
    """44: certificates for random hosts under a granted wildcard, more at once than are asked for at once. Who comes then is answered
    all the same, and so is the flood; nothing grows."""
    with World(names=(HOST,)) as w, w.proxy(w.grant(), w.grant(host="*.wild.test")) as p:
        equal(p.status(w.url("/hello"))[0], 200)
        sizes = []
        for i in range(6):
            ways = [plain(p) for _ in range(700)]
            for s in ways:
                s.sendall(f"CONNECT {os.urandom(8).hex()}.wild.test:{w.origin.port} HTTP/1.0\r\nProxy-Authorization: Bearer {p.token}\r\n\r\n".encode())
            for name in (HOST, f"new{i}.wild.test"):
                s, answer = connect(p, f"{name}:{w.origin.port}")
                s.close()
                equal(answer.split()[1], b"200", f"{name} in flood {i}")
            for s in ways:
                equal(read_until(s, b"\r\n\r\n").split()[1], b"200", f"of flood {i}")
                s.close()
            sizes.append(p.resident("ingress"))
        # after the second all places for certificates are taken
        assert sizes[5] < sizes[1] + (8 << 20), sizes
        equal(p.status(w.url("/hello"))[0], 200)


def test_a_flood_of_denials_is_bounded():
    """77: the receipt holds so many kinds of denial and a number; control, front and egress do not grow."""
    with World() as w, w.proxy(w.grant(paths=["/hello"])) as p:
        def flood(n):
            with tunnel(w, p) as s:
                for k in range(n // 50):
                    s.sendall(b"".join(get(w, f"/{os.urandom(12).hex()}/{'p' * 900}") for _ in range(50)))
                    got = b""
                    while got.count(b"HTTP/1.1 403 ") < 50:
                        got += s.recv(1 << 20)
                s.sendall(last(w))
                contains(read_all(s), b"hello world")
        flood(4000)
        sizes = {role: p.resident(role) for role in ("ingress", "egress")}
        own = pathlib.Path(f"/proc/{p.pid}/status").read_text().split("VmRSS:")[1].split()[0]
        receipt = p.receipt.stat().st_size
        flood(4000)
        for role, size in sizes.items():
            assert p.resident(role) < size + (8 << 20), (role, size, p.resident(role))
        grown = int(pathlib.Path(f"/proc/{p.pid}/status").read_text().split("VmRSS:")[1].split()[0]) - int(own)
        assert grown < 8 << 10, f"control grew by {grown} KiB"
        assert p.receipt.stat().st_size < receipt + (64 << 10), (receipt, p.receipt.stat().st_size)
        assert len(p.said) < 2000, len(p.said)


def test_readers_that_do_not_read():
    """41: never-ending answers that nobody takes are held up at the origin, not here."""
    with World() as w, w.proxy() as p:
        before = {role: p.resident(role) for role in ("ingress", "egress")}
        ways = [tunnel(w, p) for _ in range(24)]
        for s in ways:  # at once: none waits for a connection of another's
            s.sendall(get(w, "/drip"))
        wait_for(lambda: w.origin.dripping == len(ways), lambda: w.origin.dripping)
        equal(p.status(w.url("/hello"))[0], 200)
        for role, size in before.items():
            assert p.resident(role) < size + (len(ways) << 20), (role, size, p.resident(role))
        for s in ways:
            s.close()
        wait_for(lambda: w.origin.cut == len(ways), lambda: w.origin.cut)
        w.origin.dry.set()


# ---- what is seen from outside (58, 59, 62) ---------------------------------------------------------------------------------------

def test_nobody_reads_the_token_or_a_secret():
    with secretive(flags=["--access-log", "access.log"]) as (w, o, p):
        assert ask(w, o, p, head(o, f"Authorization: Bearer {p.placeholder}")).startswith(b"HTTP/1.1 200 ")
        assert ask(w, o, p, head(o, f"X: {p.placeholder}", first=f"GET /?key={p.token} HTTP/1.1")).startswith(b"HTTP/1.1 403 ")
        p.curl("-u", f"x:{p.placeholder}", f"https://{at(o)}/x")
        for pid in [p.pid, *[pid for pids in p.rooms().values() for pid in pids]]:
            for name in ("cmdline", "environ", "comm"):
                with contextlib.suppress(PermissionError):
                    seen = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                    for secret in (p.token, VALUE, OTHER, p.placeholder):
                        lacks(seen, secret.encode(), f"{pid} {name}")
            if os.geteuid() != 0:
                continue
            equal(pathlib.Path(f"/proc/{pid}/limits").read_text().split("Max core file size")[1].split()[0], "0", "core files")
        for text in (p.receipt.read_text(), "\n".join(p.said), pathlib.Path("access.log").read_text()):
            for secret in (p.token, VALUE, OTHER):
                lacks(text, secret)
        equal(os.stat(p.env_file).st_mode & 0o777, 0o600)
        equal(os.stat(p.receipt).st_mode & 0o077, 0)


def test_nothing_for_the_terminal():
    """58, 59: what a client or an origin wrote is escaped where people read it."""
    import ambit
    import subprocess
    with World() as w:
        command = [str(ambit.AMBIT), "proxy", *ambit.allow_missing(), "--listen", "127.0.0.1:0", "--receipt", "r.jsonl", "--access-log", "a.log", "--ca",
                   str(w.authority.ca), "--resolver", w.dns.at, "--net", f"GET https://{HOST}:{w.origin.port}/hello"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ambit.environment())
        lines = [process.stderr.readline().decode() for _ in range(2)]
        port = int(lines[0].split(":")[-1])
        settings = pathlib.Path(lines[1].split(". ", 1)[1].strip()).read_text()
        token, ca = settings.split("ambit:")[1].split("@")[0], settings.split("CURL_CA_BUNDLE='")[1].split("'")[0]
        escape = "\x1b]0;pwn\x07\x1b[2J\r\nforged: line\x9b31m\u202e"
        for authority in (f"{HOST}{escape}:443", f"a\x1b[2Jb:443", f"\u202eevil.test:443", "evil.test:443"):
            with socket.create_connection(("127.0.0.1", port), 20) as s:
                s.sendall(f"CONNECT {authority} HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\nHost: {authority}\r\n\r\n".encode())
                read_all(s)
        curl = ["curl", "-s", "--max-time", "20", "--cacert", ca, "--proxy", f"http://ambit:{token}@127.0.0.1:{port}"]
        for arguments in ((f"https://{HOST}:{w.origin.port}/%1b%5d0;x%07%0d%0aforged",), ("-X", "x\x1b[2Jy", f"https://{HOST}:{w.origin.port}/hello"),
                          ("-H", "Referer: \x1b[2J\u202e", "-H", "User-Agent: \x9b2J", f"https://{HOST}:{w.origin.port}/hello")):
            ambit.execute([*curl, *arguments])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        equal(process.returncode, 0, repr(err))
        contains(err, b"denied ")
        for text in (out, err, pathlib.Path("r.jsonl").read_bytes(), pathlib.Path("a.log").read_bytes()):
            for bad in (b"\x1b", b"\x07", b"\x9b", b"\r", "\u202e".encode()):
                lacks(text, bad)
        for line in pathlib.Path("r.jsonl").read_text().splitlines():
            json.loads(line)
        lacks(err, b"\nforged")


def test_nothing_goes_on_without_its_receipt():
    """Whose copy of the receipt ends cannot be told of denials any more: of the front's as of egress's that is the end of the proxy. It is
    control that fails then, and no room is ended for it. Control: as long as it is read, the proxy refuses and goes on."""
    for read in (True, False):
        fifo = pathlib.Path(f"receipt-{read}").resolve()
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        with World() as w:
            p = w.proxy()
            p.command[p.command.index("--receipt") + 1], p.expect = str(fifo), None
            with p:
                equal(p.status(w.url("/hello"))[0], 200)
                fronts = p.rooms()["ingress"]
                if not read:
                    os.close(reader)
                p.curl("https://denied.test/")
                if read:
                    equal((p.status(w.url("/hello"))[0], p.rooms()["ingress"]), (200, fronts), "control")
                    os.close(reader)
                    continue
                wait_for(lambda: p.told("outcome"), "the end of a proxy without a receipt")
                contains(p.told("outcome")[0]["why"], "the receipt: cannot write")
                equal([n for n in p.said if "notice" in n], [])
            equal(p.rc, 127)
