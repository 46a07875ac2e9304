/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text made safe to show. The model of the stream filter: bytes are held while they may still
 * become a whole UTF-8 character or a whole colour sequence; the moment they cannot, every held
 * byte but the last is emitted escaped and the last is looked at afresh. So the output depends on
 * the bytes and never on how they were cut into calls.
 */
#include "base/text.h"

#include <string.h>

#define ESCAPE 0x1b

size_t text_decode(const uint8_t *bytes, size_t size, uint32_t *ret_code_point)
{
    uint8_t first = bytes[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t code_point = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code_point = code_point << 6 | (bytes[i] & 0x3f);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (code_point < least[length] || code_point > 0x10ffff ||
        (code_point >= 0xd800 && code_point <= 0xdfff))
        return 0;
    *ret_code_point = code_point;
    return length;
}

bool text_is_utf8(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size) {
        uint32_t code_point;
        size_t length = text_decode(at, size, &code_point);
        if (length == 0)
            return false;
        at += length;
        size -= length;
    }
    return true;
}

/* Unicode's Default_Ignorable_Code_Point, format controls, line separators, interlinear annotation
 * and private use: everything that changes how its neighbours look without being seen itself. */
static const struct {
    uint32_t first, last;
} invisible[] = {
    { 0x0000, 0x001f },   { 0x007f, 0x009f },   { 0x00ad, 0x00ad },   { 0x034f, 0x034f },
    { 0x0600, 0x0605 },   { 0x061c, 0x061c },   { 0x06dd, 0x06dd },   { 0x070f, 0x070f },
    { 0x0890, 0x0891 },   { 0x08e2, 0x08e2 },   { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },
    { 0x180b, 0x180f },   { 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },
    { 0x2800, 0x2800 },   { 0x3164, 0x3164 },   { 0xd800, 0xf8ff },   { 0xfdd0, 0xfdef },
    { 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },   { 0xfff0, 0xfffc },
    { 0xfffe, 0xffff },   { 0x110bd, 0x110bd }, { 0x110cd, 0x110cd }, { 0x13430, 0x1343f },
    { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff }, { 0xf0000, 0x10ffff },
};

bool text_code_point_visible(uint32_t code_point)
{
    if (code_point >= 0x20 && code_point < 0x7f)
        return true;
    for (size_t i = 0; i < sizeof invisible / sizeof invisible[0]; i++)
        if (code_point >= invisible[i].first && code_point <= invisible[i].last)
            return false;
    return (code_point & 0xfffe) != 0xfffe;
}

static void put_byte_escaped(struct buf *out, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    char text[4] = { '\\', 'x', hex[byte >> 4], hex[byte & 15] };
    buf_append(out, text, sizeof text);
}

static void put_code_point(struct buf *out, const uint8_t *bytes, size_t length,
                           uint32_t code_point)
{
    if (text_code_point_visible(code_point))
        buf_append(out, bytes, length);
    else if (code_point < 0x80)
        put_byte_escaped(out, (uint8_t)code_point);
    else
        buf_printf(out, "\\u{%x}", code_point);
}

void text_escape(struct buf *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size) {
        uint32_t code_point;
        size_t length = text_decode(at, size, &code_point);
        if (length == 0) {
            put_byte_escaped(out, *at);
            length = 1;
        } else if (code_point == '\n' || code_point == '\t' || code_point == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, code_point == '\n' ? 'n' : code_point == '\t' ? 't' : '\\');
        } else {
            put_code_point(out, at, length, code_point);
        }
        at += length;
        size -= length;
    }
}

enum held_state { HELD_MORE, HELD_WHOLE, HELD_BAD };

static enum held_state character_state(const uint8_t *held, size_t size)
{
    uint32_t code_point;
    if (text_decode(held, size, &code_point))
        return HELD_WHOLE;
    /* Could continuation bytes still complete it? The lowest and the highest that can follow
     * decide. */
    uint8_t low[4], high[4];
    memset(low, 0x80, sizeof low);
    memset(high, 0xbf, sizeof high);
    if (size >= sizeof low)
        return HELD_BAD;
    memcpy(low, held, size);
    memcpy(high, held, size);
    for (size_t length = size + 1; length <= 4; length++)
        if (text_decode(low, length, &code_point) || text_decode(high, length, &code_point))
            return HELD_MORE;
    return HELD_BAD;
}

/* "Conceal" (8) hides text from a person who is asked to read it. 38 and 48 take operands, which may be 8. 58 takes some as
 * well, but not for every terminal: one that does not know it reads 58;5;8 as 5 and 8. Values past 255 mean nothing, and
 * could mean 8 to one that counts in few bits; so could the operands of a colour of no known kind. */
static bool sgr_conceals(const uint8_t *at, size_t size)
{
    unsigned skip = 0;
    bool colour = false;
    for (size_t i = 0; i < size;) {
        unsigned value = 0;
        for (; i < size && at[i] != ';'; i++)
            value = value > 999 ? value : value * 10 + (at[i] - '0');
        i++;
        if (value > 255)
            return true;
        if (colour) {
            if (value != 5 && value != 2)
                return true;
            skip = value == 5 ? 1 : 3;
            colour = false;
        } else if (skip) {
            skip--;
        } else if (value == 38 || value == 48) {
            colour = true;
        } else if (value == 8) {
            return true;
        }
    }
    return false;
}

static enum held_state sequence_state(const uint8_t *held, size_t size)
{
    uint8_t last = held[size - 1];
    if (size == 1)
        return HELD_MORE;
    if (size == 2)
        return last == '[' ? HELD_MORE : HELD_BAD;
    if (last == 'm')
        return sgr_conceals(held + 2, size - 3) ? HELD_BAD : HELD_WHOLE;
    if ((last < '0' || last > '9') && last != ';')
        return HELD_BAD;
    return size == sizeof((struct text_filter *)0)->held ? HELD_BAD : HELD_MORE;
}

static void put_held(struct text_filter *state, struct buf *out)
{
    uint32_t code_point;
    if (state->held[0] == ESCAPE || state->held[0] == '\n' || state->held[0] == '\t')
        buf_append(out, state->held, state->held_size);
    else if (text_decode(state->held, state->held_size, &code_point))
        put_code_point(out, state->held, state->held_size, code_point);
    state->held_size = 0;
}

static void put_held_escaped(struct text_filter *state, struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t byte = state->held[i];
        if (text_code_point_visible(byte) && byte < 0x80)
            buf_putc(out, (char)byte);
        else
            put_byte_escaped(out, byte);
    }
    state->held_size = 0;
}

static void filter_byte(struct text_filter *state, struct buf *out, uint8_t byte, bool keep_colour)
{
    if (state->held_size == 0 && byte == ESCAPE && !keep_colour) {
        put_byte_escaped(out, byte);
        return;
    }
    state->held[state->held_size++] = byte;
    bool sequence = state->held[0] == ESCAPE;
    enum held_state now = sequence ? sequence_state(state->held, state->held_size)
                                   : character_state(state->held, state->held_size);
    if (now == HELD_MORE)
        return;
    if (now == HELD_WHOLE) {
        put_held(state, out);
        return;
    }
    /* The byte that broke it may begin something of its own, unless it is all there is. */
    size_t broken = state->held_size;
    if (broken == 1) {
        put_held_escaped(state, out, 1);
    } else {
        put_held_escaped(state, out, broken - 1);
        filter_byte(state, out, byte, keep_colour);
    }
}

void text_filter(struct text_filter *state, struct buf *out, const void *bytes, size_t size,
                 bool keep_colour)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        filter_byte(state, out, at[i], keep_colour);
}

void text_filter_flush(struct text_filter *state, struct buf *out)
{
    put_held_escaped(state, out, state->held_size);
}

void text_put_path_shortest(struct buf *out, const char *path)
{
    while (*path) {
        size_t size = strcspn(path, "/");
        if (size == 2 && path[0] == '.' && path[1] == '.') {
            while (out->size > 0 && out->data[--out->size] != '/')
                ;
        } else if (size > 0 && !(size == 1 && path[0] == '.')) {
            buf_putc(out, '/');
            buf_append(out, path, size);
        }
        path += size;
        path += *path == '/';
    }
    if (buf_status(out) == 0 && out->size == 0)
        buf_putc(out, '/');
}
