/* SPDX-License-Identifier: Apache-2.0 */
/* Included before quickjs.c; see stack.awk. */
#pragma once

/* Bytes of linear memory that stand for what a recursing function takes of the engine's stack. Released when it returns. */
#define STACK_TAKE(size) __asm__ volatile("" ::"r"(__builtin_alloca(size)))
#define STACK_TAKE_CHECKED 80

#define js_check_stack_overflow(rt, size) \
    ({                                    \
        STACK_TAKE(STACK_TAKE_CHECKED);   \
        js_stack_overflows(rt, size);     \
    })
