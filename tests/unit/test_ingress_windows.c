/* SPDX-License-Identifier: Apache-2.0 */
/* As test_ingress_proxy.c: how much of bodies is under way, what is held for clients that stop to read, and
 * for those that say nothing. */
#include "ingress/internal.h"
#include "tests/unit/front_fixture.h"

#ifdef __SANITIZE_ADDRESS__
#define MEASURES_MEMORY 0 /* freed memory stays, for a while, and each block has a red zone */
#else
#define MEASURES_MEMORY 1
#endif

/* Kilobytes of memory that are the room's own: the link is another's, too. */
static long resident_kb(const struct fixture *f)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", f->room.pid);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtol(line + 8, NULL, 10);
    fclose(file);
    return kb;
}

/* So many bytes of an answer. */
static void read_bytes(int fd, size_t size)
{
    while (size > 0) {
        ssize_t n = recv(fd, client_text, MIN(size, sizeof client_text), 0);
        CHECK(n > 0);
        size -= (size_t)n;
    }
}

/* Bytes of a body, and as many that come back. */
static void tunnel_there_and_back(struct tls_client *t, int size)
{
    static const char block[65536];
    CHECK_EQ(SSL_write(t->ssl, block, size), size);
    for (int left = size; left > 0;) {
        int n = SSL_read(t->ssl, client_text, (int)MIN((size_t)left, sizeof client_text));
        CHECK(n > 0);
        left -= n;
    }
}

/* 100 MB there and back, and memory that does not follow. */
TEST(large_bodies_go_both_ways)
{
    struct fixture f;
    struct tls_client t;
    struct h2_client h;
    front_open(&f);
    CHECK_EQ(tunnel_open(&f, &t, "a.example:443", "a.example"), 0);
    tunnel_send(&t, "POST /echo HTTP/1.0\r\nHost: a.example\r\nContent-Length: 104857600\r\n\r\n");
    CHECK_EQ(tunnel_read(&t, "\r\n\r\n"), 0);
    long before = resident_kb(&f);
    for (int i = 0; i < 1600; i++)
        tunnel_there_and_back(&t, 65536);
    CHECK(!MEASURES_MEMORY || resident_kb(&f) < before + 4096);
    tunnel_close(&t);
    int fd = client_open(&f);
    tunnel_ask(fd, "a.example:443");
    CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
    CHECK_EQ(tunnel_hello(&t, fd, "a.example", TLS1_3_VERSION, "\x02h2"), 0);
    h2_open(&h, &t);
    before = resident_kb(&f);
    CHECK_HAS(h2_ask(&h, "POST", "https", "a.example", "/echo", 60000), ":status: 200\n");
    for (int i = 0; i < 500; i++) {
        CHECK(h2_ask(&h, "POST", "https", "a.example", "/echo", 60000) != NULL);
        CHECK_EQ(h.received, 60000);
    }
    CHECK(!MEASURES_MEMORY || resident_kb(&f) < before + 4096);
    h2_close(&h);
    tunnel_close(&t);
    front_close(&f);
}

/* Until so many answers have wider windows, while their clients read on: a client is given one when it is seen to have
 * taken all that there was. */
static void await_wide(struct fixture *f, const int *fds, int count, const char *wide)
{
    const char *ask = "GET http://b.example/wide HTTP/1.1\r\nHost: b.example\r\n" AUTH
                      "Connection: close\r\n\r\n";
    for (int i = 0; i < 100 && !strstr(client_ask(f, ask), wide); i++)
        for (int k = 0; k < count; k++)
            read_bytes(fds[k], 64u << 10);
    CHECK_HAS(client_ask(f, ask), wide);
}

/* A client that reads may have more of an answer under way; so few of them that those who then stop fill little. */
TEST(wide_windows_are_few)
{
    enum { CLIENTS = 40 };
    struct fixture f;
    int fds[CLIENTS];
    front_open(&f);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(&f);
        client_send(fds[i],
                    "GET http://b.example/endless HTTP/1.1\r\nHost: b.example\r\n" AUTH "\r\n");
        read_bytes(fds[i], 256u << 10);
    }
    await_wide(&f, fds, CLIENTS, "\r\n\r\n32");
    /* Who goes makes room for others. */
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    await_wide(&f, fds, 0, "\r\n\r\n00");
    fds[0] = client_open(&f);
    client_send(fds[0], "GET http://b.example/endless HTTP/1.1\r\nHost: b.example\r\n" AUTH "\r\n");
    read_bytes(fds[0], 256u << 10);
    await_wide(&f, fds, 1, "\r\n\r\n01");
    close(fds[0]);
    front_close(&f);
}

/* An origin that sends byte by byte, each its own chunk of six, to a client that stops to read: it waits, and nothing is cut. */
TEST(a_wide_window_of_single_bytes)
{
    struct fixture f;
    front_open(&f);
    int fd = client_open(&f);
    client_send(fd, "GET http://b.example/drips HTTP/1.1\r\nHost: b.example\r\n" AUTH "\r\n");
    read_bytes(fd, 1u << 20);
    for (unsigned long before = 0, sent = 1; before != sent;) {
        const char *answer =
            client_ask(&f, "GET http://b.example/sent HTTP/1.1\r\nHost: b.example\r\n" AUTH
                           "Connection: close\r\n\r\n");
        before = sent;
        sent = strtoul(strstr(answer, "\r\n\r\n") + 4, NULL, 10);
    }
    fixture_await(&f, INGRESS_COUNT_connections, 1);
    read_bytes(fd, 1u << 20);
    close(fd);
    front_close(&f);
}

TEST(idle_tunnels_are_small)
{
    enum { TUNNELS = 400 };
    static struct tls_client t[TUNNELS];
    struct fixture f;
    front_open(&f);
    long before = 0;
    for (int i = 0; i < TUNNELS; i++) {
        CHECK_EQ(tunnel_open(&f, &t[i], "a.example:443", "a.example"), 0);
        tunnel_send(&t[i], GET("/hello"));
        CHECK_EQ(tunnel_read(&t[i], "hello"), 0);
        if (i == 99)
            before = resident_kb(&f);
    }
    long each = (resident_kb(&f) - before) * 1024 / (TUNNELS - 100);
    printf("# an idle tunnel takes %ld bytes\n", each);
    CHECK(!MEASURES_MEMORY || each < 32768);
    for (int i = 0; i < TUNNELS; i++)
        tunnel_close(&t[i]);
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    front_close(&f);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_INGRESS] = ingress_room_main };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
