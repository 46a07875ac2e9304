/* SPDX-License-Identifier: Apache-2.0 */
/* wire/http.h: payloads of the frames of exchanges. */
#include "wire/http.h"

#include "tests/unit/test.h"

static struct http_field fields[HTTP_FIELDS_MAX];

static struct http_request request(void)
{
    static struct http_field given[2];
    given[0] = (struct http_field){ bytes_of("accept"), bytes_of("*/*") };
    given[1] = (struct http_field){ bytes_of("x-empty"), bytes_of("") };
    return (struct http_request){ HTTP_SECURE | HTTP_NO_BODY,
                                  bytes_of("GET"),
                                  bytes_of("example.com"),
                                  bytes_of("/a?b"),
                                  bytes_of("[::1]:9"),
                                  1,
                                  HTTP_NO_TIMEOUT,
                                  3,
                                  given,
                                  2 };
}

static int get_request(const struct buf *out, struct http_request *ret)
{
    struct cursor c = cursor_of(out->data, out->size);
    return http_request_get(&c, fields, ret, NULL);
}

static int through(const struct http_request *r)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 20);
    struct http_request got;
    http_request_put(&out, r);
    return buf_status(&out) < 0 ? buf_status(&out) : get_request(&out, &got);
}

TEST(request_comes_back)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    struct http_request r = request(), got;
    http_request_put(&out, &r);
    CHECK_EQ(get_request(&out, &got), 0);
    CHECK(got.flags == r.flags && bytes_are(got.method, "GET") &&
          bytes_are(got.authority, "example.com") && bytes_are(got.target, "/a?b") &&
          bytes_are(got.peer, "[::1]:9"));
    CHECK(got.connect_timeout_ns == 1 && got.first_byte_timeout_ns == HTTP_NO_TIMEOUT &&
          got.between_bytes_timeout_ns == 3);
    CHECK_EQ(got.field_count, 2);
    CHECK(bytes_are(got.fields[0].value, "*/*") && bytes_are(got.fields[1].name, "x-empty"));
    /* Cut anywhere, and one byte longer, it is none. */
    for (size_t size = 0; size < out.size; size++) {
        struct cursor c = cursor_of(out.data, size);
        CHECK_EQ(http_request_get(&c, fields, &got, NULL), -EBADMSG);
    }
    buf_u8(&out, 0);
    CHECK_EQ(get_request(&out, &got), -EBADMSG);
}

#define REJECTED(change)                   \
    do {                                   \
        struct http_request r = request(); \
        change;                            \
        CHECK_EQ(through(&r), -EBADMSG);   \
    } while (0)

TEST(requests_that_no_wire_would_carry)
{
    struct http_request good = request();
    CHECK_EQ(through(&good), 0);
    good.target = bytes_of("*");
    good.authority = bytes_of("");
    CHECK_EQ(through(&good), 0);
    good = request();
    good.flags = HTTP_UPGRADE | HTTP_SECURE;
    CHECK_EQ(through(&good), 0);
    REJECTED(r.flags = 16);
    REJECTED(r.flags = HTTP_UPGRADE | HTTP_NO_BODY);
    REJECTED(r.flags = HTTP_UPGRADE | HTTP_EXPECTS_CONTINUE);
    REJECTED(r.flags = HTTP_UPGRADE; r.method = bytes_of("POST"));
    REJECTED(r.method = bytes_of(""));
    REJECTED(r.method = bytes_of("GET /"));
    REJECTED(r.method = bytes_of("GET\r\n"));
    REJECTED(r.authority = bytes_of("a b"));
    REJECTED(r.authority = bytes_of("a\r\nb"));
    REJECTED(r.authority = ((struct bytes){ (const uint8_t *)"a\0b", 3 }));
    REJECTED(r.target = bytes_of(""));
    REJECTED(r.target = bytes_of("a"));
    REJECTED(r.target = bytes_of("/a b"));
    REJECTED(r.target = bytes_of("/a\nb"));
    REJECTED(r.peer = bytes_of("a\tb"));
    REJECTED(r.fields[0].name = bytes_of(""));
    REJECTED(r.fields[0].name = bytes_of("Accept"));
    REJECTED(r.fields[0].name = bytes_of("a:"));
    REJECTED(r.fields[0].name = bytes_of("a b"));
    REJECTED(r.fields[0].value = bytes_of("a\r\nx: y"));
    REJECTED(r.fields[0].value = bytes_of("a\nb"));
    REJECTED(r.fields[0].value = bytes_of(" a"));
    REJECTED(r.fields[0].value = bytes_of("a\t"));
    REJECTED(r.fields[0].value = bytes_of("\x7f"));
}

TEST(heads_that_are_too_large)
{
    static char long_text[HTTP_HEAD_MAX + 1];
    memset(long_text, 'a', HTTP_HEAD_MAX);
    struct http_request r = request();
    /* GET + /a?b + accept + x-empty + "" leave this much for a value */
    size_t fits = HTTP_HEAD_MAX - 3 - 4 - 6 - 7;
    r.fields[0].value = (struct bytes){ (const uint8_t *)long_text, fits };
    CHECK_EQ(through(&r), 0);
    r.fields[0].value.size++;
    CHECK_EQ(through(&r), -EBADMSG);

    static struct http_field many[HTTP_FIELDS_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = (struct http_field){ bytes_of("a"), bytes_of("b") };
    r.fields = many;
    r.field_count = HTTP_FIELDS_MAX;
    CHECK_EQ(through(&r), 0);
    r.field_count++;
    CHECK_EQ(through(&r), -EBADMSG);
    r = request();
    r.target = (struct bytes){ (const uint8_t *)long_text, HTTP_HEAD_MAX };
    long_text[0] = '/';
    CHECK_EQ(through(&r), -EBADMSG);
    r = request();
    r.authority = (struct bytes){ (const uint8_t *)long_text, 1025 };
    CHECK_EQ(through(&r), -EBADMSG);
}

TEST(response_comes_back)
{
    struct http_field f = { bytes_of("content-type"),
                            bytes_of("text/plain; charset=\"\xc3\xa9\"") };
    struct http_response r = { 200, true, &f, 1 }, got;
    static const uint16_t bad[] = { 0, 99, 600, 65535 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    http_response_put(&out, &r);
    struct cursor c = cursor_of(out.data, out.size);
    CHECK_EQ(http_response_get(&c, fields, &got, NULL), 0);
    CHECK(got.status == 200 && got.no_body && got.field_count == 1 &&
          bytes_equal(got.fields[0].value, f.value));
    out.data[2] = 2;
    c = cursor_of(out.data, out.size);
    CHECK_EQ(http_response_get(&c, fields, &got, NULL), -EBADMSG);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        r.status = bad[i];
        buf_clear(&out);
        http_response_put(&out, &r);
        c = cursor_of(out.data, out.size);
        CHECK_EQ(http_response_get(&c, fields, &got, NULL), -EBADMSG);
    }
}

TEST(failure_comes_back)
{
    struct http_failure f = {
        HTTP_ERROR_REQUEST_DENIED,           1, 2, 3, bytes_of("no\ngrant"), bytes_of("10.0.0.1"),
        bytes_of("- http: https://a.test\n")
    };
    struct http_failure got;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4000);
    http_failure_put(&out, &f);
    struct cursor c = cursor_of(out.data, out.size);
    CHECK_EQ(http_failure_get(&c, &got, NULL), 0);
    CHECK(got.error == f.error && got.reason == 1 && got.rule == 2 && got.number == 3 &&
          bytes_equal(got.text, f.text) && bytes_equal(got.address, f.address) &&
          bytes_equal(got.grant, f.grant));
    f.error = HTTP_ERROR_COUNT;
    buf_clear(&out);
    http_failure_put(&out, &f);
    c = cursor_of(out.data, out.size);
    CHECK_EQ(http_failure_get(&c, &got, NULL), -EBADMSG);
    /* A text that is too long is cut by the sender. */
    static char text[ERROR_TEXT_MAX + 10];
    memset(text, 'x', sizeof text);
    f.error = HTTP_ERROR_DNS;
    f.text = (struct bytes){ (const uint8_t *)text, sizeof text };
    buf_clear(&out);
    http_failure_put(&out, &f);
    c = cursor_of(out.data, out.size);
    CHECK_EQ(http_failure_get(&c, &got, NULL), 0);
    CHECK_EQ(got.text.size, ERROR_TEXT_MAX);
}

TEST(failure_with_a_grant_that_is_too_long)
{
    static char text[HTTP_GRANT_MAX + 1];
    memset(text, 'x', sizeof text);
    struct http_failure got, f = { .grant = { (const uint8_t *)text, HTTP_GRANT_MAX } };
    CLEANUP(buf_done) struct buf out = BUF_INIT(2 * HTTP_GRANT_MAX);
    http_failure_put(&out, &f);
    struct cursor c = cursor_of(out.data, out.size);
    CHECK_EQ(http_failure_get(&c, &got, NULL), 0);
    CHECK_EQ(got.grant.size, HTTP_GRANT_MAX);
    f.grant.size++;
    buf_clear(&out);
    http_failure_put(&out, &f);
    c = cursor_of(out.data, out.size);
    CHECK_EQ(http_failure_get(&c, &got, NULL), -EBADMSG);
}

TEST(error_names)
{
    for (enum http_error e = 0; e < HTTP_ERROR_COUNT; e++)
        CHECK(http_error_name(e) && *http_error_name(e));
    CHECK_EQ(HTTP_ERROR_INTERNAL, 39);
    CHECK_STR(http_error_name(HTTP_ERROR_INTERNAL), "internal-error");
    CHECK_STR(http_error_name(HTTP_ERROR_DNS_TIMEOUT), "DNS-timeout");
    CHECK_STR(http_error_name(HTTP_ERROR_COUNT), "unknown");
}

TEST_MAIN()
