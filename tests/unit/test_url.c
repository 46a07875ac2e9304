/* SPDX-License-Identifier: Apache-2.0 */
/* wire/url.h: the table of tests/vectors/url, and what it cannot say. */
#include "wire/url.h"

#include "tests/unit/vectors.h"

static void check_again(const struct url *u)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(40000);
    CLEANUP(buf_done) struct buf second = BUF_INIT(40000);
    CLEANUP(url_done) struct url again;
    url_init(&again);
    url_print(u, &text);
    CHECK_EQ(url_parse(&again, bytes_of(buf_cstr(&text)), NULL), 0);
    url_print(&again, &second);
    CHECK_STR(buf_cstr(&second), buf_cstr(&text));
}

static void check_row(struct vector *v)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(40000);
    CLEANUP(url_done) struct url u;
    struct error e = ERROR_INIT;
    url_init(&u);
    if (url_parse(&u, (struct bytes){ v->data.data, v->data.size }, &e) < 0) {
        CHECK_EQ(e.code, -EINVAL);
        buf_printf(&got, "error: %s", e.what);
        CHECK_EQ(u.target.size, 0);
    } else {
        url_print(&u, &got);
        check_again(&u);
    }
    const char *expected = buf_cstr(&v->expected);
    if (strcmp(expected, "ok") == 0)
        CHECK(!e.code);
    else if (strcmp(buf_cstr(&got), expected) != 0)
        test_fail(__FILE__, __LINE__, "%s: \"%.200s\" becomes \"%.200s\", not \"%.200s\"",
                  buf_cstr(&v->why), buf_cstr(&v->data), buf_cstr(&got), expected);
}

TEST(table)
{
    CHECK(vectors_read(TEST_SOURCE_ROOT "/tests/vectors/url/table", check_row) >= 150);
}

TEST(parts)
{
    CLEANUP(url_done) struct url u;
    url_init(&u);
    CHECK_EQ(url_set(&u, true, bytes_of("Example.COM:8443"), bytes_of("/a/./b?c=%7e"), NULL), 0);
    CHECK(u.https && u.port == 8443 && !u.is_address && u.has_query);
    CHECK_STR(u.host, "example.com");
    CHECK(bytes_are(u.path, "/a/b") && bytes_are(u.query, "c=~"));
    CHECK_STR(buf_cstr(&u.target), "/a/b?c=~");
    /* A failure leaves what was there. */
    CHECK_EQ(url_set(&u, false, bytes_of("x"), bytes_of("y"), NULL), -EINVAL);
    CHECK_STR(u.host, "example.com");
    CHECK_EQ(url_set(&u, false, bytes_of("[::0001]"), bytes_of("/?"), NULL), 0);
    CHECK(u.is_address && u.address.is_v6 && u.has_query && u.query.size == 0 && u.port == 80);
    CHECK_STR(u.host, "::1");
    CLEANUP(buf_done) struct buf text = BUF_INIT(100);
    url_authority(&u, &text);
    CHECK_STR(buf_cstr(&text), "[::1]");
    CHECK_EQ(url_set(&u, false, bytes_of("a"), bytes_of(""), NULL), 0);
    CHECK_STR(buf_cstr(&u.target), "/");
    CHECK_EQ(url_set(&u, false, bytes_of("a"), bytes_of("*"), NULL), -EINVAL);
    CHECK_EQ(url_set(&u, false, bytes_of(""), bytes_of("/"), NULL), -EINVAL);
    CHECK_EQ(url_set(&u, false, (struct bytes){ NULL, 0 }, (struct bytes){ NULL, 0 }, NULL),
             -EINVAL);
}

TEST(wildcards)
{
    char host[URL_HOST_MAX];
    bool is_address;
    struct address address;
    static const char *const good[][2] = { { "*.X.com", "*.x.com" },
                                           { "*.bücher.de", "*.xn--bcher-kva.de" },
                                           { "x.com", "x.com" } };
    static const char *const bad[] = { "*",       "*.",   "*x.com", "a.*.com", "*.*.com",
                                       "*.127.1", "*..a", "**.a",   "x.*",     "*.1.2.3.4" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CHECK_EQ(url_host_canonical(bytes_of(good[i][0]), true, host, &is_address, &address, NULL),
                 0);
        CHECK_STR(host, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (url_host_canonical(bytes_of(bad[i]), true, host, &is_address, &address, NULL) !=
            -EINVAL)
            test_fail(__FILE__, __LINE__, "%s is taken", bad[i]);
    CHECK_EQ(url_host_canonical(bytes_of("*.x.com"), false, host, &is_address, &address, NULL),
             -EINVAL);
}

static int parse(const char *text)
{
    CLEANUP(url_done) struct url u;
    url_init(&u);
    return url_parse(&u, bytes_of(text), NULL);
}

TEST(survives_no_memory)
{
    TORTURE(parse("http://example.com/a;b/../%41?c"));
    TORTURE(parse("http://[::1]/a%2fb"));
}

TEST_MAIN()
