/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper room's main.
 *
 *   KEEPER_START received   bytes of the vault and of its key read, memory mapped, libraries woken
 *   jail closed             no file, no program, no socket, no network after this
 *   prepared                grants parsed, the vault opened, values fetched (WANT), the CA made
 *   KEEPER_READY            then the loop: control, egress, ingress rooms
 *
 * Nothing that somebody else wrote is parsed before the jail is closed; of the vault and its key only
 * the bytes are there.
 */
#include "keeper/keeper.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/file.h"
#include "keeper/room.h"
#include "room/jail.h"
#include "room/probe.h"

#define ADDRESS_SPACE_MAX (UINT64_C(512) << 20) /* scrypt of a new passphrase takes 64 MiB */
#define DESCRIPTORS_MAX (KEEPER_FRONTS_MAX + 64)
#define KEY_TEXT_MAX 4096

enum phase { PHASE_WAITING, PHASE_PREPARING, PHASE_READY };

/* ---- frames to control ---- */

static void flush_control(struct keeper_room *room)
{
    int status = channel_flush(room->control, NULL);
    room->control_writes = status > 0;
    room->gone |= status < 0;
}

void room_tell(struct keeper_room *room, uint16_t kind, const struct buf *payload)
{
    if (buf_status(payload) < 0 ||
        channel_queue(room->control, kind, payload->data, payload->size, NULL) < 0)
        room->gone = true;
    else
        flush_control(room);
}

static void error_put(struct buf *payload, const struct error *why)
{
    buf_string(payload, why->what);
    buf_string(payload, why->hint);
}

void room_refuse(struct keeper_room *room, const struct error *why)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    error_put(&payload, why);
    room_tell(room, KEEPER_REFUSED, &payload);
}

static int report_fault(struct keeper_room *room, const struct error *why)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    error_put(&payload, why);
    if (!room->ready && !room->gone && buf_status(&payload) == 0)
        (void)!channel_send(room->control, KEEPER_FAULT, payload.data, payload.size, NULL, 0, NULL);
    return 1;
}

/* ---- clients ---- */

static void client_close(struct client *c)
{
    channel_free(c->channel);
    c->channel = NULL;
    c->writes = c->broken = false;
}

static int client_open(struct client *c, int fd, uint32_t life, const struct frame_rule *rules,
                       size_t rule_count, struct error *e)
{
    int own;
    int status = channel_keep_fd(fd, &own, e);
    client_close(c);
    if (status == 0)
        status = channel_new(own, &c->channel, e);
    if (status < 0) {
        c->channel = NULL;
        return status;
    }
    channel_wipes(c->channel);
    c->life = life;
    c->gate = (struct frame_gate){ .rules = rules, .rule_count = rule_count };
    c->writes = c->broken = false;
    return 0;
}

static void client_flush(struct client *c)
{
    int status = channel_flush(c->channel, NULL);
    c->writes = status > 0;
    c->broken |= status < 0;
}

void client_send(struct client *c, uint16_t kind, struct buf *payload)
{
    if (!c->channel || c->broken)
        return;
    if (buf_status(payload) < 0 ||
        channel_queue(c->channel, kind, payload->data, payload->size, NULL) < 0)
        c->broken = true;
    else
        client_flush(c);
}

/* ---- frames from control ---- */

static int map_space(struct keeper_room *room, int fd, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size < VAULT_SIZE_MAX)
        return error_set(e, -EBADMSG, "the memory for a new vault is too small");
    void *at = mmap(NULL, VAULT_SIZE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return error_set_errno(e, errno, "the memory for a new vault cannot be mapped");
    room->space = at;
    return 0;
}

/* To its end, or to the end of the line that a person types. */
static int read_key(struct keeper_room *room, int fd, struct error *e)
{
    struct buf *text = &room->key_text;
    bool line = strcmp(room->start.key_kind, "passphrase") == 0;
    int status = secret_buf(text, KEY_TEXT_MAX, e);
    while (status == 0 && text->size < text->max) {
        ssize_t got = read(fd, text->data + text->size, text->max - text->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, errno, "the vault's key cannot be read");
        text->size += (size_t)got;
        if (got == 0 || (line && memchr(text->data, '\n', text->size)))
            return 0;
    }
    return status < 0 ? status
                      : error_set(e, -EFBIG, "what the vault's key is read from is no key");
}

static int take_start(struct keeper_room *room, const int *fds, size_t fd_count, struct error *e)
{
    uint8_t key[VAULT_KEY_SIZE];
    if (fd_count != 3 && fd_count != 4)
        return error_set(e, -EBADMSG, "a start with %zu descriptors", fd_count);
    int status = state_map(fds[2], &room->state, e);
    room->restarted = status == 0 && state_has_spent(room->state);
    if (status == 0 && fd_count == 4)
        status = map_space(room, fds[3], e);
    if (status < 0 || (room->start.flags & KEEPER_NO_VAULT))
        return status;
    status = file_read_fd(fds[0], &room->vault_file, e);
    if (status < 0)
        error_prefix(e, "the vault");
    else if (state_key(room->state, key))
        mem_wipe(key, sizeof key);
    else
        status = read_key(room, fds[1], e);
    return status;
}

static int on_start(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct keeper_room *room = context;
    int status = keeper_start_get(c, &room->start, e);
#ifndef AMBIT_TEST_HOOKS
    if (status == 0 && room->start.test_skip)
        status = error_set(e, -EPERM, "this build leaves no defence open");
#endif
    if (status == 0)
        status = take_start(room, fds, fd_count, e);
    room->gate.phase = PHASE_PREPARING;
    return status;
}

static int on_client(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper_room *room = context;
    uint32_t kind = cursor_u32(c), life = cursor_u32(c);
    if (!cursor_finished(c) || fd_count != 1)
        return error_set(e, -EBADMSG, "a client that cannot be");
    if (kind == KEEPER_CLIENT_EGRESS) {
        asks_drop(room, life == room->egress.life);
        return client_open(&room->egress, fds[0], life, ask_frames, ask_frame_count, e);
    }
    if (kind != KEEPER_CLIENT_INGRESS || life >= KEEPER_FRONTS_MAX)
        return error_set(e, -EBADMSG, "a client of a kind that is not known");
    return client_open(&room->fronts[life], fds[0], life, leaf_frames, leaf_frame_count, e);
}

static int on_grant(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct keeper_room *room = context;
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    CLEANUP(mem_freep) char *json = NULL;
    uint32_t rule;
    int status = rules_grant_get(c, &rule, &json, e);
    if (status == 0)
        status = grant_live_add(&room->grants, rule, json, &one, e);
    return status == 0 ? values_of_grants(room, one, e) : status;
}

static int on_revoke(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper_room *room = context;
    uint32_t rule;
    int status = rules_revoke_get(c, &rule, e);
    if (status == 0)
        status = grant_live_revoke(&room->grants, rule, e);
    if (status == 0)
        asks_turn(room); /* what waits is decided again */
    return status;
}

static int on_expire(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct keeper_room *room = context;
    int status = rules_expire_get(c, &room->grants.expires_ns, e);
    if (status == 0)
        asks_turn(room);
    return status;
}

static int on_admit(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    uint32_t life = cursor_u32(c);
    uint64_t number = cursor_u64(c);
    uint32_t rule = cursor_u32(c);
    if (!cursor_finished(c))
        return error_set(e, -EBADMSG, "an admission that cannot be read");
    asks_admit(context, life, number, rule);
    return 0;
}

static int on_ended(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    uint32_t life = cursor_u32(c);
    uint64_t number = cursor_u64(c);
    if (!cursor_finished(c))
        return error_set(e, -EBADMSG, "an end that cannot be read");
    asks_ended(context, life, number);
    return 0;
}

static int on_stop(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    ((struct keeper_room *)context)->stop = true;
    return 0;
}

#define PREPARING (1u << PHASE_PREPARING)
#define READY (1u << PHASE_READY)
#define LIVE (PREPARING | READY)
static const struct frame_rule control_frames[] = {
    { KEEPER_START, "start", 1u << PHASE_WAITING, true, 4, FRAME_MAX, on_start },
    { KEEPER_SOURCE, "source", LIVE, false, 1, 64u << 10, on_source },
    { KEEPER_CLIENT, "client", LIVE, false, 1, 8, on_client },
    { KEEPER_GRANT, "grant", LIVE, false, 0, FRAME_MAX, on_grant },
    { KEEPER_REVOKE, "revoke", LIVE, false, 0, 4, on_revoke },
    { KEEPER_EXPIRE, "expire", LIVE, false, 0, 8, on_expire },
    { KEEPER_ADMIT, "admit", LIVE, false, 0, 16, on_admit },
    { KEEPER_ENDED, "ended", LIVE, false, 0, 12, on_ended },
    { KEEPER_SET, "set", READY, false, 1, 64u << 10, on_set },
    { KEEPER_REMOVE, "remove", READY, false, 0, 1024, on_remove },
    { KEEPER_LIST, "list", READY, false, 0, 0, on_list },
    { KEEPER_TEST, "test", READY, false, 0, 1024, on_test },
    { KEEPER_REKEY, "rekey", READY, false, 1, 1024, on_rekey },
    { KEEPER_STOP, "stop", LIVE, true, 0, 0, on_stop },
};

/* ---- preparing ---- */

static void *crypto_malloc(size_t size, const char *file, int line)
{
    return mem_wiping_malloc(size);
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
    return mem_wiping_realloc(old, size);
}

static void crypto_free(void *old, const char *file, int line)
{
    mem_wiping_free(old);
}

/* Where a value, a key or a token was, nothing is left: not where a buffer grew away from, nor in what
 * a library freed. */
static bool wipe_what_is_freed(void)
{
    mem_wipe_what_is_freed();
    return CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1;
}

/* What OpenSSL looks for once, it finds now. */
static int wake_libraries(struct error *e)
{
    unsigned char some[16];
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT |
                                OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
                            NULL) != 1 ||
        RAND_bytes(some, sizeof(some)) != 1)
        return error_set(e, -EIO, "the cryptographic library cannot be set up");
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_MD *digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    bool fine = cipher && digest;
    EVP_CIPHER_free(cipher);
    EVP_MD_free(digest);
    return fine ? 0 : error_set(e, -EIO, "the cryptographic library has no AES-256-GCM");
}

static int close_jail(struct keeper_room *room, struct error *e)
{
    struct jail_spec spec = {
        .role = ROOM_KEEPER,
#if !defined(__SANITIZE_ADDRESS__)
        .address_space_bytes = ADDRESS_SPACE_MAX,
#endif
        .descriptors = DESCRIPTORS_MAX,
        .allow_missing = room->start.allow_missing,
    };
#ifdef AMBIT_TEST_HOOKS
    spec.skip = room->start.test_skip & KEEPER_SKIP_JAIL_MASK;
#endif
    return jail_close(&spec, &room->missing, e);
}

static int no_vault(struct keeper_room *room, const uint8_t *key, struct error *e)
{
    uint8_t made[VAULT_KEY_SIZE];
    if (!(room->start.flags & KEEPER_NEW_VAULT)) {
        error_hint(e, "ambit secret set NAME makes it");
        return error_set(e, -ENOENT, "there is no vault");
    }
    int status = vault_new(&room->vault, e);
    if (status == 0 && !key)
        status = vault_key(room->start.key_kind, room->vault.salt,
                           (struct bytes){ room->key_text.data, room->key_text.size }, made, e);
    if (status == 0)
        memcpy(room->vault.key, key ? key : made, VAULT_KEY_SIZE);
    mem_wipe(made, sizeof made);
    return status;
}

static int open_vault(struct keeper_room *room, struct error *e)
{
    uint8_t key[VAULT_KEY_SIZE], salt[16];
    struct bytes file = { room->vault_file.data, room->vault_file.size };
    bool kept = state_key(room->state, key);
    uint64_t epoch = LEFT_OPEN(room, KEEPER_SKIP_EPOCH) ? 0 : room->start.epoch;
    int status = 0;
    if (file.size == 0) {
        if (epoch > 0) {
            error_hint(e, "put the newest vault back");
            status = error_set(e, -ESTALE, "the vault is empty, and was not before");
        } else {
            status = no_vault(room, kept ? key : NULL, e);
        }
    } else {
        status = vault_peek(file, salt, e);
        if (status == 0 && !kept)
            status = vault_key(room->start.key_kind, salt,
                               (struct bytes){ room->key_text.data, room->key_text.size }, key, e);
        if (status == 0)
            status = vault_unseal(file, key, epoch, &room->vault, e);
    }
    mem_wipe(key, sizeof key);
    if (status == 0) {
        room->has_vault = true;
        state_keep_key(room->state, room->vault.key);
    }
    return status;
}

static int read_grants(struct keeper_room *room, struct error *e)
{
    const struct keeper_start *start = &room->start;
    struct grant_live *l = &room->grants;
    int status = grant_live_start(l, start->grants_json, start->work_host, start->more, e);
    l->expires_ns = start->expires_ns;
    if (status == 0 && l->rule_max > STATE_RULES_MAX)
        status = error_set(e, -EFBIG, "more grants than keeper can count for");
    return status;
}

static int make_authority(struct keeper_room *room, struct error *e)
{
    CLEANUP(secret_buf_done) struct buf kept = { 0 };
    if (!(room->start.flags & KEEPER_CERTIFICATES))
        return 0;
    struct bytes before = state_authority(room->state);
    int status = authority_new(room->grants.set, before, &room->authority, e);
    if (status == 0 && before.size == 0) {
        status = secret_buf(&kept, KEEPER_STATE_SIZE, e);
        if (status == 0)
            status = authority_keep(room->authority, &kept, e);
        if (status == 0)
            status = state_keep_authority(room->state, (struct bytes){ kept.data, kept.size }, e);
    }
    return status;
}

static int prepare(struct keeper_room *room, struct error *e)
{
    int status = wake_libraries(e);
    if (status == 0)
        status = close_jail(room, e);
#ifdef AMBIT_TEST_HOOKS
    if (status == 0 && (room->start.test_skip & KEEPER_PROBE))
        return 0;
#endif
    if (status == 0)
        status = read_grants(room, e);
    if (status == 0 && !(room->start.flags & KEEPER_NO_VAULT))
        status = open_vault(room, e);
    secret_buf_done(&room->key_text);
    buf_done(&room->vault_file);
    if (status == 0)
        status = make_authority(room, e);
    return status == 0 ? values_of_grants(room, room->grants.set, e) : status;
}

/* ---- the loop ---- */

#define POLLS (3 + KEEPER_FRONTS_MAX)

static short events_of(const struct client *c)
{
    return c->writes ? POLLOUT : POLLIN; /* who takes no answers asks no more */
}

static size_t watch(struct keeper_room *room, struct pollfd polls[static POLLS])
{
    polls[0] = (struct pollfd){ .fd = channel_fd(room->control),
                                .events = (short)(POLLIN | (room->control_writes ? POLLOUT : 0)) };
    polls[1] = (struct pollfd){ .fd = room->reading.what == READING_NOTHING ? -1 : room->reading.fd,
                                .events = POLLIN };
    const struct client *c = &room->egress;
    /* What egress asks is told to control, too: not before that was sent. */
    bool held = room->control_writes && !c->writes;
    polls[2] = (struct pollfd){ .fd = c->channel && !held ? channel_fd(c->channel) : -1,
                                .events = events_of(c) };
    for (size_t i = 0; i < KEEPER_FRONTS_MAX; i++) {
        c = &room->fronts[i];
        polls[3 + i] = (struct pollfd){ .fd = c->channel ? channel_fd(c->channel) : -1,
                                        .events = events_of(c) };
    }
    return POLLS;
}

static int timeout_ms(const struct keeper_room *room)
{
    uint64_t deadline = asks_deadline(room), now = clock_monotonic_ns();
    if (deadline == NEVER_NS || room->asks_due) /* then something must be sent first */
        return -1;
    if (deadline <= now)
        return 0;
    return (int)MIN((deadline - now) / NS_PER_MS + 1, (uint64_t)60000);
}

/* Its frames, `most` of them, and no more once it has answers that wait. Gives how many there were. */
static unsigned client_turn(struct client *c, unsigned most)
{
    unsigned count = 0;
    while (count < most && !c->broken && !c->writes && !c->room->control_writes) {
        struct frame frame;
        int *fds;
        size_t fd_count;
        int status = channel_receive(c->channel, false, &frame, &fds, &fd_count, NULL);
        if (status == 0)
            break;
        if (status < 0 || frame_gate_dispatch(&c->gate, &frame, fds, fd_count, c, NULL) < 0)
            c->broken = true;
        count++;
    }
    return count;
}

static void egress_turn(struct keeper_room *room, short events)
{
    struct client *c = &room->egress;
    if (events & POLLOUT)
        client_flush(c);
    if (events & (POLLIN | POLLHUP | POLLERR))
        (void)client_turn(c, CHANNEL_BURST_MAX);
}

/* In turn, so that no front has all of what a turn gives. */
static void fronts_turn(struct keeper_room *room, const struct pollfd *polls)
{
    unsigned left = LEAVES_OF_TURN, first = room->next_front;
    for (unsigned k = 0; k < KEEPER_FRONTS_MAX; k++) {
        unsigned i = (first + k) % KEEPER_FRONTS_MAX;
        struct client *c = &room->fronts[i];
        if (!c->channel || !polls[i].revents)
            continue;
        if (polls[i].revents & POLLOUT)
            client_flush(c);
        if (left > 0 && (polls[i].revents & (POLLIN | POLLHUP | POLLERR))) {
            left -= client_turn(c, left);
            room->next_front = (i + 1) % KEEPER_FRONTS_MAX;
        }
        if (c->broken)
            client_close(c);
    }
}

static int control_turn(struct keeper_room *room, short events, struct error *e)
{
    if (events & POLLOUT)
        flush_control(room);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return 0;
    int status = channel_dispatch(room->control, &room->gate, room, false, e);
    if (status > 0)
        room->gone = true;
    return status < 0 ? status : 0;
}

static int turn(struct keeper_room *room, struct error *e)
{
    struct pollfd polls[POLLS];
    size_t count = watch(room, polls);
    if (poll(polls, count, timeout_ms(room)) < 0)
        return errno == EINTR ? 0 : error_set_errno(e, errno, "waiting");
    int status = 0;
    if (polls[1].revents)
        status = reading_turn(room, e);
    if (status == 0 && polls[0].revents)
        status = control_turn(room, polls[0].revents, e);
    if (status < 0 || room->gone || room->stop)
        return status;
    /* Control may have put another channel in the place of one that is ready here: that one then says
     * at once that it has nothing. */
    if (room->egress.channel && polls[2].revents)
        egress_turn(room, polls[2].revents);
    fronts_turn(room, polls + 3);
    if (room->asks_due || asks_deadline(room) <= clock_monotonic_ns())
        asks_turn(room);
    if (room->egress.broken) {
        client_close(&room->egress);
        asks_drop(room, true);
    }
    return 0;
}

static int run(struct keeper_room *room, struct error *e)
{
    int status = values_turn(room, e);
    while (status == 0 && !room->stop && !room->gone) {
        struct value_slot *wanted = room->wanted;
        status = turn(room, e);
        if (status == 0 && room->wanted != wanted)
            asks_turn(room); /* a value came, or is not to be had */
        if (status == 0)
            status = values_turn(room, e);
    }
    return status;
}

static int room_main_of(struct keeper_room *room)
{
    struct error e = ERROR_INIT;
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || !wipe_what_is_freed())
        return 1;
    /* START alone: what follows it on its heels (REVOKE, GRANT, CLIENT) is about rules that prepare() makes. */
    int status = channel_dispatch_one(room->control, &room->gate, room, true, &e);
    if (status != 0)
        return status < 0 ? report_fault(room, &e) : 0;
    if (prepare(room, &e) < 0)
        return report_fault(room, &e);
#ifdef AMBIT_TEST_HOOKS
    if (room->start.test_skip & KEEPER_PROBE)
        return report_fault(room, room_probe_lines(room->start.work_host, &e));
#endif
    return run(room, &e) < 0 ? report_fault(room, &e) : 0;
}

static void room_done(struct keeper_room *room)
{
    asks_drop(room, false);
    client_close(&room->egress);
    for (size_t i = 0; i < KEEPER_FRONTS_MAX; i++)
        client_close(&room->fronts[i]);
    reading_done(&room->reading);
    values_done(room);
    authority_free(room->authority);
    vault_done(&room->vault);
    secret_buf_done(&room->key_text);
    buf_done(&room->vault_file);
    grant_live_done(&room->grants);
    if (room->space)
        munmap(room->space, VAULT_SIZE_MAX);
    state_unmap(room->state);
    keeper_start_done(&room->start);
}

int keeper_room_main(struct channel *control)
{
    struct keeper_room *room = mem_zalloc(sizeof(*room)); /* too large for a stack */
    if (!room)
        return 1;
    (void)!mlock(room, sizeof(*room)); /* the vault's key is in it */
    channel_wipes(control);
    room->control = control;
    room->gate =
        (struct frame_gate){ .rules = control_frames, .rule_count = ARRAY_SIZE(control_frames) };
    room->vault_file = (struct buf)BUF_INIT(VAULT_SIZE_MAX);
    room->reading.fd = -1;
    room->egress.room = room;
    for (size_t i = 0; i < KEEPER_FRONTS_MAX; i++)
        room->fronts[i].room = room;
    int status = room_main_of(room);
    room_done(room);
    mem_wipe(room, sizeof(*room));
    mem_free(room);
    return status;
}
