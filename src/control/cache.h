/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code cache: component bytes in, machine code and a description out; compiled in a room of its
 * own on a miss.
 *
 * A folder of mode 0700 that no room can write:
 *   key                    32 random bytes, the key of every MAC here; made at first use
 *   lock                   byte-range locks: byte 0 for changing entries, the others for
 *                          "I compile this key"
 *   KEY.code               machine code, mode 0400
 *   KEY.entry              the index record of that file, its description, and a MAC over both
 *   sources/DEVICE-INODE   a source file's identity → its digest, and a MAC
 * KEY = SHA-256(format, compatibility of the engine, digest of the component).
 *
 * Invariants: what is compiled is exactly the bytes that were hashed (a sealed copy of them); a
 * record counts only with a good MAC and only for the code file whose device, inode, size and times
 * it names. When those differ the file is hashed in full: equal, the record is renewed; different,
 * the entry is evicted, compiled again, and the caller told. Entries appear whole (rename) or not
 * at all. A file's identity stands for its digest only if it was at rest for 2 s when recorded (a
 * later write within one tick of the file system's clock would not show, git's "racily clean").
 */
#pragma once

#include "base/buf.h"
#include "base/digest.h"

#define CACHE_KEY_SIZE 32
#define CACHE_KEY_TEXT_SIZE (2 * CACHE_KEY_SIZE + 1)
#define CACHE_MAX_BYTES_DEFAULT (UINT64_C(2) << 30)
#define CACHE_COMPONENT_MAX (UINT64_C(512) << 20) /* larger files are refused */
#define CACHE_DESCRIPTION_MAX (512u << 10)

/* Told while something takes long: a stage for people ("compiling"), about four times a second. May
 * be NULL. */
typedef void (*cache_progress)(void *context, const char *stage, uint64_t elapsed_ns);

/* What a compiler answered. */
struct cache_made {
    char *description; /* JSON, NUL-terminated (mem_free) */
    uint64_t code_size;
    uint32_t missing; /* enum jail_layer bits that its room did without */
};
/* Compiles what `input_fd` (sealed) holds into `output_fd` (-1: describe only). 0 and *ret; an enum
 * cache_outcome with `e` set; < 0. Nothing writes to output_fd any more when it returns.
 * cache_room() is the one of the product; tests have their own. */
typedef int (*cache_compiler)(void *context, int input_fd, int output_fd, cache_progress progress,
                              void *progress_context, struct cache_made *ret, struct error *e);

enum cache_outcome {
    CACHE_REFUSED = 1, /* a file that Ambit does not run; `e` has why and what to do */
    /* the compiler ran into its time or memory limit, or ended without an answer */
    CACHE_LIMIT = 2,
};

struct cache_config {
    int dir_fd; /* the folder, taken; from state_open("cache") */
    uint8_t compatibility[CACHE_KEY_SIZE];
    uint64_t max_bytes;
    cache_compiler compile;
    void *compile_context;
};
struct cache;
/* Takes config->dir_fd, also on failure. */
int cache_new(const struct cache_config *config, struct cache **ret, struct error *e) MUST_CHECK;
/* The product's: the state folder, the linked engine, the compiler room. `allow_missing`: enum
 * jail_layer bits. */
int cache_open(uint32_t allow_missing, struct cache **ret, struct error *e) MUST_CHECK;
void cache_free(struct cache *c);
static inline void cache_freep(struct cache **c)
{
    cache_free(*c);
}

struct cache_entry {
    int code_fd;       /* read-only; -1 for a description alone */
    char *description; /* the JSON object of ambit_compile() */
    struct digest component, code;
    uint64_t component_size, code_size;
    bool hit;
    uint32_t missing;  /* of the compiler room, when one ran now */
    char evicted[160]; /* "", or why an entry was thrown away: an event for the receipt */
};
void cache_entry_done(struct cache_entry *entry);

/* The machine code of the component that `component_fd` holds (a file from its start; a pipe as it
 * comes). 0, an enum cache_outcome, or < 0. Several processes may call this at once, for the same
 * component too: then one compiles and the others wait. */
int cache_get(struct cache *c, int component_fd, bool describe_only, cache_progress progress,
              void *progress_context, struct cache_entry *ret, struct error *e) MUST_CHECK;

/* One entry as it lies there. */
struct cache_item {
    char key[CACHE_KEY_TEXT_SIZE];
    struct digest component;
    uint64_t component_size, code_size, bytes; /* bytes: on disk, code and record */
    int64_t made_ns, used_ns;
    bool current; /* made by this engine and configuration */
    bool bad;     /* its record or code is not what was stored; `why` */
    char why[160];
};
struct cache_list {
    struct cache_item *items; /* most recently used first */
    size_t count;
    uint64_t bytes;
};
void cache_list_done(struct cache_list *list);
/* Reads the records; with `full` hashes every code file too. */
int cache_list(struct cache *c, bool full, cache_progress progress, void *progress_context,
               struct cache_list *ret, struct error *e) MUST_CHECK;
/* Removes one entry. */
int cache_evict(struct cache *c, const char *key, struct error *e) MUST_CHECK;
/* Removes, until at most max_bytes remain: leftovers of interrupted work, bad entries, those of
 * other engines, then the least recently used. `keep` (a key or NULL) stays. */
int cache_gc(struct cache *c, uint64_t max_bytes, const char *keep, size_t *ret_removed,
             uint64_t *ret_freed, struct error *e) MUST_CHECK;

/* ---- the compiler room, from control's side (cache_room.c) ---- */

struct cache_room_options {
    uint32_t allow_missing;
    uint32_t wall_ms; /* 0 = the default, 120 s */
};
#define CACHE_ROOM_WALL_MS 120000
/* A cache_compiler; its context is a struct cache_room_options. */
int cache_room(void *context, int input_fd, int output_fd, cache_progress progress,
               void *progress_context, struct cache_made *ret, struct error *e) MUST_CHECK;
