/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes. `struct buf` builds them, with a maximum that it never passes; `struct cursor` reads them
 * and never past their end. All parsing of wire data in Ambit is done with a cursor.
 *
 * A buf remembers its first failure (no memory, over the maximum): appending to a failed buf is a
 * no-op, so a builder appends freely and checks once with buf_status().
 */
#pragma once

#include "base/error.h"

/* Some bytes that somebody else owns; text is not NUL-terminated. */
struct bytes {
    const uint8_t *data;
    size_t size;
};
struct bytes bytes_of(const char *text); /* without its NUL */
bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_are(struct bytes a, const char *text);
/* A copy as a C string, to be freed; a NUL becomes a blank, so that nothing after it is hidden. NULL: no memory. */
char *bytes_text(struct bytes b);

struct buf {
    uint8_t *data;
    size_t size, capacity, max;
    int failed; /* 0, -ENOMEM or -EMSGSIZE */
    bool
        wipes; /* set it first: what it held is wiped wherever it was, also when it grows or goes */
};

#define BUF_INIT(max_bytes) \
    {                       \
        .max = (max_bytes)  \
    }
void buf_done(struct buf *b);  /* frees; the buf is empty and usable again */
void buf_clear(struct buf *b); /* empties, keeps the memory, forgets a failure */
void buf_append(struct buf *b, const void *bytes, size_t size);
void buf_puts(struct buf *b, const char *text);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* all little-endian */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_bytes(struct buf *b, const void *bytes, size_t size); /* u32 length, then the bytes */
void buf_string(struct buf *b, const char *text); /* the same for a C string; NULL = "" */
int buf_status(const struct buf *b) MUST_CHECK;   /* 0 or the first failure */
/* NUL-terminated contents, owned by the buf; "" when empty or failed. */
const char *buf_cstr(struct buf *b);
/* Moves the NUL-terminated contents out (free with mem_free); NULL when failed. */
char *buf_take(struct buf *b) MUST_CHECK;

struct cursor {
    const uint8_t *at, *end;
    bool bad; /* something was read past the end; sticky, reads then give 0 and "" */
};

struct cursor cursor_of(const void *bytes, size_t size);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* u32 length, then that many bytes, borrowed from the input. */
const uint8_t *cursor_bytes(struct cursor *c, size_t *ret_size);
/* The same, copied to a NUL-terminated string (mem_free); NULL when bad, short of memory, or when
 * the bytes hold a NUL. */
char *cursor_string(struct cursor *c) MUST_CHECK;
static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}
/* True when nothing was bad and everything was consumed. */
static inline bool cursor_finished(const struct cursor *c)
{
    return !c->bad && c->at == c->end;
}
