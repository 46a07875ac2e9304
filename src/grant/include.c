/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inclusion of patterns, by automata. A path is read as symbols, each segment as "/" and its
 * characters, the root as nothing; a pattern is an automaton whose states are its tokens
 * (glob_tokens). It only ever moves forward or stays, so the states that need no symbol to be
 * reached are found in one pass.
 *
 * Is b ⊆ a₁ ∪ … ∪ aₙ? Search for a word that b accepts and no aᵢ does: a node is one state of b and
 * the set of states that the a's can be in after the same word. Of two sets for one state of b the
 * smaller one finds every such word that the larger one finds, so a node whose set contains
 * another's is dropped (an antichain); that is what keeps patterns with many stars from growing
 * exponentially in practice. In theory they can: a budget bounds the work, and when it is spent the
 * answer is "not proved".
 *
 * Only words that are paths count: after "/" there comes a character, but for keys and URL paths
 * (`empty_names`), which may have empty names. Symbols that no live state of
 * the a's asks for behave alike, so one of them stands for all (OTHER).
 */
#include "grant/internal.h"

#include <string.h>

#define SYMBOL_SLASH 0u
#define SYMBOL_OTHER UINT32_MAX
#define STORED_WORDS_MAX (4u << 20) /* 32 MiB of sets */

struct node {
    uint32_t state; /* of b */
    bool after_slash;
    size_t same; /* 1 + the next node of this state, 0 = none */
};

struct search {
    struct glob_token *b, *a;
    size_t b_count, a_count, words;
    struct node *nodes;
    uint64_t *sets; /* words of each node */
    size_t count, capacity;
    size_t *first;     /* by state of b and after_slash: 1 + node */
    uint64_t *scratch; /* the set being made */
    struct glob_budget *budget;
};

static void search_done(struct search *s)
{
    mem_free(s->b);
    mem_free(s->a);
    mem_free(s->nodes);
    mem_free(s->sets);
    mem_free(s->first);
    mem_free(s->scratch);
}

static bool budget_spend(struct glob_budget *budget, uint64_t amount)
{
    if (budget->left < amount) {
        budget->left = 0;
        return false;
    }
    budget->left -= amount;
    return true;
}

static void set_put(uint64_t *set, size_t state)
{
    set[state / 64] |= UINT64_C(1) << state % 64;
}

/* Adds what is reached without a symbol; returns whether the set accepts, or accepts whatever
 * follows. */
enum set_end { SET_REJECTS, SET_ACCEPTS, SET_ACCEPTS_ALL };
static enum set_end set_close(const struct glob_token *tokens, size_t words, uint64_t *set)
{
    enum set_end end = SET_REJECTS;
    for (size_t w = 0; w < words; w++) {
        for (unsigned bit = 0; bit < 64 && set[w] >> bit; bit++) {
            if (!(set[w] >> bit & 1))
                continue;
            size_t state = w * 64 + bit;
            switch (tokens[state].kind) {
            case GLOB_STAR:
                set_put(set, state + 1);
                break;
            case GLOB_DEEP_LOOP:
                set_put(set, state + 1);
                if (tokens[state + 1].kind == GLOB_END)
                    return SET_ACCEPTS_ALL;
                break;
            case GLOB_DEEP_GATE:
                set_put(set, state + 2);
                break;
            case GLOB_END:
                end = SET_ACCEPTS;
                break;
            default:
                break;
            }
        }
    }
    return end;
}

/* The state after `symbol`, or -1. */
static long token_step(const struct glob_token *tokens, size_t state, uint32_t symbol)
{
    const struct glob_token *t = &tokens[state];
    switch (t->kind) {
    case GLOB_CHAR:
        return t->symbol == symbol ? (long)state + 1 : -1;
    case GLOB_ANY_CHAR:
        return symbol != SYMBOL_SLASH ? (long)state + 1 : -1;
    case GLOB_STAR:
        return symbol != SYMBOL_SLASH ? (long)state : -1;
    case GLOB_SLASH:
    case GLOB_DEEP_GATE:
        return symbol == SYMBOL_SLASH ? (long)state + 1 : -1;
    case GLOB_DEEP_LOOP:
        return (long)state;
    case GLOB_END:
        break;
    }
    return -1;
}

static void set_step(const struct glob_token *tokens, size_t words, const uint64_t *set,
                     uint32_t symbol, uint64_t *ret)
{
    memset(ret, 0, words * sizeof(*ret));
    for (size_t w = 0; w < words; w++) {
        for (uint64_t left = set[w]; left; left &= left - 1) {
            size_t state = w * 64 + (size_t)__builtin_ctzll(left);
            long next = token_step(tokens, state, symbol);
            if (next >= 0)
                set_put(ret, (size_t)next);
        }
    }
}

static bool set_within(const struct search *s, const uint64_t *small, const uint64_t *large)
{
    for (size_t w = 0; w < s->words; w++) {
        if (small[w] & ~large[w])
            return false;
    }
    return true;
}

static int search_grow(struct search *s)
{
    size_t capacity = s->capacity ? s->capacity * 2 : 64;
    if (capacity > STORED_WORDS_MAX / s->words)
        return 2;
    struct node *nodes = mem_grow(s->nodes, capacity, sizeof(*nodes));
    if (nodes == NULL)
        return -ENOMEM;
    s->nodes = nodes;
    uint64_t *sets = mem_grow(s->sets, capacity * s->words, sizeof(*sets));
    if (sets == NULL)
        return -ENOMEM;
    s->sets = sets;
    s->capacity = capacity;
    return 0;
}

/* Adds a node with the (closed) set in `scratch`, unless a smaller one is known.
 * 0, 2 = budget, < 0. */
static int search_add(struct search *s, uint32_t state, bool after_slash)
{
    size_t *first = &s->first[2 * state + after_slash];
    for (size_t n = *first; n; n = s->nodes[n - 1].same) {
        if (!budget_spend(s->budget, s->words))
            return 2;
        if (set_within(s, s->sets + (n - 1) * s->words, s->scratch))
            return 0;
    }
    if (s->count == s->capacity) {
        int r = search_grow(s);
        if (r != 0)
            return r;
    }
    s->nodes[s->count] = (struct node){ state, after_slash, *first };
    memcpy(s->sets + s->count * s->words, s->scratch, s->words * sizeof(*s->scratch));
    *first = ++s->count;
    return 0;
}

/* From node `n` by one symbol. */
static int search_symbol(struct search *s, size_t n, uint32_t symbol)
{
    const struct node node = s->nodes[n];
    long next = token_step(s->b, node.state, symbol);
    if (next < 0 || (symbol == SYMBOL_SLASH && node.after_slash))
        return 0;
    if (!budget_spend(s->budget, 2 * s->words + 1))
        return 2;
    set_step(s->a, s->words, s->sets + n * s->words, symbol, s->scratch);
    if (set_close(s->a, s->words, s->scratch) == SET_ACCEPTS_ALL)
        return 0;
    return search_add(s, (uint32_t)next, symbol == SYMBOL_SLASH && !s->budget->empty_names);
}

/* b takes any character here: every one that a live state of the a's asks for, and one that none
 * does. */
static int search_any_character(struct search *s, size_t n)
{
    for (size_t w = 0; w < s->words; w++) {
        /* The sets move when the search grows: look anew for every word. */
        for (uint64_t left = s->sets[n * s->words + w]; left; left &= left - 1) {
            const struct glob_token *t = &s->a[w * 64 + (size_t)__builtin_ctzll(left)];
            int r = t->kind == GLOB_CHAR ? search_symbol(s, n, t->symbol) : 0;
            if (r != 0)
                return r;
        }
    }
    return search_symbol(s, n, SYMBOL_OTHER);
}

/* The same set in a state of b that needs no symbol. */
static int search_skip(struct search *s, size_t n, uint32_t state)
{
    memcpy(s->scratch, s->sets + n * s->words, s->words * sizeof(*s->scratch));
    return search_add(s, state, s->nodes[n].after_slash);
}

static bool node_accepted(const struct search *s, size_t n)
{
    for (size_t w = 0; w < s->words; w++) {
        for (uint64_t left = s->sets[n * s->words + w]; left; left &= left - 1) {
            if (s->a[w * 64 + (size_t)__builtin_ctzll(left)].kind == GLOB_END)
                return true;
        }
    }
    return false;
}

/* 0: nothing against it here; 1: a word that is not covered; 2: budget; < 0. */
static int search_node(struct search *s, size_t n)
{
    const struct node node = s->nodes[n];
    const struct glob_token *t = &s->b[node.state];
    int r = 0;
    switch (t->kind) {
    case GLOB_CHAR:
        return search_symbol(s, n, t->symbol);
    case GLOB_ANY_CHAR:
        return search_any_character(s, n);
    case GLOB_SLASH:
        return search_symbol(s, n, SYMBOL_SLASH);
    case GLOB_DEEP_GATE:
        r = search_skip(s, n, node.state + 2);
        return r != 0 ? r : search_symbol(s, n, SYMBOL_SLASH);
    case GLOB_STAR:
    case GLOB_DEEP_LOOP:
        r = search_skip(s, n, node.state + 1);
        if (r == 0 && t->kind == GLOB_DEEP_LOOP)
            r = search_symbol(s, n, SYMBOL_SLASH);
        return r != 0 ? r : search_any_character(s, n);
    case GLOB_END:
        if (node.after_slash)
            return 0;
        return node_accepted(s, n) ? 0 : 1;
    }
    return 0;
}

static int search_init(struct search *s, const char *pattern, const char *const *covers,
                       size_t count)
{
    size_t bound = 1;
    for (size_t i = 0; i < count; i++)
        bound += glob_token_bound(covers[i]);
    s->b = mem_array(glob_token_bound(pattern), sizeof(*s->b));
    s->a = mem_array(bound, sizeof(*s->a));
    s->words = (bound + 63) / 64;
    s->scratch = mem_array(s->words, sizeof(*s->scratch));
    if (s->b == NULL || s->a == NULL || s->scratch == NULL)
        return -ENOMEM;
    s->b_count = glob_tokens(pattern, s->b);
    s->first = mem_array(2 * s->b_count, sizeof(*s->first));
    if (s->first == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        set_put(s->scratch, s->a_count);
        s->a_count += glob_tokens(covers[i], s->a + s->a_count);
    }
    return 0;
}

/* The states of an automaton after the symbols of `prefix`: the closed set in `set`. */
static int set_after(const struct glob_token *tokens, size_t words, const struct glob_token *prefix,
                     uint64_t *set)
{
    CLEANUP(mem_freep) uint64_t *next = mem_array(words, sizeof(*next));
    if (next == NULL)
        return -ENOMEM;
    (void)set_close(tokens, words, set);
    for (; prefix->kind != GLOB_END; prefix++) {
        set_step(tokens, words, set, prefix->kind == GLOB_SLASH ? SYMBOL_SLASH : prefix->symbol,
                 next);
        (void)set_close(tokens, words, next);
        memcpy(set, next, words * sizeof(*set));
    }
    return 0;
}

static bool set_has_end(const struct glob_token *tokens, size_t count, const uint64_t *set)
{
    for (size_t state = 0; state < count; state++) {
        if ((set[state / 64] >> state % 64 & 1) && tokens[state].kind == GLOB_END)
            return true;
    }
    return false;
}

/* The nodes after `prefix`, which ends a segment: either the path ends there, too,
 * or "/" follows. */
static int search_start(struct search *s, const char *prefix)
{
    size_t b_words = (s->b_count + 63) / 64;
    CLEANUP(mem_freep)
    struct glob_token *tokens = mem_array(glob_token_bound(prefix), sizeof(*tokens));
    CLEANUP(mem_freep) uint64_t *b_set = mem_array(b_words, sizeof(*b_set));
    CLEANUP(mem_freep) uint64_t *a_set = mem_array(s->words, sizeof(*a_set));
    if (tokens == NULL || b_set == NULL || a_set == NULL)
        return -ENOMEM;
    (void)glob_tokens(prefix, tokens);
    memcpy(a_set, s->scratch, s->words * sizeof(*a_set));
    set_put(b_set, 0);
    if (set_after(s->a, s->words, tokens, a_set) < 0 || set_after(s->b, b_words, tokens, b_set) < 0)
        return -ENOMEM;
    if (set_has_end(s->b, s->b_count, b_set) && !set_has_end(s->a, s->a_count, a_set))
        return 1;
    int r = 0;
    for (size_t state = 0; state < s->b_count && r == 0; state++) {
        long next =
            b_set[state / 64] >> state % 64 & 1 ? token_step(s->b, state, SYMBOL_SLASH) : -1;
        if (next < 0)
            continue;
        set_step(s->a, s->words, a_set, SYMBOL_SLASH, s->scratch);
        if (set_close(s->a, s->words, s->scratch) != SET_ACCEPTS_ALL)
            r = search_add(s, (uint32_t)next, !s->budget->empty_names);
    }
    return r;
}

int glob_included(const char *pattern, const char *prefix, const char *const *covers, size_t count,
                  struct glob_budget *budget)
{
    CLEANUP(search_done) struct search s = { .budget = budget };
    for (size_t i = 0; i < count; i++) {
        if (strcmp(covers[i], "**") == 0 || strcmp(covers[i], pattern) == 0)
            return 0;
    }
    int r = search_init(&s, pattern, covers, count);
    if (r == 0)
        r = search_start(&s, prefix);
    for (size_t n = 0; r == 0 && n < s.count; n++)
        r = budget_spend(budget, s.words) ? search_node(&s, n) : 2;
    return r;
}

/* ---- intersection ---- */

struct product {
    struct glob_token *a, *b;
    size_t a_count, b_count;
    uint64_t *seen;
    uint32_t *stack;
    size_t depth;
    bool empty_names;
};
#define PRODUCT_MAX (1u << 20)

static void product_done(struct product *p)
{
    mem_free(p->a);
    mem_free(p->b);
    mem_free(p->seen);
    mem_free(p->stack);
}

static void product_push(struct product *p, long a, long b, bool after_slash)
{
    if (a < 0 || b < 0)
        return;
    size_t state = ((size_t)a * p->b_count + (size_t)b) * 2 + after_slash;
    if (p->seen[state / 64] >> state % 64 & 1)
        return;
    set_put(p->seen, state);
    p->stack[p->depth++] = (uint32_t)state;
}

/* The state that `t` reaches without a symbol, or -1. */
static long token_skip(const struct glob_token *tokens, size_t state)
{
    switch (tokens[state].kind) {
    case GLOB_STAR:
    case GLOB_DEEP_LOOP:
        return (long)state + 1;
    case GLOB_DEEP_GATE:
        return (long)state + 2;
    default:
        return -1;
    }
}

/* Takes one state off the stack; true when a path ends in it. */
static bool product_step(struct product *p)
{
    size_t state = p->stack[--p->depth];
    bool after_slash = state & 1;
    size_t a = state / 2 / p->b_count, b = state / 2 % p->b_count;
    if (p->a[a].kind == GLOB_END && p->b[b].kind == GLOB_END && !after_slash)
        return true;
    product_push(p, token_skip(p->a, a), (long)b, after_slash);
    product_push(p, (long)a, token_skip(p->b, b), after_slash);
    if (!after_slash)
        product_push(p, token_step(p->a, a, SYMBOL_SLASH), token_step(p->b, b, SYMBOL_SLASH),
                     !p->empty_names);
    uint32_t symbol = p->a[a].kind == GLOB_CHAR   ? p->a[a].symbol
                      : p->b[b].kind == GLOB_CHAR ? p->b[b].symbol
                                                  : SYMBOL_OTHER;
    product_push(p, token_step(p->a, a, symbol), token_step(p->b, b, symbol), false);
    return false;
}

int glob_intersects(const char *a, const char *b, struct glob_budget *budget)
{
    CLEANUP(product_done) struct product p = { .empty_names = budget->empty_names };
    size_t bound = 2 * glob_token_bound(a) * glob_token_bound(b);
    if (strcmp(a, "**") == 0 || strcmp(b, "**") == 0)
        return 1;
    if (bound > PRODUCT_MAX || !budget_spend(budget, bound / 32))
        return 1;
    p.a = mem_array(glob_token_bound(a), sizeof(*p.a));
    p.b = mem_array(glob_token_bound(b), sizeof(*p.b));
    p.seen = mem_array(bound / 64 + 1, sizeof(*p.seen));
    p.stack = mem_array(bound, sizeof(*p.stack));
    if (p.a == NULL || p.b == NULL || p.seen == NULL || p.stack == NULL)
        return -ENOMEM;
    p.a_count = glob_tokens(a, p.a);
    p.b_count = glob_tokens(b, p.b);
    product_push(&p, 0, 0, false);
    while (p.depth > 0) {
        if (product_step(&p))
            return 1;
    }
    return 0;
}

bool grant_pattern_intersects(const char *a, const char *b)
{
    struct glob_budget budget = { GLOB_BUDGET, false };
    return glob_intersects(a, b, &budget) != 0;
}

bool grant_pattern_covers(const char *a, const char *b)
{
    struct glob_budget budget = { GLOB_BUDGET, false };
    return glob_included(b, ".", &a, 1, &budget) == 0;
}
