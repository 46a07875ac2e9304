/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one source of what the command line understands and says about itself: const tables of verbs,
 * flags, arguments, examples, exit codes, environment and files. --help, the manual pages (roff)
 * and the completions of bash, zsh and fish are printed from them, and the flag parser (cli_next)
 * knows no other flags.
 */
#pragma once

#include "base/buf.h"

enum help_value {
    HELP_NONE /* a switch */,
    HELP_TEXT,
    HELP_FILE,
    HELP_FOLDER,
    HELP_CHOICE /* value_name lists them: a|b|c */
};

struct help_flag {
    int id;           /* the verb's own number for a switch statement; 0 where it uses cli_is() */
    char short_name;  /* 0 = none */
    const char *name; /* without the dashes */
    enum help_value value;
    const char *value_name; /* "PATH[:GUEST]" */
    const char *text;       /* one sentence */
};
struct help_pair {
    const char *left, *right;
};

struct help_verb {
    const char *name;
    const char *usage;   /* what follows "ambit " */
    const char *summary; /* one line */
    const char
        *description; /* paragraphs, separated by an empty line; lines of at most 90 columns */
    const struct help_flag *flags;
    size_t flag_count;
    const struct help_pair *examples; /* command, what it does */
    size_t example_count;
    const char *words;   /* completion of the first word: "ls gc verify", "@file", or NULL */
    bool default_limits; /* print them */
    int (*main)(int argc, char **argv);
};

const struct help_verb *help_verb_find(const char *name); /* NULL: no such verb */
const struct help_verb *help_verbs(size_t *ret_count);
extern const struct help_pair help_exit_codes[], help_environment[], help_files[];

/* What `run` and `serve` understand; their rows carry these ids. */
enum help_run_flag {
    RUN_FLAG_READ = 1,
    RUN_FLAG_WRITE,
    RUN_FLAG_NET,
    RUN_FLAG_KEYVALUE,
    RUN_FLAG_ENV,
    RUN_FLAG_CONFIG,
    RUN_FLAG_CLOCK,
    RUN_FLAG_RANDOM,
    RUN_FLAG_LOG,
    RUN_FLAG_GRANTS,
    RUN_FLAG_BARE,
    RUN_FLAG_MEMORY,
    RUN_FLAG_CPU,
    RUN_FLAG_WALL,
    RUN_FLAG_HANDLES,
    RUN_FLAG_OUTPUT,
    RUN_FLAG_HOSTCALLS,
    RUN_FLAG_EXPIRES,
    RUN_FLAG_TMP,
    RUN_FLAG_CWD,
    RUN_FLAG_INVOKE,
    RUN_FLAG_RECEIPT,
    RUN_FLAG_LEARN,
    RUN_FLAG_ASK,
    RUN_FLAG_JSON,
    RUN_FLAG_QUIET,
    RUN_FLAG_ALLOW_MISSING,
    RUN_FLAG_CA,
    RUN_FLAG_RESOLVER,
    RUN_FLAG_SECRET,
    RUN_FLAG_VAULT_KEY,
};

/* What only `serve` understands. */
enum help_serve_flag {
    SERVE_FLAG_LISTEN = 100,
    SERVE_FLAG_METRICS,
    SERVE_FLAG_ACCESS_LOG,
    SERVE_FLAG_TLS_CERT,
    SERVE_FLAG_TLS_KEY,
    SERVE_FLAG_WORKERS,
    SERVE_FLAG_CONNECTIONS,
    SERVE_FLAG_CONCURRENCY,
    SERVE_FLAG_QUEUE,
    SERVE_FLAG_CLIENT_TIMEOUT,
    SERVE_FLAG_KEEP_ALIVE,
    SERVE_FLAG_DRAIN,
};

/* What only `proxy` understands; what it shares with `run` and `serve` has their ids. */
enum help_proxy_flag {
    PROXY_FLAG_ENV = 200,
    PROXY_FLAG_CA_OUT,
    PROXY_FLAG_FRONTS,
};

void help_put_version(struct buf *out); /* what --version prints */
void help_put_overview(struct buf *out);
void help_put_verb(struct buf *out, const struct help_verb *v);
void help_put_man(struct buf *out, const struct help_verb *v); /* NULL: ambit(1) itself */
/* "bash", "zsh" or "fish"; false: unknown shell. */
bool help_put_completion(struct buf *out, const char *shell);
