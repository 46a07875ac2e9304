/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: first the places right below the folder (mounts and folders above mounts), then what
 * the backing has there, without the names that a place hides and without names that are not UTF-8.
 */
#include "worker/vfs/root.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"

struct vfs_listing {
    struct vfs *v;
    size_t mount;
    void *entries; /* of the mount's backing; NULL: only places here */
    bool is_place;
    size_t next_place;
    uint32_t rule;
    size_t path_size;
    char path[]; /* of the folder, then "/", then room for one name */
};

static int listing_new(const struct walk *w, struct vfs_listing **ret)
{
    struct vfs_listing *l = mem_alloc(sizeof(*l) + w->size + 1 + VFS_NAME_MAX + 1);

    if (l == NULL)
        return VFS_INSUFFICIENT_MEMORY;
    *l = (struct vfs_listing){
        .v = w->v, .mount = w->mount, .is_place = w->fixed, .rule = w->rule, .path_size = w->size
    };
    memcpy(l->path, w->path, w->size);
    if (l->path[l->path_size - 1] != '/')
        l->path[l->path_size++] = '/';
    l->path[l->path_size] = '\0';
    *ret = l;
    return 0;
}

static int listing_walk(struct walk *w, void **ret_entries)
{
    int r;

    *ret_entries = NULL;
    do {
        r = walk_decide(w, FS_LIST, true, WALK_FIXED_OUTSIDE);
        if (r == VFS_FIXED)
            return 0;
        if (r == 0)
            r = walk_backing(w)->ops->list(walk_backing(w), walk_rest(w), ret_entries, &w->v->link);
        if (w->fixed && (r == VFS_NO_ENTRY || r == VFS_NOT_DIRECTORY || r == VFS_SYMLINK))
            return 0;
    } while (walk_again(w, FS_LIST, &r));
    return r;
}

int vfs_list(struct vfs_file *f, struct vfs_listing **ret)
{
    struct walk w VFS_SCRATCH;
    struct vfs_listing *l;
    void *entries;
    int r;

    if (f->type != VFS_TYPE_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    r = walk_folder(&w, "list", f);
    if (r == 0)
        r = listing_walk(&w, &entries);
    if (r != 0)
        return r;
    r = listing_new(&w, &l);
    if (r != 0) {
        if (entries != NULL)
            walk_backing(&w)->ops->listing_close(walk_backing(&w), entries);
        return r;
    }
    l->entries = entries;
    f->v->open_count++;
    vfs_used(f->v, w.rule, FS_LIST, 0, 0);
    *ret = l;
    return 0;
}

static bool listing_place(struct vfs_listing *l, const char **ret_name, size_t *ret_size)
{
    while (l->is_place && l->next_place < l->v->place_count) {
        const struct vfs_place *p = &l->v->places[l->next_place++];

        if (p->size <= l->path_size || memcmp(p->path, l->path, l->path_size) != 0 ||
            memchr(p->path + l->path_size, '/', p->size - l->path_size) != NULL)
            continue;
        *ret_name = p->path + l->path_size;
        *ret_size = p->size - l->path_size;
        return true;
    }
    return false;
}

static bool listing_hidden(struct vfs_listing *l, const char *name, size_t size)
{
    if (size > VFS_NAME_MAX || !text_is_utf8(name, size))
        return true;
    if (!l->is_place)
        return false;
    memcpy(l->path + l->path_size, name, size);
    return vfs_place_find(l->v, l->path, l->path_size + size) != NULL;
}

int vfs_listing_next(struct vfs_listing *l, enum vfs_type *ret_type, const char **ret_name,
                     size_t *ret_size)
{
    struct vfs_backing *b;
    enum vfs_type type;
    const char *name;
    size_t size;
    int r;

    if (l->v->revoked != GRANT_ALLOWED) {
        l->path[l->path_size] = '\0';
        vfs_denied(l->v, "list", l->path, FS_LIST,
                   (struct grant_decision){ l->v->revoked, l->rule, FS_LIST });
        return 1;
    }
    if (listing_place(l, ret_name, ret_size)) {
        *ret_type = VFS_TYPE_DIRECTORY;
        return 0;
    }
    if (l->entries == NULL)
        return 1;
    b = l->v->mounts[l->mount].backing;
    do {
        r = b->ops->listing_next(b, l->entries, &type, &name, &size);
        if (r != 0)
            return r;
    } while (listing_hidden(l, name, size));
    *ret_type = type;
    *ret_name = name;
    *ret_size = size;
    return 0;
}

void vfs_listing_close(struct vfs_listing *l)
{
    struct vfs_backing *b;

    if (l == NULL)
        return;
    if (l->entries != NULL) {
        b = l->v->mounts[l->mount].backing;
        b->ops->listing_close(b, l->entries);
    }
    l->v->open_count--;
    mem_free(l);
}
