/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions: total, without allocation, the same for every caller. This runs on every host call. */
#include "grant/rules.h"

#include <string.h>

int grant_mount_of(const struct grant_rules *r, const char *guest, size_t size, size_t *ret_mount,
                   const char **ret_rest)
{
    for (size_t i = 0; i < r->mount_count; i++) {
        const struct grant_mount *m = &r->mounts[i].mount;
        size_t prefix = m->guest_size;
        if (prefix == 1) { /* "/" holds everything and ends in the slash */
            if (size == 0 || guest[0] != '/')
                return 0;
            *ret_rest = guest + 1;
        } else if (size < prefix || memcmp(guest, m->guest, prefix) != 0) {
            continue;
        } else if (size == prefix) {
            *ret_rest = guest + prefix;
        } else if (guest[prefix] == '/') {
            *ret_rest = guest + prefix + 1;
        } else {
            continue;
        }
        *ret_mount = i;
        return 1;
    }
    return 0;
}

/* Why not: the matching rule that lacks least, else the first rule that has the verbs, else the
 * first. */
static struct grant_decision fs_denial(const struct rule_mount *m, const char *rest, size_t size,
                                       uint32_t need)
{
    struct grant_decision d = { GRANT_NO_PATH, m->rules[0].rule, need };
    uint32_t got = 0;
    int least = 33;
    bool has_verbs = (m->rules[0].verbs & need) == need;
    for (size_t i = 0; i < m->rule_count; i++) {
        const struct pattern_rule *rule = &m->rules[i];
        int lacks = __builtin_popcount(need & ~rule->verbs);
        if (pattern_rule_matches(rule, rest, size)) {
            got |= rule->verbs;
            if (lacks < least) {
                least = lacks;
                d.reason = GRANT_NO_VERB;
                d.rule = rule->rule;
            }
        } else if (least == 33 && !has_verbs && lacks == 0) {
            has_verbs = true;
            d.rule = rule->rule;
        }
    }
    d.missing = need & ~got;
    return d;
}

struct grant_decision grant_decide_fs(const struct grant_rules *r, size_t mount, const char *rest,
                                      size_t rest_size, uint32_t verbs)
{
    if (mount >= r->mount_count)
        return (struct grant_decision){ GRANT_NO_GRANT, GRANT_NO_RULE, verbs };
    const struct rule_mount *m = &r->mounts[mount];
    /* Every other verb on a path includes its stat. */
    uint32_t need = (verbs & ~(uint32_t)FS_STAT) != 0 ? verbs & ~(uint32_t)FS_STAT : verbs;
    uint32_t left = need;
    for (size_t i = 0; i < m->rule_count; i++) {
        const struct pattern_rule *rule = &m->rules[i];
        if ((rule->verbs & left) == 0 && left != 0)
            continue;
        if (!pattern_rule_matches(rule, rest, rest_size))
            continue;
        left &= ~rule->verbs;
        if (left == 0 || (rule->verbs & need) == need)
            return (struct grant_decision){ GRANT_ALLOWED, rule->rule, 0 };
    }
    return fs_denial(m, rest, rest_size, need);
}

static struct grant_decision decision_by_rule(uint32_t rule)
{
    return (struct grant_decision){ rule == GRANT_NO_RULE ? GRANT_NO_GRANT : GRANT_ALLOWED, rule,
                                    0 };
}

struct grant_decision grant_decide_stdio(const struct grant_rules *r, uint32_t stream)
{
    for (unsigned i = 0; i < STDIO_STREAM_COUNT; i++) {
        if (stream == 1u << i)
            return decision_by_rule(r->stdio_rules[i]);
    }
    return decision_by_rule(GRANT_NO_RULE);
}

/* Keys are in the order of their bytes, shorter first. */
static int key_order(const struct config_entry *entry, const char *key, size_t size)
{
    int order = memcmp(entry->key, key, MIN(entry->key_size, size));
    return order != 0 ? order : (entry->key_size > size) - (entry->key_size < size);
}

struct grant_decision grant_decide_config(const struct grant_rules *r, const char *key, size_t size,
                                          const char **ret_value)
{
    size_t low = 0, high = r->config_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = key_order(&r->config[middle], key, size);
        if (order == 0) {
            *ret_value = r->config[middle].value;
            return decision_by_rule(r->config[middle].rule);
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (struct grant_decision){ GRANT_NO_GRANT, r->class_rules[GRANT_CONFIG], 0 };
}

struct grant_decision grant_decide_log(const struct grant_rules *r, enum log_level level)
{
    if ((unsigned)level >= LOG_LEVEL_COUNT)
        return decision_by_rule(GRANT_NO_RULE);
    return decision_by_rule(r->log_rules[level]);
}

struct grant_decision grant_decide_class(const struct grant_rules *r, enum grant_class c)
{
    if ((unsigned)c >= GRANT_CLASS_COUNT)
        return decision_by_rule(GRANT_NO_RULE);
    return decision_by_rule(r->class_rules[c]);
}
