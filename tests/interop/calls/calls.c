// SPDX-License-Identifier: Apache-2.0
// Executes scripts of host calls and writes down what each of them answered: the guest of generated sequences (sequences.py).
//
// The script is standard input, a call a line: its name, then numbers and strings in hexadecimal. A line "= NAME" begins a new
// sequence in a folder of that name; all descriptors of the one before are closed. Nothing in a transcript may depend on the
// moment or the machine: of clocks only the order is written, of random bytes that two draws differ, of files no inode, device
// or time that was not set here; names of a folder are sorted.
//
// It speaks WASI 0.1 without a C library in between; the adapter turns each call into calls of WASI 0.2.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#define SLOTS 8
#define ROOT 3
#define READING (__WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_READDIR)
static int slots[SLOTS]; // descriptors; -1 = none
static char *words[16];
static size_t word_count;
static uint8_t buffer[1 << 17];

static long number(size_t i)
{
    return i < word_count ? strtol(words[i], NULL, 10) : 0;
}

static uint64_t large(size_t i)
{
    return i < word_count ? strtoull(words[i], NULL, 10) : 0;
}

static int slot(size_t i)
{
    long n = number(i);
    return n < 0 ? ROOT : slots[n % SLOTS];
}

// Hexadecimal → text of its own; "-" is empty.
static const char *text(size_t i)
{
    static char made[4][4096];
    static int next;
    char *out = made[next = (next + 1) % 4];
    const char *hex = i < word_count ? words[i] : "-";
    size_t size = 0;
    for (; hex[0] && hex[0] != '-' && hex[1] && size < sizeof made[0] - 1; hex += 2)
        out[size++] = (char)strtol((char[]){ hex[0], hex[1], 0 }, NULL, 16);
    out[size] = 0;
    return out;
}

static uint32_t checksum(const uint8_t *p, size_t size)
{
    uint32_t sum = 2166136261u;
    while (size-- > 0)
        sum = (sum ^ *p++) * 16777619u;
    return sum;
}

static void answer(__wasi_errno_t error)
{
    printf(" %u", error);
}

static void stat_shown(const __wasi_filestat_t *s, bool times)
{
    printf(" type %u links %llu", s->filetype, s->nlink);
    if (s->filetype == __WASI_FILETYPE_REGULAR_FILE)
        printf(" size %llu", s->size);
    if (times)
        printf(" accessed %llu modified %llu", s->atim, s->mtim);
}

static void call_open(void)
{
    __wasi_fd_t fd;
    __wasi_rights_t rights = large(4);
    long at = number(0) % SLOTS;
    __wasi_errno_t error =
        __wasi_path_open(slot(1), number(6), text(2), number(3), rights, rights, number(5), &fd);
    answer(error);
    if (error == 0) {
        if (slots[at] >= 0)
            answer(__wasi_fd_close(slots[at]));
        slots[at] = (int)fd;
    }
}

static void call_close(void)
{
    int fd = slot(0);
    answer(__wasi_fd_close(fd));
    slots[number(0) % SLOTS] = -1;
}

// Until all is read, the end is reached or an error: how much one call gives is the host's own affair.
static void call_read(bool at_offset)
{
    size_t size = (size_t)number(1) % sizeof buffer, done = 0;
    uint64_t offset = large(2);
    __wasi_errno_t error;
    __wasi_size_t got;
    do {
        got = 0;
        __wasi_iovec_t v = { buffer + done, size - done };
        error = at_offset ? __wasi_fd_pread(slot(0), &v, 1, offset + done, &got)
                          : __wasi_fd_read(slot(0), &v, 1, &got);
        done += error == 0 ? got : 0;
    } while (error == 0 && got > 0 && done < size);
    answer(error);
    if (error == 0)
        printf(" %zu bytes %08x", done, checksum(buffer, done));
}

// Until all is written or nothing is: how much one call takes is the host's own affair.
static void call_write(bool at_offset)
{
    size_t size = (size_t)number(1) % sizeof buffer, done = 0;
    uint64_t offset = large(2);
    for (size_t i = 0; i < size; i++)
        buffer[i] = (uint8_t)(i * 7 + (size_t)number(3));
    __wasi_errno_t error;
    do {
        __wasi_size_t got = 0;
        __wasi_ciovec_t v = { buffer + done, size - done };
        error = at_offset ? __wasi_fd_pwrite(slot(0), &v, 1, offset + done, &got)
                          : __wasi_fd_write(slot(0), &v, 1, &got);
        done += error == 0 ? got : 0;
        if (error == 0 && got == 0)
            break;
    } while (error == 0 && done < size);
    answer(error);
    if (error == 0)
        printf(" %zu written", done);
}

static void call_seek(void)
{
    __wasi_filesize_t at;
    __wasi_errno_t error = __wasi_fd_seek(slot(0), (__wasi_filedelta_t)strtoll(words[1], NULL, 10),
                                          (__wasi_whence_t)number(2), &at);
    answer(error);
    if (error == 0)
        printf(" at %llu", at);
}

static void call_tell(void)
{
    __wasi_filesize_t at;
    __wasi_errno_t error = __wasi_fd_tell(slot(0), &at);
    answer(error);
    if (error == 0)
        printf(" at %llu", at);
}

static void call_stat(void)
{
    __wasi_filestat_t s;
    __wasi_errno_t error = __wasi_fd_filestat_get(slot(0), &s);
    answer(error);
    if (error == 0)
        stat_shown(&s, false);
}

static bool both_times(long flags)
{
    return flags == (__WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM);
}

static void call_set_times(void)
{
    __wasi_filestat_t s;
    __wasi_errno_t error = __wasi_fd_filestat_set_times(slot(0), large(1), large(2), number(3));
    answer(error);
    if (error == 0 && both_times(number(3)) && __wasi_fd_filestat_get(slot(0), &s) == 0)
        stat_shown(&s, true);
}

static void call_path_times(void)
{
    __wasi_filestat_t s;
    __wasi_errno_t error =
        __wasi_path_filestat_set_times(slot(0), number(1), text(2), large(3), large(4), number(5));
    answer(error);
    if (error == 0 && both_times(number(5)) &&
        __wasi_path_filestat_get(slot(0), number(1), text(2), &s) == 0)
        stat_shown(&s, true);
}

static void call_path_stat(void)
{
    __wasi_filestat_t s;
    __wasi_errno_t error = __wasi_path_filestat_get(slot(0), number(1), text(2), &s);
    answer(error);
    if (error == 0)
        stat_shown(&s, false);
}

static void call_fdstat(void)
{
    __wasi_fdstat_t s;
    __wasi_errno_t error = __wasi_fd_fdstat_get(slot(0), &s);
    answer(error);
    if (error == 0)
        printf(" type %u flags %u", s.fs_filetype, s.fs_flags);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void call_readdir(void)
{
    char *names[512];
    size_t count = 0;
    __wasi_dircookie_t cookie = 0;
    __wasi_errno_t error;
    __wasi_size_t used = 0, size = (__wasi_size_t)(512 + number(1) % 4096);
    do {
        error = __wasi_fd_readdir(slot(0), buffer, size, cookie, &used);
        size_t at = 0;
        while (error == 0 && at + sizeof(__wasi_dirent_t) <= used) {
            __wasi_dirent_t entry;
            memcpy(&entry, buffer + at, sizeof entry);
            at += sizeof entry;
            if (at + entry.d_namlen > used)
                break;
            if (count < 512)
                asprintf(&names[count++], "%.*s:%u", (int)entry.d_namlen, (char *)buffer + at,
                         entry.d_type);
            at += entry.d_namlen;
            cookie = entry.d_next;
        }
    } while (error == 0 && used == size);
    answer(error);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
}

static void call_readlink(void)
{
    __wasi_size_t got;
    __wasi_errno_t error = __wasi_path_readlink(slot(0), text(1), buffer,
                                                number(2) ? (__wasi_size_t)number(2) : 4096, &got);
    answer(error);
    if (error == 0)
        printf(" %.*s", (int)got, (char *)buffer);
}

static void call_clock(void)
{
    __wasi_timestamp_t a = 0, b = 0, resolution = 0;
    __wasi_clockid_t id = (__wasi_clockid_t)number(0);
    answer(__wasi_clock_time_get(id, 1, &a));
    answer(__wasi_clock_time_get(id, 1, &b));
    answer(__wasi_clock_res_get(id, &resolution));
    printf(" %s %s", b >= a ? "forward" : "backward", resolution > 0 ? "resolution" : "none");
}

static void call_random(void)
{
    size_t size = (size_t)number(0) % (sizeof buffer / 2);
    memset(buffer, 0, sizeof buffer);
    answer(__wasi_random_get(buffer, size));
    answer(__wasi_random_get(buffer + size, size));
    printf(" %s %u", size < 8 || memcmp(buffer, buffer + size, size) ? "differ" : "SAME",
           buffer[2 * size]);
}

// A timer, and standard output where asked: which of them came, and that the timer took its time.
static void call_poll(void)
{
    __wasi_timestamp_t before, after, wait = (__wasi_timestamp_t)number(0) * 1000000;
    __wasi_subscription_t subscriptions[2] = { { .userdata = 1, .u.tag = __WASI_EVENTTYPE_CLOCK },
                                               { .userdata = 2,
                                                 .u.tag = __WASI_EVENTTYPE_FD_WRITE } };
    subscriptions[0].u.u.clock =
        (__wasi_subscription_clock_t){ .id = __WASI_CLOCKID_MONOTONIC, .timeout = wait };
    subscriptions[1].u.u.fd_write.file_descriptor = 1;
    __wasi_event_t events[2];
    __wasi_size_t count = 0;
    (void)!__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &before);
    __wasi_errno_t error = __wasi_poll_oneoff(subscriptions, events, number(1) ? 2 : 1, &count);
    (void)!__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &after);
    answer(error);
    bool timer = false, output = false;
    for (size_t i = 0; error == 0 && i < count; i++) {
        timer |= events[i].userdata == 1;
        output |= events[i].userdata == 2;
    }
    if (number(1)) // the output is ready at once; the timer may be, too
        printf(" output %d", output);
    else
        printf(" timer %d %s", timer, after - before >= wait ? "waited" : "EARLY");
}

static void call_arguments(void)
{
    __wasi_size_t count, size;
    answer(__wasi_args_sizes_get(&count, &size));
    printf(" %zu arguments", count > 0 ? count - 1 : 0);
    answer(__wasi_environ_sizes_get(&count, &size));
    printf(" %zu variables %zu", count, size);
}

static void call_output(void)
{
    fflush(stdout);
    const char *s = text(1);
    __wasi_size_t got = 0;
    __wasi_ciovec_t v = { (const uint8_t *)s, strlen(s) };
    __wasi_errno_t error = __wasi_fd_write((__wasi_fd_t)number(0), &v, 1, &got);
    printf("\n ");
    answer(error);
    printf(" %zu", got);
}

static void call_renumber(void)
{
    int from = slot(0), to = slot(1);
    __wasi_errno_t error = __wasi_fd_renumber(from, to);
    answer(error);
    if (error == 0 && from != to)
        slots[number(0) % SLOTS] = -1;
}

static bool call_file(const char *name)
{
    if (!strcmp(name, "open"))
        call_open();
    else if (!strcmp(name, "close"))
        call_close();
    else if (!strcmp(name, "read") || !strcmp(name, "pread"))
        call_read(name[0] == 'p');
    else if (!strcmp(name, "write") || !strcmp(name, "pwrite"))
        call_write(name[0] == 'p');
    else if (!strcmp(name, "seek"))
        call_seek();
    else if (!strcmp(name, "tell"))
        call_tell();
    else if (!strcmp(name, "stat"))
        call_stat();
    else if (!strcmp(name, "fdstat"))
        call_fdstat();
    else if (!strcmp(name, "setsize"))
        answer(__wasi_fd_filestat_set_size(slot(0), large(1)));
    else if (!strcmp(name, "settimes"))
        call_set_times();
    else if (!strcmp(name, "allocate"))
        answer(__wasi_fd_allocate(slot(0), large(1), large(2)));
    else if (!strcmp(name, "advise"))
        answer(__wasi_fd_advise(slot(0), large(1), large(2), number(3)));
    else if (!strcmp(name, "sync"))
        answer(number(1) ? __wasi_fd_sync(slot(0)) : __wasi_fd_datasync(slot(0)));
    else if (!strcmp(name, "setflags"))
        answer(__wasi_fd_fdstat_set_flags(slot(0), number(1)));
    else if (!strcmp(name, "readdir"))
        call_readdir();
    else if (!strcmp(name, "renumber"))
        call_renumber();
    else
        return false;
    return true;
}

static bool call_path(const char *name)
{
    if (!strcmp(name, "pathstat"))
        call_path_stat();
    else if (!strcmp(name, "pathtimes"))
        call_path_times();
    else if (!strcmp(name, "mkdir"))
        answer(__wasi_path_create_directory(slot(0), text(1)));
    else if (!strcmp(name, "rmdir"))
        answer(__wasi_path_remove_directory(slot(0), text(1)));
    else if (!strcmp(name, "unlink"))
        answer(__wasi_path_unlink_file(slot(0), text(1)));
    else if (!strcmp(name, "rename"))
        answer(__wasi_path_rename(slot(0), text(1), slot(2), text(3)));
    else if (!strcmp(name, "link"))
        answer(__wasi_path_link(slot(0), number(4), text(1), slot(2), text(3)));
    else if (!strcmp(name, "symlink"))
        answer(__wasi_path_symlink(text(0), slot(1), text(2)));
    else if (!strcmp(name, "readlink"))
        call_readlink();
    else
        return false;
    return true;
}

static bool call_other(const char *name)
{
    if (!strcmp(name, "clock"))
        call_clock();
    else if (!strcmp(name, "random"))
        call_random();
    else if (!strcmp(name, "poll"))
        call_poll();
    else if (!strcmp(name, "arguments"))
        call_arguments();
    else if (!strcmp(name, "yield"))
        answer(__wasi_sched_yield());
    else if (!strcmp(name, "output"))
        call_output();
    else
        return false;
    return true;
}

static void begin(const char *name)
{
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i] >= 0)
            (void)!__wasi_fd_close(slots[i]);
        slots[i] = -1;
    }
    __wasi_fd_t fd;
    __wasi_errno_t made = __wasi_path_create_directory(ROOT, name);
    __wasi_errno_t opened =
        __wasi_path_open(ROOT, 0, name, __WASI_OFLAGS_DIRECTORY, READING, READING, 0, &fd);
    printf("= %s %u %u", name, made, opened);
    if (opened == 0)
        slots[0] = (int)fd; // slot 0 is the sequence's own folder
}

int main(void)
{
    static char line[8192];
    size_t count = 0;
    for (int i = 0; i < SLOTS; i++)
        slots[i] = -1;
    while (fgets(line, sizeof line, stdin)) {
        char *rest = line, *name = strtok_r(line, " \n", &rest);
        if (name == NULL)
            continue;
        for (word_count = 0; word_count < 16; word_count++) {
            if ((words[word_count] = strtok_r(NULL, " \n", &rest)) == NULL)
                break;
        }
        if (!strcmp(name, "=")) {
            begin(words[0]);
            count = 0;
        } else {
            printf("%zu %s", ++count, name);
            if (!call_file(name) && !call_path(name) && !call_other(name))
                return 9;
        }
        putchar('\n');
#ifdef DIFFERENT_ANSWER
        if (count == 5)
            puts("one line more");
#endif
    }
    return 0;
}
