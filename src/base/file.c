/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own files: state, cache, grant files, receipts. Every open is O_CLOEXEC; every read has a
 * maximum; every write that somebody reads later is a new file renamed over the old one.
 */
#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"

#define READ_CHUNK (64u << 10)

int file_read_fd(int fd, struct buf *out, struct error *e)
{
    CLEANUP(mem_freep) uint8_t *chunk = mem_alloc(READ_CHUNK);
    if (!chunk)
        return error_set(e, -ENOMEM, "no memory");
    for (;;) {
        ssize_t got = read(fd, chunk, READ_CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, errno, "cannot read");
        if (got == 0)
            return 0;
        buf_append(out, chunk, (size_t)got);
        int status = buf_status(out);
        if (status == -EMSGSIZE)
            return error_set(e, -EFBIG, "larger than the %zu bytes that are read", out->max);
        if (status < 0)
            return error_set(e, status, "no memory");
    }
}

int file_read(const char *path, struct buf *out, struct error *e)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(e, errno, "cannot open %s", path);
    int result = file_read_fd(fd, out, e);
    if (result < 0)
        error_prefix(e, "%s", path);
    return result;
}

int file_read_regular(const char *path, struct buf *out, struct error *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(e, -EINVAL, "%s is not a regular file", path);
    int result = file_read_fd(fd, out, e);
    if (result < 0)
        error_prefix(e, "%s", path);
    return result;
}

int file_write_fd(int fd, const void *bytes, size_t size, struct error *e)
{
    const uint8_t *at = bytes;
    while (size) {
        ssize_t put = write(fd, at, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_set_errno(e, errno, "cannot write");
        at += put;
        size -= (size_t)put;
    }
    return 0;
}

static int write_whole(int fd, const void *bytes, size_t size, unsigned mode, struct error *e)
{
    int result = file_write_fd(fd, bytes, size, e);
    if (result < 0)
        return result;
    /* The mode given to openat() passes through the umask; this one does not. */
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return error_set_errno(e, errno, "cannot write");
    return 0;
}

int file_write_atomic(int dir_fd, const char *name, const void *bytes, size_t size, unsigned mode,
                      struct error *e)
{
    uint64_t nonce;
    int result = random_bytes(&nonce, sizeof nonce);
    if (result < 0)
        return error_set_errno(e, -result, "cannot write %s", name);
    CLEANUP(mem_freep) char *temporary = mem_printf(".tmp-%016llx", (unsigned long long)nonce);
    if (!temporary)
        return error_set(e, -ENOMEM, "no memory");
    CLEANUP(fd_closep)
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(e, errno, "cannot write %s", name);
    result = write_whole(fd, bytes, size, mode, e);
    if (result == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
        result = error_set_errno(e, errno, "cannot rename");
    if (result < 0) {
        unlinkat(dir_fd, temporary, 0);
        error_prefix(e, "%s", name);
    }
    return result;
}

int file_memfd(const char *name, const void *bytes, size_t size, bool seal, struct error *e)
{
    CLEANUP(fd_closep) int fd = memfd_create(name, MFD_CLOEXEC | (seal ? MFD_ALLOW_SEALING : 0));
    if (fd < 0)
        return error_set_errno(e, errno, "cannot make a memory file");
    int result = file_write_fd(fd, bytes, size, e);
    if (result < 0)
        return result;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_set_errno(e, errno, "cannot rewind a memory file");
    if (seal &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return error_set_errno(e, errno, "cannot seal a memory file");
    return fd_take(&fd);
}

/* One name of a path on; a link only where this user cannot have made it. The folder, or -errno. */
static int step_unlinked(int folder, const char *name)
{
    struct stat st;
    CLEANUP(fd_closep) int next = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0 || fstat(next, &st) < 0)
        return -errno;
    if (!S_ISLNK(st.st_mode))
        return fd_take(&next);
    if (faccessat(folder, ".", W_OK, AT_EACCESS) == 0)
        return -ELOOP;
    int target = openat(folder, name, O_PATH | O_CLOEXEC);
    return target < 0 ? -errno : target;
}

int file_open_dir_unlinked(const char *path, size_t *ret_link)
{
    CLEANUP(fd_closep) int fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (const char *at = path + strspn(path, "/"); *at != '\0'; at += strspn(at, "/")) {
        char name[NAME_MAX + 1];
        size_t size = strcspn(at, "/");
        if (size > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, at, size);
        name[size] = '\0';
        at += size;
        int next = step_unlinked(fd, name);
        if (next == -ELOOP)
            *ret_link = (size_t)(at - path);
        if (next < 0)
            return next;
        fd_close(fd);
        fd = next;
    }
    int folder = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder < 0 ? -errno : folder;
}

/* Opens `name` in `parent`, making it when it is not there. */
static int step_into(int parent, const char *name, struct error *e)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
            return error_set_errno(e, errno, "cannot make the folder %s", name);
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return fd < 0 ? error_set_errno(e, errno, "cannot open the folder %s", name) : fd;
}

static int check_private(int fd, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "cannot look at the folder");
    if (st.st_uid != geteuid()) {
        error_hint(e, "use a folder of your own");
        return error_set(e, -EPERM, "the folder belongs to another user");
    }
    if (st.st_mode & 077) {
        error_hint(e, "chmod 700 it");
        return error_set(e, -EPERM, "the folder is open to other users");
    }
    return 0;
}

int file_make_private_dir(const char *path, int *ret_dir_fd, struct error *e)
{
    if (!path[0])
        return error_set(e, -ENOENT, "a folder needs a name");
    CLEANUP(mem_freep) char *copy = mem_strdup(path);
    if (!copy)
        return error_set(e, -ENOMEM, "no memory");
    CLEANUP(fd_closep) int fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, errno, "%s", path);
    char *rest = NULL;
    for (char *name = strtok_r(copy, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
        int next = step_into(fd, name, e);
        if (next < 0) {
            error_prefix(e, "%s", path);
            return next;
        }
        fd_close(fd);
        fd = next;
    }
    int result = check_private(fd, e);
    if (result < 0) {
        error_prefix(e, "%s", path);
        return result;
    }
    *ret_dir_fd = fd_take(&fd);
    return 0;
}
