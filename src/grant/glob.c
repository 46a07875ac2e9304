/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path patterns: the check that a pattern is well formed, the one matcher, and the shapes that need
 * no walk.
 *
 * A pattern is segments between slashes. `*` and `?` stay within a segment, `**` is a whole segment
 * and stands for any number of them, `\` takes the next character for itself, `.` alone is the
 * root. A `/` is never quoted, so segments can be cut without looking at quotes. `?` is one
 * character: a code point, or one byte that is not UTF-8. Characters that other tools give a
 * meaning (`[`, `{`, a leading `!`) must be quoted: a pattern that looks like a shell's and
 * silently matches nothing would be found out too late.
 *
 * Matching allocates nothing. Both walks keep one point to come back to (the last `*`, the last
 * `**`), which is enough because the leftmost place that a fixed part fits is always as good as any
 * other; so the time is at most the product of the sizes.
 */
#include "grant/internal.h"

#include <string.h>

/* The next symbol of a text: a code point, or 0x110000 + the byte where the text is not UTF-8. */
static uint32_t symbol_next(const char **at, const char *end)
{
    uint32_t symbol = (uint8_t) * *at;
    if (symbol < 0x80) {
        *at += 1;
        return symbol;
    }
    size_t size = text_decode((const uint8_t *)*at, (size_t)(end - *at), &symbol);
    if (size == 0) {
        symbol = 0x110000u + (uint8_t) * *at;
        size = 1;
    }
    *at += size;
    return symbol;
}

/* The next literal symbol of a pattern, its quote removed. */
static uint32_t pattern_symbol(const char **at, const char *end)
{
    if (**at == '\\' && end - *at > 1)
        *at += 1;
    return symbol_next(at, end);
}

struct segment {
    const char *at, *end, *limit;
}; /* at == NULL: there is none */

static struct segment segment_from(const char *at, const char *limit)
{
    const char *slash = memchr(at, '/', (size_t)(limit - at));
    return (struct segment){ at, slash ? slash : limit, limit };
}

static struct segment segment_first(const char *text, size_t size)
{
    return size == 0 ? (struct segment){ 0 } : segment_from(text, text + size);
}

static struct segment segment_next(struct segment s)
{
    return s.end == s.limit ? (struct segment){ 0 } : segment_from(s.end + 1, s.limit);
}

static bool segment_is(struct segment s, const char *text)
{
    size_t size = strlen(text);
    return (size_t)(s.end - s.at) == size && memcmp(s.at, text, size) == 0;
}

static bool segment_matches(struct segment pattern, struct segment name)
{
    const char *p = pattern.at, *s = name.at, *star = NULL, *retry = NULL;
    if (s == name.end) /* keys and URL paths have empty names: `*` is at least one character */
        return p == pattern.end;
    while (s < name.end) {
        if (p < pattern.end && *p == '*') {
            star = ++p;
            retry = s;
            continue;
        }
        if (p < pattern.end) {
            const char *p_next = p, *s_next = s;
            bool any = *p == '?';
            uint32_t want = any ? 0 : pattern_symbol(&p_next, pattern.end);
            uint32_t have = symbol_next(&s_next, name.end);
            if (any || want == have) {
                p = any ? p + 1 : p_next;
                s = s_next;
                continue;
            }
        }
        if (star == NULL)
            return false;
        (void)symbol_next(&retry, name.end);
        s = retry;
        p = star;
    }
    while (p < pattern.end && *p == '*')
        p++;
    return p == pattern.end;
}

bool grant_pattern_matches(const char *pattern, const char *path, size_t size)
{
    if (strcmp(pattern, ".") == 0)
        return size == 0;
    struct segment p = segment_first(pattern, strlen(pattern)), s = segment_first(path, size);
    struct segment after = { 0 }, retry = { 0 };
    bool deep = false;
    while (s.at) {
        if (p.at && segment_is(p, "**")) {
            deep = true;
            p = after = segment_next(p);
            if (p.at == NULL)
                return true;
            retry = s;
            continue;
        }
        if (p.at && segment_matches(p, s)) {
            p = segment_next(p);
            s = segment_next(s);
            continue;
        }
        if (!deep)
            return false;
        s = retry = segment_next(retry);
        p = after;
    }
    while (p.at && segment_is(p, "**"))
        p = segment_next(p);
    return p.at == NULL;
}

/* A `..`, a `.` or nothing for a name: none is that of a file. */
static int segment_check_name(struct segment s, bool only, const char *whole, struct error *e)
{
    int r = 0;
    if (s.end == s.at) {
        r = error_set(e, -EINVAL, "pattern `%s` has an empty segment", whole);
        error_hint(e, "one `/` between two names, and none at the end; everything below is `**`");
        return r;
    }
    if (segment_is(s, "..") || segment_is(s, "\\.\\.") || segment_is(s, "\\..") ||
        segment_is(s, ".\\."))
        return error_set(e, -EINVAL, "pattern `%s` has a `..`", whole);
    if (segment_is(s, "\\.") || (segment_is(s, ".") && !only)) {
        r = error_set(e, -EINVAL, "pattern `%s` has a `.` for a segment", whole);
        error_hint(e, "leave it out; `.` alone is the mount's own root");
        return r;
    }
    return 0;
}

static int segment_check(struct segment s, const char *whole, struct error *e)
{
    int r = 0;
    if (segment_is(s, "**"))
        return 0;
    for (const char *at = s.at; at < s.end; at++) {
        if (*at == '\\') {
            if (++at == s.end) {
                r = error_set(e, -EINVAL, "pattern `%s` quotes nothing with its last `\\`", whole);
                if (s.end != s.limit)
                    error_hint(e, "a `/` cannot be quoted: it always separates");
                else
                    error_hint(e, "write `\\\\` for the character itself");
                return r;
            }
        } else if (*at == '*' && at + 1 < s.end && at[1] == '*') {
            r = error_set(e, -EINVAL, "pattern `%s`: `**` must be a whole segment", whole);
            error_hint(e, "within a name write a single `*`");
            return r;
        } else if (*at == '[' || *at == '{') {
            r = error_set(e, -EINVAL, "pattern `%s`: `%c` has no meaning here", whole, *at);
            error_hint(e, "list the patterns one by one, or write `\\%c` for the character itself",
                       *at);
            return r;
        }
    }
    return 0;
}

int glob_check_any(const char *pattern, struct error *e)
{
    size_t size = strlen(pattern);
    int r = 0;
    if (size == 0) {
        r = error_set(e, -EINVAL, "pattern is empty");
        error_hint(e, "write `.` for what has an empty name itself, `**` for everything");
        return r;
    }
    if (size > GRANT_PATTERN_MAX)
        return error_set(e, -EINVAL, "pattern is longer than %d bytes", GRANT_PATTERN_MAX);
    if (!text_is_utf8(pattern, size))
        return error_set(e, -EINVAL, "pattern is not UTF-8");
    if (pattern[0] == '!') {
        r = error_set(e, -EINVAL, "pattern `%s` starts with `!`", pattern);
        error_hint(e, "patterns only add, none takes away; write `\\!` for the character itself");
        return r;
    }
    for (struct segment s = segment_first(pattern, size); s.at && r == 0; s = segment_next(s))
        r = segment_check(s, pattern, e);
    return r;
}

int glob_check(const char *pattern, struct error *e)
{
    size_t size = strlen(pattern);
    int r = 0;
    if (size == 0) {
        r = error_set(e, -EINVAL, "pattern is empty");
        error_hint(e, "write `.` for the mount's own root, `**` for everything in it");
        return r;
    }
    if (pattern[0] == '/') {
        r = error_set(e, -EINVAL, "pattern `%s` starts with `/`", pattern);
        error_hint(e, "patterns are relative to the mount");
        return r;
    }
    bool only = memchr(pattern, '/', size) == NULL;
    for (struct segment s = segment_first(pattern, size); s.at && r == 0; s = segment_next(s))
        r = segment_check_name(s, only, pattern, e);
    return r == 0 ? glob_check_any(pattern, e) : r;
}

void glob_quote(struct buf *out, const char *path, size_t size)
{
    if (size == 0) {
        buf_putc(out, '.');
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (strchr("*?\\[{", path[i]) != NULL || (i == 0 && path[i] == '!'))
            buf_putc(out, '\\');
        buf_putc(out, path[i]);
    }
}

char *grant_pattern_quote(const char *path)
{
    size_t size = strlen(path);
    CLEANUP(buf_done) struct buf quoted = BUF_INIT(2 * size + 2);
    glob_quote(&quoted, path, size);
    return buf_take(&quoted);
}

/* The text of a pattern without wildcards, its quotes removed; false when there is a wildcard. */
static bool literal_of(const char *pattern, size_t size, char *into, size_t *ret_size)
{
    size_t written = 0;
    for (size_t i = 0; i < size; i++) {
        if (pattern[i] == '*' || pattern[i] == '?')
            return false;
        if (pattern[i] == '\\' && i + 1 < size)
            i++;
        into[written++] = pattern[i];
    }
    into[written] = '\0';
    *ret_size = written;
    return true;
}

int glob_init(struct glob *g, const char *pattern)
{
    size_t size = strlen(pattern);
    CLEANUP(mem_freep) char *literal = NULL;
    *g = (struct glob){ .kind = GLOB_GENERAL, .pattern = pattern };
    if (strcmp(pattern, "**") == 0) {
        g->kind = GLOB_ALL;
        return 0;
    }
    literal = mem_alloc(size + 1);
    if (literal == NULL)
        return -ENOMEM;
    if (strcmp(pattern, ".") == 0) {
        literal[0] = '\0';
        g->kind = GLOB_EXACT;
    } else if (literal_of(pattern, size, literal, &g->literal_size)) {
        g->kind = GLOB_EXACT;
    } else if (size > 3 && memcmp(pattern + size - 3, "/**", 3) == 0 &&
               literal_of(pattern, size - 3, literal, &g->literal_size)) {
        g->kind = GLOB_UNDER;
    }
    if (g->kind != GLOB_GENERAL)
        g->literal = TAKE(literal);
    return 0;
}

void glob_done(struct glob *g)
{
    mem_free(g->literal);
    *g = (struct glob){ 0 };
}

bool glob_matches(const struct glob *g, const char *path, size_t size)
{
    switch (g->kind) {
    case GLOB_ALL:
        return true;
    case GLOB_EXACT:
        return size == g->literal_size && memcmp(path, g->literal, size) == 0;
    case GLOB_UNDER:
        return size >= g->literal_size && memcmp(path, g->literal, g->literal_size) == 0 &&
               (size == g->literal_size || path[g->literal_size] == '/');
    case GLOB_GENERAL:
        break;
    }
    return grant_pattern_matches(g->pattern, path, size);
}

size_t glob_token_bound(const char *pattern)
{
    /* Each character gives at most one token, `*` alone two, and each segment its slash; `**` gives
     * two for its two characters. */
    size_t size = strlen(pattern), bound = size + 3;
    for (size_t i = 0; i < size; i++)
        bound += pattern[i] == '/';
    return bound;
}

size_t glob_tokens(const char *pattern, struct glob_token *into)
{
    size_t count = 0;
    size_t size = strcmp(pattern, ".") == 0 ? 0 : strlen(pattern);
    for (struct segment s = segment_first(pattern, size); s.at; s = segment_next(s)) {
        if (segment_is(s, "**")) {
            into[count++] = (struct glob_token){ GLOB_DEEP_GATE, 0 };
            into[count++] = (struct glob_token){ GLOB_DEEP_LOOP, 0 };
            continue;
        }
        into[count++] = (struct glob_token){ GLOB_SLASH, 0 };
        if (segment_is(s, "*")) /* never an empty name */
            into[count++] = (struct glob_token){ GLOB_ANY_CHAR, 0 };
        for (const char *at = s.at; at < s.end;) {
            if (*at == '*' || *at == '?') {
                into[count++] = (struct glob_token){ *at == '*' ? GLOB_STAR : GLOB_ANY_CHAR, 0 };
                at++;
            } else {
                into[count++] = (struct glob_token){ GLOB_CHAR, pattern_symbol(&at, s.end) };
            }
        }
    }
    into[count++] = (struct glob_token){ GLOB_END, 0 };
    return count;
}
