/* SPDX-License-Identifier: Apache-2.0 */
/* Grants of services in a grant file: http and keyvalue. What their parts must be is check_service.c;
 * here is where they stand. */
#include "grant/reader.h"

#include <string.h>

static int read_rate(struct reader *r, const json_t *node, struct grant *g)
{
    const char *text;
    int result = read_string(r, node, "`rate`", &text);
    if (result < 0) {
        error_hint(r->error, "write a whole number and s, min or h: 30/min");
        return result;
    }
    result = rate_parse(text, &g->rate_count, &g->rate_ns, r->error);
    if (result < 0) {
        error_prefix(r->error, "`rate`");
        return at_node(r, node, result);
    }
    return 0;
}

/* ---- http ---- */

static int read_headers(struct reader *r, const json_t *node, const char *key,
                        int (*value_check)(const char *, struct error *), struct grant_pair **ret,
                        size_t *ret_count)
{
    char noun[64];
    (void)snprintf(noun, sizeof(noun), "`%s`", key);
    if (!json_is_object(node)) {
        int result = fail_type(r, node, noun, "a mapping");
        error_hint(r->error, "write `%s: { accept: application/json }`", key);
        return result;
    }
    size_t count = json_object_size(node);
    if (count == 0)
        return at_node(r, node, error_set(r->error, -EINVAL, "%s is empty: leave it out", noun));
    if (count > GRANT_HEADERS_MAX)
        return at_node(
            r, node,
            error_set(r->error, -EINVAL, "more than %d headers in %s", GRANT_HEADERS_MAX, noun));
    struct grant_pair *pairs = *ret = mem_array(count, sizeof(*pairs));
    if (pairs == NULL)
        return grant_no_memory(r->error);
    for (struct member m = { 0 }; member_next(r, node, &m);) {
        struct grant_pair *pair = &pairs[(*ret_count)++];
        int result = http_header_name_check(m.key, r->error);
        if (result < 0)
            return at_key(r, node, m.key, result);
        pair->key = mem_strdup(m.key);
        if (pair->key == NULL)
            return grant_no_memory(r->error);
        lower_case(pair->key);
        result = read_string_copy(r, m.value, "a value", &pair->value);
        if (result == 0) {
            result = value_check(pair->value, r->error);
            if (result < 0)
                (void)at_node(r, m.value, result);
        }
        if (result < 0) {
            error_prefix(r->error, "%s of %s", m.key, noun);
            return result;
        }
    }
    return 0;
}

static int read_address(struct reader *r, const json_t *node, struct network *ret)
{
    const char *text;
    int result = read_string(r, node, "an address", &text);
    if (result < 0)
        return result;
    result = network_parse(bytes_of(text), ret, r->error);
    return result < 0 ? at_node(r, node, result) : 0;
}

static int read_addresses(struct reader *r, const json_t *node, struct grant *g)
{
    size_t count = json_array_size(node);
    if (!json_is_array(node)) {
        int result = fail_type(r, node, "`addresses`", "a list");
        error_hint(r->error, "write `addresses: [127.0.0.0/8]`");
        return result;
    }
    if (count == 0)
        return at_node(
            r, node,
            error_set(r->error, -EINVAL,
                      "`addresses` is empty: leave it out for global addresses and no others"));
    if (count > GRANT_ADDRESSES_MAX)
        return at_node(r, node,
                       error_set(r->error, -EINVAL, "more than %d addresses in one grant",
                                 GRANT_ADDRESSES_MAX));
    g->http.addresses = mem_array(count, sizeof(*g->http.addresses));
    if (g->http.addresses == NULL)
        return grant_no_memory(r->error);
    for (size_t i = 0; i < count; i++) {
        int result = read_address(r, json_array_get(node, i), &g->http.addresses[i]);
        if (result < 0)
            return result;
        g->http.address_count++;
    }
    return 0;
}

/* 1: the key is none of these; so for the next two. */
static int read_http_list(struct reader *r, const char *key, const json_t *value, struct grant *g)
{
    static const struct list_kind methods = { "methods",         "method", "GET and HEAD",
                                              GRANT_METHODS_MAX, false,    http_method_check },
                                  paths = { "paths", "path",         "any path", GRANT_PATTERNS_MAX,
                                            false,   http_path_check },
                                  strip = { "strip_headers",   "header", "none",
                                            GRANT_HEADERS_MAX, true,     http_header_name_check };
    if (strcmp(key, "methods") == 0)
        return read_string_list(r, value, &methods, &g->http.methods, &g->http.method_count);
    if (strcmp(key, "paths") == 0)
        return read_string_list(r, value, &paths, &g->http.paths, &g->http.path_count);
    if (strcmp(key, "strip_headers") == 0)
        return read_string_list(r, value, &strip, &g->http.strip, &g->http.strip_count);
    if (strcmp(key, "require_headers") == 0)
        return read_headers(r, value, key, http_header_value_check, &g->http.require,
                            &g->http.require_count);
    if (strcmp(key, "set_headers") == 0)
        return read_headers(r, value, key, http_template_check, &g->http.set, &g->http.set_count);
    return strcmp(key, "addresses") == 0 ? read_addresses(r, value, g) : 1;
}

static int read_http_amount(struct reader *r, const char *key, const json_t *value, struct grant *g)
{
    if (strcmp(key, "max_requests") == 0)
        return read_amount(r, value, key, UNIT_COUNT, &g->http.max_requests);
    if (strcmp(key, "max_request_bytes") == 0)
        return read_amount(r, value, key, UNIT_SIZE, &g->http.max_request_bytes);
    if (strcmp(key, "max_response_bytes") == 0)
        return read_amount(r, value, key, UNIT_SIZE, &g->http.max_response_bytes);
    if (strcmp(key, "timeout") == 0)
        return read_amount(r, value, key, UNIT_DURATION, &g->http.timeout_ns);
    return strcmp(key, "rate") == 0 ? read_rate(r, value, g) : 1;
}

static int read_flag(struct reader *r, const json_t *node, const char *noun, bool *ret)
{
    if (!json_is_boolean(node)) {
        int result = fail_type(r, node, noun, "true or false");
        error_hint(r->error, "write `websocket: true`");
        return result;
    }
    *ret = json_is_true(node);
    return 0;
}

/* The keys of an http item but `http` itself. */
static int read_http_key(struct reader *r, const json_t *item, const char *key, const json_t *value,
                         struct grant *g)
{
    static const char *const keys[] = {
        "http",          "methods",      "paths",     "require_headers",   "set_headers",
        "strip_headers", "max_requests", "rate",      "max_request_bytes", "max_response_bytes",
        "timeout",       "addresses",    "websocket",
    };
    int result = read_http_list(r, key, value, g);
    if (result == 1)
        result = read_http_amount(r, key, value, g);
    if (result == 1 && strcmp(key, "websocket") == 0)
        result = read_flag(r, value, "`websocket`", &g->http.websocket);
    if (result != 1)
        return result;
    if (strcmp(key, "registry_guard") == 0)
        return at_key(
            r, item, key,
            error_set(r->error, -EINVAL, "the key `%s` is not available in this version", key));
    return at_key(r, item, key,
                  fail_word(r, "key", key, " in a grant of http", keys, ARRAY_SIZE(keys)));
}

int read_http(struct reader *r, const json_t *item, const json_t *value, struct grant *g)
{
    const char *origin;
    grant_service_init(g);
    int result = read_string(r, value, "`http`", &origin);
    if (result < 0)
        return result;
    result = http_origin_read(origin, g, r->error);
    if (result < 0)
        return at_node(r, value, result);
    for (struct member m = { 0 }; member_next(r, item, &m);) {
        result = strcmp(m.key, "http") == 0 ? 0 : read_http_key(r, item, m.key, m.value, g);
        if (result < 0)
            return result;
    }
    return g->http.paths ? 0 : strings_of_one("/**", &g->http.paths, &g->http.path_count, r->error);
}

/* ---- keyvalue ---- */

static int read_keyvalue_key(struct reader *r, const json_t *item, const char *key,
                             const json_t *value, struct grant *g)
{
    static const char *const names[] = { "keyvalue", "allow", "keys", "rate", "max_bytes" };
    static const struct list_kind keys = { "keys", "pattern",     "every key", GRANT_PATTERNS_MAX,
                                           false,  glob_check_any };
    if (strcmp(key, "allow") == 0)
        return read_word_list(r, value, "allow", "verb", kv_verb_names, KV_VERB_COUNT,
                              &g->keyvalue.verbs);
    if (strcmp(key, "keys") == 0)
        return read_string_list(r, value, &keys, &g->keyvalue.keys, &g->keyvalue.key_count);
    if (strcmp(key, "rate") == 0)
        return read_rate(r, value, g);
    if (strcmp(key, "max_bytes") == 0)
        return read_amount(r, value, key, UNIT_SIZE, &g->keyvalue.max_bytes);
    return at_key(r, item, key,
                  fail_word(r, "key", key, " in a grant of keyvalue", names, ARRAY_SIZE(names)));
}

int read_keyvalue(struct reader *r, const json_t *item, const json_t *value, struct grant *g)
{
    grant_service_init(g);
    int result = read_string_copy(r, value, "`keyvalue`", &g->keyvalue.bucket);
    if (result < 0)
        return result;
    for (struct member m = { 0 }; member_next(r, item, &m);) {
        result = strcmp(m.key, "keyvalue") == 0 ? 0 : read_keyvalue_key(r, item, m.key, m.value, g);
        if (result < 0)
            return result;
    }
    if (g->keyvalue.verbs == 0) {
        result =
            at_node(r, item, error_set(r->error, -EINVAL, "a grant of keyvalue needs `allow`"));
        error_hint(r->error, "write a list such as `allow: [get, set]`");
        return result;
    }
    return g->keyvalue.keys
               ? 0
               : strings_of_one("**", &g->keyvalue.keys, &g->keyvalue.key_count, r->error);
}
