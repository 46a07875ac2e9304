/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants of services: http and keyvalue. What is allowed, what comes nearest, the smallest grant,
 * and "b is covered by a" beside traces that count as egress and the worker do.
 */
#include "grant_random.h"
#include "test.h"

#define V "version: 1\ngrants:\n"

static struct grant_rules *rules_of(const struct grant_set *s)
{
    struct grant_rules *r = NULL;
    CHECK_EQ(grant_rules_new(s, "/w", &r, NULL), 0);
    return r;
}

static struct grant_set *read_set(const char *text)
{
    struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    if (grant_set_parse("t", "/w", text, strlen(text), &s, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return s;
}

struct asked {
    struct url url;
    struct http_field fields[4];
    struct grant_http_request request;
};

static void ask(struct asked *a, const char *method, const char *url, const char *header)
{
    struct error e = ERROR_INIT;
    url_init(&a->url);
    if (url_parse(&a->url, bytes_of(url), &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", url, e.what);
    a->request = (struct grant_http_request){ &a->url, bytes_of(method), a->fields, 0 };
    if (header)
        a->fields[a->request.header_count++] =
            (struct http_field){ bytes_of("x-r"), bytes_of(header) };
}

static const char grants[] = V "  - http: https://api.test\n" /* 0 */
                               "    paths: [/repos/**, /, /dir/, /one/*, /\\*]\n"
                               "  - http: https://*.api.test\n" /* 1 */
                               "    methods: [POST]\n"
                               "  - http: http://api.test:8080\n" /* 2 */
                               "    methods: [\"*\"]\n"
                               "    require_headers: { X-R: yes }\n"
                               "  - http: https://deep.api.test\n" /* 3 */
                               "    methods: [POST, PUT]\n"
                               "    paths: [/a]\n"
                               "  - http: http://127.0.0.1\n" /* 4 */
                               "    addresses: [127.0.0.1]\n";

TEST(decide_http_table)
{
    static const struct {
        const char *method, *url, *header;
        enum grant_reason reason;
        uint32_t rule;
    } table[] = {
        { "GET", "https://api.test/repos", NULL, GRANT_ALLOWED, 0 },
        { "HEAD", "https://API.test./repos/a/b?x=/../y", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test:443/repos//", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test/", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test/dir/", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test/*", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test/one/x", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test/x/../repos/y", NULL, GRANT_ALLOWED, 0 },
        { "GET", "https://api.test/repos/../x", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test/dir", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test/dir//", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test//", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test/one/", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test/one", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test/one/x/y", NULL, GRANT_NO_PATH, 0 },
        { "GET", "https://api.test/Repos", NULL, GRANT_NO_PATH, 0 },
        { "POST", "https://api.test/repos", NULL, GRANT_NO_METHOD, 0 },
        { "get", "https://api.test/repos", NULL, GRANT_NO_METHOD, 0 },
        { "GET", "http://api.test/repos", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "GET", "https://api.test:444/repos", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "GET", "https://api.tes/repos", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "GET", "https://xapi.test/repos", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "GET", "https://api.test.evil/repos", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "POST", "https://x.api.test/any//thing", NULL, GRANT_ALLOWED, 1 },
        { "POST", "https://x.y.z.api.test/", NULL, GRANT_ALLOWED, 1 },
        { "GET", "https://x.api.test/", NULL, GRANT_NO_METHOD, 1 },
        { "POST", "https://xapi.test/", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "POST", "https://deep.api.test/a", NULL, GRANT_ALLOWED, 1 }, /* both: the first */
        { "PUT", "https://deep.api.test/a", NULL, GRANT_ALLOWED, 3 },
        { "PUT", "https://deep.api.test/b", NULL, GRANT_NO_METHOD, 1 },
        { "DELETE", "https://deep.api.test/b", NULL, GRANT_NO_METHOD, 1 },
        { "PATCH", "http://api.test:8080/", "yes", GRANT_ALLOWED, 2 },
        { "PATCH", "http://api.test:8080/", "no", GRANT_NO_HEADER, 2 },
        { "PATCH", "http://api.test:8080/", NULL, GRANT_NO_HEADER, 2 },
        { "CONNECT", "http://api.test:8080/", "yes", GRANT_NO_METHOD, 2 },
        { "TRACE", "http://api.test:8080/", "yes", GRANT_NO_METHOD, 2 },
        { "trace", "http://api.test:8080/", "yes", GRANT_NO_METHOD, 2 },
        { "GET", "http://127.0.0.1/", NULL, GRANT_ALLOWED, 4 },
        { "GET", "http://127.0.0.2/", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "GET", "http://[::1]/", NULL, GRANT_NO_GRANT, GRANT_NO_RULE },
    };
    CLEANUP(grant_set_freep) struct grant_set *s = read_set(grants);
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct asked a;
        ask(&a, table[i].method, table[i].url, table[i].header);
        struct grant_decision d = grant_decide_http(r, &a.request, 0);
        if (d.reason != table[i].reason || d.rule != table[i].rule)
            test_fail(__FILE__, __LINE__, "%s %s: %s, rule %u", table[i].method, table[i].url,
                      grant_reason_text(d.reason), d.rule);
        url_done(&a.url);
    }
    struct asked a;
    ask(&a, "POST", "https://deep.api.test/a", NULL);
    CHECK_EQ(grant_decide_http(r, &a.request, 1).rule, 1);
    CHECK_EQ(grant_decide_http(r, &a.request, 2).rule, 3);
    CHECK_EQ(grant_decide_http(r, &a.request, 4).reason, GRANT_NO_GRANT);
    url_done(&a.url);
    /* A second field of that name, with another value. */
    ask(&a, "GET", "http://api.test:8080/", "yes");
    a.fields[a.request.header_count++] = (struct http_field){ bytes_of("x-r"), bytes_of("no") };
    CHECK_EQ(grant_decide_http(r, &a.request, 0).reason, GRANT_NO_HEADER);
    a.fields[1].value = bytes_of("yes");
    CHECK_EQ(grant_decide_http(r, &a.request, 0).reason, GRANT_ALLOWED);
    url_done(&a.url);
}

TEST(decide_address_table)
{
    static const struct {
        const char *address;
        enum grant_reason reason;
    } table[] = {
        { "8.8.8.8", GRANT_ALLOWED },
        { "2606:4700::1111", GRANT_ALLOWED },
        { "127.0.0.1", GRANT_ALLOWED },
        { "127.255.0.1", GRANT_ALLOWED },
        { "::ffff:127.0.0.1", GRANT_ALLOWED },
        { "64:ff9b::7f00:1", GRANT_ALLOWED },
        { "fd00::1", GRANT_ALLOWED },
        { "10.0.0.1", GRANT_NO_ADDRESS },
        { "::ffff:10.0.0.1", GRANT_NO_ADDRESS },
        { "64:ff9b::a00:1", GRANT_NO_ADDRESS },
        { "::1", GRANT_NO_ADDRESS },
        { "fe80::1", GRANT_NO_ADDRESS },
        { "0.0.0.0", GRANT_NO_ADDRESS },
        { "255.255.255.255", GRANT_NO_ADDRESS },
        { "169.254.1.1", GRANT_ALLOWED },
        { "169.254.169.254", GRANT_NEVER_ADDRESS },
        { "::ffff:169.254.169.254", GRANT_NEVER_ADDRESS },
        { "64:ff9b::a9fe:a9fe", GRANT_NEVER_ADDRESS },
        { "2002:a9fe:a9fe::1", GRANT_NEVER_ADDRESS },
        { "fd00:ec2::254", GRANT_NEVER_ADDRESS },
    };
    CLEANUP(grant_set_freep)
    struct grant_set *s =
        read_set(V "  - http: https://h.test\n"
                   "    addresses: [127.0.0.0/8, 169.254.0.0/16, \"fd00::/8\", \"::ffff:0:0/96\"]\n"
                   "  - env: { A: b }\n");
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct address a;
        CHECK_EQ(address_parse(bytes_of(table[i].address), &a), 0);
        enum grant_reason reason = grant_decide_address(r, 0, &a);
        if (reason != table[i].reason)
            test_fail(__FILE__, __LINE__, "%s: %s", table[i].address, grant_reason_text(reason));
        /* A rule of another class, and none, list nothing. */
        reason = grant_decide_address(r, i % 2 ? 1 : GRANT_NO_RULE, &a);
        CHECK_EQ(reason == GRANT_ALLOWED, address_kind(&a) == ADDRESS_GLOBAL);
    }
}

TEST(decide_keyvalue_table)
{
    static const struct {
        const char *bucket, *key;
        uint32_t verbs;
        enum grant_reason reason;
        uint32_t rule;
    } table[] = {
        { "c", "run/1", KV_GET, GRANT_ALLOWED, 0 },
        { "c", "run", KV_GET, GRANT_ALLOWED, 0 },
        { "c", "run//", KV_SET, GRANT_ALLOWED, 0 },
        { "c", "run/1", KV_DELETE, GRANT_ALLOWED, 1 },
        { "c", "run/1", KV_GET | KV_DELETE, GRANT_ALLOWED, 1 },
        { "c", "run/1", KV_INCREMENT, GRANT_NO_VERB, 0 },
        { "c", "other", KV_GET, GRANT_NO_VERB, 1 },
        { "c", "other", KV_DELETE, GRANT_ALLOWED, 1 },
        { "c", NULL, 0, GRANT_ALLOWED, 0 },
        { "c", NULL, KV_GET, GRANT_ALLOWED, 0 },
        { "c", NULL, KV_LIST, GRANT_NO_VERB, 0 },
        { "d", "run/1", KV_GET, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "d", NULL, 0, GRANT_NO_GRANT, GRANT_NO_RULE },
        { "", "", KV_GET, GRANT_ALLOWED, 2 },
        { "", ".", KV_GET, GRANT_ALLOWED, 2 },
        { "", "..", KV_GET, GRANT_ALLOWED, 2 },
        { "", "/", KV_GET, GRANT_NO_PATH, 2 },
        { "", "a", KV_GET, GRANT_NO_PATH, 2 },
    };
    CLEANUP(grant_set_freep)
    struct grant_set *s = read_set(V "  - keyvalue: c\n    allow: [get, set]\n    keys: [run/**]\n"
                                     "    max_bytes: 2MiB\n"
                                     "  - keyvalue: c\n    allow: [delete]\n    max_bytes: 1MiB\n"
                                     "  - keyvalue: \"\"\n    allow: [get]\n"
                                     "    keys: [., \"\\\\.\", ..]\n");
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const char *key = table[i].key;
        struct grant_decision d =
            grant_decide_keyvalue(r, table[i].bucket, key, key ? strlen(key) : 0, table[i].verbs);
        if (d.reason != table[i].reason || d.rule != table[i].rule)
            test_fail(__FILE__, __LINE__, "row %zu: %s, rule %u", i, grant_reason_text(d.reason),
                      d.rule);
    }
    CHECK_EQ(grant_keyvalue_max_bytes(r, "c"), 1 << 20);
    CHECK_EQ(grant_keyvalue_max_bytes(r, ""), 16 << 20);
    CHECK_EQ(grant_keyvalue_max_bytes(r, "nowhere"), 16 << 20);
}

TEST(websockets_by_grant)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s =
        read_set(V "  - http: https://a.test\n"
                   "  - http: https://a.test\n    paths: [/ws]\n    websocket: true\n");
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    CLEANUP(grant_done) struct grant g = { 0 };
    struct asked a;
    ask(&a, "GET", "https://a.test/ws", NULL);
    CHECK_EQ(grant_decide_http(r, &a.request, 0).rule, 0);
    a.request.upgrade = true;
    struct grant_decision d = grant_decide_http(r, &a.request, 0);
    CHECK(d.reason == GRANT_ALLOWED && d.rule == 1);
    url_done(&a.url);
    ask(&a, "GET", "https://a.test/x", NULL);
    a.request.upgrade = true;
    d = grant_decide_http(r, &a.request, 0);
    CHECK(d.reason == GRANT_NO_UPGRADE && d.rule == 0);
    CHECK_EQ(grant_propose_http(r, &a.request, d.reason, NULL, &g, NULL), 0);
    CHECK_EQ(grant_print(&g, &text, NULL), 0);
    CHECK_HAS(buf_cstr(&text), "websocket: true");
    url_done(&a.url);
}

/* ---- the smallest grant ---- */

static bool allowed(const struct grant_set *s, const struct grant_http_request *request,
                    const struct address *address)
{
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    struct grant_decision d = grant_decide_http(r, request, 0);
    while (d.reason == GRANT_ALLOWED) {
        if (grant_decide_address(r, d.rule, address) == GRANT_ALLOWED)
            return true;
        d = grant_decide_http(r, request, d.rule + 1);
    }
    return false;
}

/* The text of the set with the grant below it, as a person pastes it. */
static struct grant_set *pasted(const struct grant_set *s, const struct grant *g)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    CLEANUP(buf_done) struct buf item = BUF_INIT(1 << 20);
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    CHECK_EQ(grant_set_print(s, &text, NULL), 0);
    if (s->count == 0) {
        buf_clear(&text);
        buf_puts(&text, V);
    }
    CHECK_EQ(grant_print(g, &item, NULL), 0);
    for (const char *line = buf_cstr(&item); *line;) {
        size_t size = strcspn(line, "\n");
        buf_puts(&text, "  ");
        buf_append(&text, line, size + 1);
        line += size + 1;
    }
    return read_set(buf_cstr(&text));
}

static void draw_request(struct asked *a, struct address *ret_address)
{
    static const char *const methods[] = { "GET", "HEAD", "POST", "PROPFIND" };
    static const char *const addresses[] = { "8.8.8.8", "127.0.0.1",       "127.0.0.9", "10.1.1.1",
                                             "::1",     "::ffff:10.1.1.1", "fd00::7" };
    CLEANUP(buf_done) struct buf url = BUF_INIT(4096);
    buf_printf(&url, "%s://%s/", random_below(2) ? "https" : "http", random_hosts[random_below(4)]);
    random_service_path(&url, false);
    if (random_below(3) == 0)
        buf_puts(&url, random_below(2) ? "!*" : "*%C3%A9");
    if (random_below(3) == 0)
        buf_puts(&url, "?q=1");
    ask(a, methods[random_below(4)], buf_cstr(&url),
        random_below(2) ? random_below(2) ? "1" : "2" : NULL);
    CHECK_EQ(address_parse(bytes_of(addresses[random_below(7)]), ret_address), 0);
    if (a->url.is_address)
        *ret_address = a->url.address;
}

/* Whatever is near this request is not allowed by the proposal alone. */
static void check_smallest(const struct grant *g, const struct asked *a,
                           const struct address *address)
{
    CLEANUP(grant_set_freep) struct grant_set *none = NULL;
    CHECK_EQ(grant_set_new(&none, NULL), 0);
    CLEANUP(grant_set_freep) struct grant_set *only = pasted(none, g);
    struct grant *alone = &only->grants[0];
    CHECK(allowed(only, &a->request, address));
    CHECK_EQ(alone->http.method_count, 1);
    CHECK_EQ(alone->http.path_count, 1);
    struct grant_http_request other = a->request;
    other.method = bytes_of(bytes_are(other.method, "GET") ? "HEAD" : "GET");
    CHECK(!allowed(only, &other, address));
    struct asked near;
    CLEANUP(buf_done) struct buf url = BUF_INIT(4096);
    url_print(&a->url, &url);
    url.size = url.size - (a->url.has_query ? a->url.query.size + 1 : 0);
    buf_putc(&url, 'x');
    ask(&near, "GET", buf_cstr(&url), NULL);
    near.request.method = a->request.method;
    CHECK(!allowed(only, &near.request, address));
    url_done(&near.url);
    near.url = a->url;
    near.url.port++;
    near.request.url = &near.url;
    CHECK(!allowed(only, &near.request, address));
    near.url.port--;
    near.url.https = !near.url.https;
    CHECK(!allowed(only, &near.request, address));
    if (alone->http.address_count > 0) {
        alone->http.address_count = 0;
        CHECK(!allowed(only, &a->request, address));
    }
}

TEST(propose_http_law)
{
    int proposed = 0;
    random_begin("propose_http_law", 71);
    for (int i = 0; i < 5000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = random_service_set(5, true);
        CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
        CLEANUP(grant_done) struct grant g = { 0 };
        struct asked a;
        struct address address;
        draw_request(&a, &address);
        if (!allowed(s, &a.request, &address)) {
            struct grant_decision d = grant_decide_http(r, &a.request, 0);
            enum grant_reason reason = d.reason == GRANT_ALLOWED ? GRANT_NO_ADDRESS : d.reason;
            struct error e = ERROR_INIT;
            if (grant_propose_http(r, &a.request, reason, &address, &g, &e) < 0)
                test_fail(__FILE__, __LINE__, "%s", e.what);
            CLEANUP(grant_set_freep) struct grant_set *more = pasted(s, &g);
            CHECK(allowed(more, &a.request, &address));
            check_smallest(&g, &a, &address);
            proposed++;
        }
        url_done(&a.url);
    }
    CHECK(proposed > 2000);
}

TEST(nothing_is_proposed_where_nothing_helps)
{
    static const enum grant_reason reasons[] = { GRANT_ALLOWED,   GRANT_EXPIRED,
                                                 GRANT_REVOKED,   GRANT_NEVER_ADDRESS,
                                                 GRANT_MALFORMED, GRANT_TOO_MANY,
                                                 GRANT_RATE,      GRANT_TOO_LARGE };
    CLEANUP(grant_set_freep) struct grant_set *s = read_set(grants);
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    struct grant g = { 0 };
    struct asked a;
    struct address metadata;
    ask(&a, "GET", "https://x.test/", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        CHECK_EQ(grant_propose_http(r, &a.request, reasons[i], NULL, &g, NULL), -EINVAL);
    CHECK_EQ(address_parse(bytes_of("::ffff:169.254.169.254"), &metadata), 0);
    CHECK_EQ(grant_propose_http(r, &a.request, GRANT_NO_ADDRESS, &metadata, &g, NULL), -EINVAL);
    static const char *const methods[] = { "CONNECT", "TRACE", "*", "" };
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        a.request.method = bytes_of(methods[i]);
        CHECK_EQ(grant_propose_http(r, &a.request, GRANT_NO_GRANT, NULL, &g, NULL), -EINVAL);
    }
    url_done(&a.url);
    ask(&a, "GET", "http://169.254.169.254/latest", NULL);
    CHECK_EQ(grant_propose_http(r, &a.request, GRANT_NO_GRANT, NULL, &g, NULL), -EINVAL);
    url_done(&a.url);
}

TEST(propose_keyvalue_law)
{
    static const char *const keys[] = { "",  ".",    "..", "a",   "/",   "//",  "/a",    "a/",
                                        "*", "a**b", "!a", "[a]", "\\.", "{a}", "a/../b" };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        for (uint32_t verb = 1; verb < KV_ALL; verb *= 2) {
            CLEANUP(grant_done) struct grant g = { 0 };
            CLEANUP(grant_set_freep) struct grant_set *none = NULL;
            CHECK_EQ(grant_set_new(&none, NULL), 0);
            CHECK_EQ(grant_propose_keyvalue(i % 2 ? "b" : "", keys[i], verb, &g, NULL), 0);
            CLEANUP(grant_set_freep) struct grant_set *s = pasted(none, &g);
            CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
            for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
                struct grant_decision d =
                    grant_decide_keyvalue(r, i % 2 ? "b" : "", keys[k], strlen(keys[k]), verb);
                if ((d.reason == GRANT_ALLOWED) != (i == k))
                    test_fail(__FILE__, __LINE__, "%s allows %s", g.keyvalue.keys[0], keys[k]);
            }
            CHECK_EQ(grant_decide_keyvalue(r, "other", keys[i], strlen(keys[i]), verb).reason,
                     GRANT_NO_GRANT);
            CHECK(grant_decide_keyvalue(r, i % 2 ? "b" : "", keys[i], strlen(keys[i]),
                                        verb == KV_GET ? KV_SET : KV_GET)
                      .reason != GRANT_ALLOWED);
        }
    }
}

/* ---- covers, beside traces ---- */

/* One run that counts: no time passes, so a rate is a number of requests, too. */
struct trace {
    struct grant_rules *rules;
    uint64_t used[8];
};

static bool room_left(const struct trace *t, uint32_t rule, const struct grant *g)
{
    return t->used[rule] < MIN(g->http.max_requests, g->rate_count);
}

/* The grant that takes the request, or NULL. */
static const struct grant *trace_http(struct trace *t, const struct asked *a,
                                      const struct address *address, uint64_t bytes)
{
    struct grant_decision d = grant_decide_http(t->rules, &a->request, 0);
    for (; d.reason == GRANT_ALLOWED; d = grant_decide_http(t->rules, &a->request, d.rule + 1)) {
        const struct grant *g = grant_rules_grant(t->rules, d.rule);
        if (grant_decide_address(t->rules, d.rule, address) != GRANT_ALLOWED ||
            !room_left(t, d.rule, g))
            continue;
        t->used[d.rule]++;
        return bytes <= g->http.max_request_bytes ? g : NULL;
    }
    return NULL;
}

static bool same_effect(const struct grant *a, const struct grant *b)
{
    return a->http.set_count == b->http.set_count && a->http.strip_count == b->http.strip_count &&
           (a->http.set_count == 0 || strcmp(a->http.set[0].value, b->http.set[0].value) == 0);
}

/* A part of `a`: some of its grants, some of them made smaller. */
static struct grant_set *part_of(const struct grant_set *a)
{
    struct grant_set *copy = NULL, *s = NULL;
    CHECK_EQ(grant_set_new(&copy, NULL), 0);
    CHECK_EQ(grant_set_new(&s, NULL), 0);
    CHECK_EQ(grant_set_merge(copy, a, NULL), 0);
    for (size_t i = 0; i < copy->count; i++) {
        struct grant g = copy->grants[i];
        copy->grants[i] = (struct grant){ .class = g.class };
        if (random_below(3) == 0 && g.class == GRANT_HTTP && g.http.max_requests != GRANT_UNSET)
            g.http.max_requests = 1;
        if (random_below(3) == 0 && g.class == GRANT_HTTP && g.http.wildcard)
            g.http.wildcard = false;
        if (random_below(4) == 0)
            grant_done(&g);
        else
            CHECK_EQ(grant_set_add(s, &g, NULL), 0);
    }
    grant_set_free(copy);
    return s;
}

TEST(covers_http_law)
{
    int covered = 0;
    random_begin("covers_http_law", 72);
    for (int i = 0; i < 6000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *a = random_service_set(4, true);
        CLEANUP(grant_set_freep)
        struct grant_set *b = random_below(3) ? part_of(a) : random_service_set(2, true);
        CHECK_EQ(grant_covers(a, a, NULL, NULL), 0);
        if (grant_covers(a, b, NULL, NULL) != 0)
            continue;
        covered += b->count > 0;
        CLEANUP(grant_rules_freep) struct grant_rules *a_rules = rules_of(a);
        CLEANUP(grant_rules_freep) struct grant_rules *b_rules = rules_of(b);
        struct trace x = { .rules = a_rules }, y = { .rules = b_rules };
        for (int n = 0; n < 60; n++) {
            struct asked q;
            struct address address;
            uint64_t bytes = random_below(3);
            draw_request(&q, &address);
            const struct grant *by_b = trace_http(&y, &q, &address, bytes);
            const struct grant *by_a = trace_http(&x, &q, &address, bytes);
            if (by_b != NULL && (by_a == NULL || !same_effect(by_a, by_b))) {
                struct buf text = BUF_INIT(1 << 20);
                CHECK_EQ(grant_set_print(a, &text, NULL), 0);
                buf_puts(&text, "---- covers\n");
                CHECK_EQ(grant_set_print(b, &text, NULL), 0);
                url_print(&q.url, &text);
                test_fail(__FILE__, __LINE__, "%s", buf_cstr(&text));
            }
            if (by_b == NULL && by_a != NULL) /* what b refuses does not count */
                for (uint32_t rule = 0; rule < a->count; rule++)
                    x.used[rule] -= by_a == grant_rules_grant(a_rules, rule);
            url_done(&q.url);
        }
    }
    CHECK(covered > 500);
}

TEST(covers_keyvalue_law)
{
    int covered = 0;
    random_begin("covers_keyvalue_law", 73);
    for (int i = 0; i < 5000; i++) {
        CLEANUP(grant_set_freep) struct grant_set *a = random_service_set(4, false);
        CLEANUP(grant_set_freep)
        struct grant_set *b = random_below(2) ? part_of(a) : random_service_set(2, false);
        CHECK_EQ(grant_covers(a, a, NULL, NULL), 0);
        if (grant_covers(a, b, NULL, NULL) != 0)
            continue;
        covered += b->count > 0;
        CLEANUP(grant_rules_freep) struct grant_rules *x = rules_of(a);
        CLEANUP(grant_rules_freep) struct grant_rules *y = rules_of(b);
        CHECK(b->count == 0 || grant_keyvalue_max_bytes(y, b->grants[0].keyvalue.bucket) <=
                                   grant_keyvalue_max_bytes(x, b->grants[0].keyvalue.bucket));
        for (int n = 0; n < 60; n++) {
            CLEANUP(buf_done) struct buf key = BUF_INIT(256);
            const char *bucket = random_below(2) ? "b" : "";
            uint32_t verb = 1u << random_below(KV_VERB_COUNT);
            random_service_path(&key, false);
            const char *text = buf_cstr(&key);
            if (grant_decide_keyvalue(y, bucket, text, key.size, verb).reason == GRANT_ALLOWED)
                CHECK_EQ(grant_decide_keyvalue(x, bucket, text, key.size, verb).reason,
                         GRANT_ALLOWED);
        }
    }
    CHECK(covered > 500);
}

TEST(covers_service_table)
{
#define H V "  - http: https://a.test\n"
    static const struct {
        const char *a, *b;
        bool covers;
    } table[] = {
        { H, H, true },
        { V "  - http: https://*.test\n", H, true },
        { V "  - http: https://*.a.test\n", H, false },
        { H, V "  - http: https://*.a.test\n", false },
        { V "  - http: https://*.test\n", V "  - http: https://*.a.test\n", true },
        { H, V "  - http: http://a.test\n", false },
        { H, V "  - http: https://a.test:444\n", false },
        { H, H "    methods: [GET]\n", true },
        { H "    methods: [GET]\n", H, false },
        { H "    methods: [\"*\"]\n", H, true },
        { H, H "    methods: [\"*\"]\n", false },
        { H "    paths: [/a/**, /b]\n", H "    paths: [/a/x, /b]\n", true },
        { H "    paths: [/a/*]\n", H "    paths: [/a/]\n", false },
        { H "    paths: [/a/**]\n", H "    paths: [/a/]\n", true },
        { H "    paths: [/a/*]\n", H "    paths: [/*/x]\n", false },
        { H, H "    require_headers: { x: y }\n", true },
        { H "    require_headers: { x: y }\n", H, false },
        { H, H "    set_headers: { x: y }\n", false },
        { H "    set_headers: { x: y }\n", H, false },
        { H "    strip_headers: [x]\n", H, false },
        { H, H "    max_requests: 1\n", true },
        { H "    max_requests: 2\n", H "    max_requests: 3\n", false },
        { H "    max_requests: 2\n", H "    max_requests: 1\n    paths: [/a]\n", true },
        { H "    max_requests: 2\n",
          H "    max_requests: 1\n    paths: [/a]\n  - http: https://a.test\n    max_requests: 2\n"
            "    paths: [/b]\n",
          false },
        { H "    rate: 60/min\n", H "    rate: 60/h\n", true },
        { H "    rate: 60/min\n", H "    rate: 1/s\n", false },
        { H "    timeout: 1s\n", H, false },
        { H, H "    addresses: [10.0.0.0/8]\n", false },
        { H "    addresses: [10.0.0.0/8]\n", H "    addresses: [10.1.0.0/16]\n", true },
        { H "    max_request_bytes: 1\n  - http: https://a.test\n", H, false },
        { H "  - http: https://a.test\n    max_request_bytes: 1\n", H, true },
        { V "  - keyvalue: c\n    allow: [get]\n",
          V "  - keyvalue: c\n    allow: [get]\n"
            "    keys: [a]\n",
          true },
        { V "  - keyvalue: c\n    allow: [get]\n", V "  - keyvalue: d\n    allow: [get]\n", false },
        { V "  - keyvalue: c\n    allow: [get]\n", V "  - keyvalue: c\n    allow: [set]\n", false },
        { V "  - keyvalue: c\n    allow: [get]\n    max_bytes: 1MiB\n",
          V "  - keyvalue: c\n    allow: [get]\n", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        CLEANUP(grant_set_freep) struct grant_set *a = read_set(table[i].a);
        CLEANUP(grant_set_freep) struct grant_set *b = read_set(table[i].b);
        CLEANUP(buf_done) struct buf why = BUF_INIT(4096);
        int r = grant_covers(a, b, &why, NULL);
        if (r != !table[i].covers)
            test_fail(__FILE__, __LINE__, "row %zu: %s", i, buf_cstr(&why));
    }
}

/* Rules of other hosts cost nothing but the search among origins. */
TEST(decide_http_looks_at_its_own_host)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    buf_puts(&text, V);
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "  - http: https://h%d.test\n", i);
    CLEANUP(grant_set_freep) struct grant_set *s = read_set(buf_cstr(&text));
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    for (int i = 0; i < 1000; i++) {
        char url[64];
        struct asked a;
        (void)snprintf(url, sizeof(url), "https://h%d.test/x", i);
        ask(&a, "GET", url, NULL);
        long live = mem_live();
        struct grant_decision d = grant_decide_http(r, &a.request, 0);
        CHECK_EQ(mem_live(), live);
        CHECK_EQ(d.reason, GRANT_ALLOWED);
        CHECK_EQ(d.rule, i);
        url_done(&a.url);
    }
}

/* What a person allowed for once: the rule allows nothing any more, the others stay what they were. */
TEST(a_retired_rule_allows_nothing)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s = read_set(V "  - http: https://a.test\n"
                                     "  - keyvalue: c\n    allow: [get]\n"
                                     "  - fs: /m\n    from: memory\n    allow: rw\n"
                                     "  - http: https://a.test\n    paths: [/x]\n");
    CLEANUP(grant_rules_freep) struct grant_rules *r = rules_of(s);
    struct asked a;
    ask(&a, "GET", "https://a.test/x", NULL);
    CHECK_EQ(grant_decide_http(r, &a.request, 0).rule, 0);
    grant_rules_retire(r, 0);
    CHECK_EQ(grant_decide_http(r, &a.request, 0).rule, 3);
    grant_rules_retire(r, 3);
    grant_rules_retire(r, 3);
    CHECK_EQ(grant_decide_http(r, &a.request, 0).reason, GRANT_NO_PATH);
    CHECK_EQ(grant_decide_keyvalue(r, "c", "k", 1, KV_GET).reason, GRANT_ALLOWED);
    grant_rules_retire(r, 1);
    CHECK_EQ(grant_decide_keyvalue(r, "c", "k", 1, KV_GET).reason, GRANT_NO_PATH);
    CHECK_EQ(grant_decide_fs(r, 0, "f", 1, FS_READ).reason, GRANT_ALLOWED);
    grant_rules_retire(r, 2);
    CHECK_EQ(grant_decide_fs(r, 0, "f", 1, FS_READ).reason, GRANT_NO_PATH);
    grant_rules_retire(r, GRANT_NO_RULE);
    url_done(&a.url);
}

/* ---- flags ---- */

TEST(net_flags_table)
{
    static const struct {
        const char *value, *text; /* NULL: refused */
    } table[] = {
        { "https://a.test", "- http: https://a.test\n" },
        { "https://A.test:8443/x/**", "- http: https://a.test:8443\n  paths: [/x/**]\n" },
        { "GET https://a.test/", "- http: https://a.test\n  methods: [GET]\n  paths: [/]\n" },
        { "GET,POST  https://*.a.test", "- http: https://*.a.test\n  methods: [GET, POST]\n" },
        { "* http://127.0.0.1:81/a",
          "- http: http://127.0.0.1:81\n  methods: [\"*\"]\n  paths: [/a]\n"
          "  addresses: [\"127.0.0.1\"]\n" },
        { "http://[::1]/", "- http: http://[::1]\n  paths: [/]\n  addresses: [\"::1\"]\n" },
        { "https://8.8.8.8/", "- http: https://8.8.8.8\n  paths: [/]\n" },
        { "", NULL },
        { " ", NULL },
        { "a.test", NULL },
        { "GET", NULL },
        { "GET, https://a.test", NULL },
        { ",GET https://a.test", NULL },
        { "get https://a.test", NULL },
        { "GET,GET https://a.test", NULL },
        { "*,GET https://a.test", NULL },
        { "https://u@a.test/", NULL },
        { "https://a.test/?q", NULL },
        { "https://a.test?q", NULL },
        { "https://a.test/#f", NULL },
        { "https://a.test/a b", NULL },
        { "https://a.test/../x", NULL },
        { "https://a.test/{a}", NULL },
        { "http://0x7f.1/", NULL },
        { "http://169.254.169.254/", NULL },
        { "https://a.test:99999", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        CLEANUP(grant_done) struct grant g = { 0 };
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
        struct error e = ERROR_INIT;
        int r = grant_from_net_flag("--net", table[i].value, &g, &e);
        if ((r == 0) != (table[i].text != NULL))
            test_fail(__FILE__, __LINE__, "`%s`: %s", table[i].value, e.what);
        if (r < 0) {
            CHECK(e.hint[0] != '\0');
            continue;
        }
        CHECK_EQ(grant_print(&g, &text, NULL), 0);
        CHECK_STR(buf_cstr(&text), table[i].text);
    }
}

TEST(keyvalue_flags_table)
{
    static const struct {
        const char *value, *bucket;
        uint32_t verbs;
    } table[] = {
        { "cache", "cache", KV_ALL }, { "cache:get,set", "cache", KV_GET | KV_SET },
        { "", "", KV_ALL },           { "a:b:list", "a:b", KV_LIST },
        { "cache:", NULL, 0 },        { "cache:read", NULL, 0 },
        { "cache:get,", NULL, 0 },    { "cache:,get", NULL, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        CLEANUP(grant_done) struct grant g = { 0 };
        int r = grant_from_keyvalue_flag("--keyvalue", table[i].value, &g, NULL);
        if ((r == 0) != (table[i].bucket != NULL))
            test_fail(__FILE__, __LINE__, "`%s`", table[i].value);
        if (r < 0)
            continue;
        CHECK_STR(g.keyvalue.bucket, table[i].bucket);
        CHECK_EQ(g.keyvalue.verbs, table[i].verbs);
    }
}

static int all_of_it(void)
{
    static const char text[] =
        V "  - http: https://*.a.test\n    methods: [GET, POST]\n    paths: [/a/**]\n"
          "    require_headers: { a: b }\n    set_headers: { c: d }\n    strip_headers: [e]\n"
          "    addresses: [127.0.0.1]\n    rate: 1/s\n"
          "  - keyvalue: c\n    allow: [get]\n    keys: [a, b]\n    rate: 1/s\n";
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    CLEANUP(grant_rules_freep) struct grant_rules *r = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 16);
    CLEANUP(grant_done) struct grant g = { 0 };
    CLEANUP(grant_done) struct grant h = { 0 };
    int result = grant_set_parse("t", "/", text, strlen(text), &s, NULL);
    if (result == 0)
        result = grant_rules_new(s, "/", &r, NULL);
    if (result == 0)
        result = grant_covers(s, s, NULL, NULL);
    if (result == 0)
        result = grant_set_print(s, &out, NULL);
    json_t *json = result == 0 ? grant_set_to_json(s) : NULL;
    if (result == 0 && json == NULL)
        result = -ENOMEM;
    json_decref(json);
    if (result == 0)
        result = grant_from_net_flag("--net", "GET,POST http://127.0.0.1/a", &g, NULL);
    if (result == 0)
        result = grant_propose_keyvalue("b", "k", KV_GET, &h, NULL);
    return result;
}

TEST(service_torture)
{
    TORTURE(all_of_it());
}

TEST_MAIN()
