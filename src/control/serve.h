/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit serve`, from the side of control: listeners, pairs of rooms, and who starts whom again.
 *
 *   prepare          as a run does: target, grants, receipt, machine code (run_parts.h)
 *   listeners        one for each pair (SO_REUSEPORT), made here and kept open here: a client is
 *                    queued by the kernel whatever room is dead
 *   rooms            for each pair a worker and an ingress room, joined by a link; one egress room
 *                    for all workers when http is granted
 *   loop             frames, carried streams, access logs, signals, deaths
 *   drain            SIGINT, SIGTERM, SIGHUP: no new connections, what runs ends within drain_ns;
 *                    a second signal ends it at once
 *   receipt closed   totals of all workers, distinct denials, restarts
 *
 * No request passes through control. A room that dies is started again after a pause that doubles
 * (restart.h); its peer gets a new link, and what was under way between the two has failed. Only at
 * the start is a fault of a room the end of it all.
 * A worker that broke the protocol, as its ingress room says, is killed and started again.
 */
#pragma once

#include "control/front.h"
#include "control/run.h"

#define SERVE_CONCURRENCY_DEFAULT 128
#define SERVE_QUEUE_DEFAULT 1024
#define SERVE_CONNECTIONS_DEFAULT 10000
#define SERVE_CLIENT_TIMEOUT_DEFAULT (10 * NS_PER_S)
#define SERVE_IDLE_DEFAULT (60 * NS_PER_S)
#define SERVE_DRAIN_DEFAULT (10 * NS_PER_S)
#define SERVE_RATE_MIN 100 /* bytes a second of a body, over ten seconds */

struct serve_request {
    struct run_request run; /* args, invoke: none */
    struct front_request front;
    const char *tls_certificate, *tls_key; /* PEM files, or NULL */
    uint32_t pairs;                        /* 0 = one for each core */
    uint32_t concurrency, queue;           /* of each pair */
};
struct serve_observer {
    struct run_observer run;
    /* It listens: with real ports. `metrics` is "" when there is none. */
    void (*listening)(void *context, const char *url, const char *metrics, uint32_t pairs);
    /* A room died, or something else that whoever runs a server wants to know. */
    void (*notice)(void *context, const char *text);
};
struct serve_totals {
    struct front_totals front;
    uint64_t worker_restarts, egress_restarts;
};

/* Serves until a signal ends it. As run_execute(): always fills `ret`. */
void serve_execute(const struct serve_request *request, const struct serve_observer *observer,
                   struct run_report *ret, struct serve_totals *ret_totals);
