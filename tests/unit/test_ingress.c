/* SPDX-License-Identifier: Apache-2.0 */
/* src/ingress in its jail: HTTP/1 between raw clients and a worker that is played. */
#include "ingress/internal.h"
#include "tests/unit/ingress_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_LAST(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

TEST(answers_and_keeps_the_connection)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = client_open(&f);
    for (int i = 0; i < 3; i++) {
        client_send(fd, GET("/hello"));
        CHECK_EQ(client_read(fd, "\r\n\r\nhello"), 0);
        CHECK_HAS(client_text, "HTTP/1.1 200 OK\r\n");
        CHECK_HAS(client_text, "content-length: 5\r\n");
        CHECK_HAS(client_text, "x-worker: played\r\n");
        CHECK_HAS(client_text, "date: ");
        CHECK(!strstr(client_text, "connection:") && !strstr(client_text, "erver:"));
    }
    client_send(fd, GET("/chunks"));
    CHECK_EQ(client_read(fd, "x-trailer: yes\r\n\r\n"), 0);
    CHECK_HAS(client_text, "\r\n3\r\none\r\n5\r\nthree\r\n0\r\n");
    client_send(fd, GET("/empty"));
    CHECK_EQ(client_read(fd, "\r\n\r\n"), 0);
    CHECK(!strstr(client_text, "content-length") && !strstr(client_text, "transfer-encoding"));
    client_send(fd, "HEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n" GET_LAST("/hello"));
    CHECK_EQ(client_read(fd, ""), 0);
    CHECK(!strstr(client_text, "three"));
    CHECK_HAS(client_text, "connection: close\r\n\r\nhello");
    close(fd);
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_connections_total), 1);
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_requests_total), 7);
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    fixture_close(&f);
}

TEST(answers_pipelined_requests_in_order)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = client_open(&f);
    client_send(fd, GET("/chunks") GET("/hello") GET("/trap") GET("/empty") GET_LAST("/hello"));
    CHECK_EQ(client_read(fd, ""), 0);
    static const char *const order[] = { "three", "\r\n\r\nhello", " 500 ", " 204 ", "hello" };
    const char *at = client_text;
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        at = strstr(at, order[i]);
        CHECK(at != NULL);
        at += strlen(order[i]);
    }
    close(fd);
    fixture_close(&f);
}

TEST(requests_of_http_1_0)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    const char *text = client_ask(&f, "GET /chunks HTTP/1.0\r\n\r\n");
    CHECK_HAS(text, "connection: close\r\n");
    CHECK_HAS(text, "\r\n\r\nonethree");
    CHECK(!strstr(text, "chunked"));
    text = client_ask(&f, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK_HAS(text, "connection: keep-alive\r\n");
    text = client_ask(&f, "GET /head HTTP/1.0\r\n\r\n");
    CHECK_HAS(text, "\r\n\r\nGET localhost");
    fixture_close(&f);
}

TEST(passes_fields_and_keeps_those_of_the_connection)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    const char *text = client_ask(
        &f,
        "GET /head HTTP/1.1\r\nHost: h:1\r\nX-One: 1\r\nConnection: X-Hop, close\r\nX-Hop: 2\r\n"
        "TE: trailers\r\nUpgrade: h2c\r\n\r\n");
    CHECK_HAS(text, "GET h:1\n");
    CHECK_HAS(text, "\nx-one=1");
    CHECK(!strstr(text, "x-hop") && !strstr(text, "te=") && !strstr(text, "upgrade"));
    text = client_ask(&f, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    CHECK_HAS(text, "OPTIONS a\n");
    text = client_ask(&f, "GET http://other/head HTTP/1.1\r\nHost: other\r\n\r\n");
    CHECK_HAS(text, "GET other\n");
    text = client_ask(&f, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    CHECK_HAS(text, "HTTP/1.1 501 ");
    fixture_close(&f);
}

TEST(bodies_go_both_ways_and_windows_hold)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    const char *text = client_ask(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                                      "Connection: close\r\n\r\nbody");
    CHECK_HAS(text, "\r\n4\r\nbody\r\n0\r\n\r\n");
    text = client_ask(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                          "Connection: close\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n");
    CHECK_HAS(text, "\r\n3\r\nabc\r\n0\r\n\r\n");
    text = client_ask(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                          "Connection: close\r\n\r\n0\r\n\r\n");
    CHECK_HAS(text, "\r\n\r\n0\r\n\r\n");
    /* 8 MiB from a client of its own, read back here. */
    int fd = client_open(&f);
    client_send(fd, "POST /echo HTTP/1.0\r\nContent-Length: 8388608\r\n\r\n");
    pid_t writer = fork();
    if (writer == 0) {
        static uint8_t block[65536];
        for (int i = 0; i < 128; i++)
            for (size_t done = 0; done < sizeof block;) {
                ssize_t n = send(fd, block + done, sizeof block - done, MSG_NOSIGNAL);
                if (n <= 0)
                    _exit(1);
                done += (size_t)n;
            }
        _exit(0);
    }
    uint64_t came = 0;
    ssize_t n;
    while ((n = recv(fd, client_text, sizeof client_text, 0)) > 0)
        came += (uint64_t)n;
    waitpid(writer, NULL, 0);
    CHECK(came > 8388608 && came < 8388608 + 500);
    close(fd);
    fixture_close(&f);
}

TEST(a_client_that_does_not_read_stops_the_worker)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = client_open(&f);
    client_send(fd, GET("/endless"));
    uint64_t sent = 0, before = 1;
    for (int i = 0; i < 100 && (sent == 0 || sent != before); i++) { /* until no more goes */
        before = sent;
        usleep(300000);
        sent = fixture_count(&f, INGRESS_COUNT_sent_bytes_total);
    }
    CHECK(sent > 0 && sent < (16u << 20)); /* what two socket buffers and one window take */
    CHECK_EQ(sent, before);
    CHECK_HAS(client_ask(&f, GET_LAST("/hello")), "hello");
    close(fd);
    fixture_await(&f, INGRESS_COUNT_requests_running, 0);
    fixture_close(&f);
}

TEST(tells_the_client_to_continue_when_the_guest_reads)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = client_open(&f);
    client_send(fd,
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
                "\r\n");
    CHECK_EQ(client_read(fd, "HTTP/1.1 100 Continue\r\n\r\n"), 0);
    client_send(fd, "ok");
    CHECK_EQ(client_read(fd, "2\r\nok\r\n0\r\n\r\n"), 0);
    client_send(fd, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                    "Expect: 100-continue\r\n\r\n");
    CHECK_EQ(client_read(fd, ""), 0);
    CHECK(!strstr(client_text, " 100 "));
    CHECK_HAS(client_text, "HTTP/1.1 403 ");
    CHECK_HAS(client_text, "connection: close\r\n");
    close(fd);
    fixture_close(&f);
}

TEST(what_a_guest_does_wrong_is_seen)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    CHECK_HAS(client_ask(&f, GET_LAST("/trap")), "HTTP/1.1 500 ");
    CHECK_HAS(client_ask(&f, GET_LAST("/slow")), "HTTP/1.1 504 ");
    const char *text = client_ask(&f, GET_LAST("/full"));
    CHECK_HAS(text, "HTTP/1.1 503 ");
    CHECK_HAS(text, "retry-after: 1\r\n");
    text = client_ask(&f, GET_LAST("/late"));
    CHECK_HAS(text, "\r\n4\r\npart\r\n");
    CHECK(!strstr(text, "\r\n0\r\n"));
    text = client_ask(&f, "GET /late HTTP/1.0\r\n\r\n");
    CHECK_HAS(text, "RESET");
    text = client_ask(&f, GET_LAST("/short"));
    CHECK_HAS(text, "content-length: 10\r\n");
    CHECK_HAS(text, "\r\n\r\nhello");
    CHECK_HAS(client_ask(&f, GET_LAST("/long")), "RESET");
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_requests_cut_total), 4);
    fixture_close(&f);
}

static void check_broken(const char *path)
{
    struct fixture f;
    struct cursor c;
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf request = BUF_INIT(256);
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = client_open(&f), other = client_open(&f);
    client_send(other, GET("/never"));
    fixture_await(&f, INGRESS_COUNT_requests_running, 1);
    buf_printf(&request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    client_send(fd, buf_cstr(&request));
    fixture_frame(&f, INGRESS_BROKEN, &c);
    CHECK_EQ(client_read(other, "\r\n\r\n502 "), 0);
    /* New requests wait for a new worker. */
    int third = client_open(&f);
    client_send(third, GET("/hello"));
    fixture_await(&f, INGRESS_COUNT_requests_waiting, 1);
    int own[LINK_FDS], theirs[LINK_FDS];
    CHECK_EQ(link_make(own, theirs, &e), 0);
    CHECK_EQ(channel_send(f.room.channel, INGRESS_LINK, NULL, 0, own, LINK_FDS, &e), 0);
    for (int i = 0; i < LINK_FDS; i++)
        close(own[i]);
    kill(f.worker, SIGKILL);
    waitpid(f.worker, NULL, 0);
    f.worker = played_start(theirs);
    CHECK_EQ(client_read(third, "\r\n\r\nhello"), 0);
    close(fd);
    close(other);
    close(third);
    fixture_close(&f);
}

TEST(a_worker_that_breaks_the_protocol_loses_its_link)
{
    check_broken("/twice");
    check_broken("/flood");
}

TEST(nothing_waits_without_a_bound)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.concurrency = 1;
    f.start.queue = 2;
    fixture_open(&f);
    int fds[4];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(&f);
        client_send(fds[i], GET("/never"));
        fixture_await(&f, INGRESS_COUNT_requests_total, (uint64_t)i + 1);
    }
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_requests_running), 1);
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_requests_waiting), 2);
    fds[3] = client_open(&f);
    client_send(fds[3], GET("/hello"));
    CHECK_EQ(client_read(fds[3], "retry-after: 1\r\n"), 0);
    CHECK_HAS(client_text, "HTTP/1.1 503 ");
    client_reset(fds[0]); /* who leaves makes room */
    fixture_await(&f, INGRESS_COUNT_requests_waiting, 1);
    client_reset(fds[1]);
    client_reset(fds[2]);
    fixture_await(&f, INGRESS_COUNT_requests_running, 0);
    client_send(fds[3], GET("/hello"));
    CHECK_EQ(client_read(fds[3], "\r\n\r\nhello"), 0);
    close(fds[3]);
    fixture_close(&f);
}

TEST(malformed_requests_are_refused_once)
{
    static const struct {
        const char *text, *status;
    } rows[] = {
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          "400" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "400" },
        { "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400" },
        { "GET / HTTP/1.1\nHost: a\n\n", "400" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", "400" },
        { "GET / HTTP/1.1\r\n\r\n", "400" },
        { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505" },
        { "\x16\x03\x01\x02 hello tls\r\n\r\n", "400" },
    };
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096), status = BUF_INIT(64);
        buf_printf(&text, "%s" GET("/hello"), rows[i].text);
        buf_printf(&status, "HTTP/1.1 %s ", rows[i].status);
        const char *answer = client_ask(&f, buf_cstr(&text));
        if (strncmp(answer, buf_cstr(&status), status.size) != 0)
            test_fail(__FILE__, __LINE__, "row %zu: %s", i, answer);
        CHECK(!strstr(answer, "hello"));
        CHECK(!strstr(answer + 1, "HTTP/1.1"));
    }
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_requests_running), 0);
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_requests_malformed_total), ARRAY_SIZE(rows));
    fixture_close(&f);
}

TEST(slow_clients_lose_their_places)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.connections = 4;
    fixture_open(&f);
    int slow[4];
    for (int i = 0; i < 4; i++) {
        slow[i] = client_open(&f);
        client_send(slow[i], "GET / HT");
    }
    fixture_await(&f, INGRESS_COUNT_connections, 4);
    for (int i = 0; i < 8; i++)
        CHECK_HAS(client_ask(&f, GET_LAST("/hello")), "hello");
    CHECK(client_read(slow[0], "") != -3);
    for (int i = 0; i < 4; i++)
        close(slow[i]);
    fixture_close(&f);
    /* Who holds a place with a request under way keeps it: the newcomer is told. */
    fixture_defaults(&f);
    f.start.connections = 2;
    fixture_open(&f);
    for (int i = 0; i < 2; i++) {
        slow[i] = client_open(&f);
        client_send(slow[i], GET("/never"));
    }
    fixture_await(&f, INGRESS_COUNT_requests_running, 2);
    CHECK_HAS(client_ask(&f, GET_LAST("/hello")), "HTTP/1.1 503 ");
    close(slow[0]);
    close(slow[1]);
    fixture_close(&f);
}

TEST(clients_that_stall_are_cut)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.client_timeout_ns = NS_PER_S / 2;
    f.start.idle_timeout_ns = NS_PER_S;
    fixture_open(&f);
    int head = client_open(&f), body = client_open(&f), idle = client_open(&f),
        reads = client_open(&f), nothing = client_open(&f);
    client_send(head, "GET / HTTP/1.1\r\n");
    client_send(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
    client_send(idle, GET("/hello"));
    CHECK_EQ(client_read(idle, "hello"), 0);
    client_send(reads, GET("/endless"));
    CHECK_EQ(client_read(head, "HTTP/1.1 408 "), 0);
    CHECK_EQ(client_read(body, "nothing that comes"), -2);
    CHECK_EQ(client_read(idle, ""), 0);
    CHECK_EQ(client_text[0], '\0');
    CHECK_EQ(client_read(nothing, ""), 0);
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_connections_timed_out_total), 4);
    int all[] = { head, body, idle, reads, nothing };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        close(all[i]);
    fixture_close(&f);
#ifdef AMBIT_TEST_HOOKS /* the same without the clock: nobody is cut */
    fixture_defaults(&f);
    f.start.client_timeout_ns = NS_PER_S / 2;
    f.start.test_skip = INGRESS_SKIP_TIMEOUTS;
    fixture_open(&f);
    head = client_open(&f);
    client_send(head, "GET / HTTP/1.1\r\n");
    usleep(2500000);
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_connections), 1);
    close(head);
    fixture_close(&f);
#endif
}

TEST(a_client_that_trickles_is_too_slow)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.rate_min = 100;
    fixture_open(&f);
    int fd = client_open(&f);
    client_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    int sent = 0;
    while (sent < 40 && send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
        usleep(500000);
        sent++;
    }
    CHECK(sent >= 15 && sent < 40);
    close(fd);
    fixture_close(&f);
}

TEST(half_closed_clients_are_answered)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    CHECK_HAS(client_ask(&f, GET("/hello")), "hello");
    CHECK_HAS(client_ask(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"),
              "body");
    CHECK(!strstr(client_ask(&f, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody"),
                  "\r\n0\r\n"));
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    fixture_close(&f);
}

TEST(drains)
{
    struct fixture f;
    struct cursor c;
    struct error e = ERROR_INIT;
    int status;
    fixture_defaults(&f);
    fixture_open(&f);
    int idle = client_open(&f), busy = client_open(&f);
    client_send(idle, GET("/hello"));
    CHECK_EQ(client_read(idle, "hello"), 0);
    client_send(busy, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
    CHECK_EQ(client_read(busy, "bo"), 0);
    fixture_drain(&f, 20 * NS_PER_S);
    CHECK_EQ(client_read(idle, ""), 0);
    client_send(busy, "dy");
    CHECK_EQ(client_read(busy, "\r\n0\r\n\r\n"), 0);
    CHECK_EQ(client_read(busy, ""), 0);
    close(busy);
    close(idle);
    fixture_frame(&f, INGRESS_DONE, &c);
    CHECK_EQ(cursor_u64(&c), 0);
    CHECK_EQ(room_wait(&f.room, 10000, &status, &e), 0);
    CHECK_EQ(status, 0);
    room_end(&f.room);
    kill(f.worker, SIGKILL);
    waitpid(f.worker, NULL, 0);
}

TEST(logs_a_line_for_each_request)
{
    struct fixture f;
    char text[8192] = "";
    size_t size = 0;
    fixture_defaults(&f);
    fixture_open(&f);
    (void)client_ask(&f, "GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: x\"\xc3\xa9\r\n\r\n");
    (void)client_ask(
        &f, "GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: \"y\xff\"\r\nConnection: close\r\n\r\n");
    (void)client_ask(&f, "BAD\r\n\r\n");
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    for (int i = 0; i < 500 && !strstr(text, "\"why\":"); i++) {
        struct pollfd p = { .fd = f.log[0], .events = POLLIN };
        ssize_t n = poll(&p, 1, 20) == 1 ? read(f.log[0], text + size, sizeof text - 1 - size) : 0;
        size += n > 0 ? (size_t)n : 0;
        text[size] = '\0';
    }
    CHECK_HAS(text, "\"target\":\"/hello\"");
    CHECK_HAS(text, "\"agent\":\"\\\"y\\u00ff\\\"\"");
    CHECK_HAS(text, "\"status\":200,\"received\":0,\"sent\":5,");
    CHECK_HAS(text, "\"status\":400,\"why\":\"");
    fixture_close(&f);
}

/* Every pair of state and step: what is possible is listed, the rest is not. */
/* ---- HTTP/2, in frames made by hand ---- */

static void h2_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                     size_t size)
{
    uint8_t frame[512] = { 0, (uint8_t)(size >> 8),   (uint8_t)size,  type, flags, 0,
                           0, (uint8_t)(stream >> 8), (uint8_t)stream };
    memcpy(frame + 9, payload, size);
    CHECK_EQ(send(fd, frame, 9 + size, MSG_NOSIGNAL), (ssize_t)(9 + size));
}

enum { H2_DATA, H2_HEADERS, H2_RST_STREAM = 3, H2_SETTINGS, H2_GOAWAY = 7, H2_WINDOW_UPDATE };
enum { H2_END_STREAM = 1, H2_END_HEADERS = 4 };

/* With windows of `window` bytes for answers. */
static int h2_open(struct fixture *f, uint32_t window)
{
    const uint8_t settings[] = { 0,
                                 4,
                                 (uint8_t)(window >> 24),
                                 (uint8_t)(window >> 16),
                                 (uint8_t)(window >> 8),
                                 (uint8_t)window };
    int fd = client_open(f);
    client_send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    h2_frame(fd, H2_SETTINGS, 0, 0, settings, sizeof settings);
    return fd;
}

/* A request: method (2 GET, 3 POST of the static table), http, path, authority. */
static void h2_ask(int fd, uint32_t stream, uint8_t method, const char *path, const char *authority,
                   uint8_t flags)
{
    uint8_t head[256] = { 0x80 | method, 0x86, 0x04, (uint8_t)strlen(path) };
    size_t size = 4;
    memcpy(head + size, path, strlen(path));
    size += strlen(path);
    head[size++] = 0x01;
    head[size++] = (uint8_t)strlen(authority);
    memcpy(head + size, authority, strlen(authority));
    h2_frame(fd, H2_HEADERS, H2_END_HEADERS | flags, stream, head, size + strlen(authority));
}

/* The next frame of this type and stream; -1: the connection ended before. */
static ssize_t h2_await(int fd, uint8_t type, uint32_t stream, uint8_t *payload)
{
    static uint8_t skipped[1u << 16];
    for (;;) {
        uint8_t head[9];
        if (recv(fd, head, sizeof head, MSG_WAITALL) != sizeof head)
            return -1;
        size_t size = (size_t)head[1] << 8 | head[2];
        uint8_t *into = payload ? payload : skipped;
        if (size > 0 && recv(fd, into, size, MSG_WAITALL) != (ssize_t)size)
            return -1;
        if (head[3] == type && (uint32_t)(head[7] << 8 | head[8]) == stream)
            return (ssize_t)size;
    }
}

TEST(http_2_answers_and_refuses_what_http_1_refuses)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    uint8_t payload[1u << 16];
    int fd = h2_open(&f, 65535);
    h2_ask(fd, 1, 2, "/hello", "a", H2_END_STREAM);
    CHECK_EQ(h2_await(fd, H2_DATA, 1, payload), 5);
    CHECK(memcmp(payload, "hello", 5) == 0);
    static const char *const paths[] = { "/a#b", "/a\\b", "/%0g", "/%00", "/a\"", "/\xc3\xa9" };
    static const char *const hosts[] = {
        "a@b", "a:b", "a:0", "a..b", "[::1", "a/b", "127.0.0.1:70000"
    };
    uint32_t stream = 3;
    for (size_t i = 0; i < ARRAY_SIZE(paths) + ARRAY_SIZE(hosts); i++, stream += 2) {
        bool path = i < ARRAY_SIZE(paths);
        h2_ask(fd, stream, 2, path ? paths[i] : "/hello", path ? "a" : hosts[i - ARRAY_SIZE(paths)],
               H2_END_STREAM);
    }
    h2_ask(fd, stream, 2, "/head", "b:1", H2_END_STREAM);
    CHECK(h2_await(fd, H2_DATA, stream, payload) > 0);
    close(fd);
    fixture_await(&f, INGRESS_COUNT_connections, 0);
    /* Two reached the worker. */
    CHECK_EQ(fixture_count(&f, INGRESS_COUNT_responses_1xx_2xx_total), 2);
    fixture_close(&f);
}

TEST(http_2_answers_that_nobody_reads_take_no_place)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.concurrency = 2;
    f.start.queue = 0;
    fixture_open(&f);
    int fd = h2_open(&f, 0);
    h2_ask(fd, 1, 2, "/hello", "a", H2_END_STREAM);
    h2_ask(fd, 3, 2, "/hello", "a", H2_END_STREAM);
    CHECK(h2_await(fd, H2_HEADERS, 3, NULL) > 0);
    fixture_await(&f, INGRESS_COUNT_requests_running, 0);
    CHECK_HAS(client_ask(&f, GET_LAST("/hello")), "HTTP/1.1 200 ");
    const uint8_t more[] = { 0, 0, 0, 9 };
    h2_frame(fd, H2_WINDOW_UPDATE, 0, 1, more, sizeof more);
    CHECK_EQ(h2_await(fd, H2_DATA, 1, NULL), 5);
    close(fd);
    fixture_close(&f);
}

/* A client that lets us reset its streams, each with an instance begun (CVE-2025-8671). */
TEST(http_2_mistakes_are_not_free)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = h2_open(&f, 65535);
    const uint8_t more[] = { 0x7f, 0xff, 0xff, 0xff }; /* than a window can be */
    for (uint32_t stream = 1; stream < 2 * 2000; stream += 2) {
        uint8_t frames[9 + 9 + 9 + 4] = { 0,
                                          0,
                                          9,
                                          H2_HEADERS,
                                          H2_END_HEADERS,
                                          0,
                                          0,
                                          (uint8_t)(stream >> 8),
                                          (uint8_t)stream,
                                          0x82,
                                          0x86,
                                          0x04,
                                          2,
                                          '/',
                                          'x',
                                          0x01,
                                          1,
                                          'a' };
        uint8_t *update = frames + 9 + 9;
        const uint8_t head[9] = {
            0, 0, 4, H2_WINDOW_UPDATE, 0, 0, 0, (uint8_t)(stream >> 8), (uint8_t)stream
        };
        memcpy(update, head, 9);
        memcpy(update + 9, more, 4);
        if (send(fd, frames, 9 + 9 + 13, MSG_NOSIGNAL) != 9 + 9 + 13)
            break;
    }
    uint8_t payload[1u << 16];
    CHECK(h2_await(fd, H2_GOAWAY, 0, payload) >= 8);
    CHECK_EQ(payload[7], 11); /* ENHANCE_YOUR_CALM */
    CHECK(fixture_count(&f, INGRESS_COUNT_requests_total) < 300);
    close(fd);
    fixture_await(&f, INGRESS_COUNT_requests_running, 0);
    CHECK_HAS(client_ask(&f, GET_LAST("/hello")), "HTTP/1.1 200 ");
    fixture_close(&f);
}

TEST(http_2_padding_is_not_free)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    int fd = h2_open(&f, 65535);
    h2_ask(fd, 1, 3, "/never", "a", 0);
    uint8_t frames[1100 * 10], payload[1u << 16];
    for (size_t at = 0; at < sizeof frames; at += 10)
        memcpy(frames + at, "\0\0\1\0\x8\0\0\0\1\0", 10); /* DATA, padded, with nothing */
    CHECK(send(fd, frames, sizeof frames, MSG_NOSIGNAL) > 0);
    CHECK(h2_await(fd, H2_GOAWAY, 0, payload) >= 8);
    CHECK_EQ(payload[7], 11);
    close(fd);
    fixture_close(&f);
}

TEST(answers_frame_nothing_of_their_own)
{
    struct fixture f;
    fixture_defaults(&f);
    fixture_open(&f);
    CHECK(strstr(client_ask(&f, GET_LAST("/nothing")), "content-length") == NULL);
    CHECK_HAS(client_text, "HTTP/1.1 204 ");
    CHECK_HAS(client_ask(&f, GET_LAST("/framed")), "\r\n0\r\n\r\n");
    fixture_close(&f);
}

/* Clients that send as fast as they can: whole requests that are refused, and frames that nobody
 * knows. */
TEST(floods_leave_room_for_others)
{
    struct fixture f;
    fixture_defaults(&f);
    f.start.concurrency = 1;
    f.start.queue = 0;
    fixture_open(&f);
    int taken = client_open(&f);
    client_send(taken, GET("/never"));
    fixture_await(&f, INGRESS_COUNT_requests_running, 1);
    pid_t children[6];
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        children[i] = fork();
        if (children[i] != 0)
            continue;
        static uint8_t block[1u << 20], sink[1u << 16];
        int fd = i < 3 ? client_open(&f) : h2_open(&f, 65535);
        static const char one[] = "GET / HTTP/1.1\r\nHost: aaaa\r\n\r\n";
        const size_t step = i < 3 ? sizeof one - 1 : 16384, whole = sizeof block / step * step;
        for (size_t at = 0; at < whole; at += step)
            memcpy(block + at, i < 3 ? one : "\x00\x3f\xf7\xfa\x00\x00\x00\x00\x00",
                   i < 3 ? step : 9);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        for (size_t at = 0;;) {
            struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
            poll(&p, 1, 1000);
            ssize_t came = recv(fd, sink, sizeof sink, 0);
            if (came == 0 || (came < 0 && errno != EAGAIN))
                _exit(1);
            ssize_t n = send(fd, block + at, whole - at, MSG_NOSIGNAL);
            at = (at + (n > 0 ? (size_t)n : 0)) % whole;
        }
    }
    for (int i = 0; i < 5; i++) {
        usleep(100000);
        CHECK_HAS(client_ask(&f, GET_LAST("/hello")), "HTTP/1.1 503 ");
    }
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        if (i >= 3) { /* these are told to go */
            CHECK_EQ(waitpid(children[i], NULL, 0), children[i]);
            continue;
        }
        CHECK_EQ(waitpid(children[i], NULL, WNOHANG), 0);
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    close(taken);
    fixture_close(&f);
}

TEST(states_are_a_table)
{
    static const struct {
        enum h1_state from;
        enum h1_step step;
        enum h1_state to;
    } possible[] = {
        { H1_IDLE, H1_STEP_BYTES, H1_HEAD },      { H1_HEAD, H1_STEP_HEAD, H1_BODY },
        { H1_HEAD, H1_STEP_REQUEST, H1_ANSWER },  { H1_BODY, H1_STEP_BODY_END, H1_ANSWER },
        { H1_BODY, H1_STEP_ANSWERED, H1_SKIP },   { H1_ANSWER, H1_STEP_ANSWERED, H1_IDLE },
        { H1_SKIP, H1_STEP_BODY_END, H1_IDLE },   { H1_IDLE, H1_STEP_LAST, H1_LINGER },
        { H1_HEAD, H1_STEP_LAST, H1_LINGER },     { H1_BODY, H1_STEP_LAST, H1_LINGER },
        { H1_ANSWER, H1_STEP_LAST, H1_LINGER },   { H1_SKIP, H1_STEP_LAST, H1_LINGER },
        { H1_IDLE, H1_STEP_GONE, H1_CLOSED },     { H1_HEAD, H1_STEP_GONE, H1_CLOSED },
        { H1_BODY, H1_STEP_GONE, H1_CLOSED },     { H1_ANSWER, H1_STEP_GONE, H1_CLOSED },
        { H1_SKIP, H1_STEP_GONE, H1_CLOSED },     { H1_LINGER, H1_STEP_GONE, H1_CLOSED },
        { H1_ANSWER, H1_STEP_TUNNEL, H1_TUNNEL }, { H1_TUNNEL, H1_STEP_LAST, H1_LINGER },
        { H1_TUNNEL, H1_STEP_GONE, H1_CLOSED },
    };
    size_t found = 0;
    for (unsigned s = 0; s < H1_STATE_COUNT; s++) {
        CHECK(strcmp(h1_state_name(s), "none") != 0);
        for (unsigned step = 0; step < H1_STEP_COUNT; step++) {
            enum h1_state to = H1_STATE_COUNT;
            for (size_t i = 0; i < ARRAY_SIZE(possible); i++)
                if (possible[i].from == s && possible[i].step == step)
                    to = possible[i].to;
            found += to != H1_STATE_COUNT;
            CHECK_EQ(h1_next(s, step), to);
        }
    }
    CHECK_EQ(found, ARRAY_SIZE(possible));
}

static int start_goes_round(const struct ingress_start *s, struct ingress_start *ret)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(FRAME_MAX);
    struct error e = ERROR_INIT;
    int r = ingress_start_put(&text, s);
    if (r < 0)
        return r;
    struct cursor c = cursor_of(text.data, text.size);
    return ingress_start_get(&c, ret, &e);
}

TEST(starts_that_cannot_be_are_refused)
{
    struct fixture f;
    struct ingress_start s, back;
    fixture_defaults(&f);
    CHECK_EQ(start_goes_round(&f.start, &back), 0);
    CHECK_EQ(back.connections, 500);
    CHECK_STR(back.authority, "localhost");
    ingress_start_done(&back);
#define REFUSED(change)                                  \
    do {                                                 \
        s = f.start;                                     \
        change;                                          \
        CHECK_EQ(start_goes_round(&s, &back), -EBADMSG); \
    } while (0)
    REFUSED(s.index = 1);
    REFUSED(s.pairs = INGRESS_PAIRS_MAX + 1);
    REFUSED(s.connections = 0);
    REFUSED(s.connections = INGRESS_CONNECTIONS_MAX + 1);
    REFUSED(s.concurrency = 0);
    REFUSED(s.queue = INGRESS_QUEUE_MAX + 1);
    REFUSED(s.client_timeout_ns = 0);
    REFUSED(s.flags = 8);
    REFUSED(s.flags = INGRESS_TLS);
    REFUSED(s.key = (char *)"a key without TLS");
    REFUSED(s.token = (char *)"a-token-of-no-proxy");
    REFUSED((s.flags = INGRESS_PROXY, s.token = (char *)"too-short"));
    REFUSED((s.flags = INGRESS_PROXY, s.token = (char *)"with a space in it"));
#undef REFUSED
    TORTURE(start_goes_round(&f.start, &back) == 0 ? (ingress_start_done(&back), 0) : -ENOMEM);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_INGRESS] = ingress_room_main };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
