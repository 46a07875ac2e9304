/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest and host paths as text. Nothing here looks at a disk, so a `..` after a name is refused:
 * whether it leads back depends on symbolic links. Only `..` at the start of a relative host path
 * is taken, because the folder it stands against is known to be a real one.
 */
#include "grant/internal.h"

#include <string.h>

static void hint_shortest(const char *path, struct error *e)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(GRANT_PATH_MAX + 2);
    text_put_path_shortest(&b, path);
    if (buf_status(&b) == 0)
        error_hint(e, "write `%s`", buf_cstr(&b));
}

int guest_path_check(const char *path, struct error *e)
{
    size_t size = strlen(path);
    int r = 0;
    if (path[0] != '/') {
        r = error_set(e, -EINVAL, "guest path `%s` is not absolute", path);
        if (strncmp(path, "..", 2) != 0 && size > 0 && size < GRANT_PATH_MAX)
            error_hint(e, "the guest's working directory is /work: write `/work/%s`", path);
        return r;
    }
    if (size >= GRANT_PATH_MAX)
        return error_set(e, -EINVAL, "guest path is longer than %d bytes", GRANT_PATH_MAX - 1);
    if (!text_is_utf8(path, size))
        return error_set(e, -EINVAL, "guest path is not UTF-8");
    if (size == 1)
        return 0;
    for (const char *at = path + 1;; at++) {
        size_t segment = strcspn(at, "/");
        if (segment == 2 && at[0] == '.' && at[1] == '.')
            r = error_set(e, -EINVAL, "guest path `%s` has a `..`", path);
        else if (segment == 0 || (segment == 1 && at[0] == '.'))
            r = error_set(e, -EINVAL, "guest path `%s` is not in its shortest form", path);
        if (r < 0) {
            hint_shortest(path, e);
            return r;
        }
        at += segment;
        if (*at == '\0')
            return 0;
    }
}

/* Takes the last segment off an absolute path that is being built; false at the root. */
static bool path_up(struct buf *b)
{
    if (b->size == 0)
        return false;
    while (b->size > 0 && b->data[--b->size] != '/')
        ;
    return true;
}

static int host_path_append(struct buf *out, const char *path, bool may_go_up, struct error *e)
{
    const char *whole = path;
    while (*path) {
        size_t size = strcspn(path, "/");
        if (size == 2 && path[0] == '.' && path[1] == '.') {
            if (!may_go_up) {
                int r = error_set(e, -EINVAL, "host path `%s` has a `..` after a name", whole);
                error_hint(e, "where it leads depends on links: write the path without it");
                return r;
            }
            if (!path_up(out))
                return error_set(e, -EINVAL, "host path `%s` goes above the root", whole);
        } else if (size > 0 && !(size == 1 && path[0] == '.')) {
            may_go_up = false;
            buf_putc(out, '/');
            buf_append(out, path, size);
        }
        path += size;
        path += *path == '/';
    }
    return 0;
}

int host_path_resolve(const char *base, const char *path, char **ret, struct error *e)
{
    CLEANUP(buf_done) struct buf b = BUF_INIT(2 * GRANT_PATH_MAX);
    int r;
    if (path[0] == '\0')
        return error_set(e, -EINVAL, "host path is empty");
    if (strlen(path) >= GRANT_PATH_MAX)
        return error_set(e, -EINVAL, "host path is longer than %d bytes", GRANT_PATH_MAX - 1);
    if (!text_is_utf8(path, strlen(path)))
        return error_set(e, -EINVAL, "host path is not UTF-8");
    if (path[0] != '/') {
        if (base == NULL || base[0] != '/')
            return error_set(e, -EINVAL, "host path `%s` is not absolute", path);
        r = host_path_append(&b, base, false, e);
        if (r < 0)
            return r;
    }
    r = host_path_append(&b, path, path[0] != '/', e);
    if (r < 0)
        return r;
    if (b.size == 0)
        buf_putc(&b, '/');
    if (b.size >= GRANT_PATH_MAX)
        return error_set(e, -EINVAL, "host path is longer than %d bytes", GRANT_PATH_MAX - 1);
    char *text = buf_take(&b);
    if (text == NULL)
        return grant_no_memory(e);
    *ret = text;
    return 0;
}

const char *grant_path_below(const char *folder, const char *path)
{
    size_t size = strlen(folder);
    if (size == 1) /* "/" */
        return path + 1;
    if (strncmp(folder, path, size) != 0)
        return NULL;
    if (path[size] == '\0')
        return path + size;
    return path[size] == '/' ? path + size + 1 : NULL;
}

char *path_join(const char *folder, const char *rest)
{
    if (rest[0] == '\0')
        return mem_strdup(folder);
    return mem_printf("%s/%s", strcmp(folder, "/") == 0 ? "" : folder, rest);
}
