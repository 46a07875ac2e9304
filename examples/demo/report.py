"""Counts what is in a source tree and writes report.md and report.svg: python3 report.py TREE OUT"""

import collections
import os
import pathlib
import sys
import xml.sax.saxutils

LANGUAGES = {
    ".c": "C", ".h": "C", ".rs": "Rust", ".py": "Python", ".sh": "Shell", ".md": "Markdown", ".wit": "WIT",
    ".wat": "WebAssembly text", ".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".toml": "TOML", ".build": "Meson",
    ".ts": "TypeScript", ".js": "JavaScript", ".html": "HTML", ".css": "CSS", ".svg": "SVG",
}
SKIP = {".git", "build", "build-test", "dist", "out", "target", "node_modules", "__pycache__"}
COLOURS = ["#2f6f8f", "#c2703d", "#5b8c5a", "#8a5a9c", "#b8a13a", "#7a7a7a", "#3f8f83", "#a84b5b"]


def language_of(path, first):
    if path.suffix in LANGUAGES:
        return LANGUAGES[path.suffix]
    if first.startswith(b"#!"):
        return "Python" if b"python" in first.splitlines()[0] else "Shell"
    return "Other"


def survey(tree):
    """Yields (relative path, language, lines, bytes) of every text file."""
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(f for f in folders if f not in SKIP and not f.startswith("build-"))
        for name in sorted(names):
            path = pathlib.Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()
            if b"\0" in data[:8192]:
                continue
            yield path.relative_to(tree), language_of(path, data[:200]), data.count(b"\n"), len(data)


def bar_chart(title, rows):
    """Horizontal bars as SVG; rows are (label, value), largest first."""
    width, bar, gap, label_width = 720, 22, 8, 170
    largest = max((value for _, value in rows), default=1) or 1
    height = 60 + len(rows) * (bar + gap)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="16" y="30" font-size="17" font-weight="bold">{xml.sax.saxutils.escape(title)}</text>']
    for i, (label, value) in enumerate(rows):
        y = 48 + i * (bar + gap)
        size = max(2, (width - label_width - 100) * value / largest)
        parts.append(f'<text x="{label_width - 8}" y="{y + 16}" text-anchor="end">{xml.sax.saxutils.escape(label)}</text>')
        parts.append(f'<rect x="{label_width}" y="{y}" width="{size:.1f}" height="{bar}" rx="3" fill="{COLOURS[i % len(COLOURS)]}"/>')
        parts.append(f'<text x="{label_width + size + 8:.1f}" y="{y + 16}" fill="#444">{value:,}</text>')
    return "\n".join([*parts, "</svg>", ""])


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def main(tree, out):
    files = list(survey(tree))
    lines, counts, by_folder = collections.Counter(), collections.Counter(), collections.Counter()
    for path, language, n, _ in files:
        lines[language] += n
        counts[language] += 1
        by_folder[path.parts[0] if len(path.parts) > 1 else "(top)"] += n
    languages = lines.most_common()
    biggest = sorted(files, key=lambda f: (-f[2], str(f[0])))[:10]

    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "report.svg"), "w", encoding="utf-8") as f:
        f.write(bar_chart("Lines by language", languages[:12]))
    with open(os.path.join(out, "report.md"), "w", encoding="utf-8") as f:
        f.write(f"# What is in this tree\n\n{len(files):,} text files, {sum(lines.values()):,} lines, "
                f"{sum(size for *_, size in files):,} bytes.\n\n![lines by language](report.svg)\n\n## By language\n\n")
        f.write(table(["language", "files", "lines"], [(l, counts[l], f"{n:,}") for l, n in languages]))
        f.write("\n\n## By folder\n\n")
        f.write(table(["folder", "lines"], [(name, f"{n:,}") for name, n in by_folder.most_common()]))
        f.write("\n\n## Largest files\n\n")
        f.write(table(["file", "lines"], [(path, f"{n:,}") for path, _, n, _ in biggest]) + "\n")
    print(f"{len(files)} files, {sum(lines.values())} lines in {len(languages)} languages -> {out}/report.md, {out}/report.svg")


if __name__ == "__main__":
    main(*sys.argv[1:3])
