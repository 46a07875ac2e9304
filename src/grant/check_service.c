/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a grant of a service (http, keyvalue) must be by itself. Its parts are checked one by one, so
 * that the reader of a grant file can place each error, and all together when the grant joins a set.
 *
 * A grant that could never match anything is an error: a path that no canonical URL has, a method
 * that no guest can send, an address that nothing may reach. Headers that frame a message or belong
 * to a connection are egress's own and nobody else's.
 */
#include "grant/internal.h"

#include <string.h>

#include "wire/http1.h"

void lower_case(char *text)
{
    for (; *text; text++) {
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
    }
}

void grant_service_init(struct grant *g)
{
    g->http.max_requests = g->http.max_request_bytes = g->http.max_response_bytes =
        g->http.timeout_ns = g->keyvalue.max_bytes = g->rate_count = g->rate_ns = GRANT_UNSET;
}

/* ---- rates ---- */

static const struct {
    const char *name;
    uint64_t ns;
} rate_units[] = {
    { "s", UINT64_C(1000000000) },
    { "min", UINT64_C(60) * 1000000000 },
    { "h", UINT64_C(3600) * 1000000000 },
};

#define RATE_MAX UINT64_C(1000000000)

int rate_parse(const char *text, uint64_t *ret_count, uint64_t *ret_ns, struct error *e)
{
    uint64_t count = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && count <= RATE_MAX; at++)
        count = count * 10 + (uint64_t)(*at - '0');
    for (size_t i = 0; at > text && *at == '/' && i < ARRAY_SIZE(rate_units); i++) {
        if (strcmp(at + 1, rate_units[i].name) != 0)
            continue;
        if (count == 0)
            return error_set(e, -EINVAL, "a rate of `%s` allows nothing", text);
        if (count > RATE_MAX)
            break;
        *ret_count = count;
        *ret_ns = rate_units[i].ns;
        return 0;
    }
    int r = error_set(e, -EINVAL, count > RATE_MAX ? "rate `%s` is too large" : "`%s` is no rate",
                      text);
    error_hint(e, "write a whole number and s, min or h: 30/min");
    return r;
}

void rate_put(struct buf *out, uint64_t count, uint64_t ns)
{
    for (size_t i = 0; i < ARRAY_SIZE(rate_units); i++) {
        if (rate_units[i].ns == ns)
            buf_printf(out, "%llu/%s", (unsigned long long)count, rate_units[i].name);
    }
}

static int rate_check(const struct grant *g, struct error *e)
{
    if (g->rate_count == GRANT_UNSET && g->rate_ns == GRANT_UNSET)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(rate_units); i++) {
        if (g->rate_ns == rate_units[i].ns && g->rate_count > 0 && g->rate_count <= RATE_MAX)
            return 0;
    }
    return error_set(e, -EINVAL, "a rate that cannot be written");
}

/* ---- where to ---- */

static int origin_fail(const char *text, struct error *e)
{
    int r = error_set(e, -EINVAL, "`%s` is not scheme://host or scheme://host:port", text);
    error_hint(e, "for example https://api.github.com or http://localhost:8080");
    return r;
}

/* `authority` through the one canonicaliser: host[:port], without a wildcard. */
static int authority_read(bool https, const char *authority, struct url *ret, struct error *e)
{
    return url_set(ret, https, bytes_of(authority), bytes_of("/"), e);
}

int http_origin_read(const char *text, struct grant *g, struct error *e)
{
    CLEANUP(url_done) struct url url;
    const char *authority = strstr(text, "://");
    url_init(&url);
    if (authority == NULL)
        return origin_fail(text, e);
    size_t scheme = (size_t)(authority - text);
    bool https = scheme == 5 && memcmp(text, "https", 5) == 0;
    if (!https && !(scheme == 4 && memcmp(text, "http", 4) == 0)) {
        int r = error_set(e, -EINVAL, "the scheme of `%s` is neither https nor http", text);
        error_hint(e, "https://HOST or http://HOST, in lower case: nothing else is spoken");
        return r;
    }
    authority += 3;
    if (strpbrk(authority, "/?#") != NULL) {
        int r = error_set(e, -EINVAL, "`%s` has more than scheme, host and port", text);
        error_hint(e, "paths go under `paths`: [/repos/**]; the query is always free");
        return r;
    }
    bool wildcard = strncmp(authority, "*.", 2) == 0;
    if (!wildcard && strchr(authority, '*') != NULL) {
        int r = error_set(e, -EINVAL, "`%s`: a `*` stands for whole labels, at the start", text);
        error_hint(e, "write https://*.example.com, and a grant of its own for example.com itself");
        return r;
    }
    int r = authority_read(https, authority + (wildcard ? 2 : 0), &url, e);
    if (r < 0)
        return r;
    if (wildcard && url.is_address)
        return error_set(e, -EINVAL, "`%s`: no name ends in an address", text);
    g->http.https = https;
    g->http.wildcard = wildcard;
    g->http.port = url.port;
    g->http.host = mem_strdup(url.host);
    return g->http.host ? 0 : grant_no_memory(e);
}

bool http_host_is_address(const struct grant *g, struct address *ret)
{
    return address_parse(bytes_of(g->http.host), ret) == 0;
}

static int origin_check(const struct grant *g, struct error *e)
{
    CLEANUP(mem_freep) char *authority = NULL;
    CLEANUP(url_done) struct url url;
    struct address address;
    url_init(&url);
    if (g->http.host == NULL || g->http.port == 0)
        return error_set(e, -EINVAL, "a grant of http without a host");
    bool is_v6 = strchr(g->http.host, ':') != NULL;
    authority = mem_printf(is_v6 ? "[%s]:%u" : "%s:%u", g->http.host, g->http.port);
    if (authority == NULL)
        return grant_no_memory(e);
    int r = authority_read(g->http.https, authority, &url, e);
    if (r < 0)
        return r;
    if (strcmp(url.host, g->http.host) != 0 || url.port != g->http.port)
        return error_set(e, -EINVAL, "host `%s` is not in its canonical form", g->http.host);
    if (!http_host_is_address(g, &address))
        return 0;
    if (g->http.wildcard)
        return error_set(e, -EINVAL, "`*.%s`: no name ends in an address", g->http.host);
    if (address_kind(&address) == ADDRESS_METADATA)
        return error_set(e, -EINVAL, "%s answers secrets of the machine: no grant may reach it",
                         g->http.host);
    return 0;
}

static int addresses_check(const struct grant *g, struct error *e)
{
    if (g->http.address_count > GRANT_ADDRESSES_MAX)
        return error_set(e, -EINVAL, "more than %d addresses in one grant", GRANT_ADDRESSES_MAX);
    for (size_t i = 0; i < g->http.address_count; i++) {
        const struct network *n = &g->http.addresses[i];
        if (n->bits == (n->address.is_v6 ? 128 : 32) &&
            address_kind(&n->address) == ADDRESS_METADATA)
            return error_set(e, -EINVAL,
                             "an address answers secrets of the machine: no grant may "
                             "reach it");
    }
    return 0;
}

/* ---- what ---- */

int http_method_check(const char *method, struct error *e)
{
    static const char *const known[] = {
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"
    };
    if (strlen(method) > 64 || !http1_token_valid(bytes_of(method)))
        return error_set(e, -EINVAL, "`%.100s` is not a method of HTTP", method);
    if (bytes_equal_fold(bytes_of(method), "connect") ||
        bytes_equal_fold(bytes_of(method), "trace")) {
        int r = error_set(e, -EINVAL, "no guest may send %s", method);
        error_hint(e, "a tunnel is no request, and TRACE echoes headers that egress put on");
        return r;
    }
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strcasecmp(method, known[i]) == 0 && strcmp(method, known[i]) != 0) {
            int r = error_set(e, -EINVAL, "method `%s`: methods are told apart by case", method);
            error_hint(e, "write %s", known[i]);
            return r;
        }
    }
    return 0;
}

static int methods_check(const struct grant *g, struct error *e)
{
    if (g->http.method_count > GRANT_METHODS_MAX)
        return error_set(e, -EINVAL, "more than %d methods in one grant", GRANT_METHODS_MAX);
    for (size_t i = 0; i < g->http.method_count; i++) {
        int r = http_method_check(g->http.methods[i], e);
        if (r < 0)
            return r;
        if (strings_have(g->http.methods, i, g->http.methods[i]))
            return error_set(e, -EINVAL, "method `%s` is named twice", g->http.methods[i]);
        if (g->http.method_count > 1 && strcmp(g->http.methods[i], "*") == 0)
            return error_set(e, -EINVAL, "`*` is any method: it stands alone");
    }
    return 0;
}

const char *http_path_glob(const char *pattern)
{
    return pattern[1] == '\0' ? "." : pattern + 1;
}

/* Wildcards and quotes taken off, what is left must be a canonical path: else nothing could match. */
static int path_check_canonical(const char *pattern, struct error *e)
{
    CLEANUP(url_done) struct url url;
    CLEANUP(buf_done) struct buf path = BUF_INIT(GRANT_PATTERN_MAX);
    url_init(&url);
    for (const char *at = pattern; *at; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        buf_putc(&path, *at);
    }
    if (buf_status(&path) < 0)
        return grant_no_memory(e);
    int r = url_set(&url, true, bytes_of("a"), bytes_of(buf_cstr(&path)), e);
    if (r < 0) {
        error_prefix(e, "path `%s`", pattern);
        return r;
    }
    if (bytes_are(url.path, buf_cstr(&path)) && !url.has_query)
        return 0;
    r = error_set(e, -EINVAL, "path `%s` is not what a request is canonicalised to", pattern);
    error_hint(e, "write `%.*s`", (int)url.path.size, (const char *)url.path.data);
    return r;
}

int http_path_check(const char *pattern, struct error *e)
{
    int r;
    if (pattern[0] != '/') {
        r = error_set(e, -EINVAL, "path `%s` does not start with `/`", pattern);
        error_hint(e, "write `/%s`", pattern);
        return r;
    }
    if (strlen(pattern) > GRANT_PATTERN_MAX)
        return error_set(e, -EINVAL, "a path is longer than %d bytes", GRANT_PATTERN_MAX);
    if (strchr(pattern, '?') != NULL) {
        r = error_set(e, -EINVAL, "path `%s` has a `?`, which begins the query", pattern);
        error_hint(e, "leave it out with what follows: grants leave the query free");
        return r;
    }
    if (strchr(pattern, '#') != NULL)
        return error_set(e, -EINVAL, "path `%s` has a `#`, which no request carries", pattern);
    r = glob_check_any(http_path_glob(pattern), e);
    return r < 0 ? r : path_check_canonical(pattern, e);
}

static int paths_check(const struct grant *g, struct error *e)
{
    if (g->http.path_count == 0)
        return error_set(e, -EINVAL, "a grant of http without paths");
    if (g->http.path_count > GRANT_PATTERNS_MAX)
        return error_set(e, -EINVAL, "more than %d paths in one grant", GRANT_PATTERNS_MAX);
    for (size_t i = 0; i < g->http.path_count; i++) {
        int r = http_path_check(g->http.paths[i], e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- headers ---- */

int http_header_name_check(const char *name, struct error *e)
{
    static const char *const framing[] = {
        "host",           "content-length", "proxy-authorization", "proxy-authenticate", "trailer",
        "http2-settings", "expect",
    };
    if (strlen(name) > GRANT_NAME_MAX || !http1_token_valid(bytes_of(name)))
        return error_set(e, -EINVAL, "`%.100s` is not the name of a header", name);
    bool ours = http1_name_of_connection(bytes_of(name));
    for (size_t i = 0; i < ARRAY_SIZE(framing); i++)
        ours = ours || strcasecmp(name, framing[i]) == 0;
    return ours ? error_set(e, -EINVAL, "`%s` is a header of the connection, which egress makes",
                            name)
                : 0;
}

int http_header_value_check(const char *value, struct error *e)
{
    if (strstr(value, "${") != NULL) {
        int r = error_set(e, -EINVAL, "`${secret:…}` stands only in `set_headers`");
        error_hint(e, "what a guest must send itself stands as it is written: it would have to "
                      "know the secret");
        return r;
    }
    return http_text_check(value, e);
}

int http_text_check(const char *value, struct error *e)
{
    if (strlen(value) > GRANT_HEADER_VALUE_MAX)
        return error_set(e, -EINVAL, "the value is longer than %d bytes", GRANT_HEADER_VALUE_MAX);
    if (!text_is_utf8(value, strlen(value)))
        return error_set(e, -EINVAL, "the value is not UTF-8");
    if (!http1_value_valid(bytes_of(value)))
        return error_set(e, -EINVAL, "the value has a control character, or a space at an end");
    return 0;
}

static int name_is_lower(const char *name, struct error *e)
{
    for (const char *at = name; *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            return error_set(e, -EINVAL, "header `%s` is not in lower case", name);
    }
    return 0;
}

static int header_pairs_check(const struct grant_pair *pairs, size_t count,
                              int (*value_check)(const char *, struct error *), struct error *e)
{
    if (count > GRANT_HEADERS_MAX)
        return error_set(e, -EINVAL, "more than %d headers", GRANT_HEADERS_MAX);
    for (size_t i = 0; i < count; i++) {
        int r = http_header_name_check(pairs[i].key, e);
        if (r == 0)
            r = name_is_lower(pairs[i].key, e);
        if (r == 0) {
            r = value_check(pairs[i].value, e);
            if (r < 0)
                error_prefix(e, "header `%s`", pairs[i].key);
        }
        for (size_t j = 0; j < i && r == 0; j++) {
            if (strcmp(pairs[i].key, pairs[j].key) == 0)
                r = error_set(e, -EINVAL, "header `%s` is named twice", pairs[i].key);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int strip_check(const struct grant *g, struct error *e)
{
    if (g->http.strip_count > GRANT_HEADERS_MAX)
        return error_set(e, -EINVAL, "more than %d headers", GRANT_HEADERS_MAX);
    for (size_t i = 0; i < g->http.strip_count; i++) {
        const char *name = g->http.strip[i];
        int r = http_header_name_check(name, e);
        if (r == 0)
            r = name_is_lower(name, e);
        if (r < 0)
            return r;
        if (strings_have(g->http.strip, i, name))
            return error_set(e, -EINVAL, "header `%s` is named twice", name);
        for (size_t j = 0; j < g->http.set_count; j++) {
            if (strcmp(g->http.set[j].key, name) == 0)
                return error_set(e, -EINVAL,
                                 "header `%s` is set and stripped: setting replaces the guest's",
                                 name);
        }
    }
    return 0;
}

/* ---- whole grants ---- */

static int number_check(uint64_t value, const char *name, bool zero_is_nothing, struct error *e)
{
    if (value != GRANT_UNSET && value > GRANT_NUMBER_MAX)
        return error_set(e, -EINVAL, "`%s` is too large", name);
    if (value == 0 && zero_is_nothing)
        return error_set(e, -EINVAL, "`%s` is zero: it grants nothing", name);
    return 0;
}

/* A WebSocket begins as a GET. */
static int websocket_check(const struct grant *g, struct error *e)
{
    if (!g->http.websocket || g->http.method_count == 0 ||
        strings_have(g->http.methods, g->http.method_count, "GET") ||
        strings_have(g->http.methods, g->http.method_count, "*"))
        return 0;
    int r = error_set(e, -EINVAL, "`websocket` in a grant without the method GET");
    error_hint(e, "a WebSocket begins as a GET: add it to `methods`");
    return r;
}

int http_check(const struct grant *g, struct error *e)
{
    int r = origin_check(g, e);
    if (r == 0)
        r = methods_check(g, e);
    if (r == 0)
        r = websocket_check(g, e);
    if (r == 0)
        r = paths_check(g, e);
    if (r == 0)
        r = header_pairs_check(g->http.require, g->http.require_count, http_header_value_check, e);
    if (r == 0)
        r = header_pairs_check(g->http.set, g->http.set_count, http_template_check, e);
    if (r == 0)
        r = http_secrets_check(g, e);
    if (r == 0)
        r = strip_check(g, e);
    if (r == 0)
        r = number_check(g->http.max_requests, "max_requests", true, e);
    if (r == 0)
        r = number_check(g->http.max_request_bytes, "max_request_bytes", false, e);
    if (r == 0)
        r = number_check(g->http.max_response_bytes, "max_response_bytes", false, e);
    if (r == 0)
        r = number_check(g->http.timeout_ns, "timeout", true, e);
    if (r == 0)
        r = rate_check(g, e);
    return r == 0 ? addresses_check(g, e) : r;
}

int keyvalue_check(const struct grant *g, struct error *e)
{
    const char *bucket = g->keyvalue.bucket;
    if (bucket == NULL)
        return error_set(e, -EINVAL, "a grant of keyvalue without a bucket");
    if (strlen(bucket) > GRANT_NAME_MAX)
        return error_set(e, -EINVAL, "the name of a bucket is longer than %d bytes",
                         GRANT_NAME_MAX);
    if (!text_is_utf8(bucket, strlen(bucket)))
        return error_set(e, -EINVAL, "the name of a bucket is not UTF-8");
    if (g->keyvalue.verbs == 0 || (g->keyvalue.verbs & ~(uint32_t)KV_ALL) != 0)
        return error_set(e, -EINVAL, "a grant of keyvalue that allows nothing");
    if (g->keyvalue.key_count == 0)
        return error_set(e, -EINVAL, "a grant of keyvalue without keys");
    if (g->keyvalue.key_count > GRANT_PATTERNS_MAX)
        return error_set(e, -EINVAL, "more than %d keys in one grant", GRANT_PATTERNS_MAX);
    for (size_t i = 0; i < g->keyvalue.key_count; i++) {
        int r = glob_check_any(g->keyvalue.keys[i], e);
        if (r < 0)
            return r;
    }
    int r = number_check(g->keyvalue.max_bytes, "max_bytes", false, e);
    return r == 0 ? rate_check(g, e) : r;
}
