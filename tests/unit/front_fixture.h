/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the front of a proxy needs beside ingress_fixture.h: a keeper that is played (a child with a
 * certificate of its own for each host), and clients that speak TLS. What the played keeper does is
 * the first label of the host.
 */
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "room/channel.h"
#include "tests/unit/ingress_fixture.h"
#include "wire/egress.h"
#include "wire/keeper.h"

#define TOKEN "token-of-this-launch-0123456789"
#define AUTH "Proxy-Authorization: Bearer " TOKEN "\r\n"

struct keeper_page {
    _Atomic uint32_t asked, given, refused;
};
static struct keeper_page *keeper_page;
static pid_t keeper_pid;

/* ---- the keeper that is played ---- */

static void keeper_pair(const char *host, struct buf *certificate, struct buf *key)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    unsigned char *der = NULL;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)host, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, k);
    X509_sign(x, k, EVP_sha256());
    int size = i2d_X509(x, &der);
    buf_append(certificate, der, (size_t)size);
    OPENSSL_free(der);
    der = NULL;
    size = i2d_PrivateKey(k, &der);
    buf_append(key, der, (size_t)size);
    OPENSSL_free(der);
    X509_free(x);
    EVP_PKEY_free(k);
}

static void keeper_answer(struct channel *c, const struct frame *f)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(64u << 10);
    CLEANUP(buf_done) struct buf certificate = BUF_INIT(8192), key = BUF_INIT(8192);
    struct cursor at = cursor_of(f->payload, f->size);
    struct error e = ERROR_INIT;
    uint64_t number = cursor_u64(&at);
    char *host = cursor_string(&at);
    (void)cursor_u16(&at);
    if (f->kind != LEAF_ASK || !cursor_finished(&at))
        _exit(3);
    keeper_page->asked++;
    buf_u64(&out, number);
    uint16_t kind = LEAF_GIVEN;
    if (strncmp(host, "silent", 6) == 0)
        return;
    if (strncmp(host, "no", 2) == 0) {
        keeper_page->refused++;
        kind = LEAF_REFUSED;
        buf_u32(&out, GRANT_NO_GRANT);
        buf_string(&out, "no grant names this host");
        buf_string(&out, "- http: GET https://no.example/**");
    } else {
        keeper_page->given++;
        uint64_t life = strncmp(host, "soon", 4) == 0 ? 60 : 3600;
        keeper_pair(host, &certificate, &key);
        if (strncmp(host, "mixed", 5) == 0) {
            buf_clear(&certificate);
            buf_puts(&certificate, "not a certificate");
        }
        buf_u64(&out, clock_monotonic_ns() + life * NS_PER_S);
        buf_bytes(&out, certificate.data, certificate.size);
        buf_bytes(&out, key.data, key.size);
    }
    if (channel_send(c, kind, out.data, out.size, NULL, 0, &e) < 0)
        _exit(0);
    mem_free(host);
}

__attribute__((noreturn)) static void keeper_main(int fd)
{
    struct channel *c;
    struct error e = ERROR_INIT;
    if (channel_new(fd, &c, &e) < 0)
        _exit(1);
    for (;;) {
        struct frame f;
        int *fds;
        size_t count;
        if (channel_receive(c, true, &f, &fds, &count, &e) != 1)
            _exit(0);
        keeper_answer(c, &f);
    }
}

/* Gives the room's end. */
static int keeper_start(void)
{
    int ends[2];
    if (keeper_page == NULL)
        keeper_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    keeper_pid = fork();
    if (keeper_pid == 0) {
        close(ends[0]);
        keeper_main(ends[1]);
    }
    close(ends[1]);
    return ends[0];
}

static void keeper_stop(void)
{
    kill(keeper_pid, SIGKILL);
    waitpid(keeper_pid, NULL, 0);
}

/* ---- the room ---- */

static void front_open(struct fixture *f)
{
    fixture_defaults(f);
    f->start.flags |= INGRESS_PROXY;
    f->start.token = (char *)TOKEN;
    f->keeper = keeper_start();
    *keeper_page = (struct keeper_page){ 0 };
    fixture_open(f);
}

static void front_close(struct fixture *f)
{
    fixture_close(f);
    keeper_stop();
}

/* Control's next frame is a denial of this reason; `ret` (may be NULL) gets its text. */
__attribute__((unused)) static void front_denied(struct fixture *f, enum grant_reason reason,
                                                 const char *url)
{
    struct egress_denied d;
    struct error e = ERROR_INIT;
    struct cursor c;
    fixture_frame(f, INGRESS_DENIED, &c);
    if (egress_denied_get(&c, &d, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    CHECK_EQ(d.reason, reason);
    if (!bytes_are(d.url, url))
        test_fail(__FILE__, __LINE__, "the denial is of %.*s", (int)d.url.size, d.url.data);
}

/* ---- clients ---- */

struct tls_client {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
};

static void tunnel_ask(int fd, const char *authority)
{
    char text[1024];
    snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n" AUTH "\r\n", authority,
             authority);
    client_send(fd, text);
}

/* 0, or the alert that came, or -1. */
static int tunnel_hello(struct tls_client *t, int fd, const char *sni, int version,
                        const char *alpn)
{
    *t = (struct tls_client){ .fd = fd, .context = SSL_CTX_new(TLS_client_method()) };
    SSL_CTX_set_verify(t->context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_min_proto_version(t->context, version);
    SSL_CTX_set_max_proto_version(t->context, version);
    t->ssl = SSL_new(t->context);
    SSL_set_fd(t->ssl, fd);
    if (sni[0] != '\0')
        SSL_set_tlsext_host_name(t->ssl, sni);
    if (alpn[0] != '\0')
        SSL_set_alpn_protos(t->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    ERR_clear_error();
    if (SSL_connect(t->ssl) == 1)
        return 0;
    int reason = ERR_GET_REASON(ERR_peek_error());
    return reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
}

static void tunnel_close(struct tls_client *t)
{
    SSL_free(t->ssl);
    SSL_CTX_free(t->context);
    close(t->fd);
}

static int tunnel_open(struct fixture *f, struct tls_client *t, const char *authority,
                       const char *sni)
{
    int fd = client_open(f);
    tunnel_ask(fd, authority);
    CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
    CHECK_STR(client_text, "HTTP/1.1 200 Connection established\r\n\r\n");
    return tunnel_hello(t, fd, sni, TLS1_3_VERSION, "");
}

static void tunnel_send(struct tls_client *t, const char *text)
{
    CHECK_EQ(SSL_write(t->ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* As client_read(). */
static int tunnel_read(struct tls_client *t, const char *until)
{
    size_t size = 0;
    for (;;) {
        client_text[size] = '\0';
        if (until[0] && strstr(client_text, until))
            return 0;
        int n = SSL_read(t->ssl, client_text + size, (int)(sizeof client_text - 1 - size));
        if (n <= 0)
            return SSL_get_error(t->ssl, n) == SSL_ERROR_ZERO_RETURN ? (until[0] ? -1 : 0) : -2;
        size += (size_t)n;
    }
}
