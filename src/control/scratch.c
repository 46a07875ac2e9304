/* SPDX-License-Identifier: Apache-2.0 */
/* See scratch.h. */
#include "control/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

static void remove_files(int fd)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;

    if (folder == NULL) {
        fd_close(own);
        return;
    }
    while ((entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(fd, entry->d_name, 0);
    (void)closedir(folder);
}

void scratch_remove(const char *path, int *fd)
{
    if (*fd >= 0)
        remove_files(*fd);
    (void)rmdir(path);
    fd_closep(fd);
}

/* Removes folders whose runs are gone. Best effort. */
static void scratch_sweep(const char *root)
{
    int own = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;

    if (folder == NULL) {
        fd_close(own);
        return;
    }
    while ((entry = readdir(folder)) != NULL) {
        struct stat st;
        if (!id_valid(entry->d_name))
            continue;
        CLEANUP(fd_closep)
        int fd =
            openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        /* Younger than a minute: its run may be between mkdir and lock. */
        if (fd < 0 || fstat(fd, &st) < 0 ||
            clock_real_ns() / (int64_t)NS_PER_S - st.st_mtime < 60 ||
            flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        remove_files(fd);
        (void)unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR);
    }
    (void)closedir(folder);
}

int scratch_make(const char *root, char **ret_path, int *ret_fd, struct error *e)
{
    char id[ID_TEXT_SIZE];
    CLEANUP(fd_closep) int root_fd = -1;

    int r = file_make_private_dir(root, &root_fd, e);
    if (r < 0)
        return r;
    scratch_sweep(root);
    if ((r = id_new(id)) < 0)
        return error_set_errno(e, -r, "no random name");
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", root, id);
    if (path == NULL)
        return error_set(e, -ENOMEM, "no memory");
    if (mkdirat(root_fd, id, 0700) < 0)
        return error_set_errno(e, errno, "the private folder %s cannot be made", path);
    /* Between mkdir and the lock another run may sweep it away: then the open fails, and that is an
     * error here. */
    CLEANUP(fd_closep)
    int fd = openat(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0)
        return error_set_errno(e, errno, "the private folder %s cannot be locked", path);
    *ret_path = TAKE(path);
    *ret_fd = fd_take(&fd);
    return 0;
}
