/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grant model: what a grant file says (struct grant_set), the tables it compiles to (struct
 * grant_rules), the one matcher that every check in Ambit uses, "b is covered by a", and the
 * smallest grant that a denial prints.
 *
 * Pure: no clock, no file, no environment; a relative host path in a file is resolved against the
 * base folder given by the caller, lexically. Deciding allocates nothing and cannot fail.
 *
 * Classes here: fs (dir, memory), env, args, stdio, config, clock, random, log, http, keyvalue (a
 * bucket in memory, of the run), and limits, expires. Every other class, backing or key of the
 * design's grammar is an error that says it is not there yet (P8).
 *
 * Grammar of the classes that the design leaves open:
 *   - env: { NAME: value, … }                 variables the guest sees
 *   - args: given                              the arguments typed after FILE
 *     args: [a, b]                             exactly these, whatever was typed
 *   - stdio: [stdin, stdout, stderr]           a subset
 *   - config: { key: value, … }                wasi:config/store
 *   - clock: real                              or a timestamp: frozen wall clock, monotonic counts from 0
 *                                              by 1 µs per reading
 *   - random: real                             or a seed string: a repeatable stream
 *   - log: [trace, debug, info, warn, error, critical]   a subset
 *   - http: https://api.github.com             scheme://host[:port]; *.suffix; see wire/url.h
 *     methods: [GET, POST]                     default GET and HEAD; "*" = any
 *     paths: [/repos/acme/issues]              patterns of the canonical path, default any; the
 *                                              query is free
 *     require_headers: { accept: value }       the request must carry each, and no other value of it
 *     set_headers: { authorization: value }    put on by egress, over whatever the guest set
 *     strip_headers: [cookie]                  taken off the request
 *     max_requests: 20    rate: 30/min         (N/s, N/min, N/h)
 *     max_request_bytes, max_response_bytes    of bodies, each request
 *     timeout: 30s                             of the whole exchange
 *     addresses: [127.0.0.0/8]                 what it may dial besides global addresses
 *     websocket: true                          a GET may become a WebSocket
 *   - keyvalue: cache                          a bucket
 *     allow: [get, set, delete, list, increment]
 *     keys: [run-1]    rate: 100/s             keys: patterns, default any
 *     max_bytes: 1MiB                          of the bucket; of several grants the smallest counts
 * Without a clock grant time is frozen at 1970-01-01, without a random grant the stream is that of
 * the empty seed; both readings are denials that are recorded.
 *
 * Path patterns are relative to the mount: `*` and `?` within a segment, `**` as a whole segment for
 * any number of segments, zero too (after `src/` it covers `src` itself), `\` quotes the next
 * character, `.` alone is the mount's own root. A pattern with `..`, an empty segment, a leading `/`
 * or a NUL is an error; so is what other tools give a meaning and this one does not: `[`, `{` and a
 * leading `!` must be quoted, `**` within a name. `?` is one code point. Names that start with a dot
 * are names like any other.
 * Patterns of URL paths begin with `/`, and what follows it is such a pattern of the canonical path
 * (wire/url.h) without its `/`; "/" alone is the root. They have no `?`, which in a URL begins the
 * query. Those of keys match the key, "." the empty one. In both, names may be empty (`/a/`,
 * `/a//b`): a pattern means an empty name by writing one, `**` covers it, `*` alone does not.
 *
 * Verbs: each operation needs a fixed set, decided from its arguments alone, without looking:
 *   open for reading: read · for writing: write · O_CREAT: create (besides) · O_TRUNC: write ·
 *   a folder: stat
 *   readdir: list · stat, readlink, access: stat, which any other verb on that path includes
 *   mkdir: create · unlink, rmdir: delete · rename: rename, on both names
 *   hard link: link on both names · symlink: link
 *   set size, set times: write
 * ro = read list stat; rw = all eight.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "wire/http.h"
#include "wire/url.h"

enum grant_class {
    GRANT_FS,
    GRANT_ENV,
    GRANT_ARGS,
    GRANT_STDIO,
    GRANT_CONFIG,
    GRANT_CLOCK,
    GRANT_RANDOM,
    GRANT_LOG,
    GRANT_HTTP,
    GRANT_KEYVALUE,
    GRANT_CLASS_COUNT,
    /* no class of the grammar yet: what a guest asked of a network is denied under this name */
    GRANT_NETWORK = GRANT_CLASS_COUNT
};
const char *grant_class_name(enum grant_class c); /* as the grammar writes it */

enum fs_verb {
    FS_READ = 1,
    FS_LIST = 2,
    FS_STAT = 4,
    FS_WRITE = 8,
    FS_CREATE = 16,
    FS_DELETE = 32,
    FS_RENAME = 64,
    FS_LINK = 128,
    FS_RO = FS_READ | FS_LIST | FS_STAT,
    FS_RW = 255,
};
/* The grammar's words, in the order of the bits of enum fs_verb and enum stdio_stream. */
#define FS_VERB_COUNT 8
extern const char *const fs_verb_names[FS_VERB_COUNT];
enum kv_verb { KV_GET = 1, KV_SET = 2, KV_DELETE = 4, KV_LIST = 8, KV_INCREMENT = 16, KV_ALL = 31 };
#define KV_VERB_COUNT 5
extern const char *const kv_verb_names[KV_VERB_COUNT];
enum stdio_stream { STDIO_IN = 1, STDIO_OUT = 2, STDIO_ERR = 4 };
#define STDIO_STREAM_COUNT 3
extern const char *const stdio_stream_names[STDIO_STREAM_COUNT];
/* wasi:logging's order. */
enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_CRITICAL };
#define LOG_LEVEL_COUNT 6
extern const char *const log_level_names[LOG_LEVEL_COUNT];
enum grant_backing { GRANT_BACKING_DIR, GRANT_BACKING_MEMORY };

#define GRANT_UNSET UINT64_MAX /* a limit or quota that nobody named */
#define GRANT_GRANTS_MAX 1024
#define GRANT_PATTERNS_MAX 1024 /* per grant */

struct grant_pair {
    char *key, *value;
};

/* One grant, as read. `origin` is where a person finds it: "policy.yaml:7", "--read", "default". */
struct grant {
    enum grant_class class;
    char *origin;
    struct {
        char *guest; /* absolute, normalised */
        enum grant_backing backing;
        char *host; /* DIR: absolute, normalised lexically; else NULL */
        uint32_t verbs;
        char **paths; /* as written; at least one */
        size_t path_count;
        /* of what is written or made in this run; GRANT_UNSET = no quota */
        uint64_t max_bytes, max_files;
    } fs;
    struct {
        bool https;
        bool wildcard;  /* "*.suffix": any number of labels before it, at least one */
        char *host;     /* canonical (wire/url.h); of a wildcard the suffix, without "*." */
        uint16_t port;  /* the scheme's where none was named */
        char **methods; /* as they go on the wire; empty = GET and HEAD; one "*" = any */
        size_t method_count;
        char **paths; /* begin with "/"; at least one */
        size_t path_count;
        struct grant_pair *require, *set; /* names in lower case */
        size_t require_count, set_count;
        char **strip;
        size_t strip_count;
        /* GRANT_UNSET where not named */
        uint64_t max_requests, max_request_bytes, max_response_bytes, timeout_ns;
        struct network *addresses;
        size_t address_count;
        bool websocket; /* `websocket: true`: GETs may become WebSockets */
    } http;
    struct {
        char *bucket;
        uint32_t verbs; /* enum kv_verb bits */
        char **keys;    /* patterns, relative; at least one */
        size_t key_count;
        uint64_t max_bytes; /* of all keys and values of the bucket; GRANT_UNSET = 16 MiB */
    } keyvalue;
    uint64_t rate_count, rate_ns; /* http, keyvalue: so many in so long; GRANT_UNSET = free */
    struct grant_pair *pairs;     /* env, config */
    size_t pair_count;
    char **args; /* args: the literal list, with args_given false */
    size_t arg_count;
    bool args_given;
    uint32_t streams; /* stdio: enum stdio_stream bits */
    uint32_t levels;  /* log: bit per enum log_level */
    bool real;        /* clock, random: the host's own */
    int64_t clock_ns; /* clock, not real */
    char *seed;       /* random, not real */
};

struct grant_limits {
    uint64_t memory_bytes, cpu_ns, wall_ns, handles, output_bytes, hostcalls;
};
/* What `ambit run` uses where nobody says anything; printed by --help and doctor. */
extern const struct grant_limits grant_limits_default;

struct grant_set {
    struct grant *grants;
    size_t count;
    struct grant_limits limits; /* GRANT_UNSET where not named */
    uint64_t expires_ns;        /* after the start of the run; GRANT_UNSET = never */
};

/* Reads a grant file (YAML or JSON). `name` is for errors and origins; `base_dir` (absolute) is
 * what relative host paths stand against. Errors carry line and column, and their text starts with
 * "name:line:column: ". The set is owned by the caller. */
int grant_set_parse(const char *name, const char *base_dir, const char *text, size_t size,
                    struct grant_set **ret, struct error *e) MUST_CHECK;
int grant_set_new(struct grant_set **ret, struct error *e) MUST_CHECK;
void grant_set_free(struct grant_set *s);
static inline void grant_set_freep(struct grant_set **s)
{
    grant_set_free(*s);
}
/* Adds one grant, taking its strings (also on failure); checks it as the parser does. */
int grant_set_add(struct grant_set *s, struct grant *taken, struct error *e) MUST_CHECK;
void grant_done(struct grant *g);
/* Adds all of `from` to `into` (copies); limits: the smaller of the two, unset ones give way. */
int grant_set_merge(struct grant_set *into, const struct grant_set *from,
                    struct error *e) MUST_CHECK;

/* --read/--write PATH[:GUEST] as a grant: `work_host` is the folder that appears as /work (the
 * command's own). A file (`is_folder` false: the caller looked, at what grant_path_flag_host gives)
 * is its parent folder with its name as the only path. */
int grant_from_path_flag(const char *flag, const char *value, bool write, bool is_folder,
                         const char *work_host, struct grant *ret, struct error *e) MUST_CHECK;
/* --net '[METHOD[,METHOD…] ]URL-PATTERN': without methods GET and HEAD; without a path any. A `*` or
 * `**` in the path is the grammar's. A host that is a literal address is in `addresses`, too. */
int grant_from_net_flag(const char *flag, const char *value, struct grant *ret,
                        struct error *e) MUST_CHECK;
/* --keyvalue NAME[:VERB,VERB…]: without verbs all of them, of every key. */
int grant_from_keyvalue_flag(const char *flag, const char *value, struct grant *ret,
                             struct error *e) MUST_CHECK;
/* The host path that such a flag names, absolute; the caller frees it. */
int grant_path_flag_host(const char *flag, const char *value, const char *work_host, char **ret,
                         struct error *e) MUST_CHECK;

/* The part of `path` below `folder` ("" for itself), or NULL when it is not there. Both absolute and
 * in shortest form. */
const char *grant_path_below(const char *folder, const char *path);
/* The grammar's text again, every path absolute: parse(print(s)) has the same rules. JSON: the same
 * data as one value. */
int grant_set_print(const struct grant_set *s, struct buf *yaml, struct error *e) MUST_CHECK;
/* One "- …" list item, unindented. */
int grant_print(const struct grant *g, struct buf *yaml, struct error *e) MUST_CHECK;
json_t *grant_set_to_json(const struct grant_set *s); /* NULL = no memory */
/* In words, one sentence per line, for `ambit grant explain`. */
int grant_set_explain(const struct grant_set *s, struct buf *out, struct error *e) MUST_CHECK;

/* ---- compiled ---- */

struct grant_rules; /* immutable, holds what it needs of the set (the set may be freed) */

/* Mounts are the distinct guest paths of the fs grants, longest first. Two grants of one guest path
 * must have the same source (then their verbs and patterns add up), else an error with both
 * origins. */
struct grant_mount {
    const char *guest; /* absolute, "/" included */
    size_t guest_size;
    enum grant_backing backing;
    const char *host;
    uint32_t verbs; /* the union over its rules: read-only mounts are opened read-only */
};

int grant_rules_new(const struct grant_set *s, const char *work_host, struct grant_rules **ret,
                    struct error *e) MUST_CHECK;
void grant_rules_free(struct grant_rules *r);
/* A rule of fs, http or keyvalue allows nothing from now on; its place stays, so that what refers to
 * it by number still means it. */
void grant_rules_retire(struct grant_rules *r, uint32_t rule);
static inline void grant_rules_freep(struct grant_rules **r)
{
    grant_rules_free(*r);
}
size_t grant_rules_mount_count(const struct grant_rules *r);
const struct grant_mount *grant_rules_mount(const struct grant_rules *r, size_t index);
/* A rule is a grant's place in the set; its count is the set's. */
size_t grant_rules_count(const struct grant_rules *r);
const struct grant *grant_rules_grant(const struct grant_rules *r, size_t rule);
const struct grant_limits *grant_rules_limits(const struct grant_rules *r); /* defaults filled in */

#define GRANT_NO_RULE UINT32_MAX
enum grant_reason {
    GRANT_ALLOWED,
    GRANT_NO_GRANT, /* no mount, no grant of the class */
    GRANT_NO_PATH,  /* no pattern covers it */
    GRANT_NO_VERB,
    GRANT_QUOTA_BYTES,
    GRANT_QUOTA_FILES,
    GRANT_EXPIRED,
    GRANT_REVOKED,
    GRANT_NOT_REGULAR,   /* device, FIFO, socket */
    GRANT_CROSSES_MOUNT, /* a host mount point inside the granted folder */
    GRANT_NOT_OFFERED,   /* no grant of this version allows it */
    GRANT_NO_METHOD,     /* http: the path is covered, the method is not */
    GRANT_NO_HEADER,     /* http: a required header is missing or has another value */
    GRANT_NO_ADDRESS,    /* http: resolves to an address that is not global, nor in `addresses` */
    GRANT_NEVER_ADDRESS, /* http: metadata services, Ambit's own listeners: no grant helps */
    GRANT_MALFORMED,     /* http: no canonical destination (wire/url.h): no grant helps */
    GRANT_TOO_MANY,      /* max_requests is used up */
    GRANT_RATE,          /* faster than `rate` */
    GRANT_TOO_LARGE,     /* max_request_bytes, max_response_bytes */
    GRANT_NO_UPGRADE,    /* http: a WebSocket, and the grant has no `websocket: true` */
    GRANT_PLACEHOLDER, /* http: a placeholder of a secret outside the header that the grant names: no grant helps */
    GRANT_SECRET, /* http: keeper did not release the secret; the text says why: no grant helps */
    GRANT_DISAGREES, /* http: CONNECT, SNI, Host or :authority name different hosts: no grant helps */
    GRANT_REASON_COUNT
};
/* As programs read it, in receipts and problem documents: "no-path". */
const char *grant_reason_name(enum grant_reason r);
const char *grant_reason_text(enum grant_reason r); /* "no pattern of the grant covers this path" */

struct grant_decision {
    enum grant_reason reason; /* GRANT_ALLOWED or why not */
    uint32_t rule;            /* what allowed it, or what came nearest; GRANT_NO_RULE = nothing */
    uint32_t missing;         /* fs: verbs that were missing */
};

/* The mount that holds an absolute normalised guest path (longest prefix): 1 and its index and the
 * rest ("" for its root, no leading slash), or 0. */
int grant_mount_of(const struct grant_rules *r, const char *guest, size_t size, size_t *ret_mount,
                   const char **ret_rest);
struct grant_decision grant_decide_fs(const struct grant_rules *r, size_t mount, const char *rest,
                                      size_t rest_size, uint32_t verbs);
struct grant_decision grant_decide_stdio(const struct grant_rules *r, uint32_t stream);
struct grant_decision grant_decide_config(const struct grant_rules *r, const char *key, size_t size,
                                          const char **ret_value);
struct grant_decision grant_decide_log(const struct grant_rules *r, enum log_level level);
/* A request as it was canonicalised. Looks at the rules from place `from` of the set on, so that a
 * caller whose counters or addresses refuse one rule can ask for the next that allows it: the
 * reason then is the nearest miss after it. Headers: names in lower case. */
struct grant_http_request {
    const struct url *url;
    struct bytes method;
    const struct http_field *headers;
    size_t header_count;
    bool upgrade; /* a WebSocket is asked for */
    /* Keeper decides without headers: what a rule requires of them is taken as carried. */
    bool headers_unseen;
};
struct grant_decision grant_decide_http(const struct grant_rules *r,
                                        const struct grant_http_request *request, uint32_t from);
/* Is the rule of http, and of this scheme, host and port, whatever the path and method? */
bool grant_rule_has_origin(const struct grant_rules *r, uint32_t rule, const struct url *url);
/* Would the rule's `addresses` let it dial this? GRANT_ALLOWED, NO_ADDRESS or NEVER_ADDRESS. */
enum grant_reason grant_decide_address(const struct grant_rules *r, uint32_t rule,
                                       const struct address *a);
bool grant_rules_have(const struct grant_rules *r, enum grant_class c);
/* `verb`: bits of enum kv_verb, which add up over the grants of a bucket. Without a key (NULL) it is
 * about the bucket itself: whether some key of it could be used with the verbs; verb 0: whether
 * there is a grant of the bucket at all. */
struct grant_decision grant_decide_keyvalue(const struct grant_rules *r, const char *bucket,
                                            const char *key, size_t size, uint32_t verb);
/* How many bytes of keys and values the bucket may hold: the smallest max_bytes of its grants. */
#define GRANT_KEYVALUE_BYTES_DEFAULT (UINT64_C(16) << 20)
uint64_t grant_keyvalue_max_bytes(const struct grant_rules *r, const char *bucket);
/* env, args, clock, random: is there one? */
struct grant_decision grant_decide_class(const struct grant_rules *r, enum grant_class c);

/* ---- secrets in set_headers ---- */

/* The value of a set header is a template: text in which ${secret:NAME} stands for the value of a
 * secret. A grant with one is of https, or of a literal loopback address. */
/* [a-z0-9], then also - _ . inside; at most SECRET_NAME_MAX. 0 or -EINVAL with a hint. */
int grant_secret_name_check(const char *name, struct error *e) MUST_CHECK;
struct grant_template_part {
    struct bytes text;   /* literal, may be empty */
    struct bytes secret; /* the name behind it, empty at the end */
};
/* Walks a checked template: 1 and a part, 0 at its end. *at begins as the value. */
int grant_template_next(const char **at, struct grant_template_part *ret);
bool grant_template_has_secret(const char *value);
bool grant_has_secret(const struct grant *g); /* any of its set headers */
/* The names of all secrets in the set, each once, sorted (mem_free each and the array). */
int grant_set_secrets(const struct grant_set *s, char ***ret, size_t *ret_count,
                      struct error *e) MUST_CHECK;
/* --secret NAME@HOST[=HEADER-TEMPLATE]: sets the header (default `authorization: Bearer ${secret}`; `${secret}`
 * stands for ${secret:NAME}) in every http grant of the set that is of https and of HOST, with HOST[:PORT] as in a
 * grant. -ENOENT with a hint when there is none: --net must cover it. */
int grant_secret_flag(struct grant_set *s, const char *flag, const char *value,
                      struct error *e) MUST_CHECK;

/* ---- the smallest grant that would have allowed it ---- */

/* One list item of the grammar, absolute paths, that pasted under `grants:` makes exactly this
 * succeed. For fs, `guest` is the final path that was matched, `missing` what the decision said;
 * -EINVAL when that is nothing (quota, expiry), or belongs to the kernel (/proc, /sys, /dev): no grant helps. */
int grant_propose_fs(const struct grant_rules *r, const char *guest, uint32_t missing,
                     struct grant *ret, struct error *e) MUST_CHECK;
/* The same for the path and all that is below it: moving a folder. */
int grant_propose_fs_tree(const struct grant_rules *r, const char *guest, uint32_t missing,
                          struct grant *ret, struct error *e) MUST_CHECK;
int grant_propose_stdio(uint32_t stream, struct grant *ret, struct error *e) MUST_CHECK;
/* With value "". */
int grant_propose_config(const char *key, struct grant *ret, struct error *e) MUST_CHECK;
int grant_propose_log(enum log_level level, struct grant *ret, struct error *e) MUST_CHECK;
/* For exactly this method, host and path; with `address` (may be NULL) also that address, and for a
 * literal host its own, where they are not global. -EINVAL for reasons where no grant helps:
 * NEVER_ADDRESS, MALFORMED, TOO_MANY, RATE, TOO_LARGE, EXPIRED, REVOKED. */
int grant_propose_http(const struct grant_rules *r, const struct grant_http_request *request,
                       enum grant_reason reason, const struct address *address, struct grant *ret,
                       struct error *e) MUST_CHECK;
/* Without a key (NULL): for every key of the bucket. */
int grant_propose_keyvalue(const char *bucket, const char *key, uint32_t verb, struct grant *ret,
                           struct error *e) MUST_CHECK;
/* clock: real, random: real, args: given. */
int grant_propose_class(enum grant_class c, struct grant *ret, struct error *e) MUST_CHECK;

/* ---- algebra ---- */

/* 0: every operation that `b` allows, `a` allows too, and every limit, quota and expiry of `b` is
 * at most that of `a`; 1: not so, and `ret_why` (may be NULL) names the first thing that is not
 * covered. Sound, never too generous: what it cannot prove is not covered. */
int grant_covers(const struct grant_set *a, const struct grant_set *b, struct buf *ret_why,
                 struct error *e) MUST_CHECK;
/* Is pattern b ⊆ pattern a? (exact for this pattern language) */
bool grant_pattern_covers(const char *a, const char *b);
/* Is there a path that both match? True too when that cannot be told (too large a question, no
 * memory). */
bool grant_pattern_intersects(const char *a, const char *b);
bool grant_pattern_matches(const char *pattern, const char *path, size_t size);
/* The pattern that matches exactly this relative path ("." for ""). mem_free; NULL = no memory. */
char *grant_pattern_quote(const char *path) MUST_CHECK;
