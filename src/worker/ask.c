/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit run --ask`: before something is denied, a person is asked about the smallest grant of it.
 *
 * The guest waits inside its host call, and so does the room: it has one guest, and nothing else to
 * do. Time spent waiting is no time of the guest's. Yes adds the grant behind all others, so that
 * every rule keeps its number; yes for once retires it at the next host call. Old rules stay until
 * the guest is gone, because what it has open may point into them.
 *
 * Yes to a request of http is in force in the egress room before we hear of it: control sees to that,
 * makes the grant itself and counts what is for once. We go by our own copy, which has the same
 * number there.
 *
 * A closed jail opens no further folder and makes no folder writable, so nobody is asked about those:
 * they are denied, and the grant is told for another run. What was refused once stands among the
 * denials and is never asked again.
 */
#include "worker/ask.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/guest.h"

#define GRANT_TEXT_MAX (48u << 10)

struct asking {
    struct grant_set *set; /* all grants in force, in the order of the rules */
    const struct grant_rules *first;
    struct grant_rules *rules[ASK_MAX]; /* owned; the last one is in force */
    bool spent[ASK_MAX];                /* the grant of the same place in `rules` was for once */
    size_t count;
    bool once; /* the last one is to be retired at the next host call */
};

int asking_new(const struct run_start *start, const struct grant_rules *rules, struct asking **ret,
               struct error *e)
{
    struct asking *a = mem_zalloc(sizeof(*a));
    if (!a)
        return error_set(e, -ENOMEM, "no memory");
    a->first = rules;
    int status =
        grant_set_parse("grants", "/", start->grants_json, strlen(start->grants_json), &a->set, e);
    if (status < 0) {
        asking_free(a);
        return status;
    }
    *ret = a;
    return 0;
}

void asking_free(struct asking *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++)
        grant_rules_free(a->rules[i]);
    grant_set_free(a->set);
    mem_free(a);
}

/* Can a room whose jail is closed do what the grant says? */
static bool within_reach(const struct guest *guest, const struct grant *g)
{
    const struct asking *a = guest->asking;
    size_t mount;
    const char *rest;
    if (g->class == GRANT_KEYVALUE)
        return true;
    if (g->class == GRANT_HTTP)
        return guest->commons.egress != NULL;
    if (g->class != GRANT_FS ||
        grant_mount_of(a->first, g->fs.guest, strlen(g->fs.guest), &mount, &rest) != 1)
        return false;
    const struct grant_mount *m = grant_rules_mount(a->first, mount);
    bool changes = g->fs.verbs & ~(uint32_t)FS_RO;
    return rest[0] == '\0' &&
           (m->backing == GRANT_BACKING_MEMORY || !changes || m->verbs & ~(uint32_t)FS_RO);
}

/* The rules with one grant more, in force. */
static int widen(struct guest *g, struct asking *a, const struct grant *more)
{
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(GRANT_TEXT_MAX + 64);
    CLEANUP(buf_done) struct buf item = BUF_INIT(GRANT_TEXT_MAX);
    struct grant_rules *rules = NULL;
    size_t before = a->set->count;
    /* Through its own text: what is added is what was shown. */
    int status = grant_print(more, &item, NULL);
    buf_puts(&text, "version: 1\ngrants:\n");
    buf_append(&text, item.data, item.size);
    if (status == 0)
        status = buf_status(&text);
    if (status == 0)
        status = grant_set_parse("answer", "/", buf_cstr(&text), text.size, &one, NULL);
    if (status == 0)
        status = grant_set_merge(a->set, one, NULL);
    if (status == 0)
        status = grant_rules_new(a->set, g->start->work_host, &rules, NULL);
    if (status < 0)
        return status;
    for (size_t i = 0; i < a->count; i++)
        if (a->spent[i])
            grant_rules_retire(rules, (uint32_t)(before - a->count + i));
    a->rules[a->count++] = rules;
    g->rules = rules;
    if (g->vfs)
        vfs_set_rules(g->vfs, rules);
    return 0;
}

void asking_call_begins(struct guest *g)
{
    struct asking *a = g->asking;
    if (!a->once)
        return;
    a->once = false;
    a->spent[a->count - 1] = true;
    grant_rules_retire(a->rules[a->count - 1], (uint32_t)a->set->count - 1);
}

/* An answer that is RUN_ANSWER_NEVER where nobody answers any more; < 0. */
static int put_question(struct guest *g, struct run_denial *d, const struct grant *grant)
{
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(GRANT_TEXT_MAX);
    int status = grant_print(grant, &yaml, NULL);
    if (status < 0)
        return status;
    d->grant_yaml = (char *)buf_cstr(&yaml);
    uint64_t asked_ns = clock_monotonic_ns();
    int answer = g->report.ask(g->report.context, d);
    guest_waited(g, clock_monotonic_ns() - asked_ns);
    return answer;
}

bool guest_ask(struct guest *g, const struct run_denial *asked, const struct grant *grant)
{
    struct asking *a = g->asking;
    struct run_denial d = *asked;
    if (!a || g->ended || g->gate != GRANT_ALLOWED || a->count == ASK_MAX || a->once ||
        a->set->count == GRANT_GRANTS_MAX || !within_reach(g, grant) ||
        denials_have(g->denials, &d))
        return false;
    int answer = put_question(g, &d, grant);
    if (answer > 0) {
        int status = widen(g, a, grant);
        answer = status < 0 ? status : answer;
        a->once = answer == RUN_ANSWER_ONCE;
    }
    if (answer < 0)
        guest_fault(g, answer, "asking a person");
    return answer > 0 && !g->ended;
}
