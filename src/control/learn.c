/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --learn: the denials of a run as one grant file. Each denial brought the smallest grant that
 * would have allowed it; those are read by the ordinary reader (what it refuses is left out),
 * merged, and printed by the ordinary printer, so that the result is a valid file by construction.
 * Two fs grants of one mount are merged when their verbs or their paths are the same, which allows
 * exactly what the two allow; so are two http grants of one origin whose methods or paths are the
 * same, and two keyvalue grants of one bucket whose verbs or keys are.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "control/run.h"

#define HEADER "# ambit run --learn: "
#define FILE_MAX (8u << 20)

int run_learn_check(const char *path, struct error *e)
{
    char head[sizeof(HEADER)] = { 0 };
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return error_set_errno(e, errno, "%s cannot be read", path);
    ssize_t n = read(fd, head, sizeof(HEADER) - 1);
    if (n == 0 ||
        (n == (ssize_t)sizeof(HEADER) - 1 && memcmp(head, HEADER, sizeof(HEADER) - 1) == 0))
        return 0;
    error_set(e, -EEXIST, "%s exists and was not written by --learn", path);
    error_hint(e, "name a new file, or remove that one");
    return -EEXIST;
}

/* One item, indented, below its own header: "- a\n  b" → a grant file. */
static int parse_item(const char *yaml, struct grant_set **ret, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(FILE_MAX);
    buf_puts(&text, "version: 1\ngrants:\n");
    for (const char *at = yaml; *at != '\0';) {
        size_t length = strcspn(at, "\n");
        buf_puts(&text, "  ");
        buf_append(&text, at, length);
        buf_putc(&text, '\n');
        at += length + (at[length] == '\n');
    }
    int r = buf_status(&text);
    if (r < 0)
        return error_set(e, r, "no memory for the learned grants");
    return grant_set_parse("learned", "/", (const char *)text.data, text.size, ret, e);
}

/* ---- merging ---- */

static bool same_strings(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

static bool same_paths(const struct grant *a, const struct grant *b)
{
    return same_strings(a->fs.paths, a->fs.path_count, b->fs.paths, b->fs.path_count);
}

static bool same_mount(const struct grant *a, const struct grant *b)
{
    return strcmp(a->fs.guest, b->fs.guest) == 0 && a->fs.backing == b->fs.backing &&
           a->fs.max_bytes == b->fs.max_bytes && a->fs.max_files == b->fs.max_files &&
           (a->fs.host == NULL) == (b->fs.host == NULL) &&
           (a->fs.host == NULL || strcmp(a->fs.host, b->fs.host) == 0);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Moves b's strings into a's, sorted, without doubles. */
static int join_strings(char ***a, size_t *a_count, char **b, size_t *b_count)
{
    char **all = mem_grow(*a, *a_count + *b_count, sizeof(char *));
    if (all == NULL)
        return -ENOMEM;
    *a = all;
    for (size_t i = 0; i < *b_count; i++)
        all[(*a_count)++] = TAKE(b[i]);
    *b_count = 0;
    qsort(all, *a_count, sizeof(char *), compare_strings);
    size_t kept = 1;
    for (size_t i = 1; i < *a_count; i++) {
        if (strcmp(all[i], all[kept - 1]) == 0)
            mem_free(all[i]);
        else
            all[kept++] = all[i];
    }
    *a_count = kept;
    return 0;
}

/* Proposals name no headers, counters and sizes; only those are joined. */
static bool is_plain_http(const struct grant *g)
{
    return g->http.method_count > 0 && g->http.require_count == 0 && g->http.set_count == 0 &&
           g->http.strip_count == 0 && g->http.max_requests == GRANT_UNSET &&
           g->http.max_request_bytes == GRANT_UNSET && g->http.max_response_bytes == GRANT_UNSET &&
           g->http.timeout_ns == GRANT_UNSET && g->rate_count == GRANT_UNSET;
}

static bool same_origin(const struct grant *a, const struct grant *b)
{
    if (a->http.https != b->http.https || a->http.wildcard != b->http.wildcard ||
        a->http.port != b->http.port || strcmp(a->http.host, b->http.host) != 0 ||
        a->http.websocket != b->http.websocket || a->http.address_count != b->http.address_count)
        return false;
    for (size_t i = 0; i < a->http.address_count; i++)
        if (a->http.addresses[i].bits != b->http.addresses[i].bits ||
            !address_equal(&a->http.addresses[i].address, &b->http.addresses[i].address))
            return false;
    return true;
}

/* 1: b went into a; 0: they stay two; < 0. So for keyvalue. */
static int join_http(struct grant *a, struct grant *b)
{
    int r = 0;
    if (!is_plain_http(a) || !is_plain_http(b) || !same_origin(a, b))
        return 0;
    if (same_strings(a->http.paths, a->http.path_count, b->http.paths, b->http.path_count))
        r = join_strings(&a->http.methods, &a->http.method_count, b->http.methods,
                         &b->http.method_count);
    else if (same_strings(a->http.methods, a->http.method_count, b->http.methods,
                          b->http.method_count))
        r = join_strings(&a->http.paths, &a->http.path_count, b->http.paths, &b->http.path_count);
    else
        return 0;
    return r < 0 ? r : 1;
}

static int join_keyvalue(struct grant *a, struct grant *b)
{
    if (strcmp(a->keyvalue.bucket, b->keyvalue.bucket) != 0 || a->rate_count != b->rate_count ||
        a->rate_ns != b->rate_ns || a->keyvalue.max_bytes != b->keyvalue.max_bytes)
        return 0;
    if (same_strings(a->keyvalue.keys, a->keyvalue.key_count, b->keyvalue.keys,
                     b->keyvalue.key_count)) {
        a->keyvalue.verbs |= b->keyvalue.verbs;
        return 1;
    }
    if (a->keyvalue.verbs != b->keyvalue.verbs)
        return 0;
    int r = join_strings(&a->keyvalue.keys, &a->keyvalue.key_count, b->keyvalue.keys,
                         &b->keyvalue.key_count);
    return r < 0 ? r : 1;
}

static bool has_pair(const struct grant *g, const char *key)
{
    for (size_t i = 0; i < g->pair_count; i++)
        if (strcmp(g->pairs[i].key, key) == 0)
            return true;
    return false;
}

static int join_pairs(struct grant *a, struct grant *b)
{
    for (size_t i = 0; i < b->pair_count; i++) {
        if (has_pair(a, b->pairs[i].key))
            continue;
        struct grant_pair *pairs = mem_grow(a->pairs, a->pair_count + 1, sizeof(*pairs));
        if (pairs == NULL)
            return -ENOMEM;
        a->pairs = pairs;
        a->pairs[a->pair_count++] = b->pairs[i];
        b->pairs[i] = (struct grant_pair){ 0 };
    }
    return 0;
}

/* 1: b went into a; 0: they stay two; < 0. */
static int join(struct grant *a, struct grant *b)
{
    int r = 0;
    if (a->class != b->class)
        return 0;
    switch (a->class) {
    case GRANT_FS:
        if (!same_mount(a, b))
            return 0;
        if (same_paths(a, b))
            a->fs.verbs |= b->fs.verbs;
        else if (a->fs.verbs == b->fs.verbs)
            r = join_strings(&a->fs.paths, &a->fs.path_count, b->fs.paths, &b->fs.path_count);
        else
            return 0;
        break;
    case GRANT_ENV:
    case GRANT_CONFIG:
        r = join_pairs(a, b);
        break;
    case GRANT_STDIO:
        a->streams |= b->streams;
        break;
    case GRANT_LOG:
        a->levels |= b->levels;
        break;
    case GRANT_HTTP:
        return join_http(a, b);
    case GRANT_KEYVALUE:
        return join_keyvalue(a, b);
    case GRANT_ARGS:
    case GRANT_CLOCK:
    case GRANT_RANDOM:
    case GRANT_CLASS_COUNT:
        break; /* one is as good as the next: proposals say `given` and `real` */
    }
    return r < 0 ? r : 1;
}

static int compare_http(const struct grant *a, const struct grant *b)
{
    int r = strcmp(a->http.host, b->http.host);
    if (r == 0)
        r = (int)a->http.port - (int)b->http.port;
    return r != 0 ? r : strcmp(a->http.paths[0], b->http.paths[0]);
}

static int compare_grants(const void *left, const void *right)
{
    const struct grant *a = left, *b = right;
    if (a->class != b->class)
        return (int)a->class - (int)b->class;
    if (a->class == GRANT_HTTP)
        return compare_http(a, b);
    if (a->class == GRANT_KEYVALUE)
        return strcmp(a->keyvalue.bucket, b->keyvalue.bucket);
    if (a->class != GRANT_FS)
        return 0;
    int r = strcmp(a->fs.guest, b->fs.guest);
    if (r == 0)
        r = (a->fs.verbs > b->fs.verbs) - (a->fs.verbs < b->fs.verbs);
    return r != 0 ? r : strcmp(a->fs.paths[0], b->fs.paths[0]);
}

/* Until nothing can be joined: joining paths can make verbs equal and the other way round. */
static int merge_all(struct grant_set *s)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < s->count; i++) {
            for (size_t k = i + 1; k < s->count;) {
                int r = join(&s->grants[i], &s->grants[k]);
                if (r < 0)
                    return r;
                if (r == 0) {
                    k++;
                    continue;
                }
                grant_done(&s->grants[k]);
                memmove(&s->grants[k], &s->grants[k + 1],
                        (s->count - k - 1) * sizeof(struct grant));
                s->count--;
                changed = true;
            }
        }
    }
    if (s->count > 1)
        qsort(s->grants, s->count, sizeof(struct grant), compare_grants);
    return 0;
}

/* ---- the file ---- */

static int write_file(const char *path, struct buf *text, struct error *e)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(mem_freep)
    char *folder = slash == NULL ? mem_strdup(".")
                                 : mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (folder == NULL)
        return error_set(e, -ENOMEM, "no memory for the learned grants");
    size_t link_size = 0;
    CLEANUP(fd_closep) int fd = file_open_dir_unlinked(folder, &link_size);
    if (fd < 0)
        return error_set_errno(e, -fd, "the folder %s cannot be opened%s", folder,
                               fd == -ELOOP ? " (a link is on the way)" : "");
    return file_write_atomic(fd, slash == NULL ? path : slash + 1, text->data, text->size, 0644, e);
}

int run_learn(const char *path, const struct run_report *report, size_t *ret_count, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *all = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(FILE_MAX);

    int r = grant_set_new(&all, e);
    for (size_t i = 0; r == 0 && i < report->denied_count; i++) {
        CLEANUP(grant_set_freep) struct grant_set *one = NULL;
        const char *yaml = report->denied[i].denial.grant_yaml;
        struct error ignored = ERROR_INIT;
        /* No grant can allow it (a device, a mount point), or the text is not the grammar's. */
        if (yaml == NULL || yaml[0] == '\0' || parse_item(yaml, &one, &ignored) < 0)
            continue;
        for (size_t k = 0; r == 0 && k < one->count; k++) {
            mem_free(one->grants[k].origin);
            one->grants[k].origin = mem_strdup("learned");
            struct error conflict = ERROR_INIT;
            struct grant moved = one->grants[k];
            one->grants[k] = (struct grant){ .class = moved.class };
            if (grant_set_add(all, &moved, &conflict) == -ENOMEM)
                r = error_set(e, -ENOMEM, "no memory for the learned grants");
        }
    }
    if (r == 0 && (r = merge_all(all)) < 0)
        error_set(e, r, "no memory for the learned grants");
    if (r < 0)
        return r;
    *ret_count = all->count;
    if (all->count == 0)
        return 0;
    buf_printf(&text,
               HEADER "what run %s asked for and did not get. Read it before you grant it.\n",
               report->id);
    if ((r = grant_set_print(all, &text, e)) < 0)
        return r;
    if ((r = buf_status(&text)) < 0)
        return error_set(e, r, "no memory for the learned grants");
    if ((r = run_learn_check(path, e)) < 0)
        return r;
    return write_file(path, &text, e);
}
