/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of each room: tables that a person can read, and the filter that is built of
 * them. */
#pragma once

#include <linux/filter.h>

#include "room/spawn.h"

#define SECCOMP_PROGRAM_MAX 1024

enum seccomp_condition {
    SECCOMP_ANY,
    SECCOMP_EQUAL,
    SECCOMP_WITHOUT,
    SECCOMP_BOTH,
    SECCOMP_INTERNET
};
/* One row of the table (jail_table.h says what its fields mean). */
struct seccomp_rule {
    int nr;
    unsigned rooms; /* 1 << enum room_role */
    enum seccomp_condition condition;
    unsigned argument;
    uint64_t value;
    int failure; /* 0: allowed; else it fails with this errno and does nothing */
    const char *call, *value_name, *failure_name, *reason;
};
const struct seccomp_rule *seccomp_rules(size_t *ret_count);

/* Builds the filter of a role; everything that its table does not name kills the process. */
int seccomp_build(enum room_role role, struct sock_filter ret_program[static SECCOMP_PROGRAM_MAX],
                  size_t *ret_count, struct error *e) MUST_CHECK;
/* Closes it over every thread of the process. no_new_privs must be set. */
int seccomp_close(enum room_role role, struct error *e) MUST_CHECK;
/* What the filter answers to a call: a SECCOMP_RET_ value. Runs the program as the kernel would;
 * for tests and `ambit doctor`. */
uint32_t seccomp_answer(const struct sock_filter *program, size_t count, uint32_t arch, uint32_t nr,
                        const uint64_t arguments[static 6]);
