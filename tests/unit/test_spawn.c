/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room/spawn.c and room/jail.c with this binary as the room: the "worker" does what the first frame
 * asks for and answers with a number, the "compiler" echoes. Each layer's attack from native code,
 * with its negative control, is in tests/hostile.
 */
#include "room/spawn.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "room/jail.h"
#include "tests/unit/test.h"

enum ask {
    ASK_NOTHING = 1,
    ASK_PID,
    ASK_ENVIRONMENT,
    ASK_DESCRIPTORS,    /* bit per open descriptor below 32 */
    ASK_STANDARD_ERROR, /* EBADF: it is no terminal, takes bytes and gives none */
    ASK_EXIT_7,
    ASK_ABORT,
    ASK_SPIN, /* until RLIMIT_CPU */
    ASK_THREAD_BEFORE,
    /* after the jail closed: 0 = it worked, else errno */
    ASK_OPEN_ETC = 64,
    ASK_OPEN_FOLDER, /* "file" below the folder that came along */
    ASK_OPEN_PARENT,
    ASK_CREATE_IN_FOLDER,
    ASK_MKNOD,
    ASK_ROOT_IS_EMPTY,
    ASK_SOCKET,
    ASK_EXEC,
    ASK_FORK,
    ASK_KILL,
    ASK_MAP_EXECUTABLE,
    ASK_TERMINAL_INPUT,
    ASK_THREAD_IS_JAILED,
};

static int errno_of(long result)
{
    return result < 0 ? errno : 0;
}

static atomic_int_fast32_t thread_answer = -1;
static int thread_folder = -1;
static volatile int thread_go;

static void *thread_main(void *unused)
{
    while (!thread_go)
        sched_yield();
    thread_answer = errno_of(openat(thread_folder, "..", O_RDONLY | O_CLOEXEC));
    return NULL;
}

static int start_thread(void *context, struct error *e)
{
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, thread_main, NULL);
    return failed ? error_set_errno(e, failed, "thread") : 0;
}

static int root_entries(void)
{
    char bytes[512];
    int fd = open("/", O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return 1000 + errno;
    return (int)syscall(SYS_getdents64, fd, bytes, sizeof bytes);
}

static int try_jailed(enum ask ask, int folder)
{
    switch (ask) {
    case ASK_OPEN_ETC:
        return errno_of(openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC));
    case ASK_OPEN_FOLDER:
        return errno_of(openat(folder, "file", O_RDONLY | O_CLOEXEC));
    case ASK_OPEN_PARENT:
        return errno_of(openat(folder, "..", O_RDONLY | O_CLOEXEC));
    case ASK_CREATE_IN_FOLDER:
        return errno_of(openat(folder, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    case ASK_MKNOD:
        return errno_of(mknodat(folder, "fifo", S_IFIFO | 0600, 0));
    case ASK_SOCKET:
        return errno_of(socket(AF_INET, SOCK_STREAM, 0));
    case ASK_EXEC:
        return errno_of(execve("/proc/self/exe", (char *[]){ "x", NULL }, (char *[]){ NULL }));
    case ASK_FORK:
        return errno_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
    case ASK_KILL:
        return errno_of(kill(1, 0));
    case ASK_MAP_EXECUTABLE:
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                       MAP_FAILED
                   ? errno
                   : 0;
    case ASK_TERMINAL_INPUT:
        return errno_of(ioctl(0, TIOCSTI, "x"));
    case ASK_THREAD_IS_JAILED:
        thread_go = 1;
        while (thread_answer < 0)
            sched_yield();
        return (int)thread_answer;
    default:
        return -1;
    }
}

static void *idle(void *unused)
{
    for (;;)
        pause();
    return NULL;
}

static int try_open(enum ask ask)
{
    int bits = 0;
    switch (ask) {
    case ASK_PID:
        return getpid();
    case ASK_ENVIRONMENT:
        return environ[0] != NULL;
    case ASK_DESCRIPTORS:
        for (int fd = 0; fd < 31; fd++)
            bits |= fcntl(fd, F_GETFD) >= 0 ? 1 << fd : 0;
        return bits;
    case ASK_STANDARD_ERROR:
        if (isatty(STDERR_FILENO) || write(STDERR_FILENO, "\033]0;x\007", 6) != 6)
            return -1;
        return errno_of(read(STDERR_FILENO, &bits, 1));
    case ASK_EXIT_7:
        _exit(7);
    case ASK_ABORT:
        abort();
    default:
        return 0;
    }
}

static int worker(struct channel *control)
{
    struct error e = ERROR_INIT;
    struct frame f;
    int *fds;
    size_t fd_count;
    if (channel_receive(control, true, &f, &fds, &fd_count, &e) != 1)
        return 1;
    int folder = fd_count ? fd_take(&fds[0]) : -1;
    enum ask ask = f.kind;
    struct cursor payload = cursor_of(f.payload, f.size);
    int32_t answer = try_open(ask);
    if (ask == ASK_THREAD_BEFORE) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, idle, NULL) != 0)
            return 1;
    }
    if (ask >= ASK_OPEN_ETC || ask == ASK_SPIN || ask == ASK_THREAD_BEFORE) {
        struct jail_folder folders[] = { { folder, cursor_u32(&payload) != 0 } };
        struct jail_spec spec = { .role = ROOM_WORKER,
                                  .folders = folders,
                                  .folder_count = folder >= 0,
                                  .cpu_seconds = 1,
                                  .descriptors = 64,
                                  .start = start_thread };
        uint32_t missing = 0;
        thread_folder = folder;
        int result = jail_close(&spec, &missing, &e);
        if (result < 0)
            answer = result;
        else if (ask == ASK_ROOT_IS_EMPTY)
            answer = root_entries();
        else if (ask == ASK_SPIN)
            for (;;)
                ;
        else
            answer = try_jailed(ask, folder);
    }
    struct buf out = BUF_INIT(64);
    buf_u32(&out, (uint32_t)answer);
    if (channel_send(control, ask, out.data, out.size, NULL, 0, &e) < 0)
        return 1;
    return 0;
}

static int compiler(struct channel *control)
{
    struct error e = ERROR_INIT;
    struct frame f;
    int *fds;
    size_t fd_count;
    while (channel_receive(control, true, &f, &fds, &fd_count, &e) == 1)
        if (channel_send(control, f.kind, f.payload, f.size, fds, fd_count, &e) < 0)
            return 1;
    return 0;
}

#define NO_ANSWER INT32_MIN

struct end {
    int32_t answer;
    int status;
};

/* One worker, one question. */
static struct end ask(enum ask what, int folder, bool write)
{
    struct error e = ERROR_INIT;
    struct room room = { 0 };
    struct end end = { NO_ANSWER, 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    buf_u32(&out, write);
    if (room_spawn(ROOM_WORKER, 0, &room, &e) < 0)
        test_fail(__FILE__, __LINE__, "spawn: %s", e.what);
    struct frame f;
    int *fds;
    size_t fd_count;
    if (channel_send(room.channel, (uint16_t)what, out.data, out.size, &folder, folder >= 0, &e) ==
            0 &&
        channel_receive(room.channel, true, &f, &fds, &fd_count, &e) == 1) {
        struct cursor c = cursor_of(f.payload, f.size);
        end.answer = (int32_t)cursor_u32(&c);
    }
    if (room_wait(&room, 10000, &end.status, &e) != 0)
        test_fail(__FILE__, __LINE__, "wait: %s", e.what);
    room_end(&room);
    return end;
}

#define CHECK_KILLED(what)                          \
    do {                                            \
        struct end killed_ = (what);                \
        CHECK_EQ(killed_.answer, NO_ANSWER);        \
        CHECK(WIFSIGNALED(killed_.status));         \
        CHECK_EQ(WTERMSIG(killed_.status), SIGSYS); \
    } while (0)

static char folder_path[] = "/tmp/ambit-test-spawn-XXXXXX";

static int make_folder(void)
{
    strcpy(folder_path + sizeof folder_path - 7, "XXXXXX");
    if (!mkdtemp(folder_path))
        return -1;
    int fd = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(file);
    return fd;
}

static void remove_folder(int fd)
{
    unlinkat(fd, "file", 0);
    unlinkat(fd, "new", 0);
    unlinkat(fd, "fifo", 0);
    close(fd);
    rmdir(folder_path);
}

TEST(room_starts_alone)
{
    struct end end = ask(ASK_PID, -1, false);
    CHECK_EQ(end.answer, 1);
    CHECK_EQ(end.status, 0);
    CHECK_EQ(ask(ASK_ENVIRONMENT, -1, false).answer, 0);
    CHECK_EQ(ask(ASK_DESCRIPTORS, -1, false).answer, 15);
}

/* The terminal stays control's, which shows what a room said escaped. */
TEST(no_room_has_the_terminal)
{
    char text[256] = { 0 };
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return; /* a machine without pseudo-terminals */
    CHECK_EQ(grantpt(master), 0);
    CHECK_EQ(unlockpt(master), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    CHECK_EQ(dup2(slave, STDERR_FILENO), STDERR_FILENO);
    CHECK(isatty(STDERR_FILENO));
    struct end end = ask(ASK_STANDARD_ERROR, -1, false);
    CHECK_EQ(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    CHECK_EQ(end.answer, EBADF);
    CHECK_EQ(fcntl(master, F_SETFL, O_NONBLOCK), 0);
    CHECK(read(master, text, sizeof(text) - 1) > 0);
    CHECK_STR(text, "\\x1b]0;x\\x07");
    close(saved);
    close(slave);
    close(master);
}

TEST(descriptors_do_not_leak_in)
{
    int fd = open("/dev/null", O_RDONLY); /* no O_CLOEXEC, on purpose */
    CHECK(fd >= 0);
    CHECK_EQ(ask(ASK_DESCRIPTORS, -1, false).answer, 15);
    close(fd);
}

TEST(status_is_told)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    room_status_text(ask(ASK_EXIT_7, -1, false).status, &text);
    CHECK_STR(buf_cstr(&text), "exit code 7");
    buf_clear(&text);
    CHECK(ask(ASK_ABORT, -1, false).status != 0); /* a signal, or what a sanitizer makes of it */
    room_status_text(SIGSYS, &text);
    CHECK_STR(buf_cstr(&text), "signal 31 (a system call outside its list)");
    buf_clear(&text);
    room_status_text(102 << 8, &text);
    CHECK_STR(buf_cstr(&text), "no net-namespace can be made");
    CHECK_EQ(room_status_missing(102 << 8), JAIL_NET_NAMESPACE);
    CHECK_EQ(room_status_missing(7 << 8), 0);
}

TEST(frames_and_descriptors_pass)
{
    struct error e = ERROR_INIT;
    struct room room = { 0 };
    CHECK_EQ(room_spawn(ROOM_COMPILER, 0, &room, &e), 0);
    size_t size = FRAME_MAX;
    CLEANUP(mem_freep) uint8_t *bytes = mem_alloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31);
    int pipe_fds[2];
    CHECK_EQ(pipe(pipe_fds), 0);
    CHECK_EQ(channel_send(room.channel, 9, "hello", 5, pipe_fds, 2, &e), 0);
    struct frame f;
    int *fds;
    size_t fd_count;
    CHECK_EQ(channel_receive(room.channel, true, &f, &fds, &fd_count, &e), 1);
    CHECK_EQ(f.kind, 9);
    CHECK_EQ(f.size, 5);
    CHECK_EQ(fd_count, 2);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    int other = fd_take(&fds[0]);
    CHECK_EQ(channel_receive(room.channel, false, &f, &fds, &fd_count, &e), 0);
    CHECK_EQ(read(other, bytes, 1), 1);
    CHECK_EQ(bytes[0], 'x');
    bytes[0] = 0;
    close(other);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    CHECK_EQ(channel_send(room.channel, 10, bytes, size, NULL, 0, &e), 0);
    CHECK_EQ(channel_receive(room.channel, true, &f, &fds, &fd_count, &e), 1);
    CHECK_EQ(f.size, size);
    CHECK(memcmp(f.payload, bytes, size) == 0);
    room_end(&room);
    CHECK_EQ(mem_live(), 1); /* bytes */
}

TEST(end_of_a_room)
{
    struct error e = ERROR_INIT;
    struct room room = { 0 };
    int status;
    CHECK_EQ(room_spawn(ROOM_COMPILER, 0, &room, &e), 0);
    CHECK_EQ(room_wait(&room, 20, &status, &e), 1);
    pid_t pid = room.pid;
    room_end(&room);
    CHECK_EQ(kill(pid, 0), -1);
    CHECK_EQ(errno, ESRCH);
    room_end(&room);
    struct room none = { 0 };
    room_end(&none);
}

TEST(jail_lets_through_what_is_granted)
{
    int fd = make_folder();
    CHECK_EQ(ask(ASK_OPEN_FOLDER, fd, false).answer, 0);
    CHECK_EQ(ask(ASK_CREATE_IN_FOLDER, fd, true).answer, 0);
    CHECK_EQ(ask(ASK_THREAD_IS_JAILED, fd, true).answer, EACCES);
    CHECK_EQ(ask(ASK_TERMINAL_INPUT, fd, true).answer, ENOTTY);
    remove_folder(fd);
}

TEST(jail_refuses_files)
{
    int fd = make_folder();
    CHECK_EQ(ask(ASK_OPEN_ETC, fd, false).answer, ENOENT);
    CHECK_EQ(ask(ASK_OPEN_PARENT, fd, true).answer, EACCES);
    CHECK_EQ(ask(ASK_CREATE_IN_FOLDER, fd, false).answer, EACCES);
    /* The root has no entries beside . and ..; opening it is refused by Landlock. */
    CHECK_EQ(ask(ASK_ROOT_IS_EMPTY, fd, false).answer, 1000 + EACCES);
    CHECK_KILLED(ask(ASK_MKNOD, fd, true));
    remove_folder(fd);
}

TEST(jail_kills)
{
    CHECK_KILLED(ask(ASK_SOCKET, -1, false));
    CHECK_KILLED(ask(ASK_EXEC, -1, false));
    CHECK_KILLED(ask(ASK_FORK, -1, false));
    CHECK_KILLED(ask(ASK_KILL, -1, false));
    CHECK_KILLED(ask(ASK_MAP_EXECUTABLE, -1, false));
}

TEST(jail_wants_one_thread)
{
    CHECK(ask(ASK_THREAD_BEFORE, -1, false).answer < 0);
}

TEST(cpu_limit_ends_pid_1)
{
    struct end end = ask(ASK_SPIN, -1, false);
    CHECK(WIFEXITED(end.status));
    CHECK_EQ(WEXITSTATUS(end.status), ROOM_EXIT_CPU);
}

TEST(layers_have_names)
{
    uint32_t bits;
    for (unsigned i = 0; i < JAIL_LAYER_COUNT; i++) {
        CHECK_EQ(jail_layer_parse(jail_layer_name(1u << i), &bits), 0);
        CHECK_EQ(bits, 1u << i);
    }
    CHECK_EQ(jail_layer_parse("namespaces", &bits), 0);
    CHECK_EQ(bits, 31);
    CHECK_EQ(jail_layer_parse("unknown", &bits), -EINVAL);
    CHECK_EQ(jail_layer_parse("", &bits), -EINVAL);
}

TEST(probe)
{
    struct error e = ERROR_INIT;
    uint32_t works = 0;
    int abi = -1;
    CHECK_EQ(jail_probe(&works, &abi, &e), 0);
    CHECK_EQ(works, (1u << JAIL_LAYER_COUNT) - 1);
    CHECK(abi >= 1);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { worker, compiler };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
