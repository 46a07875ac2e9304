/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scrubber: that it finds every spelling in every chunking, and that what it lets go, and when,
 * says nothing of how near a guess was. tests/soak/scrub_timing.c is about time.
 */
#include <stdlib.h>

#include "egress/scrub.h"
#include "tests/unit/test.h"

#define VALUE "ghp_0Aq/+9-_z=Kk7\"<&%\\R3mWx"
#define SEED UINT64_C(0x9e3779b97f4a7c15)

static struct scrub *scrub_of(const char *value)
{
    struct scrub *s = NULL;
    struct bytes v = bytes_of(value);
    CHECK_EQ(scrub_new(&v, 1, SEED, &s, NULL), 0);
    return s;
}

/* In chunks of `step` bytes. */
static const char *scrubbed(struct scrub *s, const char *text, size_t step, struct buf *out)
{
    size_t size = strlen(text);
    buf_clear(out);
    for (size_t at = 0; at < size; at += step)
        scrub_push(s, (struct bytes){ (const uint8_t *)text + at, MIN(step, size - at) }, out);
    scrub_end(s, out);
    CHECK_EQ(out->size, size);
    return buf_cstr(out);
}

/* ---- spellings ---- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void put_base64(struct buf *out, const char *text, size_t size, bool url)
{
    const char *letters = url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                              : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)text[i] << 16;
        v |= i + 1 < size ? (uint32_t)(uint8_t)text[i + 1] << 8 : 0;
        v |= i + 2 < size ? (uint8_t)text[i + 2] : 0;
        buf_putc(out, letters[v >> 18]);
        buf_putc(out, letters[(v >> 12) & 63]);
        buf_putc(out, i + 1 < size ? letters[(v >> 6) & 63] : '=');
        buf_putc(out, i + 2 < size ? letters[v & 63] : '=');
    }
}

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* Each character in one of the formats, or as it is when it does not begin an escape itself. */
static void put_escaped(struct buf *out, const char *text, char begins, const char *const *formats,
                        size_t count, uint32_t *state)
{
    for (; *text; text++) {
        size_t which = next_random(state) % (count + 1);
        if (which == count && *text == begins)
            which = 0;
        if (which < count)
            buf_printf(out, formats[which], (unsigned)(uint8_t)*text);
        else
            buf_putc(out, *text);
    }
}

enum spelling { RAW, HEX, BASE64, BASE64URL, PERCENT, ESCAPED, ENTITIES, SPELLINGS };
static const char *const percents[] = { "%%%02x", "%%%02X" };
static const char *const escapes[] = { "\\u%04x", "\\u%04X", "\\x%02x" };
static const char *const entities[] = { "&#%u;", "&#x%x;", "&#x%04X;", "&#%04u;" };

static void put_spelling(struct buf *out, const char *value, enum spelling which, size_t shift,
                         uint32_t *state)
{
    CLEANUP(buf_done) struct buf all = BUF_INIT(16384);
    switch (which) {
    case RAW:
        buf_puts(out, value);
        return;
    case HEX:
        for (; *value; value++)
            buf_printf(out, next_random(state) % 2 ? "%02x" : "%02X", (unsigned)(uint8_t)*value);
        return;
    case BASE64:
    case BASE64URL:
        buf_append(&all, "xyz", shift);
        buf_puts(&all, value);
        buf_append(&all, "tail", shift);
        put_base64(out, (const char *)all.data, all.size, which == BASE64URL);
        return;
    case PERCENT:
        put_escaped(out, value, '%', percents, ARRAY_SIZE(percents), state);
        return;
    case ESCAPED:
        put_escaped(out, value, '\\', escapes, ARRAY_SIZE(escapes), state);
        return;
    default:
        put_escaped(out, value, '&', entities, ARRAY_SIZE(entities), state);
    }
}

/* No six characters of the spelling in a row are left: those that base64 shares with its neighbours may be. */
static bool is_masked(const char *text, size_t from, size_t size, enum spelling which)
{
    size_t stars = 0;
    for (size_t i = from; i < from + size; i++)
        stars += text[i] == '*';
    return which == BASE64 || which == BASE64URL ? stars + 10 >= size : stars == size;
}

TEST(every_spelling_in_every_chunking)
{
    static const char *const values[] = { "0123456789abcdef", VALUE, "%41%42%43%44%45%46ab" };
    CLEANUP(buf_done)
    struct buf text = BUF_INIT(65536), out = BUF_INIT(65536), whole = BUF_INIT(65536);
    uint32_t state = 1;
    for (size_t round = 0; round < 60; round++) {
        const char *value = values[round % ARRAY_SIZE(values)];
        struct scrub *s = scrub_of(value);
        for (enum spelling w = RAW; w < SPELLINGS; w++) {
            for (size_t shift = 0; shift < 3; shift++) {
                buf_clear(&text);
                buf_puts(&text, "before & % \\ \\u00 &# ");
                size_t from = text.size;
                put_spelling(&text, value, w, shift, &state);
                size_t size = text.size - from;
                buf_puts(&text, " after");
                uint32_t places = scrub_places(s);
                scrubbed(s, buf_cstr(&text), text.size, &whole);
                CHECK(is_masked(buf_cstr(&whole), from, size, w));
                CHECK_EQ(scrub_places(s), places + 1);
                CHECK(memcmp(whole.data, text.data, from - 1) == 0);
                CHECK(strcmp(buf_cstr(&whole) + whole.size - 6, " after") == 0);
                for (size_t step = 1; step < 20; step++)
                    CHECK_STR(scrubbed(s, buf_cstr(&text), step, &out), buf_cstr(&whole));
            }
        }
        CHECK_EQ(scrub_found(s), 1);
        scrub_free(s);
    }
}

TEST(spellings_on_top_of_escapes)
{
    static const char *const texts[] = {
        "Z2hwXzBBcS8rOS1fej1LazciPCYlXFIzbVd4",          /* base64 of it */
        "Z2hwXzBBcS8rOS1f\r\nej1LazciPCYl\r\nXFIzbVd4",  /* in lines */
        "Z2hwXzBBcS8rOS1f\\r\\nej1LazciPCYl\\nXFIzbVd4", /* in lines, in JSON */
        "Z2hwXzBBcS8%72OS1fej1LazciPCYlXFIzbVd4",        /* percent-encoded */
        "Z2hwXzBBcS8r\\u004fS1fej1LazciPCYlXFIzbVd4",    /* escaped */
        "Z2hwXzBBcS8rOS1fej1LazciPCYlXFIz&#98;Vd4",      /* an entity */
        "6768705f3041712f2b392d5f7a3d4b6b37223c26255c52336d5778",
        "ghp_0Aq\\/+9-_z=Kk7\\\"\\u003c&%\\\\R3mWx",
        "ghp_0Aq/+9-_z=Kk7&quot;&lt;&amp;%\\R3mWx",
    };
    CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
    struct scrub *s = scrub_of(VALUE);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        uint32_t places = scrub_places(s);
        const char *got = scrubbed(s, texts[i], 3, &out);
        CHECK_EQ(got[0], '*');
        CHECK_EQ(got[strlen(got) - 1], '*');
        CHECK(scrub_places(s) > places);
    }
    scrub_free(s);
}

/* An escape, then line breaks, then the rest: the breaks are no characters, for whatever counts these. Spread over more
 * than is kept back it is not the value, however it is cut. */
TEST(line_breaks_within_hide_nothing)
{
    static const char value[] = "0123456789abcdefghij", begins[] = "%30123456789";
    struct scrub *s = scrub_of(value);
    struct buf text = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16), first = BUF_INIT(1 << 16);
    const size_t breaks[] = { 1, 40, 64, 150, scrub_held(s), 2000 };
    for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
        buf_clear(&text);
        buf_puts(&text, begins);
        for (size_t k = 0; k < breaks[i]; k++)
            buf_putc(&text, "\n\r\t"[k % 3]);
        buf_puts(&text, "abcdefghij.");
        scrubbed(s, buf_cstr(&text), text.size, &first);
        bool masked = memchr(first.data, 'a', first.size) == NULL && first.data[0] == '*';
        CHECK_EQ(masked, breaks[i] <= 150);
        for (size_t step = 1; step < 80; step += 7)
            CHECK_STR(scrubbed(s, buf_cstr(&text), step, &out), buf_cstr(&first));
    }
    buf_done(&text);
    buf_done(&out);
    buf_done(&first);
    scrub_free(s);
}

TEST(what_is_not_the_value_stays)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
    struct scrub *s = scrub_of(VALUE);
    static const char *const texts[] = { "", "ghp_0Aq/+9-_z=Kk7\"<&%\\R3mW",
                                         "hp_0Aq/+9-_z=Kk7\"<&%\\R3mWx",
                                         "%%%%\\\\\\&&&&#x;&#;&amp;\\u12\\u\\x%4",
                                         "&aaaaaaaaaaaaaaaaaaaaaa;%zz\\q" };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        CHECK_STR(scrubbed(s, texts[i], 1, &out), texts[i]);
    CHECK_EQ(scrub_places(s), 0);
    CHECK_EQ(scrub_found(s), 0);
    scrub_free(s);
}

TEST(texts_and_several_values)
{
    struct bytes values[] = { bytes_of("aaaaaaaaaaaaaaaa"), bytes_of("bbbbbbbbbbbbbbbbbbbbbbbb") };
    struct scrub *s = NULL;
    CHECK_EQ(scrub_new(values, 2, SEED, &s, NULL), 0);
    uint8_t text[] = "x bbbbbbbbbbbbbbbbbbbbbbbb y";
    CHECK(scrub_text(s, text, sizeof(text) - 1));
    CHECK_STR((const char *)text, "x ************************ y");
    CHECK_EQ(scrub_found(s), 2);
    CHECK(!scrub_text(s, text, sizeof(text) - 1));
    uint8_t longer[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    CHECK(scrub_text(s, longer, sizeof(longer) - 1));
    CHECK_EQ(strspn((const char *)longer, "*"), sizeof(longer) - 1);
    CHECK_EQ(scrub_found(s), 3);
    CHECK_EQ(scrub_places(s), 2);
    scrub_free(s);
    CHECK_EQ(scrub_new(values, SCRUB_VALUES_MAX + 1, SEED, &s, NULL), -EINVAL);
}

/* ---- never an oracle ---- */

TEST(what_goes_when_says_nothing)
{
    static const char filler[] = "kQ8zX1vB6nM3wE5rT7yU9iO2pA4sD0fG";
    size_t length = strlen(VALUE);
    struct scrub *s = scrub_of(VALUE);
    size_t held = scrub_held(s);
    CHECK(held >= 8 * 2 * length);
    for (size_t right = 0; right < length; right++) { /* so many first bytes are right */
        CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
        for (size_t i = 0; i < 2 * held; i++) {
            size_t at = i % length;
            char c = at < right ? VALUE[at] : filler[at];
            scrub_push(s, (struct bytes){ (const uint8_t *)&c, 1 }, &out);
            CHECK_EQ(out.size, i + 1 > held ? i + 1 - held : 0);
        }
        scrub_end(s, &out);
        CHECK_EQ(out.size, 2 * held);
    }
    CHECK_EQ(scrub_places(s), 0);
    /* Nor does the whole value change when anything goes. */
    CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
    for (size_t i = 0; i < 2 * held; i++) {
        scrub_push(s, (struct bytes){ (const uint8_t *)VALUE + i % length, 1 }, &out);
        CHECK_EQ(out.size, i + 1 > held ? i + 1 - held : 0);
    }
    CHECK(scrub_places(s) > 0);
    scrub_free(s);
}

/* What is out after each of `texts` came. */
TEST(events_are_not_held)
{
    static const struct {
        enum scrub_border border;
        const char *came, *out;
    } rows[] = {
        { SCRUB_EVENT, "data: a\n\n", "data: a\n\n" },
        { SCRUB_EVENT, "data: a\r\n\r\n", "data: a\r\n\r\n" },
        { SCRUB_EVENT, "data: a\r\r", "data: a\r\r" },
        { SCRUB_EVENT, "data: a\ndata: b\n", "" },
        { SCRUB_EVENT, "data: a\r\ndata: b\r\n", "" },
        { SCRUB_EVENT, "id: 1\ndata: 0123456789abcdef!\n\nda",
          "id: 1\ndata: ****************!\n\n" },
        { SCRUB_LINE, "{}\n{", "{}\n" },
        { SCRUB_LINE, "{}\r\n{", "{}\r\n" },
        { SCRUB_NOWHERE, "data: a\n\n", "" },
    };
    struct scrub *s = scrub_of("0123456789abcdef");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
        scrub_border(s, rows[i].border);
        for (const char *at = rows[i].came; *at; at++)
            scrub_push(s, (struct bytes){ (const uint8_t *)at, 1 }, &out);
        CHECK_STR(buf_cstr(&out), rows[i].out);
        scrub_end(s, &out);
        CHECK_EQ(out.size, strlen(rows[i].came));
    }
    scrub_free(s);
}

TEST(no_memory)
{
    struct bytes v = bytes_of(VALUE);
    long live = mem_live();
    for (long n = 1;; n++) {
        struct scrub *s = NULL;
        mem_fail_after(n);
        int status = scrub_new(&v, 1, SEED, &s, NULL);
        mem_fail_after(0);
        scrub_free(s);
        CHECK_EQ(mem_live(), live);
        if (status == 0)
            break;
        CHECK_EQ(status, -ENOMEM);
    }
}
TEST_MAIN()
