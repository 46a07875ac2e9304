/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as letters: base 16 and base 64 (RFC 4648, 4, 5 and 8), and escapes as in URLs (RFC 3986, 2.1). */
#pragma once

#include "base/buf.h"

int hex_value(uint8_t c);    /* of a digit in either case; -1: it is none */
int base64_value(uint8_t c); /* of a digit of base64, not of its `url` form; -1 */
/* 2 * size letters in lower case and a NUL; `ret` has room for them. */
void hex_text(const uint8_t *bytes, size_t size, char *ret);
/* Appends base64url, without padding. */
void base64url_put(struct buf *out, const uint8_t *bytes, size_t size);
/* Appends one byte: letters and digits and what stands in `plain` as they are, others as %XX. */
void percent_put(struct buf *out, uint8_t c, const char *plain);
