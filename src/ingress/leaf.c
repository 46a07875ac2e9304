/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of hosts, one for each "host:port" that a CONNECT named. Keeper decides and signs; here
 * its answers are kept.
 *
 *   ASKED   at most LEAVES_ASKED_MAX; however many connections wait, keeper is asked once. More hosts
 *           wait in line: a flood of them holds up the others and refuses nobody
 *   KEPT    at most LEAVES_MAX, the least used goes first; until LEAF_MARGIN_NS before its end
 *   DENIED  at most LEAVES_REFUSED_MAX, for LEAF_REFUSED_NS
 *
 * So who asks for a thousand random hosts costs keeper a thousand decisions and this room nothing that
 * grows. Private keys are in EVP_PKEYs alone: the frames that brought them are wiped, and OpenSSL wipes
 * a key when the last of its users (the table, connections) lets go of it.
 *
 * When keeper ends, control gives another channel: what was asked for is asked for again.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* d2i_ECPrivateKey(): see read_key() */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/mem.h"
#include "ingress/internal.h"
#include "room/channel.h"

#define BUCKETS 1024

struct leaves {
    struct ingress *i;
    struct channel *keeper; /* NULL: it ended, another will come */
    struct source source;
    struct frame_gate gate;
    bool waits_to_send;
    uint64_t last_number;
    struct leaf *table[BUCKETS];
    struct list by_state[3];
    size_t counts[3];
    struct list
        crowd; /* struct front, oldest first: keeper is asked for them when it has answered others */
};

/* ---- the table ---- */

static uint32_t hash_of(const char *name)
{
    uint32_t h = 2166136261u; /* FNV-1a; who fills one bucket gains nothing: all is bounded */
    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h;
}

static struct leaf *find(struct leaves *l, const char *name)
{
    struct leaf *leaf = l->table[hash_of(name) % BUCKETS];
    while (leaf != NULL && strcmp(leaf->name, name) != 0)
        leaf = leaf->next;
    return leaf;
}

void leaf_release(struct leaf *leaf)
{
    if (leaf == NULL || --leaf->users > 0)
        return;
    X509_free(leaf->certificate);
    EVP_PKEY_free(leaf->key); /* wipes the private part when it was the last user */
    buf_done(&leaf->text);
    buf_done(&leaf->grant);
    mem_free(leaf);
}

/* Out of the table; who uses it keeps it. */
static void drop(struct leaves *l, struct leaf *leaf)
{
    struct leaf **at = &l->table[hash_of(leaf->name) % BUCKETS];
    ASSERT(leaf->stored);
    while (*at != leaf)
        at = &(*at)->next;
    *at = leaf->next;
    leaf->stored = false;
    list_remove(&leaf->place);
    l->counts[leaf->state]--;
    leaf_release(leaf);
}

static void set_state(struct leaves *l, struct leaf *leaf, int state)
{
    static const size_t most[] = { LEAVES_ASKED_MAX, LEAVES_MAX, LEAVES_REFUSED_MAX };
    list_remove(&leaf->place);
    l->counts[leaf->state]--;
    leaf->state = state;
    if (l->counts[state] >= most[state])
        drop(l, LIST_OF(struct leaf, place, l->by_state[state].next));
    list_append(&l->by_state[state], &leaf->place);
    l->counts[state]++;
}

static struct leaf *add(struct leaves *l, const char *name, size_t host_size)
{
    size_t size = strlen(name) + 1;
    struct leaf *leaf = mem_zalloc(sizeof *leaf + size);
    if (leaf == NULL)
        return NULL;
    memcpy(leaf->name, name, size);
    leaf->host_size = host_size;
    leaf->state = LEAF_ASKED;
    leaf->users = 1;
    leaf->stored = true;
    leaf->number = ++l->last_number;
    leaf->until_ns = l->i->now_ns + LEAF_WAIT_NS;
    leaf->text = (struct buf)BUF_INIT(SECRET_TEXT_MAX);
    leaf->grant = (struct buf)BUF_INIT(LEAF_GRANT_MAX);
    list_init(&leaf->place);
    list_init(&leaf->waiting);
    struct leaf **bucket = &l->table[hash_of(name) % BUCKETS];
    leaf->next = *bucket;
    *bucket = leaf;
    list_append(&l->by_state[LEAF_ASKED], &leaf->place);
    l->counts[LEAF_ASKED]++;
    return leaf;
}

/* ---- to keeper ---- */

static void lose_keeper(struct leaves *l)
{
    channel_free(TAKE(l->keeper)); /* its descriptor leaves the loop as it is closed */
    l->waits_to_send = false;
}

static void send_ask(struct leaves *l, const struct leaf *leaf)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(512);
    struct error e = ERROR_INIT;
    uint32_t port = 0;
    if (l->keeper == NULL)
        return; /* the next one is asked */
    for (const char *at = leaf->name + leaf->host_size + 1; *at != '\0'; at++)
        port = port * 10 + (uint32_t)(*at - '0');
    const struct leaf_ask a = { .number = leaf->number,
                                .host = { (const uint8_t *)leaf->name, leaf->host_size },
                                .port = (uint16_t)port };
    leaf_ask_put(&payload, &a);
    if (buf_status(&payload) < 0 ||
        channel_queue(l->keeper, LEAF_ASK, payload.data, payload.size, &e) < 0)
        lose_keeper(l);
}

void leaf_ask(struct leaves *l, struct front *f)
{
    char name[URL_HOST_MAX + 8];
    size_t host_size = strlen(f->host);
    (void)snprintf(name, sizeof name, "%s:%u", f->host, f->port);
    struct leaf *leaf = find(l, name);
    if (leaf != NULL && leaf->state != LEAF_ASKED && leaf->until_ns <= l->i->now_ns) {
        drop(l, leaf);
        leaf = NULL;
    }
    if (leaf == NULL && l->counts[LEAF_ASKED] >= LEAVES_ASKED_MAX) {
        f->until_ns = l->i->now_ns + LEAF_WAIT_NS;
        list_append(&l->crowd, &f->waiting);
        return;
    }
    if (leaf == NULL) {
        leaf = add(l, name, host_size);
        if (leaf != NULL)
            send_ask(l, leaf);
    }
    if (leaf == NULL) {
        proxy_on_leaf(f, NULL);
    } else if (leaf->state == LEAF_ASKED) {
        list_append(&leaf->waiting, &f->waiting);
    } else {
        if (leaf->state == LEAF_KEPT)
            list_append(&l->by_state[LEAF_KEPT], &leaf->place); /* used last */
        proxy_on_leaf(f, leaf);
    }
}

/* Who waits for a place among those that are asked for. Not while keeper is being read: asking may end
 * its channel. */
static void admit(struct leaves *l)
{
    while (!list_empty(&l->crowd) && l->counts[LEAF_ASKED] < LEAVES_ASKED_MAX) {
        struct front *f = LIST_OF(struct front, waiting, l->crowd.next);
        list_remove(&f->waiting);
        leaf_ask(l, f);
    }
}

/* Everybody who waits for it is told. */
static void tell(struct leaf *leaf, struct leaf *answer)
{
    while (!list_empty(&leaf->waiting)) {
        struct front *f = LIST_OF(struct front, waiting, leaf->waiting.next);
        list_remove(&f->waiting);
        proxy_on_leaf(f, answer);
    }
}

/* ---- from keeper ---- */

static struct leaf *asked_for(struct leaves *l, uint64_t number)
{
    for (struct list *at = l->by_state[LEAF_ASKED].next; at != &l->by_state[LEAF_ASKED];
         at = at->next) {
        struct leaf *leaf = LIST_OF(struct leaf, place, at);
        if (leaf->number == number)
            return leaf;
    }
    return NULL;
}

static int broken(struct error *e, const char *what)
{
    ERR_clear_error();
    return error_set(e, -EBADMSG, "keeper broke the protocol: %s", what);
}

/* Keeper's leaves have EC keys. d2i_PrivateKey() tries one decoder after the other: ten times the work. */
static EVP_PKEY *read_key(struct bytes der)
{
    const unsigned char *at = der.data;
    EC_KEY *ec = d2i_ECPrivateKey(NULL, &at, (long)der.size);
    EVP_PKEY *key = ec != NULL && at == der.data + der.size ? EVP_PKEY_new() : NULL;
    if (key != NULL && EVP_PKEY_assign_EC_KEY(key, ec) == 1)
        return key;
    EVP_PKEY_free(key);
    EC_KEY_free(ec);
    return NULL;
}

static int take_pair(struct leaf *leaf, const struct leaf_given *g, struct error *e)
{
    const unsigned char *at = g->certificate.data;
    leaf->certificate = d2i_X509(NULL, &at, (long)g->certificate.size);
    if (leaf->certificate == NULL || at != g->certificate.data + g->certificate.size)
        return broken(e, "a certificate that is none");
    leaf->key = read_key(g->key);
    if (leaf->key == NULL || X509_check_private_key(leaf->certificate, leaf->key) != 1)
        return broken(e, "a key that is not the certificate's");
    return 0;
}

static int on_given(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct leaves *l = context;
    struct leaf_given g;
    int r = leaf_given_get(payload, &g, e);
    if (r < 0)
        return r;
    struct leaf *leaf = asked_for(l, g.number);
    if (leaf != NULL)
        r = take_pair(leaf, &g, e);
    mem_wipe((void *)(uintptr_t)g.key.data, g.key.size); /* the frame is the channel's own copy */
    if (leaf == NULL || r < 0)
        return r; /* nobody waits any more */
    leaf->until_ns = g.until_ns > LEAF_MARGIN_NS ? g.until_ns - LEAF_MARGIN_NS : 0;
    set_state(l, leaf, LEAF_KEPT);
    leaf->users++;
    tell(leaf, leaf);
    if (leaf->stored && leaf->until_ns <= l->i->now_ns)
        drop(l, leaf);
    leaf_release(leaf);
    return 0;
}

static int on_refused(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                      struct error *e)
{
    struct leaves *l = context;
    struct leaf_refused refused;
    int r = leaf_refused_get(payload, &refused, e);
    if (r < 0)
        return r;
    if (refused.reason == GRANT_ALLOWED || refused.reason >= GRANT_REASON_COUNT)
        return broken(e, "a refusal for no reason that there is");
    struct leaf *leaf = asked_for(l, refused.number);
    if (leaf == NULL)
        return 0;
    leaf->reason = (enum grant_reason)refused.reason;
    buf_append(&leaf->text, refused.text.data, refused.text.size);
    buf_append(&leaf->grant, refused.grant.data, refused.grant.size);
    leaf->until_ns = l->i->now_ns + LEAF_REFUSED_NS;
    set_state(l, leaf, LEAF_DENIED);
    leaf->users++;
    tell(leaf, leaf);
    leaf_release(leaf);
    return 0;
}

static const struct frame_rule rules[] = {
    { LEAF_GIVEN, "LEAF_GIVEN", 1, false, 0, 2 * LEAF_DER_MAX + 64, on_given },
    { LEAF_REFUSED, "LEAF_REFUSED", 1, false, 0, SECRET_TEXT_MAX + LEAF_GRANT_MAX + 64,
      on_refused },
};

int leaves_dispatch(struct leaves *l, struct error *e)
{
    if (l->keeper == NULL)
        return 0;
    int r = channel_dispatch(l->keeper, &l->gate, l, false, e);
    if (r == 1) {
        lose_keeper(l);
        r = 0;
    }
    if (r == 0)
        admit(l);
    return r;
}

/* ---- keeper's life ---- */

static int watch_keeper(struct leaves *l, int how, bool sending)
{
    struct epoll_event event = { .events = EPOLLIN | (sending ? EPOLLOUT : 0),
                                 .data.ptr = &l->source };
    return epoll_ctl(l->i->epoll_fd, how, channel_fd(l->keeper), &event);
}

void leaves_flush(struct leaves *l)
{
    struct error e = ERROR_INIT;
    if (l->keeper == NULL)
        return;
    int r = channel_flush(l->keeper, &e);
    if (r >= 0 && (r == 1) != l->waits_to_send) {
        l->waits_to_send = r == 1;
        r = watch_keeper(l, EPOLL_CTL_MOD, r == 1);
    }
    if (r < 0)
        lose_keeper(l);
}

int leaves_keeper(struct leaves *l, int fd, struct error *e)
{
    lose_keeper(l);
    int r = channel_new(fd, &l->keeper, e);
    if (r < 0)
        return r;
    channel_wipes(l->keeper); /* keys come through it */
    if (watch_keeper(l, EPOLL_CTL_ADD, false) < 0)
        return error_set_errno(e, errno, "keeper's channel cannot be watched");
    for (struct list *at = l->by_state[LEAF_ASKED].next;
         l->keeper != NULL && at != &l->by_state[LEAF_ASKED]; at = at->next)
        send_ask(l, LIST_OF(struct leaf, place, at));
    return 0;
}

int leaves_new(struct ingress *i, int fd, struct leaves **ret, struct error *e)
{
    struct leaves *l = mem_zalloc(sizeof *l);
    if (l == NULL) {
        fd_close(fd);
        return error_set(e, -ENOMEM, "no memory for certificates");
    }
    l->i = i;
    l->source.kind = SOURCE_KEEPER;
    l->gate = (struct frame_gate){ .rules = rules, .rule_count = ARRAY_SIZE(rules) };
    for (size_t s = 0; s < ARRAY_SIZE(l->by_state); s++)
        list_init(&l->by_state[s]);
    list_init(&l->crowd);
    int r = leaves_keeper(l, fd, e);
    if (r < 0) {
        leaves_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

void leaves_free(struct leaves *l)
{
    if (l == NULL)
        return;
    for (size_t s = 0; s < ARRAY_SIZE(l->by_state); s++)
        while (!list_empty(&l->by_state[s]))
            drop(l, LIST_OF(struct leaf, place, l->by_state[s].next));
    channel_free(l->keeper);
    mem_free(l);
}

void leaves_forget(struct leaves *l)
{
    for (int s = LEAF_KEPT; s <= LEAF_DENIED; s++)
        while (!list_empty(&l->by_state[s]))
            drop(l, LIST_OF(struct leaf, place, l->by_state[s].next));
    /* What keeper was asked for before may be answered by the grants before: it is asked again, and
     * the answer to the first number belongs to nobody. */
    for (struct list *at = l->by_state[LEAF_ASKED].next;
         l->keeper != NULL && at != &l->by_state[LEAF_ASKED]; at = at->next) {
        struct leaf *leaf = LIST_OF(struct leaf, place, at);
        leaf->number = ++l->last_number;
        send_ask(l, leaf);
    }
}

void leaves_tick(struct leaves *l)
{
    /* Oldest first: those that were asked for stand in the order in which they were. */
    while (!list_empty(&l->by_state[LEAF_ASKED])) {
        struct leaf *leaf = LIST_OF(struct leaf, place, l->by_state[LEAF_ASKED].next);
        if (leaf->until_ns > l->i->now_ns)
            break;
        leaf->users++;
        drop(l, leaf);
        tell(leaf, NULL);
        leaf_release(leaf);
    }
    while (!list_empty(&l->crowd)) {
        struct front *f = LIST_OF(struct front, waiting, l->crowd.next);
        if (f->until_ns > l->i->now_ns)
            break;
        list_remove(&f->waiting);
        proxy_on_leaf(f, NULL);
    }
    admit(l);
    for (int s = LEAF_KEPT; s <= LEAF_DENIED; s++)
        for (struct list *at = l->by_state[s].next, *next = at->next; at != &l->by_state[s];
             at = next, next = at->next) {
            struct leaf *leaf = LIST_OF(struct leaf, place, at);
            if (leaf->until_ns <= l->i->now_ns)
                drop(l, leaf);
        }
}
