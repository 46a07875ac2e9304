/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's standard streams. What is harmless in a worker's hands goes to it directly: regular
 * files, pipes and /dev/null. A terminal, a socket or another device stays with control, which
 * gives the worker a pipe and carries the bytes: a terminal reads as well as it writes, and answers
 * escape sequences; a socket is a network. To a terminal only text passes: colours stay, every
 * other control sequence is shown escaped. Streams that were carried have a digest.
 *
 * From a terminal at most one line is taken before the guest asks for it, and only while we are in
 * its foreground.
 */
#pragma once

#include <poll.h>

#include "base/digest.h"
#include "base/text.h"

#define STDIO_COUNT 3
#define STDIO_POLL_FDS (2 * STDIO_COUNT)

struct stdio_pump {
    bool active;
    bool to_terminal, from_terminal;
    int source, sink; /* ours; sink -1 = closed */
    struct buf held;  /* read and not written yet */
    size_t written;   /* of held */
    bool source_ended;
    struct text_filter filter;
    struct digest_stream digest;
    bool has_digest;
    uint64_t bytes;
};
struct stdio {
    int guest[STDIO_COUNT]; /* for the worker; -1 after stdio_handed_over() */
    uint32_t terminals;     /* enum stdio_stream bits (grant/grant.h) */
    struct stdio_pump pumps[STDIO_COUNT];
};

/* `streams`: enum stdio_stream bits that are granted; the others are /dev/null. `no_stdin`:
 * standard input was used up. */
int stdio_prepare(struct stdio *s, uint32_t streams, bool no_stdin, struct error *e) MUST_CHECK;
void stdio_done(struct stdio *s);
/* Closes our copies of what the worker has now. */
void stdio_handed_over(struct stdio *s);
/* Fills STDIO_POLL_FDS entries (fd -1 = not wanted). True: ask again after 200 ms even when nothing
 * happens. */
bool stdio_poll(struct stdio *s, struct pollfd *ret_fds);
int stdio_events(struct stdio *s, const struct pollfd *fds, struct error *e) MUST_CHECK;
/* The worker is gone: carries what is left. `stop` is asked at least once a second. */
int stdio_drain(struct stdio *s, bool (*stop)(void *context), void *context,
                struct error *e) MUST_CHECK;
/* Digest of a carried stream: false when it was not carried. */
bool stdio_digest(struct stdio *s, int stream, struct digest *ret, uint64_t *ret_bytes);
