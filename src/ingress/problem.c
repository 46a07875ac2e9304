/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a native client is told when Ambit answers instead of an origin: a problem document (RFC 9457)
 * on lines of its own, so that a person who sees it in a terminal understands it. All text is ASCII:
 * what a client or an origin sent is in \u escapes where it is not.
 */
#include <string.h>

#include "base/json.h"
#include "ingress/internal.h"

/* The type of a problem, by what it is about; the reasons of grants have names of their own. */
static const char *type_of(const struct problem *p)
{
    if (p->status == 407)
        return "urn:ambit:problem:proxy-authentication";
    if (p->status == 421)
        return "urn:ambit:problem:misdirected";
    if (p->reason != GRANT_ALLOWED)
        return "urn:ambit:problem:denied";
    if (p->retryable)
        return "urn:ambit:problem:unavailable";
    return p->status < 500 ? "urn:ambit:problem:request" : "urn:ambit:problem:upstream";
}

static int append(const char *text, size_t size, void *context)
{
    buf_append(context, text, size);
    return 0;
}

void problem_put(struct buf *out, const struct problem *p)
{
    json_t *o = json_object();
    const char *title = http1_reason(p->status);
    struct bytes detail = p->detail.size > 0 ? p->detail : bytes_of(grant_reason_text(p->reason));
    (void)json_object_set_new(o, "type", json_string(type_of(p)));
    (void)json_object_set_new(o, "title", json_string(title));
    (void)json_object_set_new(o, "status", json_integer(p->status));
    if (p->detail.size > 0 || p->reason != GRANT_ALLOWED)
        (void)json_object_set_new(o, "detail", json_string_lossy(detail.data, detail.size));
    if (p->reason != GRANT_ALLOWED) {
        (void)json_object_set_new(o, "reason", json_string(grant_reason_name(p->reason)));
        (void)json_object_set_new(o, "rule",
                                  p->rule == GRANT_NO_RULE ? json_null() : json_integer(p->rule));
    }
    if (p->grant.size > 0)
        (void)json_object_set_new(o, "grant", json_string_lossy(p->grant.data, p->grant.size));
    if (p->retryable)
        (void)json_object_set_new(o, "retryable", json_true());
    /* Without memory there is a status, and no document. */
    (void)json_dump_callback(o, append, out, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    buf_putc(out, '\n');
    json_decref(o);
}

size_t problem_fields(const struct problem *p, struct http_field fields[static PROBLEM_FIELDS_MAX])
{
    size_t n = 0;
    fields[n++] =
        (struct http_field){ bytes_of("content-type"), bytes_of("application/problem+json") };
    fields[n++] = (struct http_field){ bytes_of("cache-control"), bytes_of("no-store") };
    if (p->status == 503)
        fields[n++] = (struct http_field){ bytes_of("retry-after"), bytes_of(RETRY_AFTER) };
    if (p->status == 407)
        fields[n++] = (struct http_field){ bytes_of("proxy-authenticate"),
                                           bytes_of("Basic realm=\"ambit\"") };
    return n;
}

/* What a person reads when egress said nothing itself. */
static const char *usual_text(const struct http_failure *f)
{
    switch (f->error) {
    case HTTP_ERROR_CONNECTION_LIMIT_REACHED:
        return "every place is taken; try again";
    case HTTP_ERROR_DNS:
    case HTTP_ERROR_DNS_TIMEOUT:
        return "the name was not found by DNS";
    default:
        return http_error_name(f->error);
    }
}

static uint16_t status_of(const struct http_failure *f)
{
    switch (f->error) {
    case HTTP_ERROR_REQUEST_DENIED:
    case HTTP_ERROR_DESTINATION_IP_PROHIBITED:
        return 403;
    case HTTP_ERROR_REQUEST_METHOD_INVALID:
    case HTTP_ERROR_REQUEST_URI_INVALID:
        return 400;
    case HTTP_OK:
        return 502;
    default:
        return exchange_failure_status(f);
    }
}

struct problem problem_of_failure(const struct exchange *x, const struct http_failure *f)
{
    struct problem p = { .status = status_of(f),
                         .rule = f->rule,
                         .detail = f->text.size > 0 ? f->text : bytes_of(usual_text(f)),
                         .grant = f->grant };
    if (p.status == 403)
        p.reason = f->reason < GRANT_REASON_COUNT && f->reason != GRANT_ALLOWED
                       ? (enum grant_reason)f->reason
                       : GRANT_NO_GRANT;
    if (p.status == 503)
        p.retryable = true;
    if (x->orphan) {
        p.retryable = true;
        p.detail =
            bytes_of("the room that makes connections ended, and is started again. The request "
                     "may or may not have reached its server.");
    }
    return p;
}
