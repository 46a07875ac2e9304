/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asks of egress. One is answered when all of this is so, and not before:
 *
 *     the grants allow the request to the rule that it names         release_decide()
 *     control has recorded it: KEEPER_ADMIT of this life, number and rule
 *     that admission was not taken, in this life of keeper or an earlier one
 *     max_requests of the rule is not used up, over all lives
 *     every secret of the rule is there, not suspended, and minted where it must be
 *
 * Then the admission is taken, the release is counted and told to control, and the values go to egress, in
 * this order: whenever the room is killed, what went out was counted.
 */
#include <string.h>

#include "base/clock.h"
#include "keeper/room.h"

#define SIGNED_MAX (SECRET_VALUES_OF_ASK_MAX * (SECRET_TOKEN_MAX + 512))

enum turn { TURN_WAITS, TURN_ANSWERED };

/* The secrets of a rule, each once. */
struct rule_names {
    struct bytes names[SECRET_VALUES_OF_ASK_MAX];
    size_t count;
};

static void names_of(const struct grant *g, struct rule_names *ret)
{
    ret->count = 0;
    for (size_t i = 0; g && g->class == GRANT_HTTP && i < g->http.set_count; i++) {
        struct grant_template_part part;
        const char *at = g->http.set[i].value;
        while (grant_template_next(&at, &part)) {
            size_t k = 0;
            while (k < ret->count && !bytes_equal(ret->names[k], part.secret))
                k++;
            if (part.secret.size && k == ret->count && k < ARRAY_SIZE(ret->names))
                ret->names[ret->count++] = part.secret;
        }
    }
}

static uint64_t now_s(void)
{
    int64_t ns = clock_real_ns();
    return ns < 0 ? 0 : (uint64_t)ns / NS_PER_S;
}

/* ---- answers ---- */

static void record(struct keeper_room *room, uint16_t kind, const struct secret_ask *a,
                   struct bytes name, const char *why)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_u32(&payload, room->egress.life);
    buf_u64(&payload, a->number);
    buf_u32(&payload, a->rule);
    buf_bytes(&payload, name.data, name.size);
    if (kind == KEEPER_DENIED)
        buf_string(&payload, why);
    room_tell(room, kind, &payload);
}

static enum turn refuse(struct keeper_room *room, const struct secret_ask *a,
                        enum grant_reason reason, struct bytes name, const char *why)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(4096);
    struct secret_refused r = { .number = a->number, .reason = reason, .text = bytes_of(why) };
    r.text.size = MIN(r.text.size, (size_t)SECRET_TEXT_MAX);
    if (a->rule < room->grants.rule_count) /* control knows of no other */
        record(room, KEEPER_DENIED, a, name, why);
    secret_refused_put(&payload, &r);
    client_send(&room->egress, SECRET_REFUSED, &payload);
    return TURN_ANSWERED;
}

static int gather(struct keeper_room *room, const struct secret_ask *a,
                  const struct rule_names *names, struct buf *scratch, struct secret_values *into,
                  struct error *e)
{
    int status = 0;
    into->number = a->number;
    for (size_t i = 0; i < names->count && status == 0; i++) {
        const struct value_slot *s = value_find(room, names->names[i]);
        status = mint_values(&s->v, a, now_s(), scratch, into, e);
    }
    return status;
}

/* From here on it counts as released. */
static enum turn release(struct keeper_room *room, const struct secret_ask *a,
                         struct admission *admission, const struct rule_names *names,
                         const struct secret_values *values)
{
    CLEANUP(secret_buf_done) struct buf payload = { 0 };
    if (secret_buf(&payload, SIGNED_MAX, NULL) < 0)
        return refuse(room, a, GRANT_SECRET, names->names[0], "keeper has no memory");
    secret_values_put(&payload, values);
    if (buf_status(&payload) < 0)
        return refuse(room, a, GRANT_SECRET, names->names[0], "what would be sent is too large");
    if (admission)
        admission->taken = true;
    state_spend(room->state, room->egress.life, a->number);
    state_release(room->state, a->rule);
    for (size_t i = 0; i < names->count; i++)
        record(room, KEEPER_USED, a, names->names[i], NULL);
    for (size_t i = 0; i < names->count; i++)
        value_find(room, names->names[i])->given = true;
    if (!room->gone)
        client_send(&room->egress, SECRET_VALUES, &payload);
    return TURN_ANSWERED;
}

static enum turn values_out(struct keeper_room *room, const struct secret_ask *a,
                            struct admission *admission, const struct rule_names *names)
{
    CLEANUP(secret_buf_done) struct buf scratch = { 0 };
    struct secret_values values = { 0 };
    struct error e = ERROR_INIT;
    if (secret_buf(&scratch, names->count * MINT_VALUES_MAX, &e) < 0 ||
        gather(room, a, names, &scratch, &values, &e) < 0)
        return refuse(room, a, GRANT_SECRET, names->names[0], e.what);
    return release(room, a, admission, names, &values);
}

/* ---- minting ---- */

static void mint_failed(struct value_slot *s, const char *why)
{
    mem_free(s->mint_failure);
    s->mint_failure = mem_strdup(why);
    s->v.minting = 0;
    s->mint_retry_ns = clock_monotonic_ns() + MINT_PAUSE_NS;
}

static void mint_start(struct keeper_room *room, struct value_slot *s)
{
    CLEANUP(secret_buf_done) struct buf scratch = { 0 };
    CLEANUP(secret_buf_done) struct buf payload = { 0 };
    struct secret_mint m = { 0 };
    struct error e = ERROR_INIT;
    int status = secret_buf(&scratch, 2 * SECRET_SOURCE_MAX, &e);
    if (status == 0)
        status = secret_buf(&payload, 4 * SECRET_SOURCE_MAX, &e);
    if (status == 0)
        status = mint_request(&s->v, now_s(), &scratch, &m, &e);
    m.mint = ++room->last_mint;
    if (status == 0) {
        secret_mint_put(&payload, &m);
        status = buf_status(&payload) < 0
                     ? error_set(&e, -EFBIG, "the request to the token server is too large")
                     : 0;
    }
    if (status < 0) {
        mint_failed(s, e.what);
        return;
    }
    s->v.minting = m.mint;
    s->mint_deadline_ns =
        clock_monotonic_ns() + (LEFT_OPEN(room, KEEPER_SOON) ? MINT_SOON_NS : MINT_TIMEOUT_NS);
    client_send(&room->egress, SECRET_MINT, &payload);
}

/* A token that ends within a minute is renewed, and used while that fails. */
static bool token_is_good(const struct value_slot *s)
{
    return s->v.token[0].size > 0 && s->v.token_until_s > now_s() + 5;
}

/* ---- one ask ---- */

/* NULL: there, or waited for (*ret_waits). Else why not. */
static const char *value_missing(struct keeper_room *room, struct bytes name, bool *ret_waits)
{
    struct value_slot *s = value_find(room, name);
    if (!s)
        return "keeper does not know this secret";
    if (s->v.suspended)
        return "the secret is suspended: answers have shown its value";
    if (s->failed)
        return s->failure ? s->failure : "its value is not there";
    if (!s->ready) {
        *ret_waits = true;
        return NULL;
    }
    if (!mint_wanted(&s->v, now_s()))
        return NULL;
    bool pause = clock_monotonic_ns() < s->mint_retry_ns;
    if (!s->v.minting && !pause)
        mint_start(room, s);
    if (s->v.minting) {
        *ret_waits = true;
        return NULL;
    }
    if (token_is_good(s))
        return NULL;
    return s->mint_failure ? s->mint_failure : "no token could be minted";
}

static struct admission *admission_find(struct keeper_room *room, uint64_t number)
{
    for (size_t i = 0; i < room->admitted_count; i++)
        if (room->admitted[i].number == number)
            return &room->admitted[i];
    return NULL;
}

static bool used_up(const struct keeper_room *room, uint32_t rule)
{
    const struct grant *g = grant_rules_grant(room->grants.rules, rule);
    return g->http.max_requests != GRANT_UNSET && !LEFT_OPEN(room, KEEPER_SKIP_COUNT) &&
           state_released(room->state, rule) >= g->http.max_requests;
}

static enum grant_reason decide(const struct keeper_room *room, const struct secret_ask *a)
{
    if (LEFT_OPEN(room, KEEPER_SKIP_DECISION))
        return GRANT_ALLOWED;
    return release_decide(&room->grants, a);
}

static bool is_over(const struct keeper_room *room)
{
    return clock_monotonic_ns() >= room->grants.expires_ns;
}

static enum turn ask_turn(struct keeper_room *room, const struct secret_ask *a)
{
    struct rule_names names = { 0 };
    bool waits = false;
    if (a->rule >= room->grants.rule_count && !is_over(room))
        return TURN_WAITS; /* for the grant: egress may have been told of it first */
    if (a->rule >= room->grants.rule_count)
        return refuse(room, a, GRANT_EXPIRED, (struct bytes){ 0 },
                      grant_reason_text(GRANT_EXPIRED));
    enum grant_reason reason = decide(room, a);
    names_of(grant_rules_grant(room->grants.rules, a->rule), &names);
    struct bytes first = names.count ? names.names[0] : (struct bytes){ 0 };
    if (reason != GRANT_ALLOWED || names.count == 0)
        return refuse(room, a, reason == GRANT_ALLOWED ? GRANT_NO_GRANT : reason, first,
                      grant_reason_text(reason == GRANT_ALLOWED ? GRANT_NO_GRANT : reason));
    struct admission *admission = admission_find(room, a->number);
    if (!admission && !LEFT_OPEN(room, KEEPER_SKIP_ADMISSION))
        return TURN_WAITS;
    if (admission && admission->taken && !LEFT_OPEN(room, KEEPER_SKIP_ONCE))
        return refuse(room, a, GRANT_SECRET, first, "a request is given its secrets once");
    if (admission && admission->rule != a->rule)
        return refuse(room, a, GRANT_SECRET, first, "the request was recorded under another rule");
    if (used_up(room, a->rule))
        return refuse(room, a, GRANT_TOO_MANY, first, grant_reason_text(GRANT_TOO_MANY));
    for (size_t i = 0; i < names.count; i++) {
        const char *why = value_missing(room, names.names[i], &waits);
        if (why)
            return refuse(room, a, GRANT_SECRET, names.names[i], why);
    }
    return waits ? TURN_WAITS : values_out(room, a, admission, &names);
}

/* ---- those that wait ---- */

static void ask_remove(struct keeper_room *room, size_t index)
{
    struct pending_ask *p = &room->asks[index];
    room->ask_bytes -= p->size;
    mem_free(p->payload);
    room->ask_count--;
    memmove(p, p + 1, (room->ask_count - index) * sizeof *p);
}

static bool ask_read(struct keeper_room *room, const struct pending_ask *p, struct secret_ask *ret)
{
    struct cursor c = cursor_of(p->payload, p->size);
    return secret_ask_get(&c, room->fields, ARRAY_SIZE(room->fields), ret, NULL) == 0;
}

/* True when it is gone. */
static bool ask_try(struct keeper_room *room, size_t index)
{
    struct secret_ask a;
    if (room->egress.writes || room->egress.broken || room->control_writes) {
        room->asks_due = true; /* once that was sent */
        return false;
    }
    bool readable = ask_read(room, &room->asks[index], &a);
    ASSERT(readable); /* it was read when it came */
    if (ask_turn(room, &a) == TURN_WAITS)
        return false;
    ask_remove(room, index);
    return true;
}

static size_t ask_find(const struct keeper_room *room, uint64_t number)
{
    size_t i = 0;
    while (i < room->ask_count && room->asks[i].number != number)
        i++;
    return i;
}

void asks_turn(struct keeper_room *room)
{
    uint64_t now = clock_monotonic_ns();
    for (size_t i = 0; i < room->slot_count; i++) {
        struct value_slot *s = room->slots[i];
        if (s->v.minting && now >= s->mint_deadline_ns)
            mint_failed(s, "the token server did not answer within 30 seconds");
    }
    room->asks_due = false;
    for (size_t i = 0; i < room->ask_count && !room->asks_due;)
        i += ask_try(room, i) ? 0 : 1;
}

void asks_admit(struct keeper_room *room, uint32_t life, uint64_t number, uint32_t rule)
{
    if (!room->egress.channel || life != room->egress.life || admission_find(room, number))
        return;
    if (room->admitted_count == ADMITTED_MAX) { /* the oldest is void */
        room->admitted_count--;
        memmove(room->admitted, room->admitted + 1, room->admitted_count * sizeof(*room->admitted));
    }
    bool spent = room->restarted && state_is_spent(room->state, life, number);
    room->admitted[room->admitted_count++] =
        (struct admission){ .number = number, .rule = rule, .taken = spent };
    size_t i = ask_find(room, number);
    if (i < room->ask_count)
        (void)ask_try(room, i);
}

void asks_ended(struct keeper_room *room, uint32_t life, uint64_t number)
{
    if (life != room->egress.life)
        return;
    struct admission *a = admission_find(room, number);
    if (a) {
        room->admitted_count--;
        memmove(a, a + 1, (size_t)(room->admitted + room->admitted_count - a) * sizeof *a);
    }
    size_t i = ask_find(room, number);
    if (i < room->ask_count)
        ask_remove(room, i);
}

void asks_drop(struct keeper_room *room, bool same_life)
{
    while (room->ask_count)
        ask_remove(room, room->ask_count - 1);
    if (!same_life)
        room->admitted_count = 0;
    for (size_t i = 0; i < room->slot_count; i++)
        room->slots[i]->v.minting = 0;
}

uint64_t asks_deadline(const struct keeper_room *room)
{
    uint64_t next = room->ask_count ? room->grants.expires_ns : NEVER_NS;
    for (size_t i = 0; i < room->slot_count; i++)
        if (room->slots[i]->v.minting)
            next = MIN(next, room->slots[i]->mint_deadline_ns);
    return next;
}

/* ---- frames of egress ---- */

static int on_ask(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = ((struct client *)context)->room;
    struct bytes payload = { c->at, cursor_left(c) };
    struct secret_ask a;
    int status = secret_ask_get(c, room->fields, ARRAY_SIZE(room->fields), &a, e);
    if (status < 0)
        return status;
    if (a.number == 0 || ask_find(room, a.number) < room->ask_count)
        return error_set(e, -EPROTO, "a request that asks twice at once");
    if (a.rule >= room->grants.rule_max)
        return error_set(e, -EPROTO, "a request under a rule that there cannot be");
    if (ask_turn(room, &a) == TURN_ANSWERED)
        return 0;
    uint8_t *copy = mem_alloc(payload.size);
    if (!copy || room->ask_count == ASKS_MAX || payload.size > ASKS_BYTES_MAX - room->ask_bytes) {
        mem_free(copy);
        (void)refuse(room, &a, GRANT_SECRET, (struct bytes){ 0 },
                     "too many requests wait for keeper");
        return 0;
    }
    memcpy(copy, payload.data, payload.size);
    room->asks[room->ask_count++] = (struct pending_ask){
        .number = a.number, .rule = a.rule, .payload = copy, .size = payload.size
    };
    room->ask_bytes += payload.size;
    return 0;
}

static int on_minted(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper_room *room = ((struct client *)context)->room;
    struct secret_minted m;
    struct error cause = ERROR_INIT;
    int status = secret_minted_get(c, &m, e);
    if (status < 0)
        return status;
    if (m.mint > room->last_mint)
        return error_set(e, -EPROTO, "a token that nobody asked for");
    size_t i = 0;
    while (i < room->slot_count && room->slots[i]->v.minting != m.mint)
        i++;
    if (i == room->slot_count)
        return 0; /* too late */
    struct value_slot *s = room->slots[i];
    if (mint_take(&s->v, &m, now_s(), &cause) < 0)
        mint_failed(s, cause.what);
    else
        s->mint_retry_ns = clock_monotonic_ns() + MINT_PAUSE_NS; /* however short its life is */
    s->v.minting = 0;
    asks_turn(room);
    return 0;
}

static void suspend(struct keeper_room *room, struct value_slot *s)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    s->v.suspended = true;
    buf_string(&payload, s->v.item.name);
    CLEANUP(mem_freep)
    char *why = mem_printf("answers have shown its value %u times", s->v.echoes);
    buf_string(&payload, why);
    room_tell(room, KEEPER_SUSPENDED, &payload);
    asks_turn(room);
}

static int on_echoed(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper_room *room = ((struct client *)context)->room;
    size_t size;
    const uint8_t *name = cursor_bytes(c, &size);
    struct value_slot *s = c->bad ? NULL : value_find(room, (struct bytes){ name, size });
    if (!s || !cursor_finished(c) || !(s->given || room->restarted))
        return error_set(e, -EPROTO, "an echo of a secret that was not given");
    s->v.echoes = state_echoed(room->state, s->v.item.name);
    if (s->v.echoes >= ECHOES_ALLOWED && !s->v.suspended && !LEFT_OPEN(room, KEEPER_SKIP_ECHOES))
        suspend(room, s);
    return 0;
}

const struct frame_rule ask_frames[] = {
    { SECRET_ASK, "ask", 1, false, 0, FRAME_MAX, on_ask },
    { SECRET_MINTED, "minted", 1, false, 0, 64u << 10, on_minted },
    { SECRET_ECHOED, "echoed", 1, false, 0, 4 + SECRET_NAME_MAX, on_echoed },
};
const size_t ask_frame_count = ARRAY_SIZE(ask_frames);
