# SPDX-License-Identifier: Apache-2.0
"""Hostile paths, end to end: cases 1 to 11 and 67, by a guest (guests/fsop.c) in a made-up tree with canaries outside it.

Each attack must fail with the guest's own error, an event that says why, a harmless exit code and untouched canaries; and it
must succeed when only its defence is off (a test build's switch, or the grant that it lacks): else it proves nothing.
"""

import os
import pathlib
import socket
import stat
import subprocess
import sys
import time

import ambit
from ambit import TOP, cc_guest, contains, equal, run, write

FSOP = TOP / "tests" / "hostile" / "guests" / "fsop.c"
JAIL = "fs-walk,mount-namespace,landlock"


def words(*parts):
    def one(part):
        raw = part if isinstance(part, bytes) else str(part).encode()
        return "".join(chr(b) if 0x21 <= b < 0x7f and b != 0x25 else f"%{b:02x}" for b in raw) or "%"
    return " ".join(one(p) for p in parts)


class Tree:
    """tree/work is what the guest is given, tree/outside what it is not; `canary` is what it must not get."""

    def __init__(self, grants="  - {fs: /work, from: {dir: work}, allow: rw}\n"):
        self.root = pathlib.Path.cwd() / f"tree-{os.urandom(4).hex()}"
        self.work, self.outside = self.root / "work", self.root / "outside"
        self.canary = "canary-" + os.urandom(8).hex()
        for folder in (self.work / "pub", self.work / "priv", self.outside):
            folder.mkdir(parents=True)
        (self.outside / "secret").write_text(self.canary)
        (self.work / "priv" / "secret").write_text(self.canary)
        (self.work / "pub" / "open").write_text("open")
        self.grants = grants
        self.result = None

    def do(self, *operations, skip=None, rc=0, grants=None, rights="", timeout=60):
        """Answers of operations, one run."""
        text = "version: 1\ngrants:\n" + (grants or self.grants) + "  - {stdio: [stdin, stdout]}\n" + rights
        before = self.left_behind()
        missing = ["--allow-missing-jail", "mount-namespace"] if skip == JAIL else []
        self.result = run("run", *missing, "--tmp", "none", "-g", write(self.root / "grants.yaml", text), cc_guest(FSOP), skip=skip, rc=rc,
                          stdin="\n".join(words(*o) for o in operations), timeout=timeout)
        equal(self.left_behind(), before, "temporary files")
        return self.result.out.splitlines()

    @staticmethod
    def left_behind():
        """What a run could leave: in its temporary folder, in the state folder's own, in the room of processes."""
        names = set(os.listdir(os.environ["TMPDIR"])) if "TMPDIR" in os.environ else set()
        state = pathlib.Path(os.environ["AMBIT_STATE_DIR"])
        for folder, folders, files in os.walk(state):  # of other tests, too: what goes meanwhile is passed over
            if folder == str(state):
                folders[:] = [f for f in folders if f not in ("proxy", "vault")]
            if os.path.basename(folder) not in ("runs", "cache", "sources"):
                names |= {os.path.join(folder, f) for f in files if "lock" not in f and "key" not in f}
        return {n for n in names if not n.startswith(("receipt-", "wat-"))}

    def untouched(self):
        equal((self.outside / "secret").read_text(), self.canary)
        equal(sorted(os.listdir(self.outside)), ["secret"])

    def denied(self, resource, reason=None, operation=None):
        for event in self.result.events_of("denial"):
            if event["resource"] == str(resource) and reason in (None, event["reason"]) and operation in (None, event["operation"]):
                return event
        raise AssertionError(f"no denial of {resource} ({reason}): {self.result.events_of('denial')}")


PUB = '  - {fs: /work, from: {dir: work}, allow: rw, paths: ["pub/**"]}\n'


def stolen(answers, canary):
    return any(canary in answer for answer in answers)


# ---- 1: dots -----------------------------------------------------------------------------------------------------------

def test_case_1_dots():
    tree = Tree()
    up = "/".join([".."] * 12)
    target = str(tree.outside / "secret")[1:]
    attacks = [f"{up}/{target}", f"work/{up}/{target}", f"work/pub/../../{target}", f"work/./pub/.././../{target}", f"work//..//{target}",
               f"work/pub/{up}/./{target}", target, f"{target}/.", f"{target}/"]
    wanted = ["noent"] * 9
    answers = tree.do(*[("get", a) for a in attacks], ("get", "/" + target), ("get", "/work/pub/open"), ("get", "work/./pub//open"),
                      ("get", "work/pub/open/."), ("get", "work/pub/open/"), ("stat", "../.."))
    equal(answers[:9], wanted)
    equal(answers[9:11], ["perm", "perm"])  # WASI has no absolute paths
    equal(answers[11], "ok open")
    equal(answers[12:14], ["notdir", "notdir"])
    assert answers[14].startswith("ok 3 "), answers
    tree.denied("/" + target, "no-grant", "open")
    tree.untouched()
    # Control: the same text with the grant that is missing.
    rights = f'  - {{fs: "{tree.outside}", from: {{dir: "{tree.outside}"}}, allow: ro}}\n'
    assert all(tree.canary in a for a in tree.do(*[("get", a) for a in attacks[:7]], rights=rights))


# ---- 2, 5, 6: links ----------------------------------------------------------------------------------------------------

def test_case_2_links_out_of_the_tree():
    tree = Tree()
    (tree.work / "abs").symlink_to(tree.outside / "secret")
    (tree.work / "absfolder").symlink_to(tree.outside)
    (tree.work / "rel").symlink_to("../outside/secret")
    (tree.work / "relfolder").symlink_to("../outside")
    (tree.work / "a").symlink_to("b")
    (tree.work / "b").symlink_to("a")
    (tree.work / "l0").symlink_to("pub/open")
    for i in range(1, 42):
        (tree.work / f"l{i}").symlink_to(f"l{i - 1}")
    names = ("abs", "absfolder/secret", "rel", "relfolder/secret")
    attacks = [("get", f"work/{n}") for n in names] + [("put", f"work/{n}", "evil") for n in names] + \
              [("put", "work/absfolder/new", "evil"), ("unlink", "work/absfolder/secret"), ("rename", "work/pub/open", "work/relfolder/x"),
               ("mkdir", "work/absfolder/made"), ("link", "work/absfolder/secret", "work/got")]

    def attack(skip):
        answers = tree.do(*attacks, ("get", "work/a"), ("get", "work/l39"), ("get", "work/l40"), skip=skip)
        if skip is None:
            assert all(a == "noent" for a in answers[:len(attacks)]), answers
            equal(answers[len(attacks):], ["loop", "ok open", "loop"])
            tree.denied(tree.outside / "secret", "no-grant")
            tree.untouched()
        return stolen(answers, tree.canary)
    ambit.negative_control(attack, JAIL)
    # The walk alone off: what lies outside the jail is still not there.
    assert not attack("fs-walk")


def test_case_5_link_in_the_base_tree():
    tree = Tree(PUB.replace("rw", "ro"))
    (tree.work / "pub" / "x").symlink_to("../priv/secret")
    (tree.work / "pub" / "d").symlink_to("../priv")
    (tree.work / "alias").symlink_to("pub")

    def attack(skip):
        answers = tree.do(("get", "work/pub/d/secret"), ("get", "work/pub/x"), ("stat", "work/pub/d/none"), ("get", "work/alias/open"), skip=skip)
        if skip is None:
            equal(answers, ["acces", "acces", "acces", "ok open"])
            tree.denied("/work/priv/secret", "no-path", "open")
        return stolen(answers, tree.canary)
    ambit.negative_control(attack, "fs-walk", "fs-decision")


def test_case_6_kernel_folders():
    tree = Tree()
    secret = str(tree.outside / "secret")
    links = {"root": f"/proc/self/root{secret}", "cwd": "/proc/self/cwd", "fd": "/proc/self/fd/0", "one": f"/proc/1/root{secret}", "dev": "/dev/fd/0",
             "environ": "/proc/self/environ", "rootfolder": "/proc/self/root"}
    for name, target in links.items():
        (tree.work / name).symlink_to(target)

    def attack(skip):
        paths = [f"work/{n}" for n in links] + [f"work/rootfolder{secret}", f"proc/self/root{secret}", "proc/self/environ", "dev/fd/0",
                                                "proc/version", "sys/kernel"]
        answers = tree.do(*[("get", p) for p in paths], skip=skip)
        if skip is None:
            equal(answers, ["noent"] * len(paths))
            tree.denied(f"/proc/self/root{secret}", "no-grant")
        return stolen(answers, tree.canary)
    ambit.negative_control(attack, JAIL)


MOUNTS = """
import os, subprocess, sys
subprocess.run(["mount", "--bind", sys.argv[1], sys.argv[2]], check=True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def test_case_6_host_mount_inside_the_folder():
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        print("no mount namespaces here: host mounts are not tested end to end")
        return
    tree = Tree()
    (tree.work / "p").mkdir()
    grants = write(tree.root / "g.yaml", "version: 1\ngrants:\n" + tree.grants + "  - {stdio: [stdin, stdout]}\n")
    for name, what, of in ((None, "secret", tree.outside), ("fs-walk", "secret", tree.outside), (None, "version", "/proc")):
        environ = ambit.environment({"AMBIT_TEST_JAIL_SKIP": name} if name else None)
        binary = ambit.hooked_binary() if name else ambit.AMBIT
        result = ambit.execute(["unshare", "-m", sys.executable, "-c", MOUNTS, of, tree.work / "p", binary, "run", "--receipt",
                                tree.root / "r.jsonl", "-g", grants, cc_guest(FSOP)], stdin=words("get", f"work/p/{what}"), environ=environ,
                               receipt=tree.root / "r.jsonl")
        if name:
            contains(result.out, tree.canary)
        else:
            equal(result.out, "acces\n", repr(result))
            equal(result.events_of("denial")[0]["reason"], "crosses-mount")


# ---- 3: swapped between check and open -----------------------------------------------------------------------------------

SWAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
work = os.open(sys.argv[1], os.O_RDONLY)
print("ready", flush=True)
os.set_blocking(0, False)
rounds = 0
while True:
    for _ in range(1000):
        if libc.renameat2(work, b"pub/d", work, b"pub/other", 2):
            sys.exit("renameat2")
    rounds += 1000
    try:
        if os.read(0, 1) == b"":
            break
    except BlockingIOError:
        pass
print(rounds)
"""


def test_case_3_swapped_between_check_and_open():
    tree = Tree(PUB.replace("rw", "ro"))
    (tree.work / "pub" / "d").mkdir()
    (tree.work / "pub" / "d" / "secret").write_text("harmless")
    (tree.work / "pub" / "other").symlink_to("../priv")

    def attack(skip):
        swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, tree.work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            equal(swapper.stdout.readline(), b"ready\n")
            answer = tree.do(("race", 20000, "work/pub/d/secret"), skip=skip, timeout=120)[0].split()
        finally:
            out, _ = swapper.communicate(timeout=60)
        equal(swapper.returncode, 0)
        counts = dict(zip(answer[1::2], map(int, answer[2::2])))
        equal(sum(counts.values()), 20000)
        assert int(out) > 1000 and counts.get("=harmless", 0) > 0 and len(counts) > 1, f"no race: {counts}, {out} swaps"
        print(f"{skip}: {int(out)} swaps, {counts}")
        return counts.get("=" + tree.canary, 0) > 0
    ambit.negative_control(attack, "fs-walk")


# ---- 4, 67: names across patterns ------------------------------------------------------------------------------------------

def test_case_4_hard_links():
    tree = Tree(PUB)
    target = str(tree.outside / "secret")[1:]

    def attack(skip):
        answers = tree.do(("link", "work/priv/secret", "work/pub/got"), ("link", target, "work/pub/got"), ("link", "work/pub/open", "work/priv/put"),
                          ("linkf", "work/priv/secret", "work/pub/got"), ("get", "work/pub/got"), skip=skip)
        if skip is None:
            equal(answers, ["acces", "noent", "acces", "acces", "noent"])
            tree.denied("/work/priv/secret", "no-path", "link")
            tree.denied("/work/priv/put", "no-path", "link")
            equal(os.stat(tree.work / "priv" / "secret").st_nlink, 1)
        tree.untouched()
        return stolen(answers, tree.canary)
    ambit.negative_control(attack, "fs-decision")


def test_case_67_links_and_renames_across_patterns():
    tree = Tree(PUB)

    def attack(skip):
        answers = tree.do(("symlink", "../priv/secret", "work/pub/l"), ("symlink", "../priv", "work/pub/d"), ("get", "work/pub/l"),
                          ("get", "work/pub/d/secret"), ("list", "work/pub/d"), ("put", "work/pub/d/new", "evil"),
                          ("rename", "work/pub/d/secret", "work/pub/got"), ("rename", "work/priv", "work/pub/all"),
                          ("rename", "work/pub/open", "work/priv/secret"), ("link", "work/pub/d/secret", "work/pub/got"), ("unlink", "work/pub/d/secret"),
                          ("get", "work/pub/got"), ("unlink", "work/pub/l"), ("unlink", "work/pub/d"), skip=skip)
        if skip is None:
            equal(answers[:2], ["ok", "ok"])
            equal(answers[2:11], ["acces"] * 9)
            equal(answers[12:], ["ok", "ok"])
            tree.denied("/work/priv/secret", "no-path", "open")
            tree.denied("/work/priv", "no-path", "rename folder")
            equal((tree.work / "priv" / "secret").read_text(), tree.canary)
        return stolen(answers, tree.canary)
    ambit.negative_control(attack, "fs-walk", "fs-decision")


# ---- 7, 8: what is no ordinary file ------------------------------------------------------------------------------------------

def test_case_7_fifo_socket_device():
    tree = Tree()
    os.mkfifo(tree.work / "fifo")
    server = socket.socket(socket.AF_UNIX)
    os.chdir(tree.work)
    server.bind("socket")
    os.chdir(tree.root.parent)
    kinds = ["fifo", "socket"]
    try:
        os.mknod(tree.work / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        kinds.append("device")
    except PermissionError:
        print("not root: no device node")
    opens = [("open", flags, f"work/{k}") for k in kinds for flags in ("r", "w", "rw", "wc", "wt", "rn")]

    def attack(skip):
        """A process of the host waits for somebody at the other end of the FIFO: does the guest wake it?"""
        waiter = subprocess.Popen([sys.executable, "-c", "import os, sys; os.open(sys.argv[1], os.O_WRONLY); print('woken')", tree.work / "fifo"],
                                  stdout=subprocess.PIPE)
        try:
            wait_for_open(waiter)
            started = time.monotonic()
            answers = tree.do(*opens, skip=skip, timeout=30)
            took = time.monotonic() - started
            time.sleep(0.2)
            woken = waiter.poll() is not None
        finally:
            waiter.kill()
            waiter.communicate()
        if skip is None:
            equal(answers, ["acces"] * len(opens))
            assert took < 20, "it blocked"
            for kind in kinds:
                tree.denied(f"/work/{kind}", "not-regular", "open")
        return woken
    ambit.negative_control(attack, "fs-kind")
    server.close()


def wait_for_open(process):
    """Until it sleeps in open(2) of the FIFO."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if "fifo" in pathlib.Path(f"/proc/{process.pid}/wchan").read_text() or \
                    "wait_for_partner" in pathlib.Path(f"/proc/{process.pid}/wchan").read_text():
                return
        except OSError:
            pass
        if pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S" and \
                pathlib.Path(f"/proc/{process.pid}/syscall").read_text().split()[0] in ("257", "56", "2"):
            return
        time.sleep(0.05)
    raise AssertionError("the other process never waited")


def test_case_8_setuid():
    tree = Tree()
    program = tree.work / "program"

    def attack(skip):
        program.write_text("good")
        program.chmod(0o6755)
        answers = tree.do(("put", "work/program", "evil"), ("over", "work/program", "evil"), ("append", "work/program", "evil"),
                          ("truncate", "work/program", 0), ("get", "work/program"), ("put", "work/new", "x"), ("mkdir", "work/folder"), skip=skip)
        if skip is None:
            equal(answers[:5], ["perm", "perm", "perm", "perm", "ok good"])
            equal(stat.S_IMODE(program.stat().st_mode), 0o6755)
            equal((tree.work / "new").stat().st_mode & 0o7111, 0)
            equal((tree.work / "folder").stat().st_mode & 0o7000, 0)
        return program.read_text() != "good"
    ambit.negative_control(attack, "fs-kind")


# ---- 9, 10 -------------------------------------------------------------------------------------------------------------------

def test_case_9_rename_across_grants():
    tree = Tree("  - {fs: /work, from: {dir: work}, allow: rw}\n  - {fs: /work/pub/inner, from: memory, allow: rw}\n"
                "  - {fs: /other, from: memory, allow: rw}\n")
    answers = tree.do(("rename", "work/priv/secret", "other/s"), ("rename", "work/priv/secret", "work/pub/inner/s"), ("rename", "work/pub", "work/moved"),
                      ("rename", "work", "x"), ("rename", "work/pub/inner", "work/moved"), ("rename", "work/priv", "work/pub/inner"),
                      ("rmdir", "work/pub/inner"), ("rename", "work/priv/secret", str(tree.outside / "got")[1:]), ("link", "work/priv/secret", "other/s"),
                      ("keep", 1, "r", "work/pub/open"), ("mkdir", "work/empty"), ("rename", "work/empty", "work/priv"), ("rename", "work/priv", "work/priv/x"),
                      ("rename", "work/pub/open", "work/priv/secret"), ("read", 1), ("rename", "work/priv/secret", "work/pub/open"))
    equal(answers, ["xdev", "xdev", "busy", "noent", "busy", "busy", "busy", "noent", "xdev", "ok", "ok", "notempty", "inval", "ok", "ok open", "ok"])
    tree.denied(tree.outside / "got", "no-grant", "rename")
    tree.untouched()
    # Control: without the mount below it the folder moves.
    equal(tree.do(("rename", "work/pub", "work/moved"), grants="  - {fs: /work, from: {dir: work}, allow: rw}\n"), ["ok"])


def test_case_9_folder_with_more_than_was_granted():
    tree = Tree('  - {fs: /work, from: {dir: work}, allow: rw, paths: [priv, "pub/**"]}\n')

    def attack(skip):
        answers = tree.do(("get", "work/priv/secret"), ("rename", "work/priv", "work/pub/mine"), ("get", "work/pub/mine/secret"), skip=skip)
        if skip is None:
            equal(answers, ["acces", "acces", "noent"])
            contains(tree.denied("/work/priv", "no-path", "rename folder")["smallest_grant"], "priv/**")
        return stolen(answers, tree.canary)
    ambit.negative_control(attack, "fs-decision")


def test_case_10_unlink_while_open():
    """What is written through the old handle does not reach the new file of that name."""
    for grants, root in (("  - {fs: /work, from: {dir: work}, allow: rw}\n", "work"), ("  - {fs: /m, from: memory, allow: rw}\n", "m")):
        tree = Tree(grants)
        steps = [("put", f"{root}/f", "old"), ("keep", 1, "rw", f"{root}/f"), ("unlink", f"{root}/f"), ("put", f"{root}/f", "new"),
                 ("write", 1, "evil"), ("size", 1, 2), ("read", 1), ("get", f"{root}/f"), ("fstat", 1)]
        equal(tree.do(*steps)[4:8], ["ok", "ok", "ok ev", "ok new"])
        # Control: without the unlink the handle is the file of that name.
        equal(tree.do(*steps[:2], *steps[4:8])[-1], "ok ev")
        assert not [p for p in tree.work.iterdir() if p.name.startswith(".nfs")]


# ---- 11: names -----------------------------------------------------------------------------------------------------------------

def test_case_11_names():
    odd = ["new\nline", "tab\t", "\u202egnp.exe", "trailing ", "trailing.", " ", "...", "-rf", "\x1b]0;title\x07", "\x9b31m", "a\\b", "CON", "\u200bzero",
           "n" * 255, "é", "e\u0301"]
    for root in ("work", "m"):
        tree = Tree("  - {fs: /work, from: {dir: work}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n")
        for name in odd:
            equal(tree.do(("put", f"{root}/{name}", name), ("get", f"{root}/{name}"), ("unlink", f"{root}/{name}"), ("mkdir", f"{root}/{name}"),
                          ("rmdir", f"{root}/{name}")), ["ok", "ok " + words(name), "ok", "ok", "ok"], repr(name))
        bad = tree.do(("put", f"{root}/nul\0byte", "x"), ("get", f"{root}/pub/open\0.txt"), ("put", f"{root}/" + "n" * 256, "x"), ("put", f"{root}/", "x"),
                      ("put", f"{root}/.", "x"), ("put", f"{root}/..", "x"), ("mkdir", f"{root}/x/.."),
                      ("put", f"{root}/" + "d/" * 3000 + "x", "x"), ("put", "", "x"), ("symlink", "a\0b", f"{root}/l"), ("list", root))
        assert "ok" not in bad[:-1], bad
        equal(bad[2], "nametoolong")
        # A text that is not UTF-8 is no string of the component model: the guest ends.
        tree.do(("put", b"%s/\xff\xfe" % root.encode(), "x"), rc=ambit.TRAP)
        contains(tree.result.err, "utf-8")
        equal(sorted(os.listdir(tree.work)), ["priv", "pub"])


def test_case_11_twins_of_a_granted_name():
    """Another case, another normalisation, a dot or blank more: another name."""
    tree = Tree('  - {fs: /work, from: {dir: work}, allow: ro, paths: ["Read\u00e9", "pub/**"]}\n')
    twins = ["read\u00e9", "READ\u00c9", "Reade\u0301", "Read\u00e9.", "Read\u00e9 ", "Read\u00e9\u200b", "PUB/open"]
    (tree.work / "PUB").mkdir()
    for name in ["Read\u00e9", *twins]:
        (tree.work / name).write_text(tree.canary)

    def attack(skip):
        answers = tree.do(("get", "work/Read\u00e9"), *[("get", f"work/{t}") for t in twins], skip=skip)
        assert tree.canary in answers[0]
        if skip is None:
            equal(answers[1:], ["acces"] * len(twins))
            tree.denied("/work/PUB/open", "no-path")
        return stolen(answers[1:], tree.canary)
    ambit.negative_control(attack, "fs-decision")
