/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame reader and the payloads of a run, on any bytes. Laws: how the bytes are cut into pushes
 * changes neither the frames nor the verdict; the frames that were read, written again, are the
 * bytes that were read; a payload that is taken, put again, is the same bytes; a dispatch is total.
 *
 * The first byte of the input picks the cut.
 */
#include <string.h>

#include "base/mem.h"
#include "wire/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (4u << 20)

/* Reads all frames, pushing `step` bytes at a time, and writes them again. The verdict is the
 * reader's. */
static int read_all(const uint8_t *data, size_t size, size_t step, struct buf *again)
{
    CLEANUP(frame_reader_done) struct frame_reader r;
    frame_reader_init(&r);
    for (size_t at = 0;; at += MIN(step, size - at)) {
        struct frame f;
        int result;
        while ((result = frame_reader_next(&r, &f, NULL)) == 1)
            ASSERT(frame_write(again, f.kind, f.payload, f.size, NULL) == 0);
        if (result < 0)
            return result;
        ASSERT(frame_reader_needs(&r) > 0);
        if (at == size)
            return 0;
        ASSERT(frame_reader_push(&r, data + at, MIN(step, size - at), NULL) == 0);
    }
}

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

static void payload(int (*again)(struct cursor *, struct buf *), const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    CLEANUP(buf_done) struct buf out = BUF_INIT(2 * INPUT_MAX);
    if (again(&c, &out) < 0)
        return;
    size_t taken = size - cursor_left(&c);
    ASSERT(out.size == taken && memcmp(out.data, data, taken) == 0);
}

static int handle(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    size_t size;
    cursor_u32(c);
    cursor_bytes(c, &size);
    return 0;
}

/* Every frame through a gate with a narrow table: it answers,
 * and never more than the table says. */
static void dispatch(const uint8_t *data, size_t size)
{
    static const struct frame_rule rules[] = {
        { RUN_START, "START", 1, true, 4, 64, handle },
        { RUN_STOP, "STOP", 1 | 2, false, 0, 16, handle },
    };
    struct frame_gate gate = { .rules = rules, .rule_count = ARRAY_SIZE(rules) };
    CLEANUP(frame_reader_done) struct frame_reader r;
    struct frame f;
    int starts = 0;
    frame_reader_init(&r);
    if (frame_reader_push(&r, data, MIN(size, (size_t)FRAME_PUSH_MAX), NULL) < 0)
        return;
    while (frame_reader_next(&r, &f, NULL) == 1) {
        if (frame_gate_dispatch(&gate, &f, NULL, 0, NULL, NULL) < 0)
            continue;
        ASSERT(f.kind == RUN_START || f.kind == RUN_STOP);
        starts += f.kind == RUN_START;
        ASSERT(starts <= 1 && f.size <= 64);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MAX)
        return 0;
    size_t step = (size_t)data[0] + 1;
    data++;
    size--;
    CLEANUP(buf_done) struct buf whole = BUF_INIT(2 * INPUT_MAX);
    CLEANUP(buf_done) struct buf cut = BUF_INIT(2 * INPUT_MAX);
    int verdict = read_all(data, size, FRAME_PUSH_MAX, &whole);
    ASSERT(read_all(data, size, step, &cut) == verdict);
    ASSERT(whole.size == cut.size && whole.size <= size);
    ASSERT(whole.size == 0 || (memcmp(whole.data, cut.data, whole.size) == 0 &&
                               memcmp(whole.data, data, whole.size) == 0));
    dispatch(data, size);
    payload(start_again, data, size);
    payload(denial_again, data, size);
    payload(done_again, data, size);
    return 0;
}
