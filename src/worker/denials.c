/* SPDX-License-Identifier: Apache-2.0 */
/* Denials: see denials.h. Invariants: every item is in `slots`; the sum of item counts + dropped
 * is total. */
#include "worker/denials.h"

#include <string.h>

#include "base/mem.h"

void denials_init(struct denials *d)
{
    *d = (struct denials){ 0 };
}

void denials_done(struct denials *d)
{
    for (size_t i = 0; i < d->count; i++) {
        mem_free(d->items[i].operation);
        mem_free(d->items[i].resource);
    }
    mem_free(d->items);
    denials_init(d);
}

/* FNV-1a. A guest can make names collide, which costs it a walk over
 * at most RUN_DENIALS_MAX items. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_denial(uint32_t class, const char *operation, const char *resource,
                            size_t size, uint32_t verbs, uint32_t reason)
{
    uint32_t numbers[] = { class, verbs, reason };
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), numbers, sizeof(numbers));
    hash = hash_bytes(hash, operation, strlen(operation) + 1);
    return hash_bytes(hash, resource, size);
}

static bool same(const struct denial *a, const struct denial *b, size_t resource_size)
{
    return a->hash == b->hash && a->class == b->class && a->verbs == b->verbs &&
           a->reason == b->reason && !strcmp(a->operation, b->operation) &&
           !strncmp(a->resource, b->resource, resource_size) && a->resource[resource_size] == '\0';
}

static int reserve(struct denials *d)
{
    if (d->count < d->capacity)
        return 0;
    size_t doubled = MAX(d->capacity * 2, (size_t)8);
    size_t capacity = MIN(doubled, (size_t)RUN_DENIALS_MAX);
    struct denial *items = mem_grow(d->items, capacity, sizeof(*items));
    if (!items)
        return -ENOMEM;
    d->items = items;
    d->capacity = capacity;
    return 0;
}

bool denials_have(const struct denials *d, const struct run_denial *of)
{
    size_t size = strnlen(of->resource, DENIAL_RESOURCE_MAX);
    struct denial wanted = { .operation = of->operation,
                             .resource = of->resource,
                             .class = of->class,
                             .verbs = of->verbs,
                             .reason = of->reason };
    wanted.hash = hash_denial(of->class, of->operation, of->resource, size, of->verbs, of->reason);
    for (size_t slot = wanted.hash % DENIALS_SLOTS; d->slots[slot];
         slot = (slot + 1) % DENIALS_SLOTS)
        if (same(&d->items[d->slots[slot] - 1], &wanted, size))
            return true;
    return false;
}

int denials_record(struct denials *d, uint32_t class, const char *operation, const char *resource,
                   uint32_t verbs, uint32_t reason)
{
    size_t size = strnlen(resource, DENIAL_RESOURCE_MAX);
    uint64_t hash = hash_denial(class, operation, resource, size, verbs, reason);
    struct denial new = { .operation = (char *)operation,
                          .resource = (char *)resource,
                          .class = class,
                          .verbs = verbs,
                          .reason = reason,
                          .hash = hash,
                          .count = 1 };

    d->total++;
    size_t slot = hash % DENIALS_SLOTS;
    for (; d->slots[slot]; slot = (slot + 1) % DENIALS_SLOTS) {
        struct denial *item = &d->items[d->slots[slot] - 1];
        if (same(item, &new, size)) {
            item->count++;
            return 0;
        }
    }
    if (d->count == RUN_DENIALS_MAX) {
        d->dropped++;
        return 0;
    }
    if (reserve(d) < 0)
        goto no_memory;
    new.operation = mem_strdup(operation);
    new.resource = mem_strndup(resource, size);
    if (!new.operation || !new.resource) {
        mem_free(new.operation);
        mem_free(new.resource);
        goto no_memory;
    }
    d->items[d->count++] = new;
    d->slots[slot] = (uint16_t)d->count;
    return 1;
no_memory:
    d->dropped++;
    return -ENOMEM;
}
