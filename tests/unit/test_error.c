/* SPDX-License-Identifier: Apache-2.0 */
/* base/error.c: the first failure wins, texts are cut and never overrun. */
#include "base/error.h"

#include "tests/unit/test.h"

TEST(first_failure_wins)
{
    struct error e = ERROR_INIT;
    CHECK_EQ(error_set(&e, -EINVAL, "bad %s", "thing"), -EINVAL);
    CHECK_EQ(error_set(&e, -EIO, "later"), -EIO);
    CHECK_EQ(e.code, -EINVAL);
    CHECK_STR(e.what, "bad thing");
    error_clear(&e);
    CHECK_EQ(e.code, 0);
    CHECK_STR(e.what, "");
}

TEST(errno_is_told)
{
    struct error e = ERROR_INIT;
    CHECK_EQ(error_set_errno(&e, ENOENT, "cannot open %s", "x"), -ENOENT);
    CHECK_STR(e.what, "cannot open x: No such file or directory");
}

TEST(prefix_hint_place)
{
    struct error e = ERROR_INIT;
    CHECK_EQ(error_set(&e, -EINVAL, "what"), -EINVAL);
    error_prefix(&e, "file %d", 1);
    error_prefix(&e, "outer");
    error_hint(&e, "first");
    error_hint(&e, "do %s", "this");
    error_at(&e, 3, 4);
    CHECK_STR(e.what, "outer: file 1: what");
    CHECK_STR(e.hint, "do this");
    CHECK_EQ(e.line, 3);
    CHECK_EQ(e.column, 4);
}

TEST(long_texts_are_cut)
{
    char text[3 * ERROR_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct error e = ERROR_INIT;
    CHECK_EQ(error_set_errno(&e, EIO, "%s", text), -EIO);
    CHECK_EQ(strlen(e.what), ERROR_TEXT_MAX - 1);
    error_prefix(&e, "abc");
    CHECK_EQ(strlen(e.what), ERROR_TEXT_MAX - 1);
    CHECK(strncmp(e.what, "abc: xxx", 8) == 0);
    error_prefix(&e, "%s", text);
    CHECK_EQ(strlen(e.what), ERROR_TEXT_MAX - 1);
    error_hint(&e, "%s", text);
    CHECK_EQ(strlen(e.hint), ERROR_TEXT_MAX - 1);
}

TEST(null_error_is_fine)
{
    CHECK_EQ(error_set(NULL, -EINVAL, "x"), -EINVAL);
    CHECK_EQ(error_set_errno(NULL, EIO, "x"), -EIO);
    error_prefix(NULL, "x");
    error_hint(NULL, "x");
    error_at(NULL, 1, 1);
    error_clear(NULL);
}

TEST_MAIN()
