/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can guesses be told apart by time? Bodies with guesses whose first k bytes are right, for several k in
 * turn (so that a slow moment hits all alike), ROUNDS (10,000) of each: CPU time of scrubbing one,
 * compared with that of k = 0 by Mann-Whitney's rank test. |z| beyond 5 fails. So that the test is known to
 * see something, the same is done to a scanner that stops at the first wrong byte: there it must.
 *
 *   scrub_timing [ROUNDS]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "egress/scrub.h"

#define VALUE "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
#define BODY 4096
#define GUESSES 4
#define FAR 5.0

static const size_t right[GUESSES] = { 0, 1, 20, sizeof(VALUE) - 3 };
static uint8_t bodies[GUESSES][BODY];
static volatile size_t seen;

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void scrubbed(struct scrub *s, const uint8_t *body, struct buf *out)
{
    buf_clear(out);
    scrub_push(s, (struct bytes){ body, BODY }, out);
    scrub_end(s, out);
}

/* What must not be: work that depends on how right a guess is. */
static void naive(const uint8_t *body)
{
    for (size_t i = 0; i + sizeof(VALUE) <= BODY; i++) {
        size_t n = 0;
        while (n < sizeof(VALUE) - 1 && body[i + n] == (uint8_t)VALUE[n])
            n++;
        seen += n;
    }
}

struct sample {
    uint64_t ns;
    bool second;
};

static int by_time(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return x->ns < y->ns ? -1 : x->ns > y->ns;
}

/* z of the rank sum, ties in the middle. */
static double compare(const uint64_t *a, const uint64_t *b, size_t count)
{
    struct sample *all = mem_array(2 * count, sizeof(*all));
    double ranks = 0, n = (double)count;
    if (!all)
        return NAN;
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct sample){ a[i], false };
        all[count + i] = (struct sample){ b[i], true };
    }
    qsort(all, 2 * count, sizeof(*all), by_time);
    for (size_t i = 0; i < 2 * count;) {
        size_t end = i, seconds = 0;
        for (; end < 2 * count && all[end].ns == all[i].ns; end++)
            seconds += all[end].second;
        ranks += (double)seconds * ((double)(i + 1 + end) / 2);
        i = end;
    }
    mem_free(all);
    double u = ranks - n * (n + 1) / 2;
    return (u - n * n / 2) / sqrt(n * n * (2 * n + 1) / 12);
}

/* The largest |z|. */
static double measure(struct scrub *s, size_t rounds, const char *name)
{
    uint64_t *times[GUESSES];
    CLEANUP(buf_done) struct buf out = BUF_INIT(2 * BODY);
    static uint8_t body[BODY];
    uint64_t state = 1;
    double worst = 0;
    for (size_t g = 0; g < GUESSES; g++)
        times[g] = mem_array(rounds, sizeof(uint64_t));
    for (size_t i = 0; i < rounds + 100; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t turn = (state >> 33) % GUESSES;
        bool backwards = (state >> 62) & 1;
        for (size_t k = 0; k < GUESSES; k++) {
            /* The order is drawn anew each time, and all are read at one place. */
            size_t g = (k + turn) % GUESSES;
            memcpy(body, bodies[backwards ? GUESSES - 1 - g : g], BODY);
            g = backwards ? GUESSES - 1 - g : g;
            uint64_t begin = cpu_ns();
            if (s)
                scrubbed(s, body, &out);
            else
                naive(body);
            if (i >= 100) /* the first are warm-up */
                times[g][i - 100] = cpu_ns() - begin;
        }
    }
    for (size_t g = 1; g < GUESSES; g++) {
        double z = compare(times[0], times[g], rounds);
        printf("%s: %zu bytes right against 0: z = %+.2f\n", name, right[g], z);
        worst = fmax(worst, fabs(z));
    }
    for (size_t g = 0; g < GUESSES; g++)
        mem_free(times[g]);
    return worst;
}

/* The same characters in every guess, so that nothing but how right it is differs: after the right ones the
 * others, backwards. */
static uint8_t guess(struct bytes value, size_t k, size_t at)
{
    return at < k ? value.data[at] : value.data[value.size - 1 - (at - k)];
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    struct bytes value = bytes_of(VALUE);
    struct scrub *s = NULL;
    if (rounds < 100 || scrub_new(&value, 1, UINT64_C(0x9e3779b97f4a7c15), &s, NULL) < 0)
        return 2;
    for (size_t g = 0; g < GUESSES; g++)
        for (size_t i = 0; i < BODY; i++)
            bodies[g][i] = guess(value, right[g], i % value.size);
    double scrubber = measure(s, rounds, "scrubber"), other = measure(NULL, rounds, "naive");
    bool places = scrub_places(s) > 0;
    scrub_free(s);
    printf("%s\n", scrubber <= FAR && other > FAR && !places ? "ok" : "not ok");
    return scrubber <= FAR && other > FAR && !places ? 0 : 1;
}
