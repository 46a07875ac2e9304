/* SPDX-License-Identifier: Apache-2.0 */
/* See grant_flags.h. Every value is checked where it is taken, so that an error names its flag. */
#include "cli/grant_flags.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/mounts.h"

#define GRANT_FILE_MAX (1u << 20)

/* The flag that is being taken, with the set that it goes to. */
struct taking {
    struct grant_flags *flags;
    const struct cli *cli;
};

int grant_flags_init(struct grant_flags *f, struct error *e)
{
    char path[4096];
    *f = (struct grant_flags){ 0 };
    if (getcwd(path, sizeof(path)) == NULL || path[0] != '/') {
        error_set(e, -ENOENT,
                  "the working directory has no name: it was removed, or is not below "
                  "the root");
        error_hint(e, "cd to a folder that exists");
        return -ENOENT;
    }
    f->work_host = mem_strdup(path);
    if (f->work_host == NULL)
        return error_set(e, -ENOMEM, "no memory");
    return grant_set_new(&f->set, e);
}

void grant_flags_done(struct grant_flags *f)
{
    grant_set_free(f->set);
    mem_free(f->work_host);
    mem_free(f->secrets);
    *f = (struct grant_flags){ 0 };
}

/* ---- flags → grants ---- */

static int no_memory(struct error *e)
{
    return error_set(e, -ENOMEM, "no memory for the command line");
}

static int add_grant(struct taking *t, struct grant *g, struct error *e)
{
    if (g->origin == NULL)
        g->origin = mem_printf("--%s", t->cli->flag->name);
    if (g->origin == NULL) {
        grant_done(g);
        return no_memory(e);
    }
    return grant_set_add(t->flags->set, g, e);
}

static int flag_path(struct taking *t, bool write, struct error *e)
{
    const char *flag = write ? "--write" : "--read";
    CLEANUP(mem_freep) char *host = NULL;
    struct grant g = { 0 };
    bool is_folder = false;

    int r = grant_path_flag_host(flag, t->cli->value, t->flags->work_host, &host, e);
    if (r == 0)
        r = mounts_path_is_folder(flag, host, &is_folder, e);
    if (r == 0)
        r = grant_from_path_flag(flag, t->cli->value, write, is_folder, t->flags->work_host, &g, e);
    if (r < 0)
        return r;
    return add_grant(t, &g, e);
}

/* NAME=VALUE as a grant of one pair. */
static int add_pair(struct taking *t, enum grant_class class, const char *name, size_t name_size,
                    const char *value, struct error *e)
{
    struct grant g = { .class = class, .pairs = mem_array(1, sizeof(struct grant_pair)) };
    if (g.pairs == NULL)
        return no_memory(e);
    g.pair_count = 1;
    g.pairs[0].key = mem_strndup(name, name_size);
    g.pairs[0].value = mem_strdup(value);
    if (g.pairs[0].key == NULL || g.pairs[0].value == NULL) {
        grant_done(&g);
        return no_memory(e);
    }
    return add_grant(t, &g, e);
}

static int flag_pair(struct taking *t, enum grant_class class, struct error *e)
{
    const char *text = t->cli->value, *equals = strchr(text, '=');
    if (equals != NULL)
        return add_pair(t, class, text, (size_t)(equals - text), equals + 1, e);
    if (class != GRANT_ENV) {
        error_set(e, -EINVAL, "--%s %s has no value", t->cli->flag->name, text);
        error_hint(e, "--%s %s=VALUE", t->cli->flag->name, text);
        return -EINVAL;
    }
    const char *own = getenv(text);
    if (own == NULL) {
        error_set(e, -EINVAL, "--env %s: you have no variable of that name", text);
        error_hint(e, "--env %s=VALUE", text);
        return -EINVAL;
    }
    return add_pair(t, class, text, strlen(text), own, e);
}

static int flag_clock(struct taking *t, struct error *e)
{
    struct grant g = { .class = GRANT_CLOCK, .real = strcmp(t->cli->value, "real") == 0 };
    if (!g.real && text_parse_timestamp(t->cli->value, &g.clock_ns, e) < 0) {
        error_hint(e, "--clock real, or --clock 2026-01-01T00:00:00Z");
        return -EINVAL;
    }
    return add_grant(t, &g, e);
}

static int flag_random(struct taking *t, struct error *e)
{
    struct grant g = { .class = GRANT_RANDOM, .real = strcmp(t->cli->value, "real") == 0 };
    if (!g.real && strncmp(t->cli->value, "seed:", 5) != 0) {
        error_set(e, -EINVAL, "--random does not take \"%s\"", t->cli->value);
        error_hint(e, "--random real, or --random seed:ANY-TEXT");
        return -EINVAL;
    }
    if (!g.real && (g.seed = mem_strdup(t->cli->value + 5)) == NULL)
        return no_memory(e);
    return add_grant(t, &g, e);
}

static int flag_log(struct taking *t, struct error *e)
{
    struct grant g = { .class = GRANT_LOG };

    for (const char *at = t->cli->value; *at != '\0';) {
        size_t length = strcspn(at, ","), level = 0;
        while (level < LOG_LEVEL_COUNT && (strlen(log_level_names[level]) != length ||
                                           memcmp(log_level_names[level], at, length) != 0))
            level++;
        if (level < LOG_LEVEL_COUNT) {
            g.levels |= 1u << level;
        } else if (length == 3 && memcmp(at, "all", 3) == 0) {
            g.levels = (1u << LOG_LEVEL_COUNT) - 1;
        } else {
            error_set(e, -EINVAL, "--log: there is no level \"%.*s\"",
                      (int)MIN(length, (size_t)100), at);
            error_hint(e, "trace, debug, info, warn, error, critical, or all");
            return -EINVAL;
        }
        at += length + (at[length] == ',');
    }
    return add_grant(t, &g, e);
}

static int flag_net(struct taking *t, struct error *e)
{
    struct grant g = { 0 };
    int r = grant_from_net_flag("--net", t->cli->value, &g, e);
    return r < 0 ? r : add_grant(t, &g, e);
}

/* Kept until all grants are known. */
static int flag_secret(struct taking *t, struct error *e)
{
    struct grant_flags *f = t->flags;
    const char **grown = mem_grow(f->secrets, f->secret_count + 1, sizeof(*grown));
    if (grown == NULL)
        return no_memory(e);
    f->secrets = grown;
    f->secrets[f->secret_count++] = t->cli->value;
    return 0;
}

int grant_flags_finish(struct grant_flags *f, struct error *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < f->secret_count; i++)
        r = grant_secret_flag(f->set, "--secret", f->secrets[i], e);
    return r;
}

static int flag_keyvalue(struct taking *t, struct error *e)
{
    struct grant g = { 0 };
    int r = grant_from_keyvalue_flag("--keyvalue", t->cli->value, &g, e);
    return r < 0 ? r : add_grant(t, &g, e);
}

static int flag_file(struct taking *t, struct error *e)
{
    const char *name = t->cli->value, *slash = strrchr(name, '/');
    CLEANUP(buf_done) struct buf text = BUF_INIT(GRANT_FILE_MAX);
    CLEANUP(grant_set_freep) struct grant_set *set = NULL;

    int r = t->flags->again ? file_read_regular(name, &text, e) : file_read(name, &text, e);
    if (r < 0) {
        error_hint(e, "name a grant file that you can read; ambit run --learn FILE writes one from "
                      "what was denied");
        return r;
    }
    CLEANUP(mem_freep)
    char *folder = slash == NULL ? mem_strdup(".")
                                 : mem_strndup(name, slash == name ? 1 : (size_t)(slash - name));
    if (folder == NULL)
        return no_memory(e);
    char *real = realpath(folder, NULL);
    if (real == NULL)
        return error_set_errno(e, errno, "the folder of %s", name);
    r = grant_set_parse(name, real, (const char *)text.data, text.size, &set, e);
    free(real); /* libc's own block */
    if (r == 0)
        r = grant_set_merge(t->flags->set, set, e);
    return r;
}

/* ---- flags → limits ---- */

static int limit_number(struct taking *t, uint64_t *limit, struct error *e)
{
    const char *text = t->cli->value;
    uint64_t n = 0;
    if (*text == '\0' || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text)) {
        error_set(e, -EINVAL, "--%s does not take \"%s\"", t->cli->flag->name, text);
        error_hint(e, "a number, for example --%s 1000", t->cli->flag->name);
        return -EINVAL;
    }
    for (; *text != '\0'; text++)
        n = n * 10 + (uint64_t)(*text - '0');
    *limit = MIN(*limit, n);
    return 0;
}

static int limit_size(struct taking *t, uint64_t *limit, struct error *e)
{
    uint64_t bytes;
    if (text_parse_size(t->cli->value, &bytes, e) < 0) {
        error_prefix(e, "--%s", t->cli->flag->name);
        return -EINVAL;
    }
    *limit = MIN(*limit, bytes);
    return 0;
}

static int limit_time(struct taking *t, uint64_t *limit, struct error *e)
{
    uint64_t ns;
    if (text_parse_duration(t->cli->value, &ns, e) < 0) {
        error_prefix(e, "--%s", t->cli->flag->name);
        return -EINVAL;
    }
    *limit = MIN(*limit, ns);
    return 0;
}

static int take_limit(struct taking *t, struct error *e)
{
    struct grant_limits *l = &t->flags->set->limits;
    switch (t->cli->flag->id) {
    case RUN_FLAG_MEMORY:
        return limit_size(t, &l->memory_bytes, e);
    case RUN_FLAG_CPU:
        return limit_time(t, &l->cpu_ns, e);
    case RUN_FLAG_WALL:
        return limit_time(t, &l->wall_ns, e);
    case RUN_FLAG_HANDLES:
        return limit_number(t, &l->handles, e);
    case RUN_FLAG_OUTPUT:
        return limit_size(t, &l->output_bytes, e);
    case RUN_FLAG_HOSTCALLS:
        return limit_number(t, &l->hostcalls, e);
    case RUN_FLAG_EXPIRES:
        return limit_time(t, &t->flags->set->expires_ns, e);
    default:
        return 1;
    }
}

int grant_flags_take(struct grant_flags *f, const struct cli *c, struct error *e)
{
    struct taking taking = { f, c }, *t = &taking;
    switch (c->flag->id) {
    case RUN_FLAG_READ:
        return flag_path(t, false, e);
    case RUN_FLAG_WRITE:
        return flag_path(t, true, e);
    case RUN_FLAG_NET:
        return flag_net(t, e);
    case RUN_FLAG_SECRET:
        return flag_secret(t, e);
    case RUN_FLAG_VAULT_KEY:
        f->vault_key = c->value;
        return 0;
    case RUN_FLAG_KEYVALUE:
        return flag_keyvalue(t, e);
    case RUN_FLAG_ENV:
        return flag_pair(t, GRANT_ENV, e);
    case RUN_FLAG_CONFIG:
        return flag_pair(t, GRANT_CONFIG, e);
    case RUN_FLAG_CLOCK:
        return flag_clock(t, e);
    case RUN_FLAG_RANDOM:
        return flag_random(t, e);
    case RUN_FLAG_LOG:
        return flag_log(t, e);
    case RUN_FLAG_GRANTS:
        return flag_file(t, e);
    default:
        return take_limit(t, e);
    }
}

static bool grant_flag_is(const struct help_flag *flag)
{
    return flag->id == RUN_FLAG_READ || flag->id == RUN_FLAG_WRITE || flag->id == RUN_FLAG_NET ||
           flag->id == RUN_FLAG_KEYVALUE || flag->id == RUN_FLAG_GRANTS ||
           flag->id == RUN_FLAG_ENV || flag->id == RUN_FLAG_CONFIG || flag->id == RUN_FLAG_CLOCK ||
           flag->id == RUN_FLAG_RANDOM || flag->id == RUN_FLAG_LOG;
}

int grant_flags_fail(const struct cli *c, struct error *e)
{
    if (grant_flag_is(c->flag))
        return cli_fail(c, CLI_GRANT, e, "this grant cannot be given: --%s %s", c->flag->name,
                        c->value);
    return cli_usage(c, e);
}
