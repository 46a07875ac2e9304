/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to guests and back: see serve.h. Lives of a request:
 *
 *   frame → serve_request() → begin()                → turns → finished → settle() → pool
 *                           → waiting, then begin()
 *                           → refused
 *
 * A guest that is finished is put into `ended` by guest.c and leaves the table at the end of the
 * round, because the loop may still hold its name within one.
 */
#include "worker/serve.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/host/host.h"

struct serve {
    struct loop *loop;
    struct guest *template;
    struct ambit_component *component;
    struct http_peer peer;
    struct guest *pool, *alive; /* by pool_next; by serve_next */
    uint32_t concurrency, running, waiting_count;
    struct exchange *waiting, **waiting_last; /* by next; of no guest yet */
    bool draining;
};

/* ---- beginning ---- */

static struct guest *take_guest(struct serve *s)
{
    struct guest *g = s->pool;
    if (g)
        s->pool = g->pool_next;
    else
        g = mem_zalloc(sizeof(*g));
    return g;
}

static void put_guest(struct serve *s, struct guest *g)
{
    guest_recycle(g);
    g->pool_next = s->pool;
    s->pool = g;
}

/* A guest for the request. Who cannot have one is told so. */
static void begin(struct serve *s, struct exchange *x, const struct http_request *r)
{
    struct guest *g = take_guest(s);
    if (!g) {
        guest_exchange_abort(x, HTTP_ERROR_CONNECTION_LIMIT_REACHED, "no memory for an instance");
        return;
    }
    if (guest_answer(g, s->template, s->component, x, r) < 0) {
        put_guest(s, g);
        guest_exchange_abort(x, HTTP_ERROR_INTERNAL, "an instance could not be made");
        return;
    }
    g->serve_previous = NULL;
    g->serve_next = s->alive;
    if (g->serve_next)
        g->serve_next->serve_previous = g;
    s->alive = g;
    s->running++;
}

/* The next one that waits, if there is a place. */
static bool begin_next(struct serve *s)
{
    struct exchange *x = s->waiting;
    struct http_request r;
    if (!x || s->running >= s->concurrency)
        return false;
    s->waiting = x->next;
    if (!s->waiting)
        s->waiting_last = &s->waiting;
    s->waiting_count--;
    x->next = NULL;
    struct cursor c = cursor_of(x->head, x->head_size);
    if (http_request_get(&c, s->peer.fields, &r, NULL) < 0) /* it was read before */
        guest_exchange_abort(x, HTTP_ERROR_INTERNAL, "a request cannot be read again");
    else
        begin(s, x, &r);
    return true;
}

static int wait_for_place(struct serve *s, struct exchange *x, const struct http_request *r)
{
    struct buf *scratch = &s->peer.scratch;
    buf_clear(scratch);
    http_request_put(scratch, r);
    x->head = buf_status(scratch) == 0 ? mem_alloc(scratch->size) : NULL;
    if (!x->head)
        return -ENOMEM;
    memcpy(x->head, scratch->data, scratch->size);
    x->head_size = scratch->size;
    *s->waiting_last = x;
    s->waiting_last = &x->next;
    s->waiting_count++;
    return 0;
}

static int serve_request(void *context, struct http_peer *p, struct exchange *x,
                         const struct http_request *r)
{
    struct serve *s = context;
    if (s->draining)
        guest_exchange_abort(x, HTTP_ERROR_CONNECTION_LIMIT_REACHED, "the server shuts down");
    else if (s->running < s->concurrency && !s->waiting)
        begin(s, x, r);
    else if (s->waiting_count >= s->concurrency || wait_for_place(s, x, r) < 0)
        guest_exchange_abort(x, HTTP_ERROR_CONNECTION_LIMIT_REACHED, "every instance is taken");
    return 0;
}

/* ---- ending ---- */

/* The client is gone: its guest ends, and nobody is told what it would have said. */
static void client_gone(void *context, struct exchange *x)
{
    struct serve *s = context;
    if (x->guest) {
        guest_end(x->guest, RUN_END_STOPPED, RUN_LIMIT_NONE, "the client is gone");
        x->guest->draining = false;
        loop_enqueue(s->loop, x->guest);
        return;
    }
    for (struct exchange **at = &s->waiting; *at; at = &(*at)->next) {
        if (*at != x)
            continue;
        *at = x->next;
        if (!x->next)
            s->waiting_last = at;
        x->next = NULL;
        s->waiting_count--;
        return;
    }
}

static int link_lost(void *context, struct http_peer *p, struct error *e)
{
    return error_set(e, -EBADMSG, "the link to the ingress room broke its rules");
}

static enum http_error code_of(const struct run_done *d)
{
    if (d->end == RUN_END_LIMIT)
        return d->limit == RUN_LIMIT_WALL || d->limit == RUN_LIMIT_CPU
                   ? HTTP_ERROR_RESPONSE_TIMEOUT
                   : HTTP_ERROR_CONNECTION_LIMIT_REACHED;
    return d->end == RUN_END_STOPPED ? HTTP_ERROR_CONNECTION_LIMIT_REACHED : HTTP_ERROR_INTERNAL;
}

/* Answers for a guest that did not, or not to the end. */
static void settle(struct guest *g)
{
    struct exchange *x = g->http.incoming;
    if (!x || !x->peer || (x->answered && x->out_ended))
        return;
    const char *text = g->message ? g->message : "the guest ended without an answer";
    guest_exchange_abort(x, code_of(&g->done), text);
}

static void count(struct run_done *all, const struct run_done *one)
{
    all->cpu_ns += one->cpu_ns;
    all->output_bytes += one->output_bytes;
    all->hostcalls += one->hostcalls;
    all->slices += one->slices;
    all->memory_peak_bytes = MAX(all->memory_peak_bytes, one->memory_peak_bytes);
    all->handles_peak = MAX(all->handles_peak, one->handles_peak);
}

static void reap(struct serve *s, struct guest *g)
{
    settle(g);
    count(&s->template->done, &g->done);
    if (g->serve_previous)
        g->serve_previous->serve_next = g->serve_next;
    else
        s->alive = g->serve_next;
    if (g->serve_next)
        g->serve_next->serve_previous = g->serve_previous;
    s->running--;
    put_guest(s, g);
}

/* After each round of the loop. */
static void round_is_over(void *context)
{
    struct serve *s = context;
    while (s->template->ended_guests) {
        struct guest *g = s->template->ended_guests;
        s->template->ended_guests = g->pool_next;
        reap(s, g);
    }
    while (begin_next(s)) {
    }
    lines_flush(s->template);
    if (s->draining && !s->alive && !s->waiting)
        s->loop->stays = false;
}

/* ---- the whole ---- */

int serve_new(struct loop *l, struct guest *template, struct ambit_component *component,
              uint32_t concurrency, struct serve **ret, struct error *e)
{
    struct serve *s = mem_zalloc(sizeof(*s));
    if (!s)
        return error_set(e, -ENOMEM, "out of memory");
    s->loop = l;
    s->template = template;
    s->component = component;
    s->concurrency = concurrency;
    s->waiting_last = &s->waiting;
    http_peer_init(&s->peer, false);
    s->peer.request = serve_request;
    s->peer.gone = client_gone;
    s->peer.lost = link_lost;
    s->peer.context = s;
    *ret = s;
    return 0;
}

void serve_free(struct serve *s)
{
    if (!s)
        return;
    http_peer_done(&s->peer); /* every guest ends */
    while (s->alive) {
        struct guest *g = s->alive;
        s->alive = g->serve_next;
        guest_recycle(g);
        guest_free(g);
    }
    while (s->pool) {
        struct guest *g = s->pool;
        s->pool = g->pool_next;
        guest_free(g);
    }
    mem_free(s);
}

int serve_attach(struct serve *s, struct link *link, struct error *e)
{
    return http_peer_attach(&s->peer, s->loop, link, e);
}

void serve_start(struct serve *s, uint64_t expires_after_ns)
{
    struct guest *t = s->template;
    t->started_ns = clock_monotonic_ns();
    if (!guest_skips(t, EXPIRY) && expires_after_ns != GRANT_UNSET)
        t->expires_ns = expires_after_ns > UINT64_MAX - t->started_ns
                            ? UINT64_MAX
                            : t->started_ns + expires_after_ns;
    s->loop->stays = true;
    s->loop->round = round_is_over;
    s->loop->round_context = s;
}

void serve_stop(struct serve *s, enum run_stop why)
{
    bool at_once = s->draining || why != RUN_STOP_INTERRUPT;
    s->draining = true;
    while (at_once && s->waiting) {
        struct exchange *x = s->waiting;
        client_gone(s, x);
        guest_exchange_abort(x, HTTP_ERROR_CONNECTION_LIMIT_REACHED, "the server shuts down");
    }
    for (struct guest *g = s->alive; at_once && g; g = g->serve_next)
        guest_stop(g, why);
    if (!s->alive && !s->waiting)
        s->loop->stays = false;
}
