# SPDX-License-Identifier: Apache-2.0
"""urllib.request as scripts use it: what arrives, what is raised, in one text that is the same natively and inside."""
import hashlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

base = f"http://127.0.0.1:{sys.argv[1]}"


def attempt(name, call):
    try:
        print(name, call())
    except Exception as e:  # noqa: BLE001
        reason = getattr(e, "reason", None)
        print(name, type(e).__name__, type(reason).__name__ if isinstance(reason, BaseException) else reason, getattr(e, "code", "-"))


def get(path, *args, **named):
    with urllib.request.urlopen(base + path, *args, **named) as r:
        return r.status, r.reason, r.headers.get_content_type(), r.headers.get_content_charset(), r.read(300)


attempt("hello", lambda: get("/hello?" + urllib.parse.urlencode({"name": "größer & kleiner"})))
attempt("form", lambda: get("/echo", urllib.parse.urlencode({"a": 1, "b": "ü"}).encode()))
attempt("chunked", lambda: get("/chunked"))
attempt("until close", lambda: get("/untilclose"))
attempt("empty", lambda: get("/status/204"))
for status in (400, 401, 403, 404, 418, 500, 503, 599):
    attempt(f"status {status}", lambda s=status: get(f"/status/{s}"))
for status in (301, 302, 303, 307, 308):
    attempt(f"redirect {status}", lambda s=status: get(f"/redirect?status={s}&to=/hello"))
    attempt(f"redirect of POST {status}", lambda s=status: get(f"/redirect?status={s}&to=/echo", b"body"))
attempt("cut", lambda: urllib.request.urlopen(base + "/cut").read())
attempt("cut chunks", lambda: urllib.request.urlopen(base + "/cutchunks").read())
attempt("slow", lambda: get("/slow?s=3", timeout=0.2))
attempt("stall", lambda: urllib.request.urlopen(base + "/stall?s=3", timeout=0.2).read())
attempt("refused", lambda: urllib.request.urlopen("http://127.0.0.1:1/", timeout=5))
attempt("scheme", lambda: urllib.request.urlopen("nonsense://x/"))
attempt("control characters", lambda: get("/a b"))
try:
    get("/status/404")
except urllib.error.HTTPError as e:
    print(e.code, e.reason, e.headers["content-type"], e.read())

request = urllib.request.Request(base + "/echo", json.dumps({"n": [1, 2]}).encode(), {"Content-Type": "application/json", "X-One": "1"}, method="PATCH")
request.add_header("Cookie", "a=b; c=d")
with urllib.request.urlopen(request) as r:
    seen = json.load(r)
    print(seen["method"], seen["target"], seen["headers"], seen["size"], seen["sha256"])

digest, count = hashlib.sha256(), 0
with urllib.request.urlopen(base + "/big?n=3000000") as r:
    print(r.length, r.getheader("Content-Length"))
    while part := r.read(65536):
        digest.update(part)
        count += len(part)
print(count, digest.hexdigest())
with urllib.request.urlopen(base + "/events?n=4") as r:
    print([line.decode().strip() for line in r])

password = urllib.request.HTTPPasswordMgrWithDefaultRealm()
password.add_password(None, base, "user", "pass")
opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(password))
print(opener.open(base + "/secret").read())
saved, headers = urllib.request.urlretrieve(base + "/hello", "saved.txt")
print(saved, open(saved, encoding="utf-8").read(), headers["ETag"])
