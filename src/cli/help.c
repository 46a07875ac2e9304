/* SPDX-License-Identifier: Apache-2.0 */
/* Printing the tables of cli/verbs.c: help texts, roff and completion scripts. */
#include "cli/help.h"

#include <ctype.h>
#include <string.h>

#include "ambit_engine.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "grant/grant.h"

#ifndef AMBIT_VERSION
#define AMBIT_VERSION "0.1.0"
#endif

#define HELP_COLUMN 30

const struct help_verb *help_verb_find(const char *name)
{
    size_t count;
    const struct help_verb *verbs = help_verbs(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

void help_put_version(struct buf *out)
{
    buf_printf(out, "ambit %s (%s)\n", AMBIT_VERSION, ambit_engine_version());
}

/* Columns that a UTF-8 text takes (no wide characters in our tables). */
static size_t columns(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void pad(struct buf *out, size_t used, size_t wanted)
{
    for (size_t i = used; i < wanted; i++)
        buf_putc(out, ' ');
}

static void put_row(struct buf *out, const char *left, const char *right, size_t column)
{
    size_t used = 2 + columns(left);
    buf_printf(out, "  %s", left);
    if (used + 2 > column) {
        buf_putc(out, '\n');
        used = 0;
    }
    pad(out, used, column);
    buf_printf(out, "%s\n", right);
}

static void put_flag_left(struct buf *out, const struct help_flag *f)
{
    if (f->short_name != 0)
        buf_printf(out, "-%c, --%s", f->short_name, f->name);
    else
        buf_printf(out, "    --%s", f->name);
    if (f->value != HELP_NONE)
        buf_printf(out, " %s", f->value_name);
}

static void put_pairs(struct buf *out, const char *title, const struct help_pair *pairs,
                      size_t column)
{
    buf_printf(out, "\n%s:\n", title);
    for (; pairs->left != NULL; pairs++)
        put_row(out, pairs->left, pairs->right, column);
}

static void put_limits(struct buf *out, const char *separator)
{
    const struct grant_limits *l = &grant_limits_default;
    buf_puts(out, "memory ");
    text_put_size(out, l->memory_bytes);
    buf_printf(out, "%scpu ", separator);
    text_put_duration(out, l->cpu_ns);
    buf_printf(out, "%swall ", separator);
    text_put_duration(out, l->wall_ns);
    buf_printf(out, "%shandles %llu%soutput ", separator, (unsigned long long)l->handles,
               separator);
    text_put_size(out, l->output_bytes);
    buf_printf(out, "%shostcalls %llu", separator, (unsigned long long)l->hostcalls);
}

void help_put_overview(struct buf *out)
{
    size_t count;
    const struct help_verb *verbs = help_verbs(&count);

    buf_puts(out, "ambit runs code that nobody trusts with exactly what it was granted, and leaves "
                  "a receipt.\n\n"
                  "usage: ambit VERB …\n\nverbs:\n");
    for (size_t i = 0; i < count; i++)
        put_row(out, verbs[i].name, verbs[i].summary, 12);
    put_pairs(out, "exit codes (else the guest's own)", help_exit_codes, 8);
    put_pairs(out, "environment", help_environment, 27);
    put_pairs(out, "files", help_files, 27);
    buf_puts(out, "\ndefault limits: ");
    put_limits(out, ", ");
    buf_puts(out, "\nmore: ambit help VERB · ambit help --man [VERB] · ambit help --completion "
                  "bash|zsh|fish\n");
}

void help_put_verb(struct buf *out, const struct help_verb *v)
{
    buf_printf(out, "usage: ambit %s\n\n%s\n\nflags:\n", v->usage, v->description);
    for (size_t i = 0; i < v->flag_count; i++) {
        CLEANUP(buf_done) struct buf left = BUF_INIT(4096);
        put_flag_left(&left, &v->flags[i]);
        put_row(out, buf_cstr(&left), v->flags[i].text, HELP_COLUMN);
    }
    put_row(out, "-h, --help", "Print this.", HELP_COLUMN);
    if (v->default_limits) {
        buf_puts(out, "\ndefault limits: ");
        put_limits(out, ", ");
        buf_putc(out, '\n');
    }
    buf_puts(out, "\nexamples:\n");
    for (size_t i = 0; i < v->example_count; i++)
        buf_printf(out, "  %s\n      %s\n", v->examples[i].left, v->examples[i].right);
    if (v->main == cli_run)
        put_pairs(out, "exit codes (else the guest's own)", help_exit_codes, 8);
}

/* ---- roff ---- */

/* A text line: backslashes and dashes quoted, and no line that starts as a request. */
static void put_roff(struct buf *out, const char *text)
{
    bool start = true;
    for (; *text != '\0'; text++) {
        if (start && (*text == '.' || *text == '\''))
            buf_puts(out, "\\&");
        if (*text == '\\')
            buf_puts(out, "\\e");
        else if (*text == '-')
            buf_puts(out, "\\-");
        else if (*text == '\n' && text[1] == '\n')
            buf_puts(out, "\n.PP");
        else
            buf_putc(out, *text);
        start = *text == '\n';
    }
}

static void put_roff_item(struct buf *out, const char *left, const char *right)
{
    buf_puts(out, ".TP\n.B ");
    put_roff(out, left);
    buf_putc(out, '\n');
    put_roff(out, right);
    buf_putc(out, '\n');
}

static void put_roff_pairs(struct buf *out, const char *title, const struct help_pair *pairs)
{
    buf_printf(out, ".SH %s\n", title);
    for (; pairs->left != NULL; pairs++)
        put_roff_item(out, pairs->left, pairs->right);
}

static void put_roff_verb(struct buf *out, const struct help_verb *v)
{
    buf_puts(out, ".SH SYNOPSIS\n.B ambit\n");
    put_roff(out, v->usage);
    buf_puts(out, "\n.SH DESCRIPTION\n");
    put_roff(out, v->description);
    buf_puts(out, "\n.SH OPTIONS\n");
    for (size_t i = 0; i < v->flag_count; i++) {
        CLEANUP(buf_done) struct buf left = BUF_INIT(4096);
        put_flag_left(&left, &v->flags[i]);
        const char *text = buf_cstr(&left);
        put_roff_item(out, text + strspn(text, " "), v->flags[i].text);
    }
    put_roff_item(out, "-h, --help", "Print help.");
    if (v->default_limits) {
        buf_puts(out, ".SH DEFAULT LIMITS\n");
        put_limits(out, "\n.br\n");
        buf_putc(out, '\n');
    }
    buf_puts(out, ".SH EXAMPLES\n");
    for (size_t i = 0; i < v->example_count; i++)
        put_roff_item(out, v->examples[i].left, v->examples[i].right);
}

void help_put_man(struct buf *out, const struct help_verb *v)
{
    size_t count;
    const struct help_verb *verbs = help_verbs(&count);

    buf_puts(out, ".TH AMBIT");
    for (const char *c = v != NULL ? v->name : ""; *c != '\0'; c++) {
        if (c == v->name)
            buf_putc(out, '-');
        buf_putc(out, (char)toupper((unsigned char)*c));
    }
    buf_printf(out, " 1 \"\" \"ambit %s\" \"Ambit\"\n.SH NAME\nambit", AMBIT_VERSION);
    if (v != NULL)
        buf_printf(out, "\\-%s", v->name);
    buf_puts(out, " \\- ");
    put_roff(out, v != NULL ? v->summary
                            : "run code that nobody trusts with exactly what it was granted");
    buf_putc(out, '\n');
    if (v != NULL) {
        put_roff_verb(out, v);
    } else {
        buf_puts(out, ".SH SYNOPSIS\n.B ambit\nVERB [flags] \\&...\n.SH VERBS\n");
        for (size_t i = 0; i < count; i++)
            put_roff_item(out, verbs[i].name, verbs[i].summary);
    }
    put_roff_pairs(out, "EXIT STATUS", help_exit_codes);
    put_roff_pairs(out, "ENVIRONMENT", help_environment);
    put_roff_pairs(out, "FILES", help_files);
}

/* ---- completion ---- */

/* The words of `text` that are not directives (@file), separated by spaces. */
static void put_words(struct buf *out, const char *text)
{
    bool first = true;
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, " ");
        if (*text != '@') {
            if (!first)
                buf_putc(out, ' ');
            buf_append(out, text, length);
            first = false;
        }
        text += length + (text[length] == ' ');
    }
}

static void put_choices(struct buf *out, const char *choices)
{
    for (; *choices != '\0'; choices++)
        buf_putc(out, *choices == '|' ? ' ' : *choices);
}

/* A text inside single quotes of a shell. */
static void put_quoted(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *text);
    }
}

static void put_bash(struct buf *out, const struct help_verb *verbs, size_t count)
{
    buf_puts(out,
             "# completion of ambit for bash: source <(ambit help --completion bash)\n"
             "_ambit() {\n"
             "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
             "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
             "        COMPREPLY=($(compgen -W '--help --version");
    for (size_t i = 0; i < count; i++)
        buf_printf(out, " %s", verbs[i].name);
    buf_puts(
        out,
        "' -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]} $before\" in\n");
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < verbs[i].flag_count; k++) {
            const struct help_flag *f = &verbs[i].flags[k];
            if (f->value == HELP_NONE)
                continue;
            buf_printf(out, "    '%s --%s')", verbs[i].name, f->name);
            if (f->value == HELP_CHOICE) {
                buf_puts(out, " COMPREPLY=($(compgen -W '");
                put_choices(out, f->value_name);
                buf_puts(out, "' -- \"$word\"));");
            } else if (f->value == HELP_FILE || f->value == HELP_FOLDER) {
                buf_printf(out, " COMPREPLY=($(compgen -%c -- \"$word\"));",
                           f->value == HELP_FILE ? 'f' : 'd');
            } else {
                buf_puts(out, " COMPREPLY=();");
            }
            buf_puts(out, " return ;;\n");
        }
    }
    buf_puts(out, "    esac\n    local words=\n    case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "    %s) words='--help", verbs[i].name);
        for (size_t k = 0; k < verbs[i].flag_count; k++)
            buf_printf(out, " --%s", verbs[i].flags[k].name);
        buf_putc(out, ' ');
        put_words(out, verbs[i].words);
        buf_puts(out, "' ;;\n");
    }
    buf_puts(out, "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\") $(compgen -f -- "
                  "\"$word\"))\n}\n"
                  "complete -o filenames -F _ambit ambit\n");
}

static void put_zsh_flag(struct buf *out, const struct help_flag *f)
{
    buf_printf(out, "        '*--%s[", f->name);
    for (const char *c = f->text; *c != '\0'; c++) {
        if (*c == '[' || *c == ']' || *c == ':')
            buf_putc(out, '\\');
        if (*c == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *c);
    }
    buf_putc(out, ']');
    if (f->value == HELP_FILE || f->value == HELP_FOLDER) {
        buf_puts(out, f->value == HELP_FILE ? ":file:_files" : ":folder:_files -/");
    } else if (f->value == HELP_CHOICE) {
        buf_puts(out, ":value:(");
        put_choices(out, f->value_name);
        buf_putc(out, ')');
    } else if (f->value == HELP_TEXT) {
        buf_puts(out, ":value:");
    }
    buf_puts(out, "' \\\n");
}

static void put_zsh(struct buf *out, const struct help_verb *verbs, size_t count)
{
    buf_puts(out, "#compdef ambit\n# completion of ambit for zsh: ambit help --completion zsh > a "
                  "folder of $fpath/_ambit\n"
                  "_ambit() {\n    local -a verbs\n    verbs=(\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "        '%s:", verbs[i].name);
        put_quoted(out, verbs[i].summary);
        buf_puts(out, "'\n");
    }
    buf_puts(out,
             "    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        "
             "return\n    fi\n"
             "    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $verb in\n");
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "    %s) _arguments \\\n", verbs[i].name);
        for (size_t k = 0; k < verbs[i].flag_count; k++)
            put_zsh_flag(out, &verbs[i].flags[k]);
        CLEANUP(buf_done) struct buf words = BUF_INIT(4096);
        put_words(&words, verbs[i].words);
        if (words.size > 0)
            buf_printf(out, "        '1:what:(%s)' \\\n", buf_cstr(&words));
        buf_puts(out, "        '*:file:_files' ;;\n");
    }
    buf_puts(out, "    esac\n}\n_ambit \"$@\"\n");
}

static void put_fish(struct buf *out, const struct help_verb *verbs, size_t count)
{
    buf_puts(out, "# completion of ambit for fish: ambit help --completion fish | source\n");
    for (size_t i = 0; i < count; i++) {
        const struct help_verb *v = &verbs[i];
        buf_printf(out, "complete -c ambit -n __fish_use_subcommand -f -a %s -d '", v->name);
        put_quoted(out, v->summary);
        buf_puts(out, "'\n");
        for (size_t k = 0; k < v->flag_count; k++) {
            const struct help_flag *f = &v->flags[k];
            buf_printf(out, "complete -c ambit -n '__fish_seen_subcommand_from %s' -l %s", v->name,
                       f->name);
            if (f->short_name != 0)
                buf_printf(out, " -s %c", f->short_name);
            if (f->value == HELP_CHOICE) {
                buf_puts(out, " -x -a '");
                put_choices(out, f->value_name);
                buf_putc(out, '\'');
            } else if (f->value == HELP_TEXT) {
                buf_puts(out, " -x");
            } else if (f->value != HELP_NONE) {
                buf_puts(out, " -r -F");
            }
            buf_puts(out, " -d '");
            put_quoted(out, f->text);
            buf_puts(out, "'\n");
        }
        CLEANUP(buf_done) struct buf words = BUF_INIT(4096);
        put_words(&words, v->words);
        if (words.size > 0)
            buf_printf(out, "complete -c ambit -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                       v->name, buf_cstr(&words));
    }
}

bool help_put_completion(struct buf *out, const char *shell)
{
    size_t count;
    const struct help_verb *verbs = help_verbs(&count);
    if (strcmp(shell, "bash") == 0)
        put_bash(out, verbs, count);
    else if (strcmp(shell, "zsh") == 0)
        put_zsh(out, verbs, count);
    else if (strcmp(shell, "fish") == 0)
        put_fish(out, verbs, count);
    else
        return false;
    return true;
}

/* ---- ambit help ---- */

int cli_help(int argc, char **argv)
{
    struct cli c = { .verb = help_verb_find("help") };
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4u << 20);
    const struct help_verb *of = NULL;
    const char *shell = NULL;
    bool man = false;
    int item;

    while ((item = cli_next(&c, argc, argv, &e)) > CLI_END) {
        if (item == CLI_HELP)
            return CLI_OK;
        if (item == CLI_FLAG && cli_is(&c, "man")) {
            man = true;
        } else if (item == CLI_FLAG) {
            shell = c.value;
        } else if (of != NULL || (of = help_verb_find(c.value)) == NULL) {
            error_set(&e, -EINVAL, "there is no verb \"%s\"", c.value);
            return cli_usage(&c, &e);
        }
    }
    if (item < 0)
        return cli_usage(&c, &e);
    if (shell != NULL)
        (void)help_put_completion(&out, shell);
    else if (man)
        help_put_man(&out, of);
    else if (of != NULL)
        help_put_verb(&out, of);
    else
        help_put_overview(&out);
    return cli_put(&out);
}
