/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames between rooms: u32 length of the payload, u16 kind, u16 zero, then the payload (all
 * little-endian), on a stream socket between processes of one binary. A frame longer than
 * FRAME_MAX, with a kind that the receiver's table does not know or whose phase is over, or with a
 * non-zero reserved field is a fault that ends the session: rooms die rather than guess.
 *
 * The reader is incremental and knows nothing of sockets (it is a fuzz target); room/channel.h
 * moves bytes and file descriptors.
 */
#pragma once

#include "base/buf.h"

#define FRAME_HEADER_SIZE 8
#define FRAME_MAX (1u << 20)        /* payload bytes */
#define FRAME_PUSH_MAX (256u << 10) /* bytes pushed at once; take all frames between two pushes */

struct frame {
    uint16_t kind;
    const uint8_t *payload; /* borrowed from the reader until its next call */
    size_t size;
};

struct frame_reader {
    struct buf held;
    size_t consumed;
    int failed;
};

void frame_reader_init(struct frame_reader *r);
void frame_reader_done(struct frame_reader *r);
/* Gives the reader received bytes. */
int frame_reader_push(struct frame_reader *r, const void *bytes, size_t size,
                      struct error *e) MUST_CHECK;
/* 1 and a frame, 0 when more bytes are needed, < 0 for a malformed header (sticky). */
int frame_reader_next(struct frame_reader *r, struct frame *ret, struct error *e) MUST_CHECK;
/* How many bytes are missing to the end of the frame that was begun (of its header, while that is
 * not whole). At least 1 after frame_reader_next() gave 0. */
size_t frame_reader_needs(const struct frame_reader *r);
/* Appends header and payload. */
int frame_write(struct buf *out, uint16_t kind, const void *payload, size_t size,
                struct error *e) MUST_CHECK;

/* The request table of a receiver, after OpenSSH's monitor: which kinds it takes, in which phases
 * (a bit set), whether once only, and who handles them. The table is const; what was seen is in
 * struct frame_gate. */
typedef int (*frame_handler)(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                             struct error *e);
struct frame_rule {
    uint16_t kind;
    const char *name;
    uint32_t phases; /* bit n: allowed in phase n */
    bool once;
    uint8_t fds_max; /* descriptors that may come with it; more end the session */
    size_t size_max; /* payload bytes */
    frame_handler handle;
};
struct frame_gate {
    const struct frame_rule *rules;
    size_t rule_count;
    unsigned phase;
    uint64_t seen; /* bit per rule index (at most 64 rules) */
};
/* Checks kind, phase, once, size and fd count, calls the handler, and checks that it consumed the
 * whole payload. < 0 is a fault that ends the session. The handler owns `fds` that it takes by dup;
 * the caller closes them. */
int frame_gate_dispatch(struct frame_gate *g, const struct frame *f, const int *fds,
                        size_t fd_count, void *context, struct error *e) MUST_CHECK;
