/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress room's main.
 *
 *   EGRESS_START received   rules compiled, counters mapped
 *   prepared                certificates, /etc/hosts, /etc/resolv.conf read; libraries woken, so that
 *                           what they read once is read now
 *   jail closed             no file and no program after this; sockets: only outwards
 *   EGRESS_READY            then the loop: links, curl, names, deadlines
 *
 * Nothing of an origin or a guest is near before the jail is closed. A frame of control's that is
 * malformed ends the process; one of a link ends that link.
 */
#include "egress/egress.h"

#include <curl/curl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "egress/parts.h"
#include "room/jail.h"
#include "room/probe.h"

#define CA_SIZE_MAX (8u << 20)
#define EVENTS_MAX 64
#define UNSENT_MAX (64u << 10) /* bytes of records that may wait for the others of a turn */
#define ADDRESS_SPACE_MAX (UINT64_C(6) << 30) /* links map 8 MiB each */

enum phase { PHASE_WAITING, PHASE_RUNNING };

/* ---- frames from control ---- */

static int on_start(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct egress_room *room = context;
    int status = egress_start_get(c, &room->start, e);
    if (status == 0 && fd_count != 2)
        status = error_set(e, -EBADMSG, "a start with %zu descriptors", fd_count);
#ifdef AMBIT_TEST_HOOKS
    room->skip = room->start.test_skip;
    if (room->skip & EGRESS_SKIP_WIPE)
        mem_wipe_nothing();
#else
    if (status == 0 && room->start.test_skip)
        status = error_set(e, -EPERM, "this build leaves no defence open");
#endif
    if (status == 0)
        status = rules_start(room, fds[1], e);
    if (status == 0)
        status = placeholders_parse(room->start.placeholders, &room->placeholders,
                                    &room->placeholder_count, e);
    if (status == 0)
        status = channel_keep_fd(fds[0], &room->ca_fd, e);
    room->started = true;
    room->gate.phase = PHASE_RUNNING;
    return status;
}

static int on_link(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct egress_room *room = context;
    uint32_t owner = cursor_u32(c), flags = cursor_u32(c);
    int own[LINK_FDS];
    if (fd_count != LINK_FDS || room->peer_count == LINKS_MAX)
        return error_set(e, -EBADMSG, "a link with %zu descriptors, or one too many", fd_count);
    if (flags & ~(uint32_t)EGRESS_LINK_EXPLAINS)
        return error_set(e, -EBADMSG, "a link with flags that are none");
    int status = link_keep_fds(fds, own, e);
    if (status < 0)
        return status;
    /* The worker has the memory already and may have spoiled it: its own link, and nobody else's. */
    (void)!peer_new(room, owner, flags, own, NULL);
    return 0;
}

static int on_unlink(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct egress_room *room = context;
    uint32_t owner = cursor_u32(c);
    for (struct peer *p = room->peers; p; p = p->next)
        if (p->owner == owner)
            p->dead = true;
    return 0;
}

static int on_revoke(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct egress_room *room = context;
    uint32_t rule;
    int status = rules_revoke_get(c, &rule, e);
    if (status == 0)
        status = grant_live_revoke(&room->grants, rule, e);
    for (struct peer *p = room->peers; status == 0 && p; p = p->next)
        for (struct outgoing *x = p->first; x; x = x->next)
            if (x->rule != GRANT_NO_RULE && room->grants.revoked[x->rule])
                outgoing_refuse(x, GRANT_REVOKED, x->rule, grant_reason_text(GRANT_REVOKED));
    return status;
}

static int on_expire(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct egress_room *room = context;
    room->next_deadline_ns = 0; /* look at all again */
    return rules_expire_get(c, &room->grants.expires_ns, e);
}

static int on_stop(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    ((struct egress_room *)context)->stop = true;
    return 0;
}

static int on_keeper(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    int own;
    if (fd_count != 1)
        return error_set(e, -EBADMSG, "a channel to keeper with %zu descriptors", fd_count);
    int status = channel_keep_fd(fds[0], &own, e);
    return status < 0 ? status : secrets_channel(context, own, e);
}

static int on_grant(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct egress_room *room = context;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    CLEANUP(mem_freep) char *json = NULL;
    uint32_t rule;
    int status = rules_grant_get(c, &rule, &json, e);
    if (status == 0)
        status = grant_live_add(&room->grants, rule, json, NULL, e);
    if (status < 0)
        return status;
    buf_u32(&payload, rule);
    return room_record(room, EGRESS_GRANTED, &payload);
}

/* Nothing under way has any of them: they are looked for where a head is read, and only then. */
static int on_placeholders(void *context, struct cursor *c, const int *fds, size_t fd_count,
                           struct error *e)
{
    struct egress_room *room = context;
    CLEANUP(mem_freep) char *json = cursor_string(c);
    struct placeholder *all = NULL;
    size_t count = 0;
    if (!cursor_finished(c) || !json)
        return error_set(e, -EBADMSG, "placeholders that cannot be read");
    int status = placeholders_parse(json, &all, &count, e);
    if (status < 0)
        return status;
    placeholders_free(room->placeholders, room->placeholder_count);
    room->placeholders = all;
    room->placeholder_count = count;
    return 0;
}

#define RUNNING (1u << PHASE_RUNNING)
static const struct frame_rule rules_of_frames[] = {
    { EGRESS_START, "start", 1u << PHASE_WAITING, true, 2, FRAME_MAX, on_start },
    { EGRESS_LINK, "link", RUNNING, false, LINK_FDS, 2 * sizeof(uint32_t), on_link },
    { EGRESS_UNLINK, "unlink", RUNNING, false, 0, sizeof(uint32_t), on_unlink },
    { EGRESS_REVOKE, "revoke", RUNNING, false, 0, sizeof(uint32_t), on_revoke },
    { EGRESS_EXPIRE, "expire", RUNNING, false, 0, sizeof(uint64_t), on_expire },
    { EGRESS_GRANT, "grant", RUNNING, false, 0, FRAME_MAX, on_grant },
    { EGRESS_KEEPER, "keeper", RUNNING, false, 1, 0, on_keeper },
    { EGRESS_PLACEHOLDERS, "placeholders", RUNNING, false, 0, FRAME_MAX, on_placeholders },
    { EGRESS_STOP, "stop", RUNNING, true, 0, 0, on_stop },
};

/* ---- frames to control ---- */

static int flush_control(struct egress_room *room)
{
    int status = channel_flush(room->control, NULL);
    if (status < 0) {
        room->gone = true;
        return status;
    }
    bool more = status > 0;
    if (more == room->control_writes)
        return 0;
    room->control_writes = more;
    return poller_set(&room->poller, channel_fd(room->control), WATCH_CONTROL, room,
                      EPOLLIN | (more ? EPOLLOUT : 0));
}

static int send_records(struct egress_room *room)
{
    room->unsent = 0;
    return flush_control(room);
}

int room_record(struct egress_room *room, uint16_t kind, const struct buf *payload)
{
    int status = buf_status(payload);
    if (status == 0)
        status = channel_queue(room->control, kind, payload->data, payload->size, NULL);
    room->unsent += status == 0 ? payload->size : 0;
    if (status == 0 && (!room->gathers || room->unsent > UNSENT_MAX))
        status = send_records(room);
    return status;
}

static int report_fault(struct egress_room *room, const struct error *why)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_string(&payload, why->what);
    buf_string(&payload, why->hint);
    if (!room->gone && buf_status(&payload) == 0)
        (void)!channel_send(room->control, EGRESS_FAULT, payload.data, payload.size, NULL, 0, NULL);
    return 1;
}

/* ---- preparing ---- */

static bool wants_tls(const struct egress_room *room)
{
    for (size_t i = 0; i < room->grants.rule_count; i++) {
        const struct grant *g = grant_rules_grant(room->grants.rules, i);
        if (g->class == GRANT_HTTP && (g->http.https || grant_has_secret(g)))
            return true; /* a secret may be of a token server */
    }
    return room->start.more > 0; /* the jail opens no file later */
}

static int read_all(int fd, struct buf *out, struct error *e)
{
    char chunk[16384];
    ssize_t n;
    off_t at = 0;
    while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
        buf_append(out, chunk, (size_t)n);
        at += n;
    }
    if (n < 0)
        return error_set_errno(e, errno, "the certificates cannot be read");
    return buf_status(out) < 0 ? error_set(e, -EFBIG, "the file of certificates is too large") : 0;
}

static int load_certificates(struct egress_room *room, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CA_SIZE_MAX);
    int count = 0;
    room->certificates = X509_STORE_new();
    if (!room->certificates)
        return error_set(e, -ENOMEM, "no memory for certificates");
    if (!wants_tls(room))
        return 0;
    int status = read_all(room->ca_fd, &text, e);
    if (status < 0)
        return status;
    BIO *in = BIO_new_mem_buf(text.data, (int)text.size);
    X509 *one;
    while (in && (one = PEM_read_bio_X509_AUX(in, NULL, NULL, NULL))) {
        count += X509_STORE_add_cert(room->certificates, one) == 1;
        X509_free(one);
    }
    BIO_free(in);
    ERR_clear_error(); /* the end of the file is one */
    if (count == 0)
        return error_set(e, -EINVAL, "the file of certificates has none (PEM)");
    return 0;
}

/* What libraries look for once, they find now. */
static int wake_libraries(struct error *e)
{
    unsigned char some[16];
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) != 1 ||
        RAND_bytes(some, sizeof(some)) != 1)
        return error_set(e, -EIO, "the TLS library cannot be set up");
    CURL *easy = curl_easy_init();
    CURLM *multi = curl_multi_init();
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    bool fine = easy && multi && tls;
    SSL_CTX_free(tls);
    curl_multi_cleanup(multi);
    curl_easy_cleanup(easy);
    return fine ? 0 : error_set(e, -ENOMEM, "no memory for the HTTP library");
}

static int close_jail(struct egress_room *room, uint32_t *ret_missing, struct error *e)
{
    struct jail_spec spec = {
        .role = ROOM_EGRESS,
#if !defined(__SANITIZE_ADDRESS__)
        .address_space_bytes = ADDRESS_SPACE_MAX,
#endif
        .descriptors = DESCRIPTORS_MAX,
        .allow_missing = room->start.allow_missing,
    };
#ifdef AMBIT_TEST_HOOKS
    spec.skip = room->skip & EGRESS_SKIP_JAIL_MASK;
#endif
    return jail_close(&spec, ret_missing, e);
}

static int prepare(struct egress_room *room, uint32_t *ret_missing, struct error *e)
{
    int status = secrets_prepare(e);
    if (status == 0)
        status = wake_libraries(e);
    if (status == 0)
        status = load_certificates(room, e);
    fd_closep(&room->ca_fd);
    if (status == 0)
        status = names_new(room, room->start.resolver, &room->names, e);
    if (status == 0)
        status = close_jail(room, ret_missing, e);
    return status;
}

/* ---- the loop ---- */

static void sweep(struct egress_room *room)
{
    while (room->sweep) {
        struct outgoing *x = room->sweep;
        room->sweep = x->sweep;
        x->swept = false;
        if (x->state != OUTGOING_OVER && x->failed) {
            names_cancel(&x->wait);
            transfer_stop(x);
            peer_say(x); /* comes back as over, now or when there is room */
        }
        if (x->state == OUTGOING_OVER && !x->swept)
            peer_forget(x);
    }
    for (struct peer *p = room->peers, *next; p; p = next) {
        next = p->next;
        if (p->dead)
            peer_free(p);
    }
}

static int wait_ms(struct egress_room *room)
{
    uint64_t now = clock_monotonic_ns();
    uint64_t until = MIN(outgoing_deadlines(room, now), pools_deadline(room));
    until = MIN(until, names_deadline(room->names, now));
    until = MIN(until, minting_deadline(room));
    bool stay_awake = room->sweep != NULL;
    for (struct peer *p = room->peers; p; p = p->next)
        stay_awake |= p->dead || link_sleep(p->link);
    if (stay_awake || until <= now)
        return 0;
    return until == NEVER ? -1 : (int)MIN((until - now) / NS_PER_MS + 1, (uint64_t)3600000);
}

static int on_control(struct egress_room *room, struct error *e)
{
    int status = channel_dispatch(room->control, &room->gate, room, false, e);
    if (status > 0)
        room->gone = true;
    if (status < 0)
        return status;
    return room->gone ? 0 : flush_control(room);
}

static int on_event(struct egress_room *room, int fd, uint32_t events, struct error *e)
{
    const struct watch *w = &room->poller.watches[fd];
    switch (w->kind) {
    case WATCH_CONTROL:
        return on_control(room, e);
    case WATCH_LINK:
        link_awake(((struct peer *)w->owner)->link);
        return 0;
    case WATCH_CURL:
        if (w->rests)
            (void)!poller_set(&room->poller, fd, WATCH_NONE, NULL, 0);
        else
            pool_event(w->owner, fd, events);
        return 0;
    case WATCH_NAMES:
        names_event(w->owner, fd, events);
        return 0;
    case WATCH_KEEPER:
        secrets_event(room);
        return 0;
    case WATCH_WEBSOCKET:
        websocket_turn(w->owner);
        return 0;
    case WATCH_NONE:
        return 0;
    }
    return 0;
}

static int turn(struct egress_room *room, struct error *e)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(room->poller.epoll, events, EVENTS_MAX, wait_ms(room));
    if (count < 0 && errno != EINTR)
        return error_set_errno(e, errno, "waiting");
    for (int i = 0; i < count; i++) {
        int status = on_event(room, events[i].data.fd, events[i].events, e);
        if (status < 0)
            return status;
    }
    /* A new request is only given to curl here, which sends nothing before the tick below. So the
     * intents of a turn go to control at once, and before anything goes to an origin. */
    room->gathers = true;
    for (struct peer *p = room->peers; p; p = p->next)
        peer_turn(p);
    room->gathers = false;
    (void)!send_records(room); /* a control that is gone ends the loop */
    if (room->gone)
        return 0;
    pools_tick(room, clock_monotonic_ns());
    names_tick(room->names);
    minting_tick(room, clock_monotonic_ns());
    room->gathers = true;
    sweep(room);
    room->gathers = false;
    (void)!send_records(room);
    for (struct peer *p = room->peers; p; p = p->next)
        link_flush(p->link);
    return 0;
}

static int run(struct egress_room *room, uint32_t missing, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    buf_u32(&payload, missing);
    int status = room_record(room, EGRESS_READY, &payload);
    while (status == 0 && !room->stop && !room->gone)
        status = turn(room, e);
    /* What is under way has failed; its records still go out. */
    while (room->peers)
        peer_free(room->peers);
    minting_stop_all(room);
    while (status == 0 && !room->gone && channel_flush(room->control, NULL) > 0) {
        struct epoll_event event;
        (void)epoll_wait(room->poller.epoll, &event, 1, 100);
    }
    return status;
}

static int room_main_of(struct egress_room *room)
{
    struct error e = ERROR_INIT;
    uint32_t missing = 0;
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || poller_init(&room->poller, &e) < 0 ||
        poller_set(&room->poller, channel_fd(room->control), WATCH_CONTROL, room, EPOLLIN) < 0)
        return report_fault(room, &e);
    while (!room->started) {
        int status = channel_dispatch(room->control, &room->gate, room, true, &e);
        if (status < 0)
            return report_fault(room, &e);
        if (status > 0)
            return 0;
    }
    if (prepare(room, &missing, &e) < 0)
        return report_fault(room, &e);
#ifdef AMBIT_TEST_HOOKS
    if (room->skip & EGRESS_PROBE)
        return report_fault(room, room_probe_lines(room->start.work_host, &e));
#endif
    return run(room, missing, &e) < 0 ? report_fault(room, &e) : 0;
}

int egress_room_main(struct channel *control)
{
    struct egress_room *room = mem_zalloc(sizeof(*room)); /* too large for a stack */
    if (!room)
        return 1;
    room->control = control;
    room->gate =
        (struct frame_gate){ .rules = rules_of_frames, .rule_count = ARRAY_SIZE(rules_of_frames) };
    room->ca_fd = -1;
    room->next_deadline_ns = 0;
    int status = room_main_of(room);
    placeholders_free(room->placeholders, room->placeholder_count);
    scrub_free(room->scanner);
    secrets_done(room);
    minting_free(room);
    names_free(room->names);
    pools_free(room);
    X509_STORE_free(room->certificates);
    grant_live_done(&room->grants);
    egress_start_done(&room->start);
    mem_free(room);
    return status;
}
