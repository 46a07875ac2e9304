/* SPDX-License-Identifier: Apache-2.0 */
/* wire/websocket.h: frames, however they are cut, and the handshake's sum. */
#include "wire/websocket.h"

#include "tests/unit/test.h"

static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

/* What a reader told, as text: "t(abc)" part of a text, "b(…)." its end, "C(…)" a control frame. */
static void tell(const struct websocket_event *e, enum websocket_event_kind kind, struct buf *out)
{
    static const char names[] = "?tb?????cpq";
    if (kind == WEBSOCKET_FAULT) {
        buf_printf(out, "! %s", e->fault);
        return;
    }
    bool plain = kind == WEBSOCKET_DATA;
    buf_printf(out, plain ? "%c" : "<%c ", names[e->opcode]);
    buf_append(out, e->payload.data, e->payload.size);
    if (!plain)
        buf_puts(out, ">");
    else if (e->end)
        buf_puts(out, ".");
}

/* Reads `bytes` in pieces of `step`. With `joined`, parts of a message are told as one. */
static void read_all(enum websocket_side side, struct bytes bytes, size_t step, struct buf *out)
{
    struct websocket_reader r;
    struct websocket_event e;
    CLEANUP(buf_done) struct buf copy = BUF_INIT(1u << 20);
    bool within = false;
    websocket_reader_init(&r, side);
    buf_append(&copy, bytes.data, bytes.size);
    for (size_t at = 0; at < bytes.size; at += step) {
        size_t left = MIN(step, bytes.size - at), used, from = at;
        for (;;) {
            enum websocket_event_kind kind = websocket_read(&r, copy.data + from, left, &e, &used);
            CHECK(used <= left);
            from += used;
            left -= used;
            if (kind == WEBSOCKET_MORE) {
                CHECK_EQ(left, 0);
                break;
            }
            if (kind == WEBSOCKET_DATA && within) {
                buf_append(out, e.payload.data, e.payload.size);
                buf_puts(out, e.end ? "." : "");
            } else {
                tell(&e, kind, out);
            }
            if (kind == WEBSOCKET_DATA)
                within = !e.end;
            if (kind == WEBSOCKET_FAULT)
                return;
        }
    }
}

static const char *read_as(enum websocket_side side, const struct buf *in)
{
    static char first[4096];
    for (size_t step = in->size; step > 0; step = step > 8 ? step / 2 : step - 1) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 16);
        read_all(side, (struct bytes){ in->data, in->size }, step, &out);
        if (step == in->size)
            (void)snprintf(first, sizeof(first), "%s", buf_cstr(&out));
        CHECK_STR(buf_cstr(&out), first); /* the cut changes nothing */
    }
    return first;
}

TEST(frames_come_back)
{
    for (int masked = 0; masked < 2; masked++) {
        CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
        const uint8_t *m = masked ? mask : NULL;
        websocket_print(&in, WEBSOCKET_TEXT, false, bytes_of("Hel"), m);
        websocket_print(&in, WEBSOCKET_PING, true, bytes_of("are you"), m);
        websocket_print(&in, WEBSOCKET_CONTINUATION, true, bytes_of("lo"), m);
        websocket_print(&in, WEBSOCKET_BINARY, true, bytes_of(""), m);
        websocket_print(&in, WEBSOCKET_PONG, true, bytes_of(""), m);
        websocket_print(&in, WEBSOCKET_CLOSE, true, bytes_of("\x03\xe9 bye"), m);
        const char *told = read_as(masked ? WEBSOCKET_OF_CLIENT : WEBSOCKET_OF_SERVER, &in);
        CHECK_STR(told, masked ? "tHel<p are you>lo.b.<q ><c \x03\xe9 bye>"
                               : "tHel<p are you>lo.b.<q ><c \x03\xe9 bye>");
    }
}

/* RFC 6455 5.7. */
TEST(examples_of_the_rfc)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 20);
    websocket_print(&out, WEBSOCKET_TEXT, true, bytes_of("Hello"), mask);
    CHECK(out.size == 11 &&
          memcmp(out.data, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11) == 0);
    buf_clear(&out);
    websocket_print(&out, WEBSOCKET_TEXT, true, bytes_of("Hello"), NULL);
    CHECK(out.size == 7 && memcmp(out.data, "\x81\x05Hello", 7) == 0);
    uint8_t *large = mem_zalloc(65536);
    buf_clear(&out);
    websocket_print(&out, WEBSOCKET_BINARY, true, (struct bytes){ large, 256 }, NULL);
    CHECK(out.size == 260 && memcmp(out.data, "\x82\x7e\x01\x00", 4) == 0);
    buf_clear(&out);
    websocket_print(&out, WEBSOCKET_BINARY, true, (struct bytes){ large, 65536 }, NULL);
    CHECK(out.size == 65546 && memcmp(out.data, "\x82\x7f\0\0\0\0\0\x01\0\0", 10) == 0);
    mem_free(large);
}

TEST(lengths)
{
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };
    uint8_t *bytes = mem_zalloc(70000);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        CLEANUP(buf_done) struct buf in = BUF_INIT(1u << 20);
        struct websocket_reader r;
        struct websocket_event e;
        size_t used, at = 0, got = 0;
        websocket_print(&in, WEBSOCKET_BINARY, true, (struct bytes){ bytes, sizes[i] }, mask);
        websocket_reader_init(&r, WEBSOCKET_OF_CLIENT);
        do {
            CHECK_EQ(websocket_read(&r, in.data + at, MIN((size_t)777, in.size - at), &e, &used),
                     WEBSOCKET_DATA);
            at += used;
            got += e.payload.size;
            for (size_t k = 0; k < e.payload.size; k++)
                CHECK_EQ(e.payload.data[k], 0);
        } while (!e.end);
        CHECK(got == sizes[i] && at == in.size);
    }
    mem_free(bytes);
}

TEST(faults)
{
#define B(text) (const uint8_t *)(text), sizeof(text) - 1
    static const struct {
        enum websocket_side side;
        const uint8_t *bytes;
        size_t size;
        const char *part;
    } table[] = {
        { WEBSOCKET_OF_SERVER, B("\xc1\x01x"), "reserved bit" },
        { WEBSOCKET_OF_SERVER, B("\x91\x01x"), "reserved bit" },
        { WEBSOCKET_OF_SERVER, B("\x81\x81\0\0\0\0x"), "with a mask" },
        { WEBSOCKET_OF_CLIENT, B("\x81\x01x"), "without a mask" },
        { WEBSOCKET_OF_CLIENT, B("GET / HTTP/1.1\r\n"), "reserved bit" },
        { WEBSOCKET_OF_CLIENT, B("\x0d\x0a\x0d\x0a"), "without a mask" },
        { WEBSOCKET_OF_SERVER, B("\x83\x00"), "not known" },
        { WEBSOCKET_OF_SERVER, B("\x8b\x00"), "not known" },
        { WEBSOCKET_OF_SERVER, B("\x80\x00"), "continuation of no" },
        { WEBSOCKET_OF_SERVER, B("\x01\x01x\x81\x01y"), "inside another" },
        { WEBSOCKET_OF_SERVER, B("\x81\x01x\x80\x01y"), "continuation of no" },
        { WEBSOCKET_OF_SERVER, B("\x09\x00"), "in parts or too long" },
        { WEBSOCKET_OF_SERVER, B("\x89\x7e\x00\x7e"), "in parts or too long" },
        { WEBSOCKET_OF_SERVER, B("\x81\x7e\x00\x7dx"), "longer than it need" },
        { WEBSOCKET_OF_SERVER, B("\x81\x7f\0\0\0\0\0\0\xff\xffx"), "longer than it need" },
        { WEBSOCKET_OF_SERVER, B("\x81\x7f\x80\0\0\0\0\0\0\0x"), "first bit" },
        { WEBSOCKET_OF_SERVER, B("\x88\x01x"), "code that may not" },
        { WEBSOCKET_OF_SERVER, B("\x88\x02\x03\xed"), "code that may not" }, /* 1005 */
        { WEBSOCKET_OF_SERVER, B("\x88\x02\x00\x00"), "code that may not" },
        { WEBSOCKET_OF_SERVER, B("\x88\x00\x81\x01x"), "after Close" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
        buf_append(&in, table[i].bytes, table[i].size);
        const char *told = read_as(table[i].side, &in);
        CHECK_HAS(told, "! ");
        CHECK_HAS(told, table[i].part);
    }
}

/* Whatever comes, reading ends, uses no more than there is, and a fault stays. */
TEST(noise)
{
    uint32_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        struct websocket_reader r;
        struct websocket_event e;
        size_t used, at = 0;
        for (size_t i = 0; i < sizeof(bytes); i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(seed >> 24);
        }
        bytes[0] = (uint8_t)(bytes[0] & 0x8f);
        websocket_reader_init(&r, round % 2 ? WEBSOCKET_OF_CLIENT : WEBSOCKET_OF_SERVER);
        for (int step = 0;; step++) {
            CHECK(step < 200);
            enum websocket_event_kind kind =
                websocket_read(&r, bytes + at, sizeof(bytes) - at, &e, &used);
            at += used;
            CHECK(at <= sizeof(bytes));
            if (kind == WEBSOCKET_FAULT) {
                CHECK_EQ(websocket_read(&r, bytes, sizeof(bytes), &e, &used), WEBSOCKET_FAULT);
                CHECK_EQ(used, 0);
                break;
            }
            if (kind == WEBSOCKET_MORE) {
                CHECK_EQ(at, sizeof(bytes));
                break;
            }
        }
    }
}

TEST(handshake)
{
    char text[WEBSOCKET_ACCEPT_SIZE + 1];
    CHECK_EQ(websocket_accept(bytes_of("dGhlIHNhbXBsZSBub25jZQ=="), text), 0); /* RFC 6455 1.3 */
    CHECK_STR(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(websocket_key_valid(bytes_of("dGhlIHNhbXBsZSBub25jZQ==")));
    static const char *const wrong[] = { "",
                                         "dGhlIHNhbXBsZSBub25jZQ=",
                                         "dGhlIHNhbXBsZSBub25jZR==",
                                         "dGhlIHNhbXBsZSBub25jZ===",
                                         "dGhlIHNhbXBsZSBub25 ZQ==",
                                         "dGhlIHNhbXBsZSBub25jZQ==x" };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(!websocket_key_valid(bytes_of(wrong[i])));
}

TEST_MAIN()
