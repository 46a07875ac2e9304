/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control says about rules to a room that decides by grants, while it runs. The same to egress (EGRESS_GRANT,
 * EGRESS_REVOKE, EGRESS_EXPIRE) and to keeper (KEEPER_GRANT …). A rule is a grant's place in the set.
 */
#pragma once

#include "base/buf.h"

#define RULES_ALL (UINT32_MAX - 1)

/* GRANT: u32 rule, the next one; string: a set of one grant, as JSON (--ask, a reload) */
void rules_grant_put(struct buf *out, uint32_t rule, const char *json);
int rules_grant_get(struct cursor *c, uint32_t *ret_rule, char **ret_json,
                    struct error *e) MUST_CHECK; /* mem_free */
/* REVOKE: u32 rule, or RULES_ALL: those that are added later among them */
void rules_revoke_put(struct buf *out, uint32_t rule);
int rules_revoke_get(struct cursor *c, uint32_t *ret_rule, struct error *e) MUST_CHECK;
/* EXPIRE: u64 CLOCK_MONOTONIC ns at which all grants end, UINT64_MAX: never */
void rules_expire_put(struct buf *out, uint64_t at_ns);
int rules_expire_get(struct cursor *c, uint64_t *ret_at_ns, struct error *e) MUST_CHECK;
