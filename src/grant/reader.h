/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of a grant file, shared by parse.c (the document, files, values) and parse_service.c (http,
 * keyvalue). */
#pragma once

#include "grant/internal.h"

struct reader {
    const struct document *document;
    const char *name, *base_dir;
    struct grant_set *set;
    struct error *error;
    const json_t
        *object;     /* the member being read: its key is the place of values that have none, */
    const char *key; /* which true, false and null are */
};

/* Place the error that was just set, and give its code. */
int at_key(struct reader *r, const json_t *object, const char *key, int code);
int at_node(struct reader *r, const json_t *node, int code);

struct member {
    void *at;
    const char *key;
    const json_t *value;
};
/* The next member of a mapping, from a zeroed one on; remembers for at_node() which it is. */
bool member_next(struct reader *r, const json_t *object, struct member *m);

int fail_type(struct reader *r, const json_t *node, const char *noun, const char *wanted);
/* `word` is none of the names. */
int fail_word(struct reader *r, const char *noun, const char *word, const char *where,
              const char *const *names, size_t count);

/* A string without hidden surprises: numbers and booleans get the hint to quote them. */
int read_string(struct reader *r, const json_t *node, const char *noun,
                const char **ret) MUST_CHECK;
int read_string_copy(struct reader *r, const json_t *node, const char *noun, char **ret) MUST_CHECK;

enum unit { UNIT_SIZE, UNIT_DURATION, UNIT_COUNT };
int read_amount(struct reader *r, const json_t *node, const char *key, enum unit unit,
                uint64_t *ret) MUST_CHECK;

int read_word_list(struct reader *r, const json_t *node, const char *key, const char *noun,
                   const char *const *names, size_t count, uint32_t *ret) MUST_CHECK;

/* A list of strings, each checked at its own place. The array is the caller's also on failure. */
struct list_kind {
    const char *key, *noun;
    const char *without; /* what leaving the key out means */
    size_t max;
    bool lower; /* ASCII letters become lower case */
    int (*check)(const char *text, struct error *e);
};
int read_string_list(struct reader *r, const json_t *node, const struct list_kind *kind,
                     char ***ret, size_t *ret_count) MUST_CHECK;

/* ---- parse_service.c ---- */
int read_http(struct reader *r, const json_t *item, const json_t *value,
              struct grant *g) MUST_CHECK;
int read_keyvalue(struct reader *r, const json_t *item, const json_t *value,
                  struct grant *g) MUST_CHECK;
