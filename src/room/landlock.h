/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: the kernel's ABI, and closing a ruleset with exactly the given folders over this
 * thread. */
#pragma once

#include "room/jail.h"

/* 1 … what the kernel has, 0 when it has none or it is off. */
int landlock_abi(void);
/* `connects`: TCP connections outwards stay possible (egress). */
int landlock_close(const struct jail_folder *folders, size_t count, bool connects,
                   struct error *e) MUST_CHECK;
