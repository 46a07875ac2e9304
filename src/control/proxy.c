/* SPDX-License-Identifier: Apache-2.0 */
/* See proxy.h. The loop is one poll over everything that speaks; nothing in it waits for one room. */
#include "control/proxy.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/proxy_parts.h"

#define START_LIMIT_NS (60 * NS_PER_S)
#define DRAIN_GRACE_NS (2 * NS_PER_S) /* for a front to say that it has drained */
/* Denials that are told at once, and how often more may be. All are counted. */
#define TOLD_AT_ONCE 20
#define TOLD_EACH_NS (NS_PER_S / 5)

static int failed(struct proxy *p, enum run_outcome outcome, int exit_code, const struct error *e)
{
    run_end(&p->run, outcome, exit_code, e);
    return 1;
}

static int fault(struct proxy *p, const struct error *e)
{
    return failed(p, RUN_FAILED, EXIT_FAILED, e);
}

static int bad_grant(struct proxy *p, const struct error *e)
{
    return failed(p, RUN_BAD_GRANT, EXIT_BAD_GRANT, e);
}

/* ---- before the rooms ---- */

static int compile_grants(struct proxy *p)
{
    struct error e = ERROR_INIT;
    const struct grant_set *s = p->run.request->grants;
    size_t others = 0;
    if (grant_rules_new(s, p->run.work_host, &p->run.rules, &e) < 0)
        return bad_grant(p, &e);
    for (size_t i = 0; i < s->count; i++)
        others += s->grants[i].class != GRANT_HTTP;
    if (others > 0)
        proxy_notice(
            p,
            "%zu of the grants %s not of http: a proxy has no use for %s, its clients have "
            "the files and variables that they have",
            others, others == 1 ? "is" : "are", others == 1 ? "it" : "them");
    return 0;
}

static int make_fronts(struct proxy *p, struct error *e)
{
    uint32_t count = MAX(p->request->fronts, 1u);
    p->front = mem_array(count, sizeof *p->front);
    if (!p->front)
        return error_set(e, -ENOMEM, "no memory for the fronts");
    int status = fronts_new(&p->fronts, count, e);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        front_init(&p->fronts, i, &p->front[i], p);
    return status;
}

static int open_all(struct proxy *p)
{
    struct error e = ERROR_INIT;
    if (make_fronts(p, &e) < 0)
        return fault(p, &e);
    if (fronts_listen(&p->fronts, &e) < 0 || proxy_files_open(p, &e) < 0)
        return bad_grant(p, &e);
    if (fronts_make_page(&p->fronts, &e) < 0 || proxy_make_names(p, &e) < 0 ||
        proxy_rules_begin(p, &e) < 0)
        return fault(p, &e);
    return 0;
}

/* ---- the rooms ---- */

static int on_denied(void *context, const struct egress_denied *d, struct error *e)
{
    return proxy_denied(context, "egress", d, e);
}

static int start_keeper(struct proxy *p)
{
    const struct run_keeper_links links = {
        .context = p, .certificates = true, .more = EGRESS_MORE_MAX, .back = proxy_keeper_back
    };
    return run_step_keeper(&p->run, &links);
}

static int start_rooms(struct proxy *p)
{
    struct error e = ERROR_INIT;
    struct egress_listener own[FRONT_LISTENERS_MAX];
    const struct run_egress_links links = { .context = p,
                                            .relinked = proxy_relinked,
                                            .listeners = own,
                                            .listener_count = fronts_listeners(&p->fronts, own),
                                            .proxy = true,
                                            .placeholders = p->placeholders,
                                            .denied = on_denied };
    int status = run_egress_start(&p->run, &links, &e);
    for (uint32_t i = 0; status == 0 && i < p->fronts.count; i++)
        status = proxy_front_start(&p->front[i], &e);
    if (status == -E2BIG)
        return bad_grant(p, &e);
    return status < 0 ? fault(p, &e) : 0;
}

static int begin_running(struct proxy *p, struct error *e)
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(1024), metrics = BUF_INIT(1024);
    int status = proxy_files_write(p, e);
    p->phase = PROXY_RUNNING;
    p->running_ns = clock_monotonic_ns();
    if (status == 0 && p->expires_ns != GRANT_UNSET) {
        status = egress_expires(p->run.egress, p->expires_ns, e);
        if (status == 0)
            status = run_keeper_expires(&p->run, p->expires_ns, e);
    }
    if (status < 0)
        return status;
    buf_printf(&url, "http://%s", p->fronts.authority);
    fronts_metrics_url(&p->fronts, &metrics);
    p->listened = true;
    if (p->observer->listening)
        p->observer->listening(p->observer->context, buf_cstr(&url), p->env.path, p->ca.path,
                               buf_cstr(&metrics));
    return 0;
}

/* ---- denials ---- */

/* 1, 10, 100, … of one kind are told. */
static bool is_power_of_ten(uint64_t n)
{
    while (n >= 10 && n % 10 == 0)
        n /= 10;
    return n == 1;
}

static bool calm(struct proxy *p)
{
    uint64_t now = clock_monotonic_ns();
    uint64_t burst = (TOLD_AT_ONCE - 1) * TOLD_EACH_NS;
    if (p->tell_at_ns > now + burst)
        return false;
    p->tell_at_ns = MAX(p->tell_at_ns, now) + TOLD_EACH_NS;
    return true;
}

int proxy_denied(struct proxy *p, const char *observed_by, const struct egress_denied *d,
                 struct error *e)
{
    size_t number = 0;
    CLEANUP(buf_done) struct buf why = BUF_INIT(8192);
    int status = run_keep_denied(&p->run, observed_by, d, &number, e);
    p->totals.denials++;
    if (status < 0 || !p->observer->denied)
        return status;
    if (number == RUN_DENIALS_MAX) {
        p->untold++;
        return 0;
    }
    const struct run_denied *known = &p->run.report->denied[number];
    if (!is_power_of_ten(known->count))
        return 0;
    if (!calm(p)) {
        p->untold++;
        return 0;
    }
    if (d->text.size > 0)
        buf_append(&why, d->text.data, d->text.size);
    else
        buf_puts(&why, grant_reason_text((enum grant_reason)d->reason));
    if (known->count > 1)
        buf_printf(&why, " (%llu times by now)", (unsigned long long)known->count);
    if (p->untold > 0)
        buf_printf(&why, " (%llu denials before it are not told)", (unsigned long long)p->untold);
    p->untold = 0;
    p->observer->denied(p->observer->context, known->denial.operation, known->denial.resource,
                        buf_cstr(&why), known->denial.grant_yaml);
    return 0;
}

/* ---- phases ---- */

static void begin_drain(struct proxy *p)
{
    p->phase = PROXY_DRAINING;
    p->until_ns = clock_monotonic_ns() + p->request->front.drain_ns + DRAIN_GRACE_NS;
    fronts_drain(&p->fronts);
}

static void on_signal(struct proxy *p)
{
    struct signalfd_siginfo info;
    while (read(p->run.signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            p->reload_wanted = true;
            continue;
        }
        p->run.signal = (int)info.ssi_signo;
        p->run.signals++;
        if (p->phase == PROXY_RUNNING && p->run.signals == 1)
            begin_drain(p);
        else
            p->phase = PROXY_OVER;
    }
}

static void tell_expiry(struct proxy *p)
{
    if (p->expired || p->expires_ns == GRANT_UNSET ||
        clock_monotonic_ns() - p->running_ns < p->expires_ns)
        return;
    p->expired = true;
    proxy_notice(p, "the grants have ended (expires): everything is denied from now on");
}

static int next_phase(struct proxy *p, struct error *e)
{
    bool late = clock_monotonic_ns() >= p->until_ns;
    switch (p->phase) {
    case PROXY_STARTING:
        if (fronts_ready(&p->fronts))
            return begin_running(p, e);
        if (late)
            return error_set(e, -ETIMEDOUT, "the rooms did not start within a minute");
        break;
    case PROXY_RUNNING:
        tell_expiry(p);
        if (!p->reload_wanted)
            break;
        p->reload_wanted = false;
        return proxy_reload(p, e);
    case PROXY_DRAINING:
        if (fronts_drained(&p->fronts) || late)
            p->phase = PROXY_OVER;
        break;
    case PROXY_OVER:
        break;
    }
    return 0;
}

/* ---- the loop ---- */

#define POLL_FIXED 3
#define POLL_MAX (POLL_FIXED + 2 * PROXY_FRONTS_MAX)

static int timeout_ms(const struct proxy *p)
{
    int ms = p->phase == PROXY_RUNNING ? -1 : clock_until_ms(p->until_ns);
    if (p->phase == PROXY_RUNNING && p->expires_ns != GRANT_UNSET && !p->expired)
        ms = clock_until_ms(p->running_ns + MIN(p->expires_ns, UINT64_MAX / 2));
    for (uint32_t i = 0; i < p->fronts.count; i++)
        ms = clock_sooner_ms(ms, clock_until_ms(p->front[i].room.restart.back_ns));
    ms = clock_sooner_ms(ms, run_keeper_timeout_ms(&p->run));
    return clock_sooner_ms(ms, egress_timeout_ms(p->run.egress));
}

static struct pollfd watch(int fd)
{
    return (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void unless_written(struct proxy *p, int status)
{
    if (status < 0)
        proxy_notice(p, "the access log cannot be written: it ends here");
}

static int turn(struct proxy *p, struct error *e)
{
    struct pollfd fds[POLL_MAX];
    fds[0] = watch(p->run.signal_fd);
    fds[1] = watch(egress_fd(p->run.egress));
    fds[2] = watch(run_keeper_fd(&p->run));
    for (uint32_t i = 0; i < p->fronts.count; i++)
        front_watch(&p->front[i], &fds[POLL_FIXED + 2 * i]);
    if (poll(fds, POLL_FIXED + 2 * p->fronts.count, timeout_ms(p)) < 0)
        return errno == EINTR ? 0 : error_set_errno(e, errno, "waiting for the rooms");
    if (fds[0].revents != 0)
        on_signal(p);
    int status = egress_turn(p->run.egress, e);
    if (status == 0)
        status = run_keeper_turn(&p->run, e);
    for (uint32_t i = 0; status == 0 && i < p->fronts.count; i++) {
        if (fds[POLL_FIXED + 2 * i + 1].revents != 0)
            unless_written(p, front_take_log(&p->front[i]));
        status = proxy_front_turn(&p->front[i], fds[POLL_FIXED + 2 * i].revents != 0, e);
    }
    return status == 0 ? next_phase(p, e) : status;
}

static int loop(struct proxy *p)
{
    struct error e = ERROR_INIT, end = ERROR_INIT;
    uint64_t began_ns = clock_monotonic_ns();
    int status = 0;
    p->phase = PROXY_STARTING;
    p->until_ns = began_ns + START_LIMIT_NS;
    while (status == 0 && p->phase != PROXY_OVER)
        status = turn(p, &e);
    p->run.report->wall_ns = clock_monotonic_ns() - began_ns;
    unless_written(p, fronts_end(&p->fronts));
    if (run_egress_end(&p->run, &end) < 0 && status == 0) {
        status = -EIO;
        e = end;
    }
    return status < 0 ? fault(p, &e) : 0;
}

/* ---- the end ---- */

static void take_totals(struct proxy *p)
{
    struct proxy_totals *t = &p->totals;
    t->front = fronts_totals(&p->fronts);
    t->egress_restarts = p->run.egress ? egress_deaths(p->run.egress) : 0;
    t->keeper_restarts = p->run.keeper ? keeper_deaths(p->run.keeper) : 0;
}

static int record_repeats(struct proxy *p, struct error *e)
{
    const struct run_report *report = p->run.report;
    int status = 0;
    for (size_t i = 0; status == 0 && i < report->denied_count; i++) {
        if (report->denied[i].count <= 1)
            continue;
        json_t *event = json_object();
        json_object_set_new(event, "observed_by", json_string("control"));
        json_object_set_new(event, "number", json_count(i));
        json_object_set_new(event, "count", json_count(report->denied[i].count));
        status = receipt_put_closing(p->run.receipt, "denial.repeated", event, e);
    }
    return status;
}

static int record_totals(struct proxy *p, struct error *e)
{
    const struct proxy_totals *t = &p->totals;
    int status = record_repeats(p, e);
    if (status < 0)
        return status;
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("ingress"));
    json_object_set_new(event, "listened_on",
                        json_string(p->fronts.authority ? p->fronts.authority : ""));
    json_object_set_new(event, "fronts", json_count(p->fronts.count));
    front_totals_put(event, &t->front);
    json_object_set_new(event, "denials", json_count(t->denials));
    json_object_set_new(event, "reloads", json_count(t->reloads));
    json_object_set_new(event, "front_restarts", json_count(t->front.restarts));
    json_object_set_new(event, "egress_restarts", json_count(t->egress_restarts));
    json_object_set_new(event, "keeper_restarts", json_count(t->keeper_restarts));
    return receipt_put_closing(p->run.receipt, "proxied", event, e);
}

static void close_records(struct proxy *p)
{
    struct error e = ERROR_INIT;
    if (p->run.report->exit_code < 0) {
        error_set(&e, -EIO, "the proxy came to no end");
        fault(p, &e);
    }
    if (!p->run.receipt)
        return;
    if (record_totals(p, &e) < 0 && p->run.report->outcome == RUN_EXITED) {
        p->run.report->exit_code = -1;
        fault(p, &e);
    }
    run_close_receipt(&p->run);
}

static void serve(struct proxy *p)
{
    struct error e = ERROR_INIT;
    if (start_keeper(p) != 0 || start_rooms(p) != 0 || loop(p) != 0)
        return;
    if (p->run.signals > 1 || !p->listened) {
        error_set(&e, -EINTR, "ended by signal %d", p->run.signal);
        failed(p, RUN_INTERRUPTED, EXIT_SIGNAL + p->run.signal, &e);
        return;
    }
    run_end(&p->run, RUN_EXITED, 0, NULL);
}

static void proxy_done(struct proxy *p)
{
    fronts_done(&p->fronts);
    mem_free(p->front);
    proxy_files_done(p);
    proxy_names_done(p);
    proxy_rules_done(p);
    run_keeper_done(&p->run);
    run_parts_done(&p->run);
}

void proxy_serve(const struct proxy_request *request, const struct proxy_observer *observer,
                 struct run_report *ret, struct proxy_totals *ret_totals)
{
    static const struct run_observer silent;
    CLEANUP(proxy_done)
    struct proxy p = { .request = request,
                       .observer = observer,
                       .fronts = FRONTS_INIT(&request->front, &request->run, ret),
                       .env = { .dir_fd = -1 },
                       .ca = { .dir_fd = -1 } };
    sigset_t before;
    run_parts_init(&p.run, &request->run, &silent, ret);
    (void)sigprocmask(SIG_SETMASK, NULL, &before);
    if (run_step_place(&p.run) == 0 && compile_grants(&p) == 0 && open_all(&p) == 0 &&
        run_step_receipt(&p.run) == 0 && run_catch_signals(&p.run) == 0)
        serve(&p);
    take_totals(&p);
    close_records(&p);
    *ret_totals = p.totals;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}
