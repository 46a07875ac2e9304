/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler room. The one place where hostile WebAssembly meets a parser and Cranelift, so the
 * order is everything:
 *
 *   1. receive COMPILE_START: a sealed memfd with the component, a fresh file for the code
 *   2. map the input (not a byte of it is read yet)
 *   3. close the jail: no files, no network, no exec; limits on CPU, address space, size of the
 * output
 *   4. COMPILE_READY, compile, write the code to the file, COMPILE_DONE, exit
 *
 * A failure before 3 is told on stderr and by exit code 1; after it every answer is a frame, and a
 * process that ends without one ran into a limit or an assertion. What it answers is checked by its
 * receiver (control/cache_room.c).
 */
#include "compiler/compiler.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ambit_engine.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "room/jail.h"
#include "room/probe.h"
#include "wire/run.h"

/* The Python component that ships (36 MiB) takes 19 s of CPU and 540 MiB of address space
 * (docs/cache.md). */
#define ADDRESS_SPACE (UINT64_C(4) << 30)
#define CODE_MAX (UINT64_C(2) << 30)
#define DESCRIPTORS 64
#define DESCRIPTION_MAX (512u << 10)
#define MESSAGE_MAX 8000

struct job {
    struct channel *control;
    bool describe_only;
    uint32_t allow_missing;
#ifdef AMBIT_TEST_HOOKS
    uint32_t test_skip;
    char *probe; /* "ATTEMPT:WORD" of room/probe.h; "" = none */
#endif
    int output_fd;
    const uint8_t *input;
    size_t input_size;
    uint64_t code_size;
    int write_failed; /* < 0 once the code could not be written */
    struct error error;
};

static int on_start(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct job *job = context;
    struct stat st;
    job->describe_only = cursor_u32(payload) != 0;
    job->allow_missing = cursor_u32(payload);
#ifdef AMBIT_TEST_HOOKS
    job->test_skip = cursor_u32(payload);
    job->probe = cursor_string(payload);
#endif
    if (fd_count != (job->describe_only ? 1 : 2) || fstat(fds[0], &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(e, -EPROTO, "COMPILE_START without its files");
    job->input_size = (size_t)st.st_size;
    if (job->input_size > 0) {
        /* Sealed by control: it cannot shrink under the mapping. */
        void *input = mmap(NULL, job->input_size, PROT_READ, MAP_PRIVATE, fds[0], 0);
        if (input == MAP_FAILED)
            return error_set_errno(e, errno, "cannot map the component");
        job->input = input;
    }
    if (!job->describe_only) {
        job->output_fd = dup(fds[1]);
        if (job->output_fd < 0)
            return error_set_errno(e, errno, "cannot keep the output file");
    }
    return 0;
}

static const struct frame_rule requests[] = {
    { .kind = COMPILE_START,
      .name = "COMPILE_START",
      .phases = 1,
      .once = true,
      .fds_max = 2,
#ifdef AMBIT_TEST_HOOKS
      .size_max = 1024,
#else
      .size_max = 8,
#endif
      .handle = on_start },
};

static void take_code(void *context, const uint8_t *bytes, size_t size)
{
    struct job *job = context;
    if (job->write_failed < 0)
        return;
    job->write_failed = file_write_fd(job->output_fd, bytes, size, &job->error);
    job->code_size += size;
}

static void take_text(void *context, const uint8_t *bytes, size_t size)
{
    buf_append(context, bytes, size);
}

static int answer(struct job *job, uint32_t status, struct buf *description, struct buf *message,
                  struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_u32(&payload, status);
    buf_bytes(&payload, buf_cstr(description), description->size);
    buf_bytes(&payload, buf_cstr(message), message->size);
    buf_u64(&payload, job->code_size);
    int r = buf_status(&payload);
    if (r < 0)
        return error_set(e, r, "the answer does not fit a frame");
    return channel_send(job->control, COMPILE_DONE, payload.data, payload.size, NULL, 0, e);
}

#ifdef AMBIT_TEST_HOOKS
/* Tries what the test asks for, and tells it as if the file were at fault. */
static int probe(struct job *job, struct error *e)
{
    CLEANUP(buf_done) struct buf none = BUF_INIT(16), message = BUF_INIT(MESSAGE_MAX);
    char text[256], *words[2] = { job->probe, strchr(job->probe, ':') };
    if (words[1])
        *words[1]++ = '\0';
    room_probe(words, words[1] ? 2 : 1, text, sizeof(text));
    buf_puts(&message, text);
    return answer(job, AMBIT_COMPILE_FAILED, &none, &message, e);
}
#endif

static int compile(struct job *job, struct error *e)
{
    CLEANUP(buf_done) struct buf description = BUF_INIT(DESCRIPTION_MAX);
    CLEANUP(buf_done) struct buf message = BUF_INIT(MESSAGE_MAX);
#ifdef AMBIT_TEST_HOOKS
    if (job->probe && *job->probe)
        return probe(job, e);
#endif
    uint32_t status = ambit_compile(job->input, job->input_size, job->describe_only, take_code, job,
                                    take_text, &description, take_text, &message);
    /* The engine keeps both texts within these sizes; this is for the day it does not. */
    if (buf_status(&message) < 0) {
        buf_done(&message);
        buf_puts(&message, "the reason is too long to be told\nambit inspect shows more");
    }
    if (status == AMBIT_COMPILE_OK && (buf_status(&description) < 0 || job->write_failed < 0)) {
        status = AMBIT_COMPILE_FAILED;
        buf_done(&message);
        buf_printf(&message, "%s\nis the disk of the state folder full?",
                   job->write_failed < 0 ? job->error.what
                                         : "the description is larger than 512 KiB");
    }
    if (buf_status(&description) < 0)
        buf_clear(&description);
    return answer(job, status, &description, &message, e);
}

static int close_jail(struct job *job, struct error *e)
{
    const struct jail_spec spec = {
        .role = ROOM_COMPILER,
        .cpu_seconds = COMPILE_CPU_S,
        .address_space_bytes = ADDRESS_SPACE,
        .file_size_bytes = CODE_MAX,
        .descriptors = DESCRIPTORS,
        .allow_missing = job->allow_missing,
#ifdef AMBIT_TEST_HOOKS
        .skip = job->test_skip,
#endif
    };
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    uint32_t missing = 0;
    int r = jail_close(&spec, &missing, e);
    if (r < 0)
        return r;
    buf_u32(&payload, missing);
    r = buf_status(&payload);
    if (r < 0)
        return error_set(e, r, "no memory");
    return channel_send(job->control, COMPILE_READY, payload.data, payload.size, NULL, 0, e);
}

static int fail(const struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4 * ERROR_TEXT_MAX);
    buf_puts(&text, "ambit: compiler room: ");
    text_escape(&text, e->what, strlen(e->what));
    buf_putc(&text, '\n');
    if (buf_status(&text) == 0)
        (void)!file_write_fd(STDERR_FILENO, text.data, text.size, NULL);
    return 1;
}

int compiler_room_main(struct channel *control)
{
    struct error e = ERROR_INIT;
    struct frame_gate gate = { .rules = requests, .rule_count = ARRAY_SIZE(requests) };
    struct job job = { .control = control, .output_fd = -1 };

    while (gate.seen == 0) {
        int r = channel_dispatch(control, &gate, &job, true, &e);
        if (r == 1)
            return 0; /* control went away before it asked */
        if (r < 0)
            return fail(&e);
    }
    if (close_jail(&job, &e) < 0 || compile(&job, &e) < 0)
        return fail(&e);
    return 0;
}
