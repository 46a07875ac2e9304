# SPDX-License-Identifier: Apache-2.0
"""An HTTP origin on loopback for tests: `with Origin() as o: … o.port, o.url("/hello"), o.requests`.

It answers the same to everyone who asks the same, so that two clients can be compared: no date, no server name, no port in any
answer. Some of its answers are lies (a length that is not kept, an end that does not come). `o.requests` is what arrived, in
order: (method, target, headers in lower case, body).
"""

import hashlib
import http.server
import json
import threading
import time
import urllib.parse

PATTERN = bytes(range(256)) * 256  # 64 KiB
# Set by the client's own machinery; two clients differ in them and may.
MACHINERY = ("host", "connection", "user-agent", "accept", "accept-encoding", "accept-language", "sec-fetch-mode", "te", "transfer-encoding",
             "content-length")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True  # head and body are two writes

    def send_response(self, code, message=None):
        self.send_response_only(code, message)

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def read_body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in {"content_type": "text/plain; charset=utf-8", "content_length": len(body), **headers}.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    self.send_header(name.replace("_", "-").title(), str(one))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunks(self, parts, end=b"0\r\n\r\n", **headers):
        self.answer(200, content_length=None, transfer_encoding="chunked", **headers)
        for part in parts:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
        self.wfile.write(end)

    def any_method(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        where = url.path.strip("/").split("/")[0] or "root"
        if where == "early":  # answers before it has read anything
            self.answer(413, b"too large\n", connection="close")
            self.close_connection = True
            return
        body = self.read_body()
        self.server.origin.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        getattr(self, "at_" + where, self.at_unknown)(query, body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_PURGE = any_method

    def at_unknown(self, _query, _body):
        self.answer(404, b"not here\n")

    def at_hello(self, query, _body):
        self.answer(200, f"hello {query.get('name', 'world')}\n".encode(), etag='"one"')

    def at_echo(self, _query, body):
        headers = sorted((k.lower(), v) for k, v in self.headers.items() if k.lower() not in MACHINERY)
        seen = {"method": self.command, "target": self.path, "headers": headers, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        self.answer(200, json.dumps(seen).encode() + b"\n", content_type="application/json")

    def at_same(self, _query, body):
        self.answer(200, body, content_type=self.headers.get("content-type", "application/octet-stream"))

    def at_status(self, _query, _body):
        status = int(self.path.rsplit("/", 1)[1])
        bodiless = status in (204, 304)
        self.answer(status, b"" if bodiless else f"status {status}\n".encode(), content_length=None if bodiless else len(f"status {status}\n"))

    def at_duplicates(self, _query, _body):
        self.answer(200, b"two\n", set_cookie=["a=1; Path=/", "b=2; Path=/"], x_thing=["one", "two, three"])

    def at_chunked(self, query, _body):
        self.chunks([b"first\n", b"second\n", *[PATTERN] * int(query.get("n", 0)), b"last\n"])

    def at_big(self, query, _body):
        n = int(query["n"])
        self.answer(200, content_length=n)
        while n > 0 and self.command != "HEAD":
            self.wfile.write(PATTERN[:n])
            n -= len(PATTERN)

    def at_events(self, query, _body):
        self.chunks((f"id: {i}\ndata: event {i}\n\n".encode() for i in range(int(query.get("n", 5)))), content_type="text/event-stream")

    def at_redirect(self, query, _body):
        self.answer(int(query.get("status", 302)), b"elsewhere\n", location=query["to"])

    def at_slow(self, query, _body):
        time.sleep(float(query["s"]))
        self.answer(200, b"late\n")

    def at_stall(self, query, _body):
        self.answer(200, b"begin\n", content_length=1000)
        self.wfile.flush()
        time.sleep(float(query["s"]))
        self.close_connection = True

    def at_cut(self, _query, _body):
        self.answer(200, b"begin\n", content_length=1000)
        self.close_connection = True

    def at_cutchunks(self, _query, _body):
        self.chunks([b"begin\n"], end=b"")
        self.close_connection = True

    def at_untilclose(self, _query, _body):
        self.answer(200, b"until the end\n", content_length=None, connection="close")
        self.close_connection = True

    def at_nothing(self, _query, _body):
        self.close_connection = True

    def at_garbage(self, _query, _body):
        self.wfile.write(b"this is not HTTP\r\n\r\n")
        self.close_connection = True

    def at_secret(self, _query, _body):
        ok = self.headers.get("authorization") == "Basic dXNlcjpwYXNz"
        self.answer(200 if ok else 401, b"come in\n" if ok else b"who?\n", www_authenticate=None if ok else 'Basic realm="here"')


class Origin:
    """`tls`: an ssl.SSLContext for https. `host`: the name that url() uses. `handler`: one with more answers."""

    def __init__(self, host="127.0.0.1", tls=None, handler=Handler):
        self.host, self.tls, self.handler, self.requests = host, tls, handler, []

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.server.daemon_threads, self.server.origin = True, self
        self.server.handle_error = lambda *_: None
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def url(self, path="/"):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{path}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
