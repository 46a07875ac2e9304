# SPDX-License-Identifier: Apache-2.0
"""The table of cases: our own guests first (QUICK: what `make test` runs as well), then upstream programs."""

import hashlib
import re

import sequences
from interop import HERE, TOP, Case

TEXT = (TOP / "LICENSE").read_bytes()
NOISE = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(12000))      # 384,000 bytes that do not compress
LINES = b"".join(b"%d %s\n" % (i, b"ab" * (i % 37)) for i in range(20000))
ITEMS = "name,price,kind,tags\nÄpfel,2.50,fruit,red sweet\nhammer,19.90,tool,\n\"big, saw\",19.5,tool,steel\npear,0.99,fruit,\n"


def plain(text):
    return text


def traceback(text):
    """Without the marks below source lines, which are drawn differently from one Python to the next."""
    return re.sub(r"^ *[~^][~^ ]*\n", "", text, flags=re.M)


def only_the_kind(text):
    """Of a traceback the last line's exception, without its text."""
    return text.strip().splitlines()[-1].split(":")[0] if text.strip() else ""


EVERY = ("native", "wasmtime", "jco")
TREE = {"one.txt": TEXT, "sub/noise.bin": NOISE, "sub/deeper/empty": b"", "sub/deeper/lines": LINES, "with space ü": b"x"}

QUICK = [
    Case("c files", "c:files", oracles=EVERY, code=0),
    Case("c folders", "c:folders", oracles=EVERY, code=0),
    Case("c errors", "c:errors", code=3),
    Case("c errors, those of WASI's own", "c:errors", ["all"], oracles=("wasmtime",), code=3),
    Case("c surroundings", "c:surroundings", ["7", "two words", "", "ü", "-x", "--", "*"], env={"INTEROP_A": "1", "INTEROP_B": "a=b ü "},
         code=7, stderr=plain),
    Case("c surroundings, largest exit code", "c:surroundings", ["255"], oracles=("native",), code=255), # wasmtime ends at 125,
    Case("c filter", "c:filter", stdin=TEXT + LINES + "ü€\n".encode(), oracles=EVERY, code=0),
    Case("c filter, nothing to read", "c:filter", oracles=EVERY, code=0),
    Case("c filter, byte by byte", "c:filter", ["-"], stdin=TEXT[:5000] + bytes(range(256)), oracles=EVERY, code=0),
    Case("c numbers", "c:numbers", oracles=EVERY, code=0),
    Case("c memory", "c:memory", oracles=EVERY, code=0),
    Case("c clocks", "c:clocks", oracles=EVERY, code=0),
    Case("c clocks, fixed", "c:clocks", ["show"], oracles=(), flags=["--clock", "2026-02-03T04:05:06Z"], code=0,
         output=b"2000-02-29 00:00:00 day 060, Tuesday\n1801440000\n2026-02-03T04:05:06Z 0\n"),
    Case("c digests of a tree", "c:digests", ["."], files=TREE, oracles=EVERY, code=0),
    Case("c patterns", "c:patterns", ["licen[cs]e (agree|shall|for)", "in.txt"], files={"in.txt": TEXT}, oracles=EVERY, code=0),
    Case("c patterns, no match", "c:patterns", ["^never there$", "in.txt"], files={"in.txt": TEXT}, oracles=EVERY, code=1),
    Case("wat arguments", "wat:arguments", ["a", "b c", "ü"], env={"A": "1", "B": "ü = x"}, code=5, output="a\nb c\nü\nA=1\nB=ü = x\n".encode()),
    Case("wat instructions", "wat:instructions", code=0, output=(HERE / "wat" / "instructions.out").read_bytes()),
    Case("wat memory that is its own", "wat:ownership", code=0, output=b"y" * 37 + b"\n"),
    Case("wat component", "wat:component", ["a", "ü"], code=0, output="hello from a component\na\nü\n".encode()),
    Case("wat component that says it failed", "wat:component", ["1", "2", "3"], code=1, output=b"hello from a component\n1\n2\n3\n"),
    Case("python data", "python:data", files={"items.csv": ITEMS}, code=0, stderr=plain),
    Case("python numbers and time", "python:numbers_and_time", code=0, stderr=plain),
    Case("python folders", "python:folders", code=0, stderr=plain),
    Case("python text and trees", "python:text_and_trees", code=0, stderr=plain),
    Case("python tests inside", "python:tests_inside", code=5),
    Case("python program", "python:program", ["--level", "9", "count", "some", "words", "größer"], code=0, stderr=plain),
    Case("python program, standard input", "python:program", ["count", "--stdin"], stdin=TEXT, env={"INTEROP_LEVEL": "5"}, code=0, stderr=plain),
    Case("python program, usage error", "python:program", ["count", "--what"], code=2, stderr=plain),
    Case("python program, no command", "python:program", code=2, stderr=plain),
    Case("python program, help", "python:program", ["crash", "--help"], code=0),
    Case("python program, exit code", "python:program", ["fail", "77"], code=77, stderr=plain),
    Case("python program, division by zero", "python:program", ["crash", "zero"], code=1, stderr=traceback),
    Case("python program, chained errors", "python:program", ["crash", "key"], code=1, stderr=traceback),
    Case("python program, error with a text", "python:program", ["crash", "group"], code=1, stderr=traceback),
    Case("python program, syntax error", "python:program", ["crash", "syntax"], code=1, stderr=traceback),
    Case("python program, too deep", "python:program", ["crash", "deep"], code=1, stderr=only_the_kind),
]

SCRIPTS = [
    Case("python timers", "python:timers", code=0, stderr=plain),
    Case("python urllib", "python:http_urllib", ["{port}"], http=True, code=0, stderr=plain),
    Case("python http.client", "python:http_client", ["{port}"], http=True, code=0, stderr=plain),
    Case("js data", "js:data", code=0, stderr=plain),
    Case("js files", "js:files", files={"input.txt": TEXT}, code=0, stderr=plain),
    Case("js program", "js:program", ["run", "two words", "ü", "-x"], env={"INTEROP_A": "1", "INTEROP_B": "ü"}, code=0, stderr=plain),
    Case("js program, exit code", "js:program", ["exit", "77"], code=77, stderr=plain),
    Case("js program, exit code for later", "js:program", ["code", "3"], code=3, stderr=plain),
    Case("js program, error", "js:program", ["throw"], code=1),
    Case("js program, rejection", "js:program", ["reject"], code=1),
    Case("js timers", "js:timers", code=0, stderr=plain),
    Case("js web", "js:web", code=0, stderr=plain),
    Case("js fetch", "js:fetch", ["{port}"], http=True, code=0, stderr=plain),
]

# Generated sequences (sequences.py), ten to a case: 240 of WASI 0.1 through the adapter, 60 of which jco answers as well; 40 of config and keyvalue.
CONFIG = {"one": "1", "two": "2 ü", "three": ""}
CALLS = [
    *(Case(f"calls {n}-{n + 9}", "call:calls", stdin=sequences.script(n, 10), env={"X": "1"}, code=0) for n in range(0, 200, 10)),
    *(Case(f"calls {n}-{n + 9}, careful", "call:calls", stdin=sequences.script(n, 10, careful=True), env={"X": "1"}, oracles=("wasmtime", "jco"), code=0)
      for n in range(200, 260, 10)),
    *(Case(f"config and keyvalue {n}", "call:store", ["{bucket}"], stdin=sequences.store_sequence(n), config=CONFIG, code=0) for n in range(40)),
    *(Case(f"calls: {name}", "call:calls", stdin=sequences.known(calls), code=0, known=why) for name, calls, why in sequences.KNOWN),
]

# Markdown executes a second copy of html.parser; the library of Ambit's Python is in its memory, its files are not there.
NO_SOURCES = "a module of the standard library cannot be executed a second time"

JSON = """{"items": [{"name": "pear", "price": 0.99, "tags": ["a", "b"]}, {"name": "Äpfel", "price": 2.5, "tags": []},
 {"name": "saw", "price": 19.5, "tags": ["c"], "big": 12345678901234567890123}], "meta": {"when": "2026-01-31T12:00:00Z", "n": null}}
"""
SHELL = """#!/bin/bash
set -eu
if [ "$1" = x ]  ;then echo   "a"   b; fi
case $1 in a|b) foo ;;
*) bar;; esac
for i in {1..3};do
 cat <<EOF
  kept   as it is $i
EOF
done
f() { local x=$(( 1+2 )); [[ $x -gt 2 && -f "$1" ]]||return 1; }
"""
JSONNET = {
    "main.jsonnet": """local lib = import 'lib/parts.libsonnet';
local text = importstr 'lib/text.txt';
{
  assert std.length(self.list) == 3 : 'three',
  who:: std.extVar('who'),
  hello: 'hello %s' % self.who,
  list: [lib.square(x) for x in std.range(1, 3)],
  merged: { a: 1, b: { c: 2 } } + { b+: { d: self.c * 2 } },
  digest: std.md5(text), sorted: std.sort([3, 1, 2]), json: std.manifestJsonMinified({ x: [true, null] }),
  text: std.split(text, '\\n')[0], yaml: std.manifestYamlDoc({ a: [1, 'x'] }), float: 1 / 3, big: 1e100,
}
""",
    "lib/parts.libsonnet": "{ square(x):: x * x }\n",
    "lib/text.txt": "first line\nsecond\n",
    "many.jsonnet": "{ ['part%d.json' % i]: { n: i, s: std.base64('%d' % i) } for i in std.range(1, 5) }\n",
    "wrong.jsonnet": "local a = { x: error 'on purpose' };\n[a.x]\n",
}
YAML = """# a comment
a: &anchor {x: 1, y: [2, 3]}
b:
  <<: *anchor
  text: |
    two
    lines
list: [one, "two", 3.50, null, true, 2026-01-31]
"""
PYTHON = '''import os, sys
import json


def f(a, b = 1, *c):
    """Says it."""
    unused = 1
    x = {"a":1, 'b' :  [2,3]}
    return lambda: x if a == None else undefined_name + b # note


class C:
    def method(self): return "text %s" % 5
    def method(self): pass
'''
MARKDOWN = """Title
=====

Some *emphasis*, **strong**, `code`, [a link](http://example.org/?a=1&b=2 "title") and <b>html</b>.

1. one
2. two
    * nested

> quoted ü

    indented code

| a | b |
|---|---|
| 1 | 2 |

Term[^1]

[^1]: A note.
"""
REST = """=====
Title
=====
:Author: Somebody

Section
-------
*emphasis*, **strong**, ``literal``, `a link <http://example.org/>`_, a footnote [1]_ and |sub|.

.. |sub| replace:: replaced ü
.. [1] The note.

* item

  1. nested

======  ====
a       b
======  ====
1       2
======  ====

.. code:: python

   print("code")

.. note:: A note.
"""
SQL = ("select a, b as c, count(*) from t left join u on t.id=u.id where x in (1,2,3) and y like '%ü%' group by a, b having count(*)>1 "
       "order by 1 desc; insert into t values (1,'it''s'); -- done\n")

UPSTREAM = [
    Case("bzip2 -k9", "upstream:bzip2", ["-k9", "noise.bin", "text"], files={"noise.bin": NOISE, "text": TEXT * 20}, code=0),
    Case("bzip2 round trip in place", "upstream:bzip2", ["-z", "-1", "text"], files={"text": TEXT * 10}, code=0),
    Case("bzip2 -c < stdin", "upstream:bzip2", ["-c"], stdin=LINES, code=0),
    Case("bzip2 -d of its own reference", "upstream:bzip2", ["-dc", "sample.bz2"], files={"sample.bz2": "crate:bzip2-1.0.8/sample2.bz2"}, code=0),
    Case("bzip2 -t of a broken file", "upstream:bzip2", ["-t", "broken.bz2"], files={"broken.bz2": b"BZh91AY&SY" + NOISE[:300]}, oracles=EVERY, code=2),
    Case("bzip2 of a missing file", "upstream:bzip2", ["none"], oracles=EVERY, code=1),
    Case("libdeflate gzip -12", "upstream:libdeflate-gzip", ["-12", "-k", "text", "noise.bin"], files={"text": TEXT * 5, "noise.bin": NOISE}, code=0),
    Case("libdeflate gzip -c", "upstream:libdeflate-gzip", ["-6", "-c", "lines"], files={"lines": LINES}, code=0),
    Case("libdeflate gzip -d", "upstream:libdeflate-gzip", ["-d", "text.gz"], files={"text.gz": __import__("gzip").compress(TEXT, mtime=5)}, oracles=EVERY, code=0),
    Case("libdeflate gzip -d of a broken file", "upstream:libdeflate-gzip", ["-dc", "text.gz"],
         files={"text.gz": __import__("gzip").compress(TEXT, mtime=5)[:-9] + b"000000000"}, code=1),
    Case("gojq filter", "upstream:gojq", [".items | map(select(.price > 1)) | sort_by(.name) | .[] | {name, t: (.tags|length)}", "in.json"],
         files={"in.json": JSON}, code=0),
    Case("gojq from stdin", "upstream:gojq", ["-r", "--arg", "k", "price", "[.items[][$k]] | add, (.[0] | @base64 \"v\\(.)\"), ([1,2] | @csv)"],
         stdin=JSON.encode(), code=0),
    Case("gojq --stream, dates, regular expressions", "upstream:gojq",
         ["-c", "(.meta.when | fromdate | todate), (.items[].name | test(\"^p\")), [paths(type == \"number\")], (.items[2].big | . + 1)"],
         stdin=JSON.encode(), code=0),
    Case("gojq with a module", "upstream:gojq", ["-L", "mods", 'import "m" as m; .items | m::names', "in.json"],
         files={"in.json": JSON, "mods/m.jq": "def names: map(.name) | join(\", \");\n"}, code=0),
    Case("gojq error", "upstream:gojq", [".items | error(\"x\")", "in.json"], files={"in.json": JSON}, oracles=EVERY, code=5, stderr=plain),
    Case("gojq -e false", "upstream:gojq", ["-e", ".none"], stdin=b"{}", oracles=EVERY, code=1),
    Case("gojq missing file", "upstream:gojq", [".", "none.json"], oracles=EVERY, code=5),
    Case("shfmt", "upstream:shfmt", ["-i", "4", "-ci", "s.sh"], files={"s.sh": SHELL}, code=0, stderr=plain),
    Case("shfmt -d", "upstream:shfmt", ["-d", "s.sh"], files={"s.sh": SHELL}, code=1, stderr=plain),
    Case("shfmt -l of a tree", "upstream:shfmt", ["-l", "."], files={"a/s.sh": SHELL, "a/b/t.sh": SHELL, "a/ok.sh": "echo\n", "x.txt": "no\n"}, code=0),
    Case("shfmt --to-json", "upstream:shfmt", ["--to-json"], stdin=SHELL.encode(), code=0),
    Case("shfmt syntax error", "upstream:shfmt", ["s.sh"], files={"s.sh": "if true; then\n"}, code=1, stderr=plain),
    Case("jsonnet", "upstream:go-jsonnet", ["--ext-str", "who=wörld", "main.jsonnet"], files=JSONNET, code=0, stderr=plain),
    Case("jsonnet -m", "upstream:go-jsonnet", ["-c", "-m", "out", "many.jsonnet"], files=JSONNET, code=0, stderr=plain),
    Case("jsonnet at /work by PWD", "upstream:go-jsonnet", ["-c", "-m", "out", "many.jsonnet"], files=JSONNET, env={"PWD": "/work"}, at="/work",
         oracles=("wasmtime",), code=0, stderr=plain),
    Case("jsonnet error", "upstream:go-jsonnet", ["wrong.jsonnet"], files=JSONNET, code=1, stderr=plain),
    Case("yq to JSON", "upstream:yq", ["-o=json", "explode(.)", "in.yaml"], files={"in.yaml": YAML}, code=0, stderr=plain),
    Case("yq update", "upstream:yq", [".list += [\"more\"] | .b.text |= upcase", "in.yaml"], files={"in.yaml": YAML}, code=0, stderr=plain),
    Case("yq merge of two files", "upstream:yq", ["eval-all", "select(fi == 0) * select(fi == 1)", "in.yaml", "b.yaml"],
         files={"in.yaml": YAML, "b.yaml": "b: {text: other}\nnew: 1\n"}, code=0, stderr=plain),
    Case("yq XML", "upstream:yq", ["-p=xml", "-o=yaml", "."], stdin=b"<a x='1'><b>t</b><b/></a>", code=0),
    Case("yq error", "upstream:yq", [".", "in.yaml"], files={"in.yaml": "a: [1\nb"}, code=1, stderr=plain),
    Case("pygmentize to HTML", "upstream:pygments", ["-f", "html", "-O", "full,linenos=1", "-l", "python", "in.py"], files={"in.py": PYTHON}, code=0),
    Case("pygmentize to a file, guessed", "upstream:pygments", ["-o", "out.svg", "s.sh"], files={"s.sh": SHELL}, code=0, stderr=plain),
    Case("pygmentize to a terminal's colours", "upstream:pygments", ["-f", "terminal256", "-l", "c", "in.c"],
         files={"in.c": HERE / "c" / "digests.c"}, code=0),
    Case("pygmentize unknown lexer", "upstream:pygments", ["-l", "nosuch", "in.py"], files={"in.py": PYTHON}, code=1, stderr=plain),
    Case("markdown", "upstream:markdown", ["-x", "tables", "-x", "footnotes", "-x", "toc", "in.md"], files={"in.md": MARKDOWN}, code=0, stderr=plain,
         known=NO_SOURCES),
    Case("markdown of a large file", "upstream:markdown", ["-f", "out.html", "README.md"], files={"README.md": (MARKDOWN + "\n\n") * 100}, code=0,
         known=NO_SOURCES),
    Case("docutils to HTML", "upstream:docutils", ["--writer=html5", "--no-datestamp", "--no-generator", "--embed-stylesheet", "in.rst", "out.html"],
         files={"in.rst": REST}, code=0, stderr=plain),
    Case("docutils to LaTeX", "upstream:docutils", ["--writer=latex", "--no-datestamp", "--no-generator", "in.rst"], files={"in.rst": REST}, code=0),
    Case("docutils error", "upstream:docutils", ["--halt=2", "in.rst"], files={"in.rst": "Title\n==\n`x\n"}, code=1, stderr=plain),
    Case("pycodestyle", "upstream:pycodestyle", ["--show-source", "--statistics", "in.py"], files={"in.py": PYTHON}, code=1),
    Case("pyflakes", "upstream:pyflakes", ["in.py", "other.py"], files={"in.py": PYTHON, "other.py": "from os import *\nprint(path)\n"}, code=1, stderr=plain),
    Case("sqlformat", "upstream:sqlparse", ["--reindent", "--keywords", "upper", "-"], stdin=SQL.encode(), code=0, stderr=plain),
    Case("requests and urllib3", "site:with_requests", ["{port}"], http=True, code=0, stderr=plain),
    Case("chevron", "upstream:chevron", ["-d", "data.json", "t.mustache"],
         files={"data.json": JSON, "t.mustache": "{{#items}}{{name}}: {{price}}\n{{#tags}}<{{.}}>{{/tags}}\n{{/items}}{{^none}}nothing{{/none}}\n"}, code=0),
]
