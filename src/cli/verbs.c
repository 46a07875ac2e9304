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
    { "ambit run --net 'POST https://api.github.com/repos/acme/shop/issues/**' --secret "
      "github-token@api.github.com agent.py",
      "with a secret that it never sees" },
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

static const struct help_flag proxy_flags[] = {
    { SERVE_FLAG_LISTEN, 'l', "listen", HELP_TEXT, "ADDR:PORT",
      "Take clients here; port 0 takes a free one (it is printed). Needed." },
    { RUN_FLAG_NET, 'n', "net", HELP_TEXT, "[METHOD,… ]URL",
      "Let them send requests to URL, whose path may have * and **; GET and HEAD unless methods "
      "are named." },
    { RUN_FLAG_GRANTS, 'g', "grants", HELP_FILE, "FILE",
      "Add the grants of a grant file (repeatable); read again at SIGHUP." },
    { RUN_FLAG_SECRET, 0, "secret", HELP_TEXT, "NAME@HOST[=HEADER: …]",
      "Send a secret of the vault with requests to HOST; clients see a placeholder." },
    { RUN_FLAG_VAULT_KEY, 0, "vault-key", HELP_TEXT, "SOURCE",
      "Where the vault's key is: file:PATH, passphrase, credential:NAME or command:LINE." },
    { RUN_FLAG_EXPIRES, 0, "expires", HELP_TEXT, "TIME",
      "Grants end this long after the start; later uses are denied." },
    { PROXY_FLAG_ENV, 0, "env", HELP_FILE, "FILE",
      "Write the settings for clients here (0600), instead of in the state folder." },
    { PROXY_FLAG_CA_OUT, 0, "ca-out", HELP_FILE, "FILE",
      "Write the certificate that clients trust here, instead of in the state folder." },
    { PROXY_FLAG_FRONTS, 'j', "fronts", HELP_TEXT, "N",
      "Processes that speak with clients (1); they share the port." },
    { SERVE_FLAG_CONNECTIONS, 0, "connections", HELP_TEXT, "N",
      "Connections that are open to one of them at once (10000)." },
    { SERVE_FLAG_CLIENT_TIMEOUT, 0, "client-timeout", HELP_TEXT, "TIME",
      "How long a client may take for a head, or rest within a body (60s)." },
    { SERVE_FLAG_KEEP_ALIVE, 0, "keep-alive", HELP_TEXT, "TIME",
      "How long a connection may rest between two requests (10m)." },
    { SERVE_FLAG_DRAIN, 0, "drain", HELP_TEXT, "TIME",
      "How long requests that run have after a signal to end (10s)." },
    { SERVE_FLAG_ACCESS_LOG, 0, "access-log", HELP_FILE, "FILE",
      "Append a line of JSON for each request; - is standard output." },
    { SERVE_FLAG_METRICS, 0, "metrics", HELP_TEXT, "ADDR:PORT",
      "Answer GET /metrics here, in the text form of Prometheus." },
    { RUN_FLAG_RECEIPT, 0, "receipt", HELP_FILE, "FILE", "Write the receipt here as well." },
    { RUN_FLAG_LEARN, 0, "learn", HELP_FILE, "FILE",
      "Write what was denied as a grant file; allows nothing more." },
    { RUN_FLAG_CA, 0, "ca", HELP_FILE, "FILE",
      "Certificates (PEM) that https servers are verified with, instead of the system's." },
    { RUN_FLAG_RESOLVER, 0, "resolver", HELP_TEXT, "ADDR:PORT",
      "Ask this DNS server for the names of grants, instead of the system's." },
    { RUN_FLAG_JSON, 0, "json", HELP_NONE, NULL,
      "Print where it listens, what it denies, and the result, as one line of JSON each on "
      "standard error." },
    { RUN_FLAG_QUIET, 'q', "quiet", HELP_NONE, NULL,
      "Print nothing but errors; --env says where clients find their settings." },
    { RUN_FLAG_ALLOW_MISSING, 0, "allow-missing-jail", HELP_TEXT, "LAYER",
      "Start although this layer of the jail cannot be had here (repeatable; it is in the "
      "receipt)." },
};
static const struct help_pair proxy_examples[] = {
    { "ambit proxy -g grants.yaml --listen 127.0.0.1:3128 --env proxy.env",
      "in front of what runs in another shell after `. ./proxy.env`" },
    { "ambit proxy --listen 172.17.0.1:3128 -g grants.yaml --env job.env --ca-out job-ca.pem",
      "in front of a container whose only other network is none" },
    { "ambit proxy -l 127.0.0.1:0 --json --net 'GET https://pypi.org/**'",
      "on a free port, told as JSON" },
    { "ambit proxy -l 127.0.0.1:3128 --learn needs.yaml",
      "grant nothing, and find out what a client asks for" },
    { "kill -HUP PID", "read the grant files again: what is gone from them ends at once" },
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
    { .name = "secret",
      .value = HELP_TEXT,
      .value_name = "NAME@HOST[=HEADER: …]",
      .text = "explain: as if it were run with this flag." },
};
static const struct help_pair grant_examples[] = {
    { "ambit grant check grants.yaml", "is it valid? errors with line and column" },
    { "ambit grant explain grants.yaml", "what it allows, in words" },
    { "ambit grant diff narrow.yaml wide.yaml",
      "is the first covered by the second? exit code 0 or 1" },
};

static const struct help_flag secret_flags[] = {
    JSON_FLAG,
    { .name = "from-file",
      .value = HELP_FILE,
      .value_name = "PATH",
      .text = "set, rotate: the value stays in this file of yours (mode 0600) and is read there." },
    { .name = "from-env",
      .value = HELP_TEXT,
      .value_name = "VARIABLE",
      .text = "set, rotate: the value is that of a variable of ambit's own environment." },
    { .name = "from-command",
      .value = HELP_TEXT,
      .value_name = "LINE",
      .text = "set, rotate: the value is what this line of sh prints (within half a minute)." },
    { .name = "kind",
      .value = HELP_CHOICE,
      .value_name = "plain|github-app|oauth-client|oauth-exchange|aws|aws-role",
      .text = "set: what is made of the value before it is used (plain: nothing)." },
    { .name = "set",
      .value = HELP_TEXT,
      .value_name = "SETTING=VALUE",
      .text = "set: a setting of the kind, such as app_id=12345 (repeatable)." },
    { .name = "vault-key",
      .value = HELP_TEXT,
      .value_name = "SOURCE",
      .text = "Where the vault's key is: file:PATH, passphrase, credential:NAME or command:LINE." },
    { .name = "new-key",
      .value = HELP_TEXT,
      .value_name = "SOURCE",
      .text = "rekey: the key that seals the vault from now on." },
    { .name = "allow-missing-jail",
      .value = HELP_TEXT,
      .value_name = "LAYER",
      .text = "Go on although this layer of the jail cannot be had here (repeatable)." },
};
static const struct help_pair secret_examples[] = {
    { "ambit secret set github-token < token.txt", "put a value into the vault" },
    { "ambit secret set npm-token --from-command 'pass show npm'", "one that stays where it is" },
    { "ambit secret set bot --kind github-app --set app_id=1 --set installation_id=2 < key.pem",
      "a key that is turned into a token of an hour" },
    { "ambit secret rotate github-token < new.txt", "another value for it" },
    { "ambit secret test github-token", "can its value be had? it is not printed" },
    { "ambit secret ls", "names, kinds and where values come from" },
};

static const struct help_flag json_only[] = { JSON_FLAG };
static const struct help_flag doctor_flags[] = {
    JSON_FLAG,
    { .name = "table",
      .text = "print the layers and every system call that each room may make, as Markdown" },
};
static const struct help_pair doctor_examples[] = {
    { "ambit doctor", "what works here, and what to do about the rest" },
    { "ambit doctor --json", "the same for a program" },
    { "ambit doctor --table", "docs/jails.md: what each room may do, and why" },
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

static const char secret_text[] =
    "Secrets are values that requests carry and guests never see. They lie in the vault, "
    "encrypted,\n"
    "and are put on by egress where a grant names them (--secret NAME@HOST, or ${secret:NAME} in\n"
    "set_headers of a grant file); answers that show one are masked.\n"
    "\n"
    "set and rotate read the value from standard input, or ask on the terminal without echo. No "
    "flag\n"
    "takes a value: every process could read it. A value has 16 to 4096 visible characters; one "
    "that\n"
    "is shorter, or in a file that others can read, is refused. Values are never printed.\n"
    "\n"
    "The vault's key is a file of yours that the first `set` makes, unless --vault-key or\n"
    "AMBIT_VAULT_KEY says otherwise. rekey seals the vault with another one.";

static const char proxy_text[] =
    "An HTTP proxy for native programs that you have already: what they send through it goes out\n"
    "when a grant of http covers it, and is answered 403 with the reason and the smallest grant\n"
    "(RFC 9457) when none does. HTTPS is opened (CONNECT): clients trust a CA that lives as long\n"
    "as this proxy and signs for the granted hosts alone; servers are verified as ever.\n"
    "\n"
    "It writes a file of settings for a shell: HTTPS_PROXY with a token of this launch, the CA "
    "for\n"
    "curl, git, Node, Python, pip, npm, cargo and others, and AMBIT_SECRET_NAME for each secret "
    "of\n"
    "the grants: a placeholder, which is replaced on the way where the grant says so, and nowhere\n"
    "else. Values of secrets are never in the client.\n"
    "\n"
    "A proxy variable is advice, not a wall: a client that ignores it goes where its network "
    "leads,\n"
    "unless it has no other network.\n"
    "\n"
    "SIGHUP reads the grants again. A file that is not valid changes nothing; what a valid one no\n"
    "longer grants ends at once, also what is under way. SIGINT or SIGTERM: no new connections, "
    "what\n"
    "runs has --drain to end, exit code 0. A second signal ends it at once. A process that dies "
    "is\n"
    "started again; the listener and the CA stay.";

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
    { .name = "secret",
      .usage = "secret set|rotate|rm|test NAME · secret ls|rekey",
      .summary = "the vault: values that requests carry and guests never see",
      .description = secret_text,
      FLAGS(secret_flags),
      EXAMPLES(secret_examples),
      .words = "set ls rotate rm test rekey",
      .main = cli_secret },
    { .name = "proxy",
      .usage = "proxy [flags] --listen ADDR:PORT",
      .summary = "an HTTP proxy for native programs, which sends only what is granted",
      .description = proxy_text,
      FLAGS(proxy_flags),
      EXAMPLES(proxy_examples),
      .main = cli_proxy },
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
      .description =
          "Tries each layer of the jail in a process of its own, then lets a process in "
          "each room's jail try what\nthe jail is there to stop, and says which layer "
          "refused it. What is missing is named, why, and what\nto do. The vault is opened, where "
          "its key can be had without asking, and nothing of what it holds\nis told. The exit code "
          "is 0 when every layer works and every attempt is refused, 1 otherwise.",
      FLAGS(doctor_flags),
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
      .words = "run serve proxy secret inspect grant runs doctor cache help",
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
    { "AMBIT_VAULT_KEY",
      "Where the vault's key is (ambit help secret); else a file made by the first secret." },
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
    { "STATE/vault/vault", "Secrets, encrypted (docs/secrets.md)." },
    { "~/.config/ambit/vault.key", "The vault's key, unless AMBIT_VAULT_KEY names another." },
    { NULL, NULL },
};
