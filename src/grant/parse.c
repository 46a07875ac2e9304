/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grant file. base/json gives one tree for YAML and JSON, with a place for every node; this
 * file gives it its meaning. Nothing is skipped: a key, word or type that is not in the grammar is
 * an error at its own line and column, with a hint when there is a likely meaning. What the
 * design's grammar has and this version has not is an error that says so.
 *
 * Error texts read "name:line:column: what", so that they stand alone when several files are given.
 */
#include "grant/reader.h"

#include <string.h>

/* ---- fs ---- */

static int read_allow(struct reader *r, const json_t *node, uint32_t *ret)
{
    static const char *const short_names[] = { "ro", "rw" };
    if (json_is_string(node)) {
        const char *word = json_string_value(node);
        if (strcmp(word, "ro") == 0 || strcmp(word, "rw") == 0) {
            *ret = word[1] == 'o' ? FS_RO : FS_RW;
            return 0;
        }
        int result = at_node(
            r, node,
            fail_word(r, "value of `allow`", word, "", short_names, ARRAY_SIZE(short_names)));
        error_hint(r->error, "write ro, rw, or a list such as [read, list]");
        return result;
    }
    return read_word_list(r, node, "allow", "verb", fs_verb_names, FS_VERB_COUNT, ret);
}

static int read_host(struct reader *r, const json_t *node, char **ret)
{
    const char *path;
    int result = read_string(r, node, "`dir`", &path);
    if (result < 0)
        return result;
    if (path[0] == '~' || path[0] == '$') {
        result = at_node(
            r, node,
            error_set(r->error, -EINVAL, "host path `%s`: `%c` is not expanded", path, path[0]));
        error_hint(r->error, "write the path in full, or `./%s` for a folder of that name", path);
        return result;
    }
    result = host_path_resolve(r->base_dir, path, ret, r->error);
    return result < 0 ? at_node(r, node, result) : 0;
}

static int fail_backing(struct reader *r, const json_t *from, const char *key)
{
    static const char *const names[] = { "dir", "memory" };
    if (grant_backing_is_planned(key)) {
        int result = at_key(
            r, from, key,
            error_set(r->error, -EINVAL, "the backing `%s` is not available in this version", key));
        error_hint(r->error, "available: { dir: PATH }, memory");
        return result;
    }
    int result = at_key(r, from, key, fail_word(r, "backing", key, "", names, ARRAY_SIZE(names)));
    if (strcmp(key, "memory") == 0)
        error_hint(r->error, "write `from: memory`");
    return result;
}

static int read_from(struct reader *r, const json_t *node, struct grant *g)
{
    if (json_is_string(node)) {
        const char *word = json_string_value(node);
        if (strcmp(word, "memory") == 0) {
            g->fs.backing = GRANT_BACKING_MEMORY;
            return 0;
        }
        int result =
            at_node(r, node, error_set(r->error, -EINVAL, "unknown value `%s` of `from`", word));
        error_hint(
            r->error,
            "a folder of the host is `from: { dir: %.200s }`; a scratch space is `from: memory`",
            word);
        return result;
    }
    if (!json_is_object(node))
        return fail_type(r, node, "`from`", "{ dir: PATH } or memory");
    if (json_object_size(node) == 0)
        return at_node(r, node, error_set(r->error, -EINVAL, "`from` names no backing"));
    bool found = false;
    for (struct member m = { 0 }; member_next(r, node, &m);) {
        if (strcmp(m.key, "dir") != 0)
            return fail_backing(r, node, m.key);
        int result = read_host(r, m.value, &g->fs.host);
        if (result < 0)
            return result;
        found = true;
    }
    ASSERT(found);
    g->fs.backing = GRANT_BACKING_DIR;
    return 0;
}

static int read_paths(struct reader *r, const json_t *node, struct grant *g)
{
    static const struct list_kind kind = {
        "paths", "pattern", "everything in the mount", GRANT_PATTERNS_MAX, false, glob_check
    };
    return read_string_list(r, node, &kind, &g->fs.paths, &g->fs.path_count);
}

static int fail_missing(struct reader *r, const json_t *item, const char *key, const char *hint)
{
    int result = at_node(r, item, error_set(r->error, -EINVAL, "a grant of fs needs `%s`", key));
    error_hint(r->error, "%s", hint);
    return result;
}

/* The keys of an fs item but `fs` itself. */
static int read_fs_key(struct reader *r, const json_t *item, const char *key, const json_t *value,
                       struct grant *g)
{
    static const char *const keys[] = { "fs", "from", "allow", "paths", "max_bytes", "max_files" };
    if (strcmp(key, "from") == 0)
        return read_from(r, value, g);
    if (strcmp(key, "allow") == 0)
        return read_allow(r, value, &g->fs.verbs);
    if (strcmp(key, "paths") == 0)
        return read_paths(r, value, g);
    if (strcmp(key, "max_bytes") == 0)
        return read_amount(r, value, key, UNIT_SIZE, &g->fs.max_bytes);
    if (strcmp(key, "max_files") == 0)
        return read_amount(r, value, key, UNIT_COUNT, &g->fs.max_files);
    return at_key(r, item, key,
                  fail_word(r, "key", key, " in a grant of fs", keys, ARRAY_SIZE(keys)));
}

static int read_fs(struct reader *r, const json_t *item, const json_t *value, struct grant *g)
{
    g->fs.max_bytes = g->fs.max_files = GRANT_UNSET;
    int result = read_string_copy(r, value, "`fs`", &g->fs.guest);
    if (result < 0)
        return result;
    result = guest_path_check(g->fs.guest, r->error);
    if (result < 0)
        return at_node(r, value, result);
    for (struct member m = { 0 }; member_next(r, item, &m);) {
        if (strcmp(m.key, "fs") == 0)
            continue;
        result = read_fs_key(r, item, m.key, m.value, g);
        if (result < 0)
            return result;
    }
    if (json_object_get(item, "from") == NULL)
        return fail_missing(r, item, "from", "write `from: { dir: PATH }` or `from: memory`");
    if (json_object_get(item, "allow") == NULL)
        return fail_missing(r, item, "allow",
                            "write `allow: ro`, `allow: rw` or a list such as [read, list]");
    return g->fs.paths ? 0 : strings_of_one("**", &g->fs.paths, &g->fs.path_count, r->error);
}

/* ---- the other classes ---- */

static int read_pairs(struct reader *r, const json_t *node, struct grant *g)
{
    const char *class = grant_class_name(g->class);
    char noun[64];
    (void)snprintf(noun, sizeof(noun), "`%s`", class);
    if (!json_is_object(node)) {
        int result = fail_type(r, node, noun, "a mapping");
        error_hint(r->error, "write `%s: { NAME: value }`", class);
        return result;
    }
    size_t count = json_object_size(node);
    if (count == 0)
        return at_node(r, node,
                       error_set(r->error, -EINVAL, "`%s` is empty: it grants nothing", class));
    g->pairs = mem_array(count, sizeof(*g->pairs));
    if (g->pairs == NULL)
        return grant_no_memory(r->error);
    for (struct member m = { 0 }; member_next(r, node, &m);) {
        struct grant_pair *pair = &g->pairs[g->pair_count++];
        struct grant one = { .class = g->class, .pairs = pair, .pair_count = 1 };
        pair->key = mem_strdup(m.key);
        if (pair->key == NULL)
            return grant_no_memory(r->error);
        int result = read_string_copy(r, m.value, "a value", &pair->value);
        if (result < 0) {
            error_prefix(r->error, "%s `%s`", class, m.key);
            return result;
        }
        result = grant_check(&one, r->error);
        if (result < 0)
            return at_key(r, node, m.key, result);
    }
    return 0;
}

static int read_args(struct reader *r, const json_t *node, struct grant *g)
{
    if (json_is_string(node) && strcmp(json_string_value(node), "given") == 0) {
        g->args_given = true;
        return 0;
    }
    if (!json_is_array(node)) {
        int result = fail_type(r, node, "`args`", "`given` or a list of strings");
        if (json_is_string(node))
            error_hint(
                r->error,
                "`args: given` passes the arguments typed after FILE; a list is `args: [a, b]`");
        return result;
    }
    g->args = mem_array(json_array_size(node) + 1, sizeof(*g->args));
    if (g->args == NULL)
        return grant_no_memory(r->error);
    for (size_t i = 0; i < json_array_size(node); i++) {
        int result = read_string_copy(r, json_array_get(node, i), "an argument", &g->args[i]);
        if (result < 0)
            return result;
        g->arg_count++;
    }
    return 0;
}

static int read_clock(struct reader *r, const json_t *node, struct grant *g)
{
    const char *text;
    int result = read_string(r, node, "`clock`", &text);
    if (result < 0) {
        error_hint(r->error, "write `clock: real` or a time such as 2026-01-01T00:00:00Z");
        return result;
    }
    if (strcmp(text, "real") == 0) {
        g->real = true;
        return 0;
    }
    result = text_parse_timestamp(text, &g->clock_ns, r->error);
    if (result < 0) {
        error_prefix(r->error, "`clock`");
        error_hint(r->error, "write `clock: real` or a time such as 2026-01-01T00:00:00Z");
        return at_node(r, node, result);
    }
    return 0;
}

static int read_random(struct reader *r, const json_t *node, struct grant *g)
{
    const char *text;
    int result = read_string(r, node, "`random`", &text);
    if (result < 0)
        return result;
    if (strcmp(text, "real") == 0) {
        g->real = true;
        return 0;
    }
    g->seed = mem_strdup(text);
    return g->seed ? 0 : grant_no_memory(r->error);
}

static int read_class(struct reader *r, const json_t *item, const json_t *value, struct grant *g)
{
    switch (g->class) {
    case GRANT_FS:
        return read_fs(r, item, value, g);
    case GRANT_ENV:
    case GRANT_CONFIG:
        return read_pairs(r, value, g);
    case GRANT_ARGS:
        return read_args(r, value, g);
    case GRANT_STDIO:
        return read_word_list(r, value, "stdio", "stream", stdio_stream_names, STDIO_STREAM_COUNT,
                              &g->streams);
    case GRANT_LOG:
        return read_word_list(r, value, "log", "level", log_level_names, LOG_LEVEL_COUNT,
                              &g->levels);
    case GRANT_CLOCK:
        return read_clock(r, value, g);
    case GRANT_RANDOM:
        return read_random(r, value, g);
    case GRANT_HTTP:
        return read_http(r, item, value, g);
    case GRANT_KEYVALUE:
        return read_keyvalue(r, item, value, g);
    case GRANT_CLASS_COUNT:
        break;
    }
    ASSERT(!"a class without a reader");
    return -EINVAL;
}

/* ---- items ---- */

static int fail_no_class(struct reader *r, const json_t *item)
{
    static const char *const names[] = { "fs",    "env",    "args", "stdio", "config",
                                         "clock", "random", "log",  "http",  "keyvalue" };
    struct member first = { 0 };
    if (!member_next(r, item, &first))
        return at_node(r, item, error_set(r->error, -EINVAL, "a grant that names no class"));
    return at_key(r, item, first.key,
                  fail_word(r, "class of grant", first.key, "", names, ARRAY_SIZE(names)));
}

/* Exactly one key of an item is a class. */
static int find_class(struct reader *r, const json_t *item, enum grant_class *ret)
{
    int class = -1;
    for (struct member m = { 0 }; member_next(r, item, &m);) {
        if (grant_class_is_planned(m.key)) {
            int result =
                at_key(r, item, m.key,
                       error_set(r->error, -EINVAL,
                                 "the class `%s` is not available in this version", m.key));
            error_hint(r->error,
                       "available: fs, env, args, stdio, config, clock, random, log, http, "
                       "keyvalue");
            return result;
        }
        int found = grant_class_by_name(m.key);
        if (found < 0)
            continue;
        if (class >= 0) {
            int result = at_key(r, item, m.key,
                                error_set(r->error, -EINVAL, "`%s` and `%s` in one grant",
                                          grant_class_name((enum grant_class) class), m.key));
            error_hint(r->error, "each is a list item of its own: start a line with `- %s:`",
                       m.key);
            return result;
        }
        class = found;
    }
    if (class < 0)
        return fail_no_class(r, item);
    *ret = (enum grant_class) class;
    return 0;
}

static int check_lone_key(struct reader *r, const json_t *item, const char *class)
{
    for (struct member m = { 0 }; member_next(r, item, &m);) {
        if (strcmp(m.key, class) != 0)
            return at_key(r, item, m.key,
                          error_set(r->error, -EINVAL,
                                    "unknown key `%s`: a grant of %s has no further keys", m.key,
                                    class));
    }
    return 0;
}

static int read_item(struct reader *r, const json_t *item)
{
    CLEANUP(grant_done) struct grant g = { 0 };
    unsigned line = 0, column = 0;
    if (!json_is_object(item)) {
        int result = fail_type(r, item, "a grant", "a mapping such as `env: { NAME: value }`");
        return result;
    }
    int result = find_class(r, item, &g.class);
    if (result < 0)
        return result;
    const char *class = grant_class_name(g.class);
    if (g.class != GRANT_FS && g.class != GRANT_HTTP && g.class != GRANT_KEYVALUE) {
        result = check_lone_key(r, item, class);
        if (result < 0)
            return result;
    }
    const json_t *value = json_object_get(item, class);
    r->object = item;
    r->key = class;
    result = read_class(r, item, value, &g);
    if (result < 0)
        return result;
    document_place(r->document, item, &line, &column);
    g.origin = mem_printf("%s:%u", r->name, line);
    if (g.origin == NULL)
        return grant_no_memory(r->error);
    result = grant_set_add(r->set, &g, r->error);
    return result < 0 ? at_node(r, value, result) : 0;
}

/* ---- the document ---- */

static int read_limits(struct reader *r, const json_t *node)
{
    static const char *const names[] = {
        "memory", "cpu", "wall", "handles", "output", "hostcalls"
    };
    static const enum unit units[] = { UNIT_SIZE,  UNIT_DURATION, UNIT_DURATION,
                                       UNIT_COUNT, UNIT_SIZE,     UNIT_COUNT };
    struct grant_limits *l = &r->set->limits;
    uint64_t *const fields[] = { &l->memory_bytes, &l->cpu_ns,       &l->wall_ns,
                                 &l->handles,      &l->output_bytes, &l->hostcalls };
    if (!json_is_object(node)) {
        int result = fail_type(r, node, "`limits`", "a mapping");
        error_hint(r->error, "for example `limits: { memory: 64MiB, wall: 30s }`");
        return result;
    }
    for (struct member m = { 0 }; member_next(r, node, &m);) {
        size_t i = 0;
        while (i < ARRAY_SIZE(names) && strcmp(names[i], m.key) != 0)
            i++;
        if (i == ARRAY_SIZE(names))
            return at_key(r, node, m.key,
                          fail_word(r, "limit", m.key, "", names, ARRAY_SIZE(names)));
        int result = read_amount(r, m.value, m.key, units[i], fields[i]);
        if (result < 0)
            return result;
        if (*fields[i] == 0)
            return at_node(r, m.value,
                           error_set(r->error, -EINVAL, "`%s` is zero: nothing could run", m.key));
    }
    return 0;
}

static int read_grants(struct reader *r, const json_t *node)
{
    if (!json_is_array(node)) {
        int result = fail_type(r, node, "`grants`", "a list");
        error_hint(r->error, json_is_null(node) ? "for no grants write `grants: []`"
                                                : "each grant starts with `- `");
        return result;
    }
    for (size_t i = 0; i < json_array_size(node); i++) {
        r->object = document_root(r->document);
        r->key = "grants";
        int result = read_item(r, json_array_get(node, i));
        if (result < 0)
            return result;
    }
    return 0;
}

static int read_version(struct reader *r, const json_t *root)
{
    const json_t *version = json_object_get(root, "version");
    if (version == NULL) {
        int result = at_node(r, root, error_set(r->error, -EINVAL, "`version` is missing"));
        error_hint(r->error, "start the file with `version: 1`");
        return result;
    }
    r->object = root;
    r->key = "version";
    if (!json_is_integer(version) || json_integer_value(version) != 1) {
        int result = at_node(
            r, version, error_set(r->error, -EINVAL, "`version` is not 1, the only one there is"));
        error_hint(r->error, "write `version: 1`");
        return result;
    }
    return 0;
}

static int read_root_key(struct reader *r, const json_t *root, const char *key, const json_t *value)
{
    static const char *const keys[] = { "version", "limits", "grants", "expires" };
    if (strcmp(key, "version") == 0)
        return 0; /* read_version */
    if (strcmp(key, "limits") == 0)
        return read_limits(r, value);
    if (strcmp(key, "grants") == 0)
        return read_grants(r, value);
    if (strcmp(key, "expires") != 0) {
        int result = at_key(r, root, key, fail_word(r, "key", key, "", keys, ARRAY_SIZE(keys)));
        if (grant_class_by_name(key) >= 0)
            error_hint(r->error, "grants are list items under `grants:`");
        return result;
    }
    int result = read_amount(r, value, key, UNIT_DURATION, &r->set->expires_ns);
    if (result == 0 && r->set->expires_ns == 0)
        result =
            at_node(r, value, error_set(r->error, -EINVAL, "`expires` is zero: nothing could run"));
    return result;
}

static int read_root(struct reader *r)
{
    const json_t *root = document_root(r->document);
    if (!json_is_object(root)) {
        int result = fail_type(r, root, "a grant file", "a mapping");
        error_hint(r->error, "start it with `version: 1`");
        return result;
    }
    int result = read_version(r, root);
    for (struct member m = { 0 }; result == 0 && member_next(r, root, &m);)
        result = read_root_key(r, root, m.key, m.value);
    return result;
}

int grant_set_parse(const char *name, const char *base_dir, const char *text, size_t size,
                    struct grant_set **ret, struct error *e)
{
    CLEANUP(document_freep) struct document *document = NULL;
    CLEANUP(grant_set_freep) struct grant_set *set = NULL;
    struct error local = ERROR_INIT;
    if (e == NULL)
        e = &local;
    int result = document_parse(name, text, size, &document, e);
    if (result < 0)
        return result;
    result = grant_set_new(&set, e);
    if (result < 0)
        return result;
    struct reader r = { document, name, base_dir, set, e, NULL, NULL };
    result = read_root(&r);
    if (result < 0) {
        if (e->line > 0)
            error_prefix(e, "%s:%u:%u", name, e->line, e->column);
        else
            error_prefix(e, "%s", name);
        return result;
    }
    *ret = TAKE(set);
    return 0;
}
