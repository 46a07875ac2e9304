/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker/host/keyvalue.c and its buckets: what each verb needs, what a refusal proposes, lists whose
 * cursors hold while keys come and go, sizes to the byte, rates, all or nothing.
 */
#include "tests/unit/worker_fixture.h"
#include "worker/keyvalue.h"

#define ALL "grants:\n- keyvalue: b\n  allow: [get, set, delete, list, increment]\n"

static uint32_t open_bucket(struct fixture *f, const char *name)
{
    uint32_t b = 0;
    CHECK_EQ(f->v->kv_open(f->guest, bytes(name), &b), 0);
    CHECK(b);
    return b;
}

static int set(struct fixture *f, uint32_t b, const char *key, const char *value)
{
    return f->v->kv_set(f->guest, b, bytes(key), bytes(value));
}

static bool is(struct fixture *f, uint32_t b, const char *key, const char *value)
{
    bool found;
    struct ambit_bytes got;
    CHECK_EQ(f->v->kv_get(f->guest, b, bytes(key), &found, &got), 0);
    return value ? found && got.size == strlen(value) && !memcmp(got.data, value, got.size)
                 : !found;
}

TEST(values_come_back)
{
    struct fixture f;
    bool there;
    uint64_t n;
    fixture_open(&f, ALL);
    uint32_t b = open_bucket(&f, "b"), again = open_bucket(&f, "b");
    CHECK(is(&f, b, "k", NULL));
    CHECK_EQ(set(&f, b, "k", "one"), 0);
    CHECK_EQ(set(&f, b, "", ""), 0);
    CHECK(is(&f, again, "k", "one"));
    CHECK(is(&f, b, "", ""));
    CHECK_EQ(set(&f, b, "k", "another"), 0);
    CHECK(is(&f, b, "k", "another"));
    CHECK_EQ(f.v->kv_exists(f.guest, b, bytes("k"), &there), 0);
    CHECK(there);
    CHECK_EQ(f.v->kv_delete(f.guest, b, bytes("k")), 0);
    CHECK_EQ(f.v->kv_delete(f.guest, b, bytes("k")), 0);
    CHECK(is(&f, b, "k", NULL));
    CHECK_EQ(f.v->kv_increment(f.guest, b, bytes("n"), 5, &n), 0);
    CHECK_EQ(n, 5);
    CHECK_EQ(f.v->kv_increment(f.guest, b, bytes("n"), 37, &n), 0);
    CHECK(is(&f, b, "n", "42"));
    CHECK_EQ(set(&f, b, "n", "18446744073709551615"), 0);
    CHECK_EQ(f.v->kv_increment(f.guest, b, bytes("n"), 1, &n), AMBIT_KV_OTHER);
    CHECK_EQ(set(&f, b, "n", "-1"), 0);
    CHECK_EQ(f.v->kv_increment(f.guest, b, bytes("n"), 1, &n), AMBIT_KV_OTHER);
    CHECK_HAS((const char *)f.v->kv_error(f.guest).data, "no number");
    CHECK_EQ(f.denials, 0);
    CHECK_EQ(f.guest->uses[0].verbs, KV_GET | KV_SET | KV_DELETE | KV_INCREMENT);
    fixture_close(&f);
}

TEST(what_is_not_granted_is_denied)
{
    struct fixture f;
    uint32_t b = 0;
    bool found;
    uint64_t n;
    struct ambit_bytes value;
    const struct ambit_bytes *keys;
    size_t count;
    fixture_open(&f, "grants:\n- keyvalue: b\n  allow: [get]\n  keys: [run-*]\n");
    CHECK_EQ(f.v->kv_open(f.guest, bytes("other"), &b), AMBIT_KV_ACCESS_DENIED);
    CHECK_HAS(f.yaml[0], "keyvalue: other");
    CHECK_EQ(f.v->kv_open(f.guest, bytes(""), &b), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(f.v->kv_open(f.guest, (struct ambit_bytes){ (const uint8_t *)"b\0c", 3 }, &b),
             AMBIT_KV_ACCESS_DENIED); /* is not "b" */
    b = open_bucket(&f, "b");
    CHECK_EQ(f.v->kv_get(f.guest, b, bytes("run-1"), &found, &value), 0);
    CHECK_EQ(f.v->kv_get(f.guest, b, bytes("x"), &found, &value), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(set(&f, b, "run-1", "v"), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(f.v->kv_delete(f.guest, b, bytes("run-1")), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(f.v->kv_increment(f.guest, b, bytes("run-1"), 1, &n), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(f.v->kv_list(f.guest, b, 0, &keys, &count, &n), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(f.denials, 8);
    CHECK_STR(f.operations[3], "get");
    CHECK_STR(f.resources[3], "b/x");
    CHECK_HAS(f.yaml[4], "set");
    CHECK_HAS(f.yaml[4], "run-1");
    guest_revoke(f.guest, GRANT_EXPIRED);
    CHECK_EQ(f.v->kv_get(f.guest, b, bytes("run-1"), &found, &value), AMBIT_KV_ACCESS_DENIED);
    CHECK(!f.guest->ended);
    fixture_close(&f);
}

TEST(lists_hold_while_keys_come_and_go)
{
    enum { COUNT = 3000 };
    struct fixture f;
    char key[32];
    const struct ambit_bytes *keys;
    size_t count, seen = 0, last = 0;
    uint64_t cursor = 0;
    fixture_open(&f, ALL);
    uint32_t b = open_bucket(&f, "b");
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        CHECK_EQ(set(&f, b, key, "v"), 0);
    }
    CHECK_EQ(set(&f, b, "key-7", "w"), 0); /* keeps its place */
    do {
        CHECK_EQ(f.v->kv_list(f.guest, b, cursor, &keys, &count, &cursor), 0);
        for (size_t i = 0; i < count; i++) {
            size_t number = (size_t)strtoul((const char *)keys[i].data + 4, NULL, 10);
            CHECK(seen == 0 || number > last); /* in the order of making, none twice */
            last = number;
            seen++;
        }
        /* Some before the cursor and some behind it go, one comes. */
        for (int i = 0; i < COUNT; i += 3) {
            snprintf(key, sizeof(key), "key-%d", i);
            CHECK_EQ(f.v->kv_delete(f.guest, b, bytes(key)), 0);
        }
        snprintf(key, sizeof(key), "key-%zu", COUNT + seen);
        CHECK_EQ(set(&f, b, key, "new"), 0);
    } while (cursor);
    CHECK(seen >= 1024 + (COUNT - 1024) * 2 / 3);
    CHECK(is(&f, b, "key-1", "v"));
    CHECK(is(&f, b, "key-3", NULL));
    CHECK_EQ(f.v->kv_list(f.guest, b, UINT64_MAX, &keys, &count, &cursor), 0);
    CHECK(count == 0 && cursor == 0);
    fixture_close(&f);
}

TEST(only_keys_that_may_be_listed)
{
    struct fixture f;
    const struct ambit_bytes *keys;
    size_t count;
    uint64_t cursor;
    fixture_open(&f, "grants:\n- keyvalue: b\n  allow: [set]\n"
                     "- keyvalue: b\n  allow: [list]\n  keys: [public/**]\n");
    uint32_t b = open_bucket(&f, "b");
    CHECK_EQ(set(&f, b, "secret", "v"), 0);
    CHECK_EQ(set(&f, b, "public/x", "v"), 0);
    CHECK_EQ(f.v->kv_list(f.guest, b, 0, &keys, &count, &cursor), 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(memcmp(keys[0].data, "public/x", 8), 0);
    fixture_close(&f);
}

TEST(a_full_bucket)
{
    static char value[4096];
    struct fixture f;
    memset(value, 'v', sizeof(value));
    fixture_open(&f, ALL "  max_bytes: 4096\n");
    uint32_t b = open_bucket(&f, "b");
    struct ambit_bytes most = { (const uint8_t *)value, 4096 - BUCKET_KEY_COST - 1 };
    CHECK_EQ(f.v->kv_set(f.guest, b, bytes("k"), most), 0); /* to the byte */
    most.size++;
    CHECK_EQ(f.v->kv_set(f.guest, b, bytes("k"), most), AMBIT_KV_OTHER);
    CHECK_EQ(f.guest->denials->items[0].reason, GRANT_QUOTA_BYTES);
    CHECK_STR(f.yaml[0], "");
    most.size--;
    CHECK_EQ(f.v->kv_set(f.guest, b, bytes("k"), most), 0); /* replaced, not added */
    CHECK_EQ(set(&f, b, "x", ""), AMBIT_KV_OTHER);
    CHECK_EQ(f.v->kv_delete(f.guest, b, bytes("k")), 0); /* always possible */
    CHECK_EQ(set(&f, b, "x", "y"), 0);
    fixture_close(&f);
}

TEST(all_or_nothing)
{
    static char value[4096];
    struct fixture f;
    fixture_open(&f, "grants:\n- keyvalue: b\n  allow: [get, set, delete]\n  keys: [a, b, c]\n"
                     "  max_bytes: 4096\n");
    uint32_t b = open_bucket(&f, "b");
    CHECK_EQ(set(&f, b, "a", "old"), 0);
    struct ambit_pair pairs[] = { { bytes("a"), bytes("new") },
                                  { bytes("b"), bytes("new") },
                                  { bytes("x"), bytes("new") } };
    CHECK_EQ(f.v->kv_set_many(f.guest, b, pairs, 3), AMBIT_KV_ACCESS_DENIED);
    CHECK(is(&f, b, "a", "old") && is(&f, b, "b", NULL));
    pairs[2] = (struct ambit_pair){ bytes("c"), { (const uint8_t *)value, sizeof(value) } };
    CHECK_EQ(f.v->kv_set_many(f.guest, b, pairs, 3), AMBIT_KV_OTHER);
    CHECK(is(&f, b, "a", "old") && is(&f, b, "b", NULL));
    pairs[0] = (struct ambit_pair){ bytes("a"), { NULL, 0 } };
    pairs[2] = (struct ambit_pair){ bytes("b"), bytes("last") };
    CHECK_EQ(f.v->kv_set_many(f.guest, b, pairs, 3), 0);
    CHECK(is(&f, b, "a", NULL) && is(&f, b, "b", "last"));
    fixture_close(&f);
}

TEST(a_rate)
{
    struct fixture f;
    fixture_open(&f, ALL "  rate: 3/h\n");
    uint32_t b = open_bucket(&f, "b");
    for (int i = 0; i < 3; i++)
        CHECK_EQ(set(&f, b, "k", "v"), 0);
    CHECK_EQ(set(&f, b, "k", "v"), AMBIT_KV_OTHER);
    CHECK_EQ(f.guest->denials->items[0].reason, GRANT_RATE);
    CHECK_STR(f.yaml[0], "");
    fixture_close(&f);
}

static int used(void)
{
    struct fixture f;
    uint32_t b = 0;
    const struct ambit_bytes *keys;
    size_t count;
    uint64_t n;
    int status = fixture_try(&f, ALL, -1, -1, -1);
    if (status == 0) {
        if (f.v->kv_open(f.guest, bytes("b"), &b) == 0 && set(&f, b, "k", "v") == 0 &&
            f.v->kv_increment(f.guest, b, bytes("n"), 1, &n) == 0 &&
            f.v->kv_list(f.guest, b, 0, &keys, &count, &n) == 0)
            (void)!f.v->kv_open(f.guest, bytes("x"), &b);
        status = f.guest->ended ? -ENOMEM : 0;
    }
    fixture_close(&f);
    return status;
}

TEST(memory_failures)
{
    TORTURE(used());
}

TEST_MAIN()
