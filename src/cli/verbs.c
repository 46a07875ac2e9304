/* SPDX-License-Identifier: Apache-2.0 */
/* The tables behind cli/help.h: every verb, flag, example, exit code,
 * variable and file. Text only. */
#include "base/mem.h"
#include "cli/grant_flags.h"

#define JSON_FLAG                                           \
    {                                                       \
        .name = "json", .text = "Print the answer as JSON." \
    }
#define FLAGS(array) .flags = array, .flag_count = ARRAY_SIZE(array)
#define EXAMPLES(array) .examples = array, .example_count = ARRAY_SIZE(array)

static const struct help_flag run_flags[] = {
    GRANT_FLAG_ROWS,
    { RUN_FLAG_BARE, 0, "bare", HELP_NONE, NULL,
      "Imply nothing: no stdio, arguments, clock, random or /tmp but those granted." },
    LIMIT_FLAG_ROWS,
    { RUN_FLAG_TMP, 0, "tmp", HELP_TEXT, "SIZE|none",
      "Size of /tmp, which is memory (64MiB), or no /tmp." },
    { RUN_FLAG_CWD, 0, "cwd", HELP_TEXT, "GUEST", "Its working directory (/work)." },
    { RUN_FLAG_INVOKE, 0, "invoke", HELP_TEXT, "EXPORT",
      "Call this exported function; the arguments are WAVE text, the results are printed." },
    { RUN_FLAG_RECEIPT, 0, "receipt", HELP_FILE, "FILE", "Write the receipt here as well." },
    { RUN_FLAG_LEARN, 0, "learn", HELP_FILE, "FILE",
      "Write what was denied as a grant file; allows nothing more." },
    { RUN_FLAG_ASK, 0, "ask", HELP_NONE, NULL,
      "On a terminal: ask before a request, a path in its folders or a key is denied." },
    { RUN_FLAG_JSON, 0, "json", HELP_NONE, NULL,
      "Print the result as one JSON object on standard error, instead of the summary." },
    { RUN_FLAG_QUIET, 'q', "quiet", HELP_NONE, NULL, "No summary and no progress." },
    { RUN_FLAG_CA, 0, "ca", HELP_FILE, "FILE",
      "Certificates (PEM) that https servers are verified with, instead of the system's." },
    { RUN_FLAG_RESOLVER, 0, "resolver", HELP_TEXT, "ADDR:PORT",
      "Ask this DNS server for the names of http grants, instead of the system's." },
    { RUN_FLAG_ALLOW_MISSING, 0, "allow-missing-jail", HELP_TEXT, "LAYER",
      "Start although this layer of the jail cannot be had here (repeatable; it is in the "
      "receipt)." },
};
static const struct help_pair run_examples[] = {
    { "ambit run hello.wasm", "run a component or module that may touch none of your files" },
    { "ambit run --read . report.py", "a Python script that may read this folder" },
    { "ambit run --read . app.js", "JavaScript, its modules beside it" },
    { "ambit run --read data --write out convert.wasm data/a.csv out/a.json",
      "read one folder, write another" },
    { "ambit run --net 'GET https://api.github.com/repos/acme/shop/**' fetch.py",
      "requests to one host, by method and path" },
    { "ambit run --learn needs.yaml script.py", "find out what it asks for, allowing none of it" },
    { "ambit run -g needs.yaml script.py", "run it with the grants of a file that you have read" },
    { "ambit run --clock 2026-01-01T00:00:00Z --random seed:1 job.wasm",
      "the same bytes every time" },
    { "ambit run --invoke add adder.wasm 1 2", "call one exported function" },
};

static const struct help_flag serve_flags[] = {
    { SERVE_FLAG_LISTEN, 'l', "listen", HELP_TEXT, "ADDR:PORT",
      "Take requests here; port 0 takes a free one (it is printed). Needed." },
    { SERVE_FLAG_WORKERS, 'j', "workers", HELP_TEXT, "N",
      "Pairs of processes that serve (one for each core)." },
    { SERVE_FLAG_CONCURRENCY, 0, "concurrency", HELP_TEXT, "N",
      "Requests that one worker has at once, each in an instance of its own (128)." },
    { SERVE_FLAG_QUEUE, 0, "queue", HELP_TEXT, "N",
      "Requests that wait for one worker; more are answered 503 (1024)." },
    { SERVE_FLAG_CONNECTIONS, 0, "connections", HELP_TEXT, "N",
      "Connections that are open to one worker at once (10000)." },
    { SERVE_FLAG_CLIENT_TIMEOUT, 0, "client-timeout", HELP_TEXT, "TIME",
      "How long a client may take for a head, or rest within a body (10s)." },
    { SERVE_FLAG_KEEP_ALIVE, 0, "keep-alive", HELP_TEXT, "TIME",
      "How long a connection may rest between two requests (60s)." },
    { SERVE_FLAG_DRAIN, 0, "drain", HELP_TEXT, "TIME",
      "How long requests that run have after a signal to end (10s)." },
    { SERVE_FLAG_TLS_CERT, 0, "tls-cert", HELP_FILE, "FILE",
      "Speak TLS with this certificate, followed by its chain (PEM)." },
    { SERVE_FLAG_TLS_KEY, 0, "tls-key", HELP_FILE, "FILE", "The key of the certificate (PEM)." },
    { SERVE_FLAG_ACCESS_LOG, 0, "access-log", HELP_FILE, "FILE",
      "Append a line of JSON for each request; - is standard output." },
    { SERVE_FLAG_METRICS, 0, "metrics", HELP_TEXT, "ADDR:PORT",
      "Answer GET /metrics here, in the text form of Prometheus." },
    GRANT_FLAG_ROWS,
    { RUN_FLAG_BARE, 0, "bare", HELP_NONE, NULL,
      "Imply nothing: no stdio, clock, random or /tmp but those granted." },
    LIMIT_FLAG_ROWS,
    { RUN_FLAG_RECEIPT, 0, "receipt", HELP_FILE, "FILE", "Write the receipt here as well." },
    { RUN_FLAG_CA, 0, "ca", HELP_FILE, "FILE",
      "Certificates (PEM) that https servers are verified with, instead of the system's." },
    { RUN_FLAG_RESOLVER, 0, "resolver", HELP_TEXT, "ADDR:PORT",
      "Ask this DNS server for the names of http grants, instead of the system's." },
    { RUN_FLAG_JSON, 0, "json", HELP_NONE, NULL,
      "Print where it listens, and the result, as one line of JSON each on standard error." },
    { RUN_FLAG_QUIET, 'q', "quiet", HELP_NONE, NULL, "Print nothing but errors." },
    { RUN_FLAG_ALLOW_MISSING, 0, "allow-missing-jail", HELP_TEXT, "LAYER",
      "Start although this layer of the jail cannot be had here (repeatable; it is in the "
      "receipt)." },
};
static const struct help_pair serve_examples[] = {
    { "ambit serve --listen 127.0.0.1:8080 app.wasm",
      "a component that may do nothing but answer" },
    { "ambit serve --listen 127.0.0.1:0 --json app.wasm", "on a free port, told as JSON" },
    { "ambit serve --listen [::]:8443 --tls-cert chain.pem --tls-key key.pem --read site app.wasm",
      "over TLS, HTTP/1.1 and 2; requests may read one folder" },
    { "ambit serve --listen 127.0.0.1:8080 --wall 5s --memory 64MiB --metrics 127.0.0.1:9100 "
      "app.wasm",
      "five seconds and 64 MiB for each request" },
};

static const struct help_flag inspect_flags[] = {
    JSON_FLAG,
    { .name = "wit", .text = "Print the WIT of its world and nothing else." },
    { .name = "grants", .text = "Print a grant file skeleton for all it asks and nothing else." },
    { .name = "allow-missing-jail",
      .value = HELP_TEXT,
      .value_name = "LAYER",
      .text = "Read it although this layer of the jail cannot be had here (repeatable)." },
};
static const struct help_pair inspect_examples[] = {
    { "ambit inspect tool.wasm", "what it is, what it imports and what each import needs" },
    { "ambit inspect --grants tool.wasm > grants.yaml", "a grant file to cut down" },
};

static const struct help_flag grant_flags[] = {
    JSON_FLAG,
};
static const struct help_pair grant_examples[] = {
    { "ambit grant check grants.yaml", "is it valid? errors with line and column" },
    { "ambit grant explain grants.yaml", "what it allows, in words" },
    { "ambit grant diff narrow.yaml wide.yaml",
      "is the first covered by the second? exit code 0 or 1" },
};

static const struct help_flag json_only[] = { JSON_FLAG };
static const struct help_pair doctor_examples[] = {
    { "ambit doctor", "what works here, and what to do about the rest" },
    { "ambit doctor --json", "the same for a program" },
};
static const struct help_flag cache_flags[] = {
    JSON_FLAG,
    { .name = "max",
      .value = HELP_TEXT,
      .value_name = "SIZE",
      .text = "gc: keep at most this much (2GiB); 0 empties the cache." },
};
static const struct help_pair cache_examples[] = {
    { "ambit cache ls", "compiled components, newest first" },
    { "ambit cache gc", "remove what was not used for long" },
    { "ambit cache verify", "compare every entry with its digest" },
};
static const struct help_pair runs_examples[] = {
    { "ambit runs show last", "the receipt of the last run" },
    { "ambit runs show --json 01K…", "the receipt as it was written, one JSON object a line" },
    { "ambit runs ls", "all receipts that are kept" },
};
static const struct help_flag help_flags[] = {
    { .name = "man", .text = "Print the manual page of VERB (or of ambit) as roff." },
    { .name = "completion",
      .value = HELP_CHOICE,
      .value_name = "bash|zsh|fish",
      .text = "Print a completion script." },
};
static const struct help_pair help_examples[] = {
    { "ambit help run", "what `ambit run --help` prints" },
    { "ambit help --man run | man -l -", "the manual page" },
    { "source <(ambit help --completion bash)", "completion for this shell" },
};

static const char run_text[] =
    "Runs FILE with exactly what was granted, prints what happened, and keeps a receipt\n"
    "(ambit runs show last). Everything after FILE belongs to the guest.\n"
    "\n"
    "FILE is a WebAssembly component (WASI 0.2), a core module (WASI 0.1), either as text\n"
    "(.wat), a Python script (.py, or #! and python), a JavaScript module (.js, .mjs, or #!\n"
    "and node or ambit), or - for any of them on standard input (at most 64MiB).\n"
    "\n"
    "Implied, unless --bare is given: standard input, output and error; the arguments typed;\n"
    "the real clock; real random bytes; an empty /tmp of 64MiB in memory; and a script's own\n"
    "file, read-only. Nothing else: no files, no environment, no network.\n"
    "\n"
    "Paths mean the same inside and out. The guest works in /work, which stands for your\n"
    "working directory: a relative PATH is granted at the same place below /work, an absolute\n"
    "one at the same absolute place, PATH:GUEST elsewhere. A relative script is found below\n"
    "/work too; one that leads out of your working directory (../x.py) at its absolute place.\n"
    "\n"
    "The exit code is the guest's own. 120 to 127 are also Ambit's; --json tells them apart.\n"
    "123 is given when the guest trapped after a denial, or needs an interface that no grant\n"
    "backs. Ctrl-C asks the guest to end, a second one ends it (exit code 130).";

static const char serve_text[] =
    "Serves FILE, a component that exports wasi:http/incoming-handler (WASI 0.2): each request\n"
    "gets a fresh instance with exactly what was granted, and nothing of the one before.\n"
    "\n"
    "HTTP/1.1 and HTTP/2 (over TLS by ALPN, in plain text to clients that know it). Grants are\n"
    "those of ambit run; limits are those of one request: --wall, --cpu and --memory end it, and\n"
    "its client is answered 504 or 503, a trap 500. A client that got a part of an answer\n"
    "sees it cut short. No other request is touched.\n"
    "\n"
    "More requests than --concurrency wait, more than --queue are answered 503 with Retry-After.\n"
    "When all connections are taken, the one that has waited longest for a request makes room.\n"
    "\n"
    "SIGINT or SIGTERM: no new connections, what runs has --drain to end, exit code 0. A second\n"
    "signal ends it at once. A process that dies is started again; the listener stays.";

static const struct help_verb verbs[] = {
    { .name = "run",
      .usage = "run [flags] FILE [args…]",
      .summary = "run a component, module or script with exactly what is granted",
      .description = run_text,
      FLAGS(run_flags),
      EXAMPLES(run_examples),
      .words = "@file",
      .default_limits = true,
      .main = cli_run },
    { .name = "serve",
      .usage = "serve [flags] --listen ADDR:PORT FILE",
      .summary = "serve a component over HTTP, a fresh instance for each request",
      .description = serve_text,
      FLAGS(serve_flags),
      EXAMPLES(serve_examples),
      .words = "@file",
      .default_limits = true,
      .main = cli_serve },
    { .name = "inspect",
      .usage = "inspect [flags] FILE",
      .summary = "what a file is, what it imports and exports, and a grant file for all it asks",
      .description = "Says what FILE is, lists its imports and exports, what each import needs "
                     "before it gives\n"
                     "anything, and a grant file skeleton, smallest first. Nothing of FILE is run: "
                     "it is read in a\n"
                     "jailed process of its own.",
      FLAGS(inspect_flags),
      EXAMPLES(inspect_examples),
      .words = "@file",
      .main = cli_inspect },
    { .name = "grant",
      .usage = "grant check|explain FILE… · grant diff A B",
      .summary = "check, explain and compare grant files",
      .description = "check: is every FILE valid? explain: what does it allow, in words? diff: is "
                     "all that A allows\n"
                     "allowed by B too? If not, the first thing that is not covered is named and "
                     "the exit code is 1.",
      FLAGS(grant_flags),
      EXAMPLES(grant_examples),
      .words = "check explain diff @file",
      .main = cli_grant },
    { .name = "runs",
      .usage = "runs show last|ID · runs ls",
      .summary = "receipts of earlier runs",
      .description = "Every run leaves a receipt: what it was granted, what it used, what was "
                     "denied, how it ended.\n"
                     "Receipts are kept in the state folder up to 64MiB, the oldest go first. ID "
                     "may be shortened.",
      FLAGS(json_only),
      EXAMPLES(runs_examples),
      .words = "show ls last",
      .main = cli_runs },
    { .name = "doctor",
      .usage = "doctor [flags]",
      .summary = "what this machine offers, what is enforced, and what is missing",
      .description = "Tries each layer of the jail in a process of its own and says what is "
                     "enforced right now, what\n"
                     "is missing, why, and what to do. The exit code is 0 when every layer works, "
                     "1 otherwise.",
      FLAGS(json_only),
      EXAMPLES(doctor_examples),
      .default_limits = true,
      .main = cli_doctor },
    { .name = "cache",
      .usage = "cache ls|gc|verify",
      .summary = "compiled components: list, clean, verify",
      .description = "A component is compiled once and kept in the state folder under the digest "
                     "of its bytes.",
      FLAGS(cache_flags),
      EXAMPLES(cache_examples),
      .words = "ls gc verify",
      .main = cli_cache },
    { .name = "help",
      .usage = "help [VERB] · help --man [VERB] · help --completion SHELL",
      .summary = "this help, manual pages, shell completion",
      .description = "Help, manual pages and completions are printed from one table, which is also "
                     "what the command\n"
                     "line is read by.",
      FLAGS(help_flags),
      EXAMPLES(help_examples),
      .words = "run serve inspect grant runs doctor cache help",
      .main = cli_help },
};

const struct help_verb *help_verbs(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(verbs);
    return verbs;
}

const struct help_pair help_exit_codes[] = {
    { "120", "usage: unknown verb or flag, missing argument" },
    { "121", "a grant that is not valid or not possible" },
    { "122", "a file that Ambit does not run; the error names the reason" },
    { "123",
      "denied and unhandled: an interface without a grant at the start, or a trap after a denial" },
    { "124", "CPU or wall time limit" },
    { "125", "memory, output, handle, host call or another limit" },
    { "126", "the guest trapped" },
    { "127", "Ambit's own fault, or a layer of the jail is missing on this machine" },
    { "130", "interrupted (Ctrl-C), 143: terminated" },
    { NULL, NULL },
};
const struct help_pair help_environment[] = {
    { "AMBIT_STATE_DIR",
      "The state folder; else $XDG_STATE_HOME/ambit, else ~/.local/state/ambit." },
    { "AMBIT_PYTHON_COMPONENT",
      "The Python component; else share/ambit/python.wasm beside or above the command." },
    { "AMBIT_JS_COMPONENT",
      "The JavaScript component; else share/ambit/js.wasm beside or above the command." },
    { "NO_COLOR", "When set, nothing is coloured." },
    { NULL, NULL },
};
const struct help_pair help_files[] = {
    { "STATE/runs/ID.jsonl", "Receipts, one JSON object a line (docs/receipts.md)." },
    { "STATE/cache/", "Compiled components." },
    { NULL, NULL },
};
