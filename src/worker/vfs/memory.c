/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backing: a tree in memory.
 *
 * Model. Nodes (files, folders, symbolic links) and entries (names of nodes). All entries are in
 * one hash table by (folder, name), keyed so that a guest cannot choose collisions, and each folder
 * chains its own in order of making. A node lives while it has a name or an open handle.
 *
 * Invariants.
 *  - Every block is charged to the quota before it is allocated: m->bytes is what is stored, names
 *    and nodes included.
 *  - m->files counts entries. Nothing here recurses or keeps a path: a tree may be as deep as the
 *    quota lets it.
 *  - A listing stands on the next entry to give; who removes that entry moves the listing on first.
 */
#include "worker/vfs/memory.h"

#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

#define MEMORY_TABLE_MIN 64

struct memory_entry {
    struct memory_node *folder, *node;
    struct memory_entry *hash_next, *previous, *next;
    uint64_t hash, number; /* number: in order of making */
    size_t size;
    char name[];
};

struct memory_listing {
    struct memory_node *folder;
    struct memory_entry *at;
    /* Entries numbered later were made since: left out, or a guest that renames as it lists never
     * ends. */
    uint64_t end;
    struct memory_listing *next;
    char name[VFS_NAME_MAX]; /* of the entry given last, which may be gone by now */
};

int memory_charge(struct memory *m, uint64_t bytes)
{
    if (bytes > m->max_bytes || m->bytes > m->max_bytes - bytes)
        return VFS_OVER_BYTES;
    m->bytes += bytes;
    return 0;
}

void memory_refund(struct memory *m, uint64_t bytes)
{
    m->bytes -= bytes;
}

/* ---- the table of names ---- */

static uint64_t entry_hash(const struct memory *m, const struct memory_node *folder,
                           const char *name, size_t size)
{
    char text[sizeof(uint64_t) + VFS_NAME_MAX] VFS_SCRATCH;

    memcpy(text, &folder->id, sizeof(folder->id));
    memcpy(text + sizeof(folder->id), name, size);
    return siphash(&m->key, text, sizeof(folder->id) + size);
}

static struct memory_entry *entry_find(const struct memory *m, const struct memory_node *folder,
                                       const char *name, size_t size)
{
    uint64_t hash;
    struct memory_entry *e;

    if (size > VFS_NAME_MAX)
        return NULL;
    hash = entry_hash(m, folder, name, size);
    for (e = m->table[hash & (m->table_size - 1)]; e != NULL; e = e->hash_next)
        if (e->hash == hash && e->folder == folder && e->size == size &&
            memcmp(e->name, name, size) == 0)
            return e;
    return NULL;
}

/* Doubles the table; a table that cannot grow still works. */
static void table_grow(struct memory *m)
{
    size_t size = m->table_size * 2;
    struct memory_entry **table, *e, *next;

    if (memory_charge(m, size * sizeof(*table)) != 0)
        return;
    table = mem_array(size, sizeof(*table));
    if (table == NULL) {
        memory_refund(m, size * sizeof(*table));
        return;
    }
    for (size_t i = 0; i < m->table_size; i++)
        for (e = m->table[i]; e != NULL; e = next) {
            next = e->hash_next;
            e->hash_next = table[e->hash & (size - 1)];
            table[e->hash & (size - 1)] = e;
        }
    mem_free(m->table);
    memory_refund(m, m->table_size * sizeof(*table));
    m->table = table;
    m->table_size = size;
}

static uint64_t entry_cost(size_t name_size)
{
    return sizeof(struct memory_entry) + name_size + MEMORY_OVERHEAD;
}

/* A name that is not in any folder yet. */
static int entry_new(struct memory *m, const char *name, size_t size, struct memory_entry **ret)
{
    struct memory_entry *e;
    int r;

    if (size > VFS_NAME_MAX)
        return VFS_NAME_TOO_LONG;
    if (m->files >= m->max_files)
        return VFS_OVER_FILES;
    r = memory_charge(m, entry_cost(size));
    if (r != 0)
        return r;
    e = mem_zalloc(sizeof(*e) + size);
    if (e == NULL) {
        memory_refund(m, entry_cost(size));
        return VFS_INSUFFICIENT_MEMORY;
    }
    e->size = size;
    memcpy(e->name, name, size);
    m->files++;
    *ret = e;
    return 0;
}

static void entry_free(struct memory *m, struct memory_entry *e)
{
    memory_refund(m, entry_cost(e->size));
    m->files--;
    mem_free(e);
}

static void entry_put(struct memory *m, struct memory_node *folder, struct memory_entry *e,
                      struct memory_node *node)
{
    struct memory_entry **slot;

    if (m->entry_count >= m->table_size)
        table_grow(m);
    e->folder = folder;
    e->node = node;
    e->hash = entry_hash(m, folder, e->name, e->size);
    slot = &m->table[e->hash & (m->table_size - 1)];
    e->hash_next = *slot;
    *slot = e;
    e->next = NULL;
    e->previous = folder->folder.last;
    *(e->previous ? &e->previous->next : &folder->folder.first) = e;
    folder->folder.last = e;
    e->number = ++m->next_number;
    m->entry_count++;
    if (node->type == VFS_TYPE_DIRECTORY) {
        node->folder.parent = folder;
        folder->links++;
    } else {
        node->links++;
    }
    folder->modified_ns = folder->changed_ns = node->changed_ns = memory_now(m);
}

/* Out of its folder and the table; the entry and the node stay. */
static void entry_cut(struct memory *m, struct memory_entry *e)
{
    struct memory_node *folder = e->folder;
    struct memory_entry **slot = &m->table[e->hash & (m->table_size - 1)];

    for (struct memory_listing *l = folder->folder.listings; l != NULL; l = l->next)
        if (l->at == e)
            l->at = e->next;
    while (*slot != e)
        slot = &(*slot)->hash_next;
    *slot = e->hash_next;
    *(e->previous ? &e->previous->next : &folder->folder.first) = e->next;
    *(e->next ? &e->next->previous : &folder->folder.last) = e->previous;
    m->entry_count--;
    if (e->node->type == VFS_TYPE_DIRECTORY) {
        e->node->folder.parent = NULL;
        folder->links--;
    } else {
        e->node->links--;
    }
    folder->modified_ns = folder->changed_ns = e->node->changed_ns = memory_now(m);
}

/* ---- nodes ---- */

static int node_new(struct memory *m, enum vfs_type type, struct memory_node **ret)
{
    struct memory_node *n;
    int r = memory_charge(m, sizeof(*n) + MEMORY_OVERHEAD);

    if (r != 0)
        return r;
    n = mem_zalloc(sizeof(*n));
    if (n == NULL) {
        memory_refund(m, sizeof(*n) + MEMORY_OVERHEAD);
        return VFS_INSUFFICIENT_MEMORY;
    }
    n->id = ++m->next_id;
    n->type = type;
    n->links = type == VFS_TYPE_DIRECTORY ? 2 : 0;
    n->accessed_ns = n->modified_ns = n->changed_ns = memory_now(m);
    n->next = m->nodes;
    if (m->nodes != NULL)
        m->nodes->previous = n;
    m->nodes = n;
    *ret = n;
    return 0;
}

static void node_free(struct memory *m, struct memory_node *n)
{
    if (n->type == VFS_TYPE_REGULAR) {
        memory_file_done(m, n);
    } else if (n->type == VFS_TYPE_SYMLINK && n->link.target != NULL) {
        mem_free(n->link.target);
        memory_refund(m, n->link.size + 1 + MEMORY_OVERHEAD);
    }
    *(n->previous ? &n->previous->next : &m->nodes) = n->next;
    if (n->next != NULL)
        n->next->previous = n->previous;
    memory_refund(m, sizeof(*n) + MEMORY_OVERHEAD);
    mem_free(n);
}

/* Frees a node that nothing names, holds or lists any more. */
static void node_release(struct memory *m, struct memory_node *n)
{
    bool named = n->type == VFS_TYPE_DIRECTORY
                     ? n->folder.parent != NULL || n == m->root || n->folder.listings != NULL
                     : n->links > 0;

    if (!named && n->opens == 0)
        node_free(m, n);
}

/* ---- walking ---- */

/* Where a path leads: the last name, its folder, and the entry and node when they are there. "" is
 * the root, without a name. */
struct found {
    struct memory_node *folder;
    const char *name;
    size_t size;
    struct memory_entry *entry;
    struct memory_node *node;
};

static int memory_met(const struct memory_node *n, unsigned which, size_t prefix,
                      struct vfs_symlink *link)
{
    memcpy(link->target, n->link.target, n->link.size);
    link->size = n->link.size;
    link->prefix = prefix;
    link->which = which;
    return VFS_SYMLINK;
}

static int memory_find(struct memory *m, struct vfs_path path, unsigned which, bool follow,
                       struct found *f, struct vfs_symlink *link)
{
    size_t start = 0, end;

    *f = (struct found){ .node = m->root };
    for (; start < path.size; start = end + 1) {
        const char *slash = memchr(path.text + start, '/', path.size - start);

        end = slash ? (size_t)(slash - path.text) : path.size;
        if (f->node == NULL)
            return VFS_NO_ENTRY;
        if (f->node->type == VFS_TYPE_SYMLINK)
            return memory_met(f->node, which, start - 1, link);
        if (f->node->type != VFS_TYPE_DIRECTORY)
            return VFS_NOT_DIRECTORY;
        f->folder = f->node;
        f->name = path.text + start;
        f->size = end - start;
        if (f->size > VFS_NAME_MAX)
            return VFS_NAME_TOO_LONG;
        f->entry = entry_find(m, f->folder, f->name, f->size);
        f->node = f->entry ? f->entry->node : NULL;
    }
    if (follow && f->node != NULL && f->node->type == VFS_TYPE_SYMLINK)
        return memory_met(f->node, which, path.size, link);
    return 0;
}

static int memory_find_node(struct memory *m, struct vfs_path path, bool follow,
                            struct memory_node **ret, struct vfs_symlink *link)
{
    struct found f;
    int r = memory_find(m, path, 0, follow, &f, link);

    if (r == 0 && f.node == NULL)
        r = VFS_NO_ENTRY;
    if (r == 0)
        *ret = f.node;
    return r;
}

static void node_stat(const struct memory_node *n, struct vfs_stat *ret)
{
    *ret = (struct vfs_stat){
        .type = n->type,
        .links = n->links,
        .size = n->type == VFS_TYPE_REGULAR   ? n->file.size
                : n->type == VFS_TYPE_SYMLINK ? n->link.size
                                              : 0,
        .accessed_ns = n->accessed_ns,
        .modified_ns = n->modified_ns,
        .changed_ns = n->changed_ns,
        .identity = { 0, n->id },
    };
}

static int memory_stat(struct vfs_backing *b, struct vfs_path path, bool follow,
                       struct vfs_stat *ret, struct vfs_symlink *link)
{
    struct memory_node *n;
    int r = memory_find_node(memory_of(b), path, follow, &n, link);

    if (r == 0)
        node_stat(n, ret);
    return r;
}

static int memory_readlink(struct vfs_backing *b, struct vfs_path path, struct buf *ret_target,
                           struct vfs_symlink *link)
{
    struct memory_node *n;
    int r = memory_find_node(memory_of(b), path, false, &n, link);

    if (r != 0)
        return r;
    if (n->type != VFS_TYPE_SYMLINK)
        return VFS_INVALID;
    buf_append(ret_target, n->link.target, n->link.size);
    return buf_status(ret_target) == 0 ? 0 : VFS_INSUFFICIENT_MEMORY;
}

/* ---- making ---- */

/* A new node under a new name. */
static int memory_make(struct memory *m, const struct found *f, enum vfs_type type,
                       const char *target, struct memory_node **ret)
{
    struct memory_entry *e;
    struct memory_node *n;
    size_t size = target ? strlen(target) : 0;
    int r;

    r = entry_new(m, f->name, f->size, &e);
    if (r != 0)
        return r;
    r = node_new(m, type, &n);
    if (r == 0 && target != NULL) {
        r = memory_charge(m, size + 1 + MEMORY_OVERHEAD);
        if (r == 0) {
            n->link.target = mem_strndup(target, size);
            n->link.size = size;
            if (n->link.target == NULL) {
                memory_refund(m, size + 1 + MEMORY_OVERHEAD);
                r = VFS_INSUFFICIENT_MEMORY;
            }
        }
        if (r != 0)
            node_free(m, n);
    }
    if (r != 0) {
        entry_free(m, e);
        return r;
    }
    entry_put(m, f->folder, e, n);
    if (ret != NULL)
        *ret = n;
    return 0;
}

static int memory_make_at(struct vfs_backing *b, struct vfs_path path, enum vfs_type type,
                          const char *target, struct vfs_symlink *link)
{
    struct found f;
    int r = memory_find(memory_of(b), path, 0, false, &f, link);

    if (r != 0)
        return r;
    return f.node != NULL ? VFS_EXIST : memory_make(memory_of(b), &f, type, target, NULL);
}

static int memory_mkdir(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link)
{
    return memory_make_at(b, path, VFS_TYPE_DIRECTORY, NULL, link);
}

static int memory_symlink(struct vfs_backing *b, const char *target, struct vfs_path path,
                          struct vfs_symlink *link)
{
    return memory_make_at(b, path, VFS_TYPE_SYMLINK, target, link);
}

static int open_found(struct memory *m, struct memory_node *n, uint32_t flags)
{
    if (n->type == VFS_TYPE_DIRECTORY)
        return flags & (VFS_O_WRITE | VFS_O_CREATE) ? VFS_IS_DIRECTORY : 0;
    if (flags & VFS_O_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    if (!(flags & VFS_O_TRUNCATE) || n->file.size == 0)
        return 0;
    n->modified_ns = n->changed_ns = memory_now(m);
    return memory_file_set_size(m, n, 0);
}

static int memory_open(struct vfs_backing *b, struct vfs_path path, uint32_t flags,
                       struct vfs_opened *ret, struct vfs_symlink *link)
{
    struct memory *m = memory_of(b);
    struct found f;
    bool exclusive = (flags & VFS_O_CREATE) && (flags & VFS_O_EXCLUSIVE), created = false;
    int r = memory_find(m, path, 0, !exclusive, &f, link);

    if (r != 0)
        return r;
    if (f.node != NULL) {
        r = exclusive ? VFS_EXIST : open_found(m, f.node, flags);
    } else if (flags & VFS_O_CREATE) {
        r = memory_make(m, &f, VFS_TYPE_REGULAR, NULL, &f.node);
        created = true;
    } else {
        r = VFS_NO_ENTRY;
    }
    if (r != 0)
        return r;
    *ret = (struct vfs_opened){ .type = f.node->type, .created = created };
    if (f.node->type == VFS_TYPE_REGULAR) {
        f.node->opens++;
        ret->handle.pointer = f.node;
    }
    return 0;
}

/* ---- removing and moving ---- */

static void memory_remove(struct memory *m, struct memory_entry *e)
{
    struct memory_node *n = e->node;

    entry_cut(m, e);
    entry_free(m, e);
    node_release(m, n);
}

static int memory_rmdir(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link)
{
    struct found f;
    int r = memory_find(memory_of(b), path, 0, false, &f, link);

    if (r != 0)
        return r;
    if (f.entry == NULL)
        return f.node != NULL ? VFS_BUSY : VFS_NO_ENTRY;
    if (f.node->type != VFS_TYPE_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    if (f.node->folder.first != NULL)
        return VFS_NOT_EMPTY;
    memory_remove(memory_of(b), f.entry);
    return 0;
}

static int memory_unlink(struct vfs_backing *b, struct vfs_path path, struct vfs_symlink *link)
{
    struct found f;
    int r = memory_find(memory_of(b), path, 0, false, &f, link);

    if (r != 0)
        return r;
    if (f.node == NULL)
        return VFS_NO_ENTRY;
    if (f.node->type == VFS_TYPE_DIRECTORY)
        return VFS_IS_DIRECTORY;
    memory_remove(memory_of(b), f.entry);
    return 0;
}

static bool folder_holds(const struct memory_node *folder, const struct memory_node *below)
{
    for (; below != NULL; below = below->folder.parent)
        if (below == folder)
            return true;
    return false;
}

/* POSIX rename(): what may take whose place. */
static int rename_check(const struct found *from, const struct found *to)
{
    bool folder = from->node->type == VFS_TYPE_DIRECTORY;

    if (folder && folder_holds(from->node, to->folder))
        return VFS_INVALID;
    if (to->node == NULL)
        return 0;
    if (folder && to->node->type != VFS_TYPE_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    if (to->node->type == VFS_TYPE_DIRECTORY && folder_holds(to->node, from->folder))
        return VFS_NOT_EMPTY; /* an ancestor of the source, so not empty */
    if (!folder && to->node->type == VFS_TYPE_DIRECTORY)
        return VFS_IS_DIRECTORY;
    return folder && to->node->folder.first != NULL ? VFS_NOT_EMPTY : 0;
}

static int memory_rename(struct vfs_backing *b, struct vfs_path from_path, struct vfs_path to_path,
                         struct vfs_symlink *link)
{
    struct memory *m = memory_of(b);
    struct found from, to;
    struct memory_entry *e;
    int r = memory_find(m, from_path, 0, false, &from, link);

    if (r == 0)
        r = memory_find(m, to_path, 1, false, &to, link);
    if (r != 0)
        return r;
    if (from.node == NULL)
        return VFS_NO_ENTRY;
    if (from.entry == NULL || to.folder == NULL)
        return VFS_BUSY;
    if (from.node == to.node)
        return 0;
    r = rename_check(&from, &to);
    if (r != 0)
        return r;
    if (to.entry != NULL) {
        /* The name stays where it is and means another node: nothing can fail half way. */
        struct memory_node *gone = to.node;

        entry_cut(m, to.entry);
        entry_cut(m, from.entry);
        entry_put(m, to.folder, to.entry, from.node);
        entry_free(m, from.entry);
        node_release(m, gone);
        return 0;
    }
    /* The new name is charged while the old one is still there, but a rename makes no name more. */
    m->files--;
    r = entry_new(m, to.name, to.size, &e);
    if (r != 0) {
        m->files++;
        return r;
    }
    m->files++;
    entry_cut(m, from.entry);
    entry_put(m, to.folder, e, from.node);
    entry_free(m, from.entry);
    return 0;
}

static int memory_link(struct vfs_backing *b, struct vfs_path from_path, struct vfs_path to_path,
                       struct vfs_symlink *link)
{
    struct memory *m = memory_of(b);
    struct found from, to;
    struct memory_entry *e;
    int r = memory_find(m, from_path, 0, false, &from, link);

    if (r == 0)
        r = memory_find(m, to_path, 1, false, &to, link);
    if (r != 0)
        return r;
    if (from.node == NULL)
        return VFS_NO_ENTRY;
    if (to.node != NULL)
        return VFS_EXIST;
    if (from.node->type == VFS_TYPE_DIRECTORY)
        return VFS_NOT_PERMITTED;
    r = entry_new(m, to.name, to.size, &e);
    if (r == 0)
        entry_put(m, to.folder, e, from.node);
    return r;
}

/* ---- through a handle ---- */

static void memory_close(struct vfs_backing *b, union vfs_handle h)
{
    struct memory_node *n = h.pointer;

    n->opens--;
    node_release(memory_of(b), n);
}

static int memory_file_stat(struct vfs_backing *b, union vfs_handle h, struct vfs_stat *ret)
{
    node_stat(h.pointer, ret);
    return 0;
}

static void node_set_times(struct memory *m, struct memory_node *n, const struct vfs_times *t)
{
    if (t->accessed == VFS_TIME_SET)
        n->accessed_ns = t->accessed_ns;
    if (t->modified == VFS_TIME_SET)
        n->modified_ns = t->modified_ns;
    n->changed_ns = memory_now(m);
}

static int memory_file_set_times(struct vfs_backing *b, union vfs_handle h,
                                 const struct vfs_times *t)
{
    node_set_times(memory_of(b), h.pointer, t);
    return 0;
}

static int memory_set_times_at(struct vfs_backing *b, struct vfs_path path, bool follow,
                               const struct vfs_times *t, struct vfs_symlink *link)
{
    struct memory_node *n;
    int r = memory_find_node(memory_of(b), path, follow, &n, link);

    if (r == 0)
        node_set_times(memory_of(b), n, t);
    return r;
}

/* ---- listing ---- */

static int memory_list(struct vfs_backing *b, struct vfs_path path, void **ret_listing,
                       struct vfs_symlink *link)
{
    struct memory_node *n;
    struct memory_listing *l;
    int r = memory_find_node(memory_of(b), path, true, &n, link);

    if (r != 0)
        return r;
    if (n->type != VFS_TYPE_DIRECTORY)
        return VFS_NOT_DIRECTORY;
    l = mem_zalloc(sizeof(*l));
    if (l == NULL)
        return VFS_INSUFFICIENT_MEMORY;
    l->folder = n;
    l->at = n->folder.first;
    l->end = memory_of(b)->next_number;
    l->next = n->folder.listings;
    n->folder.listings = l;
    *ret_listing = l;
    return 0;
}

static int memory_listing_next(struct vfs_backing *b, void *listing, enum vfs_type *ret_type,
                               const char **ret_name, size_t *ret_size)
{
    struct memory_listing *l = listing;
    struct memory_entry *e = l->at;

    if (e == NULL || e->number > l->end)
        return 1;
    memcpy(l->name, e->name, e->size);
    *ret_type = e->node->type;
    *ret_name = l->name;
    *ret_size = e->size;
    l->at = e->next;
    return 0;
}

static void memory_listing_close(struct vfs_backing *b, void *listing)
{
    struct memory_listing *l = listing, **slot = &l->folder->folder.listings;

    while (*slot != l)
        slot = &(*slot)->next;
    *slot = l->next;
    node_release(memory_of(b), l->folder);
    mem_free(l);
}

/* ---- the whole ---- */

static void memory_free(struct vfs_backing *b)
{
    struct memory *m = memory_of(b);
    struct memory_entry *e, *next;

    for (size_t i = 0; m->table != NULL && i < m->table_size; i++)
        for (e = m->table[i]; e != NULL; e = next) {
            next = e->hash_next;
            mem_free(e);
        }
    while (m->nodes != NULL)
        node_free(m, m->nodes);
    mem_free(m->table);
    mem_free(m);
}

static const struct vfs_backing_ops memory_ops = {
    .free = memory_free,
    .stat = memory_stat,
    .open = memory_open,
    .set_times_at = memory_set_times_at,
    .mkdir = memory_mkdir,
    .rmdir = memory_rmdir,
    .unlink = memory_unlink,
    .rename = memory_rename,
    .link = memory_link,
    .symlink = memory_symlink,
    .readlink = memory_readlink,
    .list = memory_list,
    .close = memory_close,
    .file_stat = memory_file_stat,
    .file_set_times = memory_file_set_times,
    .read = memory_read,
    .write = memory_write,
    .set_size = memory_set_size,
    .sync = memory_sync,
    .listing_next = memory_listing_next,
    .listing_close = memory_listing_close,
};

int vfs_memory_new(uint64_t max_bytes, uint64_t max_files, int64_t (*now)(void *),
                   void *now_context, struct vfs_backing **ret, struct error *e)
{
    struct memory *m = mem_zalloc(sizeof(*m));
    int r;

    if (m == NULL)
        return error_set(e, -ENOMEM, "no memory for a memory mount");
    m->base.ops = &memory_ops;
    m->now = now;
    m->now_context = now_context;
    /* The root and the first table are the mount's own and not the guest's to pay for. */
    m->max_bytes = UINT64_MAX;
    m->table = mem_array(MEMORY_TABLE_MIN, sizeof(*m->table));
    m->table_size = MEMORY_TABLE_MIN;
    m->bytes = MEMORY_TABLE_MIN * sizeof(*m->table);
    r = random_bytes(&m->key, sizeof(m->key));
    if (m->table == NULL || (r == 0 && node_new(m, VFS_TYPE_DIRECTORY, &m->root) != 0))
        r = -ENOMEM;
    if (r < 0) {
        memory_free(&m->base);
        return error_set_errno(e, -r, "cannot make a memory mount");
    }
    m->max_bytes = max_bytes == GRANT_UNSET ? VFS_MEMORY_BYTES : max_bytes;
    m->max_bytes += MIN(m->bytes, UINT64_MAX - m->max_bytes);
    m->max_files = max_files == GRANT_UNSET ? VFS_MEMORY_FILES : max_files;
    *ret = &m->base;
    return 0;
}
