/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grant reader on any bytes. Laws: what it reads prints as a text that it reads as the same
 * set, in YAML and in JSON; a decision exists for every path, request and key; a set covers itself; a
 * proposal for what is denied makes it allowed.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "grant/grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PRINT_MAX (16u << 20)

static void same_set(const struct grant_set *s, const char *text, size_t size)
{
    struct grant_set *again = NULL;
    struct error e = ERROR_INIT;
    struct buf first = BUF_INIT(PRINT_MAX), second = BUF_INIT(PRINT_MAX);
    if (size > 1u << 20)
        return; /* longer than what may be read: escapes grow */
    ASSERT(grant_set_parse("printed", "/", text, size, &again, &e) == 0);
    ASSERT(grant_set_print(s, &first, NULL) == 0 && grant_set_print(again, &second, NULL) == 0);
    ASSERT(first.size == second.size && strcmp(buf_cstr(&first), buf_cstr(&second)) == 0);
    grant_set_free(again);
    buf_done(&first);
    buf_done(&second);
}

static void prints(const struct grant_set *s)
{
    struct buf out = BUF_INIT(PRINT_MAX);
    ASSERT(grant_set_print(s, &out, NULL) == 0);
    same_set(s, buf_cstr(&out), out.size);
    buf_clear(&out);
    json_t *json = grant_set_to_json(s);
    ASSERT(json != NULL && json_line(json, &out) == 0);
    same_set(s, buf_cstr(&out), out.size);
    json_decref(json);
    buf_clear(&out);
    ASSERT(grant_set_explain(s, &out, NULL) == 0);
    buf_done(&out);
}

static struct grant_decision decide(const struct grant_rules *r, const char *guest, uint32_t verbs)
{
    size_t mount;
    const char *rest;
    if (!grant_mount_of(r, guest, strlen(guest), &mount, &rest))
        return (struct grant_decision){ GRANT_NO_GRANT, GRANT_NO_RULE, verbs };
    return grant_decide_fs(r, mount, rest, strlen(rest), verbs);
}

static void proposes(struct grant_set *s, const struct grant_rules *r, const char *guest,
                     uint32_t verbs)
{
    struct grant g = { 0 };
    struct grant_rules *more = NULL;
    struct grant_decision d = decide(r, guest, verbs);
    if (d.reason == GRANT_ALLOWED || s->count == GRANT_GRANTS_MAX ||
        grant_propose_fs(r, guest, d.missing, &g, NULL) < 0)
        return;
    ASSERT(grant_set_add(s, &g, NULL) == 0 && grant_rules_new(s, "/home/u", &more, NULL) == 0);
    ASSERT(decide(more, guest, verbs).reason == GRANT_ALLOWED);
    grant_rules_free(more);
}

/* A request to an origin that the set may know. */
static void asks(struct grant_set *s, const struct grant_rules *r, const char *text)
{
    struct url url;
    struct grant g = { 0 };
    struct grant_rules *more = NULL;
    const struct http_field field = { bytes_of("accept"), bytes_of("text/plain") };
    url_init(&url);
    if (url_parse(&url, bytes_of(text), NULL) == 0) {
        const struct grant_http_request q = { &url, bytes_of("GET"), &field, 1 };
        struct grant_decision d = grant_decide_http(r, &q, 0);
        if (d.reason != GRANT_ALLOWED && s->count < GRANT_GRANTS_MAX &&
            grant_propose_http(r, &q, d.reason, NULL, &g, NULL) == 0) {
            ASSERT(grant_set_add(s, &g, NULL) == 0 && grant_rules_new(s, "/", &more, NULL) == 0);
            ASSERT(grant_decide_http(more, &q, 0).reason == GRANT_ALLOWED);
            grant_rules_free(more);
        }
    }
    url_done(&url);
}

static void services(struct grant_set *s, const struct grant_rules *r)
{
    static const char *const keys[] = { "", ".", "a", "a/b", "//", "run/1" };
    size_t count = s->count; /* the proposals of asks() come behind them */
    for (size_t i = 0; i < count && i < 16; i++) {
        const struct grant *g = &s->grants[i];
        char text[URL_HOST_MAX + 64];
        if (g->class == GRANT_KEYVALUE) {
            for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
                (void)grant_decide_keyvalue(r, g->keyvalue.bucket, keys[k], strlen(keys[k]),
                                            KV_GET);
            ASSERT(
                grant_decide_keyvalue(r, g->keyvalue.bucket, NULL, 0, g->keyvalue.verbs).reason ==
                GRANT_ALLOWED);
        } else if (g->class == GRANT_HTTP) {
            const char *host = g->http.host;
            (void)snprintf(text, sizeof(text),
                           strchr(host, ':') ? "%s://[%s]:%u/a/b?q" : "%s://%s:%u/a/b?q",
                           g->http.https ? "https" : "http", host, g->http.port);
            asks(s, r, text);
        }
    }
    asks(s, r, "https://nobody.test/*/!");
}

static void decides(struct grant_set *s, const struct grant_rules *r)
{
    static const char *const guests[] = { "/",           "/work",  "/work/a",
                                          "/work/a/b*c", "/tmp/x", "/etc/passwd" };
    const char *value;
    for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
        for (uint32_t verb = 0; verb <= 256; verb = verb ? verb * 2 : 1)
            (void)decide(r, guests[i], verb);
    }
    for (size_t i = 0; i < s->count && i < 64; i++) {
        const struct grant *g = &s->grants[i];
        if (g->class == GRANT_FS)
            (void)decide(r, g->fs.guest, FS_READ);
        for (size_t k = 0; g->class == GRANT_CONFIG && k < g->pair_count; k++)
            ASSERT(
                grant_decide_config(r, g->pairs[k].key, strlen(g->pairs[k].key), &value).reason ==
                GRANT_ALLOWED);
    }
    proposes(s, r, guests[3], FS_WRITE | FS_CREATE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grant_set *s = NULL;
    struct grant_rules *r = NULL;
    struct error e = ERROR_INIT;
    if (grant_set_parse("fuzz", "/base", (const char *)data, size, &s, &e) < 0) {
        ASSERT(e.code < 0 && e.what[0] != '\0');
        return 0;
    }
    prints(s);
    ASSERT(grant_rules_new(s, "/home/u", &r, NULL) == 0);
    if (s->count <= 32) /* reflexive, but not for free */
        ASSERT(grant_covers(s, s, NULL, NULL) == 0);
    services(s, r);
    decides(s, r);
    grant_rules_free(r);
    grant_set_free(s);
    return 0;
}
