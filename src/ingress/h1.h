/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of HTTP/1: what h1.c (states, requests) and h1_answer.c (answers) share. */
#pragma once

#include "ingress/internal.h"

#define H1_IN_START (16u << 10)
#define H1_IN_MAX (128u << 10) /* a head of HTTP_HEAD_MAX and as much again */
/* A head, interim answers, and what the window lets in: chunks of one byte are six each. */
#define H1_OUT_MAX (2u << 20)

enum h1_framing { FRAMED_NONE, FRAMED_LENGTH, FRAMED_CHUNKED, FRAMED_CLOSE, FRAMED_RAW };

/* Taken from the room's pool when the first byte comes, given back between two requests. */
struct h1 {
    struct h1 *next; /* in the pool */
    enum h1_state state;
    struct exchange *x;
    /* bytes that came and were not used: in[start …] */
    uint8_t *in;
    size_t capacity, start, size;
    struct bytes pending; /* of them, body bytes that the worker has no room for yet */
    uint64_t thrown;
    bool shut;
    /* the request */
    uint8_t minor;
    bool head_request, keep_alive, owes_continue;
    /* the answer */
    enum h1_framing framing;
    uint64_t length_left;
    struct buf out;
    size_t out_sent;
    uint64_t body_in_out; /* body bytes in `out`: given back to the worker's window when written */
    bool wide;            /* counted in wide_count, until the connection rests */
    bool answering;       /* its head is in `out`, or further */
    bool last;            /* the connection ends with this answer */
    bool open_tunnel;     /* when `out` is written, TLS begins */
    bool reset; /* and not in peace: the answer is not whole and nothing else would show it */
    struct http1_parser parser;
};

void h1_step(struct conn *c, enum h1_step step);
extern const struct exchange_owner h1_owner;
/* Answers by ourselves, with no worker; step() is the caller's. `retry`: says when to come again. */
void h1_answer(struct conn *c, uint16_t status, bool last);
void h1_answer_metrics(struct conn *c, const struct http1_head *head);
/* The exchange is over for us. */
void h1_drop_exchange(struct h1 *h);
