/* SPDX-License-Identifier: Apache-2.0 */
/* `ambit run --ask` in the worker: see ask.c. */
#pragma once

#include "grant/grant.h"
#include "wire/egress.h"
#include "wire/run.h"
#include "worker/vfs/vfs.h"

#define ASK_MAX VFS_RULES_MORE /* grants that answers can add to a run; then nobody is asked */
_Static_assert(ASK_MAX <= EGRESS_MORE_MAX, "egress has a place for each");

struct guest;
struct asking; /* of one guest */

/* `rules` are those of the start, borrowed. */
int asking_new(const struct run_start *start, const struct grant_rules *rules, struct asking **ret,
               struct error *e) MUST_CHECK;
void asking_free(struct asking *a);

/* Asks about what is about to be denied with these words (its text of the grant is made here).
 * True: the grant is in force, decide anew. */
bool guest_ask(struct guest *g, const struct run_denial *asked, const struct grant *grant);
/* A host call begins: what was allowed for once is over. */
void asking_call_begins(struct guest *g);
