/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers and cursors. Invariants of a buf: size <= max; where there is memory, capacity > size and
 * data[size] is NUL; once `failed` is set nothing is appended. Of a cursor: at <= end; once `bad`
 * is set it does not move.
 */
#include "base/buf.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define CAPACITY_MIN 64

struct bytes bytes_of(const char *text)
{
    return (struct bytes){ (const uint8_t *)text, strlen(text) };
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool bytes_are(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of(text));
}

char *bytes_text(struct bytes b)
{
    char *text = mem_strndup((const char *)b.data, b.size);
    for (size_t i = 0; text != NULL && i < b.size; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    return text;
}

void buf_done(struct buf *b)
{
    if (b->wipes)
        mem_wipe(b->data, b->capacity);
    mem_free(b->data);
    *b = (struct buf){ .max = b->max, .wipes = b->wipes };
}

void buf_clear(struct buf *b)
{
    b->size = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* Where realloc() moves, it leaves what was behind. */
static uint8_t *grow(struct buf *b, size_t capacity)
{
    if (!b->wipes)
        return mem_grow(b->data, capacity, 1);
    uint8_t *grown = mem_alloc(capacity);
    if (!grown || !b->data)
        return grown;
    memcpy(grown, b->data, b->size + 1);
    mem_wipe(b->data, b->capacity);
    mem_free(b->data);
    return grown;
}

/* Room for `size` more bytes and a NUL. */
static bool buf_reserve(struct buf *b, size_t size)
{
    if (b->failed)
        return false;
    if (size > b->max || b->size > b->max - size || b->max == SIZE_MAX) {
        b->failed = -EMSGSIZE;
        return false;
    }
    size_t needed = b->size + size + 1;
    if (needed <= b->capacity)
        return true;
    size_t capacity = MAX(needed, (size_t)CAPACITY_MIN);
    if (b->capacity <= (b->max + 1) / 2)
        capacity = MAX(capacity, b->capacity * 2);
    uint8_t *grown = grow(b, capacity);
    if (!grown) {
        b->failed = -ENOMEM;
        return false;
    }
    b->data = grown;
    b->capacity = capacity;
    return true;
}

void buf_append(struct buf *b, const void *bytes, size_t size)
{
    if (!buf_reserve(b, size))
        return;
    if (size)
        memcpy(b->data + b->size, bytes, size);
    b->size += size;
    b->data[b->size] = '\0';
}

void buf_puts(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_putc(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        if (!b->failed)
            b->failed = -EMSGSIZE;
    } else if (buf_reserve(b, (size_t)length)) {
        vsnprintf((char *)b->data + b->size, (size_t)length + 1, format, again);
        b->size += (size_t)length;
    }
    va_end(again);
}

void buf_u8(struct buf *b, uint8_t v)
{
    buf_append(b, &v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
    v = htole16(v);
    buf_append(b, &v, sizeof v);
}

void buf_u32(struct buf *b, uint32_t v)
{
    v = htole32(v);
    buf_append(b, &v, sizeof v);
}

void buf_u64(struct buf *b, uint64_t v)
{
    v = htole64(v);
    buf_append(b, &v, sizeof v);
}

void buf_bytes(struct buf *b, const void *bytes, size_t size)
{
    if (size > UINT32_MAX) {
        if (!b->failed)
            b->failed = -EMSGSIZE;
        return;
    }
    buf_u32(b, (uint32_t)size);
    buf_append(b, bytes, size);
}

void buf_string(struct buf *b, const char *text)
{
    buf_bytes(b, text, text ? strlen(text) : 0);
}

int buf_status(const struct buf *b)
{
    return b->failed;
}

const char *buf_cstr(struct buf *b)
{
    return b->failed || !b->data ? "" : (const char *)b->data;
}

char *buf_take(struct buf *b)
{
    if (!buf_reserve(b, 0))
        return NULL;
    b->data[b->size] = '\0';
    char *taken = (char *)b->data;
    *b = (struct buf){ .max = b->max, .wipes = b->wipes };
    return taken;
}

struct cursor cursor_of(const void *bytes, size_t size)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes ? bytes : nothing;
    return (struct cursor){ .at = at, .end = at + (bytes ? size : 0) };
}

/* The next `size` bytes, or NULL and a bad cursor. */
static const uint8_t *cursor_take(struct cursor *c, size_t size)
{
    if (c->bad || cursor_left(c) < size) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *taken = c->at;
    c->at += size;
    return taken;
}

uint8_t cursor_u8(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 1);
    return p ? *p : 0;
}

uint16_t cursor_u16(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 2);
    uint16_t v = 0;
    if (p)
        memcpy(&v, p, sizeof v);
    return le16toh(v);
}

uint32_t cursor_u32(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 4);
    uint32_t v = 0;
    if (p)
        memcpy(&v, p, sizeof v);
    return le32toh(v);
}

uint64_t cursor_u64(struct cursor *c)
{
    const uint8_t *p = cursor_take(c, 8);
    uint64_t v = 0;
    if (p)
        memcpy(&v, p, sizeof v);
    return le64toh(v);
}

const uint8_t *cursor_bytes(struct cursor *c, size_t *ret_size)
{
    uint32_t size = cursor_u32(c);
    const uint8_t *p = cursor_take(c, size);
    *ret_size = p ? size : 0;
    return p ? p : (const uint8_t *)"";
}

char *cursor_string(struct cursor *c)
{
    size_t size;
    const uint8_t *p = cursor_bytes(c, &size);
    if (c->bad)
        return NULL;
    if (size && memchr(p, '\0', size)) {
        c->bad = true;
        return NULL;
    }
    return mem_strndup((const char *)p, size);
}
