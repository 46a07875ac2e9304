/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filesystem operations as data. The same operation runs on a vfs (below one of its folders) and on
 * the host itself; each gives a line of text, and equal lines are the test: Linux is the model of
 * POSIX here.
 */
#pragma once

#include "vfs_fixture.h"

enum kind {
    OPEN,
    STAT,
    LSTAT,
    MKDIR,
    RMDIR,
    UNLINK,
    RENAME,
    LINK,
    SYMLINK,
    READLINK,
    LIST,
    WRITE,
    READ,
    TRUNCATE,
    APPEND,
    KINDS
};

struct operation {
    enum kind kind;
    const char *a, *b; /* SYMLINK: b is made with target a */
    uint32_t flags;    /* OPEN */
    uint64_t offset;   /* WRITE, READ, TRUNCATE */
    const char *text;  /* WRITE, APPEND */
};

static inline const char *kind_name(enum kind k)
{
    static const char *const names[] = { "open",   "stat",   "lstat", "mkdir",    "rmdir",
                                         "unlink", "rename", "link",  "symlink",  "readlink",
                                         "list",   "write",  "read",  "truncate", "append" };
    return names[k];
}

static inline void put_stat(struct buf *out, enum vfs_type type, uint64_t links, uint64_t size)
{
    buf_printf(out, "type %d", (int)type);
    /* What a folder's size and links are differs between file systems. */
    if (type != VFS_TYPE_DIRECTORY)
        buf_printf(out, " links %llu size %llu", (unsigned long long)links,
                   (unsigned long long)size);
}

static inline int run_read(struct fixture *f, const char *path, const struct operation *o,
                           struct buf *out)
{
    char bytes[4096];
    struct vfs_file *file;
    size_t n;
    int r = do_open(f, path, VFS_O_READ | VFS_O_FOLLOW, &file);

    if (r != 0)
        return r;
    r = vfs_read(file, o->offset, bytes, sizeof(bytes), &n);
    if (r == 0) {
        buf_printf(out, "%zu bytes ", n);
        buf_append(out, bytes, n);
    }
    vfs_close(file);
    return r;
}

static inline int run_change(struct fixture *f, const char *path, const struct operation *o)
{
    struct vfs_file *file;
    size_t n;
    int r = do_open(f, path, VFS_O_WRITE | VFS_O_FOLLOW, &file);

    if (r != 0)
        return r;
    if (o->kind == WRITE)
        r = vfs_write(file, o->offset, o->text, strlen(o->text), &n);
    else if (o->kind == APPEND)
        r = vfs_append(file, o->text, strlen(o->text), &n);
    else
        r = vfs_set_size(file, o->offset);
    vfs_close(file);
    return r;
}

static inline int run_vfs_paths(struct fixture *f, const struct operation *o, const char *a,
                                const char *b, struct buf *out)
{
    struct vfs_stat st;
    struct vfs_file *file;
    int r;

    switch (o->kind) {
    case OPEN:
        r = do_open(f, a, o->flags, &file);
        if (r == 0) {
            buf_printf(out, "type %d", (int)vfs_file_type(file));
            vfs_close(file);
        }
        return r;
    case STAT:
    case LSTAT:
        r = do_stat(f, a, o->kind == STAT, &st);
        if (r == 0)
            put_stat(out, st.type, st.links, st.size);
        return r;
    case MKDIR:
        return do_mkdir(f, a);
    case RMDIR:
        return do_rmdir(f, a);
    case UNLINK:
        return do_unlink(f, a);
    case RENAME:
        return do_rename(f, a, b);
    case LINK:
        return do_link(f, a, b, false);
    case SYMLINK:
        return do_symlink(f, o->a, b);
    case READLINK:
        return vfs_readlink(f->root, a, strlen(a), out);
    case LIST:
        return do_list(f, a, out);
    case READ:
        return run_read(f, a, o, out);
    case WRITE:
    case TRUNCATE:
    case APPEND:
        return run_change(f, a, o);
    case KINDS:
        break;
    }
    return -1;
}

/* `below`: the folder in the guest's world that takes the place of the host's, "w" or "m". */
static inline void run_vfs(struct fixture *f, const char *below, const struct operation *o,
                           struct buf *out)
{
    static char a[3 * VFS_PATH_MAX], b[3 * VFS_PATH_MAX];
    struct buf text = BUF_INIT(1 << 20);
    int r;

    snprintf(a, sizeof(a), "%s/%s", below, o->a ? o->a : "");
    snprintf(b, sizeof(b), "%s/%s", below, o->b ? o->b : "");
    r = run_vfs_paths(f, o, a, b, &text);
    buf_printf(out, "%d ", r);
    if (r == 0)
        buf_append(out, buf_cstr(&text), text.size);
    buf_done(&text);
}

/* ---- the same on the host ---- */

static inline int host_result(long r)
{
    return r >= 0 ? 0 : vfs_error_of_errno(errno);
}

static inline enum vfs_type host_type(mode_t mode)
{
    return S_ISREG(mode) ? VFS_TYPE_REGULAR : S_ISDIR(mode) ? VFS_TYPE_DIRECTORY : VFS_TYPE_SYMLINK;
}

static inline int host_open(int at, const struct operation *o, struct buf *out)
{
    int flags = O_CLOEXEC, fd, r;
    struct stat st;

    flags |= o->flags & VFS_O_WRITE ? (o->flags & VFS_O_READ ? O_RDWR : O_WRONLY) : O_RDONLY;
    flags |= o->flags & VFS_O_CREATE ? O_CREAT : 0;
    flags |= o->flags & VFS_O_EXCLUSIVE ? O_EXCL : 0;
    flags |= o->flags & VFS_O_DIRECTORY ? O_DIRECTORY : 0;
    flags |= o->flags & VFS_O_TRUNCATE ? O_TRUNC : 0;
    flags |= o->flags & VFS_O_FOLLOW ? 0 : O_NOFOLLOW;
    fd = openat(at, o->a, flags, 0666);
    r = host_result(fd);
    if (fd >= 0) {
        fstat(fd, &st);
        buf_printf(out, "type %d", (int)host_type(st.st_mode));
        close(fd);
    }
    return r;
}

static inline int host_list(int at, const char *path, struct buf *out)
{
    struct dirent **entries;
    int n;

    n = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n < 0)
        return host_result(n);
    close(n);
    n = scandirat(at, path, &entries, NULL, NULL);
    if (n < 0)
        return host_result(n);
    /* Sorted as do_list sorts: with the slash. */
    for (int i = 0; i < n; i++)
        if (entries[i]->d_type == DT_DIR && strlen(entries[i]->d_name) < 255)
            strcat(entries[i]->d_name, "/");
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && strcmp(entries[k - 1]->d_name, entries[k]->d_name) > 0; k--) {
            struct dirent *swap = entries[k];
            entries[k] = entries[k - 1];
            entries[k - 1] = swap;
        }
    for (int i = 0; i < n; i++) {
        if (strcmp(entries[i]->d_name, "./") != 0 && strcmp(entries[i]->d_name, "../") != 0)
            buf_printf(out, "%s ", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static inline int host_file(int at, const struct operation *o, struct buf *out)
{
    char bytes[4096];
    int fd = openat(at, o->a,
                    (o->kind == READ ? O_RDONLY : O_WRONLY) | (o->kind == APPEND ? O_APPEND : 0) |
                        O_CLOEXEC),
        r;
    ssize_t n;

    if (fd < 0)
        return host_result(fd);
    switch (o->kind) {
    case READ:
        n = pread(fd, bytes, sizeof(bytes), (off_t)o->offset);
        r = host_result(n);
        if (r == 0) {
            buf_printf(out, "%zd bytes ", n);
            buf_append(out, bytes, (size_t)n);
        }
        break;
    case WRITE:
        r = host_result(pwrite(fd, o->text, strlen(o->text), (off_t)o->offset));
        break;
    case APPEND:
        r = host_result(write(fd, o->text, strlen(o->text)));
        break;
    default:
        r = host_result(ftruncate(fd, (off_t)o->offset));
        break;
    }
    close(fd);
    return r;
}

static inline int run_host_code(int at, const struct operation *o, struct buf *out)
{
    char target[VFS_PATH_MAX];
    struct stat st;
    ssize_t n;
    int r;

    switch (o->kind) {
    case OPEN:
        return host_open(at, o, out);
    case STAT:
    case LSTAT:
        r = host_result(fstatat(at, o->a, &st, o->kind == STAT ? 0 : AT_SYMLINK_NOFOLLOW));
        if (r == 0)
            put_stat(out, host_type(st.st_mode), st.st_nlink, (uint64_t)st.st_size);
        return r;
    case MKDIR:
        return host_result(mkdirat(at, o->a, 0777));
    case RMDIR:
        return host_result(unlinkat(at, o->a, AT_REMOVEDIR));
    case UNLINK:
        return host_result(unlinkat(at, o->a, 0));
    case RENAME:
        return host_result(renameat(at, o->a, at, o->b));
    case LINK:
        return host_result(linkat(at, o->a, at, o->b, 0));
    case SYMLINK:
        return host_result(symlinkat(o->a, at, o->b));
    case READLINK:
        n = readlinkat(at, o->a, target, sizeof(target));
        if (n >= 0)
            buf_append(out, target, (size_t)n);
        return host_result(n);
    case LIST:
        return host_list(at, o->a, out);
    case READ:
    case WRITE:
    case TRUNCATE:
    case APPEND:
        return host_file(at, o, out);
    case KINDS:
        break;
    }
    return -1;
}

static inline void run_host(int at, const struct operation *o, struct buf *out)
{
    struct buf text = BUF_INIT(1 << 20);
    int r = run_host_code(at, o, &text);

    buf_printf(out, "%d ", r);
    if (r == 0)
        buf_append(out, buf_cstr(&text), text.size);
    buf_done(&text);
}
