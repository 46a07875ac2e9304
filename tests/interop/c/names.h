/* SPDX-License-Identifier: Apache-2.0 */
/* The name of an error: numbers and texts differ between C libraries, names do not. */
#pragma once
#include <errno.h>
#include <stddef.h>

static inline const char *name_of(int number)
{
#define NAME(e) { e, #e }
    static const struct {
        int number;
        const char *name;
    } names[] = { NAME(ENOENT), NAME(ENOTDIR), NAME(EISDIR), NAME(EEXIST), NAME(ENOTEMPTY), NAME(EBADF), NAME(EINVAL), NAME(ELOOP),
                  NAME(ENAMETOOLONG), NAME(EACCES), NAME(EPERM), NAME(EXDEV), NAME(EBUSY), NAME(ESPIPE), NAME(EROFS), NAME(ENOTSUP),
                  NAME(EIO), NAME(ENOSYS), NAME(EFAULT), NAME(EILSEQ), NAME(EFBIG) };
#undef NAME
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number == number)
            return names[i].name;
    return "another error";
}
