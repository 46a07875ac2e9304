/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds of addresses. One table, most particular networks first, so that the first that holds an
 * address says what it is; what no line names is global in IPv4 and in 2000::/3, and reserved
 * elsewhere (nothing else of IPv6 is handed out).
 *
 * Sources: IANA's special-purpose registries of IPv4 and IPv6 (RFC 6890, 8190), those of multicast,
 * and the documents of the clouds for what is METADATA. Where the registries call a small range
 * inside a reserved one global (AS112, PCP anycast), the larger range counts: nobody serves HTTP
 * there, and a line less is a mistake less.
 */
#include "wire/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/mem.h"

#define V4(a, b, c, d, prefix)            \
    {                                     \
        { false, { a, b, c, d } }, prefix \
    }
/* Up to four groups from the left, and the last two bytes. */
#define V6(a, b, c, d, last, prefix)                                                             \
    {                                                                                            \
        { true,                                                                                  \
          { (a) >> 8, (a)&255, (b) >> 8, (b)&255, (c) >> 8, (c)&255, (d) >> 8, (d)&255, 0, 0, 0, \
            0, 0, 0, (last) >> 8, (last)&255 } },                                                \
            prefix                                                                               \
    }

static const struct {
    struct network network;
    enum address_kind kind;
} kinds[] = {
    /* AWS, Azure, Google, DigitalOcean and most others; the whole /24, as its neighbours are name
     * and licence servers of the same hosts. ECS and EKS credentials; Scaleway; Tencent. */
    { V4(169, 254, 169, 0, 24), ADDRESS_METADATA },
    { V4(169, 254, 170, 0, 24), ADDRESS_METADATA },
    { V4(169, 254, 42, 42, 32), ADDRESS_METADATA },
    { V4(169, 254, 0, 23, 32), ADDRESS_METADATA },
    { V4(100, 100, 100, 200, 32), ADDRESS_METADATA }, /* Alibaba */
    { V4(168, 63, 129, 16, 32), ADDRESS_METADATA },   /* Azure's wire server */
    { V4(192, 0, 0, 192, 32), ADDRESS_METADATA },     /* Oracle */
    { V4(0, 0, 0, 0, 8), ADDRESS_RESERVED },          /* Linux dials 0.0.0.0 as itself */
    { V4(10, 0, 0, 0, 8), ADDRESS_PRIVATE },
    { V4(100, 64, 0, 0, 10), ADDRESS_PRIVATE },
    { V4(127, 0, 0, 0, 8), ADDRESS_LOOPBACK },
    { V4(169, 254, 0, 0, 16), ADDRESS_LINK_LOCAL },
    { V4(172, 16, 0, 0, 12), ADDRESS_PRIVATE },
    { V4(192, 0, 0, 0, 24), ADDRESS_RESERVED },
    { V4(192, 0, 2, 0, 24), ADDRESS_RESERVED },
    { V4(192, 88, 99, 0, 24), ADDRESS_RESERVED }, /* relays of 6to4 */
    { V4(192, 168, 0, 0, 16), ADDRESS_PRIVATE },
    { V4(198, 18, 0, 0, 15), ADDRESS_RESERVED },
    { V4(198, 51, 100, 0, 24), ADDRESS_RESERVED },
    { V4(203, 0, 113, 0, 24), ADDRESS_RESERVED },
    { V4(224, 0, 0, 0, 4), ADDRESS_MULTICAST },
    { V4(255, 255, 255, 255, 32), ADDRESS_MULTICAST }, /* broadcast */
    { V4(240, 0, 0, 0, 4), ADDRESS_RESERVED },

    { V6(0xfd00, 0x0ec2, 0, 0, 0x254, 128), ADDRESS_METADATA }, /* AWS */
    { V6(0xfd00, 0x0ec2, 0, 0, 0x23, 128), ADDRESS_METADATA },  /* EKS credentials */
    { V6(0xfd20, 0x00ce, 0, 0, 0x254, 128), ADDRESS_METADATA }, /* Google */
    { V6(0xfd00, 0x0042, 0, 0, 0x42, 128), ADDRESS_METADATA },  /* Scaleway */
    { V6(0, 0, 0, 0, 1, 128), ADDRESS_LOOPBACK },
    { V6(0x0064, 0xff9b, 0x0001, 0, 0, 48), ADDRESS_PRIVATE }, /* NAT64 of one's own */
    { V6(0x0064, 0xff9b, 0, 0, 0, 96), ADDRESS_GLOBAL },       /* NAT64: what it carries decides */
    { V6(0x2001, 0, 0, 0, 0, 32), ADDRESS_GLOBAL },            /* Teredo: what it carries decides */
    { V6(0x2001, 0, 0, 0, 0, 23), ADDRESS_RESERVED },          /* protocol assignments */
    { V6(0x2001, 0x0db8, 0, 0, 0, 32), ADDRESS_RESERVED },
    { V6(0x3fff, 0, 0, 0, 0, 20), ADDRESS_RESERVED },
    { V6(0xfc00, 0, 0, 0, 0, 7), ADDRESS_PRIVATE },
    { V6(0xfe80, 0, 0, 0, 0, 10), ADDRESS_LINK_LOCAL },
    { V6(0xfec0, 0, 0, 0, 0, 10), ADDRESS_PRIVATE }, /* site-local of old */
    { V6(0xff00, 0, 0, 0, 0, 8), ADDRESS_MULTICAST },
    { V6(0x2000, 0, 0, 0, 0, 3), ADDRESS_GLOBAL },
};

/* fe80::a9fe:a9fe, where OpenStack answers: two last groups, which the table cannot say. */
static const struct address openstack = {
    true, { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 169, 254, 169, 254 }
};

static struct address v4_at(const struct address *a, size_t at, uint8_t mask)
{
    struct address v4 = { 0 };
    for (size_t i = 0; i < 4; i++)
        v4.bytes[i] = a->bytes[at + i] ^ mask;
    return v4;
}

static bool starts_with(const struct address *a, const char *prefix, size_t size)
{
    return a->is_v6 && memcmp(a->bytes, prefix, size) == 0;
}

static bool is_mapped(const struct address *a)
{
    return starts_with(a, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
}

bool address_embedded(const struct address *a, struct address *ret)
{
    static const char zeros[12];
    if (is_mapped(a) || starts_with(a, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12) ||
        starts_with(a, "\0\x64\xff\x9b\0\1", 6) ||
        starts_with(a, "\0\0\0\0\0\0\0\0\xff\xff\0\0", 12)) { /* the last: SIIT, RFC 2765 */
        *ret = v4_at(a, 12, 0);
        return true;
    }
    if (starts_with(a, "\x20\x02", 2)) { /* 6to4, RFC 3056 */
        *ret = v4_at(a, 2, 0);
        return true;
    }
    if (starts_with(a, "\x20\1\0\0", 4)) { /* Teredo, RFC 4380: its client, inverted */
        *ret = v4_at(a, 12, 0xff);
        return true;
    }
    /* Compatible, RFC 4291 2.5.5.1; :: and ::1 are none. */
    if (starts_with(a, zeros, 12) && (a->bytes[12] || a->bytes[13] || a->bytes[14] > 0)) {
        *ret = v4_at(a, 12, 0);
        return true;
    }
    return false;
}

static enum address_kind own_kind(const struct address *a)
{
    if (is_mapped(a))
        return ADDRESS_GLOBAL;
    if (address_equal(a, &openstack))
        return ADDRESS_METADATA;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (network_has(&kinds[i].network, a))
            return kinds[i].kind;
    return a->is_v6 ? ADDRESS_RESERVED : ADDRESS_GLOBAL;
}

enum address_kind address_kind(const struct address *a)
{
    enum address_kind kind = own_kind(a);
    struct address carried;
    if (address_embedded(a, &carried))
        kind = MAX(kind, own_kind(&carried));
    if (starts_with(a, "\x20\1\0\0", 4)) { /* Teredo names its server, too */
        carried = v4_at(a, 4, 0);
        kind = MAX(kind, own_kind(&carried));
    }
    if (starts_with(a, "\0\x64\xff\x9b\0\1", 6)) {
        /* The length of a NAT64 prefix of one's own is not told: each that RFC 6052 2.2 has for a
         * prefix within this /48, its byte of zeros left out. */
        static const uint8_t places[][4] = { { 6, 7, 9, 10 }, { 7, 9, 10, 11 }, { 9, 10, 11, 12 } };
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
            carried = (struct address){ 0 };
            for (size_t k = 0; k < 4; k++)
                carried.bytes[k] = a->bytes[places[i][k]];
            if (own_kind(&carried) == ADDRESS_METADATA)
                return ADDRESS_METADATA;
        }
    }
    return kind;
}

const char *address_kind_name(enum address_kind k)
{
    static const char *const names[] = {
        [ADDRESS_GLOBAL] = "global",           [ADDRESS_LOOPBACK] = "loopback",
        [ADDRESS_PRIVATE] = "private",         [ADDRESS_LINK_LOCAL] = "link-local",
        [ADDRESS_MULTICAST] = "multicast",     [ADDRESS_RESERVED] = "reserved",
        [ADDRESS_METADATA] = "cloud metadata",
    };
    return (unsigned)k < ARRAY_SIZE(names) ? names[k] : "unknown";
}

int address_parse(struct bytes text, struct address *ret)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size))
        return -EINVAL;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    struct address a = { .is_v6 = strchr(copy, ':') != NULL };
    /* inet_pton() takes neither zones nor other bases nor leading zeros. */
    if (inet_pton(a.is_v6 ? AF_INET6 : AF_INET, copy, a.bytes) != 1)
        return -EINVAL;
    *ret = a;
    return 0;
}

static void print_v4(const uint8_t *b, struct buf *out)
{
    buf_printf(out, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
}

/* The groups are shortened where most of them are zero, the first such place, never one alone. */
static void print_v6(const uint8_t *b, struct buf *out)
{
    unsigned best = 0, best_length = 1, length = 0;
    for (unsigned i = 0; i < 8; i++) {
        length = b[2 * i] || b[2 * i + 1] ? 0 : length + 1;
        if (length > best_length) {
            best_length = length;
            best = i + 1 - length;
        }
    }
    if (best_length < 2)
        best = 8;
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            buf_puts(out, "::");
            i += best_length - 1;
            continue;
        }
        buf_printf(out, "%s%x", i && i != best + best_length ? ":" : "",
                   (unsigned)b[2 * i] << 8 | b[2 * i + 1]);
    }
}

void address_print(const struct address *a, struct buf *out)
{
    if (!a->is_v6) {
        print_v4(a->bytes, out);
    } else if (is_mapped(a)) { /* RFC 5952 5 */
        buf_puts(out, "::ffff:");
        print_v4(a->bytes + 12, out);
    } else {
        print_v6(a->bytes, out);
    }
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->is_v6 == b->is_v6 && memcmp(a->bytes, b->bytes, a->is_v6 ? 16 : 4) == 0;
}

static unsigned bits_of(const struct address *a)
{
    return a->is_v6 ? 128 : 32;
}

/* The bits of byte `i` that are beyond a prefix of `bits`. */
static uint8_t host_mask(unsigned bits, unsigned i)
{
    if (bits >= 8 * (i + 1))
        return 0;
    return bits <= 8 * i ? 0xff : (uint8_t)(0xff >> (bits - 8 * i));
}

int network_parse(struct bytes text, struct network *ret, struct error *e)
{
    const uint8_t *slash = text.size ? memchr(text.data, '/', text.size) : NULL;
    struct bytes address = { text.data, slash ? (size_t)(slash - text.data) : text.size };
    struct network n;
    if (address_parse(address, &n.address) < 0)
        return error_set(e, -EINVAL, "not an IP address or a network of them, as in 10.0.0.0/8");
    unsigned bits = bits_of(&n.address);
    if (slash) {
        struct bytes digits = { slash + 1, text.size - address.size - 1 };
        unsigned value = 0;
        bool good =
            digits.size >= 1 && digits.size <= 3 && (digits.size == 1 || digits.data[0] != '0');
        for (size_t i = 0; good && i < digits.size; i++) {
            good = digits.data[i] >= '0' && digits.data[i] <= '9';
            value = value * 10 + digits.data[i] - '0';
        }
        if (!good || value > bits)
            return error_set(e, -EINVAL, "a prefix is a number from 0 to %u", bits);
        bits = value;
    }
    for (unsigned i = 0; i < bits_of(&n.address) / 8; i++)
        if (n.address.bytes[i] & host_mask(bits, i))
            return error_set(e, -EINVAL, "bits of the address beyond its prefix of %u are not zero",
                             bits);
    n.bits = (uint8_t)bits;
    *ret = n;
    return 0;
}

void network_print(const struct network *n, struct buf *out)
{
    address_print(&n->address, out);
    if (n->bits != bits_of(&n->address))
        buf_printf(out, "/%u", n->bits);
}

bool network_has(const struct network *n, const struct address *a)
{
    if (n->address.is_v6 != a->is_v6)
        return false;
    for (unsigned i = 0; i < bits_of(a) / 8 && 8 * i < n->bits; i++)
        if ((n->address.bytes[i] ^ a->bytes[i]) & (uint8_t)~host_mask(n->bits, i))
            return false;
    return true;
}

bool network_covers(const struct network *a, const struct network *b)
{
    return a->bits <= b->bits && network_has(a, &b->address);
}
