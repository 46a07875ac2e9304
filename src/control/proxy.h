/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit proxy`: egress with a listener in front, for native clients that one already has.
 *
 *     client ── ingress (CONNECT, TLS with a leaf, HTTP/1.1 and 2) ══ link ══ egress ── origin
 *                  │ LEAF_ASK                                            │ SECRET_ASK
 *                  └──────────────────── keeper ────────────────────────┘
 *
 * One egress, one keeper, `fronts` ingress rooms that share the listener's port. Each room is started again when
 * it dies; the listener, the counters, the receipt and the CA outlive them.
 *
 * A reload (SIGHUP) reads the grants again: what is not valid changes nothing and says so; what a valid set no longer
 * has ends at once, open exchanges included; grants that are there unchanged keep their counters. Keeper has all new
 * secrets before the first new grant is in force.
 */
#pragma once

#include "control/front.h"
#include "control/run.h"

#define PROXY_CONNECTIONS_DEFAULT 10000
/* Requests that all fronts give egress at once: fewer than it takes (1,024), because those that ended a moment ago
 * still count there while a turn's worth of new ones (128) comes. */
#define PROXY_CONCURRENCY 896
#define PROXY_QUEUE 4096 /* that wait for it */
#define PROXY_CLIENT_TIMEOUT_DEFAULT (60 * NS_PER_S)
#define PROXY_IDLE_DEFAULT (10 * 60 * NS_PER_S) /* an agent thinks between two requests */
#define PROXY_DRAIN_DEFAULT (10 * NS_PER_S)
#define PROXY_FRONTS_MAX 16

struct proxy_request {
    struct run_request
        run; /* grants, ca_file, resolver, receipt, vault_key, allow_missing …; `file` names it in the receipt */
    struct front_request front;
    const char *env_file,
        *ca_out; /* where the client's settings and the CA's certificate go; NULL: in the state folder */
    uint32_t fronts; /* ingress rooms; 0 = 1 */
    /* Reads the grants again: a whole new set (owned by the callee), or an error. */
    int (*reload)(void *context, struct grant_set **ret, struct error *e);
};
/* What a reload came to. */
struct proxy_reloaded {
    size_t kept, added, revoked;
};
struct proxy_observer {
    void *context;
    /* It accepts clients. `env_file` and `ca_file`: where they were written. `metrics`: "" when there is none. */
    void (*listening)(void *context, const char *url, const char *env_file, const char *ca_file,
                      const char *metrics);
    void (*notice)(void *context, const char *text);
    void (*denied)(void *context, const char *method, const char *url, const char *why,
                   const char *grant);
    void (*reloaded)(void *context, const struct proxy_reloaded *what);
    /* Nothing was changed. */
    void (*not_reloaded)(void *context, const struct error *why);
};
struct proxy_totals {
    struct front_totals front;
    uint64_t egress_restarts, keeper_restarts, reloads, denials;
};
/* Serves until SIGTERM or SIGINT (a second one ends it at once). Always fills `ret`. */
void proxy_serve(const struct proxy_request *request, const struct proxy_observer *observer,
                 struct run_report *ret, struct proxy_totals *ret_totals);
