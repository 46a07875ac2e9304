/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "b is covered by a": whatever b allows, a allows too, on the same resource and within the same
 * numbers.
 *
 * Files. The hard part is that the two may cut the tree into different mounts. For each mount of b
 * its paths are looked at by zones: the mount itself, and every mount of a inside it that b does
 * not have. Within a zone a has one mount (the one that holds it) and so one folder of the host,
 * which must be the one that b means there; the pattern of b, as far as it reaches into the zone,
 * must lie in the union of a's patterns that have the verb and of the deeper mounts, which are
 * other zones or out of b's reach. Verbs are independent: rules of one mount add up on both sides.
 *
 * Quotas. What is written counts against the rule that allowed it. A rule of a with a quota must
 * bear the sum of the quotas of all rules of b whose writes may count against it: those whose
 * patterns meet. Where both have the very same rules in a mount, decisions are the same and each
 * rule stands for itself.
 *
 * Services (http, keyvalue) are compared in cover_service.c. The other classes compare by value. Limits compare with the defaults filled in.
 */
#include "grant/covering.h"

#include <string.h>

#define FS_CHANGES (FS_WRITE | FS_CREATE | FS_DELETE | FS_RENAME | FS_LINK)

/* One pattern of b that is being covered, as seen in one zone. */
struct zone {
    const char *guest;                          /* where the zone starts */
    const struct rule_mount *b_mount, *a_mount; /* a_mount: NULL = a has none that holds it */
    char *b_host, *a_host; /* what they mean by the zone's start, owned; NULL for memory */
    bool same_source, same_rules;
};

static void zone_done(struct zone *z)
{
    mem_free(z->b_host);
    mem_free(z->a_host);
}

int not_covered(struct cover *c, const struct grant *g, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list list;
    if (c->why == NULL)
        return 1;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (g != NULL && g->origin != NULL)
        buf_printf(c->why, "%s: ", g->origin);
    buf_puts(c->why, text);
    return 1;
}

/* ---- files ---- */

static bool strings_same(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++) {
        if (strcmp(a[i], b[i]) != 0)
            return false;
    }
    return true;
}

static bool mounts_same_rules(const struct cover *c, const struct rule_mount *a,
                              const struct rule_mount *b)
{
    if (a->rule_count != b->rule_count)
        return false;
    for (size_t i = 0; i < a->rule_count; i++) {
        const struct grant *x = grant_rules_grant(c->a, a->rules[i].rule),
                           *y = grant_rules_grant(c->b, b->rules[i].rule);
        if (a->rules[i].verbs != b->rules[i].verbs ||
            !strings_same(x->fs.paths, x->fs.path_count, y->fs.paths, y->fs.path_count))
            return false;
    }
    return true;
}

static int zone_init(struct zone *ret, const struct cover *c, const struct rule_mount *b_mount,
                     const char *guest, struct error *e)
{
    size_t index;
    const char *rest;
    *ret = (struct zone){ .guest = guest, .b_mount = b_mount };
    if (b_mount->mount.host) {
        ret->b_host = path_join(b_mount->mount.host, grant_path_below(b_mount->mount.guest, guest));
        if (ret->b_host == NULL)
            return grant_no_memory(e);
    }
    if (!grant_mount_of(c->a, guest, strlen(guest), &index, &rest))
        return 0;
    const struct rule_mount *a_mount = &c->a->mounts[index];
    ret->a_mount = a_mount;
    if (a_mount->mount.host) {
        ret->a_host = path_join(a_mount->mount.host, rest);
        if (ret->a_host == NULL)
            return grant_no_memory(e);
    }
    /* A scratch space is itself only at its own place. */
    bool same_place = rest[0] == '\0' && strcmp(guest, b_mount->mount.guest) == 0;
    if (ret->a_host && ret->b_host)
        ret->same_source = strcmp(ret->a_host, ret->b_host) == 0;
    else
        ret->same_source = !ret->a_host && !ret->b_host && same_place;
    ret->same_rules = ret->same_source && same_place && mounts_same_rules(c, a_mount, b_mount);
    return 0;
}

/* A pattern of the mount at `guest` as one of the whole tree. NULL = no memory. */
static char *pattern_absolute(const char *guest, const char *pattern)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4 * GRANT_PATTERN_MAX);
    if (guest[1] == '\0')
        return mem_strdup(pattern);
    glob_quote(&out, guest + 1, strlen(guest + 1));
    if (strcmp(pattern, ".") != 0) {
        buf_putc(&out, '/');
        buf_puts(&out, pattern);
    }
    return buf_take(&out);
}

struct patterns {
    char **all; /* owned */
    size_t count;
};

static void patterns_done(struct patterns *p)
{
    for (size_t i = 0; i < p->count; i++)
        mem_free(p->all[i]);
    mem_free(p->all);
}

static int patterns_add(struct patterns *p, const char *guest, const char *pattern, struct error *e)
{
    char *absolute = pattern_absolute(guest, pattern);
    if (absolute == NULL)
        return grant_no_memory(e);
    p->all[p->count++] = absolute;
    return 0;
}

static int patterns_add_mounts(struct patterns *p, const struct zone *z,
                               const struct grant_rules *r, struct error *e)
{
    int result = 0;
    for (size_t i = 0; i < r->mount_count && result == 0; i++) {
        const char *guest = r->mounts[i].mount.guest, *below = grant_path_below(z->guest, guest);
        if (below != NULL && below[0] != '\0')
            result = patterns_add(p, guest, "**", e);
    }
    return result;
}

/* What covers `verbs` in the zone: deeper mounts, and the patterns of rules of a that have them
 * all. */
static int patterns_collect(struct patterns *p, const struct cover *c, const struct zone *z,
                            uint32_t verbs)
{
    size_t total = c->a->mount_count + c->b->mount_count;
    const struct rule_mount *m = z->same_source ? z->a_mount : NULL;
    int result = 0;
    for (size_t i = 0; m && i < m->rule_count; i++)
        total += m->rules[i].glob_count;
    p->all = mem_array(total + 1, sizeof(*p->all));
    if (p->all == NULL)
        return grant_no_memory(c->error);
    for (size_t i = 0; m && i < m->rule_count; i++) {
        for (size_t j = 0;
             (m->rules[i].verbs & verbs) == verbs && j < m->rules[i].glob_count && result == 0; j++)
            result = patterns_add(p, m->mount.guest, m->rules[i].globs[j].pattern, c->error);
    }
    if (result == 0)
        result = patterns_add_mounts(p, z, c->a, c->error);
    return result < 0 ? result : patterns_add_mounts(p, z, c->b, c->error);
}

/* `pattern` and `prefix`, the zone's start, are of the whole tree. */
static int cover_verbs(struct cover *c, const struct zone *z, const char *pattern,
                       const char *prefix, uint32_t verbs)
{
    CLEANUP(patterns_done) struct patterns p = { 0 };
    int r = patterns_collect(&p, c, z, verbs);
    if (r == 0) {
        r = glob_included(pattern, prefix, (const char *const *)p.all, p.count, &c->budget);
        if (r == -ENOMEM)
            return grant_no_memory(c->error);
    }
    return r;
}

/* May a write of b by `pattern` count against this rule of a? 0, 1, < 0. */
static int rule_is_charged(struct cover *c, const struct zone *z, const struct pattern_rule *rule,
                           const char *pattern)
{
    const struct grant *g = grant_rules_grant(c->a, rule->rule);
    if ((rule->verbs & FS_CHANGES) == 0 ||
        (g->fs.max_bytes == GRANT_UNSET && g->fs.max_files == GRANT_UNSET))
        return 0;
    for (size_t i = 0; i < rule->glob_count; i++) {
        CLEANUP(mem_freep)
        char *other = pattern_absolute(z->a_mount->mount.guest, rule->globs[i].pattern);
        int r = other ? glob_intersects(other, pattern, &c->budget) : -ENOMEM;
        if (r != 0)
            return r < 0 ? grant_no_memory(c->error) : 1;
    }
    return 0;
}

static int charge_pattern(struct cover *c, const struct zone *z, const char *pattern)
{
    for (size_t i = 0; z->same_source && !z->same_rules && i < z->a_mount->rule_count; i++) {
        const struct pattern_rule *rule = &z->a_mount->rules[i];
        int r = c->charged[rule->rule] ? 0 : rule_is_charged(c, z, rule, pattern);
        if (r < 0)
            return r;
        c->charged[rule->rule] |= r == 1;
    }
    return 0;
}

/* Verb by verb: rules add up. 0, 1 and the first verb that is not covered, 2, < 0. */
static int cover_each_verb(struct cover *c, const struct zone *z, const char *pattern,
                           const char *prefix, uint32_t verbs, uint32_t *ret_verb)
{
    int r = cover_verbs(c, z, pattern, prefix, verbs);
    if (r != 1)
        return r;
    for (uint32_t left = verbs; left; left &= left - 1) {
        *ret_verb = left & -left;
        r = *ret_verb == verbs ? 1 : cover_verbs(c, z, pattern, prefix, *ret_verb);
        if (r != 0)
            return r;
    }
    return 0;
}

static int cover_in_zone(struct cover *c, const struct zone *z, const struct grant *g,
                         uint32_t verbs, const char *written)
{
    CLEANUP(mem_freep) char *pattern = pattern_absolute(z->b_mount->mount.guest, written);
    CLEANUP(mem_freep) char *prefix = pattern_absolute(z->guest, ".");
    uint32_t verb = 0;
    if (pattern == NULL || prefix == NULL)
        return grant_no_memory(c->error);
    /* Any other verb includes stat, on both sides. */
    if (verbs & ~(uint32_t)FS_STAT)
        verbs &= ~(uint32_t)FS_STAT;
    int r = cover_each_verb(c, z, pattern, prefix, verbs, &verb);
    if (r == 2)
        return not_covered(c, g, "`%s` in %s is too complex to compare", written, z->guest);
    if (r == 1 && z->a_mount != NULL && !z->same_source)
        return not_covered(c, g, "%s is %s, and there it is %s", z->guest,
                           z->b_host ? z->b_host : "memory of its own",
                           z->a_host ? z->a_host : "memory");
    if (r == 1)
        return not_covered(c, g, "%s on `%s` in %s", fs_verb_names[__builtin_ctz(verb)], written,
                           z->guest);
    if (r == 0 && (verbs & FS_CHANGES) != 0)
        r = charge_pattern(c, z, pattern);
    return r;
}

static int cover_rule_in_zone(struct cover *c, const struct zone *z,
                              const struct pattern_rule *rule)
{
    const struct grant *g = grant_rules_grant(c->b, rule->rule);
    int r = 0;
    memset(c->charged, 0, grant_rules_count(c->a) * sizeof(*c->charged));
    for (size_t i = 0; i < rule->glob_count && r == 0; i++)
        r = cover_in_zone(c, z, g, rule->verbs, rule->globs[i].pattern);
    if (z->same_rules) /* each for its twin */
        c->charged[z->a_mount->rules[rule - z->b_mount->rules].rule] =
            (rule->verbs & FS_CHANGES) != 0;
    for (size_t i = 0; i < grant_rules_count(c->a) && r == 0; i++) {
        struct charge *charge = &c->charges[i];
        if (!c->charged[i])
            continue;
        if (__builtin_add_overflow(charge->bytes, g->fs.max_bytes, &charge->bytes))
            charge->bytes = GRANT_UNSET;
        if (__builtin_add_overflow(charge->files, g->fs.max_files, &charge->files))
            charge->files = GRANT_UNSET;
    }
    return r;
}

static int cover_zone(struct cover *c, const struct rule_mount *b_mount, const char *guest)
{
    CLEANUP(zone_done) struct zone z = { 0 };
    int r = zone_init(&z, c, b_mount, guest, c->error);
    for (size_t i = 0; i < b_mount->rule_count && r == 0; i++)
        r = cover_rule_in_zone(c, &z, &b_mount->rules[i]);
    return r;
}

static int cover_mount(struct cover *c, size_t b_index)
{
    const struct rule_mount *b_mount = &c->b->mounts[b_index];
    int r = cover_zone(c, b_mount, b_mount->mount.guest);
    for (size_t i = 0; i < c->a->mount_count && r == 0; i++) {
        const struct grant_mount *m = &c->a->mounts[i].mount;
        size_t holder;
        const char *rest;
        /* A zone of its own when it lies inside this mount of b and no other one of b holds it. */
        if (grant_mount_of(c->b, m->guest, m->guest_size, &holder, &rest) && holder == b_index &&
            rest[0] != '\0')
            r = cover_zone(c, b_mount, m->guest);
    }
    return r;
}

static int cover_quotas(struct cover *c)
{
    for (size_t i = 0; i < grant_rules_count(c->a); i++) {
        const struct grant *g = grant_rules_grant(c->a, i);
        if (g->class != GRANT_FS)
            continue;
        if (c->charges[i].bytes > g->fs.max_bytes)
            return not_covered(c, NULL, "max_bytes in %s: more than what %s allows", g->fs.guest,
                               g->origin ? g->origin : "the other");
        if (c->charges[i].files > g->fs.max_files)
            return not_covered(c, NULL, "max_files in %s: more than what %s allows", g->fs.guest,
                               g->origin ? g->origin : "the other");
    }
    return 0;
}

static int cover_fs(struct cover *c)
{
    int r = 0;
    for (size_t i = 0; i < c->b->mount_count && r == 0; i++)
        r = cover_mount(c, i);
    return r != 0 ? r : cover_quotas(c);
}

/* ---- the other classes, by value ---- */

static bool pair_is_in(const struct grant_rules *a, enum grant_class class,
                       const struct grant_pair *pair)
{
    for (size_t i = 0; i < grant_rules_count(a); i++) {
        const struct grant *g = grant_rules_grant(a, i);
        for (size_t j = 0; g->class == class && j < g->pair_count; j++) {
            if (strcmp(g->pairs[j].key, pair->key) == 0)
                return strcmp(g->pairs[j].value, pair->value) == 0;
        }
    }
    return false;
}

static bool value_is_same(const struct grant *a, const struct grant *b)
{
    switch (a->class) {
    case GRANT_ARGS:
        return a->args_given == b->args_given &&
               strings_same(a->args, a->arg_count, b->args, b->arg_count);
    case GRANT_CLOCK:
        return a->real == b->real && (a->real || a->clock_ns == b->clock_ns);
    case GRANT_RANDOM:
        return a->real == b->real && (a->real || strcmp(a->seed, b->seed) == 0);
    default:
        return false;
    }
}

static int cover_words(struct cover *c, const struct grant *g)
{
    for (unsigned i = 0; g->class == GRANT_STDIO && i < STDIO_STREAM_COUNT; i++) {
        if ((g->streams >> i & 1) && c->a->stdio_rules[i] == GRANT_NO_RULE)
            return not_covered(c, g, "%s", stdio_stream_names[i]);
    }
    for (unsigned i = 0; g->class == GRANT_LOG && i < LOG_LEVEL_COUNT; i++) {
        if ((g->levels >> i & 1) && c->a->log_rules[i] == GRANT_NO_RULE)
            return not_covered(c, g, "log level %s", log_level_names[i]);
    }
    return 0;
}

static int cover_value(struct cover *c, const struct grant *g)
{
    const char *class = grant_class_name(g->class);
    uint32_t rule = c->a->class_rules[g->class];
    for (size_t i = 0; i < g->pair_count; i++) {
        if (!pair_is_in(c->a, g->class, &g->pairs[i]))
            return not_covered(c, g, "%s %s=%s", class, g->pairs[i].key, g->pairs[i].value);
    }
    if (g->class == GRANT_FS || g->class == GRANT_HTTP || g->class == GRANT_KEYVALUE ||
        g->pair_count > 0)
        return 0;
    if (g->class == GRANT_STDIO || g->class == GRANT_LOG)
        return cover_words(c, g);
    /* All grants of such a class in a set say the same. */
    if (rule == GRANT_NO_RULE || !value_is_same(grant_rules_grant(c->a, rule), g))
        return not_covered(c, g, "%s", class);
    return 0;
}

static int cover_number(struct cover *c, const char *name, uint64_t a, uint64_t b)
{
    return b <= a ? 0 : not_covered(c, NULL, "%s is larger", name);
}

static int cover_limits(struct cover *c)
{
    const struct grant_limits *a = &c->a->limits, *b = &c->b->limits;
    int r = cover_number(c, "limit memory", a->memory_bytes, b->memory_bytes);
    if (r == 0)
        r = cover_number(c, "limit cpu", a->cpu_ns, b->cpu_ns);
    if (r == 0)
        r = cover_number(c, "limit wall", a->wall_ns, b->wall_ns);
    if (r == 0)
        r = cover_number(c, "limit handles", a->handles, b->handles);
    if (r == 0)
        r = cover_number(c, "limit output", a->output_bytes, b->output_bytes);
    if (r == 0)
        r = cover_number(c, "limit hostcalls", a->hostcalls, b->hostcalls);
    if (r == 0)
        r = cover_number(c, "expires", c->a->set->expires_ns, c->b->set->expires_ns);
    return r;
}

int grant_covers(const struct grant_set *a, const struct grant_set *b, struct buf *ret_why,
                 struct error *e)
{
    CLEANUP(grant_rules_freep) struct grant_rules *a_rules = NULL;
    CLEANUP(grant_rules_freep) struct grant_rules *b_rules = NULL;
    CLEANUP(mem_freep) struct charge *charges = mem_array(a->count + 1, sizeof(*charges));
    CLEANUP(mem_freep) bool *charged = mem_array(a->count + 1, sizeof(*charged));
    if (charges == NULL || charged == NULL)
        return grant_no_memory(e);
    int r = grant_rules_new(a, "/", &a_rules, e);
    if (r == 0)
        r = grant_rules_new(b, "/", &b_rules, e);
    if (r < 0)
        return r;
    struct cover c = { a_rules, b_rules, charges, charged, { GLOB_BUDGET, false }, ret_why, e };
    r = cover_fs(&c);
    if (r == 0)
        r = cover_services(&c);
    for (size_t i = 0; i < grant_rules_count(b_rules) && r == 0; i++)
        r = cover_value(&c, grant_rules_grant(b_rules, i));
    if (r == 0)
        r = cover_limits(&c);
    if (r == 1 && ret_why != NULL && buf_status(ret_why) < 0)
        return grant_no_memory(e);
    return r;
}
