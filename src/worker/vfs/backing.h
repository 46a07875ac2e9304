/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind a mount. A backing knows a tree and nothing of grants, guests or other mounts:
 * walk.c has already decided about exactly the path that it hands over, so the one promise that
 * everything rests on is this:
 *
 *   **An operation acts on the path it was given or not at all.** A backing never follows a
 *   symbolic link. When one is in the way it answers VFS_SYMLINK and says where and what; walk.c
 *   expands it in the guest's world, decides again, and calls again.
 *
 * Paths are relative to the mount, normalised (no "", ".", "..", no double or trailing slash), at
 * most VFS_PATH_MAX − 1 bytes, NUL-terminated, without a NUL inside; "" is the mount's root. Each
 * name is at most VFS_NAME_MAX bytes. A backing whose host may change under it (dir.c) must make
 * check and act one step, or check again after acting.
 *
 * Results: 0, an enum vfs_error, an enum vfs_outcome, or < 0 for a fault of the host. Outputs are
 * written only on success.
 *
 * What the session backing of a later issue (SQLite, copy-on-write over a base folder) needs, and
 * finds here:
 *   - a handle that is a pointer (union vfs_handle), a listing of its own, close and free that may
 *     write back;
 *   - whole paths per call, so that it can look up (parent, name) pairs with prepared statements
 *     and keep a cache of its own;
 *   - `created` told on open, so that copy-up and whiteouts stay inside it; quota outcomes of its
 *     own (VFS_OVER_BYTES and VFS_OVER_FILES) with vfs_mount.counted false; faults (< 0) for a
 *     broken database;
 *   - opened nodes that outlive their names: close() is when an unlinked inode may go.
 */
#pragma once

#include "worker/vfs/vfs.h"

#define VFS_PATH_MAX 4096 /* of an absolute guest path, without the NUL */
#define VFS_NAME_MAX 255
#define VFS_LINKS_MAX 40 /* symbolic links expanded in one walk */

/* For path buffers: the build zeroes every local, which for 4 KiB per call would be most of the
 * work. What is read of them is what was written before, and they hold nothing but paths. */
#define VFS_SCRATCH __attribute__((uninitialized))

enum vfs_outcome {
    VFS_SYMLINK = 1000, /* a symbolic link is in the way: see struct vfs_symlink */
    VFS_CROSSES_MOUNT,  /* the host has a mount point of its own on the path */
    VFS_NOT_REGULAR,    /* a device, FIFO or socket, which is never opened */
    VFS_OVER_BYTES,     /* the backing's own quota */
    VFS_OVER_FILES,
    VFS_FIXED, /* walk.c only: a folder that is there because a mount is at or below it */
};

/* `prefix` bytes of path number `which` (0, or 1 for the second path of rename and link) name a
 * symbolic link. */
struct vfs_symlink {
    unsigned which;
    size_t prefix, size;
    char target[VFS_PATH_MAX];
};

struct vfs_path {
    const char *text;
    size_t size;
};

union vfs_handle {
    int fd;
    void *pointer;
};

/* DIRECTORY comes without a handle: folders are paths. `created` when this call made the file. */
struct vfs_opened {
    enum vfs_type type;
    bool created;
    union vfs_handle handle;
};

struct vfs_backing;

struct vfs_backing_ops {
    void (*free)(struct vfs_backing *b);

    /* By path. `follow`: a link as the last name is in the way too. The identity in vfs_stat is raw
     * (device, inode). */
    int (*stat)(struct vfs_backing *b, struct vfs_path path, bool follow, struct vfs_stat *ret,
                struct vfs_symlink *link);
    /* `flags`: enum vfs_open_flag. Regular files and folders only. Neither READ nor WRITE: a handle
     * that can only be asked. */
    int (*open)(struct vfs_backing *b, struct vfs_path path, uint32_t flags, struct vfs_opened *ret,
                struct vfs_symlink *link);
    int (*set_times_at)(struct vfs_backing *b, struct vfs_path path, bool follow,
                        const struct vfs_times *t,
                        struct vfs_symlink *link); /* never VFS_TIME_NOW */
    int (*mkdir)(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link);
    int (*rmdir)(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link);
    int (*unlink)(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link);
    int (*rename)(struct vfs_backing *b, struct vfs_path from, struct vfs_path to,
                  struct vfs_symlink *link);
    /* The last name of `from` is not followed: of a symbolic link the link itself gets a second
     * name. */
    int (*link)(struct vfs_backing *b, struct vfs_path from, struct vfs_path to,
                struct vfs_symlink *link);
    int (*symlink)(struct vfs_backing *b, const char *target, struct vfs_path path,
                   struct vfs_symlink *link);
    int (*readlink)(struct vfs_backing *b, struct vfs_path path, struct buf *ret_target,
                    struct vfs_symlink *link);
    int (*list)(struct vfs_backing *b, struct vfs_path path, void **ret_listing,
                struct vfs_symlink *link);

    /* By handle. */
    void (*close)(struct vfs_backing *b, union vfs_handle h);
    int (*file_stat)(struct vfs_backing *b, union vfs_handle h, struct vfs_stat *ret);
    int (*file_set_times)(struct vfs_backing *b, union vfs_handle h, const struct vfs_times *t);
    int (*read)(struct vfs_backing *b, union vfs_handle h, uint64_t offset, void *into, size_t size,
                size_t *ret_size);
    /* `offset` VFS_APPEND: at the end, in one step. offset + size ≤ INT64_MAX otherwise. */
    int (*write)(struct vfs_backing *b, union vfs_handle h, uint64_t offset, const void *bytes,
                 size_t size, size_t *ret_size);
    int (*set_size)(struct vfs_backing *b, union vfs_handle h, uint64_t size); /* ≤ INT64_MAX */
    int (*sync)(struct vfs_backing *b, union vfs_handle h, bool data_only);

    /* 0 and an entry (name borrowed until the next call, "." and ".." left out), 1 at the end,
     * or < 0. Entries made or removed meanwhile may be there or not; every other one comes exactly
     * once. */
    int (*listing_next)(struct vfs_backing *b, void *listing, enum vfs_type *ret_type,
                        const char **ret_name, size_t *ret_size);
    void (*listing_close)(struct vfs_backing *b, void *listing);
};

#define VFS_APPEND UINT64_MAX

struct vfs_backing {
    const struct vfs_backing_ops *ops;
};

/* Takes `fd` also on failure. Not `writable`: whatever changes something is READ_ONLY, a second
 * lock behind the grants. */
int vfs_dir_new(int fd, bool writable, struct vfs_backing **ret, struct error *e) MUST_CHECK;

/* A quota of GRANT_UNSET becomes VFS_MEMORY_BYTES, VFS_MEMORY_FILES: the tree lives in the worker's
 * own memory. */
#define VFS_MEMORY_BYTES (UINT64_C(64) << 20)
#define VFS_MEMORY_FILES UINT64_C(65536)
int vfs_memory_new(uint64_t max_bytes, uint64_t max_files, int64_t (*now)(void *),
                   void *now_context, struct vfs_backing **ret, struct error *e) MUST_CHECK;

/* "a/b" → size of "a", and the last name; a path without a slash has the parent "". `path` is not
 * "". */
static inline size_t vfs_path_parent(struct vfs_path path, const char **ret_name,
                                     size_t *ret_name_size)
{
    size_t slash = path.size;

    while (slash > 0 && path.text[slash - 1] != '/')
        slash--;
    *ret_name = path.text + slash;
    *ret_name_size = path.size - slash;
    return slash > 0 ? slash - 1 : 0;
}
