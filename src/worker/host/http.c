/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:http: what a guest may ask for, and what it sees of an exchange (worker/exchange.h).
 *
 * A request is decided here first, on the canonical destination, so that a refusal is told at once
 * and in words; the egress room decides again on its own reading, dials, and is the one that counts.
 * What egress refuses (an address, a counter) comes back as ABORT and becomes a denial like any
 * other. Without an egress room there is no http grant, and every request is denied.
 *
 * Addresses, redirects, time-outs and set headers are egress's; content-length and the syntax of
 * heads are the engine's. Here remain the sizes of heads, which the wire bounds.
 */
#include <string.h>

#include "base/mem.h"
#include "wire/http1.h"
#include "worker/host/host.h"

#define SCHEME_HTTP 1
#define SCHEME_HTTPS 2
#define METHOD_SHOWN_MAX 32
#define URL_SHOWN_MAX 4096

static struct ambit_bytes to_engine(struct bytes b)
{
    return (struct ambit_bytes){ b.data, b.size };
}

static struct bytes from_engine(struct ambit_bytes b)
{
    return (struct bytes){ b.data, b.size };
}

/* ---- handles ---- */

static struct exchange *exchange_of(struct guest *g, uint32_t handle)
{
    struct exchange *x = handles_get(&g->handles, HANDLE_EXCHANGE, handle);
    if (!x)
        guest_fault(g, -EBADF, "a handle of an exchange that is not open");
    return x;
}

static struct body *body_of(struct guest *g, uint32_t handle)
{
    struct body *b = handles_get(&g->handles, HANDLE_BODY, handle);
    if (!b)
        guest_fault(g, -EBADF, "a handle of a body that is not open");
    return b;
}

void http_close(enum handle_kind kind, void *object)
{
    if (kind == HANDLE_EXCHANGE) {
        struct exchange *x = object;
        x->has_handle = false;
        guest_exchange_release(x);
    } else if (kind == HANDLE_BODY) {
        struct body *b = object;
        b->unsent = false;
        body_abandon(b, HTTP_ERROR_INTERNAL);
    }
}

void http_end(struct guest *g)
{
    for (struct exchange *x = g->exchanges, *next; x; x = next) {
        next = x->next;
        if (x->peer)
            guest_exchange_abort(x, x->incoming ? HTTP_ERROR_INTERNAL : HTTP_OK, NULL);
    }
}

/* ---- errors ---- */

static int fails(struct ambit_http_error *ret, enum http_error code, uint64_t number)
{
    *ret = (struct ambit_http_error){ .code = code, .number = number };
    return 1;
}

static void tell_failure(const struct exchange_failure *f, struct ambit_http_error *ret)
{
    *ret = (struct ambit_http_error){ .code = f->error,
                                      .text = to_engine(bytes_of(f->text ? f->text : "")),
                                      .number = f->number };
}

/* Name and value sizes of a list, or −1 where it is too long or not for the wire. */
static int64_t fields_size(struct guest *g, const struct ambit_pair *pairs, size_t count)
{
    uint64_t size = 0;
    if (count > HTTP_FIELDS_MAX)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct http_field *f = &g->http.fields[i];
        *f = (struct http_field){ from_engine(pairs[i].key), from_engine(pairs[i].value) };
        size += f->name.size + f->value.size;
        if (size > HTTP_HEAD_MAX || !http1_field_valid(f))
            return -1;
    }
    return (int64_t)size;
}

static size_t fields_to_pairs(struct guest *g, size_t count, const struct ambit_pair **ret)
{
    for (size_t i = 0; i < count; i++)
        g->http.pairs[i] = (struct ambit_pair){ to_engine(g->http.fields[i].name),
                                                to_engine(g->http.fields[i].value) };
    *ret = g->http.pairs;
    return count;
}

/* ---- denials ---- */

struct asked {
    const struct grant_http_request *request;
    enum grant_reason reason;
    const struct address *address; /* or NULL */
};

static int propose_http(const struct guest *g, const void *what, struct grant *ret)
{
    const struct asked *a = what;
    if (a->reason == GRANT_MALFORMED)
        return -EINVAL;
    return grant_propose_http(g->rules, a->request, a->reason, a->address, ret, NULL);
}

/* The query may hold secrets, and is free in every grant: it is not shown. */
static char *shown_url(const struct url *u)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(URL_HOST_MAX + URL_TARGET_MAX + 32);
    url_print(u, &text);
    const char *whole = buf_cstr(&text);
    return mem_strndup(whole, MIN(strcspn(whole, "?"), (size_t)URL_SHOWN_MAX));
}

static char *shown_method(struct bytes method)
{
    return mem_strndup((const char *)method.data, MIN(method.size, (size_t)METHOD_SHOWN_MAX));
}

static void deny(struct guest *g, const char *method, const char *url, struct grant_decision d,
                 const struct asked *asked)
{
    if (!method || !url)
        guest_fault(g, -ENOMEM, "recording a denial");
    else
        guest_denied_by(g, GRANT_HTTP, method, url, 0, d, propose_http, asked);
}

void http_refused(void *context, struct exchange *x, const struct http_failure *f)
{
    struct guest *g = x->guest;
    struct address address;
    struct url url;
    if (!g || g->ended || f->reason == GRANT_ALLOWED || f->reason >= GRANT_REASON_COUNT)
        return;
    url_init(&url);
    bool named = f->address.size && address_parse(f->address, &address) == 0;
    struct grant_http_request request = { .url = &url, .method = bytes_of(x->method) };
    struct asked asked = { &request, f->reason, named ? &address : NULL };
    struct grant_decision d = { .reason = f->reason, .rule = f->rule };
    /* It was printed by us from what was canonical, but a long one is cut: no grant is told of it. */
    bool cut = strlen(x->url) == URL_SHOWN_MAX || strlen(x->method) == METHOD_SHOWN_MAX;
    if (cut || url_parse(&url, bytes_of(x->url), NULL) < 0)
        asked.reason = GRANT_MALFORMED;
    deny(g, x->method, x->url, d, &asked);
    url_done(&url);
}

/* ---- asking ---- */

/* No canonical destination: nothing that a grant could name. */
static int malformed(struct guest *g, const struct ambit_http_request *r,
                     struct ambit_http_error *ret_error)
{
    CLEANUP(mem_freep) char *method = shown_method(from_engine(r->method));
    CLEANUP(mem_freep)
    char *authority =
        mem_strndup((const char *)r->authority.data, MIN(r->authority.size, (size_t)URL_HOST_MAX));
    CLEANUP(mem_freep)
    char *url = authority
                    ? mem_printf("%s://%s", r->scheme == SCHEME_HTTP ? "http" : "https", authority)
                    : NULL;
    struct grant_decision d = { .reason = GRANT_MALFORMED, .rule = GRANT_NO_RULE };
    struct asked asked = { .reason = GRANT_MALFORMED };
    deny(g, method, url, d, &asked);
    return g->ended ? -ECANCELED : fails(ret_error, HTTP_ERROR_REQUEST_URI_INVALID, UINT64_MAX);
}

static struct grant_decision by_rules(struct guest *g, const struct grant_http_request *request)
{
    return guest_gated(g, grant_decide_http(g->rules, request, 0));
}

/* Who is there to be asked is asked first. 0: they allowed it; else what http_send() answers. */
static int ask_or_deny(struct guest *g, const struct grant_http_request *request,
                       struct grant_decision *d, struct ambit_http_error *ret_error)
{
    CLEANUP(mem_freep) char *method = shown_method(request->method);
    CLEANUP(mem_freep) char *text = shown_url(request->url);
    struct asked asked = { request, d->reason, NULL };
    if (method && text && guest_asked(g, GRANT_HTTP, method, text, 0, *d, propose_http, &asked)) {
        *d = by_rules(g, request);
        if (d->reason == GRANT_ALLOWED)
            return 0;
        asked.reason = d->reason;
    }
    deny(g, method, text, *d, &asked);
    return g->ended ? -ECANCELED : fails(ret_error, HTTP_ERROR_REQUEST_DENIED, UINT64_MAX);
}

/* 0: it may go; else what http_send() answers. */
static int decide(struct guest *g, const struct ambit_http_request *r,
                  struct grant_decision *ret_decision, struct ambit_http_error *ret_error)
{
    int64_t size = fields_size(g, r->headers, r->header_count);
    struct url *url = &g->http.url;
    if (size < 0 || (uint64_t)size + r->method.size + r->target.size > HTTP_HEAD_MAX)
        return fails(ret_error, HTTP_ERROR_REQUEST_HEADER_SECTION_SIZE, UINT64_MAX);
    if (!http1_token_valid(from_engine(r->method)))
        return fails(ret_error, HTTP_ERROR_REQUEST_METHOD_INVALID, UINT64_MAX);
    struct error why = ERROR_INIT;
    int status = url_set(url, r->scheme != SCHEME_HTTP, from_engine(r->authority),
                         from_engine(r->target), &why);
    if (status == -ENOMEM)
        return guest_fault(g, status, "reading a destination");
    if (status < 0)
        return malformed(g, r, ret_error);
    struct grant_http_request request = { .url = url,
                                          .method = from_engine(r->method),
                                          .headers = g->http.fields,
                                          .header_count = r->header_count };
    *ret_decision = by_rules(g, &request);
    return ret_decision->reason == GRANT_ALLOWED
               ? 0
               : ask_or_deny(g, &request, ret_decision, ret_error);
}

/* Makes the exchange with its handle. NULL: the guest ends. */
static struct exchange *open_exchange(struct guest *g, uint32_t rule, uint32_t *ret)
{
    struct exchange *x = guest_exchange_new(g->commons.egress, g);
    if (!x) {
        guest_fault(g, -ENOMEM, "asking for something");
        return NULL;
    }
    x->rule = rule;
    x->has_handle = true;
    /* For the record, should egress refuse it. */
    x->url = shown_url(&g->http.url);
    *ret = x->url ? host_give_handle(g, HANDLE_EXCHANGE, x) : 0;
    if (*ret)
        return x;
    if (!x->url)
        guest_fault(g, -ENOMEM, "asking for something");
    guest_exchange_cancel(x);
    return NULL;
}

static int send(struct guest *g, const struct ambit_http_request *r, bool body, struct exchange *x)
{
    CLEANUP(buf_done) struct buf authority = BUF_INIT(2 * URL_HOST_MAX);
    const struct url *url = &g->http.url;
    url_authority(url, &authority);
    struct http_request request = {
        .flags = (body ? 0 : HTTP_NO_BODY) | (url->https ? HTTP_SECURE : 0),
        .method = from_engine(r->method),
        .authority = { authority.data, authority.size },
        .target = { url->target.data, url->target.size },
        .connect_timeout_ns = r->connect_timeout_ns,
        .first_byte_timeout_ns = r->first_byte_timeout_ns,
        .between_bytes_timeout_ns = r->between_bytes_timeout_ns,
        .fields = g->http.fields,
        .field_count = r->header_count,
    };
    x->method = shown_method(request.method);
    if (buf_status(&authority) < 0 || !x->method)
        return -ENOMEM;
    return guest_exchange_send_request(x, &request);
}

static int ask(struct guest *g, const struct ambit_http_request *r, struct body *b,
               uint32_t *ret_exchange, struct ambit_http_error *ret_error)
{
    struct grant_decision d;
    struct http_peer *egress = g->commons.egress;
    int status = decide(g, r, &d, ret_error);
    if (status != 0)
        return status;
    if (!egress || !egress->link) /* it ended a moment ago: control starts it again */
        return fails(ret_error, HTTP_ERROR_CONNECTION_TERMINATED, UINT64_MAX);
    if (http_peer_busy(egress))
        return fails(ret_error, HTTP_ERROR_CONNECTION_LIMIT_REACHED, UINT64_MAX);
    struct exchange *x = open_exchange(g, d.rule, ret_exchange);
    if (!x)
        return -ECANCELED;
    status = send(g, r, b, x);
    if (status < 0) {
        handles_remove(&g->handles, HANDLE_EXCHANGE, *ret_exchange);
        guest_exchange_cancel(x);
        return guest_fault(g, status, "asking for something");
    }
    guest_used(g, d.rule, 0, 0, 0);
    if (b)
        body_attach(b, x);
    return 0;
}

int host_http_send(void *host, const struct ambit_http_request *request, uint32_t body,
                   uint32_t *ret_exchange, struct ambit_http_error *ret_error)
{
    struct guest *g = host;
    struct body *b = body ? body_of(g, body) : NULL;
    if (g->ended)
        return -ECANCELED;
    if (b && !b->writing) /* this is its last end */
        handles_remove(&g->handles, HANDLE_BODY, body);
    int status = ask(g, request, b, ret_exchange, ret_error);
    if (status != 0 && b)
        body_detach(b);
    return status;
}

/* ---- what comes back ---- */

enum ambit_wait host_http_response(void *host, uint32_t exchange, struct ambit_http_response *ret,
                                   struct ambit_http_error *ret_error)
{
    struct guest *g = host;
    struct exchange *x = exchange_of(g, exchange);
    *ret = (struct ambit_http_response){ 0 };
    *ret_error = (struct ambit_http_error){ .code = HTTP_ERROR_INTERNAL, .number = UINT64_MAX };
    if (!x)
        return AMBIT_READY;
    if (x->head) {
        struct http_response r;
        struct cursor c = cursor_of(x->head, x->head_size);
        if (http_response_get(&c, g->http.fields, &r, NULL) < 0) /* it was read before */
            return AMBIT_READY;
        ret->status = r.status;
        ret->header_count = fields_to_pairs(g, r.field_count, &ret->headers);
        ret_error->code = 0;
        return AMBIT_READY;
    }
    if (x->failure.error) {
        tell_failure(&x->failure, ret_error);
        return AMBIT_READY;
    }
    return AMBIT_PENDING;
}

enum ambit_wait host_http_trailers(void *host, uint32_t exchange, const struct ambit_pair **ret,
                                   size_t *ret_count, struct ambit_http_error *ret_error)
{
    struct guest *g = host;
    struct exchange *x = exchange_of(g, exchange);
    *ret = NULL;
    *ret_count = 0;
    *ret_error = (struct ambit_http_error){ .number = UINT64_MAX };
    if (!x)
        return AMBIT_READY;
    if (!x->throw_away)
        guest_exchange_throw_away(x);
    if (x->failure.error) {
        tell_failure(&x->failure, ret_error);
        return AMBIT_READY;
    }
    if (!x->in_ended)
        return AMBIT_PENDING;
    if (x->trailers) {
        struct cursor c = cursor_of(x->trailers, x->trailers_size);
        size_t count;
        if (http_fields_get(&c, g->http.fields, &count, NULL) == 0)
            *ret_count = fields_to_pairs(g, count, ret);
    }
    return AMBIT_READY;
}

void host_http_discard(void *host, uint32_t exchange)
{
    struct guest *g = host;
    struct exchange *x = handles_get(&g->handles, HANDLE_EXCHANGE, exchange);
    if (x)
        guest_exchange_discard(x);
}

void host_http_drop(void *host, uint32_t exchange)
{
    struct guest *g = host;
    struct exchange *x = handles_remove(&g->handles, HANDLE_EXCHANGE, exchange);
    if (!x)
        return;
    x->has_handle = false;
    if (!x->peer)
        guest_exchange_release(x);
    else if (!x->incoming)
        guest_exchange_abort(x, HTTP_OK, NULL);
    /* An incoming one goes on with what is finished; what is not answered yet the end of the guest
     * answers, which knows why. */
    else if (x->answered)
        guest_exchange_discard(x);
}

bool host_http_stream_error(void *host, uint32_t stream, struct ambit_http_error *ret_error)
{
    struct guest *g = host;
    void *object = NULL;
    const struct exchange_failure *f;
    switch (handles_any(&g->handles, stream, &object)) {
    case HANDLE_EXCHANGE:
        f = &((struct exchange *)object)->failure;
        break;
    case HANDLE_BODY:
        f = &((struct body *)object)->failure;
        break;
    default:
        return false;
    }
    if (!f->error)
        return false;
    tell_failure(f, ret_error);
    return true;
}

/* ---- reading a body ---- */

static enum ambit_stream_status read_end(const struct exchange *x)
{
    if (x->failure.error)
        return AMBIT_STREAM_FAILED;
    return x->in_ended || x->throw_away ? AMBIT_STREAM_CLOSED : AMBIT_STREAM_OK;
}

static enum ambit_stream_status exchange_read(struct guest *g, void *object, uint8_t *into,
                                              size_t size, size_t *ret_size)
{
    struct exchange *x = object;
    guest_exchange_wants_body(x);
    if (x->in.size == 0)
        return read_end(x);
    size = MIN(size, x->in.size);
    memcpy(into, x->in.data + x->in.start, size);
    guest_exchange_consumed(x, size);
    *ret_size = size;
    return AMBIT_STREAM_OK;
}

static enum ambit_stream_status not_writable(struct guest *g, void *object, size_t *ret_size)
{
    return AMBIT_STREAM_CLOSED;
}

static enum ambit_stream_status no_write(struct guest *g, void *object, const uint8_t *bytes,
                                         size_t size)
{
    return AMBIT_STREAM_CLOSED;
}

static enum ambit_stream_status no_flush(struct guest *g, void *object)
{
    return AMBIT_STREAM_CLOSED;
}

static struct ambit_bytes failure_text(const struct exchange_failure *f)
{
    const char *text = f->text ? f->text : f->error ? http_error_name(f->error) : "";
    return to_engine(bytes_of(text));
}

static struct ambit_bytes exchange_error(struct guest *g, void *object)
{
    return failure_text(&((const struct exchange *)object)->failure);
}

static enum ambit_wait wait_event(struct guest *g, const void *object, bool for_write,
                                  uint64_t operation)
{
    int status = operation_add_event(g->loop, g, operation, object, for_write);
    if (status == 0)
        return AMBIT_PENDING;
    guest_fault(g, status, "waiting for an exchange");
    return AMBIT_READY;
}

/* Waits for what is next: the head of a response, then bytes or the end. */
static enum ambit_wait exchange_wait(struct guest *g, void *object, bool for_write,
                                     uint64_t operation)
{
    struct exchange *x = object;
    bool head_missing = !x->incoming && !x->head;
    if (for_write || x->failure.error || x->in.size || (x->in_ended && !head_missing))
        return AMBIT_READY;
    if (!head_missing)
        guest_exchange_wants_body(x);
    return wait_event(g, x, false, operation);
}

const struct stream_class exchange_class = {
    .read = exchange_read,
    .check_write = not_writable,
    .write = no_write,
    .flush = no_flush,
    .error = exchange_error,
    .wait = exchange_wait,
};

/* ---- writing a body ---- */

uint32_t host_http_body_new(void *host, uint64_t content_length)
{
    struct guest *g = host;
    struct body *b = body_new(g, content_length);
    if (!b) {
        guest_fault(g, -ENOMEM, "making a body");
        return 0;
    }
    uint32_t handle = host_give_handle(g, HANDLE_BODY, b);
    if (!handle) {
        b->writing = false;
        body_detach(b);
    }
    return handle;
}

int host_http_body_finish(void *host, uint32_t body, const struct ambit_pair *trailers,
                          size_t count, struct ambit_http_error *ret_error)
{
    struct guest *g = host;
    struct body *b = body_of(g, body);
    if (!b)
        return -EBADF;
    bool incoming = g->http.incoming != NULL;
    if (!b->unsent)
        handles_remove(&g->handles, HANDLE_BODY, body);
    if (b->length != UINT64_MAX && b->written != b->length) {
        /* The engine counts too, and says so before. */
        uint64_t written = b->written;
        enum http_error code =
            incoming ? HTTP_ERROR_RESPONSE_BODY_SIZE : HTTP_ERROR_REQUEST_BODY_SIZE;
        body_abandon(b, code);
        return fails(ret_error, code, written);
    }
    if (fields_size(g, trailers, count) < 0) {
        enum http_error code = incoming ? HTTP_ERROR_RESPONSE_TRAILER_SECTION_SIZE
                                        : HTTP_ERROR_REQUEST_TRAILER_SECTION_SIZE;
        body_abandon(b, code);
        return fails(ret_error, code, UINT64_MAX);
    }
    if (b->failure.error) {
        tell_failure(&b->failure, ret_error);
        /* Its text goes with the body. */
        ret_error->text = (struct ambit_bytes){ (const uint8_t *)"", 0 };
        body_abandon(b, HTTP_ERROR_INTERNAL);
        return 1;
    }
    int status = body_finish(b, g->http.fields, count);
    if (status == 0)
        return 0;
    body_abandon(b, HTTP_ERROR_INTERNAL);
    return guest_fault(g, status, "finishing a body");
}

void host_http_body_abandon(void *host, uint32_t body)
{
    struct guest *g = host;
    struct body *b = handles_get(&g->handles, HANDLE_BODY, body);
    if (!b)
        return;
    if (!b->unsent)
        handles_remove(&g->handles, HANDLE_BODY, body);
    bool lied = b->length != UINT64_MAX && b->written != b->length;
    enum http_error size =
        g->http.incoming ? HTTP_ERROR_RESPONSE_BODY_SIZE : HTTP_ERROR_REQUEST_BODY_SIZE;
    body_abandon(b, lied ? size : HTTP_ERROR_INTERNAL);
}

void host_http_body_unsent(void *host, uint32_t body)
{
    struct guest *g = host;
    struct body *b = handles_get(&g->handles, HANDLE_BODY, body);
    if (!b)
        return;
    if (!b->writing)
        handles_remove(&g->handles, HANDLE_BODY, body);
    body_detach(b);
}

static enum ambit_stream_status body_state(const struct body *b)
{
    if (b->failure.error)
        return AMBIT_STREAM_FAILED;
    return b->unwanted || (!b->unsent && !b->exchange) ? AMBIT_STREAM_CLOSED : AMBIT_STREAM_OK;
}

static enum ambit_stream_status body_no_read(struct guest *g, void *object, uint8_t *into,
                                             size_t size, size_t *ret_size)
{
    return AMBIT_STREAM_CLOSED;
}

static enum ambit_stream_status body_check_write(struct guest *g, void *object, size_t *ret_size)
{
    const struct body *b = object;
    enum ambit_stream_status status = body_state(b);
    if (status == AMBIT_STREAM_OK)
        *ret_size = body_permit(b);
    return status;
}

static enum ambit_stream_status body_take(struct guest *g, void *object, const uint8_t *bytes,
                                          size_t size)
{
    struct body *b = object;
    enum ambit_stream_status state = body_state(b);
    if (state != AMBIT_STREAM_OK)
        return state;
    int status = size > body_permit(b) ? -EPROTO : body_write(b, bytes, size);
    if (status == 0)
        return AMBIT_STREAM_OK;
    guest_fault(g, status, "writing a body");
    return AMBIT_STREAM_END;
}

/* Nothing is held back that could go. */
static enum ambit_stream_status body_flush(struct guest *g, void *object)
{
    return body_state(object);
}

static struct ambit_bytes body_error(struct guest *g, void *object)
{
    return failure_text(&((const struct body *)object)->failure);
}

static enum ambit_wait body_wait(struct guest *g, void *object, bool for_write, uint64_t operation)
{
    const struct body *b = object;
    if (!for_write || body_state(b) != AMBIT_STREAM_OK || body_permit(b))
        return AMBIT_READY;
    return wait_event(g, b, true, operation);
}

const struct stream_class body_class = {
    .read = body_no_read,
    .check_write = body_check_write,
    .write = body_take,
    .flush = body_flush,
    .error = body_error,
    .wait = body_wait,
};

/* ---- answering ---- */

int host_http_respond(void *host, uint32_t exchange, const struct ambit_http_response *response,
                      uint32_t body, struct ambit_http_error *ret_error)
{
    struct guest *g = host;
    struct exchange *x = exchange_of(g, exchange);
    struct body *b = body ? body_of(g, body) : NULL;
    int status = 0;
    if (g->ended)
        return -ECANCELED;
    if (b && !b->writing)
        handles_remove(&g->handles, HANDLE_BODY, body);
    if (!x->incoming || x->answered)
        status = guest_fault(g, -EPROTO, "answering twice");
    else if (fields_size(g, response->headers, response->header_count) < 0)
        status = fails(ret_error, HTTP_ERROR_RESPONSE_HEADER_SECTION_SIZE, UINT64_MAX);
    else if (response->status < 200 || response->status > 599)
        status = fails(ret_error, HTTP_ERROR_PROTOCOL, UINT64_MAX);
    if (status != 0) {
        if (b)
            body_detach(b);
        return status;
    }
    struct http_response r = { .status = (uint16_t)response->status,
                               .no_body = !b,
                               .fields = g->http.fields,
                               .field_count = response->header_count };
    if (x->peer)
        status = guest_exchange_send_response(x, &r);
    if (status == 0 && b)
        body_attach(b, x);
    return status < 0 ? guest_fault(g, status, "answering") : 0;
}

int host_http_fail(void *host, uint32_t exchange, const struct ambit_http_error *error)
{
    struct guest *g = host;
    struct exchange *x = exchange_of(g, exchange);
    if (!x)
        return -EBADF;
    if (!x->peer || x->answered)
        return 0;
    char text[256];
    size_t size = MIN(error->text.size, sizeof(text) - 1);
    if (size)
        memcpy(text, error->text.data, size);
    text[size] = '\0';
    bool known = error->code > HTTP_OK && error->code < HTTP_ERROR_COUNT;
    guest_exchange_abort(x, known ? (enum http_error)error->code : HTTP_ERROR_INTERNAL, text);
    return 0;
}
