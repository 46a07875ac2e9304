/* SPDX-License-Identifier: Apache-2.0 */
/* What cover.c and cover_service.c share: one question "is b covered by a". */
#pragma once

#include "grant/rules.h"

struct charge {
    uint64_t bytes, files;
};

struct cover {
    const struct grant_rules *a, *b;
    struct charge *charges; /* per grant of a */
    bool *charged;          /* per grant of a: by the rule of b at hand */
    struct glob_budget budget;
    struct buf *why; /* may be NULL */
    struct error *error;
};

/* Says what of `g` (may be NULL) is not covered; 1. */
int not_covered(struct cover *c, const struct grant *g, const char *format, ...) PRINTF_LIKE(3, 4);
/* http and keyvalue: 0, 1, < 0. */
int cover_services(struct cover *c);
