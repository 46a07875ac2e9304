/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit runs ls`, `ambit runs show last|ID`: receipts of earlier runs, for people, or as the JSON
 * lines that they are. A receipt holds texts of guests: all are escaped here, and a line that is
 * not JSON is said, not shown.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "control/receipt.h"
#include "control/state.h"

#define RECEIPT_READ_MAX (RECEIPT_MAX + RECEIPT_RESERVE + (1u << 20))

/* Calls `each` for every line of a receipt; a line that is no object is counted. */
static size_t each_event(struct buf *text,
                         void (*each)(void *context, const char *event, const json_t *line),
                         void *context)
{
    size_t bad = 0;
    const char *at = buf_cstr(text);
    while (*at != '\0') {
        size_t length = strcspn(at, "\n");
        json_t *line = json_loadb(at, length, 0, NULL);
        const char *event = json_string_value(json_object_get(line, "event"));
        if (event != NULL)
            each(context, event, line);
        else
            bad++;
        json_decref(line);
        at += length + (at[length] == '\n');
    }
    return bad;
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *value = json_string_value(json_object_get(line, key));
    return value != NULL ? value : "";
}

static uint64_t number_of(const json_t *line, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(line, key));
    return n < 0 ? 0 : (uint64_t)n;
}

/* ---- show ---- */

static void put_field(struct buf *out, const char *name, const char *value)
{
    if (*value == '\0')
        return;
    buf_printf(out, "  %-10s ", name);
    cli_escaped(out, value);
    buf_putc(out, '\n');
}

static void put_started(struct buf *out, const json_t *line)
{
    size_t index;
    json_t *arg;

    buf_puts(out, "run ");
    cli_escaped(out, text_of(line, "id"));
    buf_puts(out, "\n  file       ");
    cli_escaped(out, text_of(line, "file"));
    json_array_foreach(json_object_get(line, "args"), index, arg)
    {
        buf_putc(out, ' ');
        cli_escaped(out, json_string_value(arg));
    }
    buf_putc(out, '\n');
    put_field(out, "started", text_of(line, "time"));
    put_field(out, "in", text_of(line, "work"));
    put_field(out, "invoke", text_of(line, "invoke"));
    buf_puts(out, "  with       ambit ");
    cli_escaped(out, text_of(line, "ambit"));
    buf_puts(out, ", ");
    cli_escaped(out, text_of(line, "engine"));
    buf_putc(out, '\n');
}

static void put_grants(struct buf *out, const json_t *line)
{
    size_t index;
    json_t *rule;

    put_field(out, "grants", text_of(line, "digest"));
    json_array_foreach(json_object_get(line, "rules"), index, rule)
    {
        CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
        CLEANUP(json_freep) json_t *copy = json_copy(rule);
        json_object_del(copy, "rule");
        json_object_del(copy, "origin");
        buf_printf(out, "    [%zu] ", index);
        if (copy != NULL && json_line(copy, &text) == 0 && text.size > 0)
            text_escape(out, text.data, text.size - (text.data[text.size - 1] == '\n'));
        buf_puts(out, "  (");
        cli_escaped(out, text_of(rule, "origin"));
        buf_puts(out, ")\n");
    }
}

static void put_jail(struct buf *out, const json_t *line)
{
    size_t index;
    json_t *layer, *missing = json_object_get(line, "missing");
    if (json_array_size(missing) == 0) {
        put_field(out, "jail", "every layer");
        return;
    }
    buf_puts(out, "  jail       WITHOUT");
    json_array_foreach(missing, index, layer)
    {
        buf_putc(out, ' ');
        cli_escaped(out, json_string_value(layer));
    }
    buf_putc(out, '\n');
}

static void put_denial(struct buf *out, const json_t *line)
{
    buf_printf(out, "  denied [%llu] ", (unsigned long long)number_of(line, "number"));
    cli_escaped(out, text_of(line, "operation"));
    buf_putc(out, ' ');
    cli_escaped(out, text_of(line, "resource"));
    buf_puts(out, ": ");
    cli_escaped(out, text_of(line, "reason"));
    const char *grant = text_of(line, "smallest_grant");
    if (grant == NULL || grant[0] == '\0') {
        buf_puts(out, "; no grant helps\n");
        return;
    }
    buf_puts(out, "; the smallest grant that allows it:\n");
    cli_put_grant(out, "               ", grant);
}

static void put_secret(struct buf *out, const json_t *line, const char *what)
{
    buf_puts(out, "  secret       ");
    cli_escaped(out, text_of(line, "name"));
    buf_puts(out, what);
    cli_escaped(out, text_of(line, "why"));
    buf_putc(out, '\n');
}

static void put_secret_denied(struct buf *out, const json_t *line)
{
    put_secret(out, line, " was not released: ");
}

static void put_secret_suspended(struct buf *out, const json_t *line)
{
    put_secret(out, line, " was suspended: ");
}

static void put_answer(struct buf *out, const json_t *line)
{
    buf_puts(out, "  asked        ");
    cli_escaped(out, text_of(line, "operation"));
    buf_putc(out, ' ');
    cli_escaped(out, text_of(line, "resource"));
    buf_puts(out, "; answered ");
    cli_escaped(out, text_of(line, "answer"));
    if (json_object_get(line, "rule") != NULL)
        buf_printf(out, " [%llu]", (unsigned long long)number_of(line, "rule"));
    buf_puts(out, ":\n");
    cli_put_grant(out, "               ", text_of(line, "grant"));
}

static void put_use(struct buf *out, const json_t *line)
{
    buf_printf(out, "  used [%llu]   %llu×", (unsigned long long)number_of(line, "rule"),
               (unsigned long long)number_of(line, "count"));
    if (number_of(line, "bytes_read") != 0) {
        buf_puts(out, ", ");
        text_put_size_human(out, number_of(line, "bytes_read"));
        buf_puts(out, " read");
    }
    if (number_of(line, "bytes_written") != 0) {
        buf_puts(out, ", ");
        text_put_size_human(out, number_of(line, "bytes_written"));
        buf_puts(out, " written");
    }
    buf_putc(out, '\n');
}

static void put_unlisted(struct buf *out, const json_t *line)
{
    buf_printf(out, "  requests   %llu more were sent that this receipt does not list one by one\n",
               (unsigned long long)number_of(line, "count"));
}

static void put_output(struct buf *out, const json_t *line)
{
    const char *file = text_of(line, "file");
    buf_puts(out, "  output     ");
    cli_escaped(out, *file != '\0' ? file : text_of(line, "stream"));
    buf_puts(out, ", ");
    text_put_size_human(out, number_of(line, "bytes"));
    buf_puts(out, ", ");
    cli_escaped(out, *text_of(line, "digest") != '\0' ? text_of(line, "digest") : "not hashed");
    buf_putc(out, '\n');
}

static void put_finished(struct buf *out, const json_t *line)
{
    const json_t *figures = json_object_get(line, "worker_figures");
    buf_puts(out, "  ended      ");
    cli_escaped(out, text_of(line, "outcome"));
    buf_printf(out, ", exit code %lld, after ",
               (long long)json_integer_value(json_object_get(line, "exit_code")));
    text_put_duration_human(out, number_of(line, "duration_ns"));
    if (figures != NULL) {
        buf_puts(out, "; CPU ");
        text_put_duration_human(out, number_of(figures, "cpu_ns"));
        buf_puts(out, ", memory ");
        text_put_size_human(out, number_of(figures, "memory_peak_bytes"));
        buf_printf(out, ", %llu host calls, %llu denials",
                   (unsigned long long)number_of(figures, "hostcalls"),
                   (unsigned long long)number_of(figures, "denials"));
    }
    buf_putc(out, '\n');
    put_field(out, "why", text_of(line, "why"));
}

static void put_program(struct buf *out, const json_t *line)
{
    put_field(out, "component", text_of(line, "component"));
    put_field(out, "script", text_of(line, "script"));
}

struct shown {
    struct buf *out;
    bool finished;
};

static void show_event(void *context, const char *event, const json_t *line)
{
    static const struct {
        const char *event;
        void (*put)(struct buf *out, const json_t *line);
    } known[] = {
        { "run.started", put_started },
        { "program", put_program },
        { "grants", put_grants },
        { "jail", put_jail },
        { "denial", put_denial },
        { "use", put_use },
        { "output", put_output },
        { "run.finished", put_finished },
        { "answer", put_answer },
        { "http.unlisted", put_unlisted },
        { "secret.denied", put_secret_denied },
        { "secret.suspended", put_secret_suspended },
    };
    struct shown *s = context;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(known[i].event, event) == 0)
            known[i].put(s->out, line);
    s->finished |= strcmp(event, "run.finished") == 0;
}

static int show(const struct cli *c, int runs_fd, const char *name)
{
    struct error e = ERROR_INIT;
    char id[ID_TEXT_SIZE];
    CLEANUP(buf_done)
    struct buf text = BUF_INIT(RECEIPT_READ_MAX), out = BUF_INIT(4 * RECEIPT_READ_MAX);

    int r = receipts_find(runs_fd, name, id, &e);
    if (r > 0) {
        error_set(&e, -ENOENT,
                  r == 2 ? "more than one kept run starts so" : "no kept run is called so");
        error_hint(&e, r == 2 ? "give more of the id" : "ambit runs ls lists what is kept");
    }
    CLEANUP(fd_closep) int fd = r == 0 ? receipts_open(runs_fd, id, &e) : -1;
    if (fd < 0 || file_read_fd(fd, &text, &e) < 0)
        return cli_fail(c, r > 0 ? CLI_USAGE : CLI_INTERNAL, &e,
                        "the receipt of run %s cannot be shown", name);
    if (c->json)
        return cli_put(&text);
    struct shown s = { &out, false };
    size_t bad = each_event(&text, show_event, &s);
    if (!s.finished)
        buf_puts(&out, "  ended      no end was recorded: it goes on, or was cut off\n");
    if (bad != 0)
        buf_printf(&out, "  %zu lines are not events\n", bad);
    return cli_put(&out);
}

/* ---- ls ---- */

struct row {
    const char *id;
    char time[64], file[512], outcome[32];
    int64_t exit_code;
    bool finished;
};

static void copy(char *into, size_t size, const char *from)
{
    size_t length = MIN(strlen(from), size - 1);
    memcpy(into, from, length);
    into[length] = '\0';
}

static void row_event(void *context, const char *event, const json_t *line)
{
    struct row *r = context;
    if (strcmp(event, "run.started") == 0) {
        copy(r->time, sizeof(r->time), text_of(line, "time"));
        copy(r->file, sizeof(r->file), text_of(line, "file"));
    } else if (strcmp(event, "run.finished") == 0) {
        r->finished = true;
        copy(r->outcome, sizeof(r->outcome), text_of(line, "outcome"));
        r->exit_code = json_integer_value(json_object_get(line, "exit_code"));
    }
}

static void put_row(struct buf *out, json_t *list, const struct row *r)
{
    if (list != NULL) {
        json_t *one = json_object();
        json_object_set_new(one, "id", json_string(r->id));
        json_object_set_new(one, "time", json_string_of(r->time));
        json_object_set_new(one, "file", json_string_of(r->file));
        if (r->finished) {
            json_object_set_new(one, "outcome", json_string_of(r->outcome));
            json_object_set_new(one, "exit_code", json_integer(r->exit_code));
        }
        json_array_append_new(list, one);
        return;
    }
    buf_printf(out, "%s  ", r->id);
    cli_escaped(out, r->time);
    buf_puts(out, "  ");
    if (r->finished) {
        cli_escaped(out, r->outcome);
        buf_printf(out, " %lld  ", (long long)r->exit_code);
    } else {
        buf_puts(out, "no end  ");
    }
    cli_escaped(out, r->file);
    buf_putc(out, '\n');
}

static int list_runs(const struct cli *c, int runs_fd)
{
    struct error e = ERROR_INIT;
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count;
    CLEANUP(buf_done) struct buf out = BUF_INIT(64u << 20);
    CLEANUP(json_freep) json_t *list = c->json ? json_array() : NULL;

    if (receipts_list(runs_fd, &ids, &count, &e) < 0)
        return cli_fail(c, CLI_INTERNAL, &e, "receipts cannot be listed");
    for (size_t i = count; i-- > 0;) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(RECEIPT_READ_MAX);
        struct row r = { .id = ids[i] };
        CLEANUP(fd_closep) int fd = receipts_open(runs_fd, ids[i], NULL);
        if (fd < 0 || file_read_fd(fd, &text, NULL) < 0)
            continue; /* removed meanwhile */
        (void)each_event(&text, row_event, &r);
        put_row(&out, list, &r);
    }
    mem_free(ids);
    return c->json ? cli_put_json(list) : cli_put(&out);
}

int cli_runs(int argc, char **argv)
{
    struct cli c = { .verb = help_verb_find("runs") };
    struct error e = ERROR_INIT;
    const char *words[2] = { NULL, NULL };
    size_t count = 0;
    int item;

    while ((item = cli_next(&c, argc, argv, &e)) == CLI_FLAG || item == CLI_WORD) {
        if (item == CLI_FLAG)
            c.json = true;
        else if (count < ARRAY_SIZE(words))
            words[count++] = c.value;
        else
            item = error_set(&e, -EINVAL, "too many words: \"%s\"", c.value);
        if (item < 0)
            break;
    }
    if (item == CLI_HELP)
        return CLI_OK;
    bool ls = count == 1 && strcmp(words[0], "ls") == 0,
         shows = count == 2 && strcmp(words[0], "show") == 0;
    if (item == CLI_END && !ls && !shows) {
        error_set(&e, -EINVAL, "one of: ambit runs ls, ambit runs show last, ambit runs show ID");
        return cli_usage(&c, &e);
    }
    if (item < 0)
        return cli_usage(&c, &e);
    CLEANUP(fd_closep) int runs_fd = -1;
    if (state_open("runs", &runs_fd, &e) < 0)
        return cli_fail(&c, CLI_INTERNAL, &e, "the state folder cannot be used");
    return ls ? list_runs(&c, runs_fd) : show(&c, runs_fd, words[1]);
}
