/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of `ambit proxy`: what a native client asks of a forward proxy, and what it is told.
 *
 *   plain connection   CONNECT host:port    the token; keeper gives a leaf, or says why not
 *                      GET http://host/     the token, each time; egress decides
 *                      GET /                somebody took us for a web server: told what this is
 *   in the tunnel      GET /, GET https://  Host, :authority must be CONNECT's; egress decides
 *
 * Every request is judged by itself, whatever came before it on its connection. Without the token
 * nobody learns anything: not what is granted, not who is asked. Browsers' pages cannot send it, so a
 * page that found the port gets no further than 407.
 *
 * What is refused here is told to control (INGRESS_DENIED), so many a second; egress tells of the rest.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ingress/internal.h"
#include "wire/egress.h"

#define CREDENTIALS_MAX 1024
#define DENIALS_PER_TICK 64

/* ---- records ---- */

static void tell_denial(struct ingress *i, struct bytes method, const char *scheme,
                        struct bytes authority, const struct problem *p)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(64u << 10), url = BUF_INIT(EGRESS_TEXT_MAX);
    struct error e = ERROR_INIT;
    if (i->denials_told++ >= DENIALS_PER_TICK)
        return;
    buf_printf(&url, "%s://", scheme);
    buf_append(&url, authority.data, MIN(authority.size, (size_t)1024));
    buf_putc(&url, '/');
    method.size = MIN(method.size, (size_t)64);
    const struct egress_denied d = {
        .rule = p->rule,
        .reason = p->reason,
        .method = method,
        .url = { url.data, url.size },
        .text = p->detail,
        .grant = p->grant,
    };
    egress_denied_put(&payload, &d);
    /* A control that does not read is not waited for. */
    if (buf_status(&url) == 0 && buf_status(&payload) == 0 &&
        channel_queue(i->control, INGRESS_DENIED, payload.data, payload.size, &e) == 0)
        (void)!channel_flush(i->control, &e);
}

/* ---- the token ---- */

static int sextet(uint8_t c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* RFC 4648 4, with its padding or without. False: it is none, or too long. */
static bool decode(struct bytes text, uint8_t ret[static CREDENTIALS_MAX], size_t *ret_size)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t size = 0;
    for (int padding = 0; padding < 2 && text.size > 0 && text.data[text.size - 1] == '=';
         padding++)
        text.size--;
    for (size_t i = 0; i < text.size; i++) {
        int v = sextet(text.data[i]);
        if (v < 0 || size == CREDENTIALS_MAX)
            return false;
        bits = (bits << 6 | (uint32_t)v) & 0xffffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            ret[size++] = (uint8_t)(bits >> held);
        }
    }
    *ret_size = size;
    return text.size % 4 != 1;
}

static bool is_token(const struct ingress *i, const uint8_t *text, size_t size)
{
    /* How long it is is no secret. */
    return size == strlen(i->start.token) && CRYPTO_memcmp(text, i->start.token, size) == 0;
}

/* Takes "scheme " off. */
static bool has_scheme(struct bytes *value, const char *scheme)
{
    size_t size = strlen(scheme);
    if (value->size <= size || value->data[size] != ' ' ||
        !bytes_equal_fold((struct bytes){ value->data, size }, scheme))
        return false;
    while (size < value->size && value->data[size] == ' ')
        size++;
    *value = (struct bytes){ value->data + size, value->size - size };
    return true;
}

static bool is_authentic(const struct ingress *i, struct bytes value)
{
    uint8_t text[CREDENTIALS_MAX];
    size_t size = 0;
    bool good = false;
    if (has_scheme(&value, "bearer"))
        return is_token(i, value.data, value.size);
    if (!has_scheme(&value, "basic"))
        return false;
    if (decode(value, text, &size)) {
        const uint8_t *colon = size > 0 ? memchr(text, ':', size) : NULL;
        good = colon != NULL && is_token(i, colon + 1, size - (size_t)(colon + 1 - text));
    }
    mem_wipe(text, sizeof text);
    return good;
}

static bool is_allowed_in(const struct conn *c, const struct http1_head *head)
{
    const struct http_field *found = NULL;
#ifdef AMBIT_TEST_HOOKS
    if (c->i->start.test_skip & INGRESS_SKIP_TOKEN)
        return true;
#endif
    for (size_t f = 0; f < head->field_count; f++) {
        if (!bytes_equal_fold(head->fields[f].name, "proxy-authorization"))
            continue;
        if (found != NULL)
            return false; /* which of two would another reader take? */
        found = &head->fields[f];
    }
    return found != NULL && is_authentic(c->i, found->value);
}

/* ---- answers ---- */

/* Answers a head by ourselves; the rest of its request is read and thrown away. */
static void answer(struct conn *c, const struct http1_head *head, const struct problem *p,
                   bool last)
{
    CLEANUP(buf_done) struct buf why = BUF_INIT(EGRESS_TEXT_MAX);
    buf_append(&why, p->detail.data, MIN(p->detail.size, (size_t)1024));
    log_answered(c, head->method, head->authority, p->status,
                 buf_status(&why) == 0 ? buf_cstr(&why) : "");
    /* Who waits for "100 Continue" may or may not send its body after this. */
    h1_answer_problem(c, p, last || head->expect_continue);
}

static void challenge(struct conn *c, const struct http1_head *head)
{
    const struct problem p = {
        .status = 407,
        .detail =
            bytes_of("this proxy is for the clients that were given its token: use the proxy URL "
                     "that `ambit proxy` wrote, which holds it"),
    };
    answer(c, head, &p, false);
}

static bool has_field(const struct http1_head *head, const char *name)
{
    for (size_t f = 0; f < head->field_count; f++)
        if (bytes_equal_fold(head->fields[f].name, name))
            return true;
    return false;
}

/* It was taken for a web server. What a page of a browser asks for gets no answer but the challenge. */
static void answer_origin_form(struct conn *c, const struct http1_head *head)
{
    const struct problem p = {
        .status = 400,
        .detail =
            bytes_of("this is a forward proxy of Ambit, not a web server: set HTTPS_PROXY and "
                     "HTTP_PROXY to the URL that `ambit proxy` wrote, and ask for whole URLs"),
    };
    if (has_field(head, "origin") || conn_is_rebound(c, head->authority))
        challenge(c, head);
    else
        answer(c, head, &p, false);
}

static void answer_malformed(struct conn *c, const struct http1_head *head, const struct error *e)
{
    const struct problem p = {
        .status = 400, .reason = GRANT_MALFORMED, .rule = GRANT_NO_RULE, .detail = bytes_of(e->what)
    };
    tell_denial(c->i, head->method, "https", head->authority, &p);
    answer(c, head, &p, true);
}

/* ---- CONNECT ---- */

static struct front *front_new(struct conn *c, const struct url *u)
{
    CLEANUP(buf_done) struct buf authority = BUF_INIT(URL_HOST_MAX + 16);
    url_authority(u, &authority);
    if (buf_status(&authority) < 0)
        return NULL;
    struct front *f = mem_zalloc(sizeof *f + authority.size + 1);
    if (f == NULL)
        return NULL;
    f->conn = c;
    f->is_address = u->is_address;
    f->port = u->port;
    memcpy(f->host, u->host, sizeof f->host);
    memcpy(f->authority, authority.data, authority.size);
    list_init(&f->waiting);
    return f;
}

void front_free(struct front *f)
{
    if (f == NULL)
        return;
    list_remove(&f->waiting);
    leaf_release(f->leaf);
    mem_free(f);
}

static void on_connect(struct conn *c, const struct http1_head *head)
{
    CLEANUP(url_done) struct url u;
    struct error e = ERROR_INIT;
    url_init(&u);
    if (url_set(&u, true, head->authority, bytes_of("/"), &e) < 0) {
        answer_malformed(c, head, &e);
        return;
    }
    c->front = front_new(c, &u);
    if (c->front == NULL) {
        h1_answer_last(c, 503);
        return;
    }
    leaf_ask(c->i->leaves, c->front);
}

static void log_connect(struct front *f, uint16_t status, const char *why)
{
    char destination[URL_HOST_MAX + 16];
    (void)snprintf(destination, sizeof destination, strchr(f->host, ':') ? "[%s]:%u" : "%s:%u",
                   f->host, f->port);
    log_answered(f->conn, bytes_of("CONNECT"), bytes_of(destination), status, why);
}

void proxy_on_leaf(struct front *f, struct leaf *leaf)
{
    struct conn *c = f->conn;
    if (leaf != NULL && leaf->state == LEAF_KEPT) {
        f->leaf = leaf;
        leaf->users++;
        log_connect(f, 200, "");
        h1_open_tunnel(c);
        return;
    }
    struct problem p = { .status = 503,
                         .rule = GRANT_NO_RULE,
                         .retryable = true,
                         .detail = bytes_of("no certificate for this host could be had in time") };
    if (leaf != NULL) {
        p = (struct problem){ .status = 403,
                              .rule = GRANT_NO_RULE,
                              .reason = leaf->reason,
                              .detail = { leaf->text.data, leaf->text.size },
                              .grant = { leaf->grant.data, leaf->grant.size } };
        tell_denial(c->i, bytes_of("CONNECT"), "https", bytes_of(f->authority), &p);
    }
    log_connect(f, p.status, leaf != NULL ? grant_reason_text(leaf->reason) : "keeper is silent");
    h1_answer_problem(c, &p, true);
}

void proxy_begin_tls(struct conn *c, struct bytes ahead)
{
    struct leaf *leaf = TAKE(c->front->leaf);
    if (tls_begin_front(c, leaf, ahead) < 0)
        conn_close(c);
    leaf_release(leaf);
}

void proxy_handshake_failed(struct conn *c)
{
    struct front *f = c->front;
    struct problem p = { .status = 0, .reason = GRANT_DISAGREES, .rule = GRANT_NO_RULE };
    switch (tls_fault(c)) {
    case TLS_FAULT_NAME:
        p.detail = bytes_of("the client's TLS names another host than its CONNECT");
        break;
    case TLS_FAULT_NOT_TLS:
        p.reason = GRANT_NOT_OFFERED;
        p.detail = bytes_of("something other than TLS came in a tunnel; only HTTPS goes through");
        break;
    case TLS_NO_FAULT:
        return; /* such as a client that does not trust the CA, or that went away */
    }
    log_connect(f, 0, (const char *)p.detail.data);
    tell_denial(c->i, bytes_of("CONNECT"), "https", bytes_of(f->authority), &p);
}

/* ---- requests ---- */

bool proxy_drops(struct bytes name)
{
    static const char *const names[] = { "host", "http2-settings", "keep-alive" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (bytes_are(name, names[i]))
            return true;
    return name.size >= 6 &&
           (memcmp(name.data, "proxy-", 6) == 0 || memcmp(name.data, "proxy_", 6) == 0);
}

bool proxy_agrees(const struct conn *c, struct bytes authority)
{
    CLEANUP(url_done) struct url u;
    struct error e = ERROR_INIT;
    const struct front *f = c->front;
#ifdef AMBIT_TEST_HOOKS
    if (c->i->start.test_skip & INGRESS_SKIP_AUTHORITY)
        return true;
#endif
    if (bytes_are(authority, f->authority))
        return true;
    url_init(&u);
    return url_set(&u, true, authority, bytes_of("/"), &e) == 0 && u.port == f->port &&
           strcmp(u.host, f->host) == 0;
}

struct problem proxy_disagrees(struct conn *c, struct bytes method, struct bytes authority)
{
    const struct problem p = {
        .status = 421,
        .reason = GRANT_DISAGREES,
        .rule = GRANT_NO_RULE,
        .detail = bytes_of("the request names another host than the CONNECT of its connection"),
    };
    tell_denial(c->i, method, "https", authority, &p);
    return p;
}

/* A WebSocket: everything else that Upgrade names (h2c) is passed over. */
static bool asks_for_websocket(const struct http1_head *head, bool body)
{
    if (!head->upgrade || body || head->minor == 0 || !bytes_are(head->method, "GET"))
        return false;
    for (size_t f = 0; f < head->field_count; f++)
        if (bytes_equal_fold(head->fields[f].name, "upgrade") &&
            !bytes_equal_fold(head->fields[f].value, "websocket"))
            return false;
    return true;
}

static void begin(struct conn *c, const struct http1_head *head, bool body, struct bytes authority)
{
    const struct problem full = { .status = 503,
                                  .rule = GRANT_NO_RULE,
                                  .retryable = true,
                                  .detail = bytes_of("every place is taken; try again") };
    uint32_t flags = asks_for_websocket(head, body) ? HTTP_UPGRADE : 0;
    if (h1_begin_exchange(c, head, body, authority, flags) == 0)
        return;
    room_count(c->i, INGRESS_COUNT_requests_refused_total, 1);
    answer(c, head, &full, body);
}

static void in_tunnel(struct conn *c, const struct http1_head *head, bool body)
{
    struct problem p = { .status = 405, .detail = bytes_of("a CONNECT within a tunnel") };
    bool https = head->scheme.size == 0 || bytes_equal_fold(head->scheme, "https");
    if (bytes_are(head->method, "CONNECT")) {
        answer(c, head, &p, true);
    } else if (!https || (head->authority.size > 0 && !proxy_agrees(c, head->authority))) {
        p = proxy_disagrees(c, head->method, head->authority);
        answer(c, head, &p, false);
    } else {
        begin(c, head, body, bytes_of(c->front->authority));
    }
}

static void absolute_form(struct conn *c, const struct http1_head *head, bool body)
{
    CLEANUP(url_done) struct url u;
    CLEANUP(buf_done) struct buf authority = BUF_INIT(URL_HOST_MAX + 16);
    struct error e = ERROR_INIT;
    const struct problem https = {
        .status = 400,
        .detail =
            bytes_of("an https URL goes through CONNECT, so that what the client says is encrypted "
                     "on its way to the proxy, too"),
    };
    if (bytes_equal_fold(head->scheme, "https")) {
        answer(c, head, &https, false);
        return;
    }
    url_init(&u);
    if (url_set(&u, false, head->authority, bytes_of("/"), &e) < 0) {
        answer_malformed(c, head, &e);
        return;
    }
    url_authority(&u, &authority);
    begin(c, head, body, (struct bytes){ authority.data, authority.size });
}

void proxy_on_head(struct conn *c, const struct http1_head *head, bool body)
{
    if (c->front != NULL)
        in_tunnel(c, head, body);
    else if (head->scheme.size == 0 && !bytes_are(head->method, "CONNECT"))
        answer_origin_form(c, head);
    else if (!is_allowed_in(c, head))
        challenge(c, head);
    else if (bytes_are(head->method, "CONNECT"))
        on_connect(c, head);
    else
        absolute_form(c, head, body);
}
