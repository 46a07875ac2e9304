/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that start a room in its real jail. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "room/spawn.h"
#include "tests/unit/test.h"

/* Layers that this machine cannot have, as in a chroot: tests/run finds them and names them here. A
 * room of a test goes without them; tests of the layers themselves are left out there. */
static inline uint32_t rooms_missing(void)
{
    const char *named = getenv("AMBIT_TEST_MISSING_JAIL");
    char names[256] = "";
    uint32_t bits = 0;
    if (named && strlen(named) >= sizeof(names))
        test_fail(__FILE__, __LINE__, "AMBIT_TEST_MISSING_JAIL is too long");
    strcpy(names, named ? named : "");
    for (char *rest = NULL, *one = strtok_r(names, " ", &rest); one;
         one = strtok_r(NULL, " ", &rest)) {
        uint32_t bit = 0;
        if (jail_layer_parse(one, &bit) < 0)
            test_fail(__FILE__, __LINE__, "there is no layer %s", one);
        bits |= bit;
    }
    return bits;
}
