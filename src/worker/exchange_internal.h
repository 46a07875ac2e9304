/* SPDX-License-Identifier: Apache-2.0 */
/* What exchange.c, body.c and frames.c share. */
#pragma once

#include "worker/exchange.h"

/* exchange.c */
struct exchange *guest_exchange_alloc(void) MUST_CHECK; /* on no table, of no guest */
int guest_exchange_enter(struct exchange *x, struct http_peer *p, uint64_t number) MUST_CHECK;
struct exchange *guest_exchange_find(struct http_peer *p, uint64_t number); /* NULL = none */
/* Who waits for it (for_write: for its body) may go on. */
void guest_exchange_tell(const struct exchange *x, bool for_write);
void guest_exchange_check_over(struct exchange *x);
void guest_exchange_owe(struct exchange *x, size_t size); /* so much was read */

/* body.c */
void failure_set(struct exchange_failure *f, enum http_error error, uint64_t number,
                 struct bytes text); /* the first one stays */
void body_release(struct body *b);   /* frees it when nothing holds it any more */
/* Sends of what is held as much as may go; END behind it. */
void body_pump(struct body *b);

/* frames.c. Puts a frame about `x`. What does not fit waits; what cannot even wait breaks the link,
 * which ends at the next turn of the loop: nothing is freed here. */
void peer_put(struct http_peer *p, uint16_t kind, const struct exchange *x, struct bytes payload);
void peer_put_scratch(struct http_peer *p, uint16_t kind, const struct exchange *x);
/* Nothing waits: bodies may go straight to the link. */
static inline bool peer_flows(const struct http_peer *p)
{
    return p->backlog.size == 0;
}
