/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. The first failure wins: error_record() on an error that is set already keeps it, so a
 * cleanup path that fails too cannot hide the cause. Texts are cut, never overrun; formatting never
 * allocates, because "no memory" must be sayable.
 */
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* strerror_r's GNU form returns a pointer that need not be the buffer. */
static const char *errno_text(int errno_value, char *buffer, size_t size)
{
    return strerror_r(errno_value, buffer, size);
}

int error_record(struct error *e, int code, const char *format, ...)
{
    ASSERT(code < 0);
    if (!e || e->code)
        return code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(e->what, sizeof e->what, format, arguments);
    va_end(arguments);
    e->code = code;
    return code;
}

int error_record_errno(struct error *e, int errno_value, const char *format, ...)
{
    ASSERT(errno_value > 0);
    if (!e || e->code)
        return -errno_value;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(e->what, sizeof e->what, format, arguments);
    va_end(arguments);
    size_t used = strlen(e->what);
    char reason[128];
    snprintf(e->what + used, sizeof e->what - used, ": %s",
             errno_text(errno_value, reason, sizeof reason));
    e->code = -errno_value;
    return -errno_value;
}

void error_hint(struct error *e, const char *format, ...)
{
    if (!e)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(e->hint, sizeof e->hint, format, arguments);
    va_end(arguments);
}

void error_prefix(struct error *e, const char *format, ...)
{
    if (!e)
        return;
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* snprintf's last argument must not overlap its output, so the old text moves aside. */
    char old[ERROR_TEXT_MAX];
    memcpy(old, e->what, sizeof old);
    int length = snprintf(e->what, sizeof e->what, "%s: ", text);
    size_t at = length < 0 ? 0 : (size_t)length;
    if (at < sizeof e->what - 1) {
        size_t room = sizeof e->what - 1 - at;
        size_t size = strnlen(old, sizeof old);
        size = size < room ? size : room;
        memcpy(e->what + at, old, size);
        e->what[at + size] = '\0';
    }
}

void error_at(struct error *e, unsigned line, unsigned column)
{
    if (!e)
        return;
    e->line = line;
    e->column = column;
}

void error_clear(struct error *e)
{
    if (e)
        *e = (struct error)ERROR_INIT;
}

void assert_failed(const char *file, int line, const char *expression)
{
    fprintf(stderr, "ambit: bug: %s:%d: %s\n", file, line, expression);
    abort();
}
