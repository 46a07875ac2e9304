/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a room: the same binary again (/proc/self/exe) in namespaces of its own, with one end of
 * a socket pair as descriptor ROOM_CHANNEL_FD, /dev/null as 0 and 1, our stderr or /dev/null as 2,
 * and nothing else open. The child's main() sees argv[1] == "--room" and argv[2] == its role and
 * hands over to room_main_table before anything else runs.
 */
#pragma once

#include <sys/types.h>

#include "room/channel.h"

#define ROOM_CHANNEL_FD 3
#define ROOM_EXIT_CPU 114 /* RLIMIT_CPU is used up */

enum room_role {
    ROOM_WORKER,
    ROOM_COMPILER,
    ROOM_EGRESS,
    ROOM_INGRESS,
    ROOM_KEEPER,
    ROOM_ROLE_COUNT
};
const char *room_role_name(enum room_role r);

/* What keeps a room in; bits of "missing" and of --allow-missing-jail=LAYER. */
enum jail_layer {
    JAIL_USER_NAMESPACE = 1,
    JAIL_PID_NAMESPACE = 2,
    JAIL_NET_NAMESPACE = 4,
    JAIL_MOUNT_NAMESPACE = 8,
    JAIL_IPC_NAMESPACE = 16,
    JAIL_LANDLOCK = 32,
    JAIL_SECCOMP = 64,
    JAIL_RLIMITS = 128,
    JAIL_NO_NEW_PRIVILEGES = 256,
};
#define JAIL_LAYER_COUNT 9
#define JAIL_NAMESPACES 31u
#define JAIL_INDEX(bit) (__builtin_ctz(bit))
enum jail_when { JAIL_BY_CLONE, JAIL_BY_CHILD, JAIL_BY_ROOM };
/* One row of the table of layers (jail_table.h says what its fields mean). */
struct jail_layer_row {
    enum jail_layer layer;
    unsigned rooms; /* 1 << enum room_role */
    enum jail_when when;
    const char *stops, *how;
};
/* The layers in the order in which they close. */
const struct jail_layer_row *jail_layer(size_t index);
const char *jail_layer_name(enum jail_layer one); /* "user-namespace", … */
/* A layer's name, or "namespaces" for the five. 0 or -EINVAL. */
int jail_layer_parse(const char *name, uint32_t *ret_bits);

struct room {
    enum room_role role;
    pid_t pid; /* 0: none, or it was reaped */
    int pid_fd;
    int last_words_fd;       /* what it wrote to its standard error; open as long as pid is not 0 */
    struct channel *channel; /* what is sent there waits for a bounded time (channel_kills()) */
    uint32_t
        missing; /* namespaces that room_spawn() already knows to be missing, all of them allowed */
};

/* Starts it and does not wait for its exec. A user or pid namespace that cannot be made is an error
 * that names it, unless its bit is in `allow_missing`. The other three are made by the child,
 * because making a network namespace takes longer than all the rest: one that cannot be made ends
 * the room before its main, which the caller sees as a closed channel and room_status_text() names.
 * What is missing in all is what jail_close() tells in the room itself. */
int room_spawn(enum room_role role, uint32_t allow_missing, struct room *ret,
               struct error *e) MUST_CHECK;
/* The same process, which runs no room but the attempts of `ambit doctor` in its jail (try.h). */
int room_spawn_try(enum room_role role, uint32_t allow_missing, struct room *ret,
                   struct error *e) MUST_CHECK;
#ifdef AMBIT_TEST_HOOKS
/* Rooms that are spawned from now on start without these namespaces,
 * as if this machine had none. */
void room_spawn_skip(uint32_t bits);
#endif
/* Waits (at most timeout_ms, −1 = for ever) and gives the wait status; 0 ok, 1 still running. */
int room_wait(struct room *r, int timeout_ms, int *ret_status, struct error *e) MUST_CHECK;
/* SIGKILL, and nothing else: its channel says that it is gone. Fine where there is none. */
void room_kill(const struct room *r);
/* SIGKILL, reap, close. Fine on a zeroed or finished room. */
void room_end(struct room *r);
/* In words: "exit code 1", "signal 31 (a system call outside its list)". */
void room_status_text(int status, struct buf *out);
/* Layers that a room could not have when it was started, as its exit status tells;
 * 0 = another end. */
uint32_t room_status_missing(int status);

/* In the child: dispatches --room. Returns only when argv is not that of a room: 0. */
typedef int (*room_main)(struct channel *control);
int room_dispatch(int argc, char **argv, const room_main table[static ROOM_ROLE_COUNT]);
/* In the child: namespaces it was started without. */
uint32_t room_started_without(void);
