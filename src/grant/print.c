/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets as text: the grammar again (YAML, JSON) and in words. YAML and JSON are read back by parse.c
 * as the same set, so whatever decides here what a grant looks like has its counterpart there.
 * Strings in words are escaped: they may come from a file that nobody trusts.
 */
#include "grant/printing.h"

#include <string.h>

static int printed(const struct buf *out, struct error *e)
{
    int r = buf_status(out);
    return r < 0 ? error_set(e, r,
                             r == -ENOMEM ? "no memory for the grants"
                                          : "the grants are too long to print")
                 : 0;
}

/* ---- YAML ---- */

void put_words(struct buf *out, uint32_t bits, const char *const *names, size_t count)
{
    const char *separator = "[";
    for (size_t i = 0; i < count; i++) {
        if (bits >> i & 1) {
            buf_printf(out, "%s%s", separator, names[i]);
            separator = ", ";
        }
    }
    buf_putc(out, ']');
}

void put_strings(struct buf *out, char *const *strings, size_t count)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i ? ", " : "");
        yaml_put_string(out, strings[i]);
    }
    buf_putc(out, ']');
}

void put_pairs(struct buf *out, const struct grant_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i ? ", " : "{ ");
        yaml_put_string(out, pairs[i].key);
        buf_puts(out, ": ");
        yaml_put_string(out, pairs[i].value);
    }
    buf_puts(out, " }");
}

/* The lines after the first start with `indent`. */
static void put_fs(struct buf *out, const struct grant *g, const char *indent)
{
    yaml_put_string(out, g->fs.guest);
    buf_printf(out, "\n%sfrom: ", indent);
    if (g->fs.backing == GRANT_BACKING_DIR) {
        buf_puts(out, "{ dir: ");
        yaml_put_string(out, g->fs.host);
        buf_puts(out, " }");
    } else {
        buf_puts(out, "memory");
    }
    buf_printf(out, "\n%sallow: ", indent);
    if (g->fs.verbs == FS_RO || g->fs.verbs == FS_RW)
        buf_puts(out, g->fs.verbs == FS_RO ? "ro" : "rw");
    else
        put_words(out, g->fs.verbs, fs_verb_names, FS_VERB_COUNT);
    buf_printf(out, "\n%spaths: ", indent);
    put_strings(out, g->fs.paths, g->fs.path_count);
    if (g->fs.max_bytes != GRANT_UNSET) {
        buf_printf(out, "\n%smax_bytes: ", indent);
        text_put_size(out, g->fs.max_bytes);
    }
    if (g->fs.max_files != GRANT_UNSET)
        buf_printf(out, "\n%smax_files: %llu", indent, (unsigned long long)g->fs.max_files);
}

static void put_grant(struct buf *out, const struct grant *g, const char *indent)
{
    buf_printf(out, "- %s: ", grant_class_name(g->class));
    switch (g->class) {
    case GRANT_FS:
        put_fs(out, g, indent);
        break;
    case GRANT_ENV:
    case GRANT_CONFIG:
        put_pairs(out, g->pairs, g->pair_count);
        break;
    case GRANT_ARGS:
        if (g->args_given)
            buf_puts(out, "given");
        else
            put_strings(out, g->args, g->arg_count);
        break;
    case GRANT_STDIO:
        put_words(out, g->streams, stdio_stream_names, STDIO_STREAM_COUNT);
        break;
    case GRANT_LOG:
        put_words(out, g->levels, log_level_names, LOG_LEVEL_COUNT);
        break;
    case GRANT_CLOCK:
        if (g->real)
            buf_puts(out, "real");
        else
            text_put_timestamp(out, g->clock_ns);
        break;
    case GRANT_RANDOM:
        yaml_put_string(out, g->real ? "real" : g->seed);
        break;
    case GRANT_HTTP:
        put_http(out, g, indent);
        break;
    case GRANT_KEYVALUE:
        put_keyvalue(out, g, indent);
        break;
    case GRANT_CLASS_COUNT:
        break;
    }
    buf_putc(out, '\n');
}

int grant_print(const struct grant *g, struct buf *yaml, struct error *e)
{
    put_grant(yaml, g, "  ");
    return printed(yaml, e);
}

struct limit_view {
    const char *name;
    enum { LIMIT_SIZE, LIMIT_DURATION, LIMIT_COUNT } unit;
    uint64_t value;
};
#define LIMITS 6

static void limits_view(const struct grant_limits *l, struct limit_view ret[static LIMITS])
{
    const struct limit_view views[LIMITS] = {
        { "memory", LIMIT_SIZE, l->memory_bytes }, { "cpu", LIMIT_DURATION, l->cpu_ns },
        { "wall", LIMIT_DURATION, l->wall_ns },    { "handles", LIMIT_COUNT, l->handles },
        { "output", LIMIT_SIZE, l->output_bytes }, { "hostcalls", LIMIT_COUNT, l->hostcalls },
    };
    memcpy(ret, views, sizeof(views));
}

static void put_limit_value(struct buf *out, const struct limit_view *l)
{
    if (l->unit == LIMIT_SIZE)
        text_put_size(out, l->value);
    else if (l->unit == LIMIT_DURATION)
        text_put_duration(out, l->value);
    else
        buf_printf(out, "%llu", (unsigned long long)l->value);
}

static void put_limits(struct buf *out, const struct grant_limits *limits)
{
    struct limit_view views[LIMITS];
    const char *separator = "limits: { ";
    limits_view(limits, views);
    for (size_t i = 0; i < LIMITS; i++) {
        if (views[i].value == GRANT_UNSET)
            continue;
        buf_printf(out, "%s%s: ", separator, views[i].name);
        put_limit_value(out, &views[i]);
        separator = ", ";
    }
    if (separator[0] == ',')
        buf_puts(out, " }\n");
}

int grant_set_print(const struct grant_set *s, struct buf *yaml, struct error *e)
{
    buf_puts(yaml, "version: 1\n");
    put_limits(yaml, &s->limits);
    if (s->expires_ns != GRANT_UNSET) {
        buf_puts(yaml, "expires: ");
        text_put_duration(yaml, s->expires_ns);
        buf_putc(yaml, '\n');
    }
    buf_puts(yaml, s->count ? "grants:\n" : "grants: []\n");
    for (size_t i = 0; i < s->count; i++) {
        buf_puts(yaml, "  ");
        put_grant(yaml, &s->grants[i], "    ");
    }
    return printed(yaml, e);
}

/* ---- JSON ---- */

bool member_put(json_t *object, const char *key, json_t *value)
{
    return value != NULL && json_object_set_new_nocheck(object, key, value) == 0;
}

json_t *words_to_json(uint32_t bits, const char *const *names, size_t count)
{
    CLEANUP(json_freep) json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if ((bits >> i & 1) && json_array_append_new(list, json_string(names[i])) < 0)
            return NULL;
    }
    return TAKE(list);
}

json_t *strings_to_json(char *const *strings, size_t count)
{
    CLEANUP(json_freep) json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        if (json_array_append_new(list, json_string(strings[i])) < 0)
            return NULL;
    }
    return TAKE(list);
}

json_t *pairs_to_json(const struct grant_pair *pairs, size_t count)
{
    CLEANUP(json_freep) json_t *object = json_object();
    for (size_t i = 0; object && i < count; i++) {
        if (!member_put(object, pairs[i].key, json_string(pairs[i].value)))
            return NULL;
    }
    return TAKE(object);
}

json_t *amount_to_json(void (*put)(struct buf *, uint64_t), uint64_t value)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    put(&text, value);
    return buf_status(&text) < 0 ? NULL : json_string(buf_cstr(&text));
}

static json_t *clock_to_json(int64_t ns)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    text_put_timestamp(&text, ns);
    return buf_status(&text) < 0 ? NULL : json_string(buf_cstr(&text));
}

static bool fs_to_json(const struct grant *g, json_t *object)
{
    json_t *from = g->fs.backing == GRANT_BACKING_MEMORY ? json_string("memory")
                                                         : json_pack("{s:s}", "dir", g->fs.host);
    json_t *allow = g->fs.verbs == FS_RO ? json_string("ro")
                    : g->fs.verbs == FS_RW
                        ? json_string("rw")
                        : words_to_json(g->fs.verbs, fs_verb_names, FS_VERB_COUNT);
    /* All three are taken, also when one of them is missing. */
    bool ok = member_put(object, "from", from);
    ok = member_put(object, "allow", allow) && ok;
    ok = member_put(object, "paths", strings_to_json(g->fs.paths, g->fs.path_count)) && ok;
    if (ok && g->fs.max_bytes != GRANT_UNSET)
        ok = member_put(object, "max_bytes", amount_to_json(text_put_size, g->fs.max_bytes));
    if (ok && g->fs.max_files != GRANT_UNSET)
        ok = member_put(object, "max_files", json_integer((json_int_t)g->fs.max_files));
    return ok;
}

static json_t *class_value_to_json(const struct grant *g)
{
    switch (g->class) {
    case GRANT_FS:
        return json_string(g->fs.guest);
    case GRANT_ENV:
    case GRANT_CONFIG:
        return pairs_to_json(g->pairs, g->pair_count);
    case GRANT_ARGS:
        return g->args_given ? json_string("given") : strings_to_json(g->args, g->arg_count);
    case GRANT_STDIO:
        return words_to_json(g->streams, stdio_stream_names, STDIO_STREAM_COUNT);
    case GRANT_LOG:
        return words_to_json(g->levels, log_level_names, LOG_LEVEL_COUNT);
    case GRANT_CLOCK:
        return g->real ? json_string("real") : clock_to_json(g->clock_ns);
    case GRANT_RANDOM:
        return json_string(g->real ? "real" : g->seed);
    case GRANT_HTTP:
        return http_origin_to_json(g);
    case GRANT_KEYVALUE:
        return json_string(g->keyvalue.bucket);
    case GRANT_CLASS_COUNT:
        break;
    }
    return NULL;
}

static json_t *grant_to_json(const struct grant *g)
{
    CLEANUP(json_freep) json_t *object = json_object();
    if (object == NULL || !member_put(object, grant_class_name(g->class), class_value_to_json(g)))
        return NULL;
    if ((g->class == GRANT_FS && !fs_to_json(g, object)) ||
        (g->class == GRANT_HTTP && !http_to_json(g, object)) ||
        (g->class == GRANT_KEYVALUE && !keyvalue_to_json(g, object)))
        return NULL;
    return TAKE(object);
}

static json_t *limits_to_json(const struct grant_limits *limits)
{
    struct limit_view views[LIMITS];
    CLEANUP(json_freep) json_t *object = json_object();
    limits_view(limits, views);
    for (size_t i = 0; object && i < LIMITS; i++) {
        json_t *value;
        if (views[i].value == GRANT_UNSET)
            continue;
        if (views[i].unit == LIMIT_COUNT)
            value = json_integer((json_int_t)views[i].value);
        else
            value = amount_to_json(views[i].unit == LIMIT_SIZE ? text_put_size : text_put_duration,
                                   views[i].value);
        if (!member_put(object, views[i].name, value))
            return NULL;
    }
    return TAKE(object);
}

json_t *grant_set_to_json(const struct grant_set *s)
{
    CLEANUP(json_freep) json_t *root = json_object();
    CLEANUP(json_freep) json_t *grants = json_array();
    if (root == NULL || grants == NULL || !member_put(root, "version", json_integer(1)))
        return NULL;
    json_t *limits = limits_to_json(&s->limits);
    if (json_object_size(limits) == 0 && limits != NULL)
        json_decref(limits);
    else if (!member_put(root, "limits", limits))
        return NULL;
    if (s->expires_ns != GRANT_UNSET &&
        !member_put(root, "expires", amount_to_json(text_put_duration, s->expires_ns)))
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        if (json_array_append_new(grants, grant_to_json(&s->grants[i])) < 0)
            return NULL;
    }
    return member_put(root, "grants", TAKE(grants)) ? TAKE(root) : NULL;
}

/* ---- words ---- */

void say(struct buf *out, const char *text)
{
    text_escape(out, text, strlen(text));
}

void say_words(struct buf *out, uint32_t bits, const char *const *names, size_t count)
{
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        if (!(bits >> i & 1))
            continue;
        bits &= ~(1u << i);
        buf_printf(out, "%s%s", first ? "" : bits ? ", " : " and ", names[i]);
        first = false;
    }
}

static void explain_fs(const struct grant *g, struct buf *out)
{
    bool all = g->fs.path_count == 1 && strcmp(g->fs.paths[0], "**") == 0;
    buf_puts(out, "May ");
    say_words(out, g->fs.verbs, fs_verb_names, FS_VERB_COUNT);
    buf_puts(out, all ? " everything in " : " in ");
    say(out, g->fs.guest);
    if (g->fs.backing == GRANT_BACKING_DIR) {
        buf_puts(out, " (the host's ");
        say(out, g->fs.host);
        buf_putc(out, ')');
    } else {
        buf_puts(out, " (memory, gone after the run)");
    }
    for (size_t i = 0; !all && i < g->fs.path_count; i++) {
        buf_puts(out, i ? ", " : ", only: ");
        if (strcmp(g->fs.paths[i], ".") == 0)
            buf_puts(out, "the folder itself");
        else
            say(out, g->fs.paths[i]);
    }
    if (g->fs.max_bytes != GRANT_UNSET) {
        buf_puts(out, "; writes at most ");
        text_put_size(out, g->fs.max_bytes);
    }
    if (g->fs.max_files != GRANT_UNSET)
        buf_printf(out, "; makes at most %llu files", (unsigned long long)g->fs.max_files);
}

static void explain_pairs(const struct grant *g, const char *lead, struct buf *out)
{
    buf_puts(out, lead);
    for (size_t i = 0; i < g->pair_count; i++) {
        buf_puts(out, i ? ", " : " ");
        say(out, g->pairs[i].key);
        buf_puts(out, "=");
        say(out, g->pairs[i].value);
    }
}

static void explain_args(const struct grant *g, struct buf *out)
{
    if (g->args_given)
        buf_puts(out, "Sees the arguments typed after FILE");
    else
        buf_puts(out, g->arg_count ? "Sees exactly these arguments, whatever was typed:"
                                   : "Sees no arguments, whatever was typed");
    for (size_t i = 0; i < g->arg_count; i++) {
        buf_puts(out, i ? ", " : " ");
        say(out, g->args[i]);
    }
}

static void explain_grant(const struct grant *g, struct buf *out)
{
    switch (g->class) {
    case GRANT_FS:
        explain_fs(g, out);
        break;
    case GRANT_ENV:
        explain_pairs(g, "Sees the environment variables", out);
        break;
    case GRANT_CONFIG:
        explain_pairs(g, "Sees the configuration", out);
        break;
    case GRANT_ARGS:
        explain_args(g, out);
        break;
    case GRANT_STDIO:
        buf_puts(out, "May use ");
        say_words(out, g->streams, stdio_stream_names, STDIO_STREAM_COUNT);
        break;
    case GRANT_LOG:
        buf_puts(out, "May log at the levels ");
        say_words(out, g->levels, log_level_names, LOG_LEVEL_COUNT);
        break;
    case GRANT_CLOCK:
        buf_puts(out, g->real ? "Sees the host's clocks" : "Sees a clock that stands at ");
        if (!g->real)
            text_put_timestamp(out, g->clock_ns);
        break;
    case GRANT_RANDOM:
        buf_puts(out, g->real ? "Draws the host's random numbers"
                              : "Draws the repeatable random numbers of the seed ");
        if (!g->real)
            say(out, g->seed[0] ? g->seed : "\"\"");
        break;
    case GRANT_HTTP:
        explain_http(g, out);
        break;
    case GRANT_KEYVALUE:
        explain_keyvalue(g, out);
        break;
    case GRANT_CLASS_COUNT:
        break;
    }
    if (g->origin) {
        buf_puts(out, "  [");
        say(out, g->origin);
        buf_putc(out, ']');
    }
    buf_putc(out, '\n');
}

static void explain_limits(const struct grant_set *s, struct buf *out)
{
    static const char *const phrases[LIMITS] = { "memory",          "CPU time",
                                                 "wall-clock time", "open handles",
                                                 "bytes of output", "host calls" };
    struct grant_limits filled = s->limits;
    struct limit_view named[LIMITS], views[LIMITS];
    limits_view(&s->limits, named);
    grant_limits_fill(&filled);
    limits_view(&filled, views);
    for (size_t i = 0; i < LIMITS; i++) {
        buf_printf(out, "Ends when it passes %s: ", phrases[i]);
        put_limit_value(out, &views[i]);
        buf_puts(out, named[i].value == GRANT_UNSET ? "  [default]\n" : "\n");
    }
    if (s->expires_ns == GRANT_UNSET)
        return;
    buf_puts(out, "All grants expire ");
    text_put_duration(out, s->expires_ns);
    buf_puts(out, " after the start\n");
}

/* Which classes nobody granted, as what the guest then meets. */
static void explain_absent(const struct grant_set *s, struct buf *out)
{
    static const char *const absent[GRANT_CLASS_COUNT] = {
        [GRANT_FS] = "Sees no files\n",
        [GRANT_ENV] = "Sees no environment variables\n",
        [GRANT_ARGS] = "Sees no arguments\n",
        [GRANT_STDIO] = "Has no standard input, output or error\n",
        [GRANT_CONFIG] = "Sees no configuration\n",
        [GRANT_CLOCK] = "Sees a clock that stands at 1970-01-01T00:00:00Z\n",
        [GRANT_RANDOM] = "Draws the same random numbers in every run\n",
        [GRANT_LOG] = "Cannot log\n",
        [GRANT_HTTP] = "Reaches nothing over the network\n",
        [GRANT_KEYVALUE] = "Has no key-value buckets\n",
    };
    for (int c = 0; c < GRANT_CLASS_COUNT; c++) {
        bool found = false;
        for (size_t i = 0; i < s->count && !found; i++)
            found = s->grants[i].class == (enum grant_class)c;
        if (!found)
            buf_puts(out, absent[c]);
    }
}

int grant_set_explain(const struct grant_set *s, struct buf *out, struct error *e)
{
    for (size_t i = 0; i < s->count; i++)
        explain_grant(&s->grants[i], out);
    explain_absent(s, out);
    explain_limits(s, out);
    return printed(out, e);
}
