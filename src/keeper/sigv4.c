/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4 in headers, as AWS describes it ("Create a signed AWS API request"):
 *
 *   canonical request → its digest, in the string to sign → HMAC with a key of the day, the region
 *   and the service → Authorization
 *
 * S3 reads a path once (a key may hold every byte), so its canonical URI is the decoded path,
 * encoded once; everybody else's is the path as it is sent, encoded again. Every header that goes
 * out is signed, but those that a connection, not a request, is about, and what libraries between
 * change at will.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/encode.h"
#include "keeper/parts.h"
#include "wire/http1.h"

#define NAMES_MAX (64u << 10)
#define QUERY_PARTS_MAX 1024
#define FIELDS_MAX (SECRET_ASK_FIELDS_MAX + 4)

/* ---- encoding ---- */

static void put_encoded(struct buf *out, uint8_t c)
{
    percent_put(out, c, "-._~");
}

/* The byte at *at, an escape being one; moves behind it. */
static uint8_t take_byte(struct bytes text, size_t *at)
{
    uint8_t c = text.data[(*at)++];
    if (c != '%' || *at + 2 > text.size)
        return c;
    int high = hex_value(text.data[*at]), low = hex_value(text.data[*at + 1]);
    if (high < 0 || low < 0)
        return c;
    *at += 2;
    return (uint8_t)(high << 4 | low);
}

static void put_path(struct buf *out, struct bytes path, bool once)
{
    uint8_t before = 0;
    if (path.size == 0)
        buf_putc(out, '/');
    for (size_t at = 0; at < path.size;) {
        uint8_t c = once ? take_byte(path, &at) : path.data[at++];
        if (c != '/')
            put_encoded(out, c);
        else if (once || before != '/') /* empty segments are names to S3 alone */
            buf_putc(out, '/');
        before = c;
    }
}

/* One side of a query's pair. A "+" is a space to AWS, as in a form. */
static void put_query_text(struct buf *out, struct bytes text)
{
    for (size_t at = 0; at < text.size;) {
        bool plus = text.data[at] == '+';
        uint8_t c = take_byte(text, &at);
        put_encoded(out, plus ? ' ' : c);
    }
}

struct query_part { /* encoded: places in the buffer of all parts */
    size_t name, name_size, value, value_size;
    const struct buf *of;
};

static int compare_text(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    int order = memcmp(a, b, MIN(a_size, b_size));
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_parts(const void *one, const void *two)
{
    const struct query_part *a = one, *b = two;
    const uint8_t *text = a->of->data;
    int order = compare_text(text + a->name, a->name_size, text + b->name, b->name_size);
    return order ? order
                 : compare_text(text + a->value, a->value_size, text + b->value, b->value_size);
}

static struct query_part encode_part(struct buf *all, struct bytes part)
{
    const uint8_t *equal = memchr(part.data, '=', part.size);
    size_t name_size = equal ? (size_t)(equal - part.data) : part.size;
    struct query_part p = { .of = all, .name = all->size };
    put_query_text(all, (struct bytes){ part.data, name_size });
    p.name_size = all->size - p.name;
    p.value = all->size;
    if (equal)
        put_query_text(all, (struct bytes){ equal + 1, part.size - name_size - 1 });
    p.value_size = all->size - p.value;
    return p;
}

static int put_query(struct buf *out, struct bytes query, struct error *e)
{
    CLEANUP(buf_done) struct buf all = BUF_INIT(3 * query.size + 1);
    CLEANUP(mem_freep) struct query_part *parts = mem_array(QUERY_PARTS_MAX, sizeof(*parts));
    size_t count = 0;
    if (!parts)
        return error_set(e, -ENOMEM, "no memory to sign a request");
    buf_append(&all, "", 0);
    for (size_t at = 0; at < query.size;) {
        const uint8_t *end = memchr(query.data + at, '&', query.size - at);
        size_t size = end ? (size_t)(end - query.data) - at : query.size - at;
        if (size && count == QUERY_PARTS_MAX)
            return error_set(e, -E2BIG, "the query has too many parts to be signed");
        if (size)
            parts[count++] = encode_part(&all, (struct bytes){ query.data + at, size });
        at += size + 1;
    }
    int status = buf_status(&all);
    if (status < 0)
        return error_set(e, status, "no memory to sign a request");
    qsort(parts, count, sizeof(*parts), compare_parts);
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_putc(out, '&');
        buf_append(out, all.data + parts[i].name, parts[i].name_size);
        buf_putc(out, '=');
        buf_append(out, all.data + parts[i].value, parts[i].value_size);
    }
    return 0;
}

/* ---- headers ---- */

static bool is_signed(struct bytes name)
{
    static const char *const left_out[] = {
        "authorization",
        "content-length",
        "expect",
        "host",
        "proxy-authorization",
        "trailer",
        "user-agent",
        "x-amzn-trace-id",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-content-sha256",
    };
    for (size_t i = 0; i < ARRAY_SIZE(left_out); i++)
        if (bytes_are(name, left_out[i]))
            return false;
    return !http1_name_of_connection(name);
}

struct signed_field {
    struct bytes name, value;
    size_t at; /* equal names stay in their order */
};

static int compare_fields(const void *one, const void *two)
{
    const struct signed_field *a = one, *b = two;
    int order = compare_text(a->name.data, a->name.size, b->name.data, b->name.size);
    return order ? order : (a->at > b->at) - (a->at < b->at);
}

/* Without blanks around it, and one for each run within. */
static void put_trimmed(struct buf *out, struct bytes value)
{
    bool blank = false, any = false;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == ' ' || value.data[i] == '\t') {
            blank = true;
            continue;
        }
        if (blank && any)
            buf_putc(out, ' ');
        buf_putc(out, (char)value.data[i]);
        blank = false;
        any = true;
    }
}

static void put_fields(struct buf *out, struct buf *names, struct signed_field *fields,
                       size_t count)
{
    qsort(fields, count, sizeof(*fields), compare_fields);
    for (size_t i = 0; i < count; i++) {
        bool again = i && bytes_equal(fields[i].name, fields[i - 1].name);
        if (again) {
            buf_putc(out, ',');
        } else {
            if (i) {
                buf_putc(out, '\n');
                buf_putc(names, ';');
            }
            buf_append(names, fields[i].name.data, fields[i].name.size);
            buf_append(out, fields[i].name.data, fields[i].name.size);
            buf_putc(out, ':');
        }
        put_trimmed(out, fields[i].value);
    }
    buf_putc(out, '\n');
}

static void add(struct signed_field *fields, size_t *count, struct bytes name, struct bytes value)
{
    fields[*count] = (struct signed_field){ name, value, *count };
    ++*count;
}

/* Header lines into `out`, their names into `names`. */
static int put_headers(const struct sigv4_request *q, const char *date, struct bytes host,
                       struct buf *out, struct buf *names, struct error *e)
{
    CLEANUP(mem_freep) struct signed_field *fields = mem_array(FIELDS_MAX, sizeof(*fields));
    size_t count = 0;
    if (!fields)
        return error_set(e, -ENOMEM, "no memory to sign a request");
    if (q->field_count > SECRET_ASK_FIELDS_MAX)
        return error_set(e, -E2BIG, "the request has too many headers to be signed");
    for (size_t i = 0; i < q->field_count; i++)
        if (is_signed(q->fields[i].name))
            add(fields, &count, q->fields[i].name, q->fields[i].value);
    add(fields, &count, bytes_of("host"), host);
    add(fields, &count, bytes_of("x-amz-date"), bytes_of(date));
    if (q->session.size)
        add(fields, &count, bytes_of("x-amz-security-token"), q->session);
    if (sigv4_is_s3(q->service))
        add(fields, &count, bytes_of("x-amz-content-sha256"), q->payload);
    put_fields(out, names, fields, count);
    return 0;
}

/* ---- signing ---- */

bool sigv4_is_s3(const char *service)
{
    return strcmp(service, "s3") == 0 || strcmp(service, "s3-object-lambda") == 0;
}

struct url_parts {
    struct bytes host, path, query;
};

/* The URL is canonical, or was put together by us: it has a host, and no fragment. */
static bool split_url(struct bytes url, struct url_parts *ret)
{
    const uint8_t *at = memmem(url.data, url.size, "://", 3), *end = url.data + url.size;
    if (!at)
        return false;
    at += 3;
    const uint8_t *mark = memchr(at, '?', (size_t)(end - at));
    const uint8_t *path_end = mark ? mark : end;
    const uint8_t *slash = memchr(at, '/', (size_t)(path_end - at));
    const uint8_t *host_end = slash ? slash : path_end;
    ret->host = (struct bytes){ at, (size_t)(host_end - at) };
    ret->path = (struct bytes){ host_end, (size_t)(path_end - host_end) };
    ret->query =
        mark ? (struct bytes){ mark + 1, (size_t)(end - mark - 1) } : (struct bytes){ path_end, 0 };
    return ret->host.size > 0;
}

static int hash_hex(struct bytes text, char ret[static DIGEST_TEXT_SIZE], struct error *e)
{
    struct digest d;
    char full[DIGEST_TEXT_SIZE];
    int r = digest_bytes(text.data, text.size, &d, e);
    if (r < 0)
        return r;
    digest_text(&d, full);
    memcpy(ret, full + strlen("sha256:"), DIGEST_TEXT_SIZE - strlen("sha256:"));
    return 0;
}

/* HMAC over HMAC: the secret, the day, the region, the service, "aws4_request", the text. */
static int sign_text(const struct sigv4_request *q, const char *day, struct bytes text,
                     char ret[static DIGEST_TEXT_SIZE], struct error *e)
{
    const struct bytes steps[] = { bytes_of(day), bytes_of(q->region), bytes_of(q->service),
                                   bytes_of("aws4_request"), text };
    struct digest key = { 0 };
    struct secret_bytes first = { mem_alloc(4 + q->secret.size), 4 + q->secret.size };
    if (!first.data)
        return error_set(e, -ENOMEM, "no memory to sign a request");
    memcpy(first.data, "AWS4", 4);
    memcpy(first.data + 4, q->secret.data, q->secret.size);
    int r = digest_hmac(first.data, first.size, steps[0].data, steps[0].size, &key, e);
    mem_wipe(first.data, first.size);
    mem_free(first.data);
    for (size_t i = 1; r == 0 && i < ARRAY_SIZE(steps); i++) {
        struct digest next = { 0 };
        r = digest_hmac(key.bytes, sizeof(key.bytes), steps[i].data, steps[i].size, &next, e);
        key = next;
        mem_wipe(&next, sizeof(next));
    }
    if (r == 0) {
        char full[DIGEST_TEXT_SIZE];
        digest_text(&key, full);
        memcpy(ret, full + strlen("sha256:"), DIGEST_TEXT_SIZE - strlen("sha256:"));
    }
    mem_wipe(&key, sizeof(key));
    return r;
}

static int put_canonical(const struct sigv4_request *q, const char *date, struct buf *out,
                         struct buf *names, struct error *e)
{
    struct url_parts url;
    if (!split_url(q->url, &url))
        return error_set(e, -EINVAL, "a request without a host cannot be signed");
    buf_append(out, q->method.data, q->method.size);
    buf_putc(out, '\n');
    put_path(out, url.path, sigv4_is_s3(q->service));
    buf_putc(out, '\n');
    int r = put_query(out, url.query, e);
    if (r < 0)
        return r;
    buf_putc(out, '\n');
    r = put_headers(q, date, url.host, out, names, e);
    if (r < 0)
        return r;
    buf_putc(out, '\n');
    buf_append(out, names->data, names->size);
    buf_putc(out, '\n');
    buf_append(out, q->payload.data, q->payload.size);
    r = buf_status(out) < 0 ? buf_status(out) : buf_status(names);
    return r < 0 ? error_set(e, r, "the request is too large to be signed") : 0;
}

/* Each byte of the URL is three at most, each part of its query has a "=" of its own. */
static size_t canonical_max(const struct sigv4_request *q)
{
    size_t max = 4 * q->url.size + q->method.size + q->session.size + NAMES_MAX + 1024;
    for (size_t i = 0; i < q->field_count && i < SECRET_ASK_FIELDS_MAX; i++)
        max += q->fields[i].name.size + q->fields[i].value.size + 2;
    return max;
}

int sigv4_sign(const struct sigv4_request *q, char ret_date[static SIGV4_DATE_SIZE],
               struct buf *authorization, struct error *e)
{
    CLEANUP(secret_buf_done) struct buf canonical = { 0 }; /* the session token is in it */
    CLEANUP(buf_done) struct buf names = BUF_INIT(NAMES_MAX);
    CLEANUP(buf_done) struct buf scope = BUF_INIT(1024), text = BUF_INIT(2048);
    char hex[DIGEST_TEXT_SIZE], day[SIGV4_DATE_SIZE];
    time_t now = (time_t)q->now_s;
    struct tm utc;
    if (!gmtime_r(&now, &utc) || !strftime(ret_date, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &utc))
        return error_set(e, -ERANGE, "the clock shows a time that cannot be signed");
    snprintf(day, sizeof(day), "%.8s", ret_date);
    int r = secret_buf(&canonical, canonical_max(q), e);
    if (r == 0)
        r = put_canonical(q, ret_date, &canonical, &names, e);
    if (r == 0)
        r = hash_hex((struct bytes){ canonical.data, canonical.size }, hex, e);
    if (r < 0)
        return r;
    buf_printf(&scope, "%s/%s/%s/aws4_request", day, q->region, q->service);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", ret_date, buf_cstr(&scope), hex);
    if (buf_status(&scope) < 0 || buf_status(&text) < 0)
        return error_set(e, -ENOMEM, "no memory to sign a request");
    r = sign_text(q, day, (struct bytes){ text.data, text.size }, hex, e);
    if (r < 0)
        return r;
    buf_puts(authorization, "AWS4-HMAC-SHA256 Credential=");
    buf_append(authorization, q->key_id.data, q->key_id.size);
    buf_printf(authorization, "/%s, SignedHeaders=%s, Signature=%s", buf_cstr(&scope),
               buf_cstr(&names), hex);
    r = buf_status(authorization);
    return r < 0 ? error_set(e, r, "the request has too many headers to be signed") : 0;
}
