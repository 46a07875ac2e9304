/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp lists, built of the table in jail_table.h. Default: kill the process.
 *
 * The program is built by hand and not by libseccomp, because building it is on the path of every
 * run: this takes microseconds. Its shape is plain: check the architecture, then per rule "is it
 * this number? are its arguments so? answer". The kernel evaluates calls that no argument decides
 * once and caches the answer (since 5.11), so the order costs nothing.
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
#include "room/jail_table.h"

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
    W = 1 << ROOM_WORKER,
    C = 1 << ROOM_COMPILER,
    E = 1 << ROOM_EGRESS,
    I = 1 << ROOM_INGRESS,
    K = 1 << ROOM_KEEPER,
    ALL = W | C | E | I | K
};

#define RULE(call_, rooms_, condition_, argument_, value_, failure_, reason_) \
    { .nr = SYS_##call_,                                                      \
      .rooms = (rooms_),                                                      \
      .condition = SECCOMP_##condition_,                                      \
      .argument = (argument_),                                                \
      .value = (uint64_t)(value_),                                            \
      .failure = (failure_),                                                  \
      .call = #call_,                                                         \
      .value_name = #value_,                                                  \
      .failure_name = #failure_,                                              \
      .reason = (reason_) },
static const struct seccomp_rule rules[] = { JAIL_CALLS(RULE) };

const struct seccomp_rule *seccomp_rules(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(rules);
    return rules;
}

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
static bool is_wide(const struct seccomp_rule *r)
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
static void emit_rule(struct program *p, const struct seccomp_rule *r)
{
    size_t test = p->count;
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 0);
    size_t fails[3], fail_count = 0;
    if (r->condition == SECCOMP_INTERNET) {
        fail_count = emit_internet(p, fails);
    } else if (r->condition == SECCOMP_EQUAL) {
        emit_load(p, low_half(r->argument));
        fails[fail_count++] = p->count;
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->value, 0, 0);
        if (is_wide(r)) {
            emit_load(p, high_half(r->argument));
            fails[fail_count++] = p->count;
            emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(r->value >> 32), 0, 0);
        }
    } else if (r->condition == SECCOMP_BOTH) {
        uint32_t one = (uint32_t)r->value & -(uint32_t)r->value;
        emit_load(p, low_half(r->argument));
        fails[fail_count++] = p->count;
        emit(p, BPF_JMP | BPF_JSET | BPF_K, one, 0, 0);
        fails[fail_count++] = p->count;
        emit(p, BPF_JMP | BPF_JSET | BPF_K, (uint32_t)r->value & ~one, 0, 0);
    } else if (r->condition == SECCOMP_WITHOUT) {
        emit_load(p, low_half(r->argument));
        emit(p, BPF_JMP | BPF_JSET | BPF_K, (uint32_t)r->value, 1, 0);
    }
    emit_answer(p, r->failure ? SECCOMP_RET_ERRNO | (uint32_t)r->failure : SECCOMP_RET_ALLOW);
    size_t reload = p->count;
    if (r->condition != SECCOMP_ANY)
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
        if (rules[i].rooms & (1 << role))
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
