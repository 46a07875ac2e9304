/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking up and filling the code cache; model and invariants are in cache.h.
 *
 * The order of a lookup: identity of the file → digest (or a sealed copy, hashed) → key → record →
 * code file. Readers take no lock: a record and its code file that do not fit together, because
 * somebody is replacing them just now, are looked at once more under the entries' lock before they
 * are called bad.
 */
#include "control/cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/mem.h"
#include "control/cache_internal.h"

#define FORMAT "ambit code cache 1"
#define COPY_CHUNK (256u << 10)
#define AT_REST_NS (2 * (int64_t)NS_PER_S)
/* "last used" is kept to the minute, so that a start writes nothing. */
#define TOUCH_NS (60 * (int64_t)NS_PER_S)

int cache_new(const struct cache_config *config, struct cache **ret, struct error *e)
{
    struct cache *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        fd_close(config->dir_fd);
        return error_set(e, -ENOMEM, "no memory");
    }
    c->config = *config;
    c->sources_fd = c->lock_fd = -1;
    int r = cache_mac_key(config->dir_fd, c->mac_key, e);
    if (r == 0 && mkdirat(config->dir_fd, "sources", 0700) < 0 && errno != EEXIST)
        r = error_set_errno(e, errno, "cannot make the cache's folder \"sources\"");
    if (r == 0) {
        c->sources_fd =
            openat(config->dir_fd, "sources", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        c->lock_fd =
            openat(config->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (c->sources_fd < 0 || c->lock_fd < 0)
            r = error_set_errno(e, errno, "cannot open the code cache");
    }
    if (r < 0) {
        cache_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    fd_close(c->lock_fd);
    fd_close(c->sources_fd);
    fd_close(c->config.dir_fd);
    mem_wipe(c->mac_key, sizeof(c->mac_key));
    mem_free(c);
}

void cache_entry_done(struct cache_entry *entry)
{
    fd_close(entry->code_fd);
    mem_free(entry->description);
    *entry = (struct cache_entry){ .code_fd = -1 };
}

/* ---- names and locks ---- */

void cache_key_of(const struct cache *c, const struct digest *component,
                  uint8_t ret[static CACHE_KEY_SIZE])
{
    uint8_t text[sizeof(FORMAT) + CACHE_KEY_SIZE + DIGEST_SIZE];
    struct digest key;
    memcpy(text, FORMAT, sizeof(FORMAT));
    memcpy(text + sizeof(FORMAT), c->config.compatibility, CACHE_KEY_SIZE);
    memcpy(text + sizeof(FORMAT) + CACHE_KEY_SIZE, component->bytes, DIGEST_SIZE);
    int r = digest_bytes(text, sizeof(text), &key, NULL);
    ASSERT(r == 0); /* a fixed, small input: no failure but a broken library */
    memcpy(ret, key.bytes, CACHE_KEY_SIZE);
}

static void cache_key_text(const uint8_t key[static CACHE_KEY_SIZE],
                           char ret[static CACHE_KEY_TEXT_SIZE])
{
    hex_text(key, CACHE_KEY_SIZE, ret);
}

void cache_name(char ret[static CACHE_NAME_SIZE], const char *key, const char *suffix)
{
    (void)snprintf(ret, CACHE_NAME_SIZE, "%.64s%s", key, suffix);
}

/* Byte-range locks of open file descriptions: gone with the process, however it ends. */
#define CACHE_LOCK_ENTRIES INT64_C(0)
/* 1: taken by another (only !wait). */
static int cache_lock(struct cache *c, int64_t offset, bool wait, struct error *e)
{
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1 };
    for (;;) {
        if (fcntl(c->lock_fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range) == 0)
            return 0;
        if (!wait && (errno == EAGAIN || errno == EACCES))
            return 1;
        if (errno != EINTR)
            return error_set_errno(e, errno, "cannot lock the code cache");
    }
}

static void cache_unlock(struct cache *c, int64_t offset)
{
    struct flock range = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1 };
    (void)fcntl(c->lock_fd, F_OFD_SETLK, &range);
}

/* The byte that means "I compile this key"; two keys that share one only wait for each other. */
static int64_t key_offset(const uint8_t key[static CACHE_KEY_SIZE])
{
    uint64_t n = 0;
    for (size_t i = 0; i < 7; i++)
        n = n << 8 | key[i];
    return (int64_t)n + 1;
}

/* ---- reading ---- */

static int code_matches(const struct cache_record *record, int fd, bool full, struct error *e)
{
    struct stat st;
    struct digest found;
    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "cannot look at machine code in the cache");
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
        (void)error_set(e, -EPERM,
                        "the machine code is no file of ours, or others may write to it");
        return CACHE_BAD;
    }
    struct cache_identity now = cache_identity_of(&st);
    bool same = cache_identity_equal(&now, &record->code_file);
    if (same && !full)
        return CACHE_FOUND;
    int r = digest_fd(fd, &found, e);
    if (r < 0)
        return r;
    if (!digest_equal(&found, &record->code)) {
        (void)error_set(e, -EBADMSG,
                        "the machine code is not what was stored (its digest differs)");
        return CACHE_BAD;
    }
    return same ? CACHE_FOUND : CACHE_MOVED;
}

static int code_open(struct cache *c, const char *key, const struct cache_record *record, bool full,
                     int *ret_fd, struct error *e)
{
    char name[CACHE_NAME_SIZE];
    cache_name(name, key, CACHE_CODE_SUFFIX);
    CLEANUP(fd_closep)
    int fd = openat(c->config.dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP)) {
        (void)error_set(e, -ENOENT, "the machine code is gone");
        return CACHE_BAD;
    }
    if (fd < 0)
        return error_set_errno(e, errno, "cannot open machine code in the cache");
    int r = code_matches(record, fd, full, e);
    if (r == CACHE_FOUND || r == CACHE_MOVED)
        *ret_fd = fd_take(&fd);
    return r;
}

int cache_lookup(struct cache *c, const char *key, bool want_code, bool full,
                 struct cache_record *ret, int *ret_code_fd, struct error *e)
{
    char name[CACHE_NAME_SIZE], own[CACHE_KEY_TEXT_SIZE];
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(CACHE_RECORD_MAX);
    CLEANUP(cache_record_done) struct cache_record record = { 0 };
    int fd = -1;

    cache_name(name, key, CACHE_ENTRY_SUFFIX);
    int r = cache_file_read(c->config.dir_fd, name, &bytes, e);
    if (r == 1)
        return CACHE_ABSENT;
    if (r == -EFBIG || r == -EPERM)
        return CACHE_BAD;
    if (r < 0)
        return r;
    r = cache_record_get(bytes.data, bytes.size, c->mac_key, &record, e);
    if (r != 0)
        return r < 0 ? r : CACHE_BAD;
    cache_key_text(record.key, own);
    if (strncmp(own, key, 2 * CACHE_KEY_SIZE) != 0) {
        (void)error_set(e, -EBADMSG, "the record belongs to another entry");
        return CACHE_BAD;
    }
    if (!record.has_code && want_code)
        return CACHE_ABSENT;
    r = CACHE_FOUND;
    if (record.has_code && (want_code || full))
        r = code_open(c, key, &record, full, &fd, e);
    if (r != CACHE_FOUND && r != CACHE_MOVED)
        return r;
    *ret = record;
    record = (struct cache_record){ 0 };
    *ret_code_fd = fd;
    return r;
}

/* ---- writing ---- */

/* Writes the record of code that lies there already, as it is now. */
static int record_store(struct cache *c, const char *key, struct cache_record *record, int code_fd,
                        bool replace, struct error *e)
{
    char name[CACHE_NAME_SIZE];
    struct stat st;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(CACHE_RECORD_MAX);
    if (record->has_code) {
        if (fstat(code_fd, &st) < 0)
            return error_set_errno(e, errno, "cannot look at machine code in the cache");
        record->code_file = cache_identity_of(&st);
    }
    int r = cache_record_put(record, c->mac_key, &bytes, e);
    if (r < 0)
        return r;
    cache_name(name, key, CACHE_ENTRY_SUFFIX);
    return cache_file_put(c->config.dir_fd, name, bytes.data, bytes.size, replace, e);
}

static int entry_remove(struct cache *c, const char *key, struct error *e)
{
    char name[CACHE_NAME_SIZE];
    /* The record first: code without a record is a leftover, a record without code would be a bad
     * entry. */
    cache_name(name, key, CACHE_ENTRY_SUFFIX);
    if (unlinkat(c->config.dir_fd, name, 0) < 0 && errno != ENOENT)
        return error_set_errno(e, errno, "cannot remove a cache entry");
    cache_name(name, key, CACHE_CODE_SUFFIX);
    if (unlinkat(c->config.dir_fd, name, 0) < 0 && errno != ENOENT)
        return error_set_errno(e, errno, "cannot remove machine code from the cache");
    return 0;
}

int cache_evict(struct cache *c, const char *key, struct error *e)
{
    int r = cache_lock(c, CACHE_LOCK_ENTRIES, true, e);
    if (r < 0)
        return r;
    r = entry_remove(c, key, e);
    cache_unlock(c, CACHE_LOCK_ENTRIES);
    return r;
}

/* What was found bad or moved, once more under the lock: a bad entry goes, a moved one gets a new
 * record. */
static int settle(struct cache *c, const char *key, bool want_code, struct cache_record *ret,
                  int *ret_code_fd, struct cache_entry *event, struct error *e)
{
    struct error why = ERROR_INIT;
    int r = cache_lock(c, CACHE_LOCK_ENTRIES, true, e);
    if (r < 0)
        return r;
    r = cache_lookup(c, key, want_code, false, ret, ret_code_fd, &why);
    if (r == CACHE_MOVED) {
        int stored = record_store(c, key, ret, *ret_code_fd, true, e);
        if (stored < 0) {
            cache_record_done(ret);
            fd_closep(ret_code_fd);
        }
        r = stored < 0 ? stored : CACHE_FOUND;
    } else if (r == CACHE_BAD) {
        (void)snprintf(event->evicted, sizeof(event->evicted), "%.150s", why.what);
        r = entry_remove(c, key, e);
        r = r < 0 ? r : CACHE_ABSENT;
    } else if (r < 0) {
        r = error_set(e, r, "%s", why.what);
    }
    cache_unlock(c, CACHE_LOCK_ENTRIES);
    return r;
}

/* "Last used" is the modification time of the record's file; its content does not depend on it. */
static void touch(struct cache *c, const char *key)
{
    char name[CACHE_NAME_SIZE];
    struct stat st;
    cache_name(name, key, CACHE_ENTRY_SUFFIX);
    if (fstatat(c->config.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        clock_real_ns() - cache_identity_of(&st).modified_ns > TOUCH_NS)
        (void)utimensat(c->config.dir_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
}

/* CACHE_FOUND and the entry filled in, CACHE_ABSENT, or < 0. */
static int find(struct cache *c, const struct digest *component, bool describe_only,
                struct cache_entry *ret, struct error *e)
{
    uint8_t key[CACHE_KEY_SIZE];
    char text[CACHE_KEY_TEXT_SIZE];
    struct error why = ERROR_INIT;
    CLEANUP(cache_record_done) struct cache_record record = { 0 };
    int code_fd = -1;

    cache_key_of(c, component, key);
    cache_key_text(key, text);
    int r = cache_lookup(c, text, !describe_only, false, &record, &code_fd, &why);
    if (r == CACHE_BAD || r == CACHE_MOVED) {
        cache_record_done(&record);
        fd_closep(&code_fd);
        r = settle(c, text, !describe_only, &record, &code_fd, ret, e);
    } else if (r < 0) {
        return error_set(e, r, "%s", why.what);
    }
    if (r != CACHE_FOUND)
        return r;
    touch(c, text);
    ret->code_fd = code_fd;
    ret->description = TAKE(record.description);
    ret->component = record.component;
    ret->component_size = record.component_size;
    ret->code = record.code;
    ret->code_size = record.has_code ? record.code_file.size : 0;
    return CACHE_FOUND;
}

/* ---- the component's bytes ---- */

struct source {
    bool identified; /* a regular file, its identity in `id` */
    struct cache_identity id;
    char name[64];
    int copy_fd; /* sealed memfd, or -1 while nobody needed the bytes */
    struct digest digest;
    uint64_t size;
};

static void source_identify(int fd, struct source *s)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    s->identified = true;
    s->id = cache_identity_of(&st);
    (void)snprintf(s->name, sizeof(s->name), "%llx-%llx", (unsigned long long)s->id.device,
                   (unsigned long long)s->id.inode);
}

/* True when the index knows this very file. */
static bool source_known(struct cache *c, struct source *s)
{
    struct error ignored = ERROR_INIT;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(512);
    return s->identified && cache_file_read(c->sources_fd, s->name, &bytes, &ignored) == 0 &&
           cache_source_get(bytes.data, bytes.size, &s->id, c->mac_key, &s->digest, &ignored) == 0;
}

/* Only what was at rest is remembered; failing to remember costs a hash at the next start and
 * nothing else. */
static void source_remember(struct cache *c, const struct source *s)
{
    struct error ignored = ERROR_INIT;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(512);
    int64_t rest = clock_real_ns() - AT_REST_NS;
    if (!s->identified || s->id.modified_ns > rest || s->id.changed_ns > rest)
        return;
    if (cache_source_put(&s->id, &s->digest, c->mac_key, &bytes, &ignored) == 0)
        (void)!cache_file_put(c->sources_fd, s->name, bytes.data, bytes.size, true, &ignored);
}

static int too_large(struct error *e)
{
    error_hint(e, "components of this size are always wrong: did you mean another file?");
    (void)error_set(e, -EFBIG, "the file is larger than %llu MiB",
                    (unsigned long long)(CACHE_COMPONENT_MAX >> 20));
    return CACHE_REFUSED;
}

static int copy_all(int from, bool regular, int to, struct digest_stream *hash, uint64_t *ret_size,
                    struct error *e)
{
    CLEANUP(mem_freep) uint8_t *chunk = mem_alloc(COPY_CHUNK);
    uint64_t size = 0;
    if (chunk == NULL)
        return error_set(e, -ENOMEM, "no memory");
    for (;;) {
        ssize_t got =
            regular ? pread(from, chunk, COPY_CHUNK, (off_t)size) : read(from, chunk, COPY_CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, errno, "cannot read the file");
        if (got == 0)
            break;
        size += (uint64_t)got;
        if (size > CACHE_COMPONENT_MAX)
            return too_large(e);
        int r = file_write_fd(to, chunk, (size_t)got, e);
        if (r == 0)
            r = digest_update(hash, chunk, (size_t)got, e);
        if (r < 0)
            return r;
    }
    *ret_size = size;
    return 0;
}

/* A sealed copy and the digest of exactly that copy. 0, CACHE_REFUSED or < 0. */
static int source_copy(int fd, struct source *s, struct error *e)
{
    struct digest_stream hash = { 0 };
    struct stat before;
    if (fstat(fd, &before) == 0 && S_ISREG(before.st_mode) &&
        (uint64_t)before.st_size > CACHE_COMPONENT_MAX)
        return too_large(e);
    CLEANUP(fd_closep) int copy = memfd_create("ambit-component", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0)
        return error_set_errno(e, errno, "cannot make a memory file");
    int r = digest_begin(&hash, e);
    if (r == 0)
        r = copy_all(fd, s->identified, copy, &hash, &s->size, e);
    if (r == 0)
        r = digest_finish(&hash, &s->digest, e);
    digest_done(&hash);
    if (r != 0)
        return r;
    if (fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return error_set_errno(e, errno, "cannot seal a memory file");
    if (s->identified) {
        /* Changed while it was read: what we have is good, but nothing to remember it by. */
        struct stat st;
        struct cache_identity now = { 0 };
        if (fstat(fd, &st) == 0)
            now = cache_identity_of(&st);
        s->identified = cache_identity_equal(&now, &s->id);
    }
    s->copy_fd = fd_take(&copy);
    return 0;
}

/* ---- a miss ---- */

/* The file that code is written to: without a name where the file system can do that (then nothing
 * stays behind however this process ends), else under a temporary one. `temporary` is "" in the
 * first case. */
static int out_open(struct cache *c, char temporary[static CACHE_TEMPORARY_SIZE], int *ret_fd,
                    struct error *e)
{
    temporary[0] = '\0';
    int fd = openat(c->config.dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        int r = cache_temporary_name(temporary, e);
        if (r < 0)
            return r;
        fd = openat(c->config.dir_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    }
    if (fd < 0)
        return error_set_errno(e, errno, "cannot write to the code cache");
    *ret_fd = fd;
    return 0;
}

#define FD_PATH_SIZE 40
static void fd_path(int fd, char ret[static FD_PATH_SIZE])
{
    (void)snprintf(ret, FD_PATH_SIZE, "/proc/self/fd/%d", fd);
}

/* Gives the code its name, in the place of an older one. Under the entries' lock. */
static int code_name(struct cache *c, const char *key, const char *temporary, int code_fd,
                     struct error *e)
{
    char name[CACHE_NAME_SIZE], path[FD_PATH_SIZE];
    cache_name(name, key, CACHE_CODE_SUFFIX);
    if (temporary[0] != '\0') {
        if (renameat(c->config.dir_fd, temporary, c->config.dir_fd, name) == 0)
            return 0;
    } else {
        fd_path(code_fd, path);
        if (unlinkat(c->config.dir_fd, name, 0) == 0 || errno == ENOENT)
            if (linkat(AT_FDCWD, path, c->config.dir_fd, name, AT_SYMLINK_FOLLOW) == 0)
                return 0;
    }
    return error_set_errno(e, errno, "cannot name machine code in the cache");
}

/* Names code and record. The code's digest was made after its compiler had ended. */
static int install(struct cache *c, const char *key, const char *temporary, int code_fd,
                   struct cache_record *record, struct error *e)
{
    int r = cache_lock(c, CACHE_LOCK_ENTRIES, true, e);
    if (r < 0)
        return r;
    if (record->has_code)
        r = code_name(c, key, temporary, code_fd, e);
    /* A description alone never replaces an entry with code. */
    if (r == 0)
        r = record_store(c, key, record, code_fd, record->has_code, e);
    cache_unlock(c, CACHE_LOCK_ENTRIES);
    return r < 0 ? r : 0;
}

static int code_finish(int fd, const struct cache_made *made, struct cache_record *record,
                       struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || fchmod(fd, 0400) < 0)
        return error_set_errno(e, errno, "cannot look at fresh machine code");
    if (st.st_size <= 0 || (uint64_t)st.st_size != made->code_size)
        return error_set(e, -EPROTO, "the compiler said %llu bytes and wrote %lld",
                         (unsigned long long)made->code_size, (long long)st.st_size);
    return digest_fd(fd, &record->code, e);
}

/* The same file again, read-only: the worker gets no descriptor that could write. */
static int reopen(int out, int *ret_fd, struct error *e)
{
    struct stat written, opened;
    char path[FD_PATH_SIZE];
    fd_path(out, path);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &opened) < 0 || fstat(out, &written) < 0)
        return error_set_errno(e, errno, "cannot open fresh machine code");
    if (written.st_dev != opened.st_dev || written.st_ino != opened.st_ino)
        return error_set(e, -ESTALE, "/proc is not what it should be");
    *ret_fd = fd_take(&fd);
    return 0;
}

static int compile(struct cache *c, const struct source *s, bool describe_only,
                   cache_progress progress, void *progress_context, struct cache_entry *ret,
                   struct error *e)
{
    char key[CACHE_KEY_TEXT_SIZE], temporary[CACHE_TEMPORARY_SIZE] = "";
    CLEANUP(cache_record_done)
    struct cache_record record = { .component = s->digest,
                                   .component_size = s->size,
                                   .has_code = !describe_only,
                                   .made_ns = clock_real_ns() };
    CLEANUP(fd_closep) int out = -1;
    struct cache_made made = { 0 };

    cache_key_of(c, &s->digest, record.key);
    cache_key_text(record.key, key);
    int r = describe_only ? 0 : out_open(c, temporary, &out, e);
    if (r < 0)
        return r;
    r = c->config.compile(c->config.compile_context, s->copy_fd, out, progress, progress_context,
                          &made, e);
    if (r == 0) {
        record.description = made.description;
        r = describe_only ? 0 : code_finish(out, &made, &record, e);
    }
    if (r == 0 && !describe_only)
        r = reopen(out, &ret->code_fd, e);
    if (r == 0)
        r = install(c, key, temporary, out, &record, e);
    if (temporary[0] != '\0')
        (void)unlinkat(c->config.dir_fd, temporary, 0); /* gone already when it was installed */
    if (r != 0)
        return r;
    ret->description = TAKE(record.description);
    ret->component = record.component;
    ret->component_size = record.component_size;
    ret->code = record.code;
    ret->code_size = made.code_size;
    ret->missing = made.missing;
    return 0;
}

/* Compiles unless another process is at it, or was and is done. */
static int fill(struct cache *c, const struct source *s, bool describe_only,
                cache_progress progress, void *progress_context, struct cache_entry *ret,
                struct error *e)
{
    uint8_t key[CACHE_KEY_SIZE];
    char text[CACHE_KEY_TEXT_SIZE];
    cache_key_of(c, &s->digest, key);
    cache_key_text(key, text);
    int64_t offset = key_offset(key);
    int r = cache_lock(c, offset, false, e);
    if (r == 1) {
        if (progress != NULL)
            progress(progress_context, "waiting for another ambit that compiles the same file", 0);
        r = cache_lock(c, offset, true, e);
    }
    if (r < 0)
        return r;
    r = find(c, &s->digest, describe_only, ret, e);
    if (r == CACHE_FOUND)
        ret->hit = true;
    else if (r == CACHE_ABSENT)
        r = compile(c, s, describe_only, progress, progress_context, ret, e);
    cache_unlock(c, offset);
    if (r == 0 && !ret->hit) {
        size_t removed;
        uint64_t freed;
        struct error ignored = ERROR_INIT; /* a cache that is too full is no reason to fail a run */
        (void)!cache_gc(c, c->config.max_bytes, text, &removed, &freed, &ignored);
    }
    return r;
}

int cache_get(struct cache *c, int component_fd, bool describe_only, cache_progress progress,
              void *progress_context, struct cache_entry *ret, struct error *e)
{
    struct cache_entry entry = { .code_fd = -1 };
    struct source s = { .copy_fd = -1 };

    source_identify(component_fd, &s);
    int r = CACHE_ABSENT;
    if (source_known(c, &s))
        r = find(c, &s.digest, describe_only, &entry, e);
    if (r == CACHE_ABSENT) {
        r = source_copy(component_fd, &s, e);
        if (r == CACHE_REFUSED)
            return r; /* nothing was copied or looked for */
        if (r == 0)
            r = find(c, &s.digest, describe_only, &entry, e);
        if (r == CACHE_FOUND || r == CACHE_ABSENT)
            source_remember(c, &s);
    }
    if (r == CACHE_FOUND)
        entry.hit = true;
    else if (r == CACHE_ABSENT)
        r = fill(c, &s, describe_only, progress, progress_context, &entry, e);
    fd_close(s.copy_fd);
    if (r != 0) {
        cache_entry_done(&entry);
        return r;
    }
    *ret = entry;
    return 0;
}
