/* SPDX-License-Identifier: Apache-2.0 */
/* worker/host/stdio.c over pipes, files and sockets: readiness, ends, limits, and the user's
 * descriptors left as they were. */
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/unit/worker_fixture.h"

#define ALL "grants:\n  - stdio: [stdin, stdout, stderr]\n"

struct ends {
    int ours, guests;
};

static struct ends pipe_in(void)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    return (struct ends){ .ours = fds[1], .guests = fds[0] };
}

static struct ends pipe_out(void)
{
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    return (struct ends){ .ours = fds[0], .guests = fds[1] };
}

TEST(input_comes_when_it_comes)
{
    struct fixture f;
    struct ends in = pipe_in();
    int user = dup(in.guests);
    uint8_t got[16];
    size_t size = 9;
    fixture_open_with(&f, ALL, in.guests, -1, -1);
    CHECK_EQ(fcntl(user, F_GETFL) & O_NONBLOCK, 0);
    uint32_t s = f.v->stdio(f.guest, 0);
    CHECK_EQ(f.v->stream_read(f.guest, s, got, sizeof(got), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 0);
    CHECK_EQ(f.v->wait(f.guest, s, false, 77), AMBIT_PENDING);
    f.v->cancel(f.guest, 77);
    f.v->cancel(f.guest, 77);
    CHECK_EQ(f.loop.operation_count, 0);
    CHECK_EQ(write(in.ours, "hello", 5), 5);
    CHECK_EQ(f.v->wait(f.guest, s, false, 78), AMBIT_READY);
    CHECK_EQ(f.v->stream_read(f.guest, s, got, 3, &size), AMBIT_STREAM_OK);
    CHECK(size == 3 && !memcmp(got, "hel", 3));
    CHECK_EQ(f.v->stream_read(f.guest, s, got, sizeof(got), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 2);
    close(in.ours);
    CHECK_EQ(f.v->wait(f.guest, s, false, 79), AMBIT_READY);
    CHECK_EQ(f.v->stream_read(f.guest, s, got, sizeof(got), &size), AMBIT_STREAM_CLOSED);
    CHECK_EQ(f.guest->uses[0].bytes_read, 5);
    CHECK_EQ(f.denials, 0);
    fixture_close(&f);
    close(user);
}

TEST(denied_streams)
{
    struct fixture f;
    struct ends in = pipe_in(), out = pipe_out();
    uint8_t got[16];
    size_t size;
    CHECK_EQ(write(in.ours, "secret", 6), 6);
    fixture_open_with(&f, "grants:\n  - stdio: [stderr]\n", in.guests, out.guests, -1);
    uint32_t stdin_handle = f.v->stdio(f.guest, 0), stdout_handle = f.v->stdio(f.guest, 1);
    CHECK_EQ(f.denials, 0); /* asking for a handle takes nothing */
    CHECK_EQ(f.v->wait(f.guest, stdin_handle, false, 1), AMBIT_READY);
    CHECK_EQ(f.v->stream_read(f.guest, stdin_handle, got, sizeof(got), &size), AMBIT_STREAM_CLOSED);
    CHECK_EQ(size, 0);
    CHECK_EQ(f.v->stream_check_write(f.guest, stdout_handle, &size), AMBIT_STREAM_FAILED);
    CHECK_EQ(f.v->stream_write(f.guest, stdout_handle, (const uint8_t *)"x", 1),
             AMBIT_STREAM_FAILED);
    struct ambit_bytes why = f.v->stream_error(f.guest, stdout_handle);
    CHECK(why.size > 8 && !memcmp(why.data, "stdout: ", 8));
    CHECK_EQ(f.denials, 2);
    CHECK_STR(f.operations[0], "read");
    CHECK_STR(f.resources[1], "stdout");
    CHECK_HAS(f.yaml[1], "stdout");
    CHECK_EQ(f.guest->denials->total, 3);
    CHECK_EQ(f.guest->done.output_bytes, 0);
    fixture_close(&f);
    close(in.ours);
    close(out.ours);
}

TEST(directions_do_not_mix)
{
    struct fixture f;
    struct ends in = pipe_in(), out = pipe_out();
    uint8_t got[4];
    size_t size;
    fixture_open_with(&f, ALL, in.guests, out.guests, -1);
    uint32_t i = f.v->stdio(f.guest, 0), o = f.v->stdio(f.guest, 1), e = f.v->stdio(f.guest, 2);
    CHECK_EQ(f.v->stream_write(f.guest, i, (const uint8_t *)"x", 1), AMBIT_STREAM_FAILED);
    CHECK_EQ(f.v->stream_read(f.guest, o, got, 1, &size), AMBIT_STREAM_FAILED);
    CHECK_EQ(f.v->wait(f.guest, i, true, 1), AMBIT_READY);
    CHECK_EQ(f.v->stream_check_write(f.guest, e, &size),
             AMBIT_STREAM_CLOSED); /* not there at all */
    CHECK_EQ(f.v->stdio(f.guest, 3), 0);
    CHECK(f.guest->ended);
    fixture_close(&f);
    close(in.ours);
    close(out.ours);
}

TEST(a_full_pipe_gives_no_permit)
{
    struct fixture f;
    struct ends out = pipe_out();
    uint8_t block[STREAM_HELD_MAX] = { 0 };
    size_t size, total = 0;
    fixture_open_with(&f, ALL, -1, out.guests, -1);
    uint32_t s = f.v->stdio(f.guest, 1);
    while (f.v->stream_check_write(f.guest, s, &size) == AMBIT_STREAM_OK && size > 0) {
        CHECK_EQ(size, STREAM_HELD_MAX);
        CHECK_EQ(f.v->stream_write(f.guest, s, block, size), AMBIT_STREAM_OK);
        total += size;
        CHECK(total <= 1 << 20);
    }
    CHECK_EQ(total, 65536 + STREAM_HELD_MAX); /* the pipe, and what is held */
    CHECK_EQ(f.v->wait(f.guest, s, true, 5), AMBIT_PENDING);
    CHECK_EQ(read(out.ours, block, sizeof(block)), sizeof(block));
    CHECK_EQ(f.v->wait(f.guest, s, true, 6), AMBIT_READY);
    f.v->cancel(f.guest, 5);
    /* what was held filled the pipe again: new bytes are held, the flush says nothing, no permit */
    CHECK_EQ(f.v->stream_write(f.guest, s, block, sizeof(block)), AMBIT_STREAM_OK);
    CHECK_EQ(f.guest->streams[STREAM_OUT].held_size, sizeof(block));
    CHECK_EQ(f.v->stream_flush(f.guest, s), AMBIT_STREAM_OK);
    CHECK_EQ(f.v->stream_check_write(f.guest, s, &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 0);
    CHECK_EQ(read(out.ours, block, sizeof(block)), sizeof(block));
    CHECK_EQ(f.v->stream_flush(f.guest, s), AMBIT_STREAM_OK);
    CHECK_EQ(f.guest->streams[STREAM_OUT].held_size, 0);
    fixture_close(&f);
    close(out.ours);
}

TEST(a_write_beyond_its_permit_is_the_engines_mistake)
{
    static const uint8_t block[STREAM_HELD_MAX + 1];
    struct fixture f;
    struct ends out = pipe_out();
    fixture_open_with(&f, ALL, -1, out.guests, -1);
    uint32_t s = f.v->stdio(f.guest, 1);
    CHECK_EQ(f.v->stream_write(f.guest, s, block, sizeof(block)), AMBIT_STREAM_END);
    CHECK_EQ(f.guest->done.end, RUN_END_FAULT);
    CHECK_EQ(f.guest->done.output_bytes, 0);
    fixture_close(&f);
    close(out.ours);
}

TEST(nobody_reads)
{
    struct fixture f;
    struct ends out = pipe_out();
    size_t size;
    signal(SIGPIPE, SIG_IGN);
    fixture_open_with(&f, ALL, -1, out.guests, -1);
    close(out.ours);
    uint32_t s = f.v->stdio(f.guest, 1);
    CHECK_EQ(f.v->wait(f.guest, s, true, 1), AMBIT_READY);
    CHECK_EQ(f.v->stream_check_write(f.guest, s, &size), AMBIT_STREAM_OK);
    CHECK_EQ(f.v->stream_write(f.guest, s, (const uint8_t *)"x", 1), AMBIT_STREAM_CLOSED);
    CHECK_EQ(f.v->stream_check_write(f.guest, s, &size), AMBIT_STREAM_CLOSED);
    CHECK(!f.guest->ended);
    fixture_close(&f);
}

/* A named pipe that nobody reads cannot be opened again: the one we were given is asked first. */
TEST(a_pipe_that_is_not_ours_alone)
{
    struct fixture f;
    char path[] = "/tmp/ambit-test-XXXXXX", name[64];
    size_t size;
    signal(SIGPIPE, SIG_IGN);
    CHECK(mkdtemp(path) != NULL);
    snprintf(name, sizeof(name), "%s/fifo", path);
    CHECK_EQ(mkfifo(name, 0600), 0);
    int reader = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct ends out = { .guests = open(name, O_WRONLY | O_CLOEXEC) };
    CHECK(reader >= 0 && out.guests >= 0);
    close(reader);
    fixture_open_with(&f, ALL, -1, out.guests, -1);
    CHECK(!f.guest->streams[STREAM_OUT].own_description);
    CHECK_EQ(fcntl(out.guests, F_GETFL) & O_NONBLOCK, 0);
    uint32_t s = f.v->stdio(f.guest, 1);
    CHECK_EQ(f.v->wait(f.guest, s, true, 1), AMBIT_READY);
    CHECK_EQ(f.v->stream_check_write(f.guest, s, &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, STREAM_HELD_MAX);
    CHECK_EQ(f.v->stream_write(f.guest, s, (const uint8_t *)"x", 1), AMBIT_STREAM_CLOSED);
    fixture_close(&f);
    unlink(name);
    rmdir(path);
}

TEST(the_output_limit_is_exact)
{
    struct fixture f;
    struct ends out = pipe_out(), err = pipe_out();
    char got[32] = { 0 };
    fixture_open_with(&f, "limits: { output: 10 }\n" ALL, -1, out.guests, err.guests);
    uint32_t o = f.v->stdio(f.guest, 1), e = f.v->stdio(f.guest, 2);
    CHECK_EQ(f.v->stream_write(f.guest, o, (const uint8_t *)"1234", 4), AMBIT_STREAM_OK);
    CHECK_EQ(f.v->stream_write(f.guest, e, (const uint8_t *)"567890", 6), AMBIT_STREAM_OK);
    CHECK(!f.guest->ended);
    CHECK_EQ(f.v->stream_write(f.guest, o, (const uint8_t *)"", 0), AMBIT_STREAM_OK);
    CHECK_EQ(f.v->stream_write(f.guest, o, (const uint8_t *)"x", 1), AMBIT_STREAM_END);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_OUTPUT);
    CHECK_EQ(f.guest->done.output_bytes, 10);
    CHECK_EQ(read(out.ours, got, sizeof(got)), 4);
    CHECK_EQ(read(err.ours, got, sizeof(got)), 6);
    fixture_close(&f);
    close(err.ours);
    close(out.ours);

    out = pipe_out();
    fixture_open_with(&f, "limits: { output: 10 }\n" ALL, -1, out.guests, -1);
    o = f.v->stdio(f.guest, 1);
    CHECK_EQ(f.v->stream_write(f.guest, o, (const uint8_t *)"1234567890abc", 13), AMBIT_STREAM_END);
    CHECK_EQ(read(out.ours, got, sizeof(got)), 10); /* what was within is delivered */
    fixture_close(&f);
    close(out.ours);
}

TEST(files_never_wait)
{
    struct fixture f;
    char path[] = "/tmp/ambit-test-XXXXXX";
    int fd = mkstemp(path);
    uint8_t got[16];
    size_t size;
    CHECK(fd >= 0);
    unlink(path);
    CHECK_EQ(write(fd, "input", 5), 5);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    fixture_open_with(&f, ALL, dup(fd), open("/dev/null", O_WRONLY | O_CLOEXEC), dup(fd));
    uint32_t i = f.v->stdio(f.guest, 0), o = f.v->stdio(f.guest, 1), e = f.v->stdio(f.guest, 2);
    CHECK_EQ(f.v->wait(f.guest, i, false, 1), AMBIT_READY);
    CHECK_EQ(f.v->wait(f.guest, o, true, 2), AMBIT_READY);
    CHECK_EQ(f.v->stream_read(f.guest, i, got, sizeof(got), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 5);
    CHECK_EQ(f.v->stream_check_write(f.guest, e, &size), AMBIT_STREAM_OK);
    CHECK(size > 100000);
    CHECK_EQ(f.v->stream_write(f.guest, e, (const uint8_t *)"!", 1), AMBIT_STREAM_OK);
    CHECK_EQ(f.v->stream_write(f.guest, o, (const uint8_t *)"!", 1), AMBIT_STREAM_OK);
    CHECK_EQ(f.v->stream_read(f.guest, i, got, sizeof(got), &size), AMBIT_STREAM_CLOSED);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 6); /* the offset is the user's too */
    fixture_close(&f);
    close(fd);
}

TEST(sockets_do_not_block)
{
    struct fixture f;
    int pair[2];
    uint8_t block[STREAM_HELD_MAX] = { 0 };
    size_t size, writes = 0;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fixture_open_with(&f, ALL, dup(pair[0]), dup(pair[0]), -1);
    CHECK_EQ(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
    uint32_t i = f.v->stdio(f.guest, 0), o = f.v->stdio(f.guest, 1);
    CHECK_EQ(f.v->stream_read(f.guest, i, block, sizeof(block), &size), AMBIT_STREAM_OK);
    CHECK_EQ(size, 0);
    while (f.v->stream_check_write(f.guest, o, &size) == AMBIT_STREAM_OK && size > 0) {
        CHECK_EQ(f.v->stream_write(f.guest, o, block, size), AMBIT_STREAM_OK);
        CHECK(++writes < 1000);
    }
    CHECK(writes > 1);
    CHECK_EQ(f.v->wait(f.guest, o, true, 3), AMBIT_PENDING);
    close(pair[1]);
    CHECK_EQ(f.v->wait(f.guest, o, true, 4), AMBIT_READY);
    fixture_close(&f);
    close(pair[0]);
}

TEST(terminals_are_told_only_when_granted)
{
    struct fixture f;
    fixture_open(&f, "grants:\n  - stdio: [stdout]\n");
    f.start.terminal = STDIO_IN | STDIO_OUT;
    CHECK(!f.v->stdio_is_terminal(f.guest, 0));
    CHECK(f.v->stdio_is_terminal(f.guest, 1));
    CHECK(!f.v->stdio_is_terminal(f.guest, 2));
    CHECK(!f.v->stdio_is_terminal(f.guest, 3));
    fixture_close(&f);
}

TEST_MAIN()
