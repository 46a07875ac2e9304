/* SPDX-License-Identifier: Apache-2.0 */
/* What `ambit inspect` says an import needs, and that the grant file it prints is a valid one that
 * gives just that. */
#include "cli/needs.h"
#include "grant/grant.h"
#include "test.h"

static json_t *described(const char *imports)
{
    char text[4096];
    (void)snprintf(text, sizeof(text), "{\"imports\":[%s]}", imports);
    json_t *value = json_loads(text, 0, NULL);
    if (value == NULL)
        test_fail(__FILE__, __LINE__, "the test's own JSON is malformed: %s", text);
    return value;
}

/* The skeleton for these imports, read back by the grant parser. */
static struct grant_set *parsed(const struct needs *n, const char *name)
{
    struct error e = ERROR_INIT;
    struct grant_set *set = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
    needs_put_skeleton(&text, name, n);
    if (grant_set_parse("skeleton", "/base", buf_cstr(&text), text.size, &set, &e) < 0)
        test_fail(__FILE__, __LINE__, "line %u: %s\n%s", e.line, e.what, buf_cstr(&text));
    return set;
}

TEST(each_interface_has_its_need)
{
    static const struct {
        const char *name;
        enum need_kind kind;
    } table[] = {
        { "wasi:io/streams@0.2.3", NEED_NOTHING },
        { "wasi:cli/exit@0.2.0", NEED_NOTHING },
        { "wasi:cli/stdout@0.2.12", NEED_STDIO },
        { "wasi:cli/environment@0.2.0", NEED_ARGS_ENV },
        { "wasi:clocks/wall-clock@0.2.1", NEED_CLOCK },
        { "wasi:random/insecure-seed@0.2.1", NEED_RANDOM },
        { "wasi:logging/logging@0.1.0-draft", NEED_LOG },
        { "wasi:config/store@0.2.0-rc.1", NEED_CONFIG },
        { "wasi:filesystem/types@0.2.1", NEED_FS },
        { "wasi:sockets/tcp@0.2.1", NEED_REFUSES },
        { "wasi:http/outgoing-handler@0.2.1", NEED_HTTP },
        { "wasi:keyvalue/store@0.2.0-draft", NEED_KEYVALUE },
        { "wasi:nn/graph@0.2.0", NEED_NOT_THERE },
        { "wasi:clocks/timezone@0.2.1", NEED_NOT_THERE },
        { "wasi:cli/stdoutx@0.2.1", NEED_NOT_THERE },
        { "wasi:cli/stdou", NEED_NOT_THERE },
        { "acme:billing/customers@1.0.0", NEED_NOT_THERE },
        { "a", NEED_NOT_THERE },
        { "", NEED_NOT_THERE },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct need need = need_of(table[i].name);
        if (need.kind != table[i].kind || need.text == NULL)
            test_fail(__FILE__, __LINE__, "%s is %d", table[i].name, need.kind);
    }
}

TEST(the_skeleton_is_valid_whatever_is_asked)
{
    for (unsigned bits = 0; bits < 1u << 11; bits++) {
        struct needs n = { .input = bits & 1,
                           .output = bits & 2,
                           .errors = bits & 4,
                           .args = bits & 8,
                           .environment = bits & 8 };
        n.kinds[NEED_STDIO] = n.input || n.output || n.errors;
        n.kinds[NEED_CLOCK] = bits & 16;
        n.kinds[NEED_RANDOM] = n.kinds[NEED_LOG] = bits & 32;
        n.kinds[NEED_CONFIG] = bits & 64;
        n.kinds[NEED_FS] = bits & 128;
        n.fs_verbs = bits & 256 ? FS_WRITE | FS_CREATE : FS_RW;
        n.kinds[NEED_REFUSES] = n.kinds[NEED_NOT_THERE] = bits & 1;
        n.kinds[NEED_HTTP] = bits & 512;
        n.kinds[NEED_KEYVALUE] = bits & 1024;
        struct grant_set *set = parsed(&n, "tool.wasm");
        size_t wanted =
            (size_t)(n.kinds[NEED_STDIO] + n.args + n.environment + n.kinds[NEED_CLOCK] +
                     2 * n.kinds[NEED_RANDOM] + n.kinds[NEED_CONFIG] + n.kinds[NEED_FS] +
                     n.kinds[NEED_HTTP] + n.kinds[NEED_KEYVALUE]);
        CHECK_EQ(set->count, wanted);
        if (n.kinds[NEED_FS]) {
            size_t after = 1 + n.kinds[NEED_HTTP] + n.kinds[NEED_KEYVALUE];
            const struct grant *fs = &set->grants[set->count - after];
            CHECK_EQ(fs->class, GRANT_FS);
            /* Reading comes first; writing is there at once only where there is nothing else. */
            CHECK_EQ(fs->fs.verbs, bits & 256 ? FS_WRITE | FS_CREATE : FS_RO);
            CHECK_STR(fs->fs.guest, "/work");
            CHECK_STR(fs->fs.host, "/base");
        }
        grant_set_free(set);
    }
}

TEST(a_hostile_name_stays_in_its_comment)
{
    struct needs n = { 0 };
    struct grant_set *set = parsed(&n, "a\nversion: 1\ngrants:\n  - fs: /\n    from: { dir: / }\n  "
                                       "  allow: rw\r\n\xe2\x80\xa8- x\x85");
    CHECK_EQ(set->count, 0);
    grant_set_free(set);
}

TEST(files_are_asked_for_only_where_one_can_be_named)
{
    const char *preopens =
        "{\"name\":\"wasi:filesystem/preopens@0.2.3\",\"functions\":[\"get-directories\"]}";
    static const char types[] = "{\"name\":\"wasi:filesystem/types@0.2.3\",\"functions\":[%s]}";
    static const struct {
        const char *functions;
        bool root;
        uint32_t verbs;
    } table[] = {
        { "\"[method]descriptor.write-via-stream\",\"[method]descriptor.stat\"", true, 0 },
        { "\"[method]descriptor.open-at\",\"[method]descriptor.read\"", true, FS_READ },
        { "\"[method]descriptor.open-at\",\"[method]descriptor.read\"", false, 0 },
        { "\"[method]descriptor.read-directory\"", true, FS_LIST },
        { "\"[method]descriptor.unlink-file-at\"", true, FS_DELETE },
        { "", true, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char one[512], imports[1024];
        (void)snprintf(one, sizeof(one), types, table[i].functions);
        (void)snprintf(imports, sizeof(imports), "%s%s%s", one, table[i].root ? "," : "",
                       table[i].root ? preopens : "");
        json_t *d = described(imports);
        struct needs n = needs_of(d);
        CHECK_EQ(n.fs_verbs, table[i].verbs);
        CHECK_EQ(n.kinds[NEED_FS], table[i].verbs != 0);
        json_decref(d);
    }
}

TEST(malformed_descriptions_ask_for_nothing)
{
    static const char *const texts[] = {
        "", "1", "null", "{}", "{\"name\":1}", "{\"name\":\"wasi:cli/stdin@0.2.0\",\"functions\":3}"
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        json_t *d = described(texts[i]);
        struct needs n = needs_of(d);
        for (size_t k = 0; k < NEED_COUNT; k++)
            CHECK(!n.kinds[k]);
        json_decref(d);
    }
}

TEST(functions_are_told_with_their_resource)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    needs_put_functions(
        &out,
        "use error.{error};\n\nresource output-stream {\n  constructor(a: u8);\n  write: func(x: "
        "list<u8>);\n}\n\n"
        "record r {\n  a: u8,\n}\n\nfree\x1b: func();\nresource plain;\nlast: func()",
        "  ");
    CHECK_STR(buf_cstr(&out), "  output-stream.constructor(a: u8)\n  output-stream.write: func(x: "
                              "list<u8>)\n  free\\x1b: func()\n"
                              "  last: func()\n");
    buf_clear(&out);
    needs_put_functions(&out, "", "  ");
    CHECK_STR(buf_cstr(&out), "");
}

TEST_MAIN()
