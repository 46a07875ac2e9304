# SPDX-License-Identifier: Apache-2.0
"""`ambit doctor` where something is missing: in a container as Docker starts it by default (tests/lib/container.py), as root and as nobody in
particular; and what it tells of the vault. What it says of a machine that has everything is in test_jail.py.
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from ambit import AMBIT, contains, environment, equal, execute, lacks, run, write
from test_secret import OTHER, VALUE, place, put, secret, vault

CONTAINER = pathlib.Path(__file__).resolve().parents[1] / "lib" / "container.py"
LOST = ["user-namespace", "pid-namespace", "net-namespace", "ipc-namespace", "mount-namespace"]
KEPT = ["rlimits", "no-new-privileges", "landlock", "seccomp"]
ALLOW = [f"--allow-missing-jail={layer}" for layer in LOST]


def state_of(*kind):
    """A state folder and HOME of whoever is in the container."""
    top = pathlib.Path(f"inside{''.join(kind)}").resolve()
    for folder in (top, top / "state", top / "home"):
        folder.mkdir(mode=0o700)
        if kind and os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
    for parent in top.parents:
        if kind and os.geteuid() == 0 and parent.stat().st_mode & 0o005 != 0o005 and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o055)
    return environment({"AMBIT_STATE_DIR": str(top / "state"), "HOME": str(top / "home"), "TMPDIR": str(top / "home")})


def inside(kind, *words, env):
    return execute(["/usr/bin/python3", CONTAINER, *kind, AMBIT, *words], environ=env, timeout=120)


def test_inside_a_default_container():
    """The filter refuses namespaces and mounts: each layer that is lost is named, with what it would stop; each attempt says who refuses it
    now, and the two that nobody does; a run is refused in words that name the flag, and with the flags it runs in the layers that are left.
    Control: outside, the same doctor misses nothing."""
    if os.environ.get("AMBIT_TEST_MISSING_JAIL"):
        print("this machine lacks layers by itself")
        return
    guest = write("hello.wat", (pathlib.Path(__file__).parent / "guests" / "nothing.wat").read_text())
    for kind in ([], ["--user"]):
        env = state_of(*kind)
        r = inside(kind, "doctor", "--json", env=env)
        equal(r.rc, 1, repr(r))
        rows = {c["name"]: c for c in json.loads(r.out)["checks"]}
        equal([n for n in LOST + KEPT if rows[n]["state"] == "missing"], LOST)
        contains(rows["user-namespace"]["do"], "no sysctl restricts it: the seccomp filter of whoever started this process refuses it")
        attempts = {n: c for n, c in rows.items() if "rooms" in c}
        assert len(attempts) > 20
        for name, row in attempts.items():
            open_here = name in ("looks at a file beside a mount", "sets times in a read-only mount")
            equal(row["state"], "missing" if open_here else "ok", row)
            for room, answer in row["rooms"].items():
                equal((answer["refused"], answer.get("by") in KEPT), (not open_here, not open_here), (name, room, answer))
        equal(attempts["opens /etc/passwd"]["rooms"]["worker"], {"refused": True, "by": "landlock", "how": "Permission denied"})
        contains(inside(kind, "doctor", env=env).out, "Runs do not start here. To go on without these layers, knowing what they stop:\n  ambit run " + " ".join(ALLOW))

        r = inside(kind, "run", guest, env=env)
        equal(r.rc, 127, repr(r))
        contains(r.err, "no user-namespace can be made: Operation not permitted")
        contains(r.err, "--allow-missing-jail=user-namespace starts without it")
        r = inside(kind, "run", "--json", *ALLOW, guest, env=env)
        equal(r.rc, 0, repr(r))
        equal(sorted(json.loads(r.err.splitlines()[-1])["missing_jail_layers"]), sorted(LOST))
    equal(json.loads(run("doctor", "--json", rc=0).out)["ok"], True, "control")


def rows_of(env, rc=0):
    out = run("doctor", "--json", env=env, rc=rc).out
    for value in (VALUE, OTHER, "github-token"):
        lacks(out, value)
    return {c["name"]: c for c in json.loads(out)["checks"] if c["group"] == "vault"}


def test_a_vault_is_not_opened_without_a_layer():
    """Who asks what is missing has not said that a keeper without that layer may have the vault and its key. Control: of a whole jail it opens."""
    if os.environ.get("AMBIT_TEST_MISSING_JAIL"):
        print("this machine lacks layers by itself")
        return
    env = place()
    put(env)
    equal(rows_of(env)["opens"]["state"], "ok", "control")
    r = inside([], "doctor", "--json", env=env)
    rows = {c["name"]: c for c in json.loads(r.out)["checks"] if c["group"] == "vault"}
    equal((rows["key"]["state"], rows["opens"]["state"], rows["opens"]["value"]), ("ok", "note", "not tried without layers of keeper's jail"), rows)


def test_what_it_says_of_the_vault():
    """Is there one, where does its key come from, who can read that, does it open; never a name or a value. Nothing is made or changed."""
    rc = 1 if os.environ.get("AMBIT_TEST_MISSING_JAIL") else 0
    env = place()
    equal({n: r["state"] for n, r in rows_of(env, rc).items()}, {"vault": "ok"})
    assert not (vault(env).parent).exists(), "to look is not to make"
    put(env)
    if rc:
        equal(rows_of(env, rc)["opens"]["value"], "not tried without layers of keeper's jail")
        return
    secret(env, "set", "elsewhere", "--from-env", "A_VARIABLE")
    key = pathlib.Path(env["XDG_CONFIG_HOME"]) / "ambit" / "vault.key"
    rows = rows_of(env, rc)
    equal({n: r["state"] for n, r in rows.items()}, {"vault": "ok", "key": "ok", "opens": "ok"})
    equal((rows["key"]["value"], rows["opens"]["value"]), (f"file {key}, mode 600", "2 secrets, 1 of them stored in it"))
    good = vault(env).read_bytes()

    key.chmod(0o640)
    rows = rows_of(env, rc)
    equal((rows["key"]["state"], rows["key"]["do"]), ("note", f"chmod 600 {key}"))
    equal(rows["opens"]["state"], "note")
    key.chmod(0o600)
    rows = rows_of({**env, "AMBIT_VAULT_KEY": "command:touch ran; echo a-word-of-the-line"}, rc)
    equal((rows["key"]["value"], rows["opens"]["state"], os.path.exists("ran")), ("command: it is not asked for here", "note", False))
    equal(rows_of({**env, "AMBIT_VAULT_KEY": "passphrase"}, rc)["key"]["value"], "passphrase: it is not asked for here")
    pathlib.Path("other.key").write_bytes(os.urandom(32))
    os.chmod("other.key", 0o600)
    for damage, why in ((good + b"\0", "somebody has changed the vault"), (good[:-1], "cut short"), (b"", "cut short"), (good, None)):
        vault(env).write_bytes(damage)
        rows = rows_of(env, rc)
        equal(rows["opens"]["state"], "note" if why else "ok", rows)
        if why:
            assert rows["opens"]["do"], rows
        equal(vault(env).read_bytes(), damage)
    other = f"file:{pathlib.Path('other.key').resolve()}"
    contains(rows_of({**env, "AMBIT_VAULT_KEY": other}, rc)["opens"]["value"], "the key does not open this vault")
    vault(env).chmod(0o644)
    contains(rows_of(env, rc)["vault"]["value"], "open to others")
    vault(env).chmod(0o600)
    equal(rows_of(env, rc)["opens"]["state"], "ok", "control")
