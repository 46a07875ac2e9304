/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of HTTP/2: nghttp2 reads and writes its frames and checks its rules (states, pseudo
 * fields, fields of a connection, lengths); here streams become exchanges.
 *
 * Flow control: nothing is given back to a client's window before a worker took the bytes; for each
 * stream at most H2_STREAM_WINDOW of them are held. While written bytes wait for the client nothing
 * is read, so it cannot make us hold answers to its own floods.
 *
 * Credit: a connection begins with H2_CREDIT_MAX; frames that carry no work cost one (PING, SETTINGS,
 * PRIORITY, WINDOW_UPDATE, empty DATA, what we do not know), a reset of a stream ten, a mistake that makes us reset one
 * thirty; a request gives ten back, bytes of bodies four for each frame. Who has none left is told to
 * calm down and closed.
 */
#include "ingress/h2.h"

#include <string.h>

#include "base/mem.h"

/* ---- streams ---- */

static struct h2_stream *stream_new(struct conn *c, int32_t id)
{
    struct h2 *h = c->h2;
    struct h2_stream *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->conn = c;
    s->id = id;
    s->text = (struct buf)BUF_INIT(HTTP_HEAD_MAX);
    s->in = (struct buf)BUF_INIT(2 * H2_STREAM_WINDOW);
    s->out = (struct buf)BUF_INIT(4 * HTTP_WINDOW_START);
    s->trailers = (struct buf)BUF_INIT(2 * HTTP_HEAD_MAX);
    list_init(&s->place);
    list_append(&h->streams, &s->place);
    if (h->stream_count++ == 0)
        conn_owes_head(c, false);
    return s;
}

static void stream_free(struct h2_stream *s)
{
    struct conn *c = s->conn;
    if (s->x != NULL) {
        s->x->cut = s->x->cut || !s->out_ended;
        exchange_free(TAKE(s->x));
    }
    list_remove(&s->place);
    buf_done(&s->text);
    buf_done(&s->in);
    buf_done(&s->out);
    buf_done(&s->trailers);
    mem_free(s);
    if (--c->h2->stream_count == 0 && !c->closed)
        conn_owes_head(c, true);
}

/* The worker is done with it: others have its place, whether or not the client reads what is held. */
void h2_part(struct h2_stream *s)
{
    if (s->x != NULL && exchange_finished(s->x))
        exchange_free(TAKE(s->x));
}

void h2_push(struct h2_stream *s)
{
    size_t taken = s->in.size;
    if (s->x != NULL && !s->x->request_ended)
        taken = exchange_send_body(s->x, (struct bytes){ s->in.data, s->in.size });
    else
        s->thrown += taken;
    if (taken > 0) {
        memmove(s->in.data, s->in.data + taken, s->in.size - taken);
        s->in.size -= taken;
        (void)nghttp2_session_consume(s->conn->h2->session, s->id, taken);
        conn_dirty(s->conn);
    }
    if (s->x != NULL && s->request_ended && s->in.size == 0 && !s->x->request_ended &&
        s->x->running && !s->x->holds_body) {
        struct http_field trailers[HTTP_FIELDS_MAX];
        size_t count = 0;
        for (size_t i = 0; i < s->field_count; i++) {
            const struct http_field f = {
                { s->text.data + s->fields[i].name, s->fields[i].name_size },
                { s->text.data + s->fields[i].value, s->fields[i].value_size },
            };
            if (http1_field_valid(&f) && http1_trailer_allowed(f.name))
                trailers[count++] = f;
        }
        exchange_send_end(s->x, trailers, count);
    }
    h2_part(s);
    /* Nobody reads the rest of it. Clients that are told so at once break off before they read the answer,
     * so a part is thrown away first (RFC 9113 8.1). */
    if (s->out_ended && s->x == NULL && !s->request_ended && !s->reset && s->thrown > H2_THROWN_MAX)
        h2_reset(s, NGHTTP2_NO_ERROR);
}

/* ---- requests ---- */

struct parts {
    struct bytes method, scheme, authority, path, host;
    bool expects, differs;
};

/* RFC 9113 8.2.3: a cookie that came in crumbs is one again. */
static void add_crumb(struct buf *crumbs, struct bytes crumb)
{
    if (crumbs->size > 0)
        buf_puts(crumbs, "; ");
    buf_append(crumbs, crumb.data, crumb.size);
}

static struct parts sort_fields(struct h2_stream *s, struct http_field *fields, size_t *ret_count)
{
    struct parts p = { 0 };
    struct buf *crumbs = &s->conn->i->cookie;
    bool proxy = is_proxy(s->conn->i);
    size_t count = 0;
    buf_clear(crumbs);
    for (size_t i = 0; i < s->field_count; i++) {
        struct http_field f = { { s->text.data + s->fields[i].name, s->fields[i].name_size },
                                { s->text.data + s->fields[i].value, s->fields[i].value_size } };
        if (bytes_are(f.name, ":method"))
            p.method = f.value;
        else if (bytes_are(f.name, ":scheme"))
            p.scheme = f.value;
        else if (bytes_are(f.name, ":authority"))
            p.authority = f.value;
        else if (bytes_are(f.name, ":path"))
            p.path = f.value;
        else if (bytes_are(f.name, "host"))
            p.host = f.value;
        else if (bytes_are(f.name, "expect"))
            p.expects = bytes_equal_fold(f.value, "100-continue");
        else if (proxy && bytes_are(f.name, "cookie"))
            add_crumb(crumbs, f.value);
        else if (!bytes_are(f.name, "te") && !(proxy && proxy_drops(f.name)))
            fields[count++] = f;
    }
    if (crumbs->size > 0)
        fields[count++] = (struct http_field){ bytes_of("cookie"), { crumbs->data, crumbs->size } };
    p.differs = p.host.size > 0 && p.authority.size > 0 && !bytes_equal(p.host, p.authority);
    if (p.authority.size == 0)
        p.authority = p.host;
    if (p.authority.size > 0 && count < HTTP_FIELDS_MAX && !proxy)
        fields[count++] = (struct http_field){ bytes_of("host"), p.authority };
    *ret_count = count;
    return p;
}

/* The worker refuses what is not well-formed, and takes us for broken: it must never see it. */
static bool well_formed(const struct http_request *r)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    CLEANUP(buf_done) struct buf text = BUF_INIT(LINK_PAYLOAD_MAX);
    struct http_request again;
    struct error e = ERROR_INIT;
    http_request_put(&text, r);
    struct cursor c = cursor_of(text.data, text.size);
    return buf_status(&text) == 0 && http_request_get(&c, fields, &again, &e) == 0;
}

/* The status to refuse it with, or 0. */
static uint16_t refusal(const struct h2_stream *s, const struct parts *p,
                        const struct http_request *r)
{
    if (s->too_large || buf_status(&s->text) < 0 || buf_status(&s->conn->i->cookie) < 0)
        return 431;
    if (bytes_are(p->method, "CONNECT"))
        return is_proxy(s->conn->i) ? 405 : 501;
    if (p->differs || !http1_path_valid(p->path) ||
        (p->authority.size > 0 && !http1_host_valid(p->authority)) || !well_formed(r))
        return 400;
    return 0;
}

/* Of a proxy: the request is for the host of CONNECT, and goes on with that name. */
static bool in_its_tunnel(struct conn *c, const struct parts *p, struct http_request *r,
                          struct problem *ret)
{
    if (bytes_are(p->scheme, "https") &&
        (p->authority.size == 0 || proxy_agrees(c, p->authority))) {
        r->authority = bytes_of(c->front->authority);
        return true;
    }
    *ret = proxy_disagrees(c, p->method, p->authority);
    log_answered(c, p->method, p->authority, ret->status, grant_reason_text(ret->reason));
    return false;
}

static void begin_request(struct h2_stream *s)
{
    struct conn *c = s->conn;
    struct ingress *i = c->i;
    struct http_field fields[HTTP_FIELDS_MAX + 1];
    char peer[80];
    size_t count;
    struct parts p = sort_fields(s, fields, &count);
    s->headed = c->begun = true;
    s->head_request = bytes_are(p.method, "HEAD");
    room_count(i, INGRESS_COUNT_requests_total, 1);
    conn_peer_text(c, peer, sizeof peer);
    s->owes_continue = p.expects && !s->request_ended;
    struct http_request r = {
        .flags = (s->owes_continue ? HTTP_EXPECTS_CONTINUE : 0) |
                 (s->request_ended ? HTTP_NO_BODY : 0) | (c->tls != NULL ? HTTP_SECURE : 0),
        .method = p.method,
        .authority = p.authority.size > 0 ? p.authority : bytes_of(i->start.authority),
        .target = p.path,
        .peer = bytes_of(peer),
        .connect_timeout_ns = HTTP_NO_TIMEOUT,
        .first_byte_timeout_ns = HTTP_NO_TIMEOUT,
        .between_bytes_timeout_ns = HTTP_NO_TIMEOUT,
        .fields = fields,
        .field_count = count,
    };
    uint16_t status = refusal(s, &p, &r);
    struct problem misdirected = { 0 };
    bool agrees = !is_proxy(i) || status != 0 || in_its_tunnel(c, &p, &r, &misdirected);
    if (status != 0) {
        room_count(i, INGRESS_COUNT_requests_malformed_total, 1);
        log_refused(c, status, "not a request that HTTP allows");
    } else if (agrees && exchange_new(c, &h2_owner, s, 20, &r, &s->x) != 0) {
        room_count(i, INGRESS_COUNT_requests_refused_total, 1);
        status = 503;
    }
    /* What follows now can only be trailers. A stream lives as long as its client likes, its head does not. */
    buf_done(&s->text);
    s->field_count = 0;
    if (!agrees)
        h2_answer_problem(s, &misdirected);
    else if (status != 0)
        h2_answer(s, status);
}

/* ---- what nghttp2 tells ---- */

static bool spend(struct conn *c, int32_t cost)
{
    struct h2 *h = c->h2;
#ifdef AMBIT_TEST_HOOKS
    if (c->i->start.test_skip & INGRESS_SKIP_H2_FLOODS)
        return true;
#endif
    h->credit -= cost;
    if (h->credit > 0 || h->going)
        return h->credit > -H2_CREDIT_MAX;
    h->going = true;
    room_count(c->i, INGRESS_COUNT_requests_malformed_total, 1);
    (void)nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
    return true;
}

/* Of frames that it does not know nghttp2 tells no more than that they begin. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *context)
{
    return head->type > NGHTTP2_CONTINUATION && !spend(context, 1) ? NGHTTP2_ERR_CALLBACK_FAILURE
                                                                   : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *f, void *context)
{
    struct conn *c = context;
    struct h2 *h = c->h2;
    if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    h->credit = MIN(h->credit + 10, H2_CREDIT_MAX);
    struct h2_stream *s = stream_new(c, f->hd.stream_id);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    (void)nghttp2_session_set_stream_user_data(session, f->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *context)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
    if (s == NULL || s->too_large)
        return 0;
    s->too_large =
        s->field_count == HTTP_FIELDS_MAX || s->text.size + name_size + value_size > HTTP_HEAD_MAX;
    if (s->too_large)
        return 0;
    s->fields[s->field_count].name = (uint32_t)s->text.size;
    s->fields[s->field_count].name_size = (uint32_t)name_size;
    buf_append(&s->text, name, name_size);
    s->fields[s->field_count].value = (uint32_t)s->text.size;
    s->fields[s->field_count].value_size = (uint32_t)value_size;
    buf_append(&s->text, value, value_size);
    s->too_large = buf_status(&s->text) < 0;
    s->field_count += !s->too_large;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *context)
{
    struct conn *c = context;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
    bool idle = f->hd.type != NGHTTP2_HEADERS &&
                (f->hd.type != NGHTTP2_DATA || f->hd.length <= f->data.padlen);
    if (idle && !spend(c, f->hd.type == NGHTTP2_RST_STREAM ? 10 : 1))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (s != NULL && f->hd.type == NGHTTP2_RST_STREAM)
        s->reset = true;
    if (s == NULL || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
        return 0;
    if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
        s->request_ended = true;
    if (f->hd.type == NGHTTP2_HEADERS && !s->headed)
        begin_request(s);
    else if (s->request_ended) {
        if (s->too_large)
            s->field_count = 0;
        h2_push(s);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *context)
{
    struct conn *c = context;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    c->h2->credit = MIN(c->h2->credit + 4, H2_CREDIT_MAX);
    if (s == NULL)
        return nghttp2_session_consume_connection(session, size) != 0 ? NGHTTP2_ERR_CALLBACK_FAILURE
                                                                      : 0;
    buf_append(&s->in, data, size);
    if (buf_status(&s->in) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE; /* no memory, or more than the window */
    h2_push(s);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (s == NULL)
        return 0;
    if (s->in.size > 0)
        (void)nghttp2_session_consume_connection(session, s->in.size);
    (void)nghttp2_session_set_stream_user_data(session, id, NULL);
    /* Cheap for the client, and an instance was begun for nothing. */
    bool mistake = code != NGHTTP2_NO_ERROR && !s->reset;
    stream_free(s);
    return mistake && !spend(context, 30) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- the session ---- */

static int make_session(struct conn *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int r = nghttp2_session_callbacks_new(&callbacks);
    if (r == 0)
        r = nghttp2_option_new(&option);
    if (r == 0) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_max_outbound_ack(option, 200);
        nghttp2_option_set_max_settings(option, 32);
        nghttp2_option_set_max_continuations(option, 8);
        nghttp2_option_set_stream_reset_rate_limit(option, 200, 50);
        nghttp2_option_set_max_send_header_block_length(option, 2 * HTTP_HEAD_MAX);
        r = nghttp2_session_server_new2(&c->h2->session, callbacks, c, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return r;
}

bool h2_begin(struct conn *c, const uint8_t *bytes, size_t size)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
    };
    struct h2 *h = mem_zalloc(sizeof *h);
    if (h == NULL)
        return false;
    list_init(&h->streams);
    h->out = (struct buf)BUF_INIT(4 * H2_OUT_ENOUGH);
    h->credit = H2_CREDIT_MAX;
    c->h2 = h;
    if (make_session(c) != 0 ||
        nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) !=
            0 ||
        nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)H2_CONNECTION_WINDOW) != 0)
        return false;
    return size == 0 || nghttp2_session_mem_recv(h->session, bytes, size) == (ssize_t)size;
}

void h2_free(struct conn *c)
{
    struct h2 *h = c->h2;
    while (!list_empty(&h->streams))
        stream_free(LIST_OF(struct h2_stream, place, h->streams.next));
    nghttp2_session_del(h->session);
    buf_done(&h->out);
    mem_free(h);
    c->h2 = NULL;
}

/* Makes frames and writes them. 0 all is written, 1 the client takes no more now, < 0 gone. */
static int write_out(struct conn *c)
{
    struct h2 *h = c->h2;
    for (;;) {
        int r = conn_write_buf(c, &h->out, &h->out_sent);
        if (r != 0)
            return r;
        while (h->out.size < H2_OUT_ENOUGH) {
            const uint8_t *bytes;
            ssize_t n = nghttp2_session_mem_send(h->session, &bytes);
            if (n < 0)
                return -EIO;
            if (n == 0)
                break;
            buf_append(&h->out, bytes, (size_t)n);
        }
        if (buf_status(&h->out) < 0)
            return -ENOMEM;
        if (h->out.size == 0)
            return 0;
    }
}

void h2_work(struct conn *c)
{
    struct h2 *h = c->h2;
    struct ingress *i = c->i;
    int r = 0;
    if (i->draining && !h->going)
        h2_drain(c);
    for (int round = 0; round < 16; round++) {
        r = write_out(c);
        if (r != 0)
            break;
        ssize_t n = conn_read(c, i->read_ahead, sizeof i->read_ahead);
        if (n == 0)
            break;
        if (n < 0 || nghttp2_session_mem_recv(h->session, i->read_ahead, (size_t)n) != n) {
            /* What it did wrong is told by nghttp2's GOAWAY. */
            (void)!write_out(c);
            r = -EPIPE;
            break;
        }
        if (round == 15)
            conn_dirty(c);
    }
    bool idle = i->draining && h->stream_count == 0 && r == 0;
    if (r < 0 || (r == 0 && !nghttp2_session_want_read(h->session) &&
                  !nghttp2_session_want_write(h->session)))
        conn_close(c);
    else if (idle) {
        (void)nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
        (void)!write_out(c);
        conn_close(c);
    }
}

void h2_drain(struct conn *c)
{
    struct h2 *h = c->h2;
    if (!h->going)
        (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(h->session),
                                    NGHTTP2_NO_ERROR, NULL, 0);
    h->going = true;
    conn_dirty(c);
}

enum conn_wait h2_waits(const struct conn *c)
{
    const struct h2 *h = c->h2;
    enum conn_wait w = h->out.size > 0 ? WAIT_WRITE : WAIT_READ;
    if (h->stream_count == 0)
        return h->out.size > 0 ? WAIT_WRITE : c->begun ? WAIT_IDLE : WAIT_HEAD;
    for (struct list *at = h->streams.next; at != &h->streams; at = at->next) {
        const struct h2_stream *s = LIST_OF(struct h2_stream, place, at);
        if (!s->headed)
            return WAIT_HEAD;
        if (s->in.size > 0 || (s->x != NULL && (s->request_ended || s->x->request_ended) &&
                               s->out.size == 0 && !s->out_ended))
            return WAIT_NOTHING; /* the worker */
        if (s->out.size > 0)
            w = WAIT_WRITE;
    }
    return w;
}
