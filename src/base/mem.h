/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. The only place that calls malloc, so that the torture tests can fail the nth allocation
 * (mem_fail_after). Everything returns NULL when memory is short; nothing aborts.
 *
 * Ownership habits: CLEANUP(x_freep) on every owning local, TAKE(p) to hand it out.
 */
#pragma once

#include "base/error.h"

#define CLEANUP(function) __attribute__((cleanup(function)))
/* Moves a pointer out of a variable, leaving NULL behind. */
#define TAKE(pointer)                           \
    ({                                          \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL;                       \
        taken_;                                 \
    })
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)               \
    ({                          \
        __typeof__(a) a_ = (a); \
        __typeof__(b) b_ = (b); \
        a_ < b_ ? a_ : b_;      \
    })
#define MAX(a, b)               \
    ({                          \
        __typeof__(a) a_ = (a); \
        __typeof__(b) b_ = (b); \
        a_ > b_ ? a_ : b_;      \
    })

void *mem_alloc(size_t size) MUST_CHECK;                       /* not zeroed */
void *mem_zalloc(size_t size) MUST_CHECK;                      /* zeroed */
void *mem_array(size_t count, size_t element_size) MUST_CHECK; /* zeroed, overflow-checked */
/* Grows to `count` elements; on failure returns NULL and the old block stays valid and owned. */
void *mem_grow(void *old, size_t count, size_t element_size) MUST_CHECK;
char *mem_strdup(const char *text) MUST_CHECK;
char *mem_strndup(const char *bytes,
                  size_t length) MUST_CHECK; /* adds the NUL; bytes may hold NULs */
char *mem_printf(const char *format, ...) MUST_CHECK PRINTF_LIKE(1, 2);
void mem_free(void *pointer); /* NULL is fine */
static inline void mem_freep(void *pointer_to_pointer)
{
    mem_free(*(void **)pointer_to_pointer);
}

/* Zeroes in a way the compiler keeps. */
void mem_wipe(void *pointer, size_t size);
#ifdef AMBIT_TEST_HOOKS
void mem_wipe_nothing(void); /* for the control of searches of memory */
#endif
/* From now on whatever is freed, or moves as it grows, is wiped: in rooms that values of secrets pass. */
void mem_wipe_what_is_freed(void);
/* As malloc() and so on, but always wiping: for libraries that take an allocator. */
void *mem_wiping_malloc(size_t size) MUST_CHECK;
void *mem_wiping_calloc(size_t count, size_t element_size) MUST_CHECK;
void *mem_wiping_realloc(void *old, size_t size) MUST_CHECK;
char *mem_wiping_strdup(const char *text) MUST_CHECK;
void mem_wiping_free(void *pointer);

/* Tests: the nth allocation from now fails (1 = the next), and every one after it; 0 = off.
 * mem_live() counts blocks allocated and not freed. */
void mem_fail_after(long n);
long mem_live(void);

/* File descriptors. */
void fd_close(int fd); /* EINTR-safe, keeps errno, ignores negative */
static inline void fd_closep(int *fd)
{
    fd_close(*fd);
    *fd = -1;
}
static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}
