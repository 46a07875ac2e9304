/* SPDX-License-Identifier: Apache-2.0 */
/* The cache's records and files, below cache.c: formats, MACs, identities. For src/control/cache*.c
 * alone. */
#pragma once

#include <sys/stat.h>

#include "control/cache.h"

/* What a file is, as far as its metadata can say. */
struct cache_identity {
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns;
};
struct cache_identity cache_identity_of(const struct stat *st);
bool cache_identity_equal(const struct cache_identity *a, const struct cache_identity *b);

struct cache_record {
    uint8_t key[CACHE_KEY_SIZE];
    struct digest component;
    uint64_t component_size;
    bool has_code;
    struct digest code;
    struct cache_identity code_file;
    int64_t made_ns;
    char *description;
};
void cache_record_done(struct cache_record *r);

#define CACHE_MAC_KEY_SIZE 32
int cache_record_put(const struct cache_record *r, const uint8_t *mac_key, struct buf *out,
                     struct error *e) MUST_CHECK;
/* 0, or 1 with a reason in `e` when the bytes are not what cache_record_put() made with this MAC
 * key. */
int cache_record_get(const void *bytes, size_t size, const uint8_t *mac_key,
                     struct cache_record *ret, struct error *e) MUST_CHECK;

/* A source file's digest, trusted while its identity stays. */
int cache_source_put(const struct cache_identity *id, const struct digest *d,
                     const uint8_t *mac_key, struct buf *out, struct error *e) MUST_CHECK;
int cache_source_get(const void *bytes, size_t size, const struct cache_identity *id,
                     const uint8_t *mac_key, struct digest *ret, struct error *e) MUST_CHECK;

/* Reads a regular file of ours, at most `out`'s maximum. 0, 1: not there, < 0. */
int cache_file_read(int dir_fd, const char *name, struct buf *out, struct error *e) MUST_CHECK;
/* Writes beside and renames; without `replace` an existing file stays (1). */
int cache_file_put(int dir_fd, const char *name, const void *bytes, size_t size, bool replace,
                   struct error *e) MUST_CHECK;
/* The name of a temporary file, not taken yet. gc removes those that are an hour old. */
#define CACHE_TEMPORARY ".tmp-"
#define CACHE_TEMPORARY_SIZE 40
int cache_temporary_name(char ret[static CACHE_TEMPORARY_SIZE], struct error *e) MUST_CHECK;
/* The MAC key, made at first use. */
int cache_mac_key(int dir_fd, uint8_t ret[static CACHE_MAC_KEY_SIZE], struct error *e) MUST_CHECK;
