/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine boundary from C's side, without the rest of Ambit: compiles small guests, maps them and polls them with a host that has
 * nothing but standard output, a clock that C advances by hand and counters. `tests/run.sh` builds and runs it.
 */
#include "ambit_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int failures;
#define CHECK(what) do { if (!(what)) { printf("not ok %s:%d: %s\n", __FILE__, __LINE__, #what); failures++; } } while (0)

struct text { uint8_t data[1 << 16]; size_t size; };

static void collect(void *context, const uint8_t *bytes, size_t size)
{
    struct text *t = context;
    if (size > sizeof t->data - t->size)
        size = sizeof t->data - t->size;
    memcpy(t->data + t->size, bytes, size);
    t->size += size;
}

static void to_file(void *context, const uint8_t *bytes, size_t size)
{
    fwrite(bytes, 1, size, context);
}

/* ---- a host ---------------------------------------------------------------------------------------------------------------------- */

struct host {
    struct text out;
    uint64_t now, calls, slices, slices_max, calls_max;
    uint64_t operation, deadline, cancelled;
    int limit, streams, descriptors, wakes;
    uint64_t asked;
};

static int h_enter(void *host, ambit_call call)
{
    struct host *h = host;
    (void) call;
    return ++h->calls > h->calls_max;
}
static enum ambit_slice h_slice(void *host)
{
    struct host *h = host;
    return ++h->slices > h->slices_max ? AMBIT_SLICE_END : AMBIT_SLICE_YIELD;
}
static void h_limit(void *host, enum ambit_limit which, uint64_t asked)
{
    struct host *h = host;
    h->limit = (int) which;
    h->asked = asked;
}
static enum ambit_wait h_wait(void *host, uint32_t handle, bool for_write, uint64_t operation)
{
    (void) host; (void) handle; (void) for_write; (void) operation;
    return AMBIT_READY;
}
static enum ambit_wait h_wait_until(void *host, uint64_t ns, uint64_t operation)
{
    struct host *h = host;
    if (h->now >= ns)
        return AMBIT_READY;
    h->operation = operation;
    h->deadline = ns;
    return AMBIT_PENDING;
}
static void h_cancel(void *host, uint64_t operation) { ((struct host *) host)->cancelled = operation; }
static void h_environment(void *host, const struct ambit_pair **ret, size_t *n) { (void) host; *ret = NULL; *n = 0; }
static void h_arguments(void *host, const struct ambit_bytes **ret, size_t *n)
{
    static const struct ambit_bytes name = { (const uint8_t *) "guest", 5 };
    (void) host; *ret = &name; *n = 1;
}
static bool h_initial_cwd(void *host, struct ambit_bytes *ret) { (void) host; (void) ret; return false; }
static uint32_t h_stdio(void *host, uint32_t which) { ((struct host *) host)->streams++; return which; }
static bool h_is_terminal(void *host, uint32_t which) { (void) host; (void) which; return false; }
static enum ambit_stream_status h_read(void *host, uint32_t s, uint8_t *into, size_t size, size_t *ret)
{
    (void) host; (void) s; (void) into; (void) size; (void) ret;
    return AMBIT_STREAM_CLOSED;
}
static enum ambit_stream_status h_check_write(void *host, uint32_t s, size_t *ret) { (void) host; (void) s; *ret = 4096; return AMBIT_STREAM_OK; }
static enum ambit_stream_status h_write(void *host, uint32_t s, const uint8_t *bytes, size_t size)
{
    (void) s;
    collect(&((struct host *) host)->out, bytes, size);
    return AMBIT_STREAM_OK;
}
static enum ambit_stream_status h_flush(void *host, uint32_t s) { (void) host; (void) s; return AMBIT_STREAM_OK; }
static struct ambit_bytes h_stream_error(void *host, uint32_t s) { (void) host; (void) s; return (struct ambit_bytes) { NULL, 0 }; }
static void h_stream_drop(void *host, uint32_t s) { (void) s; ((struct host *) host)->streams--; }
static uint64_t h_monotonic(void *host) { return ((struct host *) host)->now; }
static uint64_t h_resolution(void *host) { (void) host; return 1; }
static int64_t h_wall(void *host) { (void) host; return 1000000000; }
static void h_random(void *host, bool secure, uint8_t *into, size_t size) { (void) host; (void) secure; memset(into, 4, size); }
static uint32_t h_root(void *host) { ((struct host *) host)->descriptors++; return 0; }
static void h_fs_drop(void *host, uint32_t d) { (void) d; ((struct host *) host)->descriptors--; }
static uint32_t h_fs_type(void *host, uint32_t d) { (void) host; (void) d; return 3; }
static uint32_t h_fs_flags(void *host, uint32_t d) { (void) host; (void) d; return 1; }
static int h_open(void *h, uint32_t at, bool f, struct ambit_bytes p, uint32_t o, uint32_t d, uint32_t *ret) { (void) h; (void) at; (void) f; (void) p; (void) o; (void) d; (void) ret; return 21; }
static int h_stat(void *h, uint32_t d, struct ambit_fs_stat *ret) { (void) h; (void) d; memset(ret, 0, sizeof *ret); ret->type = 3; return 0; }
static int h_stat_at(void *h, uint32_t at, bool f, struct ambit_bytes p, struct ambit_fs_stat *ret) { (void) h; (void) at; (void) f; (void) p; (void) ret; return 21; }
static int h_times(void *h, uint32_t d, const struct ambit_fs_times *t) { (void) h; (void) d; (void) t; return 1; }
static int h_times_at(void *h, uint32_t at, bool f, struct ambit_bytes p, const struct ambit_fs_times *t) { (void) h; (void) at; (void) f; (void) p; (void) t; return 1; }
static int h_fs_read(void *h, uint32_t d, uint64_t o, uint8_t *into, size_t n, size_t *ret) { (void) h; (void) d; (void) o; (void) into; (void) n; *ret = 0; return 0; }
static int h_fs_write(void *h, uint32_t d, uint64_t o, const uint8_t *b, size_t n, size_t *ret) { (void) h; (void) d; (void) o; (void) b; *ret = n; return 0; }
static int h_append(void *h, uint32_t d, const uint8_t *b, size_t n, size_t *ret) { (void) h; (void) d; (void) b; *ret = n; return 0; }
static int h_set_size(void *h, uint32_t d, uint64_t n) { (void) h; (void) d; (void) n; return 1; }
static int h_sync(void *h, uint32_t d, bool only) { (void) h; (void) d; (void) only; return 0; }
static int h_path(void *h, uint32_t at, struct ambit_bytes p) { (void) h; (void) at; (void) p; return 1; }
static int h_rename(void *h, uint32_t a, struct ambit_bytes p, uint32_t b, struct ambit_bytes q) { (void) h; (void) a; (void) p; (void) b; (void) q; return 1; }
static int h_link(void *h, uint32_t a, bool f, struct ambit_bytes p, uint32_t b, struct ambit_bytes q) { (void) h; (void) a; (void) f; (void) p; (void) b; (void) q; return 1; }
static int h_symlink(void *h, uint32_t at, struct ambit_bytes t, struct ambit_bytes p) { (void) h; (void) at; (void) t; (void) p; return 1; }
static int h_readlink(void *h, uint32_t at, struct ambit_bytes p, struct ambit_bytes *ret) { (void) h; (void) at; (void) p; (void) ret; return 1; }
static int h_list(void *h, uint32_t d, uint32_t *ret) { (void) h; (void) d; *ret = 0; return 0; }
static int h_next(void *h, uint32_t l, uint32_t *type, struct ambit_bytes *name, bool *end) { (void) h; (void) l; (void) type; (void) name; *end = true; return 0; }
static void h_listing_drop(void *h, uint32_t l) { (void) h; (void) l; }
static bool h_same(void *h, uint32_t a, uint32_t b) { (void) h; return a == b; }
static bool h_config(void *h, struct ambit_bytes key, struct ambit_bytes *ret) { (void) h; (void) key; (void) ret; return false; }
static void h_log(void *h, uint32_t level, struct ambit_bytes c, struct ambit_bytes m) { (void) h; (void) level; (void) c; (void) m; }
static void woken(void *context) { ((struct host *) context)->wakes++; }

static const struct ambit_host_vtbl vtbl = {
    .size = sizeof vtbl,
    .enter = h_enter, .slice = h_slice, .limit = h_limit,
    .wait = h_wait, .wait_until = h_wait_until, .cancel = h_cancel,
    .environment = h_environment, .arguments = h_arguments, .initial_cwd = h_initial_cwd,
    .stdio = h_stdio, .stdio_is_terminal = h_is_terminal,
    .stream_read = h_read, .stream_check_write = h_check_write, .stream_write = h_write,
    .stream_flush = h_flush, .stream_error = h_stream_error, .stream_drop = h_stream_drop,
    .monotonic_now = h_monotonic, .monotonic_resolution = h_resolution,
    .wall_now = h_wall, .wall_resolution = h_resolution, .random = h_random,
    .fs_root = h_root, .fs_drop = h_fs_drop, .fs_type = h_fs_type, .fs_flags = h_fs_flags,
    .fs_open_at = h_open, .fs_stat = h_stat, .fs_stat_at = h_stat_at,
    .fs_set_times = h_times, .fs_set_times_at = h_times_at,
    .fs_read = h_fs_read, .fs_write = h_fs_write, .fs_append = h_append,
    .fs_set_size = h_set_size, .fs_sync = h_sync,
    .fs_create_directory_at = h_path, .fs_remove_directory_at = h_path, .fs_unlink_file_at = h_path,
    .fs_rename_at = h_rename, .fs_link_at = h_link, .fs_symlink_at = h_symlink, .fs_readlink_at = h_readlink,
    .fs_list = h_list, .fs_listing_next = h_next, .fs_listing_drop = h_listing_drop, .fs_same_object = h_same,
    .config_get = h_config, .config_all = h_environment, .log = h_log,
};

/* ---- guests ---------------------------------------------------------------------------------------------------------------------- */

/* WASI 0.1, adapted when compiled. */
static const char hello[] =
    "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $w (param i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 1) (data (i32.const 8) \"hello from a guest\\n\")"
    " (data (i32.const 0) \"\\08\\00\\00\\00\\13\\00\\00\\00\")"
    " (func (export \"_start\") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))))";
static const char spins[] = "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (br 0))))";
static const char traps[] = "(module (memory (export \"memory\") 1) (func $deep unreachable) (func (export \"_start\") (call $deep)))";
static const char exits[] =
    "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32)))"
    " (memory (export \"memory\") 1) (func (export \"_start\") (call $x (i32.const 7))))";
static const char grows[] =
    "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop (drop (memory.grow (i32.const 64))) (br 0))))";
/* poll_oneoff with one relative monotonic clock of 1 ms */
static const char sleeps[] =
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\" (func $p (param i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 1)"
    " (func (export \"_start\") (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 16) (i32.const 1))"
    "  (i64.store (i32.const 24) (i64.const 1000000))"
    "  (if (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then unreachable))))";
static const char adds[] =
    "(component (core module $m (func (export \"add\") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"
    " (core instance $i (instantiate $m)) (type $t (func (param \"a\" u32) (param \"b\" u32) (result u32)))"
    " (alias core export $i \"add\" (core func $f)) (func $add (type $t) (canon lift (core func $f))) (export \"add\" (func $add)))";

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static struct ambit_component *load(struct ambit_engine *e, const char *wat, struct text *message, int *code)
{
    char path[] = "/tmp/ambit-smoke-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    struct text description = { .size = 0 };
    int status = (int) ambit_compile((const uint8_t *) wat, strlen(wat), false, to_file, f, collect, &description, collect, message);
    fclose(f);
    struct ambit_component *c = NULL;
    if (status == 0)
        *code = ambit_component_load(e, path, &c, collect, message);
    else
        *code = status;
    unlink(path);
    if (*code != 0)
        printf("# %d: %.*s\n", *code, (int) message->size, message->data);
    return c;
}

static struct ambit_task *start(struct ambit_component *c, struct host *h, const char *invoke, const struct ambit_bytes *args, size_t n)
{
    struct ambit_task_config config = { .memory_bytes = 16 << 20, .handles = 64, .hostcall_bytes = 1 << 20, .waker = woken, .waker_context = h };
    struct ambit_bytes name = { (const uint8_t *) invoke, strlen(invoke) };
    return ambit_task_new(c, &config, &vtbl, h, name, args, n);
}

static struct ambit_result finish(struct ambit_task *t, struct host *h)
{
    struct ambit_result r = { .outcome = AMBIT_OUTCOME_FAULT };
    for (int i = 0; i < 100000; i++) {
        enum ambit_poll p = ambit_task_poll(t);
        if (p == AMBIT_POLL_DONE)
            break;
        if (p == AMBIT_POLL_PARKED) {
            h->now = h->deadline;
            ambit_operation_complete(t, h->operation);
        }
    }
    ambit_task_result(t, &r);
    return r;
}

#define RUN(wat, h, body) do { struct text m = { .size = 0 }; int code; struct ambit_component *c = load(e, wat, &m, &code); CHECK(c != NULL); \
        if (c) { struct ambit_task *t = start(c, &(h), "", NULL, 0); CHECK(t); struct ambit_result r = finish(t, &(h)); body; \
        ambit_task_free(t); ambit_component_free(c); CHECK((h).streams == 0); CHECK((h).descriptors == 0); } } while (0)
#define HOST { .calls_max = 1 << 20, .slices_max = 1000 }

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct ambit_engine_config config = { .instances = 8, .memory_max_bytes = 1ull << 30, .table_elements_max = 60000, .core_instances_max = 320,
                                          .ticker = true, .epoch_us = 1000 };
    struct ambit_engine *e = NULL;
    static struct text message;
    double t0 = now_us();
    CHECK(ambit_engine_new(&config, &e, collect, &message) == 0);
    printf("# engine %.0f us, %u calls, %s\n", now_us() - t0, ambit_call_count(), ambit_engine_version());
    if (!e) {
        printf("# %.*s\n", (int) message.size, message.data);
        return 1;
    }

    { struct host h = HOST; RUN(hello, h, { CHECK(r.outcome == AMBIT_OUTCOME_EXIT); CHECK(r.status == 0);
        CHECK(h.out.size == 19 && !memcmp(h.out.data, "hello from a guest\n", 19)); CHECK(r.memory_peak_bytes > 65536); }); }
    { struct host h = HOST; h.slices_max = 5; RUN(spins, h, { CHECK(r.outcome == AMBIT_OUTCOME_ENDED); CHECK(r.slices == 5); CHECK(h.limit == 0); }); }
    { struct host h = HOST; RUN(traps, h, { CHECK(r.outcome == AMBIT_OUTCOME_TRAP); CHECK(memmem(r.message.data, r.message.size, "deep", 4));
        CHECK(memmem(r.message.data, r.message.size, "unreachable", 11)); }); }
    { struct host h = HOST; RUN(exits, h, { CHECK(r.outcome == AMBIT_OUTCOME_EXIT); printf("# proc_exit(7): %d\n", r.status); CHECK(r.status != 0); }); }
    { struct host h = HOST; RUN(grows, h, { CHECK(r.outcome == AMBIT_OUTCOME_ENDED); CHECK(h.limit == AMBIT_LIMIT_MEMORY); CHECK(h.asked > 16 << 20);
        CHECK(r.memory_peak_bytes <= 16 << 20); }); }
    { struct host h = HOST; RUN(sleeps, h, { CHECK(r.outcome == AMBIT_OUTCOME_EXIT); CHECK(h.deadline == 1000000); CHECK(h.wakes == 1); CHECK(h.cancelled == 0); }); }
    { struct host h = HOST; h.calls_max = 0; RUN(hello, h, { CHECK(r.outcome == AMBIT_OUTCOME_ENDED); CHECK(h.out.size == 0); }); }

    /* freed while it waits: cancelled, and everything given back */
    { struct host h = HOST; struct text m = { .size = 0 }; int code; struct ambit_component *c = load(e, sleeps, &m, &code);
      struct ambit_task *t = start(c, &h, "", NULL, 0);
      while (ambit_task_poll(t) == AMBIT_POLL_SLICE)
          ;
      CHECK(h.operation != 0); CHECK(ambit_task_memory(t) > 0);
      ambit_task_free(t); CHECK(h.cancelled == h.operation); CHECK(h.streams == 0); CHECK(h.descriptors == 0); CHECK(h.wakes == 0);
      ambit_component_free(c); }

    /* an exported function */
    { struct host h = HOST; struct text m = { .size = 0 }; int code; struct ambit_component *c = load(e, adds, &m, &code);
      struct ambit_bytes args[] = { { (const uint8_t *) "40", 2 }, { (const uint8_t *) "2", 1 } };
      struct ambit_task *t = start(c, &h, "add", args, 2); struct ambit_result r = finish(t, &h);
      CHECK(r.outcome == AMBIT_OUTCOME_EXIT); CHECK(r.values.size == 2 && !memcmp(r.values.data, "42", 2)); ambit_task_free(t);
      t = start(c, &h, "sub", args, 2); r = finish(t, &h);
      CHECK(r.outcome == AMBIT_OUTCOME_FAULT); CHECK(memmem(r.message.data, r.message.size, "it exports: add", 15)); ambit_task_free(t);
      t = start(c, &h, "", NULL, 0); r = finish(t, &h); CHECK(r.outcome == AMBIT_OUTCOME_FAULT); ambit_task_free(t);
      enum { N = 20000 };
      double best = 1e9;
      for (int round = 0; round < 5; round++) {
          double from = now_us();
          for (int i = 0; i < N; i++) {
              t = start(c, &h, "add", args, 2);
              while (ambit_task_poll(t) != AMBIT_POLL_DONE)
                  ;
              ambit_task_free(t);
          }
          double each = (now_us() - from) / N;
          best = each < best ? each : best;
      }
      printf("# instantiate + call + drop: %.2f us\n", best);
      ambit_component_free(c); }

    ambit_engine_free(e);
    printf("%s\n", failures ? "not ok smoke" : "ok smoke");
    return failures != 0;
}
