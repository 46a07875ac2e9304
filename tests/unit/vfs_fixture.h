/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of the filesystem: a vfs under rules written as YAML, what its audit heard, a
 * temporary folder, and operations as data that run on a vfs or, as the oracle, on the host itself.
 */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "grant/grant.h"
#include "test.h"
#include "worker/vfs/root.h"

struct fixture {
    char dir[64]; /* the host folder; "" = none */
    int dir_fd;
    struct grant_rules *rules;
    struct vfs *v;
    struct vfs_file *root;
    int64_t clock;
    unsigned denials;
    char denied_operation[32], denied_path[VFS_PATH_MAX + 1];
    uint32_t denied_verbs;
    enum grant_reason denied_reason;
    uint64_t bytes_read, bytes_written, uses;
};

static inline void fixture_denied(void *context, const char *operation, const char *guest,
                                  uint32_t verbs, struct grant_decision d)
{
    struct fixture *f = context;

    f->denials++;
    snprintf(f->denied_operation, sizeof(f->denied_operation), "%s", operation);
    snprintf(f->denied_path, sizeof(f->denied_path), "%s", guest);
    f->denied_verbs = d.missing;
    f->denied_reason = d.reason;
}

static inline void fixture_used(void *context, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
                                uint64_t bytes_written)
{
    struct fixture *f = context;

    f->uses++;
    f->bytes_read += bytes_read;
    f->bytes_written += bytes_written;
}

static inline int64_t fixture_now(void *context)
{
    struct fixture *f = context;

    return f->clock += 1000;
}

/* A temporary folder; what is in it goes when the process of the test's runner cleans /tmp, and
 * fixture_done removes it. */
static inline void fixture_folder(struct fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/ambit-vfs-XXXXXX");
    CHECK(mkdtemp(f->dir) != NULL);
    f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(f->dir_fd >= 0);
}

/* `grants`: the items below "grants:", with "@" where the temporary folder is meant. */
static inline int fixture_try(struct fixture *f, const char *grants, struct error *e)
{
    struct buf text = BUF_INIT(1 << 16);
    struct grant_set *set = NULL;
    struct vfs_audit audit = { f, fixture_denied, fixture_used };
    int fds[16], r;

    buf_puts(&text, "version: 1\ngrants:\n");
    for (; *grants; grants++)
        if (*grants == '@')
            buf_puts(&text, f->dir);
        else
            buf_putc(&text, *grants);
    r = buf_status(&text);
    if (r == 0)
        r = grant_set_parse("test", "/", buf_cstr(&text), text.size, &set, e);
    buf_done(&text);
    if (r == 0)
        r = grant_rules_new(set, "/", &f->rules, e);
    grant_set_free(set);
    if (r != 0)
        return r;
    for (size_t i = 0; i < grant_rules_mount_count(f->rules); i++) {
        const struct grant_mount *m = grant_rules_mount(f->rules, i);

        fds[i] = m->backing == GRANT_BACKING_DIR ? open(m->host, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                                 : -1;
    }
    r = vfs_new(f->rules, fds, &audit, fixture_now, f, &f->v, e);
    if (r == 0)
        r = vfs_root(f->v, &f->root) != 0 ? -ENOMEM : 0;
    return r;
}

static inline void fixture_rules(struct fixture *f, const char *grants)
{
    struct error e = ERROR_INIT;

    if (fixture_try(f, grants, &e) != 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
}

static inline int folder_remove_one(const char *path, const struct stat *st, int kind,
                                    struct FTW *at)
{
    return remove(path);
}

static inline void folder_remove(const char *path)
{
    CHECK(strncmp(path, "/tmp/ambit-vfs-", 15) == 0);
    CHECK(nftw(path, folder_remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0);
}

static inline void fixture_close(struct fixture *f)
{
    vfs_close(f->root);
    vfs_free(f->v);
    grant_rules_free(f->rules);
    f->root = NULL;
    f->v = NULL;
    f->rules = NULL;
}

static inline void fixture_done(struct fixture *f)
{
    fixture_close(f);
    if (f->dir[0]) {
        close(f->dir_fd);
        folder_remove(f->dir);
    }
}

static inline int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* ---- short forms: paths are strings relative to "/" ---- */

static inline int do_open(struct fixture *f, const char *path, uint32_t flags,
                          struct vfs_file **ret)
{
    return vfs_open(f->root, path, strlen(path), flags, ret);
}

/* Opens and closes. */
static inline int try_open(struct fixture *f, const char *path, uint32_t flags)
{
    struct vfs_file *file;
    int r = do_open(f, path, flags, &file);

    if (r == 0)
        vfs_close(file);
    return r;
}

static inline int do_stat(struct fixture *f, const char *path, bool follow, struct vfs_stat *ret)
{
    return vfs_stat_at(f->root, path, strlen(path), follow, ret);
}

static inline int try_stat(struct fixture *f, const char *path)
{
    struct vfs_stat st;

    return do_stat(f, path, true, &st);
}

static inline int do_mkdir(struct fixture *f, const char *path)
{
    return vfs_mkdir(f->root, path, strlen(path));
}
static inline int do_rmdir(struct fixture *f, const char *path)
{
    return vfs_rmdir(f->root, path, strlen(path));
}
static inline int do_unlink(struct fixture *f, const char *path)
{
    return vfs_unlink(f->root, path, strlen(path));
}

static inline int do_rename(struct fixture *f, const char *a, const char *b)
{
    return vfs_rename(f->root, a, strlen(a), f->root, b, strlen(b));
}

static inline int do_link(struct fixture *f, const char *a, const char *b, bool follow)
{
    return vfs_link(f->root, follow, a, strlen(a), f->root, b, strlen(b));
}

static inline int do_symlink(struct fixture *f, const char *target, const char *path)
{
    return vfs_symlink(f->root, target, strlen(target), path, strlen(path));
}

/* Writes a whole file, made if need be. */
static inline int do_put(struct fixture *f, const char *path, const char *text)
{
    struct vfs_file *file;
    size_t n = 0;
    int r = do_open(f, path, VFS_O_WRITE | VFS_O_CREATE | VFS_O_TRUNCATE | VFS_O_FOLLOW, &file);

    if (r != 0)
        return r;
    r = vfs_write(file, 0, text, strlen(text), &n);
    vfs_close(file);
    return r != 0 ? r : n == strlen(text) ? 0 : -1;
}

/* Reads up to 255 bytes into a static text. */
static inline int do_get(struct fixture *f, const char *path, const char **ret)
{
    static char text[256];
    struct vfs_file *file;
    size_t n = 0;
    int r = do_open(f, path, VFS_O_READ | VFS_O_FOLLOW, &file);

    if (r != 0)
        return r;
    r = vfs_read(file, 0, text, sizeof(text) - 1, &n);
    text[n] = '\0';
    vfs_close(file);
    *ret = text;
    return r;
}

/* The names in a folder, sorted, each followed by a space and folders by a slash before it; or the
 * error. */
static inline int do_list(struct fixture *f, const char *path, struct buf *ret)
{
    struct vfs_file *file;
    struct vfs_listing *l;
    char *names[4096];
    size_t count = 0, size;
    enum vfs_type type;
    const char *name;
    int r = do_open(f, path, VFS_O_DIRECTORY | VFS_O_FOLLOW, &file);

    if (r != 0)
        return r;
    r = vfs_list(file, &l);
    vfs_close(file);
    if (r != 0)
        return r;
    while ((r = vfs_listing_next(l, &type, &name, &size)) == 0) {
        char *copy = mem_printf("%.*s%s", (int)size, name, type == VFS_TYPE_DIRECTORY ? "/" : "");
        size_t at = count++;

        CHECK(count <= ARRAY_SIZE(names));
        for (; at > 0 && strcmp(names[at - 1], copy) > 0; at--)
            names[at] = names[at - 1];
        names[at] = copy;
    }
    vfs_listing_close(l);
    for (size_t i = 0; i < count; i++) {
        buf_printf(ret, "%s ", names[i]);
        mem_free(names[i]);
    }
    return r == 1 ? 0 : r;
}

/* On the host, beside the vfs. */
static inline void host_put(struct fixture *f, const char *path, const char *text)
{
    int fd = openat(f->dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static inline void host_mkdir(struct fixture *f, const char *path)
{
    CHECK(mkdirat(f->dir_fd, path, 0777) == 0);
}

static inline void host_symlink(struct fixture *f, const char *target, const char *path)
{
    CHECK(symlinkat(target, f->dir_fd, path) == 0);
}
