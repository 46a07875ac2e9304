/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `ambit serve` and `ambit proxy` do alike: the lives of rooms that are started again and again; the ingress rooms
 * that speak with clients, with their listeners, counters and access log, which outlive them.
 */
#pragma once

#include <poll.h>

#include "base/json.h"
#include "control/restart.h"
#include "room/link.h"
#include "wire/egress.h"
#include "wire/serve.h"

/* What both are asked for. */
struct front_request {
    const char *listen;     /* "ADDR:PORT"; port 0: one that is free */
    const char *metrics;    /* the same, or NULL: none */
    const char *access_log; /* a file, "-" = standard output, or NULL: none */
    uint32_t connections;   /* at once, of each ingress room */
    uint64_t client_timeout_ns, idle_timeout_ns, drain_ns;
    uint32_t ingress_skip; /* enum ingress_test_skip; 0 but in test builds */
};

/* ---- lives ---- */

/* One room over all its lives. */
struct front_room {
    struct room room;
    struct frame_gate gate;
    bool live, ready, done, over; /* done: it said its last word; over: it shall not come back */
    struct restart restart;
};
/* It was spawned. */
void front_room_began(struct front_room *r, const struct frame_rule *rules, size_t rule_count);
/* It closed its channel: reaps it, says why in words. True: it comes back (restart.h); not when this was `expected`, or
 * it was done, or over. */
bool front_room_bury(struct front_room *r, bool expected, struct buf *why);
/* At the start nothing is tried again: what was wrong then stays wrong. 0 when a fault was told already. */
int front_room_died_at_start(struct front_room *r, const char *name, bool told,
                             struct error *e) MUST_CHECK;

/* Takes what it said: 0; 1: it is gone. A frame that breaks a rule is the end of the room (it is killed, `ret_broke` says
 * why), and at the start of everything: < 0, as what control itself cannot do (a receipt that is full). */
int front_room_hear(struct front_room *r, void *context, bool at_start, struct error *ret_broke,
                    struct error *e) MUST_CHECK;

/* ---- the access log ---- */

/* Where lines go. */
struct access_log {
    int fd;        /* -1: none */
    bool filtered; /* it is a terminal: a room that was taken over writes what it likes */
};
/* What those of one room come through. */
struct access_pipe {
    int fd;
    struct buf held;
};
/* ---- ingress rooms ---- */

struct fronts;
/* One ingress room over all its lives, and what outlives it. */
struct front {
    struct fronts *all;
    void *owner; /* for the caller's own frames */
    unsigned index;
    bool draining;
    struct front_room room;
    int listener_fd;
    struct access_pipe log;
};
/* All of one command. `each` points at them. */
struct fronts {
    const struct front_request *request;
    uint32_t allow_missing, *missing; /* layers of their jails: that may be; that are (added) */
    struct front **each;
    uint32_t count;
    int page_fd, metrics_fd;
    union ingress_slot *page;
    struct access_log access;
    char *authority, *metrics_authority; /* "127.0.0.1:8080", with the real port; or NULL */
};
#define FRONTS_INIT(the_request, run_request, report)                               \
    {                                                                               \
        .request = (the_request), .allow_missing = (run_request)->allow_missing,    \
        .missing = &(report)->missing, .page_fd = -1, .metrics_fd = -1, .access = { \
            -1                                                                      \
        }                                                                           \
    }
int fronts_new(struct fronts *all, uint32_t count, struct error *e) MUST_CHECK; /* none is in yet */
void front_init(struct fronts *all, unsigned index, struct front *f, void *owner);
/* Listeners and the log: what may be wrong with what was asked for. */
int fronts_listen(struct fronts *all, struct error *e) MUST_CHECK;
int fronts_make_page(struct fronts *all, struct error *e) MUST_CHECK; /* of the counters */
/* Ambit's own listeners, told to egress: who may dial this machine dials none of them. How many. */
#define FRONT_LISTENERS_MAX 2
size_t fronts_listeners(const struct fronts *all,
                        struct egress_listener ret[static FRONT_LISTENERS_MAX]);
void fronts_metrics_url(const struct fronts *all,
                        struct buf *out); /* nothing where there is none */
bool fronts_ready(const struct fronts *all);
bool fronts_drained(const struct fronts *all);
/* No new clients, those that are there have the time that was asked for. */
void fronts_drain(struct fronts *all);
/* At once; then takes what they left in their pipes: as front_take_log(). */
int fronts_end(struct fronts *all) MUST_CHECK;
void fronts_done(struct fronts *all);

/* Spawned; then front_send_start(). */
int front_spawn(struct front *f, const struct frame_rule *rules, size_t rule_count,
                struct error *e) MUST_CHECK;
/* `own`: what is of the command alone; the rest is of `all`. `keeper_fd`: with INGRESS_PROXY. */
int front_send_start(struct front *f, const struct ingress_start *own,
                     const int link[static LINK_FDS], int keeper_fd, struct error *e) MUST_CHECK;
int front_send_link(struct front *f, const int link[static LINK_FDS], struct error *e) MUST_CHECK;
/* Its channel and its pipe, for poll(). */
void front_watch(const struct front *f, struct pollfd ret[static 2]);
/* -EIO: the log cannot be written, and ends here. */
int front_take_log(struct front *f) MUST_CHECK;

/* Frames that every ingress room may send; their context is the struct front. */
int front_on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e) MUST_CHECK;
int front_on_done(void *context, struct cursor *c, const int *fds, size_t fd_count,
                  struct error *e) MUST_CHECK;
int front_on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e) MUST_CHECK;
#define FRONT_NEW (1u << 0)
#define FRONT_READY (1u << 1)
#define FRONT_RULES                                                                      \
    { INGRESS_READY, "front-ready", FRONT_NEW, true, 0, 64, front_on_ready },            \
        { INGRESS_FAULT, "front-fault", FRONT_NEW, true, 0, 16u << 10, front_on_fault }, \
    {                                                                                    \
        INGRESS_DONE, "front-done", FRONT_READY, true, 0, 8, front_on_done               \
    }

/* ---- totals ---- */

struct front_totals {
    uint64_t connections, requests, refused, malformed, cut, restarts;
};
uint64_t fronts_counted(const struct fronts *all, enum ingress_counter c);
struct front_totals fronts_totals(const struct fronts *all);
/* Into an event of the receipt, without the restarts. */
void front_totals_put(json_t *event, const struct front_totals *t);
