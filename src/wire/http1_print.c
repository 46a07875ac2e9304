/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 written, and the characters of names and values that both directions agree on.
 *
 * The printers trust their caller for one thing only, that names and values are valid; they never
 * add a field of their own, so framing is what the caller says it is.
 */
#include "wire/http1.h"

#include <string.h>

#include "base/mem.h"
#include "wire/http1_internal.h"

/* ---- characters ---- */

#define PUNCTUATION CHAR_TOKEN | CHAR_VALUE
#define LETTER CHAR_TOKEN | CHAR_VALUE | CHAR_TARGET | CHAR_HOST
#define TARGET CHAR_VALUE | CHAR_TARGET

/* Left out of targets: " # < > \ and everything that is not visible ASCII. */
const uint8_t http1_chars[256] = {
    ['\t'] = CHAR_VALUE,
    [' '] = CHAR_VALUE,
    ['!'] = PUNCTUATION | CHAR_TARGET,
    ['"'] = CHAR_VALUE,
    ['#'] = PUNCTUATION,
    ['$' ... '\''] = PUNCTUATION | CHAR_TARGET,
    ['(' ... ')'] = TARGET,
    ['*' ... '+'] = PUNCTUATION | CHAR_TARGET,
    [','] = TARGET,
    ['-' ... '.'] = LETTER,
    ['/'] = TARGET,
    ['0' ... '9'] = LETTER | CHAR_DIGIT | CHAR_HEX,
    [':' ... ';'] = TARGET,
    ['<'] = CHAR_VALUE,
    ['='] = TARGET,
    ['>'] = CHAR_VALUE,
    ['?' ... '@'] = TARGET,
    ['A' ... 'F'] = LETTER | CHAR_HEX,
    ['G' ... 'Z'] = LETTER,
    ['['] = TARGET,
    ['\\'] = CHAR_VALUE,
    [']'] = TARGET,
    ['^'] = PUNCTUATION | CHAR_TARGET,
    ['_'] = LETTER,
    ['`'] = PUNCTUATION | CHAR_TARGET,
    ['a' ... 'f'] = LETTER | CHAR_HEX,
    ['g' ... 'z'] = LETTER,
    ['{'] = TARGET,
    ['|'] = PUNCTUATION | CHAR_TARGET,
    ['}'] = TARGET,
    ['~'] = PUNCTUATION | CHAR_TARGET,
    [0x80 ... 0xff] = CHAR_VALUE,
};

bool http1_token_valid(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++)
        if (!(http1_chars[name.data[i]] & CHAR_TOKEN))
            return false;
    return name.size > 0;
}

bool http1_value_valid(struct bytes value)
{
    const uint8_t *v = value.data;
    if (value.size == 0)
        return true;
    for (size_t i = 0; i < value.size; i++)
        if (!(http1_chars[v[i]] & CHAR_VALUE))
            return false;
    uint8_t first = v[0], last = v[value.size - 1];
    return first != ' ' && first != '\t' && last != ' ' && last != '\t';
}

bool http1_name_alike(struct bytes name, const char *known)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t a = name.data[i] == '_' ? '-' : name.data[i];
        if (known[i] == '\0' || a != (known[i] == '_' ? '-' : (uint8_t)known[i]))
            return false;
    }
    return known[name.size] == '\0';
}

static bool is_alike_fold(struct bytes name, const char *known)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if ((c == '_' ? '-' : c) != (uint8_t)known[i])
            return false;
    }
    return true;
}

/* By length first: this is asked of every field of every message. */
bool http1_name_of_connection(struct bytes name)
{
    switch (name.size) {
    case 2:
        return is_alike_fold(name, "te");
    case 7:
        return is_alike_fold(name, "upgrade");
    case 10:
        return is_alike_fold(name, "connection") || is_alike_fold(name, "keep-alive");
    case 16:
        return is_alike_fold(name, "proxy-connection");
    case 17:
        return is_alike_fold(name, "transfer-encoding");
    default:
        return false;
    }
}

bool bytes_equal_fold(struct bytes a, const char *lower)
{
    for (size_t i = 0; i < a.size; i++) {
        uint8_t c = a.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (lower[i] == '\0' || c != (uint8_t)lower[i])
            return false;
    }
    return lower[a.size] == '\0';
}

/* ---- printing ---- */

static void print_fields(struct buf *out, const struct http_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_append(out, fields[i].name.data, fields[i].name.size);
        buf_append(out, ": ", 2);
        buf_append(out, fields[i].value.data, fields[i].value.size);
        buf_append(out, "\r\n", 2);
    }
    buf_append(out, "\r\n", 2);
}

void http1_print_request(struct buf *out, struct bytes method, struct bytes target,
                         const struct http_field *fields, size_t count)
{
    buf_append(out, method.data, method.size);
    buf_append(out, " ", 1);
    buf_append(out, target.data, target.size);
    buf_append(out, " HTTP/1.1\r\n", 11);
    print_fields(out, fields, count);
}

void http1_print_response(struct buf *out, uint16_t status, const struct http_field *fields,
                          size_t count)
{
    char line[] = "HTTP/1.1 000 ";
    ASSERT(status >= 100 && status <= 999);
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    buf_append(out, line, sizeof line - 1);
    buf_puts(out, http1_reason(status));
    buf_append(out, "\r\n", 2);
    print_fields(out, fields, count);
}

void http1_print_chunk_head(struct buf *out, uint64_t size)
{
    char line[18];
    size_t at = sizeof line;
    line[--at] = '\n';
    line[--at] = '\r';
    do {
        line[--at] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size);
    buf_append(out, line + at, sizeof line - at);
}

void http1_print_chunk_tail(struct buf *out)
{
    buf_append(out, "\r\n", 2);
}

void http1_print_chunk(struct buf *out, struct bytes data)
{
    if (data.size == 0)
        return;
    http1_print_chunk_head(out, data.size);
    buf_append(out, data.data, data.size);
    http1_print_chunk_tail(out);
}

void http1_print_last_chunk(struct buf *out, const struct http_field *trailers, size_t count)
{
    buf_append(out, "0\r\n", 3);
    print_fields(out, trailers, count);
}

/* ---- words ---- */

/* IANA's registry of status codes. */
static const char *const reasons[600] = {
    [100] = "Continue",
    [101] = "Switching Protocols",
    [102] = "Processing",
    [103] = "Early Hints",
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [203] = "Non-Authoritative Information",
    [204] = "No Content",
    [205] = "Reset Content",
    [206] = "Partial Content",
    [207] = "Multi-Status",
    [208] = "Already Reported",
    [226] = "IM Used",
    [300] = "Multiple Choices",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [305] = "Use Proxy",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [402] = "Payment Required",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [407] = "Proxy Authentication Required",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [417] = "Expectation Failed",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [423] = "Locked",
    [424] = "Failed Dependency",
    [425] = "Too Early",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [451] = "Unavailable For Legal Reasons",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
    [506] = "Variant Also Negotiates",
    [507] = "Insufficient Storage",
    [508] = "Loop Detected",
    [511] = "Network Authentication Required",
};

const char *http1_reason(uint16_t status)
{
    return status < ARRAY_SIZE(reasons) && reasons[status] ? reasons[status] : "";
}

const char *http1_fault_name(enum http1_fault f)
{
#define FAULT_NAME(name, status, text) [HTTP1_FAULT_##name] = #name,
    static const char *const names[HTTP1_FAULT_COUNT] = { "NO_FAULT", HTTP1_FAULTS(FAULT_NAME) };
    return (unsigned)f < HTTP1_FAULT_COUNT ? names[f] : "unknown";
}

const char *http1_fault_text(enum http1_fault f)
{
#define FAULT_TEXT(name, status, text) [HTTP1_FAULT_##name] = text,
    static const char *const texts[HTTP1_FAULT_COUNT] = { "no fault", HTTP1_FAULTS(FAULT_TEXT) };
    return (unsigned)f < HTTP1_FAULT_COUNT ? texts[f] : "unknown";
}

uint16_t http1_fault_status(enum http1_fault f)
{
#define FAULT_STATUS(name, status, text) [HTTP1_FAULT_##name] = status,
    static const uint16_t statuses[HTTP1_FAULT_COUNT] = { 200, HTTP1_FAULTS(FAULT_STATUS) };
    return (unsigned)f < HTTP1_FAULT_COUNT ? statuses[f] : 500;
}
