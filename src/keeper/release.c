/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions. Keeper asks the same matcher as egress, over its own copy of the grants, so that an
 * egress that was taken over cannot have a value for a request that no grant covers.
 */
#include <string.h>

#include "base/clock.h"
#include "keeper/parts.h"

static enum grant_reason in_force(const struct grant_live *t, uint32_t rule)
{
    if (t->revoked[rule])
        return GRANT_REVOKED;
    return clock_monotonic_ns() >= t->expires_ns ? GRANT_EXPIRED : GRANT_ALLOWED;
}

/* What was asked about is what is dialled: another spelling of it is refused. */
static bool is_canonical(const struct url *u, struct bytes text)
{
    CLEANUP(buf_done) struct buf whole = BUF_INIT(2 * URL_TARGET_MAX);
    url_print(u, &whole);
    return buf_status(&whole) == 0 && bytes_equal((struct bytes){ whole.data, whole.size }, text);
}

enum grant_reason release_decide(const struct grant_live *t, const struct secret_ask *a)
{
    struct url u;
    if (a->rule >= grant_rules_count(t->rules) ||
        !grant_has_secret(grant_rules_grant(t->rules, a->rule)))
        return GRANT_NO_GRANT;
    enum grant_reason reason = in_force(t, a->rule);
    if (reason != GRANT_ALLOWED)
        return reason;
    url_init(&u);
    reason = GRANT_MALFORMED;
    if (url_parse(&u, a->url, NULL) == 0 && is_canonical(&u, a->url)) {
        struct grant_http_request q = { .url = &u, .method = a->method, .headers_unseen = true };
        struct grant_decision d = grant_decide_http(t->rules, &q, a->rule);
        reason = d.reason;
        if (reason == GRANT_ALLOWED && d.rule != a->rule)
            reason = GRANT_NO_PATH; /* another rule allows it, which has its own headers */
    }
    url_done(&u);
    return reason;
}

/* ---- leaves ---- */

static int url_of_host(struct url *u, struct bytes host, uint16_t port)
{
    CLEANUP(buf_done) struct buf authority = BUF_INIT(URL_HOST_MAX + 16);
    struct address address;
    bool v6 = address_parse(host, &address) == 0 && address.is_v6;
    buf_puts(&authority, v6 ? "[" : "");
    buf_append(&authority, host.data, host.size);
    buf_printf(&authority, "%s:%u", v6 ? "]" : "", port);
    if (buf_status(&authority) < 0)
        return buf_status(&authority);
    int status = url_set(u, true, (struct bytes){ authority.data, authority.size },
                         (struct bytes){ 0 }, NULL);
    return status == 0 && !bytes_are(host, u->host) ? -EINVAL : status;
}

/* `GET` of everything there. */
static void propose(const struct grant_live *t, const struct url *u, struct buf *out)
{
    struct grant g = { 0 };
    struct grant_http_request q = { .url = u, .method = bytes_of("GET") };
    if (grant_propose_http(t->rules, &q, GRANT_NO_GRANT, NULL, &g, NULL) < 0)
        return;
    char *all = mem_strdup("/**");
    if (all && g.http.path_count == 1) {
        mem_free(g.http.paths[0]);
        g.http.paths[0] = TAKE(all);
        if (grant_print(&g, out, NULL) < 0)
            buf_clear(out);
    }
    mem_free(all);
    grant_done(&g);
}

enum grant_reason release_decide_leaf(const struct grant_live *t, struct bytes host, uint16_t port,
                                      struct buf *ret_grant)
{
    struct url u;
    enum grant_reason reason = GRANT_MALFORMED;
    url_init(&u);
    if (url_of_host(&u, host, port) == 0) {
        reason = GRANT_NO_GRANT;
        for (uint32_t i = 0; i < grant_rules_count(t->rules) && reason != GRANT_ALLOWED; i++)
            if (grant_rule_has_origin(t->rules, i, &u))
                reason = in_force(t, i);
        if (reason == GRANT_NO_GRANT)
            propose(t, &u, ret_grant);
    }
    url_done(&u);
    return reason;
}
