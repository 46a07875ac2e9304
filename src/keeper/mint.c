/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is made of a secret before it is used: nothing (plain), a token of a token server (GitHub App,
 * OAuth 2), or a signature (AWS). Keeper says what is to be asked and egress asks it; of a GitHub
 * App's key and of AWS's keys egress sees signatures alone, an OAuth client's secret is what that
 * protocol sends.
 *
 * Nothing that came from a token server is believed because egress passed it on: egress is the room
 * that talks to the network.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/text.h"
#include "keeper/parts.h"

#define TOKEN_EARLY_S 60        /* before its end it is no longer given */
#define TOKEN_UNSAID_S 300      /* that is kept when its server does not say how long */
#define TOKEN_LIFE_MAX_S 3600   /* that one is kept, whatever its server says */
#define REQUEST_MAX (64u << 10) /* bytes of scratch that a request takes at most */
#define STS_VERSION "2011-06-15"
#define GITHUB_URL "https://api.github.com"
#define FORM "application/x-www-form-urlencoded"
#define USER_AGENT "ambit/" AMBIT_VERSION

/* ---- values ---- */

static bool is_token(struct bytes b, size_t max)
{
    for (size_t i = 0; i < b.size; i++)
        if (b.data[i] <= ' ' || b.data[i] > '~')
            return false;
    return b.size >= SECRET_VALUE_MIN && b.size <= max;
}

static int check_plain(struct bytes value, struct error *e)
{
    if (is_token(value, SECRET_VALUE_MAX))
        return 0;
    if (value.size < SECRET_VALUE_MIN) {
        if (value.size == 0)
            error_hint(e, "nothing came from where it should: look at the file, variable, command "
                          "or pipe");
        else
            error_hint(e, "have its server make a longer one; such a short one cannot be told "
                          "from text in answers");
        return error_set(e, -EINVAL, "the value is %s %d bytes: it could be guessed",
                         value.size == 0 ? "empty, and shorter than" : "shorter than",
                         SECRET_VALUE_MIN);
    }
    if (value.size > SECRET_VALUE_MAX)
        error_set(e, -EINVAL, "the value is longer than %d bytes", SECRET_VALUE_MAX);
    else
        error_set(e, -EINVAL, "the value has a space, a line's end, or a byte that is not ASCII");
    error_hint(e, "a value is one line of visible ASCII: what a header can carry");
    return -EINVAL;
}

struct aws_keys {
    struct bytes id, secret;
};

static bool aws_keys_of(struct bytes value, struct aws_keys *ret)
{
    const uint8_t *space = value.size ? memchr(value.data, ' ', value.size) : NULL;
    if (!space)
        return false;
    ret->id = (struct bytes){ value.data, (size_t)(space - value.data) };
    ret->secret = (struct bytes){ space + 1, value.size - ret->id.size - 1 };
    for (size_t i = 0; i < ret->id.size; i++) {
        uint8_t c = ret->id.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return ret->id.size >= 16 && ret->id.size <= 128 && is_token(ret->secret, 256);
}

static int check_aws(struct bytes value, struct error *e)
{
    struct aws_keys keys;
    if (aws_keys_of(value, &keys))
        return 0;
    error_set(e, -EINVAL, "the value is not an access key id and a secret access key");
    error_hint(e, "give both on one line, with one space between them");
    return -EINVAL;
}

int mint_check(const struct keeper_item *i, struct bytes value, struct error *e)
{
    CLEANUP(json_freep) json_t *settings = NULL;
    int r = settings_read(i, &settings, e);
    if (r < 0 || !value.data)
        return r;
    switch ((enum secret_kind)i->kind) {
    case SECRET_GITHUB_APP:
        return jwt_key_check(value, e);
    case SECRET_AWS:
    case SECRET_AWS_ROLE:
        return check_aws(value, e);
    case SECRET_PLAIN:
    case SECRET_OAUTH_CLIENT:
    case SECRET_OAUTH_EXCHANGE:
    case SECRET_KIND_COUNT:
        break;
    }
    return check_plain(value, e);
}

bool mint_wanted(const struct keeper_value *v, uint64_t now_s)
{
    if (v->item.kind == SECRET_PLAIN || v->item.kind == SECRET_AWS)
        return false;
    return v->token[0].size == 0 || now_s + TOKEN_EARLY_S >= v->token_until_s;
}

/* ---- requests to token servers ---- */

/* Room for `size` bytes more, so that the buffer does not move while texts point into it, and grows
 * without leaving a copy of what it holds. */
static int room_in(struct buf *b, size_t size, struct error *e)
{
    static const uint8_t nothing[4096];
    size_t before = b->size;
    if (b->failed == 0 && b->capacity > b->size && b->capacity - b->size > size)
        return 0;
    for (size_t left = size; left; left -= MIN(left, sizeof(nothing)))
        buf_append(b, nothing, MIN(left, sizeof(nothing)));
    int status = buf_status(b);
    if (status < 0)
        return error_set(e, status, "no memory for a request to a token server");
    b->size = before;
    return 0;
}

static struct bytes since(const struct buf *b, size_t start)
{
    return (struct bytes){ b->data + start, b->size - start };
}

static void add_field(struct secret_mint *m, const char *name, struct bytes value)
{
    ASSERT(m->field_count < SECRET_MINT_FIELDS_MAX);
    m->fields[m->field_count++] = (struct secret_field){ bytes_of(name), value };
}

/* application/x-www-form-urlencoded, as RFC 6749, appendix B, wants it. */
static void put_form_text(struct buf *b, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == ' ')
            buf_putc(b, '+');
        else
            percent_put(b, c, "*-._");
    }
}

/* Nothing when there is no value. */
static void put_pair(struct buf *b, size_t start, const char *name, struct bytes value)
{
    if (value.size == 0)
        return;
    if (b->size > start)
        buf_putc(b, '&');
    buf_printf(b, "%s=", name);
    put_form_text(b, value);
}

static void put_setting(struct buf *b, size_t start, const char *name, const json_t *settings,
                        const char *key, const char *otherwise)
{
    put_pair(b, start, name, bytes_of(setting_text(settings, key, otherwise)));
}

static int put_url(struct buf *b, const json_t *settings, const char *key, const char *otherwise,
                   const char *behind, struct secret_mint *m, struct error *e)
{
    size_t start = b->size;
    int r = setting_url(setting_text(settings, key, otherwise), b, e);
    if (r < 0)
        return r;
    if (behind[0]) {
        while (b->size > start && b->data[b->size - 1] == '/')
            b->size--;
        buf_puts(b, behind);
    }
    m->url = since(b, start);
    return 0;
}

static int put_list(json_t *body, const char *name, const char *text)
{
    struct bytes item;
    json_t *list = json_array();
    while (setting_next(&text, &item) > 0)
        if (json_array_append_new(list, json_stringn((const char *)item.data, item.size)) < 0)
            break;
    return json_object_set_new(body, name, list);
}

static int put_permissions(json_t *body, const char *text)
{
    struct bytes item;
    char name[128], value[128];
    json_t *all = json_object();
    while (setting_next(&text, &item) > 0)
        if (!setting_split(item, name, value) ||
            json_object_set_new(all, name, json_string(value)) < 0)
            break;
    return json_object_set_new(body, "permissions", all);
}

/* What a token of the App is narrowed to, when the settings say so. */
static int github_body(const json_t *settings, struct buf *b, struct secret_mint *m,
                       struct error *e)
{
    const char *repositories = setting_text(settings, "repositories", NULL);
    const char *permissions = setting_text(settings, "permissions", NULL);
    CLEANUP(json_freep) json_t *body = json_object();
    CLEANUP(buf_done) struct buf text = BUF_INIT(REQUEST_MAX);
    if (!repositories && !permissions)
        return 0;
    int status = body ? 0 : -ENOMEM;
    if (status == 0 && repositories)
        status = put_list(body, "repositories", repositories);
    if (status == 0 && permissions)
        status = put_permissions(body, permissions);
    if (status == 0)
        status = json_canonical(body, &text);
    if (status == 0)
        status = buf_status(&text);
    if (status < 0)
        return error_set(e, -ENOMEM, "no memory for a request to a token server");
    size_t start = b->size;
    buf_append(b, text.data, text.size);
    m->body = since(b, start);
    add_field(m, "content-type", bytes_of("application/json"));
    return 0;
}

static int github_request(const struct keeper_value *v, const json_t *settings, uint64_t now_s,
                          struct buf *b, struct secret_mint *m, struct error *e)
{
    char behind[80];
    snprintf(behind, sizeof(behind), "/app/installations/%s/access_tokens",
             setting_text(settings, "installation_id", ""));
    m->shape = SECRET_SHAPE_GITHUB;
    int r = put_url(b, settings, "url", GITHUB_URL, behind, m, e);
    size_t start = b->size;
    buf_puts(b, "Bearer ");
    if (r == 0)
        r = jwt_app((struct bytes){ v->source.data, v->source.size },
                    setting_text(settings, "app_id", ""), now_s, b, e);
    if (r < 0)
        return r;
    add_field(m, "authorization", since(b, start));
    add_field(m, "accept", bytes_of("application/vnd.github+json"));
    add_field(m, "x-github-api-version", bytes_of("2022-11-28"));
    return github_body(settings, b, m, e);
}

/* RFC 6749, 2.3.1: both halves as in a form, then Basic. */
static int put_basic(struct buf *b, const char *id, struct bytes secret, struct secret_mint *m,
                     struct error *e)
{
    CLEANUP(secret_buf_done) struct buf plain = { 0 };
    int r = secret_buf(&plain, 3 * (strlen(id) + secret.size) + 1, e);
    if (r < 0)
        return r;
    put_form_text(&plain, bytes_of(id));
    buf_putc(&plain, ':');
    put_form_text(&plain, secret);
    size_t start = b->size, size = 4 * ((plain.size + 2) / 3);
    buf_puts(b, "Basic ");
    r = room_in(b, size + 1, e);
    if (r < 0)
        return r;
    (void)EVP_EncodeBlock(b->data + b->size, plain.data, (int)plain.size);
    b->size += size;
    add_field(m, "authorization", since(b, start));
    return 0;
}

static void put_form(struct secret_mint *m, struct buf *b, size_t start)
{
    m->body = since(b, start);
    add_field(m, "content-type", bytes_of(FORM));
    add_field(m, "accept", bytes_of("application/json"));
}

static int client_request(const struct keeper_value *v, const json_t *settings, struct buf *b,
                          struct secret_mint *m, struct error *e)
{
    m->shape = SECRET_SHAPE_OAUTH;
    int r = put_url(b, settings, "token_url", "", "", m, e);
    if (r == 0)
        r = put_basic(b, setting_text(settings, "client_id", ""),
                      (struct bytes){ v->source.data, v->source.size }, m, e);
    size_t start = b->size;
    put_pair(b, start, "grant_type", bytes_of("client_credentials"));
    put_setting(b, start, "scope", settings, "scope", "");
    put_setting(b, start, "audience", settings, "audience", "");
    put_form(m, b, start);
    return r;
}

static int exchange_request(const struct keeper_value *v, const json_t *settings, struct buf *b,
                            struct secret_mint *m, struct error *e)
{
    m->shape = SECRET_SHAPE_OAUTH;
    int r = put_url(b, settings, "token_url", "", "", m, e);
    size_t start = b->size;
    put_pair(b, start, "grant_type", bytes_of("urn:ietf:params:oauth:grant-type:token-exchange"));
    put_pair(b, start, "subject_token", (struct bytes){ v->source.data, v->source.size });
    put_setting(b, start, "subject_token_type", settings, "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token");
    put_setting(b, start, "client_id", settings, "client_id", "");
    put_setting(b, start, "audience", settings, "audience", "");
    put_setting(b, start, "scope", settings, "scope", "");
    put_form(m, b, start);
    return r;
}

/* Signs what m says so far with the long-lived keys. */
static int sign_mint(const struct keeper_value *v, const json_t *settings, uint64_t now_s,
                     struct buf *b, struct secret_mint *m, struct error *e)
{
    struct aws_keys keys;
    struct digest digest;
    char hex[DIGEST_TEXT_SIZE], date[SIGV4_DATE_SIZE];
    if (!aws_keys_of((struct bytes){ v->source.data, v->source.size }, &keys))
        return check_aws((struct bytes){ 0 }, e);
    int r = digest_bytes(m->body.data, m->body.size, &digest, e);
    if (r < 0)
        return r;
    digest_text(&digest, hex);
    struct sigv4_request q = { .region = setting_text(settings, "region", ""),
                               .service = "sts",
                               .key_id = keys.id,
                               .secret = keys.secret,
                               .now_s = now_s,
                               .method = m->method,
                               .url = m->url,
                               .payload = bytes_of(hex + strlen("sha256:")),
                               .fields = m->fields,
                               .field_count = m->field_count };
    size_t start = b->size;
    r = sigv4_sign(&q, date, b, e);
    if (r < 0)
        return r;
    add_field(m, "authorization", since(b, start));
    start = b->size;
    buf_puts(b, date);
    add_field(m, "x-amz-date", since(b, start));
    return 0;
}

static int role_request(const struct keeper_value *v, const json_t *settings, uint64_t now_s,
                        struct buf *b, struct secret_mint *m, struct error *e)
{
    CLEANUP(mem_freep)
    char *usual = mem_printf("https://sts.%s.amazonaws.com/", setting_text(settings, "region", ""));
    if (!usual)
        return error_set(e, -ENOMEM, "no memory for a request to a token server");
    m->shape = SECRET_SHAPE_STS;
    int r = put_url(b, settings, "url", usual, "", m, e);
    size_t start = b->size;
    put_pair(b, start, "Action", bytes_of("AssumeRole"));
    put_pair(b, start, "Version", bytes_of(STS_VERSION));
    put_setting(b, start, "RoleArn", settings, "role_arn", "");
    put_setting(b, start, "RoleSessionName", settings, "session_name", "ambit");
    put_pair(b, start, "DurationSeconds", bytes_of("3600"));
    put_setting(b, start, "ExternalId", settings, "external_id", "");
    put_form(m, b, start);
    return r < 0 ? r : sign_mint(v, settings, now_s, b, m, e);
}

static int request_of_kind(const struct keeper_value *v, const json_t *settings, uint64_t now_s,
                           struct buf *b, struct secret_mint *m, struct error *e)
{
    switch ((enum secret_kind)v->item.kind) {
    case SECRET_GITHUB_APP:
        return github_request(v, settings, now_s, b, m, e);
    case SECRET_OAUTH_CLIENT:
        return client_request(v, settings, b, m, e);
    case SECRET_OAUTH_EXCHANGE:
        return exchange_request(v, settings, b, m, e);
    case SECRET_AWS_ROLE:
        return role_request(v, settings, now_s, b, m, e);
    case SECRET_PLAIN:
    case SECRET_AWS:
    case SECRET_KIND_COUNT:
        break;
    }
    return error_set(e, -EINVAL, "nothing is minted for a secret of this kind");
}

int mint_request(const struct keeper_value *v, uint64_t now_s, struct buf *scratch,
                 struct secret_mint *ret, struct error *e)
{
    CLEANUP(json_freep) json_t *settings = NULL;
    *ret = (struct secret_mint){ 0 };
    int r = settings_read(&v->item, &settings, e);
    if (r == 0)
        r = room_in(scratch, REQUEST_MAX, e);
    if (r < 0)
        return r;
    const uint8_t *before = scratch->data;
    *ret = (struct secret_mint){ .mint = v->minting,
                                 .name = bytes_of(v->item.name),
                                 .method = bytes_of("POST") };
    size_t start = scratch->size;
    buf_puts(scratch, setting_text(settings, "addresses", ""));
    ret->addresses = since(scratch, start);
    add_field(ret, "user-agent", bytes_of(USER_AGENT));
    r = request_of_kind(v, settings, now_s, scratch, ret, e);
    if (r == 0 && (buf_status(scratch) < 0 || scratch->data != before))
        r = error_set(e, -E2BIG, "the request to the token server is too large");
    if (r < 0)
        *ret = (struct secret_mint){ 0 };
    return r;
}

/* ---- what came of it ---- */

static int refuse_token(const char *what, struct error *e)
{
    return error_set(e, -EPROTO, "the token server's answer %s", what);
}

int mint_take(struct keeper_value *v, const struct secret_minted *m, uint64_t now_s,
              struct error *e)
{
    size_t wanted = v->item.kind == SECRET_AWS_ROLE ? 3 : 1;
    if (m->failure.size) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(2048);
        text_escape(&text, m->failure.data, MIN(m->failure.size, (size_t)300));
        return error_set(e, -EPROTO, "%s", buf_cstr(&text));
    }
    for (size_t i = 0; i < ARRAY_SIZE(m->values); i++)
        if (i < wanted ? !is_token(m->values[i], SECRET_TOKEN_MAX) : m->values[i].size > 0)
            return refuse_token("has no token that can be used", e);
    if (m->expires_s && m->expires_s <= now_s)
        return refuse_token("has a token that has ended already", e);
    uint64_t life = m->expires_s ? m->expires_s - now_s : TOKEN_UNSAID_S;
    for (size_t i = 0; i < wanted; i++) {
        if (secret_copy(&v->token[i], m->values[i].data, m->values[i].size) == 0)
            continue;
        for (size_t k = 0; k < ARRAY_SIZE(v->token); k++)
            secret_done(&v->token[k]);
        return error_set(e, -ENOMEM, "no memory for a token");
    }
    v->token_until_s = now_s + MIN(life, (uint64_t)TOKEN_LIFE_MAX_S);
    return 0;
}

/* ---- what egress is given ---- */

static int add_value(struct secret_values *into, struct bytes name, struct bytes value, bool header,
                     bool scrub, struct error *e)
{
    if (into->count == SECRET_VALUES_OF_ASK_MAX)
        return error_set(e, -E2BIG, "the grant names more secrets than one request can have");
    into->values[into->count++] =
        (struct secret_value){ .name = name, .value = value, .header = header, .scrub = scrub };
    return 0;
}

static const struct secret_field *field_of(const struct secret_ask *a, const char *name)
{
    for (size_t i = 0; i < a->field_count; i++)
        if (bytes_are(a->fields[i].name, name))
            return &a->fields[i];
    return NULL;
}

#define UNSIGNED "UNSIGNED-PAYLOAD"

/* What stands for the body in the signature. */
static int payload_of(const struct secret_ask *a, bool s3, struct bytes *ret, struct error *e)
{
    const struct secret_field *said = field_of(a, "x-amz-content-sha256");
    bool https = a->url.size > 8 && memcmp(a->url.data, "https://", 8) == 0;
    /* The body is in chunks with a trailer then, and S3 has to be told. */
    bool streams = said && said->value.size > 10 && memcmp(said->value.data, "STREAMING-", 10) == 0;
    if (s3 && streams && https && bytes_are(said->value, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")) {
        *ret = said->value;
        return 0;
    }
    if (streams)
        return error_set(
            e, -EACCES, "the body signs its own chunks, with a key that the sandbox does not have");
    if (a->payload_sha256.size == 0) /* egress did not see that it may be signed */
        return error_set(
            e, -EACCES,
            "a signature is a header of its own: the grant has to put this secret alone "
            "into it, as authorization: ${secret}");
    if (a->payload_sha256.size == 64) {
        *ret = a->payload_sha256;
        return 0;
    }
    if (s3 && https) {
        *ret = bytes_of(UNSIGNED);
        return 0;
    }
    error_set(e, -EACCES, "the body is too long to be signed, or its length is not said");
    error_hint(e, "AWS wants a digest of the body before the request: 256 KiB at most, with "
                  "Content-Length; to S3 over https a body may be of any size");
    return -EACCES;
}

static int aws_values(const struct keeper_value *v, const struct aws_keys *keys,
                      const struct secret_ask *a, uint64_t now_s, struct buf *b,
                      struct secret_values *into, struct error *e)
{
    CLEANUP(json_freep) json_t *settings = NULL;
    char date[SIGV4_DATE_SIZE];
    bool role = v->item.kind == SECRET_AWS_ROLE;
    int r = settings_read(&v->item, &settings, e);
    if (r < 0)
        return r;
    struct sigv4_request q = { .region = setting_text(settings, "region", ""),
                               .service = setting_text(settings, "service", ""),
                               .key_id = keys->id,
                               .secret = keys->secret,
                               .now_s = now_s,
                               .method = a->method,
                               .url = a->url,
                               .fields = a->fields,
                               .field_count = a->field_count };
    if (role)
        q.session = (struct bytes){ v->token[2].data, v->token[2].size };
    bool s3 = sigv4_is_s3(q.service);
    r = payload_of(a, s3, &q.payload, e);
    size_t start = b->size;
    if (r == 0)
        r = sigv4_sign(&q, date, b, e);
    if (r < 0)
        return r;
    struct bytes authorization = since(b, start);
    start = b->size;
    buf_puts(b, date);
    /* A signature is good for minutes, and for this request: masked like a token all the same. */
    r = add_value(into, bytes_of("authorization"), authorization, true, true, e);
    if (r == 0)
        r = add_value(into, bytes_of("x-amz-date"), since(b, start), true, false, e);
    if (r == 0 && role)
        r = add_value(into, bytes_of("x-amz-security-token"), q.session, true, true, e);
    if (r == 0 && s3) {
        start = b->size;
        buf_append(b, q.payload.data, q.payload.size);
        r = add_value(into, bytes_of("x-amz-content-sha256"), since(b, start), true, false, e);
    }
    return r;
}

int mint_values(const struct keeper_value *v, const struct secret_ask *a, uint64_t now_s,
                struct buf *scratch, struct secret_values *into, struct error *e)
{
    struct aws_keys keys;
    struct bytes source = { v->source.data, v->source.size };
    bool plain = v->item.kind == SECRET_PLAIN || v->item.kind == SECRET_AWS;
    if (plain ? source.size == 0 : v->token[0].size == 0 || now_s >= v->token_until_s)
        return error_set(e, -EACCES, "there is no token of the secret that could be used");
    if (v->item.kind != SECRET_AWS && v->item.kind != SECRET_AWS_ROLE) {
        struct bytes value = plain ? source : (struct bytes){ v->token[0].data, v->token[0].size };
        return add_value(into, bytes_of(v->item.name), value, false, true, e);
    }
    if (v->item.kind == SECRET_AWS_ROLE)
        keys = (struct aws_keys){ { v->token[0].data, v->token[0].size },
                                  { v->token[1].data, v->token[1].size } };
    else if (!aws_keys_of(source, &keys))
        return check_aws((struct bytes){ 0 }, e);
    int r = room_in(scratch, MINT_VALUES_MAX, e);
    const uint8_t *before = scratch->data;
    size_t count = into->count;
    if (r == 0)
        r = aws_values(v, &keys, a, now_s, scratch, into, e);
    if (r == 0 && (buf_status(scratch) < 0 || scratch->data != before ||
                   into->values[count].value.size > SECRET_TOKEN_MAX))
        r = error_set(e, -E2BIG, "the request has too many headers to be signed");
    if (r < 0)
        into->count = count;
    return r;
}
