/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants and sets of them as values. Invariant of a set: each grant is well formed by itself
 * (grant_check) and agrees with the others (grants_agree): one guest path has one source, one
 * variable, key, clock, stream of random numbers or list of arguments has one value. grant_set_add
 * is the only way in, so whoever has a set may rely on that.
 */
#include "grant/internal.h"

#include <string.h>

int grant_no_memory(struct error *e)
{
    return error_set(e, -ENOMEM, "no memory for the grants");
}

/* NULL is fine for both, whatever the count says. */
static void pairs_free(struct grant_pair *pairs, size_t count)
{
    for (size_t i = 0; pairs && i < count; i++) {
        mem_free(pairs[i].key);
        mem_free(pairs[i].value);
    }
    mem_free(pairs);
}

static void strings_free(char **strings, size_t count)
{
    for (size_t i = 0; strings && i < count; i++)
        mem_free(strings[i]);
    mem_free(strings);
}

int strings_of_one(const char *text, char ***ret, size_t *ret_count, struct error *e)
{
    char **strings = mem_array(1, sizeof(*strings));
    if (strings == NULL)
        return grant_no_memory(e);
    *ret = strings;
    strings[0] = mem_strdup(text);
    if (strings[0] == NULL)
        return grant_no_memory(e);
    *ret_count = 1;
    return 0;
}

bool strings_have(char *const *strings, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(strings[i], text) == 0)
            return true;
    }
    return false;
}

void grant_done(struct grant *g)
{
    mem_free(g->origin);
    mem_free(g->fs.guest);
    mem_free(g->fs.host);
    strings_free(g->fs.paths, g->fs.path_count);
    mem_free(g->http.host);
    strings_free(g->http.methods, g->http.method_count);
    strings_free(g->http.paths, g->http.path_count);
    pairs_free(g->http.require, g->http.require_count);
    pairs_free(g->http.set, g->http.set_count);
    strings_free(g->http.strip, g->http.strip_count);
    mem_free(g->http.addresses);
    mem_free(g->keyvalue.bucket);
    strings_free(g->keyvalue.keys, g->keyvalue.key_count);
    pairs_free(g->pairs, g->pair_count);
    strings_free(g->args, g->arg_count);
    mem_free(g->seed);
    *g = (struct grant){ 0 };
}

int grant_set_new(struct grant_set **ret, struct error *e)
{
    struct grant_set *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return grant_no_memory(e);
    s->limits = (struct grant_limits){ GRANT_UNSET, GRANT_UNSET, GRANT_UNSET,
                                       GRANT_UNSET, GRANT_UNSET, GRANT_UNSET };
    s->expires_ns = GRANT_UNSET;
    *ret = s;
    return 0;
}

void grant_set_free(struct grant_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++)
        grant_done(&s->grants[i]);
    mem_free(s->grants);
    mem_free(s);
}

/* ---- one grant by itself ---- */

static int fs_check(const struct grant *g, struct error *e)
{
    if (g->fs.guest == NULL)
        return error_set(e, -EINVAL, "a grant of fs without a guest path");
    int r = guest_path_check(g->fs.guest, e);
    if (r < 0)
        return r;
    if (g->fs.verbs == 0 || (g->fs.verbs & ~(uint32_t)FS_RW) != 0)
        return error_set(e, -EINVAL, "a grant of fs that allows nothing");
    if (g->fs.path_count == 0)
        return error_set(e, -EINVAL, "a grant of fs without paths");
    if (g->fs.path_count > GRANT_PATTERNS_MAX)
        return error_set(e, -EINVAL, "more than %d patterns in one grant", GRANT_PATTERNS_MAX);
    for (size_t i = 0; i < g->fs.path_count; i++) {
        r = glob_check(g->fs.paths[i], e);
        if (r < 0)
            return r;
    }
    if ((g->fs.max_bytes != GRANT_UNSET && g->fs.max_bytes > GRANT_NUMBER_MAX) ||
        (g->fs.max_files != GRANT_UNSET && g->fs.max_files > GRANT_NUMBER_MAX))
        return error_set(e, -EINVAL, "a quota is too large");
    if (g->fs.backing == GRANT_BACKING_MEMORY)
        return g->fs.host == NULL ? 0 : error_set(e, -EINVAL, "a memory mount has no host path");
    CLEANUP(mem_freep) char *shortest = NULL;
    if (g->fs.host == NULL)
        return error_set(e, -EINVAL, "a mount of a folder needs its host path");
    r = host_path_resolve(NULL, g->fs.host, &shortest, e);
    if (r == 0 && strcmp(shortest, g->fs.host) != 0)
        r = error_set(e, -EINVAL, "host path `%s` is not in its shortest form", g->fs.host);
    return r;
}

static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

static int pairs_check(const struct grant *g, const char *noun, struct error *e)
{
    if (g->pair_count == 0)
        return error_set(e, -EINVAL, "a grant of %s that names nothing",
                         grant_class_name(g->class));
    if (g->pair_count > GRANT_PAIRS_MAX)
        return error_set(e, -EINVAL, "more than %d of them", GRANT_PAIRS_MAX);
    for (size_t i = 0; i < g->pair_count; i++) {
        const char *key = g->pairs[i].key, *value = g->pairs[i].value;
        if (key == NULL || value == NULL)
            return error_set(e, -EINVAL, "a %s without a value", noun);
        if (key[0] == '\0')
            return error_set(e, -EINVAL, "a %s without a name", noun);
        if (strlen(key) > GRANT_NAME_MAX)
            return error_set(e, -EINVAL, "the name of a %s is longer than %d bytes", noun,
                             GRANT_NAME_MAX);
        if (has_control(key) || (g->class == GRANT_ENV && strchr(key, '=') != NULL))
            return error_set(e, -EINVAL, "`%s` cannot be the name of a %s", key, noun);
        if (!text_is_utf8(key, strlen(key)) || !text_is_utf8(value, strlen(value)))
            return error_set(e, -EINVAL, "%s `%s` is not UTF-8", noun, key);
    }
    return 0;
}

static int args_check(const struct grant *g, struct error *e)
{
    if (g->args_given && g->arg_count > 0)
        return error_set(e, -EINVAL, "arguments are either the given ones or a list");
    for (size_t i = 0; i < g->arg_count; i++) {
        if (!text_is_utf8(g->args[i], strlen(g->args[i])))
            return error_set(e, -EINVAL, "an argument is not UTF-8");
    }
    return 0;
}

static int random_check(const struct grant *g, struct error *e)
{
    if (g->real)
        return 0;
    if (g->seed == NULL)
        return error_set(e, -EINVAL, "a grant of random without a seed");
    if (!text_is_utf8(g->seed, strlen(g->seed)))
        return error_set(e, -EINVAL, "the seed is not UTF-8");
    if (strcmp(g->seed, "real") == 0)
        return error_set(e, -EINVAL, "`real` is the host's own randomness, it cannot be a seed");
    return 0;
}

int grant_check(const struct grant *g, struct error *e)
{
    switch (g->class) {
    case GRANT_FS:
        return fs_check(g, e);
    case GRANT_ENV:
        return pairs_check(g, "variable", e);
    case GRANT_CONFIG:
        return pairs_check(g, "config key", e);
    case GRANT_ARGS:
        return args_check(g, e);
    case GRANT_STDIO:
        if (g->streams == 0 || g->streams >> STDIO_STREAM_COUNT != 0)
            return error_set(e, -EINVAL, "a grant of stdio that names no stream");
        return 0;
    case GRANT_LOG:
        if (g->levels == 0 || g->levels >> LOG_LEVEL_COUNT != 0)
            return error_set(e, -EINVAL, "a grant of log that names no level");
        return 0;
    case GRANT_RANDOM:
        return random_check(g, e);
    case GRANT_CLOCK:
        return 0;
    case GRANT_HTTP:
        return http_check(g, e);
    case GRANT_KEYVALUE:
        return keyvalue_check(g, e);
    case GRANT_CLASS_COUNT:
        break;
    }
    return error_set(e, -EINVAL, "a grant of no class");
}

/* ---- two grants beside each other ---- */

static const char *origin_of(const struct grant *g)
{
    return g->origin ? g->origin : "an earlier grant";
}

static bool strings_equal(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++) {
        if (strcmp(a[i], b[i]) != 0)
            return false;
    }
    return true;
}

static int sources_agree(const struct grant *a, const struct grant *b, struct error *e)
{
    if (strcmp(a->fs.guest, b->fs.guest) != 0)
        return 0;
    if (a->fs.backing == b->fs.backing &&
        (a->fs.backing == GRANT_BACKING_MEMORY || strcmp(a->fs.host, b->fs.host) == 0))
        return 0;
    int r = error_set(e, -EINVAL, "overlapping mounts: `%s` is %s here and %s in %s", b->fs.guest,
                      b->fs.host ? b->fs.host : "memory", a->fs.host ? a->fs.host : "memory",
                      origin_of(a));
    error_hint(e, "one guest path has one source; give one of them another place");
    return r;
}

static int pairs_agree(const struct grant *a, const struct grant *b, struct error *e)
{
    for (size_t i = 0; i < a->pair_count; i++) {
        for (size_t j = 0; j < b->pair_count; j++) {
            if (strcmp(a->pairs[i].key, b->pairs[j].key) == 0 &&
                strcmp(a->pairs[i].value, b->pairs[j].value) != 0)
                return error_set(e, -EINVAL, "`%s` has another value in %s", b->pairs[j].key,
                                 origin_of(a));
        }
    }
    return 0;
}

/* `a` is in the set, `b` wants to join it. */
static int grants_agree(const struct grant *a, const struct grant *b, struct error *e)
{
    bool same = true;
    if (a->class != b->class)
        return 0;
    switch (a->class) {
    case GRANT_FS:
        return sources_agree(a, b, e);
    case GRANT_ENV:
    case GRANT_CONFIG:
        return pairs_agree(a, b, e);
    case GRANT_ARGS:
        same = a->args_given == b->args_given &&
               strings_equal(a->args, a->arg_count, b->args, b->arg_count);
        break;
    case GRANT_CLOCK:
        same = a->real == b->real && (a->real || a->clock_ns == b->clock_ns);
        break;
    case GRANT_RANDOM:
        same = a->real == b->real && (a->real || strcmp(a->seed, b->seed) == 0);
        break;
    default:
        break;
    }
    if (same)
        return 0;
    return error_set(e, -EINVAL, "another grant of %s, in %s, says something else",
                     grant_class_name(a->class), origin_of(a));
}

static int set_fits(const struct grant_set *s, const struct grant *g, struct error *e)
{
    size_t pairs = g->pair_count;
    if (s->count >= GRANT_GRANTS_MAX)
        return error_set(e, -EINVAL, "more than %d grants", GRANT_GRANTS_MAX);
    for (size_t i = 0; i < s->count; i++) {
        if (s->grants[i].class == g->class)
            pairs += s->grants[i].pair_count;
    }
    if (pairs > GRANT_PAIRS_MAX)
        return error_set(e, -EINVAL, "more than %d entries of %s", GRANT_PAIRS_MAX,
                         grant_class_name(g->class));
    for (size_t i = 0; i < s->count; i++) {
        int r = grants_agree(&s->grants[i], g, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int grant_set_add(struct grant_set *s, struct grant *taken, struct error *e)
{
    int r = grant_check(taken, e);
    if (r == 0)
        r = set_fits(s, taken, e);
    if (r == 0) {
        struct grant *grown = s->grants;
        /* Doubling: the room for count grants is the next power of two. */
        if ((s->count & (s->count - 1)) == 0)
            grown = mem_grow(s->grants, s->count ? s->count * 2 : 1, sizeof(*grown));
        if (grown == NULL)
            r = grant_no_memory(e);
        else
            s->grants = grown;
    }
    if (r < 0) {
        grant_done(taken);
        return r;
    }
    s->grants[s->count++] = *taken;
    *taken = (struct grant){ 0 };
    return 0;
}

/* ---- copies ---- */

/* Each copies a list that may be empty, and leaves what it has made to the owner of `to`. */
static int strings_copy(char *const *from, size_t count, char ***ret, size_t *ret_count)
{
    if (from == NULL)
        return 0;
    *ret = mem_array(count ? count : 1, sizeof(**ret));
    if (*ret == NULL)
        return -ENOMEM;
    for (; *ret_count < count; *ret_count += 1) {
        char *copy = mem_strdup(from[*ret_count]);
        if (copy == NULL)
            return -ENOMEM;
        (*ret)[*ret_count] = copy;
    }
    return 0;
}

static int pairs_copy(const struct grant_pair *from, size_t count, struct grant_pair **ret,
                      size_t *ret_count)
{
    if (count == 0)
        return 0;
    *ret = mem_array(count, sizeof(**ret));
    if (*ret == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct grant_pair *pair = &(*ret)[(*ret_count)++];
        pair->key = mem_strdup(from[i].key);
        pair->value = mem_strdup(from[i].value);
        if (pair->key == NULL || pair->value == NULL)
            return -ENOMEM;
    }
    return 0;
}

static int text_copy(const char *from, char **ret)
{
    *ret = from ? mem_strdup(from) : NULL;
    return from && *ret == NULL ? -ENOMEM : 0;
}

static int http_copy(const struct grant *from, struct grant *to)
{
    int r = text_copy(from->http.host, &to->http.host);
    if (r == 0)
        r = strings_copy(from->http.methods, from->http.method_count, &to->http.methods,
                         &to->http.method_count);
    if (r == 0)
        r = strings_copy(from->http.paths, from->http.path_count, &to->http.paths,
                         &to->http.path_count);
    if (r == 0)
        r = pairs_copy(from->http.require, from->http.require_count, &to->http.require,
                       &to->http.require_count);
    if (r == 0)
        r = pairs_copy(from->http.set, from->http.set_count, &to->http.set, &to->http.set_count);
    if (r == 0)
        r = strings_copy(from->http.strip, from->http.strip_count, &to->http.strip,
                         &to->http.strip_count);
    if (r == 0 && from->http.address_count > 0) {
        size_t count = from->http.address_count;
        to->http.addresses = mem_array(count, sizeof(*to->http.addresses));
        if (to->http.addresses == NULL)
            return -ENOMEM;
        memcpy(to->http.addresses, from->http.addresses, count * sizeof(*to->http.addresses));
        to->http.address_count = count;
    }
    return r;
}

static int keyvalue_copy(const struct grant *from, struct grant *to)
{
    int r = text_copy(from->keyvalue.bucket, &to->keyvalue.bucket);
    return r < 0 ? r
                 : strings_copy(from->keyvalue.keys, from->keyvalue.key_count, &to->keyvalue.keys,
                                &to->keyvalue.key_count);
}

/* What is not owned of `from`. */
static struct grant grant_plain(const struct grant *from)
{
    struct grant g = *from;
    g.origin = g.fs.guest = g.fs.host = g.seed = g.http.host = g.keyvalue.bucket = NULL;
    g.fs.paths = g.args = g.http.methods = g.http.paths = g.http.strip = g.keyvalue.keys = NULL;
    g.pairs = g.http.require = g.http.set = NULL;
    g.http.addresses = NULL;
    g.fs.path_count = g.arg_count = g.pair_count = g.keyvalue.key_count = 0;
    g.http.method_count = g.http.path_count = g.http.strip_count = 0;
    g.http.require_count = g.http.set_count = g.http.address_count = 0;
    return g;
}

static int grant_copy(const struct grant *from, struct grant *ret, struct error *e)
{
    CLEANUP(grant_done) struct grant g = grant_plain(from);
    int r = text_copy(from->origin, &g.origin);
    if (r == 0)
        r = text_copy(from->fs.guest, &g.fs.guest);
    if (r == 0)
        r = text_copy(from->fs.host, &g.fs.host);
    if (r == 0)
        r = text_copy(from->seed, &g.seed);
    if (r == 0)
        r = strings_copy(from->fs.paths, from->fs.path_count, &g.fs.paths, &g.fs.path_count);
    if (r == 0)
        r = strings_copy(from->args, from->arg_count, &g.args, &g.arg_count);
    if (r == 0)
        r = pairs_copy(from->pairs, from->pair_count, &g.pairs, &g.pair_count);
    if (r == 0)
        r = http_copy(from, &g);
    if (r == 0)
        r = keyvalue_copy(from, &g);
    if (r < 0)
        return grant_no_memory(e);
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_set_merge(struct grant_set *into, const struct grant_set *from, struct error *e)
{
    for (size_t i = 0; i < from->count; i++) {
        CLEANUP(grant_done) struct grant copy = { 0 };
        int r = grant_copy(&from->grants[i], &copy, e);
        if (r == 0)
            r = grant_set_add(into, &copy, e);
        if (r < 0) {
            if (from->grants[i].origin)
                error_prefix(e, "%s", from->grants[i].origin);
            return r;
        }
    }
    /* GRANT_UNSET is the largest number: the smaller of the two is right for unset ones too. */
    into->limits.memory_bytes = MIN(into->limits.memory_bytes, from->limits.memory_bytes);
    into->limits.cpu_ns = MIN(into->limits.cpu_ns, from->limits.cpu_ns);
    into->limits.wall_ns = MIN(into->limits.wall_ns, from->limits.wall_ns);
    into->limits.handles = MIN(into->limits.handles, from->limits.handles);
    into->limits.output_bytes = MIN(into->limits.output_bytes, from->limits.output_bytes);
    into->limits.hostcalls = MIN(into->limits.hostcalls, from->limits.hostcalls);
    into->expires_ns = MIN(into->expires_ns, from->expires_ns);
    return 0;
}
