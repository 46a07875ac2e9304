/* SPDX-License-Identifier: Apache-2.0 */
/* The table of interfaces and the skeleton. Interfaces match by name without version: the engine
 * links any 0.2. */
#include "cli/needs.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "grant/grant.h"

static const struct row {
    const char *interface; /* a name, or a prefix that ends with ':' or '/' */
    struct need need;
} rows[] = {
    { "wasi:io/", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/exit", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/terminal-input", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/terminal-output", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/terminal-stdin", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/terminal-stdout", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/terminal-stderr", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:cli/stdin", { NEED_STDIO, "stdio", "a stdio grant with stdin, else it is empty" } },
    { "wasi:cli/stdout",
      { NEED_STDIO, "stdio", "a stdio grant with stdout, else writing is denied" } },
    { "wasi:cli/stderr",
      { NEED_STDIO, "stdio", "a stdio grant with stderr, else writing is denied" } },
    { "wasi:cli/environment",
      { NEED_ARGS_ENV, "env", "args and env grants, else both are empty" } },
    { "wasi:clocks/monotonic-clock",
      { NEED_CLOCK, "clock", "a clock grant, else time stands still" } },
    { "wasi:clocks/wall-clock", { NEED_CLOCK, "clock", "a clock grant, else time stands still" } },
    { "wasi:random/random",
      { NEED_RANDOM, "random", "a random grant, else the same bytes at every run" } },
    { "wasi:random/insecure",
      { NEED_RANDOM, "random", "a random grant, else the same bytes at every run" } },
    { "wasi:random/insecure-seed",
      { NEED_RANDOM, "random", "a random grant, else the same bytes at every run" } },
    { "wasi:logging/logging", { NEED_LOG, "log", "a log grant, else lines are denied" } },
    { "wasi:config/store", { NEED_CONFIG, "config", "a config grant, else there are no values" } },
    { "wasi:filesystem/types",
      { NEED_FS, "fs", "an fs grant for each folder, else there are no files" } },
    { "wasi:filesystem/preopens",
      { NEED_FS, "fs", "an fs grant for each folder, else there are no files" } },
    { "wasi:sockets/", { NEED_REFUSES, NULL, "nothing can be granted: sockets are refused" } },
    { "wasi:http/outgoing-handler",
      { NEED_HTTP, "http", "an http grant for each host, else requests are denied" } },
    { "wasi:http/types", { NEED_NOTHING, NULL, "nothing" } },
    { "wasi:keyvalue/",
      { NEED_KEYVALUE, "keyvalue", "a keyvalue grant for each bucket, else it is denied" } },
    { "wasi:blobstore/", { NEED_NOT_THERE, "blob", "not there yet: blob grants" } },
    { "ambit:", { NEED_NOT_THERE, NULL, "not there yet: an Ambit interface of a later version" } },
    { "wasi:", { NEED_NOT_THERE, NULL, "not there: Ambit does not provide this WASI interface" } },
};

static bool row_matches(const char *row, const char *name, size_t size)
{
    size_t length = strlen(row);
    if (row[length - 1] == ':' || row[length - 1] == '/')
        return size > length && memcmp(row, name, length) == 0;
    return size == length && memcmp(row, name, length) == 0;
}

struct need need_of(const char *interface)
{
    size_t size = strcspn(interface, "@");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (row_matches(rows[i].interface, interface, size))
            return rows[i].need;
    return (struct need){ NEED_NOT_THERE, "rpc",
                          "not there yet: rpc grants, another component that provides it" };
}

/* ---- all imports together ---- */

static const struct {
    const char *function;
    uint32_t verbs;
} fs_functions[] = {
    { "[method]descriptor.read", FS_READ },
    { "[method]descriptor.read-via-stream", FS_READ },
    { "[method]descriptor.read-directory", FS_LIST },
    { "[method]descriptor.stat", FS_STAT },
    { "[method]descriptor.stat-at", FS_STAT },
    { "[method]descriptor.readlink-at", FS_STAT },
    { "[method]descriptor.write", FS_WRITE | FS_CREATE },
    { "[method]descriptor.write-via-stream", FS_WRITE | FS_CREATE },
    { "[method]descriptor.append-via-stream", FS_WRITE | FS_CREATE },
    { "[method]descriptor.set-size", FS_WRITE },
    { "[method]descriptor.set-times", FS_WRITE },
    { "[method]descriptor.set-times-at", FS_WRITE },
    { "[method]descriptor.create-directory-at", FS_CREATE },
    { "[method]descriptor.unlink-file-at", FS_DELETE },
    { "[method]descriptor.remove-directory-at", FS_DELETE },
    { "[method]descriptor.rename-at", FS_RENAME },
    { "[method]descriptor.link-at", FS_LINK },
    { "[method]descriptor.symlink-at", FS_LINK },
};

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* `ret_names`: it can name a file (open-at, stat-at …) or list the root. */
static uint32_t fs_verbs_of(const json_t *functions, bool *ret_names)
{
    uint32_t verbs = 0;
    size_t i;
    json_t *function;
    json_array_foreach(functions, i, function)
    {
        const char *name = json_string_value(function);
        if (name != NULL)
            *ret_names |= ends_with(name, "-at") || ends_with(name, ".read-directory");
        for (size_t k = 0; name != NULL && k < ARRAY_SIZE(fs_functions); k++)
            if (strcmp(name, fs_functions[k].function) == 0)
                verbs |= fs_functions[k].verbs;
    }
    return verbs;
}

static bool is_interface(const char *name, const char *interface)
{
    size_t size = strlen(interface);
    return strncmp(name, interface, size) == 0 && (name[size] == '@' || name[size] == '\0');
}

struct needs needs_of(const json_t *description)
{
    struct needs n = { 0 };
    bool root = false, names = false;
    uint32_t verbs = 0;
    size_t i;
    json_t *import;
    json_array_foreach(json_object_get(description, "imports"), i, import)
    {
        const char *name = json_string_value(json_object_get(import, "name"));
        const json_t *functions = json_object_get(import, "functions");
        /* An interface of types alone asks for nothing. */
        if (name == NULL ||
            (json_array_size(functions) == 0 && need_of(name).kind != NEED_NOT_THERE))
            continue;
        n.kinds[need_of(name).kind] = true;
        n.args |= is_interface(name, "wasi:cli/environment");
        n.environment |= is_interface(name, "wasi:cli/environment");
        n.input |= is_interface(name, "wasi:cli/stdin");
        n.output |= is_interface(name, "wasi:cli/stdout");
        n.errors |= is_interface(name, "wasi:cli/stderr");
        root |= is_interface(name, "wasi:filesystem/preopens");
        if (is_interface(name, "wasi:filesystem/types"))
            verbs |= fs_verbs_of(functions, &names);
    }
    /* Without the root, or a function that takes a name, there is no way to a file: then the
     * adapter of WASI 0.1 imports the rest for the sake of standard streams. */
    n.kinds[NEED_FS] = root && names && verbs != 0;
    n.fs_verbs = n.kinds[NEED_FS] ? verbs : 0;
    return n;
}

struct needs needs_of_script(void)
{
    struct needs n = { .args = true,
                       .environment = true,
                       .input = true,
                       .output = true,
                       .errors = true,
                       .fs_verbs = FS_RW };
    n.kinds[NEED_STDIO] = n.kinds[NEED_ARGS_ENV] = n.kinds[NEED_CLOCK] = n.kinds[NEED_RANDOM] =
        n.kinds[NEED_FS] = n.kinds[NEED_HTTP] = true;
    return n;
}

/* ---- the skeleton ---- */

static void put_verbs(struct buf *out, uint32_t verbs)
{
    bool first = true;
    for (size_t i = 0; i < FS_VERB_COUNT; i++) {
        if ((verbs & 1u << i) == 0)
            continue;
        buf_printf(out, "%s%s", first ? "" : ", ", fs_verb_names[i]);
        first = false;
    }
}

static void put_stdio(struct buf *out, const struct needs *n)
{
    buf_puts(out, "  - stdio: [");
    buf_puts(out, n->input ? "stdin" : "");
    buf_printf(out, "%s%s", n->input && n->output ? ", " : "", n->output ? "stdout" : "");
    buf_printf(out, "%s%s]\n", (n->input || n->output) && n->errors ? ", " : "",
               n->errors ? "stderr" : "");
}

/* Reading first; what changes things stands in a comment, to be added on purpose. */
static void put_fs(struct buf *out, uint32_t verbs)
{
    uint32_t first = verbs & FS_RO, more = verbs & ~(uint32_t)FS_RO;
    if (first == 0)
        first = more, more = 0;
    buf_puts(out, "  - fs: /work                # where it sees the folder\n"
                  "    from: { dir: . }         # the folder, relative to this file\n"
                  "    allow: [");
    put_verbs(out, first);
    buf_puts(out, "]\n");
    if (more != 0) {
        buf_puts(out, "    # it can also use: ");
        put_verbs(out, more);
        buf_puts(out, "\n");
    }
    buf_puts(out, "    paths: [\"**\"]            # name what it needs, e.g. \"data/**\"\n");
}

static void put_services(struct buf *out, const struct needs *n)
{
    if (n->kinds[NEED_KEYVALUE])
        buf_puts(out, "  - keyvalue: default        # each bucket by name\n"
                      "    allow: [get, set, delete, list, increment]\n");
    if (n->kinds[NEED_HTTP])
        buf_puts(out,
                 "  - http: https://example.com  # each host by name\n"
                 "    methods: [GET]\n"
                 "    paths: [\"/**\"]           # name what it needs, e.g. \"/v1/items/**\"\n");
}

void needs_put_skeleton(struct buf *out, const char *name, const struct needs *n)
{
    buf_puts(out, "# What ");
    text_escape(out, name, strlen(name));
    buf_puts(out, " can ask for, smallest authority first. Take out what it does not need:\n"
                  "# without a grant an interface is there and gives nothing.\n"
                  "version: 1\n");
    bool any = n->kinds[NEED_STDIO] || n->args || n->environment || n->kinds[NEED_CLOCK] ||
               n->kinds[NEED_RANDOM] || n->kinds[NEED_LOG] || n->kinds[NEED_CONFIG] ||
               n->kinds[NEED_FS] || n->kinds[NEED_HTTP] || n->kinds[NEED_KEYVALUE];
    buf_puts(out, any ? "grants:\n" : "grants: []\n");
    if (n->kinds[NEED_STDIO])
        put_stdio(out, n);
    if (n->args)
        buf_puts(out, "  - args: given              # the arguments typed after FILE\n");
    if (n->kinds[NEED_CLOCK])
        buf_puts(
            out,
            "  - clock: real              # or a time that stands still: 2026-01-01T00:00:00Z\n");
    if (n->kinds[NEED_RANDOM])
        buf_puts(out,
                 "  - random: real             # or a seed, for the same bytes at every run\n");
    if (n->kinds[NEED_LOG])
        buf_puts(out, "  - log: [info, warn, error, critical]\n");
    if (n->environment)
        buf_puts(out, "  - env: { LANG: C.UTF-8 }   # each variable by name\n");
    if (n->kinds[NEED_CONFIG])
        buf_puts(out, "  - config: { example: \"\" }  # each key by name\n");
    if (n->kinds[NEED_FS])
        put_fs(out, n->fs_verbs);
    put_services(out, n);
    if (n->kinds[NEED_REFUSES])
        buf_puts(out, "# Sockets are refused whatever is granted.\n");
    if (n->kinds[NEED_NOT_THERE])
        buf_puts(out, "# It also imports interfaces that this version does not provide (ambit "
                      "inspect names them): it will not start.\n");
}

/* ---- WIT ---- */

void needs_put_functions(struct buf *out, const char *wit, const char *indent)
{
    static const char keyword[] = "resource ";
    const char *resource = "";
    size_t resource_size = 0;
    for (const char *line = wit; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        const char *at = line + strspn(line, " ");
        size_t length = size - MIN((size_t)(at - line), size);
        if (length > sizeof(keyword) && strncmp(at, keyword, sizeof(keyword) - 1) == 0 &&
            at[length - 1] == '{') {
            resource = at + sizeof(keyword) - 1;
            resource_size = strcspn(resource, " {\n");
        } else if (length == 1 && at[0] == '}') {
            resource_size = 0;
        } else if (memmem(at, length, "func(", 5) != NULL || strncmp(at, "constructor(", 12) == 0) {
            buf_puts(out, indent);
            text_escape(out, resource, resource_size);
            buf_puts(out, resource_size > 0 ? "." : "");
            text_escape(out, at, length - (at[length - 1] == ';'));
            buf_putc(out, '\n');
        }
        line += size + (line[size] == '\n');
    }
}
