# SPDX-License-Identifier: Apache-2.0
"""Short-lived credentials: from a key in the vault by a token server to an origin that checks, and token servers that lie. The
long-lived key leaves keeper for nobody but, where OAuth 2 wants it, the token server."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import ambit
from ambit import allow_missing, contains, equal, lacks, place, run, script
from egress import Authority, Raw
from serving import rooms
from token_servers import ACCESS_KEY, APP, CLIENT, INSTALLATION, AppKey, TokenServer

CLIENT_SECRET = "s+cret/of:the=client%20"
ACCESS_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ASK = """
import sys, urllib.request
for line in sys.argv[1:]:
    method, url, size = line.split(" ")
    q = urllib.request.Request(url, data=b"x" * int(size) if size != "-" else None, method=method, headers={"x-amz-meta-note": "a   b"})
    try:
        with urllib.request.urlopen(q, timeout=60) as r:
            print(r.status, r.read().decode(), end="")
    except urllib.error.HTTPError as e:
        print(e.code, e.read().decode())
    except Exception as e:
        print("failed", e)
"""


def put(env, kind, value, rc=0, **settings):
    """`ambit secret set`; the token servers of these tests are on loopback."""
    words = [f"--set={key}={text}" for key, text in settings.items()]
    r = run("secret", "set", "minted", "--kind", kind, *words, *allow_missing(), env=env, stdin=value)
    assert r.rc == rc, repr(r)
    return r


def flags(authority, port, signs=False):
    header = "=authorization: ${secret}" if signs else ""  # a signature is a header of its own; else: Bearer ${secret}
    return ["--ca", str(authority.ca), "--net", f"GET,POST,PUT https://127.0.0.1:{port}/**", "--secret", f"minted@127.0.0.1:{port}{header}"]


def asked(env, authority, server, *lines, **options):
    return run("run", *flags(authority, server.port, bool(server.keys)), script(ASK), *lines, env=env, timeout=120, **options)


def memory_of(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            with contextlib.suppress(OSError, OverflowError, ValueError):
                if "w" in rights:
                    for at in range(start, end, 1 << 24):
                        memory.seek(at)
                        yield memory.read(min(end - at, (1 << 24) + 4096))


def used_servers(r):
    """How often a token server was asked, by the receipt."""
    return len([e for e in r.events_of("http.request") if e.get("for") == "keeper"])


# ---- tokens ----

def test_github_app():
    env, a = place(guests=True), Authority("authority")
    key = AppKey("key")
    with TokenServer(a.context(["127.0.0.1"]), app_key=key) as s:
        put(env, "github-app", key.pem, app_id=APP, installation_id=INSTALLATION, url=s.url("/"), addresses="127.0.0.0/8", repositories="shop, api", permissions="contents: read, issues: write")
        r = asked(env, a, s, *[f"GET {s.url('/api/x')} -"] * 3, rc=0)
        equal(r.out, "200 known\n" * 3)
        equal(s.faults, [])
        equal(s.bodies, [{"repositories": ["shop", "api"], "permissions": {"contents": "read", "issues": "write"}}])  # one for the run
        equal(used_servers(r), 1)
        record, = [e for e in r.events_of("http.request") if e.get("for") == "keeper"]
        contains(record["url"], f"/app/installations/{INSTALLATION}/access_tokens")
        for text in (r.out, r.err, pathlib.Path(r.receipt).read_text()):
            lacks(text, s.tokens[0])
        r = asked(env, a, s, f"GET {s.url('/api/x')} -", rc=0)
        equal(len(s.tokens), 2, "a token is of one run")


def test_the_key_stays():
    """In the memory of no room but keeper's, while its token is used."""
    if os.geteuid() != 0:
        return  # only root reads the memory of a room
    env, a = place(guests=True), Authority("authority")
    key = AppKey("key")
    needle = key.pem.splitlines()[5]  # 64 bytes of base64
    der = subprocess.run(["openssl", "rsa", "-in", key.file, "-outform", "DER"], capture_output=True, check=True).stdout
    prime = der[-600:][:64]  # of its private numbers, as a decoded key holds them, this way round
    seen = {}

    def answer(_heard):
        for role, pids in rooms(process.pid).items():
            found = seen.setdefault(role, set())
            for pid in pids:
                for block in memory_of(pid):
                    found |= {name for name, bytes_ in (("pem", needle), ("der", prime)) if bytes_ in block}
        seen.setdefault("control", set()).update("pem" for block in memory_of(process.pid) if needle in block)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nknown\n"

    with TokenServer(a.context(["127.0.0.1"]), app_key=key) as s, Raw(answer, context=a.context(["127.0.0.1"])) as o:
        put(env, "github-app", key.pem, app_id=APP, installation_id=INSTALLATION, url=f"https://127.0.0.1:{s.port}", addresses="127.0.0.1")
        command = [str(ambit.AMBIT), "run", *allow_missing(), *flags(a, o.port), script(ASK), f"GET {o.url('/', scheme='https')} -"]
        process = subprocess.Popen([str(c) for c in command], env=ambit.environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=300)
        equal(out, b"200 known\n", err)
        contains(o.heard[0].decode(), f"authorization: Bearer {s.tokens[0]}\r\n")
    assert "pem" in seen["keeper"], "the control: the search finds it where it is"
    equal({role: found for role, found in seen.items() if role != "keeper"}, {"control": set(), "egress": set(), "worker": set()})


def test_oauth():
    env, a = place(guests=True), Authority("authority")
    with TokenServer(a.context(["127.0.0.1"]), client_secret=CLIENT_SECRET) as s:
        put(env, "oauth-client", CLIENT_SECRET, token_url=s.url("/token"), client_id=CLIENT, scope="read write", addresses="127.0.0.0/8")
        r = asked(env, a, s, *[f"GET {s.url('/api/x')} -"] * 2, rc=0)
        equal((r.out, s.faults, used_servers(r)), ("200 known\n" * 2, [], 1))
        equal(s.bodies, [{"grant_type": "client_credentials", "scope": "read write"}])
        lacks(r.err + r.out + pathlib.Path(r.receipt).read_text(), CLIENT_SECRET)
    with TokenServer(a.context(["127.0.0.1"]), client_secret=CLIENT_SECRET) as s:
        put(env, "oauth-exchange", CLIENT_SECRET, token_url=s.url("/token"), audience="https://api.test/", addresses="127.0.0.0/8")
        r = asked(env, a, s, f"GET {s.url('/api/x')} -", rc=0)
        equal((r.out, s.faults), ("200 known\n", []))
        equal(s.bodies[0]["audience"], "https://api.test/")


def test_a_token_that_ends():
    """One that ends within a minute is made again, and no more often than keeper's pause allows."""
    env, a = place(guests=True), Authority("authority")
    with TokenServer(a.context(["127.0.0.1"]), client_secret=CLIENT_SECRET, expires_in=30) as s:
        put(env, "oauth-client", CLIENT_SECRET, token_url=s.url("/token"), client_id=CLIENT, addresses="127.0.0.0/8")
        r = asked(env, a, s, *[f"GET {s.url('/api/x')} -"] * 4, rc=0)
        equal((r.out, s.faults), ("200 known\n" * 4, []))
        assert 1 <= len(s.tokens) <= 4, s.tokens


# ---- signatures ----

def test_aws_s3():
    env, a = place(guests=True), Authority("authority")
    with TokenServer(a.context(["127.0.0.1"]), access_secret=ACCESS_SECRET) as s:
        put(env, "aws", f"{ACCESS_KEY} {ACCESS_SECRET}", region="us-east-1", service="s3")
        lines = [f"{method} {s.url('/signed' + target)} {size}" for method, target, size in (
            ("GET", "/k", "-"), ("GET", "/a%20b/c+d/%C3%A9~$&'()*,;=:@!", "-"), ("GET", "/k//l%2Fm?list-type=2&prefix=a%2Fb&x&delimiter=/", "-"),
            ("PUT", "/k", "0"), ("PUT", "/k", "5"), ("PUT", "/large", "600000"))]
        r = asked(env, a, s, *lines, rc=0)
        equal(s.faults, [])
        equal(r.out, "".join(f"200 signed for {m} {n}\n" for m, n in (("GET", 0),) * 3 + (("PUT", 0), ("PUT", 5), ("PUT", 600000))))
        lacks(r.out + r.err + pathlib.Path(r.receipt).read_text(), ACCESS_SECRET)
        r = run("run", *flags(a, s.port), script(ASK), lines[0], env=env, rc=0)  # "Bearer ", by default
        assert r.out.startswith("failed "), r.out
        contains(json.dumps(r.events), "alone into it")
        # The control: with another key the origin refuses.
        s.keys[ACCESS_KEY] = (ACCESS_SECRET[::-1], None)
        contains(asked(env, a, s, lines[0], rc=0).out, "403 ")


def test_aws_bodies():
    """Any other service wants the digest of the body: up to 256 KiB of a known length."""
    env, a = place(guests=True), Authority("authority")
    with TokenServer(a.context(["127.0.0.1"]), access_secret=ACCESS_SECRET, service="sqs") as s:
        put(env, "aws", f"{ACCESS_KEY} {ACCESS_SECRET}", region="eu-west-1", service="sqs")
        r = asked(env, a, s, *(f"POST {s.url('/signed/q')} {n}" for n in (0, 1, 262144)), f"GET {s.url('/signed/a//b?b=2&a=1+1')} -", rc=0)
        equal(s.faults, [])
        equal(r.out, "".join(f"200 signed for POST {n}\n" for n in (0, 1, 262144)) + "200 signed for GET 0\n")
        before = len(s.requests)
        r = asked(env, a, s, f"POST {s.url('/signed/q')} 262145")
        assert r.out.startswith("failed "), r.out
        equal(len(s.requests), before)
        contains(json.dumps(r.events), "too long to be signed")


def test_aws_role():
    env, a = place(guests=True), Authority("authority")
    with TokenServer(a.context(["127.0.0.1"]), access_secret=ACCESS_SECRET) as s:
        put(env, "aws-role", f"{ACCESS_KEY} {ACCESS_SECRET}", region="us-east-1", service="s3", role_arn="arn:aws:iam::123456789012:role/reader",
            url=s.url("/"), external_id="an id", addresses="127.0.0.0/8")
        r = asked(env, a, s, f"GET {s.url('/signed/k')} -", f"PUT {s.url('/signed/k')} 7", rc=0)
        equal(s.faults, [])
        equal(r.out, "200 signed for GET 0\n200 signed for PUT 7\n")
        equal([(b["RoleArn"], b["ExternalId"]) for b in s.bodies], [("arn:aws:iam::123456789012:role/reader", "an id")])
        for value in (ACCESS_SECRET, *s.tokens):
            lacks(r.out + r.err + pathlib.Path(r.receipt).read_text(), value)


# ---- token servers that lie ----

def reply(body, status="200 OK", headers=b""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s" % (status.encode(), len(body), headers, body)


GOOD = {"access_token": "a-token-that-is-good-enough", "expires_in": 600}


def refused(env, a, server_url, why, addresses="127.0.0.0/8"):
    """The guest's request is refused, with a reason; the origin hears nothing of it, and nobody a value."""
    put(env, "oauth-client", CLIENT_SECRET, token_url=server_url, client_id="me", **({"addresses": addresses} if addresses else {}))
    with Raw(reply(b"never"), context=a.context(["127.0.0.1"])) as o:
        r = run("run", *flags(a, o.port), script(ASK), f"GET {o.url('/', scheme='https')} -", env=env, timeout=120)
        equal(o.heard, [])
    assert r.out.startswith("failed "), r.out
    contains(json.dumps(r.events), why)
    lacks(r.out + r.err + pathlib.Path(r.receipt).read_text(), CLIENT_SECRET)
    return r


def each_is_refused(env, a, answers):
    for answer, why in answers:
        with Raw(answer, context=a.context(["127.0.0.1"])) as s:
            r = refused(env, a, s.url("/token", scheme="https"), why)
            equal(len(s.heard), 1, answer[:80])
            for shown in ("guess-who-repeats-this", "a-token-", "x-more"):
                lacks(r.out + r.err + pathlib.Path(r.receipt).read_text(), shown)


def test_hostile_answers():
    env, a = place(guests=True), Authority("authority")
    with Raw(reply(GOOD)) as elsewhere:
        answers = [
            (reply(b"", "302 Found", f"Location: {elsewhere.url('/token')}\r\n".encode()), "answered 302: no redirect is followed"),
            (reply(b"", "307 Temporary Redirect", f"Location: {elsewhere.url('/token')}\r\n".encode()), "answered 307"),
            (reply({"error": "invalid_client", "error_description": "guess-who-repeats-this"}, "401 Unauthorized"), "answered 401 (invalid_client)"),
            (reply({"error": "guess-who-repeats-this"}, "400 Bad Request"), "answered 400"),
            (reply(b"guess-who-repeats-this", "500 Internal Server Error"), "answered 500"),
            (reply(b"x" * (10 << 20)), "longer than 64 KiB"),
            (reply(b"{not json"), "not JSON"),
            (reply(b""), "not JSON"),
            (reply(b"[" * 60000), "not JSON"),
            (reply(b'{"access_token":"a-token-that-is-good-enough","access_token":"another-token-of-them"}'), "not JSON"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{", "token server failed"),
            (b"nothing that is HTTP\r\n\r\n", "token server failed"),
            (b"", "token server failed"),
        ]
        each_is_refused(env, a, answers)
        equal(elsewhere.heard, [])


def test_hostile_tokens():
    env, a = place(guests=True), Authority("authority")
    each_is_refused(env, a, [
        (reply([]), "no token"),
        (reply({}), "no token"),
        (reply({**GOOD, "access_token": "fifteen-bytes-x"}), "no token"),
        (reply({**GOOD, "access_token": "a-token-with\r\nx-more: header"}), "no token"),
        (reply({**GOOD, "access_token": "a-token-with\0nothing-in-it"}), "not JSON"),
        (reply({**GOOD, "access_token": "a-token-with-ünicode"}), "no token"),
        (reply({**GOOD, "access_token": "x" * 4097}), "no token"),
        (reply({**GOOD, "access_token": 1234567890123456}), "no token"),
        (reply({**GOOD, "expires_in": -1}), "ended"),
        (reply({**GOOD, "expires_in": 0}), "ended"),
        (reply({**GOOD, "expires_in": "soon"}), "ended"),
        (reply({**GOOD, "expires_in": 1.5}), "ended"),
    ])
    # The control: the same server, without a lie; and a life that no clock holds.
    for good in (GOOD, {**GOOD, "expires_in": 1 << 62}, {**GOOD, "expires_in": "9" * 40}):
        with Raw(reply(good), context=a.context(["127.0.0.1"])) as s, Raw(reply(b"taken"), context=a.context(["127.0.0.1"])) as o:
            put(env, "oauth-client", CLIENT_SECRET, token_url=s.url("/token", scheme="https"), client_id="me", addresses="127.0.0.1")
            r = run("run", *flags(a, o.port), script(ASK), f"GET {o.url('/', scheme='https')} -", env=env, rc=0)
            contains(r.out, "200 taken")
            contains(o.heard[0].decode(), f"authorization: Bearer {GOOD['access_token']}\r\n")


def test_certificates():
    env, a = place(guests=True), Authority("authority")
    for context in (a.context(["127.0.0.1"], self_signed=True), a.context(["127.0.0.2"]), a.context(["127.0.0.1"], days=-1)):
        with Raw(reply(GOOD), context=context) as s:
            refused(env, a, s.url("/token", scheme="https"), "certificate is not one that is trusted")
            equal([h for h in s.heard if h], [])


def test_addresses():
    """A token server that is not global: where the settings name its network, and nowhere else."""
    env, a = place(guests=True), Authority("authority")
    with Raw(reply(GOOD), context=a.context(["127.0.0.1", "localhost"])) as s:
        for host, addresses in (("127.0.0.1", None), ("127.0.0.1", "10.0.0.0/8, ::1"), ("localhost", None)):
            refused(env, a, s.url("/token", host=host, scheme="https"), "neither global nor among", addresses=addresses)
        refused(env, a, "https://169.254.169.254/token", "neither global nor among", addresses="169.254.0.0/16, 0.0.0.0/0")
        refused(env, a, "https://[::ffff:127.0.0.1]/token", "neither global nor among", addresses="::/0")
        equal(s.heard, [])


def test_negative_control_of_the_way_there():
    """With one defence left open each, the token comes from where it must not."""
    env, a = place(guests=True), Authority("authority")
    for skip, context, addresses in (("egress-tls", a.context(["127.0.0.1"], self_signed=True), "127.0.0.0/8"),
                                     ("egress-address", a.context(["127.0.0.1"]), None)):
        with Raw(reply(GOOD), context=context) as s, Raw(reply(b"taken"), context=a.context(["127.0.0.1"])) as o:
            more = {"addresses": addresses} if addresses else {}
            put(env, "oauth-client", CLIENT_SECRET, token_url=s.url("/token", scheme="https"), client_id="me", **more)
            r = run("run", *flags(a, o.port), script(ASK), f"GET {o.url('/', scheme='https')} -", env=env, skip=skip, rc=0)
            contains(r.out, "200 taken")


def test_a_silent_server():
    env, a = place(guests=True), Authority("authority")
    with Raw(b"HTTP/1.1 200 OK\r\n", after="hold", context=a.context(["127.0.0.1"])) as s:
        refused(env, a, s.url("/token", scheme="https"), "did not answer in 20 seconds")


# ---- what cannot be set ----

def test_settings():
    env = place(guests=True)
    key = AppKey("key", bits=1024)
    for kind, value, settings, why in (
            ("oauth-client", CLIENT_SECRET, {"client_id": "me"}, "needs the setting \"token_url\""),
            ("oauth-client", CLIENT_SECRET, {"client_id": "me", "token_url": "http://id.test/"}, "https"),
            ("oauth-client", CLIENT_SECRET, {"client_id": "me", "token_url": "https://id.test/", "redirect": "x"}, "no setting \"redirect\""),
            ("plain", CLIENT_SECRET, {"url": "x"}, "no setting \"url\""),
            ("github-app", key.pem, {"app_id": APP, "installation_id": INSTALLATION}, "2048 bits"),
            ("github-app", b"not a key, whatever it says", {"app_id": APP, "installation_id": INSTALLATION}, "private key"),
            ("aws", ACCESS_SECRET, {"region": "r", "service": "s3"}, "access key"),
            ("aws-role", f"{ACCESS_KEY} {ACCESS_SECRET}", {"region": "r", "service": "s3"}, "role_arn")):
        r = put(env, kind, value, rc=121, **settings)
        contains(r.err, why)
        lacks(r.err, ACCESS_SECRET)
        lacks(r.err, CLIENT_SECRET)
