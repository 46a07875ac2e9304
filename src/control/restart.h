/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One room after another in the same place. Who dies is started again after a pause, which doubles from 20 ms to 2 s:
 * a room that dies at each start costs next to nothing, one that an attacker kills comes back at once. Who lived for
 * 10 s begins anew.
 */
#pragma once

#include "room/spawn.h"

struct restart {
    uint64_t began_ns; /* of this life */
    uint64_t back_ns;  /* when the next one is due; 0: it lives, or none is due */
    uint64_t pause_ns; /* before that */
    uint32_t missing;  /* it died for want of this layer of its jail; 0: of something else */
};
/* It was spawned. */
void restart_began(struct restart *r);
/* It closed its channel: reaps it, or kills it where it lingers, says why in words, and sets back_ns. */
void restart_bury(struct restart *r, struct room *room, struct buf *why);
