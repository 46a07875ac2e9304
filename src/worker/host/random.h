/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keystream of ChaCha20 (RFC 8439, block counter of 64 bits, nonce 0), for runs that must
 * repeat: not a source of secrets. One continuous stream of bytes: how it is cut into calls does
 * not matter.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct chacha {
    uint32_t state[16];
    uint8_t block[64];
    size_t used; /* of block; 64 = none left */
};

void chacha_init(struct chacha *c, const uint8_t key[32]);
void chacha_read(struct chacha *c, uint8_t *into, size_t size);
