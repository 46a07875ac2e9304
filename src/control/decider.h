/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A room that decides by grants, egress or keeper, over all its lives: what it has been told of grants it is told again
 * at each start, and when it dies it is started again after a pause (restart.h). Each of the two has its own.
 */
#pragma once

#include "control/restart.h"
#include "grant/grant.h"
#include "wire/rules.h"

#define DECIDER_START_LIMIT_NS (30 * UINT64_C(1000000000))

enum decider_phase { PHASE_STARTING, PHASE_RUNNING, PHASE_OVER };

struct decider {
    const char *name;
    uint16_t grant, revoke, expire; /* its frames (wire/rules.h) */
    /* Of its START, where they are kept. */
    char **grants_json;
    uint64_t *expires_ns; /* CLOCK_MONOTONIC; UINT64_MAX: never */
    uint32_t *more;

    struct grant_set *grants;
    size_t rule_count, rule_max; /* there are so many; arrays by rule have so many places */
    bool *revoked;
    bool all_revoked;

    struct room room;
    bool alive, ready, fault; /* fault: it said what is wrong */
    struct frame_gate gate;
    struct error fault_text;
    struct restart restart;
    unsigned deaths; /* counted by whose it is */
};

/* Its name, frames and places in START are set, all else is zero. Without grants (NULL) it has none. */
int decider_init(struct decider *d, const struct grant_set *grants, uint32_t more,
                 struct error *e) MUST_CHECK;
void decider_done(struct decider *d); /* kills the room if it lives */

/* ---- a life ---- */

void decider_began(struct decider *d, const struct frame_rule *rules, size_t rule_count);
/* Its START, and what is revoked. `payload` may be too large. */
int decider_start(struct decider *d, uint16_t kind, const struct buf *payload, const int *fds,
                  size_t fd_count, struct error *e) MUST_CHECK;
/* Takes its frames. 1: it is gone, or at fault and shall go: decider_bury(). */
int decider_hear(struct decider *d, void *context, struct error *e) MUST_CHECK;
/* What it says of its fault, once; `code` is that of fault_text. */
int decider_on_fault(struct decider *d, struct cursor *c, int code, struct error *e) MUST_CHECK;
void decider_bury(struct decider *d, struct buf *why);
/* It never was ready: why, as an error. */
int decider_not_started(const struct decider *d, struct buf *why, struct error *e);
int decider_fd(const struct decider *d);         /* for POLLIN; -1 while it is dead */
int decider_timeout_ms(const struct decider *d); /* until its turn is wanted; -1 = for ever */

/* ---- what it is told ---- */

int decider_send(struct decider *d, uint16_t kind, const struct buf *payload, const int *fds,
                 size_t fd_count, struct error *e) MUST_CHECK;
/* The same, and nothing while it is dead: one that died a moment ago is seen so in its turn. */
int decider_tell(struct decider *d, uint16_t kind, const struct buf *payload, const int *fds,
                 size_t fd_count, struct error *e) MUST_CHECK;
/* A set of one grant, behind all others. */
int decider_grant(struct decider *d, const struct grant_set *one, struct error *e) MUST_CHECK;
int decider_revoke(struct decider *d, uint32_t rule, struct error *e) MUST_CHECK;
/* From here: GRANT_UNSET is never. */
int decider_expires(struct decider *d, uint64_t expires_ns, struct error *e) MUST_CHECK;
