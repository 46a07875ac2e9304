/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags as grants. --read and --write: a relative PATH appears at the same place below /work, an absolute
 * one at the same absolute place, PATH:GUEST elsewhere. The colon that separates is the last one
 * before a `/`, so a PATH with colons of its own is written with an explicit GUEST.
 *
 * --net: methods before a space, then a URL whose path is a pattern. Whoever types a literal address
 * means it, so it need not be listed as in a file; what a name resolves to must be.
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
    const char *below = grant_path_below(work_host, host);
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

/* ---- --net ---- */

static int net_methods(const char *text, size_t size, struct grant *g, struct error *e)
{
    const char *end = text + size;
    g->http.methods = mem_array(GRANT_METHODS_MAX, sizeof(*g->http.methods));
    if (g->http.methods == NULL)
        return grant_no_memory(e);
    for (const char *at = text, *comma; at <= end; at = comma + 1) {
        comma = memchr(at, ',', (size_t)(end - at));
        if (comma == NULL)
            comma = end;
        if (g->http.method_count == GRANT_METHODS_MAX)
            return error_set(e, -EINVAL, "more than %d methods", GRANT_METHODS_MAX);
        char *method = mem_strndup(at, (size_t)(comma - at));
        if (method == NULL)
            return grant_no_memory(e);
        g->http.methods[g->http.method_count++] = method;
        int r = http_method_check(method, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Splits after the authority; the path with its "/", or NULL. */
static int net_url(const char *text, struct grant *g, struct error *e)
{
    const char *authority = strstr(text, "://");
    const char *end = authority ? strpbrk(authority + 3, "/?#") : NULL;
    const char *path = end ? end : "/**";
    CLEANUP(mem_freep)
    char *origin = mem_strndup(text, end ? (size_t)(end - text) : strlen(text));
    struct address address;
    if (origin == NULL)
        return grant_no_memory(e);
    int r = http_origin_read(origin, g, e);
    if (r == 0)
        r = http_path_check(path, e);
    if (r == 0)
        r = strings_of_one(path, &g->http.paths, &g->http.path_count, e);
    if (r < 0 || !http_host_is_address(g, &address) || address_kind(&address) == ADDRESS_GLOBAL)
        return r;
    g->http.addresses = mem_array(1, sizeof(*g->http.addresses));
    if (g->http.addresses == NULL)
        return grant_no_memory(e);
    g->http.addresses[g->http.address_count++] =
        (struct network){ address, address.is_v6 ? 128 : 32 };
    return 0;
}

static int net_to_grant(const char *flag, const char *value, struct grant *ret, struct error *e)
{
    CLEANUP(grant_done) struct grant g = { .class = GRANT_HTTP };
    const char *url = value, *space = strchr(value, ' ');
    int r = 0;
    grant_service_init(&g);
    if (space != NULL) {
        url = space + strspn(space, " ");
        r = net_methods(value, (size_t)(space - value), &g, e);
    }
    if (r == 0)
        r = net_url(url, &g, e);
    if (r < 0)
        return r;
    g.origin = mem_strdup(flag);
    if (g.origin == NULL)
        return grant_no_memory(e);
    r = grant_check(&g, e);
    if (r < 0)
        return r;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_from_net_flag(const char *flag, const char *value, struct grant *ret, struct error *e)
{
    struct error local = ERROR_INIT;
    if (e == NULL)
        e = &local;
    int r = net_to_grant(flag, value, ret, e);
    if (r < 0) {
        error_prefix(e, "%s '%s'", flag, value);
        if (e->hint[0] == '\0' && r != -ENOMEM)
            error_hint(e, "write %s 'GET,POST https://api.example.com/items/**'", flag);
    }
    return r;
}

/* ---- --keyvalue ---- */

static int keyvalue_verbs(const char *text, uint32_t *ret, struct error *e)
{
    while (*text) {
        size_t size = strcspn(text, ","), found = 0;
        while (found < KV_VERB_COUNT && (strlen(kv_verb_names[found]) != size ||
                                         memcmp(kv_verb_names[found], text, size) != 0))
            found++;
        if (found == KV_VERB_COUNT) {
            int r =
                error_set(e, -EINVAL, "`%.*s` is no verb of keyvalue", (int)MIN(size, 64u), text);
            error_hint(e, "there are: get, set, delete, list, increment");
            return r;
        }
        *ret |= 1u << found;
        text += size;
        text += *text == ',' && text[1] != '\0';
    }
    return 0;
}

static int keyvalue_to_grant(const char *flag, const char *value, struct grant *ret,
                             struct error *e)
{
    CLEANUP(grant_done) struct grant g = { .class = GRANT_KEYVALUE };
    const char *colon = strrchr(value, ':');
    size_t size = colon ? (size_t)(colon - value) : strlen(value);
    grant_service_init(&g);
    g.keyvalue.bucket = mem_strndup(value, size);
    g.origin = mem_strdup(flag);
    if (g.keyvalue.bucket == NULL || g.origin == NULL)
        return grant_no_memory(e);
    g.keyvalue.verbs = colon ? 0 : KV_ALL;
    int r = colon ? keyvalue_verbs(colon + 1, &g.keyvalue.verbs, e) : 0;
    if (r == 0)
        r = strings_of_one("**", &g.keyvalue.keys, &g.keyvalue.key_count, e);
    if (r == 0)
        r = grant_check(&g, e);
    if (r < 0)
        return r;
    *ret = g;
    g = (struct grant){ 0 };
    return 0;
}

int grant_from_keyvalue_flag(const char *flag, const char *value, struct grant *ret,
                             struct error *e)
{
    struct error local = ERROR_INIT;
    if (e == NULL)
        e = &local;
    int r = keyvalue_to_grant(flag, value, ret, e);
    if (r < 0) {
        error_prefix(e, "%s %s", flag, value);
        if (e->hint[0] == '\0' && r != -ENOMEM)
            error_hint(e, "write %s NAME or %s NAME:get,set", flag, flag);
    }
    return r;
}
