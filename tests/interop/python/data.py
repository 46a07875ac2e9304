# SPDX-License-Identifier: Apache-2.0
"""Guest: json, csv, re, textwrap, dataclasses, enum, string formatting, sorting: what a script that reads a table does."""
import collections
import csv
import dataclasses
import enum
import io
import itertools
import json
import operator
import re
import string
import sys
import textwrap


class Kind(enum.Enum):
    FRUIT = "fruit"
    TOOL = "tool"


@dataclasses.dataclass(order=True, frozen=True)
class Item:
    price: float
    name: str = dataclasses.field(compare=False)
    kind: Kind = dataclasses.field(compare=False, default=Kind.TOOL)
    tags: tuple = ()


with open("items.csv", newline="", encoding="utf-8") as f:
    rows = list(csv.DictReader(f))
items = sorted(Item(float(r["price"]), r["name"], Kind(r["kind"]), tuple(r["tags"].split())) for r in rows)
for item in items:
    print(f"{item.name:>12} {item.price:8.2f} {item.kind.name} {item.tags!r}")
print(json.dumps([dataclasses.asdict(i) | {"kind": i.kind.value} for i in items], indent=2, ensure_ascii=False, sort_keys=True))
by_kind = collections.defaultdict(list)
for i in items:
    by_kind[i.kind].append(i.price)
print({k.value: (len(v), round(sum(v), 2), min(v)) for k, v in sorted(by_kind.items(), key=lambda p: p[0].value)})
print(collections.Counter("".join(i.name for i in items).lower()).most_common(4))
out = io.StringIO()
writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
writer.writerows([["a", 1, 2.5], ['quote " and', "new\nline", None], ["ü", "", -0.0]])
sys.stdout.write(out.getvalue())
print(json.loads('{"a": [1, 2.50, -1e3, "\\u00fc\\ud83d\\udc27", null, true, {}], "big": 123456789012345678901234567890}'))
for bad in ('{"a": }', "[1,]", '"\\x"', "nan", '{"a": 1 "b"}'):
    try:
        print(json.loads(bad))
    except json.JSONDecodeError as e:
        print(type(e).__name__, e.lineno)
text = "On 2026-01-31 and 1999-12-01, not 20-1-1: foo@example.org, BAR+baz@sub.example.com"
print(re.findall(r"\b(\d{4})-(\d\d)-(\d\d)\b", text), re.findall(r"(?i)[\w+]+@(?:[a-z]+\.)+[a-z]{2,}", text))
print(re.sub(r"(?P<y>\d{4})-(?P<m>\d\d)", r"\g<m>/\g<y>", text), re.split(r"[,:]\s*", text))
print(re.fullmatch(r"(?:(a)|b)+?(?<!x)c(?=d)?", "abac"), [m.span() for m in re.finditer(r"\w+(?=,)", text)])
print(textwrap.fill("the quick brown fox jumps over the lazy dog " * 4, 40, initial_indent="* ", subsequent_indent="  "))
print(textwrap.indent(textwrap.dedent("  a\n    b\n  c"), "> "), textwrap.shorten("many words in here", 12))
print(string.Template("$who likes ${what}s, $$5").substitute(who="tim", what="kung-fu"), "{:>+10,.2f}|{!r:^8}|{:#x}".format(12345.678, "x", 255))
print(list(itertools.groupby("aabbc"))[0][0], list(itertools.pairwise([1, 2, 3])), list(itertools.accumulate([1, 2, 3], operator.mul)))
print("%5.1f %s %-6s|%03d %r" % (2.25, [1], "ab", 7, "é\n\u200b"), "ß".upper(), "İ".lower().encode(), "ǆ".title())
