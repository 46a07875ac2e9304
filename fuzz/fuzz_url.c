/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destinations and addresses from any bytes. Laws: making canonical twice changes nothing; what is
 * printed is read again as the same; a canonical host holds only what a canonical host may hold;
 * addresses and networks print to what reads the same; the kind of an address is total.
 */
#include <string.h>

#include "base/mem.h"
#include "wire/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(const struct url *u)
{
    size_t size = strlen(u->host);
    ASSERT(size > 0 && size < URL_HOST_MAX && u->port > 0);
    for (size_t i = 0; i < size; i++)
        ASSERT(memchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", u->host[i], 39) ||
               (u->is_address && u->address.is_v6 && u->host[i] == ':'));
    if (!u->is_address) {
        char last = u->host[size - 1];
        struct address a;
        ASSERT(last != '.' && u->host[0] != '.' && !strstr(u->host, ".."));
        ASSERT(address_parse(bytes_of(u->host), &a) < 0);
    }
}

static bool is_dots(const uint8_t *s, size_t size)
{
    return (size == 1 && s[0] == '.') || (size == 2 && s[0] == '.' && s[1] == '.');
}

static void check_path(const struct url *u)
{
    const uint8_t *s = u->path.data, *end = s + u->path.size;
    ASSERT(u->path.size > 0 && *s == '/');
    while (s < end) {
        const uint8_t *slash = memchr(s + 1, '/', (size_t)(end - s - 1));
        const uint8_t *stop = slash ? slash : end;
        ASSERT(!is_dots(s + 1, (size_t)(stop - s - 1)));
        s = stop;
    }
    for (size_t i = 0; i < u->target.size; i++)
        ASSERT(u->target.data[i] > ' ' && u->target.data[i] < 0x7f && u->target.data[i] != '#');
}

static void check_again(const struct url *u)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * URL_TARGET_MAX);
    CLEANUP(buf_done) struct buf again = BUF_INIT(2 * URL_TARGET_MAX);
    CLEANUP(url_done) struct url second;
    url_init(&second);
    url_print(u, &text);
    ASSERT(url_parse(&second, (struct bytes){ text.data, text.size }, NULL) == 0);
    url_print(&second, &again);
    ASSERT(text.size == again.size && memcmp(text.data, again.data, text.size) == 0);
    ASSERT(strcmp(u->host, second.host) == 0 && u->port == second.port &&
           u->https == second.https && u->is_address == second.is_address &&
           u->has_query == second.has_query && bytes_equal(u->path, second.path) &&
           bytes_equal(u->query, second.query));
    ASSERT(!u->is_address || address_equal(&u->address, &second.address));
}

static void check_url(struct bytes input)
{
    CLEANUP(url_done) struct url u;
    url_init(&u);
    if (url_parse(&u, input, NULL) < 0)
        return;
    check_host(&u);
    check_path(&u);
    check_again(&u);
}

static void check_parts(struct bytes input)
{
    const uint8_t *cut = input.size ? memchr(input.data, '\n', input.size) : NULL;
    size_t host = cut ? (size_t)(cut - input.data) : input.size;
    CLEANUP(url_done) struct url u;
    url_init(&u);
    struct bytes target = { input.data + host + (cut != NULL), input.size - host - (cut != NULL) };
    if (url_set(&u, true, (struct bytes){ input.data, host }, target, NULL) == 0)
        check_again(&u);
    char name[URL_HOST_MAX];
    bool is_address;
    struct address address;
    if (url_host_canonical((struct bytes){ input.data, host }, true, name, &is_address, &address,
                           NULL) == 0 &&
        !is_address) {
        char again[URL_HOST_MAX];
        ASSERT(url_host_canonical(bytes_of(name), true, again, &is_address, &address, NULL) == 0);
        ASSERT(!is_address && strcmp(name, again) == 0);
    }
}

static void check_address(struct bytes input)
{
    struct network n, again;
    if (input.size >= 16) { /* any address has a kind and a spelling */
        struct address raw = { .is_v6 = true }, read;
        CLEANUP(buf_done) struct buf text = BUF_INIT(100);
        memcpy(raw.bytes, input.data, 16);
        ASSERT(address_kind(&raw) <= ADDRESS_METADATA);
        address_print(&raw, &text);
        ASSERT(address_parse((struct bytes){ text.data, text.size }, &read) == 0);
        ASSERT(address_equal(&raw, &read));
    }
    if (network_parse(input, &n, NULL) < 0)
        return;
    CLEANUP(buf_done) struct buf text = BUF_INIT(100);
    network_print(&n, &text);
    ASSERT(network_parse((struct bytes){ text.data, text.size }, &again, NULL) == 0);
    ASSERT(network_covers(&n, &again) && network_covers(&again, &n) &&
           network_has(&n, &again.address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    struct bytes input = { data, size };
    check_url(input);
    check_parts(input);
    check_address(input);
    return 0;
}
