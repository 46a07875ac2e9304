/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks, in nanoseconds, and identifiers made of them. */
#pragma once

#include "base/error.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

uint64_t clock_monotonic_ns(void);  /* CLOCK_MONOTONIC */
int64_t clock_real_ns(void);        /* CLOCK_REALTIME since 1970 */
uint64_t clock_thread_cpu_ns(void); /* CLOCK_THREAD_CPUTIME_ID */
uint64_t clock_process_cpu_ns(void);

/* A run's id: sortable by time, 26 characters of Crockford base 32 (the ULID layout),
 * NUL-terminated. */
#define ID_TEXT_SIZE 27
int id_new(char ret_id[static ID_TEXT_SIZE]) MUST_CHECK;
bool id_valid(const char *text);
