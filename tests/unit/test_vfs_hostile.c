/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hostile cases of files and paths, by their numbers, against the filesystem itself. Where a
 * flag is the defence, a backing that lacks the flag shows that the attack works without it; else
 * the same attack with the grant it lacks.
 */
#include "vfs_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

/* The folder backing with RESOLVE_BENEATH alone. */
int weak_dir_new(int fd, bool writable, struct vfs_backing **ret, struct error *e);
#define DIR_RESOLVE RESOLVE_BENEATH
#define vfs_dir_new weak_dir_new
#include "../../src/worker/vfs/dir.c"
#undef vfs_dir_new

static void weaken(struct fixture *f)
{
    struct error e = ERROR_INIT;
    struct vfs_mount *m = &f->v->mounts[0];

    m->backing->ops->free(m->backing);
    CHECK(weak_dir_new(open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), true, &m->backing, &e) ==
          0);
}

#define RW_ALL "  - {fs: /w, from: {dir: @}, allow: rw}\n"
#define RW_PUB "  - {fs: /w, from: {dir: @}, allow: rw, paths: [\"pub/**\"]}\n"

/* w/pub/f "open", w/priv/s "SECRET" */
static void plain(struct fixture *f, const char *grants)
{
    memset(f, 0, sizeof(*f));
    fixture_folder(f);
    host_mkdir(f, "pub");
    host_mkdir(f, "priv");
    host_put(f, "pub/f", "open");
    host_put(f, "priv/s", "SECRET");
    fixture_rules(f, grants);
}

static void check_denied(struct fixture *f, const char *path, enum grant_reason reason)
{
    CHECK_STR(f->denied_path, path);
    CHECK_EQ(f->denied_reason, reason);
}

TEST(case_1_dots)
{
    struct fixture f;

    plain(&f, RW_ALL);
    CHECK_EQ(try_open(&f, "../../etc/passwd", VFS_O_READ), VFS_NO_ENTRY);
    check_denied(&f, "/etc/passwd", GRANT_NO_GRANT);
    CHECK_EQ(try_open(&f, "w/../../../etc/passwd", VFS_O_READ), VFS_NO_ENTRY);
    check_denied(&f, "/etc/passwd", GRANT_NO_GRANT);
    CHECK_EQ(try_open(&f, "w/pub/../../etc/../etc/passwd", VFS_O_READ), VFS_NO_ENTRY);
    check_denied(&f, "/etc", GRANT_NO_GRANT);
    CHECK_EQ(try_open(&f, "/etc/passwd", VFS_O_READ), VFS_NOT_PERMITTED);
    CHECK_EQ(try_open(&f, "/w/pub/f", VFS_O_READ), VFS_NOT_PERMITTED);
    CHECK_EQ(try_open(&f, "./w/./pub/././f", VFS_O_READ), 0);
    CHECK_EQ(try_open(&f, "w//pub///f", VFS_O_READ), 0);
    CHECK_EQ(try_open(&f, "w/pub/f/.", VFS_O_READ), VFS_NOT_DIRECTORY);
    CHECK_EQ(try_open(&f, "w/pub/f/", VFS_O_READ), VFS_NOT_DIRECTORY);
    CHECK_EQ(try_open(&f, "w/pub/.", VFS_O_READ), 0);
    CHECK_EQ(try_open(&f, "../../../w/pub/f", VFS_O_READ), 0);
    CHECK_EQ(try_stat(&f, ".."), 0);
    CHECK_EQ(try_stat(&f, "w/pub/f/../f"), VFS_NOT_DIRECTORY);
    CHECK_EQ(try_stat(&f, "w/pub/none/../f"), VFS_NO_ENTRY);
    fixture_done(&f);
}

TEST(case_2_links_stay_in_the_guests_world)
{
    struct fixture f;
    char name[32], target[32];
    const char *text;

    plain(&f, RW_ALL);
    host_symlink(&f, "/etc/passwd", "abs");
    host_symlink(&f, "../../../../../../../../etc/passwd", "up");
    host_symlink(&f, "/w/pub/f", "inside");
    host_symlink(&f, "/w/pub", "folder");
    host_symlink(&f, "b", "a");
    host_symlink(&f, "a", "b");
    CHECK_EQ(try_open(&f, "w/abs", VFS_O_READ | VFS_O_FOLLOW), VFS_NO_ENTRY);
    check_denied(&f, "/etc/passwd", GRANT_NO_GRANT);
    CHECK_EQ(try_open(&f, "w/up", VFS_O_READ | VFS_O_FOLLOW), VFS_NO_ENTRY);
    check_denied(&f, "/etc/passwd", GRANT_NO_GRANT);
    CHECK_EQ(do_get(&f, "w/inside", &text), 0);
    CHECK_STR(text, "open");
    CHECK_EQ(do_get(&f, "w/folder/f", &text), 0);
    CHECK_EQ(do_get(&f, "w/folder/../pub/f", &text), 0);
    CHECK_EQ(try_stat(&f, "w/a"), VFS_LOOP);
    CHECK_EQ(try_open(&f, "w/abs", VFS_O_READ), VFS_LOOP);
    host_symlink(&f, "pub/f", "l0");
    for (int i = 1; i <= VFS_LINKS_MAX; i++) {
        snprintf(name, sizeof(name), "l%d", i);
        snprintf(target, sizeof(target), "l%d", i - 1);
        host_symlink(&f, target, name);
    }
    CHECK_EQ(try_stat(&f, "w/l39"), 0); /* 40 links */
    CHECK_EQ(try_stat(&f, "w/l40"), VFS_LOOP);
    fixture_done(&f);
}

/* ---- 3: a host that swaps names while the guest opens ---- */

struct swapper {
    int fd;
    volatile bool stop;
};

static void *swap_names(void *argument)
{
    struct swapper *s = argument;

    while (!s->stop)
        renameat2(s->fd, "pub/d", s->fd, "pub/other", RENAME_EXCHANGE);
    return NULL;
}

static unsigned swap_count(struct fixture *f, unsigned rounds)
{
    struct swapper s = { f->dir_fd, false };
    unsigned stolen = 0;
    const char *text;
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, swap_names, &s) == 0);
    for (unsigned i = 0; i < rounds; i++)
        if (do_get(f, "w/pub/d/s", &text) == 0 && strcmp(text, "SECRET") == 0)
            stolen++;
    s.stop = true;
    pthread_join(thread, NULL);
    return stolen;
}

TEST(case_3_swapped_between_check_and_open)
{
    struct fixture f;
    int before;

    plain(&f, RW_PUB);
    host_mkdir(&f, "pub/d");
    host_put(&f, "pub/d/s", "harmless");
    host_symlink(&f, "../priv", "pub/other");
    before = count_fds();
    CHECK_EQ(swap_count(&f, 20000), 0);
    CHECK_EQ(count_fds(), before);
    weaken(&f);
    CHECK(swap_count(&f, 20000) > 0);
    fixture_done(&f);
}

TEST(case_4_hard_link_from_outside)
{
    struct fixture f;

    plain(&f, RW_PUB);
    CHECK_EQ(do_link(&f, "w/priv/s", "w/pub/s", false), VFS_ACCESS);
    check_denied(&f, "/w/priv/s", GRANT_NO_PATH);
    CHECK_EQ(do_link(&f, "../etc/passwd", "w/pub/s", false), VFS_NO_ENTRY);
    CHECK_EQ(do_link(&f, "w/pub/f", "w/priv/f", false), VFS_ACCESS);
    CHECK_EQ(do_link(&f, "w/pub/f", "w/pub/g", false), 0);
    fixture_close(&f);
    fixture_rules(&f, RW_ALL); /* control */
    CHECK_EQ(do_link(&f, "w/priv/s", "w/pub/s", false), 0);
    fixture_done(&f);
}

TEST(case_5_link_in_the_base_tree)
{
    struct fixture f;
    const char *text;

    plain(&f, "  - {fs: /w, from: {dir: @}, allow: ro, paths: [\"pub/**\"]}\n");
    host_symlink(&f, "../priv/s", "pub/x");
    host_symlink(&f, "../priv", "pub/d");
    host_symlink(&f, "pub", "alias");
    CHECK_EQ(do_get(&f, "w/pub/x", &text), VFS_ACCESS);
    check_denied(&f, "/w/priv/s", GRANT_NO_PATH);
    CHECK_EQ(do_get(&f, "w/pub/d/s", &text), VFS_ACCESS);
    check_denied(&f, "/w/priv/s", GRANT_NO_PATH);
    CHECK_EQ(try_stat(&f, "w/pub/d/none"), VFS_ACCESS);
    CHECK_EQ(do_get(&f, "w/alias/f", &text), 0); /* the final path is what counts */
    weaken(&f);
    CHECK_EQ(do_get(&f, "w/pub/d/s", &text), 0); /* RESOLVE_BENEATH alone opens it */
    CHECK_STR(text, "SECRET");
    fixture_done(&f);
}

TEST(case_6_kernel_folders)
{
    static const char *const folders[] = { "/proc", "/proc/self", "/proc/self/fd", "/sys", "/dev" };
    struct fixture f;
    struct error e;

    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        struct vfs_backing *b;

        e = (struct error)ERROR_INIT;
        CHECK_EQ(vfs_dir_new(open(folders[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC), true, &b, &e),
                 -EPERM);
        CHECK(e.what[0] != '\0');
    }
    plain(&f, RW_ALL);
    host_symlink(&f, "/proc/self/root/etc/passwd", "root");
    host_symlink(&f, "/proc/self/fd/0", "fd");
    host_symlink(&f, "/dev/fd/0", "dev");
    CHECK_EQ(try_open(&f, "w/root", VFS_O_READ | VFS_O_FOLLOW), VFS_NO_ENTRY);
    check_denied(&f, "/proc/self/root/etc/passwd", GRANT_NO_GRANT);
    CHECK_EQ(try_open(&f, "w/fd", VFS_O_READ | VFS_O_FOLLOW), VFS_NO_ENTRY);
    CHECK_EQ(try_open(&f, "w/dev", VFS_O_READ | VFS_O_FOLLOW), VFS_NO_ENTRY);
    fixture_done(&f);
}

/* In a child: mounts cannot be taken back by a thread. 0 good, 77 not possible here,
 * else the line. */
static int mounted_proc(struct fixture *f)
{
    char path[128];
    const char *text;
    struct vfs_backing *b = f->v->mounts[0].backing;
    struct error e = ERROR_INIT;

    snprintf(path, sizeof(path), "%s/p", f->dir);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("/proc", path, NULL, MS_BIND, NULL) < 0)
        return 77;
    /* The folder's descriptor belongs to the old world; the run's is opened in the new one. */
    b->ops->free(b);
    if (vfs_dir_new(open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), true,
                    &f->v->mounts[0].backing, &e) != 0)
        return 5;
    if (do_get(f, "w/p/version", &text) != VFS_ACCESS || f->denied_reason != GRANT_CROSSES_MOUNT)
        return 1;
    if (try_stat(f, "w/p/self/root") != VFS_ACCESS || try_stat(f, "w/p") != VFS_ACCESS)
        return 2;
    if (do_rename(f, "w/p", "w/q") == 0 || do_rmdir(f, "w/p") == 0)
        return 3;
    weaken(f);
    return do_get(f, "w/p/version", &text) == 0 ? 0 : 4;
}

TEST(case_6_host_mount_inside_the_folder)
{
    struct fixture f;
    int status;
    pid_t child;

    plain(&f, RW_ALL);
    host_mkdir(&f, "p");
    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(mounted_proc(&f));
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        printf("# no mount namespace here: host mounts not tested\n");
    else
        CHECK_EQ(WEXITSTATUS(status), 0);
    fixture_done(&f);
}

TEST(case_7_fifo_socket_device)
{
    static const uint32_t modes[] = { VFS_O_READ,
                                      VFS_O_WRITE,
                                      VFS_O_READ | VFS_O_WRITE,
                                      0,
                                      VFS_O_WRITE | VFS_O_CREATE,
                                      VFS_O_WRITE | VFS_O_TRUNCATE };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct fixture f;
    struct vfs_stat st;
    int s;

    plain(&f, RW_ALL);
    CHECK(mkfifoat(f.dir_fd, "fifo", 0666) == 0);
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", f.dir);
    CHECK(bind(s, (struct sockaddr *)&address, sizeof(address)) == 0);
    alarm(20); /* a call that blocks ends the test */
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        CHECK_EQ(try_open(&f, "w/fifo", modes[i]), VFS_ACCESS);
        check_denied(&f, "/w/fifo", GRANT_NOT_REGULAR);
        CHECK_EQ(try_open(&f, "w/socket", modes[i]), VFS_ACCESS);
        check_denied(&f, "/w/socket", GRANT_NOT_REGULAR);
    }
    if (mknodat(f.dir_fd, "null", S_IFCHR | 0666, makedev(1, 3)) == 0) {
        CHECK_EQ(try_open(&f, "w/null", VFS_O_READ), VFS_ACCESS);
        check_denied(&f, "/w/null", GRANT_NOT_REGULAR);
    }
    CHECK_EQ(do_stat(&f, "w/fifo", true, &st), 0);
    CHECK_EQ(st.type, VFS_TYPE_FIFO);
    CHECK_EQ(try_open(&f, "w/fifo", VFS_O_READ | VFS_O_DIRECTORY), VFS_NOT_DIRECTORY);
    CHECK_EQ(try_open(&f, "w/fifo", VFS_O_WRITE | VFS_O_CREATE | VFS_O_EXCLUSIVE), VFS_EXIST);
    alarm(0);
    close(s);
    fixture_done(&f);
}

TEST(case_8_setuid)
{
    struct fixture f;
    struct stat st;
    const char *text;
    mode_t mask = umask(022);

    plain(&f, RW_ALL);
    CHECK(fchmodat(f.dir_fd, "pub/f", 04755, 0) == 0);
    CHECK_EQ(do_put(&f, "w/pub/f", "evil"), VFS_NOT_PERMITTED);
    CHECK_EQ(do_get(&f, "w/pub/f", &text), 0);
    CHECK_STR(text, "open");
    CHECK(fchmodat(f.dir_fd, "pub/f", 02755, 0) == 0);
    CHECK_EQ(do_put(&f, "w/pub/f", "evil"), VFS_NOT_PERMITTED);
    CHECK(fchmodat(f.dir_fd, "pub/f", 0755, 0) == 0);
    CHECK_EQ(do_put(&f, "w/pub/f", "fine"), 0); /* control */
    CHECK_EQ(do_put(&f, "w/new", "x"), 0);
    CHECK_EQ(do_mkdir(&f, "w/folder"), 0);
    CHECK(fstatat(f.dir_fd, "new", &st, 0) == 0);
    CHECK_EQ(st.st_mode & 07777, 0644);
    CHECK(fstatat(f.dir_fd, "folder", &st, 0) == 0);
    CHECK_EQ(st.st_mode & 07777, 0755);
    umask(mask);
    fixture_done(&f);
}

TEST(case_9_rename)
{
    struct fixture f;
    struct vfs_file *folder, *file;
    size_t n;

    plain(&f, RW_ALL "  - {fs: /w/pub/inner, from: memory, allow: rw}\n  - {fs: /other, from: "
                     "memory, allow: rw}\n");
    CHECK_EQ(do_rename(&f, "w/priv/s", "other/s"), VFS_CROSS_DEVICE);
    CHECK_EQ(do_rename(&f, "w/priv/s", "w/pub/inner/s"), VFS_CROSS_DEVICE);
    CHECK_EQ(do_link(&f, "w/priv/s", "other/s", false), VFS_CROSS_DEVICE);
    CHECK_EQ(do_rename(&f, "w/pub", "w/moved"), VFS_BUSY); /* parent of a mount */
    CHECK_EQ(do_rename(&f, "w", "w/x"), VFS_BUSY);
    CHECK_EQ(do_rename(&f, "w/pub/inner", "w/moved"), VFS_BUSY);
    CHECK_EQ(do_rename(&f, "w/priv", "w/pub/inner"), VFS_BUSY);
    CHECK_EQ(do_rmdir(&f, "w/pub/inner"), VFS_BUSY);
    CHECK_EQ(do_mkdir(&f, "w/pub/inner"), VFS_EXIST);
    CHECK_EQ(do_rename(&f, "w/priv/s", "../etc/s"), VFS_NO_ENTRY);
    /* Over and under open handles. */
    CHECK_EQ(do_mkdir(&f, "w/a"), 0);
    CHECK_EQ(do_put(&f, "w/a/file", "text"), 0);
    CHECK_EQ(do_open(&f, "w/a", VFS_O_DIRECTORY, &folder), 0);
    CHECK_EQ(do_open(&f, "w/a/file", VFS_O_READ | VFS_O_WRITE, &file), 0);
    CHECK_EQ(do_rename(&f, "w/a", "w/b"), 0);
    CHECK_EQ(vfs_write(file, 0, "more", 4, &n), 0);
    CHECK_EQ(vfs_open(folder, "file", 4, VFS_O_READ, &file),
             VFS_NO_ENTRY); /* handles of folders are paths */
    CHECK_EQ(do_mkdir(&f, "w/a"), 0);
    CHECK_EQ(do_rename(&f, "w/b", "w/a"), 0);
    vfs_close(folder);
    vfs_close(file);
    fixture_done(&f);
}

TEST(case_9_folder_with_more_than_was_granted)
{
    struct fixture f;
    const char *text;

    plain(&f, "  - {fs: /w, from: {dir: @}, allow: rw, paths: [priv, \"pub/**\"]}\n");
    CHECK_EQ(do_get(&f, "w/priv/s", &text), VFS_ACCESS);
    CHECK_EQ(do_rename(&f, "w/priv", "w/pub/mine"), VFS_ACCESS);
    CHECK_STR(f.denied_operation, "rename folder");
    check_denied(&f, "/w/priv", GRANT_NO_PATH);
    CHECK_EQ(do_rename(&f, "w/pub/f", "w/pub/g"), 0);
    fixture_close(&f);
    fixture_rules(
        &f,
        "  - {fs: /w, from: {dir: @}, allow: rw, paths: [\"priv/**\", \"pub/**\"]}\n"); /* control
                                                                                             */
    CHECK_EQ(do_rename(&f, "w/priv", "w/pub/mine"), 0);
    fixture_done(&f);
}

static void unlinked(struct fixture *f, const char *path)
{
    struct vfs_file *file;
    struct vfs_stat st;
    char bytes[16];
    size_t n;

    CHECK_EQ(do_open(f, path, VFS_O_READ | VFS_O_WRITE | VFS_O_CREATE, &file), 0);
    CHECK_EQ(do_unlink(f, path), 0);
    CHECK_EQ(try_stat(f, path), VFS_NO_ENTRY);
    CHECK_EQ(vfs_write(file, 0, "still", 5, &n), 0);
    CHECK_EQ(vfs_read(file, 0, bytes, sizeof(bytes), &n), 0);
    CHECK_EQ(n, 5);
    CHECK_EQ(vfs_stat(file, &st), 0);
    CHECK_EQ(st.links, 0);
    CHECK_EQ(do_put(f, path, "another"), 0);
    CHECK_EQ(vfs_read(file, 0, bytes, sizeof(bytes), &n), 0);
    CHECK_EQ(n, 5);
    vfs_close(file);
}

TEST(case_10_unlink_while_open)
{
    struct fixture f;

    plain(&f, RW_ALL "  - {fs: /m, from: memory, allow: rw}\n");
    unlinked(&f, "w/file");
    unlinked(&f, "m/file");
    fixture_done(&f);
}

static void strange_names(struct fixture *f, const char *below)
{
    static const char *const names[] = { "a\nb",
                                         "A",
                                         "a",
                                         "trailing.",
                                         "trailing ",
                                         "...",
                                         "\xe2\x80\xae"
                                         "fdp.exe",
                                         "caf\xc3\xa9",
                                         "cafe\xcc\x81",
                                         "-rf",
                                         "*",
                                         "a\\b",
                                         "\x01\x1b[2J",
                                         "con",
                                         "~" };
    char name[600], path[700];
    struct vfs_stat st;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", below, names[i]);
        CHECK_EQ(try_open(f, path, VFS_O_WRITE | VFS_O_CREATE | VFS_O_EXCLUSIVE),
                 0); /* no two are the same */
        CHECK_EQ(do_stat(f, path, false, &st), 0);
    }
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    snprintf(path, sizeof(path), "%s/%s", below, name);
    CHECK_EQ(do_put(f, path, "x"), 0);
    name[255] = 'n';
    name[256] = '\0';
    snprintf(path, sizeof(path), "%s/%s", below, name);
    CHECK_EQ(do_put(f, path, "x"), VFS_NAME_TOO_LONG);
    CHECK_EQ(try_stat(f, path), VFS_NAME_TOO_LONG);
    snprintf(path, sizeof(path), "%s/nu?l", below);
    CHECK_EQ(vfs_open(f->root, "w/nu\0l", 6, VFS_O_READ, &f->root), VFS_INVALID);
    CHECK_EQ(vfs_symlink(f->root, "nu\0l", 4, path, strlen(path)), VFS_INVALID);
    CHECK_EQ(vfs_stat_at(f->root, "", 0, true, &st), VFS_NO_ENTRY);
    CHECK_EQ(do_symlink(f, "", path), VFS_NO_ENTRY);
}

TEST(case_11_names)
{
    struct fixture f;
    struct buf list = BUF_INIT(1 << 16);
    static char path[VFS_PATH_MAX + 64];
    struct vfs_stat st;

    plain(&f, RW_ALL "  - {fs: /m, from: memory, allow: rw}\n");
    strange_names(&f, "w/pub");
    CHECK_EQ(do_mkdir(&f, "m/d"), 0);
    strange_names(&f, "m/d");
    host_put(&f, "priv/\xff\xfe", "not UTF-8");
    host_put(&f, "priv/\xed\xa0\x80", "a surrogate");
    CHECK_EQ(do_list(&f, "w/priv", &list), 0);
    CHECK_STR(buf_cstr(&list), "s ");
    buf_done(&list);
    memset(path, '/', sizeof(path));
    memcpy(path, "w/pub", 5);
    CHECK_EQ(vfs_stat_at(f.root, path, VFS_PATH_MAX, true, &st), 0);
    CHECK_EQ(vfs_stat_at(f.root, path, VFS_PATH_MAX + 1, true, &st), VFS_NAME_TOO_LONG);
    for (size_t i = 1; i < VFS_PATH_MAX; i += 2)
        path[i] = '/', path[i + 1] = 'w';
    CHECK_EQ(vfs_stat_at(f.root, path, VFS_PATH_MAX - 1, true, &st), VFS_NO_ENTRY);
    CHECK_EQ(vfs_stat_at(f.root, path, VFS_PATH_MAX, true, &st), VFS_NO_ENTRY);
    fixture_done(&f);
}

static void sparse(struct fixture *f, const char *path)
{
    struct vfs_file *file;
    struct vfs_stat st;
    long blocks;
    size_t n;
    int r;

    CHECK_EQ(do_open(f, path, VFS_O_READ | VFS_O_WRITE | VFS_O_CREATE, &file), 0);
    blocks = mem_live();
    CHECK_EQ(vfs_set_size(file, UINT64_MAX), VFS_FILE_TOO_LARGE);
    CHECK_EQ(vfs_set_size(file, (uint64_t)INT64_MAX + 1), VFS_FILE_TOO_LARGE);
    r = vfs_set_size(file, INT64_MAX);
    CHECK(r == VFS_FILE_TOO_LARGE || r == VFS_QUOTA || r == 0);
    CHECK_EQ(vfs_set_size(file, 0), 0);
    CHECK_EQ(vfs_write(file, INT64_MAX, "x", 1, &n), VFS_FILE_TOO_LARGE);
    CHECK_EQ(vfs_write(file, UINT64_MAX, "x", 1, &n), VFS_FILE_TOO_LARGE);
    r = vfs_write(file, INT64_MAX - 1, "x", 1, &n);
    CHECK(r == VFS_FILE_TOO_LARGE || r == VFS_QUOTA);
    r = vfs_write(file, UINT64_C(1) << 60, "x", 1, &n);
    CHECK(r == VFS_FILE_TOO_LARGE || r == VFS_QUOTA);
    CHECK_EQ(vfs_read(file, UINT64_MAX, &st, 1, &n), VFS_INVALID);
    CHECK_EQ(vfs_stat(file, &st), 0);
    CHECK_EQ(st.size, 0);
    CHECK_EQ(mem_live(), blocks);
    vfs_close(file);
}

TEST(case_14_sparse)
{
    struct fixture f;

    plain(&f, "  - {fs: /w, from: {dir: @}, allow: rw, max_bytes: 1MiB}\n  - {fs: /m, from: "
              "memory, allow: rw}\n");
    sparse(&f, "w/file");
    sparse(&f, "m/file");
    CHECK_EQ(f.denied_reason, GRANT_QUOTA_BYTES);
    fixture_done(&f);
}

/* ---- 15: many, deep, large ---- */

static void many(struct fixture *f, const char *below, unsigned allowed)
{
    char path[64];
    unsigned made = 0;
    int r = 0;

    for (; made < allowed + 10; made++) {
        snprintf(path, sizeof(path), "%s/n%u", below, made);
        r = made % 3 == 0   ? try_open(f, path, VFS_O_WRITE | VFS_O_CREATE)
            : made % 3 == 1 ? do_mkdir(f, path)
                            : do_symlink(f, "x", path);
        if (r != 0)
            break;
    }
    CHECK_EQ(r, VFS_QUOTA);
    CHECK_EQ(made, allowed);
    CHECK_EQ(f->denied_reason, GRANT_QUOTA_FILES);
    snprintf(path, sizeof(path), "%s/n0", below);
    CHECK_EQ(try_open(f, path, VFS_O_WRITE | VFS_O_CREATE), 0); /* what is there may be opened */
    CHECK_EQ(try_open(f, path, VFS_O_WRITE | VFS_O_CREATE | VFS_O_EXCLUSIVE), VFS_EXIST);
    CHECK_EQ(do_mkdir(f, path), VFS_EXIST);
}

TEST(case_15_many_files)
{
    struct fixture f;

    plain(&f, "  - {fs: /w, from: {dir: @}, allow: rw, max_files: 1000}\n"
              "  - {fs: /m, from: memory, allow: rw, max_files: 20000, max_bytes: 64MiB}\n");
    many(&f, "w/pub", 1000);
    many(&f, "m", 20000);
    CHECK_EQ(do_unlink(&f, "m/n0"), 0); /* stored files count in memory */
    CHECK_EQ(do_put(&f, "m/again", "x"), 0);
    CHECK_EQ(do_unlink(&f, "w/pub/n0"), 0); /* made ones on the host */
    CHECK_EQ(do_put(&f, "w/pub/again", "x"), VFS_QUOTA);
    fixture_done(&f);
}

/* Folders 100,000 deep, by moving towers into towers; all of it with a stack of 64 KiB. */
static void *deep(void *argument)
{
    struct fixture *f = argument;
    char tower[2 * 1000 + 16], path[2 * 1000 + 64];
    size_t size;

    for (int i = 0; i < 100; i++) {
        size = (size_t)snprintf(tower, sizeof(tower), "m/new");
        if (do_mkdir(f, tower) != 0)
            return "mkdir";
        for (int k = 0; k < 999; k++) {
            memcpy(tower + size, "/d", 3);
            size += 2;
            if (do_mkdir(f, tower) != 0)
                return "mkdir below";
        }
        if (i > 0) {
            snprintf(path, sizeof(path), "%s/d", tower);
            if (do_rename(f, "m/all", path) != 0)
                return "rename into the tower";
        }
        if (do_rename(f, "m/new", "m/all") != 0)
            return "rename the tower";
    }
    if (do_rename(f, "m/all", "m/all/d/d/d") != VFS_INVALID)
        return "rename into itself";
    fixture_close(f);
    return NULL;
}

TEST(case_15_deep_folders)
{
    struct fixture f = { 0 };
    pthread_attr_t attributes;
    pthread_t thread;
    void *why;
    long before = mem_live();

    fixture_rules(&f,
                  "  - {fs: /m, from: memory, allow: rw, max_files: 200000, max_bytes: 64MiB}\n");
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 64 << 10) == 0);
    CHECK(pthread_create(&thread, &attributes, deep, &f) == 0);
    pthread_join(thread, &why);
    pthread_attr_destroy(&attributes);
    CHECK_STR(why ? (char *)why : "", "");
    CHECK_EQ(mem_live(), before);
}

static void large(struct fixture *f, const char *path, uint64_t quota)
{
    static char block[1 << 16];
    struct vfs_file *file;
    uint64_t at = 0;
    size_t n = 0;
    int r;

    memset(block, 'x', sizeof(block));
    CHECK_EQ(do_open(f, path, VFS_O_READ | VFS_O_WRITE | VFS_O_CREATE, &file), 0);
    while ((r = vfs_write(file, at, block, sizeof(block), &n)) == 0 && at <= quota)
        at += n;
    CHECK_EQ(r, VFS_QUOTA);
    CHECK_EQ(f->denied_reason, GRANT_QUOTA_BYTES);
    CHECK(at <= quota && at + 2 * sizeof(block) >= quota);
    CHECK_EQ(vfs_append(file, block, sizeof(block), &n), VFS_QUOTA);
    CHECK_EQ(vfs_write(file, 0, block, sizeof(block), &n),
             0); /* what is there may be written over */
    vfs_close(file);
}

TEST(case_15_large_file)
{
    struct fixture f;
    struct vfs_file *file;

    plain(&f, "  - {fs: /w, from: {dir: @}, allow: rw, max_bytes: 1MiB}\n"
              "  - {fs: /m, from: memory, allow: rw, max_bytes: 1MiB}\n");
    large(&f, "w/file", 1 << 20);
    CHECK_EQ(do_open(&f, "w/file", VFS_O_WRITE | VFS_O_TRUNCATE, &file), 0);
    CHECK_EQ(vfs_set_size(file, 1 << 19), VFS_QUOTA); /* growth adds up over the run */
    vfs_close(file);
    large(&f, "m/file", 1 << 20);
    CHECK_EQ(do_unlink(&f, "m/file"), 0);
    large(&f, "m/file", 1 << 20); /* stored bytes come back */
    fixture_done(&f);
}

TEST(case_19_read_only)
{
    struct fixture f;
    struct vfs_file *file;
    struct vfs_times now = { .modified = VFS_TIME_NOW };
    const char *text;
    size_t n;
    struct vfs_backing *b;
    struct vfs_opened opened;

    plain(&f, "  - {fs: /w, from: {dir: @}, allow: ro}\n");
    CHECK_EQ(try_open(&f, "w/pub/f", VFS_O_WRITE), VFS_ACCESS);
    CHECK_EQ(f.denied_verbs, FS_WRITE);
    CHECK_EQ(try_open(&f, "w/pub/f", VFS_O_WRITE | VFS_O_TRUNCATE), VFS_ACCESS);
    CHECK_EQ(try_open(&f, "w/pub/f", VFS_O_READ | VFS_O_TRUNCATE), VFS_INVALID);
    CHECK_EQ(try_open(&f, "w/pub/new", VFS_O_READ | VFS_O_CREATE), VFS_ACCESS);
    CHECK_EQ(do_mkdir(&f, "w/new"), VFS_ACCESS);
    CHECK_EQ(do_rmdir(&f, "w/priv"), VFS_ACCESS);
    CHECK_EQ(do_unlink(&f, "w/pub/f"), VFS_ACCESS);
    CHECK_EQ(do_rename(&f, "w/pub/f", "w/pub/g"), VFS_ACCESS);
    CHECK_EQ(do_link(&f, "w/pub/f", "w/pub/g", false), VFS_ACCESS);
    CHECK_EQ(do_symlink(&f, "f", "w/pub/g"), VFS_ACCESS);
    CHECK_EQ(do_open(&f, "w/pub/f", VFS_O_READ, &file), 0);
    CHECK_EQ(vfs_write(file, 0, "x", 1, &n), VFS_BAD_DESCRIPTOR);
    CHECK_EQ(vfs_append(file, "x", 1, &n), VFS_BAD_DESCRIPTOR);
    CHECK_EQ(vfs_set_size(file, 0), VFS_INVALID);
    CHECK_EQ(vfs_set_times(file, &now), VFS_ACCESS);
    vfs_close(file);
    CHECK_EQ(do_get(&f, "w/pub/f", &text), 0);
    CHECK_STR(text, "open");
    /* The second lock: the backing itself. */
    b = f.v->mounts[0].backing;
    CHECK_EQ(b->ops->open(b, (struct vfs_path){ "pub/f", 5 }, VFS_O_WRITE, &opened, &f.v->link),
             VFS_READ_ONLY);
    CHECK_EQ(b->ops->mkdir(b, (struct vfs_path){ "new", 3 }, &f.v->link), VFS_READ_ONLY);
    CHECK_EQ(b->ops->unlink(b, (struct vfs_path){ "pub/f", 5 }, &f.v->link), VFS_READ_ONLY);
    fixture_close(&f);
    fixture_rules(&f, RW_ALL); /* control */
    CHECK_EQ(do_put(&f, "w/pub/f", "x"), 0);
    fixture_done(&f);
}

TEST(case_67_links_across_patterns)
{
    struct fixture f;
    const char *text;

    plain(&f, RW_PUB);
    CHECK_EQ(do_symlink(&f, "../priv/s", "w/pub/l"), 0); /* a target is only text */
    CHECK_EQ(do_get(&f, "w/pub/l", &text), VFS_ACCESS);
    check_denied(&f, "/w/priv/s", GRANT_NO_PATH);
    CHECK_EQ(do_put(&f, "w/pub/l", "overwritten"), VFS_ACCESS);
    CHECK_EQ(do_symlink(&f, "/w/priv", "w/pub/d"), 0);
    CHECK_EQ(do_get(&f, "w/pub/d/s", &text), VFS_ACCESS);
    CHECK_EQ(do_put(&f, "w/pub/d/new", "x"), VFS_ACCESS);
    CHECK_EQ(do_unlink(&f, "w/pub/d/s"), VFS_ACCESS);
    CHECK_EQ(do_rename(&f, "w/pub/d/s", "w/pub/s"), VFS_ACCESS);
    CHECK_EQ(do_rename(&f, "w/priv/s", "w/pub/s"), VFS_ACCESS);
    CHECK_EQ(do_rename(&f, "w/pub/f", "w/priv/f"), VFS_ACCESS);
    CHECK_EQ(do_link(&f, "w/pub/l", "w/pub/s", true), VFS_ACCESS);
    CHECK_EQ(do_link(&f, "w/pub/d/s", "w/pub/s", false), VFS_ACCESS);
    CHECK_EQ(do_symlink(&f, "x", "w/priv/l"), VFS_ACCESS);
    CHECK(faccessat(f.dir_fd, "priv/s", F_OK, 0) == 0 && faccessat(f.dir_fd, "pub/s", F_OK, 0) < 0);
    weaken(&f);
    CHECK_EQ(do_get(&f, "w/pub/d/s", &text),
             VFS_ACCESS); /* an absolute target leaves the folder of the host */
    CHECK_EQ(do_symlink(&f, "../priv", "w/pub/r"), 0);
    CHECK_EQ(do_get(&f, "w/pub/r/s", &text), 0);
    CHECK_STR(text, "SECRET");
    fixture_done(&f);
}

/* ---- nothing is told about what is not granted ---- */

TEST(same_answer_there_or_not)
{
    static const char *const there[] = { "w/priv/s",        "w/priv",
                                         "w/priv/../pub/f", "w/priv/s/../../pub/f",
                                         "w/priv/s/x",      "w/priv/s/",
                                         "w/pub/../priv/s" };
    static const char *const not_there[] = { "w/priv/n",        "w/nope",
                                             "w/nope/../pub/f", "w/priv/n/../../pub/f",
                                             "w/priv/n/x",      "w/priv/n/",
                                             "w/pub/../priv/n" };
    struct fixture f;

    plain(&f, RW_PUB);
    for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
        CHECK_EQ(try_stat(&f, there[i]), try_stat(&f, not_there[i]));
        CHECK_EQ(try_open(&f, there[i], VFS_O_READ | VFS_O_FOLLOW),
                 try_open(&f, not_there[i], VFS_O_READ | VFS_O_FOLLOW));
        CHECK_EQ(do_mkdir(&f, there[i]), do_mkdir(&f, not_there[i]));
        CHECK_EQ(do_rename(&f, "w/pub/f", there[i]), do_rename(&f, "w/pub/f", not_there[i]));
    }
    fixture_done(&f);
}

TEST_MAIN()
