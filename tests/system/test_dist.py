# SPDX-License-Identifier: Apache-2.0
"""`make install` and `make dist`: what they make works where it is put, and knows nothing of the place where it was built."""

import os
import pathlib
import shutil
import tarfile

from ambit import TOP, contains, equal, execute, lacks, run, write


def script_of_ours(*args):
    """As make calls it; make itself would look for things to install first."""
    # The licences are those of the crates that cargo keeps in the person's own HOME.
    environ = {**os.environ, "LC_ALL": "C", "HOME": os.environ["AMBIT_TEST_HOME"]}
    result = execute([TOP / "scripts" / args[0], *args[1:]], environ=environ, timeout=120)
    assert result.rc == 0, repr(result)
    return result


def works(binary):
    """A Python script and a refused read, from a folder that has nothing to do with the tree."""
    home = pathlib.Path("elsewhere")
    home.mkdir()
    write(home / "hello.py", "print('hello')\ntry:\n    open('/etc/hostname')\nexcept OSError as e:\n    print('refused')\n")
    result = run("run", "hello.py", cwd=home, binary=binary.resolve(), rc=0, timeout=120)
    equal(result.out, "hello\nrefused\n")
    contains(execute([binary, "--version"]).out, "ambit ")


def needs_only_libc(binary):
    listed = execute(["readelf", "-d", binary], environ={**os.environ, "LC_ALL": "C"}).out
    lacks(listed, "RUNPATH")
    lacks(listed, "RPATH")
    needed = {line.split("[")[1].split("]")[0] for line in listed.splitlines() if "(NEEDED)" in line}
    return needed


def test_install():
    prefix = pathlib.Path("prefix").absolute()
    script_of_ours("install", prefix)
    works(prefix / "bin" / "ambit")
    for path in ("share/ambit/python.wasm", "share/ambit/js.wasm", "share/man/man1/ambit.1", "share/man/man1/ambit-run.1", "share/doc/ambit/LICENSE",
                 "share/bash-completion/completions/ambit", "share/zsh/site-functions/_ambit"):
        assert (prefix / path).stat().st_size > 0, path
    modes = {p: p.stat().st_mode & 0o777 for p in prefix.rglob("*") if p.is_file()}
    for path, mode in modes.items():
        equal(mode, 0o755 if path.parent.name == "bin" else 0o644, path)


def test_install_with_destdir_stays_below_it():
    script_of_ours("install", "/usr/local", pathlib.Path("root").absolute())
    equal(sorted(p.name for p in pathlib.Path("root").iterdir()), ["usr"])
    works(pathlib.Path("root/usr/local/bin/ambit"))


def test_tarball_runs_where_it_is_unpacked():
    if not shutil.which("readelf"):
        return
    out = pathlib.Path("made").absolute()
    result = script_of_ours("dist", out)
    tarball, = out.glob("ambit-*-linux-x86_64.tar.gz")
    contains(result.out, tarball.name)
    with tarfile.open(tarball) as t:
        for member in t:
            assert not member.name.startswith(("/", "..")) and member.uid == 0 and (member.isfile() or member.isdir()), member.name
        t.extractall("unpacked")
    top, = pathlib.Path("unpacked").iterdir()
    works(top / "bin" / "ambit")
    assert needs_only_libc(top / "bin" / "ambit") <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
    licences = (top / "share/doc/ambit/THIRD-PARTY.txt").read_text()
    for name in ("wasmtime ", "OpenSSL", "curl 8.", "nghttp2", "c-ares", "jansson", "libyaml", "QuickJS"):
        contains(licences, name)
    lacks(licences, "libseccomp")
