/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pairs of rooms of `ambit serve`: starting them, what they say, their deaths.
 *
 * The link of a pair is made here, once for each life of either room. When a worker dies its ingress
 * room gets the new end at once, so that clients of what was under way are answered, and new requests
 * wait in the new ring; the worker's end is kept for the one that is started next. When an ingress
 * room dies, its listener stays: clients wait in the kernel.
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/proposal.h"
#include "control/serve_parts.h"

#define WORKER_NEW (1u << 0)
#define WORKER_READY (1u << 1)

void serve_notice(struct serve *s, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (s->observer->notice != NULL)
        s->observer->notice(s->observer->run.context, text);
}

/* ---- what a worker may say ---- */

static int on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct serve_pair *p = context;
    struct run *r = &p->s->run;
    uint32_t missing = cursor_u32(c);
    if ((missing & ~r->request->allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "a worker started without a layer of its jail that may not be "
                         "missing");
    r->report->missing |= missing;
    p->worker.ready = true;
    p->worker.gate.phase = 1;
    p->denial_count = 0;
    if (r->ready_ns != 0)
        return 0;
    r->ready_ns = clock_monotonic_ns();
    return run_record_jail(r, e);
}

static bool same_denial(const struct run_denial *a, const struct run_denial *b)
{
    return a->class == b->class && a->reason == b->reason && a->rule == b->rule &&
           a->verbs == b->verbs && strcmp(a->operation, b->operation) == 0 &&
           strcmp(a->resource, b->resource) == 0;
}

/* Workers know nothing of each other: what one was denied, others may be too. */
static int keep_denial(struct serve_pair *p, struct run_denial *d, struct error *e)
{
    struct run *r = &p->s->run;
    struct run_report *report = r->report;
    size_t number = 0;
    while (number < report->denied_count && !same_denial(&report->denied[number].denial, d))
        number++;
    p->denial_of[p->denial_count++] = number;
    if (number < report->denied_count || number == RUN_DENIALS_MAX)
        return 0;
    if (report->denied == NULL)
        report->denied = mem_array(RUN_DENIALS_MAX, sizeof(*report->denied));
    if (report->denied == NULL)
        return error_set(e, -ENOMEM, "no memory for a denial");
    char *settled = NULL;
    int status = proposal_settle(d->grant_yaml, &settled, e);
    if (status < 0)
        return status;
    mem_free(d->grant_yaml);
    d->grant_yaml = settled;
    report->denied[number] = (struct run_denied){ .denial = *d, .count = 0 };
    *d = (struct run_denial){ 0 };
    report->denied_count++;
    return run_record_denial(r, number, &report->denied[number].denial, e);
}

static int on_denial(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct serve_pair *p = context;
    struct run_denial d = { 0 };
    int status = run_denial_get(c, &d, e);
    if (status < 0)
        return status;
    if (p->denial_count == RUN_DENIALS_MAX || d.class > GRANT_NETWORK ||
        d.reason >= GRANT_REASON_COUNT)
        status = error_set(e, -EPROTO, "a worker told of a denial that cannot be");
    else
        status = keep_denial(p, &d, e);
    run_denial_done(&d);
    return status;
}

static char *text_of(struct cursor *c)
{
    struct bytes b;
    b.data = cursor_bytes(c, &b.size);
    return bytes_text(b);
}

static int on_log(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct serve_pair *p = context;
    struct run *r = &p->s->run;
    uint32_t level = cursor_u32(c);
    CLEANUP(mem_freep) char *topic = text_of(c);
    CLEANUP(mem_freep) char *message = text_of(c);
    if (c->bad || level > LOG_CRITICAL)
        return error_set(e, -EPROTO, "a worker told of a log line that cannot be");
    if (topic == NULL || message == NULL)
        return error_set(e, -ENOMEM, "no memory for a log line");
    if (r->observer->log != NULL)
        r->observer->log(r->observer->context, (enum log_level)level, topic, message);
    if (++r->report->log_lines > RUN_LOG_EVENTS_MAX)
        return 0;
    return run_record_log(r, (enum log_level)level, topic, message, e);
}

static int add_uses(struct run_done *sum, const struct run_done *d)
{
    if (sum->use_count < d->use_count) {
        struct run_use *uses = mem_grow(sum->uses, d->use_count, sizeof *uses);
        if (uses == NULL)
            return -ENOMEM;
        memset(uses + sum->use_count, 0, (d->use_count - sum->use_count) * sizeof *uses);
        sum->uses = uses;
        sum->use_count = d->use_count;
    }
    for (size_t i = 0; i < d->use_count; i++) {
        sum->uses[i].count += d->uses[i].count;
        sum->uses[i].bytes_read += d->uses[i].bytes_read;
        sum->uses[i].bytes_written += d->uses[i].bytes_written;
        sum->uses[i].verbs |= d->uses[i].verbs;
    }
    return 0;
}

static int on_done(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct serve_pair *p = context;
    struct run_report *report = p->s->run.report;
    struct run_done d = { 0 }, *sum = &report->done;
    int status = run_done_get(c, &d, e);
    if (status < 0)
        return status;
    p->worker.done = true;
    if (d.use_count > grant_rules_count(p->s->run.rules) || d.denial_count > p->denial_count) {
        run_done_done(&d);
        return error_set(e, -EPROTO, "a worker told of an end that cannot be");
    }
    for (size_t i = 0; i < d.denial_count; i++)
        if (p->denial_of[i] < report->denied_count)
            report->denied[p->denial_of[i]].count += d.denial_counts[i];
    sum->cpu_ns += d.cpu_ns;
    sum->wall_ns = MAX(sum->wall_ns, d.wall_ns);
    sum->memory_peak_bytes = MAX(sum->memory_peak_bytes, d.memory_peak_bytes);
    sum->output_bytes += d.output_bytes;
    sum->hostcalls += d.hostcalls;
    sum->slices += d.slices;
    sum->handles_peak = MAX(sum->handles_peak, d.handles_peak);
    sum->denials += d.denials;
    sum->denials_dropped += d.denials_dropped;
    status = add_uses(sum, &d);
    report->has_figures = true;
    run_done_done(&d);
    return status < 0 ? error_set(e, status, "no memory for the figures") : 0;
}

static int on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct serve_pair *p = context;
    struct run *r = &p->s->run;
    uint32_t fault = cursor_u32(c);
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);
    if (c->bad || text == NULL || hint == NULL || fault < RUN_FAULT_INTERNAL ||
        fault > RUN_FAULT_STALE_CODE)
        return error_set(e, -EPROTO, "a worker told of a fault that cannot be");
    if (p->s->phase == SERVE_STARTING && r->fault == 0) {
        r->fault = fault;
        error_set(&r->fault_text, -EIO, "%s", text);
        if (hint[0] != '\0')
            error_hint(&r->fault_text, "%s", hint);
    } else {
        serve_notice(p->s, "worker %u: %s", p->index, text);
    }
    return 0;
}

static const struct frame_rule worker_rules[] = {
    { RUN_READY, "ready", WORKER_NEW, true, 0, 64, on_ready },
    { RUN_DENIAL, "denial", WORKER_READY, false, 0, 64u << 10, on_denial },
    { RUN_LOG, "log", WORKER_READY, false, 0, 64u << 10, on_log },
    { RUN_DONE, "done", WORKER_READY, true, 0, FRAME_MAX, on_done },
    { RUN_FAULT, "fault", WORKER_NEW | WORKER_READY, true, 0, 64u << 10, on_fault },
};

/* ---- what an ingress room may say ---- */

static int on_broken(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    const struct front *f = context;
    struct serve_pair *p = f->owner;
    CLEANUP(mem_freep) char *why = cursor_string(c);
    if (why == NULL)
        return error_set(e, -EPROTO, "an ingress room told what cannot be");
    if (p->worker.live) {
        serve_notice(p->s, "worker %u is ended: %s", p->index, why);
        room_kill(&p->worker.room);
    }
    return 0;
}

static const struct frame_rule ingress_rules[] = {
    FRONT_RULES,
    { INGRESS_BROKEN, "front-broken", FRONT_READY, false, 0, 16u << 10, on_broken },
};

/* ---- starting ---- */

/* Before it is far enough to start threads, which go where it is. A core that is gone meanwhile is no
 * fault: the room runs where it can. */
static void keep_on_core(const struct serve_pair *p, const struct room *r)
{
    cpu_set_t one;
    if (p->core < 0)
        return;
    CPU_ZERO(&one);
    CPU_SET(p->core, &one);
    (void)sched_setaffinity(r->pid, sizeof one, &one);
}

/* Starts the worker with the end of the link that waits for it. */
static int start_worker(struct serve_pair *p, struct error *e)
{
    struct serve *s = p->s;
    int fds[2 * LINK_FDS];
    struct run_start_links links = { .links = RUN_LINK_INGRESS,
                                     .concurrency = s->request->concurrency,
                                     .fds = fds };
    int status = room_spawn(ROOM_WORKER, s->run.request->allow_missing, &p->worker.room, e);
    if (status < 0)
        return status;
    keep_on_core(p, &p->worker.room);
    front_room_began(&p->worker, worker_rules, ARRAY_SIZE(worker_rules));
    if (s->run.egress != NULL) {
        status = egress_link(s->run.egress, p->index, fds, e);
        if (status < 0)
            return status;
        links.links |= RUN_LINK_EGRESS;
        links.count = LINK_FDS;
    }
    memcpy(fds + links.count, p->link, sizeof p->link);
    links.count += LINK_FDS;
    status = run_start_send(&s->run, p->worker.room.channel, &links, e);
    if (links.links & RUN_LINK_EGRESS)
        link_close_fds(fds);
    link_close_fds(p->link);
    return channel_unless_gone(status, e); /* its death tells why */
}

static int start_ingress(struct serve_pair *p, const int link[static LINK_FDS], struct error *e)
{
    const struct serve *s = p->s;
    const struct ingress_start own = { .flags = s->key != NULL ? INGRESS_TLS : 0,
                                       .concurrency = s->request->concurrency,
                                       .queue = s->request->queue,
                                       .rate_min = SERVE_RATE_MIN,
                                       .certificate = s->certificate,
                                       .key = s->key };
    int status = front_spawn(&p->ingress, ingress_rules, ARRAY_SIZE(ingress_rules), e);
    if (status < 0)
        return status;
    keep_on_core(p, &p->ingress.room.room);
    return front_send_start(&p->ingress, &own, link, -1, e);
}

int serve_start_pair(struct serve_pair *p, struct error *e)
{
    int other[LINK_FDS] = { -1, -1, -1 };
    int status = link_make(p->link, other, e);
    if (status == 0)
        status = start_worker(p, e);
    if (status == 0)
        status = start_ingress(p, other, e);
    link_close_fds(other);
    return status;
}

/* ---- deaths ---- */

static void bury(struct serve_pair *p, struct front_room *room, const char *name,
                 enum ingress_counter counter)
{
    struct serve *s = p->s;
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    if (!front_room_bury(room, s->phase >= SERVE_STOPPING, &why))
        return;
    serve_notice(s, "%s %u ended: %s; it is started again", name, p->index, buf_cstr(&why));
    ingress_count(&s->fronts.page[p->index], counter, 1);
}

static int worker_died(struct serve_pair *p, struct error *e)
{
    int other[LINK_FDS];
    if (p->s->phase == SERVE_STARTING)
        return front_room_died_at_start(&p->worker, "worker", p->s->run.fault != 0, e);
    bury(p, &p->worker, "worker", INGRESS_COUNT_worker_restarts_total);
    if (p->s->run.egress != NULL)
        egress_unlink(p->s->run.egress, p->index);
    if (p->worker.restart.back_ns == 0 || !p->ingress.room.live)
        return 0;
    /* Its clients are answered now, not when there is a new one. */
    int status = link_make(p->link, other, e);
    if (status < 0)
        return status;
    status = front_send_link(&p->ingress, other, e);
    link_close_fds(other);
    return status;
}

static int ingress_died(struct serve_pair *p, struct error *e)
{
    if (p->s->phase == SERVE_STARTING)
        return front_room_died_at_start(&p->ingress.room, "ingress room", p->s->run.fault != 0, e);
    if (p->s->phase == SERVE_DRAINING)
        p->ingress.room.over = true;
    bury(p, &p->ingress.room, "ingress room", INGRESS_COUNT_ingress_restarts_total);
    return 0;
}

/* A new link for both, or for the one that lives; the other takes its end at its start. */
static int start_ingress_again(struct serve_pair *p, struct error *e)
{
    int other[LINK_FDS];
    link_close_fds(p->link);
    int status = link_make(p->link, other, e);
    if (status == 0)
        status = start_ingress(p, other, e);
    link_close_fds(other);
    if (status < 0 || !p->worker.live)
        return status;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(8);
    buf_u32(&payload, RUN_LINK_INGRESS);
    status = channel_send(p->worker.room.channel, RUN_LINK, payload.data, payload.size, p->link,
                          LINK_FDS, e);
    link_close_fds(p->link);
    if (status < 0)
        error_clear(e); /* it is dying as well */
    return 0;
}

static int start_worker_again(struct serve_pair *p, struct error *e)
{
    int other[LINK_FDS];
    if (p->link[0] < 0) {
        int status = link_make(p->link, other, e);
        if (status < 0)
            return status;
        status = front_send_link(&p->ingress, other, e);
        link_close_fds(other);
        if (status < 0)
            return status;
    }
    return start_worker(p, e);
}

static int start_due(struct serve_pair *p, struct error *e)
{
    uint64_t now = clock_monotonic_ns();
    int status = 0;
    if (p->s->phase >= SERVE_STOPPING)
        return 0;
    if (p->ingress.room.restart.back_ns != 0 && p->ingress.room.restart.back_ns <= now &&
        p->s->phase == SERVE_RUNNING) {
        p->ingress.room.restart.back_ns = 0;
        status = start_ingress_again(p, e);
    }
    if (status == 0 && p->worker.restart.back_ns != 0 && p->worker.restart.back_ns <= now) {
        p->worker.restart.back_ns = 0;
        status = start_worker_again(p, e);
    }
    return status;
}

static int listen_to(struct serve_pair *p, struct front_room *room, void *context, const char *name,
                     struct error *e)
{
    struct error broke = ERROR_INIT;
    int status = front_room_hear(room, context, p->s->phase == SERVE_STARTING, &broke, e);
    if (status == 1 && broke.code != 0)
        serve_notice(p->s, "%s %u is ended: %s", name, p->index, broke.what);
    return status;
}

int serve_pair_turn(struct serve_pair *p, bool worker_said, bool ingress_said, struct error *e)
{
    int status = 0;
    if (ingress_said && p->ingress.room.live) {
        status = listen_to(p, &p->ingress.room, &p->ingress, "ingress room", e);
        if (status == 1)
            status = ingress_died(p, e);
    }
    if (status == 0 && worker_said && p->worker.live) {
        status = listen_to(p, &p->worker, p, "worker", e);
        if (status == 1)
            status = worker_died(p, e);
    }
    return status == 0 ? start_due(p, e) : status;
}

int serve_relink_egress(void *context, uint32_t owner, const int fds[static LINK_FDS],
                        struct error *e)
{
    struct serve *s = context;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(8);
    if (owner >= s->pair_count || !s->pairs[owner].worker.live)
        return 0;
    buf_u32(&payload, RUN_LINK_EGRESS);
    int status = channel_send(s->pairs[owner].worker.room.channel, RUN_LINK, payload.data,
                              payload.size, fds, LINK_FDS, e);
    return channel_unless_gone(status, e);
}

/* ---- ending ---- */

void serve_stop_worker(struct serve_pair *p)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(8);
    p->worker.restart.back_ns = 0;
    if (!p->worker.live || p->worker.done)
        return;
    buf_u32(&payload, RUN_STOP_INTERRUPT);
    if (channel_send(p->worker.room.channel, RUN_STOP, payload.data, payload.size, NULL, 0, NULL) <
        0)
        p->worker.over = true;
}

void serve_pair_done(struct serve_pair *p)
{
    if (p->worker.live)
        room_end(&p->worker.room);
    link_close_fds(p->link);
}
