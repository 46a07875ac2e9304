/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of this life: those that the grants name, and one that is tested. A stored one is in the
 * vault; the others control fetches (WANT, SOURCE), one after the other.
 */
#include <string.h>

#include "keeper/room.h"

struct bytes value_trim(struct bytes value)
{
    if (value.size && value.data[value.size - 1] == '\n') {
        value.size--;
        if (value.size && value.data[value.size - 1] == '\r')
            value.size--;
    }
    return value;
}

static bool copy_text(char **into, const char *from)
{
    return (*into = mem_strdup(from ? from : "")) != NULL;
}

int item_copy(const struct keeper_item *from, struct keeper_item *into, struct error *e)
{
    struct keeper_item i = *from;
    i.name = i.locator = i.settings = NULL;
    if (copy_text(&i.name, from->name) && copy_text(&i.locator, from->locator) &&
        copy_text(&i.settings, from->settings)) {
        *into = i;
        return 0;
    }
    keeper_item_done(&i);
    return error_set(e, -ENOMEM, "no memory for a secret's description");
}

/* ---- slots ---- */

struct value_slot *value_find(struct keeper_room *room, struct bytes name)
{
    for (size_t i = 0; i < room->slot_count; i++)
        if (bytes_are(name, room->slots[i]->v.item.name))
            return room->slots[i];
    return NULL;
}

static void slot_free(struct value_slot *s)
{
    if (!s)
        return;
    keeper_item_done(&s->v.item);
    secret_done(&s->v.source);
    for (size_t i = 0; i < ARRAY_SIZE(s->v.token); i++)
        secret_done(&s->v.token[i]);
    mem_free(s->failure);
    mem_free(s->hint);
    mem_free(s->mint_failure);
    mem_wipe(s, sizeof *s);
    mem_free(s);
}

static void slot_fail(struct value_slot *s, const char *why, const char *hint)
{
    mem_free(s->failure);
    mem_free(s->hint);
    s->failure = mem_strdup(why);
    s->hint = mem_strdup(hint);
    s->failed = true;
    s->ready = false;
}

static int take_value(struct value_slot *s, struct bytes value, struct error *e)
{
    int status = mint_check(&s->v.item, value, e);
    if (status == 0 && secret_copy(&s->v.source, value.data, value.size) < 0)
        status = error_set(e, -ENOMEM, "no memory for a secret");
    s->ready = status == 0;
    return status;
}

static int slot_new(struct keeper_room *room, const char *name, struct value_slot **ret,
                    struct error *e)
{
    struct value_slot **grown = mem_grow(room->slots, room->slot_count + 1, sizeof(*room->slots));
    if (!grown)
        return error_set(e, -ENOMEM, "no memory for a secret");
    room->slots = grown;
    struct value_slot *s = mem_zalloc(sizeof *s);
    if (!s)
        return error_set(e, -ENOMEM, "no memory for a secret");
    struct vault_record *r = room->has_vault ? vault_find(&room->vault, name) : NULL;
    struct keeper_item none = { .name = (char *)name };
    int status = item_copy(r ? &r->item : &none, &s->v.item, e);
    if (status < 0) {
        slot_free(s);
        return status;
    }
    s->v.echoes = state_echoes(room->state, name);
    s->v.suspended = s->v.echoes >= ECHOES_ALLOWED && !LEFT_OPEN(room, KEEPER_SKIP_ECHOES);
    room->slots[room->slot_count++] = s;
    *ret = s;
    if (!r) {
        CLEANUP(mem_freep) char *hint = mem_printf("ambit secret set %s", name);
        slot_fail(s, "the vault has no secret of that name", hint ? hint : "ambit secret set");
        return 0;
    }
    if (r->item.source != SECRET_STORED)
        return 0;
    struct error cause = ERROR_INIT;
    status = take_value(s, (struct bytes){ r->value.data, r->value.size }, &cause);
    if (status == -ENOMEM)
        return error_set(e, status, "%s", cause.what);
    if (status < 0)
        slot_fail(s, cause.what, cause.hint);
    return 0;
}

int values_of_grants(struct keeper_room *room, const struct grant_set *grants, struct error *e)
{
    char **names = NULL;
    size_t count = 0;
    int status = grant_set_secrets(grants, &names, &count, e);
    for (size_t i = 0; i < count && status == 0; i++) {
        struct value_slot *s = value_find(room, bytes_of(names[i]));
        if (!s)
            status = slot_new(room, names[i], &s, e);
        if (status == 0)
            s->named = true;
        if (status == 0 && s->failed && !room->ready) {
            status = error_set(e, -ENOENT, "the secret %s: %s", names[i],
                               s->failure ? s->failure : "not there");
            error_hint(e, "%s", s->hint ? s->hint : "");
        }
    }
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    return status;
}

int values_test(struct keeper_room *room, const char *name, struct value_slot **ret,
                struct error *e)
{
    struct value_slot *s = value_find(room, bytes_of(name));
    *ret = s;
    return s ? 0 : slot_new(room, name, ret, e);
}

static void slot_drop(struct keeper_room *room, struct value_slot *s)
{
    for (size_t i = 0; i < room->slot_count; i++) {
        if (room->slots[i] != s)
            continue;
        slot_free(s);
        room->slots[i] = room->slots[--room->slot_count];
        return;
    }
}

/* ---- TEST ---- */

static const char *const source_texts[SECRET_SOURCE_COUNT] = {
    "stored in the vault", "read from a file", "read from the environment", "read from a command"
};

static void test_answer(struct keeper_room *room, struct value_slot *s)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    CLEANUP(mem_freep) char *text = NULL;
    bool minted = s->v.item.kind != SECRET_PLAIN && s->v.item.kind != SECRET_AWS;
    struct error e = ERROR_INIT;
    if (!s->ready) {
        (void)error_set(&e, -ENOENT, "%s", s->failure ? s->failure : "its value is not there");
        error_hint(&e, "%s", s->hint ? s->hint : "");
        room_refuse(room, &e);
    } else if (s->v.suspended) {
        (void)error_set(&e, -EPERM, "it is suspended: answers have shown its value");
        room_refuse(room, &e);
    } else {
        text = mem_printf("%zu bytes, %s%s", s->v.source.size, source_texts[s->v.item.source],
                          minted ? "; no token was minted of it" : "");
        buf_string(&payload, text);
        room_tell(room, KEEPER_TESTED, &payload);
    }
    mem_free(TAKE(room->testing));
    if (!s->named)
        slot_drop(room, s);
}

/* ---- fetching ---- */

static void want(struct keeper_room *room, struct value_slot *s)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_string(&payload, s->v.item.name);
    buf_u32(&payload, s->v.item.source);
    buf_string(&payload, s->v.item.locator);
    room->wanted = s;
    room_tell(room, KEEPER_WANT, &payload);
}

/* A run that can get no more grants needs what it has and no other secret. */
static void values_drop_vault(struct keeper_room *room)
{
    if (!room->has_vault || room->space || room->start.more > 0)
        return;
    vault_done(&room->vault);
    room->has_vault = false;
}

static int say_ready(struct keeper_room *room, struct error *e)
{
    CLEANUP(buf_done) struct buf pem = BUF_INIT(FRAME_MAX / 2);
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int status = room->authority ? authority_pem(room->authority, &pem, e) : 0;
    if (status < 0)
        return status;
    buf_u32(&payload, room->missing);
    buf_bytes(&payload, pem.data, pem.size);
    room->ready = true;
    room->gate.phase++;
    values_drop_vault(room);
    room_tell(room, KEEPER_READY, &payload);
    return 0;
}

int values_turn(struct keeper_room *room, struct error *e)
{
    if (room->wanted || room->reading.what != READING_NOTHING)
        return 0;
    for (size_t i = 0; i < room->slot_count; i++) {
        struct value_slot *s = room->slots[i];
        if (!s->ready && !s->failed) {
            want(room, s);
            return 0;
        }
    }
    if (room->testing) {
        struct value_slot *s = value_find(room, bytes_of(room->testing));
        ASSERT(s);
        test_answer(room, s);
    }
    return room->ready ? 0 : say_ready(room, e);
}

/* Why a value cannot be had: before READY that is the end, later its asks are refused. */
int values_failed(struct keeper_room *room, const char *why, const char *hint, struct error *e)
{
    struct value_slot *s = TAKE(room->wanted);
    ASSERT(s);
    slot_fail(s, why, hint);
    if (room->ready)
        return 0;
    error_hint(e, "%s", hint);
    return error_set(e, -ENOENT, "the secret %s: %s", s->v.item.name, why);
}

int values_taken(struct keeper_room *room, struct bytes value, struct error *e)
{
    struct error cause = ERROR_INIT;
    ASSERT(room->wanted);
    int status = take_value(room->wanted, value, &cause);
    if (status < 0)
        return values_failed(room, cause.what, cause.hint, e);
    room->wanted = NULL;
    return 0;
}

void values_done(struct keeper_room *room)
{
    for (size_t i = 0; i < room->slot_count; i++)
        slot_free(room->slots[i]);
    mem_free(room->slots);
    room->slots = NULL;
    room->slot_count = 0;
    mem_free(TAKE(room->testing));
}
