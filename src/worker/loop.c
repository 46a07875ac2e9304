/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: see loop.h. Timers and operations stand in operations.c. */
#include "worker/loop.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/guest.h"

#define EVENTS_MAX 32
#define ARMED_UNKNOWN UINT64_MAX
#define BLIND_NS NS_PER_MS /* a busy worker with links looks at its descriptors this often */

static int epoll_change(const struct loop *l, int action, int fd, uint32_t events, void *tag)
{
    struct epoll_event event = { .events = events, .data.ptr = tag };
    return epoll_ctl(l->epoll, action, fd, &event) < 0 ? -errno : 0;
}

int loop_init(struct loop *l, int control_fd, int (*control)(void *, struct error *), void *context,
              struct error *e)
{
    *l = (struct loop){ .epoll = -1,
                        .timer_fd = -1,
                        .control_fd = control_fd,
                        .control = control,
                        .control_context = context };
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0)
        return error_set_errno(e, errno, "making an epoll");
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l->timer_fd < 0)
        return error_set_errno(e, errno, "making a timer");
    int status = epoll_change(l, EPOLL_CTL_ADD, l->timer_fd, EPOLLIN, &l->timer_fd);
    if (status == 0 && control_fd >= 0)
        status = epoll_change(l, EPOLL_CTL_ADD, control_fd, EPOLLIN, &l->control_fd);
    return status < 0 ? error_set_errno(e, -status, "watching a descriptor") : 0;
}

void loop_done(struct loop *l)
{
    ASSERT(l->operation_count == 0);
    fd_closep(&l->epoll);
    fd_closep(&l->timer_fd);
    mem_free(l->table);
    mem_free(l->heap);
    l->table = NULL;
    l->heap = NULL;
    l->table_size = l->heap_count = l->heap_capacity = 0;
}

int loop_control_writes(struct loop *l, bool on, struct error *e)
{
    if (l->control_fd < 0 || l->control_writes == on)
        return 0;
    int status = epoll_change(l, EPOLL_CTL_MOD, l->control_fd, EPOLLIN | (on ? EPOLLOUT : 0),
                              &l->control_fd);
    if (status < 0)
        return error_set_errno(e, -status, "watching the control channel");
    l->control_writes = on;
    return 0;
}

/* ---- links ---- */

int loop_add_source(struct loop *l, struct source *s, struct error *e)
{
    int status = epoll_change(l, EPOLL_CTL_ADD, s->fd, EPOLLIN | (uint32_t)EPOLLET, &l->sources);
    if (status < 0)
        return error_set_errno(e, -status, "watching a link");
    s->next = l->sources;
    l->sources = s;
    return 0;
}

void loop_remove_source(struct loop *l, struct source *s)
{
    struct source **at = &l->sources;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
    (void)epoll_change(l, EPOLL_CTL_DEL, s->fd, 0, NULL);
}

static int sources_take(struct loop *l, struct error *e)
{
    int status = 0;
    for (struct source *s = l->sources, *next; s && status == 0; s = next) {
        next = s->next;
        status = s->take(s, e);
    }
    return status;
}

static void sources_flush(struct loop *l)
{
    for (struct source *s = l->sources; s; s = s->next)
        s->flush(s);
}

/* True: something came, the loop goes on. */
static bool sources_keep_awake(struct loop *l)
{
    bool awake = false;
    for (struct source *s = l->sources; s; s = s->next)
        awake |= s->sleep(s);
    return awake;
}

/* ---- run queue ---- */

void loop_enqueue(struct loop *l, struct guest *g)
{
    if (g->queued || g->finished)
        return;
    g->queued = true;
    g->queue_next = NULL;
    if (l->queue_last)
        l->queue_last->queue_next = g;
    else
        l->queue_first = g;
    l->queue_last = g;
}

static struct guest *queue_take(struct loop *l)
{
    struct guest *g = l->queue_first;
    if (!g)
        return NULL;
    l->queue_first = g->queue_next;
    if (!l->queue_first)
        l->queue_last = NULL;
    g->queued = false;
    g->queue_next = NULL;
    return g;
}

void loop_dequeue(struct loop *l, struct guest *g)
{
    if (!g->queued)
        return;
    struct guest *last = NULL;
    for (struct guest **at = &l->queue_first; *at; last = *at, at = &(*at)->queue_next) {
        if (*at != g)
            continue;
        *at = g->queue_next;
        if (l->queue_last == g)
            l->queue_last = last;
        break;
    }
    g->queued = false;
    g->queue_next = NULL;
}

/* ---- descriptors ---- */

bool watch_ready(const struct watch *w, bool for_write)
{
    struct pollfd p = { .fd = w->fd, .events = for_write ? POLLOUT : POLLIN };
    int n;
    do {
        n = poll(&p, 1, 0);
    } while (n < 0 && errno == EINTR);
    return n != 0; /* an error counts as ready: the call itself will say which */
}

int watch_update(struct loop *l, struct watch *w, bool drain)
{
    uint32_t events = drain ? EPOLLOUT : 0;
    for (const struct operation *o = w->guest->operations; o; o = o->next) {
        if (o->watch == w)
            events |= o->for_write ? EPOLLOUT : EPOLLIN;
    }
    if (events == w->events)
        return 0;
    int action = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int status = epoll_change(l, action, w->fd, events, w);
    if (status == 0)
        w->events = events;
    return status;
}

void watch_forget(struct loop *l, struct watch *w)
{
    if (w->events)
        (void)epoll_change(l, EPOLL_CTL_DEL, w->fd, 0, NULL);
    w->events = 0;
}

/* ---- running ---- */

/* Sets the timerfd to the earliest timer. */
static int arm(struct loop *l, struct error *e)
{
    uint64_t deadline = l->heap_count ? l->heap[0]->deadline_ns : 0;
    if (deadline == UINT64_MAX)
        deadline = 0; /* "for ever" needs no clock */
    /* One that fires too early is looked at again, once: cheaper than setting it for each guest
     * that came and went. */
    if (deadline == l->armed_ns ||
        (l->armed_ns != ARMED_UNKNOWN && l->armed_ns && (deadline == 0 || l->armed_ns < deadline)))
        return 0;
    struct itimerspec spec = { .it_value = { .tv_sec = (time_t)(deadline / NS_PER_S),
                                             .tv_nsec = (long)(deadline % NS_PER_S) } };
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
        return error_set_errno(e, errno, "setting a timer");
    l->armed_ns = deadline;
    return 0;
}

static int take_events(struct loop *l, int timeout_ms, struct error *e)
{
    struct epoll_event events[EVENTS_MAX];
    int n;
    do {
        n = epoll_wait(l->epoll, events, EVENTS_MAX, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_set_errno(e, errno, "waiting for events");
    for (int i = 0; i < n; i++) {
        void *tag = events[i].data.ptr;
        uint32_t got = events[i].events;
        if (tag == &l->timer_fd) {
            l->armed_ns = ARMED_UNKNOWN; /* it has fired: setting it again makes it quiet */
        } else if (tag == &l->sources) {
            continue; /* looked at in every round */
        } else if (tag == &l->control_fd) {
            int status = l->control(l->control_context, e);
            if (status < 0)
                return status;
            if (status > 0) {
                (void)epoll_change(l, EPOLL_CTL_DEL, l->control_fd, 0, NULL);
                l->control_fd = -1;
            }
        } else {
            struct watch *w = tag;
            bool broken = got & (EPOLLERR | EPOLLHUP);
            guest_event(w->guest, w, broken || (got & EPOLLIN), broken || (got & EPOLLOUT));
        }
    }
    return 0;
}

static void fire_timers(struct loop *l)
{
    if (l->heap_count == 0)
        return;
    uint64_t now = clock_monotonic_ns();
    while (l->heap_count > 0 && l->heap[0]->deadline_ns <= now) {
        struct timer *t = l->heap[0];
        timer_clear(l, t);
        t->fire(t, l);
    }
}

/* Descriptors cost a system call, links none. */
static int look_without_waiting(struct loop *l, struct error *e)
{
    if (l->sources) {
        uint64_t now = clock_monotonic_ns();
        if (now - l->looked_ns < BLIND_NS)
            return 0;
        l->looked_ns = now;
    }
    return take_events(l, 0, e);
}

static int look(struct loop *l, struct error *e)
{
    if (l->queue_first || sources_keep_awake(l))
        return look_without_waiting(l, e);
    int status = arm(l, e);
    return status < 0 ? status : take_events(l, -1, e);
}

int loop_run(struct loop *l, struct error *e)
{
    while (l->live > 0 || l->stays) {
        int status = look(l, e);
        if (status == 0)
            status = sources_take(l, e);
        if (status < 0)
            return status;
        fire_timers(l);
        /* One round: who is enqueued meanwhile has its turn in the next one. */
        struct guest *last = l->queue_last;
        for (struct guest *g = last ? queue_take(l) : NULL; g; g = g == last ? NULL : queue_take(l))
            guest_turn(g);
        if (l->round)
            l->round(l->round_context);
        sources_flush(l);
    }
    return 0;
}
