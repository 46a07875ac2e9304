/* SPDX-License-Identifier: Apache-2.0 */
/* base/file.c: maxima, whole files, sealed memory files, private folders. */
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char folder[] = "/tmp/ambit-test-file-XXXXXX";
static int folder_fd = -1;

static const char *in_folder(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

TEST(a_folder)
{
    CHECK(mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(folder_fd >= 0);
}

TEST(write_and_read)
{
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(100);
    CHECK_EQ(file_write_atomic(folder_fd, "a", "first", 5, 0640, &e), 0);
    CHECK_EQ(file_write_atomic(folder_fd, "a", "second", 6, 0640, &e), 0);
    CHECK_EQ(file_read(in_folder("a"), &text, &e), 0);
    CHECK_STR(buf_cstr(&text), "second");
    struct stat st;
    CHECK_EQ(fstatat(folder_fd, "a", &st, 0), 0);
    CHECK_EQ(st.st_mode & 07777, 0640);
    CHECK(file_write_atomic(folder_fd, "missing/a", "x", 1, 0600, &e) < 0);
    /* No temporary file is left, not even by the one that failed. */
    DIR *d = opendir(folder);
    int count = 0;
    while (readdir(d))
        count++;
    closedir(d);
    CHECK_EQ(count, 3); /* . .. a */
}

TEST(maximum)
{
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf small = BUF_INIT(5);
    CHECK_EQ(file_read(in_folder("a"), &small, &e), -EFBIG);
    CHECK_HAS(e.what, "5 bytes");
    error_clear(&e);
    buf_clear(&small);
    CHECK_EQ(file_read(in_folder("none"), &small, &e), -ENOENT);
    CHECK_EQ(file_read("/dev/zero", &small, NULL), -EFBIG);
}

static int read_again(void)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(100);
    return file_read(in_folder("a"), &text, NULL);
}

TEST(survives_no_memory)
{
    TORTURE(read_again());
    TORTURE(file_write_atomic(folder_fd, "a", "third", 5, 0600, NULL));
}

TEST(memory_files)
{
    CLEANUP(fd_closep) int sealed = file_memfd("test", "abc", 3, true, NULL);
    CLEANUP(fd_closep) int open_one = file_memfd("test", "abc", 3, false, NULL);
    CHECK(sealed >= 0 && open_one >= 0);
    CHECK_EQ(pwrite(sealed, "x", 1, 0), -1);
    CHECK_EQ(ftruncate(sealed, 0), -1);
    CHECK_EQ(pwrite(open_one, "x", 1, 0), 1);
    CHECK(fcntl(sealed, F_GETFD) & FD_CLOEXEC);
    CLEANUP(buf_done) struct buf text = BUF_INIT(10);
    CHECK_EQ(file_read_fd(sealed, &text, NULL), 0);
    CHECK_STR(buf_cstr(&text), "abc");
}

TEST(private_folders)
{
    struct error e = ERROR_INIT;
    int fd = -1;
    CHECK_EQ(file_make_private_dir(in_folder("x/y//z/"), &fd, &e), 0);
    struct stat st;
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0700);
    fd_closep(&fd);
    CHECK_EQ(file_make_private_dir(in_folder("x/y/z"), &fd, &e), 0);
    fd_closep(&fd);
    CHECK_EQ(chmod(in_folder("x/y/z"), 0750), 0);
    CHECK_EQ(file_make_private_dir(in_folder("x/y/z"), &fd, &e), -EPERM);
    CHECK_HAS(e.what, "open to other users");
    CHECK_HAS(e.hint, "700");
    CHECK_EQ(fd, -1);
    CHECK_EQ(file_make_private_dir(in_folder("a/b"), &fd, NULL), -ENOTDIR);
    CHECK_EQ(file_make_private_dir("", &fd, NULL), -ENOENT);
}

TEST(folders_through_no_planted_link)
{
    size_t link = 0;
    CHECK_EQ(symlink("x/y", in_folder("link")), 0);
    int fd = file_open_dir_unlinked(in_folder("x//./y/"), &link);
    CHECK(fd >= 0);
    fd_closep(&fd);
    CHECK_EQ(file_open_dir_unlinked(in_folder("link/z"), &link), -ELOOP);
    CHECK_EQ(link, strlen(in_folder("link")));
    CHECK_EQ(file_open_dir_unlinked(in_folder("link"), &link), -ELOOP);
    CHECK_EQ(file_open_dir_unlinked(in_folder("a"), &link), -ENOTDIR);
    CHECK_EQ(file_open_dir_unlinked(in_folder("a/b"), &link), -ENOTDIR);
    CHECK_EQ(file_open_dir_unlinked(in_folder("none"), &link), -ENOENT);
    CHECK_EQ(unlink(in_folder("link")), 0);
    fd = file_open_dir_unlinked("/", &link);
    CHECK(fd >= 0);
    fd_closep(&fd);
    fd = file_open_dir_unlinked(".", &link);
    CHECK(fd >= 0);
    fd_closep(&fd);
}

TEST(clean_up)
{
    unlinkat(folder_fd, "a", 0);
    unlinkat(folder_fd, "x/y/z", AT_REMOVEDIR);
    unlinkat(folder_fd, "x/y", AT_REMOVEDIR);
    unlinkat(folder_fd, "x", AT_REMOVEDIR);
    fd_closep(&folder_fd);
    CHECK_EQ(rmdir(folder), 0);
}

TEST_MAIN()
