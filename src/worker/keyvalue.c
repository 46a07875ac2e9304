/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets: see keyvalue.h. A hash with a seed of the host's, and an array in the order of making. */
#include "worker/keyvalue.h"

#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

/* ---- rates ---- */

bool keyvalue_rate(struct keyvalue *k, uint32_t rule, uint64_t now_ns)
{
    const struct grant *g = grant_rules_grant(k->rules, rule);
    /* NULL: a rule that a person added meanwhile, which has no rate. */
    if (g == NULL || g->rate_count == GRANT_UNSET || g->rate_count == 0)
        return true;
    /* A bucket of `rate_count` uses that fills within `rate_ns`: each use takes its share of time. */
    uint64_t each = g->rate_ns / g->rate_count;
    uint64_t full = MAX(k->full_ns[rule], now_ns) + each;
    if (full - now_ns > g->rate_ns)
        return false;
    k->full_ns[rule] = full;
    return true;
}

/* ---- the table ---- */

static size_t slot_of(const struct bucket *b, const uint8_t *key, size_t size)
{
    uint64_t hash = b->seed ^ size;
    while (size > 0) {
        uint64_t word = 0;
        size_t part = MIN(size, sizeof(word));
        memcpy(&word, key, part);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 29;
        key += part;
        size -= part;
    }
    return (size_t)(hash ^ hash >> 32) & (b->table_size - 1);
}

static struct bucket_entry **find(const struct bucket *b, struct ambit_bytes key)
{
    struct bucket_entry **at = &b->table[slot_of(b, key.data, key.size)];
    while (*at && ((*at)->key_size != key.size ||
                   (key.size && memcmp((*at)->key, key.data, key.size) != 0)))
        at = &(*at)->chain;
    return at;
}

struct bucket_entry *bucket_get(const struct bucket *b, struct ambit_bytes key)
{
    return b->table_size ? *find(b, key) : NULL;
}

static int table_reserve(struct bucket *b, size_t more)
{
    size_t old_size = b->table_size, size = MAX(old_size, (size_t)16);
    while (size < b->count + more)
        size *= 2;
    if (size == old_size)
        return 0;
    struct bucket_entry **old = b->table, **table = mem_array(size, sizeof(struct bucket_entry *));
    if (!table)
        return -ENOMEM;
    b->table = table;
    b->table_size = size;
    for (size_t i = 0; i < old_size; i++) {
        for (struct bucket_entry *e = old[i], *next; e; e = next) {
            next = e->chain;
            struct bucket_entry **head = &table[slot_of(b, e->key, e->key_size)];
            e->chain = *head;
            *head = e;
        }
    }
    mem_free(old);
    return 0;
}

static int order_reserve(struct bucket *b, size_t more)
{
    if (b->order_size + more > b->order_capacity && b->order_size > 2 * b->count) {
        size_t kept = 0;
        for (size_t i = 0; i < b->order_size; i++) {
            if (b->order[i]) {
                b->order[i]->place = kept;
                b->order[kept++] = b->order[i];
            }
        }
        b->order_size = kept;
    }
    if (b->order_size + more <= b->order_capacity)
        return 0;
    size_t capacity = MAX(b->order_capacity * 2, b->order_size + more);
    struct bucket_entry **order = mem_grow(b->order, capacity, sizeof(struct bucket_entry *));
    if (!order)
        return -ENOMEM;
    b->order = order;
    b->order_capacity = capacity;
    return 0;
}

/* No one whose number is at least this stands before it; holes are judged by who follows. */
static size_t place_of(const struct bucket *b, uint64_t number)
{
    size_t low = 0, high = b->order_size;
    while (low < high) {
        size_t middle = low + (high - low) / 2, at = middle;
        while (at < high && !b->order[at])
            at++;
        if (at < high && b->order[at]->number < number)
            low = at + 1;
        else
            high = middle;
    }
    return low;
}

const struct bucket_entry *bucket_next(const struct bucket *b, uint64_t number)
{
    if (number == UINT64_MAX)
        return NULL;
    for (size_t i = place_of(b, number + 1); i < b->order_size; i++)
        if (b->order[i])
            return b->order[i];
    return NULL;
}

/* ---- changing ---- */

static uint64_t cost_of(size_t key_size, size_t value_size)
{
    return (uint64_t)key_size + value_size + BUCKET_KEY_COST;
}

static void remove_entry(struct bucket *b, struct ambit_bytes key)
{
    struct bucket_entry **at = b->table_size ? find(b, key) : NULL;
    struct bucket_entry *e = at ? *at : NULL;
    if (!e)
        return;
    *at = e->chain;
    b->order[e->place] = NULL;
    while (b->order_size && !b->order[b->order_size - 1])
        b->order_size--;
    b->count--;
    b->bytes -= cost_of(e->key_size, e->value_size);
    mem_free(e->value);
    mem_free(e);
}

/* What is to be set, made before anything is changed. */
struct change {
    struct bucket_entry *entry; /* or NULL: to be removed */
};

static void changes_free(struct change *changes, size_t count)
{
    for (size_t i = 0; changes && i < count; i++) {
        if (changes[i].entry)
            mem_free(changes[i].entry->value);
        mem_free(changes[i].entry);
    }
    mem_free(changes);
}

static struct bucket_entry *make_entry(const struct ambit_pair *p)
{
    struct bucket_entry *e = mem_alloc(sizeof(*e) + p->key.size);
    if (!e)
        return NULL;
    *e = (struct bucket_entry){ .key_size = p->key.size, .value_size = p->value.size };
    if (p->key.size)
        memcpy(e->key, p->key.data, p->key.size);
    e->value = mem_alloc(MAX(p->value.size, (size_t)1));
    if (!e->value) {
        mem_free(e);
        return NULL;
    }
    if (p->value.size)
        memcpy(e->value, p->value.data, p->value.size);
    return e;
}

/* Puts it in the place of the one with its key, which keeps its number. */
static void put_entry(struct bucket *b, struct bucket_entry *e)
{
    struct bucket_entry **at = find(b, (struct ambit_bytes){ e->key, e->key_size });
    struct bucket_entry *old = *at;
    b->bytes += cost_of(e->key_size, e->value_size);
    e->number = old ? old->number : ++b->last;
    e->chain = old ? old->chain : NULL;
    *at = e;
    if (old) {
        e->place = old->place;
        b->order[e->place] = e;
        b->bytes -= cost_of(old->key_size, old->value_size);
        mem_free(old->value);
        mem_free(old);
    } else {
        e->place = b->order_size;
        b->order[b->order_size++] = e;
        b->count++;
    }
}

/* Would it all fit? What is replaced or removed is counted as gone only when each key comes once:
 * else the sum is a little too large, never too small. */
static bool fits(const struct bucket *b, const struct ambit_pair *pairs, size_t count)
{
    uint64_t bytes = b->bytes;
    for (size_t i = 0; i < count; i++) {
        if (!pairs[i].value.data)
            continue;
        const struct bucket_entry *old = count == 1 ? bucket_get(b, pairs[i].key) : NULL;
        bytes -= old ? cost_of(old->key_size, old->value_size) : 0;
        bytes += cost_of(pairs[i].key.size, pairs[i].value.size);
        if (bytes > b->max_bytes)
            return false;
    }
    return true;
}

int bucket_set(struct bucket *b, const struct ambit_pair *pairs, size_t count)
{
    if (!fits(b, pairs, count))
        return 1;
    struct change *changes = mem_array(MAX(count, (size_t)1), sizeof(*changes));
    int status = changes ? table_reserve(b, count) : -ENOMEM;
    if (status == 0)
        status = order_reserve(b, count);
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (pairs[i].value.data) {
            changes[i].entry = make_entry(&pairs[i]);
            status = changes[i].entry ? 0 : -ENOMEM;
        }
    }
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (changes[i].entry)
            put_entry(b, TAKE(changes[i].entry));
        else
            remove_entry(b, pairs[i].key);
    }
    changes_free(changes, count);
    return status;
}

/* ---- lives ---- */

int keyvalue_new(const struct grant_rules *rules, struct keyvalue **ret, struct error *e)
{
    struct keyvalue *k = mem_zalloc(sizeof(*k));
    if (k) {
        k->rules = rules;
        k->full_ns = mem_array(MAX(grant_rules_count(rules), (size_t)1), sizeof(*k->full_ns));
    }
    if (!k || !k->full_ns) {
        mem_free(k);
        return error_set(e, -ENOMEM, "out of memory");
    }
    *ret = k;
    return 0;
}

static void bucket_free(struct bucket *b)
{
    for (size_t i = 0; i < b->order_size; i++) {
        if (b->order[i])
            mem_free(b->order[i]->value);
        mem_free(b->order[i]);
    }
    mem_free(b->order);
    mem_free(b->table);
    mem_free(b->name);
    mem_free(b);
}

void keyvalue_free(struct keyvalue *k)
{
    if (!k)
        return;
    while (k->buckets) {
        struct bucket *b = k->buckets;
        k->buckets = b->next;
        bucket_free(b);
    }
    mem_free(k->full_ns);
    mem_free(k->listed);
    mem_free(k);
}

int keyvalue_bucket(struct keyvalue *k, const char *name, struct bucket **ret)
{
    for (struct bucket *b = k->buckets; b; b = b->next) {
        if (!strcmp(b->name, name)) {
            *ret = b;
            return 0;
        }
    }
    struct bucket *b = mem_zalloc(sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->name = mem_strdup(name);
    if (!b->name || random_bytes(&b->seed, sizeof(b->seed)) < 0) {
        int status = b->name ? -EIO : -ENOMEM;
        bucket_free(b);
        return status;
    }
    b->max_bytes = grant_keyvalue_max_bytes(k->rules, name);
    b->next = k->buckets;
    k->buckets = b;
    *ret = b;
    return 0;
}
