/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of HTTP/1.0 or 1.1: its states, and requests on their way in.
 *
 *             BYTES          HEAD             BODY_END
 *     IDLE ─────────→ HEAD ────────→ BODY ─────────────→ ANSWER
 *      ↑                │ REQUEST      │ ANSWERED          │ ANSWERED
 *      │                └───────────────────────────────→  │
 *      │                               ↓                   │
 *      ├──────────── BODY_END ───── SKIP                   │
 *      └───────────────────────────────────────────────────┘
 *     any ── LAST ─→ LINGER        any ── GONE ─→ CLOSED
 *     ANSWER ── TUNNEL ─→ TUNNEL: a WebSocket of a proxy, which ends with its connection
 *
 * One request at a time: the head of the next one is looked at when the answer of the one before is
 * written, so answers are in order and what is held is bounded by one read. While a request is with
 * the worker nothing more than its body is read; a client that sends on fills its own socket.
 *
 * The worker's windows reach the client's socket: bytes that an exchange does not take stay in `in`,
 * and then nothing is read.
 */
#include "ingress/h1.h"

#include <string.h>

#include "base/mem.h"

#define POOL_MAX 256
#define WIDE_MAX 32                /* connections with wide windows */
#define STEPS_PER_TURN 64          /* of one connection: heads, bodies */
#define BODY_PER_TURN (256u << 10) /* bytes of one body */

static const uint8_t next_state[H1_STATE_COUNT][H1_STEP_COUNT] = {
#define NO H1_STATE_COUNT
    /* bytes, head, request, body end, tunnel, answered, last, gone */
    [H1_IDLE] = { H1_HEAD, NO, NO, NO, NO, NO, H1_LINGER, H1_CLOSED },
    [H1_HEAD] = { NO, H1_BODY, H1_ANSWER, NO, NO, NO, H1_LINGER, H1_CLOSED },
    [H1_BODY] = { NO, NO, NO, H1_ANSWER, NO, H1_SKIP, H1_LINGER, H1_CLOSED },
    [H1_ANSWER] = { NO, NO, NO, NO, H1_TUNNEL, H1_IDLE, H1_LINGER, H1_CLOSED },
    [H1_TUNNEL] = { NO, NO, NO, NO, NO, NO, H1_LINGER, H1_CLOSED },
    [H1_SKIP] = { NO, NO, NO, H1_IDLE, NO, NO, H1_LINGER, H1_CLOSED },
    [H1_LINGER] = { NO, NO, NO, NO, NO, NO, NO, H1_CLOSED },
    [H1_CLOSED] = { NO, NO, NO, NO, NO, NO, NO, NO },
#undef NO
};

enum h1_state h1_next(enum h1_state s, enum h1_step step)
{
    ASSERT(s < H1_STATE_COUNT && step < H1_STEP_COUNT);
    return (enum h1_state)next_state[s][step];
}

const char *h1_state_name(enum h1_state s)
{
    static const char *const names[H1_STATE_COUNT] = { "idle",   "head", "body",   "answer",
                                                       "tunnel", "skip", "linger", "closed" };
    return s < H1_STATE_COUNT ? names[s] : "none";
}

void h1_step(struct conn *c, enum h1_step step)
{
    struct h1 *h = c->h1;
    enum h1_state from = h->state, to = h1_next(from, step);
    ASSERT(to != H1_STATE_COUNT);
    h->state = to;
    bool owed = from == H1_IDLE || from == H1_HEAD, owes = to == H1_IDLE || to == H1_HEAD;
    if (owes != owed)
        conn_owes_head(c, owes);
    else
        c->since_ns = c->i->now_ns;
}

/* ---- the pool ---- */

bool h1_begin(struct conn *c)
{
    struct ingress *i = c->i;
    struct h1 *h = i->pool;
    if (h != NULL) {
        i->pool = h->next;
        i->pool_count--;
    } else {
        h = mem_zalloc(sizeof *h);
        if (h == NULL)
            return false;
        h->in = mem_alloc(H1_IN_START);
        h->capacity = H1_IN_START;
        h->out = (struct buf)BUF_INIT(H1_OUT_MAX);
        if (h->in == NULL) {
            mem_free(h);
            return false;
        }
    }
    struct buf out = h->out;
    buf_clear(&out);
    /* All but the parser, which initialises itself. */
    uint8_t *in = h->in;
    size_t capacity = h->capacity;
    memset(h, 0, offsetof(struct h1, parser));
    h->in = in;
    h->capacity = capacity;
    h->out = out;
    h->state = H1_IDLE;
    http1_init(&h->parser, HTTP1_REQUEST, &http1_limits_default);
    c->h1 = h;
    return true;
}

static void h1_destroy(struct h1 *h)
{
    buf_done(&h->out);
    mem_free(h->in);
    mem_free(h);
}

void h1_drop_exchange(struct h1 *h)
{
    struct exchange *x = TAKE(h->x);
    if (x != NULL)
        exchange_free(x);
}

void h1_free(struct conn *c)
{
    struct ingress *i = c->i;
    struct h1 *h = TAKE(c->h1);
    if (h->x != NULL)
        h->x->cut =
            h->x->cut || h->state == H1_BODY || h->state == H1_ANSWER || h->state == H1_TUNNEL;
    h1_drop_exchange(h);
    i->wide_count -= h->wide;
    if (i->pool_count >= POOL_MAX || h->capacity > H1_IN_START || h->out.capacity > H1_IN_START) {
        h1_destroy(h);
        return;
    }
    h->next = i->pool;
    i->pool = h;
    i->pool_count++;
}

/* ---- bytes ---- */

/* Reads what there is room for. > 0 read, 0 nothing now, < 0 the end or no memory. */
static ssize_t fill(struct conn *c)
{
    struct h1 *h = c->h1;
    if (h->start > 0) {
        memmove(h->in, h->in + h->start, h->size);
        h->start = 0;
    }
    if (h->size == h->capacity) {
        size_t capacity = MIN(2 * h->capacity, (size_t)H1_IN_MAX);
        uint8_t *in = capacity > h->capacity ? mem_grow(h->in, capacity, 1) : NULL;
        if (in == NULL)
            return -1;
        h->in = in;
        h->capacity = capacity;
    }
    ssize_t n = conn_read(c, h->in + h->size, h->capacity - h->size);
    if (n > 0)
        h->size += (size_t)n;
    return n;
}

static void use(struct h1 *h, size_t size)
{
    h->start += size;
    h->size -= size;
}

/* ---- heads ---- */

/* Does it begin as a client that knows that we speak HTTP/2? 1 yes, 0 no, -1 too early to tell. */
static int begins_as_h2(const struct conn *c)
{
    const struct h1 *h = c->h1;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t size = MIN(h->size, sizeof preface - 1);
    /* To a proxy HTTP/2 comes in tunnels alone: before one it would be a request for this room. Who asks for
     * figures gets nothing else, and streams of HTTP/2 are requests for a worker, or for egress. */
    bool never = c->metrics || (is_proxy(c->i) && c->tls == NULL);
    if (c->begun || never || memcmp(h->in + h->start, preface, size) != 0)
        return 0;
    return size == sizeof preface - 1 ? 1 : -1;
}

/* Names in lower case, in place: the head's slices lie in `in`, which is ours. Gives how many fields
 * go to the worker. */
static size_t pass_fields(struct conn *c, const struct http1_head *head, struct http_field *fields)
{
    struct h1 *h = c->h1;
    size_t count = 0;
    for (size_t f = 0; f < head->field_count; f++) {
        struct http_field field = head->fields[f];
        uint8_t *name = h->in + (field.name.data - h->in);
        for (size_t i = 0; i < field.name.size; i++)
            if (name[i] >= 'A' && name[i] <= 'Z')
                name[i] |= 0x20;
        if (!head->hop_by_hop[f] && !bytes_are(field.name, "expect") &&
            !(is_proxy(c->i) && proxy_drops(field.name)))
            fields[count++] = field;
    }
    return count;
}

int h1_begin_exchange(struct conn *c, const struct http1_head *head, bool body,
                      struct bytes authority, uint32_t flags)
{
    struct ingress *i = c->i;
    struct h1 *h = c->h1;
    char peer[80];
    conn_peer_text(c, peer, sizeof peer);
    struct http_request r = {
        .method = head->method,
        .authority = authority,
        .target = head->path,
        .peer = bytes_of(peer),
        .connect_timeout_ns = HTTP_NO_TIMEOUT,
        .first_byte_timeout_ns = HTTP_NO_TIMEOUT,
        .between_bytes_timeout_ns = HTTP_NO_TIMEOUT,
        .fields = i->fields,
        .field_count = pass_fields(c, head, i->fields),
    };
    h->owes_continue = body && head->expect_continue && head->minor > 0;
    r.flags = flags | (h->owes_continue ? HTTP_EXPECTS_CONTINUE : 0) |
              (body || flags & HTTP_UPGRADE ? 0 : HTTP_NO_BODY) |
              (c->tls != NULL ? HTTP_SECURE : 0);
    return exchange_new(c, &h1_owner, h, 10 + head->minor, &r, &h->x);
}

/* A head is whole. Its bytes are still in `in`. */
static void on_head(struct conn *c, const struct http1_head *head)
{
    struct h1 *h = c->h1;
    bool body = head->framing == HTTP1_CHUNKED ||
                (head->framing == HTTP1_LENGTH && head->content_length > 0);
    c->begun = true;
    h->minor = head->minor;
    h->head_request = bytes_are(head->method, "HEAD");
    h->keep_alive = head->keep_alive && !c->i->draining;
    room_count(c->i, INGRESS_COUNT_requests_total, 1);
    h1_step(c, body ? H1_STEP_HEAD : H1_STEP_REQUEST);
    if (c->metrics) {
        h1_answer_metrics(c, head);
    } else if (is_proxy(c->i)) {
        proxy_on_head(c, head, body);
    } else if (bytes_are(head->method, "CONNECT")) {
        h1_answer(c, 501, true);
    } else if (h1_begin_exchange(c, head, body,
                                 head->authority.size > 0 ? head->authority
                                                          : bytes_of(c->i->start.authority),
                                 0) != 0) {
        room_count(c->i, INGRESS_COUNT_requests_refused_total, 1);
        h1_answer(c, 503, body);
    }
}

static void refuse(struct conn *c, enum http1_fault fault)
{
    room_count(c->i, INGRESS_COUNT_requests_malformed_total, 1);
    log_refused(c, http1_fault_status(fault), http1_fault_text(fault));
    h1_answer_last(c, http1_fault_status(fault));
}

/* True: go on. */
static bool take_head(struct conn *c)
{
    struct h1 *h = c->h1;
    for (;;) {
        if (h->size > 0) {
            struct http1_event event;
            size_t used = 0;
            if (h->state == H1_IDLE)
                h1_step(c, H1_STEP_BYTES);
            int h2 = begins_as_h2(c);
            if (h2 > 0) {
                if (h2_begin(c, h->in + h->start, h->size))
                    c->protocol = PROTOCOL_H2;
                else
                    conn_close(c);
                if (c->h1 != NULL)
                    h1_free(c);
                return false;
            }
            enum http1_event_kind kind =
                h2 < 0 ? HTTP1_MORE
                       : http1_read(&h->parser, h->in + h->start, h->size, &event, &used);
            if (kind == HTTP1_HEAD) {
                on_head(c, event.head);
                use(h, used);
                return true;
            }
            use(h, used);
            if (kind == HTTP1_DONE) /* of the request before */
                continue;
            if (kind == HTTP1_FAULT) {
                refuse(c, event.fault);
                return true;
            }
        }
        ssize_t n = fill(c);
        if (n > 0)
            continue;
        if (n < 0)
            conn_close(c); /* between two requests, or within a head that nobody can answer */
        return false;
    }
}

/* ---- bodies ---- */

/* Gives the worker what it takes, or throws away what it does not want. True: nothing is pending. */
static bool push_pending(struct h1 *h)
{
    size_t taken = h->pending.size;
    if (h->x != NULL && !h->x->request_ended)
        taken = exchange_send_body(h->x, h->pending);
    else
        h->thrown += taken;
    h->pending.data += taken;
    h->pending.size -= taken;
    return h->pending.size == 0;
}

static void body_is_whole(struct conn *c, const struct http1_event *event)
{
    struct h1 *h = c->h1;
    if (h->x != NULL) {
        for (size_t i = 0; i < event->field_count; i++) {
            uint8_t *name = h->in + (event->fields[i].name.data - h->in);
            for (size_t k = 0; k < event->fields[i].name.size; k++)
                if (name[k] >= 'A' && name[k] <= 'Z')
                    name[k] |= 0x20;
        }
        exchange_send_end(h->x, event->fields, event->field_count);
    }
    if (h->state == H1_SKIP)
        h1_drop_exchange(h);
    h1_step(c, H1_STEP_BODY_END);
}

/* The body cannot be read to its end. */
static void body_is_broken(struct conn *c, enum http1_fault fault)
{
    struct h1 *h = c->h1;
    room_count(c->i, INGRESS_COUNT_requests_malformed_total, 1);
    bool answer = !h->answering && fault != HTTP1_FAULT_BODY_CUT;
    if (h->x != NULL) {
        h->x->cut = true;
        if (answer)
            h->x->status = http1_fault_status(fault);
    }
    h1_drop_exchange(h);
    if (answer)
        h1_answer(c, http1_fault_status(fault), true);
    else
        conn_close(c);
}

/* True: go on. */
static bool take_body(struct conn *c)
{
    struct h1 *h = c->h1;
    size_t read = 0;
    for (;;) {
        if (h->x != NULL && !h->x->over && (!h->x->running || h->x->holds_body) &&
            !h->x->request_ended)
            return false;
        if (h->pending.size > 0 && !push_pending(h))
            return false;
        if (h->state == H1_SKIP && h->thrown > LINGER_MAX) {
            h1_drop_exchange(h);
            h1_step(c, H1_STEP_LAST);
            return true;
        }
        if (read > BODY_PER_TURN) { /* a guest that throws it away reads as fast as anybody sends */
            conn_dirty(c);
            return false;
        }
        struct http1_event event;
        size_t used = 0;
        enum http1_event_kind kind =
            http1_read(&h->parser, h->in + h->start, h->size, &event, &used);
        if (kind == HTTP1_DATA) {
            h->pending = event.data;
            read += event.data.size;
        }
        if (kind == HTTP1_DONE)
            body_is_whole(c, &event);
        use(h, used);
        if (kind == HTTP1_DONE)
            return true;
        if (kind == HTTP1_FAULT) {
            body_is_broken(c, event.fault);
            return !c->closed;
        }
        if (kind == HTTP1_DATA || used > 0)
            continue;
        ssize_t n = fill(c);
        if (n == 0)
            return false;
        if (n < 0) {
            body_is_broken(c, HTTP1_FAULT_BODY_CUT);
            return false;
        }
    }
}

/* ---- tunnels ---- */

/* CONNECT was answered: what came behind it is TLS. */
static void begin_tls(struct conn *c)
{
    struct h1 *h = c->h1;
    CLEANUP(buf_done) struct buf ahead = BUF_INIT(H1_IN_MAX);
    buf_append(&ahead, h->in + h->start, h->size);
    if (buf_status(&ahead) < 0) {
        conn_close(c);
        return;
    }
    h1_free(c);
    c->protocol = PROTOCOL_NONE;
    c->begun = false;
    c->readable = true; /* there may be bytes ahead, and no edge for them */
    conn_owes_head(c, true);
    conn_dirty(c);
    proxy_begin_tls(c, (struct bytes){ ahead.data, ahead.size });
}

/* The client's bytes of a WebSocket. */
static void take_tunnel(struct conn *c)
{
    struct h1 *h = c->h1;
    for (size_t read = 0; h->x != NULL && !h->x->request_ended;) {
        if (h->size > 0)
            use(h, exchange_send_body(h->x, (struct bytes){ h->in + h->start, h->size }));
        if (h->size > 0)
            return; /* until there is room */
        if (read > BODY_PER_TURN) {
            conn_dirty(c);
            return;
        }
        ssize_t n = fill(c);
        if (n == 0)
            return;
        if (n > 0)
            read += (size_t)n;
        else if (c->failed)
            break;
        else
            exchange_send_end(h->x, NULL, 0);
    }
    if (c->failed)
        conn_close(c);
}

/* ---- the end ---- */

/* What still comes is read, so that closing does not reset what we said. */
static void linger(struct conn *c)
{
    struct h1 *h = c->h1;
    if (h->out.size > 0)
        return;
    if (h->reset) {
        conn_reset(c);
        return;
    }
    if (!h->shut) {
        conn_shut(c);
        h->shut = true;
    }
    for (;;) {
        ssize_t n = conn_read(c, c->i->read_ahead, sizeof c->i->read_ahead);
        if (n == 0)
            return;
        h->thrown += n > 0 ? (uint64_t)n : 0;
        if (n < 0 || h->thrown > 2 * LINGER_MAX) {
            conn_close(c);
            return;
        }
    }
}

/* A client that took all that there was for it waits for us, at each window anew. So it gets a wider one; a
 * few have it at a time, whose answers are in our memory if they stop to read. */
static void widen(struct conn *c)
{
    struct h1 *h = c->h1;
    if (!is_proxy(c->i) || h->out.size > 0 || (!h->wide && c->i->wide_count == WIDE_MAX))
        return;
    c->i->wide_count += !h->wide;
    h->wide = true;
    exchange_widen(h->x);
}

/* Writes, and opens the worker's window by what went. False: the connection is closed. */
static bool write_out(struct conn *c)
{
    struct h1 *h = c->h1;
    if (h->out.size == 0)
        return true;
    if (buf_status(&h->out) < 0 || conn_write_buf(c, &h->out, &h->out_sent) < 0) {
        conn_close(c);
        return false;
    }
    uint64_t left = h->out.size - h->out_sent;
    if (left < h->body_in_out) {
        uint64_t gone = h->body_in_out - left;
        h->body_in_out = left;
        if (h->x != NULL) {
            exchange_consumed(h->x, gone);
            widen(c);
        }
    }
    return true;
}

static bool go_on(struct conn *c)
{
    struct h1 *h = c->h1;
    switch (h->state) {
    case H1_IDLE:
    case H1_HEAD:
        return h->out.size == 0 && take_head(c);
    case H1_BODY:
    case H1_SKIP:
        if (!c->failed)
            return take_body(c);
        conn_close(c); /* else it would keep its place among those that wait */
        return false;
    case H1_ANSWER:
        /* A client that only ended its own direction is answered. */
        if (c->failed)
            conn_close(c);
        else if (h->open_tunnel && h->out.size == 0)
            begin_tls(c);
        return false;
    case H1_TUNNEL:
        take_tunnel(c);
        return false;
    case H1_LINGER:
        linger(c);
        return false;
    case H1_CLOSED:
    case H1_STATE_COUNT:
        break;
    }
    return false;
}

void h1_work(struct conn *c)
{
    if (c->h1 == NULL && (!c->readable || !h1_begin(c))) {
        if (c->readable)
            conn_close(c);
        return;
    }
    int steps = 0;
    do {
        if (!write_out(c))
            return;
    } while (go_on(c) && ++steps < STEPS_PER_TURN);
    if (steps == STEPS_PER_TURN)
        conn_dirty(c);
    if (c->closed || c->h1 == NULL || !write_out(c))
        return;
    struct h1 *h = c->h1;
    if (h->state == H1_LINGER && h->out.size == 0 && !h->shut)
        linger(c);
    else if (h->state == H1_IDLE && h->size == 0 && h->out.size == 0) {
        if (c->i->draining)
            conn_close(c);
        else
            h1_free(c);
    } else if (h->state == H1_IDLE && h->size > 0 && h->out.size == 0)
        conn_dirty(c);
}

enum conn_wait h1_waits(const struct conn *c)
{
    const struct h1 *h = c->h1;
    switch (h->state) {
    case H1_IDLE:
        return h->out.size > 0 ? WAIT_WRITE : WAIT_IDLE;
    case H1_HEAD:
        return h->out.size > 0 ? WAIT_WRITE : WAIT_HEAD;
    case H1_BODY:
    case H1_SKIP:
        if (h->out.size > 0)
            return WAIT_WRITE;
        if (h->pending.size > 0 ||
            (h->x != NULL && !h->x->request_ended && (!h->x->running || h->x->holds_body)))
            return WAIT_NOTHING;
        return WAIT_READ;
    case H1_ANSWER:
        return h->out.size > 0               ? WAIT_WRITE
               : c->hung_up && !h->answering ? WAIT_HALF
                                             : WAIT_NOTHING;
    case H1_TUNNEL:
        return h->out.size > 0 ? WAIT_WRITE : c->eof ? WAIT_HALF : WAIT_NOTHING;
    case H1_LINGER:
        return WAIT_LINGER;
    case H1_CLOSED:
    case H1_STATE_COUNT:
        break;
    }
    return WAIT_NOTHING;
}
