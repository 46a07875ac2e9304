/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the keeper room share. Nobody else includes it.
 *
 *   keeper.c    birth, jail, the loop over its channels, frames of control
 *   vault.c     sealed records: open, seal, list. Pure: bytes in, bytes out
 *   state.c     the memory that outlives the room
 *   values.c    the values of this life: where they came from, when they go
 *   release.c   a request of egress: decides by the grants, waits for its admission, gives values
 *   settings.c  what the settings of each kind of secret are
 *   mint.c      short-lived credentials: what to ask a token server, what came of it
 *   jwt.c       the App's JWT (RFC 7519, RS256)
 *   sigv4.c     AWS Signature Version 4
 *   ca.c        the proxy's CA and its leaves (ECDSA P-256, name constraints)
 *
 * Every buffer that held a key, a value or a plaintext record is wiped before it is freed (mem_wipe,
 * secret_free below), on every path. Nothing of a value is in an error's text.
 */
#pragma once

#include "base/mem.h"
#include "grant/live.h"
#include "room/channel.h"
#include "wire/egress.h"
#include "wire/keeper.h"

/* Bytes that are wiped when they go, and stay out of swap where this machine lets them. */
struct secret_bytes {
    uint8_t *data;
    size_t size;
};
int secret_copy(struct secret_bytes *into, const void *bytes,
                size_t size) MUST_CHECK; /* wipes what was there */
void secret_done(struct secret_bytes *s);
/* A buf for keys, values and plaintexts: all of `max` is there at once, so that it never moves and
 * leaves a copy behind; secret_buf_done() wipes what it held. */
int secret_buf(struct buf *ret, size_t max, struct error *e) MUST_CHECK;
void secret_buf_done(struct buf *b);

/* ---- vault.c ---- */

struct vault_record {
    struct keeper_item item;
    struct secret_bytes value; /* stored ones */
};
struct vault {
    uint8_t id[16];   /* of the installation: records of another do not open */
    uint8_t salt[16]; /* of a passphrase */
    uint64_t epoch;   /* one more with each change */
    uint8_t key[VAULT_KEY_SIZE];
    struct vault_record *records;
    size_t count;
};
/* The key that `text` (what was read from key_kind, to its end) is; scrypt for a passphrase. */
int vault_key(const char *key_kind, const uint8_t salt[static 16], struct bytes text,
              uint8_t ret[static VAULT_KEY_SIZE], struct error *e) MUST_CHECK;
int vault_new(struct vault *ret, struct error *e) MUST_CHECK; /* without a key */
/* The salt of a vault before its key is known: nobody has vouched for it yet. */
int vault_peek(struct bytes file, uint8_t ret_salt[static 16], struct error *e) MUST_CHECK;
/* -EKEYREJECTED: another key, or changed by somebody; -EBADMSG: cut, not a vault; -ESTALE: older than `epoch`. */
int vault_unseal(struct bytes file, const uint8_t key[static VAULT_KEY_SIZE], uint64_t epoch,
                 struct vault *ret, struct error *e) MUST_CHECK;
int vault_seal(struct vault *v, struct buf *out, struct error *e) MUST_CHECK; /* with epoch + 1 */
struct vault_record *vault_find(struct vault *v, const char *name);
/* Takes the record at the end (also on failure). */
int vault_add(struct vault *v, struct vault_record *taken, struct error *e) MUST_CHECK;
void vault_record_done(struct vault_record *r);
void vault_done(struct vault *v);
/* What an index says once it is open; only the fuzzer comes here without a key. */
struct vault_place {
    uint8_t tag[16];
    uint32_t size; /* of the plaintext */
};
int vault_index_read(struct bytes plain, uint32_t count, struct vault *v,
                     struct vault_place *ret_places, struct error *e) MUST_CHECK;

/* ---- state.c: the memory that outlives the room. Each part is there whole or not at all, whenever
 * the room is killed; what is relied upon is written before it is. ---- */

struct keeper_state;
/* Maps the memfd; -EBADMSG when it is too small, or of another version. */
int state_map(int fd, struct keeper_state **ret, struct error *e) MUST_CHECK;
void state_unmap(struct keeper_state *s);
bool state_key(const struct keeper_state *s, uint8_t ret[static VAULT_KEY_SIZE]);
void state_keep_key(struct keeper_state *s, const uint8_t key[static VAULT_KEY_SIZE]);
/* The CA's bytes; empty: none were kept. */
struct bytes state_authority(const struct keeper_state *s);
int state_keep_authority(struct keeper_state *s, struct bytes kept, struct error *e) MUST_CHECK;
/* How often answers showed this secret; state_echoed() counts one more. UINT32_MAX: no place left for
 * the name, which must do as if it were often. */
uint32_t state_echoes(const struct keeper_state *s, const char *name);
uint32_t state_echoed(struct keeper_state *s, const char *name);
/* Releases by a rule. */
#define STATE_RULES_MAX (GRANT_GRANTS_MAX + KEEPER_MORE_MAX)
uint64_t state_released(const struct keeper_state *s, uint32_t rule);
void state_release(struct keeper_state *s, uint32_t rule);
/* The last STATE_SPENT_MAX admissions that were taken. */
#define STATE_SPENT_MAX 4096
void state_spend(struct keeper_state *s, uint32_t life, uint64_t number);
bool state_is_spent(const struct keeper_state *s, uint32_t life, uint64_t number);
bool state_has_spent(const struct keeper_state *s); /* any */

/* ---- sigv4.c ---- */

struct sigv4_request {
    const char *region, *service;
    struct bytes key_id, secret, session; /* session: "" = long-lived keys */
    uint64_t now_s;
    struct bytes method, url; /* canonical */
    struct bytes payload;     /* the body's SHA-256 in hex, or for S3 what stands in its place */
    const struct secret_field
        *fields; /* names in lower case; of x-amz-date, -security-token and -content-sha256
                                        * what is signed is ours, not what is here; so with host */
    size_t field_count;
};
bool sigv4_is_s3(const char *service);
#define SIGV4_DATE_SIZE 17 /* "20150830T123600Z" */
/* The value of `authorization`, appended, and of x-amz-date. To be sent besides: x-amz-security-token with a session,
 * x-amz-content-sha256 (the payload) to S3. */
int sigv4_sign(const struct sigv4_request *q, char ret_date[static SIGV4_DATE_SIZE],
               struct buf *authorization, struct error *e) MUST_CHECK;

/* ---- jwt.c ---- */

/* Is it an RSA key of 2048 bits or more, in PEM (PKCS #1 or #8), without a password? */
int jwt_key_check(struct bytes pem, struct error *e) MUST_CHECK;
/* A GitHub App's JWT, appended: from a minute ago for ten. */
int jwt_app(struct bytes pem, const char *app_id, uint64_t now_s, struct buf *out,
            struct error *e) MUST_CHECK;

/* ---- settings.c ---- */

/* The settings of an item, checked: an object of texts (json_decref). Errors name the key that is missing or not known. */
int settings_read(const struct keeper_item *i, json_t **ret, struct error *e) MUST_CHECK;
const char *setting_text(const json_t *settings, const char *name, const char *otherwise);
/* The next item of a list "a, b": 1; 0 at its end; -EINVAL when it is empty. */
int setting_next(const char **at, struct bytes *ret) MUST_CHECK;
/* "name" or "name: value", of letters, digits and a few marks. */
bool setting_split(struct bytes item, char ret_name[static 128], char ret_value[static 128]);
int setting_url(const char *text, struct buf *out,
                struct error *e) MUST_CHECK; /* https, canonical */

/* ---- mint.c: what is made of a value. Pure but for the clock. ---- */

struct keeper_value { /* values.c keeps one for each secret that the grants name */
    struct keeper_item item;
    struct secret_bytes source;   /* the stored or fetched value */
    struct secret_bytes token[3]; /* minted: token; or AWS's three */
    uint64_t token_until_s;       /* Unix time; 0: none */
    uint64_t minting;             /* number of the mint under way, or 0 */
    bool suspended;
    unsigned echoes;
};
/* Are the settings those of its kind, and the value one that it can use? For SET, TEST and the start.
 * Without a value (data NULL) the settings alone. */
int mint_check(const struct keeper_item *i, struct bytes value, struct error *e) MUST_CHECK;
bool mint_wanted(const struct keeper_value *v,
                 uint64_t now_s); /* there is no token, or it ends within a minute */
/* The request to the token server, into `scratch` (texts of `ret` point into it; wipe it after sending). */
int mint_request(const struct keeper_value *v, uint64_t now_s, struct buf *scratch,
                 struct secret_mint *ret, struct error *e) MUST_CHECK;
int mint_take(struct keeper_value *v, const struct secret_minted *m, uint64_t now_s,
              struct error *e) MUST_CHECK;
/* What egress is given for an ask, added to `into` (nothing of it when it fails): a value for the template, or signed
 * headers. Texts point into v and scratch, which grows once at most, and not while MINT_VALUES_MAX are free for each secret
 * of the ask: what points into it from before stays good then only. */
#define MINT_VALUES_MAX (16u << 10)
int mint_values(const struct keeper_value *v, const struct secret_ask *a, uint64_t now_s,
                struct buf *scratch, struct secret_values *into, struct error *e) MUST_CHECK;

/* ---- ca.c ---- */

struct authority; /* key, certificate, what it may sign for */
/* A new one, constrained to the hosts of the grants' https rules; or the one in `kept` (authority_keep()'s bytes), which
 * stays constrained as it was: constraints cannot grow while clients trust the certificate. Sets OpenSSL up
 * without its configuration: before the jail, and nothing is opened later. */
int authority_new(const struct grant_set *grants, struct bytes kept, struct authority **ret,
                  struct error *e) MUST_CHECK;
void authority_free(struct authority *a);
/* Holds the CA's key: wipe it. */
int authority_keep(const struct authority *a, struct buf *out, struct error *e) MUST_CHECK;
int authority_pem(const struct authority *a, struct buf *out, struct error *e) MUST_CHECK;
/* A leaf for one host (a name, or an address without brackets), good for an hour: DER of certificate and of its key
 * (as d2i_AutoPrivateKey() reads it; wipe it). -EACCES: outside the CA's constraints; -EKEYEXPIRED: the CA is over. Both
 * with a hint: start the proxy again. A third of a millisecond, a twelfth of it the key: none is made ahead. */
int authority_leaf(struct authority *a, const char *host, struct buf *certificate, struct buf *key,
                   struct error *e) MUST_CHECK;

/* ---- release.c ---- */

/* May the secrets of its rule go into this request? Decides by the grants alone: GRANT_ALLOWED or why
 * not. Headers that the rule requires are not looked at: keeper sees none. */
enum grant_reason release_decide(const struct grant_live *t, const struct secret_ask *a);
/* May a leaf of this host be made: is there an https rule, neither revoked nor expired, that covers
 * it? `ret_grant` gets the smallest grant if not, where one helps. */
enum grant_reason release_decide_leaf(const struct grant_live *t, struct bytes host, uint16_t port,
                                      struct buf *ret_grant);
