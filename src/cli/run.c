/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit run`: flags become grants and limits, control runs it (control/run.h), and what happened
 * is told on standard error. Standard output belongs to the guest (and to the results of --invoke).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/ask.h"
#include "cli/grant_flags.h"
#include "cli/summary.h"
#include "control/run.h"
#include "room/spawn.h"
#include "wire/egress.h"

#define OUTPUT_MAX (64u << 20)
#define PROGRESS_AFTER_NS NS_PER_S

struct run_command {
    struct cli cli;
    struct run_request request;
    struct grant_flags flags;
    const char *learn;
    struct ask ask;
    bool quiet;
    bool progress_shown;
};

static void run_command_done(struct run_command *c)
{
    grant_flags_done(&c->flags);
    ask_close(&c->ask);
}

static int flag_tmp(struct run_command *c, struct error *e)
{
    uint64_t bytes;
    if (strcmp(c->cli.value, "none") != 0 && text_parse_size(c->cli.value, &bytes, e) < 0) {
        error_prefix(e, "--tmp");
        return -EINVAL;
    }
    c->request.tmp = c->cli.value;
    return 0;
}

static int flag_cwd(struct run_command *c, struct error *e)
{
    if (c->cli.value[0] != '/') {
        error_set(e, -EINVAL, "--cwd %s is not an absolute path of the guest's world",
                  c->cli.value);
        error_hint(e, "--cwd /work/%s", c->cli.value);
        return -EINVAL;
    }
    c->request.cwd = c->cli.value;
    return 0;
}

/* 0; -EINVAL a usage error; other faults are those of a grant. */
static int take_flag(struct run_command *c, struct error *e)
{
    int r = grant_flags_take(&c->flags, &c->cli, e);
    if (r > 0)
        r = cli_take_run_flag(&c->cli, &c->request, &c->quiet, e);
    if (r <= 0)
        return r;
    switch ((enum help_run_flag)c->cli.flag->id) {
    case RUN_FLAG_BARE:
        c->request.bare = true;
        return 0;
    case RUN_FLAG_TMP:
        return flag_tmp(c, e);
    case RUN_FLAG_CWD:
        return flag_cwd(c, e);
    case RUN_FLAG_INVOKE:
        c->request.invoke = c->cli.value;
        return 0;
    case RUN_FLAG_LEARN:
        c->learn = c->cli.value;
        return run_learn_check(c->learn, e);
    case RUN_FLAG_ASK:
        c->request.ask = true;
        return c->ask.terminal < 0 ? ask_open(&c->ask, e) : 0;
    default:
        break;
    }
    return error_set(e, -EINVAL, "--%s is not understood", c->cli.flag->name);
}

/* Flags of the design whose classes do not exist yet: named as such, not as typing errors. */
static void explain_later(const char *word, struct error *e)
{
    static const char *const later[] = { "--session", "--base" };
    for (size_t i = 0; i < ARRAY_SIZE(later); i++) {
        size_t size = strlen(later[i]);
        if (strncmp(word, later[i], size) == 0 && (word[size] == '\0' || word[size] == '=')) {
            error_clear(e);
            error_set(e, -EINVAL, "%s is not there yet in this version: nothing would enforce it",
                      later[i]);
            error_hint(e, "what works now: ambit help run");
        }
    }
}

/* CLI_OK and the request is whole, CLI_HELP's answer −1, or an exit code after an error was
 * printed. */
static int read_command_line(struct run_command *c, int argc, char **argv)
{
    struct error e = ERROR_INIT;
    int item;

    while ((item = cli_next(&c->cli, argc, argv, &e)) == CLI_FLAG) {
        if (take_flag(c, &e) == 0)
            continue;
        return grant_flags_fail(&c->cli, &e);
    }
    if (item == CLI_HELP)
        return -1;
    if (item < 0) {
        explain_later(argv[c->cli.at - 1], &e);
        return cli_usage(&c->cli, &e);
    }
    if (item == CLI_END) {
        error_set(&e, -EINVAL, "FILE is missing");
        error_hint(&e, "ambit run [flags] FILE [args…]; ambit help run");
        return cli_usage(&c->cli, &e);
    }
    if (grant_flags_finish(&c->flags, &e) < 0)
        return cli_fail(&c->cli, CLI_GRANT, &e, "this grant cannot be given");
    c->request.vault_key = c->flags.vault_key;
    c->request.file = c->cli.value;
    c->request.args = argv + c->cli.at;
    c->request.arg_count = (size_t)(argc - c->cli.at);
    return CLI_OK;
}

/* ---- telling ---- */

static int to_stderr(struct buf *text)
{
    return buf_status(text) < 0 ? -ENOMEM
                                : file_write_fd(STDERR_FILENO, text->data, text->size, NULL);
}

static void on_progress(void *context, const char *stage, uint64_t elapsed_ns)
{
    struct run_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    if (c->quiet || elapsed_ns < PROGRESS_AFTER_NS || !isatty(STDERR_FILENO))
        return;
    c->progress_shown = true;
    buf_puts(&text, "\r\033[Kambit: ");
    cli_escaped(&text, stage);
    buf_puts(&text, " (once) … ");
    text_put_duration_human(&text, elapsed_ns - elapsed_ns % NS_PER_S);
    if (to_stderr(&text) < 0)
        c->quiet = true;
}

static void clear_progress(struct run_command *c)
{
    if (c->progress_shown && file_write_fd(STDERR_FILENO, "\r\033[K", 4, NULL) < 0)
        c->quiet = true;
    c->progress_shown = false;
}

static void on_log(void *context, enum log_level level, const char *topic, const char *message)
{
    struct run_command *c = context;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);

    clear_progress(c);
    cli_put_log(&text, level, topic, message);
    if (to_stderr(&text) < 0)
        c->quiet = true;
}

static enum run_answer on_ask(void *context, const struct run_denial *d, int interrupt_fd)
{
    struct run_command *c = context;
    clear_progress(c);
    return ask_person(&c->ask, d, interrupt_fd);
}

static void on_denied(void *context, const struct run_denial *d)
{
    struct run_command *c = context;
    if (c->request.ask)
        ask_tell_denied(&c->ask, d);
}

static void put_values(const struct run_report *p)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_MAX);
    struct text_filter filter = { 0 };
    if (p->done.values == NULL || p->done.values[0] == '\0')
        return;
    text_filter(&filter, &text, p->done.values, strlen(p->done.values), false);
    text_filter_flush(&filter, &text);
    buf_putc(&text, '\n');
    (void)cli_put(&text);
}

static const char *failure_title(const struct run_report *p)
{
    switch (p->outcome) {
    case RUN_BAD_FILE:
        return "Ambit does not run this file";
    case RUN_BAD_GRANT:
        return "these grants cannot be given";
    case RUN_DENIED:
        return p->has_figures ? "the guest ended after something was denied"
                              : "the guest needs what no grant backs";
    case RUN_TIME_LIMIT:
        return "the guest was ended by a time limit";
    case RUN_OTHER_LIMIT:
        return "the guest was ended by a limit";
    case RUN_TRAPPED:
        return "the guest trapped";
    case RUN_INTERRUPTED:
        return "the guest was interrupted";
    case RUN_EXITED:
    case RUN_FAILED:
    case RUN_OUTCOME_COUNT:
        break;
    }
    return "the run failed";
}

static int tell(struct run_command *c, const struct run_report *p)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_MAX);
    struct cli people = c->cli;

    clear_progress(c);
    put_values(p);
    people.json = false; /* the result below has the error too */
    if (p->outcome != RUN_EXITED)
        (void)cli_fail(&people, p->exit_code, &p->error, "%s: %s", failure_title(p),
                       c->request.file);
    if (c->cli.json) {
        if (summary_put_json(&text, p) < 0)
            return cli_fail(&people, CLI_INTERNAL, NULL, "no memory for the result");
        buf_putc(&text, '\n');
    } else if (!c->quiet && p->has_figures) {
        summary_put(&text, &c->request, p, cli_colour(STDERR_FILENO));
    }
    return text.size == 0 || to_stderr(&text) == 0 || p->exit_code != 0 ? p->exit_code : CLI_OK;
}

static int learn(struct run_command *c, const struct run_report *p, int code)
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
    buf_puts(&text, "  learned ");
    if (count == 0) {
        buf_puts(&text, "nothing: no denial that a grant could allow; no file was written\n");
    } else {
        buf_printf(&text, "%zu grant%s: read ", count, count == 1 ? "" : "s");
        cli_escaped(&text, c->learn);
        buf_puts(&text, ", then ambit run -g ");
        cli_escaped(&text, c->learn);
        buf_puts(&text, " …\n");
    }
    if (to_stderr(&text) < 0)
        c->quiet = true;
    return code;
}

#ifdef AMBIT_TEST_HOOKS
/* Test builds only: the defences that a negative control leaves open, by name,
 * separated by commas. */
int cli_test_skip(uint32_t *ret, uint32_t *ret_egress, struct error *e)
{
    static const struct {
        const char *name;
        uint32_t bit;
        bool egress; /* a bit of enum egress_skip */
    } defences[] = {
        { "memory", RUN_SKIP_MEMORY },
        { "cpu", RUN_SKIP_CPU },
        { "wall", RUN_SKIP_WALL },
        { "handles", RUN_SKIP_HANDLES },
        { "output", RUN_SKIP_OUTPUT },
        { "hostcalls", RUN_SKIP_HOSTCALLS },
        { "hostcall-bytes", RUN_SKIP_HOSTCALL_BYTES },
        { "expiry", RUN_SKIP_EXPIRY },
        { "stop", RUN_SKIP_STOP },
        { "fs-decision", RUN_SKIP_FS_DECISION },
        { "log-bounds", RUN_SKIP_LOG_BOUNDS },
        { "stdio-decision", RUN_SKIP_STDIO_DECISION },
        { "fs-walk", RUN_SKIP_FS_WALK },
        { "fs-kind", RUN_SKIP_FS_KIND },
        { "probe", RUN_PROBE },
        { "egress-decision", EGRESS_SKIP_DECISION, true },
        { "egress-address", EGRESS_SKIP_ADDRESS | EGRESS_SKIP_PIN, true },
        { "egress-tls", EGRESS_SKIP_TLS, true },
        { "egress-strict", EGRESS_SKIP_STRICT, true },
        { "egress-sizes", EGRESS_SKIP_SIZES, true },
        { "egress-counters", EGRESS_SKIP_COUNTERS | EGRESS_SKIP_TOLD, true },
        { "egress-timeouts", EGRESS_SKIP_TIMEOUTS, true },
        { "egress-told", EGRESS_SKIP_TOLD, true },
        { "egress-soon", EGRESS_SOON, true },
    };
    const char *at = getenv("AMBIT_TEST_JAIL_SKIP");
    while (at != NULL && *at != '\0') {
        size_t length = strcspn(at, ","), i = 0;
        uint32_t bits;
        CLEANUP(mem_freep) char *name = mem_strndup(at, length);
        while (name != NULL && i < ARRAY_SIZE(defences) && strcmp(defences[i].name, name) != 0)
            i++;
        if (name != NULL && i < ARRAY_SIZE(defences))
            *(defences[i].egress ? ret_egress : ret) |= defences[i].bit;
        else if (name != NULL && jail_layer_parse(name, &bits) == 0)
            *ret |= bits;
        else
            return error_set(e, -EINVAL, "AMBIT_TEST_JAIL_SKIP: there is no defence \"%.*s\"",
                             (int)length, at);
        at += length + (at[length] == ',');
    }
    room_spawn_skip(*ret & JAIL_NAMESPACES);
    return 0;
}
#endif

int cli_run(int argc, char **argv)
{
    CLEANUP(run_command_done)
    struct run_command c = { .cli = { .verb = help_verb_find("run"), .json_to_stderr = true },
                             .ask = { .terminal = -1 } };
    struct run_report report;
    struct error e = ERROR_INIT;

    if (grant_flags_init(&c.flags, &e) < 0)
        return cli_fail(&c.cli, CLI_INTERNAL, &e, "nothing was run");
    int code = read_command_line(&c, argc, argv);
    if (code != CLI_OK)
        return code < 0 ? CLI_OK : code;
    c.request.grants = c.flags.set;
    for (int i = TARGET_PYTHON; i < TARGET_LANGUAGE_COUNT; i++)
        c.request.components[i] = getenv(target_languages[i].variable);
#ifdef AMBIT_TEST_HOOKS
    if (cli_test_skip(&c.request.test_skip, &c.request.egress_skip, &e) < 0)
        return cli_usage(&c.cli, &e);
#endif
    const struct run_observer observer = { &c, on_progress, on_log, on_ask, on_denied };
    run_execute(&c.request, &observer, &report);
    code = tell(&c, &report);
    code = learn(&c, &report, code);
    run_report_done(&report);
    return code;
}
