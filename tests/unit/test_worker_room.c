/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker/worker.c as a room of its own, in its real jail, with the stub engine: what control may
 * send and when, what comes back. This binary is both sides.
 */
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/file.h"
#include "room/spawn.h"
#include "tests/unit/http_far_end.h"
#include "tests/unit/stub_engine.h"
#include "tests/unit/rooms.h"
#include "wire/run.h"
#include "worker/worker.h"

#define GRANTS(more) "{\"version\":1,\"grants\":[{\"stdio\":[\"stdout\"]}" more "]}"

struct run {
    struct room room;
    int out, code; /* what the guest writes; its machine code */
    struct run_start start;
    int folder; /* or -1 */
};

/* In the room: the guest looks for host files, the granted folder, and then waits to be stopped, as
 * its first argument says. */
static enum ambit_poll guest_in_jail(struct ambit_task *t)
{
    const struct ambit_host_vtbl *v = t->vtbl;
    const struct ambit_bytes *args;
    size_t count, permit = 0;
    struct ambit_fs_stat st;
    v->arguments(t->host, &args, &count);
    char what = count > 1 && args[1].size ? (char)args[1].data[0] : '?';
    if (what == 's' && !v->slice(t->host))
        return AMBIT_POLL_SLICE; /* spins until it is stopped */
    t->result =
        (struct ambit_result){ .outcome = what == 's' ? AMBIT_OUTCOME_ENDED : AMBIT_OUTCOME_EXIT,
                               .status = 42 };
    if (v->enter(t->host, 0) != 0)
        return AMBIT_POLL_DONE;
    uint32_t root = v->fs_root(t->host), out = v->stdio(t->host, 1);
    static const uint8_t folder_path[] = "data/file", denied_path[] = "etc/passwd";
    if (v->fs_stat_at(t->host, root, true,
                      (struct ambit_bytes){ denied_path, sizeof(denied_path) - 1 }, &st) == 0)
        t->result.status = 1;
    if (what == 'f' &&
        v->fs_stat_at(t->host, root, true,
                      (struct ambit_bytes){ folder_path, sizeof(folder_path) - 1 }, &st) != 0)
        t->result.status = 2;
    if (v->stream_check_write(t->host, out, &permit) != AMBIT_STREAM_OK || permit < 5 ||
        v->stream_write(t->host, out, (const uint8_t *)"hello", 5) != AMBIT_STREAM_OK)
        t->result.status = 3;
    return AMBIT_POLL_DONE;
}

static enum ambit_poll answering_guest(struct ambit_task *t)
{
    struct ambit_http_error error;
    struct ambit_http_response r = { .status = 200 };
    uint32_t body = t->vtbl->http_body_new(t->host, UINT64_MAX);
    if (t->vtbl->http_respond(t->host, t->exchange, &r, body, &error) == 0 &&
        t->vtbl->stream_write(t->host, body, (const uint8_t *)"hi", 2) == AMBIT_STREAM_OK)
        (void)t->vtbl->http_body_finish(t->host, body, NULL, 0, &error);
    return AMBIT_POLL_DONE;
}

static enum ambit_poll any_guest(struct ambit_task *t)
{
    return t->is_request ? answering_guest(t) : guest_in_jail(t);
}

static int room_with_guest(struct channel *control)
{
    stub_guest = any_guest;
    stub_serves = true;
    return worker_room_main(control);
}

static void run_open(struct run *r, const char *grants, const char *arg)
{
    static char *args[2] = { (char *)"program" };
    struct error e = ERROR_INIT;
    int ends[2];
    args[1] = (char *)arg;
    *r = (struct run){ .folder = -1 };
    if (room_spawn(ROOM_WORKER, rooms_missing(), &r->room, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    r->out = ends[0];
    r->code = file_memfd("code", "code", 4, true, &e);
    CHECK(r->code >= 0);
    r->start = (struct run_start){ .grants_json = (char *)grants,
                                   .allow_missing = rooms_missing(),
                                   .work_host = (char *)"/nowhere",
                                   .cwd = (char *)"/work",
                                   .args = args,
                                   .arg_count = 2,
                                   .program_args = 1,
                                   .invoke = (char *)"" };
    /* the write end travels as the guest's stdout; it is closed here when it is sent */
    r->start.terminal = 0;
    r->start.test_skip = 0;
    r->room.missing = 0;
    CHECK_EQ(dup2(ends[1], 100), 100);
    close(ends[1]);
}

static void run_send(struct run *r, size_t fd_count)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    struct error e = ERROR_INIT;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[5] = { r->code, null, 100, null, r->folder };
    CHECK_EQ(run_start_put(&payload, &r->start), 0);
    CHECK_EQ(
        channel_send(r->room.channel, RUN_START, payload.data, payload.size, fds, fd_count, &e), 0);
    close(100);
    close(null);
}

/* The next frame's kind, or 0 when the room is gone. */
static unsigned next(struct run *r, struct cursor *ret)
{
    struct error e = ERROR_INIT;
    struct frame f;
    int *fds;
    size_t fd_count;
    int status = channel_receive(r->room.channel, true, &f, &fds, &fd_count, &e);
    if (status == -EPIPE)
        return 0;
    CHECK_EQ(status, 1);
    *ret = cursor_of(f.payload, f.size);
    return f.kind;
}

static void run_close(struct run *r, int expected_exit)
{
    struct error e = ERROR_INIT;
    int status = -1;
    CHECK_EQ(room_wait(&r->room, 5000, &status, &e), 0);
    CHECK_EQ(status, expected_exit << 8);
    room_end(&r->room);
    close(r->out);
    close(r->code);
    fd_close(r->folder);
}

static void check_done(struct run *r, struct run_done *ret)
{
    struct error e = ERROR_INIT;
    struct cursor c;
    CHECK_EQ(next(r, &c), RUN_DONE);
    CHECK_EQ(run_done_get(&c, ret, &e), 0);
    CHECK(cursor_finished(&c));
}

TEST(a_whole_run)
{
    struct error e = ERROR_INIT;
    struct run r;
    struct cursor c;
    struct run_denial d;
    struct run_done done;
    char got[8];
    run_open(&r, GRANTS(",{\"args\":\"given\"}"), "once");
    run_send(&r, 4);
    CHECK_EQ(next(&r, &c), RUN_READY);
    CHECK_EQ(cursor_u32(&c), rooms_missing());
    CHECK_EQ(next(&r, &c), RUN_DENIAL);
    CHECK_EQ(run_denial_get(&c, &d, &e), 0);
    CHECK_STR(d.resource, "/etc/passwd");
    CHECK_HAS(d.grant_yaml, "fs: /etc");
    run_denial_done(&d);
    check_done(&r, &done);
    CHECK_EQ(done.end, RUN_END_EXIT);
    CHECK_EQ(done.status, 42);
    CHECK_EQ(done.output_bytes, 5);
    CHECK_EQ(done.denials, 1);
    CHECK_EQ(done.denial_count, 1);
    CHECK_EQ(done.use_count, 2);
    CHECK_EQ(done.uses[0].bytes_written, 5);
    run_done_done(&done);
    CHECK_EQ(read(r.out, got, sizeof(got)), 5);
    CHECK_EQ(read(r.out, got, sizeof(got)), 0);
    run_close(&r, 0);
}

TEST(a_folder_of_the_host)
{
    struct run r;
    struct cursor c;
    struct run_done done;
    char path[] = "/tmp/ambit-test-XXXXXX";
    char grants[256];
    CHECK(mkdtemp(path) != NULL);
    snprintf(
        grants, sizeof(grants),
        GRANTS(
            ",{\"args\":\"given\"},{\"fs\":\"/data\",\"from\":{\"dir\":\"%s\"},\"allow\":\"ro\"}"),
        path);
    run_open(&r, grants, "folder");
    r.folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = openat(r.folder, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    close(file);
    run_send(&r, 5);
    CHECK_EQ(next(&r, &c), RUN_READY);
    CHECK_EQ(next(&r, &c), RUN_DENIAL);
    check_done(&r, &done);
    CHECK_EQ(done.status, 42);
    run_done_done(&done);
    CHECK_EQ(unlinkat(r.folder, "file", 0), 0);
    CHECK_EQ(rmdir(path), 0);
    run_close(&r, 0);
}

TEST(a_stop_reaches_a_spinning_guest)
{
    static const uint8_t why[4] = { RUN_STOP_INTERRUPT };
    struct error e = ERROR_INIT;
    struct run r;
    struct cursor c;
    struct run_done done;
    run_open(&r, GRANTS(",{\"args\":\"given\"}"), "spin");
    run_send(&r, 4);
    CHECK_EQ(next(&r, &c), RUN_READY);
    CHECK_EQ(channel_send(r.room.channel, RUN_STOP, why, sizeof(why), NULL, 0, &e), 0);
    check_done(&r, &done);
    CHECK_EQ(done.end, RUN_END_STOPPED);
    run_done_done(&done);
    run_close(&r, 0);
}

TEST(a_stop_before_the_guest_runs)
{
    static const uint8_t why[4] = { RUN_STOP_WALL };
    struct error e = ERROR_INIT;
    struct run r;
    struct cursor c;
    struct run_done done;
    run_open(&r, GRANTS(",{\"args\":\"given\"}"), "spin");
    run_send(&r, 4);
    CHECK_EQ(channel_send(r.room.channel, RUN_STOP, why, sizeof(why), NULL, 0, &e), 0);
    CHECK_EQ(next(&r, &c), RUN_READY);
    check_done(&r, &done);
    CHECK_EQ(done.limit, RUN_LIMIT_WALL);
    run_done_done(&done);
    run_close(&r, 0);
}

TEST(the_guest_dies_with_control)
{
    struct error e = ERROR_INIT;
    struct run r;
    struct cursor c;
    int status;
    run_open(&r, GRANTS(",{\"args\":\"given\"}"), "spin");
    run_send(&r, 4);
    CHECK_EQ(next(&r, &c), RUN_READY);
    channel_free(r.room.channel);
    r.room.channel = NULL;
    CHECK_EQ(room_wait(&r.room, 5000, &status, &e), 0);
    room_end(&r.room);
    close(r.out);
    close(r.code);
}

static void expect_fault(struct run *r, const char *text)
{
    struct cursor c;
    CHECK_EQ(next(r, &c), RUN_FAULT);
    CHECK_EQ(cursor_u32(&c), RUN_FAULT_INTERNAL);
    CLEANUP(mem_freep) char *what = cursor_string(&c);
    CHECK_HAS(what, text);
    run_close(r, 1);
}

TEST(starts_that_do_not_add_up)
{
    struct run r;
    run_open(&r, GRANTS(""), "x");
    run_send(&r, 3);
    expect_fault(&r, "3 descriptors");
    run_open(&r, GRANTS(""), "x");
    r.folder = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    run_send(&r, 5);
    expect_fault(&r, "1 folders for 0 mounts");
    run_open(&r, GRANTS(",{\"fs\":\"/data\",\"from\":{\"dir\":\"/tmp\"},\"allow\":\"ro\"}"), "x");
    run_send(&r, 4);
    expect_fault(&r, "0 folders for 1 mounts");
    run_open(&r, "{\"version\":1,\"grants\":[{\"unknown\":1}]}", "x");
    run_send(&r, 4);
    expect_fault(&r, "unknown");
}

/* ---- links ---- */

/* Sends a start with one link. */
static void run_send_link(struct run *r, uint32_t links, uint32_t concurrency,
                          const int link[static LINK_FDS])
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    struct error e = ERROR_INIT;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[] = { r->code, null, 100, null, link[0], link[1], link[2] };
    r->start.links = links;
    r->start.concurrency = concurrency;
    CHECK_EQ(run_start_put(&payload, &r->start), 0);
    CHECK_EQ(channel_send(r->room.channel, RUN_START, payload.data, payload.size, fds,
                          ARRAY_SIZE(fds), &e),
             0);
    close(100);
    close(null);
}

static void send_link(struct run *r, uint32_t which, const int link[static LINK_FDS])
{
    uint8_t payload[4] = { (uint8_t)which };
    struct error e = ERROR_INIT;
    CHECK_EQ(channel_send(r->room.channel, RUN_LINK, payload, sizeof(payload), link, LINK_FDS, &e),
             0);
}

/* Waits for the worker's next frame. */
static struct cursor far_wait(struct far_end *far, unsigned kind, uint64_t number)
{
    struct pollfd p = { .fd = link_fd(far->link), .events = POLLIN };
    struct frame f;
    struct error e = ERROR_INIT;
    int status;
    link_flush(far->link);
    while ((status = link_get(far->link, &f, &e)) == 0) {
        if (link_sleep(far->link))
            continue;
        CHECK_EQ(poll(&p, 1, 10000), 1);
        link_awake(far->link);
    }
    CHECK_EQ(status, 1);
    CHECK_EQ(f.kind, kind);
    struct cursor c = cursor_of(f.payload, f.size);
    CHECK_EQ(cursor_u64(&c), number);
    return c;
}

/* In its real jail: requests over one link, then over that of an ingress room that was started
 * again, then a stop and the totals. */
TEST(requests_in_the_jail)
{
    static const uint8_t why[4] = { RUN_STOP_INTERRUPT };
    struct run r;
    struct cursor c;
    struct run_done done;
    struct far_end far = { 0 };
    struct error e = ERROR_INIT;
    int here[LINK_FDS], there[LINK_FDS];
    run_open(&r, GRANTS(""), "once");
    CHECK_EQ(link_make(here, there, &e), 0);
    CHECK_EQ(link_open(here, &far.link, &e), 0);
    far.payload = (struct buf)BUF_INIT(LINK_PAYLOAD_MAX);
    run_send_link(&r, RUN_LINK_INGRESS, 4, there);
    CHECK_EQ(next(&r, &c), RUN_READY);
    for (int room = 0; room < 2; room++) {
        for (uint64_t n = 1; n <= 100; n++) {
            far_request(&far, n, HTTP_NO_BODY, "/");
            far_wait(&far, HTTP_RESPONSE, n);
            far_wait(&far, HTTP_BODY, n);
            far_wait(&far, HTTP_END, n);
        }
        for (size_t i = 0; i < LINK_FDS; i++)
            close(there[i]);
        link_free(far.link);
        CHECK_EQ(link_make(here, there, &e), 0);
        CHECK_EQ(link_open(here, &far.link, &e), 0);
        if (room == 0)
            send_link(&r, RUN_LINK_INGRESS, there);
    }
    CHECK_EQ(channel_send(r.room.channel, RUN_STOP, why, sizeof(why), NULL, 0, &e), 0);
    check_done(&r, &done);
    CHECK_EQ(done.end, RUN_END_EXIT);
    CHECK_EQ(done.status, 0);
    run_done_done(&done);
    for (size_t i = 0; i < LINK_FDS; i++)
        close(there[i]);
    far_close(&far);
    run_close(&r, 0);
}

TEST(a_link_that_nobody_waits_for)
{
    struct run r;
    struct cursor c;
    struct error e = ERROR_INIT;
    int here[LINK_FDS], there[LINK_FDS];
    run_open(&r, GRANTS(",{\"args\":\"given\"}"), "spin");
    run_send(&r, 4);
    CHECK_EQ(next(&r, &c), RUN_READY);
    CHECK_EQ(link_make(here, there, &e), 0);
    send_link(&r, RUN_LINK_EGRESS, there);
    expect_fault(&r, "nobody waits for");
    for (size_t i = 0; i < LINK_FDS; i++) {
        close(here[i]);
        close(there[i]);
    }
}

#define LITTLE_OUTPUT                                                                          \
    "{\"version\":1,\"limits\":{\"output\":2},\"grants\":[{\"stdio\":[\"stdout\"]},{\"args\":" \
    "\"given\"}]}"

TEST(only_a_test_build_leaves_a_defence_open)
{
    struct run r;
    struct cursor c;
    struct run_done done;
    run_open(&r, LITTLE_OUTPUT, "once");
    r.start.test_skip = 1u << 20; /* the output limit, in a build that has a name for it */
    run_send(&r, 4);
#ifdef AMBIT_TEST_HOOKS
    CHECK_EQ(r.start.test_skip, RUN_SKIP_OUTPUT);
    CHECK_EQ(next(&r, &c), RUN_READY);
    CHECK_EQ(next(&r, &c), RUN_DENIAL);
    check_done(&r, &done);
    CHECK_EQ(done.end, RUN_END_EXIT);
    CHECK_EQ(done.output_bytes, 5);
    run_done_done(&done);
    run_close(&r, 0);
#else
    expect_fault(&r, "leaves no defence open");
#endif
    run_open(&r, LITTLE_OUTPUT, "once");
    run_send(&r, 4);
    CHECK_EQ(next(&r, &c), RUN_READY);
    CHECK_EQ(next(&r, &c), RUN_DENIAL);
    check_done(&r, &done);
    CHECK_EQ(done.limit, RUN_LIMIT_OUTPUT);
    CHECK_EQ(done.output_bytes, 2);
    run_done_done(&done);
    run_close(&r, 0);
}

TEST(frames_out_of_phase)
{
    static const uint8_t why[4] = { RUN_STOP_INTERRUPT };
    struct error e = ERROR_INIT;
    struct run r;
    run_open(&r, GRANTS(""), "x");
    CHECK_EQ(channel_send(r.room.channel, RUN_STOP, why, sizeof(why), NULL, 0, &e), 0);
    expect_fault(&r, "stop");
    close(100);
    run_open(&r, GRANTS(""), "x");
    CHECK_EQ(channel_send(r.room.channel, 999, why, sizeof(why), NULL, 0, &e), 0);
    expect_fault(&r, "999");
    close(100);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_WORKER] = room_with_guest };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
