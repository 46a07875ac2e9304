/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled tables: made by compile.c, read by decide.c and propose.c. */
#pragma once

#include "grant/internal.h"

/* A grant of patterns: fs, http, keyvalue. */
struct pattern_rule {
    uint32_t rule;  /* place in the set */
    uint32_t verbs; /* fs: as granted, and stat, which any verb includes; keyvalue: as granted */
    struct glob *globs;
    size_t glob_count;
};

struct rule_mount {
    struct grant_mount mount;   /* its texts belong to the set */
    struct pattern_rule *rules; /* in the order of the set; at least one */
    size_t rule_count;
};

/* The http grants of one scheme, host (or suffix) and port. */
struct http_origin {
    const struct grant *first;  /* the origin as its first grant has it */
    struct pattern_rule *rules; /* in the order of the set; at least one */
    size_t rule_count;
};

struct keyvalue_bucket {
    const char *name;
    uint64_t max_bytes;         /* the smallest that a grant names; GRANT_UNSET = none does */
    struct pattern_rule *rules; /* in the order of the set; at least one */
    size_t rule_count;
};

struct config_entry {
    const char *key, *value;
    size_t key_size;
    uint32_t rule;
};

struct grant_rules {
    struct grant_set *set; /* our copy: the texts of everything below */
    char *work_host;
    struct grant_limits limits;
    struct rule_mount *mounts; /* longest guest path first */
    size_t mount_count;
    struct config_entry *config; /* sorted by key */
    size_t config_count;
    struct http_origin *origins; /* sorted by http_origin_order() */
    size_t origin_count;
    struct keyvalue_bucket *buckets; /* sorted by name */
    size_t bucket_count;
    uint32_t stdio_rules[STDIO_STREAM_COUNT], log_rules[LOG_LEVEL_COUNT],
        class_rules[GRANT_CLASS_COUNT];
};

/* ---- compile.c ---- */
int pattern_rule_init(struct pattern_rule *ret, char *const *patterns, size_t count, bool of_urls,
                      uint32_t rule, struct error *e) MUST_CHECK;
void pattern_rules_free(struct pattern_rule *rules, size_t count);
bool pattern_rule_matches(const struct pattern_rule *rule, const char *text, size_t size);

/* ---- compile_service.c ---- */
int compile_http(struct grant_rules *r, struct error *e) MUST_CHECK;
int compile_keyvalue(struct grant_rules *r, struct error *e) MUST_CHECK;
void service_rules_done(struct grant_rules *r);
/* The order of the table: by wildcard, scheme, port and host. */
int http_origin_order(const struct grant *g, bool wildcard, bool https, uint16_t port,
                      const char *host);
/* NULL = no grant names it. */
const struct http_origin *http_origin_find(const struct grant_rules *r, bool wildcard,
                                           const struct url *url, const char *host);
const struct keyvalue_bucket *keyvalue_bucket_find(const struct grant_rules *r, const char *name);
