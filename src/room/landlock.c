/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock. The ruleset handles every right that the kernel's ABI and this file know, so whatever
 * is not granted below is refused: executing, devices, sockets, FIFOs, device ioctls, binding and
 * connecting TCP, signals to and abstract sockets of processes outside. Constants are written out,
 * because Debian 12's kernel headers end at ABI 2.
 */
#include "room/landlock.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

enum right {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    MAKE_SYM = 1 << 12,
    REFER = 1 << 13,    /* ABI 2 */
    TRUNCATE = 1 << 14, /* ABI 3 */
    IOCTL_DEV = 1 << 15 /* ABI 5 */
};
#define RIGHTS_ABI_1 \
    ((1u << 13) - 1) /* the first thirteen, MAKE_CHAR, _SOCK, _FIFO, _BLOCK among them */
enum tcp { BIND_TCP = 1, CONNECT_TCP = 2 }; /* ABI 4 */
#define SCOPE_SOCKET_SIGNAL 3u              /* ABI 6 */
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

#define RIGHTS_READ (READ_FILE | READ_DIR)
#define RIGHTS_WRITE                                                                      \
    (RIGHTS_READ | WRITE_FILE | TRUNCATE | MAKE_REG | MAKE_DIR | MAKE_SYM | REMOVE_FILE | \
     REMOVE_DIR | REFER)
#define RIGHTS_OF_FILES (READ_FILE | WRITE_FILE | TRUNCATE)

struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};
struct path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

static int allow(int ruleset, const struct jail_folder *folder, uint64_t handled, struct error *e)
{
    struct stat st;
    if (fstat(folder->fd, &st) < 0)
        return error_set_errno(e, errno, "cannot look at a mount");
    struct path_beneath rule = { handled & (folder->write ? RIGHTS_WRITE : RIGHTS_READ),
                                 folder->fd };
    if (!S_ISDIR(st.st_mode))
        rule.allowed &= RIGHTS_OF_FILES;
    if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
        return error_set_errno(e, errno, "cannot add a mount to the Landlock ruleset");
    return 0;
}

int landlock_close(const struct jail_folder *folders, size_t count, bool connects, struct error *e)
{
    int abi = landlock_abi();
    if (abi < 1)
        return error_set(e, -ENOSYS, "the kernel has no Landlock, or it is switched off");
    struct ruleset rules = { .handled_fs = RIGHTS_ABI_1 | (abi >= 2 ? REFER : 0) |
                                           (abi >= 3 ? TRUNCATE : 0) | (abi >= 5 ? IOCTL_DEV : 0),
                             .handled_net = abi < 4 ? 0 : BIND_TCP | (connects ? 0 : CONNECT_TCP),
                             .scoped = abi >= 6 ? SCOPE_SOCKET_SIGNAL : 0 };
    /* Older kernels know a shorter structure, and take a longer one when its end is zero. */
    CLEANUP(fd_closep)
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (ruleset < 0)
        return error_set_errno(e, errno, "cannot make a Landlock ruleset");
    for (size_t i = 0; i < count; i++) {
        int result = allow(ruleset, &folders[i], rules.handled_fs, e);
        if (result < 0)
            return result;
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return error_set_errno(e, errno, "cannot close the Landlock ruleset");
    return 0;
}
