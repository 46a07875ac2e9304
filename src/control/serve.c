/* SPDX-License-Identifier: Apache-2.0 */
/* See serve.h. The loop is one poll over everything that speaks; nothing in it waits for one room. */
#include "control/serve.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "control/listen.h"
#include "control/serve_parts.h"

#define START_LIMIT_NS (60 * NS_PER_S)
#define STOP_LIMIT_NS (3 * NS_PER_S)  /* for a worker to report when nobody asks it any more */
#define DRAIN_GRACE_NS (2 * NS_PER_S) /* for an ingress room to say that it has drained */
#define HANDLER "wasi:http/incoming-handler@0.2"

static int failed(struct serve *s, enum run_outcome outcome, int exit_code, const struct error *e)
{
    run_end(&s->run, outcome, exit_code, e);
    return 1;
}

static int fault(struct serve *s, const struct error *e)
{
    return failed(s, RUN_FAILED, EXIT_FAILED, e);
}

/* ---- before the rooms ---- */

/* A script is a program with a beginning and an end: it has no handler. */
static int check_kind(struct serve *s)
{
    struct error e = ERROR_INIT;
    const struct target *t = &s->run.target;
    if (t->language == TARGET_WASM)
        return 0;
    error_set(&e, -EINVAL, "it is a %s script: scripts run, they are not served",
              target_languages[t->language].title);
    error_hint(&e,
               "build a component that exports " HANDLER " of it (componentize-%s), and serve "
               "that",
               t->language == TARGET_PYTHON ? "py" : "js");
    return failed(s, RUN_BAD_FILE, EXIT_BAD_FILE, &e);
}

static int check_handler(struct serve *s)
{
    struct error e = ERROR_INIT;
    const char *text = s->run.entry.description;
    CLEANUP(json_freep) json_t *d = text != NULL ? json_loads(text, 0, NULL) : NULL;
    const json_t *exports = json_object_get(d, "exports");
    size_t k;
    json_t *item;
    json_array_foreach(exports, k, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && strncmp(name, HANDLER, strlen(HANDLER)) == 0)
            return 0;
    }
    error_set(&e, -EINVAL, "it does not export wasi:http/incoming-handler of WASI 0.2");
    error_hint(&e, "ambit inspect says what it exports; a command is run with ambit run");
    return failed(s, RUN_BAD_FILE, EXIT_BAD_FILE, &e);
}

/* How many cores there are for us, and which. */
static uint32_t cores(cpu_set_t *ret)
{
    CPU_ZERO(ret);
    if (sched_getaffinity(0, sizeof *ret, ret) < 0)
        return 1;
    int count = MAX(CPU_COUNT(ret), 1);
    return (uint32_t)MIN(count, INGRESS_PAIRS_MAX);
}

/* A pair for each core: each on its own. Its two rooms hand a request over without waking another core,
 * which takes longer than to answer it. With any other number of pairs the kernel places them. */
static void place_pairs(struct serve *s, const cpu_set_t *set)
{
    uint32_t i = 0;
    for (int core = 0; core < CPU_SETSIZE && i < s->pair_count; core++)
        if (CPU_ISSET(core, set))
            s->pairs[i++].core = core;
}

static int make_pairs(struct serve *s)
{
    struct error e = ERROR_INIT;
    cpu_set_t set;
    uint32_t core_count = cores(&set);
    s->pair_count = s->request->pairs != 0 ? s->request->pairs : core_count;
    s->pairs = mem_array(s->pair_count, sizeof *s->pairs);
    if (s->pairs == NULL || fronts_new(&s->fronts, s->pair_count, &e) < 0) {
        s->pair_count = 0;
        error_set(&e, -ENOMEM, "no memory for the pairs of rooms");
        return fault(s, &e);
    }
    for (uint32_t i = 0; i < s->pair_count; i++) {
        struct serve_pair *p = &s->pairs[i];
        *p = (struct serve_pair){ .s = s, .index = i, .core = -1, .link = { -1, -1, -1 } };
        front_init(&s->fronts, i, &p->ingress, p);
    }
    if (s->pair_count == core_count && core_count > 1)
        place_pairs(s, &set);
    return 0;
}

static int open_all(struct serve *s)
{
    struct error e = ERROR_INIT;
    if (serve_read_tls(s, &e) < 0 || fronts_listen(&s->fronts, &e) < 0)
        return failed(s, RUN_BAD_GRANT, EXIT_BAD_GRANT, &e);
    return fronts_make_page(&s->fronts, &e) < 0 ? fault(s, &e) : 0;
}

/* ---- the rooms ---- */

/* Ambit's own listeners are told to egress: a guest that may dial this machine dials none of them. */
static int start_egress(struct serve *s, struct error *e)
{
    struct egress_listener own[FRONT_LISTENERS_MAX];
    const struct run_egress_links links = { .context = s,
                                            .relinked = serve_relink_egress,
                                            .listeners = own,
                                            .listener_count = fronts_listeners(&s->fronts, own) };
    return run_egress_start(&s->run, &links, e);
}

static int start_rooms(struct serve *s)
{
    struct error e = ERROR_INIT;
    const struct run_keeper_links links = { 0 };
    if (run_step_keeper(&s->run, &links) != 0)
        return 1;
    int status = run_step_stdio(&s->run, &e);
    if (status == 0)
        status = start_egress(s, &e);
    for (uint32_t i = 0; status == 0 && i < s->pair_count; i++)
        status = serve_start_pair(&s->pairs[i], &e);
    if (status == -E2BIG)
        return failed(s, RUN_BAD_GRANT, EXIT_BAD_GRANT, &e);
    return status < 0 ? fault(s, &e) : 0;
}

static void tell_listening(struct serve *s)
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(1024), metrics = BUF_INIT(1024);
    buf_printf(&url, "%s://%s", s->key != NULL ? "https" : "http", s->fronts.authority);
    fronts_metrics_url(&s->fronts, &metrics);
    s->listened = true;
    if (s->observer->listening != NULL)
        s->observer->listening(s->observer->run.context, buf_cstr(&url), buf_cstr(&metrics),
                               s->pair_count);
}

/* The log that cannot be written is no reason to serve nobody. */
static void unless_written(struct serve *s, int status)
{
    if (status < 0)
        serve_notice(s, "the access log cannot be written: it ends here");
}

/* ---- phases ---- */

static void begin_drain(struct serve *s)
{
    s->phase = SERVE_DRAINING;
    s->until_ns = clock_monotonic_ns() + s->request->front.drain_ns + DRAIN_GRACE_NS;
    fronts_drain(&s->fronts);
}

static void begin_stop(struct serve *s)
{
    s->phase = SERVE_STOPPING;
    s->until_ns = clock_monotonic_ns() + STOP_LIMIT_NS;
    for (uint32_t i = 0; i < s->pair_count; i++)
        serve_stop_worker(&s->pairs[i]);
}

static void on_signal(struct serve *s)
{
    struct signalfd_siginfo info;
    if (read(s->run.signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    s->run.signal = (int)info.ssi_signo;
    s->run.signals++;
    if (s->phase == SERVE_RUNNING && s->run.signals == 1)
        begin_drain(s);
    else
        s->phase = SERVE_OVER;
}

static bool all_ready(const struct serve *s)
{
    for (uint32_t i = 0; i < s->pair_count; i++)
        if (!s->pairs[i].worker.ready)
            return false;
    return fronts_ready(&s->fronts);
}

static bool all_stopped(const struct serve *s)
{
    for (uint32_t i = 0; i < s->pair_count; i++) {
        const struct front_room *r = &s->pairs[i].worker;
        if (r->live && !r->done && !r->over)
            return false;
    }
    return true;
}

static int next_phase(struct serve *s, struct error *e)
{
    uint64_t now = clock_monotonic_ns();
    bool late = now >= s->until_ns;
    switch (s->phase) {
    case SERVE_STARTING:
        if (s->run.fault != 0) {
            s->phase = SERVE_OVER;
        } else if (all_ready(s)) {
            s->phase = SERVE_RUNNING;
            if (s->run.egress != NULL && s->run.request->grants->expires_ns != GRANT_UNSET &&
                (egress_expires(s->run.egress, s->run.request->grants->expires_ns, e) < 0 ||
                 run_keeper_expires(&s->run, s->run.request->grants->expires_ns, e) < 0))
                return -EIO;
            tell_listening(s);
        } else if (late) {
            return error_set(e, -ETIMEDOUT, "the rooms did not start within a minute");
        }
        break;
    case SERVE_DRAINING:
        if (fronts_drained(&s->fronts) || late)
            begin_stop(s);
        break;
    case SERVE_STOPPING:
        if (all_stopped(s) || late)
            s->phase = SERVE_OVER;
        break;
    case SERVE_RUNNING:
    case SERVE_OVER:
        break;
    }
    return 0;
}

/* ---- the loop ---- */

#define POLL_FIXED (3 + STDIO_POLL_FDS)
#define POLL_MAX (POLL_FIXED + 3 * INGRESS_PAIRS_MAX)

static int timeout_ms(struct serve *s, bool soon)
{
    int ms = s->phase == SERVE_RUNNING ? -1 : clock_until_ms(s->until_ns);
    if (soon)
        ms = clock_sooner_ms(ms, 200);
    for (uint32_t i = 0; i < s->pair_count; i++) {
        ms = clock_sooner_ms(ms, clock_until_ms(s->pairs[i].worker.restart.back_ns));
        ms = clock_sooner_ms(ms, clock_until_ms(s->pairs[i].ingress.room.restart.back_ns));
    }
    ms = clock_sooner_ms(ms, run_keeper_timeout_ms(&s->run));
    return s->run.egress != NULL ? clock_sooner_ms(ms, egress_timeout_ms(s->run.egress)) : ms;
}

static struct pollfd watch(int fd)
{
    return (struct pollfd){ .fd = fd, .events = POLLIN };
}

static int turn(struct serve *s, struct error *e)
{
    struct pollfd fds[POLL_MAX];
    bool soon = stdio_poll(&s->run.stdio, fds + 3);
    fds[0] = watch(s->run.signal_fd);
    fds[1] = watch(s->run.egress != NULL ? egress_fd(s->run.egress) : -1);
    fds[2] = watch(run_keeper_fd(&s->run));
    for (uint32_t i = 0; i < s->pair_count; i++) {
        struct serve_pair *p = &s->pairs[i];
        struct pollfd *own = &fds[POLL_FIXED + 3 * i];
        own[0] = watch(p->worker.live ? channel_fd(p->worker.room.channel) : -1);
        front_watch(&p->ingress, own + 1);
    }
    if (poll(fds, POLL_FIXED + 3 * s->pair_count, timeout_ms(s, soon)) < 0)
        return errno == EINTR ? 0 : error_set_errno(e, errno, "waiting for the rooms");
    int status = stdio_events(&s->run.stdio, fds + 3, e);
    if (fds[0].revents != 0)
        on_signal(s);
    if (status == 0)
        status = run_keeper_turn(&s->run, e);
    if (status == 0 && s->run.egress != NULL)
        status = egress_turn(s->run.egress, e);
    for (uint32_t i = 0; status == 0 && i < s->pair_count; i++) {
        const struct pollfd *own = &fds[POLL_FIXED + 3 * i];
        if (own[2].revents != 0)
            unless_written(s, front_take_log(&s->pairs[i].ingress));
        status = serve_pair_turn(&s->pairs[i], own[0].revents != 0, own[1].revents != 0, e);
    }
    return status == 0 ? next_phase(s, e) : status;
}

static bool stopped_twice(void *context)
{
    struct serve *s = context;
    struct signalfd_siginfo info;
    while (read(s->run.signal_fd, &info, sizeof(info)) == sizeof(info))
        s->run.signals++;
    return s->run.signals > 1;
}

/* Ends the rooms, then takes what they have left in pipes. */
static int end_rooms(struct serve *s, struct error *e)
{
    for (uint32_t i = 0; i < s->pair_count; i++) {
        struct serve_pair *p = &s->pairs[i];
        if (p->worker.live)
            room_end(&p->worker.room);
        p->worker.live = false;
    }
    unless_written(s, fronts_end(&s->fronts));
    int status = run_egress_end(&s->run, e);
    stdio_handed_over(&s->run.stdio);
    int drained = stdio_drain(&s->run.stdio, stopped_twice, s, e);
    return status < 0 ? status : drained < 0 ? drained : 0;
}

static int loop(struct serve *s)
{
    struct error e = ERROR_INIT, end = ERROR_INIT;
    uint64_t began_ns = clock_monotonic_ns();
    int status = 0;
    s->phase = SERVE_STARTING;
    s->until_ns = began_ns + START_LIMIT_NS;
    while (status == 0 && s->phase != SERVE_OVER)
        status = turn(s, &e);
    s->run.report->wall_ns = clock_monotonic_ns() - began_ns;
    if (end_rooms(s, &end) < 0 && status == 0) {
        status = -EIO;
        e = end;
    }
    return status < 0 ? fault(s, &e) : 0;
}

/* ---- the end ---- */

static int end_by_fault(struct serve *s)
{
    struct run *r = &s->run;
    if (r->fault == RUN_FAULT_IMPORTS) {
        if (r->fault_text.hint[0] == '\0')
            error_hint(&r->fault_text, "ambit inspect %s lists what it imports", r->request->file);
        return failed(s, RUN_DENIED, EXIT_DENIED, &r->fault_text);
    }
    return fault(s, &r->fault_text);
}

static int serve_once(struct serve *s)
{
    struct run *r = &s->run;
    struct error e = ERROR_INIT;
    if (run_step_code(r) != 0 || check_handler(s) != 0 || start_rooms(s) != 0 || loop(s) != 0)
        return 1;
    if (r->fault == RUN_FAULT_STALE_CODE) {
        if (run_forget_code(r) != 0)
            return 1;
        error_set(&e, -ESTALE, "the cached machine code was made by another version or CPU");
        error_hint(&e, "it is thrown away now: the same command again compiles anew");
        return fault(s, &e);
    }
    if (r->fault != 0)
        return end_by_fault(s);
    if (r->signals > 1 || !s->listened) {
        error_set(&e, -EINTR, "ended by signal %d", r->signal);
        return failed(s, RUN_INTERRUPTED, EXIT_SIGNAL + r->signal, &e);
    }
    run_end(r, RUN_EXITED, 0, NULL);
    return 0;
}

static struct serve_totals totals_of(struct serve *s)
{
    return (struct serve_totals){
        .front = fronts_totals(&s->fronts),
        .worker_restarts = fronts_counted(&s->fronts, INGRESS_COUNT_worker_restarts_total),
        .egress_restarts = s->run.egress != NULL ? egress_deaths(s->run.egress) : 0,
    };
}

static int record_totals(struct serve *s, const struct serve_totals *t, struct error *e)
{
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("ingress"));
    json_object_set_new(event, "listened_on",
                        json_string(s->fronts.authority != NULL ? s->fronts.authority : ""));
    json_object_set_new(event, "pairs", json_integer(s->pair_count));
    front_totals_put(event, &t->front);
    json_object_set_new(event, "ingress_restarts", json_count(t->front.restarts));
    json_object_set_new(event, "worker_restarts", json_count(t->worker_restarts));
    json_object_set_new(event, "egress_restarts", json_count(t->egress_restarts));
    return receipt_put_closing(s->run.receipt, "served", event, e);
}

static void serve_done(struct serve *s)
{
    for (uint32_t i = 0; i < s->pair_count; i++)
        serve_pair_done(&s->pairs[i]);
    fronts_done(&s->fronts);
    mem_free(s->pairs);
    mem_free(s->certificate);
    if (s->key != NULL)
        mem_wipe(s->key, strlen(s->key));
    mem_free(s->key);
    run_parts_done(&s->run);
}

void serve_execute(const struct serve_request *request, const struct serve_observer *observer,
                   struct run_report *ret, struct serve_totals *ret_totals)
{
    CLEANUP(serve_done)
    struct serve s = { .request = request,
                       .observer = observer,
                       .fronts = FRONTS_INIT(&request->front, &request->run, ret) };
    struct error e = ERROR_INIT;
    sigset_t before;

    run_parts_init(&s.run, &request->run, &observer->run, ret);
    (void)sigprocmask(SIG_SETMASK, NULL, &before);
    if (make_pairs(&s) == 0 && run_step_place(&s.run) == 0 && run_step_target(&s.run) == 0 &&
        check_kind(&s) == 0 && run_step_grants(&s.run) == 0 && open_all(&s) == 0 &&
        run_step_receipt(&s.run) == 0 && run_catch_signals(&s.run) == 0)
        (void)serve_once(&s);
    *ret_totals = totals_of(&s);
    if (ret->exit_code < 0) {
        error_set(&e, -EIO, "serving came to no end");
        fault(&s, &e);
    }
    if (s.run.receipt != NULL) {
        if (record_totals(&s, ret_totals, &e) < 0 && ret->outcome == RUN_EXITED) {
            ret->exit_code = -1;
            fault(&s, &e);
        }
        run_close_receipt(&s.run);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}
