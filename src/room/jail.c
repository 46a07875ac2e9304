/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail. Its layers close in the order in which each still allows the next: the root folder
 * needs capabilities, Landlock forbids mounting, seccomp forbids everything. That order is in
 * jail_table.h; each layer is a function here, and whether a failure may pass is decided in one place.
 */
#include "room/jail.h"

#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "room/landlock.h"
#include "room/seccomp.h"

/* ---- layers ---- */

/* An empty, read-only root. The old one is detached; descriptors into it
 * live on, under Landlock. */
static int close_root(const struct jail_spec *spec, struct error *e)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_set_errno(e, errno, "cannot make the mounts private");
    CLEANUP(fd_closep) int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
    if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", "4096", 0) < 0 ||
        fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "2", 0) < 0 ||
        fsconfig(context, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
        fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return error_set_errno(e, errno, "cannot make an empty root");
    CLEANUP(fd_closep)
    int root =
        fsmount(context, FSMOUNT_CLOEXEC,
                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0 || move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir("/") < 0)
        return error_set_errno(e, errno, "cannot move into an empty root");
    return 0;
}

static int close_limit(int resource, uint64_t value, uint64_t margin, struct error *e)
{
    struct rlimit limit = { value, value + margin }, now;
    if (getrlimit(resource, &now) < 0)
        return error_set_errno(e, errno, "cannot read a limit");
    limit.rlim_max = MIN(limit.rlim_max, now.rlim_max);
    limit.rlim_cur = MIN(limit.rlim_cur, limit.rlim_max);
    if (setrlimit(resource, &limit) < 0)
        return error_set_errno(e, errno, "cannot set a limit");
    return 0;
}

/* The default action of SIGXCPU does not reach pid 1 of a namespace. */
static void cpu_used_up(int signal)
{
    _exit(ROOM_EXIT_CPU);
}

static int close_rlimits(const struct jail_spec *spec, struct error *e)
{
    int result = close_limit(RLIMIT_CORE, 0, 0, e);
    if (result == 0 && spec->cpu_seconds) {
        struct sigaction action = { .sa_handler = cpu_used_up };
        sigaction(SIGXCPU, &action, NULL);
        result = close_limit(RLIMIT_CPU, spec->cpu_seconds, 1, e);
    }
    if (result == 0 && spec->address_space_bytes)
        result = close_limit(RLIMIT_AS, spec->address_space_bytes, 0, e);
    if (result == 0 && spec->data_bytes)
        result = close_limit(RLIMIT_DATA, spec->data_bytes, 0, e);
    if (result == 0 && spec->file_size_bytes)
        result = close_limit(RLIMIT_FSIZE, spec->file_size_bytes, 0, e);
    if (result == 0 && spec->descriptors)
        result = close_limit(RLIMIT_NOFILE, spec->descriptors, 0, e);
    return result;
}

/* Root without its powers, for good: no capability now,
 * none to be had by exec or by being user 0. */
static int drop_capabilities(struct error *e)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { 0 };
    if (syscall(SYS_capget, &header, sets) < 0)
        return error_set_errno(e, errno, "cannot read the capabilities");
    bool may = sets[0].permitted & (1u << CAP_SETPCAP);
    if (may) {
        for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
            if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                return error_set_errno(e, errno, "cannot drop a capability");
        if (prctl(PR_SET_SECUREBITS,
                  SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                      SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                      SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
                  0, 0, 0) < 0)
            return error_set_errno(e, errno, "cannot lock root's powers");
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return error_set_errno(e, errno, "cannot clear ambient capabilities");
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        sets[i] = (struct __user_cap_data_struct){ 0 };
    if (syscall(SYS_capset, &header, sets) < 0)
        return error_set_errno(e, errno, "cannot drop the capabilities");
    return 0;
}

static int close_privileges(const struct jail_spec *spec, struct error *e)
{
    int result = drop_capabilities(e);
    if (result < 0)
        return result;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(e, errno, "cannot give up new privileges");
    /* No core, no ptrace, no /proc/PID/mem by processes of the same user. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return error_set_errno(e, errno, "cannot become non-dumpable");
    return 0;
}

static int close_landlock(const struct jail_spec *spec, struct error *e)
{
    return landlock_close(spec->folders, spec->folder_count, spec->role == ROOM_EGRESS, e);
}

static int close_seccomp(const struct jail_spec *spec, struct error *e)
{
    return seccomp_close(spec->role, e);
}

/* What stands in jail_table.h as closed by the room, in the order of its rows. */
typedef int close_layer(const struct jail_spec *spec, struct error *e);
static close_layer *const closes[JAIL_LAYER_COUNT] = {
    [JAIL_INDEX(JAIL_MOUNT_NAMESPACE)] = close_root,
    [JAIL_INDEX(JAIL_RLIMITS)] = close_rlimits,
    [JAIL_INDEX(JAIL_NO_NEW_PRIVILEGES)] = close_privileges,
    [JAIL_INDEX(JAIL_LANDLOCK)] = close_landlock,
    [JAIL_INDEX(JAIL_SECCOMP)] = close_seccomp,
};

/* ---- closing ---- */

/* unshare() of threads fails with EINVAL when there is another one, and does nothing else. The filters of
 * containers often refuse it whatever it is asked for: then procfs, which is still there, counts them
 * (a folder's links are "." and ".." and one for each folder in it). */
static int check_alone(struct error *e)
{
    static const char several[] = "the jail can be closed over one thread only";
    struct stat st;
    if (unshare(CLONE_THREAD) == 0)
        return 0;
    if (errno != EPERM && errno != ENOSYS)
        return error_set_errno(e, errno, "%s", several);
    if (stat("/proc/self/task", &st) < 0)
        return error_set_errno(e, errno, "%s, and /proc does not say how many there are", several);
    return st.st_nlink == 3 ? 0 : error_set(e, -EINVAL, "%s", several);
}

static int check_spec(const struct jail_spec *spec, struct error *e)
{
#ifndef AMBIT_TEST_HOOKS
    if (spec->skip)
        return error_set(e, -EPERM, "only a test build can leave a layer of the jail open");
#endif
    return check_alone(e);
}

static int layer_failed(uint32_t layer, const struct jail_spec *spec, uint32_t *missing, int result,
                        const struct error *cause, struct error *e)
{
    if (layer & spec->allow_missing) {
        *missing |= layer;
        return 0;
    }
    const char *name = jail_layer_name(layer);
    error_hint(e,
               "\"ambit doctor\" says what this machine offers; --allow-missing-jail=%s starts "
               "without it, and the receipt says so",
               name);
    return error_set(e, result, "the jail's %s: %s", name, cause->what);
}

/* Mounts that could not be detached, which may be: the layer closes as far as it can all the same. */
static uint32_t incomplete;

int jail_detach(int fd, bool write, uint32_t allow_missing, uint32_t skip, struct error *e)
{
    if ((room_started_without() | skip) & JAIL_MOUNT_NAMESPACE)
        return 0;
    const struct jail_spec spec = { .allow_missing = allow_missing };
    struct error cause = ERROR_INIT;
    int result = jail_detach_mount(fd, write, &cause);
    return result < 0 ? layer_failed(JAIL_MOUNT_NAMESPACE, &spec, &incomplete, result, &cause, e)
                      : 0;
}

int jail_close(const struct jail_spec *spec, uint32_t *ret_missing, struct error *e)
{
    uint32_t missing = room_started_without();
    int result = check_spec(spec, e);
    for (size_t i = 0; i < JAIL_LAYER_COUNT && result == 0; i++) {
        uint32_t layer = jail_layer(i)->layer;
        close_layer *close = closes[JAIL_INDEX(layer)];
        /* The threads a room needs are inside everything but seccomp, which covers them too. */
        if (layer == JAIL_SECCOMP && spec->start)
            result = spec->start(spec->start_context, e);
        /* Without a mount namespace of its own a room must leave the host's mounts alone. */
        if (result < 0 || !close || layer & (spec->skip | missing))
            continue;
        struct error cause = ERROR_INIT;
        result = close(spec, &cause);
        if (result < 0)
            result = layer_failed(layer, spec, &missing, result, &cause, e);
    }
    if (result < 0)
        return result;
    *ret_missing = missing | incomplete;
    return 0;
}

/* ---- probing ---- */

static bool namespace_works(unsigned long flags, bool root_too)
{
    struct jail_spec spec = { .role = ROOM_WORKER };
    return unshare((int)flags) == 0 && (!root_too || close_root(&spec, NULL) == 0);
}

/* In a child of its own: what it closes stays closed. */
static bool layer_works(uint32_t layer)
{
    struct jail_spec spec = { .role = ROOM_WORKER };
    /* An unprivileged user makes the others inside a user namespace, root can without. */
    unsigned long user = geteuid() == 0 ? 0 : CLONE_NEWUSER;
    switch (layer) {
    case JAIL_USER_NAMESPACE:
        return namespace_works(CLONE_NEWUSER, false);
    case JAIL_PID_NAMESPACE:
        return namespace_works(user | CLONE_NEWPID, false);
    case JAIL_NET_NAMESPACE:
        return namespace_works(user | CLONE_NEWNET, false);
    case JAIL_MOUNT_NAMESPACE:
        return namespace_works(user | CLONE_NEWNS, true);
    case JAIL_IPC_NAMESPACE:
        return namespace_works(user | CLONE_NEWIPC, false);
    case JAIL_LANDLOCK:
        return close_privileges(&spec, NULL) == 0 && close_landlock(&spec, NULL) == 0;
    case JAIL_SECCOMP:
        return close_privileges(&spec, NULL) == 0 && close_seccomp(&spec, NULL) == 0;
    case JAIL_RLIMITS:
        return close_rlimits(&spec, NULL) == 0;
    case JAIL_NO_NEW_PRIVILEGES:
        return close_privileges(&spec, NULL) == 0;
    default:
        return false;
    }
}

int jail_probe(uint32_t *ret_works, int *ret_landlock_abi, struct error *e)
{
    uint32_t works = 0;
    for (unsigned i = 0; i < JAIL_LAYER_COUNT; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return error_set_errno(e, errno, "cannot start a process to try the jail in");
        if (pid == 0)
            _exit(layer_works(1u << i) ? 0 : 1);
        int status = 0;
        while (waitpid(pid, &status, 0) < 0) {
            if (errno != EINTR)
                return error_set_errno(e, errno, "cannot wait for the process that tries the jail");
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            works |= 1u << i;
    }
    *ret_works = works;
    *ret_landlock_abi = landlock_abi();
    return 0;
}
