/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of the frames of exchanges. The reader believes nothing of the sender: each name, value,
 * method, target and address is looked at before a slice of it is given out, so that what a room got
 * from a link can be put on a wire as it is, whoever took over the room at the other end.
 *
 * A head counts as HTTP-1 heads do, but without what stands between fields: method, target, names
 * and values together are at most HTTP_HEAD_MAX. So a head that http1.h took always fits.
 */
#include "wire/http.h"

#include <string.h>

#include "base/mem.h"
#include "wire/http1.h"

#define AUTHORITY_MAX 1024
#define PEER_MAX 64
#define ALL_FLAGS (HTTP_EXPECTS_CONTINUE | HTTP_NO_BODY | HTTP_SECURE | HTTP_UPGRADE)

const char *http_error_name(enum http_error e)
{
    static const char *const names[HTTP_ERROR_COUNT] = {
        [HTTP_OK] = "OK",
        [HTTP_ERROR_DNS_TIMEOUT] = "DNS-timeout",
        [HTTP_ERROR_DNS] = "DNS-error",
        [HTTP_ERROR_DESTINATION_NOT_FOUND] = "destination-not-found",
        [HTTP_ERROR_DESTINATION_UNAVAILABLE] = "destination-unavailable",
        [HTTP_ERROR_DESTINATION_IP_PROHIBITED] = "destination-IP-prohibited",
        [HTTP_ERROR_DESTINATION_IP_UNROUTABLE] = "destination-IP-unroutable",
        [HTTP_ERROR_CONNECTION_REFUSED] = "connection-refused",
        [HTTP_ERROR_CONNECTION_TERMINATED] = "connection-terminated",
        [HTTP_ERROR_CONNECTION_TIMEOUT] = "connection-timeout",
        [HTTP_ERROR_CONNECTION_READ_TIMEOUT] = "connection-read-timeout",
        [HTTP_ERROR_CONNECTION_WRITE_TIMEOUT] = "connection-write-timeout",
        [HTTP_ERROR_CONNECTION_LIMIT_REACHED] = "connection-limit-reached",
        [HTTP_ERROR_TLS_PROTOCOL] = "TLS-protocol-error",
        [HTTP_ERROR_TLS_CERTIFICATE] = "TLS-certificate-error",
        [HTTP_ERROR_TLS_ALERT_RECEIVED] = "TLS-alert-received",
        [HTTP_ERROR_REQUEST_DENIED] = "HTTP-request-denied",
        [HTTP_ERROR_REQUEST_LENGTH_REQUIRED] = "HTTP-request-length-required",
        [HTTP_ERROR_REQUEST_BODY_SIZE] = "HTTP-request-body-size",
        [HTTP_ERROR_REQUEST_METHOD_INVALID] = "HTTP-request-method-invalid",
        [HTTP_ERROR_REQUEST_URI_INVALID] = "HTTP-request-URI-invalid",
        [HTTP_ERROR_REQUEST_URI_TOO_LONG] = "HTTP-request-URI-too-long",
        [HTTP_ERROR_REQUEST_HEADER_SECTION_SIZE] = "HTTP-request-header-section-size",
        [HTTP_ERROR_REQUEST_HEADER_SIZE] = "HTTP-request-header-size",
        [HTTP_ERROR_REQUEST_TRAILER_SECTION_SIZE] = "HTTP-request-trailer-section-size",
        [HTTP_ERROR_REQUEST_TRAILER_SIZE] = "HTTP-request-trailer-size",
        [HTTP_ERROR_RESPONSE_INCOMPLETE] = "HTTP-response-incomplete",
        [HTTP_ERROR_RESPONSE_HEADER_SECTION_SIZE] = "HTTP-response-header-section-size",
        [HTTP_ERROR_RESPONSE_HEADER_SIZE] = "HTTP-response-header-size",
        [HTTP_ERROR_RESPONSE_BODY_SIZE] = "HTTP-response-body-size",
        [HTTP_ERROR_RESPONSE_TRAILER_SECTION_SIZE] = "HTTP-response-trailer-section-size",
        [HTTP_ERROR_RESPONSE_TRAILER_SIZE] = "HTTP-response-trailer-size",
        [HTTP_ERROR_RESPONSE_TRANSFER_CODING] = "HTTP-response-transfer-coding",
        [HTTP_ERROR_RESPONSE_CONTENT_CODING] = "HTTP-response-content-coding",
        [HTTP_ERROR_RESPONSE_TIMEOUT] = "HTTP-response-timeout",
        [HTTP_ERROR_UPGRADE_FAILED] = "HTTP-upgrade-failed",
        [HTTP_ERROR_PROTOCOL] = "HTTP-protocol-error",
        [HTTP_ERROR_LOOP_DETECTED] = "loop-detected",
        [HTTP_ERROR_CONFIGURATION] = "configuration-error",
        [HTTP_ERROR_INTERNAL] = "internal-error",
    };
    return (unsigned)e < HTTP_ERROR_COUNT ? names[e] : "unknown";
}

/* ---- parts ---- */

static void put(struct buf *out, struct bytes b)
{
    buf_bytes(out, b.data, b.size);
}

static struct bytes get(struct cursor *c)
{
    struct bytes b;
    b.data = cursor_bytes(c, &b.size);
    return b;
}

static int check_finished(const struct cursor *c, const char *what, struct error *e)
{
    return cursor_finished(c) ? 0 : error_set(e, -EBADMSG, "%s is cut short or too long", what);
}

static bool is_visible(struct bytes b)
{
    for (size_t i = 0; i < b.size; i++)
        if (b.data[i] <= ' ' || b.data[i] == 0x7f)
            return false;
    return true;
}

static bool is_lower(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] >= 'A' && name.data[i] <= 'Z')
            return false;
    return true;
}

void http_fields_put(struct buf *out, const struct http_field *fields, size_t count)
{
    buf_u16(out, (uint16_t)MIN(count, (size_t)UINT16_MAX));
    for (size_t i = 0; i < count; i++) {
        put(out, fields[i].name);
        put(out, fields[i].value);
    }
}

/* `taken` bytes of the head were something else. */
static int fields_get(struct cursor *c, struct http_field *fields, size_t taken, size_t *ret_count,
                      struct error *e)
{
    size_t count = cursor_u16(c);
    if (c->bad || count > HTTP_FIELDS_MAX)
        return error_set(e, -EBADMSG, "more fields than %d", HTTP_FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct http_field *f = &fields[i];
        f->name = get(c);
        f->value = get(c);
        if (c->bad || !http1_field_valid(f) || !is_lower(f->name))
            return error_set(e, -EBADMSG, "field %zu is cut short or malformed", i);
        taken += f->name.size + f->value.size;
    }
    if (taken > HTTP_HEAD_MAX)
        return error_set(e, -EBADMSG, "a head is longer than %u", HTTP_HEAD_MAX);
    *ret_count = count;
    return 0;
}

int http_fields_get(struct cursor *c, struct http_field *fields, size_t *ret_count, struct error *e)
{
    int result = fields_get(c, fields, 0, ret_count, e);
    return result < 0 ? result : check_finished(c, "a list of fields", e);
}

/* ---- heads ---- */

void http_request_put(struct buf *out, const struct http_request *r)
{
    buf_u32(out, r->flags);
    put(out, r->method);
    put(out, r->authority);
    put(out, r->target);
    put(out, r->peer);
    buf_u64(out, r->connect_timeout_ns);
    buf_u64(out, r->first_byte_timeout_ns);
    buf_u64(out, r->between_bytes_timeout_ns);
    http_fields_put(out, r->fields, r->field_count);
}

/* A WebSocket is asked for with GET; its bytes then go as BODY frames, so END is not implied. */
static bool upgrade_valid(const struct http_request *r)
{
    return !(r->flags & HTTP_UPGRADE) ||
           (bytes_are(r->method, "GET") && !(r->flags & (HTTP_EXPECTS_CONTINUE | HTTP_NO_BODY)));
}

/* Characters that end a line or a word are nowhere; what an authority or a target may hold beyond
 * that, url_set() decides. */
static bool request_valid(const struct http_request *r)
{
    return (r->flags & ~(uint32_t)ALL_FLAGS) == 0 && upgrade_valid(r) &&
           http1_token_valid(r->method) && is_visible(r->authority) &&
           r->authority.size <= AUTHORITY_MAX && is_visible(r->target) && is_visible(r->peer) &&
           r->peer.size <= PEER_MAX &&
           (bytes_are(r->target, "*") || (r->target.size && r->target.data[0] == '/'));
}

int http_request_get(struct cursor *c, struct http_field *fields, struct http_request *ret,
                     struct error *e)
{
    struct http_request r = { .flags = cursor_u32(c), .fields = fields };
    r.method = get(c);
    r.authority = get(c);
    r.target = get(c);
    r.peer = get(c);
    r.connect_timeout_ns = cursor_u64(c);
    r.first_byte_timeout_ns = cursor_u64(c);
    r.between_bytes_timeout_ns = cursor_u64(c);
    if (c->bad || !request_valid(&r))
        return error_set(e, -EBADMSG, "a request is cut short or malformed");
    size_t taken = r.method.size + r.target.size;
    int result = fields_get(c, fields, taken, &r.field_count, e);
    if (result == 0)
        result = check_finished(c, "a request", e);
    if (result < 0)
        return result;
    *ret = r;
    return 0;
}

void http_response_put(struct buf *out, const struct http_response *r)
{
    buf_u16(out, r->status);
    buf_u8(out, r->no_body);
    http_fields_put(out, r->fields, r->field_count);
}

int http_response_get(struct cursor *c, struct http_field *fields, struct http_response *ret,
                      struct error *e)
{
    struct http_response r = { .status = cursor_u16(c), .fields = fields };
    uint8_t no_body = cursor_u8(c);
    r.no_body = no_body;
    if (c->bad || no_body > 1 || r.status < 100 || r.status > 599)
        return error_set(e, -EBADMSG, "a response is cut short or its status is not 100 to 599");
    int result = fields_get(c, fields, 0, &r.field_count, e);
    if (result == 0)
        result = check_finished(c, "a response", e);
    if (result < 0)
        return result;
    *ret = r;
    return 0;
}

/* ---- failure ---- */

void http_failure_put(struct buf *out, const struct http_failure *f)
{
    struct bytes text = { f->text.data, MIN(f->text.size, (size_t)ERROR_TEXT_MAX) };
    buf_u32(out, f->error);
    buf_u32(out, f->reason);
    buf_u32(out, f->rule);
    buf_u64(out, f->number);
    put(out, text);
    put(out, f->address);
    put(out, f->grant);
}

int http_failure_get(struct cursor *c, struct http_failure *ret, struct error *e)
{
    uint32_t error = cursor_u32(c);
    struct http_failure f = { .error = error };
    f.reason = cursor_u32(c);
    f.rule = cursor_u32(c);
    f.number = cursor_u64(c);
    f.text = get(c);
    f.address = get(c);
    f.grant = get(c);
    int result = check_finished(c, "an end of an exchange", e);
    if (result < 0)
        return result;
    if (error >= HTTP_ERROR_COUNT || f.text.size > ERROR_TEXT_MAX || f.address.size > PEER_MAX ||
        !is_visible(f.address) || f.grant.size > HTTP_GRANT_MAX)
        return error_set(e, -EBADMSG, "an end of an exchange with an unknown error or a long text");
    *ret = f;
    return 0;
}
