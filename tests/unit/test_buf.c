/* SPDX-License-Identifier: Apache-2.0 */
/* base/buf.c: maxima hold, failures stick, cursors never pass their end. */
#include "base/buf.h"

#include "tests/unit/test.h"

TEST(builds_and_reads_back)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    buf_u8(&b, 0xfe);
    buf_u16(&b, 0x1234);
    buf_u32(&b, 0xdeadbeef);
    buf_u64(&b, UINT64_C(0x0123456789abcdef));
    buf_bytes(&b, "a\0b", 3);
    buf_string(&b, "text");
    buf_string(&b, NULL);
    CHECK_EQ(buf_status(&b), 0);
    CHECK_EQ(b.data[1], 0x34); /* little-endian */
    struct cursor c = cursor_of(b.data, b.size);
    CHECK_EQ(cursor_u8(&c), 0xfe);
    CHECK_EQ(cursor_u16(&c), 0x1234);
    CHECK_EQ(cursor_u32(&c), 0xdeadbeef);
    CHECK(cursor_u64(&c) == UINT64_C(0x0123456789abcdef));
    size_t size;
    const uint8_t *bytes = cursor_bytes(&c, &size);
    CHECK_EQ(size, 3);
    CHECK(memcmp(bytes, "a\0b", 3) == 0);
    CLEANUP(mem_freep) char *text = cursor_string(&c), *empty = NULL;
    CHECK_STR(text, "text");
    empty = cursor_string(&c);
    CHECK_STR(empty, "");
    mem_free(TAKE(empty));
    CHECK(cursor_finished(&c));
    CHECK_EQ(cursor_u8(&c), 0);
    CHECK(c.bad && !cursor_finished(&c));
}

TEST(text_and_take)
{
    struct buf b = BUF_INIT(100);
    CHECK_STR(buf_cstr(&b), "");
    buf_puts(&b, "ab");
    buf_putc(&b, 'c');
    buf_printf(&b, "%d-%s", 7, "x");
    CHECK_STR(buf_cstr(&b), "abc7-x");
    CLEANUP(mem_freep) char *taken = buf_take(&b);
    CHECK_STR(taken, "abc7-x");
    CHECK_EQ(b.size, 0);
    CHECK_EQ(b.max, 100);
    CLEANUP(mem_freep) char *empty = buf_take(&b);
    CHECK_STR(empty, "");
    buf_done(&b);
}

TEST(maximum_holds_and_sticks)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(4);
    buf_append(&b, "1234", 4);
    CHECK_EQ(buf_status(&b), 0);
    buf_putc(&b, '5');
    CHECK_EQ(buf_status(&b), -EMSGSIZE);
    CHECK_EQ(b.size, 4);
    CHECK_STR(buf_cstr(&b), "");
    char *taken = buf_take(&b);
    CHECK(!taken);
    buf_clear(&b);
    buf_puts(&b, "1");
    CHECK_EQ(buf_status(&b), 0);
    buf_printf(&b, "%s", "2345");
    CHECK_EQ(buf_status(&b), -EMSGSIZE);
    buf_clear(&b);
    buf_append(&b, "x", SIZE_MAX);
    CHECK_EQ(buf_status(&b), -EMSGSIZE);
}

TEST(growth_keeps_contents)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(100000);
    for (unsigned i = 0; i < 100000; i++)
        buf_u8(&b, (uint8_t)(i % 251));
    CHECK_EQ(buf_status(&b), 0);
    for (unsigned i = 0; i < 100000; i++)
        CHECK_EQ(b.data[i], i % 251);
    buf_u8(&b, 0);
    CHECK_EQ(buf_status(&b), -EMSGSIZE);
}

TEST(cursor_refuses)
{
    static const struct {
        const char *bytes;
        size_t size;
    } strings[] = {
        { "", 0 },                 /* no length */
        { "\1\0\0", 3 },           /* half a length */
        { "\1\0\0\0", 4 },         /* a length without its bytes */
        { "\5\0\0\0abcd", 8 },     /* one byte short */
        { "\377\377\377\377", 4 }, /* the longest length */
        { "\2\0\0\0a\0", 6 },      /* a NUL */
    };
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        struct cursor c = cursor_of(strings[i].bytes, strings[i].size);
        char *text = cursor_string(&c);
        CHECK(!text);
        CHECK(c.bad);
        CHECK(c.at <= c.end);
    }
    struct cursor c = cursor_of(NULL, 0);
    CHECK(cursor_finished(&c));
    size_t size = 9;
    cursor_bytes(&c, &size);
    CHECK_EQ(size, 0);
    CHECK(c.bad);
    CHECK(cursor_u64(&c) == 0);
}

static int build(void)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(10000);
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "line %d of many\n", i);
    int status = buf_status(&b);
    if (status < 0)
        return status;
    char *text = buf_take(&b);
    mem_free(text);
    return text ? 0 : -ENOMEM;
}

TEST(survives_no_memory)
{
    TORTURE(build());
}

TEST(memory_arithmetic)
{
    void *p = mem_array(SIZE_MAX / 2, 3);
    CHECK(!p);
    p = mem_grow(NULL, SIZE_MAX / 2, 3);
    CHECK(!p);
    char *text = mem_strndup("a\0b", 3);
    CHECK(text && memcmp(text, "a\0b", 4) == 0);
    mem_free(text);
    text = mem_printf("%s:%d", "x", 5);
    CHECK_STR(text, "x:5");
    mem_free(text);
    mem_free(NULL);
}

TEST_MAIN()
