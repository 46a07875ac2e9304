/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "b is covered by a" for services.
 *
 * http. A grant of b falls into cells, one method and one path pattern each. A cell is covered by a
 * rule of a that has its origin, method and paths, asks for no more headers, does the same to them,
 * allows the same numbers and addresses, and has room in its counters for every grant of b that may
 * use them. Rules of a that stand earlier and may take some request of the cell must do the same to
 * it, because the first rule that allows a request is the one that counts.
 *
 * keyvalue. Verbs are independent and rules of a bucket add up, as for files; an operation counts
 * against the first rule that allows it, so a rule with a rate must bear all grants of b that meet
 * it.
 *
 * Where a begins with the very rules of b, every decision is the same, and nothing is to be added up.
 */
#include "grant/covering.h"

#include <string.h>

static const struct grant *next_of(const struct grant_rules *r, enum grant_class class, size_t *at)
{
    while (*at < r->set->count) {
        const struct grant *g = &r->set->grants[(*at)++];
        if (g->class == class)
            return g;
    }
    return NULL;
}

static bool strings_same(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    bool same = a_count == b_count;
    for (size_t i = 0; same && i < a_count; i++)
        same = strcmp(a[i], b[i]) == 0;
    return same;
}

static bool rates_same(const struct grant *a, const struct grant *b)
{
    return a->rate_count == b->rate_count && a->rate_ns == b->rate_ns;
}

/* ---- counters ---- */

/* What a counter of a must bear. */
struct load {
    uint64_t requests, rate_count, shortest_ns;
};
#define LOAD_NONE         \
    {                     \
        0, 0, GRANT_UNSET \
    }

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? GRANT_UNSET : sum;
}

static void load_add(struct load *load, const struct grant *b)
{
    load->requests = add_saturating(load->requests, b->http.max_requests);
    load->rate_count = add_saturating(load->rate_count, b->rate_count);
    load->shortest_ns = MIN(load->shortest_ns, b->rate_ns);
}

/* A rate is borne when no more come in no shorter a time. */
static bool rate_bears(const struct grant *a, const struct load *load)
{
    if (a->rate_count == GRANT_UNSET || load->rate_count == 0)
        return true;
    return load->rate_count <= a->rate_count && load->shortest_ns >= a->rate_ns;
}

/* ---- http: the parts ---- */

static bool host_within(const char *host, const char *suffix)
{
    size_t size = strlen(host), tail = strlen(suffix);
    return size > tail + 1 && host[size - tail - 1] == '.' &&
           strcmp(host + size - tail, suffix) == 0;
}

static bool origin_same_door(const struct grant *a, const struct grant *b)
{
    return a->http.https == b->http.https && a->http.port == b->http.port;
}

static bool origin_covers(const struct grant *a, const struct grant *b)
{
    struct address ignored;
    if (!origin_same_door(a, b) || (b->http.wildcard && !a->http.wildcard))
        return false;
    if (a->http.wildcard != b->http.wildcard)
        return !http_host_is_address(b, &ignored) && host_within(b->http.host, a->http.host);
    return strcmp(a->http.host, b->http.host) == 0 ||
           (a->http.wildcard && host_within(b->http.host, a->http.host));
}

static bool origins_meet(const struct grant *a, const struct grant *b)
{
    return origin_covers(a, b) || origin_covers(b, a);
}

static size_t method_count(const struct grant *g)
{
    return g->http.method_count ? g->http.method_count : 2;
}

static const char *method_at(const struct grant *g, size_t i)
{
    static const char *const implied[] = { "GET", "HEAD" };
    return g->http.method_count ? g->http.methods[i] : implied[i];
}

static bool method_covered(const struct grant *a, const char *method)
{
    for (size_t i = 0; i < method_count(a); i++) {
        if (strcmp(method_at(a, i), "*") == 0 || strcmp(method_at(a, i), method) == 0)
            return true;
    }
    return false;
}

static bool method_meets(const struct grant *a, const char *method)
{
    return strcmp(method, "*") == 0 || method_covered(a, method);
}

/* Every pair of `few` is among `many`. */
static bool pairs_within(const struct grant_pair *few, size_t few_count,
                         const struct grant_pair *many, size_t many_count)
{
    for (size_t i = 0; i < few_count; i++) {
        bool found = false;
        for (size_t j = 0; j < many_count && !found; j++)
            found =
                strcmp(few[i].key, many[j].key) == 0 && strcmp(few[i].value, many[j].value) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* What egress does to the headers. Names are distinct in each, so the same number and inclusion is
 * equality. */
static bool effects_same(const struct grant *a, const struct grant *b)
{
    if (a->http.set_count != b->http.set_count || a->http.strip_count != b->http.strip_count)
        return false;
    for (size_t i = 0; i < a->http.strip_count; i++) {
        if (!strings_have(b->http.strip, b->http.strip_count, a->http.strip[i]))
            return false;
    }
    return pairs_within(a->http.set, a->http.set_count, b->http.set, b->http.set_count);
}

static bool numbers_within(const struct grant *a, const struct grant *b)
{
    return b->http.max_request_bytes <= a->http.max_request_bytes &&
           b->http.max_response_bytes <= a->http.max_response_bytes &&
           b->http.timeout_ns <= a->http.timeout_ns;
}

static bool addresses_within(const struct grant *a, const struct grant *b)
{
    for (size_t i = 0; i < b->http.address_count; i++) {
        bool found = false;
        for (size_t j = 0; j < a->http.address_count && !found; j++)
            found = network_covers(&a->http.addresses[j], &b->http.addresses[i]);
        if (!found)
            return false;
    }
    return true;
}

/* ---- http: cells ---- */

struct cell {
    const struct grant *grant; /* of b */
    const char *method, *path;
};

/* May a rule of a take a request of the cell? 0, 1, < 0. */
static int cell_meets(struct cover *c, const struct grant *a, const struct cell *cell)
{
    if (!origins_meet(a, cell->grant) || !method_meets(a, cell->method))
        return 0;
    for (size_t i = 0; i < a->http.path_count; i++) {
        int r = glob_intersects(http_path_glob(a->http.paths[i]), http_path_glob(cell->path),
                                &c->budget);
        if (r != 0)
            return r;
    }
    return 0;
}

static int grant_meets(struct cover *c, const struct grant *a, const struct grant *b)
{
    for (size_t i = 0; i < method_count(b); i++) {
        for (size_t j = 0; j < b->http.path_count; j++) {
            const struct cell cell = { b, method_at(b, i), b->http.paths[j] };
            int r = cell_meets(c, a, &cell);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

/* Has a rule of a room for all grants of b that may use it? 1, 0, < 0. */
static int counters_bear(struct cover *c, const struct grant *a)
{
    struct load load = LOAD_NONE;
    const struct grant *b;
    if (a->http.max_requests == GRANT_UNSET && a->rate_count == GRANT_UNSET)
        return 1;
    for (size_t at = 0; (b = next_of(c->b, GRANT_HTTP, &at)) != NULL;) {
        int r = grant_meets(c, a, b);
        if (r < 0)
            return r;
        if (r == 1)
            load_add(&load, b);
    }
    return load.requests <= a->http.max_requests && rate_bears(a, &load);
}

static int path_covered(struct cover *c, const struct grant *a, const char *path)
{
    CLEANUP(mem_freep) const char **patterns = mem_array(a->http.path_count, sizeof(*patterns));
    if (patterns == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < a->http.path_count; i++)
        patterns[i] = http_path_glob(a->http.paths[i]);
    int r = glob_included(http_path_glob(path), ".", patterns, a->http.path_count, &c->budget);
    return r < 0 ? r : r == 0;
}

/* Why a rule of a does not cover a cell, in the order in which it is looked at. */
enum miss {
    MISS_ORIGIN,
    MISS_METHOD,
    MISS_PATH,
    MISS_REQUIRE,
    MISS_EFFECT,
    MISS_NUMBER,
    MISS_ADDRESS,
    MISS_UPGRADE,
    MISS_COUNTER,
    MISS_EARLIER,
    MISS_NOTHING
};
static const char *const miss_texts[] = {
    [MISS_ORIGIN] = "the host",
    [MISS_METHOD] = "the method",
    [MISS_PATH] = "the path",
    [MISS_REQUIRE] = "without the required headers",
    [MISS_EFFECT] = "other headers are set or stripped",
    [MISS_NUMBER] = "max_request_bytes, max_response_bytes or timeout is larger",
    [MISS_ADDRESS] = "an address",
    [MISS_UPGRADE] = "WebSockets",
    [MISS_COUNTER] = "max_requests or rate is larger",
    [MISS_EARLIER] = "an earlier grant treats it differently",
};

/* The rules of a before `limit` that may take a request of the cell do the same to it. 1, 0, < 0. */
static int earlier_agree(struct cover *c, size_t limit, const struct cell *cell)
{
    const struct grant *a;
    for (size_t at = 0; (a = next_of(c->a, GRANT_HTTP, &at)) != NULL && at <= limit;) {
        if (effects_same(a, cell->grant) && numbers_within(a, cell->grant))
            continue;
        int r = cell_meets(c, a, cell);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return 1;
}

/* An enum miss, or < 0. `place`: of the rule in the set. */
static int cell_miss(struct cover *c, const struct grant *a, size_t place, const struct cell *cell)
{
    const struct grant *b = cell->grant;
    if (!origin_covers(a, b))
        return MISS_ORIGIN;
    if (!method_covered(a, cell->method))
        return MISS_METHOD;
    int r = path_covered(c, a, cell->path);
    if (r <= 0)
        return r < 0 ? r : MISS_PATH;
    if (!pairs_within(a->http.require, a->http.require_count, b->http.require,
                      b->http.require_count))
        return MISS_REQUIRE;
    if (!effects_same(a, b))
        return MISS_EFFECT;
    if (!numbers_within(a, b))
        return MISS_NUMBER;
    if (!addresses_within(a, b))
        return MISS_ADDRESS;
    if (b->http.websocket && !a->http.websocket)
        return MISS_UPGRADE;
    r = counters_bear(c, a);
    if (r <= 0)
        return r < 0 ? r : MISS_COUNTER;
    r = earlier_agree(c, place, cell);
    return r < 0 ? r : r == 0 ? MISS_EARLIER : MISS_NOTHING;
}

static int cover_cell(struct cover *c, const struct cell *cell)
{
    int nearest = MISS_ORIGIN;
    const struct grant *a;
    for (size_t at = 0; (a = next_of(c->a, GRANT_HTTP, &at)) != NULL;) {
        int miss = cell_miss(c, a, at - 1, cell);
        if (miss < 0)
            return grant_no_memory(c->error);
        if (miss == MISS_NOTHING)
            return 0;
        nearest = MAX(nearest, miss);
    }
    return not_covered(c, cell->grant, "%s %s of %s%s: %s", cell->method, cell->path,
                       cell->grant->http.wildcard ? "*." : "", cell->grant->http.host,
                       miss_texts[nearest]);
}

/* The same decisions, counters and effects; only what one request may do can differ. */
static bool http_twins(const struct grant *a, const struct grant *b)
{
    return a->http.wildcard == b->http.wildcard && origin_same_door(a, b) &&
           strcmp(a->http.host, b->http.host) == 0 &&
           strings_same(a->http.methods, a->http.method_count, b->http.methods,
                        b->http.method_count) &&
           strings_same(a->http.paths, a->http.path_count, b->http.paths, b->http.path_count) &&
           a->http.require_count == b->http.require_count &&
           pairs_within(a->http.require, a->http.require_count, b->http.require,
                        b->http.require_count) &&
           effects_same(a, b) && a->http.websocket == b->http.websocket &&
           a->http.max_requests == b->http.max_requests && rates_same(a, b) &&
           a->http.address_count == b->http.address_count && addresses_within(a, b) &&
           addresses_within(b, a) && numbers_within(a, b);
}

static bool http_is_prefix(const struct cover *c)
{
    size_t a_at = 0, b_at = 0;
    const struct grant *b;
    while ((b = next_of(c->b, GRANT_HTTP, &b_at)) != NULL) {
        const struct grant *a = next_of(c->a, GRANT_HTTP, &a_at);
        if (a == NULL || !http_twins(a, b))
            return false;
    }
    return true;
}

static int cover_http(struct cover *c)
{
    int r = 0;
    const struct grant *b;
    if (http_is_prefix(c))
        return 0;
    for (size_t at = 0; r == 0 && (b = next_of(c->b, GRANT_HTTP, &at)) != NULL;) {
        for (size_t i = 0; r == 0 && i < method_count(b); i++) {
            for (size_t j = 0; r == 0 && j < b->http.path_count; j++) {
                const struct cell cell = { b, method_at(b, i), b->http.paths[j] };
                r = cover_cell(c, &cell);
            }
        }
    }
    return r;
}

/* ---- keyvalue ---- */

static const struct grant *rule_grant(const struct grant_rules *r, const struct pattern_rule *rule)
{
    return &r->set->grants[rule->rule];
}

/* 0, 1 and the verb that is not covered, < 0. */
static int cover_key(struct cover *c, const struct keyvalue_bucket *a, const char *pattern,
                     uint32_t verb)
{
    size_t total = 0, count = 0;
    for (size_t i = 0; i < a->rule_count; i++)
        total += a->rules[i].glob_count;
    CLEANUP(mem_freep) const char **patterns = mem_array(total, sizeof(*patterns));
    if (patterns == NULL)
        return grant_no_memory(c->error);
    for (size_t i = 0; i < a->rule_count; i++) {
        for (size_t j = 0; (a->rules[i].verbs & verb) && j < a->rules[i].glob_count; j++)
            patterns[count++] = a->rules[i].globs[j].pattern;
    }
    int r = glob_included(pattern, ".", patterns, count, &c->budget);
    return r < 0 ? grant_no_memory(c->error) : r != 0;
}

static int cover_keys(struct cover *c, const struct keyvalue_bucket *a,
                      const struct keyvalue_bucket *b, const struct pattern_rule *rule)
{
    for (size_t i = 0; i < rule->glob_count; i++) {
        for (uint32_t left = rule->verbs; left; left &= left - 1) {
            int r = cover_key(c, a, rule->globs[i].pattern, left & -left);
            if (r == 1)
                return not_covered(c, rule_grant(c->b, rule), "%s on key `%s` of bucket %s",
                                   kv_verb_names[__builtin_ctz(left)], rule->globs[i].pattern,
                                   b->name);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* 1, 0, < 0 */
static int keys_meet(struct cover *c, const struct pattern_rule *a, const struct pattern_rule *b)
{
    for (size_t i = 0; (a->verbs & b->verbs) != 0 && i < a->glob_count; i++) {
        for (size_t j = 0; j < b->glob_count; j++) {
            int r = glob_intersects(a->globs[i].pattern, b->globs[j].pattern, &c->budget);
            if (r != 0)
                return r < 0 ? grant_no_memory(c->error) : 1;
        }
    }
    return 0;
}

static int cover_key_rates(struct cover *c, const struct keyvalue_bucket *a,
                           const struct keyvalue_bucket *b)
{
    for (size_t i = 0; i < a->rule_count; i++) {
        const struct grant *limit = rule_grant(c->a, &a->rules[i]);
        struct load load = LOAD_NONE;
        for (size_t j = 0; limit->rate_count != GRANT_UNSET && j < b->rule_count; j++) {
            int r = keys_meet(c, &a->rules[i], &b->rules[j]);
            if (r < 0)
                return r;
            if (r == 1)
                load_add(&load, rule_grant(c->b, &b->rules[j]));
        }
        if (!rate_bears(limit, &load))
            return not_covered(c, NULL, "rate of bucket %s: more than what %s allows", b->name,
                               limit->origin ? limit->origin : "the other");
    }
    return 0;
}

static bool bucket_is_prefix(const struct cover *c, const struct keyvalue_bucket *a,
                             const struct keyvalue_bucket *b)
{
    bool same = b->rule_count <= a->rule_count;
    for (size_t i = 0; same && i < b->rule_count; i++) {
        const struct grant *x = rule_grant(c->a, &a->rules[i]), *y = rule_grant(c->b, &b->rules[i]);
        same = x->keyvalue.verbs == y->keyvalue.verbs && rates_same(x, y) &&
               strings_same(x->keyvalue.keys, x->keyvalue.key_count, y->keyvalue.keys,
                            y->keyvalue.key_count);
    }
    return same;
}

static int cover_bucket(struct cover *c, const struct keyvalue_bucket *b)
{
    const struct keyvalue_bucket *a = keyvalue_bucket_find(c->a, b->name);
    int r = 0;
    if (a == NULL)
        return not_covered(c, rule_grant(c->b, &b->rules[0]), "bucket %s", b->name);
    if (!bucket_is_prefix(c, a, b)) {
        for (size_t i = 0; r == 0 && i < b->rule_count; i++)
            r = cover_keys(c, a, b, &b->rules[i]);
        if (r == 0)
            r = cover_key_rates(c, a, b);
    }
    if (r == 0 && grant_keyvalue_max_bytes(c->b, b->name) > grant_keyvalue_max_bytes(c->a, b->name))
        r = not_covered(c, NULL, "max_bytes of bucket %s is larger", b->name);
    return r;
}

int cover_services(struct cover *c)
{
    c->budget.empty_names = true;
    int r = cover_http(c);
    for (size_t i = 0; r == 0 && i < c->b->bucket_count; i++)
        r = cover_bucket(c, &c->b->buckets[i]);
    c->budget.empty_names = false;
    return r;
}
