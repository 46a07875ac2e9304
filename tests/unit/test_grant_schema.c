/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/schemas/grants.schema.json and the reader agree on tests/vectors/grants, and the examples of
 * docs/grants.md are grant files. The schema is checked by a small validator of its own: the
 * keywords of JSON Schema 2020-12 that the schema uses, and a failure for every other. Vectors
 * named reader-* are wrong in ways that only the reader can see.
 */
#include <dirent.h>
#include <regex.h>

#include "base/file.h"
#include "grant/grant.h"
#include "test.h"

static json_t *schema_root;

static bool valid(const json_t *schema, const json_t *value);

static bool type_is(const char *type, const json_t *value)
{
    if (strcmp(type, "object") == 0)
        return json_is_object(value);
    if (strcmp(type, "array") == 0)
        return json_is_array(value);
    if (strcmp(type, "string") == 0)
        return json_is_string(value);
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    test_fail(__FILE__, __LINE__, "type %s", type);
}

/* Our expressions stay within what POSIX and ECMAScript read alike. */
static bool matches(const char *expression, const char *text)
{
    regex_t regex;
    CHECK_EQ(regcomp(&regex, expression, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static int count_valid(const json_t *schemas, const json_t *value)
{
    int count = 0;
    for (size_t i = 0; i < json_array_size(schemas); i++)
        count += valid(json_array_get(schemas, i), value);
    return count;
}

static bool is_among(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), value))
            return true;
    }
    return false;
}

static bool unique(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        for (size_t j = 0; j < i; j++) {
            if (json_equal(json_array_get(list, i), json_array_get(list, j)))
                return false;
        }
    }
    return true;
}

static const json_t *reference(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    const json_t *found = json_object_get(json_object_get(schema_root, "$defs"), name);
    CHECK(found != NULL);
    return found;
}

static bool members_valid(const json_t *schema, json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *others = json_object_get(schema, "additionalProperties");
    const json_t *names = json_object_get(schema, "propertyNames"),
                 *needed = json_object_get(schema, "required");
    const char *key;
    json_t *member;
    for (size_t i = 0; i < json_array_size(needed); i++) {
        if (!json_object_get(value, json_string_value(json_array_get(needed, i))))
            return false;
    }
    json_object_foreach(value, key, member)
    {
        const json_t *known = json_object_get(properties, key);
        CLEANUP(json_freep) json_t *name = json_string(key);
        if (names && !valid(names, name))
            return false;
        if (known ? !valid(known, member)
                  : others && (json_is_false(others) || !valid(others, member)))
            return false;
    }
    return json_object_size(value) >=
           (size_t)json_integer_value(json_object_get(schema, "minProperties"));
}

static bool list_valid(const json_t *schema, const json_t *value)
{
    const json_t *items = json_object_get(schema, "items"),
                 *max = json_object_get(schema, "maxItems");
    if (json_array_size(value) < (size_t)json_integer_value(json_object_get(schema, "minItems")))
        return false;
    if (max && json_array_size(value) > (size_t)json_integer_value(max))
        return false;
    if (json_is_true(json_object_get(schema, "uniqueItems")) && !unique(value))
        return false;
    for (size_t i = 0; items && i < json_array_size(value); i++) {
        if (!valid(items, json_array_get(value, i)))
            return false;
    }
    return true;
}

static bool keyword_valid(const char *keyword, const json_t *argument, const json_t *value)
{
    static const char *const elsewhere[] = { "$schema",       "$id",
                                             "$defs",         "title",
                                             "description",   "properties",
                                             "required",      "items",
                                             "minItems",      "maxItems",
                                             "uniqueItems",   "propertyNames",
                                             "minProperties", "additionalProperties" };
    if (strcmp(keyword, "type") == 0)
        return type_is(json_string_value(argument), value);
    if (strcmp(keyword, "const") == 0)
        return json_equal(argument, value);
    if (strcmp(keyword, "enum") == 0)
        return is_among(argument, value);
    if (strcmp(keyword, "pattern") == 0)
        return !json_is_string(value) ||
               matches(json_string_value(argument), json_string_value(value));
    if (strcmp(keyword, "minimum") == 0)
        return !json_is_integer(value) || json_integer_value(value) >= json_integer_value(argument);
    if (strcmp(keyword, "minLength") == 0)
        return !json_is_string(value) ||
               json_string_length(value) >= (size_t)json_integer_value(argument);
    if (strcmp(keyword, "maxLength") == 0)
        return !json_is_string(value) ||
               json_string_length(value) <= (size_t)json_integer_value(argument);
    if (strcmp(keyword, "$ref") == 0)
        return valid(reference(json_string_value(argument)), value);
    if (strcmp(keyword, "not") == 0)
        return !valid(argument, value);
    if (strcmp(keyword, "allOf") == 0)
        return count_valid(argument, value) == (int)json_array_size(argument);
    if (strcmp(keyword, "anyOf") == 0)
        return count_valid(argument, value) > 0;
    if (strcmp(keyword, "oneOf") == 0)
        return count_valid(argument, value) == 1;
    for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
        if (strcmp(keyword, elsewhere[i]) == 0)
            return true;
    }
    test_fail(__FILE__, __LINE__, "the schema uses `%s`, which this validator does not know",
              keyword);
}

static bool valid(const json_t *schema, const json_t *value)
{
    const char *keyword;
    json_t *argument;
    json_object_foreach((json_t *)schema, keyword, argument)
    {
        if (!keyword_valid(keyword, argument, value))
            return false;
    }
    if (json_is_object(value) && !members_valid(schema, (json_t *)value))
        return false;
    return !json_is_array(value) || list_valid(schema, value);
}

static void schema_load(void)
{
    json_error_t e;
    json_decref(schema_root);
    schema_root = json_load_file(TEST_SOURCE_ROOT "/docs/schemas/grants.schema.json",
                                 JSON_REJECT_DUPLICATES, &e);
    if (schema_root == NULL)
        test_fail(__FILE__, __LINE__, "%d:%d: %s", e.line, e.column, e.text);
}

static bool schema_accepts(const struct buf *text)
{
    CLEANUP(document_freep) struct document *d = NULL;
    if (document_parse("t", (const char *)text->data, text->size, &d, NULL) < 0)
        return false;
    return valid(schema_root, document_root(d));
}

static void check_vector(const char *folder, const char *name, bool accept)
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/%s", folder, name);
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    CLEANUP(grant_set_freep) struct grant_set *s = NULL;
    struct error e = ERROR_INIT;
    CHECK_EQ(file_read(path, &text, &e), 0);
    int r = grant_set_parse(name, "/base", (const char *)text.data, text.size, &s, &e);
    if ((r == 0) != accept)
        test_fail(__FILE__, __LINE__, "%s: the reader: %s", name, r < 0 ? e.what : "accepts it");
    if (strncmp(name, "reader-", 7) != 0 && schema_accepts(&text) != accept)
        test_fail(__FILE__, __LINE__, "%s: the schema does not agree", name);
}

static int check_folder(const char *folder, bool accept)
{
    int count = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        check_vector(folder, entry->d_name, accept);
        count++;
    }
    (void)closedir(dir);
    return count;
}

TEST(schema_and_reader_agree)
{
    schema_load();
    CHECK(check_folder(TEST_SOURCE_ROOT "/tests/vectors/grants/accept", true) >= 10);
    CHECK(check_folder(TEST_SOURCE_ROOT "/tests/vectors/grants/reject", false) >= 60);
    json_decref(schema_root);
    schema_root = NULL;
}

/* Every block of YAML in the guide is a grant file, as it stands. */
TEST(guide_examples)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    int count = 0;
    schema_load();
    CHECK_EQ(file_read(TEST_SOURCE_ROOT "/docs/grants.md", &text, NULL), 0);
    for (const char *at = buf_cstr(&text); (at = strstr(at, "```yaml\n")) != NULL; count++) {
        CLEANUP(grant_set_freep) struct grant_set *s = NULL;
        CLEANUP(buf_done) struct buf block = BUF_INIT(1 << 16);
        struct error e = ERROR_INIT;
        at += strlen("```yaml\n");
        const char *end = strstr(at, "```");
        CHECK(end != NULL);
        buf_append(&block, at, (size_t)(end - at));
        if (grant_set_parse("docs/grants.md", "/base", at, (size_t)(end - at), &s, &e) < 0)
            test_fail(__FILE__, __LINE__, "%s\n%.*s", e.what, (int)(end - at), at);
        CHECK(schema_accepts(&block));
        at = end + 3;
    }
    CHECK(count >= 4);
    json_decref(schema_root);
    schema_root = NULL;
}

TEST_MAIN()
