/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run, from the side of control: what `ambit run` does once its flags are read.
 *
 *   spawn the worker          in parallel with all that follows; it makes its engine meanwhile
 *   what is FILE?             target.c
 *   grants → rules → mounts   implied ones added; folders opened; what no grant may name refused
 *   receipt opened            run.started, program, grants, mounts: before the guest exists (P4)
 *   machine code              from the cache, or the compiler room
 *   RUN_START … RUN_READY     phase STARTING
 *   loop                      phase RUNNING: denials, log lines, carried streams, signals, the wall
 *                             backstop
 *   end                       what the worker reported, or how it died, as one enum run_outcome
 *   receipt closed            uses, outputs, run.finished
 *
 * The worker is not believed: its frames are bounded and typed by the gate, its texts are escaped
 * where they are shown, and its figures are labelled as its own. A worker that outlives its wall
 * limit by a second is killed.
 *
 * SIGINT asks the guest to end, a second one ends it; SIGTERM and SIGHUP end it at once. Until the
 * guest starts, signals act as they do on any command. The process must have one thread.
 */
#pragma once

#include "base/clock.h"
#include "base/digest.h"
#include "control/target.h"
#include "grant/grant.h"
#include "wire/run.h"

/* What a person asked for. Everything is borrowed but `grants`,
 * to which implied grants are added. */
struct run_request {
    const char *file;  /* as typed */
    char *const *args; /* what was typed after it */
    size_t arg_count;
    struct grant_set *grants;
    bool bare;                /* imply nothing */
    bool ask;                 /* ask the observer before something is denied */
    const char *tmp;          /* size of the implied /tmp, "none", or NULL: 64MiB */
    const char *cwd;          /* guest path, or NULL: /work */
    const char *invoke;       /* or NULL */
    const char *receipt_copy; /* or NULL */
    /* By language (control/target.h), from the environment; each may be NULL. */
    const char *components[TARGET_LANGUAGE_COUNT];
    const char *ca_file;    /* certificates that servers are verified with, or NULL */
    const char *resolver;   /* "ADDR:PORT" of the DNS server, or NULL: the system's */
    const char *vault_key;  /* where the vault's key is (control/vault.h), or NULL */
    uint32_t allow_missing; /* enum jail_layer bits */
    uint32_t test_skip;     /* 0 but in test builds; egress_skip: enum egress_skip */
    uint32_t egress_skip;
};

/* Told while it goes on. All may be NULL. */
struct run_observer {
    void *context;
    void (*progress)(void *context, const char *stage, uint64_t elapsed_ns);
    void (*log)(void *context, enum log_level level, const char *topic, const char *message);
    /* Asks a person about the denial's smallest grant; the guest waits. Gives up, with NEVER, when
     * `interrupt_fd` becomes readable. */
    enum run_answer (*ask)(void *context, const struct run_denial *d, int interrupt_fd);
    /* A distinct denial was recorded. */
    void (*denied)(void *context, const struct run_denial *d);
};

enum run_outcome {
    RUN_EXITED, /* the guest's own exit code */
    RUN_TRAPPED,
    RUN_DENIED, /* a trap after a denial, or imports that no grant backs */
    RUN_TIME_LIMIT,
    RUN_OTHER_LIMIT,
    RUN_INTERRUPTED, /* by a signal to us */
    RUN_FAILED,      /* a fault of Ambit's, or of this machine */
    RUN_BAD_FILE,    /* Ambit does not run FILE */
    RUN_BAD_GRANT,
    RUN_OUTCOME_COUNT
};
const char *run_outcome_name(enum run_outcome o); /* "exited", … as in the receipt */

/* Exit codes of the command where they are not the guest's own; enum cli_exit has the others. */
enum run_exit {
    EXIT_BAD_GRANT = 121, /* a grant that is not valid or not possible */
    EXIT_BAD_FILE = 122,  /* a file that Ambit does not run */
    EXIT_DENIED = 123,    /* ended because something was denied */
    EXIT_TIME = 124,      /* CPU or wall limit */
    EXIT_LIMIT = 125,     /* memory or another limit */
    EXIT_TRAP = 126,
    EXIT_FAILED = 127, /* Ambit's own fault, or a machine that lacks something */
    EXIT_SIGNAL = 128, /* + the signal that ended it */
};

struct run_denied {
    struct run_denial denial;
    uint64_t count;
};

/* A secret that requests wanted: how often keeper gave it to egress, how often it did not, and why (the first time). */
struct run_secret {
    char *name, *why;
    uint64_t count, refused;
};

struct run_report {
    char id[ID_TEXT_SIZE]; /* "" = no receipt: it did not come so far */
    enum run_outcome outcome;
    int exit_code;      /* what the command answers */
    struct error error; /* why, for every outcome but RUN_EXITED */
    bool retryable;     /* a room died by itself: the same again may work */
    bool has_figures;   /* `done` is what the worker reported */
    struct run_done done;
    uint64_t wall_ns;          /* from RUN_START to the end, by our clock */
    struct run_denied *denied; /* distinct ones, in order */
    size_t denied_count;
    struct run_secret *secrets; /* in the order in which they were first wanted */
    size_t secret_count;
    uint32_t missing; /* jail layers */
    bool cache_hit;
    uint64_t log_lines;
    struct digest component;
    const char *component_name; /* static: "component", "python", "javascript" */
};
void run_report_done(struct run_report *r);

/* Runs it. Always fills `ret` (run_report_done), whose exit_code is the answer: the
 * guest's own or enum run_exit. */
void run_execute(const struct run_request *request, const struct run_observer *observer,
                 struct run_report *ret);

/* ---- --learn (learn.c) ---- */

/* May this file be written? 0, or an error: it exists and is not one that run_learn() wrote. */
int run_learn_check(const char *path, struct error *e) MUST_CHECK;
/* Writes what was denied as one grant file that `ambit grant check` accepts: the smallest grants,
 * merged where mount and verbs or paths agree. 0 and how many grants; with none the file is not
 * written. It allows nothing by itself. */
int run_learn(const char *path, const struct run_report *report, size_t *ret_count,
              struct error *e) MUST_CHECK;
