/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `ambit serve` and `ambit proxy` do alike with rooms that are started again and again: the lives of one, and
 * the access log that ingress rooms write through pipes.
 */
#pragma once

#include "control/restart.h"

/* One room over all its lives. */
struct front_room {
    struct room room;
    struct frame_gate gate;
    bool live, ready, done, over; /* done: it said its last word; over: it shall not come back */
    struct restart restart;
};
/* It was spawned. */
void front_room_began(struct front_room *r, const struct frame_rule *rules, size_t rule_count);
/* It closed its channel: reaps it, says why in words. True: it comes back (restart.h); not when this was `expected`, or
 * it was done, or over. */
bool front_room_bury(struct front_room *r, bool expected, struct buf *why);
/* At the start nothing is tried again: what was wrong then stays wrong. 0 when a fault was told already. */
int front_room_died_at_start(struct front_room *r, const char *name, bool told,
                             struct error *e) MUST_CHECK;

#define ACCESS_LINE_MAX (64u << 10)

/* Where lines go. */
struct access_log {
    int fd;        /* -1: none */
    bool filtered; /* it is a terminal: a room that was taken over writes what it likes */
};
int access_log_open(const char *name, struct access_log *ret,
                    struct error *e) MUST_CHECK; /* NULL: none; "-": stdout */
/* What those of one room come through; { -1, BUF_INIT(4 * ACCESS_LINE_MAX) }. */
struct access_pipe {
    int fd;
    struct buf held;
};
/* A new pipe for a life of the room; its end for the room is the caller's to send and close. */
int access_pipe_open(struct access_pipe *p, int *ret_fd, struct error *e) MUST_CHECK;
/* Takes what is there, and passes on whole lines only, so that those of several rooms do not mix.
 * -EIO: the log cannot be written, and ends here. */
int access_pipe_take(struct access_pipe *p, struct access_log *log) MUST_CHECK;
/* Takes what a room left when it ended. */
int access_pipe_drain(struct access_pipe *p, struct access_log *log) MUST_CHECK;
