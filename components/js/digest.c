/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1, SHA-256, SHA-384 and SHA-512 (FIPS 180-4) for crypto.subtle.digest and node:crypto. Whole messages only: Web Crypto has no
 * other form. */
#include <string.h>

#include "host.h"

static const uint64_t k512[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static uint32_t rol(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}
static uint32_t ror(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}
static uint64_t ror64(uint64_t x, int n)
{
    return x >> n | x << (64 - n);
}
static uint64_t big(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void sha1_block(uint64_t *h, const uint8_t *p)
{
    uint32_t w[80], a = (uint32_t)h[0], b = (uint32_t)h[1], c = (uint32_t)h[2], d = (uint32_t)h[3],
                    e = (uint32_t)h[4];
    for (int i = 0; i < 80; i++)
        w[i] = i < 16 ? (uint32_t)big(p + 4 * i, 4)
                      : rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t t = rol(a, 5) + f + e + w[i];
        e = d, d = c, c = rol(b, 30), b = a, a = t;
    }
    h[0] = (uint32_t)(h[0] + a), h[1] = (uint32_t)(h[1] + b), h[2] = (uint32_t)(h[2] + c);
    h[3] = (uint32_t)(h[3] + d), h[4] = (uint32_t)(h[4] + e);
}

static void sha256_block(uint64_t *h, const uint8_t *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 64; i++) {
        if (i < 16) {
            w[i] = (uint32_t)big(p + 4 * i, 4);
            continue;
        }
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) + w[i - 7] +
               (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
    }
    for (int i = 0; i < 8; i++)
        s[i] = (uint32_t)h[i];
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4]; /* the constants are the upper halves of SHA-512's */
        uint32_t t1 = s[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & s[5]) ^ (~e & s[6])) +
                      (uint32_t)(k512[i] >> 32) + w[i];
        uint32_t t2 =
            (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] = (uint32_t)(h[i] + s[i]);
}

static void sha512_block(uint64_t *h, const uint8_t *p)
{
    uint64_t w[80], s[8];
    for (int i = 0; i < 80; i++) {
        if (i < 16) {
            w[i] = big(p + 8 * i, 8);
            continue;
        }
        uint64_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (ror64(x, 1) ^ ror64(x, 8) ^ x >> 7) + w[i - 7] +
               (ror64(y, 19) ^ ror64(y, 61) ^ y >> 6);
    }
    memcpy(s, h, sizeof(s));
    for (int i = 0; i < 80; i++) {
        uint64_t a = s[0], e = s[4];
        uint64_t t1 = s[7] + (ror64(e, 14) ^ ror64(e, 18) ^ ror64(e, 41)) +
                      ((e & s[5]) ^ (~e & s[6])) + k512[i] + w[i];
        uint64_t t2 = (ror64(a, 28) ^ ror64(a, 34) ^ ror64(a, 39)) +
                      ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

struct algorithm {
    void (*block)(uint64_t *, const uint8_t *);
    uint8_t block_size, word, size;
    uint64_t start[8];
};

static const struct algorithm algorithms[] = {
    { sha1_block, 64, 4, 20, { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 } },
    { sha256_block,
      64,
      4,
      32,
      { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
        0x5be0cd19 } },
    { sha512_block,
      128,
      8,
      48,
      { 0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
        0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4 } },
    { sha512_block,
      128,
      8,
      64,
      { 0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
        0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179 } },
};

/* digest(index of algorithms, bytes) */
static JSValue digest(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    uint32_t index;
    struct input in;
    if (JS_ToUint32(ctx, &index, argv[0]) < 0 || input_get(ctx, argv[1], &in) < 0)
        return JS_EXCEPTION;
    const struct algorithm *a = &algorithms[index & 3];
    uint8_t last[256] = { 0 }, out[64];
    uint64_t h[8];
    memcpy(h, a->start, sizeof(h));
    size_t whole = in.size - in.size % a->block_size, rest = in.size - whole;
    for (size_t at = 0; at < whole; at += a->block_size)
        a->block(h, in.data + at);
    if (rest > 0)
        memcpy(last, in.data + whole, rest);
    last[rest] = 0x80;
    size_t end = rest + 1 + 2 * a->word <= a->block_size ? a->block_size : 2u * a->block_size;
    uint64_t bits = (uint64_t)in.size * 8;
    for (int i = 0; i < 8; i++)
        last[end - 1 - i] = (uint8_t)(bits >> 8 * i);
    for (size_t at = 0; at < end; at += a->block_size)
        a->block(h, last + at);
    input_done(ctx, &in);
    for (int i = 0; i < a->size; i++)
        out[i] = (uint8_t)(h[i / a->word] >> 8 * (a->word - 1 - i % a->word));
    return JS_NewUint8ArrayCopy(ctx, out, a->size);
}

int digest_install(JSContext *ctx, JSValue native)
{
    return JS_DefinePropertyValueStr(ctx, native, "digest",
                                     JS_NewCFunction(ctx, digest, "digest", 2), JS_PROP_C_W_E);
}
