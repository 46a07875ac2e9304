/* SPDX-License-Identifier: Apache-2.0 */
/* wire/run.c: payloads read back as they were put; every cut and every hostile count is refused. */
#include "wire/run.h"

#include "tests/unit/test.h"

static char *arguments[] = { "prog", "a b", "" };
static const struct run_start start = { .grants_json = "{}",
                                        .work_host = "/home/x",
                                        .cwd = "/work",
                                        .args = arguments,
                                        .arg_count = 3,
                                        .program_args = 1,
                                        .invoke = "",
                                        .terminal = 6,
                                        .allow_missing = 32,
                                        .links = RUN_LINK_EGRESS | RUN_LINK_INGRESS,
                                        .concurrency = 64,
                                        .test_skip = 0 };
static const struct run_denial denial = { 1, 2, 3, 4, "open", "/work/\303\244", "- fs: /work\n" };
static struct run_use uses[] = { { 1, 2, 3, 4 }, { UINT64_MAX, 5, 6, UINT32_MAX } };
static uint64_t counts[] = { 9, 8, 7 };
static const struct run_done done = { .end = RUN_END_LIMIT,
                                      .limit = RUN_LIMIT_CPU,
                                      .status = -3,
                                      .message = "m",
                                      .values = "v",
                                      .cpu_ns = 1,
                                      .wall_ns = 2,
                                      .memory_peak_bytes = 3,
                                      .output_bytes = 4,
                                      .hostcalls = 5,
                                      .slices = 6,
                                      .handles_peak = 7,
                                      .denials = 8,
                                      .denials_dropped = 9,
                                      .uses = uses,
                                      .use_count = 2,
                                      .denial_counts = counts,
                                      .denial_count = 3 };

/* Reads a payload and puts it again: the same bytes, or a fault. */
typedef int (*again_function)(struct cursor *c, struct buf *out);

static int start_again(struct cursor *c, struct buf *out)
{
    CLEANUP(run_start_done) struct run_start s = { 0 };
    int result = run_start_get(c, &s, NULL);
    return result < 0 ? result : run_start_put(out, &s);
}

static int denial_again(struct cursor *c, struct buf *out)
{
    CLEANUP(run_denial_done) struct run_denial d = { 0 };
    int result = run_denial_get(c, &d, NULL);
    return result < 0 ? result : run_denial_put(out, &d);
}

static int done_again(struct cursor *c, struct buf *out)
{
    CLEANUP(run_done_done) struct run_done d = { 0 };
    int result = run_done_get(c, &d, NULL);
    return result < 0 ? result : run_done_put(out, &d);
}

static int torture(again_function again, const struct buf *in)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    struct cursor c = cursor_of(in->data, in->size);
    return again(&c, &out);
}

static void check_payload(again_function again, struct buf *in)
{
    CHECK_EQ(buf_status(in), 0);
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    struct cursor c = cursor_of(in->data, in->size);
    CHECK_EQ(again(&c, &out), 0);
    CHECK(cursor_finished(&c));
    CHECK(out.size == in->size && memcmp(out.data, in->data, in->size) == 0);
    long live = mem_live();
    for (size_t size = 0; size < in->size; size++) {
        buf_clear(&out);
        c = cursor_of(in->data, size);
        CHECK_EQ(again(&c, &out), -EBADMSG);
    }
    /* Any byte changed: a fault or another payload, never a crash; sanitizers look on. */
    for (size_t i = 0; i < in->size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            in->data[i] ^= (uint8_t)(1 << bit);
            buf_clear(&out);
            c = cursor_of(in->data, in->size);
            if (again(&c, &out) == 0)
                CHECK_EQ(buf_status(&out), 0);
            in->data[i] ^= (uint8_t)(1 << bit);
        }
    }
    CHECK_EQ(mem_live(), live);
    TORTURE(torture(again, in));
}

TEST(start_payload)
{
    CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
    CHECK_EQ(run_start_put(&in, &start), 0);
    struct cursor c = cursor_of(in.data, in.size);
    CLEANUP(run_start_done) struct run_start s = { 0 };
    CHECK_EQ(run_start_get(&c, &s, NULL), 0);
    CHECK_STR(s.args[1], "a b");
    CHECK_STR(s.work_host, "/home/x");
    CHECK_EQ(s.allow_missing, 32);
    CHECK_EQ(s.links, 3);
    CHECK_EQ(s.concurrency, 64);
    run_start_done(&s);
    check_payload(start_again, &in);
}

TEST(start_links)
{
    static const struct {
        uint32_t links, concurrency;
        bool taken;
        uint32_t ask;
    } rows[] = {
        { 0, 0, true },
        { RUN_LINK_EGRESS, 0, true },
        { RUN_LINK_INGRESS, 1, true },
        { RUN_LINK_INGRESS | RUN_LINK_EGRESS, RUN_CONCURRENCY_MAX, true },
        { 4, 0, false },                                      /* of no known kind */
        { RUN_LINK_INGRESS, 0, false },                       /* takes requests, none at once */
        { RUN_LINK_INGRESS, RUN_CONCURRENCY_MAX + 1, false }, /* more than there may be */
        { RUN_LINK_EGRESS, 1, false },                        /* takes none */
        { RUN_LINK_EGRESS, 0, true, 1 },
        { RUN_LINK_INGRESS, 1, false, 1 }, /* nobody sits before a server */
        { 0, 0, false, 2 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
        CLEANUP(run_start_done) struct run_start got = { 0 };
        struct run_start s = start;
        s.links = rows[i].links;
        s.concurrency = rows[i].concurrency;
        s.ask = rows[i].ask;
        CHECK_EQ(run_start_put(&in, &s), 0);
        struct cursor c = cursor_of(in.data, in.size);
        CHECK_EQ(run_start_get(&c, &got, NULL), rows[i].taken ? 0 : -EBADMSG);
    }
}

TEST(denial_payload)
{
    CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
    CHECK_EQ(run_denial_put(&in, &denial), 0);
    check_payload(denial_again, &in);
}

TEST(done_payload)
{
    CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
    CHECK_EQ(run_done_put(&in, &done), 0);
    struct cursor c = cursor_of(in.data, in.size);
    CLEANUP(run_done_done) struct run_done d = { 0 };
    CHECK_EQ(run_done_get(&c, &d, NULL), 0);
    CHECK_EQ(d.status, -3);
    CHECK_EQ(d.denials_dropped, 9);
    CHECK(d.uses[1].count == UINT64_MAX);
    CHECK_EQ(d.denial_counts[2], 7);
    run_done_done(&d);
    check_payload(done_again, &in);
}

TEST(hostile_counts_allocate_nothing)
{
    /* Everything before the count of arguments, then the largest count. */
    CLEANUP(buf_done) struct buf in = BUF_INIT(1000);
    for (int i = 0; i < 3; i++)
        buf_string(&in, "");
    buf_u32(&in, UINT32_MAX);
    buf_append(&in, "0123456789", 10);
    struct cursor c = cursor_of(in.data, in.size);
    struct run_start s = { 0 };
    struct error e = ERROR_INIT;
    CHECK_EQ(run_start_get(&c, &s, &e), -EBADMSG);
    CHECK_HAS(e.what, "count of 4294967295");
    CHECK(!s.args);
    /* More denials than there may be, all of them sent. */
    struct run_done many = done;
    uint64_t zeros[RUN_DENIALS_MAX + 1] = { 0 };
    many.denial_counts = zeros;
    many.denial_count = ARRAY_SIZE(zeros);
    CLEANUP(buf_done) struct buf out = BUF_INIT(10000);
    CHECK_EQ(run_done_put(&out, &many), -E2BIG);
    c = cursor_of(out.data, out.size);
    struct run_done d = { 0 };
    CHECK_EQ(run_done_get(&c, &d, NULL), -EBADMSG);
    many.denial_count = RUN_DENIALS_MAX;
    buf_clear(&out);
    CHECK_EQ(run_done_put(&out, &many), 0);
}

TEST(limits_have_names)
{
    for (unsigned i = 0; i < RUN_LIMIT_COUNT; i++)
        CHECK(strcmp(run_limit_name(i), "unknown") != 0);
    CHECK_STR(run_limit_name(RUN_LIMIT_COUNT), "unknown");
}

TEST_MAIN()
