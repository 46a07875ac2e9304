/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ingress room in its real jail, a worker that is played (a child of the test, at the other end
 * of a link) and raw clients. What the played worker does is the path of the request.
 */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "ingress/ingress.h"
#include "room/link.h"
#include "room/spawn.h"
#include "tests/unit/rooms.h"
#include "wire/http1.h"
#include "wire/serve.h"

struct fixture {
    struct room room;
    pid_t worker;
    int listener, page_fd, worker_fds[LINK_FDS];
    int log[2];
    uint16_t port;
    union ingress_slot *page;
    struct ingress_start start;
    int keeper; /* of a proxy: the room's end of its channel, until it is sent */
};

/* ---- the worker that is played ---- */

struct played {
    uint64_t id;
    uint64_t window;
    uint32_t widest; /* that was given at once */
    struct buf echo;
    char path[32];
    bool live, ended, expects, endless, drips;
};
#define PLAYED_MAX 4096
static struct played played[PLAYED_MAX];
static struct link *played_link;
static unsigned long played_sent;

static void played_put(uint16_t kind, struct buf *payload, struct bytes body)
{
    while (link_put(played_link, kind, (struct bytes){ payload->data, payload->size }, body) == 1) {
        link_flush(played_link);
        usleep(1000);
    }
    buf_done(payload);
}

static struct buf played_head(uint64_t id)
{
    struct buf b = BUF_INIT(64u << 10);
    buf_u64(&b, id);
    return b;
}

static void played_respond(uint64_t id, uint16_t status, const char *length, bool no_body)
{
    struct http_field fields[] = { { bytes_of("x-worker"), bytes_of("played") },
                                   { bytes_of("content-length"), bytes_of(length) } };
    struct http_response r = {
        .status = status, .no_body = no_body, .fields = fields, .field_count = length[0] ? 2 : 1
    };
    struct buf b = played_head(id);
    http_response_put(&b, &r);
    played_put(HTTP_RESPONSE, &b, (struct bytes){ 0 });
}

static void played_body(uint64_t id, const void *data, size_t size)
{
    struct buf b = played_head(id);
    played_put(HTTP_BODY, &b, (struct bytes){ data, size });
}

static void played_trailer(uint64_t id, const char *name, const char *value)
{
    struct http_field field = { bytes_of(name), bytes_of(value) };
    struct buf b = played_head(id);
    http_fields_put(&b, &field, value[0] ? 1 : 0);
    played_put(HTTP_END, &b, (struct bytes){ 0 });
}

static void played_end(uint64_t id, const char *trailer)
{
    played_trailer(id, "x-trailer", trailer);
}

static void played_number(uint64_t id, uint16_t kind, uint32_t n)
{
    struct buf b = played_head(id);
    if (kind == HTTP_WINDOW)
        buf_u32(&b, n);
    played_put(kind, &b, (struct bytes){ 0 });
}

static void played_abort(uint64_t id, enum http_error error)
{
    struct http_failure f = { .error = error, .number = UINT64_MAX };
    if (error == HTTP_ERROR_REQUEST_DENIED) {
        f.reason = 2;
        f.rule = 7;
        f.text = bytes_of("no pattern covers \"/denied\"\x1b[2J");
        f.grant = bytes_of("- http: GET https://a/denied");
    }
    struct buf b = played_head(id);
    http_failure_put(&b, &f);
    played_put(HTTP_ABORT, &b, (struct bytes){ 0 });
}

/* Sends back what came, as far as the window lets it, and asks for as much more. */
static void played_echo(struct played *p)
{
    static uint8_t zeroes[HTTP_BODY_FRAME_MAX];
    while (p->endless && p->window > 0) {
        size_t size = p->window < sizeof zeroes ? (size_t)p->window : sizeof zeroes;
        if (p->drips)
            size = 1;
        played_body(p->id, zeroes, size);
        p->window -= size;
        played_sent += size;
    }
    size_t size = p->echo.size < p->window ? p->echo.size : (size_t)p->window;
    for (size_t done = 0; done < size;) {
        size_t part = MIN(size - done, (size_t)HTTP_BODY_FRAME_MAX);
        played_body(p->id, p->echo.data + done, part);
        done += part;
    }
    if (size > 0) {
        memmove(p->echo.data, p->echo.data + size, p->echo.size - size);
        p->echo.size -= size;
        p->window -= size;
        played_number(p->id, HTTP_WINDOW, (uint32_t)size);
    }
    if (p->ended && p->echo.size == 0 && !p->endless) {
        played_end(p->id, "");
        p->live = false;
    }
}

static void played_request(struct played *p, const struct http_request *r)
{
    uint64_t id = p->id;
    const char *path = p->path;
    p->ended = r->flags & HTTP_NO_BODY;
    if (strcmp(path, "/hello") == 0) {
        played_respond(id, 200, "5", false);
        played_body(id, "hello", 5);
        played_end(id, "");
    } else if (strcmp(path, "/chunks") == 0) {
        played_respond(id, 200, "", false);
        played_body(id, "one", 3);
        played_body(id, "three", 5);
        played_end(id, "yes");
    } else if (strcmp(path, "/empty") == 0) {
        played_respond(id, 204, "", true);
    } else if (strcmp(path, "/trap") == 0) {
        played_abort(id, HTTP_ERROR_INTERNAL);
    } else if (strcmp(path, "/slow") == 0) {
        played_abort(id, HTTP_ERROR_RESPONSE_TIMEOUT);
    } else if (strcmp(path, "/full") == 0) {
        played_abort(id, HTTP_ERROR_CONNECTION_LIMIT_REACHED);
    } else if (strcmp(path, "/denied") == 0) {
        played_abort(id, HTTP_ERROR_REQUEST_DENIED);
    } else if (strcmp(path, "/noname") == 0) {
        played_abort(id, HTTP_ERROR_DNS);
    } else if (strcmp(path, "/toolarge") == 0) {
        played_abort(id, HTTP_ERROR_REQUEST_BODY_SIZE);
    } else if (strcmp(path, "/die") == 0) {
        _exit(0);
    } else if (strcmp(path, "/socket") == 0) {
        p->live = r->flags & HTTP_UPGRADE;
        played_respond(id, p->live ? 101 : 400, "", false);
    } else if (strcmp(path, "/late") == 0) {
        played_respond(id, 200, "", false);
        played_body(id, "part", 4);
        played_abort(id, HTTP_ERROR_INTERNAL);
    } else if (strcmp(path, "/nothing") == 0) {
        played_respond(id, 204, "5", false);
        played_end(id, "");
    } else if (strcmp(path, "/framed") == 0) {
        played_respond(id, 200, "", false);
        played_trailer(id, "content-length", "7");
    } else if (strcmp(path, "/short") == 0) {
        played_respond(id, 200, "10", false);
        played_body(id, "hello", 5);
        played_end(id, "");
    } else if (strcmp(path, "/long") == 0) {
        played_respond(id, 200, "3", false);
        played_body(id, "hello", 5);
        played_end(id, "");
    } else if (strcmp(path, "/twice") == 0) {
        played_respond(id, 200, "", false);
        played_respond(id, 200, "", false);
    } else if (strcmp(path, "/flood") == 0) {
        played_respond(id, 200, "", false);
        for (int i = 0; i < 3; i++)
            played_body(id, played, HTTP_BODY_FRAME_MAX);
    } else if (strcmp(path, "/wide") == 0) { /* tells how many answers may have more under way */
        char text[16];
        int wide = 0;
        for (size_t i = 0; i < PLAYED_MAX; i++)
            wide += played[i].live && played[i].widest > HTTP_WINDOW_START;
        (void)snprintf(text, sizeof text, "%02d", wide);
        played_respond(id, 200, "2", false);
        played_body(id, text, 2);
        played_end(id, "");
    } else if (strcmp(path, "/refuse") == 0) {
        played_respond(id, 403, "0", true);
        played_number(id, HTTP_DISCARD, 0);
    } else if (strcmp(path, "/sent") == 0) { /* how much of endless answers was sent */
        char text[32];
        (void)snprintf(text, sizeof text, "%09lu", played_sent);
        played_respond(id, 200, "9", false);
        played_body(id, text, 9);
        played_end(id, "");
    } else if (strcmp(path, "/echo") == 0 || strcmp(path, "/endless") == 0 ||
               strcmp(path, "/drips") == 0) {
        p->drips = strcmp(path, "/drips") == 0; /* endless, byte by byte */
        p->endless = p->drips || strcmp(path, "/endless") == 0;
        if (r->flags & HTTP_EXPECTS_CONTINUE)
            played_number(id, HTTP_WINDOW, 0);
        played_respond(id, 200, "", false);
        p->live = true;
        played_echo(p);
    } else if (strcmp(path, "/head") == 0 ||
               strcmp(path, "*") == 0) { /* tells the request as it came */
        struct buf text = BUF_INIT(64u << 10);
        buf_append(&text, r->method.data, r->method.size);
        buf_putc(&text, ' ');
        buf_append(&text, r->authority.data, r->authority.size);
        if (r->flags & HTTP_SECURE)
            buf_puts(&text, " secure");
        for (size_t i = 0; i < r->field_count; i++) {
            buf_putc(&text, '\n');
            buf_append(&text, r->fields[i].name.data, r->fields[i].name.size);
            buf_putc(&text, '=');
            buf_append(&text, r->fields[i].value.data, r->fields[i].value.size);
        }
        played_respond(id, 200, "", false);
        played_body(id, text.data, text.size);
        played_end(id, "");
        buf_done(&text);
    } /* else it never answers */
}

static void played_window(struct played *p, uint32_t more)
{
    p->window += more;
    p->widest = MAX(p->widest, more);
}

static void played_frame(const struct frame *f)
{
    static struct http_field fields[HTTP_FIELDS_MAX];
    struct cursor c = cursor_of(f->payload, f->size);
    uint64_t id = cursor_u64(&c);
    struct played *p = &played[id % PLAYED_MAX];
    struct http_request r;
    struct error e = ERROR_INIT;
    if (f->kind == HTTP_REQUEST) {
        if (http_request_get(&c, fields, &r, &e) < 0)
            abort();
        buf_done(&p->echo);
        *p = (struct played){ .id = id, .window = HTTP_WINDOW_START };
        p->echo = (struct buf)BUF_INIT(HTTP_WINDOW_MAX);
        memcpy(p->path, r.target.data, MIN(r.target.size, sizeof p->path - 1));
        played_request(p, &r);
        return;
    }
    if (!p->live || p->id != id)
        return;
    if (f->kind == HTTP_BODY)
        buf_append(&p->echo, c.at, cursor_left(&c));
    else if (f->kind == HTTP_WINDOW)
        played_window(p, cursor_u32(&c));
    else if (f->kind == HTTP_END)
        p->ended = true;
    else if (f->kind == HTTP_ABORT || f->kind == HTTP_DISCARD)
        p->live = false;
    if (p->live)
        played_echo(p);
}

__attribute__((noreturn)) static void played_main(const int fds[static LINK_FDS])
{
    struct error e = ERROR_INIT;
    if (link_open(fds, &played_link, &e) < 0)
        _exit(1);
    for (;;) {
        struct frame f;
        int r;
        while ((r = link_get(played_link, &f, &e)) == 1)
            played_frame(&f);
        link_flush(played_link);
        if (r < 0)
            _exit(2);
        if (link_sleep(played_link))
            continue;
        struct pollfd p = { .fd = link_fd(played_link), .events = POLLIN };
        if (poll(&p, 1, 20000) == 0)
            _exit(0);
        link_awake(played_link);
    }
}

static pid_t played_start(int fds[static LINK_FDS])
{
    pid_t pid = fork();
    if (pid == 0)
        played_main(fds);
    for (int i = 0; i < LINK_FDS; i++)
        close(fds[i]);
    return pid;
}

/* ---- the room ---- */

static void fixture_frame(struct fixture *f, unsigned kind, struct cursor *ret)
{
    struct error e = ERROR_INIT;
    struct frame frame;
    int *fds;
    size_t count;
    do { /* denials that nobody waits for are passed over */
        if (channel_receive(f->room.channel, true, &frame, &fds, &count, &e) != 1)
            test_fail(__FILE__, __LINE__, "the room is gone: %s", e.what);
    } while (frame.kind == INGRESS_DENIED && kind != INGRESS_DENIED);
    *ret = cursor_of(frame.payload, frame.size);
    if (frame.kind == INGRESS_FAULT) {
        char *text = cursor_string(ret);
        test_fail(__FILE__, __LINE__, "fault: %s", text);
    }
    CHECK_EQ(frame.kind, kind);
}

static void fixture_defaults(struct fixture *f)
{
    *f = (struct fixture){ .start = { .flags = INGRESS_LOG,
                                      .pairs = 1,
                                      .connections = 500,
                                      .concurrency = 64,
                                      .queue = 64,
                                      .client_timeout_ns = 30 * NS_PER_S,
                                      .idle_timeout_ns = 60 * NS_PER_S,
                                      .rate_min = 0,
                                      .authority = (char *)"localhost",
                                      .certificate = (char *)"",
                                      .key = (char *)"" } };
}

static void fixture_open(struct fixture *f)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    struct error e = ERROR_INIT;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    int own[LINK_FDS];
    struct cursor c;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1; /* as control makes it: connections inherit it */
    CHECK_EQ(setsockopt(f->listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    CHECK_EQ(bind(f->listener, (struct sockaddr *)&at, size), 0);
    CHECK_EQ(listen(f->listener, 4096), 0);
    CHECK_EQ(getsockname(f->listener, (struct sockaddr *)&at, &size), 0);
    f->port = ntohs(at.sin_port);
    f->page_fd = memfd_create("page", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(f->page_fd, INGRESS_PAGE_SIZE), 0);
    f->page = mmap(NULL, INGRESS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->page_fd, 0);
    CHECK(f->page != MAP_FAILED);
    CHECK_EQ(pipe2(f->log, O_CLOEXEC | O_NONBLOCK), 0);
    if (room_spawn(ROOM_INGRESS, rooms_missing(), &f->room, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    if (link_make(own, f->worker_fds, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    f->start.allow_missing = rooms_missing();
    CHECK_EQ(ingress_start_put(&payload, &f->start), 0);
    int fds[] = { f->listener, f->page_fd, own[0], own[1], own[2], f->log[1], f->keeper };
    bool proxy = f->start.flags & INGRESS_PROXY;
    CHECK_EQ(channel_send(f->room.channel, INGRESS_START, payload.data, payload.size, fds,
                          proxy ? 7 : 6, &e),
             0);
    if (proxy) { /* and, on its heels, what a reload says: a room that comes back may be met by one */
        close(f->keeper);
        CHECK_EQ(channel_send(f->room.channel, INGRESS_REGRANTED, NULL, 0, NULL, 0, &e), 0);
    }
    for (int i = 0; i < LINK_FDS; i++)
        close(own[i]);
    f->worker = played_start(f->worker_fds);
    fixture_frame(f, INGRESS_READY, &c);
}

static void fixture_drain(struct fixture *f, uint64_t within_ns)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    struct error e = ERROR_INIT;
    buf_u64(&payload, within_ns);
    close(f->listener);
    CHECK_EQ(channel_send(f->room.channel, INGRESS_DRAIN, payload.data, payload.size, NULL, 0, &e),
             0);
}

static uint64_t fixture_count(struct fixture *f, enum ingress_counter c)
{
    return ingress_counted(f->page, 1, c);
}

/* Waits for a counter to have a value: what it counts happens in another process. */
static void fixture_await(struct fixture *f, enum ingress_counter c, uint64_t value)
{
    for (int i = 0; i < 500 && fixture_count(f, c) != value; i++)
        usleep(20000);
    CHECK_EQ(fixture_count(f, c), value);
}

static void fixture_close(struct fixture *f)
{
    struct error e = ERROR_INIT;
    struct cursor c;
    int status;
    fixture_drain(f, 0);
    fixture_frame(f, INGRESS_DONE, &c);
    CHECK_EQ(room_wait(&f->room, 10000, &status, &e), 0);
    CHECK_EQ(status, 0);
    room_end(&f->room);
    if (f->worker > 0) {
        kill(f->worker, SIGKILL);
        waitpid(f->worker, NULL, 0);
    }
    munmap(f->page, INGRESS_PAGE_SIZE);
    close(f->page_fd);
    close(f->log[0]);
    close(f->log[1]);
}

/* ---- clients ---- */

static int client_open(struct fixture *f)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(f->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { .tv_sec = 20 };
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void client_send(int fd, const char *text)
{
    CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static char client_text[1u << 20];
/* Reads until `until` was seen, or ("") the end; -1: it ended otherwise, -2: with a reset. */
static int client_read(int fd, const char *until)
{
    size_t size = 0;
    for (;;) {
        client_text[size] = '\0';
        if (until[0] && strstr(client_text, until))
            return 0;
        ssize_t n = recv(fd, client_text + size, sizeof client_text - 1 - size, 0);
        if (n == 0)
            return until[0] ? -1 : 0;
        if (n < 0)
            return errno == ECONNRESET ? -2 : -3;
        size += (size_t)n;
    }
}

/* Gone, and the server can see it. */
__attribute__((unused)) static void client_reset(int fd)
{
    const struct linger at_once = { .l_onoff = 1 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* One request on a connection of its own, to the end. */
static const char *client_ask(struct fixture *f, const char *text)
{
    int fd = client_open(f);
    client_send(fd, text);
    shutdown(fd, SHUT_WR);
    int r = client_read(fd, "");
    close(fd);
    if (r == -2)
        strcat(client_text, "RESET");
    return client_text;
}
