/* SPDX-License-Identifier: Apache-2.0 */
/* Handle table: see handles.h. Invariant: live == number of slots whose kind is not HANDLE_FREE,
 * and live <= max. */
#include "worker/handles.h"

#include "base/mem.h"

void handles_init(struct handles *h, size_t max)
{
    *h = (struct handles){ .max = MIN(max, (size_t)UINT32_MAX - 1) };
}

void handles_done(struct handles *h)
{
    mem_free(h->slots);
    *h = (struct handles){ .max = h->max, .peak = h->peak };
}

static int grow(struct handles *h)
{
    size_t doubled = MAX(h->capacity * 2, (size_t)16);
    size_t capacity = MIN(doubled, h->max);
    struct handle_slot *slots = mem_grow(h->slots, capacity, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    h->slots = slots;
    h->capacity = capacity;
    return 0;
}

int handles_add(struct handles *h, enum handle_kind kind, void *object, uint32_t *ret)
{
    ASSERT(kind != HANDLE_FREE && object);
    if (h->live >= h->max)
        return 1;
    uint32_t handle = h->first_free;
    if (handle) {
        h->first_free = h->slots[handle - 1].next_free;
    } else {
        if (h->used == h->capacity && grow(h) < 0)
            return -ENOMEM;
        handle = (uint32_t)++h->used;
    }
    h->slots[handle - 1] = (struct handle_slot){ .object = object, .kind = (uint8_t)kind };
    h->live++;
    h->peak = MAX(h->peak, h->live);
    *ret = handle;
    return 0;
}

void *handles_get(const struct handles *h, enum handle_kind kind, uint32_t handle)
{
    if (handle == 0 || handle > h->used || h->slots[handle - 1].kind != kind)
        return NULL;
    return h->slots[handle - 1].object;
}

enum handle_kind handles_any(const struct handles *h, uint32_t handle, void **ret_object)
{
    if (handle == 0 || handle > h->used)
        return HANDLE_FREE;
    *ret_object = h->slots[handle - 1].object;
    return h->slots[handle - 1].kind;
}

void handles_reset(struct handles *h)
{
    ASSERT(h->live == 0);
    h->used = h->peak = 0;
    h->first_free = 0;
}

void *handles_remove(struct handles *h, enum handle_kind kind, uint32_t handle)
{
    void *object = handles_get(h, kind, handle);
    if (!object)
        return NULL;
    h->slots[handle - 1] = (struct handle_slot){ .next_free = h->first_free };
    h->first_free = handle;
    h->live--;
    return object;
}

void handles_each(struct handles *h,
                  void (*close)(void *context, enum handle_kind kind, void *object), void *context)
{
    for (size_t i = 0; i < h->used; i++) {
        struct handle_slot slot = h->slots[i];
        h->slots[i] = (struct handle_slot){ 0 };
        if (slot.kind != HANDLE_FREE)
            close(context, slot.kind, slot.object);
    }
    h->used = h->live = 0;
    h->first_free = 0;
}
