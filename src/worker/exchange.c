/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges: see exchange.h. Bodies stand in body.c, frames that come in frames.c. */
#include "worker/exchange.h"

#include <string.h>

#include "base/mem.h"
#include "grant/grant.h"
#include "worker/exchange_internal.h"
#include "worker/guest.h"

#define WINDOW_STEP (HTTP_WINDOW_START / 4) /* what was read is given back in steps */

/* ---- bytes ---- */

int fifo_put(struct fifo *f, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    if (f->start + f->size + size > f->capacity) {
        if (f->start) {
            memmove(f->data, f->data + f->start, f->size);
            f->start = 0;
        }
        if (f->size + size > f->capacity) {
            size_t capacity = MAX(f->capacity * 2, f->size + size);
            uint8_t *data = mem_grow(f->data, capacity, 1);
            if (!data)
                return -ENOMEM;
            f->data = data;
            f->capacity = capacity;
        }
    }
    memcpy(f->data + f->start + f->size, bytes, size);
    f->size += size;
    return 0;
}

void fifo_take(struct fifo *f, size_t size)
{
    ASSERT(size <= f->size);
    f->start += size;
    f->size -= size;
    if (f->size == 0)
        f->start = 0;
}

void fifo_done(struct fifo *f)
{
    mem_free(f->data);
    *f = (struct fifo){ 0 };
}

/* ---- the table ---- */

static struct exchange **find(struct http_peer *p, uint64_t number)
{
    struct exchange **at = &p->table[number & (p->table_size - 1)];
    while (*at && (*at)->number != number)
        at = &(*at)->chain;
    return at;
}

struct exchange *guest_exchange_find(struct http_peer *p, uint64_t number)
{
    return p->table_size ? *find(p, number) : NULL;
}

static int table_reserve(struct http_peer *p)
{
    if (p->count < p->table_size)
        return 0;
    size_t size = MAX(p->table_size * 2, (size_t)16), old_size = p->table_size;
    struct exchange **old = p->table, **table = mem_array(size, sizeof(struct exchange *));
    if (!table)
        return -ENOMEM;
    p->table = table;
    p->table_size = size;
    for (size_t i = 0; i < old_size; i++) {
        for (struct exchange *x = old[i], *next; x; x = next) {
            next = x->chain;
            x->chain = table[x->number & (size - 1)];
            table[x->number & (size - 1)] = x;
        }
    }
    mem_free(old);
    return 0;
}

int guest_exchange_enter(struct exchange *x, struct http_peer *p, uint64_t number)
{
    if (table_reserve(p) < 0)
        return -ENOMEM;
    x->number = number;
    x->peer = p;
    struct exchange **at = find(p, number);
    ASSERT(!*at);
    *at = x;
    p->count++;
    return 0;
}

/* Off the table: frames about it are ignored from now on. */
static void leave(struct exchange *x)
{
    struct http_peer *p = x->peer;
    if (!p)
        return;
    struct exchange **at = find(p, x->number);
    ASSERT(*at == x);
    *at = x->chain;
    x->chain = NULL;
    x->peer = NULL;
    p->count--;
}

/* ---- lives ---- */

struct exchange *guest_exchange_alloc(void)
{
    struct exchange *x = mem_zalloc(sizeof(*x));
    if (!x)
        return NULL;
    x->window = HTTP_WINDOW_START;
    x->out_window = HTTP_WINDOW_START;
    x->rule = GRANT_NO_RULE;
    x->failure.number = UINT64_MAX;
    return x;
}

static void forget_guest(struct exchange *x)
{
    if (!x->guest)
        return;
    if (x->guest->http.incoming == x)
        x->guest->http.incoming = NULL;
    if (x->previous)
        x->previous->next = x->next;
    else
        x->guest->exchanges = x->next;
    if (x->next)
        x->next->previous = x->previous;
    x->guest = NULL;
    x->next = x->previous = NULL;
}

void guest_exchange_give(struct exchange *x, struct guest *g)
{
    forget_guest(x);
    x->guest = g;
    if (!g)
        return;
    x->previous = NULL;
    x->next = g->exchanges;
    if (x->next)
        x->next->previous = x;
    g->exchanges = x;
}

struct exchange *guest_exchange_new(struct http_peer *p, struct guest *g)
{
    struct exchange *x = guest_exchange_alloc();
    if (!x || guest_exchange_enter(x, p, p->last + 1) < 0) {
        mem_free(x);
        return NULL;
    }
    p->last++;
    guest_exchange_give(x, g);
    return x;
}

void guest_exchange_release(struct exchange *x)
{
    if (x->has_handle || x->peer)
        return;
    forget_guest(x);
    fifo_done(&x->in);
    mem_free(x->head);
    mem_free(x->trailers);
    mem_free(x->failure.text);
    mem_free(x->method);
    mem_free(x->url);
    mem_free(x);
}

/* ---- telling guests ---- */

void guest_exchange_tell(const struct exchange *x, bool for_write)
{
    struct guest *g = x->guest;
    const void *what = for_write ? (const void *)x->body : (const void *)x;
    if (g && what)
        operations_complete_event(g->loop, g, what, for_write);
    if (g && g->draining && for_write)
        loop_enqueue(g->loop, g);
}

static void part_from_body(struct exchange *x)
{
    struct body *b = x->body;
    if (!b)
        return;
    x->body = NULL;
    b->exchange = NULL;
    body_release(b);
}

/* Off the table, both directions ended; may free it. */
static void guest_exchange_over(struct exchange *x)
{
    leave(x);
    x->in_ended = x->out_ended = true;
    if (x->guest && x->body)
        guest_exchange_tell(x, true);
    part_from_body(x);
    guest_exchange_tell(x, false);
    guest_exchange_release(x);
}

void guest_exchange_cancel(struct exchange *x)
{
    ASSERT(x->number == x->peer->last);
    x->peer->last--;
    x->has_handle = false;
    guest_exchange_over(x);
}

void guest_exchange_check_over(struct exchange *x)
{
    if (x->peer && x->in_ended && x->out_ended)
        guest_exchange_over(x);
}

void guest_exchange_fail(struct exchange *x, enum http_error error, uint64_t number,
                         struct bytes text)
{
    if (error == HTTP_OK)
        error = HTTP_ERROR_CONNECTION_TERMINATED;
    /* What came whole stays whole, whatever happened to the other direction. */
    if (!x->in_ended)
        failure_set(&x->failure, error, number, text);
    if (x->body && !x->out_ended)
        failure_set(&x->body->failure, error, number, text);
    guest_exchange_over(x);
}

void guest_exchange_abort(struct exchange *x, enum http_error error, const char *text)
{
    struct http_peer *p = x->peer;
    if (!p)
        return;
    struct http_failure f = { .error = error,
                              .rule = GRANT_NO_RULE,
                              .number = UINT64_MAX,
                              .text = bytes_of(text ? text : "") };
    buf_clear(&p->scratch);
    http_failure_put(&p->scratch, &f);
    peer_put_scratch(p, HTTP_ABORT, x);
    guest_exchange_fail(x, error, UINT64_MAX, bytes_of(text ? text : ""));
}

/* ---- sending ---- */

int guest_exchange_send_request(struct exchange *x, const struct http_request *r)
{
    struct http_peer *p = x->peer;
    buf_clear(&p->scratch);
    http_request_put(&p->scratch, r);
    if (buf_status(&p->scratch) < 0)
        return -ENOMEM;
    x->out_ended = r->flags & HTTP_NO_BODY;
    peer_put_scratch(p, HTTP_REQUEST, x);
    return 0;
}

int guest_exchange_send_response(struct exchange *x, const struct http_response *r)
{
    struct http_peer *p = x->peer;
    buf_clear(&p->scratch);
    http_response_put(&p->scratch, r);
    if (buf_status(&p->scratch) < 0)
        return -ENOMEM;
    x->answered = true;
    peer_put_scratch(p, HTTP_RESPONSE, x);
    if (r->no_body) {
        x->out_ended = true;
        guest_exchange_check_over(x);
    }
    return 0;
}

static void send_window(struct exchange *x, uint32_t size)
{
    struct http_peer *p = x->peer;
    buf_clear(&p->scratch);
    buf_u32(&p->scratch, size);
    peer_put_scratch(p, HTTP_WINDOW, x);
}

/* Gives back what was read, when it is worth a frame. */
static void give_back(struct exchange *x)
{
    if (!x->peer || x->in_ended || x->owed < WINDOW_STEP)
        return;
    uint32_t size = x->owed;
    x->owed = 0;
    x->window += size;
    send_window(x, size);
}

void guest_exchange_owe(struct exchange *x, size_t size)
{
    x->owed += (uint32_t)size; /* no more than came, which is at most a window */
    give_back(x);
}

void guest_exchange_consumed(struct exchange *x, size_t size)
{
    fifo_take(&x->in, size);
    if (x->in_ended && x->in.size == 0)
        fifo_done(&x->in);
    guest_exchange_owe(x, size);
}

void guest_exchange_wants_body(struct exchange *x)
{
    if (!x->asks_body)
        return;
    x->asks_body = false;
    if (x->peer && !x->in_ended)
        send_window(x, 0);
}

void guest_exchange_discard(struct exchange *x)
{
    fifo_done(&x->in);
    if (!x->peer || x->in_ended)
        return;
    x->in_ended = x->discarded = true;
    struct http_peer *p = x->peer;
    buf_clear(&p->scratch);
    peer_put_scratch(p, HTTP_DISCARD, x);
    guest_exchange_check_over(x);
}

void guest_exchange_throw_away(struct exchange *x)
{
    size_t held = x->in.size;
    x->throw_away = true;
    guest_exchange_wants_body(x);
    fifo_done(&x->in);
    if (held)
        guest_exchange_owe(x, held);
}
