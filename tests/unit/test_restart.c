/* SPDX-License-Identifier: Apache-2.0 */
/* control/restart.c with this binary as the room: pauses are counted from what it sets, never slept. */
#include "control/restart.h"

#include "base/clock.h"
#include "tests/unit/test.h"

static int room_that_ends(struct channel *control)
{
    (void)control;
    return 7;
}

/* One life that began `ago_ns` ago and ends; the pause after it. */
static uint64_t pause_after(struct restart *r, uint64_t ago_ns)
{
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    struct room room = { 0 };
    struct error e = ERROR_INIT;
    if (room_spawn(ROOM_WORKER, UINT32_MAX, &room, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    restart_began(r);
    CHECK_EQ(r->back_ns, 0);
    r->began_ns -= ago_ns;
    uint64_t before = clock_monotonic_ns();
    restart_bury(r, &room, &why);
    CHECK_STR(buf_cstr(&why), "exit code 7");
    CHECK_EQ(r->missing, 0);
    CHECK_EQ(room.pid, 0);
    CHECK(r->back_ns >= before + r->pause_ns);
    CHECK(r->back_ns <= clock_monotonic_ns() + r->pause_ns);
    return r->pause_ns / NS_PER_MS;
}

TEST(pauses_double_from_20_ms_to_2_s)
{
    static const uint64_t expected[] = { 20, 40, 80, 160, 320, 640, 1280, 2000, 2000 };
    struct restart r = { 0 };
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        CHECK_EQ(pause_after(&r, 0), expected[i]);
}

TEST(who_lived_for_ten_seconds_begins_anew)
{
    struct restart r = { 0 };
    CHECK_EQ(pause_after(&r, 0), 20);
    CHECK_EQ(pause_after(&r, 0), 40);
    CHECK_EQ(pause_after(&r, NS_PER_S), 80);
    CHECK_EQ(pause_after(&r, 10 * NS_PER_S), 20);
    CHECK_EQ(pause_after(&r, 0), 40);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { room_that_ends };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
