/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: makes, lists, walks, links, moves and removes folders below the current one. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void say(const char *what, int r)
{
    printf("%s: %s\n", what, r < 0 ? name_of(errno) : "ok");
}

static void list(const char *path)
{
    char *names[3000];
    size_t count = 0;
    DIR *d = opendir(path);
    if (d == NULL) {
        printf("%s: %s\n", path, name_of(errno));
        return;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL && count < 3000;)
        names[count++] = strdup(e->d_name);
    closedir(d);
    qsort(names, count, sizeof(names[0]), by_name);
    printf("%s: %zu names", path, count);
    for (size_t i = 0; i < count; i++) {
        if (count < 20 || i % 500 == 0)
            printf(" [%s]", names[i]);
        free(names[i]);
    }
    printf("\n");
}

static unsigned long walk(const char *path, int depth)
{
    unsigned long total = 0;
    DIR *d = opendir(path);
    if (d == NULL)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char below[4096];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        if (lstat(below, &st) < 0)
            continue;
        total += strlen(e->d_name) * 31 + (S_ISREG(st.st_mode) ? (unsigned long)st.st_size : 7);
        if (S_ISDIR(st.st_mode))
            total += (unsigned long)depth * walk(below, depth + 1);
    }
    closedir(d);
    return total;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        say(path, -1);
        return;
    }
    fputs(text, f);
    fclose(f);
}

static void links(void)
{
    char text[256];
    say("symlink", symlink("inner/file.txt", "top/link"));
    ssize_t n = readlink("top/link", text, sizeof(text));
    printf("readlink %zd %.*s\n", n, (int)(n < 0 ? 0 : n), text);
    struct stat st;
    say("stat through it", stat("top/link", &st));
    printf("%d %lld\n", S_ISREG(st.st_mode), (long long)st.st_size);
    say("lstat of it", lstat("top/link", &st));
    printf("%d\n", S_ISLNK(st.st_mode));
    FILE *f = fopen("top/link", "r");
    if (f != NULL && fgets(text, sizeof(text), f) != NULL)
        printf("through the link: %s\n", text);
    if (f != NULL)
        fclose(f);
    say("symlink to a folder", symlink("../top/inner", "top/folder link"));
    list("top/folder link");
    say("dangling", symlink("nothing", "top/dangling"));
    say("open of a dangling link", open("top/dangling", O_RDONLY));
    say("no follow", open("top/link", O_RDONLY | O_NOFOLLOW));
    say("loop one", symlink("two", "top/one"));
    say("loop two", symlink("one", "top/two"));
    say("open of a loop", open("top/one", O_RDONLY));
    say("unlink loop", unlink("top/one") | unlink("top/two"));
}

int main(void)
{
    say("mkdir", mkdir("top", 0755));
    say("again", mkdir("top", 0755));
    say("without parent", mkdir("none/below", 0755));
    say("inner", mkdir("top/inner", 0755));
    say("deep", mkdir("top/inner/deep", 0755));
    put("top/inner/file.txt", "content");
    put("top/inner/deep/other.txt", "other content");
    list("top");
    list("top/inner");
    list("top/inner/");
    list("./top//inner/../inner/.");
    list("none");
    list("top/inner/file.txt");
    links();
    say("remove a full folder", rmdir("top/inner"));
    say("rename a folder", rename("top/inner", "top/moved"));
    say("into itself", rename("top", "top/moved/top"));
    list("top/moved/deep");
    say("many", mkdir("many", 0755));
    for (int i = 0; i < 2500; i++) {
        char name[64];
        snprintf(name, sizeof(name), "many/a rather long name of a file %05d", i);
        put(name, "x");
    }
    list("many");
    printf("walk %lu %lu\n", walk("top", 1), walk("many", 1));
    for (int i = 0; i < 2500; i++) {
        char name[64];
        snprintf(name, sizeof(name), "many/a rather long name of a file %05d", i);
        if (unlink(name) < 0)
            say(name, -1);
    }
    say("remove", rmdir("many"));
    list("many");
    int d = open("top", O_RDONLY | O_DIRECTORY), fd = openat(d, "moved/file.txt", O_RDONLY);
    char text[16] = "";
    ssize_t got = read(fd, text, 15);
    printf("openat %zd %s\n", got, text);
    say("mkdirat", mkdirat(d, "made at", 0755));
    say("unlinkat", unlinkat(d, "made at", AT_REMOVEDIR));
    say("unlinkat", unlinkat(d, "made at", AT_REMOVEDIR));
    close(fd);
    close(d);
    return 0;
}
