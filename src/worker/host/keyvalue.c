/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:keyvalue: buckets of worker/keyvalue.h behind grants. A bucket is named by its grant; the
 * names "" and "default" are names like others.
 *
 *   call            verb
 *   open            any grant of the bucket
 *   get, exists     get
 *   set             set        delete: delete        increment: increment
 *   list-keys       list; keys whose patterns do not allow it are left out
 * What is refused is access-denied and a denial. A rate that is used up, or a bucket that is full,
 * is an error with a text, and a denial for which no grant is proposed.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/host/host.h"
#include "worker/keyvalue.h"

#define LIST_MAX 1024 /* keys of one answer */
#define DIGITS_MAX 20 /* of a u64 */

struct refused {
    const char *bucket, *key; /* key NULL: the bucket */
    uint32_t verb;
    enum grant_reason reason;
};

static int propose_keyvalue(const struct guest *g, const void *what, struct grant *ret)
{
    const struct refused *r = what;
    if (r->reason != GRANT_NO_GRANT && r->reason != GRANT_NO_PATH && r->reason != GRANT_NO_VERB)
        return -EINVAL;
    return grant_propose_keyvalue(r->bucket, r->key, r->verb, ret, NULL);
}

static const char *verb_name(uint32_t verb)
{
    for (size_t i = 0; i < KV_VERB_COUNT; i++)
        if (verb & 1u << i)
            return kv_verb_names[i];
    return "open";
}

/* What a denial is told with. A key is cut at what a record keeps, and at a NUL, which no grant can
 * name. */
struct words {
    char *name, *resource; /* name: NULL without a key */
    struct refused refused;
};

static void words_done(struct words *w)
{
    mem_free(w->name);
    mem_free(w->resource);
}

static int words_init(struct words *w, struct guest *g, const char *bucket,
                      const struct ambit_bytes *key, uint32_t verb, enum grant_reason reason)
{
    if (key)
        w->name = mem_strndup(key->size ? (const char *)key->data : "",
                              MIN(key->size, (size_t)DENIAL_RESOURCE_MAX));
    w->resource = w->name ? mem_printf("%s/%s", bucket, w->name) : mem_strdup(bucket);
    if (!w->resource || (key && !w->name))
        return guest_fault(g, -ENOMEM, "recording a denial");
    /* Opening needs some verb: reading is the least. */
    w->refused = (struct refused){ bucket, w->name, verb ? verb : KV_GET, reason };
    return 0;
}

/* True: a person allowed it, decide anew. */
static bool asked(struct guest *g, const char *bucket, const struct ambit_bytes *key, uint32_t verb,
                  struct grant_decision d)
{
    CLEANUP(words_done) struct words w = { 0 };
    if (!g->asking || words_init(&w, g, bucket, key, verb, d.reason) < 0)
        return false;
    return guest_asked(g, GRANT_KEYVALUE, verb_name(verb), w.resource, verb, d, propose_keyvalue,
                       &w.refused);
}

static int deny(struct guest *g, const char *bucket, const struct ambit_bytes *key, uint32_t verb,
                struct grant_decision d)
{
    CLEANUP(words_done) struct words w = { 0 };
    if (words_init(&w, g, bucket, key, verb, d.reason) < 0)
        return -ECANCELED;
    guest_denied_by(g, GRANT_KEYVALUE, verb_name(verb), w.resource, verb, d, propose_keyvalue,
                    &w.refused);
    if (g->ended)
        return -ECANCELED;
    bool other = d.reason == GRANT_RATE || d.reason == GRANT_QUOTA_BYTES;
    g->keyvalue_error = grant_reason_text(d.reason);
    return other ? AMBIT_KV_OTHER : AMBIT_KV_ACCESS_DENIED;
}

/* 0: the verb is allowed, and counted against its rate. Else what the call answers. */
static int decide(struct guest *g, const struct bucket *b, const struct ambit_bytes *key,
                  uint32_t verb, uint32_t *ret_rule)
{
    static const char nothing[] = "";
    const char *text = key ? key->size ? (const char *)key->data : nothing : NULL;
    struct grant_decision d =
        guest_gated(g, grant_decide_keyvalue(g->rules, b->name, text, key ? key->size : 0, verb));
    if (d.reason == GRANT_ALLOWED &&
        !keyvalue_rate(g->commons.keyvalue, d.rule, clock_monotonic_ns()))
        d.reason = GRANT_RATE;
    if (d.reason != GRANT_ALLOWED && asked(g, b->name, key, verb, d))
        d = guest_gated(g,
                        grant_decide_keyvalue(g->rules, b->name, text, key ? key->size : 0, verb));
    if (d.reason != GRANT_ALLOWED)
        return deny(g, b->name, key, verb, d);
    *ret_rule = d.rule;
    return 0;
}

static struct bucket *bucket_of(struct guest *g, uint32_t handle)
{
    struct bucket *b = g->ended ? NULL : handles_get(&g->handles, HANDLE_BUCKET, handle);
    if (!b && !g->ended)
        guest_fault(g, -EBADF, "a handle of a bucket that is not open");
    return b;
}

int host_kv_open(void *host, struct ambit_bytes name, uint32_t *ret_bucket)
{
    struct guest *g = host;
    CLEANUP(mem_freep)
    char *text = mem_strndup(name.size ? (const char *)name.data : "",
                             MIN(name.size, (size_t)DENIAL_RESOURCE_MAX));
    struct bucket *b;
    if (!text)
        return guest_fault(g, -ENOMEM, "opening a bucket");
    struct grant_decision d = guest_gated(g, grant_decide_keyvalue(g->rules, text, NULL, 0, 0));
    /* A NUL, or more than is kept: no grant has such a name. */
    if (strlen(text) != name.size)
        d = (struct grant_decision){ GRANT_NO_GRANT, GRANT_NO_RULE, 0 };
    else if (d.reason != GRANT_ALLOWED && asked(g, text, NULL, 0, d))
        d = guest_gated(g, grant_decide_keyvalue(g->rules, text, NULL, 0, 0));
    if (d.reason != GRANT_ALLOWED)
        return deny(g, text, NULL, 0, d);
    int status = keyvalue_bucket(g->commons.keyvalue, text, &b);
    if (status < 0)
        return guest_fault(g, status, "opening a bucket");
    *ret_bucket = host_give_handle(g, HANDLE_BUCKET, b);
    return *ret_bucket ? 0 : -ECANCELED;
}

void host_kv_drop(void *host, uint32_t bucket)
{
    struct guest *g = host;
    handles_remove(&g->handles, HANDLE_BUCKET, bucket);
}

int host_kv_get(void *host, uint32_t bucket, struct ambit_bytes key, bool *ret_found,
                struct ambit_bytes *ret_value)
{
    struct guest *g = host;
    struct bucket *b = bucket_of(g, bucket);
    uint32_t rule;
    *ret_found = false;
    *ret_value = (struct ambit_bytes){ 0 };
    int status = b ? decide(g, b, &key, KV_GET, &rule) : -EBADF;
    if (status != 0)
        return status;
    const struct bucket_entry *e = bucket_get(b, key);
    if (e) {
        *ret_found = true;
        *ret_value = (struct ambit_bytes){ e->value, e->value_size };
    }
    guest_used(g, rule, KV_GET, ret_value->size, 0);
    return 0;
}

int host_kv_exists(void *host, uint32_t bucket, struct ambit_bytes key, bool *ret)
{
    struct guest *g = host;
    struct bucket *b = bucket_of(g, bucket);
    uint32_t rule;
    *ret = false;
    int status = b ? decide(g, b, &key, KV_GET, &rule) : -EBADF;
    if (status != 0)
        return status;
    *ret = bucket_get(b, key) != NULL;
    guest_used(g, rule, KV_GET, 0, 0);
    return 0;
}

/* The change itself, all or nothing; `rule` for the accounts of what was decided before. */
static int change(struct guest *g, struct bucket *b, const struct ambit_pair *pairs, size_t count,
                  uint32_t rule)
{
    int status = bucket_set(b, pairs, count);
    if (status < 0)
        return guest_fault(g, status, "changing a bucket");
    if (status > 0)
        return deny(g, b->name, NULL, KV_SET,
                    (struct grant_decision){ GRANT_QUOTA_BYTES, rule, 0 });
    return 0;
}

static int set_one(void *host, uint32_t bucket, struct ambit_bytes key, struct ambit_bytes value,
                   uint32_t verb)
{
    struct guest *g = host;
    struct bucket *b = bucket_of(g, bucket);
    uint32_t rule;
    int status = b ? decide(g, b, &key, verb, &rule) : -EBADF;
    if (status != 0)
        return status;
    struct ambit_pair pair = { key, value };
    status = change(g, b, &pair, 1, rule);
    if (status == 0)
        guest_used(g, rule, verb, 0, value.size);
    return status;
}

int host_kv_set(void *host, uint32_t bucket, struct ambit_bytes key, struct ambit_bytes value)
{
    if (!value.data)
        value.data = (const uint8_t *)""; /* empty, not removed */
    return set_one(host, bucket, key, value, KV_SET);
}

int host_kv_delete(void *host, uint32_t bucket, struct ambit_bytes key)
{
    return set_one(host, bucket, key, (struct ambit_bytes){ 0 }, KV_DELETE);
}

int host_kv_set_many(void *host, uint32_t bucket, const struct ambit_pair *pairs, size_t count)
{
    struct guest *g = host;
    struct bucket *b = bucket_of(g, bucket);
    uint32_t rule = GRANT_NO_RULE;
    int status = b ? 0 : -EBADF;
    for (size_t i = 0; status == 0 && i < count; i++)
        status = decide(g, b, &pairs[i].key, pairs[i].value.data ? KV_SET : KV_DELETE, &rule);
    if (status == 0)
        status = change(g, b, pairs, count, rule);
    for (size_t i = 0; status == 0 && i < count; i++)
        guest_used(g, rule, pairs[i].value.data ? KV_SET : KV_DELETE, 0, pairs[i].value.size);
    return status;
}

int host_kv_list(void *host, uint32_t bucket, uint64_t cursor, const struct ambit_bytes **ret_keys,
                 size_t *ret_count, uint64_t *ret_cursor)
{
    struct guest *g = host;
    struct bucket *b = bucket_of(g, bucket);
    struct keyvalue *k = g->commons.keyvalue;
    uint32_t rule;
    *ret_keys = NULL;
    *ret_count = 0;
    *ret_cursor = 0;
    int status = b ? decide(g, b, NULL, KV_LIST, &rule) : -EBADF;
    if (status != 0)
        return status;
    if (!k->listed)
        k->listed = mem_array(LIST_MAX, sizeof(*k->listed));
    if (!k->listed)
        return guest_fault(g, -ENOMEM, "listing a bucket");
    const struct bucket_entry *e;
    while ((e = bucket_next(b, cursor)) && *ret_count < LIST_MAX) {
        cursor = e->number;
        if (grant_decide_keyvalue(g->rules, b->name, (const char *)e->key, e->key_size, KV_LIST)
                .reason == GRANT_ALLOWED)
            k->listed[(*ret_count)++] = (struct ambit_bytes){ e->key, e->key_size };
    }
    *ret_keys = k->listed;
    *ret_cursor = e ? cursor : 0;
    guest_used(g, rule, KV_LIST, 0, 0);
    return 0;
}

/* A decimal text that is a u64, and nothing else. */
static bool number_of(const struct bucket_entry *e, uint64_t *ret)
{
    uint64_t n = 0;
    if (e->value_size == 0 || e->value_size > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < e->value_size; i++) {
        uint8_t digit = (uint8_t)(e->value[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(n, UINT64_C(10), &n) ||
            __builtin_add_overflow(n, (uint64_t)digit, &n))
            return false;
    }
    *ret = n;
    return true;
}

int host_kv_increment(void *host, uint32_t bucket, struct ambit_bytes key, uint64_t delta,
                      uint64_t *ret)
{
    struct guest *g = host;
    struct bucket *b = bucket_of(g, bucket);
    uint32_t rule;
    uint64_t number = 0;
    char text[DIGITS_MAX + 1];
    int status = b ? decide(g, b, &key, KV_INCREMENT, &rule) : -EBADF;
    if (status != 0)
        return status;
    const struct bucket_entry *e = bucket_get(b, key);
    if (e && !number_of(e, &number)) {
        g->keyvalue_error = "the value is no number";
        return AMBIT_KV_OTHER;
    }
    if (__builtin_add_overflow(number, delta, &number)) {
        g->keyvalue_error = "the sum is too large";
        return AMBIT_KV_OTHER;
    }
    int size = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    struct ambit_pair pair = { key, { (const uint8_t *)text, (size_t)size } };
    status = change(g, b, &pair, 1, rule);
    if (status != 0)
        return status;
    guest_used(g, rule, KV_INCREMENT, 0, (uint64_t)size);
    *ret = number;
    return 0;
}

struct ambit_bytes host_kv_error(void *host)
{
    const struct guest *g = host;
    const char *text = g->keyvalue_error ? g->keyvalue_error : "";
    return (struct ambit_bytes){ (const uint8_t *)text, strlen(text) };
}
