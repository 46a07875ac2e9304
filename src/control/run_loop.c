/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation with the worker: what it may say and when (the gate's table), and the loop over
 * its channel, the carried standard streams, signals and the wall backstop. Every frame that breaks
 * a rule here ends the run as a fault.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/proposal.h"
#include "control/run_parts.h"
#include "room/jail.h"

#define WALL_GRACE_NS NS_PER_S
#define START_LIMIT_NS (60 * NS_PER_S) /* from RUN_START to READY: code is mapped and linked */
#define WORKER_LINK 1                  /* the number of the only worker, for egress */
#define LAST_WORDS_MS 2000             /* from a closed channel to the worker's exit */

/* ---- what a worker may say ---- */

static int on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct run *r = context;
    uint32_t missing = cursor_u32(c);

    if ((missing & ~r->request->allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "the worker started without a layer of its jail that may not be missing");
    r->report->missing |= missing;
    r->ready_ns = clock_monotonic_ns();
    r->gate.phase = PHASE_RUNNING;
    if (r->egress != NULL) {
        int status = egress_expires(r->egress, r->request->grants->expires_ns, e);
        if (status == 0)
            status = run_keeper_expires(r, r->request->grants->expires_ns, e);
        if (status < 0)
            return status;
    }
    return run_record_jail(r, e);
}

static int on_denial(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct run *r = context;
    struct run_report *p = r->report;
    struct run_denial d = { 0 };

    int status = run_denial_get(c, &d, e);
    if (status < 0)
        return status;
    if (p->denied_count == RUN_DENIALS_MAX || d.class > GRANT_NETWORK ||
        d.reason >= GRANT_REASON_COUNT) {
        run_denial_done(&d);
        return error_set(e, -EPROTO, "the worker told of a denial that cannot be");
    }
    if (p->denied == NULL)
        p->denied = mem_array(RUN_DENIALS_MAX, sizeof(*p->denied));
    if (p->denied == NULL) {
        run_denial_done(&d);
        return error_set(e, -ENOMEM, "no memory for a denial");
    }
    char *settled = NULL;
    status = proposal_settle(d.grant_yaml, &settled, e);
    if (status < 0) {
        run_denial_done(&d);
        return status;
    }
    mem_free(d.grant_yaml);
    d.grant_yaml = settled;
    size_t number = p->denied_count++;
    p->denied[number] = (struct run_denied){ .denial = d, .count = 1 };
    status = run_record_denial(r, number, &p->denied[number].denial, e);
    if (status == 0 && r->observer->denied != NULL)
        r->observer->denied(r->observer->context, &p->denied[number].denial);
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
    struct run *r = context;
    uint32_t level = cursor_u32(c);
    CLEANUP(mem_freep) char *topic = text_of(c);
    CLEANUP(mem_freep) char *message = text_of(c);

    if (c->bad || level > LOG_CRITICAL)
        return error_set(e, -EPROTO, "the worker told of a log line that cannot be");
    if (topic == NULL || message == NULL)
        return error_set(e, -ENOMEM, "no memory for a log line");
    if (r->observer->log != NULL)
        r->observer->log(r->observer->context, (enum log_level)level, topic, message);
    if (++r->report->log_lines > RUN_LOG_EVENTS_MAX)
        return 0;
    return run_record_log(r, (enum log_level)level, topic, message, e);
}

static int on_done(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct run *r = context;
    struct run_report *p = r->report;

    int status = run_done_get(c, &p->done, e);
    if (status < 0)
        return status;
    p->has_figures = true;
    r->gate.phase = PHASE_OVER;
    if (p->done.end > RUN_END_FAULT || p->done.limit >= RUN_LIMIT_COUNT ||
        p->done.denial_count > p->denied_count || p->done.use_count > grant_rules_count(r->rules))
        return error_set(e, -EPROTO, "the worker told of an end that cannot be");
    for (size_t i = 0; i < p->done.denial_count; i++)
        p->denied[i].count = p->done.denial_counts[i];
    return 0;
}

static int on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct run *r = context;
    uint32_t fault = cursor_u32(c);
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);

    if (c->bad || text == NULL || hint == NULL || fault < RUN_FAULT_INTERNAL ||
        fault > RUN_FAULT_STALE_CODE)
        return error_set(e, -EPROTO, "the worker told of a fault that cannot be");
    r->fault = fault;
    error_clear(&r->fault_text);
    error_set(&r->fault_text, -EIO, "%s", text);
    if (hint[0] != '\0')
        error_hint(&r->fault_text, "%s", hint);
    r->gate.phase = PHASE_OVER;
    return 0;
}

#define IN(phase) (1u << (phase))
static const struct frame_rule rules[] = {
    { RUN_READY, "ready", IN(PHASE_STARTING), true, 0, 64, on_ready },
    { RUN_DENIAL, "denial", IN(PHASE_RUNNING), false, 0, 64u << 10, on_denial },
    { RUN_ASK, "ask", IN(PHASE_RUNNING), false, 0, 64u << 10, run_on_ask },
    { RUN_LOG, "log", IN(PHASE_RUNNING), false, 0, 64u << 10, on_log },
    { RUN_DONE, "done", IN(PHASE_RUNNING), true, 0, FRAME_MAX, on_done },
    { RUN_FAULT, "fault", IN(PHASE_STARTING) | IN(PHASE_RUNNING), true, 0, 64u << 10, on_fault },
};

/* ---- start ---- */

static int send_start(struct run *r, struct channel *to, const struct run_start *s,
                      const struct run_start_links *links, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int fds[CHANNEL_FDS_MAX];
    size_t count = 0;

    fds[count++] = r->entry.code_fd;
    for (int i = 0; i < STDIO_COUNT; i++)
        fds[count++] = r->stdio.guest[i];
    for (size_t i = 0; i < r->mount_count; i++) {
        if (r->mount_fds[i] < 0)
            continue;
        if (count == CHANNEL_FDS_MAX)
            return error_set(e, -E2BIG, "more than %d folders are granted", CHANNEL_FDS_MAX - 4);
        if (!(s->test_skip & JAIL_MOUNT_NAMESPACE))
            jail_detach_ahead(r->mount_fds[i],
                              grant_rules_mount(r->rules, i)->verbs & ~(uint32_t)FS_RO);
        fds[count++] = r->mount_fds[i];
    }
    for (size_t i = 0; i < links->count; i++) {
        if (count == CHANNEL_FDS_MAX)
            return error_set(e, -E2BIG, "too many folders are granted");
        fds[count++] = links->fds[i];
    }
    int status = run_start_put(&payload, s);
    if (status == 0)
        status = buf_status(&payload);
    if (status == -EMSGSIZE) {
        error_set(e, -E2BIG, "arguments and grants together are longer than 1 MiB");
        error_hint(e, "put long arguments into a file and grant that with --read");
        return -E2BIG;
    }
    if (status < 0)
        return error_set(e, status, "the start of the run cannot be written");
    return channel_send(to, RUN_START, payload.data, payload.size, fds, count, e);
}

/* argv: the program's own name, a script, what was typed. */
static char **argv_of(const struct run *r, size_t *ret_count, uint32_t *ret_program)
{
    const struct run_request *q = r->request;
    char **argv = mem_array(q->arg_count + 2, sizeof(char *));
    size_t count = 0;

    if (argv == NULL)
        return NULL;
    argv[count++] = r->target.argv0;
    if (r->target.language != TARGET_WASM)
        argv[count++] = r->target.script_guest;
    *ret_program = (uint32_t)count;
    for (size_t i = 0; i < q->arg_count; i++)
        argv[count++] = q->args[i];
    *ret_count = count;
    return argv;
}

/* All grants but the values of the headers that egress puts on: a worker has no use for them, and one
 * that was taken over would read them. */
static json_t *grants_for_worker(const struct grant_set *set)
{
    CLEANUP(json_freep) json_t *all = grant_set_to_json(set);
    json_t *items = json_object_get(all, "grants");

    for (size_t i = 0; i < json_array_size(items); i++)
        (void)json_object_del(json_array_get(items, i), "set_headers");
    return TAKE(all);
}

int run_start_send(struct run *r, struct channel *to, const struct run_start_links *links,
                   struct error *e)
{
    CLEANUP(json_freep) json_t *grants = grants_for_worker(r->request->grants);
    CLEANUP(buf_done) struct buf text = BUF_INIT(FRAME_MAX);
    CLEANUP(buf_done) struct buf cwd = BUF_INIT(FRAME_MAX), invoke = BUF_INIT(FRAME_MAX);
    struct run_start s = { .work_host = r->work_host,
                           .terminal = r->stdio.terminals,
                           .allow_missing = r->request->allow_missing,
                           .links = links->links,
                           .concurrency = links->concurrency,
                           .ask = r->request->ask,
                           .test_skip = r->request->test_skip };

    if (grants == NULL || json_canonical(grants, &text) < 0)
        return error_set(e, -E2BIG, "the grants are too large to be sent");
    CLEANUP(mem_freep) char **argv = argv_of(r, &s.arg_count, &s.program_args);
    if (argv == NULL)
        return error_set(e, -ENOMEM, "no memory for the arguments");
    buf_puts(&cwd, r->request->cwd != NULL ? r->request->cwd : "/work");
    buf_puts(&invoke, r->request->invoke != NULL ? r->request->invoke : "");
    if (buf_status(&text) < 0 || buf_status(&cwd) < 0 || buf_status(&invoke) < 0)
        return error_set(e, -E2BIG, "arguments and grants together are too large to be sent");
    buf_putc(&text, '\0');
    buf_putc(&cwd, '\0');
    buf_putc(&invoke, '\0');
    s.grants_json = (char *)text.data;
    s.cwd = (char *)cwd.data;
    s.invoke = (char *)invoke.data;
    s.args = argv;
    if (buf_status(&text) < 0)
        return error_set(e, -E2BIG, "the grants are too large to be sent");
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    r->started_real_ns = now.tv_sec * (int64_t)NS_PER_S + now.tv_nsec;
    r->started_ns = clock_monotonic_ns();
    return send_start(r, to, &s, links, e);
}

int run_loop_start(struct run *r, struct error *e)
{
    int fds[LINK_FDS];
    struct run_start_links links = { .fds = fds };
    int status = 0;

    if (r->egress != NULL) {
        egress_unlink(r->egress, WORKER_LINK); /* of a worker that had stale code */
        status = egress_link(r->egress, WORKER_LINK, fds, e);
        if (status < 0)
            return status;
        links.links = RUN_LINK_EGRESS;
        links.count = LINK_FDS;
    }

    r->gate = (struct frame_gate){ .rules = rules,
                                   .rule_count = ARRAY_SIZE(rules),
                                   .phase = PHASE_STARTING };
    status = run_start_send(r, r->room.channel, &links, e);
    for (size_t i = 0; i < links.count; i++)
        fd_close(fds[i]);
    stdio_handed_over(&r->stdio);
    fd_closep(&r->entry.code_fd);
    return status;
}

/* ---- the loop ---- */

int run_signal(struct run *r, struct error *e)
{
    struct signalfd_siginfo info;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(64);

    if (read(r->signal_fd, &info, sizeof(info)) != sizeof(info))
        return 0;
    r->signal = (int)info.ssi_signo;
    r->signals++;
    if (info.ssi_signo != SIGINT || r->signals > 1) {
        (void)kill(r->room.pid, SIGKILL);
        return 0;
    }
    buf_u32(&payload, RUN_STOP_INTERRUPT);
    if (r->gate.phase == PHASE_OVER)
        return 0;
    int status = channel_send(r->room.channel, RUN_STOP, payload.data, payload.size, NULL, 0, e);
    if (status < 0 && r->gate.phase != PHASE_OVER) { /* it does not listen any more: end it */
        error_clear(e);
        (void)kill(r->room.pid, SIGKILL);
    }
    return 0;
}

/* Nanoseconds of our clock at which the worker is killed. */
static uint64_t deadline_ns(const struct run *r)
{
    uint64_t wall_ns = grant_rules_limits(r->rules)->wall_ns;
    if (r->ready_ns == 0)
        return r->started_ns + START_LIMIT_NS;
    if (wall_ns > UINT64_MAX / 4)
        return UINT64_MAX;
    return r->ready_ns + wall_ns + WALL_GRACE_NS;
}

static int timeout_ms(const struct run *r, bool soon)
{
    uint64_t now = clock_monotonic_ns(), until = deadline_ns(r);
    uint64_t left = until > now ? (until - now) / NS_PER_MS + 1 : 0;
    if (soon)
        left = MIN(left, UINT64_C(200));
    return (int)MIN(left, UINT64_C(3600000));
}

/* 0 go on, 1 the channel is closed or all is said, < 0 fault. */
static int turn(struct run *r, struct error *e)
{
    struct pollfd fds[4 + STDIO_POLL_FDS];
    bool soon = stdio_poll(&r->stdio, fds + 4);
    int keeper_ms = run_keeper_timeout_ms(r);
    int egress_ms = r->egress != NULL ? egress_timeout_ms(r->egress) : -1;
    int wait_ms = timeout_ms(r, soon);

    fds[0] = (struct pollfd){ .fd = channel_fd(r->room.channel), .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = r->signal_fd, .events = POLLIN };
    fds[2] =
        (struct pollfd){ .fd = r->egress != NULL ? egress_fd(r->egress) : -1, .events = POLLIN };
    fds[3] = (struct pollfd){ .fd = run_keeper_fd(r), .events = POLLIN };
    if (egress_ms >= 0)
        wait_ms = MIN(wait_ms, egress_ms);
    if (keeper_ms >= 0)
        wait_ms = MIN(wait_ms, keeper_ms);
    if (poll(fds, ARRAY_SIZE(fds), wait_ms) < 0)
        return errno == EINTR ? 0 : error_set_errno(e, errno, "waiting for the worker");
    int status = stdio_events(&r->stdio, fds + 4, e);
    if (status == 0 && fds[1].revents != 0)
        status = run_signal(r, e);
    if (status == 0)
        status = run_keeper_turn(r, e);
    if (status == 0 && r->egress != NULL)
        status = egress_turn(r->egress, e);
    if (status == 0 && fds[0].revents != 0)
        status = channel_dispatch(r->room.channel, &r->gate, r, false, e);
    if (status != 0)
        return status;
    if (clock_monotonic_ns() >= deadline_ns(r)) {
        if (r->ready_ns == 0)
            return error_set(e, -ETIMEDOUT, "the worker did not start within a minute");
        r->killed_for_wall = true;
        return 1;
    }
    return r->gate.phase == PHASE_OVER;
}

static bool stopped_twice(void *context)
{
    struct run *r = context;
    struct signalfd_siginfo info;
    while (read(r->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        r->signal = (int)info.ssi_signo;
        r->signals++;
    }
    return r->signals > 1;
}

/* ---- the end, as one outcome ---- */

static void end_by_limit(struct run *r, struct error *e)
{
    enum run_limit limit = (enum run_limit)r->report->done.limit;
    bool time = limit == RUN_LIMIT_CPU || limit == RUN_LIMIT_WALL;
    const char *flags[RUN_LIMIT_COUNT] = {
        [RUN_LIMIT_MEMORY] = "--memory", [RUN_LIMIT_CPU] = "--cpu",
        [RUN_LIMIT_WALL] = "--wall",     [RUN_LIMIT_HANDLES] = "--handles",
        [RUN_LIMIT_OUTPUT] = "--output", [RUN_LIMIT_HOSTCALLS] = "--hostcalls",
    };
    const char *text = r->report->done.message;
    error_set(e, -EDQUOT, "%s", text != NULL && text[0] != '\0' ? text : run_limit_name(limit));
    if (flags[limit] != NULL)
        error_hint(e, "a larger limit: %s", flags[limit]);
    run_end(r, time ? RUN_TIME_LIMIT : RUN_OTHER_LIMIT, time ? EXIT_TIME : EXIT_LIMIT, e);
}

static void end_by_report(struct run *r)
{
    const struct run_done *d = &r->report->done;
    const char *text =
        d->message != NULL && d->message[0] != '\0' ? d->message : "it gave no reason";
    struct error e = ERROR_INIT;

    switch ((enum run_end)d->end) {
    case RUN_END_EXIT:
        run_end(r, RUN_EXITED, d->status & 0xff, NULL);
        return;
    case RUN_END_TRAP:
        error_set(&e, -EFAULT, "%s", text);
        if (d->denials > 0) {
            error_hint(&e, "something was denied before; --learn FILE writes what it asked for as "
                           "a grant file");
            run_end(r, RUN_DENIED, EXIT_DENIED, &e);
        } else {
            run_end(r, RUN_TRAPPED, EXIT_TRAP, &e);
        }
        return;
    case RUN_END_LIMIT:
        end_by_limit(r, &e);
        return;
    case RUN_END_STOPPED:
        error_set(&e, -EINTR, "%s", text);
        if (r->signal != 0)
            run_end(r, RUN_INTERRUPTED, EXIT_SIGNAL + r->signal, &e);
        else
            run_end(r, RUN_FAILED, EXIT_FAILED, &e);
        return;
    case RUN_END_FAULT:
        error_set(&e, -EIO, "%s", text);
        /* It could not be started: no such export, wrong arguments. */
        if (d->hostcalls == 0 && d->cpu_ns < NS_PER_S / 10) {
            error_hint(&e,
                       "ambit inspect %s says what it exports; --invoke EXPORT calls a function",
                       r->request->file);
            run_end(r, RUN_BAD_FILE, EXIT_BAD_FILE, &e);
        } else {
            run_end(r, RUN_FAILED, EXIT_FAILED, &e);
        }
        return;
    }
}

static void end_by_death(struct run *r, int wait_status)
{
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);

    if (r->killed_for_wall) {
        error_set(&e, -ETIMEDOUT, "the wall limit passed and the guest did not end by itself");
        error_hint(&e, "a larger limit: --wall");
        run_end(r, RUN_TIME_LIMIT, EXIT_TIME, &e);
    } else if (r->signal != 0) {
        error_set(&e, -EINTR, "ended by signal %d", r->signal);
        run_end(r, RUN_INTERRUPTED, EXIT_SIGNAL + r->signal, &e);
    } else if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGXCPU) {
        error_set(&e, -ETIMEDOUT, "the worker used up the CPU time that the kernel allows it");
        error_hint(&e, "a larger limit: --cpu");
        run_end(r, RUN_TIME_LIMIT, EXIT_TIME, &e);
    } else {
        room_status_text(wait_status, &text);
        bool missing = room_status_missing(wait_status) != 0;
        error_set(&e, missing ? -ENODEV : -ECHILD, "the worker ended without a report: %s",
                  buf_cstr(&text));
        error_hint(&e, missing ? "ambit doctor says whether this machine has what a worker needs"
                               : "the same may work when it is tried again; if not, ambit doctor "
                                 "says whether this machine has what a worker needs");
        run_end(r, RUN_FAILED, EXIT_FAILED, &e);
    }
}

static void end_by_fault(struct run *r)
{
    if (r->fault == RUN_FAULT_IMPORTS) {
        if (r->fault_text.hint[0] == '\0')
            error_hint(&r->fault_text, "ambit inspect %s lists what it imports", r->request->file);
        run_end(r, RUN_DENIED, EXIT_DENIED, &r->fault_text);
    } else if (r->fault != RUN_FAULT_STALE_CODE) { /* that one is tried again by run.c */
        run_end(r, RUN_FAILED, EXIT_FAILED, &r->fault_text);
    }
}

int run_loop(struct run *r, struct error *e)
{
    int wait_status = 0, status;

    while ((status = turn(r, e)) == 0)
        ;
    /* A worker that reported has nothing left to say; one that closed its channel without a word is
     * about to die of something. */
    if (status > 0 && r->gate.phase != PHASE_OVER && !r->killed_for_wall &&
        room_wait(&r->room, LAST_WORDS_MS, &wait_status, e) < 0)
        status = -ECHILD;
    r->report->wall_ns = clock_monotonic_ns() - r->started_ns;
    room_end(&r->room);
    r->room_live = false;
    if (status > 0) {
        int drained = stdio_drain(&r->stdio, stopped_twice, r, e);
        status = drained < 0 ? drained : 0;
    }
    if (status < 0)
        return status;
    if (r->report->has_figures)
        end_by_report(r);
    else if (r->fault != 0)
        end_by_fault(r);
    else
        end_by_death(r, wait_status);
    return 0;
}
