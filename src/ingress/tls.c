/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of clients, by OpenSSL: 1.2 and 1.3, the certificate and key that control read (of a proxy: a
 * leaf for each tunnel), HTTP/2 or 1.1 by ALPN. Settings are made before the jail closes, from memory alone: no configuration file, no
 * store of certificates is ever opened.
 *
 * No renegotiation, no compression, no early data (a replayed request would be a second one). The
 * room has the key: it is the one part of a user's secrets that a taken-over ingress would hold.
 *
 * Of a tunnel the first byte must be that of a TLS record, and the name in the first message (SNI; that of
 * an encrypted one is not looked at, the outer one counts) the host of CONNECT. No name at all is no
 * other name. A session is resumed only for the host and port that it was made for.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "ingress/internal.h"

struct tls_room {
    SSL_CTX *context;
    BIO_METHOD *bytes; /* of tunnels: what came ahead, then the socket */
};
struct tls {
    SSL *ssl;
    bool agreed, begun;
    enum tls_fault fault;
    uint8_t *ahead;
    size_t ahead_at, ahead_size;
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

/* ---- tunnels ---- */

enum { TLS_HANDSHAKE_RECORD = 22 };

static int tunnel_read(BIO *bio, char *to, int size)
{
    struct conn *c = BIO_get_data(bio);
    struct tls *t = c->tls;
    ssize_t n;
    BIO_clear_retry_flags(bio);
    if (t->ahead_at < t->ahead_size) {
        n = (ssize_t)MIN(t->ahead_size - t->ahead_at, (size_t)size);
        memcpy(to, t->ahead + t->ahead_at, (size_t)n);
        t->ahead_at += (size_t)n;
        if (t->ahead_at == t->ahead_size)
            mem_free(TAKE(t->ahead));
    } else if (c->emptied && !c->hung_up) {
        BIO_set_retry_read(bio);
        return -1;
    } else {
        n = read(c->fd, to, (size_t)size);
        c->emptied = n > 0 && n < size; /* see conn_read() */
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            BIO_set_retry_read(bio);
    }
#ifdef AMBIT_TEST_HOOKS
    t->begun = t->begun || c->i->start.test_skip & INGRESS_SKIP_NAME;
#endif
    if (n > 0 && !t->begun && to[0] != TLS_HANDSHAKE_RECORD) {
        t->fault = TLS_FAULT_NOT_TLS;
        return -1;
    }
    t->begun = t->begun || n > 0;
    return (int)n;
}

static int tunnel_write(BIO *bio, const char *from, int size)
{
    const struct conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = write(c->fd, from, (size_t)size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)n;
}

static long tunnel_control(BIO *bio, int what, long number, void *pointer)
{
    return what == BIO_CTRL_FLUSH;
}

/* The one host name in a server_name extension (RFC 6066 3). False: it is not well-formed. */
static bool read_name(const unsigned char *e, size_t size, struct bytes *ret)
{
    size_t list = size >= 2 ? (size_t)e[0] << 8 | e[1] : 0;
    if (size < 5 || list != size - 2 || e[2] != TLSEXT_NAMETYPE_host_name)
        return false;
    size_t name = (size_t)e[3] << 8 | e[4];
    *ret = (struct bytes){ e + 5, name };
    return name > 0 && name == size - 5;
}

static bool name_agrees(const struct front *f, struct bytes name)
{
    char canonical[URL_HOST_MAX];
    struct address address;
    bool is_address;
    struct error e = ERROR_INIT;
    if (bytes_are(name, f->host))
        return true;
    return url_host_canonical(name, false, canonical, &is_address, &address, &e) == 0 &&
           strcmp(canonical, f->host) == 0;
}

static int on_client_hello(SSL *ssl, int *alert, void *context)
{
    struct conn *c = SSL_get_app_data(ssl);
    const unsigned char *extension;
    struct bytes name;
    size_t size;
#ifdef AMBIT_TEST_HOOKS
    if (c->i->start.test_skip & INGRESS_SKIP_NAME)
        return SSL_CLIENT_HELLO_SUCCESS;
#endif
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &size) != 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    if (!read_name(extension, size, &name)) {
        *alert = SSL_AD_DECODE_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (name_agrees(c->front, name))
        return SSL_CLIENT_HELLO_SUCCESS;
    c->tls->fault = TLS_FAULT_NAME;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
}

/* ---- the room's settings ---- */

static int room_new(struct tls_room **ret, struct error *e)
{
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return failed(e, "TLS cannot be started");
    struct tls_room *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return error_set(e, -ENOMEM, "no memory for TLS");
    t->context = SSL_CTX_new(TLS_server_method());
    if (t->context == NULL) {
        tls_room_free(t);
        return failed(e, "TLS cannot be started");
    }
    SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION);
    SSL_CTX_set_options(t->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                        SSL_OP_CIPHER_SERVER_PREFERENCE |
                                        SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(t->context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(t->context, SSL_SESS_CACHE_OFF); /* tickets are enough */
    SSL_CTX_set_alpn_select_cb(t->context, choose_protocol, NULL);
    *ret = t;
    return 0;
}

int tls_room_new(const char *certificate, const char *key, struct tls_room **ret, struct error *e)
{
    int r = room_new(ret, e);
    if (r < 0)
        return r;
    r = load_chain((*ret)->context, certificate, e);
    if (r == 0)
        r = load_key((*ret)->context, key, e);
    if (r < 0)
        tls_room_free(TAKE(*ret));
    return r;
}

int tls_room_new_front(struct tls_room **ret, struct error *e)
{
    struct tls_room *t = NULL;
    int r = room_new(&t, e);
    if (r < 0)
        return r;
    t->bytes = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tunnel");
    if (t->bytes == NULL || BIO_meth_set_read(t->bytes, tunnel_read) != 1 ||
        BIO_meth_set_write(t->bytes, tunnel_write) != 1 ||
        BIO_meth_set_ctrl(t->bytes, tunnel_control) != 1) {
        tls_room_free(t);
        return failed(e, "TLS cannot be started");
    }
    SSL_CTX_set_read_ahead(t->context, 1); /* a record's head and its bytes in one read */
    SSL_CTX_set_client_hello_cb(t->context, on_client_hello, NULL);
    SSL_CTX_set_num_tickets(t->context, 1);
    *ret = t;
    return 0;
}

void tls_room_free(struct tls_room *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->context);
    BIO_meth_free(t->bytes);
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

/* The session of one destination is none of another's. */
static bool bind_sessions(SSL *ssl, const struct front *f)
{
    char name[URL_HOST_MAX + 8];
    unsigned char digest[SHA256_DIGEST_LENGTH];
    int size = snprintf(name, sizeof name, "%s:%u", f->host, f->port);
    return SHA256((const unsigned char *)name, (size_t)size, digest) != NULL &&
           SSL_set_session_id_context(ssl, digest, sizeof digest) == 1;
}

int tls_begin_front(struct conn *c, const struct leaf *leaf, struct bytes ahead)
{
    struct tls *t = c->tls = mem_zalloc(sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    t->ssl = SSL_new(c->i->tls->context);
    BIO *bio = BIO_new(c->i->tls->bytes);
    if (ahead.size > 0)
        t->ahead = mem_alloc(ahead.size);
    if (t->ssl == NULL || bio == NULL || (ahead.size > 0 && t->ahead == NULL) ||
        SSL_use_certificate(t->ssl, leaf->certificate) != 1 ||
        SSL_use_PrivateKey(t->ssl, leaf->key) != 1 || !bind_sessions(t->ssl, c->front)) {
        ERR_clear_error();
        BIO_free(bio);
        return -ENOMEM; /* the rest goes with the connection */
    }
    if (ahead.size > 0)
        memcpy(t->ahead, ahead.data, ahead.size);
    t->ahead_size = ahead.size;
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, c);
    SSL_set_accept_state(t->ssl);
    return 0;
}

enum tls_fault tls_fault(const struct conn *c)
{
    return c->tls->fault;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    mem_free(t->ahead);
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
