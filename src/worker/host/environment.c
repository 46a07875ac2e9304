/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:cli environment and arguments. The environment is the granted variables and nothing of the
 * host's; where none is granted it is empty, which denies nothing that the guest could name.
 * Arguments are given as typed, or the granted list in the place of what was typed; without a grant
 * there are none, and asking is a denial.
 */
#include <string.h>

#include "base/mem.h"
#include "worker/host/host.h"

static struct ambit_bytes guest_bytes(const char *text)
{
    return (struct ambit_bytes){ (const uint8_t *)text, strlen(text) };
}

static int collect_environment(struct guest *g)
{
    size_t count = 0;
    for (size_t i = 0; i < grant_rules_count(g->rules); i++) {
        const struct grant *grant = grant_rules_grant(g->rules, i);
        count += grant->class == GRANT_ENV ? grant->pair_count : 0;
    }
    if (count == 0)
        return 0;
    g->environment = mem_array(count, sizeof(*g->environment));
    if (!g->environment)
        return -ENOMEM;
    for (size_t i = 0; i < grant_rules_count(g->rules); i++) {
        const struct grant *grant = grant_rules_grant(g->rules, i);
        for (size_t p = 0; grant->class == GRANT_ENV && p < grant->pair_count; p++)
            g->environment[g->environment_count++] =
                (struct ambit_pair){ guest_bytes(grant->pairs[p].key),
                                     guest_bytes(grant->pairs[p].value) };
    }
    return 0;
}

static int collect_arguments(struct guest *g)
{
    struct grant_decision d = grant_decide_class(g->rules, GRANT_ARGS);
    if (d.reason != GRANT_ALLOWED)
        return 0;
    const struct grant *grant = grant_rules_grant(g->rules, d.rule);
    const struct run_start *start = g->start;
    size_t program = MIN((size_t)start->program_args, start->arg_count);
    size_t rest = grant->args_given ? start->arg_count - program : grant->arg_count;
    char *const *typed = grant->args_given ? start->args + program : grant->args;
    if (program + rest == 0)
        return 0;
    g->arguments = mem_array(program + rest, sizeof(*g->arguments));
    if (!g->arguments)
        return -ENOMEM;
    for (size_t i = 0; i < program; i++)
        g->arguments[g->argument_count++] = guest_bytes(start->args[i]);
    for (size_t i = 0; i < rest; i++)
        g->arguments[g->argument_count++] = guest_bytes(typed[i]);
    return 0;
}

int host_environment_init(struct guest *g, struct error *e)
{
    if (collect_environment(g) < 0 || collect_arguments(g) < 0)
        return error_set(e, -ENOMEM, "out of memory");
    return 0;
}

void host_environment_done(struct guest *g)
{
    mem_free(g->environment);
    mem_free(g->arguments);
    g->environment = NULL;
    g->arguments = NULL;
    g->environment_count = g->argument_count = 0;
}

void host_environment(void *host, const struct ambit_pair **ret, size_t *ret_count)
{
    struct guest *g = host;
    *ret = NULL;
    *ret_count = 0;
    if (g->environment_count == 0)
        return;
    struct grant_decision d = guest_gated(g, grant_decide_class(g->rules, GRANT_ENV));
    if (d.reason != GRANT_ALLOWED) {
        guest_denied(g, GRANT_ENV, "read environment", "*", 0, d);
        return;
    }
    for (size_t i = 0; i < grant_rules_count(g->rules); i++) {
        if (grant_rules_grant(g->rules, i)->class == GRANT_ENV)
            guest_used(g, (uint32_t)i, 0, 0, 0);
    }
    *ret = g->environment;
    *ret_count = g->environment_count;
}

void host_arguments(void *host, const struct ambit_bytes **ret, size_t *ret_count)
{
    struct guest *g = host;
    *ret = NULL;
    *ret_count = 0;
    struct grant_decision d = guest_gated(g, grant_decide_class(g->rules, GRANT_ARGS));
    if (d.reason != GRANT_ALLOWED) {
        guest_denied(g, GRANT_ARGS, "read arguments", "arguments", 0, d);
        return;
    }
    guest_used(g, d.rule, 0, 0, 0);
    *ret = g->arguments;
    *ret_count = g->argument_count;
}

/* Where the guest starts is no secret and no authority: `/work` exists for it only as far as a
 * mount says so. */
bool host_initial_cwd(void *host, struct ambit_bytes *ret)
{
    struct guest *g = host;
    if (!g->start->cwd || !*g->start->cwd)
        return false;
    *ret = guest_bytes(g->start->cwd);
    return true;
}
