/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange in curl. A pool (a multi handle with its connections) belongs to one rule, because
 * rules differ in the addresses they may reach: no connection that one rule opened serves another.
 *
 * curl is told everything and finds out nothing: the target as it was decided, addresses as they
 * were checked, our certificates, no proxy, no cookie, no redirect, no file, no environment. The
 * address is looked at once more when a socket is opened, and again when a connection, new or from
 * the pool, is about to carry the request.
 *
 * Back-pressure: a response that the link cannot take pauses its receiving; a body that the guest
 * did not send yet pauses its sending.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "egress/pool.h"
#include "wire/http1.h"

#define IDLE_CONNECTION_S 55L
#define BUFFER_SIZE (64L << 10)

/* ---- pools ---- */

static pool_ended finished;

/* A WebSocket keeps its connection for itself, and its pool: what other requests do to theirs, such as
 * looking whether a kept connection is still good, must not touch it. */
static struct pool *pool_of(struct outgoing *x)
{
    struct egress_room *room = x->peer->room;
    struct pool *p = x->websocket ? NULL : room->pools[x->rule];
    if (p)
        return p;
    p = pool_new(room, finished);
    if (p && x->websocket) {
        p->next = room->single_pools;
        room->single_pools = p;
    } else {
        room->pools[x->rule] = p;
    }
    return p;
}

/* The exchange leaves it. */
static void pool_leave(struct outgoing *x)
{
    struct pool *p = x->pool;
    x->pool = NULL;
    if (x->easy && p)
        (void)curl_multi_remove_handle(p->multi, x->easy);
    if (!p || !x->websocket)
        return;
    for (struct pool **at = &x->peer->room->single_pools; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    pool_free(p);
}

/* ---- how it ended ---- */

static enum http_error connect_error(CURL *easy)
{
    long code = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &code);
    switch (code) {
    case ECONNREFUSED:
        return HTTP_ERROR_CONNECTION_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
        return HTTP_ERROR_DESTINATION_IP_UNROUTABLE;
    case ETIMEDOUT:
        return HTTP_ERROR_CONNECTION_TIMEOUT;
    default:
        return HTTP_ERROR_DESTINATION_UNAVAILABLE;
    }
}

static enum http_error error_of(const struct outgoing *x, CURLcode code)
{
    bool answered = x->response.head_done;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return HTTP_ERROR_DNS;
    case CURLE_COULDNT_CONNECT:
        return connect_error(x->easy);
    case CURLE_OPERATION_TIMEDOUT: /* the only one that curl keeps is the connect timeout */
        return HTTP_ERROR_CONNECTION_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
        return strstr(x->curl_text, "alert") ? HTTP_ERROR_TLS_ALERT_RECEIVED
                                             : HTTP_ERROR_TLS_PROTOCOL;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return HTTP_ERROR_TLS_CERTIFICATE;
    case CURLE_PARTIAL_FILE:
        return HTTP_ERROR_RESPONSE_INCOMPLETE;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_RECV_ERROR:
        return answered ? HTTP_ERROR_RESPONSE_INCOMPLETE : HTTP_ERROR_CONNECTION_TERMINATED;
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return answered ? HTTP_ERROR_RESPONSE_INCOMPLETE : HTTP_ERROR_PROTOCOL;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return HTTP_ERROR_PROTOCOL;
    case CURLE_BAD_CONTENT_ENCODING:
        return HTTP_ERROR_RESPONSE_TRANSFER_CODING;
    case CURLE_TOO_LARGE:
        return HTTP_ERROR_RESPONSE_HEADER_SECTION_SIZE;
    default:
        return HTTP_ERROR_INTERNAL;
    }
}

/* An origin that closed its side of every connection that we kept: curl looks for such ones once in
 * a second, and gives up after the fifth. Nothing came back and nothing of a body was sent, so the
 * origin did not take the request: once more, over a new connection. */
static bool again(struct outgoing *x, CURLcode code)
{
    long connects = 1;
    bool closed = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
    (void)curl_easy_getinfo(x->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (!closed || connects > 0 || x->again || x->response.started || x->bytes_sent > 0)
        return false;
    CURLM *multi = x->pool->multi;
    x->again = true;
    x->curl_text[0] = '\0';
    return curl_multi_remove_handle(multi, x->easy) == CURLM_OK &&
           curl_easy_setopt(x->easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
           curl_multi_add_handle(multi, x->easy) == CURLM_OK;
}

static void finished(void *owner, int code)
{
    struct outgoing *x = owner;
    if (x->failed || again(x, code))
        return; /* it says itself why */
    if (code != CURLE_OK) {
        /* Before it is cut: half a value would not be found. */
        enum http_error error = error_of(x, code);
        answer_text(x, (uint8_t *)x->curl_text, strlen(x->curl_text));
        outgoing_fail(x, error, x->curl_text[0] != '\0' ? x->curl_text : curl_easy_strerror(code));
        return;
    }
    if (x->websocket)
        websocket_connected(x);
    else
        transfer_ended(x);
}

void transfer_ended(struct outgoing *x)
{
    transfer_stop(x);
    answer_end(x);
    if (x->failed)
        return;
    if (!x->response.head_done) {
        outgoing_fail(x, HTTP_ERROR_PROTOCOL, "the answer has no head");
        return;
    }
    x->idle_ns = x->deadline_ns = NEVER; /* the origin is done; the reader may take its time */
    x->out_ended = true;
    peer_say(x);
}

/* ---- what curl asks ---- */

static void refuse_dial(struct outgoing *x, enum grant_reason reason)
{
    outgoing_refuse(x, reason, x->rule, grant_reason_text(reason));
    x->failure.error = HTTP_ERROR_DESTINATION_IP_PROHIBITED;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct outgoing *x = context;
    struct address address;
    uint16_t port;
    if (!pool_dials(purpose, a, &address, &port))
        return CURL_SOCKET_BAD;
    enum grant_reason reason = decide_dial(x, &address, port);
    if (reason != GRANT_ALLOWED) {
        refuse_dial(x, reason);
        return CURL_SOCKET_BAD;
    }
    return pool_socket(x->peer->room, a);
}

/* A connection is there, and the request is about to go over it. */
static int on_ready(void *context, char *remote, char *local, int remote_port, int local_port)
{
    struct outgoing *x = context;
    struct address address;
    enum grant_reason reason = GRANT_NO_ADDRESS;
    if (address_parse(bytes_of(remote), &address) == 0)
        reason = decide_dial(x, &address, (uint16_t)remote_port);
    if (reason != GRANT_ALLOWED) {
        refuse_dial(x, reason);
        return CURL_PREREQFUNC_ABORT;
    }
    outgoing_idle(x, x->request.first_byte_timeout_ns, HTTP_ERROR_CONNECTION_READ_TIMEOUT);
    return CURL_PREREQFUNC_OK;
}

static CURLcode on_tls(CURL *easy, void *context, void *parameter)
{
    struct outgoing *x = parameter;
    SSL_CTX *tls = context;
    SSL_CTX_set1_cert_store(tls, x->peer->room->certificates);
    /* An end without close_notify may be an attacker's: never taken for the end of a body. */
    SSL_CTX_clear_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_options(tls, SSL_OP_CLEANSE_PLAINTEXT);
    if (x->websocket) /* what is written again may stand elsewhere then, and be more */
        SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    return CURLE_OK;
}

static size_t on_header(char *bytes, size_t one, size_t size, void *context)
{
    struct outgoing *x = context;
    if (x->failed || !response_line(x, (struct bytes){ (uint8_t *)bytes, size }))
        return size + 1;
    if (x->response.head_done) {
        x->pool->multiplexes |= x->response.version == 20;
        outgoing_idle(x, x->request.between_bytes_timeout_ns, HTTP_ERROR_CONNECTION_READ_TIMEOUT);
        peer_say(x);
    }
    return size;
}

bool transfer_fits(struct outgoing *x, size_t size)
{
    uint64_t max = grant_rules_grant(x->peer->room->grants.rules, x->rule)->http.max_response_bytes;
#ifdef AMBIT_TEST_HOOKS
    if (x->peer->room->skip & EGRESS_SKIP_SIZES)
        max = NEVER;
#endif
    if (size <= max && x->bytes_received <= max - size)
        return true;
    outgoing_refuse(x, GRANT_TOO_LARGE, x->rule, grant_reason_text(GRANT_TOO_LARGE));
    x->failure.error = HTTP_ERROR_RESPONSE_BODY_SIZE;
    x->failure.number = max;
    return false;
}

/* False: the exchange has failed. */
static bool take_body(struct outgoing *x, struct bytes b, size_t *ret_taken)
{
    *ret_taken = b.size;
    if (!transfer_fits(x, b.size))
        return false;
    outgoing_idle(x, x->request.between_bytes_timeout_ns, HTTP_ERROR_CONNECTION_READ_TIMEOUT);
    if (!x->out_discarded)
        *ret_taken = answer_body(x, b, &x->out.bytes);
    x->bytes_received += *ret_taken;
    x->peer->room->counters[x->rule].bytes_received += *ret_taken;
    if (!x->failed && buf_status(&x->out.bytes) < 0)
        outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for the answer's body");
    if (x->failed)
        return false;
    peer_say(x);
    return true;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *context)
{
    struct outgoing *x = context;
    if (x->failed || !x->response.head_done)
        return CURL_WRITEFUNC_ERROR;
    if (!x->out_discarded && x->out.bytes.size > 0) {
        x->write_paused = true;
        x->idle_ns = NEVER; /* it is the reader that is slow */
        return CURL_WRITEFUNC_PAUSE;
    }
    size_t skip = MIN(x->body_skip, size), taken;
    x->body_skip -= skip;
    if (!take_body(x, (struct bytes){ (uint8_t *)bytes + skip, size - skip }, &taken))
        return CURL_WRITEFUNC_ERROR;
    if (skip + taken == size) {
        if (x->injected) /* curl keeps this memory for the next answer */
            mem_wipe(bytes, size);
        return size;
    }
    /* Of a packed body, as much as the reader can take: curl gives all of it again. */
    x->body_skip = skip + taken;
    x->write_paused = true;
    x->idle_ns = NEVER;
    return CURL_WRITEFUNC_PAUSE;
}

int transfer_body(struct outgoing *x, struct bytes b)
{
    while (b.size > 0) {
        size_t taken;
        if (!take_body(x, b, &taken))
            return 0;
        b = (struct bytes){ b.data + taken, b.size - taken };
    }
    return 1;
}

static size_t on_read(char *into, size_t one, size_t room, void *context)
{
    struct outgoing *x = context;
    size_t size = MIN(x->in.bytes.size - x->in.at, one * room);
    if (x->failed)
        return CURL_READFUNC_ABORT;
    if (size == 0) {
        if (x->in_ended)
            return 0;
        x->read_paused = true;
        x->idle_ns = NEVER; /* it is the guest that is slow */
        x->continue_due = (x->request.flags & HTTP_EXPECTS_CONTINUE) && x->in_total == 0;
        peer_say(x);
        return CURL_READFUNC_PAUSE;
    }
    memcpy(into, x->in.bytes.data + x->in.at, size);
    x->in.at += size;
    uint32_t prepaid = MIN(x->in_prepaid, (uint32_t)size);
    x->in_prepaid -= prepaid;
    x->in_owed += (uint32_t)size - prepaid;
    x->bytes_sent += size;
    x->peer->room->counters[x->rule].bytes_sent += size;
    outgoing_idle(x, x->request.first_byte_timeout_ns, HTTP_ERROR_CONNECTION_WRITE_TIMEOUT);
    if (x->in.at == x->in.bytes.size && x->in_ended)
        x->idle_error = HTTP_ERROR_CONNECTION_READ_TIMEOUT;
    peer_say(x);
    return size;
}

/* ---- the request ---- */

/* What the connection's two ends settle, and what we settle: not a guest's. */
static bool is_ours(struct bytes name)
{
    static const char *const names[] = { "host", "content-length", "expect", "http2-settings",
                                         "proxy-authorization" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (http1_name_alike(name, names[i]))
            return true;
    return http1_name_of_connection(name);
}

static bool is_taken_off(const struct grant *g, struct bytes name)
{
    for (size_t i = 0; i < g->http.strip_count; i++)
        if (http1_name_alike(name, g->http.strip[i]))
            return true;
    for (size_t i = 0; i < g->http.set_count; i++)
        if (http1_name_alike(name, g->http.set[i].key))
            return true;
    return false;
}

/* Some servers put trailers among the headers: what a header may not say they may not either. */
static int on_trailers(struct curl_slist **list, void *context)
{
    struct outgoing *x = context;
    struct cursor c = cursor_of(x->in_trailers.data, x->in_trailers.size);
    CLEANUP(mem_freep) struct http_field *fields = mem_array(HTTP_FIELDS_MAX, sizeof(*fields));
    size_t count = 0;
    if (!fields || x->in_trailers.size == 0)
        return CURL_TRAILERFUNC_OK;
    if (http_fields_get(&c, fields, &count, NULL) < 0)
        return CURL_TRAILERFUNC_ABORT;
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    for (size_t i = 0; i < count; i++) {
        struct bytes name = fields[i].name;
        if (!http1_trailer_allowed(name) || is_ours(name) || is_taken_off(g, name))
            continue;
        CLEANUP(mem_freep)
        char *line = mem_printf("%.*s: %.*s", (int)fields[i].name.size, fields[i].name.data,
                                (int)fields[i].value.size, fields[i].value.data);
        if (pool_add_line(list, line) < 0)
            return CURL_TRAILERFUNC_ABORT;
    }
    return CURL_TRAILERFUNC_OK;
}

static int add_field(struct outgoing *x, struct bytes name, struct bytes value)
{
    CLEANUP(mem_freep)
    char *line =
        value.size == 0
            ? mem_printf("%.*s;", (int)name.size, name.data) /* curl's way: empty value */
            : mem_printf("%.*s: %.*s", (int)name.size, name.data, (int)value.size, value.data);
    return pool_add_line(&x->headers, line);
}

static bool goes_out(const struct outgoing *x, const struct grant *g, struct bytes name)
{
    return !is_ours(name) && !is_taken_off(g, name) && !secrets_take_off(x, name);
}

size_t transfer_fields(const struct outgoing *x, struct secret_field *fields, size_t max)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    size_t count = 0;
    for (size_t i = 0; i < x->request.field_count && count < max; i++) {
        const struct http_field *f = &x->request.fields[i];
        if (goes_out(x, g, f->name))
            fields[count++] = (struct secret_field){ f->name, f->value };
    }
    return count;
}

/* What the grant sets, with the values of its secrets. */
static int add_set_field(struct outgoing *x, const struct http_field *set)
{
    CLEANUP(buf_done) struct buf value = BUF_INIT(HTTP_HEAD_MAX);
    struct http_field f = *set;
    if (grant_template_has_secret((const char *)set->value.data)) {
        int status = placeholder_header(x, set, &value);
        if (status == 0)
            status = secrets_expand(x, (const char *)set->value.data, &value);
        if (status == -ENOENT && secrets_header(x, 0))
            return 0; /* keeper made a header instead */
        if (status < 0)
            return status;
        f.value = (struct bytes){ value.data, value.size };
    }
    if (!http1_field_valid(&f) || is_ours(f.name))
        return -EINVAL;
    return add_field(x, f.name, f.value);
}

static int add_headers(struct outgoing *x)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    bool has_accept = false;
    int status = pool_add_line(&x->headers, "Expect:");
    for (size_t i = 0; status == 0 && i < x->request.field_count; i++) {
        const struct http_field *f = &x->request.fields[i];
        if (!goes_out(x, g, f->name))
            continue;
        has_accept |= bytes_are(f->name, "accept");
        status = add_field(x, f->name, f->value);
    }
    for (size_t i = 0; status == 0 && i < g->http.set_count; i++) {
        struct http_field f = { bytes_of(g->http.set[i].key), bytes_of(g->http.set[i].value) };
        has_accept |= bytes_are(f.name, "accept");
        status = add_set_field(x, &f);
    }
    const struct secret_value *v;
    for (size_t i = 0; status == 0 && (v = secrets_header(x, i)); i++) {
        struct http_field f = { v->name, v->value };
        status =
            !http1_field_valid(&f) || is_ours(f.name) ? -EINVAL : add_field(x, f.name, f.value);
    }
    if (status == 0 && x->injected)
        status = pool_add_line(&x->headers, "accept-encoding: identity");
    if (status == 0 && !has_accept)
        status = pool_add_line(&x->headers, "Accept:");
    return status;
}

#define SET(option, value) (curl_easy_setopt(x->easy, option, value) == CURLE_OK)

static bool set_body(struct outgoing *x)
{
    CLEANUP(mem_freep)
    char *method = mem_strndup((const char *)x->request.method.data, x->request.method.size);
    bool none = (x->request.flags & HTTP_NO_BODY) != 0;
    /* These have a body, if an empty one, and its length is said. */
    bool says_length = bytes_are(x->request.method, "POST") ||
                       bytes_are(x->request.method, "PUT") || bytes_are(x->request.method, "PATCH");
    if (!method)
        return false;
    if (bytes_are(x->request.method, "HEAD")) {
        x->in_discarded = !none;
        return SET(CURLOPT_NOBODY, 1L);
    }
    if (none && !says_length)
        return SET(CURLOPT_HTTPGET, 1L) && SET(CURLOPT_CUSTOMREQUEST, method);
    curl_off_t size = x->content_length == NEVER ? -1 : (curl_off_t)x->content_length;
    return SET(CURLOPT_UPLOAD, 1L) && SET(CURLOPT_CUSTOMREQUEST, method) &&
           SET(CURLOPT_READFUNCTION, on_read) && SET(CURLOPT_READDATA, x) &&
           SET(CURLOPT_INFILESIZE_LARGE, size) && SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_SIZE) &&
           (size >= 0 ||
            (SET(CURLOPT_TRAILERFUNCTION, on_trailers) && SET(CURLOPT_TRAILERDATA, x)));
}

/* For a connection that is being made, to share it. Where it turns out to be one of HTTP/1.1, curl wakes who
 * waits only when somebody's answer has ended: a stream of events would hold up all others. So only the
 * one origin of which it is known. */
static long waits_for_connection(const struct outgoing *x)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    return x->url.https && x->pool->multiplexes && !g->http.wildcard;
}

static bool set_destination(struct outgoing *x)
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(1024), target = BUF_INIT(2 * URL_TARGET_MAX);
    long version = x->url.https && !x->websocket && !x->injected ? CURL_HTTP_VERSION_2TLS
                                                                 : CURL_HTTP_VERSION_1_1;
    long verify = 1L, verify_name = 2L, wait = waits_for_connection(x);
#ifdef AMBIT_TEST_HOOKS
    if (x->peer->room->skip & EGRESS_SKIP_TLS)
        verify = verify_name = 0L;
#endif
    buf_puts(&url, x->url.https ? "https://" : "http://");
    url_authority(&x->url, &url);
    buf_puts(&url, "/");
    buf_append(&target, x->url.target.data, x->url.target.size);
    if (buf_status(&url) < 0 || buf_status(&target) < 0)
        return false;
    return SET(CURLOPT_PROTOCOLS_STR, x->url.https ? "https" : "http") &&
           SET(CURLOPT_URL, buf_cstr(&url)) && SET(CURLOPT_REQUEST_TARGET, buf_cstr(&target)) &&
           SET(CURLOPT_HTTP_VERSION, version) && SET(CURLOPT_PIPEWAIT, wait) &&
           SET(CURLOPT_SSL_VERIFYPEER, verify) && SET(CURLOPT_SSL_VERIFYHOST, verify_name) &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(CURLOPT_SSL_CTX_FUNCTION, on_tls) && SET(CURLOPT_SSL_CTX_DATA, x) &&
           (!x->resolve || SET(CURLOPT_RESOLVE, x->resolve));
}

/* A kept connection that ends without an answer makes curl send a request again, whatever it is. One
 * that does its work twice then (RFC 9110 9.2.2), and has no body that could not be sent again, goes
 * over a new connection, where curl never does. */
static bool may_be_sent_again(const struct outgoing *x)
{
    static const char *const safe[] = { "GET", "HEAD", "OPTIONS", "PUT", "DELETE" };
    for (size_t i = 0; i < ARRAY_SIZE(safe); i++)
        if (bytes_are(x->request.method, safe[i]))
            return true;
    return x->content_length != 0;
}

static bool set_habits(struct outgoing *x)
{
    uint64_t connect_ms = MIN(x->request.connect_timeout_ns / NS_PER_MS, (uint64_t)INT32_MAX);
    connect_ms = MAX(connect_ms, (uint64_t)1); /* 0 would be curl's own */
    return SET(CURLOPT_PRIVATE, x) && SET(CURLOPT_ERRORBUFFER, x->curl_text) &&
           SET(CURLOPT_NOSIGNAL, 1L) && (may_be_sent_again(x) || SET(CURLOPT_FRESH_CONNECT, 1L)) &&
           SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_HTTP09_ALLOWED, 0L) &&
           SET(CURLOPT_HTTP_CONTENT_DECODING, 0L) && SET(CURLOPT_BUFFERSIZE, BUFFER_SIZE) &&
           SET(CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) &&
           SET(CURLOPT_HTTPHEADER, x->headers) && SET(CURLOPT_HEADERFUNCTION, on_header) &&
           SET(CURLOPT_HEADERDATA, x) && SET(CURLOPT_WRITEFUNCTION, on_body) &&
           SET(CURLOPT_WRITEDATA, x) && SET(CURLOPT_OPENSOCKETFUNCTION, on_open) &&
           SET(CURLOPT_OPENSOCKETDATA, x) && SET(CURLOPT_PREREQFUNCTION, on_ready) &&
           SET(CURLOPT_PREREQDATA, x);
}

int transfer_start(struct outgoing *x, const struct address *addresses, size_t count)
{
    struct pool *p;
    if ((x->request.flags & HTTP_UPGRADE) && websocket_new(x) < 0)
        return -ENOMEM;
    p = x->pool = pool_of(x);
    x->easy = curl_easy_init();
    if (!p || !x->easy)
        return -ENOMEM;
    if (add_headers(x) < 0 || pool_add_addresses(&x->resolve, &x->url, addresses, count) < 0 ||
        !set_destination(x) || !set_habits(x) ||
        !(x->websocket ? SET(CURLOPT_CONNECT_ONLY, 1L) : set_body(x)))
        return -EINVAL;
    return curl_multi_add_handle(p->multi, x->easy) == CURLM_OK ? 0 : -ENOMEM;
}

void transfer_stop(struct outgoing *x)
{
    websocket_stop(x);
    pool_leave(x);
    if (x->easy)
        curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    curl_slist_free_all(x->resolve);
    x->easy = NULL;
    x->headers = x->resolve = NULL;
}

/* ---- going on ---- */

static void unpause(struct outgoing *x)
{
    int mask = (x->read_paused ? CURLPAUSE_SEND : 0) | (x->write_paused ? CURLPAUSE_RECV : 0);
    if (curl_easy_pause(x->easy, mask) != CURLE_OK && !x->failed)
        outgoing_fail(x, HTTP_ERROR_CONNECTION_TERMINATED, x->curl_text);
}

void transfer_body_came(struct outgoing *x)
{
    if (x->state == OUTGOING_ASKING)
        secrets_body_came(x);
    if (x->websocket)
        websocket_turn(x);
    if (!x->easy || x->websocket || !x->read_paused || x->failed)
        return;
    x->read_paused = false;
    outgoing_idle(x, x->request.first_byte_timeout_ns, HTTP_ERROR_CONNECTION_WRITE_TIMEOUT);
    unpause(x);
}

void transfer_window_came(struct outgoing *x)
{
    if (x->websocket) {
        x->write_paused = false;
        websocket_turn(x);
    }
    if (!x->easy || x->websocket || !x->write_paused || x->failed)
        return;
    x->write_paused = false;
    outgoing_idle(x, x->request.between_bytes_timeout_ns, HTTP_ERROR_CONNECTION_READ_TIMEOUT);
    unpause(x);
}
