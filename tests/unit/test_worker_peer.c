/* SPDX-License-Identifier: Apache-2.0 */
/* worker/frames.c: an egress room that breaks the protocol loses its link, and nobody is hurt. */
#include "tests/unit/http_asking.h"

enum lie {
    LIE_OVERRUN,
    LIE_UNKNOWN,
    LIE_ZERO,
    LIE_HEAD,
    LIE_STATUS,
    LIE_TWICE,
    LIE_EARLY_BODY,
    LIE_EARLY_END,
    LIE_AFTER_END,
    LIE_REQUEST,
    LIE_KIND,
    LIE_SHORT,
    LIE_LONG,
    LIE_WINDOW,
    LIE_TRAILERS,
    LIE_BODY_FRAME,
    LIE_COUNT
};

static void lie(struct asking *a, enum lie which)
{
    struct far_end *far = &a->far;
    if (which != LIE_EARLY_BODY && which != LIE_EARLY_END && which != LIE_HEAD &&
        which != LIE_STATUS)
        far_response(far, 1, 200, false);
    switch (which) {
    case LIE_OVERRUN:
        far_body(far, 1, block, HTTP_WINDOW_START);
        far_body(far, 1, block, 1);
        break;
    case LIE_UNKNOWN:
        far_body(far, 2, "x", 1);
        break;
    case LIE_ZERO:
        far_body(far, 0, "x", 1);
        break;
    case LIE_HEAD:
        buf_append(far_begin(far, 1), "\xc8\x00\x00\x01\x00\x01\x00\x00\x00\n\x00\x00\x00\x00", 14);
        far_put(far, HTTP_RESPONSE);
        break;
    case LIE_STATUS:
        far_response(far, 1, 103, false);
        break;
    case LIE_TWICE:
        far_response(far, 1, 200, false);
        break;
    case LIE_EARLY_BODY:
        far_body(far, 1, "x", 1);
        break;
    case LIE_EARLY_END:
        far_end_body(far, 1, NULL);
        break;
    case LIE_AFTER_END:
        far_end_body(far, 1, NULL);
        far_body(far, 1, "x", 1);
        break;
    case LIE_REQUEST:
        far_request(far, 2, 0, "/");
        break;
    case LIE_KIND:
        far_begin(far, 1);
        far_put(far, HTTP_FRAME_END);
        break;
    case LIE_SHORT:
        buf_clear(&far->payload);
        buf_u32(&far->payload, 1);
        far_put(far, HTTP_BODY);
        break;
    case LIE_LONG:
        buf_u64(far_begin(far, 1), 5);
        far_put(far, HTTP_WINDOW);
        break;
    case LIE_WINDOW:
        far_window(far, 1, HTTP_WINDOW_MAX);
        break;
    case LIE_TRAILERS:
        buf_u16(far_begin(far, 1), HTTP_FIELDS_MAX + 1);
        far_put(far, HTTP_END);
        break;
    case LIE_BODY_FRAME:
        far_body(far, 1, block, HTTP_BODY_FRAME_MAX + 1);
        break;
    case LIE_COUNT:
        break;
    }
}

TEST(who_breaks_the_protocol_loses_the_link)
{
    for (enum lie which = 0; which < LIE_COUNT; which++) {
        struct asking a;
        struct ambit_http_error error;
        uint32_t x = 0, late = 0;
        asking_open(&a, ALLOW);
        uint32_t body = a.v->http_body_new(a.g, UINT64_MAX);
        CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
        lie(&a, which);
        near_take(&a.peer);
        if (a.peer.link != NULL)
            test_fail(__FILE__, __LINE__, "lie %d was believed", which);
        CHECK_EQ(a.peer.count, 0);
        uint8_t byte;
        size_t size;
        enum ambit_stream_status status;
        while ((status = a.v->stream_read(a.g, x, &byte, 1, &size)) == AMBIT_STREAM_OK && size) {
        }
        if (which != LIE_AFTER_END) {
            CHECK_EQ(status, AMBIT_STREAM_FAILED);
            CHECK(a.v->http_stream_error(a.g, x, &error));
            CHECK_EQ(error.code, HTTP_ERROR_CONNECTION_TERMINATED);
        }
        CHECK_EQ(ask(&a, "GET", "/a/b", 0, &late, &error), 1);
        CHECK_EQ(error.code, HTTP_ERROR_CONNECTION_TERMINATED);
        CHECK(!a.g->ended);
        asking_close(&a);
    }
}

TEST_MAIN()
