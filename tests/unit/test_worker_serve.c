/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker/serve.c with the test as the ingress room: a fresh guest for each request, every way in
 * which one can end and what the client is told, places and who waits for them, clients that go
 * away, lines of output, and nothing left over.
 */
#include <fcntl.h>

#include "tests/unit/http_far_end.h"
#include "tests/unit/worker_fixture.h"
#include "worker/keyvalue.h"
#include "worker/serve.h"

#define GRANTS "grants:\n- stdio: [stdout, stderr]\n- keyvalue: hits\n  allow: [increment]\n"

struct serving {
    struct fixture f;
    struct serve *serve;
    struct far_end far;
    void (*round)(void *);
    unsigned idle, idle_max; /* rounds without a guest after which the loop ends */
    int out;                 /* what the guests' lines can be read from */
};
static struct serving *running;

/* The loop ends when nothing is left to do. */
static void count_rounds(void *context)
{
    struct serving *s = running;
    s->round(context);
    s->idle = s->f.loop.live ? 0 : s->idle + 1;
    if (s->idle > s->idle_max)
        s->f.loop.stays = false;
}

static bool never_sleeps(struct source *source)
{
    return true;
}

static void serving_open(struct serving *s, const char *grants, uint32_t concurrency)
{
    struct error e = ERROR_INIT;
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    stub_serves = true;
    fixture_serves = true;
    fixture_open_with(&s->f, grants, -1, ends[1], -1);
    fixture_serves = false;
    s->out = ends[0];
    CHECK_EQ(serve_new(&s->f.loop, s->f.guest, NULL, concurrency, &s->serve, &e), 0);
    CHECK_EQ(serve_attach(s->serve, far_open(&s->far), &e), 0);
    s->idle_max = 3;
}

static void serving_run(struct serving *s, enum ambit_poll (*guest)(struct ambit_task *),
                        void *test)
{
    struct error e = ERROR_INIT;
    stub_guest = guest;
    stub_guest_test = test;
    serve_start(s->serve, s->f.expires_ns);
    s->round = s->f.loop.round;
    s->f.loop.round = count_rounds;
    if (s->f.loop.sources) /* the idle rounds end it */
        s->f.loop.sources->sleep = never_sleeps;
    s->idle = 0;
    running = s;
    CHECK_EQ(loop_run(&s->f.loop, &e), 0);
}

static void serving_close(struct serving *s)
{
    CHECK_EQ(s->f.loop.live, 0);
    CHECK_EQ(s->f.loop.operation_count, 0);
    CHECK_EQ(s->f.loop.heap_count, 0);
    serve_free(s->serve);
    far_close(&s->far);
    close(s->out);
    fixture_close(&s->f);
    stub_serves = false;
}

/* ---- guests ---- */

static void respond(struct ambit_task *t, uint32_t body)
{
    struct ambit_pair header = { bytes("content-type"), bytes("text/plain") };
    struct ambit_http_response r = { .status = 200, .headers = &header, .header_count = 1 };
    struct ambit_http_error error;
    CHECK_EQ(t->vtbl->http_respond(t->host, t->exchange, &r, body, &error), 0);
}

static void say(struct ambit_task *t, const char *text)
{
    uint32_t out = t->vtbl->stdio(t->host, 1);
    size_t permit = 0;
    CHECK_EQ(t->vtbl->stream_check_write(t->host, out, &permit), AMBIT_STREAM_OK);
    CHECK(permit >= strlen(text));
    (void)t->vtbl->stream_write(t->host, out, (const uint8_t *)text, strlen(text));
    t->vtbl->stream_drop(t->host, out);
}

static enum ambit_poll answers(struct ambit_task *t)
{
    struct ambit_http_error error;
    uint32_t body = t->vtbl->http_body_new(t->host, UINT64_MAX);
    respond(t, body);
    CHECK_EQ(t->vtbl->stream_write(t->host, body, (const uint8_t *)t->target, strlen(t->target)),
             AMBIT_STREAM_OK);
    CHECK_EQ(t->vtbl->http_body_finish(t->host, body, NULL, 0, &error), 0);
    return AMBIT_POLL_DONE;
}

static enum ambit_poll traps(struct ambit_task *t)
{
    t->result = (struct ambit_result){ .outcome = AMBIT_OUTCOME_TRAP, .message = bytes("oops") };
    return AMBIT_POLL_DONE;
}

static enum ambit_poll says_nothing(struct ambit_task *t)
{
    return AMBIT_POLL_DONE;
}

static enum ambit_poll fails(struct ambit_task *t)
{
    struct ambit_http_error error = { .code = HTTP_ERROR_LOOP_DETECTED, .text = bytes("again") };
    CHECK_EQ(t->vtbl->http_fail(t->host, t->exchange, &error), 0);
    return AMBIT_POLL_DONE;
}

static enum ambit_poll answers_and_traps(struct ambit_task *t)
{
    uint32_t body = t->vtbl->http_body_new(t->host, UINT64_MAX);
    respond(t, body);
    CHECK_EQ(t->vtbl->stream_write(t->host, body, (const uint8_t *)"half", 4), AMBIT_STREAM_OK);
    return traps(t);
}

/* Parked until somebody ends it. */
static enum ambit_poll parks(struct ambit_task *t)
{
    if (t->vtbl->enter(t->host, 0) != 0) {
        t->result.outcome = AMBIT_OUTCOME_ENDED;
        return AMBIT_POLL_DONE;
    }
    if (t->polls == 1)
        (void)t->vtbl->wait(t->host, t->exchange, false, 1);
    return AMBIT_POLL_PARKED;
}

static enum ambit_poll opens_too_much(struct ambit_task *t)
{
    while (t->vtbl->enter(t->host, 0) == 0)
        (void)t->vtbl->stdio(t->host, 1);
    t->result.outcome = AMBIT_OUTCOME_ENDED;
    return AMBIT_POLL_DONE;
}

/* ---- tests ---- */

static void expect_answer(struct far_end *far, uint64_t number, const char *text)
{
    struct http_response r;
    size_t count;
    struct cursor c = far_expect(far, HTTP_RESPONSE, number);
    CHECK_EQ(http_response_get(&c, far->fields, &r, NULL), 0);
    CHECK_EQ(r.status, 200);
    CHECK(!r.no_body);
    c = far_expect(far, HTTP_BODY, number);
    CHECK_EQ(cursor_left(&c), strlen(text));
    CHECK_EQ(memcmp(c.at, text, strlen(text)), 0);
    c = far_expect(far, HTTP_END, number);
    CHECK_EQ(http_fields_get(&c, far->fields, &count, NULL), 0);
}

TEST(a_fresh_guest_for_each_request)
{
    struct serving s = { 0 };
    serving_open(&s, GRANTS, 4);
    for (uint64_t n = 1; n <= 3; n++)
        far_request(&s.far, n, HTTP_NO_BODY, "/hello");
    serving_run(&s, answers, NULL);
    for (uint64_t n = 1; n <= 3; n++)
        expect_answer(&s.far, n, "/hello");
    far_expect_nothing(&s.far);
    serving_close(&s);
}

TEST(how_a_request_ends_without_an_answer)
{
    static const struct {
        enum ambit_poll (*guest)(struct ambit_task *);
        const char *limits;
        enum http_error error;
    } rows[] = {
        { traps, "", HTTP_ERROR_INTERNAL },
        { says_nothing, "", HTTP_ERROR_INTERNAL },
        { fails, "", HTTP_ERROR_LOOP_DETECTED },
        { parks, "limits: { wall: 20ms }\n", HTTP_ERROR_RESPONSE_TIMEOUT },
        { opens_too_much, "limits: { handles: 5 }\n", HTTP_ERROR_CONNECTION_LIMIT_REACHED },
        { opens_too_much, "limits: { hostcalls: 5 }\n", HTTP_ERROR_CONNECTION_LIMIT_REACHED },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct serving s = { 0 };
        char grants[256];
        snprintf(grants, sizeof(grants), "%s" GRANTS, rows[i].limits);
        serving_open(&s, grants, 2);
        far_request(&s.far, 1, 0, "/");
        serving_run(&s, rows[i].guest, NULL);
        CHECK_EQ(far_expect_abort(&s.far, 1).error, rows[i].error);
        far_expect_nothing(&s.far);
        /* It touched no other: the next one is answered. */
        far_request(&s.far, 2, HTTP_NO_BODY, "/next");
        serving_run(&s, answers, NULL);
        expect_answer(&s.far, 2, "/next");
        serving_close(&s);
    }
}

TEST(an_answer_that_breaks_off)
{
    struct serving s = { 0 };
    serving_open(&s, GRANTS, 2);
    far_request(&s.far, 1, HTTP_NO_BODY, "/");
    serving_run(&s, answers_and_traps, NULL);
    far_expect(&s.far, HTTP_RESPONSE, 1);
    far_expect(&s.far, HTTP_BODY, 1);
    CHECK_EQ(far_expect_abort(&s.far, 1).error, HTTP_ERROR_INTERNAL);
    far_expect_nothing(&s.far);
    serving_close(&s);
}

/* The rest of a request nobody reads is not wanted. */
TEST(a_body_that_nobody_reads)
{
    struct serving s = { 0 };
    serving_open(&s, GRANTS, 2);
    far_request(&s.far, 1, 0, "/x");
    far_body(&s.far, 1, "unread", 6);
    serving_run(&s, answers, NULL);
    expect_answer(&s.far, 1, "/x");
    far_expect(&s.far, HTTP_DISCARD, 1);
    far_expect_nothing(&s.far);
    far_body(&s.far, 1, "more", 4); /* it did not know yet */
    serving_run(&s, answers, NULL);
    serving_close(&s);
}

static enum ambit_poll reads_first(struct ambit_task *t)
{
    uint8_t into[64];
    size_t size = 0;
    enum ambit_stream_status status;
    while ((status = t->vtbl->stream_read(t->host, t->exchange, into, sizeof(into), &size)) ==
               AMBIT_STREAM_OK &&
           size) {
    }
    if (status == AMBIT_STREAM_OK)
        return t->vtbl->wait(t->host, t->exchange, false, t->polls) == AMBIT_PENDING
                   ? AMBIT_POLL_PARKED
                   : AMBIT_POLL_SLICE;
    return answers(t);
}

TEST(a_client_that_waits_for_100)
{
    struct serving s = { 0 };
    serving_open(&s, GRANTS, 2);
    far_request(&s.far, 1, HTTP_EXPECTS_CONTINUE, "/x");
    far_request(&s.far, 2, 0, "/y");
    far_body(&s.far, 2, "whole", 5);
    far_end_body(&s.far, 2, NULL);
    /* Exchange 1 is answered when its body comes, after the window was seen. */
    s.f.loop.stays = true;
    struct error e = ERROR_INIT;
    stub_guest = reads_first;
    serve_start(s.serve, GRANT_UNSET);
    struct source *source = s.f.loop.sources;
    for (int turn = 0; turn < 2; turn++) {
        CHECK_EQ(source->take(source, &e), 0);
        while (s.f.loop.queue_first) {
            struct guest *g = s.f.loop.queue_first;
            loop_dequeue(&s.f.loop, g);
            guest_turn(g);
        }
        s.f.loop.round(s.f.loop.round_context);
        if (turn == 0) {
            struct cursor c = far_expect(&s.far, HTTP_WINDOW, 1);
            CHECK_EQ(cursor_u32(&c), 0);
            expect_answer(&s.far, 2, "/y");
            far_body(&s.far, 1, "body", 4);
            far_end_body(&s.far, 1, NULL);
        }
    }
    expect_answer(&s.far, 1, "/x");
    serving_close(&s);
}

static enum ambit_poll parks_until_told(struct ambit_task *t)
{
    const bool *go = t->test;
    if (*go)
        return answers(t);
    return parks(t);
}

TEST(places_and_who_waits_for_them)
{
    static bool go;
    struct serving s = { 0 };
    go = false;
    serving_open(&s, "limits: { wall: 30ms }\n" GRANTS, 2);
    for (uint64_t n = 1; n <= 5; n++) /* two run, two wait, one is refused */
        far_request(&s.far, n, HTTP_NO_BODY, "/w");
    s.idle_max = 50;
    serving_run(&s, parks_until_told, &go);
    CHECK_EQ(far_expect_abort(&s.far, 5).error, HTTP_ERROR_CONNECTION_LIMIT_REACHED);
    for (unsigned seen = 0; seen < 4; seen++) {
        struct cursor c;
        uint64_t number;
        CHECK_EQ(far_get(&s.far, &number, &c), HTTP_ABORT);
        CHECK(number <= 4);
    }
    far_expect_nothing(&s.far);
    go = true;
    far_request(&s.far, 6, HTTP_NO_BODY, "/w");
    serving_run(&s, parks_until_told, &go);
    expect_answer(&s.far, 6, "/w");
    serving_close(&s);
}

TEST(a_client_that_goes_away)
{
    static const struct http_failure gone = { .error = HTTP_OK, .number = UINT64_MAX };
    struct serving s = { 0 };
    serving_open(&s, GRANTS, 1);
    far_request(&s.far, 1, 0, "/");
    far_request(&s.far, 2, 0, "/");
    far_abort(&s.far, 2, &gone); /* waits for a place */
    far_abort(&s.far, 1, &gone); /* has a guest */
    serving_run(&s, parks, NULL);
    far_expect_nothing(&s.far);
    CHECK_EQ(s.f.guest->done.hostcalls, 0); /* it came to nothing */
    far_request(&s.far, 3, HTTP_NO_BODY, "/on");
    serving_run(&s, answers, NULL);
    expect_answer(&s.far, 3, "/on");
    serving_close(&s);
}

static enum ambit_poll speaks(struct ambit_task *t)
{
    if (t->polls == 1) {
        say(t, "one ");
        return AMBIT_POLL_SLICE;
    }
    say(t, "line\nand a rest");
    return answers(t);
}

TEST(lines_of_requests_do_not_mix)
{
    struct serving s = { 0 };
    char text[256];
    serving_open(&s, GRANTS, 4);
    far_request(&s.far, 1, HTTP_NO_BODY, "/1");
    far_request(&s.far, 2, HTTP_NO_BODY, "/2");
    serving_run(&s, speaks, NULL);
    ssize_t n = read(s.out, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n] = '\0';
    CHECK_STR(text, "one line\none line\nand a rest\nand a rest\n");
    CHECK_EQ(s.f.guest->done.output_bytes, 2 * strlen("one line\nand a rest"));
    serving_close(&s);
}

static enum ambit_poll speaks_long(struct ambit_task *t)
{
    static char part[4097];
    memset(part, 'x', 4096);
    say(t, t->polls == 1 ? part : "end\n");
    return t->polls == 1 ? AMBIT_POLL_SLICE : answers(t);
}

TEST(parts_of_long_lines_do_not_mix)
{
    struct serving s = { 0 };
    static char text[3 * 4096];
    serving_open(&s, GRANTS, 4);
    far_request(&s.far, 1, HTTP_NO_BODY, "/1");
    far_request(&s.far, 2, HTTP_NO_BODY, "/2");
    serving_run(&s, speaks_long, NULL);
    CHECK_EQ(read(s.out, text, sizeof(text) - 1), 2 * (4097 + 4));
    CHECK(text[4096] == '\n' && text[2 * 4097 - 1] == '\n');
    CHECK_STR(text + 2 * 4097, "end\nend\n");
    serving_close(&s);
}

static enum ambit_poll shouts(struct ambit_task *t)
{
    static char line[4001];
    memset(line, 'x', 4000);
    line[3999] = '\n';
    for (int i = 0; i < 100; i++)
        say(t, line);
    return answers(t);
}

/* Nobody reads: lines are dropped, and who reads later is told. */
TEST(output_that_nobody_reads)
{
    struct serving s = { 0 };
    static char text[200000];
    serving_open(&s, GRANTS, 4);
    far_request(&s.far, 1, HTTP_NO_BODY, "/1");
    serving_run(&s, shouts, NULL);
    expect_answer(&s.far, 1, "/1"); /* it was not held up */
    size_t size = 0;
    for (int turn = 0; turn < 5; turn++) {
        ssize_t n;
        while ((n = read(s.out, text + size, sizeof(text) - 1 - size)) > 0)
            size += (size_t)n;
        if (s.f.guest->sinks[STREAM_OUT].waits)
            lines_writable(s.f.guest, &s.f.guest->streams[STREAM_OUT].watch);
        lines_flush(s.f.guest);
    }
    CHECK_EQ(size % 4000, 0); /* whole lines */
    CHECK(size < 200000);
    far_request(&s.far, 2, HTTP_NO_BODY, "/2");
    serving_run(&s, speaks, NULL);
    ssize_t n = read(s.out, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n] = '\0';
    CHECK_HAS(text, "lines were dropped, nobody read them\none line\n");
    serving_close(&s);
}

static enum ambit_poll reads_a_file(struct ambit_task *t)
{
    struct ambit_fs_stat st;
    uint32_t root = t->vtbl->fs_root(t->host), file;
    int made = t->vtbl->fs_open_at(t->host, root, true, bytes("tmp/x"), 1 | 4, 3, &file);
    CHECK_EQ(made, 0); /* a memory folder is fresh: exclusive creation works each time */
    t->vtbl->fs_drop(t->host, file);
    CHECK(t->vtbl->fs_stat_at(t->host, root, true, bytes("etc/passwd"), &st) != 0);
    t->vtbl->fs_drop(t->host, root);
    return answers(t);
}

TEST(a_filesystem_of_ones_own_and_denials_of_all)
{
    struct serving s = { 0 };
    serving_open(&s, "grants:\n- fs: /tmp\n  from: memory\n  allow: rw\n", 20);
    for (uint64_t n = 1; n <= 20; n++)
        far_request(&s.far, n, HTTP_NO_BODY, "/");
    serving_run(&s, reads_a_file, NULL);
    CHECK_EQ(s.f.denials, 1); /* told once */
    guest_report_totals(s.f.guest);
    CHECK_EQ(s.f.guest->done.denials, 20);
    CHECK_EQ(s.f.guest->done.denial_count, 1);
    CHECK_EQ(s.f.guest->done.denial_counts[0], 20);
    serving_close(&s);
}

static enum ambit_poll counts(struct ambit_task *t)
{
    uint32_t bucket = 0;
    uint64_t n = 0;
    CHECK_EQ(t->vtbl->kv_open(t->host, bytes("hits"), &bucket), 0);
    CHECK_EQ(t->vtbl->kv_increment(t->host, bucket, bytes("n"), 1, &n), 0);
    *(uint64_t *)t->test = n;
    t->vtbl->kv_drop(t->host, bucket);
    return answers(t);
}

TEST(buckets_are_shared)
{
    static uint64_t last;
    struct serving s = { 0 };
    serving_open(&s, GRANTS, 10);
    for (uint64_t n = 1; n <= 10; n++)
        far_request(&s.far, n, HTTP_NO_BODY, "/");
    serving_run(&s, counts, &last);
    CHECK_EQ(last, 10);
    serving_close(&s);
}

TEST(ten_thousand_requests_leave_nothing)
{
    struct serving s = { 0 };
    long live = 0;
    serving_open(&s, GRANTS, 8);
    for (uint64_t n = 1; n <= 10000; n++) {
        far_request(&s.far, n, HTTP_NO_BODY, "/");
        if (n % 8)
            continue;
        serving_run(&s, n % 3 == 0 ? speaks : n % 3 == 1 ? answers : answers_and_traps, NULL);
        struct cursor c;
        uint64_t number;
        char text[1024];
        while (far_get(&s.far, &number, &c) != 0) {
        }
        while (read(s.out, text, sizeof(text)) > 0) {
        }
        if (n == 800)
            live = mem_live();
    }
    CHECK_EQ(mem_live(), live);
    serving_close(&s);
}

TEST(a_stop_lets_them_end)
{
    static bool go;
    struct serving s = { 0 };
    struct error e = ERROR_INIT;
    go = false;
    serving_open(&s, GRANTS, 2);
    far_request(&s.far, 1, 0, "/a");
    stub_guest = parks_until_told;
    stub_guest_test = &go;
    serve_start(s.serve, GRANT_UNSET);
    struct source *source = s.f.loop.sources;
    CHECK_EQ(source->take(source, &e), 0);
    struct guest *g = s.f.loop.queue_first;
    loop_dequeue(&s.f.loop, g);
    guest_turn(g);
    serve_stop(s.serve, RUN_STOP_INTERRUPT);
    CHECK(s.f.loop.stays);
    far_request(&s.far, 2, 0, "/b");
    far_end_body(&s.far, 1, NULL); /* what it waits for */
    go = true;
    CHECK_EQ(loop_run(&s.f.loop, &e), 0);
    CHECK_EQ(far_expect_abort(&s.far, 2).error, HTTP_ERROR_CONNECTION_LIMIT_REACHED);
    expect_answer(&s.far, 1, "/a");
    far_expect_nothing(&s.far);
    serving_close(&s);
}

TEST(a_second_stop_ends_them)
{
    struct serving s = { 0 };
    struct error e = ERROR_INIT;
    serving_open(&s, GRANTS, 1);
    far_request(&s.far, 1, 0, "/a");
    far_request(&s.far, 2, 0, "/b");
    stub_guest = parks;
    serve_start(s.serve, GRANT_UNSET);
    struct source *source = s.f.loop.sources;
    CHECK_EQ(source->take(source, &e), 0);
    struct guest *g = s.f.loop.queue_first;
    loop_dequeue(&s.f.loop, g);
    guest_turn(g);
    serve_stop(s.serve, RUN_STOP_INTERRUPT);
    serve_stop(s.serve, RUN_STOP_INTERRUPT);
    CHECK_EQ(loop_run(&s.f.loop, &e), 0);
    CHECK_EQ(far_expect_abort(&s.far, 2).error, HTTP_ERROR_CONNECTION_LIMIT_REACHED);
    CHECK_EQ(far_expect_abort(&s.far, 1).error, HTTP_ERROR_CONNECTION_LIMIT_REACHED);
    serving_close(&s);
}

TEST(an_ingress_that_lies_ends_the_worker)
{
    for (int which = 0; which < 4; which++) {
        struct serving s = { 0 };
        struct error e = ERROR_INIT;
        serving_open(&s, GRANTS, 2);
        far_request(&s.far, 1, 0, "/");
        if (which == 0)
            far_request(&s.far, 1, 0, "/"); /* twice */
        else if (which == 1)
            far_response(&s.far, 1, 200, true);
        else if (which == 2)
            far_request(&s.far, 2, 0, "no slash");
        else
            far_body(&s.far, 7, "x", 1);
        stub_guest = parks;
        serve_start(s.serve, GRANT_UNSET);
        CHECK(loop_run(&s.f.loop, &e) < 0);
        serve_free(s.serve);
        far_close(&s.far);
        close(s.out);
        fixture_close(&s.f);
    }
}

static enum ambit_poll answers_if_it_may(struct ambit_task *t)
{
    if (t->vtbl->enter(t->host, 0) == 0)
        return answers(t);
    t->result.outcome = AMBIT_OUTCOME_ENDED;
    return AMBIT_POLL_DONE;
}

TEST(a_new_ingress_room)
{
    struct serving s = { 0 };
    struct far_end other;
    struct error e = ERROR_INIT;
    serving_open(&s, GRANTS, 2);
    far_request(&s.far, 1, 0, "/");
    stub_guest = parks;
    serve_start(s.serve, GRANT_UNSET);
    struct source *source = s.f.loop.sources;
    CHECK_EQ(source->take(source, &e), 0);
    CHECK_EQ(s.f.loop.live, 1);
    CHECK_EQ(serve_attach(s.serve, far_open(&other), &e), 0);
    far_request(&other, 1, HTTP_NO_BODY, "/new");
    serving_run(&s, answers_if_it_may, NULL);
    expect_answer(&other, 1, "/new");
    CHECK_EQ(s.f.loop.live, 0);
    far_close(&other);
    serving_close(&s);
}

TEST_MAIN()
