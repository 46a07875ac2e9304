/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads between control and egress: see egress.h. */
#include "wire/egress.h"

#include <string.h>

#include "base/mem.h"

static void put_bytes(struct buf *out, struct bytes b)
{
    buf_bytes(out, b.data, b.size < EGRESS_TEXT_MAX ? b.size : EGRESS_TEXT_MAX);
}

static struct bytes get_bytes(struct cursor *c)
{
    struct bytes b = { 0 };
    b.data = cursor_bytes(c, &b.size);
    if (b.size > EGRESS_TEXT_MAX)
        c->bad = true;
    return b;
}

static int finished(const struct cursor *c, const char *what, struct error *e)
{
    return cursor_finished(c) ? 0 : error_set(e, -EBADMSG, "%s that cannot be read", what);
}

void egress_request_put(struct buf *out, const struct egress_request *r)
{
    buf_u64(out, r->number);
    buf_u32(out, r->owner);
    buf_u32(out, r->rule);
    put_bytes(out, r->method);
    put_bytes(out, r->url);
    put_bytes(out, r->address);
}

int egress_request_get(struct cursor *c, struct egress_request *ret, struct error *e)
{
    *ret = (struct egress_request){ 0 };
    ret->number = cursor_u64(c);
    ret->owner = cursor_u32(c);
    ret->rule = cursor_u32(c);
    ret->method = get_bytes(c);
    ret->url = get_bytes(c);
    ret->address = get_bytes(c);
    return finished(c, "a record of a request", e);
}

void egress_response_put(struct buf *out, const struct egress_response *r)
{
    buf_u64(out, r->number);
    buf_u32(out, r->owner);
    buf_u32(out, r->rule);
    buf_u16(out, r->status);
    buf_u16(out, r->version);
    buf_u32(out, r->error);
    buf_u32(out, r->masked);
    buf_u64(out, r->bytes_sent);
    buf_u64(out, r->bytes_received);
    buf_u64(out, r->took_ns);
    put_bytes(out, r->text);
}

int egress_response_get(struct cursor *c, struct egress_response *ret, struct error *e)
{
    *ret = (struct egress_response){ 0 };
    ret->number = cursor_u64(c);
    ret->owner = cursor_u32(c);
    ret->rule = cursor_u32(c);
    ret->status = cursor_u16(c);
    ret->version = cursor_u16(c);
    ret->error = cursor_u32(c);
    ret->masked = cursor_u32(c);
    ret->bytes_sent = cursor_u64(c);
    ret->bytes_received = cursor_u64(c);
    ret->took_ns = cursor_u64(c);
    ret->text = get_bytes(c);
    if (ret->error >= HTTP_ERROR_COUNT || ret->status > 999)
        c->bad = true;
    return finished(c, "a record of an answer", e);
}

void egress_denied_put(struct buf *out, const struct egress_denied *d)
{
    buf_u32(out, d->owner);
    buf_u32(out, d->rule);
    buf_u32(out, d->reason);
    put_bytes(out, d->method);
    put_bytes(out, d->url);
    put_bytes(out, d->text);
    put_bytes(out, d->grant);
}

int egress_denied_get(struct cursor *c, struct egress_denied *ret, struct error *e)
{
    *ret = (struct egress_denied){ 0 };
    ret->owner = cursor_u32(c);
    ret->rule = cursor_u32(c);
    ret->reason = cursor_u32(c);
    ret->method = get_bytes(c);
    ret->url = get_bytes(c);
    ret->text = get_bytes(c);
    ret->grant = get_bytes(c);
    return finished(c, "a record of a denial", e);
}

void egress_start_put(struct buf *out, const struct egress_start *s)
{
    buf_string(out, s->grants_json);
    buf_string(out, s->work_host);
    buf_string(out, s->resolver);
    buf_u64(out, s->expires_ns);
    buf_u32(out, s->allow_missing);
    buf_u32(out, s->test_skip);
    buf_u32(out, s->more);
    buf_string(out, s->placeholders);
    buf_u32(out, (uint32_t)s->listener_count);
    for (size_t i = 0; i < s->listener_count; i++) {
        buf_u8(out, s->listeners[i].address.is_v6);
        buf_append(out, s->listeners[i].address.bytes, sizeof(s->listeners[i].address.bytes));
        buf_u16(out, s->listeners[i].port);
    }
}

int egress_start_get(struct cursor *c, struct egress_start *ret, struct error *e)
{
    *ret = (struct egress_start){ 0 };
    ret->grants_json = cursor_string(c);
    ret->work_host = cursor_string(c);
    ret->resolver = cursor_string(c);
    ret->expires_ns = cursor_u64(c);
    ret->allow_missing = cursor_u32(c);
    ret->test_skip = cursor_u32(c);
    ret->more = cursor_u32(c);
    ret->placeholders = cursor_string(c);
    uint32_t count = cursor_u32(c);
    if (count > EGRESS_LISTENERS_MAX || ret->more > EGRESS_MORE_MAX)
        c->bad = true;
    for (uint32_t i = 0; i < count && !c->bad; i++) {
        struct egress_listener *l = &ret->listeners[ret->listener_count++];
        uint8_t is_v6 = cursor_u8(c);
        l->address.is_v6 = is_v6 == 1;
        for (size_t k = 0; k < sizeof(l->address.bytes); k++)
            l->address.bytes[k] = cursor_u8(c);
        l->port = cursor_u16(c);
        if (is_v6 > 1)
            c->bad = true;
    }
    int status = finished(c, "a start of egress", e);
    if (status == 0 &&
        (!ret->grants_json || !ret->work_host || !ret->resolver || !ret->placeholders))
        status = error_set(e, -ENOMEM, "no memory for the start of egress");
    if (status < 0)
        egress_start_done(ret);
    return status;
}

void egress_start_done(struct egress_start *s)
{
    mem_free(s->grants_json);
    mem_free(s->work_host);
    mem_free(s->resolver);
    mem_free(s->placeholders);
    s->grants_json = s->work_host = s->resolver = s->placeholders = NULL;
}
