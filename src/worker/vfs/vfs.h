/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's filesystem: one virtual root, mounts below it, a backing behind each mount.
 *
 *   root.c     the virtual root: which mount, synthetic folders above mounts, the decision, quotas
 *   walk.c     from a guest's text to the final path: `..`, symbolic links
 *   names.c, files.c, listing.c: the operations on names, on open files, on folders
 *   dir.c      backing: a host folder, walked with openat2 and matched by the final path
 *   memory.c   backing: a tree in memory with a quota
 * A backing implements struct vfs_backing_ops and knows nothing of grants; the grant rules are asked
 * with the *final* path, after symbolic links, which are expanded in the guest's world (an absolute
 * target starts at the guest's `/`).
 *
 * Folder handles are paths in the guest's world, file handles are open files: renaming a folder does
 * not move handles to it. Outside every mount the answer is NO_ENTRY without looking; inside one, a
 * missing verb or pattern is ACCESS. Both are told to the audit sink. Nothing here blocks for longer
 * than a disk: only regular files and folders are ever opened.
 *
 * Results: 0 ok, > 0 an enum vfs_error for the guest, < 0 a fault of the host that ends the run.
 */
#pragma once

#include "grant/grant.h"

/* wasi:filesystem error-code, in its order, plus one. */
enum vfs_error {
    VFS_ACCESS = 1,
    VFS_WOULD_BLOCK,
    VFS_ALREADY,
    VFS_BAD_DESCRIPTOR,
    VFS_BUSY,
    VFS_DEADLOCK,
    VFS_QUOTA,
    VFS_EXIST,
    VFS_FILE_TOO_LARGE,
    VFS_ILLEGAL_BYTE_SEQUENCE,
    VFS_IN_PROGRESS,
    VFS_INTERRUPTED,
    VFS_INVALID,
    VFS_IO,
    VFS_IS_DIRECTORY,
    VFS_LOOP,
    VFS_TOO_MANY_LINKS,
    VFS_MESSAGE_SIZE,
    VFS_NAME_TOO_LONG,
    VFS_NO_DEVICE,
    VFS_NO_ENTRY,
    VFS_NO_LOCK,
    VFS_INSUFFICIENT_MEMORY,
    VFS_INSUFFICIENT_SPACE,
    VFS_NOT_DIRECTORY,
    VFS_NOT_EMPTY,
    VFS_NOT_RECOVERABLE,
    VFS_UNSUPPORTED,
    VFS_NO_TTY,
    VFS_NO_SUCH_DEVICE,
    VFS_OVERFLOW,
    VFS_NOT_PERMITTED,
    VFS_PIPE,
    VFS_READ_ONLY,
    VFS_INVALID_SEEK,
    VFS_TEXT_FILE_BUSY,
    VFS_CROSS_DEVICE,
};
int vfs_error_of_errno(int errno_value); /* positive errno → enum vfs_error */

/* wasi:filesystem descriptor-type, in its order. */
enum vfs_type {
    VFS_TYPE_UNKNOWN,
    VFS_TYPE_BLOCK,
    VFS_TYPE_CHARACTER,
    VFS_TYPE_DIRECTORY,
    VFS_TYPE_FIFO,
    VFS_TYPE_SYMLINK,
    VFS_TYPE_REGULAR,
    VFS_TYPE_SOCKET
};

enum vfs_open_flag {
    VFS_O_CREATE = 1,
    VFS_O_DIRECTORY = 2,
    VFS_O_EXCLUSIVE = 4,
    VFS_O_TRUNCATE = 8, /* so far wasi's open-flags */
    VFS_O_READ = 16,
    VFS_O_WRITE = 32,
    VFS_O_FOLLOW = 64,
    VFS_O_SYNC = 128
};

struct vfs_stat {
    enum vfs_type type;
    uint64_t links, size;
    int64_t accessed_ns, modified_ns, changed_ns; /* since 1970 */
    /* equal for the same object; the host's inode number hashed with a key of the run */
    uint64_t identity[2];
};
enum vfs_time { VFS_TIME_KEEP, VFS_TIME_NOW, VFS_TIME_SET };
struct vfs_times {
    enum vfs_time accessed, modified;
    int64_t accessed_ns, modified_ns;
};

/* The operation that a denied rename of a folder is reported as: it needs its verb on all that is
 * below, too. */
#define VFS_RENAME_FOLDER "rename folder"

/* What is reported. `guest` is the final absolute path of the guest's world. */
struct vfs_audit {
    void *context;
    void (*denied)(void *context, const char *operation, const char *guest, uint32_t verbs,
                   struct grant_decision d);
    void (*used)(void *context, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
                 uint64_t bytes_written);
    /* Before a name in a mount is denied: true when the rules were changed (vfs_set_rules) so that
     * it is worth deciding anew. NULL: nobody is asked. */
    bool (*ask)(void *context, const char *operation, const char *guest, uint32_t verbs,
                struct grant_decision d);
};

struct vfs;
struct vfs_file; /* an open file or folder */
struct vfs_listing;

/* `dir_fds[i]` is the opened folder of mount i when its backing is DIR, else -1; the vfs takes them
 * all. `now` gives the time for memory files and VFS_TIME_NOW (the run's clock). `rules` is
 * borrowed. */
int vfs_new(const struct grant_rules *rules, int *dir_fds, const struct vfs_audit *audit,
            int64_t (*now)(void *), void *now_context, struct vfs **ret,
            struct error *e) MUST_CHECK;
/* Replaces the random key of identities by one that repeats: for a run with seeded random. Before
 * anything is opened. */
void vfs_set_identity_key(struct vfs *v, const uint8_t key[32]);
void vfs_free(struct vfs *v); /* every file and listing must be closed */
/* Other rules with the same mounts, and the same rules in their places: those that are new come after
 * them, at most VFS_RULES_MORE. Borrowed. */
#define VFS_RULES_MORE 64
void vfs_set_rules(struct vfs *v, const struct grant_rules *rules);
/* From now on every operation, on open files too, is denied with this
 * reason (expiry, revocation). */
void vfs_revoke(struct vfs *v, enum grant_reason reason);

int vfs_root(struct vfs *v, struct vfs_file **ret) MUST_CHECK;
void vfs_close(struct vfs_file *f);
enum vfs_type vfs_file_type(const struct vfs_file *f);
uint32_t vfs_file_flags(const struct vfs_file *f); /* VFS_O_READ, VFS_O_WRITE it was opened with */

/* Paths are the guest's bytes, relative to the folder `at` (UTF-8, checked by the engine; a NUL or
 * an empty path is INVALID or NO_ENTRY, a leading slash is NOT_PERMITTED as WASI asks). */
int vfs_open(struct vfs_file *at, const char *path, size_t size, uint32_t flags,
             struct vfs_file **ret) MUST_CHECK;
int vfs_stat(struct vfs_file *f, struct vfs_stat *ret) MUST_CHECK;
int vfs_stat_at(struct vfs_file *at, const char *path, size_t size, bool follow,
                struct vfs_stat *ret) MUST_CHECK;
int vfs_set_times(struct vfs_file *f, const struct vfs_times *t) MUST_CHECK;
int vfs_set_times_at(struct vfs_file *at, const char *path, size_t size, bool follow,
                     const struct vfs_times *t) MUST_CHECK;
/* 0 bytes = end. */
int vfs_read(struct vfs_file *f, uint64_t offset, void *into, size_t size,
             size_t *ret_size) MUST_CHECK;
int vfs_write(struct vfs_file *f, uint64_t offset, const void *bytes, size_t size,
              size_t *ret_size) MUST_CHECK;
int vfs_append(struct vfs_file *f, const void *bytes, size_t size, size_t *ret_size) MUST_CHECK;
int vfs_set_size(struct vfs_file *f, uint64_t size) MUST_CHECK;
int vfs_sync(struct vfs_file *f, bool data_only) MUST_CHECK;
int vfs_mkdir(struct vfs_file *at, const char *path, size_t size) MUST_CHECK;
int vfs_rmdir(struct vfs_file *at, const char *path, size_t size) MUST_CHECK;
int vfs_unlink(struct vfs_file *at, const char *path, size_t size) MUST_CHECK;
int vfs_rename(struct vfs_file *from_at, const char *from, size_t from_size, struct vfs_file *to_at,
               const char *to, size_t to_size) MUST_CHECK;
int vfs_link(struct vfs_file *from_at, bool follow, const char *from, size_t from_size,
             struct vfs_file *to_at, const char *to, size_t to_size) MUST_CHECK;
int vfs_symlink(struct vfs_file *at, const char *target, size_t target_size, const char *path,
                size_t size) MUST_CHECK;
int vfs_readlink(struct vfs_file *at, const char *path, size_t size,
                 struct buf *ret_target) MUST_CHECK;
int vfs_list(struct vfs_file *f, struct vfs_listing **ret) MUST_CHECK;
/* 0 and an entry (name borrowed until the next call; no "." and ".."; names that are not UTF-8 are
 * left out), or 1 at the end, or −errno. */
int vfs_listing_next(struct vfs_listing *l, enum vfs_type *ret_type, const char **ret_name,
                     size_t *ret_size) MUST_CHECK;
void vfs_listing_close(struct vfs_listing *l);
bool vfs_same_object(struct vfs_file *a, struct vfs_file *b);

#ifdef AMBIT_TEST_HOOKS
/* What a negative control leaves open. */
struct vfs_dir_open {
    bool walk, kind; /* enum run_test_skip: FS_WALK, FS_KIND */
};
extern struct vfs_dir_open vfs_dir_left_open;
#endif
