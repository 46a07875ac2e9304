/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions, flags and proposals: the tables, and the law of proposals over random rules and
 * operations. */
#include "base/clock.h"
#include "grant/internal.h"
#include "grant_random.h"
#include "test.h"

static struct grant_rules *compile(const char *text)
{
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    struct grant_rules *r = NULL;
    struct error e = ERROR_INIT;
    if (grant_set_parse("t", "/base", text, strlen(text), &s, &e) < 0 ||
        grant_rules_new(s, "/home/u/proj", &r, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return r;
}

#define G "version: 1\ngrants:\n"

static struct grant_decision decide(const struct grant_rules *r, const char *guest, uint32_t verbs)
{
    size_t mount;
    const char *rest;
    if (!grant_mount_of(r, guest, strlen(guest), &mount, &rest))
        return (struct grant_decision){ GRANT_NO_GRANT, GRANT_NO_RULE, verbs };
    return grant_decide_fs(r, mount, rest, strlen(rest), verbs);
}

TEST(decide_fs_table)
{
    CLEANUP(grant_rules_freep)
    struct grant_rules *r = compile(
        G "  - { fs: /work, from: { dir: w }, allow: ro }\n"
          "  - { fs: /work, from: { dir: w }, allow: [write], paths: [\"out/**\", notes.txt] }\n"
          "  - { fs: /work, from: { dir: w }, allow: [create, delete], paths: [\"out/*\"] }\n"
          "  - { fs: /work/out/deep, from: memory, allow: [list], paths: [.] }\n"
          "  - { fs: /workshop, from: memory, allow: rw, paths: [a] }\n");
    static const struct {
        const char *guest;
        uint32_t verbs;
        enum grant_reason reason;
        uint32_t rule, missing;
    } rows[] = {
        { "/work", FS_LIST, GRANT_ALLOWED, 0, 0 },
        { "/work/a/b", FS_READ, GRANT_ALLOWED, 0, 0 },
        { "/work/a/b", FS_READ | FS_STAT, GRANT_ALLOWED, 0, 0 },
        { "/work/a/b", FS_WRITE, GRANT_NO_VERB, 0, FS_WRITE },
        { "/work/a/b", FS_READ | FS_WRITE | FS_STAT, GRANT_NO_VERB, 0, FS_WRITE },
        { "/work/out", FS_WRITE, GRANT_ALLOWED, 1, 0 },
        { "/work/out/x", FS_WRITE | FS_CREATE, GRANT_ALLOWED, 2, 0 },
        { "/work/out/x/y", FS_WRITE | FS_CREATE, GRANT_NO_VERB, 1, FS_CREATE },
        { "/work/out/x", FS_RENAME, GRANT_NO_VERB, 0, FS_RENAME },
        { "/work/notes.txt", FS_READ | FS_WRITE, GRANT_ALLOWED, 1, 0 },
        { "/work/notes.txt", FS_STAT, GRANT_ALLOWED, 0, 0 },
        { "/work/out/deep", FS_LIST, GRANT_ALLOWED, 3, 0 },
        { "/work/out/deep", FS_STAT, GRANT_ALLOWED, 3, 0 },
        { "/work/out/deep", FS_READ, GRANT_NO_VERB, 3, FS_READ },
        { "/work/out/deep/x", FS_READ, GRANT_NO_PATH, 3, FS_READ },
        { "/work/out/deeper", FS_WRITE, GRANT_ALLOWED, 1, 0 },
        { "/workshop/a", FS_LINK, GRANT_ALLOWED, 4, 0 },
        { "/workshop/b", FS_LINK, GRANT_NO_PATH, 4, FS_LINK },
        { "/works", FS_STAT, GRANT_NO_GRANT, GRANT_NO_RULE, FS_STAT },
        { "/", FS_LIST, GRANT_NO_GRANT, GRANT_NO_RULE, FS_LIST },
        { "/etc/passwd", FS_READ, GRANT_NO_GRANT, GRANT_NO_RULE, FS_READ },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct grant_decision d = decide(r, rows[i].guest, rows[i].verbs);
        if (d.reason != rows[i].reason || d.rule != rows[i].rule || d.missing != rows[i].missing)
            test_fail(__FILE__, __LINE__, "%s %x: %s, rule %d, missing %x", rows[i].guest,
                      rows[i].verbs, grant_reason_text(d.reason), (int)d.rule, d.missing);
    }
}

TEST(mounts_are_longest_first)
{
    CLEANUP(grant_rules_freep)
    struct grant_rules *r =
        compile(G "  - { fs: /, from: { dir: /srv }, allow: [stat] }\n"
                  "  - { fs: /a/b, from: memory, allow: [list] }\n"
                  "  - { fs: /a, from: { dir: x }, allow: ro }\n"
                  "  - { fs: /a, from: { dir: x }, allow: [write], paths: [q] }\n");
    size_t mount = 9;
    const char *rest = NULL;
    CHECK_EQ(grant_rules_mount_count(r), 3);
    CHECK_STR(grant_rules_mount(r, 0)->guest, "/a/b");
    CHECK_STR(grant_rules_mount(r, 1)->host, "/base/x");
    CHECK_EQ(grant_rules_mount(r, 1)->verbs, FS_RO | FS_WRITE);
    CHECK_EQ(grant_rules_mount(r, 0)->verbs, FS_LIST | FS_STAT);
    CHECK_EQ(grant_mount_of(r, "/a/bc", 5, &mount, &rest), 1);
    CHECK_EQ(mount, 1);
    CHECK_STR(rest, "bc");
    CHECK_EQ(grant_mount_of(r, "/", 1, &mount, &rest), 1);
    CHECK_EQ(mount, 2);
    CHECK_STR(rest, "");
    CHECK_EQ(grant_mount_of(r, "/a/b", 4, &mount, &rest), 1);
    CHECK_STR(rest, "");
    CHECK_EQ(grant_rules_count(r), 4);
    CHECK_STR(grant_rules_grant(r, 3)->fs.paths[0], "q");
    CHECK(grant_rules_grant(r, 4) == NULL && grant_rules_mount(r, 3) == NULL);
    CHECK_EQ(grant_rules_limits(r)->handles, grant_limits_default.handles);
}

TEST(decide_other_classes)
{
    CLEANUP(grant_rules_freep)
    struct grant_rules *r = compile(G "  - stdio: [stdout]\n  - config: { b: 2b, a: 1a }\n  - log: "
                                      "[warn, error]\n  - stdio: [stdout, stderr]\n"
                                      "  - config: { c: 3c, a: 1a }\n  - args: given\n");
    const char *value = NULL;
    CHECK_EQ(grant_decide_stdio(r, STDIO_OUT).rule, 0);
    CHECK_EQ(grant_decide_stdio(r, STDIO_ERR).rule, 3);
    CHECK_EQ(grant_decide_stdio(r, STDIO_IN).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_stdio(r, 0).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_stdio(r, 64).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_config(r, "a", 1, &value).reason, GRANT_ALLOWED);
    CHECK_STR(value, "1a");
    CHECK_EQ(grant_decide_config(r, "cx", 1, &value).rule, 4);
    CHECK_STR(value, "3c");
    CHECK_EQ(grant_decide_config(r, "", 0, &value).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_config(r, "d", 1, &value).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_config(r, "a\0b", 3, &value).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_log(r, LOG_WARN).rule, 2);
    CHECK_EQ(grant_decide_log(r, LOG_INFO).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_log(r, (enum log_level)99).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_class(r, GRANT_ARGS).rule, 5);
    CHECK_EQ(grant_decide_class(r, GRANT_ENV).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_class(r, GRANT_CLASS_COUNT).reason, GRANT_NO_GRANT);
    CHECK_EQ(grant_decide_fs(r, 0, "", 0, FS_READ).reason, GRANT_NO_GRANT);
}

TEST(path_flags_table)
{
    static const struct {
        const char *value;
        bool folder;
        const char *guest, *host, *path, *error;
    } rows[] = {
        { ".", true, "/work", "/home/u/proj", "**", NULL },
        { "./", true, "/work", "/home/u/proj", "**", NULL },
        { "src", true, "/work/src", "/home/u/proj/src", "**", NULL },
        { "./src//x/", true, "/work/src/x", "/home/u/proj/src/x", "**", NULL },
        { "a.csv", false, "/work", "/home/u/proj", "a.csv", NULL },
        { "d/a*.csv", false, "/work/d", "/home/u/proj/d", "a\\*.csv", NULL },
        { "/etc/ssl", true, "/etc/ssl", "/etc/ssl", "**", NULL },
        { "/etc/hosts", false, "/etc", "/etc", "hosts", NULL },
        { "/hosts", false, "/", "/", "hosts", NULL },
        { "/", true, "/", "/", "**", NULL },
        { "../lib:/lib", true, "/lib", "/home/u/lib", "**", NULL },
        { ".:/", true, "/", "/home/u/proj", "**", NULL },
        { "a:b:/x/y", true, "/x/y", "/home/u/proj/a:b", "**", NULL },
        { "a.csv:/data/a.csv", false, "/data", "/home/u/proj", "a.csv", NULL },
        { "a.csv:/data/", false, "/data", "/home/u/proj", "a.csv", NULL },
        { "a.csv:/data//x/", false, "/data/x", "/home/u/proj", "a.csv", NULL },
        { "../lib", true, NULL, NULL, NULL, "outside the working folder" },
        { "a.csv:/b.csv", false, NULL, NULL, NULL, "keeps its name" },
        { "", true, NULL, NULL, NULL, "empty" },
        { ":/x", true, NULL, NULL, NULL, "empty" },
        { "a:b", true, NULL, NULL, NULL, "not absolute" },
        { "a/../b", true, NULL, NULL, NULL, "`..`" },
        { "a:/x/../y", true, NULL, NULL, NULL, "`..`" },
        { "/", false, NULL, NULL, NULL, "folder" },
        { "a\xff", false, NULL, NULL, NULL, "UTF-8" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(grant_done) struct grant g = { 0 };
        struct error e = ERROR_INIT;
        int r = grant_from_path_flag("--read", rows[i].value, false, rows[i].folder, "/home/u/proj",
                                     &g, &e);
        if (rows[i].error) {
            if (r == 0 || !strstr(e.what, rows[i].error) || strncmp(e.what, "--read", 6) != 0)
                test_fail(__FILE__, __LINE__, "%s: %s", rows[i].value, e.what);
            continue;
        }
        if (r < 0)
            test_fail(__FILE__, __LINE__, "%s: %s", rows[i].value, e.what);
        CHECK_STR(g.fs.guest, rows[i].guest);
        CHECK_STR(g.fs.host, rows[i].host);
        CHECK_STR(g.fs.paths[0], rows[i].path);
        CHECK_STR(g.origin, "--read");
        CHECK_EQ(g.fs.verbs, FS_RO);
    }
    CLEANUP(mem_freep) char *host = NULL;
    CHECK_EQ(grant_path_flag_host("--read", "d/a:/q/a", "/home/u/proj", &host, NULL), 0);
    CHECK_STR(host, "/home/u/proj/d/a");
}

TEST(propose_table)
{
    CLEANUP(grant_rules_freep)
    struct grant_rules *r = compile(G "  - { fs: /data, from: { dir: /srv/data }, allow: [list] "
                                      "}\n  - { fs: /tmp, from: memory, allow: ro }\n");
    static const struct {
        const char *guest;
        uint32_t missing;
        const char *yaml;
    } rows[] = {
        { "/data/x/[1].csv", FS_READ | FS_STAT,
          "- fs: /data\n  from: { dir: /srv/data }\n  allow: [read]\n  paths: "
          "[\"x/\\\\[1].csv\"]\n" },
        { "/data", FS_CREATE,
          "- fs: /data\n  from: { dir: /srv/data }\n  allow: [create]\n  paths: [\".\"]\n" },
        { "/tmp/a*", FS_WRITE | FS_CREATE,
          "- fs: /tmp\n  from: memory\n  allow: [write, create]\n  paths: [\"a\\\\*\"]\n" },
        { "/home/u/.ssh/id_rsa", FS_READ,
          "- fs: /home/u/.ssh\n  from: { dir: /home/u/.ssh }\n  allow: [read]\n  paths: "
          "[id_rsa]\n" },
        { "/work/a/b", FS_STAT,
          "- fs: /work/a\n  from: { dir: /home/u/proj/a }\n  allow: [stat]\n  paths: [b]\n" },
        { "/work/b", FS_READ,
          "- fs: /work\n  from: { dir: /home/u/proj }\n  allow: [read]\n  paths: [b]\n" },
        { "/work", FS_LIST,
          "- fs: /work\n  from: { dir: /home/u/proj }\n  allow: [list]\n  paths: [\".\"]\n" },
        { "/etc", FS_LIST,
          "- fs: /etc\n  from: { dir: /etc }\n  allow: [list]\n  paths: [\".\"]\n" },
        { "/", FS_LIST, "- fs: /\n  from: { dir: / }\n  allow: [list]\n  paths: [\".\"]\n" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(grant_done) struct grant g = { 0 };
        CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
        CHECK_EQ(grant_propose_fs(r, rows[i].guest, rows[i].missing, &g, NULL), 0);
        CHECK_EQ(grant_print(&g, &out, NULL), 0);
        CHECK_STR(buf_cstr(&out), rows[i].yaml);
    }
    struct grant g;
    CHECK(grant_propose_fs(r, "/data/x", 0, &g, NULL) < 0);
    CHECK(grant_propose_fs(r, "x", FS_READ, &g, NULL) < 0);
    CHECK(grant_propose_fs(r, "/proc/self/environ", FS_READ, &g, NULL) < 0);
    CHECK(grant_propose_fs(r, "/dev", FS_LIST, &g, NULL) < 0);
    CHECK(grant_propose_class(GRANT_ENV, &g, NULL) < 0);
}

/* ---- the law: denied → propose → paste → allowed, and nothing in the proposal is superfluous ---- */

/* The set's file with the proposal pasted under `grants:`, read again. */
static struct grant_set *paste(const struct grant_set *s, const struct grant *proposal)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    struct grant_set *pasted = NULL;
    struct error e = ERROR_INIT;
    buf_puts(&text, "version: 1\ngrants:\n");
    CHECK_EQ(grant_print(proposal, &text, NULL), 0);
    for (size_t i = 0; i < s->count; i++)
        CHECK_EQ(grant_print(&s->grants[i], &text, NULL), 0);
    if (grant_set_parse("pasted", "/", buf_cstr(&text), text.size, &pasted, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s\n%s", e.what, buf_cstr(&text));
    return pasted;
}

static bool allows(const struct grant_set *s, const char *guest, uint32_t verbs)
{
    CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
    CHECK_EQ(grant_rules_new(s, "/h/work", &r, NULL), 0);
    return decide(r, guest, verbs).reason == GRANT_ALLOWED;
}

static void random_guest(struct buf *out)
{
    static const char *const starts[] = {
        "", "/work", "/work/a", "/work/a/b", "/tmp", "/b", "/etc"
    };
    static const char *const odd[] = { "/*",  "/a*b", "/[x]",       "/!x",
                                       "/\\", "/{a}", "/\xc3\xa9?", "/- x: #y" };
    CLEANUP(buf_done) struct buf path = BUF_INIT(64);
    buf_puts(out, starts[random_below(7)]);
    random_path(&path, 3);
    if (path.size)
        buf_printf(out, "/%s", buf_cstr(&path));
    if (random_below(4) == 0)
        buf_puts(out, odd[random_below(8)]);
    if (out->size == 0)
        buf_putc(out, '/');
}

static void check_proposal(const struct grant_set *s, const char *guest, uint32_t verbs,
                           uint32_t missing)
{
    CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
    CLEANUP(grant_done) struct grant g = { 0 };
    struct error e = ERROR_INIT;
    CHECK_EQ(grant_rules_new(s, "/h/work", &r, NULL), 0);
    if (grant_propose_fs(r, guest, missing, &g, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", guest, e.what);
    CHECK_EQ(g.fs.path_count, 1);
    CLEANUP(grant_set_freep) struct grant_set *pasted = paste(s, &g);
    if (!allows(pasted, guest, verbs))
        test_fail(__FILE__, __LINE__, "%s %x is still denied", guest, verbs);
    /* Each verb is needed; the only path is needed because without it there is no grant, which
     * denied. */
    for (uint32_t left = g.fs.verbs; left && __builtin_popcount(g.fs.verbs) > 1; left &= left - 1) {
        uint32_t all = g.fs.verbs;
        g.fs.verbs &= ~(left & -left);
        CLEANUP(grant_set_freep) struct grant_set *less = paste(s, &g);
        if (allows(less, guest, verbs))
            test_fail(__FILE__, __LINE__, "%s: verb %x was not needed", guest, left & -left);
        g.fs.verbs = all;
    }
    CHECK(!allows(s, guest, verbs));
}

TEST(propose_fs_law)
{
    int denied = 0;
    random_begin("propose_fs_law", 31);
    for (int i = 0; i < 6000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = random_set(4);
        CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
        CLEANUP(buf_done) struct buf guest = BUF_INIT(256);
        uint32_t verbs = random_below(2) ? 1u << random_below(8) : 1 + random_below(255);
        CHECK_EQ(grant_rules_new(s, "/h/work", &r, NULL), 0);
        random_guest(&guest);
        struct grant_decision d = decide(r, buf_cstr(&guest), verbs);
        if (d.reason == GRANT_ALLOWED)
            continue;
        denied++;
        check_proposal(s, buf_cstr(&guest), verbs, d.missing);
    }
    printf("# %d denials\n", denied);
    CHECK(denied > 3000);
}

/* One element, or one only: a proposal of these classes cannot be made smaller. */
TEST(propose_other_classes_law)
{
    random_begin("propose_other_classes_law", 32);
    for (int i = 0; i < 3000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = random_set(4);
        CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
        CLEANUP(grant_rules_freep) struct grant_rules *after = NULL;
        CLEANUP(grant_done) struct grant g = { 0 };
        const char *value, *key = (const char *[]){ "K0", "K1", "other key", "#" }[random_below(4)];
        uint32_t stream = 1u << random_below(3);
        enum log_level level = random_below(6);
        enum grant_class class =
            (enum grant_class[]){ GRANT_ARGS, GRANT_CLOCK, GRANT_RANDOM }[random_below(3)];
        unsigned which = random_below(4);
        CHECK_EQ(grant_rules_new(s, "/", &r, NULL), 0);
#define DECIDE(rules)                                                    \
    (which == 0   ? grant_decide_stdio(rules, stream)                    \
     : which == 1 ? grant_decide_config(rules, key, strlen(key), &value) \
     : which == 2 ? grant_decide_log(rules, level)                       \
                  : grant_decide_class(rules, class))
        if (DECIDE(r).reason == GRANT_ALLOWED)
            continue;
        int result = which == 0   ? grant_propose_stdio(stream, &g, NULL)
                     : which == 1 ? grant_propose_config(key, &g, NULL)
                     : which == 2 ? grant_propose_log(level, &g, NULL)
                                  : grant_propose_class(class, &g, NULL);
        CHECK_EQ(result, 0);
        CLEANUP(grant_set_freep) struct grant_set *pasted = paste(s, &g);
        CHECK_EQ(grant_rules_new(pasted, "/", &after, NULL), 0);
        CHECK_EQ(DECIDE(after).reason, GRANT_ALLOWED);
        CHECK(__builtin_popcount(g.streams) + __builtin_popcount(g.levels) + g.pair_count <= 1);
    }
}

/* Total: any path and any verbs, formed well or not. */
TEST(decide_is_total)
{
    random_begin("decide_is_total", 33);
    CLEANUP(grant_set_freep) struct grant_set *s = random_set(8);
    CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
    CHECK_EQ(grant_rules_new(s, "/", &r, NULL), 0);
    for (int i = 0; i < 100000; i++) {
        char bytes[16];
        size_t mount, size = random_below(sizeof(bytes));
        const char *rest;
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = "/ab.*\0\xff\xc3"[random_below(8)];
        if (grant_mount_of(r, bytes, size, &mount, &rest))
            (void)grant_decide_fs(r, mount, rest, size - (size_t)(rest - bytes), random_next());
    }
}

/* Not a promise, a look: what a decision costs. */
TEST(decide_cost)
{
    CLEANUP(grant_rules_freep)
    struct grant_rules *r =
        compile(G "  - { fs: /work, from: { dir: w }, allow: ro }\n  - { fs: /work/out, from: { "
                  "dir: o }, allow: rw, paths: [\"a/**\", \"*.c\"] }\n");
    static const char *const guests[] = { "/work/src/main.c", "/work/out/a/b", "/work/out/x.c" };
    for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
        size_t size = strlen(guests[i]), mount = 0;
        const char *rest = "";
        uint64_t begin = clock_thread_cpu_ns();
        unsigned allowed = 0;
        for (int n = 0; n < 1000000; n++) {
            (void)grant_mount_of(r, guests[i], size, &mount, &rest);
            allowed += grant_decide_fs(r, mount, rest, size - (size_t)(rest - guests[i]), FS_READ)
                           .reason == GRANT_ALLOWED;
        }
        CHECK_EQ(allowed, 1000000);
        printf("# %s: %.1f ns\n", guests[i], (double)(clock_thread_cpu_ns() - begin) / 1e6);
    }
}

static int torture_compile(void)
{
    static const char text[] = G "  - { fs: /a, from: { dir: x }, allow: ro, paths: [\"x/**\", "
                                 "\"*.c\"] }\n  - config: { k: v }\n  - args: [q]\n";
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
    CLEANUP(grant_done) struct grant g = { 0 }, other = { 0 }, config = { 0 }, flag = { 0 };
    int result = grant_set_parse("t", "/base", text, sizeof(text) - 1, &s, NULL);
    if (result == 0)
        result = grant_rules_new(s, "/w", &r, NULL);
    if (result == 0)
        result = grant_propose_fs(r, "/a/q", FS_WRITE, &g, NULL);
    if (result == 0)
        result = grant_propose_fs(r, "/work/q", FS_WRITE, &other, NULL);
    if (result == 0)
        result = grant_propose_config("k", &config, NULL);
    if (result == 0)
        result = grant_from_path_flag("--read", "a/b:/c/", false, false, "/w", &flag, NULL);
    return result;
}

TEST(compile_torture)
{
    (void)torture_compile();
    TORTURE(torture_compile());
}

TEST_MAIN()
