/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --read and --write as grants. A relative PATH appears at the same place below /work, an absolute
 * one at the same absolute place, PATH:GUEST elsewhere. The colon that separates is the last one
 * before a `/`, so a PATH with colons of its own is written with an explicit GUEST.
 */
#include "grant/internal.h"

#include <string.h>

#define WORK "/work"

struct path_flag {
    char *path;  /* as typed */
    char *guest; /* NULL: none was typed */
};

static void path_flag_done(struct path_flag *f)
{
    mem_free(f->path);
    mem_free(f->guest);
}

static int path_flag_split(const char *flag, const char *value, struct path_flag *ret,
                           struct error *e)
{
    const char *separator = NULL;
    for (const char *at = value; (at = strstr(at, ":/")) != NULL; at++)
        separator = at;
    if (separator == NULL && strchr(value, ':') != NULL) {
        int r = error_set(e, -EINVAL, "%s %s: the place in the guest is not absolute", flag, value);
        error_hint(e, "write %s PATH:/GUEST; for a name with a colon too, as in './a:b:/work/a:b'",
                   flag);
        return r;
    }
    ret->path = separator ? mem_strndup(value, (size_t)(separator - value)) : mem_strdup(value);
    ret->guest = separator ? mem_strdup(separator + 1) : NULL;
    if (ret->path == NULL || (separator && ret->guest == NULL))
        return grant_no_memory(e);
    if (ret->path[0] == '\0')
        return error_set(e, -EINVAL, "%s %s: the path is empty", flag, value);
    return 0;
}

int grant_path_flag_host(const char *flag, const char *value, const char *work_host, char **ret,
                         struct error *e)
{
    CLEANUP(path_flag_done) struct path_flag f = { 0 };
    int r = path_flag_split(flag, value, &f, e);
    if (r < 0)
        return r;
    r = host_path_resolve(work_host, f.path, ret, e);
    if (r < 0)
        error_prefix(e, "%s", flag);
    return r;
}

/* The place in the guest when none was typed. */
static int guest_of_host(const struct path_flag *f, const char *host, const char *work_host,
                         char **ret, struct error *e)
{
    if (f->path[0] == '/') {
        *ret = mem_strdup(host);
        return *ret ? 0 : grant_no_memory(e);
    }
    const char *below = path_below(work_host, host);
    if (below == NULL) {
        int r = error_set(
            e, -EINVAL,
            "%s is outside the working folder, so it has no place of its own in the guest",
            f->path);
        error_hint(e, "say where: %s:/GUEST", f->path);
        return r;
    }
    *ret = path_join(WORK, below);
    return *ret ? 0 : grant_no_memory(e);
}

static const char *last_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* Cuts the last name off an absolute path. */
static void cut_to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    slash[slash == path] = '\0';
}

/* A typed GUEST in its shortest form. One that ends in a slash is the folder that
 * a file goes to. */
static int guest_typed(const struct path_flag *f, const char *host, bool is_folder, char **ret,
                       struct error *e)
{
    CLEANUP(mem_freep) char *guest = NULL;
    size_t size = strlen(f->guest);
    int r = host_path_resolve(NULL, f->guest, &guest, e);
    if (r < 0)
        return r;
    if (!is_folder && f->guest[size - 1] == '/') {
        *ret = path_join(guest, last_name(host));
        return *ret ? 0 : grant_no_memory(e);
    }
    if (!is_folder && strcmp(last_name(guest), last_name(host)) != 0) {
        r = error_set(e, -EINVAL, "a single file keeps its name in the guest: `%s` cannot be `%s`",
                      last_name(host), last_name(guest));
        error_hint(e, "write its folder: %s:%.*s", f->path, (int)(last_name(f->guest) - f->guest),
                   f->guest);
        return r;
    }
    *ret = TAKE(guest);
    return 0;
}

static int grant_fill(struct grant *g, const char *flag, bool write, const char *pattern,
                      struct error *e)
{
    g->fs.verbs = write ? FS_RW : FS_RO;
    g->origin = mem_strdup(flag);
    g->fs.paths = mem_array(1, sizeof(*g->fs.paths));
    if (g->origin == NULL || g->fs.paths == NULL)
        return grant_no_memory(e);
    g->fs.paths[0] = mem_strdup(pattern);
    if (g->fs.paths[0] == NULL)
        return grant_no_memory(e);
    g->fs.path_count = 1;
    return grant_check(g, e);
}

static int flag_to_grant(const char *flag, const char *value, bool write, bool is_folder,
                         const char *work_host, struct grant *ret, struct error *e)
{
    CLEANUP(path_flag_done) struct path_flag f = { 0 };
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(GRANT_PATTERN_MAX + 1);
    CLEANUP(grant_done)
    struct grant g = {
        .class = GRANT_FS,
        .fs = { .backing = GRANT_BACKING_DIR, .max_bytes = GRANT_UNSET, .max_files = GRANT_UNSET }
    };
    int r = path_flag_split(flag, value, &f, e);
    if (r == 0)
        r = host_path_resolve(work_host, f.path, &g.fs.host, e);
    if (r == 0)
        r = f.guest ? guest_typed(&f, g.fs.host, is_folder, &g.fs.guest, e)
                    : guest_of_host(&f, g.fs.host, work_host, &g.fs.guest, e);
    if (r < 0)
        return r;
    if (is_folder) {
        buf_puts(&pattern, "**");
    } else {
        const char *name = last_name(g.fs.host);
        if (name[0] == '\0' || last_name(g.fs.guest)[0] == '\0')
            return error_set(e, -EINVAL, "the root is a folder");
        glob_quote(&pattern, name, strlen(name));
        cut_to_parent(g.fs.host);
        cut_to_parent(g.fs.guest);
    }
    if (buf_status(&pattern) < 0)
        return error_set(e, buf_status(&pattern), "the path is too long");
    r = grant_fill(&g, flag, write, buf_cstr(&pattern), e);
    if (r < 0)
        return r;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_from_path_flag(const char *flag, const char *value, bool write, bool is_folder,
                         const char *work_host, struct grant *ret, struct error *e)
{
    int r = flag_to_grant(flag, value, write, is_folder, work_host, ret, e);
    if (r < 0 && e != NULL && strncmp(e->what, flag, strlen(flag)) != 0)
        error_prefix(e, "%s", flag);
    return r;
}
