/* SPDX-License-Identifier: Apache-2.0 */
/* See restart.h. */
#include "control/restart.h"

#include "base/clock.h"
#include "base/mem.h"

#define PAUSE_MIN_NS (20 * NS_PER_MS)
#define PAUSE_MAX_NS (2 * NS_PER_S)
#define CALM_NS (10 * NS_PER_S)
#define LAST_WORDS_MS 2000 /* on a busy machine a room that ends is not gone at once */

void restart_began(struct restart *r)
{
    r->began_ns = clock_monotonic_ns();
    r->back_ns = 0;
}

void restart_bury(struct restart *r, struct room *room, struct buf *why)
{
    int wait_status = 0;
    uint64_t now = clock_monotonic_ns();
    r->missing = 0;
    if (room_wait(room, LAST_WORDS_MS, &wait_status, NULL) == 0) {
        room_status_text(wait_status, why);
        r->missing = room_status_missing(wait_status);
    } else {
        buf_puts(why, "it closed its channel and had to be killed");
    }
    room_end(room);
    r->pause_ns = now - r->began_ns >= CALM_NS || r->pause_ns == 0
                      ? PAUSE_MIN_NS
                      : MIN(2 * r->pause_ns, PAUSE_MAX_NS);
    r->back_ns = now + r->pause_ns;
}
