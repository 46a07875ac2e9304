/* SPDX-License-Identifier: Apache-2.0 */
/* The code cache with a made-up compiler: what is served, what is noticed, what is thrown away. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "control/cache.h"
#include "control/state.h"
#include "test.h"

static char folder[] = "/tmp/ambit-test-cache-XXXXXX";
static int dir = -1;
/* Shared with children: how often the compiler ran, and whether it dawdles. */
static struct shared {
    int compiled;
    int slow_ms;
    int refuse;
    int lie;
} * shared;

static int made_up(void *context, int input_fd, int output_fd, cache_progress progress,
                   void *progress_context, struct cache_made *ret, struct error *e)
{
    struct stat st;
    CLEANUP(buf_done) struct buf code = BUF_INIT(1u << 20);
    __atomic_add_fetch(&shared->compiled, 1, __ATOMIC_SEQ_CST);
    if (shared->refuse != 0) {
        (void)error_set(e, -ENOEXEC, "no such luck");
        return shared->refuse;
    }
    if ((fcntl(input_fd, F_GET_SEALS) & F_SEAL_WRITE) == 0 || fstat(input_fd, &st) < 0)
        return error_set(e, -EINVAL, "the input is not sealed");
    usleep((useconds_t)shared->slow_ms * 1000);
    void *input = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, input_fd, 0);
    if (input == MAP_FAILED)
        return error_set_errno(e, errno, "mmap");
    buf_puts(&code, "code of ");
    buf_append(&code, input, (size_t)st.st_size);
    (void)munmap(input, (size_t)st.st_size);
    int r = output_fd < 0 ? 0 : file_write_fd(output_fd, code.data, code.size, e);
    if (r < 0)
        return r;
    ret->code_size = code.size + (unsigned)shared->lie;
    ret->description = mem_strdup("{\"kind\":\"component\"}");
    return ret->description != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
}

static struct cache *open_cache(uint8_t compatibility)
{
    struct error e = ERROR_INIT;
    struct cache *c = NULL;
    struct cache_config config = { .dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                   .max_bytes = 1 << 20,
                                   .compile = made_up };
    memset(config.compatibility, compatibility, sizeof(config.compatibility));
    if (cache_new(&config, &c, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return c;
}

/* A fresh folder and a fresh count for each test. */
static void begin(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (shared == NULL)
        shared =
            mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *shared = (struct shared){ 0 };
}

static void end(void)
{
    char command[128];
    fd_closep(&dir);
    (void)snprintf(command, sizeof(command), "rm -r '%s'", folder);
    CHECK_EQ(system(command), 0);
}

/* A component file; `old`: at rest for an hour, so that its identity may stand for its digest. */
static int component(const char *name, const char *text, bool old)
{
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct timespec times[2] = { { .tv_sec = time(NULL) - 3600 }, { .tv_sec = time(NULL) - 3600 } };
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    if (old)
        CHECK_EQ(futimens(fd, times), 0);
    return fd;
}

/* cache_get and what it served, checked: the code must be that of `text`. */
static struct cache_entry get(struct cache *c, int fd, const char *text)
{
    struct error e = ERROR_INIT;
    struct cache_entry entry = { .code_fd = -1 };
    char code[256] = "", wanted[256];
    int r = cache_get(c, fd, false, NULL, NULL, &entry, &e);
    if (r != 0)
        test_fail(__FILE__, __LINE__, "cache_get is %d: %s", r, e.what);
    (void)snprintf(wanted, sizeof(wanted), "code of %s", text);
    CHECK(pread(entry.code_fd, code, sizeof(code) - 1, 0) > 0);
    CHECK_STR(code, wanted);
    CHECK_EQ(entry.code_size, strlen(wanted));
    CHECK_EQ(entry.component_size, strlen(text));
    CHECK_STR(entry.description, "{\"kind\":\"component\"}");
    CHECK(write(entry.code_fd, "x", 1) < 0); /* read-only */
    return entry;
}

static bool get_hits(struct cache *c, int fd, const char *text)
{
    struct cache_entry entry = get(c, fd, text);
    bool hit = entry.hit;
    cache_entry_done(&entry);
    return hit;
}

/* The one file in the cache with this suffix. */
static void the_file(const char *suffix, char ret[static 128])
{
    char command[256];
    (void)snprintf(command, sizeof(command), "ls '%s' | grep '%s$'", folder, suffix);
    FILE *p = popen(command, "r");
    CHECK(p != NULL && fgets(ret, 128, p) != NULL);
    ret[strcspn(ret, "\n")] = '\0';
    CHECK(fgetc(p) == EOF);
    (void)pclose(p);
}

static unsigned files_like(const char *pattern)
{
    char command[256];
    unsigned n = 0;
    (void)snprintf(command, sizeof(command), "ls -a '%s' | grep -c '%s'", folder, pattern);
    FILE *p = popen(command, "r");
    CHECK(p != NULL && fscanf(p, "%u", &n) == 1);
    (void)pclose(p);
    return n;
}

TEST(a_component_is_compiled_once)
{
    begin();
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", false), same = component("b.wasm", "one", false), pipes[2];
    CHECK(!get_hits(c, fd, "one"));
    CHECK(get_hits(c, fd, "one"));
    CHECK(get_hits(c, same, "one"));
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(write(pipes[1], "one", 3), 3);
    close(pipes[1]);
    CHECK(get_hits(c, pipes[0], "one"));
    CHECK_EQ(shared->compiled, 1);
    CHECK_EQ(files_like("^.tmp"), 0);
    /* Another engine has entries of its own. */
    struct cache *other = open_cache(2);
    CHECK(!get_hits(other, fd, "one"));
    CHECK_EQ(shared->compiled, 2);
    cache_free(other);
    cache_free(c);
    close(fd), close(same), close(pipes[0]);
    end();
}

TEST(a_changed_component_is_another)
{
    begin();
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", true);
    CHECK(!get_hits(c, fd, "one"));
    CHECK(get_hits(c, fd, "one"));
    close(fd);
    fd = component("a.wasm", "two", false);
    CHECK(!get_hits(c, fd, "two"));
    close(fd);
    /* The same size and the times put back: the change time tells. */
    fd = component("a.wasm", "six", true);
    CHECK(!get_hits(c, fd, "six"));
    CHECK_EQ(shared->compiled, 3);
    close(fd);
    cache_free(c);
    end();
}

TEST(an_identity_counts_only_at_rest)
{
    begin();
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", false); /* written just now */
    CHECK(!get_hits(c, fd, "one"));
    CHECK(get_hits(c, fd, "one"));
    char command[128];
    (void)snprintf(command, sizeof(command), "test -z \"$(ls '%s/sources')\"", folder);
    CHECK_EQ(system(command), 0);
    close(fd);
    cache_free(c);
    end();
}

TEST(corrupt_code_is_noticed_and_made_again)
{
    begin();
    char name[128];
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", false);
    CHECK(!get_hits(c, fd, "one"));
    the_file("[.]code", name);
    CHECK_EQ(fchmodat(dir, name, 0600, 0), 0);
    int code = openat(dir, name, O_WRONLY);
    CHECK_EQ(pwrite(code, "C", 1, 0), 1);
    close(code);
    CHECK_EQ(fchmodat(dir, name, 0400, 0), 0);
    struct cache_entry entry = get(c, fd, "one");
    CHECK(!entry.hit);
    CHECK_HAS(entry.evicted, "digest differs");
    cache_entry_done(&entry);
    CHECK_EQ(shared->compiled, 2);
    CHECK(get_hits(c, fd, "one"));
    /* Gone altogether. */
    the_file("[.]code", name);
    CHECK_EQ(unlinkat(dir, name, 0), 0);
    entry = get(c, fd, "one");
    CHECK_HAS(entry.evicted, "gone");
    cache_entry_done(&entry);
    /* Writable by others: not ours alone, so not used. */
    the_file("[.]code", name);
    CHECK_EQ(fchmodat(dir, name, 0622, 0), 0);
    entry = get(c, fd, "one");
    CHECK_HAS(entry.evicted, "others may write");
    cache_entry_done(&entry);
    CHECK_EQ(shared->compiled, 4);
    close(fd);
    cache_free(c);
    end();
}

TEST(changed_times_cost_a_hash_and_no_compilation)
{
    begin();
    char name[128];
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", false);
    CHECK(!get_hits(c, fd, "one"));
    the_file("[.]code", name);
    CHECK_EQ(utimensat(dir, name, (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0), 0);
    struct cache_entry entry = get(c, fd, "one");
    CHECK(entry.hit);
    CHECK_STR(entry.evicted, "");
    cache_entry_done(&entry);
    /* A copy put in its place (a restored backup): another inode, the same bytes. */
    char command[512];
    (void)snprintf(command, sizeof(command), "cd '%s' && cp -p %s copy && mv -f copy %s", folder,
                   name, name);
    CHECK_EQ(system(command), 0);
    CHECK(get_hits(c, fd, "one"));
    CHECK(get_hits(c, fd, "one"));
    CHECK_EQ(shared->compiled, 1);
    close(fd);
    cache_free(c);
    end();
}

/* Every byte of the record, changed: never served, never a crash. */
TEST(a_tampered_record_is_thrown_away)
{
    begin();
    char name[128];
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", false);
    CHECK(!get_hits(c, fd, "one"));
    the_file("[.]entry", name);
    struct stat st;
    CHECK_EQ(fstatat(dir, name, &st, 0), 0);
    for (off_t at = 0; at < st.st_size; at++) {
        uint8_t byte;
        int record = openat(dir, name, O_RDWR);
        CHECK(record >= 0 && pread(record, &byte, 1, at) == 1);
        byte ^= 1;
        CHECK_EQ(pwrite(record, &byte, 1, at), 1);
        close(record);
        struct cache_entry entry = get(c, fd, "one");
        CHECK(!entry.hit);
        CHECK_HAS(entry.evicted, "MAC differs");
        cache_entry_done(&entry);
    }
    for (off_t size = 0; size < st.st_size; size += 16) {
        int record = openat(dir, name, O_RDWR);
        CHECK_EQ(ftruncate(record, size), 0);
        close(record);
        CHECK(!get_hits(c, fd, "one"));
    }
    /* A good record under another's name. */
    int other = component("b.wasm", "two", false);
    CHECK(get_hits(c, fd, "one"));
    CHECK(!get_hits(c, other, "two"));
    char command[512];
    (void)snprintf(command, sizeof(command),
                   "cd '%s' && set -- *.entry && cp $1 x && cp $2 $1 && cp x $2 && set -- *.code "
                   "&& cp $1 x && cp -f $2 $1 && cp -f x $2",
                   folder);
    CHECK_EQ(system(command), 0);
    CHECK(!get_hits(c, fd, "one"));
    CHECK(!get_hits(c, other, "two"));
    close(fd), close(other);
    cache_free(c);
    end();
}

TEST(a_tampered_source_index_is_ignored)
{
    begin();
    struct cache *c = open_cache(1);
    int one = component("a.wasm", "one", true), two = component("b.wasm", "two", true);
    char command[512];
    /* Their change times are of now; two seconds later they are at rest. */
    sleep(3);
    CHECK(!get_hits(c, one, "one"));
    CHECK(!get_hits(c, two, "two"));
    (void)snprintf(command, sizeof(command),
                   "cd '%s/sources' && set -- * && test $# = 2 && cp $1 x && mv $2 $1 && mv x $2",
                   folder);
    CHECK_EQ(system(command), 0);
    CHECK(get_hits(c, one, "one"));
    CHECK(get_hits(c, two, "two"));
    (void)snprintf(command, sizeof(command),
                   "cd '%s/sources' && for f in *; do printf x >> $f; done", folder);
    CHECK_EQ(system(command), 0);
    CHECK(get_hits(c, one, "one"));
    CHECK_EQ(shared->compiled, 2);
    close(one), close(two);
    cache_free(c);
    end();
}

TEST(twenty_at_once_compile_once)
{
    begin();
    int fd = component("a.wasm", "one", false);
    shared->slow_ms = 100;
    cache_free(open_cache(1));
    for (int i = 0; i < 20; i++)
        if (fork() == 0) {
            struct error e = ERROR_INIT;
            struct cache_entry entry = { .code_fd = -1 };
            char code[64] = "";
            struct cache *c = open_cache(1);
            int r = cache_get(c, fd, false, NULL, NULL, &entry, &e);
            _exit(r == 0 && pread(entry.code_fd, code, 63, 0) > 0 &&
                          strcmp(code, "code of one") == 0
                      ? 0
                      : 1);
        }
    for (int i = 0, status; i < 20; i++) {
        CHECK(wait(&status) > 0);
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(shared->compiled, 1);
    CHECK_EQ(files_like("[.]code$"), 1);
    CHECK_EQ(files_like("^.tmp"), 0);
    close(fd);
    end();
}

/* Many processes that compile, evict and clean at once: everyone gets the right code. */
TEST(a_crowd_does_not_corrupt)
{
    begin();
    int fds[3] = { component("a.wasm", "one", false), component("b.wasm", "two", true),
                   component("c.wasm", "six", false) };
    const char *texts[3] = { "one", "two", "six" };
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            struct cache *c = open_cache(1);
            size_t removed;
            uint64_t freed;
            for (int n = 0; n < 150; n++) {
                struct error e = ERROR_INIT;
                if (n % 5 == i % 5 && cache_gc(c, 0, NULL, &removed, &freed, &e) < 0)
                    _exit(2);
                struct cache_entry entry = { .code_fd = -1 };
                char code[64] = "", wanted[64];
                int which = (n + i) % 3,
                    r = cache_get(c, fds[which], false, NULL, NULL, &entry, &e);
                (void)snprintf(wanted, sizeof(wanted), "code of %s", texts[which]);
                if (r != 0 || pread(entry.code_fd, code, 63, 0) < 0 || strcmp(code, wanted) != 0) {
                    fprintf(stderr, "%d %s\n", r, e.what);
                    _exit(1);
                }
                cache_entry_done(&entry);
            }
            _exit(0);
        }
    for (int i = 0, status; i < 8; i++) {
        CHECK(wait(&status) > 0);
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(files_like("^.tmp"), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    end();
}

TEST(a_description_needs_no_code_and_never_replaces_it)
{
    begin();
    struct error e = ERROR_INIT;
    struct cache *c = open_cache(1);
    struct cache_entry entry;
    int fd = component("a.wasm", "one", false);
    CHECK_EQ(cache_get(c, fd, true, NULL, NULL, &entry, &e), 0);
    CHECK(entry.code_fd == -1 && !entry.hit && entry.description != NULL);
    cache_entry_done(&entry);
    CHECK_EQ(cache_get(c, fd, true, NULL, NULL, &entry, &e), 0);
    CHECK(entry.hit);
    cache_entry_done(&entry);
    CHECK_EQ(shared->compiled, 1);
    CHECK(!get_hits(c, fd, "one"));
    CHECK_EQ(cache_get(c, fd, true, NULL, NULL, &entry, &e), 0);
    CHECK(entry.hit);
    cache_entry_done(&entry);
    CHECK(get_hits(c, fd, "one"));
    CHECK_EQ(shared->compiled, 2);
    close(fd);
    cache_free(c);
    end();
}

TEST(refusals_and_lies_leave_nothing)
{
    begin();
    struct cache *c = open_cache(1);
    struct cache_entry entry;
    int fd = component("a.wasm", "one", false);
    for (int outcome = CACHE_REFUSED; outcome <= CACHE_LIMIT; outcome++) {
        struct error e = ERROR_INIT;
        shared->refuse = outcome;
        CHECK_EQ(cache_get(c, fd, false, NULL, NULL, &entry, &e), outcome);
        CHECK_STR(e.what, "no such luck");
    }
    struct error e = ERROR_INIT;
    shared->refuse = 0;
    shared->lie = 1;
    CHECK_EQ(cache_get(c, fd, false, NULL, NULL, &entry, &e), -EPROTO);
    CHECK_EQ(files_like("[.]code$"), 0);
    CHECK_EQ(files_like("[.]entry$"), 0);
    CHECK_EQ(files_like("^.tmp"), 0);
    close(fd);
    cache_free(c);
    end();
}

TEST(cleaning_keeps_what_was_used_last)
{
    begin();
    struct error e = ERROR_INIT;
    struct cache *c = open_cache(1), *old = open_cache(9);
    struct cache_list list;
    int fds[3] = { component("a.wasm", "one", false), component("b.wasm", "two", false),
                   component("c.wasm", "six", false) };
    CHECK(!get_hits(old, fds[0], "one"));
    CHECK(!get_hits(c, fds[0], "one"));
    usleep(20000);
    CHECK(!get_hits(c, fds[1], "two"));
    usleep(20000);
    CHECK(!get_hits(c, fds[2], "six"));
    CHECK_EQ(cache_list(c, true, NULL, NULL, &list, &e), 0);
    CHECK_EQ(list.count, 4);
    CHECK(list.items[0].current && !list.items[3].current && !list.items[0].bad);
    CHECK_EQ(list.items[0].code_size, strlen("code of six"));
    uint64_t each = list.items[0].bytes;
    CHECK_EQ(list.bytes, 4 * each);
    cache_list_done(&list);
    /* Leftovers of an hour ago go, those of now stay. */
    CHECK(system(NULL) != 0);
    close(openat(dir, ".tmp-old", O_CREAT | O_WRONLY, 0600));
    CHECK_EQ(utimensat(dir, ".tmp-old", (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0), 0);
    close(openat(dir, ".tmp-new", O_CREAT | O_WRONLY, 0600));
    size_t removed;
    uint64_t freed;
    CHECK_EQ(cache_gc(c, 2 * each, NULL, &removed, &freed, &e), 0);
    CHECK_EQ(removed, 3); /* the leftover, the other engine's, the one used longest ago */
    CHECK_EQ(freed, 2 * each);
    CHECK_EQ(files_like("^.tmp"), 1);
    CHECK(get_hits(c, fds[2], "six"));
    CHECK(get_hits(c, fds[1], "two"));
    CHECK(!get_hits(c, fds[0], "one"));
    CHECK_EQ(cache_gc(c, 0, NULL, &removed, &freed, &e), 0);
    CHECK_EQ(removed, 3);
    CHECK_EQ(files_like("[.]code$"), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    cache_free(c);
    cache_free(old);
    end();
}

TEST(a_full_check_finds_what_identity_does_not)
{
    begin();
    struct error e = ERROR_INIT;
    struct cache *c = open_cache(1);
    struct cache_list list;
    char name[128];
    int fd = component("a.wasm", "one", false);
    CHECK(!get_hits(c, fd, "one"));
    the_file("[.]code", name);
    CHECK_EQ(fchmodat(dir, name, 0600, 0), 0);
    int code = openat(dir, name, O_WRONLY);
    CHECK_EQ(pwrite(code, "C", 1, 0), 1);
    close(code);
    CHECK_EQ(cache_list(c, false, NULL, NULL, &list, &e), 0);
    CHECK(list.count == 1 &&
          !list.items[0].bad); /* the negative control: a look at records alone */
    cache_list_done(&list);
    CHECK_EQ(cache_list(c, true, NULL, NULL, &list, &e), 0);
    CHECK(list.count == 1 && list.items[0].bad);
    CHECK_HAS(list.items[0].why, "digest differs");
    CHECK_EQ(cache_evict(c, list.items[0].key, &e), 0);
    cache_list_done(&list);
    CHECK(!get_hits(c, fd, "one"));
    close(fd);
    cache_free(c);
    end();
}

TEST(a_foreign_key_file_is_an_error)
{
    begin();
    struct error e = ERROR_INIT;
    struct cache *c = NULL;
    int fd = openat(dir, "key", O_CREAT | O_WRONLY, 0600);
    CHECK_EQ(write(fd, "short", 5), 5);
    close(fd);
    struct cache_config config = { .dir_fd = open(folder, O_RDONLY | O_DIRECTORY),
                                   .compile = made_up };
    CHECK_EQ(cache_new(&config, &c, &e), -EBADMSG);
    end();
}

TEST(the_state_folder_is_found_and_private)
{
    begin();
    struct error e = ERROR_INIT;
    char *path = NULL, below[64];
    int fd = -1;
    struct stat st;
    (void)snprintf(below, sizeof(below), "%s/deep/er", folder);
    setenv("AMBIT_STATE_DIR", below, 1);
    CHECK_EQ(state_path(&path, &e), 0);
    CHECK_STR(path, below);
    mem_free(path);
    CHECK_EQ(state_open("cache", &fd, &e), 0);
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0700);
    close(fd);
    CHECK_EQ(chmod(below, 0755), 0);
    CHECK_EQ(state_open("cache", &fd, &e), -EPERM);
    error_clear(&e);
    setenv("AMBIT_STATE_DIR", "relative", 1);
    CHECK_EQ(state_path(&path, &e), -EINVAL);
    unsetenv("AMBIT_STATE_DIR");
    setenv("XDG_STATE_HOME", "/x", 1);
    CHECK_EQ(state_path(&path, NULL), 0);
    CHECK_STR(path, "/x/ambit");
    mem_free(path);
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", "/h", 1);
    CHECK_EQ(state_path(&path, NULL), 0);
    CHECK_STR(path, "/h/.local/state/ambit");
    mem_free(path);
    end();
}

static int hit_and_done(struct cache *c, int fd)
{
    struct error e = ERROR_INIT;
    struct cache_entry entry;
    int r = cache_get(c, fd, false, NULL, NULL, &entry, &e);
    if (r == 0)
        cache_entry_done(&entry);
    return r;
}

TEST(no_memory_is_said_and_nothing_leaks)
{
    begin();
    struct cache *c = open_cache(1);
    int fd = component("a.wasm", "one", false);
    CHECK(!get_hits(c, fd, "one"));
    TORTURE(hit_and_done(c, fd));
    close(fd);
    cache_free(c);
    end();
}

TEST_MAIN()
