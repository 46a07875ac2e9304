/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that guests write: see exchange.h. While its message is not sent a body holds what is
 * written, up to a window; from then on bytes go straight to the link, as many as the peer's window
 * takes, and nothing is held but what could not go when the message was sent.
 */
#include <string.h>

#include "base/mem.h"
#include "worker/exchange_internal.h"
#include "worker/guest.h"

#define FAILURE_TEXT_MAX 512

void failure_set(struct exchange_failure *f, enum http_error error, uint64_t number,
                 struct bytes text)
{
    if (f->error)
        return;
    f->error = error;
    f->number = number;
    /* Without memory the code says enough. */
    if (text.size)
        f->text = mem_strndup((const char *)text.data, MIN(text.size, (size_t)FAILURE_TEXT_MAX));
}

struct body *body_new(struct guest *g, uint64_t length)
{
    struct body *b = mem_zalloc(sizeof(*b));
    if (!b)
        return NULL;
    b->guest = g;
    b->length = length;
    b->writing = b->unsent = true;
    b->failure.number = UINT64_MAX;
    return b;
}

void body_release(struct body *b)
{
    if (b->exchange || body_has_handle(b))
        return;
    fifo_done(&b->held);
    mem_free(b->trailers);
    mem_free(b->failure.text);
    mem_free(b);
}

void body_detach(struct body *b)
{
    b->unsent = false;
    b->unwanted = true;
    fifo_done(&b->held);
    if (b->writing)
        operations_complete_event(b->guest->loop, b->guest, b, true);
    body_release(b);
}

void body_attach(struct body *b, struct exchange *x)
{
    if (!x->peer || x->out_ended) { /* over before it began, or the peer wants no body */
        body_detach(b);
        return;
    }
    b->unsent = false;
    b->exchange = x;
    x->body = b;
    if (!b->writing && !b->finished) { /* abandoned before it was sent */
        guest_exchange_abort(x, HTTP_ERROR_INTERNAL, "a body was not finished");
        return;
    }
    body_pump(b);
}

size_t body_permit(const struct body *b)
{
    const struct exchange *x = b->exchange;
    if (b->failure.error || b->unwanted || b->finished)
        return 0;
    if (b->unsent)
        return HTTP_WINDOW_START - b->held.size;
    if (!x || b->held.size || !peer_flows(x->peer))
        return 0;
    return (size_t)MIN(x->out_window, (uint64_t)HTTP_BODY_FRAME_MAX);
}

static void send_bytes(struct exchange *x, const uint8_t *bytes, size_t size)
{
    x->out_window -= size;
    guest_used_bytes(x->guest, x->rule, 0, size);
    peer_put(x->peer, HTTP_BODY, x, (struct bytes){ bytes, size });
}

int body_write(struct body *b, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    b->written += size;
    if (b->unsent)
        return fifo_put(&b->held, bytes, size);
    send_bytes(b->exchange, bytes, size);
    return 0;
}

void body_pump(struct body *b)
{
    struct exchange *x = b->exchange;
    while (b->held.size && x->out_window && peer_flows(x->peer)) {
        size_t size = MIN(b->held.size, (size_t)HTTP_BODY_FRAME_MAX);
        size = (size_t)MIN((uint64_t)size, x->out_window);
        send_bytes(x, b->held.data + b->held.start, size);
        fifo_take(&b->held, size);
    }
    if (b->held.size)
        return;
    fifo_done(&b->held);
    if (!b->finished || x->out_ended)
        return;
    x->out_ended = true;
    peer_put(x->peer, HTTP_END, x, (struct bytes){ b->trailers, b->trailers_size });
    guest_exchange_check_over(x);
}

int body_finish(struct body *b, const struct http_field *trailers, size_t count)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(2 * HTTP_HEAD_MAX);
    http_fields_put(&payload, trailers, count);
    if (buf_status(&payload) < 0)
        return buf_status(&payload);
    b->trailers_size = payload.size;
    b->trailers = (uint8_t *)buf_take(&payload);
    if (!b->trailers)
        return -ENOMEM;
    b->finished = true;
    b->writing = false;
    if (b->exchange)
        body_pump(b);
    else
        body_release(b);
    return 0;
}

void body_abandon(struct body *b, enum http_error error)
{
    struct exchange *x = b->exchange;
    b->writing = false;
    if (!x)
        body_release(b);
    else if (!x->out_ended) /* else nobody wants it: it breaks nothing */
        guest_exchange_abort(x, error, "a body was not finished");
}
