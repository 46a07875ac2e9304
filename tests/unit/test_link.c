/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room/link.c: frames in order and whole between two processes, over the ring's end, with a full
 * ring, with sleepers who are never forgotten; and a peer that writes what it likes into the memory.
 */
#include "room/link.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "room/link_layout.h"
#include "tests/unit/test.h"

#define RING_OF(memory, side) ((memory) + LINK_PAGE_SIZE + (size_t)(side)*LINK_RING_SIZE)

static void two_ends(struct link **a, struct link **b)
{
    int of_a[LINK_FDS], of_b[LINK_FDS];
    struct error e = ERROR_INIT;
    CHECK_EQ(link_make(of_a, of_b, &e), 0);
    CHECK_EQ(link_open(of_a, a, &e), 0);
    CHECK_EQ(link_open(of_b, b, &e), 0);
}

static struct bytes text(const char *s)
{
    return bytes_of(s);
}

static bool readable(const struct link *l, int timeout_ms)
{
    struct pollfd p = { .fd = link_fd(l), .events = POLLIN };
    return poll(&p, 1, timeout_ms) == 1;
}

TEST(frames_both_ways)
{
    struct link *a, *b;
    struct frame f;
    struct error e = ERROR_INIT;
    two_ends(&a, &b);
    CHECK_EQ(link_get(b, &f, &e), 0);
    CHECK_EQ(link_put(a, 7, text("head"), text("body")), 0);
    CHECK_EQ(link_put(a, 8, text(""), text("")), 0);
    CHECK_EQ(link_put(a, 65535, text("12345678"), text("")), 0);
    CHECK_EQ(link_put(b, 9, text(""), text("back")), 0);
    CHECK_EQ(link_get(b, &f, &e), 1);
    CHECK_EQ(f.kind, 7);
    CHECK_EQ(f.size, 8);
    CHECK_EQ(memcmp(f.payload, "headbody", 8), 0);
    CHECK_EQ(link_get(b, &f, &e), 1);
    CHECK_EQ(f.kind, 8);
    CHECK_EQ(f.size, 0);
    CHECK_EQ(link_get(b, &f, &e), 1);
    CHECK_EQ(f.kind, 65535);
    CHECK_EQ(f.size, 8);
    CHECK_EQ(link_get(b, &f, &e), 0);
    CHECK_EQ(link_get(a, &f, &e), 1);
    CHECK_EQ(f.kind, 9);
    CHECK_EQ(link_get(a, &f, &e), 0);
    link_free(a);
    link_free(b);
}

TEST(a_link_has_two_ends)
{
    int of_a[LINK_FDS], of_b[LINK_FDS], third[LINK_FDS];
    struct link *a, *b, *c = NULL;
    struct error e = ERROR_INIT;
    CHECK_EQ(link_make(of_a, of_b, &e), 0);
    for (size_t i = 0; i < LINK_FDS; i++)
        CHECK((third[i] = dup(of_a[i])) >= 0);
    CHECK_EQ(link_open(of_a, &a, &e), 0);
    CHECK_EQ(link_open(of_b, &b, &e), 0);
    CHECK_EQ(link_open(third, &c, &e), -EBUSY);
    CHECK(!c);
    CHECK(write(third[0], "x", 1) < 0 && errno == EBADF); /* taken on failure too */
    link_free(a);
    link_free(b);
    link_free(NULL);
}

TEST(the_memory_cannot_shrink)
{
    int of_a[LINK_FDS], of_b[LINK_FDS];
    struct error e = ERROR_INIT;
    CHECK_EQ(link_make(of_a, of_b, &e), 0);
    CHECK(ftruncate(of_b[0], 0) < 0 && errno == EPERM);
    CHECK(ftruncate(of_b[0], 64 << 20) < 0 && errno == EPERM);
    for (size_t i = 0; i < LINK_FDS; i++) {
        close(of_a[i]);
        close(of_b[i]);
    }
}

static int open_both(void)
{
    int of_a[LINK_FDS], of_b[LINK_FDS];
    CLEANUP(link_freep) struct link *a = NULL, *b = NULL;
    int status = link_make(of_a, of_b, NULL);
    if (status < 0)
        return status;
    status = link_open(of_a, &a, NULL);
    int second = link_open(of_b, &b, NULL);
    return status < 0 ? status : second;
}

TEST(memory_failures)
{
    TORTURE(open_both());
}

TEST(the_largest_frame_and_one_more)
{
    static uint8_t big[LINK_PAYLOAD_MAX + 1];
    struct link *a, *b;
    struct frame f;
    struct error e = ERROR_INIT;
    two_ends(&a, &b);
    memset(big, 'x', sizeof(big));
    CHECK_EQ(link_put(a, 1, text("h"), (struct bytes){ big, LINK_PAYLOAD_MAX }), -EMSGSIZE);
    CHECK_EQ(link_put(a, 1, (struct bytes){ big, SIZE_MAX }, text("b")), -EMSGSIZE);
    CHECK_EQ(link_put(a, 1, text("h"), (struct bytes){ big, LINK_PAYLOAD_MAX - 1 }), 0);
    CHECK_EQ(link_get(b, &f, &e), 1);
    CHECK_EQ(f.size, LINK_PAYLOAD_MAX);
    CHECK_EQ(f.payload[LINK_PAYLOAD_MAX - 1], 'x');
    link_free(a);
    link_free(b);
}

TEST(a_full_ring_tells_when_there_is_room)
{
    static uint8_t big[100000];
    struct link *a, *b;
    struct frame f;
    struct error e = ERROR_INIT;
    unsigned put = 0, got = 0;
    int status;
    two_ends(&a, &b);
    while ((status = link_put(a, 1, (struct bytes){ big, sizeof(big) }, text(""))) == 0)
        put++;
    CHECK_EQ(status, 1);
    CHECK_EQ(put, LINK_RING_SIZE / (sizeof(big) + FRAME_HEADER_SIZE));
    CHECK(!link_sleep(a));
    CHECK_EQ(link_get(b, &f, &e), 1);
    got++;
    link_flush(b);
    CHECK(!readable(a, 0)); /* one frame's room is not worth a wake */
    while (link_get(b, &f, &e) == 1)
        got++;
    link_flush(b);
    CHECK(readable(a, 0));
    link_awake(a);
    CHECK(!readable(a, 0));
    CHECK_EQ(got, put);
    CHECK_EQ(link_put(a, 1, text("x"), text("")), 0);
    link_free(a);
    link_free(b);
}

TEST(room_is_seen_before_sleeping)
{
    static uint8_t big[LINK_PAYLOAD_MAX];
    struct link *a, *b;
    struct frame f;
    struct error e = ERROR_INIT;
    two_ends(&a, &b);
    while (link_put(a, 1, (struct bytes){ big, sizeof(big) }, text("")) == 0) {
    }
    while (link_get(b, &f, &e) == 1) {
    }
    link_flush(b); /* nobody sleeps: no wake */
    CHECK(!readable(a, 0));
    CHECK(link_sleep(a));
    CHECK(!link_sleep(a)); /* who does not put again is not kept awake for ever */
    link_free(a);
    link_free(b);
}

TEST(who_is_busy_costs_no_wake)
{
    struct link *a, *b;
    struct frame f;
    struct error e = ERROR_INIT;
    two_ends(&a, &b);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(link_put(a, 1, text("request"), text("")), 0);
        link_flush(a);
        CHECK_EQ(link_get(b, &f, &e), 1);
        CHECK_EQ(link_put(b, 2, text("response"), text("")), 0);
        link_flush(b);
        CHECK_EQ(link_get(a, &f, &e), 1);
    }
    CHECK(!readable(a, 0));
    CHECK(!readable(b, 0));
    CHECK(!link_sleep(b));
    CHECK_EQ(link_put(a, 1, text("x"), text("")), 0);
    CHECK(!readable(b, 0)); /* not before the flush */
    link_flush(a);
    CHECK(readable(b, 0));
    link_awake(b);
    CHECK_EQ(link_get(b, &f, &e), 1);
    link_flush(b); /* something was taken, nobody waits for room */
    CHECK(!link_sleep(a));
    CHECK_EQ(link_put(a, 1, text("y"), text("")), 0);
    CHECK(link_sleep(b));
    CHECK_EQ(link_get(b, &f, &e), 1);
    link_flush(b);
    CHECK(!readable(a, 0)); /* sleeps for frames, and there are none */
    link_free(a);
    link_free(b);
}

/* ---- two processes ---- */

#define FRAMES 2000000u
#define FRAMES_ASAN 200000u

struct count {
    uint64_t frames, bytes, sum;
};

/* What frame `n` is: many small ones, now and then a large one. */
static size_t size_of(uint32_t n)
{
    uint32_t x = n * 2654435761u;
    return x % 997 == 0 ? x % LINK_PAYLOAD_MAX : x % 100;
}

static unsigned frames_to_send(void)
{
#ifdef __SANITIZE_ADDRESS__
    return FRAMES_ASAN;
#else
    return FRAMES;
#endif
}

/* Both sides run this: they send as much as they get, sleep only by the rules, and nobody ever waits
 * for longer than it takes the other to answer: a forgotten sleeper shows as a time-out. */
static int exchange(struct link *l, unsigned count, struct count *got)
{
    static uint8_t bytes[LINK_PAYLOAD_MAX];
    struct error e = ERROR_INIT;
    unsigned sent = 0, idle = 0;
    while (sent < count || got->frames < count) {
        struct frame f;
        unsigned burst = sent % 61 + 1;
        bool moved = false;
        for (; sent < count && burst; burst--, sent++) {
            size_t size = size_of(sent);
            memset(bytes, (int)(sent & 0xff), MIN(size, (size_t)64));
            uint32_t number = sent;
            if (link_put(l, (uint16_t)(sent % 60000),
                         (struct bytes){ (const uint8_t *)&number, sizeof(number) },
                         (struct bytes){ bytes, MIN(size, sizeof(bytes) - 4) }))
                break;
            moved = true;
        }
        for (unsigned i = 0; i < 200 && link_get(l, &f, &e) == 1; i++, moved = true) {
            uint32_t number;
            memcpy(&number, f.payload, sizeof(number));
            size_t size = MIN(size_of(number), sizeof(bytes) - 4);
            if (number != got->frames || f.kind != number % 60000 || f.size != size + 4 ||
                (size && f.payload[4] != (number & 0xff)) ||
                (size && size <= 64 && f.payload[3 + size] != (number & 0xff)))
                return -EBADMSG;
            got->frames++;
            got->bytes += f.size;
        }
        link_flush(l);
        if (moved)
            continue;
        if (e.code)
            return e.code;
        if (link_sleep(l))
            continue;
        got->sum++; /* sleeps */
        if (!readable(l, 20000))
            return -ETIMEDOUT;
        link_awake(l);
        if (++idle > 100000000)
            return -ELOOP;
    }
    link_flush(l);
    return 0;
}

TEST(two_processes_and_every_frame_arrives)
{
    int of_a[LINK_FDS], of_b[LINK_FDS], status;
    struct link *l;
    struct error e = ERROR_INIT;
    struct count got = { 0 };
    unsigned count = frames_to_send();
    CHECK_EQ(link_make(of_a, of_b, &e), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int result = link_open(of_b, &l, &e);
        if (result == 0)
            result = exchange(l, count, &got);
        _exit(result == 0 ? 0 : 1);
    }
    CHECK_EQ(link_open(of_a, &l, &e), 0);
    int result = exchange(l, count, &got);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(result, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(got.frames, count);
    CHECK(got.bytes > 4 * (uint64_t)LINK_RING_SIZE); /* it went round */
    for (size_t i = 0; i < LINK_FDS; i++)
        close(of_b[i]);
    link_free(l);
}

/* One frame at a time, each side asleep before each: every single wake is needed. */
TEST(no_wake_is_lost)
{
    int of_a[LINK_FDS], of_b[LINK_FDS], status;
    struct link *l;
    struct error e = ERROR_INIT;
    struct frame f;
    const unsigned rounds = 20000;
    CHECK_EQ(link_make(of_a, of_b, &e), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    bool first = child != 0;
    if (link_open(first ? of_a : of_b, &l, &e) < 0)
        _exit(1);
    unsigned done = 0;
    bool fine = true;
    for (bool mine = first; fine && done < rounds; mine = !mine) {
        if (mine) {
            fine = link_put(l, 1, text("ball"), text("")) == 0;
            link_flush(l);
            done++;
            continue;
        }
        int got;
        while (fine && (got = link_get(l, &f, &e)) != 1) {
            fine = got == 0 && (link_sleep(l) || readable(l, 20000));
            link_awake(l);
        }
    }
    if (!first)
        _exit(fine ? 0 : 1);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(fine);
    CHECK_EQ(status, 0);
    for (size_t i = 0; i < LINK_FDS; i++)
        close(of_b[i]);
    link_free(l);
}

/* ---- a hostile peer ---- */

struct hostile {
    struct link *link;
    struct link_shared *shared; /* the peer is side 1 */
    uint8_t *memory;
    int fd, event;
};

static void hostile_open(struct hostile *h)
{
    int of_a[LINK_FDS], of_b[LINK_FDS];
    struct error e = ERROR_INIT;
    CHECK_EQ(link_make(of_a, of_b, &e), 0);
    CHECK_EQ(link_open(of_a, &h->link, &e), 0);
    h->memory = mmap(NULL, LINK_PAGE_SIZE + 2 * (size_t)LINK_RING_SIZE, PROT_READ | PROT_WRITE,
                     MAP_SHARED, of_b[0], 0);
    CHECK(h->memory != MAP_FAILED);
    h->shared = (struct link_shared *)h->memory;
    h->fd = of_b[0];
    h->event = of_b[1];
    close(of_b[2]);
}

static void hostile_close(struct hostile *h)
{
    link_free(h->link);
    munmap(h->memory, LINK_PAGE_SIZE + 2 * (size_t)LINK_RING_SIZE);
    close(h->fd);
    close(h->event);
}

/* A header in the peer's ring at `at`, and `put` said to be there. */
static void say(struct hostile *h, uint64_t at, uint64_t header, uint64_t put)
{
    memcpy(RING_OF(h->memory, 1) + at % LINK_RING_SIZE, &header, sizeof(header));
    atomic_store(&h->shared->sides[1].put, put);
}

TEST(lies_about_positions_and_headers)
{
    static const struct {
        uint64_t header, put;
        int answer;
    } rows[] = {
        { 0, 8, 1 },                                        /* an empty frame: fine */
        { 0, 7, -EBADMSG },                                 /* no multiple of 8 */
        { 0, LINK_RING_SIZE + 8, -EBADMSG },                /* more than the ring holds */
        { 0, UINT64_MAX - 7, -EBADMSG },                    /* before the beginning */
        { 1, 8, -EBADMSG },                                 /* a payload that is not there */
        { 9, 16, -EBADMSG },                                /* one byte too many */
        { LINK_PAYLOAD_MAX + 1, LINK_RING_SIZE, -EBADMSG }, /* too long */
        { UINT32_MAX, LINK_RING_SIZE, -EBADMSG },           /* so that the sum overflows */
        { UINT64_C(1) << 48, 8, -EBADMSG },                 /* the reserved field */
        { LINK_PAYLOAD_MAX, LINK_RING_SIZE, 1 },            /* the longest: fine */
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct hostile h;
        struct frame f;
        struct error e = ERROR_INIT;
        hostile_open(&h);
        say(&h, 0, rows[i].header, rows[i].put);
        CHECK_EQ(link_get(h.link, &f, &e), rows[i].answer);
        if (rows[i].answer < 0) { /* for ever, in both directions */
            struct error again = ERROR_INIT;
            say(&h, 0, 0, 8);
            CHECK_EQ(link_get(h.link, &f, &again), -EBADMSG);
            CHECK_EQ(link_put(h.link, 1, text("x"), text("")), -EBADMSG);
            CHECK(!link_sleep(h.link));
            link_flush(h.link);
        }
        hostile_close(&h);
    }
}

TEST(a_position_that_goes_back)
{
    struct hostile h;
    struct frame f;
    struct error e = ERROR_INIT;
    hostile_open(&h);
    say(&h, 0, 0, 64);
    CHECK_EQ(link_get(h.link, &f, &e), 1);
    atomic_store(&h.shared->sides[1].put,
                 8); /* what was said is not asked again before it is used up */
    for (int i = 0; i < 7; i++)
        CHECK_EQ(link_get(h.link, &f, &e), 1);
    CHECK_EQ(link_get(h.link, &f, &e), -EBADMSG);
    hostile_close(&h);

    static uint8_t big[LINK_PAYLOAD_MAX];
    static const uint64_t lies[] = { 1, LINK_RING_SIZE, UINT64_MAX - 7, UINT64_C(1) << 63 };
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        hostile_open(&h);
        for (int n = 0; n < 3; n++)
            CHECK_EQ(link_put(h.link, 1, (struct bytes){ big, sizeof(big) }, text("")), 0);
        uint64_t put = atomic_load(&h.shared->sides[0].put);
        atomic_store(&h.shared->sides[1].taken, put + lies[i]); /* took what was never put */
        int status;
        while ((status = link_put(h.link, 1, (struct bytes){ big, sizeof(big) }, text(""))) == 0) {
        }
        CHECK_EQ(status, i == 2 ? 1 : -EBADMSG); /* put - 8 is a position like others */
        hostile_close(&h);
    }
}

/* Whatever is written after the frame was given to us, it stays as it was checked. */
TEST(bytes_that_change_after_the_check)
{
    struct hostile h;
    struct frame f;
    struct error e = ERROR_INIT;
    hostile_open(&h);
    memcpy(RING_OF(h.memory, 1) + 8, "honest!!", 8);
    say(&h, 0, 8 | UINT64_C(3) << 32, 16);
    CHECK_EQ(link_get(h.link, &f, &e), 1);
    memset(h.memory + LINK_PAGE_SIZE, 0xee, 2 * (size_t)LINK_RING_SIZE);
    CHECK_EQ(f.kind, 3);
    CHECK_EQ(f.size, 8);
    CHECK_EQ(memcmp(f.payload, "honest!!", 8), 0);
    CHECK(f.payload < h.memory || f.payload >= h.memory + LINK_PAGE_SIZE + 2 * LINK_RING_SIZE);
    hostile_close(&h);
}

/* Our own positions are never read back. */
TEST(our_own_positions_are_not_believed)
{
    struct hostile h;
    struct frame f;
    struct error e = ERROR_INIT;
    hostile_open(&h);
    CHECK_EQ(link_put(h.link, 1, text("one"), text("")), 0);
    atomic_store(&h.shared->sides[0].put, UINT64_C(1) << 40);
    atomic_store(&h.shared->sides[0].taken, UINT64_C(1) << 41);
    CHECK_EQ(link_put(h.link, 1, text("two"), text("")), 0);
    CHECK_EQ(atomic_load(&h.shared->sides[0].put), 32);
    CHECK_EQ(memcmp(RING_OF(h.memory, 0) + 24, "two", 3), 0);
    say(&h, 0, 0, 8);
    CHECK_EQ(link_get(h.link, &f, &e), 1);
    CHECK_EQ(atomic_load(&h.shared->sides[0].taken), 8);
    hostile_close(&h);
}

/* An eventfd that is full does not block who wakes. */
TEST(a_full_eventfd_blocks_nobody)
{
    static const uint64_t most = UINT64_MAX - 1;
    struct hostile h;
    hostile_open(&h);
    CHECK_EQ(write(h.event, &most, sizeof(most)), sizeof(most));
    for (int i = 0; i < 3; i++) {
        atomic_store(&h.shared->sides[1].sleeps, LINK_SLEEPS);
        CHECK_EQ(link_put(h.link, 1, text("x"), text("")), 0);
        link_flush(h.link);
    }
    hostile_close(&h);
}

/* Random words over the whole shared page and the rings, between calls of ours: an answer each time,
 * and no byte outside (the sanitized run says so). */
TEST(a_peer_that_writes_garbage)
{
    static uint8_t big[LINK_PAYLOAD_MAX];
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        struct hostile h;
        struct error e = ERROR_INIT;
        hostile_open(&h);
        for (int step = 0; step < 200; step++) {
            struct frame f;
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            uint64_t word = random % 5 == 0   ? random
                            : random % 5 == 1 ? random % 4096
                            : random % 5 == 2 ? (random % 512) * 8
                            : random % 5 == 3 ? (random % 128) | (random % 7) << 32
                                              : LINK_RING_SIZE - random % 64;
            size_t at = random % 3 == 0 ? (size_t)(random >> 20) % 400
                                        : LINK_PAGE_SIZE + (size_t)(random >> 20) % 4096;
            memcpy(h.memory + (at & ~(size_t)7), &word, sizeof(word));
            int got = link_get(h.link, &f, &e);
            if (got == 1)
                CHECK(f.size <= LINK_PAYLOAD_MAX);
            int put =
                link_put(h.link, 2, (struct bytes){ big, random % sizeof(big) }, text("tail"));
            CHECK(put == 0 || put == 1 || put == -EBADMSG || put == -EMSGSIZE);
            (void)link_sleep(h.link);
            link_awake(h.link);
        }
        hostile_close(&h);
    }
}

TEST_MAIN()
