/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the virtual root: what root.c, walk.c, names.c and listing.c share. Nobody outside
 * src/worker/vfs includes this (unit tests do, to put a weakened backing in place).
 */
#pragma once

#include "worker/vfs/backing.h"
#include "worker/vfs/siphash.h"

struct vfs_mount {
    struct vfs_backing *backing;
    /* root.c counts what is written, by rule; else the backing has a quota of its own. */
    bool counted;
};

/* A folder that the guest's world has whatever the backings say: "/", every mount's root, every
 * folder above one. Sorted. */
struct vfs_place {
    char *path;
    size_t size;
};

struct vfs_use {
    uint64_t bytes, files; /* written or made so far under a rule, of mounts that are counted */
};

#define VFS_RAW_MAX (2 * VFS_PATH_MAX + 8)

struct vfs {
    const struct grant_rules *rules;
    struct vfs_audit audit;
    int64_t (*now)(void *);
    void *now_context;
    enum grant_reason revoked; /* GRANT_ALLOWED = not */
    struct vfs_mount *mounts;
    size_t mount_count;
    struct vfs_place *places;
    size_t place_count;
    struct vfs_use *uses; /* one per rule */
    struct siphash_key keys[2];
    size_t open_count; /* files and listings */
    unsigned raw_next;
    /* Scratch of the walk in progress; a vfs belongs to one thread. Links are rare, so this stays
     * off the guest's fiber stack. Last, and never cleared as a whole: of ten thousand waiting
     * guests none should hold 20 KiB of pages for links that it never meets. */
    struct vfs_symlink link;
    char raw[2][VFS_RAW_MAX];
};

struct vfs_file {
    struct vfs *v;
    enum vfs_type type; /* REGULAR or DIRECTORY */
    uint32_t flags;
    uint32_t read_rule, write_rule; /* what pays for reading, writing */
    size_t mount;                   /* files only */
    union vfs_handle handle;
    size_t path_size;
    char path[]; /* final, absolute */
};

/*
 * A walk turns a guest's path into the final one: absolute, normalised, no symbolic link left as
 * far as anyone has looked.
 *
 *   walk_begin → { walk_decide → the backing's operation } again as long as walk_again says that a
 * link was expanded
 */
struct walk {
    struct vfs *v;
    const char *operation; /* for the audit */
    const char *of_folder; /* what it is called when a folder is at the path, or NULL */
    bool folder_only;      /* trailing slash, "." or "..": names a folder */
    bool dots;             /* the last name is "." or ".." */
    bool in_mount, fixed;  /* fixed: a struct vfs_place */
    int pending;    /* error met on the way to a "..", told only once the final path is granted */
    unsigned links; /* expanded so far */
    size_t mount;
    uint32_t rule; /* what allowed it */
    const char *rest;
    size_t rest_size;
    size_t size;
    char path[VFS_PATH_MAX + 2];
};

enum walk_fixed { WALK_FIXED_NEVER, WALK_FIXED_OUTSIDE, WALK_FIXED_ANY };

int walk_begin(struct walk *w, const char *operation, const struct vfs_file *at, const char *path,
               size_t size) MUST_CHECK;
/* The same for the folder that a handle stands for. */
int walk_folder(struct walk *w, const char *operation, const struct vfs_file *f) MUST_CHECK;
/* 0: allowed by w->rule, act on walk_rest(). VFS_FIXED: not allowed or no mount, but the folder is
 * part of the guest's world
 * (`fixed` says where that counts: never, outside every mount, or in one too). Else the guest's
 * error; the denial was told. */
int walk_decide(struct walk *w, uint32_t verbs, bool follow, enum walk_fixed fixed) MUST_CHECK;
/* After an operation: true when it met a symbolic link that is expanded now, so decide and act
 * again. Translates outcomes that only this layer knows into the guest's errors (and tells the
 * audit) otherwise. */
bool walk_again(struct walk *w, uint32_t verbs, int *result) MUST_CHECK;
/* For two paths: the walk that v->link speaks of is expanded. */
bool walk_again_pair(struct walk *a, struct walk *b, uint32_t verbs, int *result) MUST_CHECK;
static inline struct vfs_path walk_rest(const struct walk *w)
{
    return (struct vfs_path){ w->rest, w->rest_size };
}
static inline struct vfs_backing *walk_backing(const struct walk *w)
{
    return w->v->mounts[w->mount].backing;
}

const struct vfs_place *vfs_place_find(const struct vfs *v, const char *path, size_t size);
void vfs_denied(struct vfs *v, const char *operation, const char *guest, uint32_t verbs,
                struct grant_decision d);
void vfs_used(struct vfs *v, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
              uint64_t bytes_written);
/* Keeps the host's numbers from the guest. */
void vfs_hide_identity(const struct vfs *v, size_t mount, struct vfs_stat *s);
void vfs_fixed_stat(const struct vfs *v, const char *path, size_t size, struct vfs_stat *ret);

/* Quotas: charged before the act, given back when it did not happen. `kind` is a grant_reason. 0 or
 * VFS_QUOTA (told). */
int vfs_charge_file(struct vfs *v, size_t mount, uint32_t rule) MUST_CHECK;
void vfs_refund_file(struct vfs *v, size_t mount, uint32_t rule);
