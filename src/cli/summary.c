/* SPDX-License-Identifier: Apache-2.0 */
/* See summary.h. */
#include "cli/summary.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "room/spawn.h"

#define NOTE "\033[2m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

static void put_style(struct buf *out, bool colour, const char *style)
{
    if (colour)
        buf_puts(out, style);
}

static void put_outcome(struct buf *out, const struct run_report *p)
{
    if (p->outcome == RUN_EXITED)
        buf_printf(out, "exit code %d", p->exit_code);
    else
        buf_printf(out, "%s (exit code %d)", run_outcome_name(p->outcome), p->exit_code);
}

static void put_figures(struct buf *out, const struct run_report *p)
{
    buf_puts(out, " · ");
    text_put_duration_human(out, p->wall_ns);
    if (!p->has_figures)
        return;
    buf_puts(out, " · CPU ");
    text_put_duration_human(out, p->done.cpu_ns);
    buf_puts(out, " · memory ");
    text_put_size_human(out, p->done.memory_peak_bytes);
    buf_printf(out, " · %llu host call%s", (unsigned long long)p->done.hostcalls,
               p->done.hostcalls == 1 ? "" : "s");
}

static void put_origin(struct buf *out, const struct grant *g)
{
    buf_puts(out, g->http.https ? "https://" : "http://");
    buf_puts(out, g->http.wildcard ? "*." : "");
    cli_escaped(out, g->http.host);
    if (g->http.port != (g->http.https ? 443 : 80))
        buf_printf(out, ":%u", g->http.port);
}

static void put_uses(struct buf *out, const struct run_request *q, const struct run_report *p)
{
    bool first = true;
    for (size_t i = 0; i < p->done.use_count && i < q->grants->count; i++) {
        const struct run_use *u = &p->done.uses[i];
        const struct grant *g = &q->grants->grants[i];
        if (u->count == 0 || (g->class != GRANT_FS && g->class != GRANT_HTTP))
            continue;
        buf_puts(out, first ? "\n  used " : ", ");
        if (g->class == GRANT_HTTP)
            put_origin(out, g);
        else
            cli_escaped(out, g->fs.guest);
        buf_printf(out, " %llu×", (unsigned long long)u->count);
        if (u->bytes_read != 0) {
            buf_puts(out, " ");
            text_put_size_human(out, u->bytes_read);
            buf_puts(out, " read");
        }
        if (u->bytes_written != 0) {
            buf_puts(out, " ");
            text_put_size_human(out, u->bytes_written);
            buf_puts(out, " written");
        }
        first = false;
    }
}

static void put_secrets(struct buf *out, const struct run_report *p)
{
    bool first = true;
    for (size_t i = 0; i < p->secret_count; i++) {
        if (p->secrets[i].count == 0)
            continue;
        buf_puts(out, first ? "\n  secrets used: " : ", ");
        cli_escaped(out, p->secrets[i].name);
        buf_printf(out, " %llu×", (unsigned long long)p->secrets[i].count);
        first = false;
    }
    for (size_t i = 0; i < p->secret_count; i++) {
        if (p->secrets[i].refused == 0)
            continue;
        buf_puts(out, "\n  not released: ");
        cli_escaped(out, p->secrets[i].name);
        buf_printf(out, " %llu×: ", (unsigned long long)p->secrets[i].refused);
        cli_escaped(out, p->secrets[i].why);
    }
}

static void put_denial(struct buf *out, const struct run_request *q, const struct run_denied *d,
                       bool colour)
{
    const struct run_denial *n = &d->denial;
    buf_puts(out, "  ");
    put_style(out, colour, BOLD);
    cli_escaped(out, n->operation);
    buf_putc(out, ' ');
    cli_escaped(out, n->resource);
    put_style(out, colour, PLAIN);
    if (d->count > 1)
        buf_printf(out, " (%llu×)", (unsigned long long)d->count);
    buf_printf(out, ": %s", grant_reason_text((enum grant_reason)n->reason));
    if (n->rule < q->grants->count && q->grants->grants[n->rule].origin != NULL) {
        buf_puts(out, "; nearest: ");
        cli_escaped(out, q->grants->grants[n->rule].origin);
    }
    buf_putc(out, '\n');
    put_style(out, colour, NOTE);
    cli_put_grant(out, "      ", n->grant_yaml);
    put_style(out, colour, PLAIN);
}

static void put_missing(struct buf *out, uint32_t missing)
{
    if (missing == 0)
        return;
    buf_puts(out, "  without these layers of the jail, as allowed:");
    for (uint32_t i = 0; i < JAIL_LAYER_COUNT; i++)
        if (missing & (1u << i))
            buf_printf(out, " %s", jail_layer_name((enum jail_layer)(1u << i)));
    buf_putc(out, '\n');
}

void summary_put(struct buf *out, const struct run_request *q, const struct run_report *p,
                 bool colour)
{
    size_t shown = MIN(p->denied_count, (size_t)SUMMARY_DENIALS);
    bool grantable = false; /* a full quota, an expired run, a network: no grant helps */

    put_style(out, colour, NOTE);
    buf_puts(out, "ambit: ");
    put_outcome(out, p);
    put_figures(out, p);
    put_uses(out, q, p);
    put_secrets(out, p);
    put_style(out, colour, PLAIN);
    buf_putc(out, '\n');
    put_missing(out, p->missing);
    if (p->denied_count == 0)
        return;
    for (size_t i = 0; i < p->denied_count; i++) {
        const char *yaml = p->denied[i].denial.grant_yaml;
        grantable = grantable || (yaml != NULL && *yaml != '\0');
    }
    buf_printf(out, "  denied %llu, %zu distinct%s:\n",
               (unsigned long long)MAX(p->done.denials, (uint64_t)p->denied_count), p->denied_count,
               grantable ? "; the smallest grant that allows each" : "");
    for (size_t i = 0; i < shown; i++)
        put_denial(out, q, &p->denied[i], colour);
    if (shown < p->denied_count)
        buf_printf(out, "  … and %zu more: ambit runs show %s\n", p->denied_count - shown, p->id);
    if (grantable)
        buf_puts(out, "  to grant: put what you agree with below `grants:` in a file and add "
                      "-g FILE (--learn FILE writes one)\n");
}

/* ---- JSON ---- */

static json_t *denials_json(const struct run_report *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->denied_count; i++) {
        const struct run_denial *n = &p->denied[i].denial;
        json_t *one = json_object();
        json_object_set_new(one, "class",
                            json_string(grant_class_name((enum grant_class)n->class)));
        json_object_set_new(one, "operation", json_string_of(n->operation));
        json_object_set_new(one, "resource", json_string_of(n->resource));
        json_object_set_new(one, "reason",
                            json_string(grant_reason_text((enum grant_reason)n->reason)));
        json_object_set_new(one, "count", json_integer((json_int_t)p->denied[i].count));
        json_object_set_new(one, "smallest_grant", json_string_of(n->grant_yaml));
        json_array_append_new(list, one);
    }
    return list;
}

static void set_figures(json_t *out, const struct run_done *d)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        { "cpu_ns", d->cpu_ns },
        { "memory_peak_bytes", d->memory_peak_bytes },
        { "output_bytes", d->output_bytes },
        { "hostcalls", d->hostcalls },
        { "handles_peak", d->handles_peak },
        { "denials", d->denials },
        { "denials_dropped", d->denials_dropped },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        json_object_set_new(out, rows[i].name, json_integer((json_int_t)rows[i].value));
    if (d->limit != RUN_LIMIT_NONE)
        json_object_set_new(out, "limit", json_string(run_limit_name((enum run_limit)d->limit)));
    if (d->values != NULL && d->values[0] != '\0')
        json_object_set_new(out, "values", json_string_of(d->values));
}

static json_t *secrets_json(const struct run_report *p, bool refused)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->secret_count; i++) {
        const struct run_secret *s = &p->secrets[i];
        uint64_t count = refused ? s->refused : s->count;
        if (count == 0)
            continue;
        json_t *one = json_object();
        json_object_set_new(one, "name", json_string_of(s->name));
        json_object_set_new(one, "count", json_integer((json_int_t)count));
        if (refused)
            json_object_set_new(one, "why", json_string_of(s->why));
        json_array_append_new(list, one);
    }
    return list;
}

int summary_put_json(struct buf *out, const struct run_report *p)
{
    CLEANUP(json_freep) json_t *result = json_object();
    json_t *missing = json_array();

    json_object_set_new(result, "run", json_string_of(p->id));
    json_object_set_new(result, "outcome", json_string(run_outcome_name(p->outcome)));
    json_object_set_new(result, "exit_code", json_integer(p->exit_code));
    if (p->error.what[0] != '\0')
        json_object_set_new(result, "why", json_string_of(p->error.what));
    if (p->error.hint[0] != '\0')
        json_object_set_new(result, "hint", json_string_of(p->error.hint));
    if (p->retryable)
        json_object_set_new(result, "retryable", json_true());
    json_object_set_new(result, "duration_ns", json_integer((json_int_t)p->wall_ns));
    if (p->has_figures)
        set_figures(result, &p->done);
    for (uint32_t i = 0; i < JAIL_LAYER_COUNT; i++)
        if (p->missing & (1u << i))
            json_array_append_new(missing,
                                  json_string(jail_layer_name((enum jail_layer)(1u << i))));
    json_object_set_new(result, "missing_jail_layers", missing);
    json_object_set_new(result, "secrets_used", secrets_json(p, false));
    json_object_set_new(result, "secrets_not_released", secrets_json(p, true));
    json_object_set_new(result, "denied", denials_json(p));
    if (result == NULL)
        return -ENOMEM;
    return json_line(result, out);
}
