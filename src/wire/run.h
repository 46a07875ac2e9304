/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control and worker say to each other about one run. Payloads are built with struct buf and
 * read with struct cursor, in the order given here. Control trusts nothing a worker says beyond
 * what it can check: texts are escaped when shown, counts are bounded, and what a worker reports is
 * labelled "observed by: worker" in the receipt.
 */
#pragma once

#include "wire/frame.h"

enum run_frame {
    /* control → worker */
    RUN_START = 1, /* once; fds: [0] machine code, [1..3] stdin, stdout, stderr of the guest, then
                      one per DIR mount, in mount order, then LINK_FDS for each bit of `links`, in
                      the order of the bits */
    RUN_STOP = 2,  /* u32 enum run_stop: end the guest at its next host call or slice */
    /* u32 enum run_link (one), fds: LINK_FDS. The room at the other end was started again: what was
     * under way on the old link has failed. */
    RUN_LINK = 3,
    RUN_ANSWER = 4, /* u32 enum run_answer: to the RUN_ASK that is open */
    /* worker → control */
    RUN_READY = 16, /* once: u32 missing jail layers; the jail is closed and the component linked */
    RUN_DENIAL = 17, /* a distinct denial, see run_denial_put */
    RUN_LOG = 18,    /* u32 level, bytes context, bytes message: one line of wasi:logging */
    RUN_DONE = 19,   /* once: see struct run_done */
    /* once, instead of READY or DONE: u32 enum run_fault, string text, string hint; then it exits */
    RUN_FAULT = 20,
    /* with `ask`: as RUN_DENIAL. The guest waits, and the worker takes RUN_ANSWER and RUN_STOP only.
     * What is then refused is told by RUN_DENIAL, too. */
    RUN_ASK = 21,
    /* compiler room: control → compiler COMPILE_START (fds: [0] input memfd, [1] output file),
     * compiler → control COMPILE_READY, COMPILE_DONE */
    /* u32 describe_only, u32 allow_missing; no output file with describe_only */
    COMPILE_START = 32,
    COMPILE_READY = 33, /* u32 missing jail layers */
    /* u32 enum ambit_compile_status, bytes description, bytes message, u64 code size */
    COMPILE_DONE = 34,
};
#define COMPILE_CPU_S 120 /* of the compiler room; the largest component that ships takes 19 */
enum run_link {
    RUN_LINK_EGRESS = 1, /* http grants: where requests of guests go */
    /* `ambit serve`: where requests to guests come from. No guest is made at the start; each
     * request gets a fresh one, with the grants and limits of the start */
    RUN_LINK_INGRESS = 2,
};
enum run_stop { RUN_STOP_INTERRUPT = 1, RUN_STOP_WALL = 2, RUN_STOP_REVOKED = 3 };
/* NEVER is remembered for the run, ONCE is for this call alone. */
enum run_answer { RUN_ANSWER_NEVER = 0, RUN_ANSWER_ONCE = 1, RUN_ANSWER_RUN = 2 };
enum run_fault {
    RUN_FAULT_INTERNAL = 1,
    RUN_FAULT_JAIL = 2,
    RUN_FAULT_IMPORTS = 3, /* text: missing imports, one per line */
    RUN_FAULT_STALE_CODE = 4
};

/* RUN_START payload. */
struct run_start {
    char *grants_json; /* grant_set_to_json(): all grants, limits and expiry of the run, absolute */
    char *work_host;   /* the host folder that /work means in proposals */
    char *cwd;         /* guest path */
    char **args;       /* argv[0] first */
    size_t arg_count;
    uint32_t program_args;  /* how many of them come before what was typed after FILE: argv[0], a
                              script (>= 1 when there are any) */
    char *invoke;           /* "" = wasi:cli/run */
    uint32_t terminal;      /* enum stdio_stream bits: terminals, as far as the guest may know */
    uint32_t allow_missing; /* enum jail_layer bits */
    uint32_t links;         /* enum run_link bits */
    uint32_t concurrency;   /* with RUN_LINK_INGRESS: instances alive at once, from 1 to
                               RUN_CONCURRENCY_MAX; else 0 */
    uint32_t ask;           /* 1: a person can be asked before something is denied (RUN_ASK) */
    uint32_t test_skip;     /* enum run_test_skip: what a test build's negative control leaves open,
                               else 0 */
};
#ifdef AMBIT_TEST_HOOKS
/* Single defences that a negative control can leave open. The low 16 bits are enum jail_layer. A
 * release build has no name for any of it, and its worker refuses to start when test_skip is not 0.
 */
enum run_test_skip {
    RUN_SKIP_JAIL_MASK = 0xffff,
    RUN_SKIP_MEMORY = 1 << 16,
    RUN_SKIP_CPU = 1 << 17,
    RUN_SKIP_WALL = 1 << 18,
    RUN_SKIP_HANDLES = 1 << 19,
    RUN_SKIP_OUTPUT = 1 << 20,
    RUN_SKIP_HOSTCALLS = 1 << 21,
    RUN_SKIP_HOSTCALL_BYTES = 1 << 22,
    RUN_SKIP_EXPIRY = 1 << 23,
    RUN_SKIP_STOP = 1 << 24,
    /* every verb and path inside a mount is allowed; the walk stays beneath it */
    RUN_SKIP_FS_DECISION = 1 << 25,
    RUN_SKIP_STDIO_DECISION = 1 << 26,
    RUN_SKIP_LOG_BOUNDS = 1 << 27,
    RUN_PROBE = 1 << 30, /* play escaped native code (room/probe.h) with the guest's arguments */
    RUN_SKIP_FS_WALK = 1 << 28, /* folders of the host are walked with no openat2 restriction */
    RUN_SKIP_FS_KIND = 1 << 29, /* devices, FIFOs, sockets, setuid files are opened like others */
};
#endif
int run_start_put(struct buf *out, const struct run_start *s) MUST_CHECK;
/* Owned by the caller: run_start_done(). */
int run_start_get(struct cursor *c, struct run_start *ret, struct error *e) MUST_CHECK;
void run_start_done(struct run_start *s);

/* A distinct denial; repeats only count (in RUN_DONE). */
struct run_denial {
    uint32_t class;   /* enum grant_class */
    uint32_t reason;  /* enum grant_reason */
    uint32_t rule;    /* nearest rule or GRANT_NO_RULE */
    uint32_t verbs;   /* fs: missing verbs */
    char *operation;  /* "open", "stat", "write stdout", … */
    char *resource;   /* guest path, key, stream … */
    char *grant_yaml; /* the smallest grant */
};
int run_denial_put(struct buf *out, const struct run_denial *d) MUST_CHECK;
int run_denial_get(struct cursor *c, struct run_denial *ret, struct error *e) MUST_CHECK;
void run_denial_done(struct run_denial *d);

enum run_end { RUN_END_EXIT, RUN_END_TRAP, RUN_END_LIMIT, RUN_END_STOPPED, RUN_END_FAULT };
enum run_limit {
    RUN_LIMIT_NONE,
    RUN_LIMIT_MEMORY,
    RUN_LIMIT_CPU,
    RUN_LIMIT_WALL,
    RUN_LIMIT_HANDLES,
    RUN_LIMIT_OUTPUT,
    RUN_LIMIT_HOSTCALLS,
    RUN_LIMIT_INSTANCES,
    RUN_LIMIT_HOSTCALL_BYTES,
    RUN_LIMIT_COUNT
};
const char *run_limit_name(enum run_limit l);

struct run_use {
    uint64_t count, bytes_read, bytes_written;
    uint32_t verbs;
};
struct run_done {
    uint32_t end, limit;
    int32_t status;
    char *message, *values;
    uint64_t cpu_ns, wall_ns, memory_peak_bytes, output_bytes, hostcalls, slices, handles_peak;
    uint64_t denials, denials_dropped; /* all of them; those beyond the cap of distinct ones */
    struct run_use *uses;              /* one per rule */
    size_t use_count;
    uint64_t *denial_counts; /* one per distinct denial, in the order sent */
    size_t denial_count;
};
#define RUN_DENIALS_MAX 256 /* distinct ones; run_done_get() refuses more counts */
#define RUN_USES_MAX 4096
#define RUN_ARGS_MAX 65536
#define RUN_CONCURRENCY_MAX 4096
int run_done_put(struct buf *out, const struct run_done *d) MUST_CHECK;
int run_done_get(struct cursor *c, struct run_done *ret, struct error *e) MUST_CHECK;
void run_done_done(struct run_done *d);
