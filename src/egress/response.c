/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an origin's header lines may be. curl has read them already and forgives much; here they are
 * looked at again, as it hands them on, by the rules of wire/http1.h: what two readers could read
 * differently is an error and never repaired (CRLF line ends, no folding, token names, clean values,
 * one Content-Length that is a number, no Content-Length beside Transfer-Encoding, no coding but
 * chunked). 101 is refused where no WebSocket was asked for: what follows it is no HTTP, and nobody
 * would have decided about it.
 */
#include <string.h>

#include "egress/parts.h"
#include "wire/http1.h"

#define FIELDS_USUAL 16 /* room for so many at first */
#define INTERIM_MAX 16  /* 1xx answers to one request */

#ifdef AMBIT_TEST_HOOKS
#define STRICT(x) (((x)->peer->room->skip & EGRESS_SKIP_STRICT) == 0)
#else
#define STRICT(x) true
#endif

void response_done(struct response *r)
{
    buf_done(&r->lines);
    mem_free(r->fields);
}

static bool fail(struct outgoing *x, enum http_error error, const char *text)
{
    outgoing_fail(x, error, text);
    return false;
}

static struct bytes trimmed(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (at < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct bytes){ at, (size_t)(end - at) };
}

static struct http_field field_at(const struct response *r, size_t i)
{
    const struct line_place *p = &r->fields[i];
    return (struct http_field){ .name = { r->lines.data + p->name, p->name_size },
                                .value = { r->lines.data + p->value, p->value_size } };
}

/* "HTTP/1.1 200 OK", "HTTP/2 200 ": a new head begins. */
static bool status_line(struct outgoing *x, struct bytes line)
{
    struct response *r = &x->response;
    const char *text = (const char *)line.data;
    size_t at = strlen("HTTP/");
    if (line.size >= at + 3 && memcmp(text + at, "1.", 2) == 0 &&
        (text[at + 2] == '0' || text[at + 2] == '1')) {
        r->version = text[at + 2] == '0' ? 10 : 11;
        at += 3;
    } else if (line.size >= at + 1 && text[at] == '2') {
        r->version = 20;
        at += 1;
    } else {
        return fail(x, HTTP_ERROR_PROTOCOL, "the answer has a version of HTTP that is not known");
    }
    if (line.size < at + 4 || text[at] != ' ')
        return fail(x, HTTP_ERROR_PROTOCOL, "the answer's first line is not one of HTTP");
    unsigned status = 0;
    for (size_t i = at + 1; i < at + 4; i++) {
        if (text[i] < '0' || text[i] > '9')
            return fail(x, HTTP_ERROR_PROTOCOL, "the answer's status is not a number");
        status = status * 10 + (unsigned)(text[i] - '0');
    }
    if (status < 100 || status > 599 || (line.size > at + 4 && text[at + 4] != ' '))
        return fail(x, HTTP_ERROR_PROTOCOL, "the answer's status is not one of HTTP");
    r->status = (uint16_t)status;
    r->started = true;
    r->field_count = 0;
    buf_clear(&r->lines);
    r->content_length = NEVER;
    r->chunked = false;
    return true;
}

static bool framing_field(struct outgoing *x, struct bytes name, struct bytes value)
{
    struct response *r = &x->response;
    if (bytes_are(name, "content-length")) {
        uint64_t length = 0;
        if (r->content_length != NEVER)
            return fail(x, HTTP_ERROR_PROTOCOL, "the answer has more than one Content-Length");
        if (value.size == 0 || value.size > 18)
            return fail(x, HTTP_ERROR_PROTOCOL, "the answer's Content-Length is not a number");
        for (size_t i = 0; i < value.size; i++) {
            if (value.data[i] < '0' || value.data[i] > '9')
                return fail(x, HTTP_ERROR_PROTOCOL, "the answer's Content-Length is not a number");
            length = length * 10 + (uint64_t)(value.data[i] - '0');
        }
        r->content_length = length;
    } else if (bytes_are(name, "transfer-encoding")) {
        if (r->chunked || r->version != 11 || !bytes_equal_fold(value, "chunked"))
            return fail(x, HTTP_ERROR_RESPONSE_TRANSFER_CODING,
                        "the answer has a transfer coding other than a single chunked");
        r->chunked = true;
    }
    if (r->chunked && r->content_length != NEVER)
        return fail(x, HTTP_ERROR_PROTOCOL,
                    "the answer has Content-Length beside "
                    "Transfer-Encoding");
    return true;
}

static bool too_many(struct outgoing *x)
{
    return fail(x,
                x->response.head_done ? HTTP_ERROR_RESPONSE_TRAILER_SECTION_SIZE
                                      : HTTP_ERROR_RESPONSE_HEADER_SECTION_SIZE,
                "the answer has too many or too long header fields");
}

static bool field_line(struct outgoing *x, struct bytes line)
{
    struct response *r = &x->response;
    const uint8_t *end = line.data + line.size;
    const uint8_t *colon = memchr(line.data, ':', line.size);
    if (!colon)
        return fail(x, HTTP_ERROR_PROTOCOL, "a header line of the answer has no colon");
    struct bytes name = { line.data, (size_t)(colon - line.data) };
    struct bytes value = trimmed(colon + 1, end);
    if (STRICT(x) && !http1_token_valid(name))
        return fail(x, HTTP_ERROR_PROTOCOL, "a header name of the answer is no token");
    if (STRICT(x) && !http1_value_valid(value))
        return fail(x, HTTP_ERROR_PROTOCOL,
                    "a header value of the answer is folded or holds a control character");
    if (r->field_count == HTTP_FIELDS_MAX)
        return too_many(x);
    if (r->field_count == r->field_room) {
        size_t more = r->field_room ? 2 * r->field_room : FIELDS_USUAL;
        struct line_place *grown = mem_grow(r->fields, more, sizeof(*grown));
        if (!grown)
            return fail(x, HTTP_ERROR_INTERNAL, "no memory for the answer's header");
        r->fields = grown;
        r->field_room = more;
    }
    r->lines.max = HTTP_HEAD_MAX;
    struct line_place place = { .name = (uint32_t)r->lines.size,
                                .name_size = (uint32_t)name.size,
                                .value = (uint32_t)(r->lines.size + name.size),
                                .value_size = (uint32_t)value.size };
    buf_append(&r->lines, name.data, name.size);
    buf_append(&r->lines, value.data, value.size);
    if (buf_status(&r->lines) < 0)
        return too_many(x);
    answer_text(x, r->lines.data + place.name, name.size);
    answer_text(x, r->lines.data + place.value, value.size);
    for (size_t i = 0; i < name.size; i++) {
        uint8_t *c = &r->lines.data[place.name + i];
        *c |= *c >= 'A' && *c <= 'Z' ? 0x20 : 0;
    }
    r->fields[r->field_count++] = place;
    struct http_field f = field_at(r, r->field_count - 1);
    return r->head_done || !STRICT(x) || framing_field(x, f.name, f.value);
}

/* Fields about the connection are not the guest's. */
static bool is_hop_by_hop(const struct response *r, struct bytes name)
{
    if (http1_name_of_connection(name) || bytes_are(name, "trailer") ||
        bytes_are(name, "proxy-authenticate"))
        return true;
    for (size_t i = 0; i < r->field_count; i++) { /* and what Connection names */
        struct http_field f = field_at(r, i);
        const uint8_t *at = f.value.data, *end = at + f.value.size;
        if (!bytes_are(f.name, "connection"))
            continue;
        while (at < end) {
            const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
            struct bytes word = trimmed(at, comma ? comma : end);
            char lower[64];
            if (name.size < sizeof(lower) && word.size == name.size) {
                memcpy(lower, name.data, name.size);
                lower[name.size] = '\0';
                if (bytes_equal_fold(word, lower))
                    return true;
            }
            at = comma ? comma + 1 : end;
        }
    }
    return false;
}

static bool give_head(struct outgoing *x)
{
    struct response *r = &x->response;
    CLEANUP(mem_freep)
    struct http_field *fields = mem_array(r->field_count + 1, sizeof(*fields));
    struct http_response answer = { .status = r->status, .fields = fields };
    if (!fields)
        return fail(x, HTTP_ERROR_INTERNAL, "no memory for the answer's header");
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    bool to_head = bytes_are(x->request.method, "HEAD");
    x->no_body = answer.no_body = to_head || r->status == 204 || r->status == 304;
    for (size_t i = 0; i < r->field_count; i++) {
        struct http_field f = field_at(r, i);
        if (!answer_field(x, &f))
            return false;
    }
    for (size_t i = 0; i < r->field_count; i++) {
        struct http_field f = field_at(r, i);
        if (!is_hop_by_hop(r, f.name) && !answer_drops(x, f.name))
            fields[answer.field_count++] = f;
    }
    if (!x->no_body && r->content_length != NEVER && r->content_length > g->http.max_response_bytes
#ifdef AMBIT_TEST_HOOKS
        && !(x->peer->room->skip & EGRESS_SKIP_SIZES)
#endif
    ) {
        outgoing_refuse(x, GRANT_TOO_LARGE, x->rule, grant_reason_text(GRANT_TOO_LARGE));
        x->failure.error = HTTP_ERROR_RESPONSE_BODY_SIZE;
        x->failure.number = g->http.max_response_bytes;
        return false;
    }
    http_response_put(&x->head, &answer);
    if (buf_status(&x->head) < 0)
        return too_many(x);
    r->head_done = true;
    r->field_count = 0; /* what comes now is trailers */
    buf_clear(&r->lines);
    return true;
}

static bool head_end(struct outgoing *x)
{
    struct response *r = &x->response;
    if (r->status >= 200)
        return give_head(x);
    if (r->status == 101 && x->websocket) /* which it answers: websocket.c looked */
        return give_head(x);
    if (r->status == 101)
        return fail(x, HTTP_ERROR_UPGRADE_FAILED, "the answer changes to another protocol");
    if (++r->interim > INTERIM_MAX)
        return fail(x, HTTP_ERROR_PROTOCOL, "too many interim answers");
    return true;
}

bool response_line(struct outgoing *x, struct bytes line)
{
    struct response *r = &x->response;
    if (line.size < 1 || line.data[line.size - 1] != '\n')
        return fail(x, HTTP_ERROR_PROTOCOL, "a header line of the answer has no end");
    line.size--;
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    else if (STRICT(x))
        return fail(x, HTTP_ERROR_PROTOCOL, "a header line of the answer ends with a bare LF");
    if (line.size == 0)
        return r->head_done || head_end(x); /* the empty line after trailers */
    if (!r->head_done && line.size >= 5 && memcmp(line.data, "HTTP/", 5) == 0)
        return status_line(x, line);
    if (!r->started)
        return fail(x, HTTP_ERROR_PROTOCOL, "the answer's first line is not one of HTTP");
    return field_line(x, line);
}

void response_trailers(const struct outgoing *x, struct buf *out)
{
    const struct response *r = &x->response;
    CLEANUP(mem_freep)
    struct http_field *fields = mem_array(r->field_count + 1, sizeof(*fields));
    size_t count = 0;
    for (size_t i = 0; fields && i < r->field_count; i++) {
        struct http_field f = field_at(r, i);
        /* What a head alone may say has no meaning after it. */
        if (!is_hop_by_hop(r, f.name) && !bytes_are(f.name, "content-length"))
            fields[count++] = f;
    }
    http_fields_put(out, fields, count);
}
