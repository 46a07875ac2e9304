/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a code and a text, owned by the caller, filled in where the failure happens and prefixed
 * on the way out.
 *
 * The regime, everywhere in Ambit:
 *     0  ok
 *   < 0  a fault, forwarded unchanged (a negative errno)
 *   > 0  an outcome that the callee documents and its caller handles on the spot; a denial is one
 * Library code never logs; it fills a struct error, and the room that speaks to somebody prints it.
 *
 * The text may hold bytes that came from hostile input. It is escaped where it is printed
 * (base/text.h), never here.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text_at, first) __attribute__((format(printf, text_at, first)))

#define ERROR_TEXT_MAX 1024

/* `what` went wrong, `why`, and what to `hint` at: the three lines a person gets. All always
 * NUL-terminated; longer texts are cut. `line` and `column` are 1-based, 0 where they mean nothing.
 */
struct error {
    int code; /* negative errno, or 0 while unset */
    unsigned line, column;
    char what[ERROR_TEXT_MAX];
    char hint[ERROR_TEXT_MAX];
};

#define ERROR_INIT \
    {              \
        0          \
    }

/* Sets code and text unless one is set already; gives `code`, so that callers write
 * `return error_set(e, -EINVAL, "…");`. `e` may be NULL. `code` must be negative. Macros, so that
 * the compiler sees that the result is negative and outputs need no pretended first value. */
#define error_set(e, code, ...)                                       \
    ({                                                                \
        int code_ = error_record(e, code, __VA_ARGS__);               \
        if (code_ >= 0)                                               \
            __builtin_unreachable(); /* error_record() asserted it */ \
        code_;                                                        \
    })
/* The same with ": strerror" appended; gives -errno_value. */
#define error_set_errno(e, errno_value, ...)                         \
    ({                                                               \
        int code_ = error_record_errno(e, errno_value, __VA_ARGS__); \
        if (code_ >= 0)                                              \
            __builtin_unreachable();                                 \
        code_;                                                       \
    })
int error_record(struct error *e, int code, const char *format, ...) PRINTF_LIKE(3, 4);
int error_record_errno(struct error *e, int errno_value, const char *format, ...) PRINTF_LIKE(3, 4);
/* What the person can do about it. Replaces an earlier hint. */
void error_hint(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);
/* Puts "prefix: " before the text. */
void error_prefix(struct error *e, const char *format, ...) PRINTF_LIKE(2, 3);
void error_at(struct error *e, unsigned line, unsigned column);
void error_clear(struct error *e);

/* A bug of ours, never bad input: prints file, line and expression to stderr and aborts. Stays on
 * in every build. */
#define ASSERT(expression) ((expression) ? (void)0 : assert_failed(__FILE__, __LINE__, #expression))
__attribute__((noreturn, cold)) void assert_failed(const char *file, int line,
                                                   const char *expression);
