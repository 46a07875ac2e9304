# SPDX-License-Identifier: Apache-2.0
"""Counted, not timed: what many runs in a row leave behind. (Epochs and mappings within one process: tests/unit/test_counted.c;
that each limit ends its guest at its page, byte or call, and says which: tests/hostile/test_compute.py.)

200 runs in `make test`, 1,000 in `make soak`.
"""

import os
import pathlib
import tempfile

from ambit import contains, equal, place, run, script, write
from serving import adopt, children

RUNS = int(os.environ.get("AMBIT_TEST_SOAK_RUNS", "200"))
SCRIPT = """
import json, sys
data = json.load(open("in/data.json"))
with open("out/sum.txt", "w") as f:
    f.write(str(sum(data)))
print(sum(data))
"""


def snapshot(state):
    """What could grow: the code cache, everything of the state folder but receipts, TMPDIR, /dev/shm, our descriptors, processes."""
    files = {str(p.relative_to(state)): p.stat().st_size for p in pathlib.Path(state).rglob("*") if p.is_file()}
    return {
        "cache": {k: v for k, v in files.items() if k.startswith("cache/")},
        "other": sorted(k for k in files if not k.startswith(("cache/", "runs/"))),
        "tmp": sorted(p for p in os.listdir(os.environ["TMPDIR"]) if not p.startswith(("receipt-", "state-"))),
        "shm": sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else [],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": children(os.getpid()),
    }


def test_many_runs_of_a_script_leave_nothing():
    adopt()
    env = place(guests=True)  # a state folder where nothing else is written, and Python is compiled
    state = env["AMBIT_STATE_DIR"]
    write("in/data.json", "[1, 2, 3]")
    os.mkdir("out")
    script(SCRIPT)
    command = ["run", "-q", "--read", "in", "--write", "out", "script.py"]
    os.unlink(run(*command, rc=0, env=env).receipt)
    before = snapshot(state)
    for number in range(RUNS):
        r = run(*command, env=env)
        assert (r.rc, r.out) == (0, "6\n"), f"run {number}\n{r!r}"
        os.unlink(r.receipt)
    after = snapshot(state)
    for what in ("cache", "other", "tmp", "descriptors", "processes"):
        equal(after[what], before[what], what)
    assert max(before["cache"].values()) > 1 << 20, "control: the snapshot sees Python's machine code"
    equal(sorted(os.listdir("out")), ["sum.txt"])


def test_many_ends_of_every_kind_leave_nothing():
    """In a state folder of its own, where nothing else is written: after the first of each kind the cache does not change at all."""
    adopt()
    guests = pathlib.Path(__file__).resolve().parents[1] / "hostile" / "guests"
    state = tempfile.mkdtemp(prefix="state-", dir=os.environ["TMPDIR"])
    kinds = [("nothing", 0, []), ("grow-4g", 125, []), ("recurse", 126, []), ("spin", 124, ["--cpu", "20ms"]), ("ungranted", 123, [])]
    env = {"AMBIT_STATE_DIR": state}

    def round_of_all():
        for name, rc, flags in kinds:
            r = run("run", "-q", *flags, guests / f"{name}.wat", env=env, rc=rc)
            os.unlink(r.receipt)

    round_of_all()
    before = snapshot(state)
    for _ in range(RUNS // 10):
        round_of_all()
    after = snapshot(state)
    for what in ("cache", "other", "tmp", "descriptors", "processes"):
        equal(after[what], before[what], what)
    contains(str(before["cache"]), ".code", "control: the snapshot sees the cache")
