# SPDX-License-Identifier: Apache-2.0
"""`ambit secret`, and a secret from the vault to an origin: what the guest sees, where the value is found, what a damaged vault says,
what a kill leaves. What keeper and egress do against hostile frames is in their unit tests."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import ambit
from ambit import allow_missing, contains, equal, lacks, place, run, run_on_terminal, script, write
from egress import Authority, Raw
from serving import Serving, children, component, rooms, wait_for
from test_docs import holds, receipt_schema

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
VALUE = "ghp_0a1b2c3d4e5f6a7b8c9d"  # 24 bytes
LITERAL = "what-a-header-is-set-to-7f3a"
OTHER = "another-value-of-thirty-two-byte"  # 32 bytes
ASK = """
import sys, urllib.request
for url in sys.argv[1:]:
    q = urllib.request.Request(url, data=b"{}", method="POST", headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(q, timeout=20) as r:
            print(r.status, dict(r.headers), r.read().decode())
    except urllib.error.HTTPError as e:
        print(e.code, e.read().decode())
    except Exception as e:
        print("failed", e)
"""


def vault(env):
    return pathlib.Path(env["AMBIT_STATE_DIR"]) / "vault" / "vault"


def secret(env, *args, stdin=b"", rc=0, **more):
    return run("secret", *args, *allow_missing(), env={**env, **more}, stdin=stdin, rc=rc)


def put(env, name="github-token", value=VALUE):
    return secret(env, "set", name, stdin=value + "\n")


def in_three_lines(result, what=None):
    lines = result.err.splitlines()
    equal([line[:8] for line in lines[1:3]], ["  why: ", "  try: "][:2] and [line[:8] for line in lines[1:3]])
    assert lines[0].startswith("ambit: ") and lines[1].startswith("  why: ") and lines[2].startswith("  try: "), result.err
    if what:
        contains(lines[1], what)


def everything_below(folder):
    return b"".join(p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file())


def holds_in_memory(pid, value):
    """Is it in what a process can write to?"""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if "w" not in rights or "ambit-vault" in line:
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            with contextlib.suppress(OSError, OverflowError, ValueError):
                for at in range(start, end, 1 << 24):
                    memory.seek(at)
                    if value in memory.read(min(end - at, (1 << 24) + len(value))):
                        return True
    return False


# ---- the vault by itself ----

def test_life_of_a_secret():
    env = place()
    r = secret(env, "ls", rc=121)
    in_three_lines(r, "there is no vault")
    assert not (pathlib.Path(env["XDG_CONFIG_HOME"]) / "ambit" / "vault.key").exists(), "looking made a key"
    contains(put(env).out, "github-token: version 1")
    contains(secret(env, "test", "github-token").out, "24 bytes")
    contains(secret(env, "rotate", "github-token", stdin=OTHER).out, "version 2")
    contains(secret(env, "test", "github-token").out, "32 bytes")
    listed = json.loads(secret(env, "ls", "--json").out)["secrets"]
    equal([(s["name"], s["kind"], s["source"], s["version"]) for s in listed], [("github-token", "plain", "stored", 2)])
    contains(secret(env, "rm", "github-token").out, "removed")
    equal(secret(env, "ls").out, "the vault is empty\n")
    for verb in ("rm", "rotate"):
        in_three_lines(secret(env, verb, "github-token", stdin=VALUE, rc=121), "there is no secret github-token")
    in_three_lines(secret(env, "test", "github-token", rc=1))
    mine = everything_below(os.environ["HOME"])
    assert VALUE.encode() not in mine and OTHER.encode() not in mine
    equal(vault(env).stat().st_mode & 0o777, 0o600)
    equal(vault(env).parent.stat().st_mode & 0o777, 0o700)


def test_values_that_are_refused():
    env = place()
    put(env)
    before = vault(env).read_bytes()
    for value, why in ((b"tiny-one", "shorter"), (b"", "shorter"), (b"x" * 15 + b"\n", "shorter"), (b"x" * 4097, ""), (b"line one of two\nand line two\n", ""),
                       (b"01234567\r9abcdef01\n", ""), (b"01234567\0" + b"9abcdef01", ""), ("pässword-of-sixteen".encode(), ""),
                       (b"has a space within it", ""), (b"\x1b[31m0123456789abcdef", "")):
        r = secret(env, "set", "other", stdin=value, rc=121)
        in_three_lines(r, why)
        for shown in (value.decode("latin-1").strip(), "0123456789abcdef"):
            if len(shown) > 4:
                lacks(r.err, shown)
    equal(vault(env).read_bytes(), before)
    secret(env, "set", "other", stdin=b"0123456789abcdef\n")  # controls: exactly so long, with a newline
    secret(env, "set", "other", stdin=b"x" * 4096)


def test_no_value_on_the_command_line():
    env = place()
    r = secret(env, "set", "token", VALUE, rc=120)
    in_three_lines(r, "every process")
    lacks(r.err, VALUE)
    for words in (["set", f"token={VALUE}"], ["set", VALUE.upper()], ["rm", VALUE.upper()]):  # nor repeated, where it stands for a name
        lacks(secret(env, *words, rc=120).err.lower(), VALUE)
    contains(secret(env, "get", "token", rc=120).err, "never printed")
    for words in (["set"], ["set", "Bad_Name"], ["set", "a=b"], ["nothing"], [], ["ls", "x"], ["rekey"], ["set", "a", "--kind", "nothing"]):
        secret(env, *words, stdin=VALUE, rc=120)
    assert not vault(env).exists()


def test_files_that_others_read():
    env = place()
    file = pathlib.Path(write("token.txt", VALUE)).resolve()
    for mode, rc in ((0o640, 121), (0o604, 121), (0o600, 0), (0o400, 0)):
        file.chmod(mode)
        with open(file, "rb") as f:
            r = subprocess.run([str(ambit.AMBIT), "secret", "set", "typed", *allow_missing()], stdin=f, env=ambit.environment(env), capture_output=True, timeout=60)
        equal(r.returncode, rc, f"{mode:o} {r.stderr}")
        r = secret(env, "set", "kept", "--from-file", file, rc=rc)
        if rc:
            contains(r.err, f"chmod 600 {file}")
    contains(secret(env, "test", "kept").out, "24 bytes")
    file.chmod(0o644)  # later
    r = secret(env, "test", "kept", rc=1)
    contains(r.err, f"chmod 600 {file}")
    with Raw(OK) as o:
        r = run("run", *net(o, "kept"), script(ASK), o.url("/a"), env=env, rc=121)
        contains(r.err, f"chmod 600 {file}")
        equal(o.heard, [])


def test_places_of_values():
    env = place(guests=True)
    secret(env, "set", "variable", "--from-env", "OPERATORS")
    secret(env, "set", "command", "--from-command", "printf '%s\\n' \"$OPERATORS\"")
    in_three_lines(secret(env, "test", "variable", rc=1), "OPERATORS is not set")
    for name in ("variable", "command"):
        contains(secret(env, "test", name, OPERATORS=OTHER).out, "32 bytes")
        in_three_lines(secret(env, "rotate", name, stdin=VALUE, rc=121), "not in the vault")
    in_three_lines(secret(env, "test", "command", OPERATORS="short", rc=1), "shorter")
    secret(env, "set", "failing", "--from-command", "echo nobody-sees-this-one; exit 7")
    r = secret(env, "test", "failing", rc=1)
    in_three_lines(r, "exit code 7")
    lacks(r.err, "nobody-sees")
    with Raw(OK) as o:
        r = run("run", *net(o, "command"), script(ASK), o.url("/a"), env={**env, "OPERATORS": OTHER}, rc=0)
        contains(o.heard[0].decode(), f"authorization: Bearer {OTHER}")
        lacks(everything_below(os.environ["HOME"]).decode("latin-1"), OTHER)


def test_keys():
    """Each source opens what it sealed, and no other does; rekey seals with another one."""
    env = place()
    put(env)
    folder = pathlib.Path(os.environ["HOME"]) / "keys"
    secret(env, "rekey", "--new-key", f"file:{folder}/second")
    r = secret(env, "ls", rc=121)
    in_three_lines(r, "does not open this vault")
    secret(env, "ls", AMBIT_VAULT_KEY=f"file:{folder}/second")
    second = (folder / "second").read_bytes()
    write("base64", __import__("base64").b64encode(second) + b"\n")
    secret(env, "ls", "--vault-key", "command:cat base64")
    os.chmod("base64", 0o600)
    contains(secret(env, "test", "github-token", "--vault-key", "credential:base64", CREDENTIALS_DIRECTORY=os.getcwd()).out, "24 bytes")
    (folder / "second").chmod(0o640)
    contains(secret(env, "ls", "--vault-key", f"file:{folder}/second", rc=121).err, f"chmod 600 {folder}/second")
    for key in ("nowhere", "file:/nowhere/key", "command:false", "command:exit 0", "credential:none"):
        in_three_lines(secret(env, "ls", "--vault-key", key, rc=121))
    r = secret(env, "ls", "--vault-key", "passphrase", rc=121)  # there is no terminal
    in_three_lines(r, "no terminal")
    contains(r.err, "unattended")


# ---- what happened to the vault ----

def damaged(env, content, why=None):
    """Every way to it says so, and leaves the file alone."""
    file = vault(env)
    file.write_bytes(content)
    for verb in (["ls"], ["test", "github-token"], ["set", "more"], ["rotate", "github-token"], ["rm", "github-token"]):
        r = secret(env, *verb, stdin=OTHER, rc=121)
        in_three_lines(r, why)
        equal(file.read_bytes(), content, verb)
    return r


def test_a_damaged_vault():
    env = place()
    put(env)
    put(env, "second", OTHER)
    good = vault(env).read_bytes()
    for size in (0, 1, 40, 80, 81, len(good) // 2, len(good) - 1):
        damaged(env, good[:size])
    damaged(env, good + b"\0")
    damaged(env, b"not a vault at all, but long enough to be one" * 9)
    step = max(1, len(good) // 24)
    for at in range(0, len(good), step):
        changed = bytearray(good)
        changed[at] ^= 1
        vault(env).write_bytes(changed)
        in_three_lines(secret(env, "ls", rc=121))
        equal(vault(env).read_bytes(), bytes(changed))
    vault(env).write_bytes(good)
    equal(secret(env, "test", "second").out, "second: 32 bytes, stored in the vault\n")


def test_an_older_vault_and_another_ones():
    env, other = place(), place("other")
    put(env)
    old = vault(env).read_bytes()
    secret(env, "rotate", "github-token", stdin=OTHER)
    new = vault(env).read_bytes()
    put(other)
    damaged(env, old)
    damaged(env, vault(other).read_bytes())
    guest = script(ASK)
    with Raw(OK) as o:
        r = run("run", *net(o, "github-token"), guest, o.url("/a"), env=env, rc=121)
        in_three_lines(r)
        equal(o.heard, [])
    # With its key too it is another one's vault of an earlier time: 1 < 2.
    shutil.copy(pathlib.Path(other["XDG_CONFIG_HOME"]) / "ambit" / "vault.key", "foreign.key")
    vault(env).write_bytes(new)
    contains(secret(env, "test", "github-token").out, "32 bytes")


def kills(env, start, victims):
    """Kills a change at ever later moments: each time the vault opens, with the old or the new value, and the next change works."""
    seen = set()
    for attempt in range(24):
        before = json.loads(secret(env, "ls", "--json").out)["secrets"][0]["version"]
        value = OTHER if before % 2 else VALUE  # so that a version says how long its value is
        process = subprocess.Popen([str(ambit.AMBIT), "secret", start, "github-token", *allow_missing()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=ambit.environment(env))
        process.stdin.write(value.encode())
        process.stdin.close()
        timer = threading.Timer(attempt * 0.004, victims, [process])
        timer.start()
        process.wait(60)
        timer.join()
        after = json.loads(secret(env, "ls", "--json").out)["secrets"][0]["version"]
        assert after in (before, before + 1), (before, after)
        seen.add(after - before)
        contains(secret(env, "test", "github-token").out, "32 bytes" if after % 2 == 0 else "24 bytes")
        assert not [p for p in vault(env).parent.iterdir() if p.name.startswith(".tmp-") and after != before], "a change sweeps"
    assert seen, "nothing was tried"
    return seen


def test_killed_changes():
    env = place()
    put(env)  # version 1: 24 bytes; every even version has 32, every odd one 24

    def control(process):
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    def keeper(process):
        with contextlib.suppress(OSError, ProcessLookupError, IndexError):
            for pid in rooms(process.pid).get("keeper", []):
                os.kill(pid, signal.SIGKILL)

    kills(env, "rotate", control)
    kills(env, "rotate", keeper)
    kills(env, "set", control)
    contains(secret(env, "rotate", "github-token", stdin="the-last-value-of-all").out, "version")
    equal(sorted(p.name for p in vault(env).parent.iterdir()), ["lock", "vault"])


# ---- to an origin ----

def net(origin, name, header=""):
    return ["--net", f"POST http://127.0.0.1:{origin.port}/**", "--secret", f"{name}@127.0.0.1:{origin.port}{header}"]


def test_the_three_lines():
    """The example of the manual, over TLS: the origin gets it, nothing else does."""
    env = place(guests=True)
    a = Authority("authority")
    put(env)
    seen = {}

    def answer(heard):
        process = processes[0]
        seen["rooms"] = rooms(process.pid)
        for pid in [process.pid, *children(process.pid)]:
            for what in ("cmdline", "environ"):
                seen.setdefault(what, b"")
                with contextlib.suppress(PermissionError):  # of a room, for anybody but root
                    seen[what] += pathlib.Path(f"/proc/{pid}/{what}").read_bytes()
        if os.geteuid() != 0:
            return OK  # nobody else reads memory
        seen["memory"] = {role: [holds_in_memory(pid, VALUE.encode()) for pid in pids] for role, pids in seen["rooms"].items()}
        seen["literal"] = {role: holds_in_memory(pids[0], LITERAL.encode()) for role, pids in seen["rooms"].items()}
        seen["control"] = holds_in_memory(process.pid, VALUE.encode())
        return OK

    more = write("more.yaml", f"version: 1\ngrants:\n  - http: https://api.test\n    set_headers: {{ x-key: {LITERAL} }}\n")
    processes = []
    with Raw(answer, context=a.context(["127.0.0.1"])) as o:
        url = o.url("/repos/acme/shop/issues/1", scheme="https")
        command = [str(ambit.AMBIT), "run", *allow_missing(), "--receipt", "receipt.jsonl", "--ca", str(a.ca), "-g", more, "--net",
                   f"POST https://127.0.0.1:{o.port}/repos/acme/shop/issues/**", "--secret", f"github-token@127.0.0.1:{o.port}", script(ASK), url]
        processes.append(subprocess.Popen([str(c) for c in command], env=ambit.environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE))
        out, err = (b.decode() for b in processes[0].communicate(timeout=300))
        equal(processes[0].returncode, 0, err)
        contains(out, "200 ")
        contains(o.heard[0].decode(), f"authorization: Bearer {VALUE}\r\n")
    for text in (out, err, pathlib.Path("receipt.jsonl").read_text(), seen["cmdline"].decode("latin-1"), seen["environ"].decode("latin-1")):
        lacks(text, VALUE)
    assert VALUE.encode() not in everything_below(os.environ["HOME"])
    contains(err, "secrets used: github-token 1×")
    events = [json.loads(line) for line in open("receipt.jsonl", encoding="utf-8")]
    order = [e["event"] for e in events if e["event"] in ("http.request", "secret.used", "http.response")]
    equal(sorted(order), ["http.request", "http.response", "secret.used"])
    equal(order[0], "http.request")
    used, = [e for e in events if e["event"] == "secret.used"]
    equal((used["name"], used["rule"], used["number"], used["observed_by"]), ("github-token", 1, 1, "keeper"))
    equal(seen["rooms"].keys(), {"worker", "egress", "keeper"})
    if os.geteuid() == 0:
        equal(seen["memory"]["worker"], [False])
        equal(seen["control"], False)
        equal(seen["literal"], {"worker": False, "egress": True, "keeper": True}, "what headers are set to is nothing for a worker")
        equal(seen["memory"]["keeper"], [True], "the control: the search finds it where it is")


def test_it_is_nobody_elses():
    """Another path, another method, another host: no value goes there."""
    env = place(guests=True)
    put(env)
    with Raw(OK) as o, Raw(OK) as other:
        r = run("run", "--net", f"POST http://127.0.0.1:{o.port}/in/**", "--net", f"POST http://127.0.0.1:{other.port}/**", "--secret",
                f"github-token@127.0.0.1:{o.port}", script(ASK), o.url("/out"), other.url("/in/a"), o.url("/in/a"), env=env, rc=0)
        equal(len(o.heard), 1)
        lacks(other.heard[0].decode(), "authorization")
        contains(o.heard[0].decode(), VALUE)
        equal([e["rule"] for e in r.events_of("secret.used")], [0])
        holds(r, receipt_schema())


def test_answers_are_masked():
    env = place(guests=True)
    put(env)
    with Raw(lambda heard: b"HTTP/1.1 200 OK\r\nConnection: close\r\nx-echo: " + VALUE.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(VALUE) +
             VALUE.encode()) as o:
        r = run("run", *net(o, "github-token", "=x-api-key: ${secret}"), script(ASK), o.url("/a"), env=env, rc=0)
        contains(o.heard[0].decode(), f"x-api-key: {VALUE}")
        contains(r.out, "200 ")
        lacks(r.out, VALUE)
        assert r.events_of("http.response")[0]["masked"] >= 2, r.events_of("http.response")


def test_an_origin_that_shows_it():
    """Who shows a secret again and again gets it no more; the receipt says since when."""
    env = place(guests=True)
    put(env)
    with Raw(lambda heard: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(VALUE) + VALUE.encode()) as o:
        r = run("run", *net(o, "github-token"), script(ASK), *[o.url("/a")] * 8, env=env, rc=0)
        suspended, = r.events_of("secret.suspended")
        equal(suspended["name"], "github-token")
        given, refused = len(r.events_of("secret.used")), r.events_of("secret.denied")
        equal(given + len(refused), 8)
        assert 3 <= given < 8 and refused, (given, refused)
        equal(len([h for h in o.heard if VALUE.encode() in h]), given)
        contains(r.err, f"secrets used: github-token {given}×")
        contains(r.err, f"not released: github-token {8 - given}×: {refused[0]['why']}")
        equal(len(o.heard), given, "without it the request does not go at all")
        lacks(r.out, VALUE)
        holds(r, receipt_schema())


def test_missing_secrets():
    env = place(guests=True)
    guest = script(ASK)
    with Raw(OK) as o:
        in_three_lines(run("run", *net(o, "github-token"), guest, o.url("/a"), env=env, rc=121), "there is no vault")
        put(env)
        r = run("run", *net(o, "unknown"), guest, o.url("/a"), env=env, rc=121)
        in_three_lines(r, "unknown")
        r = run("proxy", *allow_missing(), "--listen", "127.0.0.1:0", *net(o, "unknown"), env=env, rc=121)
        in_three_lines(r, "unknown")
        r = run("proxy", *allow_missing(), "--listen", "127.0.0.1:0", "--vault-key", "command:head -c 32 /dev/zero", *net(o, "github-token"), env=env, rc=121)
        in_three_lines(r, "does not open this vault")
        equal(o.heard, [])
        run("run", "--net", f"POST http://127.0.0.1:{o.port}/**", "--secret", "github-token@127.0.0.2", guest, env=env, rc=121)
        r = run("run", "--secret", f"github-token@127.0.0.1:{o.port}", "--net", f"POST http://127.0.0.1:{o.port}/**", guest, o.url("/a"), env=env, rc=0)
        contains(o.heard[0].decode(), VALUE)  # whatever the order of the flags


def test_answers_of_a_person_bring_none():
    """--ask beside a secret: what a person allows goes without it, and the rules that had it keep it."""
    env = place(guests=True)
    put(env)
    with Raw(OK) as o:
        r = run_on_terminal("run", "--ask", "--net", f"POST http://127.0.0.1:{o.port}/in/**", "--secret", f"github-token@127.0.0.1:{o.port}",
                            script(ASK), o.url("/in/a"), o.url("/out"), o.url("/in/b"), answers=["r"], env=env)
        equal([f"authorization: Bearer {VALUE}".encode() in heard for heard in o.heard], [True, False, True])
        equal([e["rule"] for e in r.events_of("secret.used")], [0, 0])
        equal([e["answer"] for e in r.events_of("answer")], ["run"])
        lacks(r.out, VALUE)


def test_a_grant_file_and_explain():
    env = place(guests=True)
    put(env)
    with Raw(OK) as o:
        file = write("grants.json", json.dumps({"version": 1, "grants": [
            {"http": o.url()[:-1], "methods": ["POST"], "addresses": ["127.0.0.1"], "set_headers": {"x-plain": "literal-value", "authorization":
             "token ${secret:github-token}"}}]}))
        r = run("run", "-g", file, script(ASK), o.url("/a"), env=env, rc=0)
        contains(o.heard[0].decode(), f"authorization: token {VALUE}")
        contains(o.heard[0].decode(), "x-plain: literal-value")
        contains(run("grant", "explain", file, rc=0).out, "THE SECRET github-token GOES THERE, in the header authorization")
    plain = write("plain.yaml", "version: 1\ngrants:\n  - http: https://api.test\n")
    contains(run("grant", "explain", plain, "--secret", "tok@api.test", rc=0).out, "THE SECRET tok GOES THERE")
    lacks(run("grant", "explain", plain, rc=0).out, "SECRET")
    equal(run("grant", "explain", plain, "--secret", "tok@other.test").rc, 121)


def test_rooms_die_under_a_server():
    """Keeper and egress of a server are killed in turn, under requests: it is back, every request that is answered had the value, and the
    next one works."""
    env = place()
    put(env)
    with Raw(OK) as o:
        receipt = pathlib.Path("receipt.jsonl")
        with Serving(component(), "--workers", "1", "--receipt", receipt, "--net", f"GET http://127.0.0.1:{o.port}/**", "--secret",
                     f"github-token@127.0.0.1:{o.port}", env=env) as s:
            def ask():
                connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
                connection.request("GET", f"/ask/{o.port}/a")
                answer = connection.getresponse()
                return answer.status, answer.read()

            equal(ask(), (200, b"hello"))
            for role in ("keeper", "egress", "keeper", "keeper", "egress"):
                victim, = s.rooms()[role]
                under_way = [threading.Thread(target=ask) for _ in range(4)]
                for t in under_way:
                    t.start()
                os.kill(victim, signal.SIGKILL)
                for t in under_way:
                    t.join()
                wait_for(lambda: s.rooms().get(role, [victim]) not in ([victim], []), f"another {role}")
                wait_for(lambda: ask() == (200, b"hello"), "an answer")
        equal(s.rc, 0)
        assert all(f"authorization: Bearer {VALUE}".encode() in heard for heard in o.heard if heard), o.heard
        events = [json.loads(line) for line in receipt.read_text().splitlines()]
        equal(len([e for e in events if e["event"] == "keeper.died"]), 3)
        lacks(receipt.read_text(), VALUE)


def typing(env, args, typed, stdin=None):
    """`ambit secret` on a terminal of its own: (exit code, what it showed). Each of `typed` answers a prompt: a line, or a function that gives one,
    called while the prompt stands."""
    master, slave = os.openpty()
    process = subprocess.Popen([str(ambit.AMBIT), "secret", *args, *allow_missing()], stdin=stdin or slave, stdout=slave, stderr=slave,
                               env=ambit.environment(env), start_new_session=True,
                               preexec_fn=lambda: __import__("fcntl").ioctl(slave, __import__("termios").TIOCSCTTY, 0))
    os.close(slave)
    shown = b""
    for line in typed:
        while not shown.endswith(b": "):
            shown += os.read(master, 4096)
        os.write(master, line() if callable(line) else line)
        shown += b"|"
    with contextlib.suppress(OSError):
        while more := os.read(master, 4096):
            shown += more
    os.close(master)
    return process.wait(60), shown.decode()


def test_who_types_keeps_nobody_waiting():
    """While a value or a passphrase is asked for, others change the vault; what they did is there afterwards."""
    env = place()
    put(env)

    def meanwhile(line, *args, stdin=b"", **more):
        def act():
            secret(env, *args, stdin=stdin, **more)
            return line
        return act

    rc, shown = typing(env, ["rotate", "github-token"], [meanwhile(OTHER.encode() + b"\n", "set", "second", stdin=VALUE)])
    equal(rc, 0, shown)
    lacks(shown, OTHER)
    contains(secret(env, "test", "github-token").out, "32 bytes")
    contains(secret(env, "test", "second").out, "24 bytes")
    rc, shown = typing(env, ["rotate", "second"], [meanwhile(OTHER.encode() + b"\n", "rm", "second")])
    equal(rc, 121, shown)
    contains(shown, "there is no secret second")
    for name, why in (("third", "there is no secret third"), ("elsewhere", "not in the vault")):
        secret(env, "set", "elsewhere", "--from-env", "OPERATORS")
        rc, shown = typing(env, ["rotate", name], [])  # not asked at all
        equal(rc, 121, shown)
        contains(shown, why)
    rc, shown = typing(env, ["rekey", "--new-key", "passphrase"], [meanwhile(b"correct horse\n", "set", "third", stdin=VALUE), b"correct horse\n"])
    equal(rc, 0, shown)
    in_three_lines(secret(env, "ls", rc=121), "does not open this vault")
    with_passphrase = ["--vault-key", "passphrase"]
    rc, shown = typing(env, ["ls", *with_passphrase], [b"correct horse\n"])
    equal(rc, 0, shown)
    for name in ("github-token", "elsewhere", "third"):
        contains(shown, name)
    # Asked once, although it is looked at and then changed.
    rc, shown = typing(env, ["rotate", "third", *with_passphrase], [b"correct horse\n", OTHER.encode() + b"\n"])
    equal(rc, 0, shown)
    contains(shown, "version 2")
    rc, shown = typing(env, ["rekey", "--new-key", "file:key", *with_passphrase], [b"correct horse\n"])
    equal(rc, 0, shown)
    contains(secret(env, "test", "third", "--vault-key", "file:key").out, "32 bytes")


def test_passphrase():
    """Asked on the terminal, twice for a new vault, never shown; the value comes from elsewhere."""
    env = place()
    file = pathlib.Path(write("token.txt", VALUE)).resolve()
    file.chmod(0o600)

    def on_terminal(args, typed):
        return typing(env, [*args, "--vault-key", "passphrase"], typed, stdin=open(file, "rb"))

    rc, shown = on_terminal(["set", "tok"], [b"correct horse\n", b"wrong horse\n"])
    equal(rc, 121, shown)
    contains(shown, "typed twice is not the same")
    rc, shown = on_terminal(["set", "tok"], [b"correct horse\n", b"correct hors\x7fse\n"])
    equal(rc, 0, shown)
    lacks(shown, "horse")
    rc, shown = on_terminal(["ls"], [b"wrong horse\n"])
    equal(rc, 121, shown)
    rc, shown = on_terminal(["test", "tok"], [b"correct horse\n"])
    equal(rc, 0, shown)
    contains(shown, "24 bytes")
    rc, shown = on_terminal(["ls"], [b"\x03"])
    equal(rc, 121, shown)
