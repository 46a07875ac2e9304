/* SPDX-License-Identifier: Apache-2.0 */
/* See run.h. Each step below fails into one outcome; what was started is undone in run_parts_done(), in
 * reverse. */
#include "control/run.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/run_parts.h"
#include "control/state.h"

const char *run_outcome_name(enum run_outcome o)
{
    static const char *const names[RUN_OUTCOME_COUNT] = {
        [RUN_EXITED] = "exited",       [RUN_TRAPPED] = "trapped",
        [RUN_DENIED] = "denied",       [RUN_TIME_LIMIT] = "time-limit",
        [RUN_OTHER_LIMIT] = "limit",   [RUN_INTERRUPTED] = "interrupted",
        [RUN_FAILED] = "failed",       [RUN_BAD_FILE] = "bad-file",
        [RUN_BAD_GRANT] = "bad-grant",
    };
    ASSERT(o < RUN_OUTCOME_COUNT);
    return names[o];
}

void run_report_done(struct run_report *r)
{
    for (size_t i = 0; i < r->denied_count; i++)
        run_denial_done(&r->denied[i].denial);
    mem_free(r->denied);
    for (size_t i = 0; i < r->secret_count; i++) {
        mem_free(r->secrets[i].name);
        mem_free(r->secrets[i].why);
    }
    mem_free(r->secrets);
    run_done_done(&r->done);
    *r = (struct run_report){ 0 };
}

void run_end(struct run *r, enum run_outcome outcome, int exit_code, const struct error *e)
{
    if (r->report->exit_code >= 0)
        return;
    r->report->outcome = outcome;
    r->report->exit_code = exit_code;
    if (e == NULL)
        return;
    r->report->error = *e;
    /* A room that died by itself, not for want of what this machine has not. */
    r->report->retryable = outcome == RUN_FAILED && e->code == -ECHILD;
}

void run_parts_init(struct run *r, const struct run_request *request,
                    const struct run_observer *observer, struct run_report *report)
{
    *report = (struct run_report){ .exit_code = -1 };
    *r = (struct run){
        .request = request,
        .observer = observer,
        .report = report,
        .target = { .fd = -1, .scratch_fd = -1 },
        .state_fd = -1,
        .runs_fd = -1,
        .signal_fd = -1,
        .entry = { .code_fd = -1 },
    };
    for (int i = 0; i < STDIO_COUNT; i++) {
        r->stdio.guest[i] = -1;
        r->stdio.pumps[i].source = r->stdio.pumps[i].sink = -1;
    }
}

void run_parts_done(struct run *r)
{
    egress_free(r->egress);
    run_keeper_done(r);
    if (r->room_live)
        room_end(&r->room);
    stdio_done(&r->stdio);
    cache_entry_done(&r->entry);
    cache_free(r->cache);
    receipt_free(r->receipt);
    for (size_t i = 0; i < r->mount_count; i++)
        fd_close(r->mount_fds[i]);
    mem_free(r->mount_fds);
    grant_rules_free(r->rules);
    target_done(&r->target);
    fd_close(r->signal_fd);
    fd_close(r->runs_fd);
    fd_close(r->state_fd);
    mem_free(r->work_host);
}

/* Each step: 0, or the run has its end and the answer is 1. */

static int failed(struct run *r, const struct error *e)
{
    run_end(r, RUN_FAILED, EXIT_FAILED, e);
    return 1;
}

static int step_spawn(struct run *r)
{
    struct error e = ERROR_INIT;
    if (room_spawn(ROOM_WORKER, r->request->allow_missing, &r->room, &e) < 0) {
        if (e.hint[0] == '\0')
            error_hint(&e, "ambit doctor says what this machine offers and what to do");
        return failed(r, &e);
    }
    r->room_live = true;
    r->report->missing |= r->room.missing;
    return 0;
}

int run_step_place(struct run *r)
{
    struct error e = ERROR_INIT;
    char path[4096];

    if (getcwd(path, sizeof(path)) == NULL || path[0] != '/') {
        error_set_errno(&e, errno != 0 ? errno : ENOENT, "the working directory has no name");
        error_hint(&e, "cd to a folder that exists");
        return failed(r, &e);
    }
    r->work_host = mem_strdup(path);
    if (r->work_host == NULL)
        error_set(&e, -ENOMEM, "no memory");
    if (r->work_host == NULL || state_open("", &r->state_fd, &e) < 0 ||
        state_open("runs", &r->runs_fd, &e) < 0)
        return failed(r, &e);
    return 0;
}

int run_step_target(struct run *r)
{
    struct error e = ERROR_INIT;
    CLEANUP(mem_freep) char *state = NULL;
    if (state_path(&state, &e) < 0)
        return failed(r, &e);
    CLEANUP(mem_freep) char *scratch_root = mem_printf("%s/tmp", state);
    if (scratch_root == NULL) {
        error_set(&e, -ENOMEM, "no memory");
        return failed(r, &e);
    }
    struct target_spec spec = { .file = r->request->file,
                                .work_host = r->work_host,
                                .scratch_root = scratch_root,
                                .components = r->request->components,
                                .grants = r->request->grants };
    if (target_open(&spec, &r->target, &e) != 0) {
        run_end(r, RUN_BAD_FILE, EXIT_BAD_FILE, &e);
        return 1;
    }
    r->report->component_name = target_languages[r->target.language].name;
    return 0;
}

/* A flag that nothing would look at is a mistake of the person's, and is told. */
static int egress_flags_needed(const struct run *r, struct error *e)
{
    const char *flag = r->request->ca_file ? "--ca" : r->request->resolver ? "--resolver" : NULL;
    if (!flag || r->request->ask || grant_rules_have(r->rules, GRANT_HTTP))
        return 0;
    error_hint(e, "add --net 'GET https://…' or a grant of http, or leave %s out", flag);
    return error_set(e, -EINVAL, "%s is given, and no grant of http that would use it", flag);
}

int run_step_grants(struct run *r)
{
    struct error e = ERROR_INIT;
    int status = run_imply_grants(r, &e);

    if (status == 0)
        status = grant_rules_new(r->request->grants, r->work_host, &r->rules, &e);
    if (status == 0)
        status = egress_flags_needed(r, &e);
    if (status == 0) {
        r->mount_count = grant_rules_mount_count(r->rules);
        r->mount_fds = mem_array(r->mount_count + 1, sizeof(int));
        if (r->mount_fds == NULL) {
            r->mount_count = 0;
            error_set(&e, -ENOMEM, "no memory");
            return failed(r, &e);
        }
        status = mounts_open(r->rules, r->state_fd, r->target.scratch, r->mount_fds, &e);
        if (status < 0)
            r->mount_count = 0; /* it left nothing open */
    }
    if (status != 0) {
        run_end(r, RUN_BAD_GRANT, EXIT_BAD_GRANT, &e);
        return 1;
    }
    return 0;
}

int run_step_receipt(struct run *r)
{
    struct error e = ERROR_INIT;
    char id[ID_TEXT_SIZE];

    int status = id_new(id);
    if (status < 0)
        error_set_errno(&e, -status, "no random bytes for the run's id");
    else
        status = receipt_open(r->runs_fd, id, r->request->receipt_copy, &r->receipt, &e);
    if (status == 0) {
        memcpy(r->report->id, id, sizeof(id));
        status = run_record_start(r, &e);
    }
    if (status < 0) {
        error_hint(&e, "a run without a receipt does not start: make room for it, or move the "
                       "state with AMBIT_STATE_DIR");
        return failed(r, &e);
    }
    return 0;
}

int run_step_code(struct run *r)
{
    struct error e = ERROR_INIT;
    uint64_t began = clock_monotonic_ns();

    if (r->cache == NULL && cache_open(r->request->allow_missing, &r->cache, &e) < 0)
        return failed(r, &e);
    int status = cache_get(r->cache, r->target.fd, false, r->observer->progress,
                           r->observer->context, &r->entry, &e);
    if (status > 0) {
        run_end(r, RUN_BAD_FILE, EXIT_BAD_FILE, &e);
        return 1;
    }
    if (status == 0) {
        r->report->cache_hit = r->entry.hit;
        r->report->component = r->entry.component;
        r->report->missing |= r->entry.missing;
        status = run_record_cache(r, clock_monotonic_ns() - began, &e);
    }
    return status < 0 ? failed(r, &e) : 0;
}

static bool granted_stream(const struct run *r, enum stdio_stream s)
{
    return grant_decide_stdio(r->rules, s).reason == GRANT_ALLOWED;
}

int run_step_stdio(struct run *r, struct error *e)
{
    uint32_t streams = 0;

    for (uint32_t s = STDIO_IN; s <= STDIO_ERR; s <<= 1)
        streams |= granted_stream(r, (enum stdio_stream)s) ? s : 0;
    return stdio_prepare(&r->stdio, streams, r->target.took_stdin, e);
}

static int relinked(void *context, uint32_t owner, const int fds[static LINK_FDS], struct error *e)
{
    struct run *r = context;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);

    buf_u32(&payload, RUN_LINK_EGRESS);
    if (!r->room_live || r->gate.phase == PHASE_OVER)
        return 0;
    int status =
        channel_send(r->room.channel, RUN_LINK, payload.data, payload.size, fds, LINK_FDS, e);
    return channel_unless_gone(status, e); /* the worker, too: the loop sees it */
}

/* A secret that is not there, another key, a damaged vault: the grants cannot be given, and the guest does not
 * start. What is wrong with this machine is something else. */
int run_step_keeper(struct run *r, const struct run_keeper_links *links)
{
    struct error e = ERROR_INIT;

    if (run_keeper_start(r, links, &e) == 0)
        return 0;
    if (keeper_failed(&e))
        return failed(r, &e);
    run_end(r, RUN_BAD_GRANT, EXIT_BAD_GRANT, &e);
    return 1;
}

static int step_keeper(struct run *r)
{
    const struct run_keeper_links links = { .more = r->request->ask ? KEEPER_MORE_MAX : 0 };
    return run_step_keeper(r, &links);
}

static int step_egress(struct run *r)
{
    struct error e = ERROR_INIT;
    const struct run_egress_links links = { .context = r, .relinked = relinked };

    return run_egress_start(r, &links, &e) < 0 ? failed(r, &e) : 0;
}

static int step_start(struct run *r)
{
    struct error e = ERROR_INIT;

    if (run_step_stdio(r, &e) < 0 || run_loop_start(r, &e) < 0) {
        if (e.code == -E2BIG) {
            run_end(r, RUN_BAD_GRANT, EXIT_BAD_GRANT, &e);
            return 1;
        }
        /* A worker that is gone already has said why on its side of the channel, or in its exit
         * status. */
        if (e.code != -EPIPE && e.code != -ECONNRESET)
            return failed(r, &e);
    }
    return 0;
}

static int step_loop(struct run *r)
{
    struct error e = ERROR_INIT;
    if (run_loop(r, &e) < 0)
        return failed(r, &e);
    return 0;
}

/* The code was made for another CPU or version than its key says (a copied state folder): throw it
 * away. */
int run_forget_code(struct run *r)
{
    struct error e = ERROR_INIT;
    struct cache_list list = { 0 };
    int status = cache_list(r->cache, false, NULL, NULL, &list, &e);

    for (size_t i = 0; status == 0 && i < list.count; i++)
        if (digest_equal(&list.items[i].component, &r->entry.component))
            status = cache_evict(r->cache, list.items[i].key, &e);
    cache_list_done(&list);
    cache_entry_done(&r->entry);
    r->entry = (struct cache_entry){ .code_fd = -1 };
    stdio_done(&r->stdio);
    r->fault = 0;
    r->ready_ns = 0;
    return status < 0 ? failed(r, &e) : 0;
}

int run_catch_signals(struct run *r)
{
    struct error e = ERROR_INIT;
    sigset_t caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigaddset(&caught, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &caught, NULL) == 0)
        r->signal_fd = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r->signal_fd >= 0)
        return 0;
    error_set_errno(&e, errno, "signals cannot be watched");
    return failed(r, &e);
}

static int run_guest(struct run *r)
{
    if (run_step_code(r) != 0 || run_catch_signals(r) != 0 || step_start(r) != 0 ||
        step_loop(r) != 0)
        return 1;
    if (r->fault != RUN_FAULT_STALE_CODE)
        return 0;
    if (run_forget_code(r) != 0 || step_spawn(r) != 0 || run_step_code(r) != 0 ||
        step_start(r) != 0 || step_loop(r) != 0)
        return 1;
    run_end(r, RUN_FAILED, EXIT_FAILED, &r->fault_text); /* stale again: no end yet */
    return 1;
}

void run_close_receipt(struct run *r)
{
    struct error e = ERROR_INIT;
    int status = run_record_end(r, &e);

    /* Folder housekeeping once in 32 runs, by the last character of the id. */
    if (status == 0 && strchr("0", r->report->id[ID_TEXT_SIZE - 2]) != NULL)
        status = receipts_trim(r->runs_fd, RECEIPTS_KEPT_BYTES, r->report->id, &e);
    if (status < 0 && r->report->outcome != RUN_FAILED) {
        r->report->exit_code = -1;
        run_end(r, RUN_FAILED, EXIT_FAILED, &e);
    }
}

void run_execute(const struct run_request *request, const struct run_observer *observer,
                 struct run_report *ret)
{
    CLEANUP(run_parts_done) struct run r;
    struct error e = ERROR_INIT;
    sigset_t before;

    run_parts_init(&r, request, observer, ret);
    (void)sigprocmask(SIG_SETMASK, NULL, &before);
    if (step_spawn(&r) == 0 && run_step_place(&r) == 0 && run_step_target(&r) == 0 &&
        run_step_grants(&r) == 0 && run_step_receipt(&r) == 0 && step_keeper(&r) == 0 &&
        step_egress(&r) == 0)
        (void)run_guest(&r);
    if (run_egress_end(&r, &e) < 0) {
        /* A guest that ended by itself does not make it a success: its requests are not all told. */
        if (ret->outcome == RUN_EXITED)
            ret->exit_code = -1;
        failed(&r, &e);
    }
    /* Every path above sets an end: else this is a bug of ours, and no success. */
    if (ret->exit_code < 0) {
        error_set(&e, -EIO, "the run came to no end");
        failed(&r, &e);
    }
    if (r.receipt != NULL)
        run_close_receipt(&r);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}
