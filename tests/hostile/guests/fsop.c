/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does to files what it is told, one operation per line, and says what it got. It calls WASI 0.1 itself,
 * because a libc would tidy paths and names up before the host sees them.
 *
 *   fsop < operations          one line each: a name and words; "%HH" in a word is a byte, "%" alone an empty word
 *   fsop OPERATION WORD…       the same for one operation
 *
 * It answers with one line per operation: the errno of WASI 0.1 as a name, and what was read, in the same spelling.
 * Paths are relative to the preopened folder, the guest's root.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#define ROOT 3
#define WORDS 8
#define SLOTS 32
#define TEXT (1 << 20)

struct word {
    uint8_t *bytes;
    size_t size;
};
static struct word words[WORDS];
static int word_count;
static __wasi_fd_t slots[SLOTS];
static char line[TEXT];
static uint8_t data[TEXT];

static const char *const names[] = {
    "ok", "2big", "acces", "addrinuse", "addrnotavail", "afnosupport", "again", "already", "badf", "badmsg", "busy",
    "canceled", "child", "connaborted", "connrefused", "connreset", "deadlk", "destaddrreq", "dom", "dquot", "exist",
    "fault", "fbig", "hostunreach", "idrm", "ilseq", "inprogress", "intr", "inval", "io", "isconn", "isdir", "loop",
    "mfile", "mlink", "msgsize", "multihop", "nametoolong", "netdown", "netreset", "netunreach", "nfile", "nobufs",
    "nodev", "noent", "noexec", "nolck", "nolink", "nomem", "nomsg", "noprotoopt", "nospc", "nosys", "notconn",
    "notdir", "notempty", "notrecoverable", "notsock", "notsup", "notty", "nxio", "overflow", "ownerdead", "perm",
    "pipe", "proto", "protonosupport", "prototype", "range", "rofs", "spipe", "srch", "stale", "timedout", "txtbsy",
    "xdev", "notcapable",
};

static const char *name_of(int error)
{
    return error >= 0 && (size_t)error < sizeof(names) / sizeof(*names) ? names[error] : "?";
}

static int hex(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place; what is no "%HH" stays, but a "%" alone goes. */
static struct word unescape(char *text)
{
    struct word w = { (uint8_t *)text, 0 };
    for (char *at = text; *at; at++) {
        if (*at != '%')
            w.bytes[w.size++] = (uint8_t)*at;
        else if (hex(at[1]) >= 0 && hex(at[2]) >= 0)
            w.bytes[w.size++] = (uint8_t)(hex(at[1]) * 16 + hex(at[2])), at += 2;
    }
    return w;
}

static void put(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] > ' ' && bytes[i] < 0x7f && bytes[i] != '%')
            putchar(bytes[i]);
        else
            printf("%%%02x", bytes[i]);
    }
    if (size == 0)
        putchar('%');
}

static uint64_t number(int i)
{
    return i < word_count ? strtoull((char *)words[i].bytes, NULL, 0) : 0;
}

#define PATH(i) (const char *)words[i].bytes, words[i].size

/* wasi-libc's declarations take a C string and measure it: the path's bytes, NULs too, go to the import itself. */
#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
extern int32_t raw_open(int32_t, int32_t, const char *, size_t, int32_t, int64_t, int64_t, int32_t, void *) IMPORT("path_open");
extern int32_t raw_stat(int32_t, int32_t, const char *, size_t, void *) IMPORT("path_filestat_get");
extern int32_t raw_times(int32_t, int32_t, const char *, size_t, int64_t, int64_t, int32_t) IMPORT("path_filestat_set_times");
extern int32_t raw_mkdir(int32_t, const char *, size_t) IMPORT("path_create_directory");
extern int32_t raw_rmdir(int32_t, const char *, size_t) IMPORT("path_remove_directory");
extern int32_t raw_unlink(int32_t, const char *, size_t) IMPORT("path_unlink_file");
extern int32_t raw_rename(int32_t, const char *, size_t, int32_t, const char *, size_t) IMPORT("path_rename");
extern int32_t raw_link(int32_t, int32_t, const char *, size_t, int32_t, const char *, size_t) IMPORT("path_link");
extern int32_t raw_symlink(const char *, size_t, int32_t, const char *, size_t) IMPORT("path_symlink");
extern int32_t raw_readlink(int32_t, const char *, size_t, void *, size_t, void *) IMPORT("path_readlink");

/* Flags: r w c(reate) x(clusive) t(runcate) d(irectory) n(ofollow) s(ync) a(ppend). */
static int open_at(__wasi_fd_t at, const char *flags, const char *path, size_t size, __wasi_fd_t *ret)
{
    uint64_t rights = 0;
    int open = 0, fd = 0, follow = 1;
    for (; *flags; flags++) {
        switch (*flags) {
        case 'r': rights |= __WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_READDIR; break;
        case 'w': rights |= __WASI_RIGHTS_FD_WRITE; break;
        case 'c': open |= __WASI_OFLAGS_CREAT; break;
        case 'x': open |= __WASI_OFLAGS_EXCL; break;
        case 't': open |= __WASI_OFLAGS_TRUNC; break;
        case 'd': open |= __WASI_OFLAGS_DIRECTORY; break;
        case 'n': follow = 0; break;
        case 's': fd |= __WASI_FDFLAGS_SYNC; break;
        case 'a': fd |= __WASI_FDFLAGS_APPEND; break;
        }
    }
    return raw_open((int32_t)at, follow, path, size, open, (int64_t)rights, 0, fd, ret);
}

static int read_all(__wasi_fd_t fd, size_t *ret)
{
    int error = 0;
    __wasi_size_t n = 1;
    for (*ret = 0; !error && n && *ret < sizeof(data); *ret += n) {
        __wasi_iovec_t v = { data + *ret, sizeof(data) - *ret };
        n = 0;
        error = __wasi_fd_read(fd, &v, 1, &n);
    }
    return error;
}

static int write_word(__wasi_fd_t fd, int i)
{
    __wasi_ciovec_t v = { words[i].bytes, i < word_count ? words[i].size : 0 };
    __wasi_size_t n;
    return __wasi_fd_write(fd, &v, 1, &n);
}

static int list(const char *path, size_t size)
{
    __wasi_fd_t fd;
    __wasi_size_t used = 0;
    __wasi_dircookie_t cookie = 0;
    int error = open_at(ROOT, "rd", path, size, &fd);
    if (error)
        return error;
    do {
        error = __wasi_fd_readdir(fd, data, sizeof(data), cookie, &used);
        if (error)
            break;
        if (cookie == 0)
            printf("ok");
        size_t at = 0;
        while (at + sizeof(__wasi_dirent_t) <= used) {
            __wasi_dirent_t d;
            memcpy(&d, data + at, sizeof(d));
            if (at + sizeof(d) + d.d_namlen > used)
                break;
            cookie = d.d_next;
            if (!(d.d_namlen <= 2 && data[at + sizeof(d)] == '.' && data[at + sizeof(d) + d.d_namlen - 1] == '.')) {
                putchar(' ');
                put(data + at + sizeof(d), d.d_namlen);
            }
            at += sizeof(d) + d.d_namlen;
        }
    } while (used == sizeof(data));
    (void)__wasi_fd_close(fd);
    return error ? error : -1;
}

static int get(const char *path, size_t size, const char *flags)
{
    __wasi_fd_t fd;
    size_t n;
    int error = open_at(ROOT, flags, path, size, &fd);
    if (error)
        return error;
    error = read_all(fd, &n);
    (void)__wasi_fd_close(fd);
    if (error)
        return error;
    printf("ok ");
    put(data, n);
    return -1;
}

static int put_file(const char *flags)
{
    __wasi_fd_t fd;
    int error = open_at(ROOT, flags, PATH(1), &fd);
    if (error)
        return error;
    error = write_word(fd, 2);
    (void)__wasi_fd_close(fd);
    return error;
}

/* race N PATH: reads it N times, and says how often it got which answer. */
static int race(void)
{
    struct { char text[64]; uint64_t count; } seen[16] = { 0 };
    size_t kinds = 0;
    uint64_t rounds = number(1);
    for (uint64_t i = 0; i < rounds; i++) {
        __wasi_fd_t fd;
        char text[64];
        size_t n = 0;
        int error = open_at(ROOT, "r", PATH(2), &fd);
        if (error == 0) {
            __wasi_iovec_t v = { data, 40 };
            __wasi_size_t got = 0;
            error = __wasi_fd_read(fd, &v, 1, &got);
            n = got;
            (void)__wasi_fd_close(fd);
        }
        if (error)
            snprintf(text, sizeof(text), "%s", name_of(error));
        else
            snprintf(text, sizeof(text), "=%.*s", (int)n, data);
        size_t k = 0;
        while (k < kinds && strcmp(seen[k].text, text) != 0)
            k++;
        if (k == kinds && kinds < 16)
            strcpy(seen[kinds++].text, text);
        if (k < 16)
            seen[k].count++;
    }
    printf("ok");
    for (size_t k = 0; k < kinds; k++) {
        putchar(' ');
        put((uint8_t *)seen[k].text, strlen(seen[k].text));
        printf(" %llu", (unsigned long long)seen[k].count);
    }
    return -1;
}

static int stat_of(int follow)
{
    __wasi_filestat_t st;
    int error = raw_stat(ROOT, follow, PATH(1), &st);
    if (error)
        return error;
    printf("ok %d %llu %llu", st.filetype, (unsigned long long)st.size, (unsigned long long)st.nlink);
    return -1;
}

static int truncate_file(void)
{
    __wasi_fd_t fd;
    int error = open_at(ROOT, "w", PATH(1), &fd);
    if (error)
        return error;
    error = __wasi_fd_filestat_set_size(fd, number(2));
    (void)__wasi_fd_close(fd);
    return error;
}

/* Operations on what `keep SLOT FLAGS PATH` opened. */
static int on_slot(const char *what)
{
    __wasi_fd_t *fd = &slots[number(1) % SLOTS];
    __wasi_filestat_t st;
    size_t n;
    int error;
    if (!strcmp(what, "keep"))
        return open_at(ROOT, (char *)words[2].bytes, PATH(3), fd);
    if (!strcmp(what, "at")) /* at SLOT FLAGS PATH: opens below a kept folder */
        return (error = open_at(*fd, (char *)words[2].bytes, PATH(3), &slots[SLOTS - 1])) ? error : __wasi_fd_close(slots[SLOTS - 1]);
    if (!strcmp(what, "read")) {
        __wasi_filesize_t where;
        error = __wasi_fd_seek(*fd, 0, __WASI_WHENCE_SET, &where);
        if (error || (error = read_all(*fd, &n)))
            return error;
        printf("ok ");
        put(data, n);
        return -1;
    }
    if (!strcmp(what, "write"))
        return write_word(*fd, 2);
    if (!strcmp(what, "seek")) {
        __wasi_filesize_t where;
        return __wasi_fd_seek(*fd, (int64_t)number(2), __WASI_WHENCE_SET, &where);
    }
    if (!strcmp(what, "size"))
        return __wasi_fd_filestat_set_size(*fd, number(2));
    if (!strcmp(what, "fstat")) {
        error = __wasi_fd_filestat_get(*fd, &st);
        if (error)
            return error;
        printf("ok %d %llu %llu", st.filetype, (unsigned long long)st.size, (unsigned long long)st.nlink);
        return -1;
    }
    if (!strcmp(what, "drop"))
        return __wasi_fd_close(*fd);
    return -2;
}

static int on_names(const char *what)
{
    if (!strcmp(what, "mkdir"))
        return raw_mkdir(ROOT, PATH(1));
    if (!strcmp(what, "rmdir"))
        return raw_rmdir(ROOT, PATH(1));
    if (!strcmp(what, "unlink"))
        return raw_unlink(ROOT, PATH(1));
    if (!strcmp(what, "rename"))
        return raw_rename(ROOT, PATH(1), ROOT, PATH(2));
    if (!strcmp(what, "link") || !strcmp(what, "linkf"))
        return raw_link(ROOT, what[4] == 'f', PATH(1), ROOT, PATH(2));
    if (!strcmp(what, "symlink")) /* symlink TARGET PATH */
        return raw_symlink(PATH(1), ROOT, PATH(2));
    if (!strcmp(what, "readlink")) {
        __wasi_size_t n = 0;
        int error = raw_readlink(ROOT, PATH(1), data, sizeof(data), &n);
        if (error)
            return error;
        printf("ok ");
        put(data, n);
        return -1;
    }
    if (!strcmp(what, "times"))
        return raw_times(ROOT, 1, PATH(1), 1000000000, 2000000000, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM);
    return -2;
}

static int on_files(const char *what)
{
    __wasi_fd_t fd;
    if (!strcmp(what, "open")) { /* open FLAGS PATH */
        int error = open_at(ROOT, (char *)words[1].bytes, PATH(2), &fd);
        return error ? error : __wasi_fd_close(fd);
    }
    if (!strcmp(what, "get"))
        return get(PATH(1), "r");
    if (!strcmp(what, "getn"))
        return get(PATH(1), "rn");
    if (!strcmp(what, "put"))
        return put_file("wct");
    if (!strcmp(what, "over"))
        return put_file("w");
    if (!strcmp(what, "append"))
        return put_file("wca");
    if (!strcmp(what, "list"))
        return list(PATH(1));
    if (!strcmp(what, "stat"))
        return stat_of(1);
    if (!strcmp(what, "lstat"))
        return stat_of(0);
    if (!strcmp(what, "truncate"))
        return truncate_file();
    if (!strcmp(what, "race"))
        return race();
    return -2;
}

/* No operation of files: streams, arguments, clock, random bytes, as WASI 0.1 has them. */
static int on_others(const char *what)
{
    if (!strcmp(what, "out") || !strcmp(what, "err"))
        return write_word(what[0] == 'o' ? 1 : 2, 1);
    if (!strcmp(what, "in")) {
        size_t n;
        int error = read_all(0, &n);
        if (error)
            return error;
        printf("ok ");
        put(data, n);
        return -1;
    }
    if (!strcmp(what, "clock")) {
        __wasi_timestamp_t t;
        int error = __wasi_clock_time_get(__WASI_CLOCKID_REALTIME, 1, &t);
        if (error)
            return error;
        printf("ok %llu", (unsigned long long)t);
        return -1;
    }
    if (!strcmp(what, "random")) {
        int error = __wasi_random_get(data, 16);
        if (error)
            return error;
        printf("ok ");
        put(data, 16);
        return -1;
    }
    return -2;
}

static int operation(void)
{
    const char *what = (char *)words[0].bytes;
    int result = on_files(what);
    if (result == -2)
        result = on_names(what);
    if (result == -2)
        result = on_slot(what);
    if (result == -2)
        result = on_others(what);
    if (result == -2)
        printf("unknown");
    else if (result >= 0)
        printf("%s", name_of(result));
    putchar('\n');
    return result == -1 ? 0 : result;
}

static void take(char *text)
{
    if (word_count < WORDS) {
        words[word_count] = unescape(text);
        words[word_count].bytes[words[word_count].size] = 0;
        word_count++;
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            take(argv[i]);
        return operation();
    }
    while (fgets(line, sizeof(line), stdin)) {
        memset(words, 0, sizeof(words));
        word_count = 0;
        for (char *at = strtok(line, " \n"); at; at = strtok(NULL, " \n"))
            take(at);
        if (word_count > 0)
            (void)operation();
    }
    return 0;
}
