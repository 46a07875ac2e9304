/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of HTTP/1: a worker's frames become a head, a body in the framing that the client can read,
 * and trailers. Written at the end of the turn, all that came in it at once.
 *
 * An answer that is not whole is never made to look whole: a chunked body ends without its last
 * chunk, one with a length ends short of it, one that only closing would end is reset.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ingress/h1.h"
#include "wire/address.h"

static void put_field(struct buf *out, const char *name, const char *value)
{
    buf_puts(out, name);
    buf_puts(out, ": ");
    buf_puts(out, value);
    buf_puts(out, "\r\n");
}

/* Digits within u64. */
static bool number_of(struct bytes text, uint64_t *ret)
{
    uint64_t n = 0;
    if (text.size == 0 || text.size > 19)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret = n;
    return true;
}

/* Drops the fields that are ours to write, and a length where there is none (RFC 9110 8.6); finds the
 * length and whether there is a date. False: two lengths, or one that is none. */
static bool sort_fields(const struct http_response *r, size_t *ret_count, bool *ret_has_length,
                        uint64_t *ret_length, bool *ret_has_date)
{
    size_t count = 0;
    *ret_has_length = *ret_has_date = false;
    *ret_length = 0;
    for (size_t i = 0; i < r->field_count; i++) {
        struct http_field f = r->fields[i];
        if (http1_name_of_connection(f.name))
            continue;
        if (bytes_are(f.name, "content-length")) {
            if (r->status == 204)
                continue;
            if (*ret_has_length || !number_of(f.value, ret_length))
                return false;
            *ret_has_length = true;
        }
        *ret_has_date = *ret_has_date || bytes_are(f.name, "date");
        r->fields[count++] = f;
    }
    *ret_count = count;
    return true;
}

static void choose_framing(struct h1 *h, const struct http_response *r, bool has_length,
                           uint64_t length)
{
    bool none = h->head_request || r->status == 204 || r->status == 304;
    h->length_left = 0;
    if (none) {
        h->framing = FRAMED_NONE;
    } else if (has_length || r->no_body) {
        h->framing = FRAMED_LENGTH;
        h->length_left = length;
    } else {
        h->framing = h->minor > 0 ? FRAMED_CHUNKED : FRAMED_CLOSE;
    }
}

/* The status line is http1_print_response()'s; our own fields go before the empty line. */
static void print_head(struct conn *c, const struct http_response *r, size_t count, bool has_length,
                       bool has_date)
{
    struct h1 *h = c->h1;
    http1_print_response(&h->out, r->status, r->fields, count);
    if (buf_status(&h->out) < 0)
        return;
    h->out.size -= 2;
    if (!has_date)
        put_field(&h->out, "date", ingress_date(c->i));
    if (h->framing == FRAMED_LENGTH && !has_length)
        put_field(&h->out, "content-length", "0");
    if (h->framing == FRAMED_CHUNKED)
        put_field(&h->out, "transfer-encoding", "chunked");
    if (h->framing == FRAMED_RAW)
        buf_puts(&h->out, "connection: upgrade\r\nupgrade: websocket\r\n");
    else if (h->last)
        put_field(&h->out, "connection", "close");
    else if (h->minor == 0)
        put_field(&h->out, "connection", "keep-alive");
    buf_puts(&h->out, "\r\n");
}

static void count_status(struct ingress *i, uint16_t status)
{
    room_count(i,
               status < 300   ? INGRESS_COUNT_responses_1xx_2xx_total
               : status < 400 ? INGRESS_COUNT_responses_3xx_total
               : status < 500 ? INGRESS_COUNT_responses_4xx_total
                              : INGRESS_COUNT_responses_5xx_total,
               1);
}

/* ---- by ourselves ---- */

static void answer_text(struct conn *c, uint16_t status, struct http_field *fields, size_t count,
                        struct bytes text)
{
    struct h1 *h = c->h1;
    char length[32];
    (void)snprintf(length, sizeof length, "%zu", text.size);
    fields[count++] = (struct http_field){ bytes_of("content-length"), bytes_of(length) };
    struct http_response r = { .status = status, .fields = fields };
    h->answering = true;
    h->framing = FRAMED_LENGTH;
    print_head(c, &r, count, true, false);
    if (!h->head_request)
        buf_append(&h->out, text.data, text.size);
    count_status(c->i, status);
}

/* What follows an answer of ours. */
static void answered_by_us(struct conn *c, uint16_t status)
{
    struct h1 *h = c->h1;
    if (h->x != NULL) {
        h->x->status = status;
        if (h->x->over || h->x->request_ended)
            h1_drop_exchange(h);
    }
    if (h->last)
        h1_drop_exchange(h);
    h1_step(c, h->last ? H1_STEP_LAST : H1_STEP_ANSWERED);
    h->answering = false;
    conn_dirty(c);
}

void h1_answer(struct conn *c, uint16_t status, bool last)
{
    struct h1 *h = c->h1;
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    struct http_field fields[] = { { bytes_of("content-type"), bytes_of("text/plain") },
                                   { bytes_of("retry-after"), bytes_of(RETRY_AFTER) },
                                   { { 0 }, { 0 } } };
    if (is_proxy(c->i) && !c->metrics) {
        const struct problem p = { .status = status, .rule = GRANT_NO_RULE };
        h1_answer_problem(c, &p, last);
        return;
    }
    buf_printf(&text, "%u %s\n", status, http1_reason(status));
    h->last = h->last || last || !h->keep_alive;
    answer_text(c, status, fields, status == 503 ? 2 : 1, (struct bytes){ text.data, text.size });
    answered_by_us(c, status);
}

void h1_answer_problem(struct conn *c, const struct problem *p, bool last)
{
    struct h1 *h = c->h1;
    CLEANUP(buf_done) struct buf text = BUF_INIT(128u << 10);
    struct http_field fields[PROBLEM_FIELDS_MAX + 1];
    problem_put(&text, p);
    size_t count = problem_fields(p, fields);
    h->last = h->last || last || !h->keep_alive;
    answer_text(c, p->status, fields, count, (struct bytes){ text.data, text.size });
    answered_by_us(c, p->status);
}

void h1_open_tunnel(struct conn *c)
{
    struct h1 *h = c->h1;
    buf_puts(&h->out, "HTTP/1.1 200 Connection established\r\n\r\n");
    h->answering = h->open_tunnel = true;
    count_status(c->i, 200);
    conn_dirty(c);
}

void h1_answer_last(struct conn *c, uint16_t status)
{
    c->h1->keep_alive = false;
    h1_answer(c, status, true);
}

static bool is_loopback(const struct conn *c)
{
    struct address a = { .is_v6 = c->peer.any.sa_family == AF_INET6 };
    if (a.is_v6)
        memcpy(a.bytes, &c->peer.v6.sin6_addr, 16);
    else
        memcpy(a.bytes, &c->peer.v4.sin_addr, 4);
    return address_kind(&a) == ADDRESS_LOOPBACK;
}

/* A web page whose name its owner let point here (DNS rebinding) asks for that name; who is on this
 * machine and knows what it asks uses an address or "localhost". */
bool conn_is_rebound(const struct conn *c, struct bytes host)
{
    struct address a;
    if (host.size == 0 || host.data[0] == '[' || !is_loopback(c))
        return false;
    const uint8_t *colon = memchr(host.data, ':', host.size);
    if (colon != NULL)
        host.size = (size_t)(colon - host.data);
    return !bytes_equal_fold(host, "localhost") && address_parse(host, &a) < 0;
}

void h1_answer_metrics(struct conn *c, const struct http1_head *head)
{
    struct h1 *h = c->h1;
    CLEANUP(buf_done) struct buf text = BUF_INIT(64u << 10);
    bool found = bytes_are(head->path, "/metrics");
    bool method = bytes_are(head->method, "GET") || h->head_request;
    h->keep_alive = false;
    if (conn_is_rebound(c, head->authority)) {
        h1_answer(c, 421, true);
        return;
    }
    if (!found || !method) {
        h1_answer(c, found ? 405 : 404, true);
        return;
    }
    ingress_counters_print(c->i->slots, c->i->start.pairs, is_proxy(c->i), &text);
    h->last = true;
    struct http_field fields[] = {
        { bytes_of("content-type"), bytes_of("text/plain; version=0.0.4") }, { { 0 }, { 0 } }
    };
    answer_text(c, 200, fields, 1, (struct bytes){ text.data, text.size });
    h1_step(c, H1_STEP_LAST);
    conn_dirty(c);
}

/* ---- by the worker ---- */

/* The answer is whole in `out`: what comes next? */
static void h1_answered(struct conn *c)
{
    struct h1 *h = c->h1;
    h->answering = false;
    /* A client that waits for "100 Continue" may or may not send its body now. */
    bool last = h->last || (h->state == H1_BODY && h->owes_continue);
    if (last || h->state == H1_ANSWER)
        h1_drop_exchange(h);
    h1_step(c, last ? H1_STEP_LAST : H1_STEP_ANSWERED);
}

/* The answer cannot become whole. */
static void cut(struct conn *c)
{
    struct h1 *h = c->h1;
    if (h->x != NULL)
        h->x->cut = true;
    h->reset = h->framing == FRAMED_CLOSE || h->framing == FRAMED_RAW;
    h->last = true;
    room_count(c->i, INGRESS_COUNT_requests_cut_total, 1);
    h1_drop_exchange(h);
    h1_step(c, H1_STEP_LAST);
}

/* 101: what comes now are bytes. The connection ends with them. */
static void on_upgraded(struct conn *c, const struct http_response *r)
{
    struct h1 *h = c->h1;
    bool has_length, has_date;
    uint64_t length;
    size_t count;
    if (!sort_fields(r, &count, &has_length, &length, &has_date) || has_length) {
        h1_answer(c, 502, true);
        return;
    }
    h->framing = FRAMED_RAW;
    h->answering = h->last = true;
    print_head(c, r, count, false, has_date);
    count_status(c->i, r->status);
    h1_step(c, H1_STEP_TUNNEL);
}

static void on_response(struct exchange *x, const struct http_response *r)
{
    struct conn *c = x->conn;
    struct h1 *h = x->stream;
    bool has_length, has_date;
    uint64_t length;
    size_t count;
    conn_dirty(c);
    if (r->status == 101) {
        on_upgraded(c, r);
        return;
    }
    if (x->asks_upgrade) /* it is an answer as others are: no bytes will follow the request */
        exchange_send_end(x, NULL, 0);
    if (!sort_fields(r, &count, &has_length, &length, &has_date) ||
        (r->no_body && has_length && length > 0 && !h->head_request && r->status != 304)) {
        h1_answer(c, 502, true);
        return;
    }
    choose_framing(h, r, has_length, length);
    h->last = !h->keep_alive || c->i->draining || h->framing == FRAMED_CLOSE ||
              (h->state == H1_BODY && h->owes_continue);
    h->answering = true;
    print_head(c, r, count, has_length, has_date);
    count_status(c->i, r->status);
    if (h->framing == FRAMED_NONE)
        exchange_discard(x);
    if (x->response_ended)
        h1_answered(c);
}

static void on_body(struct exchange *x, struct bytes data)
{
    struct conn *c = x->conn;
    struct h1 *h = x->stream;
    conn_dirty(c);
    if (h->framing == FRAMED_LENGTH && data.size > h->length_left) {
        h->framing = FRAMED_CLOSE; /* the length was a lie: nothing but a reset shows it */
        cut(c);
        return;
    }
    if (h->framing == FRAMED_CHUNKED)
        http1_print_chunk(&h->out, data);
    else
        buf_append(&h->out, data.data, data.size);
    if (h->framing == FRAMED_LENGTH)
        h->length_left -= data.size;
    h->body_in_out += data.size;
}

static void on_end(struct exchange *x, const struct http_field *trailers, size_t count)
{
    struct conn *c = x->conn;
    struct h1 *h = x->stream;
    conn_dirty(c);
    if (h->framing == FRAMED_LENGTH && h->length_left > 0) {
        cut(c);
        return;
    }
    if (h->framing == FRAMED_CHUNKED)
        http1_print_last_chunk(&h->out, trailers, count);
    h1_answered(c);
}

static void on_failed(struct exchange *x, const struct http_failure *f)
{
    struct conn *c = x->conn;
    struct h1 *h = x->stream;
    conn_dirty(c);
    if (h->state == H1_SKIP) {
        h1_drop_exchange(h); /* the answer is whole; the rest of the request is thrown away */
    } else if (h->answering) {
        cut(c);
    } else {
        const struct problem p = problem_of_failure(x, f);
        uint16_t status = is_proxy(c->i) ? p.status : exchange_failure_status(f);
        if (status == 503)
            room_count(c->i, INGRESS_COUNT_requests_refused_total, 1);
        if (is_proxy(c->i))
            h1_answer_problem(c, &p, h->state == H1_BODY);
        else
            h1_answer(c, status, h->state == H1_BODY);
    }
}

static void on_room(struct exchange *x)
{
    conn_dirty(x->conn);
}

static void on_proceed(struct exchange *x)
{
    struct h1 *h = x->stream;
    if (!h->owes_continue)
        return;
    h->owes_continue = false;
    if (!h->answering)
        buf_puts(&h->out, "HTTP/1.1 100 Continue\r\n\r\n");
    conn_dirty(x->conn);
}

const struct exchange_owner h1_owner = { .response = on_response,
                                         .body = on_body,
                                         .end = on_end,
                                         .failed = on_failed,
                                         .room = on_room,
                                         .proceed = on_proceed };
