/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a socket pair between two rooms: frames and file descriptors, blocking or driven by a
 * loop.
 */
#pragma once

#include "wire/frame.h"

#define CHANNEL_FDS_MAX 253 /* SCM_MAX_FD */

struct channel; /* owns its socket */

/* Takes `fd` (a SOCK_STREAM Unix socket), also on failure. */
int channel_new(int fd, struct channel **ret, struct error *e) MUST_CHECK;
void channel_free(struct channel *c);
static inline void channel_freep(struct channel **c)
{
    channel_free(*c);
}
int channel_fd(const struct channel *c);
/* No frame that comes has descriptors (one that does is a fault): many are read at once. */
void channel_reads_ahead(struct channel *c);
/* What came and what was sent is wiped when it is done with: a channel for values of secrets. */
void channel_wipes(struct channel *c);

/* What is sent blocks CHANNEL_SEND_LIMIT_NS at most: a process that takes nothing for so long is stopped, or somebody has
 * taken it over. It is killed (its pidfd, borrowed; -1: it was reaped), and is gone for who sends. Without this, who sends
 * waits as long as it takes. One that takes a little just before, again and again, has CHANNEL_PATIENCE_NS for all of
 * them, of which a tenth of the time that passes comes back. */
#define CHANNEL_SEND_LIMIT_NS (UINT64_C(5) * 1000000000)
#define CHANNEL_PATIENCE_NS (UINT64_C(15) * 1000000000)
void channel_kills(struct channel *c, int pid_fd);
/* How long the other side may be waited for now, for an answer as well, and that it was, so long. */
uint64_t channel_patience(struct channel *c);
void channel_waited(struct channel *c, uint64_t ns);

/* Sends one frame with descriptors (borrowed: the receiver gets duplicates). Blocks until it is all
 * sent, what was queued before included. -EPIPE: the other side is gone. */
int channel_send(struct channel *c, uint16_t kind, const void *payload, size_t size, const int *fds,
                 size_t fd_count, struct error *e) MUST_CHECK;
/* Of a send: that the other end is gone, or was killed for taking nothing, is no error of the sender's, who
 * sees its death where it hears it. 0 then; any other status as it is. */
int channel_unless_gone(int status, struct error *e) MUST_CHECK;
/* Queues a frame without blocking (bounded: -ENOBUFS past `CHANNEL_QUEUE_MAX`, with nothing queued
 * and the channel fine), channel_flush() sends what the socket takes; 0 all sent, 1 more is queued
 * (wait for POLLOUT). No descriptors. */
#define CHANNEL_QUEUE_MAX (4u << 20)
int channel_queue(struct channel *c, uint16_t kind, const void *payload, size_t size,
                  struct error *e) MUST_CHECK;
int channel_flush(struct channel *c, struct error *e) MUST_CHECK;
/* Receives the next frame. 1: a frame, its payload and descriptors valid until the next call
 * (descriptors that were not taken with fd_take() are closed then); 0: nothing yet (only when
 * !block); -EPIPE: the other side closed, between two frames or within one. */
int channel_receive(struct channel *c, bool block, struct frame *ret, int **ret_fds,
                    size_t *ret_fd_count, struct error *e) MUST_CHECK;
/* Dispatches the frames that are there now, CHANNEL_BURST_MAX at most so that a flooding peer
 * cannot keep a loop (poll says POLLIN again). With `block` it waits for the first. 0 ok, 1 the
 * other side closed, < 0 fault. */
#define CHANNEL_BURST_MAX 64
int channel_dispatch(struct channel *c, struct frame_gate *gate, void *context, bool block,
                     struct error *e) MUST_CHECK;
/* One frame and no more, of those that are there already too: a room's START, behind which come frames about what the room
 * makes of it. */
int channel_dispatch_one(struct channel *c, struct frame_gate *gate, void *context, bool block,
                         struct error *e) MUST_CHECK;
/* A descriptor that a handler was lent with a frame, to keep: a duplicate. */
int channel_keep_fd(int fd, int *ret, struct error *e) MUST_CHECK;
