/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's world above the backings (mount points, folders above them, listings, quotas by rule,
 * revocation, times, identity), random sequences of operations compared with the host, and failing
 * allocations.
 */
#include "vfs_operations.h"

static void check_list(struct fixture *f, const char *path, const char *wanted)
{
    struct buf list = BUF_INIT(1 << 16);

    CHECK_EQ(do_list(f, path, &list), 0);
    CHECK_STR(buf_cstr(&list), wanted);
    buf_done(&list);
}

TEST(folders_above_mounts)
{
    struct fixture f = { 0 };
    struct vfs_stat a, b;
    struct vfs_file *file;

    fixture_folder(&f);
    host_mkdir(&f, "sub");
    host_put(&f, "file", "x");
    host_symlink(&f, "sub", "made");
    fixture_rules(&f, "  - {fs: /work, from: {dir: @}, allow: ro}\n"
                      "  - {fs: /work/out, from: memory, allow: rw}\n"
                      "  - {fs: /work/made/deep/inner, from: memory, allow: rw}\n"
                      "  - {fs: /a/b/c, from: memory, allow: rw}\n");
    check_list(&f, ".", "a/ work/ ");
    check_list(&f, "a", "b/ ");
    check_list(&f, "a/b", "c/ ");
    check_list(&f, "a/b/c", "");
    check_list(&f, "work",
               "file made/ out/ sub/ "); /* `made` is the mount's folder, not the host's link */
    check_list(&f, "work/made", "deep/ ");
    check_list(&f, "work/made/deep", "inner/ ");
    CHECK_EQ(do_stat(&f, "a/b", true, &a), 0);
    CHECK_EQ(a.type, VFS_TYPE_DIRECTORY);
    CHECK_EQ(a.modified_ns, 0);
    CHECK_EQ(do_stat(&f, "a/b/../b", true, &b), 0);
    CHECK(a.identity[0] == b.identity[0] && a.identity[1] == b.identity[1]);
    CHECK_EQ(do_stat(&f, "a", true, &b), 0);
    CHECK(a.identity[0] != b.identity[0]);
    CHECK_EQ(do_stat(&f, "work/out", false, &a), 0);
    CHECK_EQ(do_stat(&f, "work/made", false, &a), 0);
    CHECK_EQ(a.type, VFS_TYPE_DIRECTORY);
    CHECK_EQ(try_stat(&f, "work/made/other"), VFS_NO_ENTRY);
    CHECK_EQ(try_stat(&f, "a/other"), VFS_NO_ENTRY);
    CHECK_STR(f.denied_path, "/a/other");
    CHECK_EQ(do_put(&f, "work/out/x", "y"), 0);
    CHECK_EQ(do_put(&f, "work/x", "y"), VFS_ACCESS);
    CHECK_EQ(do_mkdir(&f, "a"), VFS_EXIST);
    CHECK_EQ(do_unlink(&f, "a"), VFS_IS_DIRECTORY);
    CHECK_EQ(try_open(&f, "a", VFS_O_WRITE), VFS_IS_DIRECTORY);
    CHECK_EQ(do_open(&f, "a", VFS_O_DIRECTORY | VFS_O_READ, &file), 0);
    CHECK_EQ(vfs_stat(file, &b), 0);
    vfs_close(file);
    CHECK(vfs_same_object(f.root, f.root));
    fixture_done(&f);
}

TEST(without_any_mount)
{
    struct fixture f = { 0 };
    struct vfs_stat st;

    fixture_rules(&f, "  - env: {A: b}\n");
    check_list(&f, ".", "");
    CHECK_EQ(vfs_stat(f.root, &st), 0);
    CHECK_EQ(try_stat(&f, "work"), VFS_NO_ENTRY);
    CHECK_EQ(do_mkdir(&f, "work"), VFS_NO_ENTRY);
    fixture_done(&f);
}

TEST(mount_at_the_root)
{
    struct fixture f = { 0 };
    const char *text;

    fixture_folder(&f);
    host_put(&f, "file", "x");
    host_symlink(&f, "/file", "link");
    fixture_rules(
        &f, "  - {fs: /, from: {dir: @}, allow: rw}\n  - {fs: /tmp, from: memory, allow: rw}\n");
    check_list(&f, ".", "file link tmp/ ");
    CHECK_EQ(do_get(&f, "link", &text), 0);
    CHECK_EQ(do_put(&f, "tmp/../new", "x"), 0);
    CHECK_EQ(do_rename(&f, "new", "tmp/new"), VFS_CROSS_DEVICE);
    fixture_done(&f);
}

TEST(patterns)
{
    struct fixture f = { 0 };
    const char *text;

    fixture_folder(&f);
    host_mkdir(&f, "src");
    host_put(&f, "src/a.py", "a");
    host_put(&f, "src/b.txt", "b");
    fixture_rules(&f, "  - {fs: /w, from: {dir: @}, allow: ro, paths: [\"src/*.py\"]}\n");
    CHECK_EQ(do_get(&f, "w/src/a.py", &text), 0);
    CHECK_EQ(do_get(&f, "w/src/b.txt", &text), VFS_ACCESS);
    CHECK_EQ(do_get(&f, "w/src/../src/a.py", &text),
             0);                    /* a folder that may not be asked for is left textually */
    CHECK_EQ(try_stat(&f, "w"), 0); /* a mount's root is known from the folder above */
    CHECK_EQ(f.denials, 1);
    fixture_done(&f);
}

TEST(quota_of_the_rule_that_gives_the_verb)
{
    struct fixture f = { 0 };
    struct vfs_file *file;
    size_t n;

    fixture_folder(&f);
    fixture_rules(&f, "  - {fs: /w, from: {dir: @}, allow: [write, read], max_bytes: 10}\n"
                      "  - {fs: /w, from: {dir: @}, allow: [create], max_files: 1}\n");
    CHECK_EQ(do_open(&f, "w/a", VFS_O_WRITE | VFS_O_CREATE, &file), 0);
    CHECK_EQ(vfs_write(file, 0, "0123456789", 10, &n), 0);
    CHECK_EQ(vfs_write(file, 5, "012345", 6, &n), VFS_QUOTA);
    CHECK_STR(f.denied_path, "/w/a");
    CHECK_EQ(vfs_write(file, 5, "01234", 5, &n), 0);
    CHECK_EQ(vfs_append(file, "x", 1, &n), VFS_QUOTA);
    vfs_close(file);
    CHECK_EQ(try_open(&f, "w/b", VFS_O_WRITE | VFS_O_CREATE), VFS_QUOTA);
    CHECK_EQ(f.denied_reason, GRANT_QUOTA_FILES);
    CHECK_EQ(f.bytes_written, 15);
    fixture_done(&f);
}

TEST(revocation)
{
    struct fixture f = { 0 };
    struct vfs_file *file;
    struct vfs_listing *l;
    struct vfs_stat st;
    enum vfs_type type;
    const char *name;
    char byte;
    size_t n;

    fixture_rules(&f, "  - {fs: /m, from: memory, allow: rw}\n");
    CHECK_EQ(do_put(&f, "m/a", "text"), 0);
    CHECK_EQ(do_open(&f, "m/a", VFS_O_READ | VFS_O_WRITE, &file), 0);
    CHECK_EQ(vfs_list(f.root, &l), 0);
    vfs_revoke(f.v, GRANT_EXPIRED);
    CHECK_EQ(vfs_read(file, 0, &byte, 1, &n), VFS_ACCESS);
    CHECK_EQ(f.denied_reason, GRANT_EXPIRED);
    CHECK_EQ(vfs_write(file, 0, "x", 1, &n), VFS_ACCESS);
    CHECK_EQ(vfs_stat(file, &st), VFS_ACCESS);
    CHECK_EQ(vfs_stat(f.root, &st), VFS_ACCESS);
    CHECK_EQ(try_stat(&f, "m/a"), VFS_ACCESS);
    CHECK_EQ(do_mkdir(&f, "m/d"), VFS_ACCESS);
    CHECK_EQ(do_rename(&f, "m/a", "m/b"), VFS_ACCESS);
    CHECK_EQ(vfs_listing_next(l, &type, &name, &n), 1);
    vfs_listing_close(l);
    vfs_close(file);
    fixture_done(&f);
}

static void times(struct fixture *f, const char *path)
{
    struct vfs_times t = { VFS_TIME_SET, VFS_TIME_SET, -1500000000, 1700000000123456789 };
    struct vfs_stat st;
    struct vfs_file *file;

    CHECK_EQ(do_put(f, path, "x"), 0);
    CHECK_EQ(vfs_set_times_at(f->root, path, strlen(path), true, &t), 0);
    CHECK_EQ(do_stat(f, path, true, &st), 0);
    CHECK_EQ(st.accessed_ns, -1500000000);
    CHECK_EQ(st.modified_ns, 1700000000123456789);
    t = (struct vfs_times){ .modified = VFS_TIME_NOW };
    CHECK_EQ(do_open(f, path, VFS_O_READ, &file), 0);
    CHECK_EQ(vfs_set_times(file, &t), 0);
    CHECK_EQ(vfs_stat(file, &st), 0);
    CHECK_EQ(st.accessed_ns, -1500000000);
    CHECK(st.modified_ns > 0 && st.modified_ns <= f->clock); /* the run's clock, not the host's */
    CHECK_EQ(vfs_sync(file, false), 0);
    vfs_close(file);
}

TEST(times_and_identity)
{
    struct fixture f = { 0 };
    struct vfs_file *a, *b;
    struct vfs_stat st;
    struct stat host;

    fixture_folder(&f);
    fixture_rules(
        &f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /x, from: {dir: @}, allow: ro}\n"
            "  - {fs: /m, from: memory, allow: rw}\n");
    times(&f, "w/file");
    times(&f, "m/file");
    CHECK_EQ(do_link(&f, "w/file", "w/twin", false), 0);
    CHECK_EQ(do_open(&f, "w/file", VFS_O_READ, &a), 0);
    CHECK_EQ(do_open(&f, "x/twin", VFS_O_READ, &b), 0);
    CHECK(vfs_same_object(a, b));
    CHECK_EQ(vfs_stat(a, &st), 0);
    CHECK(fstatat(f.dir_fd, "file", &host, 0) == 0);
    CHECK(st.identity[0] != host.st_ino && st.identity[1] != host.st_ino &&
          st.identity[0] != host.st_dev);
    vfs_close(b);
    CHECK_EQ(do_open(&f, "m/file", 0, &b), 0);
    CHECK(!vfs_same_object(a, b));
    vfs_close(a);
    vfs_close(b);
    fixture_done(&f);
}

/* Everything that was there from the start to the end is listed exactly once. */
static void listing_under_change(struct fixture *f, const char *below)
{
    char path[64], seen[64] = { 0 };
    struct vfs_file *folder;
    struct vfs_listing *l;
    enum vfs_type type;
    const char *name;
    unsigned number, steps = 0;
    size_t n;

    for (unsigned i = 0; i < 64; i++) {
        snprintf(path, sizeof(path), "%s/keep%u", below, i);
        CHECK_EQ(do_put(f, path, ""), 0);
        snprintf(path, sizeof(path), "%s/drop%u", below, i);
        CHECK_EQ(do_put(f, path, ""), 0);
    }
    CHECK_EQ(do_open(f, below, VFS_O_DIRECTORY, &folder), 0);
    CHECK_EQ(vfs_list(folder, &l), 0);
    vfs_close(folder);
    while (vfs_listing_next(l, &type, &name, &n) == 0) {
        char copy[64];

        CHECK(++steps < 1000); /* what is made while listing does not keep it going */
        snprintf(copy, sizeof(copy), "%.*s", (int)n, name);
        if (sscanf(copy, "keep%u", &number) == 1)
            CHECK_EQ(seen[number]++, 0);
        snprintf(path, sizeof(path), "%s/drop%u", below, steps % 64);
        (void)do_unlink(f, path);
        snprintf(path, sizeof(path), "%s/made%u", below, steps);
        CHECK_EQ(do_put(f, path, ""), 0);
    }
    vfs_listing_close(l);
    for (unsigned i = 0; i < 64; i++)
        CHECK_EQ(seen[i], 1);
}

TEST(listing_while_changing)
{
    struct fixture f = { 0 };

    fixture_folder(&f);
    fixture_rules(
        &f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n");
    CHECK_EQ(do_mkdir(&f, "m/d"), 0);
    listing_under_change(&f, "w");
    listing_under_change(&f, "m/d");
    CHECK_EQ(do_mkdir(&f, "m/gone"), 0);
    struct vfs_file *folder;
    struct vfs_listing *l;
    CHECK_EQ(do_open(&f, "m/gone", VFS_O_DIRECTORY, &folder), 0);
    CHECK_EQ(vfs_list(folder, &l), 0);
    CHECK_EQ(do_rmdir(&f, "m/gone"), 0);
    vfs_listing_close(l);
    CHECK_EQ(vfs_list(folder, &l), VFS_NO_ENTRY);
    vfs_close(folder);
    fixture_done(&f);
}

/* ---- random sequences ---- */

static uint64_t random_state;

static unsigned pick(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

static const char *random_path(void)
{
    static const char *const paths[] = { "a",        "b",     "c",     "a/a",      "a/b",  "b/a",
                                         "b/c",      "a/a/b", "a/b/c", "b/a/a",    "c/a",  "a/../b",
                                         "b/../c/a", "a/",    "c/.",   "a/b/../a", "c/b/a" };

    return paths[pick(ARRAY_SIZE(paths))];
}

static struct operation random_operation(void)
{
    static const char *const targets[] = { "a", "b", "../a", "b/a", "c", ".", "..", "a/b/" };
    static const char *const texts[] = { "x", "hello", "a rather longer text than the others" };
    static const uint64_t offsets[] = { 0, 1, 7, 255, 256, 4000, 65535, 65536, 70000, 131073 };
    static const uint32_t opens[] = { VFS_O_READ, VFS_O_WRITE | VFS_O_CREATE,
                                      VFS_O_WRITE | VFS_O_CREATE | VFS_O_EXCLUSIVE,
                                      VFS_O_WRITE | VFS_O_TRUNCATE, VFS_O_READ | VFS_O_DIRECTORY };
    static const enum kind likely[] = { OPEN, MKDIR, SYMLINK, WRITE, RENAME, OPEN, MKDIR, LINK };
    struct operation o = { .kind = pick(2) ? likely[pick(ARRAY_SIZE(likely))]
                                           : (enum kind)pick(KINDS) };

    o.a = o.kind == SYMLINK ? targets[pick(ARRAY_SIZE(targets))] : random_path();
    o.b = random_path();
    o.flags = opens[pick(ARRAY_SIZE(opens))] | (pick(2) ? VFS_O_FOLLOW : 0);
    o.text = texts[pick(ARRAY_SIZE(texts))];
    o.offset = offsets[pick(ARRAY_SIZE(offsets))];
    return o;
}

/* 0 or an error; which error is compared exactly in test_vfs_posix. */
static void compare(const struct operation *o, unsigned step, const char *host, const char *ours,
                    const char *which)
{
    if (strcmp(host, ours) != 0 && (atoi(host) == 0 || atoi(ours) == 0))
        test_fail(__FILE__, __LINE__, "step %u, %s %s %s %u: %s \"%s\", host \"%s\"", step,
                  kind_name(o->kind), o->a, o->b, o->flags, which, ours, host);
}

static void random_run(uint64_t seed)
{
    struct fixture f = { 0 };
    char host[] = "/tmp/ambit-vfs-XXXXXX";
    struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20), c = BUF_INIT(1 << 20);
    int fd;

    random_state = seed;
    fixture_folder(&f);
    CHECK(mkdtemp(host) != NULL);
    CHECK(chdir("/") == 0);
    /* Two folders down, so that links upward stay inside the oracle's folder and inside the mounts
     * alike. */
    fixture_rules(
        &f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n");
    fd = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdirat(fd, "r", 0777) == 0 && mkdirat(fd, "r/s", 0777) == 0);
    close(fd);
    fd = openat(AT_FDCWD, host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int below = openat(fd, "r/s", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(do_mkdir(&f, "w/r") == 0 && do_mkdir(&f, "w/r/s") == 0 && do_mkdir(&f, "m/r") == 0 &&
          do_mkdir(&f, "m/r/s") == 0);
    for (unsigned step = 0; step < 400; step++) {
        struct operation o = random_operation();

        buf_clear(&a), buf_clear(&b), buf_clear(&c);
        run_host(below, &o, &a);
        run_vfs(&f, "w/r/s", &o, &b);
        run_vfs(&f, "m/r/s", &o, &c);
        compare(&o, step, buf_cstr(&a), buf_cstr(&b), "dir");
        compare(&o, step, buf_cstr(&a), buf_cstr(&c), "memory");
    }
    buf_done(&a), buf_done(&b), buf_done(&c);
    close(below);
    close(fd);
    folder_remove(host);
    fixture_done(&f);
}

TEST(random_sequences)
{
    int fds = count_fds();
    long blocks = mem_live();

    for (uint64_t seed = 1; seed <= 60; seed++)
        random_run(seed);
    CHECK_EQ(count_fds(), fds);
    CHECK_EQ(mem_live(), blocks);
}

/* Contents: writes, appends and sizes at random, against an array; the whole file read back each
 * time. */
static void contents(struct fixture *f, const char *path)
{
    enum { MOST = 300000 };
    static uint8_t model[MOST], seen[MOST], bytes[3000];
    static const uint32_t edges[] = { 0, 255, 256, 257, 4096, 65535, 65536, 65537, 131072, 200000 };
    size_t size = 0, n, part;
    struct vfs_file *file;

    memset(model, 0, sizeof(model));
    CHECK_EQ(do_open(f, path, VFS_O_READ | VFS_O_WRITE | VFS_O_CREATE, &file), 0);
    for (unsigned step = 0; step < 600; step++) {
        size_t at = edges[pick(ARRAY_SIZE(edges))] + pick(3);

        part = 1 + pick(sizeof(bytes) - 1);
        memset(bytes, 'a' + (int)pick(26), sizeof(bytes));
        switch (pick(3)) {
        case 0:
            CHECK_EQ(vfs_write(file, at, bytes, part, &n), 0);
            CHECK_EQ(n, part);
            memcpy(model + at, bytes, part);
            size = MAX(size, at + part);
            break;
        case 1:
            if (size + part > MOST)
                continue;
            CHECK_EQ(vfs_append(file, bytes, part, &n), 0);
            CHECK_EQ(n, part);
            memcpy(model + size, bytes, part);
            size += part;
            break;
        default:
            CHECK_EQ(vfs_set_size(file, at), 0);
            if (at < size)
                memset(model + at, 0, size - at);
            size = at;
        }
        memset(seen, 0xee, sizeof(seen));
        for (size_t done = 0; done < size; done += n) {
            CHECK_EQ(vfs_read(file, done, seen + done, sizeof(seen) - done, &n), 0);
            CHECK(n > 0);
        }
        CHECK(memcmp(seen, model, size) == 0);
        CHECK_EQ(vfs_read(file, size, seen, 1, &n), 0);
        CHECK_EQ(n, 0);
    }
    vfs_close(file);
}

TEST(contents_at_random)
{
    struct fixture f = { 0 };

    random_state = 7;
    fixture_folder(&f);
    fixture_rules(
        &f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n");
    contents(&f, "w/file");
    contents(&f, "m/file");
    fixture_done(&f);
}

/* ---- failing allocations ---- */

static int made_and_freed(struct fixture *f, const struct grant_rules *rules)
{
    struct vfs_audit audit = { f, fixture_denied, fixture_used };
    struct error e = ERROR_INIT;
    int fds[2] = { -1, -1 }, r;
    struct vfs *v;

    for (size_t i = 0; i < 2; i++)
        if (grant_rules_mount(rules, i)->backing == GRANT_BACKING_DIR)
            fds[i] = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = vfs_new(rules, fds, &audit, fixture_now, f, &v, &e);
    CHECK(fds[0] == -1 && fds[1] == -1);
    if (r == 0)
        vfs_free(v);
    return r;
}

static int used_up(struct fixture *f, const char *below)
{
    struct operation steps[] = {
        { .kind = MKDIR, .a = "d" },
        { .kind = OPEN, .a = "d/f", .flags = VFS_O_WRITE | VFS_O_CREATE },
        { .kind = WRITE, .a = "d/f", .text = "text", .offset = 70000 },
        { .kind = SYMLINK, .a = "d", .b = "l" },
        { .kind = LINK, .a = "l/f", .b = "l/g" },
        { .kind = RENAME, .a = "d/g", .b = "h" },
        { .kind = READ, .a = "h" },
        { .kind = UNLINK, .a = "h" },
        { .kind = UNLINK, .a = "l" },
        { .kind = UNLINK, .a = "d/f" },
        { .kind = RMDIR, .a = "d" },
    };
    char a[64], b[64];
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct buf out = BUF_INIT(1 << 16);
        int step;

        snprintf(a, sizeof(a), "%s/%s", below, steps[i].a);
        snprintf(b, sizeof(b), "%s/%s", below, steps[i].b ? steps[i].b : "");
        step = run_vfs_paths(f, &steps[i], a, b, &out);
        buf_done(&out);
        CHECK(step == 0 || step == VFS_INSUFFICIENT_MEMORY || r != 0);
        r = r != 0 ? r : step;
    }
    return r == 0 ? 0 : -ENOMEM;
}

/* Memory comes and goes; the tree is emptied for good with the allocator working again. */
static void torture(const char *below)
{
    for (long n = 1;; n++) {
        struct fixture f = { 0 };
        int fds = count_fds(), r;
        long blocks = mem_live();

        fixture_folder(&f);
        fixture_rules(
            &f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n");
        mem_fail_after(n);
        r = used_up(&f, below);
        mem_fail_after(0);
        fixture_done(&f);
        CHECK_EQ(mem_live(), blocks);
        CHECK_EQ(count_fds(), fds);
        if (r == 0)
            break;
        CHECK(n < 1000);
    }
}

TEST(allocations_fail)
{
    struct fixture f = { 0 };
    int fds;

    fixture_folder(&f);
    fixture_rules(
        &f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n");
    fds = count_fds();
    TORTURE(made_and_freed(&f, f.rules));
    CHECK_EQ(count_fds(), fds);
    fixture_done(&f);
    torture("w");
    torture("m");
}

/* The memory quota comes back to what it was when all is removed. */
TEST(memory_is_given_back)
{
    struct fixture f = { 0 };
    char path[64];

    fixture_rules(&f, "  - {fs: /m, from: memory, allow: rw, max_bytes: 4MiB, max_files: 5000}\n");
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 4000; i++) {
            snprintf(path, sizeof(path), "m/f%d", i);
            CHECK_EQ(do_put(&f, path, "0123456789"), 0);
        }
        for (int i = 0; i < 4000; i++) {
            snprintf(path, sizeof(path), "m/f%d", i);
            CHECK_EQ(do_unlink(&f, path), 0);
        }
    }
    fixture_done(&f);
}

TEST_MAIN()
