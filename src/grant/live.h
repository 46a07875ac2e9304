/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants by which a room decides as long as it lives. Egress and keeper have each their own: who has taken one over
 * changes nothing about what the other decides.
 *
 * A rule is a grant's place in the set, and that number is what everything else knows it by: counters, pools of
 * connections, revocations, exchanges, records. So a grant that is added while the room runs (--ask, a reload) goes
 * behind all others, into a place that was made for it at the start, and moves nothing. None is ever taken away: a rule
 * ends by its counter, by being revoked, or with the room.
 */
#pragma once

#include "grant/grant.h"
#include "wire/rules.h"

struct grant_live {
    struct grant_set *set;
    /* Of `set`; replaced when one is added: nobody points into them across turns, everybody knows a rule by its
     * number. */
    struct grant_rules *rules;
    size_t rule_count, rule_max; /* arrays by rule have `rule_max` places */
    bool *revoked;               /* by rule */
    uint64_t expires_ns;         /* CLOCK_MONOTONIC, or UINT64_MAX */
    const char *work_host;       /* borrowed */
};

/* From a zeroed one: the grants of `json` ("": none), with places for `more`. */
int grant_live_start(struct grant_live *l, const char *json, const char *work_host, size_t more,
                     struct error *e) MUST_CHECK;
void grant_live_done(struct grant_live *l);
/* A set of one grant, for the place that is the next. `ret_one` (may be NULL) gets that set. */
int grant_live_add(struct grant_live *l, uint32_t rule, const char *json,
                   struct grant_set **ret_one, struct error *e) MUST_CHECK;
/* One, or RULES_ALL: those that are added later among them. For good. */
int grant_live_revoke(struct grant_live *l, uint32_t rule, struct error *e) MUST_CHECK;
