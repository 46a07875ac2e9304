/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grants that `ambit run` implies: for each class that nobody named, what any command has and
 * what reaches no one else: its standard streams, its arguments, the real clock, random bytes, an
 * empty /tmp. Never files, never variables. A script's own file is granted to be read, also with
 * --bare: without it there is nothing to run.
 */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "control/run_parts.h"

#define TMP_DEFAULT (UINT64_C(64) << 20)

static bool has_class(const struct grant_set *s, enum grant_class c)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->grants[i].class == c)
            return true;
    return false;
}

static bool has_mount(const struct grant_set *s, const char *guest)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->grants[i].class == GRANT_FS && strcmp(s->grants[i].fs.guest, guest) == 0)
            return true;
    return false;
}

static int add(struct grant_set *s, struct grant g, const char *origin, struct error *e)
{
    g.origin = mem_strdup(origin);
    if (g.origin == NULL) {
        grant_done(&g);
        return error_set(e, -ENOMEM, "no memory for the grants");
    }
    return grant_set_add(s, &g, e);
}

static int add_tmp(struct grant_set *s, uint64_t bytes, const char *origin, struct error *e)
{
    struct grant g = { .class = GRANT_FS };
    g.fs.guest = mem_strdup("/tmp");
    g.fs.backing = GRANT_BACKING_MEMORY;
    g.fs.verbs = FS_RW;
    g.fs.max_bytes = bytes;
    g.fs.max_files = GRANT_UNSET;
    g.fs.paths = mem_array(1, sizeof(char *));
    if (g.fs.paths != NULL) {
        g.fs.path_count = 1;
        g.fs.paths[0] = mem_strdup("**");
    }
    if (g.fs.guest == NULL || g.fs.paths == NULL || g.fs.paths[0] == NULL) {
        grant_done(&g);
        return error_set(e, -ENOMEM, "no memory for the grants");
    }
    return add(s, g, origin, e);
}

static int imply_tmp(struct run *r, struct error *e)
{
    const char *tmp = r->request->tmp;
    uint64_t bytes = TMP_DEFAULT;

    if (tmp != NULL && strcmp(tmp, "none") == 0)
        return 0;
    if (tmp != NULL) {
        int status = text_parse_size(tmp, &bytes, e);
        if (status < 0) {
            error_prefix(e, "--tmp");
            return status;
        }
        return add_tmp(r->request->grants, bytes, "--tmp", e);
    }
    if (r->request->bare || has_mount(r->request->grants, "/tmp"))
        return 0;
    return add_tmp(r->request->grants, bytes, "implied", e);
}

/* A mount hides what a mount above it shows there. So where the innermost mount around the script
 * shows it already, its grant is made one of that mount, and the script's folder is not mounted a
 * second time with nothing but the script in it. */
static int join_mount(const struct grant_set *s, const struct target *t, struct grant *g,
                      struct error *e)
{
    const struct grant *inner = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct grant *m = &s->grants[i];
        if (m->class == GRANT_FS && grant_path_below(m->fs.guest, t->script_guest) != NULL &&
            (inner == NULL || strlen(m->fs.guest) > strlen(inner->fs.guest)))
            inner = m;
    }
    if (inner == NULL || inner->fs.backing != GRANT_BACKING_DIR)
        return 0;
    const char *rest = grant_path_below(inner->fs.guest, t->script_guest),
               *host_rest = grant_path_below(inner->fs.host, t->script_host);
    if (host_rest == NULL || rest[0] == '\0' || strcmp(rest, host_rest) != 0)
        return 0;
    char *guest = mem_strdup(inner->fs.guest), *host = mem_strdup(inner->fs.host),
         *pattern = grant_pattern_quote(rest);
    if (guest == NULL || host == NULL || pattern == NULL) {
        mem_free(guest);
        mem_free(host);
        mem_free(pattern);
        return error_set(e, -ENOMEM, "no memory for the grants");
    }
    mem_free(g->fs.guest);
    mem_free(g->fs.host);
    mem_free(g->fs.paths[0]);
    g->fs.guest = guest;
    g->fs.host = host;
    g->fs.paths[0] = pattern;
    return 0;
}

int run_imply_grants(struct run *r, struct error *e)
{
    struct grant_set *s = r->request->grants;
    const struct grant implied[] = {
        { .class = GRANT_STDIO, .streams = STDIO_IN | STDIO_OUT | STDIO_ERR },
        { .class = GRANT_ARGS, .args_given = true },
        { .class = GRANT_CLOCK, .real = true },
        { .class = GRANT_RANDOM, .real = true },
    };
    int status = imply_tmp(r, e);

    for (size_t i = 0; status == 0 && !r->request->bare && i < ARRAY_SIZE(implied); i++)
        if (!has_class(s, implied[i].class))
            status = add(s, implied[i], "implied", e);
    if (status == 0 && r->target.language != TARGET_WASM) {
        CLEANUP(grant_done) struct grant g = { 0 };
        status = target_script_grant(&r->target, &g, e);
        if (status == 0)
            status = join_mount(s, &r->target, &g, e);
        if (status == 0) {
            struct grant given = g;
            g = (struct grant){ 0 };
            status = grant_set_add(s, &given, e);
        }
    }
    return status;
}
