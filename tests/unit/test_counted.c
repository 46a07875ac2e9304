/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is promised in epochs and in counts, on the real engine, with ticks given by hand: a second
 * thread ticks once per turn that a guest does not end by itself, and waits until that turn is over
 * before it ticks again. So nothing here depends on how fast or how busy the machine is.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ambit_engine.h"
#include "test.h"

/* ---- a host that has standard output and counters ---- */

struct host {
    uint64_t calls, slices, slices_max, written;
    int streams, descriptors, limit;
};

static int h_enter(void *host, ambit_call call)
{
    ((struct host *)host)->calls++;
    return 0;
}
static enum ambit_slice h_slice(void *host)
{
    struct host *h = host;
    return ++h->slices >= h->slices_max ? AMBIT_SLICE_END : AMBIT_SLICE_YIELD;
}
static void h_limit(void *host, enum ambit_limit which, uint64_t asked)
{
    ((struct host *)host)->limit = (int)which;
}
static enum ambit_wait h_wait(void *host, uint32_t handle, bool for_write, uint64_t operation)
{
    return AMBIT_READY;
}
static enum ambit_wait h_wait_until(void *host, uint64_t ns, uint64_t operation)
{
    return AMBIT_PENDING; /* for ever: what waits here is ended by ambit_task_free() */
}
static void h_cancel(void *host, uint64_t operation)
{
}
static void h_pairs(void *host, const struct ambit_pair **ret, size_t *count)
{
    *ret = NULL;
    *count = 0;
}
static void h_arguments(void *host, const struct ambit_bytes **ret, size_t *count)
{
    *ret = NULL;
    *count = 0;
}
static uint32_t h_stdio(void *host, uint32_t which)
{
    ((struct host *)host)->streams++;
    return which;
}
static bool h_terminal(void *host, uint32_t which)
{
    return false;
}
static enum ambit_stream_status h_check(void *host, uint32_t stream, size_t *ret)
{
    *ret = 4096;
    return AMBIT_STREAM_OK;
}
static enum ambit_stream_status h_write(void *host, uint32_t stream, const uint8_t *b, size_t size)
{
    ((struct host *)host)->written += size;
    return AMBIT_STREAM_OK;
}
static enum ambit_stream_status h_flush(void *host, uint32_t stream)
{
    return AMBIT_STREAM_OK;
}
static void h_stream_drop(void *host, uint32_t stream)
{
    ((struct host *)host)->streams--;
}
static uint64_t h_now(void *host)
{
    return 1;
}
static uint32_t h_root(void *host)
{
    ((struct host *)host)->descriptors++;
    return 0;
}
static void h_fs_drop(void *host, uint32_t descriptor)
{
    ((struct host *)host)->descriptors--;
}
static uint32_t h_directory(void *host, uint32_t descriptor)
{
    return 3;
}

/* The guests below call nothing else. */
static const struct ambit_host_vtbl vtbl = {
    .size = sizeof(vtbl),
    .enter = h_enter,
    .slice = h_slice,
    .limit = h_limit,
    .wait = h_wait,
    .wait_until = h_wait_until,
    .cancel = h_cancel,
    .environment = h_pairs,
    .arguments = h_arguments,
    .stdio = h_stdio,
    .stdio_is_terminal = h_terminal,
    .stream_check_write = h_check,
    .stream_write = h_write,
    .stream_flush = h_flush,
    .stream_drop = h_stream_drop,
    .monotonic_now = h_now,
    .monotonic_resolution = h_now,
    .fs_root = h_root,
    .fs_drop = h_fs_drop,
    .fs_type = h_directory,
    .fs_flags = h_directory,
};

#define WASI "(import \"wasi_snapshot_preview1\" "
static const char hello[] =
    "(module " WASI "\"fd_write\" (func $w (param i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 1) (data (i32.const 0) \"\\08\\00\\00\\00\\05\\00\\00\\00hello\")"
    " (func (export \"_start\") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) "
    "(i32.const 64)))))";
static const char spins[] =
    "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))";
static const char traps[] =
    "(module (memory (export \"memory\") 1) (func (export \"_start\") unreachable))";
static const char grows[] = "(module (memory (export \"memory\") 1) (func (export \"_start\") "
                            "(loop (drop (memory.grow (i32.const 16))) (br 0))))";
static const char sleeps[] =
    "(module " WASI "\"poll_oneoff\" (func $p (param i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func (export \"_start\") (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) "
    "(i64.const 1000000))"
    "  (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))";

static void say(void *context, const uint8_t *bytes, size_t size)
{
    fprintf(stderr, "%.*s\n", (int)size, bytes);
}

static void nowhere(void *context, const uint8_t *bytes, size_t size)
{
}

static void to_fd(void *context, const uint8_t *bytes, size_t size)
{
    if (write(*(int *)context, bytes, size) != (ssize_t)size)
        abort();
}

static struct ambit_component *load(struct ambit_engine *e, const char *wat)
{
    char path[32];
    struct ambit_component *c = NULL;
    int fd = memfd_create("code", MFD_CLOEXEC);
    if (ambit_compile((const uint8_t *)wat, strlen(wat), false, to_fd, &fd, nowhere, NULL, say,
                      NULL) != AMBIT_COMPILE_OK)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (ambit_component_load(e, path, &c, say, NULL) != 0)
        abort();
    close(fd);
    return c;
}

static struct ambit_engine *engine(void)
{
    static struct ambit_engine *e;
    struct ambit_engine_config config = { .instances = 4,
                                          .memory_max_bytes = 1u << 30,
                                          .table_elements_max = 10000,
                                          .core_instances_max = 32 };
    if (!e && ambit_engine_new(&config, &e, say, NULL) != 0)
        abort();
    return e;
}

static struct ambit_task *start(struct ambit_component *c, struct host *h)
{
    struct ambit_task_config config = { .memory_bytes = 8 << 20,
                                        .handles = 64,
                                        .hostcall_bytes = 1 << 20 };
    struct ambit_bytes run = { NULL, 0 };
    return ambit_task_new(c, &config, &vtbl, h, run, NULL, 0);
}

/* ---- turns, with ticks by hand ---- */

static atomic_uint turn_number; /* odd: a turn goes on */
static atomic_int over;

/* Ticks once when a turn goes on, and again only when that one tick did not end it. */
static void *tick(void *context)
{
    while (!atomic_load(&over)) {
        unsigned now = atomic_load(&turn_number);
        if (now % 2 == 0) {
            usleep(20);
            continue;
        }
        ambit_engine_tick(engine());
        for (int i = 0; i < 20000 && atomic_load(&turn_number) == now; i++)
            usleep(20);
    }
    return NULL;
}

static enum ambit_poll turn(struct ambit_task *t, uint64_t *ret_epochs)
{
    uint64_t before = ambit_engine_epochs(engine());
    atomic_fetch_add(&turn_number, 1);
    enum ambit_poll p = ambit_task_poll(t);
    atomic_fetch_add(&turn_number, 1);
    *ret_epochs = ambit_engine_epochs(engine()) - before;
    return p;
}

static size_t lines_of_maps(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    size_t lines = 0;
    for (int c; (c = fgetc(f)) != EOF;)
        lines += c == '\n';
    fclose(f);
    return lines;
}

static size_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t count = 0;
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

/* Two guests take turns; one never gives way. The other's every turn comes at most two epochs after
 * the one before. */
TEST(one_that_spins_delays_another_by_two_epochs_at_most)
{
    pthread_t ticker;
    struct host spinning = { .slices_max = 1000 }, other = { .slices_max = 1000 };
    struct ambit_component *a = load(engine(), spins), *b = load(engine(), spins);
    struct ambit_task *one = start(a, &spinning), *two = start(b, &other);
    uint64_t epochs, worst = 0, total = 0;
    CHECK(pthread_create(&ticker, NULL, tick, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(turn(one, &epochs), AMBIT_POLL_SLICE);
        worst = epochs > worst ? epochs : worst; /* what `two`, ready all the time, waited */
        CHECK_EQ(turn(two, &epochs), AMBIT_POLL_SLICE);
        total += epochs;
    }
    CHECK(worst <= 2);
    CHECK(total >= 50); /* they do spin: it takes ticks to end their turns */
    /* Once the host says so, a guest is gone within that same epoch. */
    spinning.slices_max = spinning.slices + 1;
    CHECK_EQ(turn(one, &epochs), AMBIT_POLL_DONE);
    CHECK(epochs <= 2);
    struct ambit_result r;
    ambit_task_result(one, &r);
    CHECK_EQ(r.outcome, AMBIT_OUTCOME_ENDED);
    /* The control: nobody says so, and it goes on. */
    CHECK_EQ(turn(two, &epochs), AMBIT_POLL_SLICE);
    atomic_store(&over, 1);
    pthread_join(ticker, NULL);
    ambit_task_free(one);
    ambit_task_free(two);
    ambit_component_free(a);
    ambit_component_free(b);
}

/* One run of each kind of end: by itself, by a trap, by a limit, freed while it waits. */
static void live_and_die(struct ambit_component *c, enum ambit_outcome wanted, bool waits)
{
    struct host h = { .slices_max = 1000 };
    struct ambit_task *t = start(c, &h);
    enum ambit_poll p;
    do
        p = ambit_task_poll(t);
    while (p == AMBIT_POLL_SLICE);
    if (waits) {
        CHECK_EQ(p, AMBIT_POLL_PARKED);
    } else {
        struct ambit_result r;
        ambit_task_result(t, &r);
        CHECK_EQ(r.outcome, wanted);
        CHECK(r.memory_peak_bytes <= 8 << 20);
    }
    ambit_task_free(t);
    CHECK_EQ(h.streams, 0);
    CHECK_EQ(h.descriptors, 0);
}

TEST(a_thousand_of_each_leave_no_mapping_and_no_descriptor)
{
    struct ambit_component *ends = load(engine(), hello), *trapped = load(engine(), traps),
                           *limited = load(engine(), grows), *waiting = load(engine(), sleeps);
    size_t maps = 0, fds = 0;
    for (int i = 0; i < 1000; i++) {
        live_and_die(ends, AMBIT_OUTCOME_EXIT, false);
        live_and_die(trapped, AMBIT_OUTCOME_TRAP, false);
        live_and_die(limited, AMBIT_OUTCOME_ENDED, false);
        live_and_die(waiting, AMBIT_OUTCOME_EXIT, true);
        if (i == 20) { /* the pool is warm: every slot has had each image */
            maps = lines_of_maps();
            fds = descriptors();
        }
    }
    size_t maps_after = lines_of_maps(), fds_after = descriptors();
    printf("# %zu mappings, %zu descriptors; after a thousand %zu and %zu\n", maps, fds, maps_after,
           fds_after);
    CHECK(maps_after <=
          maps +
              8); /* the allocator's own arenas and stacks may differ by a few, not by a thousand */
    CHECK_EQ(fds_after, fds);
    /* The control: four that are kept do show. */
    struct host h = { .slices_max = 1000 };
    struct ambit_task *kept[4];
    for (size_t i = 0; i < 4; i++) {
        kept[i] = start(waiting, &h);
        while (ambit_task_poll(kept[i]) == AMBIT_POLL_SLICE) {
        }
    }
    CHECK(h.streams + h.descriptors > 0 || lines_of_maps() > maps_after);
    for (size_t i = 0; i < 4; i++)
        ambit_task_free(kept[i]);
    ambit_component_free(ends);
    ambit_component_free(trapped);
    ambit_component_free(limited);
    ambit_component_free(waiting);
    ambit_engine_free(engine());
}

TEST_MAIN()
