/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers and operations of the loop (loop.h): a binary heap of deadlines, and a hash of what guests
 * wait for by guest and id. Invariants: heap[t->place - 1] == t for every timer that is set; an
 * operation is in the table, in its guest's list, and, when it waits for a time of a running clock,
 * in the heap: in all of them or in none. What a guest can make here is bounded by its handles:
 * each operation belongs to a pollable that it holds.
 */
#include "base/mem.h"
#include "worker/guest.h"

/* ---- timers ---- */

static void heap_put(struct loop *l, size_t place, struct timer *t)
{
    l->heap[place - 1] = t;
    t->place = place;
}

static void sift_up(struct loop *l, size_t place, struct timer *t)
{
    while (place > 1 && l->heap[place / 2 - 1]->deadline_ns > t->deadline_ns) {
        heap_put(l, place, l->heap[place / 2 - 1]);
        place /= 2;
    }
    heap_put(l, place, t);
}

static void sift_down(struct loop *l, size_t place, struct timer *t)
{
    for (;;) {
        size_t child = place * 2;
        if (child > l->heap_count)
            break;
        if (child < l->heap_count && l->heap[child]->deadline_ns < l->heap[child - 1]->deadline_ns)
            child++;
        if (l->heap[child - 1]->deadline_ns >= t->deadline_ns)
            break;
        heap_put(l, place, l->heap[child - 1]);
        place = child;
    }
    heap_put(l, place, t);
}

int timer_set(struct loop *l, struct timer *t, uint64_t deadline_ns)
{
    timer_clear(l, t);
    if (l->heap_count == l->heap_capacity) {
        size_t capacity = MAX(l->heap_capacity * 2, (size_t)8);
        struct timer **heap = mem_grow(l->heap, capacity, sizeof(*heap));
        if (!heap)
            return -ENOMEM;
        l->heap = heap;
        l->heap_capacity = capacity;
    }
    t->deadline_ns = deadline_ns;
    l->heap_count++;
    sift_up(l, l->heap_count, t);
    return 0;
}

void timer_clear(struct loop *l, struct timer *t)
{
    size_t place = t->place;
    if (place == 0)
        return;
    struct timer *last = l->heap[--l->heap_count];
    t->place = 0;
    if (last == t)
        return;
    sift_down(l, place, last);
    sift_up(l, last->place, last);
}

/* ---- operations ---- */

static size_t bucket_of(const struct loop *l, const struct guest *g, uint64_t id)
{
    uint64_t x = (id ^ (uintptr_t)g >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(x >> 32) & (l->table_size - 1);
}

/* Where the pointer to it stands, or to the NULL at the chain's end. Needs a table. */
static struct operation **find(struct loop *l, const struct guest *g, uint64_t id)
{
    struct operation **at = &l->table[bucket_of(l, g, id)];
    while (*at && ((*at)->id != id || (*at)->guest != g))
        at = &(*at)->chain;
    return at;
}

static int table_reserve(struct loop *l)
{
    if (l->operation_count < l->table_size)
        return 0;
    size_t old_size = l->table_size;
    struct operation **old = l->table,
                     **table = mem_array(MAX(old_size * 2, (size_t)16), sizeof(struct operation *));
    if (!table)
        return -ENOMEM;
    l->table = table;
    l->table_size = MAX(old_size * 2, (size_t)16);
    for (size_t i = 0; i < old_size; i++) {
        for (struct operation *o = old[i], *next; o; o = next) {
            next = o->chain;
            struct operation **head = &table[bucket_of(l, o->guest, o->id)];
            o->chain = *head;
            *head = o;
        }
    }
    mem_free(old);
    return 0;
}

static void time_has_come(struct timer *t, struct loop *l)
{
    operation_complete(l, (struct operation *)((char *)t - offsetof(struct operation, timer)));
}

static int add(struct loop *l, struct guest *g, uint64_t id, struct operation **ret)
{
    int status = table_reserve(l);
    if (status < 0)
        return status;
    struct operation **at = find(l, g, id);
    if (*at)
        return -EEXIST;
    struct operation *o = mem_zalloc(sizeof(*o));
    if (!o)
        return -ENOMEM;
    o->id = id;
    o->guest = g;
    o->frozen_ns = UINT64_MAX;
    o->timer.fire = time_has_come;
    *at = o;
    o->next = g->operations;
    if (o->next)
        o->next->previous = o;
    g->operations = o;
    l->operation_count++;
    *ret = o;
    return 0;
}

/* Takes it out of everything and frees it. */
static void forget(struct loop *l, struct operation *o)
{
    struct operation **at = find(l, o->guest, o->id);
    ASSERT(*at == o);
    *at = o->chain;
    if (o->previous)
        o->previous->next = o->next;
    else
        o->guest->operations = o->next;
    if (o->next)
        o->next->previous = o->previous;
    l->operation_count--;
    timer_clear(l, &o->timer);
    /* When that fails nobody is told of it any more; the next wait registers it again. */
    if (o->watch && watch_update(l, o->watch, false) < 0)
        watch_forget(l, o->watch);
    mem_free(o);
}

int operation_add_stream(struct loop *l, struct guest *g, uint64_t id, struct watch *w,
                         bool for_write)
{
    struct operation *o;
    int status = add(l, g, id, &o);
    if (status < 0)
        return status;
    o->watch = w;
    o->for_write = for_write;
    status = watch_update(l, w, false);
    if (status < 0) {
        o->watch = NULL;
        forget(l, o);
    }
    return status;
}

int operation_add_time(struct loop *l, struct guest *g, uint64_t id, uint64_t deadline_ns)
{
    struct operation *o;
    int status = add(l, g, id, &o);
    if (status < 0)
        return status;
    status = timer_set(l, &o->timer, deadline_ns);
    if (status < 0)
        forget(l, o);
    return status;
}

int operation_add_frozen(struct loop *l, struct guest *g, uint64_t id, uint64_t frozen_ns)
{
    struct operation *o;
    int status = add(l, g, id, &o);
    if (status < 0)
        return status;
    o->frozen_ns = MIN(frozen_ns, UINT64_MAX - 1);
    return 0;
}

int operation_add_event(struct loop *l, struct guest *g, uint64_t id, const void *event,
                        bool for_write)
{
    struct operation *o;
    int status = add(l, g, id, &o);
    if (status < 0)
        return status;
    o->event = event;
    o->for_write = for_write;
    return 0;
}

void operations_complete_event(struct loop *l, struct guest *g, const void *event, bool for_write)
{
    for (struct operation *o = g->operations, *next; o; o = next) {
        next = o->next;
        if (o->event == event && o->for_write == for_write)
            operation_complete(l, o);
    }
}

void operation_cancel(struct loop *l, struct guest *g, uint64_t id)
{
    struct operation *o = l->table_size ? *find(l, g, id) : NULL;
    if (o)
        forget(l, o);
}

void operation_complete(struct loop *l, struct operation *o)
{
    struct guest *g = o->guest;
    uint64_t id = o->id;
    forget(l, o);
    if (g->task)
        ambit_operation_complete(g->task, id);
}

void operations_complete_all(struct loop *l, struct guest *g)
{
    while (g->operations)
        operation_complete(l, g->operations);
}

void operations_forget_all(struct loop *l, struct guest *g)
{
    while (g->operations)
        forget(l, g->operations);
}
