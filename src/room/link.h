/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through shared memory: two rings of bytes, one for each direction, in one sealed memfd, and
 * an eventfd for each side. Much cheaper than a socket where there are many small messages; carries
 * no descriptors. Made by control, which gives an end to each of two rooms.
 *
 * The other side is not believed: positions are checked before they are used, every frame is copied
 * out of the shared memory before anybody looks at it (so that it cannot change between check and
 * use), and whatever is not well-formed makes the link dead (-EBADMSG, for ever).
 *
 * Wakes: a side that is about to sleep calls link_sleep(); the other side's link_flush() then writes
 * the eventfd. Busy sides cost no system call. When the peer dies nobody tells: control does, with a
 * new link.
 */
#pragma once

#include "wire/frame.h"

#define LINK_FDS 3                    /* of one end: memory, our eventfd, the peer's */
#define LINK_RING_SIZE (4u << 20)     /* bytes each way */
#define LINK_PAYLOAD_MAX (192u << 10) /* of one frame */

struct link;

/* Makes memory and eventfds: descriptors for side A and side B, owned by the caller. */
int link_make(int ret_a[static LINK_FDS], int ret_b[static LINK_FDS], struct error *e) MUST_CHECK;
/* Those of an end that is not opened here; they become −1. */
void link_close_fds(int fds[static LINK_FDS]);
/* Maps one end; takes the descriptors, also on failure. Needs nothing but mmap, so it also works
 * inside a jail. */
int link_open(const int fds[static LINK_FDS], struct link **ret, struct error *e) MUST_CHECK;
/* Duplicates of descriptors that a frame brought (channel_keep_fd()), for link_open(): all or none. */
int link_keep_fds(const int fds[static LINK_FDS], int ret[static LINK_FDS],
                  struct error *e) MUST_CHECK;
void link_free(struct link *l);
static inline void link_freep(struct link **l)
{
    link_free(*l);
}
int link_fd(const struct link *l); /* readable: call link_awake(), then look */

/* Puts one frame in, or 1: no room now, and link_fd() will tell when there is (try again after every
 * wake). The payload is `head` then `body` (which may be empty). The peer sees it with link_flush(),
 * or before. -EBADMSG: the link is dead; -EMSGSIZE: more than LINK_PAYLOAD_MAX. */
int link_put(struct link *l, uint16_t kind, struct bytes head, struct bytes body) MUST_CHECK;
/* 1 and a frame whose payload is a private copy, valid until the next call; 0: none now; < 0: the
 * link is dead. */
int link_get(struct link *l, struct frame *ret, struct error *e) MUST_CHECK;
/* Wakes the peer if it sleeps and something was put in, or room was made that it waits for. */
void link_flush(struct link *l);
/* Before sleeping on link_fd(), flushes too. true = do not, something came meanwhile (or room, when
 * wanted; or the link turned out to be dead). */
bool link_sleep(struct link *l);
/* After waking: takes the eventfd's count. Who watches link_fd() with EPOLLET needs none of it. */
void link_awake(struct link *l);
