/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backing: a folder of the host.
 *
 * Model. Every path is opened with openat2 under one descriptor with RESOLVE_BENEATH (never above
 * it), RESOLVE_NO_SYMLINKS (so what is opened is the very path that was matched, swap or no swap),
 * RESOLVE_NO_MAGICLINKS and RESOLVE_NO_XDEV (not into another file system or bind mount, so neither
 * into procfs nor anything else mounted there). One call for the whole path; only when it says
 * ELOOP is the path walked name by name to find the link, which walk.c then expands.
 *
 * Invariants.
 *  - Only regular files are opened, and folders for listing. A name is first opened with O_PATH,
 *    which wakes nobody up: opening a device can rewind a tape or arm a watchdog, opening a FIFO
 *    lets its other end go on. Then it is opened in earnest, with O_NONBLOCK because a FIFO or a
 *    leased file may have come in between and the host must not wait for it, and O_NOCTTY for a
 *    terminal, and what was opened is looked at again before anybody uses it. (A device swapped in
 *    between by somebody who can rename devices in the granted folder would be opened and closed; a
 *    guest cannot make or move one.)
 *  - Names are made, removed and moved relative to a descriptor of their folder, opened the same
 *    way; those system calls do not follow the last name.
 *  - A file that is setuid or setgid is not opened for writing: its bits must not end up on bytes
 *    that a guest chose.
 *  - A folder whose rules never write is never written, whatever the layers above decide.
 *
 * Times of change come from the host's clock, as it writes them.
 */
#include "worker/vfs/backing.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* Tests weaken this to show that each flag is what stops its attack. */
#ifndef DIR_RESOLVE
#define DIR_RESOLVE \
    (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
#endif

#ifdef AMBIT_TEST_HOOKS
#define DIR_LEFT_OPEN(what) (vfs_dir_left_open.what)
#else
#define DIR_LEFT_OPEN(what) false
#endif

#define DIR_ATTEMPTS 64 /* a host that swaps names while we look */
#define DIR_MODE_FILE 0666
#define DIR_MODE_FOLDER 0777

struct dir {
    struct vfs_backing base;
    int fd;
    bool writable;
};

static struct dir *dir_of(struct vfs_backing *b)
{
    return (struct dir *)b;
}

/* ---- reaching a path ---- */

/* A descriptor, or −errno. "" is the folder `at` itself. */
static int dir_openat(int at, const char *path, uint64_t flags, uint64_t mode)
{
    struct open_how how = { .flags = flags | O_CLOEXEC,
                            .mode = mode,
                            .resolve = DIR_LEFT_OPEN(walk) ? 0 : DIR_RESOLVE };
    long fd;

    do
        fd = syscall(SYS_openat2, at, path[0] ? path : ".", &how, sizeof(how));
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : (int)fd;
}

static int dir_error(int errno_value)
{
    return errno_value == EXDEV ? VFS_CROSSES_MOUNT : vfs_error_of_errno(errno_value);
}

static int dir_read_link(int fd, struct vfs_symlink *link)
{
    ssize_t n = readlinkat(fd, "", link->target, sizeof(link->target));

    if (n < 0)
        return vfs_error_of_errno(errno);
    if ((size_t)n >= sizeof(link->target))
        return VFS_NAME_TOO_LONG;
    link->size = (size_t)n;
    return 0;
}

/* Of what `fd` (O_PATH) is: 0, or VFS_SYMLINK with its target. */
static int dir_check_link(int fd, unsigned which, size_t prefix, struct vfs_symlink *link)
{
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return vfs_error_of_errno(errno);
    if (!S_ISLNK(st.st_mode))
        return 0;
    r = dir_read_link(fd, link);
    if (r != 0)
        return r;
    link->which = which;
    link->prefix = prefix;
    return VFS_SYMLINK;
}

/* Name by name, until a link: VFS_SYMLINK, an error, or 0 when there is none (any more). */
static int dir_find_link(struct dir *d, struct vfs_path path, unsigned which,
                         struct vfs_symlink *link)
{
    int at CLEANUP(fd_closep) = -1;
    size_t start = 0, end;
    int next, r;

    for (; start < path.size; start = end + 1) {
        const char *slash = memchr(path.text + start, '/', path.size - start);
        char name[VFS_NAME_MAX + 1] VFS_SCRATCH;

        end = slash ? (size_t)(slash - path.text) : path.size;
        if (end - start > VFS_NAME_MAX)
            return VFS_NAME_TOO_LONG;
        memcpy(name, path.text + start, end - start);
        name[end - start] = '\0';
        next = dir_openat(at < 0 ? d->fd : at, name, O_PATH | O_NOFOLLOW, 0);
        if (next < 0)
            return dir_error(-next);
        fd_close(at);
        at = next;
        r = dir_check_link(at, which, end, link);
        if (r != 0)
            return r;
    }
    return 0;
}

/* What to do after openat2 failed with `errno_value`: 0 = try again, else the answer. */
static int dir_failed(struct dir *d, struct vfs_path path, unsigned which, int errno_value,
                      struct vfs_symlink *link)
{
    return errno_value == ELOOP ? dir_find_link(d, path, which, link) : dir_error(errno_value);
}

/* An O_PATH descriptor of exactly `path`; `follow` decides only whether a link as the last name is
 * in the way. */
static int dir_reach(struct dir *d, struct vfs_path path, bool follow, int *ret_fd,
                     struct stat *ret_st, struct vfs_symlink *link)
{
    int fd, r;

    for (int i = 0; i < DIR_ATTEMPTS; i++) {
        fd = dir_openat(d->fd, path.text, O_PATH | O_NOFOLLOW, 0);
        if (fd < 0) {
            r = dir_failed(d, path, 0, -fd, link);
            if (r != 0)
                return r;
            continue;
        }
        if (fstat(fd, ret_st) < 0)
            r = vfs_error_of_errno(errno);
        else
            r = follow && S_ISLNK(ret_st->st_mode) ? dir_check_link(fd, 0, path.size, link) : 0;
        if (r != 0) {
            fd_close(fd);
            return r;
        }
        *ret_fd = fd;
        return 0;
    }
    return VFS_LOOP;
}

/* The folder that holds the last name. `buffer` is the caller's, VFS_PATH_MAX long; only what is
 * used of it is touched. */
static int dir_parent(struct dir *d, struct vfs_path path, unsigned which, char *buffer,
                      int *ret_fd, const char **ret_name, struct vfs_symlink *link)
{
    struct vfs_path parent = { buffer, 0 };
    size_t name_size;
    int fd, r;

    if (path.size == 0)
        return VFS_BUSY;
    parent.size = vfs_path_parent(path, ret_name, &name_size);
    memcpy(buffer, path.text, parent.size);
    buffer[parent.size] = '\0';
    for (int i = 0; i < DIR_ATTEMPTS; i++) {
        fd = dir_openat(d->fd, parent.text, O_PATH | O_DIRECTORY, 0);
        if (fd >= 0) {
            *ret_fd = fd;
            return 0;
        }
        r = dir_failed(d, parent, which, -fd, link);
        if (r != 0)
            return r;
    }
    return VFS_LOOP;
}

/* ---- asking ---- */

static int64_t dir_ns(struct timespec t)
{
    int64_t ns;

    if (__builtin_mul_overflow((int64_t)t.tv_sec, (int64_t)NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)t.tv_nsec, &ns))
        return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static struct timespec dir_timespec(int64_t ns)
{
    int64_t s = ns / (int64_t)NS_PER_S, left = ns % (int64_t)NS_PER_S;

    if (left < 0)
        s--, left += (int64_t)NS_PER_S;
    return (struct timespec){ .tv_sec = s, .tv_nsec = left };
}

static enum vfs_type dir_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return VFS_TYPE_REGULAR;
    case S_IFDIR:
        return VFS_TYPE_DIRECTORY;
    case S_IFLNK:
        return VFS_TYPE_SYMLINK;
    case S_IFBLK:
        return VFS_TYPE_BLOCK;
    case S_IFCHR:
        return VFS_TYPE_CHARACTER;
    case S_IFIFO:
        return VFS_TYPE_FIFO;
    case S_IFSOCK:
        return VFS_TYPE_SOCKET;
    default:
        return VFS_TYPE_UNKNOWN;
    }
}

static void dir_stat_of(const struct stat *st, struct vfs_stat *ret)
{
    *ret = (struct vfs_stat){
        .type = dir_type(st->st_mode),
        .links = st->st_nlink,
        .size = (uint64_t)st->st_size,
        .accessed_ns = dir_ns(st->st_atim),
        .modified_ns = dir_ns(st->st_mtim),
        .changed_ns = dir_ns(st->st_ctim),
        .identity = { st->st_dev, st->st_ino },
    };
}

static int dir_stat(struct vfs_backing *b, struct vfs_path path, bool follow, struct vfs_stat *ret,
                    struct vfs_symlink *link)
{
    struct stat st;
    int fd, r = dir_reach(dir_of(b), path, follow, &fd, &st, link);

    if (r != 0)
        return r;
    fd_close(fd);
    dir_stat_of(&st, ret);
    return 0;
}

static int dir_readlink(struct vfs_backing *b, struct vfs_path path, struct buf *ret_target,
                        struct vfs_symlink *link)
{
    struct stat st;
    int fd, r = dir_reach(dir_of(b), path, false, &fd, &st, link);

    if (r != 0)
        return r;
    r = S_ISLNK(st.st_mode) ? dir_read_link(fd, link) : VFS_INVALID;
    fd_close(fd);
    if (r != 0)
        return r;
    buf_append(ret_target, link->target, link->size);
    return buf_status(ret_target) == 0 ? 0 : VFS_INSUFFICIENT_MEMORY;
}

/* ---- opening ---- */

static uint64_t open_host_flags(uint32_t flags)
{
    uint64_t host = O_NONBLOCK | O_NOCTTY | O_NOFOLLOW;

    if ((flags & VFS_O_READ) && (flags & VFS_O_WRITE))
        host |= O_RDWR;
    else
        host |= flags & VFS_O_WRITE ? O_WRONLY : O_RDONLY;
    return flags & VFS_O_SYNC ? host | O_SYNC : host;
}

/* What was opened in earnest: still a regular file, and one that may be written if it is to be. */
static int open_check(int fd, uint32_t flags)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return vfs_error_of_errno(errno);
    if (DIR_LEFT_OPEN(kind))
        return 0;
    if (!S_ISREG(st.st_mode))
        return VFS_NOT_REGULAR;
    if ((flags & VFS_O_WRITE) && (st.st_mode & (S_ISUID | S_ISGID)))
        return VFS_NOT_PERMITTED;
    if ((flags & VFS_O_TRUNCATE) && st.st_size != 0 && ftruncate(fd, 0) < 0)
        return vfs_error_of_errno(errno);
    return 0;
}

/* 0, an answer, or −EAGAIN when the name changed under us. */
static int open_existing(struct dir *d, struct vfs_path path, uint32_t flags,
                         struct vfs_opened *ret, struct vfs_symlink *link)
{
    struct stat st;
    int fd, r = dir_reach(d, path, true, &fd, &st, link);

    if (r != 0)
        return r;
    if (S_ISREG(st.st_mode) && !(flags & (VFS_O_READ | VFS_O_WRITE | VFS_O_DIRECTORY))) {
        *ret = (struct vfs_opened){ .type = VFS_TYPE_REGULAR, .handle.fd = fd };
        return 0;
    }
    fd_close(fd);
    if (S_ISDIR(st.st_mode)) {
        *ret = (struct vfs_opened){ .type = VFS_TYPE_DIRECTORY };
        return flags & (VFS_O_WRITE | VFS_O_CREATE) ? VFS_IS_DIRECTORY : 0;
    }
    if (flags & VFS_O_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    if (!S_ISREG(st.st_mode) && !DIR_LEFT_OPEN(kind))
        return VFS_NOT_REGULAR;
    fd = dir_openat(d->fd, path.text, open_host_flags(flags), 0);
    if (fd == -ELOOP || fd == -ENOENT)
        return -EAGAIN;
    if (fd < 0)
        return fd == -ENXIO ? VFS_NOT_REGULAR : dir_error(-fd);
    r = open_check(fd, flags);
    if (r != 0) {
        fd_close(fd);
        return r;
    }
    *ret = (struct vfs_opened){ .type = VFS_TYPE_REGULAR, .handle.fd = fd };
    return 0;
}

/* O_EXCL: what comes back was made just now, so it is a regular file of ours. */
static int open_new(struct dir *d, struct vfs_path path, uint32_t flags, struct vfs_opened *ret,
                    struct vfs_symlink *link)
{
    int fd = dir_openat(d->fd, path.text, open_host_flags(flags) | O_CREAT | O_EXCL, DIR_MODE_FILE);

    if (fd == -EEXIST && !(flags & VFS_O_EXCLUSIVE))
        return -EAGAIN;
    if (fd == -ELOOP) {
        int r = dir_find_link(d, path, 0, link);

        return r == 0 ? -EAGAIN : r;
    }
    if (fd < 0)
        return dir_error(-fd);
    *ret = (struct vfs_opened){ .type = VFS_TYPE_REGULAR, .created = true, .handle.fd = fd };
    return 0;
}

static int dir_open(struct vfs_backing *b, struct vfs_path path, uint32_t flags,
                    struct vfs_opened *ret, struct vfs_symlink *link)
{
    struct dir *d = dir_of(b);
    int r;

    if (!d->writable && (flags & (VFS_O_WRITE | VFS_O_CREATE | VFS_O_TRUNCATE)))
        return VFS_READ_ONLY;
    for (int i = 0; i < DIR_ATTEMPTS; i++) {
        r = flags & VFS_O_EXCLUSIVE ? VFS_NO_ENTRY : open_existing(d, path, flags, ret, link);
        if (r == VFS_NO_ENTRY && (flags & VFS_O_CREATE))
            r = open_new(d, path, flags, ret, link);
        if (r != -EAGAIN)
            return r;
    }
    return VFS_BUSY;
}

/* ---- through a handle ---- */

static void dir_close(struct vfs_backing *b, union vfs_handle h)
{
    fd_close(h.fd);
}

static int dir_file_stat(struct vfs_backing *b, union vfs_handle h, struct vfs_stat *ret)
{
    struct stat st;

    if (fstat(h.fd, &st) < 0)
        return vfs_error_of_errno(errno);
    dir_stat_of(&st, ret);
    return 0;
}

static int dir_utimens(int fd, const struct vfs_times *t)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

    if (t->accessed == VFS_TIME_SET)
        times[0] = dir_timespec(t->accessed_ns);
    if (t->modified == VFS_TIME_SET)
        times[1] = dir_timespec(t->modified_ns);
    return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? vfs_error_of_errno(errno) : 0;
}

static int dir_file_set_times(struct vfs_backing *b, union vfs_handle h, const struct vfs_times *t)
{
    return dir_of(b)->writable ? dir_utimens(h.fd, t) : VFS_READ_ONLY;
}

static int dir_set_times_at(struct vfs_backing *b, struct vfs_path path, bool follow,
                            const struct vfs_times *t, struct vfs_symlink *link)
{
    struct stat st;
    int fd, r;

    if (!dir_of(b)->writable)
        return VFS_READ_ONLY;
    r = dir_reach(dir_of(b), path, follow, &fd, &st, link);
    if (r != 0)
        return r;
    r = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode) ? dir_utimens(fd, t)
                                                                          : VFS_NOT_REGULAR;
    fd_close(fd);
    return r;
}

static int dir_read(struct vfs_backing *b, union vfs_handle h, uint64_t offset, void *into,
                    size_t size, size_t *ret_size)
{
    ssize_t n;

    do
        n = pread(h.fd, into, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return vfs_error_of_errno(errno);
    *ret_size = (size_t)n;
    return 0;
}

static int dir_write(struct vfs_backing *b, union vfs_handle h, uint64_t offset, const void *bytes,
                     size_t size, size_t *ret_size)
{
    struct iovec vector = { .iov_base = (void *)bytes, .iov_len = size };
    ssize_t n;

    if (!dir_of(b)->writable)
        return VFS_READ_ONLY;
    do
        n = offset == VFS_APPEND ? pwritev2(h.fd, &vector, 1, 0, RWF_APPEND)
                                 : pwrite(h.fd, bytes, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return vfs_error_of_errno(errno);
    *ret_size = (size_t)n;
    return 0;
}

static int dir_set_size(struct vfs_backing *b, union vfs_handle h, uint64_t size)
{
    if (!dir_of(b)->writable)
        return VFS_READ_ONLY;
    if (ftruncate(h.fd, (off_t)size) == 0)
        return 0;
    return errno == EINVAL ? VFS_FILE_TOO_LARGE : vfs_error_of_errno(errno);
}

/* An O_PATH handle has nothing to make durable. */
static int dir_sync(struct vfs_backing *b, union vfs_handle h, bool data_only)
{
    int r = data_only ? fdatasync(h.fd) : fsync(h.fd);

    return r == 0 || errno == EBADF || errno == EROFS ? 0 : vfs_error_of_errno(errno);
}

/* ---- names ---- */

static int dir_mkdir(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link)
{
    char buffer[VFS_PATH_MAX] VFS_SCRATCH;
    const char *name;
    int parent, r;

    if (!dir_of(b)->writable)
        return VFS_READ_ONLY;
    r = dir_parent(dir_of(b), path, 0, buffer, &parent, &name, link);
    if (r != 0)
        return r == VFS_BUSY ? VFS_EXIST : r;
    r = mkdirat(parent, name, DIR_MODE_FOLDER) < 0 ? vfs_error_of_errno(errno) : 0;
    fd_close(parent);
    return r;
}

static int dir_remove(struct vfs_backing *b, struct vfs_path path, int flags,
                      struct vfs_symlink *link)
{
    char buffer[VFS_PATH_MAX] VFS_SCRATCH;
    const char *name;
    int parent, r;

    if (!dir_of(b)->writable)
        return VFS_READ_ONLY;
    r = dir_parent(dir_of(b), path, 0, buffer, &parent, &name, link);
    if (r != 0)
        return r;
    r = unlinkat(parent, name, flags) < 0 ? vfs_error_of_errno(errno) : 0;
    fd_close(parent);
    return r;
}

static int dir_rmdir(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link)
{
    int r = dir_remove(b, path, AT_REMOVEDIR, link);

    return r == VFS_EXIST ? VFS_NOT_EMPTY : r;
}

static int dir_unlink(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link)
{
    return dir_remove(b, path, 0, link);
}

/* Both parents, then one system call on their last names. */
static int dir_pair(struct dir *d, struct vfs_path from, struct vfs_path to,
                    int (*act)(int, const char *, int, const char *), struct vfs_symlink *link)
{
    char buffer[VFS_PATH_MAX] VFS_SCRATCH;
    int from_parent CLEANUP(fd_closep) = -1;
    int to_parent CLEANUP(fd_closep) = -1;
    const char *from_name, *to_name;
    int r;

    if (!d->writable)
        return VFS_READ_ONLY;
    r = dir_parent(d, from, 0, buffer, &from_parent, &from_name, link);
    if (r == 0)
        r = dir_parent(d, to, 1, buffer, &to_parent, &to_name, link);
    if (r != 0)
        return r;
    if (act(from_parent, from_name, to_parent, to_name) == 0)
        return 0;
    return vfs_error_of_errno(errno);
}

static int link_names(int from, const char *from_name, int to, const char *to_name)
{
    return linkat(from, from_name, to, to_name, 0);
}

static int dir_rename(struct vfs_backing *b, struct vfs_path from, struct vfs_path to,
                      struct vfs_symlink *link)
{
    int r = dir_pair(dir_of(b), from, to, renameat, link);

    return r == VFS_EXIST ? VFS_NOT_EMPTY : r;
}

static int dir_link(struct vfs_backing *b, struct vfs_path from, struct vfs_path to,
                    struct vfs_symlink *link)
{
    return dir_pair(dir_of(b), from, to, link_names, link);
}

static int dir_symlink(struct vfs_backing *b, const char *target, struct vfs_path path,
                       struct vfs_symlink *link)
{
    char buffer[VFS_PATH_MAX] VFS_SCRATCH;
    const char *name;
    int parent, r;

    if (!dir_of(b)->writable)
        return VFS_READ_ONLY;
    r = dir_parent(dir_of(b), path, 0, buffer, &parent, &name, link);
    if (r != 0)
        return r == VFS_BUSY ? VFS_EXIST : r;
    r = symlinkat(target, parent, name) < 0 ? vfs_error_of_errno(errno) : 0;
    fd_close(parent);
    return r;
}

/* ---- listing ---- */

struct dir_listing {
    int fd;
    size_t at, size;
    _Alignas(struct dirent64) char buffer[32 * 1024];
};

static int dir_list(struct vfs_backing *b, struct vfs_path path, void **ret_listing,
                    struct vfs_symlink *link)
{
    struct dir *d = dir_of(b);
    struct dir_listing *l;
    int fd = -ELOOP, r;

    for (int i = 0; fd == -ELOOP && i < DIR_ATTEMPTS; i++) {
        fd = dir_openat(d->fd, path.text, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0);
        if (fd < 0) {
            r = dir_failed(d, path, 0, -fd, link);
            if (r != 0)
                return r;
        }
    }
    if (fd < 0)
        return VFS_LOOP;
    l = mem_alloc(sizeof(*l));
    if (l == NULL) {
        fd_close(fd);
        return VFS_INSUFFICIENT_MEMORY;
    }
    l->fd = fd;
    l->at = l->size = 0;
    *ret_listing = l;
    return 0;
}

static enum vfs_type listing_type(int fd, const struct dirent64 *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return dir_type(DTTOIF(entry->d_type));
    return fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? VFS_TYPE_UNKNOWN
                                                                    : dir_type(st.st_mode);
}

static int dir_listing_next(struct vfs_backing *b, void *listing, enum vfs_type *ret_type,
                            const char **ret_name, size_t *ret_size)
{
    struct dir_listing *l = listing;
    const struct dirent64 *entry;
    long n;

    for (;;) {
        if (l->at == l->size) {
            n = syscall(SYS_getdents64, l->fd, l->buffer, sizeof(l->buffer));
            if (n < 0 && errno != ENOENT)
                return -errno;
            if (n <= 0)
                return 1;
            l->at = 0;
            l->size = (size_t)n;
        }
        entry = (const struct dirent64 *)(l->buffer + l->at);
        l->at += entry->d_reclen;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        *ret_type = listing_type(l->fd, entry);
        *ret_name = entry->d_name;
        *ret_size = strlen(entry->d_name);
        return 0;
    }
}

static void dir_listing_close(struct vfs_backing *b, void *listing)
{
    struct dir_listing *l = listing;

    fd_close(l->fd);
    mem_free(l);
}

/* ---- making ---- */

/* Folders that are windows into the kernel are not folders of files. devtmpfs calls itself tmpfs,
 * so it is known by /dev/null. */
static int dir_refuse_kernel(int fd, struct error *e)
{
    static const uint32_t magics[] = {
        PROC_SUPER_MAGIC,    SYSFS_MAGIC,      DEVPTS_SUPER_MAGIC, CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC, DEBUGFS_MAGIC,      TRACEFS_MAGIC,
        BPF_FS_MAGIC,        PSTOREFS_MAGIC,   EFIVARFS_MAGIC,     NSFS_MAGIC,
        SELINUX_MAGIC,       SMACK_MAGIC,      BINFMTFS_MAGIC,
    };
    struct statfs fs;
    struct stat st;

    if (fstatfs(fd, &fs) < 0)
        return error_set_errno(e, errno, "cannot ask for the file system of the folder");
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
        if ((uint32_t)fs.f_type == magics[i])
            return error_set(
                e, -EPERM,
                "the folder belongs to the kernel (procfs, sysfs, cgroups and the like)");
    if (fstatat(fd, "null", &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 &&
        S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
        return error_set(e, -EPERM, "the folder holds devices");
    return 0;
}

static int dir_check(int fd, struct error *e)
{
    struct stat st;
    int probe;

    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "no folder");
    if (!S_ISDIR(st.st_mode))
        return error_set(e, -ENOTDIR, "not a folder");
    probe = dir_openat(fd, "", O_PATH | O_DIRECTORY, 0);
    if (probe < 0)
        return error_set_errno(e, -probe, "openat2 does not work here");
    fd_close(probe);
    return dir_refuse_kernel(fd, e);
}

static void dir_free(struct vfs_backing *b)
{
    fd_close(dir_of(b)->fd);
    mem_free(b);
}

static const struct vfs_backing_ops dir_ops = {
    .free = dir_free,
    .stat = dir_stat,
    .open = dir_open,
    .set_times_at = dir_set_times_at,
    .mkdir = dir_mkdir,
    .rmdir = dir_rmdir,
    .unlink = dir_unlink,
    .rename = dir_rename,
    .link = dir_link,
    .symlink = dir_symlink,
    .readlink = dir_readlink,
    .list = dir_list,
    .close = dir_close,
    .file_stat = dir_file_stat,
    .file_set_times = dir_file_set_times,
    .read = dir_read,
    .write = dir_write,
    .set_size = dir_set_size,
    .sync = dir_sync,
    .listing_next = dir_listing_next,
    .listing_close = dir_listing_close,
};

int vfs_dir_new(int fd, bool writable, struct vfs_backing **ret, struct error *e)
{
    int own CLEANUP(fd_closep) = fd;
    struct dir *d;
    int r = dir_check(own, e);

    if (r < 0)
        return r;
    d = mem_zalloc(sizeof(*d));
    if (d == NULL)
        return error_set(e, -ENOMEM, "no memory for a mount");
    d->base.ops = &dir_ops;
    d->fd = fd_take(&own);
    d->writable = writable;
    *ret = &d->base;
    return 0;
}
