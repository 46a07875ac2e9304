/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler room, from control's side: start it, hand over the sealed copy and the output file,
 * wait within the wall limit, take one answer, end it. Nothing that it says is believed: texts are
 * bounded, the description must be a JSON object, and the code's size and digest are taken from the
 * file after the room has ended.
 *
 * CPU and address space are limited inside the room (compiler/compiler.c) before it looks at a
 * byte.
 */
#include "control/cache.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "ambit_engine.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "control/state.h"
#include "room/jail.h"
#include "wire/run.h"

#define PROGRESS_MS 250
#define MESSAGE_MAX 8192
#define LIMIT_HINT \
    "the file is hostile or far beyond what is usual: split it, or build it with less inlining"

/* What the room said, while it says it. */
struct answer {
    bool ready, done;
    uint32_t missing, status;
    char *description, *message;
    uint64_t code_size;
};

static void answer_done(struct answer *a)
{
    mem_free(a->description);
    mem_free(a->message);
}

static int on_ready(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct answer *a = context;
    a->ready = true;
    a->missing = cursor_u32(payload);
    return 0;
}

static int on_done(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct answer *a = context;
    if (!a->ready)
        return error_set(e, -EPROTO, "the compiler answered before its jail was closed");
    a->status = cursor_u32(payload);
    a->description = cursor_string(payload);
    a->message = cursor_string(payload);
    a->code_size = cursor_u64(payload);
    a->done = true;
    if (a->description == NULL || a->message == NULL)
        return error_set(e, -EPROTO, "the compiler's answer is malformed");
    if (strlen(a->description) > CACHE_DESCRIPTION_MAX || strlen(a->message) > MESSAGE_MAX)
        return error_set(e, -EPROTO, "the compiler's answer is too long");
    return 0;
}

static const struct frame_rule answers[] = {
    { .kind = COMPILE_READY,
      .name = "COMPILE_READY",
      .phases = 1,
      .once = true,
      .size_max = 4,
      .handle = on_ready },
    { .kind = COMPILE_DONE,
      .name = "COMPILE_DONE",
      .phases = 1,
      .once = true,
      .size_max = FRAME_MAX,
      .handle = on_done },
};

static int start(struct room *room, const struct cache_room_options *options, int input_fd,
                 int output_fd, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    const int fds[] = { input_fd, output_fd };
    buf_u32(&payload, output_fd < 0);
    buf_u32(&payload, options->allow_missing);
#ifdef AMBIT_TEST_HOOKS
    /* AMBIT_TEST_COMPILER=LAYERS:ATTEMPT:WORD: layers (bits) left open, and what room/probe.h tries
     * then. */
    const char *test = getenv("AMBIT_TEST_COMPILER");
    char *words = NULL;
    buf_u32(&payload, test != NULL ? (uint32_t)strtoul(test, &words, 10) : 0);
    buf_string(&payload, words != NULL && *words == ':' ? words + 1 : "");
#endif
    int r = buf_status(&payload);
    if (r < 0)
        return error_set(e, r, "no memory");
    return channel_send(room->channel, COMPILE_START, payload.data, payload.size, fds,
                        output_fd < 0 ? 1 : 2, e);
}

/* Until the answer, the room's end (1) or the wall limit (CACHE_LIMIT). */
static int await_answer(struct room *room, struct answer *a, uint32_t wall_ms,
                        cache_progress progress, void *context, struct error *e)
{
    struct frame_gate gate = { .rules = answers, .rule_count = ARRAY_SIZE(answers) };
    uint64_t started = clock_monotonic_ns(), end = started + wall_ms * NS_PER_MS;
    while (!a->done) {
        uint64_t now = clock_monotonic_ns();
        if (now >= end) {
            (void)error_set(e, -ETIME, "compiling took longer than %u s", wall_ms / 1000);
            error_hint(e, LIMIT_HINT);
            return CACHE_LIMIT;
        }
        struct pollfd wait = { .fd = channel_fd(room->channel), .events = POLLIN };
        int timeout = (int)MIN((end - now) / NS_PER_MS + 1, (uint64_t)PROGRESS_MS);
        int n = poll(&wait, 1, timeout);
        if (n < 0 && errno != EINTR)
            return error_set_errno(e, errno, "cannot wait for the compiler");
        if (progress != NULL)
            progress(context, "compiling", clock_monotonic_ns() - started);
        if (n <= 0)
            continue;
        int r = channel_dispatch(room->channel, &gate, a, false, e);
        if (r < 0)
            return r;
        if (r == 1 && !a->done)
            return 1;
    }
    return 0;
}

/* Of the compiler: ours, or a lower one that was there before. */
static uint64_t cpu_limit_s(void)
{
    struct rlimit now;
    bool lower = getrlimit(RLIMIT_CPU, &now) == 0 && now.rlim_max < COMPILE_CPU_S;
    return lower ? now.rlim_max : COMPILE_CPU_S;
}

static uint64_t children_cpu_s(void)
{
    struct rusage used;
    if (getrusage(RUSAGE_CHILDREN, &used) < 0)
        return 0;
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
}

/* The room is gone without an answer: which limit was it, as far as its status says? */
static int explain_end(struct room *room, const struct answer *a, struct error *e)
{
    int status = 0;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    struct error ignored = ERROR_INIT;

    uint64_t before = children_cpu_s();
    if (room_wait(room, 1000, &status, &ignored) != 0) {
        (void)error_set(e, -EPIPE, "the compiler closed its channel and did not end");
        return CACHE_LIMIT;
    }
    if (!a->ready && WIFEXITED(status)) {
        error_hint(e, "ambit doctor says what this machine lacks");
        return error_set(e, -EPERM, "the compiler room could not be closed (it says why above)");
    }
    room_status_text(status, &text);
    int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    switch (signal_number) {
    case SIGKILL: /* by the limit's end, or by somebody: not the file's fault, as far as is known */
        if (children_cpu_s() - before + 1 < cpu_limit_s()) {
            error_set(e, -ECHILD, "the compiler ended without an answer: %s", buf_cstr(&text));
            error_hint(e,
                       "the same may work when it is tried again, if the machine has the memory");
            return -ECHILD;
        }
        /* fallthrough */
    case SIGXCPU:
        (void)error_set(e, -ETIME, "compiling used up its CPU limit, or the machine's memory");
        break;
    case SIGABRT:
    case SIGSEGV: /* the first process of a pid namespace cannot abort(); glibc then ends it like
                     this */
        (void)error_set(e, -ENOMEM,
                        "the compiler ended itself: out of its memory limit, or it met what it "
                        "does not expect (%s)",
                        buf_cstr(&text));
        break;
    case SIGXFSZ:
        (void)error_set(e, -EFBIG, "the machine code became larger than its limit");
        break;
    default:
        (void)error_set(e, -EPIPE, "the compiler ended without an answer: %s", buf_cstr(&text));
        break;
    }
    error_hint(e, LIMIT_HINT);
    return CACHE_LIMIT;
}

/* "why\nhint" → the two texts of an error. */
static int refused(const struct answer *a, struct error *e)
{
    size_t why = strcspn(a->message, "\n");
    (void)error_set(e, -ENOEXEC, "%.*s", (int)why, a->message);
    if (a->message[why] == '\n')
        error_hint(e, "%s", a->message + why + 1);
    return CACHE_REFUSED;
}

static int check(const struct answer *a, struct error *e)
{
    if (a->status == AMBIT_COMPILE_MALFORMED || a->status == AMBIT_COMPILE_UNSUPPORTED ||
        a->status == AMBIT_COMPILE_FAILED)
        return refused(a, e);
    if (a->status != AMBIT_COMPILE_OK)
        return error_set(e, -EPROTO, "the compiler's answer has an unknown status");
    json_t *value = json_loads(a->description, JSON_REJECT_DUPLICATES, NULL);
    bool object = json_is_object(value);
    json_decref(value);
    return object ? 0 : error_set(e, -EPROTO, "the compiler's description is malformed");
}

int cache_room(void *context, int input_fd, int output_fd, cache_progress progress,
               void *progress_context, struct cache_made *ret, struct error *e)
{
    const struct cache_room_options *options = context;
    struct room room = { .pid_fd = -1 };
    CLEANUP(answer_done) struct answer a = { 0 };
    uint32_t wall_ms = options->wall_ms != 0 ? options->wall_ms : CACHE_ROOM_WALL_MS;

    int r = room_spawn(ROOM_COMPILER, options->allow_missing, &room, e);
    if (r < 0) {
        error_prefix(e, "compiler room");
        return r;
    }
    uint32_t missing = room.missing;
    r = start(&room, options, input_fd, output_fd, e);
    if (r == 0)
        r = await_answer(&room, &a, wall_ms, progress, progress_context, e);
    if (r == 1 || r == -EPIPE) {
        error_clear(e);
        r = explain_end(&room, &a, e);
    }
    /* From here on nothing writes to the output file any more. */
    room_end(&room);
    if (r == 0)
        r = check(&a, e);
    if (r != 0)
        return r;
    *ret = (struct cache_made){ .description = TAKE(a.description),
                                .code_size = a.code_size,
                                .missing = missing | a.missing };
    return 0;
}

/* The product's options live as long as the process: one cache per command. */
static struct cache_room_options room_options;

int cache_open(uint32_t allow_missing, struct cache **ret, struct error *e)
{
    struct cache_config config = { .max_bytes = CACHE_MAX_BYTES_DEFAULT,
                                   .compile = cache_room,
                                   .compile_context = &room_options };
    room_options.allow_missing = allow_missing;
    int r = state_open("cache", &config.dir_fd, e);
    if (r < 0)
        return r;
    ambit_compatibility(config.compatibility);
    return cache_new(&config, ret, e);
}
