/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault: docs/vault.md has the format and what it is good against.
 *
 *     header   80 bytes, readable: magic, version, id, salt, epoch, scrypt, counts, check of the key
 *     index    sealed; AAD: the header. Of each record name, source, kind, settings …, size and tag
 *     records  sealed, one value each; AAD: id, place, name, version
 *
 * All of it is vouched for by the index: the header is its AAD, it names the tag of every record, and
 * nothing may follow the last one. So a byte that was changed, a record that was swapped, doubled or
 * dropped, or one of another vault is found, whichever it is.
 *
 * Keys: HKDF-SHA-256 of the vault's key, one for each purpose and epoch, so that a nonce (96 random
 * bits) is among those of one epoch only.
 */
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/mman.h>

#include "base/digest.h"
#include "base/encode.h"
#include "keeper/parts.h"

#define MAGIC "ambvault"
#define FORMAT 1
#define HEADER_SIZE 80
#define HEADER_CHECK 64 /* where the check of the key stands; the last of the header */
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define SEAL_SIZE (NONCE_SIZE + TAG_SIZE)
#define INDEX_ALIGN 256 /* sizes tell little */
#define VALUE_ALIGN 64
#define VALUE_SIZE_MAX (4 + SECRET_SOURCE_MAX + VALUE_ALIGN)
#define SCRYPT_LOG_N 16 /* 64 MiB, about a fifth of a second */
#define SCRYPT_R 8
#define SCRYPT_P 1
#define SCRYPT_MEMORY (UINT64_C(160) << 20)
#define PASSPHRASE_MIN 8

struct header {
    uint8_t id[16], salt[16];
    uint64_t epoch;
    uint32_t count, index_size;
    uint8_t check[16];
};

/* ---- bytes that are wiped ---- */

int secret_copy(struct secret_bytes *into, const void *bytes, size_t size)
{
    uint8_t *copy = mem_alloc(size + 1); /* a NUL behind, for those who read text */
    if (!copy)
        return -ENOMEM;
    (void)!mlock(copy, size + 1); /* RLIMIT_MEMLOCK may be small: then without */
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    secret_done(into);
    *into = (struct secret_bytes){ copy, size };
    return 0;
}

void secret_done(struct secret_bytes *s)
{
    if (s->data)
        mem_wipe(s->data, s->size);
    mem_free(s->data);
    *s = (struct secret_bytes){ 0 };
}

int secret_buf(struct buf *ret, size_t max, struct error *e)
{
    *ret = (struct buf)BUF_INIT(max);
    ret->data = mem_alloc(max + 1);
    if (!ret->data)
        return error_set(e, -ENOMEM, "no memory");
    ret->data[0] = '\0';
    ret->capacity = max + 1;
    return 0;
}

void secret_buf_done(struct buf *b)
{
    if (b->data)
        mem_wipe(b->data, MIN(b->size + 1, b->capacity));
    buf_done(b);
}

/* ---- keys ---- */

/* RFC 5869; 32 bytes are one block. */
static int derive(const uint8_t key[static VAULT_KEY_SIZE], const struct header *h,
                  const char *purpose, uint64_t epoch, struct digest *ret, struct error *e)
{
    uint8_t salt[32];
    struct digest extracted;
    CLEANUP(buf_done) struct buf info = BUF_INIT(128);
    memcpy(salt, h->id, sizeof h->id);
    memcpy(salt + 16, h->salt, sizeof h->salt);
    buf_puts(&info, "ambit vault 1 ");
    buf_puts(&info, purpose);
    buf_putc(&info, '\0');
    buf_u64(&info, epoch);
    buf_putc(&info, '\x01');
    int status = buf_status(&info) < 0 ? error_set(e, -ENOMEM, "no memory for a key") : 0;
    if (status == 0)
        status = digest_hmac(salt, sizeof salt, key, VAULT_KEY_SIZE, &extracted, e);
    if (status == 0)
        status = digest_hmac(extracted.bytes, sizeof extracted.bytes, info.data, info.size, ret, e);
    mem_wipe(&extracted, sizeof extracted);
    return status;
}

/* 43 digits and "=" are 32 bytes. */
static bool key_of_base64(struct bytes text, uint8_t ret[static VAULT_KEY_SIZE])
{
    uint32_t bits = 0;
    size_t count = 0, out = 0;
    if (text.size != 44 || text.data[43] != '=')
        return false;
    for (size_t i = 0; i < 43; i++) {
        int digit = base64_value(text.data[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret[out++] = (uint8_t)(bits >> count);
        }
    }
    bool fine = (bits & ((1u << count) - 1)) == 0; /* one spelling only */
    mem_wipe(&bits, sizeof bits);
    return fine;
}

static struct bytes without_newline(struct bytes text)
{
    if (text.size && text.data[text.size - 1] == '\n')
        text.size--;
    if (text.size && text.data[text.size - 1] == '\r')
        text.size--;
    return text;
}

static int key_of_passphrase(struct bytes text, const uint8_t salt[static 16],
                             uint8_t ret[static VAULT_KEY_SIZE], struct error *e)
{
    const uint8_t *end = text.size ? memchr(text.data, '\n', text.size) : NULL;
    if (end)
        text.size = (size_t)(end - text.data) + 1;
    text = without_newline(text);
    if (text.size < PASSPHRASE_MIN) {
        error_hint(e, "a vault lasts as long as its passphrase: several words that belong to "
                      "nothing else");
        return error_set(e, -EINVAL, "the passphrase has fewer than %d bytes", PASSPHRASE_MIN);
    }
    if (EVP_PBE_scrypt((const char *)text.data, text.size, salt, 16, UINT64_C(1) << SCRYPT_LOG_N,
                       SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY, ret, VAULT_KEY_SIZE) != 1)
        return error_set(e, -ENOMEM, "no memory to stretch the passphrase (64 MiB)");
    return 0;
}

int vault_key(const char *key_kind, const uint8_t salt[static 16], struct bytes text,
              uint8_t ret[static VAULT_KEY_SIZE], struct error *e)
{
    if (strcmp(key_kind, "passphrase") == 0)
        return key_of_passphrase(text, salt, ret, e);
    if (text.size == VAULT_KEY_SIZE) {
        memcpy(ret, text.data, VAULT_KEY_SIZE);
        return 0;
    }
    if (key_of_base64(without_newline(text), ret))
        return 0;
    mem_wipe(ret, VAULT_KEY_SIZE);
    error_hint(e, "32 random bytes, or their base64: head -c 32 /dev/urandom | base64");
    return error_set(e, -EINVAL, "what was read from the key's %s is no key (%zu bytes)", key_kind,
                     text.size);
}

/* ---- sealing ---- */

/* Appends nonce, ciphertext and tag. */
static int seal(const struct digest *key, struct bytes aad, struct bytes plain, struct buf *out,
                uint8_t ret_tag[static TAG_SIZE], struct error *e)
{
    uint8_t nonce[NONCE_SIZE];
    int n = 0, last = 0;
    if (random_bytes(nonce, sizeof nonce) < 0)
        return error_set(e, -EIO, "no random numbers");
    size_t at = out->size + NONCE_SIZE;
    buf_append(out, nonce, sizeof nonce);
    buf_append(out, plain.data, plain.size); /* encrypted in place */
    int status = buf_status(out);
    if (status < 0)
        return error_set(e, status == -ENOMEM ? status : -EFBIG, "the vault is full");
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool fine = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->bytes, nonce) == 1 &&
                EVP_EncryptUpdate(c, NULL, &n, aad.data, (int)aad.size) == 1 &&
                EVP_EncryptUpdate(c, out->data + at, &n, out->data + at, (int)plain.size) == 1 &&
                EVP_EncryptFinal_ex(c, out->data + at + n, &last) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, ret_tag) == 1;
    EVP_CIPHER_CTX_free(c); /* wipes its key */
    if (!fine) {
        mem_wipe(out->data + at, plain.size);
        return error_set(e, -EIO, "the vault cannot be encrypted");
    }
    buf_append(out, ret_tag, TAG_SIZE);
    status = buf_status(out);
    return status < 0 ? error_set(e, status == -ENOMEM ? status : -EFBIG, "the vault is full") : 0;
}

/* `sealed`: nonce, ciphertext, tag. False: not what was sealed. Then `out` is empty. */
static bool unseal(const struct digest *key, struct bytes aad, struct bytes sealed, struct buf *out)
{
    size_t size = sealed.size - SEAL_SIZE;
    const uint8_t *text = sealed.data + NONCE_SIZE;
    int n = 0, last = 0;
    if (size >= out->capacity)
        return false;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool fine =
        c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->bytes, sealed.data) == 1 &&
        EVP_DecryptUpdate(c, NULL, &n, aad.data, (int)aad.size) == 1 &&
        EVP_DecryptUpdate(c, out->data, &n, text, (int)size) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, (void *)(text + size)) == 1 &&
        EVP_DecryptFinal_ex(c, out->data + n, &last) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!fine)
        mem_wipe(out->data, size);
    out->size = fine ? size : 0;
    return fine;
}

static void pad(struct buf *b, size_t align)
{
    while (b->size % align && !b->failed)
        buf_u8(b, 0);
}

static bool only_zeroes(struct cursor *c)
{
    while (cursor_left(c))
        if (cursor_u8(c))
            return false;
    return true;
}

/* ---- header ---- */

static void header_put(struct buf *out, const struct header *h)
{
    buf_puts(out, MAGIC);
    buf_u32(out, FORMAT);
    buf_append(out, h->id, sizeof h->id);
    buf_append(out, h->salt, sizeof h->salt);
    buf_u64(out, h->epoch);
    buf_u8(out, SCRYPT_LOG_N);
    buf_u8(out, SCRYPT_R);
    buf_u8(out, SCRYPT_P);
    buf_u8(out, 0);
    buf_u32(out, h->count);
    buf_u32(out, h->index_size);
    buf_append(out, h->check, sizeof h->check);
}

static void take(struct cursor *c, uint8_t *into, size_t size)
{
    for (size_t i = 0; i < size; i++)
        into[i] = cursor_u8(c);
}

static int cut(struct error *e)
{
    error_hint(e, "put back a whole copy of the file; nothing of it was changed");
    return error_set(e, -EBADMSG, "the vault is cut short");
}

static int changed(struct error *e, const char *what)
{
    error_hint(e, "put back a copy that nobody has changed; nothing of it was changed now");
    return error_set(e, -EKEYREJECTED, "%s is not what was sealed: somebody has changed the vault",
                     what);
}

static int header_read(struct bytes file, struct header *ret, struct error *e)
{
    size_t known = MIN(file.size, strlen(MAGIC));
    if (file.size == 0)
        return cut(e);
    if (memcmp(file.data, MAGIC, known) != 0)
        return error_set(e, -EBADMSG, "this file is no vault");
    if (file.size < HEADER_SIZE + SEAL_SIZE)
        return cut(e);
    struct cursor c = cursor_of(file.data + strlen(MAGIC), HEADER_SIZE - strlen(MAGIC));
    uint32_t format = cursor_u32(&c);
    if (format != FORMAT)
        return error_set(e, -EBADMSG, "a vault of format %u; this ambit knows %d", format, FORMAT);
    take(&c, ret->id, sizeof ret->id);
    take(&c, ret->salt, sizeof ret->salt);
    ret->epoch = cursor_u64(&c);
    bool scrypt = cursor_u8(&c) == SCRYPT_LOG_N && cursor_u8(&c) == SCRYPT_R &&
                  cursor_u8(&c) == SCRYPT_P && cursor_u8(&c) == 0;
    ret->count = cursor_u32(&c);
    ret->index_size = cursor_u32(&c);
    take(&c, ret->check, sizeof ret->check);
    if (!scrypt || ret->count > VAULT_ITEMS_MAX || ret->index_size > VAULT_SIZE_MAX ||
        ret->index_size % INDEX_ALIGN != 0)
        return error_set(e, -EBADMSG, "the head of the vault is damaged");
    if (file.size - HEADER_SIZE - SEAL_SIZE < ret->index_size)
        return cut(e);
    return 0;
}

int vault_peek(struct bytes file, uint8_t ret_salt[static 16], struct error *e)
{
    struct header h;
    int status = header_read(file, &h, e);
    if (status == 0)
        memcpy(ret_salt, h.salt, sizeof h.salt);
    return status;
}

static int check_of(const uint8_t key[static VAULT_KEY_SIZE], const struct header *h,
                    uint8_t ret[static 16], struct error *e)
{
    struct digest check;
    int status = derive(key, h, "check", 0, &check, e);
    if (status == 0)
        memcpy(ret, check.bytes, 16);
    mem_wipe(&check, sizeof check);
    return status;
}

/* ---- records ---- */

void vault_record_done(struct vault_record *r)
{
    keeper_item_done(&r->item);
    secret_done(&r->value);
}

int vault_add(struct vault *v, struct vault_record *taken, struct error *e)
{
    struct vault_record *grown = NULL;
    int status = v->count == VAULT_ITEMS_MAX
                     ? error_set(e, -EFBIG, "the vault is full: %d secrets", VAULT_ITEMS_MAX)
                     : 0;
    if (status == 0) {
        grown = mem_grow(v->records, v->count + 1, sizeof *grown);
        if (!grown)
            status = error_set(e, -ENOMEM, "no memory for a secret");
    }
    if (status < 0) {
        vault_record_done(taken);
        return status;
    }
    v->records = grown;
    v->records[v->count++] = *taken;
    *taken = (struct vault_record){ 0 };
    return 0;
}

struct vault_record *vault_find(struct vault *v, const char *name)
{
    for (size_t i = 0; i < v->count; i++)
        if (strcmp(v->records[i].item.name, name) == 0)
            return &v->records[i];
    return NULL;
}

void vault_done(struct vault *v)
{
    for (size_t i = 0; i < v->count; i++)
        vault_record_done(&v->records[i]);
    mem_free(v->records);
    mem_wipe(v, sizeof *v);
}

int vault_new(struct vault *ret, struct error *e)
{
    *ret = (struct vault){ 0 };
    if (random_bytes(ret->id, sizeof ret->id) < 0 || random_bytes(ret->salt, sizeof ret->salt) < 0)
        return error_set(e, -EIO, "no random numbers");
    return 0;
}

static int record_aad(const struct header *h, uint32_t place, const struct keeper_item *i,
                      struct buf *out, struct error *e)
{
    buf_clear(out);
    buf_puts(out, "record");
    buf_append(out, h->id, sizeof h->id);
    buf_u32(out, place);
    buf_string(out, i->name);
    buf_u32(out, i->version);
    return buf_status(out) < 0 ? error_set(e, -ENOMEM, "no memory for a record") : 0;
}

static void index_put(struct buf *out, const struct vault_record *r, const struct vault_place *p)
{
    keeper_item_put(out, &r->item);
    buf_u32(out, (uint32_t)r->value.size);
    buf_u32(out, p->size);
    buf_append(out, p->tag, TAG_SIZE);
}

/* keeper_item_get() wants the end of its input; here more follows. */
static int item_read(struct cursor *c, struct keeper_item *ret, struct error *e)
{
    struct cursor ahead = *c;
    size_t size;
    (void)cursor_bytes(&ahead, &size); /* name */
    (void)cursor_u64(&ahead);          /* source, kind */
    (void)cursor_bytes(&ahead, &size); /* locator */
    (void)cursor_bytes(&ahead, &size); /* settings */
    (void)cursor_u64(&ahead);
    (void)cursor_u64(&ahead);
    (void)cursor_u64(&ahead); /* version, size */
    if (ahead.bad) {
        c->bad = true;
        return error_set(e, -EBADMSG, "the index of the vault is damaged");
    }
    struct cursor one = cursor_of(c->at, (size_t)(ahead.at - c->at));
    *c = ahead;
    return keeper_item_get(&one, ret, e);
}

int vault_index_read(struct bytes plain, uint32_t count, struct vault *v,
                     struct vault_place *ret_places, struct error *e)
{
    struct cursor c = cursor_of(plain.data, plain.size);
    for (uint32_t i = 0; i < count; i++) {
        struct vault_record r = { 0 };
        int status = item_read(&c, &r.item, e);
        if (status < 0)
            return status;
        r.value.size = cursor_u32(&c); /* until it is there */
        ret_places[i].size = cursor_u32(&c);
        take(&c, ret_places[i].tag, TAG_SIZE);
        bool fine = !c.bad && r.value.size <= SECRET_SOURCE_MAX &&
                    ret_places[i].size % VALUE_ALIGN == 0 &&
                    ret_places[i].size >= 4 + r.value.size &&
                    ret_places[i].size <= VALUE_SIZE_MAX && !vault_find(v, r.item.name);
        r.value.size = 0;
        if (!fine) {
            vault_record_done(&r);
            return error_set(e, -EBADMSG, "the index of the vault is damaged");
        }
        status = vault_add(v, &r, e);
        if (status < 0)
            return status;
    }
    return only_zeroes(&c) ? 0 : error_set(e, -EBADMSG, "the index of the vault is damaged");
}

/* ---- opening ---- */

static int open_record(const struct header *h, const struct digest *key, uint32_t place,
                       struct bytes sealed, struct vault_record *r, struct error *e)
{
    CLEANUP(buf_done) struct buf aad = BUF_INIT(256);
    CLEANUP(secret_buf_done) struct buf plain = { 0 };
    int status = record_aad(h, place, &r->item, &aad, e);
    if (status == 0)
        status = secret_buf(&plain, VALUE_SIZE_MAX, e);
    if (status < 0)
        return status;
    if (!unseal(key, (struct bytes){ aad.data, aad.size }, sealed, &plain))
        return changed(e, "a record");
    struct cursor c = cursor_of(plain.data, plain.size);
    size_t size;
    const uint8_t *value = cursor_bytes(&c, &size);
    if (c.bad || !only_zeroes(&c))
        return error_set(e, -EBADMSG, "a record of the vault is damaged");
    if (secret_copy(&r->value, value, size) < 0)
        return error_set(e, -ENOMEM, "no memory for a secret");
    return 0;
}

static int open_records(struct bytes rest, const struct header *h, const struct digest *key,
                        const struct vault_place *places, struct vault *v, struct error *e)
{
    for (uint32_t i = 0; i < h->count; i++) {
        size_t size = places[i].size + SEAL_SIZE;
        if (rest.size < size)
            return cut(e);
        /* Of two records with each other's place, this says which it is not. */
        if (CRYPTO_memcmp(rest.data + size - TAG_SIZE, places[i].tag, TAG_SIZE) != 0)
            return changed(e, "a record");
        struct bytes sealed = { rest.data, size };
        int status = open_record(h, key, i, sealed, &v->records[i], e);
        if (status < 0)
            return status;
        rest = (struct bytes){ rest.data + size, rest.size - size };
    }
    return rest.size ? changed(e, "the end of the file") : 0;
}

static int open_index(struct bytes file, const struct header *h, const struct digest *key,
                      struct vault *v, struct vault_place *places, struct error *e)
{
    CLEANUP(secret_buf_done) struct buf plain = { 0 };
    int status = secret_buf(&plain, h->index_size, e);
    if (status < 0)
        return status;
    struct bytes sealed = { file.data + HEADER_SIZE, h->index_size + SEAL_SIZE };
    if (!unseal(key, (struct bytes){ file.data, HEADER_SIZE }, sealed, &plain))
        return changed(e, "the index");
    return vault_index_read((struct bytes){ plain.data, plain.size }, h->count, v, places, e);
}

static int key_fits(const struct header *h, const uint8_t key[static VAULT_KEY_SIZE],
                    struct error *e)
{
    uint8_t check[16];
    int status = check_of(key, h, check, e);
    if (status < 0)
        return status;
    if (CRYPTO_memcmp(check, h->check, sizeof check) == 0)
        return 0;
    error_hint(e, "name the key that it was made with (--vault-key), or put back this "
                  "installation's vault; nothing of it was changed");
    return error_set(e, -EKEYREJECTED,
                     "the key does not open this vault: it is another key, or a vault of another "
                     "installation");
}

static int too_old(uint64_t has, uint64_t known, struct error *e)
{
    error_hint(e, "put the newest vault back; if this one is to be believed, remove the file of "
                  "its epoch beside the key");
    return error_set(e, -ESTALE,
                     "an older vault was put back: its epoch is %llu, the newest known %llu",
                     (unsigned long long)has, (unsigned long long)known);
}

static int open_all(struct bytes file, const struct header *h, struct vault *v, uint64_t epoch,
                    struct error *e)
{
    struct digest index = { 0 }, records = { 0 };
    CLEANUP(mem_freep)
    struct vault_place *places = mem_array(h->count + 1, sizeof *places);
    int status = places ? 0 : error_set(e, -ENOMEM, "no memory for the vault");
    if (status == 0)
        status = key_fits(h, v->key, e);
    if (status == 0)
        status = derive(v->key, h, "index", h->epoch, &index, e);
    if (status == 0)
        status = derive(v->key, h, "records", h->epoch, &records, e);
    if (status == 0)
        status = open_index(file, h, &index, v, places, e);
    size_t before = HEADER_SIZE + SEAL_SIZE + h->index_size;
    if (status == 0)
        status = open_records((struct bytes){ file.data + before, file.size - before }, h, &records,
                              places, v, e);
    /* Only now somebody has vouched for the number. */
    if (status == 0 && h->epoch < epoch)
        status = too_old(h->epoch, epoch, e);
    mem_wipe(&index, sizeof index);
    mem_wipe(&records, sizeof records);
    return status;
}

int vault_unseal(struct bytes file, const uint8_t key[static VAULT_KEY_SIZE], uint64_t epoch,
                 struct vault *ret, struct error *e)
{
    struct header h;
    struct vault v = { 0 };
    *ret = (struct vault){ 0 };
    if (file.size > VAULT_SIZE_MAX)
        return error_set(e, -EBADMSG, "the vault is larger than any can be");
    int status = header_read(file, &h, e);
    if (status < 0)
        return status;
    memcpy(v.id, h.id, sizeof v.id);
    memcpy(v.salt, h.salt, sizeof v.salt);
    memcpy(v.key, key, sizeof v.key);
    v.epoch = h.epoch;
    status = open_all(file, &h, &v, epoch, e);
    if (status == 0)
        *ret = v;
    else
        vault_done(&v);
    mem_wipe(v.key, sizeof v.key);
    return status;
}

/* ---- closing ---- */

static int seal_record(const struct header *h, const struct digest *key, uint32_t place,
                       const struct vault_record *r, struct vault_place *ret, struct buf *out,
                       struct error *e)
{
    CLEANUP(buf_done) struct buf aad = BUF_INIT(256);
    CLEANUP(secret_buf_done) struct buf plain = { 0 };
    int status = record_aad(h, place, &r->item, &aad, e);
    if (status == 0)
        status = secret_buf(&plain, VALUE_SIZE_MAX, e);
    if (status < 0)
        return status;
    buf_bytes(&plain, r->value.data, r->value.size);
    pad(&plain, VALUE_ALIGN);
    if (buf_status(&plain) < 0)
        return error_set(e, -EFBIG, "a value is too large for the vault");
    ret->size = (uint32_t)plain.size;
    return seal(key, (struct bytes){ aad.data, aad.size }, (struct bytes){ plain.data, plain.size },
                out, ret->tag, e);
}

/* The records first: the index names their tags. */
static int seal_parts(struct vault *v, struct header *h, struct buf *index, struct buf *records,
                      struct error *e)
{
    struct digest key = { 0 };
    int status = derive(v->key, h, "records", h->epoch, &key, e);
    for (uint32_t i = 0; i < v->count && status == 0; i++) {
        struct vault_place place = { 0 };
        status = seal_record(h, &key, i, &v->records[i], &place, records, e);
        if (status == 0)
            index_put(index, &v->records[i], &place);
    }
    mem_wipe(&key, sizeof key);
    if (status < 0)
        return status;
    pad(index, INDEX_ALIGN);
    h->index_size = (uint32_t)index->size;
    return buf_status(index) < 0 ? error_set(e, -EFBIG, "the vault is full") : 0;
}

static int seal_whole(struct vault *v, struct header *h, struct buf *out, struct error *e)
{
    CLEANUP(secret_buf_done) struct buf index = { 0 };
    CLEANUP(buf_done) struct buf records = BUF_INIT(VAULT_SIZE_MAX);
    struct digest key = { 0 };
    uint8_t tag[TAG_SIZE];
    size_t most = INDEX_ALIGN;
    for (size_t i = 0; i < v->count; i++)
        most += 256 + strlen(v->records[i].item.locator) + strlen(v->records[i].item.settings);
    int status = secret_buf(&index, MIN(most, (size_t)VAULT_SIZE_MAX), e);
    if (status == 0)
        status = seal_parts(v, h, &index, &records, e);
    if (status == 0)
        status = check_of(v->key, h, h->check, e);
    if (status == 0)
        status = derive(v->key, h, "index", h->epoch, &key, e);
    if (status < 0)
        return status;
    header_put(out, h);
    uint8_t head[HEADER_SIZE];
    if (buf_status(out) == 0)
        memcpy(head, out->data + out->size - HEADER_SIZE, HEADER_SIZE);
    status = buf_status(out) < 0 ? error_set(e, buf_status(out), "no memory for the vault") : 0;
    if (status == 0)
        status = seal(&key, (struct bytes){ head, HEADER_SIZE },
                      (struct bytes){ index.data, index.size }, out, tag, e);
    mem_wipe(&key, sizeof key);
    buf_append(out, records.data, records.size);
    if (status == 0 && buf_status(out) < 0)
        status = error_set(e, buf_status(out) == -ENOMEM ? -ENOMEM : -EFBIG, "the vault is full");
    return status;
}

int vault_seal(struct vault *v, struct buf *out, struct error *e)
{
    struct header h = { .epoch = v->epoch + 1, .count = (uint32_t)v->count };
    memcpy(h.id, v->id, sizeof h.id);
    memcpy(h.salt, v->salt, sizeof h.salt);
    int status = seal_whole(v, &h, out, e);
    if (status == 0)
        v->epoch = h.epoch;
    return status;
}
