# SPDX-License-Identifier: Apache-2.0
"""Python scripts that speak HTTP run unchanged: http.client, urllib.request, ssl as far as it goes, what they catch; and the
grants that let them out: allowed, denied with the smallest grant, allowed with it pasted.

The origin (tests/lib/origin.py) is on loopback, which only an explicit `addresses` list lets anybody reach.
"""

import hashlib
import re
import ssl
import textwrap

from ambit import contains, equal, execute, lacks, run, write
from origin import PATTERN, Origin

SCRIPT = """
import hashlib, http.client, io, json, os, socket, ssl, sys, urllib.error, urllib.request
PORT = int(sys.argv[1])
BASE = f"http://127.0.0.1:{PORT}"
def attempt(name, f):
    try: print(name, f())
    except Exception as e:
        reason = getattr(e, "reason", None)
        print(name, type(e).__name__, type(reason).__name__ if isinstance(reason, Exception) else "-", e)
def get(path, *args, **kw):
    with urllib.request.urlopen(BASE + path, *args, **kw) as r: return r.status, r.reason, r.read()
"""


def grant(port, *more, methods='["*"]', scheme="http", host="127.0.0.1", addresses="[127.0.0.0/8]"):
    lines = ["version: 1", "grants:", f"  - http: {scheme}://{host}:{port}", f"    methods: {methods}"]
    if addresses:
        lines.append(f"    addresses: {addresses}")
    return "\n".join([*lines, *(f"    {m}" for m in more)]) + "\n"


def fetch(origin, code, *more, grants=None, args=(), rc=0, **named):
    """The script with its grant; `more` are lines of the http grant."""
    write("script.py", SCRIPT + textwrap.dedent(code))
    write("policy.yaml", grants if grants is not None else grant(origin.port, *more, **named))
    return run("run", "-q", "--grants", "policy.yaml", *args, "script.py", origin.port, rc=rc)


def test_urllib():
    with Origin() as o:
        result = fetch(o, """
            r = urllib.request.urlopen(BASE + "/hello?name=%C3%BC")
            print(r.status, r.reason, r.read().decode().strip(), r.headers.get_content_type(), r.headers["ETag"], r.url == BASE + "/hello?name=%C3%BC")
            attempt("missing", lambda: get("/none"))
            attempt("500", lambda: get("/status/500"))
            attempt("204", lambda: get("/status/204"))
            attempt("redirect", lambda: get("/redirect?to=/hello"))
            attempt("there and back", lambda: get("/redirect?to=/redirect%3Fto%3D/hello"))
            seen = json.loads(get("/echo", b"x" * 200000)[2]); print(seen["method"], seen["size"], seen["headers"])
            q = urllib.request.Request(BASE + "/echo", json.dumps([1]).encode(), {"Content-Type": "application/json", "X-A": "b c"}, method="PUT")
            seen = json.loads(urllib.request.urlopen(q).read()); print(seen["method"], seen["size"], seen["headers"])
            handler = urllib.request.HTTPBasicAuthHandler()
            handler.add_password("here", BASE, "user", "pass")
            print(urllib.request.build_opener(handler).open(BASE + "/secret").read())
        """)
    lines = result.out.splitlines()
    equal(lines[0], "200 OK hello ü text/plain \"one\" True", repr(result))
    equal(lines[1:6], ["missing HTTPError - HTTP Error 404: Not Found", "500 HTTPError - HTTP Error 500: Internal Server Error",
                       "204 (204, 'No Content', b'')", "redirect (200, 'OK', b'hello world\\n')", "there and back (200, 'OK', b'hello world\\n')"])
    equal(lines[6:9], ["POST 200000 [['content-type', 'application/x-www-form-urlencoded']]", "PUT 3 [['content-type', 'application/json'], ['x-a', 'b c']]",
                        "b'come in\\n'"], repr(result))


def test_http_client():
    with Origin() as o:
        result = fetch(o, """
            c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
            c.request("GET", "/duplicates", headers={"X-A": "1"})
            r = c.getresponse(); print(r.status, r.reason, r.version, r.headers.get_all("set-cookie"), r.getheader("X-Thing"), r.read())
            c.putrequest("PUT", "/echo"); c.putheader("X-B", "1", "2"); c.putheader("X-C", "a"); c.putheader("X-C", "b")
            c.putheader("Transfer-Encoding", "chunked"); c.endheaders(iter([b"ab", b"cd" * 1000]), encode_chunked=True)
            s = json.loads(c.getresponse().read()); print(s["method"], s["size"], s["headers"])
            c.request("POST", "/same", io.BytesIO(b"file" * 50000)); r = c.getresponse(); b = bytearray(10)
            print(r.readinto(b), bytes(b), r.read(3), len(r.read1(4)), len(r.read()) > 199000, r.isclosed())
            c.request("PURGE", "/echo", iter([b"1", b"22"])); print(json.loads(c.getresponse().read())["size"])
            c.request("HEAD", "/big?n=1000"); r = c.getresponse(); print(r.getheader("content-length"), r.read())
            c.request("GET", "/events?n=3"); print([l for l in c.getresponse()][1::3])
            c.request("GET", "/hello"); r = c.getresponse(); print(r.readline(), r.read())
            c.set_debuglevel(1); c.request("GET", "/hello"); c.getresponse().read(); c.close()
            for body in (b"", "text", None, ["a", "b"]):
                try: c.request("POST", "/echo", body)
                except Exception as e: print(type(e).__name__); continue
                print(json.loads(c.getresponse().read())["size"])
            attempt("state", lambda: (c.request("GET", "/hello"), c.request("GET", "/hello")))
            attempt("header", lambda: http.client.HTTPConnection("127.0.0.1", PORT).request("GET", "/", headers={"X": "a\\nb"}))
        """)
    lines = result.out.splitlines()
    equal(lines[:7], ["200 OK 11 ['a=1; Path=/', 'b=2; Path=/'] one, two, three b'two\\n'", "PUT 2002 [['x-b', '1 2'], ['x-c', 'a'], ['x-c', 'b']]",
                      "10 b'filefilefi' b'lef' 4 True True", "3", "1000 b''", "[b'data: event 0\\n', b'data: event 1\\n', b'data: event 2\\n']",
                      "b'hello world\\n' b''"], repr(result))
    contains(result.out, "send: b'GET /hello HTTP/1.1", "debug output is http.client's own")
    contains(result.out, "reply: 'HTTP/1.1 200 OK")
    contains(result.out, "header ValueError - Invalid header value")


def test_large_bodies_both_ways():
    size = 20_000_000
    with Origin() as o:
        result = fetch(o, f"""
            r = urllib.request.urlopen(BASE + "/big?n={size}"); h = hashlib.sha256(); n = 0
            while d := r.read(100000): h.update(d); n += len(d)
            print(n, h.hexdigest()[:16])
            def body():
                for _ in range(50): yield b"y" * 100000
            c = http.client.HTTPConnection("127.0.0.1", PORT); c.request("POST", "/echo", body())
            print(json.loads(c.getresponse().read())["size"])
        """)
    wanted = hashlib.sha256((PATTERN * (size // len(PATTERN) + 1))[:size]).hexdigest()[:16]
    equal(result.out.splitlines(), [f"{size} {wanted}", "5000000"], repr(result))


def test_what_scripts_catch():
    with Origin() as o:
        result = fetch(o, """
            attempt("cut", lambda: get("/cut"))
            attempt("cutchunks", lambda: get("/cutchunks"))
            attempt("nothing", lambda: get("/nothing"))
            attempt("garbage", lambda: get("/garbage"))
            attempt("slow", lambda: get("/slow?s=5", timeout=0.3))
            attempt("stall", lambda: get("/stall?s=5", timeout=0.3))
            socket.setdefaulttimeout(0.3)
            attempt("default", lambda: get("/slow?s=5"))
            attempt("socket", lambda: socket.socket())
            attempt("proxy", lambda: urllib.request.build_opener(urllib.request.ProxyHandler({"http": BASE})).open("http://example.org/"))
            attempt("host", lambda: urllib.request.urlopen(urllib.request.Request(BASE + "/", headers={"Host": "other.example"})))
            attempt("upgrade", lambda: urllib.request.urlopen(urllib.request.Request(BASE + "/", headers={"Upgrade": "websocket"})))
        """)
    found = {line.split(" ")[0]: line.split(" ", 3)[1:] for line in result.out.splitlines() if line}
    equal(found["cut"][0], "IncompleteRead", repr(result))
    contains(" ".join(found["cut"]), "6 bytes read, 994 more expected")
    equal(found["cutchunks"][0], "IncompleteRead", repr(result))
    assert found["nothing"][0] in ("RemoteDisconnected", "BadStatusLine"), result
    assert found["garbage"][0] in ("RemoteDisconnected", "BadStatusLine"), result
    for name in ("slow", "stall", "default"):
        equal(found[name], ["TimeoutError", "-", "timed out"], repr(result))
    equal(found["socket"][0], "PermissionError", repr(result))
    for name in ("proxy", "host", "upgrade"):
        equal(found[name][:2], ["URLError", "OSError"], repr(result))
        contains(found[name][2], "not in Ambit's sandbox")


def closed_port():
    with Origin() as o:
        return o.port


def test_refused_connections_and_unknown_names():
    port = closed_port()
    with Origin() as o:
        result = fetch(o, f"""
            attempt("urllib", lambda: urllib.request.urlopen("http://127.0.0.1:{port}/", timeout=5))
            attempt("client", lambda: http.client.HTTPConnection("127.0.0.1", {port}).request("GET", "/"))
        """, grants=grant(port))
        equal([line.split(" ")[:3] for line in result.out.splitlines()],
              [["urllib", "URLError", "ConnectionRefusedError"], ["client", "ConnectionRefusedError", "-"]], repr(result))
        result = fetch(o, """
            attempt("name", lambda: urllib.request.urlopen("http://nowhere.invalid/", timeout=20))
        """, grants="version: 1\ngrants:\n  - http: http://nowhere.invalid\n")
        equal(result.out.split(" ")[:3], ["name", "URLError", "gaierror"], repr(result))


def test_denied_then_allowed_by_the_grant_it_prints():
    code = """
        try: print(get("/hello?name=x"))
        except urllib.error.URLError as e:
            print(isinstance(e.reason, PermissionError), e.reason.errno == __import__("errno").EACCES, e)
            sys.exit(3)
    """
    with Origin() as o:
        write("script.py", SCRIPT + textwrap.dedent(code))
        denied = run("run", "script.py", o.port, rc=3)
        contains(denied.out, f"True True <urlopen error [Errno 2] denied by Ambit: no http grant of this run allows GET http://127.0.0.1:{o.port}/hello")
        equal(o.requests, [], "nothing may reach the server")
        denial = denied.events_of("denial")[-1]
        equal(denial["class"], "http", repr(denied))
        smallest = denial["smallest_grant"]
        contains(smallest, f"http://127.0.0.1:{o.port}", repr(denied))
        lacks(smallest, "POST")
        policy = write("pasted.yaml", smallest if smallest.startswith("version") else "version: 1\ngrants:\n" + textwrap.indent(smallest, "  "))
        result = run("run", "-q", "--grants", policy, "script.py", o.port)
        if result.rc == 3:  # the address is decided after the name: its own denial, with a grant that says so
            denial = result.events_of("denial")[-1]
            smallest = denial["smallest_grant"]
            contains(smallest, "addresses", repr(result))
            equal(o.requests, [])
            write("pasted.yaml", smallest if smallest.startswith("version") else "version: 1\ngrants:\n" + textwrap.indent(smallest, "  "))
            result = run("run", "-q", "--grants", policy, "script.py", o.port)
        equal((result.rc, result.out), (0, "(200, 'OK', b'hello x\\n')\n"), repr(result))
        equal(len(o.requests), 1)


def test_method_path_and_port_are_decided():
    with Origin() as o, Origin() as other:
        result = fetch(o, f"""
            attempt("get", lambda: get("/hello/a"))
            attempt("post", lambda: get("/hello/a", b"x"))
            attempt("path", lambda: get("/echo"))
            attempt("dots", lambda: get("/hello/../echo"))
            attempt("escape", lambda: get("/hello/%2e%2e/echo"))
            attempt("port", lambda: urllib.request.urlopen("http://127.0.0.1:{other.port}/hello/a"))
            attempt("name", lambda: urllib.request.urlopen(f"http://localhost:{{PORT}}/hello/a"))
            attempt("scheme", lambda: urllib.request.urlopen(f"https://127.0.0.1:{{PORT}}/hello/a"))
        """, "paths: [/hello/**]", methods="[GET]")
        words = [line.split(" ")[:3] for line in result.out.splitlines()]
        equal(words[0][:2], ["get", "(200,"], repr(result))
        for name, kind, reason in words[1:]:
            equal((kind, reason), ("URLError", "PermissionError"), f"{name}: {result!r}")
        equal([r[:2] for r in o.requests], [("GET", "/hello/a")], repr(result))
        equal(other.requests, [])


def test_a_redirect_is_a_request_of_its_own():
    with Origin() as o, Origin() as other:
        result = fetch(o, f"""
            attempt("inside", lambda: get("/redirect?to=/hello"))
            attempt("outside", lambda: get("/redirect?to=http://127.0.0.1:{other.port}/hello"))
        """)
        lines = result.out.splitlines()
        contains(lines[0], "hello world", repr(result))
        equal(lines[1].split(" ")[:3], ["outside", "URLError", "PermissionError"], repr(result))
        contains(lines[1], f"denied by Ambit: no http grant of this run allows GET http://127.0.0.1:{other.port}/hello")
        equal(other.requests, [])


def test_the_grant_sets_headers_that_the_script_never_sees():
    with Origin() as o:
        result = fetch(o, """
            print(get("/secret"))
        """, "set_headers: { authorization: Basic dXNlcjpwYXNz }")
        equal(result.out, "(200, 'OK', b'come in\\n')\n", repr(result))


def test_verification_cannot_be_turned_off():
    with Origin() as o:
        result = fetch(o, """
            attempt("unverified", lambda: ssl._create_unverified_context())
            c = ssl.create_default_context()
            attempt("hostname", lambda: setattr(c, "check_hostname", False))
            attempt("mode", lambda: setattr(c, "verify_mode", ssl.CERT_NONE))
            attempt("authority", lambda: c.load_verify_locations(cadata="x"))
            attempt("key", lambda: c.load_cert_chain("x"))
            attempt("server", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            attempt("socket", lambda: c.wrap_socket(io.BytesIO()))
            print(c.check_hostname, c.verify_mode.name, issubclass(ssl.SSLCertVerificationError, ssl.SSLError))
        """)
    lines = result.out.splitlines()
    equal([line.split(" ")[1] for line in lines[:7]], ["SSLError"] * 7, repr(result))
    equal(lines[7], "True CERT_REQUIRED True")


def certificate():
    execute(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", "key.pem",
             "-out", "cert.pem", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    return context


def test_https_with_a_certificate_nobody_signed():
    with Origin(tls=certificate()) as o:
        result = fetch(o, """
            attempt("https", lambda: urllib.request.urlopen(f"https://127.0.0.1:{PORT}/hello", timeout=10))
        """, scheme="https")
        equal(result.out.split(" ")[:3], ["https", "URLError", "SSLCertVerificationError"], repr(result))
        contains(result.out, "CERTIFICATE_VERIFY_FAILED")
        equal(o.requests, [])
    with Origin() as o:
        result = fetch(o, """
            attempt("https", lambda: urllib.request.urlopen(f"https://127.0.0.1:{PORT}/hello", timeout=10))
        """, scheme="https")
        equal(result.out.split(" ")[:3], ["https", "URLError", "SSLError"], repr(result))


def test_asyncio_with_requests():
    with Origin() as o:
        result = fetch(o, """
            import asyncio
            async def one(n):
                await asyncio.sleep(0.01 * n)
                return (await asyncio.to_thread(get, f"/hello?name={n}"))[2]
            async def main():
                print(await asyncio.gather(one(3), one(1), one(2)))
                try: await asyncio.wait_for(asyncio.sleep(9), 0.05)
                except TimeoutError: print("in time")
            asyncio.run(main())
        """)
        equal(result.out, "[b'hello 3\\n', b'hello 1\\n', b'hello 2\\n']\nin time\n", repr(result))
        equal([re.search(r"\d", r[1])[0] for r in o.requests], ["1", "2", "3"])


def test_a_script_that_leaves_everything_open():
    with Origin() as o:
        result = fetch(o, """
            kept = [urllib.request.urlopen(BASE + "/big?n=1000000") for _ in range(5)]
            c = http.client.HTTPConnection("127.0.0.1", PORT); c.putrequest("POST", "/echo"); c.putheader("Content-Length", "10"); c.endheaders(); c.send(b"12")
            kept.append(c); print(kept[0].read(5))
            class Cycle: pass
            x = Cycle(); x.x, x.r = x, urllib.request.urlopen(BASE + "/big?n=1000000"); del x
        """)
        equal((result.out, result.err), ("b'\\x00\\x01\\x02\\x03\\x04'\n", ""), repr(result))
