# SPDX-License-Identifier: Apache-2.0
"""http.client, from its high-level request to every header by hand."""
import hashlib
import http.client
import io
import json
import sys

c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)


def show(r):
    body = r.read()
    print(r.status, r.reason, r.version, sorted(k.lower() for k, _ in r.getheaders() if k.lower() not in ("transfer-encoding", "connection")), len(body),
          hashlib.sha256(body).hexdigest()[:16])


def echo():
    seen = json.loads(c.getresponse().read())
    print(seen["method"], seen["target"], seen["headers"], seen["size"], seen["sha256"][:16])


for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"):
    c.request(method, "/echo?q=%20&r=1", None if method in ("GET", "OPTIONS") else b"b" * 10, {"X-Method": method})
    echo()
c.request("HEAD", "/big?n=12345")
show(c.getresponse())
c.request("GET", "/duplicates")
r = c.getresponse()
print(r.headers.get_all("Set-Cookie"), r.getheader("X-Thing"), r.getheader("none", "default"), r.msg is r.headers, r.read())
for body in (b"", "text", io.BytesIO(b"file" * 30000), iter([b"1", b"22", b"333"]), bytearray(b"array"), memoryview(b"view")):
    c.request("POST", "/echo", body)
    echo()
c.request("POST", "/echo", iter([b"one", b"two"]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
echo()
c.putrequest("PUT", "/echo", skip_accept_encoding=True)
c.putheader("X-Two", "a", )
c.putheader("X-Two", "b")
c.putheader("X-Bytes", b"\xe4")
c.putheader("Content-Length", "6")
c.endheaders(b"abc")
c.send(b"def")
echo()
c.request("GET", "/big?n=100000")
r = c.getresponse()
buffer = bytearray(1000)
print(r.readinto(buffer), r.read(5), r.peek(3)[:3] if hasattr(r, "peek") else "", len(r.read1(10)) > 0, r.isclosed(), r.closed)
rest = r.read()
print(len(rest), r.isclosed(), r.read())
c.request("GET", "/events?n=2")
r = c.getresponse()
print(r.readline(), r.readline(100), r.readlines())
for path in ("/cut", "/cutchunks"):
    c.close()
    c.request("GET", path)
    try:
        c.getresponse().read()
    except http.client.IncompleteRead as e:
        print(path, e.partial, e.expected)
for call in (lambda: c.getresponse(), lambda: c.putheader("a", "b"), lambda: c.request("GET", "/ü"), lambda: c.request("GET", "/x y"),
             lambda: c.request("GET", "/", headers={"A": "b\r\nC: d"})):
    c.close()
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    try:
        call()
        print("no error")
    except Exception as e:  # noqa: BLE001
        print(type(e).__name__, str(e).split(" (found")[0])
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
c.request("GET", "/hello")
r = c.getresponse()
c.close()
print(r.read())
