/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches that rest between two requests over a connection, with pipes: the next one needs no system call, an event
 * meanwhile ends it, and a number that is another descriptor by then is watched anew.
 */
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "egress/parts.h"
#include "tests/unit/test.h"

static struct poller poller;
static int owner;

/* The kernel's word: is there an event for `fd` now? */
static bool tells_of(int fd)
{
    struct epoll_event events[8];
    int count = epoll_wait(poller.epoll, events, 8, 0);
    for (int i = 0; i < count; i++)
        if (events[i].data.fd == fd)
            return true;
    return false;
}

static void set(int fd, enum watch_kind kind, uint32_t events)
{
    CHECK_EQ(poller_set(&poller, fd, kind, &owner, events), 0);
}

static void setup(int fds[2])
{
    memset(&poller, 0, sizeof(poller));
    CHECK_EQ(poller_init(&poller, NULL), 0);
    CHECK_EQ(pipe(fds), 0);
}

TEST(a_watch_that_rests_is_taken_up_again)
{
    int fds[2];
    setup(fds);
    set(fds[0], WATCH_CURL, EPOLLIN);
    poller_rest(&poller, fds[0]);
    CHECK(poller.watches[fds[0]].rests);
    set(fds[0], WATCH_CURL, EPOLLIN);
    CHECK(!poller.watches[fds[0]].rests);
    CHECK(!tells_of(fds[0]));
    CHECK_EQ(write(fds[1], "x", 1), 1);
    CHECK(tells_of(fds[0]));
    /* What comes while it rests is told, too, so that the room can end it. */
    poller_rest(&poller, fds[0]);
    CHECK(tells_of(fds[0]));
    set(fds[0], WATCH_NONE, 0);
    CHECK(!tells_of(fds[0]));
    set(fds[0], WATCH_CURL, EPOLLIN);
    CHECK(tells_of(fds[0]));
    close(fds[0]);
    close(fds[1]);
    close(poller.epoll);
}

TEST(a_number_that_is_another_descriptor_is_watched_anew)
{
    static const enum watch_kind kinds[] = { WATCH_CURL, WATCH_NAMES };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        int fds[2], other[2];
        setup(fds);
        CHECK_EQ(pipe(other), 0);
        set(fds[0], WATCH_CURL, EPOLLIN);
        poller_rest(&poller, fds[0]);
        CHECK_EQ(close(fds[0]), 0); /* the kernel forgets it, too */
        CHECK_EQ(dup2(other[0], fds[0]), fds[0]);
        if (kinds[i] ==
            WATCH_CURL) /* whoever opens a socket for curl says so; others have a kind of their own */
            poller_forget(&poller, fds[0]);
        set(fds[0], kinds[i], EPOLLIN);
        CHECK_EQ(write(other[1], "x", 1), 1);
        CHECK(tells_of(fds[0]));
        CHECK(!poller.watches[fds[0]].rests);
        close(fds[0]);
        close(fds[1]);
        close(other[0]);
        close(other[1]);
        close(poller.epoll);
    }
}

/* Why it must be said: without it nobody is told. */
TEST(without_forgetting_nobody_is_told)
{
    int fds[2], other[2];
    setup(fds);
    CHECK_EQ(pipe(other), 0);
    set(fds[0], WATCH_CURL, EPOLLIN);
    poller_rest(&poller, fds[0]);
    CHECK_EQ(close(fds[0]), 0);
    CHECK_EQ(dup2(other[0], fds[0]), fds[0]);
    set(fds[0], WATCH_CURL, EPOLLIN);
    CHECK_EQ(write(other[1], "x", 1), 1);
    CHECK(!tells_of(fds[0]));
    close(fds[0]);
    close(fds[1]);
    close(other[0]);
    close(other[1]);
    close(poller.epoll);
}
TEST_MAIN()
