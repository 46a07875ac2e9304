/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of a run. Reading is from a hostile peer: a count is compared with the bytes that are
 * left before anything is allocated for it, so that memory grows only with what was really sent.
 */
#include "wire/run.h"

#include <string.h>

#include "base/mem.h"

static int string_get(struct cursor *c, char **ret, struct error *e)
{
    *ret = cursor_string(c);
    if (*ret)
        return 0;
    return c->bad ? error_set(e, -EBADMSG, "a text is cut short or holds a NUL")
                  : error_set(e, -ENOMEM, "no memory");
}

/* A count of elements that take at least `element_size` bytes each. */
static int count_get(struct cursor *c, size_t element_size, size_t max, size_t *ret,
                     struct error *e)
{
    uint32_t count = cursor_u32(c);
    if (c->bad || count > max || count > cursor_left(c) / element_size)
        return error_set(e, -EBADMSG, "a count of %u is more than was sent or allowed", count);
    *ret = count;
    return 0;
}

static int check_read(const struct cursor *c, const char *what, struct error *e)
{
    return c->bad ? error_set(e, -EBADMSG, "%s is cut short", what) : 0;
}

/* ---- start ---- */

int run_start_put(struct buf *out, const struct run_start *s)
{
    buf_string(out, s->grants_json);
    buf_string(out, s->work_host);
    buf_string(out, s->cwd);
    buf_u32(out, (uint32_t)s->arg_count);
    for (size_t i = 0; i < s->arg_count; i++)
        buf_string(out, s->args[i]);
    buf_u32(out, s->program_args);
    buf_string(out, s->invoke);
    buf_u32(out, s->terminal);
    buf_u32(out, s->allow_missing);
    buf_u32(out, s->links);
    buf_u32(out, s->concurrency);
    buf_u32(out, s->ask);
    buf_u32(out, s->test_skip);
    return s->arg_count > RUN_ARGS_MAX ? -E2BIG : buf_status(out);
}

static int args_get(struct cursor *c, struct run_start *s, struct error *e)
{
    size_t count;
    int result = count_get(c, sizeof(uint32_t), RUN_ARGS_MAX, &count, e);
    if (result < 0)
        return result;
    s->args = mem_array(count, sizeof *s->args);
    if (!s->args)
        return error_set(e, -ENOMEM, "no memory");
    for (; s->arg_count < count; s->arg_count++)
        if ((result = string_get(c, &s->args[s->arg_count], e)) < 0)
            return result;
    s->program_args = cursor_u32(c);
    if (s->program_args > count || (count && s->program_args == 0))
        return error_set(e, -EBADMSG, "more arguments of the program than arguments");
    return 0;
}

/* A worker that is asked takes requests, and only such a one has a number of them. */
static int links_get(struct cursor *c, struct run_start *s, struct error *e)
{
    s->links = cursor_u32(c);
    s->concurrency = cursor_u32(c);
    if (s->links & ~(uint32_t)(RUN_LINK_EGRESS | RUN_LINK_INGRESS))
        return error_set(e, -EBADMSG, "a link of no known kind");
    bool serves = s->links & RUN_LINK_INGRESS;
    if (s->concurrency > RUN_CONCURRENCY_MAX || serves != (s->concurrency > 0))
        return error_set(e, -EBADMSG, "%u instances at once", s->concurrency);
    return 0;
}

int run_start_get(struct cursor *c, struct run_start *ret, struct error *e)
{
    CLEANUP(run_start_done) struct run_start s = { 0 };
    int result;
    if ((result = string_get(c, &s.grants_json, e)) < 0 ||
        (result = string_get(c, &s.work_host, e)) < 0 || (result = string_get(c, &s.cwd, e)) < 0 ||
        (result = args_get(c, &s, e)) < 0 || (result = string_get(c, &s.invoke, e)) < 0)
        return result;
    s.terminal = cursor_u32(c);
    s.allow_missing = cursor_u32(c);
    if ((result = links_get(c, &s, e)) < 0)
        return result;
    s.ask = cursor_u32(c);
    if (s.ask > 1 || (s.ask && s.links & RUN_LINK_INGRESS))
        return error_set(e, -EBADMSG, "asking where nobody is");
    s.test_skip = cursor_u32(c);
    if ((result = check_read(c, "a run's start", e)) < 0)
        return result;
    *ret = s;
    s = (struct run_start){ 0 };
    return 0;
}

void run_start_done(struct run_start *s)
{
    mem_free(s->grants_json);
    mem_free(s->work_host);
    mem_free(s->cwd);
    for (size_t i = 0; i < s->arg_count; i++)
        mem_free(s->args[i]);
    mem_free(s->args);
    mem_free(s->invoke);
    *s = (struct run_start){ 0 };
}

/* ---- denial ---- */

int run_denial_put(struct buf *out, const struct run_denial *d)
{
    buf_u32(out, d->class);
    buf_u32(out, d->reason);
    buf_u32(out, d->rule);
    buf_u32(out, d->verbs);
    buf_string(out, d->operation);
    buf_string(out, d->resource);
    buf_string(out, d->grant_yaml);
    return buf_status(out);
}

int run_denial_get(struct cursor *c, struct run_denial *ret, struct error *e)
{
    CLEANUP(run_denial_done) struct run_denial d = { 0 };
    d.class = cursor_u32(c);
    d.reason = cursor_u32(c);
    d.rule = cursor_u32(c);
    d.verbs = cursor_u32(c);
    int result;
    if ((result = string_get(c, &d.operation, e)) < 0 ||
        (result = string_get(c, &d.resource, e)) < 0 ||
        (result = string_get(c, &d.grant_yaml, e)) < 0)
        return result;
    *ret = d;
    memset(&d, 0, sizeof(d));
    return 0;
}

void run_denial_done(struct run_denial *d)
{
    mem_free(d->operation);
    mem_free(d->resource);
    mem_free(d->grant_yaml);
    *d = (struct run_denial){ 0 };
}

/* ---- done ---- */

const char *run_limit_name(enum run_limit l)
{
    static const char *const names[RUN_LIMIT_COUNT] = {
        [RUN_LIMIT_NONE] = "none",
        [RUN_LIMIT_MEMORY] = "memory",
        [RUN_LIMIT_CPU] = "cpu",
        [RUN_LIMIT_WALL] = "wall",
        [RUN_LIMIT_HANDLES] = "handles",
        [RUN_LIMIT_OUTPUT] = "output",
        [RUN_LIMIT_HOSTCALLS] = "hostcalls",
        [RUN_LIMIT_INSTANCES] = "instances",
        [RUN_LIMIT_HOSTCALL_BYTES] = "hostcall-bytes",
    };
    return (unsigned)l < RUN_LIMIT_COUNT ? names[l] : "unknown";
}

int run_done_put(struct buf *out, const struct run_done *d)
{
    const uint64_t totals[] = { d->cpu_ns,       d->wall_ns,   d->memory_peak_bytes,
                                d->output_bytes, d->hostcalls, d->slices,
                                d->handles_peak, d->denials,   d->denials_dropped };
    buf_u32(out, d->end);
    buf_u32(out, d->limit);
    buf_u32(out, (uint32_t)d->status);
    buf_string(out, d->message);
    buf_string(out, d->values);
    for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
        buf_u64(out, totals[i]);
    buf_u32(out, (uint32_t)d->use_count);
    for (size_t i = 0; i < d->use_count; i++) {
        buf_u64(out, d->uses[i].count);
        buf_u64(out, d->uses[i].bytes_read);
        buf_u64(out, d->uses[i].bytes_written);
        buf_u32(out, d->uses[i].verbs);
    }
    buf_u32(out, (uint32_t)d->denial_count);
    for (size_t i = 0; i < d->denial_count; i++)
        buf_u64(out, d->denial_counts[i]);
    if (d->use_count > RUN_USES_MAX || d->denial_count > RUN_DENIALS_MAX)
        return -E2BIG;
    return buf_status(out);
}

static int uses_get(struct cursor *c, struct run_done *d, struct error *e)
{
    size_t count;
    int result = count_get(c, 3 * sizeof(uint64_t) + sizeof(uint32_t), RUN_USES_MAX, &count, e);
    if (result < 0)
        return result;
    d->uses = mem_array(count, sizeof *d->uses);
    if (!d->uses)
        return error_set(e, -ENOMEM, "no memory");
    d->use_count = count;
    for (size_t i = 0; i < count; i++) {
        d->uses[i].count = cursor_u64(c);
        d->uses[i].bytes_read = cursor_u64(c);
        d->uses[i].bytes_written = cursor_u64(c);
        d->uses[i].verbs = cursor_u32(c);
    }
    return 0;
}

static int denial_counts_get(struct cursor *c, struct run_done *d, struct error *e)
{
    size_t count;
    int result = count_get(c, sizeof(uint64_t), RUN_DENIALS_MAX, &count, e);
    if (result < 0)
        return result;
    d->denial_counts = mem_array(count, sizeof *d->denial_counts);
    if (!d->denial_counts)
        return error_set(e, -ENOMEM, "no memory");
    d->denial_count = count;
    for (size_t i = 0; i < count; i++)
        d->denial_counts[i] = cursor_u64(c);
    return 0;
}

int run_done_get(struct cursor *c, struct run_done *ret, struct error *e)
{
    CLEANUP(run_done_done) struct run_done d = { 0 };
    d.end = cursor_u32(c);
    d.limit = cursor_u32(c);
    d.status = (int32_t)cursor_u32(c);
    if (d.end > RUN_END_FAULT || d.limit >= RUN_LIMIT_COUNT)
        return error_set(e, -EBADMSG, "an unknown end of a run");
    int result;
    if ((result = string_get(c, &d.message, e)) < 0 || (result = string_get(c, &d.values, e)) < 0)
        return result;
    uint64_t *const totals[] = { &d.cpu_ns,       &d.wall_ns,   &d.memory_peak_bytes,
                                 &d.output_bytes, &d.hostcalls, &d.slices,
                                 &d.handles_peak, &d.denials,   &d.denials_dropped };
    for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
        *totals[i] = cursor_u64(c);
    if ((result = uses_get(c, &d, e)) < 0 || (result = denial_counts_get(c, &d, e)) < 0 ||
        (result = check_read(c, "the end of a run", e)) < 0)
        return result;
    *ret = d;
    d = (struct run_done){ 0 };
    return 0;
}

void run_done_done(struct run_done *d)
{
    mem_free(d->message);
    mem_free(d->values);
    mem_free(d->uses);
    mem_free(d->denial_counts);
    *d = (struct run_done){ 0 };
}
