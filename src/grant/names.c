/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the grammar, those that are not there yet, and the guess at a word that was
 * mistyped. */
#include "grant/internal.h"

#include <string.h>

const struct grant_limits grant_limits_default = {
    .memory_bytes = UINT64_C(256) << 20,
    .cpu_ns = UINT64_C(30) * 1000000000,
    .wall_ns = UINT64_C(120) * 1000000000,
    .handles = 1024,
    .output_bytes = UINT64_C(16) << 20,
    .hostcalls = 10000000,
};

static const char *const class_names[GRANT_CLASS_COUNT] = {
    [GRANT_FS] = "fs",         [GRANT_ENV] = "env",
    [GRANT_ARGS] = "args",     [GRANT_STDIO] = "stdio",
    [GRANT_CONFIG] = "config", [GRANT_CLOCK] = "clock",
    [GRANT_RANDOM] = "random", [GRANT_LOG] = "log",
    [GRANT_HTTP] = "http",     [GRANT_KEYVALUE] = "keyvalue",
};

static const char *const planned_classes[] = {
    "serve", "blob",   "model",  "trigger", "artifact", "sign",    "registry",
    "rpc",   "secret", "report", "sql",     "git",      "browser", "flag",
};

static const char *const planned_backings[] = { "session", "view", "blob" };

const char *const fs_verb_names[FS_VERB_COUNT] = { "read",   "list",   "stat",   "write",
                                                   "create", "delete", "rename", "link" };
const char *const kv_verb_names[KV_VERB_COUNT] = { "get", "set", "delete", "list", "increment" };
const char *const stdio_stream_names[STDIO_STREAM_COUNT] = { "stdin", "stdout", "stderr" };
const char *const log_level_names[LOG_LEVEL_COUNT] = { "trace", "debug", "info",
                                                       "warn",  "error", "critical" };

const char *grant_class_name(enum grant_class c)
{
    if (c == GRANT_NETWORK)
        return "network";
    return (unsigned)c < GRANT_CLASS_COUNT ? class_names[c] : "unknown";
}

const char *grant_reason_text(enum grant_reason r)
{
    static const char *const texts[GRANT_REASON_COUNT] = {
        [GRANT_ALLOWED] = "allowed",
        [GRANT_NO_GRANT] = "no grant names it",
        [GRANT_NO_PATH] = "no pattern of the grant covers this path",
        [GRANT_NO_VERB] = "the grant of this path does not include the verb",
        [GRANT_QUOTA_BYTES] = "the grant's max_bytes is used up",
        [GRANT_QUOTA_FILES] = "the grant's max_files is used up",
        [GRANT_EXPIRED] = "the grants have expired",
        [GRANT_REVOKED] = "the grants were revoked",
        [GRANT_NOT_REGULAR] = "neither a regular file nor a folder",
        [GRANT_CROSSES_MOUNT] = "another file system is mounted inside the granted folder",
        [GRANT_NOT_OFFERED] = "no grant allows sockets; ask over HTTP",
        [GRANT_NO_METHOD] = "the grant of this URL does not include the method",
        [GRANT_NO_HEADER] = "a header that the grant requires is missing or has another value",
        [GRANT_NO_ADDRESS] = "the name resolves to an address that no grant lists",
        [GRANT_NEVER_ADDRESS] = "no grant may reach this address",
        [GRANT_MALFORMED] = "not a URL that Ambit dials",
        [GRANT_TOO_MANY] = "the grant's max_requests is used up",
        [GRANT_RATE] = "faster than the grant's rate",
        [GRANT_TOO_LARGE] = "larger than the grant allows",
        [GRANT_NO_UPGRADE] = "the grant does not allow a WebSocket",
        [GRANT_PLACEHOLDER] =
            "a secret's placeholder stands outside the header that the grant names",
        [GRANT_SECRET] = "the secret was not released",
        [GRANT_DISAGREES] = "CONNECT, SNI, Host and :authority do not name one host",
    };
    return (unsigned)r < GRANT_REASON_COUNT ? texts[r] : "unknown";
}

const char *grant_reason_name(enum grant_reason r)
{
    static const char *const names[GRANT_REASON_COUNT] = {
        [GRANT_ALLOWED] = "allowed",
        [GRANT_NO_GRANT] = "no-grant",
        [GRANT_NO_PATH] = "no-path",
        [GRANT_NO_VERB] = "no-verb",
        [GRANT_QUOTA_BYTES] = "quota-bytes",
        [GRANT_QUOTA_FILES] = "quota-files",
        [GRANT_EXPIRED] = "expired",
        [GRANT_REVOKED] = "revoked",
        [GRANT_NOT_REGULAR] = "not-regular",
        [GRANT_CROSSES_MOUNT] = "crosses-mount",
        [GRANT_NOT_OFFERED] = "not-offered",
        [GRANT_NO_METHOD] = "no-method",
        [GRANT_NO_HEADER] = "no-header",
        [GRANT_NO_ADDRESS] = "no-address",
        [GRANT_NEVER_ADDRESS] = "never-address",
        [GRANT_MALFORMED] = "malformed",
        [GRANT_TOO_MANY] = "too-many",
        [GRANT_RATE] = "rate",
        [GRANT_TOO_LARGE] = "too-large",
        [GRANT_NO_UPGRADE] = "no-upgrade",
        [GRANT_PLACEHOLDER] = "placeholder",
        [GRANT_SECRET] = "secret",
        [GRANT_DISAGREES] = "hosts-disagree",
    };
    return (unsigned)r < GRANT_REASON_COUNT && names[r] != NULL ? names[r] : "unknown";
}

static bool name_in(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

int grant_class_by_name(const char *name)
{
    for (int c = 0; c < GRANT_CLASS_COUNT; c++) {
        if (strcmp(name, class_names[c]) == 0)
            return c;
    }
    return -1;
}

bool grant_class_is_planned(const char *name)
{
    return name_in(name, planned_classes, ARRAY_SIZE(planned_classes));
}

bool grant_backing_is_planned(const char *name)
{
    return name_in(name, planned_backings, ARRAY_SIZE(planned_backings));
}

#define WORD_MAX 24

/* Edit distance with swaps of neighbours (optimal string alignment), for words up to WORD_MAX. */
static size_t word_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t table[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= a_size; i++)
        table[i][0] = i;
    for (size_t j = 0; j <= b_size; j++)
        table[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        for (size_t j = 1; j <= b_size; j++) {
            size_t best = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, table[i - 1][j] + 1);
            best = MIN(best, table[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, table[i - 2][j - 2] + 1);
            table[i][j] = best;
        }
    }
    return table[a_size][b_size];
}

const char *name_nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t size = strnlen(word, WORD_MAX + 1), best_distance = 3;
    if (size == 0 || size > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_size = strlen(names[i]);
        if (name_size > WORD_MAX)
            continue;
        /* A short word has too many neighbours at distance two. */
        size_t longer = MAX(size, name_size), limit = longer < 5 ? 2 : 3;
        size_t distance = word_distance(word, size, names[i], name_size);
        if (distance < limit && distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}
