/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run's keeper: there when a grant names a secret, or when a proxy wants certificates. It is ready before egress is
 * started, and its clients get a new channel in each life of theirs and of keeper's.
 *
 * A request is admitted after its intent is in the receipt, so that keeper releases nothing of which there is no
 * record; past the receipt's bound for requests, after it is counted.
 */
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "control/run_parts.h"

#define SECRET_EVENTS_MAX \
    1024 /* of each kind that are kept in a receipt: refusals crowd out no release */

static int record(struct run *r, enum run_secret_event kind, json_t *event, struct error *e)
{
    static const char *const names[] = { "secret.used", "secret.denied", "secret.suspended" };
    if (r->secrets_recorded[kind] == SECRET_EVENTS_MAX) {
        json_decref(event);
        return 0;
    }
    r->secrets_recorded[kind]++;
    json_object_set_new(event, "observed_by", json_string("keeper"));
    return receipt_put(r->receipt, names[kind], event, e);
}

static json_t *of_request(uint64_t number, uint32_t rule, const char *name)
{
    json_t *event = json_object();
    json_object_set_new(event, "number", json_count(number));
    json_object_set_new(event, "rule", json_count(rule));
    json_object_set_new(event, "name", json_string_of(name));
    return event;
}

static int find_secret(struct run *r, const char *name, struct run_secret **ret, struct error *e)
{
    struct run_report *p = r->report;
    size_t i = 0;
    while (i < p->secret_count && strcmp(p->secrets[i].name, name) != 0)
        i++;
    if (i == p->secret_count) {
        struct run_secret *grown = mem_grow(p->secrets, i + 1, sizeof(*grown));
        char *copy = mem_strdup(name);
        if (grown)
            p->secrets = grown;
        if (!grown || !copy) {
            mem_free(copy);
            return error_set(e, -ENOMEM, "no memory for the secrets that were wanted");
        }
        p->secrets[p->secret_count++] = (struct run_secret){ .name = copy };
    }
    *ret = &p->secrets[i];
    return 0;
}

static int on_used(void *context, uint32_t life, uint64_t number, uint32_t rule, const char *name,
                   struct error *e)
{
    struct run_secret *s;
    (void)life;
    int status = find_secret(context, name, &s, e);
    if (status < 0)
        return status;
    s->count++;
    return record(context, RUN_SECRET_USED, of_request(number, rule, name), e);
}

static int on_denied(void *context, uint32_t life, uint64_t number, uint32_t rule, const char *name,
                     const char *why, struct error *e)
{
    struct run_secret *s;
    (void)life;
    int status = find_secret(context, name, &s, e);
    if (status < 0)
        return status;
    if (s->refused++ == 0 && (s->why = mem_strdup(why)) == NULL)
        return error_set(e, -ENOMEM, "no memory for the secrets that were wanted");
    json_t *event = of_request(number, rule, name);
    json_object_set_new(event, "why", json_string_of(why));
    return record(context, RUN_SECRET_DENIED, event, e);
}

static int on_suspended(void *context, const char *name, const char *why, struct error *e)
{
    json_t *event = json_object();
    json_object_set_new(event, "name", json_string_of(name));
    json_object_set_new(event, "why", json_string_of(why));
    return record(context, RUN_SECRET_SUSPENDED, event, e);
}

static int on_ready(void *context, uint32_t missing, struct error *e)
{
    struct run *r = context;
    (void)e;
    r->report->missing |= missing;
    return 0;
}

static int on_died(void *context, const char *why, struct error *e)
{
    struct run *r = context;
    json_t *event;
    if (keeper_deaths(r->keeper) > SECRET_EVENTS_MAX)
        return 0;
    event = json_object();
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "why", json_string_of(why));
    return receipt_put(r->receipt, "keeper.died", event, e);
}

static int on_back(void *context, struct error *e)
{
    struct run *r = context;
    int status = r->egress ? egress_keeper(r->egress, e) : 0;
    if (status == 0 && r->keeper_links.back)
        status = r->keeper_links.back(r->keeper_links.context, e);
    return status;
}

int run_keeper_start(struct run *r, const struct run_keeper_links *links, struct error *e)
{
    bool secrets = keeper_needed(r->request->grants);
    int status = 0;
    if (!secrets && !links->certificates)
        return 0;
    r->keeper_links = *links;
    if (secrets)
        status = vault_open(r->request->vault_key, VAULT_READ, &r->vault, e);
    if (status < 0)
        return status;
    const struct keeper_spec spec = {
        .grants = r->request->grants,
        .work_host = r->work_host,
        .vault = r->vault,
        .certificates = links->certificates,
        .more = links->more,
        .allow_missing = r->request->allow_missing,
        .observer = { .context = r,
                      .back = on_back,
                      .ready = on_ready,
                      .used = on_used,
                      .denied = on_denied,
                      .suspended = on_suspended,
                      .died = on_died },
    };
    status = keeper_start(&spec, &r->keeper, e);
    return status < 0 ? status : keeper_wait_ready(r->keeper, e);
}

int run_keeper_fd(const struct run *r)
{
    return r->keeper ? keeper_fd(r->keeper) : -1;
}

int run_keeper_timeout_ms(const struct run *r)
{
    return r->keeper ? keeper_timeout_ms(r->keeper) : -1;
}

int run_keeper_turn(struct run *r, struct error *e)
{
    return r->keeper ? keeper_turn(r->keeper, e) : 0;
}

/* While keeper is dead there is none: on_back() brings it. */
int run_keeper_for_egress(void *context, uint32_t life, int *ret_fd, struct error *e)
{
    struct run *r = context;
    if (keeper_fd(r->keeper) < 0)
        return 0;
    return keeper_client(r->keeper, KEEPER_CLIENT_EGRESS, life, ret_fd, e);
}

int run_keeper_admit(struct run *r, const struct egress_request *q, struct error *e)
{
    if (!r->vault || q->rule == EGRESS_MINT_RULE)
        return 0;
    return keeper_admit(r->keeper, egress_life(r->egress), q->number, q->rule, e);
}

void run_keeper_ended(struct run *r, const struct egress_response *a)
{
    if (r->vault && a->rule != EGRESS_MINT_RULE)
        keeper_ended(r->keeper, egress_life(r->egress), a->number);
}

int run_keeper_expires(struct run *r, uint64_t expires_ns, struct error *e)
{
    return r->keeper ? keeper_expires(r->keeper, expires_ns, e) : 0;
}

int run_keeper_end(struct run *r, struct error *e)
{
    int status = 0;
    for (;;) {
        struct pollfd there = { .fd = run_keeper_fd(r), .events = POLLIN };
        if (status < 0 || there.fd < 0 || poll(&there, 1, 0) <= 0)
            return status;
        status = keeper_turn(r->keeper, e);
    }
}

void run_keeper_done(struct run *r)
{
    keeper_free(r->keeper);
    vault_close(r->vault);
    r->keeper = NULL;
    r->vault = NULL;
}
