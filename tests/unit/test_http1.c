/* SPDX-License-Identifier: Apache-2.0 */
/* wire/http1.h: the tables of tests/vectors/http1 at many ways of cutting, and what they cannot say. */
#include "tests/unit/http1_reading.h"
#include "tests/unit/vectors.h"
#include "wire/http1_hooks.h"

static enum http1_side side;
static const struct http1_limits small = { 400, 100, 5 };

static void read_row(struct reading *r, struct vector *v, size_t step, uint64_t seed)
{
    struct http1_parser p;
    memset(&p, 0xa5, sizeof p); /* http1_init() sets what matters */
    http1_init(&p, side, v->limits.size ? &small : NULL);
    if (v->answers.size)
        http1_expect(&p, bytes_of(buf_cstr(&v->answers)));
    struct bytes data = { v->data.data, v->data.size };
    if (seed)
        reading_of(r, &p, data, reading_random, &seed);
    else
        reading_of(r, &p, data, reading_steps, &step);
    CHECK_EQ(buf_status(&r->detail), 0);
}

static void check_same(struct vector *v, const struct reading *whole, size_t step, uint64_t seed)
{
    CLEANUP(reading_done) struct reading cut = READING_INIT;
    read_row(&cut, v, step, seed);
    if (cut.detail.size != whole->detail.size || cut.again.size != whole->again.size ||
        memcmp(cut.detail.data, whole->detail.data, cut.detail.size) != 0)
        test_fail(__FILE__, __LINE__, "%s: cut by %zu (seed %llu) it reads \"%.200s\"",
                  buf_cstr(&v->why), step, (unsigned long long)seed, buf_cstr(&cut.line));
}

static void check_printed(struct vector *v, struct reading *whole)
{
    CLEANUP(reading_done) struct reading again = READING_INIT;
    CLEANUP(vector_done) struct vector printed = VECTOR_INIT;
    buf_append(&printed.data, whole->again.data, whole->again.size);
    buf_append(&printed.answers, v->answers.data, v->answers.size);
    read_row(&again, &printed, SIZE_MAX / 2, 0);
    CHECK_STR(buf_cstr(&again.line), buf_cstr(&whole->line));
    CHECK(again.detail.size == whole->detail.size &&
          memcmp(again.detail.data, whole->detail.data, again.detail.size) == 0);
    CHECK(again.again.size == whole->again.size &&
          (again.again.size == 0 ||
           memcmp(again.again.data, whole->again.data, again.again.size) == 0));
}

/* "NAME" is a fault at once, "ok" an end without one, else the whole line. */
static void check_row(struct vector *v)
{
    CLEANUP(reading_done) struct reading whole = READING_INIT;
    read_row(&whole, v, SIZE_MAX / 2, 0);
    const char *expected = buf_cstr(&v->expected), *got = buf_cstr(&whole.line);
    bool good = strcmp(expected, "ok") == 0 ? whole.fault == 0 : strcmp(expected, got) == 0;
    if (!good)
        test_fail(__FILE__, __LINE__, "%s: it reads \"%.300s\", not \"%s\"", buf_cstr(&v->why), got,
                  expected);
    size_t steps = v->data.size < 600 ? v->data.size : 0;
    for (size_t step = 1; step < steps; step++)
        check_same(v, &whole, step, 0);
    for (uint64_t seed = 1; seed <= (steps ? 20 : 2); seed++)
        check_same(v, &whole, 0, seed);
    if (!whole.fault && whole.all_1_1)
        check_printed(v, &whole);
}

TEST(requests)
{
    side = HTTP1_REQUEST;
    CHECK(vectors_read(TEST_SOURCE_ROOT "/tests/vectors/http1/requests", check_row) >= 180);
}

TEST(responses)
{
    side = HTTP1_RESPONSE;
    CHECK(vectors_read(TEST_SOURCE_ROOT "/tests/vectors/http1/responses", check_row) >= 45);
}

static bool seen[HTTP1_FAULT_COUNT];

static void note_fault(struct vector *v)
{
    CLEANUP(reading_done) struct reading r = READING_INIT;
    read_row(&r, v, SIZE_MAX / 2, 0);
    seen[r.fault] = true;
}

TEST(every_fault_has_a_row)
{
    side = HTTP1_REQUEST;
    vectors_read(TEST_SOURCE_ROOT "/tests/vectors/http1/requests", note_fault);
    side = HTTP1_RESPONSE;
    vectors_read(TEST_SOURCE_ROOT "/tests/vectors/http1/responses", note_fault);
    for (enum http1_fault f = 1; f < HTTP1_FAULT_COUNT; f++) {
        if (!seen[f])
            test_fail(__FILE__, __LINE__, "no row is rejected for %s", http1_fault_name(f));
        CHECK(*http1_fault_text(f) && http1_fault_status(f) >= 400);
    }
}

/* Bytes one at a time: a head is never searched again from its start. The caller's bytes that were
 * looked at are poisoned, except what slices will need. */
TEST(looks_at_no_byte_twice_for_line_ends)
{
    enum { SIZE = 60000 };
    static struct http1_parser p;
    CLEANUP(mem_freep) uint8_t *head = mem_alloc(SIZE);
    int start = snprintf((char *)head, SIZE, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    memset(head + start, 'a', SIZE - (size_t)start);
    http1_init(&p, HTTP1_REQUEST, NULL);
    struct http1_event e;
    size_t used;
    for (size_t size = (size_t)start; size < SIZE; size++) {
        CHECK_EQ(http1_read(&p, head, size, &e, &used), HTTP1_MORE);
        CHECK_EQ(p.scanned, size);
        head[size - 1] = size > (size_t)start ? '\n' : head[size - 1]; /* it will not find them */
    }
}

TEST(slices_and_marks)
{
    static struct http1_parser p;
    static const char text[] = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: X-One, close\r\n"
                               "x-one: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nX-Two: 2\r\n"
                               "Proxy-Connection: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const bool hop[] = { false, true, true, true, true, false, true, true };
    struct http1_event e;
    size_t used;
    http1_init(&p, HTTP1_REQUEST, NULL);
    CHECK_EQ(http1_read(&p, (const uint8_t *)text, sizeof text - 1, &e, &used), HTTP1_HEAD);
    CHECK_EQ(used, sizeof text - 1);
    CHECK_EQ(e.head->field_count, ARRAY_SIZE(hop));
    for (size_t i = 0; i < ARRAY_SIZE(hop); i++)
        CHECK_EQ(e.head->hop_by_hop[i], hop[i]);
    CHECK(bytes_are(e.head->fields[5].name, "X-Two") && bytes_are(e.head->fields[5].value, "2"));
    CHECK(bytes_are(e.head->path, "/x") && bytes_are(e.head->authority, "a"));
}

TEST(body_is_given_as_it_comes)
{
    static struct http1_parser p;
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000000\r\n\r\n";
    static uint8_t body[65536];
    struct http1_event e;
    size_t used;
    uint64_t given = 0;
    http1_init(&p, HTTP1_REQUEST, NULL);
    CHECK_EQ(http1_read(&p, (const uint8_t *)head, sizeof head - 1, &e, &used), HTTP1_HEAD);
    CHECK_EQ(http1_read(&p, body, 0, &e, &used), HTTP1_MORE);
    while (given < 6000000000) {
        CHECK_EQ(http1_read(&p, body, sizeof body, &e, &used), HTTP1_DATA);
        CHECK(e.data.data == body && e.data.size == used);
        given += used;
    }
    CHECK_EQ(given, 6000000000);
    CHECK_EQ(http1_read(&p, body, 0, &e, &used), HTTP1_DONE);
    CHECK_EQ(http1_end(&p, &e), HTTP1_DONE);
    CHECK(!e.head);
}

TEST(names_and_values)
{
    CHECK(http1_token_valid(bytes_of("x-y")) && !http1_token_valid(bytes_of("")));
    for (unsigned c = 0; c < 256; c++) {
        uint8_t byte = (uint8_t)c, between[] = { 'a', byte, 'a' };
        struct bytes one = { &byte, 1 }, three = { between, 3 };
        bool token = c && (strchr("!#$%&'*+-.^_`|~", (int)c) || (c >= '0' && c <= '9') ||
                           ((c | 32) >= 'a' && (c | 32) <= 'z' && c < 128));
        CHECK_EQ(http1_token_valid(one), token);
        bool inside = c == '\t' || (c >= ' ' && c != 0x7f);
        CHECK_EQ(http1_value_valid(three), inside);
        CHECK_EQ(http1_value_valid(one), inside && c != ' ' && c != '\t');
    }
    CHECK(http1_value_valid(bytes_of("")));
    CHECK(bytes_equal_fold(bytes_of("HoSt"), "host") && !bytes_equal_fold(bytes_of("hos"), "host"));
    CHECK(!bytes_equal_fold(bytes_of("hosts"), "host") && bytes_equal_fold(bytes_of(""), ""));
}

TEST(printing)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    struct http_field f = { bytes_of("a"), bytes_of("b") };
    http1_print_response(&out, 404, &f, 1);
    http1_print_chunk(&out, bytes_of(""));
    http1_print_chunk(&out, bytes_of("0123456789abcdefg"));
    http1_print_chunk_head(&out, UINT64_MAX);
    http1_print_chunk_tail(&out);
    http1_print_last_chunk(&out, &f, 1);
    CHECK_STR(buf_cstr(&out),
              "HTTP/1.1 404 Not Found\r\na: b\r\n\r\n"
              "11\r\n0123456789abcdefg\r\nffffffffffffffff\r\n\r\n0\r\na: b\r\n\r\n");
    CHECK_STR(http1_reason(299), "");
    CHECK_STR(http1_reason(65535), "");
}

#ifdef AMBIT_TEST_HOOKS
/* The table notices when a defence is missing. */
TEST(negative_control)
{
    static struct http1_parser p;
    static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    struct http1_event e;
    size_t used;
    http1_lenient = UINT64_C(1) << HTTP1_FAULT_LENGTH_AND_CODING;
    http1_init(&p, HTTP1_REQUEST, NULL);
    CHECK_EQ(http1_read(&p, (const uint8_t *)text, sizeof text - 1, &e, &used), HTTP1_HEAD);
    http1_lenient = 0;
    http1_init(&p, HTTP1_REQUEST, NULL);
    CHECK_EQ(http1_read(&p, (const uint8_t *)text, sizeof text - 1, &e, &used), HTTP1_FAULT);
}
#endif

TEST_MAIN()
