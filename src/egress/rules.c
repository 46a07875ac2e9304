/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the room, and what belongs to each by its number. */
#include <sys/mman.h>
#include <sys/stat.h>

#include "egress/parts.h"

static int map_counters(struct egress_room *room, int fd, struct error *e)
{
    struct stat st;
    size_t size = room->grants.rule_max * sizeof(*room->counters);
    if (size == 0)
        return error_set(e, -EBADMSG, "a start without grants");
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)size)
        return error_set(e, -EBADMSG, "too few counters");
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return error_set_errno(e, errno, "the counters cannot be mapped");
    room->counters = at;
    return 0;
}

int rules_start(struct egress_room *room, int counters_fd, struct error *e)
{
    const struct egress_start *start = &room->start;
    struct grant_live *l = &room->grants;
    int status = grant_live_start(l, start->grants_json, start->work_host, start->more, e);
    if (status < 0)
        return status;
    l->expires_ns = start->expires_ns;
    room->pools = mem_array(l->rule_max + 1, sizeof(*room->pools));
    return room->pools ? map_counters(room, counters_fd, e)
                       : error_set(e, -ENOMEM, "no memory for the rules");
}
