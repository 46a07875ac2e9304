/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard streams. Their descriptors are the user's: shared with the shell and with whatever else
 * writes to that terminal, so their flags are never changed (O_NONBLOCK on them would reach the
 * shell). Instead:
 *   pipes and terminals  are opened again through /proc/self/fd before the jail closes; that
 *                        description is ours, non-blocking
 *   sockets              are read and written with MSG_DONTWAIT
 *   files                never block for longer than a disk
 *   what could not be opened again (somebody else's terminal) is asked by poll(2) before each read
 *                        and write; a write is then at most PIPE_BUF, which a pipe that polls
 *                        writable takes without blocking
 * A permit to write is STREAM_HELD_MAX where writing can block; what the other side does not take
 * of it at once is held here, and there is no new permit until it went out. What is held when the
 * guest ends is drained by guest.c.
 *
 * Without a grant standard input is at its end, and output fails with a typed error; both are
 * denials. Output bytes are counted when they are accepted; the byte that would pass the limit ends
 * the guest, those before it go out.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/host/host.h"

#define FILE_PERMIT (1u << 20)
_Static_assert(STREAM_HELD_MAX <= PIPE_BUF, "a permit must fit a pipe that polls writable");

static size_t stream_index(const struct stream *s)
{
    return (size_t)(s - s->guest->streams);
}

/* ---- opening ---- */

/* The same pipe or terminal with flags of our own, or -1. */
static int open_again(int fd, bool for_write)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, (for_write ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int stream_open(struct stream *s, int fd, bool for_write, struct error *e)
{
    struct stat st;
    if (fd < 0)
        return 0;
    s->watch.fd = fd;
    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "looking at %s", stdio_stream_names[stream_index(s)]);
    s->is_socket = S_ISSOCK(st.st_mode);
    struct termios unused;
    /* Asked now: the jail knows no ioctl later. */
    s->is_terminal = S_ISCHR(st.st_mode) && tcgetattr(fd, &unused) == 0;
    if (!S_ISFIFO(st.st_mode) && !s->is_terminal) {
        s->watch.never_blocks = !s->is_socket;
        return 0;
    }
    int again = open_again(fd, for_write);
    if (again >= 0) {
        fd_close(fd);
        s->watch.fd = again;
        s->own_description = true;
    }
    return 0;
}

int streams_init(struct guest *g, const int fds[STREAM_COUNT], struct error *e)
{
    int status = 0;
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct stream *s = &g->streams[i];
        s->guest = g;
        s->bit = 1u << i;
        s->decision = grant_decide_stdio(g->rules, s->bit);
        if (guest_skips(g, STDIO_DECISION))
            s->decision.reason = GRANT_ALLOWED;
        s->watch = (struct watch){ .fd = -1, .guest = g };
        if (status == 0)
            status = stream_open(s, fds[i], i != STREAM_IN, e);
        else
            fd_close(fds[i]);
    }
    return status;
}

void streams_done(struct guest *g)
{
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct stream *s = &g->streams[i];
        if (!s->guest)
            continue; /* the guest was never made whole */
        fd_closep(&s->watch.fd);
        mem_free(s->held);
        s->held = NULL;
        s->held_size = 0;
    }
}

/* ---- bytes ---- */

bool stream_may_block(const struct stream *s)
{
    return !s->own_description && !s->is_socket && !s->watch.never_blocks;
}

/* One write that does not block: bytes taken, or -errno. */
ssize_t stream_write_some(const struct stream *s, const uint8_t *bytes, size_t size)
{
    if (stream_may_block(s) && !watch_ready(&s->watch, true))
        return -EAGAIN;
    ssize_t n;
    do {
        n = s->is_socket ? send(s->watch.fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                         : write(s->watch.fd, bytes, size);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t read_some(const struct stream *s, uint8_t *into, size_t size)
{
    if (stream_may_block(s) && !watch_ready(&s->watch, false))
        return -EAGAIN;
    ssize_t n;
    do {
        n = s->is_socket ? recv(s->watch.fd, into, size, MSG_DONTWAIT)
                         : read(s->watch.fd, into, size);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static enum ambit_stream_status stream_failed(struct stream *s, const char *text)
{
    snprintf(s->error, sizeof(s->error), "%s: %s", stdio_stream_names[stream_index(s)], text);
    return AMBIT_STREAM_FAILED;
}

/* What a write that did not work means to the guest. */
static enum ambit_stream_status write_status(struct stream *s, int code)
{
    if (code == -EPIPE || code == -ECONNRESET) {
        s->closed = true;
        return AMBIT_STREAM_CLOSED;
    }
    char text[96];
    return stream_failed(s, strerror_r(-code, text, sizeof(text)));
}

static enum ambit_stream_status hold(struct stream *s, const uint8_t *bytes, size_t size)
{
    ASSERT(s->held_size + size <= STREAM_HELD_MAX);
    if (!s->held) {
        s->held = mem_alloc(STREAM_HELD_MAX);
        if (!s->held) {
            guest_fault(s->guest, -ENOMEM, "holding output");
            return AMBIT_STREAM_END;
        }
    }
    memcpy(s->held + s->held_size, bytes, size);
    s->held_size += size;
    return AMBIT_STREAM_OK;
}

static enum ambit_stream_status write_all(struct stream *s, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = stream_write_some(s, bytes, size);
        if (n == -EAGAIN && !s->watch.never_blocks)
            return hold(s, bytes, size);
        if (n < 0)
            return write_status(s, (int)n);
        bytes += n;
        size -= (size_t)n;
    }
    return AMBIT_STREAM_OK;
}

/* 0 all out, 1 some is held still, or -errno. */
static int write_held(struct stream *s)
{
    while (s->held_size > 0) {
        ssize_t n = stream_write_some(s, s->held, s->held_size);
        if (n == -EAGAIN)
            return 1;
        if (n < 0) {
            s->held_size = 0;
            return (int)n;
        }
        memmove(s->held, s->held + n, s->held_size - (size_t)n);
        s->held_size -= (size_t)n;
    }
    return 0;
}

bool stream_drain(struct stream *s)
{
    return s->held_size == 0 || write_held(s) <= 0;
}

/* ---- the interface ---- */

static bool allowed(struct stream *s, const char *operation, struct grant_decision *ret)
{
    *ret = guest_gated(s->guest, s->decision);
    if (ret->reason == GRANT_ALLOWED)
        return true;
    guest_denied(s->guest, GRANT_STDIO, operation, stdio_stream_names[stream_index(s)], 0, *ret);
    return false;
}

uint32_t host_stdio(void *host, uint32_t which)
{
    struct guest *g = host;
    if (which >= STREAM_COUNT) {
        guest_fault(g, -EPROTO, "a standard stream that does not exist");
        return 0;
    }
    return g->template ? lines_open(g, which)
                       : host_give_handle(g, HANDLE_STREAM, &g->streams[which]);
}

bool host_stdio_is_terminal(void *host, uint32_t which)
{
    struct guest *g = host;
    if (which >= STREAM_COUNT)
        return false;
    const struct stream *s = g->template ? &g->template->streams[which] : &g->streams[which];
    return (g->start->terminal & s->bit) && guest_gated(g, s->decision).reason == GRANT_ALLOWED;
}

static enum ambit_stream_status stdio_read(struct guest *g, void *object, uint8_t *into,
                                           size_t size, size_t *ret_size)
{
    struct stream *s = object;
    struct grant_decision d;
    if (s->bit != STDIO_IN)
        return stream_failed(s, "not open for reading");
    if (!allowed(s, "read", &d))
        return AMBIT_STREAM_CLOSED;
    if (s->closed || s->watch.fd < 0)
        return AMBIT_STREAM_CLOSED;
    if (size == 0)
        return AMBIT_STREAM_OK;
    ssize_t n = read_some(s, into, size);
    if (n == -EAGAIN)
        return AMBIT_STREAM_OK;
    if (n == 0 || n == -EIO) {                /* EIO: a terminal that went away */
        s->closed = !s->is_terminal || n < 0; /* a terminal goes on after Ctrl-D */
        return AMBIT_STREAM_CLOSED;
    }
    if (n < 0) {
        char text[96];
        return stream_failed(s, strerror_r((int)-n, text, sizeof(text)));
    }
    guest_used(g, d.rule, 0, (uint64_t)n, 0);
    *ret_size = (size_t)n;
    return AMBIT_STREAM_OK;
}

/* What every act of writing asks first. OK: go on. */
static enum ambit_stream_status writable(struct stream *s, struct grant_decision *ret)
{
    if (s->bit == STDIO_IN)
        return stream_failed(s, "not open for writing");
    if (!allowed(s, "write", ret))
        return stream_failed(s, grant_reason_text(ret->reason));
    return s->closed || s->watch.fd < 0 ? AMBIT_STREAM_CLOSED : AMBIT_STREAM_OK;
}

static enum ambit_stream_status stdio_check_write(struct guest *g, void *object, size_t *ret_size)
{
    struct stream *s = object;
    struct grant_decision d;
    enum ambit_stream_status status = writable(s, &d);
    if (status != AMBIT_STREAM_OK)
        return status;
    int held = write_held(s);
    if (held < 0)
        return write_status(s, held);
    if (s->watch.never_blocks)
        *ret_size = FILE_PERMIT;
    /* What is ours alone needs no asking first: bytes that do not fit are held. */
    else if (held == 0 && (!stream_may_block(s) || watch_ready(&s->watch, true)))
        *ret_size = STREAM_HELD_MAX;
    return AMBIT_STREAM_OK;
}

/* How much of `size` fits the output limit; less ends the guest, after that much is written. */
static size_t within_limit(struct guest *g, size_t size)
{
    uint64_t left = g->limits.output_bytes - MIN(g->done.output_bytes, g->limits.output_bytes);
    return size <= left || guest_skips(g, OUTPUT) ? size : (size_t)left;
}

static enum ambit_stream_status stdio_write(struct guest *g, void *object, const uint8_t *bytes,
                                            size_t size)
{
    struct stream *s = object;
    struct grant_decision d;
    enum ambit_stream_status status = writable(s, &d);
    if (status != AMBIT_STREAM_OK)
        return status;
    size_t permitted = s->watch.never_blocks ? FILE_PERMIT : STREAM_HELD_MAX - s->held_size;
    if (size > permitted) {
        guest_fault(g, -EPROTO, "a write beyond its permit");
        return AMBIT_STREAM_END;
    }
    size_t within = within_limit(g, size);
    g->done.output_bytes += within;
    guest_used(g, d.rule, 0, 0, within);
    status = s->held_size > 0 ? hold(s, bytes, within) : write_all(s, bytes, within);
    if (within < size) {
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_OUTPUT, "more than %llu bytes of output",
                  (unsigned long long)g->limits.output_bytes);
        return AMBIT_STREAM_END;
    }
    return status;
}

static enum ambit_stream_status stdio_flush(struct guest *g, void *object)
{
    struct stream *s = object;
    struct grant_decision d;
    enum ambit_stream_status status = writable(s, &d);
    if (status != AMBIT_STREAM_OK)
        return status;
    /* What stays held goes out before the next permit, or at the guest's end. */
    int held = write_held(s);
    return held < 0 ? write_status(s, held) : AMBIT_STREAM_OK;
}

static struct ambit_bytes stdio_error(struct guest *g, void *object)
{
    const struct stream *s = object;
    return (struct ambit_bytes){ (const uint8_t *)s->error, strlen(s->error) };
}

/* Ready when the next call can say more than "nothing now", which a denied or closed stream always
 * can. */
static enum ambit_wait stdio_wait(struct guest *g, void *object, bool for_write, uint64_t operation)
{
    struct stream *s = object;
    bool mine = for_write == (s->bit != STDIO_IN);
    if (!mine || s->closed || s->watch.fd < 0 || s->watch.never_blocks ||
        guest_gated(g, s->decision).reason != GRANT_ALLOWED)
        return AMBIT_READY;
    if (watch_ready(&s->watch, for_write) && (!for_write || write_held(s) <= 0))
        return AMBIT_READY;
    int status = operation_add_stream(g->loop, g, operation, &s->watch, for_write);
    if (status == 0)
        return AMBIT_PENDING;
    guest_fault(g, status, "waiting for a standard stream");
    return AMBIT_READY;
}

const struct stream_class stdio_class = {
    .read = stdio_read,
    .check_write = stdio_check_write,
    .write = stdio_write,
    .flush = stdio_flush,
    .error = stdio_error,
    .wait = stdio_wait,
};
