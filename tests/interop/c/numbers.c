/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: sorting, searching, integers, floating point where IEEE 754 leaves no choice, text to number and back. */
#include <fenv.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252ull;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void sorting(void)
{
    enum { N = 100000 };
    uint64_t *all = malloc(N * sizeof(*all)), sum = 0;
    for (size_t i = 0; i < N; i++)
        all[i] = next() >> 20;
    uint64_t wanted = all[N / 3];
    qsort(all, N, sizeof(*all), by_value);
    for (size_t i = 0; i < N; i++)
        sum = sum * 31 + all[i];
    uint64_t *found = bsearch(&wanted, all, N, sizeof(*all), by_value);
    printf("sorted %016" PRIx64 ", found %d, none %d\n", sum, found != NULL && *found == wanted,
           bsearch(&(uint64_t){ 5 }, all, N, sizeof(*all), by_value) == NULL);
    free(all);
}

static void integers(void)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < 1000000; i++)
        h = (h ^ (i & 255)) * 16777619u;
    int64_t q = INT64_MIN / 3, r = INT64_MIN % 3;
    printf("%08" PRIx32 " %" PRId64 " %" PRId64 " %d %d %d\n", h, q, r, __builtin_popcountll(next()), __builtin_clzll(12345),
           __builtin_ctz(4096));
    unsigned __int128 wide = (unsigned __int128)next() * next();
    printf("%016" PRIx64 "%016" PRIx64 "\n", (uint64_t)(wide >> 64), (uint64_t)wide);
}

static void floats(void)
{
    static const double some[] = { 0.0, -0.0, 1.0, 0.1, 1e308, 5e-324, 2.5, -2.5, 3.5, 1e15 + 0.3, DBL_MAX, INFINITY };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        double x = some[i];
        printf("%.17g sqrt %.17g floor %g ceil %g rint %g trunc %g", x, sqrt(x), floor(x), ceil(x), rint(x), trunc(x));
        printf(" fma %.17g mod %.17g next %.17g scale %.17g\n", fma(x, 0.1, 0.3), fmod(x, 0.7), nextafter(x, 1e9), ldexp(x, -3));
    }
    double sum = 0, product = 1;
    for (int i = 1; i <= 100000; i++) {
        sum += 1.0 / i;
        product *= 1 + 1.0 / ((double)i * i);
    }
    printf("%.17g %.17g %.9f %.9f %.9f %.9f\n", sum, product, sin(1), log(10), pow(2, 0.5), atan2(1, -1));
    printf("nan %d %d inf %d signbit %d\n", isnan(NAN), NAN == NAN, isinf(HUGE_VAL), signbit(-0.0) != 0);
    float f = 16777216.0f;
    printf("%.9g %.9g %d %lld\n", f + 1, 0.1f * 3, (int)-2.9, (long long)1e18);
}

static void text(void)
{
    char *end;
    long negative = strtol("-0x7fZ", &end, 16);
    printf("%ld %c %ld %lu %lld\n", negative, *end, strtol("0777", NULL, 0), strtoul("4294967295", NULL, 10),
           strtoll("-9223372036854775808", NULL, 10));
    printf("%.17g %.17g %.17g %.17g\n", strtod("0x1.8p3", NULL), strtod("2.2250738585072011e-308", NULL), strtod("1e400", NULL),
           strtod("8.41e21x", &end));
    int a, n;
    char word[16];
    double d;
    printf("%d", sscanf("  42 apples 2.50rest", "%d %15s %lf%n", &a, word, &d, &n));
    printf(" %d %s %g %d\n", a, word, d, n);
    printf("[%5d|%-5d|%05d|%+d|%x|%#o|%c|%10.3s|%-8s|%%|%e|%G]\n", 42, 42, 42, 42, 255u, 8u, 'c', "string", "left", 12345.678, 1e-10);
    printf("[%*.*f|%.0f|%.0f|%hhd|%zu|%jd|%lld]\n", 10, 3, 3.14159, 0.5, 1.5, (signed char)44, sizeof(uint64_t), (intmax_t)-1, -1ll);
}

int main(void)
{
    sorting();
    integers();
    floats();
    text();
    return 0;
}
