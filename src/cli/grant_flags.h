/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags that say what a guest may do and use up: what `run` and `serve` share. They become one
 * grant set; grant files are merged into it. Their rows in the tables of flags are GRANT_FLAG_ROWS
 * and LIMIT_FLAG_ROWS, with the ids of enum help_run_flag.
 */
#pragma once

#include "cli/cli.h"

struct grant_flags {
    struct grant_set *set;
    char *work_host;      /* the command's own folder, which appears as /work */
    const char **secrets; /* --secret, as typed: they join grants that may come after them */
    size_t secret_count;
    const char *vault_key; /* --vault-key, or NULL */
    bool again; /* rooms run: a grant file that is a pipe by now would hold up all of them */
};
int grant_flags_init(struct grant_flags *f, struct error *e) MUST_CHECK;
void grant_flags_done(struct grant_flags *f);
/* Takes the flag that cli_next() gave. 0: it was one of these; 1: it is none of them; < 0 an error:
 * of a grant where the flag gives or names grants (exit code CLI_GRANT), else of usage: ask
 * grant_flags_fail(). */
int grant_flags_take(struct grant_flags *f, const struct cli *c, struct error *e) MUST_CHECK;
/* After the last flag: what refers to others of them. An error is one of a grant. */
int grant_flags_finish(struct grant_flags *f, struct error *e) MUST_CHECK;
/* After an error: prints it and gives the exit code. */
int grant_flags_fail(const struct cli *c, struct error *e);

#define GRANT_FLAG_ROWS                                                                                \
    { RUN_FLAG_READ,  'r',                                                                             \
      "read",         HELP_FILE,                                                                       \
      "PATH[:GUEST]", "Let it read and list PATH (a file, or a folder with all below it)." },          \
        { RUN_FLAG_WRITE, 'w',                                                                         \
          "write",        HELP_FILE,                                                                   \
          "PATH[:GUEST]", "Let it read, write, create, rename, link and delete in PATH." },            \
        { RUN_FLAG_NET,                                                                                \
          'n',                                                                                         \
          "net",                                                                                       \
          HELP_TEXT,                                                                                   \
          "[METHOD,… ]URL",                                                                            \
          "Let it send requests to URL, whose path may have * and **; GET and HEAD unless "            \
          "methods are named." },                                                                      \
        { RUN_FLAG_SECRET,                                                                             \
          0,                                                                                           \
          "secret",                                                                                    \
          HELP_TEXT,                                                                                   \
          "NAME@HOST[=HEADER: …]",                                                                     \
          "Send a secret of the vault with its requests to HOST, which it never sees: as "             \
          "`authorization: Bearer ${secret}`, or in HEADER." },                                        \
        { RUN_FLAG_VAULT_KEY,                                                                          \
          0,                                                                                           \
          "vault-key",                                                                                 \
          HELP_TEXT,                                                                                   \
          "SOURCE",                                                                                    \
          "Where the vault's key is: file:PATH, passphrase, credential:NAME or command:LINE." },       \
        { RUN_FLAG_KEYVALUE,                                                                           \
          0,                                                                                           \
          "keyvalue",                                                                                  \
          HELP_TEXT,                                                                                   \
          "BUCKET[:VERB,…]",                                                                           \
          "Give it a bucket of wasi:keyvalue in memory: get, set, delete, list, increment." },         \
        { RUN_FLAG_ENV,   'e',                                                                         \
          "env",          HELP_TEXT,                                                                   \
          "NAME[=VALUE]", "Give it one variable; without a value, yours of that name." },              \
        { RUN_FLAG_CONFIG, 0, "config", HELP_TEXT, "KEY=VALUE", "Give it one value of wasi:config." }, \
        { RUN_FLAG_CLOCK,                                                                              \
          0,                                                                                           \
          "clock",                                                                                     \
          HELP_TEXT,                                                                                   \
          "real|TIMESTAMP",                                                                            \
          "The clock it sees: the real one, or one that stands at 2026-01-01T00:00:00Z." },            \
        { RUN_FLAG_RANDOM,  0,                                                                         \
          "random",         HELP_TEXT,                                                                 \
          "real|seed:TEXT", "Its random bytes: real ones, or the repeatable stream of a seed." },      \
        { RUN_FLAG_LOG,                                                                                \
          0,                                                                                           \
          "log",                                                                                       \
          HELP_TEXT,                                                                                   \
          "LEVEL[,LEVEL…]",                                                                            \
          "Levels of wasi:logging it may write: trace debug info warn error critical, or all." },      \
        { RUN_FLAG_GRANTS, 'g',    "grants",                                                           \
          HELP_FILE,       "FILE", "Add the grants of a grant file (repeatable)." },                   \
    {                                                                                                  \
        RUN_FLAG_EXPIRES, 0, "expires", HELP_TEXT, "TIME",                                             \
            "Grants end this long after the start; later uses are denied."                             \
    }

#define LIMIT_FLAG_ROWS                                                                      \
    { RUN_FLAG_MEMORY, 'm',    "memory",                                                     \
      HELP_TEXT,       "SIZE", "Memory, summed over all memories and tables of the run." },  \
        { RUN_FLAG_CPU, 0, "cpu", HELP_TEXT, "TIME", "CPU time." },                          \
        { RUN_FLAG_WALL, 't', "wall", HELP_TEXT, "TIME", "Time by the clock on the wall." }, \
        { RUN_FLAG_HANDLES, 0,   "handles",                                                  \
          HELP_TEXT,        "N", "Open files, streams and other handles at once." },         \
        { RUN_FLAG_OUTPUT, 0,      "output",                                                 \
          HELP_TEXT,       "SIZE", "Bytes on standard output and error together." },         \
    {                                                                                        \
        RUN_FLAG_HOSTCALLS, 0, "hostcalls", HELP_TEXT, "N", "Calls from the guest to Ambit." \
    }
