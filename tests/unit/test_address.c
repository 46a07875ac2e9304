/* SPDX-License-Identifier: Apache-2.0 */
/* wire/address.h: kinds, spellings, networks. */
#include "wire/address.h"

#include "tests/unit/test.h"

static struct address parsed(const char *text)
{
    struct address a;
    if (address_parse(bytes_of(text), &a) < 0)
        test_fail(__FILE__, __LINE__, "%s is no address", text);
    return a;
}

TEST(kinds)
{
    static const struct {
        const char *text;
        enum address_kind kind;
    } rows[] = {
        { "8.8.8.8", ADDRESS_GLOBAL },
        { "1.1.1.1", ADDRESS_GLOBAL },
        { "100.63.255.255", ADDRESS_GLOBAL },
        { "100.128.0.0", ADDRESS_GLOBAL },
        { "172.15.255.255", ADDRESS_GLOBAL },
        { "172.32.0.0", ADDRESS_GLOBAL },
        { "168.63.129.15", ADDRESS_GLOBAL },
        { "223.255.255.255", ADDRESS_GLOBAL },
        { "2606:4700::1111", ADDRESS_GLOBAL },
        { "2a00::", ADDRESS_GLOBAL },
        { "127.0.0.1", ADDRESS_LOOPBACK },
        { "127.255.255.255", ADDRESS_LOOPBACK },
        { "::1", ADDRESS_LOOPBACK },
        { "10.0.0.0", ADDRESS_PRIVATE },
        { "10.255.255.255", ADDRESS_PRIVATE },
        { "172.16.0.1", ADDRESS_PRIVATE },
        { "172.31.255.255", ADDRESS_PRIVATE },
        { "192.168.1.1", ADDRESS_PRIVATE },
        { "100.64.0.0", ADDRESS_PRIVATE },
        { "100.127.255.255", ADDRESS_PRIVATE },
        { "fc00::", ADDRESS_PRIVATE },
        { "fdff::1", ADDRESS_PRIVATE },
        { "fec0::1", ADDRESS_PRIVATE },
        { "169.254.1.1", ADDRESS_LINK_LOCAL },
        { "fe80::1", ADDRESS_LINK_LOCAL },
        { "febf::1", ADDRESS_LINK_LOCAL },
        { "224.0.0.1", ADDRESS_MULTICAST },
        { "239.255.255.255", ADDRESS_MULTICAST },
        { "255.255.255.255", ADDRESS_MULTICAST },
        { "ff02::1", ADDRESS_MULTICAST },
        { "0.0.0.0", ADDRESS_RESERVED },
        { "0.255.255.255", ADDRESS_RESERVED },
        { "192.0.0.1", ADDRESS_RESERVED },
        { "192.0.2.1", ADDRESS_RESERVED },
        { "198.51.100.1", ADDRESS_RESERVED },
        { "203.0.113.1", ADDRESS_RESERVED },
        { "198.18.0.0", ADDRESS_RESERVED },
        { "198.19.255.255", ADDRESS_RESERVED },
        { "192.88.99.1", ADDRESS_RESERVED },
        { "240.0.0.0", ADDRESS_RESERVED },
        { "255.255.255.254", ADDRESS_RESERVED },
        { "::", ADDRESS_RESERVED },
        { "100::1", ADDRESS_RESERVED },
        { "2001:2::1", ADDRESS_RESERVED },
        { "2001:20::1", ADDRESS_RESERVED },
        { "2001:db8::1", ADDRESS_RESERVED },
        { "3fff::1", ADDRESS_RESERVED },
        { "5f00::1", ADDRESS_RESERVED },
        { "4000::1", ADDRESS_RESERVED },
        { "169.254.169.254", ADDRESS_METADATA },
        { "169.254.170.2", ADDRESS_METADATA },
        { "100.100.100.200", ADDRESS_METADATA },
        { "168.63.129.16", ADDRESS_METADATA },
        { "fd00:ec2::254", ADDRESS_METADATA },
        { "fd20:ce::254", ADDRESS_METADATA },
        { "fe80::a9fe:a9fe", ADDRESS_METADATA },
        { "::ffff:8.8.8.8", ADDRESS_GLOBAL },
        { "::ffff:127.0.0.1", ADDRESS_LOOPBACK },
        { "::ffff:10.0.0.1", ADDRESS_PRIVATE },
        { "::ffff:169.254.169.254", ADDRESS_METADATA },
        { "::ffff:0:127.0.0.1", ADDRESS_RESERVED },
        { "::127.0.0.1", ADDRESS_RESERVED },
        { "::169.254.169.254", ADDRESS_METADATA },
        { "64:ff9b::8.8.8.8", ADDRESS_GLOBAL },
        { "64:ff9b::7f00:1", ADDRESS_LOOPBACK },
        { "64:ff9b::169.254.169.254", ADDRESS_METADATA },
        { "64:ff9b:1::8.8.8.8", ADDRESS_PRIVATE },
        { "64:ff9b:1::169.254.169.254", ADDRESS_METADATA },
        { "64:ff9b:1:a9fe:a9:fe00::", ADDRESS_METADATA },
        { "64:ff9b:1:a9:fe:a9fe::", ADDRESS_METADATA },
        { "64:ff9b:1:0:a9:fea9:fe00:0", ADDRESS_METADATA },
        { "2002:808:808::", ADDRESS_GLOBAL },
        { "2002:7f00:1::", ADDRESS_LOOPBACK },
        { "2002:a9fe:a9fe::", ADDRESS_METADATA },
        { "2001:0:808:808::f7f7:f7f7", ADDRESS_GLOBAL },
        { "2001:0:808:808::80ff:fffe", ADDRESS_LOOPBACK },
        { "2001:0:7f00:1::f7f7:f7f7", ADDRESS_LOOPBACK },
        { "2001:0:a9fe:a9fe::f7f7:f7f7", ADDRESS_METADATA },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct address a = parsed(rows[i].text);
        enum address_kind kind = address_kind(&a);
        if (kind != rows[i].kind)
            test_fail(__FILE__, __LINE__, "%s is %s, not %s", rows[i].text, address_kind_name(kind),
                      address_kind_name(rows[i].kind));
    }
    CHECK_STR(address_kind_name(ADDRESS_METADATA), "cloud metadata");
    CHECK_STR(address_kind_name(99), "unknown");
}

TEST(embedded)
{
    struct address a = parsed("2002:7f00:1::"), v4, expected = parsed("127.0.0.1");
    CHECK(address_embedded(&a, &v4) && address_equal(&v4, &expected));
    a = parsed("2001::80ff:fffe");
    CHECK(address_embedded(&a, &v4) && address_equal(&v4, &expected));
    a = parsed("::ffff:127.0.0.1");
    CHECK(address_embedded(&a, &v4) && address_equal(&v4, &expected));
    static const char *const none[] = { "127.0.0.1", "::", "::1", "2606::7f00:1", "fe80::7f00:1" };
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        a = parsed(none[i]);
        CHECK(!address_embedded(&a, &v4));
    }
}

TEST(spellings_that_are_none)
{
    static const char *const bad[] = {
        "",
        "1",
        "127.1",
        "127.0.0",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.04",
        "0x7f.0.0.1",
        "256.0.0.1",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.-4",
        "2130706433",
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "::1::",
        "12345::",
        "::1%lo",
        "[::1]",
        "::g",
        "::1.2.3",
        "::1.2.3.4.5",
        "1.2.3.4:80",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };
    struct address a;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (address_parse(bytes_of(bad[i]), &a) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
    CHECK_EQ(address_parse((struct bytes){ (const uint8_t *)"1.2.3.4\0", 8 }, &a), -EINVAL);
    CHECK_EQ(address_parse((struct bytes){ NULL, 0 }, &a), -EINVAL);
}

TEST(prints_as_rfc_5952)
{
    static const char *const rows[][2] = {
        { "1.2.3.4", "1.2.3.4" },
        { "::", "::" },
        { "0:0:0:0:0:0:0:1", "::1" },
        { "2001:DB8:0:0:0:0:2:1", "2001:db8::2:1" },
        { "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
        { "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
        { "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
        { "1:0:0:0:0:0:0:0", "1::" },
        { "::ffff:1.2.3.4", "::ffff:1.2.3.4" },
        { "::1.2.3.4", "::102:304" },
        { "64:ff9b::1.2.3.4", "64:ff9b::102:304" },
        { "0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(100);
        struct address a = parsed(rows[i][0]), again;
        address_print(&a, &out);
        CHECK_STR(buf_cstr(&out), rows[i][1]);
        CHECK_EQ(address_parse(bytes_of(buf_cstr(&out)), &again), 0);
        CHECK(address_equal(&a, &again));
    }
}

static struct network network(const char *text)
{
    struct network n;
    struct error e = ERROR_INIT;
    if (network_parse(bytes_of(text), &n, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", text, e.what);
    return n;
}

TEST(networks)
{
    static const char *const bad[] = {
        "10.0.0.0/33", "10.0.0.1/8",   "::/129",        "::1/127", "/8",
        "10.0.0.0/",   "10.0.0.0/08",  "10.0.0.0/ 8",   "10/8",    "",
        "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/1000", "::1/0x1"
    };
    struct network n, ten = network("10.0.0.0/8"), all = network("0.0.0.0/0"),
                      all6 = network("::/0"), odd = network("10.128.0.0/9"), one = network("::1");
    struct address in = parsed("10.1.2.3"), out = parsed("11.0.0.0"), six = parsed("a00::");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (network_parse(bytes_of(bad[i]), &n, NULL) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
    CHECK(network_has(&ten, &in) && !network_has(&ten, &out) && !network_has(&ten, &six));
    CHECK(network_has(&all, &out) && !network_has(&all, &six) && network_has(&all6, &six));
    CHECK(!network_has(&odd, &in) && network_covers(&ten, &odd) && !network_covers(&odd, &ten));
    CHECK(network_covers(&all, &ten) && !network_covers(&all6, &ten) && one.bits == 128);
    static const char *const same[] = { "10.0.0.0/8", "::/0", "2001:db8::/33", "1.2.3.4", "::1" };
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(100);
        n = network(same[i]);
        network_print(&n, &text);
        CHECK_STR(buf_cstr(&text), same[i]);
    }
}

TEST_MAIN()
