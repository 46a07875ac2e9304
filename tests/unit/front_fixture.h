/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the front of a proxy needs beside ingress_fixture.h: a keeper that is played (a child with a
 * certificate of its own for each host), and clients that speak TLS. What the played keeper does is
 * the first label of the host.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "room/channel.h"
#include "tests/unit/ingress_fixture.h"
#include "wire/egress.h"
#include "wire/keeper.h"

#define TOKEN "token-of-this-launch-0123456789"
#define AUTH "Proxy-Authorization: Bearer " TOKEN "\r\n"
#define HOSTED(path, host) "GET " path " HTTP/1.1\r\nHost: " host "\r\n\r\n"
#define GET(path) HOSTED(path, "a.example")

struct keeper_page {
    _Atomic uint32_t asked, given, refused;
};
static struct keeper_page *keeper_page;
static pid_t keeper_pid;

/* ---- the keeper that is played ---- */

static void keeper_pair(const char *host, struct buf *certificate, struct buf *key)
{
    static EVP_PKEY *k; /* one for all, as nobody here looks at it */
    if (k == NULL)
        k = EVP_EC_gen("P-256");
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

static void front_open_without(struct fixture *f, uint32_t test_skip)
{
    fixture_defaults(f);
    f->start.test_skip = test_skip;
    f->start.flags |= INGRESS_PROXY;
    f->start.token = (char *)TOKEN;
    f->keeper = keeper_start();
    *keeper_page = (struct keeper_page){ 0 };
    fixture_open(f);
}

static void front_open(struct fixture *f)
{
    front_open_without(f, 0);
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

/* ---- HTTP/2 in a tunnel: one request at a time ---- */

struct h2_client {
    struct tls_client *tls;
    nghttp2_session *session;
    struct buf text; /* "name: value\n" of the answer, an empty line, its body */
    bool closed;
    uint32_t error;
    uint64_t left; /* bytes of a body that are to be sent */
    uint64_t received;
};

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
                        size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                        void *context)
{
    struct h2_client *h = context;
    buf_append(&h->text, name, name_size);
    buf_puts(&h->text, ": ");
    buf_append(&h->text, value, value_size);
    buf_putc(&h->text, '\n');
    return 0;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                      size_t size, void *context)
{
    struct h2_client *h = context;
    h->received += size;
    if (h->text.size < 100000)
        buf_append(&h->text, data, size);
    return 0;
}

static int h2_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *context)
{
    struct h2_client *h = context;
    h->closed = true;
    h->error = error;
    return 0;
}

static ssize_t h2_give_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct h2_client *h = context;
    size_t take = MIN((uint64_t)size, h->left);
    memset(to, 'b', take);
    h->left -= take;
    if (h->left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)take;
}

static void h2_open(struct h2_client *h, struct tls_client *t)
{
    nghttp2_session_callbacks *callbacks;
    *h = (struct h2_client){ .tls = t, .text = BUF_INIT(1u << 20) };
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_on_close);
    CHECK_EQ(nghttp2_session_client_new(&h->session, callbacks, h), 0);
    nghttp2_session_callbacks_del(callbacks);
    CHECK_EQ(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void h2_close(struct h2_client *h)
{
    nghttp2_session_del(h->session);
    buf_done(&h->text);
}

/* `more`: two further fields. Ends with the stream, or the connection (NULL). */
static const char *h2_ask(struct h2_client *h, const char *method, const char *scheme,
                          const char *authority, const char *path, uint64_t body)
{
    const char *pairs[] = { ":method",
                            method,
                            ":scheme",
                            scheme,
                            ":path",
                            path,
                            "cookie",
                            "a=1",
                            "cookie",
                            "b=2",
                            "proxy-authorization",
                            "Basic eDp5",
                            ":authority",
                            authority };
    nghttp2_nv nv[ARRAY_SIZE(pairs) / 2];
    const nghttp2_data_provider data = { .read_callback = h2_give_body };
    static uint8_t bytes[65536];
    size_t order[] = { 0, 1, 2, 6, 3, 4, 5 };
    for (size_t i = 0; i < ARRAY_SIZE(nv); i++) {
        const char *const *pair = &pairs[2 * order[i]];
        nv[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)pair[0], (uint8_t *)(uintptr_t)pair[1],
                              strlen(pair[0]), strlen(pair[1]), NGHTTP2_NV_FLAG_NONE };
    }
    buf_clear(&h->text);
    h->closed = false;
    h->error = 0;
    h->received = 0;
    h->left = body;
    CHECK(nghttp2_submit_request(h->session, NULL, nv, ARRAY_SIZE(nv), body ? &data : NULL, NULL) >
          0);
    while (!h->closed) {
        const uint8_t *out;
        ssize_t n = nghttp2_session_mem_send(h->session, &out);
        CHECK(n >= 0);
        if (n > 0) {
            CHECK_EQ(SSL_write(h->tls->ssl, out, (int)n), n);
            /* While much is sent much comes back. */
            if (body < 100000 || SSL_pending(h->tls->ssl) == 0)
                continue;
        }
        n = SSL_read(h->tls->ssl, bytes, sizeof bytes);
        if (n <= 0)
            return NULL;
        CHECK_EQ(nghttp2_session_mem_recv(h->session, bytes, (size_t)n), n);
    }
    return buf_cstr(&h->text);
}
