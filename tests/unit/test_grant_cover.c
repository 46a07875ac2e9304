/* SPDX-License-Identifier: Apache-2.0 */
/* "b is covered by a": tables, and the law over random sets and operations, resources included. */
#include "grant/internal.h"
#include "grant_random.h"
#include "test.h"

#define G "version: 1\ngrants:\n"

static struct grant_set *parse(const char *text)
{
    struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    if (grant_set_parse("t", "/base", text, strlen(text), &s, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s\n%s", e.what, text);
    return s;
}

static const char work_rw[] = G "  - { fs: /work, from: { dir: /p }, allow: rw }\n";
static const char split[] =
    G "  - { fs: /work, from: { dir: /p }, allow: [read], paths: [\"a*\"] }\n"
      "  - { fs: /work, from: { dir: /p }, allow: [read], paths: [\"*\", \"*/**\"] }\n"
      "  - { fs: /work, from: { dir: /p }, allow: [write], paths: [\"a/**\"] }\n";

TEST(covers_table)
{
    static const struct {
        const char *a, *b, *why; /* NULL: covered */
    } rows[] = {
        { "version: 1\n", "version: 1\n", NULL },
        { work_rw, "version: 1\n", NULL },
        { "version: 1\n", work_rw, "t:3: " },
        { work_rw, work_rw, NULL },
        { work_rw, split, NULL },
        { split, work_rw, "in /work" },
        { split, G "  - { fs: /work, from: { dir: /p }, allow: [read, write], paths: [a/b] }\n",
          NULL },
        { split, G "  - { fs: /work, from: { dir: /p }, allow: [read, write], paths: [b/b] }\n",
          "write on `b/b`" },
        { split, G "  - { fs: /work, from: { dir: /p }, allow: [read], paths: [\"**\"] }\n",
          "read on `**`" }, /* the root itself */
        { split, G "  - { fs: /work, from: { dir: /p }, allow: [stat], paths: [b] }\n", NULL },
        { work_rw, G "  - { fs: /work, from: { dir: /q }, allow: [read] }\n",
          "/work is /q, and there it is /p" },
        { work_rw, G "  - { fs: /work, from: memory, allow: [read] }\n", "memory" },
        /* the same folder, cut differently */
        { work_rw, G "  - { fs: /work/a, from: { dir: /p/a }, allow: rw }\n", NULL },
        { work_rw, G "  - { fs: /work/a, from: { dir: /p/b }, allow: [stat] }\n",
          "/work/a is /p/b, and there it is /p/a" },
        { G "  - { fs: /work/a, from: { dir: /p/a }, allow: rw }\n",
          G "  - { fs: /work, from: { dir: /p }, allow: rw, paths: [\"a/**\"] }\n", NULL },
        { G "  - { fs: /work/a, from: { dir: /p/a }, allow: rw }\n",
          G "  - { fs: /work, from: { dir: /p }, allow: rw, paths: [\"a*/**\"] }\n", "in /work" },
        { G "  - { fs: /work, from: { dir: /p }, allow: rw }\n  - { fs: /work/a, from: { dir: /p/a "
            "}, allow: ro }\n",
          work_rw, "in /work/a" },
        { G "  - { fs: /work, from: { dir: /p }, allow: rw }\n  - { fs: /work/a, from: memory, "
            "allow: rw }\n",
          work_rw, "/work/a is /p/a, and there it is memory" },
        { G "  - { fs: /work, from: { dir: /p }, allow: rw }\n  - { fs: /work/a, from: memory, "
            "allow: ro }\n",
          G "  - { fs: /work, from: { dir: /p }, allow: rw, paths: [\"b/**\"] }\n", NULL },
        { work_rw,
          G "  - { fs: /work, from: { dir: /p }, allow: rw }\n  - { fs: /work/a, from: { dir: /p/a "
            "}, allow: ro }\n",
          NULL },
        { G "  - { fs: /, from: { dir: / }, allow: rw }\n",
          G "  - { fs: /p/q, from: { dir: /p/q }, allow: rw }\n", NULL },
        { G "  - { fs: /, from: { dir: / }, allow: rw }\n", work_rw,
          "/work is /p, and there it is /work" },
        { G "  - { fs: /t, from: memory, allow: rw }\n",
          G "  - { fs: /t, from: memory, allow: ro, paths: [x] }\n", NULL },
        { G "  - { fs: /t, from: memory, allow: rw }\n",
          G "  - { fs: /t/x, from: memory, allow: ro }\n", "/t/x" },
        /* quotas */
        { G "  - { fs: /w, from: { dir: /p }, allow: rw, max_bytes: 5KiB }\n",
          G "  - { fs: /w, from: { dir: /p }, allow: rw, max_bytes: 5KiB }\n", NULL },
        { G "  - { fs: /w, from: { dir: /p }, allow: rw, max_bytes: 5KiB }\n",
          G "  - { fs: /w, from: { dir: /p }, allow: rw, max_bytes: 6KiB }\n", "max_bytes in /w" },
        { G "  - { fs: /w, from: { dir: /p }, allow: rw, max_bytes: 5KiB }\n",
          G "  - { fs: /w, from: { dir: /p }, allow: rw }\n", "max_bytes" },
        { G "  - { fs: /w, from: { dir: /p }, allow: rw, max_bytes: 5KiB }\n",
          G "  - { fs: /w, from: { dir: /p }, allow: ro }\n", NULL },
        { G "  - { fs: /w, from: { dir: /p }, allow: rw, max_files: 5 }\n",
          G "  - { fs: /w, from: { dir: /p }, allow: rw, max_files: 3, paths: [a] }\n  - { fs: /w, "
            "from: { dir: /p }, allow: rw, max_files: 3, paths: [b] }\n",
          "max_files" },
        { G "  - { fs: /w, from: { dir: /p }, allow: rw, max_files: 6 }\n",
          G "  - { fs: /w, from: { dir: /p }, allow: rw, max_files: 3, paths: [a] }\n  - { fs: /w, "
            "from: { dir: /p }, allow: rw, max_files: 3, paths: [b] }\n",
          NULL },
        /* values */
        { G "  - env: { A: x, B: y }\n", G "  - env: { B: y }\n", NULL },
        { G "  - env: { A: x }\n", G "  - env: { A: y }\n", "env A=y" },
        { G "  - env: { A: x }\n", G "  - config: { A: x }\n", "config A=x" },
        { G "  - stdio: [stdin]\n  - stdio: [stdout]\n", G "  - stdio: [stdin, stdout]\n", NULL },
        { G "  - stdio: [stdin]\n", G "  - stdio: [stderr]\n", "stderr" },
        { G "  - log: [info]\n", G "  - log: [info, warn]\n", "log level warn" },
        { G "  - args: given\n", G "  - args: [a]\n", "args" },
        { G "  - args: [a]\n", G "  - args: [a]\n", NULL },
        { G "  - args: []\n", G "  - args: given\n", "args" },
        { G "  - clock: real\n", G "  - clock: 2026-01-01T00:00:00Z\n", "clock" },
        { G "  - clock: 2026-01-01T00:00:00Z\n", G "  - clock: 2026-01-01T01:00:00+01:00\n", NULL },
        { G "  - random: a\n", G "  - random: b\n", "random" },
        /* numbers */
        { "version: 1\nlimits: { wall: 5s }\n", "version: 1\nlimits: { wall: 4s }\n", NULL },
        { "version: 1\nlimits: { wall: 5s }\n", "version: 1\nlimits: { wall: 6s }\n",
          "limit wall" },
        { "version: 1\nlimits: { handles: 5 }\n", "version: 1\n", "limit handles" },
        { "version: 1\n", "version: 1\nlimits: { handles: 5 }\n", NULL },
        { "version: 1\nexpires: 5s\n", "version: 1\n", "expires" },
        { "version: 1\n", "version: 1\nexpires: 5s\n", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(grant_set_freep) struct grant_set *a = parse(rows[i].a);
        CLEANUP(grant_set_freep) struct grant_set *b = parse(rows[i].b);
        CLEANUP(buf_done) struct buf why = BUF_INIT(4096);
        int r = grant_covers(a, b, &why, NULL);
        if (r != (rows[i].why != NULL) || (r == 1 && !strstr(buf_cstr(&why), rows[i].why)))
            test_fail(__FILE__, __LINE__, "row %zu: %d, %s", i, r, buf_cstr(&why));
        CHECK_EQ(grant_covers(a, b, NULL, NULL), r);
    }
}

/* What an operation on files does in a set: allowed, and on what of the host. */
struct outcome {
    bool allowed;
    char host[128]; /* "" = memory */
    uint32_t rule;
};

static struct outcome operate(const struct grant_rules *r, const char *guest, uint32_t verbs)
{
    struct outcome o = { 0 };
    size_t mount;
    const char *rest;
    if (!grant_mount_of(r, guest, strlen(guest), &mount, &rest))
        return o;
    struct grant_decision d = grant_decide_fs(r, mount, rest, strlen(rest), verbs);
    const char *host = grant_rules_mount(r, mount)->host;
    o.allowed = d.reason == GRANT_ALLOWED;
    o.rule = d.rule;
    if (host)
        (void)snprintf(o.host, sizeof(o.host), "%s%s%s", strcmp(host, "/") == 0 ? "" : host,
                       rest[0] ? "/" : "", rest);
    return o;
}

static void random_guest(struct buf *out)
{
    static const char *const starts[] = { "", "/work", "/work/a", "/work/a/b", "/tmp", "/b" };
    CLEANUP(buf_done) struct buf path = BUF_INIT(64);
    buf_puts(out, starts[random_below(6)]);
    random_path(&path, 3);
    if (path.size)
        buf_printf(out, "/%s", buf_cstr(&path));
    if (out->size == 0)
        buf_putc(out, '/');
}

/* A path that one of the set's patterns matches, as far as deeper mounts let it. */
static void guest_of_set(const struct grant_set *s, struct buf *out)
{
    const struct grant *g = s->count ? &s->grants[random_below((uint32_t)s->count)] : NULL;
    CLEANUP(buf_done) struct buf path = BUF_INIT(256);
    if (g == NULL || g->class != GRANT_FS ||
        !draw_path(g->fs.paths[random_below((uint32_t)g->fs.path_count)], &path)) {
        random_guest(out);
        return;
    }
    buf_puts(out, g->fs.guest);
    if (path.size)
        buf_printf(out, "%s%s", strcmp(g->fs.guest, "/") == 0 ? "" : "/", buf_cstr(&path));
}

/* An operation that b allows and a does not, or does elsewhere. */
static void check_operations(const struct grant_set *a, const struct grant_set *b, int count)
{
    CLEANUP(grant_rules_freep) struct grant_rules *ra = NULL;
    CLEANUP(grant_rules_freep) struct grant_rules *rb = NULL;
    CHECK_EQ(grant_rules_new(a, "/", &ra, NULL), 0);
    CHECK_EQ(grant_rules_new(b, "/", &rb, NULL), 0);
    for (int i = 0; i < count; i++) {
        CLEANUP(buf_done) struct buf guest = BUF_INIT(256);
        uint32_t verbs = random_below(2) ? 1u << random_below(8) : 1 + random_below(255);
        guest_of_set(b, &guest);
        struct outcome in_b = operate(rb, buf_cstr(&guest), verbs),
                       in_a = operate(ra, buf_cstr(&guest), verbs);
        if (!in_b.allowed)
            continue;
        if (!in_a.allowed || strcmp(in_a.host, in_b.host) != 0)
            test_fail(__FILE__, __LINE__, "%s %x: %s, and %s %s", buf_cstr(&guest), verbs,
                      in_b.host, in_a.allowed ? "allowed on" : "denied on", in_a.host);
    }
}

/* b made of a by taking away: most of them are covered, and so are tested. */
static struct grant_set *narrowed(const struct grant_set *a)
{
    struct grant_set *s = NULL;
    CHECK_EQ(grant_set_new(&s, NULL), 0);
    CHECK_EQ(grant_set_merge(s, a, NULL), 0);
    for (size_t i = 0; i < s->count; i++) {
        struct grant *g = &s->grants[i];
        if (g->class != GRANT_FS)
            continue;
        uint32_t verbs = g->fs.verbs & random_next();
        g->fs.verbs = verbs ? verbs : g->fs.verbs;
        if (g->fs.max_bytes != GRANT_UNSET)
            g->fs.max_bytes -= MIN(g->fs.max_bytes, random_below(2));
        if (random_below(2)) {
            mem_free(g->fs.paths[0]);
            g->fs.paths[0] = random_pattern(3);
        }
        /* The same part of the tree as a mount of its own. */
        if (g->fs.host && random_below(3) == 0) {
            char *guest = path_join(g->fs.guest, "a"), *host = path_join(g->fs.host, "a");
            mem_free(g->fs.guest);
            mem_free(g->fs.host);
            g->fs.guest = guest;
            g->fs.host = host;
        }
    }
    return s;
}

TEST(covers_law)
{
    int covered = 0, not_covered = 0;
    random_begin("covers_law", 41);
    for (int i = 0; i < 8000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *a = random_set(5);
        CLEANUP(grant_set_freep)
        struct grant_set *b = random_below(4) ? narrowed(a) : random_set(3);
        CLEANUP(buf_done) struct buf why = BUF_INIT(4096);
        struct error e = ERROR_INIT;
        int r = grant_covers(a, b, &why, &e);
        if (r < 0 && strstr(e.what, "overlapping"))
            continue; /* narrowing moved a mount onto another */
        CHECK(r == 0 || r == 1);
        CHECK_EQ(r == 1, why.size > 0);
        covered += r == 0;
        not_covered += r == 1;
        if (r == 0)
            check_operations(a, b, 300);
    }
    printf("# %d covered, %d not\n", covered, not_covered);
    CHECK(covered > 800);
    CHECK(not_covered > 800);
}

/* Every set covers itself, and what it was merged from. */
TEST(covers_is_reflexive)
{
    random_begin("covers_is_reflexive", 42);
    for (int i = 0; i < 3000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = random_set(6);
        CLEANUP(buf_done) struct buf why = BUF_INIT(4096);
        if (grant_covers(s, s, &why, NULL) != 0)
            test_fail(__FILE__, __LINE__, "%s", buf_cstr(&why));
    }
}

/* How often a real inclusion is not seen: none of the operations tried speaks against it, and yet
 * "not covered". Only files, without quotas, so that operations are all there is. */
TEST(covers_is_rarely_too_strict)
{
    int strict = 0, sets = 1500;
    random_begin("covers_is_rarely_too_strict", 43);
    for (int i = 0; i < sets; i++) {
        CLEANUP(grant_set_freep) struct grant_set *a = random_set(4);
        CLEANUP(grant_set_freep) struct grant_set *b = narrowed(a);
        CLEANUP(grant_rules_freep) struct grant_rules *ra = NULL;
        CLEANUP(grant_rules_freep) struct grant_rules *rb = NULL;
        bool against = false;
        for (size_t k = 0; k < a->count; k++)
            a->grants[k].fs.max_bytes = a->grants[k].fs.max_files = GRANT_UNSET;
        for (size_t k = 0; k < b->count; k++)
            b->grants[k].fs.max_bytes = b->grants[k].fs.max_files = GRANT_UNSET;
        if (grant_covers(a, b, NULL, NULL) != 1 || grant_rules_new(a, "/", &ra, NULL) < 0 ||
            grant_rules_new(b, "/", &rb, NULL) < 0)
            continue;
        for (int n = 0; n < 20000 && !against; n++) {
            CLEANUP(buf_done) struct buf guest = BUF_INIT(256);
            uint32_t verb = 1u << random_below(8);
            guest_of_set(b, &guest);
            struct outcome in_b = operate(rb, buf_cstr(&guest), verb),
                           in_a = operate(ra, buf_cstr(&guest), verb);
            against = in_b.allowed && (!in_a.allowed || strcmp(in_a.host, in_b.host) != 0);
        }
        strict += !against;
    }
    printf("# %d of %d without a counterexample\n", strict, sets);
    CHECK(strict < sets / 100);
}

static int torture_covers(void)
{
    CLEANUP(grant_set_freep) struct grant_set *a = NULL;
    CLEANUP(grant_set_freep) struct grant_set *b = NULL;
    static const char wide[] =
        G "  - { fs: /w, from: { dir: /p }, allow: rw, paths: [\"a*/**\"], max_bytes: 9KiB }\n  - "
          "{ fs: /w/a, from: { dir: /p/a }, allow: rw }\n";
    static const char narrow[] = G "  - { fs: /w, from: { dir: /p }, allow: rw, paths: [\"ab/**\", "
                                   "\"a/*b\"], max_bytes: 1KiB }\n";
    CLEANUP(buf_done) struct buf why = BUF_INIT(4096);
    int r = grant_set_parse("t", "/", wide, sizeof(wide) - 1, &a, NULL);
    if (r == 0)
        r = grant_set_parse("t", "/", narrow, sizeof(narrow) - 1, &b, NULL);
    if (r == 0)
        r = grant_covers(a, b, &why, NULL);
    if (r == 0) {
        r = grant_covers(b, a, &why, NULL);
        r = r == 1 ? 0 : r;
    }
    return r;
}

TEST(covers_torture)
{
    (void)torture_covers();
    TORTURE(torture_covers());
}

TEST_MAIN()
