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
