/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What FILE on the command line is, and what has to be run for it: a component, module or WAT text
 * itself, or, for a script, the component of its language that ships, with the script as its first
 * argument and a grant of its own for the script's file.
 *
 * Kinds are told by the first bytes (ambit_kind_of) and, for scripts only, by the name's end or the
 * #! line. Nothing here parses WebAssembly. What Ambit does not run is an outcome with a reason and
 * what to do instead.
 *
 * Where a script stands in the guest's world: typed relative to the working directory, below /work
 * at the same place; typed absolute, or leading out of the working directory by `..`, at its
 * absolute place. A script whose own name is a symbolic link stands where the link leads. When that
 * folder of the guest's world is taken by another source, or the script came through a pipe, it
 * stands in /run/ambit.
 */
#pragma once

#include "base/digest.h"
#include "grant/grant.h"

#define TARGET_STREAM_MAX (64u << 20) /* of standard input or a pipe */
#define TARGET_SCRIPT_MAX (64u << 20)
#define TARGET_SCRATCH_GUEST "/run/ambit"

/* A script's language; its component ships as share/ambit/FILE. */
enum target_language { TARGET_WASM, TARGET_PYTHON, TARGET_JAVASCRIPT, TARGET_LANGUAGE_COUNT };
struct target_language_facts {
    const char *name;     /* in receipts and --json: "component", "python", "javascript" */
    const char *title;    /* "Python" */
    const char *file;     /* "python.wasm" */
    const char *variable; /* of the environment, names another component */
};
extern const struct target_language_facts target_languages[TARGET_LANGUAGE_COUNT];

struct target {
    char *name;           /* what the person typed; "standard input" for - */
    int fd;               /* the WebAssembly bytes: a regular file, or a sealed memfd */
    char *component_path; /* of fd; "" when it has none */
    enum target_language language;
    bool took_stdin; /* FILE was -: the guest's own standard input is empty */
    char *argv0;
    /* of a script: */
    char *script_guest, *script_host;
    struct digest script_digest;
    uint64_t script_size;
    char *scratch;  /* folder made for this run (removed by target_done), or NULL */
    int scratch_fd; /* holds its lock */
};

struct target_spec {
    const char *file;              /* as typed */
    const char *work_host;         /* the command's own folder, absolute and real */
    const char *const *components; /* by language, from the environment; each may be NULL */
    const char *scratch_root; /* folder of ours for scratch folders: the state folder's "tmp" */
    const struct grant_set
        *grants; /* what else is granted: says whether the script's place is taken */
};

/* 0; 1: Ambit does not run this, `e` says why and what to do; < 0: it could not be read. */
int target_open(const struct target_spec *spec, struct target *ret, struct error *e) MUST_CHECK;
void target_done(struct target *t);
/* The language of a script with this name that begins so; TARGET_WASM when it is none by name or #!
 * line. */
enum target_language target_language_of(const char *name, const uint8_t *head, size_t size);
/* Where the component of a language is: `named` (of the environment, may be NULL), else beside the
 * command. 0 (mem_free), 1 not there, < 0. */
int target_find_component(enum target_language language, const char *named, char **ret_path,
                          struct error *e) MUST_CHECK;
/* The grant for a script's own file. */
int target_script_grant(const struct target *t, struct grant *ret, struct error *e) MUST_CHECK;

/* `path` below `base` (absolute) as an absolute path without `.`, `..`, empty segments; lexical.
 * mem_free. */
char *path_absolute(const char *base, const char *path) MUST_CHECK;
