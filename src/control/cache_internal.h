/* SPDX-License-Identifier: Apache-2.0 */
/* What cache.c (looking up, filling) and cache_keep.c (listing, cleaning) share. */
#pragma once

#include "control/cache_record.h"

struct cache {
    struct cache_config config; /* owns config.dir_fd */
    int sources_fd, lock_fd;
    uint8_t mac_key[CACHE_MAC_KEY_SIZE];
};

#define CACHE_NAME_SIZE (CACHE_KEY_TEXT_SIZE + 8)
#define CACHE_CODE_SUFFIX ".code"
#define CACHE_ENTRY_SUFFIX ".entry"
#define CACHE_RECORD_MAX (CACHE_DESCRIPTION_MAX + 4096)

void cache_key_of(const struct cache *c, const struct digest *component,
                  uint8_t ret[static CACHE_KEY_SIZE]);
void cache_name(char ret[static CACHE_NAME_SIZE], const char *key, const char *suffix);

enum cache_lookup {
    CACHE_FOUND = 0,
    CACHE_ABSENT = 1,
    CACHE_BAD = 2,   /* there, and not what was stored: the reason is in `e` */
    CACHE_MOVED = 3, /* good, but the code file has a new identity: the record wants renewing */
};
/* An entry by its key's text. `want_code`: an entry without code is absent; *ret_code_fd is then
 * open. `full`: hash the code in any case. enum cache_lookup or < 0. */
int cache_lookup(struct cache *c, const char *key, bool want_code, bool full,
                 struct cache_record *ret, int *ret_code_fd, struct error *e) MUST_CHECK;
