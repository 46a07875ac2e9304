/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of clients, by OpenSSL: 1.2 and 1.3, the certificate and key that control read, HTTP/2 or 1.1
 * by ALPN. Settings are made before the jail closes, from memory alone: no configuration file, no
 * store of certificates is ever opened.
 *
 * No renegotiation, no compression, no early data (a replayed request would be a second one). The
 * room has the key: it is the one part of a user's secrets that a taken-over ingress would hold.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/mem.h"
#include "ingress/internal.h"

struct tls_room {
    SSL_CTX *context;
};
struct tls {
    SSL *ssl;
    bool agreed;
};

static int failed(struct error *e, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(e, -EINVAL, "%s: %s", what,
                     reason != NULL ? reason : "OpenSSL gives no reason");
}

static int load_chain(SSL_CTX *context, const char *text, struct error *e)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *own = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    bool good = own != NULL && SSL_CTX_use_certificate(context, own) == 1;
    X509 *next;
    while (good && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        good = SSL_CTX_add0_chain_cert(context, next) == 1;
        if (!good)
            X509_free(next);
    }
    X509_free(own);
    BIO_free(bio);
    if (!good)
        return failed(e, "the certificate cannot be used");
    ERR_clear_error(); /* "no start line": the end of the chain */
    return 0;
}

/* A key with a password is refused: there is nobody to ask. */
static int no_password(char *text, int size, int writing, void *context)
{
    return -1;
}

static int load_key(SSL_CTX *context, const char *text, struct error *e)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    bool good = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1 &&
                SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return good ? 0 : failed(e, "the key cannot be used");
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_size,
                           const unsigned char *offered, unsigned size, void *context)
{
    static const unsigned char known[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_size, known, sizeof known - 1, offered, size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int tls_room_new(const char *certificate, const char *key, struct tls_room **ret, struct error *e)
{
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return failed(e, "TLS cannot be started");
    struct tls_room *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return error_set(e, -ENOMEM, "no memory for TLS");
    t->context = SSL_CTX_new(TLS_server_method());
    int r = t->context == NULL ? failed(e, "TLS cannot be started") : 0;
    if (r == 0) {
        SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION);
        SSL_CTX_set_options(t->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                            SSL_OP_CIPHER_SERVER_PREFERENCE |
                                            SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_mode(t->context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_session_cache_mode(t->context, SSL_SESS_CACHE_OFF); /* tickets are enough */
        SSL_CTX_set_alpn_select_cb(t->context, choose_protocol, NULL);
        r = load_chain(t->context, certificate, e);
    }
    if (r == 0)
        r = load_key(t->context, key, e);
    if (r < 0) {
        tls_room_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void tls_room_free(struct tls_room *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->context);
    mem_free(t);
}

int tls_begin(struct conn *c)
{
    struct tls *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    t->ssl = SSL_new(c->i->tls->context);
    if (t->ssl == NULL || SSL_set_fd(t->ssl, c->fd) != 1) {
        tls_free(t);
        return -ENOMEM;
    }
    SSL_set_accept_state(t->ssl);
    c->tls = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    mem_free(t);
}

/* OpenSSL's answer in the terms of read(2). An edge is used up when either direction is wanted. */
static ssize_t result_of(struct conn *c, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(c->tls->ssl, n);
    ERR_clear_error();
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

ssize_t tls_read(struct conn *c, uint8_t *bytes, size_t size)
{
    return result_of(c, SSL_read(c->tls->ssl, bytes, (int)MIN(size, (size_t)1 << 20)));
}

ssize_t tls_write(struct conn *c, const uint8_t *bytes, size_t size)
{
    ssize_t n = result_of(c, SSL_write(c->tls->ssl, bytes, (int)MIN(size, (size_t)1 << 20)));
    if (n == 0) {
        errno = EPIPE;
        return -1;
    }
    return n;
}

void tls_shut(struct conn *c)
{
    (void)SSL_shutdown(c->tls->ssl);
    ERR_clear_error();
}

enum protocol tls_protocol(struct conn *c)
{
    const unsigned char *chosen;
    unsigned size;
    if (!c->tls->agreed) {
        ssize_t n = result_of(c, SSL_do_handshake(c->tls->ssl));
        if (n <= 0) {
            c->failed = n == 0 || errno != EAGAIN;
            return PROTOCOL_NONE;
        }
        c->tls->agreed = true;
    }
    SSL_get0_alpn_selected(c->tls->ssl, &chosen, &size);
    return size == 2 && memcmp(chosen, "h2", 2) == 0 ? PROTOCOL_H2 : PROTOCOL_H1;
}
