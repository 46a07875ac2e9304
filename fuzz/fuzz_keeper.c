/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and its clients read, on any bytes. The first byte says which: a payload of one of the
 * frames, a vault, or the index of one as it is once somebody's key has opened it. Laws: a payload that
 * is taken, put again, is the same bytes; slices lie within it; a vault opens only when its tags fit,
 * and what came of it can be sealed again.
 */
#include <string.h>

#include "keeper/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (256u << 10)

static struct secret_field fields[SECRET_ASK_FIELDS_MAX];

static void check_same(struct buf *out, const uint8_t *data, size_t size)
{
    ASSERT(buf_status(out) == 0);
    ASSERT(out->size == size && (size == 0 || memcmp(out->data, data, size) == 0));
    buf_done(out);
}

static void check_item(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(2 * INPUT_MAX);
    struct cursor c = cursor_of(data, size);
    struct keeper_item i;
    if (keeper_item_get(&c, &i, NULL) < 0)
        return;
    ASSERT(i.name[0] && i.source < SECRET_SOURCE_COUNT && i.kind < SECRET_KIND_COUNT);
    keeper_item_put(&out, &i);
    keeper_item_done(&i);
    check_same(&out, data, size);
}

static void check_start(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(2 * INPUT_MAX);
    struct cursor c = cursor_of(data, size);
    struct keeper_start s;
    if (keeper_start_get(&c, &s, NULL) < 0)
        return;
    keeper_start_put(&out, &s);
    keeper_start_done(&s);
    check_same(&out, data, size);
}

static void check_ask(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(2 * INPUT_MAX);
    struct cursor c = cursor_of(data, size);
    struct secret_ask a;
    if (secret_ask_get(&c, fields, SECRET_ASK_FIELDS_MAX, &a, NULL) < 0)
        return;
    for (size_t i = 0; i < a.field_count; i++)
        ASSERT(!memchr(a.fields[i].value.data, '\n', a.fields[i].value.size) &&
               a.fields[i].value.data + a.fields[i].value.size <= data + size);
    secret_ask_put(&out, &a);
    check_same(&out, data, size);
}

#define CHECK_FRAME(type)                                      \
    static void check_##type(const uint8_t *data, size_t size) \
    {                                                          \
        struct buf out = BUF_INIT(2 * INPUT_MAX);              \
        struct cursor c = cursor_of(data, size);               \
        struct type v;                                         \
        if (type##_get(&c, &v, NULL) < 0)                      \
            return;                                            \
        type##_put(&out, &v);                                  \
        check_same(&out, data, size);                          \
    }
CHECK_FRAME(secret_values)
CHECK_FRAME(secret_refused)
CHECK_FRAME(secret_mint)
CHECK_FRAME(secret_minted)
CHECK_FRAME(leaf_ask)
CHECK_FRAME(leaf_given)
CHECK_FRAME(leaf_refused)
#undef CHECK_FRAME

/* The key of the seeds. */
static const uint8_t key[VAULT_KEY_SIZE] = "the key of a vault that fuzzers";

static void check_vault(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    struct vault v, again;
    struct error e = ERROR_INIT;
    uint8_t salt[16];
    int status = vault_unseal((struct bytes){ data, size }, key, 0, &v, &e);
    if (status < 0) {
        ASSERT(e.what[0] && v.records == NULL);
        return;
    }
    ASSERT(vault_peek((struct bytes){ data, size }, salt, NULL) == 0);
    ASSERT(memcmp(salt, v.salt, sizeof salt) == 0);
    ASSERT(vault_seal(&v, &out, &e) == 0);
    ASSERT(vault_unseal((struct bytes){ out.data, out.size }, key, v.epoch, &again, &e) == 0);
    ASSERT(again.count == v.count);
    vault_done(&v);
    vault_done(&again);
    buf_done(&out);
}

static void check_index(const uint8_t *data, size_t size)
{
    static struct vault_place places[VAULT_ITEMS_MAX];
    struct vault v = { 0 };
    if (size < 2)
        return;
    uint32_t count = (uint32_t)(data[0] | data[1] << 8) % (VAULT_ITEMS_MAX + 1);
    if (vault_index_read((struct bytes){ data + 2, size - 2 }, count, &v, places, NULL) == 0)
        ASSERT(v.count == count);
    vault_done(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(const uint8_t *, size_t) = {
        check_item,           check_start,        check_ask,           check_secret_values,
        check_secret_refused, check_secret_mint,  check_secret_minted, check_leaf_ask,
        check_leaf_given,     check_leaf_refused, check_vault,         check_index,
    };
    if (size == 0 || size > INPUT_MAX)
        return 0;
    checks[data[0] % ARRAY_SIZE(checks)](data + 1, size - 1);
    return 0;
}
