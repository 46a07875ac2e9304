/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state folder: $AMBIT_STATE_DIR, else $XDG_STATE_HOME/ambit, else ~/.local/state/ambit. It and
 * what is made in it is ours alone (0700); one that belongs to another user, or is open to others,
 * is refused.
 */
#pragma once

#include "base/error.h"

/* Its absolute path, without looking whether it is there (mem_free). A relative path in the
 * environment is refused: it would mean another folder after every cd. */
int state_path(char **ret, struct error *e) MUST_CHECK;
/* What a person keeps, as $XDG_CONFIG_HOME/ambit or ~/.config/ambit (the vault's key); in the same way. */
int state_config_path(char **ret, struct error *e) MUST_CHECK;
/* Opens a folder below it ("cache", "runs"; "" is the state folder itself),
 * making what is missing. */
int state_open(const char *name, int *ret_dir_fd, struct error *e) MUST_CHECK;
