# SPDX-License-Identifier: Apache-2.0
"""What a sandboxed script cannot do, said in words: why, and what to do instead.

Nothing here keeps anything out: processes, threads and sockets do not exist in the sandbox with or without it.
Types and `errno` are what CPython raises on WASI, so programs that handle them go on working.
"""

import ast
import errno
import functools
import os
import socket
import subprocess
import sys
import threading
import time
import traceback

import snapshot

NO_PROCESS = ("Ambit's sandbox has no processes: do it in Python, or run the program outside and grant "
              "its output with --read")
NO_THREAD = ("can't start new thread: Ambit's Python runs on one thread; call the function directly, "
             "or use asyncio")
NO_NETWORK = ("Ambit's sandbox has no sockets: use urllib.request or http.client for HTTP, and grant the request with --net; "
              "fetch anything else outside, and grant the file with --read")

# Packages that people reach for and that are native code built for another platform.
NATIVE = frozenset("""
    aiohttp bcrypt catboost cffi cryptography cupy cv2 duckdb fiona gevent gmpy2 greenlet grpc h5py jax jaxlib
    lightgbm llvmlite lxml matplotlib mpi4py MySQLdb nacl netCDF4 numba numexpr numpy onnxruntime OpenSSL orjson
    osgeo pandas PIL polars psutil psycopg2 psycopg_c pyarrow pycurl pydantic_core pygame pymupdf pyodbc PyQt5
    PyQt6 pyproj PySide6 rapidfuzz rasterio regex rpds safetensors scipy sentencepiece shapely skimage sklearn
    spacy tables tensorflow tiktoken tokenizers torch torchaudio torchvision ujson uvloop wx
    xgboost zmq zstandard
""".split())

PROCESS_CALLS = frozenset("""
    abort execl execle execlp execlpe execv execve execvp execvpe fork forkpty kill killpg nice pidfd_open
    pipe pipe2 posix_spawn posix_spawnp register_at_fork spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp
    spawnvpe startfile system wait wait3 wait4 waitid waitpid
""".split())


def os_getattr(name):
    """`os.fork` and its kind do not exist on WASI, so that `hasattr` stays false; the error says why."""
    if name in PROCESS_CALLS:
        raise AttributeError(f"os.{name} is not there. {NO_PROCESS}", name=name, obj=os)
    raise AttributeError(f"module 'os' has no attribute {name!r}", name=name, obj=os)


def popen_init(self, args, *_, **__):
    raise OSError(errno.ENOTSUP, NO_PROCESS, args if isinstance(args, str) else None)


def os_popen(command, mode="r", buffering=-1):
    raise OSError(errno.ENOTSUP, NO_PROCESS, command)


def start_thread(*_, **__):
    raise RuntimeError(NO_THREAD)


def explained(function, error, code):
    """The same call, so that Ambit sees and records it, with an error that says why."""
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except OSError:
            raise error(code, NO_NETWORK) from None
    return functools.wraps(function)(call)


def quiet_anchors(segment):
    """For each line of a traceback CPython parses the line again, under the name `<unknown>`; where that fails, as it does for every
    `raise` statement, its parser tries to open a file of that name: a denial that nobody asked for. It opens nothing under an empty
    name."""
    usual = ast.parse.__defaults__
    ast.parse.__defaults__ = ("", *usual[1:])
    try:
        return plain_anchors(segment)
    finally:
        ast.parse.__defaults__ = usual


plain_anchors = traceback._extract_caret_anchors_from_line_segment


class ProcessClock:
    """`time.process_time` counts from its first reading: WASI has no CPU clock, and the C library's
    substitute counts from the build's own start."""

    def __init__(self):
        self.start = None

    def read_ns(self):
        now = time.monotonic_ns()
        if self.start is None:
            self.start = now
        return now - self.start

    def read(self):
        return self.read_ns() / 1e9


def install():
    os.__getattr__ = os_getattr
    os.popen = os_popen
    subprocess.Popen.__init__ = popen_init
    threading._start_joinable_thread = start_thread
    sys.modules["_thread"].start_new_thread = start_thread
    sys.modules["_thread"].start_joinable_thread = start_thread
    socket.socket.__init__ = explained(socket.socket.__init__, PermissionError, errno.EACCES)
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, explained(getattr(socket, name), socket.gaierror, socket.EAI_FAIL))
    traceback._extract_caret_anchors_from_line_segment = quiet_anchors
    clock = ProcessClock()
    time.process_time, time.process_time_ns = clock.read, clock.read_ns


def native_file(name):
    """Is there a shared library for this module beside its package?"""
    package, _, tail = name.rpartition(".")
    folders = getattr(sys.modules.get(package), "__path__", []) if package else sys.path
    for folder in folders:
        try:
            if any(f.startswith(tail + ".") and f.endswith((".so", ".pyd")) for f in os.listdir(folder)):
                return True
        except OSError:
            continue
    return False


def reason(name):
    """Why a module is not there, for the one who needed it."""
    top = name.partition(".")[0]
    if name in snapshot.missing or top in snapshot.missing:
        return f"Ambit's Python has no {name}: {snapshot.missing.get(name) or snapshot.missing[top]}."
    if top in NATIVE or native_file(name):
        return (f"{top} is a native extension (machine code for another platform), which the sandbox cannot load. "
                "Use the standard library or a pure-Python package, or run this step outside Ambit.")
    if top in sys.stdlib_module_names:
        return f"{name} is not part of Python for WebAssembly."
    return (f"If {top} is a file beside the script, grant its folder: --read FOLDER. If it is a pure-Python package: "
            f"pip install --target DIR {top}, then --read DIR --env PYTHONPATH=DIR.")


def add_note(error):
    """Adds the reason to an exception that ends the script because a module is missing, whatever stands between."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ModuleNotFoundError) and error.name:
            error.add_note(reason(error.name))
            return
        error = error.__cause__ or error.__context__
