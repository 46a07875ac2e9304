/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads between keeper and its clients, see keeper.h. What is put and what is taken have the same
 * bounds: a sender that passes one has a failed buffer, a receiver -EBADMSG. No error's text has a
 * byte of what was read.
 */
#include "wire/keeper.h"

#include <string.h>

#include "base/mem.h"

const char *const secret_source_names[SECRET_SOURCE_COUNT] = { "stored", "file", "environment",
                                                               "command" };
const char *const secret_kind_names[SECRET_KIND_COUNT] = { "plain",        "github-app",
                                                           "oauth-client", "oauth-exchange",
                                                           "aws",          "aws-role" };

#define METHOD_MAX 64
#define URL_MAX 20000 /* scheme, host, port and URL_TARGET_MAX */
#define NAME_MAX_ANY 256
#define GRANTS_MAX (FRAME_MAX - 65536)
#define UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

/* ---- parts ---- */

static void refuse(struct buf *out)
{
    if (!out->failed)
        out->failed = -EMSGSIZE;
}

static void put(struct buf *out, struct bytes b, size_t max)
{
    if (b.size > max)
        refuse(out);
    else
        buf_bytes(out, b.data, b.size);
}

static struct bytes get(struct cursor *c, size_t max)
{
    struct bytes b = { 0 };
    b.data = cursor_bytes(c, &b.size);
    if (b.size > max)
        c->bad = true;
    return c->bad ? (struct bytes){ (const uint8_t *)"", 0 } : b;
}

/* Text as a header holds it: `space` says whether a space may be in it. */
static struct bytes get_ascii(struct cursor *c, size_t max, bool space)
{
    struct bytes b = get(c, max);
    for (size_t i = 0; i < b.size; i++)
        if (b.data[i] < (space ? ' ' : '!') || b.data[i] > '~')
            c->bad = true;
    return b;
}

static void put_string(struct buf *out, const char *text, size_t max)
{
    put(out, text ? bytes_of(text) : (struct bytes){ 0 }, max);
}

static char *get_string(struct cursor *c, size_t max)
{
    struct cursor ahead = *c;
    size_t size;
    (void)cursor_bytes(&ahead, &size);
    if (size > max)
        c->bad = true;
    return cursor_string(c);
}

static int finished(const struct cursor *c, const char *what, struct error *e)
{
    return cursor_finished(c) ? 0 : error_set(e, -EBADMSG, "%s that cannot be read", what);
}

static void fields_put(struct buf *out, const struct secret_field *fields, size_t count, size_t max)
{
    if (count > max) {
        refuse(out);
        return;
    }
    buf_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        put(out, fields[i].name, NAME_MAX_ANY);
        put(out, fields[i].value, SECRET_FIELD_MAX);
    }
}

/* Values of an ask's headers are what a guest said: any byte but the control characters. */
static size_t fields_get(struct cursor *c, struct secret_field *fields, size_t max)
{
    size_t count = cursor_u16(c);
    if (count > max)
        c->bad = true;
    for (size_t i = 0; i < count && !c->bad; i++) {
        fields[i].name = get_ascii(c, NAME_MAX_ANY, false);
        fields[i].value = get(c, SECRET_FIELD_MAX);
        for (size_t k = 0; k < fields[i].value.size; k++) {
            uint8_t byte = fields[i].value.data[k];
            if ((byte < ' ' && byte != '\t') || byte == 0x7f)
                c->bad = true;
        }
        if (fields[i].name.size == 0)
            c->bad = true;
    }
    return c->bad ? 0 : count;
}

/* ---- control ↔ keeper ---- */

void keeper_item_put(struct buf *out, const struct keeper_item *i)
{
    put_string(out, i->name, SECRET_NAME_MAX);
    buf_u32(out, i->source);
    buf_u32(out, i->kind);
    put_string(out, i->locator, SECRET_LOCATOR_MAX);
    put_string(out, i->settings, SECRET_SETTINGS_MAX);
    buf_u64(out, i->made_s);
    buf_u64(out, i->changed_s);
    buf_u32(out, i->version);
    buf_u32(out, i->size);
}

/* Everything that can be said without the grammar of names and settings; keeper checks those. */
static bool item_possible(const struct keeper_item *i)
{
    if (!i->name || !i->locator || !i->settings)
        return true; /* memory, not meaning */
    return i->name[0] && i->source < SECRET_SOURCE_COUNT && i->kind < SECRET_KIND_COUNT &&
           (i->locator[0] == '\0') == (i->source == SECRET_STORED) &&
           i->size <= SECRET_SOURCE_MAX && (i->size == 0 || i->source == SECRET_STORED);
}

int keeper_item_get(struct cursor *c, struct keeper_item *ret, struct error *e)
{
    struct keeper_item i = { 0 };
    i.name = get_string(c, SECRET_NAME_MAX);
    i.source = cursor_u32(c);
    i.kind = cursor_u32(c);
    i.locator = get_string(c, SECRET_LOCATOR_MAX);
    i.settings = get_string(c, SECRET_SETTINGS_MAX);
    i.made_s = cursor_u64(c);
    i.changed_s = cursor_u64(c);
    i.version = cursor_u32(c);
    i.size = cursor_u32(c);
    *ret = (struct keeper_item){ 0 };
    int status = finished(c, "a secret's description", e);
    if (status == 0 && !item_possible(&i))
        status = error_set(e, -EBADMSG, "a secret's description that cannot be");
    if (status == 0 && (!i.name || !i.locator || !i.settings))
        status = error_set(e, -ENOMEM, "no memory for a secret's description");
    if (status == 0)
        *ret = i;
    else
        keeper_item_done(&i);
    return status;
}

/* A locator may be a command line, settings name accounts: not values, but nobody's business. */
static void wipe_string(char **text)
{
    if (*text)
        mem_wipe(*text, strlen(*text));
    mem_free(TAKE(*text));
}

void keeper_item_done(struct keeper_item *i)
{
    wipe_string(&i->name);
    wipe_string(&i->locator);
    wipe_string(&i->settings);
    *i = (struct keeper_item){ 0 };
}

void keeper_start_put(struct buf *out, const struct keeper_start *s)
{
    buf_u32(out, s->flags);
    buf_u32(out, s->allow_missing);
    buf_u32(out, s->test_skip);
    buf_u32(out, s->more);
    put_string(out, s->grants_json, GRANTS_MAX);
    put_string(out, s->work_host, SECRET_LOCATOR_MAX);
    buf_u64(out, s->expires_ns);
    put_string(out, s->key_kind, NAME_MAX_ANY);
    buf_u64(out, s->epoch);
}

static bool key_kind_known(const char *kind)
{
    static const char *const kinds[] = KEEPER_KEY_KINDS;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

static bool start_possible(const struct keeper_start *s)
{
    const uint32_t all = KEEPER_CERTIFICATES | KEEPER_NEW_VAULT | KEEPER_NO_VAULT;
    bool none = s->flags & KEEPER_NO_VAULT;
    return (s->flags & ~all) == 0 && s->more <= KEEPER_MORE_MAX &&
           !(none && (s->flags & KEEPER_NEW_VAULT)) &&
           (none ? s->key_kind[0] == '\0' : key_kind_known(s->key_kind));
}

int keeper_start_get(struct cursor *c, struct keeper_start *ret, struct error *e)
{
    struct keeper_start s = { 0 };
    s.flags = cursor_u32(c);
    s.allow_missing = cursor_u32(c);
    s.test_skip = cursor_u32(c);
    s.more = cursor_u32(c);
    s.grants_json = get_string(c, GRANTS_MAX);
    s.work_host = get_string(c, SECRET_LOCATOR_MAX);
    s.expires_ns = cursor_u64(c);
    s.key_kind = get_string(c, NAME_MAX_ANY);
    s.epoch = cursor_u64(c);
    *ret = (struct keeper_start){ 0 };
    int status = finished(c, "a start of keeper", e);
    if (status == 0 && (!s.grants_json || !s.work_host || !s.key_kind))
        status = error_set(e, -ENOMEM, "no memory for the start of keeper");
    if (status == 0 && !start_possible(&s))
        status = error_set(e, -EBADMSG, "a start of keeper that cannot be");
    if (status == 0)
        *ret = s;
    else
        keeper_start_done(&s);
    return status;
}

void keeper_start_done(struct keeper_start *s)
{
    mem_free(s->grants_json);
    mem_free(s->work_host);
    mem_free(s->key_kind);
    *s = (struct keeper_start){ 0 };
}

/* ---- egress ↔ keeper ---- */

void secret_ask_put(struct buf *out, const struct secret_ask *a)
{
    buf_u64(out, a->number);
    buf_u32(out, a->rule);
    put(out, a->method, METHOD_MAX);
    put(out, a->url, URL_MAX);
    put(out, a->payload_sha256, 64);
    fields_put(out, a->fields, a->field_count, SECRET_ASK_FIELDS_MAX);
}

static bool payload_possible(struct bytes b)
{
    bool hex = b.size == 64;
    for (size_t i = 0; i < b.size && hex; i++)
        hex = (b.data[i] >= '0' && b.data[i] <= '9') || (b.data[i] >= 'a' && b.data[i] <= 'f');
    return b.size == 0 || hex || bytes_are(b, UNSIGNED_PAYLOAD);
}

int secret_ask_get(struct cursor *c, struct secret_field *fields, size_t fields_max,
                   struct secret_ask *ret, struct error *e)
{
    struct secret_ask a = { .fields = fields };
    a.number = cursor_u64(c);
    a.rule = cursor_u32(c);
    a.method = get_ascii(c, METHOD_MAX, false);
    a.url = get_ascii(c, URL_MAX, false);
    a.payload_sha256 = get_ascii(c, 64, false);
    a.field_count = fields_get(c, fields, MIN(fields_max, (size_t)SECRET_ASK_FIELDS_MAX));
    if (a.method.size == 0 || a.url.size == 0 || !payload_possible(a.payload_sha256))
        c->bad = true;
    *ret = (struct secret_ask){ 0 };
    int status = finished(c, "a question for a secret", e);
    if (status == 0)
        *ret = a;
    return status;
}

void secret_values_put(struct buf *out, const struct secret_values *v)
{
    buf_u64(out, v->number);
    if (v->count > SECRET_VALUES_OF_ASK_MAX) {
        refuse(out);
        return;
    }
    buf_u8(out, (uint8_t)v->count);
    for (size_t i = 0; i < v->count; i++) {
        const struct secret_value *one = &v->values[i];
        buf_u8(out, (uint8_t)((one->header ? 1 : 0) | (one->scrub ? 2 : 0)));
        put(out, one->name, NAME_MAX_ANY);
        put(out, one->value, SECRET_TOKEN_MAX);
    }
}

int secret_values_get(struct cursor *c, struct secret_values *ret, struct error *e)
{
    struct secret_values v = { .number = cursor_u64(c), .count = cursor_u8(c) };
    if (v.count > SECRET_VALUES_OF_ASK_MAX)
        c->bad = true;
    for (size_t i = 0; i < v.count && !c->bad; i++) {
        uint8_t flags = cursor_u8(c);
        v.values[i].header = flags & 1;
        v.values[i].scrub = flags & 2;
        v.values[i].name = get_ascii(c, NAME_MAX_ANY, false);
        v.values[i].value = get_ascii(c, SECRET_TOKEN_MAX, v.values[i].header);
        if (flags > 3 || v.values[i].name.size == 0 || v.values[i].value.size == 0)
            c->bad = true;
    }
    *ret = (struct secret_values){ 0 };
    int status = finished(c, "the answer to a question for a secret", e);
    if (status == 0)
        *ret = v;
    return status;
}

void secret_refused_put(struct buf *out, const struct secret_refused *r)
{
    buf_u64(out, r->number);
    buf_u32(out, r->reason);
    put(out, r->text, SECRET_TEXT_MAX);
}

int secret_refused_get(struct cursor *c, struct secret_refused *ret, struct error *e)
{
    struct secret_refused r = { .number = cursor_u64(c), .reason = cursor_u32(c) };
    r.text = get(c, SECRET_TEXT_MAX);
    if (r.reason == 0) /* GRANT_ALLOWED; the largest is known above this layer */
        c->bad = true;
    *ret = (struct secret_refused){ 0 };
    int status = finished(c, "a refusal of a secret", e);
    if (status == 0)
        *ret = r;
    return status;
}

void secret_mint_put(struct buf *out, const struct secret_mint *m)
{
    buf_u64(out, m->mint);
    buf_u32(out, m->shape);
    put(out, m->name, SECRET_NAME_MAX);
    put(out, m->method, METHOD_MAX);
    put(out, m->url, URL_MAX);
    put(out, m->body, SECRET_FIELD_MAX);
    put(out, m->addresses, SECRET_LOCATOR_MAX);
    fields_put(out, m->fields, m->field_count, SECRET_MINT_FIELDS_MAX);
}

int secret_mint_get(struct cursor *c, struct secret_mint *ret, struct error *e)
{
    struct secret_mint m = { .mint = cursor_u64(c), .shape = cursor_u32(c) };
    m.name = get_ascii(c, SECRET_NAME_MAX, false);
    m.method = get_ascii(c, METHOD_MAX, false);
    m.url = get_ascii(c, URL_MAX, false);
    m.body = get(c, SECRET_FIELD_MAX);
    m.addresses = get_ascii(c, SECRET_LOCATOR_MAX, true);
    m.field_count = fields_get(c, m.fields, SECRET_MINT_FIELDS_MAX);
    if (m.mint == 0 || m.shape > SECRET_SHAPE_STS || m.name.size == 0 || m.method.size == 0 ||
        m.url.size == 0)
        c->bad = true;
    *ret = (struct secret_mint){ 0 };
    int status = finished(c, "a request to a token server", e);
    if (status == 0)
        *ret = m;
    return status;
}

void secret_minted_put(struct buf *out, const struct secret_minted *m)
{
    buf_u64(out, m->mint);
    buf_u16(out, m->status);
    put(out, m->failure, SECRET_TEXT_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(m->values); i++)
        put(out, m->values[i], SECRET_TOKEN_MAX);
    buf_u64(out, m->expires_s);
}

int secret_minted_get(struct cursor *c, struct secret_minted *ret, struct error *e)
{
    struct secret_minted m = { .mint = cursor_u64(c), .status = cursor_u16(c) };
    m.failure = get(c, SECRET_TEXT_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(m.values); i++)
        m.values[i] = get_ascii(c, SECRET_TOKEN_MAX, false);
    m.expires_s = cursor_u64(c);
    /* Either it failed and there is nothing, or there is a token. */
    bool nothing = m.values[0].size + m.values[1].size + m.values[2].size == 0;
    if (m.mint == 0 || m.status > 999 || (m.failure.size > 0) != nothing ||
        (m.failure.size == 0 && m.values[0].size == 0))
        c->bad = true;
    *ret = (struct secret_minted){ 0 };
    int status = finished(c, "the answer of a token server", e);
    if (status == 0)
        *ret = m;
    return status;
}

/* ---- ingress ↔ keeper ---- */

void leaf_ask_put(struct buf *out, const struct leaf_ask *a)
{
    buf_u64(out, a->number);
    put(out, a->host, NAME_MAX_ANY);
    buf_u16(out, a->port);
}

int leaf_ask_get(struct cursor *c, struct leaf_ask *ret, struct error *e)
{
    struct leaf_ask a = { .number = cursor_u64(c) };
    a.host = get_ascii(c, NAME_MAX_ANY, false);
    a.port = cursor_u16(c);
    if (a.host.size == 0 || a.port == 0)
        c->bad = true;
    *ret = (struct leaf_ask){ 0 };
    int status = finished(c, "a question for a certificate", e);
    if (status == 0)
        *ret = a;
    return status;
}

void leaf_given_put(struct buf *out, const struct leaf_given *g)
{
    buf_u64(out, g->number);
    buf_u64(out, g->until_ns);
    put(out, g->certificate, LEAF_DER_MAX);
    put(out, g->key, LEAF_DER_MAX);
}

int leaf_given_get(struct cursor *c, struct leaf_given *ret, struct error *e)
{
    struct leaf_given g = { .number = cursor_u64(c), .until_ns = cursor_u64(c) };
    g.certificate = get(c, LEAF_DER_MAX);
    g.key = get(c, LEAF_DER_MAX);
    if (g.certificate.size == 0 || g.key.size == 0)
        c->bad = true;
    *ret = (struct leaf_given){ 0 };
    int status = finished(c, "a certificate", e);
    if (status == 0)
        *ret = g;
    return status;
}

void leaf_refused_put(struct buf *out, const struct leaf_refused *r)
{
    buf_u64(out, r->number);
    buf_u32(out, r->reason);
    put(out, r->text, SECRET_TEXT_MAX);
    put(out, r->grant, LEAF_GRANT_MAX);
}

int leaf_refused_get(struct cursor *c, struct leaf_refused *ret, struct error *e)
{
    struct leaf_refused r = { .number = cursor_u64(c), .reason = cursor_u32(c) };
    r.text = get(c, SECRET_TEXT_MAX);
    r.grant = get(c, LEAF_GRANT_MAX);
    if (r.reason == 0)
        c->bad = true;
    *ret = (struct leaf_refused){ 0 };
    int status = finished(c, "a refusal of a certificate", e);
    if (status == 0)
        *ret = r;
    return status;
}
