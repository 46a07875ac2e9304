/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room's start, its loop and its end.
 *
 *   1. receive INGRESS_START: the listener, the page of counters, one end of a link (of a proxy also a
 *      channel to keeper)
 *   2. make what needs a file or a call that the jail does not allow: epoll, TLS settings
 *   3. close the jail, INGRESS_READY
 *   4. the loop: events mark connections; frames of the worker go to their connections; then each
 *      marked connection is worked on once; then what waits goes to the worker
 *   5. INGRESS_DRAIN: no new connections, the others end as they are done; INGRESS_DONE
 *
 * A turn is bounded: so many events, so many accepted, so many frames. Nothing in it blocks but
 * epoll_wait().
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "ingress/internal.h"
#include "room/jail.h"
#include "room/probe.h"

#define EVENTS_PER_TURN 512
#define ACCEPTS_PER_TURN 64
#define WORK_ROUNDS 4
#define OVER_MAX 64          /* connections over the limit, that are being told so */
#define DESCRIPTORS_OTHER 64 /* link, channel, listeners … */
#define DESCRIPTORS_MIN 64
/* What the room may make of writable memory: for each place a head that is being read (H1_IN_MAX, or a stream of
 * HTTP/2), TLS, and an answer of our own; for each request, under way or waiting, its head, line of the log, and a window
 * each way in buffers that double; and its own, which is mostly the backlog, code, and LEAVES_*. */
#define DATA_CONNECTION (256u << 10)
#define DATA_EXCHANGE (1u << 20)
#define DATA_OWN (UINT64_C(128) << 20)

enum phase { PHASE_NEW, PHASE_SERVING };

/* ---- from control ---- */

static int map_page(struct ingress *i, int fd, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size != INGRESS_PAGE_SIZE)
        return error_set(e, -EPROTO, "the page of counters is none");
    void *page = mmap(NULL, INGRESS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return error_set_errno(e, errno, "the page of counters cannot be mapped");
    i->slots = page;
    return 0;
}

static int open_link(const int *fds, struct link **ret, struct error *e)
{
    int own[LINK_FDS];
    int status = link_keep_fds(fds, own, e);
    return status < 0 ? status : link_open(own, ret, e);
}

static int on_start(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct ingress *i = context;
    int r = ingress_start_get(payload, &i->start, e);
    if (r < 0)
        return r;
    size_t wanted = 2 + LINK_FDS + (i->start.flags & INGRESS_METRICS ? 1 : 0) +
                    (i->start.flags & INGRESS_LOG ? 1 : 0) +
                    (i->start.flags & INGRESS_PROXY ? 1 : 0);
    if (fd_count != wanted)
        return error_set(e, -EPROTO, "INGRESS_START without its descriptors");
    r = channel_keep_fd(fds[0], &i->listener_fd, e);
    if (r == 0)
        r = map_page(i, fds[1], e);
    if (r == 0)
        r = open_link(fds + 2, &i->link, e);
    fds += 2 + LINK_FDS;
    if (r == 0 && i->start.flags & INGRESS_METRICS)
        r = channel_keep_fd(*fds++, &i->metrics_fd, e);
    if (r == 0 && i->start.flags & INGRESS_LOG)
        r = channel_keep_fd(*fds++, &i->log_fd, e);
    if (r == 0 && i->start.flags & INGRESS_PROXY)
        r = channel_keep_fd(*fds, &i->keeper_fd, e);
    i->gate.phase = PHASE_SERVING;
    return r;
}

static int watch(struct ingress *i, int fd, struct source *s, enum source_kind kind,
                 struct error *e)
{
    /* Of the link's eventfd the edge is enough: its count is never read, which saves a system call for
     * each wake. link_get() and link_sleep() look at the rings themselves. */
    struct epoll_event event = { .events = EPOLLIN | (kind == SOURCE_LINK ? EPOLLET : 0),
                                 .data.ptr = s };
    s->kind = kind;
    if (epoll_ctl(i->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return error_set_errno(e, errno, "a descriptor cannot be watched");
    return 0;
}

static int on_link(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct ingress *i = context;
    struct link *l = NULL;
    if (fd_count != LINK_FDS)
        return error_set(e, -EPROTO, "INGRESS_LINK without its descriptors");
    int r = open_link(fds, &l, e);
    if (r < 0)
        return r;
    exchange_new_link(i, l);
    return watch(i, link_fd(l), &i->link_source, SOURCE_LINK, e);
}

static int on_keeper(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct ingress *i = context;
    int fd = -1;
    if (fd_count != 1 || i->leaves == NULL)
        return error_set(e, -EPROTO, "INGRESS_KEEPER without its descriptor, or to no proxy");
    int r = channel_keep_fd(fds[0], &fd, e);
    i->now_ns = clock_monotonic_ns();
    return r < 0 ? r : leaves_keeper(i->leaves, fd, e);
}

static int on_regranted(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                        struct error *e)
{
    struct ingress *i = context;
    if (i->leaves == NULL)
        return error_set(e, -EPROTO, "INGRESS_REGRANTED to no proxy");
    leaves_forget(i->leaves);
    return 0;
}

static void stop_listening(struct ingress *i)
{
    if (i->listening)
        (void)epoll_ctl(i->epoll_fd, EPOLL_CTL_DEL, i->listener_fd, NULL);
    i->listening = false;
}

static void accept_some(struct ingress *i, int fd, bool metrics, int most);

static int on_drain(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct ingress *i = context;
    uint64_t within = cursor_u64(payload);
    i->now_ns = clock_monotonic_ns();
    i->drain_until_ns = within > UINT64_MAX / 2 ? UINT64_MAX : i->now_ns + within;
    if (i->draining)
        return 0;
    /* Who is in the kernel's queue already was told that we listen. */
    accept_some(i, i->listener_fd, false, 4096);
    stop_listening(i);
    fd_closep(&i->listener_fd);
    i->draining = true;
    for (struct list *at = i->all.next, *next = at->next; at != &i->all; at = next, next = at->next)
        conn_drain(LIST_OF(struct conn, all, at));
    return 0;
}

#define IN(phase) (1u << (phase))
#define START_MAX (2 * INGRESS_TLS_MAX + 4096)
static const struct frame_rule rules[] = {
    { INGRESS_START, "INGRESS_START", IN(PHASE_NEW), true, LINK_FDS + 5, START_MAX, on_start },
    { INGRESS_LINK, "INGRESS_LINK", IN(PHASE_SERVING), false, LINK_FDS, 0, on_link },
    { INGRESS_DRAIN, "INGRESS_DRAIN", IN(PHASE_SERVING), false, 0, 8, on_drain },
    { INGRESS_KEEPER, "INGRESS_KEEPER", IN(PHASE_SERVING), false, 1, 0, on_keeper },
    { INGRESS_REGRANTED, "INGRESS_REGRANTED", IN(PHASE_SERVING), false, 0, 0, on_regranted },
};

/* ---- accepting ---- */

/* All places are taken: one is made, or the newcomer is told. */
static void accept_one(struct ingress *i, int fd, bool metrics, const struct sockaddr *peer,
                       socklen_t size)
{
    /* Whoever watches a server wants to see it full; and takes no more places than there are. */
    bool place = i->connections < i->start.connections || conn_evict(i) || metrics;
    if (conn_accept(i, fd, metrics, peer, size) < 0 || place)
        return;
    struct conn *c = LIST_OF(struct conn, all, i->all.previous);
    room_count(i, INGRESS_COUNT_connections_refused_total, 1);
    c->protocol = PROTOCOL_H1;
    if (c->tls != NULL || !h1_begin(c))
        conn_close(c);
    else
        h1_answer_last(c, 503);
}

static void accept_some(struct ingress *i, int fd, bool metrics, int most)
{
    for (int n = 0; n < most; n++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        bool over = i->connections >= i->start.connections + OVER_MAX;
        if (over && !metrics) {
            stop_listening(i); /* until the next tick */
            return;
        }
        int client = accept4(fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0 && over) {
            fd_close(client);
            continue;
        }
        if (client >= 0) {
            accept_one(i, client, metrics, (struct sockaddr *)&peer, size);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (!conn_evict(i))
                stop_listening(i);
        } else if (errno == ECONNABORTED || errno == EINTR) {
            continue;
        }
        return;
    }
}

/* ---- the loop ---- */

static void on_tick(struct ingress *i)
{
    i->next_tick_ns = i->now_ns + TICK_NS;
    exchange_tick(i);
    if (i->leaves != NULL) {
        struct error e = ERROR_INIT;
        i->denials_told = 0;
        (void)!channel_flush(i->control, &e); /* what control had no room for */
        leaves_tick(i->leaves);
    }
    for (struct list *at = i->all.next, *next = at->next; at != &i->all; at = next, next = at->next)
        conn_tick(LIST_OF(struct conn, all, at));
    if (!i->listening && !i->draining && i->listener_fd >= 0 &&
        watch(i, i->listener_fd, &i->listener_source, SOURCE_LISTENER, NULL) == 0)
        i->listening = true;
}

static int take_event(struct ingress *i, const struct epoll_event *event, struct error *e)
{
    struct source *s = event->data.ptr;
    switch (s->kind) {
    case SOURCE_CONTROL: {
        int r = channel_dispatch(i->control, &i->gate, i, false, e);
        return r == 1 ? -EPIPE : r;
    }
    case SOURCE_LINK: /* each turn looks into the link anyway */
        return 0;
    case SOURCE_LISTENER:
        if (i->listener_fd >= 0)
            accept_some(i, i->listener_fd, false, ACCEPTS_PER_TURN);
        return 0;
    case SOURCE_METRICS:
        accept_some(i, i->metrics_fd, true, 4);
        return 0;
    case SOURCE_KEEPER:
        return leaves_dispatch(i->leaves, e);
    case SOURCE_CONN:
        conn_event((struct conn *)(void *)s, event->events);
        return 0;
    }
    return 0;
}

static void bury(struct ingress *i)
{
    while (!list_empty(&i->graves)) {
        struct conn *c = LIST_OF(struct conn, all, i->graves.next);
        list_remove(&c->all);
        mem_free(c);
    }
}

/* Everything that events and frames have marked, each connection once in a round. What a connection
 * marks again while it is worked on waits for the next round, or turn: however fast a client sends, the
 * others, the link and the clock come first. */
static void work(struct ingress *i)
{
    for (int round = 0; round < WORK_ROUNDS; round++) {
        struct list now;
        list_init(&now);
        while (!list_empty(&i->dirty))
            list_append(&now, i->dirty.next);
        while (!list_empty(&now)) {
            struct conn *c = LIST_OF(struct conn, dirty, now.next);
            list_remove(&c->dirty);
            conn_work(c);
        }
        exchange_pump(i);
        if (list_empty(&i->dirty))
            break;
    }
}

static int timeout_ms(struct ingress *i)
{
    if (!list_empty(&i->dirty) || (i->link != NULL && !i->link_failed && link_sleep(i->link)))
        return 0;
    if (list_empty(&i->all) && list_empty(&i->waiting) && (i->listening || i->draining))
        return -1;
    i->now_ns = clock_monotonic_ns();
    return i->next_tick_ns <= i->now_ns ? 0 : (int)((i->next_tick_ns - i->now_ns) / NS_PER_MS) + 1;
}

static int turn(struct ingress *i, struct error *e)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count = epoll_wait(i->epoll_fd, events, EVENTS_PER_TURN, timeout_ms(i));
    if (count < 0 && errno != EINTR)
        return error_set_errno(e, errno, "waiting for events");
    i->now_ns = clock_monotonic_ns();
    for (int n = 0; n < count; n++) {
        int r = take_event(i, &events[n], e);
        if (r < 0)
            return r;
    }
    struct error broken = ERROR_INIT;
    if (exchange_take_frames(i, &broken) < 0)
        i->link_failed = true;
    work(i);
    if (i->now_ns >= i->next_tick_ns) {
        on_tick(i);
        work(i);
    }
    if (i->link_failed) { /* what the worker did cannot be trusted: control ends it, and knows why */
        exchange_fail_all(i);
        work(i);
        CLEANUP(buf_done) struct buf text = BUF_INIT(2048);
        buf_string(&text, broken.what[0] != '\0' ? broken.what : "the link is broken");
        if (buf_status(&text) == 0 &&
            channel_send(i->control, INGRESS_BROKEN, text.data, text.size, NULL, 0, e) < 0)
            return -EPIPE;
    }
    if (i->link != NULL)
        link_flush(i->link);
    if (i->leaves != NULL)
        leaves_flush(i->leaves);
    if (i->log_fd >= 0)
        log_flush(i);
    bury(i);
    return 0;
}

static bool drained(struct ingress *i)
{
    if (!i->draining)
        return false;
    if (list_empty(&i->all))
        return true;
    if (i->now_ns < i->drain_until_ns)
        return false;
    i->cut = i->running_count + i->waiting_count;
    while (!list_empty(&i->all))
        conn_reset(LIST_OF(struct conn, all, i->all.next));
    bury(i);
    return true;
}

static int serve(struct ingress *i, struct error *e)
{
    int r = 0;
    while (r == 0 && !drained(i))
        r = turn(i, e);
    if (r < 0)
        return r;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    if (i->link != NULL)
        link_flush(i->link);
    if (i->log_fd >= 0)
        log_flush(i);
    buf_u64(&payload, i->cut);
    r = buf_status(&payload);
    return r < 0 ? r
                 : channel_send(i->control, INGRESS_DONE, payload.data, payload.size, NULL, 0, e);
}

/* ---- start and end ---- */

/* Native code that has taken the room over gets no more memory than clients could make it use. */
static uint64_t data_bound(const struct ingress_start *s)
{
    uint64_t exchanges = ((uint64_t)s->concurrency + s->queue) * DATA_EXCHANGE;
#ifdef AMBIT_TEST_HOOKS
    if (s->test_skip & INGRESS_SKIP_MEMORY)
        return 0;
#endif
    return jail_data_bound(DATA_OWN + exchanges, (uint64_t)s->connections + OVER_MAX,
                           DATA_CONNECTION);
}

static int probe(const struct ingress *i, struct error *e)
{
#ifdef AMBIT_TEST_HOOKS
    static char attempt[] = "fill-memory";
    char *const words[] = { attempt };
    char said[256];
    if (i->start.test_skip & INGRESS_PROBE) {
        room_probe(words, ARRAY_SIZE(words), said, sizeof said);
        return error_set(e, -EIO, "%s", said);
    }
#endif
    return 0;
}

static int close_jail(struct ingress *i, struct error *e)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return error_set_errno(e, errno, "the limit of descriptors cannot be read");
    uint64_t wanted = (uint64_t)i->start.connections + OVER_MAX + DESCRIPTORS_OTHER;
    if (wanted > limit.rlim_max) {
        wanted = limit.rlim_max;
        if (wanted < DESCRIPTORS_MIN + OVER_MAX + DESCRIPTORS_OTHER)
            return error_set(e, -EMFILE, "too few descriptors are allowed (ulimit -Hn)");
        i->start.connections = (uint32_t)(wanted - OVER_MAX - DESCRIPTORS_OTHER);
    }
    const struct jail_spec spec = {
        .role = ROOM_INGRESS,
        .descriptors = (uint32_t)wanted,
        .data_bytes = data_bound(&i->start),
        .allow_missing = i->start.allow_missing,
#ifdef AMBIT_TEST_HOOKS
        .skip = i->start.test_skip & INGRESS_SKIP_JAIL_MASK,
#endif
    };
    uint32_t missing = 0;
    int r = jail_close(&spec, &missing, e);
    if (r == 0)
        r = probe(i, e);
    if (r < 0)
        return r;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    buf_u32(&payload, missing);
    r = buf_status(&payload);
    return r < 0 ? r
                 : channel_send(i->control, INGRESS_READY, payload.data, payload.size, NULL, 0, e);
}

static int prepare(struct ingress *i, struct error *e)
{
    int r = 0;
#ifndef AMBIT_TEST_HOOKS
    if (i->start.test_skip != 0)
        return error_set(e, -EPERM, "only a test build can leave a defence open");
#endif
    (void)signal(SIGPIPE, SIG_IGN);
    i->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (i->epoll_fd < 0)
        return error_set_errno(e, errno, "no epoll");
    if (i->start.flags & INGRESS_TLS)
        r = tls_room_new(i->start.certificate, i->start.key, &i->tls, e);
    if (is_proxy(i)) {
        r = tls_room_new_front(&i->tls, e);
        if (r == 0)
            r = leaves_new(i, fd_take(&i->keeper_fd), &i->leaves, e);
    }
    if (i->start.key != NULL)
        mem_wipe(i->start.key, strlen(i->start.key));
    if (r == 0)
        r = watch(i, channel_fd(i->control), &i->control_source, SOURCE_CONTROL, e);
    if (r == 0)
        r = watch(i, link_fd(i->link), &i->link_source, SOURCE_LINK, e);
    if (r == 0)
        r = watch(i, i->listener_fd, &i->listener_source, SOURCE_LISTENER, e);
    if (r == 0 && i->metrics_fd >= 0)
        r = watch(i, i->metrics_fd, &i->metrics_source, SOURCE_METRICS, e);
    i->listening = true;
    i->now_ns = clock_monotonic_ns();
    i->next_tick_ns = i->now_ns + TICK_NS;
    /* Gauges of a room that was here before; its counters go on. */
    atomic_store(&i->slots[i->start.index].values[INGRESS_COUNT_connections], 0);
    atomic_store(&i->slots[i->start.index].values[INGRESS_COUNT_requests_running], 0);
    atomic_store(&i->slots[i->start.index].values[INGRESS_COUNT_requests_waiting], 0);
    return r;
}

static void tell_fault(struct ingress *i, const struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(8u << 10);
    buf_string(&payload, e->what);
    buf_string(&payload, e->hint);
    if (buf_status(&payload) == 0)
        (void)!channel_send(i->control, INGRESS_FAULT, payload.data, payload.size, NULL, 0, NULL);
}

static void ingress_init(struct ingress *i, struct channel *control)
{
    i->control = control;
    i->gate =
        (struct frame_gate){ .rules = rules, .rule_count = ARRAY_SIZE(rules), .phase = PHASE_NEW };
    i->epoll_fd = i->listener_fd = i->metrics_fd = i->log_fd = i->keeper_fd = -1;
    list_init(&i->all);
    list_init(&i->headless);
    list_init(&i->dirty);
    list_init(&i->graves);
    list_init(&i->waiting);
    list_init(&i->blocked);
    i->backlog = (struct buf)BUF_INIT(16u << 20);
    i->scratch = (struct buf)BUF_INIT(LINK_PAYLOAD_MAX);
    i->log = (struct buf)BUF_INIT(512u << 10);
    i->cookie = (struct buf)BUF_INIT(HTTP_HEAD_MAX);
}

int ingress_room_main(struct channel *control)
{
    struct error e = ERROR_INIT;
    struct ingress *i = mem_zalloc(sizeof *i);
    if (i == NULL)
        return 1;
    ingress_init(i, control);
    channel_wipes(control); /* INGRESS_START holds a key, or a token */
    int r = 0;
    while (r == 0 && i->gate.seen == 0) {
        r = channel_dispatch_one(control, &i->gate, i, true, &e);
        if (r == 1)
            return 0; /* control went away before it asked */
    }
    if (r == 0)
        r = prepare(i, &e);
    if (r == 0)
        r = close_jail(i, &e);
    if (r < 0) {
        tell_fault(i, &e);
        return 1;
    }
    r = serve(i, &e);
    return r == 0 || r == -EPIPE ? 0 : 1;
}
