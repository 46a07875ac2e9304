/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's life: made, turned by the loop, concluded, freed. See guest.h. */
#include "worker/guest.h"

#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/host/host.h"
#include "worker/keyvalue.h"

#define HOSTCALL_BYTES_MAX (128u << 20) /* copied by one host call */
#define VALUES_MAX (512u << 10) /* results of an invoked function, which travel in one frame */
#define MESSAGE_MAX 8192
#define TURNS_AFTER_END_MAX \
    64 /* each at most a slice; an engine that wants more is not asked again */

static void wall_is_up(struct timer *t, struct loop *l)
{
    struct guest *g = (struct guest *)((char *)t - offsetof(struct guest, wall_timer));
    guest_end(g, RUN_END_LIMIT, RUN_LIMIT_WALL, "more than %llu ms",
              (unsigned long long)(g->limits.wall_ns / NS_PER_MS));
    g->draining = false;
    loop_enqueue(l, g);
}

static void grants_expire(struct timer *t, struct loop *l)
{
    guest_revoke((struct guest *)((char *)t - offsetof(struct guest, expiry_timer)), GRANT_EXPIRED);
}

/* ---- making ---- */

static int make_vfs(struct guest *g, int *mount_fds, struct error *e)
{
    struct vfs_audit audit = { .context = g, .denied = fs_audit_denied, .used = fs_audit_used };
    if (g->asking)
        audit.ask = fs_audit_ask;
    int status = vfs_new(g->rules, mount_fds, &audit, host_clock_wall_ns, g, &g->vfs, e);
    if (status == 0)
        vfs_set_identity_key(g->vfs, g->identity_key);
    if (status == 0 && g->gate != GRANT_ALLOWED)
        vfs_revoke(g->vfs, g->gate);
    return status;
}

static void close_fds(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fd_closep(&fds[i]);
}

int guest_make_vfs(struct guest *g)
{
    size_t count = grant_rules_mount_count(g->rules);
    CLEANUP(mem_freep) int *fds = mem_array(MAX(count, (size_t)1), sizeof(*fds));
    int status = fds ? 0 : -ENOMEM;
    if (status < 0)
        return guest_fault(g, status, "making a filesystem");
    for (size_t i = 0; i < count; i++)
        fds[i] = -1;
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (g->template->folders[i] < 0)
            continue;
        fds[i] = fcntl(g->template->folders[i], F_DUPFD_CLOEXEC, 3);
        status = fds[i] < 0 ? -errno : 0;
    }
    if (status < 0)
        close_fds(fds, count);
    else
        status = make_vfs(g, fds, NULL);
    return status < 0 ? guest_fault(g, status, "making a filesystem") : 0;
}

/* Of a template: its guests get copies. */
static int keep_folders(struct guest *g, const int *mount_fds, struct error *e)
{
    size_t count = grant_rules_mount_count(g->rules);
    g->folders = mem_array(MAX(count, (size_t)1), sizeof(*g->folders));
    if (!g->folders)
        return error_set(e, -ENOMEM, "out of memory");
    memcpy(g->folders, mount_fds, count * sizeof(*g->folders));
    return 0;
}

static int fill(struct guest *g, const struct guest_config *config, struct error *e)
{
    g->done.use_count = grant_rules_count(g->rules);
    g->uses = mem_array(MAX(g->done.use_count, (size_t)1), sizeof(*g->uses));
    int status = streams_init(g, config->stdio, e); /* first: it owns descriptors */
    g->denials = mem_zalloc(sizeof(*g->denials));
    g->http.pairs = mem_array(HTTP_FIELDS_MAX, sizeof(*g->http.pairs));
    g->http.fields = mem_array(HTTP_FIELDS_MAX, sizeof(*g->http.fields));
    if (status == 0 && (!g->uses || !g->denials || !g->http.pairs || !g->http.fields))
        status = error_set(e, -ENOMEM, "out of memory");
    if (status == 0)
        status = host_environment_init(g, e);
    if (status == 0)
        status = host_config_init(g, e);
    if (status == 0)
        status = host_random_init(g, e);
    if (status == 0 && host_random_identity_key(g, g->identity_key) < 0)
        status = error_set(e, -EIO, "the system's random generator does not answer");
    if (status == 0 && !g->commons.keyvalue) {
        status = keyvalue_new(g->rules, &g->commons.keyvalue, e);
        g->own_keyvalue = status == 0;
    }
    if (status == 0 && config->start->ask && config->report.ask)
        status = asking_new(config->start, g->rules, &g->asking, e);
    host_clock_init(g);
    host_log_init(g);
    return status;
}

int guest_new(struct loop *l, const struct guest_config *config, struct guest **ret,
              struct error *e)
{
    size_t mounts = grant_rules_mount_count(config->rules);
    CLEANUP(guest_freep) struct guest *g = mem_zalloc(sizeof(*g));
    if (!g) {
        for (size_t i = 0; i < STREAM_COUNT; i++)
            fd_close(config->stdio[i]);
        close_fds(config->mount_fds, mounts);
        return error_set(e, -ENOMEM, "out of memory");
    }
    g->loop = l;
    g->rules = config->rules;
    g->start = config->start;
    g->report = config->report;
    g->commons = config->commons;
    g->serves = config->serves;
    url_init(&g->http.url);
    g->gate = GRANT_ALLOWED;
    g->expires_ns = UINT64_MAX;
    host_network_prepare(g);
    g->wall_timer.fire = wall_is_up;
    g->expiry_timer.fire = grants_expire;
    g->limits = *grant_rules_limits(config->rules);
    handles_init(&g->handles, guest_skips(g, HANDLES)
                                  ? UINT32_MAX
                                  : (size_t)MIN(g->limits.handles, (uint64_t)UINT32_MAX));
    g->scratch = (struct buf)BUF_INIT(64u << 10);
    int status = fill(g, config, e);
    if (status < 0) {
        close_fds(config->mount_fds, mounts);
        return status;
    }
    status = g->serves ? keep_folders(g, config->mount_fds, e) : make_vfs(g, config->mount_fds, e);
    if (status < 0 && g->serves)
        close_fds(config->mount_fds, mounts);
    if (status == 0)
        *ret = TAKE(g);
    return status;
}

/* What every guest has for itself. */
static void free_own(struct guest *g)
{
    ambit_task_free(g->task); /* drops what the guest holds, through calls to this host */
    g->task = NULL;
    operations_forget_all(g->loop, g);
    host_close_all(g);
    vfs_free(g->vfs);
    g->vfs = NULL;
    timer_clear(g->loop, &g->wall_timer);
    timer_clear(g->loop, &g->expiry_timer);
    loop_dequeue(g->loop, g);
    url_done(&g->http.url);
    mem_free(g->message);
    mem_free(g->done.values);
    mem_free(g->done.denial_counts);
    g->message = g->done.values = NULL;
    g->done.denial_counts = NULL;
}

/* What the guests of a template share. */
static void free_shared(struct guest *g)
{
    if (g->folders)
        close_fds(g->folders, grant_rules_mount_count(g->rules));
    mem_free(g->folders);
    lines_done(g);
    streams_done(g);
    host_config_done(g);
    host_environment_done(g);
    host_random_done(g);
    if (g->own_keyvalue)
        keyvalue_free(g->commons.keyvalue);
    if (g->denials)
        denials_done(g->denials);
    mem_free(g->denials);
    asking_free(g->asking);
    mem_free(g->http.pairs);
    mem_free(g->http.fields);
    mem_free(g->uses);
}

void guest_free(struct guest *g)
{
    if (!g)
        return;
    if (g->loop)
        free_own(g);
    if (!g->template && g->loop)
        free_shared(g);
    for (size_t i = 0; i < STREAM_COUNT; i++)
        buf_done(&g->lines[i].line);
    handles_done(&g->handles);
    buf_done(&g->scratch);
    mem_free(g);
}

static void wake(void *context)
{
    struct guest *g = context;
    loop_enqueue(g->loop, g);
}

static uint64_t after(uint64_t now, uint64_t delay)
{
    return delay > UINT64_MAX - now ? UINT64_MAX : now + delay;
}

static struct ambit_task_config task_config(struct guest *g)
{
    return (struct ambit_task_config){
        .memory_bytes = guest_skips(g, MEMORY) ? UINT64_MAX : g->limits.memory_bytes,
        .handles = guest_skips(g, HANDLES) ? UINT32_MAX : (uint32_t)g->handles.max,
        .hostcall_bytes = guest_skips(g, HOSTCALL_BYTES) ? UINT32_MAX : HOSTCALL_BYTES_MAX,
        .waker = wake,
        .waker_context = g,
    };
}

/* Its time runs from here. */
static int start_clocks(struct guest *g)
{
    g->started_ns = clock_monotonic_ns();
    g->clock.start_ns = g->started_ns;
    bool wall = !guest_skips(g, WALL);
    int status = 0;
    if (wall)
        status = timer_set(g->loop, &g->wall_timer, after(g->started_ns, g->limits.wall_ns));
    if (status == 0 && g->expires_ns != UINT64_MAX)
        status = timer_set(g->loop, &g->expiry_timer, g->expires_ns);
    return status;
}

static void is_started(struct guest *g)
{
    g->loop->live++;
    loop_enqueue(g->loop, g);
}

int guest_start(struct guest *g, struct ambit_component *component, uint64_t expires_after_ns,
                struct error *e)
{
    const struct run_start *start = g->start;
    CLEANUP(mem_freep) struct ambit_bytes *args = NULL;
    struct ambit_bytes invoke = { (const uint8_t *)start->invoke,
                                  start->invoke ? strlen(start->invoke) : 0 };
    size_t program = MIN((size_t)start->program_args, start->arg_count);
    size_t arg_count = invoke.size ? start->arg_count - program : 0;
    if (arg_count > 0) {
        args = mem_array(arg_count, sizeof(*args));
        if (!args)
            return error_set(e, -ENOMEM, "out of memory");
        for (size_t i = 0; i < arg_count; i++)
            args[i] = (struct ambit_bytes){ (const uint8_t *)start->args[program + i],
                                            strlen(start->args[program + i]) };
    }
    if (!guest_skips(g, EXPIRY) && expires_after_ns != GRANT_UNSET)
        g->expires_ns = after(clock_monotonic_ns(), expires_after_ns);
    if (start_clocks(g) < 0)
        return error_set(e, -ENOMEM, "out of memory");
    struct ambit_task_config config = task_config(g);
    g->task = ambit_task_new(component, &config, &host_vtbl, g, invoke, args, arg_count);
    if (!g->task)
        return error_set(e, -ENOMEM, "no memory for a task");
    is_started(g);
    return 0;
}

/* ---- answering requests ---- */

void guest_recycle(struct guest *g)
{
    if (!g->loop)
        return; /* it was never one */
    free_own(g);
    lines_finish(g);
    handles_reset(&g->handles);
}

/* Everything as in a new one, but for memory that is used again. */
static void copy_template(struct guest *g, struct guest *t)
{
    struct handles handles = g->handles;
    struct buf scratch = g->scratch, lines[STREAM_COUNT];
    for (size_t i = 0; i < STREAM_COUNT; i++)
        lines[i] = g->lines[i].line;
    memset(g, 0, sizeof(*g));
    g->handles = handles;
    g->handles.max = t->handles.max;
    g->scratch = scratch;
    g->scratch.max = t->scratch.max;
    for (size_t i = 0; i < STREAM_COUNT; i++)
        g->lines[i].line = lines[i];
    g->template = t;
    g->loop = t->loop;
    g->rules = t->rules;
    g->start = t->start;
    g->report = t->report;
    g->limits = t->limits;
    g->gate = t->gate;
    g->expires_ns = t->expires_ns;
    g->wall_timer.fire = wall_is_up;
    g->expiry_timer.fire = grants_expire;
    g->clock = t->clock;
    g->random = t->random;
    memcpy(g->network_calls, t->network_calls, sizeof(g->network_calls));
    memcpy(g->identity_key, t->identity_key, sizeof(g->identity_key));
    g->environment = t->environment;
    g->environment_count = t->environment_count;
    g->config = t->config;
    g->config_count = t->config_count;
    g->arguments = t->arguments;
    g->argument_count = t->argument_count;
    g->commons = t->commons;
    g->denials = t->denials;
    g->uses = t->uses;
    g->done.use_count = t->done.use_count;
    g->http.pairs = t->http.pairs;
    g->http.fields = t->http.fields;
    url_init(&g->http.url);
}

/* Takes back what guest_answer() gave it. */
static int no_answer(struct guest *g, struct exchange *x, uint32_t handle)
{
    if (handle)
        handles_remove(&g->handles, HANDLE_EXCHANGE, handle);
    x->has_handle = false;
    guest_exchange_give(x, NULL);
    return -ENOMEM;
}

int guest_answer(struct guest *g, struct guest *template, struct ambit_component *component,
                 struct exchange *x, const struct http_request *r)
{
    copy_template(g, template);
    guest_exchange_give(x, g);
    g->http.incoming = x;
    uint32_t handle = host_give_handle(g, HANDLE_EXCHANGE, x);
    x->has_handle = handle != 0;
    if (!handle || start_clocks(g) < 0)
        return no_answer(g, x, handle);
    for (size_t i = 0; i < r->field_count; i++)
        g->http.pairs[i] = (struct ambit_pair){
            { r->fields[i].name.data, r->fields[i].name.size },
            { r->fields[i].value.data, r->fields[i].value.size },
        };
    struct ambit_http_request request = {
        .method = { r->method.data, r->method.size },
        .scheme = r->flags & HTTP_SECURE ? 2 : 1,
        .authority = { r->authority.data, r->authority.size },
        .target = { r->target.data, r->target.size },
        .headers = g->http.pairs,
        .header_count = r->field_count,
        .connect_timeout_ns = HTTP_NO_TIMEOUT,
        .first_byte_timeout_ns = HTTP_NO_TIMEOUT,
        .between_bytes_timeout_ns = HTTP_NO_TIMEOUT,
    };
    struct ambit_task_config config = task_config(g);
    g->task = ambit_task_new_request(component, &config, &host_vtbl, g, &request, handle);
    if (!g->task)
        return no_answer(g, x, handle);
    is_started(g);
    return 0;
}

/* ---- concluding ---- */

static char *text_of(struct ambit_bytes bytes, size_t max)
{
    return mem_strndup(bytes.size ? (const char *)bytes.data : "", MIN(bytes.size, max));
}

static void take_values(struct guest *g, struct ambit_bytes values)
{
    uint64_t left = g->limits.output_bytes - MIN(g->limits.output_bytes, g->done.output_bytes);
    if (values.size > MIN(left, (uint64_t)VALUES_MAX)) {
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_OUTPUT, "a result of %zu bytes", values.size);
        return;
    }
    g->done.output_bytes += values.size;
    g->done.values = text_of(values, VALUES_MAX);
    if (!g->done.values)
        guest_fault(g, -ENOMEM, "keeping the result");
}

/* What the engine says of a finished task. A reason stored by us comes first: the trap is only how
 * it took effect. */
static void take_result(struct guest *g)
{
    struct ambit_result r = { 0 };
    ambit_task_result(g->task, &r);
    g->done.memory_peak_bytes = r.memory_peak_bytes;
    g->done.slices = r.slices;
    if (g->ended)
        return;
    switch (r.outcome) {
    case AMBIT_OUTCOME_EXIT:
        take_values(g, r.values);
        if (g->ended)
            return;
        g->done.end = RUN_END_EXIT;
        g->done.status = r.status;
        break;
    case AMBIT_OUTCOME_TRAP:
        g->done.end = RUN_END_TRAP;
        g->message = text_of(r.message, MESSAGE_MAX);
        break;
    case AMBIT_OUTCOME_ENDED:
        guest_end(g, RUN_END_FAULT, RUN_LIMIT_NONE,
                  "the engine ended the guest and nobody said why");
        break;
    case AMBIT_OUTCOME_FAULT:
        g->done.end = RUN_END_FAULT;
        g->message = text_of(r.message, MESSAGE_MAX);
        break;
    }
    g->ended = true;
}

static void fill_done(struct guest *g)
{
    struct run_done *d = &g->done;
    d->message = g->message;
    d->wall_ns = clock_monotonic_ns() - g->started_ns;
    d->handles_peak = g->handles.peak;
    d->uses = g->uses;
    d->denials = g->denials->total;
    d->denials_dropped = g->denials->dropped;
    d->denial_counts = mem_array(MAX(g->denials->count, (size_t)1), sizeof(*d->denial_counts));
    d->denial_count = d->denial_counts ? g->denials->count : 0;
    for (size_t i = 0; i < d->denial_count; i++)
        d->denial_counts[i] = g->denials->items[i].count;
}

static void finish(struct guest *g)
{
    g->draining = false;
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct watch *w = &g->streams[i].watch;
        watch_forget(g->loop, w);
    }
    timer_clear(g->loop, &g->wall_timer);
    timer_clear(g->loop, &g->expiry_timer);
    loop_dequeue(g->loop, g);
    g->finished = true;
    g->loop->live--;
    if (g->template) {
        g->done.handles_peak = g->handles.peak;
        g->pool_next = g->template->ended_guests;
        g->template->ended_guests = g;
    } else {
        host_log_finish(g);
        fill_done(g);
    }
}

void guest_report_totals(struct guest *template)
{
    uint64_t handles = template->done.handles_peak;
    host_log_finish(template);
    fill_done(template);
    template->done.handles_peak = handles;
}

/* Writes what is held; what nobody takes yet is waited for, until the wall limit or a stop. */
static void drain(struct guest *g)
{
    bool patient = g->done.limit != RUN_LIMIT_WALL && g->done.end != RUN_END_STOPPED;
    bool left = false;
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        struct stream *s = &g->streams[i];
        bool more = !stream_drain(s);
        if (more && patient && watch_update(g->loop, &s->watch, true) == 0)
            left = true;
        else if (!more && s->watch.events)
            watch_forget(g->loop, &s->watch);
    }
    if (patient && g->http.incoming && body_drains(g->http.incoming))
        left = true; /* the answer is whole, its reader is slow */
    g->draining = left;
    if (!left)
        finish(g);
}

static void conclude(struct guest *g)
{
    operations_forget_all(g->loop, g);
    g->concluded = true;
    drain(g);
}

/* ---- turns ---- */

/* An exchange will be answered, or fail: no time passes before that, were it for ever. */
static bool waits_for_others(const struct guest *g)
{
    for (const struct operation *o = g->operations; o; o = o->next)
        if (o->event)
            return true;
    return false;
}

/* It waits. When it has ended meanwhile it is to go on to its end; when its clock is frozen, time
 * jumps. */
static void parked(struct guest *g)
{
    if (g->ended) {
        bool waits = g->operations;
        operations_complete_all(g->loop, g);
        if ((waits || g->queued) && g->turns_after_end < TURNS_AFTER_END_MAX) {
            loop_enqueue(g->loop, g);
            return;
        }
        g->done.memory_peak_bytes = ambit_task_memory(g->task);
        conclude(g);
        return;
    }
    if (g->recheck) {
        g->recheck = false;
        operations_complete_all(g->loop, g);
    }
    if (!g->queued && g->clock.frozen && !waits_for_others(g))
        host_clock_jump(g);
}

void guest_turn(struct guest *g)
{
    if (g->finished)
        return;
    if (g->concluded) {
        if (g->draining)
            drain(g);
        else
            finish(g);
        return;
    }
    g->turns_after_end += g->ended;
    g->in_turn = true;
    g->turn_ns = g->template ? clock_monotonic_ns() : clock_thread_cpu_ns();
    enum ambit_poll poll = ambit_task_poll(g->task);
    g->done.cpu_ns += guest_turn_cpu_ns(g, true);
    g->in_turn = false;
    if (poll == AMBIT_POLL_DONE) {
        take_result(g);
        conclude(g);
        return;
    }
    if (g->done.cpu_ns > g->limits.cpu_ns && !guest_skips(g, CPU))
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_CPU, "more than %llu ms of CPU time",
                  (unsigned long long)(g->limits.cpu_ns / NS_PER_MS));
    if (poll == AMBIT_POLL_SLICE)
        loop_enqueue(g->loop, g);
    else
        parked(g);
}

void guest_event(struct guest *g, struct watch *w, bool readable, bool writable)
{
    if (g->serves) {
        lines_writable(g, w);
        return;
    }
    if (g->finished)
        return;
    if (g->draining) {
        drain(g);
        return;
    }
    for (struct operation *o = g->operations, *next; o; o = next) {
        next = o->next;
        if (o->watch == w && (o->for_write ? writable : readable))
            operation_complete(g->loop, o);
    }
}
