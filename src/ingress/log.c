/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: one JSON object a line for each request, when it is over. ASCII only: what a client
 * sent is in \u escapes where it is not printable, so that neither a terminal nor a reader of lines is
 * misled. It goes to a pipe that never blocks us; control writes it out. Lines that do not fit are
 * dropped and counted.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "ingress/internal.h"

#define LOG_MAX (256u << 10)
#define TEXT_MAX 1024u /* bytes of a target or a name that are kept */

static void put_text(struct buf *out, struct bytes text)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < text.size && i < TEXT_MAX; i++) {
        uint8_t b = text.data[i];
        if (b == '"' || b == '\\')
            buf_printf(out, "\\%c", b);
        else if (b < 0x20 || b > 0x7e)
            buf_printf(out, "\\u%04x", b);
        else
            buf_putc(out, (char)b);
    }
    buf_puts(out, text.size > TEXT_MAX ? "...\"" : "\"");
}

static struct bytes field_of(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->field_count; i++)
        if (bytes_are(r->fields[i].name, name))
            return r->fields[i].value;
    return (struct bytes){ 0 };
}

static void put_start(struct buf *out, const char *peer)
{
    buf_puts(out, "{\"time\":\"");
    text_put_timestamp(out, clock_real_ns());
    buf_puts(out, "\",\"peer\":");
    put_text(out, bytes_of(peer));
}

/* Of a proxy the queries of others' URLs are not kept: they hold keys too often. */
static struct bytes shown_target(const struct ingress *i, struct bytes target)
{
    const uint8_t *query =
        is_proxy(i) && target.size > 0 ? memchr(target.data, '?', target.size) : NULL;
    return query == NULL ? target : (struct bytes){ target.data, (size_t)(query - target.data) };
}

void log_begin(struct exchange *x, const struct http_request *r)
{
    char peer[80];
    x->log = (struct buf)BUF_INIT(32u << 10);
    if (x->i->log_fd < 0)
        return;
    conn_peer_text(x->conn, peer, sizeof peer);
    put_start(&x->log, peer);
    buf_puts(&x->log, ",\"method\":");
    put_text(&x->log, r->method);
    buf_puts(&x->log, ",\"host\":");
    put_text(&x->log, r->authority);
    buf_puts(&x->log, ",\"target\":");
    put_text(&x->log, shown_target(x->i, r->target));
    buf_printf(&x->log, ",\"version\":\"%u.%u\",\"agent\":", x->version / 10, x->version % 10);
    put_text(&x->log, field_of(r, "user-agent"));
}

/* A whole line, or none of it. */
static void add_line(struct ingress *i, struct buf *line)
{
    if (buf_status(line) == 0 && i->log.size + line->size <= LOG_MAX) {
        buf_append(&i->log, line->data, line->size);
        if (buf_status(&i->log) == 0)
            return;
        buf_clear(&i->log);
        i->log_sent = 0;
    }
    room_count(i, INGRESS_COUNT_log_lines_dropped_total, 1);
}

void log_end(struct exchange *x)
{
    struct ingress *i = x->i;
    uint64_t took = i->now_ns - x->began_ns;
    room_count(i, INGRESS_COUNT_request_nanoseconds_total, took);
    if (i->log_fd >= 0) {
        buf_printf(&x->log,
                   ",\"status\":%u,\"received\":%llu,\"sent\":%llu,\"duration_us\":%llu,"
                   "\"whole\":%s}\n",
                   x->status, (unsigned long long)x->received, (unsigned long long)x->sent,
                   (unsigned long long)(took / 1000), x->cut || x->status == 0 ? "false" : "true");
        add_line(i, &x->log);
    }
    buf_done(&x->log);
}

void log_refused(struct conn *c, uint16_t status, const char *why)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(4096);
    char peer[80];
    if (c->i->log_fd < 0)
        return;
    conn_peer_text(c, peer, sizeof peer);
    put_start(&line, peer);
    buf_printf(&line, ",\"status\":%u,\"why\":", status);
    put_text(&line, bytes_of(why));
    buf_puts(&line, "}\n");
    add_line(c->i, &line);
}

void log_answered(struct conn *c, struct bytes method, struct bytes destination, uint16_t status,
                  const char *why)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(16u << 10);
    char peer[80];
    if (c->i->log_fd < 0)
        return;
    conn_peer_text(c, peer, sizeof peer);
    put_start(&line, peer);
    buf_puts(&line, ",\"method\":");
    put_text(&line, method);
    buf_puts(&line, ",\"host\":");
    put_text(&line, destination);
    buf_printf(&line, ",\"status\":%u,\"why\":", status);
    put_text(&line, bytes_of(why));
    buf_puts(&line, "}\n");
    add_line(c->i, &line);
}

void log_flush(struct ingress *i)
{
    while (i->log_sent < i->log.size) {
        ssize_t n = write(i->log_fd, i->log.data + i->log_sent, i->log.size - i->log_sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) { /* nobody reads it any more */
            i->log_sent = i->log.size;
            fd_closep(&i->log_fd);
        }
        if (n <= 0)
            break;
        i->log_sent += (size_t)n;
    }
    if (i->log_sent == i->log.size) {
        buf_clear(&i->log);
        i->log_sent = 0;
    } else if (i->log_sent > LOG_MAX / 2) {
        memmove(i->log.data, i->log.data + i->log_sent, i->log.size - i->log_sent);
        i->log.size -= i->log_sent;
        i->log_sent = 0;
    }
}
