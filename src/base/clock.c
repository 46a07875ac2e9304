/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks and ids. An id is a ULID: 48 bits of milliseconds since 1970, then 80 random bits, in
 * Crockford's base 32, most significant first. https://github.com/ulid/spec
 */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/mem.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    int result = clock_gettime(id, &now);
    ASSERT(result == 0);
    return (int64_t)now.tv_sec * (int64_t)NS_PER_S + now.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
    return (uint64_t)clock_ns(CLOCK_MONOTONIC);
}

int64_t clock_real_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

uint64_t clock_thread_cpu_ns(void)
{
    return (uint64_t)clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t clock_process_cpu_ns(void)
{
    return (uint64_t)clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int clock_until_ms(uint64_t at_ns)
{
    uint64_t now = clock_monotonic_ns();
    if (at_ns == 0)
        return -1;
    return at_ns <= now ? 0 : (int)MIN((at_ns - now) / NS_PER_MS + 1, UINT64_C(3600000));
}

int clock_sooner_ms(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

int id_new(char ret_id[static ID_TEXT_SIZE])
{
    uint8_t bits[16];
    int result = random_bytes(bits, sizeof bits);
    if (result < 0)
        return result;
    uint64_t milliseconds = (uint64_t)(clock_real_ns() / (int64_t)NS_PER_MS);
    for (int i = 0; i < 6; i++)
        bits[i] = (uint8_t)(milliseconds >> (40 - 8 * i));
    /* 128 bits in 26 characters of 5: the first character holds the top 3 bits. */
    unsigned __int128 value = 0;
    for (size_t i = 0; i < sizeof bits; i++)
        value = value << 8 | bits[i];
    for (int i = ID_TEXT_SIZE - 2; i >= 0; i--) {
        ret_id[i] = alphabet[(unsigned)(value & 31)];
        value >>= 5;
    }
    ret_id[ID_TEXT_SIZE - 1] = '\0';
    return 0;
}

bool id_valid(const char *text)
{
    if (strnlen(text, ID_TEXT_SIZE) != ID_TEXT_SIZE - 1 || text[0] > '7')
        return false;
    return strspn(text, alphabet) == ID_TEXT_SIZE - 1;
}
