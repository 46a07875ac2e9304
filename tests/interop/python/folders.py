# SPDX-License-Identifier: Apache-2.0
"""Guest: pathlib, os.walk, shutil, glob, tempfile, zipfile, tarfile, gzip: what a script does with files. Leaves a tree behind."""
import fnmatch
import glob
import gzip
import io
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import zipfile

top = pathlib.Path("made")
(top / "a" / "b" / "c").mkdir(parents=True)
(top / "a" / "one.txt").write_text("one\nüber\n", encoding="utf-8")
(top / "a" / "b" / "two.bin").write_bytes(bytes(range(256)) * 300)
(top / "a" / "b" / "c" / "three.py").write_text("print(3)\n")
os.symlink("a/one.txt", top / "link")
print(sorted(str(p) for p in top.rglob("*")))
for folder, folders, files in os.walk(top):
    folders.sort()
    print(folder, folders, sorted(files))
print(sorted(glob.glob("made/**/*.*", recursive=True)), fnmatch.filter(["a.py", "b.txt"], "*.py"))
print([(e.name, e.is_dir(), e.is_symlink(), e.is_file()) for e in sorted(os.scandir(top), key=lambda e: e.name)])
info = (top / "a" / "b" / "two.bin").stat()
print(info.st_size, stat.S_ISREG(info.st_mode), (top / "link").is_symlink(), os.readlink(top / "link"), (top / "link").read_text().split())
os.utime(top / "a" / "one.txt", (1_000_000_000, 1_234_567_890.25))
print(os.path.getmtime(top / "a" / "one.txt"), (top / "a" / "one.txt").stat().st_mtime_ns)
for attempt in (lambda: open("made/none"), lambda: os.mkdir("made/a"), lambda: os.rmdir("made/a"), lambda: os.listdir("made/a/one.txt"),
                lambda: (top / "a").unlink(), lambda: os.rename("made/none", "x"), lambda: open("made/a/one.txt/x"), lambda: open("made/a")):
    try:
        attempt()
        print("no error")
    except OSError as e:
        print(type(e).__name__)
with open(top / "seek", "w+b") as f:
    f.write(b"0123456789")
    f.seek(-3, os.SEEK_END)
    print(f.read(), f.tell(), f.truncate(4), f.seek(0), f.readline(), f.seekable())
with open(top / "lines", "w", newline="\r\n") as f:
    print(*range(5), sep="\n", file=f)
print((top / "lines").read_bytes(), (top / "lines").read_text().splitlines(), os.path.getsize(top / "lines"))
with open(top / "big", "wb", buffering=1 << 16) as f:
    for i in range(3000):
        f.write(b"%06d " % i * 100)
with open(top / "big", "rb") as f:
    print(sum(len(block) for block in iter(lambda: f.read(100_001), b"")))
(top / "big").rename(top / "moved")
os.replace(top / "moved", top / "a" / "moved")
with zipfile.ZipFile(top / "z.zip", "w", zipfile.ZIP_STORED) as z:
    for p in sorted((top / "a" / "b").rglob("*")):
        z.writestr(zipfile.ZipInfo(str(p.relative_to(top)) + ("/" if p.is_dir() else "")), b"" if p.is_dir() else p.read_bytes())
with zipfile.ZipFile(top / "z.zip") as z:
    print([(i.filename, i.file_size, i.CRC) for i in z.infolist()], z.testzip())
    z.extractall(top / "unzipped")
print(zipfile.is_zipfile(top / "z.zip"), sorted(os.listdir(top / "unzipped" / "a" / "b")))
with tarfile.open(top / "t.tar", "w", format=tarfile.PAX_FORMAT) as t:
    entry = tarfile.TarInfo("dir/größe.txt")
    entry.size = 5
    t.addfile(entry, io.BytesIO(b"hello"))
with tarfile.open(top / "t.tar") as t:
    print(t.getnames(), t.extractfile("dir/größe.txt").read())
with gzip.GzipFile(top / "g.gz", "wb", mtime=0) as g:
    g.write(b"text " * 1000)
print(len(gzip.decompress((top / "g.gz").read_bytes())))
(top / "g.gz").unlink()  # its bytes depend on the version of zlib
shutil.copytree(top / "a", top / "copy", copy_function=shutil.copyfile)
shutil.rmtree(top / "copy" / "b")
shutil.move(top / "copy", top / "moved copy")
print(sorted(os.listdir(top / "moved copy")))
with tempfile.TemporaryDirectory() as d, tempfile.TemporaryFile() as t, tempfile.NamedTemporaryFile(dir=d, suffix=".x") as n:
    t.write(b"temporary")
    t.seek(0)
    print(t.read(), os.path.dirname(n.name) == d, n.name.endswith(".x"), os.path.isdir(d))
print(os.path.exists(d), os.path.relpath("made/a/../b", "made"), os.path.normpath("a//b/../c/."), pathlib.PurePath("/a/b.tar.gz").suffixes)
