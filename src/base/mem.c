/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: the one caller of malloc. A countdown makes the nth allocation fail, and a counter of
 * live blocks proves that a failure leaked nothing; both are atomics, because a room may have
 * threads. The cost of the two relaxed operations is not measurable beside malloc itself.
 */
#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long fail_countdown; /* 0 = off; n = the nth from now fails; −1 = all fail */
static atomic_long live_blocks;
static atomic_bool wiping;

static bool must_fail(void)
{
    long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left == 0)
        return false;
    if (left < 0)
        return true;
    atomic_store_explicit(&fail_countdown, left == 1 ? -1 : left - 1, memory_order_relaxed);
    return left == 1;
}

static void *counted(void *block)
{
    if (block)
        atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
    return block;
}

void *mem_alloc(size_t size)
{
    if (must_fail())
        return NULL;
    return counted(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return mem_array(1, size);
}

void *mem_array(size_t count, size_t element_size)
{
    size_t size;
    if (__builtin_mul_overflow(count, element_size, &size) || must_fail())
        return NULL;
    return counted(calloc(size ? size : 1, 1));
}

void *mem_grow(void *old, size_t count, size_t element_size)
{
    size_t size;
    if (__builtin_mul_overflow(count, element_size, &size) || must_fail())
        return NULL;
    void *grown = atomic_load_explicit(&wiping, memory_order_relaxed)
                      ? mem_wiping_realloc(old, size ? size : 1)
                      : realloc(old, size ? size : 1);
    return old ? grown : counted(grown);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *bytes, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = mem_alloc(length + 1);
    if (!copy)
        return NULL;
    if (length)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : mem_alloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void mem_free(void *pointer)
{
    if (!pointer)
        return;
    atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
    if (atomic_load_explicit(&wiping, memory_order_relaxed))
        mem_wiping_free(pointer);
    else
        free(pointer);
}

/* ---- wiping ---- */

#ifdef AMBIT_TEST_HOOKS
static atomic_bool left_out;

void mem_wipe_nothing(void)
{
    atomic_store(&left_out, true);
}
#define WIPES (!atomic_load_explicit(&left_out, memory_order_relaxed))
#else
#define WIPES true
#endif

void mem_wipe_what_is_freed(void)
{
    atomic_store(&wiping, true);
}

void *mem_wiping_malloc(size_t size)
{
    return malloc(size);
}

void *mem_wiping_calloc(size_t count, size_t element_size)
{
    return calloc(count, element_size);
}

void mem_wiping_free(void *pointer)
{
    if (pointer && WIPES)
        explicit_bzero(pointer, malloc_usable_size(pointer));
    free(pointer);
}

/* Never realloc(): where it moves, it leaves what was behind. */
void *mem_wiping_realloc(void *old, size_t size)
{
    size_t had = old ? malloc_usable_size(old) : 0;
    if (old && size <= had && size >= had / 2 && size > 0)
        return old;
    void *grown = malloc(size);
    if (!grown)
        return NULL;
    memcpy(grown, old ? old : "", MIN(had, size));
    mem_wiping_free(old);
    return grown;
}

char *mem_wiping_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void mem_wipe(void *pointer, size_t size)
{
    if (size && WIPES)
        explicit_bzero(pointer, size);
}

void mem_fail_after(long n)
{
    atomic_store(&fail_countdown, n);
}

long mem_live(void)
{
    return atomic_load(&live_blocks);
}

void fd_close(int fd)
{
    if (fd < 0)
        return;
    /* On Linux the descriptor is gone even when close says EINTR: never retry. */
    int saved = errno;
    close(fd);
    errno = saved;
}
