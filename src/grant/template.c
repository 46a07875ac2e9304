/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: the values of headers that egress sets, in which ${secret:NAME} stands for the value of a
 * secret. A name is all that a grant knows of it; the value goes from keeper to egress and nowhere
 * else. A grant with one is of https, or of a literal loopback address: anything else would send the
 * value over a wire that others read.
 */
#include "grant/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/http1.h"
#include "wire/keeper.h"

#define OPEN "${secret:"
#define SECRETS_MAX SECRET_VALUES_OF_ASK_MAX /* in one grant: what keeper answers at once */

static bool name_char(char c, bool end)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (!end && (c == '-' || c == '_' || c == '.'));
}

static bool name_valid(const char *name, size_t size)
{
    if (size == 0 || size > SECRET_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!name_char(name[i], i == 0 || i + 1 == size))
            return false;
    }
    return true;
}

/* What is no name may be the value itself, in the wrong place: errors do not repeat it. */
static bool is_shown(const char *name, size_t size)
{
    return size < SECRET_VALUE_MIN || name_valid(name, size);
}

static int name_fail(const char *name, size_t size, struct error *e)
{
    int r = is_shown(name, size)
                ? error_set(e, -EINVAL, "`%.*s` cannot be the name of a secret", (int)size, name)
                : error_set(e, -EINVAL,
                            "a text that is not shown (it may be a value) cannot be the name of a "
                            "secret");
    error_hint(e, "1 to %d of a-z and 0-9, with - _ . between them: github-token", SECRET_NAME_MAX);
    return r;
}

int grant_secret_name_check(const char *name, struct error *e)
{
    return name_valid(name, strlen(name)) ? 0 : name_fail(name, strlen(name), e);
}

int grant_template_next(const char **at, struct grant_template_part *ret)
{
    const char *begin = *at;
    if (*begin == '\0')
        return 0;
    const char *open = strstr(begin, OPEN), *name = open ? open + strlen(OPEN) : NULL;
    const char *close = name ? strchr(name, '}') : NULL;
    *ret = (struct grant_template_part){ 0 };
    if (close == NULL) {
        ret->text = bytes_of(begin);
        *at = begin + strlen(begin);
        return 1;
    }
    ret->text = (struct bytes){ (const uint8_t *)begin, (size_t)(open - begin) };
    ret->secret = (struct bytes){ (const uint8_t *)name, (size_t)(close - name) };
    *at = close + 1;
    return 1;
}

bool grant_template_has_secret(const char *value)
{
    return strstr(value, OPEN) != NULL;
}

bool grant_has_secret(const struct grant *g)
{
    for (size_t i = 0; g->class == GRANT_HTTP && i < g->http.set_count; i++) {
        if (grant_template_has_secret(g->http.set[i].value))
            return true;
    }
    return false;
}

/* ---- what a value must be ---- */

int http_template_check(const char *value, struct error *e)
{
    for (const char *at = value; (at = strstr(at, "${")) != NULL;) {
        const char *name = at + strlen(OPEN), *close = strchr(at, '}');
        if (strncmp(at, OPEN, strlen(OPEN)) != 0 || close == NULL) {
            int r = error_set(e, -EINVAL, "`%.*s` means nothing in the value of a header",
                              (int)(close ? MIN((size_t)(close + 1 - at), (size_t)64) : 2), at);
            error_hint(e, "`${secret:NAME}` stands for the value of a secret; nothing else is "
                          "filled in");
            return r;
        }
        if (!name_valid(name, (size_t)(close - name)))
            return name_fail(name, (size_t)(close - name), e);
        at = close + 1;
    }
    return http_text_check(value, e);
}

/* ---- names ---- */

struct names {
    char **names;
    size_t count;
};

static void names_done(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        mem_free(n->names[i]);
    mem_free(n->names);
}

static int names_add(struct names *n, struct bytes name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (bytes_are(name, n->names[i]))
            return 0;
    }
    char **grown = mem_grow(n->names, n->count + 1, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    n->names = grown;
    char *copy = mem_strndup((const char *)name.data, name.size);
    if (copy == NULL)
        return -ENOMEM;
    n->names[n->count++] = copy;
    return 0;
}

static int names_of_grant(struct names *n, const struct grant *g)
{
    int r = 0;
    for (size_t i = 0; g->class == GRANT_HTTP && i < g->http.set_count; i++) {
        struct grant_template_part part;
        const char *at = g->http.set[i].value;
        while (r == 0 && grant_template_next(&at, &part))
            r = part.secret.size ? names_add(n, part.secret) : 0;
    }
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int grant_set_secrets(const struct grant_set *s, char ***ret, size_t *ret_count, struct error *e)
{
    CLEANUP(names_done) struct names names = { 0 };
    for (size_t i = 0; i < s->count; i++) {
        if (names_of_grant(&names, &s->grants[i]) < 0)
            return grant_no_memory(e);
    }
    if (names.count > 1)
        qsort(names.names, names.count, sizeof(*names.names), by_name);
    *ret = names.names;
    *ret_count = names.count;
    names = (struct names){ 0 };
    return 0;
}

/* ---- what a grant with one must be ---- */

static bool host_is_loopback(const struct grant *g)
{
    struct address address;
    return http_host_is_address(g, &address) && address_kind(&address) == ADDRESS_LOOPBACK;
}

int http_secrets_check(const struct grant *g, struct error *e)
{
    CLEANUP(names_done) struct names names = { 0 };
    if (!grant_has_secret(g))
        return 0;
    if (!g->http.https && !host_is_loopback(g)) {
        int r = error_set(e, -EINVAL, "a secret would go to %s over http, which anybody reads",
                          g->http.host);
        error_hint(e,
                   "write https://%s; only a literal loopback address (127.0.0.1, [::1]) may be "
                   "http",
                   g->http.host);
        return r;
    }
    if (names_of_grant(&names, g) < 0)
        return grant_no_memory(e);
    if (names.count > SECRETS_MAX)
        return error_set(e, -EINVAL, "more than %d secrets in one grant", SECRETS_MAX);
    return 0;
}

/* ---- --secret NAME@HOST[=HEADER: VALUE] ---- */

struct secret_flag {
    char *name, *header, *value;
    struct grant where; /* host, and the port of each scheme */
    bool has_port;
};

static void secret_flag_done(struct secret_flag *f)
{
    mem_free(f->name);
    mem_free(f->header);
    mem_free(f->value);
    grant_done(&f->where);
}

/* `${secret}` is ${secret:NAME}. */
static char *fill_in(const char *text, const char *name)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4 * GRANT_HEADER_VALUE_MAX);
    static const char short_form[] = "${secret}";
    for (const char *at = text, *next; at != NULL; at = next) {
        next = strstr(at, short_form);
        buf_append(&out, at, next ? (size_t)(next - at) : strlen(at));
        if (next != NULL) {
            buf_puts(&out, OPEN);
            buf_puts(&out, name);
            buf_putc(&out, '}');
            next += strlen(short_form);
        }
    }
    return buf_take(&out);
}

static int flag_template(struct secret_flag *f, const char *text, struct error *e)
{
    const char *colon = strchr(text, ':');
    struct names named = { 0 };
    if (colon == NULL || colon == text) {
        int r = error_set(e, -EINVAL, "what stands behind = is not HEADER: VALUE");
        error_hint(e, "for example 'x-api-key: ${secret}'");
        return r;
    }
    f->header = mem_strndup(text, (size_t)(colon - text));
    colon++;
    f->value = fill_in(colon + strspn(colon, " "), f->name);
    if (f->header == NULL || f->value == NULL)
        return grant_no_memory(e);
    lower_case(f->header);
    int r = http1_token_valid(bytes_of(f->header))
                ? http_header_name_check(f->header, e)
                : error_set(e, -EINVAL, "what stands before : is not the name of a header");
    if (r == 0)
        r = http_template_check(f->value, e);
    if (r < 0)
        return r;
    struct grant_template_part part;
    for (const char *at = f->value; r == 0 && grant_template_next(&at, &part);)
        r = part.secret.size ? names_add(&named, part.secret) : 0;
    bool own = named.count == 1 && strcmp(named.names[0], f->name) == 0;
    names_done(&named);
    if (r < 0)
        return grant_no_memory(e);
    if (own)
        return 0;
    r = error_set(e, -EINVAL, "the header's value must hold ${secret}, and no other secret");
    error_hint(e, "`${secret}` stands for the value of %s", f->name);
    return r;
}

/* HOST[:PORT] as in a grant. */
static int flag_host(struct secret_flag *f, const char *host, size_t size, struct error *e)
{
    CLEANUP(mem_freep) char *origin = mem_printf("https://%.*s", (int)size, host);
    if (origin == NULL)
        return grant_no_memory(e);
    int r = http_origin_read(origin, &f->where, e);
    const char *end = host + size, *bracket = memrchr(host, ']', size);
    const char *from = bracket ? bracket : host;
    f->has_port = r == 0 && memchr(from, ':', (size_t)(end - from)) != NULL;
    return r;
}

static int flag_read(struct secret_flag *f, const char *value, struct error *e)
{
    const char *at = strchr(value, '@'), *equals = at ? strchr(at, '=') : NULL;
    if (at == NULL)
        return error_set(e, -EINVAL, "where may it go?");
    if (strncmp(at + 1, "https://", 8) == 0)
        return error_set(e, -EINVAL, "HOST is a name and a port, without https://");
    f->name = mem_strndup(value, (size_t)(at - value));
    if (f->name == NULL)
        return grant_no_memory(e);
    int r = grant_secret_name_check(f->name, e);
    if (r == 0)
        r = flag_host(f, at + 1, equals ? (size_t)(equals - at - 1) : strlen(at + 1), e);
    return r < 0 ? r : flag_template(f, equals ? equals + 1 : "authorization: Bearer ${secret}", e);
}

static bool flag_is_for(const struct secret_flag *f, const struct grant *g)
{
    if (g->class != GRANT_HTTP || strcmp(g->http.host, f->where.http.host) != 0 ||
        g->http.wildcard != f->where.http.wildcard || (!g->http.https && !host_is_loopback(g)))
        return false;
    return g->http.port == (f->has_port ? f->where.http.port : g->http.https ? 443 : 80);
}

static int flag_apply(const struct secret_flag *f, struct grant *g, struct error *e)
{
    for (size_t i = 0; i < g->http.set_count; i++) {
        if (strcmp(g->http.set[i].key, f->header) != 0)
            continue;
        if (strcmp(g->http.set[i].value, f->value) == 0)
            return 0;
        int r = error_set(e, -EINVAL, "%s sets the header `%s` already",
                          g->origin ? g->origin : "a grant", f->header);
        error_hint(e, "name another header: %s@%s='x-api-key: ${secret}'", f->name, g->http.host);
        return r;
    }
    struct grant_pair *grown = mem_grow(g->http.set, g->http.set_count + 1, sizeof(*grown));
    if (grown == NULL)
        return grant_no_memory(e);
    g->http.set = grown;
    struct grant_pair *pair = &grown[g->http.set_count++];
    *pair = (struct grant_pair){ mem_strdup(f->header), mem_strdup(f->value) };
    if (pair->key == NULL || pair->value == NULL)
        return grant_no_memory(e);
    return grant_check(g, e);
}

/* Nothing reaches it: what was probably meant? */
static int flag_misses(const struct grant_set *s, const char *flag, const struct secret_flag *f,
                       struct error *e)
{
    const struct grant *w = &f->where;
    const struct grant *near = NULL;
    char port[8] = "";
    for (size_t i = 0; near == NULL && i < s->count; i++)
        if (s->grants[i].class == GRANT_HTTP && s->grants[i].http.wildcard == w->http.wildcard &&
            strcmp(s->grants[i].http.host, w->http.host) == 0)
            near = &s->grants[i];
    if (f->has_port)
        (void)snprintf(port, sizeof(port), ":%u", (unsigned)w->http.port);
    int r = error_set(e, -ENOENT, "no grant of https reaches %s%s%s", w->http.wildcard ? "*." : "",
                      w->http.host, port);
    if (near != NULL && (near->http.https || host_is_loopback(near)))
        error_hint(e, "a grant names it with another port: %s %s@%s%s:%u", flag, f->name,
                   w->http.wildcard ? "*." : "", w->http.host, (unsigned)near->http.port);
    else if (near != NULL)
        error_hint(e, "the grant of it is of http, over which everybody on the way could read the "
                      "secret: grant https");
    else
        error_hint(e, "say what may be asked there: --net 'GET https://%s%s%s/**'",
                   w->http.wildcard ? "*." : "", w->http.host, port);
    return r;
}

static int flag_use(struct grant_set *s, const char *flag, const char *value, struct error *e)
{
    CLEANUP(secret_flag_done) struct secret_flag f = { .where = { .class = GRANT_HTTP } };
    grant_service_init(&f.where);
    int r = flag_read(&f, value, e);
    if (r < 0) {
        if (e->hint[0] == '\0' && r != -ENOMEM)
            error_hint(e, "write %s NAME@HOST, or %s NAME@HOST='x-api-key: ${secret}'", flag, flag);
        return r;
    }
    size_t found = 0;
    for (size_t i = 0; r == 0 && i < s->count; i++) {
        if (!flag_is_for(&f, &s->grants[i]))
            continue;
        found++;
        r = flag_apply(&f, &s->grants[i], e);
    }
    if (r < 0 || found > 0)
        return r;
    return flag_misses(s, flag, &f, e);
}

int grant_secret_flag(struct grant_set *s, const char *flag, const char *value, struct error *e)
{
    struct error local = ERROR_INIT;
    if (e == NULL)
        e = &local;
    int r = flag_use(s, flag, value, e);
    const char *at = strchr(value, '@'), *equals = at ? strchr(at, '=') : NULL;
    /* Behind = may be a value, of who took a template for one. */
    if (r < 0 && is_shown(value, at ? (size_t)(at - value) : strlen(value)))
        error_prefix(e, "%s '%.*s%s'", flag,
                     (int)(equals ? equals + 1 - value : (ptrdiff_t)strlen(value)), value,
                     equals ? "…" : "");
    else if (r < 0)
        error_prefix(e, "%s", flag);
    return r;
}
