/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest grants of services. One origin, one method, one path that matches nothing else, and
 * an address only where one is needed: a literal that is not global, or what a name resolved to. A
 * proposal requires and sets no headers, also when the nearest rule does: it stands beside that
 * rule, and what it allows is this request as the guest sent it.
 */
#include "grant/rules.h"

#include <string.h>

static bool reason_helps(enum grant_reason reason)
{
    switch (reason) {
    case GRANT_NO_GRANT:
    case GRANT_NO_PATH:
    case GRANT_NO_METHOD:
    case GRANT_NO_HEADER:
    case GRANT_NO_UPGRADE:
    case GRANT_NO_ADDRESS:
        return true;
    default:
        return false;
    }
}

/* Lists the one address that must be listed for `a` to be dialled; none for a global one. */
static int list_address(struct grant *g, const struct address *a, struct error *e)
{
    struct address wanted = *a, inner;
    if (address_kind(a) == ADDRESS_METADATA)
        return error_set(e, -EINVAL, "no grant may reach this address");
    if (address_kind(a) == ADDRESS_GLOBAL)
        return 0;
    if (address_embedded(a, &inner) && address_kind(&inner) != ADDRESS_GLOBAL)
        wanted = inner;
    g->http.addresses = mem_array(1, sizeof(*g->http.addresses));
    if (g->http.addresses == NULL)
        return grant_no_memory(e);
    g->http.addresses[0] = (struct network){ wanted, wanted.is_v6 ? 128 : 32 };
    g->http.address_count = 1;
    return 0;
}

static int http_fill(const struct grant_http_request *request, struct grant *g, struct error *e)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(GRANT_PATTERN_MAX + 1);
    CLEANUP(mem_freep)
    char *method = mem_strndup((const char *)request->method.data, request->method.size);
    const struct url *url = request->url;
    g->http.https = url->https;
    g->http.port = url->port;
    g->http.host = mem_strdup(url->host);
    if (method == NULL || g->http.host == NULL)
        return grant_no_memory(e);
    buf_putc(&path, '/');
    if (url->path.size > 1)
        glob_quote(&path, (const char *)url->path.data + 1, url->path.size - 1);
    if (buf_status(&path) < 0)
        return error_set(e, buf_status(&path) == -ENOMEM ? -ENOMEM : -EINVAL,
                         "the path is too long for a grant of its own");
    int r = strings_of_one(method, &g->http.methods, &g->http.method_count, e);
    return r < 0 ? r : strings_of_one(buf_cstr(&path), &g->http.paths, &g->http.path_count, e);
}

int grant_propose_http(const struct grant_rules *r, const struct grant_http_request *request,
                       enum grant_reason reason, const struct address *address, struct grant *ret,
                       struct error *e)
{
    CLEANUP(grant_done) struct grant g = { .class = GRANT_HTTP };
    (void)r;
    if (!reason_helps(reason))
        return error_set(e, -EINVAL, "no grant helps: %s", grant_reason_text(reason));
    if (bytes_are(request->method, "*"))
        return error_set(e, -EINVAL, "in a grant the method `*` means any");
    grant_service_init(&g);
    g.http.websocket = request->upgrade;
    int result = http_fill(request, &g, e);
    if (result == 0 && request->url->is_address)
        address = &request->url->address;
    if (result == 0 && address != NULL)
        result = list_address(&g, address, e);
    if (result == 0)
        result = grant_check(&g, e);
    if (result < 0)
        return result;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_propose_keyvalue(const char *bucket, const char *key, uint32_t verb, struct grant *ret,
                           struct error *e)
{
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(GRANT_PATTERN_MAX + 1);
    CLEANUP(grant_done) struct grant g = { .class = GRANT_KEYVALUE };
    grant_service_init(&g);
    g.keyvalue.verbs = verb;
    g.keyvalue.bucket = mem_strdup(bucket);
    if (g.keyvalue.bucket == NULL)
        return grant_no_memory(e);
    if (key == NULL)
        buf_puts(&pattern, "**");
    else if (strcmp(key, ".") == 0) /* alone it would mean the empty key */
        buf_puts(&pattern, "\\.");
    else
        glob_quote(&pattern, key, strlen(key));
    if (buf_status(&pattern) < 0)
        return error_set(e, buf_status(&pattern) == -ENOMEM ? -ENOMEM : -EINVAL,
                         "the key is too long for a grant of its own");
    int result = strings_of_one(buf_cstr(&pattern), &g.keyvalue.keys, &g.keyvalue.key_count, e);
    if (result == 0)
        result = grant_check(&g, e);
    if (result < 0)
        return result;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}
