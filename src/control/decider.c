/* SPDX-License-Identifier: Apache-2.0 */
/* See decider.h. */
#include "control/decider.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

static uint64_t end_of(uint64_t expires_ns)
{
    return expires_ns == GRANT_UNSET ? UINT64_MAX : clock_monotonic_ns() + expires_ns;
}

/* Rules keep their places; what such a room has no use for, secrets of variables among it, does not go
 * there. */
static int grants_json(const struct grant_set *set, char **ret, struct error *e)
{
    CLEANUP(json_freep) json_t *all = grant_set_to_json(set);
    CLEANUP(buf_done) struct buf text = BUF_INIT(FRAME_MAX);
    json_t *items = json_object_get(all, "grants");
    for (size_t i = 0; i < set->count && i < json_array_size(items); i++) {
        if (set->grants[i].class == GRANT_HTTP)
            continue;
        json_t *other = json_pack("{s:[s]}", "log", "trace");
        if (!other || json_array_set_new(items, i, other) < 0)
            return error_set(e, -ENOMEM, "no memory for the grants");
    }
    if (!all || json_canonical(all, &text) < 0 || buf_status(&text) < 0)
        return error_set(e, -E2BIG, "the grants are too large to be sent");
    *ret = buf_take(&text);
    return *ret ? 0 : error_set(e, -ENOMEM, "no memory for the grants");
}

int decider_init(struct decider *d, const struct grant_set *grants, uint32_t more, struct error *e)
{
    d->rule_count = grants ? grants->count : 0;
    d->rule_max = d->rule_count + more;
    *d->expires_ns = end_of(grants ? grants->expires_ns : GRANT_UNSET);
    d->revoked = mem_array(d->rule_max + 1, sizeof(*d->revoked));
    if (!d->revoked)
        return error_set(e, -ENOMEM, "no memory for %s", d->name);
    int status = grant_set_new(&d->grants, e);
    if (status == 0 && grants)
        status = grant_set_merge(d->grants, grants, e);
    return status == 0 ? grants_json(d->grants, d->grants_json, e) : status;
}

void decider_done(struct decider *d)
{
    if (d->alive)
        room_end(&d->room);
    d->alive = false;
    grant_set_free(d->grants);
    mem_free(d->revoked);
}

/* ---- a life ---- */

void decider_began(struct decider *d, const struct frame_rule *rules, size_t rule_count)
{
    d->alive = true;
    d->ready = d->fault = false;
    *d->more = (uint32_t)(d->rule_max - d->rule_count);
    d->gate =
        (struct frame_gate){ .rules = rules, .rule_count = rule_count, .phase = PHASE_STARTING };
    restart_began(&d->restart);
}

static int tell_revoked(struct decider *d, uint32_t rule, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    rules_revoke_put(&payload, rule);
    return decider_tell(d, d->revoke, &payload, NULL, 0, e);
}

int decider_start(struct decider *d, uint16_t kind, const struct buf *payload, const int *fds,
                  size_t fd_count, struct error *e)
{
    if (buf_status(payload) == -EMSGSIZE)
        return error_set(e, -E2BIG, "the grants are too large to be sent");
    int status = decider_tell(d, kind, payload, fds, fd_count, e);
    for (uint32_t i = 0; status == 0 && i < d->rule_count; i++)
        if (d->revoked[i] && !d->all_revoked)
            status = tell_revoked(d, i, e);
    return status == 0 && d->all_revoked ? tell_revoked(d, RULES_ALL, e) : status;
}

int decider_hear(struct decider *d, void *context, struct error *e)
{
    struct error cause = ERROR_INIT;
    int status = channel_dispatch(d->room.channel, &d->gate, context, false, &cause);
    if (status == -EPIPE || status == -ECONNRESET)
        status = 1;
    if (status < 0) {
        *e = cause;
        return status;
    }
    if (status > 0 || d->fault) /* one that does not end by itself after a fault is ended */
        return 1;
    if (!d->ready && clock_monotonic_ns() >= d->restart.began_ns + DECIDER_START_LIMIT_NS)
        return error_set(e, -ETIMEDOUT, "%s did not start within half a minute", d->name);
    return 0;
}

int decider_on_fault(struct decider *d, struct cursor *c, int code, struct error *e)
{
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);
    if (c->bad || !text || !hint)
        return error_set(e, -EPROTO, "%s told of a fault that cannot be", d->name);
    d->fault = true;
    d->gate.phase = PHASE_OVER;
    error_clear(&d->fault_text);
    error_set(&d->fault_text, code, "%s", text);
    if (hint[0] != '\0')
        error_hint(&d->fault_text, "%s", hint);
    return 0;
}

void decider_bury(struct decider *d, struct buf *why)
{
    restart_bury(&d->restart, &d->room, why);
    d->alive = d->ready = false; /* one that died with its READY was none */
}

int decider_not_started(const struct decider *d, struct buf *why, struct error *e)
{
    int code = d->restart.missing ? -ENODEV : -ECHILD;
    error_set(e, code, "%s did not start: %s", d->name, buf_cstr(why));
    error_hint(e, "ambit doctor says whether this machine has what a room needs");
    return code;
}

int decider_fd(const struct decider *d)
{
    return d->alive ? channel_fd(d->room.channel) : -1;
}

int decider_timeout_ms(const struct decider *d)
{
    if (d->alive && d->ready)
        return -1;
    return clock_until_ms(d->alive ? d->restart.began_ns + DECIDER_START_LIMIT_NS
                                   : d->restart.back_ns);
}

/* ---- what it is told ---- */

int decider_send(struct decider *d, uint16_t kind, const struct buf *payload, const int *fds,
                 size_t fd_count, struct error *e)
{
    int status = buf_status(payload);
    if (status < 0)
        return error_set(e, status, "a frame for %s cannot be built", d->name);
    return channel_send(d->room.channel, kind, payload->data, payload->size, fds, fd_count, e);
}

int decider_tell(struct decider *d, uint16_t kind, const struct buf *payload, const int *fds,
                 size_t fd_count, struct error *e)
{
    if (!d->alive)
        return 0;
    return channel_unless_gone(decider_send(d, kind, payload, fds, fd_count, e), e);
}

int decider_grant(struct decider *d, const struct grant_set *one, struct error *e)
{
    CLEANUP(mem_freep) char *json = NULL;
    CLEANUP(mem_freep) char *all = NULL;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    ASSERT(one->count == 1);
    if (d->rule_count == d->rule_max)
        return error_set(e, -E2BIG, "no further grant can be added to this run");
    int status = grants_json(one, &json, e);
    if (status == 0)
        status = grant_set_merge(d->grants, one, e);
    if (status == 0)
        status = grants_json(d->grants, &all, e);
    if (status < 0)
        return status;
    mem_free(*d->grants_json);
    *d->grants_json = TAKE(all);
    rules_grant_put(&payload, (uint32_t)d->rule_count++, json);
    return decider_tell(d, d->grant, &payload, NULL, 0, e);
}

int decider_revoke(struct decider *d, uint32_t rule, struct error *e)
{
    ASSERT(rule < d->rule_count || rule == RULES_ALL);
    if (rule == RULES_ALL)
        d->all_revoked = true;
    else
        d->revoked[rule] = true;
    return tell_revoked(d, rule, e);
}

int decider_expires(struct decider *d, uint64_t expires_ns, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    *d->expires_ns = end_of(expires_ns);
    rules_expire_put(&payload, *d->expires_ns);
    return decider_tell(d, d->expire, &payload, NULL, 0, e);
}
