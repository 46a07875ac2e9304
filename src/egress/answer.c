/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer to a request with secrets goes through: scrub.h for its fields, body and trailers.
 * Such a request asks for no coding; a body that is packed nevertheless is unpacked first, within
 * bounds, and goes on without its coding. A coding that cannot be unpacked ends the exchange.
 */
#include <string.h>
#include <zlib.h>

#include "base/digest.h"
#include "egress/parts.h"
#include "wire/http1.h"

#define UNPACKED_STEP (256u << 10) /* that may wait for the reader before more is unpacked */
#define RATIO_MAX 1000             /* of bytes that came */
#define FREE_BYTES (1u << 20)      /* before the ratio counts */

#ifdef AMBIT_TEST_HOOKS
#define SHOWS(x) (((x)->peer->room->skip & EGRESS_SKIP_SCRUB) != 0)
#else
#define SHOWS(x) false
#endif

/* The secret behind a header that keeper made: the one that the rule's templates name. */
static struct bytes name_of(const struct outgoing *x, const struct secret_value *v)
{
    const struct grant *g = grant_rules_grant(x->peer->room->grants.rules, x->rule);
    if (!v->header)
        return v->name;
    for (size_t i = 0; i < g->http.set_count; i++) {
        const char *at = g->http.set[i].value;
        struct grant_template_part part;
        while (grant_template_next(&at, &part) > 0)
            if (part.secret.size)
                return part.secret;
    }
    return v->name;
}

int answer_guard(struct outgoing *x, const struct secret_values *values)
{
    struct injected *in = x->injected;
    struct bytes masked[SCRUB_VALUES_MAX];
    size_t count = 0;
    uint64_t seed;
    _Static_assert(SECRET_VALUES_OF_ASK_MAX <= SCRUB_VALUES_MAX, "each has a place");
    for (size_t i = 0; i < values->count; i++) {
        const struct secret_value *v = &values->values[i];
        struct bytes name = name_of(x, v);
        if (!v->scrub)
            continue;
        size_t size = MIN(name.size, sizeof(in->names[0]) - 1);
        memcpy(in->names[count], name.data, size);
        masked[count++] = v->value;
    }
    int status = random_bytes(&seed, sizeof(seed));
    if (status == 0)
        status = scrub_new(masked, count, seed, &in->scrub, NULL);
    if (status == 0)
        status = scrub_like(in->scrub, &in->texts);
    mem_wipe(masked, sizeof(masked));
    return status;
}

static void tell_echoes(struct outgoing *x)
{
    struct injected *in = x->injected;
    uint32_t fresh = (scrub_found(in->scrub) | scrub_found(in->texts)) & ~in->told;
    in->told |= fresh;
    for (size_t i = 0; i < SCRUB_VALUES_MAX; i++) {
        bool before = false; /* two values of one secret */
        for (size_t k = 0; k < i; k++)
            before |= (in->told & (1u << k)) && strcmp(in->names[k], in->names[i]) == 0;
        if ((fresh & (1u << i)) && !before)
            secrets_echoed(x->peer->room, in->names[i]);
    }
}

static bool guarded(const struct outgoing *x)
{
    return x->injected && x->injected->texts && !SHOWS(x);
}

void answer_text(struct outgoing *x, uint8_t *text, size_t size)
{
    if (!guarded(x))
        return;
    if (scrub_text(x->injected->texts, text, size))
        tell_echoes(x);
}

uint32_t answer_masked(const struct outgoing *x)
{
    return guarded(x) ? scrub_places(x->injected->scrub) + scrub_places(x->injected->texts) : 0;
}

/* ---- head ---- */

static enum scrub_border border_of(struct bytes type)
{
    static const struct {
        const char *type;
        enum scrub_border border;
    } rows[] = { { "text/event-stream", SCRUB_EVENT },
                 { "application/x-ndjson", SCRUB_LINE },
                 { "application/ndjson", SCRUB_LINE },
                 { "application/jsonl", SCRUB_LINE },
                 { "application/json-seq", SCRUB_LINE } };
    const uint8_t *end = type.size ? memchr(type.data, ';', type.size) : NULL;
    size_t size = end ? (size_t)(end - type.data) : type.size;
    while (size > 0 && (type.data[size - 1] == ' ' || type.data[size - 1] == '\t'))
        size--;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (bytes_equal_fold((struct bytes){ type.data, size }, rows[i].type))
            return rows[i].border;
    return SCRUB_NOWHERE;
}

static bool unpack(struct outgoing *x)
{
    struct injected *in = x->injected;
    in->unpacker = mem_zalloc(sizeof(*in->unpacker));
    if (in->unpacker && inflateInit2(in->unpacker, 15 + 32) == Z_OK) /* gzip and zlib */
        return true;
    mem_free(TAKE(in->unpacker));
    outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for unpacking the answer");
    return false;
}

bool answer_field(struct outgoing *x, const struct http_field *f)
{
    if (!guarded(x) || x->no_body)
        return true;
    if (bytes_are(f->name, "content-type"))
        scrub_border(x->injected->scrub, border_of(f->value));
    if (!bytes_are(f->name, "content-encoding") || bytes_equal_fold(f->value, "identity"))
        return true;
    if (!x->injected->unpacker &&
        (bytes_equal_fold(f->value, "gzip") || bytes_equal_fold(f->value, "x-gzip") ||
         bytes_equal_fold(f->value, "deflate")))
        return unpack(x);
    outgoing_fail(x, HTTP_ERROR_RESPONSE_CONTENT_CODING,
                  "the answer has a content coding in which a secret cannot be looked for");
    return false;
}

bool answer_drops(const struct outgoing *x, struct bytes name)
{
    return guarded(x) && x->injected->unpacker &&
           (bytes_are(name, "content-encoding") || bytes_are(name, "content-length"));
}

/* ---- body ---- */

static bool put(struct outgoing *x, struct bytes b, struct buf *out)
{
    scrub_push(x->injected->scrub, b, out);
    tell_echoes(x);
    if (buf_status(out) == 0)
        return true;
    outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for the answer's body");
    return false;
}

/* How many bytes came out, altogether, is bounded by the grant and by how many came in. */
static bool unpacked_fits(struct outgoing *x, size_t size)
{
    struct injected *in = x->injected;
    uint64_t max = grant_rules_grant(x->peer->room->grants.rules, x->rule)->http.max_response_bytes;
    in->unpacked += size;
    if (in->unpacked > max) {
        outgoing_refuse(x, GRANT_TOO_LARGE, x->rule, grant_reason_text(GRANT_TOO_LARGE));
        x->failure.error = HTTP_ERROR_RESPONSE_BODY_SIZE;
        x->failure.number = max;
    } else if (in->unpacked > FREE_BYTES && in->unpacked / RATIO_MAX > in->packed) {
        outgoing_fail(x, HTTP_ERROR_RESPONSE_BODY_SIZE,
                      "the answer unpacks to more than a thousand times its size");
    }
    return !x->failed;
}

/* As much of `b` as UNPACKED_STEP allows: how many bytes that were. */
static size_t put_packed(struct outgoing *x, struct bytes b, struct buf *out)
{
    uint8_t block[16384];
    struct injected *in = x->injected;
    z_stream *z = in->unpacker;
    z->next_in = (uint8_t *)b.data;
    z->avail_in = (uInt)b.size;
    do {
        if (in->unpacked_whole && z->avail_in > 0) { /* another member */
            if (inflateReset(z) != Z_OK)
                break;
            in->unpacked_whole = false;
        }
        uInt before = z->avail_in;
        z->next_out = block;
        z->avail_out = sizeof(block);
        int status = inflate(z, Z_NO_FLUSH);
        size_t size = sizeof(block) - z->avail_out;
        in->packed += before - z->avail_in;
        in->unpacked_whole = status == Z_STREAM_END;
        if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
            outgoing_fail(x, HTTP_ERROR_RESPONSE_CONTENT_CODING, "the answer cannot be unpacked");
        if (x->failed || !unpacked_fits(x, size) || !put(x, (struct bytes){ block, size }, out))
            break;
        /* Of what went in, a few bytes may still be inside: their part is small. */
    } while (z->avail_in == 0 ? z->avail_out == 0 : out->size < UNPACKED_STEP);
    mem_wipe(block, sizeof(block));
    return b.size - z->avail_in;
}

size_t answer_body(struct outgoing *x, struct bytes b, struct buf *out)
{
    struct injected *in = x->injected;
    if (!guarded(x)) {
        buf_append(out, b.data, b.size);
        return b.size;
    }
    in->body_begun = true;
    if (!in->unpacker) {
        (void)put(x, b, out);
        return b.size;
    }
    return put_packed(x, b, out);
}

void answer_unit(struct outgoing *x, struct buf *out)
{
    if (!guarded(x))
        return;
    scrub_end(x->injected->scrub, out);
    tell_echoes(x);
}

void answer_end(struct outgoing *x)
{
    struct injected *in = x->injected;
    if (!guarded(x) || !in->body_begun || in->body_over)
        return;
    in->body_over = true;
    if (in->unpacker && !in->unpacked_whole && !x->failed)
        outgoing_fail(x, HTTP_ERROR_RESPONSE_CONTENT_CODING, "the packed answer is cut short");
    scrub_end(in->scrub, &x->out.bytes);
    tell_echoes(x);
    if (buf_status(&x->out.bytes) < 0)
        outgoing_fail(x, HTTP_ERROR_INTERNAL, "no memory for the answer's body");
}

void injected_free(struct injected *in)
{
    if (!in)
        return;
    scrub_free(in->scrub);
    scrub_free(in->texts);
    if (in->unpacker) {
        (void)inflateEnd(in->unpacker);
        mem_wipe(in->unpacker, sizeof(*in->unpacker));
    }
    mem_free(in->unpacker);
    mem_free(in);
}
