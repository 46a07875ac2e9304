/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest grant that would have allowed what was denied: one verb set, one path that matches
 * nothing else, in the mount that holds the path. Outside every mount it is a mount of the parent
 * folder, at the place that flags would give it. Verbs of several rules add up, so a proposal names
 * the missing ones only.
 */
#include "grant/rules.h"

#include <string.h>

#define WORK "/work"

/* Where a guest folder outside every mount lies on the host: as the flags place it. */
static char *host_of_guest(const struct grant_rules *r, const char *guest)
{
    const char *below = grant_path_below(WORK, guest);
    return below ? path_join(r->work_host, below) : mem_strdup(guest);
}

static int fs_in_mount(const struct grant_mount *m, const char *rest, struct grant *g,
                       struct buf *pattern, struct error *e)
{
    g->fs.backing = m->backing;
    g->fs.guest = mem_strdup(m->guest);
    g->fs.host = m->host ? mem_strdup(m->host) : NULL;
    if (g->fs.guest == NULL || (m->host && g->fs.host == NULL))
        return grant_no_memory(e);
    glob_quote(pattern, rest, strlen(rest));
    return 0;
}

/* A folder that is only to be listed is a mount of its own; so is what lies in the root, because the
 * host's root is nothing that can be granted. The parent of /work is not the host's. */
static bool mounts_itself(const char *guest, const char *name, uint32_t verbs)
{
    if (name[0] == '\0' || strcmp(guest, WORK) == 0)
        return true;
    return (verbs & ~(uint32_t)(FS_LIST | FS_STAT)) == 0 &&
           ((verbs & FS_LIST) != 0 || name == guest + 1);
}

/* Folders of the kernel, which no grant can give (control/mounts.c asks the file system itself). */
static bool kernel_folder(const char *host)
{
    static const char *const names[] = { "/proc", "/sys", "/dev" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t size = strlen(names[i]);
        if (strncmp(host, names[i], size) == 0 && (host[size] == '/' || host[size] == '\0'))
            return true;
    }
    return false;
}

static int fs_outside(const struct grant_rules *r, const char *guest, struct grant *g,
                      struct buf *pattern, struct error *e)
{
    const char *name = strrchr(guest, '/') + 1;
    g->fs.backing = GRANT_BACKING_DIR;
    if (mounts_itself(guest, name, g->fs.verbs)) {
        g->fs.guest = mem_strdup(guest);
        name = "";
    } else {
        size_t size = (size_t)(name - guest);
        g->fs.guest = mem_strndup(guest, size > 1 ? size - 1 : 1);
    }
    if (g->fs.guest == NULL)
        return grant_no_memory(e);
    g->fs.host = host_of_guest(r, g->fs.guest);
    if (g->fs.host == NULL)
        return grant_no_memory(e);
    if (kernel_folder(g->fs.host))
        return error_set(e, -EINVAL, "no grant gives what belongs to the kernel");
    glob_quote(pattern, name, strlen(name));
    return 0;
}

static void below_too(struct buf *pattern)
{
    if (pattern->size == 1 && pattern->data[0] == '.')
        buf_clear(pattern);
    buf_puts(pattern, pattern->size > 0 ? "/**" : "**");
}

static int propose_fs(const struct grant_rules *r, const char *guest, uint32_t missing, bool tree,
                      struct grant *ret, struct error *e)
{
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(GRANT_PATTERN_MAX + 1);
    CLEANUP(grant_done)
    struct grant g = { .class = GRANT_FS,
                       .fs = { .max_bytes = GRANT_UNSET, .max_files = GRANT_UNSET } };
    size_t mount = 0;
    const char *rest = NULL;
    int result = guest_path_check(guest, e);
    if (result < 0)
        return result;
    g.fs.verbs = missing & ~(uint32_t)FS_STAT ? missing & ~(uint32_t)FS_STAT : missing;
    if (grant_mount_of(r, guest, strlen(guest), &mount, &rest))
        result = fs_in_mount(&r->mounts[mount].mount, rest, &g, &pattern, e);
    else
        result = fs_outside(r, guest, &g, &pattern, e);
    if (result < 0)
        return result;
    if (tree)
        below_too(&pattern);
    g.fs.paths = mem_array(1, sizeof(*g.fs.paths));
    if (g.fs.paths == NULL)
        return grant_no_memory(e);
    g.fs.paths[0] = buf_take(&pattern);
    if (g.fs.paths[0] == NULL)
        return grant_no_memory(e);
    g.fs.path_count = 1;
    result = grant_check(&g, e);
    if (result < 0)
        return result;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_propose_fs(const struct grant_rules *r, const char *guest, uint32_t missing,
                     struct grant *ret, struct error *e)
{
    return propose_fs(r, guest, missing, false, ret, e);
}

int grant_propose_fs_tree(const struct grant_rules *r, const char *guest, uint32_t missing,
                          struct grant *ret, struct error *e)
{
    return propose_fs(r, guest, missing, true, ret, e);
}

int grant_propose_stdio(uint32_t stream, struct grant *ret, struct error *e)
{
    struct grant g = { .class = GRANT_STDIO, .streams = stream };
    int result = grant_check(&g, e);
    if (result == 0)
        *ret = g;
    return result;
}

int grant_propose_config(const char *key, struct grant *ret, struct error *e)
{
    CLEANUP(grant_done) struct grant g = { .class = GRANT_CONFIG };
    g.pairs = mem_array(1, sizeof(*g.pairs));
    if (g.pairs == NULL)
        return grant_no_memory(e);
    g.pair_count = 1;
    g.pairs[0].key = mem_strdup(key);
    g.pairs[0].value = mem_strdup("");
    if (g.pairs[0].key == NULL || g.pairs[0].value == NULL)
        return grant_no_memory(e);
    int result = grant_check(&g, e);
    if (result < 0)
        return result;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_propose_log(enum log_level level, struct grant *ret, struct error *e)
{
    if ((unsigned)level >= LOG_LEVEL_COUNT)
        return error_set(e, -EINVAL, "no such log level");
    *ret = (struct grant){ .class = GRANT_LOG, .levels = 1u << level };
    return 0;
}

int grant_propose_class(enum grant_class c, struct grant *ret, struct error *e)
{
    if (c != GRANT_CLOCK && c != GRANT_RANDOM && c != GRANT_ARGS)
        return error_set(e, -EINVAL, "a grant of %s needs to know of what", grant_class_name(c));
    *ret = (struct grant){ .class = c, .real = c != GRANT_ARGS, .args_given = c == GRANT_ARGS };
    return 0;
}
