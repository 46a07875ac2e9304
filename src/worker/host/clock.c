/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:clocks. Two clocks a guest can have:
 *   real     the host's; the monotonic one counts from the start of the run, so that it does not
 *            tell how long the machine is up
 *   frozen   the wall clock stands still at the granted time; the monotonic one counts from 0, 1 µs
 *            per reading. A sleep takes no time: when the guest has nothing to do but wait, the
 *            clock jumps to the earliest time it waits for
 * Without a grant: frozen at 1970-01-01, and every reading and sleep is a denial that is recorded.
 * A real clock whose grant expires freezes: the monotonic one where it was.
 */
#include "base/clock.h"

#include "worker/host/host.h"

#define FROZEN_STEP_NS 1000

void host_clock_init(struct guest *g)
{
    struct guest_clock *c = &g->clock;
    c->start_ns = clock_monotonic_ns();
    c->decision = grant_decide_class(g->rules, GRANT_CLOCK);
    c->frozen = true;
    if (c->decision.reason != GRANT_ALLOWED)
        return;
    const struct grant *grant = grant_rules_grant(g->rules, c->decision.rule);
    c->frozen = !grant->real;
    if (c->frozen)
        c->frozen_wall_ns = grant->clock_ns;
}

void host_clock_freeze(struct guest *g)
{
    struct guest_clock *c = &g->clock;
    if (c->frozen)
        return;
    c->frozen_monotonic_ns = clock_monotonic_ns() - c->start_ns;
    c->frozen = true;
}

/* Counts a reading, or records that it was refused. */
static void account(struct guest *g, const char *operation, const char *which)
{
    const struct grant_decision *d = &g->clock.decision;
    if (d->reason == GRANT_ALLOWED && g->gate == GRANT_ALLOWED)
        guest_used(g, d->rule, 0, 0, 0);
    else
        guest_denied(g, GRANT_CLOCK, operation, which, 0, guest_gated(g, *d));
}

uint64_t host_monotonic_now(void *host)
{
    struct guest *g = host;
    struct guest_clock *c = &g->clock;
    account(g, "read clock", "monotonic");
    if (!c->frozen)
        return clock_monotonic_ns() - c->start_ns;
    uint64_t now = c->frozen_monotonic_ns;
    c->frozen_monotonic_ns += FROZEN_STEP_NS;
    return now;
}

uint64_t host_monotonic_resolution(void *host)
{
    struct guest *g = host;
    return g->clock.frozen ? FROZEN_STEP_NS : 1;
}

int64_t host_clock_wall_ns(void *guest)
{
    struct guest *g = guest;
    return g->clock.frozen ? g->clock.frozen_wall_ns : clock_real_ns();
}

int64_t host_wall_now(void *host)
{
    account(host, "read clock", "wall");
    return host_clock_wall_ns(host);
}

uint64_t host_wall_resolution(void *host)
{
    return host_monotonic_resolution(host);
}

enum ambit_wait host_clock_wait_until(struct guest *g, uint64_t monotonic_ns, uint64_t operation)
{
    struct guest_clock *c = &g->clock;
    int status;
    if (c->frozen) {
        if (monotonic_ns <= c->frozen_monotonic_ns)
            return AMBIT_READY;
        account(g, "sleep", "monotonic");
        status = operation_add_frozen(g->loop, g, operation, monotonic_ns);
    } else {
        uint64_t now = clock_monotonic_ns();
        uint64_t deadline =
            monotonic_ns > UINT64_MAX - c->start_ns ? UINT64_MAX : c->start_ns + monotonic_ns;
        if (deadline <= now)
            return AMBIT_READY;
        account(g, "sleep", "monotonic");
        status = operation_add_time(g->loop, g, operation, deadline);
    }
    if (status < 0) {
        guest_fault(g, status, "waiting for a time");
        return AMBIT_READY; /* the guest goes on to its end */
    }
    return AMBIT_PENDING;
}

bool host_clock_jump(struct guest *g)
{
    struct operation *earliest = NULL;
    for (struct operation *o = g->operations; o; o = o->next) {
        /* Of equal times the oldest first: new ones stand at the front of the list. */
        if (o->frozen_ns != UINT64_MAX && (!earliest || o->frozen_ns <= earliest->frozen_ns))
            earliest = o;
    }
    if (!earliest)
        return false;
    if (earliest->frozen_ns > g->clock.frozen_monotonic_ns)
        g->clock.frozen_monotonic_ns = earliest->frozen_ns;
    operation_complete(g->loop, earliest);
    return true;
}
