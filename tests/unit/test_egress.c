/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress room in its real jail, from both of its sides: control's (control/egress.h) and a worker's, over a
 * link. This binary is all three and the origin too. Hostile origins, names and certificates are in
 * tests/hostile/test_http_out.py; here is what the sanitizers shall see.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/egress.h"
#include "egress/egress.h"
#include "room/spawn.h"
#include "tests/unit/rooms.h"

#define OWNER 3
#define MORE 2 /* grants that can be added */
#define PATIENCE_NS (20 * NS_PER_S)

/* ---- an origin ---- */

struct origin {
    pid_t pid;
    uint16_t port;
};

/* Answers each connection's first head: /big a body of 1 MiB, /hold a head and nothing else, a POST nothing: its exchange is
 * over when the guest or egress says so, not before. */
static void answer(int fd)
{
    static char head[65536], block[65536];
    size_t size = 0;
    ssize_t n;
    while (size < sizeof(head) - 1 && (n = read(fd, head + size, sizeof(head) - 1 - size)) > 0) {
        size += (size_t)n;
        head[size] = '\0';
        if (strstr(head, "\r\n\r\n"))
            break;
    }
    bool big = strncmp(head, "GET /big", 8) == 0, hold = strncmp(head, "GET /hold", 9) == 0;
    bool post = strncmp(head, "POST", 4) == 0;
    const char *text =
        big    ? "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"
        : hold ? "HTTP/1.1 200 OK\r\n\r\n"
               : "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    if (!post)
        (void)!write(fd, text, strlen(text));
    for (int i = 0; big && i < 16; i++)
        (void)!write(fd, block, sizeof(block));
    if (hold || post)
        while (read(fd, block, sizeof(block)) > 0) {
        }
    _exit(0);
}

static struct origin origin_start(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof(at);
    struct origin o = { 0 };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
          listen(listener, 64) == 0 && getsockname(listener, (struct sockaddr *)&at, &size) == 0);
    o.port = ntohs(at.sin_port);
    o.pid = fork();
    if (o.pid == 0) {
        signal(SIGCHLD, SIG_IGN);
        alarm(60);
        for (;;) {
            int fd = accept(listener, NULL, NULL);
            if (fd >= 0 && fork() == 0)
                answer(fd);
            close(fd);
        }
    }
    close(listener);
    return o;
}

static void origin_stop(struct origin *o)
{
    kill(o->pid, SIGKILL);
    waitpid(o->pid, NULL, 0);
}

/* ---- a worker and control ---- */

struct world {
    struct origin origin;
    struct grant_set *set;
    struct egress *egress;
    struct link *link;
    uint64_t last_id;
    unsigned ready, requests, responses, died, relinked;
    uint32_t last_error;
};
struct answered {
    uint16_t status;
    uint64_t size;
    enum http_error error;
    uint32_t reason;
    bool over;
};

static int on_ready(void *context, uint32_t missing, struct error *e)
{
    ((struct world *)context)->ready++;
    return 0;
}

static int on_request(void *context, const struct egress_request *r, struct error *e)
{
    ((struct world *)context)->requests++;
    CHECK_EQ(r->owner, OWNER);
    CHECK(bytes_are(r->address, "127.0.0.1"));
    return 0;
}

static int on_response(void *context, const struct egress_response *r, struct error *e)
{
    ((struct world *)context)->responses++;
    ((struct world *)context)->last_error = r->error;
    return 0;
}

static int on_died(void *context, const char *why, struct error *e)
{
    ((struct world *)context)->died++;
    return 0;
}

static void take_link(struct world *w, const int fds[static LINK_FDS])
{
    link_free(w->link);
    w->link = NULL;
    w->last_id = 0;
    CHECK_EQ(link_open(fds, &w->link, NULL), 0);
}

static int on_relinked(void *context, uint32_t owner, const int fds[static LINK_FDS],
                       struct error *e)
{
    struct world *w = context;
    int own[LINK_FDS];
    for (int i = 0; i < LINK_FDS; i++)
        own[i] = dup(fds[i]);
    take_link(w, own);
    w->relinked++;
    return 0;
}

static void world_start(struct world *w, const char *more)
{
    char text[512];
    int fds[LINK_FDS];
    *w = (struct world){ .origin = origin_start() };
    int size =
        snprintf(text, sizeof(text),
                 "{\"version\":1,\"grants\":[{\"http\":\"http://127.0.0.1:%u\",\"methods\":[\"*\"],"
                 "\"addresses\":[\"127.0.0.0/8\"]%s}]}",
                 w->origin.port, more);
    CHECK_EQ(grant_set_parse("test", "/", text, (size_t)size, &w->set, NULL), 0);
    struct egress_spec spec = { .grants = w->set,
                                .allow_missing = rooms_missing(),
                                .work_host = "/",
                                .more = MORE,
                                .observer = { .context = w,
                                              .relinked = on_relinked,
                                              .ready = on_ready,
                                              .request = on_request,
                                              .response = on_response,
                                              .died = on_died } };
    struct error e = ERROR_INIT;
    if (egress_start(&spec, &w->egress, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    CHECK_EQ(egress_link(w->egress, OWNER, fds, &e), 0);
    take_link(w, fds);
}

static void world_stop(struct world *w)
{
    CHECK_EQ(egress_end(w->egress, false, NULL), 0);
    CHECK_EQ(egress_fd(w->egress), -1);
    link_free(w->link);
    egress_free(w->egress);
    grant_set_free(w->set);
    origin_stop(&w->origin);
}

static void turn(struct world *w)
{
    struct error e = ERROR_INIT;
    struct pollfd fds[2] = { { .fd = egress_fd(w->egress), .events = POLLIN },
                             { .fd = link_fd(w->link), .events = POLLIN } };
    if (!link_sleep(w->link))
        (void)poll(fds, 2, 20);
    if (fds[1].revents)
        link_awake(w->link);
    if (egress_turn(w->egress, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
}

static void put(struct world *w, uint16_t kind, uint64_t id, const struct buf *payload)
{
    CLEANUP(buf_done) struct buf head = BUF_INIT(LINK_PAYLOAD_MAX);
    buf_u64(&head, id);
    if (payload)
        buf_append(&head, payload->data, payload->size);
    CHECK_EQ(link_put(w->link, kind, (struct bytes){ head.data, head.size }, (struct bytes){ 0 }),
             0);
    link_flush(w->link);
}

static uint64_t ask(struct world *w, const char *method, const char *path)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LINK_PAYLOAD_MAX);
    char authority[32];
    (void)snprintf(authority, sizeof(authority), "127.0.0.1:%u", w->origin.port);
    struct http_request r = { .flags = strcmp(method, "POST") == 0 ? 0 : HTTP_NO_BODY,
                              .method = bytes_of(method),
                              .authority = bytes_of(authority),
                              .target = bytes_of(path),
                              .connect_timeout_ns = HTTP_NO_TIMEOUT,
                              .first_byte_timeout_ns = HTTP_NO_TIMEOUT,
                              .between_bytes_timeout_ns = HTTP_NO_TIMEOUT };
    http_request_put(&payload, &r);
    put(w, HTTP_REQUEST, ++w->last_id, &payload);
    return w->last_id;
}

static void hear(struct world *w, const struct frame *f, uint64_t id, struct answered *a,
                 bool windows)
{
    static struct http_field fields[HTTP_FIELDS_MAX];
    struct cursor c = cursor_of(f->payload, f->size);
    struct http_response r = { .fields = fields };
    struct http_failure failure;
    if (cursor_u64(&c) != id)
        return;
    if (f->kind == HTTP_RESPONSE) {
        CHECK_EQ(http_response_get(&c, fields, &r, NULL), 0);
        a->status = r.status;
    } else if (f->kind == HTTP_BODY) {
        CLEANUP(buf_done) struct buf window = BUF_INIT(16);
        buf_u32(&window, (uint32_t)cursor_left(&c));
        a->size += cursor_left(&c);
        if (windows)
            put(w, HTTP_WINDOW, id, &window);
    } else if (f->kind == HTTP_ABORT) {
        CHECK_EQ(http_failure_get(&c, &failure, NULL), 0);
        a->error = failure.error;
        a->reason = failure.reason;
    }
    a->over |= f->kind == HTTP_END || f->kind == HTTP_ABORT;
}

/* Hears of one exchange until it is over, `enough` bytes came, or the time is up. */
static struct answered listen_to(struct world *w, uint64_t id, bool windows, uint64_t enough,
                                 uint64_t patience_ns)
{
    struct answered a = { 0 };
    struct frame f;
    uint64_t until = clock_monotonic_ns() + patience_ns;
    while (!a.over && a.size < enough && clock_monotonic_ns() < until) {
        while (link_get(w->link, &f, NULL) > 0)
            hear(w, &f, id, &a, windows);
        link_flush(w->link);
        turn(w);
    }
    return a;
}

/* Hears until the head is there, of what goes on. */
static struct answered head_of(struct world *w, uint64_t id)
{
    struct answered a = { 0 };
    struct frame f;
    uint64_t until = clock_monotonic_ns() + PATIENCE_NS;
    while (!a.over && a.status == 0 && clock_monotonic_ns() < until) {
        while (link_get(w->link, &f, NULL) > 0)
            hear(w, &f, id, &a, true);
        link_flush(w->link);
        turn(w);
    }
    return a;
}

static struct answered get(struct world *w, const char *path)
{
    return listen_to(w, ask(w, "GET", path), true, UINT64_MAX, PATIENCE_NS);
}

TEST(answers_and_records)
{
    struct world w;
    world_start(&w, "");
    struct answered a = get(&w, "/");
    CHECK_EQ(a.status, 200);
    CHECK_EQ(a.size, 5);
    a = get(&w, "/big");
    CHECK_EQ(a.size, 1 << 20);
    world_stop(&w);
    CHECK_EQ(w.ready, 1);
    CHECK_EQ(w.requests, 2);
    CHECK_EQ(w.responses, 2);
    CHECK_EQ(w.last_error, HTTP_OK);
}

TEST(windows_hold)
{
    struct world w;
    world_start(&w, "");
    uint64_t slow = ask(&w, "GET", "/big");
    CHECK_EQ(listen_to(&w, slow, false, HTTP_WINDOW_START, PATIENCE_NS).size, HTTP_WINDOW_START);
    CHECK_EQ(listen_to(&w, slow, false, 1, NS_PER_S / 2).size, 0);
    CHECK_EQ(get(&w, "/").size, 5); /* another is not held up */
    put(&w, HTTP_DISCARD, slow, NULL);
    CHECK_EQ(get(&w, "/").size, 5);
    world_stop(&w);
    CHECK_EQ(w.responses, 3);
}

TEST(ends_are_recorded)
{
    struct world w;
    world_start(&w, "");
    uint64_t id = ask(&w, "GET", "/hold");
    CHECK_EQ(head_of(&w, id).status, 200);
    CHECK_EQ(egress_revoke(w.egress, 0, NULL), 0);
    struct answered a = listen_to(&w, id, true, UINT64_MAX, PATIENCE_NS);
    CHECK_EQ(a.error, HTTP_ERROR_REQUEST_DENIED);
    CHECK_EQ(a.reason, GRANT_REVOKED);
    a = get(&w, "/");
    CHECK_EQ(a.reason, GRANT_REVOKED);
    world_stop(&w);
    CHECK_EQ(w.requests, 1);
    CHECK_EQ(w.responses, 1);
}

TEST(bodies_without_end)
{
    struct world w;
    world_start(&w, ",\"max_request_bytes\":8");
    CLEANUP(buf_done) struct buf body = BUF_INIT(64);
    uint64_t id = ask(&w, "POST", "/");
    buf_append(&body, "12345678", 8);
    put(&w, HTTP_BODY, id, &body);
    put(&w, HTTP_BODY, id, &body);
    struct answered a = listen_to(&w, id, true, UINT64_MAX, PATIENCE_NS);
    CHECK_EQ(a.error, HTTP_ERROR_REQUEST_BODY_SIZE);
    CHECK_EQ(a.reason, GRANT_TOO_LARGE);
    id = ask(&w, "POST", "/");
    put(&w, HTTP_ABORT, id, NULL); /* malformed: a failure is missing */
    for (int i = 0; i < 20; i++)
        turn(&w);
    CHECK_EQ(listen_to(&w, ask(&w, "GET", "/"), true, UINT64_MAX, NS_PER_S / 4).over, false);
    egress_unlink(w.egress, OWNER);
    int fds[LINK_FDS];
    CHECK_EQ(egress_link(w.egress, OWNER, fds, NULL), 0);
    take_link(&w, fds);
    CHECK_EQ(get(&w, "/").size, 5);
    world_stop(&w);
}

static pid_t only_other_child(pid_t known)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    CHECK(f && fgets(line, sizeof(line), f));
    fclose(f);
    char *at = line;
    pid_t pid = 0;
    while (pid == 0 || pid == known)
        pid = (pid_t)strtol(at, &at, 10);
    return pid;
}

TEST(a_crash_resets_no_counter)
{
    struct world w;
    world_start(&w, ",\"max_requests\":3");
    CHECK_EQ(get(&w, "/").size, 5);
    for (unsigned i = 1; i <= 3; i++) {
        kill(only_other_child(w.origin.pid), SIGKILL);
        uint64_t until = clock_monotonic_ns() + PATIENCE_NS;
        while (w.relinked < i && clock_monotonic_ns() < until)
            turn(&w);
        CHECK_EQ(w.died, i);
        struct answered a = get(&w, "/");
        CHECK_EQ(a.reason, i < 3 ? GRANT_ALLOWED : GRANT_TOO_MANY);
    }
    world_stop(&w);
}

/* A worker that was taken over has a link, and on it numbers of its own choosing; it can name no rule,
 * no run and no counter, which are egress' and control's. A number that was used ends the link with
 * nothing sent, and a new link brings no new budget. Control: the same request with the next number. */
TEST(a_worker_replays_nothing)
{
    struct world w;
    int fds[LINK_FDS];
    world_start(&w, ",\"max_requests\":3");
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(w.requests, 2);
    w.last_id = 0;
    (void)ask(&w, "GET", "/");
    for (int i = 0; i < 10; i++)
        turn(&w);
    CHECK_EQ(w.requests, 2);
    egress_unlink(w.egress, OWNER);
    CHECK_EQ(egress_link(w.egress, OWNER, fds, NULL), 0);
    take_link(&w, fds);
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(w.requests, 3);
    CHECK_EQ(get(&w, "/").reason, GRANT_TOO_MANY);
    CHECK_EQ(w.requests, 3);
    world_stop(&w);
    CHECK_EQ(w.died, 0);
}

/* ---- grants that are added (--ask) ---- */

static int grant_more(struct world *w, const char *path, const char *more)
{
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    char text[256];
    int size =
        snprintf(text, sizeof(text),
                 "{\"version\":1,\"grants\":[{\"http\":\"http://127.0.0.1:%u\",\"paths\":[\"%s\"],"
                 "\"addresses\":[\"127.0.0.1\"]%s}]}",
                 w->origin.port, path, more);
    CHECK_EQ(grant_set_parse("answer", "/", text, (size_t)size, &one, NULL), 0);
    return egress_grant(w->egress, one, NULL);
}

TEST(a_grant_is_added_and_moves_nothing)
{
    struct world w;
    world_start(&w, ",\"paths\":[\"/\",\"/hold\"],\"max_requests\":3");
    uint64_t held = ask(&w, "GET", "/hold");
    CHECK_EQ(head_of(&w, held).status, 200);
    CHECK_EQ(get(&w, "/b").reason, GRANT_NO_PATH);
    CHECK_EQ(egress_rules(w.egress), 1);
    CHECK_EQ(grant_more(&w, "/b", ",\"max_requests\":1"), 0);
    CHECK_EQ(egress_rules(w.egress), 2);
    CHECK_EQ(get(&w, "/b").size, 5);
    CHECK_EQ(get(&w, "/b").reason, GRANT_TOO_MANY); /* for once is one request */
    CHECK_EQ(grant_more(&w, "/b", ""), 0);
    CHECK_EQ(get(&w, "/b").size, 5);
    CHECK_EQ(ask(&w, "POST", "/b"), w.last_id);
    CHECK_EQ(listen_to(&w, w.last_id, true, UINT64_MAX, PATIENCE_NS).reason, GRANT_NO_METHOD);
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(get(&w, "/").reason, GRANT_TOO_MANY); /* the first rule counted on */
    CHECK_EQ(grant_more(&w, "/c", ""), -E2BIG);
    CHECK_EQ(egress_rules(w.egress), 3);
    CHECK_EQ(egress_use(w.egress, 0).requests, 3);
    CHECK_EQ(egress_use(w.egress, 1).requests, 1);
    CHECK_EQ(egress_use(w.egress, 2).requests, 1);
    CHECK_EQ(egress_revoke(w.egress, 2, NULL), 0);
    CHECK_EQ(get(&w, "/b").reason, GRANT_TOO_MANY);
    CHECK_EQ(egress_revoke(w.egress, 0, NULL),
             0); /* what it began under an old set ends by its number */
    struct answered a = listen_to(&w, held, true, UINT64_MAX, PATIENCE_NS);
    CHECK_EQ(a.reason, GRANT_REVOKED);
    world_stop(&w);
}

TEST(a_room_that_starts_again_has_what_was_added)
{
    struct world w;
    world_start(&w, ",\"paths\":[\"/\"]");
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(grant_more(&w, "/b", ",\"max_requests\":2"), 0);
    CHECK_EQ(get(&w, "/b").size, 5);
    kill(only_other_child(w.origin.pid), SIGKILL);
    CHECK_EQ(grant_more(&w, "/c", ""), 0); /* into a room that died: it is started again */
    CHECK_EQ(w.relinked, 1);
    CHECK_EQ(get(&w, "/b").size, 5);
    CHECK_EQ(get(&w, "/c").size, 5);
    CHECK_EQ(get(&w, "/b").reason, GRANT_TOO_MANY);
    world_stop(&w);
    CHECK_EQ(w.died, 1);
}

/* Stopped, as by whoever has taken it over: what control says fills the channel, and then waits for nobody. */
TEST(a_room_that_takes_nothing_is_ended)
{
    struct world w;
    world_start(&w, "");
    CHECK_EQ(get(&w, "/").size, 5);
    kill(only_other_child(w.origin.pid), SIGSTOP);
    for (unsigned i = 0; i < 20000; i++)
        CHECK_EQ(egress_expires(w.egress, GRANT_UNSET, NULL), 0);
    while (w.relinked == 0)
        turn(&w);
    CHECK_EQ(w.died, 1);
    CHECK_EQ(get(&w, "/").size, 5);
    kill(only_other_child(w.origin.pid), SIGSTOP);
    for (unsigned i = 0; i < 20000; i++)
        CHECK_EQ(egress_expires(w.egress, GRANT_UNSET, NULL), 0);
    world_stop(&w); /* says STOP to a full channel */
}

TEST(a_room_that_takes_no_grant_is_ended)
{
    struct world w;
    world_start(&w, ",\"paths\":[\"/\"]");
    CHECK_EQ(get(&w, "/").size, 5);
    kill(only_other_child(w.origin.pid), SIGSTOP);
    CHECK_EQ(grant_more(&w, "/b", ""), 0);
    CHECK_EQ(w.died, 1);
    CHECK_EQ(get(&w, "/b").size, 5);
    world_stop(&w);
}

TEST(all_that_is_revoked_stays_so)
{
    struct world w;
    world_start(&w, "");
    CHECK_EQ(get(&w, "/").size, 5);
    CHECK_EQ(egress_revoke(w.egress, RULES_ALL, NULL), 0);
    CHECK_EQ(grant_more(&w, "/b", ""), 0);
    CHECK_EQ(get(&w, "/b").reason, GRANT_REVOKED);
    world_stop(&w);
}

/* The frame is control's; on a link it is none, and ends the link. */
TEST(a_worker_grants_nothing)
{
    struct world w;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    int fds[LINK_FDS];
    world_start(&w, ",\"paths\":[\"/\"]");
    CHECK_EQ(get(&w, "/").size, 5);
    buf_u32(&payload, 1);
    buf_string(&payload, "{\"version\":1,\"grants\":[{\"http\":\"http://127.0.0.1\"}]}");
    for (uint16_t kind = EGRESS_START; kind <= EGRESS_GRANTED; kind++) {
        if (kind != EGRESS_GRANT && kind != EGRESS_GRANTED && kind != EGRESS_START)
            continue;
        CHECK_EQ(link_put(w.link, kind, (struct bytes){ payload.data, payload.size },
                          (struct bytes){ 0 }),
                 0);
        link_flush(w.link);
        for (int i = 0; i < 10; i++)
            turn(&w);
        egress_unlink(w.egress, OWNER);
        CHECK_EQ(egress_link(w.egress, OWNER, fds, NULL), 0);
        take_link(&w, fds);
        CHECK_EQ(get(&w, "/b").reason, GRANT_NO_PATH);
        CHECK_EQ(get(&w, "/").size, 5);
    }
    CHECK_EQ(egress_rules(w.egress), 1);
    world_stop(&w);
    CHECK_EQ(w.died, 0);
}

static int heard_of(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    ((unsigned *)context)[cursor_left(c) == sizeof(uint32_t)]++;
    c->at = c->end;
    return 0;
}

/* How a room takes a frame of control's: `ret` counts its faults and what it took. */
static void give(uint32_t more, const struct buf *payload, unsigned ret[static 2])
{
    static const struct frame_rule rows[] = {
        { EGRESS_FAULT, "fault", 1, false, 0, FRAME_MAX, heard_of },
        { EGRESS_GRANTED, "granted", 1, false, 0, sizeof(uint32_t), heard_of },
    };
    struct frame_gate gate = { .rules = rows, .rule_count = ARRAY_SIZE(rows) };
    struct egress_start s = { .grants_json =
                                  (char *)"{\"version\":1,\"grants\":[{\"log\":[\"trace\"]}]}",
                              .work_host = (char *)"/",
                              .resolver = (char *)"",
                              .expires_ns = UINT64_MAX,
                              .allow_missing = rooms_missing(),
                              .more = more };
    CLEANUP(buf_done) struct buf start = BUF_INIT(FRAME_MAX);
    struct room room;
    int fds[2] = { open("/dev/null", O_RDONLY | O_CLOEXEC), memfd_create("counters", MFD_CLOEXEC) };
    CHECK(ftruncate(fds[1], 3 * sizeof(struct egress_counter)) == 0);
    CHECK_EQ(room_spawn(ROOM_EGRESS, rooms_missing(), &room, NULL), 0);
    egress_start_put(&start, &s);
    CHECK_EQ(channel_send(room.channel, EGRESS_START, start.data, start.size, fds, 2, NULL), 0);
    CHECK_EQ(channel_send(room.channel, EGRESS_GRANT, payload->data, payload->size, NULL, 0, NULL),
             0);
    ret[0] = ret[1] = 0;
    while (ret[0] + ret[1] == 0 && channel_dispatch(room.channel, &gate, ret, true, NULL) == 0) {
    }
    room_end(&room);
    close(fds[0]);
    close(fds[1]);
}

TEST(malformed_grants_are_refused)
{
#define ONE "{\"http\":\"http://a.test\"}"
    static const struct {
        uint32_t rule;
        const char *json;
        bool more;
    } rows[] = {
        { 0, "{\"version\":1,\"grants\":[" ONE "]}", false },
        { 2, "{\"version\":1,\"grants\":[" ONE "]}", false },
        { 1, "{\"version\":1,\"grants\":[" ONE "," ONE "]}", false },
        { 1, "{\"version\":1,\"grants\":[]}", false },
        { 1, "nonsense", false },
        { 1, "{\"version\":1,\"grants\":[" ONE "]}", true },
    };
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    unsigned heard[2];
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        buf_clear(&payload);
        buf_u32(&payload, rows[i].rule);
        buf_string(&payload, rows[i].json);
        if (rows[i].more)
            buf_u8(&payload, 0);
        give(MORE, &payload, heard);
        CHECK(heard[0] == 1 && heard[1] == 0);
    }
    buf_clear(&payload);
    buf_u32(&payload, 1);
    buf_string(&payload, rows[0].json);
    give(0, &payload, heard); /* a room that was made for no more */
    CHECK(heard[0] == 1 && heard[1] == 0);
}

TEST(payloads)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(FRAME_MAX);
    struct egress_response r = {
        .number = 7, .status = 200, .error = HTTP_ERROR_DNS, .masked = 3, .text = bytes_of("x")
    };
    struct egress_response got;
    egress_response_put(&out, &r);
    for (size_t size = 0; size <= out.size; size++) {
        struct cursor c = cursor_of(out.data, size);
        CHECK_EQ(egress_response_get(&c, &got, NULL), size == out.size ? 0 : -EBADMSG);
    }
    CHECK(got.number == 7 && got.masked == 3);
    CHECK(bytes_are(got.text, "x"));
    r.error = HTTP_ERROR_COUNT;
    buf_clear(&out);
    egress_response_put(&out, &r);
    struct cursor c = cursor_of(out.data, out.size);
    CHECK_EQ(egress_response_get(&c, &got, NULL), -EBADMSG);
}

TEST(payloads_of_denials)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(FRAME_MAX);
    struct egress_denied d = { 1,
                               GRANT_NO_RULE,
                               GRANT_NO_PATH,
                               bytes_of("GET"),
                               bytes_of("http://a/"),
                               bytes_of("no"),
                               bytes_of("- http: http://a") };
    struct egress_denied got;
    egress_denied_put(&out, &d);
    for (size_t size = 0; size <= out.size; size++) {
        struct cursor c = cursor_of(out.data, size);
        CHECK_EQ(egress_denied_get(&c, &got, NULL), size == out.size ? 0 : -EBADMSG);
    }
    CHECK(got.owner == 1 && got.rule == GRANT_NO_RULE && got.reason == GRANT_NO_PATH);
    CHECK(bytes_are(got.method, "GET") && bytes_are(got.url, "http://a/") &&
          bytes_are(got.text, "no") && bytes_are(got.grant, "- http: http://a"));
}

TEST(resolvers)
{
    CHECK_EQ(egress_resolver_check("127.0.0.1:53", NULL), 0);
    CHECK_EQ(egress_resolver_check("[::1]:5353", NULL), 0);
    static const char *const bad[] = {
        "",       "127.0.0.1",      "127.0.0.1:",  "127.0.0.1:0",  "127.0.0.1:65536",
        "::1:53", "[127.0.0.1]:53", "dns.test:53", "127.0.0.1:5x", "127.0.0.1:53,1.1.1.1:53"
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_EQ(egress_resolver_check(bad[i], NULL), -EINVAL);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_EGRESS] = egress_room_main };
    room_dispatch(argc, argv, rooms);
    signal(SIGPIPE, SIG_IGN);
    return test_main(argc, argv);
}
