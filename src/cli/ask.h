/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions of `ambit run --ask`, put to the person at the controlling terminal: never where
 * standard input, output or error is something else, because then somebody's program would answer.
 */
#pragma once

#include "control/run.h"

struct ask {
    int terminal; /* -1 = not opened */
    bool colour;
    bool refused; /* the person just said no: the denial that follows is no news */
};

/* Opens the terminal. < 0 with the reason where there is none, or a standard stream is no terminal. */
int ask_open(struct ask *a, struct error *e) MUST_CHECK;
void ask_close(struct ask *a);
/* run_observer's ask and denied, with a struct ask. */
enum run_answer ask_person(struct ask *a, const struct run_denial *d, int interrupt_fd);
void ask_tell_denied(struct ask *a, const struct run_denial *d);
