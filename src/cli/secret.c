/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit secret`: what is in the vault. A value comes by a descriptor that is handed to keeper; no flag takes one, and
 * nothing here reads or prints one.
 */
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "control/keeper.h"
#include "control/source.h"

#define OUTPUT_MAX (16u << 20)
#define WORDS_MAX 3

struct secret_command {
    struct cli cli;
    const char *words[WORDS_MAX];
    size_t word_count;
    const char *file, *variable, *command, *kind, *vault_key, *new_key;
    json_t *settings;
    uint32_t allow_missing;
};

static void secret_command_done(struct secret_command *c)
{
    json_decref(c->settings);
}

/* ---- the command line ---- */

static int flag_setting(struct secret_command *c, struct error *e)
{
    const char *equals = strchr(c->cli.value, '=');
    CLEANUP(mem_freep)
    char *key = equals ? mem_strndup(c->cli.value, (size_t)(equals - c->cli.value)) : NULL;
    if (equals == NULL || equals == c->cli.value) {
        error_set(e, -EINVAL, "--set %s is not SETTING=VALUE", c->cli.value);
        error_hint(e, "for example --set app_id=12345");
        return -EINVAL;
    }
    if (c->settings == NULL)
        c->settings = json_object();
    if (key == NULL || json_object_set_new(c->settings, key, json_string(equals + 1)) < 0)
        return error_set(e, -EINVAL, "--set %s is not text", c->cli.value);
    return 0;
}

static int take_flag(struct secret_command *c, struct error *e)
{
    static const struct {
        const char *flag;
        size_t at;
    } texts[] = {
        { "from-file", offsetof(struct secret_command, file) },
        { "from-env", offsetof(struct secret_command, variable) },
        { "from-command", offsetof(struct secret_command, command) },
        { "kind", offsetof(struct secret_command, kind) },
        { "vault-key", offsetof(struct secret_command, vault_key) },
        { "new-key", offsetof(struct secret_command, new_key) },
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (cli_is(&c->cli, texts[i].flag)) {
            *(const char **)(void *)((char *)c + texts[i].at) = c->cli.value;
            return 0;
        }
    }
    if (cli_is(&c->cli, "set"))
        return flag_setting(c, e);
    if (cli_is(&c->cli, "json")) {
        c->cli.json = true;
        return 0;
    }
    return cli_take_layer(&c->cli, &c->allow_missing, e);
}

static int take_word(struct secret_command *c, struct error *e)
{
    if (c->word_count < WORDS_MAX) {
        c->words[c->word_count++] = c->cli.value;
        return 0;
    }
    return error_set(e, -EINVAL, "one word too many");
}

/* ---- keeper ---- */

struct opened {
    struct vault_files *vault;
    struct keeper *keeper;
};

static void opened_done(struct opened *o)
{
    keeper_free(o->keeper);
    vault_close(o->vault);
}

static int start_keeper(const struct secret_command *c, struct opened *o, struct error *e)
{
    const struct keeper_spec spec = { .vault = o->vault,
                                      .new_vault = !vault_exists(o->vault),
                                      .allow_missing = c->allow_missing };
    int status = keeper_start(&spec, &o->keeper, e);
    return status == 0 ? keeper_wait_ready(o->keeper, e) : status;
}

static int open_vault(const struct secret_command *c, enum vault_want want, struct opened *o,
                      struct error *e)
{
    int status = vault_open(c->vault_key, want, &o->vault, e);
    return status == 0 ? start_keeper(c, o, e) : status;
}

/* After a look: whoever changed it meanwhile did so, and nobody else can from now on. */
static int begin_change(const struct secret_command *c, struct opened *o, struct error *e)
{
    if (o->vault == NULL)
        return open_vault(c, VAULT_CHANGE, o, e);
    keeper_free(o->keeper);
    o->keeper = NULL;
    int status = vault_change(o->vault, e);
    return status == 0 ? start_keeper(c, o, e) : status;
}

static int failed(const struct secret_command *c, const struct error *e, const char *what)
{
    return cli_fail(&c->cli, keeper_failed(e) ? CLI_INTERNAL : CLI_GRANT, e, "%s", what);
}

/* What one of the vault's items is like; `name` NULL when there is none. */
struct found {
    const char *wanted;
    struct keeper_item item;
};

static void found_done(struct found *f)
{
    keeper_item_done(&f->item);
}

static int find_one(void *context, const struct keeper_item *i)
{
    struct found *f = context;
    if (strcmp(i->name, f->wanted) != 0)
        return 0;
    keeper_item_done(&f->item);
    f->item = *i;
    f->item.name = mem_strdup(i->name);
    f->item.locator = mem_strdup(i->locator);
    f->item.settings = mem_strdup(i->settings);
    return f->item.name && f->item.locator && f->item.settings ? 0 : -ENOMEM;
}

static int find(struct opened *o, const char *name, struct found *f, struct error *e)
{
    f->wanted = name;
    return keeper_list(o->keeper, find_one, f, e);
}

/* ---- set, rotate ---- */

/* A file that others can read has told them already. */
static int check_stdin(struct error *e)
{
    struct stat st;
    if (fstat(STDIN_FILENO, &st) < 0)
        return error_set_errno(e, errno, "standard input");
    if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0) {
        error_hint(e, "chmod 600 the file; if somebody may have read it, make a new value first");
        return error_set(e, -EPERM, "others can read the file that the value comes from");
    }
    if (S_ISREG(st.st_mode) && st.st_uid != geteuid()) {
        error_hint(e, "copy it to a file of your own first");
        return error_set(e, -EPERM, "the file that the value comes from belongs to another user");
    }
    return 0;
}

/* Where the value comes from, as this command line says; a descriptor for a stored one. */
static int take_value(const struct secret_command *c, struct keeper_item *i, int *ret_fd,
                      struct error *e)
{
    int given = (c->file != NULL) + (c->variable != NULL) + (c->command != NULL);
    if (given > 1)
        return error_set(e, -EINVAL,
                         "a value comes from one place: --from-file, --from-env or "
                         "--from-command");
    if (given == 1) {
        char here[4096];
        i->source = c->file ? SECRET_FILE : c->variable ? SECRET_ENVIRONMENT : SECRET_COMMAND;
        if (c->file && c->file[0] != '/' && getcwd(here, sizeof(here)) == NULL)
            return error_set_errno(e, errno, "the working directory");
        i->locator = c->file && c->file[0] != '/' ? mem_printf("%s/%s", here, c->file)
                                                  : mem_strdup(c->file       ? c->file
                                                               : c->variable ? c->variable
                                                                             : c->command);
        if (i->locator == NULL)
            return error_set(e, -ENOMEM, "no memory");
        CLEANUP(fd_closep) int fd = -1;
        return c->file ? vault_source(i->name, SECRET_FILE, i->locator, &fd, e) : 0;
    }
    i->source = SECRET_STORED;
    if (isatty(STDIN_FILENO)) {
        CLEANUP(mem_freep) char *prompt = mem_printf("Value of %s: ", i->name);
        return prompt ? source_ask(prompt, NULL, ret_fd, e) : error_set(e, -ENOMEM, "no memory");
    }
    int status = check_stdin(e);
    if (status < 0)
        return status;
    /* Who writes it may be asking somebody first. */
    struct pollfd there = { .fd = STDIN_FILENO, .events = POLLIN };
    while (poll(&there, 1, -1) < 0 && errno == EINTR)
        ;
    *ret_fd = dup(STDIN_FILENO);
    return *ret_fd < 0 ? error_set_errno(e, errno, "standard input") : 0;
}

static int find_kind(const char *name, uint32_t *ret, struct error *e)
{
    for (uint32_t i = 0; i < SECRET_KIND_COUNT; i++) {
        if (strcmp(name, secret_kind_names[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return error_set(e, -EINVAL, "there is no kind of secret `%s`", name);
}

static int settings_text(const struct secret_command *c, char **ret, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(SECRET_SETTINGS_MAX);
    if (c->settings == NULL) {
        *ret = mem_strdup("");
    } else {
        if (json_canonical(c->settings, &text) < 0 || buf_status(&text) < 0)
            return error_set(e, -EINVAL, "the settings are too large");
        *ret = buf_take(&text);
    }
    return *ret ? 0 : error_set(e, -ENOMEM, "no memory");
}

static int put_set(const struct secret_command *c, struct opened *o, const char *name)
{
    CLEANUP(found_done) struct found f = { 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    struct error e = ERROR_INIT;
    if (find(o, name, &f, &e) < 0)
        return failed(c, &e, "the vault cannot be listed");
    if (c->cli.json) {
        CLEANUP(json_freep)
        json_t *value =
            json_pack("{s:s, s:I}", "name", name, "version", (json_int_t)f.item.version);
        return cli_put_json(value);
    }
    buf_printf(&out, "%s: version %u, in %s\n", name, f.item.version, vault_folder(o->vault));
    return cli_put(&out);
}

static int set(struct secret_command *c, const char *name)
{
    CLEANUP(opened_done) struct opened o = { 0 };
    CLEANUP(keeper_item_done) struct keeper_item item = { .name = mem_strdup(name) };
    CLEANUP(fd_closep) int fd = -1;
    struct error e = ERROR_INIT;
    int status = item.name ? find_kind(c->kind ? c->kind : "plain", &item.kind, &e) : -ENOMEM;
    if (status < 0)
        return cli_usage(&c->cli, &e);
    status = settings_text(c, &item.settings, &e);
    if (status == 0)
        status = take_value(c, &item, &fd, &e);
    if (status == 0 && item.locator == NULL && (item.locator = mem_strdup("")) == NULL)
        status = error_set(&e, -ENOMEM, "no memory");
    if (status == 0)
        status = open_vault(c, VAULT_MAKE, &o, &e);
    if (status == 0)
        status = keeper_set(o.keeper, &item, fd, &e);
    return status < 0 ? failed(c, &e, "the secret was not set") : put_set(c, &o, name);
}

static bool is_elsewhere(const struct secret_command *c)
{
    return c->file || c->variable || c->command;
}

/* Is it there, and can this command line give it another value? */
static int find_to_rotate(const struct secret_command *c, struct opened *o, const char *name,
                          struct found *f, struct error *e)
{
    int status = find(o, name, f, e);
    if (status < 0)
        return status;
    if (f->item.name == NULL) {
        error_hint(e, "a new one is set: ambit secret set %s", name);
        return error_set(e, -ENOENT, "there is no secret %s", name);
    }
    if (f->item.source == SECRET_STORED || is_elsewhere(c))
        return 0;
    error_hint(e, "change it there; runs that start later get the new value");
    return error_set(e, -EINVAL, "its value is not in the vault: it comes from %s `%s`",
                     secret_source_names[f->item.source], f->item.locator);
}

/* Its value, before anybody has to wait for us. Who types it is told first when it would be for nothing. */
static int value_to_rotate(const struct secret_command *c, struct opened *o, struct keeper_item *i,
                           int *ret_fd, struct error *e)
{
    CLEANUP(found_done) struct found f = { 0 };
    int status = 0;
    if (!is_elsewhere(c) && isatty(STDIN_FILENO)) {
        status = open_vault(c, VAULT_LOOK, o, e);
        if (status == 0)
            status = find_to_rotate(c, o, i->name, &f, e);
    }
    return status == 0 ? take_value(c, i, ret_fd, e) : status;
}

/* The same secret with another value: what it is and where its value is stay. */
static int rotate(struct secret_command *c, const char *name)
{
    CLEANUP(opened_done) struct opened o = { 0 };
    CLEANUP(found_done) struct found f = { 0 };
    CLEANUP(keeper_item_done) struct keeper_item item = { .name = mem_strdup(name) };
    CLEANUP(fd_closep) int fd = -1;
    struct error e = ERROR_INIT;
    int status = item.name ? value_to_rotate(c, &o, &item, &fd, &e) : -ENOMEM;
    if (status == 0)
        status = begin_change(c, &o, &e);
    if (status == 0)
        status = find_to_rotate(c, &o, name, &f, &e);
    item.kind = f.item.kind;
    if (status == 0) {
        item.settings = mem_strdup(f.item.settings);
        item.locator = item.locator ? item.locator : mem_strdup("");
        if (item.settings == NULL || item.locator == NULL)
            status = error_set(&e, -ENOMEM, "no memory");
    }
    if (status == 0)
        status = keeper_set(o.keeper, &item, fd, &e);
    return status < 0 ? failed(c, &e, "the secret was not rotated") : put_set(c, &o, name);
}

/* ---- ls ---- */

struct listing {
    struct buf out;
    json_t *json;
    size_t count;
};

static void put_time(struct buf *out, uint64_t seconds)
{
    text_put_timestamp(out, (int64_t)MIN(seconds, (uint64_t)INT64_MAX / 1000000000u) * 1000000000);
}

static int list_json(struct listing *l, const struct keeper_item *i)
{
    CLEANUP(buf_done) struct buf made = BUF_INIT(64), changed = BUF_INIT(64);
    put_time(&made, i->made_s);
    put_time(&changed, i->changed_s);
    CLEANUP(json_freep) json_t *settings = json_loads(i->settings, 0, NULL);
    json_t *one =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "name", i->name, "kind",
                  secret_kind_names[i->kind], "source", secret_source_names[i->source], "version",
                  (json_int_t)i->version, "made", buf_cstr(&made), "changed", buf_cstr(&changed));
    if (one && i->locator[0])
        json_object_set_new(one, "from", json_string_of(i->locator));
    if (one && json_object_size(settings) > 0)
        json_object_set(one, "settings", settings);
    return one && json_array_append_new(l->json, one) == 0 ? 0 : -ENOMEM;
}

static int list_one(void *context, const struct keeper_item *i)
{
    struct listing *l = context;
    l->count++;
    if (l->json)
        return list_json(l, i);
    if (l->count == 1)
        buf_printf(&l->out, "%-24s %-14s %-8s %-20s %s\n", "name", "kind", "version", "changed",
                   "value");
    CLEANUP(buf_done) struct buf changed = BUF_INIT(64);
    put_time(&changed, i->changed_s);
    buf_printf(&l->out, "%-24s %-14s %-8u %-20s %s", i->name, secret_kind_names[i->kind],
               i->version, buf_cstr(&changed), secret_source_names[i->source]);
    if (i->locator[0]) {
        buf_putc(&l->out, ' ');
        cli_escaped(&l->out, i->locator);
    }
    buf_putc(&l->out, '\n');
    return buf_status(&l->out);
}

static int ls(struct secret_command *c)
{
    CLEANUP(opened_done) struct opened o = { 0 };
    struct listing l = { .out = BUF_INIT(OUTPUT_MAX), .json = c->cli.json ? json_array() : NULL };
    struct error e = ERROR_INIT;
    int status = open_vault(c, VAULT_READ, &o, &e);
    if (status == 0)
        status = keeper_list(o.keeper, list_one, &l, &e);
    int code = CLI_OK;
    if (status < 0) {
        code = failed(c, &e, "the vault cannot be listed");
    } else if (c->cli.json) {
        CLEANUP(json_freep) json_t *root = json_pack("{s:O}", "secrets", l.json);
        code = cli_put_json(root);
    } else {
        if (l.count == 0)
            buf_puts(&l.out, "the vault is empty\n");
        code = cli_put(&l.out);
    }
    json_decref(l.json);
    buf_done(&l.out);
    return code;
}

/* ---- rm, test, rekey ---- */

static int done(const struct secret_command *c, const char *name, const char *what,
                const char *text)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    if (c->cli.json) {
        CLEANUP(json_freep) json_t *value = json_pack("{s:s}", what, text);
        if (value && name)
            json_object_set_new(value, "name", json_string(name));
        return cli_put_json(value);
    }
    if (name)
        buf_printf(&out, "%s: ", name);
    cli_escaped(&out, text);
    buf_putc(&out, '\n');
    return cli_put(&out);
}

static int rm(struct secret_command *c, const char *name)
{
    CLEANUP(opened_done) struct opened o = { 0 };
    struct error e = ERROR_INIT;
    int status = open_vault(c, VAULT_CHANGE, &o, &e);
    if (status == 0)
        status = keeper_remove(o.keeper, name, &e);
    return status < 0 ? failed(c, &e, "the secret was not removed")
                      : done(c, name, "did", "removed");
}

static int test(struct secret_command *c, const char *name)
{
    CLEANUP(opened_done) struct opened o = { 0 };
    CLEANUP(mem_freep) char *text = NULL;
    struct error e = ERROR_INIT;
    if (open_vault(c, VAULT_READ, &o, &e) < 0)
        return failed(c, &e, "the vault does not open");
    if (keeper_test(o.keeper, name, &text, &e) < 0)
        return cli_fail(&c->cli, CLI_NO, &e, "the value of %s cannot be had", name);
    return done(c, name, "value", text);
}

static int rekey(struct secret_command *c)
{
    CLEANUP(opened_done) struct opened o = { 0 };
    struct vault_files *new_files = NULL;
    struct error e = ERROR_INIT;
    if (c->new_key == NULL) {
        error_set(&e, -EINVAL, "--new-key is missing");
        error_hint(&e, "ambit secret rekey --new-key file:PATH|passphrase|credential:NAME|"
                       "command:LINE");
        return cli_usage(&c->cli, &e);
    }
    int status = open_vault(c, VAULT_LOOK, &o, &e);
    if (status == 0)
        status = vault_open_rekey(o.vault, c->new_key, &new_files, &e);
    if (status == 0)
        status = begin_change(c, &o, &e);
    if (status == 0)
        status = keeper_rekey(o.keeper, new_files, &e);
    vault_close(new_files);
    return status < 0 ? failed(c, &e, "the vault has its old key")
                      : done(c, NULL, "did",
                             "the vault is sealed with the new key: name it with "
                             "--vault-key or AMBIT_VAULT_KEY");
}

/* ---- the verb ---- */

static int name_of(struct secret_command *c, struct error *e)
{
    if (c->word_count == 2)
        return grant_secret_name_check(c->words[1], e);
    if (c->word_count < 2)
        return error_set(e, -EINVAL, "NAME is missing: ambit secret %s NAME", c->words[0]);
    error_hint(e, "write it to standard input: ambit secret %s %s < FILE", c->words[0],
               c->words[1]);
    return error_set(e, -EINVAL,
                     "a value on the command line can be read by every process and "
                     "stays in the shell's history: none is taken");
}

static void no_such_word(const char *what, struct error *e)
{
    bool shows = strcmp(what, "get") == 0 || strcmp(what, "show") == 0;
    (void)error_set(e, -EINVAL, "there is no `ambit secret %.20s`", what);
    error_hint(
        e, shows ? "values are never printed; `ambit secret test NAME` says whether one can be had"
                 : "there are set, ls, rotate, rm, test and rekey: ambit help secret");
}

static int perform(struct secret_command *c)
{
    static const struct {
        const char *word;
        int (*act)(struct secret_command *c, const char *name);
    } named[] = { { "set", set }, { "rotate", rotate }, { "rm", rm }, { "test", test } };
    struct error e = ERROR_INIT;
    const char *what = c->word_count > 0 ? c->words[0] : "";
    for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
        if (strcmp(what, named[i].word) == 0)
            return name_of(c, &e) < 0 ? cli_usage(&c->cli, &e) : named[i].act(c, c->words[1]);
    }
    if (strcmp(what, "ls") == 0 && c->word_count == 1)
        return ls(c);
    if (strcmp(what, "rekey") == 0 && c->word_count == 1)
        return rekey(c);
    if (c->word_count == 0)
        (void)error_set(&e, -EINVAL, "say what to do: set, ls, rotate, rm, test or rekey");
    else if (strcmp(what, "ls") == 0 || strcmp(what, "rekey") == 0)
        (void)error_set(&e, -EINVAL, "%s takes no name", what);
    else
        no_such_word(what, &e);
    return cli_usage(&c->cli, &e);
}

int cli_secret(int argc, char **argv)
{
    CLEANUP(secret_command_done)
    struct secret_command c = { .cli = { .verb = help_verb_find("secret") } };
    struct error e = ERROR_INIT;
    int item, r = 0;
    while (r == 0 && (item = cli_next(&c.cli, argc, argv, &e)) != CLI_END) {
        if (item == CLI_HELP)
            return CLI_OK;
        r = item < 0 ? item : item == CLI_FLAG ? take_flag(&c, &e) : take_word(&c, &e);
    }
    return r < 0 ? cli_usage(&c.cli, &e) : perform(&c);
}
