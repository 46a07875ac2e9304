/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in set_headers: what a template may hold, where a grant with one may go, --secret, what
 * "covers" and a proposal make of them.
 */
#include "test.h"

#include <string.h>

#include "grant/grant.h"

#define V "version: 1\ngrants:\n"

static struct grant_set *read_set(const char *text)
{
    struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    if (grant_set_parse("t", "/w", text, strlen(text), &s, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    return s;
}

static int read_value(const char *origin, const char *value, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    CLEANUP(mem_freep)
    char *text =
        mem_printf(V "  - http: %s\n    set_headers: { authorization: \"%s\" }\n", origin, value);
    return grant_set_parse("t", "/w", text, strlen(text), &s, e);
}

TEST(values_table)
{
    static const struct {
        const char *origin, *value, *wrong; /* NULL: fine */
    } table[] = {
        { "https://a.test", "Bearer ${secret:github-token}", NULL },
        { "https://a.test", "${secret:a}${secret:b.c_d-1}", NULL },
        { "https://a.test", "$5 $$ $} {secret:a}", NULL },
        { "https://*.a.test", "${secret:a}", NULL },
        { "http://127.0.0.1:81", "${secret:a}", NULL },
        { "http://127.9.9.9", "${secret:a}", NULL },
        { "http://[::1]", "${secret:a}", NULL },
        { "http://a.test", "plain", NULL },
        { "http://a.test", "${secret:a}", "over http" },
        { "http://localhost", "${secret:a}", "over http" },
        { "http://10.0.0.1", "${secret:a}", "over http" },
        { "http://[::ffff:127.0.0.1]", "${secret:", "means nothing" },
        { "https://a.test", "${TOKEN}", "means nothing" },
        { "https://a.test", "${secret}", "means nothing" },
        { "https://a.test", "${secret:a", "means nothing" },
        { "https://a.test", "${", "means nothing" },
        { "https://a.test", "${secret:}", "cannot be the name" },
        { "https://a.test", "${secret:A}", "cannot be the name" },
        { "https://a.test", "${secret:-a}", "cannot be the name" },
        { "https://a.test", "${secret:a-}", "cannot be the name" },
        { "https://a.test", "${secret:a b}", "cannot be the name" },
        { "https://a.test", "${secret:../a}", "cannot be the name" },
        { "https://a.test", "${secret:${secret:a}}", "cannot be the name" },
        { "https://a.test", "${secret:a}${ENV}", "means nothing" },
        { "https://a.test", "${secret:a} ", "a space at an end" },
        { "https://a.test", "${secret:a2345678901234567890123456789012345678901}",
          "cannot be the name" },
        { "https://a.test", "${secret:a234567890123456789012345678901234567890}", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct error e = ERROR_INIT;
        int r = read_value(table[i].origin, table[i].value, &e);
        if ((r < 0) != (table[i].wrong != NULL) || (r < 0 && !strstr(e.what, table[i].wrong)))
            test_fail(__FILE__, __LINE__, "%s %s: %s", table[i].origin, table[i].value, e.what);
        if (r < 0 && !strstr(table[i].wrong, "space"))
            CHECK(e.hint[0] != '\0');
    }
}

TEST(only_set_headers)
{
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    static const char text[] =
        V "  - http: https://a.test\n    require_headers: { x: \"${secret:a}\" }\n";
    CHECK_EQ(grant_set_parse("t", "/w", text, strlen(text), &s, &e), -EINVAL);
    CHECK(strstr(e.what, "only in `set_headers`") != NULL);
}

/* Added by code, not read: checked all the same. */
TEST(added_grants_are_checked)
{
    CLEANUP(grant_set_freep) struct grant_set *s = read_set(V "  - http: http://a.test\n");
    CLEANUP(grant_set_freep) struct grant_set *into = read_set(V "  - log: [info]\n");
    struct grant *g = &s->grants[0];
    g->http.set = mem_array(1, sizeof(*g->http.set));
    g->http.set[0] = (struct grant_pair){ mem_strdup("x"), mem_strdup("${secret:a}") };
    g->http.set_count = 1;
    CHECK_EQ(grant_set_merge(into, s, NULL), -EINVAL);
}

TEST(sixteen_in_a_grant)
{
    for (int count = 16; count <= 17; count++) {
        CLEANUP(grant_set_freep) struct grant_set *s = NULL;
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
        buf_puts(&text, V "  - http: https://a.test\n    set_headers: { x: \"");
        for (int i = 0; i < count; i++)
            buf_printf(&text, "${secret:s%d}${secret:s0}", i);
        buf_puts(&text, "\" }\n");
        CHECK_EQ(grant_set_parse("t", "/w", buf_cstr(&text), text.size, &s, NULL),
                 count == 16 ? 0 : -EINVAL);
    }
}

TEST(walk_and_names)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s = read_set(
        V "  - http: https://a.test\n    set_headers: { x: \"Basic ${secret:z}:${secret:b} "
          "end\", y: plain }\n"
          "  - log: [info]\n"
          "  - http: https://b.test\n    set_headers: { x: \"${secret:b}\" }\n");
    const char *at = s->grants[0].http.set[0].value;
    struct grant_template_part part;
    static const char *const parts[][2] = { { "Basic ", "z" }, { ":", "b" }, { " end", "" } };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        CHECK_EQ(grant_template_next(&at, &part), 1);
        CHECK(bytes_are(part.text, parts[i][0]));
        CHECK(bytes_are(part.secret, parts[i][1]));
    }
    CHECK_EQ(grant_template_next(&at, &part), 0);
    CHECK(grant_has_secret(&s->grants[0]));
    CHECK(!grant_has_secret(&s->grants[1]));
    char **names = NULL;
    size_t count = 0;
    CHECK_EQ(grant_set_secrets(s, &names, &count, NULL), 0);
    CHECK_EQ(count, 2);
    CHECK_STR(names[0], "b");
    CHECK_STR(names[1], "z");
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
}

TEST(text_forms_keep_them)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s =
        read_set(V "  - http: https://a.test\n    set_headers: { x: \"Bearer ${secret:tok}\" }\n");
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(4096), words = BUF_INIT(4096);
    CHECK_EQ(grant_set_print(s, &yaml, NULL), 0);
    CHECK(strstr(buf_cstr(&yaml), "Bearer ${secret:tok}") != NULL);
    CLEANUP(grant_set_freep) struct grant_set *again = read_set(buf_cstr(&yaml));
    CHECK_EQ(grant_covers(s, again, NULL, NULL), 0);
    CHECK_EQ(grant_set_explain(s, &words, NULL), 0);
    CHECK(strstr(buf_cstr(&words), "THE SECRET tok GOES THERE, in the header x") != NULL);
}

/* Neither with the secret nor without it, nor another one, nor in another slot: each is another
 * effect of the same request. */
TEST(covers_is_strict)
{
    static const char *const sets[] = {
        V "  - http: https://a.test\n",
        V "  - http: https://a.test\n    set_headers: { x: \"${secret:a}\" }\n",
        V "  - http: https://a.test\n    set_headers: { x: \"${secret:b}\" }\n",
        V "  - http: https://a.test\n    set_headers: { y: \"${secret:a}\" }\n",
        V "  - http: https://a.test\n    set_headers: { x: \"Bearer ${secret:a}\" }\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(sets); j++) {
            CLEANUP(grant_set_freep)
            struct grant_set *a = read_set(sets[i]), *b = read_set(sets[j]);
            CHECK_EQ(grant_covers(a, b, NULL, NULL), i == j ? 0 : 1);
        }
    }
    CLEANUP(grant_set_freep) struct grant_set *wide = read_set(sets[1]);
    CLEANUP(grant_set_freep)
    struct grant_set *narrow = read_set(
        V "  - http: https://a.test\n    paths: [/p]\n    set_headers: { x: \"${secret:a}\" }\n");
    CHECK_EQ(grant_covers(wide, narrow, NULL, NULL), 0);
    CHECK_EQ(grant_covers(narrow, wide, NULL, NULL), 1);
}

TEST(proposals_invent_none)
{
    CLEANUP(grant_set_freep)
    struct grant_set *s = read_set(
        V "  - http: https://a.test\n    paths: [/p]\n    set_headers: { x: \"${secret:a}\" }\n");
    CLEANUP(grant_rules_freep) struct grant_rules *rules = NULL;
    CLEANUP(grant_done) struct grant g = { 0 };
    struct url url;
    url_init(&url);
    CHECK_EQ(grant_rules_new(s, "/w", &rules, NULL), 0);
    CHECK_EQ(url_parse(&url, bytes_of("https://a.test/q"), NULL), 0);
    const struct grant_http_request q = { .url = &url, .method = bytes_of("GET") };
    CHECK_EQ(grant_propose_http(rules, &q, GRANT_NO_PATH, NULL, &g, NULL), 0);
    CHECK(!grant_has_secret(&g));
    CHECK_EQ(g.http.set_count, 0);
    url_done(&url);
}

#define SET                                             \
    V "  - http: https://a.test\n    methods: [POST]\n" \
      "  - http: https://a.test\n    paths: [/p]\n"     \
      "  - http: https://a.test:8443\n"                 \
      "  - http: https://*.a.test\n"                    \
      "  - http: http://a.test\n"                       \
      "  - http: http://127.0.0.1:81\n"                 \
      "    addresses: [127.0.0.1]\n"                    \
      "  - http: https://b.test\n"                      \
      "    set_headers: { authorization: other }\n"     \
      "  - http: https://c.test\n    strip_headers: [authorization]\n"

/* A value where a name belongs is not repeated; what was probably meant is said. */
TEST(flag_errors)
{
    static const struct {
        const char *value, *what, *hint;
    } table[] = {
        { "ghp_A0123456789abcdef", "where may it go", "NAME@HOST" },
        { "tok=ghp_A0123456789abcdef@a.test", "it may be a value", "a-z" },
        { "tok@b.test:8443", "no grant of https reaches b.test:8443", "tok@b.test:443" },
        { "tok@*.a.test:1", "reaches *.a.test:1", "tok@*.a.test:443" },
        { "tok@127.0.0.1", "reaches 127.0.0.1", "tok@127.0.0.1:81" },
        { "tok@d.test:8443", "reaches d.test:8443", "GET https://d.test:8443/**" },
        { "tok@https://a.test", "without https://", "NAME@HOST" },
        { "tok@plain.test", "reaches plain.test", "grant https" },
        { "tok@a.test=ghp_A0123456789abcdef", "is not HEADER: VALUE", "x-api-key" },
        { "tok@a.test=x: ghp_A0123456789abcdef", "must hold ${secret}", "value of tok" },
        { "tok@a.test=Bearer ghp_A012345:6789abcdef", "not the name of a header", "x-api-key" },
        { "tok@d.test=x: ${secret} ghp_A0123456789abcdef", "reaches d.test", "d.test" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        CLEANUP(grant_set_freep)
        struct grant_set *s = read_set(SET "  - http: http://plain.test\n");
        struct error e = ERROR_INIT;
        CHECK(grant_secret_flag(s, "--secret", table[i].value, &e) < 0);
        if (!strstr(e.what, table[i].what) || !strstr(e.hint, table[i].hint) ||
            strstr(e.what, "ghp_") || strstr(e.hint, "ghp_"))
            test_fail(__FILE__, __LINE__, "`%s`: %s; %s", table[i].value, e.what, e.hint);
    }
}

TEST(flag_table)
{
    static const struct {
        const char *value, *header, *set; /* NULL: refused */
        unsigned rules;                   /* bit by place */
    } table[] = {
        { "tok@a.test", "authorization", "Bearer ${secret:tok}", 3 },
        { "tok@A.test:443", "authorization", "Bearer ${secret:tok}", 3 },
        { "tok@a.test:8443", "authorization", "Bearer ${secret:tok}", 4 },
        { "tok@*.a.test", "authorization", "Bearer ${secret:tok}", 8 },
        { "tok@127.0.0.1:81", "authorization", "Bearer ${secret:tok}", 32 },
        { "tok@a.test=X-Api-Key: ${secret}", "x-api-key", "${secret:tok}", 3 },
        { "tok@a.test=x:a=${secret:tok}", "x", "a=${secret:tok}", 3 },
        { "tok", NULL, NULL, 0 },
        { "@a.test", NULL, NULL, 0 },
        { "tok@", NULL, NULL, 0 },
        { "TOK@a.test", NULL, NULL, 0 },
        { "a=b@a.test", NULL, NULL, 0 },
        { "tok@https://a.test", NULL, NULL, 0 },
        { "tok@a.test/p", NULL, NULL, 0 },
        { "tok@d.test", NULL, NULL, 0 },
        { "tok@127.0.0.1", NULL, NULL, 0 },
        { "tok@b.test", NULL, NULL, 0 },
        { "tok@c.test", NULL, NULL, 0 },
        { "tok@a.test=", NULL, NULL, 0 },
        { "tok@a.test=x", NULL, NULL, 0 },
        { "tok@a.test=x: plain", NULL, NULL, 0 },
        { "tok@a.test=x: ${secret:other}", NULL, NULL, 0 },
        { "tok@a.test=x: ${secret} ${secret:other}", NULL, NULL, 0 },
        { "tok@a.test=host: ${secret}", NULL, NULL, 0 },
        { "tok@a.test=x: ${HOME}${secret}", NULL, NULL, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        CLEANUP(grant_set_freep) struct grant_set *s = read_set(SET);
        struct error e = ERROR_INIT;
        int r = grant_secret_flag(s, "--secret", table[i].value, &e);
        if ((r == 0) != (table[i].header != NULL))
            test_fail(__FILE__, __LINE__, "`%s`: %s", table[i].value, e.what);
        if (r < 0) {
            CHECK(strncmp(e.what, "--secret '", 10) == 0);
            continue;
        }
        for (size_t j = 0; j < s->count; j++) {
            const struct grant *g = &s->grants[j];
            CHECK_EQ(grant_has_secret(g), (table[i].rules >> j) & 1);
            if (!grant_has_secret(g))
                continue;
            CHECK_STR(g->http.set[g->http.set_count - 1].key, table[i].header);
            CHECK_STR(g->http.set[g->http.set_count - 1].value, table[i].set);
        }
    }
}

TEST(flag_twice)
{
    CLEANUP(grant_set_freep) struct grant_set *s = read_set(SET);
    struct error e = ERROR_INIT;
    CHECK_EQ(grant_secret_flag(s, "--secret", "tok@a.test", NULL), 0);
    CHECK_EQ(grant_secret_flag(s, "--secret", "tok@a.test", NULL), 0);
    CHECK_EQ(s->grants[0].http.set_count, 1);
    CHECK_EQ(grant_secret_flag(s, "--secret", "other@a.test", &e), -EINVAL);
    CHECK(strstr(e.what, "sets the header `authorization` already") != NULL);
    CHECK_EQ(grant_secret_flag(s, "--secret", "other@a.test=x: ${secret}", NULL), 0);
    CHECK_EQ(s->grants[0].http.set_count, 2);
}

static int all_of_it(void)
{
    static const char text[] = V "  - http: https://a.test\n"
                                 "    set_headers: { x: \"${secret:a}${secret:b}\" }\n";
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    char **names = NULL;
    size_t count = 0;
    int r = grant_set_parse("t", "/", text, strlen(text), &s, NULL);
    if (r == 0)
        r = grant_secret_flag(s, "--secret", "tok@a.test=y: ${secret}", NULL);
    if (r == 0)
        r = grant_set_secrets(s, &names, &count, NULL);
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    return r;
}

TEST(template_torture)
{
    TORTURE(all_of_it());
}

TEST_MAIN()
