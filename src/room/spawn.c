/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spawning. The user and the pid namespace are made by clone(2) itself, so that their refusal is
 * known here; mount, IPC and network namespace by the child, beside the parent's own work (a
 * network namespace takes about 0.7 ms, the rest together 0.2). The child is a fork with its own
 * copy of memory and calls only what is safe in one; it has no voice but its exit code, which
 * STAGE_ names.
 *
 * Inside, the room is pid 1 and user 0 of its user namespace, mapped to the one user who started
 * it: root there is what lets it build its empty root folder, and jail_close() drops it.
 */
#include "room/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "room/jail_table.h"
#include "room/try.h"

/* Exit codes of a room that did not get as far as its main: STAGE_LAYER + the layer's index. */
enum stage { STAGE_LAYER = 100, STAGE_IDS = 110, STAGE_DESCRIPTORS, STAGE_EXEC, STAGE_ARGUMENTS };
_Static_assert(ROOM_EXIT_CPU == STAGE_ARGUMENTS + 1, "one range of exit codes");

static const struct {
    enum jail_layer layer;
    const char *name;
} layers[JAIL_LAYER_COUNT] = {
    { JAIL_USER_NAMESPACE, "user-namespace" },
    { JAIL_PID_NAMESPACE, "pid-namespace" },
    { JAIL_NET_NAMESPACE, "net-namespace" },
    { JAIL_MOUNT_NAMESPACE, "mount-namespace" },
    { JAIL_IPC_NAMESPACE, "ipc-namespace" },
    { JAIL_LANDLOCK, "landlock" },
    { JAIL_SECCOMP, "seccomp" },
    { JAIL_RLIMITS, "rlimits" },
    { JAIL_NO_NEW_PRIVILEGES, "no-new-privileges" },
};

enum rooms {
    W = 1 << ROOM_WORKER,
    C = 1 << ROOM_COMPILER,
    I = 1 << ROOM_INGRESS,
    K = 1 << ROOM_KEEPER,
    ALL = (1 << ROOM_ROLE_COUNT) - 1
};

const struct jail_layer_row *jail_layer(size_t index)
{
#define LAYER(layer_, rooms_, when_, stops_, how_) \
    { .layer = (layer_),                           \
      .rooms = (rooms_),                           \
      .when = JAIL_BY_##when_,                     \
      .stops = (stops_),                           \
      .how = (how_) },
    static const struct jail_layer_row rows[] = { JAIL_LAYERS(LAYER) };
    _Static_assert(ARRAY_SIZE(rows) == JAIL_LAYER_COUNT, "a row for each layer");
    ASSERT(index < JAIL_LAYER_COUNT);
    return &rows[index];
}

static uint32_t started_without;
#ifdef AMBIT_TEST_HOOKS
static uint32_t left_out;

void room_spawn_skip(uint32_t bits)
{
    left_out = bits & JAIL_NAMESPACES;
}
#else
enum { left_out = 0 };
#endif

const char *jail_layer_name(enum jail_layer one)
{
    for (size_t i = 0; i < ARRAY_SIZE(layers); i++)
        if (layers[i].layer == one)
            return layers[i].name;
    return "unknown";
}

int jail_layer_parse(const char *name, uint32_t *ret_bits)
{
    if (strcmp(name, "namespaces") == 0) {
        *ret_bits = JAIL_NAMESPACES;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(layers); i++) {
        if (strcmp(name, layers[i].name) == 0) {
            *ret_bits = layers[i].layer;
            return 0;
        }
    }
    return -EINVAL;
}

const char *room_role_name(enum room_role r)
{
    static const char *const names[ROOM_ROLE_COUNT] = { "worker", "compiler", "egress", "ingress",
                                                        "keeper" };
    return (unsigned)r < ROOM_ROLE_COUNT ? names[r] : "unknown";
}

/* ---- the child ---- */

__attribute__((noreturn)) static void child_fail(int code)
{
    _exit(code);
}

static void child_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t size = strlen(text);
    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        child_fail(STAGE_IDS);
    close(fd);
}

static void child_map_ids(uid_t uid, gid_t gid)
{
    char line[48];
    child_write("/proc/self/setgroups", "deny");
    snprintf(line, sizeof line, "0 %u 1\n", (unsigned)uid);
    child_write("/proc/self/uid_map", line);
    snprintf(line, sizeof line, "0 %u 1\n", (unsigned)gid);
    child_write("/proc/self/gid_map", line);
}

/* Egress is there to use the network: it keeps the one it was started in. */
static uint32_t child_unshare(enum room_role role, uint32_t allow_missing)
{
    int network = role == ROOM_EGRESS ? 0 : CLONE_NEWNET;
    const struct {
        int flag; /* 0: this room goes without */
        unsigned index;
    } steps[] = { { CLONE_NEWNS, 3 }, { CLONE_NEWIPC, 4 }, { network, 2 } };
    uint32_t missing = left_out & (JAIL_MOUNT_NAMESPACE | JAIL_IPC_NAMESPACE |
                                   (network ? JAIL_NET_NAMESPACE : 0u));
    if (!missing && unshare(CLONE_NEWNS | CLONE_NEWIPC | network) == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if ((missing & layers[steps[i].index].layer) || steps[i].flag == 0 ||
            unshare(steps[i].flag) == 0)
            continue;
        uint32_t bit = layers[steps[i].index].layer;
        if (!(allow_missing & bit))
            child_fail(STAGE_LAYER + (int)steps[i].index);
        missing |= bit;
    }
    return missing;
}

/* Standard error is a pipe to control, never the user's: that is often a terminal, which native code
 * in a room could then write to past the filter, and read keys from. */
static void child_descriptors(int channel_fd, int words_fd)
{
    /* Out of the way of 0 … 3 first: any of them may be closed in the parent. */
    int channel = fcntl(channel_fd, F_DUPFD_CLOEXEC, 16);
    int words = fcntl(words_fd, F_DUPFD_CLOEXEC, 16);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || channel < 0 || words < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(words, 2) < 0)
        child_fail(STAGE_DESCRIPTORS);
    if (null <= 1 && fcntl(null, F_SETFD, 0) < 0)
        child_fail(STAGE_DESCRIPTORS);
    if (dup2(channel, ROOM_CHANNEL_FD) < 0 ||
        syscall(SYS_close_range, ROOM_CHANNEL_FD + 1, ~0u, 0) < 0)
        child_fail(STAGE_DESCRIPTORS);
}

#define ARGUMENT_ROOM "--room"
#define ARGUMENT_TRY "--room-try"

__attribute__((noreturn)) static void child_main(enum room_role role, const char *as,
                                                 int channel_fd, int words_fd,
                                                 uint32_t allow_missing, uint32_t missing,
                                                 uid_t uid, gid_t gid)
{
    /* Dies with the thread of control that started it; a room that loses its
     * channel ends as well. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* No controlling terminal: no signals from its keys, no TIOCSTI into it. */
    setsid();
    if (!(missing & JAIL_USER_NAMESPACE))
        child_map_ids(uid, gid);
    missing |= child_unshare(role, allow_missing);
    child_descriptors(channel_fd, words_fd);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char bits[16], name[32];
    snprintf(bits, sizeof bits, "%u", missing);
    snprintf(name, sizeof name, "ambit-%s", room_role_name(role));
    char *arguments[] = { name, (char *)as, (char *)room_role_name(role), bits, NULL };
    char *environment[] = { NULL };
    execve("/proc/self/exe", arguments, environment);
    child_fail(STAGE_EXEC);
}

/* ---- the parent ---- */

/* fork() with namespaces, giving a pidfd. */
static pid_t clone_room(unsigned long flags, int *ret_pid_fd)
{
    return (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, ret_pid_fd, NULL, NULL);
}

/* Does a child with these namespaces start at all? */
static bool clone_works(unsigned long flags)
{
    int pid_fd = -1;
    pid_t pid = clone_room(flags, &pid_fd);
    if (pid == 0)
        _exit(0);
    if (pid < 0)
        return false;
    fd_close(pid_fd);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return true;
}

/* Which namespaces to clone with, after clone refused both. */
static int fewer_namespaces(uint32_t allow_missing, int errno_value, unsigned long *ret_flags,
                            uint32_t *ret_missing, struct error *e)
{
    unsigned long user = clone_works(CLONE_NEWUSER) ? CLONE_NEWUSER : 0;
    unsigned long pid = clone_works(user | CLONE_NEWPID) ? CLONE_NEWPID : 0;
    uint32_t missing = (user ? 0 : JAIL_USER_NAMESPACE) | (pid ? 0 : JAIL_PID_NAMESPACE);
    uint32_t refused = missing & ~allow_missing;
    if (refused) {
        const char *name = jail_layer_name(refused & JAIL_USER_NAMESPACE ? JAIL_USER_NAMESPACE
                                                                         : JAIL_PID_NAMESPACE);
        error_hint(e,
                   "\"ambit doctor\" says what this machine offers; --allow-missing-jail=%s "
                   "starts without it, and the receipt says so",
                   name);
        return error_set_errno(e, errno_value, "no %s can be made", name);
    }
    *ret_flags = user | pid;
    *ret_missing = missing;
    return 0;
}

static int spawn_as(enum room_role role, const char *as, uint32_t allow_missing, struct room *ret,
                    struct error *e)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(e, errno, "cannot make a socket pair");
    CLEANUP(fd_closep) int theirs = pair[1];
    CLEANUP(channel_freep) struct channel *channel = NULL;
    int result = channel_new(pair[0], &channel, e);
    if (result < 0)
        return result;
    /* Non-blocking for both ends: a room that talks too much loses words and does not wait. */
    if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(e, errno, "cannot make a pipe");
    CLEANUP(fd_closep) int last_words = pair[0];
    CLEANUP(fd_closep) int words = pair[1];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    unsigned long flags = (left_out & JAIL_USER_NAMESPACE ? 0 : CLONE_NEWUSER) |
                          (left_out & JAIL_PID_NAMESPACE ? 0 : CLONE_NEWPID);
    uint32_t missing = left_out & (JAIL_USER_NAMESPACE | JAIL_PID_NAMESPACE);
    int pid_fd = -1;
    pid_t pid = clone_room(flags, &pid_fd);
    if (pid < 0) {
        result = fewer_namespaces(allow_missing, errno, &flags, &missing, e);
        if (result < 0)
            return result;
        pid = clone_room(flags, &pid_fd);
    }
    if (pid == 0)
        child_main(role, as, theirs, words, allow_missing, missing, uid, gid);
    if (pid < 0)
        return error_set_errno(e, errno, "cannot start the %s process", room_role_name(role));
    channel_kills(channel, pid_fd);
    *ret = (struct room){ .role = role,
                          .pid = pid,
                          .pid_fd = pid_fd,
                          .last_words_fd = fd_take(&last_words),
                          .channel = TAKE(channel),
                          .missing = missing };
    return 0;
}

int room_spawn(enum room_role role, uint32_t allow_missing, struct room *ret, struct error *e)
{
    return spawn_as(role, ARGUMENT_ROOM, allow_missing, ret, e);
}

int room_spawn_try(enum room_role role, uint32_t allow_missing, struct room *ret, struct error *e)
{
    return spawn_as(role, ARGUMENT_TRY, allow_missing, ret, e);
}

/* What a room wrote to its standard error (a panic, a failed assertion, a sanitizer), escaped, once it
 * has ended. The pipe's size bounds it. */
static void pass_last_words(struct room *r)
{
    uint8_t chunk[4096];
    struct text_filter filter = { 0 };
    ssize_t n;
    while ((n = read(r->last_words_fd, chunk, sizeof chunk)) > 0) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(12 * sizeof chunk);
        text_filter(&filter, &text, chunk, (size_t)n, false);
        if (buf_status(&text) < 0 || file_write_fd(STDERR_FILENO, text.data, text.size, NULL) < 0)
            break; /* nobody reads it: the room's status says that it failed */
    }
    fd_closep(&r->last_words_fd);
}

/* Reaps a room that has ended. */
static int reap(struct room *r, int *ret_status)
{
    pid_t got;
    do {
        got = waitpid(r->pid, ret_status, 0);
    } while (got < 0 && errno == EINTR);
    int failed = got < 0 ? errno : 0;
    r->pid = 0;
    fd_close(r->pid_fd);
    r->pid_fd = -1;
    if (r->channel)
        channel_kills(r->channel, -1);
    pass_last_words(r);
    return failed;
}

int room_wait(struct room *r, int timeout_ms, int *ret_status, struct error *e)
{
    ASSERT(r->pid > 0);
    struct pollfd ended = { .fd = r->pid_fd, .events = POLLIN };
    int count;
    do {
        count = poll(&ended, 1, timeout_ms);
    } while (count < 0 && errno == EINTR && timeout_ms < 0);
    if (count == 0 || (count < 0 && errno == EINTR))
        return 1;
    if (count < 0)
        return error_set_errno(e, errno, "cannot wait for the %s process", room_role_name(r->role));
    int status = 0, failed = reap(r, &status);
    if (failed)
        return error_set_errno(e, failed, "cannot wait for the %s process",
                               room_role_name(r->role));
    *ret_status = status;
    return 0;
}

void room_kill(const struct room *r)
{
    if (r->pid > 0)
        (void)syscall(SYS_pidfd_send_signal, r->pid_fd, SIGKILL, NULL, 0);
}

void room_end(struct room *r)
{
    if (r->pid > 0) {
        int status;
        room_kill(r);
        reap(r, &status);
    }
    channel_free(TAKE(r->channel));
}

uint32_t room_status_missing(int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) < STAGE_LAYER ||
        WEXITSTATUS(status) >= STAGE_LAYER + JAIL_LAYER_COUNT)
        return 0;
    return layers[WEXITSTATUS(status) - STAGE_LAYER].layer;
}

static const char *signal_reason(int signal)
{
    switch (signal) {
    case SIGSYS:
        return "a system call outside its list";
    case SIGXCPU:
        return "its CPU time is used up";
    case SIGXFSZ:
        return "a file grew past its limit";
    case SIGKILL:
        return "killed";
    case SIGSEGV:
    case SIGBUS:
        return "invalid memory access";
    case SIGILL:
    case SIGABRT:
        return "it found a fault in itself";
    default:
        return NULL;
    }
}

void room_status_text(int status, struct buf *out)
{
    static const char *const stages[] = { "its user could not be mapped",
                                          "its descriptors could not be arranged",
                                          "/proc/self/exe could not be started",
                                          "it was started in a way that is not control's",
                                          "its CPU time is used up" };
    uint32_t layer = room_status_missing(status);
    if (WIFSIGNALED(status)) {
        const char *reason = signal_reason(WTERMSIG(status));
        buf_printf(out, "signal %d", WTERMSIG(status));
        if (reason)
            buf_printf(out, " (%s)", reason);
    } else if (layer) {
        buf_printf(out, "no %s can be made", jail_layer_name(layer));
    } else if (WIFEXITED(status)) {
        int code = WEXITSTATUS(status);
        buf_printf(out, "exit code %d", code);
        if (code >= STAGE_IDS && code <= ROOM_EXIT_CPU)
            buf_printf(out, " (%s)", stages[code - STAGE_IDS]);
    } else {
        buf_printf(out, "wait status %#x", (unsigned)status);
    }
}

/* ---- in the room ---- */

uint32_t room_started_without(void)
{
    return started_without;
}

int room_dispatch(int argc, char **argv, const room_main table[static ROOM_ROLE_COUNT])
{
    bool tries = argc >= 2 && strcmp(argv[1], ARGUMENT_TRY) == 0;
    if (argc < 2 || (!tries && strcmp(argv[1], ARGUMENT_ROOM) != 0))
        return 0;
    struct stat st;
    char *end;
    if (argc != 4 || fstat(ROOM_CHANNEL_FD, &st) < 0 || !S_ISSOCK(st.st_mode))
        _exit(STAGE_ARGUMENTS);
    unsigned long missing = strtoul(argv[3], &end, 10);
    if (*end || end == argv[3] || missing & ~(unsigned long)JAIL_NAMESPACES)
        _exit(STAGE_ARGUMENTS);
    started_without = (uint32_t)missing;
    for (unsigned r = 0; r < ROOM_ROLE_COUNT; r++) {
        if (strcmp(argv[2], room_role_name(r)) != 0)
            continue;
        struct channel *control = NULL;
        if (!table[r] && !tries)
            break;
        if (channel_new(ROOM_CHANNEL_FD, &control, NULL) < 0)
            _exit(STAGE_ARGUMENTS);
        /* Nothing is left to clean up, and no exit handler of a library shall run in the jail. */
        _exit(tries ? try_room_main((enum room_role)r, control) : table[r](control));
    }
    _exit(STAGE_ARGUMENTS);
}
