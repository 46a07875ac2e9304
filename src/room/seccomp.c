/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp lists. Default: kill the process. One table, one line per rule: who may, which call,
 * under which condition, and what is answered. Rules of one call are tried in order.
 *
 * The program is built by hand and not by libseccomp, because building it is on the path of every
 * run: this takes microseconds. Its shape is plain: check the architecture, then per rule "is it
 * this number? are its arguments so? answer". The kernel evaluates calls that no argument decides
 * once and caches the answer (since 5.11), so the order costs nothing.
 *
 * What must never be in a list: execve, socket and connect (but egress's), ptrace, process_vm_*, mount and its
 * like, bpf, perf, keyctl, io_uring, userfaultfd, open_by_handle_at, pidfd_getfd, setns, unshare,
 * kill.
 */
#include "room/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the seccomp lists are known for x86-64 and aarch64"
#endif

#define X32_BIT 0x40000000u
/* Wasmtime's pooling allocator asks which pages were written (linux/fs.h of newer kernels). */
#define PAGEMAP_SCAN 0xc0606610u
#define THREAD_FLAGS                                                                    \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

enum who {
    WORKER = 1 << ROOM_WORKER,
    COMPILER = 1 << ROOM_COMPILER,
    EGRESS = 1 << ROOM_EGRESS,
    INGRESS = 1 << ROOM_INGRESS,
    KEEPER = 1 << ROOM_KEEPER,
    BOTH = WORKER | COMPILER
};
enum condition {
    ANY,     /* whatever the arguments */
    EQUAL,   /* argument `index` is `value` */
    WITHOUT, /* argument `index` has none of the bits of `value` in its low half */
    INTERNET /* socket(): IPv4 or IPv6, stream or datagram, the usual protocol */
};
struct rule {
    int nr;
    enum who who;
    enum condition condition;
    unsigned index;
    uint64_t value;
    int failure; /* 0: allowed; else it fails with this errno and does nothing */
};

#define CALL(name, who_)                \
    {                                   \
        .nr = SYS_##name, .who = (who_) \
    }
#define CALL_IF(name, who_, condition_, index_, value_)                                \
    {                                                                                  \
        .nr = SYS_##name, .who = (who_), .condition = (condition_), .index = (index_), \
        .value = (uint64_t)(value_)                                                    \
    }
#define CALL_FAILS(name, who_, errno_)                       \
    {                                                        \
        .nr = SYS_##name, .who = (who_), .failure = (errno_) \
    }

static const struct rule rules[] = {
    /* memory; no page becomes executable after the jail closed */
    CALL(brk, BOTH),
    CALL_IF(mmap, BOTH, WITHOUT, 2, PROT_EXEC),
    CALL_IF(mprotect, BOTH, WITHOUT, 2, PROT_EXEC),
    CALL(munmap, BOTH),
    CALL(mremap, BOTH),
    CALL(madvise, BOTH),
    CALL(memfd_create, WORKER), /* Wasmtime: memory images, made at the first instantiation */
    CALL(fallocate, WORKER),

    /* threads: the compiler starts some, the worker's one is there already */
    CALL(futex, BOTH),
    CALL(set_robust_list, BOTH),
    CALL(rseq, BOTH),
    CALL(sched_yield, BOTH),
    CALL(sched_getaffinity, BOTH),
    CALL_IF(clone, COMPILER, EQUAL, 0, THREAD_FLAGS),
    CALL_FAILS(clone3, COMPILER, ENOSYS), /* its flags are in memory; glibc then takes clone */
    CALL_IF(prctl, BOTH, EQUAL, 0, PR_SET_NAME),
    CALL_FAILS(prctl, BOTH, EINVAL), /* PR_SET_VMA names and the like */
    CALL(exit, BOTH),
    CALL(exit_group, BOTH),
    CALL(restart_syscall, BOTH),

    /* signals of its own */
    CALL(rt_sigaction, BOTH),
    CALL(rt_sigprocmask, BOTH),
    CALL(rt_sigreturn, BOTH),
    CALL(sigaltstack, BOTH),
    CALL_IF(tgkill, BOTH, EQUAL, 2, SIGABRT), /* abort() */

    /* who and when */
    CALL(getpid, BOTH),
    CALL(gettid, BOTH),
    CALL(getuid, BOTH),
    CALL(geteuid, BOTH),
    CALL(getgid, BOTH),
    CALL(getegid, BOTH),
    CALL(sysinfo, BOTH),                   /* glibc's qsort */
    CALL_IF(prlimit64, BOTH, EQUAL, 2, 0), /* reading only */
    CALL(getrandom, BOTH),
    CALL(clock_gettime, BOTH),
    CALL(clock_getres, BOTH),
    CALL(clock_nanosleep, BOTH),
    CALL(nanosleep, BOTH),
    CALL(gettimeofday, BOTH),
    CALL(times, BOTH),
    CALL(getrusage, BOTH),

    /* descriptors that are open, and the channel */
    CALL(read, BOTH),
    CALL(write, BOTH),
    CALL(readv, BOTH),
    CALL(writev, BOTH),
    CALL(pread64, BOTH),
    CALL(pwrite64, BOTH),
    CALL(lseek, BOTH),
    CALL(close, BOTH),
    CALL(fstat, BOTH),
    CALL(ftruncate, BOTH),
    CALL(fsync, BOTH),
    CALL(fdatasync, BOTH),
    CALL(recvmsg, BOTH),
    CALL(sendmsg, BOTH),
    CALL_IF(sendto, BOTH, EQUAL, 4, 0), /* send(): no address */
    CALL_IF(recvfrom, BOTH, EQUAL, 4, 0),
    CALL(ppoll, BOTH),
    CALL_IF(fcntl, BOTH, EQUAL, 1, F_GETFD),
    CALL_IF(fcntl, BOTH, EQUAL, 1, F_SETFD),
    CALL_IF(fcntl, BOTH, EQUAL, 1, F_GETFL),
    CALL_IF(fcntl, COMPILER, EQUAL, 1, F_SETFL), /* not the worker: flags of links and of stdio */
    CALL_IF(fcntl, BOTH, EQUAL, 1, F_DUPFD_CLOEXEC),
    CALL_IF(fcntl, WORKER, EQUAL, 1, F_ADD_SEALS),
    CALL_IF(fcntl, WORKER, EQUAL, 1, F_GET_SEALS),
    CALL_IF(ioctl, WORKER, EQUAL, 1, PAGEMAP_SCAN),
    CALL_FAILS(ioctl, BOTH, ENOTTY), /* isatty() and every other: TIOCSTI, FS_IOC_… */
    CALL(epoll_create1, WORKER),
    CALL(epoll_ctl, WORKER),
    CALL(epoll_pwait, WORKER),
    CALL(eventfd2, WORKER),
    CALL(timerfd_create, WORKER),
    CALL(timerfd_settime, WORKER),
    CALL(timerfd_gettime, WORKER),

    /* the ingress room: connections that come, on sockets that control made */
    CALL(brk, INGRESS),
    CALL_IF(mmap, INGRESS, WITHOUT, 2, PROT_EXEC),
    CALL_IF(mprotect, INGRESS, WITHOUT, 2, PROT_EXEC),
    CALL(munmap, INGRESS),
    CALL(mremap, INGRESS),
    CALL(madvise, INGRESS),
    CALL(futex, INGRESS),
    CALL(exit, INGRESS),
    CALL(exit_group, INGRESS),
    CALL(restart_syscall, INGRESS),
    CALL(rt_sigaction, INGRESS),
    CALL(rt_sigprocmask, INGRESS),
    CALL(rt_sigreturn, INGRESS),
    CALL(sigaltstack, INGRESS),
    CALL_IF(tgkill, INGRESS, EQUAL, 2, SIGABRT),
    CALL(getpid, INGRESS),
    CALL(gettid, INGRESS),
    CALL(getrandom, INGRESS),
    CALL(clock_gettime, INGRESS),
    CALL(gettimeofday, INGRESS),
    CALL(read, INGRESS),
    CALL(write, INGRESS),
    CALL(writev, INGRESS),
    CALL(close, INGRESS),
    CALL(accept4, INGRESS),
    /* A listener that is shut for reading is a socket again: it could be connected (with the call
     * below), and control's copy of it would be dead for the rooms that come after. */
    CALL_IF(shutdown, INGRESS, EQUAL, 1, SHUT_WR),
    /* whatever the level: no other option has this number and an effect outside the connection */
    CALL_IF(setsockopt, INGRESS, EQUAL, 2, SO_LINGER),
    CALL(recvmsg, INGRESS),
    CALL_IF(sendto, INGRESS, EQUAL, 4, 0),
    CALL_IF(sendmsg, INGRESS, EQUAL, 2, MSG_NOSIGNAL), /* MSG_FASTOPEN would connect */
    CALL(ppoll, INGRESS),
    CALL_IF(fcntl, INGRESS, EQUAL, 1, F_GETFD),
    CALL_IF(fcntl, INGRESS, EQUAL, 1, F_SETFD),
    CALL_IF(fcntl, INGRESS, EQUAL, 1, F_GETFL),
    CALL_IF(fcntl, INGRESS, EQUAL, 1, F_DUPFD_CLOEXEC),
    CALL(epoll_ctl, INGRESS),
    CALL(epoll_pwait, INGRESS),
    CALL_FAILS(openat, INGRESS, EACCES),
    CALL_FAILS(newfstatat, INGRESS, EACCES),
    CALL_FAILS(prctl, INGRESS, EINVAL),
    CALL_FAILS(ioctl, INGRESS, ENOTTY),

    /* the egress room: connections outwards, and nothing that could be reached by one */
    CALL(brk, EGRESS),
    CALL_IF(mmap, EGRESS, WITHOUT, 2, PROT_EXEC),
    CALL_IF(mprotect, EGRESS, WITHOUT, 2, PROT_EXEC),
    CALL(munmap, EGRESS),
    CALL(mremap, EGRESS),
    CALL(madvise, EGRESS),
    CALL(futex, EGRESS),
    CALL_IF(prctl, EGRESS, EQUAL, 0, PR_SET_NAME),
    CALL_FAILS(prctl, EGRESS, EINVAL),
    CALL(exit, EGRESS),
    CALL(exit_group, EGRESS),
    CALL(restart_syscall, EGRESS),
    CALL(rt_sigaction, EGRESS), /* curl keeps SIGPIPE off while it works */
    CALL(rt_sigprocmask, EGRESS),
    CALL(rt_sigreturn, EGRESS),
    CALL_IF(tgkill, EGRESS, EQUAL, 2, SIGABRT),
    CALL(getpid, EGRESS),
    CALL(gettid, EGRESS),
    CALL(getuid, EGRESS),
    CALL(geteuid, EGRESS),
    CALL(getgid, EGRESS),
    CALL(getegid, EGRESS),
    CALL_IF(prlimit64, EGRESS, EQUAL, 2, 0),
    CALL(getrandom, EGRESS),
    CALL(clock_gettime, EGRESS),
    CALL(gettimeofday, EGRESS),
    CALL(read, EGRESS),
    CALL(write, EGRESS),
    CALL(readv, EGRESS),
    CALL(writev, EGRESS),
    CALL(close, EGRESS),
    CALL(fstat, EGRESS),
    CALL(recvmsg, EGRESS),
    CALL(sendmsg, EGRESS),
    CALL(recvfrom, EGRESS),               /* answers of DNS, with their sender */
    CALL_IF(sendto, EGRESS, EQUAL, 4, 0), /* send(): sockets are connected */
    CALL(ppoll, EGRESS),
    CALL(epoll_ctl, EGRESS),
    CALL(epoll_pwait, EGRESS),
    CALL_IF(fcntl, EGRESS, EQUAL, 1, F_GETFD),
    CALL_IF(fcntl, EGRESS, EQUAL, 1, F_SETFD),
    CALL_IF(fcntl, EGRESS, EQUAL, 1, F_GETFL),
    CALL_IF(fcntl, EGRESS, EQUAL, 1, F_SETFL),
    CALL_IF(fcntl, EGRESS, EQUAL, 1, F_DUPFD_CLOEXEC),
    CALL_FAILS(ioctl, EGRESS, ENOTTY),
    CALL_IF(socket, EGRESS, INTERNET, 0, 0),
    CALL(connect, EGRESS),
    CALL(getsockname, EGRESS),
    CALL(getpeername, EGRESS),
    CALL(getsockopt, EGRESS),
    CALL(setsockopt, EGRESS),
    CALL(shutdown, EGRESS),
    /* Probes of libraries that live without an answer. */
    CALL_FAILS(openat, EGRESS, EACCES),
    CALL_FAILS(newfstatat, EGRESS, EACCES),
    CALL_FAILS(statx, EGRESS, EACCES),
    CALL_FAILS(readlinkat, EGRESS, EACCES),

    /* files: Landlock says which */
    CALL(openat, WORKER),
    CALL(openat2, WORKER),
    CALL(statx, WORKER),
    CALL(newfstatat, WORKER),
    CALL(fstatfs, WORKER),
    CALL(faccessat2, WORKER),
    CALL(getdents64, WORKER),
    CALL(readlinkat, WORKER),
    CALL(mkdirat, WORKER),
    CALL(unlinkat, WORKER),
    CALL(renameat, WORKER),
    CALL(renameat2, WORKER),
    CALL(linkat, WORKER),
    CALL(symlinkat, WORKER),
    CALL(utimensat, WORKER),
    CALL(copy_file_range, WORKER),
    CALL(fadvise64, WORKER),
    CALL(preadv, WORKER),
    CALL(pwritev, WORKER),
    CALL(pwritev2, WORKER),
    CALL(preadv2, WORKER),
    /* Probes of libraries that live without an answer. */
    CALL_FAILS(openat, COMPILER, EACCES),
    CALL_FAILS(newfstatat, COMPILER, EACCES),
    CALL_FAILS(statx, COMPILER, EACCES),
    CALL_FAILS(readlinkat, COMPILER, EACCES),
#ifdef __x86_64__
    CALL(poll, BOTH),
    CALL(poll, EGRESS),
    CALL(epoll_wait, EGRESS),
    CALL(time, EGRESS),
    CALL_FAILS(open, EGRESS, EACCES),
    CALL_FAILS(stat, EGRESS, EACCES),
    CALL_FAILS(access, EGRESS, EACCES),
    CALL(epoll_wait, WORKER),
    CALL(time, BOTH),
    CALL(poll, INGRESS),
    CALL(epoll_wait, INGRESS),
    CALL(time, INGRESS),
    CALL_FAILS(open, INGRESS, EACCES),
    CALL_FAILS(open, BOTH, EACCES),
    CALL_FAILS(stat, BOTH, EACCES),
    CALL_FAILS(readlink, BOTH, EACCES),
    CALL_FAILS(access, BOTH, EACCES),
#endif
};

/* ---- the program ---- */

struct program {
    struct sock_filter *at;
    size_t count;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
    ASSERT(p->count < SECCOMP_PROGRAM_MAX);
    p->at[p->count++] = (struct sock_filter)BPF_JUMP(code, k, if_true, if_false);
}

static void emit_load(struct program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_answer(struct program *p, uint32_t answer)
{
    emit(p, BPF_RET | BPF_K, answer, 0, 0);
}

/* The low and the high half of an argument. */
static size_t low_half(unsigned index)
{
    return offsetof(struct seccomp_data, args) + 8 * index +
           (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
}

static size_t high_half(unsigned index)
{
    return low_half(index) ^ 4;
}

/* Whether the whole 64 bits of an argument mean something;
 * of an int the kernel reads the low half. */
static bool is_wide(const struct rule *r)
{
    return r->nr == SYS_clone || r->nr == SYS_prlimit64 || r->nr == SYS_sendto ||
           r->nr == SYS_recvfrom || r->nr == SYS_mmap || r->nr == SYS_mprotect;
}

/* One of these values in the low half of an argument, or on to *ret_fail. */
static void emit_one_of(struct program *p, unsigned index, const uint32_t *values, size_t count,
                        size_t *ret_fail)
{
    emit_load(p, low_half(index));
    for (size_t i = 0; i < count; i++)
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, values[i], (uint8_t)(count - 1 - i), 0);
    *ret_fail = p->count - 1;
}

/* The arguments of socket() are ints: the kernel reads their low halves. */
static size_t emit_internet(struct program *p, size_t fails[static 3])
{
    static const uint32_t families[] = { AF_INET, AF_INET6 }, protocols[] = { 0 };
    static const uint32_t types[] = {
        SOCK_STREAM, SOCK_STREAM | SOCK_CLOEXEC, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
        SOCK_DGRAM,  SOCK_DGRAM | SOCK_CLOEXEC,  SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK
    };
    emit_one_of(p, 0, families, ARRAY_SIZE(families), &fails[0]);
    emit_one_of(p, 1, types, ARRAY_SIZE(types), &fails[1]);
    emit_one_of(p, 2, protocols, ARRAY_SIZE(protocols), &fails[2]);
    return 3;
}

/* Entered with the number loaded, left so when the rule did not answer. */
static void emit_rule(struct program *p, const struct rule *r)
{
    size_t test = p->count;
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 0);
    size_t fails[3], fail_count = 0;
    if (r->condition == INTERNET) {
        fail_count = emit_internet(p, fails);
    } else if (r->condition == EQUAL) {
        emit_load(p, low_half(r->index));
        fails[fail_count++] = p->count;
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->value, 0, 0);
        if (is_wide(r)) {
            emit_load(p, high_half(r->index));
            fails[fail_count++] = p->count;
            emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(r->value >> 32), 0, 0);
        }
    } else if (r->condition == WITHOUT) {
        emit_load(p, low_half(r->index));
        emit(p, BPF_JMP | BPF_JSET | BPF_K, (uint32_t)r->value, 1, 0);
    }
    emit_answer(p, r->failure ? SECCOMP_RET_ERRNO | (uint32_t)r->failure : SECCOMP_RET_ALLOW);
    size_t reload = p->count;
    if (r->condition != ANY)
        emit_load(p, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < fail_count; i++)
        p->at[fails[i]].jf = (uint8_t)(reload - fails[i] - 1);
    p->at[test].jf = (uint8_t)(p->count - test - 1);
}

int seccomp_build(enum room_role role, struct sock_filter ret_program[static SECCOMP_PROGRAM_MAX],
                  size_t *ret_count, struct error *e)
{
    ASSERT((unsigned)role < ROOM_ROLE_COUNT);
    struct program p = { .at = ret_program };
    emit_load(&p, offsetof(struct seccomp_data, arch));
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    emit_answer(&p, SECCOMP_RET_KILL_PROCESS);
    emit_load(&p, offsetof(struct seccomp_data, nr));
    /* x32 numbers have this bit; they equal none of the table,
     * and are refused by it here anyway. */
    emit(&p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    emit_answer(&p, SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].who & (1 << role))
            emit_rule(&p, &rules[i]);
    emit_answer(&p, SECCOMP_RET_KILL_PROCESS);
    if (p.count > BPF_MAXINSNS)
        return error_set(e, -E2BIG, "the list of system calls is too long");
    *ret_count = p.count;
    return 0;
}

int seccomp_close(enum room_role role, struct error *e)
{
    struct sock_filter program[SECCOMP_PROGRAM_MAX];
    size_t count;
    int result = seccomp_build(role, program, &count, e);
    if (result < 0)
        return result;
    struct sock_fprog filter = { .len = (unsigned short)count, .filter = program };
    long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    if (failed > 0)
        return error_set(e, -EBUSY, "a thread cannot be put under the list of system calls");
    if (failed < 0)
        return error_set_errno(e, errno, "cannot close the list of system calls");
    return 0;
}

uint32_t seccomp_answer(const struct sock_filter *program, size_t count, uint32_t arch, uint32_t nr,
                        const uint64_t arguments[static 6])
{
    struct seccomp_data data = { .nr = (int)nr, .arch = arch };
    memcpy(data.args, arguments, sizeof data.args);
    uint32_t loaded = 0;
    for (size_t at = 0; at < count; at++) {
        const struct sock_filter *i = &program[at];
        bool jump = false;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            ASSERT(i->k <= sizeof data - sizeof loaded);
            memcpy(&loaded, (const char *)&data + i->k, sizeof loaded);
            continue;
        case BPF_RET | BPF_K:
            return i->k;
        case BPF_JMP | BPF_JEQ | BPF_K:
            jump = loaded == i->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            jump = loaded >= i->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            jump = (loaded & i->k) != 0;
            break;
        default:
            ASSERT(!"an instruction that seccomp_build() does not use");
        }
        at += jump ? i->jt : i->jf;
    }
    return SECCOMP_RET_KILL_PROCESS;
}
