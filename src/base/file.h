/* SPDX-License-Identifier: Apache-2.0 */
/* Files of our own: whole reads with a maximum, atomic writes, memfds. Never used on a guest's
 * paths (worker/vfs). */
#pragma once

#include "base/buf.h"

/* Reads a descriptor to its end into `out` (whose maximum holds: -EFBIG past it). Works for pipes
 * too. */
int file_read_fd(int fd, struct buf *out, struct error *e) MUST_CHECK;
int file_read(const char *path, struct buf *out, struct error *e) MUST_CHECK;
/* For who must not wait: no pipe, terminal or device, whoever put one there. */
int file_read_regular(const char *path, struct buf *out, struct error *e) MUST_CHECK;
/* Writes all, EINTR and short writes handled. */
int file_write_fd(int fd, const void *bytes, size_t size, struct error *e) MUST_CHECK;
/* Temporary file in the same folder, fsync, rename: a reader sees the old file or the new one,
 * whole. */
int file_write_atomic(int dir_fd, const char *name, const void *bytes, size_t size, unsigned mode,
                      struct error *e) MUST_CHECK;
/* A memfd with these contents, sealed against every change when `seal`. Returns the fd or < 0. */
int file_memfd(const char *name, const void *bytes, size_t size, bool seal,
               struct error *e) MUST_CHECK;
/* Opens a folder through no symbolic link that may have been planted: one in a folder that this user
 * can write, where a guest of an earlier run, a cloned repository or (in /tmp) somebody else may have
 * made it. A descriptor, or -errno; -ELOOP: the first `*ret_link` bytes of the path name such a link. */
int file_open_dir_unlinked(const char *path, size_t *ret_link) MUST_CHECK;
/* mkdir -p with 0700 for what is made; the last folder must be owned by us and closed to others,
 * else -EPERM. */
int file_make_private_dir(const char *path, int *ret_dir_fd, struct error *e) MUST_CHECK;
