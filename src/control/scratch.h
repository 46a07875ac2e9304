/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private folders that live as long as a run. Each is locked while its run is alive, so that one
 * left behind by a crash is known by its free lock and removed by a later run. A folder holds plain
 * files only.
 */
#pragma once

#include "base/error.h"

/* Makes the root (0700, ours) when it is not there, and a new folder
 * in it. `ret_path`: mem_free. */
int scratch_make(const char *root, char **ret_path, int *ret_fd, struct error *e) MUST_CHECK;
/* Removes the folder with its files and closes the descriptor. */
void scratch_remove(const char *path, int *fd);
