/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to token servers, for keeper: what to send is its, the way there is ours, as for every
 * request: the certificate is verified, every address is global or named by the secret's settings,
 * the one that was looked at is dialled, no redirect is followed, intent and outcome are recorded.
 *
 * What comes back is as hostile as any answer, and near a key: 64 KiB at most, read as JSON, of which
 * the fields of one shape are taken and nothing else is passed on, but for a code of error that we
 * know ourselves. Each connection is of one request, and HTTP/1.1: no table of headers keeps a key.
 */
#include <curl/curl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "egress/pool.h"
#include "wire/http1.h"

#define ANSWER_MAX (64u << 10)
#define TIMEOUT_NS (20 * NS_PER_S)
#define NETWORKS_MAX 64
#define LIFE_MAX_S \
    (10 * 365 * UINT64_C(86400)) /* keeper keeps an hour: a sum that cannot overflow */
#define FAILURE_SIZE 256

#ifdef AMBIT_TEST_HOOKS
#define LEFT_OPEN(room, which) (((room)->skip & (which)) != 0)
#else
#define LEFT_OPEN(room, which) false
#endif

struct minting {
    struct minting *next;
    struct minter *minter;
    struct buf payload; /* `request` points into it */
    struct secret_mint request;
    struct url url;
    struct network networks[NETWORKS_MAX];
    size_t network_count;
    struct name_wait wait;
    uint64_t number, started_ns, deadline_ns;
    bool recorded, over;
    CURL *easy;
    struct curl_slist *headers, *resolve;
    char curl_text[CURL_TEXT_SIZE];
    struct buf answer;
    enum http_error error;
    char failure[FAILURE_SIZE]; /* "" = none so far */
};
struct minter {
    struct egress_room *room;
    struct pool *pool;
    struct minting *first;
    size_t count;
};

/* ---- how it ends ---- */

static void record_outcome(struct minting *m, uint16_t status)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(2 * EGRESS_TEXT_MAX);
    struct egress_response r = { .number = m->number,
                                 .rule = EGRESS_MINT_RULE,
                                 .status = status,
                                 .version = status ? 11 : 0,
                                 .error = m->error,
                                 .bytes_sent = m->request.body.size,
                                 .bytes_received = m->answer.size,
                                 .took_ns = clock_monotonic_ns() - m->started_ns,
                                 .text = m->error ? bytes_of(m->failure) : (struct bytes){ 0 } };
    if (!m->recorded)
        return;
    m->recorded = false;
    egress_response_put(&payload, &r);
    (void)!room_record(m->minter->room, EGRESS_RESPONSE, &payload);
}

static void leave_curl(struct minting *m)
{
    names_cancel(&m->wait);
    if (m->easy) {
        (void)curl_multi_remove_handle(m->minter->pool->multi, m->easy);
        curl_easy_cleanup(m->easy);
    }
    curl_slist_free_all(m->headers);
    curl_slist_free_all(m->resolve);
    m->easy = NULL;
    m->headers = m->resolve = NULL;
}

/* The one place that answers keeper. Not from a callback of curl's. */
static void end(struct minting *m, struct secret_minted *answer)
{
    uint16_t status = answer ? answer->status : 0;
    if (m->over)
        return;
    m->over = true;
    leave_curl(m);
    record_outcome(m, status);
    if (!answer)
        return;
    answer->mint = m->request.mint;
    answer->failure = bytes_of(m->failure);
    if (m->failure[0])
        memset(answer->values, 0, sizeof(answer->values));
    secrets_minted(m->minter->room, answer);
}

__attribute__((format(printf, 3, 4))) static void say(struct minting *m, enum http_error error,
                                                      const char *format, ...)
{
    va_list arguments;
    if (m->failure[0])
        return; /* the first reason stays */
    va_start(arguments, format);
    (void)vsnprintf(m->failure, sizeof(m->failure), format, arguments);
    va_end(arguments);
    m->error = error;
}

static void fail(struct minting *m, enum http_error error, const char *text)
{
    struct secret_minted answer = { 0 };
    say(m, error, "%s", text);
    end(m, &answer);
}

static void minting_done(struct minting *m)
{
    leave_curl(m);
    url_done(&m->url);
    if (m->payload.data)
        mem_wipe(m->payload.data, m->payload.capacity);
    if (m->answer.data)
        mem_wipe(m->answer.data, m->answer.capacity);
    buf_done(&m->payload);
    buf_done(&m->answer);
    mem_free(m);
}

/* ---- the answer ---- */

/* Codes of RFC 6749 5.2, RFC 8693 2.2.2 and STS: ours, whatever the answer holds. */
static const char *known_code(const json_t *answer)
{
    static const char *const codes[] = {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "invalid_scope",
        "unsupported_grant_type",
        "invalid_target",
        "access_denied",
        "temporarily_unavailable",
        "server_error",
        "AccessDenied",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "RequestExpired",
        "Throttling",
        "RegionDisabledException",
    };
    const char *code = json_string_value(json_object_get(answer, "error"));
    if (!code)
        code = json_string_value(json_object_get(json_object_get(answer, "Error"), "Code"));
    for (size_t i = 0; code && i < ARRAY_SIZE(codes); i++)
        if (strcmp(codes[i], code) == 0)
            return codes[i];
    return NULL;
}

static bool take_text(const json_t *object, const char *name, struct bytes *ret)
{
    const json_t *text = json_object_get(object, name);
    *ret = (struct bytes){ (const uint8_t *)json_string_value(text), json_string_length(text) };
    for (size_t i = 0; i < ret->size; i++)
        if (ret->data[i] <= ' ' || ret->data[i] > '~')
            return false;
    return ret->size <= SECRET_VALUE_MAX;
}

/* Seconds from now: a number, or a text of digits. 0: not said; < 0: nonsense. */
static int64_t life_of(const json_t *value)
{
    const char *text = json_string_value(value);
    uint64_t seconds = 0;
    if (!value)
        return 0;
    if (json_is_integer(value))
        return json_integer_value(value) > 0
                   ? (int64_t)MIN((uint64_t)json_integer_value(value), LIFE_MAX_S)
                   : -1;
    for (const char *c = text ? text : "-"; *c; c++) {
        if (*c < '0' || *c > '9')
            return -1;
        seconds = MIN(seconds * 10 + (uint64_t)(*c - '0'), LIFE_MAX_S);
    }
    return seconds > 0 ? (int64_t)seconds : -1;
}

/* Seconds until a time, by its text (RFC 3339) or its Unix time. */
static int64_t life_until(const json_t *value, uint64_t now_s)
{
    const char *text = json_string_value(value);
    double seconds = json_number_value(value);
    int64_t ns;
    if (!value)
        return 0;
    if (text) {
        if (text_parse_timestamp(text, &ns, NULL) < 0)
            return -1;
        ns /= (int64_t)NS_PER_S; /* whole seconds are enough */
        seconds = (double)ns;
    }
    if (!(seconds > (double)now_s))
        return -1;
    return (int64_t)MIN(seconds - (double)now_s, (double)LIFE_MAX_S);
}

static void take_token(struct minting *m, const json_t *root, struct secret_minted *answer)
{
    const json_t *sts = json_object_get(
        json_object_get(json_object_get(root, "AssumeRoleResponse"), "AssumeRoleResult"),
        "Credentials");
    uint64_t now_s = (uint64_t)(clock_real_ns() / (int64_t)NS_PER_S);
    int64_t life = 0;
    size_t wanted = 1;
    bool readable = json_is_object(root);
    if (m->request.shape == SECRET_SHAPE_OAUTH) {
        readable = readable && take_text(root, "access_token", &answer->values[0]);
        life = life_of(json_object_get(root, "expires_in"));
    } else if (m->request.shape == SECRET_SHAPE_GITHUB) {
        readable = readable && take_text(root, "token", &answer->values[0]);
        life = life_until(json_object_get(root, "expires_at"), now_s);
    } else {
        readable = readable && take_text(sts, "AccessKeyId", &answer->values[0]) &&
                   take_text(sts, "SecretAccessKey", &answer->values[1]) &&
                   take_text(sts, "SessionToken", &answer->values[2]);
        life = life_until(json_object_get(sts, "Expiration"), now_s);
        wanted = 3;
    }
    if (!readable) {
        say(m, HTTP_OK, "the token server's answer has no token that a header could carry");
        return;
    }
    for (size_t i = 0; i < wanted; i++)
        if (answer->values[i].size < SECRET_VALUE_MIN)
            say(m, HTTP_OK, "the token server's answer has no token of %d bytes or more",
                SECRET_VALUE_MIN);
    if (life < 0)
        say(m, HTTP_OK,
            "the token server's answer has a token that has ended, or a time that is none");
    answer->expires_s = life > 0 ? now_s + (uint64_t)life : 0;
}

static void take_answer(struct minting *m, long status)
{
    struct secret_minted answer = { .status = (uint16_t)status };
    json_error_t ignored;
    CLEANUP(json_freep)
    json_t *root = json_loadb((const char *)(m->answer.data ? m->answer.data : (uint8_t *)""),
                              m->answer.size, JSON_REJECT_DUPLICATES, &ignored);
    mem_wipe(&ignored, sizeof(ignored)); /* shows what it stopped at */
    if (status >= 300 && status < 400) {
        say(m, HTTP_OK, "the token server answered %ld: no redirect is followed", status);
    } else if (status < 200 || status > 299) {
        const char *code = known_code(root);
        say(m, HTTP_OK,
            code ? "the token server answered %ld (%s)" : "the token server answered %ld", status,
            code);
    } else if (!root) {
        say(m, HTTP_OK, "the token server's answer is not JSON");
    } else {
        take_token(m, root, &answer);
    }
    end(m, &answer);
}

static void finished(void *owner, int code)
{
    struct minting *m = owner;
    long status = 0;
    if (code == CURLE_OK &&
        curl_easy_getinfo(m->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 100 &&
        status <= 999) {
        take_answer(m, status);
        return;
    }
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        fail(m, HTTP_ERROR_TLS_CERTIFICATE,
             "the token server's certificate is not one that is trusted here");
        return;
    case CURLE_COULDNT_CONNECT:
        fail(m, HTTP_ERROR_CONNECTION_REFUSED, "no connection to the token server can be made");
        return;
    case CURLE_OPERATION_TIMEDOUT:
        fail(m, HTTP_ERROR_CONNECTION_TIMEOUT, "the token server does not answer");
        return;
    case CURLE_SSL_CONNECT_ERROR:
        fail(m, HTTP_ERROR_TLS_PROTOCOL, "no TLS with the token server can be agreed on");
        return;
    default: /* a text of curl's own: none of the server's */
        say(m, HTTP_ERROR_CONNECTION_TERMINATED, "asking the token server failed: %s",
            curl_easy_strerror(code));
        fail(m, HTTP_ERROR_CONNECTION_TERMINATED, "");
    }
}

/* ---- addresses ---- */

static bool address_good(const struct minting *m, const struct address *a, uint16_t port)
{
    const struct egress_room *room = m->minter->room;
    struct address inner;
    bool carries = address_embedded(a, &inner);
    if (LEFT_OPEN(room, EGRESS_SKIP_ADDRESS))
        return true;
    if (port != m->url.port || address_kind(a) == ADDRESS_METADATA ||
        (carries && address_kind(&inner) == ADDRESS_METADATA) || decide_own_listener(room, a, port))
        return false;
    if (address_kind(a) == ADDRESS_GLOBAL)
        return true;
    /* A list of IPv6 networks says nothing about the IPv4 ones that hide in them. */
    if (carries && address_kind(&inner) != ADDRESS_GLOBAL)
        a = &inner;
    for (size_t i = 0; i < m->network_count; i++)
        if (network_has(&m->networks[i], a))
            return true;
    return false;
}

static bool read_networks(struct minting *m)
{
    const uint8_t *at = m->request.addresses.data, *stop = at + m->request.addresses.size;
    while (at < stop) {
        const uint8_t *comma = memchr(at, ',', (size_t)(stop - at)),
                      *item_end = comma ? comma : stop;
        struct bytes item = { at, (size_t)(item_end - at) };
        for (; item.size && *item.data == ' '; item.data++)
            item.size--;
        while (item.size && item.data[item.size - 1] == ' ')
            item.size--;
        if (m->network_count == NETWORKS_MAX ||
            network_parse(item, &m->networks[m->network_count++], NULL) < 0)
            return false;
        at = comma ? comma + 1 : stop;
    }
    return true;
}

/* ---- what curl asks ---- */

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *s)
{
    const struct minting *m = context;
    struct address a;
    uint16_t port;
    if (!pool_dials(purpose, s, &a, &port) || !address_good(m, &a, port))
        return CURL_SOCKET_BAD;
    return pool_socket(m->minter->room, s);
}

static int on_ready(void *context, char *remote, char *local, int remote_port, int local_port)
{
    const struct minting *m = context;
    struct address a;
    bool good =
        address_parse(bytes_of(remote), &a) == 0 && address_good(m, &a, (uint16_t)remote_port);
    return good ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static CURLcode on_tls(CURL *easy, void *context, void *parameter)
{
    const struct minting *m = parameter;
    SSL_CTX *tls = context;
    SSL_CTX_set1_cert_store(tls, m->minter->room->certificates);
    SSL_CTX_clear_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return CURLE_OK;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *context)
{
    struct minting *m = context;
    buf_append(&m->answer, bytes, size);
    if (buf_status(&m->answer) == 0)
        return size;
    say(m, HTTP_ERROR_RESPONSE_BODY_SIZE, "the token server's answer is longer than %u KiB",
        ANSWER_MAX >> 10);
    return CURL_WRITEFUNC_ERROR;
}

/* ---- the request ---- */

static int add_headers(struct minting *m)
{
    int status = pool_add_line(&m->headers, "Expect:");
    for (size_t i = 0; status == 0 && i < m->request.field_count; i++) {
        const struct secret_field *f = &m->request.fields[i];
        struct http_field checked = { f->name, f->value };
        if (!http1_field_valid(&checked) || f->value.size == 0)
            return -EINVAL;
        char *line = mem_printf("%.*s: %.*s", (int)f->name.size, f->name.data, (int)f->value.size,
                                f->value.data);
        status = pool_add_line(&m->headers, line);
        if (line)
            mem_wipe(line, strlen(line));
        mem_free(line);
    }
    return status;
}

#define SET(option, value) (curl_easy_setopt(m->easy, option, value) == CURLE_OK)

static bool set_destination(struct minting *m)
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(1024), target = BUF_INIT(2 * URL_TARGET_MAX);
    long verify = LEFT_OPEN(m->minter->room, EGRESS_SKIP_TLS) ? 0L : 1L;
    buf_puts(&url, "https://");
    url_authority(&m->url, &url);
    buf_puts(&url, "/");
    buf_append(&target, m->url.target.data, m->url.target.size);
    if (buf_status(&url) < 0 || buf_status(&target) < 0)
        return false;
    return SET(CURLOPT_PROTOCOLS_STR, "https") && SET(CURLOPT_URL, buf_cstr(&url)) &&
           SET(CURLOPT_REQUEST_TARGET, buf_cstr(&target)) &&
           SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
           SET(CURLOPT_SSL_VERIFYPEER, verify) && SET(CURLOPT_SSL_VERIFYHOST, 2 * verify) &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(CURLOPT_SSL_CTX_FUNCTION, on_tls) && SET(CURLOPT_SSL_CTX_DATA, m) &&
           SET(CURLOPT_FRESH_CONNECT, 1L) && SET(CURLOPT_FORBID_REUSE, 1L) &&
           (!m->resolve || SET(CURLOPT_RESOLVE, m->resolve));
}

static bool set_habits(struct minting *m)
{
    const char *body = m->request.body.size ? (const char *)m->request.body.data : "";
    return SET(CURLOPT_PRIVATE, m) && SET(CURLOPT_ERRORBUFFER, m->curl_text) &&
           SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
           SET(CURLOPT_HTTP09_ALLOWED, 0L) && SET(CURLOPT_HTTP_CONTENT_DECODING, 0L) &&
           SET(CURLOPT_POST, 1L) && SET(CURLOPT_POSTFIELDS, body) &&
           SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)m->request.body.size) &&
           SET(CURLOPT_HTTPHEADER, m->headers) && SET(CURLOPT_WRITEFUNCTION, on_body) &&
           SET(CURLOPT_WRITEDATA, m) && SET(CURLOPT_OPENSOCKETFUNCTION, on_open) &&
           SET(CURLOPT_OPENSOCKETDATA, m) && SET(CURLOPT_PREREQFUNCTION, on_ready) &&
           SET(CURLOPT_PREREQDATA, m);
}

static int record_intent(struct minting *m, const struct address *addresses, size_t count)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(4 * EGRESS_TEXT_MAX);
    CLEANUP(buf_done) struct buf url = BUF_INIT(2 * URL_TARGET_MAX);
    CLEANUP(buf_done) struct buf where = BUF_INIT(EGRESS_TEXT_MAX);
    buf_puts(&url, "https://");
    url_authority(&m->url, &url);
    buf_append(&url, m->url.path.data, m->url.path.size);
    for (size_t i = 0; i < count; i++) {
        buf_puts(&where, i ? ", " : "");
        address_print(&addresses[i], &where);
    }
    struct egress_request r = { .number = m->number,
                                .rule = EGRESS_MINT_RULE,
                                .method = m->request.method,
                                .url = { url.data, url.size },
                                .address = { where.data, where.size } };
    egress_request_put(&payload, &r);
    int status = room_record(m->minter->room, EGRESS_REQUEST, &payload);
    m->recorded = status == 0;
    return status;
}

static void go(struct minting *m, const struct address *addresses, size_t count)
{
    if (record_intent(m, addresses, count) < 0) {
        fail(m, HTTP_ERROR_INTERNAL, "the record of the request cannot be kept");
        return;
    }
    m->easy = curl_easy_init();
    if (!m->easy || add_headers(m) < 0 ||
        pool_add_addresses(&m->resolve, &m->url, addresses, count) < 0 || !set_destination(m) ||
        !set_habits(m) || curl_multi_add_handle(m->minter->pool->multi, m->easy) != CURLM_OK)
        fail(m, HTTP_ERROR_INTERNAL, "the request to the token server cannot be started");
}

static void on_resolved(struct name_wait *w, const struct name_answer *a)
{
    struct minting *m = (struct minting *)((char *)w - offsetof(struct minting, wait));
    size_t count = MIN(a->count, (size_t)ADDRESSES_MAX);
    if (m->over)
        return;
    if (a->error != HTTP_OK || count == 0) {
        fail(m, a->error ? a->error : HTTP_ERROR_DNS, "the token server's name has no address");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (address_good(m, &a->addresses[i], m->url.port))
            continue;
        fail(m, HTTP_ERROR_DESTINATION_IP_PROHIBITED,
             "the token server's address is neither global nor among the secret's \"addresses\"");
        return;
    }
    go(m, a->addresses, count);
}

/* ---- the minter ---- */

static struct minter *minter_of(struct egress_room *room)
{
    struct minter *r = room->minter;
    if (r)
        return r;
    r = mem_zalloc(sizeof(*r));
    if (!r)
        return NULL;
    r->room = room;
    r->pool = pool_new(room, finished);
    if (!r->pool) {
        mem_free(r);
        return NULL;
    }
    return room->minter = r;
}

static int read_request(struct minting *m, struct bytes payload, struct error *e)
{
    /* At once: a buffer that grew would leave a copy. */
    m->payload = (struct buf)BUF_INIT(FRAME_MAX);
    m->answer = (struct buf)BUF_INIT(ANSWER_MAX);
    buf_append(&m->payload, payload.data, payload.size);
    if (buf_status(&m->payload) < 0)
        return error_set(e, buf_status(&m->payload), "no memory for a request to a token server");
    struct cursor c = cursor_of(m->payload.data, m->payload.size);
    int status = secret_mint_get(&c, &m->request, e);
    if (status == 0 && !bytes_are(m->request.method, "POST"))
        status = error_set(e, -EBADMSG, "a request to a token server that is no POST");
    return status;
}

int minting_start(struct egress_room *room, struct bytes payload, struct error *e)
{
    struct minter *r = minter_of(room);
    struct minting *m = r ? mem_zalloc(sizeof(*m)) : NULL;
    if (!m)
        return error_set(e, -ENOMEM, "no memory for a request to a token server");
    m->minter = r;
    url_init(&m->url);
    int status = read_request(m, payload, e);
    if (status < 0) {
        minting_done(m);
        return status;
    }
    m->wait.done = on_resolved;
    m->number = ++room->last_number;
    m->started_ns = clock_monotonic_ns();
    m->deadline_ns = m->started_ns + (LEFT_OPEN(room, EGRESS_SOON) ? NS_PER_S : TIMEOUT_NS);
    m->next = r->first;
    r->first = m;
    if (++r->count > MINTINGS_MAX)
        fail(m, HTTP_ERROR_CONNECTION_LIMIT_REACHED, "too many token servers are asked at once");
    else if (url_parse(&m->url, m->request.url, NULL) < 0 || !m->url.https || !read_networks(m))
        fail(m, HTTP_ERROR_INTERNAL, "the token server's URL or addresses cannot be used");
    else if (m->url.is_address)
        on_resolved(&m->wait, &(struct name_answer){ .addresses = &m->url.address, .count = 1 });
    else
        names_ask(room->names, m->url.host, &m->wait);
    return 0;
}

void minting_stop_all(struct egress_room *room)
{
    for (struct minting *m = room->minter ? room->minter->first : NULL; m; m = m->next) {
        say(m, HTTP_ERROR_CONNECTION_TERMINATED, "keeper is gone, or egress ends");
        end(m, NULL);
    }
}

uint64_t minting_deadline(const struct egress_room *room)
{
    uint64_t next = NEVER;
    if (!room->minter)
        return next;
    for (const struct minting *m = room->minter->first; m; m = m->next)
        next = MIN(next, m->over ? 0 : m->deadline_ns);
    return MIN(next, room->minter->pool->timer_ns);
}

/* Also frees what is over: nobody's callback is on the stack. */
void minting_tick(struct egress_room *room, uint64_t now)
{
    struct minter *r = room->minter;
    if (!r)
        return;
    pool_tick(r->pool, now);
    for (struct minting *m = r->first; m; m = m->next)
        if (!m->over && now >= m->deadline_ns)
            fail(m, HTTP_ERROR_RESPONSE_TIMEOUT, "the token server did not answer in 20 seconds");
    for (struct minting **at = &r->first; *at;) {
        struct minting *m = *at;
        if (!m->over) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        r->count--;
        minting_done(m);
    }
}

void minting_free(struct egress_room *room)
{
    struct minter *r = room->minter;
    if (!r)
        return;
    minting_stop_all(room);
    minting_tick(room, 0);
    pool_free(r->pool);
    mem_free(r);
    room->minter = NULL;
}
