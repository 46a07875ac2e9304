/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels. A stream socket keeps no frame boundaries, and descriptors are glued to bytes; so a
 * channel never reads past the frame it is in: descriptors that arrive while a frame is read are
 * that frame's, because the sender attaches them to its first bytes. Two reads per frame are the
 * price, except where no descriptors come (channel_reads_ahead()).
 *
 * Every descriptor that was received is in `fds` and closed at the next receive, unless its place
 * was set to -1 by fd_take(). The socket stays in blocking mode; what must not block says
 * MSG_DONTWAIT.
 */
#include "room/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define CHUNK (64u << 10)

struct channel {
    int fd;
    struct frame_reader reader;
    struct buf queue;
    size_t queue_sent;
    int fds[CHANNEL_FDS_MAX];
    size_t fd_count;
    int pid_fd; /* whom to kill when it takes nothing; -1: nobody */
    bool limited;
    uint64_t until_ns;                /* of the frame that is sent, when limited */
    uint64_t waited_ns, waited_at_ns; /* of CHANNEL_PATIENCE_NS, as of when */
    bool wipes, ahead;
    bool whole; /* the frame that `fds` came with was given out */
    uint8_t chunk[CHUNK];
};

int channel_new(int fd, struct channel **ret, struct error *e)
{
    struct channel *c = mem_alloc(sizeof *c);
    if (!c) {
        fd_close(fd);
        return error_set(e, -ENOMEM, "no memory for a channel");
    }
    c->fd = fd;
    frame_reader_init(&c->reader);
    c->queue = (struct buf)BUF_INIT(CHANNEL_QUEUE_MAX);
    c->queue_sent = c->fd_count = 0;
    c->waited_ns = c->waited_at_ns = 0;
    c->pid_fd = -1;
    c->whole = c->wipes = c->ahead = c->limited = false;
    *ret = c;
    return 0;
}

void channel_reads_ahead(struct channel *c)
{
    c->ahead = true;
}

void channel_kills(struct channel *c, int pid_fd)
{
    c->pid_fd = pid_fd;
    c->limited = true;
}

static void close_received(struct channel *c)
{
    for (size_t i = 0; i < c->fd_count; i++)
        fd_close(c->fds[i]);
    c->fd_count = 0;
}

void channel_wipes(struct channel *c)
{
    c->wipes = c->reader.held.wipes = c->queue.wipes = true;
}

/* The frame before, of which the reader keeps the bytes. */
static void forget(struct channel *c)
{
    struct frame_reader *r = &c->reader;
    if (!c->wipes)
        return;
    if (r->held.data && c->whole)
        mem_wipe(r->held.data, r->consumed);
    mem_wipe(c->chunk, sizeof(c->chunk));
}

static void clear_queue(struct channel *c)
{
    if (c->wipes && c->queue.data)
        mem_wipe(c->queue.data, c->queue.capacity);
    buf_clear(&c->queue);
    c->queue_sent = 0;
}

void channel_free(struct channel *c)
{
    if (!c)
        return;
    close_received(c);
    forget(c);
    frame_reader_done(&c->reader);
    buf_done(&c->queue);
    fd_close(c->fd);
    mem_free(c);
}

int channel_fd(const struct channel *c)
{
    return c->fd;
}

/* ---- sending ---- */

static int send_failed(struct error *e)
{
    if (errno == EPIPE || errno == ECONNRESET)
        return error_set(e, -EPIPE, "the other process has gone");
    return error_set_errno(e, errno, "cannot send to the other process");
}

uint64_t channel_patience(struct channel *c)
{
    uint64_t now = clock_monotonic_ns(), back = (now - c->waited_at_ns) / 10;
    c->waited_ns -= MIN(c->waited_ns, back);
    c->waited_at_ns = now;
    return MIN(CHANNEL_PATIENCE_NS - c->waited_ns, CHANNEL_SEND_LIMIT_NS);
}

void channel_waited(struct channel *c, uint64_t ns)
{
    c->waited_ns += MIN(ns, CHANNEL_PATIENCE_NS - c->waited_ns);
}

/* The socket took nothing: waits until it does. */
static int wait_for_room(struct channel *c, struct error *e)
{
    struct pollfd room = { .fd = c->fd, .events = POLLOUT };
    int ms = clock_until_ms(c->until_ns);
    uint64_t began = clock_monotonic_ns();
    if (ms > 0 && (poll(&room, 1, ms) >= 0 || errno == EINTR)) {
        /* No more than it was given: what stopped us is not its fault. */
        channel_waited(c, MIN(clock_monotonic_ns() - began, (uint64_t)ms * NS_PER_MS));
        return 0;
    }
    if (c->pid_fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, c->pid_fd, SIGKILL, NULL, 0);
    return error_set(e, -EPIPE, "the other process takes nothing");
}

/* All that is there, in as many pieces as it takes. */
static int send_message(struct channel *c, struct msghdr *m, struct error *e)
{
    struct iovec *v = m->msg_iov;
    while (v->iov_len) {
        ssize_t sent = sendmsg(c->fd, m, MSG_NOSIGNAL | (c->limited ? MSG_DONTWAIT : 0));
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && c->limited) {
            int status = wait_for_room(c, e);
            if (status < 0)
                return status;
            continue;
        }
        if (sent < 0)
            return send_failed(e);
        m->msg_control = NULL; /* went with the first byte */
        m->msg_controllen = 0;
        v->iov_base = (uint8_t *)v->iov_base + sent;
        v->iov_len -= (size_t)sent;
    }
    return 0;
}

static int send_bytes(struct channel *c, const uint8_t *at, size_t size, struct error *e)
{
    struct iovec bytes = { (void *)at, size };
    struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
    return send_message(c, &message, e);
}

/* The header, and the descriptors with its first byte. */
static int send_header(struct channel *c, const uint8_t *header, const int *fds, size_t fd_count,
                       struct error *e)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec bytes = { (void *)header, FRAME_HEADER_SIZE };
    struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
    if (fd_count) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        memset(control.bytes, 0, message.msg_controllen);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
    }
    return send_message(c, &message, e);
}

/* Everything queued, blocking. */
static int drain_queue(struct channel *c, struct error *e)
{
    int result = send_bytes(c, c->queue.data + c->queue_sent, c->queue.size - c->queue_sent, e);
    clear_queue(c);
    return result;
}

int channel_send(struct channel *c, uint16_t kind, const void *payload, size_t size, const int *fds,
                 size_t fd_count, struct error *e)
{
    ASSERT(fd_count <= CHANNEL_FDS_MAX);
    if (size > FRAME_MAX)
        return error_set(e, -EMSGSIZE, "a frame of %zu bytes is too long to send", size);
    c->until_ns = c->limited ? clock_monotonic_ns() + channel_patience(c) : 0;
    int result = c->queue.size ? drain_queue(c, e) : 0;
    if (result < 0)
        return result;
    uint8_t header[FRAME_HEADER_SIZE] = { (uint8_t)size,         (uint8_t)(size >> 8),
                                          (uint8_t)(size >> 16), (uint8_t)(size >> 24),
                                          (uint8_t)kind,         (uint8_t)(kind >> 8) };
    result = send_header(c, header, fds, fd_count, e);
    return result < 0 ? result : send_bytes(c, payload, size, e);
}

int channel_unless_gone(int status, struct error *e)
{
    if (status != -EPIPE && status != -ECONNRESET)
        return status;
    error_clear(e);
    return 0;
}

int channel_queue(struct channel *c, uint16_t kind, const void *payload, size_t size,
                  struct error *e)
{
    if (c->queue_sent) {
        c->queue.size -= c->queue_sent;
        memmove(c->queue.data, c->queue.data + c->queue_sent, c->queue.size);
        c->queue_sent = 0;
    }
    if (size > FRAME_MAX || size + FRAME_HEADER_SIZE > CHANNEL_QUEUE_MAX - c->queue.size)
        return error_set(e, -ENOBUFS, "too much is waiting to be sent");
    size_t before = c->queue.size;
    int result = frame_write(&c->queue, kind, payload, size, e);
    if (result < 0) {
        /* What was queued before is whole: keep it, and the channel usable. */
        c->queue.size = before;
        c->queue.failed = 0;
    }
    return result;
}

int channel_flush(struct channel *c, struct error *e)
{
    while (c->queue_sent < c->queue.size) {
        ssize_t sent = send(c->fd, c->queue.data + c->queue_sent, c->queue.size - c->queue_sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 1;
        if (sent < 0)
            return send_failed(e);
        c->queue_sent += (size_t)sent;
    }
    clear_queue(c);
    return 0;
}

/* ---- receiving ---- */

static int keep_descriptors(struct channel *c, struct msghdr *message, struct error *e)
{
    int result = 0;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(message); m; m = CMSG_NXTHDR(message, m)) {
        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(m) + i * sizeof fd, sizeof fd);
            if (c->fd_count < CHANNEL_FDS_MAX) {
                c->fds[c->fd_count++] = fd;
            } else {
                fd_close(fd);
                result = -EPROTO;
            }
        }
    }
    if (result < 0 || (message->msg_flags & MSG_CTRUNC))
        return error_set(e, -EPROTO, "a frame came with too many descriptors");
    return 0;
}

/* Reads at most what the current frame still needs, or what is there. 1 something, 0 nothing now, < 0. */
static int receive_some(struct channel *c, bool block, struct error *e)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
        struct cmsghdr align;
    } control;
    size_t size = c->ahead ? sizeof c->chunk : frame_reader_needs(&c->reader);
    struct iovec bytes = { c->chunk, MIN(size, sizeof c->chunk) };
    struct msghdr message = { .msg_iov = &bytes,
                              .msg_iovlen = 1,
                              .msg_control = c->ahead ? NULL : control.bytes,
                              .msg_controllen = c->ahead ? 0 : sizeof control.bytes };
    ssize_t got;
    do {
        got = recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return error_set(e, -EPIPE, "the other process has gone");
    if (got < 0)
        return error_set_errno(e, errno, "cannot receive from the other process");
    int result = keep_descriptors(c, &message, e);
    if (result == 0)
        result = frame_reader_push(&c->reader, c->chunk, (size_t)got, e);
    return result < 0 ? result : 1;
}

int channel_receive(struct channel *c, bool block, struct frame *ret, int **ret_fds,
                    size_t *ret_fd_count, struct error *e)
{
    if (c->whole) {
        close_received(c);
        forget(c);
        c->whole = false;
    }
    for (;;) {
        int result = frame_reader_next(&c->reader, ret, e);
        if (result < 0)
            return result;
        if (result > 0) {
            c->whole = true;
            *ret_fds = c->fds;
            *ret_fd_count = c->fd_count;
            return 1;
        }
        result = receive_some(c, block, e);
        if (result <= 0)
            return result;
    }
}

/* 0, with or without `*ret_some`; 1: the other side closed. */
static int dispatch_next(struct channel *c, struct frame_gate *gate, void *context, bool block,
                         bool *ret_some, struct error *e)
{
    struct frame frame;
    int *fds;
    size_t fd_count;
    struct error own = ERROR_INIT;
    int result = channel_receive(c, block, &frame, &fds, &fd_count, &own);
    *ret_some = result > 0;
    if (result == 0)
        return 0;
    if (result == -EPIPE)
        return 1;
    if (result < 0)
        return error_set(e, result, "%s", own.what);
    return MIN(frame_gate_dispatch(gate, &frame, fds, fd_count, context, e), 0);
}

int channel_dispatch(struct channel *c, struct frame_gate *gate, void *context, bool block,
                     struct error *e)
{
    bool some = true;
    int status = 0;
    /* poll tells nothing of frames that were read: those are dispatched, too. */
    for (int i = 0;
         status == 0 && some && (i < CHANNEL_BURST_MAX || frame_reader_needs(&c->reader) == 0); i++)
        status = dispatch_next(c, gate, context, block && i == 0, &some, e);
    return status;
}

int channel_dispatch_one(struct channel *c, struct frame_gate *gate, void *context, bool block,
                         struct error *e)
{
    bool some;
    return dispatch_next(c, gate, context, block, &some, e);
}

int channel_keep_fd(int fd, int *ret, struct error *e)
{
    *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return *ret < 0 ? error_set_errno(e, errno, "keeping a descriptor") : 0;
}
