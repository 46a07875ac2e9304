/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control asks of the vault (`ambit secret`), and what is read from descriptors that it gave. A
 * descriptor may be a pipe that somebody holds open: it is read a piece each turn, when poll() says
 * that there is something.
 *
 * A change is made in memory, sealed, and told; when sealing fails it is taken back, so that a refusal
 * means that nothing has changed.
 */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "keeper/room.h"

#define SIZE_STEP 16u /* of a value that is listed */

static int refuse(struct keeper_room *room, int code, const char *why, const char *hint)
{
    struct error e = ERROR_INIT;
    (void)error_set(&e, code, "%s", why);
    error_hint(&e, "%s", hint);
    room_refuse(room, &e);
    return 0;
}

static bool may_change(struct keeper_room *room)
{
    if (room->space && room->has_vault && room->reading.what == READING_NOTHING)
        return true;
    refuse(room, -EPERM,
           room->space ? "another request is under way, or there is no vault"
                       : "this keeper was started to read the vault, not to change it",
           "ambit secret");
    return false;
}

static int tell_vault(struct keeper_room *room, struct error *e)
{
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(VAULT_SIZE_MAX);
    CLEANUP(buf_done) struct buf payload = BUF_INIT(64);
    int status = vault_seal(&room->vault, &sealed, e);
    if (status < 0)
        return status;
    memcpy(room->space, sealed.data, sealed.size);
    buf_u64(&payload, room->vault.epoch);
    buf_u32(&payload, (uint32_t)sealed.size);
    room_tell(room, KEEPER_VAULT, &payload);
    return 0;
}

/* ---- SET, REMOVE ---- */

static uint64_t now_s(void)
{
    int64_t ns = clock_real_ns();
    return ns < 0 ? 0 : (uint64_t)ns / NS_PER_S;
}

static int replace(struct keeper_room *room, struct vault_record *record, struct error *e)
{
    struct vault_record *old = vault_find(&room->vault, record->item.name), kept;
    record->item.made_s = old ? old->item.made_s : now_s();
    record->item.changed_s = now_s();
    record->item.version = old ? old->item.version + 1 : 1;
    record->item.size = 0; /* the record knows */
    if (!old) {
        int status = vault_add(&room->vault, record, e);
        if (status == 0)
            status = tell_vault(room, e);
        else
            return status;
        if (status < 0)
            vault_record_done(&room->vault.records[--room->vault.count]);
        return status;
    }
    kept = *old;
    *old = *record;
    int status = tell_vault(room, e);
    if (status < 0) {
        *record = *old;
        *old = kept;
    } else {
        *record = kept;
    }
    return status;
}

static int set(struct keeper_room *room, const struct keeper_item *item, struct bytes value,
               struct error *e)
{
    CLEANUP(vault_record_done) struct vault_record record = { 0 };
    CLEANUP(json_freep) json_t *settings = NULL;
    bool stored = item->source == SECRET_STORED;
    int status = stored ? mint_check(item, value, e) : settings_read(item, &settings, e);
    if (status == 0)
        status = item_copy(item, &record.item, e);
    if (status == 0 && stored && secret_copy(&record.value, value.data, value.size) < 0)
        status = error_set(e, -ENOMEM, "no memory for a secret");
    return status == 0 ? replace(room, &record, e) : status;
}

static void set_or_refuse(struct keeper_room *room, const struct keeper_item *item,
                          struct bytes value)
{
    struct error e = ERROR_INIT;
    if (set(room, item, value, &e) < 0)
        room_refuse(room, &e);
}

static int read_from(struct keeper_room *room, enum reading_what what, int fd, struct error *e)
{
    struct reading *r = &room->reading;
    int status = secret_buf(&r->text, SECRET_SOURCE_MAX + 2, e);
    if (status == 0)
        status = channel_keep_fd(fd, &r->fd, e);
    if (status == 0)
        r->what = what;
    return status;
}

int on_set(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = context;
    struct keeper_item item = { 0 };
    struct error cause = ERROR_INIT;
    int status = keeper_item_get(c, &item, e);
    if (status == 0 && fd_count != (item.source == SECRET_STORED ? 1u : 0u))
        status = error_set(e, -EBADMSG, "a secret with %zu descriptors", fd_count);
    if (status < 0 || !may_change(room)) {
        keeper_item_done(&item);
        return status;
    }
    if (grant_secret_name_check(item.name, &cause) < 0) {
        room_refuse(room, &cause);
    } else if (fd_count) {
        status = read_from(room, READING_SET, fds[0], e);
        if (status == 0) {
            room->reading.item = item;
            item = (struct keeper_item){ 0 };
        }
    } else {
        set_or_refuse(room, &item, (struct bytes){ 0 });
    }
    keeper_item_done(&item);
    return status;
}

static int take_name(struct cursor *c, char **ret, struct error *e)
{
    *ret = cursor_string(c);
    if (*ret && cursor_finished(c))
        return 0;
    bool memory = !*ret && !c->bad;
    mem_free(TAKE(*ret));
    return memory ? error_set(e, -ENOMEM, "no memory for a name")
                  : error_set(e, -EBADMSG, "a name that cannot be read");
}

static int unknown(struct keeper_room *room, const char *name)
{
    CLEANUP(mem_freep) char *why = mem_printf("there is no secret %.*s", SECRET_NAME_MAX, name);
    return refuse(room, -ENOENT, why ? why : "there is no such secret",
                  "ambit secret ls lists those that there are");
}

int on_remove(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = context;
    CLEANUP(mem_freep) char *name = NULL;
    struct error cause = ERROR_INIT;
    int status = take_name(c, &name, e);
    if (status < 0 || !may_change(room))
        return status;
    struct vault *v = &room->vault;
    struct vault_record *r = vault_find(v, name);
    if (!r)
        return unknown(room, name);
    size_t at = (size_t)(r - v->records), behind = v->count - at - 1;
    struct vault_record kept = *r;
    memmove(r, r + 1, behind * sizeof *r);
    v->count--;
    if (tell_vault(room, &cause) == 0) {
        vault_record_done(&kept);
        return 0;
    }
    memmove(r + 1, r, behind * sizeof *r);
    *r = kept;
    v->count++;
    room_refuse(room, &cause);
    return 0;
}

/* ---- LIST, TEST ---- */

int on_list(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = context;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    if (!cursor_finished(c))
        return error_set(e, -EBADMSG, "a request for a list that says something");
    int status = 0;
    for (size_t i = 0; room->has_vault && i < room->vault.count && status == 0; i++) {
        struct keeper_item item = room->vault.records[i].item;
        item.size =
            ((uint32_t)room->vault.records[i].value.size + SIZE_STEP - 1) & ~(SIZE_STEP - 1);
        buf_clear(&payload);
        keeper_item_put(&payload, &item);
        status = buf_status(&payload);
        /* Control waits for the end of it, and a list may be longer than what can be queued. */
        if (status == 0)
            status =
                channel_send(room->control, KEEPER_ITEM, payload.data, payload.size, NULL, 0, e);
    }
    buf_clear(&payload);
    if (status == 0)
        room_tell(room, KEEPER_ITEMS_END, &payload);
    return status;
}

int on_test(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = context;
    CLEANUP(mem_freep) char *name = NULL;
    struct value_slot *slot;
    int status = take_name(c, &name, e);
    if (status < 0)
        return status;
    if (room->testing || room->wanted || room->reading.what != READING_NOTHING)
        return refuse(room, -EBUSY, "another request is under way", "");
    if (grant_secret_name_check(name, NULL) < 0 || !room->has_vault ||
        !vault_find(&room->vault, name))
        return unknown(room, name);
    status = values_test(room, name, &slot, e);
    if (status == 0)
        room->testing = TAKE(name); /* values_turn() answers */
    return status;
}

/* ---- REKEY ---- */

static int rekey(struct keeper_room *room, struct bytes text, struct error *e)
{
    struct vault *v = &room->vault;
    uint8_t old_key[VAULT_KEY_SIZE], old_salt[sizeof v->salt];
    memcpy(old_key, v->key, sizeof old_key);
    memcpy(old_salt, v->salt, sizeof old_salt);
    int status = random_bytes(v->salt, sizeof v->salt) < 0
                     ? error_set(e, -EIO, "no random numbers")
                     : vault_key(room->reading.key_kind, v->salt, text, v->key, e);
    if (status == 0)
        status = tell_vault(room, e);
    if (status < 0) {
        memcpy(v->key, old_key, sizeof old_key);
        memcpy(v->salt, old_salt, sizeof old_salt);
    } else {
        state_keep_key(room->state, v->key);
    }
    mem_wipe(old_key, sizeof old_key);
    return status;
}

int on_rekey(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = context;
    CLEANUP(mem_freep) char *kind = NULL;
    int status = take_name(c, &kind, e);
    static const char *const kinds[] = KEEPER_KEY_KINDS;
    bool known = false;
    for (size_t i = 0; status == 0 && i < ARRAY_SIZE(kinds); i++)
        known |= strcmp(kind, kinds[i]) == 0;
    if (status == 0 && (!known || fd_count != 1))
        status = error_set(e, -EBADMSG, "a new key that cannot be");
    if (status < 0 || !may_change(room))
        return status;
    status = read_from(room, READING_REKEY, fds[0], e);
    if (status == 0)
        room->reading.key_kind = TAKE(kind);
    return status;
}

/* ---- what is read ---- */

int on_source(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct keeper_room *room = context;
    CLEANUP(mem_freep) char *name = cursor_string(c);
    CLEANUP(mem_freep) char *failure = cursor_string(c);
    if (!cursor_finished(c))
        return error_set(e, -EBADMSG, "a value that cannot be read");
    if (!name || !failure)
        return error_set(e, -ENOMEM, "no memory for a value");
    if (!room->wanted || strcmp(name, room->wanted->v.item.name) != 0 ||
        room->reading.what != READING_NOTHING || fd_count != (failure[0] ? 0u : 1u))
        return error_set(e, -EPROTO, "a value that nobody asked for");
    if (failure[0])
        return values_failed(room, failure, "ambit secret ls says where it is looked for", e);
    return read_from(room, READING_SOURCE, fds[0], e);
}

void reading_done(struct reading *r)
{
    secret_buf_done(&r->text);
    fd_close(r->fd);
    keeper_item_done(&r->item);
    mem_free(r->key_kind);
    *r = (struct reading){ .fd = -1 };
}

static int finish(struct keeper_room *room, struct error *e)
{
    struct reading *r = &room->reading;
    struct bytes text = { r->text.data, r->text.size };
    struct error cause = ERROR_INIT;
    int status = 0;
    if (r->what == READING_SOURCE)
        status = values_taken(room, value_trim(text), e);
    else if (r->what == READING_SET)
        set_or_refuse(room, &r->item, value_trim(text));
    else if (rekey(room, text, &cause) < 0)
        room_refuse(room, &cause);
    reading_done(r);
    return status;
}

static int fail(struct keeper_room *room, const char *why, struct error *e)
{
    int status = 0;
    if (room->reading.what == READING_SOURCE)
        status = values_failed(room, why, "ambit secret ls says where it is looked for", e);
    else
        refuse(room, -EINVAL, why, "");
    reading_done(&room->reading);
    return status;
}

int reading_turn(struct keeper_room *room, struct error *e)
{
    struct reading *r = &room->reading;
    ssize_t got;
    do {
        got = read(r->fd, r->text.data + r->text.size, r->text.max - r->text.size);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (got < 0)
        return fail(room, "the value cannot be read", e);
    r->text.size += (size_t)got;
    if (r->text.size == r->text.max)
        return fail(room, "the value is larger than any can be", e);
    bool line = r->what == READING_REKEY && strcmp(r->key_kind, "passphrase") == 0 &&
                r->text.size && memchr(r->text.data, '\n', r->text.size);
    return got == 0 || line ? finish(room, e) : 0;
}
