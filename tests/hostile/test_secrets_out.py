# SPDX-License-Identifier: Apache-2.0
"""Groups 35–39, 42, 47, 63 and 73 of the hostile cases where they are about secrets, against a real egress room: values that keeper
gives go into the header that the grant names and nowhere else, and no answer shows them. The test plays the worker, keeper and the
origin. Each defence is shown by its negative control: the same attack, that defence left open, must succeed.
"""

import base64
import gzip
import hashlib
import json
import os
import urllib.parse
import zlib

from ambit import contains, equal
from egress import Authority, Egress, Raw, grant
from serving import wait_for

VALUE = "s3cr3t-Value/with+all=of~it.0123456789"
OTHER = "another-secret-0123456789abcdef"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def secret_grant(o, **more):
    return grant(f"http://127.0.0.1:{o.port}", **{"set_headers": {"authorization": "Bearer ${secret:token}"}, **more})


def asked(answer, skip=(), headers=(), secrets=None, grants=None, after="close", **request):
    """One exchange with an origin that answers so: what came back, what the origin heard, what keeper heard, records."""
    with Raw(answer, after) as o:
        with Egress(*(grants(o) if grants else [secret_grant(o)]), skip=skip, secrets=secrets or {"token": VALUE}) as e:
            got = e.ask(o.url("/x?q=1"), headers=list(headers), **request)
            return got, o.heard[0].decode("latin-1") if o.heard else "", e.asks(), e.records()


def body_of(data, *headers):
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"Content-Length: %d" % len(data), b"", data])


def test_a_value_goes_where_the_grant_says():
    got, heard, asks, records = asked(OK, headers=[["authorization", "Bearer mine"], ["range", "bytes=0-3"], ["if-range", "x"],
                                                   ["accept-encoding", "gzip, br"], ["x-a", "b"]])
    equal((got["status"], got["body"]), (200, "hello"))
    contains(heard, f"authorization: Bearer {VALUE}\r\n")
    for absent in ("mine", "range", "gzip"):
        assert absent not in heard, heard
    contains(heard, "accept-encoding: identity\r\n")
    equal(len(asks), 1)
    equal((asks[0]["method"], asks[0]["rule"], asks[0]["digest"], asks[0]["fields"]), ("GET", 0, "", []))
    assert asks[0]["url"].endswith("/x?q=1"), asks
    equal([r["event"] for r in records], ["request", "response"])
    equal(records[0]["number"], asks[0]["ask"])
    equal(records[1]["masked"], 0)


def test_several_values_in_one_template():
    got, heard, _, _ = asked(OK, secrets={"token": VALUE, "other": OTHER}, grants=lambda o: [
        secret_grant(o, set_headers={"x-a": "a ${secret:token} b ${secret:other}", "x-plain": "yes"})])
    equal(got["status"], 200)
    contains(heard, f"x-a: a {VALUE} b {OTHER}\r\n")
    contains(heard, "x-plain: yes\r\n")


def test_no_value_no_request():
    """Refused, missing, silent, gone: nothing is sent."""
    with Raw(OK) as o, Egress(secret_grant(o), secrets={}) as e:
        got = e.ask(o.url())
        equal(got.get("error"), "internal-error", got)
        e.keeper(refuse="the secret `token` is not in the vault")
        got = e.ask(o.url())
        equal((got["error"], got["text"]), ("HTTP-request-denied", "the secret `token` is not in the vault"))
        e.keeper(silent=True)
        got = e.ask(o.url(), connect_ms=200)
        equal(got["error"], "HTTP-request-denied")
        contains(got["text"], "in the time allowed")
        equal(o.heard, [])
    with Raw(OK) as o, Egress(secret_grant(o)) as e:
        got = e.ask(o.url())
        contains(got["text"], "no keeper")
        equal(o.heard, [])


def test_values_that_no_header_may_hold():
    """Group 38."""
    for value in ("0123456789abcdef\r\nx-evil: 1", "0123456789abcdef\n", "0123456789 abcdef\x7f"):
        with Raw(OK) as o, Egress(secret_grant(o), secrets={"token": value}) as e:
            got = e.ask(o.url(), connect_ms=300, seconds=2)
            assert got.get("status") is None, got
            equal(o.heard, [])


def test_a_keeper_that_comes_back_is_asked_again():
    with Raw(OK) as o, Egress(secret_grant(o), secrets={"token": VALUE}) as e:
        e.keeper(silent=True)
        got = e.ask(o.url(), seconds=0.3)
        equal(got.get("over"), False)
        e.keeper(values=[["token", VALUE]], again=True)
        wait_for(lambda: len(e.asks()) >= 2, e.asks)
        asks = e.asks()
        equal(asks[0]["ask"], asks[1]["ask"])
        wait_for(lambda: e.asks() and o.heard and VALUE.encode() in o.heard[0], lambda: o.heard)


# ---- echoes (35, 36, 42, 73) ----

SPELLINGS = {
    "raw": VALUE.encode(),
    "base64": base64.b64encode(b"user:" + VALUE.encode() + b"!"),
    "base64 url": base64.urlsafe_b64encode(VALUE.encode()),
    "hex": VALUE.encode().hex().encode(),
    "HEX": VALUE.encode().hex().upper().encode(),
    "percent": urllib.parse.quote(VALUE, safe="").encode(),
    "all percent": "".join(f"%{b:02x}" for b in VALUE.encode()).encode(),
    "json": json.dumps(VALUE).replace("/", "\\/").encode(),
    "unicode escapes": "".join(f"\\u{ord(c):04x}" for c in VALUE).encode(),
    "html": VALUE.replace("+", "&#43;").replace("=", "&equals;").encode(),
}


def shows(got, spelling):
    """Does it show eight characters in a row that are of the value?"""
    text = got["body"] + json.dumps(got.get("headers", [])) + json.dumps(got.get("trailers", []))
    word = spelling.decode()[8:-8] if len(spelling) > 30 else spelling.decode()
    return any(word[i:i + 8] in text for i in range(len(word) - 8))


def test_echoes_in_bodies():
    for name, spelling in SPELLINGS.items():
        body = b'{"you sent": "' + spelling + b'"}' * 3
        for skip in ((), "scrub"):
            got, _, asks, records = asked(body_of(body), skip=skip)
            equal((got["status"], got["size"]), (200, len(body)), name)
            equal(shows(got, spelling), bool(skip), (name, skip, got["body"]))
            equal([a["echoed"] for a in asks if "echoed" in a], [] if skip else ["token"], name)
            equal(records[1]["masked"], 0 if skip else 1, name)
            if not skip:
                assert got["body"].startswith('{"you sent": "') and got["body"].endswith('"}'), got["body"]


def test_echoes_split_over_chunks():
    for size in (1, 2, 7, 16):
        chunks = [VALUE.encode()[i:i + size] for i in range(0, len(VALUE), size)]
        answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
        answer += [b"%x\r\n%s\r\n" % (len(c), c) for c in [b"before ", *chunks, b" after"]] + [b"0\r\n\r\n"]
        got, _, _, records = asked(answer)
        equal(got["body"], "before " + "*" * len(VALUE) + " after")
        equal(records[1]["masked"], 1)


def test_echoes_in_heads_and_trailers():
    """Redirects (35), headers, names of headers, error pages, trailers (42)."""
    value = VALUE.encode()
    token = VALUE.replace("/", "-").replace("=", "-")  # as a header's name could be
    answer = (b"HTTP/1.1 302 Found " + value + b"\r\nLocation: http://evil.test/?key=" + urllib.parse.quote(value, safe="").encode()
              + b"\r\nX-Echo: Bearer " + value + b"\r\nX-Basic: Basic " + base64.b64encode(b"me:" + value)
              + b"\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n5\r\nhello\r\n0\r\nX-T: t-" + value + b"\r\n\r\n")
    for skip in ((), "scrub"):
        got, _, asks, records = asked(answer, skip=skip)
        equal(got["status"], 302)
        text = json.dumps([got["headers"], got["trailers"]])
        equal(VALUE in text, bool(skip), text)
        equal(urllib.parse.quote(VALUE, safe="") in text, bool(skip), text)
        if not skip:
            fields = dict(got["headers"])
            equal(set(fields["location"][len("http://evil.test/?key="):]), {"*"})
            equal(fields["x-echo"], "Bearer " + "*" * len(VALUE))
            equal(got["trailers"], [["x-t", "t-" + "*" * len(VALUE)]])
            equal(records[1]["masked"], 4)
            equal([a["echoed"] for a in asks if "echoed" in a], ["token"])
    secret = "Tok3n-as-a-name-0123456789"
    got, _, _, _ = asked(b"HTTP/1.1 400 Bad\r\n%s: 1\r\nContent-Length: 0\r\n\r\n" % secret.encode(), secrets={"token": secret})
    assert secret.lower() not in json.dumps(got).lower(), got


def test_echoes_in_packed_bodies():
    plain = b"x" * 1000 + VALUE.encode() + b"y" * 5000
    for coding, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain)), ("gzip", gzip.compress(plain[:900]) +
                                                                                                gzip.compress(plain[900:]))):
        answer = body_of(packed, b"Content-Encoding: " + coding.encode(), b"Content-Type: text/plain")
        got, _, _, records = asked(answer)
        equal((got["status"], got["size"]), (200, len(plain)), got)
        equal([n for n, _ in got["headers"]], ["content-type"])
        contains(got["body"], "x" + "*" * len(VALUE) + "y")
        equal(records[1]["masked"], 1)
        got, _, _, _ = asked(answer, skip="scrub")
        equal(got["size"], len(packed))
    for coding, body in ((b"br", b"?"), (b"gzip, br", b"?"), (b"gzip", b"no gzip"), (b"gzip", gzip.compress(plain)[:-9]),
                         (b"gzip", gzip.compress(b"\0" * 20000000))):
        got, _, _, _ = asked(body_of(body, b"Content-Encoding: " + coding))
        assert got.get("error", "").startswith("HTTP-response"), (coding, got)


def test_large_packed_bodies_keep_to_the_window():
    plain = os.urandom(1000).hex().encode() * 2000
    got, _, _, _ = asked(body_of(gzip.compress(plain), b"Content-Encoding: gzip"))
    equal((got.get("error"), got["size"]), (None, len(plain)))


def test_events_come_at_once():
    """An event stream is not held back, although it does not end; what it shows is masked."""
    event = b"data: " + VALUE.encode() + b"\n\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n" + event + b"data: 2\n\nhalf"
    got, _, _, _ = asked(answer, after="hold", least=len(event) + 9, seconds=1)
    equal(got["body"], "data: " + "*" * len(VALUE) + "\n\ndata: 2\n\n")
    got, _, _, _ = asked(answer.replace(b"event-stream", b"plain"), after="hold", seconds=1)
    equal(got["body"], "")


def test_answers_without_a_body():
    for answer, method in ((b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Encoding: br\r\n\r\n", "GET"),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n", "HEAD"),
                           (b"HTTP/1.1 204 No Content\r\n\r\n", "GET")):
        got, _, _, _ = asked(answer, method=method)
        equal((got.get("error"), got["size"]), (None, 0), got)


def test_guesses_are_not_told_apart():
    """Group 73: an origin's page that repeats what it is sent, guess by guess. Nothing is masked before the whole value is there, and
    what comes out of an unfinished body does not depend on how much of the guess is right."""
    sizes, guesses = set(), [(VALUE[:right] + "#" * len(VALUE))[:len(VALUE)].encode() for right in range(len(VALUE))]
    with Raw(lambda head: b"HTTP/1.1 200 OK\r\n\r\n" + b"-" * 1000 + guesses[int(head.split()[1][1:])], "hold") as o, \
            Egress(secret_grant(o), secrets={"token": VALUE}) as e:
        for right in range(len(VALUE)):
            got = e.ask(o.url(f"/{right}"), abort_after=1)
            sizes.add(got["size"])
            assert "*" not in got["body"], got
        assert not [a for a in e.asks() if "echoed" in a]
    equal(len(sizes), 1, sizes)


# ---- what stays behind ----

def memory_of(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, access = line.split()[:2]
            if "r" in access and "[v" not in line:  # beyond 64 MiB: the shadow of a sanitizer
                start, end = (int(x, 16) for x in span.split("-"))
                if end - start > 64 << 20:
                    continue
                try:
                    memory.seek(start)
                    yield line.strip(), memory.read(end - start)
                except (OSError, OverflowError, ValueError):
                    pass


def places_in_memory(pid, value):
    return [where for where, data in memory_of(pid) if value in data]


def test_nothing_is_left_in_memory():
    if os.geteuid() != 0:
        return  # only root reads the memory of a process that may not be dumped
    canary = "Canary-that-stays-0123456789"
    echo = body_of(VALUE.encode() * 50)
    with Raw(OK) as o, Raw(echo, "hold") as echoing, Egress(secret_grant(o), secret_grant(echoing), secrets={"token": VALUE}) as e:
        equal(e.ask(echoing.url(), body="b" * 100000, method="POST", length=True)["status"], 200)
        for _ in range(3):
            equal(e.ask(o.url(), headers=[["x-canary", canary]])["status"], 200)
            e.keeper(refuse="no")
            equal(e.ask(o.url())["error"], "HTTP-request-denied")
            e.keeper(values=[["token", VALUE]])
        assert sum(VALUE.encode() in h for h in o.heard) == 3
        equal(places_in_memory(e.room(), VALUE.encode()), [])
        equal(places_in_memory(e.room(), VALUE.encode()[8:24]), [])
        e.keeper(values=[["token", VALUE]])
    # The search finds what is there: a value on its way.
    with Raw(b"HTTP/1.1 200 OK\r\n\r\n", "hold") as o, Egress(secret_grant(o), secrets={"token": VALUE}) as e:
        e.ask(o.url(), seconds=0.5)
        wait_for(lambda: o.heard and VALUE.encode() in o.heard[0], lambda: o.heard)
        assert places_in_memory(e.room(), VALUE.encode()), "the search finds nothing at all"


def test_what_is_not_wiped_is_found():
    """The control of both: the same exchange in a room that wipes nothing leaves the value where it was, and the search says so."""
    if os.geteuid() != 0:
        return
    left = {}
    for skip in ("wipe", ()):
        with Raw(OK) as o, Egress(secret_grant(o), secrets={"token": VALUE}, skip=skip) as e:
            for _ in range(3):
                equal(e.ask(o.url())["status"], 200)
            left[skip] = len(places_in_memory(e.room(), VALUE.encode()[8:24]))
    print(left)
    equal((left["wipe"] > 0, left[()]), (True, 0))


def test_nothing_is_left_in_memory_of_tls():
    if os.geteuid() != 0:
        return
    a = Authority("a")
    echo = body_of(VALUE.encode() * 50)
    with Raw(OK, "hold", a.context(["127.0.0.1"])) as o, Raw(echo, "hold", a.context(["127.0.0.1"])) as echoing:
        grants = [{**secret_grant(x), "http": x.url("", scheme="https")} for x in (o, echoing)]
        with Egress(*grants, ca=a.ca, secrets={"token": VALUE}) as e:
            equal(e.ask(o.url(scheme="https"))["status"], 200)
            equal(e.ask(echoing.url(scheme="https"), body="b" * 1000, method="POST", length=True)["status"], 200)
            contains(o.heard[0].decode(), VALUE)
            equal(places_in_memory(e.room(), VALUE.encode()[8:24]), [])


# ---- cut ----

def test_revocation_cuts_a_body():
    """Group 63, with a secret in force."""
    with Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", "hold") as o, \
            Egress(secret_grant(o), secrets={"token": VALUE}) as e:
        got = e.ask(o.url(), least=9, seconds=0.5)
        equal((got["over"], got["body"]), (False, "data: 1\n\n"))
        e.command(do="revoke", rule=0)
        wait_for(lambda: [r for r in e.records() if r["event"] == "response"], e.records)
        contains(next(r["text"] for r in e.records() if r["event"] == "response"), "revoked")
        equal(e.ask(o.url())["error"], "HTTP-request-denied")
        equal(len(o.heard), 1)


def test_signed_requests():
    """Headers that keeper makes for this very request, over its digest: put on as they are, the body sent after."""
    made = [["authorization", "AWS4-HMAC-SHA256 Credential=x, Signature=" + "0" * 64, True, False], ["x-amz-date", "20261121T000000Z", True, False]]
    with Raw(OK) as o, Egress(secret_grant(o, set_headers={"authorization": "${secret:aws}"}), secrets={}) as e:
        e.keeper(values=made)
        got = e.ask(o.url(), method="PUT", body="abc", repeat=50000, length=True, headers=[["x-amz-date", "mine"], ["x-amz-acl", "private"]])
        equal((got.get("error"), got["status"]), (None, 200))
        head = o.heard[0].decode("latin-1")
        contains(head, "authorization: AWS4-HMAC-SHA256 Credential=x, Signature=" + "0" * 64)
        contains(head, "x-amz-date: 20261121T000000Z")
        assert "mine" not in head, head
        (ask,) = e.asks()
        equal(ask["digest"], hashlib.sha256(b"abc" * 50000).hexdigest())
        contains(json.dumps(ask["fields"]), "x-amz-acl")
        e.ask(o.url(), method="PUT", body="abc", repeat=100000, length=True)
        equal(e.asks()[1]["digest"], "UNSIGNED-PAYLOAD")
        e.ask(o.url(), method="PUT", body="abc")
        equal(e.asks()[2]["digest"], "UNSIGNED-PAYLOAD")
        e.ask(o.url())
        equal(e.asks()[3]["digest"], hashlib.sha256(b"").hexdigest())


# ---- placeholders (37, 39, 47) ----

TOKEN = "AMBIT_SECRET_token_0123456789abcdef0123456789abcdef"
SECOND = "AMBIT_SECRET_other_fedcba9876543210fedcba9876543210"
PLACES = {"token": TOKEN, "other": SECOND}


def placed(headers=(), target="/x", skip=(), template="Bearer ${secret:token}", wanted="", **request):
    """`wanted`: what the origin has to hear; its answer may be here before it has read the body."""
    with Raw(OK, "hold") as o, Egress(secret_grant(o, set_headers={"authorization": template}), skip=skip, explains=True,
                                      secrets={"token": VALUE, "other": OTHER}, placeholders=PLACES) as e:
        got = e.ask(o.url(target), headers=list(headers), **request)
        wait_for(lambda: wanted.encode() in b"".join(o.heard), lambda: o.heard)
        return got, b"".join(o.heard).decode("latin-1"), e.records()


def test_placeholders_in_their_header():
    for own, sent in ((f"Bearer {TOKEN}", f"Bearer {VALUE}"), (f"token {TOKEN}", f"token {VALUE}"),
                      ("Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode(),
                       "Basic " + base64.b64encode(f"x-access-token:{VALUE}".encode()).decode()),
                      ("Bearer something", f"Bearer {VALUE}")):
        got, heard, _ = placed([["authorization", own]])
        equal(got.get("status"), 200, got)
        contains(heard, f"authorization: {sent}\r\n")
    got, heard, _ = placed(template="Bearer ${secret:token}")
    contains(heard, f"authorization: Bearer {VALUE}\r\n")


def escaped(text):
    return "".join(f"\\u{ord(c):04x}" for c in text)


def spellings(token):
    data = token.encode()
    yield from (token, "".join(f"%{b:02X}" for b in data), data.hex(), escaped(token))
    yield from (base64.b64encode(b"abc"[:n] + data).decode() for n in range(3))


def refused(got, heard, records):
    equal(got.get("error"), "HTTP-request-denied", got)
    contains(got["reason_text"], "placeholder")
    assert "AMBIT_SECRET_" not in heard and VALUE not in heard.split("\r\n\r\n", 1)[-1], heard
    assert [r for r in records if r["event"] == "denied" and "placeholder" in r["reason"]], records


def test_placeholders_elsewhere_are_refused():
    cases = [{"target": "/a/" + TOKEN}, {"target": "/a?k=" + "".join(f"%{b:02x}" for b in TOKEN.encode())},
             {"target": "/a?k=" + base64.urlsafe_b64encode(b"x" + TOKEN.encode()).decode()},
             {"headers": [["x-other", TOKEN]]}, {"headers": [["cookie", "a=" + base64.b64encode(TOKEN.encode()).decode()]]},
             {"headers": [["authorization", "Bearer " + SECOND]]},          # another secret's
             {"headers": [["authorization", TOKEN.replace("0123", "0124")]]},  # guessed
             {"headers": [["authorization", "Basic " + base64.b64encode(b"u:" + SECOND.encode()).decode()]]},
             {"headers": [["authorization", f"Bearer {TOKEN} {escaped(TOKEN)}"]]}]
    cases += [{"method": "POST", "body": "a" * 300 + s + "b" * 300} for s in spellings(TOKEN)]
    cases += [{"method": "POST", "body": "AMBIT_SECRET_token"}, {"method": "POST", "body": "hello", "trailers": [["x-t", TOKEN]]}]
    for case in cases:
        refused(*placed(**case))


def test_placeholders_elsewhere_where_nobody_looks():
    """The negative control."""
    for case in ({"target": "/a/" + TOKEN}, {"headers": [["x-other", TOKEN]]}, {"method": "POST", "body": TOKEN}):
        got, heard, _ = placed(skip="placeholder", wanted=TOKEN, **case)
        contains(heard, TOKEN)


def test_names_stay_text():
    """`$NAME` and its like mean nothing (39)."""
    body = "$TOKEN ${TOKEN} $AMBIT_SECRET ${secret:token} %TOKEN%"
    got, heard, _ = placed(method="POST", body=body, length=True, wanted=body)
    equal(got.get("status"), 200, got)
    contains(heard, body)


def test_a_placeholder_over_frames_stops_the_upload():
    """47: a body that shows one late is cut before its bytes leave; what came before it may have gone."""
    got, heard, records = placed(method="POST", body="x" * 100000 + TOKEN + "y" * 100000)
    refused(got, heard, records)
    assert heard.count("y") < 100, heard[-200:]


def test_denials_say_what_would_help():
    with Raw(OK) as o, Egress(secret_grant(o, paths=["/a"]), explains=True, secrets={"token": VALUE}) as e:
        got = e.ask(o.url("/b?private=1"), method="POST")
        contains(got["grant"], f"- http: http://127.0.0.1:{o.port}")
        contains(got["grant"], "/b")
        (record,) = e.records()
        equal((record["event"], record["method"], record["url"], record["grant"]), ("denied", "POST", o.url("/b"), got["grant"]))
        e.command(do="revoke", rule=0)
        got = e.ask(o.url("/a"))
        equal(got["grant"], "")
        equal(o.heard, [])
    with Raw(OK) as o, Egress(secret_grant(o, paths=["/a"])) as e:
        equal(e.ask(o.url("/b"))["grant"], "")
        equal(e.records(), [])
