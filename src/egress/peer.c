/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One link, that is one worker: its frames in, and what its exchanges have to say.
 *
 * What is to be said stands in the exchange, never in a queue of its own: peer_say() puts as much of
 * it on the ring as there is room for, in its order, and is called again when there is more. So a
 * worker that does not read costs what its windows allow and no more.
 */
#include <string.h>
#include <sys/epoll.h>

#include "egress/parts.h"

#define TURN_FRAMES 128         /* of one link, before others have theirs */
#define WINDOW_STEP (16u << 10) /* owed bytes that are worth a frame */

/* ---- saying ---- */

/* 0 said; 1 there is no room, or the link is dead. */
static int put(struct peer *p, uint16_t kind, uint64_t id, struct bytes head, struct bytes body)
{
    CLEANUP(buf_done) struct buf start = BUF_INIT(LINK_PAYLOAD_MAX);
    buf_u64(&start, id);
    buf_append(&start, head.data, head.size);
    if (p->dead || buf_status(&start) < 0)
        return 1;
    int status = link_put(p->link, kind, (struct bytes){ start.data, start.size }, body);
    if (status < 0)
        p->dead = true;
    else if (status > 0)
        p->blocked = true;
    return status != 0;
}

static int put_failure(struct peer *p, uint64_t id, const struct http_failure *f)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LINK_PAYLOAD_MAX);
    http_failure_put(&payload, f);
    return put(p, HTTP_ABORT, id, (struct bytes){ payload.data, payload.size },
               (struct bytes){ 0 });
}

static const struct bytes nothing;

static int say_window(struct outgoing *x, uint32_t bytes)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    buf_u32(&payload, bytes);
    int status =
        put(x->peer, HTTP_WINDOW, x->id, (struct bytes){ payload.data, payload.size }, nothing);
    if (status == 0) {
        x->in_window += bytes;
        x->in_owed -= bytes;
    }
    return status;
}

static int say_body(struct outgoing *x)
{
    struct body_queue *q = &x->out;
    while (q->at < q->bytes.size && x->out_window > 0) {
        size_t size = MIN(q->bytes.size - q->at, (size_t)HTTP_BODY_FRAME_MAX);
        size = MIN(size, (size_t)x->out_window);
        if (put(x->peer, HTTP_BODY, x->id, nothing,
                (struct bytes){ q->bytes.data + q->at, size }) != 0)
            return 1;
        q->at += size;
        x->out_window -= (uint32_t)size;
    }
    if (q->at < q->bytes.size)
        return 1;
    q->at = 0;
    buf_clear(&q->bytes);
    return 0;
}

/* The response as far as it goes: 0 all that there will be is said. */
static int say_response(struct outgoing *x)
{
    if (!x->head_sent) {
        if (x->head.size == 0)
            return 1;
        if (put(x->peer, HTTP_RESPONSE, x->id, (struct bytes){ x->head.data, x->head.size },
                nothing) != 0)
            return 1;
        x->head_sent = true;
        buf_done(&x->head);
    }
    if (x->out_discarded)
        return x->out_ended ? 0 : 1;
    if (say_body(x) != 0 || !x->out_ended)
        return 1;
    if (x->no_body || x->end_sent)
        return 0;
    CLEANUP(buf_done) struct buf trailers = BUF_INIT(LINK_PAYLOAD_MAX);
    response_trailers(x, &trailers);
    if (put(x->peer, HTTP_END, x->id, (struct bytes){ trailers.data, trailers.size }, nothing) != 0)
        return 1;
    x->end_sent = true;
    return 0;
}

void peer_say(struct outgoing *x)
{
    if (x->state == OUTGOING_OVER)
        return;
    if (x->failed) {
        explain_denial(x);
        if (!x->abort_sent && put_failure(x->peer, x->id, &x->failure) == 0)
            x->abort_sent = true;
        if (x->abort_sent || x->peer->dead)
            outgoing_over(x);
        return;
    }
    if (x->continue_due && !x->in_ended && !x->in_discarded) {
        if (say_window(x, 0))
            return;
        x->continue_due = false;
    }
    bool worth = x->in_owed >= WINDOW_STEP || x->in.bytes.size == x->in.at;
    if (x->in_owed > 0 && worth && !x->in_ended && !x->in_discarded && say_window(x, x->in_owed))
        return;
    if (say_response(x) != 0)
        return;
    if (!x->in_ended && !x->in_discarded) {
        if (put(x->peer, HTTP_DISCARD, x->id, nothing, nothing) != 0)
            return;
        x->in_discarded = true;
    }
    outgoing_over(x);
}

/* ---- hearing ---- */

static struct outgoing *find(const struct peer *p, uint64_t id)
{
    struct outgoing *x = p->table[id % PEER_TABLE];
    while (x && x->id != id)
        x = x->chain;
    return x;
}

/* A request beyond what is carried at once is answered and forgotten. */
static int turn_away(struct peer *p, uint64_t id, struct error *e)
{
    struct http_failure f = { .error = HTTP_ERROR_CONNECTION_LIMIT_REACHED,
                              .rule = GRANT_NO_RULE,
                              .number = NEVER,
                              .text = bytes_of("too many requests at once") };
    if (put_failure(p, id, &f) != 0)
        return error_set(e, -EBADMSG, "the worker asks and does not listen");
    return 0;
}

static int on_request(struct peer *p, uint64_t id, struct cursor *c, struct error *e)
{
    if (id <= p->last_id)
        return error_set(e, -EBADMSG, "a request with a number that was used");
    p->last_id = id;
    /* Behind a front are many clients, and it queues for them. */
    bool front = (p->flags & EGRESS_LINK_EXPLAINS) != 0;
    if (p->count >= (front ? EXCHANGES_MAX : EXCHANGES_OF_LINK_MAX) ||
        p->room->outgoing_count >= EXCHANGES_MAX)
        return turn_away(p, id, e);
    return outgoing_new(p, id, c, e);
}

static int on_body(struct outgoing *x, struct cursor *c, struct error *e)
{
    size_t size = cursor_left(c);
    if (size == 0 || size > HTTP_BODY_FRAME_MAX || size > x->in_window || x->in_ended)
        return error_set(e, -EBADMSG, "body bytes that were not asked for");
    x->in_window -= (uint32_t)size;
    if (x->in_discarded || x->failed)
        return 0;
    struct egress_room *room = x->peer->room;
    x->in_total += size;
    uint64_t max = x->rule == GRANT_NO_RULE
                       ? NEVER
                       : grant_rules_grant(room->grants.rules, x->rule)->http.max_request_bytes;
#ifdef AMBIT_TEST_HOOKS
    if (room->skip & EGRESS_SKIP_SIZES)
        max = NEVER;
#endif
    if (x->in_total > max) {
        outgoing_refuse(x, GRANT_TOO_LARGE, x->rule, grant_reason_text(GRANT_TOO_LARGE));
        x->failure.error = HTTP_ERROR_REQUEST_BODY_SIZE;
        x->failure.number = max;
        return 0;
    }
    if (x->content_length != NEVER && x->in_total > x->content_length) {
        outgoing_fail(x, HTTP_ERROR_REQUEST_BODY_SIZE, "the body is longer than Content-Length");
        return 0;
    }
    if (x->in.at == x->in.bytes.size) {
        x->in.at = 0;
        buf_clear(&x->in.bytes);
    } else if (x->in.at > UPLOAD_WINDOW / 2) {
        size_t left = x->in.bytes.size - x->in.at;
        memmove(x->in.bytes.data, x->in.bytes.data + x->in.at, left);
        x->in.bytes.size = left;
        x->in.at = 0;
    }
    if (x->request.flags & HTTP_UPGRADE) /* websocket.c looks into its messages */
        buf_append(&x->in.bytes, c->at, size);
    else
        placeholders_in_body(x, (struct bytes){ c->at, size }, &x->in.bytes);
    if (x->failed)
        return 0;
    if (buf_status(&x->in.bytes) < 0)
        outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for the body");
    else
        transfer_body_came(x);
    return 0;
}

static int on_end(struct outgoing *x, struct cursor *c, struct error *e)
{
    if (x->in_ended)
        return error_set(e, -EBADMSG, "a body that ends twice");
    x->in_ended = true;
    buf_append(&x->in_trailers, c->at, cursor_left(c));
    static struct http_field fields[HTTP_FIELDS_MAX];
    size_t count;
    int status = http_fields_get(c, fields, &count, e);
    if (status == 0 && !x->failed && !x->in_discarded) {
        if (!(x->request.flags & HTTP_UPGRADE))
            placeholders_at_end(x, &x->in.bytes);
        placeholders_in_trailers(x, fields, count);
    }
    if (status < 0)
        return error_set(e, status, "trailers that cannot be read");
    if (x->failed || x->in_discarded)
        return 0;
    if (x->content_length != NEVER && x->in_total != x->content_length)
        outgoing_fail(x, HTTP_ERROR_REQUEST_BODY_SIZE, "the body is shorter than Content-Length");
    else
        transfer_body_came(x);
    return 0;
}

static int on_window(struct outgoing *x, struct cursor *c, struct error *e)
{
    uint32_t bytes = cursor_u32(c);
    if (!cursor_finished(c) || bytes > HTTP_WINDOW_MAX || x->out_window > HTTP_WINDOW_MAX - bytes)
        return error_set(e, -EBADMSG, "a window that is too large");
    x->out_window += bytes;
    peer_say(x);
    if (!x->failed && x->out.bytes.size == 0)
        transfer_window_came(x);
    return 0;
}

static int on_discard(struct outgoing *x)
{
    x->out_discarded = true;
    buf_clear(&x->out.bytes);
    x->out.at = 0;
    if (x->in_ended)
        outgoing_over(x); /* the rest of the response is not even fetched */
    else
        transfer_window_came(x);
    return 0;
}

static int on_abort(struct outgoing *x, struct cursor *c, struct error *e)
{
    struct http_failure f;
    int status = http_failure_get(c, &f, e);
    if (status == 0)
        outgoing_over(x);
    return status;
}

static int on_frame(struct peer *p, const struct frame *f, struct error *e)
{
    struct cursor c = cursor_of(f->payload, f->size);
    uint64_t id = cursor_u64(&c);
    if (c.bad || id == 0 || f->kind < HTTP_REQUEST || f->kind >= HTTP_FRAME_END ||
        f->kind == HTTP_RESPONSE)
        return error_set(e, -EBADMSG, "a frame of kind %u", f->kind);
    if (f->kind == HTTP_REQUEST)
        return on_request(p, id, &c, e);
    if (id > p->last_id)
        return error_set(e, -EBADMSG, "a frame about a request that never came");
    struct outgoing *x = find(p, id);
    if (!x || x->state == OUTGOING_OVER)
        return 0;
    switch (f->kind) {
    case HTTP_BODY:
        return on_body(x, &c, e);
    case HTTP_END:
        return on_end(x, &c, e);
    case HTTP_WINDOW:
        return on_window(x, &c, e);
    case HTTP_DISCARD:
        return on_discard(x);
    case HTTP_ABORT:
        return on_abort(x, &c, e);
    default:
        return error_set(e, -EBADMSG, "a frame of kind %u", f->kind);
    }
}

void peer_turn(struct peer *p)
{
    struct error e = ERROR_INIT;
    struct frame f;
    if (p->blocked) {
        p->blocked = false;
        for (struct outgoing *x = p->first; x && !p->blocked; x = x->next) {
            peer_say(x);
            if (!x->failed && x->out.bytes.size == 0)
                transfer_window_came(x);
        }
    }
    for (unsigned i = 0; i < TURN_FRAMES && !p->dead; i++) {
        int status = link_get(p->link, &f, &e);
        if (status == 0)
            break;
        if (status > 0)
            status = on_frame(p, &f, &e);
        if (status < 0)
            p->dead = true; /* whoever breaks the protocol is not spoken to any more */
    }
}

int peer_new(struct egress_room *room, uint32_t owner, uint32_t flags,
             const int fds[static LINK_FDS], struct error *e)
{
    struct peer *p = mem_zalloc(sizeof(*p));
    if (!p) {
        for (size_t i = 0; i < LINK_FDS; i++)
            fd_close(fds[i]);
        return error_set(e, -ENOMEM, "no memory for a link");
    }
    p->room = room;
    p->owner = owner;
    p->flags = flags;
    int status = link_open(fds, &p->link, e);
    if (status == 0) {
        status = poller_set(&room->poller, link_fd(p->link), WATCH_LINK, p, EPOLLIN);
        if (status < 0)
            error_set(e, status, "a link cannot be watched");
    }
    if (status < 0) {
        link_free(p->link);
        mem_free(p);
        return status;
    }
    p->next = room->peers;
    room->peers = p;
    room->peer_count++;
    return 0;
}

void peer_forget(struct outgoing *x)
{
    struct peer *p = x->peer;
    struct outgoing **at = &p->table[x->id % PEER_TABLE];
    while (*at != x)
        at = &(*at)->chain;
    *at = x->chain;
    if (x->previous)
        x->previous->next = x->next;
    else
        p->first = x->next;
    if (x->next)
        x->next->previous = x->previous;
    p->count--;
    p->room->outgoing_count--;
    outgoing_free(x);
}

void peer_free(struct peer *p)
{
    struct egress_room *room = p->room;
    while (p->first)
        peer_forget(p->first);
    for (struct peer **at = &room->peers; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            room->peer_count--;
            break;
        }
    }
    (void)!poller_set(&room->poller, link_fd(p->link), WATCH_NONE, NULL, 0);
    link_free(p->link);
    mem_free(p);
}
