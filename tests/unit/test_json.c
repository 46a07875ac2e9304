/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base/document.c and json.c. The JSON reader is compared with jansson's: both take a text or
 * neither does, and then with the same value. Printing and reading back is the identity.
 */
#include "base/json.h"

#include "tests/unit/test.h"

static int parse(const char *text, size_t size, json_t **ret, struct error *e)
{
    struct document *d = NULL;
    int result = document_parse("test", text, size, &d, e);
    if (result < 0)
        return result;
    *ret = json_incref((json_t *)document_root(d));
    document_free(d);
    return 0;
}

/* `text` as one line of JSON, or the error. */
static const char *line_of(const char *text)
{
    static char line[2000];
    struct error e = ERROR_INIT;
    CLEANUP(json_freep) json_t *value = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(sizeof line - 1);
    if (parse(text, strlen(text), &value, &e) < 0)
        snprintf(line, sizeof line, "%s", e.what);
    else if (json_line(value, &out) < 0)
        return "cannot be printed";
    else
        snprintf(line, sizeof line, "%s", buf_cstr(&out));
    return line;
}

TEST(yaml_reads)
{
    static const char *const cases[][2] = {
        { "a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}" },
        { "- 1\n- -5\n- +7\n- 1.5\n- .5\n- 1e3\n- 0\n", "[1,-5,7,1.5,0.5,1000.0,0]" },
        { "[no]", "test:1:2: not JSON: a value is missing" }, /* a leading [ is JSON */
        { "- no\n- on\n- yes\n- 0777\n- 1:30\n- 0x1F\n- 0o17\n- 1_000\n- .inf\n- 1.2.3\n- "
          "2026-01-01\n",
          "[\"no\",\"on\",\"yes\",\"0777\",\"1:30\",\"0x1F\",\"0o17\",\"1_000\",\".inf\",\"1.2.3\","
          "\"2026-01-01\"]" },
        { "- true\n- False\n- null\n- ~\n- \n- 'true'\n- \"\"\n",
          "[true,false,null,null,null,\"true\",\"\"]" },
        { "a:\n  b:\n    - {c: d}\n", "{\"a\":{\"b\":[{\"c\":\"d\"}]}}" },
        { "text: |\n  one\n  two\n", "{\"text\":\"one\\ntwo\\n\"}" },
        { "1: x\ntrue: y\n", "{\"1\":\"x\",\"true\":\"y\"}" },
        { "# only a comment\nx", "\"x\"" },
        { "9223372036854775807", "9223372036854775807" },
        { "-9223372036854775808", "-9223372036854775808" },
        { "paths: [src/**, a*b]", "{\"paths\":[\"src/**\",\"a*b\"]}" },
        { "---\na: b\n...\n", "{\"a\":\"b\"}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_STR(line_of(cases[i][0]), cases[i][1]);
}

TEST(yaml_refuses)
{
    static const char *const cases[][2] = {
        { "", "the file is empty" },
        { "# nothing\n", "the file is empty" },
        { "a: &x 1\n", "1:4: anchors" },
        { "&x a: 1\n", "anchors" },
        { "a: 1\nb: *x\n", "2:4: aliases" },
        { "*x : 1\n", "aliases" },
        { "a: !!str 1\n", "tags" },
        { "a: !x {}\n", "tags" },
        { "!<tag:yaml.org,2002:str> a: 1\n", "tags" },
        { "a: 1\n<<: {b: 2}\n", "2:1: merge keys" },
        { "a: 1\na: 2\n", "2:1: the key \"a\" is there twice" },
        { "a: {b: 1, b: 2}\n", "1:11: the key \"b\" is there twice" },
        { "a: 1\n'a': 2\n", "twice" },
        { "? [a]\n: 1\n", "a key must be" },
        { "?\n: x\n", "a key is missing" },
        { "a: 1\n---\nb: 2\n", "a second document" },
        { "%YAML 1.2\n---\na: 1\n", "directives" },
        { "%TAG ! tag:x,2000:\n---\na: 1\n", "directives" },
        { "a: 9223372036854775808\n", "does not fit" },
        { "a: 1e999\n", "too large" },
        { "a: \"\\0\"\n", "NUL" },
        { "a: \"\\q\"\n", "unknown escape" },
        { "a: [1, 2\n", "did not find" },
        { "\ta: 1\n", "cannot start any token" },
        { "a: b: c\n", "mapping values" },
        { "\357\273\277a: 1\n", "byte order mark" },
        { "a: \377\n", "1:4: not UTF-8" },
        { "a: 1\nb: \355\240\200\n", "2:4: not UTF-8" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_HAS(line_of(cases[i][0]), cases[i][1]);
    json_t *value = NULL;
    CHECK_EQ(parse("a: \0b", 5, &value, NULL), -EILSEQ);
    CHECK_EQ(parse("[\"\0\"]", 5, &value, NULL), -EILSEQ);
}

static char *repeated(const char *part, size_t count, const char *end)
{
    struct buf out = BUF_INIT(4u << 20);
    for (size_t i = 0; i < count; i++)
        buf_puts(&out, part);
    buf_puts(&out, end);
    return buf_take(&out);
}

static int parse_repeated(const char *part, size_t count, const char *end)
{
    CLEANUP(mem_freep) char *text = repeated(part, count, end);
    CLEANUP(json_freep) json_t *value = NULL;
    return parse(text, strlen(text), &value, NULL);
}

TEST(limits)
{
    CHECK_EQ(parse_repeated("- ", 32, "x"), 0);
    CHECK_EQ(parse_repeated("- ", 33, "x"), -E2BIG);
    CHECK_EQ(parse_repeated("[", 33, ""), -E2BIG);
    CLEANUP(mem_freep) char *brackets = repeated("[", 5000, "");
    CLEANUP(mem_freep) char *flow = mem_printf("x: %s", brackets);
    json_t *value = NULL;
    CHECK_EQ(parse(flow, strlen(flow), &value, NULL), -E2BIG);
    CHECK_EQ(parse_repeated("{\"a\":", 33, ""), -E2BIG);
    CHECK_EQ(parse_repeated("- 1\n", 99999, ""), 0);
    CHECK_EQ(parse_repeated("- 1\n", 100000, ""), -E2BIG);
    CHECK_EQ(parse_repeated("#", (1u << 20) + 1, ""), -EFBIG);
    CHECK_EQ(parse_repeated("x", 1u << 20, ""), 0);
}

/* What both readers must agree on; the refused ones are most of it. */
static const char *const json_texts[] = {
    "[]",
    "{}",
    "[1]",
    "[1,2]",
    "{\"a\":1}",
    "[true,false,null]",
    "[\"a\"]",
    "[-0]",
    "[0]",
    "[-1]",
    "[1.5]",
    "[1e5]",
    "[1E+5]",
    "[1e-5]",
    "[1.5e3]",
    "[-0.0]",
    "[9223372036854775807]",
    "[-9223372036854775808]",
    " [ 1 , 2 ] \n",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"\\u00e4\"]",
    "[\"\\ud83d\\ude00\"]",
    "[\"\303\244\"]",
    "[[[[[]]]]]",
    "{\"a\":{\"b\":[{}]}}",
    "{\"\":1}",
    "[\"\177\"]",
    /* refused */
    "[",
    "]",
    "{",
    "}",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "[1]]",
    "[1] x",
    "[1][2]",
    "[01]",
    "[-]",
    "[+1]",
    "[.5]",
    "[5.]",
    "[-.5]",
    "[1e]",
    "[1e+]",
    "[0x10]",
    "[1_0]",
    "[NaN]",
    "[Infinity]",
    "[-Infinity]",
    "[tru]",
    "[True]",
    "[nul]",
    "[truex]",
    "[\"a]",
    "[\"\\x\"]",
    "[\"\\u12\"]",
    "[\"\\u12g4\"]",
    "[\"\\ud800\"]",
    "[\"\\ud800x\"]",
    "[\"\\ud800\\u0041\"]",
    "[\"\\udc00\"]",
    "[\"\n\"]",
    "[\"\t\"]",
    "[\"\\\"]",
    "[1,\f2]",
    "[/**/1]",
    "[1]//",
    "[\"\377\"]",
    "[\"\300\257\"]",
    "[\"\355\240\200\"]",
    "[9223372036854775808]",
    "[1e999]",
    "{\"a\":1,\"a\":2}",
    "[\"\\u0000\"]",
    "[1.2.3]",
    "[1-2]",
    "[--1]",
    "[\"\\U0041\"]",
    "[$]",
};

TEST(json_agrees_with_jansson)
{
    for (size_t i = 0; i < ARRAY_SIZE(json_texts); i++) {
        const char *text = json_texts[i];
        CLEANUP(json_freep) json_t *ours = NULL;
        CLEANUP(json_freep) json_t *theirs = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        int result = parse(text, strlen(text), &ours, NULL);
        if ((result == 0) != (theirs != NULL))
            test_fail(__FILE__, __LINE__, "%s: %s takes it", text, result == 0 ? "we" : "jansson");
        if (result == 0 && !json_equal(ours, theirs))
            test_fail(__FILE__, __LINE__, "%s: another value", text);
    }
}

TEST(json_errors_have_places)
{
    CHECK_HAS(line_of("{\n  \"a\": 1,\n  \"a\": 2\n}"), "test:3:3: the key \"a\" is there twice");
    CHECK_HAS(line_of("{\n  \"a\": x}"), "test:2:8:");
    CHECK_HAS(line_of("[1]\n\n x"), "test:3:2: something follows");
}

TEST(places)
{
    static const char yaml[] = "a: 1\nb:\n  - x\n  - {c: yes, d: true}\n";
    struct document *d = NULL;
    CHECK_EQ(document_parse("t", yaml, sizeof yaml - 1, &d, NULL), 0);
    const json_t *root = document_root(d), *b = json_object_get(root, "b");
    unsigned line, column;
    document_place(d, json_array_get(b, 0), &line, &column);
    CHECK_EQ(line, 3);
    CHECK_EQ(column, 5);
    document_place_of_key(d, root, "b", &line, &column);
    CHECK_EQ(line, 2);
    CHECK_EQ(column, 1);
    document_place_of_key(d, json_array_get(b, 1), "d", &line, &column);
    CHECK_EQ(line, 4);
    CHECK_EQ(column, 14);
    document_place(d, json_true(), &line, &column);
    CHECK_EQ(line, 0);
    document_place_of_key(d, root, "none", &line, &column);
    CHECK_EQ(line, 0);
    document_free(d);
    static const char json[] = "{ \"a\":\n [ 1,\n   \"x\" ] }";
    CHECK_EQ(document_parse("t", json, sizeof json - 1, &d, NULL), 0);
    root = document_root(d);
    document_place(d, json_array_get(json_object_get(root, "a"), 1), &line, &column);
    CHECK_EQ(line, 3);
    CHECK_EQ(column, 4);
    document_place_of_key(d, root, "a", &line, &column);
    CHECK_EQ(line, 1);
    CHECK_EQ(column, 3);
    document_free(d);
}

static int parse_one(const char *text)
{
    CLEANUP(json_freep) json_t *value = NULL;
    return parse(text, strlen(text), &value, NULL);
}

static int print_one(void)
{
    struct document *d = NULL;
    static const char text[] = "{\"b\":[1,2.5,\"x\"],\"a\":{}}";
    int result = document_parse("t", text, sizeof text - 1, &d, NULL);
    if (result < 0)
        return result;
    CLEANUP(buf_done) struct buf out = BUF_INIT(100);
    result = json_canonical(document_root(d), &out);
    document_free(d);
    return result;
}

TEST(survives_no_memory)
{
    CHECK_EQ(parse_one("{}"), 0); /* jansson's own first use */
    TORTURE(parse_one("a: 1\nb: [x, {c: 1.5}]\nd: \"\\u00e4\"\n"));
    TORTURE(parse_one("{\"a\":1,\"b\":[\"x\",{\"c\":1.5}],\"d\":\"\\u00e4\"}"));
    TORTURE(print_one());
}

static void check_canonical(const char *text, const char *expected)
{
    CLEANUP(json_freep) json_t *value = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4000);
    CHECK_EQ(parse(text, strlen(text), &value, NULL), 0);
    CHECK_EQ(json_canonical(value, &out), 0);
    CHECK_STR(buf_cstr(&out), expected);
}

/* RFC 8785, sections 3.2.2 and 3.2.3 and appendix B. */
TEST(canonical)
{
    check_canonical(
        "{\"numbers\":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"
        "\"string\":\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\","
        "\"literals\":[null,true,false]}",
        "{\"literals\":[null,true,false],"
        "\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
        "\"string\":\"\342\202\254$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
    check_canonical("{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,"
                    "\"\\u0080\":6,\"\\u00f6\":7}",
                    "{\"\\r\":2,\"1\":4,\"\302\200\":6,\"\303\266\":7,\"\342\202\254\":1,"
                    "\"\360\237\230\200\":5,\"\357\254\263\":3}");
    check_canonical(
        "[-0.0,5e-324,-5e-324,1.7976931348623157e308,9007199254740992.0,295147905179352830000.0,"
        "1e21,999999999999999900000.0,1e23,0.000001,1e-7,1.0]",
        "[0,5e-324,-5e-324,1.7976931348623157e+308,9007199254740992,295147905179352830000,"
        "1e+21,999999999999999900000,1e+23,0.000001,1e-7,1]");
}

TEST(lines_are_safe_and_read_back)
{
    CHECK_STR(line_of("[\"\\u001b[31m\\u202e\\u0085\\ud83d\\ude00\\udb40\\udc41\", 1.0]"),
              "[\"\\u001b[31m\\u202e\\u0085\360\237\230\200\\udb40\\udc41\",1.0]");
    for (size_t i = 0; i < ARRAY_SIZE(json_texts); i++) {
        CLEANUP(json_freep) json_t *value = NULL;
        CLEANUP(json_freep) json_t *again = NULL;
        CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
        if (parse(json_texts[i], strlen(json_texts[i]), &value, NULL) < 0)
            continue;
        CHECK_EQ(json_line(value, &out), 0);
        CHECK_EQ(parse(buf_cstr(&out), out.size, &again, NULL), 0);
        CHECK(json_equal(value, again));
    }
}

TEST(lossy_strings)
{
    CLEANUP(json_freep) json_t *good = json_string_lossy("a\303\244", 3);
    CLEANUP(json_freep) json_t *bad = json_string_lossy("a\377\303z", 4);
    CLEANUP(json_freep) json_t *empty = json_string_lossy(NULL, 0);
    CHECK_STR(json_string_value(good), "a\303\244");
    CHECK_STR(json_string_value(bad), "a\357\277\275\357\277\275z");
    CHECK_STR(json_string_value(empty), "");
}

TEST(yaml_scalars_read_back)
{
    static const char *const texts[] = {
        "plain",
        "src/**",
        "/work/a b",
        "",
        "true",
        "No",
        "NULL",
        "~",
        "1",
        "1.5",
        "-x",
        "- x",
        "a: b",
        "a #b",
        "#c",
        "&a",
        "*a",
        "!t",
        "a,b",
        "[x]",
        "{x}",
        "'q'",
        "\"q\"",
        "back\\slash",
        "tab\t",
        "line\nline\n",
        "\033[31m",
        "\302\205",
        "\342\200\256",
        "\303\244",
        "\363\240\201\201",
        "?",
        "%x",
        "@x",
        "`x",
        ">",
        "|",
        "<<",
        "0777",
        "1:30",
        "https://x/y",
        " lead",
        "trail ",
        "a:",
        ":a",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
        CLEANUP(json_freep) json_t *value = NULL;
        buf_puts(&out, "k: [");
        yaml_put_string(&out, texts[i]);
        buf_puts(&out, "]\n");
        CHECK_EQ(parse(buf_cstr(&out), out.size, &value, NULL), 0);
        CHECK_STR(json_string_value(json_array_get(json_object_get(value, "k"), 0)), texts[i]);
    }
}

TEST_MAIN()
