/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What upstream programs call and WASI does not have, put before their unmodified sources: owners, permission bits and
 * advice about memory. The calls succeed and do nothing, as on a file system without them.
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>

static inline int shim_owner(int fd, unsigned owner, unsigned group)
{
    (void)fd, (void)owner, (void)group;
    return 0;
}

static inline int shim_mode(int fd, unsigned mode)
{
    (void)fd, (void)mode;
    return 0;
}

static inline int shim_advice(void *start, size_t size, int advice)
{
    (void)start, (void)size, (void)advice;
    return 0;
}

#define posix_madvise(start, size, advice) shim_advice(start, size, advice)
#define fchown(fd, owner, group) shim_owner(fd, (unsigned)(owner), (unsigned)(group))
#define fchmod(fd, mode) shim_mode(fd, (unsigned)(mode))
