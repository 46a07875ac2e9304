/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the memory backing: nodes, the quota, and the contents of files (memory_file.c) beside the
 * tree (memory.c). */
#pragma once

#include "worker/vfs/backing.h"
#include "worker/vfs/siphash.h"

#define MEMORY_CHUNK ((size_t)64 << 10)
#define MEMORY_OVERHEAD 16 /* what the allocator adds to a block, about */

struct memory_entry;
struct memory_listing;

struct memory_node {
    uint64_t id;
    enum vfs_type type; /* REGULAR, DIRECTORY, SYMLINK */
    uint64_t links;     /* names; a folder: 2 and one per folder in it */
    uint64_t opens;
    int64_t accessed_ns, modified_ns, changed_ns;
    /* All nodes of the tree, so that ending it needs no recursion. */
    struct memory_node *previous, *next;
    union {
        struct {
            uint64_t size;
            uint8_t **chunks; /* NULL: a hole; bytes behind the end are zero */
            size_t chunk_count;
            size_t first_capacity; /* chunk 0 grows by doubling: most files are small */
        } file;
        struct {
            struct memory_node *parent;        /* NULL: the root, or removed */
            struct memory_entry *first, *last; /* in order of making */
            struct memory_listing *listings;
        } folder;
        struct {
            char *target;
            size_t size;
        } link;
    };
};

struct memory {
    struct vfs_backing base;
    int64_t (*now)(void *);
    void *now_context;
    uint64_t max_bytes, max_files, bytes, files;
    uint64_t next_id, next_number;
    struct siphash_key key;
    struct memory_node *root, *nodes;
    struct memory_entry **table; /* by (folder, name); a power of two */
    size_t table_size, entry_count;
};

/* Every block is charged before it is allocated and given back when it is freed. 0 or
 * VFS_OVER_BYTES. */
int memory_charge(struct memory *m, uint64_t bytes) MUST_CHECK;
void memory_refund(struct memory *m, uint64_t bytes);

int memory_file_set_size(struct memory *m, struct memory_node *n, uint64_t size) MUST_CHECK;
void memory_file_done(struct memory *m, struct memory_node *n);

static inline struct memory *memory_of(struct vfs_backing *b)
{
    return (struct memory *)b;
}
static inline int64_t memory_now(struct memory *m)
{
    return m->now(m->now_context);
}

/* Operations of the backing, by handle. */
int memory_read(struct vfs_backing *b, union vfs_handle h, uint64_t offset, void *into, size_t size,
                size_t *ret_size) MUST_CHECK;
int memory_write(struct vfs_backing *b, union vfs_handle h, uint64_t offset, const void *bytes,
                 size_t size, size_t *ret_size) MUST_CHECK;
int memory_set_size(struct vfs_backing *b, union vfs_handle h, uint64_t size) MUST_CHECK;
int memory_sync(struct vfs_backing *b, union vfs_handle h, bool data_only) MUST_CHECK;
