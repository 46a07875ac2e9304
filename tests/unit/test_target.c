/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and patterns of FILE, what is refused by name, and where a script stands in the guest's
 * world. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "control/scratch.h"
#include "control/target.h"
#include "tests/unit/test.h"

TEST(path_absolute_is_lexical)
{
    static const struct {
        const char *base, *path, *wanted;
    } rows[] = {
        { "/a/b", "c", "/a/b/c" },
        { "/a/b", "./c/", "/a/b/c" },
        { "/a/b", "../c", "/a/c" },
        { "/a/b", "../../../c", "/c" },
        { "/a/b", "/x//y/./z", "/x/y/z" },
        { "/", "x", "/x" },
        { "/a", "..", "/" },
        { "/a", "/", "/" },
        { "/a", "...", "/a/..." },
        { "/a", "b/..", "/a" },
        { "/a", "b/../..", "/" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *got = path_absolute(rows[i].base, rows[i].path);
        CHECK_STR(got, rows[i].wanted);
    }
}

TEST(path_pattern_matches_the_name_and_nothing_else)
{
    static const char *const names[] = { "a.py",  "a*.py", "a?b", "a\\b", "[x].py",
                                         "{a,b}", "!x",    "**",  "ü.py", " x " };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(mem_freep) char *pattern = grant_pattern_quote(names[i]);
        CHECK(pattern != NULL && grant_pattern_matches(pattern, names[i], strlen(names[i])));
        CHECK(!grant_pattern_matches(pattern, "other", 5));
        CHECK(!grant_pattern_matches(pattern, "aXb", 3));
    }
}

struct place {
    char folder[64];
    struct grant_set *grants;
};

static void place_done(struct place *p)
{
    (void)rmdir(p->folder);
    grant_set_free(p->grants);
}

static void place_init(struct place *p)
{
    struct error e = ERROR_INIT;
    memcpy(p->folder, "/tmp/ambit-target-XXXXXX", 25);
    CHECK(mkdtemp(p->folder) != NULL);
    CHECK_EQ(grant_set_new(&p->grants, &e), 0);
}

static void put(const struct place *p, const char *name, const void *bytes, size_t size)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", p->folder, name);
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, bytes, size), (ssize_t)size);
}

static void take_away(const struct place *p, const char *name)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", p->folder, name);
    (void)unlink(path);
}

/* The languages' own components may be any file here: nothing is compiled. */
static const char *const components[TARGET_LANGUAGE_COUNT] = {
    [TARGET_PYTHON] = "/dev/null",
    [TARGET_JAVASCRIPT] = "/dev/null",
};

static int open_target(const struct place *p, const char *file, struct target *t, struct error *e)
{
    CLEANUP(mem_freep) char *root = mem_printf("%s/tmp", p->folder);
    struct target_spec spec = { .file = file,
                                .work_host = p->folder,
                                .components = components,
                                .scratch_root = root,
                                .grants = p->grants };
    CHECK(chdir(p->folder) == 0);
    return target_open(&spec, t, e);
}

TEST(refusals_name_the_reason)
{
    static const struct {
        const char *name, *bytes;
        size_t size;
        const char *why;
    } rows[] = {
        { "x.sh", "#!/bin/sh\necho", 14, "interpreter" },
        { "x", "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0", 20, "ELF" },
        { "empty.wasm", "", 0, "empty" },
        { "a.ts", "let x = 1", 9, "TypeScript" },
        { "a.cjs", "let x = 1", 9, "CommonJS" },
        { "b.js", "#!/usr/bin/env bun\n", 19, "interpreter" },
        { "a.go", "package main", 12, "Go" },
        { "notes.txt", "hello", 5, "neither" },
        { "b.sh", "echo", 4, "shell" },
    };
    CLEANUP(place_done) struct place p = { 0 };
    place_init(&p);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct target t;
        struct error e = ERROR_INIT;
        put(&p, rows[i].name, rows[i].bytes, rows[i].size);
        CHECK_EQ(open_target(&p, rows[i].name, &t, &e), 1);
        CHECK_HAS(e.what, rows[i].why);
        CHECK(e.hint[0] != '\0');
        take_away(&p, rows[i].name);
    }
    struct target t;
    struct error e = ERROR_INIT;
    CHECK_EQ(open_target(&p, ".", &t, &e), 1);
    CHECK_HAS(e.what, "folder");
    error_clear(&e);
    CHECK_EQ(open_target(&p, "not-there.wasm", &t, &e), -ENOENT);
}

TEST(language_is_told_by_line_then_by_name)
{
    static const struct {
        const char *name, *head;
        enum target_language wanted;
    } rows[] = {
        { "a.py", "pass", TARGET_PYTHON },
        { "a.js", "let x", TARGET_JAVASCRIPT },
        { "a.mjs", "", TARGET_JAVASCRIPT },
        { "a.js", "#!/usr/bin/env python3\n", TARGET_PYTHON },
        { "a.py", "#!/usr/bin/env -S ambit run\n", TARGET_PYTHON },
        { "tool", "#!/usr/bin/env -S ambit run\n", TARGET_JAVASCRIPT },
        { "tool", "#!/usr/bin/node\n", TARGET_JAVASCRIPT },
        { "tool", "#!/usr/bin/python3", TARGET_PYTHON },
        { "tool", "#!/bin/sh\nnode x", TARGET_WASM },
        { "a.py", "#!/bin/sh\n", TARGET_WASM },
        { "a.json", "{}", TARGET_WASM },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK_EQ(
            target_language_of(rows[i].name, (const uint8_t *)rows[i].head, strlen(rows[i].head)),
            rows[i].wanted);
}

TEST(relative_script_stands_below_work_and_absolute_where_it_is)
{
    CLEANUP(place_done) struct place p = { 0 };
    place_init(&p);
    put(&p, "s.py", "pass", 4);
    CLEANUP(mem_freep) char *absolute = mem_printf("%s/s.py", p.folder);
    const char *const typed[] = { "s.py", "./s.py", absolute }, *const wanted[] = { "/work/s.py",
                                                                                    "/work/s.py",
                                                                                    absolute };
    for (size_t i = 0; i < ARRAY_SIZE(typed); i++) {
        CLEANUP(target_done) struct target t = { .fd = -1, .scratch_fd = -1 };
        struct error e = ERROR_INIT;
        CHECK_EQ(open_target(&p, typed[i], &t, &e), 0);
        CHECK(t.language == TARGET_PYTHON);
        CHECK_STR(t.script_guest, wanted[i]);
        CHECK_STR(t.script_host, absolute);
        CLEANUP(grant_done) struct grant g = { 0 };
        CHECK_EQ(target_script_grant(&t, &g, &e), 0);
        CHECK_STR(g.fs.host, p.folder);
        CHECK_STR(g.fs.paths[0], "s.py");
        CHECK((g.fs.verbs & ~(uint32_t)FS_RO) == 0);
    }
    take_away(&p, "s.py");
}

TEST(script_whose_place_is_taken_moves_to_a_private_folder)
{
    CLEANUP(place_done) struct place p = { 0 };
    struct error e = ERROR_INIT;
    place_init(&p);
    put(&p, "s.py", "pass", 4);
    struct grant g = { 0 };
    CHECK_EQ(grant_from_path_flag("--read", "/usr:/work", false, true, p.folder, &g, &e), 0);
    CHECK_EQ(grant_set_add(p.grants, &g, &e), 0);
    char scratch[256];
    {
        CLEANUP(target_done) struct target t = { .fd = -1, .scratch_fd = -1 };
        CHECK_EQ(open_target(&p, "s.py", &t, &e), 0);
        CHECK_STR(t.script_guest, "/run/ambit/s.py");
        CHECK(t.scratch != NULL && access(t.script_host, R_OK) == 0);
        (void)snprintf(scratch, sizeof(scratch), "%s", t.scratch);
    }
    CHECK(access(scratch, F_OK) < 0); /* nothing is left behind */
    CLEANUP(mem_freep) char *root = mem_printf("%s/tmp", p.folder);
    (void)rmdir(root);
    take_away(&p, "s.py");
}

static int open_once(const struct place *p)
{
    CLEANUP(target_done) struct target t = { .fd = -1, .scratch_fd = -1 };
    CLEANUP(grant_done) struct grant g = { 0 };
    CLEANUP(mem_freep) char *root = mem_printf("%s/tmp", p->folder);
    struct target_spec spec = { .file = "s.py",
                                .work_host = p->folder,
                                .components = components,
                                .scratch_root = root,
                                .grants = p->grants };
    if (root == NULL)
        return -ENOMEM;
    int r = target_open(&spec, &t, NULL);
    return r != 0 ? r : target_script_grant(&t, &g, NULL);
}

TEST(failing_allocations)
{
    CLEANUP(place_done) struct place p = { 0 };
    place_init(&p);
    put(&p, "s.py", "pass", 4);
    CHECK(chdir(p.folder) == 0);
    TORTURE(open_once(&p));
    take_away(&p, "s.py");
}

TEST_MAIN()
