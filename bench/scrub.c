/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scrubber costs: CPU nanoseconds a byte for 1, 4, 16 values, of the best of some runs, over text without
 * escapes and over text where every third byte is of one. Built by `ninja bench/scrub`.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "egress/scrub.h"

#define BODY (64u << 10)

static double cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct scrub *scrub_of(size_t count)
{
    static char texts[SCRUB_VALUES_MAX][64];
    struct bytes values[SCRUB_VALUES_MAX];
    struct scrub *s = NULL;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "ghp_16C7e42F292c6912E7710c838347Ae178B%02zu",
                       i);
        values[i] = bytes_of(texts[i]);
    }
    return scrub_new(values, count, 12345, &s, NULL) < 0 ? NULL : s;
}

static void measure(const char *name, size_t count, const uint8_t *body)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(2 * BODY);
    double best = 1e12, birth = 1e12;
    for (unsigned i = 0; i < 50; i++) {
        double began = cpu_ns();
        struct scrub *s = scrub_of(count);
        birth = MIN(birth, cpu_ns() - began);
        if (!s)
            return;
        buf_clear(&out);
        began = cpu_ns();
        scrub_push(s, (struct bytes){ body, BODY }, &out);
        scrub_end(s, &out);
        best = MIN(best, cpu_ns() - began);
        scrub_free(s);
    }
    printf("%s, %2zu values: %5.1f ns a byte; made in %.1f us\n", name, count, best / BODY,
           birth / 1e3);
}

int main(void)
{
    static const char escaped[] = "abcdefgh%2Fx\\n\"&amp;";
    static uint8_t plain[BODY], escapes[BODY];
    uint32_t random = 1;
    for (size_t i = 0; i < BODY; i++) {
        random = random * 1664525 + 1013904223;
        plain[i] = (uint8_t)('0' + (random >> 24) % 40);
        escapes[i] = (uint8_t)escaped[i % (sizeof(escaped) - 1)];
    }
    for (size_t count = 1; count <= SCRUB_VALUES_MAX; count *= 4) {
        measure("plain", count, plain);
        measure("escapes", count, escapes);
    }
    return 0;
}
