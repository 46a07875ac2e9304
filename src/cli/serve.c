/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit serve`: flags become grants, limits and listeners, control serves (control/serve.h). What a
 * person wants to know goes to standard error: where it listens, what died and came back, and at the
 * end what was denied. Standard output belongs to guests, and to the access log when it is "-".
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/front_flags.h"
#include "cli/grant_flags.h"
#include "cli/summary.h"
#include "control/serve.h"
#include "control/target.h"

#define OUTPUT_MAX (64u << 20)

struct serve_command {
    struct cli cli;
    struct serve_request request;
    struct grant_flags flags;
    bool quiet;
};

static void serve_command_done(struct serve_command *c)
{
    grant_flags_done(&c->flags);
}

/* ---- flags ---- */

static int take_own_flag(struct serve_command *c, struct error *e)
{
    struct serve_request *q = &c->request;
    switch (c->cli.flag->id) {
    case RUN_FLAG_BARE:
        q->run.bare = true;
        return 0;
    case SERVE_FLAG_TLS_CERT:
        q->tls_certificate = c->cli.value;
        return 0;
    case SERVE_FLAG_TLS_KEY:
        q->tls_key = c->cli.value;
        return 0;
    case SERVE_FLAG_WORKERS:
        return cli_take_number(&c->cli, 1, INGRESS_PAIRS_MAX, &q->pairs, e);
    case SERVE_FLAG_CONCURRENCY:
        return cli_take_number(&c->cli, 1, RUN_CONCURRENCY_MAX, &q->concurrency, e);
    case SERVE_FLAG_QUEUE:
        return cli_take_number(&c->cli, 0, INGRESS_QUEUE_MAX, &q->queue, e);
    default:
        return error_set(e, -EINVAL, "--%s is not understood", c->cli.flag->name);
    }
}

static int take_flag(struct serve_command *c, struct error *e)
{
    int r = grant_flags_take(&c->flags, &c->cli, e);
    if (r > 0)
        r = cli_take_run_flag(&c->cli, &c->request.run, &c->quiet, e);
    if (r > 0)
        r = cli_take_front_flag(&c->cli, &c->request.front, e);
    return r > 0 ? take_own_flag(c, e) : r;
}

/* CLI_OK, CLI_HELP's answer −1, or an exit code after an error was printed. */
static int read_command_line(struct serve_command *c, int argc, char **argv)
{
    struct error e = ERROR_INIT;
    int item;
    while ((item = cli_next(&c->cli, argc, argv, &e)) == CLI_FLAG || item == CLI_WORD) {
        if (item == CLI_WORD && c->request.run.file == NULL) {
            c->request.run.file = c->cli.value;
        } else if (item == CLI_WORD) {
            error_set(&e, -EINVAL, "\"%s\" is one word too many", c->cli.value);
            error_hint(&e, "flags stand before FILE; a served component has no arguments");
            return cli_usage(&c->cli, &e);
        } else if (take_flag(c, &e) != 0) {
            return grant_flags_fail(&c->cli, &e);
        }
    }
    if (item == CLI_HELP)
        return -1;
    if (item < 0)
        return cli_usage(&c->cli, &e);
    if (c->request.run.file == NULL) {
        error_set(&e, -EINVAL, "FILE is missing");
        error_hint(&e, "ambit serve [flags] --listen 127.0.0.1:8080 FILE; ambit help serve");
        return cli_usage(&c->cli, &e);
    }
    if (cli_check_front(&c->request.front, "127.0.0.1:8080", &e) < 0)
        return cli_usage(&c->cli, &e);
    if (grant_flags_finish(&c->flags, &e) < 0)
        return cli_fail(&c->cli, CLI_GRANT, &e, "this grant cannot be given");
    c->request.run.vault_key = c->flags.vault_key;
    return CLI_OK;
}

/* ---- telling ---- */

static void on_listening(void *context, const char *url, const char *metrics, uint32_t pairs)
{
    struct serve_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(8192);
    if (c->cli.json) {
        CLEANUP(json_freep) json_t *line = json_object();
        json_object_set_new(line, "listening", json_string(url));
        if (metrics[0] != '\0')
            json_object_set_new(line, "metrics", json_string(metrics));
        json_object_set_new(line, "workers", json_integer(pairs));
        if (json_line(line, &text) < 0)
            return;
        buf_putc(&text, '\n');
        cli_say(&text, &c->quiet);
        return;
    }
    if (c->quiet)
        return;
    buf_printf(&text, "ambit: listening on %s, %u worker%s\n", url, pairs, pairs == 1 ? "" : "s");
    if (metrics[0] != '\0')
        buf_printf(&text, "ambit: metrics on %s\n", metrics);
    cli_say(&text, &c->quiet);
}

static void on_notice(void *context, const char *notice)
{
    struct serve_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(16384);
    if (c->quiet)
        return;
    buf_puts(&text, "ambit: ");
    cli_escaped(&text, notice);
    buf_putc(&text, '\n');
    cli_say(&text, &c->quiet);
}

static void on_log(void *context, enum log_level level, const char *topic, const char *message)
{
    struct serve_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
    cli_put_log(&text, level, topic, message);
    cli_say(&text, &c->quiet);
}

static const char *failure_title(const struct run_report *p)
{
    switch (p->outcome) {
    case RUN_BAD_FILE:
        return "Ambit does not serve this file";
    case RUN_BAD_GRANT:
        return "this cannot be served so";
    case RUN_DENIED:
        return "the guest needs what no grant backs";
    case RUN_INTERRUPTED:
        return "serving was cut short";
    default:
        return "serving failed";
    }
}

static void put_totals(struct buf *out, const struct serve_totals *t)
{
    cli_put_front_totals(out, "served ", &t->front, "");
    uint64_t restarts = t->front.restarts + t->worker_restarts + t->egress_restarts;
    if (restarts > 0)
        buf_printf(out, "ambit: started again: %llu ingress, %llu worker, %llu egress\n",
                   (unsigned long long)t->front.restarts, (unsigned long long)t->worker_restarts,
                   (unsigned long long)t->egress_restarts);
}

static int tell(struct serve_command *c, const struct run_report *p, const struct serve_totals *t)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_MAX);
    struct cli people = c->cli;
    people.json = false; /* the result below has the error too */
    if (p->outcome != RUN_EXITED)
        (void)cli_fail(&people, (enum cli_exit)p->exit_code, &p->error, "%s: %s", failure_title(p),
                       c->request.run.file);
    if (c->cli.json) {
        if (summary_put_json(&text, p) < 0)
            return cli_fail(&people, CLI_INTERNAL, NULL, "no memory for the result");
        buf_putc(&text, '\n');
    } else if (!c->quiet && p->id[0] != '\0' && p->outcome != RUN_BAD_FILE) {
        put_totals(&text, t);
        if (p->has_figures)
            summary_put(&text, &c->request.run, p, cli_colour(STDERR_FILENO));
    }
    if (text.size > 0)
        cli_say(&text, &c->quiet);
    return p->exit_code;
}

int cli_serve(int argc, char **argv)
{
    CLEANUP(serve_command_done)
    struct serve_command c = { .cli = { .verb = help_verb_find("serve"), .json_to_stderr = true },
                               .request = {
                                   .front = { .connections = SERVE_CONNECTIONS_DEFAULT,
                                              .client_timeout_ns = SERVE_CLIENT_TIMEOUT_DEFAULT,
                                              .idle_timeout_ns = SERVE_IDLE_DEFAULT,
                                              .drain_ns = SERVE_DRAIN_DEFAULT },
                                   .concurrency = SERVE_CONCURRENCY_DEFAULT,
                                   .queue = SERVE_QUEUE_DEFAULT } };
    struct run_report report;
    struct serve_totals totals;
    struct error e = ERROR_INIT;

    if (grant_flags_init(&c.flags, &e) < 0)
        return cli_fail(&c.cli, CLI_INTERNAL, &e, "nothing was served");
    int code = read_command_line(&c, argc, argv);
    if (code != CLI_OK)
        return code < 0 ? CLI_OK : code;
    c.request.run.grants = c.flags.set;
    for (int i = TARGET_PYTHON; i < TARGET_LANGUAGE_COUNT; i++)
        c.request.run.components[i] = getenv(target_languages[i].variable);
#ifdef AMBIT_TEST_HOOKS
    if (cli_test_skip(&c.request.run.test_skip, &c.request.run.egress_skip, &e) < 0 ||
        cli_ingress_skip(&c.request.front.ingress_skip, &e) < 0)
        return cli_usage(&c.cli, &e);
#endif
    const struct serve_observer observer = { .run = { .context = &c, .log = on_log },
                                             .listening = on_listening,
                                             .notice = on_notice };
    serve_execute(&c.request, &observer, &report, &totals);
    code = tell(&c, &report, &totals);
    run_report_done(&report);
    return code;
}
