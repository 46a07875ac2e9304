/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker/host/http.c and the exchanges behind it, with the test as the egress room at the other end
 * of the link: what goes out and comes back, windows to the byte, denials of both rooms, and
 * nothing left over. A peer that breaks the protocol: test_worker_peer.c.
 */
#include "tests/unit/http_asking.h"

TEST(a_request_and_its_response)
{
    struct asking a;
    struct ambit_http_response r;
    struct ambit_http_error error;
    const struct ambit_pair *trailers;
    struct http_request got;
    uint8_t text[16];
    size_t size, count;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    CHECK_EQ(ask(&a, "GET", "/a/./%62?q=1", 0, &x, &error), 0);
    struct cursor c = far_expect(&a.far, HTTP_REQUEST, 1);
    CHECK_EQ(http_request_get(&c, a.far.fields, &got, NULL), 0);
    CHECK_EQ(got.flags, HTTP_NO_BODY | HTTP_SECURE);
    CHECK(bytes_are(got.method, "GET") && bytes_are(got.authority, "api.example.com"));
    CHECK(bytes_are(got.target, "/a/b?q=1")); /* canonical: what was decided is what is asked */
    CHECK_EQ(got.field_count, 1);
    CHECK(bytes_are(got.fields[0].value, "text/html"));
    CHECK(got.connect_timeout_ns == 1 && got.first_byte_timeout_ns == 2 &&
          got.between_bytes_timeout_ns == HTTP_NO_TIMEOUT);
    far_expect_nothing(&a.far);

    CHECK_EQ(a.v->http_response(a.g, x, &r, &error), AMBIT_PENDING);
    CHECK_EQ(a.v->wait(a.g, x, false, 7), AMBIT_PENDING);
    far_response(&a.far, 1, 201, false);
    near_take(&a.peer);
    CHECK_EQ(a.f.loop.operation_count, 0); /* it was told */
    CHECK_EQ(a.v->http_response(a.g, x, &r, &error), AMBIT_READY);
    CHECK_EQ(error.code, 0);
    CHECK_EQ(r.status, 201);
    CHECK_EQ(r.header_count, 1);
    CHECK_EQ(memcmp(r.headers[0].key.data, "content-type", 12), 0);

    CHECK_EQ(a.v->stream_read(a.g, x, text, sizeof(text), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 0);
    CHECK_EQ(a.v->wait(a.g, x, false, 8), AMBIT_PENDING);
    far_body(&a.far, 1, "hello", 5);
    near_take(&a.peer);
    CHECK_EQ(a.f.loop.operation_count, 0);
    CHECK_EQ(a.v->wait(a.g, x, false, 9), AMBIT_READY);
    CHECK_EQ(a.v->stream_read(a.g, x, text, 3, &size), AMBIT_STREAM_OK);
    CHECK(size == 3 && !memcmp(text, "hel", 3));
    far_end_body(&a.far, 1, "sum");
    near_take(&a.peer);
    CHECK_EQ(a.v->stream_read(a.g, x, text, sizeof(text), &size), AMBIT_STREAM_OK);
    CHECK(size == 2 && !memcmp(text, "lo", 2));
    CHECK_EQ(a.v->stream_read(a.g, x, text, sizeof(text), &size), AMBIT_STREAM_CLOSED);
    CHECK_EQ(a.v->http_trailers(a.g, x, &trailers, &count, &error), AMBIT_READY);
    CHECK_EQ(error.code, 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(memcmp(trailers[0].value.data, "sum", 3), 0);
    CHECK_EQ(a.peer.count, 0); /* over */
    a.v->http_drop(a.g, x);
    far_expect_nothing(&a.far);
    CHECK_EQ(a.g->uses[0].count, 1);
    CHECK_EQ(a.g->uses[0].bytes_read, 5);
    CHECK_EQ(a.f.denials, 0);
    asking_close(&a);
}

TEST(denied_before_anything_goes_out)
{
    static const struct {
        const char *method, *authority, *target;
        unsigned code;
        const char *grant; /* a part of the proposal; NULL: none helps */
    } rows[] = {
        { "GET", "api.example.com", "/b?secret=1", HTTP_ERROR_REQUEST_DENIED, "/b" },
        { "DELETE", "api.example.com", "/a/b", HTTP_ERROR_REQUEST_DENIED, "DELETE" },
        { "GET", "evil.example", "/a/b", HTTP_ERROR_REQUEST_DENIED, "evil.example" },
        { "GET", "api.example.com:444", "/a/b", HTTP_ERROR_REQUEST_DENIED, ":444" },
        { "GET", "api.example.com", "/a/..%2fb", HTTP_ERROR_REQUEST_URI_INVALID, NULL },
        { "GET", "2130706433", "/a/b", HTTP_ERROR_REQUEST_URI_INVALID, NULL },
        { "GET", "user@api.example.com", "/a/b", HTTP_ERROR_REQUEST_URI_INVALID, NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct asking a;
        struct ambit_http_error error;
        uint32_t x = 0;
        asking_open(&a, ALLOW);
        struct ambit_http_request r = request_of(rows[i].method, rows[i].authority, rows[i].target);
        CHECK_EQ(a.v->http_send(a.g, &r, 0, &x, &error), 1);
        CHECK_EQ(error.code, rows[i].code);
        CHECK_EQ(x, 0);
        far_expect_nothing(&a.far);
        CHECK_EQ(a.f.denials, 1);
        CHECK_STR(a.f.operations[0], rows[i].method);
        CHECK(!strstr(a.f.resources[0], "secret"));
        if (rows[i].grant)
            CHECK_HAS(a.f.yaml[0], rows[i].grant);
        else
            CHECK_STR(a.f.yaml[0], "");
        CHECK_EQ(a.v->http_send(a.g, &r, 0, &x, &error), 1); /* counted, not told again */
        CHECK_EQ(a.f.denials, 1);
        CHECK_EQ(a.g->denials->total, 2);
        asking_close(&a);
    }
}

TEST(without_a_link_there_is_no_grant)
{
    struct fixture f;
    struct ambit_http_error error;
    struct ambit_http_request r = request_of("GET", "api.example.com", "/a/b");
    uint32_t x = 0;
    fixture_open(&f, "grants:\n- stdio: [stdout]\n");
    CHECK_EQ(f.v->http_send(f.guest, &r, 0, &x, &error), 1);
    CHECK_EQ(error.code, HTTP_ERROR_REQUEST_DENIED);
    CHECK_EQ(f.denials, 1);
    CHECK_HAS(f.yaml[0], "https://api.example.com");
    fixture_close(&f);
}

TEST(an_expired_grant)
{
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    guest_revoke(a.g, GRANT_EXPIRED);
    CHECK_EQ(ask(&a, "GET", "/a/b", 0, &x, &error), 1);
    CHECK_EQ(error.code, HTTP_ERROR_REQUEST_DENIED);
    CHECK_STR(a.f.yaml[0], "");
    asking_close(&a);
}

TEST(what_egress_refuses_becomes_a_denial)
{
    static const struct {
        enum http_error error;
        enum grant_reason reason;
        const char *address, *grant;
    } rows[] = {
        { HTTP_ERROR_DESTINATION_IP_PROHIBITED, GRANT_NO_ADDRESS, "10.1.2.3", "10.1.2.3" },
        { HTTP_ERROR_DESTINATION_IP_PROHIBITED, GRANT_NEVER_ADDRESS, "169.254.169.254", NULL },
        { HTTP_ERROR_REQUEST_DENIED, GRANT_TOO_MANY, "", NULL },
        { HTTP_ERROR_REQUEST_DENIED, GRANT_RATE, "", NULL },
        { HTTP_ERROR_REQUEST_DENIED, GRANT_SECRET, "", NULL }, /* grants do allow it */
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct asking a;
        asking_open(&a, ALLOW);
        uint32_t x = get(&a);
        struct http_failure f = { .error = rows[i].error,
                                  .reason = rows[i].reason,
                                  .rule = 0,
                                  .number = UINT64_MAX,
                                  .address = bytes_of(rows[i].address) };
        far_abort(&a.far, 1, &f);
        near_take(&a.peer);
        CHECK_EQ(code_of_response(&a, x),
                 rows[i].reason == GRANT_SECRET ? HTTP_ERROR_INTERNAL : rows[i].error);
        CHECK_EQ(a.f.denials, 1);
        CHECK_EQ(a.g->denials->items[0].reason, rows[i].reason);
        CHECK_STR(a.f.operations[0], "GET");
        CHECK_STR(a.f.resources[0], "https://api.example.com/a/b");
        if (rows[i].grant)
            CHECK_HAS(a.f.yaml[0], rows[i].grant);
        else
            CHECK_STR(a.f.yaml[0], "");
        CHECK_EQ(a.peer.count, 0);
        asking_close(&a);
    }
}

/* What is kept of the URL ends within an escape: no URL any more, and told all the same. */
TEST(a_refusal_of_a_long_url)
{
    struct asking a;
    struct ambit_http_error error;
    char path[6001] = "/a/";
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    memset(path + 3, 'b', sizeof(path) - 4);
    for (size_t i = 3; i + 3 < sizeof(path); i += 3)
        memcpy(path + i, "%20", 3);
    path[3 + 3 * 1990] = '\0';
    for (int shift = 0; shift < 3; shift++) {
        CHECK_EQ(ask(&a, "GET", path, 0, &x, &error), 0);
        struct http_failure f = { .error = HTTP_ERROR_DESTINATION_IP_PROHIBITED,
                                  .reason = GRANT_NO_ADDRESS,
                                  .number = UINT64_MAX,
                                  .address = bytes_of("10.1.2.3") };
        far_abort(&a.far, (uint64_t)shift + 1, &f);
        near_take(&a.peer);
        CHECK_EQ(a.f.denials, shift + 1);
        CHECK_STR(a.f.yaml[shift], "");
        memmove(path + 4, path + 3, sizeof(path) - 5);
        path[3] = 'b';
    }
    asking_close(&a);
}

TEST(an_abort_without_a_denial)
{
    struct asking a;
    uint8_t text[8];
    size_t size;
    struct ambit_http_error error;
    asking_open(&a, ALLOW);
    uint32_t x = get(&a);
    far_response(&a.far, 1, 200, false);
    far_body(&a.far, 1, "part", 4);
    struct http_failure f = { .error = HTTP_ERROR_RESPONSE_INCOMPLETE,
                              .number = 77,
                              .text = bytes_of("cut") };
    far_abort(&a.far, 1, &f);
    near_take(&a.peer);
    CHECK_EQ(code_of_response(&a, x), 0); /* the head came */
    CHECK_EQ(a.v->stream_read(a.g, x, text, sizeof(text), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 4);
    CHECK_EQ(a.v->stream_read(a.g, x, text, sizeof(text), &size), AMBIT_STREAM_FAILED);
    CHECK(a.v->http_stream_error(a.g, x, &error));
    CHECK_EQ(error.code, HTTP_ERROR_RESPONSE_INCOMPLETE);
    CHECK_EQ(error.number, 77);
    CHECK_EQ(error.text.size, 3);
    CHECK_EQ(a.f.denials, 0);
    asking_close(&a);
}

/* ---- bodies that go out ---- */

TEST(a_body_goes_as_far_as_its_window)
{
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    uint32_t body = a.v->http_body_new(a.g, UINT64_MAX);
    CHECK(body);
    CHECK_EQ(permit(&a, body), HTTP_WINDOW_START); /* held until it is sent */
    CHECK_EQ(a.v->stream_write(a.g, body, block, 1000), AMBIT_STREAM_OK);
    CHECK_EQ(permit(&a, body), HTTP_WINDOW_START - 1000);
    CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
    struct cursor c = far_expect(&a.far, HTTP_REQUEST, 1);
    CHECK_EQ(cursor_u32(&c) & HTTP_NO_BODY, 0);
    c = far_expect(&a.far, HTTP_BODY, 1);
    CHECK_EQ(cursor_left(&c), 1000);
    CHECK_EQ(permit(&a, body), HTTP_WINDOW_START - 1000);
    CHECK_EQ(a.v->stream_write(a.g, body, block, HTTP_WINDOW_START - 1000), AMBIT_STREAM_OK);
    c = far_expect(&a.far, HTTP_BODY, 1);
    CHECK_EQ(cursor_left(&c), HTTP_WINDOW_START - 1000);
    CHECK_EQ(permit(&a, body), 0);
    CHECK_EQ(a.v->wait(a.g, body, true, 5), AMBIT_PENDING);
    far_window(&a.far, 1, 0);
    near_take(&a.peer);
    CHECK_EQ(permit(&a, body), 0);
    far_window(&a.far, 1, 17);
    near_take(&a.peer);
    CHECK_EQ(a.f.loop.operation_count, 0);
    CHECK_EQ(permit(&a, body), 17);
    CHECK_EQ(a.v->stream_write(a.g, body, block, 17), AMBIT_STREAM_OK);
    c = far_expect(&a.far, HTTP_BODY, 1);
    CHECK_EQ(cursor_left(&c), 17);
    struct ambit_pair trailer = { bytes("x-sum"), bytes("1") };
    CHECK_EQ(a.v->http_body_finish(a.g, body, &trailer, 1, &error), 0);
    size_t count;
    c = far_expect(&a.far, HTTP_END, 1);
    CHECK_EQ(http_fields_get(&c, a.far.fields, &count, NULL), 0);
    CHECK_EQ(count, 1);
    far_expect_nothing(&a.far);
    CHECK_EQ(a.g->uses[0].bytes_written, HTTP_WINDOW_START + 17);
    CHECK(!a.g->ended);
    /* Beyond the permit is a bug of the engine. */
    uint32_t other = a.v->http_body_new(a.g, UINT64_MAX);
    CHECK_EQ(a.v->stream_write(a.g, other, block, HTTP_WINDOW_START + 1), AMBIT_STREAM_END);
    CHECK_EQ(a.g->done.end, RUN_END_FAULT);
    asking_close(&a);
}

TEST(a_body_that_was_finished_before_it_was_sent)
{
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    uint32_t body = a.v->http_body_new(a.g, 3);
    CHECK_EQ(a.v->stream_write(a.g, body, block, 3), AMBIT_STREAM_OK);
    CHECK_EQ(a.v->http_body_finish(a.g, body, NULL, 0, &error), 0);
    CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
    far_expect(&a.far, HTTP_REQUEST, 1);
    far_expect(&a.far, HTTP_BODY, 1);
    far_expect(&a.far, HTTP_END, 1);
    /* Never sent: nothing is left of it either. */
    uint32_t unsent = a.v->http_body_new(a.g, UINT64_MAX);
    CHECK_EQ(a.v->stream_write(a.g, unsent, block, 3), AMBIT_STREAM_OK);
    a.v->http_body_unsent(a.g, unsent);
    size_t size;
    CHECK_EQ(a.v->stream_check_write(a.g, unsent, &size), AMBIT_STREAM_CLOSED);
    a.v->http_body_abandon(a.g, unsent);
    CHECK_EQ(a.g->handles.live, 1); /* the exchange */
    /* Denied: the same. */
    uint32_t denied = a.v->http_body_new(a.g, UINT64_MAX);
    CHECK_EQ(ask(&a, "POST", "/b", denied, &x, &error), 1);
    CHECK_EQ(a.v->stream_check_write(a.g, denied, &size), AMBIT_STREAM_CLOSED);
    CHECK_EQ(a.v->http_body_finish(a.g, denied, NULL, 0, &error), 0);
    CHECK_EQ(a.g->handles.live, 1);
    CHECK(!a.g->ended);
    asking_close(&a);
}

TEST(a_body_whose_length_lies)
{
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    uint32_t body = a.v->http_body_new(a.g, 10);
    CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
    CHECK_EQ(a.v->stream_write(a.g, body, block, 3), AMBIT_STREAM_OK);
    CHECK_EQ(a.v->http_body_finish(a.g, body, NULL, 0, &error), 1);
    CHECK_EQ(error.code, HTTP_ERROR_REQUEST_BODY_SIZE);
    CHECK_EQ(error.number, 3);
    far_expect(&a.far, HTTP_REQUEST, 1);
    far_expect(&a.far, HTTP_BODY, 1);
    CHECK_EQ(far_expect_abort(&a.far, 1).error, HTTP_ERROR_REQUEST_BODY_SIZE);
    CHECK_EQ(code_of_response(&a, x), HTTP_ERROR_REQUEST_BODY_SIZE);
    asking_close(&a);
}

TEST(an_abandoned_body_breaks_its_message)
{
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    uint32_t body = a.v->http_body_new(a.g, UINT64_MAX);
    CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
    a.v->http_body_abandon(a.g, body);
    far_expect(&a.far, HTTP_REQUEST, 1);
    CHECK_EQ(far_expect_abort(&a.far, 1).error, HTTP_ERROR_INTERNAL);
    /* Before it is sent, too. */
    body = a.v->http_body_new(a.g, UINT64_MAX);
    a.v->http_body_abandon(a.g, body);
    CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
    far_expect(&a.far, HTTP_REQUEST, 2);
    CHECK_EQ(far_expect_abort(&a.far, 2).error, HTTP_ERROR_INTERNAL);
    asking_close(&a);
}

TEST(a_peer_that_wants_no_more)
{
    struct asking a;
    struct ambit_http_error error;
    size_t size;
    uint32_t x = 0;
    asking_open(&a, ALLOW);
    uint32_t body = a.v->http_body_new(a.g, UINT64_MAX);
    CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
    far_begin(&a.far, 1);
    far_put(&a.far, HTTP_DISCARD);
    far_response(&a.far, 1, 200, true);
    near_take(&a.peer);
    CHECK_EQ(a.v->stream_check_write(a.g, body, &size), AMBIT_STREAM_CLOSED);
    CHECK_EQ(a.v->http_body_finish(a.g, body, NULL, 0, &error), 0);
    CHECK_EQ(code_of_response(&a, x), 0);
    far_expect(&a.far, HTTP_REQUEST, 1);
    far_expect_nothing(&a.far); /* no END after DISCARD */
    asking_close(&a);
}

/* ---- bodies that come ---- */

TEST(what_is_read_is_given_back)
{
    struct asking a;
    static uint8_t into[HTTP_WINDOW_START];
    size_t size, back = 0, read = 0;
    asking_open(&a, ALLOW);
    uint32_t x = get(&a);
    far_expect(&a.far, HTTP_REQUEST, 1);
    far_response(&a.far, 1, 200, false);
    far_body(&a.far, 1, block, HTTP_WINDOW_START - 1);
    far_body(&a.far, 1, block, 1); /* the window, to the byte */
    near_take(&a.peer);
    far_expect_nothing(&a.far); /* who does not read gets no more */
    while (read < HTTP_WINDOW_START) {
        CHECK_EQ(a.v->stream_read(a.g, x, into, 1000, &size), AMBIT_STREAM_OK);
        CHECK(size > 0);
        read += size;
        struct cursor c;
        uint64_t number;
        while (far_get(&a.far, &number, &c) == HTTP_WINDOW)
            back += cursor_u32(&c);
        CHECK(back <= read);
    }
    CHECK_EQ(back, 51000); /* in steps, so that small reads cost few frames */
    far_body(&a.far, 1, block, back);
    near_take(&a.peer);
    CHECK(a.peer.link != NULL);
    CHECK_EQ(a.v->stream_read(a.g, x, into, sizeof(into), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, back);
    struct cursor c = far_expect(&a.far, HTTP_WINDOW, 1);
    CHECK_EQ(cursor_u32(&c), HTTP_WINDOW_START); /* what was kept back before, too */
    asking_close(&a);
}

TEST(trailers_alone_throw_the_body_away)
{
    struct asking a;
    struct ambit_http_error error;
    const struct ambit_pair *trailers;
    size_t count;
    asking_open(&a, ALLOW);
    uint32_t x = get(&a);
    far_expect(&a.far, HTTP_REQUEST, 1);
    far_response(&a.far, 1, 200, false);
    far_body(&a.far, 1, block, HTTP_WINDOW_START);
    near_take(&a.peer);
    CHECK_EQ(a.v->http_trailers(a.g, x, &trailers, &count, &error), AMBIT_PENDING);
    struct cursor c = far_expect(&a.far, HTTP_WINDOW, 1);
    CHECK_EQ(cursor_u32(&c), HTTP_WINDOW_START);
    far_body(&a.far, 1, block, 20000);
    far_end_body(&a.far, 1, NULL);
    CHECK_EQ(a.v->wait(a.g, x, false, 3), AMBIT_PENDING);
    near_take(&a.peer);
    CHECK_EQ(a.f.loop.operation_count, 0);
    CHECK_EQ(a.v->http_trailers(a.g, x, &trailers, &count, &error), AMBIT_READY);
    CHECK_EQ(error.code, 0);
    CHECK_EQ(count, 0);
    asking_close(&a);
}

TEST(a_drop_cancels)
{
    struct asking a;
    asking_open(&a, ALLOW);
    uint32_t x = get(&a);
    far_expect(&a.far, HTTP_REQUEST, 1);
    a.v->http_drop(a.g, x);
    CHECK_EQ(far_expect_abort(&a.far, 1).error, HTTP_OK);
    /* What is under way still is ignored. */
    far_response(&a.far, 1, 200, false);
    far_body(&a.far, 1, block, HTTP_WINDOW_START);
    far_body(&a.far, 1, block, HTTP_WINDOW_START);
    far_end_body(&a.far, 1, NULL);
    near_take(&a.peer);
    CHECK(a.peer.link != NULL);
    CHECK_EQ(a.g->handles.live, 0);
    asking_close(&a);
}

TEST(a_new_link_is_a_new_beginning)
{
    struct asking a;
    struct far_end far;
    struct error e = ERROR_INIT;
    asking_open(&a, ALLOW);
    uint32_t x = get(&a), y = get(&a);
    CHECK_EQ(a.v->wait(a.g, x, false, 1), AMBIT_PENDING);
    CHECK_EQ(http_peer_attach(&a.peer, &a.f.loop, far_open(&far), &e), 0);
    CHECK_EQ(a.f.loop.operation_count, 0);
    CHECK_EQ(code_of_response(&a, x), HTTP_ERROR_CONNECTION_TERMINATED);
    CHECK_EQ(code_of_response(&a, y), HTTP_ERROR_CONNECTION_TERMINATED);
    uint32_t z = get(&a);
    far_expect(&far, HTTP_REQUEST, 1);
    far_response(&far, 1, 204, true);
    near_take(&a.peer);
    CHECK_EQ(code_of_response(&a, z), 0);
    far_close(&far);
    asking_close(&a);
}

/* ---- many, much ---- */

TEST(a_thousand_exchanges_leave_nothing)
{
    struct asking a;
    asking_open(&a, ALLOW);
    long live = 0;
    for (uint64_t n = 1; n <= 1000; n++) {
        struct ambit_http_error error;
        uint32_t x = 0;
        uint8_t into[16];
        size_t size;
        uint32_t body = a.v->http_body_new(a.g, UINT64_MAX);
        CHECK_EQ(ask(&a, "POST", "/a/b", body, &x, &error), 0);
        CHECK_EQ(a.v->stream_write(a.g, body, block, 100), AMBIT_STREAM_OK);
        CHECK_EQ(a.v->http_body_finish(a.g, body, NULL, 0, &error), 0);
        far_response(&a.far, n, 200, false);
        far_body(&a.far, n, "hello", 5);
        far_end_body(&a.far, n, n % 2 ? "t" : NULL);
        near_take(&a.peer);
        CHECK_EQ(a.v->stream_read(a.g, x, into, sizeof(into), &size), AMBIT_STREAM_OK);
        CHECK_EQ(a.v->stream_read(a.g, x, into, sizeof(into), &size), AMBIT_STREAM_CLOSED);
        a.v->http_drop(a.g, x);
        far_expect(&a.far, HTTP_REQUEST, n);
        far_expect(&a.far, HTTP_BODY, n);
        far_expect(&a.far, HTTP_END, n);
        far_expect_nothing(&a.far);
        CHECK_EQ(a.g->handles.live, 0);
        CHECK_EQ(a.peer.count, 0);
        if (n == 10)
            live = mem_live();
    }
    CHECK_EQ(mem_live(), live);
    asking_close(&a);
}

/* Nobody reads the link: bodies stop, small frames wait in order, and all of it arrives. */
TEST(a_link_that_is_full)
{
    enum { COUNT = 70 };
    struct asking a;
    uint32_t bodies[COUNT], exchanges[COUNT];
    uint64_t sent[COUNT] = { 0 }, got[COUNT + 1] = { 0 }, number;
    struct ambit_http_error error;
    struct cursor c;
    bool stopped = false;
    asking_open(&a, ALLOW);
    for (size_t i = 0; i < COUNT; i++) {
        bodies[i] = a.v->http_body_new(a.g, UINT64_MAX);
        CHECK_EQ(ask(&a, "POST", "/a/b", bodies[i], &exchanges[i], &error), 0);
        size_t size = permit(&a, bodies[i]);
        stopped |= size == 0;
        if (size)
            CHECK_EQ(a.v->stream_write(a.g, bodies[i], block, size), AMBIT_STREAM_OK);
        sent[i] += size;
    }
    CHECK(stopped); /* 70 windows are more than a ring */
    CHECK_EQ(a.v->wait(a.g, bodies[COUNT - 1], true, 1), AMBIT_PENDING);
    for (int round = 0; round < 100; round++) {
        unsigned kind;
        while ((kind = far_get(&a.far, &number, &c)) != 0)
            if (kind == HTTP_BODY)
                got[number] += cursor_left(&c);
        near_take(&a.peer);
    }
    CHECK_EQ(a.f.loop.operation_count, 0);
    CHECK_EQ(permit(&a, bodies[COUNT - 1]), HTTP_WINDOW_START);
    for (size_t i = 0; i < COUNT; i++)
        CHECK_EQ(got[i + 1], sent[i]);
    asking_close(&a);
}

/* A guest that opens and drops for ever fills no memory when egress hangs. */
TEST(a_hanging_egress_stops_new_requests)
{
    struct asking a;
    struct ambit_http_error error;
    int status = 0;
    uint32_t x = 0;
    unsigned n = 0;
    asking_open(&a, ALLOW);
    for (; status == 0 && n < 1000000; n++) {
        status = ask(&a, "GET", "/a/b", 0, &x, &error);
        if (status == 0)
            a.v->http_drop(a.g, x);
    }
    CHECK_EQ(status, 1);
    CHECK_EQ(error.code, HTTP_ERROR_CONNECTION_LIMIT_REACHED);
    CHECK(a.peer.backlog.size < HTTP_BACKLOG_BUSY + 1000);
    asking_close(&a);
}

TEST(handles_are_bounded)
{
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    asking_open(&a, "limits: { handles: 2 }\n" ALLOW);
    get(&a);
    get(&a);
    CHECK(ask(&a, "GET", "/a/b", 0, &x, &error) < 0);
    CHECK_EQ(a.g->done.limit, RUN_LIMIT_HANDLES);
    far_expect(&a.far, HTTP_REQUEST, 1);
    far_expect(&a.far, HTTP_REQUEST, 2);
    far_expect_nothing(&a.far); /* what could not be held was not asked */
    asking_close(&a);
}

TEST(heads_that_are_too_large)
{
    static char value[HTTP_HEAD_MAX];
    struct asking a;
    struct ambit_http_error error;
    uint32_t x = 0;
    memset(value, 'v', sizeof(value) - 1);
    asking_open(&a, ALLOW);
    struct ambit_pair headers[HTTP_FIELDS_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        headers[i] = (struct ambit_pair){ bytes("a"), bytes("b") };
    struct ambit_http_request r = request_of("GET", "api.example.com", "/a/b");
    r.headers = headers;
    r.header_count = ARRAY_SIZE(headers);
    CHECK_EQ(a.v->http_send(a.g, &r, 0, &x, &error), 1);
    CHECK_EQ(error.code, HTTP_ERROR_REQUEST_HEADER_SECTION_SIZE);
    r.header_count = 1;
    headers[0].value = bytes(value);
    CHECK_EQ(a.v->http_send(a.g, &r, 0, &x, &error), 1);
    headers[0].value.size -= 8; /* of name, method and target: GET /a/b a */
    CHECK_EQ(a.v->http_send(a.g, &r, 0, &x, &error), 0);
    near_take(&a.peer);
    struct http_request got;
    struct cursor c = far_expect(&a.far, HTTP_REQUEST, 1);
    CHECK_EQ(http_request_get(&c, a.far.fields, &got, NULL), 0);
    asking_close(&a);
}

static int asked_and_answered(void)
{
    struct fixture f;
    struct http_peer peer;
    struct ambit_http_error error;
    struct ambit_http_request r = request_of("POST", "api.example.com", "/a/b");
    uint32_t x = 0;
    int fds[LINK_FDS], other[LINK_FDS];
    struct link *near = NULL;
    int status = fixture_try(&f, ALLOW, -1, -1, -1);
    http_peer_init(&peer, true);
    if (status == 0 && (status = link_make(fds, other, NULL)) == 0) {
        for (size_t i = 0; i < LINK_FDS; i++)
            fd_close(other[i]);
        status = link_open(fds, &near, NULL);
    }
    if (status == 0)
        status = http_peer_attach(&peer, &f.loop, near, NULL);
    if (status == 0) {
        f.guest->commons.egress = &peer;
        uint32_t body = f.v->http_body_new(f.guest, UINT64_MAX);
        if (body && f.v->stream_write(f.guest, body, block, 10) == AMBIT_STREAM_OK &&
            f.v->http_send(f.guest, &r, body, &x, &error) == 0 &&
            f.v->http_body_finish(f.guest, body, NULL, 0, &error) == 0)
            f.v->http_drop(f.guest, x);
        status = f.guest->ended || peer.broken ? -ENOMEM : 0;
    }
    if (f.guest)
        host_close_all(f.guest);
    if (peer.loop)
        http_peer_done(&peer);
    guest_free(f.guest);
    loop_done(&f.loop);
    grant_rules_free(f.rules);
    return status;
}

TEST(memory_failures)
{
    TORTURE(asked_and_answered());
}

TEST_MAIN()
