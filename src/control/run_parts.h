/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a run (run.c, run_loop.c, run_record.c, run_grants.c) share. Nobody else
 * includes it. */
#pragma once

#include "control/cache.h"
#include "control/egress.h"
#include "control/keeper.h"
#include "control/mounts.h"
#include "control/receipt.h"
#include "control/run.h"
#include "control/stdio.h"
#include "control/target.h"
#include "room/spawn.h"

enum run_phase { PHASE_STARTING, PHASE_RUNNING, PHASE_OVER };
#define RUN_LOG_EVENTS_MAX 1024 /* log lines that are kept in a receipt */

/* Whoever holds the workers of a run hears of new links for them, and says which addresses are its
 * own. */
struct run_egress_links {
    void *context;
    int (*relinked)(void *context, uint32_t owner, const int fds[static LINK_FDS], struct error *e);
    const struct egress_listener *listeners; /* borrowed for the start */
    size_t listener_count;
    /* Of a proxy; zero elsewhere. */
    bool proxy; /* started without a grant of http too; links explain; grants may be added */
    const char *placeholders; /* borrowed for the start */
    int (*denied)(void *context, const struct egress_denied *d, struct error *e);
};
/* What keeper is wanted for beside the secrets of the grants: of a proxy; zero elsewhere. */
struct run_keeper_links {
    void *context;
    bool certificates;
    uint32_t more;                               /* grants that may be added */
    int (*back)(void *context, struct error *e); /* it was started again; egress has its channel */
};

enum run_secret_event {
    RUN_SECRET_USED,
    RUN_SECRET_DENIED,
    RUN_SECRET_SUSPENDED,
    RUN_SECRET_EVENT_COUNT
};

struct run {
    const struct run_request *request;
    const struct run_observer *observer;
    struct run_report *report;
    char *work_host;
    struct room room;
    bool room_live;
    struct target target;
    struct grant_rules *rules;
    int *mount_fds; /* one per mount */
    size_t mount_count;
    int state_fd, runs_fd;
    struct receipt *receipt;
    struct cache *cache;
    struct cache_entry entry;
    struct stdio stdio;
    struct frame_gate gate;
    struct error error; /* of the loop: text for the report */
    uint32_t fault;     /* enum run_fault that the worker told, or 0 */
    struct error fault_text;
    int64_t started_real_ns; /* of the coarse clock, as the kernel stamps files */
    uint64_t started_ns, ready_ns;
    int signal_fd;
    int signal; /* the last one that asked us to end, or 0 */
    unsigned signals;
    bool killed_for_wall;
    unsigned questions; /* that the worker asked */
    unsigned added; /* grants that answers added: the next rule is that of the request + so many */
    struct egress *egress;  /* NULL: no grant of http, and nobody who can give one */
    uint64_t http_recorded; /* requests in the receipt */
    uint64_t http_unlisted; /* those that came when it had enough of them */
    uint64_t http_last;     /* the number of the last one, in this life of egress; 0 = none */
    struct run_egress_links egress_links;
    struct vault_files *vault; /* NULL: no grant names a secret */
    struct keeper *keeper;     /* NULL: nor are certificates wanted */
    struct run_keeper_links keeper_links;
    uint64_t secrets_recorded[RUN_SECRET_EVENT_COUNT];
};

/* Sets the report's end, unless it has one; `e` may be NULL. */
void run_end(struct run *r, enum run_outcome outcome, int exit_code, const struct error *e);

/* run.c: what `ambit serve` does in the same way (serve.c). Each step: 0, or the run has its end and
 * the answer is 1. */
void run_parts_init(struct run *r, const struct run_request *request,
                    const struct run_observer *observer, struct run_report *report);
void run_parts_done(struct run *r);
int run_step_place(struct run *r) MUST_CHECK;
int run_step_target(struct run *r) MUST_CHECK;
int run_step_grants(struct run *r) MUST_CHECK;
int run_step_receipt(struct run *r) MUST_CHECK;
int run_step_code(struct run *r) MUST_CHECK;
int run_step_keeper(struct run *r,
                    const struct run_keeper_links *links) MUST_CHECK; /* run_keeper_start() */
int run_step_stdio(struct run *r, struct error *e) MUST_CHECK;        /* of the guest, as granted */
int run_forget_code(struct run *r) MUST_CHECK; /* it was made for another CPU or version */
int run_catch_signals(struct run *r) MUST_CHECK;
void run_close_receipt(struct run *r);
/* Names the times of the start, then sends RUN_START to a worker, with the descriptors of its links
 * (LINK_FDS for each bit of `links`). */
struct run_start_links {
    uint32_t links, concurrency;
    const int *fds;
    size_t count;
};
int run_start_send(struct run *r, struct channel *to, const struct run_start_links *links,
                   struct error *e) MUST_CHECK;

/* run_grants.c */
int run_imply_grants(struct run *r, struct error *e) MUST_CHECK;
/* run_record.c: < 0 is a fault that ends the run. */
int run_record_start(struct run *r, struct error *e) MUST_CHECK;
int run_record_cache(struct run *r, uint64_t elapsed_ns, struct error *e) MUST_CHECK;
int run_record_jail(struct run *r, struct error *e) MUST_CHECK;
int run_record_denial(struct run *r, size_t number, const struct run_denial *d,
                      struct error *e) MUST_CHECK;
/* `rule` is the one that the answer added, or GRANT_NO_RULE. */
/* A grant as the receipt has it: `item` is it in grant_set_to_json(). A new reference. */
json_t *run_record_rule(json_t *item, const struct grant *g, size_t rule) MUST_CHECK;
/* Of a denial that `observed_by` told. */
int run_record_denial_of(struct run *r, const char *observed_by, size_t number,
                         const struct run_denial *d, struct error *e) MUST_CHECK;
int run_record_answer(struct run *r, const struct run_denial *d, enum run_answer answer,
                      uint32_t rule, struct error *e) MUST_CHECK;
int run_record_log(struct run *r, enum log_level level, const char *topic, const char *message,
                   struct error *e) MUST_CHECK;
int run_record_end(struct run *r, struct error *e) MUST_CHECK;
/* run_egress.c */
/* Starts it when there is a grant of http, or with --ask; else r->egress stays NULL. The receipt is open. */
int run_egress_start(struct run *r, const struct run_egress_links *links,
                     struct error *e) MUST_CHECK;
/* After the worker: the last records, and the uses of http rules into the report. */
int run_egress_end(struct run *r, struct error *e) MUST_CHECK;
int run_egress_record(struct run *r, struct error *e) MUST_CHECK; /* "use" of each http rule */
/* run_keeper.c: all of them do nothing where no keeper is wanted. */
/* Starts it and waits until it is ready, before egress. The receipt is open. */
int run_keeper_start(struct run *r, const struct run_keeper_links *links,
                     struct error *e) MUST_CHECK;
int run_keeper_fd(const struct run *r); /* for POLLIN; -1 */
int run_keeper_timeout_ms(
    const struct run *r); /* until run_keeper_turn() is wanted; -1 = for ever */
int run_keeper_turn(struct run *r, struct error *e) MUST_CHECK;
/* A channel for egress in this life of it (struct egress_observer). */
int run_keeper_for_egress(void *context, uint32_t life, int *ret_fd, struct error *e) MUST_CHECK;
/* The intent is recorded; its exchange is over. */
int run_keeper_admit(struct run *r, const struct egress_request *q, struct error *e) MUST_CHECK;
void run_keeper_ended(struct run *r, const struct egress_response *a);
int run_keeper_expires(struct run *r, uint64_t expires_ns, struct error *e) MUST_CHECK;
/* Takes what it still tells; egress has ended. */
int run_keeper_end(struct run *r, struct error *e) MUST_CHECK;
void run_keeper_done(struct run *r);
/* run_denied.c: what egress or a front refused a native client, in the report and the receipt. Settles the grant it
 * brought. `ret_number`: which distinct denial it is, RUN_DENIALS_MAX when there were too many to keep. */
int run_keep_denied(struct run *r, const char *observed_by, const struct egress_denied *d,
                    size_t *ret_number, struct error *e) MUST_CHECK;
/* run_ask.c: the handler of RUN_ASK */
int run_on_ask(void *context, struct cursor *c, const int *fds, size_t fd_count,
               struct error *e) MUST_CHECK;
/* run_loop.c */
/* Takes one signal from signal_fd: asks the guest to end, or ends it. */
int run_signal(struct run *r, struct error *e) MUST_CHECK;
int run_loop_start(struct run *r, struct error *e) MUST_CHECK; /* sends RUN_START */
int run_loop(struct run *r,
             struct error *e) MUST_CHECK; /* until the worker is gone; the report has its end */
