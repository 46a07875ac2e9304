/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 by OpenSSL's own compression function, called directly and not through EVP: the first EVP
 * call of a process sets up providers, which costs more than everything a cold `ambit run` hashes,
 * and an algorithm that is fixed by a format needs no provider to choose it. HMAC is RFC 2104 over
 * it.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/mem.h"

#define READ_CHUNK (256u << 10)
#define HMAC_BLOCK 64

_Static_assert(DIGEST_SIZE == SHA256_DIGEST_LENGTH, "SHA-256");

int digest_bytes(const void *bytes, size_t size, struct digest *ret, struct error *e)
{
    SHA256_CTX context;
    struct digest out;
    if (!SHA256_Init(&context) || !SHA256_Update(&context, bytes, size) ||
        !SHA256_Final(out.bytes, &context))
        return error_set(e, -EIO, "SHA-256 failed");
    *ret = out;
    return 0;
}

static int read_at(int fd, void *into, size_t size, off_t offset, struct error *e, size_t *ret_size)
{
    ssize_t got;
    do {
        got = pread(fd, into, size, offset);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(e, errno, "cannot read what is to be hashed");
    *ret_size = (size_t)got;
    return 0;
}

int digest_fd(int fd, struct digest *ret, struct error *e)
{
    CLEANUP(mem_freep) uint8_t *chunk = mem_alloc(READ_CHUNK);
    if (!chunk)
        return error_set(e, -ENOMEM, "no memory");
    SHA256_CTX context;
    if (!SHA256_Init(&context))
        return error_set(e, -EIO, "SHA-256 failed");
    off_t offset = 0;
    for (;;) {
        size_t got = 0;
        int result = read_at(fd, chunk, READ_CHUNK, offset, e, &got);
        if (result < 0)
            return result;
        if (got == 0)
            break;
        if (!SHA256_Update(&context, chunk, got))
            return error_set(e, -EIO, "SHA-256 failed");
        offset += (off_t)got;
    }
    if (!SHA256_Final(ret->bytes, &context))
        return error_set(e, -EIO, "SHA-256 failed");
    return 0;
}

int digest_hmac(const void *key, size_t key_size, const void *bytes, size_t size,
                struct digest *ret, struct error *e)
{
    uint8_t block[HMAC_BLOCK] = { 0 }, inner_pad[HMAC_BLOCK], outer_pad[HMAC_BLOCK];
    struct digest hash = { 0 };
    SHA256_CTX context;
    int result = 0;
    if (key_size > HMAC_BLOCK) {
        result = digest_bytes(key, key_size, &hash, e);
        memcpy(block, hash.bytes, sizeof hash.bytes);
    } else if (key_size) {
        memcpy(block, key, key_size);
    }
    for (size_t i = 0; i < HMAC_BLOCK; i++) {
        inner_pad[i] = block[i] ^ 0x36;
        outer_pad[i] = block[i] ^ 0x5c;
    }
    bool ok = result == 0 && SHA256_Init(&context) &&
              SHA256_Update(&context, inner_pad, HMAC_BLOCK) &&
              SHA256_Update(&context, bytes, size) && SHA256_Final(hash.bytes, &context) &&
              SHA256_Init(&context) && SHA256_Update(&context, outer_pad, HMAC_BLOCK) &&
              SHA256_Update(&context, hash.bytes, sizeof hash.bytes) &&
              SHA256_Final(hash.bytes, &context);
    mem_wipe(block, sizeof block);
    mem_wipe(inner_pad, sizeof inner_pad);
    mem_wipe(outer_pad, sizeof outer_pad);
    mem_wipe(&context, sizeof context);
    if (result < 0)
        return result;
    if (!ok)
        return error_set(e, -EIO, "HMAC failed");
    *ret = hash;
    return 0;
}

int digest_begin(struct digest_stream *s, struct error *e)
{
    s->context = mem_alloc(sizeof(SHA256_CTX));
    if (!s->context)
        return error_set(e, -ENOMEM, "no memory");
    if (!SHA256_Init(s->context))
        return error_set(e, -EIO, "SHA-256 failed");
    return 0;
}

int digest_update(struct digest_stream *s, const void *bytes, size_t size, struct error *e)
{
    ASSERT(s->context);
    if (!SHA256_Update(s->context, bytes, size))
        return error_set(e, -EIO, "SHA-256 failed");
    return 0;
}

int digest_finish(struct digest_stream *s, struct digest *ret, struct error *e)
{
    ASSERT(s->context);
    struct digest out;
    if (!SHA256_Final(out.bytes, s->context))
        return error_set(e, -EIO, "SHA-256 failed");
    *ret = out;
    return 0;
}

void digest_done(struct digest_stream *s)
{
    mem_free(s->context);
    s->context = NULL;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    unsigned difference = 0;
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        difference |= (unsigned)(a->bytes[i] ^ b->bytes[i]);
    return difference == 0;
}

void digest_text(const struct digest *d, char ret_text[static DIGEST_TEXT_SIZE])
{
    memcpy(ret_text, "sha256:", sizeof("sha256:"));
    hex_text(d->bytes, DIGEST_SIZE, ret_text + 7);
}

int digest_parse(const char *text, struct digest *ret)
{
    if (strnlen(text, DIGEST_TEXT_SIZE) != DIGEST_TEXT_SIZE - 1 ||
        memcmp(text, "sha256:", 7) != 0 ||
        strspn(text + 7, "0123456789abcdef") != 2 * DIGEST_SIZE) /* one digest has one text */
        return -EINVAL;
    struct digest out;
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        out.bytes[i] = (uint8_t)(hex_value((uint8_t)text[7 + 2 * i]) << 4 |
                                 hex_value((uint8_t)text[8 + 2 * i]));
    }
    *ret = out;
    return 0;
}

int random_bytes(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}
