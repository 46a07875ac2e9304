/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can guesses be told apart by time? One body with a guess, again and again, and values whose first k bytes it has
 * right, for several k in turn (so that a slow moment hits all alike), ROUNDS (10,000) of each: CPU time of
 * scrubbing it, compared with that of k = 0 by Mann-Whitney's rank test. |z| beyond 5 fails. So that the test is known to
 * see something, the same is done to a scanner that stops at the first wrong byte: there it must.
 *
 * It is the value that differs, not the body: of two bodies one may take longer because of where its characters'
 * weights lie beside what is written meanwhile. Who guesses knows the body; that says nothing.
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
static uint8_t body[BODY];
static volatile size_t seen;

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void scrubbed(struct scrub *s, const uint8_t *what, struct buf *out)
{
    buf_clear(out);
    scrub_push(s, (struct bytes){ what, BODY }, out);
    scrub_end(s, out);
}

/* What must not be: work that depends on how right a guess is. */
static void naive(struct bytes value)
{
    for (size_t i = 0; i + value.size < BODY; i++) {
        size_t n = 0;
        while (n < value.size && body[i + n] == value.data[n])
            n++;
        seen += n;
    }
}

/* The value of which the guess (VALUE) has `k` bytes right: the same characters in each, after the right ones
 * the others, backwards. */
static struct bytes value_of(size_t k)
{
    static uint8_t value[sizeof(VALUE) - 1];
    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (uint8_t)VALUE[i < k ? i : sizeof(value) - 1 - (i - k)];
    return (struct bytes){ value, sizeof(value) };
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

/* One more time for this k. Everything lies where it lay for every other. */
static uint64_t time_of(size_t k, bool scrubbing, uint64_t seed, struct buf *out)
{
    static const uint8_t neutral[BODY];
    struct bytes value = value_of(k);
    struct scrub *s = NULL;
    if (scrubbing) {
        if (scrub_new(&value, 1, seed, &s, NULL) < 0)
            abort();
        scrubbed(s, neutral, out); /* what came before has no branch left in mind */
    }
    uint64_t begin = cpu_ns();
    if (scrubbing)
        scrubbed(s, body, out);
    else
        naive(value);
    uint64_t took = cpu_ns() - begin;
    if (s && scrub_places(s) > 0)
        abort();
    scrub_free(s);
    return took;
}

/* The largest |z|. */
static double measure(bool scrubbing, size_t rounds, const char *name)
{
    uint64_t *times[GUESSES], state = 1;
    CLEANUP(buf_done) struct buf out = BUF_INIT(2 * BODY);
    double worst = 0;
    for (size_t g = 0; g < GUESSES; g++)
        times[g] = mem_array(rounds, sizeof(uint64_t));
    for (size_t i = 0; i < rounds + 100; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t turn = (state >> 33) % GUESSES;
        bool backwards = (state >> 62) & 1;
        for (size_t k = 0; k < GUESSES; k++) { /* the order is drawn anew each time */
            size_t g = (k + turn) % GUESSES;
            g = backwards ? GUESSES - 1 - g : g;
            uint64_t took = time_of(right[g], scrubbing, state + g, &out);
            if (i >= 100) /* the first are warm-up */
                times[g][i - 100] = took;
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

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    if (rounds < 100)
        return 2;
    for (size_t i = 0; i < BODY; i++)
        body[i] = (uint8_t)VALUE[i % (sizeof(VALUE) - 1)];
    double scrubber = measure(true, rounds, "scrubber"), other = measure(false, rounds, "naive");
    printf("%s\n", scrubber <= FAR && other > FAR ? "ok" : "not ok");
    return scrubber <= FAR && other > FAR ? 0 : 1;
}
