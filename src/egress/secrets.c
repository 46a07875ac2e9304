/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of secrets on their way into requests. A request whose rule names secrets waits, after its
 * intent was recorded, until keeper has given their values (wire/keeper.h); they go straight from
 * keeper's frame into the header lines, and these are wiped with the transfer.
 *
 * Where a value could stay behind: in memory that a library frees (all of this room's allocators
 * wipe, see secrets_prepare()), in the channel (it wipes), in the table that HTTP/2 compresses headers
 * with (such requests go over HTTP/1.1). tests/hostile/test_secrets_out.py looks for it in the room's
 * whole memory.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <openssl/crypto.h>

#include "base/digest.h"
#include "egress/parts.h"
#include "wire/http1.h"

/* ---- memory ---- */

static void *tls_malloc(size_t size, const char *file, int line)
{
    return mem_wiping_malloc(size);
}

static void *tls_realloc(void *old, size_t size, const char *file, int line)
{
    return mem_wiping_realloc(old, size);
}

static void tls_free(void *old, const char *file, int line)
{
    mem_wiping_free(old);
}

int secrets_prepare(struct error *e)
{
    mem_wipe_what_is_freed();
    if (CRYPTO_set_mem_functions(tls_malloc, tls_realloc, tls_free) != 1 ||
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_wiping_malloc, mem_wiping_free,
                             mem_wiping_realloc, mem_wiping_strdup, mem_wiping_calloc) != CURLE_OK)
        return error_set(e, -EIO, "the libraries for HTTP and TLS take no allocator");
    return 0;
}

/* ---- the channel ---- */

static const struct frame_rule rules_of_frames[];
static size_t count_of_frames(void);

static void drop_channel(struct egress_room *room)
{
    if (!room->keeper)
        return;
    minting_stop_all(room);
    (void)!poller_set(&room->poller, channel_fd(room->keeper), WATCH_NONE, NULL, 0);
    channel_free(room->keeper);
    room->keeper = NULL;
    room->keeper_writes = false;
}

static void flush_channel(struct egress_room *room)
{
    int status = channel_flush(room->keeper, NULL);
    bool more = status > 0;
    if (status >= 0 && more != room->keeper_writes) {
        room->keeper_writes = more;
        status = poller_set(&room->poller, channel_fd(room->keeper), WATCH_KEEPER, room,
                            EPOLLIN | (more ? EPOLLOUT : 0));
    }
    if (status < 0)
        room->keeper_broken = true;
}

/* False: keeper does not hear it, now at least. */
static bool tell(struct egress_room *room, uint16_t kind, const struct buf *payload)
{
    if (!room->keeper || room->keeper_broken || buf_status(payload) < 0 ||
        channel_queue(room->keeper, kind, payload->data, payload->size, NULL) < 0)
        return false;
    flush_channel(room);
    return !room->keeper_broken;
}

void secrets_event(struct egress_room *room)
{
    if (!room->keeper)
        return;
    struct error e = ERROR_INIT;
    if (channel_dispatch(room->keeper, &room->keeper_gate, room, false, &e) != 0)
        room->keeper_broken = true;
    else
        flush_channel(room);
    /* What was asked waits for the next channel, as long as it may. */
    if (room->keeper_broken)
        drop_channel(room);
}

void secrets_done(struct egress_room *room)
{
    drop_channel(room);
}

/* ---- asking ---- */

bool secrets_wanted(const struct outgoing *x)
{
    return grant_has_secret(grant_rules_grant(x->peer->room->grants.rules, x->rule));
}

/* A header whose whole value is a secret may be a signature, which is of the other headers and of
 * the body, too. */
static bool may_be_signed(const struct outgoing *x)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    for (size_t i = 0; i < g->http.set_count; i++) {
        const char *at = g->http.set[i].value;
        struct grant_template_part part;
        if (strcmp(g->http.set[i].key, "authorization") == 0 &&
            grant_template_next(&at, &part) > 0 && part.text.size == 0 && part.secret.size > 0 &&
            *at == '\0')
            return true;
    }
    return false;
}

/* Nobody sends a long body with these, and some guests do not say that there is none. */
static bool usually_bodiless(const struct outgoing *x)
{
    static const char *const methods[] = { "GET", "HEAD", "DELETE", "OPTIONS" };
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (bytes_are(x->request.method, methods[i]))
            return true;
    return false;
}

static bool body_is_short(const struct outgoing *x)
{
    if (x->content_length == NEVER && usually_bodiless(x))
        return x->in.bytes.size - x->in.at <= SECRETS_SIGNED_MAX;
    return x->content_length <= SECRETS_SIGNED_MAX;
}

static int put_digest(const struct outgoing *x, char ret[static DIGEST_TEXT_SIZE])
{
    struct digest d;
    const struct body_queue *q = &x->in;
    if (!body_is_short(x)) {
        (void)snprintf(ret, DIGEST_TEXT_SIZE, "UNSIGNED-PAYLOAD");
        return 0;
    }
    char text[DIGEST_TEXT_SIZE];
    int status = digest_bytes(q->bytes.size ? q->bytes.data + q->at : (const uint8_t *)"",
                              q->bytes.size - q->at, &d, NULL);
    if (status < 0)
        return status;
    digest_text(&d, text);
    (void)snprintf(ret, DIGEST_TEXT_SIZE, "%s", strchr(text, ':') + 1);
    return 0;
}

static void put_ask(const struct outgoing *x, struct buf *out)
{
    static struct secret_field fields[HTTP_FIELDS_MAX + GRANT_PATTERNS_MAX];
    CLEANUP(buf_done) struct buf url = BUF_INIT(2 * URL_TARGET_MAX);
    char digest[DIGEST_TEXT_SIZE] = "";
    struct secret_ask ask = {
        .number = x->number, .rule = x->rule, .method = x->request.method, .fields = fields
    };
    url_print(&x->url, &url);
    ask.url = (struct bytes){ url.data, url.size };
    if (may_be_signed(x)) {
        if (put_digest(x, digest) < 0) {
            out->failed = -ENOMEM;
            return;
        }
        ask.payload_sha256 = bytes_of(digest);
        ask.field_count = transfer_fields(x, fields, ARRAY_SIZE(fields));
    }
    secret_ask_put(out, &ask);
}

static void ask(struct outgoing *x)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    put_ask(x, &payload);
    if (buf_status(&payload) < 0) {
        outgoing_refuse(x, GRANT_SECRET, x->rule, "the request is too large to be signed");
        return;
    }
    (void)!tell(x->peer->room, SECRET_ASK, &payload); /* else the next keeper hears it */
}

/* The body that is to be signed is here, or is not. */
void secrets_body_came(struct outgoing *x)
{
    struct injected *in = x->injected;
    if (x->failed || !in || !in->waits_for_body)
        return;
    uint32_t more = (uint32_t)(x->in.bytes.size - x->in.at) - x->in_prepaid;
    x->in_prepaid += more; /* the window is given again although nothing of it went on */
    x->in_owed += more;
    if (!x->in_ended && body_is_short(x)) {
        peer_say(x);
        return;
    }
    in->waits_for_body = false;
    ask(x);
}

void secrets_ask(struct outgoing *x, const struct address *addresses, size_t count)
{
    struct egress_room *room = x->peer->room;
    if (!room->keeper_gate.rules) {
        outgoing_refuse(x, GRANT_SECRET, x->rule,
                        "the grant names a secret, and there is no keeper to give it");
        return;
    }
    struct injected *in = x->injected = mem_zalloc(sizeof(*in));
    if (!in) {
        outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for a request");
        return;
    }
    memcpy(in->addresses, addresses, count * sizeof(*addresses));
    in->address_count = count;
    x->state = OUTGOING_ASKING;
    outgoing_idle(x, MIN(x->request.connect_timeout_ns, SECRETS_WAIT_NS),
                  HTTP_ERROR_REQUEST_DENIED);
    in->waits_for_body =
        may_be_signed(x) && body_is_short(x) && !x->in_ended && !(x->request.flags & HTTP_UPGRADE);
    if (in->waits_for_body) {
        x->continue_due = (x->request.flags & HTTP_EXPECTS_CONTINUE) != 0;
        secrets_body_came(x);
    } else {
        ask(x);
    }
}

int secrets_channel(struct egress_room *room, int fd, struct error *e)
{
    drop_channel(room);
    int status = channel_new(fd, &room->keeper, e);
    if (status < 0)
        return status;
    channel_wipes(room->keeper);
    room->keeper_broken = false;
    room->keeper_gate =
        (struct frame_gate){ .rules = rules_of_frames, .rule_count = count_of_frames() };
    status = poller_set(&room->poller, fd, WATCH_KEEPER, room, EPOLLIN);
    if (status < 0)
        return error_set(e, status, "the channel to keeper cannot be watched");
    for (struct peer *p = room->peers; p; p = p->next)
        for (struct outgoing *x = p->first; x; x = x->next)
            if (x->state == OUTGOING_ASKING && !x->failed && !x->injected->waits_for_body)
                ask(x);
    return 0;
}

/* ---- answers ---- */

static struct outgoing *asking(const struct egress_room *room, uint64_t number)
{
    for (struct peer *p = room->peers; p; p = p->next)
        for (struct outgoing *x = p->first; x; x = x->next)
            if (x->number == number && x->state == OUTGOING_ASKING && !x->failed)
                return x;
    return NULL;
}

static int on_values(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct secret_values values;
    int status = secret_values_get(c, &values, e);
    struct outgoing *x = status == 0 ? asking(context, values.number) : NULL;
    if (!x) /* it ended while keeper looked */
        return status;
    if (x->injected->waits_for_body) {
        outgoing_refuse(x, GRANT_SECRET, x->rule, "keeper answered before it was asked");
    } else if (answer_guard(x, &values) < 0) {
        outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for masking a secret");
    } else {
        x->injected->values = &values;
        outgoing_go_on(x, x->injected->addresses, x->injected->address_count);
        x->injected->values = NULL;
    }
    mem_wipe(&values, sizeof(values)); /* sizes and places; the bytes are the channel's */
    return 0;
}

static int on_refused(void *context, struct cursor *c, const int *fds, size_t fd_count,
                      struct error *e)
{
    struct secret_refused r;
    int status = secret_refused_get(c, &r, e);
    struct outgoing *x = status == 0 ? asking(context, r.number) : NULL;
    if (!x)
        return status;
    CLEANUP(mem_freep) char *text = mem_strndup((const char *)r.text.data, r.text.size);
    enum grant_reason reason = r.reason < GRANT_REASON_COUNT ? r.reason : GRANT_SECRET;
    outgoing_refuse(x, reason, x->rule, text ? text : grant_reason_text(GRANT_SECRET));
    return 0;
}

static int on_mint(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct bytes payload = { c->at, cursor_left(c) };
    c->at = c->end;
    return minting_start(context, payload, e);
}

static const struct frame_rule rules_of_frames[] = {
    { SECRET_VALUES, "values", 1, false, 0, FRAME_MAX, on_values },
    { SECRET_REFUSED, "refused", 1, false, 0, 64u << 10, on_refused },
    { SECRET_MINT, "mint", 1, false, 0, FRAME_MAX, on_mint },
};

static size_t count_of_frames(void)
{
    return ARRAY_SIZE(rules_of_frames);
}

/* ---- header lines ---- */

static const struct secret_value *value_of(const struct outgoing *x, struct bytes name)
{
    const struct secret_values *all = x->injected ? x->injected->values : NULL;
    for (size_t i = 0; all && i < all->count; i++)
        if (!all->values[i].header && bytes_equal(all->values[i].name, name))
            return &all->values[i];
    return NULL;
}

struct bytes secrets_value(const struct outgoing *x, struct bytes name)
{
    const struct secret_value *v = value_of(x, name);
    return v ? v->value : (struct bytes){ 0 };
}

int secrets_expand(const struct outgoing *x, const char *template, struct buf *out)
{
    struct grant_template_part part;
    while (grant_template_next(&template, &part) > 0) {
        buf_append(out, part.text.data, part.text.size);
        const struct secret_value *v = part.secret.size ? value_of(x, part.secret) : NULL;
        if (part.secret.size && !v)
            return -ENOENT;
        if (v)
            buf_append(out, v->value.data, v->value.size);
    }
    return buf_status(out);
}

const struct secret_value *secrets_header(const struct outgoing *x, size_t i)
{
    const struct secret_values *all = x->injected ? x->injected->values : NULL;
    for (size_t k = 0; all && k < all->count; k++)
        if (all->values[k].header && i-- == 0)
            return &all->values[k];
    return NULL;
}

bool secrets_take_off(const struct outgoing *x, struct bytes name)
{
    /* A part of the answer could hold a half of an echo, and the next part the other half; and what
     * is packed cannot be looked at. */
    static const char *const names[] = { "range", "if-range", "request-range", "accept-encoding" };
    const struct secret_value *v;
    if (!secrets_wanted(x))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (http1_name_alike(name, names[i]))
            return true;
    for (size_t i = 0; (v = secrets_header(x, i)); i++)
        if (bytes_equal(v->name, name))
            return true;
    return false;
}

/* ---- what keeper is told ---- */

void secrets_echoed(struct egress_room *room, const char *name)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    buf_string(&payload, name);
    (void)!tell(room, SECRET_ECHOED, &payload);
}

void secrets_minted(struct egress_room *room, const struct secret_minted *m)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    secret_minted_put(&payload, m);
    (void)!tell(room, SECRET_MINTED, &payload); /* a new keeper asks again itself */
}
