# SPDX-License-Identifier: Apache-2.0
"""Requests of guests, from `--net` to the receipt: what a script asks for, what it gets, what is told. What egress does against hostile
origins by itself is in tests/hostile/test_http_out.py.
"""

import json
import os

from ambit import contains, equal, lacks, run, script, wat, write
from egress import Authority, Dns, Raw
from test_docs import holds, receipt_schema

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
FETCH = """
import sys, urllib.request
for url in sys.argv[1:]:
    try:
        r = urllib.request.urlopen(url, timeout=10)
        print(r.status, r.read().decode())
    except Exception as e:
        print("failed", e)
"""


def grants(*items):
    return write("grants.json", json.dumps({"version": 1, "grants": list(items)}))


def http(origin, **more):
    return {"http": origin, "addresses": ["127.0.0.0/8"], **more}


def test_receipt():
    with Raw(OK) as o:
        r = run("run", "-g", grants(http(o.url()[:-1], paths=["/a/**"], set_headers={"x-key": "a secret"})), script(FETCH), o.url("/a/b?token=x"),
                o.url("/b"), rc=0)
        equal(r.out.splitlines()[0], "200 hello")
        contains(r.out, "failed")
        contains(o.heard[0].decode(), "x-key: a secret")
        equal(len(o.heard), 1)
        request, = r.events_of("http.request")
        response, = r.events_of("http.response")
        equal((request["method"], request["url"], request["addresses"], request["rule"]), ("GET", o.url("/a/b"), ["127.0.0.1"], 0))
        equal((response["status"], response["bytes_received"], response["number"]), (200, 5, request["number"]))
        use, = [e for e in r.events_of("use") if e["observed_by"] == "egress"]
        equal((use["rule"], use["count"], use["bytes_read"]), (0, 1, 5))
        denial, = r.events_of("denial")
        equal(denial["class"], "http")
        lacks("\n".join(map(json.dumps, r.events)), "a secret")
        lacks(json.dumps([request, response]), "token=x")
        contains(r.err, f"used {o.url()[:-1]} 1×")
        holds(r, receipt_schema())


def test_the_proposal_works():
    """What the denial of an address proposes makes exactly that request succeed."""
    with Dns({"inner.test": ["127.0.0.1"]}) as d, Raw(OK) as o:
        guest, x, y = script(FETCH), o.url("/x", host="inner.test"), o.url("/y", host="inner.test")
        r = run("run", "--resolver", d.at, "--net", f"GET {x}", "--learn", "needs.yaml", guest, x)
        contains(r.out, "failed")
        denial, = r.events_of("denial")
        equal(denial["reason"], "no-address")
        contains(r.err, "127.0.0.1")
        equal(o.heard, [])
        r = run("run", "--resolver", d.at, "-g", "needs.yaml", guest, x, y, rc=0)
        equal(r.out.splitlines()[0], "200 hello")
        equal(len(o.heard), 1)


def test_redirects_are_decided_anew():
    with Raw(OK) as inner, Raw(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{inner.port}/?key=SECRET\r\nContent-Length: 0\r\n\r\n".encode()) as o:
        r = run("run", "-g", grants(http(o.url()[:-1])), script(FETCH), o.url())
        contains(r.out, "failed")
        equal((len(o.heard), inner.heard), (1, []))
        contains(r.events_of("denial")[0]["smallest_grant"], f"127.0.0.1:{inner.port}")
        r = run("run", "-g", grants(http(o.url()[:-1]), http(inner.url()[:-1])), script(FETCH), o.url(), rc=0)
        equal((r.out, len(inner.heard)), ("200 hello\n", 1))


def test_certificates_and_resolver():
    a = Authority("authority")
    with Dns({"good.test": ["127.0.0.1"]}) as d, Raw(OK, context=a.context(["good.test"])) as o:
        url = o.url("/", host="good.test", scheme="https")
        policy, guest = grants(http(url[:-1])), script(FETCH)
        r = run("run", "-g", policy, "--ca", a.ca, "--resolver", d.at, guest, url, rc=0)
        equal(r.out, "200 hello\n")
        r = run("run", "-g", policy, "--resolver", d.at, guest, url)
        contains(r.out, "failed")
        equal(r.events_of("http.response")[0]["error"], "TLS-certificate-error")
    r = run("run", "--net", "https://good.test", "--resolver", "good.test", script(FETCH))
    equal(r.rc, 120)
    contains(r.err, "is not an address and a port")
    os.mkdir("empty")
    r = run("run", "--net", "https://good.test", "--ca", write("empty/ca.pem", "nothing"), script(FETCH), rc=120)
    contains(r.err, "holds no certificate")
    r = run("run", "--net", "https://good.test", "--ca", write("empty/ca.pem", "-----BEGIN CERTIFICATE-----\nnothing\n"), script(FETCH), rc=127)
    contains(r.err, "has none (PEM)")
    ends_at_once = wat('(module (memory (export "memory") 1) (func (export "_start")))')
    for _ in range(10):  # a guest that ends before egress has started hides nothing
        r = run("run", "--net", "https://good.test", "--ca", "empty/ca.pem", ends_at_once, rc=127)
        contains(r.err, "has none (PEM)")


def test_no_grant_no_room():
    """Without a grant of http no egress room is started."""
    r = run("run", script("print(1)"), rc=0)
    equal([e for e in r.events if e.get("observed_by") == "egress"], [])
