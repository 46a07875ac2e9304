/* SPDX-License-Identifier: Apache-2.0 */
/* room/channel.c over a socket pair of our own: queue and bursts, ends,
 * descriptors, hostile bytes. */
#include "room/channel.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/test.h"

/* A channel and the raw other end. */
static struct channel *pair(int *ret_raw)
{
    int fds[2];
    struct channel *c = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        channel_new(fds[0], &c, NULL) < 0)
        test_fail(__FILE__, __LINE__, "no socket pair");
    *ret_raw = fds[1];
    return c;
}

static int send_fds(int socket, const void *bytes, size_t size, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 253)];
        struct cmsghdr align;
    } control = { { 0 } };
    struct iovec v = { (void *)bytes, size };
    struct msghdr m = { .msg_iov = &v,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = CMSG_SPACE(sizeof(int) * count) };
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(h), fds, sizeof(int) * count);
    return sendmsg(socket, &m, 0) == (ssize_t)size ? 0 : -errno;
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static const uint8_t two_frames[] = { 2, 0, 0, 0, 5, 0, 0, 0, 'a', 'b', 0, 0, 0, 0, 6, 0, 0, 0 };

TEST(frames_byte_by_byte)
{
    int raw;
    CLEANUP(channel_freep) struct channel *c = pair(&raw);
    struct frame f;
    int *fds;
    size_t fd_count;
    int seen = 0;
    for (size_t i = 0; i < sizeof two_frames; i++) {
        CHECK_EQ(channel_receive(c, false, &f, &fds, &fd_count, NULL), 0);
        CHECK_EQ(write(raw, two_frames + i, 1), 1);
        if (i == 9 || i == 17) {
            CHECK_EQ(channel_receive(c, false, &f, &fds, &fd_count, NULL), 1);
            CHECK_EQ(f.kind, 5 + seen);
            seen++;
        }
    }
    CHECK_EQ(seen, 2);
    close(raw);
    CHECK_EQ(channel_receive(c, true, &f, &fds, &fd_count, NULL), -EPIPE);
}

TEST(end_within_a_frame)
{
    for (size_t size = 1; size < 10; size++) {
        int raw;
        CLEANUP(channel_freep) struct channel *c = pair(&raw);
        struct frame f;
        int *fds;
        size_t fd_count;
        CHECK_EQ(write(raw, two_frames, size), (ssize_t)size);
        close(raw);
        CHECK_EQ(channel_receive(c, true, &f, &fds, &fd_count, NULL), -EPIPE);
    }
}

TEST(descriptors_belong_to_their_frame)
{
    int raw, before = open_descriptors();
    struct channel *c = pair(&raw);
    struct frame f;
    int *fds;
    size_t fd_count;
    int some[3] = { 0, 1, 2 };
    /* Without, with, without: three frames that are all there before the first is read. */
    CHECK_EQ(write(raw, two_frames + 10, 8), 8);
    CHECK_EQ(send_fds(raw, two_frames, 10, some, 3), 0);
    CHECK_EQ(write(raw, two_frames + 10, 8), 8);
    CHECK_EQ(channel_receive(c, true, &f, &fds, &fd_count, NULL), 1);
    CHECK_EQ(fd_count, 0);
    CHECK_EQ(channel_receive(c, true, &f, &fds, &fd_count, NULL), 1);
    CHECK_EQ(f.kind, 5);
    CHECK_EQ(fd_count, 3);
    CHECK(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    int taken = fd_take(&fds[1]);
    CHECK_EQ(channel_receive(c, true, &f, &fds, &fd_count, NULL), 1);
    CHECK_EQ(fd_count, 0);
    CHECK_EQ(open_descriptors(), before + 3); /* the pair, and the one that was taken */
    close(taken);
    /* Some that come with a frame that never ends are closed with the channel. */
    CHECK_EQ(send_fds(raw, two_frames, 9, some, 3), 0);
    CHECK_EQ(channel_receive(c, false, &f, &fds, &fd_count, NULL), 0);
    channel_free(c);
    close(raw);
    CHECK_EQ(open_descriptors(), before);
}

TEST(too_many_descriptors)
{
    int raw, before = open_descriptors();
    struct channel *c = pair(&raw);
    struct frame f;
    int *fds, some[253] = { 0 };
    size_t fd_count;
    static const uint8_t header[8] = { 255, 0, 0, 0, 1 };
    CHECK_EQ(send_fds(raw, header, 8, some, 253), 0);
    CHECK_EQ(channel_receive(c, false, &f, &fds, &fd_count, NULL), 0);
    CHECK_EQ(send_fds(raw, header, 1, some, 1), 0);
    CHECK_EQ(channel_receive(c, false, &f, &fds, &fd_count, NULL), -EPROTO);
    channel_free(c);
    close(raw);
    CHECK_EQ(open_descriptors(), before);
}

static int count_frame(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                       struct error *e)
{
    ++*(int *)context;
    payload->at = payload->end;
    return 0;
}

static const struct frame_rule rules[] = { { 6, "SIX", 1, false, 0, 0, count_frame } };

TEST(dispatch)
{
    int raw, count = 0;
    CLEANUP(channel_freep) struct channel *c = pair(&raw);
    struct frame_gate gate = { .rules = rules, .rule_count = 1 };
    for (int i = 0; i < 100; i++)
        CHECK_EQ(write(raw, two_frames + 10, 8), 8);
    CHECK_EQ(channel_dispatch(c, &gate, &count, true, NULL), 0);
    CHECK_EQ(count, CHANNEL_BURST_MAX);
    CHECK_EQ(channel_dispatch(c, &gate, &count, false, NULL), 0);
    CHECK_EQ(count, 100);
    CHECK_EQ(write(raw, two_frames, 10), 10);
    struct error e = ERROR_INIT;
    CHECK_EQ(channel_dispatch(c, &gate, &count, false, &e), -EPROTO);
    CHECK_HAS(e.what, "unknown frame (kind 5)");
    close(raw);
    CHECK_EQ(channel_dispatch(c, &gate, &count, true, NULL), 1);
}

TEST(one_frame_and_no_more)
{
    int raw, count = 0;
    CLEANUP(channel_freep) struct channel *c = pair(&raw);
    struct frame_gate gate = { .rules = rules, .rule_count = 1 };
    for (int i = 0; i < 3; i++)
        CHECK_EQ(write(raw, two_frames + 10, 8), 8);
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(channel_dispatch_one(c, &gate, &count, true, NULL), 0);
        CHECK_EQ(count, i);
    }
    CHECK_EQ(channel_dispatch_one(c, &gate, &count, false, NULL), 0);
    CHECK_EQ(count, 3);
    close(raw);
    CHECK_EQ(channel_dispatch_one(c, &gate, &count, true, NULL), 1);
}

/* Poll says nothing of what was read ahead: all of it is dispatched. Descriptors are a fault, and closed. */
TEST(reading_ahead)
{
    int raw, count = 0, before = open_descriptors();
    struct channel *c = pair(&raw);
    struct frame_gate gate = { .rules = rules, .rule_count = 1 };
    channel_reads_ahead(c);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(write(raw, two_frames + 10, 8), 8);
    CHECK_EQ(write(raw, two_frames + 10, 3), 3);
    CHECK_EQ(channel_dispatch(c, &gate, &count, true, NULL), 0);
    CHECK_EQ(count, 100);
    CHECK_EQ(write(raw, two_frames + 13, 5), 5);
    CHECK_EQ(channel_dispatch(c, &gate, &count, false, NULL), 0);
    CHECK_EQ(count, 101);
    int some[1] = { 0 };
    struct error e = ERROR_INIT;
    CHECK_EQ(send_fds(raw, two_frames + 10, 8, some, 1), 0);
    CHECK_EQ(channel_dispatch(c, &gate, &count, false, &e), -EPROTO);
    CHECK_EQ(count, 101);
    channel_free(c);
    close(raw);
    CHECK_EQ(open_descriptors(), before);
}

TEST(queue_is_bounded_and_kept_in_order)
{
    int raw;
    CLEANUP(channel_freep) struct channel *c = pair(&raw);
    CLEANUP(channel_freep) struct channel *other = NULL;
    CHECK_EQ(channel_new(raw, &other, NULL), 0);
    CLEANUP(mem_freep) void *bytes = mem_zalloc(FRAME_MAX);
    size_t queued = 0, got = 0;
    while (channel_queue(c, (uint16_t)queued, bytes, FRAME_MAX, NULL) == 0)
        queued++;
    CHECK_EQ(queued, 3);
    CHECK_EQ(channel_queue(c, 1, bytes, FRAME_MAX, NULL), -ENOBUFS);
    CHECK_EQ(channel_flush(c, NULL), 1);
    struct frame f;
    int *fds;
    size_t fd_count;
    for (int flushed = 1; flushed || got < queued;) {
        flushed = channel_flush(c, NULL);
        CHECK(flushed >= 0);
        while (got < queued && channel_receive(other, false, &f, &fds, &fd_count, NULL) == 1)
            CHECK_EQ(f.kind, got++);
    }
    CHECK_EQ(got, 3);
    CHECK_EQ(channel_queue(c, 7, "x", 1, NULL), 0);
    CHECK_EQ(channel_send(c, 8, "y", 1, NULL, 0, NULL), 0);
    CHECK_EQ(channel_receive(other, true, &f, &fds, &fd_count, NULL), 1);
    CHECK_EQ(f.kind, 7);
    CHECK_EQ(channel_receive(other, true, &f, &fds, &fd_count, NULL), 1);
    CHECK_EQ(f.kind, 8);
}

TEST(the_other_side_gone)
{
    int raw;
    CLEANUP(channel_freep) struct channel *c = pair(&raw);
    close(raw);
    CHECK_EQ(channel_send(c, 1, NULL, 0, NULL, 0, NULL), -EPIPE);
    CHECK_EQ(channel_queue(c, 1, NULL, 0, NULL), 0);
    CHECK_EQ(channel_flush(c, NULL), -EPIPE);
}

static int through(void)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    CLEANUP(fd_closep) int raw = fds[1];
    CLEANUP(channel_freep) struct channel *c = NULL;
    struct frame f;
    int *got;
    size_t count;
    int result = channel_new(fds[0], &c, NULL);
    if (result == 0)
        result = channel_queue(c, 1, "abc", 3, NULL);
    if (result == 0)
        result = channel_flush(c, NULL);
    if (result == 0 && write(raw, two_frames, 10) == 10)
        result = channel_receive(c, true, &f, &got, &count, NULL);
    return result == 1 ? 0 : result;
}

TEST(survives_no_memory)
{
    TORTURE(through());
}

/* Places of this process's memory that hold `text` with every byte one more than here, so that the search does not find
 * itself. Freed memory among them: a sanitizer's quarantine, too. */
static unsigned places_of(const char *text)
{
    static uint8_t chunk[(1 << 20) + 64];
    char line[512], wanted[64];
    unsigned found = 0;
    size_t size = strlen(text);
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    CHECK(maps && memory >= 0 && size < sizeof wanted);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char access;
        if (sscanf(line, "%lx-%lx %*c%c", &start, &end, &access) != 3 || access != 'w' ||
            (start <= (unsigned long)(void *)chunk && (unsigned long)(void *)chunk < end) ||
            strstr(line, "[stack]") || end - start > (512ul << 20))
            continue;
        for (; start < end; start += 1 << 20) {
            ssize_t got =
                pread(memory, chunk, MIN((size_t)(end - start), sizeof chunk - 1), (off_t)start);
            for (ssize_t i = 0; i + (ssize_t)size <= got && i < 1 << 20; i++) {
                size_t k = 0;
                while (k < size && chunk[i + (ssize_t)k] == text[k] + 1)
                    k++;
                found += k == size;
            }
        }
    }
    fclose(maps);
    close(memory);
    return found;
}

/* A frame that makes the queue and the reader grow again and again, with `text` at its start. */
static void carry(bool wipes, const char *text)
{
    enum { SIZE = 300 << 10 };
    int raw;
    struct channel *a = pair(&raw), *b = NULL;
    struct frame f;
    int *fds, more;
    size_t fd_count;
    CHECK_EQ(channel_new(raw, &b, NULL), 0);
    if (wipes) {
        channel_wipes(a);
        channel_wipes(b);
    }
    uint8_t *payload = mem_zalloc(SIZE);
    CHECK(payload);
    for (size_t i = 0; text[i]; i++)
        payload[i] = (uint8_t)(text[i] + 1);
    CHECK_EQ(channel_queue(a, 7, payload, 100, NULL), 0);
    CHECK_EQ(channel_queue(a, 7, payload, SIZE, NULL), 0);
    mem_wipe(payload, SIZE);
    mem_free(payload);
    for (int frames = 0; frames < 2;) {
        more = channel_flush(a, NULL);
        CHECK(more >= 0);
        int got = channel_receive(b, false, &f, &fds, &fd_count, NULL);
        CHECK(got >= 0);
        frames += got;
    }
    CHECK_EQ(f.payload[0], (uint8_t)(text[0] + 1));
    /* Half a frame, and a queue that nobody takes. */
    CHECK_EQ(channel_queue(a, 7, f.payload, 100, NULL), 0);
    channel_free(a);
    channel_free(b);
}

TEST(nothing_is_left_of_what_came_and_went)
{
    static const char kept[] = "Sgd-rdbqds-ne-qnnl-1", gone[] = "@mnsgdq-rdbqds-9876543210";
    carry(false, kept);
    CHECK(places_of(kept) > 0); /* the search finds what is there */
    carry(true, gone);
    CHECK_EQ(places_of(gone), 0);
}

/* One that takes something just before it would be ended, again and again, is waited for no longer than once and a bit. */
TEST(patience_ends)
{
    int raw;
    CLEANUP(channel_freep) struct channel *c = pair(&raw);
    struct error e = ERROR_INIT;
    static uint8_t payload[FRAME_MAX];
    CHECK_EQ(channel_patience(c), CHANNEL_SEND_LIMIT_NS);
    channel_kills(c, -1);
    for (uint64_t left = CHANNEL_PATIENCE_NS; left > 0; left -= CHANNEL_SEND_LIMIT_NS) {
        CHECK(channel_patience(c) > CHANNEL_SEND_LIMIT_NS - NS_PER_S);
        CHECK_EQ(channel_send(c, 1, "x", 1, NULL, 0, &e),
                 0); /* what is taken at once costs nothing */
        channel_waited(c, CHANNEL_SEND_LIMIT_NS);
    }
    CHECK(channel_patience(c) < NS_PER_S);
    CHECK_EQ(channel_send(c, 1, "x", 1, NULL, 0, &e), 0);
    uint64_t began = clock_monotonic_ns();
    CHECK_EQ(channel_send(c, 1, payload, sizeof payload, NULL, 0, &e), -EPIPE);
    CHECK_HAS(e.what, "takes nothing");
    CHECK(clock_monotonic_ns() - began < CHANNEL_SEND_LIMIT_NS);
    channel_waited(c, UINT64_MAX);
    CHECK(channel_patience(c) < NS_PER_S);
    close(raw);
}

TEST_MAIN()
