# SPDX-License-Identifier: Apache-2.0
"""`ambit proxy` itself: its start and its files, the token, reloads, expiry, secrets and placeholders, deaths of its rooms. What native
clients make of it is in test_proxy_clients.py and, at length, tests/interop/proxy_clients.py."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import ssl
import stat
import subprocess
import threading

import ambit
from ambit import contains, equal, lacks
from proxy import HOST, World
from serving import children, descriptors, read_until, wait_for

KILLS = int(os.environ.get("AMBIT_TEST_KILLS", "9"))
SECRET = "hunter2-hunter2-hunter2-42"


def raw(p, data, read=True):
    """Bytes on a connection to the listener, and what came until it ended."""
    with socket.create_connection(("127.0.0.1", p.port), 20) as s:
        s.sendall(data)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while read and (chunk := s.recv(65536)):
                got += chunk
        return got


# ---- start -------------------------------------------------------------------------------------------------------------

def test_settings_are_written_for_a_shell_and_removed():
    with World() as w:
        with w.proxy() as p:
            equal(stat.S_IMODE(os.stat(p.env_file).st_mode), 0o600, "the mode of the settings")
            equal(stat.S_IMODE(os.stat(pathlib.Path(p.env_file).parent).st_mode), 0o700, "the mode of their folder")
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
                equal(p.settings[name], p.with_token, name)
            equal(p.settings["NO_PROXY"], "")
            for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "PIP_CERT",
                         "npm_config_cafile", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO"):
                equal(p.settings[name], p.ca_file, name)
            equal(len(base64.urlsafe_b64decode(p.token + "=")), 32, "bytes of the token")
            equal(p.status(w.url("/hello")), (200, "hello world\n"))
            other = w.proxy()
            with other:
                assert other.token != p.token, "two launches have one token"
        assert not os.path.exists(p.env_file) and not os.path.exists(p.ca_file), "the files outlived the proxy"
        assert not pathlib.Path(p.env_file).parent.exists(), "their folder did"


def test_files_go_nowhere_else():
    def start(*flags):
        return ambit.execute([ambit.AMBIT, "proxy", *ambit.allow_missing(), "--listen", "127.0.0.1:0", *flags])
    with World() as w:
        with w.proxy(flags=["--env", "it's.env", "--ca-out", "ca of it.pem"]) as p:
            equal(p.env_file, str(pathlib.Path("it's.env").resolve()))
            equal(p.settings["CURL_CA_BUNDLE"], str(pathlib.Path("ca of it.pem").resolve()))
            equal(p.status(w.url("/hello")), (200, "hello world\n"))
        assert os.path.exists("it's.env"), "what was named stays"
        with w.proxy(flags=["--env", "it's.env"]) as again:
            assert again.token != p.token
            contains(pathlib.Path("it's.env").read_text(), again.token, "one of ours is replaced")
    ambit.write("mine", "do not touch\n")
    os.symlink("mine", "link")
    os.symlink("nowhere", "dangling")
    os.symlink(".", "folder-link")
    for name, why in (("mine", "exists and was not written by ambit proxy"), ("link", "exists and was not written by ambit proxy"),
                      ("dangling", "exists and was not written by ambit proxy"), ("folder-link/new", "a link is on the way"),
                      ("none/new", "cannot be opened"), (".", "not written by ambit proxy")):
        for flag in ("--env", "--ca-out"):
            result = start(flag, name)
            equal(result.rc, ambit.BAD_GRANT, f"{flag} {name}\n{result!r}")
            contains(result.err, why)
    equal(pathlib.Path("mine").read_text(), "do not touch\n")
    assert not os.path.exists("nowhere") and not os.path.exists("new")


def test_says_what_it_cannot_do():
    for flags, code, words in (
            ([], ambit.USAGE, "--listen is missing"), (["--listen", "nonsense"], ambit.USAGE, "is not ADDR:PORT"),
            (["--listen", "127.0.0.1:0", "more"], ambit.USAGE, "one word too many"),
            (["--listen", "127.0.0.1:0", "--fronts", "0"], ambit.USAGE, "a number from 1 to"),
            (["--listen", "127.0.0.1:0", "--ca", "none.pem"], ambit.USAGE, "--ca none.pem cannot be opened"),
            (["--listen", "127.0.0.1:0", "--ca", "/etc/passwd"], ambit.USAGE, "holds no certificate"),
            (["--listen", "127.0.0.1:0", "--ca", "/tmp"], ambit.USAGE, "not a regular file"),
            (["--listen", "127.0.0.1:0", "--net", "ftp://x"], ambit.BAD_GRANT, "ftp"),
            (["--listen", "127.0.0.1:0", "--net", "https://a.test", "--secret", "none@a.test"], ambit.BAD_GRANT, "ambit secret set")):
        result = ambit.execute([ambit.AMBIT, "proxy", *ambit.allow_missing(), *flags])
        equal(result.rc, code, f"{flags}\n{result!r}")
        contains(result.err, words)
        contains(result.err, "\n  try: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = ambit.execute([ambit.AMBIT, "proxy", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"])
        equal(result.rc, ambit.BAD_GRANT, repr(result))
        contains(result.err, "another program listens there")


def test_says_to_people_that_a_variable_is_no_wall():
    process = subprocess.Popen([ambit.AMBIT, "proxy", *ambit.allow_missing(), "--listen", "127.0.0.1:0", "--learn", "needs.yaml"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ambit.environment())
    lines = [process.stderr.readline().decode() for _ in range(5)]
    url = lines[0].split()[-1]
    settings = lines[1].split(". ", 1)[1].strip()
    token = pathlib.Path(settings).read_text().split("ambit:")[1].split("@")[0]
    denied = ambit.execute(["curl", "-s", "--proxy", f"http://ambit:{token}@{url.removeprefix('http://')}", "http://example.org/a?b=secret"])
    equal(json.loads(denied.out)["status"], 403, repr(denied))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    err = err.decode()
    equal((process.returncode, out), (0, b""), err)
    contains(lines[3], "a proxy variable is advice, not a wall")
    contains(err, "denied GET http://example.org/a: ")
    contains(err, "; grant:\n    - http: http://example.org\n")
    lacks(err, "b=secret", "the query was shown")
    contains(err, "1 request on 1 connection; 1 denied")
    contains(pathlib.Path("needs.yaml").read_text(), "http://example.org")


# ---- the token ---------------------------------------------------------------------------------------------------------

def test_nobody_without_the_token():
    with World(tls=False) as w, w.proxy() as p:
        good = base64.b64encode(f"ambit:{p.token}".encode()).decode()
        target = f"127.0.0.1:{w.origin.port}"
        for head in ("", "Proxy-Authorization: Basic %s\r\n" % base64.b64encode(b"ambit:" + b"A" * 43).decode(),
                     "Proxy-Authorization: Basic %s\r\n" % base64.b64encode(b"ambit:").decode(),
                     "Proxy-Authorization: Basic %s\r\n" % good[:-8], "Proxy-Authorization: Bearer x\r\n", "Proxy-Authorization: Basic ???\r\n",
                     f"Authorization: Basic {good}\r\n", f"Cookie: ambit={p.token}\r\n",
                     # a web page, with all that a browser lets it send
                     "Origin: https://evil.example\r\nSec-Fetch-Mode: no-cors\r\nReferer: https://evil.example/\r\n"):
            for first in (f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n", f"GET http://{target}/hello HTTP/1.1\r\nHost: {target}\r\n"):
                answer = raw(p, f"{first}{head}Connection: close\r\n\r\n".encode())
                assert answer.startswith(b"HTTP/1.1 407 "), (first, head, answer)
                lacks(answer.decode("latin-1").lower(), "access-control-allow", "a page may read it")
        # a page of a name that leads here (rebinding): origin-form, whatever Host says
        for host in (f"127.0.0.1:{p.port}", "evil.example", f"localhost:{p.port}"):
            answer = raw(p, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert b" 4" in answer[:13], answer
            lacks(answer.decode("latin-1"), p.token)
        equal(len(w.origin.requests), 0, "requests that arrived")
        for scheme in (f"Basic {good}", f"Bearer {p.token}"):
            answer = raw(p, f"GET http://{target}/hello HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {scheme}\r\nConnection: close\r\n\r\n".encode())
            # the grant names a host of another name: a decision, not a question of who asks
            assert answer.startswith(b"HTTP/1.1 403 "), answer
        lacks(p.receipt.read_text(), p.token, "the token is in the receipt")
    lacks("\n".join(p.said), p.token, "the token was told")


def test_it_is_not_dialled_through_itself():
    with World(tls=False) as w:
        with w.proxy(w.grant()) as p:
            own = {"http": f"http://127.0.0.1:{p.port}", "methods": ["*"], "addresses": ["127.0.0.0/8"]}
            named = {"http": f"http://{HOST}:{p.port}", "methods": ["*"], "addresses": ["127.0.0.0/8"]}
            equal(p.reload([own, named])["added"], 2)
            for host in ("127.0.0.1", HOST):
                status, body = p.status(f"http://{host}:{p.port}/")
                equal(status, 403, body)
                contains(body, "never")


# ---- reloads -----------------------------------------------------------------------------------------------------------

def test_a_reload_that_shrinks_cuts_what_is_under_way():
    with World() as w, w.proxy(w.grant(paths=["/drip"]), w.grant(paths=["/hello"])) as p:
        loads = [p.download(w.url("/drip"), version) for version in ("--http1.1", "--http2")]
        equal(p.reload([w.grant(paths=["/hello"])]), {"kept": 1, "added": 0, "revoked": 1})
        for load in loads:
            assert load.end().rc != 0, f"a download ended as if it were whole: {load.results}"
        equal(p.status(w.url("/drip"))[0], 403)
        equal(p.status(w.url("/hello"))[0], 200)
        w.origin.dry.set()
        event = p.events("policy.reloaded")[0]
        equal((event["kept"], event["added"], event["revoked"]), (1, [], [0]))
        assert event["digest"] != p.events("grants")[0]["digest"]


def test_a_reload_keeps_what_has_not_changed():
    """A download under a grant that stays is not touched, and its counter goes on."""
    with World() as w:
        kept = w.grant(paths=["/drip", "/hello"], max_requests=3)
        with w.proxy(kept) as p:
            load = p.download(w.url("/drip"))
            equal(p.status(w.url("/hello"))[0], 200)
            equal(p.reload([w.grant(paths=["/echo"]), kept]), {"kept": 1, "added": 1, "revoked": 0})
            equal(p.status(w.url("/echo"))[0], 200)
            equal(p.status(w.url("/hello"))[0], 200)
            equal(p.status(w.url("/hello"))[0], 403, "the third of three was not the last")
            w.origin.dry.set()
            equal(load.end().rc, 0, repr(load.results))


def test_a_reload_that_is_not_valid_changes_nothing():
    with World() as w, w.proxy(w.grant(paths=["/hello"])) as p:
        for text, words in (("version: 1\ngrants:\n  - htp: x\n", "grants.json:3"), ("{", "grants.json"), ("", "grants.json"),
                            ('{"version": 1, "grants": [{"http": "https://a.test/path"}]}', "grants.json")):
            told = p.reload(text=text)
            assert told["hint"], told
            contains(told["why"], words, text)
            equal(p.status(w.url("/hello"))[0], 200, text)
            equal(p.status(w.url("/echo"))[0], 403, text)
        os.unlink(p.file)
        p.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(p.told("not_reloaded")) == 5, "the fifth refusal")
        equal(p.status(w.url("/hello"))[0], 200)
        equal(len(p.events("policy.refused")), 5)
        equal(p.events("policy.reloaded"), [])


def test_a_reload_widens_up_to_a_bound():
    with World() as w, w.proxy(w.grant(paths=["/hello"])) as p:
        equal(p.status(w.url("/echo"))[0], 403)
        equal(p.reload([w.grant(paths=["/hello"]), w.grant(paths=["/echo"])]), {"kept": 1, "added": 1, "revoked": 0})
        equal(p.status(w.url("/echo"))[0], 200)
        told = p.reload([w.grant(host="elsewhere.test")])
        contains(told["why"], "https://elsewhere.test is not among the hosts of the start")
        contains(told["hint"], "start the proxy again")
        equal(p.events("policy.refused")[-1]["why"], told["why"])
        equal(p.status(w.url("/echo"))[0], 200)
        many = [w.grant(paths=[f"/many/{i}"]) for i in range(500)]
        equal(p.reload(many)["added"], 500)
        told = p.reload([w.grant(paths=[f"/more/{i}"]) for i in range(12)])
        contains(told["why"], "512")
        equal(p.reload([w.grant(paths=[f"/more/{i}"]) for i in range(11)]), {"kept": 0, "added": 11, "revoked": 500})
        equal(p.status(w.url("/more/3"))[0], 404, "what the origin says of it")


def test_without_grants_everything_is_denied():
    with World() as w, w.proxy() as p:
        equal(p.status(w.url("/hello"))[0], 200)
        equal(p.reload([]), {"kept": 0, "added": 0, "revoked": 1})
        equal(p.status(w.url("/hello"))[0], 403)
        equal(p.reload([w.grant()])["added"], 1)
        equal(p.status(w.url("/hello"))[0], 200)


def test_a_connection_that_rests_is_decided_anew():
    """Keep-alive in a tunnel: the next request after a reload is refused, without a new CONNECT."""
    with World() as w, w.proxy() as p:
        context = ssl.create_default_context(cafile=p.ca_file)
        with socket.create_connection(("127.0.0.1", p.port), 20) as plain:
            credentials = base64.b64encode(f"ambit:{p.token}".encode()).decode()
            plain.sendall(f"CONNECT {HOST}:{w.origin.port} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
                          .replace("Host: x", f"Host: {HOST}:{w.origin.port}").encode())
            equal(plain.recv(4096)[:12], b"HTTP/1.1 200")
            with context.wrap_socket(plain, server_hostname=HOST) as tls:
                request = f"GET /hello HTTP/1.1\r\nHost: {HOST}:{w.origin.port}\r\n\r\n".encode()
                tls.sendall(request)
                contains(read_until(tls, b"hello world\n").decode(), "200 OK")
                p.reload([w.grant(paths=["/other"])])
                tls.sendall(request)
                contains(read_until(tls, b"\r\n\r\n").decode(), "HTTP/1.1 403 ")


def test_grants_end():
    with World() as w:
        with w.proxy(flags=["--expires", "6s"]) as p:
            assert p.download(w.url("/drip")).end().rc != 0, "a download outlived the grants"
            wait_for(lambda: any("the grants have ended" in line for line in p.said), lambda: p.said)
            status, body = p.status(w.url("/hello"))
            equal(status, 403)
            w.origin.dry.set()


# ---- denials -----------------------------------------------------------------------------------------------------------

def test_denials_are_told_once_and_counted():
    with World() as w, w.proxy(w.grant(methods=["GET"])) as p:
        for _ in range(12):
            status, body = p.status(w.url("/hello?q=1"), "-X", "DELETE")
            equal(status, 403)
        problem = json.loads(body)
        equal(problem["status"], 403)
        equal((problem["reason"], problem["rule"]), ("no-method", 0))
        contains(problem["grant"], "methods: [DELETE]")
        wait_for(lambda: len(p.denied()) == 2, lambda: p.said)
        first, tenth = p.denied()
        equal((first["method"], first["url"]), ("DELETE", w.url("/hello")))
        contains(first["grant"], "methods: [DELETE]")
        contains(tenth["why"], "(10 times by now)")
    (event,) = p.kept("denial")
    equal((event["observed_by"], event["reason"]), ("egress", "no-method"))
    equal([e["count"] for e in p.kept("denial.repeated")], [12])
    (totals,) = p.kept("proxied")
    equal((totals["denials"], totals["fronts"]), (12, 1))


# ---- secrets -----------------------------------------------------------------------------------------------------------

def test_a_placeholder_is_replaced_where_the_grant_says():
    with World() as w:
        grant = w.grant(paths=["/status/**", "/sink"], set_headers={"authorization": "Bearer ${secret:the-token}"})
        with w.proxy(grant, w.grant(paths=["/hello"]), secrets={"the-token": SECRET, "another": SECRET + "2"}) as p:
            placeholder = p.settings["AMBIT_SECRET_THE_TOKEN"]
            assert placeholder.startswith("AMBIT_SECRET_the-token_") and len(placeholder) == 96, placeholder
            assert "AMBIT_SECRET_ANOTHER" not in p.settings, "a secret that no grant names"
            status, body = p.status(w.url("/status/200"), "-H", f"Authorization: Bearer {placeholder}")
            equal(status, 200, body)
            equal(w.origin.requests[-1][2]["authorization"], f"Bearer {SECRET}")
            equal(p.status(w.url("/status/200"))[0], 200)
            equal(w.origin.requests[-1][2]["authorization"], f"Bearer {SECRET}", "without a placeholder too")
            arrived = len(w.origin.requests)
            for arguments in ([w.url("/status/200"), "-H", f"X-Other: {placeholder}"], [w.url(f"/status/200?q={placeholder}")],
                              [w.url("/sink"), "-d", f"x={placeholder}"], [w.url("/hello"), "-H", f"Authorization: Bearer {placeholder}"]):
                status, body = p.status(*arguments)
                equal(status, 403, f"{arguments} {body}")
            for _, target, headers, sent in w.origin.requests[arrived:]:
                lacks(repr((target, headers, sent)), "AMBIT_SECRET_", "a placeholder left")
            # who writes the receipt hears of it beside the client
            wait_for(lambda: len(p.events("secret.used")) >= 2 and p.events("denial"), lambda: p.events())
            equal([e["name"] for e in p.events("secret.used")][:2], ["the-token", "the-token"])
            for text in (p.receipt.read_text(), "\n".join(p.said), pathlib.Path(p.env_file).read_text()):
                lacks(text, SECRET)


def test_a_secret_that_is_new_in_a_reload():
    with World() as w:
        first = w.grant(paths=["/status/200"], set_headers={"authorization": "Bearer ${secret:the-token}"})
        more = w.grant(paths=["/status/201"], set_headers={"x-key": "${secret:another}"})
        missing = w.grant(paths=["/status/202"], set_headers={"x-key": "${secret:missing}"})
        with w.proxy(first, secrets={"the-token": SECRET, "another": SECRET + "2"}) as p:
            told = p.reload([first, missing])
            contains(told["why"], "missing")
            equal(p.status(w.url("/status/202"))[0], 403)
            equal(p.status(w.url("/status/200"))[0], 200)
            placeholder, before = p.settings["AMBIT_SECRET_THE_TOKEN"], pathlib.Path(p.env_file).read_bytes()
            assert "AMBIT_SECRET_ANOTHER" not in p.settings
            # Where the settings cannot be written, nothing changes: neither for clients nor in the rooms.
            os.unlink(p.env_file)
            pathlib.Path(p.env_file).write_text("a file of somebody's\n")
            told = p.reload([first, more])
            contains(told["why"], "was not written by ambit proxy")
            equal(pathlib.Path(p.env_file).read_text(), "a file of somebody's\n")
            equal(p.status(w.url("/status/201"))[0], 403)
            equal(p.status(w.url("/status/200"), "-H", f"Authorization: Bearer {placeholder}")[0], 200)
            pathlib.Path(p.env_file).write_bytes(before)
            equal(p.reload([first, more]), {"kept": 1, "added": 1, "revoked": 0})
            equal(p.status(w.url("/status/201"))[0], 201)
            equal(w.origin.requests[-1][2]["x-key"], SECRET + "2")
            # A client that reads the settings again has a placeholder for it; the others are what they were.
            wait_for(lambda: any("AMBIT_SECRET_ANOTHER is new" in line for line in p.said), lambda: p.said)
            equal(os.stat(p.env_file).st_mode & 0o777, 0o600)
            p.settings = p.read_settings()
            equal(p.settings["AMBIT_SECRET_THE_TOKEN"], placeholder)
            new = p.settings["AMBIT_SECRET_ANOTHER"]
            assert new.startswith("AMBIT_SECRET_another_") and len(new) == 96, new

            def replaced():
                equal(p.status(w.url("/status/201"), "-H", f"X-Key: {new}")[0], 201)
                equal(w.origin.requests[-1][2]["x-key"], SECRET + "2")
                equal(p.status(w.url("/status/200"), "-H", f"X-Key: {new}")[0], 403, "the slot of another grant")
                equal(p.status(w.url("/status/200"), "-H", f"Authorization: Bearer {placeholder}")[0], 200)

            replaced()
            victim, = p.rooms()["egress"]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: p.rooms().get("egress", [victim]) not in ([victim], []), "another egress")
            wait_for(lambda: p.status(w.url("/status/201"))[0] == 201, "an answer")
            replaced()
            # What is named again after it was gone has the placeholder that it had.
            equal(p.reload([first])["revoked"], 1)
            equal(p.reload([first, more])["added"], 1)
            equal(p.read_settings()["AMBIT_SECRET_ANOTHER"], new)
            replaced()


# ---- deaths ------------------------------------------------------------------------------------------------------------

class Clients:
    """curl again and again; what came of each is counted. Anything but a whole answer, an error of a proxy or a broken connection is a fault."""

    def __init__(self, p, w, count):
        self.p, self.w, self.stop, self.counts, self.faults = p, w, False, {}, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=[i], daemon=True) for i in range(count)]
        for t in self.threads:
            t.start()

    @property
    def good(self):
        return self.counts.get(200, 0)

    def client(self, i):
        while not self.stop:
            path, size = [("/big?n=300000", 300000), ("/hello", 12), ("/chunked", 18)][i % 3]
            i += 1
            result = self.p.client("curl", "-s", "--max-time", "60", "-w", "\n%{http_code}", self.w.url(path), timeout=90)
            body, _, status = result.raw_out.rpartition(b"\n")
            what = int(status) if result.rc == 0 else f"curl {result.rc}"
            if what == 200 and len(body) != size:
                self.faults.append(f"{path}: {len(body)} bytes")
            if result.rc == 28:
                self.faults.append(f"{path} hung")
            with self.lock:
                self.counts[what] = self.counts.get(what, 0) + 1

    def finish(self):
        self.stop = True
        for t in self.threads:
            t.join(120)
        assert not self.faults, self.faults[:5]
        odd = [k for k in self.counts if isinstance(k, int) and k not in (200, 502, 503, 504)]
        assert not odd, f"answers of an unknown kind: {self.counts}"


def test_rooms_are_killed():
    """Kill −9 of each in the middle of traffic (AMBIT_TEST_KILLS of each): the others live, the next request works, the CA is the same,
    nothing is left."""
    with World() as w:
        grant = w.grant(set_headers={"authorization": "Bearer ${secret:the-token}"})
        with w.proxy(grant, secrets={"the-token": SECRET}) as p:
            whole = {"ingress": 1, "egress": 1, "keeper": 1}
            equal({r: len(pids) for r, pids in p.rooms().items()}, whole, "rooms")
            ca = pathlib.Path(p.ca_file).read_bytes()
            clients = Clients(p, w, 3)
            wait_for(lambda: clients.good > 5, lambda: f"answers: {clients.counts}")
            before = descriptors(p.pid)
            for i in range(KILLS):
                for role in whole:
                    others = {r: pids for r, pids in p.rooms().items() if r != role}
                    (victim,) = p.rooms()[role]
                    os.kill(victim, signal.SIGKILL)
                    wait_for(lambda: p.rooms().get(role, [victim]) != [victim], lambda: f"{role} started again after kill {i}: {p.rooms()}")
                    answered = clients.good
                    wait_for(lambda: clients.good > answered + 3, lambda: f"answers after kill {i} of {role}: {clients.counts}, {p.said[-3:]}")
                    equal({r: pids for r, pids in p.rooms().items() if r != role}, others, f"the other rooms after kill {i} of {role}")
            clients.finish()
            equal(pathlib.Path(p.ca_file).read_bytes(), ca, "the CA")
            equal(p.status(w.url("/hello"))[0], 200, "with the same certificate")
            wait_for(lambda: descriptors(p.pid) <= before, lambda: f"descriptors: {descriptors(p.pid)}, before: {before}")
            equal(len(children(p.pid)), 3, "children")
            pids = [pid for group in p.rooms().values() for pid in group]
            print(f"{KILLS} kills of each room: {clients.counts}")
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}").exists(), f"room {pid} outlived its command"
    (totals,) = p.kept("proxied")
    equal([totals[f"{r}_restarts"] for r in ("front", "egress", "keeper")], [KILLS] * 3)


def test_more_fronts_share_the_port():
    with World() as w, w.proxy(flags=["--fronts", "2"]) as p:
        equal(len(p.rooms()["ingress"]), 2)
        for _ in range(6):
            equal(p.status(w.url("/hello"))[0], 200)
        equal(p.reload([])["revoked"], 1)
        for _ in range(6):
            equal(p.status(w.url("/hello"))[0], 403)


def test_a_receipt_says_that_it_does_not_list_all():
    with World() as w:
        with w.proxy() as p:
            result = p.curl("-f", "-o", "/dev/null", w.url("/hello?[1-1030]"))
            equal(result.rc, 0, result)
    equal(len(p.kept("http.request")), 1024)
    equal([e["count"] for e in p.kept("http.unlisted")], [6])
    equal([e["count"] for e in p.kept("use")], [1030])
    import test_docs  # pylint: disable=import-outside-toplevel
    schema = json.loads((ambit.TOP / "docs/schemas/receipt.schema.json").read_text())
    assert not [faults for e in p.last if (faults := test_docs.faults(e, schema, schema))]
    contains(ambit.run("runs", "show", p.kept("run.started")[0]["id"], rc=0).out, "6 more were sent that this receipt does not list")


def test_drains():
    with World() as w:
        with w.proxy() as p:
            load = p.download(w.url("/drip"))
            p.process.send_signal(signal.SIGTERM)
            wait_for(lambda: refused(p.port), "the listener closed")
            w.origin.dry.set()
            equal(load.end().rc, 0, repr(load.results))
            equal(p.process.wait(30), 0, "the end")


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return False
    except OSError:
        return True


def test_access_log():
    with World() as w, w.proxy(flags=["--access-log", "access.jsonl"]) as p:
        equal(p.status(w.url("/hello"))[0], 200)
        equal(p.status("https://denied.test/")[0], 403)
        wait_for(lambda: len(pathlib.Path("access.jsonl").read_text().splitlines()) >= 2, "lines of the log")
        lacks(pathlib.Path("access.jsonl").read_text(), p.token)


def test_metrics():
    """Sums over all fronts. Nobody needs the token for them, nobody reaches an origin through their port, and no client dials it."""
    with World() as w, w.proxy(flags=["--metrics", "127.0.0.1:0", "--fronts", "2"]) as p:
        for _ in range(4):
            equal(p.status(w.url("/hello"))[0], 200)
        equal(p.status("https://denied.test/")[0], 403)
        got = p.metrics()
        equal((got["ambit_proxy_responses_1xx_2xx_total"] >= 4, got["ambit_proxy_responses_4xx_total"], got["ambit_proxy_ingress_restarts_total"]), (True, 1, 0), got)
        assert not any("worker" in name for name in got), got
        port = int(p.started["metrics"].split(":")[2].split("/")[0])
        for text in (b"GET http://a.test/metrics HTTP/1.1\r\nHost: a.test\r\n\r\n", b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)):
            with socket.create_connection(("127.0.0.1", port), 30) as c:
                c.sendall(text)
                status = int(b"".join(iter(lambda c=c: c.recv(65536), b""))[9:12])
            assert status in (400, 404, 405, 421, 505), (text, status)
        equal(len(p.rooms()["ingress"]), 2)
        own = {"http": f"http://127.0.0.1:{port}", "methods": ["*"], "addresses": ["127.0.0.0/8"]}
        equal(p.reload([own])["added"], 1)
        status, body = p.status(f"http://127.0.0.1:{port}/metrics")
        equal(status, 403, body)
        contains(body, "never")


def test_its_receipt_is_as_the_schema_says():
    import test_docs  # pylint: disable=import-outside-toplevel
    schema = json.loads((ambit.TOP / "docs/schemas/receipt.schema.json").read_text())
    with World() as w:
        with w.proxy(w.grant(paths=["/hello"], set_headers={"authorization": "Bearer ${secret:the-token}"}), secrets={"the-token": SECRET}) as p:
            for url in (w.url("/hello"), w.url("/no"), w.url("/no"), "https://nope.test/"):
                p.status(url)
            p.reload([w.grant(paths=["/echo"])])
            p.reload(text="{")
    found = [(e, faults) for e in p.last if (faults := test_docs.faults(e, schema, schema))]
    assert not found, found[:3]
    for name in ("denial", "denial.repeated", "policy.reloaded", "policy.refused", "proxied", "secret.used", "use", "run.finished"):
        assert p.kept(name), f"no {name}"


def test_the_example_runs():
    result = ambit.execute([ambit.TOP / "examples/proxy/run"], environ={**os.environ, "AMBIT_TEST_BINARY": str(ambit.AMBIT)}, timeout=120)
    equal(result.rc, 0, repr(result))
    contains(result.out, "As it should be.")
    lacks(result.out, "ghp_not-a-real", "the secret was shown")
