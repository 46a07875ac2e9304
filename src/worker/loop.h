/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's event loop: one thread, one epoll, many guests.
 *
 *   run queue   guests that can go on, in turn; each gets one time slice (an epoch) per turn
 *   operations  what a parked guest waits for: a stream's readiness, a time. Ids come from the
 *               engine; an operation is in the table from wait() until it is completed (exactly
 *               once) or cancelled
 *   timers      a heap behind one timerfd: sleeping guests, wall limits, expiries
 *   sources     links: shared memory that is looked at in every round without a system call, and a
 *               descriptor that is waited for when nobody can run
 *   control     the channel's descriptor: looked at without blocking after every round, waited for
 *               when nobody can run
 *
 * Wakes only enqueue, so they are fine inside ambit_task_poll(). Nothing here is locked: the loop
 * and everything in it belong to one thread (the engine's ticker thread never wakes a task).
 */
#pragma once

#include "base/error.h"

struct guest;
struct loop;

struct timer {
    uint64_t deadline_ns; /* of CLOCK_MONOTONIC */
    size_t place;         /* in the heap, from 1; 0 = not set */
    void (*fire)(struct timer *timer, struct loop *loop);
};

/* One descriptor whose readiness guests wait for. */
struct watch {
    int fd;
    struct guest *guest;
    uint32_t events;   /* what epoll is asked for now; 0 = not registered */
    bool never_blocks; /* a regular file: always ready, and epoll refuses it */
};

/* A link, as the loop sees it. */
struct source {
    int fd; /* tells when there is something, once sleep() said false; by its edges */
    int (*take)(struct source *s, struct error *e); /* what is there now; < 0 ends the loop */
    bool (*sleep)(struct source *s);                /* about to wait; true = do not */
    void (*flush)(struct source *s);                /* a round is over */
    struct source *next;
};

struct operation {
    uint64_t id;
    struct guest *guest;
    struct operation *chain;           /* of the hash table */
    struct operation *next, *previous; /* of the guest */
    struct timer timer;
    struct watch *watch; /* or NULL: a time, or an event */
    const void *event;   /* an exchange or a body of HTTP, or NULL */
    bool for_write;
    uint64_t frozen_ns; /* a time of a frozen clock, else UINT64_MAX */
};

struct loop {
    int epoll, timer_fd;
    struct operation **table; /* hash of guest and id */
    size_t table_size, operation_count;
    struct timer **heap;
    size_t heap_count, heap_capacity;
    uint64_t armed_ns; /* what timer_fd is set to; 0 = off */
    struct guest *queue_first, *queue_last;
    size_t live;                  /* guests that are not finished */
    bool stays;                   /* runs on when no guest is left: others come */
    void (*round)(void *context); /* or NULL: at the end of each round */
    void *round_context;
    struct source *sources;
    /* The thread's CPU clock, asked seldom (account.c): what it said, and what was counted since. */
    uint64_t cpu_asked_ns, cpu_counted_ns;
    uint64_t looked_ns; /* when descriptors were asked last, while busy */
    int control_fd;
    /* The control channel can be read or written. 0 go on, 1 the other side is gone (every guest is
     * to be ended), < 0 fault. */
    int (*control)(void *context, struct error *e);
    void *control_context;
    bool control_writes; /* wait for room to write too */
};

/* Makes the descriptors; before the jail closes. `control_fd` (borrowed) may be -1. */
int loop_init(struct loop *l, int control_fd, int (*control)(void *, struct error *), void *context,
              struct error *e) MUST_CHECK;
void loop_done(struct loop *l); /* guests must be freed */
/* Asks to be told when control can take more bytes. */
int loop_control_writes(struct loop *l, bool on, struct error *e) MUST_CHECK;

int loop_add_source(struct loop *l, struct source *s, struct error *e) MUST_CHECK;
void loop_remove_source(struct loop *l, struct source *s); /* before its descriptor is closed */

/* Runs until every guest is finished, and `stays` is false. */
int loop_run(struct loop *l, struct error *e) MUST_CHECK;

/* Puts a guest into the run queue, once. Any time, also from inside its poll. */
void loop_enqueue(struct loop *l, struct guest *g);
void loop_dequeue(struct loop *l, struct guest *g);

int timer_set(struct loop *l, struct timer *t, uint64_t deadline_ns) MUST_CHECK; /* -ENOMEM */
void timer_clear(struct loop *l, struct timer *t);

/* Operations. -ENOMEM: nothing was added. -EEXIST: that id waits already, a bug of the engine. */
int operation_add_stream(struct loop *l, struct guest *g, uint64_t id, struct watch *w,
                         bool for_write) MUST_CHECK;
int operation_add_time(struct loop *l, struct guest *g, uint64_t id,
                       uint64_t deadline_ns) MUST_CHECK;
int operation_add_frozen(struct loop *l, struct guest *g, uint64_t id,
                         uint64_t frozen_ns) MUST_CHECK;
/* Until operations_complete_event(). */
int operation_add_event(struct loop *l, struct guest *g, uint64_t id, const void *event,
                        bool for_write) MUST_CHECK;
void operations_complete_event(struct loop *l, struct guest *g, const void *event, bool for_write);
/* Forgets it without completing it; unknown ids are fine. */
void operation_cancel(struct loop *l, struct guest *g, uint64_t id);
/* Completes it: it is forgotten first, so that it can complete only once. */
void operation_complete(struct loop *l, struct operation *o);
void operations_complete_all(struct loop *l, struct guest *g);
void operations_forget_all(struct loop *l, struct guest *g);
/* Ready this moment? Asks poll(2). */
bool watch_ready(const struct watch *w, bool for_write);
/* Asks epoll for what the guest's operations on this descriptor need, and for writing too when
 * `drain`. */
int watch_update(struct loop *l, struct watch *w, bool drain) MUST_CHECK;
void watch_forget(struct loop *l, struct watch *w); /* takes it out of epoll */
