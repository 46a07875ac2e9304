/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small integers that stand for a guest's open things. The engine keeps them in its resource
 * table and never shows them to the guest, so a wrong one is a bug of ours or of the engine, and is
 * answered, not followed.
 *
 * A dense array with a free list; a slot knows what kind of thing it holds, so that a file's number
 * used as a stream finds nothing. 0 is never given out. The table owns no objects: its user closes
 * what handles_remove() and handles_each() give back.
 */
#pragma once

#include "base/error.h"

enum handle_kind {
    HANDLE_FREE,
    HANDLE_STREAM, /* a standard stream */
    HANDLE_LINES,  /* the same in `ambit serve` */
    HANDLE_FILE,
    HANDLE_LISTING,
    HANDLE_EXCHANGE,
    HANDLE_BODY,
    HANDLE_BUCKET,
    HANDLE_KIND_COUNT
};

struct handle_slot {
    void *object;
    uint32_t next_free;
    uint8_t kind;
};
struct handles {
    struct handle_slot *slots;
    size_t capacity, used; /* slots allocated; slots ever used */
    uint32_t first_free;   /* a handle, 0 = none */
    size_t live, peak, max;
};

void handles_init(struct handles *h, size_t max);
/* Frees the table; every object must have been removed or taken over by handles_each(). */
void handles_done(struct handles *h);
/* 0, 1 when `max` things are open already, or -ENOMEM. */
int handles_add(struct handles *h, enum handle_kind kind, void *object, uint32_t *ret) MUST_CHECK;
/* NULL = no such. */
void *handles_get(const struct handles *h, enum handle_kind kind, uint32_t handle);
/* Whatever it is: its kind, or HANDLE_FREE. */
enum handle_kind handles_any(const struct handles *h, uint32_t handle, void **ret_object);
void *handles_remove(struct handles *h, enum handle_kind kind, uint32_t handle);
/* Forgets everything, keeps the memory: for the next guest of a pool. Nothing may be open. */
void handles_reset(struct handles *h);
/* Calls `close` for each open thing and empties the table. */
void handles_each(struct handles *h,
                  void (*close)(void *context, enum handle_kind kind, void *object), void *context);
