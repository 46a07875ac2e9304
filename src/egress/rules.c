/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the room. A rule is a grant's place in the set, and that number is what everything
 * else knows it by: counters, pools of connections, revocations, exchanges, records. So a grant that
 * is added while the room runs (--ask) goes behind all others, into a place that was made for it at
 * the start, and moves nothing. None is ever taken away: a rule ends by its counter, by being
 * revoked, or with the room.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "egress/parts.h"

static int map_counters(struct egress_room *room, int fd, struct error *e)
{
    struct stat st;
    size_t size = room->rule_max * sizeof(*room->counters);
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

/* The rules of all grants that there are, in force. */
static int compile(struct egress_room *room, struct error *e)
{
    struct grant_rules *rules;
    int status = grant_rules_new(room->grants, room->start.work_host, &rules, e);
    if (status < 0)
        return status;
    grant_rules_free(room->rules);
    room->rules = rules;
    room->rule_count = grant_rules_count(rules);
    return 0;
}

int rules_start(struct egress_room *room, int counters_fd, struct error *e)
{
    const char *json = room->start.grants_json;
    int status = grant_set_parse("grants", "/", json, strlen(json), &room->grants, e);
    if (status == 0)
        status = compile(room, e);
    if (status < 0)
        return status;
    room->rule_max = room->rule_count + room->start.more;
    room->revoked = mem_array(room->rule_max + 1, sizeof(*room->revoked));
    room->pools = mem_array(room->rule_max + 1, sizeof(*room->pools));
    if (!room->revoked || !room->pools)
        return error_set(e, -ENOMEM, "no memory for the rules");
    return map_counters(room, counters_fd, e);
}

int rules_add(struct egress_room *room, uint32_t rule, const char *json, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    if (rule != room->rule_count || room->rule_count == room->rule_max)
        return error_set(e, -EBADMSG, "a grant for a place that is not the next, or one too many");
    int status = grant_set_parse("answer", "/", json, strlen(json), &one, e);
    if (status == 0 && one->count != 1)
        status = error_set(e, -EBADMSG, "an answer with %zu grants", one->count);
    if (status == 0)
        status = grant_set_merge(room->grants, one, e);
    return status == 0 ? compile(room, e) : status;
}

void rules_done(struct egress_room *room)
{
    grant_rules_free(room->rules);
    grant_set_free(room->grants);
    mem_free(room->revoked);
}
