# SPDX-License-Identifier: Apache-2.0
"""WebSocket by hand, so that it can be wrong: frames, the handshake's answer, an origin that says what a test wants and keeps
what it heard."""

import base64
import hashlib
import os
import re
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BYE = struct.pack(">H", 1000)


def frame(payload=b"", opcode=TEXT, final=True, mask=None, reserved=0):
    """`mask`: four bytes, or True for random ones; a client has one, a server none."""
    payload = payload.encode() if isinstance(payload, str) else payload
    mask = os.urandom(4) if mask is True else mask
    size, bit = len(payload), 0x80 if mask else 0
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


def frames(data):
    """What is there whole: a list of (opcode, final, payload, masked)."""
    found, at = [], 0
    while len(data) >= at + 2:
        opcode, final, masked, size = data[at] & 15, bool(data[at] & 0x80), bool(data[at + 1] & 0x80), data[at + 1] & 0x7f
        head = at + 2
        if size == 126:
            size, head = struct.unpack(">H", data[head:head + 2])[0], head + 2
        elif size == 127:
            size, head = struct.unpack(">Q", data[head:head + 8])[0], head + 8
        mask = data[head:head + 4] if masked else None
        head += 4 if masked else 0
        if len(data) < head + size:
            break
        payload = data[head:head + size]
        found.append((opcode, final, bytes(b ^ mask[i & 3] for i, b in enumerate(payload)) if masked else payload, masked))
        at = head + size
    return found


def messages(data):
    """The same with messages put together: a list of (opcode, payload)."""
    found, open_at = [], None
    for opcode, final, payload, _ in frames(data):
        if opcode >= 8:
            found.append((opcode, payload))
        elif opcode:
            found.append((opcode, payload))
            open_at = None if final else len(found) - 1
        else:
            found[open_at] = (found[open_at][0], found[open_at][1] + payload)
            open_at = None if final else open_at
    return found


def accept_of(head):
    key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", head).group(1)
    return base64.b64encode(hashlib.sha1(key + GUID.encode()).digest()).decode()


def switching(head, more="", accept=None, upgrade="websocket", connection="Upgrade"):
    """The answer 101 to a request's head."""
    return (f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {upgrade}\r\nConnection: {connection}\r\n"
            f"Sec-WebSocket-Accept: {accept or accept_of(head)}\r\n{more}\r\n").encode()


def headers(*more):
    """What a client asks with."""
    return [["sec-websocket-key", KEY], ["sec-websocket-version", "13"], *more]
