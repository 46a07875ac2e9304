/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last step of a proposal. The worker proposes the smallest grant without looking, as it must: its answer to the guest may
 * not depend on files the guest may not ask about. Control looks, for the person who reads it: a grant file whose mount does not
 * exist is refused, so a proposal whose folder is not there moves up to the nearest folder that is.
 */
#pragma once

#include "base/error.h"

/* `yaml`: one list item of the grant grammar as a worker sent it, or "". `*ret` (mem_free) is what a person can paste: the same, one
 * with its mount moved up and its pattern made longer, or "" when no folder on the way exists or the text is no grant. */
int proposal_settle(const char *yaml, char **ret, struct error *e) MUST_CHECK;
