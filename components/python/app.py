# SPDX-License-Identifier: Apache-2.0
"""Python that ships with Ambit: runs one script as `python3 script.py` would.

This module is executed once, while the component is built: it imports the whole standard library, and
the state of the interpreter afterwards becomes the memory image that every run starts from. So
whatever it does at its top level must hold for every later run, on any machine: no open file, no
time of day, no random number, no path of the build machine may stay behind. `Run.run()` is what
happens at run time.

Arguments: argv[0] is a name for Python itself, argv[1] the script (`-` reads it from standard input),
the rest is the script's.
"""

import tls

tls.install()  # before anything imports ssl

import snapshot

snapshot.import_standard_library()

import atexit
import builtins
import gc
import io
import linecache
import logging
import os
import sys
import threading
import time
import tokenize
import types

import explain
import loop
import wire
from wit_world import exports
from wit_world.imports import environment
from wit_world.imports import exit as wasi_exit


def open_standard_streams():
    """Fresh text streams on descriptors 0, 1 and 2: those of the build belong to another world."""
    raw_in = io.FileIO(0, "r", closefd=False)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(raw_in), "utf-8", "surrogateescape",
                                 line_buffering=False)
    raw_in.name = "<stdin>"
    for fd, name, errors in ((1, "stdout", "surrogateescape"), (2, "stderr", "backslashreplace")):
        raw = io.FileIO(fd, "w", closefd=False)
        terminal = raw.isatty()
        raw.name = f"<{name}>"
        stream = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors,
                                  line_buffering=terminal or fd == 2)
        stream.mode = "w"
        setattr(sys, name, stream)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def enter_world():
    """The parts of the interpreter's state that belong to this run and not to the snapshot."""
    cwd = environment.initial_cwd()
    if cwd and cwd != "/":
        try:
            os.chdir(cwd)
        except OSError:
            pass  # as for a native process whose folder is gone: relative paths then fail one by one
    open_standard_streams()
    logging._startTime = time.time_ns()
    sys.orig_argv = list(sys.argv)
    del sys.argv[:1]


def read_script(path):
    """Source bytes and the name that tracebacks show, or None after saying why not."""
    if path == "-":
        return sys.stdin.buffer.read(), "<stdin>"
    try:
        with io.open_code(os.path.abspath(path)) as f:
            return f.read(), os.path.abspath(path)
    except OSError as e:
        print(f"python: can't open file {path!r}: [Errno {e.errno}] {e.strerror}", file=sys.stderr)
        return None


def remember_source(source, name):
    """So that a traceback shows the script's lines even where the script may not be read again."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        lines = io.TextIOWrapper(io.BytesIO(source), encoding).readlines()
    except (SyntaxError, UnicodeError, LookupError):
        return
    linecache.cache[name] = (len(source), None, lines, name)


# Where the component's own modules say they come from. Nothing of it is a file of the run.
OWN_SOURCES = ("/python/", "/0/")


def keep_tracebacks_inside():
    """A traceback looks for the source of every frame. For frames of the standard library that would be attempts to
    open files of the host that nobody meant, each of them a denial."""
    find = linecache.updatecache

    def updatecache(filename, module_globals=None):
        return [] if filename.startswith(OWN_SOURCES) else find(filename, module_globals)

    linecache.updatecache = updatecache


keep_tracebacks_inside()  # in the snapshot


def make_main(name):
    main = types.ModuleType("__main__")
    main.__builtins__ = builtins
    if name != "<stdin>":
        main.__file__ = name
        main.__cached__ = None
    sys.modules["__main__"] = main
    return main


def set_path(name):
    """The script's folder, then PYTHONPATH. A folder that is not granted costs nothing until an
    import is not found in the standard library."""
    sys.path[:] = [os.path.dirname(name) if name != "<stdin>" else ""]
    sys.path += [p for p in os.environ.get("PYTHONPATH", "").split(":") if p]


def execute(source, name, main):
    """Runs it; returns the exception that ended it, or None."""
    try:
        exec(compile(source, name, "exec", dont_inherit=True), main.__dict__)
    except BaseException as e:
        # The frames above are Ambit's, not the script's; a syntax error has no others.
        e.__traceback__ = e.__traceback__.tb_next
        return e
    return None


def report(error):
    """What CPython does with an exception that nobody caught; returns the exit code."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is None:
            return 0
        if isinstance(code, int):
            return code & 0xFF
        flush(sys.stdout)
        print(code, file=sys.stderr)
        return 1
    explain.add_note(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    sys.last_exc = error
    flush(sys.stdout)
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as e:
        return report(e)
    except BaseException as e:
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(e), e, e.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 1


def flush(stream):
    """0, or 120 when what was written could not be delivered (CPython's own code for it)."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except BrokenPipeError:
        forget_pending(stream)
        return 120
    except (OSError, ValueError) as e:
        forget_pending(stream)
        if stream is sys.stdout:
            print(f"Exception ignored while flushing sys.stdout:\n{type(e).__name__}: {e}", file=sys.stderr)
        return 120
    return 0


def forget_pending(stream):
    """Points a stream that cannot be written at nothing, so that closing it does not fail again."""
    if stream is sys.stdout:
        sys.stdout = None


WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def empty_modules(before):
    """Ends the script's modules in CPython's order, so that files it left open are written and
    finalizers run: names with one underscore first, then the rest."""
    for name in [n for n in reversed(sys.modules) if n not in before or n == "__main__"]:
        names = vars(sys.modules[name]) if isinstance(sys.modules[name], types.ModuleType) else {}
        for key in [k for k in names if k.startswith("_") and not k.startswith("__")]:
            names[key] = None
        for key in [k for k in names if k != "__builtins__" and not k.startswith("_")]:
            names[key] = None
    thing = None
    # A collector that meets a cycle may close a file before the buffer in front of it is empty.
    for thing in gc.get_objects():
        if type(thing) in WRITERS:
            try:
                thing.flush()
            except (OSError, ValueError):
                pass
    del thing
    gc.collect()


def finish(code):
    """Exit handlers, then the streams, then the modules, then the streams once more."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException as e:
        sys.excepthook(type(e), e, e.__traceback__)
    code = flush(sys.stdout) or code
    flush(sys.stderr)
    empty_modules(STANDARD_MODULES)
    code = flush(sys.stdout) or code
    flush(sys.stderr)
    return code


class Run(exports.Run):
    def run(self):
        enter_world()
        script = read_script(sys.argv[0]) if sys.argv else None
        if script is None:
            code = 2
        else:
            source, name = script
            remember_source(source, name)
            set_path(name)
            error = execute(source, name, make_main(name))
            code = 0 if error is None else report(error)
            del error
        code = finish(code)
        if code:
            wasi_exit.exit_with_code(code)


explain.install()
loop.install()
wire.install()
os._exit = lambda status: wasi_exit.exit_with_code(status & 0xFF)  # the C library's own knows 0 and 1 only
snapshot.leave_build_behind()
STANDARD_MODULES = frozenset(sys.modules)
gc.collect()
gc.freeze()  # nothing of the snapshot is ever garbage; collections look at the script's own objects
