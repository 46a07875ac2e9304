/* SPDX-License-Identifier: Apache-2.0 */
/* wire/frame.c: reader, writer, gate; and the corpus of the fuzz target. */
#include "wire/frame.h"

#include "tests/unit/test.h"

TEST(writes_and_reads)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    CHECK_EQ(frame_write(&out, 7, "hello", 5, NULL), 0);
    CHECK_EQ(frame_write(&out, 0xffff, NULL, 0, NULL), 0);
    for (size_t step = 1; step <= out.size; step++) {
        CLEANUP(frame_reader_done) struct frame_reader r;
        frame_reader_init(&r);
        struct frame f;
        int seen = 0;
        for (size_t at = 0; at < out.size; at += step) {
            CHECK_EQ(frame_reader_push(&r, out.data + at, MIN(step, out.size - at), NULL), 0);
            while (frame_reader_next(&r, &f, NULL) == 1) {
                CHECK_EQ(f.kind, seen ? 0xffff : 7);
                CHECK_EQ(f.size, seen ? 0 : 5);
                CHECK(memcmp(f.payload, "hello", f.size) == 0);
                seen++;
            }
        }
        CHECK_EQ(seen, 2);
        CHECK_EQ(frame_reader_needs(&r), FRAME_HEADER_SIZE);
    }
}

TEST(refuses_malformed_headers)
{
    static const struct {
        uint8_t header[8];
        int code;
    } bad[] = { { { 1, 0, 16, 0, 1, 0, 0, 0 }, -EMSGSIZE }, /* FRAME_MAX + 1 */
                { { 255, 255, 255, 255, 1, 0, 0, 0 }, -EMSGSIZE },
                { { 0, 0, 0, 128, 1, 0, 0, 0 }, -EMSGSIZE },
                { { 0, 0, 0, 0, 1, 0, 1, 0 }, -EBADMSG },
                { { 0, 0, 0, 0, 1, 0, 0, 128 }, -EBADMSG } };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(frame_reader_done) struct frame_reader r;
        frame_reader_init(&r);
        struct frame f;
        CHECK_EQ(frame_reader_push(&r, bad[i].header, 8, NULL), 0);
        CHECK_EQ(frame_reader_next(&r, &f, NULL), bad[i].code);
        /* For good. */
        CHECK_EQ(frame_reader_next(&r, &f, NULL), bad[i].code);
        CHECK_EQ(frame_reader_push(&r, "x", 1, NULL), bad[i].code);
        CHECK(r.held.capacity < 4096);
    }
    CLEANUP(buf_done) struct buf out = BUF_INIT(3u << 20);
    CLEANUP(mem_freep) void *bytes = mem_zalloc(FRAME_MAX + 1);
    CHECK_EQ(frame_write(&out, 1, bytes, FRAME_MAX, NULL), 0);
    CHECK_EQ(frame_write(&out, 1, bytes, FRAME_MAX + 1, NULL), -EMSGSIZE);
    CHECK_EQ(out.size, FRAME_HEADER_SIZE + FRAME_MAX);
}

TEST(largest_frame_in_small_pieces)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(2u << 20);
    CLEANUP(mem_freep) uint8_t *bytes = mem_zalloc(FRAME_MAX);
    CHECK_EQ(frame_write(&out, 3, bytes, FRAME_MAX, NULL), 0);
    CLEANUP(frame_reader_done) struct frame_reader r;
    frame_reader_init(&r);
    struct frame f;
    size_t at = 0;
    while (at < out.size) {
        CHECK_EQ(frame_reader_next(&r, &f, NULL), 0);
        size_t step = MIN(frame_reader_needs(&r), (size_t)65536);
        CHECK(step > 0 && step <= out.size - at);
        CHECK_EQ(frame_reader_push(&r, out.data + at, step, NULL), 0);
        at += step;
    }
    CHECK_EQ(frame_reader_next(&r, &f, NULL), 1);
    CHECK_EQ(f.size, FRAME_MAX);
    CHECK_EQ(frame_reader_next(&r, &f, NULL), 0);
}

static int handled;

static int take_number(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                       struct error *e)
{
    handled = (int)cursor_u32(payload);
    return handled == 13 ? error_set(e, -EIO, "thirteen") : 0;
}

static const struct frame_rule rules[] = {
    { 1, "FIRST", 1, true, 2, 4, take_number },
    { 2, "SECOND", 2 | 4, false, 0, 8, take_number },
};

TEST(gate)
{
    struct frame_gate g = { .rules = rules, .rule_count = ARRAY_SIZE(rules) };
    static const uint8_t five[] = { 5, 0, 0, 0, 0 }, thirteen[] = { 13, 0, 0, 0 };
    static const int fds[3] = { 0, 0, 0 };
    struct error e = ERROR_INIT;
    struct frame f = { 1, five, 4 };
    struct frame_gate fresh = g;
    /* unknown, out of phase, too many descriptors, too long, too short, handler's own */
    CHECK_EQ(frame_gate_dispatch(&g, &(struct frame){ 3, five, 4 }, NULL, 0, NULL, NULL), -EPROTO);
    CHECK_EQ(frame_gate_dispatch(&g, &(struct frame){ 2, five, 4 }, NULL, 0, NULL, NULL), -EPROTO);
    CHECK_EQ(frame_gate_dispatch(&g, &f, fds, 3, NULL, NULL), -EPROTO);
    CHECK_EQ(frame_gate_dispatch(&g, &(struct frame){ 1, five, 5 }, NULL, 0, NULL, NULL),
             -EMSGSIZE);
    CHECK_EQ(g.seen, 0);
    CHECK_EQ(frame_gate_dispatch(&g, &(struct frame){ 1, five, 3 }, NULL, 0, NULL, NULL), -EBADMSG);
    g = fresh;
    CHECK_EQ(frame_gate_dispatch(&g, &(struct frame){ 1, thirteen, 4 }, NULL, 0, NULL, &e), -EIO);
    CHECK_STR(e.what, "thirteen");
    g = fresh;
    CHECK_EQ(frame_gate_dispatch(&g, &f, fds, 2, NULL, NULL), 0);
    CHECK_EQ(handled, 5);
    error_clear(&e);
    CHECK_EQ(frame_gate_dispatch(&g, &f, NULL, 0, NULL, &e), -EPROTO);
    CHECK_STR(e.what, "a second FIRST frame");
    g.phase = 2;
    f.kind = 2;
    CHECK_EQ(frame_gate_dispatch(&g, &f, NULL, 0, NULL, NULL), 0);
    CHECK_EQ(frame_gate_dispatch(&g, &f, NULL, 0, NULL, NULL), 0);
    /* Eight bytes are allowed, and four left over are malformed. */
    static const uint8_t eight[8] = { 5 };
    CHECK_EQ(frame_gate_dispatch(&g, &(struct frame){ 2, eight, 8 }, NULL, 0, NULL, NULL),
             -EBADMSG);
    g.phase = 32;
    CHECK_EQ(frame_gate_dispatch(&g, &f, NULL, 0, NULL, NULL), -EPROTO);
}

TEST(what_moved_is_not_there_twice)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    for (int wipes = 0; wipes < 2; wipes++) {
        CLEANUP(frame_reader_done) struct frame_reader r;
        struct frame f;
        size_t left = 0;
        frame_reader_init(&r);
        r.held.wipes = wipes;
        buf_clear(&out);
        CHECK_EQ(frame_write(&out, 7, "0123456789abcdefghij", 20, NULL), 0);
        CHECK_EQ(frame_write(&out, 7, "secret", 6, NULL), 0);
        CHECK_EQ(frame_reader_push(&r, out.data, out.size - 1, NULL), 0);
        CHECK_EQ(frame_reader_next(&r, &f, NULL), 1);
        CHECK_EQ(frame_reader_next(&r, &f, NULL), 0);
        CHECK_EQ(frame_reader_push(&r, out.data + out.size - 1, 1, NULL), 0);
        CHECK_EQ(frame_reader_next(&r, &f, NULL), 1);
        CHECK(f.size == 6 && memcmp(f.payload, "secret", 6) == 0);
        for (size_t i = r.held.size + 1; i < out.size; i++)
            left += r.held.data[i] != 0;
        CHECK_EQ(left > 0, !wipes);
    }
}

static int through(void)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    CLEANUP(frame_reader_done) struct frame_reader r;
    frame_reader_init(&r);
    struct frame f;
    int result = frame_write(&out, 7, "hello", 5, NULL);
    if (result == 0)
        result = frame_reader_push(&r, out.data, out.size, NULL);
    if (result == 0)
        result = frame_reader_next(&r, &f, NULL) == 1 ? 0 : -EINVAL;
    return result;
}

TEST(survives_no_memory)
{
    TORTURE(through());
}

TEST_MAIN()
