/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that people and files give us, and text that we show people.
 *
 * Nothing untrusted reaches a terminal raw: text_escape() turns control characters, invalid UTF-8
 * and invisible or direction-changing code points (bidi controls, zero-width, tag characters) into
 * visible \xNN or \u{…} escapes. Every print of a path, guest text or name goes through it.
 */
#pragma once

#include "base/buf.h"

/* Appends `bytes` made safe to print on one line: newline and tab become \n and \t,
 * a backslash \\. */
void text_escape(struct buf *out, const void *bytes, size_t size);
/* As text_escape for a whole stream of lines: \n and \t pass, a backslash too, and so do SGR colour
 * sequences (ESC [ digits and ; m, without "conceal") when `keep_colour`. `state` carries a split
 * UTF-8 or escape sequence between calls; zero it first. text_filter_flush() emits (escaped) what
 * is left at the end. */
struct text_filter {
    uint8_t held[32];
    uint8_t held_size;
};
void text_filter(struct text_filter *state, struct buf *out, const void *bytes, size_t size,
                 bool keep_colour);
void text_filter_flush(struct text_filter *state, struct buf *out);

bool text_is_utf8(const void *bytes, size_t size);
/* The code point that `bytes` (size > 0) start with and its length in bytes; 0 when they are not
 * UTF-8, or end within a character (RFC 3629: no surrogates, no overlong forms). */
size_t text_decode(const uint8_t *bytes, size_t size, uint32_t *ret_code_point);
/* False for controls, bidi and zero-width characters, tags, noncharacters: what must be escaped. */
bool text_code_point_visible(uint32_t code_point);

/* Appends an absolute path in its shortest form; `..` is taken as text, so links are not seen.
 * The buffer holds nothing else. */
void text_put_path_shortest(struct buf *out, const char *path);
/* "64MiB", "1000", "4KiB", "2GiB" (powers of 1024 only; kB and MB are refused with
 * a hint) → bytes. */
int text_parse_size(const char *text, uint64_t *ret_bytes, struct error *e) MUST_CHECK;
/* "250ms", "2s", "5m", "1h", "7d", also "us" and "ns" → nanoseconds; a bare number is refused. */
int text_parse_duration(const char *text, uint64_t *ret_ns, struct error *e) MUST_CHECK;
/* RFC 3339 with a zone ("2026-01-01T00:00:00Z") → nanoseconds since 1970. */
int text_parse_timestamp(const char *text, int64_t *ret_ns, struct error *e) MUST_CHECK;
void text_put_size(struct buf *out,
                   uint64_t bytes); /* the shortest exact form text_parse_size reads */
void text_put_duration(struct buf *out, uint64_t ns); /* likewise */
void text_put_timestamp(struct buf *out, int64_t ns); /* likewise, UTC, "Z" */
/* Rounded for people: "1.2 MiB", "320 ms". */
void text_put_size_human(struct buf *out, uint64_t bytes);
void text_put_duration_human(struct buf *out, uint64_t ns);
