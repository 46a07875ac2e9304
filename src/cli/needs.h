/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a component's imports need before they give anything, and a grant file that would give it:
 * for `ambit inspect`. Works on the description that the compiler room made; names in it are
 * hostile and are escaped where they are put.
 */
#pragma once

#include "base/json.h"

enum need_kind {
    NEED_NOTHING, /* every toolchain imports it; it gives nothing that could do harm */
    NEED_STDIO,
    NEED_ARGS_ENV,
    NEED_CLOCK,
    NEED_RANDOM,
    NEED_LOG,
    NEED_CONFIG,
    NEED_FS,
    NEED_HTTP,
    NEED_KEYVALUE,
    NEED_REFUSES,   /* linked, and every call is refused */
    NEED_NOT_THERE, /* stops the start */
    NEED_COUNT
};

struct need {
    enum need_kind kind;
    const char *grant; /* class of the grant that backs it ("fs"), or NULL */
    const char *text;  /* for people: one line */
};
/* Of an import's name, version included. */
struct need need_of(const char *interface);

/* All that a description's imports ask for together. */
struct needs {
    bool kinds[NEED_COUNT];
    bool args, environment, input, output, errors;
    /* enum fs_verb bits that its functions can use; 0 where it never gets the root folder */
    uint32_t fs_verbs;
};
struct needs needs_of(const json_t *description);
/* Everything a script may come to ask: the component that runs it imports all of it. */
struct needs needs_of_script(void);

/* A grant file with all of it, smallest authority first: valid as it is. `name` is the file's. */
void needs_put_skeleton(struct buf *out, const char *name, const struct needs *n);
/* The functions of an interface's WIT text, one a line: "output-stream.write: func(…) -> …".
 * Escaped, each after `indent`. */
void needs_put_functions(struct buf *out, const char *wit, const char *indent);
