/* SPDX-License-Identifier: Apache-2.0 */
/* worker/denials.c: distinct ones are kept up to the cap, repeats count, the sum is always the
 * total. */
#include "worker/denials.h"

#include <stdio.h>

#include "tests/unit/test.h"

static uint64_t counted(const struct denials *d)
{
    uint64_t sum = d->dropped;
    for (size_t i = 0; i < d->count; i++)
        sum += d->items[i].count;
    return sum;
}

TEST(repeats_only_count)
{
    struct denials d;
    denials_init(&d);
    CHECK_EQ(denials_record(&d, 0, "open", "/etc/passwd", 1, 2), 1);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(denials_record(&d, 0, "open", "/etc/passwd", 1, 2), 0);
    CHECK_EQ(d.count, 1);
    CHECK_EQ(d.items[0].count, 1001);
    CHECK_EQ(d.total, 1001);
    denials_done(&d);
}

TEST(every_part_distinguishes)
{
    struct denials d;
    denials_init(&d);
    CHECK_EQ(denials_record(&d, 0, "open", "/a", 1, 2), 1);
    CHECK_EQ(denials_record(&d, 1, "open", "/a", 1, 2), 1);
    CHECK_EQ(denials_record(&d, 0, "stat", "/a", 1, 2), 1);
    CHECK_EQ(denials_record(&d, 0, "open", "/b", 1, 2), 1);
    CHECK_EQ(denials_record(&d, 0, "open", "/a", 3, 2), 1);
    CHECK_EQ(denials_record(&d, 0, "open", "/a", 1, 3), 1);
    CHECK_EQ(denials_record(&d, 0, "open", "/a", 1, 2), 0);
    CHECK_EQ(d.count, 6);
    CHECK_STR(d.items[3].resource, "/b");
    CHECK_EQ(counted(&d), d.total);
    denials_done(&d);
}

TEST(the_cap_holds)
{
    struct denials d;
    char name[32];
    denials_init(&d);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "/name/%d", i);
        CHECK_EQ(denials_record(&d, 0, "open", name, 1, 2), i < RUN_DENIALS_MAX);
    }
    CHECK_EQ(d.count, RUN_DENIALS_MAX);
    CHECK_EQ(d.dropped, 5000 - RUN_DENIALS_MAX);
    CHECK_EQ(denials_record(&d, 0, "open", "/name/7", 1, 2), 0);
    CHECK_EQ(d.items[7].count, 2);
    CHECK_EQ(counted(&d), d.total);
    denials_done(&d);
}

TEST(long_names_are_cut)
{
    static char name[3 * DENIAL_RESOURCE_MAX];
    struct denials d;
    memset(name, 'x', sizeof(name) - 1);
    denials_init(&d);
    CHECK_EQ(denials_record(&d, 0, "open", name, 1, 2), 1);
    CHECK_EQ(strlen(d.items[0].resource), DENIAL_RESOURCE_MAX);
    CHECK_EQ(denials_record(&d, 0, "open", name, 1, 2), 0);
    name[DENIAL_RESOURCE_MAX - 1] = '\0'; /* a prefix of the kept one is another */
    CHECK_EQ(denials_record(&d, 0, "open", name, 1, 2), 1);
    denials_done(&d);
}

static int fill(void)
{
    struct denials d;
    char name[32];
    int status = 0;
    denials_init(&d);
    for (int i = 0; i < 20 && status >= 0; i++) {
        snprintf(name, sizeof(name), "/name/%d", i);
        status = denials_record(&d, 0, "open", name, 1, 2);
    }
    if (counted(&d) != d.total)
        status = -EPROTO;
    denials_done(&d);
    return status < 0 ? status : 0;
}

TEST(memory_runs_out)
{
    TORTURE(fill());
}

TEST_MAIN()
