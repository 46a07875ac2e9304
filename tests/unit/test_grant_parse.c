/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of grant files: everything it must refuse, with its place,
 * and parse∘print = identity. */
#include "base/file.h"
#include "grant/grant.h"
#include "grant_random.h"
#include "test.h"

#include <dirent.h>

struct reject {
    const char *text;
    unsigned line, column;
    const char *what, *hint;
};

#define V "version: 1\n"
#define G "version: 1\ngrants:\n"
#define FS G "  - fs: /work\n    from: memory\n    allow: ro\n"

static const struct reject rejects[] = {
    /* the document */
    { "", 0, 0, "empty", NULL },
    { "# nothing\n", 0, 0, "empty", NULL },
    { "[]", 1, 1, "must be a mapping", "version: 1" },
    { "just text", 1, 1, "must be a mapping", NULL },
    { "{}", 1, 1, "`version` is missing", "version: 1" },
    { "grants: []\n", 1, 1, "`version` is missing", "version: 1" },
    { "version: 2\n", 1, 10, "`version` is not 1", "version: 1" },
    { "version: \"1\"\n", 1, 10, "`version` is not 1", NULL },
    { "version: 1.0\n", 1, 10, "`version` is not 1", NULL },
    { "version: true\n", 1, 1, "`version` is not 1", NULL },
    { "version:\n", 1, 1, "`version` is not 1", NULL },
    { V "version: 1\n", 2, 1, "twice", NULL },
    { V "grant: []\n", 2, 1, "unknown key `grant`", "`grants`" },
    { V "fs: /work\n", 2, 1, "unknown key `fs`", "list items under `grants:`" },
    { V "name: x\n", 2, 1, "unknown key `name`", "version, limits, grants, expires" },
    { V "grants: &a []\n", 2, 9, "anchor", NULL },
    { V "grants: !x []\n", 2, 9, "tag", NULL },
    { V "grants: *a\n", 2, 9, "alias", NULL },
    { V "<<: {}\n", 2, 1, "merge", NULL },
    { V "---\n" V, 0, 0, "", NULL },
    { V "grants: [\n", 0, 0, "", NULL },
    { V "\tgrants: []\n", 0, 0, "", NULL },
    { V "grants: \"\xff\"\n", 0, 0, "", NULL },
    { "{\"version\": 1, \"version\": 1}", 1, 0, "twice", NULL },
    { "{\"version\": 1,}", 1, 0, "", NULL },
    /* the list */
    { V "grants:\n", 2, 1, "must be a list", "grants: []" },
    { V "grants: {}\n", 2, 9, "must be a list", "- " },
    { V "grants: fs\n", 2, 9, "must be a list", NULL },
    { G "  - fs\n", 3, 5, "a grant must be a mapping", NULL },
    { G "  -\n", 2, 1, "a grant must be a mapping", NULL },
    { G "  - {}\n", 3, 5, "names no class", NULL },
    { G "  - f: /work\n", 3, 5, "unknown class of grant `f`", NULL },
    { G "  - evn: { A: b }\n", 3, 5, "unknown class of grant `evn`", "`env`" },
    { G "  - stido: [stdin]\n", 3, 5, "unknown class", "`stdio`" },
    { G "  - env: { A: b }\n    args: given\n", 4, 5, "`env` and `args` in one grant",
      "list item of its own" },
    { G "  - env: { A: b }\n    allow: ro\n", 4, 5, "unknown key `allow`", NULL },
    { G "  - clock: real\n    paths: [a]\n", 4, 5, "a grant of clock has no further keys", NULL },
    /* what is not there yet */
    { G "  - serve: /\n", 3, 5, "`serve` is not available in this version", "available: fs" },
    { G "  - blob: b\n", 3, 5, "`blob` is not available", NULL },
    { G "  - model: [a/b]\n", 3, 5, "`model` is not available", NULL },
    { G "  - trigger: [x]\n", 3, 5, "`trigger` is not available", NULL },
    { G "  - artifact: out\n", 3, 5, "`artifact` is not available", NULL },
    { G "  - sign: key\n", 3, 5, "`sign` is not available", NULL },
    { G "  - registry: r\n", 3, 5, "`registry` is not available", NULL },
    { G "  - rpc: a:b/c\n", 3, 5, "`rpc` is not available", NULL },
    { G "  - secret: s\n", 3, 5, "`secret` is not available", NULL },
    { G "  - report: r\n", 3, 5, "`report` is not available", NULL },
    { G "  - sql: q\n", 3, 5, "`sql` is not available", NULL },
    { G "  - git: g\n", 3, 5, "`git` is not available", NULL },
    { G "  - browser: b\n", 3, 5, "`browser` is not available", NULL },
    { G "  - flag: [f]\n", 3, 5, "`flag` is not available", NULL },
    { G "  - fs: /w\n    from: { session: work }\n    allow: ro\n", 4, 13,
      "`session` is not available", "dir" },
    { G "  - fs: /w\n    from: { view: work }\n    allow: ro\n", 4, 13, "`view` is not available",
      NULL },
    { G "  - fs: /w\n    from: { blob: work }\n    allow: ro\n", 4, 13, "`blob` is not available",
      NULL },
    /* fs */
    { G "  - fs: work\n    from: memory\n    allow: ro\n", 3, 9, "not absolute", "/work/work" },
    { G "  - fs: ../etc\n    from: memory\n    allow: ro\n", 3, 9, "not absolute", NULL },
    { G "  - fs: \"\"\n    from: memory\n    allow: ro\n", 3, 9, "not absolute", NULL },
    { G "  - fs: /work/../etc\n    from: memory\n    allow: ro\n", 3, 9, "`..`", "write `/etc`" },
    { G "  - fs: /..\n    from: memory\n    allow: ro\n", 3, 9, "`..`", "write `/`" },
    { G "  - fs: /work/\n    from: memory\n    allow: ro\n", 3, 9, "shortest form",
      "write `/work`" },
    { G "  - fs: //work\n    from: memory\n    allow: ro\n", 3, 9, "shortest form",
      "write `/work`" },
    { G "  - fs: /./work\n    from: memory\n    allow: ro\n", 3, 9, "shortest form",
      "write `/work`" },
    { G "  - fs: 7\n    from: memory\n    allow: ro\n", 3, 9, "must be a string", "quote" },
    { G "  - fs:\n    from: memory\n    allow: ro\n", 3, 5, "must be a string", NULL },
    { G "  - fs: [/work]\n    from: memory\n    allow: ro\n", 3, 9, "must be a string", NULL },
    { G "  - fs: \"/a\\0b\"\n    from: memory\n    allow: ro\n", 3, 0, "NUL", NULL },
    { G "  - fs: /work\n    allow: ro\n", 3, 5, "needs `from`", "{ dir: PATH }" },
    { G "  - fs: /work\n    from: memory\n", 3, 5, "needs `allow`", "ro" },
    { FS "    alow: rw\n", 6, 5, "unknown key `alow` in a grant of fs", "`allow`" },
    { FS "    path: [a]\n", 6, 5, "unknown key `path` in a grant of fs", "`paths`" },
    { FS "    max_size: 1KiB\n", 6, 5, "unknown key `max_size`", "max_bytes" },
    { FS "    allow: rw\n", 6, 5, "twice", NULL },
    { G "  - fs: /work\n    from: data\n    allow: ro\n", 4, 11, "unknown value `data`",
      "{ dir: data }" },
    { G "  - fs: /work\n    from: [a]\n    allow: ro\n", 4, 11, "`from` must be", NULL },
    { G "  - fs: /work\n    from: {}\n    allow: ro\n", 4, 11, "names no backing", NULL },
    { G "  - fs: /work\n    from: { memory: 1 }\n    allow: ro\n", 4, 13,
      "unknown backing `memory`", "from: memory" },
    { G "  - fs: /work\n    from: { dri: x }\n    allow: ro\n", 4, 13, "unknown backing `dri`",
      "`dir`" },
    { G "  - fs: /work\n    from: { dir: x, size: 1 }\n    allow: ro\n", 4, 21,
      "unknown backing `size`", NULL },
    { G "  - fs: /work\n    from: { dir: \"\" }\n    allow: ro\n", 4, 18, "empty", NULL },
    { G "  - fs: /work\n    from: { dir: 5 }\n    allow: ro\n", 4, 18, "must be a string",
      "quote" },
    { G "  - fs: /work\n    from: { dir: ~/x }\n    allow: ro\n", 4, 18, "not expanded", "./~/x" },
    { G "  - fs: /work\n    from: { dir: $HOME/x }\n    allow: ro\n", 4, 18, "not expanded", NULL },
    { G "  - fs: /work\n    from: { dir: a/../b }\n    allow: ro\n", 4, 18, "`..` after a name",
      NULL },
    { G "  - fs: /work\n    from: { dir: /a/.. }\n    allow: ro\n", 4, 18, "`..` after a name",
      NULL },
    { G "  - fs: /work\n    from: { dir: ../../../../x }\n    allow: ro\n", 4, 18, "above the root",
      NULL },
    { G "  - fs: /work\n    from: memory\n    allow: all\n", 5, 12,
      "unknown value of `allow` `all`", "ro, rw" },
    { G "  - fs: /work\n    from: memory\n    allow: read\n", 5, 12, "unknown value",
      "[read, list]" },
    { G "  - fs: /work\n    from: memory\n    allow: []\n", 5, 12, "grants nothing", NULL },
    { G "  - fs: /work\n    from: memory\n    allow: [raed]\n", 5, 13, "unknown verb `raed`",
      "`read`" },
    { G "  - fs: /work\n    from: memory\n    allow: [read, exec]\n", 5, 19, "unknown verb `exec`",
      "read, list" },
    { G "  - fs: /work\n    from: memory\n    allow: [read, read]\n", 5, 19, "named twice", NULL },
    { G "  - fs: /work\n    from: memory\n    allow: [ro]\n", 5, 13, "unknown verb `ro`", NULL },
    { G "  - fs: /work\n    from: memory\n    allow: { read: 1 }\n", 5, 12, "must be a list",
      NULL },
    { FS "    paths: a\n", 6, 12, "must be a list", "[\"a\"]" },
    { FS "    paths: []\n", 6, 12, "grants nothing", "leave it out" },
    { FS "    paths: [1]\n", 6, 13, "must be a string", "quote" },
    { FS "    paths: [a, \"\"]\n", 6, 16, "empty", NULL },
    { FS "    paths: [/a]\n", 6, 13, "starts with `/`", "relative to the mount" },
    { FS "    paths: [a, b/../c]\n", 6, 16, "`..`", NULL },
    { FS "    paths: [a//b]\n", 6, 13, "empty segment", NULL },
    { FS "    paths: [src/]\n", 6, 13, "empty segment", "**" },
    { FS "    paths: [./a]\n", 6, 13, "`.` for a segment", NULL },
    { FS "    paths: [a**]\n", 6, 13, "whole segment", "single `*`" },
    { FS "    paths: [\"[ab]\"]\n", 6, 13, "no meaning", NULL },
    { FS "    paths: [\"*.{c,h}\"]\n", 6, 13, "no meaning", "one by one" },
    { FS "    paths: [\"!a\"]\n", 6, 13, "starts with `!`", "only add" },
    { FS "    paths: [\"a\\\\\"]\n", 6, 13, "quotes nothing", NULL },
    { FS "    max_bytes: 64MB\n", 6, 16, "`max_bytes`", "MiB" },
    { FS "    max_bytes: 64mib\n", 6, 16, "`max_bytes`", NULL },
    { FS "    max_bytes: 1.5MiB\n", 6, 16, "`max_bytes`", NULL },
    { FS "    max_bytes: 1.5\n", 6, 16, "must be a size", "64MiB" },
    { FS "    max_bytes: -1\n", 6, 16, "negative", NULL },
    { FS "    max_bytes: 8388608TiB\n", 6, 16, "too large", NULL },
    { FS "    max_bytes: 99999999TiB\n", 6, 16, "too large", NULL },
    { FS "    max_files: 10KiB\n", 6, 16, "is a count", "whole number" },
    { FS "    max_files: 1.0\n", 6, 16, "must be a whole number", NULL },
    { FS "    max_files: -3\n", 6, 16, "negative", NULL },
    { FS "    max_files: 99999999999999999999\n", 6, 16, "64 bits", NULL },
    { FS "  - fs: /work\n    from: { dir: x }\n    allow: ro\n", 6, 9, "overlapping mounts",
      "another place" },
    { G
      "  - { fs: /w, from: { dir: a }, allow: ro }\n  - { fs: /w, from: { dir: b }, allow: ro }\n",
      4, 11, "overlapping mounts: `/w` is /base/b here and /base/a in t:3", NULL },
    /* the other classes */
    { G "  - env: {}\n", 3, 10, "grants nothing", NULL },
    { G "  - env: [A]\n", 3, 10, "must be a mapping", "{ NAME: value }" },
    { G "  - env: A=b\n", 3, 10, "must be a mapping", NULL },
    { G "  - env: { A: 1 }\n", 3, 15, "env `A`: a value must be a string, and it is a number",
      "quote it" },
    { G "  - env: { A: true }\n", 3, 12, "it is true or false", "quote it" },
    { G "  - env: { A: }\n", 3, 12, "it is empty", "\"\"" },
    { G "  - env: { \"\": x }\n", 3, 12, "without a name", NULL },
    { G "  - env: { \"A=B\": x }\n", 3, 12, "cannot be the name", NULL },
    { G "  - env: { \"A\\nB\": x }\n", 3, 12, "cannot be the name", NULL },
    { G "  - env: { A: x, A: y }\n", 3, 18, "twice", NULL },
    { G "  - env: { A: x }\n  - env: { A: y }\n", 4, 10, "`A` has another value in t:3", NULL },
    { G "  - config: { k: 1.5 }\n", 3, 18, "must be a string", "quote it" },
    { G "  - config: k\n", 3, 13, "must be a mapping", NULL },
    { G "  - config: { k: a }\n  - config: { k: b }\n", 4, 13, "another value", NULL },
    { G "  - args: all\n", 3, 11, "must be `given` or a list", NULL },
    { G "  - args: [a, 1]\n", 3, 15, "must be a string", "quote it" },
    { G "  - args: [a, null]\n", 3, 5, "must be a string", NULL },
    { G "  - args: { a: b }\n", 3, 11, "must be `given` or a list", NULL },
    { G "  - args: given\n  - args: [a]\n", 4, 11, "another grant of args, in t:3", NULL },
    { G "  - stdio: stdout\n", 3, 12, "must be a list", "[stdout]" },
    { G "  - stdio: []\n", 3, 12, "grants nothing", NULL },
    { G "  - stdio: [stdot]\n", 3, 13, "unknown stream `stdot`", "`stdout`" },
    { G "  - stdio: [stdin, stdin]\n", 3, 20, "named twice", NULL },
    { G "  - stdio: [0]\n", 3, 13, "must be a string", NULL },
    { G "  - log: [warning]\n", 3, 11, "unknown level `warning`", "warn" },
    { G "  - log: info\n", 3, 10, "must be a list", "[info]" },
    { G "  - log: [info, info]\n", 3, 17, "named twice", NULL },
    { G "  - clock: now\n", 3, 12, "`clock`", "2026-01-01T00:00:00Z" },
    { G "  - clock: 2026-01-01\n", 3, 12, "`clock`", NULL },
    { G "  - clock: 2026-02-30T00:00:00Z\n", 3, 12, "`clock`", NULL },
    { G "  - clock: 0\n", 3, 12, "must be a string", NULL },
    { G "  - clock: true\n", 3, 5, "must be a string", NULL },
    { G "  - clock: real\n  - clock: 2026-01-01T00:00:00Z\n", 4, 12, "another grant of clock",
      NULL },
    { G "  - random: 42\n", 3, 13, "must be a string", "quote it" },
    { G "  - random:\n", 3, 5, "must be a string", NULL },
    { G "  - random: a\n  - random: b\n", 4, 13, "another grant of random", NULL },
    /* limits and expiry */
    { V "limits: []\n", 2, 9, "must be a mapping", "wall: 30s" },
    { V "limits:\n", 2, 1, "must be a mapping", NULL },
    { V "limits: { mem: 1MiB }\n", 2, 11, "unknown limit `mem`", NULL },
    { V "limits: { memroy: 1MiB }\n", 2, 11, "unknown limit `memroy`", "`memory`" },
    { V "limits: { memory: 64MB }\n", 2, 19, "`memory`", "MiB" },
    { V "limits: { memory: 0 }\n", 2, 19, "`memory` is zero", NULL },
    { V "limits: { memory: [1] }\n", 2, 19, "must be a size", NULL },
    { V "limits: { cpu: 2 }\n", 2, 16, "must be a duration", "2s" },
    { V "limits: { cpu: 2 s }\n", 2, 16, "`cpu`", NULL },
    { V "limits: { cpu: 2sec }\n", 2, 16, "`cpu`", NULL },
    { V "limits: { wall: -1s }\n", 2, 17, "`wall`", NULL },
    { V "limits: { wall: 0s }\n", 2, 17, "`wall` is zero", NULL },
    { V "limits: { wall: 999999999d }\n", 2, 17, "`wall`", NULL },
    { V "limits: { handles: 1k }\n", 2, 20, "is a count", NULL },
    { V "limits: { handles: \"9\" }\n", 2, 20, "is a count", "quotes" },
    { V "limits: { output: 1M }\n", 2, 19, "`output`", "MiB" },
    { V "limits: { hostcalls: 1e6 }\n", 2, 22, "must be a whole number", NULL },
    { V "limits: { hostcalls: 1, hostcalls: 1 }\n", 2, 25, "twice", NULL },
    { V "expires: 15\n", 2, 10, "must be a duration", NULL },
    { V "expires: 15min\n", 2, 10, "`expires`", NULL },
    { V "expires: 0s\n", 2, 10, "`expires` is zero", NULL },
    { V "expires: never\n", 2, 10, "`expires`", NULL },
    { V "expires:\n", 2, 1, "must be a duration", NULL },
};

TEST(parse_reject_table)
{
    CHECK(ARRAY_SIZE(rejects) >= 80);
    for (size_t i = 0; i < ARRAY_SIZE(rejects); i++) {
        const struct reject *row = &rejects[i];
        struct grant_set *s = NULL;
        struct error e = ERROR_INIT;
        long live = mem_live();
        CHECK(grant_set_parse("t", "/base", row->text, strlen(row->text), &s, &e) < 0);
        CHECK(s == NULL && mem_live() == live);
        if (e.code != -EINVAL && e.code != -ERANGE && e.code != -E2BIG && e.code != -EILSEQ)
            test_fail(__FILE__, __LINE__, "row %zu: code %d: %s", i, e.code, e.what);
        if ((row->line && e.line != row->line) || (row->column && e.column != row->column))
            test_fail(__FILE__, __LINE__, "row %zu: at %u:%u, not %u:%u: %s", i, e.line, e.column,
                      row->line, row->column, e.what);
        if (!strstr(e.what, row->what) || strncmp(e.what, "t:", 2) != 0)
            test_fail(__FILE__, __LINE__, "row %zu: %s", i, e.what);
        if (row->hint && !strstr(e.hint, row->hint))
            test_fail(__FILE__, __LINE__, "row %zu: %s; hint: %s", i, e.what, e.hint);
    }
}

static struct grant_set *parse(const char *text)
{
    struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    if (grant_set_parse("t.yaml", "/base/dir", text, strlen(text), &s, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s\n%s", e.what, text);
    return s;
}

TEST(parse_all_of_it)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s = parse("version: 1\n"
                                "limits: { memory: 128MiB, cpu: 2s, wall: 30s, handles: 1024, "
                                "output: 1000, hostcalls: 1000000 }\n"
                                "grants:\n"
                                "  - fs: /work\n"
                                "    from: { dir: ../data }\n"
                                "    allow: [read, write]\n"
                                "    paths: [\"src/**\", .]\n"
                                "    max_bytes: 64MiB\n"
                                "    max_files: 0\n"
                                "  - fs: /tmp\n"
                                "    from: memory\n"
                                "    allow: rw\n"
                                "  - fs: /\n"
                                "    from: { dir: ./~x }\n"
                                "    allow: ro\n"
                                "  - env: { LANG: C.UTF-8, NO: no, EMPTY: \"\" }\n"
                                "  - args: [a, \"1\"]\n"
                                "  - stdio: [stderr, stdin]\n"
                                "  - config: { k: v }\n"
                                "  - clock: 2026-01-01T00:00:00Z\n"
                                "  - random: seed\n"
                                "  - log: [critical, trace]\n"
                                "expires: 15m\n");
    CHECK_EQ(s->count, 10);
    CHECK_EQ(s->limits.memory_bytes, 128 << 20);
    CHECK_EQ(s->limits.cpu_ns, 2000000000);
    CHECK_EQ(s->limits.output_bytes, 1000);
    CHECK_EQ(s->expires_ns, UINT64_C(900000000000));
    const struct grant *g = s->grants;
    CHECK_STR(g[0].origin, "t.yaml:4");
    CHECK_STR(g[0].fs.guest, "/work");
    CHECK_STR(g[0].fs.host, "/base/data");
    CHECK_EQ(g[0].fs.verbs, FS_READ | FS_WRITE);
    CHECK_EQ(g[0].fs.path_count, 2);
    CHECK_STR(g[0].fs.paths[1], ".");
    CHECK_EQ(g[0].fs.max_bytes, 64 << 20);
    CHECK_EQ(g[0].fs.max_files, 0);
    CHECK_EQ(g[1].fs.backing, GRANT_BACKING_MEMORY);
    CHECK_EQ(g[1].fs.verbs, FS_RW);
    CHECK_STR(g[1].fs.paths[0], "**");
    CHECK_EQ(g[1].fs.max_bytes == GRANT_UNSET, 1);
    CHECK_STR(g[2].fs.host, "/base/dir/~x");
    CHECK_STR(g[3].pairs[1].value, "no");
    CHECK_EQ(g[4].arg_count, 2);
    CHECK_EQ(g[5].streams, STDIO_IN | STDIO_ERR);
    CHECK_EQ(g[7].clock_ns, INT64_C(1767225600000000000));
    CHECK_STR(g[8].seed, "seed");
    CHECK_EQ(g[9].levels, 1 | 1 << LOG_CRITICAL);
}

TEST(parse_little_of_it)
{
    CLEANUP(grant_set_freep) struct grant_set *s = parse("version: 1\n");
    CHECK_EQ(s->count, 0);
    CHECK(s->limits.wall_ns == GRANT_UNSET && s->expires_ns == GRANT_UNSET);
    CLEANUP(grant_set_freep)
    struct grant_set *json =
        parse("{\"version\":1,\"grants\":[{\"args\":\"given\"},{\"clock\":\"real\"}]}");
    CHECK_EQ(json->count, 2);
    CHECK(json->grants[0].args_given && json->grants[1].real);
}

static char *print(const struct grant_set *s)
{
    struct buf out = BUF_INIT(1 << 20);
    CHECK_EQ(grant_set_print(s, &out, NULL), 0);
    return buf_take(&out);
}

static char *print_json(const struct grant_set *s)
{
    struct buf out = BUF_INIT(1 << 20);
    CLEANUP(json_freep) json_t *json = grant_set_to_json(s);
    CHECK_EQ(json_line(json, &out), 0);
    return buf_take(&out);
}

/* parse∘print is the identity, in YAML and in JSON; printing is what shows whether two sets are the
 * same. */
static void round_trip(const struct grant_set *s)
{
    CLEANUP(mem_freep) char *yaml = print(s);
    CLEANUP(mem_freep) char *json = print_json(s);
    CLEANUP(grant_set_freep) struct grant_set *from_yaml = parse(yaml);
    CLEANUP(grant_set_freep) struct grant_set *from_json = parse(json);
    CLEANUP(mem_freep) char *again = print(from_yaml);
    CLEANUP(mem_freep) char *json_again = print(from_json);
    CHECK_STR(again, yaml);
    CHECK_STR(json_again, yaml);
    CHECK_EQ(from_yaml->count, s->count);
}

TEST(print_round_trip)
{
    random_begin("print_round_trip", 21);
    for (int i = 0; i < 1500; i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = random_set(6);
        round_trip(s);
    }
}

/* Strings that YAML would like to read as something else. */
TEST(print_round_trip_odd_strings)
{
    static const char *const texts[] = {
        "",
        " ",
        "no",
        "true",
        "null",
        "~",
        "1",
        "0x1",
        "1e3",
        "-",
        "- a",
        "a: b",
        "#x",
        "a #b",
        "'",
        "\"",
        "\\",
        "[a",
        "{a",
        "a, b",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "a\nb",
        "\t",
        "\x01",
        "\x7f",
        "\xc2\x80",
        "\xe2\x80\xae",
        "\xef\xbb\xbf",
        "\xf0\x9f\x98\x80",
        "\xef\xbf\xbd",
        "\xe2\x80\xa8",
        "=",
        "<<",
        "2026-01-01",
        "real ",
        "a'b\"c\\d",
        "?",
        "? a",
        "---",
        "...",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = NULL;
        struct grant env = { .class = GRANT_ENV }, args = { .class = GRANT_ARGS },
                     seed = { .class = GRANT_RANDOM };
        CHECK_EQ(grant_set_new(&s, NULL), 0);
        env.pairs = mem_array(1, sizeof(*env.pairs));
        env.pair_count = 1;
        env.pairs[0].key = mem_printf("K%c", "!,:#{ "[i % 6]);
        env.pairs[0].value = mem_strdup(texts[i]);
        CHECK_EQ(grant_set_add(s, &env, NULL), 0);
        args.args = mem_array(1, sizeof(*args.args));
        args.arg_count = 1;
        args.args[0] = mem_strdup(texts[i]);
        CHECK_EQ(grant_set_add(s, &args, NULL), 0);
        seed.seed = mem_strdup(texts[i]);
        CHECK_EQ(grant_set_add(s, &seed, NULL), 0);
        round_trip(s);
        CLEANUP(mem_freep) char *yaml = print(s);
        CLEANUP(grant_set_freep) struct grant_set *read = parse(yaml);
        CHECK_STR(read->grants[0].pairs[0].value, texts[i]);
        CHECK_STR(read->grants[1].args[0], texts[i]);
        CHECK_STR(read->grants[2].seed, texts[i]);
    }
}

TEST(explain_says_it)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s = parse(
        FS "    paths: [\"src/**\", .]\n  - env: { A: \"x\\e[31m\" }\nlimits: { wall: 5s }\n");
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 16);
    CHECK_EQ(grant_set_explain(s, &out, NULL), 0);
    CHECK_HAS(buf_cstr(&out), "May read, list and stat in /work (memory, gone after the run), "
                              "only: src/**, the folder itself");
    CHECK_HAS(buf_cstr(&out), "Ends when it passes wall-clock time: 5s\n");
    CHECK_HAS(buf_cstr(&out), "[default]");
    CHECK_HAS(buf_cstr(&out), "Sees no arguments");
    CHECK(strchr(buf_cstr(&out), 0x1b) == NULL);
}

TEST(merge_adds_up)
{
    CLEANUP(grant_set_freep) struct grant_set *a = parse(FS "limits: { wall: 5s, handles: 7 }\n");
    CLEANUP(grant_set_freep)
    struct grant_set *b = parse(FS "limits: { wall: 9s, cpu: 1s }\nexpires: 3s\n");
    CLEANUP(grant_set_freep)
    struct grant_set *c = parse(G "  - { fs: /work, from: { dir: x }, allow: ro }\n");
    struct error e = ERROR_INIT;
    CHECK_EQ(grant_set_merge(a, b, NULL), 0);
    CHECK_EQ(a->count, 2);
    CHECK_EQ(a->limits.wall_ns, 5000000000);
    CHECK_EQ(a->limits.cpu_ns, 1000000000);
    CHECK_EQ(a->limits.handles, 7);
    CHECK_EQ(a->expires_ns, 3000000000);
    CHECK(grant_set_merge(a, c, &e) < 0);
    CHECK_HAS(e.what, "overlapping mounts");
    CHECK_HAS(e.what, "t.yaml:3");
}

/* A set never takes a grant that the parser would not have. */
TEST(add_checks_like_the_parser)
{
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    CHECK_EQ(grant_set_new(&s, NULL), 0);
    struct grant bad[] = {
        { .class = GRANT_FS },
        { .class = GRANT_FS,
          .fs = { .guest = mem_strdup("/a"), .backing = GRANT_BACKING_MEMORY, .verbs = 1 } },
        { .class = GRANT_ENV },
        { .class = GRANT_STDIO },
        { .class = GRANT_STDIO, .streams = 8 },
        { .class = GRANT_LOG },
        { .class = GRANT_LOG, .levels = 64 },
        { .class = GRANT_RANDOM },
        { .class = GRANT_RANDOM, .seed = mem_strdup("real") },
        { .class = GRANT_CLASS_COUNT },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(grant_set_add(s, &bad[i], NULL) < 0);
    CHECK_EQ(s->count, 0);
}

TEST(too_many)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    buf_puts(&text, G);
    for (int i = 0; i <= GRANT_GRANTS_MAX; i++)
        buf_printf(&text, "  - env: { K%d: v }\n", i);
    CHECK(grant_set_parse("t", "/", buf_cstr(&text), text.size, &s, &e) < 0);
    CHECK_HAS(e.what, "more than 1024 grants");
    buf_clear(&text);
    error_clear(&e);
    buf_puts(&text, FS "    paths: [a");
    for (int i = 0; i < GRANT_PATTERNS_MAX; i++)
        buf_puts(&text, ", a");
    buf_puts(&text, "]\n");
    CHECK(grant_set_parse("t", "/", buf_cstr(&text), text.size, &s, &e) < 0);
    CHECK_HAS(e.what, "more than 1024 patterns");
}

static const char torture_text[] =
    FS "    paths: [a, \"b/*\"]\n  - { fs: /x, from: { dir: y }, allow: [read], max_bytes: 5KiB }\n"
       "  - env: { A: b }\n  - args: [a]\n  - random: s\n  - clock: real\n  - config: { k: v "
       "}\nexpires: 5s\n";

static int parse_and_print(void)
{
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    CLEANUP(grant_set_freep) struct grant_set *merged = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 16);
    int r = grant_set_parse("t", "/base", torture_text, sizeof(torture_text) - 1, &s, NULL);
    if (r == 0)
        r = grant_set_new(&merged, NULL);
    if (r == 0)
        r = grant_set_merge(merged, s, NULL);
    if (r == 0)
        r = grant_set_print(s, &out, NULL);
    if (r == 0)
        r = grant_set_explain(s, &out, NULL);
    if (r < 0)
        return r;
    CLEANUP(json_freep) json_t *json = grant_set_to_json(s);
    return json ? 0 : -ENOMEM;
}

TEST(parse_torture)
{
    (void)parse_and_print(); /* what libraries keep for good */
    TORTURE(parse_and_print());
}

TEST_MAIN()
