/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: what a program does with one file after another, and what it sees of them. Works below the current folder. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "names.h"

static void die(const char *what)
{
    printf("FAILED %s: %s\n", what, name_of(errno));
    exit(1);
}

static void show(const char *name)
{
    struct stat st;
    if (stat(name, &st) < 0) {
        printf("%s: none\n", name);
        return;
    }
    printf("%s: %s %lld bytes, %lu links\n", name, S_ISDIR(st.st_mode) ? "folder" : S_ISREG(st.st_mode) ? "file" : "other",
           S_ISDIR(st.st_mode) ? 0LL : (long long)st.st_size, S_ISDIR(st.st_mode) ? 0UL : (unsigned long)st.st_nlink);
}

static void streams(void)
{
    FILE *f = fopen("lines.txt", "w");
    if (f == NULL)
        die("fopen lines.txt");
    for (int i = 0; i < 5000; i++)
        fprintf(f, "%d: %0*d\n", i, i % 60, i * i);
    printf("written to %ld\n", ftell(f));
    if (fclose(f) != 0)
        die("fclose");
    show("lines.txt");

    f = fopen("lines.txt", "r+");
    if (f == NULL)
        die("fopen r+");
    char line[128];
    long count = 0, bytes = 0;
    while (fgets(line, sizeof(line), f) != NULL)
        count++, bytes += (long)strlen(line);
    printf("%ld lines, %ld bytes, eof %d\n", count, bytes, feof(f) != 0);
    if (fseek(f, 1000, SEEK_SET) < 0 || fputs("<here>", f) < 0 || fseek(f, 990, SEEK_SET) < 0 || fgets(line, sizeof(line), f) == NULL)
        die("update in place");
    printf("around 1000: %s", line);
    if (fseek(f, -10, SEEK_END) < 0 || fread(line, 1, 100, f) != 10)
        die("last ten bytes");
    printf("last ten: %.10s", line);
    fclose(f);

    f = fopen("lines.txt", "a");
    fputs("appended\n", f);
    fclose(f);
    show("lines.txt");
    printf("exclusive: %s\n", fopen("lines.txt", "wx") == NULL && errno == EEXIST ? "refused" : "NOT refused");
}

static void descriptors(void)
{
    int fd = open("raw.bin", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        die("open raw.bin");
    static unsigned char block[70000];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (unsigned char)(i * 7 + i / 251);
    size_t done = 0;
    while (done < sizeof(block)) { /* short writes are legal */
        ssize_t n = write(fd, block + done, sizeof(block) - done);
        if (n <= 0)
            die("write");
        done += (size_t)n;
    }
    printf("at %lld\n", (long long)lseek(fd, 0, SEEK_CUR));
    if (pwrite(fd, "pwrite", 6, 100000) != 6)
        die("pwrite");
    printf("still at %lld,", (long long)lseek(fd, 0, SEEK_CUR));
    printf(" size %lld\n", (long long)lseek(fd, 0, SEEK_END));

    unsigned char back[16] = { 0 };
    if (pread(fd, back, 16, 69992) != 16)
        die("pread over the hole");
    for (int i = 0; i < 16; i++)
        printf("%02x%s", back[i], i == 15 ? "\n" : " ");
    printf("pread at the end: %zd\n", pread(fd, back, 16, 100006));
    printf("pread beyond: %zd\n", pread(fd, back, 16, 1000000));

    struct iovec parts[3] = { { "one ", 4 }, { "", 0 }, { "two", 3 } };
    lseek(fd, 0, SEEK_SET);
    ssize_t put = writev(fd, parts, 3); /* may be short: WASI 0.1 on components writes one part a call */
    printf("writev %s\n", put == 4 || put == 7 ? "whole parts" : "WRONG");
    if (pwrite(fd, "one two", 7, 0) != 7)
        die("pwrite at the start");
    char a[4], b[5];
    struct iovec into[2] = { { a, sizeof(a) }, { b, sizeof(b) } };
    lseek(fd, 0, SEEK_SET);
    ssize_t got = readv(fd, into, 2);
    printf("readv %s\n", got > 0 && got <= 9 && memcmp(a, "one ", 4) == 0 ? "starts right" : "WRONG");

    if (ftruncate(fd, 50) < 0)
        die("ftruncate down");
    show("raw.bin");
    if (ftruncate(fd, 200000) < 0)
        die("ftruncate up");
    show("raw.bin");
    back[0] = 1;
    ssize_t hole = pread(fd, back, 1, 199999);
    printf("hole reads %zd, %d\n", hole, back[0]);
    if (fsync(fd) < 0 || fdatasync(fd) < 0)
        die("sync");
    close(fd);
    ssize_t closed = read(fd, back, 1);
    printf("closed: %zd %s\n", closed, name_of(errno));
}

static void unlinked(void)
{
    int fd = open("gone.txt", O_RDWR | O_CREAT, 0644);
    if (fd < 0 || write(fd, "still here", 10) != 10 || unlink("gone.txt") < 0)
        die("unlink an open file");
    show("gone.txt");
    char text[16] = "";
    ssize_t got = pread(fd, text, 10, 0);
    printf("open after unlink: %zd %s\n", got, text);
    struct stat st;
    if (fstat(fd, &st) < 0)
        die("fstat");
    printf("fstat %lld bytes\n", (long long)st.st_size);
    close(fd);
}

static void names(void)
{
    if (rename("raw.bin", "renamed.bin") < 0)
        die("rename");
    show("raw.bin");
    show("renamed.bin");
    if (link("lines.txt", "second name") < 0)
        die("link");
    show("second name");
    if (rename("renamed.bin", "second name") < 0)
        die("rename over");
    show("second name");
    show("lines.txt");
    FILE *f = fopen("with \xc3\xbc and \xe2\x82\xac.txt", "w");
    if (f == NULL)
        die("a name that is not ASCII");
    fputs("non-ASCII name\n", f);
    fclose(f);
    if (remove("second name") < 0)
        die("remove");
    struct timespec times[2] = { { 1000000000, 0 }, { 1234567890, 500000000 } };
    if (utimensat(AT_FDCWD, "lines.txt", times, 0) < 0)
        die("utimensat");
    struct stat st;
    stat("lines.txt", &st);
    printf("times %lld %lld.%09ld\n", (long long)st.st_atim.tv_sec, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

int main(void)
{
    streams();
    descriptors();
    unlinked();
    names();
    return 0;
}
