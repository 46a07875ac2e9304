/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fronts of a proxy: starting them, what they say, their deaths.
 *
 * Each front is an owner of a link of egress, by its index. When egress dies, control/egress.c makes new links; when a
 * front dies, its link is given up and made anew. A front that keeper cannot be reached by gets a channel that leads
 * nowhere, and the real one when keeper is back.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "control/proxy_parts.h"

void proxy_notice(struct proxy *p, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (p->observer->notice)
        p->observer->notice(p->observer->context, text);
}

/* ---- what a front may say ---- */

/* Egress broke the protocol, it says: neither is believed, both get a new link. */
static int on_broken(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct front *f = context;
    struct proxy *p = f->owner;
    int link[LINK_FDS];
    CLEANUP(mem_freep) char *why = cursor_string(c);
    if (!why)
        return error_set(e, -EPROTO, "a front told what cannot be");
    proxy_notice(p, "front %u has a new link to egress: %s", f->index, why);
    egress_unlink(p->run.egress, f->index);
    int status = egress_link(p->run.egress, f->index, link, e);
    if (status < 0)
        return status;
    status = front_send_link(f, link, e);
    link_close_fds(link);
    return status;
}

static int on_denied(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    const struct front *f = context;
    struct egress_denied d;
    int status = egress_denied_get(c, &d, e);
    if (status < 0)
        return status;
    if (d.reason == GRANT_ALLOWED || d.reason >= GRANT_REASON_COUNT)
        return error_set(e, -EPROTO, "a front told of a denial that cannot be");
    d.rule = GRANT_NO_RULE; /* it has no rules */
    return proxy_denied(f->owner, "ingress", &d, e);
}

static const struct frame_rule front_rules[] = {
    FRONT_RULES,
    { INGRESS_BROKEN, "front-broken", FRONT_READY, false, 0, 16u << 10, on_broken },
    { INGRESS_DENIED, "front-denied", FRONT_READY, false, 0, 64u << 10, on_denied },
};

/* ---- starting ---- */

static int keeper_end(struct front *f, int *ret_fd, struct error *e)
{
    const struct proxy *p = f->owner;
    int pair[2];
    int status = keeper_client(p->run.keeper, KEEPER_CLIENT_INGRESS, f->index, ret_fd, e);
    if (status < 0 || *ret_fd >= 0)
        return status;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(e, errno, "no channel to keeper");
    fd_close(pair[1]);
    *ret_fd = pair[0];
    return 0;
}

int proxy_front_start(struct front *f, struct error *e)
{
    struct proxy *p = f->owner;
    CLEANUP(fd_closep) int keeper = -1;
    int link[LINK_FDS];
    const struct ingress_start own = { .flags = INGRESS_PROXY,
                                       .concurrency = PROXY_CONCURRENCY / p->fronts.count,
                                       .queue = PROXY_QUEUE,
                                       .token = p->token };
    int status = front_spawn(f, front_rules, ARRAY_SIZE(front_rules), e);
    if (status == 0)
        status = keeper_end(f, &keeper, e);
    if (status < 0)
        return status;
    egress_unlink(p->run.egress, f->index); /* of the life before */
    status = egress_link(p->run.egress, f->index, link, e);
    if (status < 0)
        return status;
    status = front_send_start(f, &own, link, keeper, e);
    link_close_fds(link);
    return status;
}

/* ---- deaths ---- */

static int died(struct front *f, struct error *e)
{
    struct proxy *p = f->owner;
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    if (p->phase == PROXY_STARTING)
        return front_room_died_at_start(&f->room, "front", false, e);
    egress_unlink(p->run.egress, f->index);
    if (!front_room_bury(&f->room, p->phase >= PROXY_DRAINING, &why)) {
        f->room.over = true;
        return 0;
    }
    proxy_notice(p, "front %u ended: %s; it is started again", f->index, buf_cstr(&why));
    ingress_count(&p->fronts.page[f->index], INGRESS_COUNT_ingress_restarts_total, 1);
    return 0;
}

static int hear(struct front *f, struct error *e)
{
    struct proxy *p = f->owner;
    struct error broke = ERROR_INIT;
    int status = front_room_hear(&f->room, f, p->phase == PROXY_STARTING, &broke, e);
    if (status == 1 && broke.code != 0)
        proxy_notice(p, "front %u is ended: %s", f->index, broke.what);
    return status;
}

int proxy_front_turn(struct front *f, bool said, struct error *e)
{
    const struct proxy *p = f->owner;
    int status = 0;
    if (said && f->room.live) {
        status = hear(f, e);
        if (status == 1)
            status = died(f, e);
    }
    if (status < 0 || f->room.restart.back_ns == 0 || p->phase != PROXY_RUNNING ||
        f->room.restart.back_ns > clock_monotonic_ns())
        return status;
    f->room.restart.back_ns = 0;
    return proxy_front_start(f, e);
}

/* ---- what others do ---- */

int proxy_relinked(void *context, uint32_t owner, const int fds[static LINK_FDS], struct error *e)
{
    struct proxy *p = context;
    return owner < p->fronts.count ? front_send_link(&p->front[owner], fds, e) : 0;
}

int proxy_keeper_back(void *context, struct error *e)
{
    struct proxy *p = context;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < p->fronts.count; i++) {
        struct front *f = &p->front[i];
        CLEANUP(fd_closep) int fd = -1;
        if (!f->room.live)
            continue;
        status = keeper_end(f, &fd, e);
        if (status == 0)
            status = channel_unless_gone(
                channel_send(f->room.room.channel, INGRESS_KEEPER, NULL, 0, &fd, 1, e), e);
    }
    return status;
}

int proxy_fronts_regranted(struct proxy *p, struct error *e)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < p->fronts.count; i++)
        if (p->front[i].room.live)
            status = channel_unless_gone(
                channel_send(p->front[i].room.room.channel, INGRESS_REGRANTED, NULL, 0, NULL, 0, e),
                e);
    return status;
}
