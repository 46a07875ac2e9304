# SPDX-License-Identifier: Apache-2.0
"""What stands where http.client has its socket: it understands the HTTP that is written to it and answers with HTTP to read.

CPython's `http.client`, and all that is built on it (`urllib.request`, `xmlrpc.client`, urllib3, requests), stay as they are:
they write a request and read a response, byte for byte as ever, with their own checks, debug output and errors. The wire
takes the request apart (`Outgoing`), hands it to wasi:http (`exchange.py`) and writes the response's head from what comes back.

What the host does by itself is taken out silently: Host where it is the connection's own, Connection, Keep-Alive, chunked
framing. What it cannot do is an error that says so: another Host than the connection's, Upgrade, proxies, a source address.
"""

import errno
import http.client
import io
import re
import sys

from exchange import CHUNK, Exchange

HEAD_MAX = 1 << 20
FOLD = re.compile(rb"\r\n[ \t]+")  # how http.client writes a header of several values; nobody else may any more
# Between this program and its next neighbour: the host speaks to the server, so they mean nothing here.
OF_THE_CONNECTION = frozenset(("connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "host"))
PHRASES = {int(code): code.phrase for code in http.HTTPStatus}
# HTTP/2 and WASI write names in lower case; scripts look them up as servers usually write them.
SPELLED = {b"etag": b"ETag", b"www-authenticate": b"WWW-Authenticate", b"x-xss-protection": b"X-XSS-Protection", b"dnt": b"DNT",
           b"content-md5": b"Content-MD5", b"x-request-id": b"X-Request-ID", b"x-ratelimit-limit": b"X-RateLimit-Limit",
           b"x-ratelimit-remaining": b"X-RateLimit-Remaining", b"x-ratelimit-reset": b"X-RateLimit-Reset"}


def unsupported(text):
    return OSError(errno.ENOTSUP, "not in Ambit's sandbox: " + text)


def spelled(name):
    name = name.encode("latin-1")
    if name != name.lower():
        return name
    return SPELLED.get(name) or b"-".join(part.capitalize() for part in name.split(b"-"))


class Head:
    """A request's head, taken apart."""

    def __init__(self, raw, authority):
        line, *lines = FOLD.sub(b" ", raw).split(b"\r\n")
        method, _, rest = line.partition(b" ")
        target, _, version = rest.rpartition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise unsupported(f"a protocol other than HTTP ({line[:60]!r})")
        self.method, self.target = method.decode("latin-1"), target.decode("latin-1")
        if self.method == "CONNECT" or not (target.startswith(b"/") or target == b"*"):
            raise unsupported("HTTP proxies; Ambit makes the connection itself (unset http_proxy)")
        self.fields, self.chunked, self.length = [], False, None
        for text in lines:
            name, _, value = text.partition(b":")
            self.field(name.decode("latin-1"), value.strip(b" \t"), authority)

    def field(self, name, value, authority):
        lower = name.lower()
        if lower == "host" and value.decode("latin-1").lower() not in authority:
            raise unsupported(f"a Host header ({value.decode('latin-1')!r}) other than that of the connection ({authority[0]!r})")
        if lower == "upgrade":
            raise unsupported("to change the protocol of a connection (Upgrade)")
        if lower == "transfer-encoding":
            if value.lower() != b"chunked":
                raise unsupported(f"Transfer-Encoding {value!r}")
            self.chunked = True
        if lower == "content-length":
            if not value.isdigit():
                raise ValueError(f"Invalid header value {value!r}")
            self.length = int(value)
        if lower not in OF_THE_CONNECTION:
            self.fields.append((name, value))

    def has_body(self):
        return self.chunked or bool(self.length)


class Chunked:
    """Takes chunked framing off, however it is cut."""

    def __init__(self):
        self.line, self.left, self.state = bytearray(), 0, "size"

    def feed(self, view):
        """(how much of `view` was used, body bytes in it); `state` is "end" after the last chunk."""
        if self.state == "data":
            size = min(self.left, len(view))
            self.left -= size
            self.state = "data" if self.left else "data end"
            return size, view[:size]
        at = bytes(view).find(b"\n")
        used = len(view) if at < 0 else at + 1
        self.line += view[:used]
        if at >= 0:
            self.ended(bytes(self.line).rstrip(b"\r\n"))
            self.line.clear()
        elif len(self.line) > HEAD_MAX:
            raise ValueError("chunk without end")
        return used, b""

    def ended(self, line):
        if self.state == "size":
            self.left = int(line.partition(b";")[0], 16)
            self.state = "data" if self.left else "trailers"
        elif self.state == "data end":
            self.state = "size"
        elif not line:
            self.state = "end"
        else:
            raise unsupported("trailers after a request's body")


class Counted:
    """A body of a length that the head named."""

    def __init__(self, length):
        self.left = length

    def feed(self, view):
        used = min(self.left, len(view))
        self.left -= used
        return used, view[:used]

    @property
    def state(self):
        return "data" if self.left else "end"


class Answer(io.RawIOBase):
    """The response as bytes, head and body; what http.client reads. Owns the exchange from then on."""

    def __init__(self, exchange):
        self.exchange, self.head, self.sized = exchange, b"", False
        if exchange.status is not None:
            self.head = memoryview(self.make_head())

    def make_head(self):
        status = self.exchange.status
        lines = [b"HTTP/1.1 %d %s" % (status, PHRASES.get(status, "").encode())]
        for name, value in self.exchange.fields:
            self.sized = self.sized or name.lower() == "content-length"
            lines.append(spelled(name) + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.head:
            size = min(len(buffer), len(self.head))
            buffer[:size], self.head = self.head[:size], self.head[size:]
            return size
        data = self.take(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def take(self, size):
        failure = self.exchange.failure
        if failure is not None:
            if isinstance(failure, http.client.RemoteDisconnected):
                return b""  # http.client says it itself
            raise failure
        try:
            return self.exchange.read(size)
        except EOFError:
            if self.sized:
                return b""  # http.client counts
            raise http.client.IncompleteRead(b"") from None

    def readall(self):
        parts = [bytes(self.head)]
        self.head = b""
        try:
            while data := self.take(CHUNK):
                parts.append(data)
        except http.client.IncompleteRead as e:
            e.partial = b"".join(parts)
            raise
        return b"".join(parts)

    def close(self):
        if not self.closed:
            self.exchange.close()
        super().close()


class Wire:
    """The methods of a socket that programs use on an HTTP connection."""

    def __init__(self, host, port, timeout):
        self.host, self.port, self.timeout, self.secure = host, port, timeout, False
        self.head, self.exchange, self.body = bytearray(), None, None

    def authority(self):
        """As the host names it: without the scheme's own port; then the other spellings that Host may have."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        full = f"{name}:{self.port}".lower()
        short = [name.lower()] if self.port == (443 if self.secure else 80) else []
        return [*short, full]

    # ---- writing

    def sendall(self, data, flags=0):
        view = memoryview(data).cast("B")
        while view:
            view = view[self.feed_body(view) if self.body is not None else self.feed_head(view):]
            if self.body is not None and self.body.state == "end":
                self.body = None
                self.exchange.finish()

    def send(self, data, flags=0):
        self.sendall(data)
        return len(data)

    def feed_head(self, view):
        before = len(self.head)
        self.head += view
        end = self.head.find(b"\r\n\r\n", max(0, before - 3))
        if end < 0:
            if len(self.head) > HEAD_MAX:
                raise ValueError("the request's head is larger than 1 MiB")
            return len(view)
        raw = bytes(self.head[:end])
        self.head.clear()
        names = self.authority()
        head = Head(raw, names)
        self.exchange = Exchange(head.method, self.secure, names[0], head.target, head.fields, head.has_body(), self.timeout)
        self.body = Chunked() if head.chunked else Counted(head.length or 0)
        return end + 4 - before

    def feed_body(self, view):
        used, data = self.body.feed(view)
        if data:
            self.exchange.write(data)
        return used

    # ---- reading

    def makefile(self, mode="r", buffering=None, **options):
        if mode not in ("r", "rb"):
            raise unsupported("to write to an HTTP connection through a file")
        if self.exchange is None or self.body is not None:
            raise unsupported("to read from an HTTP connection before a whole request was written to it")
        exchange, self.exchange = self.exchange, None
        file = io.BufferedReader(Answer(exchange), CHUNK)
        return file if mode == "rb" else io.TextIOWrapper(file, **options)

    # ---- the rest of a socket

    def settimeout(self, seconds):
        self.timeout = seconds
        if self.exchange is not None:
            self.exchange.timeout = seconds

    def gettimeout(self):
        return self.timeout

    def setblocking(self, flag):
        if not flag:
            raise unsupported("sockets that do not block")
        self.settimeout(None)

    def setsockopt(self, *_):
        """Options tune a connection that is not this program's: http.client sets TCP_NODELAY."""

    def getpeername(self):
        return (self.host, self.port)

    def getpeercert(self, binary_form=False):
        raise unsupported("to see the server's certificate; Ambit verifies it outside")

    def version(self):
        return None

    cipher = selected_alpn_protocol = compression = version

    def fileno(self):
        raise unsupported("a descriptor of an HTTP connection")

    def recv(self, *_):
        raise unsupported("to read from an HTTP connection other than through http.client")

    recv_into = recv

    def shutdown(self, how):
        pass

    def close(self):
        if self.exchange is not None:
            self.exchange.close()
        self.exchange = self.body = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(address, timeout=http.client.socket._GLOBAL_DEFAULT_TIMEOUT, source_address=None, socket_options=None, **_):
    """In the place of socket.create_connection, for HTTP only."""
    if timeout is http.client.socket._GLOBAL_DEFAULT_TIMEOUT:
        timeout = http.client.socket.getdefaulttimeout()
    if timeout is not None and not isinstance(timeout, (int, float)):
        timeout = None  # urllib3's own word for the default
    if timeout is not None and timeout < 0:
        raise ValueError("Timeout value out of range")
    if timeout == 0:
        raise BlockingIOError(errno.EINPROGRESS, "Operation now in progress")
    if source_address:
        raise unsupported("to choose the address that a connection comes from")
    host, port = address[:2]
    return Wire(host.strip("[]"), int(port), timeout)


def http_init(init):
    def __init__(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self._create_connection = connect
    __init__.__wrapped__ = init
    return __init__


class Urllib3:
    """urllib3 makes its connections itself, from sockets; this finder gives it the wire when it is imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "urllib3.connection":
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not Urllib3 else None
            if spec is not None:
                Urllib3.wrap(spec.loader)
                return spec
        return None

    @staticmethod
    def wrap(loader):
        plain = loader.exec_module

        def exec_module(module):
            plain(module)
            module.connection.create_connection = connect
            # "is there something to read?" asks whether a pooled connection was closed: the host's pool knows that.
            module.wait_for_read = lambda *_, **__: False
        loader.exec_module = exec_module


def install():
    http.client.HTTPConnection.__init__ = http_init(http.client.HTTPConnection.__init__)
    sys.meta_path.insert(0, Urllib3)
