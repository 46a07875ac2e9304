/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that stand for secrets where a native client can put them (wire/egress.h). Pure.
 */
#pragma once

#include "base/buf.h"
#include "wire/egress.h"

#define PLACEHOLDER_PREFIX "AMBIT_SECRET_" /* whatever has it, anywhere, was meant to be one */
struct placeholder {
    char *name, *token;
};
/* A JSON object, name → token; "" = none. */
int placeholders_parse(const char *json, struct placeholder **ret, size_t *ret_count,
                       struct error *e) MUST_CHECK;
void placeholders_free(struct placeholder *all, size_t count);
/* A field's value with its placeholders replaced, those for which `value_of` has a value (data not
 * NULL); what "Basic" stands before is decoded and encoded again. How many there were. */
typedef struct bytes (*placeholder_value)(void *context, const char *name);
int placeholder_fill(struct bytes value, const struct placeholder *all, size_t count,
                     placeholder_value value_of, void *context, struct buf *out) MUST_CHECK;
