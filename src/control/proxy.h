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
 * A reload (SIGHUP, proxy_reload()) reads the grant files again: a file that is not valid changes nothing and
 * says so; what a valid one no longer grants ends at once, open connections included.
 */
#pragma once

#include "control/run.h"

struct proxy_request {
    struct run_request
        run; /* grants, ca_file, resolver, receipt, allow_missing …; no file, no guest */
    const char *listen; /* "127.0.0.1:3128" */
    const char *vault_key;
    const char *env_file,
        *ca_out; /* where the client's settings and the CA's certificate go; NULL: in the state folder */
    const char *access_log;
    uint32_t fronts;      /* ingress rooms; 0 = 1 */
    uint32_t connections; /* at once, of one front */
    uint64_t client_timeout_ns, idle_timeout_ns, drain_ns;
    /* Reads the grants again: a whole new set (owned by the callee), or an error. */
    int (*reload)(void *context, struct grant_set **ret, struct error *e);
};
struct proxy_observer {
    void *context;
    /* It accepts clients. `env_file` and `ca_file`: where they were written. */
    void (*listening)(void *context, const char *url, const char *env_file, const char *ca_file);
    void (*notice)(void *context, const char *text);
    void (*denied)(void *context, const char *method, const char *url, const char *why,
                   const char *grant);
};
/* Serves until SIGTERM or SIGINT. The report has its end as a run's has. */
int proxy_serve(const struct proxy_request *request, const struct proxy_observer *observer,
                struct run_report *report);
