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

#define NEW (1u << 0)
#define READY (1u << 1)

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

/* A front that is dying as well is seen by its own death. */
static int unless_dead(int status, struct error *e)
{
    if (status != -EPIPE && status != -ECONNRESET)
        return status;
    error_clear(e);
    return 0;
}

static void close_link(int fds[static LINK_FDS])
{
    for (int i = 0; i < LINK_FDS; i++)
        fd_closep(&fds[i]);
}

/* ---- what a front may say ---- */

static int on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct proxy_front *f = context;
    uint32_t missing = cursor_u32(c);
    if ((missing & ~f->p->run.request->allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "a front started without a layer of its jail that may not be missing");
    f->p->run.report->missing |= missing;
    f->room.ready = true;
    f->room.gate.phase = 1;
    return 0;
}

static int on_done(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct proxy_front *f = context;
    uint64_t cut = cursor_u64(c);
    if (f->p->phase != PROXY_DRAINING)
        return error_set(e, -EPROTO, "a front ended by itself");
    f->room.done = true;
    ingress_count(&f->p->page[f->index], INGRESS_COUNT_requests_cut_total, cut);
    return 0;
}

static int on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);
    if (!text || !hint)
        return error_set(e, -EPROTO, "a front told of a fault that cannot be");
    if (hint[0] != '\0')
        error_hint(e, "%s", hint);
    return error_set(e, -EIO, "the front cannot start: %s", text);
}

static int send_link(struct proxy_front *f, const int fds[static LINK_FDS], struct error *e)
{
    if (!f->room.live)
        return 0;
    return unless_dead(channel_send(f->room.room.channel, INGRESS_LINK, NULL, 0, fds, LINK_FDS, e),
                       e);
}

/* Egress broke the protocol, it says: neither is believed, both get a new link. */
static int on_broken(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct proxy_front *f = context;
    int link[LINK_FDS];
    CLEANUP(mem_freep) char *why = cursor_string(c);
    if (!why)
        return error_set(e, -EPROTO, "a front told what cannot be");
    proxy_notice(f->p, "front %u has a new link to egress: %s", f->index, why);
    egress_unlink(f->p->run.egress, f->index);
    int status = egress_link(f->p->run.egress, f->index, link, e);
    if (status < 0)
        return status;
    status = send_link(f, link, e);
    close_link(link);
    return status;
}

static int on_denied(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct proxy_front *f = context;
    struct egress_denied d;
    int status = egress_denied_get(c, &d, e);
    if (status < 0)
        return status;
    if (d.reason == GRANT_ALLOWED || d.reason >= GRANT_REASON_COUNT)
        return error_set(e, -EPROTO, "a front told of a denial that cannot be");
    d.rule = GRANT_NO_RULE; /* it has no rules */
    return proxy_denied(f->p, "ingress", &d, e);
}

static const struct frame_rule front_rules[] = {
    { INGRESS_READY, "front-ready", NEW, true, 0, 64, on_ready },
    { INGRESS_FAULT, "front-fault", NEW, true, 0, 16u << 10, on_fault },
    { INGRESS_DONE, "front-done", READY, true, 0, 8, on_done },
    { INGRESS_BROKEN, "front-broken", READY, false, 0, 16u << 10, on_broken },
    { INGRESS_DENIED, "front-denied", READY, false, 0, 64u << 10, on_denied },
};

/* ---- starting ---- */

static int keeper_end(struct proxy_front *f, int *ret_fd, struct error *e)
{
    struct keeper *k = f->p->run.keeper;
    int pair[2];
    int status = keeper_client(k, KEEPER_CLIENT_INGRESS, f->index, ret_fd, e);
    if (status < 0 || *ret_fd >= 0)
        return status;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(e, errno, "no channel to keeper");
    fd_close(pair[1]);
    *ret_fd = pair[0];
    return 0;
}

static int send_start(struct proxy_front *f, const int link[static LINK_FDS], int log_end,
                      int keeper, struct error *e)
{
    struct proxy *p = f->p;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int fds[4 + LINK_FDS];
    size_t count = 0;
    const struct ingress_start start = {
        .flags = INGRESS_PROXY | (log_end >= 0 ? INGRESS_LOG : 0),
        .index = f->index,
        .pairs = p->front_count,
        .connections = p->request->connections,
        .concurrency = PROXY_CONCURRENCY / p->front_count,
        .queue = PROXY_QUEUE,
        .client_timeout_ns = p->request->client_timeout_ns,
        .idle_timeout_ns = p->request->idle_timeout_ns,
        .allow_missing = p->run.request->allow_missing,
        .test_skip = p->request->ingress_skip,
        .authority = p->authority,
        .certificate = (char *)"",
        .key = (char *)"",
        .token = p->token,
    };
    fds[count++] = f->listener_fd;
    fds[count++] = p->page_fd;
    for (int i = 0; i < LINK_FDS; i++)
        fds[count++] = link[i];
    if (log_end >= 0)
        fds[count++] = log_end;
    fds[count++] = keeper;
    int status = ingress_start_put(&payload, &start);
    if (status == 0)
        status = channel_send(f->room.room.channel, INGRESS_START, payload.data, payload.size, fds,
                              count, e);
    if (payload.data)
        mem_wipe(payload.data, payload.capacity);
    return unless_dead(status, e); /* its death tells why */
}

int proxy_front_start(struct proxy_front *f, struct error *e)
{
    struct proxy *p = f->p;
    CLEANUP(fd_closep) int log_end = -1;
    CLEANUP(fd_closep) int keeper = -1;
    int link[LINK_FDS];
    int status = room_spawn(ROOM_INGRESS, p->run.request->allow_missing, &f->room.room, e);
    if (status < 0)
        return status;
    front_room_began(&f->room, front_rules, ARRAY_SIZE(front_rules));
    if (p->access.fd >= 0)
        status = access_pipe_open(&f->log, &log_end, e);
    if (status == 0)
        status = keeper_end(f, &keeper, e);
    if (status < 0)
        return status;
    egress_unlink(p->run.egress, f->index); /* of the life before */
    status = egress_link(p->run.egress, f->index, link, e);
    if (status < 0)
        return status;
    status = send_start(f, link, log_end, keeper, e);
    close_link(link);
    return status;
}

/* ---- deaths ---- */

static int died(struct proxy_front *f, struct error *e)
{
    struct proxy *p = f->p;
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    if (p->phase == PROXY_STARTING)
        return front_room_died_at_start(&f->room, "front", false, e);
    egress_unlink(p->run.egress, f->index);
    if (!front_room_bury(&f->room, p->phase >= PROXY_DRAINING, &why)) {
        f->room.over = true;
        return 0;
    }
    proxy_notice(p, "front %u ended: %s; it is started again", f->index, buf_cstr(&why));
    ingress_count(&p->page[f->index], INGRESS_COUNT_ingress_restarts_total, 1);
    return 0;
}

/* 0, 1: it is gone; a frame that breaks a rule is the end of the room, not of the proxy. */
static int hear(struct proxy_front *f, struct error *e)
{
    struct error why = ERROR_INIT;
    int status = channel_dispatch(f->room.room.channel, &f->room.gate, f, false, &why);
    if (status >= 0)
        return status;
    if (f->p->phase == PROXY_STARTING || why.code == -ENOMEM) {
        *e = why;
        return status;
    }
    proxy_notice(f->p, "front %u is ended: %s", f->index, why.what);
    room_kill(&f->room.room);
    return 1;
}

int proxy_front_turn(struct proxy_front *f, bool said, struct error *e)
{
    int status = 0;
    if (said && f->room.live) {
        status = hear(f, e);
        if (status == 1)
            status = died(f, e);
    }
    if (status < 0 || f->room.restart.back_ns == 0 || f->p->phase != PROXY_RUNNING ||
        f->room.restart.back_ns > clock_monotonic_ns())
        return status;
    f->room.restart.back_ns = 0;
    return proxy_front_start(f, e);
}

/* ---- what others do ---- */

int proxy_relinked(void *context, uint32_t owner, const int fds[static LINK_FDS], struct error *e)
{
    struct proxy *p = context;
    return owner < p->front_count ? send_link(&p->fronts[owner], fds, e) : 0;
}

int proxy_keeper_back(void *context, struct error *e)
{
    struct proxy *p = context;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < p->front_count; i++) {
        struct proxy_front *f = &p->fronts[i];
        CLEANUP(fd_closep) int fd = -1;
        if (!f->room.live)
            continue;
        status = keeper_end(f, &fd, e);
        if (status == 0)
            status = unless_dead(
                channel_send(f->room.room.channel, INGRESS_KEEPER, NULL, 0, &fd, 1, e), e);
    }
    return status;
}

int proxy_fronts_regranted(struct proxy *p, struct error *e)
{
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < p->front_count; i++)
        if (p->fronts[i].room.live)
            status = unless_dead(channel_send(p->fronts[i].room.room.channel, INGRESS_REGRANTED,
                                              NULL, 0, NULL, 0, e),
                                 e);
    return status;
}

void proxy_front_drain(struct proxy_front *f, uint64_t within_ns)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    f->room.restart.back_ns = 0;
    if (!f->room.live)
        return;
    buf_u64(&payload, within_ns);
    if (channel_send(f->room.room.channel, INGRESS_DRAIN, payload.data, payload.size, NULL, 0,
                     NULL) < 0)
        f->room.over = true;
}

void proxy_front_done(struct proxy_front *f)
{
    if (f->room.live)
        room_end(&f->room.room);
    fd_close(f->log.fd);
    fd_close(f->listener_fd);
    buf_done(&f->log.held);
}
