/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests: TEST(name) { CHECK(…); } in any number, TEST_MAIN() once. A binary prints "ok NAME"
 * or "not ok NAME: file:line: …" per test, exits 1 when one failed, and runs only tests whose name
 * holds argv[1]. A failed CHECK ends its test (and leaks what it held).
 *
 * TORTURE(expression) fails each allocation of an expression in turn; see below.
 */
#pragma once

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

static struct test *test_first, **test_last = &test_first;
static jmp_buf test_failed;
static const char *test_running;

/* Prints why and leaves the test. */
__attribute__((noreturn, format(printf, 3, 4), unused)) static void
test_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    mem_fail_after(0);
    printf("not ok %s: %s:%d: ", test_running, file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    longjmp(test_failed, 1);
}

#define TEST(test_name)                                                       \
    static void test_run_##test_name(void);                                   \
    __attribute__((constructor)) static void test_add_##test_name(void)       \
    {                                                                         \
        static struct test test = { #test_name, test_run_##test_name, NULL }; \
        *test_last = &test;                                                   \
        test_last = &test.next;                                               \
    }                                                                         \
    static void test_run_##test_name(void)

#define CHECK(condition)                                     \
    do {                                                     \
        if (!(condition))                                    \
            test_fail(__FILE__, __LINE__, "%s", #condition); \
    } while (0)
/* Integers of any type that fit a long long. */
#define CHECK_EQ(a, b)                                                                     \
    do {                                                                                   \
        long long check_a_ = (long long)(a), check_b_ = (long long)(b);                    \
        if (check_a_ != check_b_)                                                          \
            test_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #a, check_a_, check_b_); \
    } while (0)
#define CHECK_STR(a, b)                                                   \
    do {                                                                  \
        const char *check_a_ = (a), *check_b_ = (b);                      \
        if (!check_a_ || strcmp(check_a_, check_b_) != 0)                 \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a, \
                      check_a_ ? check_a_ : "(NULL)", check_b_);          \
    } while (0)
/* `text` holds `part`. */
#define CHECK_HAS(text, part)                                            \
    do {                                                                 \
        const char *check_a_ = (text), *check_b_ = (part);               \
        if (!check_a_ || !strstr(check_a_, check_b_))                    \
            test_fail(__FILE__, __LINE__, "\"%s\" does not hold \"%s\"", \
                      check_a_ ? check_a_ : "(NULL)", check_b_);         \
    } while (0)

/* Runs `expression` (an int result; 0 = it worked) with the first allocation failing, then the
 * second, and so on until it works. Each failure must be -ENOMEM and leave no block behind; the
 * expression must free what it made when it worked. */
#define TORTURE(expression)                                                                       \
    do {                                                                                          \
        long torture_before_ = mem_live(), torture_n_ = 1;                                        \
        for (;; torture_n_++) {                                                                   \
            mem_fail_after(torture_n_);                                                           \
            int torture_result_ = (expression);                                                   \
            mem_fail_after(0);                                                                    \
            if (mem_live() != torture_before_)                                                    \
                test_fail(__FILE__, __LINE__, "%ld blocks leaked when allocation %ld failed",     \
                          mem_live() - torture_before_, torture_n_);                              \
            if (torture_result_ == 0)                                                             \
                break;                                                                            \
            if (torture_result_ != -ENOMEM)                                                       \
                test_fail(__FILE__, __LINE__, "%s is %d when allocation %ld failed", #expression, \
                          torture_result_, torture_n_);                                           \
        }                                                                                         \
        if (torture_n_ < 2)                                                                       \
            test_fail(__FILE__, __LINE__, "%s allocates nothing", #expression);                   \
    } while (0)

/* In a function of its own, so that no local lives across setjmp(). */
__attribute__((unused)) static bool test_passes(const struct test *t)
{
    test_running = t->name;
    if (setjmp(test_failed) != 0)
        return false;
    t->run();
    printf("ok %s\n", t->name);
    return true;
}

__attribute__((unused)) static int test_main(int argc, char **argv)
{
    int failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test *t = test_first; t; t = t->next)
        if (argc < 2 || strstr(t->name, argv[1]))
            failed |= !test_passes(t);
    return failed;
}

#define TEST_MAIN()                   \
    int main(int argc, char **argv)   \
    {                                 \
        return test_main(argc, argv); \
    }
