# SPDX-License-Identifier: Apache-2.0
"""Hostile clients, and hostile origins, of a real `ambit proxy`: who names one host and means another, who sends something else than TLS,
who is slow, who floods, and what truncates, lies and stalls behind it. Its token and its reloads are in tests/system/test_proxy.py."""

import contextlib
import json
import os
import select
import socket
import ssl
import struct

from ambit import contains, equal, lacks, negative_control
from proxy import HOST, World
from serving import read_all, read_until, wait_for

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def plain(p, data=b""):
    s = socket.create_connection(("127.0.0.1", p.port), 30)
    s.sendall(data)
    return s


def connect(p, authority, more=b""):
    """A connection after its CONNECT, and the answer's head."""
    s = plain(p, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Bearer {p.token}\r\n\r\n".encode() + more)
    return s, read_until(s, b"\r\n\r\n")


def refused(p, authority):
    """The problem document that a CONNECT got, with its status."""
    s, answer = connect(p, authority)
    with s:
        answer += read_all(s)
    head, _, body = answer.partition(b"\r\n\r\n")
    contains(head, b"application/problem+json", repr(answer))
    document = json.loads(body)
    equal(int(head.split()[1]), document["status"], repr(answer))
    return document


def tunnel(w, p, name=HOST, host=HOST, port=None, alpn=("http/1.1",)):
    s, answer = connect(p, f"{host}:{port or w.origin.port}")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    context = ssl.create_default_context(cafile=p.ca_file)
    context.check_hostname = False
    context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(s, server_hostname=name)


def get(w, path="/hello", host=None, more=""):
    return f"GET {path} HTTP/1.1\r\nHost: {host or f'{HOST}:{w.origin.port}'}\r\n{more}\r\n".encode()


def last(w, path="/hello", host=None):
    return get(w, path, host, "Connection: close\r\n")


# ---- which host --------------------------------------------------------------------------------------------------------

def test_tls_names_the_host_of_connect():
    with World(names=(HOST, "other.test")) as w:
        def fronted(skip):
            with w.proxy(w.grant(), w.grant("other.test"), ingress_skip=skip) as p:
                with contextlib.suppress(ssl.SSLError), tunnel(w, p, name="other.test") as s:
                    s.sendall(last(w))
                    return b"hello world" in read_all(s)
                wait_for(p.denied, lambda: p.said)
                contains(json.dumps(p.denied()), "names another host")
                return False
        negative_control(fronted, "name")
        with w.proxy() as p:
            with tunnel(w, p, name=None) as s:  # no name is no other name
                s.sendall(last(w))
                contains(read_all(s), b"hello world")
            with tunnel(w, p, name=HOST.upper()) as s:
                s.sendall(last(w))
                contains(read_all(s), b"hello world")


def test_each_request_of_a_tunnel_is_for_its_host():
    with World(names=(HOST, "other.test")) as w:
        here, there = f"{HOST}:{w.origin.port}", f"other.test:{w.origin.port}"
        both = [w.grant(), w.grant("other.test")]

        def elsewhere(skip):
            with w.proxy(*both, ingress_skip=skip) as p, tunnel(w, p) as s:
                s.sendall(last(w, host=there))
                return b" 200 OK" in read_all(s)
        negative_control(elsewhere, "authority")
        with w.proxy(*both) as p:
            for request in (get(w, host=there), get(w, host=HOST), get(w, host=f"{HOST}:443"), get(w, host="127.0.0.1"),
                            f"GET https://{there}/hello HTTP/1.1\r\nHost: {there}\r\n\r\n".encode(),
                            f"GET http://{here}/hello HTTP/1.1\r\nHost: {here}\r\n\r\n".encode()):
                with tunnel(w, p) as s:
                    # pipelined: what went before and what comes behind is judged by itself
                    s.sendall(get(w) + request + last(w))
                    answer = read_all(s)
                    equal([part.split(b" ")[0] for part in answer.split(b"HTTP/1.1 ")[1:]], [b"200", b"421", b"200"], repr(request))
            for request in (f"GET https://{there}/hello HTTP/1.1\r\nHost: {here}\r\n\r\n".encode(),
                            f"GET /hello HTTP/1.1\r\nHost: {here}\r\nHost: {there}\r\n\r\n".encode(),
                            f"GET /hello HTTP/1.1\r\nHost: {here}\r\nX: 1\n Host: {there}\r\n\r\n".encode(),
                            f"GET /hello HTTP/1.1\r\nHost: {here}, {there}\r\n\r\n".encode(),
                            f"GET /hello HTTP/1.1\r\nHost: {here}@{there}\r\n\r\n".encode()):
                with tunnel(w, p) as s:
                    s.sendall(request)
                    assert read_all(s).startswith(b"HTTP/1.1 400 "), request
            for _, _, headers, _ in w.origin.requests:
                equal(headers["host"], here)


# ---- what is no tunnel -------------------------------------------------------------------------------------------------

def test_connects_that_are_refused():
    with World() as w, w.proxy() as p:
        for authority in ("elsewhere.test:443", "127.0.0.1:443", f"127.0.0.1:{p.port}", "[::1]:443", "169.254.169.254:80", "[fd00:ec2::254]:80",
                          "metadata.google.internal:80", f"{HOST}:25", f"{HOST}:443", f"{HOST}.evil.test:443"):
            document = refused(p, authority)
            equal(document["status"], 403, authority)
            assert document["reason"] and document["title"] == "Forbidden", document
        for authority in (HOST, "0x7f.1:443", "2130706433:443", "127.1:443", "[::1%25lo]:443", f"{HOST}:0", f"{HOST}:65536", f"a@{HOST}:443", ":443"):
            equal(refused(p, authority)["status"], 400, authority)
        equal(w.origin.requests, [])


def test_nothing_but_tls_goes_through():
    with World() as w, w.proxy() as p:
        at = f"{HOST}:{w.origin.port}"
        for first in (b"EHLO evil.test\r\n", b"SSH-2.0-x\r\n", last(w), f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n".encode(), PREFACE,
                      b"\x80\x2e\x01\x03\x01" + bytes(40)):
            for at_once in (False, True):
                s, answer = connect(p, at, first if at_once else b"")
                with s:
                    if not at_once:
                        s.sendall(first)
                    answer += read_all(s)
                equal(answer.count(b"HTTP/1.1"), 1, repr((first, answer)))
                wait_for(p.denied, lambda: p.said)
        contains(json.dumps(p.denied()), "something other than TLS")
        for junk in (b"\x16\x03\x01\x00\x05junk!", b"\x16\x03\x01\xff\xff" + bytes(70000), b"\x16\x03\x01\x00\x00" * 100):
            s, _ = connect(p, at, junk)
            with s:
                lacks(read_all(s), b"HTTP", repr(junk))
        with tunnel(w, p) as s:
            s.sendall(f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
            contains(read_all(s), b"HTTP/1.1 405 ")
        equal(w.origin.requests, [])


def test_an_upgrade_to_h2c_is_not_passed_on():
    with World(tls=False) as w, w.proxy() as p:
        at = f"{HOST}:{w.origin.port}"
        with plain(p, f"GET http://{at}/echo HTTP/1.1\r\nHost: {at}\r\nProxy-Authorization: Bearer {p.token}\r\nConnection: Upgrade, HTTP2-Settings, "
                      "close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Connection: x\r\nProxy-Other: y\r\n\r\n".encode() + PREFACE) as s:
            answer = read_all(s)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        equal(answer.count(b"HTTP/1.1"), 1, repr(answer))
        (_, _, headers, _), = w.origin.requests
        for name in ("upgrade", "http2-settings", "proxy-connection", "proxy-other", "proxy-authorization"):
            assert name not in headers, headers
        lacks(json.dumps(headers), p.token)


# ---- origins that lie --------------------------------------------------------------------------------------------------

def test_what_is_cut_looks_cut():
    with World() as w, w.proxy() as p:
        for path in ("/cut", "/cutchunks"):
            with tunnel(w, p) as s:
                s.sendall(get(w, path))
                answer = read_all(s)
            contains(answer, b"begin\n", path)
            assert b"\r\n0\r\n\r\n" not in answer, answer
            for version in ("--http1.1", "--http2"):
                result = p.curl(version, w.url(path))
                assert result.rc in (18, 56, 92), f"{path} {version}: {result!r}"
        equal(p.status(w.url("/nothing"))[0], 502)
        equal(p.status(w.url("/garbage"))[0], 502)
        equal(json.loads(p.status(w.url("/garbage"))[1])["status"], 502)


def test_servers_that_are_not_who_they_say():
    with World() as w, World() as other:
        # its certificate is of an authority that this proxy does not know
        with w.proxy(w.grant(port=other.origin.port)) as p:
            status, body = p.status(f"https://{HOST}:{other.origin.port}/hello")
            equal(status, 502)
            lacks(body, "hello")
            equal(json.loads(body)["type"], "urn:ambit:problem:upstream")
        equal(other.origin.requests, [])


def test_bodies_over_the_budget_stop():
    with World() as w, w.proxy(w.grant(max_request_bytes="64KiB")) as p:
        body = os.urandom(1 << 20)
        for version in ("--http1.1", "--http2") * 5:
            result = p.curl(version, "-o", "-", "-w", "\n%{http_code}", "-H", "Expect:", "--data-binary", "@-", w.url("/sink"), stdin=body)
            status = result.out.rpartition("\n")[2]
            # 55, 56: over HTTP/1.1 the connection was closed before curl, which was still sending, had read the answer
            assert (result.rc, status) == (0, "413") or (version, status) == ("--http1.1", "000") and result.rc in (55, 56), repr(result)


# ---- who floods, who is slow -------------------------------------------------------------------------------------------

def test_a_flood_of_random_hosts():
    with World() as w, w.proxy() as p:
        with tunnel(w, p) as s:
            before = p.resident("ingress")
            for i in range(1500):
                equal(refused(p, f"h{i}-{os.urandom(8).hex()}.test:443")["status"], 403)
            assert p.resident("ingress") < before + (8 << 20), (before, p.resident("ingress"))
            s.sendall(last(w))
            contains(read_all(s), b"hello world")


def test_slow_clients_lose_their_places():
    with World() as w, w.proxy(flags=["--client-timeout", "2s"]) as p:
        silent, _ = connect(p, f"{HOST}:{w.origin.port}")
        piece, _ = connect(p, f"{HOST}:{w.origin.port}", b"\x16\x03\x01")
        head = plain(p, b"CONNECT origin.te")
        inner = tunnel(w, p)
        inner.sendall(b"GET /hel")
        with silent, piece, head, inner:
            equal(read_all(silent), b"")
            equal(read_all(piece), b"")
            contains(read_all(head), b" 408 ")
            contains(read_all(inner), b" 408 ")
        equal(p.status(w.url("/hello"))[0], 200)


def test_heads_without_end():
    with World() as w, w.proxy() as p:
        # not more than is read and thrown away behind an answer: a reset could overtake it
        for request, status in ((get(w, more=f"X: {'x' * (300 << 10)}\r\n"), b" 431 "),
                                (get(w, more="".join(f"X{i}: 1\r\n" for i in range(30000))), b" 431 "),
                                (get(w, "/" + "p" * 100000), b" 414 ")):
            with tunnel(w, p) as s:
                send_quietly(s, request)    # not beside the reading: TLS is not for two threads at once
                contains(read_until(s, b"\r\n\r\n"), status)
        equal(p.status(w.url("/hello"))[0], 200)


def send_quietly(s, data):
    with contextlib.suppress(OSError):
        s.sendall(data)


def pour(s, data):
    """Sends over TLS and reads beside it, in one thread, until the other side has ended the connection."""
    s.setblocking(False)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        while True:
            stuck = True
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if data:
                    data = data[s.send(data[:16384]):]
                    stuck = False
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not s.recv(65536):
                    return
                stuck = False
            if stuck:
                assert any(select.select([s], [s] if data else [], [], 60)), "it does not end"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def test_floods_of_http_2():
    with World() as w, w.proxy() as p:
        at = f"{HOST}:{w.origin.port}".encode()
        head = b"\x82\x87\x44\x06/hello\x41" + bytes([len(at)]) + at  # GET, https, :path, :authority
        floods = {
            "resets": lambda: b"".join(frame(1, 5, 2 * i + 1, head) + frame(3, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(2000)),
            "continuations": lambda: frame(1, 0, 1, head) + b"".join(frame(9, 0, 1, b"\x0f\x2d\x01x") for i in range(20000)),
            "pings": lambda: b"".join(frame(6, 0, 0, bytes(8)) for i in range(5000)),
            "settings": lambda: b"".join(frame(4, 0, 0) for i in range(5000)),
        }
        for name, flood in floods.items():
            with tunnel(w, p, alpn=("h2",)) as s:
                equal(s.selected_alpn_protocol(), "h2")
                pour(s, PREFACE + frame(4, 0, 0) + flood())  # it ends
            equal(p.status(w.url("/hello"), "--http2")[0], 200, name)
        assert len(w.origin.requests) < 1200, len(w.origin.requests)
