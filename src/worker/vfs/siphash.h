/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 (Aumasson, Bernstein): a keyed hash that a guest cannot steer. For identities and for
 * tables of guest names. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash_key {
    uint64_t k[2];
};

#define SIPHASH_ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void siphash_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = SIPHASH_ROTATE(v[1], 13) ^ v[0], v[0] = SIPHASH_ROTATE(v[0], 32);
    v[2] += v[3], v[3] = SIPHASH_ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = SIPHASH_ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = SIPHASH_ROTATE(v[1], 17) ^ v[2], v[2] = SIPHASH_ROTATE(v[2], 32);
}

static inline uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t v[4] = { key->k[0] ^ 0x736f6d6570736575, key->k[1] ^ 0x646f72616e646f6d,
                      key->k[0] ^ 0x6c7967656e657261, key->k[1] ^ 0x7465646279746573 };
    uint64_t last = (uint64_t)size << 56, word;
    size_t left = size;

    for (; left >= 8; at += 8, left -= 8) {
        memcpy(&word, at, 8);
        v[3] ^= word;
        siphash_round(v);
        siphash_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)at[i] << (8 * i);
    v[3] ^= last;
    siphash_round(v);
    siphash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        siphash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
