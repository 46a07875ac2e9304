/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:config/store: exactly the granted keys. Asking for another one is a denial; asking for all
 * gives all there are, which is the whole truth of the guest's world and denies nothing.
 */
#include <string.h>

#include "base/mem.h"
#include "worker/host/host.h"

static struct ambit_bytes guest_bytes(const char *text)
{
    return (struct ambit_bytes){ (const uint8_t *)text, strlen(text) };
}

int host_config_init(struct guest *g, struct error *e)
{
    size_t count = 0;
    for (size_t i = 0; i < grant_rules_count(g->rules); i++) {
        const struct grant *grant = grant_rules_grant(g->rules, i);
        count += grant->class == GRANT_CONFIG ? grant->pair_count : 0;
    }
    if (count == 0)
        return 0;
    g->config = mem_array(count, sizeof(*g->config));
    if (!g->config)
        return error_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < grant_rules_count(g->rules); i++) {
        const struct grant *grant = grant_rules_grant(g->rules, i);
        for (size_t p = 0; grant->class == GRANT_CONFIG && p < grant->pair_count; p++)
            g->config[g->config_count++] =
                (struct ambit_pair){ guest_bytes(grant->pairs[p].key),
                                     guest_bytes(grant->pairs[p].value) };
    }
    return 0;
}

void host_config_done(struct guest *g)
{
    mem_free(g->config);
    g->config = NULL;
    g->config_count = 0;
}

bool host_config_get(void *host, struct ambit_bytes key, struct ambit_bytes *ret)
{
    struct guest *g = host;
    const char *value = NULL;
    struct grant_decision d =
        guest_gated(g, grant_decide_config(g->rules, (const char *)key.data, key.size, &value));
    if (d.reason == GRANT_ALLOWED) {
        *ret = guest_bytes(value);
        guest_used(g, d.rule, 0, ret->size, 0);
        return true;
    }
    /* A key with a NUL can be in no grant file, so there is nothing to propose for it: it is
     * recorded up to there. */
    char *name = mem_strndup((const char *)key.data, MIN(key.size, (size_t)DENIAL_RESOURCE_MAX));
    if (name)
        guest_denied(g, GRANT_CONFIG, "get", name, 0, d);
    else
        guest_fault(g, -ENOMEM, "recording a denial");
    mem_free(name);
    return false;
}

void host_config_all(void *host, const struct ambit_pair **ret, size_t *ret_count)
{
    struct guest *g = host;
    *ret = NULL;
    *ret_count = 0;
    if (g->config_count == 0)
        return;
    bool told = false;
    for (size_t i = 0; i < grant_rules_count(g->rules); i++) {
        if (grant_rules_grant(g->rules, i)->class != GRANT_CONFIG)
            continue;
        struct grant_decision d =
            guest_gated(g, (struct grant_decision){ .reason = GRANT_ALLOWED, .rule = (uint32_t)i });
        if (d.reason == GRANT_ALLOWED) {
            guest_used(g, d.rule, 0, 0, 0);
        } else if (!told) {
            guest_denied(g, GRANT_CONFIG, "get all", "*", 0, d);
            told = true;
        }
    }
    if (!told) {
        *ret = g->config;
        *ret_count = g->config_count;
    }
}
