/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One link of exchanges: frames out, through a backlog when the ring is full, and frames in, which
 * are checked here against the state of their exchange. See exchange.h.
 */
#include <string.h>

#include "base/mem.h"
#include "worker/exchange_internal.h"
#include "worker/guest.h"

#define BURST_MAX 512 /* frames in a row, before the guests have a turn */
#define BACKLOG_HEAD 6

/* ---- out ---- */

static int backlog_put(struct http_peer *p, uint16_t kind, struct bytes head, struct bytes body)
{
    buf_u32(&p->backlog, (uint32_t)(head.size + body.size));
    buf_u16(&p->backlog, kind);
    buf_append(&p->backlog, head.data, head.size);
    if (body.size)
        buf_append(&p->backlog, body.data, body.size);
    return buf_status(&p->backlog);
}

void peer_put(struct http_peer *p, uint16_t kind, const struct exchange *x, struct bytes payload)
{
    uint8_t number[sizeof(uint64_t)];
    if (!p->link || p->broken)
        return;
    memcpy(number, &x->number, sizeof(number));
    struct bytes head = { number, sizeof(number) };
    int status = peer_flows(p) ? link_put(p->link, kind, head, payload) : 1;
    if (status > 0)
        status = backlog_put(p, kind, head, payload);
    if (status < 0)
        p->broken = true;
}

void peer_put_scratch(struct http_peer *p, uint16_t kind, const struct exchange *x)
{
    if (buf_status(&p->scratch) < 0)
        p->broken = true;
    else
        peer_put(p, kind, x, (struct bytes){ p->scratch.data, p->scratch.size });
}

/* The link takes bytes again: bodies go on. */
static void tell_bodies(struct http_peer *p)
{
    for (size_t i = 0; i < p->table_size; i++) {
        for (struct exchange *x = p->table[i], *next; x && peer_flows(p); x = next) {
            next = x->chain;
            if (!x->body)
                continue;
            guest_exchange_tell(x, true);
            body_pump(x->body);
        }
    }
}

static void backlog_send(struct http_peer *p)
{
    struct buf *b = &p->backlog;
    if (b->size == 0)
        return;
    while (p->backlog_sent < b->size) {
        struct cursor c = cursor_of(b->data + p->backlog_sent, b->size - p->backlog_sent);
        size_t size = cursor_u32(&c);
        uint16_t kind = cursor_u16(&c);
        int status =
            link_put(p->link, kind, (struct bytes){ c.at, size }, (struct bytes){ NULL, 0 });
        if (status < 0)
            p->broken = true;
        if (status != 0)
            break;
        p->backlog_sent += BACKLOG_HEAD + size;
    }
    if (p->backlog_sent == b->size) {
        p->backlog_sent = 0;
        buf_clear(b);
        tell_bodies(p);
    } else if (p->backlog_sent > b->size / 2) {
        b->size -= p->backlog_sent;
        memmove(b->data, b->data + p->backlog_sent, b->size);
        p->backlog_sent = 0;
    }
}

/* ---- in ---- */

static int broken(struct error *e, const char *what)
{
    return error_set(e, -EBADMSG, "%s", what);
}

static uint8_t *copy_of(const struct cursor *c, size_t *ret_size)
{
    uint8_t *copy = mem_alloc(MAX(cursor_left(c), (size_t)1));
    if (copy) {
        memcpy(copy, c->at, cursor_left(c));
        *ret_size = cursor_left(c);
    }
    return copy;
}

static int on_request(struct http_peer *p, uint64_t number, struct cursor *c, struct error *e)
{
    struct http_request r;
    if (p->asks || number <= p->last)
        return broken(e, "a request where none can come");
    p->last = number;
    int status = http_request_get(c, p->fields, &r, e);
    if (status < 0)
        return status;
    struct exchange *x = guest_exchange_alloc();
    if (!x || guest_exchange_enter(x, p, number) < 0) {
        mem_free(x);
        return error_set(e, -ENOMEM, "out of memory");
    }
    x->incoming = true;
    x->in_ended = r.flags & HTTP_NO_BODY;
    x->asks_body = r.flags & HTTP_EXPECTS_CONTINUE;
    return p->request(p->context, p, x, &r);
}

static int on_response(struct http_peer *p, struct exchange *x, struct cursor *c, struct error *e)
{
    struct http_response r;
    struct cursor whole = *c;
    if (!p->asks || x->answered)
        return broken(e, "a response where none can come");
    int status = http_response_get(c, p->fields, &r, e);
    if (status < 0)
        return status;
    if (r.status < 200)
        return broken(e, "a response that is none");
    x->head = copy_of(&whole, &x->head_size);
    if (!x->head)
        return error_set(e, -ENOMEM, "out of memory");
    x->answered = true;
    x->in_ended |= r.no_body;
    guest_exchange_tell(x, false);
    guest_exchange_check_over(x);
    return 0;
}

static int on_body(struct http_peer *p, struct exchange *x, struct cursor *c, struct error *e)
{
    size_t size = cursor_left(c);
    const uint8_t *bytes = c->at;
    c->at = c->end;
    if (x->discarded)
        return 0; /* sent before it knew */
    if (x->in_ended || (p->asks && !x->answered))
        return broken(e, "a body where none can come");
    if (size > HTTP_BODY_FRAME_MAX || size > x->window)
        return broken(e, "more of a body than its window");
    x->window -= (uint32_t)size;
    if (x->rule != GRANT_NO_RULE)
        guest_used_bytes(x->guest, x->rule, size, 0);
    if (x->throw_away) {
        guest_exchange_owe(x, size);
        return 0;
    }
    if (fifo_put(&x->in, bytes, size) < 0)
        return error_set(e, -ENOMEM, "out of memory");
    guest_exchange_tell(x, false);
    return 0;
}

static int on_end(struct http_peer *p, struct exchange *x, struct cursor *c, struct error *e)
{
    size_t count;
    struct cursor whole = *c;
    int status = http_fields_get(c, p->fields, &count, e);
    if (status < 0)
        return status;
    if (x->discarded)
        return 0;
    if (x->in_ended || (p->asks && !x->answered))
        return broken(e, "an end where none can come");
    if (count) {
        x->trailers = copy_of(&whole, &x->trailers_size);
        if (!x->trailers)
            return error_set(e, -ENOMEM, "out of memory");
    }
    x->in_ended = true;
    guest_exchange_tell(x, false);
    guest_exchange_check_over(x);
    return 0;
}

static int on_window(struct http_peer *p, struct exchange *x, struct cursor *c, struct error *e)
{
    uint32_t size = cursor_u32(c);
    if (x->out_ended)
        return 0;
    if (x->out_window + size > HTTP_WINDOW_MAX)
        return broken(e, "a window that is too large");
    x->out_window += size;
    if (x->body) {
        guest_exchange_tell(x, true);
        body_pump(x->body);
    }
    return 0;
}

static int on_discard(struct http_peer *p, struct exchange *x, struct cursor *c, struct error *e)
{
    if (x->out_ended)
        return 0;
    x->out_ended = true;
    if (x->body) {
        x->body->unwanted = true;
        fifo_done(&x->body->held);
        guest_exchange_tell(x, true);
    }
    guest_exchange_check_over(x);
    return 0;
}

/* The code for a denial has no text, and says to a guest's library that no grant allows the request. Of a secret that was
 * not released that is not so; why it was not is told in the receipt, and is not the guest's to know. */
static void fail_denied(struct exchange *x, const struct http_failure *f)
{
    if (f->error == HTTP_ERROR_REQUEST_DENIED && f->reason == GRANT_SECRET)
        guest_exchange_fail(x, HTTP_ERROR_INTERNAL, f->number,
                            bytes_of("denied by Ambit: the secret that its grant adds was not "
                                     "released (the receipt says why)"));
    else
        guest_exchange_fail(x, f->error, f->number, f->text);
}

static int on_abort(struct http_peer *p, struct exchange *x, struct cursor *c, struct error *e)
{
    struct http_failure f;
    int status = http_failure_get(c, &f, e);
    if (status < 0)
        return status;
    if (p->asks && p->refused &&
        (f.error == HTTP_ERROR_REQUEST_DENIED || f.error == HTTP_ERROR_DESTINATION_IP_PROHIBITED))
        p->refused(p->context, x, &f);
    if (x->incoming && p->gone)
        p->gone(p->context, x);
    fail_denied(x, &f);
    return 0;
}

static int (*const handlers[HTTP_FRAME_END - HTTP_REQUEST])(struct http_peer *, struct exchange *,
                                                            struct cursor *, struct error *) = {
    [HTTP_RESPONSE - HTTP_REQUEST] = on_response, [HTTP_BODY - HTTP_REQUEST] = on_body,
    [HTTP_END - HTTP_REQUEST] = on_end,           [HTTP_WINDOW - HTTP_REQUEST] = on_window,
    [HTTP_DISCARD - HTTP_REQUEST] = on_discard,   [HTTP_ABORT - HTTP_REQUEST] = on_abort,
};

static int on_frame(struct http_peer *p, const struct frame *f, struct error *e)
{
    struct cursor c = cursor_of(f->payload, f->size);
    uint64_t number = cursor_u64(&c);
    if (c.bad || f->kind < HTTP_REQUEST || f->kind >= HTTP_FRAME_END)
        return broken(e, "a frame of no known kind");
    if (f->kind == HTTP_REQUEST)
        return on_request(p, number, &c, e);
    if (number == 0 || number > p->last)
        return broken(e, "a frame about an exchange that never began");
    struct exchange *x = guest_exchange_find(p, number);
    if (!x)
        return 0; /* it is over */
    int status = handlers[f->kind - HTTP_REQUEST](p, x, &c, e);
    if (status == 0 && !cursor_finished(&c))
        return broken(e, "a frame with more than belongs into it");
    return status;
}

/* ---- the loop's view ---- */

static struct http_peer *peer_of(struct source *s)
{
    return (struct http_peer *)((char *)s - offsetof(struct http_peer, source));
}

/* The link is gone; every exchange on it fails with CONNECTION_TERMINATED. */
static void http_peer_fail(struct http_peer *p)
{
    if (!p->link)
        return;
    loop_remove_source(p->loop, &p->source);
    link_free(p->link);
    p->link = NULL;
    for (size_t i = 0; i < p->table_size; i++) {
        while (p->table[i]) {
            struct exchange *x = p->table[i];
            if (x->incoming && p->gone)
                p->gone(p->context, x);
            if (p->table[i] == x)
                guest_exchange_fail(x, HTTP_ERROR_CONNECTION_TERMINATED, UINT64_MAX,
                                    bytes_of("the room that does this has ended"));
        }
    }
    buf_clear(&p->backlog);
    p->backlog_sent = 0;
    p->broken = false;
    p->last = 0;
}

static int take(struct source *s, struct error *e)
{
    struct http_peer *p = peer_of(s);
    struct frame f;
    int status = p->broken ? -EBADMSG : 1;
    for (int n = 0; status == 1 && n < BURST_MAX; n++) {
        status = link_get(p->link, &f, NULL);
        if (status == 1) {
            int handled = on_frame(p, &f, NULL);
            status = handled < 0 ? handled : 1;
        }
    }
    if (status >= 0)
        backlog_send(p);
    if (status >= 0 && !p->broken)
        return 0;
    http_peer_fail(p);
    return p->lost ? p->lost(p->context, p, e) : 0;
}

static bool about_to_sleep(struct source *s)
{
    struct http_peer *p = peer_of(s);
    return p->broken || link_sleep(p->link);
}

static void flush(struct source *s)
{
    link_flush(peer_of(s)->link);
}

void http_peer_init(struct http_peer *p, bool asks)
{
    *p = (struct http_peer){
        .source = { .fd = -1, .take = take, .sleep = about_to_sleep, .flush = flush },
        .asks = asks,
        .backlog = BUF_INIT(HTTP_BACKLOG_MAX),
        .scratch = BUF_INIT(LINK_PAYLOAD_MAX - sizeof(uint64_t)),
    };
}

int http_peer_attach(struct http_peer *p, struct loop *l, struct link *link, struct error *e)
{
    http_peer_fail(p);
    p->loop = l;
    p->link = link;
    p->source.fd = link_fd(link);
    int status = loop_add_source(l, &p->source, e);
    if (status < 0) {
        link_free(link);
        p->link = NULL;
    }
    return status;
}

void http_peer_done(struct http_peer *p)
{
    http_peer_fail(p);
    mem_free(p->table);
    buf_done(&p->backlog);
    buf_done(&p->scratch);
    p->table = NULL;
    p->table_size = 0;
}
