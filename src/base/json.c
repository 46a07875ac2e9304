/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON and YAML out. One writer serves both JSON forms: canonical (RFC 8785: sorted keys, shortest
 * escapes, ECMAScript numbers) for what is hashed or signed, and lines for what people and programs
 * read, where whatever a terminal could act on is escaped too.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

#define DEPTH_MAX 256

struct writer {
    struct buf *out;
    bool canonical;
    unsigned depth;
};

static int write_value(struct writer *w, const json_t *value);

/* ---- numbers ---- */

/* The digits of the shortest decimal that reads back as `value` (> 0), and where its point stands:
 * value = 0.DIGITS × 10^point. */
static void shortest_digits(double value, char digits[static 18], int *ret_point)
{
    char text[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    char *exponent = strchr(text, 'e');
    size_t count = 0;
    for (const char *at = text; at < exponent; at++)
        if (*at != '.')
            digits[count++] = *at;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    digits[count] = '\0';
    *ret_point = (int)strtol(exponent + 1, NULL, 10) + 1;
}

static void put_zeros(struct buf *out, int count)
{
    while (count-- > 0)
        buf_putc(out, '0');
}

/* ECMA-262, Number::toString. */
static int write_real(struct writer *w, double value)
{
    struct buf *out = w->out;
    char digits[18];
    int point;
    if (!isfinite(value))
        return -ERANGE;
    if (value == 0) {
        buf_puts(out, w->canonical ? "0" : "0.0");
        return 0;
    }
    if (value < 0)
        buf_putc(out, '-');
    shortest_digits(fabs(value), digits, &point);
    int count = (int)strlen(digits);
    if (point >= count && point <= 21) {
        buf_puts(out, digits);
        put_zeros(out, point - count);
        /* A line is read back: a real must not become an integer on the way. */
        if (!w->canonical)
            buf_puts(out, ".0");
    } else if (point > 0 && point <= 21) {
        buf_append(out, digits, (size_t)point);
        buf_printf(out, ".%s", digits + point);
    } else if (point > -6 && point <= 0) {
        buf_puts(out, "0.");
        put_zeros(out, -point);
        buf_puts(out, digits);
    } else {
        buf_putc(out, digits[0]);
        if (count > 1)
            buf_printf(out, ".%s", digits + 1);
        buf_printf(out, "e%+d", point - 1);
    }
    return 0;
}

/* ---- strings ---- */

static void put_u16(struct buf *out, uint32_t unit)
{
    buf_printf(out, "\\u%04x", unit);
}

static void put_escaped(struct buf *out, uint32_t code_point)
{
    static const char short_from[] = "\b\t\n\f\r\"\\", short_to[] = "btnfr\"\\";
    const char *found =
        code_point && code_point < 0x80 ? strchr(short_from, (int)code_point) : NULL;
    if (found) {
        buf_putc(out, '\\');
        buf_putc(out, short_to[found - short_from]);
    } else if (code_point > 0xffff) {
        put_u16(out, 0xd800 + ((code_point - 0x10000) >> 10));
        put_u16(out, 0xdc00 + ((code_point - 0x10000) & 0x3ff));
    } else {
        put_u16(out, code_point);
    }
}

static int write_string(struct writer *w, const char *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)text;
    buf_putc(w->out, '"');
    while (size) {
        uint32_t code_point;
        size_t length = text_decode(at, size, &code_point);
        if (length == 0)
            return -EILSEQ;
        bool escape = code_point < 0x20 || code_point == '"' || code_point == '\\' ||
                      (!w->canonical && !text_code_point_visible(code_point));
        if (escape)
            put_escaped(w->out, code_point);
        else
            buf_append(w->out, at, length);
        at += length;
        size -= length;
    }
    buf_putc(w->out, '"');
    return 0;
}

/* ---- collections ---- */

struct member {
    const char *key;
    json_t *value;
};

/* RFC 8785 3.2.3 sorts by UTF-16 code units. That is byte order, except that characters past U+FFFF
 * (0xf0… in UTF-8, surrogates 0xd800… in UTF-16) sort before U+E000…U+FFFF (0xee, 0xef). */
static int compare_members(const void *a, const void *b)
{
    const unsigned char *x = (const unsigned char *)((const struct member *)a)->key;
    const unsigned char *y = (const unsigned char *)((const struct member *)b)->key;
    while (*x && *x == *y) {
        x++;
        y++;
    }
    if (*x >= 0xee && *y >= 0xee && (*x >= 0xf0) != (*y >= 0xf0))
        return *x >= 0xf0 ? -1 : 1;
    return (int)*x - (int)*y;
}

static int write_object(struct writer *w, json_t *object)
{
    size_t count = json_object_size(object), i = 0;
    CLEANUP(mem_freep) struct member *members = mem_array(count, sizeof *members);
    if (!members)
        return -ENOMEM;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) members[i++] = (struct member){ key, value };
    if (w->canonical)
        qsort(members, count, sizeof *members, compare_members);
    buf_putc(w->out, '{');
    for (i = 0; i < count; i++) {
        if (i)
            buf_putc(w->out, ',');
        int result = write_string(w, members[i].key, strlen(members[i].key));
        if (result < 0)
            return result;
        buf_putc(w->out, ':');
        if ((result = write_value(w, members[i].value)) < 0)
            return result;
    }
    buf_putc(w->out, '}');
    return 0;
}

static int write_array(struct writer *w, const json_t *array)
{
    buf_putc(w->out, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            buf_putc(w->out, ',');
        int result = write_value(w, json_array_get(array, i));
        if (result < 0)
            return result;
    }
    buf_putc(w->out, ']');
    return 0;
}

static int write_collection(struct writer *w, const json_t *value)
{
    if (w->depth == DEPTH_MAX)
        return -ELOOP;
    w->depth++;
    int result = json_is_object(value) ? write_object(w, (json_t *)value) : write_array(w, value);
    w->depth--;
    return result;
}

static int write_value(struct writer *w, const json_t *value)
{
    if (!value)
        return -ENOMEM; /* a constructor that failed */
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return write_collection(w, value);
    case JSON_STRING:
        return write_string(w, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        buf_printf(w->out, "%lld", (long long)json_integer_value(value));
        return 0;
    case JSON_REAL:
        return write_real(w, json_real_value(value));
    case JSON_TRUE:
        buf_puts(w->out, "true");
        return 0;
    case JSON_FALSE:
        buf_puts(w->out, "false");
        return 0;
    case JSON_NULL:
        buf_puts(w->out, "null");
        return 0;
    }
    return -EINVAL;
}

static int write_root(const json_t *value, struct buf *out, bool canonical)
{
    struct writer w = { .out = out, .canonical = canonical };
    int result = write_value(&w, value);
    return result < 0 ? result : buf_status(out);
}

int json_canonical(const json_t *value, struct buf *out)
{
    return write_root(value, out, true);
}

int json_line(const json_t *value, struct buf *out)
{
    return write_root(value, out, false);
}

json_t *json_string_lossy(const void *bytes, size_t size)
{
    if (text_is_utf8(bytes, size))
        return json_stringn_nocheck(size ? bytes : "", size);
    CLEANUP(buf_done) struct buf text = BUF_INIT(SIZE_MAX / 4);
    const uint8_t *at = bytes;
    while (size) {
        uint32_t code_point;
        size_t length = text_decode(at, size, &code_point);
        if (length)
            buf_append(&text, at, length);
        else
            buf_puts(&text, "\xef\xbf\xbd");
        length = length ? length : 1;
        at += length;
        size -= length;
    }
    return buf_status(&text) < 0 ? NULL : json_stringn_nocheck(buf_cstr(&text), text.size);
}

json_t *json_string_of(const char *text)
{
    return text ? json_string_lossy(text, strlen(text)) : json_null();
}

json_t *json_count(uint64_t n)
{
    return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

/* ---- YAML ---- */

/* Plain only where every YAML reader, old or new, block or flow, sees a string. */
static bool yaml_is_plain(const char *text)
{
    static const char *const words[] = {
        "y", "n", "yes", "no", "on", "off", "true", "false", "null"
    };
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/";
    if (!text[0] || !strchr(letters, text[0]))
        return false;
    for (const char *at = text; *at; at++)
        if (!strchr(letters, *at) && !strchr("0123456789-.+@*", *at))
            return false;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcasecmp(text, words[i]) == 0)
            return false;
    return true;
}

void yaml_put_string(struct buf *out, const char *text)
{
    if (yaml_is_plain(text)) {
        buf_puts(out, text);
        return;
    }
    const uint8_t *at = (const uint8_t *)text;
    size_t size = strlen(text);
    buf_putc(out, '"');
    while (size) {
        uint32_t code_point;
        size_t length = text_decode(at, size, &code_point);
        if (length == 0)
            buf_puts(out, "\\uFFFD"); /* YAML has no bytes */
        else if (code_point == '"' || code_point == '\\')
            buf_printf(out, "\\%c", (char)code_point);
        else if (code_point == '\n' || code_point == '\t')
            buf_puts(out, code_point == '\n' ? "\\n" : "\\t");
        else if (text_code_point_visible(code_point))
            buf_append(out, at, length);
        else if (code_point < 0x100)
            buf_printf(out, "\\x%02X", code_point);
        else if (code_point < 0x10000)
            buf_printf(out, "\\u%04X", code_point);
        else
            buf_printf(out, "\\U%08X", code_point);
        length = length ? length : 1;
        at += length;
        size -= length;
    }
    buf_putc(out, '"');
}
