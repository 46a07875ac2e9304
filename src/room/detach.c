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
 * byte is near.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "room/jail.h"

#define ATTEMPTS 8 /* somebody renames the folder, or one above it, while we look for it */

static bool same_file(int a, int b)
{
    struct stat one, other;
    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
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
        CLEANUP(fd_closep) int found = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (found >= 0 && same_file(found, fd)) {
            *ret_fd = fd_take(&found);
            return 0;
        }
        if (found < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
            return error_set_errno(e, errno, "cannot reach a mount by its path");
    }
    return error_set(e, -ESTALE, "a mount is not where its path says");
}

/* In a namespace whose mounts came from a more powerful one, a mount below the folder may not be
 * uncovered: it is cloned along, with the same attributes. */
static int clone_mount(int fd, int *ret_fd)
{
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    *ret_fd = (int)syscall(SYS_open_tree, fd, "", flags);
    if (*ret_fd < 0 && errno == EINVAL)
        *ret_fd = (int)syscall(SYS_open_tree, fd, "", flags | AT_RECURSIVE);
    return *ret_fd < 0 ? -errno : 0;
}

int jail_detach_mount(int fd, bool write, struct error *e)
{
    CLEANUP(fd_closep) int found = -1, tree = -1;
    int result = find_again(fd, &found, e);
    if (result < 0)
        return result;
    /* What happens to mounts outside shall not happen to the clone. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_set_errno(e, errno, "cannot make the mounts private");
    result = clone_mount(found, &tree);
    if (result < 0)
        return error_set_errno(e, -result, "cannot clone a mount");
    struct mount_attr attributes = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                                 MOUNT_ATTR_NOEXEC |
                                                 (write ? 0 : MOUNT_ATTR_RDONLY) };
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                sizeof attributes) < 0)
        return error_set_errno(e, errno, "cannot set what may be done in a mount");
    if (!same_file(tree, fd))
        return error_set(e, -ESTALE, "a mount is not where its path says");
    if (dup3(tree, fd, O_CLOEXEC) < 0)
        return error_set_errno(e, errno, "cannot keep a mount");
    return 0;
}
