/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchanges of HTTP over a link (wire/http.h), as a worker has them: those its guests ask for, with
 * the egress room at the other end, and those its guests are asked for, with the ingress room there.
 * What is allowed and what a guest sees is host/http.c's; here are frames, windows and lives.
 *
 *   struct http_peer   one link. Takes every frame as it comes; what does not fit the link waits in
 *                      `backlog`, which bounded sources fill: bodies stop while it is not empty
 *   struct exchange    one request and its response. On the peer's table until it is over: both
 *                      directions ended, or one side said ABORT
 *   struct body        what a guest writes. Lives from http_body_new() to its end; belongs to an
 *                      exchange from the moment its message is sent
 *
 * Memory of one exchange is bounded: HTTP_WINDOW_START bytes that came and were not read, a head of
 * the other side and its trailers (HTTP_HEAD_MAX each); of a body as many bytes that wait to go
 * out, and trailers. How many there are is bounded by the guest's handles.
 *
 * An exchange is freed when nobody holds it any more: no handle of the guest, and it is over
 * (guest_exchange_release()); a body when both its ends and its exchange are.
 *
 * The other side is not believed: a frame that breaks the protocol ends the link, and every exchange
 * on it fails with CONNECTION_TERMINATED.
 */
#pragma once

#include "room/link.h"
#include "wire/http.h"
#include "worker/loop.h"

struct guest;
struct exchange;

#define HTTP_BACKLOG_MAX (4u << 20)
#define HTTP_BACKLOG_BUSY (1u << 20) /* no new requests above */

struct fifo { /* bytes, at most HTTP_WINDOW_START */
    uint8_t *data;
    size_t start, size, capacity;
};
int fifo_put(struct fifo *f, const uint8_t *bytes, size_t size) MUST_CHECK; /* -ENOMEM */
void fifo_take(struct fifo *f, size_t size); /* of those at data + start */
void fifo_done(struct fifo *f);

/* Why something failed. `error` is HTTP_OK while nothing has. */
struct exchange_failure {
    enum http_error error;
    uint64_t number; /* UINT64_MAX = none */
    char *text;      /* or NULL */
};

struct body {
    struct guest *guest;
    struct exchange *exchange; /* NULL: its message was not sent yet, or is over */
    /* Its two ends: the guest's that writes, and its message's. The handle is the guest's as long as
     * one of them is. */
    bool writing, unsent;
    bool finished;            /* END goes out behind what is held */
    bool unwanted;            /* nobody takes it: writing it is to write to a closed stream */
    uint64_t length, written; /* as declared, UINT64_MAX = not; so far */
    struct fifo held;
    uint8_t *trailers; /* of finish: the payload of END without its number */
    size_t trailers_size;
    struct exchange_failure failure;
};

struct exchange {
    struct http_peer *peer; /* NULL: it is over */
    uint64_t number;
    struct exchange *chain; /* of the peer's table */
    struct guest *guest;
    struct exchange *next, *previous; /* of the guest */
    bool has_handle, incoming;
    bool answered;  /* incoming: RESPONSE was sent */
    bool asks_body; /* incoming: the client waits for a WINDOW before it sends its body */
    /* what comes in */
    uint8_t *head; /* payload of RESPONSE, or of REQUEST while it waits for its turn */
    size_t head_size;
    struct fifo in;
    uint8_t *trailers; /* payload of END without its number */
    size_t trailers_size;
    bool in_ended, discarded, throw_away;
    uint32_t window, owed; /* what may still come; what was read and not given back yet */
    /* what goes out */
    struct body *body;
    uint64_t out_window;
    bool out_ended;
    struct exchange_failure failure;
    uint32_t rule;      /* of the grant, for accounts; GRANT_NO_RULE = none */
    char *method, *url; /* outgoing: for the record of a denial that egress found */
};

struct http_peer {
    struct source source; /* of the loop */
    struct link *link;    /* NULL: there is none, or it is dead */
    bool asks;            /* the exchanges are ours: we number them */
    bool broken;          /* something could not be sent: the next take() ends the link */
    struct loop *loop;
    uint64_t last; /* number */
    struct exchange **table;
    size_t table_size, count;
    struct buf backlog; /* u32 size, u16 kind, payload, … */
    size_t backlog_sent;
    struct buf scratch; /* payloads that are being made */
    struct http_field fields[HTTP_FIELDS_MAX];
    /* incoming: a request came (fields point into payload of it, which is kept in `payload`).
     * < 0 is a fault of ours. */
    int (*request)(void *context, struct http_peer *p, struct exchange *x,
                   const struct http_request *r);
    /* incoming: the client is gone, or the ingress room; it is over after this. */
    void (*gone)(void *context, struct exchange *x);
    /* The link is dead, its exchanges have failed. < 0 ends the loop. */
    int (*lost)(void *context, struct http_peer *p, struct error *e);
    /* outgoing: egress refused it (it is over); to be recorded. */
    void (*refused)(void *context, struct exchange *x, const struct http_failure *f);
    void *context;
};

/* A peer without a link. `asks`: we send requests on it (egress), else we answer them (ingress). */
void http_peer_init(struct http_peer *p, bool asks);
void http_peer_done(struct http_peer *p); /* every exchange must be over */
/* A link of a room that was (re)started; taken. What was on the old one fails. NULL: none. */
int http_peer_attach(struct http_peer *p, struct loop *l, struct link *link,
                     struct error *e) MUST_CHECK;
/* Are there requests to be told to wait: too much that the link did not take? */
static inline bool http_peer_busy(const struct http_peer *p)
{
    return p->backlog.size - p->backlog_sent > HTTP_BACKLOG_BUSY;
}

/* Makes one, held by a handle to come, on the peer's table with a number of ours. NULL = no memory. */
struct exchange *guest_exchange_new(struct http_peer *p, struct guest *g) MUST_CHECK;
/* The last one that was made, nothing of which was sent: it never was. Frees it. */
void guest_exchange_cancel(struct exchange *x);
void guest_exchange_give(struct exchange *x,
                         struct guest *g); /* incoming: to the guest that answers it */
/* Frees it when nothing holds it any more. */
void guest_exchange_release(struct exchange *x);
/* Over, with a reason that its readers are told. */
void guest_exchange_fail(struct exchange *x, enum http_error error, uint64_t number,
                         struct bytes text);
/* Tells the peer and is over. HTTP_OK: it is no longer wanted. */
void guest_exchange_abort(struct exchange *x, enum http_error error, const char *text);
/* The request (asks), or the answer, of an exchange that is not over. 0, or -ENOMEM. */
int guest_exchange_send_request(struct exchange *x, const struct http_request *r) MUST_CHECK;
int guest_exchange_send_response(struct exchange *x, const struct http_response *r) MUST_CHECK;
/* `size` bytes at the start of `in` were read. */
void guest_exchange_consumed(struct exchange *x, size_t size);
/* Somebody wants to read: the client that waits for that may send. */
void guest_exchange_wants_body(struct exchange *x);
/* The rest of what comes in is not wanted. */
void guest_exchange_discard(struct exchange *x);
/* Trailers only: what still comes of the body is thrown away. */
void guest_exchange_throw_away(struct exchange *x);

/* A body that belongs to no exchange yet; `length`: what its content-length says, UINT64_MAX = it
 * says nothing. NULL: no memory. */
struct body *body_new(struct guest *g, uint64_t length) MUST_CHECK;
/* Its message's end: after its head was sent, or instead of that. May free it. */
void body_attach(struct body *b, struct exchange *x);
void body_detach(struct body *b);
/* How many bytes may be written now. */
size_t body_permit(const struct body *b);
int body_write(struct body *b, const uint8_t *bytes,
               size_t size) MUST_CHECK; /* within the permit */
/* The writer's end: what is held, then END with these trailers. May free it. */
int body_finish(struct body *b, const struct http_field *trailers, size_t count) MUST_CHECK;
/* The same, and the message is broken, with this reason for the peer. */
void body_abandon(struct body *b, enum http_error error);
static inline bool body_has_handle(const struct body *b)
{
    return b->writing || b->unsent;
}
/* Sent, finished, and not all of it out yet. */
static inline bool body_drains(const struct exchange *x)
{
    return x->peer && !x->out_ended && x->body && x->body->finished;
}
