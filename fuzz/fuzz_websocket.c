/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a WebSocket from any bytes; the first says whose they are and how they are cut. Laws: how they are cut changes
 * nothing that is read; no more is used than there is; a fault stays; what was read and is printed anew, as egress does, reads
 * as the same messages.
 */
#include <string.h>

#include "base/mem.h"
#include "wire/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read, in a form that no cut shows: bytes of messages one after the other, ends, control frames. */
static void note(struct buf *out, enum websocket_event_kind kind, const struct websocket_event *e)
{
    if (kind == WEBSOCKET_CONTROL || (kind == WEBSOCKET_DATA && e->end))
        buf_u8(out, (uint8_t)(0x80 | e->opcode));
    if (kind == WEBSOCKET_CONTROL)
        buf_bytes(out, e->payload.data, e->payload.size);
}

/* `texts`: bytes of messages; `marks`: the rest, with how much of `texts` was there. */
static bool read_all(enum websocket_side side, struct bytes in, size_t step, struct buf *texts,
                     struct buf *marks, struct buf *anew)
{
    CLEANUP(buf_done) struct buf copy = BUF_INIT(1u << 20);
    static const uint8_t mask[4] = { 1, 2, 3, 4 };
    struct websocket_reader r;
    bool begun = false;
    websocket_reader_init(&r, side);
    buf_append(&copy, in.data, in.size);
    for (size_t at = 0, end = 0; at < in.size;) {
        struct websocket_event e;
        size_t used;
        end = MAX(end, at + step);
        end = MIN(in.size, end);
        enum websocket_event_kind kind = websocket_read(&r, copy.data + at, end - at, &e, &used);
        ASSERT(used <= end - at);
        at += used;
        if (kind == WEBSOCKET_FAULT) {
            ASSERT(e.fault && websocket_read(&r, copy.data, in.size, &e, &used) == kind);
            buf_puts(marks, e.fault);
            return false;
        }
        ASSERT(kind != WEBSOCKET_MORE || at == end);
        if (kind == WEBSOCKET_MORE)
            continue;
        note(marks, kind, &e);
        if (kind == WEBSOCKET_DATA)
            buf_append(texts, e.payload.data, e.payload.size);
        buf_u64(marks, kind == WEBSOCKET_CONTROL || e.end ? texts->size : 0);
        if (kind == WEBSOCKET_DATA && !e.end)
            marks->size -= sizeof(uint64_t); /* a part: no cut shows */
        enum websocket_opcode opcode =
            kind == WEBSOCKET_DATA && begun ? WEBSOCKET_CONTINUATION : e.opcode;
        websocket_print(anew, opcode, kind == WEBSOCKET_CONTROL || e.end, e.payload,
                        side == WEBSOCKET_OF_CLIENT ? mask : NULL);
        begun = kind == WEBSOCKET_DATA ? !e.end : begun;
    }
    return true;
}

static void check_same(const struct buf *a, const struct buf *b)
{
    ASSERT(a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf texts[3], marks[3], anew[3];
    if (size < 1 || size > 1u << 16)
        return 0;
    for (size_t i = 0; i < 3; i++)
        texts[i] = marks[i] = anew[i] = (struct buf)BUF_INIT(8u << 20);
    enum websocket_side side = data[0] & 1 ? WEBSOCKET_OF_CLIENT : WEBSOCKET_OF_SERVER;
    struct bytes in = { data + 1, size - 1 };
    bool fine = read_all(side, in, in.size + 1, &texts[0], &marks[0], &anew[0]);
    bool cut = read_all(side, in, (size_t)(data[0] >> 1) % 32 + 1, &texts[1], &marks[1], &anew[1]);
    ASSERT(fine == cut);
    check_same(&marks[0], &marks[1]);
    check_same(&texts[0], &texts[1]);
    if (fine && anew[0].size > 0) {
        struct bytes again = { anew[0].data, anew[0].size };
        ASSERT(read_all(side, again, again.size + 1, &texts[2], &marks[2], &anew[2]));
        check_same(&marks[0], &marks[2]);
        check_same(&texts[0], &texts[2]);
    }
    for (size_t i = 0; i < 3; i++) {
        buf_done(&texts[i]);
        buf_done(&marks[i]);
        buf_done(&anew[i]);
    }
    return 0;
}
