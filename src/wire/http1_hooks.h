/* SPDX-License-Identifier: Apache-2.0 */
/* Negative controls leave one strictness of the codec out, in builds with test hooks only. */
#pragma once

#include "wire/http1.h"

#ifdef AMBIT_TEST_HOOKS
extern uint64_t http1_lenient; /* bit n: fault n is overlooked, where http1.c asks */
static inline bool http1_hook_lenient(enum http1_fault f)
{
    return http1_lenient >> f & 1;
}
#else
static inline bool http1_hook_lenient(enum http1_fault f)
{
    return false;
}
#endif
