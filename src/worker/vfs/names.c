/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on names: making, removing, renaming, linking. The last name is never followed; both
 * names of rename and link are decided; nothing that the guest's world fixes (mount points and the
 * folders above them) can be made, removed or moved.
 */
#include "worker/vfs/root.h"

#include <string.h>

enum name_act { NAME_MKDIR, NAME_RMDIR, NAME_UNLINK, NAME_SYMLINK };

static const struct {
    const char *operation;
    uint32_t verbs;
    int on_fixed, on_dots; /* what a place, and a last "." or "..", answers */
    bool makes;
} name_acts[] = {
    [NAME_MKDIR] = { "mkdir", FS_CREATE, VFS_EXIST, VFS_EXIST, true },
    [NAME_RMDIR] = { "rmdir", FS_DELETE, VFS_BUSY, VFS_INVALID, false },
    [NAME_UNLINK] = { "unlink", FS_DELETE, VFS_IS_DIRECTORY, VFS_IS_DIRECTORY, false },
    [NAME_SYMLINK] = { "symlink", FS_LINK, VFS_EXIST, VFS_EXIST, true },
};

/* The answer for a path that says "folder" where something else is meant: `folder` when there is
 * one, else NOT_DIRECTORY. */
static int name_is_folder(struct walk *w, bool follow, int folder)
{
    struct vfs_stat st;
    int r = walk_backing(w)->ops->stat(walk_backing(w), walk_rest(w), follow, &st, &w->v->link);

    return r != 0 ? r : st.type == VFS_TYPE_DIRECTORY ? folder : VFS_NOT_DIRECTORY;
}

static int name_exists(struct walk *w, int exists)
{
    int r = name_is_folder(w, false, exists);

    return r == VFS_NOT_DIRECTORY ? exists : r;
}

static int name_do(struct walk *w, enum name_act act, const char *target, bool folder, bool dots)
{
    struct vfs_backing *b = walk_backing(w);
    struct vfs_symlink *link = &w->v->link;

    if (w->fixed)
        return name_acts[act].on_fixed;
    if (dots)
        return name_is_folder(w, false, name_acts[act].on_dots);
    switch (act) {
    case NAME_MKDIR:
        return b->ops->mkdir(b, walk_rest(w), link);
    case NAME_RMDIR:
        return b->ops->rmdir(b, walk_rest(w), link);
    case NAME_UNLINK:
        return folder ? name_is_folder(w, false, VFS_IS_DIRECTORY)
                      : b->ops->unlink(b, walk_rest(w), link);
    case NAME_SYMLINK:
        return folder ? name_exists(w, VFS_EXIST) : b->ops->symlink(b, target, walk_rest(w), link);
    }
    return VFS_INVALID;
}

/* What a rule may still make is counted before the act. With nothing left, a name that is taken
 * still says so. */
static int name_make(struct walk *w, enum name_act act, const char *target, bool folder, bool dots)
{
    int r;

    if (!name_acts[act].makes || w->fixed)
        return name_do(w, act, target, folder, dots);
    r = vfs_charge_file(w->v, w->mount, w->rule);
    if (r != 0) {
        int there = name_exists(w, VFS_EXIST);

        return there == VFS_NO_ENTRY ? r : there;
    }
    r = name_do(w, act, target, folder, dots);
    if (r != 0)
        vfs_refund_file(w->v, w->mount, w->rule);
    return r;
}

static int name_walk(struct vfs_file *at, const char *path, size_t size, enum name_act act,
                     const char *target)
{
    uint32_t verbs = name_acts[act].verbs;
    struct walk w VFS_SCRATCH;
    bool folder, dots;
    int r = walk_begin(&w, name_acts[act].operation, at, path, size);

    if (r != 0)
        return r;
    folder = w.folder_only;
    dots = w.dots;
    w.folder_only = w.dots = false;
    if (w.fixed && at->v->revoked == GRANT_ALLOWED)
        return w.pending ? w.pending : name_acts[act].on_fixed;
    do {
        r = walk_decide(&w, verbs, false, WALK_FIXED_NEVER);
        if (r == 0)
            r = name_make(&w, act, target, folder, dots);
    } while (walk_again(&w, verbs, &r));
    if (r == 0)
        vfs_used(at->v, w.rule, verbs, 0, 0);
    return r;
}

int vfs_mkdir(struct vfs_file *at, const char *path, size_t size)
{
    return name_walk(at, path, size, NAME_MKDIR, NULL);
}

int vfs_rmdir(struct vfs_file *at, const char *path, size_t size)
{
    return name_walk(at, path, size, NAME_RMDIR, NULL);
}

int vfs_unlink(struct vfs_file *at, const char *path, size_t size)
{
    return name_walk(at, path, size, NAME_UNLINK, NULL);
}

/* The target is data: it is judged when somebody walks through it. */
int vfs_symlink(struct vfs_file *at, const char *target, size_t target_size, const char *path,
                size_t size)
{
    char text[VFS_PATH_MAX] VFS_SCRATCH;

    if (target_size == 0)
        return VFS_NO_ENTRY;
    if (target_size >= sizeof(text))
        return VFS_NAME_TOO_LONG;
    if (memchr(target, '\0', target_size) != NULL)
        return VFS_INVALID;
    memcpy(text, target, target_size);
    text[target_size] = '\0';
    return name_walk(at, path, size, NAME_SYMLINK, text);
}

int vfs_readlink(struct vfs_file *at, const char *path, size_t size, struct buf *ret_target)
{
    struct walk w VFS_SCRATCH;
    int r = walk_begin(&w, "readlink", at, path, size);

    if (r != 0)
        return r;
    do {
        r = walk_decide(&w, FS_STAT, false, WALK_FIXED_ANY);
        if (r == VFS_FIXED || (r == 0 && w.fixed))
            return VFS_INVALID;
        if (r == 0)
            r = w.folder_only ? name_is_folder(&w, true, VFS_INVALID)
                              : walk_backing(&w)->ops->readlink(walk_backing(&w), walk_rest(&w),
                                                                ret_target, &at->v->link);
    } while (walk_again(&w, FS_STAT, &r));
    if (r == 0)
        vfs_used(at->v, w.rule, FS_STAT, 0, 0);
    return r;
}

/* ---- two names ---- */

struct pair {
    struct walk from, to;
    bool folder; /* one of the names says that it is a folder's */
    bool dots;
};

static int pair_begin(struct pair *p, const char *operation, struct vfs_file *from_at,
                      const char *from, size_t from_size, struct vfs_file *to_at, const char *to,
                      size_t to_size)
{
    int r = walk_begin(&p->from, operation, from_at, from, from_size);

    if (r == 0)
        r = walk_begin(&p->to, operation, to_at, to, to_size);
    if (r != 0)
        return r;
    p->folder = p->from.folder_only || p->to.folder_only;
    p->dots = p->from.dots || p->to.dots;
    return 0;
}

/* Both names are judged even when the first is denied, so that one run tells everything that is
 * missing. */
static int pair_decide(struct pair *p, uint32_t verbs, bool follow)
{
    int first = walk_decide(&p->from, verbs, follow, WALK_FIXED_OUTSIDE);
    int second = walk_decide(&p->to, verbs, false, WALK_FIXED_OUTSIDE);

    return first != 0 && first != VFS_FIXED ? first : second != VFS_FIXED ? second : 0;
}

static bool pair_crosses(const struct pair *p)
{
    return !p->from.in_mount || !p->to.in_mount || p->from.mount != p->to.mount;
}

/* A pattern for all that is below a name: the name with the pattern language's characters quoted,
 * then any segments. */
static void subtree_pattern(char *out, struct vfs_path path)
{
    for (size_t i = 0; i < path.size; i++) {
        if (strchr("*?\\", path.text[i]) != NULL)
            *out++ = '\\';
        *out++ = path.text[i];
    }
    memcpy(out, path.size > 0 ? "/**" : "**", path.size > 0 ? 4 : 3);
}

/*
 * Moving a folder moves all that is in it, also what no pattern lets the guest name. So a rule must
 * give `rename` on everything below both names; whether there is anything is not looked at.
 */
static bool subtree_granted(struct walk *w)
{
    const struct grant_rules *rules = w->v->rules;
    const struct grant_mount *m = grant_rules_mount(rules, w->mount);
    char *pattern = w->v->raw[w->v->raw_next ^ 1];

    subtree_pattern(pattern, walk_rest(w));
    for (size_t i = 0; i < grant_rules_count(rules); i++) {
        const struct grant *g = grant_rules_grant(rules, i);

        if (g->class != GRANT_FS || !(g->fs.verbs & FS_RENAME) ||
            strcmp(g->fs.guest, m->guest) != 0)
            continue;
        for (size_t k = 0; k < g->fs.path_count; k++)
            if (strcmp(g->fs.paths[k], "**") == 0 || grant_pattern_covers(g->fs.paths[k], pattern))
                return true;
    }
    return false;
}

static int subtree_check(struct walk *w)
{
    struct grant_decision d = { GRANT_NO_PATH, w->rule, FS_RENAME };

    if (subtree_granted(w))
        return 0;
    vfs_denied(w->v, VFS_RENAME_FOLDER, w->path, FS_RENAME, d);
    return VFS_ACCESS;
}

static bool moves_into_itself(const struct pair *p)
{
    return p->to.size > p->from.size && memcmp(p->to.path, p->from.path, p->from.size) == 0 &&
           p->to.path[p->from.size] == '/';
}

/*
 * Both names of a rename. What is moved decides what is asked for, and so what a denial of either name
 * says is missing; the guest is told nothing of it. 0, the guest's error, or VFS_SYMLINK.
 */
static int rename_decide(struct pair *p)
{
    const char *operation = p->from.operation;
    struct vfs_symlink *link = &p->from.v->link;
    struct vfs_stat st;
    int first, second, r;
    bool folder;

    p->from.of_folder = VFS_RENAME_FOLDER;
    first = walk_decide(&p->from, FS_RENAME, false, WALK_FIXED_OUTSIDE);
    if (first == 0 && !p->from.fixed) {
        r = walk_backing(&p->from)->ops->stat(walk_backing(&p->from), walk_rest(&p->from), false,
                                              &st, link);
        if (r < 0 || r == VFS_SYMLINK)
            return r;
        if (r == 0 && st.type == VFS_TYPE_DIRECTORY)
            p->from.operation = p->from.of_folder;
    }
    folder = p->from.operation == p->from.of_folder;
    p->to.operation = p->from.operation;
    p->from.operation = operation;
    if (folder && !p->from.fixed && moves_into_itself(p)) {
        /* What is missing for the old name covers the new one: asked for twice, one would be too much. */
        if (first == 0)
            first = subtree_check(&p->from);
        if (first != 0)
            return first;
    }
    second = walk_decide(&p->to, FS_RENAME, false, WALK_FIXED_OUTSIDE);
    if (folder && !pair_crosses(p) && !p->from.fixed && !p->to.fixed) {
        if (second == 0) {
            r = walk_backing(&p->to)->ops->stat(walk_backing(&p->to), walk_rest(&p->to), false, &st,
                                                link);
            if (r == VFS_SYMLINK)
                link->which = 1;
            if (r < 0 || r == VFS_SYMLINK)
                return r;
            second = subtree_check(&p->to);
        }
        if (first == 0)
            first = subtree_check(&p->from);
    }
    return first != 0 && first != VFS_FIXED ? first : second != VFS_FIXED ? second : 0;
}

static int rename_do(struct pair *p)
{
    struct vfs_backing *b = walk_backing(&p->from);
    struct vfs_symlink *link = &p->from.v->link;
    struct vfs_stat st;
    bool open = subtree_granted(&p->from) && subtree_granted(&p->to);
    int r, second;

    if (p->folder || !open) {
        r = b->ops->stat(b, walk_rest(&p->from), false, &st, link);
        if (r != 0)
            return r;
        if (p->folder && st.type != VFS_TYPE_DIRECTORY)
            return VFS_NOT_DIRECTORY;
        if (!open && st.type == VFS_TYPE_DIRECTORY) {
            r = subtree_check(&p->from);
            second = subtree_check(&p->to);
            if (r != 0 || second != 0)
                return r != 0 ? r : second;
        }
    }
    return b->ops->rename(b, walk_rest(&p->from), walk_rest(&p->to), link);
}

int vfs_rename(struct vfs_file *from_at, const char *from, size_t from_size, struct vfs_file *to_at,
               const char *to, size_t to_size)
{
    struct pair p VFS_SCRATCH;
    int r = pair_begin(&p, "rename", from_at, from, from_size, to_at, to, to_size);

    if (r != 0)
        return r;
    p.from.folder_only = p.to.folder_only = false;
    do {
        r = rename_decide(&p);
        if (r == 0 && (p.from.fixed || p.to.fixed || p.dots))
            return VFS_BUSY;
        if (r == 0)
            r = pair_crosses(&p) ? VFS_CROSS_DEVICE : rename_do(&p);
    } while (walk_again_pair(&p.from, &p.to, FS_RENAME, &r));
    if (r == 0) {
        vfs_used(from_at->v, p.from.rule, FS_RENAME, 0, 0);
        if (p.to.rule != p.from.rule)
            vfs_used(from_at->v, p.to.rule, FS_RENAME, 0, 0);
    }
    return r;
}

static int link_do(struct pair *p, bool follow)
{
    struct vfs_backing *b = walk_backing(&p->from);
    struct vfs *v = p->from.v;
    struct vfs_stat st;
    int r;

    r = b->ops->stat(b, walk_rest(&p->from), follow, &st, &v->link);
    if (r != 0)
        return r;
    if (p->folder) {
        r = name_exists(&p->to, VFS_EXIST);
        if (r == VFS_SYMLINK)
            v->link.which = 1;
        return r;
    }
    r = vfs_charge_file(v, p->to.mount, p->to.rule);
    if (r != 0)
        return r;
    r = b->ops->link(b, walk_rest(&p->from), walk_rest(&p->to), &v->link);
    if (r != 0)
        vfs_refund_file(v, p->to.mount, p->to.rule);
    return r;
}

int vfs_link(struct vfs_file *from_at, bool follow, const char *from, size_t from_size,
             struct vfs_file *to_at, const char *to, size_t to_size)
{
    struct pair p VFS_SCRATCH;
    int r = pair_begin(&p, "link", from_at, from, from_size, to_at, to, to_size);

    if (r != 0)
        return r;
    p.folder = p.to.folder_only;
    p.to.folder_only = false;
    do {
        r = pair_decide(&p, FS_LINK, follow);
        if (r == 0 && p.to.fixed)
            return VFS_EXIST;
        if (r == 0 && (p.from.fixed || p.from.folder_only))
            return p.from.fixed ? VFS_NOT_PERMITTED
                                : name_is_folder(&p.from, true, VFS_NOT_PERMITTED);
        if (r == 0)
            r = pair_crosses(&p) ? VFS_CROSS_DEVICE : link_do(&p, follow);
    } while (walk_again_pair(&p.from, &p.to, FS_LINK, &r));
    if (r == 0) {
        vfs_used(from_at->v, p.from.rule, FS_LINK, 0, 0);
        if (p.to.rule != p.from.rule)
            vfs_used(from_at->v, p.to.rule, FS_LINK, 0, 0);
    }
    return r;
}
