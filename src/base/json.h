/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON and strict YAML, both read into jansson values (json_t), so that everything that reads a
 * document reads one shape. Reading YAML is libyaml behind a strict filter: one document; no
 * anchors, aliases, tags, merge keys, duplicate keys; limits on depth (32), nodes (100,000) and
 * size (1 MiB); UTF-8 only, no NUL. Plain scalars follow the YAML 1.2 core schema: true/false,
 * null/~, decimal integers within int64, floats; everything else is a string ("no", "on", "0777"
 * and "1:30" are strings).
 *
 * Every node read from a text remembers its line and column: ask the document, not the json_t.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"

struct document; /* a parsed text: the root value and the places of its nodes */

/* Reads YAML or, when the first byte that is not white space is `{` or `[`, JSON (same limits,
 * duplicate keys refused, strict RFC 8259). `name` is used in errors only. */
int document_parse(const char *name, const char *text, size_t size, struct document **ret,
                   struct error *e) MUST_CHECK;
void document_free(struct document *d);
static inline void document_freep(struct document **d)
{
    document_free(*d);
}
const json_t *document_root(const struct document *d);
/* Where a node of this document starts; both 0 when unknown. For a member of an object, the place
 * of its key is `document_place_of_key`. */
void document_place(const struct document *d, const json_t *node, unsigned *ret_line,
                    unsigned *ret_column);
void document_place_of_key(const struct document *d, const json_t *object, const char *key,
                           unsigned *ret_line, unsigned *ret_column);

/* RFC 8785 canonical JSON of a value. Integers only or doubles in ECMAScript form. */
int json_canonical(const json_t *value, struct buf *out) MUST_CHECK;
/* One line of compact JSON, members in the order they were inserted, control characters escaped,
 * and non-ASCII bytes that are not UTF-8 refused by the value's constructor. */
int json_line(const json_t *value, struct buf *out) MUST_CHECK;
/* A json string from bytes that may be hostile: valid UTF-8 is kept, other bytes become U+FFFD.
 * NULL = no memory. */
json_t *json_string_lossy(const void *bytes, size_t size);
json_t *json_string_of(const char *text); /* the same of a C string; null of NULL */
json_t *json_count(uint64_t n); /* an integer; at most INT64_MAX, which JSON readers can hold */
/* Appends `text` as a YAML scalar: plain where that reads back as the same string, else
 * double-quoted. */
void yaml_put_string(struct buf *out, const char *text);
static inline void json_freep(json_t **value)
{
    json_decref(*value);
}
