/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest was refused, counted: distinct denials are kept (at most RUN_DENIALS_MAX), repeats
 * only count. Two are the same when class, operation, resource, missing verbs and reason are the
 * same. What comes after the table is full is counted as dropped, never lost from the total, so a
 * guest that makes up names cannot fill memory or control's log.
 */
#pragma once

#include "wire/run.h"

#define DENIAL_RESOURCE_MAX 4096 /* bytes of a resource that are kept and compared */
#define DENIALS_SLOTS (2 * RUN_DENIALS_MAX)

struct denial {
    char *operation, *resource;
    uint32_t class, verbs, reason;
    uint64_t hash, count;
};
struct denials {
    struct denial *items; /* in the order first seen */
    size_t count, capacity;
    uint64_t total, dropped;
    uint16_t slots[DENIALS_SLOTS]; /* open addressing; index + 1 into items, 0 = empty */
};

void denials_init(struct denials *d);
void denials_done(struct denials *d);
/* Was it recorded? By class, operation, resource, verbs and reason. */
bool denials_have(const struct denials *d, const struct run_denial *of);
/* Counts one. 1: it is new and was kept; 0: a repeat, or the table is full; -ENOMEM. */
int denials_record(struct denials *d, uint32_t class, const char *operation, const char *resource,
                   uint32_t verbs, uint32_t reason) MUST_CHECK;
