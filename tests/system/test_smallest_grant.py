# SPDX-License-Identifier: Apache-2.0
"""The smallest grant of a denial is what it says: pasted unchanged into a grant file it makes the operation succeed, and
without any one element of it the operation is denied again.

Operations on files are generated (the seed is printed; AMBIT_TEST_SEED repeats one), a hundred to a run: each has a tree of
its own, so that they do not see each other. What is right is what the same operations give when everything is granted.
"""

import os
import pathlib
import random
import re
import shutil
import tempfile

import ambit
from ambit import TOP, cc_guest, equal, run, wat, write

FSOP = TOP / "tests" / "hostile" / "guests" / "fsop.c"
SEED = int(os.environ.get("AMBIT_TEST_SEED", "20261121"))

FILES = ["a.txt", "b c", "[x]", "{y,z}", "!z", "*s", "q?", "back\\slash", "ü", "#hash", "colon: x", " lead", "trail ", "- dash",
         "&anchor", "'q'", '"dq"', "line\nbreak", "tab\t", "\u202ertl", "\x1b[31m", "%41", "true", "null", "~", "123", "a,b", "|",
         "\u0085nel", "\u2028ls", "\U0001f600", "e\u0301", ".hidden", "x.", "$HOME", "`id`", "\x7f", "=", "@at", "\u00a0"]
FOLDERS = ["d", "d/e", "d [1]", "d*"]
LINKS = {"l": "a.txt", "ld": "d", "up": "../{op}/d/in.txt", "abs": "/work/{op}/a.txt", "dangling": "none", "chain": "l", "d/back": "../a.txt"}
READERS = {"get", "getn", "stat", "lstat", "list", "readlink"}
MISSING = ["none", "d/none", "none/x", "d/e/none *"]


def words(*parts):
    """An operation for fsop."""
    def one(part):
        return "".join(chr(b) if 0x21 <= b < 0x7f and b != 0x25 else f"%{b:02x}" for b in str(part).encode()) or "%"
    return " ".join(one(p) for p in parts)


def plant(folder, op, operation):
    """One operation's own tree; of the odd names those that it speaks of."""
    folder.mkdir(parents=True)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    asked = [str(word).partition(op + "/")[2] for word in operation]
    for name in [*[f for f in FILES if f in asked], "a.txt", "d/in.txt", "d/e/deep.txt", "d [1]/*"]:
        (folder / name).write_text(f"text of {op}")
    for name, target in LINKS.items():
        (folder / name).symlink_to(target.format(op=op))


def generate(rng, base):
    """(operation, word…) below the guest folder `base`."""
    def any_of(*pools):
        return base + "/" + rng.choice([name for pool in pools for name in pool])
    here = [*FILES, "d/in.txt", "d/e/deep.txt", "d [1]/*", *LINKS]
    kind = rng.choice(["get", "get", "put", "append", "over", "stat", "lstat", "list", "mkdir", "rmdir", "unlink", "rename", "rename",
                       "link", "linkf", "symlink", "readlink", "times", "truncate", "open", "getn"])
    if kind in ("get", "getn", "over", "stat", "lstat", "times", "readlink", "unlink"):
        return kind, any_of(here, MISSING, FOLDERS)
    if kind in ("put", "append"):
        return kind, any_of(here, MISSING, ["new *[", "d/new"]), "fresh"
    if kind == "list":
        return kind, any_of(FOLDERS, FOLDERS, here, MISSING, [".", "d/.."])
    if kind == "mkdir":
        return kind, any_of(["made", "d/made {", "none/made", "a.txt"])
    if kind == "rmdir":
        return kind, any_of(FOLDERS, here, MISSING)
    if kind == "symlink":
        return kind, rng.choice(["a.txt", "/work", "../x"]), any_of(["made", "d/made \\", "a.txt"])
    if kind == "truncate":
        return kind, any_of(here, MISSING), rng.randrange(10)
    if kind == "open":
        return kind, rng.choice(["r", "w", "rw", "wc", "wcx", "wct", "wt", "rd", "d", "rc", "rn", "rws"]), any_of(here, MISSING, FOLDERS)
    return kind, any_of(here, FOLDERS, FOLDERS, MISSING), any_of(["moved", "d/moved ?", "a.txt", "d [1]/x", "none/x"], FOLDERS)


class World:
    """A hundred trees: most below /work, some in a mount inside it, some in memory, some outside every mount."""

    def __init__(self, rng, number, size=100):
        self.root = pathlib.Path.cwd() / f"world {number}"
        self.rng, self.places, self.operations = rng, [], []
        self.used = set(range(size))  # whose trees must be planted
        for i in range(size):
            op = f"op{i}"
            place = "outside" if i % 20 == 7 else "nested" if i % 20 == 13 else "memory" if i % 10 == 4 else "work"
            base = {"work": f"work/{op}", "nested": f"work/nest/{op}", "memory": f"mem/{op}",
                    "outside": str(self.root / "outside" / op)[1:]}[place]
            while True:
                operation = generate(rng, base)
                # What is moved or linked outside every mount must have one parent: mounts of two folders are two devices.
                if place != "outside" or operation[0] not in ("rename", "link", "linkf") or \
                        operation[1].rpartition("/")[0] == operation[2].rpartition("/")[0]:
                    break
            self.places.append(place)
            self.operations.append(operation)
        allow = lambda: "[" + ", ".join(rng.sample(["read", "list", "stat", "write", "create", "delete", "rename", "link"], 3)) + "]"
        paths = lambda: rng.choice(['["op*/*.txt", "op*/d/**"]', '["**/d"]', '["op1*/**"]', '["op?/*"]', '["none"]'])
        self.base = [f"- fs: /work\n  from: {{ dir: {self.quoted('work')} }}\n  allow: {allow()}\n  paths: {paths()}",
                     f"- fs: /work\n  from: {{ dir: {self.quoted('work')} }}\n  allow: {allow()}\n  paths: {paths()}",
                     f"- fs: /work/nest\n  from: {{ dir: {self.quoted('nest')} }}\n  allow: {allow()}\n  paths: {paths()}",
                     f"- fs: /mem\n  from: memory\n  allow: {allow()}\n  paths: {paths()}",
                     "- stdio: [stdin, stdout]"]
        self.everything = [f"- fs: {guest}\n  from: {source}\n  allow: rw" for guest, source in (
            ("/work", f"{{ dir: {self.quoted('work')} }}"), ("/work/nest", f"{{ dir: {self.quoted('nest')} }}"), ("/mem", "memory"),
            (self.quoted("outside"), f"{{ dir: {self.quoted('outside')} }}"))] + ["- stdio: [stdin, stdout]"]

    def quoted(self, name):
        return '"' + str(self.root / name) + '"'

    def run(self, grants):
        """The answers, and the denials of the receipt: {index of operation: [event]}."""
        for i in self.used:
            if self.places[i] != "memory":
                folder = self.root / {"work": "work", "nested": "nest", "outside": "outside"}[self.places[i]] / f"op{i}"
                shutil.rmtree(folder, ignore_errors=True)
                plant(folder, f"op{i}", self.operations[i])
        for name in ("work", "nest", "outside"):
            (self.root / name).mkdir(exist_ok=True)
        file = write("grants.yaml", "version: 1\ngrants:\n" + "".join(indented(g) for g in grants))
        result = run("run", "-q", "--tmp", "none", "-g", file, cc_guest(FSOP), stdin="\n".join(words(*o) for o in self.operations),
                     rc=0, timeout=120)
        answers = [re.sub(r"^ok 3 \d+ \d+$", "ok 3", line) for line in result.out.splitlines()]
        equal(len(answers), len(self.operations), repr(result))
        self.used = {i for i, answer in enumerate(answers) if answer.startswith("ok") and self.operations[i][0] not in READERS}
        denials = {}
        for event in result.events_of("denial"):
            number = re.search(r"/op(\d+)", event["resource"])
            assert number, event
            denials.setdefault(int(number[1]), []).append(event)
        return answers, denials


def indented(item):
    return "".join(f"  {line}\n" for line in item.splitlines())


def key(event):
    return event["operation"], event["resource"], tuple(event.get("missing", ()))


def elements(item):
    """Each grant that lacks one element of this one; None stands for nothing at all."""
    lines = item.splitlines()
    for i, line in enumerate(lines):
        match = re.fullmatch(r"(\s+allow: )\[(.*)\]", line)
        if match:
            verbs = match[2].split(", ")
            for verb in verbs:
                rest = [v for v in verbs if v != verb]
                yield "\n".join([*lines[:i], f"{match[1]}[{', '.join(rest)}]", *lines[i + 1:]]) if rest else None
    yield None  # the only path


def check_world(rng, number):
    world = World(rng, number)
    wanted, impossible = world.run(world.everything)
    equal(impossible, {}, "denied although everything is granted")
    pasted, last, seen = list(world.base), {}, set()
    first, denials = world.run(pasted)
    changed = sum(a != b for a, b in zip(first, wanted))
    for again in range(3):
        # A WASI 0.1 guest lists a folder in three operations (the last asks for the number of each name), of which each is
        # tried only when the one before succeeded. Outside
        # every mount nobody looks, so that where a link leads shows only when it is granted.
        late = [world.operations[i] for i in denials if again and world.operations[i][0] != "list" and world.places[i] != "outside"]
        equal(late, [], "denied something else although its grant was pasted")
        last.update(denials)
        for i, events in denials.items():
            for event in events:
                assert key(event) not in seen, f"denied again although its grant was pasted: {event} {world.operations[i]}"
                seen.add(key(event))
                assert event["smallest_grant"], f"no grant for {event}"
                pasted.append(event["smallest_grant"])
        got, denials = world.run(pasted)
    equal(denials, {}, f"after pasting three times: {[world.operations[i] for i in denials]}")
    for i, operation in enumerate(world.operations):
        equal(got[i], wanted[i], f"{operation} with {[e['smallest_grant'] for e in last.get(i, [])]}")
    return world, pasted, last, len(seen), changed


def check_removal(world, pasted, last, rounds):
    """In each round one element goes from the last grants of each operation, which must be denied again."""
    removed = 0
    ways = {i: [(e["smallest_grant"], without) for e in events for without in elements(e["smallest_grant"])]
            for i, events in last.items()}
    for _ in range(rounds):
        grants, expected = list(pasted), {}
        for i, choices in ways.items():
            whole, without = choices[world.rng.randrange(len(choices))]
            # Other operations may have got the same text only if they have the same path, which they have not.
            at = grants.index(whole)
            grants[at:at + 1] = [without] if without else []
            expected[i] = whole, without
        _, denials = world.run(grants)
        for i, (whole, without) in expected.items():
            assert i in denials, f"{world.operations[i]} is allowed although\n{whole}\nbecame\n{without}"
            removed += 1
    return removed


def check_worlds(numbers):
    print(f"seed {SEED}")
    grants = removals = differ = operations = 0
    for number in numbers:
        rng = random.Random(SEED + number)
        world, pasted, last, count, changed = check_world(rng, number)
        grants, differ, operations = grants + count, differ + changed, operations + len(world.operations)
        removals += check_removal(world, pasted, last, 2)
        shutil.rmtree(world.root)
    print(f"{operations} operations, {differ} answered otherwise at first, {grants} smallest grants pasted, {removals} elements removed")
    assert differ > operations // 4 and grants > operations // 4 and removals > operations // 4


def test_files_first_thousand():
    check_worlds(range(1, 11))


def test_files_second_thousand():
    check_worlds(range(11, 21))


def test_files_third_thousand():
    check_worlds(range(21, 31))


# ---- as people read them -------------------------------------------------------------------------------------------------

def blocks(text):
    """The grants that a summary, or a receipt as people read it, shows: indented items."""
    found = []
    for line in text.splitlines():
        inner = line.strip()
        if inner.startswith("- ") and line.startswith("      "):
            found.append([inner])
        elif found and re.match(r"^ {8,}(from|allow|paths): ", line):
            found[-1].append("  " + inner)
    return ["\n".join(lines) for lines in found]


def test_text_of_the_summary_can_be_pasted():
    """The same grants from what people see, by the same names."""
    alone = {"AMBIT_STATE_DIR": tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))}  # "last" is not another test's run
    os.mkdir("tree")
    for i, name in enumerate(FILES):
        folder = pathlib.Path("tree") / str(i)
        folder.mkdir()
        (folder / name).write_text(f"text {i}")
    for start in range(0, len(FILES), 5):
        part = list(enumerate(FILES))[start:start + 5]
        asked = "\n".join(words("get", f"work/{i}/{name}") for i, name in part)
        head = 'version: 1\ngrants:\n  - {stdio: [stdin, stdout]}\n  - {fs: /work, from: {dir: tree}, allow: ro, paths: [none]}\n'
        denied = run("run", "-g", write("base.yaml", head), cc_guest(FSOP), stdin=asked, env=alone, rc=0)
        equal(denied.out, "acces\n" * len(part))
        from_receipt = [e["smallest_grant"].strip() for e in denied.events_of("denial")]
        shown = run("runs", "show", "last", env=alone, rc=0).out
        for text in (denied.err, shown):
            equal(blocks(text), from_receipt, text)
            grants = write("pasted.yaml", head + "".join(indented(b) for b in blocks(text)))
            result = run("run", "-g", grants, cc_guest(FSOP), stdin=asked, rc=0)
            equal(result.out.splitlines(), [f"ok text%20{i}" for i, _ in part], repr(result))


def test_learned_file_allows_what_was_denied():
    os.mkdir("tree")
    plant(pathlib.Path("tree/op0"), "op0", ())
    asked = "\n".join(words(*o) for o in (("get", "work/op0/a.txt"), ("get", "work/op0/ld/in.txt"), ("put", "work/op0/new", "x"), ("mkdir", "work/op0/m"),
                                         ("rename", "work/op0/d/e", "work/op0/moved"), ("unlink", "work/op0/new")))
    base = write("base.yaml", "version: 1\ngrants:\n  - {stdio: [stdin, stdout]}\n  - {fs: /work, from: {dir: tree}, allow: ro, paths: [none]}\n")
    first = run("run", "-g", base, "--learn", "learned.yaml", cc_guest(FSOP), stdin=asked, rc=0)
    equal(first.out, "acces\n" * 6)
    second = run("run", "-g", base, "-g", "learned.yaml", cc_guest(FSOP), stdin=asked, rc=0)
    equal(second.out, "ok text%20of%20op0\nok text%20of%20op0\nok\nok\nok\nok\n", repr(second))
    equal(second.events_of("denial"), [])


# ---- the other classes ---------------------------------------------------------------------------------------------------

def smallest(result, wanted):
    """The grants of the denials of a run, each of this class."""
    grants = [e["smallest_grant"] for e in result.events_of("denial")]
    assert grants and all(g.startswith(f"- {wanted}:") for g in grants), repr(grants)
    return grants


def grant_file(items):
    return write("grants.yaml", "version: 1\ngrants:\n" + "".join(indented(i) for i in items) if items else "version: 1\ngrants: []\n")


def test_standard_streams():
    """Every set of streams, each way of using them: exit code and output tell."""
    fsop, streams = cc_guest(FSOP), ("stdin", "stdout", "stderr")
    for operation, stream in (("out", "stdout"), ("err", "stderr"), ("in", "stdin")):
        for mask in range(8):
            given = [s for i, s in enumerate(streams) if mask >> i & 1]
            items = ["- args: given"] + ([f"- stdio: [{', '.join(given)}]"] if given else [])
            def go(items):
                return run("run", "-q", "--bare", "-g", grant_file(items), fsop, operation, "text", stdin="typed")
            def works(result):
                return {"out": "text" in result.out, "err": "text" in result.err, "in": "typed" in result.out}[operation]
            result = go(items)
            for _ in range(2):  # what `in` read is printed, which needs stdout
                if result.events_of("denial"):
                    items += smallest(result, "stdio")
                    result = go(items)
            assert works(result) and not result.events_of("denial"), f"{operation} {given}: {result!r}"
            without = [i for i in items if stream not in i]
            assert not works(go(without)) and any(e["resource"] == stream for e in go(without).events_of("denial")), (operation, given)


def test_clock_random_and_arguments():
    fsop = cc_guest(FSOP)
    base = ["- stdio: [stdin, stdout]", "- args: given"]
    for operation in ("clock", "random"):
        def go(items):
            return run("run", "-q", "--bare", "-g", grant_file(items), fsop, stdin=operation, rc=0)
        first = go(base)
        equal(first.out, go(base).out)  # nobody's time, nobody's bytes
        grants = smallest(first, operation)
        results = [go(base + grants) for _ in range(3)]
        equal([r.events_of("denial") for r in results], [[], [], []])
        equal(len({r.out for r in results}), 3)
    denied = run("run", "-q", "--bare", "-g", grant_file(base[:1]), fsop, "out", "typed", rc=0)
    equal(denied.out, "")
    result = run("run", "-q", "--bare", "-g", grant_file(base[:1] + smallest(denied, "args")), fsop, "out", "typed", rc=0)
    equal((result.out, result.events_of("denial")), ("typedok\n", []))


CONFIG = """(component
  (import "wasi:config/store@0.2.0-rc.1" (instance $store
    (type $e (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $e)))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 8192)
    (data (i32.const 1024) "%(text)s"))
  (core instance $i (instantiate $m))
  (core func $get (canon lower (func $store "get") (memory $i "memory") (realloc (func $i "realloc"))))
  (core module $main
    (import "" "get" (func $get (param i32 i32 i32)))
    (import "" "memory" (memory 1))
    (func (export "run") (result i32)
      (call $get (i32.const 1024) (i32.const %(size)d) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable))
      (i32.eqz (i32.load8_u (i32.const 20)))))
  (core instance $r (instantiate $main (with "" (instance (export "get" (func $get)) (export "memory" (memory $i "memory"))))))
  (func $run (result (result)) (canon lift (core func $r "run")))
  (component $c (import "run" (func $f (result (result)))) (export "run" (func $f)))
  (instance $run (instantiate $c (with "run" (func $run))))
  (export "wasi:cli/run@0.2.0" (instance $run)))"""
LOG = """(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $log
    (type $l (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
    (data (i32.const 16) "line"))
  (core instance $i (instantiate $m))
  (core func $log (canon lower (func $log "log") (memory $i "memory") (realloc (func $i "realloc"))))
  (core module $main
    (import "" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $log (i32.const %d) (i32.const 16) (i32.const 0) (i32.const 16) (i32.const 4)) (i32.const 0)))
  (core instance $r (instantiate $main (with "" (instance (export "log" (func $log))))))
  (func $run (result (result)) (canon lift (core func $r "run")))
  (component $c (import "run" (func $f (result (result)))) (export "run" (func $f)))
  (instance $run (instantiate $c (with "run" (func $run))))
  (export "wasi:cli/run@0.2.0" (instance $run)))"""


def test_config_keys():
    keys = ["key", "a b", "*", "ü", "colon: x", "#", "true", "{x}", '"', "'", "\u202e", "k" * 200, "-", "a.b/c", "\\", "123", "~", ""]
    for key in keys:
        raw = key.encode()
        guest = wat(CONFIG % {"text": "".join(f"\\{b:02x}" for b in raw), "size": len(raw)})
        denied = run("run", "-q", "--config", "other=x", guest, rc=1)
        if not key:
            equal(denied.events_of("denial")[0].get("smallest_grant", ""), "")  # a key without a name is in no grant
            continue
        grants = smallest(denied, "config")
        equal(len(grants), 1)
        result = run("run", "-q", "--config", "other=x", "-g", grant_file(grants), guest, rc=0)
        equal(result.events_of("denial"), [])


def test_log_levels():
    for number, level in enumerate(("trace", "debug", "info", "warn", "error", "critical")):
        guest = wat(LOG % number)
        denied = run("run", "-q", guest, rc=0)
        equal((len(denied.events_of("log")), smallest(denied, "log")[0].strip()), (0, f"- log: [{level}]"))
        others = [n for n in ("trace", "debug", "info", "warn", "error", "critical") if n != level]
        result = run("run", "-q", "-g", grant_file(smallest(denied, "log")), guest, rc=0)
        equal((len(result.events_of("log")), result.events_of("denial")), (1, []))
        result = run("run", "-q", "--log", ",".join(others), guest, rc=0)
        equal(result.events_of("log"), [])
        smallest(result, "log")
