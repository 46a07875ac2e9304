/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:filesystem: handles on this side, the vfs on that one. Every decision is the vfs's; here are
 * only the table of handles, the translation of bits, and the rule that a fault of the host (< 0)
 * ends the guest.
 */
#include <string.h>

#include "base/mem.h"
#include "worker/host/host.h"

/* The engine hands on wasi's numbers; the vfs is built on the same ones. */
_Static_assert(VFS_ACCESS == 1 && VFS_WOULD_BLOCK == 2 && VFS_QUOTA == 7 && VFS_INVALID == 13 &&
                   VFS_NO_ENTRY == 21 && VFS_NOT_EMPTY == 26 && VFS_NOT_PERMITTED == 32 &&
                   VFS_CROSS_DEVICE == 37,
               "wasi error-code + 1");
_Static_assert(VFS_TYPE_UNKNOWN == 0 && VFS_TYPE_DIRECTORY == 3 && VFS_TYPE_SYMLINK == 5 &&
                   VFS_TYPE_REGULAR == 6,
               "wasi descriptor-type");
_Static_assert(VFS_O_CREATE == 1 && VFS_O_DIRECTORY == 2 && VFS_O_EXCLUSIVE == 4 &&
                   VFS_O_TRUNCATE == 8,
               "wasi open-flags");
_Static_assert(VFS_TIME_KEEP == 0 && VFS_TIME_NOW == 1 && VFS_TIME_SET == 2,
               "struct ambit_fs_times");

#define OPEN_FLAGS_ALL 15u
/* wasi descriptor-flags */
enum {
    FLAG_READ = 1,
    FLAG_WRITE = 2,
    FLAG_FILE_SYNC = 4,
    FLAG_DATA_SYNC = 8,
    FLAG_REQUESTED_SYNC = 16,
    FLAG_MUTATE_DIRECTORY = 32
};

void fs_audit_denied(void *guest, const char *operation, const char *path, uint32_t verbs,
                     struct grant_decision d)
{
    guest_denied(guest, GRANT_FS, operation, path, d.missing ? d.missing : verbs, d);
}

bool fs_audit_ask(void *guest, const char *operation, const char *path, uint32_t verbs,
                  struct grant_decision d)
{
    return guest_asked_named(guest, GRANT_FS, operation, path, d.missing ? d.missing : verbs, d);
}

void fs_audit_used(void *guest, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
                   uint64_t bytes_written)
{
    guest_used(guest, rule, verbs, bytes_read, bytes_written);
}

/* What a vfs function said, for the engine. */
static int answer(struct guest *g, int status, const char *doing)
{
    return status < 0 ? guest_fault(g, status, doing) : status;
}

static struct vfs_file *file_of(struct guest *g, uint32_t descriptor)
{
    return g->ended ? NULL : handles_get(&g->handles, HANDLE_FILE, descriptor);
}

/* No file behind the handle: the guest is at its end, or the handle is nobody's. */
static int no_file(struct guest *g)
{
    return g->ended ? -ECANCELED : guest_fault(g, -EBADF, "a file handle that is not open");
}

void fs_close(enum handle_kind kind, void *object)
{
    if (kind == HANDLE_FILE)
        vfs_close(object);
    else if (kind == HANDLE_LISTING)
        vfs_listing_close(object);
}

/* Gives an opened thing a handle; closes it when there is none. */
static int give_handle(struct guest *g, enum handle_kind kind, void *object, uint32_t *ret)
{
    int status = handles_add(&g->handles, kind, object, ret);
    if (status == 0)
        return 0;
    fs_close(kind, object);
    if (status < 0)
        return guest_fault(g, status, "opening a file");
    guest_end(g, RUN_END_LIMIT, RUN_LIMIT_HANDLES, "more than %zu handles", g->handles.max);
    return -EMFILE;
}

uint32_t host_fs_root(void *host)
{
    struct guest *g = host;
    struct vfs_file *root = NULL;
    uint32_t handle = 0;
    int status = g->vfs ? 0 : guest_make_vfs(g);
    if (status == 0)
        status = vfs_root(g->vfs, &root);
    if (status != 0)
        guest_fault(g, status < 0 ? status : -EIO, "opening the root");
    else if (give_handle(g, HANDLE_FILE, root, &handle) < 0)
        handle = 0; /* the guest is at its end */
    return handle;
}

void host_fs_drop(void *host, uint32_t descriptor)
{
    struct guest *g = host;
    struct vfs_file *f = handles_remove(&g->handles, HANDLE_FILE, descriptor);
    if (f)
        vfs_close(f);
}

uint32_t host_fs_type(void *host, uint32_t descriptor)
{
    struct vfs_file *f = file_of(host, descriptor);
    return f ? vfs_file_type(f) : VFS_TYPE_UNKNOWN;
}

uint32_t host_fs_flags(void *host, uint32_t descriptor)
{
    struct vfs_file *f = file_of(host, descriptor);
    if (!f)
        return 0;
    uint32_t flags = vfs_file_flags(f);
    /* A folder says yes to both: what may be done in it is decided, and explained, at each
     * operation. */
    if (vfs_file_type(f) == VFS_TYPE_DIRECTORY)
        return FLAG_READ | FLAG_MUTATE_DIRECTORY;
    return (flags & VFS_O_READ ? FLAG_READ : 0) | (flags & VFS_O_WRITE ? FLAG_WRITE : 0) |
           (flags & VFS_O_SYNC ? FLAG_FILE_SYNC : 0);
}

int host_fs_open_at(void *host, uint32_t at, bool follow, struct ambit_bytes path,
                    uint32_t open_flags, uint32_t descriptor_flags, uint32_t *ret)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at), *f = NULL;
    if (!folder)
        return no_file(g);
    uint32_t flags = (open_flags & OPEN_FLAGS_ALL) | (follow ? VFS_O_FOLLOW : 0);
    flags |= (descriptor_flags & FLAG_READ ? VFS_O_READ : 0) |
             (descriptor_flags & FLAG_WRITE ? VFS_O_WRITE : 0);
    flags |=
        descriptor_flags & (FLAG_FILE_SYNC | FLAG_DATA_SYNC | FLAG_REQUESTED_SYNC) ? VFS_O_SYNC : 0;
    int status = vfs_open(folder, (const char *)path.data, path.size, flags, &f);
    if (status != 0)
        return answer(g, status, "opening a file");
    return give_handle(g, HANDLE_FILE, f, ret);
}

static void stat_out(const struct vfs_stat *st, struct ambit_fs_stat *ret)
{
    *ret = (struct ambit_fs_stat){
        .type = st->type,
        .links = st->links,
        .size = st->size,
        .accessed_ns = st->accessed_ns,
        .modified_ns = st->modified_ns,
        .changed_ns = st->changed_ns,
        .identity = { st->identity[0], st->identity[1] },
    };
}

int host_fs_stat(void *host, uint32_t descriptor, struct ambit_fs_stat *ret)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    struct vfs_stat st;
    if (!f)
        return no_file(g);
    int status = vfs_stat(f, &st);
    if (status == 0)
        stat_out(&st, ret);
    return answer(g, status, "looking at a file");
}

int host_fs_stat_at(void *host, uint32_t at, bool follow, struct ambit_bytes path,
                    struct ambit_fs_stat *ret)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    struct vfs_stat st;
    if (!folder)
        return no_file(g);
    int status = vfs_stat_at(folder, (const char *)path.data, path.size, follow, &st);
    if (status == 0)
        stat_out(&st, ret);
    return answer(g, status, "looking at a file");
}

/* false: a number that is not an enum vfs_time */
static bool times_in(const struct ambit_fs_times *t, struct vfs_times *ret)
{
    if (t->accessed > VFS_TIME_SET || t->modified > VFS_TIME_SET)
        return false;
    *ret = (struct vfs_times){ .accessed = (enum vfs_time)t->accessed,
                               .modified = (enum vfs_time)t->modified,
                               .accessed_ns = t->accessed_ns,
                               .modified_ns = t->modified_ns };
    return true;
}

int host_fs_set_times(void *host, uint32_t descriptor, const struct ambit_fs_times *t)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    struct vfs_times times;
    if (!f)
        return no_file(g);
    return times_in(t, &times) ? answer(g, vfs_set_times(f, &times), "setting a file's times")
                               : VFS_INVALID;
}

int host_fs_set_times_at(void *host, uint32_t at, bool follow, struct ambit_bytes path,
                         const struct ambit_fs_times *t)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    struct vfs_times times;
    if (!folder)
        return no_file(g);
    if (!times_in(t, &times))
        return VFS_INVALID;
    return answer(g, vfs_set_times_at(folder, (const char *)path.data, path.size, follow, &times),
                  "setting a file's times");
}

int host_fs_read(void *host, uint32_t descriptor, uint64_t offset, uint8_t *into, size_t size,
                 size_t *ret_size)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    *ret_size = 0;
    return f ? answer(g, vfs_read(f, offset, into, size, ret_size), "reading a file") : no_file(g);
}

int host_fs_write(void *host, uint32_t descriptor, uint64_t offset, const uint8_t *bytes,
                  size_t size, size_t *ret_size)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    *ret_size = 0;
    return f ? answer(g, vfs_write(f, offset, bytes, size, ret_size), "writing a file")
             : no_file(g);
}

int host_fs_append(void *host, uint32_t descriptor, const uint8_t *bytes, size_t size,
                   size_t *ret_size)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    *ret_size = 0;
    return f ? answer(g, vfs_append(f, bytes, size, ret_size), "writing a file") : no_file(g);
}

int host_fs_set_size(void *host, uint32_t descriptor, uint64_t size)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    return f ? answer(g, vfs_set_size(f, size), "setting a file's size") : no_file(g);
}

int host_fs_sync(void *host, uint32_t descriptor, bool data_only)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    return f ? answer(g, vfs_sync(f, data_only), "syncing a file") : no_file(g);
}

int host_fs_create_directory_at(void *host, uint32_t at, struct ambit_bytes path)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    return folder
               ? answer(g, vfs_mkdir(folder, (const char *)path.data, path.size), "making a folder")
               : no_file(g);
}

int host_fs_remove_directory_at(void *host, uint32_t at, struct ambit_bytes path)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    return folder ? answer(g, vfs_rmdir(folder, (const char *)path.data, path.size),
                           "removing a folder")
                  : no_file(g);
}

int host_fs_unlink_file_at(void *host, uint32_t at, struct ambit_bytes path)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    return folder ? answer(g, vfs_unlink(folder, (const char *)path.data, path.size),
                           "removing a file")
                  : no_file(g);
}

int host_fs_rename_at(void *host, uint32_t from_at, struct ambit_bytes from, uint32_t to_at,
                      struct ambit_bytes to)
{
    struct guest *g = host;
    struct vfs_file *a = file_of(g, from_at), *b = file_of(g, to_at);
    if (!a || !b)
        return no_file(g);
    return answer(
        g, vfs_rename(a, (const char *)from.data, from.size, b, (const char *)to.data, to.size),
        "renaming");
}

int host_fs_link_at(void *host, uint32_t from_at, bool follow, struct ambit_bytes from,
                    uint32_t to_at, struct ambit_bytes to)
{
    struct guest *g = host;
    struct vfs_file *a = file_of(g, from_at), *b = file_of(g, to_at);
    if (!a || !b)
        return no_file(g);
    return answer(
        g,
        vfs_link(a, follow, (const char *)from.data, from.size, b, (const char *)to.data, to.size),
        "linking");
}

int host_fs_symlink_at(void *host, uint32_t at, struct ambit_bytes target, struct ambit_bytes path)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    if (!folder)
        return no_file(g);
    return answer(g,
                  vfs_symlink(folder, (const char *)target.data, target.size,
                              (const char *)path.data, path.size),
                  "linking");
}

int host_fs_readlink_at(void *host, uint32_t at, struct ambit_bytes path,
                        struct ambit_bytes *ret_target)
{
    struct guest *g = host;
    struct vfs_file *folder = file_of(g, at);
    if (!folder)
        return no_file(g);
    buf_clear(&g->scratch);
    int status = vfs_readlink(folder, (const char *)path.data, path.size, &g->scratch);
    if (status == 0)
        status = buf_status(&g->scratch);
    if (status == 0)
        *ret_target = (struct ambit_bytes){ g->scratch.data, g->scratch.size };
    return answer(g, status, "reading a link");
}

int host_fs_list(void *host, uint32_t descriptor, uint32_t *ret_listing)
{
    struct guest *g = host;
    struct vfs_file *f = file_of(g, descriptor);
    struct vfs_listing *listing = NULL;
    if (!f)
        return no_file(g);
    int status = vfs_list(f, &listing);
    if (status != 0)
        return answer(g, status, "listing a folder");
    return give_handle(g, HANDLE_LISTING, listing, ret_listing);
}

int host_fs_listing_next(void *host, uint32_t listing, uint32_t *ret_type,
                         struct ambit_bytes *ret_name, bool *ret_end)
{
    struct guest *g = host;
    struct vfs_listing *l = g->ended ? NULL : handles_get(&g->handles, HANDLE_LISTING, listing);
    enum vfs_type type;
    const char *name;
    size_t size;
    if (!l)
        return no_file(g);
    int status = vfs_listing_next(l, &type, &name, &size);
    if (status < 0)
        return answer(g, status, "listing a folder");
    *ret_end = status > 0;
    if (*ret_end)
        return 0;
    *ret_type = type;
    *ret_name = (struct ambit_bytes){ (const uint8_t *)name, size };
    return 0;
}

void host_fs_listing_drop(void *host, uint32_t listing)
{
    struct guest *g = host;
    struct vfs_listing *l = handles_remove(&g->handles, HANDLE_LISTING, listing);
    if (l)
        vfs_listing_close(l);
}

bool host_fs_same_object(void *host, uint32_t a, uint32_t b)
{
    struct vfs_file *one = file_of(host, a), *other = file_of(host, b);
    return one && other && vfs_same_object(one, other);
}
