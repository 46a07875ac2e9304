/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit doctor` does not believe: it starts a process for each attempt, as it starts a room, closes
 * the jail of that room over it, and lets it try what the jail is there to stop. The attempts are in
 * the product, because the question is what the product's jail does on this machine.
 *
 * Two parts: try_attempt() in control, try_room_main() in the process. The jail is always closed
 * whole (as far as the machine lets it): there is no way to ask for less.
 */
#pragma once

#include "room/jail.h"

#define TRY_TEXT_MAX 64

/* What came of it. */
enum try_end {
    TRY_REFUSED,  /* an error, or death: `by` and `how` say which */
    TRY_WENT,     /* it was done */
    TRY_NO_ANSWER /* the process could not be started, or said nothing that can be read */
};
struct try_result {
    enum try_end end;
    const char *by;         /* the layer's name; "" = what refused it is no layer of ours */
    char how[TRY_TEXT_MAX]; /* "killed", "Permission denied"; why, for TRY_NO_ANSWER */
    uint32_t missing;       /* layers that the process did not have */
};

size_t try_count(void);
bool try_is_of(size_t attempt, enum room_role role); /* is it to be refused in this room? */
const char *try_what(size_t attempt);                /* "opens /etc/passwd" */
/* `allow_missing`: what this machine cannot do. `folder` is given to a worker as its read-only mount;
 * it holds a file "file", and beside it lies "outside". */
void try_attempt(size_t attempt, enum room_role role, uint32_t allow_missing, int folder,
                 struct try_result *ret);
#ifdef AMBIT_TEST_HOOKS
/* The jail of `role` without the layers of `skip`, and in it an attempt of room/probe.h: `words` are
 * its name and what it needs, a line each. What room_probe() says, or how the process ended. */
void try_probe(enum room_role role, uint32_t skip, const char *words, struct buf *out);
#endif
/* In the process. */
int try_room_main(enum room_role role, struct channel *control);
