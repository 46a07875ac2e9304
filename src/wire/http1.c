/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 read (docs/http.md). A message is sections of lines with a body between or after:
 *
 *     START → FIELDS → (head) → NONE ───────────────────────────→ FINISHED → (done) → START
 *                             → LENGTH ─────────────────────────→ FINISHED
 *                             → CHUNK_HEAD ⇄ CHUNK_DATA, CHUNK_TAIL → TRAILERS → FINISHED
 *                             → UNTIL_CLOSE ── http1_end() ─────→ (done)
 *     any → FAILED, for good
 *
 * A section (head, chunk line, trailers) stays in the caller's buffer until it is whole. Each call
 * goes on where the last one stopped: `scanned` is where the search for the end of a line goes on,
 * and a line is read once, when its end is there. Slices of lines that were read in an earlier call
 * move with the buffer (rebase()).
 *
 * Why chunking cannot matter: a line is judged only when its LF was found within the room that its
 * section has left, and is too long exactly when that room holds no LF. Both are facts about the
 * bytes, not about when they came.
 */
#include "wire/http1.h"

#include <string.h>

#include "base/mem.h"
#include "wire/http1_hooks.h"
#include "wire/http1_internal.h"

#define METHOD_MAX 32u
#define START_LINE_ROOM 64u  /* of a request line, beside its target */
#define CHUNK_LINE_MAX 1024u /* with its CRLF */
#define OVERHEAD_MAX 4096u   /* bytes of chunk extensions ahead of the data that pay for them */

enum state {
    START,
    FIELDS,
    LENGTH,
    UNTIL_CLOSE,
    CHUNK_HEAD,
    CHUNK_DATA,
    CHUNK_TAIL,
    TRAILERS,
    FINISHED,
    FAILED
};

const struct http1_limits http1_limits_default = { HTTP_HEAD_MAX, 16384, HTTP_FIELDS_MAX };

#ifdef AMBIT_TEST_HOOKS
uint64_t http1_lenient;
#endif

void http1_init(struct http1_parser *p, enum http1_side side, const struct http1_limits *limits)
{
    p->side = side;
    p->limits = limits ? *limits : http1_limits_default;
    p->limits.fields_max = MIN(p->limits.fields_max, (uint32_t)HTTP_FIELDS_MAX);
    p->state = START;
    p->fault = HTTP1_NO_FAULT;
    p->base = NULL;
    p->line = p->scanned = 0;
    p->left = 0;
    p->overhead = 0;
    p->answer_to_head = p->answer_to_connect = p->skipped = false;
    p->seen = 0;
    p->host = p->trailer_count = 0;
    p->head.field_count = 0;
    p->head.fields = p->fields;
}

void http1_expect(struct http1_parser *p, struct bytes method)
{
    p->answer_to_head = bytes_are(method, "HEAD");
    p->answer_to_connect = bytes_are(method, "CONNECT");
}

/* ---- lines ---- */

enum line { LINE_WHOLE, LINE_MORE, LINE_TOO_LONG };

/* The next line of a section that begins at `bytes` and may take `max` bytes, with its LF. */
static enum line next_line(struct http1_parser *p, const uint8_t *bytes, size_t size, size_t max,
                           struct bytes *ret)
{
    size_t end = MIN(size, max);
    const uint8_t *lf =
        p->scanned < end ? memchr(bytes + p->scanned, '\n', end - p->scanned) : NULL;
    if (!lf) {
        p->scanned = MAX(p->scanned, end);
        return size >= max ? LINE_TOO_LONG : LINE_MORE;
    }
    *ret = (struct bytes){ bytes + p->line, (size_t)(lf - bytes) - p->line };
    p->line = p->scanned = (size_t)(lf - bytes) + 1;
    return LINE_WHOLE;
}

/* Takes the CR from the end of a line. */
static enum http1_fault strip_cr(struct bytes *line)
{
    if (line->size && line->data[line->size - 1] == '\r')
        line->size--;
    else if (!http1_hook_lenient(HTTP1_FAULT_BARE_LF))
        return HTTP1_FAULT_BARE_LF;
    return HTTP1_NO_FAULT;
}

static void move(struct bytes *b, const uint8_t *from, const uint8_t *to)
{
    if (b->size) /* numbers: what stood at `from` may be freed by now */
        b->data = to + ((uintptr_t)b->data - (uintptr_t)from);
}

/* The section that was begun begins at `to` now. */
static void rebase(struct http1_parser *p, const uint8_t *to)
{
    const uint8_t *from = p->base;
    if (from == to || p->line == 0)
        return;
    size_t first = 0, end = p->head.field_count;
    if (p->state == TRAILERS) {
        first = end;
        end += p->trailer_count;
    } else {
        move(&p->head.method, from, to);
        move(&p->head.target, from, to);
        move(&p->head.reason, from, to);
    }
    for (size_t i = first; i < end; i++) {
        move(&p->fields[i].name, from, to);
        move(&p->fields[i].value, from, to);
    }
}

/* ---- start line ---- */

/* "HTTP/1.0" or "HTTP/1.1" */
static enum http1_fault read_version(struct bytes text, uint8_t *ret_minor)
{
    const uint8_t *s = text.data;
    if (text.size != 8 || memcmp(s, "HTTP/", 5) != 0 || !http1_char_is(s[5], CHAR_DIGIT) ||
        s[6] != '.' || !http1_char_is(s[7], CHAR_DIGIT))
        return HTTP1_FAULT_START_LINE;
    if (s[5] != '1' || s[7] > '1')
        return HTTP1_FAULT_VERSION;
    *ret_minor = s[7] - '0';
    return HTTP1_NO_FAULT;
}

/* The end of a target, or where it is bad. An escape is two hexadecimal digits, and no NUL in the
 * path: servers refuse it, cut the path there, or take it. */
static const uint8_t *skip_target(const uint8_t *s, const uint8_t *end)
{
    bool in_query = false;
    for (; s < end && http1_char_is(*s, CHAR_TARGET); s++) {
        in_query = in_query || *s == '?';
        if (*s != '%')
            continue;
        if (end - s < 3 || !http1_char_is(s[1], CHAR_HEX) || !http1_char_is(s[2], CHAR_HEX) ||
            (!in_query && s[1] == '0' && s[2] == '0'))
            break;
        s += 2;
    }
    return s;
}

bool http1_path_valid(struct bytes path)
{
    const uint8_t *end = path.data + path.size;
    return bytes_are(path, "*") ||
           (path.size > 0 && path.data[0] == '/' && path.size <= http1_limits_default.target_max &&
            skip_target(path.data, end) == end);
}

static enum http1_fault read_request_line(struct http1_parser *p, struct bytes line)
{
    const uint8_t *s = line.data, *end = s + line.size, *at = http1_skip(s, end, CHAR_TOKEN);
    p->head.method = (struct bytes){ s, (size_t)(at - s) };
    if (at == end)
        return HTTP1_FAULT_START_LINE;
    if (at == s || *at != ' ' || p->head.method.size > METHOD_MAX)
        return HTTP1_FAULT_METHOD;
    s = at + 1;
    at = skip_target(s, end);
    p->head.target = (struct bytes){ s, (size_t)(at - s) };
    if (at == end && at > s)
        return HTTP1_FAULT_START_LINE; /* HTTP/0.9 */
    if (at == s || *at != ' ')
        return HTTP1_FAULT_TARGET;
    if (p->head.target.size > p->limits.target_max)
        return HTTP1_FAULT_TARGET_TOO_LONG;
    return read_version((struct bytes){ at + 1, (size_t)(end - at - 1) }, &p->head.minor);
}

static size_t value_end(const uint8_t *v, size_t size);

/* "HTTP/1.1 200 OK"; the space after the status may be missing where the reason is. */
static enum http1_fault read_status_line(struct http1_parser *p, struct bytes line)
{
    const uint8_t *s = line.data;
    if (line.size < 9 || s[8] != ' ')
        return HTTP1_FAULT_START_LINE;
    enum http1_fault f = read_version((struct bytes){ s, 8 }, &p->head.minor);
    if (f)
        return f;
    if (line.size < 12 || s[9] < '1' || s[9] > '5' || !http1_char_is(s[10], CHAR_DIGIT) ||
        !http1_char_is(s[11], CHAR_DIGIT) || (line.size > 12 && s[12] != ' '))
        return HTTP1_FAULT_STATUS;
    p->head.status = (uint16_t)((s[9] - '0') * 100 + (s[10] - '0') * 10 + s[11] - '0');
    if (line.size > 13)
        p->head.reason = (struct bytes){ s + 13, line.size - 13 };
    size_t good = value_end(p->head.reason.data, p->head.reason.size);
    if (good == p->head.reason.size)
        return HTTP1_NO_FAULT;
    return p->head.reason.data[good] == '\r' ? HTTP1_FAULT_BARE_CR : HTTP1_FAULT_START_LINE;
}

static void begin_head(struct http1_parser *p)
{
    struct http1_head *h = &p->head;
    h->method = h->target = h->authority = h->scheme = h->path = h->reason = bytes_of("");
    h->status = 0;
    h->minor = 0;
    h->framing = HTTP1_NONE;
    h->content_length = 0;
    h->keep_alive = h->expect_continue = h->upgrade = false;
    h->field_count = 0;
    p->seen = p->trailer_count = 0;
    p->overhead = 0;
}

/* ---- fields ---- */

/* The length of the part of a value that has no control character, eight bytes at a time. */
static size_t value_end(const uint8_t *v, size_t size)
{
    const uint64_t ones = UINT64_MAX / 255, high = ones * 128;
    size_t i = 0;
    while (i < size) {
        if (size - i >= 8) {
            uint64_t w, del;
            memcpy(&w, v + i, 8);
            del = w ^ ones * 0x7f;
            if ((((w - ones * ' ') & ~w) | ((del - ones) & ~del)) & high) {
                for (size_t end = i + 8; i < end; i++)
                    if (!http1_char_is(v[i], CHAR_VALUE))
                        return i;
                continue;
            }
            i += 8;
        } else if (!http1_char_is(v[i], CHAR_VALUE)) {
            return i;
        } else {
            i++;
        }
    }
    return size;
}

/* Splits "name: value". */
static enum http1_fault split_field(struct bytes line, struct http_field *ret)
{
    const uint8_t *s = line.data, *end = s + line.size;
    if (http1_is_space(*s))
        return HTTP1_FAULT_FOLDED;
    const uint8_t *colon = http1_skip(s, end, CHAR_TOKEN);
    size_t name = (size_t)(colon - s);
    if (colon < end && name && http1_is_space(*colon)) {
        while (colon < end && http1_is_space(*colon))
            colon++;
        if (colon == end || *colon != ':')
            return HTTP1_FAULT_FIELD_NAME;
        if (!http1_hook_lenient(HTTP1_FAULT_SPACE_BEFORE_COLON))
            return HTTP1_FAULT_SPACE_BEFORE_COLON;
    }
    if (colon == end || *colon != ':' || name == 0)
        return HTTP1_FAULT_FIELD_NAME;
    colon++;
    size_t rest = (size_t)(end - colon), good = value_end(colon, rest);
    if (good < rest)
        return colon[good] == '\r' ? HTTP1_FAULT_BARE_CR : HTTP1_FAULT_FIELD_VALUE;
    ret->name = (struct bytes){ s, name };
    while (colon < end && *colon == ' ')
        colon++;
    while (colon < end && end[-1] == ' ')
        end--;
    /* nginx keeps tabs around a value, Node drops them. */
    if (colon < end && (*colon == '\t' || end[-1] == '\t'))
        return HTTP1_FAULT_FIELD_VALUE;
    ret->value = (struct bytes){ colon, (size_t)(end - colon) };
    return HTTP1_NO_FAULT;
}

static enum http1_fault read_field(struct http1_parser *p, struct bytes line)
{
    bool in_trailers = p->state == TRAILERS;
    size_t i = p->head.field_count + (in_trailers ? p->trailer_count : 0);
    if (i >= p->limits.fields_max)
        return HTTP1_FAULT_TOO_MANY_FIELDS;
    enum http1_fault f = split_field(line, &p->fields[i]);
    if (f)
        return f;
    if (in_trailers) {
        p->trailer_count++;
        return http1_trailer_allowed(p->fields[i].name) ? HTTP1_NO_FAULT : HTTP1_FAULT_TRAILER_NAME;
    }
    p->head.field_count++;
    return http1_note_field(p, i);
}

static enum state state_after_head(struct http1_parser *p)
{
    p->left = p->head.content_length;
    switch (p->head.framing) {
    case HTTP1_LENGTH:
        return p->left ? LENGTH : FINISHED;
    case HTTP1_CHUNKED:
        return CHUNK_HEAD;
    case HTTP1_UNTIL_CLOSE:
        return UNTIL_CLOSE;
    case HTTP1_NONE:
        break;
    }
    return FINISHED;
}

/* ---- chunks ---- */

/* ";name=value", each value a token or a quoted string; no spaces (RFC 9112 7.1.1 has them for
 * reading old messages only). */
static bool extensions_valid(const uint8_t *s, const uint8_t *end)
{
    while (s < end) {
        const uint8_t *name = s + 1;
        if (*s != ';' || (s = http1_skip(name, end, CHAR_TOKEN)) == name)
            return false;
        if (s == end || *s != '=')
            continue;
        const uint8_t *value = ++s;
        if (s == end || *s != '"') {
            if ((s = http1_skip(s, end, CHAR_TOKEN)) == value)
                return false;
            continue;
        }
        for (s++; s < end && *s != '"'; s++)
            if (!http1_char_is(*s, CHAR_VALUE) || (*s == '\\' && ++s == end))
                return false;
        if (s == end || s++ == end)
            return false;
    }
    return true;
}

static enum http1_fault read_chunk_head(struct http1_parser *p, struct bytes line)
{
    const uint8_t *end = line.data + line.size, *at = line.data;
    uint64_t size = 0;
    for (; at < end && http1_char_is(*at, CHAR_HEX); at++) {
        if (at - line.data == 16)
            return HTTP1_FAULT_CHUNK_SIZE;
        size = size << 4 | (uint64_t)(*at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10);
    }
    if (at == line.data || size > INT64_MAX || (at < end && *at != ';'))
        return HTTP1_FAULT_CHUNK_SIZE;
    p->overhead += (uint32_t)(end - at);
    if (p->overhead > OVERHEAD_MAX || !extensions_valid(at, end))
        return HTTP1_FAULT_CHUNK_EXTENSION;
    p->overhead -= (uint32_t)MIN(size, (uint64_t)p->overhead);
    p->left = size;
    return HTTP1_NO_FAULT;
}

/* ---- events ---- */

static enum http1_event_kind fail(struct http1_parser *p, enum http1_fault f,
                                  struct http1_event *ret)
{
    p->state = FAILED;
    p->fault = ret->fault = f;
    return HTTP1_FAULT;
}

static void begin_section(struct http1_parser *p, enum state state)
{
    p->state = state;
    p->line = p->scanned = 0;
}

static enum http1_event_kind done(struct http1_parser *p, struct http1_event *ret)
{
    begin_section(p, START);
    p->skipped = false;
    ret->head = &p->head;
    ret->fields = p->fields + p->head.field_count;
    ret->field_count = p->trailer_count;
    return HTTP1_DONE;
}

/* How long the line that comes next may be, counted from the start of its section. */
static size_t section_max(const struct http1_parser *p)
{
    size_t start_line = (size_t)p->limits.target_max + START_LINE_ROOM;
    return p->state == START && p->side == HTTP1_REQUEST
               ? MIN(start_line, (size_t)p->limits.head_max)
               : p->limits.head_max;
}

/* Lines of a head or of trailers, up to the empty one: HTTP1_DONE when it was there. */
static enum http1_event_kind read_section(struct http1_parser *p, const uint8_t *bytes, size_t size,
                                          struct http1_event *ret)
{
    rebase(p, bytes);
    for (;;) {
        struct bytes line;
        size_t max = section_max(p);
        enum line got = next_line(p, bytes, size, max, &line);
        p->base = bytes;
        if (got == LINE_MORE)
            return HTTP1_MORE;
        if (got == LINE_TOO_LONG)
            return fail(p,
                        max < p->limits.head_max ? HTTP1_FAULT_TARGET_TOO_LONG
                                                 : HTTP1_FAULT_HEAD_TOO_LONG,
                        ret);
        enum http1_fault f = strip_cr(&line);
        if (f == HTTP1_NO_FAULT && p->state == START) {
            begin_head(p);
            f = p->side == HTTP1_REQUEST ? read_request_line(p, line) : read_status_line(p, line);
            p->state = FIELDS;
        } else if (f == HTTP1_NO_FAULT) {
            if (line.size == 0)
                return HTTP1_DONE;
            f = read_field(p, line);
        }
        if (f)
            return fail(p, f, ret);
    }
}

/* RFC 9112 2.2: one empty line before a request is passed over. The bytes that it takes. */
static size_t skip_empty_line(struct http1_parser *p, const uint8_t *bytes, size_t size)
{
    if (p->state != START || p->skipped || p->side != HTTP1_REQUEST || size < 2 ||
        bytes[0] != '\r' || bytes[1] != '\n')
        return 0;
    p->skipped = true;
    p->scanned = 0;
    return 2;
}

static enum http1_event_kind read_head(struct http1_parser *p, const uint8_t *bytes, size_t size,
                                       struct http1_event *ret, size_t *used)
{
    size_t skipped = skip_empty_line(p, bytes, size);
    *used = skipped;
    enum http1_event_kind kind = read_section(p, bytes + skipped, size - skipped, ret);
    if (kind != HTTP1_DONE)
        return kind;
    enum http1_fault f = http1_finish_head(p);
    if (f)
        return fail(p, f, ret);
    *used += p->line;
    begin_section(p, state_after_head(p));
    ret->head = &p->head;
    return HTTP1_HEAD;
}

static enum http1_event_kind read_data(struct http1_parser *p, const uint8_t *bytes, size_t size,
                                       struct http1_event *ret, size_t *used)
{
    size_t some = size;
    if (p->state != UNTIL_CLOSE)
        some = (size_t)MIN(p->left, (uint64_t)size);
    if (some == 0)
        return HTTP1_MORE;
    ret->data = (struct bytes){ bytes, some };
    *used += some;
    if (p->state != UNTIL_CLOSE && (p->left -= some) == 0)
        begin_section(p, p->state == LENGTH ? FINISHED : CHUNK_TAIL);
    return HTTP1_DATA;
}

/* A chunk's line, or the CRLF after its data. HTTP1_DONE: go on in the next state. */
static enum http1_event_kind read_between(struct http1_parser *p, const uint8_t *bytes, size_t size,
                                          struct http1_event *ret, size_t *used)
{
    if (p->state == CHUNK_TAIL) {
        if ((size > 0 && bytes[0] != '\r') || (size > 1 && bytes[1] != '\n'))
            return fail(p, HTTP1_FAULT_CHUNK_END, ret);
        if (size < 2)
            return HTTP1_MORE;
        *used += 2;
        begin_section(p, CHUNK_HEAD);
        return HTTP1_DONE;
    }
    struct bytes line;
    enum line got = next_line(p, bytes, size, CHUNK_LINE_MAX, &line);
    if (got == LINE_MORE)
        return HTTP1_MORE;
    if (got == LINE_TOO_LONG)
        return fail(p,
                    memchr(bytes, ';', CHUNK_LINE_MAX) ? HTTP1_FAULT_CHUNK_EXTENSION
                                                       : HTTP1_FAULT_CHUNK_SIZE,
                    ret);
    enum http1_fault f = strip_cr(&line);
    if (f == HTTP1_NO_FAULT)
        f = read_chunk_head(p, line);
    if (f)
        return fail(p, f, ret);
    *used += p->line;
    begin_section(p, p->left ? CHUNK_DATA : TRAILERS);
    return HTTP1_DONE;
}

enum http1_event_kind http1_read(struct http1_parser *p, const uint8_t *bytes, size_t size,
                                 struct http1_event *ret, size_t *ret_used)
{
    *ret = (struct http1_event){ 0 };
    *ret_used = 0;
    for (;;) {
        const uint8_t *at = bytes + *ret_used;
        size_t left = size - *ret_used;
        enum http1_event_kind kind;
        switch ((enum state)p->state) {
        case START:
        case FIELDS:
            return read_head(p, at, left, ret, ret_used);
        case LENGTH:
        case UNTIL_CLOSE:
        case CHUNK_DATA:
            return read_data(p, at, left, ret, ret_used);
        case CHUNK_HEAD:
        case CHUNK_TAIL:
            if ((kind = read_between(p, at, left, ret, ret_used)) != HTTP1_DONE)
                return kind;
            break;
        case TRAILERS:
            if ((kind = read_section(p, at, left, ret)) != HTTP1_DONE)
                return kind;
            *ret_used += p->line;
            return done(p, ret);
        case FINISHED:
            return done(p, ret);
        case FAILED:
            ret->fault = p->fault;
            return HTTP1_FAULT;
        }
    }
}

enum http1_event_kind http1_end(struct http1_parser *p, struct http1_event *ret)
{
    *ret = (struct http1_event){ 0 };
    if (p->state == FAILED) {
        ret->fault = p->fault;
        return HTTP1_FAULT;
    }
    if (p->state == START && p->scanned == 0)
        return HTTP1_DONE; /* between messages */
    if (p->state == UNTIL_CLOSE || p->state == FINISHED)
        return done(p, ret);
    return fail(p, HTTP1_FAULT_BODY_CUT, ret);
}
