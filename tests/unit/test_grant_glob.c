/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns: what is well formed, what matches, and inclusion beside enumeration of every short
 * path. */
#include "grant/internal.h"
#include "grant_random.h"
#include "test.h"

TEST(glob_match_table)
{
    static const struct {
        const char *pattern, *path;
        bool matches;
    } rows[] = {
        { "**", "", true },
        { "**", "a", true },
        { "**", "a/b/c", true },
        { ".", "", true },
        { ".", "a", false },
        { "a", "a", true },
        { "a", "", false },
        { "a", "ab", false },
        { "a", "a/b", false },
        { "a/b", "a/b", true },
        { "a/b", "a", false },
        { "*", "a", true },
        { "*", "", false },
        { "*", "a/b", false },
        { "*", ".git", true },
        { "*/*", "a/b", true },
        { "*/*", "a", false },
        { "*.c", "a.c", true },
        { "*.c", ".c", true },
        { "*.c", "a.h", false },
        { "*.c", "a/b.c", false },
        { "**/*.c", "b.c", true },
        { "**/*.c", "a/b.c", true },
        { "**/*.c", "a/x/b.c", true },
        { "**/*.c", "a/x/b.h", false },
        { "src/**", "src", true },
        { "src/**", "src/a/b", true },
        { "src/**", "srcs", false },
        { "src/**", "sr", false },
        { "src/**/t", "src/t", true },
        { "src/**/t", "src/a/b/t", true },
        { "src/**/t", "src/a/b/u", false },
        { "src/**/t", "t", false },
        { "**/a/**/b", "a/b", true },
        { "**/a/**/b", "x/a/y/z/b", true },
        { "**/a/**/b", "x/b/y/z/a", false },
        { "**/a/b/**/c", "a/a/b/b/c", true },
        { "**/**", "", true },
        { "**/**", "a/b", true },
        { "**/.git/**", ".git", true },
        { "**/.git/**", "sub/.git/config", true },
        { "**/.git/**", "sub/.gitignore", false },
        { "a*b*c", "abc", true },
        { "a*b*c", "axxbyybzzc", true },
        { "a*b*c", "axxcyyb", false },
        { "?", "a", true },
        { "?", "", false },
        { "?", "ab", false },
        { "?", "\xc3\xa9", true },
        { "??", "\xc3\xa9", false },
        { "*?", "\xc3\xa9", true },
        { "?\xc3\xa9*", "\xe6\x97\xa5\xc3\xa9", true },
        { "?", "\xc3", true },
        { "??", "\xc3(", true },
        { "a\\*b", "a*b", true },
        { "a\\*b", "axb", false },
        { "\\?", "?", true },
        { "\\?", "a", false },
        { "\\\\", "\\", true },
        { "\\[a]", "[a]", true },
        { "\\!x", "!x", true },
        { "a!", "a!", true },
        { "\\a", "a", true },
        { "report *.txt", "report 1.txt", true },
        { "*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct glob g;
        size_t size = strlen(rows[i].path);
        CHECK_EQ(glob_check(rows[i].pattern, NULL), 0);
        if (grant_pattern_matches(rows[i].pattern, rows[i].path, size) != rows[i].matches)
            test_fail(__FILE__, __LINE__, "`%s` and `%s`", rows[i].pattern, rows[i].path);
        CHECK_EQ(glob_init(&g, rows[i].pattern), 0);
        CHECK_EQ(glob_matches(&g, rows[i].path, size), rows[i].matches);
        glob_done(&g);
    }
}

TEST(glob_reject_table)
{
    static const struct {
        const char *pattern, *what;
    } rows[] = {
        { "", "empty" },
        { "/a", "starts with `/`" },
        { "/", "starts with `/`" },
        { "a//b", "empty segment" },
        { "a/", "empty segment" },
        { "**/", "empty segment" },
        { "..", "`..`" },
        { "a/..", "`..`" },
        { "../a", "`..`" },
        { "a/../b", "`..`" },
        { "\\.\\.", "`..`" },
        { "a/.\\./b", "`..`" },
        { "a/.", "`.` for a segment" },
        { "./a", "`.` for a segment" },
        { "\\.", "`.` for a segment" },
        { "a**", "whole segment" },
        { "**a", "whole segment" },
        { "a/***/b", "whole segment" },
        { "a\\", "quotes nothing" },
        { "a\\/b", "quotes nothing" },
        { "[a-z]", "no meaning" },
        { "*.{c,h}", "no meaning" },
        { "!a", "only" },
        { "a\xff", "UTF-8" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error e = ERROR_INIT;
        CHECK(glob_check(rows[i].pattern, &e) < 0);
        if (!strstr(e.what, rows[i].what) && !strstr(e.hint, rows[i].what))
            test_fail(__FILE__, __LINE__, "`%s`: %s", rows[i].pattern, e.what);
    }
}

/* A quoted path matches itself and nothing else. */
TEST(glob_quote)
{
    static const char *const paths[] = { "",        "a",    "a*b",      "?",     "!x/!y",
                                         "[a]/{b}", "a\\b", "\xc3\xa9", "a b/.c" };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        CLEANUP(buf_done) struct buf quoted = BUF_INIT(256);
        glob_quote(&quoted, paths[i], strlen(paths[i]));
        CHECK_EQ(glob_check(buf_cstr(&quoted), NULL), 0);
        for (size_t j = 0; j < ARRAY_SIZE(paths); j++)
            CHECK_EQ(grant_pattern_matches(buf_cstr(&quoted), paths[j], strlen(paths[j])), i == j);
    }
}

/* The shapes that need no walk say what the walk says. */
TEST(glob_shapes_agree)
{
    random_begin("glob_shapes_agree", 11);
    for (int i = 0; i < 20000; i++) {
        CLEANUP(mem_freep) char *pattern = random_pattern(4);
        CLEANUP(buf_done) struct buf path = BUF_INIT(256);
        struct glob g;
        CHECK_EQ(glob_check(pattern, NULL), 0);
        CHECK_EQ(glob_init(&g, pattern), 0);
        random_path(&path, 4);
        bool fast = glob_matches(&g, buf_cstr(&path), path.size);
        glob_done(&g);
        if (fast != grant_pattern_matches(pattern, buf_cstr(&path), path.size))
            test_fail(__FILE__, __LINE__, "`%s` and `%s`", pattern, buf_cstr(&path));
    }
}

/* All paths of up to 3 segments, each of up to 2 letters of {a, b, c}, where c stands for every
 * letter that no pattern names. Where they do not settle it, longer paths are drawn from the
 * pattern itself. */
#define NAMES 12 /* 3 + 9 */
static char names[NAMES][4];
static char (*paths)[12];
static size_t path_count;

static void paths_make(void)
{
    size_t n = 0;
    if (paths)
        return;
    for (int size = 1, count = 3; size <= 2; size++, count *= 3) {
        for (int i = 0; i < count; i++, n++) {
            for (int k = 0, left = i; k < size; k++, left /= 3)
                names[n][k] = "abc"[left % 3];
        }
    }
    paths = mem_array(1 + NAMES + NAMES * NAMES + NAMES * NAMES * NAMES, sizeof(*paths));
    path_count = 1;
    for (int i = 0; i < NAMES; i++)
        (void)snprintf(paths[path_count++], sizeof(*paths), "%.3s", names[i]);
    for (int i = 0; i < NAMES * NAMES; i++)
        (void)snprintf(paths[path_count++], sizeof(*paths), "%.3s/%.3s", names[i / NAMES],
                       names[i % NAMES]);
    for (int i = 0; i < NAMES * NAMES * NAMES; i++)
        (void)snprintf(paths[path_count++], sizeof(*paths), "%.3s/%.3s/%.3s",
                       names[i / NAMES / NAMES], names[i / NAMES % NAMES], names[i % NAMES]);
}

static bool is_covered(const char *path, char *const *a, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (grant_pattern_matches(a[k], path, strlen(path)))
            return true;
    }
    return false;
}

/* Is there a path that b matches and none of the a's does? True leaves it in `path`. */
static bool counterexample(const char *b, char *const *a, size_t count, struct buf *path)
{
    for (size_t i = 0; i < path_count; i++) {
        if (grant_pattern_matches(b, paths[i], strlen(paths[i])) &&
            !is_covered(paths[i], a, count)) {
            buf_clear(path);
            buf_puts(path, paths[i]);
            return true;
        }
    }
    for (int i = 0; i < 3000; i++) {
        if (draw_path(b, path) && !is_covered(buf_cstr(path), a, count)) {
            CHECK(grant_pattern_matches(b, buf_cstr(path), path->size));
            return true;
        }
    }
    return false;
}

/* Both directions: what is said to be covered has no counterexample, what is said not to be has
 * one. */
static void inclusion_beside_search(int rounds, size_t count)
{
    int covered = 0, together = 0;
    paths_make();
    for (int i = 0; i < rounds; i++) {
        char *a[3];
        CLEANUP(mem_freep) char *b = random_pattern(2);
        CLEANUP(buf_done) struct buf path = BUF_INIT(256);
        struct glob_budget budget = { GLOB_BUDGET };
        bool alone = false;
        for (size_t k = 0; k < count; k++) {
            a[k] = random_pattern(2);
            alone |= grant_pattern_covers(a[k], b);
        }
        int r = glob_included(b, ".", (const char *const *)a, count, &budget);
        if (r != counterexample(b, a, count, &path))
            test_fail(__FILE__, __LINE__, "`%s` of %zu over `%s`: %d, %s", a[0], count, b, r,
                      buf_cstr(&path));
        covered += r == 0;
        together += r == 0 && !alone;
        for (size_t k = 0; k < count; k++)
            mem_free(a[k]);
    }
    printf("# %d of %d covered, %d only together\n", covered, rounds, together);
    CHECK(covered > rounds / 20);
}

TEST(pattern_covers_beside_search)
{
    random_begin("pattern_covers_beside_search", 12);
    inclusion_beside_search(2000, 1);
}

TEST(union_covers_beside_search)
{
    random_begin("union_covers_beside_search", 13);
    inclusion_beside_search(1000, 2);
    inclusion_beside_search(1000, 3);
}

/* Below a prefix only: what the patterns say elsewhere does not matter. */
TEST(prefix_covers_table)
{
    static const struct {
        const char *b, *prefix, *a;
        int result;
    } rows[] = {
        { "**", "a", "a/**", 0 },
        { "**", "b", "a/**", 1 },
        { "*/x", "a", "a/*", 0 },
        { "*/x", "a", "b/*", 1 },
        { "a", "a", "a/*", 1 },
        { "a*", "a", "a/b", 1 },
        { "a*", "ab", "ab", 0 },
        { "a*", "b", "c", 0 },
        { "b", "a", "c", 0 },
        { "ab/**", "a", "c", 0 }, /* a name that merely starts like the prefix */
        { "**/x", "a/b", "a/**/x", 0 },
        { "**/x", "a/b", "a/*/x", 1 },
        { "*/b/*", "a/b", "a/b/?*", 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct glob_budget budget = { GLOB_BUDGET };
        if (glob_included(rows[i].b, rows[i].prefix, &rows[i].a, 1, &budget) != rows[i].result)
            test_fail(__FILE__, __LINE__, "`%s` below %s over `%s`", rows[i].b, rows[i].prefix,
                      rows[i].a);
    }
}

TEST(intersection_beside_search)
{
    int meet = 0, pairs = 2000;
    paths_make();
    random_begin("intersection_beside_search", 14);
    for (int i = 0; i < pairs; i++) {
        CLEANUP(mem_freep) char *a = random_pattern(3);
        CLEANUP(mem_freep) char *b = random_pattern(3);
        CLEANUP(buf_done) struct buf path = BUF_INIT(256);
        struct glob_budget budget = { GLOB_BUDGET };
        bool found = false;
        int r = glob_intersects(a, b, &budget);
        for (size_t k = 0; k < path_count && !found; k++) {
            size_t size = strlen(paths[k]);
            found = grant_pattern_matches(a, paths[k], size) &&
                    grant_pattern_matches(b, paths[k], size);
        }
        for (int k = 0; k < 20000 && !found && (k < 2000 || r == 1); k++) {
            found =
                draw_path(k & 1 ? a : b, &path) && is_covered(buf_cstr(&path), k & 1 ? &b : &a, 1);
        }
        if (found != (r == 1))
            test_fail(__FILE__, __LINE__, "`%s` and `%s`: %d", a, b, r);
        meet += r == 1;
    }
    printf("# %d of %d meet\n", meet, pairs);
}

TEST(pattern_covers_table)
{
    static const struct {
        const char *a, *b;
        bool covers;
    } rows[] = {
        { "**", "a/b", true },
        { "a/**", "a", true },
        { "a/**", "a/b/**", true },
        { "a", "a/**", false },
        { "*", "a", true },
        { "*", "?", true },
        { "?", "*", false },
        { "*/*", "a/*", true },
        { "**/c", "a/b/c", true },
        { "**/c", "**/b/c", true },
        { "**/b/c", "**/c", false },
        { "a*", "ab*", true },
        { "*a", "*ba", true },
        { "*a*", "*b*", false },
        { ".", ".", true },
        { "**", ".", true },
        { ".", "**", false },
        { "**/*", "**", false },
        { "**/*", "*/**", true },
        { "*/**", "**/*", true },
        { "**/**", "**", true },
        { "\\a", "a", true },
        { "\\*", "*", false },
        { "*", "\\*", true },
        { "a/**/b", "a/b", true },
        { "a/**/b", "a/*/b", true },
        { "a/*/b", "a/**/b", false },
        { "?\xc3\xa9", "a\xc3\xa9", true },
        { "??", "a\xc3\xa9", true },
        { "???", "a\xc3\xa9", false },
        { "**/.git/**", "a/.git/hooks/*", true },
        { "*?*", "*", true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (grant_pattern_covers(rows[i].a, rows[i].b) != rows[i].covers)
            test_fail(__FILE__, __LINE__, "`%s` over `%s`", rows[i].a, rows[i].b);
    }
}

/* What blows up without the antichain or the budget ends quickly, and never claims too much. */
TEST(pattern_covers_is_bounded)
{
    CHECK(grant_pattern_covers("*a????????????????????", "*a????????????????????"));
    CHECK(grant_pattern_covers("*a*", "*a????????????????????"));
    CHECK(!grant_pattern_covers("*a????????????????????", "*b????????????????????"));
    CHECK(!grant_pattern_covers("**/a/*/*/*/*/*/*/*/*/*/*", "**/b/*/*/*/*/*/*/*/*/*/*"));
    CHECK(grant_pattern_covers("**/a*/*/*/*/*/*/*/*/*/*/*", "**/a/*/*/*/*/*/*/*/*/*/*"));
    CLEANUP(buf_done) struct buf a = BUF_INIT(8000);
    CLEANUP(buf_done) struct buf b = BUF_INIT(8000);
    for (int i = 0; i < 500; i++) {
        buf_puts(&a, i ? "/**/*a*" : "**/*a*");
        buf_puts(&b, i ? "/**/*b?a" : "**/*b?a");
    }
    (void)grant_pattern_covers(buf_cstr(&a), buf_cstr(&b));
    CHECK(!grant_pattern_covers(buf_cstr(&b), buf_cstr(&a)));
}

static int included(void)
{
    static const char *const covers[] = { "a/**", "b?/**", "*c" };
    struct glob_budget budget = { GLOB_BUDGET };
    return glob_included("**/*b", ".", covers, 3, &budget) < 0 ? -ENOMEM : 0;
}

TEST(glob_torture)
{
    struct glob_budget budget = { GLOB_BUDGET };
    TORTURE(included());
    TORTURE(MIN(0, glob_intersects("a*/**", "*b/c", &budget)));
    mem_fail_after(1);
    bool covers = grant_pattern_covers("a*", "ab");
    mem_fail_after(0);
    CHECK(!covers);
}

TEST_MAIN()
