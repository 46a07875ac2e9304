# SPDX-License-Identifier: Apache-2.0
"""Native clients that every machine has, through `ambit proxy` and unmodified: curl over HTTP/1.1 and 2, git, Python's urllib. More clients and
bodies up to 100 MB: tests/interop/proxy_clients.py (make interop)."""

import proxy_clients as c
from ambit import equal
from proxy import World


def with_proxy(work, *arguments, git="read", flags=(), secrets=None, **secret):
    with World() as w, w.proxy(*c.grants(w, git, **secret), flags=flags, secrets=secrets) as p:
        return work(w, p, *arguments)


def test_curl_bodies_http1():
    with_proxy(c.curl_bodies, "--http1.1")


def test_curl_bodies_http2():
    with_proxy(c.curl_bodies, "--http2")


def test_curl_forms_http1():
    with_proxy(c.curl_forms, "--http1.1")


def test_curl_forms_http2():
    with_proxy(c.curl_forms, "--http2")


def test_curl_events():
    with_proxy(c.curl_events, "--http1.1")
    with_proxy(c.curl_events, "--http2")


def test_curl_denied():
    with_proxy(c.curl_denied)


def test_curl_plain_http():
    """Absolute-form: no CONNECT, no certificate, the same grants."""
    with World(tls=False) as w, w.proxy(*c.grants(w)) as p:
        c.curl_bodies(w, p, "--http1.1", (0, 65537, c.MB))
        c.curl_forms(w, p)
        equal(p.status(w.url("/denied"))[0], 403)


def test_memory_is_flat():
    print(with_proxy(c.curl_memory, 20 * c.MB))


def test_git_reads_and_may_not_push():
    with World() as w:
        repository = c.git_origin(w)
        with w.proxy(*c.grants(w)) as p:
            c.git_reads(w, p, repository)
            c.git_pushes(w, p, repository, allowed=False)


def test_git_pushes():
    with World() as w:
        repository = c.git_origin(w)
        with w.proxy(*c.grants(w, "write")) as p:
            c.git_reads(w, p, repository)
            c.git_pushes(w, p, repository, allowed=True)


def test_git_with_a_placeholder():
    with World() as w:
        repository = c.git_origin(w)
        basic = {"set_headers": {"authorization": "Basic ${secret:git-token}"}}
        with w.proxy(w.grant(paths=["/git/**"], **basic), secrets={"git-token": c.SECRET}) as p:
            c.git_with_placeholder(w, p, repository)


def test_placeholders():
    with_proxy(c.placeholders, secrets={"the-token": c.SECRET}, set_headers={"authorization": "Bearer ${secret:the-token}"})


def test_bodies_while_placeholders_are_looked_for():
    """More than a window of body is there before the name is resolved and the head is looked at."""
    secret = {"secrets": {"the-token": c.SECRET}, "set_headers": {"authorization": "Bearer ${secret:the-token}"}}
    with_proxy(c.curl_bodies, "--http1.1", (0, 65536, 65537, 300_000, 3 * c.MB), **secret)
    with_proxy(c.curl_bodies, "--http2", (65537, 3 * c.MB), **secret)


def test_python_urllib():
    with_proxy(c.python_urllib)


def test_many_at_once():
    with World() as w, w.proxy(*c.grants(w)) as p:
        c.threads(8, lambda i: c.equal(p.status(w.url(f"/hello?name={i}"), "--http2" if i % 2 else "--http1.1"), (200, f"hello {i}\n")))
