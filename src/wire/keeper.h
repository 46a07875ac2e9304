/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper, the room that holds the keys, says to control, to egress and to an ingress room that
 * stands in front of a proxy. Three channels, three tables of frames; each direction of each is
 * listed here and nowhere else. Payloads are made with struct buf and read with struct cursor, in the
 * order given.
 *
 * How a secret gets into one request:
 *
 *     egress                    control                     keeper
 *       EGRESS_REQUEST n, rule →
 *                                 (the intent is recorded)
 *                                 KEEPER_ADMIT life, n, rule →
 *       SECRET_ASK n, rule, method, url →
 *                                                   decides again by its own copy of the grants,
 *                                                   waits for the ADMIT, takes it (once)
 *       ← SECRET_VALUES n, …       ← KEEPER_USED life, n, rule, name
 *
 * So nothing is released that control has not recorded, nothing twice, nothing for a rule that does
 * not name it, and nothing for a destination that the rule does not cover.
 */
#pragma once

#include "wire/frame.h"

#define SECRET_NAME_MAX 40    /* [a-z0-9] and '-', '_', '.' inside; see grant_secret_name_check() */
#define SECRET_VALUE_MIN 16   /* bytes; shorter ones are refused: they could be guessed by echo */
#define SECRET_VALUE_MAX 4096 /* visible ASCII, no space: what a header value may hold anywhere */
#define SECRET_SOURCE_MAX 65536 /* bytes of a value that is a key (PEM of a GitHub App) */
#define SECRET_TOKEN_MAX 8192   /* of a minted credential, or of a header that signs */
#define SECRET_LOCATOR_MAX 4096
#define SECRET_SETTINGS_MAX (16u << 10)
#define SECRET_FIELD_MAX (64u << 10) /* of one header of an ask, or of a body to a token server */
#define SECRET_TEXT_MAX 1024         /* of a reason in words */
#define VAULT_SIZE_MAX (8u << 20)
#define VAULT_ITEMS_MAX 4096
#define VAULT_KEY_SIZE 32

/* ---- control ↔ keeper ---- */
enum keeper_frame {
    /* once; keeper_start_put(); fds: [0] the vault as it is (a file or memfd, read to its end; empty =
     * there is none yet), [1] what the key is read from, to its end (not read when [2] holds the key),
     * [2] memory that outlives this process (a memfd of KEEPER_STATE_SIZE, zero at first; control keeps
     * it open and never looks), and, where SET, REMOVE and REKEY may come, [3] memory for a new vault
     * (a memfd of VAULT_SIZE_MAX, sparse). Without [3] a run's keeper can change no vault. */
    KEEPER_START = 160,
    KEEPER_SOURCE, /* string name, string failure; fd: the value, to its end, when failure is "": answers WANT */
    /* u32 enum keeper_client, u32 life; fd: its socket. There is one egress, and a new one takes the
     * place of the old with all that it had asked; `life` is what ADMIT names. Of an ingress room
     * `life` is its place among the fronts (below KEEPER_FRONTS_MAX), and takes that one's. */
    KEEPER_CLIENT,
    KEEPER_GRANT,  /* wire/rules.h, as EGRESS_GRANT */
    KEEPER_REVOKE, /* as EGRESS_REVOKE */
    KEEPER_EXPIRE, /* as EGRESS_EXPIRE */
    KEEPER_ADMIT,  /* u32 life, u64 number, u32 rule: the request is recorded */
    KEEPER_ENDED, /* u32 life, u64 number: its exchange is over; what was not asked for by now is void */
    KEEPER_SET, /* keeper_item_put(); fd: the value, to its end (none for those that are fetched) */
    KEEPER_REMOVE, /* string name */
    KEEPER_LIST,   /* nothing */
    KEEPER_TEST,   /* string name: can its value be had now? */
    KEEPER_REKEY,  /* string key_kind; fd: what the new key is read from. A new salt is made */
    KEEPER_STOP,
    /* keeper → control */
    KEEPER_READY =
        192, /* once: u32 missing jail layers, string CA certificate (PEM; "" = none asked for) */
    KEEPER_FAULT, /* once, instead of READY: string text, string hint; then it exits */
    KEEPER_WANT,  /* string name, u32 enum secret_source, string locator: answered by SOURCE */
    /* u64 epoch, u32 size: the whole new vault lies at the start of START's [3]; control writes it in
     * place of the old one. Answers SET, REMOVE, REKEY, which come one at a time */
    KEEPER_VAULT,
    KEEPER_REFUSED, /* string text, string hint: answers SET, REMOVE, TEST, REKEY, with nothing changed */
    KEEPER_ITEM,      /* keeper_item_put(), one for each, then */
    KEEPER_ITEMS_END, /* nothing: answers LIST */
    KEEPER_TESTED,    /* string text ("40 bytes, read from …"; never of the value) */
    KEEPER_USED,      /* u32 life, u64 number, u32 rule, string name */
    KEEPER_DENIED,    /* u32 life, u64 number, u32 rule, string name, string why */
    KEEPER_SUSPENDED, /* string name, string why */
};

enum keeper_client { KEEPER_CLIENT_EGRESS, KEEPER_CLIENT_INGRESS };
#define KEEPER_FRONTS_MAX 64
#define KEEPER_KEY_KINDS                              \
    {                                                 \
        "file", "command", "credential", "passphrase" \
    }

/* Where a secret's value comes from. */
enum secret_source {
    SECRET_STORED,      /* in the vault */
    SECRET_FILE,        /* locator: absolute path; yours, mode 0600 at most */
    SECRET_ENVIRONMENT, /* locator: a variable of the operator's */
    SECRET_COMMAND,     /* locator: a command line for /bin/sh -c; its standard output, one line */
    SECRET_SOURCE_COUNT
};
/* What is made of the value before it is used. */
enum secret_kind {
    SECRET_PLAIN,      /* used as it is */
    SECRET_GITHUB_APP, /* value: the app's private key (PEM); a token of one installation per run */
    SECRET_OAUTH_CLIENT,   /* value: the client's secret; RFC 6749 4.4 */
    SECRET_OAUTH_EXCHANGE, /* value: the subject token; RFC 8693 */
    SECRET_AWS,            /* value: "ACCESS_KEY_ID SECRET_ACCESS_KEY"; signs requests (SigV4) */
    SECRET_AWS_ROLE,       /* the same, for a role that STS gives for an hour; signs with that */
    SECRET_KIND_COUNT
};
extern const char *const
    secret_source_names[SECRET_SOURCE_COUNT]; /* "stored", "file", "environment", "command" */
extern const char *const secret_kind_names[SECRET_KIND_COUNT]; /* "plain", "github-app", … */

/* KEEPER_SET, KEEPER_ITEM. `settings` is a JSON object of strings, by kind; unknown keys are refused:
 *   github-app      app_id, installation_id, [url = https://api.github.com], [addresses], [repositories], [permissions]
 *   oauth-client    token_url, client_id, [scope], [audience], [addresses]
 *   oauth-exchange  token_url, [client_id], [audience], [scope], [subject_token_type], [addresses]
 *   aws             region, service
 *   aws-role        region, service, role_arn, [session_name], [url], [external_id], [addresses]
 * `addresses` (networks, "a, b") as in a grant: where the token server may be beside global addresses. */
struct keeper_item {
    char *name;
    uint32_t source, kind;
    char *locator;              /* "" when stored */
    char *settings;             /* JSON object, "" = {} */
    uint64_t made_s, changed_s; /* Unix time; ITEM only */
    uint32_t version;           /* 1, 2, … as it was rotated; ITEM only */
    uint32_t size;              /* bytes of a stored value, rounded up to 16; ITEM only */
};
void keeper_item_put(struct buf *out, const struct keeper_item *i);
int keeper_item_get(struct cursor *c, struct keeper_item *ret, struct error *e) MUST_CHECK;
void keeper_item_done(struct keeper_item *i);

enum keeper_flag {
    KEEPER_CERTIFICATES = 1, /* make or go on with a CA for the granted hosts */
    KEEPER_NEW_VAULT = 2,    /* an empty vault is made (secret set) */
    KEEPER_NO_VAULT = 4,     /* only certificates: fds [0] and [1] are of /dev/null */
};
struct keeper_start {
    uint32_t flags, allow_missing, test_skip, more;
    char *grants_json, *work_host; /* as struct egress_start's */
    uint64_t expires_ns;
    char *
        key_kind; /* "file" (32 bytes raw, or base64), "command" (the same), "credential" (the same), "passphrase" (a line; stretched by scrypt with the vault's salt) */
    uint64_t
        epoch; /* of the newest vault that this installation knows (0 = none): an older one was put back */
};
#define KEEPER_STATE_SIZE (256u << 10)
#define KEEPER_MORE_MAX 512 /* as EGRESS_MORE_MAX */
void keeper_start_put(struct buf *out, const struct keeper_start *s);
int keeper_start_get(struct cursor *c, struct keeper_start *ret, struct error *e) MUST_CHECK;
void keeper_start_done(struct keeper_start *s);

/* ---- egress ↔ keeper ---- */
enum secret_frame {
    /* egress → keeper */
    SECRET_ASK = 208, /* secret_ask_put() */
    SECRET_MINTED,    /* secret_minted_put(): answers MINT */
    SECRET_ECHOED,    /* string name: an answer showed its value, and it was masked there */
    /* keeper → egress */
    SECRET_VALUES = 216, /* secret_values_put(): answers ASK; the values are wiped after use */
    SECRET_REFUSED,      /* secret_refused_put(): answers ASK */
    SECRET_MINT,         /* secret_mint_put(): a request that egress sends to a token server */
};
struct secret_field {
    struct bytes name, value;
};
/* Everything of an admitted request that keeper decides and, for AWS, signs. `url` is canonical, with
 * its query. `fields` and `payload_sha256` are there where the grant's `authorization` is one secret and nothing
 * else, which may be a signature: the headers of the client that will go out, lower case; the body's digest when its length
 * is known and at most 256 KiB. */
#define SECRET_ASK_FIELDS_MAX 256
struct secret_ask {
    uint64_t number;
    uint32_t rule;
    struct bytes method, url;
    struct bytes payload_sha256; /* hex of the body's digest, "UNSIGNED-PAYLOAD", or "" */
    const struct secret_field *fields;
    size_t field_count;
};
/* What ASK gives. With `header` false it is a secret's name and its value, for the templates of
 * set_headers; with true a header to be put on as it is (AWS). Scrub every value whose `scrub` is set. */
#define SECRET_VALUES_OF_ASK_MAX 16
struct secret_value {
    struct bytes name, value;
    bool
        header; /* put on as a header of this name, instead of the template that named the secret */
    bool scrub; /* mask it where an answer shows it */
};
struct secret_values {
    uint64_t number;
    struct secret_value values[SECRET_VALUES_OF_ASK_MAX];
    size_t count;
};
struct secret_refused {
    uint64_t number;
    uint32_t reason; /* enum grant_reason, never GRANT_ALLOWED */
    struct bytes text;
};
/* A request to a token server. Egress verifies TLS and addresses as for every request, follows nothing,
 * takes at most 64 KiB of answer, and gives back only what `shape` names. */
enum secret_shape {
    SECRET_SHAPE_OAUTH,  /* {"access_token", "expires_in"} */
    SECRET_SHAPE_GITHUB, /* {"token", "expires_at"} */
    SECRET_SHAPE_STS, /* AssumeRole as JSON: AccessKeyId, SecretAccessKey, SessionToken, Expiration */
};
#define SECRET_MINT_FIELDS_MAX 16
struct secret_mint {
    uint64_t mint; /* keeper's number for it */
    uint32_t shape;
    struct bytes name; /* of the secret, for records */
    struct bytes method, url, body;
    struct bytes addresses; /* networks that are allowed beside global ones, "a, b" */
    struct secret_field fields[SECRET_MINT_FIELDS_MAX];
    size_t field_count;
};
struct secret_minted {
    uint64_t mint;
    uint16_t status; /* of HTTP; 0: none */
    struct bytes
        failure; /* "" = it worked; else in words, without a byte of the answer but an OAuth error code */
    struct bytes values[3]; /* token; or access key id, secret access key, session token */
    uint64_t expires_s;     /* Unix time; 0 = not said */
};
void secret_ask_put(struct buf *out, const struct secret_ask *a);
int secret_ask_get(struct cursor *c, struct secret_field *fields, size_t fields_max,
                   struct secret_ask *ret, struct error *e) MUST_CHECK;
void secret_values_put(struct buf *out, const struct secret_values *v);
int secret_values_get(struct cursor *c, struct secret_values *ret, struct error *e) MUST_CHECK;
void secret_refused_put(struct buf *out, const struct secret_refused *r);
int secret_refused_get(struct cursor *c, struct secret_refused *ret, struct error *e) MUST_CHECK;
void secret_mint_put(struct buf *out, const struct secret_mint *m);
int secret_mint_get(struct cursor *c, struct secret_mint *ret, struct error *e) MUST_CHECK;
void secret_minted_put(struct buf *out, const struct secret_minted *m);
int secret_minted_get(struct cursor *c, struct secret_minted *ret, struct error *e) MUST_CHECK;

/* ---- ingress ↔ keeper ---- */
enum leaf_frame {
    /* ingress → keeper */
    LEAF_ASK = 224, /* leaf_ask_put() */
    /* keeper → ingress */
    LEAF_GIVEN = 228, /* leaf_given_put() */
    LEAF_REFUSED,     /* leaf_refused_put() */
};
struct leaf_ask {
    uint64_t number;
    struct bytes host; /* canonical, an address without brackets */
    uint16_t port;
};
struct leaf_given {
    uint64_t number, until_ns;     /* CLOCK_MONOTONIC: until then it is good */
    struct bytes certificate, key; /* DER; wipe the key after use */
};
struct leaf_refused {
    uint64_t number;
    uint32_t reason;          /* enum grant_reason, never GRANT_ALLOWED */
    struct bytes text, grant; /* grant: the smallest, "" = none helps */
};
#define LEAF_DER_MAX 4096
#define LEAF_GRANT_MAX 4096
void leaf_ask_put(struct buf *out, const struct leaf_ask *a);
int leaf_ask_get(struct cursor *c, struct leaf_ask *ret, struct error *e) MUST_CHECK;
void leaf_given_put(struct buf *out, const struct leaf_given *g);
int leaf_given_get(struct cursor *c, struct leaf_given *ret, struct error *e) MUST_CHECK;
void leaf_refused_put(struct buf *out, const struct leaf_refused *r);
int leaf_refused_get(struct cursor *c, struct leaf_refused *ret, struct error *e) MUST_CHECK;
