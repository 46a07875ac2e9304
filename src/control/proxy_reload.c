/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reload of a proxy's grants. Grants of http are told apart by their printed text: one that is there again keeps its
 * rule, and so its counters; one that is gone is revoked, and what it had under way is cut; a new one gets the next
 * number. All or nothing:
 *
 *   1. the whole set is read and compiled; there is room for what is new      nothing has changed yet
 *   2. keeper has every secret that is new, and takes what is new; the settings
 *      that clients read have a placeholder for each of them                      no effect: egress has not
 *   3. the receipt says what is about to be in force
 *   4. egress takes what is new, then what is gone is revoked, in both
 *
 * What fails before 3 changes nothing; where keeper has taken a part by then, it is revoked there, and its numbers go to
 * grants of egress that allow nothing, so that rules have the same numbers everywhere.
 */
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "control/proxy_parts.h"

#define TEXT_MAX (1u << 20)

struct change {
    struct grant_set *set; /* as it was read */
    size_t *fresh;         /* places in the set of grants that are new */
    size_t fresh_count, kept, gone;
    size_t secrets; /* that had a placeholder before */
};

static void change_done(struct change *c)
{
    grant_set_free(c->set);
    mem_free(c->fresh);
}

static char *text_of(const struct grant *g, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    if (grant_print(g, &text, e) < 0)
        return NULL;
    char *taken = buf_take(&text);
    if (!taken)
        error_set(e, -ENOMEM, "no memory for the grants");
    return taken;
}

static int add_rule(struct proxy *p, const struct grant *g, uint32_t number, struct error *e)
{
    struct proxy_rule *rules = mem_grow(p->rules, p->rule_count + 1, sizeof(*rules));
    if (!rules)
        return error_set(e, -ENOMEM, "no memory for the grants");
    p->rules = rules;
    char *text = text_of(g, e);
    if (!text)
        return -ENOMEM;
    rules[p->rule_count++] = (struct proxy_rule){ .text = text, .rule = number };
    return 0;
}

int proxy_rules_begin(struct proxy *p, struct error *e)
{
    const struct grant_set *s = p->run.request->grants;
    int status = 0;
    p->expires_ns = s->expires_ns;
    for (size_t i = 0; status == 0 && i < s->count; i++)
        if (s->grants[i].class == GRANT_HTTP)
            status = add_rule(p, &s->grants[i], (uint32_t)i, e);
    return status;
}

void proxy_rules_done(struct proxy *p)
{
    for (size_t i = 0; i < p->rule_count; i++)
        mem_free(p->rules[i].text);
    mem_free(p->rules);
}

/* A set of this grant alone, borrowed. */
static struct grant_set set_of(struct grant *g)
{
    return (struct grant_set){
        .grants = g,
        .count = 1,
        .limits = { GRANT_UNSET, GRANT_UNSET, GRANT_UNSET, GRANT_UNSET, GRANT_UNSET, GRANT_UNSET },
        .expires_ns = GRANT_UNSET,
    };
}

/* ---- 1: what is new, what is gone ---- */

static struct proxy_rule *same_text(struct proxy *p, const char *text)
{
    for (size_t i = 0; i < p->rule_count; i++)
        if (!p->rules[i].kept && strcmp(p->rules[i].text, text) == 0)
            return &p->rules[i];
    return NULL;
}

static int compare(struct proxy *p, struct change *c, struct error *e)
{
    for (size_t i = 0; i < p->rule_count; i++)
        p->rules[i].kept = false;
    c->fresh = mem_array(c->set->count + 1, sizeof(*c->fresh));
    if (!c->fresh)
        return error_set(e, -ENOMEM, "no memory for the grants");
    for (size_t i = 0; i < c->set->count; i++) {
        if (c->set->grants[i].class != GRANT_HTTP)
            continue;
        CLEANUP(mem_freep) char *text = text_of(&c->set->grants[i], e);
        if (!text)
            return -ENOMEM;
        struct proxy_rule *same = same_text(p, text);
        if (same)
            same->kept = true;
        else
            c->fresh[c->fresh_count++] = i;
        c->kept += same != NULL;
    }
    c->gone = p->rule_count - c->kept;
    return 0;
}

static int check_room(struct proxy *p, const struct change *c, struct error *e)
{
    if (p->added + c->fresh_count <= EGRESS_MORE_MAX)
        return 0;
    error_set(e, -E2BIG, "it would be grant number %zu that is added to this proxy, and %u may be",
              p->added + c->fresh_count, EGRESS_MORE_MAX);
    error_hint(e, "start the proxy again");
    return -E2BIG;
}

/* May the CA sign for it? It is constrained to the hosts of the start, and the names below them. */
static bool certified(const struct proxy *p, const struct grant *g)
{
    const struct grant_set *s = p->run.request->grants;
    if (!g->http.https)
        return true;
    for (size_t i = 0; i < s->count; i++) {
        const struct grant *known = &s->grants[i];
        if (known->class != GRANT_HTTP || !known->http.https)
            continue;
        size_t size = strlen(g->http.host), part = strlen(known->http.host);
        if (size < part || strcmp(g->http.host + size - part, known->http.host) != 0)
            continue;
        if (size == part || g->http.host[size - part - 1] == '.')
            return true;
    }
    return false;
}

static int check_hosts(struct proxy *p, const struct change *c, struct error *e)
{
    for (size_t i = 0; i < c->fresh_count; i++) {
        const struct grant *g = &c->set->grants[c->fresh[i]];
        if (certified(p, g))
            continue;
        error_set(e, -EACCES,
                  "%s: https://%s%s is not among the hosts of the start, and the CA that clients "
                  "trust signs for no others",
                  g->origin, g->http.wildcard ? "*." : "", g->http.host);
        error_hint(e, "start the proxy again with it: it writes a new CA and new settings, which "
                      "clients have to read");
        return -EACCES;
    }
    return 0;
}

/* What names a secret that had none before needs a vault, which only a start opens. */
static int check_vault(struct proxy *p, const struct change *c, struct error *e)
{
    if (p->run.vault || !keeper_needed(c->set))
        return 0;
    error_set(e, -EINVAL,
              "these grants name a secret, and those of the start named none: the "
              "vault is not open");
    error_hint(e, "start the proxy again with these grants");
    return -EINVAL;
}

static int read_change(struct proxy *p, struct change *c, struct error *e)
{
    CLEANUP(grant_rules_freep) struct grant_rules *rules = NULL;
    if (!p->request->reload) {
        error_set(e, -ENOTSUP, "this proxy has no grants that can be read again");
        return -ENOTSUP;
    }
    int status = p->request->reload(p->observer->context, &c->set, e);
    if (status == 0)
        status = grant_rules_new(c->set, p->run.work_host, &rules, e);
    if (status == 0)
        status = compare(p, c, e);
    if (status == 0)
        status = check_room(p, c, e);
    if (status == 0)
        status = check_hosts(p, c, e);
    return status == 0 ? check_vault(p, c, e) : status;
}

/* ---- 2: keeper ---- */

/* The first `count` of what is new, which keeper took and nobody may use. */
static int take_back(struct proxy *p, size_t first_rule, size_t count, struct error *e)
{
    struct grant nothing = { .class = GRANT_LOG, .levels = 1u };
    const struct grant_set place = set_of(&nothing);
    int status = 0;
    for (size_t i = 0; status == 0 && i < count; i++) {
        status = keeper_revoke(p->run.keeper, (uint32_t)(first_rule + i), e);
        if (status == 0)
            status = egress_grant(p->run.egress, &place, e);
    }
    p->added += count;
    return status;
}

/* Those of the start were there at the start. */
static int try_secrets(struct proxy *p, const struct change *c, struct error *why)
{
    char **names = NULL;
    size_t count = 0;
    int status = grant_set_secrets(c->set, &names, &count, why);
    for (size_t i = 0; status == 0 && i < count; i++) {
        CLEANUP(mem_freep) char *text = NULL;
        if (!proxy_knows_secret(p, names[i]))
            status = keeper_test(p->run.keeper, names[i], &text, why);
    }
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    return status;
}

/* 0, 1: keeper does not take it, nothing has changed and `why` says why; < 0: a fault. */
static int tell_keeper(struct proxy *p, const struct change *c, struct error *why, struct error *e)
{
    size_t first = egress_rules(p->run.egress);
    if (try_secrets(p, c, why) < 0)
        return 1;
    for (size_t i = 0; i < c->fresh_count; i++) {
        const struct grant_set one = set_of(&c->set->grants[c->fresh[i]]);
        if (keeper_grant(p->run.keeper, &one, why) == 0)
            continue;
        int status = take_back(p, first, i, e);
        return status < 0 ? status : 1;
    }
    return 0;
}

/* ---- 2: the settings ---- */

/* As tell_keeper(). */
static int give_placeholders(struct proxy *p, struct change *c, struct error *why, struct error *e)
{
    size_t first = egress_rules(p->run.egress);
    int status = proxy_more_names(p, c->set, why);
    if (status == 0 && p->secret_count > c->secrets)
        status = proxy_env_rewrite(p, why);
    if (status == 0)
        return 0;
    proxy_names_cut(p, c->secrets);
    status = take_back(p, first, c->fresh_count, e);
    return status < 0 ? status : 1;
}

static void tell_placeholders(struct proxy *p, const struct change *c)
{
    for (size_t i = c->secrets; i < p->secret_count; i++)
        proxy_notice(p, "%s is new: clients that want it read the settings again, %s",
                     p->secrets[i].variable, p->env.path);
}

/* ---- 3: the receipt ---- */

static int put_digest(json_t *event, const struct grant_set *s, struct error *e)
{
    CLEANUP(json_freep) json_t *set = grant_set_to_json(s);
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(64u << 20);
    struct digest digest;
    char text[DIGEST_TEXT_SIZE];
    if (!set || json_canonical(set, &canonical) < 0 || buf_status(&canonical) < 0 ||
        digest_bytes(canonical.data, canonical.size, &digest, e) < 0)
        return error_set(e, -ENOMEM, "no memory for the receipt");
    digest_text(&digest, text);
    json_object_set_new(event, "digest", json_string(text));
    return 0;
}

static int record(struct proxy *p, const struct change *c, struct error *e)
{
    CLEANUP(json_freep) json_t *set = grant_set_to_json(c->set);
    json_t *event = json_object(), *added = json_array(), *revoked = json_array();
    size_t number = egress_rules(p->run.egress);
    for (size_t i = 0; i < c->fresh_count; i++, number++)
        json_array_append_new(
            added, run_record_rule(json_array_get(json_object_get(set, "grants"), c->fresh[i]),
                                   &c->set->grants[c->fresh[i]], number));
    for (size_t i = 0; i < p->rule_count; i++)
        if (!p->rules[i].kept)
            json_array_append_new(revoked, json_integer(p->rules[i].rule));
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "kept", json_integer((json_int_t)c->kept));
    json_object_set_new(event, "added", added);
    json_object_set_new(event, "revoked", revoked);
    if (c->set->expires_ns != GRANT_UNSET)
        json_object_set_new(event, "expires_ns", json_integer((json_int_t)c->set->expires_ns));
    int status = put_digest(event, c->set, e);
    if (status < 0) {
        json_decref(event);
        return status;
    }
    return receipt_put(p->run.receipt, "policy.reloaded", event, e);
}

static int record_refusal(struct proxy *p, const struct error *why, struct error *e)
{
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "why", json_string_of(why->what));
    return receipt_put(p->run.receipt, "policy.refused", event, e);
}

/* ---- 4: in force ---- */

static int grant_fresh(struct proxy *p, const struct change *c, struct error *e)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < c->fresh_count; i++) {
        const struct grant_set one = set_of(&c->set->grants[c->fresh[i]]);
        uint32_t number = (uint32_t)egress_rules(p->run.egress);
        status = egress_grant(p->run.egress, &one, e);
        if (status == 0)
            status = add_rule(p, &one.grants[0], number, e);
        if (status == 0)
            p->rules[p->rule_count - 1].kept = true;
        p->added++;
    }
    return status;
}

static int revoke_gone(struct proxy *p, struct error *e)
{
    int status = 0;
    size_t left = 0;
    for (size_t i = 0; i < p->rule_count; i++) {
        struct proxy_rule *r = &p->rules[i];
        if (r->kept) {
            p->rules[left++] = *r;
            continue;
        }
        if (status == 0)
            status = egress_revoke(p->run.egress, r->rule, e);
        if (status == 0)
            status = keeper_revoke(p->run.keeper, r->rule, e);
        mem_free(r->text);
    }
    p->rule_count = left;
    return status;
}

/* `expires` counts from the start of the proxy, whenever it was written. */
static int renew_expiry(struct proxy *p, const struct change *c, struct error *e)
{
    uint64_t passed = clock_monotonic_ns() - p->running_ns, left = GRANT_UNSET;
    if (c->set->expires_ns == p->expires_ns)
        return 0;
    if (c->set->expires_ns != GRANT_UNSET)
        left = c->set->expires_ns > passed ? c->set->expires_ns - passed : 0;
    p->expires_ns = c->set->expires_ns;
    p->expired = false;
    int status = egress_expires(p->run.egress, left, e);
    return status == 0 ? run_keeper_expires(&p->run, left, e) : status;
}

static int put_in_force(struct proxy *p, const struct change *c, struct error *e)
{
    int status = 0;
    if (p->secret_count > c->secrets)
        status = egress_placeholders(p->run.egress, p->placeholders, e);
    if (status == 0)
        status = grant_fresh(p, c, e);
    if (status == 0)
        status = revoke_gone(p, e);
    if (status == 0)
        status = renew_expiry(p, c, e);
    if (status == 0)
        status = proxy_fronts_regranted(p, e);
    return status;
}

static int refuse(struct proxy *p, struct error *why, struct error *e)
{
    if (why->hint[0] == '\0')
        error_hint(why,
                   "mend it, then send SIGHUP again; until then the grants are what they were");
    int status = record_refusal(p, why, e); /* before it is told, as all that a receipt says */
    if (p->observer->not_reloaded)
        p->observer->not_reloaded(p->observer->context, why);
    return status;
}

int proxy_reload(struct proxy *p, struct error *e)
{
    CLEANUP(change_done) struct change c = { .secrets = p->secret_count };
    struct error why = ERROR_INIT;
    if (read_change(p, &c, &why) < 0)
        return refuse(p, &why, e);
    int status = tell_keeper(p, &c, &why, e);
    if (status == 0)
        status = give_placeholders(p, &c, &why, e);
    if (status != 0)
        return status < 0 ? status : refuse(p, &why, e);
    status = record(p, &c, e);
    if (status == 0)
        status = put_in_force(p, &c, e);
    if (status < 0)
        return status;
    tell_placeholders(p, &c);
    p->totals.reloads++;
    const struct proxy_reloaded told = { .kept = c.kept,
                                         .added = c.fresh_count,
                                         .revoked = c.gone };
    if (p->observer->reloaded)
        p->observer->reloaded(p->observer->context, &told);
    return 0;
}
