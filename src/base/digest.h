/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and HMAC-SHA-256 by OpenSSL, and the "sha256:…" text form every record of Ambit uses. */
#pragma once

#include "base/error.h"

#define DIGEST_SIZE 32
#define DIGEST_TEXT_SIZE (7 + 64 + 1) /* "sha256:" + hex + NUL */

struct digest {
    uint8_t bytes[DIGEST_SIZE];
};

int digest_bytes(const void *bytes, size_t size, struct digest *ret, struct error *e) MUST_CHECK;
/* From the descriptor's start to its end with pread; the offset stays. Regular files and memfds. */
int digest_fd(int fd, struct digest *ret, struct error *e) MUST_CHECK;
int digest_hmac(const void *key, size_t key_size, const void *bytes, size_t size,
                struct digest *ret, struct error *e) MUST_CHECK;
/* Incremental. _done also after a failure. */
struct digest_stream {
    void *context;
};
int digest_begin(struct digest_stream *s, struct error *e) MUST_CHECK;
int digest_update(struct digest_stream *s, const void *bytes, size_t size,
                  struct error *e) MUST_CHECK;
int digest_finish(struct digest_stream *s, struct digest *ret, struct error *e) MUST_CHECK;
void digest_done(struct digest_stream *s);

bool digest_equal(const struct digest *a, const struct digest *b); /* constant time */
void digest_text(const struct digest *d, char ret_text[static DIGEST_TEXT_SIZE]);
int digest_parse(const char *text, struct digest *ret) MUST_CHECK; /* 0 or -EINVAL */
int random_bytes(void *bytes, size_t size) MUST_CHECK; /* getrandom(2), whole or an error */
