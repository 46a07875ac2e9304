/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control and an ingress room say to each other, and the page of counters that all ingress
 * rooms of one `ambit serve` or `ambit proxy` share. Payloads are built with struct buf and read with struct cursor,
 * in the order given here. Requests themselves go over a link (room/link.h, wire/http.h), never
 * through control.
 */
#pragma once

#include <stdatomic.h>

#include "wire/frame.h"

enum ingress_frame {
    /* control → ingress */
    /* once, ingress_start_put(); fds: the listener, the page of counters, LINK_FDS, then the
     * listener of /metrics and the pipe of the access log where `flags` says so */
    INGRESS_START = 96,
    /* fds: LINK_FDS. The worker, or egress, was started again: what was under way on the old link has
     * failed. */
    INGRESS_LINK = 97,
    /* u64 nanoseconds: take no more connections, finish what runs within this time, say DONE. A
     * second one with 0 cuts what is left. */
    INGRESS_DRAIN = 98,
    /* fd: the channel to keeper (wire/keeper.h), in place of the one before; of a proxy only */
    INGRESS_KEEPER = 99,
    /* no payload; of a proxy: the grants are others now. Leaves that it keeps are thrown away, and asked
     * for again by the next CONNECT; tunnels that are open stay, each of their requests is decided by egress */
    INGRESS_REGRANTED = 100,
    /* ingress → control */
    INGRESS_READY = 112, /* once: u32 missing jail layers; the jail is closed, it accepts */
    INGRESS_DONE = 113,  /* once, after DRAIN: u64 requests that were cut; then it exits */
    INGRESS_FAULT = 114, /* once, instead of READY: string text, string hint; then it exits */
    /* string why: the worker, or egress, broke the protocol; the link is closed, another is awaited */
    INGRESS_BROKEN = 115,
    /* egress_denied_put() (wire/egress.h), of a proxy: what it refused itself, because keeper gave no leaf or the
     * hosts disagree. `owner` is 0, `rule` GRANT_NO_RULE; the method CONNECT's URL is https://host:port/ */
    INGRESS_DENIED = 116,
};

enum ingress_flag {
    INGRESS_METRICS = 1,
    INGRESS_LOG = 2,
    INGRESS_TLS = 4,
    /* It is the front of `ambit proxy`: requests are absolute or come through CONNECT, with TLS of a
     * leaf that keeper gives; the link leads to egress. Another fd then, the last: the channel to keeper. */
    INGRESS_PROXY = 8,
};
#ifdef AMBIT_TEST_HOOKS
/* As enum run_test_skip: what a negative control leaves open. The low 16 bits are enum jail_layer. */
enum ingress_test_skip {
    INGRESS_SKIP_JAIL_MASK = 0xffff,
    INGRESS_SKIP_TIMEOUTS = 1 << 16, /* slow clients are waited for, for ever */
    INGRESS_SKIP_EVICTION = 1 << 17, /* a full room keeps whom it has */
    INGRESS_SKIP_H2_FLOODS = 1 << 18,
    INGRESS_SKIP_TOKEN = 1 << 19,     /* of a proxy: whoever asks is let in */
    INGRESS_SKIP_NAME = 1 << 20,      /* SNI is not looked at, nor the first byte of a tunnel */
    INGRESS_SKIP_AUTHORITY = 1 << 21, /* a request in a tunnel may name any host */
    INGRESS_SKIP_MEMORY = 1 << 22,    /* no bound on what the room makes */
    INGRESS_PROBE = 1 << 23,          /* it plays escaped native code when its jail is closed */
};
#endif

#define INGRESS_PAIRS_MAX 64
#define INGRESS_CONNECTIONS_MAX 200000u
#define INGRESS_QUEUE_MAX 65536u
#define INGRESS_TOKEN_MIN 16 /* visible ASCII, no space */
#define INGRESS_TOKEN_MAX 256
#define INGRESS_TLS_MAX (256u << 10) /* bytes of a certificate chain, and of a key */

struct ingress_start {
    uint32_t flags;             /* enum ingress_flag */
    uint32_t index;             /* which slot of the page is its own, below INGRESS_PAIRS_MAX */
    uint32_t pairs;             /* how many slots there are */
    uint32_t connections;       /* at once, 1 … INGRESS_CONNECTIONS_MAX */
    uint32_t concurrency;       /* requests that the worker takes at once, from 1 */
    uint32_t queue;             /* requests that wait for it, at most; 0 = none */
    uint64_t client_timeout_ns; /* for a head; without progress in a body or an answer */
    uint64_t idle_timeout_ns;   /* between two requests of a connection */
    uint32_t rate_min;          /* bytes a second of a body that is read or written; 0 = any */
    uint32_t allow_missing;     /* enum jail_layer bits */
    uint32_t test_skip;
    char *authority;         /* for requests of HTTP/1.0 that name no host */
    char *certificate, *key; /* PEM texts; "" without TLS */
    char *token; /* of a proxy: the password of Proxy-Authorization (Basic, any user; or Bearer) */
};
int ingress_start_put(struct buf *out, const struct ingress_start *s) MUST_CHECK;
/* -EBADMSG: malformed or out of bounds. Owned by the caller: ingress_start_done(), which wipes the
 * key. */
int ingress_start_get(struct cursor *c, struct ingress_start *ret, struct error *e) MUST_CHECK;
void ingress_start_done(struct ingress_start *s);

/* ---- counters ---- */

/* X(name, Prometheus type, help). Each slot is written by the ingress room of that index, and by
 * control: the restarts, and what was cut at the end. */
#define INGRESS_COUNTERS(X)                                                                    \
    X(connections_total, "counter", "Connections that were accepted.")                         \
    X(connections, "gauge", "Connections that are open.")                                      \
    X(connections_refused_total, "counter",                                                    \
      "Connections that were closed because all were taken.")                                  \
    X(connections_timed_out_total, "counter",                                                  \
      "Connections that were closed because a client was "                                     \
      "slow.")                                                                                 \
    X(requests_total, "counter", "Requests whose head was read.")                              \
    X(requests_running, "gauge", "Requests that are under way.")                               \
    X(requests_waiting, "gauge", "Requests that wait for a place.")                            \
    X(requests_malformed_total, "counter", "Requests that were not read as HTTP.")             \
    X(requests_refused_total, "counter",                                                       \
      "Requests that were answered 503 because all were taken.")                               \
    X(requests_cut_total, "counter", "Requests whose answer was cut short.")                   \
    X(responses_1xx_2xx_total, "counter", "Answers with a status below 300.")                  \
    X(responses_3xx_total, "counter", "Answers with a status from 300 to 399.")                \
    X(responses_4xx_total, "counter", "Answers with a status from 400 to 499.")                \
    X(responses_5xx_total, "counter", "Answers with a status from 500.")                       \
    X(received_bytes_total, "counter", "Bytes read from clients, without TLS.")                \
    X(sent_bytes_total, "counter", "Bytes written to clients, without TLS.")                   \
    X(request_nanoseconds_total, "counter",                                                    \
      "Time from a request's head to the end of its answer.")                                  \
    X(log_lines_dropped_total, "counter", "Lines of the access log that nobody took in time.") \
    X(ingress_restarts_total, "counter", "Ingress rooms that were started again.")             \
    X(worker_restarts_total, "counter", "Workers that were started again.") /* the last one */

#define INGRESS_COUNTER_ENUM(name, type, help) INGRESS_COUNT_##name,
enum ingress_counter { INGRESS_COUNTERS(INGRESS_COUNTER_ENUM) INGRESS_COUNTER_COUNT };
#define INGRESS_SLOT_SIZE 512 /* of its own cache lines */
union ingress_slot {
    _Atomic uint64_t values[INGRESS_COUNTER_COUNT];
    uint8_t size[INGRESS_SLOT_SIZE];
};
_Static_assert(sizeof(union ingress_slot) == INGRESS_SLOT_SIZE, "a slot is a slot");
#define INGRESS_PAGE_SIZE (INGRESS_PAIRS_MAX * INGRESS_SLOT_SIZE)
/* Relaxed: a reader wants each counter, not a moment. */
static inline void ingress_count(union ingress_slot *s, enum ingress_counter c, uint64_t n)
{
    atomic_fetch_add_explicit(&s->values[c], n, memory_order_relaxed);
}
uint64_t ingress_counted(union ingress_slot *slots, size_t count, enum ingress_counter c);
/* Text of Prometheus, version 0.0.4: the sums of all slots, named ambit_serve_NAME, or ambit_proxy_NAME, which
 * has no workers. */
void ingress_counters_print(union ingress_slot *slots, size_t count, bool proxy, struct buf *out);
