/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: a table of operations that fail, with the name of each error. With an argument also those whose names WASI and Linux differ in. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names.h"

static void is(const char *what, long r)
{
    printf("%-36s %s\n", what, r >= 0 ? "ok" : name_of(errno));
}

static char name_of_256[257], path_of_5000[5001];

int main(int argc, char **argv)
{
    char b[8];
    struct stat st;
    memset(name_of_256, 'n', 256);
    memset(path_of_5000, 'p', 5000);
    for (int i = 100; i < 5000; i += 100)
        path_of_5000[i] = '/';
    mkdir("d", 0755);
    mkdir("d/full", 0755);
    mkdir("empty", 0755);
    int f = open("f", O_CREAT | O_RDWR, 0644);
    close(open("d/full/x", O_CREAT | O_RDWR, 0644));

    is("open none", open("none", O_RDONLY));
    is("open none/below", open("none/below", O_RDONLY));
    is("open below a file", open("f/below", O_RDONLY));
    is("open a folder to write", open("d", O_WRONLY));
    is("open with a slash at the end", open("f/", O_RDONLY));
    is("create in none", open("none/x", O_CREAT | O_WRONLY, 0644));
    is("create what exists", open("f", O_CREAT | O_EXCL | O_WRONLY, 0644));
    is("open a file as a folder", open("f", O_RDONLY | O_DIRECTORY));
    is("create with a slash at the end", open("newfile/", O_CREAT | O_WRONLY, 0644));
    is("open a name of 256", open(name_of_256, O_RDONLY));
    is("create a name of 256", open(name_of_256, O_CREAT | O_WRONLY, 0644));
    is("open a path of 5000", open(path_of_5000, O_RDONLY));
    is("stat none", stat("none", &st));
    is("stat below a file", stat("f/below", &st));
    is("stat f/.", stat("f/.", &st));
    is("stat f/..", stat("f/..", &st));
    is("mkdir over a file", mkdir("f", 0755));
    is("mkdir over a folder", mkdir("d", 0755));
    is("mkdir below none", mkdir("none/x", 0755));
    is("mkdir below a file", mkdir("f/x", 0755));
    is("mkdir with a slash at the end", mkdir("slash/", 0755));
    is("rmdir none", rmdir("none"));
    is("rmdir a file", rmdir("f"));
    is("rmdir a full folder", rmdir("d"));
    is("unlink none", unlink("none"));
    is("unlink a folder", unlink("d"));
    is("unlink with a slash at the end", unlink("f/"));
    is("rename none", rename("none", "x"));
    is("rename into none", rename("f", "none/x"));
    is("rename a file over a folder", rename("f", "empty"));
    is("rename a folder over a file", rename("empty", "f"));
    is("rename over a full folder", rename("empty", "d"));
    is("rename into itself", rename("d", "d/full/d"));
    is("rename to itself", rename("f", "f"));
    is("link none", link("none", "x"));
    is("link over", link("f", "d/full/x"));
    is("link into none", link("f", "none/x"));
    is("symlink over", symlink("target", "f"));
    is("symlink with an empty target", symlink("", "s"));
    is("readlink of a file", readlink("f", b, sizeof(b)));
    is("readlink of none", readlink("none", b, sizeof(b)));
    is("opendir of a file", opendir("f") == NULL ? -1 : 0);
    is("opendir of none", opendir("none") == NULL ? -1 : 0);
    is("read of a closed one", read(99, b, 1));
    is("write of a closed one", write(99, b, 1));
    is("close of a closed one", close(99));
    is("lseek before the start", lseek(f, -5, SEEK_SET));
    is("pread before the start", pread(f, b, 1, -1));
    is("ftruncate to less than nothing", ftruncate(f, -1));
    int r = open("f", O_RDONLY), w = open("f", O_WRONLY), d = open("d", O_RDONLY | O_DIRECTORY);
    is("write to one opened to read", write(r, "x", 1));
    is("read from one opened to write", read(w, b, 1));
    is("write of a folder", write(d, b, 1));
    is("openat a closed folder", openat(98, "x", O_RDONLY));
    is("openat a file", openat(r, "x", O_RDONLY));
    is("access none", access("none", F_OK));
    is("access f", access("f", R_OK | W_OK));
    if (argc > 1) { /* where WASI and Linux have different names for the same refusal */
        is("open the empty name", open("", O_RDONLY));
        is("ftruncate of one opened to read", ftruncate(r, 1));
        is("read of a folder", read(d, b, 1));
    }
    return 3;
}
