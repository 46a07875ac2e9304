/* SPDX-License-Identifier: Apache-2.0 */
/* Placeholders: what is replaced in a field's value, and what is not. */
#include "egress/placeholder.h"
#include "tests/unit/test.h"

#define ONE "AMBIT_SECRET_one_0123456789abcdef"
#define TWO "AMBIT_SECRET_two_fedcba9876543210"

static struct placeholder all[] = { { (char *)"one", (char *)ONE },
                                    { (char *)"two", (char *)TWO } };

/* A value for "one" alone. */
static struct bytes value_of(void *context, const char *name)
{
    return strcmp(name, "one") == 0 ? bytes_of(context) : (struct bytes){ 0 };
}

static const char *filled(const char *value, int wanted, struct buf *out)
{
    buf_clear(out);
    CHECK_EQ(
        placeholder_fill(bytes_of(value), all, ARRAY_SIZE(all), value_of, (void *)"VALUE", out),
        wanted);
    return buf_cstr(out);
}

TEST(values_are_filled)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
    CHECK_STR(filled("", 0, &out), "");
    CHECK_STR(filled("Bearer " ONE, 1, &out), "Bearer VALUE");
    CHECK_STR(filled(ONE "," ONE, 2, &out), "VALUE,VALUE");
    CHECK_STR(filled("a " TWO " b " ONE, 1, &out), "a " TWO " b VALUE");
    CHECK_STR(filled("AMBIT_SECRET_one_0123456789abcde", 0, &out),
              "AMBIT_SECRET_one_0123456789abcde");
    CHECK_STR(filled("AMBIT_SECRET_AMBIT_SECRET_one_0123456789abcdef", 1, &out),
              "AMBIT_SECRET_VALUE");
    /* "u:" ONE, "u:VALUE" in base64 */
    CHECK_STR(filled("Basic dTpBTUJJVF9TRUNSRVRfb25lXzAxMjM0NTY3ODlhYmNkZWY=", 1, &out),
              "Basic dTpWQUxVRQ==");
    CHECK_STR(filled("bAsIc dTpBTUJJVF9TRUNSRVRfb25lXzAxMjM0NTY3ODlhYmNkZWY=", 1, &out),
              "Basic dTpWQUxVRQ==");
    CHECK_STR(filled("Basic !!!!", 0, &out), "Basic !!!!");
    CHECK_STR(filled("Basic dTpwYXNz", 0, &out), "Basic dTpwYXNz");
    CHECK_STR(filled("Basic ", 0, &out), "Basic ");
    CHECK_STR(filled("Basic " ONE, 1, &out), "Basic VALUE");
}

TEST(sets_are_read)
{
    static const char *const bad[] = { "x",
                                       "[]",
                                       "{\"a\": 1}",
                                       "{\"a\": \"AMBIT_SECRET_a\"}",
                                       "{\"a\": \"0123456789012345678901234567890123456789\"}",
                                       "{\"a\": \"" ONE "\", \"a\": \"" TWO "\"}" };
    struct placeholder *got;
    size_t count;
    CHECK_EQ(placeholders_parse("", &got, &count, NULL), 0);
    CHECK(!got && count == 0);
    CHECK_EQ(placeholders_parse("{\"one\": \"" ONE "\", \"two\": \"" TWO "\"}", &got, &count, NULL),
             0);
    CHECK_EQ(count, 2);
    CHECK_STR(got[1].token, TWO);
    placeholders_free(got, count);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_EQ(placeholders_parse(bad[i], &got, &count, NULL), -EBADMSG);
}
TEST_MAIN()
