/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ambit inspect FILE: what it is, what it imports and exports, what each import needs, and a grant
 * file for all of it. Nothing of FILE is run, and nothing here parses it: the compiler room
 * describes it (cached), this prints the description.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ambit_engine.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/needs.h"
#include "control/cache.h"
#include "control/target.h"
#include "room/spawn.h"

#define HEAD_SIZE 4096
#define OUTPUT_MAX (16u << 20)

struct inspection {
    struct cli cli;
    bool wit, grants;
    uint32_t allow_missing;
    const char *file; /* as typed */
    const char *name; /* for people */
    int fd;
    enum target_language language;
    struct digest digest;
    uint64_t size;
    json_t *description; /* NULL for a script */
    struct needs needs;
};

static void inspection_done(struct inspection *i)
{
    if (i->fd != STDIN_FILENO)
        fd_close(i->fd);
    json_decref(i->description);
}

/* ---- looking ---- */

static int open_file(struct inspection *i, struct error *e)
{
    struct stat st;
    uint8_t head[HEAD_SIZE];
    if (strcmp(i->file, "-") == 0) {
        i->fd = STDIN_FILENO;
        i->name = "standard input";
    } else {
        i->fd = open(i->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    }
    if (i->fd < 0 || fstat(i->fd, &st) < 0)
        return error_set_errno(e, errno, "cannot open it");
    if (S_ISDIR(st.st_mode)) {
        error_hint(e, "name a file in it");
        return error_set(e, -EISDIR, "it is a folder");
    }
    if (!S_ISREG(st.st_mode))
        return 0; /* a pipe: its bytes cannot be looked at twice */
    ssize_t got = pread(i->fd, head, sizeof(head), 0);
    if (got < 0)
        return error_set_errno(e, errno, "cannot read it");
    i->language = target_language_of(i->file, head, (size_t)got);
    i->size = (uint64_t)st.st_size;
    return 0;
}

/* A line that is rewritten, on a terminal only, and only when it takes long. */
static void show_progress(void *context, const char *stage, uint64_t elapsed_ns)
{
    bool *shown = context;
    if (elapsed_ns < UINT64_C(1000000000) || !isatty(STDERR_FILENO))
        return;
    (void)dprintf(STDERR_FILENO, "\r%s: %u s ", stage,
                  (unsigned)(elapsed_ns / UINT64_C(1000000000)));
    *shown = true;
}

/* 0, or an enum cache_outcome, or < 0. */
static int describe(struct inspection *i, struct error *e)
{
    CLEANUP(cache_freep) struct cache *cache = NULL;
    struct cache_entry entry;
    bool shown = false;

    int r = cache_open(i->allow_missing, &cache, e);
    if (r == 0)
        r = cache_get(cache, i->fd, true, show_progress, &shown, &entry, e);
    if (shown)
        (void)dprintf(STDERR_FILENO, "\r\033[K");
    if (r != 0)
        return r;
    i->digest = entry.component;
    i->size = entry.component_size;
    i->description = json_loads(entry.description, 0, NULL);
    cache_entry_done(&entry);
    if (i->description == NULL)
        return error_set(e, -EPROTO, "the description in the cache is malformed");
    i->needs = needs_of(i->description);
    return 0;
}

static int look(struct inspection *i, struct error *e)
{
    int r = open_file(i, e);
    if (r < 0)
        return r;
    if (i->language == TARGET_WASM)
        return describe(i, e);
    i->needs = needs_of_script();
    return digest_fd(i->fd, &i->digest, e);
}

/* ---- telling, as text ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* What one does with it. */
static const char *use_of(const json_t *d)
{
    if (json_is_true(json_object_get(d, "command")))
        return ", a command\n";
    return json_is_true(json_object_get(d, "serves"))
               ? ", answers HTTP: serve it with ambit serve\n"
               : "; no command: call an export with ambit run --invoke\n";
}

static void put_kind(struct buf *out, const struct inspection *i)
{
    const json_t *d = i->description;
    buf_puts(out, "  kind      ");
    if (i->language != TARGET_WASM) {
        const char *title = target_languages[i->language].title;
        buf_printf(out, "%s script: runs on the %s that ships with Ambit\n", title, title);
        return;
    }
    if (strcmp(text_of(d, "kind"), "module") == 0)
        buf_puts(out, json_is_true(json_object_get(d, "adapted"))
                          ? "core module of WASI 0.1 (adapted when it is loaded)"
                          : "core module without imports");
    else
        buf_puts(out, "component");
    buf_puts(out, use_of(d));
}

static void put_producers(struct buf *out, const json_t *d)
{
    const char *field;
    json_t *list, *one;
    size_t k, written = 0;
    json_object_foreach(json_object_get(d, "producers"), field, list)
    {
        json_array_foreach(list, k, one)
        {
            buf_puts(out, written++ == 0 ? "  made by   " : ", ");
            cli_escaped(out, json_string_value(one));
        }
    }
    if (written > 0)
        buf_putc(out, '\n');
}

static void put_head(struct buf *out, const struct inspection *i)
{
    char digest[DIGEST_TEXT_SIZE];
    digest_text(&i->digest, digest);
    cli_escaped(out, i->name);
    buf_putc(out, '\n');
    put_kind(out, i);
    buf_puts(out, "  size      ");
    text_put_size_human(out, i->size);
    buf_printf(out, "\n  digest    %s\n", digest);
    if (i->description == NULL)
        return;
    put_producers(out, i->description);
    const json_t *limits = json_object_get(i->description, "limits");
    buf_puts(out, "  memory    at least ");
    text_put_size_human(out, (uint64_t)json_integer_value(json_object_get(limits, "memory_min")));
    buf_printf(out, " (memories: %lld, tables: %lld, core instances: %lld)\n",
               (long long)json_integer_value(json_object_get(limits, "memories")),
               (long long)json_integer_value(json_object_get(limits, "tables")),
               (long long)json_integer_value(json_object_get(limits, "core_instances")));
}

static void put_item(struct buf *out, const json_t *item)
{
    const char *wit = text_of(item, "wit");
    if (wit[0] != '\0') {
        needs_put_functions(out, wit, "      ");
        return;
    }
    size_t k;
    json_t *function;
    json_array_foreach(json_object_get(item, "functions"), k, function)
    {
        buf_puts(out, "      ");
        cli_escaped(out, json_string_value(function));
        buf_putc(out, '\n');
    }
}

/* Smallest authority first: in the order of enum need_kind. */
static void put_imports(struct buf *out, const json_t *d)
{
    const json_t *imports = json_object_get(d, "imports");
    size_t k;
    json_t *import;
    buf_printf(out, "\nimports%s\n", json_array_size(imports) == 0 ? ": none" : "");
    for (unsigned kind = 0; kind < NEED_COUNT; kind++) {
        json_array_foreach(imports, k, import)
        {
            struct need need = need_of(text_of(import, "name"));
            if (need.kind != kind)
                continue;
            buf_puts(out, "  ");
            cli_escaped(out, text_of(import, "name"));
            buf_printf(out, "  (needs %s)\n", need.text);
            put_item(out, import);
        }
    }
}

static void put_exports(struct buf *out, const json_t *d)
{
    const json_t *exports = json_object_get(d, "exports");
    size_t k;
    json_t *export;
    buf_printf(out, "\nexports%s\n", json_array_size(exports) == 0 ? ": none" : "");
    json_array_foreach(exports, k, export)
    {
        buf_puts(out, "  ");
        cli_escaped(out, text_of(export, "name"));
        buf_putc(out, '\n');
        put_item(out, export);
    }
}

static void put_cut(struct buf *out, const json_t *d)
{
    size_t k;
    json_t *what;
    json_array_foreach(json_object_get(d, "cut"), k, what)
    {
        buf_puts(out, "  (left out, because the whole is too large: ");
        cli_escaped(out, json_string_value(what));
        buf_puts(out, ")\n");
    }
    if (text_of(d, "wit_error")[0] != '\0') {
        buf_puts(out, "  (its types cannot be told as WIT: ");
        cli_escaped(out, text_of(d, "wit_error"));
        buf_puts(out, ")\n");
    }
}

static int tell(const struct inspection *i)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    put_head(&out, i);
    if (i->description != NULL) {
        put_cut(&out, i->description);
        put_imports(&out, i->description);
        put_exports(&out, i->description);
    }
    buf_puts(&out, "\ngrants (ambit inspect --grants prints this alone)\n");
    CLEANUP(buf_done) struct buf skeleton = BUF_INIT(OUTPUT_MAX);
    needs_put_skeleton(&skeleton, i->name, &i->needs);
    for (const char *at = buf_cstr(&skeleton); *at != '\0';) {
        size_t size = strcspn(at, "\n");
        buf_puts(&out, "  ");
        buf_append(&out, at, size);
        buf_putc(&out, '\n');
        at += size + (at[size] == '\n');
    }
    return cli_put(&out);
}

static int tell_skeleton(const struct inspection *i)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    needs_put_skeleton(&out, i->name, &i->needs);
    return cli_put(&out);
}

/* WIT is text of many lines; everything but its line breaks is escaped. */
static int tell_wit(const struct inspection *i)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    struct text_filter filter = { 0 };
    const char *wit = i->description == NULL ? "" : text_of(i->description, "wit");
    if (wit[0] == '\0') {
        struct error e = ERROR_INIT;
        (void)error_set(&e, -ENOENT, "%s",
                        i->language != TARGET_WASM
                            ? "a script has none"
                            : "its types cannot be told as WIT, or are too large");
        error_hint(&e, "ambit inspect %s", i->file);
        return cli_fail(&i->cli, CLI_COMPONENT, &e, "%s: there is no WIT to print", i->name);
    }
    text_filter(&filter, &out, wit, strlen(wit), false);
    text_filter_flush(&filter, &out);
    return cli_put(&out);
}

/* ---- telling, as JSON ---- */

static void add_needs(json_t *description)
{
    size_t k;
    json_t *import;
    json_array_foreach(json_object_get(description, "imports"), k, import)
    {
        struct need need = need_of(text_of(import, "name"));
        json_object_set_new(import, "needs", json_string(need.text));
        json_object_set_new(import, "grant",
                            need.grant != NULL ? json_string(need.grant) : json_null());
        json_object_set_new(import, "there", json_boolean(need.kind != NEED_NOT_THERE));
    }
}

static int tell_json(const struct inspection *i)
{
    CLEANUP(json_freep) json_t *value = json_object();
    CLEANUP(buf_done) struct buf skeleton = BUF_INIT(OUTPUT_MAX);
    char digest[DIGEST_TEXT_SIZE];
    const char *key;
    json_t *member;

    digest_text(&i->digest, digest);
    needs_put_skeleton(&skeleton, i->name, &i->needs);
    json_object_set_new(value, "file", json_string_of(i->name));
    json_object_set_new(value, "kind", json_string(target_languages[i->language].name));
    json_object_set_new(value, "digest", json_string(digest));
    json_object_set_new(value, "size", json_integer((json_int_t)i->size));
    if (i->description != NULL) {
        add_needs(i->description);
        json_object_foreach(i->description, key, member)
        {
            /* Its "size" is that of the component after adaptation. */
            json_object_set(value, strcmp(key, "size") == 0 ? "component_size" : key, member);
        }
    }
    json_object_set_new(value, "grants", json_string_lossy(buf_cstr(&skeleton), skeleton.size));
    return cli_put_json(value);
}

/* ---- the verb ---- */

static int read_flags(struct inspection *i, int argc, char **argv, struct error *e)
{
    for (;;) {
        uint32_t bits = 0;
        int item = cli_next(&i->cli, argc, argv, e);
        if (item == CLI_END || item == CLI_HELP || item < 0)
            return item;
        if (item == CLI_WORD) {
            if (i->file != NULL)
                return error_set(e, -EINVAL, "more than one FILE");
            i->file = i->name = i->cli.value;
        } else if (cli_is(&i->cli, "json")) {
            i->cli.json = true;
        } else if (cli_is(&i->cli, "wit")) {
            i->wit = true;
        } else if (cli_is(&i->cli, "grants")) {
            i->grants = true;
        } else if (cli_is(&i->cli, "allow-missing-jail")) {
            if (jail_layer_parse(i->cli.value, &bits) != 0)
                return error_set(e, -EINVAL, "--allow-missing-jail: there is no layer \"%s\"",
                                 i->cli.value);
            i->allow_missing |= bits;
        }
    }
}

int cli_inspect(int argc, char **argv)
{
    struct error e = ERROR_INIT;
    CLEANUP(inspection_done)
    struct inspection i = { .cli = { .verb = help_verb_find("inspect") }, .fd = -1 };

    int r = read_flags(&i, argc, argv, &e);
    if (r == CLI_HELP)
        return CLI_OK;
    if (r == 0 && i.file == NULL)
        r = error_set(&e, -EINVAL, "FILE is missing");
    if (r == 0 && i.wit + i.grants + i.cli.json > 1)
        r = error_set(&e, -EINVAL, "--json, --wit and --grants exclude each other");
    if (r < 0)
        return cli_usage(&i.cli, &e);
    r = look(&i, &e);
    if (r > 0)
        return cli_fail(&i.cli, CLI_COMPONENT, &e, "Ambit does not run %s", i.name);
    if (r < 0) {
        bool file = r == -ENOENT || r == -EACCES || r == -EISDIR || r == -ENOTDIR || r == -ELOOP ||
                    r == -EFBIG;
        return cli_fail(&i.cli, file ? CLI_COMPONENT : CLI_INTERNAL, &e, "cannot inspect %s",
                        i.name);
    }
    if (i.cli.json)
        return tell_json(&i);
    return i.wit ? tell_wit(&i) : i.grants ? tell_skeleton(&i) : tell(&i);
}
