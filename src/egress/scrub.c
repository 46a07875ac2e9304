/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See scrub.h. The bytes are read as four texts at once: as they are, and with their percent-encodings,
 * escapes, entities decoded. Each character of each text remembers which bytes it came from. Over each text
 * run windows as long as a pattern, each with a polynomial hash (modulo 2^64, by a random odd base):
 * one multiplication for the character that comes in, one for the one that falls out. A window whose
 * hash is the pattern's marks the bytes it came from; marked bytes leave as '*'.
 *
 * A chance of 2^-64 for each byte that something else is masked, too, is less than that of a wrong
 * bit in memory.
 */
#include "egress/scrub.h"

#include <string.h>

#include "base/mem.h"

#define FORMS 5            /* raw, three of base64, hex */
#define ESCAPE_MAX 8       /* bytes that stand for one character: "&#x0041;", "&equals;" */
#define SLACK 16           /* an escape that was begun, and the characters that base64 shares */
#define NO_CHARACTER 0xffu /* beyond ASCII: part of no value */

enum reading { READING_RAW, READING_PERCENT, READING_ESCAPES, READING_ENTITIES, READINGS };
enum fold { FOLD_NOT, FOLD_BASE64, FOLD_HEX, FOLDS };

struct pattern {
    uint64_t target; /* hash of the whole */
    uint64_t falls;  /* base ^ length: what a character has become when it falls out */
    uint32_t length;
    uint8_t fold, value;
    bool before, after; /* the neighbour belongs to it in part */
};
struct place { /* of a character: first and last byte */
    uint64_t first, last;
};
struct text {
    uint8_t *characters;
    struct place *places; /* rings of `ring` */
    uint64_t count;
    uint64_t *hashes; /* by pattern */
    bool mask_next;
    uint8_t pending[ESCAPE_MAX]; /* of an escape that was begun */
    size_t pending_size;
};
struct scrub {
    uint64_t base;
    struct pattern patterns[SCRUB_VALUES_MAX * FORMS];
    size_t pattern_count, ring;
    struct text texts[READINGS];
    uint8_t folds[FOLDS][256];

    uint8_t *held, *marks; /* rings of `room`, by position */
    size_t hold, room;
    uint64_t came, gone;
    bool was_marked, line_empty, unit_over;
    uint8_t last;
    enum scrub_border border;
    uint32_t places, found;
};

/* ---- patterns ---- */

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_letters[] = "0123456789abcdef";

static void make_folds(struct scrub *s)
{
    for (size_t f = 0; f < FOLDS; f++)
        for (size_t i = 0; i < 256; i++)
            s->folds[f][i] = (uint8_t)i;
    s->folds[FOLD_BASE64]['-'] = '+';
    s->folds[FOLD_BASE64]['_'] = '/';
    for (int c = 'A'; c <= 'F'; c++)
        s->folds[FOLD_HEX][c] = (uint8_t)(c | 0x20);
}

struct pattern_hash {
    uint64_t hash, falls;
    uint32_t length;
};

static void hash_add(const struct scrub *s, struct pattern_hash *h, char c)
{
    h->hash = h->hash * s->base + (uint8_t)c;
    h->falls *= s->base;
    h->length++;
}

static void add_pattern(struct scrub *s, size_t value, enum fold fold, struct pattern_hash h,
                        bool before, bool after)
{
    s->patterns[s->pattern_count++] = (struct pattern){ .target = h.hash,
                                                        .falls = h.falls,
                                                        .length = h.length,
                                                        .fold = (uint8_t)fold,
                                                        .value = (uint8_t)value,
                                                        .before = before,
                                                        .after = after };
    s->ring = MAX(s->ring, (size_t)h.length);
}

/* Six bits of the value from `bit` on. */
static unsigned six_bits(struct bytes v, size_t bit)
{
    unsigned two = (unsigned)v.data[bit / 8] << 8;
    if (bit / 8 + 1 < v.size)
        two |= v.data[bit / 8 + 1];
    return (two >> (10 - bit % 8)) & 63;
}

static void add_patterns(struct scrub *s, size_t value, struct bytes v)
{
    struct pattern_hash raw = { .falls = 1 }, hex = { .falls = 1 };
    for (size_t i = 0; i < v.size; i++) {
        hash_add(s, &raw, (char)v.data[i]);
        hash_add(s, &hex, hex_letters[v.data[i] >> 4]);
        hash_add(s, &hex, hex_letters[v.data[i] & 15]);
    }
    add_pattern(s, value, FOLD_NOT, raw, false, false);
    add_pattern(s, value, FOLD_HEX, hex, false, false);
    /* `skip` bits of the value are in a character that other bytes before it share. */
    for (size_t skip = 0; skip < 6; skip += 2) {
        struct pattern_hash h = { .falls = 1 };
        size_t bit = skip;
        for (; bit + 6 <= 8 * v.size; bit += 6)
            hash_add(s, &h, base64_letters[six_bits(v, bit)]);
        add_pattern(s, value, FOLD_BASE64, h, skip != 0, bit != 8 * v.size);
    }
}

/* ---- marking ---- */

static void mark(struct scrub *s, uint64_t first, uint64_t last)
{
    for (uint64_t at = MAX(first, s->gone); at <= last; at++)
        s->marks[at & (s->room - 1)] = 1;
}

static void found(struct scrub *s, struct text *t, const struct pattern *p)
{
    uint32_t length = p->length + (p->before && t->count > p->length ? 1 : 0);
    for (uint32_t i = 1; i <= length; i++) {
        const struct place *at = &t->places[(t->count - i) & (s->ring - 1)];
        mark(s, at->first, at->last);
    }
    t->mask_next |= p->after;
    s->found |= 1u << p->value;
}

/* One character of a text. */
static void character(struct scrub *s, struct text *t, uint8_t c, uint64_t first, uint64_t last)
{
    if (c == '\n' || c == '\r' || c == '\t')
        return;
    size_t wrap = s->ring - 1;
    t->characters[t->count & wrap] = c;
    t->places[t->count & wrap] = (struct place){ first, last };
    t->count++;
    if (t->mask_next) {
        t->mask_next = false;
        mark(s, first, last);
    }
    for (size_t i = 0; i < s->pattern_count; i++) {
        const struct pattern *p = &s->patterns[i];
        const uint8_t *fold = s->folds[p->fold];
        uint8_t out = t->characters[(t->count - 1 - p->length) & wrap];
        t->hashes[i] = t->hashes[i] * s->base + fold[c] - fold[out] * p->falls;
        if (t->hashes[i] == p->target)
            found(s, t, p);
    }
}

/* ---- escapes ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum { NO_ESCAPE = -1, NOT_YET = -2 }; /* else the character */

static int decode_hex(const uint8_t *at, size_t size, size_t wanted)
{
    int value = 0;
    for (size_t i = 0; i < size; i++) {
        if (hex_digit(at[i]) < 0)
            return NO_ESCAPE;
        value = value * 16 + hex_digit(at[i]);
    }
    if (size < wanted)
        return NOT_YET;
    return value < 0x80 ? value : (int)NO_CHARACTER;
}

static int decode_escape(const uint8_t *at, size_t size)
{
    static const char plain[] = "\"\\/'bfnrt", means[] = "\"\\/'\b\f\n\r\t";
    if (size < 2)
        return NOT_YET;
    if (at[1] == 'u')
        return decode_hex(at + 2, size - 2, 4);
    if (at[1] == 'x')
        return decode_hex(at + 2, size - 2, 2);
    const char *found_at = at[1] ? strchr(plain, at[1]) : NULL;
    return found_at ? means[found_at - plain] : NO_ESCAPE;
}

static int decode_number(const uint8_t *at, size_t size)
{
    bool hex = size > 0 && (at[0] | 0x20) == 'x';
    int value = 0;
    for (size_t i = hex; i < size; i++) {
        if (at[i] == ';')
            return i == (size_t)hex ? NO_ESCAPE : value < 0x80 ? value : (int)NO_CHARACTER;
        int digit = hex_digit(at[i]);
        if (digit < 0 || (!hex && digit > 9))
            return NO_ESCAPE;
        value = value * (hex ? 16 : 10) + digit;
    }
    return NOT_YET;
}

static int decode_entity(const uint8_t *at, size_t size)
{
    static const struct {
        const char *name;
        char means;
    } names[] = { { "amp;", '&' },    { "lt;", '<' },   { "gt;", '>' },  { "quot;", '"' },
                  { "apos;", '\'' },  { "plus;", '+' }, { "sol;", '/' }, { "equals;", '=' },
                  { "lowbar;", '_' }, { "bsol;", '\\' } };
    if (size < 2)
        return NOT_YET;
    if (at[1] == '#')
        return decode_number(at + 2, size - 2);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t whole = strlen(names[i].name);
        if (size - 1 <= whole && memcmp(names[i].name, at + 1, size - 1) == 0)
            return size - 1 == whole ? names[i].means : NOT_YET;
    }
    return NO_ESCAPE;
}

static int decode(enum reading reading, const uint8_t *at, size_t size)
{
    static const char begins[READINGS] = { 0, '%', '\\', '&' };
    if (at[0] != (uint8_t)begins[reading])
        return NO_ESCAPE;
    int c = reading == READING_PERCENT   ? decode_hex(at + 1, size - 1, 2)
            : reading == READING_ESCAPES ? decode_escape(at, size)
                                         : decode_entity(at, size);
    return c == NOT_YET && size == ESCAPE_MAX ? NO_ESCAPE : c;
}

static void read_byte(struct scrub *s, enum reading reading, uint8_t c, uint64_t at);

/* What was begun is no escape: its first byte is a character, the others are looked at again. */
static void give_up(struct scrub *s, enum reading reading, uint64_t first)
{
    struct text *t = &s->texts[reading];
    uint8_t begun[ESCAPE_MAX];
    size_t size = t->pending_size;
    memcpy(begun, t->pending, size);
    t->pending_size = 0;
    character(s, t, begun[0], first, first);
    for (size_t i = 1; i < size; i++)
        read_byte(s, reading, begun[i], first + i);
}

static void read_byte(struct scrub *s, enum reading reading, uint8_t c, uint64_t at)
{
    struct text *t = &s->texts[reading];
    t->pending[t->pending_size++] = c;
    uint64_t first = at + 1 - t->pending_size;
    int means = decode(reading, t->pending, t->pending_size);
    if (means >= 0) {
        t->pending_size = 0;
        character(s, t, (uint8_t)means, first, at);
    } else if (means == NO_ESCAPE) {
        give_up(s, reading, first);
    }
}

static void feed(struct scrub *s, uint8_t c)
{
    uint64_t at = s->came++;
    s->held[at & (s->room - 1)] = c;
    s->marks[at & (s->room - 1)] = 0;
    character(s, &s->texts[READING_RAW], c, at, at);
    for (enum reading r = READING_PERCENT; r < READINGS; r++)
        read_byte(s, r, c, at);
}

static void feed_end(struct scrub *s)
{
    for (enum reading r = READING_PERCENT; r < READINGS; r++)
        while (s->texts[r].pending_size > 0)
            give_up(s, r, s->came - s->texts[r].pending_size);
}

/* ---- letting go ---- */

static uint8_t let_go(struct scrub *s)
{
    size_t at = s->gone++ & (s->room - 1);
    bool marked = s->marks[at] != 0;
    uint8_t hide = (uint8_t) - (int)marked; /* no branch */
    s->places += marked && !s->was_marked;
    s->was_marked = marked;
    return (uint8_t)((s->held[at] & ~hide) | ('*' & hide));
}

/* Does a unit of the format end here? "\r\n" is one line end, and both of its bytes are one. */
static bool at_border(struct scrub *s, uint8_t c)
{
    bool second = c == '\n' && s->last == '\r';
    s->last = c;
    if (c != '\n' && c != '\r') {
        s->line_empty = false;
        s->unit_over = false;
        return false;
    }
    if (!second) {
        s->unit_over = s->border == SCRUB_LINE || (s->border == SCRUB_EVENT && s->line_empty);
        s->line_empty = true;
    }
    return s->unit_over;
}

void scrub_push(struct scrub *s, struct bytes in, struct buf *out)
{
    uint8_t block[4096];
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        feed(s, in.data[i]);
        size_t keep = at_border(s, in.data[i]) ? 0 : s->hold;
        while (s->came - s->gone > keep) {
            block[size++] = let_go(s);
            if (size == sizeof(block)) {
                buf_append(out, block, size);
                size = 0;
            }
        }
    }
    buf_append(out, block, size);
}

/* Nothing that came counts any more. */
static void begin_anew(struct scrub *s)
{
    for (enum reading r = READING_RAW; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        mem_wipe(t->characters, s->ring);
        mem_wipe(t->pending, sizeof(t->pending));
        memset(t->hashes, 0, s->pattern_count * sizeof(*t->hashes));
        t->count = t->pending_size = 0;
        t->mask_next = false;
    }
    s->came = s->gone = 0;
    s->was_marked = s->unit_over = false;
    s->line_empty = true;
    s->last = 0;
}

void scrub_end(struct scrub *s, struct buf *out)
{
    feed_end(s);
    while (s->came > s->gone) {
        uint8_t c = let_go(s);
        buf_append(out, &c, 1);
    }
    begin_anew(s);
}

bool scrub_text(struct scrub *s, uint8_t *text, size_t size)
{
    ASSERT(s->came == s->gone); /* what is held would be written over the text's end */
    uint32_t before = s->places;
    size_t done = 0;
    for (size_t i = 0; i < size; i++) {
        feed(s, text[i]);
        if (s->came - s->gone > s->hold)
            text[done++] = let_go(s);
    }
    feed_end(s);
    while (s->came > s->gone)
        text[done++] = let_go(s);
    begin_anew(s);
    return s->places != before;
}

/* ---- birth and end ---- */

static size_t power_of_two(size_t at_least)
{
    size_t size = 1;
    while (size < at_least)
        size *= 2;
    return size;
}

static bool make_rings(struct scrub *s)
{
    s->hold = ESCAPE_MAX * s->ring + SLACK;
    s->room = power_of_two(s->hold + 1);
    s->ring = power_of_two(s->ring + 2);
    s->held = mem_zalloc(s->room);
    s->marks = mem_zalloc(s->room);
    bool fine = s->held && s->marks;
    for (enum reading r = READING_RAW; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        t->characters = mem_zalloc(s->ring);
        t->places = mem_array(s->ring, sizeof(*t->places));
        t->hashes = mem_array(s->pattern_count, sizeof(*t->hashes));
        fine = fine && t->characters && t->places && t->hashes;
    }
    return fine;
}

int scrub_new(const struct bytes *values, size_t count, uint64_t seed, struct scrub **ret,
              struct error *e)
{
    for (size_t i = 0; i < count; i++)
        if (count > SCRUB_VALUES_MAX || values[i].size < 4)
            return error_set(e, -EINVAL, "values that cannot be masked");
    struct scrub *s = mem_zalloc(sizeof(*s));
    if (!s)
        return error_set(e, -ENOMEM, "no memory for masking");
    s->base = seed | 1;
    make_folds(s);
    for (size_t i = 0; i < count; i++)
        add_patterns(s, i, values[i]);
    if (!make_rings(s)) {
        scrub_free(s);
        return error_set(e, -ENOMEM, "no memory for masking");
    }
    begin_anew(s);
    *ret = s;
    return 0;
}

void scrub_free(struct scrub *s)
{
    if (!s)
        return;
    for (enum reading r = READING_RAW; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        if (t->characters)
            mem_wipe(t->characters, s->ring);
        mem_free(t->characters);
        mem_free(t->places);
        mem_free(t->hashes);
    }
    if (s->held)
        mem_wipe(s->held, s->room); /* what was masked is in it still */
    mem_free(s->held);
    mem_free(s->marks);
    mem_wipe(s, sizeof(*s));
    mem_free(s);
}

void scrub_border(struct scrub *s, enum scrub_border border)
{
    s->border = border;
}

size_t scrub_held(const struct scrub *s)
{
    return s->hold;
}

uint32_t scrub_places(const struct scrub *s)
{
    return s->places;
}

uint32_t scrub_found(const struct scrub *s)
{
    return s->found;
}
