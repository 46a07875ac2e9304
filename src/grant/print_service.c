/* SPDX-License-Identifier: Apache-2.0 */
/* Grants of services as text: YAML, JSON, words. What is not named in the grammar is not printed. */
#include "grant/printing.h"

#include <string.h>

static void put_origin(struct buf *out, const struct grant *g)
{
    bool is_v6 = strchr(g->http.host, ':') != NULL;
    buf_printf(out, "%s://%s%s%s%s", g->http.https ? "https" : "http", g->http.wildcard ? "*." : "",
               is_v6 ? "[" : "", g->http.host, is_v6 ? "]" : "");
    if (g->http.port != (g->http.https ? 443 : 80))
        buf_printf(out, ":%u", g->http.port);
}

static bool strings_are(char *const *strings, size_t count, const char *only)
{
    return count == 1 && strcmp(strings[0], only) == 0;
}

/* ---- YAML ---- */

static void put_key(struct buf *out, const char *indent, const char *key)
{
    buf_printf(out, "\n%s%s: ", indent, key);
}

static void put_amount(struct buf *out, const char *indent, const char *key,
                       void (*put)(struct buf *, uint64_t), uint64_t value)
{
    if (value == GRANT_UNSET)
        return;
    put_key(out, indent, key);
    if (put)
        put(out, value);
    else
        buf_printf(out, "%llu", (unsigned long long)value);
}

static void put_rate(struct buf *out, const char *indent, const struct grant *g)
{
    if (g->rate_count == GRANT_UNSET)
        return;
    put_key(out, indent, "rate");
    rate_put(out, g->rate_count, g->rate_ns);
}

static void put_network(struct buf *out, const struct network *n)
{
    bool single = n->bits == (n->address.is_v6 ? 128 : 32);
    if (single)
        address_print(&n->address, out);
    else
        network_print(n, out);
}

static void put_addresses(struct buf *out, const struct grant *g)
{
    for (size_t i = 0; i < g->http.address_count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(64);
        put_network(&text, &g->http.addresses[i]);
        buf_puts(out, i ? ", " : "[");
        yaml_put_string(out, buf_cstr(&text));
    }
    buf_putc(out, ']');
}

void put_http(struct buf *out, const struct grant *g, const char *indent)
{
    put_origin(out, g);
    if (g->http.method_count > 0) {
        put_key(out, indent, "methods");
        put_strings(out, g->http.methods, g->http.method_count);
    }
    if (!strings_are(g->http.paths, g->http.path_count, "/**")) {
        put_key(out, indent, "paths");
        put_strings(out, g->http.paths, g->http.path_count);
    }
    if (g->http.require_count > 0) {
        put_key(out, indent, "require_headers");
        put_pairs(out, g->http.require, g->http.require_count);
    }
    if (g->http.set_count > 0) {
        put_key(out, indent, "set_headers");
        put_pairs(out, g->http.set, g->http.set_count);
    }
    if (g->http.strip_count > 0) {
        put_key(out, indent, "strip_headers");
        put_strings(out, g->http.strip, g->http.strip_count);
    }
    put_amount(out, indent, "max_requests", NULL, g->http.max_requests);
    put_rate(out, indent, g);
    put_amount(out, indent, "max_request_bytes", text_put_size, g->http.max_request_bytes);
    put_amount(out, indent, "max_response_bytes", text_put_size, g->http.max_response_bytes);
    put_amount(out, indent, "timeout", text_put_duration, g->http.timeout_ns);
    if (g->http.address_count > 0) {
        put_key(out, indent, "addresses");
        put_addresses(out, g);
    }
    if (g->http.websocket) {
        put_key(out, indent, "websocket");
        buf_puts(out, "true");
    }
}

void put_keyvalue(struct buf *out, const struct grant *g, const char *indent)
{
    yaml_put_string(out, g->keyvalue.bucket);
    put_key(out, indent, "allow");
    put_words(out, g->keyvalue.verbs, kv_verb_names, KV_VERB_COUNT);
    if (!strings_are(g->keyvalue.keys, g->keyvalue.key_count, "**")) {
        put_key(out, indent, "keys");
        put_strings(out, g->keyvalue.keys, g->keyvalue.key_count);
    }
    put_rate(out, indent, g);
    put_amount(out, indent, "max_bytes", text_put_size, g->keyvalue.max_bytes);
}

/* ---- JSON ---- */

static json_t *text_to_json(struct buf *text)
{
    return buf_status(text) < 0 ? NULL : json_string(buf_cstr(text));
}

json_t *http_origin_to_json(const struct grant *g)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(URL_HOST_MAX + 32);
    put_origin(&text, g);
    return text_to_json(&text);
}

static bool rate_to_json(const struct grant *g, json_t *object)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    if (g->rate_count == GRANT_UNSET)
        return true;
    rate_put(&text, g->rate_count, g->rate_ns);
    return member_put(object, "rate", text_to_json(&text));
}

static json_t *addresses_to_json(const struct grant *g)
{
    CLEANUP(json_freep) json_t *list = json_array();
    for (size_t i = 0; list && i < g->http.address_count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(64);
        put_network(&text, &g->http.addresses[i]);
        if (json_array_append_new(list, text_to_json(&text)) < 0)
            return NULL;
    }
    return TAKE(list);
}

static bool http_amounts_to_json(const struct grant *g, json_t *object)
{
    if (g->http.max_requests != GRANT_UNSET &&
        !member_put(object, "max_requests", json_integer((json_int_t)g->http.max_requests)))
        return false;
    if (!rate_to_json(g, object))
        return false;
    if (g->http.max_request_bytes != GRANT_UNSET &&
        !member_put(object, "max_request_bytes",
                    amount_to_json(text_put_size, g->http.max_request_bytes)))
        return false;
    if (g->http.max_response_bytes != GRANT_UNSET &&
        !member_put(object, "max_response_bytes",
                    amount_to_json(text_put_size, g->http.max_response_bytes)))
        return false;
    return g->http.timeout_ns == GRANT_UNSET ||
           member_put(object, "timeout", amount_to_json(text_put_duration, g->http.timeout_ns));
}

bool http_to_json(const struct grant *g, json_t *object)
{
    bool ok = true;
    if (g->http.method_count > 0)
        ok = member_put(object, "methods", strings_to_json(g->http.methods, g->http.method_count));
    if (ok && !strings_are(g->http.paths, g->http.path_count, "/**"))
        ok = member_put(object, "paths", strings_to_json(g->http.paths, g->http.path_count));
    if (ok && g->http.require_count > 0)
        ok = member_put(object, "require_headers",
                        pairs_to_json(g->http.require, g->http.require_count));
    if (ok && g->http.set_count > 0)
        ok = member_put(object, "set_headers", pairs_to_json(g->http.set, g->http.set_count));
    if (ok && g->http.strip_count > 0)
        ok = member_put(object, "strip_headers",
                        strings_to_json(g->http.strip, g->http.strip_count));
    ok = ok && http_amounts_to_json(g, object);
    if (ok && g->http.address_count > 0)
        ok = member_put(object, "addresses", addresses_to_json(g));
    if (ok && g->http.websocket)
        ok = member_put(object, "websocket", json_true());
    return ok;
}

bool keyvalue_to_json(const struct grant *g, json_t *object)
{
    bool ok =
        member_put(object, "allow", words_to_json(g->keyvalue.verbs, kv_verb_names, KV_VERB_COUNT));
    if (ok && !strings_are(g->keyvalue.keys, g->keyvalue.key_count, "**"))
        ok = member_put(object, "keys", strings_to_json(g->keyvalue.keys, g->keyvalue.key_count));
    ok = ok && rate_to_json(g, object);
    if (ok && g->keyvalue.max_bytes != GRANT_UNSET)
        ok = member_put(object, "max_bytes", amount_to_json(text_put_size, g->keyvalue.max_bytes));
    return ok;
}

/* ---- words ---- */

static void say_strings(struct buf *out, char *const *strings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i == 0 ? "" : i + 1 < count ? ", " : " and ");
        say(out, strings[i]);
    }
}

static void say_pairs(struct buf *out, const struct grant_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i ? ", " : " ");
        say(out, pairs[i].key);
        buf_puts(out, ": ");
        say(out, pairs[i].value);
    }
}

/* Which secret goes into which header. Names are no secret; other text of the value is not said. */
static void explain_secrets(const struct grant *g, struct buf *out)
{
    for (size_t i = 0; i < g->http.set_count; i++) {
        struct grant_template_part part;
        const char *at = g->http.set[i].value;
        while (grant_template_next(&at, &part)) {
            if (part.secret.size == 0)
                continue;
            buf_printf(out, "; THE SECRET %.*s GOES THERE, in the header ", (int)part.secret.size,
                       (const char *)part.secret.data);
            say(out, g->http.set[i].key);
        }
    }
}

/* The values of headers that are set are not said: they may be what the guest is not to see. */
static void explain_http_headers(const struct grant *g, struct buf *out)
{
    if (g->http.require_count > 0) {
        buf_puts(out, "; only with");
        say_pairs(out, g->http.require, g->http.require_count);
    }
    for (size_t i = 0; i < g->http.set_count; i++) {
        buf_puts(out, i ? ", " : "; sent with the headers ");
        say(out, g->http.set[i].key);
    }
    if (g->http.strip_count > 0) {
        buf_puts(out, "; sent without the headers ");
        say_strings(out, g->http.strip, g->http.strip_count);
    }
}

static void explain_amount(struct buf *out, const char *text, void (*put)(struct buf *, uint64_t),
                           uint64_t value)
{
    if (value == GRANT_UNSET)
        return;
    buf_puts(out, text);
    if (put)
        put(out, value);
    else
        buf_printf(out, "%llu", (unsigned long long)value);
}

static void explain_rate(const struct grant *g, struct buf *out)
{
    if (g->rate_count == GRANT_UNSET)
        return;
    buf_puts(out, "; at most ");
    rate_put(out, g->rate_count, g->rate_ns);
}

void explain_http(const struct grant *g, struct buf *out)
{
    buf_puts(out, "May send ");
    if (g->http.method_count == 0)
        buf_puts(out, "GET and HEAD");
    else if (strings_are(g->http.methods, g->http.method_count, "*"))
        buf_puts(out, "any method");
    else
        say_strings(out, g->http.methods, g->http.method_count);
    buf_puts(out, " to ");
    put_origin(out, g);
    if (strings_are(g->http.paths, g->http.path_count, "/**")) {
        buf_puts(out, ", any path");
    } else {
        buf_puts(out, ", only: ");
        say_strings(out, g->http.paths, g->http.path_count);
    }
    explain_http_headers(g, out);
    explain_secrets(g, out);
    explain_amount(out, "; requests at most ", NULL, g->http.max_requests);
    explain_rate(g, out);
    explain_amount(out, "; sends bodies of at most ", text_put_size, g->http.max_request_bytes);
    explain_amount(out, "; gets bodies of at most ", text_put_size, g->http.max_response_bytes);
    explain_amount(out, "; each within ", text_put_duration, g->http.timeout_ns);
    for (size_t i = 0; i < g->http.address_count; i++) {
        buf_puts(out, i ? ", " : "; also at the addresses ");
        put_network(out, &g->http.addresses[i]);
    }
    if (g->http.websocket)
        buf_puts(out, "; a GET may become a WebSocket");
}

void explain_keyvalue(const struct grant *g, struct buf *out)
{
    buf_puts(out, "May ");
    say_words(out, g->keyvalue.verbs, kv_verb_names, KV_VERB_COUNT);
    if (strings_are(g->keyvalue.keys, g->keyvalue.key_count, "**")) {
        buf_puts(out, " every key of the bucket ");
        say(out, g->keyvalue.bucket[0] ? g->keyvalue.bucket : "\"\"");
    } else {
        buf_puts(out, " keys of the bucket ");
        say(out, g->keyvalue.bucket[0] ? g->keyvalue.bucket : "\"\"");
        buf_puts(out, ", only: ");
        say_strings(out, g->keyvalue.keys, g->keyvalue.key_count);
    }
    buf_puts(out, " (memory, gone after the run)");
    explain_rate(g, out);
    explain_amount(out, "; the bucket holds at most ", text_put_size, g->keyvalue.max_bytes);
}
