/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contents of files in memory: a table of 64 KiB chunks, NULL where nothing was written. What
 * is stored is charged, chunk and table alike; a hole costs nothing but its place in the table, so
 * a size of 8 EiB allocates nothing and a byte written at its end runs into the quota by the table.
 *
 * Invariant: bytes of chunks at or behind the file's end are zero, so growing is only a number.
 */
#include "worker/vfs/memory.h"

#include <string.h>

#include "base/mem.h"

#define MEMORY_FIRST_MIN ((size_t)256)

static size_t chunk_capacity(const struct memory_node *n, size_t index)
{
    return index == 0 ? n->file.first_capacity : MEMORY_CHUNK;
}

static void chunk_drop(struct memory *m, struct memory_node *n, size_t index)
{
    if (n->file.chunks[index] == NULL)
        return;
    mem_free(n->file.chunks[index]);
    n->file.chunks[index] = NULL;
    memory_refund(m, chunk_capacity(n, index) + MEMORY_OVERHEAD);
    if (index == 0)
        n->file.first_capacity = 0;
}

/* The table holds at least `count` chunks. */
static int table_reserve(struct memory *m, struct memory_node *n, uint64_t count)
{
    uint64_t ahead = MIN((uint64_t)n->file.chunk_count * 2, count + 1024);
    uint64_t wanted = MAX(count, ahead), add;
    uint8_t **grown;
    int r;

    if (count <= n->file.chunk_count)
        return 0;
    add = (wanted - n->file.chunk_count) * sizeof(*grown);
    r = memory_charge(m, add);
    if (r != 0)
        return r;
    grown = mem_grow(n->file.chunks, (size_t)wanted, sizeof(*grown));
    if (grown == NULL) {
        memory_refund(m, add);
        return VFS_INSUFFICIENT_MEMORY;
    }
    memset(grown + n->file.chunk_count, 0, (size_t)add);
    n->file.chunks = grown;
    n->file.chunk_count = (size_t)wanted;
    return 0;
}

/* Chunk `index` is there and holds at least `used` bytes. */
static int chunk_reserve(struct memory *m, struct memory_node *n, size_t index, size_t used)
{
    size_t old = n->file.chunks[index] ? chunk_capacity(n, index) : 0, capacity = MEMORY_CHUNK;
    uint8_t *grown;
    int r;

    if (old >= used)
        return 0;
    if (index == 0)
        for (capacity = MEMORY_FIRST_MIN; capacity < used;)
            capacity *= 2;
    r = memory_charge(m, capacity - old + (old ? 0 : MEMORY_OVERHEAD));
    if (r != 0)
        return r;
    grown = mem_grow(n->file.chunks[index], capacity, 1);
    if (grown == NULL) {
        memory_refund(m, capacity - old + (old ? 0 : MEMORY_OVERHEAD));
        return VFS_INSUFFICIENT_MEMORY;
    }
    memset(grown + old, 0, capacity - old);
    n->file.chunks[index] = grown;
    if (index == 0)
        n->file.first_capacity = capacity;
    return 0;
}

static int memory_file_read(struct memory_node *n, uint64_t offset, void *into, size_t size,
                            size_t *ret_size)
{
    uint8_t *out = into;
    size_t done = 0;

    if (offset >= n->file.size)
        size = 0;
    else
        size = (size_t)MIN((uint64_t)size, n->file.size - offset);
    while (done < size) {
        uint64_t at = offset + done, index = at / MEMORY_CHUNK;
        size_t in = (size_t)(at % MEMORY_CHUNK), part = MIN(size - done, MEMORY_CHUNK - in),
               have = 0;

        if (index < n->file.chunk_count && n->file.chunks[index] != NULL &&
            chunk_capacity(n, (size_t)index) > in)
            have = MIN(part, chunk_capacity(n, (size_t)index) - in);
        if (have > 0)
            memcpy(out + done, n->file.chunks[index] + in, have);
        memset(out + done + have, 0, part - have);
        done += part;
    }
    *ret_size = size;
    return 0;
}

static int memory_file_write(struct memory *m, struct memory_node *n, uint64_t offset,
                             const void *bytes, size_t size, size_t *ret_size)
{
    const uint8_t *from = bytes;
    size_t done = 0;
    int r = 0;

    while (done < size) {
        uint64_t at = offset + done, index = at / MEMORY_CHUNK;
        size_t in = (size_t)(at % MEMORY_CHUNK), part = MIN(size - done, MEMORY_CHUNK - in);

        r = table_reserve(m, n, index + 1);
        if (r == 0)
            r = chunk_reserve(m, n, (size_t)index, in + part);
        if (r != 0)
            break;
        memcpy(n->file.chunks[index] + in, from + done, part);
        done += part;
        n->file.size = MAX(n->file.size, at + part);
    }
    if (done == 0 && r != 0)
        return r;
    *ret_size = done;
    return 0;
}

int memory_file_set_size(struct memory *m, struct memory_node *n, uint64_t size)
{
    uint64_t keep = size / MEMORY_CHUNK + (size % MEMORY_CHUNK ? 1 : 0);
    size_t last = (size_t)(size % MEMORY_CHUNK), capacity;

    if (size < n->file.size) {
        for (size_t i = (size_t)MIN(keep, (uint64_t)n->file.chunk_count); i < n->file.chunk_count;
             i++)
            chunk_drop(m, n, i);
        if (last != 0 && keep <= n->file.chunk_count && n->file.chunks[keep - 1] != NULL) {
            capacity = chunk_capacity(n, (size_t)keep - 1);
            if (last < capacity)
                memset(n->file.chunks[keep - 1] + last, 0, capacity - last);
        }
        if (keep == 0)
            memory_file_done(m, n);
    }
    n->file.size = size;
    return 0;
}

void memory_file_done(struct memory *m, struct memory_node *n)
{
    for (size_t i = 0; i < n->file.chunk_count; i++)
        chunk_drop(m, n, i);
    mem_free(n->file.chunks);
    memory_refund(m, n->file.chunk_count * sizeof(*n->file.chunks));
    n->file.chunks = NULL;
    n->file.chunk_count = 0;
}

/* ---- operations of the backing ---- */

int memory_read(struct vfs_backing *b, union vfs_handle h, uint64_t offset, void *into, size_t size,
                size_t *ret_size)
{
    return memory_file_read(h.pointer, offset, into, size, ret_size);
}

int memory_write(struct vfs_backing *b, union vfs_handle h, uint64_t offset, const void *bytes,
                 size_t size, size_t *ret_size)
{
    struct memory *m = memory_of(b);
    struct memory_node *n = h.pointer;
    int r;

    if (offset == VFS_APPEND)
        offset = n->file.size;
    if (size > INT64_MAX || offset > INT64_MAX - size)
        return VFS_FILE_TOO_LARGE;
    r = memory_file_write(m, n, offset, bytes, size, ret_size);
    if (r == 0 && *ret_size > 0)
        n->modified_ns = n->changed_ns = memory_now(m);
    return r;
}

int memory_set_size(struct vfs_backing *b, union vfs_handle h, uint64_t size)
{
    struct memory *m = memory_of(b);
    struct memory_node *n = h.pointer;

    n->modified_ns = n->changed_ns = memory_now(m);
    return memory_file_set_size(m, n, size);
}

int memory_sync(struct vfs_backing *b, union vfs_handle h, bool data_only)
{
    return 0;
}
