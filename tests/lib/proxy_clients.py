# SPDX-License-Identifier: Apache-2.0
"""What native clients do through `ambit proxy`, unmodified, with nothing set but what its settings say. Each function is one client's
doings with the proxy `p` in the world `w` (proxy.py); it raises when something is not as it should be. tests/system/test_proxy_clients.py runs
what every machine has, with small bodies; tests/interop/proxy_clients.py all of it, up to 100 MB."""

import base64
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile

from ambit import contains, equal, lacks, write
from proxy import BLOCK, HOST

KIB, MB = 1024, 1_000_000
SECRET = "a-value-of-forty-bytes-that-is-nowhere-0"
GROWTH = 8 << 20  # bytes that a room may have more after 100 MB than before them


def pattern(size):
    """What the origin's /big gives, as (bytes for small ones, their digest)."""
    digest = hashlib.sha256()
    left = size
    while left > 0:
        digest.update(BLOCK[:left])
        left -= len(BLOCK)
    return digest.hexdigest()


def file_of(size):
    path = pathlib.Path(f"body-{size}")
    if not path.exists():
        with path.open("wb") as f:
            left = size
            while left > 0:
                f.write(BLOCK[:left])
                left -= len(BLOCK)
    return path


# ---- curl --------------------------------------------------------------------------------------------------------------

def curl_bodies(w, p, version="--http1.1", sizes=(0, 1, 65535, 65536, 65537, MB)):
    for size in sizes:
        path, digest = file_of(size), pattern(size)
        down = p.curl(version, "-f", "-o", "down", "-w", "%{http_version} %{size_download}", w.url(f"/big?n={size}"))
        equal((down.rc, down.out), (0, f"{'2' if version == '--http2' else '1.1'} {size}"), f"{size} bytes down\n{down!r}")
        with open("down", "rb") as f:
            equal(hashlib.file_digest(f, "sha256").hexdigest() if sys.version_info >= (3, 11) else hashlib.sha256(f.read()).hexdigest(), digest)
        # from a pipe the length is not known: chunks, or frames of HTTP/2
        for way, sent in ((["-T", str(path)], b""), (["-H", "Content-Type: x/y", "--data-binary", f"@{path}"], b""),
                          (["-T", "-"], path.read_bytes() if size <= MB else None)):
            if sent is None:
                continue
            up = p.curl(version, "-f", *way, w.url("/sink"), stdin=sent)
            equal((up.rc, up.out), (0, f"{size} {digest}\n"), f"{size} bytes up by {way}\n{up!r}")


def curl_forms(w, p, version="--http1.1"):
    def curl(*arguments):
        result = p.curl(version, *arguments)
        equal(result.rc, 0, repr(result))
        return result.out
    head = curl("-I", w.url("/hello"))
    contains(head.lower(), "content-length: 12")
    contains(head.lower(), 'etag: "one"')
    equal(curl("-r", "100-299", "-w", "%{http_code}", "-o", "part", w.url("/range")), "206")
    equal(pathlib.Path("part").read_bytes(), BLOCK[100:300])
    pathlib.Path("resumed").write_bytes(BLOCK[:1000])
    curl("-C", "-", "-o", "resumed", w.url("/range"))
    equal(pathlib.Path("resumed").read_bytes(), BLOCK, "a download that was resumed")
    equal(curl("-H", "Expect: 100-continue", "-d", "abc", w.url("/sink")), f"3 {hashlib.sha256(b'abc').hexdigest()}\n")
    equal(curl("-d", "a=1", "-d", "b=2", "-H", "X-One: 1", "-X", "PATCH", w.url("/echo?q=%20a&q=b")).count('"method": "PATCH"'), 1)
    contains(curl("-i", w.url("/duplicates")).lower(), "set-cookie: b=2; path=/")
    equal(curl("-L", w.url("/redirect?to=/hello")), "hello world\n")
    equal(curl("--compressed", w.url("/hello")), "hello world\n")
    equal(curl("-o", "/dev/null", "-w", "%{http_code}", w.url("/status/204")), "204")
    equal(curl(w.url("/chunked")), "first\nsecond\nlast\n")
    two = p.curl(version, w.url("/hello"), w.url("/hello"), "-w", "%{num_connects} ")
    contains(two.out.split("\n")[-1] + two.out, "0 ", "the second request made a connection of its own")
    cut = p.curl(version, "-o", "/dev/null", w.url("/cut"))
    assert cut.rc != 0, f"an answer that was cut looked whole\n{cut!r}"


def curl_events(w, p, version="--http1.1"):
    """Each event is there before the origin is told to send the next."""
    environ = {**{n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}, **p.settings}
    process = subprocess.Popen(["curl", "-sSN", version, "--max-time", "100", w.url("/ticks?n=4")], env=environ, stdout=subprocess.PIPE)
    for i in range(4):
        equal((process.stdout.readline(), process.stdout.readline()), (f"data: tick {i}\n".encode(), b"\n"))
        w.origin.tick.release()
    equal(process.wait(60), 0)


def curl_memory(w, p, size=100 * MB):
    """Resident memory of the rooms is flat, whatever goes through."""
    path, digest = file_of(size), pattern(size)
    for version in ("--http1.1", "--http2"):  # once small, so that what is kept for the next is there
        p.curl(version, "-T", str(file_of(4 * MB)), w.url("/sink"))
        p.curl(version, "-o", "/dev/null", w.url(f"/big?n={4 * MB}"))
    before = {role: p.resident(role) for role in ("ingress", "egress")}
    for version in ("--http1.1", "--http2"):
        up = p.curl(version, "-T", str(path), w.url("/sink"))
        equal((up.rc, up.out), (0, f"{size} {digest}\n"), repr(up))
        down = p.curl(version, "-o", "/dev/null", "-w", "%{size_download}", w.url(f"/big?n={size}"))
        equal((down.rc, down.out), (0, str(size)), repr(down))
    after = {role: p.resident(role) for role in before}
    for role, bytes_ in after.items():
        assert bytes_ - before[role] < GROWTH, f"{role} grew from {before[role]} to {bytes_} bytes in {4 * size} bytes of bodies"
    return ", ".join(f"{role} {before[role] >> 10} → {after[role] >> 10} KiB" for role in after)


def curl_denied(w, p):
    for version in ("--http1.1", "--http2"):
        status, body = p.status(w.url("/denied"), version)
        equal(status, 403, body)
        problem = json.loads(body)
        equal((problem["status"], problem["type"]), (403, "urn:ambit:problem:denied"), body)
        contains(problem["grant"], "/denied")
    result = p.curl("-v", "https://nobody.test/")
    assert result.rc != 0, repr(result)
    contains(result.err, "403")


# ---- git ---------------------------------------------------------------------------------------------------------------

def git_origin(w):
    """A repository with two commits behind git's own server."""
    def git(*words, cwd=None):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=cwd, check=True, capture_output=True)
    root = pathlib.Path("repositories").resolve()
    git("init", "-q", "--bare", "-b", "main", root / "one.git")
    git("-C", root / "one.git", "config", "http.receivepack", "true")
    git("init", "-q", "-b", "main", "first")
    for i in range(2):
        write(f"first/file{i}", os.urandom(200_000))
        git("add", ".", cwd="first")
        git("commit", "-q", "-m", f"commit {i}", cwd="first")
    git("push", "-q", root / "one.git", "main", cwd="first")
    w.origin.root = root
    return root / "one.git"


def git_reads(w, p, repository, url=None):
    url = url or w.url("/git/one.git")
    result = p.client("git", "clone", "-q", url, "cloned", GIT_TERMINAL_PROMPT=0)
    equal(result.rc, 0, repr(result))
    equal(pathlib.Path("cloned/file1").read_bytes(), pathlib.Path("first/file1").read_bytes())
    subprocess.run(["git", "-C", repository, "branch", "-f", "other", "main"], check=True)
    result = p.client("git", "-C", "cloned", "fetch", "-q", "origin", "other", GIT_TERMINAL_PROMPT=0)
    equal(result.rc, 0, repr(result))


def git_pushes(_w, p, repository, allowed):
    write("cloned/new", os.urandom(1_500_000))  # more than http.postBuffer: git sends it in chunks
    for words in (["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "new"]):
        equal(p.client("git", "-C", "cloned", *words).rc, 0)
    result = p.client("git", "-C", "cloned", "push", "-q", "origin", "HEAD:refs/heads/pushed", GIT_TERMINAL_PROMPT=0)
    arrived = subprocess.run(["git", "-C", repository, "rev-parse", "-q", "--verify", "pushed"], check=False, capture_output=True).returncode == 0
    equal((result.rc == 0, arrived), (allowed, allowed), repr(result))
    if not allowed:
        contains(result.err, "403")


# ---- Node --------------------------------------------------------------------------------------------------------------

NODE = """
import https from 'node:https';
import { createHash } from 'node:crypto';
const [, , base, denied] = process.argv;
const sha = (b) => createHash('sha256').update(b).digest('hex');
let r = await fetch(base + '/hello?name=node');
console.log(r.status, (await r.text()).trim());
const body = Buffer.alloc(300000, 'n');
r = await fetch(base + '/sink', { method: 'POST', body });
console.log((await r.text()).trim() === '300000 ' + sha(body));
r = await fetch(base + '/big?n=1000000');
console.log((await r.arrayBuffer()).byteLength);
let text = '';
for await (const part of (await fetch(base + '/events?n=3')).body) text += Buffer.from(part).toString();
console.log(text.split('data:').length - 1);
if (process.env.AMBIT_SECRET_THE_TOKEN) {
    r = await fetch(base + '/status/200', { headers: { authorization: 'Bearer ' + process.env.AMBIT_SECRET_THE_TOKEN } });
    console.log('secret', r.status);
}
r = await fetch(denied);
console.log(r.status, r.headers.get('content-type'), (await r.json()).reason);
await new Promise((done, fail) => https.get(base + '/hello', (answer) => {
    console.log('https', answer.statusCode);
    answer.resume().on('end', done);
}).on('error', fail));
"""


def node_asks(w, p, node):
    write("ask.mjs", NODE)
    result = p.client(node, "ask.mjs", w.url("")[:-1] if w.url("").endswith("/") else w.url(""), w.url("/denied"))
    equal(result.rc, 0, repr(result))
    lines = result.out.splitlines()
    equal(lines[:4], ["200 hello node", "true", "1000000", "3"], repr(result))
    contains(lines[-2], "403 application/problem+json", repr(result))
    equal(lines[-1], "https 200", repr(result))
    return lines


# ---- Python ------------------------------------------------------------------------------------------------------------

URLLIB = """
import hashlib, json, sys, urllib.error, urllib.request
base, denied = sys.argv[1:3]
print(urllib.request.urlopen(base + "/hello?name=py").read().decode().strip())
body = b"p" * 300000
print(urllib.request.urlopen(base + "/sink", body).read().decode().strip() == "300000 " + hashlib.sha256(body).hexdigest())
print(len(urllib.request.urlopen(base + "/big?n=1000000").read()))
try: urllib.request.urlopen(denied)
except urllib.error.HTTPError as e: print(e.code, e.headers.get_content_type(), json.loads(e.read())["reason"])
"""
REQUESTS = """
import hashlib, os, sys, requests
base, denied = sys.argv[1:3]
s = requests.Session()
print(s.get(base + "/hello", params={"name": "requests"}).text.strip())
body = b"r" * 300000
print(s.post(base + "/sink", data=body).text.strip() == "300000 " + hashlib.sha256(body).hexdigest())
print(s.post(base + "/sink", data=iter([b"a" * 1000] * 300)).text.split()[0])
print(sum(map(len, s.get(base + "/big?n=1000000", stream=True).iter_content(10000))))
print([l for l in s.get(base + "/events?n=3", stream=True).iter_lines() if l.startswith(b"data")])
print(s.get(base + "/redirect?to=/hello").url == base + "/hello", s.head(base + "/hello").headers["content-length"])
r = s.get(denied)
print(r.status_code, r.headers["content-type"], r.json()["reason"])
"""


def python_urllib(w, p):
    write("ask.py", URLLIB)
    result = p.client("/usr/bin/python3", "ask.py", w.url(""), w.url("/denied"))
    equal(result.out.splitlines(), ["hello py", "True", "1000000", "403 application/problem+json no-path"], repr(result))


def python_requests(w, p, site):
    write("ask_requests.py", REQUESTS)
    result = p.client("/usr/bin/python3", "ask_requests.py", w.url(""), w.url("/denied"), PYTHONPATH=site)
    equal(result.out.splitlines(), ["hello requests", "True", "300000", "1000000", "[b'data: event 0', b'data: event 1', b'data: event 2']",
                                    "True 12", "403 application/problem+json no-path"], repr(result))


# ---- npm, pip ----------------------------------------------------------------------------------------------------------

def tarball(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def npm_registry(w):
    package = {"name": "made-here", "version": "1.2.3", "main": "index.js"}
    archive = tarball({"package/package.json": json.dumps(package).encode(), "package/index.js": b"module.exports = 'made here';\n"})
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    dist = {"tarball": w.url("/files/made-here-1.2.3.tgz"), "integrity": integrity}
    about = {"name": "made-here", "dist-tags": {"latest": "1.2.3"}, "versions": {"1.2.3": {**package, "dist": dist}}}
    w.origin.files["/made-here"] = ("application/json", json.dumps(about).encode())
    w.origin.files["/made-here-1.2.3.tgz"] = ("application/octet-stream", archive)


def npm_installs(w, p, npm="npm"):
    npm_registry(w)
    write("project/package.json", '{"name": "project", "version": "1.0.0"}')
    common = ["install", "--no-audit", "--no-fund", "--loglevel", "http", "--registry", w.url("/files/"), "--cache", str(pathlib.Path("npm-cache").resolve())]
    result = p.client(npm, *common, "made-here", cwd="project", timeout=110)
    equal(result.rc, 0, repr(result))
    contains(pathlib.Path("project/node_modules/made-here/index.js").read_text(), "made here")
    result = p.client(npm, *common[:-4], "--registry", w.url("/denied/"), "--cache", "none", "--fetch-retries", "0", "made-here", cwd="project", timeout=110)
    assert result.rc != 0, repr(result)
    contains(result.err, "403")


def pip_index(w):
    wheel = io.BytesIO()
    parts = {"made_here.py": "VALUE = 'made here'\n", "made_here-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: made-here\nVersion: 1.0\n",
             "made_here-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = "".join(f"{name},," + "\n" for name in parts) + "made_here-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(wheel, "w") as z:
        for name, text in {**parts, "made_here-1.0.dist-info/RECORD": record}.items():
            z.writestr(name, text)
    data = wheel.getvalue()
    name = "made_here-1.0-py3-none-any.whl"
    page = f'<!DOCTYPE html><a href="{w.url("/files/" + name)}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a>\n'
    w.origin.files["/simple/made-here/"] = ("text/html", page.encode())
    w.origin.files["/" + name] = ("application/octet-stream", data)


def pip_installs(w, p, python):
    pip_index(w)
    common = [python, "-m", "pip", "--isolated", "--no-input", "--disable-pip-version-check", "install", "--no-cache-dir", "--no-deps", "--retries", "0"]
    result = p.client(*common, "--index-url", w.url("/files/simple"), "--target", "site", "made-here", timeout=110)
    # --isolated ignores PIP_CERT, then REQUESTS_CA_BUNDLE counts
    equal(result.rc, 0, repr(result))
    contains(pathlib.Path("site/made_here.py").read_text(), "made here")
    result = p.client(*common, "-vv", "--index-url", w.url("/denied/simple"), "--target", "other", "made-here", timeout=110)
    assert result.rc != 0, repr(result)
    contains(result.out + result.err, "403")


# ---- placeholders ------------------------------------------------------------------------------------------------------

def placeholders(w, p, node=None):
    """In curl's header, in the userinfo of git's URL (Basic), in a header of Node's."""
    placeholder = p.settings["AMBIT_SECRET_THE_TOKEN"]
    for version in ("--http1.1", "--http2"):
        equal(p.status(w.url("/status/200"), version, "-H", f"Authorization: Bearer {placeholder}")[0], 200)
        equal(w.origin.requests[-1][2]["authorization"], f"Bearer {SECRET}")
    if node:
        contains("\n".join(node_asks(w, p, node)), "secret 200")
        equal([r[2]["authorization"] for r in w.origin.requests if r[1] == "/status/200"][-1], f"Bearer {SECRET}")
    for _, target, headers, body in w.origin.requests:
        lacks(repr((target, headers, body)), "AMBIT_SECRET_", "a placeholder left")


def git_with_placeholder(w, p, repository):
    w.origin.password = "Basic " + base64.b64encode(f"x-access-token:{SECRET}".encode()).decode()
    placeholder = p.settings["AMBIT_SECRET_GIT_TOKEN"]
    git_reads(w, p, repository, w.url("/git/one.git").replace("https://", f"https://x-access-token:{placeholder}@"))
    lacks(pathlib.Path("cloned/.git/config").read_text(), SECRET)


def threads(count, work):
    faults = []

    def one(i):
        try:
            work(i)
        except AssertionError as e:
            faults.append(str(e))
    running = [threading.Thread(target=one, args=[i]) for i in range(count)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert not faults, textwrap.shorten(faults[0], 2000)


ALL_PATHS = ["/hello", "/big", "/sink", "/range", "/echo", "/duplicates", "/redirect", "/status/**", "/chunked", "/ticks", "/events", "/cut", "/who",
             "/files/**"]


def grants(w, git="read", **secret):
    """What these clients may do: all but /denied. `git`: "read" lets nobody push."""
    main = w.grant(paths=ALL_PATHS, **secret)
    paths = ["/git/one.git/git-upload-pack"] + (["/git/one.git/git-receive-pack"] if git == "write" else [])
    return [main, w.grant(methods=["GET"], paths=["/git/**"]), w.grant(methods=["POST"], paths=paths)]


__all__ = [name for name in globals() if not name.startswith("_")] + ["HOST"]
