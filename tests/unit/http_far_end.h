/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of a worker's link: a test plays the egress or the ingress room there. */
#pragma once

#include "room/link.h"
#include "tests/unit/test.h"
#include "wire/http.h"
#include "worker/exchange.h"

struct far_end {
    struct link *link;
    struct buf payload; /* for the next frame */
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Gives the near end. */
__attribute__((unused)) static struct link *far_open(struct far_end *far)
{
    int near_fds[LINK_FDS], far_fds[LINK_FDS];
    struct link *near;
    struct error e = ERROR_INIT;
    CHECK_EQ(link_make(near_fds, far_fds, &e), 0);
    CHECK_EQ(link_open(near_fds, &near, &e), 0);
    CHECK_EQ(link_open(far_fds, &far->link, &e), 0);
    far->payload = (struct buf)BUF_INIT(LINK_PAYLOAD_MAX);
    return near;
}

__attribute__((unused)) static void far_close(struct far_end *far)
{
    link_free(far->link);
    buf_done(&far->payload);
    far->link = NULL;
}

__attribute__((unused)) static struct buf *far_begin(struct far_end *far, uint64_t number)
{
    buf_clear(&far->payload);
    buf_u64(&far->payload, number);
    return &far->payload;
}

__attribute__((unused)) static void far_put(struct far_end *far, uint16_t kind)
{
    CHECK_EQ(buf_status(&far->payload), 0);
    CHECK_EQ(link_put(far->link, kind, (struct bytes){ far->payload.data, far->payload.size },
                      (struct bytes){ NULL, 0 }),
             0);
}

__attribute__((unused)) static void far_response(struct far_end *far, uint64_t number,
                                                 uint16_t status, bool no_body)
{
    struct http_field field = { bytes_of("content-type"), bytes_of("text/plain") };
    struct http_response r = {
        .status = status, .no_body = no_body, .fields = &field, .field_count = 1
    };
    http_response_put(far_begin(far, number), &r);
    far_put(far, HTTP_RESPONSE);
}

__attribute__((unused)) static void far_body(struct far_end *far, uint64_t number,
                                             const void *bytes, size_t size)
{
    buf_append(far_begin(far, number), bytes, size);
    far_put(far, HTTP_BODY);
}

__attribute__((unused)) static void far_end_body(struct far_end *far, uint64_t number,
                                                 const char *trailer)
{
    struct http_field field = { bytes_of("x-trailer"), bytes_of(trailer ? trailer : "") };
    http_fields_put(far_begin(far, number), &field, trailer != NULL);
    far_put(far, HTTP_END);
}

__attribute__((unused)) static void far_window(struct far_end *far, uint64_t number, uint32_t size)
{
    buf_u32(far_begin(far, number), size);
    far_put(far, HTTP_WINDOW);
}

__attribute__((unused)) static void far_abort(struct far_end *far, uint64_t number,
                                              const struct http_failure *f)
{
    http_failure_put(far_begin(far, number), f);
    far_put(far, HTTP_ABORT);
}

__attribute__((unused)) static void far_request(struct far_end *far, uint64_t number,
                                                uint32_t flags, const char *target)
{
    struct http_field field = { bytes_of("accept"), bytes_of("*/*") };
    struct http_request r = { .flags = flags,
                              .method = bytes_of("POST"),
                              .authority = bytes_of("here.example"),
                              .target = bytes_of(target),
                              .peer = bytes_of("127.0.0.1:1234"),
                              .connect_timeout_ns = HTTP_NO_TIMEOUT,
                              .first_byte_timeout_ns = HTTP_NO_TIMEOUT,
                              .between_bytes_timeout_ns = HTTP_NO_TIMEOUT,
                              .fields = &field,
                              .field_count = 1 };
    http_request_put(far_begin(far, number), &r);
    far_put(far, HTTP_REQUEST);
}

/* The next frame's kind and what follows its number, or 0: there is none. */
__attribute__((unused)) static unsigned far_get(struct far_end *far, uint64_t *ret_number,
                                                struct cursor *ret)
{
    struct frame f;
    struct error e = ERROR_INIT;
    int status = link_get(far->link, &f, &e);
    if (status == 0)
        return 0;
    CHECK_EQ(status, 1);
    *ret = cursor_of(f.payload, f.size);
    *ret_number = cursor_u64(ret);
    return f.kind;
}

/* The next frame is of this kind, about this exchange. */
__attribute__((unused)) static struct cursor far_expect(struct far_end *far, unsigned kind,
                                                        uint64_t number)
{
    struct cursor c = { 0 };
    uint64_t got = 0;
    CHECK_EQ(far_get(far, &got, &c), kind);
    CHECK_EQ(got, number);
    return c;
}

__attribute__((unused)) static void far_expect_nothing(struct far_end *far)
{
    struct cursor c;
    uint64_t number;
    CHECK_EQ(far_get(far, &number, &c), 0);
}

__attribute__((unused)) static struct http_failure far_expect_abort(struct far_end *far,
                                                                    uint64_t number)
{
    struct cursor c = far_expect(far, HTTP_ABORT, number);
    struct http_failure f;
    CHECK_EQ(http_failure_get(&c, &f, NULL), 0);
    return f;
}

/* What came for the worker. */
__attribute__((unused)) static void near_take(struct http_peer *p)
{
    struct error e = ERROR_INIT;
    CHECK_EQ(p->source.take(&p->source, &e), 0);
}
