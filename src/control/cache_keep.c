/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping the cache: what is in it, is it whole, and what goes when it is too large. Removing is
 * always safe: a worker holds its code file open, and a start that finds nothing compiles again.
 */
#include "control/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "control/cache_internal.h"

#define LEFTOVER_NS (3600 * (int64_t)NS_PER_S)
#define ITEMS_MAX 100000
#define SOURCES_MAX 4096

void cache_list_done(struct cache_list *list)
{
    mem_free(list->items);
    *list = (struct cache_list){ 0 };
}

/* A stream of its own over a folder that stays open. NULL with errno. */
static DIR *folder_stream(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL)
        fd_close(fd);
    return d;
}

static void dir_closep(DIR **d)
{
    if (*d != NULL)
        (void)closedir(*d);
}

/* "KEY.suffix" → KEY. */
static bool key_of_name(const char *name, const char *suffix, char ret[static CACHE_KEY_TEXT_SIZE])
{
    const size_t size = 2 * CACHE_KEY_SIZE;
    if (strlen(name) < size || strspn(name, "0123456789abcdef") != size ||
        strcmp(name + size, suffix) != 0)
        return false;
    memcpy(ret, name, size);
    ret[size] = '\0';
    return true;
}

static int by_use(const void *a, const void *b)
{
    const struct cache_item *x = a, *y = b;
    return x->used_ns < y->used_ns ? 1 : x->used_ns > y->used_ns ? -1 : strcmp(x->key, y->key);
}

static uint64_t bytes_on_disk(const struct cache *c, const char *key, const char *suffix,
                              struct stat *ret)
{
    char name[CACHE_NAME_SIZE];
    cache_name(name, key, suffix);
    if (fstatat(c->config.dir_fd, name, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return (uint64_t)ret->st_size;
}

static int item_fill(struct cache *c, bool full, struct cache_item *item, struct error *e)
{
    struct error why = ERROR_INIT;
    struct stat record_stat = { 0 }, code_stat;
    CLEANUP(cache_record_done) struct cache_record record = { 0 };
    CLEANUP(fd_closep) int code_fd = -1;
    uint8_t current[CACHE_KEY_SIZE];

    item->bytes = bytes_on_disk(c, item->key, CACHE_ENTRY_SUFFIX, &record_stat);
    item->used_ns = cache_identity_of(&record_stat).modified_ns;
    item->bytes += bytes_on_disk(c, item->key, CACHE_CODE_SUFFIX, &code_stat);
    int r = cache_lookup(c, item->key, false, full, &record, &code_fd, &why);
    if (r < 0)
        return error_set(e, r, "%s", why.what);
    if (r == CACHE_ABSENT)
        return 1; /* removed just now */
    if (r == CACHE_BAD) {
        item->bad = true;
        (void)snprintf(item->why, sizeof(item->why), "%.150s", why.what);
        return 0;
    }
    item->component = record.component;
    item->component_size = record.component_size;
    item->code_size = record.has_code ? record.code_file.size : 0;
    item->made_ns = record.made_ns;
    cache_key_of(c, &record.component, current);
    item->current = memcmp(current, record.key, sizeof(current)) == 0;
    return 0;
}

int cache_list(struct cache *c, bool full, cache_progress progress, void *progress_context,
               struct cache_list *ret, struct error *e)
{
    CLEANUP(cache_list_done) struct cache_list list = { 0 };
    size_t capacity = 0;
    uint64_t started = clock_monotonic_ns();
    CLEANUP(dir_closep) DIR *d = folder_stream(c->config.dir_fd);
    if (d == NULL)
        return error_set_errno(e, errno, "cannot list the code cache");

    for (struct dirent *entry; list.count < ITEMS_MAX && (entry = readdir(d)) != NULL;) {
        struct cache_item item = { 0 };
        if (!key_of_name(entry->d_name, CACHE_ENTRY_SUFFIX, item.key))
            continue;
        if (full && progress != NULL)
            progress(progress_context, "hashing machine code", clock_monotonic_ns() - started);
        int r = item_fill(c, full, &item, e);
        if (r < 0)
            return r;
        if (r == 1)
            continue;
        if (list.count == capacity) {
            capacity = capacity == 0 ? 64 : 2 * capacity;
            struct cache_item *grown = mem_grow(list.items, capacity, sizeof(*grown));
            if (grown == NULL)
                return error_set(e, -ENOMEM, "no memory");
            list.items = grown;
        }
        list.items[list.count++] = item;
        list.bytes += item.bytes;
    }
    if (list.count > 1)
        qsort(list.items, list.count, sizeof(*list.items), by_use);
    *ret = list;
    memset(&list, 0, sizeof(list));
    return 0;
}

/* ---- cleaning ---- */

static bool is_older(const struct stat *st, int64_t age_ns)
{
    return cache_identity_of(st).modified_ns < clock_real_ns() - age_ns;
}

static bool has_record(const struct cache *c, const char *key)
{
    char name[CACHE_NAME_SIZE];
    struct stat st;
    cache_name(name, key, CACHE_ENTRY_SUFFIX);
    return fstatat(c->config.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What interrupted work left behind: temporary files, code without a record; old enough that nobody
 * is still at it. */
static int remove_leftovers(struct cache *c, int dir_fd, size_t *removed, uint64_t *freed,
                            struct error *e)
{
    CLEANUP(dir_closep) DIR *d = folder_stream(dir_fd);
    if (d == NULL)
        return error_set_errno(e, errno, "cannot list the code cache");
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        char key[CACHE_KEY_TEXT_SIZE];
        struct stat st;
        bool temporary = strncmp(entry->d_name, CACHE_TEMPORARY, strlen(CACHE_TEMPORARY)) == 0;
        bool orphan = key_of_name(entry->d_name, CACHE_CODE_SUFFIX, key) && !has_record(c, key);
        if ((!temporary && !orphan) ||
            fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !is_older(&st, LEFTOVER_NS))
            continue;
        if (unlinkat(dir_fd, entry->d_name, 0) == 0) {
            *removed += 1;
            *freed += (uint64_t)st.st_size;
        }
    }
    return 0;
}

/* Source identities are a few dozen bytes each; when there are very many, most are of files that
 * are gone, and all of them cost one hash each to make again. */
static int trim_sources(struct cache *c, struct error *e)
{
    size_t count = 0;
    CLEANUP(dir_closep) DIR *d = folder_stream(c->sources_fd);
    if (d == NULL)
        return error_set_errno(e, errno, "cannot list the code cache");
    while (readdir(d) != NULL)
        count++;
    if (count <= SOURCES_MAX)
        return 0;
    rewinddir(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (entry->d_name[0] != '.')
            (void)unlinkat(c->sources_fd, entry->d_name, 0);
    return 0;
}

/* First to go: bad entries, then those of other engines, then the least recently used. */
static int by_worth(const void *a, const void *b)
{
    const struct cache_item *x = a, *y = b;
    if (x->bad != y->bad)
        return x->bad ? -1 : 1;
    if (x->current != y->current)
        return x->current ? 1 : -1;
    return -by_use(a, b);
}

int cache_gc(struct cache *c, uint64_t max_bytes, const char *keep, size_t *ret_removed,
             uint64_t *ret_freed, struct error *e)
{
    CLEANUP(cache_list_done) struct cache_list list = { 0 };
    size_t removed = 0;
    uint64_t freed = 0;

    int r = remove_leftovers(c, c->config.dir_fd, &removed, &freed, e);
    if (r == 0)
        r = remove_leftovers(c, c->sources_fd, &removed, &freed, e);
    if (r == 0)
        r = trim_sources(c, e);
    if (r == 0)
        r = cache_list(c, false, NULL, NULL, &list, e);
    if (r < 0)
        return r;
    if (list.count > 1)
        qsort(list.items, list.count, sizeof(*list.items), by_worth);
    uint64_t left = list.bytes;
    for (size_t i = 0; i < list.count; i++) {
        const struct cache_item *item = &list.items[i];
        bool kept = keep != NULL && strcmp(keep, item->key) == 0;
        if (kept || (!item->bad && left <= max_bytes))
            continue;
        r = cache_evict(c, item->key, e);
        if (r < 0)
            return r;
        left -= MIN(left, item->bytes);
        freed += item->bytes;
        removed++;
    }
    *ret_removed = removed;
    *ret_freed = freed;
    return 0;
}
