/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: clocks and sleep. With an argument it prints the time itself (for a fixed clock), else only what must hold of any. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long now(clockid_t id)
{
    struct timespec t = { 0, 0 };
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(int argc, char **argv)
{
    char text[64];
    time_t t = 951782400; /* 2000-02-29 */
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S day %j, %A", gmtime(&t));
    puts(text);
    struct tm broken = { .tm_year = 126, .tm_mon = 12, .tm_mday = 32, .tm_isdst = 0 };
    printf("%lld\n", (long long)mktime(&broken));
    if (argc > 1) {
        t = time(NULL);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
        printf("%s %lld\n", text, now(CLOCK_REALTIME) % 1000000000);
        return 0;
    }
    struct timeval tv;
    gettimeofday(&tv, NULL);
    printf("real clock %d, the same by gettimeofday %d\n", now(CLOCK_REALTIME) > 1700000000000000000ll,
           tv.tv_sec >= now(CLOCK_REALTIME) / 1000000000 - 2);
    long long a = now(CLOCK_MONOTONIC), b = now(CLOCK_MONOTONIC);
    struct timespec nap = { 0, 30000000 };
    int r = nanosleep(&nap, NULL);
    long long c = now(CLOCK_MONOTONIC);
    printf("forwards %d, slept %d %d\n", b >= a, r, c - b >= 30000000 && c - b < 5000000000ll);
    struct timespec resolution = { 9, 9 };
    clock_getres(CLOCK_MONOTONIC, &resolution);
    printf("resolution %d\n", resolution.tv_sec == 0 && resolution.tv_nsec > 0);
    a = now(CLOCK_MONOTONIC);
    struct pollfd in = { .fd = 0, .events = POLLIN };
    r = poll(&in, 1, 2000); /* standard input is at its end or has data: ready at once */
    printf("poll %d %d\n", r, now(CLOCK_MONOTONIC) - a < 1500000000);
    a = now(CLOCK_MONOTONIC);
    usleep(20000);
    printf("usleep %d\n", now(CLOCK_MONOTONIC) - a >= 20000000);
    return 0;
}
