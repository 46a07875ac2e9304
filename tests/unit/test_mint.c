/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper makes of a secret: settings and values that it takes, the requests to token servers,
 * what it takes from them, and what a request is given.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "keeper/parts.h"
#include "test.h"

#define NOW UINT64_C(1440938160) /* 2015-08-30T12:36:00Z */
#define AWS_VALUE "AKIDEXAMPLEEXAMPLE wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ---- keys ---- */

static char *pem_of(const char *kind, unsigned bits, bool old, const char *password)
{
    EVP_PKEY *key = strcmp(kind, "EC") == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen(bits);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    CHECK(key && bio);
    if (password)
        CHECK(PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_256_cbc(), password,
                                            (int)strlen(password), NULL, NULL) == 1);
    else if (old)
        CHECK(PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    else
        CHECK(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    long size = BIO_get_mem_data(bio, &text);
    char *copy = mem_strndup(text, (size_t)size);
    BIO_free(bio);
    EVP_PKEY_free(key);
    CHECK(copy);
    return copy;
}

/* One for all tests: making it takes longest. */
static const char *app_pem(void)
{
    static char *pem;
    if (!pem) {
        pem = pem_of("RSA", 2048, true, NULL);
        CHECK_HAS(pem, "-----BEGIN RSA PRIVATE KEY-----");
    }
    return pem;
}

/* ---- values ---- */

static struct keeper_value value_of(enum secret_kind kind, const char *settings, const char *value)
{
    struct keeper_value v = { .item = { .name = mem_strdup("it"),
                                        .kind = kind,
                                        .locator = mem_strdup(""),
                                        .settings = mem_strdup(settings) },
                              .minting = 7 };
    CHECK(v.item.name && v.item.locator && v.item.settings);
    CHECK_EQ(secret_copy(&v.source, value, strlen(value)), 0);
    return v;
}

static void value_done(struct keeper_value *v)
{
    keeper_item_done(&v->item);
    secret_done(&v->source);
    for (size_t i = 0; i < ARRAY_SIZE(v->token); i++)
        secret_done(&v->token[i]);
}

static int check(enum secret_kind kind, const char *settings, const char *value, struct error *e)
{
    CLEANUP(value_done) struct keeper_value v = value_of(kind, settings, "");
    struct bytes b = value ? bytes_of(value) : (struct bytes){ 0 };
    return mint_check(&v.item, b, e);
}

static void bad(enum secret_kind kind, const char *settings, const char *value, const char *says)
{
    struct error e = ERROR_INIT;
    if (check(kind, settings, value, &e) == 0)
        test_fail(__FILE__, __LINE__, "%s was taken", settings);
    CHECK_HAS(e.what, says);
}

static void fine(enum secret_kind kind, const char *settings, const char *value)
{
    struct error e = ERROR_INIT;
    if (check(kind, settings, value, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", settings, e.what);
}

#define SECRET "0123456789abcdef"
#define CLIENT "{\"token_url\":\"https://id.example/token\",\"client_id\":\"me\"}"
#define AWS "{\"region\":\"us-east-1\",\"service\":\"s3\"}"
#define APP "{\"app_id\":\"7\",\"installation_id\":\"42\"}"
#define ROLE "{\"region\":\"us-east-1\",\"service\":\"s3\",\"role_arn\":\"arn:aws:iam::1:role/r\"}"

TEST(settings)
{
    fine(SECRET_PLAIN, "", SECRET);
    fine(SECRET_PLAIN, "{}", SECRET);
    bad(SECRET_PLAIN, "{\"a\":\"b\"}", SECRET, "no setting \"a\"");
    bad(SECRET_PLAIN, "[]", SECRET, "object of texts");
    bad(SECRET_PLAIN, "a: b", SECRET, "object of texts");
    fine(SECRET_OAUTH_CLIENT, CLIENT, SECRET);
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":\"me\"}", SECRET, "needs the setting \"token_url\"");
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":7,\"token_url\":\"https://i.example/\"}", SECRET,
        "\"client_id\"");
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":\"a\\nb\",\"token_url\":\"https://i.example/\"}",
        SECRET, "\"client_id\"");
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":\"a\",\"client_id\":\"b\"}", SECRET, "client_id");
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":\"me\",\"token_url\":\"http://i.example/\"}", SECRET,
        "\"token_url\" must be an https URL");
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":\"me\",\"token_url\":\"https://u:p@i.example/\"}",
        SECRET, "\"token_url\"");
    bad(SECRET_OAUTH_CLIENT, "{\"client_id\":\"me\",\"token_url\":\"https://0x7f.1/\"}", SECRET,
        "\"token_url\"");
    bad(SECRET_OAUTH_CLIENT,
        "{\"client_id\":\"me\",\"token_url\":\"https://i.example/\",\"addresses\":\"all\"}", SECRET,
        "\"addresses\"");
    bad(SECRET_OAUTH_CLIENT,
        "{\"client_id\":\"me\",\"token_url\":\"https://i.example/\",\"addresses\":\"::1,,\"}",
        SECRET, "\"addresses\"");
    fine(SECRET_OAUTH_CLIENT,
         "{\"client_id\":\"me\",\"token_url\":\"https://i.example/\",\"addresses\":\"127.0.0.0/8, "
         "::1\"}",
         SECRET);
    bad(SECRET_AWS, "{\"region\":\"us east\",\"service\":\"s3\"}", AWS_VALUE, "\"region\"");
    bad(SECRET_AWS, "{\"region\":\"us-east-1\",\"service\":\"s3\",\"role_arn\":\"x\"}", AWS_VALUE,
        "no setting \"role_arn\"");
    bad(SECRET_AWS_ROLE, AWS, AWS_VALUE, "role_arn");
    fine(SECRET_AWS_ROLE, ROLE, AWS_VALUE);
    bad(SECRET_GITHUB_APP, "{\"app_id\":\"7\",\"installation_id\":\"x/../y\"}", app_pem(),
        "\"installation_id\"");
    bad(SECRET_GITHUB_APP,
        "{\"app_id\":\"7\",\"installation_id\":\"4\",\"url\":\"https://g.example/?q\"}", app_pem(),
        "\"url\"");
    bad(SECRET_GITHUB_APP,
        "{\"app_id\":\"7\",\"installation_id\":\"4\",\"permissions\":\"contents\"}", app_pem(),
        "\"permissions\"");
}

TEST(values)
{
    char long_one[SECRET_VALUE_MAX + 2];
    memset(long_one, 'x', sizeof(long_one) - 1);
    long_one[sizeof(long_one) - 1] = '\0';
    bad(SECRET_PLAIN, "", "short", "shorter than 16");
    bad(SECRET_PLAIN, "", long_one, "longer");
    fine(SECRET_PLAIN, "", long_one + 1);
    bad(SECRET_PLAIN, "", "with a space in it", "space");
    bad(SECRET_PLAIN, "", SECRET "\r\nx: y", "line's end");
    fine(SECRET_OAUTH_CLIENT, CLIENT, NULL); /* the settings alone */
    fine(SECRET_AWS, AWS, AWS_VALUE);
    bad(SECRET_AWS, AWS, "AKIDEXAMPLEEXAMPLE", "access key");
    bad(SECRET_AWS, AWS, "AKIDEXAMPLE/EXAMPLE wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "access key");
    bad(SECRET_AWS, AWS, AWS_VALUE " ", "access key");
}

TEST(keys)
{
    CLEANUP(mem_freep) char *new_form = pem_of("RSA", 2048, false, NULL);
    CLEANUP(mem_freep) char *small = pem_of("RSA", 1024, true, NULL);
    CLEANUP(mem_freep) char *curve = pem_of("EC", 0, false, NULL);
    CLEANUP(mem_freep) char *locked = pem_of("RSA", 2048, false, "password");
    CLEANUP(mem_freep) char *cut = mem_strndup(app_pem(), strlen(app_pem()) / 2);
    fine(SECRET_GITHUB_APP, APP, app_pem());
    fine(SECRET_GITHUB_APP, APP, new_form);
    bad(SECRET_GITHUB_APP, APP, small, "RSA key of 2048 bits");
    bad(SECRET_GITHUB_APP, APP, curve, "RSA key of 2048 bits");
    bad(SECRET_GITHUB_APP, APP, locked, "password");
    bad(SECRET_GITHUB_APP, APP, cut, "not a private key");
    bad(SECRET_GITHUB_APP, APP, "", "not a private key");
    bad(SECRET_GITHUB_APP, APP, "not a key at all, whatever it is", "not a private key");
}

/* ---- requests ---- */

static const char *text_of(struct bytes b)
{
    static char texts[4][8192];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    snprintf(text, sizeof(texts[0]), "%.*s", (int)b.size, b.size ? (const char *)b.data : "");
    return text;
}

static const char *header(const struct secret_mint *m, const char *name)
{
    for (size_t i = 0; i < m->field_count; i++)
        if (bytes_are(m->fields[i].name, name))
            return text_of(m->fields[i].value);
    return "";
}

static void make(struct keeper_value *v, struct buf *scratch, struct secret_mint *m)
{
    struct error e = ERROR_INIT;
    if (mint_request(v, NOW, scratch, m, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    CHECK_EQ(m->mint, 7);
    CHECK_STR(text_of(m->method), "POST");
    CHECK_STR(text_of(m->name), "it");
    CHECK_HAS(header(m, "user-agent"), "ambit/");
}

static size_t decode(const char *text, size_t size, char *into)
{
    char padded[4096];
    size_t n = 0;
    for (; n < size; n++)
        padded[n] = text[n] == '-' ? '+' : text[n] == '_' ? '/' : text[n];
    while (n % 4)
        padded[n++] = '=';
    int got = EVP_DecodeBlock((unsigned char *)into, (unsigned char *)padded, (int)n);
    CHECK(got >= 0);
    got -= (int)(n - size);
    into[got] = '\0';
    return (size_t)got;
}

/* Header, claims and, with the public half, the signature. */
static void check_jwt(const char *jwt)
{
    char text[4096], signature[4096];
    const char *first = strchr(jwt, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    CHECK(first && second && !strchr(second + 1, '.'));
    decode(jwt, (size_t)(first - jwt), text);
    CHECK_STR(text, "{\"alg\":\"RS256\",\"typ\":\"JWT\"}");
    decode(first + 1, (size_t)(second - first - 1), text);
    CHECK_STR(text, "{\"iat\":1440938100,\"exp\":1440938700,\"iss\":\"7\"}");
    size_t size = decode(second + 1, strlen(second + 1), signature);
    BIO *bio = BIO_new_mem_buf(app_pem(), -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1);
    CHECK(EVP_DigestVerify(context, (unsigned char *)signature, size, (const unsigned char *)jwt,
                           (size_t)(second - jwt)) == 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
}

TEST(github)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done)
    struct keeper_value v = value_of(
        SECRET_GITHUB_APP,
        "{\"app_id\":\"7\",\"installation_id\":\"42\",\"url\":\"https://ghe.example/api/v3/\","
        "\"repositories\":\"shop, api\",\"permissions\":\"contents: read, issues:write\","
        "\"addresses\":\"10.0.0.0/8\"}",
        app_pem());
    struct secret_mint m;
    make(&v, &scratch, &m);
    CHECK_STR(text_of(m.url), "https://ghe.example/api/v3/app/installations/42/access_tokens");
    CHECK_STR(text_of(m.addresses), "10.0.0.0/8");
    CHECK_EQ(m.shape, SECRET_SHAPE_GITHUB);
    CHECK_STR(header(&m, "accept"), "application/vnd.github+json");
    CHECK_STR(text_of(m.body), "{\"permissions\":{\"contents\":\"read\",\"issues\":\"write\"},"
                               "\"repositories\":[\"shop\",\"api\"]}");
    const char *authorization = header(&m, "authorization");
    CHECK(strncmp(authorization, "Bearer ", 7) == 0);
    check_jwt(authorization + 7);
}

TEST(github_plainly)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done)
    struct keeper_value v = value_of(SECRET_GITHUB_APP, APP, app_pem());
    struct secret_mint m;
    make(&v, &scratch, &m);
    CHECK_STR(text_of(m.url), "https://api.github.com/app/installations/42/access_tokens");
    CHECK_EQ(m.body.size, 0);
    CHECK_STR(header(&m, "content-type"), "");
}

/* RFC 6749 2.3.1: both halves are encoded as in a form before they are joined. */
TEST(oauth_client)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done)
    struct keeper_value v =
        value_of(SECRET_OAUTH_CLIENT,
                 "{\"token_url\":\"https://ID.example:443/token?t=1\",\"client_id\":\"me:too\","
                 "\"scope\":\"read write\",\"audience\":\"https://api.example/\"}",
                 "s+cret:with/marks=");
    struct secret_mint m;
    char text[256];
    make(&v, &scratch, &m);
    CHECK_STR(text_of(m.url), "https://id.example/token?t=1");
    CHECK_STR(text_of(m.body), "grant_type=client_credentials&scope=read+write&audience="
                               "https%3A%2F%2Fapi.example%2F");
    CHECK_STR(header(&m, "content-type"), "application/x-www-form-urlencoded");
    const char *basic = header(&m, "authorization");
    CHECK(strncmp(basic, "Basic ", 6) == 0);
    size_t size = strlen(basic + 6), pads = strcspn(basic + 6, "=");
    CHECK_EQ(size % 4, 0);
    decode(basic + 6, pads, text);
    CHECK_STR(text, "me%3Atoo:s%2Bcret%3Awith%2Fmarks%3D");
}

TEST(oauth_exchange)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done)
    struct keeper_value v = value_of(SECRET_OAUTH_EXCHANGE,
                                     "{\"token_url\":\"https://id.example/\",\"audience\":\"a\"}",
                                     "subject.token+of=16");
    struct secret_mint m;
    make(&v, &scratch, &m);
    CHECK_STR(text_of(m.body),
              "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&"
              "subject_token=subject.token%2Bof%3D16&"
              "subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&"
              "audience=a");
    CHECK_STR(header(&m, "authorization"), "");
}

TEST(aws_role)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_AWS_ROLE, ROLE, AWS_VALUE);
    struct secret_mint m;
    make(&v, &scratch, &m);
    CHECK_STR(text_of(m.url), "https://sts.us-east-1.amazonaws.com/");
    CHECK_STR(text_of(m.body),
              "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"
              "RoleSessionName=ambit&DurationSeconds=3600");
    CHECK_STR(header(&m, "x-amz-date"), "20150830T123600Z");
    CHECK_HAS(header(&m, "authorization"),
              "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLE/20150830/us-east-1/sts/aws4_request, "
              "SignedHeaders=accept;content-type;host;x-amz-date, Signature=");
    for (size_t i = 0; i < m.field_count; i++)
        CHECK(!strstr(text_of(m.fields[i].value), "wJalr"));
    CHECK(!strstr(text_of(m.body), "wJalr"));
}

TEST(no_room)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(100);
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_OAUTH_CLIENT, CLIENT, SECRET);
    struct secret_mint m;
    CHECK_EQ(mint_request(&v, NOW, &scratch, &m, NULL), -EMSGSIZE);
    CHECK_EQ(m.field_count, 0);
}

/* ---- tokens ---- */

static struct secret_minted minted(const char *token, uint64_t expires_s)
{
    return (struct secret_minted){
        .mint = 7, .status = 200, .values = { bytes_of(token) }, .expires_s = expires_s
    };
}

TEST(taking)
{
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_OAUTH_CLIENT, CLIENT, SECRET);
    CHECK(mint_wanted(&v, NOW));
    struct secret_minted m = minted("a-token-of-16-or-more", NOW + 600);
    CHECK_EQ(mint_take(&v, &m, NOW, NULL), 0);
    CHECK_EQ(v.token_until_s, NOW + 600);
    CHECK(!mint_wanted(&v, NOW));
    CHECK(!mint_wanted(&v, NOW + 539));
    CHECK(mint_wanted(&v, NOW + 540)); /* a minute before its end */
    m = minted("a-token-of-16-or-more", NOW + UINT64_MAX / 2);
    CHECK_EQ(mint_take(&v, &m, NOW, NULL), 0);
    CHECK_EQ(v.token_until_s, NOW + 3600); /* kept an hour, whatever its server says */
    m = minted("a-token-of-16-or-more", 0);
    CHECK_EQ(mint_take(&v, &m, NOW, NULL), 0);
    CHECK_EQ(v.token_until_s, NOW + 300);
}

/* Egress talks to the network: keeper takes nothing from it that it would not take from there. */
TEST(taking_nonsense)
{
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_OAUTH_CLIENT, CLIENT, SECRET);
    struct error e = ERROR_INIT;
    struct secret_minted all[] = {
        minted("short", 0),
        minted("with a space in the token", 0),
        minted("with-a-line\r\nend-in-it", 0),
        minted("", 0),
        minted("a-token-of-16-or-more", NOW),
        minted("a-token-of-16-or-more", 1),
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        CHECK_EQ(mint_take(&v, &all[i], NOW, NULL), -EPROTO);
        CHECK_EQ(v.token[0].size, 0);
    }
    struct secret_minted three = minted("a-token-of-16-or-more", 0);
    three.values[1] = three.values[0];
    CHECK_EQ(mint_take(&v, &three, NOW, NULL), -EPROTO);
    struct secret_minted failed = { .failure = bytes_of("the token server\x1b[31m answered 401") };
    CHECK_EQ(mint_take(&v, &failed, NOW, &e), -EPROTO);
    CHECK_HAS(e.what, "answered 401");
    CHECK(!strchr(e.what, 0x1b));
    CLEANUP(value_done) struct keeper_value role = value_of(SECRET_AWS_ROLE, ROLE, AWS_VALUE);
    struct secret_minted one = minted("a-token-of-16-or-more", 0);
    CHECK_EQ(mint_take(&role, &one, NOW, NULL), -EPROTO);
}

/* ---- what a request is given ---- */

static struct secret_ask ask_of(const char *url, const char *payload)
{
    return (struct secret_ask){ .number = 1,
                                .method = bytes_of("PUT"),
                                .url = bytes_of(url),
                                .payload_sha256 = bytes_of(payload) };
}

static const char *given(const struct secret_values *all, const char *name)
{
    for (size_t i = 0; i < all->count; i++)
        if (bytes_are(all->values[i].name, name))
            return text_of(all->values[i].value);
    return "";
}

TEST(plain_and_tokens)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done) struct keeper_value plain = value_of(SECRET_PLAIN, "", SECRET);
    CLEANUP(value_done) struct keeper_value client = value_of(SECRET_OAUTH_CLIENT, CLIENT, SECRET);
    struct secret_ask a = ask_of("https://h/", "");
    struct secret_values all = { 0 };
    CHECK_EQ(mint_values(&plain, &a, NOW, &scratch, &all, NULL), 0);
    CHECK_EQ(mint_values(&client, &a, NOW, &scratch, &all, NULL), -EACCES); /* none yet */
    CHECK_EQ(all.count, 1);
    CHECK(!all.values[0].header && all.values[0].scrub);
    CHECK_STR(given(&all, "it"), SECRET);
    struct secret_minted m = minted("a-token-of-16-or-more", NOW + 10);
    CHECK_EQ(mint_take(&client, &m, NOW, NULL), 0);
    all.count = 0;
    CHECK_EQ(mint_values(&client, &a, NOW + 9, &scratch, &all, NULL), 0);
    CHECK_STR(given(&all, "it"), "a-token-of-16-or-more");
    CHECK_EQ(mint_values(&client, &a, NOW + 10, &scratch, &all, NULL), -EACCES);
}

TEST(aws_headers)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_AWS, AWS, AWS_VALUE);
    struct secret_ask a = ask_of("https://b.s3.amazonaws.com/k", "UNSIGNED-PAYLOAD");
    struct secret_values all = { 0 };
    CHECK_EQ(mint_values(&v, &a, NOW, &scratch, &all, NULL), 0);
    CHECK_EQ(all.count, 3);
    CHECK_STR(given(&all, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    CHECK_STR(given(&all, "x-amz-date"), "20150830T123600Z");
    CHECK_HAS(given(&all, "authorization"), "/20150830/us-east-1/s3/aws4_request, "
                                            "SignedHeaders=host;x-amz-content-sha256;x-amz-date, ");
    for (size_t i = 0; i < all.count; i++) {
        CHECK(all.values[i].header);
        CHECK(!strstr(text_of(all.values[i].value), "wJalr"));
    }
    /* A digest that is known is better. */
    a = ask_of("https://b.s3.amazonaws.com/k", EMPTY);
    all.count = 0;
    CHECK_EQ(mint_values(&v, &a, NOW, &scratch, &all, NULL), 0);
    CHECK_STR(given(&all, "x-amz-content-sha256"), EMPTY);
}

TEST(aws_bodies)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done) struct keeper_value s3 = value_of(SECRET_AWS, AWS, AWS_VALUE);
    CLEANUP(value_done)
    struct keeper_value other =
        value_of(SECRET_AWS, "{\"region\":\"r\",\"service\":\"sqs\"}", AWS_VALUE);
    struct secret_values all = { 0 };
    struct error e = ERROR_INIT;
    struct secret_ask a = ask_of("https://h/", "UNSIGNED-PAYLOAD");
    CHECK_EQ(mint_values(&other, &a, NOW, &scratch, &all, &e), -EACCES);
    CHECK_HAS(e.what, "too long to be signed");
    CHECK_EQ(all.count, 0);
    a = ask_of("http://127.0.0.1:9000/", "UNSIGNED-PAYLOAD");
    CHECK_EQ(mint_values(&s3, &a, NOW, &scratch, &all, NULL), -EACCES);
    a = ask_of("https://h/", ""); /* as behind "Bearer ": egress did not look at the headers */
    error_clear(&e);
    CHECK_EQ(mint_values(&s3, &a, NOW, &scratch, &all, &e), -EACCES);
    CHECK_HAS(e.what, "alone into it");
    a = ask_of("https://h/", EMPTY);
    CHECK_EQ(mint_values(&other, &a, NOW, &scratch, &all, NULL), 0);
    CHECK_STR(given(&all, "x-amz-content-sha256"), "");
    all.count = 0;
    struct secret_field said = { bytes_of("x-amz-content-sha256"),
                                 bytes_of("STREAMING-AWS4-HMAC-SHA256-PAYLOAD") };
    a = ask_of("https://h/", "UNSIGNED-PAYLOAD");
    a.fields = &said;
    a.field_count = 1;
    error_clear(&e);
    CHECK_EQ(mint_values(&s3, &a, NOW, &scratch, &all, &e), -EACCES);
    CHECK_HAS(e.what, "signs its own chunks");
    said.value = bytes_of("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    CHECK_EQ(mint_values(&s3, &a, NOW, &scratch, &all, NULL), 0);
    CHECK_STR(given(&all, "x-amz-content-sha256"), "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
}

TEST(aws_role_headers)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_AWS_ROLE, ROLE, AWS_VALUE);
    struct secret_minted m = { .values = { bytes_of("ASIAEXAMPLEEXAMPLE"),
                                           bytes_of("a-secret-of-an-hour"),
                                           bytes_of("the-session-token") },
                               .expires_s = NOW + 3600 };
    struct secret_ask a = ask_of("https://h/k", "UNSIGNED-PAYLOAD");
    struct secret_values all = { 0 };
    CHECK_EQ(mint_take(&v, &m, NOW, NULL), 0);
    CHECK_EQ(mint_values(&v, &a, NOW, &scratch, &all, NULL), 0);
    CHECK_STR(given(&all, "x-amz-security-token"), "the-session-token");
    CHECK_HAS(given(&all, "authorization"), "Credential=ASIAEXAMPLEEXAMPLE/");
    CHECK_HAS(given(&all, "authorization"), ";x-amz-security-token, ");
}

/* More headers than a request's own may hold. */
TEST(aws_too_many_headers)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_AWS, AWS, AWS_VALUE);
    static char names[SECRET_ASK_FIELDS_MAX][48];
    static struct secret_field fields[SECRET_ASK_FIELDS_MAX];
    struct secret_ask a = ask_of("https://h/k", "UNSIGNED-PAYLOAD");
    struct secret_values all = { 0 };
    for (size_t i = 0; i < SECRET_ASK_FIELDS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "x-a-header-with-quite-a-long-name-%zu", i);
        fields[i] = (struct secret_field){ bytes_of(names[i]), bytes_of("1") };
    }
    a.fields = fields;
    a.field_count = SECRET_ASK_FIELDS_MAX;
    CHECK_EQ(mint_values(&v, &a, NOW, &scratch, &all, NULL), -E2BIG);
    CHECK_EQ(all.count, 0);
}

static int everything(struct keeper_value *v)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1 << 20);
    struct error e = ERROR_INIT;
    struct secret_mint m;
    struct secret_values all = { 0 };
    struct secret_ask a = ask_of("https://h/k?b=1&a=2", EMPTY);
    int r = mint_check(&v->item, (struct bytes){ v->source.data, v->source.size }, &e);
    if (r == 0)
        r = mint_request(v, NOW, &scratch, &m, &e);
    return r < 0 ? r : mint_values(v, &a, NOW, &scratch, &all, &e);
}

TEST(no_memory)
{
    CLEANUP(value_done) struct keeper_value v = value_of(SECRET_AWS_ROLE, ROLE, AWS_VALUE);
    struct secret_minted m = { .values = { bytes_of("ASIAEXAMPLEEXAMPLE"),
                                           bytes_of("a-secret-of-an-hour"),
                                           bytes_of("the-session-token") } };
    CHECK_EQ(mint_take(&v, &m, NOW, NULL), 0);
    TORTURE(everything(&v));
}

TEST_MAIN()
