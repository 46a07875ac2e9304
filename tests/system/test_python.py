# SPDX-License-Identifier: Apache-2.0
"""Python that ships: a script under Ambit behaves as under python3, and says why where it cannot."""

import os
import pathlib
import textwrap

from ambit import AMBIT, TRAP, allow_missing, contains, environment, equal, execute, lacks, run, run_on_terminal, write

NATIVE = "/usr/bin/python3"


def python(code, *args, flags=(), name="script.py", **options):
    write(name, textwrap.dedent(code))
    return run("run", "-q", *flags, name, *args, **options)


def same_as_native(code, *args, stdin="", name="script.py"):
    """Same standard output and exit code; returns both results."""
    write(name, textwrap.dedent(code))
    ours = run("run", "-q", "--read", ".", name, *args, stdin=stdin)
    native = execute([NATIVE, name, *args], stdin, environment({"PYTHONDONTWRITEBYTECODE": "1"}))
    equal(ours.out, native.out, repr(ours))
    equal(ours.rc, native.rc, repr(ours))
    return ours, native


def test_arguments_name_and_file():
    same_as_native("""
        import sys
        print(__name__, sys.argv[1:], len(sys.argv), __file__.endswith("script.py"))
    """, "one", "two three", "-x", "--read", "ü")


def test_standard_input():
    same_as_native("import sys; print(sys.stdin.read().upper()); print(sys.stdin.read() == '')", stdin="some\ninput")
    same_as_native("print(input(), '|', input())", stdin="first\nsecond\n")
    same_as_native("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])", stdin=bytes(range(97, 123)))


def test_end_of_input():
    result = python("input()")
    equal(result.rc, 1)
    contains(result.err, "EOFError: EOF when reading a line")


def test_script_on_standard_input():
    result = run("run", "-q", "-", "a", stdin="#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\n")
    equal((result.rc, result.out), (0, "['a']\n"), repr(result))


def test_exit_codes():
    for code in ("pass", "import sys; sys.exit(3)", "import sys; sys.exit()", "import sys; sys.exit(-1)", "import sys; sys.exit(256)",
                 "raise SystemExit(True)", "import sys; sys.exit('to stderr')", "1/0", "import os; os._exit(7)", "raise SystemExit(255)"):
        ours, native = same_as_native(code)
        if "stderr" in code:
            equal(ours.err, native.err)


def test_exit_message_follows_output():
    result = python("import sys; print('first'); sys.exit('second')")
    equal((result.rc, result.out, result.err), (1, "first\n", "second\n"))


def test_traceback_shows_source_lines():
    result = python("""\
        def divide(a):
            return a / 0

        try:
            divide(1)
        except ZeroDivisionError as e:
            raise ValueError("outer") from e
    """)
    equal(result.rc, 1)
    for part in ("Traceback (most recent call last):\n  File \"/work/script.py\", line 5, in <module>", "    return a / 0\n",
                 "ZeroDivisionError: division by zero\n\nThe above exception was the direct cause", "ValueError: outer\n"):
        contains(result.err, part)
    lacks(result.err, "app.py", "a frame of Ambit's own is shown")


def test_tracebacks_through_the_library_ask_for_no_files():
    result = python("import json; json.loads('{')")
    equal(result.rc, 1)
    contains(result.err, "JSONDecodeError")
    equal(result.events_of("denial"), [])


def test_syntax_error():
    result = python("print('a'\nx = = 2\n")
    equal((result.rc, result.out), (1, ""))
    contains(result.err, "SyntaxError")
    contains(result.err, "File \"/work/script.py\"")
    lacks(result.err, "app.py")


def test_own_exception_hook():
    result = python("import sys; sys.excepthook = lambda t, v, b: print('hook', t.__name__, v); raise KeyError('k')")
    equal((result.rc, result.out, result.err), (1, "hook KeyError 'k'\n", ""))


def test_end_of_program_in_order():
    same_as_native("""
        import atexit
        atexit.register(print, "exit handler")
        class D:
            def __del__(self): print("finalizer")
        d = D()
        print("last line")
    """)


def test_files_left_open_are_written():
    os.mkdir("out")
    result = python("""
        class Keeper: pass
        f = open("out/global.txt", "w"); f.write("global")
        k = Keeper(); k.file = open("out/cycle.txt", "w"); k.file.write("cycle"); k.me = k
    """, flags=("--write", "out"), rc=0)
    equal(pathlib.Path("out/global.txt").read_text(), "global", repr(result))
    equal(pathlib.Path("out/cycle.txt").read_text(), "cycle", repr(result))


def test_working_directory_and_paths():
    write("data/in.txt", "content")
    same_as_native("""
        import os
        print(open("data/in.txt").read(), os.path.exists("data/none"), sorted(os.listdir("data")), os.path.basename(__file__))
        with open(os.path.join(os.getcwd(), "data", "in.txt")) as f: print(len(f.read()))
    """)


def test_sibling_imports_where_granted():
    write("helper.py", "def go(): return 'from the sibling'\n")
    write("package/__init__.py", "")
    write("package/inner.py", "VALUE = 42\n")
    same_as_native("import helper, package.inner; print(helper.go(), package.inner.VALUE)")
    result = python("import helper")
    equal(result.rc, 1)
    contains(result.err, "ModuleNotFoundError: No module named 'helper'\n")
    contains(result.err, "grant its folder: --read")
    assert not pathlib.Path("__pycache__").exists(), "an import wrote into a folder that was granted for reading"


def test_pythonpath_packages():
    write("lib/purepkg/__init__.py", "from .part import NAME\n")
    write("lib/purepkg/part.py", "NAME = 'pure'\n")
    result = python("import purepkg, sys; print(purepkg.NAME)", flags=("--read", "lib", "--env", "PYTHONPATH=/work/lib"))
    equal((result.rc, result.out), (0, "pure\n"), repr(result))


def test_environment_only_what_was_granted():
    result = python("import os; print(dict(os.environ)); print(os.getenv('HOME'), os.path.expanduser('~'))", flags=("--env", "A=1"),
                    env={"SECRET": "no"})
    equal((result.rc, result.out), (0, "{'A': '1'}\nNone ~\n"), repr(result))


def test_native_extensions_say_why():
    for name in ("numpy", "pandas.core", "torch"):
        result = python(f"import {name}")
        equal(result.rc, 1)
        contains(result.err, f"ModuleNotFoundError: No module named '{name.split('.')[0]}'")
        contains(result.err, "native extension")
    result = python("""
        try:
            import numpy
        except ImportError:
            numpy = None
        import importlib.util
        print(numpy, importlib.util.find_spec("numpy"))
    """)
    equal((result.rc, result.out), (0, "None None\n"), "programs that can do without must be able to")


def test_missing_standard_modules_say_why():
    for name in ("_ssl", "ctypes", "curses", "fcntl", "mmap", "lzma", "bz2", "tkinter", "multiprocessing.shared_memory"):
        result = python(f"import {name}")
        equal(result.rc, 1, repr(result))
        contains(result.err, f"Ambit's Python has no {name}: ")


def test_processes_threads_and_network_say_why():
    result = python("""
        import os, socket, subprocess, threading, urllib.request, concurrent.futures
        def attempt(f):
            try: print("NO ERROR", f())
            except Exception as e: print(type(e).__name__, e)
        attempt(lambda: subprocess.run(["ls"]))
        attempt(lambda: subprocess.check_output("ls", shell=True))
        attempt(lambda: os.system("ls"))
        attempt(lambda: os.popen("ls"))
        attempt(lambda: os.fork())
        attempt(lambda: os.execv("/bin/ls", []))
        attempt(lambda: socket.create_connection(("127.0.0.1", 80)))
        attempt(lambda: socket.socket())
        attempt(lambda: urllib.request.urlopen("ftp://127.0.0.1/x"))
        attempt(lambda: threading.Thread(target=print).start())
        attempt(lambda: concurrent.futures.ThreadPoolExecutor().submit(print))
        print(hasattr(os, "fork"))
    """)
    equal(result.rc, 0, repr(result))
    lines = result.out.splitlines()
    lacks(result.out, "NO ERROR")
    for line in lines[:6]:
        contains(line, "no processes: do it in Python")
    for line in lines[6:9]:
        contains(line, "no sockets: use urllib.request or http.client for HTTP")
    for line in lines[9:11]:
        contains(line, "can't start new thread: Ambit's Python runs on one thread")
    equal(lines[11], "False", "feature tests must stay false")


def test_asyncio():
    same_as_native("""
        import asyncio
        async def step(n):
            await asyncio.sleep(n / 200)
            return n
        async def main():
            print(await asyncio.gather(step(3), step(1), step(2)))
            print([await t for t in asyncio.as_completed([step(2), step(1)])])
            try: await asyncio.wait_for(asyncio.sleep(9), 0.01)
            except TimeoutError: print("timeout")
            queue = asyncio.Queue()
            async with asyncio.TaskGroup() as group:
                group.create_task(queue.put("item"))
                print(await queue.get())
            print(await asyncio.to_thread(sum, [1, 2, 3]))
        asyncio.run(main())
    """)


def test_asyncio_deadlock_is_an_error():
    result = python("import asyncio\nasyncio.run(asyncio.wait_for(asyncio.Event().wait(), None))", timeout=30)
    equal(result.rc, 1)
    contains(result.err, "asyncio waits for something that cannot happen any more")


def test_snapshot_clones_do_not_share_random_numbers():
    code = """
        import os, random, secrets, tempfile, uuid
        print(random.random(), random.Random().random(), secrets.token_hex(8), uuid.uuid4(), uuid.uuid1(),
              next(tempfile._get_candidate_names()), os.urandom(8).hex())
    """
    seen = [python(code, rc=0).out.split() for _ in range(3)]
    for column in zip(*seen):
        equal(len(set(column)), 3, f"the same in two runs: {column}")


def test_seeded_random_repeats():
    code = "import random, secrets, uuid; print(random.random(), secrets.token_hex(8), uuid.uuid4())"
    flags = ("--random", "seed:abc", "--clock", "2026-01-01T00:00:00Z")
    equal(python(code, flags=flags, rc=0).out, python(code, flags=flags, rc=0).out)
    lacks(python(code, flags=("--random", "seed:other"), rc=0).out, python(code, flags=flags, rc=0).out.split()[0])


def test_clocks():
    result = python("""
        import datetime, logging, time
        print(abs(time.time() - float(__import__("sys").argv[1])) < 60, 0 <= time.process_time() < 5)
        a = time.monotonic(); time.sleep(0.05); b = time.monotonic(); print(0.04 < b - a < 5)
        start = time.process_time(); sum(range(10**6)); print(0 < time.process_time() - start < 5)
        record = logging.makeLogRecord({}); print(0 <= record.relativeCreated < 60000)
        print(datetime.datetime.now().year >= 2026)
    """, str(__import__("time").time()))
    equal(result.out, "True True\nTrue\nTrue\nTrue\nTrue\n", repr(result))


def test_standard_library_works():
    same_as_native("""
        import base64, collections, csv, dataclasses, datetime, decimal, difflib, email.message, enum, fractions, functools
        import gzip, hashlib, heapq, hmac, html, http, inspect, io, itertools, json, logging, math, operator, pathlib, pickle, pprint
        import re, shlex, sqlite3, statistics, string, struct, tempfile, textwrap, tomllib, traceback, types, typing
        import unicodedata, urllib.parse, uuid, xml.etree.ElementTree as ET, zipfile, zlib, unittest, argparse, ast, bisect, contextlib
        @dataclasses.dataclass
        class P:
            x: int
        print(pickle.loads(pickle.dumps(P(3))))
        print(inspect.getsource(P).splitlines()[0])
        print(hashlib.sha256(b"x").hexdigest(), hashlib.blake2b(b"x").hexdigest()[:9], hashlib.md5(b"x").hexdigest())
        print(sqlite3.connect(":memory:").execute("select 40 + 2, upper('x')").fetchall())
        print(gzip.decompress(gzip.compress(b"data" * 99)) == b"data" * 99, zlib.crc32(b"x"))
        print(ET.tostring(ET.fromstring("<a><b c='1'/></a>")), tomllib.loads("a = [1, 2]"))
        print(decimal.Decimal("1.1") + 1, fractions.Fraction(1, 3), statistics.median([3, 1, 2]))
        print(re.sub(r"(\\w+)", lambda m: m[1].title(), "some words"), json.dumps({"ü": [1, None]}))
        print(datetime.date(2026, 1, 31).isoformat(), "ü".encode("latin-1"), b"\\xfc".decode("cp1252"))
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d, "a.zip")
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z: z.writestr("n.txt", "hello")
            print(zipfile.ZipFile(path).read("n.txt"))
        print(urllib.parse.quote("a b/ü"), html.escape("<&>"), base64.b85encode(b"abc"))
    """)


def test_deep_recursion_is_a_recursion_error():
    result = python("""
        def down(n): return down(n + 1)
        try: down(0)
        except RecursionError as e: print("RecursionError", type(e).__name__)
        class R:
            def __repr__(self): return repr(self)
        try: repr(R())
        except RecursionError as e: print("RecursionError")
    """)
    equal(result.rc, 0, repr(result))
    equal(result.out.count("RecursionError"), 3, repr(result))  # the first says it twice


def test_recursion_in_c_that_python_does_not_see_ends_the_run_and_nothing_else():
    result = python("import json; json.loads('[' * 100000)")
    equal(result.rc, TRAP, repr(result))
    contains(result.err, "call stack exhausted")


def test_large_output_and_closed_pipe():
    result = python("for i in range(100000): print('line', i)", flags=("--output", "16MiB"), rc=0)
    equal(result.out.count("\n"), 100000)
    write("many.py", "for i in range(1000000): print('line', i)\n")
    piped = execute(["sh", "-c", '"$@" -q many.py | head -n 1', "sh", str(AMBIT), "run", *allow_missing()], timeout=60)
    equal(piped.out, "line 0\n")


def test_script_encodings():
    write("latin.py", b"# -*- coding: latin-1 -*-\nprint('caf\xe9')\nraise ValueError('caf\xe9')\n")
    result = run("run", "-q", "latin.py")
    equal(result.out, "café\n")
    contains(result.err, "raise ValueError('café')")
    write("bom.py", b"\xef\xbb\xbfprint('bom')\r\nprint('crlf')\r\n")
    equal(run("run", "-q", "bom.py").out, "bom\ncrlf\n")


def test_terminal():
    write("tty.py", "import sys; print(sys.stdin.isatty(), sys.stdout.isatty(), sys.stdout.line_buffering)\n")
    contains(run_on_terminal("run", "-q", "tty.py").out, "True True True")
    equal(python("import sys; print(sys.stdin.isatty(), sys.stdout.isatty())").out, "False False\n")


def test_nothing_of_the_build_machine_is_left():
    result = python("""
        import linecache, os, sys, warnings
        print(sys.path, sys.executable, sorted(os.environ), sys.path_importer_cache, sys.warnoptions)
        print([m for m in sys.modules if (getattr(sys.modules[m], "__file__", None) or "/python/").startswith(("/root", "/home", "/tmp"))])
    """)
    equal(result.out, "['/work']  [] {} []\n[]\n", repr(result))


def test_the_scripts_own_grant_hides_nothing():
    write("tools/script.py", "import os; print(sorted(os.listdir('tools')), open('tools/data.txt').read())\n")
    write("tools/data.txt", "beside it")
    result = run("run", "-q", "--read", ".", "tools/script.py")
    equal(result.out, "['data.txt', 'script.py'] beside it\n", repr(result))


def test_asking_for_a_network_is_in_the_receipt():
    result = python("""
        import socket
        try: socket.create_connection(("127.0.0.1", 80))
        except OSError: print("refused")
    """)
    equal(result.out, "refused\n")
    denials = [e for e in result.events_of("denial") if e["class"] == "network"]
    assert denials, result
    equal({(e["reason"], e["smallest_grant"]) for e in denials}, {("not-offered", "")})
