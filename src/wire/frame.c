/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames. The reader holds at most one frame and what one push brought beyond it: its user takes
 * every frame that is there before the next push, and a peer can make it hold no more. A length is
 * believed only after the check against FRAME_MAX, so that a hostile header costs nothing.
 */
#include "wire/frame.h"

#include <string.h>

#include "base/mem.h"

#define HELD_MAX (FRAME_HEADER_SIZE + FRAME_MAX + FRAME_PUSH_MAX)

void frame_reader_init(struct frame_reader *r)
{
    *r = (struct frame_reader){ .held = BUF_INIT(HELD_MAX) };
}

void frame_reader_done(struct frame_reader *r)
{
    buf_done(&r->held);
    frame_reader_init(r);
}

static int fail(struct frame_reader *r, int code, const char *what, struct error *e)
{
    r->failed = code;
    return error_set(e, code, "%s", what);
}

int frame_reader_push(struct frame_reader *r, const void *bytes, size_t size, struct error *e)
{
    if (r->failed)
        return error_set(e, r->failed, "the frames before were malformed");
    if (r->consumed) {
        r->held.size -= r->consumed;
        memmove(r->held.data, r->held.data + r->consumed, r->held.size);
        if (r->held.wipes) /* what moved stands there twice */
            mem_wipe(r->held.data + r->held.size, r->consumed);
        r->consumed = 0;
    }
    buf_append(&r->held, bytes, size);
    int status = buf_status(&r->held);
    return status < 0 ? fail(r, status, "no memory for a frame", e) : 0;
}

int frame_reader_next(struct frame_reader *r, struct frame *ret, struct error *e)
{
    if (r->failed)
        return error_set(e, r->failed, "the frames before were malformed");
    size_t left = r->held.size - r->consumed;
    if (left < FRAME_HEADER_SIZE)
        return 0;
    const uint8_t *at = r->held.data + r->consumed;
    struct cursor header = cursor_of(at, FRAME_HEADER_SIZE);
    uint32_t size = cursor_u32(&header);
    uint16_t kind = cursor_u16(&header), reserved = cursor_u16(&header);
    if (size > FRAME_MAX)
        return fail(r, -EMSGSIZE, "a frame is too long", e);
    if (reserved)
        return fail(r, -EBADMSG, "a frame's reserved field is not zero", e);
    if (left - FRAME_HEADER_SIZE < size)
        return 0;
    *ret = (struct frame){ kind, at + FRAME_HEADER_SIZE, size };
    r->consumed += FRAME_HEADER_SIZE + size;
    return 1;
}

size_t frame_reader_needs(const struct frame_reader *r)
{
    size_t left = r->held.size - r->consumed;
    if (left < FRAME_HEADER_SIZE)
        return FRAME_HEADER_SIZE - left;
    struct cursor header = cursor_of(r->held.data + r->consumed, FRAME_HEADER_SIZE);
    size_t whole = FRAME_HEADER_SIZE + (size_t)cursor_u32(&header);
    return whole > left ? whole - left : 0;
}

int frame_write(struct buf *out, uint16_t kind, const void *payload, size_t size, struct error *e)
{
    if (size > FRAME_MAX)
        return error_set(e, -EMSGSIZE, "a frame of %zu bytes is too long to send", size);
    buf_u32(out, (uint32_t)size);
    buf_u16(out, kind);
    buf_u16(out, 0);
    buf_append(out, payload, size);
    int status = buf_status(out);
    return status < 0 ? error_set(e, status, "no memory for a frame") : 0;
}

static int check(struct frame_gate *g, size_t index, const struct frame *f, size_t fd_count,
                 struct error *e)
{
    const struct frame_rule *rule = &g->rules[index];
    if (g->phase > 31 || !(rule->phases & (UINT32_C(1) << g->phase)))
        return error_set(e, -EPROTO, "a %s frame out of phase", rule->name);
    if (rule->once && (g->seen & (UINT64_C(1) << index)))
        return error_set(e, -EPROTO, "a second %s frame", rule->name);
    if (f->size > rule->size_max)
        return error_set(e, -EMSGSIZE, "a %s frame of %zu bytes is too long", rule->name, f->size);
    if (fd_count > rule->fds_max)
        return error_set(e, -EPROTO, "a %s frame with %zu descriptors", rule->name, fd_count);
    return 0;
}

int frame_gate_dispatch(struct frame_gate *g, const struct frame *f, const int *fds,
                        size_t fd_count, void *context, struct error *e)
{
    ASSERT(g->rule_count <= 64);
    size_t index = 0;
    while (index < g->rule_count && g->rules[index].kind != f->kind)
        index++;
    if (index == g->rule_count)
        return error_set(e, -EPROTO, "an unknown frame (kind %u)", f->kind);
    int result = check(g, index, f, fd_count, e);
    if (result < 0)
        return result;
    g->seen |= UINT64_C(1) << index;
    const struct frame_rule *rule = &g->rules[index];
    struct cursor payload = cursor_of(f->payload, f->size);
    result = rule->handle(context, &payload, fds, fd_count, e);
    ASSERT(result <= 0);
    if (result < 0)
        return result;
    if (!cursor_finished(&payload))
        return error_set(e, -EBADMSG, "a %s frame is malformed", rule->name);
    return 0;
}
