/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the codec reads in some bytes, as text, at any way of cutting them: for test_http1,
 * fuzz_http1 and the driver of the differential test.
 *
 * `line` is short: "POST /x @host length=5 keep {hello} ; … ; end" (or the name of the fault at the
 * end). `detail` has everything that must not depend on the cut. `again` is the messages printed.
 * Before each call the bytes that are held move to memory of exactly their size, so that a slice
 * that was left behind and a read beyond the end show under ASan.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/http1.h"

struct reading {
    struct buf line, detail, again, body;
    enum http1_fault fault;
    unsigned messages;
    bool all_1_1; /* `again` reads the same only then: HTTP/1.0 is read, never written */
};
#define READING_MAX (16u << 20)
#define READING_INIT                                                                   \
    {                                                                                  \
        .line = BUF_INIT(READING_MAX), .detail = BUF_INIT(READING_MAX),                \
        .again = BUF_INIT(READING_MAX), .body = BUF_INIT(READING_MAX), .all_1_1 = true \
    }

static inline void reading_done(struct reading *r)
{
    buf_done(&r->line);
    buf_done(&r->detail);
    buf_done(&r->again);
    buf_done(&r->body);
}

static inline void reading_put(struct buf *out, struct bytes b)
{
    for (size_t i = 0; i < b.size; i++) {
        uint8_t c = b.data[i];
        if (c > ' ' && c < 0x7f && !strchr("\\{};", c))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "\\x%02x", c);
    }
}

static inline void reading_fields(struct reading *r, const struct http_field *fields, size_t count,
                                  const bool *hop)
{
    for (size_t i = 0; i < count; i++) {
        ASSERT(http1_field_valid(&fields[i]));
        reading_put(&r->detail, fields[i].name);
        buf_puts(&r->detail, hop && hop[i] ? "!" : ":");
        reading_put(&r->detail, fields[i].value);
        buf_puts(&r->detail, "\n");
    }
}

static inline void reading_head(struct reading *r, const struct http1_head *h)
{
    static const char *const framings[] = { "none", "length", "chunked", "close" };
    CLEANUP(buf_done) struct buf line = BUF_INIT(READING_MAX);
    if (h->status) {
        buf_printf(&line, "%u", h->status);
        http1_print_response(&r->again, h->status, h->fields, h->field_count);
    } else {
        reading_put(&line, h->method);
        buf_puts(&line, " ");
        reading_put(&line, h->target);
        buf_puts(&line, " @");
        reading_put(&line, h->authority);
        if (h->scheme.size || h->path.size != h->target.size) {
            buf_puts(&line, " path=");
            reading_put(&line, h->path);
        }
        http1_print_request(&r->again, h->method, h->target, h->fields, h->field_count);
    }
    buf_printf(&line, " %s", framings[h->framing]);
    if (h->framing == HTTP1_LENGTH)
        buf_printf(&line, "=%llu", (unsigned long long)h->content_length);
    buf_printf(&line, "%s%s%s%s", h->minor ? "" : " 1.0", h->keep_alive ? " keep" : "",
               h->expect_continue ? " continue" : "", h->upgrade ? " upgrade" : "");
    buf_append(&r->line, line.data, line.size);
    buf_append(&r->detail, line.data, line.size);
    buf_puts(&r->detail, "\n");
    reading_fields(r, h->fields, h->field_count, h->hop_by_hop);
    r->all_1_1 = r->all_1_1 && h->minor == 1;
}

static inline void reading_message(struct reading *r, const struct http1_event *e)
{
    struct bytes body = { r->body.data, r->body.size };
    if (e->head->framing == HTTP1_CHUNKED) {
        http1_print_chunk(&r->again, body);
        http1_print_last_chunk(&r->again, e->fields, e->field_count);
    } else {
        buf_append(&r->again, body.data, body.size);
    }
    buf_puts(&r->line, " {");
    reading_put(&r->line, body);
    buf_puts(&r->line, "}");
    if (e->field_count)
        buf_printf(&r->line, " +%zu", e->field_count);
    buf_puts(&r->line, " ; ");
    reading_put(&r->detail, body);
    buf_puts(&r->detail, "\n");
    reading_fields(r, e->fields, e->field_count, NULL);
    buf_clear(&r->body);
    r->messages++;
}

/* One event; false when the parser wants more or failed. */
static inline bool reading_event(struct reading *r, struct http1_parser *p, enum http1_event_kind k,
                                 const struct http1_event *e)
{
    switch (k) {
    case HTTP1_MORE:
        return false;
    case HTTP1_HEAD:
        ASSERT(e->head == &p->head);
        reading_head(r, e->head);
        return true;
    case HTTP1_DATA:
        ASSERT(e->data.size > 0);
        buf_append(&r->body, e->data.data, e->data.size);
        return true;
    case HTTP1_DONE:
        reading_message(r, e);
        return true;
    case HTTP1_FAULT:
        break;
    }
    r->fault = e->fault;
    ASSERT(r->fault > HTTP1_NO_FAULT && r->fault < HTTP1_FAULT_COUNT);
    return false;
}

/* The end of the input: the last word of `line`. */
static inline void reading_close(struct reading *r, struct http1_parser *p)
{
    struct http1_event e;
    if (!r->fault) {
        enum http1_event_kind k = http1_end(p, &e);
        if (k == HTTP1_FAULT)
            r->fault = e.fault;
        else if (e.head)
            reading_message(r, &e);
    }
    if (r->body.size) { /* of a message that did not end */
        buf_puts(&r->line, " {");
        reading_put(&r->line, (struct bytes){ r->body.data, r->body.size });
        buf_puts(&r->line, "… ");
    } else if (r->fault && r->line.size && r->line.data[r->line.size - 1] != ' ') {
        buf_puts(&r->line, " … ");
    }
    buf_puts(&r->line, r->fault ? http1_fault_name(r->fault) : "end");
    buf_append(&r->detail, r->line.data, r->line.size);
}

/* Gives the parser `data` in pieces of cut(context) bytes. */
static inline void reading_of(struct reading *r, struct http1_parser *p, struct bytes data,
                              size_t (*cut)(void *), void *context)
{
    size_t begin = 0, end = 0;
    while (!r->fault && (end < data.size || begin < end)) {
        size_t size, used;
        bool more = true;
        size_t piece = cut(context);
        end += MIN(piece ? piece : 1, data.size - end);
        size = end - begin;
        uint8_t *held = mem_alloc(size + 1); /* + 1: never NULL for 0 */
        ASSERT(held);
        memcpy(held + 1, data.data + begin, size);
        for (size_t at = 0; more; at += used) {
            struct http1_event e;
            enum http1_event_kind k = http1_read(p, held + 1 + at, size - at, &e, &used);
            ASSERT(used <= size - at);
            begin += used;
            more = reading_event(r, p, k, &e);
            if (r->fault) { /* for good */
                ASSERT(http1_read(p, held + 1, size, &e, &used) == HTTP1_FAULT && used == 0);
                ASSERT(e.fault == r->fault);
            }
        }
        memset(held, 0xdd, size + 1);
        mem_free(held);
        if (end == data.size)
            break;
    }
    reading_close(r, p);
}

static inline size_t reading_whole(void *context)
{
    (void)context;
    return SIZE_MAX / 2;
}
static inline size_t reading_steps(void *context)
{
    return *(const size_t *)context;
}
/* Mostly short pieces, now and then a long one; the same ones for a seed. */
static inline size_t reading_random(void *context)
{
    uint64_t *state = context, z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z % 8 ? 1 + z / 8 % 9 : 1 + z / 8 % 5000;
}
