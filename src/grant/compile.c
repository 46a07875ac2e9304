/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a set to the tables that decide. The rules own a copy of the set, so that they stay when it
 * goes; a rule's number is its grant's place in the set, which is what receipts count.
 */
#include "grant/rules.h"

#include <stdlib.h>
#include <string.h>

void pattern_rules_free(struct pattern_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < rules[i].glob_count; j++)
            glob_done(&rules[i].globs[j]);
        mem_free(rules[i].globs);
    }
    mem_free(rules);
}

void grant_rules_free(struct grant_rules *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->mount_count; i++)
        pattern_rules_free(r->mounts[i].rules, r->mounts[i].rule_count);
    mem_free(r->mounts);
    service_rules_done(r);
    mem_free(r->config);
    mem_free(r->work_host);
    grant_set_free(r->set);
    mem_free(r);
}

int pattern_rule_init(struct pattern_rule *ret, char *const *patterns, size_t count, bool of_urls,
                      uint32_t rule, struct error *e)
{
    *ret = (struct pattern_rule){ .rule = rule };
    ret->globs = mem_array(count, sizeof(*ret->globs));
    if (ret->globs == NULL)
        return grant_no_memory(e);
    for (size_t i = 0; i < count; i++) {
        const char *pattern = patterns[i];
        if (glob_init(&ret->globs[i], of_urls ? http_path_glob(pattern) : pattern) < 0)
            return grant_no_memory(e);
        ret->glob_count++;
    }
    return 0;
}

bool pattern_rule_matches(const struct pattern_rule *rule, const char *text, size_t size)
{
    for (size_t i = 0; i < rule->glob_count; i++) {
        if (glob_matches(&rule->globs[i], text, size))
            return true;
    }
    return false;
}

/* Longest guest path first, so that the first mount that holds a path is the right one; then by
 * text, so that grants of one mount come together; then in the order of the set. */
static int fs_order(const void *a, const void *b)
{
    const struct grant *x = *(const struct grant *const *)a, *y = *(const struct grant *const *)b;
    size_t x_size = strlen(x->fs.guest), y_size = strlen(y->fs.guest);
    if (x_size != y_size)
        return x_size > y_size ? -1 : 1;
    int order = strcmp(x->fs.guest, y->fs.guest);
    return order != 0 ? order : (x > y) - (x < y);
}

static int mount_add(struct grant_rules *r, const struct grant *const *grants, size_t count,
                     struct error *e)
{
    const struct grant *first = grants[0];
    struct rule_mount *m = &r->mounts[r->mount_count++];
    m->mount = (struct grant_mount){ .guest = first->fs.guest,
                                     .guest_size = strlen(first->fs.guest),
                                     .backing = first->fs.backing,
                                     .host = first->fs.host };
    m->rules = mem_array(count, sizeof(*m->rules));
    if (m->rules == NULL)
        return grant_no_memory(e);
    for (size_t i = 0; i < count; i++) {
        m->rule_count++;
        int result = pattern_rule_init(&m->rules[i], grants[i]->fs.paths, grants[i]->fs.path_count,
                                       false, (uint32_t)(grants[i] - r->set->grants), e);
        if (result < 0)
            return result;
        m->rules[i].verbs = grants[i]->fs.verbs | FS_STAT;
        m->mount.verbs |= m->rules[i].verbs;
    }
    return 0;
}

static int compile_fs(struct grant_rules *r, struct error *e)
{
    size_t count = 0;
    CLEANUP(mem_freep) const struct grant **order = mem_array(r->set->count + 1, sizeof(*order));
    r->mounts = mem_array(r->set->count + 1, sizeof(*r->mounts));
    if (order == NULL || r->mounts == NULL)
        return grant_no_memory(e);
    for (size_t i = 0; i < r->set->count; i++) {
        if (r->set->grants[i].class == GRANT_FS)
            order[count++] = &r->set->grants[i];
    }
    qsort(order, count, sizeof(*order), fs_order);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && strcmp(order[i]->fs.guest, order[next]->fs.guest) == 0;
             next++)
            ;
        int result = mount_add(r, order + i, next - i, e);
        if (result < 0)
            return result;
    }
    return 0;
}

static int config_order(const void *a, const void *b)
{
    const struct config_entry *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->rule > y->rule) - (x->rule < y->rule);
}

static int compile_config(struct grant_rules *r, struct error *e)
{
    size_t count = 0;
    for (size_t i = 0; i < r->set->count; i++)
        count += r->set->grants[i].class == GRANT_CONFIG ? r->set->grants[i].pair_count : 0;
    if (count == 0)
        return 0;
    r->config = mem_array(count, sizeof(*r->config));
    if (r->config == NULL)
        return grant_no_memory(e);
    for (size_t i = 0; i < r->set->count; i++) {
        const struct grant *g = &r->set->grants[i];
        for (size_t j = 0; g->class == GRANT_CONFIG && j < g->pair_count; j++)
            r->config[r->config_count++] =
                (struct config_entry){ g->pairs[j].key, g->pairs[j].value, strlen(g->pairs[j].key),
                                       (uint32_t)i };
    }
    qsort(r->config, count, sizeof(*r->config), config_order);
    return 0;
}

/* The first grant that names a thing is its rule. */
static void compile_classes(struct grant_rules *r)
{
    memset(r->stdio_rules, 0xff, sizeof(r->stdio_rules));
    memset(r->log_rules, 0xff, sizeof(r->log_rules));
    memset(r->class_rules, 0xff, sizeof(r->class_rules));
    for (size_t i = r->set->count; i-- > 0;) {
        const struct grant *g = &r->set->grants[i];
        r->class_rules[g->class] = (uint32_t)i;
        for (unsigned bit = 0; g->class == GRANT_STDIO && bit < STDIO_STREAM_COUNT; bit++) {
            if (g->streams >> bit & 1)
                r->stdio_rules[bit] = (uint32_t)i;
        }
        for (unsigned bit = 0; g->class == GRANT_LOG && bit < LOG_LEVEL_COUNT; bit++) {
            if (g->levels >> bit & 1)
                r->log_rules[bit] = (uint32_t)i;
        }
    }
}

void grant_limits_fill(struct grant_limits *limits)
{
    const struct grant_limits *d = &grant_limits_default;
#define FILL(field) limits->field = limits->field == GRANT_UNSET ? d->field : limits->field
    FILL(memory_bytes);
    FILL(cpu_ns);
    FILL(wall_ns);
    FILL(handles);
    FILL(output_bytes);
    FILL(hostcalls);
#undef FILL
}

int grant_rules_new(const struct grant_set *s, const char *work_host, struct grant_rules **ret,
                    struct error *e)
{
    CLEANUP(grant_rules_freep) struct grant_rules *r = mem_zalloc(sizeof(*r));
    if (r == NULL)
        return grant_no_memory(e);
    int result = host_path_resolve(NULL, work_host, &r->work_host, e);
    if (result == 0)
        result = grant_set_new(&r->set, e);
    if (result == 0)
        result = grant_set_merge(r->set, s, e);
    if (result == 0)
        result = compile_fs(r, e);
    if (result == 0)
        result = compile_config(r, e);
    if (result == 0)
        result = compile_http(r, e);
    if (result == 0)
        result = compile_keyvalue(r, e);
    if (result < 0)
        return result;
    compile_classes(r);
    r->limits = r->set->limits;
    grant_limits_fill(&r->limits);
    *ret = TAKE(r);
    return 0;
}

static void rules_retire(struct pattern_rule *rules, size_t count, uint32_t rule)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; rules[i].rule == rule && j < rules[i].glob_count; j++)
            glob_done(&rules[i].globs[j]);
        if (rules[i].rule == rule)
            rules[i].glob_count = 0;
    }
}

void grant_rules_retire(struct grant_rules *r, uint32_t rule)
{
    for (size_t i = 0; i < r->mount_count; i++)
        rules_retire(r->mounts[i].rules, r->mounts[i].rule_count, rule);
    for (size_t i = 0; i < r->origin_count; i++)
        rules_retire(r->origins[i].rules, r->origins[i].rule_count, rule);
    for (size_t i = 0; i < r->bucket_count; i++)
        rules_retire(r->buckets[i].rules, r->buckets[i].rule_count, rule);
}

size_t grant_rules_mount_count(const struct grant_rules *r)
{
    return r->mount_count;
}

const struct grant_mount *grant_rules_mount(const struct grant_rules *r, size_t index)
{
    return index < r->mount_count ? &r->mounts[index].mount : NULL;
}

size_t grant_rules_count(const struct grant_rules *r)
{
    return r->set->count;
}

const struct grant *grant_rules_grant(const struct grant_rules *r, size_t rule)
{
    return rule < r->set->count ? &r->set->grants[rule] : NULL;
}

const struct grant_limits *grant_rules_limits(const struct grant_rules *r)
{
    return &r->limits;
}
