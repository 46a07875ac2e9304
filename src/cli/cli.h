/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every verb of the command line shares: exit codes, the walk over flags by the verb's own
 * table (cli/help.h is the one source of flags, help, manual pages and completions), errors in
 * three lines, output as text or JSON.
 *
 * A verb is `int cli_NAME(int argc, char **argv)` with argv[0] == "NAME"; it answers the exit code
 * of the process. Nothing untrusted is printed raw: cli_fail() escapes what it prints, and
 * cli_escaped() is there for the rest.
 */
#pragma once

#include "base/json.h"
#include "cli/help.h"
#include "control/run.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_NO = 1,      /* the answer to a question is no: `grant diff`, `cache verify`, `doctor` */
    CLI_USAGE = 120, /* unknown verb or flag, missing argument */
    CLI_GRANT = EXIT_BAD_GRANT,
    CLI_COMPONENT = EXIT_BAD_FILE,
    CLI_INTERNAL = EXIT_FAILED,
};

/* One verb's invocation. `{ .verb = help_verb_find("inspect") }` and go. */
struct cli {
    const struct help_verb *verb;
    /* The verb sets it when it meets --json: errors are then one JSON object on stdout, */
    bool json;
    bool json_to_stderr; /* or one line on stderr, where stdout belongs to a guest */
    int at;              /* next element of argv; 0 = not begun */
    bool flags_over;
    /* of the last cli_next(): */
    const struct help_flag *flag; /* CLI_FLAG */
    const char *value;            /* CLI_FLAG with a value: it; CLI_WORD: the word */
};

/* The next thing on the command line. */
enum cli_item {
    CLI_END = 0,
    CLI_FLAG = 1, /* c->flag, by its table row; compare c->flag->id or cli_is(c, "name") */
    CLI_WORD = 2, /* not a flag: c->value; "-" is a word; after "--" everything is */
    CLI_HELP = 3, /* --help or -h: help was printed, return CLI_OK */
};
/* enum cli_item, or -EINVAL with `e` set: unknown flag (with the nearest one as hint), missing or
 * unwanted value. Understands --name value, --name=value, -x value, -xvalue, --. */
int cli_next(struct cli *c, int argc, char **argv, struct error *e) MUST_CHECK;
bool cli_is(const struct cli *c, const char *flag_name);

/* Prints an error in three lines on stderr and returns `code`, so that verbs say
 * `return cli_fail(…)`:
 *     ambit: WHAT      (the format: what could not be done)
 *       why: e->what   (with line and column when known)
 *       try: e->hint   (when there is one)
 * With --json also {"error":{"what","why","hint","exit"}} on stdout (one line on stderr with
 * json_to_stderr). Everything is escaped here. `e` may be NULL. */
int cli_fail(const struct cli *c, enum cli_exit code, const struct error *e, const char *format,
             ...) PRINTF_LIKE(4, 5);
/* A usage error: as cli_fail(CLI_USAGE) with "ambit help VERB" as the hint when `e` has none. */
int cli_usage(const struct cli *c, struct error *e);

/* Values of the flag at hand. < 0: `e` names it. */
int cli_take_number(const struct cli *c, uint32_t least, uint32_t most, uint32_t *ret,
                    struct error *e) MUST_CHECK;
int cli_take_time(const struct cli *c, uint64_t least_ns, uint64_t *ret,
                  struct error *e) MUST_CHECK; /* at most a day */
int cli_take_layer(const struct cli *c, uint32_t *bits, struct error *e) MUST_CHECK; /* adds it */
/* What run, serve and proxy have alike besides grants (grant_flags.h). 0: it was one; 1: it is none of them; < 0. */
int cli_take_run_flag(struct cli *c, struct run_request *r, bool *quiet,
                      struct error *e) MUST_CHECK;

/* Whole outputs: CLI_OK or CLI_INTERNAL. A closed pipe is no error. */
/* To stdout, as it is: `text` must be escaped already. */
int cli_put(struct buf *text);
/* Indented, in order of insertion, with a newline; NULL = no memory. */
int cli_put_json(const json_t *value);
/* Appends an untrusted C string, escaped for one line. NULL = "". */
void cli_escaped(struct buf *out, const char *text);
/* Appends a line of a guest's log, as a person reads it. */
void cli_put_log(struct buf *out, enum log_level level, const char *topic, const char *message);
/* Appends a grant to be pasted, each line after `indent`: its own text has all that does not show
 * escaped, and its backslashes stay as they are. What is no such text is escaped all the same. */
void cli_put_grant(struct buf *out, const char *indent, const char *yaml);
/* True when this descriptor is a terminal and NO_COLOR is not set (nor TERM=dumb). */
bool cli_colour(int fd);
/* The word of `words` that is nearest to a mistyped one (distance ≤ 1/3 of its length), or NULL. */
const char *cli_nearest(const char *word, const char *const *words, size_t count);

int cli_cache(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_grant(int argc, char **argv);
int cli_help(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_proxy(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_runs(int argc, char **argv);
int cli_secret(int argc, char **argv);
int cli_serve(int argc, char **argv);
#ifdef AMBIT_TEST_HOOKS
/* Test builds only: what AMBIT_TEST_JAIL_SKIP names, as bits of enum run_test_skip and egress_skip. */
int cli_test_skip(uint32_t *ret, uint32_t *ret_egress, struct error *e) MUST_CHECK;
/* What AMBIT_TEST_INGRESS_SKIP names, as bits of enum ingress_test_skip. */
int cli_ingress_skip(uint32_t *ret, struct error *e) MUST_CHECK;
#endif
