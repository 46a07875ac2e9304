/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, from its frame to its record:
 *
 *   HTTP_REQUEST → canonical destination → rule, counters → addresses → every address → intent
 *   recorded → curl … → outcome recorded, END or ABORT said → freed in the sweep
 *
 * Whatever ends it comes through outgoing_fail(), outgoing_refuse() or outgoing_over(), from any
 * place, callbacks of curl's included: they only mark it. outgoing_free() is called by the sweep.
 */
#include <string.h>

#include "base/clock.h"
#include "egress/parts.h"

/* Where neither the request nor the grant says. */
#define CONNECT_NS (30 * NS_PER_S)
#define FIRST_BYTE_NS (300 * NS_PER_S)
#define BETWEEN_BYTES_NS (300 * NS_PER_S)
#define TIMEOUT_NS_MAX (3600 * NS_PER_S)

/* ---- ends ---- */

static void to_sweep(struct outgoing *x)
{
    if (x->swept)
        return;
    x->swept = true;
    x->sweep = x->peer->room->sweep;
    x->peer->room->sweep = x;
}

void outgoing_fail(struct outgoing *x, enum http_error error, const char *text)
{
    if (!x->failed) {
        size_t size = MIN(strlen(text), sizeof(x->failure_text) - 1);
        memcpy(x->failure_text, text, size);
        x->failure_text[size] = '\0';
        x->failure = (struct http_failure){ .error = error,
                                            .rule = GRANT_NO_RULE,
                                            .number = NEVER,
                                            .text = bytes_of(x->failure_text) };
        x->failed = true;
    }
    to_sweep(x);
}

void outgoing_refuse(struct outgoing *x, enum grant_reason reason, uint32_t rule, const char *text)
{
    bool first = !x->failed;
    outgoing_fail(x, HTTP_ERROR_REQUEST_DENIED, text);
    if (!first)
        return;
    x->failure.reason = reason;
    x->failure.rule = rule;
}

/* With the refusal that decide.c found. */
static void refused(struct outgoing *x)
{
    if (!x->failed) {
        x->failed = true;
        x->failure = x->refusal;
    }
    to_sweep(x);
}

void outgoing_over(struct outgoing *x)
{
    x->state = OUTGOING_OVER;
    to_sweep(x);
}

static void record_outcome(struct outgoing *x)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(2 * EGRESS_TEXT_MAX);
    struct egress_room *room = x->peer->room;
    struct egress_response r = {
        .number = x->number,
        .owner = x->peer->owner,
        .rule = x->rule,
        .status = x->response.head_done ? x->response.status : 0,
        .version = x->response.version,
        .error = x->failed ? x->failure.error : HTTP_OK,
        .masked = answer_masked(x),
        .bytes_sent = x->bytes_sent,
        .bytes_received = x->bytes_received,
        .took_ns = clock_monotonic_ns() - x->started_ns,
        .text = x->failed ? x->failure.text : (struct bytes){ 0 },
    };
    if (!x->recorded)
        return;
    x->recorded = false;
    egress_response_put(&payload, &r);
    /* It has happened: a control that does not take the record ends with the channel. */
    (void)!room_record(room, EGRESS_RESPONSE, &payload);
}

void outgoing_free(struct outgoing *x)
{
    names_cancel(&x->wait);
    transfer_stop(x);
    websocket_free(x);
    record_outcome(x);
    url_done(&x->url);
    buf_done(&x->payload);
    buf_done(&x->in.bytes);
    buf_done(&x->in_trailers);
    buf_done(&x->head);
    buf_done(&x->out.bytes);
    response_done(&x->response);
    injected_free(x->injected);
    scrub_free(x->scanner);
    buf_done(&x->smallest);
    mem_free(x->fields);
    mem_free(x);
}

/* ---- deadlines ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void watch_deadline(struct outgoing *x, uint64_t when)
{
    struct egress_room *room = x->peer->room;
    room->next_deadline_ns = MIN(room->next_deadline_ns, when);
}

void outgoing_idle(struct outgoing *x, uint64_t timeout_ns, enum http_error means)
{
    x->idle_error = means;
    x->idle_ns = timeout_ns == NEVER ? NEVER : clock_monotonic_ns() + timeout_ns;
    watch_deadline(x, x->idle_ns);
}

uint64_t outgoing_deadlines(struct egress_room *room, uint64_t now)
{
    if (now < room->next_deadline_ns)
        return room->next_deadline_ns;
    uint64_t next = NEVER;
    for (struct peer *p = room->peers; p; p = p->next) {
        for (struct outgoing *x = p->first; x; x = x->next) {
            if (x->failed || x->state == OUTGOING_OVER)
                continue;
            if (now >= room->grants.expires_ns)
                outgoing_refuse(x, GRANT_EXPIRED, x->rule, grant_reason_text(GRANT_EXPIRED));
            else if (now >= x->deadline_ns)
                outgoing_fail(x, HTTP_ERROR_RESPONSE_TIMEOUT, "the timeout of the grant passed");
            else if (now >= x->idle_ns && x->state == OUTGOING_ASKING)
                outgoing_refuse(x, GRANT_SECRET, x->rule,
                                "keeper gave no value in the time allowed");
            else if (now >= x->idle_ns)
                outgoing_fail(x, x->idle_error, "nothing came in the time allowed");
            else
                next = sooner(next, sooner(x->deadline_ns, x->idle_ns));
        }
    }
    if (now < room->grants.expires_ns)
        next = MIN(next, room->grants.expires_ns);
    room->next_deadline_ns = next;
    return next;
}

static uint64_t timeout_of(uint64_t asked_ns, uint64_t usual_ns)
{
    if (asked_ns == HTTP_NO_TIMEOUT)
        return usual_ns;
    return MIN(asked_ns, TIMEOUT_NS_MAX);
}

static void settle_timeouts(struct outgoing *x)
{
    struct http_request *q = &x->request;
    q->connect_timeout_ns = timeout_of(q->connect_timeout_ns, CONNECT_NS);
    q->first_byte_timeout_ns = timeout_of(q->first_byte_timeout_ns, FIRST_BYTE_NS);
    q->between_bytes_timeout_ns = timeout_of(q->between_bytes_timeout_ns, BETWEEN_BYTES_NS);
#ifdef AMBIT_TEST_HOOKS
    if (x->peer->room->skip & EGRESS_SKIP_TIMEOUTS)
        q->connect_timeout_ns = q->first_byte_timeout_ns = q->between_bytes_timeout_ns = NEVER;
#endif
}

/* ---- the way to curl ---- */

static void put_addresses(struct buf *out, const struct address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_puts(out, ", ");
        address_print(&addresses[i], out);
    }
}

static int record_intent(struct outgoing *x, const struct address *addresses, size_t count)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(4 * EGRESS_TEXT_MAX);
    CLEANUP(buf_done) struct buf url = BUF_INIT(2 * URL_TARGET_MAX);
    CLEANUP(buf_done) struct buf where = BUF_INIT(EGRESS_TEXT_MAX);
    buf_puts(&url, x->url.https ? "https://" : "http://");
    url_authority(&x->url, &url);
    buf_append(&url, x->url.path.data, x->url.path.size);
    put_addresses(&where, addresses, count);
    struct egress_request r = { .number = x->number,
                                .owner = x->peer->owner,
                                .rule = x->rule,
                                .method = x->request.method,
                                .url = { url.data, url.size },
                                .address = { where.data, where.size } };
    egress_request_put(&payload, &r);
    int status = room_record(x->peer->room, EGRESS_REQUEST, &payload);
    x->recorded = status == 0;
    return status;
}

static void go(struct outgoing *x, const struct address *addresses, size_t count)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    placeholders_in_head(x);
    if (x->failed)
        return;
    if (record_intent(x, addresses, count) < 0) {
        outgoing_fail(x, HTTP_ERROR_CONNECTION_LIMIT_REACHED,
                      "the record of the request cannot be kept");
        return;
    }
    if (g->http.timeout_ns != GRANT_UNSET) {
        x->deadline_ns = x->started_ns + g->http.timeout_ns;
#ifdef AMBIT_TEST_HOOKS
        if (x->peer->room->skip & EGRESS_SKIP_TIMEOUTS)
            x->deadline_ns = NEVER;
#endif
        watch_deadline(x, x->deadline_ns);
    }
    if (secrets_wanted(x))
        secrets_ask(x, addresses, count);
    else
        outgoing_go_on(x, addresses, count);
}

void outgoing_go_on(struct outgoing *x, const struct address *addresses, size_t count)
{
    x->peer->room->counters[x->rule].sent++;
    x->state = OUTGOING_RUNNING;
    x->idle_ns = NEVER; /* the wait for keeper is over */
    if (transfer_start(x, addresses, count) < 0)
        outgoing_fail(x, HTTP_ERROR_INTERNAL, "the request cannot be started");
}

static void resolve(struct outgoing *x)
{
    if (x->url.is_address) {
        struct name_answer a = { .addresses = &x->url.address, .count = 1 };
        outgoing_resolved(&x->wait, &a);
        return;
    }
    names_ask(x->peer->room->names, x->url.host, &x->wait);
}

void outgoing_resolved(struct name_wait *w, const struct name_answer *a)
{
    struct outgoing *x = (struct outgoing *)((char *)w - offsetof(struct outgoing, wait));
    struct address addresses[ADDRESSES_MAX];
    size_t count = MIN(a->count, (size_t)ADDRESSES_MAX);
    if (x->failed || x->state != OUTGOING_RESOLVING)
        return;
    if (a->error != HTTP_OK) {
        outgoing_fail(x, a->error, a->text);
        x->failure.number = a->number;
        return;
    }
    /* A copy: the answer may go while the next rule is tried. */
    memcpy(addresses, a->addresses, count * sizeof(*addresses));
    while (decide_addresses(x, addresses, count) != 0) {
        if (decide_rule(x, x->rule + 1) != 0) {
            refused(x);
            return;
        }
    }
    go(x, addresses, count);
}

/* ---- a new one ---- */

/* The length that the guest says its body has. False: it says nonsense. */
static bool read_length(struct outgoing *x)
{
    x->content_length = NEVER;
    for (size_t i = 0; i < x->request.field_count; i++) {
        const struct http_field *f = &x->request.fields[i];
        uint64_t value = 0;
        if (!bytes_are(f->name, "content-length"))
            continue;
        if (x->content_length != NEVER || f->value.size == 0 || f->value.size > 18)
            return false;
        for (size_t k = 0; k < f->value.size; k++) {
            if (f->value.data[k] < '0' || f->value.data[k] > '9')
                return false;
            value = value * 10 + (uint64_t)(f->value.data[k] - '0');
        }
        x->content_length = value;
    }
    if (x->request.flags & HTTP_NO_BODY) {
        if (x->content_length != NEVER && x->content_length != 0)
            return false;
        x->content_length = 0;
    }
    if (x->request.flags & HTTP_UPGRADE) { /* its BODY frames are no body */
        if (x->content_length != NEVER && x->content_length != 0)
            return false;
        x->content_length = NEVER;
    }
    return true;
}

static void begin(struct outgoing *x)
{
    struct error e = ERROR_INIT;
    settle_timeouts(x);
    if (!read_length(x)) {
        outgoing_fail(x, HTTP_ERROR_PROTOCOL, "Content-Length is not the length of the body");
        return;
    }
    if (url_set(&x->url, (x->request.flags & HTTP_SECURE) != 0, x->request.authority,
                x->request.target, &e) < 0) {
        outgoing_refuse(x, GRANT_MALFORMED, GRANT_NO_RULE, e.what);
        return;
    }
    const char *fault = x->request.flags & HTTP_UPGRADE ? websocket_fault(x) : NULL;
    if (fault) {
        outgoing_fail(x, HTTP_ERROR_PROTOCOL, fault);
        return;
    }
    /* A tunnel carries what nobody decides about. */
    if (bytes_are(x->request.method, "CONNECT")) {
        outgoing_fail(x, HTTP_ERROR_REQUEST_METHOD_INVALID,
                      "CONNECT is not a request to an origin");
        return;
    }
    placeholders_in_target(x);
    if (x->failed)
        return;
    if (decide_rule(x, 0) != 0)
        refused(x);
    else
        resolve(x);
}

/* Into an array as large as is needed. */
static int read_request(struct outgoing *x, struct error *e)
{
    static struct http_field fields[HTTP_FIELDS_MAX];
    struct cursor c = cursor_of(x->payload.data, x->payload.size);
    int status = http_request_get(&c, fields, &x->request, e);
    if (status < 0)
        return status;
    size_t size = x->request.field_count * sizeof(*fields);
    x->fields = mem_alloc(size);
    if (!x->fields)
        return -ENOMEM;
    memcpy(x->fields, fields, size);
    x->request.fields = x->fields;
    return 0;
}

int outgoing_new(struct peer *p, uint64_t id, struct cursor *c, struct error *e)
{
    struct egress_room *room = p->room;
    struct outgoing *x = mem_zalloc(sizeof(*x));
    if (!x)
        return error_set(e, -ENOMEM, "no memory for a request");
    x->peer = p;
    x->id = id;
    x->number = ++room->last_number;
    x->wait.done = outgoing_resolved;
    x->rule = GRANT_NO_RULE;
    x->payload.max = LINK_PAYLOAD_MAX;
    x->in.bytes.max = UPLOAD_WINDOW + HTTP_BODY_FRAME_MAX;
    x->out.bytes.max = HTTP_WINDOW_MAX;
    x->in_trailers.max = x->head.max = LINK_PAYLOAD_MAX;
    x->in_window = x->out_window = HTTP_WINDOW_START;
    x->started_ns = clock_monotonic_ns();
    x->deadline_ns = x->idle_ns = NEVER;
    url_init(&x->url);
    buf_append(&x->payload, c->at, cursor_left(c));
    int status = buf_status(&x->payload);
    if (status == 0)
        status = read_request(x, e);
    if (status == 0 && (x->request.flags & HTTP_UPGRADE) && !(p->flags & EGRESS_LINK_EXPLAINS))
        status = error_set(e, -EBADMSG, "a WebSocket on a link that may ask for none");
    if (status < 0) {
        outgoing_free(x);
        return error_set(e, status, "a request that cannot be read");
    }
    if (x->request.flags & HTTP_NO_BODY)
        x->in_ended = true;
    x->next = p->first;
    if (x->next)
        x->next->previous = x;
    p->first = x;
    x->chain = p->table[id % PEER_TABLE];
    p->table[id % PEER_TABLE] = x;
    p->count++;
    room->outgoing_count++;
    begin(x);
    return 0;
}
