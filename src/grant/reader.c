/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a grant file: strings, amounts and lists, each wrong one an error at its own place. */
#include "grant/reader.h"

#include <string.h>

int at_key(struct reader *r, const json_t *object, const char *key, int code)
{
    unsigned line = 0, column = 0;
    document_place_of_key(r->document, object, key, &line, &column);
    error_at(r->error, line, column);
    return code;
}

int at_node(struct reader *r, const json_t *node, int code)
{
    unsigned line = 0, column = 0;
    document_place(r->document, node, &line, &column);
    if (line == 0 && r->object)
        return at_key(r, r->object, r->key, code);
    error_at(r->error, line, column);
    return code;
}

bool member_next(struct reader *r, const json_t *object, struct member *m)
{
    json_t *walked = (json_t *)object; /* iterating changes nothing */
    m->at = m->at ? json_object_iter_next(walked, m->at) : json_object_iter(walked);
    if (m->at == NULL)
        return false;
    m->key = json_object_iter_key(m->at);
    m->value = json_object_iter_value(m->at);
    r->object = object;
    r->key = m->key;
    return true;
}

static const char *type_name(const json_t *node)
{
    switch (json_typeof(node)) {
    case JSON_OBJECT:
        return "a mapping";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "empty";
}

int fail_type(struct reader *r, const json_t *node, const char *noun, const char *wanted)
{
    return at_node(
        r, node,
        error_set(r->error, -EINVAL, "%s must be %s, and it is %s", noun, wanted, type_name(node)));
}

int fail_word(struct reader *r, const char *noun, const char *word, const char *where,
              const char *const *names, size_t count)
{
    CLEANUP(buf_done) struct buf all = BUF_INIT(ERROR_TEXT_MAX);
    const char *near = name_nearest(word, names, count);
    int result = error_set(r->error, -EINVAL, "unknown %s `%s`%s", noun, word, where);
    for (size_t i = 0; i < count; i++)
        buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
    if (near)
        error_hint(r->error, "did you mean `%s`?", near);
    else if (buf_status(&all) == 0)
        error_hint(r->error, "there are: %s", buf_cstr(&all));
    return result;
}

int read_string(struct reader *r, const json_t *node, const char *noun, const char **ret)
{
    if (!json_is_string(node)) {
        int result = fail_type(r, node, noun, "a string");
        if (json_is_number(node) || json_is_boolean(node))
            error_hint(r->error, "quote it: \"…\"");
        else if (json_is_null(node))
            error_hint(r->error, "for an empty string write \"\"");
        return result;
    }
    if (strlen(json_string_value(node)) != json_string_length(node))
        return at_node(r, node, error_set(r->error, -EINVAL, "%s has a NUL character", noun));
    *ret = json_string_value(node);
    return 0;
}

int read_string_copy(struct reader *r, const json_t *node, const char *noun, char **ret)
{
    const char *text;
    int result = read_string(r, node, noun, &text);
    if (result < 0)
        return result;
    *ret = mem_strdup(text);
    return *ret ? 0 : grant_no_memory(r->error);
}

/* ---- numbers ---- */

static int read_whole(struct reader *r, const json_t *node, const char *key, uint64_t *ret)
{
    if (json_is_string(node)) {
        int result = at_node(r, node,
                             error_set(r->error, -EINVAL, "`%s` is a count, and `%s` is a string",
                                       key, json_string_value(node)));
        error_hint(r->error, "write a whole number, without unit and quotes");
        return result;
    }
    if (!json_is_integer(node)) {
        char noun[64];
        (void)snprintf(noun, sizeof(noun), "`%s`", key);
        return fail_type(r, node, noun, "a whole number");
    }
    json_int_t value = json_integer_value(node);
    if (value < 0)
        return at_node(r, node, error_set(r->error, -EINVAL, "`%s` is negative", key));
    *ret = (uint64_t)value;
    return 0;
}

int read_amount(struct reader *r, const json_t *node, const char *key, enum unit unit,
                uint64_t *ret)
{
    uint64_t value = 0;
    int result;
    if (unit == UNIT_COUNT || (unit == UNIT_SIZE && json_is_integer(node))) {
        result = read_whole(r, node, key, &value);
    } else if (!json_is_string(node)) {
        result =
            at_node(r, node,
                    error_set(r->error, -EINVAL, "`%s` must be %s with a unit, and it is %s", key,
                              unit == UNIT_SIZE ? "a size" : "a duration", type_name(node)));
        error_hint(r->error,
                   unit == UNIT_SIZE ? "for example 64MiB" : "for example 250ms, 2s, 15m, 1h");
    } else {
        result = unit == UNIT_SIZE ? text_parse_size(json_string_value(node), &value, r->error)
                                   : text_parse_duration(json_string_value(node), &value, r->error);
        if (result < 0) {
            error_prefix(r->error, "`%s`", key);
            (void)at_node(r, node, result);
        }
    }
    if (result < 0)
        return result;
    if (value > GRANT_NUMBER_MAX)
        return at_node(r, node, error_set(r->error, -EINVAL, "`%s` is too large", key));
    *ret = value;
    return 0;
}

/* ---- lists of words: verbs, streams, levels ---- */

static int read_word_bits(struct reader *r, const json_t *list, const char *noun,
                          const char *const *names, size_t count, uint32_t *ret)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *node = json_array_get(list, i);
        const char *word;
        int result = read_string(r, node, noun, &word);
        if (result < 0)
            return result;
        size_t found = 0;
        while (found < count && strcmp(names[found], word) != 0)
            found++;
        if (found == count)
            return at_node(r, node, fail_word(r, noun, word, "", names, count));
        if (bits >> found & 1)
            return at_node(r, node,
                           error_set(r->error, -EINVAL, "%s `%s` is named twice", noun, word));
        bits |= 1u << found;
    }
    *ret = bits;
    return 0;
}

int read_word_list(struct reader *r, const json_t *node, const char *key, const char *noun,
                   const char *const *names, size_t count, uint32_t *ret)
{
    if (!json_is_array(node)) {
        char text[64];
        (void)snprintf(text, sizeof(text), "`%s`", key);
        int result = fail_type(r, node, text, "a list");
        if (json_is_string(node))
            error_hint(r->error, "write `%s: [%.40s]`", key, json_string_value(node));
        return result;
    }
    if (json_array_size(node) == 0)
        return at_node(r, node,
                       error_set(r->error, -EINVAL, "`%s` is empty: it grants nothing", key));
    return read_word_bits(r, node, noun, names, count, ret);
}

int read_string_list(struct reader *r, const json_t *node, const struct list_kind *kind,
                     char ***ret, size_t *ret_count)
{
    char key[64];
    (void)snprintf(key, sizeof(key), "`%s`", kind->key);
    if (!json_is_array(node)) {
        int result = fail_type(r, node, key, "a list");
        if (json_is_string(node))
            error_hint(r->error, "write `%s: [\"%.200s\"]`", kind->key, json_string_value(node));
        return result;
    }
    size_t count = json_array_size(node);
    if (count == 0) {
        int result =
            at_node(r, node, error_set(r->error, -EINVAL, "%s is empty: it grants nothing", key));
        error_hint(r->error, "leave it out for %s", kind->without);
        return result;
    }
    if (count > kind->max)
        return at_node(
            r, node,
            error_set(r->error, -EINVAL, "more than %zu %ss in one grant", kind->max, kind->noun));
    char **strings = *ret = mem_array(count, sizeof(*strings));
    if (strings == NULL)
        return grant_no_memory(r->error);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(node, i);
        char noun[64];
        (void)snprintf(noun, sizeof(noun), "a %s", kind->noun);
        int result = read_string_copy(r, item, noun, &strings[i]);
        if (result < 0)
            return result;
        *ret_count += 1;
        if (kind->lower)
            lower_case(strings[i]);
        result = kind->check(strings[i], r->error);
        if (result < 0)
            return at_node(r, item, result);
    }
    return 0;
}
