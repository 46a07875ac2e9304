# SPDX-License-Identifier: Apache-2.0
"""Generated sequences of host calls: the same seed gives the same calls, for ever.

A sequence is a list of lines for calls/calls.c. The generator keeps a rough idea of what exists, so that most calls meet something
(an open file, a folder that is there), and misses on purpose now and then: missing names, files where folders belong, closed
descriptors, paths that lead out, names that are too long. `script(seed)` is several sequences as one standard input.
"""

import random

A_FILE = ["a", "b", "c.txt", "ü", "with space", "..."]
A_FOLDER = ["d", "e", "d/f", "d/f/g"]
ODD = ["/", "/etc/passwd", "", ".", "./a", "d/../a", "d/.", "d/", "a/b", "d//a", "missing/a", "n" * 255, "n" * 300]
CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8
APPEND = 1
READ, WRITE = 1 << 1, 1 << 6     # rights: fd_read, fd_write; they choose how the file is opened
ATIME, ATIME_NOW, MTIME, MTIME_NOW = 1, 2, 4, 8
FOLLOW = 1
CAREFUL_FILE = ["read", "read", "pread", "write", "write", "pwrite", "seek", "tell", "stat", "setsize", "sync", "close"]
FILE = [*CAREFUL_FILE, "fdstat", "settimes", "advise", "allocate", "setflags", "renumber"]
CAREFUL_PATH = ["pathstat", "pathstat", "mkdir", "mkdir", "rmdir", "unlink", "rename", "rename", "readdir"]
PATH = [*CAREFUL_PATH, "pathtimes", "link", "symlink", "readlink"]


def hexadecimal(text):
    return text.encode().hex() or "-"


class Generator:
    """One sequence. Slots 0 to 7 hold descriptors; 0 is the sequence's own folder. `careful`: only calls that a host for small
    components answers as well (README.md): files are opened for reading and writing, names are plain, no links, no times."""

    def __init__(self, random_, careful=False):
        self.random, self.careful = random_, careful
        self.slots = {0: "folder"}
        self.lines = []

    def pick(self, *choices):
        return self.random.choice(choices)

    def say(self, *words):
        self.lines.append(" ".join(map(str, words)))

    def path(self, odd=True):
        if self.careful:
            return self.pick(*A_FILE, *("d/" + f for f in A_FILE))
        kinds = [A_FILE, A_FILE, A_FILE, A_FOLDER, ["d/" + f for f in A_FILE], ["l", "m", "d/l"]]
        return self.random.choice(ODD if odd and self.random.random() < 0.12 else self.random.choice(kinds))

    def folder(self):
        folders = [s for s, kind in self.slots.items() if kind == "folder"]
        return self.random.choice(list(self.slots)) if not self.careful and self.random.random() < 0.05 else self.random.choice(folders or [0])

    def file(self):
        if not self.careful and self.random.random() < 0.08:
            return self.random.randrange(8)
        return self.random.choice([s for s, kind in self.slots.items() if kind == "file"] or [0])

    def size(self):
        return self.pick(0, 1, 3, 10, 100, 4095, 4096, 4097, 10000, 65536, 70000)

    def begin(self):
        """Something to work on."""
        for name in self.random.sample(["d", "e"], 1):
            self.say("mkdir", 0, hexadecimal(name))
        self.say("open", 1, 0, hexadecimal("a"), CREATE, READ | WRITE, 0, 0)
        self.slots[1] = "file"
        self.say("write", 1, self.size(), 0, self.random.randrange(256))

    def open(self):
        at, folder = self.random.randrange(1, 8), self.random.random() < 0.2
        flags = DIRECTORY if folder else self.pick(0, 0, CREATE, CREATE, CREATE | EXCLUSIVE, TRUNCATE, CREATE | TRUNCATE)
        rights = READ if folder else READ | WRITE if self.careful else self.pick(READ, READ | WRITE, READ | WRITE, WRITE)
        if flags & (CREATE | TRUNCATE):
            rights |= WRITE
        self.say("open", at, self.folder(), hexadecimal(self.random.choice(A_FOLDER) if folder else self.path()), flags, rights,
                 self.pick(0, 0, 0, 0, APPEND) if rights & WRITE and not self.careful else 0, self.pick(0, FOLLOW, FOLLOW))
        self.slots[at] = "folder" if folder else "file"

    def file_call(self):
        slot = self.file()
        call = self.pick(*CAREFUL_FILE if self.careful else FILE)
        offset = self.pick(0, 0, 1, 100, 4096, 100000)
        # The WASI 0.1 adapter hands a positioned write to a call that traps above 4096 bytes, under every host.
        extra = {"read": [self.size() or 1], "pread": [self.size() or 1, offset], "write": [self.size(), 0, self.random.randrange(256)],
                 "pwrite": [min(self.size(), 4096), offset, self.random.randrange(256)],
                 "seek": [self.pick(0, 5, -1, 100, -1000, 100000), self.pick(0, 1, 2)],
                 "setsize": [self.pick(0, 1, 100, 5000, 100000)], "sync": [self.pick(0, 1)], "advise": [0, 0, self.random.randrange(6)],
                 "settimes": [self.time(), self.time(), self.times()], "allocate": [0, 0], "setflags": [self.pick(0, APPEND)],
                 "renumber": [self.file()]}.get(call, [])
        if call == "read" and self.careful:  # jco's reading stream does not see that the position moved by writing
            self.say("seek", slot, offset, 0)
        self.say(call, slot, *extra)
        if call == "close" and slot:
            self.slots.pop(slot, None)

    def time(self):
        return self.pick(0, 1_000_000_000, 1_600_000_000_123_456_789, 1_700_000_000_000_000_000)

    def times(self):
        return self.pick(ATIME | MTIME, ATIME | MTIME, ATIME | MTIME_NOW, MTIME, ATIME | ATIME_NOW, 0)

    def path_call(self):
        at, path = self.folder(), hexadecimal(self.path())
        call = self.pick(*CAREFUL_PATH if self.careful else PATH)
        if call in ("rename", "link", "symlink"):  # of two things that are wrong, hosts may name either
            path = hexadecimal(self.path(odd=False))
        other = hexadecimal(self.pick(*A_FILE, *A_FOLDER[:2], "l", "m"))
        if call == "pathstat":
            self.say(call, at, self.pick(0, FOLLOW), path)
        elif call == "pathtimes":
            self.say(call, at, self.pick(0, FOLLOW), path, self.time(), self.time(), ATIME | MTIME)
        elif call in ("rename", "link"):
            self.say(call, at, path, self.folder(), other, 0)
        elif call == "symlink":
            self.say(call, hexadecimal(self.pick("a", "d", "d/a", "l", "missing", "./a", ".")), at, self.pick(path, hexadecimal("l"), hexadecimal("m")))
        elif call == "readlink":
            self.say(call, at, self.pick(path, hexadecimal("l"), hexadecimal("m")), 0)
        elif call == "readdir":
            self.say(call, at, self.random.randrange(4096))
        else:
            if call == "rmdir":
                path = hexadecimal(self.path(odd=False))
            self.say(call, at, self.pick(path, hexadecimal(self.random.choice(A_FOLDER))) if call in ("mkdir", "rmdir") else path)

    def other_call(self):
        self.pick(lambda: self.say("clock", self.pick(0, 1)), lambda: self.say("random", self.pick(0, 8, 100, 5000)),
                  lambda: self.say("poll", self.pick(0, 1, 3), 0), lambda: self.say("poll", 5, 1), lambda: self.say("arguments"),
                  lambda: self.say("yield"), lambda: self.say("output", 1, hexadecimal(self.pick("text\n", "ü€", "x" * 500))),
                  lambda: self.say("output", self.pick(0, 77), hexadecimal("to nowhere")))()

    def finish(self):
        """What is left behind, seen from inside."""
        for path in ("a", "l", "d", "d/a"):
            self.say("pathstat", 0, 0, hexadecimal(path))
        self.say("readdir", 0, 100)


def sequence(seed, careful=False, calls=40):
    generator = Generator(random.Random(f"ambit host calls {seed}"), careful)
    generator.begin()
    for _ in range(calls):
        kind = generator.random.random()
        (generator.open if kind < 0.2 else generator.file_call if kind < 0.55 else generator.path_call if kind < 0.93 else generator.other_call)()
    generator.finish()
    return generator.lines


def script(first, count, careful=False):
    """Sequences first … first + count - 1, each in its own folder."""
    lines = []
    for seed in range(first, first + count):
        lines += [f"= s{seed}", *sequence(seed, careful)]
    return ("\n".join(lines) + "\n").encode()


KEYS = ["a", "b", "count", "n", "long-" + "k" * 100, "ü", "x/y", "0"]


def store_sequence(seed, calls=40):
    """wasi:keyvalue and wasi:config, for calls/store.c."""
    chosen = random.Random(f"ambit store calls {seed}")
    numbers, lines = {"count", "n"}, []

    def key():
        return chosen.choice(KEYS)

    def value():
        return chosen.choice(["1", "v", "ü€", "x" * 1000, "18446744073709551615", "text"])

    for _ in range(calls):
        call = chosen.choice(["get", "get", "set", "set", "delete", "exists", "keys", "increment", "get-many", "set-many", "delete-many", "config",
                              "config-all"])
        more = {"set": lambda: [key(), value()], "increment": lambda: [chosen.choice([*sorted(numbers), key()]), chosen.choice([0, 1, 5, 2**64 - 1])],
                "keys": list, "config-all": list, "config": lambda: [chosen.choice(["one", "two", "three", "missing"])],
                "get-many": lambda: [key() for _ in range(chosen.randrange(6))],
                "delete-many": lambda: [key() for _ in range(chosen.randrange(3))],
                "set-many": lambda: [word for _ in range(chosen.randrange(4)) for word in (key(), value())]}.get(call, lambda: [key()])()
        lines.append(" ".join(map(str, [call, *more])))
    return ("\n".join([*lines, "keys", "get-many " + " ".join(KEYS)]) + "\n").encode()


# Where hosts differ, on purpose or by licence: (what, the calls, why). Each is a case of its own, which fails when it no longer differs.
KNOWN = [
    ("a path above a folder's handle", ["mkdir 0 64", "open 2 0 64 2 2 0 0", "pathstat 2 0 2e2e", "open 3 2 2e2e2f61 1 66 0 0"],
     "a folder handle is a path in the guest's world (decision 002): .. of it is the folder above, within the same mount; wasmtime refuses"),
    ("a file made by a handle for reading", ["open 1 0 61 1 2 0 0", "write 1 10 0 1"],
     "wasmtime lets a handle write that was opened for reading with `create`; Ambit gives it what its flags say"),
    ("no bytes at a place", ["open 1 0 61 1 66 0 0", "pread 1 0 0"],
     "reading no bytes: wasmtime says that the file ended, Ambit that it did not, which the adapter takes for an interruption"),
    ("no bytes of a file for writing", ["open 1 0 61 1 64 0 0", "read 1 0"],
     "wasmtime looks at the handle's flags when a stream is made, Ambit when something is read"),
    ("a file with a slash", ["open 1 0 61 1 66 0 0", "pathstat 0 0 612f", "pathtimes 0 0 612f 1000000000 1000000000 5"],
     "`a/` of a file: wasmtime finds it and does not set its times, Ambit does neither and both"),
    ("a folder with a slash", ["mkdir 0 64", "mkdir 0 642f61", "rmdir 0 642f"],
     "removing `d/` while it holds something: Ambit says so, wasmtime calls the name invalid"),
]


def known(calls):
    return ("\n".join(["= s", *calls]) + "\n").encode()
