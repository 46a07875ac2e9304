/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placeholders. A native client reads one where it expects a token; in the header that the grant
 * names for that secret it becomes the value. Anywhere else (a path, a body, another header, another
 * secret's header, in any spelling that scrub.h knows) it is refused before it leaves: it would be of
 * no use there, and whoever put it there wanted it to be. A guessed one is refused alike, because
 * what is looked for is the prefix.
 */
#include "egress/placeholder.h"

#include <string.h>
#include <openssl/evp.h>

#include "base/digest.h"
#include "base/json.h"
#include "egress/parts.h"
#include "wire/http1.h"

#define BASIC "basic "
#define BASIC_MAX (16u << 10)
#define TOKEN_MIN (sizeof(PLACEHOLDER_PREFIX) + 16)

/* ---- pure ---- */

void placeholders_free(struct placeholder *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(all[i].name);
        mem_free(all[i].token);
    }
    mem_free(all);
}

static int parse(json_t *object, struct placeholder *all, size_t *count, struct error *e)
{
    const char *name;
    json_t *token;
    json_object_foreach(object, name, token)
    {
        const char *text = json_string_value(token);
        struct placeholder *p = &all[(*count)++];
        if (!text || strlen(text) < TOKEN_MIN ||
            strncmp(text, PLACEHOLDER_PREFIX, strlen(PLACEHOLDER_PREFIX)) != 0)
            return error_set(e, -EBADMSG, "a placeholder that is none");
        p->name = mem_strdup(name);
        p->token = mem_strdup(text);
        if (!p->name || !p->token)
            return error_set(e, -ENOMEM, "no memory for placeholders");
    }
    return 0;
}

int placeholders_parse(const char *json, struct placeholder **ret, size_t *ret_count,
                       struct error *e)
{
    *ret = NULL;
    *ret_count = 0;
    if (json[0] == '\0')
        return 0;
    CLEANUP(json_freep) json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    size_t most = json_object_size(object), count = 0;
    if (!json_is_object(object) || most > EGRESS_PLACEHOLDERS_MAX)
        return error_set(e, -EBADMSG, "placeholders that cannot be read");
    struct placeholder *all = mem_array(most + 1, sizeof(*all));
    int status = all ? parse(object, all, &count, e) : -ENOMEM;
    if (status < 0) {
        placeholders_free(all, count);
        return status;
    }
    *ret = all;
    *ret_count = count;
    return 0;
}

static int fill_plain(struct bytes value, const struct placeholder *all, size_t count,
                      placeholder_value value_of, void *context, struct buf *out)
{
    int filled = 0;
    static const char prefix[] = PLACEHOLDER_PREFIX;
    for (size_t at = 0; at < value.size;) {
        const struct placeholder *found = NULL;
        /* Few bytes are the begin of one: a long value is not compared with each of them at each place. */
        bool begins = value.size - at >= sizeof(prefix) - 1 &&
                      memcmp(value.data + at, prefix, sizeof(prefix) - 1) == 0;
        for (size_t i = 0; begins && i < count && !found; i++) {
            size_t size = strlen(all[i].token);
            if (value.size - at >= size && memcmp(value.data + at, all[i].token, size) == 0)
                found = &all[i];
        }
        struct bytes with = found ? value_of(context, found->name) : (struct bytes){ 0 };
        if (with.data) {
            buf_append(out, with.data, with.size);
            at += strlen(found->token);
            filled++;
        } else {
            buf_append(out, value.data + at++, 1);
        }
    }
    return filled;
}

static bool decode_basic(struct bytes value, struct buf *out)
{
    size_t begin = strlen(BASIC), size = value.size - begin, padding = 0;
    uint8_t plain[BASIC_MAX];
    if (size == 0 || size % 4 != 0 || size > BASIC_MAX)
        return false;
    while (padding < 2 && value.data[value.size - 1 - padding] == '=')
        padding++;
    int got = EVP_DecodeBlock(plain, value.data + begin, (int)size);
    if (got < 0)
        return false;
    buf_append(out, plain, (size_t)got - padding);
    return buf_status(out) == 0;
}

static void put_basic(struct bytes plain, struct buf *out)
{
    struct bytes rest = plain;
    buf_puts(out, "Basic ");
    while (rest.size > 0) { /* 48 bytes are 64 characters */
        uint8_t text[65];
        int size = (int)MIN(rest.size, (size_t)48);
        int put = EVP_EncodeBlock(text, rest.data, size);
        buf_append(out, text, (size_t)put);
        mem_wipe(text, sizeof(text));
        rest = (struct bytes){ rest.data + size, rest.size - (size_t)size };
    }
}

int placeholder_fill(struct bytes value, const struct placeholder *all, size_t count,
                     placeholder_value value_of, void *context, struct buf *out)
{
    CLEANUP(buf_done) struct buf plain = BUF_INIT(BASIC_MAX), filled = BUF_INIT(HTTP_HEAD_MAX);
    struct bytes scheme = { value.data, MIN(value.size, strlen(BASIC)) };
    if (bytes_equal_fold(scheme, BASIC) && decode_basic(value, &plain)) {
        int n = fill_plain((struct bytes){ plain.data, plain.size }, all, count, value_of, context,
                           &filled);
        if (n > 0 && buf_status(&filled) == 0)
            put_basic((struct bytes){ filled.data, filled.size }, out);
        if (filled.data)
            mem_wipe(filled.data, filled.capacity);
        if (n > 0)
            return buf_status(&filled) < 0 ? buf_status(&filled) : n;
    }
    return fill_plain(value, all, count, value_of, context, out);
}

/* ---- in requests ---- */

static bool wanted(const struct outgoing *x)
{
#ifdef AMBIT_TEST_HOOKS
    if (x->peer->room->skip & EGRESS_SKIP_PLACEHOLDER)
        return false;
#endif
    return (x->peer->flags & EGRESS_LINK_EXPLAINS) && x->peer->room->placeholder_count > 0;
}

static void refuse(struct outgoing *x)
{
    outgoing_refuse(x, GRANT_PLACEHOLDER, x->rule, grant_reason_text(GRANT_PLACEHOLDER));
}

/* The room's own, for texts that are there whole; others are made like it. NULL: no memory. */
static struct scrub *scanner_of(struct egress_room *room)
{
    struct bytes prefix = bytes_of(PLACEHOLDER_PREFIX);
    uint64_t seed;
    if (!room->scanner && (random_bytes(&seed, sizeof(seed)) < 0 ||
                           scrub_new(&prefix, 1, seed, &room->scanner, NULL) < 0))
        return NULL;
    return room->scanner;
}

/* Looks at a text of the request; true: there is one in it, or it cannot be looked at. */
static bool holds(const struct outgoing *x, struct bytes text)
{
    struct scrub *scanner = scanner_of(x->peer->room);
    CLEANUP(mem_freep) char *copy = mem_strndup((const char *)text.data, text.size);
    return !copy || !scanner || scrub_text(scanner, (uint8_t *)copy, text.size);
}

/* The same of a name, which comes in small letters. */
static bool name_holds(struct outgoing *x, struct bytes name)
{
    CLEANUP(mem_freep) char *copy = mem_strndup((const char *)name.data, name.size);
    for (size_t i = 0; copy && i < name.size; i++)
        copy[i] = copy[i] >= 'a' && copy[i] <= 'z' ? (char)(copy[i] - 32) : copy[i];
    return !copy || holds(x, name) || holds(x, (struct bytes){ (uint8_t *)copy, name.size });
}

struct slot {
    const char *template;
    const struct outgoing *x;
};

static bool names(const char *template, const char *name)
{
    struct grant_template_part part;
    while (grant_template_next(&template, &part) > 0)
        if (bytes_are(part.secret, name))
            return true;
    return false;
}

static struct bytes nothing_for(void *context, const char *name)
{
    const struct slot *slot = context;
    return names(slot->template, name) ? bytes_of("") : (struct bytes){ 0 };
}

static struct bytes value_for(void *context, const char *name)
{
    const struct slot *slot = context;
    if (!names(slot->template, name))
        return (struct bytes){ 0 };
    return secrets_value(slot->x, bytes_of(name));
}

/* The set header of this name that holds a secret, or NULL. */
static const char *template_of(const struct outgoing *x, struct bytes name)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    for (size_t i = 0; i < g->http.set_count; i++)
        if (bytes_are(name, g->http.set[i].key) && grant_template_has_secret(g->http.set[i].value))
            return g->http.set[i].value;
    return NULL;
}

/* A field's value without those that may be there. */
static bool field_holds(struct outgoing *x, const struct http_field *f)
{
    const struct egress_room *room = x->peer->room;
    CLEANUP(buf_done) struct buf rest = BUF_INIT(2 * HTTP_HEAD_MAX);
    struct slot slot = { template_of(x, f->name), x };
    if (name_holds(x, f->name))
        return true;
    if (!slot.template)
        return holds(x, f->value);
    if (placeholder_fill(f->value, room->placeholders, room->placeholder_count, nothing_for, &slot,
                         &rest) < 0 ||
        buf_status(&rest) < 0)
        return true;
    return holds(x, (struct bytes){ rest.data, rest.size });
}

void placeholders_in_target(struct outgoing *x)
{
    if (wanted(x) && (name_holds(x, x->request.authority) || holds(x, x->request.target)))
        refuse(x);
}

void placeholders_in_head(struct outgoing *x)
{
    if (!wanted(x))
        return;
    for (size_t i = 0; i < x->request.field_count && !x->failed; i++)
        if (field_holds(x, &x->request.fields[i]))
            refuse(x);
}

/* A body has a scanner of its own: it holds back what came last. */
static bool body_scanner(struct outgoing *x)
{
    struct scrub *model = scanner_of(x->peer->room);
    if (x->scanner || (model && scrub_like(model, &x->scanner) == 0))
        return true;
    outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for a request");
    return false;
}

void placeholders_in_body(struct outgoing *x, struct bytes b, struct buf *out)
{
    if (!wanted(x)) {
        buf_append(out, b.data, b.size);
        return;
    }
    if (!body_scanner(x))
        return;
    size_t before = out->size;
    scrub_push(x->scanner, b, out);
    if (scrub_found(x->scanner) == 0)
        return;
    out->size = before; /* nothing of this piece goes */
    refuse(x);
}

void placeholders_at_end(struct outgoing *x, struct buf *out)
{
    if (!x->scanner)
        return;
    size_t before = out->size;
    scrub_end(x->scanner, out);
    if (scrub_found(x->scanner) == 0)
        return;
    out->size = before;
    refuse(x);
}

void placeholders_in_trailers(struct outgoing *x, const struct http_field *fields, size_t count)
{
    if (!wanted(x))
        return;
    for (size_t i = 0; i < count && !x->failed; i++)
        if (name_holds(x, fields[i].name) || holds(x, fields[i].value))
            refuse(x);
}

bool placeholders_in_text(struct outgoing *x, struct bytes text)
{
    if (!wanted(x))
        return false;
    if (holds(x, text))
        refuse(x);
    return x->failed;
}

int placeholder_header(const struct outgoing *x, const struct http_field *set, struct buf *out)
{
    const struct egress_room *room = x->peer->room;
    struct slot slot = { (const char *)set->value.data, x };
    for (size_t i = 0; wanted(x) && i < x->request.field_count; i++) {
        const struct http_field *f = &x->request.fields[i];
        if (!bytes_equal(f->name, set->name))
            continue;
        buf_clear(out);
        int filled = placeholder_fill(f->value, room->placeholders, room->placeholder_count,
                                      value_for, &slot, out);
        if (filled != 0)
            return filled;
    }
    buf_clear(out);
    return 0;
}
