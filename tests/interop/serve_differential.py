#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ambit serve` beside `wasmtime serve` (scripts/peers): the same component, the same bytes to each, the same answers.

    tests/interop/serve_differential.py [-v] [--no-javascript]

Compared are status, headers (their order and case left aside), the bytes of the body, trailers, and whether an answer is whole.
APART are the headers that belong to a server and not to what it serves; EXCEPTIONS are the requests that the two answer
differently, each with its reason, each of which must be used (but for RACES). Negative controls: another body, status, header and trailer must be
noticed. The components are tests/guests/http and, by componentize-js, bench/javascript.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path[:0] = [str(TOP / "tests" / "lib"), str(HERE)]
sys.dont_write_bytecode = True
from interop import build_cache, wasmtime  # noqa: E402  pylint: disable=wrong-import-position
from origin import Origin  # noqa: E402  pylint: disable=wrong-import-position
from serving import Serving, component, wait_for  # noqa: E402  pylint: disable=wrong-import-position

PATIENCE = 60  # seconds, for what never comes
Answer = collections.namedtuple("Answer", "status headers body trailers whole")

# header: reason
APART = {
    "date": "each server writes its own clock",
    "transfer-encoding": "how a body of unknown length travels is the server's; the body itself is compared",
    "connection": "whether the connection stays open is the server's",
}
TRAILERS = "wasmtime's hyper sends only trailers that the answer's head has named; RFC 9110 6.5.1 does not ask for that"
PAGE = "the page of a fault is the server's: wasmtime's is HTML and names itself"
CUT = "an answer whose guest trapped looks whole to clients of wasmtime; ours cuts it short"
SHORT = "a body that ends early: wasmtime closes without an answer, ours sends what there is and cuts it short"
# request: (fields that differ, reason)
EXCEPTIONS = {
    "trailers back": (["trailers"], TRAILERS),
    "trailers back, wanted": (["trailers"], TRAILERS),
    "status 204": (["headers"], "RFC 9110 8.6: an answer of 204 has no Content-Length; wasmtime sends the guest's, ours takes it off"),
    "trap": (["headers", "body"], PAGE),
    "no answer": (["headers", "body"], PAGE),
    "trap in a body": (["whole"], CUT),
    "asks, cut": (["whole"], CUT),
    "body too short": (["status", "headers", "body"], SHORT),
    "body dropped": (["status", "body"], SHORT),
    "body too long": (["body", "whole"], "a write beyond content-length fails as a whole here and the answer is cut short; wasmtime sends the part that fits"),
    "percent": (["status", "headers", "body"], "a % that escapes nothing is no target (RFC 3986 2.1): ours answers 400; hyper lets it pass"),
    "byte above 127": (["status", "headers", "body"], "a target is ASCII (RFC 9112 3.2, RFC 3986): ours answers 400; hyper lets such bytes pass"),
}
# Whether wasmtime has written the head by then is a race of its own: these are not always met.
RACES = {"body too short", "body dropped"}


def request(method, target, body=b"", chunks=None, headers=(), trailers=()):
    rows = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{n}: {v}" for n, v in headers)]
    if chunks is None and body:
        rows.append(f"Content-Length: {len(body)}")
    if chunks is not None:
        rows.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode() + b"\r\n"
    return "\r\n".join(rows).encode() + b"\r\n\r\n" + body


def head_of(file):
    line = file.readline()
    if not line:
        return 0, []
    pairs = []
    while (row := file.readline().decode("latin-1").strip("\r\n")):
        name, value = row.split(":", 1)
        pairs.append((name.lower(), value.strip()))
    return int(line.split()[1]), pairs


def read_chunked(file):
    body, trailers = b"", []
    try:
        while size := int(file.readline().split(b";")[0], 16):
            part = file.read(size)
            body += part
            if len(part) != size or file.readline() != b"\r\n":
                return body, trailers, False
        while (row := file.readline()) not in (b"\r\n", b""):
            name, value = row.decode("latin-1").split(":", 1)
            trailers.append((name.lower(), value.strip()))
        return body, trailers, row == b"\r\n"
    except (ValueError, OSError):
        return body, trailers, False


def ask(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s, s.makefile("rb") as file:
        with contextlib.suppress(OSError):
            s.sendall(data)
        try:
            status, pairs = head_of(file)
            while 100 <= status < 200:
                status, pairs = head_of(file)
        except OSError:
            return Answer(0, (), b"", (), False)
        headers, trailers = dict(pairs), []
        if data.startswith(b"HEAD ") or status in (204, 304, 0):
            body, whole = b"", status != 0
        elif "chunked" in headers.get("transfer-encoding", ""):
            body, trailers, whole = read_chunked(file)
        else:
            size = int(headers["content-length"]) if "content-length" in headers else -1
            try:
                body = file.read(size)
            except OSError:
                body = b""
            whole = size < 0 or len(body) == size
        return Answer(status, tuple(sorted(p for p in pairs if p[0] not in APART)), body, tuple(sorted(trailers)), whole)


def requests(origin):
    """{name: bytes}"""
    big = bytes(range(256)) * 4096
    table = {f"status {n}": request("GET", f"/status/{n}") for n in (200, 201, 204, 299, 301, 304, 400, 404, 418, 500, 503, 599)}
    table |= {f"body of {n}": request("POST", "/echo", big[:n]) for n in (1, 65535, 65536, 65537, len(big))}
    table |= {f"chunks of {n}": request("POST", "/echo", chunks=[big[i:i + n] for i in range(0, 200_000, n)]) for n in (1000, 65536)}
    table |= {f"{m} heads": request(m, "/head?a=1&b=%20", headers=[("X-Two", "1"), ("x-two", "2"), ("X-Empty", ""), ("Cookie", "a=b")])
              for m in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE")}
    table |= {"HEAD": request("HEAD", "/hello"), "HEAD of a stream": request("HEAD", "/events"), "HEAD of nothing": request("HEAD", "/status/404"),
              "hello": request("GET", "/hello"), "a fresh instance": request("GET", "/count"), "down": request("GET", "/big/3000000"),
              "down, nothing": request("GET", "/big/0"), "headers twice": request("GET", "/cookies"), "events": request("GET", "/events"),
              "trailers back": request("GET", "/trailers"), "trailers back, wanted": request("GET", "/trailers", headers=[("TE", "trailers")]),
              "trailers": request("POST", "/finish", chunks=[b"x"], trailers=[("x-one", "1"), ("x-two", "2")]),
              "no trailers": request("POST", "/finish", chunks=[b"x"]), "no trailers, length": request("POST", "/finish", b"abc"),
              "body not read": request("POST", "/ignore", b"abc"), "up": request("POST", "/sink", big), "100": request("POST", "/sink", b"abc", headers=[("Expect", "100-continue")]),
              "trap": request("GET", "/trap"), "trap in a body": request("GET", "/late-trap"), "no answer": request("GET", "/never"),
              "body too short": request("GET", "/short"), "body too long": request("GET", "/long"), "body dropped": request("GET", "/drop-stream"),
              "not there": request("GET", "/nothing"), "absolute form": request("GET", "http://localhost/head?x"), "no path": request("GET", "/"),
              "percent": request("GET", "/head?%zz=%00&%"), "byte above 127": request("GET", "/head?ü"),
              "asks upstream": request("GET", f"/ask/{origin.port}/hello"), "asks for much": request("GET", f"/ask/{origin.port}/big?n=1000000"),
              "asks and gets 404": request("GET", f"/ask/{origin.port}/status/404"), "asks, cut": request("GET", f"/ask/{origin.port}/cut"),
              "asks nobody": request("GET", "/ask/1/hello")}
    return table


def in_order(answer):
    """The headers that a guest got, in an order of their own: RFC 9110 5.3 gives meaning only to that of one name's."""
    first, *rows = answer.body.split(b"\n")
    return answer._replace(body=b"\n".join([first, *sorted(rows, key=lambda r: r.split(b":")[0])]))


def differences(ours, theirs):
    """{field: words}"""
    return {field: f"{field}: {a!r:.200}, wasmtime {b!r:.200}" for field, a, b in zip(Answer._fields, ours, theirs) if a != b}


@contextlib.contextmanager
def wasmtime_serve(file, *flags):
    with tempfile.TemporaryFile() as said, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        process = subprocess.Popen([str(wasmtime()), "serve", "-Scli", "--addr", f"127.0.0.1:{port}", *flags, str(file)], stdin=subprocess.DEVNULL,
                                   stdout=said, stderr=said)
        try:
            def listens():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    return True
                return process.poll() is not None
            wait_for(listens, "wasmtime serve")
            if process.poll() is not None:
                said.seek(0)
                raise RuntimeError(said.read().decode(errors="replace"))
            yield port
        finally:
            process.terminate()
            process.wait()


def compare(file, table, origin, verbose, prefix=""):
    """[(name, faults)], and the exceptions that were met."""
    met, results = set(), []
    grants = ["--net", f"http://127.0.0.1:{origin.port}/**"]
    with Serving(file, "--workers", "1", *grants) as ambit, wasmtime_serve(file) as port:
        for name, data in table.items():
            ours, theirs = ask(ambit.port, data), ask(port, data)
            if name.endswith(" heads"):
                ours, theirs = in_order(ours), in_order(theirs)
            found = differences(ours, theirs)
            fields, reason = EXCEPTIONS.get(name, ([], ""))
            if found and set(found) <= set(fields):
                met.add(name)
                print(f"known  {prefix}{name}: {reason}" + "".join(f"\n       | {f}" for f in found.values() if verbose))
                found = {}
            results.append((prefix + name, list(found.values())))
    return results, met


def controls(file, origin):
    with Serving(file, "--workers", "1") as ambit:
        for name, one, other in (("body", "/hello", "/count"), ("status", "/status/200", "/status/201"), ("headers", "/cookies", "/events"),
                                 ("trailers", "/trailers", "/drop-stream")):
            found = differences(ask(ambit.port, request("GET", one)), ask(ambit.port, request("GET", other)))
            yield f"control: another {name}", name in found


def javascript_component(folder):
    out = pathlib.Path(folder) / "hello-js.wasm"
    subprocess.run([str(TOP / "bench/javascript/build"), str(out), str(build_cache())], check=True)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", action="store_true", dest="verbose", help="show what differs where that is known")
    parser.add_argument("--no-javascript", action="store_true", help="leave out the component that npm makes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Origin() as origin:
        results, met = compare(component(), requests(origin), origin, arguments.verbose)
        if not arguments.no_javascript:
            table = {"GET": request("GET", "/"), "POST": request("POST", "/x", b"abc"), "HEAD": request("HEAD", "/"), "chunks": request("PUT", "/", chunks=[b"a", b"b"])}
            results += compare(javascript_component(folder), table, origin, arguments.verbose, "componentize-js, ")[0]
        results += [(f"known difference {name}", ["it is the same now: remove it from the list"]) for name in EXCEPTIONS if name not in met | RACES]
        results += [(name, [] if noticed else ["NOT noticed"]) for name, noticed in controls(component(), origin)]
    failed = sum(bool(found) for _, found in results)
    for name, found in results:
        if found or arguments.verbose:
            print(f"{'FAILED' if found else 'ok':7}{name}" + "".join(f"\n       | {f}" for f in found))
    print(f"serve beside wasmtime serve: {len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
