/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions about services: http and keyvalue. Total, without allocation, as those of decide.c.
 *
 * A request is allowed by one rule that has its origin, a pattern for its path, its method and whose
 * required headers it carries, and that has `websocket` where one is asked for; of several the first
 * in the set. What comes nearest otherwise is the rule that failed last in that order: origin, path,
 * method, header, WebSocket.
 */
#include "grant/rules.h"

#include <string.h>

#include "wire/http1.h"

/* ---- http ---- */

static bool method_allowed(const struct grant *g, struct bytes method)
{
    if (g->http.method_count == 0)
        return bytes_are(method, "GET") || bytes_are(method, "HEAD");
    for (size_t i = 0; i < g->http.method_count; i++) {
        const char *name = g->http.methods[i];
        /* Methods are case-sensitive, servers not always. */
        if (strcmp(name, "*") == 0
                ? !bytes_equal_fold(method, "connect") && !bytes_equal_fold(method, "trace")
                : bytes_are(method, name))
            return true;
    }
    return false;
}

/* The request has such a field, and every one of that name, or of one that a server may read as it,
 * has the value: a second one with another value could be the one that the server reads. */
static bool header_carried(const struct grant_http_request *request, const struct grant_pair *want)
{
    bool found = false;
    for (size_t i = 0; i < request->header_count; i++) {
        struct bytes name = request->headers[i].name;
        if (!http1_name_alike(name, want->key))
            continue;
        if (!bytes_are(request->headers[i].value, want->value))
            return false;
        found |= bytes_are(name, want->key);
    }
    return found;
}

static bool headers_carried(const struct grant *g, const struct grant_http_request *request)
{
    for (size_t i = 0; i < g->http.require_count; i++) {
        if (!header_carried(request, &g->http.require[i]))
            return false;
    }
    return true;
}

static enum grant_reason rule_decide(const struct grant *g, const struct pattern_rule *rule,
                                     const struct grant_http_request *request)
{
    struct bytes path = request->url->path;
    if (path.size == 0 || path.data[0] != '/' ||
        !pattern_rule_matches(rule, (const char *)path.data + 1, path.size - 1))
        return GRANT_NO_PATH;
    if (!method_allowed(g, request->method))
        return GRANT_NO_METHOD;
    if (!request->headers_unseen && !headers_carried(g, request))
        return GRANT_NO_HEADER;
    return request->upgrade && !g->http.websocket ? GRANT_NO_UPGRADE : GRANT_ALLOWED;
}

/* How near a miss is; larger is nearer. */
static int nearness(enum grant_reason reason)
{
    switch (reason) {
    case GRANT_ALLOWED:
        return 5;
    case GRANT_NO_UPGRADE:
        return 4;
    case GRANT_NO_HEADER:
        return 3;
    case GRANT_NO_METHOD:
        return 2;
    case GRANT_NO_PATH:
        return 1;
    default:
        return 0;
    }
}

/* Lets the rules of one origin better the decision; of equals the first in the set stays. */
static void origin_decide(const struct grant_rules *r, const struct http_origin *origin,
                          const struct grant_http_request *request, uint32_t from,
                          struct grant_decision *d)
{
    for (size_t i = 0; origin && i < origin->rule_count; i++) {
        const struct pattern_rule *rule = &origin->rules[i];
        if (rule->rule < from)
            continue;
        if (d->reason == GRANT_ALLOWED && rule->rule > d->rule)
            return;
        enum grant_reason reason = rule_decide(&r->set->grants[rule->rule], rule, request);
        int nearer = nearness(reason) - nearness(d->reason);
        if (nearer > 0 || (nearer == 0 && rule->rule < d->rule))
            *d = (struct grant_decision){ reason, rule->rule, 0 };
    }
}

struct grant_decision grant_decide_http(const struct grant_rules *r,
                                        const struct grant_http_request *request, uint32_t from)
{
    struct grant_decision d = { GRANT_NO_GRANT, GRANT_NO_RULE, 0 };
    const struct url *url = request->url;
    origin_decide(r, http_origin_find(r, false, url, url->host), request, from, &d);
    if (url->is_address)
        return d;
    for (const char *dot = strchr(url->host, '.'); dot; dot = strchr(dot + 1, '.'))
        origin_decide(r, http_origin_find(r, true, url, dot + 1), request, from, &d);
    return d;
}

bool grant_rule_has_origin(const struct grant_rules *r, uint32_t rule, const struct url *url)
{
    if (rule >= r->set->count || r->set->grants[rule].class != GRANT_HTTP)
        return false;
    const struct grant *g = &r->set->grants[rule];
    const char *host = url->host;
    if (g->http.https != url->https || g->http.port != url->port ||
        (g->http.wildcard && url->is_address))
        return false;
    if (!g->http.wildcard)
        return strcmp(g->http.host, host) == 0;
    for (host = strchr(host, '.'); host; host = strchr(host + 1, '.'))
        if (strcmp(g->http.host, host + 1) == 0)
            return true;
    return false;
}

static bool address_listed(const struct grant *g, const struct address *a)
{
    for (size_t i = 0; i < g->http.address_count; i++) {
        if (network_has(&g->http.addresses[i], a))
            return true;
    }
    return false;
}

enum grant_reason grant_decide_address(const struct grant_rules *r, uint32_t rule,
                                       const struct address *a)
{
    struct address inner;
    enum address_kind kind = address_kind(a);
    bool carries = address_embedded(a, &inner);
    /* The kind already is the worse of the two; a second look costs nothing and needs no trust. */
    if (kind == ADDRESS_METADATA || (carries && address_kind(&inner) == ADDRESS_METADATA))
        return GRANT_NEVER_ADDRESS;
    if (kind == ADDRESS_GLOBAL)
        return GRANT_ALLOWED;
    if (rule >= r->set->count || r->set->grants[rule].class != GRANT_HTTP)
        return GRANT_NO_ADDRESS;
    const struct grant *g = &r->set->grants[rule];
    /* A list of IPv6 networks says nothing about the IPv4 ones that hide in them. */
    bool listed = carries && address_kind(&inner) != ADDRESS_GLOBAL ? address_listed(g, &inner)
                                                                    : address_listed(g, a);
    return listed ? GRANT_ALLOWED : GRANT_NO_ADDRESS;
}

bool grant_rules_have(const struct grant_rules *r, enum grant_class c)
{
    return (unsigned)c < GRANT_CLASS_COUNT && r->class_rules[c] != GRANT_NO_RULE;
}

/* ---- keyvalue ---- */

/* The first rule that covers the key, or the first of the bucket. */
static struct grant_decision keyvalue_denial(const struct keyvalue_bucket *bucket, const char *key,
                                             size_t size, uint32_t missing)
{
    for (size_t i = 0; i < bucket->rule_count; i++) {
        const struct pattern_rule *rule = &bucket->rules[i];
        if (key == NULL || pattern_rule_matches(rule, key, size))
            return (struct grant_decision){ GRANT_NO_VERB, rule->rule, missing };
    }
    return (struct grant_decision){ GRANT_NO_PATH, bucket->rules[0].rule, missing };
}

struct grant_decision grant_decide_keyvalue(const struct grant_rules *r, const char *bucket,
                                            const char *key, size_t size, uint32_t verb)
{
    const struct keyvalue_bucket *b = keyvalue_bucket_find(r, bucket);
    uint32_t left = verb;
    if (b == NULL)
        return (struct grant_decision){ GRANT_NO_GRANT, GRANT_NO_RULE, verb };
    for (size_t i = 0; i < b->rule_count; i++) {
        const struct pattern_rule *rule = &b->rules[i];
        if (left != 0 && (rule->verbs & left) == 0)
            continue;
        if (key != NULL && !pattern_rule_matches(rule, key, size))
            continue;
        left &= ~rule->verbs;
        if (left == 0)
            return (struct grant_decision){ GRANT_ALLOWED, rule->rule, 0 };
    }
    return keyvalue_denial(b, key, size, left);
}

uint64_t grant_keyvalue_max_bytes(const struct grant_rules *r, const char *bucket)
{
    const struct keyvalue_bucket *b = keyvalue_bucket_find(r, bucket);
    return b == NULL || b->max_bytes == GRANT_UNSET ? GRANT_KEYVALUE_BYTES_DEFAULT : b->max_bytes;
}
