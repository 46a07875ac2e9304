/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room/seccomp.c: every call number is asked. What a list allows is counted by name; what must
 * never be in one is killed, under any arguments. What the kernel itself answers is tested in
 * test_spawn.c.
 */
#include "room/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/unit/test.h"

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#define OTHER_ARCH AUDIT_ARCH_I386
#else
#define ARCH AUDIT_ARCH_AARCH64
#define OTHER_ARCH AUDIT_ARCH_ARM
#endif

static struct sock_filter program[SECCOMP_PROGRAM_MAX];
static size_t count;

static uint32_t answer(enum room_role role, uint32_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    const uint64_t arguments[6] = { a0, a1, a2 };
    if (seccomp_build(role, program, &count, NULL) < 0)
        test_fail(__FILE__, __LINE__, "no program");
    return seccomp_answer(program, count, ARCH, nr, arguments);
}

static const long never[] = {
    SYS_execve,
    SYS_execveat,
    SYS_socket,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_socketpair,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_tkill,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_keyctl,
    SYS_add_key,
    SYS_io_uring_setup,
    SYS_userfaultfd,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_pidfd_getfd,
    SYS_pidfd_open,
    SYS_mknodat,
    SYS_setuid,
    SYS_setgid,
    SYS_capset,
    SYS_personality,
    SYS_init_module,
    SYS_finit_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_setrlimit,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_setxattr,
    SYS_fsopen,
    SYS_open_tree,
    SYS_move_mount,
    SYS_seccomp,
    SYS_landlock_restrict_self,
    SYS_shmget,
    SYS_msgget,
    SYS_semget,
    SYS_inotify_init1,
    SYS_fanotify_init,
    SYS_quotactl,
    SYS_swapon,
    SYS_syslog,
    SYS_pkey_mprotect,
};

TEST(never_in_a_list)
{
    for (unsigned role = 0; role < ROOM_ROLE_COUNT; role++)
        for (size_t i = 0; i < ARRAY_SIZE(never); i++)
            for (uint64_t a = 0; a < 4; a++)
                if (!(role == ROOM_EGRESS && never[i] == SYS_connect) &&
                    answer(role, (uint32_t)never[i], a, a, a) != SECCOMP_RET_KILL_PROCESS)
                    test_fail(__FILE__, __LINE__, "call %ld is in the list of %s", never[i],
                              room_role_name(role));
}

TEST(other_numbers_and_architectures)
{
    static const uint64_t none[6];
    CHECK_EQ(answer(ROOM_WORKER, SYS_read, 0, 0, 0), SECCOMP_RET_ALLOW);
    CHECK_EQ(seccomp_answer(program, count, OTHER_ARCH, SYS_read, none), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_WORKER, 0x40000000u | SYS_read, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
    for (uint32_t nr = 500; nr < 5000; nr++)
        CHECK_EQ(answer(ROOM_WORKER, nr, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

TEST(arguments_decide)
{
    CHECK_EQ(answer(ROOM_WORKER, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_WORKER, SYS_mmap, 0, 4096, PROT_EXEC), SECCOMP_RET_KILL_PROCESS);
    static const struct {
        uint64_t flags;
        uint32_t wanted;
    } maps[] = { { MAP_PRIVATE | MAP_ANONYMOUS, SECCOMP_RET_ALLOW },
                 { MAP_SHARED, SECCOMP_RET_ALLOW },
                 { MAP_SHARED | MAP_ANONYMOUS, SECCOMP_RET_ERRNO | ENOMEM },
                 { MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   SECCOMP_RET_ERRNO | ENOMEM } };
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        for (unsigned role = 0; role < ROOM_ROLE_COUNT; role++) {
            const uint64_t arguments[6] = { 0, 4096, PROT_READ | PROT_WRITE, maps[i].flags };
            size_t of_role;
            struct sock_filter own[SECCOMP_PROGRAM_MAX];
            CHECK_EQ(seccomp_build(role, own, &of_role, NULL), 0);
            CHECK_EQ(seccomp_answer(own, of_role, ARCH, SYS_mmap, arguments), maps[i].wanted);
        }
    CHECK_EQ(answer(ROOM_COMPILER, SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC),
             SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_WORKER, SYS_tgkill, 1, 1, SIGABRT), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_WORKER, SYS_tgkill, 1, 1, SIGKILL), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_WORKER, SYS_fcntl, 3, F_DUPFD_CLOEXEC, 3), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_WORKER, SYS_fcntl, 3, F_GETFL, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_WORKER, SYS_fcntl, 3, F_SETOWN, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_WORKER, SYS_ioctl, 0, 0x5412, 0),
             SECCOMP_RET_ERRNO | ENOTTY); /* TIOCSTI */
    CHECK_EQ(answer(ROOM_COMPILER, SYS_prlimit64, 0, 7, 0), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_COMPILER, SYS_prlimit64, 0, 7, UINT64_C(1) << 32),
             SECCOMP_RET_KILL_PROCESS);
    const uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                            CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                            CLONE_CHILD_CLEARTID;
    CHECK_EQ(answer(ROOM_COMPILER, SYS_clone, thread, 0, 0), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_COMPILER, SYS_clone, thread | CLONE_NEWUSER, 0, 0),
             SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_COMPILER, SYS_clone, SIGCHLD, 0, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_WORKER, SYS_clone, thread, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

TEST(the_compiler_has_no_files)
{
    static const long files[] = { SYS_openat2,   SYS_getdents64, SYS_mkdirat,   SYS_unlinkat,
                                  SYS_renameat2, SYS_linkat,     SYS_symlinkat, SYS_utimensat };
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        CHECK_EQ(answer(ROOM_COMPILER, (uint32_t)files[i], 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_COMPILER, SYS_openat, 0, 0, 0), SECCOMP_RET_ERRNO | EACCES);
}

/* Keeper computes and speaks over what it was given: it opens nothing, starts nothing, waits for no
 * clock. Everything that its list does not allow below is refused. */
TEST(the_keeper_has_nothing)
{
    static const long allowed[] = {
        SYS_brk,          SYS_mmap,           SYS_mprotect,     SYS_munmap,     SYS_mremap,
        SYS_madvise,      SYS_futex,          SYS_exit,         SYS_exit_group, SYS_restart_syscall,
        SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_getpid,     SYS_gettid,
        SYS_getrandom,    SYS_clock_gettime,  SYS_gettimeofday, SYS_read,       SYS_write,
        SYS_writev,       SYS_close,          SYS_fstat,        SYS_recvmsg,    SYS_sendmsg,
        SYS_sendto,       SYS_ppoll,          SYS_mlock,
#ifdef __SANITIZE_ADDRESS__
        SYS_sigaltstack,
#endif
#ifdef __x86_64__
        SYS_poll,         SYS_time,
#endif
    };
    for (uint32_t nr = 0; nr < 600; nr++) {
        bool wanted = false;
        for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
            wanted |= (uint32_t)allowed[i] == nr;
        if ((answer(ROOM_KEEPER, nr, 0, 0, 0) == SECCOMP_RET_ALLOW) != wanted)
            test_fail(__FILE__, __LINE__, "call %u of keeper", nr);
    }
    CHECK_EQ(answer(ROOM_KEEPER, SYS_fcntl, 3, F_DUPFD_CLOEXEC, 3), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_KEEPER, SYS_fcntl, 3, F_SETFL, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_KEEPER, SYS_openat, 3, 0, 0), SECCOMP_RET_ERRNO | EACCES);
    CHECK_EQ(answer(ROOM_KEEPER, SYS_openat2, 3, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

TEST(only_ingress_accepts)
{
    for (unsigned role = 0; role < ROOM_ROLE_COUNT; role++)
        CHECK_EQ(answer(role, SYS_accept4, 5, 0, 0),
                 role == ROOM_INGRESS ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS);
    static const long files[] = { SYS_openat2, SYS_getdents64, SYS_memfd_create, SYS_clone,
                                  SYS_clone3,  SYS_pread64,    SYS_sendmmsg,     SYS_getpeername };
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        CHECK_EQ(answer(ROOM_INGRESS, (uint32_t)files[i], 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_openat, 0, 0, 0), SECCOMP_RET_ERRNO | EACCES);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_setsockopt, 5, SOL_SOCKET, SO_LINGER), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_setsockopt, 5, SOL_SOCKET, SO_REUSEADDR),
             SECCOMP_RET_KILL_PROCESS);
    /* shutdown() makes a listener a socket that MSG_FASTOPEN connects to anywhere. */
    CHECK_EQ(answer(ROOM_INGRESS, SYS_shutdown, 5, SHUT_WR, 0), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_shutdown, 5, SHUT_RD, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_shutdown, 5, SHUT_RDWR, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_sendmsg, 5, 0, MSG_NOSIGNAL), SECCOMP_RET_ALLOW);
    CHECK_EQ(answer(ROOM_INGRESS, SYS_sendmsg, 5, 0, MSG_NOSIGNAL | MSG_FASTOPEN),
             SECCOMP_RET_KILL_PROCESS);
}

TEST(only_egress_connects)
{
    static const uint64_t families[] = { AF_INET, AF_INET6 }, types[] = { SOCK_STREAM, SOCK_DGRAM };
    static const uint64_t others[] = { AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_BLUETOOTH };
    for (unsigned role = 0; role < ROOM_ROLE_COUNT; role++) {
        uint32_t wanted = role == ROOM_EGRESS ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
        CHECK_EQ(answer(role, SYS_connect, 5, 0, 0), wanted);
        for (size_t f = 0; f < ARRAY_SIZE(families); f++)
            for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
                CHECK_EQ(answer(role, SYS_socket, families[f], types[t], 0), wanted);
                CHECK_EQ(answer(role, SYS_socket, families[f],
                                types[t] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                         wanted);
            }
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        CHECK_EQ(answer(ROOM_EGRESS, SYS_socket, others[i], SOCK_STREAM, 0),
                 SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_EGRESS, SYS_socket, AF_INET, SOCK_RAW, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_EGRESS, SYS_socket, AF_INET, SOCK_DGRAM, 1 /* ICMP */),
             SECCOMP_RET_KILL_PROCESS);
    static const long never_here[] = { SYS_bind,    SYS_listen,   SYS_accept,       SYS_accept4,
                                       SYS_openat2, SYS_clone,    SYS_memfd_create, SYS_getdents64,
                                       SYS_dup,     SYS_pwrite64, SYS_sendmmsg };
    for (size_t i = 0; i < ARRAY_SIZE(never_here); i++)
        CHECK_EQ(answer(ROOM_EGRESS, (uint32_t)never_here[i], 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
    CHECK_EQ(answer(ROOM_EGRESS, SYS_openat, 0, 0, 0), SECCOMP_RET_ERRNO | EACCES);
    CHECK_EQ(answer(ROOM_EGRESS, SYS_mprotect, 0, 4096, PROT_EXEC), SECCOMP_RET_KILL_PROCESS);
}

TEST_MAIN()
