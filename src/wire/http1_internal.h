/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP/1.1 codec share: the lines (http1.c), what a head says (http1_head.c),
 * characters and printing (http1_print.c). For nobody else. */
#pragma once

#include "wire/http1.h"

/* Which bytes may stand where. */
#define CHAR_TOKEN 1u  /* RFC 9110 5.6.2: tchar */
#define CHAR_VALUE 2u  /* field values, reasons: HTAB, SP, visible, obs-text */
#define CHAR_TARGET 4u /* RFC 3986, and []{}|^` that browsers leave as they are */
#define CHAR_HOST 8u   /* letters, digits, - . _ */
#define CHAR_DIGIT 16u
#define CHAR_HEX 32u

extern const uint8_t http1_chars[256];

static inline bool http1_char_is(uint8_t c, unsigned class)
{
    return (http1_chars[c] & class) != 0;
}
static inline const uint8_t *http1_skip(const uint8_t *s, const uint8_t *end, unsigned class)
{
    while (s < end && http1_char_is(*s, class))
        s++;
    return s;
}
static inline bool http1_is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}
static inline struct bytes http1_trim(const uint8_t *s, const uint8_t *end)
{
    while (s < end && http1_is_space(*s))
        s++;
    while (s < end && http1_is_space(end[-1]))
        end--;
    return (struct bytes){ s, (size_t)(end - s) };
}

/* What the fields of a head said that matters to its framing. */
enum http1_seen {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_CODING = 4,
    SEEN_CLOSE = 8,
    SEEN_KEEP_ALIVE = 16,
    SEEN_UPGRADE_NAMED = 32, /* by Connection */
    SEEN_UPGRADE = 64,
    SEEN_CONNECTION = 128,
    SEEN_CONTINUE = 256,
};

/* Field `i` of a head was read. */
enum http1_fault http1_note_field(struct http1_parser *p, size_t i);
/* The head is whole: target, host, framing, connection. */
enum http1_fault http1_finish_head(struct http1_parser *p);
