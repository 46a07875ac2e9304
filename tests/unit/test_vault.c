/* SPDX-License-Identifier: Apache-2.0 */
/* src/keeper/vault.c and state.c: what is sealed opens again, and nothing that was changed does. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "keeper/parts.h"
#include "tests/unit/test.h"

static const uint8_t key_a[VAULT_KEY_SIZE] = "an installation's key, 32 bytes";
static const uint8_t key_b[VAULT_KEY_SIZE] = "another installation's, 32 byte";

static void add(struct vault *v, const char *name, const char *value)
{
    struct vault_record r = { .item = { .name = mem_strdup(name),
                                        .locator = mem_strdup(""),
                                        .settings = mem_strdup("{}"),
                                        .made_s = 7,
                                        .changed_s = 8,
                                        .version = 1 } };
    struct error e = ERROR_INIT;
    CHECK_EQ(secret_copy(&r.value, value, strlen(value)), 0);
    CHECK_EQ(vault_add(v, &r, &e), 0);
}

static void make(struct vault *v, const uint8_t *key)
{
    struct error e = ERROR_INIT;
    CHECK_EQ(vault_new(v, &e), 0);
    memcpy(v->key, key, VAULT_KEY_SIZE);
}

static struct bytes sealed(struct vault *v, struct buf *out)
{
    struct error e = ERROR_INIT;
    buf_clear(out);
    if (vault_seal(v, out, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return (struct bytes){ out->data, out->size };
}

static int opens(struct bytes file, const uint8_t *key, uint64_t epoch, struct error *e)
{
    struct vault v;
    struct error own = ERROR_INIT;
    int status = vault_unseal(file, key, epoch, &v, e ? e : &own);
    vault_done(&v);
    return status;
}

TEST(what_is_sealed_opens)
{
    struct vault v, back;
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    struct error e = ERROR_INIT;
    char large[SECRET_SOURCE_MAX + 1];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    make(&v, key_a);
    CHECK_EQ(opens(sealed(&v, &out), key_a, 1, NULL), 0); /* an empty one */
    add(&v, "github-token", "ghp_0123456789abcdef");
    add(&v, "large", large);
    add(&v, "empty", "");
    struct bytes file = sealed(&v, &out);
    CHECK_EQ(v.epoch, 2);
    CHECK(memmem(file.data, file.size, "github-token", 12) == NULL);
    CHECK(memmem(file.data, file.size, "ghp_", 4) == NULL);
    CHECK_EQ(vault_unseal(file, key_a, 2, &back, &e), 0);
    CHECK_EQ(back.count, 3);
    CHECK_EQ(back.epoch, 2);
    struct vault_record *r = vault_find(&back, "github-token");
    CHECK(r && r->value.size == 20 && memcmp(r->value.data, "ghp_0123456789abcdef", 20) == 0);
    CHECK_EQ(r->item.made_s, 7);
    CHECK_EQ(vault_find(&back, "large")->value.size, SECRET_SOURCE_MAX);
    CHECK_EQ(vault_find(&back, "empty")->value.size, 0);
    CHECK(vault_find(&back, "large-") == NULL);
    vault_done(&back);
    vault_done(&v);
    buf_done(&out);
}

TEST(every_byte_that_is_changed_is_found)
{
    struct vault v;
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    make(&v, key_a);
    add(&v, "one", "0123456789abcdef");
    add(&v, "two", "fedcba9876543210");
    struct bytes file = sealed(&v, &out);
    CHECK_EQ(opens(file, key_a, 1, NULL), 0);
    for (size_t i = 0; i < file.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct error e = ERROR_INIT;
            out.data[i] ^= (uint8_t)(1 << bit);
            int status = opens(file, key_a, 0, &e);
            out.data[i] ^= (uint8_t)(1 << bit);
            if (status != -EKEYREJECTED && status != -EBADMSG)
                test_fail(__FILE__, __LINE__, "bit %d of byte %zu: %d", bit, i, status);
            CHECK(e.what[0] && !strstr(e.what, "0123456789"));
        }
    }
    vault_done(&v);
    buf_done(&out);
}

TEST(every_cut_and_every_tail_is_found)
{
    struct vault v;
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    make(&v, key_a);
    add(&v, "one", "0123456789abcdef");
    struct bytes file = sealed(&v, &out);
    for (size_t size = 0; size < file.size; size++) {
        struct error e = ERROR_INIT;
        /* Its own block, so that a sanitizer sees a read past the end. */
        uint8_t *copy = mem_alloc(size);
        memcpy(copy, file.data, size);
        CHECK_EQ(opens((struct bytes){ copy, size }, key_a, 0, &e), -EBADMSG);
        CHECK_HAS(e.what, "cut short");
        CHECK_HAS(e.hint, "nothing of it was changed");
        mem_free(copy);
    }
    buf_putc(&out, '\0');
    CHECK_EQ(opens((struct bytes){ out.data, out.size }, key_a, 0, NULL), -EKEYREJECTED);
    CHECK_EQ(opens(bytes_of("root:x:0:0:root:/root:/bin/sh\n and more than a header would hold"),
                   key_a, 0, NULL),
             -EBADMSG);
    vault_done(&v);
    buf_done(&out);
}

TEST(another_key_and_another_installation)
{
    struct vault a, b;
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    struct error e = ERROR_INIT;
    make(&a, key_a);
    make(&b, key_b);
    add(&a, "one", "0123456789abcdef");
    struct bytes file = sealed(&a, &out);
    CHECK_EQ(opens(file, key_b, 0, &e), -EKEYREJECTED);
    CHECK_HAS(e.what, "another key, or a vault of another installation");
    CHECK_HAS(e.hint, "--vault-key");
    vault_done(&a);
    vault_done(&b);
    buf_done(&out);
}

/* Sealed by fuzz/make_keeper_corpus, which knows docs/vault.md and none of this code. */
TEST(what_another_program_sealed_opens)
{
    struct buf seed = BUF_INIT(VAULT_SIZE_MAX);
    struct vault v;
    struct error e = ERROR_INIT;
    static const uint8_t key[VAULT_KEY_SIZE] = "the key of a vault that fuzzers";
    CHECK_EQ(file_read(TEST_SOURCE_ROOT "/fuzz/corpus/keeper/vault", &seed, &e), 0);
    if (vault_unseal((struct bytes){ seed.data + 1, seed.size - 1 }, key, 1, &v, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    CHECK_EQ(v.count, 2);
    struct vault_record *r = vault_find(&v, "two");
    CHECK(r && r->value.size == 16 && memcmp(r->value.data, "fedcba9876543210", 16) == 0);
    vault_done(&v);
    buf_done(&seed);
}

/* Where the records begin: header, index with its nonce and tag. */
static size_t records_at(const struct buf *file)
{
    struct cursor c = cursor_of(file->data + 60, 4);
    return 80 + 28 + cursor_u32(&c);
}

#define RECORD (12 + 64 + 16) /* of a value that is short */

TEST(records_are_bound_to_their_place_name_and_vault)
{
    struct vault v, w;
    struct buf out = BUF_INIT(VAULT_SIZE_MAX), other = BUF_INIT(VAULT_SIZE_MAX);
    struct error e = ERROR_INIT;
    uint8_t first[RECORD];
    make(&v, key_a);
    add(&v, "one", "0123456789abcdef");
    add(&v, "two", "fedcba9876543210");
    struct bytes file = sealed(&v, &out);
    uint8_t *at = out.data + records_at(&out);
    CHECK_EQ(file.size, records_at(&out) + 2 * RECORD);
    memcpy(first, at, RECORD);
    /* swapped */
    memcpy(at, at + RECORD, RECORD);
    memcpy(at + RECORD, first, RECORD);
    CHECK_EQ(opens(file, key_a, 0, &e), -EKEYREJECTED);
    CHECK_HAS(e.what, "somebody has changed the vault");
    /* doubled */
    memcpy(at, first, RECORD);
    CHECK_EQ(opens(file, key_a, 0, NULL), -EKEYREJECTED);
    /* of another vault under the same key, and of an older epoch of this one */
    make(&w, key_a);
    add(&w, "one", "0123456789abcdef");
    add(&w, "two", "fedcba9876543210");
    (void)sealed(&w, &other);
    memcpy(at + RECORD, other.data + records_at(&other) + RECORD, RECORD);
    CHECK_EQ(opens(file, key_a, 0, NULL), -EKEYREJECTED);
    (void)sealed(&v, &other);
    memcpy(at + RECORD, other.data + records_at(&other) + RECORD, RECORD);
    CHECK_EQ(opens(file, key_a, 0, NULL), -EKEYREJECTED);
    /* dropped */
    CHECK_EQ(opens((struct bytes){ out.data, out.size - RECORD }, key_a, 0, NULL), -EBADMSG);
    vault_done(&v);
    vault_done(&w);
    buf_done(&out);
    buf_done(&other);
}

TEST(an_older_vault_is_found)
{
    struct vault v;
    struct buf old = BUF_INIT(VAULT_SIZE_MAX), new = BUF_INIT(VAULT_SIZE_MAX);
    struct error e = ERROR_INIT;
    make(&v, key_a);
    add(&v, "one", "0123456789abcdef");
    struct bytes first = sealed(&v, &old), second = sealed(&v, &new);
    CHECK_EQ(opens(second, key_a, 2, NULL), 0);
    CHECK_EQ(opens(first, key_a, 1, NULL), 0);
    CHECK_EQ(opens(first, key_a, 2, &e), -ESTALE);
    CHECK_HAS(e.what, "an older vault was put back");
    /* Another number in the head alone does not help. */
    old.data[44] = 9;
    CHECK_EQ(opens(first, key_a, 2, NULL), -EKEYREJECTED);
    vault_done(&v);
    buf_done(&old);
    buf_done(&new);
}

static int key_of(const char *kind, struct bytes text, uint8_t *ret, struct error *e)
{
    static const uint8_t salt[16] = "a salt, 16 bytes";
    struct error own = ERROR_INIT;
    return vault_key(kind, salt, text, ret, e ? e : &own);
}

TEST(keys_are_read_as_they_are_kept)
{
    uint8_t a[VAULT_KEY_SIZE], b[VAULT_KEY_SIZE];
    struct error e = ERROR_INIT;
    const char *base64 = "YW4gaW5zdGFsbGF0aW9uJ3Mga2V5LCAzMiBieXRlcwA=";
    char text[64];
    CHECK_EQ(key_of("file", (struct bytes){ key_a, 32 }, a, NULL), 0);
    CHECK(memcmp(a, key_a, 32) == 0);
    static const char *const kinds[] = { "file", "command", "credential" };
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        CHECK_EQ(key_of(kinds[i], bytes_of(base64), b, NULL), 0);
        CHECK(memcmp(b, key_a, 32) == 0);
        snprintf(text, sizeof text, "%s\n", base64);
        CHECK_EQ(key_of(kinds[i], bytes_of(text), b, NULL), 0);
        CHECK(memcmp(b, key_a, 32) == 0);
    }
    static const char *const none[] = { "", "short", "YW4gaW5zdGFsbGF0aW9uJ3Mga2V5LCAzMiBieXRlcwA",
                                        "YW4gaW5zdGFsbGF0aW9uJ3Mga2V5LCAzMiBieXRlcwB=",
                                        "YW4gaW5zdGFsbGF0aW9uJ3Mga2V5LCAzMiBieXRlc!A=" };
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        error_clear(&e);
        CHECK_EQ(key_of("file", bytes_of(none[i]), b, &e), -EINVAL);
        CHECK_HAS(e.hint, "32 random bytes");
    }
}

TEST(a_passphrase_is_stretched_with_the_salt)
{
    static const uint8_t other[16] = "another, 16 byte";
    uint8_t a[VAULT_KEY_SIZE], b[VAULT_KEY_SIZE];
    struct error e = ERROR_INIT;
    CHECK_EQ(key_of("passphrase", bytes_of("correct horse battery"), a, NULL), 0);
    CHECK_EQ(key_of("passphrase", bytes_of("correct horse battery\r\nrest"), b, NULL), 0);
    CHECK(memcmp(a, b, sizeof a) == 0);
    CHECK_EQ(vault_key("passphrase", other, bytes_of("correct horse battery"), b, &e), 0);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK_EQ(key_of("passphrase", bytes_of("seven b"), b, &e), -EINVAL);
    CHECK_HAS(e.what, "fewer than 8 bytes");
}

static int seal_and_open(struct vault *v)
{
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    struct vault back = { 0 };
    struct error e = ERROR_INIT;
    uint64_t epoch = v->epoch;
    int status = vault_seal(v, &out, &e);
    if (status == 0)
        status = vault_unseal((struct bytes){ out.data, out.size }, v->key, 0, &back, &e);
    else if (v->epoch != epoch)
        status = -EIO;
    vault_done(&back);
    buf_done(&out);
    return status;
}

TEST(no_allocation_that_fails_is_lost)
{
    struct vault v;
    make(&v, key_a);
    add(&v, "one", "0123456789abcdef");
    add(&v, "two", "fedcba9876543210");
    TORTURE(seal_and_open(&v));
    vault_done(&v);
}

TEST(a_vault_holds_so_much_and_no_more)
{
    struct vault v;
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    struct error e = ERROR_INIT;
    char name[SECRET_NAME_MAX + 1], *large = mem_zalloc(SECRET_SOURCE_MAX + 1);
    memset(large, 'x', SECRET_SOURCE_MAX);
    make(&v, key_a);
    for (int i = 0; i < 130; i++) {
        snprintf(name, sizeof name, "name-%d", i);
        add(&v, name, large);
    }
    CHECK_EQ(vault_seal(&v, &out, &e), -EFBIG);
    CHECK_EQ(v.epoch, 0);
    CHECK_HAS(e.what, "full");
    mem_free(large);
    vault_done(&v);
    buf_done(&out);
}

/* ---- state.c ---- */

static int state_fd(void)
{
    int fd = memfd_create("state", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, KEEPER_STATE_SIZE), 0);
    return fd;
}

TEST(the_memory_outlives_who_wrote_it)
{
    struct keeper_state *s;
    struct error e = ERROR_INIT;
    uint8_t key[VAULT_KEY_SIZE];
    int fd = state_fd(), status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (state_map(fd, &s, &e) < 0)
            _exit(1);
        state_keep_key(s, key_a);
        if (state_keep_authority(s, bytes_of("a key and a certificate"), &e) < 0)
            _exit(1);
        for (int i = 0; i < 3; i++) {
            state_echoed(s, "github-token");
            state_release(s, 7);
        }
        state_spend(s, 1, 99);
        abort(); /* no goodbye */
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(state_map(fd, &s, &e), 0);
    CHECK(state_key(s, key) && memcmp(key, key_a, sizeof key) == 0);
    CHECK(bytes_are(state_authority(s), "a key and a certificate"));
    CHECK_EQ(state_echoes(s, "github-token"), 3);
    CHECK_EQ(state_echoes(s, "github-toke"), 0);
    CHECK_EQ(state_released(s, 7), 3);
    CHECK_EQ(state_released(s, 8), 0);
    CHECK(state_is_spent(s, 1, 99) && !state_is_spent(s, 2, 99) && !state_is_spent(s, 1, 98));
    state_unmap(s);
    close(fd);
}

TEST(what_was_torn_is_not_believed)
{
    struct keeper_state *s;
    struct error e = ERROR_INIT;
    uint8_t key[VAULT_KEY_SIZE];
    int fd = state_fd();
    CHECK_EQ(state_map(fd, &s, &e), 0);
    CHECK(!state_key(s, key));
    CHECK_EQ(state_authority(s).size, 0);
    state_keep_key(s, key_a);
    CHECK_EQ(state_keep_authority(s, bytes_of("a key and a certificate"), &e), 0);
    uint8_t *at = (uint8_t *)s;
    uint8_t *kept = memmem(at, KEEPER_STATE_SIZE, key_a, sizeof key_a);
    CHECK(kept != NULL);
    kept[3] ^= 1;
    CHECK(!state_key(s, key));
    kept = memmem(at, KEEPER_STATE_SIZE, "a certificate", 13);
    CHECK(kept != NULL);
    kept[3] ^= 1;
    CHECK_EQ(state_authority(s).size, 0);
    /* A counter of which only the half that is written first is there. */
    state_release(s, 0);
    state_release(s, 0);
    for (size_t i = 0; i + 8 <= KEEPER_STATE_SIZE; i += 8) {
        uint64_t inverted;
        memcpy(&inverted, at + i, sizeof inverted);
        if (inverted == ~UINT64_C(2)) {
            inverted = ~UINT64_C(1);
            memcpy(at + i, &inverted, sizeof inverted);
        }
    }
    CHECK_EQ(state_released(s, 0), 2);
    state_unmap(s);
    CHECK_EQ(ftruncate(fd, 100), 0);
    CHECK_EQ(state_map(fd, &s, &e), -EBADMSG);
    close(fd);
}

TEST(names_without_a_place_count_as_often)
{
    struct keeper_state *s;
    struct error e = ERROR_INIT;
    char name[16];
    int fd = state_fd();
    CHECK_EQ(state_map(fd, &s, &e), 0);
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "s%d", i);
        CHECK_EQ(state_echoed(s, name), 1);
    }
    CHECK_EQ(state_echoed(s, "s0"), 2);
    CHECK_EQ(state_echoed(s, "one-more"), UINT32_MAX);
    for (uint64_t i = 1; i <= STATE_SPENT_MAX + 1; i++)
        state_spend(s, 1, i);
    CHECK(!state_is_spent(s, 1, 1) && state_is_spent(s, 1, 2) &&
          state_is_spent(s, 1, STATE_SPENT_MAX + 1));
    state_unmap(s);
    close(fd);
}

TEST_MAIN()
