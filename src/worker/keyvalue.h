/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buckets in memory: keys and values of a run, or of a worker of `ambit serve`, where all its
 * requests share them. They end with the worker; nothing is written anywhere.
 *
 * Keys are in the order of their making, which is the order in which they are listed: the same
 * calls give the same list. A cursor is the number of the last key that was given, so a list goes on
 * rightly whatever was added or removed meanwhile.
 *
 * What is stored is bounded: keys, values and BUCKET_KEY_COST for each key are at most the bucket's
 * max_bytes. What is allowed is host/keyvalue.c's.
 */
#pragma once

#include "ambit_engine.h"
#include "grant/grant.h"

#define BUCKET_KEY_COST 128 /* what a key costs beside its bytes */

struct bucket_entry {
    struct bucket_entry *chain;
    uint64_t number; /* of its making, from 1 */
    size_t place;    /* in the order */
    size_t key_size, value_size;
    uint8_t *value;
    uint8_t key[];
};
struct bucket {
    struct bucket *next;
    char *name;
    uint64_t bytes, max_bytes;
    uint64_t last; /* number */
    uint64_t seed;
    struct bucket_entry **table;
    size_t table_size, count;
    struct bucket_entry **order; /* by number; NULL = removed */
    size_t order_size, order_capacity;
};
struct keyvalue {
    const struct grant_rules *rules;
    struct bucket *buckets;
    uint64_t *full_ns;          /* one per rule: when its rate is all there again */
    struct ambit_bytes *listed; /* of the last list */
};

/* The buckets of a run, none yet; `rules` are borrowed. -ENOMEM. */
int keyvalue_new(const struct grant_rules *rules, struct keyvalue **ret,
                 struct error *e) MUST_CHECK;
void keyvalue_free(struct keyvalue *k);
/* Makes it when it is not there. -ENOMEM. */
int keyvalue_bucket(struct keyvalue *k, const char *name, struct bucket **ret) MUST_CHECK;
/* May the rule be used now? Counts it when it may. */
bool keyvalue_rate(struct keyvalue *k, uint32_t rule, uint64_t now_ns);

/* Borrowed, until the next bucket_set(). NULL: there is no such key. */
struct bucket_entry *bucket_get(const struct bucket *b, struct ambit_bytes key);
/* All of them, or none: 0, 1 when they do not fit, -ENOMEM. A value without data is a key to be
 * removed. Of equal keys the last one counts. */
int bucket_set(struct bucket *b, const struct ambit_pair *pairs, size_t count) MUST_CHECK;
/* The next one behind the number; NULL = there is none. */
const struct bucket_entry *bucket_next(const struct bucket *b, uint64_t number);
