# SPDX-License-Identifier: Apache-2.0
"""Where a secret's value is, and what hostile files, terminals and neighbours make of the vault (hostile cases 38, 57, 58, 62, 72).

Its value is looked for in the memory of every process of a server and of a proxy, under a request and after it, in what they print,
record and keep, plain and in base64: it is in keeper, and in egress while a request is under way. That the search finds what is there
is part of the test."""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import termios
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import ambit
from ambit import allow_missing, contains, equal, lacks, run, write
from egress import Raw
from proxy import World
from serving import Serving, children, component, wait_for
from test_secret import OK, OTHER, VALUE, in_three_lines, place, put, secret, vault

SECOND = "kq8-Zt2.wPz6_rV1~mB4xN9s"  # 24 bytes
CORES = (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2
KEPT_MAX = 64 << 20                  # of a mapping that is read; a sanitizer's shadow is larger


def spellings(value):
    """The value, and what is common to its base64 wherever it begins."""
    data = value.encode()
    return [data, *(base64.b64encode(b"\0" * i + data)[4:-4] for i in range(3))]


def memory(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, rights, *rest = line.split()
            start, end = (int(x, 16) for x in span.split("-"))
            if "r" in rights and "[v" not in line and end - start <= KEPT_MAX:
                with contextlib.suppress(OSError, OverflowError, ValueError):
                    mem.seek(start)
                    yield f"{span} {' '.join(rest)}", mem.read(end - start)


def places(pid, value):
    return [where for where, data in memory(pid) for s in spellings(value) if s in data]


def everyone(pid):
    """{role: pids}, the command itself as "control"."""
    found = {"control": [pid]}
    for child in children(pid):
        words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        found.setdefault(words[2].decode() if words[1:2] == [b"--room"] else "another", []).append(child)
    return found


def holders(pid, value):
    """{role: where} of those that hold the value in memory; it is in nobody's environment or arguments."""
    found = {}
    for role, pids in everyone(pid).items():
        for p in pids:
            for file in ("environ", "cmdline"):
                for s in spellings(value):
                    assert s not in pathlib.Path(f"/proc/{p}/{file}").read_bytes(), f"{role}: {file}"
            if where := places(p, value):
                found[role] = where
    return found


def nowhere_below(folder, value):
    for p in pathlib.Path(folder).rglob("*"):
        if p.is_file():
            for s in spellings(value):
                assert s not in p.read_bytes(), p


def settled(pid, value):
    """Who holds it once nothing is under way: what is freed behind an answer is waited for."""
    seen = [None]

    def only_keeper():
        seen[0] = holders(pid, value)
        return list(seen[0]) == ["keeper"]

    wait_for(only_keeper, lambda: seen[0], 20)


def test_a_value_of_a_server_is_in_keeper_alone():
    if os.geteuid() != 0:
        return  # only root reads the memory of a process that may not be dumped
    env = place()
    put(env)
    put(env, "fetched", SECOND)
    receipt = pathlib.Path("receipt.jsonl")
    body = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + (VALUE + " ").encode() * 40
    with Raw(body) as shows, Raw(lambda _: b"", "hold") as silent:
        hosts = [f"127.0.0.1:{o.port}" for o in (shows, silent)]
        flags = [f for h in hosts for f in ("--net", f"GET http://{h}/**", "--secret", f"github-token@{h}")]
        with Serving(component(), "--workers", "1", "--receipt", receipt, *flags, env=env) as s:
            assert list(holders(s.pid, VALUE)) == ["keeper"], "before the first request"
            equal(holders(s.pid, SECOND), {}, "a secret that no grant names")

            def ask(o):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    subprocess.run(["curl", "-s", "-m", "60", f"http://127.0.0.1:{s.port}/ask/{o.port}/a"], check=False, stdout=subprocess.DEVNULL, timeout=90)

            ask(shows)
            contains(shows.heard[0].decode(), VALUE)
            settled(s.pid, VALUE)
            held = threading.Thread(target=ask, args=(silent,))
            held.start()
            wait_for(lambda: silent.heard and VALUE.encode() in silent.heard[0], "the request at its origin")
            under_way = holders(s.pid, VALUE)
            assert set(under_way) <= {"keeper", "egress"}, under_way
            assert "egress" in under_way, "the search does not find a value on its way"
            for c in silent.open:
                c.shutdown(2)
            held.join(90)
            settled(s.pid, VALUE)
            said = list(s.said)
        for s in spellings(VALUE):
            for text in ("\n".join(said), receipt.read_text()):
                lacks(text, s.decode("latin-1"))
    for folder in env.values():
        nowhere_below(folder, VALUE)


def test_a_value_of_a_proxy_is_in_keeper_alone():
    if os.geteuid() != 0:
        return
    with World() as w:
        grant = w.grant(set_headers={"authorization": "Bearer ${secret:the-token}"})
        with w.proxy(grant, secrets={"the-token": SECOND}) as p:
            placeholder = p.settings["AMBIT_SECRET_THE_TOKEN"]
            status, body = p.status(w.url("/who"), "-H", f"Authorization: Bearer {placeholder}")
            equal(status, 200, body)
            equal(w.origin.requests[-1][2]["authorization"], f"Bearer {SECOND}")
            lacks(body, SECOND)
            settled(p.pid, SECOND)
            for file in (p.receipt, p.env_file, p.ca_file):
                lacks(pathlib.Path(file).read_text(), SECOND)
            lacks("\n".join(p.said), SECOND)
            # Keys of leaves are keeper's and the fronts': not control's, egress's, nor a file's.
            equal(set(everyone(p.pid)) >= {"control", "keeper", "egress", "ingress"}, True)


def test_denials_crowd_out_no_release():
    """A receipt keeps a bounded number of refusals and of releases, each for itself: who has a thousand refused first hides no use."""
    env = place(guests=True)
    put(env)
    run("secret", "set", "minted", "--kind", "oauth-client", "--set=token_url=https://127.0.0.1:1/token", "--set=client_id=me",
        "--set=addresses=127.0.0.0/8", *allow_missing(), env=env, stdin=VALUE, rc=0)
    guest = ambit.script("""
import sys, urllib.request
refused, used = map(int, sys.argv[1:])
def ask(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/a", timeout=60) as r:
            return r.status
    except OSError:
        return 0
print(sum(ask(refused) == 200 for _ in range(1100)), ask(used))
""")
    receipt = pathlib.Path("refused.jsonl")
    with Raw(OK) as never, Raw(OK) as o:
        flags = [f for name, at in (("minted", never), ("github-token", o)) for f in
                 ("--net", f"GET http://127.0.0.1:{at.port}/**", "--secret", f"{name}@127.0.0.1:{at.port}")]
        r = run("run", "--receipt", receipt, "--cpu", "100s", *flags, guest, str(never.port), str(o.port), env=env, timeout=280)
        equal((r.rc, r.out), (0, "0 200\n"), repr(r))
        equal(never.heard, [])
    events = [json.loads(line) for line in receipt.read_text().splitlines()]
    kinds = [e["event"] for e in events if e["event"].startswith("secret.")]
    equal((kinds.count("secret.denied"), kinds.count("secret.used")), (1024, 1))


# ---- hostile files ----

def as_what(path, what):
    """Something else in the place of a file, owned and readable by us alone where that can be."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    if what == "link":
        path.symlink_to(write("kept", "kept").resolve())
    elif what == "dangling":
        path.symlink_to("/nowhere/at/all")
    elif what == "fifo":
        os.mkfifo(path, 0o600)
    elif what == "folder":
        path.mkdir(0o700)
    elif what == "device":
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: it never ends
    elif what == "one byte too large":
        path.write_bytes(b"\0" * ((8 << 20) + 1))
    elif what == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    elif what == "another's":
        path.write_bytes(b"1\n")
        os.chown(path, 12345, 12345)
    if not path.is_symlink() and what not in ("another's",):
        path.chmod(0o700 if what == "folder" else 0o600)


def test_something_else_in_the_place_of_a_file():
    """Each is refused in words, nothing waits, nothing behind a link is read or written, and what was there works again."""
    env = place()
    put(env)
    key = pathlib.Path(env["XDG_CONFIG_HOME"]) / "ambit" / "vault.key"
    epoch, = key.parent.glob("*.epoch")
    lock = vault(env).parent / "lock"
    kinds = ["link", "dangling", "fifo", "folder", "one byte too large", "sparse"] + (["device", "another's"] if os.geteuid() == 0 else [])
    for path in (vault(env), key, epoch, lock):
        good = path.read_bytes()
        for what in kinds:
            as_what(path, what)
            for args, value in ((["ls"], b""), (["set", "other"], OTHER.encode())):
                if path == lock and what not in ("link", "dangling", "folder"):
                    continue  # nothing is read of it: whatever can be locked is a lock
                r = secret(env, *args, stdin=value, rc=121)
                assert r.err.count("\n") == 3, f"{path} is {what}\n{r!r}"
                in_three_lines(r)
                lacks(r.err, "kept\n")
            equal(pathlib.Path("kept").read_text() if what == "link" else "kept", "kept")
            assert not os.path.exists("/nowhere")
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            path.unlink(missing_ok=True)
            path.write_bytes(good)
            path.chmod(0o600)
        equal(secret(env, "test", "github-token").out, "github-token: 24 bytes, stored in the vault\n", f"{path} is back")


def test_an_open_state_folder():
    """The folder of the vault, or of all state, that others can write is not used."""
    env = place()
    put(env)
    state = pathlib.Path(env["AMBIT_STATE_DIR"])
    for folder in (state, state / "vault"):
        before = folder.stat().st_mode & 0o777
        folder.chmod(0o777)
        in_three_lines(secret(env, "ls", rc=121))
        folder.chmod(before)
    if os.geteuid() == 0:
        for folder in (state, state / "vault"):
            os.chown(folder, 12345, 12345)
            in_three_lines(secret(env, "ls", rc=121))
            os.chown(folder, 0, 0)
    contains(secret(env, "test", "github-token").out, "24 bytes")


def test_a_project_sets_no_key():
    """Files of a project's in the working folder say nothing of the vault (case 68)."""
    env = place()
    put(env)
    for name in ("ambit.yaml", ".ambit.yaml", ".env", "ambit.toml", ".ambit/config"):
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        write(name, "AMBIT_VAULT_KEY=command:touch owned\nvault_key: 'command:touch owned'\nvault-key: 'command:touch owned'\n")
    contains(secret(env, "test", "github-token").out, "24 bytes")
    run("run", pathlib.Path(__file__).parent / "guests" / "nothing.wat", env=env, rc=0)
    assert not os.path.exists("owned")


# ---- neighbours ----

def test_twenty_at_once():
    """Twenty processes change one vault, one after the other: nothing is lost, nothing is left over."""
    env = place()
    put(env, "secret-0")
    started = []
    for i in range(20):
        p = subprocess.Popen([str(ambit.AMBIT), "secret", *(["set", f"secret-{i}"] if i % 4 else ["rotate", "secret-0"]), *allow_missing()],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ambit.environment(env))
        p.stdin.write(f"value-of-secret-number-{i}".encode())
        p.stdin.close()
        started.append(p)
    for p in started:
        equal((p.wait(120), p.stderr.read()), (0, b""))
        p.stderr.close()
    listed = {s["name"]: s["version"] for s in json.loads(secret(env, "ls", "--json").out)["secrets"]}
    equal(listed, {"secret-0": 6, **{f"secret-{i}": 1 for i in range(20) if i % 4}})
    equal(sorted(p.name for p in vault(env).parent.iterdir()), ["lock", "vault"])


def test_what_is_listed_is_shown_escaped():
    """Texts of settings and places may come from somebody else's hands: a terminal gets no control characters of them."""
    env = place()
    evil = "echo \x1b]52;c;aGk=\x07\x1b[2J\r\x9b31m\u202e; echo " + VALUE
    secret(env, "set", "tok", "--from-command", evil)
    for r in (secret(env, "ls"), secret(env, "ls", "--json"), secret(env, "rotate", "tok", stdin=OTHER, rc=121)):
        for c in "\x1b\x07\r\x9b\u202e":
            lacks(r.out + r.err, c)


# ---- the terminal ----

def echoes(fd):
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Asked:
    """`ambit secret` that asks for a passphrase on a terminal of its own."""

    def __init__(self, env):
        file = pathlib.Path(write("token.txt", VALUE)).resolve()
        file.chmod(0o600)
        self.master, slave = os.openpty()
        self.process = subprocess.Popen([str(ambit.AMBIT), "secret", "set", "tok", "--vault-key", "passphrase", *allow_missing()],
                                        stdin=open(file, "rb"), stdout=slave, stderr=slave, env=ambit.environment(env), start_new_session=True,
                                        preexec_fn=lambda: (fcntl.ioctl(slave, termios.TIOCSCTTY, 0), resource.setrlimit(resource.RLIMIT_CORE, CORES)))
        self.slave, self.shown = slave, b""
        while not self.shown.endswith(b": "):
            self.shown += os.read(self.master, 4096)

    def __enter__(self):
        assert not echoes(self.slave)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(60)
        os.close(self.slave), os.close(self.master)


def test_the_echo_is_there_again():
    """Whatever ends the asking: the terminal shows again what is typed."""
    env = place()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        with Asked(env) as a:
            a.process.send_signal(number)
            assert a.process.wait(60) != 0
            assert echoes(a.slave), number
    with Asked(env) as a:  # what was typed is in no core file, whoever ends it where
        core, = (line.split()[4] for line in pathlib.Path(f"/proc/{a.process.pid}/limits").read_text().splitlines() if line.startswith("Max core"))
        equal(core, "0")
    for typed in (b"\x03", b"\x1c", b"x" * 5000):
        with Asked(env) as a:
            with contextlib.suppress(BlockingIOError):
                os.set_blocking(a.master, False)
                os.write(a.master, typed)
            if len(typed) > 1:
                os.set_blocking(a.master, True)
                while not echoes(a.slave):
                    os.write(a.master, b"x" * 64)
            assert a.process.wait(60) != 0
            assert echoes(a.slave), typed[:1]
    with Asked(env) as a:  # its session has no shell that could continue it: the stop is thrown away, the asking is over
        a.process.send_signal(signal.SIGTSTP)
        wait_for(lambda: echoes(a.slave), "the echo")
        a.process.send_signal(signal.SIGCONT)
        assert a.process.wait(60) != 0
    with Asked(env) as a:
        a.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: state_of(a.process.pid) == "T", "its stop")
        shown = termios.tcgetattr(a.slave)
        shown[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(a.slave, termios.TCSANOW, shown)
        a.process.send_signal(signal.SIGCONT)
        wait_for(lambda: not echoes(a.slave), "its silence")
