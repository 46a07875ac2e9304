# SPDX-License-Identifier: Apache-2.0
"""Token servers that stall, trickle, flood and send elsewhere, while keeper mints (groups 41, 42): the guest's request is refused with a
reason, the origin hears nothing of it, and the key shows nowhere. Their 20 seconds are one here (`egress-soon`); that they are 20 in the
product is in tests/system/test_minting.py, and keeper's own 30, for an egress that never answers, in its unit test.
"""

import json
import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from ambit import contains, equal, lacks, run, script
from egress import Authority, Raw
from test_minting import ASK, CLIENT_SECRET, GOOD, flags, place, put, reply

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
TOO_LATE = "did not answer in 20 seconds"


def outcome(env, a, server_url, skip="egress-soon"):
    """(what the guest printed, the run, what the origin heard, seconds)"""
    put(env, "oauth-client", CLIENT_SECRET, token_url=server_url, client_id="me", addresses="127.0.0.0/8")
    with Raw(reply(b"taken"), context=a.context(["127.0.0.1"])) as o:
        began = time.monotonic()
        r = run("run", *flags(a, o.port), script(ASK), f"GET {o.url('/', scheme='https')} -", env=env, skip=skip, timeout=120)
        lacks(r.out + r.err + pathlib.Path(r.receipt).read_text(), CLIENT_SECRET)
        return r, o.heard, time.monotonic() - began


def drip(data, pause):
    def after(connection):
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause)
    return after


def flood(connection):
    """100 MB, or until nobody takes them."""
    flood.sent = 0
    while flood.sent < 100_000_000:
        flood.sent += connection.send(b"x" * 65536)


def test_servers_that_stall_trickle_and_flood():
    env, a = place(guests=True), Authority("authority")
    body = json.dumps(GOOD).encode()
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    for what, answer, after, why in [
            ("silent", b"", "hold", TOO_LATE),
            ("half a head", HEAD, "hold", TOO_LATE),
            ("a head that never ends", HEAD, drip(b"x: y\r\n" * 500, 0.02), TOO_LATE),
            ("a body that never begins", HEAD + length, "hold", TOO_LATE),
            ("a body a byte at a time", HEAD + length, drip(body, 0.2), TOO_LATE),
            ("a chunk that never ends", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", drip(b"1;" + b"e" * 1000, 0.02), TOO_LATE),
            ("interim answers without end", b"", drip(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200, 0.01), None),
            ("100 MB that it says", HEAD + b"Content-Length: 100000000\r\n\r\n", flood, "longer than 64 KiB"),
            ("100 MB that it does not say", HEAD + b"\r\n", flood, "longer than 64 KiB"),
            ("100 MB in chunks", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5F5E100\r\n", flood, "longer than 64 KiB")]:
        flood.sent = 0
        with Raw(answer, after=after, context=a.context(["127.0.0.1"])) as s:
            r, heard, seconds = outcome(env, a, s.url("/token", scheme="https"))
            assert r.out.startswith("failed "), (what, repr(r))
            equal(heard, [], what)
            if why:
                contains(json.dumps(r.events), why, what)
            assert seconds < 15, (what, seconds)
            assert flood.sent < 20_000_000, (what, flood.sent)
            lacks(r.out + r.err + pathlib.Path(r.receipt).read_text(), GOOD["access_token"])


def test_a_server_that_accepts_and_says_nothing():
    """Not even TLS: the connection is taken, and that is all."""
    env, a = place(guests=True), Authority("authority")
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as s:
        threading.Thread(target=lambda: kept.append(s.accept()), daemon=True).start()
        r, heard, seconds = outcome(env, a, f"https://127.0.0.1:{s.getsockname()[1]}/token")
        assert r.out.startswith("failed ") and seconds < 15, (seconds, repr(r))
        equal(heard, [])
        contains(json.dumps(r.events), TOO_LATE)


def test_redirects_and_types():
    """No redirect is followed, whatever it says, with the key or without; what is not JSON is none, whatever it is called. Controls: JSON that is
    called something else is JSON; and a server that is slow, but within its time, is waited for."""
    env, a = place(guests=True), Authority("authority")
    with Raw(reply(GOOD), context=a.context(["127.0.0.1"])) as elsewhere:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"):
            with Raw(reply(GOOD, status, f"Location: {elsewhere.url('/', scheme='https')}\r\n".encode()), context=a.context(["127.0.0.1"])) as s:
                r, heard, _ = outcome(env, a, s.url("/token", scheme="https"))
                assert r.out.startswith("failed "), repr(r)
                contains(json.dumps(r.events), f"answered {status[:3]}")
                equal(heard, [])
        equal(elsewhere.heard, [])
    form = b"access_token=a-token-that-is-good-enough&expires_in=600"
    for body, kind, good in [(form, b"application/x-www-form-urlencoded", False), (b"<html>a-token-that-is-good-enough</html>", b"text/html", False),
                             (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"application/json", False), (json.dumps(GOOD).encode(), b"text/html", True)]:
        with Raw(reply(body, headers=b"Content-Type: " + kind + b"\r\n"), context=a.context(["127.0.0.1"])) as s:
            r, heard, _ = outcome(env, a, s.url("/token", scheme="https"))
            equal((r.out.startswith("200 taken"), len(heard)), (good, int(good)), repr(r))
    with Raw(b"", after=lambda c: (time.sleep(2), c.sendall(reply(GOOD))), context=a.context(["127.0.0.1"])) as s:
        r, heard, _ = outcome(env, a, s.url("/token", scheme="https"), skip="egress-counters")
        equal((r.out.startswith("200 taken"), len(heard)), (True, 1), f"control: its 20 seconds are not up\n{r!r}")
