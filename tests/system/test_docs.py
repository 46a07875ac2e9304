# SPDX-License-Identifier: Apache-2.0
"""What the documentation says: its commands run, its grant files are valid, its schemas describe what is written, its links lead
somewhere, and the pages that the command prints can be read by those who read such pages."""

import json
import pathlib
import re
import shlex
import shutil

import ambit
from ambit import contains, equal, execute, place, run, run_on_terminal, write
from proxy import Proxy
from serving import Serving, component

PAGES = [ambit.TOP / "README.md", *sorted((ambit.TOP / "docs").rglob("*.md"))]
VERBS = ("run", "serve", "proxy", "secret", "inspect", "grant", "runs", "doctor", "cache", "help")


def blocks(page, language=None):
    """(language, text) of each fenced block; indented ones that hold commands too, as language ''."""
    text = page.read_text()
    found = [(m[2], m[3]) for m in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```", text, re.M | re.S)]
    found += [("", m[0]) for m in re.finditer(r"(?:^    ambit .*\n)+", text, re.M)]
    return [(l, t) for l, t in found if language is None or l == language]


def commands(page):
    """Each line of a block that begins with the command, without its comment, and what goes to its standard input."""
    for language, text in blocks(page):
        if language in ("", "sh", "bash", "console"):
            for line in text.splitlines():
                words = re.sub(r"\s+#.*", "", line.strip()).removeprefix("$ ")
                piped = re.match(r'echo "(.*)" \| (.*)', words)
                given, words = piped.groups() if piped else ("", words)
                taken = re.match(r"(.*) < (\S+)$", words)  # a file of the fixture's
                given, words = (pathlib.Path(taken[2]).read_text(), taken[1]) if taken else (given, words)
                if re.match(r"(build/)?ambit [a-z]", words):
                    yield words, given


TOKEN = "ghp_0123456789abcdefghij"


def vault_of_our_own():
    """What the examples set is in no other test's vault; what they run is compiled once."""
    return place("examples", guests=True)


def fixture():
    """A folder in which the examples mean something."""
    write("script.py", "try:\n    print(open('notes.txt').read())\nexcept OSError as e:\n    print(e)\n")
    write("hello.py", "print('hello')\n")
    write("agent.py", "print('hello')\n")
    write("job.py", "print('hello')\n")
    write("token.txt", TOKEN + "\n")
    write("keys.txt", "AKIA0123456789ABCDEF 0123456789abcdefghijABCDEFGHIJ0123456789\n")
    equal(execute(["openssl", "genrsa", "-out", "app.pem", "2048"]).rc, 0)
    write("report.py", "import sys\nprint(sys.argv[1:])\n")
    write("fetch.py", "import urllib.request\n")
    write("app.js", "console.log(process.argv.slice(2))\n")
    write("script.js", "console.log('hello')\n")
    write("notes.txt", "a note\n")
    write("numbers.txt", "1\n2\n3\n")
    write("src/a.c", "int a;\n")
    pathlib.Path("out").mkdir()
    pathlib.Path("lib").mkdir()
    grants = "version: 1\ngrants:\n  - fs: /work\n    from: { dir: . }\n    allow: ro\n  - args: given\n  - stdio: [stdin, stdout, stderr]\n"
    for name in ("grants.yaml", "mine.yaml", "ceiling.yaml", "policy.yaml"):
        write(name, grants)
    tool = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 0))))"""
    for name in ("tool.wat", "guest.wat", "hello.wat"):
        write(name, tool)
    # Of type () -> (), one function that does nothing, exported as _start beside a memory.
    module = bytes.fromhex("0061736d01000000" "010401600000" "03020100" "0503010001" "071302066d656d6f72790200" "065f73746172740000"
                           "0a040102000b")
    for name in ("tool.wasm", "guest.wasm", "hello.wasm", "FILE"):
        write(name, module)
    shutil.copy(component(), "app.wasm")


def execute_command(args, given):
    """A command of the documentation; a server on a free port, until it listens and has ended well."""
    if args[0] == "serve":
        at = args.index("--listen")
        with Serving(args[-1], *args[1:at], *args[at + 2:-1], expect=None) as serving:
            serving.stop()
            return ambit.Result(args, serving.rc, serving.output, "\n".join(serving.said).encode(), None, 0)
    if args[0] == "proxy":
        at = args.index("--listen")
        with Proxy([], *args[1:at], *args[at + 2:], expect=None) as proxy:
            proxy.stop()
            return ambit.Result(args, proxy.rc, proxy.output, "\n".join(proxy.said).encode(), None, 0)
    if "--ask" in args:
        return run_on_terminal(*args)
    env = vault_of_our_own() if "secret" in args or "--secret" in args else None
    if args[0] == "secret":
        args = [*args, *ambit.allow_missing()]
    return run(*args, stdin=given, timeout=120, env=env)


def test_every_command_runs():
    fixture()
    tried = 0
    for page in PAGES:
        for line, given in commands(page):
            if "…" in line or " VERB" in line or " ID" in line or "|" in line:
                continue
            args = shlex.split(line)[1:]
            result = execute_command(args, given)
            allowed = {"diff": (0, 1), "doctor": (0, 1)}.get(args[1] if args[0] == "grant" else args[0], (0,))
            assert result.rc in allowed, f"{page.relative_to(ambit.TOP)}: {line}\n{result!r}"
            tried += 1
    assert tried >= 10, f"only {tried} commands were found in {len(PAGES)} pages: has the layout of the pages changed?"


def test_every_verb_that_is_named_exists():
    for page in PAGES:
        if page.name == "performance.md":
            continue  # it names what is promised for verbs that are not there yet, and says so
        for verb in re.findall(r"`(?:build/)?ambit ([a-z]+)\b", page.read_text()):
            assert verb in VERBS, f"{page.name}: `ambit {verb}`"


def test_every_flag_that_is_named_exists():
    known = set(re.findall(r"--[a-z][a-z-]+", "".join(run("help", verb, rc=0).out for verb in VERBS)))
    for page in PAGES:
        for line in re.findall(r"(?:`|^ *)((?:build/)?ambit (?:run|serve|proxy|secret|inspect|grant|runs|doctor|cache|help)[^`\n]*)", page.read_text(), re.M):
            for flag in re.findall(r" (--[a-z][a-z-]+)", line.split("#")[0]):
                # What follows FILE is the guest's.
                before = re.split(r"\S+\.(?:py|js|wasm|wat)\b", line)[0]
                assert flag in known or flag not in before, f"{page.name}: {line}: {flag}"


def test_every_grant_file_is_valid():
    checked = 0
    for page in PAGES:
        for number, (_, text) in enumerate(blocks(page, "yaml")):
            if text.startswith("version:"):
                name = write(f"{page.stem}-{number}.yaml", text)
                run("grant", "check", name, rc=0)
                run("grant", "explain", name, rc=0)
                checked += 1
    assert checked >= 5, f"only {checked} grant files were found"


def test_links_lead_somewhere():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|mailto:|#", t)]
        for target in targets:
            assert (page.parent / target.split("#")[0]).exists(), f"{page.relative_to(ambit.TOP)}: {target}"
        # Paths that are named in code style, where they look like ours.
        for target in re.findall(r"`((?:src|docs|tests|scripts|engine|components|wit|fuzz|examples|bench)/[\w./-]+)`", text):
            if re.search(r"[A-Z]{4,}\.", target):
                continue  # src/worker/host/CLASS.c is a pattern
            made = [ambit.TOP / target, page.parent / target, ambit.TOP / "engine" / target, *ambit.TOP.glob(target + ".[ch]")]
            assert any(p.exists() for p in made), f"{page.relative_to(ambit.TOP)}: {target} is not there"


# ---- schemas ----------------------------------------------------------------------------------------------------------

KEYWORDS = {"$schema", "$id", "title", "description", "$comment", "$defs", "default", "examples", "type", "properties", "required",
            "additionalProperties", "oneOf", "anyOf", "allOf", "const", "enum", "pattern", "items", "minItems", "maxItems",
            "minimum", "maximum", "minLength", "maxLength", "format", "$ref", "uniqueItems", "minProperties", "maxProperties",
            "propertyNames", "not", "if", "then", "else", "prefixItems", "patternProperties", "markdownDescription"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float)}


def faults(value, schema, root, at="$"):
    """What of JSON Schema 2020-12 receipts use; [] when the value is valid."""
    if isinstance(schema, bool):
        return [] if schema else [f"{at}: nothing is allowed here"]
    unknown = set(schema) - KEYWORDS
    assert not unknown, f"this validator does not know {unknown}"
    found = []
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        found += faults(value, target, root, at)
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(isinstance(value, TYPES[t]) and (t == "boolean" or not isinstance(value, bool)) for t in types):
        return [*found, f"{at}: {value!r} is not {types}"]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{at}: {value!r} does not match {schema['pattern']}")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            found.append(f"{at}: length {len(value)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{at}: {value} is out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: {len(value)} items")
        for i, item in enumerate(value):
            found += faults(item, schema.get("items", True), root, f"{at}[{i}]")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            found += faults(item, known.get(name, schema.get("additionalProperties", True)), root, f"{at}.{name}")
    for part in schema.get("allOf", []):
        found += faults(value, part, root, at)
    for key, wanted in (("oneOf", 1), ("anyOf", None)):
        if key in schema:
            tried = [faults(value, part, root, at) for part in schema[key]]
            good = tried.count([])
            if good == 0 or wanted and good != wanted:
                found += [f"{at}: {good} of {key} match"] + (min(tried, key=len) if not good else [])
    return found


def receipt_schema():
    return json.loads((ambit.TOP / "docs" / "schemas" / "receipt.schema.json").read_text())


def holds(result, schema):
    events = result.events
    assert events, repr(result)
    for event in events:
        wrong = faults(event, schema, schema)
        assert not wrong, f"{json.dumps(event)}\n" + "\n".join(wrong)
    return {e["event"] for e in events}


def test_schemas_are_json_and_name_themselves():
    for path in (ambit.TOP / "docs" / "schemas").glob("*.json"):
        schema = json.loads(path.read_text())
        contains(schema["$schema"], "json-schema.org")
        assert schema["$id"] and schema["title"], path.name


def test_receipts_of_real_runs_are_as_the_schema_says():
    schema, seen = receipt_schema(), set()
    fixture()
    seen |= holds(run("run", "script.py", rc=0), schema)
    seen |= holds(run("run", "--read", ".", "--write", "out", "--env", "A=b", ambit.script(
        "import os\nopen('out/x', 'w').write('x')\nfor _ in range(3):\n  try: open('/etc/passwd')\n  except OSError: pass\n", "writes.py")), schema)
    seen |= holds(run("run", "--cpu", "200ms", ambit.wat('(module (memory (export "memory") 1) (func (export "_start") (loop br 0)))'),
                      rc=ambit.TIME_LIMIT), schema)
    seen |= holds(run("run", ambit.wat('(module (memory (export "memory") 1) (func (export "_start") unreachable))'), rc=ambit.TRAP),
                  schema)
    for event in ("run.started", "grants", "mount", "program", "cache", "denial", "denial.repeated", "use", "output", "limit",
                  "run.finished"):
        assert event in seen, f"no run of this test made {event}; it saw {sorted(seen)}"


def test_the_validator_can_say_no():
    """The control of the test above."""
    schema = receipt_schema()
    fixture()
    event = run("run", "tool.wat", rc=0).events[0]
    equal(faults(event, schema, schema), [])
    assert faults({**event, "surprise": 1}, schema, schema)
    assert faults({**event, "time": 5}, schema, schema)
    assert faults({k: v for k, v in event.items() if k != "id"}, schema, schema)


# ---- pages and completions --------------------------------------------------------------------------------------------

def test_manual_pages_have_no_warnings():
    if not shutil.which("groff"):
        return
    for verb in ("", *VERBS):
        page = run("help", "--man", *([verb] if verb else []), rc=0).out
        result = execute(["groff", "-man", "-Tutf8", "-ww", "-K", "utf8"], page)
        equal((result.rc, result.err), (0, ""), verb)
        contains(result.out.upper(), "AMBIT")


def test_completions_parse():
    for shell in ("bash", "zsh", "fish"):
        text = run("help", "--completion", shell, rc=0).out
        for verb in VERBS:
            contains(text, verb, shell)
        if shutil.which(shell):
            result = execute([shell, "-n", write(f"completion.{shell}", text)])
            equal((result.rc, result.err), (0, ""), shell)
