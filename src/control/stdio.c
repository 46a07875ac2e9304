/* SPDX-License-Identifier: Apache-2.0 */
/* See stdio.h. */
#include "control/stdio.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define CHUNK 16384
#define HELD_MAX \
    (CHUNK *     \
     12) /* escaping makes bytes longer: at most "\u{10ffff}" for three bytes, \xNN for one */
#define STDIN_PIPE 4096

static void pump_init(struct stdio_pump *p)
{
    *p = (struct stdio_pump){ .source = -1, .sink = -1, .held = BUF_INIT(HELD_MAX) };
}

static void pump_done(struct stdio_pump *p)
{
    fd_close(p->source);
    fd_close(p->sink);
    buf_done(&p->held);
    if (p->has_digest)
        digest_done(&p->digest);
    pump_init(p);
}

/* A description of our own, so that O_NONBLOCK does not change the one we share with the shell. */
static int open_again(int fd, int flags)
{
    char path[64];
    CLEANUP(buf_done) struct buf text = BUF_INIT(sizeof(path));
    buf_printf(&text, "/proc/self/fd/%d", fd);
    int again = open(buf_cstr(&text), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return again >= 0 ? again : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool is_null_device(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

static int carry(struct stdio *s, int stream, bool terminal, struct error *e)
{
    struct stdio_pump *p = &s->pumps[stream];
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(e, errno, "a pipe for the guest's standard streams");
    if (stream == STDIN_FILENO) {
        s->guest[stream] = ends[0];
        p->sink = ends[1];
        p->source = open_again(stream, O_RDONLY);
        p->from_terminal = terminal;
        /* One page: it takes a new line only when the guest has taken the last one. */
        (void)fcntl(p->sink, F_SETPIPE_SZ, STDIN_PIPE);
        (void)fcntl(p->sink, F_SETFL, O_NONBLOCK);
    } else {
        s->guest[stream] = ends[1];
        p->source = ends[0];
        p->sink = open_again(stream, O_WRONLY);
        p->to_terminal = terminal;
        (void)fcntl(p->source, F_SETFL, O_NONBLOCK);
    }
    if (p->source < 0 || p->sink < 0)
        return error_set_errno(e, errno, "standard stream %d cannot be used", stream);
    int r = digest_begin(&p->digest, e);
    if (r < 0)
        return r;
    p->has_digest = true;
    p->active = true;
    return 0;
}

static int null_device(struct stdio *s, int stream, struct error *e)
{
    s->guest[stream] =
        open("/dev/null", (stream == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_CLOEXEC | O_NOCTTY);
    return s->guest[stream] >= 0 ? 0 : error_set_errno(e, errno, "/dev/null cannot be opened");
}

static int prepare_one(struct stdio *s, int stream, struct error *e)
{
    struct stat st;

    if (fstat(stream, &st) < 0 || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
        return null_device(s, stream, e);
    if (isatty(stream)) {
        s->terminals |= 1u << stream;
        return carry(s, stream, true, e);
    }
    if (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || is_null_device(&st)) {
        s->guest[stream] = fcntl(stream, F_DUPFD_CLOEXEC, 3);
        return s->guest[stream] >= 0
                   ? 0
                   : error_set_errno(e, errno, "standard stream %d cannot be used", stream);
    }
    return carry(s, stream, false, e);
}

int stdio_prepare(struct stdio *s, uint32_t streams, bool no_stdin, struct error *e)
{
    s->terminals = 0;
    for (int i = 0; i < STDIO_COUNT; i++) {
        s->guest[i] = -1;
        pump_init(&s->pumps[i]);
    }
    for (int i = 0; i < STDIO_COUNT; i++) {
        bool wanted = (streams & (1u << i)) != 0 && !(i == STDIN_FILENO && no_stdin);
        int r = wanted ? prepare_one(s, i, e) : null_device(s, i, e);
        if (r < 0) {
            stdio_done(s);
            return r;
        }
    }
    return 0;
}

void stdio_handed_over(struct stdio *s)
{
    for (int i = 0; i < STDIO_COUNT; i++)
        fd_closep(&s->guest[i]);
}

void stdio_done(struct stdio *s)
{
    stdio_handed_over(s);
    for (int i = 0; i < STDIO_COUNT; i++)
        pump_done(&s->pumps[i]);
}

static bool in_foreground(const struct stdio_pump *p)
{
    pid_t foreground = tcgetpgrp(p->source);
    return foreground < 0 || foreground == getpgrp();
}

bool stdio_poll(struct stdio *s, struct pollfd *ret_fds)
{
    bool again = false;
    for (int i = 0; i < STDIO_COUNT; i++) {
        struct stdio_pump *p = &s->pumps[i];
        struct pollfd *source = &ret_fds[2 * i], *sink = &ret_fds[2 * i + 1];
        *source = *sink = (struct pollfd){ .fd = -1 };
        if (!p->active)
            continue;
        if (p->held.size > p->written) {
            *sink = (struct pollfd){ .fd = p->sink, .events = POLLOUT };
        } else if (!p->source_ended && i == STDIN_FILENO) {
            /* Take input only when the pipe is empty: the sink says so by being writable. */
            struct pollfd room = { .fd = p->sink, .events = POLLOUT };
            bool ready = poll(&room, 1, 0) > 0 && (room.revents & POLLOUT) != 0;
            if (ready && p->from_terminal && !in_foreground(p))
                again = true;
            else if (ready)
                *source = (struct pollfd){ .fd = p->source, .events = POLLIN };
            else
                *sink = (struct pollfd){ .fd = p->sink, .events = POLLOUT };
        } else if (!p->source_ended) {
            *source = (struct pollfd){ .fd = p->source, .events = POLLIN };
        }
    }
    return again;
}

static void pump_close(struct stdio_pump *p)
{
    p->active = false;
    fd_closep(&p->sink);
    fd_closep(&p->source);
}

static int pump_write(struct stdio_pump *p)
{
    while (p->written < p->held.size) {
        ssize_t n =
            write(p->sink, p->held.data + p->written, MIN(p->held.size - p->written, (size_t)4096));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0) { /* nobody reads: the guest gets the same from its pipe */
            pump_close(p);
            return 0;
        }
        p->written += (size_t)n;
    }
    buf_clear(&p->held);
    p->written = 0;
    if (p->source_ended)
        pump_close(p);
    return 0;
}

static int pump_read(struct stdio_pump *p, struct error *e)
{
    uint8_t chunk[CHUNK];
    ssize_t n = read(p->source, chunk, sizeof(chunk));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        p->source_ended = true;
        if (p->to_terminal)
            text_filter_flush(&p->filter, &p->held);
        return pump_write(p);
    }
    p->bytes += (uint64_t)n;
    int r = digest_update(&p->digest, chunk, (size_t)n, e);
    if (r < 0)
        return r;
    if (p->to_terminal)
        text_filter(&p->filter, &p->held, chunk, (size_t)n, true);
    else
        buf_append(&p->held, chunk, (size_t)n);
    if ((r = buf_status(&p->held)) < 0)
        return error_set(e, r, "no memory for the guest's output");
    return pump_write(p);
}

int stdio_events(struct stdio *s, const struct pollfd *fds, struct error *e)
{
    for (int i = 0; i < STDIO_COUNT; i++) {
        struct stdio_pump *p = &s->pumps[i];
        int r = 0;
        if (p->active && fds[2 * i].revents != 0)
            r = pump_read(p, e);
        else if (p->active && (fds[2 * i + 1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
            pump_close(p);
        else if (p->active && fds[2 * i + 1].revents != 0)
            r = pump_write(p);
        if (r < 0)
            return r;
    }
    return 0;
}

int stdio_drain(struct stdio *s, bool (*stop)(void *context), void *context, struct error *e)
{
    stdio_handed_over(s);
    pump_close(&s->pumps[STDIN_FILENO]);
    while (s->pumps[STDOUT_FILENO].active || s->pumps[STDERR_FILENO].active) {
        struct pollfd fds[STDIO_POLL_FDS];
        (void)stdio_poll(s, fds);
        if (poll(fds, STDIO_POLL_FDS, 1000) < 0 && errno != EINTR)
            return error_set_errno(e, errno, "waiting for the terminal");
        int r = stdio_events(s, fds, e);
        if (r < 0)
            return r;
        if (stop(context))
            break;
    }
    return 0;
}

bool stdio_digest(struct stdio *s, int stream, struct digest *ret, uint64_t *ret_bytes)
{
    struct stdio_pump *p = &s->pumps[stream];
    if (!p->has_digest || digest_finish(&p->digest, ret, NULL) < 0)
        return false;
    *ret_bytes = p->bytes;
    return true;
}
