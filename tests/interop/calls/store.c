// SPDX-License-Identifier: Apache-2.0
// Executes scripts of wasi:config and wasi:keyvalue calls and writes down the answers (sequences.py makes them). A component of
// WASI 0.2 whose imports are declared by hand: each answer lies in memory as the canonical ABI lays it out, first byte 0 = ok.
// argv[1] is the bucket's name. Keys come back in no order, so they are sorted; of an error only its kind is written.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FROM(module, name) __attribute__((import_module(module), import_name(name)))
#define CONFIG "wasi:config/store@0.2.0-rc.1"
#define STORE "wasi:keyvalue/store@0.2.0-draft"

struct slice {
    char *at;
    uint32_t size;
};
struct pair {
    struct slice key, value;
};
// result<option<string or list<u8>>, variant>: the payload's own tag, then a slice
struct optional {
    uint8_t failed, pad[3];
    uint8_t tag, pad2[3];
    struct slice value;
};
struct list {
    uint8_t failed, pad[3];
    void *items; // of an error: its kind
    uint32_t count;
};
struct counted { // what holds a u64 is aligned to 8
    uint8_t failed, pad[7];
    uint64_t value; // of an error: its kind in the first byte
    uint32_t more[2];
};
struct keys {
    uint8_t failed, pad[7];
    struct slice *items;
    uint32_t count;
    uint8_t more, pad2[7];
    uint64_t cursor;
};
struct found {
    uint8_t some, pad[3];
    struct pair pair;
};

FROM(CONFIG, "get") void config_get(const char *, size_t, struct optional *);
FROM(CONFIG, "get-all") void config_all(struct list *);
FROM(STORE, "open") void store_open(const char *, size_t, struct optional *);
FROM(STORE, "[method]bucket.get")
void bucket_get(uint32_t, const char *, size_t, struct optional *);
FROM(STORE, "[method]bucket.set")
void bucket_set(uint32_t, const char *, size_t, const char *, size_t, struct optional *);
FROM(STORE, "[method]bucket.delete")
void bucket_delete(uint32_t, const char *, size_t, struct optional *);
FROM(STORE, "[method]bucket.exists")
void bucket_exists(uint32_t, const char *, size_t, struct optional *);
FROM(STORE, "[method]bucket.list-keys")
void bucket_keys(uint32_t, uint32_t, uint64_t, struct keys *);
FROM(STORE, "[resource-drop]bucket") void bucket_drop(uint32_t);
FROM("wasi:keyvalue/atomics@0.2.0-draft", "increment")
void bucket_increment(uint32_t, const char *, size_t, uint64_t, struct counted *);
FROM("wasi:keyvalue/batch@0.2.0-draft", "get-many")
void bucket_get_many(uint32_t, struct slice *, size_t, struct list *);
FROM("wasi:keyvalue/batch@0.2.0-draft", "set-many")
void bucket_set_many(uint32_t, struct pair *, size_t, struct optional *);
FROM("wasi:keyvalue/batch@0.2.0-draft", "delete-many")
void bucket_delete_many(uint32_t, struct slice *, size_t, struct optional *);

// Answers live until the next line of the script.
static char heap[1 << 20];
static size_t heap_used;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size,
                                                                size_t align, size_t size)
{
    size_t at = (heap_used + align - 1) / align * align;
    if (size > sizeof heap || at > sizeof heap - size)
        abort();
    heap_used = at + size;
    if (old_size > 0)
        memcpy(heap + at, old, old_size < size ? old_size : size);
    return heap + at;
}

// The linker wraps every export of a command with constructors and destructors, cabi_realloc too, unless it is called by name.
void __wasm_call_ctors(void);

static uint32_t bucket;
static char *words[32];
static size_t word_count;

static void ended(const struct optional *r)
{
    if (r->failed)
        printf(" error %d", r->tag);
    else
        printf(" ok");
}

static void shown(const struct slice *s)
{
    printf(" %u:%.*s", s->size, (int)s->size, s->at);
}

static void optional_shown(const struct optional *r)
{
    ended(r);
    if (!r->failed && r->tag)
        shown(&r->value);
}

static int by_text(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static size_t slices(struct slice *out)
{
    for (size_t i = 0; i < word_count; i++)
        out[i] = (struct slice){ words[i], (uint32_t)strlen(words[i]) };
    return word_count;
}

static void call_keys(void)
{
    struct keys r = { 0 };
    bucket_keys(bucket, 0, 0, &r);
    printf(r.failed ? " error" : " ok");
    if (!r.failed)
        qsort(r.items, r.count, sizeof *r.items, by_text);
    for (uint32_t i = 0; !r.failed && i < r.count; i++)
        shown(&r.items[i]);
    printf(" more %d", r.more);
}

static void call_increment(void)
{
    struct counted r = { 0 };
    bucket_increment(bucket, words[0], strlen(words[0]), strtoull(words[1], NULL, 10), &r);
    if (r.failed)
        printf(" error %d", (int)(r.value & 0xff));
    else
        printf(" ok %llu", r.value);
}

static void call_get_many(void)
{
    struct slice keys[32];
    struct list r = { 0 };
    bucket_get_many(bucket, keys, slices(keys), &r);
    printf(r.failed ? " error" : " ok");
    const struct found *found = r.items;
    for (uint32_t i = 0; !r.failed && i < r.count; i++) {
        if (!found[i].some) {
            printf(" none");
            continue;
        }
        shown(&found[i].pair.key);
        shown(&found[i].pair.value);
    }
}

static void call_set_many(void)
{
    struct pair pairs[16];
    for (size_t i = 0; i + 1 < word_count; i += 2) {
        pairs[i / 2].key = (struct slice){ words[i], (uint32_t)strlen(words[i]) };
        pairs[i / 2].value = (struct slice){ words[i + 1], (uint32_t)strlen(words[i + 1]) };
    }
    struct optional r = { 0 };
    bucket_set_many(bucket, pairs, word_count / 2, &r);
    ended(&r);
}

static void call_config(void)
{
    struct list r = { 0 };
    config_all(&r);
    printf(r.failed ? " error" : " ok");
    struct pair *pairs = r.items;
    if (!r.failed)
        qsort(pairs, r.count, sizeof *pairs, by_text);
    for (uint32_t i = 0; !r.failed && i < r.count; i++) {
        shown(&pairs[i].key);
        shown(&pairs[i].value);
    }
}

static int call(const char *name)
{
    struct optional r = { 0 };
    const char *key = word_count > 0 ? words[0] : "";
    size_t size = strlen(key);
    if (!strcmp(name, "get"))
        bucket_get(bucket, key, size, &r), optional_shown(&r);
    else if (!strcmp(name, "set"))
        bucket_set(bucket, key, size, words[1], strlen(words[1]), &r), ended(&r);
    else if (!strcmp(name, "delete"))
        bucket_delete(bucket, key, size, &r), ended(&r);
    else if (!strcmp(name, "exists"))
        bucket_exists(bucket, key, size, &r), ended(&r), printf(" %d", r.tag);
    else if (!strcmp(name, "keys"))
        call_keys();
    else if (!strcmp(name, "increment"))
        call_increment();
    else if (!strcmp(name, "get-many"))
        call_get_many();
    else if (!strcmp(name, "set-many"))
        call_set_many();
    else if (!strcmp(name, "delete-many")) {
        struct slice keys[32];
        bucket_delete_many(bucket, keys, slices(keys), &r);
        ended(&r);
    } else if (!strcmp(name, "config"))
        config_get(key, size, &r), optional_shown(&r);
    else if (!strcmp(name, "config-all"))
        call_config();
    else
        return 1;
    return 0;
}

int main(int argc, char **argv)
{
    __wasm_call_ctors();
    static char line[65536];
    struct optional opened = { 0 };
    const char *name = argc > 1 ? argv[1] : "";
    store_open(name, strlen(name), &opened);
    if (opened.failed) {
        printf("no bucket: error %d\n", opened.tag);
        return 1;
    }
    memcpy(&bucket, &opened.tag, sizeof bucket);
    while (fgets(line, sizeof line, stdin)) {
        char *rest = line, *verb = strtok_r(line, " \n", &rest);
        for (word_count = 0; word_count < 32; word_count++) {
            if ((words[word_count] = strtok_r(NULL, " \n", &rest)) == NULL)
                break;
        }
        heap_used = 0;
        printf("%s", verb);
        if (call(verb) != 0)
            return 9;
        putchar('\n');
    }
    bucket_drop(bucket);
    return fflush(stdout) ? 8 : 0;
}
