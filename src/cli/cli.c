/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over flags, and everything that the command line prints. See cli.h. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define OUTPUT_MAX (64u << 20)
#define WORD_MAX 64

/* Levenshtein's distance of two words; longer words than WORD_MAX are "far". */
static size_t distance(const char *a, const char *b)
{
    size_t a_size = strlen(a), b_size = strlen(b);
    size_t row[WORD_MAX + 1];
    if (a_size > WORD_MAX || b_size > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t above = row[j];
            size_t edit = MIN(above, row[j - 1]) + 1;
            size_t best = MIN(edit, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
            row[j] = best;
        }
    }
    return row[b_size];
}

const char *cli_nearest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, words[i]);
        if (d <= best_distance && (best == NULL || d < best_distance)) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}

bool cli_is(const struct cli *c, const char *flag_name)
{
    return c->flag != NULL && strcmp(c->flag->name, flag_name) == 0;
}

static int flag_unknown(const struct cli *c, const char *flag, size_t size, struct error *e)
{
    const char *names[128];
    char word[WORD_MAX];
    size_t count = MIN(c->verb->flag_count, ARRAY_SIZE(names));

    for (size_t i = 0; i < count; i++)
        names[i] = c->verb->flags[i].name;
    error_set(e, -EINVAL, "unknown flag %.*s", (int)MIN(size, (size_t)200), flag);
    if (size > 2 && size - 2 < sizeof(word)) {
        memcpy(word, flag + 2, size - 2);
        word[size - 2] = '\0';
        const char *near = cli_nearest(word, names, count);
        if (near != NULL)
            error_hint(e, "did you mean --%s? (ambit help %s)", near, c->verb->name);
    }
    return -EINVAL;
}

static const struct help_flag *flag_find(const struct help_verb *v, const char *name, size_t size)
{
    for (size_t i = 0; i < v->flag_count; i++)
        if (strlen(v->flags[i].name) == size && memcmp(v->flags[i].name, name, size) == 0)
            return &v->flags[i];
    return NULL;
}

static const struct help_flag *flag_find_short(const struct help_verb *v, char name)
{
    for (size_t i = 0; i < v->flag_count; i++)
        if (v->flags[i].short_name == name)
            return &v->flags[i];
    return NULL;
}

static int choice_check(const struct help_flag *f, const char *value, struct error *e)
{
    size_t size = strlen(value);
    if (f->value != HELP_CHOICE)
        return 0;
    for (const char *at = f->value_name;;) {
        size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, value, size) == 0)
            return 0;
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    error_set(e, -EINVAL, "--%s does not take \"%s\"", f->name, value);
    error_hint(e, "one of %s", f->value_name);
    return -EINVAL;
}

/* `attached`: the value that came in the same word, or NULL. */
static int flag_value(struct cli *c, int argc, char **argv, const char *attached, struct error *e)
{
    const struct help_flag *f = c->flag;
    c->value = NULL;
    if (f->value == HELP_NONE) {
        if (attached != NULL)
            return error_set(e, -EINVAL, "--%s takes no value", f->name);
        return CLI_FLAG;
    }
    if (attached != NULL) {
        c->value = attached;
    } else if (c->at < argc) {
        c->value = argv[c->at++];
    } else {
        error_set(e, -EINVAL, "--%s needs a value", f->name);
        error_hint(e, "--%s %s: %s", f->name, f->value_name, f->text);
        return -EINVAL;
    }
    int r = choice_check(f, c->value, e);
    return r < 0 ? r : CLI_FLAG;
}

static int help_print(const struct cli *c)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    help_put_verb(&out, c->verb);
    (void)cli_put(&out);
    return CLI_HELP;
}

int cli_next(struct cli *c, int argc, char **argv, struct error *e)
{
    if (c->at == 0)
        c->at = 1;
    c->flag = NULL;
    c->value = NULL;
    if (c->at >= argc)
        return CLI_END;
    const char *word = argv[c->at++];
    if (c->flags_over || word[0] != '-' || word[1] == '\0') {
        c->value = word;
        return CLI_WORD;
    }
    if (strcmp(word, "--") == 0) {
        c->flags_over = true;
        return cli_next(c, argc, argv, e);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help_print(c);
    if (word[1] == '-') {
        size_t size = strcspn(word + 2, "=");
        c->flag = flag_find(c->verb, word + 2, size);
        if (c->flag == NULL)
            return flag_unknown(c, word, size + 2, e);
        return flag_value(c, argc, argv, word[2 + size] == '=' ? word + 3 + size : NULL, e);
    }
    c->flag = flag_find_short(c->verb, word[1]);
    if (c->flag == NULL)
        return flag_unknown(c, word, 2, e);
    return flag_value(c, argc, argv, word[2] != '\0' ? word + 2 : NULL, e);
}

bool cli_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && (no == NULL || *no == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
}

void cli_escaped(struct buf *out, const char *text)
{
    if (text != NULL)
        text_escape(out, text, strlen(text));
}

void cli_put_log(struct buf *out, enum log_level level, const char *topic, const char *message)
{
    buf_printf(out, "[%s] ", log_level_names[level]);
    if (topic[0] != '\0') {
        cli_escaped(out, topic);
        buf_puts(out, ": ");
    }
    cli_escaped(out, message);
    buf_putc(out, '\n');
}

void cli_put_grant(struct buf *out, const char *indent, const char *yaml)
{
    for (const char *at = yaml; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, "\n");
        struct text_filter filter = { 0 };
        buf_puts(out, indent);
        text_filter(&filter, out, at, length, false);
        text_filter_flush(&filter, out);
        buf_putc(out, '\n');
        at += length + (at[length] == '\n');
    }
}

/* Several lines of untrusted text, each indented; only the line breaks pass. */
static void put_lines(struct buf *out, const char *label, const char *text)
{
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, "\n");
        buf_puts(out, at == text ? label : "       ");
        text_escape(out, at, length);
        buf_putc(out, '\n');
        at += length + (at[length] == '\n');
    }
}

static void fail_json(const struct cli *c, const char *what, const struct error *e,
                      enum cli_exit code)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(1u << 20);
    json_t *error = json_object(), *value = json_object();
    if (error != NULL && value != NULL) {
        json_object_set_new(error, "what", json_string_of(what));
        if (e != NULL && e->what[0] != '\0')
            json_object_set_new(error, "why", json_string_of(e->what));
        if (e != NULL && e->line != 0) {
            json_object_set_new(error, "line", json_integer(e->line));
            json_object_set_new(error, "column", json_integer(e->column));
        }
        if (e != NULL && e->hint[0] != '\0')
            json_object_set_new(error, "hint", json_string_of(e->hint));
        json_object_set_new(error, "exit", json_integer(code));
        json_object_set(value, "error", error);
        if (!c->json_to_stderr)
            (void)cli_put_json(value);
        else if (json_line(value, &line) == 0 && (buf_putc(&line, '\n'), buf_status(&line)) == 0 &&
                 file_write_fd(STDERR_FILENO, line.data, line.size, NULL) < 0)
            line.failed = -EPIPE; /* the exit code still says it */
    }
    json_decref(error);
    json_decref(value);
}

int cli_fail(const struct cli *c, enum cli_exit code, const struct error *e, const char *format,
             ...)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    char what[ERROR_TEXT_MAX];
    va_list arguments;
    bool colour = cli_colour(STDERR_FILENO);

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    buf_puts(&out, colour ? "\033[1;31mambit:\033[0m " : "ambit: ");
    cli_escaped(&out, what);
    buf_putc(&out, '\n');
    if (e != NULL && e->what[0] != '\0') {
        CLEANUP(buf_done) struct buf why = BUF_INIT(2 * ERROR_TEXT_MAX);
        char place[32]; /* as `FILE:LINE:COLUMN: ` begins, which says more */
        (void)snprintf(place, sizeof place, ":%u:%u: ", e->line, e->column);
        if (e->line != 0 && strstr(e->what, place) == NULL)
            buf_printf(&why, "line %u, column %u: ", e->line, e->column);
        buf_puts(&why, e->what);
        put_lines(&out, "  why: ", buf_cstr(&why));
    }
    if (e != NULL && e->hint[0] != '\0')
        put_lines(&out, "  try: ", e->hint);
    if (buf_status(&out) == 0 && file_write_fd(STDERR_FILENO, out.data, out.size, NULL) < 0)
        code = CLI_INTERNAL; /* nobody can be told: at least not a success */
    if (c != NULL && c->json)
        fail_json(c, what, e, code);
    return code;
}

int cli_usage(const struct cli *c, struct error *e)
{
    if (e->hint[0] == '\0')
        error_hint(e, "ambit help %s", c->verb->name);
    return cli_fail(c, CLI_USAGE, e, "ambit %s: this command line is not understood",
                    c->verb->name);
}

int cli_put(struct buf *text)
{
    struct error e = ERROR_INIT;
    if (buf_status(text) < 0)
        return cli_fail(NULL, CLI_INTERNAL, NULL, "not enough memory to print the answer");
    int r = file_write_fd(STDOUT_FILENO, text->data, text->size, &e);
    if (r < 0 && r != -EPIPE)
        return cli_fail(NULL, CLI_INTERNAL, &e, "standard output could not be written");
    return CLI_OK;
}

static int json_sink(const char *bytes, size_t size, void *context)
{
    struct buf *out = context;
    buf_append(out, bytes, size);
    return buf_status(out);
}

int cli_put_json(const json_t *value)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII;
    if (value == NULL || json_dump_callback(value, json_sink, &out, flags) < 0)
        return cli_fail(NULL, CLI_INTERNAL, NULL, "not enough memory to print the answer");
    buf_putc(&out, '\n');
    return cli_put(&out);
}
