/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attempts of `ambit doctor`. Each makes its system calls itself, as native code would that has
 * taken the room over.
 *
 * Who refused is told from the facts: a death by SIGSYS is seccomp; an error is seccomp's, too, when
 * the room's own filter gives that error for that call (seccomp_answer() runs it); every other error
 * has one layer in this jail that gives it for that attempt, and the table says which. An error that
 * the table does not know is told without a layer.
 */
#include "room/try.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "room/probe.h"
#include "room/seccomp.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

enum { FRAME_TRY = 1, FRAME_ANSWER = 2, FRAME_PROBE = 3 };
#define TRY_DESCRIPTORS 64
#define TRY_DATA (UINT64_C(4) << 30)
#define TRY_FILE_SIZE (1u << 20)
#define TRY_PATIENCE_MS 5000

struct bait {
    int folder;    /* the read-only mount, or -1 */
    pid_t control; /* as control sees itself */
};

static int done(long result)
{
    return result < 0 ? -errno : 0;
}

static int opens(int folder, const char *path, int flags)
{
    int fd = (int)syscall(SYS_openat, folder, path, flags | O_CLOEXEC, 0600);
    fd_close(fd);
    return done(fd);
}

static int open_passwd(const struct bait *b)
{
    return opens(AT_FDCWD, "/etc/passwd", O_RDONLY);
}
static int list_root(const struct bait *b)
{
    return opens(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
}
static int open_memory(const struct bait *b)
{
    return opens(AT_FDCWD, "/proc/self/mem", O_RDWR);
}
static int open_beside(const struct bait *b)
{
    return opens(b->folder, "../outside", O_RDONLY);
}
static int look_beside(const struct bait *b)
{
    struct stat st;
    return done(syscall(SYS_newfstatat, b->folder, "../outside", &st, AT_SYMLINK_NOFOLLOW));
}
static int write_mount(const struct bait *b)
{
    return opens(b->folder, "file", O_WRONLY);
}
static int touch_mount(const struct bait *b)
{
    return done(syscall(SYS_utimensat, b->folder, "file", NULL, 0));
}
static int make_socket(const struct bait *b)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fd_close(fd);
    return done(fd);
}
static int make_local_socket(const struct bait *b)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fd_close(fd);
    return done(fd);
}
static int make_listener(const struct bait *b)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -errno : done(bind(fd, (struct sockaddr *)&any, sizeof any));
    fd_close(fd);
    return result;
}
static int start_program(const struct bait *b)
{
    char *const arguments[] = { "sh", "-c", "exit 77", NULL }, *const environment[] = { NULL };
    return done(syscall(SYS_execve, "/bin/sh", arguments, environment));
}
static int start_process(const struct bait *b)
{
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return done(pid);
}
static int signal_control(const struct bait *b)
{
    return done(syscall(SYS_kill, b->control, 0));
}
static int trace_control(const struct bait *b)
{
    return done(syscall(SYS_ptrace, PTRACE_SEIZE, b->control, 0, 0));
}
static int read_control(const struct bait *b)
{
    char byte;
    struct iovec own = { &byte, 1 }, theirs = { (void *)1, 1 };
    long got = syscall(SYS_process_vm_readv, b->control, &own, 1L, &theirs, 1L, 0L);
    return got < 0 && errno == EFAULT ? 0 : done(got); /* permitted, and nothing lies there */
}
static int map_code(const struct bait *b)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -errno : 0;
}
static int make_namespace(const struct bait *b)
{
    return done(syscall(SYS_unshare, CLONE_NEWUSER));
}
static int mount_something(const struct bait *b)
{
    return done(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL));
}
static int load_program(const struct bait *b)
{
    return done(syscall(SYS_bpf, 0, NULL, 0));
}
static int share_memory(const struct bait *b)
{
    return done(syscall(SYS_shmget, 0x416d6269, 4096L, 01600L));
}
static int fill_memory(const struct bait *b)
{
    int fd = (int)syscall(SYS_memfd_create, "filled", MFD_CLOEXEC);
    int result = fd < 0 ? -errno : done(ftruncate(fd, (off_t)1 << 40));
    fd_close(fd);
    return result;
}
static int use_descriptors(const struct bait *b)
{
    int result = 0;
    for (int i = 0; i <= 2 * TRY_DESCRIPTORS && result == 0; i++)
        result = done(fcntl(0, F_DUPFD_CLOEXEC, 0));
    return result;
}
#ifdef __x86_64__
/* getpid() of the 32-bit kernel interface, whose numbers mean other calls. */
static int other_architecture(const struct bait *b)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? (int)result : 0;
}
static int other_numbers(const struct bait *b)
{
    return done(syscall(0x40000000 | SYS_getpid));
}
#endif

enum rooms {
    W = 1 << ROOM_WORKER,
    C = 1 << ROOM_COMPILER,
    E = 1 << ROOM_EGRESS,
    I = 1 << ROOM_INGRESS,
    K = 1 << ROOM_KEEPER,
    ALL = W | C | E | I | K
};

/* `call`: what the filter is asked about; -1: a call that it knows by another name. */
static const struct {
    const char *what;
    unsigned rooms;
    int (*try)(const struct bait *b);
    long call;
    struct {
        int error;
        enum jail_layer layer;
    } known[3];
} attempts[] = {
    { "opens /etc/passwd",
      ALL,
      open_passwd,
      SYS_openat,
      { { ENOENT, JAIL_MOUNT_NAMESPACE }, { EACCES, JAIL_LANDLOCK } } },
    { "lists /", ALL, list_root, SYS_openat, { { EACCES, JAIL_LANDLOCK } } },
    { "opens its own memory in /proc",
      ALL,
      open_memory,
      SYS_openat,
      { { ENOENT, JAIL_MOUNT_NAMESPACE }, { EACCES, JAIL_LANDLOCK } } },
    { "opens a file beside a mount",
      W,
      open_beside,
      SYS_openat,
      { { ENOENT, JAIL_MOUNT_NAMESPACE }, { EACCES, JAIL_LANDLOCK } } },
    { "looks at a file beside a mount",
      W,
      look_beside,
      SYS_newfstatat,
      { { ENOENT, JAIL_MOUNT_NAMESPACE } } },
    { "writes in a read-only mount",
      W,
      write_mount,
      SYS_openat,
      { { EROFS, JAIL_MOUNT_NAMESPACE }, { EACCES, JAIL_LANDLOCK } } },
    { "sets times in a read-only mount",
      W,
      touch_mount,
      SYS_utimensat,
      { { EROFS, JAIL_MOUNT_NAMESPACE } } },
    { "makes an internet socket",
      W | C | I | K,
      make_socket,
      SYS_socket,
      { { EAFNOSUPPORT, JAIL_NET_NAMESPACE } } },
    { "makes a local socket", ALL, make_local_socket, SYS_socket, { { 0 } } },
    { "listens on a port", ALL, make_listener, SYS_bind, { { EACCES, JAIL_LANDLOCK } } },
    { "starts a program",
      ALL,
      start_program,
      SYS_execve,
      { { ENOENT, JAIL_MOUNT_NAMESPACE }, { EACCES, JAIL_LANDLOCK } } },
    { "starts a process", ALL, start_process, SYS_clone, { { 0 } } },
    { "signals the command",
      ALL,
      signal_control,
      SYS_kill,
      { { ESRCH, JAIL_PID_NAMESPACE }, { EPERM, JAIL_LANDLOCK } } },
    { "traces the command",
      ALL,
      trace_control,
      SYS_ptrace,
      { { ESRCH, JAIL_PID_NAMESPACE }, { EPERM, JAIL_NO_NEW_PRIVILEGES } } },
    { "reads the command's memory",
      ALL,
      read_control,
      SYS_process_vm_readv,
      { { ESRCH, JAIL_PID_NAMESPACE }, { EPERM, JAIL_NO_NEW_PRIVILEGES } } },
    { "makes memory executable", ALL, map_code, SYS_mmap, { { 0 } } },
    { "makes a user namespace",
      ALL,
      make_namespace,
      SYS_unshare,
      { { EPERM, JAIL_NO_NEW_PRIVILEGES } } },
    { "mounts a file system",
      ALL,
      mount_something,
      SYS_mount,
      { { EPERM, JAIL_NO_NEW_PRIVILEGES } } },
    { "loads a program into the kernel",
      ALL,
      load_program,
      SYS_bpf,
      { { EPERM, JAIL_NO_NEW_PRIVILEGES } } },
    { "shares memory by a System V key", ALL, share_memory, SYS_shmget, { { 0 } } },
    { "makes a file of 1 TiB in memory",
      ALL,
      fill_memory,
      SYS_memfd_create,
      { { EFBIG, JAIL_RLIMITS } } },
    { "opens descriptors without end",
      ALL,
      use_descriptors,
      SYS_fcntl,
      { { EMFILE, JAIL_RLIMITS } } },
#ifdef __x86_64__
    { "calls the kernel as a 32-bit program", ALL, other_architecture, -1, { { 0 } } },
    { "calls the kernel by the numbers of x32", ALL, other_numbers, -1, { { ENOSYS, 0 } } },
#endif
};

size_t try_count(void)
{
    return ARRAY_SIZE(attempts);
}

bool try_is_of(size_t attempt, enum room_role role)
{
    return attempts[attempt].rooms & 1u << role;
}

const char *try_what(size_t attempt)
{
    return attempts[attempt].what;
}

/* ---- in the process ---- */

static int answer(struct channel *control, int result, uint32_t missing, const char *why)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    buf_u32(&out, (uint32_t)result);
    buf_u32(&out, missing);
    buf_string(&out, why);
    if (buf_status(&out) < 0)
        return 1;
    return channel_send(control, FRAME_ANSWER, out.data, out.size, NULL, 0, NULL) < 0;
}

#ifdef AMBIT_TEST_HOOKS
static int probe_in(enum room_role role, struct channel *control, const struct frame *f)
{
    struct error e = ERROR_INIT;
    struct cursor c = cursor_of(f->payload, f->size);
    const struct jail_spec spec = {
        .role = role,
        .cpu_seconds = 10,
#if !defined(__SANITIZE_ADDRESS__)
        .data_bytes = TRY_DATA,
#endif
        .file_size_bytes = TRY_FILE_SIZE,
        .descriptors = TRY_DESCRIPTORS,
        .skip = cursor_u32(&c),
        .allow_missing = JAIL_NAMESPACES
    };
    char *text = cursor_string(&c), *words[8], said[256], *save = NULL;
    size_t count = 0;
    uint32_t missing = 0;
    if (!text || jail_close(&spec, &missing, &e) < 0)
        return answer(control, 1, missing, text ? e.what : "no words");
    (void)signal(SIGXFSZ, SIG_IGN);
    for (char *w = strtok_r(text, "\n", &save); w && count < ARRAY_SIZE(words);
         w = strtok_r(NULL, "\n", &save))
        words[count++] = w;
    room_probe(words, count, said, sizeof said);
    return answer(control, 1, missing, said);
}

void try_probe(enum room_role role, uint32_t skip, const char *words, struct buf *out)
{
    struct error e = ERROR_INIT;
    struct room room = { 0 };
    struct frame f;
    int *fds, status;
    size_t fd_count, size;
    CLEANUP(buf_done) struct buf ask = BUF_INIT(8192);
    buf_u32(&ask, skip & ((1u << JAIL_LAYER_COUNT) - 1));
    buf_string(&ask, words);
    if (room_spawn_try(role, JAIL_NAMESPACES, &room, &e) < 0 ||
        channel_send(room.channel, FRAME_PROBE, ask.data, ask.size, NULL, 0, &e) < 0) {
        buf_puts(out, e.what);
    } else if (channel_receive(room.channel, true, &f, &fds, &fd_count, &e) == 1) {
        struct cursor c = cursor_of(f.payload, f.size);
        cursor_u64(&c);
        const uint8_t *said = cursor_bytes(&c, &size);
        buf_append(out, said, said ? size : 0);
    } else if (room_wait(&room, TRY_PATIENCE_MS, &status, &e) == 0) {
        room_status_text(status, out);
    }
    room_end(&room);
}
#endif

int try_room_main(enum room_role role, struct channel *control)
{
    struct error e = ERROR_INIT;
    struct frame f;
    int *fds;
    size_t fd_count;
    if (channel_receive(control, true, &f, &fds, &fd_count, &e) != 1)
        return 1;
#ifdef AMBIT_TEST_HOOKS
    if (f.kind == FRAME_PROBE)
        return probe_in(role, control, &f);
#endif
    if (f.kind != FRAME_TRY)
        return 1;
    struct cursor c = cursor_of(f.payload, f.size);
    uint32_t attempt = cursor_u32(&c), allow_missing = cursor_u32(&c), pid = cursor_u32(&c);
    if (!cursor_finished(&c) || attempt >= ARRAY_SIZE(attempts))
        return 1;
    struct bait bait = { .folder = fd_count ? fd_take(&fds[0]) : -1, .control = (pid_t)pid };
    struct jail_folder folder = { .fd = bait.folder };
    const struct jail_spec spec = { .role = role,
                                    .folders = &folder,
                                    .folder_count = bait.folder >= 0,
                                    .cpu_seconds = 10,
                                    .file_size_bytes = TRY_FILE_SIZE,
                                    .descriptors = TRY_DESCRIPTORS,
                                    .allow_missing = allow_missing };
    uint32_t missing = 0;
    int result = bait.folder >= 0 ? jail_detach(bait.folder, false, allow_missing, 0, &e) : 0;
    if (result == 0)
        result = jail_close(&spec, &missing, &e);
    if (result < 0)
        return answer(control, 1, missing, e.what);
    (void)signal(SIGXFSZ, SIG_IGN);
    return answer(control, attempts[attempt].try(&bait), missing, "");
}

/* ---- in control ---- */

/* Does the room's own filter give this error for the attempt's call? */
static bool is_seccomps(size_t attempt, enum room_role role, int error)
{
    static struct sock_filter program[SECCOMP_PROGRAM_MAX];
    const uint64_t none[6] = { 0 };
    size_t count;
    if (attempts[attempt].call < 0 || seccomp_build(role, program, &count, NULL) < 0)
        return false;
    return seccomp_answer(program, count, ARCH, (uint32_t)attempts[attempt].call, none) ==
           (SECCOMP_RET_ERRNO | (uint32_t)error);
}

static void judge(size_t attempt, enum room_role role, int result, struct try_result *ret)
{
    if (result == 0) {
        ret->end = TRY_WENT;
        return;
    }
    int error = -result;
    ret->end = TRY_REFUSED;
    const char *name = strerrordesc_np(error);
    snprintf(ret->how, sizeof ret->how, "%s", name ? name : "an error without a name");
    if (!(ret->missing & JAIL_SECCOMP) && is_seccomps(attempt, role, error))
        ret->by = jail_layer_name(JAIL_SECCOMP);
    for (size_t i = 0; !*ret->by && i < ARRAY_SIZE(attempts[attempt].known); i++)
        if (attempts[attempt].known[i].error == error && attempts[attempt].known[i].layer &&
            !(ret->missing & attempts[attempt].known[i].layer))
            ret->by = jail_layer_name(attempts[attempt].known[i].layer);
}

static void judge_end(int status, struct try_result *ret)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        ret->end = TRY_REFUSED;
        ret->by = jail_layer_name(JAIL_SECCOMP);
        snprintf(ret->how, sizeof ret->how, "killed");
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        ret->end = TRY_WENT; /* the shell that was not to be started */
        return;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    room_status_text(status, &text);
    snprintf(ret->how, sizeof ret->how, "it ended: %s", buf_cstr(&text));
}

static int ask(struct room *room, size_t attempt, uint32_t allow_missing, int folder,
               struct error *e)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    buf_u32(&out, (uint32_t)attempt);
    buf_u32(&out, allow_missing);
    buf_u32(&out, (uint32_t)getpid());
    int result = buf_status(&out);
    return result < 0 ? result
                      : channel_send(room->channel, FRAME_TRY, out.data, out.size, &folder,
                                     folder >= 0, e);
}

void try_attempt(size_t attempt, enum room_role role, uint32_t allow_missing, int folder,
                 struct try_result *ret)
{
    struct error e = ERROR_INIT;
    struct room room = { 0 };
    struct frame f;
    int *fds, status;
    size_t fd_count;
    *ret = (struct try_result){ .end = TRY_NO_ANSWER, .by = "" };
    if (role != ROOM_WORKER)
        folder = -1;
    if (room_spawn_try(role, allow_missing, &room, &e) < 0 ||
        ask(&room, attempt, allow_missing, folder, &e) < 0) {
        snprintf(ret->how, sizeof ret->how, "%.60s", e.what);
    } else if (channel_receive(room.channel, true, &f, &fds, &fd_count, &e) == 1) {
        struct cursor c = cursor_of(f.payload, f.size);
        int32_t result = (int32_t)cursor_u32(&c);
        ret->missing = cursor_u32(&c);
        size_t size;
        const uint8_t *why = cursor_bytes(&c, &size);
        if (result > 0 && why)
            snprintf(ret->how, sizeof ret->how, "%.*s", (int)MIN(size, sizeof ret->how - 1),
                     (const char *)why);
        else if (result <= 0)
            judge(attempt, role, result, ret);
    } else if (room_wait(&room, TRY_PATIENCE_MS, &status, &e) == 0) {
        judge_end(status, ret);
    }
    room_end(&room);
}
