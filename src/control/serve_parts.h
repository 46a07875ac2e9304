/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `ambit serve` (serve.c, serve_rooms.c, serve_tls.c) share. Nobody else
 * includes it. */
#pragma once

#include "control/egress.h"
#include "control/run_parts.h"
#include "control/serve.h"

struct serve;

struct serve_pair {
    struct serve *s;
    unsigned index;
    int core; /* where both rooms run; −1 = anywhere */
    struct front_room worker;
    struct front ingress;
    int link
        [LINK_FDS]; /* the worker's end of a link whose other end the ingress room has; −1 = none */
    size_t denial_of[RUN_DENIALS_MAX]; /* this worker's denials → the report's */
    size_t denial_count;
};
enum serve_phase { SERVE_STARTING, SERVE_RUNNING, SERVE_DRAINING, SERVE_STOPPING, SERVE_OVER };
struct serve {
    struct run run; /* run.room is not used */
    const struct serve_request *request;
    const struct serve_observer *observer;
    enum serve_phase phase;
    struct serve_pair *pairs;
    uint32_t pair_count;
    struct fronts fronts;    /* the pairs' ingress rooms */
    bool listened;           /* it came so far */
    char *certificate, *key; /* PEM texts, or NULL */
    uint64_t until_ns;       /* DRAINING, STOPPING: who is not done by then is killed */
};

/* serve_tls.c */
int serve_read_tls(struct serve *s, struct error *e) MUST_CHECK; /* certificate and key */

/* serve_rooms.c. < 0 is a fault that ends it all. */
int serve_start_pair(struct serve_pair *p, struct error *e) MUST_CHECK;
/* Frames, deaths, and starts that are due. */
int serve_pair_turn(struct serve_pair *p, bool worker_said, bool ingress_said,
                    struct error *e) MUST_CHECK;
int serve_relink_egress(void *context, uint32_t owner, const int fds[static LINK_FDS],
                        struct error *e) MUST_CHECK;
void serve_stop_worker(struct serve_pair *p);
void serve_pair_done(struct serve_pair *p);
void serve_notice(struct serve *s, const char *format, ...) PRINTF_LIKE(2, 3);
