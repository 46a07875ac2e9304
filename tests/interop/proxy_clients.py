#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Native clients through `ambit proxy`, unmodified: nothing set but what its settings file says. curl, git, Node (fetch, https), Python requests,
npm, pip; HTTP/1.1 and 2; bodies of 0 to 100 MB both ways with the resident memory of its rooms before and after.

    tests/interop/proxy_clients.py [--only TEXT]

Part of `make interop`. Node and requests are those that tests/interop pins; curl, git, npm and pip's Python are this machine's, a client that is not
there is a failure that names it. Each case has a folder, a certificate authority, a DNS server and an origin of its own on loopback. The last
line is `N passed, N failed`."""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
sys.dont_write_bytecode = True
import ambit  # noqa: E402  pylint: disable=wrong-import-position
import interop  # noqa: E402  pylint: disable=wrong-import-position
import proxy_clients as c  # noqa: E402  pylint: disable=wrong-import-position
from proxy import World  # noqa: E402  pylint: disable=wrong-import-position

SIZES = (0, 1, 4096, 65535, 65536, 65537, c.MB, 16 * c.MB, 100 * c.MB)
BEARER = {"secrets": {"the-token": c.SECRET}, "set_headers": {"authorization": "Bearer ${secret:the-token}"}}


def program(name):
    found = shutil.which(name)
    assert found, f"{name} is not on this machine"
    return found


def site():
    return interop.upstream_python(None).mounts[0][0]


def pip():
    interop.upstream_python(None)  # makes the folder with pip, beside what it installs
    return interop.build_cache() / "interop" / "pip" / "bin" / "python"


def through(work, *arguments, git="read", secrets=None, **secret):
    def case():
        with World() as w, w.proxy(*c.grants(w, git, **secret), secrets=secrets) as p:
            return work(w, p, *(a() if callable(a) else a for a in arguments))
    return case


def repository(git, work):
    def case():
        with World() as w:
            bare = c.git_origin(w)
            with w.proxy(*c.grants(w, git)) as p:
                c.git_reads(w, p, bare)
                work(w, p, bare)
    return case


def git_placeholder():
    with World() as w:
        bare = c.git_origin(w)
        with w.proxy(w.grant(paths=["/git/**"], set_headers={"authorization": "Basic ${secret:git-token}"}),
                     secrets={"git-token": c.SECRET}) as p:
            c.git_with_placeholder(w, p, bare)


CASES = {
    "curl/bodies/http1": through(c.curl_bodies, "--http1.1", SIZES),
    "curl/bodies/http2": through(c.curl_bodies, "--http2", SIZES),
    "curl/forms/http1": through(c.curl_forms, "--http1.1"),
    "curl/forms/http2": through(c.curl_forms, "--http2"),
    "curl/events": through(c.curl_events, "--http2"),
    "curl/memory": through(c.curl_memory, 100 * c.MB),
    "curl/memory/with a secret": through(c.curl_memory, 100 * c.MB, **BEARER),
    "curl/denied": through(c.curl_denied),
    "git/read, push denied": repository("read", lambda w, p, bare: c.git_pushes(w, p, bare, allowed=False)),
    "git/push": repository("write", lambda w, p, bare: c.git_pushes(w, p, bare, allowed=True)),
    "git/placeholder in the URL": git_placeholder,
    "node/fetch and https": through(c.node_asks, interop.node),
    "node/placeholder": through(c.placeholders, interop.node, **BEARER),
    "python/requests": through(c.python_requests, site),
    "python/urllib": through(c.python_urllib),
    "npm/install": through(c.npm_installs, lambda: program("npm")),
    "pip/install": through(c.pip_installs, pip),
}


def run(case):
    folder, before = tempfile.mkdtemp(prefix="ambit-clients-"), os.getcwd()
    try:
        for name in ("home", "tmp", "work"):
            os.mkdir(f"{folder}/{name}")
        os.mkdir(f"{folder}/state", mode=0o700)
        os.chdir(f"{folder}/work")
        # the caches of interop are found by the HOME there was
        os.environ.setdefault("AMBIT_BUILD_CACHE", str(interop.build_cache()))
        os.environ.update(HOME=f"{folder}/home", TMPDIR=f"{folder}/tmp", AMBIT_STATE_DIR=f"{folder}/state")
        tempfile.tempdir = None
        return True, case() or ""
    except Exception:  # pylint: disable=broad-exception-caught
        return False, traceback.format_exc()
    finally:
        os.chdir(before)
        os.environ.pop("TMPDIR", None)
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds TEXT")
    only = parser.parse_args().only
    missing = ambit.missing_layers()
    if missing:
        os.environ["AMBIT_TEST_MISSING_JAIL"] = " ".join(missing)
    passed = failed = 0
    for name, case in CASES.items():
        if only not in f"proxy/{name}":
            continue
        start = time.monotonic()
        fine, text = run(case)
        passed, failed = passed + fine, failed + (not fine)
        notes = text if fine and isinstance(text, str) else ""
        print(f"{'ok' if fine else 'FAILED':6} proxy/{name}  {time.monotonic() - start:.1f} s  {notes}", flush=True)
        if not fine:
            print("".join(f"    | {line}\n" for line in text.splitlines()[-40:]), end="", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or (not passed and not only) else 0


if __name__ == "__main__":
    sys.exit(main())
