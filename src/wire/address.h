/* SPDX-License-Identifier: Apache-2.0 */
/* IP addresses: what kind they are, and networks of them (CIDR). */
#pragma once

#include "base/buf.h"

struct address {
    bool is_v6;
    uint8_t bytes[16]; /* 4 used for IPv4 */
};
struct network {
    struct address address;
    uint8_t bits;
};

/* IANA's special-purpose registries, and what clouds answer secrets on. Of an address that carries
 * an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo) the worse of the two kinds. */
enum address_kind {
    ADDRESS_GLOBAL,
    ADDRESS_LOOPBACK,
    ADDRESS_PRIVATE, /* RFC 1918, 100.64/10, fc00::/7 */
    ADDRESS_LINK_LOCAL,
    ADDRESS_MULTICAST, /* and broadcast */
    ADDRESS_RESERVED,  /* unspecified, documentation, benchmarking, future use … */
    ADDRESS_METADATA,  /* never, whatever a grant says */
};
enum address_kind address_kind(const struct address *a);
const char *address_kind_name(enum address_kind k);
/* The IPv4 address that it carries; false = none. */
bool address_embedded(const struct address *a, struct address *ret);

/* Dotted quad or IPv6, the whole text, no zone, no other spelling of IPv4. 0 or -EINVAL. */
int address_parse(struct bytes text, struct address *ret) MUST_CHECK;
void address_print(const struct address *a, struct buf *out); /* RFC 5952 */
bool address_equal(const struct address *a, const struct address *b);
/* "10.0.0.0/8", "::1/128", or an address alone; bits beyond the prefix must be zero. */
int network_parse(struct bytes text, struct network *ret, struct error *e) MUST_CHECK;
void network_print(const struct network *n, struct buf *out);
bool network_has(const struct network *n, const struct address *a);
bool network_covers(const struct network *a, const struct network *b); /* b ⊆ a */
