/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's CA: what a client that trusts it accepts (by OpenSSL's own verification, with the CA as
 * its only root), and what it does not, even when somebody has the CA's key.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "keeper/parts.h"
#include "test.h"

#define SIZE_LIMIT (256u << 10)

static struct grant_set *grants_of(const char *yaml)
{
    struct error e = ERROR_INIT;
    struct grant_set *set = NULL;
    if (grant_set_parse("t.yaml", "/", yaml, strlen(yaml), &set, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return set;
}

static struct authority *authority_of(const char *yaml)
{
    CLEANUP(grant_set_freep) struct grant_set *set = grants_of(yaml);
    struct error e = ERROR_INIT;
    struct authority *a = NULL;
    if (authority_new(set, (struct bytes){ 0 }, &a, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return a;
}

static X509 *root_of(const struct authority *a)
{
    CLEANUP(buf_done) struct buf pem = BUF_INIT(SIZE_LIMIT);
    CHECK_EQ(authority_pem(a, &pem, NULL), 0);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    CHECK(x);
    return x;
}

/* The CA's key, as somebody who took over keeper would have it. */
static EVP_PKEY *stolen_key(const struct authority *a)
{
    CLEANUP(buf_done) struct buf kept = BUF_INIT(SIZE_LIMIT);
    CHECK_EQ(authority_keep(a, &kept, NULL), 0);
    struct cursor c = cursor_of(kept.data, kept.size);
    size_t size;
    (void)cursor_u64(&c);
    (void)cursor_bytes(&c, &size);
    const unsigned char *at = cursor_bytes(&c, &size);
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)size);
    CHECK(key);
    return key;
}

static int verify(X509 *root, X509 *leaf, const char *host)
{
    struct address address;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    CHECK(X509_STORE_add_cert(store, root) == 1);
    CHECK(X509_STORE_CTX_init(context, store, leaf, NULL) == 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER);
    if (address_parse(bytes_of(host), &address) == 0)
        X509_VERIFY_PARAM_set1_ip_asc(param, host);
    else
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    int ok = X509_verify_cert(context);
    int verdict = ok == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return verdict;
}

/* A leaf, and that its key is its own. */
static int leaf_of(struct authority *a, const char *host, X509 **ret, struct error *e)
{
    CLEANUP(buf_done) struct buf certificate = BUF_INIT(SIZE_LIMIT), key = BUF_INIT(SIZE_LIMIT);
    int r = authority_leaf(a, host, &certificate, &key, e);
    if (r < 0) {
        CHECK_EQ(certificate.size, 0);
        CHECK_EQ(key.size, 0);
        return r;
    }
    const unsigned char *at = certificate.data;
    *ret = d2i_X509(NULL, &at, (long)certificate.size);
    CHECK(*ret && at == certificate.data + certificate.size);
    at = key.data;
    EVP_PKEY *own = d2i_AutoPrivateKey(NULL, &at, (long)key.size);
    CHECK(own && at == key.data + key.size);
    CHECK_EQ(X509_check_private_key(*ret, own), 1);
    EVP_PKEY_free(own);
    return 0;
}

static void good(struct authority *a, const char *host)
{
    struct error e = ERROR_INIT;
    X509 *leaf, *root = root_of(a);
    if (leaf_of(a, host, &leaf, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", host, e.what);
    int verdict = verify(root, leaf, host);
    if (verdict != X509_V_OK)
        test_fail(__FILE__, __LINE__, "%s: %s", host, X509_verify_cert_error_string(verdict));
    CHECK_EQ(verify(root, leaf, "other.example"), X509_V_ERR_HOSTNAME_MISMATCH);
    X509_free(leaf);
    X509_free(root);
}

static void refused(struct authority *a, const char *host)
{
    struct error e = ERROR_INIT;
    X509 *leaf;
    if (leaf_of(a, host, &leaf, &e) != -EACCES)
        test_fail(__FILE__, __LINE__, "a leaf of %s was made", host);
    CHECK_HAS(e.what, "made for other hosts");
    CHECK_HAS(e.hint, "start the proxy again");
}

/* A leaf that was not made by ca.c: by whoever has the key. `more` is an extension in OpenSSL's own notation. */
static X509 *forged(X509 *root, EVP_PKEY *key, int nid, const char *more)
{
    X509 *x = X509_new();
    X509V3_CTX context;
    EVP_PKEY *own = EVP_EC_gen("P-256");
    CHECK(X509_set_version(x, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "O", MBSTRING_ASC,
                               (const unsigned char *)"forged", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(root));
    X509_set_pubkey(x, own);
    X509V3_set_ctx(&context, root, x, NULL, NULL, 0);
    X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, &context, nid, more);
    X509_EXTENSION *authority =
        X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid");
    CHECK(name && authority && X509_add_ext(x, name, -1) == 1 &&
          X509_add_ext(x, authority, -1) == 1);
    X509_EXTENSION_free(name);
    X509_EXTENSION_free(authority);
    CHECK(X509_sign(x, key, EVP_sha256()) > 0);
    EVP_PKEY_free(own);
    return x;
}

/* The control: the same root without its name constraints. */
static X509 *unconstrained(const X509 *root, EVP_PKEY *key)
{
    X509 *x = X509_dup(root);
    int at = X509_get_ext_by_NID(x, NID_name_constraints, -1);
    CHECK(at >= 0);
    X509_EXTENSION_free(X509_delete_ext(x, at));
    CHECK(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static void forgery(struct authority *a, const char *name, const char *host)
{
    X509 *root = root_of(a);
    EVP_PKEY *key = stolen_key(a);
    X509 *leaf = forged(root, key, NID_subject_alt_name, name);
    X509 *open = unconstrained(root, key);
    int verdict = verify(root, leaf, host), without = verify(open, leaf, host);
    if (verdict != X509_V_ERR_PERMITTED_VIOLATION && verdict != X509_V_ERR_EXCLUDED_VIOLATION)
        test_fail(__FILE__, __LINE__, "forged %s: %s", name,
                  X509_verify_cert_error_string(verdict));
    if (without != X509_V_OK)
        test_fail(__FILE__, __LINE__, "control of %s: %s", name,
                  X509_verify_cert_error_string(without));
    X509_free(open);
    X509_free(leaf);
    EVP_PKEY_free(key);
    X509_free(root);
}

#define NAMES "version: 1\ngrants:\n- http: https://api.github.com\n- http: https://*.pypi.org\n"
#define ADDRESSES \
    "version: 1\ngrants:\n- http: https://127.0.0.1:8443\n- http: https://[2001:db8::7]\n"

TEST(names)
{
    struct authority *a = authority_of(NAMES);
    good(a, "api.github.com");
    good(a, "files.pypi.org");
    good(a, "a.b.pypi.org");
    refused(a, "github.com");
    refused(a, "evilpypi.org");
    refused(a, "api.github.com.evil.example");
    refused(a, "127.0.0.1");
    refused(a, "::1");
    authority_free(a);
}

TEST(addresses)
{
    struct authority *a = authority_of(ADDRESSES);
    good(a, "127.0.0.1");
    good(a, "2001:db8::7");
    refused(a, "127.0.0.2");
    refused(a, "2001:db8::8");
    refused(a, "localhost");
    authority_free(a);
    a = authority_of("version: 1\ngrants:\n- http: https://127.0.0.1\n");
    good(a, "127.0.0.1");
    refused(a, "::1");
    authority_free(a);
}

/* http: rules have no part in it; nothing granted is nothing signed. */
TEST(nothing_granted)
{
    struct authority *a = authority_of("version: 1\ngrants:\n- http: http://plain.example\n");
    refused(a, "plain.example");
    refused(a, "127.0.0.1");
    refused(a, "::1");
    forgery(a, "DNS:plain.example", "plain.example");
    forgery(a, "IP:127.0.0.1", "127.0.0.1");
    forgery(a, "IP:::1", "::1");
    authority_free(a);
}

/* Who has the CA's key still speaks for the granted hosts alone. */
TEST(forged_leaves)
{
    struct authority *a = authority_of(NAMES);
    forgery(a, "DNS:bank.example", "bank.example");
    forgery(a, "DNS:github.com", "github.com");
    forgery(a, "DNS:api.github.com,DNS:bank.example", "bank.example");
    forgery(a, "IP:192.0.2.1", "192.0.2.1");
    forgery(a, "IP:2001:db8::1", "2001:db8::1");
    forgery(a, "DNS:api.github.com,email:root@bank.example", "api.github.com");
    forgery(a, "DNS:api.github.com,URI:https://bank.example/", "api.github.com");
    authority_free(a);
    a = authority_of(ADDRESSES);
    forgery(a, "IP:127.0.0.2", "127.0.0.2");
    forgery(a, "IP:2001:db8::1", "2001:db8::1");
    forgery(a, "DNS:bank.example", "bank.example");
    authority_free(a);
}

/* No CA below it, and no other use. */
TEST(no_authority_below)
{
    struct authority *a = authority_of(NAMES);
    X509 *root = root_of(a), *leaf;
    CHECK_EQ(leaf_of(a, "api.github.com", &leaf, NULL), 0);
    CHECK_EQ(X509_check_ca(leaf), 0);
    CHECK_EQ(X509_get_pathlen(root), 0);
    CHECK_EQ(X509_check_ca(root), 1);
    CHECK_EQ(X509_get_key_usage(root), KU_KEY_CERT_SIGN);
    CHECK_EQ(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
    CHECK_EQ(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER);
    CHECK_EQ(X509_get_extended_key_usage(root), XKU_SSL_SERVER);
    X509_free(leaf);
    X509_free(root);
    authority_free(a);
}

static long seconds_until(const ASN1_TIME *t)
{
    int days, seconds;
    CHECK(ASN1_TIME_diff(&days, &seconds, NULL, t));
    return days * 86400L + seconds;
}

TEST(times_and_serials)
{
    struct authority *a = authority_of(NAMES), *b = authority_of(NAMES);
    X509 *root = root_of(a), *other = root_of(b), *one, *two;
    CHECK_EQ(leaf_of(a, "api.github.com", &one, NULL), 0);
    CHECK_EQ(leaf_of(a, "api.github.com", &two, NULL), 0);
    CHECK(seconds_until(X509_get0_notAfter(root)) <= 30 * 86400);
    CHECK(seconds_until(X509_get0_notAfter(root)) > 29 * 86400);
    CHECK(seconds_until(X509_get0_notBefore(root)) <= -300);
    CHECK(seconds_until(X509_get0_notAfter(one)) <= 3600);
    CHECK(seconds_until(X509_get0_notAfter(one)) > 3000);
    CHECK(seconds_until(X509_get0_notBefore(one)) <= -300);
    CHECK(ASN1_INTEGER_cmp(X509_get0_serialNumber(one), X509_get0_serialNumber(two)) != 0);
    CHECK(X509_get0_serialNumber(one)->length <= 16);
    CHECK(X509_get0_serialNumber(one)->type == V_ASN1_INTEGER); /* not negative */
    CHECK(X509_NAME_cmp(X509_get_subject_name(root), X509_get_subject_name(other)) != 0);
    EVP_PKEY *first = X509_get0_pubkey(one), *second = X509_get0_pubkey(two);
    CHECK(EVP_PKEY_eq(first, second) == 0);
    /* A leaf of one proxy is nothing to the clients of another. */
    CHECK(verify(other, one, "api.github.com") != X509_V_OK);
    X509_free(one);
    X509_free(two);
    X509_free(root);
    X509_free(other);
    authority_free(a);
    authority_free(b);
}

/* The room is killed and born again: the clients go on with the CA that they trust. */
TEST(kept)
{
    CLEANUP(buf_done) struct buf kept = BUF_INIT(SIZE_LIMIT);
    CLEANUP(grant_set_freep)
    struct grant_set *more = grants_of(NAMES "- http: https://new.example\n");
    struct error e = ERROR_INIT;
    struct authority *a = authority_of(NAMES), *b;
    X509 *root = root_of(a), *leaf;
    CHECK_EQ(authority_keep(a, &kept, &e), 0);
    authority_free(a);
    CHECK_EQ(authority_new(more, (struct bytes){ kept.data, kept.size }, &b, &e), 0);
    CHECK_EQ(leaf_of(b, "api.github.com", &leaf, &e), 0);
    CHECK_EQ(verify(root, leaf, "api.github.com"), X509_V_OK);
    refused(b, "new.example"); /* was not granted when it was made */
    X509_free(leaf);
    X509_free(root);
    authority_free(b);
}

/* Cut anywhere, or with the key of another: an error, never a CA. */
TEST(kept_wrongly)
{
    CLEANUP(buf_done)
    struct buf kept = BUF_INIT(SIZE_LIMIT), other = BUF_INIT(SIZE_LIMIT),
               mixed = BUF_INIT(SIZE_LIMIT);
    CLEANUP(grant_set_freep) struct grant_set *set = grants_of(NAMES);
    struct authority *a = authority_of(NAMES), *b = authority_of(NAMES), *c;
    size_t certificate, key;
    CHECK_EQ(authority_keep(a, &kept, NULL), 0);
    CHECK_EQ(authority_keep(b, &other, NULL), 0);
    for (size_t n = 1; n < kept.size; n += 7)
        CHECK_EQ(authority_new(set, (struct bytes){ kept.data, n }, &c, NULL), -EBADMSG);
    struct cursor one = cursor_of(kept.data, kept.size), two = cursor_of(other.data, other.size);
    buf_u64(&mixed, cursor_u64(&one));
    (void)cursor_u64(&two);
    const uint8_t *at = cursor_bytes(&one, &certificate);
    buf_bytes(&mixed, at, certificate);
    (void)cursor_bytes(&two, &certificate);
    at = cursor_bytes(&two, &key);
    buf_bytes(&mixed, at, key);
    CHECK_EQ(authority_new(set, (struct bytes){ mixed.data, mixed.size }, &c, NULL), -EBADMSG);
    authority_free(a);
    authority_free(b);
}

/* The same CA, but that it ends `seconds` from now. */
static struct authority *ending(struct authority *a, long seconds)
{
    CLEANUP(buf_done) struct buf kept = BUF_INIT(SIZE_LIMIT), changed = BUF_INIT(SIZE_LIMIT);
    EVP_PKEY *key = stolen_key(a);
    X509 *root = root_of(a);
    unsigned char *der = NULL;
    struct authority *b = NULL;
    size_t size;
    CHECK_EQ(authority_keep(a, &kept, NULL), 0);
    X509_gmtime_adj(X509_getm_notAfter(root), seconds);
    CHECK(X509_sign(root, key, EVP_sha256()) > 0);
    int der_size = i2d_X509(root, &der);
    CHECK(der_size > 0);
    struct cursor c = cursor_of(kept.data, kept.size);
    buf_u64(&changed, cursor_u64(&c));
    (void)cursor_bytes(&c, &size);
    buf_bytes(&changed, der, (size_t)der_size);
    const uint8_t *at = cursor_bytes(&c, &size);
    buf_bytes(&changed, at, size);
    CHECK_EQ(authority_new(NULL, (struct bytes){ changed.data, changed.size }, &b, NULL), 0);
    OPENSSL_free(der);
    X509_free(root);
    EVP_PKEY_free(key);
    return b;
}

/* Thirty days later. */
TEST(over)
{
    struct authority *a = authority_of(NAMES), *late = ending(a, -1), *soon = ending(a, 600);
    struct error e = ERROR_INIT;
    X509 *leaf;
    CHECK_EQ(leaf_of(late, "api.github.com", &leaf, &e), -EKEYEXPIRED);
    CHECK_HAS(e.hint, "new CA file");
    CHECK_EQ(leaf_of(soon, "api.github.com", &leaf, NULL), 0);
    CHECK(seconds_until(X509_get0_notAfter(leaf)) <= 600); /* not beyond its CA */
    X509_free(leaf);
    authority_free(soon);
    authority_free(late);
    authority_free(a);
}

static int new_and_free(const struct grant_set *set)
{
    CLEANUP(buf_done) struct buf kept = BUF_INIT(SIZE_LIMIT);
    struct error e = ERROR_INIT;
    struct authority *a = NULL;
    int r = authority_new(set, (struct bytes){ 0 }, &a, &e);
    if (r == 0)
        r = authority_keep(a, &kept, &e);
    authority_free(a);
    return r;
}

TEST(no_memory)
{
    CLEANUP(grant_set_freep) struct grant_set *set = grants_of(NAMES);
    TORTURE(new_and_free(set));
}

/* Many hosts: 1024 grants are the most there are. */
TEST(many_hosts)
{
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(SIZE_LIMIT);
    buf_puts(&yaml, "version: 1\ngrants:\n");
    for (int i = 0; i < GRANT_GRANTS_MAX; i++)
        buf_printf(&yaml, "- http: https://host-%d.example\n", i);
    struct authority *a = authority_of(buf_cstr(&yaml));
    good(a, "host-1023.example");
    refused(a, "host-1024.example");
    authority_free(a);
}

TEST_MAIN()
