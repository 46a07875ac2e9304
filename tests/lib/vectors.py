# SPDX-License-Identifier: Apache-2.0
"""The tables of tests/vectors/http1 and tests/vectors/url, as the unit tests read them: blocks of lines

    # why this row is there
    > the bytes, with \\r \\n \\t \\\\ \\xNN and \\{COUNT,TEXT} for TEXT that many times (escapes in TEXT, too)
    = what is read, or the name of the fault

and before `=`, where it matters, `! limits small` or `! answers METHOD`. A line that continues a reason begins with `#`, too.
"""

import collections
import re

Row = collections.namedtuple("Row", "why data expected method limits")
ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|\{(\d+),((?:[^\\}]|\\.)*)\}|(.))", re.S)
PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\", b"}": b"}"}


def unescape(text):
    def one(match):
        if match[1]:
            return bytes([int(match[1], 16)])
        return unescape(match[3]) * int(match[2]) if match[2] else PLAIN[match[4]]
    return ESCAPE.sub(one, text)


def rows(path):
    why, data, method, limits = [], b"", "", ""
    with open(path, "rb") as f:
        for line in f.read().split(b"\n"):
            if line.startswith(b"# "):
                why.append(line[2:].decode())
            elif line.startswith(b"> "):
                data += unescape(line[2:])
            elif line.startswith(b"! answers "):
                method = line[10:].decode()
            elif line.startswith(b"! limits "):
                limits = line[9:].decode()
            elif line.startswith(b"= "):
                yield Row(" ".join(why), data, line[2:].decode(), method, limits)
                why, data, method, limits = [], b"", "", ""
            elif not line:
                why = []


http1 = url = rows
