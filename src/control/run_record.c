/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run's receipt: docs/schemas/receipt.schema.json has their members. */
#include <string.h>

#include "ambit_engine.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/run_parts.h"

#ifndef AMBIT_VERSION
#define AMBIT_VERSION "0.1.0"
#endif
#define ARGS_KEPT 64
#define ARG_BYTES_KEPT 1024

static json_t *digest_json(const struct digest *d)
{
    char text[DIGEST_TEXT_SIZE];
    digest_text(d, text);
    return json_string(text);
}

static json_t *layers_json(uint32_t bits)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < JAIL_LAYER_COUNT; i++)
        if (bits & (1u << i))
            json_array_append_new(list, json_string(jail_layer_name((enum jail_layer)(1u << i))));
    return list;
}

static json_t *time_json(void)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(128);
    text_put_timestamp(&text, clock_real_ns());
    return json_string(buf_cstr(&text));
}

static json_t *args_json(const struct run_request *q)
{
    json_t *list = json_array();
    for (size_t i = 0; i < q->arg_count && i < ARGS_KEPT; i++)
        json_array_append_new(
            list, json_string_lossy(q->args[i], MIN(strlen(q->args[i]), (size_t)ARG_BYTES_KEPT)));
    return list;
}

static int record_started(struct run *r, struct error *e)
{
    const struct run_request *q = r->request;
    json_t *event = json_object();

    json_object_set_new(event, "version", json_integer(RECEIPT_VERSION));
    json_object_set_new(event, "id", json_string(r->report->id));
    json_object_set_new(event, "time", time_json());
    json_object_set_new(event, "ambit", json_string(AMBIT_VERSION));
    json_object_set_new(event, "engine", json_string(ambit_engine_version()));
    json_object_set_new(event, "file", json_string_of(q->file));
    json_object_set_new(event, "args", args_json(q));
    json_object_set_new(event, "arg_count", json_count(q->arg_count));
    json_object_set_new(event, "work", json_string_of(r->work_host));
    json_object_set_new(event, "cwd", json_string_of(q->cwd != NULL ? q->cwd : "/work"));
    if (q->invoke != NULL)
        json_object_set_new(event, "invoke", json_string_of(q->invoke));
    return receipt_put(r->receipt, "run.started", event, e);
}

/* A grant as data, values of variables, of configuration and of headers that egress sets left out:
 * they may be secret. */
static json_t *grant_json(json_t *item, const struct grant *g, size_t rule)
{
    json_t *out = json_object();
    const char *key;
    json_t *value;

    json_object_set_new(out, "rule", json_count(rule));
    json_object_set_new(out, "origin", json_string_of(g->origin != NULL ? g->origin : ""));
    json_object_foreach(item, key, value)
    {
        bool secret = strcmp(key, "env") == 0 || strcmp(key, "config") == 0 ||
                      strcmp(key, "set_headers") == 0;
        if (secret && json_is_object(value)) {
            json_t *names = json_array();
            const char *name;
            json_t *ignored;
            json_object_foreach(value, name, ignored)
                json_array_append_new(names, json_string(name));
            json_object_set_new(out, key, names);
        } else {
            json_object_set(out, key, value);
        }
    }
    return out;
}

json_t *run_record_rule(json_t *item, const struct grant *g, size_t rule)
{
    return grant_json(item, g, rule);
}

static int record_grants(struct run *r, struct error *e)
{
    const struct grant_set *s = r->request->grants;
    const struct grant_limits *l = grant_rules_limits(r->rules);
    CLEANUP(json_freep) json_t *set = grant_set_to_json(s);
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(64u << 20);
    json_t *event = json_object(), *rules = json_array(), *limits = json_object();
    struct digest digest;

    if (set == NULL || json_canonical(set, &canonical) < 0 || buf_status(&canonical) < 0 ||
        digest_bytes(canonical.data, canonical.size, &digest, e) < 0) {
        json_decref(event);
        json_decref(rules);
        json_decref(limits);
        return error_set(e, -ENOMEM, "no memory for the receipt");
    }
    const json_t *items = json_object_get(set, "grants");
    for (size_t i = 0; i < s->count && i < json_array_size(items); i++)
        json_array_append_new(rules, grant_json(json_array_get(items, i), &s->grants[i], i));
    json_object_set_new(limits, "memory_bytes", json_count(l->memory_bytes));
    json_object_set_new(limits, "cpu_ns", json_count(l->cpu_ns));
    json_object_set_new(limits, "wall_ns", json_count(l->wall_ns));
    json_object_set_new(limits, "handles", json_count(l->handles));
    json_object_set_new(limits, "output_bytes", json_count(l->output_bytes));
    json_object_set_new(limits, "hostcalls", json_count(l->hostcalls));
    json_object_set_new(event, "digest", digest_json(&digest));
    json_object_set_new(event, "rules", rules);
    json_object_set_new(event, "limits", limits);
    if (s->expires_ns != GRANT_UNSET)
        json_object_set_new(event, "expires_ns", json_count(s->expires_ns));
    return receipt_put(r->receipt, "grants", event, e);
}

static int record_mounts(struct run *r, struct error *e)
{
    for (size_t i = 0; i < r->mount_count; i++) {
        const struct grant_mount *m = grant_rules_mount(r->rules, i);
        json_t *event = json_object();
        json_object_set_new(event, "guest", json_string_of(m->guest));
        json_object_set_new(event, "backing",
                            json_string(m->backing == GRANT_BACKING_DIR ? "dir" : "memory"));
        if (m->host != NULL)
            json_object_set_new(event, "host", json_string_of(m->host));
        json_object_set_new(event, "writable", json_boolean((m->verbs & ~(uint32_t)FS_RO) != 0));
        int status = receipt_put(r->receipt, "mount", event, e);
        if (status < 0)
            return status;
    }
    return 0;
}

int run_record_start(struct run *r, struct error *e)
{
    int status = record_started(r, e);
    if (status == 0)
        status = record_grants(r, e);
    if (status == 0)
        status = record_mounts(r, e);
    return status;
}

int run_record_cache(struct run *r, uint64_t elapsed_ns, struct error *e)
{
    const struct cache_entry *entry = &r->entry;
    json_t *event = json_object();

    json_object_set_new(event, "kind", json_string(target_languages[r->target.language].name));
    json_object_set_new(event, "component", digest_json(&entry->component));
    json_object_set_new(event, "component_bytes", json_count(entry->component_size));
    if (r->target.language != TARGET_WASM) {
        json_object_set_new(event, "script", digest_json(&r->target.script_digest));
        json_object_set_new(event, "script_bytes", json_count(r->target.script_size));
        json_object_set_new(event, "script_guest", json_string_of(r->target.script_guest));
    }
    int status = receipt_put(r->receipt, "program", event, e);
    if (status < 0)
        return status;
    event = json_object();
    json_object_set_new(event, "hit", json_boolean(entry->hit));
    json_object_set_new(event, "took_us", json_count(elapsed_ns / 1000));
    json_object_set_new(event, "code", digest_json(&entry->code));
    json_object_set_new(event, "code_bytes", json_count(entry->code_size));
    if (entry->missing != 0)
        json_object_set_new(event, "compiler_jail_missing", layers_json(entry->missing));
    if (entry->evicted[0] != '\0')
        json_object_set_new(event, "evicted", json_string_of(entry->evicted));
    return receipt_put(r->receipt, "cache", event, e);
}

int run_record_jail(struct run *r, struct error *e)
{
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("worker"));
    json_object_set_new(event, "missing", layers_json(r->report->missing));
    return receipt_put(r->receipt, "jail", event, e);
}

int run_record_denial(struct run *r, size_t number, const struct run_denial *d, struct error *e)
{
    return run_record_denial_of(r, "worker", number, d, e);
}

int run_record_denial_of(struct run *r, const char *observed_by, size_t number,
                         const struct run_denial *d, struct error *e)
{
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string(observed_by));
    json_object_set_new(event, "number", json_count(number));
    json_object_set_new(event, "class", json_string(grant_class_name((enum grant_class)d->class)));
    json_object_set_new(event, "reason",
                        json_string(grant_reason_name((enum grant_reason)d->reason)));
    if (d->rule != GRANT_NO_RULE)
        json_object_set_new(event, "rule", json_count(d->rule));
    json_object_set_new(event, "operation", json_string_of(d->operation));
    json_object_set_new(event, "resource", json_string_of(d->resource));
    json_object_set_new(event, "smallest_grant", json_string_of(d->grant_yaml));
    return receipt_put(r->receipt, "denial", event, e);
}

int run_record_answer(struct run *r, const struct run_denial *d, enum run_answer answer,
                      uint32_t rule, struct error *e)
{
    static const char *const names[] = { "never", "once", "run" };
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "class", json_string(grant_class_name((enum grant_class)d->class)));
    json_object_set_new(event, "operation", json_string_of(d->operation));
    json_object_set_new(event, "resource", json_string_of(d->resource));
    json_object_set_new(event, "grant", json_string_of(d->grant_yaml));
    json_object_set_new(event, "answer", json_string(names[answer]));
    if (rule != GRANT_NO_RULE)
        json_object_set_new(event, "rule", json_count(rule));
    return receipt_put(r->receipt, "answer", event, e);
}

int run_record_log(struct run *r, enum log_level level, const char *topic, const char *message,
                   struct error *e)
{
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("worker"));
    json_object_set_new(event, "level", json_string(log_level_names[level]));
    json_object_set_new(event, "topic", json_string_of(topic));
    json_object_set_new(event, "message", json_string_of(message));
    return receipt_put(r->receipt, "log", event, e);
}

/* ---- the end ---- */

static int record_streams(struct run *r, struct error *e)
{
    for (int i = 1; i < STDIO_COUNT; i++) {
        struct digest digest;
        uint64_t bytes;
        if (!stdio_digest(&r->stdio, i, &digest, &bytes))
            continue;
        json_t *event = json_object();
        json_object_set_new(event, "observed_by", json_string("control"));
        json_object_set_new(event, "stream", json_string(stdio_stream_names[i]));
        json_object_set_new(event, "bytes", json_count(bytes));
        json_object_set_new(event, "digest", digest_json(&digest));
        int status = receipt_put(r->receipt, "output", event, e);
        if (status < 0)
            return status;
    }
    return 0;
}

static int record_figures(struct run *r, struct error *e)
{
    const struct run_done *d = &r->report->done;
    int status = 0;

    for (size_t i = 0; status == 0 && i < d->use_count; i++) {
        const struct run_use *u = &d->uses[i];
        if (u->count == 0 || r->request->grants->grants[i].class == GRANT_HTTP)
            continue; /* http: what egress saw is recorded */
        json_t *event = json_object();
        json_object_set_new(event, "observed_by", json_string("worker"));
        json_object_set_new(event, "rule", json_count(i));
        json_object_set_new(event, "count", json_count(u->count));
        json_object_set_new(event, "bytes_read", json_count(u->bytes_read));
        json_object_set_new(event, "bytes_written", json_count(u->bytes_written));
        status = receipt_put_closing(r->receipt, "use", event, e);
    }
    for (size_t i = 0; status == 0 && i < r->report->denied_count; i++) {
        if (r->report->denied[i].count <= 1)
            continue;
        json_t *event = json_object();
        json_object_set_new(event, "observed_by", json_string("worker"));
        json_object_set_new(event, "number", json_count(i));
        json_object_set_new(event, "count", json_count(r->report->denied[i].count));
        status = receipt_put_closing(r->receipt, "denial.repeated", event, e);
    }
    if (status == 0 && d->limit != RUN_LIMIT_NONE) {
        json_t *event = json_object();
        json_object_set_new(event, "observed_by", json_string("worker"));
        json_object_set_new(event, "limit", json_string(run_limit_name((enum run_limit)d->limit)));
        status = receipt_put_closing(r->receipt, "limit", event, e);
    }
    return status;
}

static json_t *figures_json(const struct run_done *d)
{
    json_t *f = json_object();
    json_object_set_new(f, "cpu_ns", json_count(d->cpu_ns));
    json_object_set_new(f, "wall_ns", json_count(d->wall_ns));
    json_object_set_new(f, "memory_peak_bytes", json_count(d->memory_peak_bytes));
    json_object_set_new(f, "output_bytes", json_count(d->output_bytes));
    json_object_set_new(f, "hostcalls", json_count(d->hostcalls));
    json_object_set_new(f, "slices", json_count(d->slices));
    json_object_set_new(f, "handles_peak", json_count(d->handles_peak));
    json_object_set_new(f, "denials", json_count(d->denials));
    json_object_set_new(f, "denials_dropped", json_count(d->denials_dropped));
    return f;
}

int run_record_end(struct run *r, struct error *e)
{
    const struct run_report *p = r->report;
    int status = record_streams(r, e);

    if (status == 0 && r->ready_ns != 0)
        status = mounts_record_outputs(r->rules, r->mount_fds, r->started_real_ns, r->receipt, e);
    if (status == 0)
        status = run_egress_record(r, e);
    if (status == 0 && p->has_figures)
        status = record_figures(r, e);
    if (status < 0)
        return status;
    json_t *event = json_object();
    json_object_set_new(event, "outcome", json_string(run_outcome_name(p->outcome)));
    json_object_set_new(event, "exit_code", json_integer(p->exit_code));
    if (p->error.what[0] != '\0')
        json_object_set_new(event, "why", json_string_of(p->error.what));
    if (p->retryable)
        json_object_set_new(event, "retryable", json_true());
    json_object_set_new(event, "time", time_json());
    json_object_set_new(event, "duration_ns", json_count(p->wall_ns));
    if (p->has_figures)
        json_object_set_new(event, "worker_figures", figures_json(&p->done));
    if (p->log_lines > RUN_LOG_EVENTS_MAX)
        json_object_set_new(event, "log_lines", json_count(p->log_lines));
    if (receipt_dropped(r->receipt) != 0)
        json_object_set_new(event, "events_dropped", json_count(receipt_dropped(r->receipt)));
    return receipt_put_closing(r->receipt, "run.finished", event, e);
}
