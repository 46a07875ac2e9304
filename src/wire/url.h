/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request goes: one canonical destination, made once from what a guest said, and used for
 * the decision, the dial, Host, SNI and the record alike. What is dialled is what was decided.
 *
 * Host: lower case; no user name; a trailing dot goes; IDNA 2008 (UTS 46, non-transitional) to
 * A-labels by libidn2; letters, digits, `-`, `_` and dots with labels of 1 to 63 and 253 in all;
 * a plain name in other characters (full-width, zero-width) is an error;
 * a literal address only in its one usual spelling (dotted quad; [IPv6], which is printed again as
 * RFC 5952 says); every other thing a resolver might take for a number (0x7f.1, 017700000001,
 * 2130706433, 127.1) is an error, zones ([::1%lo]) too.
 * Port: 1 to 65535, the scheme's when none is given.
 * Path: begins with "/"; `%XX` of unreserved characters is decoded, other escapes in upper case;
 * dot segments, plain or escaped, are removed as RFC 3986 5.2.4 says, and one that would leave the
 * root is an error; a segment that a server could decode to "..", to "/" beside dots (..%2f), to
 * `\` or to a control character (NUL, CR, LF …) is an error, however often it is escaped; what is
 * not allowed in a path or query is an error, never repaired. A query may hold []{}|^` as they are.
 */
#pragma once

#include "wire/address.h"

#define URL_HOST_MAX 254 /* with its NUL */
#define URL_TARGET_MAX 16384

struct url {
    bool https;
    bool is_address;         /* the host is a literal */
    struct address address;  /* with is_address */
    char host[URL_HOST_MAX]; /* IPv6 without brackets */
    uint16_t port;
    struct bytes path, query; /* of `target`; query without "?"; has_query tells "" from none */
    bool has_query;
    struct buf target; /* path and query, as it is sent */
};
void url_init(struct url *u);
void url_done(struct url *u);
/* `authority`: host[:port]. `target`: path and query, "" = "/". -EINVAL with a reason. */
int url_set(struct url *u, bool https, struct bytes authority, struct bytes target,
            struct error *e) MUST_CHECK;
/* An absolute URL, http or https, without user name and fragment. */
int url_parse(struct url *u, struct bytes text, struct error *e) MUST_CHECK;
/* Host alone, as above. A first label "*" is taken when `wildcard`. */
int url_host_canonical(struct bytes host, bool wildcard, char ret[static URL_HOST_MAX],
                       bool *ret_is_address, struct address *ret_address,
                       struct error *e) MUST_CHECK;
/* "host", "host:8080", "[::1]:8080": the port only when it is not the scheme's. */
void url_authority(const struct url *u, struct buf *out);
/* The whole, canonical. */
void url_print(const struct url *u, struct buf *out);
