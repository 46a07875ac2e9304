/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escaped native code, played by a test build: what a room does when somebody has taken it over.
 * Each attempt is one thing that a jail is there to stop. Nothing of this is in a build without
 * AMBIT_TEST_HOOKS.
 */
#pragma once

#ifdef AMBIT_TEST_HOOKS
#include <stddef.h>

#include "base/error.h"

/* Tries the attempt named by words[0], with what it needs behind it. `ret` says "probe NAME:
 * succeeded", "refused (errno text)" or "not on this machine". Does not come back when the jail
 * kills, or when exec works. */
void room_probe(char *const *words, size_t count, char *ret, size_t ret_size);
/* The same with words as lines of `text`, which is cut up, behind its first line. What room_probe() says is in `e`,
 * which is given back. */
const struct error *room_probe_lines(char *text, struct error *e);
#endif
