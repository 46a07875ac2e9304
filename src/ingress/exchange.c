/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchanges: one request and its answer, between a connection and the worker (wire/http.h).
 *
 * A new exchange goes to the worker at once when it has fewer than start.concurrency and nobody
 * waits; else it waits in order, at most start.queue of them, with its head and none of its body.
 * So the worker never has more than it said it takes, and memory is bounded by two numbers.
 *
 * The link may be full. A request then waits as above; a body stays with its connection, which stops
 * reading (the exchange is in `blocked`); the frames that are left are small and few for each
 * exchange, and go through `backlog` in order. A body never overtakes it.
 *
 * A worker is not believed: what breaks the protocol makes the link dead, at the end of the turn, so
 * that no callback finds its exchange gone. Control learns of it and ends that worker.
 */
#include <string.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "ingress/internal.h"

#define BACKLOG_MAX (16u << 20)
#define FRAMES_PER_TURN 4096

/* ---- the table by number ---- */

static struct exchange **bucket(struct ingress *i, uint64_t id)
{
    return &i->by_id[id % EXCHANGE_BUCKETS];
}

static struct exchange *find(struct ingress *i, uint64_t id)
{
    struct exchange *x = *bucket(i, id);
    while (x != NULL && x->id != id)
        x = x->next_of_id;
    return x;
}

static void forget(struct exchange *x)
{
    if (!x->running)
        return;
    struct exchange **at = bucket(x->i, x->id);
    while (*at != x)
        at = &(*at)->next_of_id;
    *at = x->next_of_id;
    x->running = false;
    x->i->running_count--;
    room_count(x->i, INGRESS_COUNT_requests_running, UINT64_MAX);
}

/* ---- to the worker ---- */

/* 0, or 1: no room. */
static int put(struct ingress *i, uint16_t kind, struct bytes head, struct bytes body)
{
    if (i->link == NULL || i->link_failed)
        return 1;
    int r = link_put(i->link, kind, head, body);
    if (r < 0)
        i->link_failed = true;
    return r != 0;
}

static void flush_backlog(struct ingress *i)
{
    struct cursor c = cursor_of(i->backlog.data, i->backlog.size);
    size_t done = 0;
    while (cursor_left(&c) > 0) {
        uint16_t kind = cursor_u16(&c);
        size_t size;
        const uint8_t *payload = cursor_bytes(&c, &size);
        ASSERT(!c.bad);
        if (put(i, kind, (struct bytes){ payload, size }, (struct bytes){ 0 }) != 0)
            break;
        done = i->backlog.size - cursor_left(&c);
    }
    if (done == 0)
        return;
    memmove(i->backlog.data, i->backlog.data + done, i->backlog.size - done);
    i->backlog.size -= done;
}

/* A frame that is not a body: now, or after what waits already. scratch holds its payload. */
static void put_scratch(struct ingress *i, uint16_t kind)
{
    if (buf_status(&i->scratch) < 0) {
        i->link_failed = true;
        return;
    }
    struct bytes payload = { i->scratch.data, i->scratch.size };
    if (i->backlog.size == 0 && put(i, kind, payload, (struct bytes){ 0 }) == 0)
        return;
    buf_u16(&i->backlog, kind);
    buf_bytes(&i->backlog, payload.data, payload.size);
    if (buf_status(&i->backlog) < 0)
        i->link_failed = true;
}

static struct buf *payload_of(struct exchange *x)
{
    struct buf *b = &x->i->scratch;
    buf_clear(b);
    buf_u64(b, x->id);
    return b;
}

static void put_abort(struct exchange *x)
{
    const struct http_failure none = { .error = HTTP_OK, .number = UINT64_MAX };
    http_failure_put(payload_of(x), &none);
    put_scratch(x->i, HTTP_ABORT);
}

static int send_request(struct exchange *x, struct bytes payload)
{
    struct ingress *i = x->i;
    struct buf number = BUF_INIT(8);
    buf_u64(&number, i->last_id + 1);
    int r = buf_status(&number);
    if (r == 0)
        r = put(i, HTTP_REQUEST, (struct bytes){ number.data, number.size }, payload);
    buf_done(&number);
    if (r != 0)
        return 1;
    x->id = ++i->last_id;
    x->next_of_id = *bucket(i, x->id);
    *bucket(i, x->id) = x;
    x->running = true;
    i->running_count++;
    room_count(i, INGRESS_COUNT_requests_running, 1);
    return 0;
}

static bool worker_has_room(const struct ingress *i)
{
    return i->link != NULL && !i->link_failed && i->running_count < i->start.concurrency &&
           i->backlog.size == 0;
}

static void stop_waiting(struct exchange *x)
{
    list_remove(&x->place);
    buf_done(&x->held);
    x->i->waiting_count--;
    room_count(x->i, INGRESS_COUNT_requests_waiting, UINT64_MAX);
}

void exchange_pump(struct ingress *i)
{
    if (i->backlog.size > 0)
        flush_backlog(i);
    while (worker_has_room(i) && !list_empty(&i->waiting)) {
        struct exchange *x = LIST_OF(struct exchange, place, i->waiting.next);
        if (send_request(x, (struct bytes){ x->held.data, x->held.size }) != 0)
            break;
        stop_waiting(x);
        x->owner->room(x);
    }
    struct list blocked;
    list_init(&blocked);
    while (!list_empty(&i->blocked) && i->backlog.size == 0)
        list_append(&blocked, i->blocked.next);
    while (!list_empty(&blocked)) {
        struct exchange *x = LIST_OF(struct exchange, place, blocked.next);
        list_remove(&x->place);
        x->owner->room(x);
    }
}

/* ---- from the connection ---- */

static int wait_in_line(struct exchange *x, const struct buf *payload)
{
    struct ingress *i = x->i;
    if (i->waiting_count >= i->start.queue)
        return 1;
    x->held = (struct buf)BUF_INIT(LINK_PAYLOAD_MAX);
    buf_append(&x->held, payload->data, payload->size);
    int r = buf_status(&x->held);
    if (r < 0) {
        buf_done(&x->held);
        return r;
    }
    list_append(&i->waiting, &x->place);
    i->waiting_count++;
    room_count(i, INGRESS_COUNT_requests_waiting, 1);
    return 0;
}

int exchange_new(struct conn *c, const struct exchange_owner *owner, void *stream, uint8_t version,
                 const struct http_request *r, struct exchange **ret)
{
    struct ingress *i = c->i;
    struct exchange *x = mem_zalloc(sizeof *x);
    if (x == NULL)
        return -ENOMEM;
    *x = (struct exchange){ .i = i,
                            .conn = c,
                            .owner = owner,
                            .stream = stream,
                            .version = version,
                            .began_ns = i->now_ns,
                            .send_window = HTTP_WINDOW_START,
                            .receive_window = HTTP_WINDOW_START,
                            .holds_body = r->flags & HTTP_EXPECTS_CONTINUE,
                            .request_ended = r->flags & HTTP_NO_BODY,
                            .asks_upgrade = r->flags & HTTP_UPGRADE };
    list_init(&x->place);
    buf_clear(&i->scratch);
    http_request_put(&i->scratch, r);
    int result = buf_status(&i->scratch);
    if (result == 0 && i->scratch.size + 8 > LINK_PAYLOAD_MAX)
        result = -EMSGSIZE;
    if (result == 0 && (!worker_has_room(i) || !list_empty(&i->waiting) ||
                        send_request(x, (struct bytes){ i->scratch.data, i->scratch.size }) != 0))
        result = wait_in_line(x, &i->scratch);
    if (result != 0) {
        mem_free(x);
        return result;
    }
    log_begin(x, r);
    *ret = x;
    return 0;
}

size_t exchange_send_body(struct exchange *x, struct bytes data)
{
    struct ingress *i = x->i;
    size_t taken = 0;
    ASSERT(!x->request_ended);
    if (x->over)
        return data.size;
    if (!x->running || x->holds_body)
        return 0;
    while (taken < data.size && x->send_window > 0) {
        size_t most = MIN(x->send_window, (uint64_t)HTTP_BODY_FRAME_MAX);
        size_t size = MIN(data.size - taken, most);
        struct buf *head = payload_of(x);
        if (buf_status(head) < 0 || i->backlog.size > 0 ||
            put(i, HTTP_BODY, (struct bytes){ head->data, head->size },
                (struct bytes){ data.data + taken, size }) != 0) {
            list_append(&i->blocked, &x->place);
            break;
        }
        taken += size;
        x->send_window -= size;
        x->received += size;
    }
    return taken;
}

void exchange_send_end(struct exchange *x, const struct http_field *trailers, size_t count)
{
    if (x->request_ended)
        return;
    x->request_ended = true;
    if (x->over)
        return;
    ASSERT(x->running);
    http_fields_put(payload_of(x), trailers, count);
    put_scratch(x->i, HTTP_END);
}

void exchange_consumed(struct exchange *x, uint64_t size)
{
    x->owed += size;
    if (x->over || x->response_ended || x->owed < (x->wide ? EXCHANGE_WIDE : HTTP_WINDOW_START) / 4)
        return;
    buf_u32(payload_of(x), (uint32_t)x->owed);
    put_scratch(x->i, HTTP_WINDOW);
    x->receive_window += x->owed;
    x->owed = 0;
}

void exchange_widen(struct exchange *x)
{
    if (x->wide)
        return;
    x->wide = true;
    exchange_consumed(x, EXCHANGE_WIDE - HTTP_WINDOW_START);
}

void exchange_discard(struct exchange *x)
{
    if (x->response_ended || x->over)
        return;
    x->response_ended = true;
    (void)payload_of(x);
    put_scratch(x->i, HTTP_DISCARD);
}

void exchange_free(struct exchange *x)
{
    if (x->running && !exchange_finished(x)) {
        x->cut = true;
        put_abort(x);
    }
    if (!x->running && x->id == 0 && !list_empty(&x->place))
        stop_waiting(x);
    list_remove(&x->place);
    forget(x);
    log_end(x);
    buf_done(&x->held);
    mem_free(x);
}

/* ---- from the worker ---- */

static void fail(struct exchange *x, const struct http_failure *f)
{
    x->over = true;
    list_remove(&x->place);
    forget(x);
    x->owner->failed(x, f);
}

static int broken(struct error *e, const char *what)
{
    return error_set(e, -EBADMSG, "the worker broke the protocol: %s", what);
}

static int on_response(struct exchange *x, struct cursor *c, struct error *e)
{
    struct http_response r;
    if (x->responded)
        return broken(e, "it answered twice");
    int status = http_response_get(c, x->i->fields, &r, e);
    if (status < 0)
        return status;
    bool upgraded = r.status == 101 && x->asks_upgrade && !r.no_body && !x->request_ended;
    if ((r.status < 200 && !upgraded) || r.status > 599)
        return broken(e, "a status that cannot be");
    x->responded = true;
    x->status = r.status;
    x->response_ended = x->response_ended || r.no_body;
    x->owner->response(x, &r);
    return 0;
}

static int on_body(struct exchange *x, struct cursor *c, struct error *e)
{
    size_t size = cursor_left(c);
    if (!x->responded || size > HTTP_BODY_FRAME_MAX || size > x->receive_window)
        return broken(e, "more of a body than was asked for");
    x->receive_window -= size;
    x->sent += size;
    if (!x->response_ended && size > 0)
        x->owner->body(x, (struct bytes){ c->at, size });
    return 0;
}

/* Those that could change what was already said (RFC 9110 6.5.1) are left out. */
static size_t keep_trailers(struct http_field *fields, size_t count)
{
    size_t kept = 0;
    for (size_t k = 0; k < count; k++)
        if (http1_trailer_allowed(fields[k].name))
            fields[kept++] = fields[k];
    return kept;
}

static int on_end(struct exchange *x, struct cursor *c, struct error *e)
{
    size_t count;
    int status = http_fields_get(c, x->i->fields, &count, e);
    if (status < 0)
        return status;
    if (!x->responded)
        return broken(e, "an end before the answer");
    if (x->response_ended) /* we said that no more is wanted, or it said so twice */
        return 0;
    x->response_ended = true;
    x->owner->end(x, x->i->fields, keep_trailers(x->i->fields, count));
    return 0;
}

static int on_window(struct exchange *x, struct cursor *c, struct error *e)
{
    uint32_t size = cursor_u32(c);
    if (!cursor_finished(c) || x->send_window + size > HTTP_WINDOW_MAX)
        return broken(e, "a window that is too large");
    x->send_window += size;
    if (x->request_ended)
        return 0;
    if (x->holds_body) {
        x->holds_body = false;
        x->owner->proceed(x);
    }
    x->owner->room(x);
    return 0;
}

static int on_frame(struct ingress *i, const struct frame *f, struct error *e)
{
    struct cursor c = cursor_of(f->payload, f->size);
    struct http_failure failure;
    uint64_t id = cursor_u64(&c);
    if (c.bad || id == 0 || id > i->last_id)
        return broken(e, "an exchange that never began");
    struct exchange *x = find(i, id);
    if (x == NULL)
        return 0; /* it is over */
    switch (f->kind) {
    case HTTP_RESPONSE:
        return on_response(x, &c, e);
    case HTTP_BODY:
        return on_body(x, &c, e);
    case HTTP_END:
        return on_end(x, &c, e);
    case HTTP_WINDOW:
        return on_window(x, &c, e);
    case HTTP_DISCARD:
        if (!x->request_ended) {
            x->request_ended = true;
            x->owner->room(x);
        }
        return 0;
    case HTTP_ABORT: {
        int status = http_failure_get(&c, &failure, e);
        if (status == 0)
            fail(x, &failure);
        return status;
    }
    default:
        return broken(e, "a frame of no known kind");
    }
}

int exchange_take_frames(struct ingress *i, struct error *e)
{
    struct frame f;
    for (int n = 0; n < FRAMES_PER_TURN && i->link != NULL && !i->link_failed; n++) {
        int r = link_get(i->link, &f, e);
        if (r == 1)
            r = on_frame(i, &f, e);
        else if (r == 0)
            return 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the link's end ---- */

void exchange_fail_all(struct ingress *i)
{
    const struct http_failure gone = { .error = HTTP_ERROR_CONNECTION_TERMINATED,
                                       .number = UINT64_MAX,
                                       .text = bytes_of("the worker is gone") };
    if (i->link !=
        NULL) /* the worker holds the same eventfd: closing ours would not end its events */
        (void)epoll_ctl(i->epoll_fd, EPOLL_CTL_DEL, link_fd(i->link), NULL);
    link_free(TAKE(i->link));
    i->link_failed = false;
    buf_clear(&i->backlog);
    for (size_t b = 0; b < EXCHANGE_BUCKETS; b++)
        while (i->by_id[b] != NULL) {
            i->by_id[b]->orphan = true;
            fail(i->by_id[b], &gone);
        }
}

void exchange_new_link(struct ingress *i, struct link *l)
{
    exchange_fail_all(i);
    i->link = l;
    i->last_id = 0;
}

void exchange_tick(struct ingress *i)
{
    const struct http_failure late = { .error = HTTP_ERROR_CONNECTION_LIMIT_REACHED,
                                       .number = UINT64_MAX,
                                       .text = bytes_of("no worker was free in time") };
    while (!list_empty(&i->waiting)) {
        struct exchange *x = LIST_OF(struct exchange, place, i->waiting.next);
        if (i->now_ns - x->began_ns < QUEUE_WAIT_NS)
            break;
        stop_waiting(x);
        x->over = true;
        x->owner->failed(x, &late);
    }
}

uint16_t exchange_failure_status(const struct http_failure *f)
{
    switch (f->error) {
    case HTTP_ERROR_CONNECTION_LIMIT_REACHED:
        return 503;
    case HTTP_ERROR_RESPONSE_TIMEOUT:
    case HTTP_ERROR_CONNECTION_TIMEOUT:
    case HTTP_ERROR_CONNECTION_READ_TIMEOUT:
    case HTTP_ERROR_CONNECTION_WRITE_TIMEOUT:
    case HTTP_ERROR_DNS_TIMEOUT:
        return 504;
    case HTTP_ERROR_REQUEST_BODY_SIZE:
        return 413;
    case HTTP_ERROR_REQUEST_URI_TOO_LONG:
        return 414;
    case HTTP_ERROR_REQUEST_HEADER_SECTION_SIZE:
    case HTTP_ERROR_REQUEST_HEADER_SIZE:
        return 431;
    case HTTP_OK:
    case HTTP_ERROR_INTERNAL:
    case HTTP_ERROR_CONFIGURATION:
        return 500;
    default:
        return 502;
    }
}
