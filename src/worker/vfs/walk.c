/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a guest wrote to the path that is matched and acted on.
 *
 * Model. The text is joined to the folder's path and normalised. A path without ".." is taken as it
 * stands: the backing itself says when a symbolic link is in the way, and only then is the text
 * rewritten (an absolute target starts at the guest's "/") and everything begins again. So the
 * ordinary case costs no look at the folders above. Before a ".." the folder it leaves is looked
 * at, because "link/.." is the parent of the link's target.
 *
 * Invariants.
 *  - A decision is always about w->path, which is exactly what the backing is then asked to act on.
 *  - Outside every mount nothing is looked at. What the guest's world has there (struct vfs_place)
 *    comes from the grants alone.
 *  - A denied path answers the same whether something is there or not. It is looked at only to see
 *    whether a symbolic link leads elsewhere, and then the target is what is judged.
 *  - An error on the way to a ".." counts only where that folder may be asked for (`pending`);
 *    elsewhere ".." is textual.
 *  - Mount points and the folders above them are folders, whatever the host has at those names.
 */
#include "worker/vfs/root.h"

#include <string.h>

static void walk_locate(struct walk *w)
{
    const char *rest = NULL;

    w->path[w->size] = '\0';
    w->in_mount = grant_mount_of(w->v->rules, w->path, w->size, &w->mount, &rest) == 1;
    w->rest_size = w->in_mount ? strlen(rest) : 0;
    w->rest = w->path + w->size - w->rest_size;
    w->fixed = vfs_place_find(w->v, w->path, w->size) != NULL;
}

static int walk_deny(struct walk *w, uint32_t verbs, struct grant_decision d)
{
    vfs_denied(w->v, w->operation, w->path, verbs, d);
    return d.reason == GRANT_NO_GRANT ? VFS_NO_ENTRY : VFS_ACCESS;
}

static bool walk_ask(struct walk *w, uint32_t verbs, struct grant_decision d)
{
    const struct vfs_audit *audit = &w->v->audit;
    return audit->ask != NULL && audit->ask(audit->context, w->operation, w->path, verbs, d);
}

static int walk_deny_for(struct walk *w, uint32_t verbs, enum grant_reason reason)
{
    uint32_t rule = w->in_mount
                        ? grant_decide_fs(w->v->rules, w->mount, w->rest, w->rest_size, verbs).rule
                        : GRANT_NO_RULE;

    return walk_deny(w, verbs, (struct grant_decision){ reason, rule, verbs });
}

static int walk_push(struct walk *w, const char *name, size_t size)
{
    size_t slash = w->size > 1 ? 1 : 0;

    if (size > VFS_NAME_MAX || w->size + slash + size > VFS_PATH_MAX)
        return VFS_NAME_TOO_LONG;
    if (slash)
        w->path[w->size] = '/';
    memcpy(w->path + w->size + slash, name, size);
    w->size += slash + size;
    w->folder_only = w->dots = false;
    return 0;
}

static void walk_pop(struct walk *w)
{
    while (w->size > 1 && w->path[w->size - 1] != '/')
        w->size--;
    if (w->size > 1)
        w->size--;
    w->folder_only = w->dots = true;
}

/* "..": 0 when done, VFS_SYMLINK when the folder to leave has a link in it,
 * else the guest's error. */
static int walk_up(struct walk *w)
{
    struct vfs_stat st;
    int r;

    walk_locate(w);
    if (w->fixed) {
        walk_pop(w);
        return 0;
    }
    if (!w->in_mount)
        return walk_deny_for(w, FS_STAT, GRANT_NO_GRANT);
    r = walk_backing(w)->ops->stat(walk_backing(w), walk_rest(w), true, &st, &w->v->link);
    if (r < 0 || r == VFS_SYMLINK)
        return r;
    if (r == 0 && st.type != VFS_TYPE_DIRECTORY)
        r = VFS_NOT_DIRECTORY;
    if (r >= VFS_SYMLINK)
        r = VFS_ACCESS;
    if (r != 0 && w->pending == 0 &&
        grant_decide_fs(w->v->rules, w->mount, w->rest, w->rest_size, FS_STAT).reason ==
            GRANT_ALLOWED)
        w->pending = r;
    walk_pop(w);
    return 0;
}

/* Writes into the raw buffer that is not in use: base of the link, its target, what followed the
 * link, `left`. */
static int walk_rewrite(struct walk *w, size_t link_end, const char *left, size_t left_size,
                        const char **ret_text, size_t *ret_size)
{
    const struct vfs_symlink *link = &w->v->link;
    char *out = w->v->raw[w->v->raw_next ^= 1];
    size_t base = link_end, after = w->size - link_end, size = 0;

    while (base > 0 && w->path[base - 1] != '/')
        base--;
    if (link->size > 0 && link->target[0] == '/')
        base = 0;
    if (base + link->size + after + left_size + 4 > VFS_RAW_MAX)
        return VFS_NAME_TOO_LONG;
    memcpy(out, w->path, base);
    size = base;
    memcpy(out + size, link->target, link->size);
    size += link->size;
    memcpy(out + size, w->path + link_end, after);
    size += after;
    if (left_size > 0) {
        out[size++] = '/';
        memcpy(out + size, left, left_size);
        size += left_size;
    } else if (w->folder_only) {
        out[size++] = '/';
        if (w->dots)
            out[size++] = '.';
    }
    *ret_text = out;
    *ret_size = size;
    return 0;
}

/* Puts the target of v->link into the text; `left` is what has not been walked yet. */
static int walk_substitute(struct walk *w, const char *left, size_t left_size,
                           const char **ret_text, size_t *ret_size)
{
    size_t link_end = (size_t)(w->rest - w->path) + w->v->link.prefix;
    struct grant_decision d;
    int r;

    if (w->v->link.size == 0 || vfs_place_find(w->v, w->path, link_end) != NULL)
        return VFS_NO_ENTRY;
    if (++w->links > VFS_LINKS_MAX) {
        w->path[link_end] = '\0';
        d = grant_decide_fs(w->v->rules, w->mount, w->rest, w->v->link.prefix, FS_STAT);
        return d.reason == GRANT_ALLOWED ? VFS_LOOP : walk_deny(w, FS_STAT, d);
    }
    r = walk_rewrite(w, link_end, left, left_size, ret_text, ret_size);
    if (r == 0) {
        w->size = 1;
        w->path[0] = '/';
        w->folder_only = w->dots = false;
    }
    return r;
}

/* Appends text to w->path, name by name. */
static int walk_text(struct walk *w, const char *text, size_t size)
{
    const char *at = text, *end = text + size;
    size_t n;
    int r;

    while (at < end) {
        if (*at == '/') {
            w->folder_only = true;
            at++;
            continue;
        }
        const char *slash = memchr(at, '/', (size_t)(end - at));
        n = (size_t)((slash ? slash : end) - at);
        if (n == 1 && at[0] == '.') {
            w->folder_only = w->dots = true;
        } else if (n == 2 && at[0] == '.' && at[1] == '.') {
            r = walk_up(w);
            if (r == VFS_SYMLINK) {
                r = walk_substitute(w, at, (size_t)(end - at), &text, &size);
                if (r == 0) {
                    at = text;
                    end = text + size;
                    continue;
                }
            }
            if (r != 0)
                return r;
        } else {
            r = walk_push(w, at, n);
            if (r != 0)
                return r;
        }
        at += n;
    }
    walk_locate(w);
    return 0;
}

static int walk_expand(struct walk *w)
{
    const char *text;
    size_t size;
    int r = walk_substitute(w, NULL, 0, &text, &size);

    return r != 0 ? r : walk_text(w, text, size);
}

static void walk_start(struct walk *w, const char *operation, const struct vfs_file *at)
{
    w->v = at->v;
    w->operation = operation;
    w->of_folder = NULL;
    w->folder_only = w->dots = false;
    w->pending = 0;
    w->links = 0;
    w->rule = GRANT_NO_RULE;
    w->mount = 0;
    memcpy(w->path, at->path, at->path_size);
    w->size = at->path_size;
}

int walk_begin(struct walk *w, const char *operation, const struct vfs_file *at, const char *path,
               size_t size)
{
    if (at->type != VFS_TYPE_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    if (size == 0)
        return VFS_NO_ENTRY;
    if (size > VFS_PATH_MAX)
        return VFS_NAME_TOO_LONG;
    if (memchr(path, '\0', size) != NULL)
        return VFS_INVALID;
    if (path[0] == '/')
        return VFS_NOT_PERMITTED;
    walk_start(w, operation, at);
    return walk_text(w, path, size);
}

int walk_folder(struct walk *w, const char *operation, const struct vfs_file *f)
{
    walk_start(w, operation, f);
    w->folder_only = true;
    walk_locate(w);
    return 0;
}

int walk_decide(struct walk *w, uint32_t verbs, bool follow, enum walk_fixed fixed)
{
    struct grant_decision d;
    struct vfs_stat st;
    int r;

    for (;;) {
        if (w->v->revoked != GRANT_ALLOWED) {
            (void)walk_deny_for(w, verbs, w->v->revoked);
            return VFS_ACCESS;
        }
        if (!w->in_mount) {
            if (w->fixed)
                return w->pending                  ? w->pending
                       : fixed == WALK_FIXED_NEVER ? VFS_READ_ONLY
                                                   : VFS_FIXED;
            return walk_deny_for(w, verbs, GRANT_NO_GRANT);
        }
        d = grant_decide_fs(w->v->rules, w->mount, w->rest, w->rest_size, verbs);
        if (d.reason == GRANT_ALLOWED) {
            w->rule = d.rule;
            return w->pending;
        }
        if (w->fixed && fixed == WALK_FIXED_ANY)
            return w->pending ? w->pending : VFS_FIXED;
        if (w->fixed)
            return walk_deny(w, verbs, d);
        r = walk_backing(w)->ops->stat(walk_backing(w), walk_rest(w), follow || w->folder_only, &st,
                                       &w->v->link);
        if (r < 0)
            return r;
        if (r == 0 && st.type == VFS_TYPE_DIRECTORY && w->of_folder)
            w->operation = w->of_folder;
        if (r != VFS_SYMLINK && walk_ask(w, verbs, d))
            continue;
        if (r != VFS_SYMLINK)
            return walk_deny(w, verbs, d);
        r = walk_expand(w);
        if (r != 0)
            return r;
    }
}

bool walk_again(struct walk *w, uint32_t verbs, int *result)
{
    switch (*result) {
    case VFS_SYMLINK:
        *result = walk_expand(w);
        return *result == 0;
    case VFS_CROSSES_MOUNT:
        *result = walk_deny_for(w, verbs, GRANT_CROSSES_MOUNT);
        return false;
    case VFS_NOT_REGULAR:
        *result = walk_deny_for(w, verbs, GRANT_NOT_REGULAR);
        return false;
    case VFS_OVER_BYTES:
    case VFS_OVER_FILES:
        (void)walk_deny_for(w, verbs,
                            *result == VFS_OVER_BYTES ? GRANT_QUOTA_BYTES : GRANT_QUOTA_FILES);
        *result = VFS_QUOTA;
        return false;
    default:
        return false;
    }
}

bool walk_again_pair(struct walk *a, struct walk *b, uint32_t verbs, int *result)
{
    return walk_again(*result == VFS_SYMLINK && a->v->link.which == 1 ? b : a, verbs, result);
}
