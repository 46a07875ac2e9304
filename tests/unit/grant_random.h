/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random grants for property tests: small alphabets, so that patterns, paths and mounts meet often.
 * The seed is fixed and printed; AMBIT_TEST_SEED sets another.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "grant/grant.h"

static uint64_t random_state;

/* xorshift64* */
static uint32_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 32);
}

static uint32_t random_below(uint32_t n)
{
    return random_next() % n;
}

static void random_begin(const char *name, uint64_t seed)
{
    const char *other = getenv("AMBIT_TEST_SEED");
    random_state = other ? strtoull(other, NULL, 10) : seed;
    printf("# %s: seed %llu\n", name, (unsigned long long)random_state);
    random_state |= 1;
}

/* A segment of a pattern over {a, b}, with `*`, `?` and quotes. */
static void random_pattern_segment(struct buf *out)
{
    static const char *const pieces[] = { "a", "b", "*", "?", "a", "b", "\\a", "ab" };
    uint32_t count = 1 + random_below(3);
    bool star = false;
    if (random_below(4) == 0) {
        buf_puts(out, "**");
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *piece = pieces[random_below(8)];
        if (star && piece[0] == '*')
            continue; /* `**` within a name is an error */
        star = piece[0] == '*';
        buf_puts(out, piece);
    }
}

/* A pattern of up to `max` segments. Free it. */
static char *random_pattern(uint32_t max)
{
    struct buf out = BUF_INIT(256);
    uint32_t count = 1 + random_below(max);
    if (random_below(12) == 0)
        return mem_strdup(".");
    for (uint32_t i = 0; i < count; i++) {
        buf_puts(&out, i ? "/" : "");
        random_pattern_segment(&out);
    }
    return buf_take(&out);
}

/* A relative path over {a, b, c} of up to `max` segments of up to 3 letters; "" too. */
__attribute__((unused)) static void random_path(struct buf *out, uint32_t max)
{
    uint32_t count = random_below(max + 1);
    for (uint32_t i = 0; i < count; i++) {
        buf_puts(out, i ? "/" : "");
        for (uint32_t n = 1 + random_below(3); n > 0; n--)
            buf_putc(out, "aabbc"[random_below(5)]);
    }
}

static void draw_name(struct buf *out, uint32_t least)
{
    for (uint32_t n = least + random_below(5); n > 0; n--)
        buf_putc(out, "abc"[random_below(3)]);
}

/* A random path that the pattern matches; false when it came out with an empty name. */
__attribute__((unused)) static bool draw_path(const char *pattern, struct buf *out)
{
    bool whole = true;
    buf_clear(out);
    for (const char *at = strcmp(pattern, ".") == 0 ? "" : pattern; *at;) {
        size_t size = strcspn(at, "/");
        bool deep = size == 2 && at[0] == '*' && at[1] == '*';
        for (uint32_t n = deep ? random_below(4) : 0; n > 0; n--) {
            buf_puts(out, out->size ? "/" : "");
            draw_name(out, 1);
        }
        if (!deep)
            buf_puts(out, out->size ? "/" : "");
        size_t before = out->size;
        for (size_t i = 0; !deep && i < size; i++) {
            if (at[i] == '*')
                draw_name(out, 0);
            else if (at[i] == '?')
                buf_putc(out, "abc"[random_below(3)]);
            else if (at[i] != '\\')
                buf_putc(out, at[i]);
        }
        whole &= deep || out->size > before;
        at += size;
        at += *at == '/';
    }
    return whole;
}

__attribute__((unused)) static void random_fs_grant(struct grant *ret)
{
    /* Mounts inside each other, most of them the same part of the host on both sides. */
    static const char *const guests[] = { "/", "/work", "/work/a", "/work/a/b", "/tmp", "/b" };
    static const char *const hosts[] = {
        "/h", "/h/work", "/h/work/a", "/h/work/a/b", NULL, "/other"
    };
    uint32_t place = random_below(6);
    *ret = (struct grant){ .class = GRANT_FS };
    ret->fs.guest = mem_strdup(guests[place]);
    ret->fs.host = hosts[place] ? mem_strdup(hosts[place]) : NULL;
    ret->fs.backing = hosts[place] ? GRANT_BACKING_DIR : GRANT_BACKING_MEMORY;
    ret->fs.verbs = random_below(3) ? 1 + random_below(255) : random_below(2) ? FS_RO : FS_RW;
    ret->fs.path_count = 1 + random_below(3);
    ret->fs.paths = mem_array(ret->fs.path_count, sizeof(*ret->fs.paths));
    for (size_t i = 0; i < ret->fs.path_count; i++)
        ret->fs.paths[i] = random_below(4) ? random_pattern(3) : mem_strdup("**");
    ret->fs.max_bytes = random_below(6) ? GRANT_UNSET : 1024u * random_below(8);
    ret->fs.max_files = random_below(6) ? GRANT_UNSET : random_below(8);
}

static void random_pairs(struct grant *ret)
{
    ret->pairs = mem_array(1, sizeof(*ret->pairs));
    ret->pair_count = 1;
    ret->pairs[0].key = mem_printf("K%u", random_below(4));
    ret->pairs[0].value = mem_printf("v%u", random_below(2));
}

static char **random_strings(size_t *ret_count, const char *const *words, size_t word_count,
                             uint32_t max)
{
    char **all = mem_array(max + 1, sizeof(*all));
    for (uint32_t i = random_below(max + 1); i > 0; i--) {
        const char *word = words[random_below((uint32_t)word_count)];
        bool known = false;
        for (size_t k = 0; k < *ret_count; k++)
            known |= strcmp(all[k], word) == 0;
        if (!known)
            all[(*ret_count)++] = mem_strdup(word);
    }
    return all;
}

static void random_service_path(struct buf *out, bool pattern)
{
    static const char *const names[] = { "a", "b", "ab", "", "*", "**", "a*", "\\*" };
    uint32_t count = random_below(4);
    for (uint32_t i = 0; i < count; i++) {
        buf_puts(out, i ? "/" : "");
        buf_puts(out, names[random_below(pattern ? 8 : 4)]);
    }
}

/* Patterns over {a, b} with empty names, of URL paths ("/" before) or of keys. */
static char **random_service_patterns(const char *before, size_t *ret_count)
{
    char **all = mem_array(3, sizeof(*all));
    for (uint32_t i = 1 + random_below(2); i > 0; i--) {
        struct buf out = BUF_INIT(256);
        buf_puts(&out, before);
        random_service_path(&out, true);
        if (out.size == 0)
            buf_puts(&out, ".");
        all[(*ret_count)++] = buf_take(&out);
    }
    return all;
}

static uint64_t random_number(uint32_t below)
{
    return random_below(3) ? GRANT_UNSET : 1 + random_below(below);
}

static void random_rate(struct grant *ret)
{
    ret->rate_count = ret->rate_ns = GRANT_UNSET;
    if (random_below(5) == 0) {
        ret->rate_count = 1 + random_below(4);
        ret->rate_ns = random_below(2) ? UINT64_C(1000000000) : UINT64_C(60000000000);
    }
}

static const char *const random_hosts[] = { "t.test", "a.t.test", "b.a.t.test", "127.0.0.1" };

static void random_http_grant(struct grant *ret)
{
    static const char *const methods[] = { "GET", "HEAD", "POST", "PUT" };
    static const char *const headers[] = { "cookie", "x-a" };
    static const char *const networks[] = { "127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "::1" };
    *ret = (struct grant){ .class = GRANT_HTTP };
    ret->http.https = random_below(2);
    ret->http.wildcard = random_below(3) == 0;
    ret->http.host = mem_strdup(random_hosts[random_below(ret->http.wildcard ? 3 : 4)]);
    ret->http.port = ret->http.https ? 443 : 80;
    ret->http.methods =
        random_below(4) ? random_strings(&ret->http.method_count, methods, 4, 3)
                        : random_strings(&ret->http.method_count, (const char *[]){ "*" }, 1, 1);
    ret->http.paths = random_service_patterns("/", &ret->http.path_count);
    ret->http.require = mem_array(1, sizeof(*ret->http.require));
    if (random_below(3) == 0)
        ret->http.require[ret->http.require_count++] =
            (struct grant_pair){ mem_strdup("x-r"), mem_strdup(random_below(2) ? "1" : "2") };
    ret->http.set = mem_array(1, sizeof(*ret->http.set));
    if (random_below(6) == 0)
        ret->http.set[ret->http.set_count++] =
            (struct grant_pair){ mem_strdup("x-s"), mem_strdup(random_below(2) ? "1" : "2") };
    ret->http.strip = random_strings(&ret->http.strip_count, headers, 2, random_below(6) ? 0 : 2);
    ret->http.max_requests = random_number(3);
    ret->http.max_request_bytes = random_number(2);
    ret->http.max_response_bytes = ret->http.timeout_ns = GRANT_UNSET;
    ret->http.addresses = mem_array(2, sizeof(*ret->http.addresses));
    for (uint32_t i = random_below(3); i > 0; i--) {
        const char *text = networks[random_below(4)];
        if (network_parse(bytes_of(text), &ret->http.addresses[ret->http.address_count++], NULL) <
            0)
            abort();
    }
    random_rate(ret);
}

static void random_keyvalue_grant(struct grant *ret)
{
    *ret = (struct grant){ .class = GRANT_KEYVALUE };
    ret->keyvalue.bucket = mem_strdup(random_below(3) ? "b" : "");
    ret->keyvalue.verbs = 1 + random_below(KV_ALL);
    ret->keyvalue.keys = random_service_patterns("", &ret->keyvalue.key_count);
    ret->keyvalue.max_bytes = random_number(3);
    random_rate(ret);
}

/* A set of services alone. */
__attribute__((unused)) static struct grant_set *random_service_set(uint32_t max, bool http)
{
    struct grant_set *s = NULL;
    if (grant_set_new(&s, NULL) < 0)
        abort();
    for (uint32_t i = random_below(max + 1); i > 0; i--) {
        struct grant g;
        if (http)
            random_http_grant(&g);
        else
            random_keyvalue_grant(&g);
        if (grant_set_add(s, &g, NULL) < 0)
            continue;
    }
    return s;
}

__attribute__((unused)) static void random_other_grant(struct grant *ret)
{
    *ret = (struct grant){ .class = GRANT_ENV + random_below(GRANT_CLASS_COUNT - 1) };
    ret->real = random_below(2);
    switch (ret->class) {
    case GRANT_ENV:
    case GRANT_CONFIG:
        random_pairs(ret);
        break;
    case GRANT_ARGS:
        ret->args_given = random_below(2);
        if (!ret->args_given) {
            ret->args = mem_array(1, sizeof(*ret->args));
            ret->args[0] = mem_strdup("one");
            ret->arg_count = 1;
        }
        break;
    case GRANT_STDIO:
        ret->streams = 1 + random_below(7);
        break;
    case GRANT_LOG:
        ret->levels = 1 + random_below(63);
        break;
    case GRANT_CLOCK:
        ret->clock_ns = ret->real ? 0 : (int64_t)random_below(2) * 1000000000;
        break;
    case GRANT_RANDOM:
        ret->seed = ret->real ? NULL : mem_strdup(random_below(2) ? "s" : "");
        break;
    case GRANT_HTTP:
        random_http_grant(ret);
        break;
    case GRANT_KEYVALUE:
        random_keyvalue_grant(ret);
        break;
    default:
        break;
    }
}

/* A set; grants that do not agree with earlier ones are left out. */
__attribute__((unused)) static struct grant_set *random_set(uint32_t max)
{
    struct grant_set *s = NULL;
    if (grant_set_new(&s, NULL) < 0)
        abort();
    for (uint32_t i = random_below(max + 1); i > 0; i--) {
        struct grant g;
        if (random_below(4))
            random_fs_grant(&g);
        else
            random_other_grant(&g);
        if (grant_set_add(s, &g, NULL) < 0)
            continue;
    }
    if (random_below(3) == 0)
        s->limits.memory_bytes = (1 + random_below(4)) << 20;
    if (random_below(3) == 0)
        s->limits.cpu_ns = (1 + random_below(4)) * UINT64_C(1000000);
    if (random_below(3) == 0)
        s->expires_ns = (1 + random_below(4)) * UINT64_C(1000000000);
    return s;
}
