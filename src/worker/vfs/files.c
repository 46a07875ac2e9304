/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles: opening, and everything done through an open file or folder.
 *
 * A folder handle is a path, looked up again at each use. A file handle is an open file of its
 * backing and stays with it through renames and unlinks; its rule is the one that allowed the
 * opening, and pays for what is written.
 */
#include "worker/vfs/root.h"

#include <string.h>

#include "base/mem.h"

static int file_new(struct vfs *v, enum vfs_type type, uint32_t flags, const char *path,
                    size_t path_size, struct vfs_file **ret)
{
    struct vfs_file *f = mem_alloc(sizeof(*f) + path_size + 1);

    if (f == NULL)
        return VFS_INSUFFICIENT_MEMORY;
    *f = (struct vfs_file){ .v = v, .type = type, .flags = flags, .path_size = path_size };
    f->read_rule = f->write_rule = GRANT_NO_RULE;
    memcpy(f->path, path, path_size);
    f->path[path_size] = '\0';
    v->open_count++;
    *ret = f;
    return 0;
}

int vfs_root(struct vfs *v, struct vfs_file **ret)
{
    return file_new(v, VFS_TYPE_DIRECTORY, VFS_O_READ, "/", 1, ret);
}

void vfs_close(struct vfs_file *f)
{
    struct vfs_backing *b;

    if (f == NULL)
        return;
    if (f->type != VFS_TYPE_DIRECTORY) {
        b = f->v->mounts[f->mount].backing;
        b->ops->close(b, f->handle);
    }
    f->v->open_count--;
    mem_free(f);
}

enum vfs_type vfs_file_type(const struct vfs_file *f)
{
    return f->type;
}

uint32_t vfs_file_flags(const struct vfs_file *f)
{
    return f->flags & (VFS_O_READ | VFS_O_WRITE);
}

/* ---- opening ---- */

static uint32_t open_verbs(uint32_t flags)
{
    uint32_t verbs = 0;

    if ((flags & VFS_O_DIRECTORY) && !(flags & VFS_O_WRITE))
        return FS_STAT;
    if (flags & VFS_O_READ)
        verbs |= FS_READ;
    if (flags & (VFS_O_WRITE | VFS_O_TRUNCATE))
        verbs |= FS_WRITE;
    if (flags & VFS_O_CREATE)
        verbs |= FS_CREATE;
    return verbs ? verbs : FS_STAT;
}

/* Which rule gives one verb: when several rules together allowed the opening, each pays for what it
 * gave. */
static uint32_t walk_rule(const struct walk *w, uint32_t verb)
{
    return grant_decide_fs(w->v->rules, w->mount, w->rest, w->rest_size, verb).rule;
}

/* Opens for a file that may not be made because the rule's max_files are used up: what is there
 * already may be opened. */
static int open_existing(struct walk *w, uint32_t flags, struct vfs_opened *ret)
{
    struct vfs_backing *b = walk_backing(w);
    struct vfs_stat st;
    int r;

    if (flags & VFS_O_EXCLUSIVE)
        r = b->ops->stat(b, walk_rest(w), false, &st, &w->v->link);
    else
        r = b->ops->open(b, walk_rest(w), flags & ~(uint32_t)VFS_O_CREATE, ret, &w->v->link);
    if (r == VFS_NO_ENTRY)
        return VFS_OVER_FILES;
    return r == 0 && (flags & VFS_O_EXCLUSIVE) ? VFS_EXIST : r;
}

/* O_CREAT of a name that says it is a folder's never makes anything. */
static int open_new_folder(struct walk *w, uint32_t flags)
{
    struct vfs_stat st;
    int r = w->dots
                ? walk_backing(w)->ops->stat(walk_backing(w), walk_rest(w), true, &st, &w->v->link)
                : 0;

    if (r != 0)
        return r;
    if (w->dots && st.type != VFS_TYPE_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    return w->dots && (flags & VFS_O_EXCLUSIVE) ? VFS_EXIST : VFS_IS_DIRECTORY;
}

static int open_backing(struct walk *w, uint32_t flags, struct vfs_opened *ret)
{
    struct vfs_backing *b = walk_backing(w);
    uint32_t rule;
    int r;

    if (flags & VFS_O_CREATE) {
        if (w->folder_only)
            return open_new_folder(w, flags);
        rule = walk_rule(w, FS_CREATE);
        r = vfs_charge_file(w->v, w->mount, rule);
        if (r != 0)
            return open_existing(w, flags, ret);
        r = b->ops->open(b, walk_rest(w), flags, ret, &w->v->link);
        if (r != 0 || !ret->created)
            vfs_refund_file(w->v, w->mount, rule);
        return r;
    }
    return b->ops->open(b, walk_rest(w), w->folder_only ? flags | VFS_O_DIRECTORY : flags, ret,
                        &w->v->link);
}

static int open_fixed(uint32_t flags)
{
    if ((flags & VFS_O_CREATE) && (flags & VFS_O_EXCLUSIVE))
        return VFS_EXIST;
    return flags & (VFS_O_WRITE | VFS_O_TRUNCATE | VFS_O_CREATE) ? VFS_IS_DIRECTORY : 0;
}

/* Without FOLLOW a link as the last name is an error; a slash behind it asks for the folder all the
 * same. */
static bool open_last_is_link(const struct walk *w, uint32_t flags)
{
    return !(flags & VFS_O_FOLLOW) && !w->folder_only && w->v->link.prefix == w->rest_size;
}

static int open_walk(struct walk *w, uint32_t flags, uint32_t verbs, struct vfs_opened *ret)
{
    bool follow = (flags & VFS_O_FOLLOW) && !(flags & VFS_O_EXCLUSIVE);
    int r;

    do {
        r = walk_decide(
            w, verbs, follow,
            flags & ~(uint32_t)(VFS_O_DIRECTORY | VFS_O_FOLLOW | VFS_O_READ | VFS_O_SYNC)
                ? WALK_FIXED_OUTSIDE
                : WALK_FIXED_ANY);
        if (r == VFS_FIXED || (r == 0 && w->fixed)) {
            *ret = (struct vfs_opened){ .type = VFS_TYPE_DIRECTORY };
            return open_fixed(flags);
        }
        if (r == 0) {
            r = open_backing(w, flags, ret);
            if (r == VFS_SYMLINK && open_last_is_link(w, flags))
                return flags & VFS_O_DIRECTORY ? VFS_NOT_DIRECTORY : VFS_LOOP;
        }
    } while (walk_again(w, verbs, &r));
    return r;
}

int vfs_open(struct vfs_file *at, const char *path, size_t size, uint32_t flags,
             struct vfs_file **ret)
{
    struct walk w VFS_SCRATCH;
    struct vfs_opened opened;
    struct vfs_file *f;
    uint32_t verbs = open_verbs(flags);
    int r;

    if ((flags & VFS_O_DIRECTORY) && (flags & VFS_O_CREATE))
        return VFS_INVALID;
    if ((flags & VFS_O_TRUNCATE) && !(flags & VFS_O_WRITE))
        return VFS_INVALID;
    if (!(flags & VFS_O_CREATE))
        flags &= ~(uint32_t)VFS_O_EXCLUSIVE;
    r = walk_begin(&w, "open", at, path, size);
    if (r == 0)
        r = open_walk(&w, flags, verbs, &opened);
    if (r != 0)
        return r;
    r = file_new(at->v, opened.type, flags, w.path, w.size, &f);
    if (r != 0) {
        if (opened.type != VFS_TYPE_DIRECTORY)
            walk_backing(&w)->ops->close(walk_backing(&w), opened.handle);
        return r;
    }
    f->mount = w.mount;
    f->handle = opened.handle;
    if (opened.type != VFS_TYPE_DIRECTORY) {
        f->read_rule = flags & VFS_O_READ ? walk_rule(&w, FS_READ) : w.rule;
        f->write_rule = flags & VFS_O_WRITE ? walk_rule(&w, FS_WRITE) : w.rule;
    }
    vfs_used(at->v, w.rule, verbs, 0, 0);
    *ret = f;
    return 0;
}

/* ---- through an open file ---- */

/* 0: go on. An open handle ends with its grant. */
static int file_check(struct vfs_file *f, const char *operation, uint32_t verbs)
{
    if (f->v->revoked == GRANT_ALLOWED)
        return 0;
    vfs_denied(f->v, operation, f->path, verbs,
               (struct grant_decision){ f->v->revoked, f->read_rule, verbs });
    return VFS_ACCESS;
}

static int file_over(struct vfs_file *f, const char *operation, int outcome)
{
    if (outcome != VFS_OVER_BYTES)
        return outcome;
    vfs_denied(f->v, operation, f->path, FS_WRITE,
               (struct grant_decision){ GRANT_QUOTA_BYTES, f->write_rule, FS_WRITE });
    return VFS_QUOTA;
}

static struct vfs_backing *file_backing(const struct vfs_file *f)
{
    return f->v->mounts[f->mount].backing;
}

static uint64_t *file_counter(const struct vfs_file *f, uint64_t *ret_max)
{
    if (!f->v->mounts[f->mount].counted || f->write_rule == GRANT_NO_RULE)
        return NULL;
    *ret_max = grant_rules_grant(f->v->rules, f->write_rule)->fs.max_bytes;
    return *ret_max == GRANT_UNSET ? NULL : &f->v->uses[f->write_rule].bytes;
}

int vfs_stat(struct vfs_file *f, struct vfs_stat *ret)
{
    struct vfs_stat st;
    int r;

    if (f->type == VFS_TYPE_DIRECTORY)
        return vfs_stat_at(f, ".", 1, true, ret);
    r = file_check(f, "stat", FS_STAT);
    if (r == 0)
        r = file_backing(f)->ops->file_stat(file_backing(f), f->handle, &st);
    if (r != 0)
        return r;
    vfs_hide_identity(f->v, f->mount, &st);
    *ret = st;
    return 0;
}

int vfs_read(struct vfs_file *f, uint64_t offset, void *into, size_t size, size_t *ret_size)
{
    int r;

    if (f->type == VFS_TYPE_DIRECTORY)
        return VFS_IS_DIRECTORY;
    if (!(f->flags & VFS_O_READ))
        return VFS_BAD_DESCRIPTOR;
    r = file_check(f, "read", FS_READ);
    if (r != 0)
        return r;
    if (offset > INT64_MAX)
        return VFS_INVALID;
    size = MIN(size, (size_t)(INT64_MAX - (int64_t)offset));
    r = file_backing(f)->ops->read(file_backing(f), f->handle, offset, into, size, ret_size);
    if (r == 0)
        vfs_used(f->v, f->read_rule, FS_READ, *ret_size, 0);
    return r;
}

static uint64_t growth(uint64_t size, uint64_t end)
{
    return end > size ? end - size : 0;
}

/* Counts what the file grows by before it does, and gives back what was not written. */
static int write_counted(struct vfs_file *f, uint64_t offset, const void *bytes, size_t size,
                         size_t *ret_size)
{
    struct vfs_backing *b = file_backing(f);
    struct vfs_stat st;
    uint64_t max, grow = 0, at = offset, *counter = file_counter(f, &max);
    int r;

    if (counter == NULL)
        return b->ops->write(b, f->handle, offset, bytes, size, ret_size);
    r = b->ops->file_stat(b, f->handle, &st);
    if (r != 0)
        return r;
    if (offset == VFS_APPEND)
        at = st.size;
    if (size > 0)
        grow = growth(st.size, at + size);
    if (grow > max || *counter > max - grow)
        return VFS_OVER_BYTES;
    *counter += grow;
    r = b->ops->write(b, f->handle, offset, bytes, size, ret_size);
    if (r != 0)
        *counter -= grow;
    else if (*ret_size < size)
        *counter -= grow - (*ret_size > 0 ? growth(st.size, at + *ret_size) : 0);
    return r;
}

static int write_at(struct vfs_file *f, uint64_t offset, const void *bytes, size_t size,
                    size_t *ret_size)
{
    int r;

    if (f->type == VFS_TYPE_DIRECTORY)
        return VFS_IS_DIRECTORY;
    if (!(f->flags & VFS_O_WRITE))
        return VFS_BAD_DESCRIPTOR;
    r = file_check(f, "write", FS_WRITE);
    if (r != 0)
        return r;
    if (size > INT64_MAX || (offset != VFS_APPEND && offset > INT64_MAX - size))
        return VFS_FILE_TOO_LARGE;
    r = write_counted(f, offset, bytes, size, ret_size);
    if (r == 0)
        vfs_used(f->v, f->write_rule, FS_WRITE, 0, *ret_size);
    return file_over(f, "write", r);
}

int vfs_write(struct vfs_file *f, uint64_t offset, const void *bytes, size_t size, size_t *ret_size)
{
    return offset == VFS_APPEND ? VFS_FILE_TOO_LARGE : write_at(f, offset, bytes, size, ret_size);
}

int vfs_append(struct vfs_file *f, const void *bytes, size_t size, size_t *ret_size)
{
    return write_at(f, VFS_APPEND, bytes, size, ret_size);
}

static int set_size_counted(struct vfs_file *f, uint64_t size)
{
    struct vfs_backing *b = file_backing(f);
    struct vfs_stat st;
    uint64_t max, grow, *counter = file_counter(f, &max);
    int r;

    if (counter == NULL)
        return b->ops->set_size(b, f->handle, size);
    r = b->ops->file_stat(b, f->handle, &st);
    if (r != 0)
        return r;
    grow = growth(st.size, size);
    if (grow > max || *counter > max - grow)
        return VFS_OVER_BYTES;
    *counter += grow;
    r = b->ops->set_size(b, f->handle, size);
    if (r != 0)
        *counter -= grow;
    return r;
}

int vfs_set_size(struct vfs_file *f, uint64_t size)
{
    int r;

    if (f->type == VFS_TYPE_DIRECTORY)
        return VFS_IS_DIRECTORY;
    if (!(f->flags & VFS_O_WRITE))
        return VFS_INVALID; /* ftruncate(2) */
    r = file_check(f, "set size", FS_WRITE);
    if (r != 0)
        return r;
    if (size > INT64_MAX)
        return VFS_FILE_TOO_LARGE;
    r = set_size_counted(f, size);
    if (r == 0)
        vfs_used(f->v, f->write_rule, FS_WRITE, 0, 0);
    return file_over(f, "set size", r);
}

/* Nothing to decide: what was allowed to be written may be made durable. */
int vfs_sync(struct vfs_file *f, bool data_only)
{
    int r = file_check(f, "sync", FS_STAT);

    if (r != 0 || f->type == VFS_TYPE_DIRECTORY)
        return r;
    return file_backing(f)->ops->sync(file_backing(f), f->handle, data_only);
}

/* ---- times ---- */

/* The host is never asked for "now": the guest's clock may be another one. */
static struct vfs_times times_resolve(struct vfs *v, const struct vfs_times *t)
{
    struct vfs_times out = *t;

    if (out.accessed == VFS_TIME_NOW || out.modified == VFS_TIME_NOW) {
        int64_t now = v->now(v->now_context);

        if (out.accessed == VFS_TIME_NOW)
            out.accessed = VFS_TIME_SET, out.accessed_ns = now;
        if (out.modified == VFS_TIME_NOW)
            out.modified = VFS_TIME_SET, out.modified_ns = now;
    }
    return out;
}

int vfs_set_times(struct vfs_file *f, const struct vfs_times *t)
{
    struct vfs_times times = times_resolve(f->v, t);
    struct grant_decision d;
    const char *rest;
    size_t mount;
    int r;

    if (f->type == VFS_TYPE_DIRECTORY)
        return vfs_set_times_at(f, ".", 1, true, t);
    r = file_check(f, "set times", FS_WRITE);
    if (r != 0)
        return r;
    if (!(f->flags & VFS_O_WRITE)) {
        /* Opened for less: the name it was opened by must allow it. */
        if (grant_mount_of(f->v->rules, f->path, f->path_size, &mount, &rest) != 1)
            return VFS_ACCESS;
        d = grant_decide_fs(f->v->rules, mount, rest, strlen(rest), FS_WRITE);
        if (d.reason != GRANT_ALLOWED) {
            vfs_denied(f->v, "set times", f->path, FS_WRITE, d);
            return VFS_ACCESS;
        }
    }
    r = file_backing(f)->ops->file_set_times(file_backing(f), f->handle, &times);
    if (r == 0)
        vfs_used(f->v, f->write_rule, FS_WRITE, 0, 0);
    return r;
}

int vfs_set_times_at(struct vfs_file *at, const char *path, size_t size, bool follow,
                     const struct vfs_times *t)
{
    struct walk w VFS_SCRATCH;
    struct vfs_times times = times_resolve(at->v, t);
    int r = walk_begin(&w, "set times", at, path, size);

    if (r != 0)
        return r;
    do {
        r = walk_decide(&w, FS_WRITE, follow, WALK_FIXED_NEVER);
        if (r == 0)
            r = walk_backing(&w)->ops->set_times_at(walk_backing(&w), walk_rest(&w),
                                                    follow || w.folder_only, &times, &at->v->link);
    } while (walk_again(&w, FS_WRITE, &r));
    if (r == 0)
        vfs_used(at->v, w.rule, FS_WRITE, 0, 0);
    return r;
}

/* ---- asking ---- */

/* A place is a folder even where the host has none, or something else, at its name. */
static int stat_walk(struct walk *w, bool follow, struct vfs_stat *ret)
{
    struct vfs_backing *b;
    int r;

    do {
        r = walk_decide(w, FS_STAT, follow, WALK_FIXED_ANY);
        if (r == VFS_FIXED)
            break;
        if (r == 0) {
            b = walk_backing(w);
            r = b->ops->stat(b, walk_rest(w), !w->fixed && (follow || w->folder_only), ret,
                             &w->v->link);
            if (w->fixed && (r != 0 || ret->type != VFS_TYPE_DIRECTORY) && r >= 0)
                r = VFS_FIXED;
            else if (r == 0 && w->folder_only && ret->type != VFS_TYPE_DIRECTORY)
                r = VFS_NOT_DIRECTORY;
        }
    } while (r != VFS_FIXED && walk_again(w, FS_STAT, &r));
    if (r == VFS_FIXED) {
        vfs_fixed_stat(w->v, w->path, w->size, ret);
        return 0;
    }
    if (r == 0)
        vfs_hide_identity(w->v, w->mount, ret);
    return r;
}

int vfs_stat_at(struct vfs_file *at, const char *path, size_t size, bool follow,
                struct vfs_stat *ret)
{
    struct walk w VFS_SCRATCH;
    struct vfs_stat st;
    int r = walk_begin(&w, "stat", at, path, size);

    if (r == 0)
        r = stat_walk(&w, follow, &st);
    if (r != 0)
        return r;
    vfs_used(at->v, w.rule, FS_STAT, 0, 0);
    *ret = st;
    return 0;
}

bool vfs_same_object(struct vfs_file *a, struct vfs_file *b)
{
    struct vfs_stat left, right;

    if (a == b)
        return true;
    return a->type == b->type && vfs_stat(a, &left) == 0 && vfs_stat(b, &right) == 0 &&
           left.identity[0] == right.identity[0] && left.identity[1] == right.identity[1];
}
