/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:random: the host's generator where granted, else a stream that repeats: that of the granted
 * seed, or of the empty seed when nothing is granted, which is a denial that is recorded.
 *
 * ChaCha20 is our own here (forty lines, with the RFC's vectors in the tests): initialising
 * OpenSSL's provider would be a tenth of a cold start, for every run, and would have to happen
 * before the jail closes.
 */
#include "worker/host/random.h"

#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "worker/host/host.h"

static uint32_t load32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t rotate(uint32_t v, int by)
{
    return v << by | v >> (32 - by);
}

static void quarter(uint32_t x[static 16], int a, int b, int c, int d)
{
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 7);
}

static void next_block(struct chacha *c)
{
    uint32_t x[16];
    memcpy(x, c->state, sizeof(x));
    for (int round = 0; round < 10; round++) {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 1, 5, 9, 13);
        quarter(x, 2, 6, 10, 14);
        quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15);
        quarter(x, 1, 6, 11, 12);
        quarter(x, 2, 7, 8, 13);
        quarter(x, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        store32(c->block + 4 * i, x[i] + c->state[i]);
    if (++c->state[12] == 0)
        c->state[13]++;
    c->used = 0;
}

void chacha_init(struct chacha *c, const uint8_t key[32])
{
    *c = (struct chacha){ .state = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 },
                          .used = sizeof(c->block) };
    for (int i = 0; i < 8; i++)
        c->state[4 + i] = load32(key + 4 * i);
}

void chacha_read(struct chacha *c, uint8_t *into, size_t size)
{
    while (size > 0) {
        if (c->used == sizeof(c->block))
            next_block(c);
        size_t part = MIN(size, sizeof(c->block) - c->used);
        memcpy(into, c->block + c->used, part);
        c->used += part;
        into += part;
        size -= part;
    }
}

/* SHA-256 of nothing: the key of the stream of a guest without a grant. */
static const uint8_t empty_seed_key[32] = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
};

int host_random_init(struct guest *g, struct error *e)
{
    struct guest_random *r = &g->random;
    r->decision = grant_decide_class(g->rules, GRANT_RANDOM);
    chacha_init(&r->unseeded, empty_seed_key);
    if (r->decision.reason != GRANT_ALLOWED)
        return 0;
    const struct grant *grant = grant_rules_grant(g->rules, r->decision.rule);
    r->real = grant->real;
    if (r->real)
        return 0;
    struct digest key;
    int status = digest_bytes(grant->seed, strlen(grant->seed), &key, e);
    if (status < 0)
        return status;
    chacha_init(&r->seeded, key.bytes);
    return 0;
}

void host_random_done(struct guest *g)
{
    mem_wipe(&g->random.seeded, sizeof(g->random.seeded));
}

void host_random(void *host, bool secure, uint8_t *into, size_t size)
{
    struct guest *g = host;
    struct guest_random *r = &g->random;
    struct grant_decision d = guest_gated(g, r->decision);
    if (d.reason != GRANT_ALLOWED) {
        guest_denied(g, GRANT_RANDOM, "random bytes", secure ? "random" : "insecure random", 0, d);
        chacha_read(&r->unseeded, into, size);
        return;
    }
    guest_used(g, d.rule, 0, size, 0);
    if (!r->real) {
        chacha_read(&r->seeded, into, size);
    } else if (random_bytes(into, size) < 0) {
        memset(into, 0, size);
        guest_fault(g, -EIO, "reading the system's random generator");
    }
}

int host_random_identity_key(struct guest *g, uint8_t ret_key[32])
{
    struct guest_random *r = &g->random;
    /* Not the empty seed's for a guest without a grant: with a key that everyone knows, identities
     * would tell inode numbers. */
    if (r->decision.reason != GRANT_ALLOWED || r->real)
        return random_bytes(ret_key, 32);
    /* A stream of its own: taking bytes from the guest's would show in what it reads. */
    struct chacha stream = r->seeded;
    stream.state[14] = 1;
    stream.used = sizeof(stream.block);
    chacha_read(&stream, ret_key, 32);
    return 0;
}
