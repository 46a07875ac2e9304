/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest: a task of the engine and everything the host knows about it: what it may do, what it
 * did, what it has open, what it waits for. It is the `host` context of every vtbl call. A worker
 * can hold many; they share nothing but the loop.
 *
 * Life: guest_new (before the jail closes) → guest_start (the task exists) → turns (guest_turn,
 * called by the loop) → finished, its figures stand in `done` → guest_free.
 *
 * A guest ends for one reason, the first one: guest_end() stores it, and from then on enter() and
 * slice() answer "end", streams answer END, and whatever it waits for is complete, so that it is
 * never more than one time slice from its end.
 *
 * Authority is checked at each call, against the compiled rules and then the gate: an expired or
 * revoked guest is denied what it was granted. A denial is the interface's own error, never a trap.
 */
#pragma once

#include "ambit_engine.h"
#include "grant/grant.h"
#include "worker/ask.h"
#include "worker/denials.h"
#include "worker/exchange.h"
#include "worker/handles.h"
#include "worker/host/random.h"
#include "worker/loop.h"
#include "worker/vfs/vfs.h"

/* Whom a guest's doings are told to: control, or a test. < 0 is a fault that ends the guest; log: 1
 * = the line was dropped. */
struct guest_report {
    void *context;
    int (*denial)(void *context, const struct run_denial *d);
    int (*log)(void *context, uint32_t level, struct ambit_bytes topic, struct ambit_bytes message);
    /* Blocks until a person answered: enum run_answer. NULL: nobody is there to be asked. */
    int (*ask)(void *context, const struct run_denial *d);
};

/* What all guests of a worker share, and no guest owns. NULL members: there is none. */
struct guest_commons {
    struct http_peer *egress;  /* NULL: no http grants, every request is denied */
    struct keyvalue *keyvalue; /* never NULL once guest_new() is done */
};

/* All borrowed for the guest's life, except descriptors, which are taken (also on failure). */
struct guest_config {
    const struct grant_rules *rules;
    const struct run_start *start;
    int stdio[3];
    int *mount_fds; /* one per mount, -1 for memory */
    struct guest_report report;
    struct guest_commons commons;
    bool serves; /* a template for guests that answer requests (worker/serve.h): never started */
};

enum { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAM_COUNT };
#define STREAM_HELD_MAX \
    4096 /* PIPE_BUF: what a permit to write promises at most where writing can block */

struct stream {
    struct guest *guest;
    struct watch watch; /* its descriptor; -1 = not there */
    uint32_t bit;       /* enum stdio_stream */
    struct grant_decision decision;
    bool own_description; /* opened again for us alone: non-blocking without touching the user's */
    bool is_socket, is_terminal;
    bool closed;   /* end of input, or nobody reads */
    uint8_t *held; /* bytes within a permit that the other side did not take yet */
    size_t held_size;
    char error[160];
};

/* Of a guest that answers a request: the line that is being written (host/lines.c). */
struct guest_lines {
    struct guest *guest;
    uint32_t which;
    struct buf line;
    const char *error; /* a literal */
};
/* Of a template: whole lines that wait to be written. */
struct guest_sink {
    struct buf held;
    uint64_t dropped;
    bool waits; /* for somebody who reads */
};

struct guest_clock {
    struct grant_decision decision;
    bool frozen;
    uint64_t start_ns; /* of the host's monotonic clock: the guest's zero */
    uint64_t frozen_monotonic_ns;
    int64_t frozen_wall_ns;
};

struct guest_random {
    struct grant_decision decision;
    bool real;
    struct chacha seeded;   /* the grant's stream */
    struct chacha unseeded; /* that of the empty seed, for one without a grant */
};

struct guest_log {
    uint64_t window_ns, window_lines, dropped;
};

/* wasi:http of one guest. Texts and lists that calls answer with stay until the next call. */
struct guest_http {
    struct url url;            /* the request that is being decided */
    struct ambit_pair *pairs;  /* HTTP_FIELDS_MAX */
    struct http_field *fields; /* HTTP_FIELDS_MAX */
    struct exchange *incoming; /* the request that it answers, as long as it is not over */
};

#define GUEST_NETWORK_CALLS 3 /* host calls that ask for a network: host/network.c */

struct guest {
    /* A guest that answers a request: what it shares with others. NULL: it has all of its own. */
    struct guest *template;
    struct guest *pool_next, *serve_next, *serve_previous;
    struct guest_lines lines[STREAM_COUNT];
    /* A template. */
    bool serves;
    int *folders; /* one per mount, -1 for memory */
    struct guest_sink sinks[STREAM_COUNT];
    struct guest *ended_guests; /* by pool_next: finished, and not settled yet */

    struct loop *loop;
    struct ambit_task *task;
    const struct grant_rules *rules;
    const struct run_start *start;
    struct guest_report report;
    struct grant_limits limits;
    enum grant_reason gate; /* GRANT_ALLOWED until its grants expire or are revoked */
    uint64_t expires_ns;    /* deadlines of the host's monotonic clock; UINT64_MAX = none */
    struct timer wall_timer, expiry_timer;

    struct vfs *vfs;
    struct handles handles;
    struct stream streams[STREAM_COUNT];
    struct guest_clock clock;
    struct guest_random random;
    struct guest_log log;
    ambit_call network_calls[GUEST_NETWORK_CALLS];
    struct ambit_pair *environment, *config;
    size_t environment_count, config_count;
    struct ambit_bytes *arguments;
    size_t argument_count;
    struct guest_commons commons;
    bool own_keyvalue;          /* made for it alone */
    struct exchange *exchanges; /* all of its own */
    struct guest_http http;
    const char *keyvalue_error; /* of the last call; a literal */
    struct buf scratch;         /* bytes given to the engine by pointer, until its next call */

    struct asking *asking; /* NULL: nobody is asked */
    struct denials *denials;
    struct run_use *uses; /* one per rule */
    struct run_done done; /* figures so far; complete when finished */
    uint64_t started_ns;  /* host's monotonic clock at the run's start */
    uint64_t turn_ns; /* at this turn's start: the thread's CPU clock, or with a template the host's
                         monotonic one */
    uint8_t identity_key[32]; /* of vfs_set_identity_key() */
    bool recheck;             /* its grants are gone: what it waits for has another answer now */
    bool in_turn, ended, concluded, draining, finished;
    unsigned turns_after_end;
    char *message; /* done.message */

    struct operation *operations;
    struct guest *queue_next;
    bool queued;
};

int guest_new(struct loop *l, const struct guest_config *config, struct guest **ret,
              struct error *e) MUST_CHECK;
/* Makes the task; wall clock and expiry (GRANT_UNSET = never) run from here. The component is
 * borrowed. */
int guest_start(struct guest *g, struct ambit_component *component, uint64_t expires_after_ns,
                struct error *e) MUST_CHECK;
/* Makes `g` (zeroes, or recycled) a guest that answers the request, and starts it. < 0: nothing was
 * started, and the exchange is the caller's. */
int guest_answer(struct guest *g, struct guest *template, struct ambit_component *component,
                 struct exchange *x, const struct http_request *r) MUST_CHECK;
void guest_recycle(struct guest *g); /* ends whatever it has; its memory is kept for the next */
/* What `done` of a template says of all its guests. */
void guest_report_totals(struct guest *template);
int guest_make_vfs(struct guest *g) MUST_CHECK; /* at its first use; a fault ends the guest */
void guest_free(struct guest *g);
static inline void guest_freep(struct guest **g)
{
    guest_free(*g);
}

/* From the loop: one turn of the task; a descriptor's event. */
void guest_turn(struct guest *g);
void guest_event(struct guest *g, struct watch *w, bool readable, bool writable);
/* The CPU time of the turn so far; `over`: it ends with this. */
uint64_t guest_turn_cpu_ns(struct guest *g, bool over);
/* From control: RUN_STOP. */
void guest_stop(struct guest *g, enum run_stop why);
/* Withdraws every grant: the next call of anything granted is denied with this reason. */
void guest_revoke(struct guest *g, enum grant_reason reason);

/* For host/: ends the guest, unless it is ended. */
void guest_end(struct guest *g, enum run_end end, enum run_limit limit, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* A fault of the host (`code` < 0); returns `code`. */
int guest_fault(struct guest *g, int code, const char *doing);
/* The rule's decision, or the gate's when the grants are gone. (This and guest_used are on the way of
 * every call: inline.) */
static inline struct grant_decision guest_gated(const struct guest *g, struct grant_decision d)
{
    if (d.reason == GRANT_ALLOWED && g->gate != GRANT_ALLOWED)
        d.reason = g->gate;
    return d;
}
/* Counts and tells a denial. */
void guest_denied(struct guest *g, enum grant_class c, const char *operation, const char *resource,
                  uint32_t verbs, struct grant_decision d);
/* The same for resources that are more than a text: `propose` makes the smallest grant (as
 * grant_propose_*(): -EINVAL where none helps), once, when the denial is a new one. */
typedef int (*guest_proposer)(const struct guest *g, const void *what, struct grant *ret);
void guest_denied_by(struct guest *g, enum grant_class c, const char *operation,
                     const char *resource, uint32_t verbs, struct grant_decision d,
                     guest_proposer propose, const void *what);
/* As guest_denied_by(), before it: asks a person when there is one. True: decide anew. */
bool guest_asked(struct guest *g, enum grant_class c, const char *operation, const char *resource,
                 uint32_t verbs, struct grant_decision d, guest_proposer make, const void *what);
/* The same for guest_denied(). */
bool guest_asked_named(struct guest *g, enum grant_class c, const char *operation,
                       const char *resource, uint32_t verbs, struct grant_decision d);
/* So much of the time that passed is not the guest's. */
void guest_waited(struct guest *g, uint64_t ns);
/* Counts a use of the rule that allowed something. */
static inline void guest_used(struct guest *g, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
                              uint64_t bytes_written)
{
    if (rule >= g->done.use_count)
        return;
    struct run_use *use = &g->uses[rule];
    use->count++;
    use->verbs |= verbs;
    use->bytes_read += bytes_read;
    use->bytes_written += bytes_written;
}
static inline void guest_used_bytes(struct guest *g, uint32_t rule, uint64_t bytes_read,
                                    uint64_t bytes_written)
{
    if (!g || rule >= g->done.use_count)
        return;
    g->uses[rule].bytes_read += bytes_read;
    g->uses[rule].bytes_written += bytes_written;
}
/* Does a negative control leave this defence open? guest_skips(g, CPU) asks for RUN_SKIP_CPU;
 * always false in a release build. */
#ifdef AMBIT_TEST_HOOKS
#define guest_skips(g, which) (((g)->start->test_skip & RUN_SKIP_##which) != 0)
#else
#define guest_skips(g, which) ((void)(g), false)
#endif
