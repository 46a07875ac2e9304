# SPDX-License-Identifier: Apache-2.0
"""Escaped native code against the jail. In the test build a room whose jail is closed plays somebody who has taken it over
(src/room/probe.c): each attempt is tried in a fresh room. Three kinds of runs make the table below:

  every layer on         each attempt must fail
  no layer at all        each attempt must succeed: else the attempt proves nothing (what this kernel lacks is left out, by name)
  one layer alone        which attempts it stops by itself. Where a second layer stops the same, a bug in one is not yet a hole.

and a fourth: where one layer is the only one to stop an attempt, the full jail without it must let it through.
"""

import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from ambit import AMBIT, allow_missing, contains, environment, equal, execute, hooked_binary, run, script, write
from serving import Serving, component, wait_for
from test_secret import place, put

GUESTS = pathlib.Path(__file__).resolve().parent / "guests"
LAYERS = ["user-namespace", "pid-namespace", "net-namespace", "mount-namespace", "ipc-namespace", "landlock", "seccomp", "rlimits",
          "no-new-privileges"]
BITS = {name: 1 << i for i, name in enumerate(LAYERS)}

# Which layers stop it alone: u user, p pid, n net, m mount, i ipc namespace, L landlock, S seccomp, r rlimits, c capabilities and
# no-new-privileges. Tried as root, for whom the controls have every power.
SHORT = dict(zip("upnmiLSrc", LAYERS))
STOPPED_BY = {
    "open-absolute": "mL",
    "open-vault": "mL",
    "open-cache-key": "mL",
    "open-other-run": "mL",
    "open-other-environ": "umLc",
    "open-other-memory": "umLc",
    "write-cache": "mLc",
    "fill-shared": "mL",
    "fill-memfd": "S",
    "fill-memory": "r",
    "fill-shared-memory": "S",
    "bind-loopback": "LS",
    "other-architecture": "S",
    "open-dotdot": "mL",
    "open-symlink": "mL",
    "hardlink": "mL",
    "write-readonly": "mL",
    "chmod-readonly": "mS",
    "stat-dotdot": "m",
    "touch-readonly": "m",
    "make-device": "uLSc",
    "make-fifo": "LS",
    "open-by-handle": "uSc",
    "fork": "S",
    "exec": "mLS",
    "kill": "pLS",
    "ptrace": "upLSc",
    "process-vm-readv": "upLSc",
    "pidfd-getfd": "upLSc",
    "tiocsti": "mLS",
    "proc-self-mem": "mL",
    "map-code": "S",
    "protect-code": "S",
    "descriptors": "r",
    "connect-loopback": "nLS",
    "connect-abstract": "nLS",
    "connect-unix": "mS",
    "packet-socket": "uSc",
    "netlink-socket": "S",
    "shared-memory": "iS",
    "mount": "umLSc",
    "user-namespace": "S",
    "setns": "umLSc",
    "chroot": "Sc",
    "hostname": "uSc",
    "setuid": "uSc",
    "bpf": "uSc",
    "perf-event": "uSc",
    "io-uring": "S",
    "keyring": "S",
    "userfaultfd": "uSc",
}


class Bait:
    """What the attempts are aimed at: all real, all outside the room."""

    def __enter__(self):
        self.victim = subprocess.Popen(["sleep", "600"])
        self.more, self.terminals = [], []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract_name = f"ambit-test-{os.getpid()}"
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen(1000)
        self.unix_path = os.path.abspath("bait.sock")
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(self.unix_path)
        self.unix.listen(1000)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.key = 0x416d0000 + os.getpid() % 65536
        self.shm = self.libc.shmget(self.key, 4096, 0o1600)
        assert self.shm >= 0
        os.mkdir("ro"), os.mkdir("rw"), os.mkdir("mountpoint")
        write("ro/file", "content")
        write("outside", "a secret of the host's")
        self.words = {
            "open-absolute": os.path.abspath("outside"), "open-dotdot": "../outside", "open-symlink": os.path.abspath("outside"),
            "hardlink": os.path.abspath("outside"), "write-readonly": "file", "stat-dotdot": "../outside", "touch-readonly": "file", "chmod-readonly": "file", "open-by-handle": "file",
            "kill": self.victim.pid, "process-vm-readv": self.victim.pid, "pidfd-getfd": self.victim.pid,
            "connect-loopback": self.listener.getsockname()[1],
            "connect-abstract": self.abstract_name, "connect-unix": self.unix_path, "shared-memory": self.key,
            "open-vault": self.state("vault"), "open-cache-key": self.state("cache/key"), "write-cache": self.state("cache/code"),
            "open-other-run": self.state("runs/receipt"), "open-other-environ": f"/proc/{self.victim.pid}/environ",
            "open-other-memory": f"/proc/{self.victim.pid}/mem", "fill-shared": f"/dev/shm/ambit-test-{os.getpid()}",
            "mount": os.path.abspath("mountpoint"), "setns": f"/proc/{self.victim.pid}/ns/uts",
        }
        return self

    def __exit__(self, *_):
        for victim in (self.victim, *self.more):
            victim.kill()
            victim.wait()
        self.libc.shmctl(self.shm, 0, None)
        for s in (self.listener, self.abstract, self.unix):
            s.close()
        for fd in self.terminals:
            os.close(fd)

    @staticmethod
    def state(what):
        """A file of Ambit's own state, of the kind that another run, the cache or the vault has; the vault where one is."""
        top = pathlib.Path(os.environ["AMBIT_STATE_DIR"])
        run("run", "-q", GUESTS / "nothing.wat")
        kinds = {"cache/code": "cache/*.code", "cache/key": "cache/*key*", "runs/receipt": "runs/*", "vault": "vault*"}
        found = sorted(p for p in top.glob(kinds[what]) if p.is_file())
        if what == "cache/code":    # entries that are whole: other tests may be writing one
            found = [p for p in found if p.stat().st_mode & 0o222 == 0]
        if not found:
            write("stand-in", "of a vault")
        return found[0] if found else os.path.abspath("stand-in")

    def word(self, attempt):
        if attempt == "ptrace":     # one tracer at a time: each has a victim of its own
            self.more.append(subprocess.Popen(["sleep", "600"]))
            return [str(self.more[-1].pid)]
        if attempt == "tiocsti":    # a session leader that opens a free terminal has it as its own
            self.terminals += pty.openpty()
            return [os.ttyname(self.terminals[-1])]
        return [str(self.words[attempt])] if attempt in self.words else []

    def worker(self, attempt, skip):
        # Read-only first: the mounts' descriptors are in this order.
        r = run("run", "-q", "--handles", "100", "--read", "ro", "--write", "rw", GUESTS / "nothing.wat", attempt, *self.word(attempt), skip=",".join(["probe", *skip]))
        return self.answer(attempt, r)

    def compiler(self, attempt, skip):
        path = write(f"in-{attempt}-{abs(hash(tuple(skip)))}.wat", f"(module (; {attempt} {skip} ;))")
        env = environment({"AMBIT_TEST_COMPILER": f"{sum(BITS[s] for s in skip)}:{':'.join([attempt, *self.word(attempt)])}",
                           "AMBIT_TEST_JAIL_SKIP": ",".join(s for s in skip if s.endswith("-namespace"))})
        return self.answer(attempt, execute([hooked_binary(), "run", "-q", path], environ=env))

    def jail_of(self, room):
        """The jail of a room, in a process that does nothing else (src/room/try.c)."""
        def attempt_in(attempt, skip):
            env = environment({"AMBIT_TEST_TRY": "\n".join([room, attempt, *self.word(attempt)]), "AMBIT_TEST_JAIL_SKIP": ",".join(skip)})
            return self.answer(attempt, execute([hooked_binary(), "doctor"], environ=env))
        return attempt_in

    @staticmethod
    def answer(attempt, r):
        """succeeded, stopped, or absent."""
        if attempt == "exec" and "exit code 77" in r.err:
            return "succeeded"
        if found := re.search(r"probe [\w-]+: (succeeded|refused|not on this machine)", r.err):
            return {"succeeded": "succeeded", "refused": "stopped"}.get(found.group(1), "absent")
        assert re.search(r"signal 31|outside its list", r.err), f"{attempt}\n{r!r}"
        return "stopped"


def table(room, attempts):
    """{attempt: the layers that stop it alone}, after checking the jail as a whole and its absence."""
    tasks = [(a, tuple(skip)) for a in attempts for skip in
             [[], LAYERS, *[[other for other in LAYERS if other != one] for one in LAYERS]]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = dict(zip(tasks, pool.map(lambda t: room(*t), tasks)))
    got, wrong = {}, []
    for attempt in attempts:
        if answers[attempt, tuple(LAYERS)] == "absent":
            print(f"not on this machine: {attempt}")
            continue
        if answers[attempt, ()] != "stopped":
            wrong.append(f"{attempt}: the closed jail lets it through")
        if answers[attempt, tuple(LAYERS)] != "succeeded":
            wrong.append(f"{attempt}: fails without any jail, so this test proves nothing about it")
        got[attempt] = "".join(s for s, one in SHORT.items()
                               if answers[attempt, tuple(o for o in LAYERS if o != one)] == "stopped")
    assert not wrong, "\n".join(wrong)
    return got


def landlock_abi():
    return ctypes.CDLL(None).syscall(444, None, 0, 1)


def check(room, attempts, wanted):
    late = {4: ["connect-loopback", "bind-loopback"], 6: ["connect-abstract", "kill"]}    # what older Landlocks leave to the others
    wanted = dict(wanted)
    for attempt in [a for abi, names in late.items() if landlock_abi() < abi for a in names]:
        wanted[attempt] = wanted[attempt].replace("L", "")
    gone = [short for short, layer in SHORT.items() if layer in os.environ.get("AMBIT_TEST_MISSING_JAIL", "").split()]
    wanted = {a: "".join(s for s in layers if s not in gone) for a, layers in wanted.items()}
    attempts = [a for a in attempts if wanted[a]]    # what only a layer stops that this machine lacks is not stopped here
    got = table(room, attempts)
    equal(got, {a: wanted[a] for a in got}, "which layer stops what alone")
    for attempt, layers in got.items():
        assert layers, f"{attempt}: only several layers together stop it"
        if len(layers) == 1:
            equal(room(attempt, [SHORT[layers]]), "succeeded", f"control: {attempt} in a jail that lacks {SHORT[layers]} only")


def test_what_an_escaped_worker_cannot_do():
    if os.geteuid() != 0:
        print("as an ordinary user the controls lack the powers that some layers take away: run as root for the whole table")
        return
    with Bait() as bait:
        check(bait.worker, list(STOPPED_BY), STOPPED_BY)


# A compiler room has no folder at all, and fewer calls; what needs a folder to start from is left out.
COMPILER_TRIES = ["open-absolute", "fork", "exec", "kill", "ptrace", "map-code", "connect-loopback", "connect-abstract", "connect-unix",
                  "descriptors", "fill-memory", "mount", "user-namespace", "shared-memory", "proc-self-mem", "setuid", "keyring"]


def test_what_an_escaped_compiler_cannot_do():
    if os.geteuid() != 0:
        return
    with Bait() as bait:
        check(bait.compiler, COMPILER_TRIES, STOPPED_BY | COMPILER_DIFFERS)


COMPILER_DIFFERS = {"open-absolute": "mLS", "proc-self-mem": "mLS"}


NEEDS_A_FOLDER = {"open-dotdot", "open-symlink", "hardlink", "write-readonly", "chmod-readonly", "stat-dotdot", "touch-readonly", "make-device",
                  "make-fifo", "open-by-handle"}


def jailed(room, leave_out=()):
    """Every attempt that needs no folder, in the jail of a room: stopped by the whole, let through by none at all, and each layer that
    stops it alone is found. What only one layer stops goes through a jail that lacks that one."""
    if os.geteuid() != 0:
        return
    with Bait() as bait:
        attempts = [a for a in STOPPED_BY if a not in NEEDS_A_FOLDER and a not in leave_out]
        assert len(attempts) >= 30
        got = table(bait.jail_of(room), attempts)
        for attempt, layers in got.items():
            assert layers, f"{attempt}: only several layers together stop it"
            assert attempt in ("descriptors", "fill-memory") or "S" in layers, f"{attempt}: not in the list of {room}, but it can be called: {layers}"
            if len(layers) == 1:
                equal(bait.jail_of(room)(attempt, [SHORT[layers]]), "succeeded", f"control: {attempt} in a jail that lacks {SHORT[layers]} only")
        return got


def test_what_the_jail_of_egress_stops():
    """It connects to where it likes (the kernel cannot know grants), and nothing else."""
    jailed("egress", ["connect-loopback"])


def test_what_the_jail_of_the_compiler_stops():
    jailed("compiler")


def test_what_the_jail_of_ingress_stops():
    jailed("ingress")


def test_what_the_jail_of_keeper_stops():
    jailed("keeper")


def test_the_environment_of_control_is_in_no_room():
    """As root, who may look: the rooms' environments and arguments hold nothing of the caller's. Control: the command's own do."""
    if os.geteuid() != 0:
        return
    canary = "canary-" + os.urandom(8).hex()
    process = subprocess.Popen([hooked_binary(), "run", "-q", "--cpu", "20s", GUESTS / "spin.wat"], env=environment({"SECRET": canary}),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        rooms = set()
        for _ in range(200):    # the worker; the compiler's room is gone when its work is done
            for r in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                try:
                    command, environ = (pathlib.Path(f"/proc/{r}/{file}").read_bytes() for file in ("cmdline", "environ"))
                except (ProcessLookupError, FileNotFoundError):
                    continue
                if b"--room\0" in command:
                    equal(environ, b"")
                    assert canary.encode() not in command
                    rooms |= {command.split(b"\0")[2]}
            time.sleep(0.01)
            if b"worker" in rooms:
                break
        assert b"worker" in rooms, rooms
        contains(pathlib.Path(f"/proc/{process.pid}/environ").read_bytes(), canary.encode(), "control")
    finally:
        process.terminate()
        process.wait()


def test_the_page_is_what_the_binary_enforces():
    """docs/jails.md is printed from the table of which the filters are made."""
    source = pathlib.Path(os.environ["AMBIT_TEST_SOURCE"])
    r = execute([source / "scripts" / "jails-page", "--check", AMBIT])
    equal(r.rc, 0, f"run scripts/jails-page\n{r!r}")
    page = (source / "docs" / "jails.md").read_text()
    rows = len(re.findall(r"^    X\(\w+, [^J]", (source / "src" / "room" / "jail_table.h").read_text(), re.M))
    assert rows > 80 and page.count("\n| `") >= rows, "the table is in the page"


def test_doctor_tries():
    """Every attempt of every room is refused, by a layer that is named. Control: as if this machine had no namespaces, what only they
    stop is told as not refused, and the exit code says so."""
    if os.environ.get("AMBIT_TEST_MISSING_JAIL"):
        print("this machine lacks layers: doctor's answers differ")
        return
    attempts = [c for c in json.loads(run("doctor", "--json", rc=0).out)["checks"] if "rooms" in c]
    assert len(attempts) > 20
    for a in attempts:
        equal(a["state"], "ok", a["name"])
        for room, answer in a["rooms"].items():
            assert answer["refused"] is True and answer["by"] in LAYERS, (a["name"], room, answer)
    by = {a["name"]: a["rooms"] for a in attempts}
    equal(by["lists /"]["worker"], {"refused": True, "by": "landlock", "how": "Permission denied"})
    equal(by["makes an internet socket"]["keeper"], {"refused": True, "by": "seccomp", "how": "killed"})
    equal(by["sets times in a read-only mount"]["worker"]["by"], "mount-namespace")
    r = execute([hooked_binary(), "doctor", "--json"], environ=environment({"AMBIT_TEST_JAIL_SKIP": "mount-namespace"}))
    equal(r.rc, 1)
    holes = {c["name"] for c in json.loads(r.out)["checks"] if c["state"] == "missing" and "rooms" in c}
    equal(holes, {"looks at a file beside a mount", "sets times in a read-only mount"})
    # What restricts user namespaces is named, with its value: here for the namespaces below one that may have none.
    r = execute(["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$0" doctor --json', AMBIT])
    equal(r.rc, 1)
    user = next(c for c in json.loads(r.out)["checks"] if c["name"] == "user-namespace")
    equal((user["state"], user["do"]), ("missing", "user.max_user_namespaces is 0 here: sysctl -w user.max_user_namespaces=10000"))


def test_a_room_that_dies_is_an_error_that_may_be_tried_again():
    """The worker is killed while its guest spins: told in words, with a type, in the receipt and in --json. Controls: a guest that was
    ended by its limit is not worth trying again."""
    state = tempfile.mkdtemp(prefix="state-")
    process = subprocess.Popen([AMBIT, "run", "--json", *allow_missing(), "--cpu", "60s", GUESTS / "spin.wat"],
                               env=environment({"AMBIT_STATE_DIR": state}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    worker = None
    while worker is None:
        assert process.poll() is None, process.stderr.read()
        for r in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            try:
                if b"\0worker\0" in pathlib.Path(f"/proc/{r}/cmdline").read_bytes():
                    worker = int(r)
            except (ProcessLookupError, FileNotFoundError):
                continue
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    equal(process.returncode, 127)
    answer = json.loads(err.splitlines()[-1])
    equal((answer["outcome"], answer["retryable"]), ("failed", True))
    contains(answer["why"], "signal 9 (killed)")
    receipt = [json.loads(line) for file in pathlib.Path(state, "runs").glob("*.jsonl") for line in file.read_text().splitlines()]
    finished = [e for e in receipt if e["event"] == "run.finished"]
    equal([(e["outcome"], e["retryable"]) for e in finished], [("failed", True)])
    limited = json.loads(run("run", "--json", "--cpu", "100ms", GUESTS / "spin.wat", rc=124).err.splitlines()[-1])
    assert "retryable" not in limited, limited


def test_a_mount_that_cannot_be_bound_covers_all_the_same():
    """A mount below a granted folder hides what lies under it; one that is unbindable would be left out of the room's clone."""
    if os.geteuid() != 0 or "mount-namespace" in os.environ.get("AMBIT_TEST_MISSING_JAIL", ""):
        return
    os.makedirs("granted/sub")
    write("granted/sub/covered", "what nobody shall see")
    write("granted/file", "seen")
    guest = script("""
import os
print(open("granted/file").read())
for see in (os.listdir, lambda path: open(path + "/covered").read()):
    try:
        print("entered", see("granted/sub"))
    except OSError as e:
        print("denied", e.errno)
""")
    receipt = os.path.abspath("receipt.jsonl")
    for kind in ("private", "unbindable"):
        r = execute(["unshare", "-m", "sh", "-c", f'mount -t tmpfs none granted/sub && mount --make-{kind} granted/sub && exec "$@"', "sh",
                     AMBIT, "run", "-q", *allow_missing(), "--receipt", receipt, "--read", "granted", guest], environ=environment(), timeout=120)
        equal((r.rc, r.out.count("denied"), "entered" in r.out, "seen" in r.out), (0, 2, False, True), f"{kind}\n{r!r}")
        os.unlink(receipt)
    r = run("run", "-q", "--read", "granted", guest)    # control: without it, it is there
    contains(r.out, "what nobody shall see")


def memories(pid):
    """{inode: name} of the anonymous files that a process has open or mapped."""
    found = {}
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(fd)
            if target.startswith("/memfd:"):
                found[os.stat(fd).st_ino] = target.split(":", 1)[1].removesuffix(" (deleted)")
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/memfd:"):
            found[int(words[4])] = words[5].split(":", 1)[1].removesuffix(" (deleted)")
    return found


def shared_memories(rooms):
    """{name: [roles that have it, for each memory of that name]}."""
    owners, shared = {}, {}
    for role, pids in rooms.items():
        for pid in pids:
            for inode, name in memories(pid).items():
                owners.setdefault((name, inode), []).append(role)
    for (name, _), roles in owners.items():
        shared.setdefault(name, []).append(sorted(roles))
    return shared


def test_whose_memory_a_room_has():
    """In a live server with two workers: each memory that rooms share is shared by the two that it is for. An escaped room has no
    other's link, no counters but egress its own, and keeper's memory is in keeper (and kept open, unread, by control)."""
    if os.geteuid() != 0:
        return
    env = place()
    put(env)
    with Serving(component(), "--workers", "2", "--net", "GET http://127.0.0.1:1/**", "--secret", "github-token@127.0.0.1:1", env=env) as s:
        rooms = s.rooms()
        equal({role: len(pids) for role, pids in rooms.items()}, {"worker": 2, "ingress": 2, "egress": 1, "keeper": 1})
        # It listens before the last room has taken up its end of the last link.
        wait_for(lambda: all(len(who) > 1 for who in shared_memories(rooms)["ambit-link"]), lambda: shared_memories(rooms))
        shared = shared_memories(rooms)
        print(shared)
        equal(sorted(shared.pop("ambit-counters")), [["egress"], ["ingress", "ingress"]])    # of rules; of what is served, for metrics
        equal(shared.pop("ambit-keeper"), [["keeper"]])
        equal(sorted(shared.pop("ambit-link")), sorted([["egress", "worker"]] * 2 + [["ingress", "worker"]] * 2))
        for name, lists in shared.items():
            for who in lists:
                assert len(who) == 1 or set(who) in ({"worker"}, {"ingress"}), (name, who)


def test_a_release_build_has_no_probe():
    """What the hooks are made of is not in the product at all."""
    words = (b"AMBIT_TEST_JAIL_SKIP", b"AMBIT_TEST_COMPILER", b"AMBIT_TEST_TRY", b"probe-device")
    hooked = hooked_binary().read_bytes()
    assert all(w in hooked for w in words), "control"
    if pathlib.Path(AMBIT).resolve() != hooked_binary().resolve():
        assert not any(w in pathlib.Path(AMBIT).read_bytes() for w in words)
