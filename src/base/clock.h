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
/* For poll(): from now until `at_ns` of the monotonic clock, not a moment less, an hour at most; 0: for ever (−1). */
int clock_until_ms(uint64_t at_ns);
int clock_sooner_ms(int a, int b); /* of two such */

/* A run's id: sortable by time, 26 characters of Crockford base 32 (the ULID layout),
 * NUL-terminated. */
#define ID_TEXT_SIZE 27
int id_new(char ret_id[static ID_TEXT_SIZE]) MUST_CHECK;
bool id_valid(const char *text);
