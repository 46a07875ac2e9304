/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of HTTP/2: what h2.c (the session, requests) and h2_answer.c (answers) share. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "ingress/internal.h"

#define H2_STREAMS_MAX 100
#define H2_STREAM_WINDOW (256u << 10)
#define H2_CONNECTION_WINDOW (1u << 20)
#define H2_OUT_ENOUGH (64u << 10) /* frames are made until so much waits to be written */
#define H2_THROWN_MAX (4u << 20) /* bytes of a body that nobody reads, before its stream is reset */
#define H2_CREDIT_MAX 1000       /* see h2.c */

struct h2_stream {
    struct list place;
    struct conn *conn;
    struct exchange *x;
    int32_t id;
    /* the request; fields are offsets into `text` until the head is whole */
    struct buf text;
    struct {
        uint32_t name, name_size, value, value_size;
    } fields[HTTP_FIELDS_MAX];
    size_t field_count;
    bool too_large, headed, request_ended;
    bool reset; /* by the client, or for a reason that is not the client's */
    bool head_request;
    struct buf in;   /* body bytes that the worker has no room for yet, at most one window */
    uint64_t thrown; /* bytes of it that nobody wanted */
    /* the answer */
    struct buf out; /* body bytes that were not made into frames yet */
    size_t out_start;
    bool answered, has_body, out_ended, deferred;
    bool has_length;
    uint64_t length_left;
    struct buf trailers; /* http_fields_put() */
    bool owes_continue;
};
struct h2 {
    nghttp2_session *session;
    struct list streams;
    uint32_t stream_count;
    struct buf out;
    size_t out_sent;
    int32_t credit;
    bool going; /* GOAWAY was sent */
};

extern const struct exchange_owner h2_owner;
/* Answers a stream by ourselves. */
void h2_answer(struct h2_stream *s, uint16_t status);
void h2_answer_problem(struct h2_stream *s, const struct problem *p);
void h2_reset(struct h2_stream *s, uint32_t code);
/* Lets an exchange go of which nothing more comes. */
void h2_part(struct h2_stream *s);
/* Gives the worker what waits in s->in. */
void h2_push(struct h2_stream *s);
