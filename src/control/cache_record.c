/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the cache: a magic that names format and use, the fields in order, a MAC over all
 * before it. A record of one use is never taken for the other: the magic is under the MAC too. All
 * little-endian; read with a cursor.
 */
#include "control/cache_record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define ENTRY_MAGIC UINT64_C(0x3145434942414d41) /* "AMABICE1" in memory */
#define SOURCE_MAGIC UINT64_C(0x3153434942414d41)

struct cache_identity cache_identity_of(const struct stat *st)
{
    return (struct cache_identity){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (uint64_t)st->st_size,
        .modified_ns = (int64_t)st->st_mtim.tv_sec * (int64_t)NS_PER_S + st->st_mtim.tv_nsec,
        .changed_ns = (int64_t)st->st_ctim.tv_sec * (int64_t)NS_PER_S + st->st_ctim.tv_nsec,
    };
}

bool cache_identity_equal(const struct cache_identity *a, const struct cache_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

static void identity_put(struct buf *out, const struct cache_identity *id)
{
    buf_u64(out, id->device);
    buf_u64(out, id->inode);
    buf_u64(out, id->size);
    buf_u64(out, (uint64_t)id->modified_ns);
    buf_u64(out, (uint64_t)id->changed_ns);
}

static struct cache_identity identity_get(struct cursor *c)
{
    struct cache_identity id;
    id.device = cursor_u64(c);
    id.inode = cursor_u64(c);
    id.size = cursor_u64(c);
    id.modified_ns = (int64_t)cursor_u64(c);
    id.changed_ns = (int64_t)cursor_u64(c);
    return id;
}

static void exact_get(struct cursor *c, void *into, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)into)[i] = cursor_u8(c);
}

static int seal(struct buf *out, const uint8_t *mac_key, struct error *e)
{
    struct digest mac;
    int r = buf_status(out);
    if (r < 0)
        return error_set(e, r, "a cache record is too large");
    r = digest_hmac(mac_key, CACHE_MAC_KEY_SIZE, out->data, out->size, &mac, e);
    if (r < 0)
        return r;
    buf_append(out, mac.bytes, sizeof(mac.bytes));
    r = buf_status(out);
    return r < 0 ? error_set(e, r, "a cache record is too large") : 0;
}

/* Gives the sealed part; 1 with the reason when the seal is broken. */
static int unseal(const void *bytes, size_t size, const uint8_t *mac_key, struct cursor *ret,
                  struct error *e)
{
    struct digest mac, stored;
    if (size < sizeof(stored.bytes)) {
        (void)error_set(e, -EBADMSG, "the record is cut off");
        return 1;
    }
    size -= sizeof(stored.bytes);
    int r = digest_hmac(mac_key, CACHE_MAC_KEY_SIZE, bytes, size, &mac, e);
    if (r < 0)
        return r;
    memcpy(stored.bytes, (const uint8_t *)bytes + size, sizeof(stored.bytes));
    if (!digest_equal(&mac, &stored)) {
        (void)error_set(e, -EBADMSG, "the record was changed by somebody else (its MAC differs)");
        return 1;
    }
    *ret = cursor_of(bytes, size);
    return 0;
}

void cache_record_done(struct cache_record *r)
{
    mem_free(r->description);
    *r = (struct cache_record){ 0 };
}

int cache_record_put(const struct cache_record *r, const uint8_t *mac_key, struct buf *out,
                     struct error *e)
{
    buf_u64(out, ENTRY_MAGIC);
    buf_append(out, r->key, sizeof(r->key));
    buf_append(out, r->component.bytes, sizeof(r->component.bytes));
    buf_u64(out, r->component_size);
    buf_u8(out, r->has_code);
    buf_append(out, r->code.bytes, sizeof(r->code.bytes));
    identity_put(out, &r->code_file);
    buf_u64(out, (uint64_t)r->made_ns);
    buf_string(out, r->description);
    return seal(out, mac_key, e);
}

int cache_record_get(const void *bytes, size_t size, const uint8_t *mac_key,
                     struct cache_record *ret, struct error *e)
{
    struct cursor c;
    struct cache_record record = { 0 };
    int r = unseal(bytes, size, mac_key, &c, e);
    if (r != 0)
        return r;
    bool known = cursor_u64(&c) == ENTRY_MAGIC;
    exact_get(&c, record.key, sizeof(record.key));
    exact_get(&c, record.component.bytes, sizeof(record.component.bytes));
    record.component_size = cursor_u64(&c);
    record.has_code = cursor_u8(&c) != 0;
    exact_get(&c, record.code.bytes, sizeof(record.code.bytes));
    record.code_file = identity_get(&c);
    record.made_ns = (int64_t)cursor_u64(&c);
    record.description = cursor_string(&c);
    if (!known || record.description == NULL || !cursor_finished(&c)) {
        cache_record_done(&record);
        (void)error_set(e, -EBADMSG, "the record is of another format");
        return 1;
    }
    *ret = record;
    return 0;
}

int cache_source_put(const struct cache_identity *id, const struct digest *d,
                     const uint8_t *mac_key, struct buf *out, struct error *e)
{
    buf_u64(out, SOURCE_MAGIC);
    identity_put(out, id);
    buf_append(out, d->bytes, sizeof(d->bytes));
    return seal(out, mac_key, e);
}

int cache_source_get(const void *bytes, size_t size, const struct cache_identity *id,
                     const uint8_t *mac_key, struct digest *ret, struct error *e)
{
    struct cursor c;
    struct digest d;
    int r = unseal(bytes, size, mac_key, &c, e);
    if (r != 0)
        return r;
    bool known = cursor_u64(&c) == SOURCE_MAGIC;
    struct cache_identity stored = identity_get(&c);
    exact_get(&c, d.bytes, sizeof(d.bytes));
    if (!known || !cursor_finished(&c) || !cache_identity_equal(&stored, id)) {
        (void)error_set(e, -ESTALE, "the file was changed");
        return 1;
    }
    *ret = d;
    return 0;
}

int cache_file_read(int dir_fd, const char *name, struct buf *out, struct error *e)
{
    struct stat st;
    CLEANUP(fd_closep)
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 1;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "cannot read %s in the cache", name);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return error_set(e, -EPERM, "%s in the cache is no file of ours", name);
    return file_read_fd(fd, out, e);
}

int cache_temporary_name(char ret[static CACHE_TEMPORARY_SIZE], struct error *e)
{
    uint64_t random;
    int r = random_bytes(&random, sizeof(random));
    if (r < 0)
        return error_set(e, r, "no random bytes");
    (void)snprintf(ret, CACHE_TEMPORARY_SIZE, CACHE_TEMPORARY "%016llx",
                   (unsigned long long)random);
    return 0;
}

int cache_file_put(int dir_fd, const char *name, const void *bytes, size_t size, bool replace,
                   struct error *e)
{
    char temporary[CACHE_TEMPORARY_SIZE];
    int r = cache_temporary_name(temporary, e);
    if (r < 0)
        return r;
    CLEANUP(fd_closep)
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(e, errno, "cannot write to the cache");
    r = file_write_fd(fd, bytes, size, e);
    if (r == 0 && replace && renameat(dir_fd, temporary, dir_fd, name) < 0)
        r = error_set_errno(e, errno, "cannot name %s in the cache", name);
    if (r == 0 && !replace && linkat(dir_fd, temporary, dir_fd, name, 0) < 0)
        r = errno == EEXIST ? 1 : error_set_errno(e, errno, "cannot name %s in the cache", name);
    if (r != 0 || !replace)
        (void)unlinkat(dir_fd, temporary, 0);
    return r;
}

int cache_mac_key(int dir_fd, uint8_t ret[static CACHE_MAC_KEY_SIZE], struct error *e)
{
    uint8_t key[CACHE_MAC_KEY_SIZE];
    /* Twice: the second time reads what another process made in between. */
    for (int attempt = 0; attempt < 2; attempt++) {
        CLEANUP(buf_done) struct buf stored = BUF_INIT(CACHE_MAC_KEY_SIZE + 1);
        int r = cache_file_read(dir_fd, "key", &stored, e);
        if (r < 0)
            return r;
        if (r == 0 && stored.size == CACHE_MAC_KEY_SIZE) {
            memcpy(ret, stored.data, CACHE_MAC_KEY_SIZE);
            return 0;
        }
        if (r == 0) {
            error_hint(
                e, "remove the file \"key\" in the cache folder: entries are then compiled again");
            return error_set(e, -EBADMSG, "the cache's key has %zu bytes instead of %d",
                             stored.size, CACHE_MAC_KEY_SIZE);
        }
        r = random_bytes(key, sizeof(key));
        if (r < 0)
            return error_set(e, r, "no random bytes");
        r = cache_file_put(dir_fd, "key", key, sizeof(key), false, e);
        mem_wipe(key, sizeof(key));
        if (r < 0)
            return r;
    }
    return error_set(e, -EIO, "the cache's key cannot be made");
}
