/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JWT with which a GitHub App shows that it is itself (RFC 7519, signed RS256), made from a key
 * in memory. The key is decoded for each one and wiped: one is needed for each token, an hour apart.
 */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "keeper/parts.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 16384
#define BACK_S 60  /* clocks differ */
#define LIFE_S 540 /* GitHub takes ten minutes at most, from `iat` */
#define CLAIMS_MAX 1024

static int refuse_key(struct error *e, const char *what)
{
    ERR_clear_error(); /* its texts may show where in the key it stopped */
    error_set(e, -EINVAL, "%s", what);
    error_hint(e, "give the private key that GitHub made for the App, as it was downloaded: a PEM "
                  "file that begins with -----BEGIN RSA PRIVATE KEY-----");
    return -EINVAL;
}

static int no_password(char *text, int size, int writing, void *context)
{
    return -1;
}

static int read_key(struct bytes pem, EVP_PKEY **ret, struct error *e)
{
    unsigned char *der = NULL;
    char *kind = NULL;
    long size = 0;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return error_set(e, -EIO, "OpenSSL cannot be started");
    if (pem.size == 0 || pem.size > SECRET_SOURCE_MAX)
        return refuse_key(e, "the value is not a private key in PEM");
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    if (!bio)
        return error_set(e, -ENOMEM, "no memory for a key");
    /* The kind of reader that wipes what it read. */
    int ok =
        PEM_bytes_read_bio_secmem(&der, &size, &kind, PEM_STRING_EVP_PKEY, bio, no_password, NULL);
    BIO_free(bio);
    const unsigned char *at = der;
    *ret = ok == 1 ? d2i_AutoPrivateKey(NULL, &at, size) : NULL;
    OPENSSL_secure_clear_free(der, (size_t)size);
    OPENSSL_secure_free(kind);
    if (!*ret)
        return refuse_key(e, "the value is not a private key in PEM, or needs a password");
    if (EVP_PKEY_get_base_id(*ret) == EVP_PKEY_RSA && EVP_PKEY_get_bits(*ret) >= RSA_BITS_MIN &&
        EVP_PKEY_get_bits(*ret) <= RSA_BITS_MAX) {
        ERR_clear_error();
        return 0;
    }
    EVP_PKEY_free(*ret);
    *ret = NULL;
    return refuse_key(e, "the key is not an RSA key of 2048 bits or more");
}

int jwt_key_check(struct bytes pem, struct error *e)
{
    EVP_PKEY *key = NULL;
    int r = read_key(pem, &key, e);
    EVP_PKEY_free(key);
    return r;
}

static int put_claims(struct buf *out, const char *app_id, uint64_t now_s, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CLAIMS_MAX);
    CLEANUP(json_freep)
    json_t *claims = json_pack("{sIsIss}", "iat", (json_int_t)(now_s - BACK_S), "exp",
                               (json_int_t)(now_s + LIFE_S), "iss", app_id);
    if (!claims || json_line(claims, &text) < 0)
        return error_set(e, -ENOMEM, "no memory for a token of the App");
    base64url_put(out, text.data, text.size);
    return 0;
}

static int put_signature(struct buf *out, EVP_PKEY *key, struct bytes text, struct error *e)
{
    uint8_t signature[RSA_BITS_MAX / 8];
    size_t size = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(context, signature, &size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (!ok)
        return error_set(e, -EIO, "the App's token cannot be signed");
    base64url_put(out, signature, size);
    return 0;
}

int jwt_app(struct bytes pem, const char *app_id, uint64_t now_s, struct buf *out, struct error *e)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    EVP_PKEY *key = NULL;
    int r = read_key(pem, &key, e);
    if (r < 0)
        return r;
    size_t start = out->size;
    base64url_put(out, (const uint8_t *)header, strlen(header));
    buf_putc(out, '.');
    r = put_claims(out, app_id, now_s, e);
    if (r == 0 && buf_status(out) == 0) {
        struct bytes text = { out->data + start, out->size - start };
        CLEANUP(buf_done) struct buf signature = BUF_INIT(4096);
        r = put_signature(&signature, key, text, e);
        buf_putc(out, '.');
        buf_append(out, signature.data, signature.size);
        if (r == 0)
            r = buf_status(&signature);
    }
    EVP_PKEY_free(key);
    if (r == 0)
        r = buf_status(out);
    return r < 0 ? error_set(e, r, "no memory for a token of the App") : 0;
}
