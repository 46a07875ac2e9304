/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of HTTP/2: a worker's frames become HEADERS, DATA and trailers of one stream. nghttp2 asks
 * for body bytes when the client's windows let it send; what it took is given back to the worker's
 * window, so a client that does not read stops its guest and no other.
 *
 * An answer that is not whole ends with RST_STREAM.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ingress/h2.h"

static nghttp2_nv pair(struct bytes name, struct bytes value)
{
    return (nghttp2_nv){ .name = (uint8_t *)name.data,
                         .value = (uint8_t *)value.data,
                         .namelen = name.size,
                         .valuelen = value.size };
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

void h2_reset(struct h2_stream *s, uint32_t code)
{
    s->reset = true;
    (void)nghttp2_submit_rst_stream(s->conn->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
    conn_dirty(s->conn);
}

static void submit_trailers(struct h2_stream *s)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    nghttp2_nv nv[HTTP_FIELDS_MAX];
    struct cursor c = cursor_of(s->trailers.data, s->trailers.size);
    struct error e = ERROR_INIT;
    size_t count;
    if (http_fields_get(&c, fields, &count, &e) < 0) {
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    for (size_t i = 0; i < count; i++)
        nv[i] = pair(fields[i].name, fields[i].value);
    (void)nghttp2_submit_trailer(s->conn->h2->session, s->id, nv, count);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct h2_stream *s = source->ptr;
    size_t left = s->out.size - s->out_start, take = MIN(left, size);
    if (take > 0) {
        memcpy(to, s->out.data + s->out_start, take);
        s->out_start += take;
        s->conn->h2->credit = MIN(s->conn->h2->credit + 4, H2_CREDIT_MAX);
        if (s->x != NULL)
            exchange_consumed(s->x, take);
    }
    if (s->out_start == s->out.size) {
        buf_clear(&s->out);
        s->out_start = 0;
    }
    if (take == left && s->out_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->trailers.size > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(s);
        }
        return (ssize_t)take;
    }
    if (take == 0) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)take;
}

static void resume(struct h2_stream *s)
{
    if (s->deferred)
        (void)nghttp2_session_resume_data(s->conn->h2->session, s->id);
    s->deferred = false;
    conn_dirty(s->conn);
}

static void submit(struct h2_stream *s, uint16_t status, const struct http_field *fields,
                   size_t count)
{
    nghttp2_nv nv[HTTP_FIELDS_MAX + 2];
    nghttp2_data_provider body = { .source.ptr = s, .read_callback = read_body };
    char digits[8];
    size_t n = 0;
    bool has_date = false;
    (void)snprintf(digits, sizeof digits, "%03u", status % 1000u);
    nv[n++] = pair(bytes_of(":status"), bytes_of(digits));
    for (size_t i = 0; i < count; i++) {
        has_date = has_date || bytes_are(fields[i].name, "date");
        if (!http1_name_of_connection(fields[i].name) &&
            (status != 204 || !bytes_are(fields[i].name, "content-length"))) /* RFC 9110 8.6 */
            nv[n++] = pair(fields[i].name, fields[i].value);
    }
    if (!has_date)
        nv[n++] = pair(bytes_of("date"), bytes_of(ingress_date(s->conn->i)));
    s->answered = true;
    if (nghttp2_submit_response(s->conn->h2->session, s->id, nv, n, s->has_body ? &body : NULL) !=
        0)
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
    count_status(s->conn->i, status);
    conn_dirty(s->conn);
}

static void answer(struct h2_stream *s, uint16_t status, const struct http_field *fields,
                   size_t count, const struct buf *text)
{
    s->has_body = !s->head_request;
    s->has_length = false;
    s->out_ended = true;
    if (s->has_body)
        buf_append(&s->out, text->data, text->size);
    if (s->x != NULL) {
        s->x->status = status;
        exchange_free(TAKE(s->x));
    }
    submit(s, status, fields, count);
    if (s->in.size > 0)
        h2_push(s); /* or the client would wait for room, and not end */
}

void h2_answer_problem(struct h2_stream *s, const struct problem *p)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(128u << 10);
    struct http_field fields[PROBLEM_FIELDS_MAX];
    problem_put(&text, p);
    answer(s, p->status, fields, problem_fields(p, fields), &text);
}

void h2_answer(struct h2_stream *s, uint16_t status)
{
    if (is_proxy(s->conn->i)) {
        const struct problem p = { .status = status, .rule = GRANT_NO_RULE };
        h2_answer_problem(s, &p);
        return;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    struct http_field fields[] = { { bytes_of("content-type"), bytes_of("text/plain") },
                                   { bytes_of("retry-after"), bytes_of(RETRY_AFTER) } };
    buf_printf(&text, "%u %s\n", status, http1_reason(status));
    answer(s, status, fields, status == 503 ? 2 : 1, &text);
}

/* ---- by the worker ---- */

static bool find_length(const struct http_response *r, bool *ret_has, uint64_t *ret)
{
    *ret_has = false;
    for (size_t i = 0; i < r->field_count; i++) {
        if (!bytes_are(r->fields[i].name, "content-length"))
            continue;
        struct bytes v = r->fields[i].value;
        uint64_t n = 0;
        if (*ret_has || v.size == 0 || v.size > 19)
            return false;
        for (size_t k = 0; k < v.size; k++) {
            if (v.data[k] < '0' || v.data[k] > '9')
                return false;
            n = n * 10 + (uint64_t)(v.data[k] - '0');
        }
        *ret_has = true;
        *ret = n;
    }
    return true;
}

static void on_response(struct exchange *x, const struct http_response *r)
{
    struct h2_stream *s = x->stream;
    if (r->field_count > HTTP_FIELDS_MAX || !find_length(r, &s->has_length, &s->length_left)) {
        h2_answer(s, 502);
        return;
    }
    bool none = s->head_request || r->status == 204 || r->status == 304;
    s->has_body = !none && !r->no_body;
    s->out_ended = !s->has_body;
    if (r->no_body && !none && s->has_length && s->length_left > 0) {
        h2_answer(s, 502);
        return;
    }
    s->has_length = s->has_length && s->has_body;
    submit(s, r->status, r->fields, r->field_count);
    if (none)
        exchange_discard(x);
    h2_part(s);
}

/* What was taken was given back to the worker's window, also when more always waits behind it: without
 * this, a client that is slower than its guest would fill `out` with bytes that it has long had. */
static void drop_taken(struct h2_stream *s)
{
    if (s->out_start < HTTP_WINDOW_START)
        return;
    memmove(s->out.data, s->out.data + s->out_start, s->out.size - s->out_start);
    s->out.size -= s->out_start;
    s->out_start = 0;
}

static void on_body(struct exchange *x, struct bytes data)
{
    struct h2_stream *s = x->stream;
    if (s->has_length && data.size > s->length_left) {
        x->cut = true;
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (s->has_length)
        s->length_left -= data.size;
    drop_taken(s);
    buf_append(&s->out, data.data, data.size);
    if (buf_status(&s->out) < 0) {
        x->cut = true;
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    resume(s);
}

static void on_end(struct exchange *x, const struct http_field *trailers, size_t count)
{
    struct h2_stream *s = x->stream;
    if (s->has_length && s->length_left > 0) {
        x->cut = true;
        room_count(x->i, INGRESS_COUNT_requests_cut_total, 1);
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    if (count > 0)
        http_fields_put(&s->trailers, trailers, count);
    s->out_ended = true;
    h2_part(s);
    resume(s);
}

static void on_failed(struct exchange *x, const struct http_failure *f)
{
    struct h2_stream *s = x->stream;
    if (!s->answered) {
        const struct problem p = problem_of_failure(x, f);
        if (is_proxy(x->i))
            h2_answer_problem(s, &p);
        else
            h2_answer(s, exchange_failure_status(f));
        return;
    }
    if (!s->out_ended) {
        x->cut = true;
        room_count(x->i, INGRESS_COUNT_requests_cut_total, 1);
        h2_reset(s, NGHTTP2_INTERNAL_ERROR);
    }
    exchange_free(TAKE(s->x));
}

static void on_room(struct exchange *x)
{
    h2_push(x->stream);
}

static void on_proceed(struct exchange *x)
{
    struct h2_stream *s = x->stream;
    nghttp2_nv nv = pair(bytes_of(":status"), bytes_of("100"));
    if (s->owes_continue && !s->answered)
        (void)nghttp2_submit_headers(s->conn->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, &nv, 1,
                                     NULL);
    s->owes_continue = false;
    conn_dirty(s->conn);
}

const struct exchange_owner h2_owner = { .response = on_response,
                                         .body = on_body,
                                         .end = on_end,
                                         .failed = on_failed,
                                         .room = on_room,
                                         .proceed = on_proceed };
