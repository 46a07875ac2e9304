/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where keys and values come from: files, a terminal, a command, a variable of the operator's. Each gives a
 * descriptor that is handed to keeper. What is behind a file or a command's pipe is never read here; a
 * passphrase that was typed and a variable pass through a buffer that is wiped.
 */
#pragma once

#include "base/buf.h"

#define SOURCE_SIZE_MAX (64u << 10) /* bytes of what a command or a variable gives */

/* A regular file of this user's that nobody else can read, by no symbolic link in its last place: -EPERM with
 * "chmod 600 …" otherwise. A systemd credential may be root's. */
enum source_owner { SOURCE_MINE, SOURCE_MINE_OR_ROOTS };
int source_file(const char *what, const char *path, enum source_owner owner, int *ret_fd,
                struct error *e) MUST_CHECK;
/* The read end of a pipe that holds the bytes (at most SOURCE_SIZE_MAX), written whole. */
int source_pipe(const void *bytes, size_t size, int *ret_fd, struct error *e) MUST_CHECK;
int source_variable(const char *what, const char *name, int *ret_fd, struct error *e) MUST_CHECK;
/* /bin/sh -c LINE with nothing to read, its errors to ours: what it wrote, once it ended well. It has half a
 * minute; then its process group is killed. */
int source_command(const char *what, const char *line, int *ret_fd, struct error *e) MUST_CHECK;
/* Another pipe that holds what this one, of which nobody has the other end any more, still holds. The bytes stay within
 * the kernel. */
int source_pipe_copy(int from, int *ret_fd, struct error *e) MUST_CHECK;
/* A line typed on the controlling terminal, without echo. With `again` it is typed twice, the same. */
int source_ask(const char *prompt, const char *again, int *ret_fd, struct error *e) MUST_CHECK;
