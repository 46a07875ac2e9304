/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard streams of guests that answer requests. Many guests share what `ambit serve` writes to,
 * so each gathers its own line and gives on whole ones: lines of two requests never mix. A line
 * longer than LINE_MAX goes in parts, each a line; an unfinished one ends with its guest.
 *
 * Lines wait in the sink of their stream, which is written once for each round of the loop. Nobody
 * waits for who reads it: a sink that is full drops whole lines, and says how many as soon as there
 * is room. Standard input is at its end.
 *
 * Output is counted when it is accepted, for each request; the byte that would pass the limit ends
 * the guest, those before it go out.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "worker/host/host.h"

#define LINE_MAX ((size_t)4096)
#define SINK_MAX ((size_t)64 << 10)

static bool allowed(struct guest *g, const struct guest_lines *l, const char *operation,
                    struct grant_decision *ret)
{
    *ret = guest_gated(g, g->template->streams[l->which].decision);
    if (ret->reason == GRANT_ALLOWED)
        return true;
    guest_denied(g, GRANT_STDIO, operation, stdio_stream_names[l->which], 0, *ret);
    return false;
}

/* ---- the sink ---- */

static void sink_put(struct guest *template, size_t which, const uint8_t *bytes, size_t size)
{
    struct guest_sink *k = &template->sinks[which];
    struct stream *s = &template->streams[which];
    char note[96];
    if (size == 0 || s->closed || s->watch.fd < 0)
        return;
    if (!k->held.max)
        k->held = (struct buf)BUF_INIT(SINK_MAX);
    if (k->dropped && k->held.size + sizeof(note) + size <= SINK_MAX) {
        int n = snprintf(note, sizeof(note), "ambit: %llu lines were dropped, nobody read them\n",
                         (unsigned long long)k->dropped);
        buf_append(&k->held, note, (size_t)n);
        k->dropped = 0;
    }
    size_t before = k->held.size;
    buf_append(&k->held, bytes, size);
    if (buf_status(&k->held) == 0)
        return;
    k->held.failed = 0; /* full, or no memory: the line is lost, the sink is not */
    k->held.size = before;
    k->dropped++;
}

/* Writes what it takes now; false: somebody must read first. */
static bool sink_write(struct stream *s, struct guest_sink *k)
{
    size_t out = 0;
    ssize_t n = 0;
    while (out < k->held.size) {
        size_t part = stream_may_block(s) ? MIN(k->held.size - out, (size_t)STREAM_HELD_MAX)
                                          : k->held.size - out;
        n = stream_write_some(s, k->held.data + out, part);
        if (n < 0)
            break;
        out += (size_t)n;
    }
    if (n < 0 && n != -EAGAIN) {
        s->closed = true; /* nobody will ever read it */
        out = k->held.size;
    }
    k->held.size -= out;
    if (k->held.size && out)
        memmove(k->held.data, k->held.data + out, k->held.size);
    return k->held.size == 0;
}

void lines_flush(struct guest *template)
{
    for (size_t i = STREAM_OUT; i < STREAM_COUNT; i++) {
        struct guest_sink *k = &template->sinks[i];
        struct stream *s = &template->streams[i];
        if (k->held.size == 0 || k->waits)
            continue;
        if (sink_write(s, k))
            continue;
        k->waits = watch_update(template->loop, &s->watch, true) == 0;
    }
}

void lines_writable(struct guest *template, struct watch *w)
{
    struct stream *s = (struct stream *)((char *)w - offsetof(struct stream, watch));
    struct guest_sink *k = &template->sinks[s - template->streams];
    if (!sink_write(s, k))
        return;
    k->waits = false;
    watch_forget(template->loop, w);
}

void lines_done(struct guest *template)
{
    for (size_t i = 0; i < STREAM_COUNT; i++)
        buf_done(&template->sinks[i].held);
}

/* ---- lines ---- */

/* A part without an end gets one: else the next request's line would go on where it stops. */
static void line_end(struct guest_lines *l)
{
    if (l->line.size > 0 && l->line.data[l->line.size - 1] != '\n') {
        l->line.max = LINE_MAX + 1;
        buf_putc(&l->line, '\n');
        l->line.max = LINE_MAX;
    }
    sink_put((struct guest *)l->guest->template, l->which, l->line.data, l->line.size);
    buf_clear(&l->line);
}

static int line_put(struct guest_lines *l, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        const uint8_t *end = memchr(bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) + 1 : size;
        part = MIN(part, LINE_MAX - l->line.size);
        if (end && l->line.size == 0) { /* whole already */
            sink_put((struct guest *)l->guest->template, l->which, bytes, part);
        } else {
            buf_append(&l->line, bytes, part);
            if (buf_status(&l->line) < 0)
                return buf_status(&l->line);
            if (l->line.size == LINE_MAX || bytes[part - 1] == '\n')
                line_end(l);
        }
        bytes += part;
        size -= part;
    }
    return 0;
}

void lines_finish(struct guest *g)
{
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct guest_lines *l = &g->lines[i];
        if (l->line.size == 0)
            continue;
        line_end(l);
        buf_clear(&l->line);
    }
}

uint32_t lines_open(struct guest *g, uint32_t which)
{
    struct guest_lines *l = &g->lines[which];
    l->guest = g;
    l->which = which;
    l->line.max = LINE_MAX;
    return host_give_handle(g, HANDLE_LINES, l);
}

/* ---- the interface ---- */

static enum ambit_stream_status failed(struct guest_lines *l, const char *text)
{
    l->error = text;
    return AMBIT_STREAM_FAILED;
}

static enum ambit_stream_status lines_read(struct guest *g, void *object, uint8_t *into,
                                           size_t size, size_t *ret_size)
{
    struct guest_lines *l = object;
    struct grant_decision d;
    if (l->which != STREAM_IN)
        return failed(l, "not open for reading");
    (void)allowed(g, l, "read", &d);
    return AMBIT_STREAM_CLOSED;
}

static enum ambit_stream_status writable(struct guest *g, struct guest_lines *l,
                                         struct grant_decision *ret)
{
    if (l->which == STREAM_IN)
        return failed(l, "not open for writing");
    if (!allowed(g, l, "write", ret))
        return failed(l, grant_reason_text(ret->reason));
    return AMBIT_STREAM_OK;
}

static enum ambit_stream_status lines_check_write(struct guest *g, void *object, size_t *ret_size)
{
    struct grant_decision d;
    enum ambit_stream_status status = writable(g, object, &d);
    if (status == AMBIT_STREAM_OK)
        *ret_size = LINE_MAX;
    return status;
}

static enum ambit_stream_status lines_write(struct guest *g, void *object, const uint8_t *bytes,
                                            size_t size)
{
    struct guest_lines *l = object;
    struct grant_decision d;
    enum ambit_stream_status status = writable(g, l, &d);
    if (status != AMBIT_STREAM_OK)
        return status;
    uint64_t left = g->limits.output_bytes - MIN(g->done.output_bytes, g->limits.output_bytes);
    size_t within = size <= left || guest_skips(g, OUTPUT) ? size : (size_t)left;
    g->done.output_bytes += within;
    guest_used(g, d.rule, 0, 0, within);
    int code = size > LINE_MAX ? -EPROTO : line_put(l, bytes, within);
    if (code < 0)
        guest_fault(g, code, "writing a line");
    else if (within < size)
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_OUTPUT, "more than %llu bytes of output",
                  (unsigned long long)g->limits.output_bytes);
    return g->ended ? AMBIT_STREAM_END : AMBIT_STREAM_OK;
}

static enum ambit_stream_status lines_no_flush(struct guest *g, void *object)
{
    struct grant_decision d;
    return writable(g, object, &d);
}

static struct ambit_bytes lines_error(struct guest *g, void *object)
{
    const struct guest_lines *l = object;
    const char *text = l->error ? l->error : "";
    return (struct ambit_bytes){ (const uint8_t *)text, strlen(text) };
}

static enum ambit_wait lines_wait(struct guest *g, void *object, bool for_write, uint64_t operation)
{
    return AMBIT_READY;
}

const struct stream_class lines_class = {
    .read = lines_read,
    .check_write = lines_check_write,
    .write = lines_write,
    .flush = lines_no_flush,
    .error = lines_error,
    .wait = lines_wait,
};
