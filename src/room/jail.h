/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing the jail from inside a room, after it has opened what it needs (engine made, code mapped)
 * and before any guest byte is near. Afterwards: an empty root of its own, no capabilities, no new
 * privileges, a Landlock ruleset with exactly the given folders, rlimits, non-dumpable, and a
 * seccomp allow-list that kills. What each layer stops stands in docs/rooms.md; tests
 * (tests/hostile) have each layer's negative control.
 *
 * Landlock and capabilities belong to a thread, not to the process: a thread that was there before
 * would stay outside. So the room must have one thread when it calls jail_close() (anything else is
 * an error), and threads that it needs for its life are made by `start`, which runs inside
 * everything but seccomp and before it; seccomp then covers them too.
 */
#pragma once

#include "room/spawn.h"

/* For jail_spec.data_bytes: `own`, and `each` for each of `count`. 0, none, where sanitizers reserve more than any
 * bound. */
static inline uint64_t jail_data_bound(uint64_t own, uint64_t count, uint64_t each)
{
#if defined(__SANITIZE_ADDRESS__)
    return 0;
#else
    uint64_t all;
    if (__builtin_mul_overflow(count, each, &all) || __builtin_add_overflow(all, own, &all))
        return UINT64_MAX;
    return all;
#endif
}

struct jail_folder {
    int fd;     /* a mount: an opened folder (or one file) */
    bool write; /* read-only, or with everything but devices, sockets, FIFOs */
};

struct jail_spec {
    enum room_role role; /* picks the seccomp list */
    const struct jail_folder *folders;
    size_t folder_count;
    uint64_t cpu_seconds;         /* RLIMIT_CPU, 0 = none */
    uint64_t address_space_bytes; /* RLIMIT_AS, 0 = none: never for a worker */
    uint64_t
        data_bytes; /* RLIMIT_DATA, 0 = none: private memory that can be written, not what is reserved */
    uint64_t file_size_bytes; /* RLIMIT_FSIZE, 0 = none */
    uint32_t descriptors;     /* RLIMIT_NOFILE, 0 = as it is */
    uint32_t allow_missing;
    /* Layers left open on purpose, by tests' negative controls only: a build without
     * AMBIT_TEST_HOOKS refuses anything but 0. */
    uint32_t skip;
    /* Starts the room's threads; NULL = there are none. */
    int (*start)(void *context, struct error *e);
    void *start_context;
};

/* Before jail_close(): `fd`, an opened folder, becomes the root of a detached clone of its mount,
 * nosuid, nodev, noexec, and read-only unless `write`. ".." ends there. A part of the layer
 * mount-namespace: nothing happens without one, and a failure is an error unless it may be missing. */
int jail_detach(int fd, bool write, uint32_t allow_missing, uint32_t skip,
                struct error *e) MUST_CHECK;
/* In control, where it may mount: makes the clone before the room is told of the folder. Where it may
 * not, nothing happens, and the room does it. */
void jail_detach_ahead(int fd, bool write);
/* detach.c: the work of it. */
int jail_detach_mount(int fd, bool write, struct error *e) MUST_CHECK;
/* `ret_missing`: layers that are not there (allowed ones), namespaces included. A layer that fails
 * and may not be missing is an error; the room then exits. */
int jail_close(const struct jail_spec *spec, uint32_t *ret_missing, struct error *e) MUST_CHECK;
/* What this machine offers, found out by trying in a child: for `ambit doctor`. Bits of enum
 * jail_layer that work. */
int jail_probe(uint32_t *ret_works, int *ret_landlock_abi, struct error *e) MUST_CHECK;
