/* SPDX-License-Identifier: Apache-2.0 */
/* src/ingress in its jail as the front of a proxy: between native clients, a played keeper and a
 * played egress. */
#include "ingress/internal.h"
#include "tests/unit/front_fixture.h"

#define WHOLE_END "\r\n0\r\n\r\n"

TEST(a_request_goes_through_a_tunnel)
{
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, "GET /head HTTP/1.1\r\nHost: A.example:443\r\nX-One: 1\r\n"
                    "Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\n"
                    "Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nConnection: upgrade\r\n\r\n");
    CHECK_EQ(tunnel_read(&t, WHOLE_END), 0);
    CHECK_HAS(client_text, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(client_text, "\r\nGET a.example secure\nx-one=1\r\n");
    /* The next one keeps the connection, and a second tunnel the leaf. */
    tunnel_send(&t, GET("/hello"));
    CHECK_EQ(tunnel_read(&t, "hello"), 0);
    tunnel_close(&t);
    CHECK_EQ(tunnel_open(&f, &t, "A.EXAMPLE.:443", ""), 0); /* no SNI: that of CONNECT */
    tunnel_send(&t, "GET https://a.example/hello HTTP/1.1\r\nHost: a.example\r\n\r\n");
    CHECK_EQ(tunnel_read(&t, "hello"), 0);
    tunnel_close(&t);
    CHECK_EQ(keeper_page->asked, 1);
    /* A port is another destination. */
    CHECK_EQ(tunnel_open(&f, &t, "a.example:8443", "a.example"), 0);
    tunnel_send(&t, HOSTED("/head", "a.example:8443"));
    CHECK_EQ(tunnel_read(&t, WHOLE_END), 0);
    CHECK_HAS(client_text, "GET a.example:8443 secure");
    tunnel_close(&t);
    CHECK_EQ(keeper_page->asked, 2);
    CHECK_EQ(tunnel_open(&f, &t, "[2001:DB8::1]:443", ""), 0);
    tunnel_send(&t, HOSTED("/head", "[2001:db8:0::1]"));
    CHECK_EQ(tunnel_read(&t, WHOLE_END), 0);
    CHECK_HAS(client_text, "GET [2001:db8::1] secure");
    tunnel_close(&t);
    front_close(&f);
}

TEST(requests_in_absolute_form)
{
    struct fixture f;
    front_open(&f);
    const char *text =
        client_ask(&f, "GET http://B.example:80/head HTTP/1.1\r\nHost: b.example\r\n" AUTH
                       "Connection: close, X-Hop\r\nX-Hop: 1\r\nX-One: 1\r\n\r\n");
    CHECK_HAS(text, "HTTP/1.1 200 OK\r\n");
    CHECK_HAS(text,
              "\r\nGET b.example\nx-one=1\r\n"); /* not secure, nothing about the connection */
    text = client_ask(&f, "GET https://b.example/ HTTP/1.1\r\nHost: b.example\r\n" AUTH "\r\n");
    CHECK_HAS(text, "HTTP/1.1 400 ");
    CHECK_HAS(text, "goes through CONNECT");
    text = client_ask(&f, "GET http://0x7f.1/ HTTP/1.1\r\nHost: 0x7f.1\r\n" AUTH "\r\n");
    CHECK_HAS(text, "HTTP/1.1 400 ");
    CHECK_HAS(text, "\"reason\": \"malformed\"");
    front_denied(&f, GRANT_MALFORMED, "https://0x7f.1/");
    /* Each request is judged by itself, by the token too. */
    text = client_ask(&f, "GET http://b.example/hello HTTP/1.1\r\nHost: b.example\r\n" AUTH "\r\n"
                          "GET http://c.example/hello HTTP/1.1\r\nHost: c.example\r\n\r\n");
    CHECK_HAS(text, "\r\n\r\nhelloHTTP/1.1 407 ");
    CHECK_EQ(keeper_page->asked, 0);
    /* A proxy speaks no HTTP/2 in the clear. */
    text = client_ask(&f, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    CHECK_HAS(text, "HTTP/1.1 505 ");
    front_close(&f);
}

TEST(without_the_token_there_is_nothing)
{
    static const char *const wrong[] = {
        "",
        "Proxy-Authorization: Bearer token-of-this-launch-0123456788\r\n",
        "Proxy-Authorization: Bearer token-of-this-launch-012345678\r\n",
        "Proxy-Authorization: Bearer " TOKEN "x\r\n",
        "Proxy-Authorization: Bearer\r\n",
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Basic !!!!\r\n",
        "Proxy-Authorization: Basic dG9rZW4tb2YtdGhpcy1sYXVuY2gtMDEyMzQ1Njc4OQ==\r\n", /* no colon */
        "Proxy-Authorization: Digest " TOKEN "\r\n",
        "Authorization: Bearer " TOKEN "\r\n",
        AUTH AUTH,
    };
    struct fixture f;
    char text[1024];
    front_open(&f);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        snprintf(text, sizeof text,
                 "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n%s\r\n", wrong[i]);
        CHECK_HAS(client_ask(&f, text), "HTTP/1.1 407 Proxy Authentication Required\r\n");
        CHECK_HAS(client_text, "proxy-authenticate: Basic realm=\"ambit\"\r\n");
        snprintf(text, sizeof text,
                 "GET http://a.example/hello HTTP/1.1\r\nHost: a.example\r\n%s\r\n", wrong[i]);
        CHECK_HAS(client_ask(&f, text), "HTTP/1.1 407 ");
    }
    CHECK_EQ(keeper_page->asked, 0);
    /* A client that answers the challenge does so on the same connection; any user is right. */
    int fd = client_open(&f);
    client_send(fd, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
    CHECK_EQ(client_read(fd, "\n}\n"), 0);
    CHECK(!strstr(client_text, "connection: close"));
    client_send(fd,
                "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: basic "
                "YW55Ym9keTp0b2tlbi1vZi10aGlzLWxhdW5jaC0wMTIzNDU2Nzg5\r\n\r\n");
    CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
    CHECK_HAS(client_text, "HTTP/1.1 200 ");
    close(fd);
    front_close(&f);
}

TEST(a_browser_is_told_what_this_is)
{
    struct fixture f;
    front_open(&f);
    const char *text = client_ask(&f, "GET / HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n");
    CHECK_HAS(text, "HTTP/1.1 400 ");
    CHECK_HAS(text, "content-type: application/problem+json\r\n");
    CHECK_HAS(text, "forward proxy of Ambit");
    /* A page of another site, or one whose name its owner let point here. */
    text = client_ask(&f, "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n"
                          "Content-Length: 4\r\n\r\nbody");
    CHECK_HAS(text, "HTTP/1.1 407 ");
    text = client_ask(&f, "GET / HTTP/1.1\r\nHost: evil.example:3128\r\n\r\n");
    CHECK_HAS(text, "HTTP/1.1 407 ");
    CHECK(!strstr(text, "forward proxy"));
    front_close(&f);
}

TEST(what_keeper_refuses_is_a_problem_document)
{
    struct fixture f;
    front_open(&f);
    for (int i = 0; i < 3; i++) {
        const char *text = client_ask(
            &f, "CONNECT no.example:443 HTTP/1.1\r\nHost: no.example:443\r\n" AUTH "\r\n");
        CHECK_HAS(text, "HTTP/1.1 403 Forbidden\r\n");
        CHECK_HAS(text, "content-type: application/problem+json\r\n");
        CHECK_HAS(text,
                  "{\n  \"type\": \"urn:ambit:problem:denied\",\n  \"title\": \"Forbidden\",\n"
                  "  \"status\": 403,\n  \"detail\": \"no grant names this host\",\n"
                  "  \"reason\": \"no-grant\",\n  \"rule\": null,\n"
                  "  \"grant\": \"- http: GET https://no.example/**\"\n}\n");
        front_denied(&f, GRANT_NO_GRANT, "https://no.example/");
    }
    CHECK_EQ(keeper_page->asked, 1); /* a refusal is believed for a while */
    struct error e = ERROR_INIT;
    CHECK_EQ(channel_send(f.room.channel, INGRESS_REGRANTED, NULL, 0, NULL, 0, &e), 0);
    client_ask(&f, "CONNECT no.example:443 HTTP/1.1\r\nHost: no.example:443\r\n" AUTH "\r\n");
    front_denied(&f, GRANT_NO_GRANT, "https://no.example/");
    for (int i = 0; i < 500 && keeper_page->asked < 2; i++) {
        client_ask(&f, "CONNECT no.example:443 HTTP/1.1\r\nHost: no.example:443\r\n" AUTH "\r\n");
        front_denied(&f, GRANT_NO_GRANT, "https://no.example/");
    }
    CHECK_EQ(keeper_page->asked, 2);
    front_close(&f);
}

TEST(connects_that_cannot_be)
{
    static const struct {
        const char *target;
        int status;
    } rows[] = {
        { "a.example", 400 },
        { "a.example:0", 400 },
        { "a.example:65536", 400 },
        { "a.example:", 400 },
        { "https://a.example/", 400 },
        { "u@a.example:443", 400 },
        { "0x7f.1:443", 400 },
        { "2130706433:443", 400 },
        { "127.1:443", 400 },
        { "[::1%25lo]:443", 400 },
        { "/", 400 },
        { "*:443", 400 },
    };
    struct fixture f;
    char text[1024], status[32];
    front_open(&f);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        snprintf(text, sizeof text, "CONNECT %s HTTP/1.0\r\n" AUTH "\r\n", rows[i].target);
        snprintf(status, sizeof status, "HTTP/1.1 %d ", rows[i].status);
        CHECK_HAS(client_ask(&f, text), status);
        CHECK_HAS(client_text, "application/problem+json");
    }
    CHECK_HAS(
        client_ask(&f, "CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n" AUTH "\r\n"),
        "HTTP/1.1 400 ");
    CHECK_HAS(client_ask(&f, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n" AUTH
                             "Content-Length: 4\r\n\r\nbody"),
              "HTTP/1.1 400 ");
    CHECK_EQ(keeper_page->asked, 0);
    front_close(&f);
}

TEST(the_name_of_tls_is_the_one_of_connect)
{
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        int fd = client_open(&f);
        tunnel_ask(fd, "a.example:443");
        CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
        CHECK_EQ(tunnel_hello(&t, fd, "b.example", version, ""), SSL_AD_UNRECOGNIZED_NAME);
        tunnel_close(&t);
        front_denied(&f, GRANT_DISAGREES, "https://a.example/");
        fd = client_open(&f);
        tunnel_ask(fd, "a.example:443");
        CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
        CHECK_EQ(tunnel_hello(&t, fd, "A.example", version, ""), 0);
        CHECK_EQ(SSL_version(t.ssl), version);
        tunnel_close(&t);
    }
    /* A literal address has no name. */
    CHECK_EQ(tunnel_open(&f, &t, "192.0.2.1:443", "a.example"), SSL_AD_UNRECOGNIZED_NAME);
    tunnel_close(&t);
    front_denied(&f, GRANT_DISAGREES, "https://192.0.2.1/");
    CHECK_EQ(tunnel_open(&f, &t, "192.0.2.1:443", ""), 0);
    tunnel_close(&t);
    front_close(&f);
}

TEST(only_tls_goes_through_a_tunnel)
{
    static const char *const texts[] = {
        "EHLO mail.example\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n" AUTH "\r\n",
        "SSH-2.0-x\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x80\x2e\x01\x03\x01",
    };
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        int fd = client_open(&f);
        tunnel_ask(fd, "a.example:25");
        CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
        client_send(fd, texts[i]);
        CHECK(client_read(fd, "x") < 0);
        CHECK_STR(client_text, "");
        close(fd);
        front_denied(&f, GRANT_NOT_OFFERED, "https://a.example:25/");
        /* At once behind CONNECT is the same. */
        char text[512];
        snprintf(text, sizeof text,
                 "CONNECT a.example:25 HTTP/1.1\r\nHost: a.example:25\r\n" AUTH "\r\n%s", texts[i]);
        client_ask(&f, text);
        CHECK(strncmp(client_text, "HTTP/1.1 200 ", 13) == 0);
        CHECK(!strstr(client_text + 13, "HTTP/"));
        front_denied(&f, GRANT_NOT_OFFERED, "https://a.example:25/");
    }
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n" AUTH "\r\n");
    CHECK_EQ(tunnel_read(&t, ""), 0);
    CHECK_HAS(client_text, "HTTP/1.1 405 ");
    tunnel_close(&t);
    front_close(&f);
}

TEST(requests_of_a_tunnel_are_for_its_host)
{
    static const char *const texts[] = {
        HOSTED("/hello", "b.example"),
        HOSTED("/hello", "a.example:80"),
        HOSTED("/hello", "a.example.evil.example"),
        HOSTED("/hello", "192.0.2.1"),
        "GET http://a.example/hello HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET https://b.example/hello HTTP/1.1\r\nHost: b.example\r\n\r\n",
    };
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        tunnel_send(&t, texts[i]);
        CHECK_EQ(tunnel_read(&t, "\n}\n"), 0);
        CHECK_HAS(client_text, "HTTP/1.1 421 Misdirected Request\r\n");
        CHECK_HAS(client_text, "\"reason\": \"hosts-disagree\"");
        struct cursor c;
        fixture_frame(&f, INGRESS_DENIED, &c);
    }
    /* Pipelined: the second is judged by itself, the third has its answer. */
    tunnel_send(&t, GET("/hello") HOSTED("/hello", "b.example") GET("/empty"));
    CHECK_EQ(tunnel_read(&t, " 204 "), 0);
    CHECK_HAS(client_text, "\r\n\r\nhelloHTTP/1.1 421 ");
    tunnel_send(&t, "GET /hello HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n");
    CHECK_EQ(tunnel_read(&t, "\n}\n"), 0);
    CHECK_HAS(client_text, "HTTP/1.1 400 ");
    tunnel_close(&t);
    front_close(&f);
}

TEST(failures_of_egress_are_problem_documents)
{
    static const struct {
        const char *path;
        const char *status, *holds;
    } rows[] = {
        { GET("/denied"), "HTTP/1.1 403 ",
          "\"detail\": \"no pattern covers \\\"/denied\\\"\\u001B[2J\",\n  \"reason\": "
          "\"no-path\",\n"
          "  \"rule\": 7,\n  \"grant\": \"- http: GET https://a/denied\"" },
        { GET("/noname"), "HTTP/1.1 502 ", "the name was not found by DNS" },
        { GET("/slow"), "HTTP/1.1 504 ", "\"status\": 504" },
        { GET("/toolarge"), "HTTP/1.1 413 ", "\"status\": 413" },
        { GET("/full"), "HTTP/1.1 503 ", "retry-after: 1\r\n" },
        { GET("/trap"), "HTTP/1.1 500 ", "\"status\": 500" },
    };
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        tunnel_send(&t, rows[i].path);
        CHECK_EQ(tunnel_read(&t, "\n}\n"), 0);
        CHECK_HAS(client_text, rows[i].status);
        CHECK_HAS(client_text, rows[i].holds);
        CHECK_HAS(client_text, "content-type: application/problem+json\r\n");
    }
    /* An answer that ends early is seen to. */
    tunnel_send(&t, GET("/late"));
    CHECK_EQ(tunnel_read(&t, ""), 0);
    CHECK_HAS(client_text, "\r\n4\r\npart\r\n");
    CHECK(!strstr(client_text, WHOLE_END));
    tunnel_close(&t);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, GET("/short"));
    CHECK_EQ(tunnel_read(&t, ""), 0);
    CHECK_HAS(client_text, "content-length: 10\r\n");
    CHECK_HAS(client_text, "\r\n\r\nhello");
    tunnel_close(&t);
    /* An egress that dies with the request; there is no other to come. */
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, GET("/never"));
    tunnel_send(&t, GET("/never"));
    fixture_await(&f, INGRESS_COUNT_requests_running, 1);
    int own[LINK_FDS], other[LINK_FDS];
    struct error e = ERROR_INIT;
    CHECK_EQ(link_make(own, other, &e), 0);
    CHECK_EQ(channel_send(f.room.channel, INGRESS_LINK, NULL, 0, own, LINK_FDS, &e), 0);
    CHECK_EQ(tunnel_read(&t, "\n}\n"), 0);
    CHECK_HAS(client_text, "HTTP/1.1 502 ");
    CHECK_HAS(client_text, "\"retryable\": true");
    tunnel_close(&t);
    for (int i = 0; i < LINK_FDS; i++) {
        close(own[i]);
        close(other[i]);
    }
    front_close(&f);
}

TEST(a_hello_in_pieces)
{
    struct fixture f;
    front_open(&f);
    /* A recorded one, by a client into memory. */
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    unsigned char hello[2048];
    SSL_set_bio(ssl, in, out);
    SSL_set_tlsext_host_name(ssl, "a.example");
    CHECK_EQ(SSL_connect(ssl), -1);
    int size = BIO_read(out, hello, sizeof hello);
    SSL_free(ssl);
    SSL_CTX_free(context);
    CHECK(size > 100);
    static const char connect[] =
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n" AUTH "\r\n";
    const int one = 1;
    for (int at = 0; at <= size; at++) {
        char text[4096];
        int fd = client_open(&f);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        memcpy(text, connect, sizeof connect - 1);
        memcpy(text + sizeof connect - 1, hello, (size_t)at);
        CHECK_EQ(send(fd, text, sizeof connect - 1 + (size_t)at, 0),
                 (ssize_t)sizeof connect - 1 + at);
        CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
        if (at < size)
            CHECK_EQ(send(fd, hello + at, (size_t)(size - at), 0), size - at);
        /* A ServerHello: a record of a handshake. */
        unsigned char answer[5] = { 0 };
        const char *end = strstr(client_text, "\r\n\r\n") + 4;
        if (end[0] != 22)
            CHECK_EQ(recv(fd, answer, sizeof answer, MSG_WAITALL), 5);
        CHECK(end[0] == 22 || answer[0] == 22);
        client_reset(fd);
    }
    front_close(&f);
}

TEST(keeper_is_asked_once_and_again_after_its_end)
{
    struct fixture f;
    int fds[20];
    front_open(&f);
    for (int i = 0; i < 20; i++) {
        fds[i] = client_open(&f);
        tunnel_ask(fds[i], "silent.example:443");
    }
    for (int i = 0; i < 500 && keeper_page->asked < 1; i++)
        usleep(10000);
    CHECK_HAS(client_ask(&f, "CONNECT no.example:1 HTTP/1.0\r\n" AUTH "\r\n"), " 403 ");
    CHECK_EQ(keeper_page->asked, 2);
    /* It ends; the next one is asked for what waits. */
    keeper_stop();
    int end = keeper_start();
    struct error e = ERROR_INIT;
    CHECK_EQ(channel_send(f.room.channel, INGRESS_KEEPER, NULL, 0, &end, 1, &e), 0);
    close(end);
    for (int i = 0; i < 500 && keeper_page->asked < 3; i++)
        usleep(10000);
    CHECK_EQ(keeper_page->asked, 3);
    CHECK_HAS(client_ask(&f, "CONNECT no.example:2 HTTP/1.0\r\n" AUTH "\r\n"), " 403 ");
    for (int i = 0; i < 20; i++)
        client_reset(fds[i]);
    front_close(&f);
}

TEST(a_keeper_that_is_silent_is_not_waited_for)
{
    struct fixture f;
    front_open(&f);
    const char *text = client_ask(&f, "CONNECT silent.example:443 HTTP/1.0\r\n" AUTH "\r\n");
    CHECK_HAS(text, "HTTP/1.1 503 ");
    CHECK_HAS(text, "\"retryable\": true");
    front_close(&f);
}

TEST(a_flood_of_hosts_is_bounded)
{
    struct fixture f;
    char text[256];
    front_open(&f);
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof text, "CONNECT no%d.example:443 HTTP/1.0\r\n" AUTH "\r\n", i);
        CHECK_HAS(client_ask(&f, text), " 403 ");
    }
    CHECK_EQ(keeper_page->asked, 3000);
    /* More at once than are asked for at once wait in line. */
    int fds[LEAVES_ASKED_MAX + 8];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = client_open(&f);
        snprintf(text, sizeof text, "silent%zu.example:443", i);
        tunnel_ask(fds[i], text);
    }
    fixture_await(&f, INGRESS_COUNT_connections, ARRAY_SIZE(fds));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        client_reset(fds[i]);
    fixture_await(&f, INGRESS_COUNT_connections, 0); /* who waits and goes is gone */
    CHECK_EQ(keeper_page->asked, 3000 + LEAVES_ASKED_MAX);
    front_close(&f);
}

TEST(the_least_used_leaf_goes_first)
{
    struct fixture f;
    char text[256];
    front_open(&f);
    for (unsigned i = 0; i <= LEAVES_MAX; i++) {
        snprintf(text, sizeof text, "CONNECT h%u.example:443 HTTP/1.0\r\n" AUTH "\r\n", i);
        CHECK_HAS(client_ask(&f, text), " 200 ");
        if (i == 10)
            client_ask(&f, "CONNECT h0.example:443 HTTP/1.0\r\n" AUTH "\r\n");
    }
    CHECK_EQ(keeper_page->asked, LEAVES_MAX + 1);
    client_ask(&f, "CONNECT h0.example:443 HTTP/1.0\r\n" AUTH "\r\n"); /* used since */
    CHECK_EQ(keeper_page->asked, LEAVES_MAX + 1);
    client_ask(&f, "CONNECT h1.example:443 HTTP/1.0\r\n" AUTH "\r\n"); /* gone */
    CHECK_EQ(keeper_page->asked, LEAVES_MAX + 2);
    /* One that ends soon is used, and not kept. */
    for (int i = 0; i < 2; i++)
        CHECK_HAS(client_ask(&f, "CONNECT soon.example:443 HTTP/1.0\r\n" AUTH "\r\n"), " 200 ");
    CHECK_EQ(keeper_page->asked, LEAVES_MAX + 4);
    front_close(&f);
}

TEST(a_session_is_no_other_hosts)
{
    static const char *const second[] = { "a.example", "b.example" };
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(tunnel_open(&f, &t, "a.example:443", ""), 0);
        tunnel_send(&t, GET("/hello"));
        CHECK_EQ(tunnel_read(&t, "hello"), 0);
        SSL_SESSION *session = SSL_get1_session(t.ssl);
        SSL_shutdown(t.ssl);
        tunnel_close(&t);
        char name[64];
        int fd = client_open(&f);
        snprintf(name, sizeof name, "%s:443", second[i]);
        tunnel_ask(fd, name);
        CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
        t = (struct tls_client){ .fd = fd, .context = SSL_CTX_new(TLS_client_method()) };
        t.ssl = SSL_new(t.context);
        SSL_set_fd(t.ssl, fd);
        SSL_set_session(t.ssl, session);
        CHECK_EQ(SSL_connect(t.ssl), 1);
        CHECK_EQ(SSL_session_reused(t.ssl), i == 0);
        SSL_SESSION_free(session);
        tunnel_close(&t);
    }
    front_close(&f);
}

TEST(websockets_are_bytes_both_ways)
{
    static const char ask[] = "GET /socket HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n"
                              "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, ask);
    CHECK_EQ(tunnel_read(&t, "\r\n\r\n"), 0);
    CHECK_HAS(client_text, "HTTP/1.1 101 Switching Protocols\r\n");
    CHECK_HAS(client_text, "connection: upgrade\r\nupgrade: websocket\r\n");
    tunnel_send(&t, "one");
    CHECK_EQ(tunnel_read(&t, "one"), 0);
    CHECK_STR(client_text, "one");
    static char much[200001];
    memset(much, 'm', sizeof much - 1);
    tunnel_send(&t, much);
    tunnel_send(&t, "end");
    CHECK_EQ(tunnel_read(&t, "mmmend"), 0);
    CHECK_EQ(strlen(client_text), sizeof much - 1 + 3);
    SSL_shutdown(t.ssl);
    shutdown(t.fd, SHUT_WR);
    CHECK_EQ(tunnel_read(&t, ""), 0);
    tunnel_close(&t);
    /* Asked for otherwise it is a request as others are. */
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, "POST /socket HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\nContent-Length: 1\r\n\r\nx");
    CHECK_EQ(tunnel_read(&t, "\r\n\r\n"), 0);
    CHECK_HAS(client_text, "HTTP/1.1 400 ");
    tunnel_close(&t);
    front_close(&f);
}

TEST(http_2_in_a_tunnel)
{
    struct fixture f;
    struct tls_client t;
    struct h2_client h;
    front_open(&f);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        int fd = client_open(&f);
        tunnel_ask(fd, "a.example:443");
        CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
        CHECK_EQ(tunnel_hello(&t, fd, "a.example", version, "\x02h2\x08http/1.1"), 0);
        const unsigned char *chosen;
        unsigned size;
        SSL_get0_alpn_selected(t.ssl, &chosen, &size);
        CHECK(size == 2 && memcmp(chosen, "h2", 2) == 0);
        h2_open(&h, &t);
        const char *text = h2_ask(&h, "GET", "https", "A.example:443", "/head", 0);
        CHECK_HAS(text, ":status: 200\n");
        CHECK_HAS(text, "GET a.example secure\ncookie=a=1; b=2"); /* and nothing for the proxy */
        CHECK(!strstr(text, "proxy-") && !strstr(text, "host="));
        static const char *const others[] = { "b.example", "a.example:80", "a.example.b" };
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
            text = h2_ask(&h, "GET", "https", others[i], "/hello", 0);
            CHECK_HAS(text, ":status: 421\n");
            CHECK_HAS(text, "\"reason\": \"hosts-disagree\"");
            CHECK_HAS(text, "content-type: application/problem+json\n");
        }
        CHECK_HAS(h2_ask(&h, "GET", "http", "a.example", "/hello", 0), ":status: 421\n");
        CHECK_HAS(h2_ask(&h, "GET", "https", "a.example", "/denied", 0), ":status: 403\n");
        CHECK_HAS(buf_cstr(&h.text), "\"grant\": \"- http: GET https://a/denied\"");
        CHECK_HAS(h2_ask(&h, "GET", "https", "a.example", "/hello", 0), "hello");
        /* An answer that is cut ends with a reset of its stream. */
        CHECK(h2_ask(&h, "GET", "https", "a.example", "/late", 0) != NULL);
        CHECK(h.error != NGHTTP2_NO_ERROR);
        CHECK(h2_ask(&h, "GET", "https", "a.example", "/short", 0) != NULL);
        CHECK(h.error != NGHTTP2_NO_ERROR);
        CHECK_HAS(h2_ask(&h, "POST", "https", "a.example", "/echo", 1000), ":status: 200\n");
        CHECK_EQ(h.received, 1000);
        h2_close(&h);
        tunnel_close(&t);
    }
    front_close(&f);
}

TEST(alpn_that_nobody_speaks)
{
    struct fixture f;
    struct tls_client t;
    front_open(&f);
    int fd = client_open(&f);
    tunnel_ask(fd, "a.example:443");
    CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
    CHECK_EQ(tunnel_hello(&t, fd, "a.example", TLS1_3_VERSION, "\x03xyz"),
             SSL_AD_NO_APPLICATION_PROTOCOL);
    tunnel_close(&t);
    fd = client_open(&f);
    tunnel_ask(fd, "a.example:443");
    CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
    CHECK_EQ(tunnel_hello(&t, fd, "a.example", TLS1_3_VERSION, "\x08http/1.1"), 0);
    tunnel_send(&t, GET("/hello"));
    CHECK_EQ(tunnel_read(&t, "hello"), 0);
    tunnel_close(&t);
    front_close(&f);
}

#ifdef AMBIT_TEST_HOOKS
/* What each defence is for: without it the same is done. */
TEST(without_its_defences)
{
    struct fixture f;
    struct tls_client t;
    front_open_without(&f, INGRESS_SKIP_TOKEN);
    CHECK_HAS(client_ask(&f, "GET http://a.example/hello HTTP/1.1\r\nHost: a.example\r\n\r\n"),
              "hello");
    front_close(&f);
    front_open_without(&f, INGRESS_SKIP_NAME);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "b.example"), 0);
    tunnel_close(&t);
    front_close(&f);
    front_open_without(&f, INGRESS_SKIP_AUTHORITY);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, HOSTED("/hello", "b.example"));
    CHECK_EQ(tunnel_read(&t, "hello"), 0);
    tunnel_close(&t);
    front_close(&f);
}
#endif

TEST(slow_clients_of_a_tunnel_lose_their_places)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.flags |= INGRESS_PROXY;
    f.start.token = (char *)TOKEN;
    f.start.client_timeout_ns = 2 * NS_PER_S;
    f.keeper = keeper_start();
    fixture_open(&f);
    int fds[] = { client_open(&f), client_open(&f), client_open(&f) };
    tunnel_ask(fds[0], "a.example:443"); /* says nothing in its tunnel */
    tunnel_ask(fds[1], "a.example:443");
    CHECK_EQ(client_read(fds[1], "\r\n\r\n"), 0);
    client_send(fds[1], "\x16\x03\x01");            /* or a piece of a hello */
    client_send(fds[2], "CONNECT a.example:443 H"); /* or of a CONNECT */
    CHECK_EQ(client_read(fds[0], ""), 0);
    CHECK_EQ(client_read(fds[1], ""), 0);
    CHECK_EQ(client_read(fds[2], ""), 0);
    CHECK_HAS(client_text, "HTTP/1.1 408 ");
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    front_close(&f);
}

TEST(nothing_secret_is_logged)
{
    struct fixture f;
    struct tls_client t;
    char log[32768];
    front_open(&f);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, GET("/never?key=SECRET"));
    fixture_await(&f, INGRESS_COUNT_requests_running, 1);
    tunnel_close(&t);
    client_ask(&f, "CONNECT no.example:443 HTTP/1.0\r\n" AUTH "\r\n");
    client_ask(
        &f, "GET http://a.example/ HTTP/1.0\r\nProxy-Authorization: Bearer wrong-SECRET\r\n\r\n");
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    front_denied(&f, GRANT_NO_GRANT, "https://no.example/");
    size_t size = 0;
    for (int i = 0; i < 200 && (size == 0 || !strstr(log, ":407")); i++) {
        ssize_t n = read(f.log[0], log + size, sizeof log - 1 - size);
        size += n > 0 ? (size_t)n : 0;
        log[size] = '\0';
        usleep(10000);
    }
    CHECK_HAS(log, "\"method\":\"CONNECT\",\"host\":\"a.example:443\",\"status\":200");
    CHECK_HAS(log, "\"host\":\"a.example\",\"target\":\"/never\"");
    CHECK_HAS(log, "\"method\":\"CONNECT\",\"host\":\"no.example:443\",\"status\":403");
    CHECK(!strstr(log, "SECRET") && !strstr(log, TOKEN));
    front_close(&f);
}

TEST(a_keeper_that_lies_ends_the_room)
{
    struct fixture f;
    front_open(&f);
    int fd = client_open(&f), status;
    struct error e = ERROR_INIT;
    tunnel_ask(fd, "mixed.example:443");
    CHECK(client_read(fd, "x") < 0);
    CHECK_EQ(room_wait(&f.room, 10000, &status, &e), 0);
    CHECK(status != 0);
    close(fd);
    room_end(&f.room);
    kill(f.worker, SIGKILL);
    waitpid(f.worker, NULL, 0);
    keeper_stop();
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_INGRESS] = ingress_room_main };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
