/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual root: its mounts, the folders of the guest's world that come from the grants alone,
 * audit, quotas and revocation.
 *
 * Owns: the backings (made here, one per mount), the places, the counters. Borrows the rules. One
 * thread.
 */
#include "worker/vfs/root.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

#ifdef AMBIT_TEST_HOOKS
struct vfs_dir_open vfs_dir_left_open;
#endif

int vfs_error_of_errno(int errno_value)
{
    switch (errno_value) {
    case EACCES:
        return VFS_ACCESS;
    case EAGAIN:
        return VFS_WOULD_BLOCK;
    case EALREADY:
        return VFS_ALREADY;
    case EBADF:
        return VFS_BAD_DESCRIPTOR;
    case EBUSY:
        return VFS_BUSY;
    case EDEADLK:
        return VFS_DEADLOCK;
    case EDQUOT:
        return VFS_QUOTA;
    case EEXIST:
        return VFS_EXIST;
    case EFBIG:
        return VFS_FILE_TOO_LARGE;
    case EILSEQ:
        return VFS_ILLEGAL_BYTE_SEQUENCE;
    case EINPROGRESS:
        return VFS_IN_PROGRESS;
    case EINTR:
        return VFS_INTERRUPTED;
    case EINVAL:
        return VFS_INVALID;
    case EISDIR:
        return VFS_IS_DIRECTORY;
    case ELOOP:
        return VFS_LOOP;
    case EMLINK:
        return VFS_TOO_MANY_LINKS;
    case EMSGSIZE:
        return VFS_MESSAGE_SIZE;
    case ENAMETOOLONG:
        return VFS_NAME_TOO_LONG;
    case ENODEV:
        return VFS_NO_DEVICE;
    case ENOENT:
        return VFS_NO_ENTRY;
    case ENOLCK:
        return VFS_NO_LOCK;
    case ENOMEM:
        return VFS_INSUFFICIENT_MEMORY;
    case ENOSPC:
        return VFS_INSUFFICIENT_SPACE;
    case ENOTDIR:
        return VFS_NOT_DIRECTORY;
    case ENOTEMPTY:
        return VFS_NOT_EMPTY;
    case ENOTRECOVERABLE:
        return VFS_NOT_RECOVERABLE;
    case EOPNOTSUPP:
        return VFS_UNSUPPORTED;
    case ENOTTY:
        return VFS_NO_TTY;
    case ENXIO:
        return VFS_NO_SUCH_DEVICE;
    case EOVERFLOW:
        return VFS_OVERFLOW;
    case EPERM:
        return VFS_NOT_PERMITTED;
    case EPIPE:
        return VFS_PIPE;
    case EROFS:
        return VFS_READ_ONLY;
    case ESPIPE:
        return VFS_INVALID_SEEK;
    case ETXTBSY:
        return VFS_TEXT_FILE_BUSY;
    case EXDEV:
        return VFS_CROSS_DEVICE;
    case EMFILE:
    case ENFILE:
        return VFS_INSUFFICIENT_MEMORY;
    default:
        return VFS_IO;
    }
}

/* ---- places ---- */

static int place_order(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int r = memcmp(a, b, MIN(a_size, b_size));

    return r != 0 ? r : a_size < b_size ? -1 : a_size > b_size;
}

static int place_compare(const void *a, const void *b)
{
    const struct vfs_place *left = a, *right = b;

    return place_order(left->path, left->size, right->path, right->size);
}

const struct vfs_place *vfs_place_find(const struct vfs *v, const char *path, size_t size)
{
    size_t low = 0, high = v->place_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct vfs_place *p = &v->places[middle];
        int order = place_order(path, size, p->path, p->size);

        if (order == 0)
            return p;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int places_add(struct vfs *v, const char *path, size_t size)
{
    struct vfs_place *grown = mem_grow(v->places, v->place_count + 1, sizeof(*grown));

    if (grown == NULL)
        return -ENOMEM;
    v->places = grown;
    grown[v->place_count].path = mem_strndup(path, size);
    grown[v->place_count].size = size;
    if (grown[v->place_count].path == NULL)
        return -ENOMEM;
    v->place_count++;
    return 0;
}

/* Every mount's root and all folders above it, sorted, each once. */
static int places_build(struct vfs *v)
{
    size_t kept = 0;
    int r = places_add(v, "/", 1);

    for (size_t i = 0; r == 0 && i < v->mount_count; i++) {
        const struct grant_mount *m = grant_rules_mount(v->rules, i);

        for (size_t n = 2; r == 0 && n <= m->guest_size; n++)
            if (n == m->guest_size || m->guest[n] == '/')
                r = places_add(v, m->guest, n);
    }
    if (r != 0)
        return r;
    qsort(v->places, v->place_count, sizeof(*v->places), place_compare);
    for (size_t i = 0; i < v->place_count; i++) {
        if (kept > 0 && place_compare(&v->places[kept - 1], &v->places[i]) == 0)
            mem_free(v->places[i].path);
        else
            v->places[kept++] = v->places[i];
    }
    v->place_count = kept;
    return 0;
}

/* ---- making and ending ---- */

/* A memory mount has one quota: the smallest that one of its rules names. */
static void mount_quota(const struct grant_rules *rules, const char *guest, uint64_t *ret_bytes,
                        uint64_t *ret_files)
{
    *ret_bytes = *ret_files = GRANT_UNSET;
    for (size_t i = 0; i < grant_rules_count(rules); i++) {
        const struct grant *g = grant_rules_grant(rules, i);

        if (g->class != GRANT_FS || strcmp(g->fs.guest, guest) != 0)
            continue;
        *ret_bytes = MIN(*ret_bytes, g->fs.max_bytes);
        *ret_files = MIN(*ret_files, g->fs.max_files);
    }
}

static int mount_open(struct vfs *v, size_t index, int *fd, struct error *e)
{
    const struct grant_mount *m = grant_rules_mount(v->rules, index);
    struct vfs_mount *mount = &v->mounts[index];
    uint64_t bytes, files;
    int r;

    if (m->backing == GRANT_BACKING_DIR) {
        mount->counted = true;
        r = vfs_dir_new(fd_take(fd), (m->verbs & ~(uint32_t)FS_RO) != 0, &mount->backing, e);
    } else {
        mount_quota(v->rules, m->guest, &bytes, &files);
        r = vfs_memory_new(bytes, files, v->now, v->now_context, &mount->backing, e);
    }
    if (r < 0)
        error_prefix(e, "mount %s", m->guest);
    return r;
}

static int vfs_build(struct vfs *v, int *dir_fds, struct error *e)
{
    int r;

    v->mount_count = grant_rules_mount_count(v->rules);
    v->mounts = mem_array(MAX(v->mount_count, (size_t)1), sizeof(*v->mounts));
    v->uses = mem_array(grant_rules_count(v->rules) + VFS_RULES_MORE, sizeof(*v->uses));
    if (v->mounts == NULL || v->uses == NULL)
        return error_set(e, -ENOMEM, "no memory for the mounts");
    if (places_build(v) != 0)
        return error_set(e, -ENOMEM, "no memory for the mounts");
    r = random_bytes(v->keys, sizeof(v->keys));
    if (r < 0)
        return error_set_errno(e, -r, "no random key for file identities");
    for (size_t i = 0; i < v->mount_count; i++) {
        r = mount_open(v, i, &dir_fds[i], e);
        if (r < 0)
            return r;
    }
    return 0;
}

int vfs_new(const struct grant_rules *rules, int *dir_fds, const struct vfs_audit *audit,
            int64_t (*now)(void *), void *now_context, struct vfs **ret, struct error *e)
{
    struct vfs *v = mem_alloc(sizeof(*v));
    int r;

    if (v == NULL) {
        r = error_set(e, -ENOMEM, "no memory for the filesystem");
    } else {
        memset(v, 0, offsetof(struct vfs, link.target));
        v->rules = rules;
        v->audit = *audit;
        v->now = now;
        v->now_context = now_context;
        r = vfs_build(v, dir_fds, e);
    }
    for (size_t i = 0; i < grant_rules_mount_count(rules); i++)
        fd_closep(&dir_fds[i]);
    if (r < 0) {
        vfs_free(v);
        return r;
    }
    *ret = v;
    return 0;
}

void vfs_free(struct vfs *v)
{
    if (v == NULL)
        return;
    ASSERT(v->open_count == 0);
    for (size_t i = 0; v->mounts != NULL && i < v->mount_count; i++)
        if (v->mounts[i].backing != NULL)
            v->mounts[i].backing->ops->free(v->mounts[i].backing);
    for (size_t i = 0; i < v->place_count; i++)
        mem_free(v->places[i].path);
    mem_free(v->places);
    mem_free(v->mounts);
    mem_free(v->uses);
    mem_wipe(v->keys, sizeof(v->keys));
    mem_free(v);
}

void vfs_revoke(struct vfs *v, enum grant_reason reason)
{
    v->revoked = reason;
}

void vfs_set_rules(struct vfs *v, const struct grant_rules *rules)
{
    ASSERT(grant_rules_mount_count(rules) == v->mount_count);
    v->rules = rules;
}

/* ---- audit, identities, quotas ---- */

void vfs_denied(struct vfs *v, const char *operation, const char *guest, uint32_t verbs,
                struct grant_decision d)
{
    if (v->audit.denied != NULL)
        v->audit.denied(v->audit.context, operation, guest, verbs, d);
}

void vfs_used(struct vfs *v, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
              uint64_t bytes_written)
{
    if (v->audit.used != NULL && rule != GRANT_NO_RULE)
        v->audit.used(v->audit.context, rule, verbs, bytes_read, bytes_written);
}

/* Two folders of the host may share files, so they hash alike;
 * every memory tree numbers its own. */
void vfs_set_identity_key(struct vfs *v, const uint8_t key[32])
{
    _Static_assert(sizeof(v->keys) == 32, "the key's size");
    memcpy(v->keys, key, sizeof(v->keys));
}

void vfs_hide_identity(const struct vfs *v, size_t mount, struct vfs_stat *s)
{
    uint64_t raw[3] = { v->mounts[mount].counted ? 0 : 2 + mount, s->identity[0], s->identity[1] };

    s->identity[0] = siphash(&v->keys[0], raw, sizeof(raw));
    s->identity[1] = siphash(&v->keys[1], raw, sizeof(raw));
}

void vfs_fixed_stat(const struct vfs *v, const char *path, size_t size, struct vfs_stat *ret)
{
    uint64_t raw[3] = { 1, siphash(&v->keys[0], path, size), siphash(&v->keys[1], path, size) };

    *ret = (struct vfs_stat){ .type = VFS_TYPE_DIRECTORY, .links = 2 };
    ret->identity[0] = siphash(&v->keys[0], raw, sizeof(raw));
    ret->identity[1] = siphash(&v->keys[1], raw, sizeof(raw));
}

int vfs_charge_file(struct vfs *v, size_t mount, uint32_t rule)
{
    if (!v->mounts[mount].counted)
        return 0;
    if (v->uses[rule].files >= grant_rules_grant(v->rules, rule)->fs.max_files)
        return VFS_OVER_FILES;
    v->uses[rule].files++;
    return 0;
}

void vfs_refund_file(struct vfs *v, size_t mount, uint32_t rule)
{
    if (v->mounts[mount].counted)
        v->uses[rule].files--;
}
