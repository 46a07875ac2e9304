/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a run's mounts: opening the granted folders, refusing those that no grant may
 * name, and finding out afterwards which files in them changed.
 *
 * Never granted, whoever asks: a folder that lies in Ambit's state (cache, keys, receipts), or
 * holds it; procfs, sysfs and the other pseudo filesystems of the kernel; /dev. Told by what the
 * opened descriptor is, not by its name. One that holds the state may be granted when no pattern
 * reaches the state and nothing in it may be written: patterns are the worker's to enforce, and
 * native code that escaped into it must find nothing there that it can change.
 */
#pragma once

#include "control/receipt.h"
#include "grant/grant.h"

/* Looks at what a --read or --write flag names: a folder, or a regular file. Missing, or anything
 * else, is an error with a hint. */
int mounts_path_is_folder(const char *flag, const char *host, bool *ret_is_folder,
                          struct error *e) MUST_CHECK;

/* Fills `ret_fds`, one per mount of the rules: an open folder, or -1 for memory. `state_fd`: our
 * state folder. A mount whose host folder is `own_scratch` (may be NULL) is ours and allowed. On
 * failure nothing stays open. */
int mounts_open(const struct grant_rules *rules, int state_fd, const char *own_scratch,
                int *ret_fds, struct error *e) MUST_CHECK;

/* Writes an "output" event for each file below the writable DIR mounts that changed since
 * `since_ns` (real time), by looking at the change time that the kernel keeps, which no guest can
 * set: at most MOUNTS_LISTED_MAX files, MOUNTS_VISITED_MAX entries looked at, MOUNTS_HASHED_MAX
 * bytes hashed; what was left out is said. Opens nothing but regular files, beneath the mount,
 * without links. */
#define MOUNTS_LISTED_MAX 256
#define MOUNTS_VISITED_MAX 8192
#define MOUNTS_HASHED_MAX (UINT64_C(256) << 20)
int mounts_record_outputs(const struct grant_rules *rules, const int *fds, int64_t since_ns,
                          struct receipt *r, struct error *e) MUST_CHECK;
