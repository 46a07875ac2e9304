/* SPDX-License-Identifier: Apache-2.0 */
/* What print.c and print_service.c share. */
#pragma once

#include "grant/internal.h"

/* YAML */
void put_words(struct buf *out, uint32_t bits, const char *const *names, size_t count);
void put_strings(struct buf *out, char *const *strings, size_t count);
void put_pairs(struct buf *out, const struct grant_pair *pairs, size_t count);

/* JSON; NULL = no memory. */
/* Takes `value`. False when there is no memory. */
bool member_put(json_t *object, const char *key, json_t *value);
json_t *words_to_json(uint32_t bits, const char *const *names, size_t count);
json_t *strings_to_json(char *const *strings, size_t count);
json_t *pairs_to_json(const struct grant_pair *pairs, size_t count);
/* What `put` writes, as a string. */
json_t *amount_to_json(void (*put)(struct buf *, uint64_t), uint64_t value);

/* words */
void say(struct buf *out, const char *text); /* escaped */
void say_words(struct buf *out, uint32_t bits, const char *const *names, size_t count);

/* ---- print_service.c ---- */
/* What follows "- CLASS: "; the lines after the first start with `indent`. */
void put_http(struct buf *out, const struct grant *g, const char *indent);
void put_keyvalue(struct buf *out, const struct grant *g, const char *indent);
json_t *http_origin_to_json(const struct grant *g);
/* Further members of the item. */
bool http_to_json(const struct grant *g, json_t *object);
bool keyvalue_to_json(const struct grant *g, json_t *object);
void explain_http(const struct grant *g, struct buf *out);
void explain_keyvalue(const struct grant *g, struct buf *out);
