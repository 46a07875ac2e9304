/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of tests/vectors/http1 and url, row by row. tests/lib/vectors.py says how a row is
 * written, and reads the same. */
#pragma once

#include <string.h>

#include "base/file.h"
#include "tests/unit/test.h"

struct vector {
    struct buf why, data, expected, answers, limits;
};
#define VECTOR_INIT                                                                        \
    {                                                                                      \
        .why = BUF_INIT(4096), .data = BUF_INIT(8u << 20), .expected = BUF_INIT(1u << 20), \
        .answers = BUF_INIT(64), .limits = BUF_INIT(64)                                    \
    }

static void vector_done(struct vector *v)
{
    buf_done(&v->why);
    buf_done(&v->data);
    buf_done(&v->expected);
    buf_done(&v->answers);
    buf_done(&v->limits);
}

static void vector_unescape(struct buf *out, const char *s, const char *end)
{
    while (s < end) {
        if (*s != '\\') {
            buf_putc(out, *s++);
            continue;
        }
        unsigned value = 0;
        s += 2;
        switch (s[-1]) {
        case 'r':
            buf_putc(out, '\r');
            break;
        case 'n':
            buf_putc(out, '\n');
            break;
        case 't':
            buf_putc(out, '\t');
            break;
        case 'x':
            CHECK(sscanf(s, "%2x", &value) == 1);
            buf_putc(out, (char)value);
            s += 2;
            break;
        case '{': {
            const char *text = strchr(s, ',') + 1, *stop = text;
            value = (unsigned)strtoul(s, NULL, 10);
            while (*stop != '}')
                stop += *stop == '\\' ? 2 : 1;
            for (unsigned i = 0; i < value; i++)
                vector_unescape(out, text, stop);
            s = stop + 1;
            break;
        }
        default:
            buf_putc(out, s[-1]);
        }
    }
}

static void vector_clear(struct vector *v)
{
    buf_clear(&v->data);
    buf_clear(&v->answers);
    buf_clear(&v->limits);
}

/* Calls `check` for every row; gives how many there were. */
static int vectors_read(const char *path, void (*check)(struct vector *v))
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
    CLEANUP(vector_done) struct vector v = VECTOR_INIT;
    CHECK_EQ(file_read(path, &text, NULL), 0);
    int count = 0;
    const char *end;
    for (const char *line = buf_cstr(&text); *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        const char *rest = MIN(line + 2, end);
        if (*line == '#') {
            buf_clear(&v.why);
            buf_append(&v.why, rest, (size_t)(end - rest));
        } else if (*line == '>') {
            vector_unescape(&v.data, rest, end);
        } else if (strncmp(line, "! answers ", 10) == 0) {
            buf_append(&v.answers, line + 10, (size_t)(end - line - 10));
        } else if (strncmp(line, "! limits ", 9) == 0) {
            buf_append(&v.limits, line + 9, (size_t)(end - line - 9));
        } else if (*line == '=') {
            buf_clear(&v.expected);
            buf_append(&v.expected, rest, (size_t)(end - rest));
            CHECK_EQ(buf_status(&v.data), 0);
            check(&v);
            vector_clear(&v);
            count++;
        } else {
            CHECK(line == end);
        }
    }
    return count;
}
