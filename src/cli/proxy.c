/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit proxy`: flags become grants and a listener, control serves (control/proxy.h). What a person wants to know goes
 * to standard error: where it listens, how clients get there, what was denied, what died and came back. Standard output
 * belongs to the access log when it is "-".
 *
 * A reload walks the same command line again, so that grant files are read again and flags mean what they meant.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/front_flags.h"
#include "cli/grant_flags.h"
#include "cli/summary.h"
#include "control/proxy.h"

#define OUTPUT_MAX (64u << 20)

struct proxy_command {
    struct cli cli;
    struct proxy_request request;
    struct grant_flags flags;
    const char *learn;
    bool quiet;
    int argc;
    char **argv;
};

static void proxy_command_done(struct proxy_command *c)
{
    grant_flags_done(&c->flags);
}

/* ---- flags ---- */

static int take_own_flag(struct proxy_command *c, struct error *e)
{
    struct proxy_request *q = &c->request;
    switch (c->cli.flag->id) {
    case RUN_FLAG_LEARN:
        c->learn = c->cli.value;
        return run_learn_check(c->learn, e);
    case PROXY_FLAG_ENV:
        q->env_file = c->cli.value;
        return 0;
    case PROXY_FLAG_CA_OUT:
        q->ca_out = c->cli.value;
        return 0;
    case PROXY_FLAG_FRONTS:
        return cli_take_number(&c->cli, 1, PROXY_FRONTS_MAX, &q->fronts, e);
    default:
        return error_set(e, -EINVAL, "--%s is not understood", c->cli.flag->name);
    }
}

static int take_flag(struct proxy_command *c, struct error *e)
{
    int r = grant_flags_take(&c->flags, &c->cli, e);
    if (r > 0)
        r = cli_take_run_flag(&c->cli, &c->request.run, &c->quiet, e);
    if (r > 0)
        r = cli_take_front_flag(&c->cli, &c->request.front, e);
    return r > 0 ? take_own_flag(c, e) : r;
}

/* CLI_OK, CLI_HELP's answer −1, or an exit code after an error was printed. */
static int read_command_line(struct proxy_command *c)
{
    struct error e = ERROR_INIT;
    int item;
    while ((item = cli_next(&c->cli, c->argc, c->argv, &e)) == CLI_FLAG) {
        if (take_flag(c, &e) != 0)
            return grant_flags_fail(&c->cli, &e);
    }
    if (item == CLI_HELP)
        return -1;
    if (item == CLI_WORD) {
        error_set(&e, -EINVAL, "\"%s\" is one word too many", c->cli.value);
        error_hint(&e, "a proxy starts no command: source its settings, then start yours");
        return cli_usage(&c->cli, &e);
    }
    if (item < 0)
        return cli_usage(&c->cli, &e);
    if (cli_check_front(&c->request.front, "127.0.0.1:3128", &e) < 0)
        return cli_usage(&c->cli, &e);
    if (grant_flags_finish(&c->flags, &e) < 0)
        return cli_fail(&c->cli, CLI_GRANT, &e, "this grant cannot be given");
    return CLI_OK;
}

/* ---- a reload ---- */

static int on_reload(void *context, struct grant_set **ret, struct error *e)
{
    struct proxy_command *c = context;
    struct cli again = { .verb = c->cli.verb };
    CLEANUP(grant_flags_done) struct grant_flags flags = { 0 };
    int r = grant_flags_init(&flags, e), item = CLI_END;
    flags.again = true;
    while (r >= 0 && (item = cli_next(&again, c->argc, c->argv, e)) == CLI_FLAG)
        r = grant_flags_take(&flags, &again, e);
    if (r >= 0 && item < 0)
        r = item;
    if (r >= 0)
        r = grant_flags_finish(&flags, e);
    if (r < 0)
        return r;
    *ret = TAKE(flags.set);
    return 0;
}

/* ---- telling ---- */

static void tell_json(struct proxy_command *c, json_t *taken)
{
    CLEANUP(json_freep) json_t *line = taken;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
    if (line == NULL || json_line(line, &text) < 0)
        return;
    buf_putc(&text, '\n');
    cli_say(&text, &c->quiet);
}

static void on_listening(void *context, const char *url, const char *env, const char *ca,
                         const char *metrics)
{
    struct proxy_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(32768);
    if (c->cli.json) {
        json_t *line = json_object();
        json_object_set_new(line, "listening", json_string(url));
        json_object_set_new(line, "env_file", json_string_of(env));
        json_object_set_new(line, "ca_file", json_string_of(ca));
        if (metrics[0] != '\0')
            json_object_set_new(line, "metrics", json_string(metrics));
        json_object_set_new(line, "pid", json_integer(getpid()));
        tell_json(c, line);
        return;
    }
    if (c->quiet)
        return;
    buf_printf(&text, "ambit: proxy on %s\n  settings  . ", url);
    cli_escaped(&text, env);
    buf_puts(&text, "\n  CA        ");
    cli_escaped(&text, ca);
    if (metrics[0] != '\0')
        buf_printf(&text, "\n  metrics   %s", metrics);
    buf_puts(&text,
             "\n  note      a proxy variable is advice, not a wall: a client that ignores it "
             "goes where its network leads.\n"
             "            It is a wall where the client has no other network (a container, a "
             "network namespace).\n");
    cli_say(&text, &c->quiet);
}

static void on_notice(void *context, const char *notice)
{
    struct proxy_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(16384);
    if (c->cli.json) {
        tell_json(c, json_pack("{s:o}", "notice", json_string_of(notice)));
        return;
    }
    if (c->quiet)
        return;
    buf_puts(&text, "ambit: ");
    cli_escaped(&text, notice);
    buf_putc(&text, '\n');
    cli_say(&text, &c->quiet);
}

static void on_denied(void *context, const char *method, const char *url, const char *why,
                      const char *grant)
{
    struct proxy_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
    if (c->cli.json) {
        json_t *denied = json_object();
        json_object_set_new(denied, "method", json_string_of(method));
        json_object_set_new(denied, "url", json_string_of(url));
        json_object_set_new(denied, "why", json_string_of(why));
        json_object_set_new(denied, "grant", json_string_of(grant));
        tell_json(c, json_pack("{s:o}", "denied", denied));
        return;
    }
    if (c->quiet)
        return;
    buf_puts(&text, "denied ");
    cli_escaped(&text, method);
    buf_putc(&text, ' ');
    cli_escaped(&text, url);
    buf_puts(&text, ": ");
    cli_escaped(&text, why);
    buf_puts(&text, grant[0] != '\0' ? "; grant:\n" : "; no grant helps\n");
    if (grant[0] != '\0')
        cli_put_grant(&text, "    ", grant);
    if (text.size > 0 && text.data[text.size - 1] != '\n')
        buf_putc(&text, '\n');
    cli_say(&text, &c->quiet);
}

static void on_reloaded(void *context, const struct proxy_reloaded *r)
{
    struct proxy_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    if (c->cli.json) {
        json_t *counts = json_pack("{s:I,s:I,s:I}", "kept", (json_int_t)r->kept, "added",
                                   (json_int_t)r->added, "revoked", (json_int_t)r->revoked);
        tell_json(c, json_pack("{s:o}", "reloaded", counts));
        return;
    }
    if (c->quiet)
        return;
    buf_printf(&text, "ambit: reloaded: %zu grant%s kept, %zu added, %zu revoked%s\n", r->kept,
               r->kept == 1 ? "" : "s", r->added, r->revoked,
               r->kept + r->added == 0 ? "; everything is denied" : "");
    cli_say(&text, &c->quiet);
}

static void on_not_reloaded(void *context, const struct error *why)
{
    struct proxy_command *c = context;
    struct cli people = c->cli;
    if (c->cli.json) {
        json_t *line = json_object();
        json_object_set_new(line, "why", json_string_of(why->what));
        json_object_set_new(line, "hint", json_string_of(why->hint));
        tell_json(c, json_pack("{s:o}", "not_reloaded", line));
        return;
    }
    (void)cli_fail(&people, CLI_GRANT, why, "not reloaded, nothing has changed");
}

static const char *failure_title(const struct run_report *p)
{
    switch (p->outcome) {
    case RUN_BAD_GRANT:
        return "this proxy cannot be started";
    case RUN_INTERRUPTED:
        return "the proxy was cut short";
    default:
        return "the proxy failed";
    }
}

static unsigned long long big(uint64_t n)
{
    return n;
}

static void put_totals(struct buf *out, const struct proxy_totals *t)
{
    char denied[64];
    (void)snprintf(denied, sizeof denied, "%llu denied, ", big(t->denials));
    cli_put_front_totals(out, "", &t->front, denied);
    if (t->front.restarts + t->egress_restarts + t->keeper_restarts > 0)
        buf_printf(out, "ambit: started again: %llu front, %llu egress, %llu keeper\n",
                   big(t->front.restarts), big(t->egress_restarts), big(t->keeper_restarts));
}

static int tell(struct proxy_command *c, const struct run_report *p, const struct proxy_totals *t)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_MAX);
    struct cli people = c->cli;
    people.json = false; /* the result below has the error too */
    if (p->outcome != RUN_EXITED)
        (void)cli_fail(&people, (enum cli_exit)p->exit_code, &p->error, "%s", failure_title(p));
    if (c->cli.json) {
        if (summary_put_json(&text, p) < 0)
            return cli_fail(&people, CLI_INTERNAL, NULL, "no memory for the result");
        buf_putc(&text, '\n');
    } else if (!c->quiet && p->outcome == RUN_EXITED) {
        put_totals(&text, t);
        buf_printf(&text, "ambit: receipt: ambit runs show %s\n", p->id);
    }
    if (text.size > 0)
        cli_say(&text, &c->quiet);
    return p->exit_code;
}

static int learn(struct proxy_command *c, const struct run_report *p, int code)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(16384);
    struct error e = ERROR_INIT;
    size_t count = 0;
    if (c->learn == NULL || p->id[0] == '\0')
        return code;
    if (run_learn(c->learn, p, &count, &e) < 0)
        return cli_fail(&c->cli, CLI_INTERNAL, &e, "the learned grants could not be written");
    if (c->quiet || c->cli.json)
        return code;
    buf_printf(&text, "ambit: learned %zu grant%s%s", count, count == 1 ? "" : "s",
               count == 0 ? "; no file was written\n" : ": read ");
    if (count > 0) {
        cli_escaped(&text, c->learn);
        buf_puts(&text, ", then ambit proxy -g it\n");
    }
    cli_say(&text, &c->quiet);
    return code;
}

int cli_proxy(int argc, char **argv)
{
    CLEANUP(proxy_command_done)
    struct proxy_command c = {
        .cli = { .verb = help_verb_find("proxy"), .json_to_stderr = true },
        .request = { .run = { .file = "ambit proxy" },
                     .front = { .connections = PROXY_CONNECTIONS_DEFAULT,
                                .client_timeout_ns = PROXY_CLIENT_TIMEOUT_DEFAULT,
                                .idle_timeout_ns = PROXY_IDLE_DEFAULT,
                                .drain_ns = PROXY_DRAIN_DEFAULT },
                     .reload = on_reload },
        .argc = argc,
        .argv = argv,
    };
    struct run_report report;
    struct proxy_totals totals;
    struct error e = ERROR_INIT;

    if (grant_flags_init(&c.flags, &e) < 0)
        return cli_fail(&c.cli, CLI_INTERNAL, &e, "no proxy was started");
    int code = read_command_line(&c);
    if (code != CLI_OK)
        return code < 0 ? CLI_OK : code;
    c.request.run.grants = c.flags.set;
    c.request.run.vault_key = c.flags.vault_key;
#ifdef AMBIT_TEST_HOOKS
    if (cli_test_skip(&c.request.run.test_skip, &c.request.run.egress_skip, &e) < 0 ||
        cli_ingress_skip(&c.request.front.ingress_skip, &e) < 0)
        return cli_usage(&c.cli, &e);
#endif
    const struct proxy_observer observer = { .context = &c,
                                             .listening = on_listening,
                                             .notice = on_notice,
                                             .denied = on_denied,
                                             .reloaded = on_reloaded,
                                             .not_reloaded = on_not_reloaded };
    proxy_serve(&c.request, &observer, &report, &totals);
    code = tell(&c, &report, &totals);
    code = learn(&c, &report, code);
    run_report_done(&report);
    return code;
}
