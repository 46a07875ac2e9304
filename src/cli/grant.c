/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit grant check|explain|diff`: grant files as a person has them in hand. Nothing is run and
 * nothing is opened but the files themselves. Their text is untrusted: names, lines and words of it
 * are escaped before they are shown.
 *
 * An error is shown with the line it is about:
 *     ambit: grants.yaml:5:5: unknown key `alow` in a grant of fs
 *       5 |     alow: ro
 *         |     ^ did you mean `allow`?
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "grant/grant.h"

#define FILE_MAX (1u << 20)
#define SHOWN_BEFORE 70 /* characters of a long line around the place */
#define SHOWN_AFTER 50

struct grant_file {
    const char *name;
    struct buf text;
    struct grant_set *set; /* NULL: not valid */
    struct error error;
};

static void grant_file_done(struct grant_file *f)
{
    buf_done(&f->text);
    grant_set_free(f->set);
}

/* The folder that relative paths in the file stand against, links resolved. */
static int base_of(const char *name, char ret[static PATH_MAX], struct error *e)
{
    const char *slash = strcmp(name, "-") == 0 ? NULL : strrchr(name, '/');
    CLEANUP(mem_freep) char *folder = NULL;
    if (slash == NULL)
        folder = mem_strdup(".");
    else
        folder = mem_strndup(name, slash == name ? 1 : (size_t)(slash - name));
    if (folder == NULL)
        return error_set(e, -ENOMEM, "no memory");
    if (realpath(folder, ret) == NULL)
        return error_set_errno(e, errno, "the folder of %s", name);
    return 0;
}

/* 0 or the fault that is in `f->error`. */
static int grant_file_read(struct grant_file *f, const char *name)
{
    char base[PATH_MAX];
    *f = (struct grant_file){ .name = name, .text = BUF_INIT(FILE_MAX) };
    int r = strcmp(name, "-") == 0 ? file_read_fd(STDIN_FILENO, &f->text, &f->error)
                                   : file_read(name, &f->text, &f->error);
    if (r == 0)
        r = base_of(name, base, &f->error);
    if (r < 0)
        return r;
    return grant_set_parse(name, base, buf_cstr(&f->text), f->text.size, &f->set, &f->error);
}

/* ---- the line of an error ---- */

/* The text of a line, 1-based; false when there is none. */
static bool line_of(const struct buf *text, unsigned number, const char **ret_at, size_t *ret_size)
{
    const char *at = (const char *)text->data, *end = at + text->size;
    for (; number > 1 && at < end; number--) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    }
    if (number != 1 || at >= end)
        return false;
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    *ret_at = at;
    *ret_size = (size_t)((newline ? newline : end) - at);
    return true;
}

/* Bytes of the first `count` characters. */
static size_t characters(const char *at, size_t size, size_t count)
{
    size_t bytes = 0;
    while (bytes < size && count > 0) {
        bytes++;
        while (bytes < size && ((unsigned char)at[bytes] & 0xc0) == 0x80)
            bytes++;
        count--;
    }
    return bytes;
}

/* Characters of a text that was escaped, and so is UTF-8. */
static size_t columns(const struct buf *text)
{
    size_t count = 0;
    for (size_t i = 0; i < text->size; i++)
        count += (text->data[i] & 0xc0) != 0x80;
    return count;
}

static void put_line(struct buf *out, const struct grant_file *f)
{
    CLEANUP(buf_done) struct buf before = BUF_INIT(8192);
    const char *line;
    size_t size, column = f->error.column ? f->error.column - 1 : 0;
    if (f->error.line == 0 || !line_of(&f->text, f->error.line, &line, &size))
        return;
    if (column > SHOWN_BEFORE) {
        size_t skipped = characters(line, size, column - SHOWN_BEFORE);
        line += skipped;
        size -= skipped;
        column = SHOWN_BEFORE;
        buf_puts(&before, "…");
    }
    size_t split = characters(line, size, column);
    size_t rest = characters(line + split, size - split, SHOWN_AFTER);
    text_escape(&before, line, split);
    buf_printf(out, "  %u | %s", f->error.line, buf_cstr(&before));
    text_escape(out, line + split, rest);
    buf_puts(out, split + rest < size ? "…\n" : "\n");
    int margin = snprintf(NULL, 0, "%u", f->error.line);
    buf_printf(out, "  %*s | %*s^ ", margin, "", (int)columns(&before), "");
    cli_escaped(out, f->error.hint);
    buf_putc(out, '\n');
}

static int put_error(const struct grant_file *f)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(65536);
    buf_puts(&out, "ambit: ");
    cli_escaped(&out, f->error.what);
    buf_putc(&out, '\n');
    size_t before = out.size;
    put_line(&out, f);
    if (out.size == before && f->error.hint[0]) {
        buf_puts(&out, "  try: ");
        cli_escaped(&out, f->error.hint);
        buf_putc(&out, '\n');
    }
    if (buf_status(&out) < 0 || file_write_fd(STDERR_FILENO, out.data, out.size, NULL) < 0)
        return CLI_INTERNAL;
    return CLI_GRANT;
}

static json_t *error_to_json(const struct grant_file *f)
{
    return json_pack("{s:o, s:b, s:i, s:i, s:o, s:o}", "file", json_string_of(f->name), "valid", 0,
                     "line", (int)f->error.line, "column", (int)f->error.column, "what",
                     json_string_of(f->error.what), "hint", json_string_of(f->error.hint));
}

/* ---- check, explain ---- */

static int check_put(const struct grant_file *f, struct buf *out)
{
    buf_puts(out, "ok ");
    cli_escaped(out, f->name);
    buf_putc(out, '\n');
    return buf_status(out);
}

static json_t *check_to_json(const struct grant_file *f)
{
    return json_pack("{s:o, s:b, s:I}", "file", json_string_of(f->name), "valid", 1, "grants",
                     (json_int_t)f->set->count);
}

static int explain_put(const struct grant_file *f, struct buf *out)
{
    cli_escaped(out, f->name);
    buf_puts(out, ":\n");
    return grant_set_explain(f->set, out, NULL);
}

static json_t *lines_to_json(const char *text)
{
    CLEANUP(json_freep) json_t *lines = json_array();
    while (lines && *text) {
        size_t size = strcspn(text, "\n");
        if (json_array_append_new(lines, json_string_lossy(text, size)) < 0)
            return NULL;
        text += size;
        text += *text == '\n';
    }
    return TAKE(lines);
}

static json_t *explain_to_json(const struct grant_file *f)
{
    CLEANUP(buf_done) struct buf words = BUF_INIT(16u << 20);
    if (grant_set_explain(f->set, &words, NULL) < 0)
        return NULL;
    return json_pack("{s:o, s:b, s:o, s:o}", "file", json_string_of(f->name), "valid", 1, "means",
                     grant_set_to_json(f->set), "words", lines_to_json(buf_cstr(&words)));
}

struct view {
    int (*put)(const struct grant_file *f, struct buf *out);
    json_t *(*to_json)(const struct grant_file *f);
};

/* The flags --secret of explain. */
struct secrets {
    const char **flags;
    size_t count;
};

static int read_with(struct grant_file *f, const char *name, const struct secrets *secrets)
{
    int r = grant_file_read(f, name);
    for (size_t i = 0; r == 0 && i < secrets->count; i++)
        r = grant_secret_flag(f->set, "--secret", secrets->flags[i], &f->error);
    return r;
}

/* Every file, also after one that is not valid. */
static int each_file(const struct cli *c, const struct view *view, const struct secrets *secrets,
                     char **names, size_t count)
{
    int exit_code = CLI_OK;
    CLEANUP(json_freep) json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        CLEANUP(grant_file_done) struct grant_file f;
        CLEANUP(buf_done) struct buf out = BUF_INIT(16u << 20);
        int r = read_with(&f, names[i], secrets);
        if (r < 0)
            exit_code = CLI_GRANT;
        if (c->json) {
            if (list == NULL ||
                json_array_append_new(list, r < 0 ? error_to_json(&f) : view->to_json(&f)) < 0)
                return CLI_INTERNAL;
        } else if (r < 0) {
            (void)put_error(&f);
        } else if (view->put(&f, &out) < 0 || cli_put(&out) != CLI_OK) {
            return CLI_INTERNAL;
        }
    }
    if (!c->json)
        return exit_code;
    CLEANUP(json_freep) json_t *root = json_pack("{s:O}", "files", list);
    int r = cli_put_json(root);
    return r != CLI_OK ? r : exit_code;
}

/* ---- diff ---- */

struct direction {
    int covered;
    struct buf why;
};

static void direction_done(struct direction *d)
{
    buf_done(&d->why);
}

static int direction_find(struct direction *d, const struct grant_file *inner,
                          const struct grant_file *outer, struct error *e)
{
    *d = (struct direction){ .why = BUF_INIT(65536) };
    int r = grant_covers(outer->set, inner->set, &d->why, e);
    d->covered = r == 0;
    return r < 0 ? r : 0;
}

static void direction_put(struct buf *out, struct direction *d, const char *inner,
                          const char *outer)
{
    cli_escaped(out, inner);
    buf_puts(out, d->covered ? " is covered by " : " is not covered by ");
    cli_escaped(out, outer);
    if (!d->covered) {
        buf_puts(out, ": ");
        cli_escaped(out, buf_cstr(&d->why));
    }
    buf_putc(out, '\n');
}

static json_t *direction_to_json(struct direction *d)
{
    return json_pack("{s:b, s:o}", "covered", d->covered, "why",
                     json_string_lossy(d->why.data, d->why.size));
}

static int diff_show(const struct cli *c, const struct grant_file *a, const struct grant_file *b)
{
    CLEANUP(direction_done) struct direction there = { 0 }, back = { 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 20);
    struct error e = ERROR_INIT;
    if (direction_find(&there, a, b, &e) < 0 || direction_find(&back, b, a, &e) < 0)
        return cli_fail(c, CLI_INTERNAL, &e, "cannot compare");
    int r;
    if (c->json) {
        CLEANUP(json_freep)
        json_t *root = json_pack("{s:o, s:o}", "a_by_b", direction_to_json(&there), "b_by_a",
                                 direction_to_json(&back));
        r = cli_put_json(root);
    } else {
        direction_put(&out, &there, a->name, b->name);
        direction_put(&out, &back, b->name, a->name);
        r = cli_put(&out);
    }
    return r != CLI_OK ? r : there.covered ? CLI_OK : CLI_NO;
}

static int diff(const struct cli *c, char **names)
{
    CLEANUP(grant_file_done) struct grant_file a;
    CLEANUP(grant_file_done) struct grant_file b;
    int bad_a = grant_file_read(&a, names[0]), bad_b = grant_file_read(&b, names[1]);
    if (bad_a == 0 && bad_b == 0)
        return diff_show(c, &a, &b);
    if (c->json) {
        CLEANUP(json_freep) json_t *root = error_to_json(bad_a < 0 ? &a : &b);
        int r = cli_put_json(root);
        return r != CLI_OK ? r : CLI_GRANT;
    }
    if (bad_a < 0)
        (void)put_error(&a);
    if (bad_b < 0)
        (void)put_error(&b);
    return CLI_GRANT;
}

/* ---- the verb ---- */

static int grant_words(const struct cli *c, const struct secrets *secrets, char **words,
                       size_t count)
{
    static const struct view check = { check_put, check_to_json },
                             explain = { explain_put, explain_to_json };
    struct error e = ERROR_INIT;
    const char *what = count > 0 ? words[0] : "";
    if (secrets->count > 0 && strcmp(what, "explain") != 0) {
        (void)error_set(&e, -EINVAL, "--secret belongs to explain");
        return cli_usage(c, &e);
    }
    if (strcmp(what, "diff") == 0 && count == 3)
        return diff(c, words + 1);
    if (strcmp(what, "check") == 0 && count > 1)
        return each_file(c, &check, secrets, words + 1, count - 1);
    if (strcmp(what, "explain") == 0 && count > 1)
        return each_file(c, &explain, secrets, words + 1, count - 1);
    if (count == 0)
        (void)error_set(&e, -EINVAL, "say what to do: check, explain or diff");
    else if (strcmp(what, "diff") == 0)
        (void)error_set(&e, -EINVAL, "diff compares two files: ambit grant diff A B");
    else if (strcmp(what, "check") == 0 || strcmp(what, "explain") == 0)
        (void)error_set(&e, -EINVAL, "%s needs a file", what);
    else
        (void)error_set(&e, -EINVAL, "there is no `ambit grant %s`", what);
    return cli_usage(c, &e);
}

int cli_grant(int argc, char **argv)
{
    struct cli c = { .verb = help_verb_find("grant") };
    struct error e = ERROR_INIT;
    size_t count = 0;
    CLEANUP(mem_freep) char **words = mem_array((size_t)argc + 1, sizeof(*words));
    CLEANUP(mem_freep) const char **flags = mem_array((size_t)argc + 1, sizeof(*flags));
    struct secrets secrets = { .flags = flags };
    if (words == NULL || flags == NULL)
        return cli_fail(&c, CLI_INTERNAL, NULL, "no memory");
    for (;;) {
        int item = cli_next(&c, argc, argv, &e);
        if (item < 0)
            return cli_usage(&c, &e);
        if (item == CLI_HELP)
            return CLI_OK;
        if (item == CLI_END)
            break;
        if (item == CLI_WORD)
            words[count++] = (char *)c.value;
        else if (cli_is(&c, "secret"))
            flags[secrets.count++] = c.value;
        else if (cli_is(&c, "json"))
            c.json = true;
    }
    return grant_words(&c, &secrets, words, count);
}
