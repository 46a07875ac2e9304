/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that outlives the room: a memfd that control made and keeps open without looking, so
 * that a keeper that was killed goes on where it was: the passphrase is asked once, clients go on
 * trusting the CA, and nothing that was counted or suspended is forgotten.
 *
 * Memory that is shared by mapping does not tear when a process dies: each store is there or is not.
 * So a part is written with its digest, and then the flag that says it is there; a counter stands
 * twice, and the one that is written first counts, which is the higher.
 */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "keeper/parts.h"

#define VERSION 0x31504b41u /* "AKP1" */
#define AUTHORITY_MAX (48u << 10)
#define ECHOES_MAX 256

struct echoes {
    _Atomic uint32_t count; /* 0: the place is free */
    char name[SECRET_NAME_MAX + 4];
};
struct count {
    _Atomic uint64_t value, inverted;
};
struct spent {
    _Atomic uint64_t number;
    _Atomic uint32_t life;
};
struct keeper_state {
    _Atomic uint32_t version; /* 0: nothing was written yet */
    _Atomic uint32_t key_is_there, authority_size;
    uint8_t key[VAULT_KEY_SIZE], key_digest[DIGEST_SIZE], authority_digest[DIGEST_SIZE];
    _Atomic uint64_t spent_count; /* ever; its remainder is the next place */
    struct count released[STATE_RULES_MAX];
    struct spent spent[STATE_SPENT_MAX];
    struct echoes echoes[ECHOES_MAX];
    uint8_t authority[AUTHORITY_MAX];
};
_Static_assert(sizeof(struct keeper_state) <= KEEPER_STATE_SIZE, "control makes room for it");

int state_map(int fd, struct keeper_state **ret, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size < KEEPER_STATE_SIZE)
        return error_set(e, -EBADMSG, "the memory that outlives keeper is too small");
    void *at = mmap(NULL, KEEPER_STATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return error_set_errno(e, errno, "the memory that outlives keeper cannot be mapped");
    (void)!mlock(at, KEEPER_STATE_SIZE); /* where RLIMIT_MEMLOCK lets us */
    (void)!madvise(at, KEEPER_STATE_SIZE, MADV_DONTDUMP);
    struct keeper_state *s = at;
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong(&s->version, &none, VERSION) && none != VERSION) {
        munmap(at, KEEPER_STATE_SIZE);
        return error_set(e, -EBADMSG, "the memory that outlives keeper is of another version");
    }
    *ret = s;
    return 0;
}

void state_unmap(struct keeper_state *s)
{
    if (s)
        munmap(s, KEEPER_STATE_SIZE);
}

static bool digest_fits(const void *bytes, size_t size, const uint8_t want[static DIGEST_SIZE])
{
    struct digest is;
    return digest_bytes(bytes, size, &is, NULL) == 0 && memcmp(is.bytes, want, DIGEST_SIZE) == 0;
}

bool state_key(const struct keeper_state *s, uint8_t ret[static VAULT_KEY_SIZE])
{
    if (atomic_load(&s->key_is_there) != 1 || !digest_fits(s->key, VAULT_KEY_SIZE, s->key_digest))
        return false;
    memcpy(ret, s->key, VAULT_KEY_SIZE);
    return true;
}

void state_keep_key(struct keeper_state *s, const uint8_t key[static VAULT_KEY_SIZE])
{
    struct digest d;
    atomic_store(&s->key_is_there, 0);
    if (digest_bytes(key, VAULT_KEY_SIZE, &d, NULL) < 0)
        return;
    memcpy(s->key, key, VAULT_KEY_SIZE);
    memcpy(s->key_digest, d.bytes, DIGEST_SIZE);
    atomic_store(&s->key_is_there, 1);
}

struct bytes state_authority(const struct keeper_state *s)
{
    uint32_t size = atomic_load(&s->authority_size);
    if (size == 0 || size > AUTHORITY_MAX || !digest_fits(s->authority, size, s->authority_digest))
        return (struct bytes){ 0 };
    return (struct bytes){ s->authority, size };
}

int state_keep_authority(struct keeper_state *s, struct bytes kept, struct error *e)
{
    struct digest d;
    if (kept.size == 0 || kept.size > AUTHORITY_MAX)
        return error_set(e, -EFBIG, "the certificate authority is too large to be kept");
    atomic_store(&s->authority_size, 0);
    int status = digest_bytes(kept.data, kept.size, &d, e);
    if (status < 0)
        return status;
    memcpy(s->authority, kept.data, kept.size);
    memcpy(s->authority_digest, d.bytes, DIGEST_SIZE);
    atomic_store(&s->authority_size, (uint32_t)kept.size);
    return 0;
}

/* ---- echoes ---- */

uint32_t state_echoes(const struct keeper_state *s, const char *name)
{
    for (size_t i = 0; i < ECHOES_MAX; i++)
        if (atomic_load(&s->echoes[i].count) &&
            strncmp(s->echoes[i].name, name, sizeof s->echoes[i].name) == 0)
            return atomic_load(&s->echoes[i].count);
    return 0;
}

uint32_t state_echoed(struct keeper_state *s, const char *name)
{
    ASSERT(strlen(name) <= SECRET_NAME_MAX);
    for (size_t i = 0; i < ECHOES_MAX; i++) {
        struct echoes *one = &s->echoes[i];
        uint32_t count = atomic_load(&one->count);
        if (count && strncmp(one->name, name, sizeof one->name) != 0)
            continue;
        if (!count) {
            memset(one->name, 0, sizeof one->name);
            memcpy(one->name, name, strlen(name));
        }
        if (count < UINT32_MAX - 1)
            count++;
        atomic_store(&one->count, count);
        return count;
    }
    return UINT32_MAX;
}

/* ---- releases ---- */

uint64_t state_released(const struct keeper_state *s, uint32_t rule)
{
    ASSERT(rule < STATE_RULES_MAX);
    uint64_t value = atomic_load(&s->released[rule].value);
    uint64_t inverted = atomic_load(&s->released[rule].inverted);
    return inverted ? MAX(value, ~inverted) : value;
}

void state_release(struct keeper_state *s, uint32_t rule)
{
    uint64_t count = state_released(s, rule) + 1;
    atomic_store(&s->released[rule].value, count);
    atomic_store(&s->released[rule].inverted, ~count);
}

/* ---- admissions that were taken ---- */

void state_spend(struct keeper_state *s, uint32_t life, uint64_t number)
{
    struct spent *one = &s->spent[atomic_load(&s->spent_count) % STATE_SPENT_MAX];
    atomic_store(&one->life, 0); /* no life is 0: until it is whole it is nobody's */
    atomic_store(&one->number, number);
    atomic_store(&one->life, life);
    atomic_fetch_add(&s->spent_count, 1);
}

bool state_is_spent(const struct keeper_state *s, uint32_t life, uint64_t number)
{
    uint64_t count = MIN(atomic_load(&s->spent_count) + 1, (uint64_t)STATE_SPENT_MAX);
    for (size_t i = 0; i < count; i++)
        if (atomic_load(&s->spent[i].life) == life && atomic_load(&s->spent[i].number) == number)
            return true;
    return false;
}

bool state_has_spent(const struct keeper_state *s)
{
    return atomic_load(&s->spent_count) > 0 || atomic_load(&s->spent[0].life) > 0;
}
