# SPDX-License-Identifier: Apache-2.0
"""Groups 36, 42, 45 and 46 of the hostile cases, and what else a WebSocket (RFC 6455) may not do: it is there only by a grant's `websocket: true`,
and behind its handshake nothing passes in either direction that is not a frame. A client of the test's own drives a real egress room, origins
are written by hand (tests/lib/websocket_origin.py). Where a defence has a switch, the same attack with it left open must succeed.
"""

import base64
import threading

from ambit import contains, equal
from egress import Authority, Egress, Raw, grant
from serving import wait_for
from websocket_origin import BINARY, BYE, CLOSE, PING, PONG, TEXT, frame, frames, headers, messages, switching

CLOSED = frame(BYE, CLOSE)
GOODBYE = frame(BYE, CLOSE, mask=True)


class Origin(Raw):
    """Answers with 101, then with `after`; `got` is what came behind the head."""

    def __init__(self, after=b"", answer=switching, **more):
        def reply(head):
            return (answer(head) if callable(answer) else answer) + (after if isinstance(after, bytes) else b"")
        super().__init__(reply, "hold" if isinstance(after, bytes) else after, **more)

    @property
    def got(self):
        return self.heard[0].split(b"\r\n\r\n", 1)[1]

    @property
    def head(self):
        return self.heard[0].split(b"\r\n\r\n", 1)[0].decode()


def room(o, scheme="http", skip=(), host="127.0.0.1", **more):
    return Egress(grant(f"{scheme}://{host}:{o.port}", **{"websocket": True, **more.pop("grants", {})}), skip=skip, explains=True, **more)


def talk(e, o, *sent, more=(), scheme="http", host=None, **options):
    options.setdefault("seconds", 10)
    return e.ask(o.url("/chat?a=b", scheme=scheme, host=host), upgrade=True, headers=headers(*more), hex=b"".join(sent).hex(), no_end=True, **options)


def said(answer):
    return messages(bytes.fromhex(answer["hex"]))


def echo(connection, keep=None):
    """Each whole frame back, without its mask, up to Close."""
    data = b""
    while True:
        more = connection.recv(65536)
        if not more:
            return
        data += more
        if keep is not None:
            keep.append(more)
        while found := frames(data):
            opcode, final, payload, masked = found[0]
            assert masked
            data = data[len(frame(payload, mask=b"0000")):]
            connection.sendall(frame(payload, PONG if opcode == PING else opcode, final))
            if opcode == CLOSE:
                return


def broken(answer, text, error="HTTP-protocol-error"):
    equal(answer.get("error"), error, answer)
    contains(answer["text"], text, answer)


# ---- what works ----

def test_both_ways():
    kept = []
    with Origin(after=lambda c: echo(c, kept)) as o, room(o) as e:
        large = bytes(range(256)) * 400
        answer = talk(e, o, frame("hello", mask=True), frame(large[:60000], BINARY, final=False, mask=True), frame(b"?", PING, mask=True),
                      frame(large[60000:], 0, mask=True), frame(mask=True), GOODBYE, seconds=15)
        equal((answer["status"], answer.get("error"), answer["over"]), (101, None, True), answer)
        equal(said(answer)[0], (TEXT, b"hello"))
        assert answer["size"] > len(large), answer["size"]
        equal(messages(b"".join(kept)), [(TEXT, b"hello"), (BINARY, large), (PING, b"?"), (TEXT, b""), (CLOSE, BYE)])
        request, response = e.records()
        equal((request["url"], response["status"], response["error"]), (o.url("/chat"), 101, ""), response)
        assert response["received"] > len(large) and response["sent"] > len(large), response
        contains(o.head, "GET /chat?a=b HTTP/1.1\r\n")
        for line in ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Host: 127.0.0.1:{o.port}"]:
            contains(o.head, line)


def test_over_tls():
    authority = Authority("ca")
    context = authority.context(["localhost"], alpn=["h2", "http/1.1"])
    with Origin(after=echo, context=context) as o, room(o, "https", host="localhost", ca=authority.ca) as e:
        answer = talk(e, o, *[frame("x" * 5000, mask=True)] * 20, GOODBYE, scheme="https", host="localhost")
        equal((answer["status"], answer.get("error"), answer["over"]), (101, None, True), answer)
        equal(answer["size"], 20 * len(frame("x" * 5000)) + len(CLOSED))
    for names in (["other.test"],):
        with Origin(after=echo, context=authority.context(names)) as o:
            with room(o, "https", host="localhost", ca=authority.ca) as e:
                equal(talk(e, o, GOODBYE, scheme="https", host="localhost").get("error"), "TLS-certificate-error")
            with room(o, "https", host="localhost", ca=authority.ca, skip="tls") as e:
                equal(talk(e, o, GOODBYE, scheme="https", host="localhost").get("status"), 101)


def test_headers_of_the_handshake():
    """Extensions are never offered on: nothing is packed, so nothing hides. The rest of the request is as of any other."""
    with Origin(CLOSED) as o, room(o, grants={"set_headers": {"x-set": "outside"}, "strip_headers": ["cookie"]}) as e:
        answer = talk(e, o, GOODBYE, more=[["sec-websocket-extensions", "permessage-deflate"], ["sec-websocket-protocol", "chat, superchat"],
                                           ["cookie", "a=b"], ["x-set", "inside"], ["connection", "x"], ["upgrade", "h2c"], ["origin", "http://a.test"]])
        equal(answer["status"], 101, answer)
        for line in ["x-set: outside", "sec-websocket-protocol: chat, superchat", "origin: http://a.test"]:
            contains(o.head, line)
        for word in ["permessage", "cookie", "inside", "h2c", "connection: x"]:
            assert word not in o.head, o.head


def test_other_answers_pass():
    for body, how in ((b"Content-Length: 4\r\n\r\nnope", "length"), (b"Transfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n", "chunked")):
        with Origin(answer=b"HTTP/1.1 404 Not Found\r\nx-why: none\r\n" + body) as o, room(o) as e:
            answer = talk(e, o, frame("hello", mask=True))
            equal((answer["status"], answer["body"], answer["over"], answer.get("error")), (404, "nope", True, None), (how, answer))
            equal(o.got, b"", how)  # no frame went before 101


# ---- by grant only ----

def test_only_by_grant():
    with Origin(CLOSED) as o:
        with room(o, grants={"websocket": False}) as e:
            answer = talk(e, o, GOODBYE)
            equal((answer["error"], answer["reason_text"]), ("HTTP-request-denied", "the grant does not allow a WebSocket"), answer)
            equal(len(o.heard), 0)
        with room(o, skip="decision", grants={"websocket": False}) as e:
            equal(talk(e, o, GOODBYE)["status"], 101)
    with Origin(CLOSED) as o, Egress(grant(f"http://127.0.0.1:{o.port}", paths=["/no"], websocket=True), grant(f"http://127.0.0.1:{o.port}"),
                                     explains=True) as e:
        equal(talk(e, o, GOODBYE)["error"], "HTTP-request-denied")


def test_a_later_rule_may_allow_it():
    with Origin(CLOSED) as o, Egress(grant(f"http://127.0.0.1:{o.port}"), grant(f"http://127.0.0.1:{o.port}", websocket=True), explains=True) as e:
        equal(talk(e, o, GOODBYE)["status"], 101)
        equal(e.records()[0]["rule"], 1)


def test_only_on_links_of_native_clients():
    """A worker's guest has none: its link breaks."""
    with Origin(CLOSED) as o, Egress(grant(f"http://127.0.0.1:{o.port}", websocket=True)) as e:
        answer = talk(e, o, GOODBYE, seconds=2)
        assert "status" not in answer and not answer["over"], answer
        equal(len(o.heard), 0)


def test_a_request_that_is_none():
    with Origin(CLOSED) as o, room(o) as e:
        for wrong in ([["sec-websocket-version", "13"]], [["sec-websocket-key", "short"], ["sec-websocket-version", "13"]],
                      [*headers(), ["sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="]], [headers()[0], ["sec-websocket-version", "12"]]):
            answer = e.ask(o.url("/"), upgrade=True, headers=wrong, hex="", no_end=True, seconds=5)
            broken(answer, "Sec-WebSocket")
        equal(len(o.heard), 0)


# ---- the handshake's answer ----

def test_answers_that_are_none():
    cases = [
        (lambda h: switching(h, accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOx="), "Sec-WebSocket-Accept"),
        (lambda h: switching(h, upgrade="h2c"), "another protocol"),
        (lambda h: switching(h, connection="close"), "another protocol"),
        (lambda h: switching(h, "Sec-WebSocket-Extensions: permessage-deflate\r\n"), "extension"),
        (lambda h: switching(h, "Sec-WebSocket-Protocol: other\r\n"), "protocol that was not offered"),
        (lambda h: switching(h, f"Sec-WebSocket-Accept: x\r\n"), "Sec-WebSocket-Accept"),
    ]
    for answer, text in cases:
        with Origin(frame("never seen"), answer=answer) as o, room(o) as e:
            got = talk(e, o, frame("hello", mask=True), more=[["sec-websocket-protocol", "chat"]])
            broken(got, text, "HTTP-upgrade-failed")
            assert "status" not in got and got["size"] == 0 and o.got == b"", got
    for body in ("Content-Encoding: gzip\r\n",):
        with Origin(b"hello", answer=lambda h: switching(h, body)) as o, room(o) as e:
            broken(talk(e, o), "content coding", "HTTP-upgrade-failed")
    for body in ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"):
        with Origin(b"hello", answer=lambda h: switching(h, body)) as o, room(o) as e:
            got = talk(e, o)
            equal((got["error"], got["size"]), ("HTTP-protocol-error", 0), got)
    with Origin(CLOSED, answer=lambda h: switching(h, "Sec-WebSocket-Protocol: chat\r\n")) as o, room(o) as e:
        equal(talk(e, o, GOODBYE, more=[["sec-websocket-protocol", "super, chat"]])["status"], 101)


def test_continue_then_switch():
    """Group 42: `100`, then `101`: fine where a WebSocket was asked for, an error where it was not."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    with Origin(CLOSED, answer=lambda h: interim + switching(h)) as o, room(o) as e:
        equal(talk(e, o, GOODBYE)["status"], 101)
    with Origin(frame("smuggled"), answer=lambda h: interim + switching(h, accept="x")) as o, room(o) as e:
        answer = e.ask(o.url("/"), seconds=5)
        equal((answer["error"], answer["size"], "status" in answer), ("HTTP-upgrade-failed", 0, False), answer)
    with Origin(answer=interim * 40) as o, room(o) as e:
        broken(talk(e, o), "too many interim")


def test_h2c_never_passes():
    """Group 46: `Upgrade` to anything else is taken off, with its settings; with the fields of a WebSocket it is one or nothing."""
    with Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as o, room(o) as e:
        equal(e.ask(o.url("/"), headers=[["upgrade", "h2c"], ["http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"], ["connection", "upgrade, http2-settings"]])["status"], 200)
        for word in (b"h2c", b"http2", b"pgrade"):
            assert word not in o.heard[0], o.heard[0]
    with Origin(b"PRI * HTTP/2.0\r\n\r\n", answer=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n") as o, room(o) as e:
        equal(e.ask(o.url("/"), seconds=5)["error"], "HTTP-upgrade-failed")
        broken(talk(e, o), "another protocol", "HTTP-upgrade-failed")


# ---- what is no frame ----

REQUEST = b"GET /admin HTTP/1.1\r\nHost: other\r\n\r\n"


def test_the_client_sends_no_frames():
    """Group 45: the host is allowed, what follows the handshake is something else."""
    attacks = [
        (REQUEST, "reserved bit"),
        (frame("hello"), "without a mask"),
        (frame("hello", mask=True, reserved=0x40), "reserved bit"),
        (frame("hello", opcode=3, mask=True), "not known"),
        (frame("x", 0, mask=True), "continuation"),
        (frame("x", final=False, mask=True) + frame("y", mask=True), "inside another"),
        (frame(b"x" * 126, PING, mask=True), "too long"),
        (frame(b"x", PING, final=False, mask=True), "in parts"),
        (GOODBYE + frame("more", mask=True), "after Close"),
        (GOODBYE + REQUEST, "after Close"),
        (frame(b"x", CLOSE, mask=True), "code"),
        (b"\x81\xfe\x00\x05\0\0\0\0hello", "longer than it need"),
    ]
    for attack, text in attacks:
        with Origin() as o, room(o) as e:
            broken(talk(e, o, attack), text)
            assert b"/admin" not in o.got and b"other" not in o.got, o.got
            equal(e.records()[1]["error"], "HTTP-protocol-error")
    with Origin() as o, room(o, skip="frames") as e:
        talk(e, o, REQUEST, seconds=0.2)
        wait_for(lambda: len(o.got) >= len(REQUEST), lambda: o.heard)
        equal(o.got, REQUEST)


def test_the_client_chooses_no_byte_on_the_wire():
    """A mask of the client's own choosing would let it write what it likes on the connection behind the handshake."""
    mask = b"GET "
    wanted = b"GET / HTTP/1.1\r\n"
    payload = bytes(b ^ mask[i & 3] for i, b in enumerate(wanted))

    def attack(skip=()):
        with Origin() as o, room(o, skip=skip) as e:
            talk(e, o, frame(payload, BINARY, mask=mask), seconds=0.2)
            wait_for(lambda: messages(o.got), lambda: o.heard)
            return o.got
    got = attack()
    equal(messages(got), [(BINARY, payload)])
    assert wanted not in got, got
    contains(attack("frames").decode("latin-1"), wanted.decode())


def test_the_origin_sends_no_frames():
    attacks = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "reserved bit"),
        (frame("hello", mask=b"abcd"), "with a mask"),
        (frame("hello", reserved=0x10), "reserved bit"),
        (frame("x", 0), "continuation"),
        (frame("x", final=False) + frame("y"), "inside another"),
        (CLOSED + frame("more"), "after Close"),
        (b"\x81\x7f" + b"\xff" * 8, "first bit"),
    ]
    for attack, text in attacks:
        with Origin(attack) as o, room(o) as e:
            answer = talk(e, o)
            broken(answer, text)
            assert "hello" not in answer["body"] and "more" not in answer["body"], answer
        with Origin(attack) as o, room(o, skip="frames") as e:
            answer = talk(e, o, least=len(attack), seconds=0.2)
            equal(bytes.fromhex(answer["hex"]), attack)


# ---- bounds ----

def test_ends():
    with Raw(lambda h: switching(h) + frame("half")) as o, room(o) as e:
        answer = talk(e, o)
        broken(answer, "without Close", "HTTP-response-incomplete")
        equal(said(answer), [(TEXT, b"half")])
    with Raw(lambda h: switching(h) + CLOSED) as o, room(o) as e:  # the client has not answered yet
        answer = talk(e, o)
        equal((answer.get("error"), answer["over"], said(answer)), (None, True, [(CLOSE, BYE)]), answer)
    with Origin() as o, room(o) as e:
        answer = e.ask(o.url("/"), upgrade=True, headers=headers(), hex=frame("x", mask=True).hex(), seconds=5)
        broken(answer, "client ended", "connection-terminated")
    with Raw(b"") as o, room(o) as e:
        equal(talk(e, o)["error"], "connection-terminated")


def test_sizes_and_times():
    with Origin() as o:
        def up(skip=()):
            with room(o, skip=skip, grants={"max_request_bytes": 1000}) as e:
                return talk(e, o, *[frame("x" * 90, mask=True)] * 12, seconds=1)
        equal(up()["error"], "HTTP-request-body-size")
        equal(up("sizes").get("error"), None)
    with Origin(frame("x" * 90) * 12) as o:
        def down(skip=()):
            with room(o, skip=skip, grants={"max_response_bytes": 1000}) as e:
                return talk(e, o, least=12 * len(frame("x" * 90)), seconds=1)
        equal(down()["error"], "HTTP-response-body-size")
        equal(down("sizes")["size"], 12 * len(frame("x" * 90)))
    with Origin() as o:
        def late(skip=()):
            with room(o, skip=skip, grants={"timeout": "300ms"}) as e:
                return talk(e, o, seconds=1.5)
        equal(late()["error"], "HTTP-response-timeout")
        equal(late("timeouts").get("error"), None)
        with room(o) as e:
            equal(talk(e, o, between_ms=300, seconds=3)["error"], "connection-read-timeout")


def test_a_reader_that_does_not_read():
    """What an origin pours in stays with it: the room holds what the window and its buffers allow."""
    poured = []

    def pour(connection):
        connection.settimeout(1)
        part = frame(b"x" * 60000, BINARY)
        try:
            for _ in range(2000):
                connection.sendall(part)
                poured.append(len(part))
        except (OSError, TimeoutError):
            pass
    with Origin(after=pour) as o, room(o) as e:
        answer = talk(e, o, window=False, least=65536, seconds=2)
        equal(answer["size"], 65536, answer)
        assert sum(poured) < 24 << 20, sum(poured)  # kernel buffers of both ends, and ours
        assert e.records()[0]["event"] == "request"


def test_revoked_and_expired():
    with Origin() as o, room(o, expires="600ms") as e:
        equal(talk(e, o, seconds=3)["error"], "HTTP-request-denied")


def test_a_reload_that_takes_the_grant_away():
    """What a revocation cuts: both sides see the end."""
    ended = threading.Event()

    def hold(connection):
        connection.settimeout(60)
        try:
            while connection.recv(1000):
                pass
        finally:
            ended.set()
    with Origin(after=hold) as o, room(o) as e:
        equal(talk(e, o, frame("x", mask=True), seconds=0.5)["over"], False)
        assert not ended.is_set()
        e.command(do="revoke", rule=0)
        assert ended.wait(60)
        wait_for(lambda: [r for r in e.records() if r["event"] == "response"], e.records)
        equal([r["error"] for r in e.records() if r["event"] == "response"], ["HTTP-request-denied"])
        equal(talk(e, o)["error"], "HTTP-request-denied")


def test_a_long_message_streams():
    """The start of a message is there before its end: what is held is bounded."""
    go = threading.Event()

    def parts(connection):
        connection.sendall(frame(b"x" * 100000, BINARY, final=False))
        go.wait(60)
        connection.sendall(frame(b"y" * 10, 0) + CLOSED)
    with Origin(after=parts) as o, room(o) as e:
        answer = talk(e, o, least=60001, seconds=0)
        assert answer["size"] > 60000, answer["size"]
        go.set()


# ---- secrets ----

VALUE = "s3cr3t-Value/with+all=of~it.0123456789"
STARS = b"*" * len(VALUE)


def echoed(*parts, skip=(), sent=(), **options):
    """What comes back of an origin that got a secret with the handshake and says `parts`, which is as much, wherever frames end."""
    with Origin(b"".join(parts)) as o, room(o, skip=skip, secrets={"token": VALUE}, grants={"set_headers": {"authorization": "Bearer ${secret:token}"}}) as e:
        least = sum(map(len, parts)) - 2 * len(parts)  # two heads may have become one
        answer = talk(e, o, *sent, **{"least": least, "seconds": 1, **options})
        equal(answer["status"], 101, answer)
        contains(o.head, f"authorization: Bearer {VALUE}")
        return bytes.fromhex(answer["hex"]), answer, e.records()


def test_a_secret_echoed_in_frames():
    """Group 36: a secret comes back in a message, whole, in many frames, beside pings, as a control frame's text."""
    value = VALUE.encode()
    ways = {
        "one frame": [frame(b"it is " + value + b".")],
        "byte by byte": [frame(value[:1], final=False)] + [frame(value[i:i + 1], 0, final=False) for i in range(1, len(value))] + [frame(b"", 0)],
        "around a ping": [frame(value[:10], final=False), frame(b"?", PING), frame(value[10:], 0)],
        "in a ping": [frame(value, PING)],
        "in a ping within a message": [frame(b"a", final=False), frame(value, PING), frame(b"b", 0)],
        "in Close": [frame(BYE + value, CLOSE)],
        "base64": [frame(base64.b64encode(value), BINARY)],
        "at the end of much": [frame(b"x" * 70000 + value, BINARY), frame(value)],
    }
    for way, parts in ways.items():
        hidden, answer, records = echoed(*parts, sent=[GOODBYE] if way == "in Close" else [])
        shown, _, _ = echoed(*parts, skip="scrub")
        text = b"".join(payload for _, payload in messages(hidden))
        equal(len(hidden), len(shown) if way != "byte by byte" else len(hidden), way)
        assert value not in text and base64.b64encode(value) not in text, (way, text)
        if way != "at the end of much":  # what the driver shows is the start
            assert b"**********" in text, (way, text)
            assert any(v in b"".join(payload for _, payload in messages(shown)) for v in (value, base64.b64encode(value))), way
        if way != "in Close":
            assert answer["over"] is False, (way, answer)
        else:
            equal(records[1]["masked"], 1, records)


def test_a_message_waits_for_no_other():
    """What is held back of a message goes with its end: a reader that answers each message is never stuck."""
    def ask(connection):
        connection.sendall(frame("first"))
        data = b""
        while not frames(data):
            data += connection.recv(1000)
        connection.sendall(frame(b"then " + frames(data)[0][2]) + CLOSED)
    with Origin(after=ask) as o, room(o, secrets={"token": VALUE}, grants={"set_headers": {"authorization": "Bearer ${secret:token}"}}) as e:
        equal(said(talk(e, o, frame("second", mask=True))), [(TEXT, b"first"), (TEXT, b"then second"), (CLOSE, BYE)])


def test_a_message_without_end_stays():
    """Held bytes of a message that was cut off by Close are not let go behind it."""
    hidden, answer, _ = echoed(frame(b"begun", final=False), CLOSED, least=len(CLOSED), seconds=3)
    equal([f[:3] for f in frames(hidden)], [(CLOSE, True, BYE)])
    equal(len(hidden), len(CLOSED))


TOKEN = "AMBIT_SECRET_token_" + "0123456789abcdef" * 5


def test_a_placeholder_in_a_message():
    """Group 37: a placeholder is for its header; in a message it is refused, before all of it is out, however it is cut or spelled."""
    token = TOKEN.encode()
    ways = {
        "one frame": [frame(b"it is " + token + b".", mask=True)],
        "in many frames": [frame(b"", final=False, mask=True)] + [frame(token[i:i + 1], 0, final=False, mask=True) for i in range(len(token))] + [frame(b"", 0, mask=True)],
        "around a ping": [frame(token[:30], final=False, mask=True), frame(b"?", PING, mask=True), frame(token[30:], 0, mask=True)],
        "in a ping": [frame(token, PING, mask=True)],
        "in Close": [frame(BYE + token, CLOSE, mask=True)],
        "base64": [frame(base64.b64encode(token), BINARY, mask=True)],
        "at the end of much": [frame(b"x" * 50000 + token, BINARY, mask=True)],
    }

    def attack(parts, skip=()):
        with Origin() as o, room(o, skip=skip, secrets={"token": VALUE}, placeholders={"token": TOKEN},
                                 grants={"set_headers": {"authorization": "Bearer ${secret:token}"}}) as e:
            answer = talk(e, o, *parts, seconds=1)

            def heard():
                return b"".join(payload for _, payload in messages(o.got))
            if skip:
                wait_for(lambda: token in heard() or base64.b64encode(token) in heard(), heard)
            return answer, heard(), e.records()
    for way, parts in ways.items():
        answer, heard, records = attack(parts)
        equal((answer.get("error"), answer.get("reason_text")), ("HTTP-request-denied", "a secret's placeholder stands outside the header that the grant names"),
              (way, answer))
        assert token not in heard and base64.b64encode(token) not in heard, (way, heard)
        answer, heard, _ = attack(parts, "placeholder")
        assert token in heard or base64.b64encode(token) in heard, (way, answer, heard[:200])
