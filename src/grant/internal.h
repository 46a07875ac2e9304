/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. Nobody else includes it. */
#pragma once

#include "base/mem.h"
#include "base/text.h"
#include "grant/grant.h"

#define GRANT_PATH_MAX 4096    /* bytes of a guest or host path */
#define GRANT_PATTERN_MAX 8192 /* bytes of a pattern: a path with every character quoted */
#define GRANT_PAIRS_MAX 4096   /* variables, or config keys, of a whole set */
#define GRANT_NAME_MAX \
    256 /* of a variable or key; YAML ends a key on one line at 1,024 characters */
#define GRANT_NUMBER_MAX INT64_MAX /* of a limit or quota: what a document can hold */

/* ---- names.c ---- */
/* The class of a name, or -1. */
int grant_class_by_name(const char *name);
/* A class of the design's grammar that this version does not have. */
bool grant_class_is_planned(const char *name);
/* A backing of `fs` that this version does not have. */
bool grant_backing_is_planned(const char *name);
/* The name that was probably meant, or NULL. */
const char *name_nearest(const char *word, const char *const *names, size_t count);

/* ---- path.c ---- */
/* 0 when `path` is absolute and in its shortest form; else an error with the form to write. */
int guest_path_check(const char *path, struct error *e) MUST_CHECK;
/* A host path made absolute against `base` and brought into its shortest form, without looking at
 * the disk. */
int host_path_resolve(const char *base, const char *path, char **ret, struct error *e) MUST_CHECK;
/* folder + "/" + rest, right for "/" and for an empty rest. NULL = no memory. */
char *path_join(const char *folder, const char *rest) MUST_CHECK;

/* ---- glob.c ---- */
int glob_check(const char *pattern, struct error *e) MUST_CHECK;
/* The same where names are no files': empty ones, `.` and `..` are names, too. */
int glob_check_any(const char *pattern, struct error *e) MUST_CHECK;
/* Appends the pattern that matches exactly this relative path: "" gives ".". */
void glob_quote(struct buf *out, const char *path, size_t size);

/* A pattern prepared for matching. Most are one of three shapes that need no walk. */
enum glob_kind {
    GLOB_ALL,
    GLOB_EXACT,
    GLOB_UNDER /* "literal" and everything below it */,
    GLOB_GENERAL
};
struct glob {
    enum glob_kind kind;
    const char *pattern; /* borrowed */
    char *literal;       /* owned: EXACT and UNDER, quoting removed */
    size_t literal_size;
};
int glob_init(struct glob *g, const char *pattern) MUST_CHECK; /* 0 or -ENOMEM */
void glob_done(struct glob *g);
bool glob_matches(const struct glob *g, const char *path, size_t size);

/* The pattern as a sequence of tokens over symbols, for include.c: every segment is "/" and its
 * characters. */
enum glob_token_kind {
    GLOB_CHAR,
    GLOB_ANY_CHAR,
    GLOB_STAR,
    GLOB_SLASH,
    GLOB_DEEP_GATE,
    GLOB_DEEP_LOOP,
    GLOB_END
};
struct glob_token {
    enum glob_token_kind kind;
    uint32_t symbol;
};
/* Appends to an array of `capacity` tokens; returns how many, GLOB_END included. strlen + 2 per
 * segment always fit. */
size_t glob_tokens(const char *pattern, struct glob_token *into);
size_t glob_token_bound(const char *pattern);

/* ---- include.c ---- */
/* Work that an inclusion may spend before it gives up; shared by the steps of one question. */
struct glob_budget {
    uint64_t left;
    bool empty_names; /* paths with empty names count: keys and URLs */
};
#define GLOB_BUDGET UINT64_C(64000000)
/* 0: every path at or below `prefix` (a pattern without wildcards; "." for all) that `pattern`
 * matches is matched by one of `covers`; 1: not so; 2: the budget ran out; < 0 a fault. */
int glob_included(const char *pattern, const char *prefix, const char *const *covers, size_t count,
                  struct glob_budget *budget) MUST_CHECK;
/* 0: no path matches both; 1: one does, or the budget ran out; < 0 a fault. */
int glob_intersects(const char *a, const char *b, struct glob_budget *budget) MUST_CHECK;

/* ---- set.c ---- */
/* One grant by itself: what grant_set_add checks before it looks at the others. */
int grant_check(const struct grant *g, struct error *e) MUST_CHECK;
int grant_no_memory(struct error *e);
int strings_of_one(const char *text, char ***ret, size_t *ret_count, struct error *e) MUST_CHECK;
bool strings_have(char *const *strings, size_t count, const char *text);

/* ---- check_service.c ---- */
#define GRANT_HEADERS_MAX 64        /* in each of require, set and strip of a grant */
#define GRANT_HEADER_VALUE_MAX 8192 /* bytes */
#define GRANT_METHODS_MAX 32
#define GRANT_ADDRESSES_MAX 256
/* Puts GRANT_UNSET where 0 would mean something. */
void grant_service_init(struct grant *g);
int http_check(const struct grant *g, struct error *e) MUST_CHECK;
int keyvalue_check(const struct grant *g, struct error *e) MUST_CHECK;
/* scheme://host[:port] into the fields of `g`. */
int http_origin_read(const char *text, struct grant *g, struct error *e) MUST_CHECK;
bool http_host_is_address(const struct grant *g, struct address *ret);
int http_method_check(const char *method, struct error *e) MUST_CHECK;
int http_path_check(const char *pattern, struct error *e) MUST_CHECK;
/* The pattern of glob.c for one of an http grant: without its "/". */
const char *http_path_glob(const char *pattern);
int http_header_name_check(const char *name, struct error *e) MUST_CHECK;
/* Of a header that the guest must send: text. */
int http_header_value_check(const char *value, struct error *e) MUST_CHECK;
int http_text_check(const char *value, struct error *e) MUST_CHECK;
/* "30/min" */
int rate_parse(const char *text, uint64_t *ret_count, uint64_t *ret_ns, struct error *e) MUST_CHECK;
void rate_put(struct buf *out, uint64_t count, uint64_t ns);
void lower_case(char *text); /* ASCII */

/* ---- template.c ---- */
/* Of a header that egress sets: text in which ${secret:NAME} may stand. */
int http_template_check(const char *value, struct error *e) MUST_CHECK;
/* May secrets go where this grant of http goes, and so many? */
int http_secrets_check(const struct grant *g, struct error *e) MUST_CHECK;

/* ---- compile.c ---- */
/* Puts the defaults where nothing is named. */
void grant_limits_fill(struct grant_limits *limits);
