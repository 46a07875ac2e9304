/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What POSIX says, asked of three: the host's own file system, the dir backing, the memory backing.
 * A small tree with every kind of thing in it; every operation on every path (and pair of paths) of
 * a list, each on a fresh tree; all three answer alike.
 */
#include "vfs_operations.h"

static bool ends_with_slash(const char *path)
{
    return path != NULL && path[0] != '\0' && path[strlen(path) - 1] == '/';
}

/* Where which error comes first may differ; that there is one may not. */
static bool differs(const struct operation *o, const char *host, const char *ours)
{
    if (atoi(host) == 0 || atoi(ours) == 0)
        return false;
    if ((o->kind == RENAME || o->kind == LINK) && (ends_with_slash(o->a) || ends_with_slash(o->b)))
        return true;
    /* ".." and "." as a name to remove, make or move. */
    return o->kind >= MKDIR && o->kind <= SYMLINK &&
           ((o->a && strstr(o->a, "/.") != NULL) || (o->b && strstr(o->b, "/.") != NULL) ||
            (o->a && strcmp(o->a, ".") == 0) || (o->b && strcmp(o->b, ".") == 0));
}

static const struct operation tree[] = {
    { .kind = OPEN, .a = "file", .flags = VFS_O_CREATE | VFS_O_WRITE },
    { .kind = WRITE, .a = "file", .text = "hello" },
    { .kind = MKDIR, .a = "empty" },
    { .kind = MKDIR, .a = "dir" },
    { .kind = MKDIR, .a = "dir/sub" },
    { .kind = OPEN, .a = "dir/in", .flags = VFS_O_CREATE | VFS_O_WRITE },
    { .kind = OPEN, .a = "dir/sub/deep", .flags = VFS_O_CREATE | VFS_O_WRITE },
    { .kind = LINK, .a = "file", .b = "twin" },
    { .kind = SYMLINK, .a = "file", .b = "to-file" },
    { .kind = SYMLINK, .a = "dir", .b = "to-dir" },
    { .kind = SYMLINK, .a = "../file", .b = "dir/up" },
    { .kind = SYMLINK, .a = "nowhere", .b = "dangling" },
    { .kind = SYMLINK, .a = "loop", .b = "loop" },
    { .kind = SYMLINK, .a = "to-dir/sub/", .b = "chain" },
};

static const char *const paths[] = {
    "file",
    "missing",
    "empty",
    "dir",
    "dir/in",
    "dir/sub",
    "dir/missing",
    "twin",
    "to-file",
    "to-dir",
    "dir/up",
    "dangling",
    "loop",
    "chain",
    "file/",
    "dir/",
    "missing/",
    "to-file/",
    "to-dir/",
    "dangling/",
    "empty/",
    "file/x",
    "missing/x",
    "to-dir/in",
    "to-dir/new",
    "chain/deep",
    "chain/..",
    "to-dir/../file",
    "chain/../in",
    "dir/.",
    "file/.",
    "dir/..",
    "file/..",
    ".",
    "loop/x",
    "dir//in",
    "./file",
    "missing/../file",
    "file/../dir",
    "dangling/x",
    "dangling/../file",
    "dir/sub/deep",
    "dir/up/",
    "empty/new",
    "chain/new",
    "chain/.",
};

struct three {
    struct fixture f;
    char host[64];
    int host_fd;
};

static void three_new(struct three *t)
{
    memset(t, 0, sizeof(*t));
    fixture_folder(&t->f);
    snprintf(t->host, sizeof(t->host), "/tmp/ambit-vfs-XXXXXX");
    CHECK(mkdtemp(t->host) != NULL);
    t->host_fd = open(t->host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture_rules(
        &t->f, "  - {fs: /w, from: {dir: @}, allow: rw}\n  - {fs: /m, from: memory, allow: rw}\n");
}

static void three_done(struct three *t)
{
    close(t->host_fd);
    folder_remove(t->host);
    fixture_done(&t->f);
}

/* Returns whether the host did it. */
static bool three_run(struct three *t, const struct operation *o)
{
    bool done;

    struct buf host = BUF_INIT(1 << 20), dir = BUF_INIT(1 << 20), memory = BUF_INIT(1 << 20);
    const char *text;

    run_host(t->host_fd, o, &host);
    run_vfs(&t->f, "w", o, &dir);
    run_vfs(&t->f, "m", o, &memory);
    text = buf_cstr(&host);
    if (!differs(o, text, buf_cstr(&dir)) && strcmp(text, buf_cstr(&dir)) != 0)
        test_fail(__FILE__, __LINE__, "%s %s %s flags %u: dir \"%s\", host \"%s\"",
                  kind_name(o->kind), o->a ? o->a : "", o->b ? o->b : "", o->flags, buf_cstr(&dir),
                  text);
    if (!differs(o, text, buf_cstr(&memory)) && strcmp(text, buf_cstr(&memory)) != 0)
        test_fail(__FILE__, __LINE__, "%s %s %s flags %u: memory \"%s\", host \"%s\"",
                  kind_name(o->kind), o->a ? o->a : "", o->b ? o->b : "", o->flags,
                  buf_cstr(&memory), text);
    done = atoi(text) == 0;
    buf_done(&host);
    buf_done(&dir);
    buf_done(&memory);
    return done;
}

static void three_tree(struct three *t)
{
    three_new(t);
    for (size_t i = 0; i < ARRAY_SIZE(tree); i++)
        CHECK(three_run(t, &tree[i]));
}

static void three_look(struct three *t)
{
    static const char *const look[] = { "file",    "empty",   "dir",  "dir/sub",
                                        "to-file", "missing", "twin", "nowhere" };

    for (size_t i = 0; i < ARRAY_SIZE(look); i++)
        three_run(t, &(struct operation){ .kind = LSTAT, .a = look[i] });
    three_run(t, &(struct operation){ .kind = LIST, .a = "." });
    three_run(t, &(struct operation){ .kind = LIST, .a = "dir" });
    three_run(t, &(struct operation){ .kind = LIST, .a = "empty" });
    three_run(t, &(struct operation){ .kind = READ, .a = "file" });
}

/* Operations in a row, each on a fresh tree: what failed changed nothing, so its tree serves the
 * next one. */
struct row {
    struct three t;
    bool standing;
};

static void row_run(struct row *row, const struct operation *o)
{
    struct fixture *f = &row->t.f;
    bool done;

    if (!row->standing)
        three_tree(&row->t);
    done = three_run(&row->t, o);
    three_look(&row->t);
    /* A link that was moved up may point outside: that is told, and the answer is the same. */
    if (f->denials != 0 && strcmp(f->denied_path, "/file") != 0)
        test_fail(__FILE__, __LINE__, "%s %s %s: denied %s %s", kind_name(o->kind),
                  o->a ? o->a : "", o->b ? o->b : "", f->denied_operation, f->denied_path);
    row->standing = !done;
    if (done)
        three_done(&row->t);
}

static void row_done(struct row *row)
{
    if (row->standing)
        three_done(&row->t);
}

/* Operations that change nothing can share a tree. */
static void looking(enum kind kind)
{
    struct three t;

    three_tree(&t);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        three_run(&t, &(struct operation){ .kind = kind, .a = paths[i] });
    three_done(&t);
}

TEST(stat)
{
    looking(STAT);
}
TEST(lstat)
{
    looking(LSTAT);
}
TEST(readlink)
{
    looking(READLINK);
}
TEST(list)
{
    looking(LIST);
}
TEST(read)
{
    looking(READ);
}

TEST(open_flags)
{
    static const uint32_t modes[] = { VFS_O_READ, VFS_O_WRITE, VFS_O_READ | VFS_O_WRITE };
    static const uint32_t extra[] = { 0,
                                      VFS_O_CREATE,
                                      VFS_O_CREATE | VFS_O_EXCLUSIVE,
                                      VFS_O_DIRECTORY,
                                      VFS_O_TRUNCATE,
                                      VFS_O_CREATE | VFS_O_TRUNCATE,
                                      VFS_O_CREATE | VFS_O_DIRECTORY };
    struct row row = { .standing = false };

    for (size_t m = 0; m < ARRAY_SIZE(modes); m++)
        for (size_t x = 0; x < ARRAY_SIZE(extra); x++)
            for (unsigned follow = 0; follow < 2; follow++) {
                uint32_t flags = modes[m] | extra[x] | (follow ? VFS_O_FOLLOW : 0);

                if ((flags & VFS_O_TRUNCATE) && !(flags & VFS_O_WRITE))
                    continue; /* INVALID here, undefined in POSIX */
                for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                    row_run(&row,
                            &(struct operation){ .kind = OPEN, .a = paths[i], .flags = flags });
            }
    row_done(&row);
}

TEST(names)
{
    struct row row = { .standing = false };

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        row_run(&row, &(struct operation){ .kind = MKDIR, .a = paths[i] });
        row_run(&row, &(struct operation){ .kind = RMDIR, .a = paths[i] });
        row_run(&row, &(struct operation){ .kind = UNLINK, .a = paths[i] });
        row_run(&row, &(struct operation){ .kind = SYMLINK, .a = "file", .b = paths[i] });
    }
    row_done(&row);
}

static void pairs(enum kind kind)
{
    struct row row = { .standing = false };

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        for (size_t k = 0; k < ARRAY_SIZE(paths); k++)
            row_run(&row, &(struct operation){ .kind = kind, .a = paths[i], .b = paths[k] });
    row_done(&row);
}

TEST(rename)
{
    pairs(RENAME);
}
TEST(link)
{
    pairs(LINK);
}

TEST_MAIN()
