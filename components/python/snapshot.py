# SPDX-License-Identifier: Apache-2.0
"""Build time only: imports every module of the standard library, and leaves the build's world behind.

A module that cannot be imported and has no reason below stops the build, so that nothing goes missing
unseen when CPython is updated.
"""

import importlib
import linecache
import os
import pkgutil
import sys
import warnings

# Modules that this build of CPython does not have. What needs one of them is missing with it.
ABSENT = {
    "_bz2": "libbz2 is not linked in",
    "_lzma": "liblzma is not linked in",
    "_zstd": "libzstd is not linked in",
    "_ssl": "TLS is spoken outside the sandbox; http.client and urllib.request do https",
    "_ctypes": "it calls native code",
    "_curses": "it draws on a real terminal",
    "_dbm": "libdbm is not linked in",
    "_gdbm": "libgdbm is not linked in",
    "termios": "it controls a real terminal",
    "mmap": "WASI maps no files",
    "msvcrt": "it belongs to Windows",
    "_interpreters": "there is one interpreter",
    "_multiprocessing": "there are no processes",
    "_remote_debugging": "there are no processes",
    "fcntl": "WASI locks no files",
    "grp": "there are no user groups",
    "pwd": "there are no users",
    "resource": "limits belong to the grant",
    "syslog": "there is no system log",
    "readline": "it edits lines on a real terminal",
}
# Files of the library that fail for a reason of their own.
UNUSABLE = {
    "asyncio.windows_events": "it belongs to Windows",
    "asyncio.windows_utils": "it belongs to Windows",
    "encodings.mbcs": "it belongs to Windows",
    "encodings.oem": "it belongs to Windows",
    "multiprocessing.popen_fork": "there are no processes",
    "multiprocessing.popen_forkserver": "there are no processes",
    "multiprocessing.popen_spawn_posix": "there are no processes",
}
# Present as files, and not imported on purpose.
LEFT_OUT = {
    "antigravity": "it opens a web browser when it is imported",
    "this": "it prints when it is imported",
    "idlelib": "it needs windows",
    "tkinter": "it needs windows",
    "turtle": "it needs windows",
    "turtledemo": "it needs windows",
    "ensurepip": "it needs a network and processes",
    "venv": "it needs processes",
    "test": "CPython's own tests are not part of it",
}
# Filled while the component is built: every module that is not there, and why.
missing = {}
LIBRARY = "/python"  # where componentize-py mounts it


def module_names(folder=LIBRARY, prefix=""):
    for _, name, is_package in pkgutil.iter_modules([folder]):
        full = prefix + name
        if full.split(".")[0] in LEFT_OUT or name == "__main__":
            continue
        yield full
        if is_package:
            yield from module_names(f"{folder}/{name}", full + ".")


def import_standard_library():
    unexplained = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in [*sys.builtin_module_names, *module_names()]:
            try:
                importlib.import_module(name)
            except Exception as e:
                cause = e.name if isinstance(e, ModuleNotFoundError) else None
                why = UNUSABLE.get(name) or ABSENT.get(cause) or missing.get(cause)
                if not why:
                    unexplained.append(f"{name}: {type(e).__name__}: {e}")
                missing[name] = why
    missing.update(ABSENT | LEFT_OUT)
    if unexplained:
        raise RuntimeError("standard modules that cannot be imported and are not explained in "
                           "components/python/snapshot.py:\n  " + "\n  ".join(unexplained))


def leave_build_behind():
    """Nothing that a later run could see may tell about the machine or the moment of the build."""
    sys.path.clear()
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    linecache.clearcache()
    warnings.onceregistry.clear()
    for module in list(sys.modules.values()):
        vars(module).pop("__warningregistry__", None)
    os.environ.clear()
    sys.executable = ""
    sys.dont_write_bytecode = True  # or every import from a read-only grant would be one denial more
