/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See keeper.h. What keeper says of requests is for the receipt only; what it makes of the vault is written as
 * it comes, and only while somebody asked for a change.
 *
 * What control admitted and egress has not asked for yet is admitted again when keeper comes back, so that its
 * death fails no request that has not got its secret.
 */
#include "control/keeper_parts.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define ADMITTED_MAX 65536 /* requests under way */

bool keeper_needed(const struct grant_set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (grant_has_secret(&s->grants[i]))
            return true;
    }
    return false;
}

/* ---- sending ---- */

static int send_admit(struct keeper *k, const struct admitted *a, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(32);
    buf_u32(&payload, a->life);
    buf_u64(&payload, a->number);
    buf_u32(&payload, a->rule);
    return decider_tell(&k->d, KEEPER_ADMIT, &payload, NULL, 0, e);
}

/* ---- what it may say ---- */

static int admit_again(struct keeper *k, struct error *e)
{
    int status = 0;
    for (struct admitted *a = k->admitted; status == 0 && a; a = a->next)
        status = a->used ? 0 : send_admit(k, a, e);
    return status;
}

static int on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct keeper *k = context;
    uint32_t missing = cursor_u32(c);
    CLEANUP(mem_freep) char *ca = cursor_string(c);
    bool back = k->was_ready;
    if (c->bad || ca == NULL)
        return error_set(e, -EPROTO, "keeper is ready with a certificate that cannot be");
    if ((missing & ~k->start.allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "keeper started without a layer of its jail that may not be missing");
    k->d.ready = k->was_ready = true;
    k->d.gate.phase = PHASE_RUNNING;
    mem_free(k->ca);
    k->ca = TAKE(ca);
    int status = k->observer.ready ? k->observer.ready(k->observer.context, missing, e) : 0;
    if (status == 0 && back && k->observer.back)
        status = k->observer.back(k->observer.context, e);
    return status == 0 && back ? admit_again(k, e) : status;
}

/* Of a value that could not be fetched, this side knows more. */
static void hint_of(const struct keeper *k, struct error *e, const char *theirs)
{
    const char *ours = k->source_error.hint;
    if (ours[0] != '\0' || theirs[0] != '\0')
        error_hint(e, "%s", ours[0] != '\0' ? ours : theirs);
}

static int on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct keeper *k = context;
    struct error *text = &k->d.fault_text;
    int status = decider_on_fault(&k->d, c, -EKEYREJECTED, e);
    if (status < 0)
        return status;
    hint_of(k, text, "");
    if (text->hint[0] == '\0' && k->vault)
        error_hint(text,
                   "nothing was changed: put a copy of %s/vault back, or move it away and set its "
                   "secrets anew",
                   vault_folder(k->vault));
    return 0;
}

static bool grant_names(const struct grant *g, const char *name)
{
    CLEANUP(mem_freep) char *mark = mem_printf("${secret:%s}", name);
    for (size_t i = 0; mark && g->class == GRANT_HTTP && i < g->http.set_count; i++)
        if (strstr(g->http.set[i].value, mark))
            return true;
    return false;
}

static bool grants_name(const struct keeper *k, const char *name)
{
    for (size_t i = 0; i < k->d.grants->count; i++)
        if (grant_names(&k->d.grants->grants[i], name))
            return true;
    return false;
}

/* May keeper want this? 0; -EPROTO */
static int want_check(struct keeper *k, const char *name, uint32_t source, const char *locator,
                      struct error *e)
{
    struct pinned *p = k->pinned;
    bool tested = k->question.answer == ANSWER_WANTED && k->question.kind == KEEPER_TEST &&
                  strcmp(k->question.name, name) == 0;
    while (p && strcmp(p->name, name) != 0)
        p = p->next;
    if (p && (p->source != source || strcmp(p->locator, locator) != 0))
        return error_set(e, -EPROTO, "keeper wants the value of %s from somewhere else now", name);
    if (!tested && !grants_name(k, name))
        return error_set(e, -EPROTO, "keeper wants a value that no grant names");
    if (p)
        return 0;
    p = mem_zalloc(sizeof(*p));
    if (p) {
        *p = (struct pinned){ k->pinned, mem_strdup(name), mem_strdup(locator), source };
        k->pinned = p;
    }
    return p && p->name && p->locator ? 0 : error_set(e, -ENOMEM, "no memory for a secret");
}

/* A value that is not stored: fetched here, where files and commands are, and passed on unread. */
static int on_want(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct keeper *k = context;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    CLEANUP(fd_closep) int fd = -1;
    CLEANUP(mem_freep) char *name = cursor_string(c);
    uint32_t source = cursor_u32(c);
    CLEANUP(mem_freep) char *locator = cursor_string(c);
    if (c->bad || !name || !locator || source >= SECRET_SOURCE_COUNT || source == SECRET_STORED ||
        grant_secret_name_check(name, NULL) < 0)
        return error_set(e, -EPROTO, "keeper wants a value that cannot be");
    int status = want_check(k, name, source, locator, e);
    if (status < 0)
        return status;
    error_clear(&k->source_error);
    status = vault_source(name, source, locator, &fd, &k->source_error);
    buf_string(&payload, name);
    buf_string(&payload, status < 0 ? k->source_error.what : "");
    restart_began(&k->d.restart); /* the time it took was ours */
    return decider_tell(&k->d, KEEPER_SOURCE, &payload, &fd, status < 0 ? 0 : 1, e);
}

static int on_vault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct keeper *k = context;
    uint64_t epoch = cursor_u64(c);
    uint32_t size = cursor_u32(c);
    if (c->bad || k->question.answer != ANSWER_WANTED || !k->question.into)
        return error_set(e, -EPROTO, "keeper made a vault that nobody asked for");
    int status = vault_replace(k->question.into, k->change_fd, size, epoch, e);
    k->question.answer = ANSWER_GIVEN;
    return status;
}

static int on_refused(void *context, struct cursor *c, const int *fds, size_t fd_count,
                      struct error *e)
{
    struct keeper *k = context;
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);
    if (c->bad || !text || !hint || k->question.answer != ANSWER_WANTED)
        return error_set(e, -EPROTO, "keeper refused what nobody asked for");
    k->question.answer = ANSWER_REFUSED;
    error_set(&k->question.refusal, -EPERM, "%s", text);
    hint_of(k, &k->question.refusal, hint);
    return 0;
}

static int on_item(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct keeper *k = context;
    struct keeper_item item;
    int status = keeper_item_get(c, &item, e);
    if (status < 0)
        return status;
    if (k->question.answer != ANSWER_WANTED || !k->question.each)
        status = error_set(e, -EPROTO, "keeper listed what nobody asked for");
    else
        status = k->question.each(k->question.context, &item);
    keeper_item_done(&item);
    return status;
}

static int on_items_end(void *context, struct cursor *c, const int *fds, size_t fd_count,
                        struct error *e)
{
    struct keeper *k = context;
    if (k->question.answer != ANSWER_WANTED || !k->question.each)
        return error_set(e, -EPROTO, "keeper ended a list that nobody asked for");
    k->question.answer = ANSWER_GIVEN;
    return 0;
}

static int on_tested(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper *k = context;
    CLEANUP(mem_freep) char *text = cursor_string(c);
    if (c->bad || !text || k->question.answer != ANSWER_WANTED || k->question.kind != KEEPER_TEST)
        return error_set(e, -EPROTO, "keeper tested what nobody asked for");
    mem_free(k->question.text);
    k->question.text = TAKE(text);
    k->question.answer = ANSWER_GIVEN;
    return 0;
}

struct release {
    uint32_t life, rule;
    uint64_t number;
    char *name;
};

/* Of a rule, and of a secret that it names: there are no more of them than the report can tell of. */
static int release_get(const struct keeper *k, struct cursor *c, struct release *ret,
                       struct error *e)
{
    ret->life = cursor_u32(c);
    ret->number = cursor_u64(c);
    ret->rule = cursor_u32(c);
    ret->name = cursor_string(c);
    if (!c->bad && ret->name && ret->rule < k->d.rule_count &&
        (ret->name[0] == '\0' || (grant_secret_name_check(ret->name, NULL) == 0 &&
                                  grant_names(&k->d.grants->grants[ret->rule], ret->name))))
        return 0;
    mem_free(ret->name);
    return error_set(e, -EPROTO, "keeper told of a release that cannot be");
}

static struct admitted **find(struct keeper *k, uint32_t life, uint64_t number)
{
    struct admitted **at = &k->admitted;
    while (*at && ((*at)->life != life || (*at)->number != number))
        at = &(*at)->next;
    return at;
}

static int on_used(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct keeper *k = context;
    struct release r;
    int status = release_get(k, c, &r, e);
    if (status < 0)
        return status;
    struct admitted *a = *find(k, r.life, r.number);
    if (a)
        a->used = true;
    if (k->observer.used)
        status = k->observer.used(k->observer.context, r.life, r.number, r.rule, r.name, e);
    mem_free(r.name);
    return status;
}

static int on_denied(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper *k = context;
    struct release r;
    int status = release_get(k, c, &r, e);
    if (status < 0)
        return status;
    CLEANUP(mem_freep) char *why = cursor_string(c);
    if (!why)
        status = error_set(e, -EPROTO, "keeper told of a refusal that cannot be");
    else if (k->observer.denied)
        status = k->observer.denied(k->observer.context, r.life, r.number, r.rule, r.name, why, e);
    mem_free(r.name);
    return status;
}

static int on_suspended(void *context, struct cursor *c, const int *fds, size_t fd_count,
                        struct error *e)
{
    struct keeper *k = context;
    CLEANUP(mem_freep) char *name = cursor_string(c);
    CLEANUP(mem_freep) char *why = cursor_string(c);
    if (!name || !why || grant_secret_name_check(name, NULL) < 0)
        return error_set(e, -EPROTO, "keeper told of a secret that cannot be");
    return k->observer.suspended ? k->observer.suspended(k->observer.context, name, why, e) : 0;
}

#define IN(phase) (1u << (phase))
#define ANY_TIME (IN(PHASE_STARTING) | IN(PHASE_RUNNING))
static const struct frame_rule rules[] = {
    { KEEPER_READY, "ready", IN(PHASE_STARTING), true, 0, 64u << 10, on_ready },
    { KEEPER_FAULT, "fault", ANY_TIME, true, 0, 64u << 10, on_fault },
    { KEEPER_WANT, "want", ANY_TIME, false, 0, 16u << 10, on_want },
    { KEEPER_VAULT, "vault", IN(PHASE_RUNNING), false, 0, 16, on_vault },
    { KEEPER_REFUSED, "refused", IN(PHASE_RUNNING), false, 0, 64u << 10, on_refused },
    { KEEPER_ITEM, "item", IN(PHASE_RUNNING), false, 0, 64u << 10, on_item },
    { KEEPER_ITEMS_END, "items' end", IN(PHASE_RUNNING), false, 0, 0, on_items_end },
    { KEEPER_TESTED, "tested", IN(PHASE_RUNNING), false, 0, 16u << 10, on_tested },
    { KEEPER_USED, "used", IN(PHASE_RUNNING), false, 0, 1024, on_used },
    { KEEPER_DENIED, "denied", IN(PHASE_RUNNING), false, 0, 16u << 10, on_denied },
    { KEEPER_SUSPENDED, "suspended", IN(PHASE_RUNNING), false, 0, 16u << 10, on_suspended },
};

/* ---- start ---- */

/* The key is read once: a life after the first finds it in the memory that the one before left. */
static int start_fds(struct keeper *k, int fds[static 4], size_t *ret_count, struct error *e)
{
    int vault = k->vault ? vault_fd(k->vault, e) : k->null_fd;
    int key = k->vault && !k->was_ready ? vault_key_fd(k->vault, e) : k->null_fd;
    if (vault < 0 || key < 0)
        return vault < 0 ? vault : key;
    fds[0] = vault;
    fds[1] = key;
    fds[2] = k->state_fd;
    fds[3] = k->change_fd;
    *ret_count = k->change_fd >= 0 ? 4 : 3;
    return 0;
}

static int send_start(struct keeper *k, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int fds[4];
    size_t fd_count = 0;
    int status = start_fds(k, fds, &fd_count, e);
    restart_began(&k->d.restart); /* a person may have typed meanwhile */
    keeper_start_put(&payload, &k->start);
    return status == 0 ? decider_start(&k->d, KEEPER_START, &payload, fds, fd_count, e) : status;
}

static int spawn(struct keeper *k, struct error *e)
{
    int status = room_spawn(ROOM_KEEPER, k->start.allow_missing, &k->d.room, e);
    if (status < 0)
        return status;
    decider_began(&k->d, rules, ARRAY_SIZE(rules));
    return send_start(k, e);
}

static int memory(const char *name, size_t size, int *ret_fd, struct error *e)
{
    *ret_fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*ret_fd < 0 || ftruncate(*ret_fd, (off_t)size) < 0 ||
        fcntl(*ret_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return error_set_errno(e, errno, "no memory for keeper");
    return 0;
}

static int prepare(struct keeper *k, const struct keeper_spec *spec, struct error *e)
{
    bool changes = spec->grants == NULL && spec->vault != NULL;
    ASSERT(spec->more <= KEEPER_MORE_MAX);
    k->observer = spec->observer;
    k->vault = spec->vault;
    k->d = (struct decider){ .name = "keeper",
                             .grant = KEEPER_GRANT,
                             .revoke = KEEPER_REVOKE,
                             .expire = KEEPER_EXPIRE,
                             .grants_json = &k->start.grants_json,
                             .expires_ns = &k->start.expires_ns,
                             .more = &k->start.more };
    k->start.flags = (spec->certificates ? KEEPER_CERTIFICATES : 0) |
                     (spec->new_vault ? KEEPER_NEW_VAULT : 0) | (spec->vault ? 0 : KEEPER_NO_VAULT);
    k->start.allow_missing = spec->allow_missing;
    k->start.test_skip = spec->test_skip;
    k->start.epoch = spec->vault ? vault_epoch(spec->vault) : 0;
    k->start.key_kind = mem_strdup(spec->vault ? vault_key_kind(spec->vault) : "");
    k->start.work_host = mem_strdup(spec->work_host ? spec->work_host : "/");
    if (!k->start.key_kind || !k->start.work_host)
        return error_set(e, -ENOMEM, "no memory for keeper");
    k->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (k->null_fd < 0)
        return error_set_errno(e, errno, "/dev/null");
    int status = decider_init(&k->d, spec->grants, spec->more, e);
    if (status == 0)
        status = memory("ambit-keeper", KEEPER_STATE_SIZE, &k->state_fd, e);
    if (status == 0 && changes)
        status = memory("ambit-vault", VAULT_SIZE_MAX, &k->change_fd, e);
    return status;
}

int keeper_start(const struct keeper_spec *spec, struct keeper **ret, struct error *e)
{
    struct keeper *k = mem_zalloc(sizeof(*k));
    if (!k)
        return error_set(e, -ENOMEM, "no memory for keeper");
    k->state_fd = k->change_fd = k->null_fd = -1;
    int status = prepare(k, spec, e);
    if (status == 0)
        status = spawn(k, e);
    if (status < 0) {
        keeper_free(k);
        return status;
    }
    *ret = k;
    return 0;
}

static void forget(struct keeper *k, struct admitted **at)
{
    struct admitted *a = *at;
    *at = a->next;
    mem_free(a);
    k->admitted_count--;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    while (k->admitted)
        forget(k, &k->admitted);
    while (k->pinned) {
        struct pinned *p = k->pinned;
        k->pinned = p->next;
        mem_free(p->name);
        mem_free(p->locator);
        mem_free(p);
    }
    fd_close(k->state_fd);
    fd_close(k->change_fd);
    fd_close(k->null_fd);
    keeper_start_done(&k->start);
    decider_done(&k->d);
    mem_free(k->question.text);
    mem_free(k->ca);
    mem_free(k);
}

/* ---- life and death ---- */

int keeper_fd(const struct keeper *k)
{
    return decider_fd(&k->d);
}

int keeper_timeout_ms(const struct keeper *k)
{
    return decider_timeout_ms(&k->d);
}

static int died(struct keeper *k, struct error *e)
{
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    decider_bury(&k->d, &why);
    k->d.deaths++;
    if (k->d.fault) { /* it will say the same again */
        *e = k->d.fault_text;
        return k->d.fault_text.code;
    }
    if (!k->was_ready)
        return decider_not_started(&k->d, &why, e);
    if (k->question.answer == ANSWER_WANTED) {
        k->question.answer = ANSWER_REFUSED;
        error_set(&k->question.refusal, -ECHILD, "keeper died: %s", buf_cstr(&why));
        error_hint(&k->question.refusal, "the vault is as it was; try it again");
    }
    return k->observer.died ? k->observer.died(k->observer.context, buf_cstr(&why), e) : 0;
}

int keeper_turn(struct keeper *k, struct error *e)
{
    if (!k->d.alive)
        return clock_monotonic_ns() < k->d.restart.back_ns ? 0 : spawn(k, e);
    int status = decider_hear(&k->d, k, e);
    return status > 0 ? died(k, e) : status;
}

void keeper_wait_a_while(struct keeper *k)
{
    struct pollfd wait = { .fd = keeper_fd(k), .events = POLLIN };
    int ms = keeper_timeout_ms(k);
    (void)poll(&wait, 1, ms < 0 ? 1000 : MIN(ms, 1000));
}

int keeper_wait_ready(struct keeper *k, struct error *e)
{
    int status = 0;
    while (status == 0 && !k->d.ready) {
        keeper_wait_a_while(k);
        status = keeper_turn(k, e);
    }
    return status;
}

bool keeper_failed(const struct error *e)
{
    return e->code == -ECHILD || e->code == -ENODEV || e->code == -ETIMEDOUT ||
           e->code == -EPROTO || e->code == -ENOMEM;
}

const char *keeper_ca(const struct keeper *k)
{
    return k->ca ? k->ca : "";
}

unsigned keeper_deaths(const struct keeper *k)
{
    return k->d.deaths;
}

/* ---- clients and their requests ---- */

int keeper_client(struct keeper *k, enum keeper_client kind, uint32_t life, int *ret_fd,
                  struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    int ends[2];
    *ret_fd = -1;
    if (kind == KEEPER_CLIENT_EGRESS) { /* what an earlier life was about is over */
        for (struct admitted **at = &k->admitted; *at;) {
            if ((*at)->life != life)
                forget(k, at);
            else
                at = &(*at)->next;
        }
    }
    if (!k->d.alive || !k->d.ready)
        return 0; /* `back` brings it */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(e, errno, "no channel to keeper");
    buf_u32(&payload, kind);
    buf_u32(&payload, life);
    int status = decider_tell(&k->d, KEEPER_CLIENT, &payload, &ends[0], 1, e);
    fd_close(ends[0]);
    if (status < 0)
        fd_close(ends[1]);
    else
        *ret_fd = ends[1];
    return status;
}

int keeper_admit(struct keeper *k, uint32_t life, uint64_t number, uint32_t rule, struct error *e)
{
    if (rule >= k->d.grants->count || !grant_has_secret(&k->d.grants->grants[rule]))
        return 0;
    if (k->admitted_count == ADMITTED_MAX)
        return error_set(e, -E2BIG, "more requests with secrets at once than can be kept");
    struct admitted *a = mem_zalloc(sizeof(*a));
    if (!a)
        return error_set(e, -ENOMEM, "no memory for a request with a secret");
    *a = (struct admitted){ .next = k->admitted, .life = life, .number = number, .rule = rule };
    k->admitted = a;
    k->admitted_count++;
    return k->d.alive && k->d.ready ? send_admit(k, a, e) : 0;
}

void keeper_ended(struct keeper *k, uint32_t life, uint64_t number)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    struct admitted **at = find(k, life, number);
    if (!*at)
        return; /* of a rule without a secret */
    forget(k, at);
    buf_u32(&payload, life);
    buf_u64(&payload, number);
    if (k->d.alive && k->d.ready) /* one that cannot be told is dead, or about to be seen so */
        (void)!decider_send(&k->d, KEEPER_ENDED, &payload, NULL, 0, NULL);
}

/* ---- more and less ---- */

int keeper_grant(struct keeper *k, const struct grant_set *one, struct error *e)
{
    return decider_grant(&k->d, one, e);
}

int keeper_revoke(struct keeper *k, uint32_t rule, struct error *e)
{
    return decider_revoke(&k->d, rule, e);
}

int keeper_expires(struct keeper *k, uint64_t expires_ns, struct error *e)
{
    return decider_expires(&k->d, expires_ns, e);
}
