/* SPDX-License-Identifier: Apache-2.0 */
/* See live.h. */
#include "grant/live.h"

#include <string.h>

#include "base/mem.h"

/* The rules of all grants that there are, in force. */
static int compile(struct grant_live *l, struct error *e)
{
    struct grant_rules *rules;
    int status = grant_rules_new(l->set, l->work_host, &rules, e);
    if (status < 0)
        return status;
    grant_rules_free(l->rules);
    l->rules = rules;
    l->rule_count = grant_rules_count(rules);
    return 0;
}

int grant_live_start(struct grant_live *l, const char *json, const char *work_host, size_t more,
                     struct error *e)
{
    l->work_host = work_host;
    l->expires_ns = UINT64_MAX;
    int status = json[0] ? grant_set_parse("grants", "/", json, strlen(json), &l->set, e)
                         : grant_set_new(&l->set, e);
    if (status == 0)
        status = compile(l, e);
    if (status < 0)
        return status;
    l->rule_max = l->rule_count + more;
    l->revoked = mem_array(l->rule_max + 1, sizeof(*l->revoked));
    return l->revoked ? 0 : error_set(e, -ENOMEM, "no memory for the rules");
}

void grant_live_done(struct grant_live *l)
{
    grant_rules_free(l->rules);
    grant_set_free(l->set);
    mem_free(l->revoked);
    *l = (struct grant_live){ 0 };
}

int grant_live_add(struct grant_live *l, uint32_t rule, const char *json,
                   struct grant_set **ret_one, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    if (rule != l->rule_count || l->rule_count == l->rule_max)
        return error_set(e, -EBADMSG, "a grant for a place that is not the next, or one too many");
    int status = grant_set_parse("answer", "/", json, strlen(json), &one, e);
    if (status == 0 && one->count != 1)
        status = error_set(e, -EBADMSG, "an answer with %zu grants", one->count);
    if (status == 0)
        status = grant_set_merge(l->set, one, e);
    if (status == 0)
        status = compile(l, e);
    if (status == 0 && ret_one)
        *ret_one = TAKE(one);
    return status;
}

int grant_live_revoke(struct grant_live *l, uint32_t rule, struct error *e)
{
    if (rule >= l->rule_count && rule != RULES_ALL)
        return error_set(e, -EBADMSG, "a rule that is none is revoked");
    for (size_t i = 0; i < l->rule_max; i++)
        if (i == rule || rule == RULES_ALL)
            l->revoked[i] = true;
    return 0;
}
