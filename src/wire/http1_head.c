/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the head of a message says: where it goes, how long its body is, what is about the connection
 * only. Everything here is decided from the fields as a whole, after each was read; where RFC 9112
 * lets a reader repair (6.3: Transfer-Encoding beside Content-Length, equal lengths twice) this one
 * refuses, because the next reader may repair otherwise.
 */
#include <string.h>

#include "base/mem.h"
#include "wire/address.h"
#include "wire/http1_hooks.h"
#include "wire/http1_internal.h"

#define NAMED_MAX 32u /* fields that Connection names */

/* ---- fields that matter ---- */

static enum http1_fault read_length(struct http1_parser *p, struct bytes value)
{
    uint64_t n = 0;
    if (p->seen & SEEN_LENGTH)
        return HTTP1_FAULT_LENGTH_TWICE;
    p->seen |= SEEN_LENGTH;
    if (value.size == 0 || value.size > 19)
        return HTTP1_FAULT_LENGTH_MALFORMED;
    for (size_t i = 0; i < value.size; i++) {
        if (!http1_char_is(value.data[i], CHAR_DIGIT))
            return HTTP1_FAULT_LENGTH_MALFORMED;
        n = n * 10 + value.data[i] - '0'; /* 19 digits fit */
    }
    p->head.content_length = n;
    return n > INT64_MAX ? HTTP1_FAULT_LENGTH_MALFORMED : HTTP1_NO_FAULT;
}

/* The next element of a list, "" at its end; empty ones are passed over. */
static struct bytes next_element(struct bytes *list)
{
    const uint8_t *s = list->data, *end = s + list->size;
    struct bytes element = { s, 0 };
    while (s < end && element.size == 0) {
        const uint8_t *comma = memchr(s, ',', (size_t)(end - s));
        element = http1_trim(s, comma ? comma : end);
        s = comma ? comma + 1 : end;
    }
    *list = (struct bytes){ s, (size_t)(end - s) };
    return element;
}

static void read_connection(struct http1_parser *p, struct bytes list)
{
    struct bytes word;
    p->seen |= SEEN_CONNECTION;
    while ((word = next_element(&list)).size) {
        if (bytes_equal_fold(word, "close"))
            p->seen |= SEEN_CLOSE;
        else if (bytes_equal_fold(word, "keep-alive"))
            p->seen |= SEEN_KEEP_ALIVE;
        else if (bytes_equal_fold(word, "upgrade"))
            p->seen |= SEEN_UPGRADE_NAMED;
    }
}

/* Field `i` of a head, by the length of its name; sets whether it is about the connection. */
enum http1_fault http1_note_field(struct http1_parser *p, size_t i)
{
    struct bytes name = p->fields[i].name, value = p->fields[i].value;
    bool *hop = &p->head.hop_by_hop[i];
    *hop = false;
    switch (name.size) {
    case 2:
        *hop = bytes_equal_fold(name, "te");
        break;
    case 4:
        if (!bytes_equal_fold(name, "host"))
            break;
        if (p->seen & SEEN_HOST)
            return HTTP1_FAULT_HOST_TWICE;
        p->seen |= SEEN_HOST;
        p->host = (uint16_t)i;
        break;
    case 6:
        if (bytes_equal_fold(name, "expect") && bytes_equal_fold(value, "100-continue"))
            p->seen |= SEEN_CONTINUE;
        break;
    case 7:
        if ((*hop = bytes_equal_fold(name, "upgrade")))
            p->seen |= SEEN_UPGRADE;
        break;
    case 10:
        *hop = bytes_equal_fold(name, "keep-alive");
        if (bytes_equal_fold(name, "connection")) {
            *hop = true;
            read_connection(p, value);
        }
        break;
    case 14:
        if (bytes_equal_fold(name, "content-length"))
            return read_length(p, value);
        break;
    case 16:
        *hop = bytes_equal_fold(name, "proxy-connection");
        break;
    case 17:
        if (!bytes_equal_fold(name, "transfer-encoding"))
            break;
        *hop = true;
        if ((p->seen & SEEN_CODING) || !bytes_equal_fold(value, "chunked"))
            return HTTP1_FAULT_CODING;
        p->seen |= SEEN_CODING;
        break;
    }
    return HTTP1_NO_FAULT;
}

/* RFC 9110 6.5.1: framing, routing, request modifiers, authentication, and how to read the content
 * are decided by the time that trailers come. */
bool http1_trailer_allowed(struct bytes name)
{
    static const char *const refused[] = {
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "www-authenticate",
    };
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (bytes_equal_fold(name, refused[i]))
            return false;
    return true;
}

/* ---- what a head means ---- */

static bool equal_fold(struct bytes a, struct bytes b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++) {
        uint8_t x = a.data[i], y = b.data[i];
        if (x != y && ((x | 0x20) != (y | 0x20) || (x | 0x20) < 'a' || (x | 0x20) > 'z'))
            return false;
    }
    return true;
}

static bool port_valid(struct bytes digits)
{
    uint32_t value = 0;
    if (digits.size == 0 || digits.size > 5 || digits.data[0] == '0')
        return false;
    for (size_t i = 0; i < digits.size; i++) {
        if (!http1_char_is(digits.data[i], CHAR_DIGIT))
            return false;
        value = value * 10 + digits.data[i] - '0';
    }
    return value <= UINT16_MAX;
}

/* host [":" port]: a name of labels (what it means is url.h's), or an address in brackets. */
static bool authority_valid(struct bytes text, bool needs_port)
{
    const uint8_t *s = text.data, *end = s + text.size, *at;
    if (text.size && *s == '[') {
        struct address a;
        at = memchr(s, ']', text.size);
        if (!at || address_parse((struct bytes){ s + 1, (size_t)(at - s - 1) }, &a) < 0 || !a.is_v6)
            return false;
        at++;
    } else {
        at = http1_skip(s, end, CHAR_HOST);
        if (at == s || at - s > 254 || *s == '.')
            return false;
        for (const uint8_t *c = s; c + 1 < at; c++)
            if (c[0] == '.' && c[1] == '.')
                return false;
    }
    if (at == end)
        return !needs_port;
    return *at == ':' && port_valid((struct bytes){ at + 1, (size_t)(end - at - 1) });
}

bool http1_host_valid(struct bytes host)
{
    return authority_valid(host, false);
}

/* "http://host:port/path?query" */
static enum http1_fault split_absolute(struct http1_head *h)
{
    struct bytes t = h->target;
    size_t scheme = 0;
    while (scheme < t.size && t.data[scheme] != ':')
        scheme++;
    h->scheme = (struct bytes){ t.data, scheme };
    if ((!bytes_equal_fold(h->scheme, "http") && !bytes_equal_fold(h->scheme, "https")) ||
        t.size < scheme + 3 || memcmp(t.data + scheme, "://", 3) != 0)
        return HTTP1_FAULT_TARGET;
    const uint8_t *start = t.data + scheme + 3, *end = t.data + t.size, *at = start;
    while (at < end && *at != '/' && *at != '?')
        at++;
    h->authority = (struct bytes){ start, (size_t)(at - start) };
    h->path = (struct bytes){ at, (size_t)(end - at) };
    /* Without a path it is "*" for OPTIONS (RFC 9112 3.2.4), but nginx takes "/". */
    if (!authority_valid(h->authority, false) || (at < end && *at == '?') ||
        (at == end && bytes_are(h->method, "OPTIONS")))
        return HTTP1_FAULT_TARGET;
    if (at == end) /* RFC 9112 3.2.1 */
        h->path = bytes_of("/");
    return HTTP1_NO_FAULT;
}

/* Without its port, where that is `port`; "" = whatever it is. */
static struct bytes without_port(struct bytes authority, const char *port)
{
    size_t at = authority.size;
    while (at > 0 && http1_char_is(authority.data[at - 1], CHAR_DIGIT))
        at--;
    if (at == 0 || authority.data[at - 1] != ':' ||
        (port[0] != '\0' &&
         !bytes_are((struct bytes){ authority.data + at, authority.size - at }, port)))
        return authority;
    return (struct bytes){ authority.data, at - 1 };
}

/* RFC 9112 3.2.2 lets the target win; a front that looked at Host would differ. A port that goes without
 * saying may be said in one of them only, and clients leave CONNECT's out of Host. */
static bool host_agrees(const struct http1_head *h, struct bytes host)
{
    bool connect = h->scheme.size == 0;
    if (equal_fold(h->authority, host))
        return true;
    if (connect)
        return equal_fold(without_port(h->authority, ""), host);
    const char *port = h->scheme.size == 5 ? "443" : "80";
    return equal_fold(without_port(h->authority, port), without_port(host, port));
}

/* RFC 9112 3.2: the four forms. */
static enum http1_fault split_target(struct http1_parser *p)
{
    struct http1_head *h = &p->head;
    struct bytes host = p->seen & SEEN_HOST ? p->fields[p->host].value : bytes_of("");
    bool connect = bytes_are(h->method, "CONNECT");
    if (!connect && (h->target.data[0] == '/' || bytes_are(h->target, "*"))) {
        if (h->target.data[0] == '*' && !bytes_are(h->method, "OPTIONS"))
            return HTTP1_FAULT_TARGET;
        h->authority = host;
        h->path = h->target;
        return HTTP1_NO_FAULT;
    }
    if (connect) {
        h->authority = h->target;
        if (!authority_valid(h->target, true))
            return HTTP1_FAULT_TARGET;
    } else {
        enum http1_fault f = split_absolute(h);
        if (f)
            return f;
    }
    if ((p->seen & SEEN_HOST) && !host_agrees(h, host))
        return HTTP1_FAULT_HOST_DIFFERS;
    return HTTP1_NO_FAULT;
}

/* Marks the fields that Connection names. */
static enum http1_fault mark_named(struct http1_parser *p)
{
    struct http1_head *h = &p->head;
    unsigned named = 0;
    for (size_t i = 0; i < h->field_count; i++) {
        struct bytes list = h->fields[i].value, word;
        if (!h->hop_by_hop[i] || !bytes_equal_fold(h->fields[i].name, "connection"))
            continue;
        while ((word = next_element(&list)).size) {
            if (++named > NAMED_MAX)
                return HTTP1_FAULT_TOO_MANY_FIELDS;
            for (size_t k = 0; k < h->field_count; k++)
                h->hop_by_hop[k] = h->hop_by_hop[k] || equal_fold(h->fields[k].name, word);
        }
    }
    return HTTP1_NO_FAULT;
}

/* RFC 9112 6.3, without its repairs. */
static enum http1_fault frame_message(struct http1_parser *p)
{
    struct http1_head *h = &p->head;
    if (p->seen & SEEN_CODING) {
        if (h->minor == 0)
            return HTTP1_FAULT_CODING_IN_1_0;
        if ((p->seen & SEEN_LENGTH) && !http1_hook_lenient(HTTP1_FAULT_LENGTH_AND_CODING))
            return HTTP1_FAULT_LENGTH_AND_CODING;
    }
    if (p->seen & SEEN_LENGTH)
        h->framing = HTTP1_LENGTH;
    else if (p->seen & SEEN_CODING)
        h->framing = HTTP1_CHUNKED;
    else
        h->framing = p->side == HTTP1_RESPONSE ? HTTP1_UNTIL_CLOSE : HTTP1_NONE;
    bool never = p->side == HTTP1_RESPONSE ? h->status < 200 || h->status == 204
                                           : bytes_are(h->method, "CONNECT");
    if (never && h->framing == HTTP1_CHUNKED)
        return HTTP1_FAULT_CODING;
    if (never && h->framing == HTTP1_LENGTH && h->content_length > 0)
        return HTTP1_FAULT_LENGTH_MALFORMED;
    if (never || (p->side == HTTP1_RESPONSE &&
                  (h->status == 304 || p->answer_to_head ||
                   (p->answer_to_connect && h->status >= 200 && h->status < 300))))
        h->framing = HTTP1_NONE;
    return HTTP1_NO_FAULT;
}

enum http1_fault http1_finish_head(struct http1_parser *p)
{
    struct http1_head *h = &p->head;
    enum http1_fault f = HTTP1_NO_FAULT;
    if (p->side == HTTP1_REQUEST) {
        if (h->minor == 1 && !(p->seen & SEEN_HOST))
            return HTTP1_FAULT_HOST_MISSING;
        if ((p->seen & SEEN_HOST) && !authority_valid(p->fields[p->host].value, false))
            return HTTP1_FAULT_HOST_MALFORMED;
        f = split_target(p);
    }
    if (f == HTTP1_NO_FAULT)
        f = frame_message(p);
    if (f == HTTP1_NO_FAULT && (p->seen & SEEN_CONNECTION))
        f = mark_named(p);
    bool persists = h->minor == 1 || (p->seen & SEEN_KEEP_ALIVE);
    h->keep_alive = persists && !(p->seen & SEEN_CLOSE) && h->framing != HTTP1_UNTIL_CLOSE;
    h->upgrade = (p->seen & SEEN_UPGRADE) && (p->seen & SEEN_UPGRADE_NAMED) && h->minor == 1;
    bool body =
        h->framing == HTTP1_CHUNKED || (h->framing == HTTP1_LENGTH && h->content_length > 0);
    h->expect_continue =
        p->side == HTTP1_REQUEST && (p->seen & SEEN_CONTINUE) && h->minor == 1 && body;
    if (h->status >= 200) /* the answer is there; what came before it were interim ones */
        p->answer_to_head = p->answer_to_connect = false;
    return f;
}
