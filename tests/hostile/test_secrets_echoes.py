# SPDX-License-Identifier: Apache-2.0
"""Groups 36, 42 and 73 once more: ways by which a value could come back that an origin, or a page of it that repeats what it is sent,
may find in HTTP itself. An answer shows no eight bytes in a row of the value, and nothing else that tells how far a guess was right."""

import base64
import gzip
import json
import os
import zlib

from ambit import contains, equal
from egress import Egress, Raw, grant
from test_secrets_out import VALUE, asked, body_of, secret_grant

DATA = VALUE.encode()


def chunked(*parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


def told(got, records):
    """All that the asker, and the receipt, could see."""
    seen = json.dumps([got, records])
    return seen + bytes.fromhex(got.get("hex", "")).decode("latin-1") if isinstance(got, dict) else seen


def hides(got, records, data=DATA):
    seen, word = told(got, records), data.decode("latin-1")
    for i in range(len(word) - 8):
        assert word[i:i + 8] not in seen, (word[i:i + 8], seen)


def masked_and_open(answer, data=DATA, **request):
    """Masked with the scrubber; shown without it: the control."""
    got, _, _, records = asked(answer, **request)
    hides(got, records, data)
    shown, _, _, _ = asked(answer, skip="scrub", **request)
    assert data.decode("latin-1")[4:-4] in told(shown, []), told(shown, [])
    return got


def test_wide_characters():
    for coding in ("utf-16-le", "utf-16-be", "utf-16"):
        body = ('{"you sent": "Bearer ' + VALUE + '"}').encode(coding)
        got = asked(body_of(body, b"Content-Type: application/json; charset=utf-16"))[0]
        equal(got["size"], len(body))
        narrow = bytes.fromhex(got["hex"]).replace(b"\0", b"").decode("latin-1")
        hides({"body": narrow}, [])
        contains(narrow, "Bearer ***")
        shown = asked(body_of(body), skip="scrub")[0]
        contains(bytes.fromhex(shown["hex"]).replace(b"\0", b""), DATA)


def test_interim_answers_and_reasons():
    """What is before the answer, and in its first line, goes nowhere."""
    for first in (b"HTTP/1.1 103 Early Hints\r\nLink: </" + DATA + b">; rel=preload\r\nX: " + DATA + b"\r\n\r\n", b"HTTP/1.1 102 " + DATA + b"\r\n\r\n",
                  b"HTTP/1.1 100 Continue\r\nX-Echo: " + DATA + b"\r\n\r\n"):
        got, _, _, records = asked(first + b"HTTP/1.1 404 " + DATA + b"\r\nContent-Length: 2\r\n\r\nno")
        equal((got["status"], got["body"]), (404, "no"))
        hides(got, records)


def test_heads_of_answers_without_a_body():
    for answer, method in ((b"HTTP/1.1 304 Not Modified\r\nETag: \"" + DATA + b"\"\r\n\r\n", "GET"), (b"HTTP/1.1 204 No Content\r\nX: " + DATA + b"\r\n\r\n", "DELETE"),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: " + base64.b64encode(b"me:" + DATA) + b"\r\n\r\n", "HEAD"),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Long: " + b"a" * 30000 + DATA + b"b" * 20000 + b"\r\n\r\n", "GET"),
                           (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"".join(b"X-%d: %s\r\n" % (i, DATA) for i in range(100)) + b"\r\n", "GET")):
        got, _, _, records = asked(answer, method=method)
        equal(got.get("error"), None, got)
        hides(got, records)
        hides(got, records, base64.b64encode(b"me:" + DATA)[4:-4])


def test_parts_of_a_body():
    part = b"--x\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-3/9\r\n\r\n" + DATA + b"\r\n"
    masked_and_open(b"HTTP/1.1 206 Partial\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: %d\r\n\r\n" % (2 * len(part)) + 2 * part)
    # what asks for pieces, under any of its names, does not go with a secret
    got, heard, _, _ = asked(body_of(b"x"), headers=[["range", "bytes=0-3"], ["if-range", "x"], ["request-range", "bytes=0-3"], ["x_range", "1"], ["accept-encoding", "gzip"]])
    equal(got["status"], 200)
    for name in ("\nrange:", "if-range", "request-range", "gzip"):
        assert name not in heard.lower(), heard


def test_events_however_their_lines_end():
    kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    for end in (b"\n", b"\r", b"\r\n"):
        for size in (1, 3, 1000):
            stream = b"event: x" + end + b"data: " + DATA + end + end + b"data: {\"a\":\"" + DATA + b"\"}" + end + end
            pieces = [stream[i:i + size] for i in range(0, len(stream), size)]
            got = masked_and_open([kind, chunked(*pieces)])
            equal(got["size"], len(stream))
        got = masked_and_open([kind, chunked(b"data: " + b"x" * 2000 + end + b"data: " + DATA + b"y" * 70000 + end + end)])
        equal(got["size"], 72014 + len(DATA) + 2 * len(end) - 2 + len(end))


def test_packed_in_every_way():
    plain = b"x" * 40000 + DATA + b"y" * 40000 + DATA
    whole, member = gzip.compress(plain), gzip.compress(plain[:40010]) + gzip.compress(b"") + gzip.compress(plain[40010:])
    for packed in (whole, member, gzip.compress(plain, 0), zlib.compress(plain)):
        coding = b"deflate" if packed[:1] == b"x" else b"x-gzip"
        for size in (1, 5, 8192):
            pieces = [packed[i:i + size] for i in range(0, len(packed), size)]
            got, _, _, records = asked([b"HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + b"\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(*pieces)])
            equal((got.get("error"), got["size"]), (None, len(plain)), got)
            equal(records[1]["masked"], 2)
    # a name that two readers read differently, or bytes behind the end: no answer
    for coding, packed in ((b"gzip, identity", whole), (b"identity, gzip", whole), (b"gzip\r\nContent-Encoding: gzip", whole), (b"gzip", whole + DATA),
                           (b"gzip", whole + b"\0"), (b"deflate", zlib.compress(plain)[2:-4]), (b"gzip;q=1", whole), (b"compress", whole), (b"aes128gcm", whole)):
        got, _, _, records = asked(body_of(packed, b"Content-Encoding: " + coding))
        assert got.get("error", "").startswith("HTTP-"), (coding, got)
        hides(got, records)
        hides(got, records, whole[20:60])


def test_answers_nobody_asked_for():
    """Behind the answer, on a connection that is kept: not the next one's, with or without the secret."""
    two = body_of(b"first") + body_of(b"second " + DATA)
    with Raw(two, "hold") as o:
        plain = grant(f"http://127.0.0.1:{o.port}", paths=["/plain"])
        with Egress(plain, secret_grant(o), secrets={"token": VALUE}) as e:
            for path in ("/a", "/plain", "/b", "/plain"):
                got = e.ask(o.url(path))
                equal((got["status"], got["body"]), (200, "first"), got)
            assert VALUE not in "".join(h.decode("latin-1") for h in o.heard if h.startswith(b"GET /plain"))


def test_what_is_cut_shows_no_half():
    """However it ends, the bytes that were held back do not come: where a page of the origin repeats what it is asked, the asker chooses
    where in the answer the value stands."""
    for right in range(0, len(DATA), 5):
        body = b"-" * (2000 - right) + DATA + b"+" * 5000
        got, _, _, records = asked(body_of(body), grants=lambda o: [secret_grant(o, max_response_bytes=8000)])
        equal(got.get("error"), None)
        hides(got, records)
        got, _, _, records = asked([b"HTTP/1.1 200 OK\r\n\r\n", *[body[i:i + 100] for i in range(0, len(body), 100)]],
                                   grants=lambda o: [secret_grant(o, max_response_bytes=2000)])
        equal(got["error"], "HTTP-response-body-size")
        hides(got, records)
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + body[:2000], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body[:2000],
                       b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\nContent-Type: text/event-stream\r\n\r\n" + body[:2000],
                       b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(body, 0)[:2000]):
            got, _, _, records = asked(answer)
            assert got.get("error"), got
            equal("-----" + DATA.decode()[:4] in got["body"], False)
            assert not right or "-" + DATA[:max(right, 1)].decode() not in got["body"], got["body"]


def test_errors_say_nothing():
    """What curl and we say of an answer that is none names parts of it: masked, wherever the text is cut."""
    for before in (0, 40, 100, 120, 140):
        fill = b"a" * before
        for head in (b"Transfer-Encoding: " + fill + DATA, b"Transfer-Encoding: chunked, " + fill + DATA, b"Content-Length: " + fill + DATA, b"Content-Encoding: " + fill + DATA,
                     fill + DATA, b"Location: http://" + fill + DATA + b"\r\nContent-Length: x", b"Connection: " + fill + DATA + b"\r\nContent-Length: -1"):
            got, _, asks, records = asked(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nhello")
            hides(got, records)
        for first in (b"HTTP/1.1 " + fill + DATA, b"HTTP/9." + fill + DATA, fill + DATA, b"HTTP/1.1 20x " + DATA, b"ICY 200 " + DATA):
            got, _, _, records = asked(first + b"\r\n\r\nhello")
            assert got.get("error"), got
            hides(got, records)


def test_guesses_in_events_and_packed():
    """73: a page that repeats a guess beside the value, packed or as an event. What comes is as long for a right guess as for a wrong one:
    the origin is asked for no coding, and what it packs is unpacked before anything is counted."""
    sizes = set()
    for right in range(0, len(DATA) + 1, 6):
        guess = DATA[:right] + os.urandom(64).hex().encode()[:len(DATA) - right]
        for answer in (body_of(gzip.compress(b"guess=" + guess + b" token=" + DATA), b"Content-Encoding: gzip"),
                       body_of(b"data: " + guess + b"\n\ndata: " + DATA + b"\n\n", b"Content-Type: text/event-stream")):
            got, _, _, records = asked(answer)
            sizes.add((got["size"], records[1]["masked"]) if right < len(DATA) - 5 else (got["size"], 1))
            equal([n for n, _ in got["headers"] if n == "content-encoding"], [])
    equal(len(sizes), 2, sizes)
