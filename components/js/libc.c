/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of WASI 0.1 that the C library makes, answered here, so that the component needs no adapter: the linker takes these
 * functions for the imports that wasi-libc declares. What the component does itself (files, streams, HTTP) goes to WASI 0.2
 * directly; left for the C library are the clock and, for messages before an abort, standard error. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum { BADF = 8, NOSYS = 52 };

#define ANSWERS(name) __imported_wasi_snapshot_preview1_##name

int32_t ANSWERS(clock_time_get)(int32_t id, int64_t precision, int32_t ret);
int32_t ANSWERS(clock_time_get)(int32_t id, int64_t precision, int32_t ret)
{
    uint64_t *at = (uint64_t *)(uintptr_t)ret;
    (void)precision;
    if (!host_running) {
        *at = 0;
        return 0;
    }
    if (id != 0) {
        *at = wasi_monotonic();
        return 0;
    }
    struct datetime now;
    wasi_wall(&now);
    *at = now.seconds * 1000000000 + now.nanoseconds;
    return 0;
}

struct vector {
    const void *data;
    uint32_t size;
};

int32_t ANSWERS(fd_write)(int32_t fd, int32_t vectors, int32_t count, int32_t ret);
int32_t ANSWERS(fd_write)(int32_t fd, int32_t vectors, int32_t count, int32_t ret)
{
    const struct vector *v = (const struct vector *)(uintptr_t)vectors;
    uint32_t sum = 0;
    if (fd != 1 && fd != 2)
        return BADF;
    for (int32_t i = 0; i < count; i++) {
        if (host_running)
            io_write_all(fd, v[i].data, v[i].size);
        sum += v[i].size;
    }
    *(uint32_t *)(uintptr_t)ret = sum;
    return 0;
}

int32_t ANSWERS(fd_close)(int32_t fd);
int32_t ANSWERS(fd_close)(int32_t fd)
{
    (void)fd;
    return BADF;
}

int32_t ANSWERS(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t ret);
int32_t ANSWERS(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t ret)
{
    (void)fd, (void)offset, (void)whence, (void)ret;
    return BADF;
}

int32_t ANSWERS(fd_fdstat_get)(int32_t fd, int32_t ret);
int32_t ANSWERS(fd_fdstat_get)(int32_t fd, int32_t ret)
{
    (void)fd, (void)ret;
    return BADF;
}

_Noreturn void ANSWERS(proc_exit)(int32_t code);
_Noreturn void ANSWERS(proc_exit)(int32_t code)
{
    if (host_running)
        wasi_exit(code);
    __builtin_trap();
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size,
                                                                size_t align, size_t size);
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size)
{
    (void)old_size, (void)align; /* malloc aligns to 16, the canonical ABI asks for 8 at most */
    void *data = realloc(old, size > 0 ? size : 1);
    if (data == NULL)
        __builtin_trap(); /* out of memory: there is no way to say so to the host */
    return data;
}
