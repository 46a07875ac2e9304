/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's accounts: its limits, why it ended, what it used, what it was refused.
 *
 *   limit      counted                                  ends the guest
 *   hostcalls  each call, in host_enter()               before the call that is one too many
 *   cpu        thread CPU time around turns             at the slice that finds it passed
 *   wall       host's monotonic clock from guest_start  a timer when parked, else at the slice
 *   output     bytes accepted, in host/stdio.c          at the byte that passes it
 *   memory, handles, hostcall bytes, instances: by the engine, which calls host_limit(); handles
 *              also by the table of handles
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/host/host.h"

#define MESSAGE_MAX 8192
#define TURN_SHORT_NS (2 * NS_PER_MS)
#define DENIAL_GRANT_MAX (48u << 10) /* with the resource it fits a frame of denial */

/* ---- ends ---- */

void guest_end(struct guest *g, enum run_end end, enum run_limit limit, const char *format, ...)
{
    if (g->ended || g->finished)
        return;
    g->ended = true;
    g->done.end = end;
    g->done.limit = limit;
    struct buf text = BUF_INIT(MESSAGE_MAX);
    char line[512];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    buf_append(&text, line, size < 0 ? 0 : MIN((size_t)size, sizeof(line) - 1));
    g->message = buf_take(&text); /* NULL without memory: the end and the limit say enough */
    buf_done(&text);
    if (g->in_turn)
        return; /* enter() or slice() will say so */
    operations_complete_all(g->loop, g);
    loop_enqueue(g->loop, g);
}

int guest_fault(struct guest *g, int code, const char *doing)
{
    ASSERT(code < 0);
    char text[96];
    guest_end(g, RUN_END_FAULT, RUN_LIMIT_NONE, "%s: %s", doing,
              strerror_r(-code, text, sizeof(text)));
    return code;
}

void guest_revoke(struct guest *g, enum grant_reason reason)
{
    if (g->gate != GRANT_ALLOWED)
        return;
    g->gate = reason;
    host_clock_freeze(g);
    if (g->vfs)
        vfs_revoke(g->vfs, reason);
    g->recheck = true;
    if (!g->in_turn) {
        g->recheck = false;
        operations_complete_all(g->loop, g);
    }
}

void guest_stop(struct guest *g, enum run_stop why)
{
    if (guest_skips(g, STOP))
        return;
    switch (why) {
    case RUN_STOP_INTERRUPT:
        guest_end(g, RUN_END_STOPPED, RUN_LIMIT_NONE, "interrupted");
        break;
    case RUN_STOP_WALL:
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_WALL, "its time was up");
        break;
    case RUN_STOP_REVOKED:
        guest_revoke(g, GRANT_REVOKED);
        guest_end(g, RUN_END_STOPPED, RUN_LIMIT_NONE, "its grants were revoked");
        break;
    }
    /* A guest that only waits for somebody to read its last bytes waits no longer. */
    g->draining = false;
    loop_enqueue(g->loop, g);
}

/* ---- limits ---- */

/* The thread's CPU clock costs a system call. A guest that runs alone is measured with it; the short
 * turns of guests that answer requests count as long as they took by the host's clock, and only a
 * long one is compared with what the thread used, less what was counted for others meanwhile. */
uint64_t guest_turn_cpu_ns(struct guest *g, bool over)
{
    if (!g->template)
        return clock_thread_cpu_ns() - g->turn_ns;
    struct loop *l = g->loop;
    uint64_t took = clock_monotonic_ns() - g->turn_ns;
    if (took < TURN_SHORT_NS) {
        l->cpu_counted_ns += over ? took : 0;
        return took;
    }
    uint64_t now = clock_thread_cpu_ns(), used = now - l->cpu_asked_ns;
    used -= MIN(used, l->cpu_counted_ns);
    if (over) {
        l->cpu_asked_ns = now;
        l->cpu_counted_ns = 0;
    }
    return MIN(took, used);
}

static void check_expiry(struct guest *g)
{
    if (g->expires_ns != UINT64_MAX && g->gate == GRANT_ALLOWED &&
        clock_monotonic_ns() >= g->expires_ns)
        guest_revoke(g, GRANT_EXPIRED);
}

int host_enter(void *host, ambit_call call)
{
    struct guest *g = host;
    if (g->ended)
        return -ECANCELED;
    if (g->done.hostcalls >= g->limits.hostcalls && !guest_skips(g, HOSTCALLS)) {
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_HOSTCALLS, "more than %llu host calls, at %s",
                  (unsigned long long)g->limits.hostcalls, ambit_call_name(call));
        return -ECANCELED;
    }
    g->done.hostcalls++;
    if (g->asking)
        asking_call_begins(g);
    check_expiry(g);
    host_network_asked(g, call);
    return g->ended ? -ECANCELED : 0;
}

enum ambit_slice host_slice(void *host)
{
    struct guest *g = host;
    if (g->ended)
        return AMBIT_SLICE_END;
    uint64_t cpu = g->done.cpu_ns + guest_turn_cpu_ns(g, false);
    uint64_t wall = clock_monotonic_ns() - g->started_ns;
    if (cpu > g->limits.cpu_ns && !guest_skips(g, CPU))
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_CPU, "more than %llu ms of CPU time",
                  (unsigned long long)(g->limits.cpu_ns / NS_PER_MS));
    else if (wall > g->limits.wall_ns && !guest_skips(g, WALL))
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_WALL, "more than %llu ms",
                  (unsigned long long)(g->limits.wall_ns / NS_PER_MS));
    check_expiry(g);
    return g->ended ? AMBIT_SLICE_END : AMBIT_SLICE_YIELD;
}

void host_limit(void *host, enum ambit_limit which, uint64_t asked)
{
    struct guest *g = host;
    unsigned long long total = asked;
    switch (which) {
    case AMBIT_LIMIT_MEMORY:
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_MEMORY,
                  "asked for %llu bytes of memory in all, of %llu", total,
                  (unsigned long long)g->limits.memory_bytes);
        return;
    case AMBIT_LIMIT_HANDLES:
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_HANDLES, "more than %llu handles",
                  (unsigned long long)g->limits.handles);
        return;
    case AMBIT_LIMIT_INSTANCES:
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_INSTANCES, "asked for %llu instances in all", total);
        return;
    case AMBIT_LIMIT_HOSTCALL_BYTES:
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_HOSTCALL_BYTES, "%llu bytes in one host call", total);
        return;
    }
    guest_fault(g, -EPROTO, "a limit that does not exist");
}

/* ---- uses and denials ---- */

static uint32_t stream_bit(const char *name)
{
    uint32_t i = 0;
    while (i < STDIO_STREAM_COUNT - 1 && strcmp(name, stdio_stream_names[i]) != 0)
        i++;
    return 1u << i;
}

static enum log_level level_of(const char *name)
{
    uint32_t i = 0;
    while (i < LOG_LEVEL_COUNT - 1 && strcmp(name, log_level_names[i]) != 0)
        i++;
    return (enum log_level)i;
}

/* Of classes whose resource is the text. */
struct named {
    enum grant_class class;
    const char *operation, *resource;
    uint32_t verbs;
    enum grant_reason reason;
};

/* Only where a grant would help: none brings back an expired run, opens a device or a full quota. */
static int propose_named(const struct guest *g, const void *what, struct grant *ret)
{
    const struct named *n = what;
    bool tree;
    if (n->reason != GRANT_NO_GRANT && n->reason != GRANT_NO_PATH && n->reason != GRANT_NO_VERB)
        return -EINVAL;
    switch (n->class) {
    case GRANT_FS:
        /* Outside every mount nobody looked whether it is a folder that is moved. */
        tree = !strcmp(n->operation, VFS_RENAME_FOLDER) ||
               (n->reason == GRANT_NO_GRANT && (n->verbs & FS_RENAME));
        return tree ? grant_propose_fs_tree(g->rules, n->resource, n->verbs, ret, NULL)
                    : grant_propose_fs(g->rules, n->resource, n->verbs, ret, NULL);
    case GRANT_STDIO:
        return grant_propose_stdio(stream_bit(n->resource), ret, NULL);
    case GRANT_CONFIG:
        return grant_propose_config(n->resource, ret, NULL);
    case GRANT_LOG:
        return grant_propose_log(level_of(n->resource), ret, NULL);
    default:
        return grant_propose_class(n->class, ret, NULL);
    }
}

/* The smallest grant as text. A resource that the grammar cannot write down (a NUL, say) is denied
 * without one. */
static int propose(const struct guest *g, guest_proposer make, const void *what, struct buf *yaml)
{
    struct grant grant = { 0 };
    int status = make(g, what, &grant);
    if (status == 0)
        status = grant_print(&grant, yaml, NULL);
    grant_done(&grant);
    if (status != 0)
        buf_clear(yaml);
    return status == -ENOMEM ? status : 0;
}

static int tell(struct guest *g, struct run_denial *told, guest_proposer make, const void *what)
{
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(DENIAL_GRANT_MAX);
    int status = propose(g, make, what, &yaml);
    if (status < 0)
        return status;
    told->grant_yaml = (char *)buf_cstr(&yaml);
    return g->report.denial(g->report.context, told);
}

void guest_denied_by(struct guest *g, enum grant_class c, const char *operation,
                     const char *resource, uint32_t verbs, struct grant_decision d,
                     guest_proposer make, const void *what)
{
    int status = denials_record(g->denials, c, operation, resource, verbs, d.reason);
    if (status > 0) {
        const struct denial *kept = &g->denials->items[g->denials->count - 1];
        struct run_denial told = {
            .class = c,
            .reason = d.reason,
            .rule = d.rule,
            .verbs = verbs,
            .operation = kept->operation,
            .resource = kept->resource,
        };
        status = tell(g, &told, make, what);
    }
    if (status < 0) /* a refusal that cannot be recorded: no further effects (P4) */
        guest_fault(g, status, "recording a denial");
}

bool guest_asked(struct guest *g, enum grant_class c, const char *operation, const char *resource,
                 uint32_t verbs, struct grant_decision d, guest_proposer make, const void *what)
{
    CLEANUP(grant_done) struct grant grant = { 0 };
    struct run_denial asked = { .class = c,
                                .reason = d.reason,
                                .rule = d.rule,
                                .verbs = verbs,
                                .operation = (char *)operation,
                                .resource = (char *)resource };
    return g->asking && !g->ended && make(g, what, &grant) == 0 && guest_ask(g, &asked, &grant);
}

bool guest_asked_named(struct guest *g, enum grant_class c, const char *operation,
                       const char *resource, uint32_t verbs, struct grant_decision d)
{
    const struct named named = { c, operation, resource, verbs, d.reason };
    return guest_asked(g, c, operation, resource, verbs, d, propose_named, &named);
}

void guest_waited(struct guest *g, uint64_t ns)
{
    uint64_t deadline_ns = g->wall_timer.deadline_ns;
    g->started_ns += ns;
    if (g->wall_timer.place == 0 || deadline_ns > UINT64_MAX - ns)
        return;
    if (timer_set(g->loop, &g->wall_timer, deadline_ns + ns) < 0)
        guest_fault(g, -ENOMEM, "setting the timer of its time limit");
}

void guest_denied(struct guest *g, enum grant_class c, const char *operation, const char *resource,
                  uint32_t verbs, struct grant_decision d)
{
    /* Proposed for what is kept of the text. */
    char *cut = NULL;
    if (strnlen(resource, DENIAL_RESOURCE_MAX + 1) > DENIAL_RESOURCE_MAX) {
        cut = mem_strndup(resource, DENIAL_RESOURCE_MAX);
        if (!cut) {
            guest_fault(g, -ENOMEM, "recording a denial");
            return;
        }
    }
    struct named named = { c, operation, cut ? cut : resource, verbs, d.reason };
    guest_denied_by(g, c, operation, named.resource, verbs, d, propose_named, &named);
    mem_free(cut);
}
