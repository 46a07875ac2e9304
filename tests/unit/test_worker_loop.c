/* SPDX-License-Identifier: Apache-2.0 */
/* worker/{loop,operations,guest,account}.c: turns, waits, limits, ends, with guests that are C
 * functions of the stub engine. */
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "tests/unit/worker_fixture.h"

#define ALL "grants:\n  - stdio: [stdin, stdout, stderr]\n  - clock: real\n"

static enum ambit_poll exits_with_7(struct ambit_task *t)
{
    t->result = (struct ambit_result){
        .outcome = AMBIT_OUTCOME_EXIT, .status = 7, .memory_peak_bytes = 123, .slices = 4
    };
    return AMBIT_POLL_DONE;
}

TEST(an_exit)
{
    struct fixture f;
    fixture_open(&f, ALL);
    fixture_run(&f, exits_with_7, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_EXIT);
    CHECK_EQ(f.guest->done.status, 7);
    CHECK_EQ(f.guest->done.memory_peak_bytes, 123);
    CHECK_EQ(f.guest->done.slices, 4);
    CHECK_EQ(f.guest->done.use_count, 2);
    fixture_close(&f);
}

static enum ambit_poll traps(struct ambit_task *t)
{
    t->result = (struct ambit_result){ .outcome = AMBIT_OUTCOME_TRAP,
                                       .message = bytes("unreachable\nat x") };
    return AMBIT_POLL_DONE;
}

TEST(a_trap)
{
    struct fixture f;
    fixture_open(&f, ALL);
    fixture_run(&f, traps, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_TRAP);
    CHECK_STR(f.guest->done.message, "unreachable\nat x");
    fixture_close(&f);
}

static enum ambit_poll ends_for_no_reason(struct ambit_task *t)
{
    t->result = (struct ambit_result){ .outcome = AMBIT_OUTCOME_ENDED };
    return AMBIT_POLL_DONE;
}

TEST(an_end_without_a_reason_is_a_fault)
{
    struct fixture f;
    fixture_open(&f, ALL);
    fixture_run(&f, ends_for_no_reason, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_FAULT);
    fixture_close(&f);
}

/* ---- limits ---- */

static enum ambit_poll calls_for_ever(struct ambit_task *t)
{
    while (t->vtbl->enter(t->host, 0) == 0)
        t->completed++;
    t->result = (struct ambit_result){ .outcome = AMBIT_OUTCOME_ENDED };
    return AMBIT_POLL_DONE;
}

TEST(hostcalls_are_exact)
{
    struct fixture f;
    fixture_open(&f, "limits: { hostcalls: 1000 }\n" ALL);
    fixture_run(&f, calls_for_ever, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_LIMIT);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_HOSTCALLS);
    CHECK_EQ(f.guest->done.hostcalls, 1000);
    CHECK_EQ(f.guest->task->completed, 1000);
    CHECK_HAS(f.guest->done.message, "stub:stub/stub#call");
    fixture_close(&f);
}

/* Burns a slice of one millisecond; ends when slice() says so. */
static enum ambit_poll spins(struct ambit_task *t)
{
    uint64_t until = clock_thread_cpu_ns() + NS_PER_MS;
    while (clock_thread_cpu_ns() < until) {
    }
    t->result.slices++;
    if (t->vtbl->slice(t->host) == AMBIT_SLICE_YIELD)
        return AMBIT_POLL_SLICE;
    t->result.outcome = AMBIT_OUTCOME_ENDED;
    return AMBIT_POLL_DONE;
}

TEST(cpu_ends_at_the_slice)
{
    struct fixture f;
    fixture_open(&f, "limits: { cpu: 20ms, wall: 1h }\n" ALL);
    fixture_run(&f, spins, NULL);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_CPU);
    CHECK(f.guest->done.cpu_ns > 20 * NS_PER_MS);
    CHECK(f.guest->done.slices <=
          20); /* slices of a millisecond and a bit: never one more than needed */
    fixture_close(&f);
}

TEST(wall_ends_a_spinning_guest)
{
    struct fixture f;
    fixture_open(&f, "limits: { cpu: 1h, wall: 20ms }\n" ALL);
    fixture_run(&f, spins, NULL);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_WALL);
    CHECK(f.guest->done.wall_ns >= 20 * NS_PER_MS);
    fixture_close(&f);
}

/* Waits for standard input as an engine does: asks again after each wake; ends when the stream says
 * so. */
static enum ambit_poll reads(struct ambit_task *t)
{
    uint8_t byte[64];
    size_t size;
    if (!t->test) {
        t->test = t;
        t->completed_ids[15] = t->vtbl->stdio(t->host, 0);
    }
    uint32_t s = (uint32_t)t->completed_ids[15];
    while (t->vtbl->wait(t->host, s, false, 100 + t->polls) == AMBIT_READY) {
        enum ambit_stream_status status =
            t->vtbl->stream_read(t->host, s, byte, sizeof(byte), &size);
        if (status == AMBIT_STREAM_OK) {
            t->result.status += (int)size;
            continue;
        }
        t->result.outcome = status == AMBIT_STREAM_END ? AMBIT_OUTCOME_ENDED : AMBIT_OUTCOME_EXIT;
        t->vtbl->stream_drop(t->host, s);
        return AMBIT_POLL_DONE;
    }
    return AMBIT_POLL_PARKED;
}

TEST(wall_ends_a_parked_guest)
{
    struct fixture f;
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fixture_open_with(&f, "limits: { wall: 300ms }\n" ALL, fds[0], -1, -1);
    fixture_run(&f, reads, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_LIMIT);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_WALL);
    CHECK_EQ(f.guest->task->polls, 2);
    CHECK_EQ(f.guest->task->completed, 1);
    fixture_close(&f);
    close(fds[1]);
}

TEST(expiry_ends_a_stream_not_the_guest)
{
    struct fixture f;
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fixture_open_with(&f, "expires: 300ms\n" ALL, fds[0], -1, -1);
    fixture_run(&f, reads, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_EXIT);
    CHECK_EQ(f.denials, 1);
    CHECK_EQ(f.guest->denials->items[0].reason, GRANT_EXPIRED);
    fixture_close(&f);
    close(fds[1]);
}

static enum ambit_poll asks_after_expiry(struct ambit_task *t)
{
    const struct ambit_pair *pairs;
    size_t count;
    struct timespec pause = { .tv_nsec = 600 * 1000 * 1000 }; /* longer than the grants */
    CHECK_EQ(t->vtbl->enter(t->host, 0), 0);
    t->vtbl->environment(t->host, &pairs, &count);
    CHECK_EQ(count, 1);
    nanosleep(&pause, NULL);
    CHECK_EQ(t->vtbl->enter(t->host, 0), 0); /* no trap */
    t->vtbl->environment(t->host, &pairs, &count);
    CHECK_EQ(count, 0);
    return AMBIT_POLL_DONE;
}

TEST(expiry_is_seen_by_the_next_call)
{
    struct fixture f;
    fixture_open(&f, "expires: 500ms\ngrants:\n  - env: { A: b }\n");
    fixture_run(&f, asks_after_expiry, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_EXIT);
    CHECK_EQ(f.denials, 1);
    fixture_close(&f);
}

static enum ambit_poll grows(struct ambit_task *t)
{
    t->vtbl->limit(t->host, (enum ambit_limit)(uintptr_t)t->test, 1 << 30);
    t->vtbl->limit(t->host, AMBIT_LIMIT_INSTANCES, 5); /* the first reason stands */
    t->result.outcome = AMBIT_OUTCOME_ENDED;
    return AMBIT_POLL_DONE;
}

TEST(the_engines_limits)
{
    static const struct {
        enum ambit_limit engine;
        enum run_limit told;
    } pairs[] = {
        { AMBIT_LIMIT_MEMORY, RUN_LIMIT_MEMORY },
        { AMBIT_LIMIT_HANDLES, RUN_LIMIT_HANDLES },
        { AMBIT_LIMIT_INSTANCES, RUN_LIMIT_INSTANCES },
        { AMBIT_LIMIT_HOSTCALL_BYTES, RUN_LIMIT_HOSTCALL_BYTES },
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        struct fixture f;
        fixture_open(&f, "limits: { memory: 1MiB, handles: 33 }\n" ALL);
        fixture_run(&f, grows, (void *)(uintptr_t)pairs[i].engine);
        CHECK_EQ(f.guest->done.end, RUN_END_LIMIT);
        CHECK_EQ(f.guest->done.limit, pairs[i].told);
        CHECK_EQ(f.guest->task->config.memory_bytes, 1 << 20);
        CHECK_EQ(f.guest->task->config.handles, 33);
        fixture_close(&f);
    }
}

/* ---- waiting ---- */

TEST(input_wakes_a_parked_guest)
{
    struct fixture f;
    struct error e = ERROR_INIT;
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fixture_open_with(&f, ALL, fds[0], -1, -1);
    pid_t child = fork();
    if (child == 0) {
        struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
        for (int i = 0; i < 3; i++) {
            nanosleep(&pause, NULL);
            if (write(fds[1], "abc", 3) != 3)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    stub_guest = reads;
    stub_guest_test = NULL;
    CHECK_EQ(guest_start(f.guest, NULL, GRANT_UNSET, &e), 0);
    CHECK_EQ(loop_run(&f.loop, &e), 0);
    CHECK_EQ(f.guest->done.status, 9);
    CHECK(f.guest->task->polls <= 5);
    fixture_close(&f);
}

/* Sleeps `test` times 1 ms. */
static enum ambit_poll sleeps(struct ambit_task *t)
{
    uintptr_t left = (uintptr_t)t->test;
    if (left == 0)
        return AMBIT_POLL_DONE;
    if (t->result.slices == 0)
        t->result.slices = t->vtbl->monotonic_now(t->host) + NS_PER_MS;
    while (t->vtbl->wait_until(t->host, t->result.slices, 1000 + t->polls) == AMBIT_READY) {
        t->result.slices = 0;
        t->test = (void *)(left = left - 1);
        if (left == 0)
            return AMBIT_POLL_DONE;
        t->result.slices = t->vtbl->monotonic_now(t->host) + NS_PER_MS;
    }
    return AMBIT_POLL_PARKED;
}

TEST(a_real_sleep_takes_its_time)
{
    struct fixture f;
    fixture_open(&f, ALL);
    fixture_run(&f, sleeps, (void *)(uintptr_t)5);
    CHECK(f.guest->done.wall_ns >= 5 * NS_PER_MS);
    CHECK(f.guest->done.cpu_ns < 5 * NS_PER_MS);
    CHECK_EQ(f.guest->task->completed, 5);
    fixture_close(&f);
}

TEST(a_frozen_sleep_takes_none)
{
    struct fixture f;
    fixture_open(&f, "limits: { wall: 30s }\ngrants:\n  - clock: 2026-01-01T00:00:00Z\n");
    fixture_run(&f, sleeps, (void *)(uintptr_t)50000);
    CHECK_EQ(f.guest->done.end, RUN_END_EXIT);
    CHECK_EQ(f.guest->task->completed, 50000);
    CHECK_EQ(f.guest->clock.frozen_monotonic_ns, 50000 * NS_PER_MS + 0);
    CHECK_EQ(f.denials, 0);
    fixture_close(&f);
}

static enum ambit_poll sleeps_in_disorder(struct ambit_task *t)
{
    static const uint64_t times[] = { 500, 100, 300, 100, 400 };
    if (t->polls == 1) {
        for (size_t i = 0; i < ARRAY_SIZE(times); i++)
            CHECK_EQ(t->vtbl->wait_until(t->host, times[i] * NS_PER_MS, i + 1), AMBIT_PENDING);
    }
    return t->completed == ARRAY_SIZE(times) ? AMBIT_POLL_DONE : AMBIT_POLL_PARKED;
}

TEST(frozen_time_passes_in_order)
{
    static const uint64_t order[] = { 2, 4, 3, 5, 1 };
    struct fixture f;
    fixture_open(&f, "grants: []\n");
    fixture_run(&f, sleeps_in_disorder, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        CHECK_EQ(f.guest->task->completed_ids[i], order[i]);
    CHECK_EQ(f.denials, 1);
    CHECK_STR(f.operations[0], "sleep");
    fixture_close(&f);
    fixture_open(&f, ALL);
    fixture_run(&f, sleeps_in_disorder, NULL); /* and real time too */
    CHECK_EQ(f.guest->task->completed_ids[0] + f.guest->task->completed_ids[1], 6);
    CHECK_EQ(f.guest->task->completed_ids[4], 1);
    fixture_close(&f);
}

static enum ambit_poll waits_for_ever(struct ambit_task *t)
{
    CHECK_EQ(t->vtbl->wait_until(t->host, UINT64_MAX, 1 + t->polls),
             t->polls > 1 ? AMBIT_READY : AMBIT_PENDING);
    if (t->polls == 1)
        return AMBIT_POLL_PARKED;
    t->result.outcome = AMBIT_OUTCOME_ENDED;
    return AMBIT_POLL_DONE;
}

TEST(for_ever_is_until_the_wall)
{
    struct fixture f;
    fixture_open(&f, "limits: { wall: 10ms }\n" ALL);
    fixture_run(&f, waits_for_ever, NULL);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_WALL);
    fixture_close(&f);
}

/* An engine that goes on parking an ended guest is given up on. */
static enum ambit_poll parks_for_ever(struct ambit_task *t)
{
    return AMBIT_POLL_PARKED;
}

static enum ambit_poll wakes_for_ever(struct ambit_task *t)
{
    ambit_task_wake(t);
    return AMBIT_POLL_PARKED;
}

TEST(a_stubborn_task_is_given_up)
{
    struct fixture f;
    fixture_open(&f, "limits: { wall: 10ms }\n" ALL);
    fixture_run(&f, parks_for_ever, NULL);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_WALL);
    CHECK_EQ(f.guest->done.memory_peak_bytes, 65536);
    fixture_close(&f);
    fixture_open(&f, "limits: { wall: 10ms }\n" ALL);
    fixture_run(&f, wakes_for_ever, NULL);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_WALL);
    fixture_close(&f);
}

TEST(many_guests_share_a_loop)
{
    enum { COUNT = 50 };
    struct fixture f;
    struct guest *guests[COUNT];
    struct error e = ERROR_INIT;
    fixture_open(&f, ALL);
    stub_guest = sleeps;
    for (int i = 0; i < COUNT; i++) {
        struct guest_config config = { .rules = f.rules,
                                       .start = &f.start,
                                       .stdio = { -1, -1, -1 },
                                       .mount_fds = NULL,
                                       .report = f.guest->report };
        CHECK_EQ(guest_new(&f.loop, &config, &guests[i], &e), 0);
        stub_guest_test = (void *)(uintptr_t)(1 + i % 7);
        CHECK_EQ(guest_start(guests[i], NULL, GRANT_UNSET, &e), 0);
    }
    uint64_t before = clock_monotonic_ns();
    CHECK_EQ(loop_run(&f.loop, &e), 0);
    CHECK(clock_monotonic_ns() - before >= 7 * NS_PER_MS);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(guests[i]->task->completed, 1 + i % 7);
        CHECK_EQ(guests[i]->done.end, RUN_END_EXIT);
        guest_free(guests[i]);
    }
    CHECK_EQ(f.loop.operation_count, 0);
    CHECK_EQ(f.loop.heap_count, 0);
    fixture_close(&f);
}

/* ---- stops ---- */

struct stop_after {
    struct timer timer;
    struct fixture *f;
    enum run_stop why;
};

static void stop_now(struct timer *t, struct loop *l)
{
    struct stop_after *s = (struct stop_after *)t;
    guest_stop(s->f->guest, s->why);
}

static void run_until_stopped(struct fixture *f, enum ambit_poll (*guest)(struct ambit_task *),
                              enum run_stop why)
{
    struct stop_after s = { .timer.fire = stop_now, .f = f, .why = why };
    CHECK_EQ(timer_set(&f->loop, &s.timer, clock_monotonic_ns() + 5 * NS_PER_MS), 0);
    fixture_run(f, guest, NULL);
}

TEST(a_stop_ends_a_parked_guest)
{
    struct fixture f;
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fixture_open_with(&f, ALL, fds[0], -1, -1);
    run_until_stopped(&f, reads, RUN_STOP_INTERRUPT);
    CHECK_EQ(f.guest->done.end, RUN_END_STOPPED);
    fixture_close(&f);
    close(fds[1]);
}

TEST(a_stop_ends_a_spinning_guest)
{
    struct fixture f;
    fixture_open(&f, ALL);
    run_until_stopped(&f, spins, RUN_STOP_WALL);
    CHECK_EQ(f.guest->done.end, RUN_END_LIMIT);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_WALL);
    fixture_close(&f);
    fixture_open(&f, ALL);
    run_until_stopped(&f, spins, RUN_STOP_REVOKED);
    CHECK_EQ(f.guest->done.end, RUN_END_STOPPED);
    CHECK_EQ(f.guest->gate, GRANT_REVOKED);
    fixture_close(&f);
}

/* ---- last bytes ---- */

/* Writes 20 pages although only 16 fit: two permits are used up while the pipe is full. */
static enum ambit_poll writes_too_much(struct ambit_task *t)
{
    static const uint8_t page[STREAM_HELD_MAX];
    uint32_t s = t->vtbl->stdio(t->host, 1);
    for (int i = 0; i < 17; i++)
        CHECK_EQ(t->vtbl->stream_write(t->host, s, page, sizeof(page)), AMBIT_STREAM_OK);
    t->vtbl->stream_drop(t->host, s);
    return AMBIT_POLL_DONE;
}

TEST(held_bytes_go_out_after_the_end)
{
    struct fixture f;
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fixture_open_with(&f, ALL, -1, fds[1], -1);
    pid_t child = fork();
    if (child == 0) {
        struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
        static char sink[1 << 17];
        size_t total = 0;
        nanosleep(&pause, NULL);
        while (total < 17 * 4096) {
            ssize_t n = read(fds[0], sink, sizeof(sink));
            if (n <= 0)
                _exit(1);
            total += (size_t)n;
        }
        _exit(0);
    }
    fixture_run(&f, writes_too_much, NULL);
    CHECK_EQ(f.guest->done.end, RUN_END_EXIT);
    CHECK_EQ(f.guest->done.output_bytes, 17 * 4096);
    CHECK_EQ(f.guest->streams[STREAM_OUT].held_size, 0);
    fixture_close(&f);
    close(fds[0]);
}

TEST(nobody_waits_for_last_bytes_for_ever)
{
    struct fixture f;
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fixture_open_with(&f, "limits: { wall: 20ms }\n" ALL, -1, fds[1], -1);
    fixture_run(&f, writes_too_much, NULL);
    CHECK(f.guest->done.wall_ns >= 20 * NS_PER_MS);
    fixture_close(&f);
    close(fds[0]);
}

/* ---- without memory ---- */

static enum ambit_poll does_a_bit_of_all(struct ambit_task *t)
{
    struct ambit_fs_stat st;
    uint32_t file;
    size_t size;
    if (t->polls == 1) {
        uint32_t root = t->vtbl->fs_root(t->host);
        if (t->vtbl->fs_open_at(t->host, root, true, bytes("tmp/a"), VFS_O_CREATE, 3, &file) == 0)
            (void)t->vtbl->fs_write(t->host, file, 0, (const uint8_t *)"x", 1, &size);
        (void)t->vtbl->fs_stat_at(t->host, root, true, bytes("etc/passwd"), &st);
        (void)t->vtbl->config_get(t->host, bytes("key"), &(struct ambit_bytes){ 0 });
        if (t->vtbl->wait_until(t->host, t->vtbl->monotonic_now(t->host) + 1000, 9) ==
            AMBIT_PENDING)
            return AMBIT_POLL_PARKED;
    }
    t->result.outcome = t->vtbl->enter(t->host, 0) == 0 ? AMBIT_OUTCOME_EXIT : AMBIT_OUTCOME_ENDED;
    t->result.values = bytes("ok");
    return AMBIT_POLL_DONE;
}

/* A whole life. A guest that faults for want of memory counts as -ENOMEM: it was told, not lost. */
static int live(void)
{
    struct fixture f;
    int status = fixture_try(&f,
                             "grants:\n  - fs: /tmp\n    from: memory\n    allow: rw\n  - env: { "
                             "A: b }\n  - config: { c: d }\n"
                             "  - args: given\n  - clock: real\n",
                             -1, -1, -1);
    stub_guest = does_a_bit_of_all;
    stub_guest_test = NULL;
    if (status == 0)
        status = guest_start(f.guest, NULL, f.expires_ns, NULL);
    if (status == 0)
        status = loop_run(&f.loop, NULL);
    /* An operation of the file system that had no memory is that operation's own error. */
    if (status == 0 && (f.guest->done.end != RUN_END_EXIT || f.guest->denials->total != 2 ||
                        !f.guest->done.denial_count || f.guest->done.use_count != 5 ||
                        f.guest->uses[0].bytes_written != 1 || !f.guest->done.values))
        status = -ENOMEM;
    fixture_close(&f);
    return status;
}

TEST(memory_runs_out)
{
    TORTURE(live());
}

TEST_MAIN()
