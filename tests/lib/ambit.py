# SPDX-License-Identifier: Apache-2.0
"""What system and hostile tests use to run Ambit and to make guests, canaries and listeners.

A test is a function `test_*()` without arguments in tests/system/ or tests/hostile/. tests/run calls each one in a
process of its own, with a working directory, HOME and TMPDIR that were made for it and are removed after it. It fails
by raising: `assert`, `equal()`, `contains()`.

Machine code is cached for the whole test run, so that Python compiles once: state is shared between tests unless
`isolated=True` asks for a state folder of its own.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import pty
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("AMBIT_TEST_BUILD", TOP / "build"))
HOOKED_BUILD = TOP / "build-test"
GUESTS = BUILD / "test-guests"
AMBIT = pathlib.Path(os.environ.get("AMBIT_TEST_BINARY", BUILD / "ambit"))

if sys.argv[0] == "-c" and pathlib.Path.cwd() == TOP:  # a test by itself, not by tests/run: what it writes is not the tree's
    os.chdir(tempfile.mkdtemp(prefix="ambit-test-"))

USAGE, BAD_GRANT, BAD_COMPONENT, DENIED, TIME_LIMIT, LIMIT, TRAP, INTERNAL = range(120, 128)


class Result:
    """How a command ended: `rc`, `out` and `err` (text, undecodable bytes escaped), `raw_out`, and the events of its receipt."""

    def __init__(self, command, rc, raw_out, raw_err, receipt, seconds):
        self.command, self.rc, self.raw_out, self.seconds = command, rc, raw_out, seconds
        self.out, self.err = (b.decode("utf-8", "backslashreplace") for b in (raw_out, raw_err))
        self.receipt = receipt

    @property
    def events(self):
        """The receipt, one dict an event; [] when there is none."""
        if self.receipt is None or not os.path.exists(self.receipt):
            return []
        with open(self.receipt, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def events_of(self, name):
        return [e for e in self.events if e.get("event") == name]

    def __repr__(self):
        def cut(text):
            return text if len(text) < 4000 else text[:2000] + "\n[…]\n" + text[-2000:]
        return f"$ {' '.join(map(str, self.command))}\nexit code {self.rc} after {self.seconds:.2f} s\n" \
               f"stdout:\n{cut(self.out)}\nstderr:\n{cut(self.err)}"


def environment(env=None, isolated=False):
    """What a command under test sees: nothing of the caller's but PATH and the folders made for this test."""
    base = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "AMBIT_STATE_DIR") if name in os.environ}
    base["LANG"] = "C.UTF-8"
    if isolated:
        base["AMBIT_STATE_DIR"] = tempfile.mkdtemp(prefix="state-", dir=os.environ.get("TMPDIR"))
    base.update(env or {})
    return {k: v for k, v in base.items() if v is not None}


def allow_missing():
    """Flags for the jail layers that this machine does not have (a chroot has no user namespaces); tests/run says which."""
    return [f"--allow-missing-jail={layer}" for layer in os.environ.get("AMBIT_TEST_MISSING_JAIL", "").split()]


def run(*args, stdin=b"", env=None, cwd=None, timeout=60, isolated=False, skip=None, binary=None, rc=None):
    """Runs `ambit args…`. `skip` names the defence that a negative control leaves open ("landlock", …): it needs the
    test build, which tests/run makes. With `rc` the exit code must be that one."""
    args = [str(a) for a in args]
    receipt = None
    if args and args[0] == "run" and "--receipt" not in args:
        receipt = tempfile.mktemp(prefix="receipt-", suffix=".jsonl", dir=os.environ.get("TMPDIR"))
        args[1:1] = ["--receipt", receipt]
    if args and args[0] in ("run", "inspect"):
        args[1:1] = allow_missing()
    environ = environment(env, isolated)
    if skip:
        binary = binary or hooked_binary()
        environ["AMBIT_TEST_JAIL_SKIP"] = skip
    result = execute([str(binary or AMBIT), *args], stdin, environ, cwd, timeout, receipt)
    assert rc is None or result.rc == rc, f"expected exit code {rc}\n{result!r}"
    return result


def execute(command, stdin=b"", environ=None, cwd=None, timeout=60, receipt=None):
    """Any command, e.g. the native twin of a guest."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environ or environment(), cwd=cwd, start_new_session=True)
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s\n" + repr(
            Result(command, None, out, err, receipt, time.monotonic() - start))) from None
    return Result(command, process.returncode, out, err, receipt, time.monotonic() - start)


QUESTION = b"or [N]ever? "


def run_on_terminal(*args, typed=b"", answers=(), env=None, cwd=None, timeout=60):
    """Runs `ambit args…` with a pseudo-terminal as all three streams; `out` is what a person would see, raw.

    `answers` are typed one by one as --ask asks: a text, (seconds of thought, text), or a function of Ambit's
    process id that gives a text."""
    args = [str(a) for a in args]
    receipt = None
    if args and args[0] in ("run", "inspect"):
        args[1:1] = allow_missing()
    if args and args[0] == "run":
        receipt = tempfile.mktemp(suffix=".jsonl")
        args[1:1] = ["--receipt", receipt]
    command = [str(AMBIT), *args]
    start = time.monotonic()
    pid, master = pty.fork()
    if pid == 0:
        if cwd:
            os.chdir(cwd)
        os.execve(command[0], command, environment(env))
    out, asked, answers = b"", 0, list(answers)
    if typed:
        os.write(master, typed)
    while True:
        while out.count(QUESTION) > asked:
            asked += 1
            assert answers, f"a question that nobody expected: {out!r}"
            thought, answer = answers[0] if isinstance(answers[0], tuple) else (0, answers[0])
            answer = answer(pid) if callable(answer) else answer
            del answers[0]
            time.sleep(thought)
            os.write(master, answer.encode() + b"\n")
        ready, _, _ = select.select([master], [], [], max(0.0, start + timeout - time.monotonic()))
        if not ready:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError(f"no end after {timeout} s: {out!r}")
        try:
            chunk = os.read(master, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            break
        out += chunk
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert not answers, f"never asked: {answers} {out!r}"
    return Result(command, os.waitstatus_to_exitcode(status), out, b"", receipt, time.monotonic() - start)


def missing_layers(binary=None):
    """Names of the jail layers that `ambit doctor` cannot have here."""
    report = json.loads(execute([binary or AMBIT, "doctor", "--json"]).out)
    return [c["name"] for c in report["checks"] if c["group"] == "jail" and c["state"] != "ok"]


def hooked_binary():
    binary = HOOKED_BUILD / "ambit"
    assert binary.exists(), "this test needs the test build: run it by `make test` or `tests/run`"
    return binary


def negative_control(attack, *skips):
    """A defence counts only when the attack succeeds without it. `attack(skip)` answers whether it succeeded; it must
    not with skip=None, and must with each of `skips`."""
    assert not attack(None), "the attack succeeded although every defence was on"
    for skip in skips:
        assert attack(skip), f"the attack failed even with {skip} off: this test proves nothing"


# ---- things to compare -------------------------------------------------------------------------------------------------

def equal(got, wanted, about=""):
    assert got == wanted, f"{about}\n     got: {got!r}\n  wanted: {wanted!r}"


def contains(text, part, about=""):
    assert part in text, f"{about}\n  wanted: {part!r}\n  in: {text!r}"


def lacks(text, part, about=""):
    assert part not in text, f"{about}\n  not wanted: {part!r}\n  in: {text!r}"


# ---- guests ------------------------------------------------------------------------------------------------------------

def write(path, content):
    """A file, with the folders above it; returns its path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def wat(text, name="guest.wat"):
    """A module or component in text form, in the test's own folder."""
    return write(pathlib.Path(tempfile.mkdtemp(prefix="wat-", dir=os.environ.get("TMPDIR"))) / name, text)


def script(text, name="script.py"):
    """A Python script in the current folder."""
    return write(name, text)


def cc_guest(source, *flags):
    """A WASI 0.1 module from C (text, or the path of a .c file) by clang and wasi-libc; built once and kept."""
    if not isinstance(source, pathlib.Path) and "\n" in source:
        code = source
    else:
        code = pathlib.Path(source).read_text()
    key = hashlib.sha256("\0".join([code, *flags]).encode()).hexdigest()[:16]
    made = GUESTS / f"{key}.wasm"
    if not made.exists():
        GUESTS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=GUESTS) as work:
            c = write(pathlib.Path(work) / "guest.c", code)
            out = pathlib.Path(work) / "guest.wasm"
            result = execute(["clang", "--target=wasm32-wasi", "-O2", "-o", out, c, *flags], timeout=120,
                             environ={**os.environ})
            assert result.rc == 0, repr(result)
            os.replace(out, made)
    return made


def copy_what_is_there(source, target):
    """For copytree: other tests may make and remove entries of the cache meanwhile. No links: who clears a folder away changes modes."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def place(name="own", guests=False):
    """The environment of an installation of its own: state and configuration. With `guests`, with the machine code of the
    interpreter, which is made once for all tests."""
    folder = pathlib.Path(os.environ["HOME"]) / name
    folder.mkdir(exist_ok=True)
    compiled, own = pathlib.Path(os.environ["AMBIT_STATE_DIR"]) / "cache", folder / "state" / "cache"
    if guests and not own.exists():
        run("run", script("print(1)"), rc=0)
        (folder / "state").mkdir(mode=0o700)
        shutil.copytree(compiled, own, copy_function=copy_what_is_there)
    return {"AMBIT_STATE_DIR": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}


def compiler_for_guests():
    return pathlib.Path("/usr/lib/wasm32-wasi/libc.a").exists()


# ---- bait --------------------------------------------------------------------------------------------------------------

CANARY_FILES = (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".git-credentials")


def plant_canaries(home):
    """Files that a thief looks for, with contents that exist nowhere else: {relative path: canary}."""
    canaries = {}
    for name in CANARY_FILES:
        canary = "canary-" + os.urandom(12).hex()
        write(pathlib.Path(home) / name, f"# not a real secret\n{canary}\n").chmod(0o600)
        canaries[name] = canary
    return canaries


class Listener:
    """A listener on loopback that keeps everything it is sent: `with Listener() as l: … l.port, l.received`."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.chunks, self.connections = [], 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def _serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            with peer:
                peer.settimeout(5)
                with contextlib.suppress(OSError):
                    while chunk := peer.recv(65536):
                        self.chunks.append(chunk)

    @property
    def received(self):
        return b"".join(self.chunks)

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)
