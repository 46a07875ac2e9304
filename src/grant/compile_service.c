/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of http and keyvalue: grants of one origin, or of one bucket, come together, and the
 * origins and buckets are sorted, so that a decision looks at the grants of its own host (and of the
 * wildcards above it) and at no others.
 */
#include "grant/rules.h"

#include <stdlib.h>
#include <string.h>

void service_rules_done(struct grant_rules *r)
{
    for (size_t i = 0; i < r->origin_count; i++)
        pattern_rules_free(r->origins[i].rules, r->origins[i].rule_count);
    for (size_t i = 0; i < r->bucket_count; i++)
        pattern_rules_free(r->buckets[i].rules, r->buckets[i].rule_count);
    mem_free(r->origins);
    mem_free(r->buckets);
}

int http_origin_order(const struct grant *g, bool wildcard, bool https, uint16_t port,
                      const char *host)
{
    if (g->http.wildcard != wildcard)
        return g->http.wildcard ? 1 : -1;
    if (g->http.https != https)
        return g->http.https ? 1 : -1;
    if (g->http.port != port)
        return g->http.port > port ? 1 : -1;
    return strcmp(g->http.host, host);
}

static int http_grants_compare(const struct grant *a, const struct grant *b)
{
    return http_origin_order(a, b->http.wildcard, b->http.https, b->http.port, b->http.host);
}

static int keyvalue_grants_compare(const struct grant *a, const struct grant *b)
{
    return strcmp(a->keyvalue.bucket, b->keyvalue.bucket);
}

static int http_order(const void *a, const void *b)
{
    const struct grant *x = *(const struct grant *const *)a, *y = *(const struct grant *const *)b;
    int order = http_grants_compare(x, y);
    return order != 0 ? order : (x > y) - (x < y);
}

static int keyvalue_order(const void *a, const void *b)
{
    const struct grant *x = *(const struct grant *const *)a, *y = *(const struct grant *const *)b;
    int order = keyvalue_grants_compare(x, y);
    return order != 0 ? order : (x > y) - (x < y);
}

/* The grants of a class in the order of its table. NULL = no memory. */
static const struct grant **grants_sorted(const struct grant_rules *r, enum grant_class class,
                                          size_t *ret_count)
{
    const struct grant **sorted = mem_array(r->set->count + 1, sizeof(*sorted));
    size_t count = 0;
    for (size_t i = 0; sorted && i < r->set->count; i++) {
        if (r->set->grants[i].class == class)
            sorted[count++] = &r->set->grants[i];
    }
    if (sorted)
        qsort(sorted, count, sizeof(*sorted), class == GRANT_HTTP ? http_order : keyvalue_order);
    *ret_count = count;
    return sorted;
}

static int rules_init(const struct grant_rules *r, const struct grant *const *grants, size_t count,
                      struct pattern_rule **ret, size_t *ret_count)
{
    *ret = mem_array(count, sizeof(**ret));
    if (*ret == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct grant *g = grants[i];
        bool http = g->class == GRANT_HTTP;
        struct pattern_rule *rule = &(*ret)[(*ret_count)++];
        int result = pattern_rule_init(rule, http ? g->http.paths : g->keyvalue.keys,
                                       http ? g->http.path_count : g->keyvalue.key_count, http,
                                       (uint32_t)(g - r->set->grants), NULL);
        if (result < 0)
            return result;
        rule->verbs = http ? 0 : g->keyvalue.verbs;
    }
    return 0;
}

int compile_http(struct grant_rules *r, struct error *e)
{
    size_t count = 0;
    CLEANUP(mem_freep) const struct grant **sorted = grants_sorted(r, GRANT_HTTP, &count);
    r->origins = mem_array(count + 1, sizeof(*r->origins));
    if (sorted == NULL || r->origins == NULL)
        return grant_no_memory(e);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && http_grants_compare(sorted[i], sorted[next]) == 0;)
            next++;
        struct http_origin *origin = &r->origins[r->origin_count++];
        origin->first = sorted[i];
        if (rules_init(r, sorted + i, next - i, &origin->rules, &origin->rule_count) < 0)
            return grant_no_memory(e);
    }
    return 0;
}

int compile_keyvalue(struct grant_rules *r, struct error *e)
{
    size_t count = 0;
    CLEANUP(mem_freep) const struct grant **sorted = grants_sorted(r, GRANT_KEYVALUE, &count);
    r->buckets = mem_array(count + 1, sizeof(*r->buckets));
    if (sorted == NULL || r->buckets == NULL)
        return grant_no_memory(e);
    for (size_t i = 0, next; i < count; i = next) {
        struct keyvalue_bucket *bucket = &r->buckets[r->bucket_count++];
        bucket->name = sorted[i]->keyvalue.bucket;
        bucket->max_bytes = GRANT_UNSET;
        for (next = i; next < count && keyvalue_grants_compare(sorted[i], sorted[next]) == 0;
             next++)
            bucket->max_bytes = MIN(bucket->max_bytes, sorted[next]->keyvalue.max_bytes);
        if (rules_init(r, sorted + i, next - i, &bucket->rules, &bucket->rule_count) < 0)
            return grant_no_memory(e);
    }
    return 0;
}

const struct http_origin *http_origin_find(const struct grant_rules *r, bool wildcard,
                                           const struct url *url, const char *host)
{
    size_t low = 0, high = r->origin_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order =
            http_origin_order(r->origins[middle].first, wildcard, url->https, url->port, host);
        if (order == 0)
            return &r->origins[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct keyvalue_bucket *keyvalue_bucket_find(const struct grant_rules *r, const char *name)
{
    size_t low = 0, high = r->bucket_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(r->buckets[middle].name, name);
        if (order == 0)
            return &r->buckets[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
