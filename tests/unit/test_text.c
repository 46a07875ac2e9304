/* SPDX-License-Identifier: Apache-2.0 */
/* base/text.c and units.c: nothing untrusted reaches a terminal raw; units are strict and exact. */
#include "base/text.h"

#include "tests/unit/test.h"

struct escape {
    const char *bytes;
    size_t size;
    const char *line, *stream; /* text_escape; text_filter without colour */
};

#define BYTES(literal) literal, sizeof(literal) - 1

static const struct escape escapes[] = {
    { BYTES("plain text"), "plain text", "plain text" },
    { BYTES("a\nb\tc"), "a\\nb\\tc", "a\nb\tc" },
    { BYTES("a\\b"), "a\\\\b", "a\\b" },
    { BYTES("\033[31mred"), "\\x1b[31mred", "\\x1b[31mred" },
    { BYTES("\033]0;title\007"), "\\x1b]0;title\\x07", "\\x1b]0;title\\x07" },
    { BYTES("over\rwrite\b"), "over\\x0dwrite\\x08", "over\\x0dwrite\\x08" },
    { BYTES("nul\0x\177"), "nul\\x00x\\x7f", "nul\\x00x\\x7f" },
    { BYTES("\303\244\342\202\254\360\237\230\200"), "\303\244\342\202\254\360\237\230\200",
      "\303\244\342\202\254\360\237\230\200" },
    { BYTES("c1 \302\233"), "c1 \\u{9b}", "c1 \\u{9b}" },
    { BYTES("\342\200\256txt"), "\\u{202e}txt", "\\u{202e}txt" }, /* right-to-left override */
    { BYTES("a\342\200\213b"), "a\\u{200b}b", "a\\u{200b}b" },    /* zero-width space */
    { BYTES("\363\240\201\201"), "\\u{e0041}", "\\u{e0041}" },    /* tag letter A */
    { BYTES("\357\273\277"), "\\u{feff}", "\\u{feff}" },          /* byte order mark */
    { BYTES("\342\201\246x\342\201\251"), "\\u{2066}x\\u{2069}", "\\u{2066}x\\u{2069}" },
    { BYTES("\342\200\250"), "\\u{2028}", "\\u{2028}" },             /* line separator */
    { BYTES("\377\376"), "\\xff\\xfe", "\\xff\\xfe" },               /* not UTF-8 */
    { BYTES("\300\257"), "\\xc0\\xaf", "\\xc0\\xaf" },               /* overlong / */
    { BYTES("\355\240\200"), "\\xed\\xa0\\x80", "\\xed\\xa0\\x80" }, /* surrogate */
    { BYTES("\364\220\200\200"), "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80" },
    { BYTES("\342\202x"), "\\xe2\\x82x", "\\xe2\\x82x" }, /* cut short */
    { BYTES("\342\202"), "\\xe2\\x82", "\\xe2\\x82" },    /* cut at the end */
    { BYTES("\342\342\202\254"), "\\xe2\342\202\254", "\\xe2\342\202\254" },
};

TEST(escapes_a_line)
{
    for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
        text_escape(&out, escapes[i].bytes, escapes[i].size);
        CHECK_STR(buf_cstr(&out), escapes[i].line);
    }
}

/* The law of the filter: how the bytes are cut into calls changes nothing. */
static void filter_cut(const char *bytes, size_t size, size_t cut, bool colour, struct buf *out)
{
    struct text_filter state = { 0 };
    text_filter(&state, out, bytes, cut, colour);
    for (size_t i = cut; i < size; i++)
        text_filter(&state, out, bytes + i, 1, colour);
    text_filter_flush(&state, out);
}

TEST(filters_a_stream_however_it_is_cut)
{
    for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
        for (size_t cut = 0; cut <= escapes[i].size; cut++) {
            CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
            filter_cut(escapes[i].bytes, escapes[i].size, cut, false, &out);
            CHECK_STR(buf_cstr(&out), escapes[i].stream);
        }
    }
}

TEST(colour_passes_only_as_colour)
{
    static const struct escape colours[] = {
        { BYTES("\033[1;31mred\033[0m\033[m"), NULL, "\033[1;31mred\033[0m\033[m" },
        { BYTES("\033[38;5;8mgrey"), NULL, "\033[38;5;8mgrey" },
        { BYTES("\033[38;2;8;8;8mgrey"), NULL, "\033[38;2;8;8;8mgrey" },
        { BYTES("\033[8mhidden"), NULL, "\\x1b[8mhidden" },
        { BYTES("\033[0;8mhidden"), NULL, "\\x1b[0;8mhidden" },
        { BYTES("\033[58;5;8mhidden"), NULL, "\\x1b[58;5;8mhidden" },
        { BYTES("\033[58;5;9mline"), NULL, "\033[58;5;9mline" },
        { BYTES("\033[38;9;8mhidden"), NULL, "\\x1b[38;9;8mhidden" },
        { BYTES("\033[264mhidden"), NULL, "\\x1b[264mhidden" },
        { BYTES("\033[65544mhidden"), NULL, "\\x1b[65544mhidden" },
        { BYTES("\033[2J"), NULL, "\\x1b[2J" },
        { BYTES("\033[?25l"), NULL, "\\x1b[?25l" },
        { BYTES("\033[\033[31m"), NULL, "\\x1b[\033[31m" },
        { BYTES("\033]52;c;x\007"), NULL, "\\x1b]52;c;x\\x07" },
        { BYTES("\033P\033\\"), NULL, "\\x1bP\\x1b\\" },
        { BYTES("\033[1111111111111111111111111111111111m"), NULL,
          "\\x1b[1111111111111111111111111111111111m" },
        { BYTES("end \033[3"), NULL, "end \\x1b[3" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(colours); i++) {
        for (size_t cut = 0; cut <= colours[i].size; cut++) {
            CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
            filter_cut(colours[i].bytes, colours[i].size, cut, true, &out);
            CHECK_STR(buf_cstr(&out), colours[i].stream);
        }
    }
}

TEST(sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = { { "0", 0 },
                 { "1000", 1000 },
                 { "4KiB", 4096 },
                 { "64MiB", UINT64_C(64) << 20 },
                 { "2GiB", UINT64_C(2) << 30 },
                 { "1TiB", UINT64_C(1) << 40 },
                 { "18446744073709551615", UINT64_MAX },
                 { "007", 7 } };
    static const char *const bad[] = { "",           "KiB",   "1 KiB",
                                       "1kB",        "1MB",   "1K",
                                       "1.5MiB",     "-1",    "+1",
                                       " 1",         "1KiB ", "1kib",
                                       "0x10",       "1KiBx", "18446744073709551616",
                                       "16777216TiB" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t bytes = 0;
        CHECK_EQ(text_parse_size(good[i].text, &bytes, NULL), 0);
        CHECK(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error e = ERROR_INIT;
        uint64_t bytes = 77;
        if (text_parse_size(bad[i], &bytes, &e) == 0)
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
        CHECK_EQ(bytes, 77);
        CHECK(e.what[0]);
    }
    struct error e = ERROR_INIT;
    uint64_t bytes;
    CHECK(text_parse_size("64MB", &bytes, &e) < 0);
    CHECK_HAS(e.hint, "MiB, not MB");
}

TEST(durations)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = { { "250ms", 250000000 },
                 { "2s", 2000000000 },
                 { "5m", UINT64_C(300) * 1000000000 },
                 { "1h", UINT64_C(3600) * 1000000000 },
                 { "7d", UINT64_C(604800) * 1000000000 },
                 { "3us", 3000 },
                 { "9ns", 9 } };
    static const char *const bad[] = { "",    "5",  "s",    "1.5s",  "-1s",
                                       "1 s", "1S", "1min", "1h30m", "99999999d" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t ns = 0;
        CHECK_EQ(text_parse_duration(good[i].text, &ns, NULL), 0);
        CHECK(ns == good[i].ns);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint64_t ns;
        if (text_parse_duration(bad[i], &ns, NULL) == 0)
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
    }
}

/* A small generator with a fixed seed (splitmix64), shifted so that small numbers come too. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z >> (z & 63);
}

TEST(what_is_put_parses_to_the_same)
{
    uint64_t state = 1;
    for (int i = 0; i < 20000; i++) {
        uint64_t value = next_random(&state), back = 0;
        value <<= i % 3 == 0 ? next_random(&state) % 40 : 0;
        int64_t time = (int64_t)(i % 2 ? value : 0 - value), time_back = 0;
        CLEANUP(buf_done) struct buf out = BUF_INIT(100);
        text_put_size(&out, value);
        CHECK_EQ(text_parse_size(buf_cstr(&out), &back, NULL), 0);
        CHECK(back == value);
        buf_clear(&out);
        text_put_duration(&out, value);
        CHECK_EQ(text_parse_duration(buf_cstr(&out), &back, NULL), 0);
        CHECK(back == value);
        buf_clear(&out);
        text_put_timestamp(&out, time);
        CHECK_EQ(text_parse_timestamp(buf_cstr(&out), &time_back, NULL), 0);
        CHECK(time_back == time);
    }
}

TEST(timestamps)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = { { "1970-01-01T00:00:00Z", 0 },
                 { "2026-01-01T00:00:00Z", INT64_C(1767225600000000000) },
                 { "2026-01-01T01:00:00+01:00", INT64_C(1767225600000000000) },
                 { "2025-12-31T23:30:00-00:30", INT64_C(1767225600000000000) },
                 { "1970-01-01T00:00:00.000000001Z", 1 },
                 { "1969-12-31T23:59:59.5Z", -500000000 },
                 { "2000-02-29T00:00:00Z", INT64_C(951782400000000000) },
                 { "1677-09-21T00:12:43.145224192Z", INT64_MIN },
                 { "2262-04-11T23:47:16.854775807Z", INT64_MAX } };
    static const char *const bad[] = { "",
                                       "2026-01-01",
                                       "2026-01-01T00:00:00",
                                       "2026-01-01 00:00:00Z",
                                       "2026-13-01T00:00:00Z",
                                       "2026-00-01T00:00:00Z",
                                       "2026-02-29T00:00:00Z",
                                       "2100-02-29T00:00:00Z",
                                       "2026-01-32T00:00:00Z",
                                       "2026-01-01T24:00:00Z",
                                       "2026-01-01T00:60:00Z",
                                       "2026-01-01T00:00:60Z",
                                       "2026-01-01T00:00:00.Z",
                                       "2026-01-01T00:00:00.1234567891Z",
                                       "2026-01-01T00:00:00+24:00",
                                       "2026-01-01T00:00:00+0100",
                                       "2026-01-01T00:00:00ZZ",
                                       "2262-04-11T23:47:16.854775808Z",
                                       "1677-09-21T00:12:43.145224191Z",
                                       "9999-12-31T23:59:59Z",
                                       "26-01-01T00:00:00Z",
                                       "2026-1-1T00:00:00Z" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        int64_t ns = -7;
        CHECK_EQ(text_parse_timestamp(good[i].text, &ns, NULL), 0);
        CHECK_EQ(ns, good[i].ns);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int64_t ns;
        if (text_parse_timestamp(bad[i], &ns, NULL) == 0)
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
    }
}

TEST(for_people)
{
    static const struct {
        uint64_t value;
        const char *size, *duration;
    } cases[] = { { 0, "0 B", "0 ns" },
                  { 1023, "1023 B", "1 µs" },
                  { 1024, "1 KiB", "1 µs" },
                  { 1258291, "1.1 MiB", "1.2 ms" },
                  { 320000000, "305 MiB", "320 ms" },
                  { 90000000000, "83.8 GiB", "1.5 min" } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(100);
        text_put_size_human(&out, cases[i].value);
        CHECK_STR(buf_cstr(&out), cases[i].size);
        buf_clear(&out);
        text_put_duration_human(&out, cases[i].value);
        CHECK_STR(buf_cstr(&out), cases[i].duration);
    }
}

TEST_MAIN()
