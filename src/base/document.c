/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents: YAML (libyaml behind a filter) and JSON (RFC 8259, read here) become jansson values,
 * and the place of every node and key is kept beside them in a hash table keyed by address. true,
 * false and null are shared values of jansson and so have no place of their own; their keys have.
 *
 * Both readers share struct builder: limits, duplicate keys, places. Ownership: a value belongs to
 * the builder's caller until it is put into its parent; the document owns the root.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#define DEPTH_MAX 32
#define NODES_MAX 100000
#define SIZE_MAX_BYTES (1u << 20)

struct place {
    const void *node, *key; /* key: NULL for a node's own place, else jansson's copy of the key */
    unsigned line, column;
};

struct document {
    json_t *root;
    struct place *places;
    size_t place_count, place_capacity; /* a power of two, at most half full */
};

struct builder {
    struct document *document;
    const char *name;
    struct error *error;
    size_t nodes;
    unsigned depth, line, column; /* of what is being read */
};

/* jansson must take its memory from us, or the torture tests would not reach it; and it would read
 * /dev/urandom for its hash seed at the first object, which a jail forbids. */
__attribute__((constructor)) static void jansson_init(void)
{
    size_t seed = 0;
    json_set_alloc_funcs(mem_alloc, mem_free);
    if (random_bytes(&seed, sizeof seed) == 0)
        json_object_seed(seed | 1);
}

static int fault(struct builder *b, int code, const char *what)
{
    error_at(b->error, b->line, b->column);
    return error_set(b->error, code, "%s:%u:%u: %s", b->name, b->line, b->column, what);
}

/* ---- places ---- */

static size_t place_slot(const struct document *d, const void *node, const void *key)
{
    uint64_t hash = (uint64_t)(uintptr_t)node * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (uint64_t)(uintptr_t)key) * UINT64_C(0xff51afd7ed558ccd);
    size_t slot = (size_t)(hash >> 32) & (d->place_capacity - 1);
    while (d->places[slot].node && (d->places[slot].node != node || d->places[slot].key != key))
        slot = (slot + 1) & (d->place_capacity - 1);
    return slot;
}

static int places_grow(struct document *d)
{
    struct document bigger = { .place_capacity = d->place_capacity ? d->place_capacity * 2 : 64 };
    bigger.places = mem_array(bigger.place_capacity, sizeof *bigger.places);
    if (!bigger.places)
        return -ENOMEM;
    for (size_t i = 0; i < d->place_capacity; i++)
        if (d->places[i].node)
            bigger.places[place_slot(&bigger, d->places[i].node, d->places[i].key)] = d->places[i];
    mem_free(d->places);
    d->places = bigger.places;
    d->place_capacity = bigger.place_capacity;
    return 0;
}

static int place_put(struct builder *b, const void *node, const void *key, unsigned line,
                     unsigned column)
{
    struct document *d = b->document;
    if (2 * (d->place_count + 1) > d->place_capacity && places_grow(d) < 0)
        return fault(b, -ENOMEM, "no memory");
    struct place *p = &d->places[place_slot(d, node, key)];
    if (!p->node)
        d->place_count++;
    *p = (struct place){ node, key, line, column };
    return 0;
}

static void place_get(const struct document *d, const void *node, const void *key,
                      unsigned *ret_line, unsigned *ret_column)
{
    *ret_line = *ret_column = 0;
    if (!node || !d->place_capacity)
        return;
    const struct place *p = &d->places[place_slot(d, node, key)];
    *ret_line = p->line;
    *ret_column = p->column;
}

void document_place(const struct document *d, const json_t *node, unsigned *ret_line,
                    unsigned *ret_column)
{
    place_get(d, node, NULL, ret_line, ret_column);
}

void document_place_of_key(const struct document *d, const json_t *object, const char *key,
                           unsigned *ret_line, unsigned *ret_column)
{
    /* The iterator's key is jansson's own copy, whose address is what was recorded. */
    void *member = json_object_iter_at((json_t *)object, key);
    *ret_line = *ret_column = 0;
    if (member)
        place_get(d, object, json_object_iter_key(member), ret_line, ret_column);
}

/* ---- building ---- */

/* Counts and places a new value; takes it when it returns a fault. */
static int node_made(struct builder *b, json_t *value, unsigned line, unsigned column)
{
    int result = 0;
    if (!value)
        result = fault(b, -ENOMEM, "no memory");
    else if (++b->nodes > NODES_MAX)
        result = fault(b, -E2BIG, "more than 100000 values");
    else if (!json_is_boolean(value) && !json_is_null(value))
        result = place_put(b, value, NULL, line, column);
    if (result < 0)
        json_decref(value);
    return result;
}

/* Puts a member into an object, taking the value in any case. */
static int member_put(struct builder *b, json_t *object, const char *key, size_t size,
                      json_t *value, unsigned line, unsigned column)
{
    if (json_object_setn_new_nocheck(object, key, size, value) < 0)
        return fault(b, -ENOMEM, "no memory");
    void *member = json_object_iter_at(object, key);
    return place_put(b, object, json_object_iter_key(member), line, column);
}

static int key_check(struct builder *b, const json_t *object, const char *key)
{
    if (!json_object_get(object, key))
        return 0;
    struct buf shown = BUF_INIT(256);
    text_escape(&shown, key, strnlen(key, 40));
    error_at(b->error, b->line, b->column);
    int result = error_set(b->error, -EINVAL, "%s:%u:%u: the key \"%s\" is there twice", b->name,
                           b->line, b->column, buf_cstr(&shown));
    buf_done(&shown);
    return result;
}

static int depth_enter(struct builder *b)
{
    if (b->depth == DEPTH_MAX)
        return fault(b, -E2BIG, "nested deeper than 32");
    b->depth++;
    return 0;
}

/* Sets the builder's place to that of a byte. */
static void place_of_byte(struct builder *b, const char *text, size_t offset)
{
    b->line = b->column = 1;
    for (size_t i = 0; i < offset; i++) {
        b->column++;
        if (text[i] == '\n') {
            b->line++;
            b->column = 1;
        }
    }
}

/* ---- YAML ---- */

struct yaml_reader {
    struct builder *builder;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one, owned */
    const char *text;
    size_t size;
};

static int yaml_fault(struct yaml_reader *r)
{
    struct builder *b = r->builder;
    yaml_parser_t *p = &r->parser;
    b->line = (unsigned)p->problem_mark.line + 1;
    b->column = (unsigned)p->problem_mark.column + 1;
    if (p->error == YAML_READER_ERROR) /* it tells only how many bytes came before */
        place_of_byte(b, r->text, MIN(p->problem_offset, r->size));
    if (p->error == YAML_MEMORY_ERROR)
        return fault(b, -ENOMEM, "no memory");
    return fault(b, -EINVAL, p->problem ? p->problem : "not YAML");
}

static int yaml_next(struct yaml_reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return yaml_fault(r);
    r->builder->line = (unsigned)r->event.start_mark.line + 1;
    r->builder->column = (unsigned)r->event.start_mark.column + 1;
    return 0;
}

static int yaml_decorated(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return fault(b, -EINVAL, "anchors (&name) are not allowed");
    if (tag)
        return fault(b, -EINVAL, "tags (!name) are not allowed");
    return 0;
}

static bool one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* The digits of an integer without leading zeros; 0 when there are none. */
static size_t integer_length(const char *at)
{
    if (*at == '0')
        return at[1] >= '0' && at[1] <= '9' ? 0 : 1;
    return strspn(at, "0123456789");
}

enum number { NUMBER_NOT, NUMBER_INTEGER, NUMBER_REAL };

/* Core schema, less leading zeros, octal and hexadecimal: those are strings here. */
static enum number number_kind(const char *text)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t whole = integer_length(at), fraction = 0;
    bool real = false;
    if (whole == 0 && *at != '.')
        return NUMBER_NOT;
    at += whole;
    if (*at == '.') {
        fraction = strspn(++at, "0123456789");
        at += fraction;
        real = true;
    }
    if (whole + fraction == 0)
        return NUMBER_NOT;
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '-' || at[1] == '+');
        size_t exponent = strspn(at, "0123456789");
        if (exponent == 0)
            return NUMBER_NOT;
        at += exponent;
        real = true;
    }
    return *at ? NUMBER_NOT : real ? NUMBER_REAL : NUMBER_INTEGER;
}

/* `text` has the form of a number. The library never calls setlocale(), so strtod reads a point. */
static int number_make(struct builder *b, const char *text, enum number kind, json_t **ret)
{
    errno = 0;
    if (kind == NUMBER_INTEGER) {
        long long value = strtoll(text, NULL, 10);
        if (errno == ERANGE)
            return fault(b, -ERANGE, "a number that does not fit 64 bits: quote it if it is text");
        *ret = json_integer(value);
        return 0;
    }
    double value = strtod(text, NULL);
    if (!isfinite(value))
        return fault(b, -ERANGE, "a number that is too large");
    *ret = json_real(value);
    return 0;
}

static int yaml_plain(struct builder *b, const char *text, size_t size, json_t **ret)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    static const char *const trues[] = { "true", "True", "TRUE" };
    static const char *const falses[] = { "false", "False", "FALSE" };
    enum number kind = number_kind(text);
    if (kind != NUMBER_NOT)
        return number_make(b, text, kind, ret);
    if (one_of(text, nulls, ARRAY_SIZE(nulls)))
        *ret = json_null();
    else if (one_of(text, trues, ARRAY_SIZE(trues)))
        *ret = json_true();
    else if (one_of(text, falses, ARRAY_SIZE(falses)))
        *ret = json_false();
    else
        *ret = json_stringn_nocheck(text, size);
    return 0;
}

static int yaml_scalar(struct yaml_reader *r, json_t **ret)
{
    struct builder *b = r->builder;
    unsigned line = b->line, column = b->column;
    const char *text = (const char *)r->event.data.scalar.value;
    size_t size = r->event.data.scalar.length;
    int result = yaml_decorated(b, r->event.data.scalar.anchor, r->event.data.scalar.tag);
    if (result < 0)
        return result;
    /* "\0" in a double-quoted scalar. */
    if (memchr(text, '\0', size))
        return fault(b, -EINVAL, "a NUL character");
    json_t *value = NULL;
    if (r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        result = yaml_plain(b, text, size, &value);
    else
        value = json_stringn_nocheck(text, size);
    if (result < 0)
        return result;
    result = node_made(b, value, line, column);
    if (result == 0)
        *ret = value;
    return result;
}

static int yaml_value(struct yaml_reader *r, json_t **ret);

/* The current event is the key of a member of `object`. */
static int yaml_member(struct yaml_reader *r, json_t *object)
{
    struct builder *b = r->builder;
    unsigned line = b->line, column = b->column;
    if (r->event.type == YAML_ALIAS_EVENT)
        return fault(b, -EINVAL, "aliases (*name) are not allowed");
    if (r->event.type != YAML_SCALAR_EVENT)
        return fault(b, -EINVAL, "a key must be a plain word or a quoted string");
    int result = yaml_decorated(b, r->event.data.scalar.anchor, r->event.data.scalar.tag);
    if (result < 0)
        return result;
    const char *text = (const char *)r->event.data.scalar.value;
    size_t size = r->event.data.scalar.length;
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (memchr(text, '\0', size))
        return fault(b, -EINVAL, "a NUL character");
    if (plain && size == 0)
        return fault(b, -EINVAL, "a key is missing before \":\"");
    if (plain && strcmp(text, "<<") == 0)
        return fault(b, -EINVAL, "merge keys (<<) are not allowed");
    if ((result = key_check(b, object, text)) < 0)
        return result;
    CLEANUP(mem_freep) char *key = mem_strndup(text, size);
    if (!key)
        return fault(b, -ENOMEM, "no memory");
    json_t *value;
    if ((result = yaml_next(r)) < 0 || (result = yaml_value(r, &value)) < 0)
        return result;
    return member_put(b, object, key, size, value, line, column);
}

static int yaml_collection(struct yaml_reader *r, bool mapping, json_t **ret)
{
    struct builder *b = r->builder;
    yaml_event_type_t end = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    int result = mapping ? yaml_decorated(b, r->event.data.mapping_start.anchor,
                                          r->event.data.mapping_start.tag)
                         : yaml_decorated(b, r->event.data.sequence_start.anchor,
                                          r->event.data.sequence_start.tag);
    if (result < 0 || (result = depth_enter(b)) < 0)
        return result;
    json_t *made = mapping ? json_object() : json_array();
    if ((result = node_made(b, made, b->line, b->column)) < 0)
        return result;
    CLEANUP(json_freep) json_t *owned = made;
    for (;;) {
        if ((result = yaml_next(r)) < 0)
            return result;
        if (r->event.type == end)
            break;
        json_t *element;
        if (mapping)
            result = yaml_member(r, owned);
        else if ((result = yaml_value(r, &element)) == 0 &&
                 json_array_append_new(owned, element) < 0)
            result = fault(b, -ENOMEM, "no memory");
        if (result < 0)
            return result;
    }
    b->depth--;
    *ret = TAKE(owned);
    return 0;
}

static int yaml_value(struct yaml_reader *r, json_t **ret)
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return yaml_scalar(r, ret);
    case YAML_MAPPING_START_EVENT:
        return yaml_collection(r, true, ret);
    case YAML_SEQUENCE_START_EVENT:
        return yaml_collection(r, false, ret);
    case YAML_ALIAS_EVENT:
        return fault(r->builder, -EINVAL, "aliases (*name) are not allowed");
    default:
        return fault(r->builder, -EINVAL, "a value is missing");
    }
}

static int yaml_document(struct yaml_reader *r)
{
    struct builder *b = r->builder;
    int result;
    if ((result = yaml_next(r)) < 0 || (result = yaml_next(r)) < 0) /* stream start, and after it */
        return result;
    if (r->event.type != YAML_DOCUMENT_START_EVENT)
        return fault(b, -EINVAL, "the file is empty");
    if (r->event.data.document_start.version_directive ||
        r->event.data.document_start.tag_directives.start !=
            r->event.data.document_start.tag_directives.end)
        return fault(b, -EINVAL, "directives (%YAML, %TAG) are not allowed");
    if ((result = yaml_next(r)) < 0 || (result = yaml_value(r, &b->document->root)) < 0 ||
        (result = yaml_next(r)) < 0 || (result = yaml_next(r)) < 0) /* document end, and after it */
        return result;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fault(b, -EINVAL, "a second document in one file");
    return 0;
}

static int yaml_read(struct builder *b, const char *text, size_t size)
{
    struct yaml_reader r = { .builder = b, .text = size > 0 ? text : "", .size = size };
    if (!yaml_parser_initialize(&r.parser))
        return fault(b, -ENOMEM, "no memory");
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, size);
    int result = yaml_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return result;
}

/* ---- JSON ---- */

struct json_reader {
    struct builder *builder;
    const char *at, *end, *line_start;
    unsigned line;
};

/* Errors and places mean the current byte from here on; columns count bytes. */
static void json_here(struct json_reader *r)
{
    r->builder->line = r->line;
    r->builder->column = (unsigned)(r->at - r->line_start) + 1;
}

static int json_fault(struct json_reader *r, const char *what)
{
    json_here(r);
    return fault(r->builder, -EINVAL, what);
}

static void json_space(struct json_reader *r)
{
    for (; r->at < r->end; r->at++) {
        if (*r->at == '\n') {
            r->line++;
            r->line_start = r->at + 1;
        } else if (*r->at != ' ' && *r->at != '\t' && *r->at != '\r') {
            break;
        }
    }
    json_here(r);
}

static bool json_take(struct json_reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static int json_hex4(struct json_reader *r, uint32_t *ret)
{
    uint32_t value = 0;
    if (r->end - r->at < 4)
        return json_fault(r, "an unfinished \\u escape");
    for (int i = 0; i < 4; i++, r->at++) {
        char c = *r->at;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return json_fault(r, "a \\u escape needs four hexadecimal digits");
        value = value << 4 | (uint32_t)digit;
    }
    *ret = value;
    return 0;
}

static void put_utf8(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_u8(out, (uint8_t)(0xc0 | c >> 6));
        buf_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_u8(out, (uint8_t)(0xf0 | c >> 18));
        buf_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

static int json_unicode(struct json_reader *r, struct buf *out)
{
    uint32_t c, low;
    int result = json_hex4(r, &c);
    if (result < 0)
        return result;
    if (c == 0)
        return json_fault(r, "a NUL character");
    if (c >= 0xd800 && c < 0xdc00) {
        if (!json_take(r, '\\') || !json_take(r, 'u'))
            return json_fault(r, "half of a surrogate pair");
        if ((result = json_hex4(r, &low)) < 0)
            return result;
        if (low < 0xdc00 || low > 0xdfff)
            return json_fault(r, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
    } else if (c >= 0xdc00 && c < 0xe000) {
        return json_fault(r, "half of a surrogate pair");
    }
    put_utf8(out, c);
    return 0;
}

static int json_escape(struct json_reader *r, struct buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (json_take(r, 'u'))
        return json_unicode(r, out);
    const char *found = r->at < r->end && *r->at ? strchr(from, *r->at) : NULL;
    if (!found)
        return json_fault(r, "an unknown escape");
    buf_putc(out, to[found - from]);
    r->at++;
    return 0;
}

/* After the opening quote. The whole text is known to be UTF-8. */
static int json_text(struct json_reader *r, struct buf *out)
{
    for (;;) {
        const char *start = r->at;
        while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20)
            r->at++;
        buf_append(out, start, (size_t)(r->at - start));
        if (json_take(r, '"'))
            break;
        if (r->at == r->end)
            return json_fault(r, "a string without an end");
        if (!json_take(r, '\\'))
            return json_fault(r, "a control character in a string");
        int result = json_escape(r, out);
        if (result < 0)
            return result;
    }
    json_here(r);
    return buf_status(out) < 0 ? fault(r->builder, -ENOMEM, "no memory") : 0;
}

static int json_number(struct json_reader *r, json_t **ret)
{
    char text[512];
    size_t size = 0;
    while (r->at + size < r->end && size < sizeof text - 1 && r->at[size] &&
           strchr("+-.0123456789eE", r->at[size]))
        size++;
    memcpy(text, r->at, size);
    text[size] = '\0';
    enum number kind = number_kind(text);
    /* RFC 8259 wants digits on both sides of the point and no plus sign. */
    const char *point = strchr(text, '.');
    if (kind == NUMBER_NOT || text[0] == '+' ||
        (point && (point == text || strspn(point + 1, "0123456789") == 0 || point[-1] == '-')))
        return json_fault(r, size ? "not a number" : "not JSON: a value is missing");
    int result = number_make(r->builder, text, kind, ret);
    r->at += size;
    return result;
}

static int json_word(struct json_reader *r, json_t **ret)
{
    static const char *const words[] = { "true", "false", "null" };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t size = strlen(words[i]);
        if ((size_t)(r->end - r->at) < size || memcmp(r->at, words[i], size) != 0)
            continue;
        *ret = i == 0 ? json_true() : i == 1 ? json_false() : json_null();
        r->at += size;
        return 0;
    }
    return json_number(r, ret);
}

static int json_value(struct json_reader *r, json_t **ret);

static int json_member(struct json_reader *r, json_t *object)
{
    struct builder *b = r->builder;
    unsigned line = b->line, column = b->column;
    CLEANUP(buf_done) struct buf key = BUF_INIT(SIZE_MAX_BYTES);
    if (!json_take(r, '"'))
        return json_fault(r, "a key must be a quoted string");
    int result = json_text(r, &key);
    if (result < 0)
        return result;
    b->line = line;
    b->column = column;
    if ((result = key_check(b, object, buf_cstr(&key))) < 0)
        return result;
    json_space(r);
    if (!json_take(r, ':'))
        return json_fault(r, "\":\" is missing");
    json_t *value;
    if ((result = json_value(r, &value)) < 0)
        return result;
    return member_put(b, object, buf_cstr(&key), key.size, value, line, column);
}

/* After the opening bracket. */
static int json_elements(struct json_reader *r, json_t *into, char end)
{
    json_space(r);
    if (json_take(r, end))
        return 0;
    for (;;) {
        json_t *element;
        int result;
        if (end == '}')
            result = json_member(r, into);
        else if ((result = json_value(r, &element)) == 0 &&
                 json_array_append_new(into, element) < 0)
            result = fault(r->builder, -ENOMEM, "no memory");
        if (result < 0)
            return result;
        json_space(r);
        if (json_take(r, end))
            return 0;
        if (!json_take(r, ','))
            return json_fault(r, end == '}' ? "\",\" or \"}\" is missing"
                                            : "\",\" or \"]\" is missing");
        json_space(r);
    }
}

static int json_collection(struct json_reader *r, json_t **ret)
{
    struct builder *b = r->builder;
    bool object = *r->at++ == '{';
    int result = depth_enter(b);
    if (result < 0)
        return result;
    json_t *made = object ? json_object() : json_array();
    if ((result = node_made(b, made, b->line, b->column)) < 0)
        return result;
    CLEANUP(json_freep) json_t *owned = made;
    if ((result = json_elements(r, owned, object ? '}' : ']')) < 0)
        return result;
    b->depth--;
    *ret = TAKE(owned);
    return 0;
}

static int json_value(struct json_reader *r, json_t **ret)
{
    json_space(r);
    unsigned line = r->builder->line, column = r->builder->column;
    if (r->at < r->end && (*r->at == '{' || *r->at == '['))
        return json_collection(r, ret);
    json_t *value = NULL;
    int result;
    if (json_take(r, '"')) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(SIZE_MAX_BYTES);
        if ((result = json_text(r, &text)) < 0)
            return result;
        value = json_stringn_nocheck(buf_cstr(&text), text.size);
    } else if ((result = json_word(r, &value)) < 0) {
        return result;
    }
    result = node_made(r->builder, value, line, column);
    if (result == 0)
        *ret = value;
    return result;
}

static int json_read(struct builder *b, const char *text, size_t size)
{
    struct json_reader r = { b, text, text + size, text, 1 };
    int result = json_value(&r, &b->document->root);
    if (result < 0)
        return result;
    json_space(&r);
    return r.at == r.end ? 0 : json_fault(&r, "something follows the value");
}

/* ---- both ---- */

static int check_characters(struct builder *b, const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t i = 0; i < size;) {
        uint32_t code_point;
        size_t length = text_decode(bytes + i, size - i, &code_point);
        if (length && code_point != 0 && code_point != 0xfeff) {
            i += length;
            continue;
        }
        place_of_byte(b, text, i);
        return fault(b, -EILSEQ,
                     length == 0  ? "not UTF-8"
                     : code_point ? "a byte order mark (U+FEFF)"
                                  : "a NUL character");
    }
    return 0;
}

int document_parse(const char *name, const char *text, size_t size, struct document **ret,
                   struct error *e)
{
    CLEANUP(document_freep) struct document *d = mem_zalloc(sizeof *d);
    if (!d)
        return error_set(e, -ENOMEM, "no memory");
    struct builder b = { .document = d, .name = name, .error = e, .line = 1, .column = 1 };
    if (size > SIZE_MAX_BYTES)
        return fault(&b, -EFBIG, "larger than 1 MiB");
    int result = check_characters(&b, text, size);
    if (result < 0)
        return result;
    size_t first = 0;
    while (first < size && strchr(" \t\r\n", text[first]))
        first++;
    bool json = first < size && (text[first] == '{' || text[first] == '[');
    b.line = b.column = 1;
    result = json ? json_read(&b, text, size) : yaml_read(&b, text, size);
    if (result < 0)
        return result;
    *ret = TAKE(d);
    return 0;
}

void document_free(struct document *d)
{
    if (!d)
        return;
    json_decref(d->root);
    mem_free(d->places);
    mem_free(d);
}

const json_t *document_root(const struct document *d)
{
    return d->root;
}
