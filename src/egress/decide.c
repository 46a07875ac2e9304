/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this request go? The grants decide (grant_decide_http), then the counters of the rule, then
 * every address its name has. What refuses one rule asks for the next that allows it. Of several
 * refusals the asker is told the one that came nearest to going.
 *
 * Counters are taken before a name is looked up: a question to DNS carries what the guest put into
 * the name, so it counts as a request.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "egress/parts.h"

#ifdef AMBIT_TEST_HOOKS
#define LEFT_OPEN(room, which) (((room)->skip & (which)) != 0)
#else
#define LEFT_OPEN(room, which) false
#endif

static void refuse(struct outgoing *x, enum http_error error, enum grant_reason reason,
                   uint32_t rule, const struct address *a)
{
    struct http_failure *f = &x->refusal;
    /* Nearest: an address, then a counter or size, then what the grants say. */
    static const uint8_t weights[GRANT_REASON_COUNT] = {
        [GRANT_NO_GRANT] = 1,   [GRANT_NO_PATH] = 2,    [GRANT_NO_METHOD] = 3,
        [GRANT_NO_HEADER] = 4,  [GRANT_NO_UPGRADE] = 5, [GRANT_REVOKED] = 6,
        [GRANT_EXPIRED] = 6,    [GRANT_TOO_MANY] = 7,   [GRANT_RATE] = 7,
        [GRANT_TOO_LARGE] = 7,  [GRANT_NO_ADDRESS] = 8, [GRANT_NEVER_ADDRESS] = 9,
        [GRANT_MALFORMED] = 10,
    };
    if (f->error != HTTP_OK && weights[reason] < weights[f->reason])
        return;
    *f = (struct http_failure){ .error = error,
                                .reason = reason,
                                .rule = rule,
                                .number = NEVER,
                                .text = bytes_of(grant_reason_text(reason)) };
    if (a) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(sizeof(x->refusal_address));
        address_print(a, &text);
        (void)snprintf(x->refusal_address, sizeof(x->refusal_address), "%s", buf_cstr(&text));
        f->address = bytes_of(x->refusal_address);
    }
}

/* `rate` is a bucket of rate_count that is full at the start and fills evenly; the time at which it
 * will be full says how many are in it. */
static bool rate_allows(const struct grant *g, struct egress_counter *c, uint64_t now)
{
    if (g->rate_count == GRANT_UNSET || g->rate_count == 0)
        return true;
    uint64_t each = MAX(g->rate_ns / g->rate_count, (uint64_t)1);
    uint64_t full = MAX(c->rate_until_ns, now);
    /* A clock of another boot cannot be here: the memfd does not outlive control. */
    if (full + each - now > g->rate_ns)
        return false;
    /* Control compares the two: this one first, then the count. */
    __atomic_store_n(&c->rate_until_ns, full + each, __ATOMIC_RELEASE);
    return true;
}

static enum grant_reason count(struct egress_room *room, uint32_t rule, uint64_t now)
{
    const struct grant *g = grant_rules_grant(room->grants.rules, rule);
    struct egress_counter *c = &room->counters[rule];
    if (LEFT_OPEN(room, EGRESS_SKIP_COUNTERS)) {
        c->requests++;
        return GRANT_ALLOWED;
    }
    if (g->http.max_requests != GRANT_UNSET && c->requests >= g->http.max_requests)
        return GRANT_TOO_MANY;
    if (!rate_allows(g, c, now))
        return GRANT_RATE;
    __atomic_store_n(&c->requests, c->requests + 1, __ATOMIC_RELEASE);
    return GRANT_ALLOWED;
}

static bool decide_revoked(const struct egress_room *room, uint32_t rule)
{
    return room->grants.revoked[rule];
}

#ifdef AMBIT_TEST_HOOKS
static uint32_t first_http_rule(const struct egress_room *room)
{
    for (size_t i = 0; i < room->grants.rule_count; i++)
        if (grant_rules_grant(room->grants.rules, i)->class == GRANT_HTTP)
            return (uint32_t)i;
    return GRANT_NO_RULE;
}
#endif

static struct grant_decision ask(struct outgoing *x, uint32_t from)
{
    struct grant_http_request q = { .url = &x->url,
                                    .method = x->request.method,
                                    .headers = x->request.fields,
                                    .header_count = x->request.field_count,
                                    .upgrade = (x->request.flags & HTTP_UPGRADE) != 0 };
#ifdef AMBIT_TEST_HOOKS
    uint32_t first = first_http_rule(x->peer->room);
    if (LEFT_OPEN(x->peer->room, EGRESS_SKIP_DECISION) && first >= from)
        return (struct grant_decision){ .reason = GRANT_ALLOWED, .rule = first };
#endif
    return grant_decide_http(x->peer->room->grants.rules, &q, from);
}

static enum grant_reason rule_allows(struct outgoing *x, uint32_t rule, uint64_t now)
{
    struct egress_room *room = x->peer->room;
    const struct grant *g = grant_rules_grant(room->grants.rules, rule);
    if (now >= room->grants.expires_ns)
        return GRANT_EXPIRED;
    if (decide_revoked(room, rule))
        return GRANT_REVOKED;
    /* What came while the name was asked for came under another rule. */
    uint64_t size = MAX(x->content_length == NEVER ? 0 : x->content_length, x->in_total);
    if (size > g->http.max_request_bytes && !LEFT_OPEN(room, EGRESS_SKIP_SIZES))
        return GRANT_TOO_LARGE;
    return count(room, rule, now);
}

int decide_rule(struct outgoing *x, uint32_t from)
{
    struct egress_room *room = x->peer->room;
    uint64_t now = clock_monotonic_ns();
    for (;;) {
        struct grant_decision d = ask(x, from);
        /* A rule that cannot be is a bug of the matcher's; nothing is allowed by it. */
        if (d.reason == GRANT_ALLOWED && (d.rule >= room->grants.rule_count || d.rule < from))
            d = (struct grant_decision){ .reason = GRANT_NO_GRANT, .rule = GRANT_NO_RULE };
        if (d.reason != GRANT_ALLOWED) {
            refuse(x, HTTP_ERROR_REQUEST_DENIED, d.reason, d.rule, NULL);
            return 1;
        }
        enum grant_reason reason = rule_allows(x, d.rule, now);
        if (reason == GRANT_ALLOWED) {
            x->rule = d.rule;
            return 0;
        }
        refuse(x,
               reason == GRANT_TOO_LARGE ? HTTP_ERROR_REQUEST_BODY_SIZE : HTTP_ERROR_REQUEST_DENIED,
               reason, d.rule, NULL);
        from = d.rule + 1;
    }
}

/* ---- addresses ---- */

/* A listener of every address is one of all of 127.0.0.0/8, which no list of interfaces names. */
static bool reaches_everywhere(const struct egress_listener *l, const struct address *a)
{
    static const struct address any4;
    return !a->is_v6 && address_equal(&l->address, &any4) && address_kind(a) == ADDRESS_LOOPBACK;
}

bool decide_own_listener(const struct egress_room *room, const struct address *a, uint16_t port)
{
    struct address inner;
    bool embeds = address_embedded(a, &inner);
    for (size_t i = 0; i < room->start.listener_count; i++) {
        const struct egress_listener *l = &room->start.listeners[i];
        if (l->port != port)
            continue;
        if (address_equal(&l->address, a) || reaches_everywhere(l, a) ||
            (embeds && (address_equal(&l->address, &inner) || reaches_everywhere(l, &inner))))
            return true;
    }
    return false;
}

static enum grant_reason address_allowed(const struct outgoing *x, const struct address *a,
                                         uint16_t port)
{
    const struct egress_room *room = x->peer->room;
    if (address_kind(a) == ADDRESS_METADATA || decide_own_listener(room, a, port))
        return GRANT_NEVER_ADDRESS;
    return grant_decide_address(room->grants.rules, x->rule, a);
}

int decide_addresses(struct outgoing *x, const struct address *addresses, size_t count)
{
    if (LEFT_OPEN(x->peer->room, EGRESS_SKIP_ADDRESS))
        return 0;
    for (size_t i = 0; i < count; i++) {
        enum grant_reason reason = address_allowed(x, &addresses[i], x->url.port);
        if (reason == GRANT_ALLOWED)
            continue;
        refuse(x, HTTP_ERROR_DESTINATION_IP_PROHIBITED, reason, x->rule, &addresses[i]);
        return 1;
    }
    return 0;
}

enum grant_reason decide_dial(const struct outgoing *x, const struct address *a, uint16_t port)
{
    if (LEFT_OPEN(x->peer->room, EGRESS_SKIP_PIN))
        return GRANT_ALLOWED;
    if (port != x->url.port)
        return GRANT_NO_ADDRESS;
    return address_allowed(x, a, port);
}
