/* SPDX-License-Identifier: Apache-2.0 */
/* src/wire/keeper.c: each frame goes there and back, and nothing else is taken. */
#include "tests/unit/test.h"
#include "wire/keeper.h"

/* Each has a codec of its own; so that all are looked at alike, this one puts what it has taken. True:
 * `bytes` were taken, and `again` holds them once more. */
typedef bool (*codec)(struct bytes bytes, struct buf *again, struct error *e);

static bool item_codec(struct bytes b, struct buf *again, struct error *e)
{
    struct keeper_item i;
    struct cursor c = cursor_of(b.data, b.size);
    if (keeper_item_get(&c, &i, e) < 0)
        return false;
    keeper_item_put(again, &i);
    keeper_item_done(&i);
    return true;
}

static bool start_codec(struct bytes b, struct buf *again, struct error *e)
{
    struct keeper_start s;
    struct cursor c = cursor_of(b.data, b.size);
    if (keeper_start_get(&c, &s, e) < 0)
        return false;
    keeper_start_put(again, &s);
    keeper_start_done(&s);
    return true;
}

static bool ask_codec(struct bytes b, struct buf *again, struct error *e)
{
    struct secret_field fields[4];
    struct secret_ask a;
    struct cursor c = cursor_of(b.data, b.size);
    if (secret_ask_get(&c, fields, ARRAY_SIZE(fields), &a, e) < 0)
        return false;
    secret_ask_put(again, &a);
    return true;
}

#define CODEC(type)                                                              \
    static bool type##_codec(struct bytes b, struct buf *again, struct error *e) \
    {                                                                            \
        struct type v;                                                           \
        struct cursor c = cursor_of(b.data, b.size);                             \
        if (type##_get(&c, &v, e) < 0)                                           \
            return false;                                                        \
        type##_put(again, &v);                                                   \
        return true;                                                             \
    }
CODEC(secret_values)
CODEC(secret_refused)
CODEC(secret_mint)
CODEC(secret_minted)
CODEC(leaf_ask)
CODEC(leaf_given)
CODEC(leaf_refused)
#undef CODEC

static bool taken(codec f, const struct buf *b, size_t size)
{
    CLEANUP(buf_done) struct buf again = BUF_INIT(FRAME_MAX);
    struct error e = ERROR_INIT;
    /* Its own block, so that a sanitizer sees a read past the end. */
    CLEANUP(mem_freep) uint8_t *copy = mem_alloc(size);
    memcpy(copy, b->data, size);
    bool is = f((struct bytes){ copy, size }, &again, &e);
    if (is)
        CHECK(again.size == size && memcmp(again.data, copy, size) == 0);
    else
        CHECK_EQ(e.code, -EBADMSG);
    return is;
}

/* There and back; cut anywhere, or with more behind it, it is refused. */
static void goes_round(codec f, struct buf *b)
{
    CHECK_EQ(buf_status(b), 0);
    CHECK(taken(f, b, b->size));
    for (size_t i = 0; i < b->size; i++)
        CHECK(!taken(f, b, i));
    buf_putc(b, '\0');
    CHECK(!taken(f, b, b->size));
    buf_clear(b);
}

/* One that can be put, and is not to be taken. */
static void is_refused(codec f, struct buf *b)
{
    CHECK_EQ(buf_status(b), 0);
    CHECK(!taken(f, b, b->size));
    buf_clear(b);
}

/* One that cannot be put at all. */
static void is_not_put(struct buf *b)
{
    CHECK_EQ(buf_status(b), -EMSGSIZE);
    buf_clear(b);
}

static struct bytes many(size_t size, char c)
{
    static uint8_t bytes[256u << 10];
    CHECK(size <= sizeof bytes);
    memset(bytes, c, size);
    return (struct bytes){ bytes, size };
}

TEST(items)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct keeper_item i = { .name = "github-token",
                             .locator = "",
                             .settings = "{}",
                             .made_s = 1,
                             .changed_s = UINT64_MAX,
                             .version = 3,
                             .size = 48 };
    keeper_item_put(&b, &i);
    goes_round(item_codec, &b);
    struct keeper_item j = i;
    j.source = SECRET_FILE;
    j.locator = "/run/x";
    j.size = 0;
    j.kind = SECRET_AWS_ROLE;
    keeper_item_put(&b, &j);
    goes_round(item_codec, &b);
#define REFUSED(change)      \
    j = i;                   \
    change;                  \
    keeper_item_put(&b, &j); \
    is_refused(item_codec, &b);
    REFUSED(j.name = "")
    REFUSED(j.source = SECRET_SOURCE_COUNT)
    REFUSED(j.kind = SECRET_KIND_COUNT)
    REFUSED(j.locator = "/run/x")                       /* and stored */
    REFUSED(j.source = SECRET_FILE)                     /* and nowhere */
    REFUSED((j.source = SECRET_FILE, j.locator = "/x")) /* and a size */
    REFUSED(j.size = SECRET_SOURCE_MAX + 1)
#undef REFUSED
    j = i;
    j.name = "a-name-of-more-bytes-than-a-name-may-have";
    keeper_item_put(&b, &j);
    is_not_put(&b);
    buf_done(&b);
}

TEST(starts)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct keeper_start s = { .flags = KEEPER_CERTIFICATES | KEEPER_NEW_VAULT,
                              .more = KEEPER_MORE_MAX,
                              .grants_json = "{}",
                              .work_host = "/work",
                              .expires_ns = 5,
                              .key_kind = "passphrase",
                              .epoch = 7 };
    keeper_start_put(&b, &s);
    goes_round(start_codec, &b);
    struct keeper_start t = s;
    t.flags = KEEPER_NO_VAULT;
    t.key_kind = "";
    keeper_start_put(&b, &t);
    goes_round(start_codec, &b);
#define REFUSED(change)       \
    t = s;                    \
    change;                   \
    keeper_start_put(&b, &t); \
    is_refused(start_codec, &b);
    REFUSED(t.flags = 8)
    REFUSED(t.more = KEEPER_MORE_MAX + 1)
    REFUSED(t.key_kind = "")
    REFUSED(t.key_kind = "environment")
    REFUSED(t.flags = KEEPER_NO_VAULT)
    REFUSED((t.flags = KEEPER_NO_VAULT | KEEPER_NEW_VAULT, t.key_kind = ""))
#undef REFUSED
    buf_done(&b);
}

TEST(asks)
{
    static const struct secret_field fields[5] = { { { (const uint8_t *)"x", 1 },
                                                     { (const uint8_t *)"\tv \xc3\xa9", 5 } } };
    struct buf b = BUF_INIT(FRAME_MAX);
    struct secret_ask a = { .number = 9,
                            .rule = 3,
                            .method = bytes_of("GET"),
                            .url = bytes_of("https://api.example.com/a?b=c"),
                            .fields = fields,
                            .field_count = 1 };
    secret_ask_put(&b, &a);
    goes_round(ask_codec, &b);
    struct secret_ask c = a;
    c.payload_sha256 = many(64, 'a');
    secret_ask_put(&b, &c);
    goes_round(ask_codec, &b);
    c.payload_sha256 = bytes_of("UNSIGNED-PAYLOAD");
    secret_ask_put(&b, &c);
    goes_round(ask_codec, &b);
#define REFUSED(change)     \
    c = a;                  \
    change;                 \
    secret_ask_put(&b, &c); \
    is_refused(ask_codec, &b);
    REFUSED(c.method = bytes_of(""))
    REFUSED(c.method = bytes_of("G ET"))
    REFUSED(c.url = bytes_of(""))
    REFUSED(c.url = bytes_of("https://a/\r\n"))
    REFUSED(c.payload_sha256 = bytes_of("abc"))
    REFUSED(c.payload_sha256 = many(64, 'A'))
    REFUSED(c.field_count = 5) /* more than there is room for, and without a name */
    struct secret_field bad = { bytes_of("x"), bytes_of("a\nb") };
    REFUSED(c.fields = &bad)
    bad = (struct secret_field){ bytes_of("x y"), bytes_of("a") };
    REFUSED(c.fields = &bad)
#undef REFUSED
    c = a;
    c.method = many(65, 'A');
    secret_ask_put(&b, &c);
    is_not_put(&b);
    c = a;
    c.field_count = SECRET_ASK_FIELDS_MAX + 1;
    secret_ask_put(&b, &c);
    is_not_put(&b);
    buf_done(&b);
}

TEST(values)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct secret_values v = { .number = 1, .count = 2 }, w;
    v.values[0] = (struct secret_value){ .name = bytes_of("github-token"),
                                         .value = bytes_of("0123456789abcdef"),
                                         .scrub = true };
    v.values[1] = (struct secret_value){ .name = bytes_of("authorization"),
                                         .value = bytes_of("AWS4-HMAC-SHA256 Credential=x, y=z"),
                                         .header = true };
    secret_values_put(&b, &v);
    goes_round(secret_values_codec, &b);
    w = v;
    w.values[0].value = many(SECRET_TOKEN_MAX, 'x');
    secret_values_put(&b, &w);
    CHECK(taken(secret_values_codec, &b, b.size));
    buf_clear(&b);
#define REFUSED(change)        \
    w = v;                     \
    change;                    \
    secret_values_put(&b, &w); \
    is_refused(secret_values_codec, &b);
    REFUSED(w.values[0].value = bytes_of(""))
    REFUSED(w.values[0].value = bytes_of("a b")) /* only a header has spaces */
    REFUSED(w.values[1].value = bytes_of("a\r\nb"))
    REFUSED(w.values[0].name = bytes_of(""))
#undef REFUSED
    secret_values_put(&b, &v);
    b.data[9] = 4; /* a flag that is none */
    is_refused(secret_values_codec, &b);
    w.count = SECRET_VALUES_OF_ASK_MAX + 1;
    secret_values_put(&b, &w);
    is_not_put(&b);
    w = v;
    w.values[0].value = many(SECRET_TOKEN_MAX + 1, 'x');
    secret_values_put(&b, &w);
    is_not_put(&b);
    struct secret_refused r = { .number = 1, .reason = 21, .text = bytes_of("no") };
    secret_refused_put(&b, &r);
    goes_round(secret_refused_codec, &b);
    r.reason = 0; /* allowed is no refusal */
    secret_refused_put(&b, &r);
    is_refused(secret_refused_codec, &b);
    r.text = many(SECRET_TEXT_MAX + 1, 'x');
    secret_refused_put(&b, &r);
    is_not_put(&b);
    buf_done(&b);
}

TEST(mints)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct secret_mint m = { .mint = 1,
                             .shape = SECRET_SHAPE_STS,
                             .name = bytes_of("role"),
                             .method = bytes_of("POST"),
                             .url = bytes_of("https://sts.example.com/"),
                             .body = bytes_of("a=b\r\n"),
                             .addresses = bytes_of("10.0.0.0/8, ::1"),
                             .fields = { { bytes_of("accept"), bytes_of("a/b") } },
                             .field_count = 1 },
                       n;
    secret_mint_put(&b, &m);
    goes_round(secret_mint_codec, &b);
#define REFUSED(change)      \
    n = m;                   \
    change;                  \
    secret_mint_put(&b, &n); \
    is_refused(secret_mint_codec, &b);
    REFUSED(n.mint = 0)
    REFUSED(n.shape = SECRET_SHAPE_STS + 1)
    REFUSED(n.url = bytes_of(""))
    REFUSED(n.method = bytes_of(""))
    REFUSED(n.name = bytes_of(""))
    REFUSED(n.addresses = bytes_of("a\nb"))
#undef REFUSED
    n = m;
    n.field_count = SECRET_MINT_FIELDS_MAX + 1;
    secret_mint_put(&b, &n);
    is_not_put(&b);
    n = m;
    n.body = many(SECRET_FIELD_MAX + 1, 'x');
    secret_mint_put(&b, &n);
    is_not_put(&b);
    struct secret_minted t = { .mint = 1, .status = 200, .values = { bytes_of("token") } }, u;
    t.expires_s = 5;
    secret_minted_put(&b, &t);
    goes_round(secret_minted_codec, &b);
    u = (struct secret_minted){ .mint = 1, .failure = bytes_of("no answer") };
    secret_minted_put(&b, &u);
    goes_round(secret_minted_codec, &b);
    u = t;
    u.failure = bytes_of("and yet a token");
    secret_minted_put(&b, &u);
    is_refused(secret_minted_codec, &b);
    u = t;
    u.values[0] = bytes_of("");
    secret_minted_put(&b, &u);
    is_refused(secret_minted_codec, &b);
    u = t;
    u.values[0] = bytes_of("a\r\nb");
    secret_minted_put(&b, &u);
    is_refused(secret_minted_codec, &b);
    u = t;
    u.status = 1000;
    secret_minted_put(&b, &u);
    is_refused(secret_minted_codec, &b);
    u = t;
    u.mint = 0;
    secret_minted_put(&b, &u);
    is_refused(secret_minted_codec, &b);
    buf_done(&b);
}

TEST(leaves)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct leaf_ask a = { .number = 1, .host = bytes_of("a.example.com"), .port = 443 };
    leaf_ask_put(&b, &a);
    goes_round(leaf_ask_codec, &b);
    a.port = 0;
    leaf_ask_put(&b, &a);
    is_refused(leaf_ask_codec, &b);
    a = (struct leaf_ask){ .host = bytes_of("a b"), .port = 443 };
    leaf_ask_put(&b, &a);
    is_refused(leaf_ask_codec, &b);
    a.host = bytes_of("");
    leaf_ask_put(&b, &a);
    is_refused(leaf_ask_codec, &b);
    struct leaf_given g = {
        .number = 1, .until_ns = 2, .certificate = bytes_of("DER"), .key = bytes_of("more DER")
    };
    leaf_given_put(&b, &g);
    goes_round(leaf_given_codec, &b);
    g.key = bytes_of("");
    leaf_given_put(&b, &g);
    is_refused(leaf_given_codec, &b);
    g.key = many(LEAF_DER_MAX + 1, 'x');
    leaf_given_put(&b, &g);
    is_not_put(&b);
    struct leaf_refused r = {
        .number = 1, .reason = 2, .text = bytes_of("no"), .grant = bytes_of("- http: x\n")
    };
    leaf_refused_put(&b, &r);
    goes_round(leaf_refused_codec, &b);
    r.reason = 0;
    leaf_refused_put(&b, &r);
    is_refused(leaf_refused_codec, &b);
    buf_done(&b);
}

static int item_again(const struct buf *b)
{
    struct keeper_item i;
    struct cursor c = cursor_of(b->data, b->size);
    int status = keeper_item_get(&c, &i, NULL);
    if (status == 0)
        keeper_item_done(&i);
    return status;
}

static int start_again(const struct buf *b)
{
    struct keeper_start s;
    struct cursor c = cursor_of(b->data, b->size);
    int status = keeper_start_get(&c, &s, NULL);
    if (status == 0)
        keeper_start_done(&s);
    return status;
}

TEST(no_allocation_that_fails_is_lost)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct keeper_item i = { .name = "a", .locator = "", .settings = "" };
    struct keeper_start s = { .grants_json = "", .work_host = "", .key_kind = "file" };
    keeper_item_put(&b, &i);
    TORTURE(item_again(&b));
    buf_clear(&b);
    keeper_start_put(&b, &s);
    TORTURE(start_again(&b));
    buf_done(&b);
}

TEST_MAIN()
