/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the ingress room share.
 *
 * Ownership: the room owns connections, a connection owns the protocol state and the exchanges of
 * its requests, an exchange belongs to one connection until exchange_free(). Nothing is freed within
 * a turn of the loop: a closed connection waits in `graves` for the end of the turn, because events
 * of the same turn may still name it.
 *
 * Bounds: connections ≤ start.connections; exchanges that a worker has ≤ start.concurrency, that
 * wait ≤ start.queue. For one connection: what was read and not used ≤ one head (h1) or one window
 * for each of at most H2_STREAMS_MAX streams (h2); what was not written yet ≤ one head and one
 * window for each exchange (EXCHANGE_WIDE for a few of a proxy's: WIDE_MAX, h1.c). A connection that
 * says nothing has a struct conn and no more. The kernel holds the room to what follows from that
 * (RLIMIT_DATA, ingress.c): where there is no memory a client is closed.
 */
#pragma once

#include <netinet/in.h>
#include <openssl/types.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "grant/grant.h"
#include "ingress/ingress.h"
#include "room/link.h"
#include "wire/http1.h"
#include "wire/keeper.h"
#include "wire/serve.h"
#include "wire/url.h"

#define TICK_NS NS_PER_S /* connections are looked at this often for time */
#define RATE_WINDOW_NS (10 * NS_PER_S)
#define LINGER_NS (2 * NS_PER_S)
#define LINGER_MAX (256u << 10) /* bytes of a request that are thrown away before it is cut */
#define QUEUE_WAIT_NS (30 * NS_PER_S)
#define RETRY_AFTER "1"
#define EXCHANGE_WIDE \
    (256u << 10) /* bytes of an answer under way to a client that takes them at once */

struct ingress;
struct conn;
struct exchange;

/* What epoll points at: the first member of each. */
enum source_kind {
    SOURCE_CONTROL,
    SOURCE_LINK,
    SOURCE_LISTENER,
    SOURCE_METRICS,
    SOURCE_KEEPER,
    SOURCE_CONN
};
struct source {
    enum source_kind kind;
};

struct list {
    struct list *next, *previous; /* a head points at itself when empty; so does what is in none */
};
static inline void list_init(struct list *l)
{
    l->next = l->previous = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_remove(struct list *l)
{
    l->previous->next = l->next;
    l->next->previous = l->previous;
    list_init(l);
}
static inline void list_append(struct list *head, struct list *l)
{
    list_remove(l);
    l->previous = head->previous;
    l->next = head;
    head->previous->next = l;
    head->previous = l;
}
#define LIST_OF(type, member, at) ((type *)(void *)((uint8_t *)(at)-offsetof(type, member)))

/* ---- exchange.c ---- */

/* Frames of an exchange, told to the connection that owns it. Each may call exchange_free(). */
struct exchange_owner {
    void (*response)(struct exchange *x, const struct http_response *r);
    void (*body)(struct exchange *x, struct bytes data);
    void (*end)(struct exchange *x, const struct http_field *trailers, size_t count);
    void (*failed)(struct exchange *x, const struct http_failure *f); /* it is over */
    void (*room)(struct exchange *x);    /* more of the request's body may go, or is not wanted */
    void (*proceed)(struct exchange *x); /* the guest reads the body that waits for 100 */
};
struct exchange {
    struct ingress *i;
    struct conn *conn;
    const struct exchange_owner *owner;
    void *stream; /* the owner's */
    uint64_t id;  /* 0: it waits */
    struct exchange *next_of_id;
    struct list place; /* in waiting, or in blocked */
    struct buf held;   /* while it waits: the request's payload without its number */
    struct buf log;    /* the line of the access log, as far as it is known */
    uint64_t began_ns;
    uint64_t send_window, receive_window, owed;
    uint64_t received, sent; /* body bytes */
    uint16_t status;
    uint8_t version;     /* 10, 11, 20 */
    bool holds_body;     /* no body before the first window */
    bool running;        /* a worker has it, as far as we know */
    bool request_ended;  /* END went, or the worker wants no more */
    bool response_ended; /* END came, or we want no more */
    bool responded, over;
    bool cut;          /* for the log: the answer is not whole */
    bool asks_upgrade; /* HTTP_UPGRADE: 101 is an answer */
    bool orphan;       /* the room that had it died */
    bool wide;         /* exchange_widen() */
};

/* Begins an exchange: it goes to the worker, or waits. 1: all is taken, answer 503. */
int exchange_new(struct conn *c, const struct exchange_owner *owner, void *stream, uint8_t version,
                 const struct http_request *r, struct exchange **ret) MUST_CHECK;
/* How many of the bytes the worker takes now; owner->room is called when it takes more. */
size_t exchange_send_body(struct exchange *x, struct bytes data);
void exchange_send_end(struct exchange *x, const struct http_field *trailers, size_t count);
/* The connection is done with so many bytes of the answer's body. */
void exchange_consumed(struct exchange *x, uint64_t size);
/* More of the answer's body may be under way than HTTP_WINDOW_START, up to EXCHANGE_WIDE. */
void exchange_widen(struct exchange *x);
/* No more of the answer's body is wanted. */
void exchange_discard(struct exchange *x);
/* The connection is done with it. Tells the worker where it does not know. */
void exchange_free(struct exchange *x);
static inline bool exchange_finished(const struct exchange *x)
{
    return x->over || (x->request_ended && x->response_ended);
}
/* The status to answer with when a worker gave none. */
uint16_t exchange_failure_status(const struct http_failure *f);

void exchange_pump(struct ingress *i); /* sends what waits, as far as there is room */
int exchange_take_frames(struct ingress *i, struct error *e) MUST_CHECK; /* from the link */
/* The link is dead: what was under way on it has failed. */
void exchange_fail_all(struct ingress *i);
void exchange_tick(struct ingress *i); /* who waited too long is told so */
void exchange_new_link(struct ingress *i, struct link *l);

/* ---- conn.c ---- */

enum protocol { PROTOCOL_NONE, PROTOCOL_H1, PROTOCOL_H2 };
struct h1;
struct h2;
struct tls;
struct front;

struct conn {
    struct source source;
    struct ingress *i;
    int fd;
    enum protocol protocol;
    bool metrics;
    bool readable, writable; /* edges that came and were not used up */
    bool emptied;            /* under TLS: the socket gave all it had, and no edge came since */
    bool hung_up, closed;
    bool begun;          /* a request was read: it does not begin as HTTP/2 any more */
    bool eof, failed;    /* of reading */
    struct tls *tls;     /* NULL: plain */
    struct front *front; /* of a proxy: what CONNECT named; NULL before */
    struct h1 *h1;       /* NULL while nothing came */
    struct h2 *h2;
    struct list waiting; /* in i->headless: it owes us a head */
    struct list dirty;   /* in i->dirty: something is to be done at the end of the turn */
    struct list all;
    uint64_t since_ns; /* since when it owes what it owes */
    /* slow or not: */
    uint64_t progress_ns, rate_since_ns, rate_bytes;
    uint64_t bytes;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer;
};

int conn_accept(struct ingress *i, int fd, bool metrics, const struct sockaddr *peer,
                socklen_t size);
void conn_event(struct conn *c, uint32_t events);
void conn_close(struct conn *c); /* at once; its exchanges are freed */
void conn_reset(struct conn *c); /* at once, and the client sees a reset */
void conn_dirty(struct conn *c);
void conn_work(struct conn *c); /* all that is to be done for it now */
void conn_tick(struct conn *c);
void conn_drain(struct conn *c);
/* > 0 bytes, 0 nothing now, -1 the end or an error (c->eof, c->failed). */
ssize_t conn_read(struct conn *c, uint8_t *bytes, size_t size);
/* Writes from *sent on; 0: all is written, the buffer is empty; 1: the client does not take more
 * now; < 0 it is gone. */
int conn_write_buf(struct conn *c, struct buf *b, size_t *sent) MUST_CHECK;
void conn_shut(struct conn *c); /* nothing more is written */
/* Its state changed: it owes a head (or rests between two), or it does not. */
void conn_owes_head(struct conn *c, bool owes);
void conn_peer_text(const struct conn *c, char *ret, size_t size);
/* Frees its place for somebody new: false, there is none to take. */
bool conn_evict(struct ingress *i);

/* ---- h1.c, h2.c ---- */

enum h1_state {
    H1_IDLE,   /* nothing of a request came */
    H1_HEAD,   /* a part of a head */
    H1_BODY,   /* the head went to the worker, its body comes; the answer may run */
    H1_ANSWER, /* the request is whole; the answer is awaited, or runs */
    H1_TUNNEL, /* a WebSocket: bytes, both ways, until either end closes */
    H1_SKIP,   /* the answer is whole; the rest of the request is read and thrown away */
    H1_LINGER, /* all is said; what still comes is thrown away until the client closes */
    H1_CLOSED,
    H1_STATE_COUNT
};
enum h1_step {
    H1_STEP_BYTES,   /* bytes of a head */
    H1_STEP_HEAD,    /* a head whose body follows */
    H1_STEP_REQUEST, /* a head without a body */
    H1_STEP_BODY_END,
    H1_STEP_TUNNEL, /* answered 101 */
    H1_STEP_ANSWERED,
    H1_STEP_LAST, /* answered, and nothing more shall come on this connection */
    H1_STEP_GONE,
    H1_STEP_COUNT
};
/* H1_STATE_COUNT: not possible. */
enum h1_state h1_next(enum h1_state s, enum h1_step step);
const char *h1_state_name(enum h1_state s);

void h1_work(struct conn *c);
bool h1_begin(struct conn *c); /* takes what it needs from the pool: false, no memory */
void h1_free(struct conn *c);
struct problem;
void h1_answer_problem(struct conn *c, const struct problem *p, bool last);
/* Begins the exchange of a head; `authority` as it goes on. Not 0: no place, or no memory. */
int h1_begin_exchange(struct conn *c, const struct http1_head *head, bool body,
                      struct bytes authority, uint32_t flags) MUST_CHECK;
/* CONNECT was granted: 200 goes out, and then TLS begins. */
void h1_open_tunnel(struct conn *c);
/* Answers by ourselves and ends the connection: 408, 503. */
void h1_answer_last(struct conn *c, uint16_t status);
/* What it waits for, for the clock. */
enum conn_wait {
    WAIT_NOTHING, /* the worker */
    WAIT_HEAD,
    WAIT_IDLE, /* the next request */
    WAIT_READ, /* bytes of a body */
    WAIT_WRITE,
    WAIT_LINGER,
    /* the worker, for a client that ended its direction. It may be gone altogether, which only a
     * write would tell, so it is waited for no longer than for a slow one */
    WAIT_HALF,
};
enum conn_wait h1_waits(const struct conn *c);

bool h2_begin(struct conn *c, const uint8_t *bytes, size_t size);
void h2_work(struct conn *c);
void h2_free(struct conn *c);
void h2_drain(struct conn *c);
enum conn_wait h2_waits(const struct conn *c);

/* ---- tls.c ---- */

struct tls_room; /* certificate and settings */
int tls_room_new(const char *certificate, const char *key, struct tls_room **ret,
                 struct error *e) MUST_CHECK;
void tls_room_free(struct tls_room *t);
/* Of a proxy: every connection has its own certificate, and the name that CONNECT gave. */
int tls_room_new_front(struct tls_room **ret, struct error *e) MUST_CHECK;
int tls_begin(struct conn *c) MUST_CHECK;
struct leaf;
/* Of a tunnel: `ahead` came already, behind CONNECT. */
int tls_begin_front(struct conn *c, const struct leaf *leaf, struct bytes ahead) MUST_CHECK;
/* Why the handshake of a tunnel ended, where the client's first message was at fault. */
enum tls_fault { TLS_NO_FAULT, TLS_FAULT_NOT_TLS, TLS_FAULT_NAME };
enum tls_fault tls_fault(const struct conn *c);
void tls_free(struct tls *t);
ssize_t tls_read(struct conn *c, uint8_t *bytes, size_t size);
ssize_t tls_write(struct conn *c, const uint8_t *bytes, size_t size);
void tls_shut(struct conn *c);
/* What was agreed on: PROTOCOL_NONE while the handshake runs. */
enum protocol tls_protocol(struct conn *c);

/* ---- log.c ---- */

void log_begin(struct exchange *x, const struct http_request *r);
void log_end(struct exchange *x);
/* A request that was answered without an exchange. */
void log_refused(struct conn *c, uint16_t status, const char *why);
/* The same, of a proxy: `destination` has no query. */
void log_answered(struct conn *c, struct bytes method, struct bytes destination, uint16_t status,
                  const char *why);
void log_flush(struct ingress *i);

/* ---- problem.c: answers of a proxy that no origin gave (RFC 9457) ---- */

struct problem {
    uint16_t status;
    enum grant_reason reason; /* GRANT_ALLOWED: not about grants */
    uint32_t rule;            /* or GRANT_NO_RULE */
    bool retryable;           /* it was not about the request */
    struct bytes detail, grant;
};
void problem_put(struct buf *out, const struct problem *p);
/* Of an exchange that ended before its answer. */
struct problem problem_of_failure(const struct exchange *x, const struct http_failure *f);
/* Fields of an answer with a problem: how many. */
#define PROBLEM_FIELDS_MAX 4
size_t problem_fields(const struct problem *p, struct http_field fields[static PROBLEM_FIELDS_MAX]);

/* ---- proxy.c ---- */

/* What CONNECT named, canonical. It lives as long as its connection. */
struct front {
    struct conn *conn;
    struct list waiting; /* in a leaf's, while keeper is asked; or in the crowd before that */
    uint64_t until_ns;   /* in the crowd */
    struct leaf *leaf;   /* given; let go of when TLS has begun */
    bool is_address;
    uint16_t port;
    char host[URL_HOST_MAX];
    char authority[]; /* as url_authority(): without the port of https */
};
static inline bool is_proxy(const struct ingress *i);
/* A head of HTTP/1 to a proxy: answers it, or begins an exchange, or asks for a leaf. */
void proxy_on_head(struct conn *c, const struct http1_head *head, bool body);
/* Is the authority of a request in the tunnel the one of CONNECT? */
bool proxy_agrees(const struct conn *c, struct bytes authority);
/* The answer when it is not; recorded. */
struct problem proxy_disagrees(struct conn *c, struct bytes method, struct bytes authority);
bool proxy_drops(struct bytes name); /* in lower case: a field that ends here */
/* leaf.c: keeper answered (leaf NULL: it did not in time). */
void proxy_on_leaf(struct front *f, struct leaf *leaf);
/* The handshake of a tunnel failed: says why, where it matters. */
void proxy_handshake_failed(struct conn *c);
/* 200 is written: TLS begins. `ahead`: what came behind CONNECT. */
void proxy_begin_tls(struct conn *c, struct bytes ahead);
void front_free(struct front *f);
bool conn_is_rebound(const struct conn *c, struct bytes host);

/* ---- leaf.c: certificates of hosts, from keeper ---- */

#define LEAVES_MAX 1024 /* that were given and are kept */
#define LEAVES_REFUSED_MAX 1024
#define LEAVES_ASKED_MAX 256
#define LEAF_MARGIN_NS (300 * NS_PER_S) /* a leaf that ends within this is asked for again */
#define LEAF_REFUSED_NS (5 * NS_PER_S)  /* a refusal is believed for so long */
#define LEAF_WAIT_NS (10 * NS_PER_S)    /* who waits for keeper is told so after this */
struct leaf {
    struct list place;   /* by age, of its state */
    struct leaf *next;   /* of its bucket */
    struct list waiting; /* struct front */
    unsigned users;
    enum { LEAF_ASKED, LEAF_KEPT, LEAF_DENIED } state;
    bool stored; /* in the table */
    uint64_t number, until_ns;
    X509 *certificate;
    EVP_PKEY *key;
    enum grant_reason reason;
    struct buf text, grant;
    size_t host_size;
    char name[]; /* "host:port" */
};
struct leaves;
int leaves_new(struct ingress *i, int fd, struct leaves **ret, struct error *e) MUST_CHECK;
void leaves_free(struct leaves *l);
/* Calls proxy_on_leaf(), now or later. */
void leaf_ask(struct leaves *l, struct front *f);
void leaf_release(struct leaf *leaf);
int leaves_keeper(struct leaves *l, int fd, struct error *e) MUST_CHECK; /* another keeper */
int leaves_dispatch(struct leaves *l, struct error *e) MUST_CHECK;
void leaves_flush(struct leaves *l); /* once a turn */
void leaves_tick(struct leaves *l);
void leaves_forget(struct leaves *l); /* the grants are others */

/* ---- the room ---- */

#define EXCHANGE_BUCKETS 1024
struct ingress {
    struct channel *control;
    struct frame_gate gate;
    struct ingress_start start;
    int epoll_fd, listener_fd, metrics_fd, log_fd;
    struct source control_source, link_source, listener_source, metrics_source;
    struct link *link; /* NULL: dead, control will send another */
    bool link_failed;  /* it is to be closed at the end of the turn */
    union ingress_slot *slots;
    struct tls_room *tls;
    struct leaves *leaves; /* of a proxy */
    int keeper_fd;         /* until it is in `leaves` */
    uint32_t denials_told; /* to control, since the last tick */
    struct buf cookie;     /* HTTP/2: the crumbs of one */
    uint64_t now_ns, next_tick_ns;
    bool listening, accept_more, metrics_more, draining;
    uint64_t drain_until_ns, cut;
    /* connections */
    struct list all, headless, dirty, graves;
    uint32_t connections;
    struct h1 *pool;
    uint32_t pool_count;
    /* exchanges */
    struct exchange *by_id[EXCHANGE_BUCKETS];
    struct list waiting, blocked;
    uint32_t waiting_count, running_count;
    uint32_t wide_count; /* connections whose answers may have EXCHANGE_WIDE under way */
    uint64_t last_id;
    struct buf
        backlog; /* small frames that the link had no room for: u32 size, u16 kind, payload */
    struct buf scratch; /* payloads being made */
    struct http_field fields[HTTP_FIELDS_MAX];
    /* the access log */
    struct buf log;
    size_t log_sent;
    char date[32];
    uint64_t date_second;
    uint8_t read_ahead[64u << 10]; /* h2, linger: bytes that are used or thrown away at once */
};
static inline void room_count(struct ingress *i, enum ingress_counter c, uint64_t n)
{
    ingress_count(&i->slots[i->start.index], c, n);
}
static inline bool is_proxy(const struct ingress *i)
{
    return i->start.flags & INGRESS_PROXY;
}
const char *ingress_date(struct ingress *i); /* of HTTP */
