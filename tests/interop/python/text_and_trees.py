# SPDX-License-Identifier: Apache-2.0
"""Guest: xml, html, ast, difflib, configparser, tomllib, email, urllib.parse, pickle, sqlite3 in memory and in a file, unicodedata, pprint."""
import ast
import configparser
import copy
import difflib
import email.message
import email.policy
import html.parser
import io
import pickle
import pprint
import shelve
import sqlite3
import sys
import tokenize
import tomllib
import types
import typing
import unicodedata
import urllib.parse
import xml.etree.ElementTree as ET
import xml.sax.saxutils

tree = ET.fromstring("<a xmlns:x='urn:x'><b n='1'>t&amp;u</b><x:c/>tail<b n='2'/></a>")
print([b.get("n") for b in tree.iter("b")], ET.tostring(tree, encoding="unicode"), tree.find("{urn:x}c").tail)
try:
    ET.fromstring("<a><b></a>")
except ET.ParseError as e:
    print(e.code, e.position)
print(xml.sax.saxutils.quoteattr('a"b<c>'))


class Links(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
        print(tag, attrs, self.getpos())


Links().feed('<p class=x>text <a href="/?a=1&amp;b=2">l</a><br/><!-- c --></p>')
code = "def f(a, *b, c=1, **d):\n    return [x for x in a if x > c] + list(b)\n"
parsed = ast.parse(code)
print(ast.unparse(parsed), [type(n).__name__ for n in ast.walk(parsed)][:12], ast.literal_eval("{'a': [1, (2,)]}"))
print([tokenize.tok_name[t.type] for t in tokenize.generate_tokens(io.StringIO(code).readline)][:9])
print("".join(difflib.unified_diff("a\nb\nc\n".splitlines(True), "a\nB\nc\nd\n".splitlines(True), "old", "new")), end="")
print(difflib.get_close_matches("appel", ["ape", "apple", "peach"]), round(difflib.SequenceMatcher(None, "abcd", "bcde").ratio(), 3))
config = configparser.ConfigParser()
config.read_string("[s]\nkey = %(other)s!\nother: value\n[t]\nflag = yes\n")
print(config["s"]["key"], config.getboolean("t", "flag"), config.sections())
print(tomllib.loads('a = 1_000\n[b.c]\nd = [1.5, 1979-05-27, "x"]\n[[e]]\nf = """two\nlines"""\n'))
message = email.message.EmailMessage(policy=email.policy.SMTP)
message["Subject"], message["To"] = "Grüße", "a@example.org"
message.set_content("body ü\n")
print(message.as_bytes())
print(urllib.parse.urlsplit("https://u:p@host:8080/a%20b;c?q=1&q=2#f"), urllib.parse.parse_qs("q=1&q=2&e="), urllib.parse.urljoin("http://a/b/c", "../d"))
print(urllib.parse.quote("ü /&"), urllib.parse.urlencode({"a": "x y", "b": [1, 2]}, doseq=True))
value = {"list": [1, 2.5, None], "set": frozenset({1}), "bytes": b"\0\xff", "self": types.SimpleNamespace(a=1)}
print(pickle.loads(pickle.dumps(value)) == value, copy.deepcopy(value) == value, len(pickle.dumps([1, "a"], 2)))
pprint.pprint({"key": list(range(30)), "nested": {"b": "x" * 60, "a": ("y",) * 10}}, width=70)
print([unicodedata.name(c) for c in "aß€🐧"], unicodedata.normalize("NFD", "é").encode(), unicodedata.east_asian_width("中"))
print(typing.get_type_hints(typing.NamedTuple("P", [("x", int)])))
for where in (":memory:", "data.sqlite"):
    db = sqlite3.connect(where)
    db.executescript("create table t (id integer primary key, name text, v real); create index i on t (name);")
    with db:
        db.executemany("insert into t (name, v) values (?, ?)", [(f"n{i % 7}", i * 0.5) for i in range(500)])
    try:
        with db:
            db.execute("insert into t (name) values ('rolled back')")
            raise ValueError
    except ValueError:
        pass
    print(db.execute("select name, count(*), sum(v) from t group by name order by name").fetchall()[:3], db.execute("select count(*) from t").fetchone())
    print(db.execute("with recursive c(x) as (select 1 union all select x + 1 from c where x < 10) select group_concat(x) from c").fetchone())
    try:
        db.execute("insert into t (id) values (1)")
    except sqlite3.IntegrityError as e:
        print(e)
    db.close()
with shelve.open("shelf") as shelf:
    shelf["key"] = [1, 2]
with shelve.open("shelf") as shelf:
    print(dict(shelf))
sys.stdout.flush()
import os  # noqa: E402  the files of SQLite and of dbm depend on their versions
for name in os.listdir("."):
    if name.startswith(("data.sqlite", "shelf")):
        os.unlink(name)
