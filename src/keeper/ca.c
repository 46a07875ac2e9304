/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate authority of one proxy: an ECDSA P-256 key, a certificate that may sign for the
 * granted hosts alone, and leaves of an hour. Whoever trusts its certificate trusts it for those
 * hosts, even if its key is stolen: the name constraints are what a client checks.
 *
 * What X.509 can say is a little wider than a grant. A dNSName constraint covers the host and every
 * name below it, and "*.suffix" becomes "suffix", which covers the bare name too. Leaves are made
 * for hosts that a grant covers and no other: release_decide_leaf() is asked first. Ports, methods
 * and paths are no matter of certificates.
 *
 * A type of name that no constraint mentions is free (RFC 5280, 4.2.1.10), so each of those that a
 * certificate of a server may carry is mentioned: where no DNS name is granted, "" excludes them
 * all; where no address is, 0.0.0.0/0 and ::/0 do; mail and URI names are permitted at a host that
 * cannot exist (RFC 2606), because no verifier agrees with another about what excludes all of them.
 * directoryName is left alone: Go refuses a certificate whose constraints name it.
 *
 * OpenSSL works from memory: no configuration is loaded, and the default provider is part of the
 * library. After authority_new() nothing is opened.
 */
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "keeper/parts.h"

#define CA_BACK_S (5 * 60L) /* clocks differ */
#define CA_LIFE_S (30 * 86400L)
#define LEAF_LIFE_S 3600L
#define SERIAL_SIZE 16 /* 127 bits: positive in 16 octets */
#define SUBJECT_SIZE 40
#define KEPT_MAGIC UINT64_C(0x31414354494d4241)
#define DER_MAX (256u << 10)
#define NOWHERE "ambit.invalid"
#define LEAF_SUBJECT "Ambit proxy leaf" /* no host: spaces keep verifiers from taking it for one */

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    NAME_CONSTRAINTS *constraints; /* what the certificate says */
};

static int failed(struct error *e, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    bool memory = ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    return error_set(e, memory ? -ENOMEM : -EIO, "%s: %s", what,
                     reason ? reason : "OpenSSL gives no reason");
}

/* ---- parts of certificates ---- */

static EVP_PKEY *key_new(void)
{
    return EVP_EC_gen("P-256");
}

static bool set_serial(X509 *x)
{
    uint8_t bytes[SERIAL_SIZE];
    if (random_bytes(bytes, sizeof(bytes)) < 0)
        return false;
    bytes[0] &= 0x7f;
    bytes[SERIAL_SIZE - 1] |= 1; /* not 0 */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
    BN_free(number);
    return ok;
}

/* From CA_BACK_S ago for `life_s`, and not beyond `end` (NULL = no matter). */
static bool set_times(X509 *x, long life_s, const ASN1_TIME *end)
{
    time_t now = (time_t)(clock_real_ns() / (int64_t)NS_PER_S);
    if (!X509_time_adj_ex(X509_getm_notBefore(x), 0, -CA_BACK_S, &now) ||
        !X509_time_adj_ex(X509_getm_notAfter(x), 0, life_s, &now))
        return false;
    if (end && ASN1_TIME_compare(X509_get0_notAfter(x), end) > 0)
        return X509_set1_notAfter(x, end) == 1;
    return true;
}

static bool set_subject(X509_NAME *name, const char *text)
{
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
                                      (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool add_extension(X509 *x, int nid, void *value, bool critical)
{
    return value && X509_add1_ext_i2d(x, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_key_usage(X509 *x, int bit)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    bool ok = bits && ASN1_BIT_STRING_set_bit(bits, bit, 1) &&
              add_extension(x, NID_key_usage, bits, true);
    ASN1_BIT_STRING_free(bits);
    return ok;
}

/* Servers alone: with it on the CA too, no certificate of it signs mail, code or a client in. */
static bool add_server_usage(X509 *x)
{
    EXTENDED_KEY_USAGE *usage = EXTENDED_KEY_USAGE_new();
    ASN1_OBJECT *server = OBJ_nid2obj(NID_server_auth); /* static: not freed with the stack */
    bool ok = usage && sk_ASN1_OBJECT_push(usage, server) > 0 &&
              add_extension(x, NID_ext_key_usage, usage, false);
    EXTENDED_KEY_USAGE_free(usage);
    return ok;
}

/* The first 160 bits of SHA-256 of the key (RFC 7093, 2). */
static ASN1_OCTET_STRING *key_identifier(const X509 *x)
{
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(x);
    struct digest digest;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    if (!id || !bits ||
        digest_bytes(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), &digest, NULL) <
            0 ||
        !ASN1_OCTET_STRING_set(id, digest.bytes, 20)) {
        ASN1_OCTET_STRING_free(id);
        return NULL;
    }
    return id;
}

static bool add_identifier(X509 *x)
{
    ASN1_OCTET_STRING *id = key_identifier(x);
    bool ok = add_extension(x, NID_subject_key_identifier, id, false);
    ASN1_OCTET_STRING_free(id);
    return ok;
}

static bool add_authority_identifier(X509 *x, const X509 *of)
{
    AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
    if (authority)
        authority->keyid = key_identifier(of);
    bool ok = authority && authority->keyid &&
              add_extension(x, NID_authority_key_identifier, authority, false);
    AUTHORITY_KEYID_free(authority);
    return ok;
}

static bool add_basic(X509 *x)
{
    BASIC_CONSTRAINTS *basic = BASIC_CONSTRAINTS_new();
    if (!basic)
        return false;
    basic->ca = 0xff;
    basic->pathlen = ASN1_INTEGER_new();
    bool ok = basic->pathlen && ASN1_INTEGER_set(basic->pathlen, 0) &&
              add_extension(x, NID_basic_constraints, basic, true);
    BASIC_CONSTRAINTS_free(basic);
    return ok;
}

/* ---- names ---- */

/* Fills a GeneralName of a type whose value is text. */
static bool name_text(GENERAL_NAME *name, int type, const char *text)
{
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    if (!value || !ASN1_STRING_set(value, text, -1)) {
        ASN1_IA5STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    return true;
}

static bool name_bytes(GENERAL_NAME *name, const uint8_t *bytes, size_t size)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    if (!value || !ASN1_OCTET_STRING_set(value, bytes, (int)size)) {
        ASN1_OCTET_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_IPADD, value);
    return true;
}

/* A new, empty place at the end of a list of subtrees; its name, or NULL. */
static GENERAL_NAME *subtree_new(STACK_OF(GENERAL_SUBTREE) * *list)
{
    if (!*list && !(*list = sk_GENERAL_SUBTREE_new_null()))
        return NULL;
    GENERAL_SUBTREE *s = GENERAL_SUBTREE_new();
    if (!s || sk_GENERAL_SUBTREE_push(*list, s) <= 0) {
        GENERAL_SUBTREE_free(s);
        return NULL;
    }
    return s->base;
}

static bool put_text(STACK_OF(GENERAL_SUBTREE) * *list, int type, const char *text)
{
    GENERAL_NAME *name = subtree_new(list);
    return name && name_text(name, type, text);
}

/* The address itself (all bits count), or every address of its family. */
static bool put_network(STACK_OF(GENERAL_SUBTREE) * *list, const struct address *a, bool all)
{
    size_t size = a->is_v6 ? 16 : 4;
    uint8_t bytes[32] = { 0 };
    if (!all) {
        memcpy(bytes, a->bytes, size);
        memset(bytes + size, 0xff, size);
    }
    GENERAL_NAME *name = subtree_new(list);
    return name && name_bytes(name, bytes, 2 * size);
}

/* Does `g`, or a grant before it, cover the names of grant `at` already? One entry for each is enough. */
static bool repeated(const struct grant_set *set, size_t at)
{
    const char *host = set->grants[at].http.host;
    for (size_t i = 0; i < at; i++) {
        const struct grant *g = &set->grants[i];
        if (g->class == GRANT_HTTP && g->http.https && strcmp(g->http.host, host) == 0)
            return true;
    }
    return false;
}

static bool constrain_to(NAME_CONSTRAINTS *c, const struct grant_set *set)
{
    struct address v4 = { .is_v6 = false }, v6 = { .is_v6 = true };
    bool names = false, addresses = false, ok = true;
    for (size_t i = 0; ok && i < set->count; i++) {
        const struct grant *g = &set->grants[i];
        struct address a;
        if (g->class != GRANT_HTTP || !g->http.https || repeated(set, i))
            continue;
        if (!g->http.wildcard && address_parse(bytes_of(g->http.host), &a) == 0) {
            addresses = true;
            ok = put_network(&c->permittedSubtrees, &a, false);
        } else {
            names = true;
            ok = put_text(&c->permittedSubtrees, GEN_DNS, g->http.host);
        }
    }
    if (ok && !names)
        ok = put_text(&c->excludedSubtrees, GEN_DNS, "");
    if (ok && !addresses)
        ok = put_network(&c->excludedSubtrees, &v4, true) &&
             put_network(&c->excludedSubtrees, &v6, true);
    return ok && put_text(&c->permittedSubtrees, GEN_EMAIL, NOWHERE) &&
           put_text(&c->permittedSubtrees, GEN_URI, NOWHERE);
}

static bool add_constraints(X509 *x, const struct grant_set *set)
{
    NAME_CONSTRAINTS *c = NAME_CONSTRAINTS_new();
    bool ok = c && constrain_to(c, set) && add_extension(x, NID_name_constraints, c, true);
    NAME_CONSTRAINTS_free(c);
    return ok;
}

/* Exactly the host. */
static bool add_host(X509 *x, const char *host)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    struct address a;
    bool ok = names && name;
    if (ok && address_parse(bytes_of(host), &a) == 0)
        ok = name_bytes(name, a.bytes, a.is_v6 ? 16 : 4);
    else
        ok = ok && name_text(name, GEN_DNS, host);
    if (!ok || sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        ok = false;
    }
    ok = ok && add_extension(x, NID_subject_alt_name, names, false);
    GENERAL_NAMES_free(names);
    return ok;
}

/* ---- the authority ---- */

static bool make_certificate(struct authority *a, const struct grant_set *grants)
{
    char subject[SUBJECT_SIZE];
    uint32_t number;
    X509 *x = a->certificate = X509_new();
    if (!x || random_bytes(&number, sizeof(number)) < 0)
        return false;
    snprintf(subject, sizeof(subject), "Ambit proxy CA %08x", number);
    return X509_set_version(x, X509_VERSION_3) && set_serial(x) && set_times(x, CA_LIFE_S, NULL) &&
           set_subject(X509_get_subject_name(x), subject) &&
           X509_set_issuer_name(x, X509_get_subject_name(x)) && X509_set_pubkey(x, a->key) &&
           add_basic(x) && add_key_usage(x, 5 /* keyCertSign */) && add_server_usage(x) &&
           add_constraints(x, grants) && add_identifier(x) && add_authority_identifier(x, x) &&
           X509_sign(x, a->key, EVP_sha256()) > 0;
}

static int make(struct authority *a, const struct grant_set *grants, struct error *e)
{
    a->key = key_new();
    if (!a->key || !make_certificate(a, grants))
        return failed(e, "the proxy's CA cannot be made");
    return 0;
}

static int take_kept(struct authority *a, struct bytes kept, struct error *e)
{
    struct cursor c = cursor_of(kept.data, kept.size);
    size_t certificate_size, key_size;
    uint64_t magic = cursor_u64(&c);
    const unsigned char *certificate = cursor_bytes(&c, &certificate_size);
    const unsigned char *key = cursor_bytes(&c, &key_size);
    if (!cursor_finished(&c) || magic != KEPT_MAGIC || certificate_size > DER_MAX ||
        key_size > DER_MAX)
        return error_set(e, -EBADMSG, "the proxy's CA was not kept whole");
    a->certificate = d2i_X509(NULL, &certificate, (long)certificate_size);
    a->key = d2i_PrivateKey(EVP_PKEY_EC, NULL, &key, (long)key_size);
    if (!a->certificate || !a->key || X509_check_private_key(a->certificate, a->key) != 1) {
        ERR_clear_error();
        return error_set(e, -EBADMSG, "the proxy's CA was not kept whole");
    }
    return 0;
}

int authority_new(const struct grant_set *grants, struct bytes kept, struct authority **ret,
                  struct error *e)
{
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return failed(e, "OpenSSL cannot be started");
    struct authority *a = mem_zalloc(sizeof(*a));
    if (!a)
        return error_set(e, -ENOMEM, "no memory for the proxy's CA");
    int r = kept.size ? take_kept(a, kept, e) : make(a, grants, e);
    if (r == 0) {
        a->constraints = X509_get_ext_d2i(a->certificate, NID_name_constraints, NULL, NULL);
        if (!a->constraints)
            r = failed(e, "the proxy's CA has no name constraints");
    }
    if (r < 0) {
        authority_free(a);
        return r;
    }
    *ret = a;
    return 0;
}

void authority_free(struct authority *a)
{
    if (!a)
        return;
    NAME_CONSTRAINTS_free(a->constraints);
    X509_free(a->certificate);
    EVP_PKEY_free(a->key);
    mem_free(a);
}

/* Appends DER that `i2d` writes. Room is made before: a buffer that grew with a key in it would
 * leave the key behind in freed memory. */
#define PUT_DER(out, i2d, thing)                                 \
    ({                                                           \
        uint8_t *der_ = NULL;                                    \
        int size_ = i2d(thing, &der_);                           \
        if (size_ > 0)                                           \
            buf_append(out, der_, (size_t)size_);                \
        OPENSSL_clear_free(der_, size_ > 0 ? (size_t)size_ : 0); \
        size_ > 0;                                               \
    })

static void make_room(struct buf *out, size_t size)
{
    static const uint8_t nothing[1024];
    size_t before = out->size;
    for (size_t left = size; left; left -= MIN(left, sizeof(nothing)))
        buf_append(out, nothing, MIN(left, sizeof(nothing)));
    if (!out->failed)
        out->size = before;
}

int authority_keep(const struct authority *a, struct buf *out, struct error *e)
{
    CLEANUP(buf_done) struct buf certificate = BUF_INIT(DER_MAX);
    struct buf key = BUF_INIT(DER_MAX);
    make_room(&key, 1024);
    bool ok =
        PUT_DER(&certificate, i2d_X509, a->certificate) && PUT_DER(&key, i2d_PrivateKey, a->key);
    int status = ok ? buf_status(&certificate) : -EIO;
    if (status == 0)
        status = buf_status(&key);
    if (status == 0) {
        make_room(out, 16 + certificate.size + key.size);
        buf_u64(out, KEPT_MAGIC);
        buf_bytes(out, certificate.data, certificate.size);
        buf_bytes(out, key.data, key.size);
        status = buf_status(out);
    }
    if (key.data)
        mem_wipe(key.data, key.capacity);
    buf_done(&key);
    ERR_clear_error();
    return status < 0 ? error_set(e, status, "the proxy's CA cannot be kept") : 0;
}

int authority_pem(const struct authority *a, struct buf *out, struct error *e)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long size = 0;
    if (bio && PEM_write_bio_X509(bio, a->certificate) == 1)
        size = BIO_get_mem_data(bio, &text);
    if (size > 0)
        buf_append(out, text, (size_t)size);
    BIO_free(bio);
    if (size <= 0)
        return failed(e, "the proxy's CA cannot be printed");
    int status = buf_status(out);
    return status < 0 ? error_set(e, status, "no memory for the proxy's CA") : 0;
}

/* ---- leaves ---- */

static bool make_leaf(const struct authority *a, X509 *x, EVP_PKEY *key, const char *host)
{
    return X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
           set_times(x, LEAF_LIFE_S, X509_get0_notAfter(a->certificate)) &&
           set_subject(X509_get_subject_name(x), LEAF_SUBJECT) &&
           X509_set_issuer_name(x, X509_get_subject_name(a->certificate)) &&
           X509_set_pubkey(x, key) && add_key_usage(x, 0 /* digitalSignature */) &&
           add_server_usage(x) && add_host(x, host) &&
           add_authority_identifier(x, a->certificate) && X509_sign(x, a->key, EVP_sha256()) > 0;
}

/* As a client will see it: by the verifier's own reading of the constraints. */
static int check_leaf(const struct authority *a, X509 *leaf, const char *host, struct error *e)
{
    bool readable = X509_check_purpose(leaf, -1, 0) == 1; /* reads the names in */
    int verdict = readable ? NAME_CONSTRAINTS_check(leaf, a->constraints) : X509_V_ERR_UNSPECIFIED;
    ERR_clear_error();
    if (verdict == X509_V_OK)
        return 0;
    if (verdict == X509_V_ERR_OUT_OF_MEM)
        return error_set(e, -ENOMEM, "no memory for a certificate");
    error_set(e, -EACCES, "the proxy's CA was made for other hosts than %s", host);
    error_hint(e,
               "start the proxy again: a certificate's hosts cannot grow while clients trust it");
    return -EACCES;
}

static int check_life(const struct authority *a, struct error *e)
{
    if (X509_cmp_current_time(X509_get0_notAfter(a->certificate)) > 0)
        return 0;
    error_set(e, -EKEYEXPIRED, "the proxy's CA was made for 30 days, and they are over");
    error_hint(e, "start the proxy again, and give its clients the new CA file");
    return -EKEYEXPIRED;
}

int authority_leaf(struct authority *a, const char *host, struct buf *certificate, struct buf *key,
                   struct error *e)
{
    int r = check_life(a, e);
    if (r < 0)
        return r;
    X509 *leaf = X509_new();
    EVP_PKEY *own = key_new();
    if (!leaf || !own || !make_leaf(a, leaf, own, host))
        r = failed(e, "a certificate cannot be made");
    if (r == 0)
        r = check_leaf(a, leaf, host, e);
    if (r == 0) {
        make_room(key, 512);
        bool ok = PUT_DER(certificate, i2d_X509, leaf) && PUT_DER(key, i2d_PrivateKey, own);
        if (!ok)
            r = failed(e, "a certificate cannot be made");
        else if (buf_status(certificate) < 0 || buf_status(key) < 0)
            r = error_set(e, -ENOMEM, "no memory for a certificate");
    }
    X509_free(leaf);
    EVP_PKEY_free(own);
    return r;
}
