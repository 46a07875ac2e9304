/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attempts of tests/hostile/test_jail.py, one function each: 0 succeeded, else a negative
 * errno. They are what native code would do that has taken a room over, after jail_close(): with
 * the descriptors it finds, and with system calls, not with anything that Ambit's own code would
 * check. Whatever a success changes on the host is undone at once, because the controls run without
 * any jail.
 */
#include "room/probe.h"

#ifdef AMBIT_TEST_HOOKS
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define DESCRIPTORS 256

static int done(long result)
{
    return result < 0 ? -errno : 0;
}

static int closed(int fd)
{
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* Calls `try` with every open folder until one works. */
static int in_folders(int (*try)(int folder, const char *word), const char *word)
{
    int result = -ENOENT;
    for (int fd = 3; fd < DESCRIPTORS && result != 0; fd++) {
        struct stat st;
        if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        int tried = try(fd, word);
        if (tried == 0 || result == -ENOENT)
            result = tried;
    }
    return result;
}

/* ---- files ---- */

static int open_absolute(const char *path)
{
    return closed((int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
}
static int try_open(int folder, const char *path)
{
    return closed((int)syscall(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC));
}
static int open_dotdot(const char *path)
{
    return in_folders(try_open, path);
}
static int try_write(int folder, const char *path)
{
    return closed((int)syscall(SYS_openat, folder, path, O_WRONLY | O_CLOEXEC));
}
static int write_readonly(const char *path)
{
    return in_folders(try_write, path);
}
static int try_chmod(int folder, const char *path)
{
    return done(syscall(SYS_fchmodat, folder, path, 0600));
}
static int chmod_readonly(const char *path)
{
    return in_folders(try_chmod, path);
}
static int try_stat(int folder, const char *path)
{
    struct stat st;
    return done(fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW));
}
static int stat_dotdot(const char *path)
{
    return in_folders(try_stat, path);
}
static int try_touch(int folder, const char *path)
{
    return done(utimensat(folder, path, NULL, 0));
}
static int touch_readonly(const char *path)
{
    return in_folders(try_touch, path);
}
static int write_absolute(const char *path)
{
    return closed((int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC));
}
/* A file in the memory of the machine that outlives the room. */
static int fill_shared(const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = done(ftruncate(fd, 1 << 20));
    close(fd);
    unlinkat(AT_FDCWD, path, 0);
    return result;
}
static int fill_memfd(const char *word)
{
    int fd = (int)syscall(SYS_memfd_create, "filled", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = done(ftruncate(fd, (off_t)64 << 20));
    close(fd);
    return result;
}
/* Shared by nobody, so that no limit of private memory counts it. */
static int fill_shared_memory(const char *word)
{
    void *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -errno : done(munmap(at, 1 << 20));
}
/* Writable memory far beyond what a room may have; it is not touched. */
static int fill_memory(const char *word)
{
    enum { STEP = 1 << 30, STEPS = 64 };
    static void *at[STEPS];
    size_t count = 0;
    int result = 0;
    while (count < STEPS && result == 0) {
        at[count] = mmap(NULL, STEP, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        result = at[count] == MAP_FAILED ? -errno : 0;
        count += result == 0;
    }
    while (count > 0)
        munmap(at[--count], STEP);
    return result;
}
static int bind_loopback(const char *word)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = done(bind(fd, (struct sockaddr *)&any, sizeof any));
    close(fd);
    return result;
}
#ifdef __x86_64__
/* getpid() of the 32-bit kernel interface, whose numbers mean other calls. */
static int other_architecture(const char *word)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? (int)result : 0;
}
#endif

static int try_symlink(int folder, const char *target)
{
    if (symlinkat(target, folder, "probe-link") < 0)
        return -errno;
    int result = try_open(folder, "probe-link");
    unlinkat(folder, "probe-link", 0);
    return result;
}
static int open_symlink(const char *target)
{
    return in_folders(try_symlink, target);
}
static int try_hardlink(int folder, const char *target)
{
    int result = done(linkat(AT_FDCWD, target, folder, "probe-hard", 0));
    unlinkat(folder, "probe-hard", 0);
    return result;
}
static int hardlink(const char *target)
{
    return in_folders(try_hardlink, target);
}
static int try_device(int folder, const char *word)
{
    int result = done(syscall(SYS_mknodat, folder, "probe-device", S_IFCHR | 0600, makedev(1, 3)));
    unlinkat(folder, "probe-device", 0);
    return result;
}
static int make_device(const char *word)
{
    return in_folders(try_device, word);
}
static int try_fifo(int folder, const char *word)
{
    int result = done(syscall(SYS_mknodat, folder, "probe-fifo", S_IFIFO | 0600, 0));
    unlinkat(folder, "probe-fifo", 0);
    return result;
}
static int make_fifo(const char *word)
{
    return in_folders(try_fifo, word);
}
static int try_handle(int folder, const char *path)
{
    struct {
        struct file_handle head;
        char bytes[MAX_HANDLE_SZ];
    } handle = { .head.handle_bytes = MAX_HANDLE_SZ };
    int mount_id;
    if (syscall(SYS_name_to_handle_at, folder, path, &handle, &mount_id, 0) < 0)
        return -errno;
    int readable = (int)syscall(SYS_openat, folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result =
        closed((int)syscall(SYS_open_by_handle_at, readable, &handle, O_RDONLY | O_CLOEXEC));
    close(readable);
    return result;
}
static int open_by_handle(const char *path)
{
    return in_folders(try_handle, path);
}

/* ---- processes ---- */

static int fork_child(const char *word)
{
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, 0);
    return done(pid);
}
static int exec_shell(const char *word)
{
    char *const arguments[] = { "sh", "-c", "exit 77", NULL }, *const environment[] = { NULL };
    return done(syscall(SYS_execve, "/bin/sh", arguments, environment));
}
static int kill_victim(const char *pid)
{
    return done(syscall(SYS_kill, (pid_t)atol(pid), SIGCONT));
}
static int trace_victim(const char *pid)
{
    if (syscall(SYS_ptrace, PTRACE_SEIZE, (pid_t)atol(pid), 0, 0) < 0)
        return -errno;
    syscall(SYS_ptrace, PTRACE_DETACH, (pid_t)atol(pid), 0, 0);
    return 0;
}
static int read_victim(const char *pid)
{
    char byte;
    struct iovec own = { &byte, 1 }, theirs = { (void *)1, 1 };
    long got = syscall(SYS_process_vm_readv, (pid_t)atol(pid), &own, 1L, &theirs, 1L, 0L);
    return got < 0 && errno == EFAULT ? 0 : done(got); /* permitted, and nothing lies there */
}
static int pidfd_victim(const char *pid)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)atol(pid), 0);
    if (fd < 0)
        return -errno;
    int result = closed((int)syscall(SYS_pidfd_getfd, fd, 0, 0));
    close(fd);
    return result;
}
static int push_terminal(const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = done(syscall(SYS_ioctl, fd, TIOCSTI, "x"));
    close(fd);
    return result;
}
static int own_memory(const char *word)
{
    return closed((int)syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC));
}
static int map_code(const char *word)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -errno : done(munmap(page, 4096));
}
static int protect_code(const char *word)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    int result = done(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    munmap(page, 4096);
    return result;
}
static int many_descriptors(const char *word)
{
    static int fds[500];
    size_t count = 0;
    int result = 0;
    while (count < ARRAY_SIZE(fds) && result == 0) {
        fds[count] = fcntl(0, F_DUPFD_CLOEXEC, 0);
        result = done(fds[count]);
        count += result == 0;
    }
    while (count > 0)
        close(fds[--count]);
    return result;
}

/* ---- networks ---- */

static int connect_loopback(const char *port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(port)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int result = done(connect(fd, (struct sockaddr *)&to, sizeof to));
    close(fd);
    return result;
}
static int connect_unix(const char *name, bool abstract)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t length = strlen(name);
    if (length + 2 > sizeof to.sun_path)
        return -ENAMETOOLONG;
    memcpy(to.sun_path + abstract, name, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + length);
    int result = done(connect(fd, (struct sockaddr *)&to, size));
    close(fd);
    return result;
}
static int connect_abstract(const char *name)
{
    return connect_unix(name, true);
}
static int connect_path(const char *name)
{
    return connect_unix(name, false);
}
static int socket_of(int family, int type)
{
    return closed(socket(family, type | SOCK_CLOEXEC, 0));
}
static int packet_socket(const char *word)
{
    return socket_of(AF_PACKET, SOCK_RAW);
}
static int netlink_socket(const char *word)
{
    return socket_of(AF_NETLINK, SOCK_RAW);
}
static int shared_memory(const char *key)
{
    return done(syscall(SYS_shmget, atol(key), 1L, 0L));
}

/* ---- the machine ---- */

static int mount_tmpfs(const char *path)
{
    if (syscall(SYS_mount, "none", path, "tmpfs", 0, NULL) < 0)
        return -errno;
    umount2(path, MNT_DETACH);
    return 0;
}
static int new_user_namespace(const char *word)
{
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, 0);
    return done(pid);
}
static int enter_namespace(const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = done(syscall(SYS_setns, fd, 0));
    close(fd);
    return result;
}
static int change_root(const char *word)
{
    return done(syscall(SYS_chroot, "/"));
}
static int host_name(const char *word)
{
    char name[65] = "";
    gethostname(name, sizeof name - 1);
    return done(syscall(SYS_sethostname, name, strlen(name)));
}
static int other_user(const char *word)
{
    return done(syscall(SYS_setresuid, 65534, 65534, 65534));
}
static int load_bpf(const char *word)
{
    union bpf_attr map = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
    };
    return closed((int)syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}
static int perf_event(const char *word)
{
    struct perf_event_attr event = { .type = PERF_TYPE_SOFTWARE,
                                     .size = sizeof event,
                                     .config = PERF_COUNT_SW_CPU_CLOCK };
    return closed((int)syscall(SYS_perf_event_open, &event, -1, 0, -1, 0));
}
static int io_uring(const char *word)
{
    struct io_uring_params ring = { 0 };
    return closed((int)syscall(SYS_io_uring_setup, 1, &ring));
}
static int keyring(const char *word)
{
    return done(syscall(SYS_keyctl, 0 /* get keyring id */, -3 /* of the session */, 1, 0, 0));
}
static int fault_handler(const char *word)
{
    return closed((int)syscall(SYS_userfaultfd, O_CLOEXEC));
}

static const struct {
    const char *name;
    int (*try)(const char *word);
} attempts[] = {
    { "open-absolute", open_absolute },
    { "open-vault", open_absolute },
    { "open-cache-key", open_absolute },
    { "open-other-run", open_absolute },
    { "open-other-environ", open_absolute },
    { "open-other-memory", open_absolute },
    { "write-cache", write_absolute },
    { "fill-shared", fill_shared },
    { "fill-memfd", fill_memfd },
    { "fill-memory", fill_memory },
    { "fill-shared-memory", fill_shared_memory },
    { "bind-loopback", bind_loopback },
#ifdef __x86_64__
    { "other-architecture", other_architecture },
#endif
    { "open-dotdot", open_dotdot },
    { "open-symlink", open_symlink },
    { "hardlink", hardlink },
    { "write-readonly", write_readonly },
    { "chmod-readonly", chmod_readonly },
    { "stat-dotdot", stat_dotdot },
    { "touch-readonly", touch_readonly },
    { "make-device", make_device },
    { "make-fifo", make_fifo },
    { "open-by-handle", open_by_handle },
    { "fork", fork_child },
    { "exec", exec_shell },
    { "kill", kill_victim },
    { "ptrace", trace_victim },
    { "process-vm-readv", read_victim },
    { "pidfd-getfd", pidfd_victim },
    { "tiocsti", push_terminal },
    { "proc-self-mem", own_memory },
    { "map-code", map_code },
    { "protect-code", protect_code },
    { "descriptors", many_descriptors },
    { "connect-loopback", connect_loopback },
    { "connect-abstract", connect_abstract },
    { "connect-unix", connect_path },
    { "packet-socket", packet_socket },
    { "netlink-socket", netlink_socket },
    { "shared-memory", shared_memory },
    { "mount", mount_tmpfs },
    { "user-namespace", new_user_namespace },
    { "setns", enter_namespace },
    { "chroot", change_root },
    { "hostname", host_name },
    { "setuid", other_user },
    { "bpf", load_bpf },
    { "perf-event", perf_event },
    { "io-uring", io_uring },
    { "keyring", keyring },
    { "userfaultfd", fault_handler },
};

void room_probe(char *const *words, size_t count, char *ret, size_t ret_size)
{
    for (size_t i = 0; count > 0 && i < ARRAY_SIZE(attempts); i++) {
        if (strcmp(words[0], attempts[i].name) != 0)
            continue;
        int result = attempts[i].try(count > 1 ? words[1] : "");
        char text[64];
        if (result == 0)
            snprintf(ret, ret_size, "probe %s: succeeded", words[0]);
        else
            snprintf(ret, ret_size, "probe %s: %s (%s)", words[0],
                     result == -ENOSYS || result == -EAFNOSUPPORT ? "not on this machine"
                                                                  : "refused",
                     strerror_r(-result, text, sizeof text));
        return;
    }
    snprintf(ret, ret_size, "probe: there is no such attempt");
}

const struct error *room_probe_lines(char *text, struct error *e)
{
    char *words[8], said[256], *save = NULL;
    size_t count = 0;
    (void)strtok_r(text, "\n", &save);
    while (count < ARRAY_SIZE(words) && (words[count] = strtok_r(NULL, "\n", &save)))
        count++;
    room_probe(words, count, said, sizeof(said));
    (void)error_set(e, -EIO, "%s", said);
    return e;
}
#endif
