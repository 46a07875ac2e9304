/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See scrub.h. The bytes are read as four texts at once: as they are, and with their percent-encodings,
 * escapes, entities decoded. Each character of each text remembers which bytes it came from. Over each
 * text run windows as long as a pattern, each with a polynomial hash by a random odd base, of 32 bits and
 * without a multiplication for each window: a text keeps running sums of weight * base^place, the sum
 * of a window is the difference of two, and what it must be at each place was multiplied beforehand. So
 * four windows are compared at once. A window whose sum is a pattern's (it is that, or one in 2^32) is hashed
 * again, whole, with 64 bits; then the bytes it came from are marked; marked bytes leave as '*'.
 *
 * A text that decodes is the text as it is where no escape is near: it is read only from a block with the
 * sign that its escapes begin with until windows are past the last one. That depends on bytes that the
 * origin chose, never on a value.
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
#define BLOCK_MIN 256      /* bytes that are read at once */

enum reading { READING_RAW, READING_PERCENT, READING_ESCAPES, READING_ENTITIES, READINGS };
enum fold { FOLD_NOT, FOLD_BASE64, FOLD_HEX, FOLDS };
static const uint8_t signs[READINGS] = { 0, '%', '\\', '&' };

struct pattern {
    uint64_t target; /* hash of the whole */
    uint32_t sum;    /* of its weights */
    uint32_t length;
    uint8_t fold, value;
    bool before, after; /* the neighbour belongs to it in part */
};
/* What is looked for; shared by those that look for the same. */
struct plan {
    unsigned users;
    uint64_t base;
    uint32_t step, back; /* base of the sums, and its inverse */
    struct pattern patterns[SCRUB_VALUES_MAX * FORMS];
    size_t pattern_count, longest;
    uint8_t folds[FOLDS][256];
    uint32_t weights[FOLDS][256]; /* of characters, folded */
    /* Texts have `past` places for what was read before, and `fresh` for what is read next. */
    size_t past, block, fresh, hold, room;
    uint32_t *powers; /* step^place */
    uint32_t *wanted; /* by pattern, and by fresh place where a window of it ends */
};
struct text {
    uint8_t *characters, *spans; /* a character, and how many more bytes than one it came from */
    uint64_t *places;            /* of the first of them */
    uint32_t *sums[FOLDS];       /* sums[i]: of the characters before the i-th */
    size_t size, begin;          /* characters are there from `begin` to `size` */
    size_t plain;                /* characters that came since an escape was decoded */
    bool resting;                /* is as the raw text is, and not kept */
    bool mask_next;
    uint8_t pending[ESCAPE_MAX]; /* of an escape that was begun */
    size_t pending_size;
};
struct scrub {
    struct plan *plan;
    struct text texts[READINGS];
    uint8_t *memory; /* of all arrays; its end is `held` and `marks` */
    size_t memory_size;

    uint8_t *held, *marks; /* rings of `room`, by position */
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

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void make_folds(struct plan *p, uint64_t seed)
{
    uint32_t weights[256];
    p->base = seed | 1;
    p->step = ((uint32_t)next_random(&seed) & ~7u) | 5;
    p->back = p->step; /* right in 3 bits; each round doubles them */
    for (size_t i = 0; i < 4; i++)
        p->back *= 2 - p->step * p->back;
    for (size_t i = 0; i < 256; i++)
        weights[i] = (uint32_t)next_random(&seed);
    for (size_t f = 0; f < FOLDS; f++)
        for (size_t i = 0; i < 256; i++)
            p->folds[f][i] = (uint8_t)i;
    p->folds[FOLD_BASE64]['-'] = '+';
    p->folds[FOLD_BASE64]['_'] = '/';
    for (int c = 'A'; c <= 'F'; c++)
        p->folds[FOLD_HEX][c] = (uint8_t)(c | 0x20);
    for (size_t f = 0; f < FOLDS; f++)
        for (size_t i = 0; i < 256; i++)
            p->weights[f][i] = weights[p->folds[f][i]];
    mem_wipe(weights, sizeof(weights));
}

struct pattern_hash {
    uint64_t hash;
    uint32_t sum, power, length;
};
#define HASH_INIT  \
    {              \
        .power = 1 \
    }

static void hash_add(const struct plan *p, struct pattern_hash *h, char c)
{
    h->hash = h->hash * p->base + (uint8_t)c;
    h->sum += p->weights[FOLD_NOT][(uint8_t)c] * h->power; /* `c` is folded */
    h->power *= p->step;
    h->length++;
}

static void add_pattern(struct plan *p, size_t value, enum fold fold, struct pattern_hash h,
                        bool before, bool after)
{
    p->patterns[p->pattern_count++] = (struct pattern){ .target = h.hash,
                                                        .sum = h.sum,
                                                        .length = h.length,
                                                        .fold = (uint8_t)fold,
                                                        .value = (uint8_t)value,
                                                        .before = before,
                                                        .after = after };
    p->longest = MAX(p->longest, (size_t)h.length);
}

/* Six bits of the value from `bit` on. */
static unsigned six_bits(struct bytes v, size_t bit)
{
    unsigned two = (unsigned)v.data[bit / 8] << 8;
    if (bit / 8 + 1 < v.size)
        two |= v.data[bit / 8 + 1];
    return (two >> (10 - bit % 8)) & 63;
}

static void add_patterns(struct plan *p, size_t value, struct bytes v)
{
    struct pattern_hash raw = HASH_INIT, hex = HASH_INIT;
    for (size_t i = 0; i < v.size; i++) {
        hash_add(p, &raw, (char)v.data[i]);
        hash_add(p, &hex, hex_letters[v.data[i] >> 4]);
        hash_add(p, &hex, hex_letters[v.data[i] & 15]);
    }
    add_pattern(p, value, FOLD_NOT, raw, false, false);
    add_pattern(p, value, FOLD_HEX, hex, false, false);
    /* `skip` bits of the value are in a character that other bytes before it share. */
    for (size_t skip = 0; skip < 6; skip += 2) {
        struct pattern_hash h = HASH_INIT;
        size_t bit = skip;
        for (; bit + 6 <= 8 * v.size; bit += 6)
            hash_add(p, &h, base64_letters[six_bits(v, bit)]);
        add_pattern(p, value, FOLD_BASE64, h, skip != 0, bit != 8 * v.size);
    }
}

static uint32_t power_of(uint32_t base, size_t exponent)
{
    uint32_t power = 1;
    for (; exponent > 0; exponent /= 2, base *= base)
        if (exponent % 2)
            power *= base;
    return power;
}

static size_t power_of_two(size_t at_least)
{
    size_t size = 1;
    while (size < at_least)
        size *= 2;
    return size;
}

static bool make_tables(struct plan *p)
{
    p->past = (p->longest + 2 + 7) & ~(size_t)7;
    p->block = power_of_two(
        MAX(p->past, (size_t)BLOCK_MIN)); /* what is moved is not more than what is read */
    p->fresh = p->block + 2 * ESCAPE_MAX;
    p->hold = ESCAPE_MAX * p->longest + SLACK;
    p->room = power_of_two(p->hold + p->block + 1);
    p->powers = mem_alloc((p->past + p->fresh) * sizeof(*p->powers));
    p->wanted = mem_alloc(p->pattern_count * p->fresh * sizeof(*p->wanted) + 1);
    if (!p->powers || !p->wanted)
        return false;
    p->powers[0] = 1;
    for (size_t i = 1; i < p->past + p->fresh; i++)
        p->powers[i] = p->powers[i - 1] * p->step;
    for (size_t k = 0; k < p->pattern_count; k++) {
        const uint32_t *first = p->powers + p->past + 1 - p->patterns[k].length;
        for (size_t i = 0; i < p->fresh; i++)
            p->wanted[k * p->fresh + i] = p->patterns[k].sum * first[i];
    }
    return true;
}

static void plan_free(struct plan *p)
{
    if (!p || --p->users > 0)
        return;
    mem_free(p->powers);
    mem_free(p->wanted);
    mem_wipe(p, sizeof(*p));
    mem_free(p);
}

/* ---- texts ---- */

static void mark(struct scrub *s, uint64_t first, uint64_t last)
{
    for (uint64_t at = MAX(first, s->gone); at <= last; at++)
        s->marks[at & (s->plan->room - 1)] = 1;
}

static void mark_character(struct scrub *s, const struct text *t, size_t i)
{
    mark(s, t->places[i], t->places[i] + t->spans[i]);
}

/* Only the last `past` characters count any more. Sums are those of the places they have now. */
static void move_back(const struct plan *p, struct text *t)
{
    size_t by = t->size - p->past;
    uint32_t factor = power_of(p->back, by);
    memmove(t->characters, t->characters + by, p->past);
    memmove(t->spans, t->spans + by, p->past);
    memmove(t->places, t->places + by, p->past * sizeof(*t->places));
    for (size_t f = 0; f < FOLDS; f++)
        for (size_t i = 0; i <= p->past; i++)
            t->sums[f][i] = t->sums[f][i + by] * factor;
    t->size = p->past;
    t->begin = t->begin > by ? t->begin - by : 0;
}

static void make_place(const struct plan *p, struct text *t, size_t size)
{
    if (t->size + size > p->past + p->fresh)
        move_back(p, t);
}

/* One character of a text. */
static inline void character(const struct plan *p, struct text *t, uint8_t c, uint64_t first,
                             uint8_t span)
{
    size_t i = t->size;
    t->characters[i] = c;
    t->spans[i] = span;
    t->places[i] = first;
    for (size_t f = 0; f < FOLDS; f++)
        t->sums[f][i + 1] = t->sums[f][i] + p->weights[f][c] * p->powers[i];
    /* Line breaks, tabs and what makes ASCII UTF-16 are none: the next one takes the place. */
    t->size += c != '\n' && c != '\r' && c != '\t' && c != 0;
}

/* Many of them, each of one byte. Its pointers are its own, so nothing is loaded twice. */
static void characters(const struct plan *p, struct text *t, struct bytes in, uint64_t at)
{
    uint8_t *restrict chars = t->characters + t->size, *restrict spans = t->spans + t->size;
    uint64_t *restrict places = t->places + t->size;
    const uint32_t *restrict powers = p->powers + t->size;
    uint32_t *restrict sums[FOLDS], now[FOLDS];
    size_t count = 0;
    for (size_t f = 0; f < FOLDS; f++) {
        sums[f] = t->sums[f] + t->size + 1;
        now[f] = t->sums[f][t->size];
    }
    for (size_t i = 0; i < in.size; i++) {
        uint8_t c = in.data[i];
        bool is_one = c != '\n' && c != '\r' && c != '\t' && c != 0;
        uint32_t power = is_one ? powers[count] : 0;
        chars[count] = c;
        places[count] = at + i;
        for (size_t f = 0; f < FOLDS; f++)
            sums[f][count] = now[f] += p->weights[f][c] * power;
        count += is_one;
    }
    memset(spans, 0, count);
    t->size += count;
}

static bool is_whole(const struct plan *p, const struct text *t, const struct pattern *pattern,
                     size_t begin)
{
    const uint8_t *fold = p->folds[pattern->fold];
    uint64_t hash = 0;
    for (size_t i = 0; i < pattern->length; i++)
        hash = hash * p->base + fold[t->characters[begin + i]];
    return begin >= t->begin && hash == pattern->target;
}

/* The pattern's last character is the i-th. Spread over more than is kept back (by line breaks without
 * end between its characters) it is none: what of it is gone would depend on how the bytes were cut. */
static void found(struct scrub *s, struct text *t, const struct pattern *pattern, size_t i)
{
    size_t begin = i + 1 - pattern->length;
    uint64_t last = t->places[i] + t->spans[i];
    if (last - t->places[begin] >= s->plan->hold - SLACK)
        return;
    if (pattern->before && begin > t->begin &&
        last - t->places[begin - 1] < s->plan->hold - ESCAPE_MAX)
        begin--;
    for (size_t k = begin; k <= i; k++)
        mark_character(s, t, k);
    if (pattern->after && i + 1 < t->size)
        mark_character(s, t, i + 1);
    else
        t->mask_next |= pattern->after;
    s->found |= 1u << pattern->value;
}

typedef uint32_t lanes __attribute__((vector_size(16)));

static inline lanes load(const uint32_t *from)
{
    lanes l;
    memcpy(&l, from, sizeof(l));
    return l;
}

/* Is any of the differences what is wanted? All are looked at. */
static bool any_equal(const uint32_t *ends, const uint32_t *begins, const uint32_t *wanted,
                      size_t count)
{
    lanes hits = { 0 };
    uint32_t hit = 0;
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        hits |= (lanes)(load(ends + i) - load(begins + i) == load(wanted + i));
    for (; i < count; i++)
        hit |= ends[i] - begins[i] == wanted[i];
    return (hit | hits[0] | hits[1] | hits[2] | hits[3]) != 0;
}

/* All windows that end at the `from`-th character or behind it. */
static void look(struct scrub *s, struct text *t, size_t from)
{
    const struct plan *p = s->plan;
    if (t->mask_next && t->size > from) {
        t->mask_next = false;
        mark_character(s, t, from);
    }
    for (size_t k = 0; k < p->pattern_count; k++) {
        const struct pattern *pattern = &p->patterns[k];
        const uint32_t *ends = t->sums[pattern->fold] + 1, *begins = ends - pattern->length;
        const uint32_t *wanted = p->wanted + k * p->fresh - p->past;
        if (!any_equal(ends + from, begins + from, wanted + from, t->size - from))
            continue;
        for (size_t i = from; i < t->size; i++)
            if (ends[i] - begins[i] == wanted[i] &&
                is_whole(p, t, pattern, i + 1 - pattern->length))
                found(s, t, pattern, i);
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
    if (at[0] != signs[reading])
        return NO_ESCAPE;
    int c = reading == READING_PERCENT   ? decode_hex(at + 1, size - 1, 2)
            : reading == READING_ESCAPES ? decode_escape(at, size)
                                         : decode_entity(at, size);
    return c == NOT_YET && size == ESCAPE_MAX ? NO_ESCAPE : c;
}

/* ---- reading ---- */

static void read_byte(const struct plan *p, struct text *t, enum reading reading, uint8_t c,
                      uint64_t at);

/* What was begun is no escape: its first byte is a character, the others are looked at again. */
static void give_up(const struct plan *p, struct text *t, enum reading reading, uint64_t first)
{
    uint8_t begun[ESCAPE_MAX];
    size_t size = t->pending_size;
    memcpy(begun, t->pending, size);
    t->pending_size = 0;
    size_t before = t->size;
    character(p, t, begun[0], first, 0);
    t->plain += t->size - before;
    for (size_t i = 1; i < size; i++)
        read_byte(p, t, reading, begun[i], first + i);
}

static void read_byte(const struct plan *p, struct text *t, enum reading reading, uint8_t c,
                      uint64_t at)
{
    t->pending[t->pending_size++] = c;
    uint64_t first = at + 1 - t->pending_size;
    int means = decode(reading, t->pending, t->pending_size);
    if (means >= 0) {
        t->plain = 0;
        character(p, t, (uint8_t)means, first, (uint8_t)(t->pending_size - 1));
        t->pending_size = 0;
    } else if (means == NO_ESCAPE) {
        give_up(p, t, reading, first);
    }
}

static void read_bytes(const struct plan *p, struct text *t, enum reading reading, struct bytes in,
                       uint64_t at)
{
    while (in.size > 0) {
        const uint8_t *sign = memchr(in.data, signs[reading], in.size);
        size_t size = sign ? (size_t)(sign - in.data) : in.size;
        if (t->pending_size > 0 || size == 0) {
            size = 1;
            read_byte(p, t, reading, in.data[0], at);
        } else {
            size_t before = t->size;
            characters(p, t, (struct bytes){ in.data, size }, at);
            t->plain += t->size - before;
        }
        in = (struct bytes){ in.data + size, in.size - size };
        at += size;
    }
}

/* It was as the raw text until now, whose next character is the `from`-th. */
static void wake(const struct plan *p, struct text *t, const struct text *raw, size_t from)
{
    size_t first = from - p->past;
    memcpy(t->characters + first, raw->characters + first, p->past);
    memcpy(t->spans + first, raw->spans + first, p->past);
    memcpy(t->places + first, raw->places + first, p->past * sizeof(*t->places));
    for (size_t f = 0; f < FOLDS; f++)
        memcpy(t->sums[f] + first, raw->sums[f] + first, (p->past + 1) * sizeof(**t->sums));
    t->size = from;
    t->begin = MAX(raw->begin, first);
    t->resting = false;
    t->plain = p->past;
}

/* At most a block. */
static void feed(struct scrub *s, struct bytes in)
{
    const struct plan *p = s->plan;
    struct text *raw = &s->texts[READING_RAW];
    size_t wrap = p->room - 1, first = MIN(in.size, p->room - (s->came & wrap));
    memcpy(s->held + (s->came & wrap), in.data, first);
    memset(s->marks + (s->came & wrap), 0, first);
    memcpy(s->held, in.data + first, in.size - first);
    memset(s->marks, 0, in.size - first);

    make_place(p, raw, in.size);
    size_t from = raw->size;
    bool mask_next = raw->mask_next;
    characters(p, raw, in, s->came);
    look(s, raw, from);
    for (enum reading r = READING_PERCENT; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        if (t->resting) {
            if (!memchr(in.data, signs[r], in.size))
                continue;
            wake(p, t, raw, from);
            t->mask_next = mask_next;
        }
        make_place(p, t, in.size + ESCAPE_MAX);
        size_t from_here = t->size;
        read_bytes(p, t, r, in, s->came);
        look(s, t, from_here);
        t->resting = t->pending_size == 0 && t->plain > p->past;
    }
    s->came += in.size;
}

static void feed_end(struct scrub *s)
{
    for (enum reading r = READING_PERCENT; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        if (t->resting)
            continue;
        make_place(s->plan, t, ESCAPE_MAX);
        size_t from = t->size;
        while (t->pending_size > 0)
            give_up(s->plan, t, r, s->came - t->pending_size);
        look(s, t, from);
    }
}

/* ---- letting go ---- */

/* The next bytes that may go, with '*' for those that are marked: as many as lie in one piece, all but `keep`. */
static struct bytes let_go(struct scrub *s, size_t keep)
{
    size_t at = s->gone & (s->plan->room - 1);
    if (s->came - s->gone <= keep)
        return (struct bytes){ 0 };
    size_t size = MIN(s->came - s->gone - keep, s->plan->room - at);
    uint8_t *held = s->held + at;
    const uint8_t *marks = s->marks + at;
    for (size_t i = 0; i < size; i++) {
        uint8_t hide = (uint8_t)-marks[i];
        held[i] = (uint8_t)((held[i] & ~hide) | ('*' & hide));
    }
    s->places += marks[0] & !s->was_marked;
    for (size_t i = 1; i < size; i++)
        s->places += marks[i] & (marks[i - 1] ^ 1);
    s->was_marked = marks[size - 1] != 0;
    s->gone += size;
    return (struct bytes){ held, size };
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

/* How many of the next bytes may be read before some must go. */
static size_t next_piece(struct scrub *s, struct bytes in, bool *ret_over)
{
    size_t most = MIN(in.size, s->plan->block), size;
    *ret_over = false;
    if (s->border == SCRUB_NOWHERE)
        return most;
    for (size = 0; size < most && !*ret_over; size++)
        *ret_over = at_border(s, in.data[size]);
    return size;
}

void scrub_push(struct scrub *s, struct bytes in, struct buf *out)
{
    while (in.size > 0) {
        bool over;
        size_t size = next_piece(s, in, &over);
        feed(s, (struct bytes){ in.data, size });
        in = (struct bytes){ in.data + size, in.size - size };
        struct bytes gone;
        while ((gone = let_go(s, over ? 0 : s->plan->hold)).size > 0)
            buf_append(out, gone.data, gone.size);
    }
}

/* Nothing that came counts any more. */
static void begin_anew(struct scrub *s)
{
    const struct plan *p = s->plan;
    for (enum reading r = READING_RAW; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        mem_wipe(t->pending, sizeof(t->pending));
        t->pending_size = 0;
        t->mask_next = false;
        t->resting = r != READING_RAW;
    }
    struct text *raw = &s->texts[READING_RAW];
    for (size_t f = 0; f < FOLDS; f++)
        memset(raw->sums[f], 0, (p->past + 1) * sizeof(*raw->sums[f]));
    raw->size = raw->begin = p->past;
    s->came = s->gone = 0;
    s->was_marked = s->unit_over = false;
    s->line_empty = true;
    s->last = 0;
}

void scrub_end(struct scrub *s, struct buf *out)
{
    struct bytes gone;
    feed_end(s);
    while ((gone = let_go(s, 0)).size > 0)
        buf_append(out, gone.data, gone.size);
    begin_anew(s);
}

bool scrub_text(struct scrub *s, uint8_t *text, size_t size)
{
    ASSERT(s->came == s->gone); /* what is held would be written over the text's end */
    uint32_t before = s->places;
    size_t done = 0;
    struct bytes gone;
    for (size_t at = 0; at < size;) {
        size_t piece = MIN(size - at, s->plan->block);
        feed(s, (struct bytes){ text + at, piece });
        at += piece;
        for (; (gone = let_go(s, s->plan->hold)).size > 0; done += gone.size)
            memcpy(text + done, gone.data, gone.size);
    }
    feed_end(s);
    for (; (gone = let_go(s, 0)).size > 0; done += gone.size)
        memcpy(text + done, gone.data, gone.size);
    begin_anew(s);
    return s->places != before;
}

/* ---- birth and end ---- */

static bool make_texts(struct scrub *s)
{
    const struct plan *p = s->plan;
    size_t count = p->past + p->fresh; /* a multiple of 8 */
    size_t of_text = count * (sizeof(uint64_t) + 2) + FOLDS * (count + 2) * sizeof(uint32_t);
    s->memory_size = READINGS * of_text + 2 * p->room;
    uint8_t *at = s->memory = mem_alloc(s->memory_size);
    if (!at)
        return false;
    memset(at, 0, s->memory_size);
    for (enum reading r = READING_RAW; r < READINGS; r++) {
        struct text *t = &s->texts[r];
        t->places = (uint64_t *)at;
        at += count * sizeof(uint64_t);
        for (size_t f = 0; f < FOLDS; f++, at += (count + 2) * sizeof(uint32_t))
            t->sums[f] = (uint32_t *)at;
        t->characters = at;
        t->spans = at + count;
        at += 2 * count;
    }
    s->held = at;
    s->marks = at + p->room;
    return true;
}

int scrub_like(const struct scrub *other, struct scrub **ret)
{
    struct scrub *s = mem_zalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->plan = other->plan;
    s->plan->users++;
    if (!make_texts(s)) {
        scrub_free(s);
        return -ENOMEM;
    }
    begin_anew(s);
    *ret = s;
    return 0;
}

int scrub_new(const struct bytes *values, size_t count, uint64_t seed, struct scrub **ret,
              struct error *e)
{
    for (size_t i = 0; i < count; i++)
        if (count > SCRUB_VALUES_MAX || values[i].size < 4)
            return error_set(e, -EINVAL, "values that cannot be masked");
    struct scrub model = { .plan = mem_zalloc(sizeof(*model.plan)) };
    struct plan *p = model.plan;
    if (!p)
        return error_set(e, -ENOMEM, "no memory for masking");
    p->users = 1;
    make_folds(p, seed);
    for (size_t i = 0; i < count; i++)
        add_patterns(p, i, values[i]);
    int status = make_tables(p) ? scrub_like(&model, ret) : -ENOMEM;
    plan_free(p);
    return status < 0 ? error_set(e, status, "no memory for masking") : 0;
}

void scrub_free(struct scrub *s)
{
    if (!s)
        return;
    if (s->memory)
        mem_wipe(s->memory, s->memory_size); /* what was masked is in it still */
    mem_free(s->memory);
    plan_free(s->plan);
    mem_wipe(s, sizeof(*s));
    mem_free(s);
}

void scrub_border(struct scrub *s, enum scrub_border border)
{
    s->border = border;
}

size_t scrub_held(const struct scrub *s)
{
    return s->plan->hold;
}

uint32_t scrub_places(const struct scrub *s)
{
    return s->places;
}

uint32_t scrub_found(const struct scrub *s)
{
    return s->found;
}
