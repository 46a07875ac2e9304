/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of a worker as detached clones. A descriptor of a folder reaches further than the folder:
 * Landlock has no right for looking at what a file is, nor for its times, so native code in a room
 * could ask about "../x", and set times in a read-only mount. A clone of the mount that hangs
 * nowhere has nothing above its root, and the kernel itself refuses every change in a read-only one.
 *
 * A mount can be cloned only out of the mount namespace one is in, and control's descriptors belong
 * to control's. So the folder is found again by its path in the room's own copy, and compared: the
 * same file system and inode, or nothing. It is done before the root is left, and before any guest
 * byte is near. Where control may mount (root), it makes the clone itself, ahead: root reaches
 * folders that lie in other users' closed ones, a room of root does not.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "room/jail.h"

#define MOUNTS_SIZE_MAX (16u << 20)
#define ATTEMPTS 8 /* somebody renames the folder, or one above it, while we look for it */

static bool same_file(int a, int b)
{
    struct stat one, other;
    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* The folder at this path, or at an end of it: what the kernel tells begins at the root of control's
 * namespace, which a chroot hides. */
static int open_same(const char *path, int fd)
{
    int result = -ENOENT;
    for (const char *at = path; at; at = strchr(at + 1, '/')) {
        CLEANUP(fd_closep) int found = open(at, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (found >= 0 && same_file(found, fd))
            return fd_take(&found);
        if (found < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
            result = -errno;
    }
    return result;
}

/* The same folder in the mount namespace of this process. */
static int find_again(int fd, int *ret_fd, struct error *e)
{
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        ssize_t length = readlink(link, path, sizeof path);
        if (length < 0 || (size_t)length == sizeof path)
            return error_set_errno(e, length < 0 ? errno : ENAMETOOLONG,
                                   "cannot read where a mount lies");
        path[length] = 0;
        *ret_fd = open_same(path, fd);
        if (*ret_fd >= 0)
            return 0;
        if (*ret_fd != -ENOENT)
            return error_set_errno(e, -*ret_fd, "cannot reach a mount by its path");
    }
    return error_set(e, -ESTALE, "a mount is not where its path says");
}

/* With the mounts below it, which keep covered what they cover; the guest's file system enters none
 * of them (RESOLVE_NO_XDEV). An unbindable one would be left out, and uncover it: see below. */
static int clone_mount(int fd, int *ret_fd)
{
    *ret_fd = (int)syscall(SYS_open_tree, fd, "",
                           OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    return *ret_fd < 0 ? -errno : 0;
}

/* There is nothing above it, and it has the attributes: control has made it ahead. */
static bool is_detached(int fd, bool write)
{
    const unsigned long wanted = ST_NOSUID | ST_NODEV | ST_NOEXEC | (write ? 0 : ST_RDONLY);
    struct statvfs mount;
    struct stat here, above;
    return fstatvfs(fd, &mount) == 0 && (mount.f_flag & wanted) == wanted &&
           fstat(fd, &here) == 0 && fstatat(fd, "..", &above, AT_SYMLINK_NOFOLLOW) == 0 &&
           here.st_dev == above.st_dev && here.st_ino == above.st_ino;
}

/* `found`: the folder in this process's mount namespace; what `fd` refers to becomes its clone. */
static int replace_by_clone(int fd, int found, bool write, struct error *e)
{
    CLEANUP(fd_closep) int tree = -1;
    int result = clone_mount(found, &tree);
    if (result < 0)
        return error_set_errno(e, -result, "cannot clone a mount");
    struct mount_attr attributes = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                                 MOUNT_ATTR_NOEXEC |
                                                 (write ? 0 : MOUNT_ATTR_RDONLY),
                                     /* What happens to mounts outside shall not happen here. */
                                     .propagation = MS_PRIVATE };
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                sizeof attributes) < 0)
        return error_set_errno(e, errno, "cannot set what may be done in a mount");
    if (!same_file(tree, fd))
        return error_set(e, -ESTALE, "a mount is not where its path says");
    if (dup3(tree, fd, O_CLOEXEC) < 0)
        return error_set_errno(e, errno, "cannot keep a mount");
    return 0;
}

int jail_detach_mount(int fd, bool write, struct error *e)
{
    CLEANUP(fd_closep) int found = -1;
    if (is_detached(fd, write))
        return 0;
    /* In this namespace, which is the room's own, none stays unbindable. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_set_errno(e, errno, "cannot make the mounts private");
    int result = find_again(fd, &found, e);
    return result < 0 ? result : replace_by_clone(fd, found, write, e);
}

/* Of this namespace, which is the user's own: nothing is changed in it. Blanks in paths are escaped there. */
static bool some_unbindable(void)
{
    CLEANUP(buf_done) struct buf mounts = BUF_INIT(MOUNTS_SIZE_MAX);
    return file_read("/proc/self/mountinfo", &mounts, NULL) < 0 ||
           strstr(buf_cstr(&mounts), " unbindable ") != NULL;
}

void jail_detach_ahead(int fd, bool write)
{
    if (!is_detached(fd, write) && !some_unbindable())
        (void)!replace_by_clone(fd, fd, write, NULL);
}
