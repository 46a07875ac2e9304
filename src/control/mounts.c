/* SPDX-License-Identifier: Apache-2.0 */
/* See mounts.h. */
#include "control/mounts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "control/target.h"

#define CLIMB_MAX 4096
#define DEPTH_MAX 64

/* ---- flags that name a file or a folder ---- */

int mounts_path_is_folder(const char *flag, const char *host, bool *ret_is_folder, struct error *e)
{
    struct stat st;
    if (stat(host, &st) < 0) {
        int code = error_set_errno(e, errno, "%s %s", flag, host);
        if (code == -ENOENT)
            error_hint(e, "make the folder first: mkdir -p %s; for a new file grant its folder",
                       host);
        return code;
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        error_set(e, -EINVAL, "%s %s: it is neither a folder nor a regular file", flag, host);
        error_hint(e, "devices, pipes and sockets are never granted");
        return -EINVAL;
    }
    *ret_is_folder = S_ISDIR(st.st_mode);
    return 0;
}

/* ---- opening ---- */

/* Is `outer` the folder `inner`, or above it? Climbs by "..", so names and bind mounts cannot hide
 * it. 1 yes, 0 no, < 0. */
static int folder_holds(int outer, int inner)
{
    struct stat wanted, at, before = { 0 };
    if (fstat(outer, &wanted) < 0)
        return -errno;
    CLEANUP(fd_closep) int fd = openat(inner, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < CLIMB_MAX; i++) {
        if (fd < 0 || fstat(fd, &at) < 0)
            return -errno;
        if (at.st_dev == wanted.st_dev && at.st_ino == wanted.st_ino)
            return 1;
        if (i > 0 && at.st_dev == before.st_dev && at.st_ino == before.st_ino)
            return 0; /* the root is its own parent */
        before = at;
        int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        fd_close(fd);
        fd = up;
    }
    return -ELOOP;
}

static const char *pseudo_filesystem(int fd)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        { PROC_SUPER_MAGIC, "procfs" },
        { SYSFS_MAGIC, "sysfs" },
        { CGROUP_SUPER_MAGIC, "a cgroup filesystem" },
        { CGROUP2_SUPER_MAGIC, "a cgroup filesystem" },
        { DEBUGFS_MAGIC, "debugfs" },
        { TRACEFS_MAGIC, "tracefs" },
        { SECURITYFS_MAGIC, "securityfs" },
        { BPF_FS_MAGIC, "a BPF filesystem" },
        { DEVPTS_SUPER_MAGIC, "devpts" },
        { EFIVARFS_MAGIC, "efivarfs" },
        { PSTOREFS_MAGIC, "pstore" },
        { SELINUX_MAGIC, "selinuxfs" },
        { NSFS_MAGIC, "nsfs" },
    };
    struct statfs fs;
    struct stat own, dev, root;

    if (fstatfs(fd, &fs) < 0)
        return "a filesystem that cannot be asked what it is";
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if ((unsigned long)fs.f_type == known[i].magic)
            return known[i].name;
    /* devtmpfs and the tmpfs that containers put there look like any tmpfs: known by being /dev. */
    if (fstat(fd, &own) == 0 && stat("/dev", &dev) == 0 && stat("/", &root) == 0 &&
        dev.st_dev != root.st_dev && own.st_dev == dev.st_dev)
        return "the filesystem of /dev";
    /* The worker's filesystem refuses this too; here it has the grant's name and an exit code of its own. */
    if (fstatat(fd, "null", &own, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 &&
        S_ISCHR(own.st_mode) && own.st_rdev == makedev(1, 3))
        return "a folder of devices";
    return NULL;
}

static const char *origin_of(const struct grant_rules *rules, const struct grant_mount *m)
{
    for (size_t i = 0; i < grant_rules_count(rules); i++) {
        const struct grant *g = grant_rules_grant(rules, i);
        if (g->class == GRANT_FS && strcmp(g->fs.guest, m->guest) == 0)
            return g->origin;
    }
    return "a grant";
}

/* The path of a descriptor's folder as the kernel tells it; mem_free. */
static char *real_path(int fd)
{
    char link[64], path[4096];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path));
    return n <= 0 || n >= (ssize_t)sizeof(path) ? NULL : mem_strndup(path, (size_t)n);
}

/* May the guest reach the state through this mount, which holds it? True when in doubt. */
static bool reaches_state(const struct grant_rules *rules, const struct grant_mount *m, int fd,
                          int state_fd)
{
    CLEANUP(mem_freep) char *outer = real_path(fd);
    CLEANUP(mem_freep) char *inner = real_path(state_fd);
    CLEANUP(buf_done) struct buf state = BUF_INIT(16384), below = BUF_INIT(16384);

    if ((m->verbs & ~(uint32_t)FS_RO) != 0 || outer == NULL || inner == NULL)
        return true;
    size_t size = strlen(outer) - (strcmp(outer, "/") == 0);
    if (strncmp(inner, outer, size) != 0 || inner[size] != '/')
        return true; /* by another name: a bind mount */
    for (const char *at = inner + size + 1; *at != '\0';) {
        size_t length = strcspn(at, "/");
        CLEANUP(mem_freep) char *name = mem_strndup(at, length);
        CLEANUP(mem_freep) char *pattern = name == NULL ? NULL : grant_pattern_quote(name);
        if (pattern == NULL)
            return true;
        buf_puts(&state, pattern);
        at += length + (at[length] == '/');
        buf_puts(&state, *at != '\0' ? "/" : "");
    }
    buf_printf(&below, "%s/**", buf_cstr(&state)); /* covers the folder itself */
    if (buf_status(&state) < 0 || buf_status(&below) < 0)
        return true;
    for (size_t i = 0; i < grant_rules_count(rules); i++) {
        const struct grant *g = grant_rules_grant(rules, i);
        if (g->class != GRANT_FS || strcmp(g->fs.guest, m->guest) != 0)
            continue;
        for (size_t k = 0; k < g->fs.path_count; k++)
            if (grant_pattern_intersects(g->fs.paths[k], buf_cstr(&below)))
                return true;
    }
    return false;
}

/* The grant says one folder and a link leads to another: whoever made the link would decide. */
static int refuse_link(const char *origin, const char *host, size_t link_size, struct error *e)
{
    CLEANUP(fd_closep) int fd = open(host, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(mem_freep) char *real = fd < 0 ? NULL : real_path(fd);

    error_set(e, -ELOOP, "%s: %s is reached through a link, %.*s", origin, host, (int)link_size,
              host);
    if (real != NULL)
        error_hint(e, "it leads to %s: grant that, if that is what you mean", real);
    return -ELOOP;
}

static int open_one(const struct grant_rules *rules, const struct grant_mount *m, int state_fd,
                    const char *own_scratch, struct error *e)
{
    const char *origin = origin_of(rules, m);
    bool own = own_scratch != NULL && strcmp(own_scratch, m->host) == 0;
    size_t link_size = 0;

    if (own) {
        int scratch = open(m->host, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return scratch >= 0 ? scratch : error_set_errno(e, errno, "the private folder %s", m->host);
    }
    CLEANUP(fd_closep) int fd = file_open_dir_unlinked(m->host, &link_size);
    if (fd == -ELOOP)
        return refuse_link(origin, m->host, link_size, e);
    if (fd < 0) {
        int code = error_set_errno(e, -fd, "%s: the folder %s cannot be opened", origin, m->host);
        if (code == -ENOENT)
            error_hint(e, "make it first: mkdir -p %s", m->host);
        else if (code == -ENOTDIR)
            error_hint(e, "for a single file name its folder, with paths: [\"NAME\"]");
        return code;
    }
    const char *pseudo = pseudo_filesystem(fd);
    if (pseudo != NULL) {
        error_set(e, -EPERM, "%s: %s is %s", origin, m->host, pseudo);
        error_hint(e, "the kernel's own filesystems are never granted; copy what the guest needs "
                      "into a folder");
        return -EPERM;
    }
    int holds = folder_holds(fd, state_fd), lies = folder_holds(state_fd, fd);
    if (holds < 0 || lies < 0)
        return error_set_errno(e, holds < 0 ? -holds : -lies,
                               "%s: it cannot be told whether %s holds Ambit's state", origin,
                               m->host);
    if (lies > 0 || (holds > 0 && reaches_state(rules, m, fd, state_fd))) {
        error_set(e, -EPERM, "%s: %s %s Ambit's own state (cache, receipts)", origin, m->host,
                  holds > 0 ? "holds" : "lies in");
        error_hint(e, "grant the folders in it that the guest needs, or move the state: "
                      "AMBIT_STATE_DIR=/elsewhere");
        return -EPERM;
    }
    return fd_take(&fd);
}

int mounts_open(const struct grant_rules *rules, int state_fd, const char *own_scratch,
                int *ret_fds, struct error *e)
{
    size_t count = grant_rules_mount_count(rules);

    for (size_t i = 0; i < count; i++) {
        const struct grant_mount *m = grant_rules_mount(rules, i);
        ret_fds[i] = -1;
        if (m->backing != GRANT_BACKING_DIR)
            continue;
        int fd = open_one(rules, m, state_fd, own_scratch, e);
        if (fd < 0) {
            while (i-- > 0)
                fd_closep(&ret_fds[i]);
            return fd;
        }
        ret_fds[i] = fd;
    }
    return 0;
}

/* ---- what changed ---- */

struct walk {
    const struct grant_mount *mount;
    struct receipt *receipt;
    int64_t since_ns;
    size_t visited, listed, left_out;
    uint64_t hashed;
    bool cut;
    char path[4096]; /* relative to the mount */
    struct error *error;
};

static int open_beneath(int dir_fd, const char *name, uint64_t flags)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
}

static int record_file(struct walk *w, int dir_fd, const char *name)
{
    struct stat st;
    struct digest digest;
    struct error ignored = ERROR_INIT;

    CLEANUP(fd_closep) int fd = open_beneath(dir_fd, name, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0; /* gone, or no file any more */
    CLEANUP(json_freep) json_t *event = json_object();
    CLEANUP(mem_freep)
    char *guest =
        mem_printf("%s/%s", strcmp(w->mount->guest, "/") == 0 ? "" : w->mount->guest, w->path);
    if (event == NULL || guest == NULL)
        return error_set(w->error, -ENOMEM, "no memory");
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "file", json_string_of(guest));
    json_object_set_new(event, "bytes", json_integer(st.st_size));
    if (w->hashed + (uint64_t)st.st_size <= MOUNTS_HASHED_MAX &&
        digest_fd(fd, &digest, &ignored) == 0) {
        char text[DIGEST_TEXT_SIZE];
        digest_text(&digest, text);
        w->hashed += (uint64_t)st.st_size;
        json_object_set_new(event, "digest", json_string(text));
    }
    w->listed++;
    return receipt_put(w->receipt, "output", TAKE(event), w->error);
}

static int walk_folder(struct walk *w, int dir_fd, size_t used, int depth);

static int walk_entry(struct walk *w, int dir_fd, const char *name, size_t used, int depth)
{
    struct stat st;
    size_t length = strlen(name);

    if (used + length + 2 > sizeof(w->path)) {
        w->cut = true;
        return 0;
    }
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    memcpy(w->path + used, name, length + 1);
    if (S_ISDIR(st.st_mode)) {
        if (depth == DEPTH_MAX) {
            w->cut = true;
            return 0;
        }
        CLEANUP(fd_closep) int fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY);
        /* Another filesystem, gone, or not ours to read: no guest of ours wrote there. */
        if (fd < 0)
            return 0;
        w->path[used + length] = '/';
        return walk_folder(w, fd, used + length + 1, depth + 1);
    }
    int64_t changed_ns = st.st_ctim.tv_sec * (int64_t)NS_PER_S + st.st_ctim.tv_nsec;
    if (!S_ISREG(st.st_mode) || changed_ns < w->since_ns)
        return 0;
    if (w->listed == MOUNTS_LISTED_MAX) {
        w->left_out++;
        return 0;
    }
    return record_file(w, dir_fd, name);
}

static int walk_folder(struct walk *w, int dir_fd, size_t used, int depth)
{
    int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;
    int r = 0;

    if (folder == NULL) {
        fd_close(own);
        w->cut = true;
        return 0;
    }
    while (r == 0 && w->visited < MOUNTS_VISITED_MAX && (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        w->cut |= ++w->visited == MOUNTS_VISITED_MAX;
        r = walk_entry(w, dir_fd, entry->d_name, used, depth);
    }
    (void)closedir(folder);
    return r;
}

int mounts_record_outputs(const struct grant_rules *rules, const int *fds, int64_t since_ns,
                          struct receipt *r, struct error *e)
{
    CLEANUP(mem_freep) struct walk *w = mem_zalloc(sizeof(*w));
    if (w == NULL)
        return error_set(e, -ENOMEM, "no memory");
    w->receipt = r;
    w->since_ns = since_ns;
    w->error = e;
    for (size_t i = 0; i < grant_rules_mount_count(rules); i++) {
        w->mount = grant_rules_mount(rules, i);
        if (fds[i] < 0 || (w->mount->verbs & ~(uint32_t)FS_RO) == 0)
            continue;
        int status = walk_folder(w, fds[i], 0, 0);
        if (status < 0)
            return status;
    }
    if (!w->cut && w->left_out == 0)
        return 0;
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "entries_looked_at", json_integer((json_int_t)w->visited));
    json_object_set_new(event, "files_left_out", json_integer((json_int_t)w->left_out));
    json_object_set_new(event, "search_cut_short", json_boolean(w->cut));
    return receipt_put(r, "outputs.incomplete", event, e);
}
