/* SPDX-License-Identifier: Apache-2.0 */
/* What the settings of each kind of secret are (wire/keeper.h), and what each may say. Nothing unknown is let by. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "keeper/parts.h"

#define LIST_MAX 64      /* repositories, permissions */
#define SETTING_MAX 2048 /* bytes of one */

enum shape {
    SHAPE_TEXT, /* visible ASCII and spaces */
    SHAPE_WORD, /* [A-Za-z0-9._-], no space */
    SHAPE_DIGITS,
    SHAPE_URL,
    SHAPE_BASE, /* an URL without a query, that a path is put behind */
    SHAPE_NETWORKS,
    SHAPE_LIST,        /* words, "a, b" */
    SHAPE_PERMISSIONS, /* "contents: read, issues: write" */
    SHAPE_SESSION,     /* what STS takes for a session's name */
};
struct setting {
    const char *name;
    enum shape shape;
    bool needed;
};
#define ADDRESSES                          \
    {                                      \
        "addresses", SHAPE_NETWORKS, false \
    }
static const struct setting github_settings[] = {
    { "app_id", SHAPE_WORD, true },
    { "installation_id", SHAPE_DIGITS, true },
    { "url", SHAPE_BASE, false },
    { "repositories", SHAPE_LIST, false },
    { "permissions", SHAPE_PERMISSIONS, false },
    ADDRESSES,
    { 0 },
};
static const struct setting client_settings[] = {
    { "token_url", SHAPE_URL, true },
    { "client_id", SHAPE_TEXT, true },
    { "scope", SHAPE_TEXT, false },
    { "audience", SHAPE_TEXT, false },
    ADDRESSES,
    { 0 },
};
static const struct setting exchange_settings[] = {
    { "token_url", SHAPE_URL, true },
    { "client_id", SHAPE_TEXT, false },
    { "audience", SHAPE_TEXT, false },
    { "scope", SHAPE_TEXT, false },
    { "subject_token_type", SHAPE_TEXT, false },
    ADDRESSES,
    { 0 },
};
static const struct setting aws_settings[] = {
    { "region", SHAPE_WORD, true },
    { "service", SHAPE_WORD, true },
    { 0 },
};
static const struct setting role_settings[] = {
    { "region", SHAPE_WORD, true },
    { "service", SHAPE_WORD, true },
    { "role_arn", SHAPE_TEXT, true },
    { "session_name", SHAPE_SESSION, false },
    { "url", SHAPE_BASE, false },
    { "external_id", SHAPE_TEXT, false },
    ADDRESSES,
    { 0 },
};
static const struct setting no_settings[] = { { 0 } };
static const struct setting *const settings_of[SECRET_KIND_COUNT] = {
    [SECRET_PLAIN] = no_settings,
    [SECRET_GITHUB_APP] = github_settings,
    [SECRET_OAUTH_CLIENT] = client_settings,
    [SECRET_OAUTH_EXCHANGE] = exchange_settings,
    [SECRET_AWS] = aws_settings,
    [SECRET_AWS_ROLE] = role_settings,
};

static bool all_of(const char *text, const char *others)
{
    for (const char *c = text; *c; c++) {
        bool plain =
            (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        if (!plain && !strchr(others, *c))
            return false;
    }
    return text[0] != '\0';
}

static bool visible(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            return false;
    return text[0] != '\0';
}

/* The next item of "a, b": 1, or 0 at the end, or -EINVAL when one is empty. */
int setting_next(const char **at, struct bytes *ret)
{
    const char *start = *at + strspn(*at, " ");
    if (*start == '\0')
        return 0;
    size_t size = strcspn(start, ",");
    *at = start + size + (start[size] == ',');
    while (size && start[size - 1] == ' ')
        size--;
    *ret = (struct bytes){ (const uint8_t *)start, size };
    return size ? 1 : -EINVAL;
}

static bool networks_good(const char *text)
{
    struct bytes item;
    struct network n;
    int more, count = 0;
    while ((more = setting_next(&text, &item)) > 0) {
        if (network_parse(item, &n, NULL) < 0)
            return false;
        count++;
    }
    return more == 0 && count > 0;
}

/* An item as two words, the second behind a colon where there is one. */
bool setting_split(struct bytes item, char ret_name[static 128], char ret_value[static 128])
{
    CLEANUP(mem_freep) char *text = mem_strndup((const char *)item.data, item.size);
    char *colon = text ? strchr(text, ':') : NULL;
    if (!text)
        return false;
    if (colon)
        *colon++ = '\0';
    while (colon && *colon == ' ')
        colon++;
    if (strlen(text) > 127 || (colon && strlen(colon) > 127))
        return false;
    snprintf(ret_name, 128, "%s", text);
    snprintf(ret_value, 128, "%s", colon ? colon : "");
    return all_of(ret_name, "._-") && (!colon || all_of(ret_value, "_-"));
}

static bool list_good(const char *text, bool pairs)
{
    struct bytes item;
    char name[128], value[128];
    int more, count = 0;
    while ((more = setting_next(&text, &item)) > 0) {
        if (!setting_split(item, name, value) || (value[0] != '\0') != pairs)
            return false;
        count++;
    }
    return more == 0 && count > 0 && count <= LIST_MAX;
}

/* The URL of a token server, as it is asked. */
int setting_url(const char *text, struct buf *out, struct error *e)
{
    struct url u;
    url_init(&u);
    int r = url_parse(&u, bytes_of(text), e);
    if (r == 0 && !u.https)
        r = error_set(e, -EINVAL, "a token server is asked by https alone");
    if (r == 0)
        url_print(&u, out);
    url_done(&u);
    return r;
}

static bool url_good(const char *text)
{
    CLEANUP(buf_done) struct buf canonical = BUF_INIT(2 * SETTING_MAX);
    return visible(text) && setting_url(text, &canonical, NULL) == 0 && buf_status(&canonical) == 0;
}

static bool setting_good(enum shape shape, const char *text)
{
    switch (shape) {
    case SHAPE_TEXT:
        return visible(text);
    case SHAPE_WORD:
        return all_of(text, "._-");
    case SHAPE_DIGITS:
        return strspn(text, "0123456789") == strlen(text) && text[0] && strlen(text) <= 20;
    case SHAPE_URL:
        return url_good(text);
    case SHAPE_BASE:
        return url_good(text) && !strchr(text, '?');
    case SHAPE_NETWORKS:
        return networks_good(text);
    case SHAPE_LIST:
        return list_good(text, false);
    case SHAPE_PERMISSIONS:
        return list_good(text, true);
    case SHAPE_SESSION:
        return all_of(text, "_+=,.@-") && strlen(text) >= 2 && strlen(text) <= 64;
    }
    return false;
}

static const char *shape_text(enum shape shape)
{
    static const char *const texts[] = {
        [SHAPE_TEXT] = "text in visible ASCII",
        [SHAPE_WORD] = "a word of letters, digits, \".\", \"_\" and \"-\"",
        [SHAPE_DIGITS] = "a number",
        [SHAPE_URL] = "an https URL",
        [SHAPE_BASE] = "an https URL without a query",
        [SHAPE_NETWORKS] = "a list of networks, like \"10.0.0.0/8, ::1\"",
        [SHAPE_LIST] = "a list of names, like \"shop, api\"",
        [SHAPE_PERMISSIONS] = "a list like \"contents: read, issues: write\"",
        [SHAPE_SESSION] = "2 to 64 letters, digits and any of _+=,.@-",
    };
    return texts[shape];
}

static const struct setting *find_setting(uint32_t kind, const char *name)
{
    for (const struct setting *s = settings_of[kind]; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static int unknown_setting(uint32_t kind, const char *name, struct error *e)
{
    CLEANUP(buf_done) struct buf known = BUF_INIT(1024), shown = BUF_INIT(1024);
    for (const struct setting *s = settings_of[kind]; s->name; s++)
        buf_printf(&known, "%s%s", known.size ? ", " : "", s->name);
    text_escape(&shown, name, MIN(strlen(name), (size_t)100));
    error_set(e, -EINVAL, "a secret of kind %s has no setting \"%s\"", secret_kind_names[kind],
              buf_cstr(&shown));
    error_hint(e, "%s%s", known.size ? "it has " : "it has none", buf_cstr(&known));
    return -EINVAL;
}

static int check_settings(uint32_t kind, json_t *settings, struct error *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(settings, name, value)
    {
        const struct setting *s = find_setting(kind, name);
        if (!s)
            return unknown_setting(kind, name, e);
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value) || strlen(text) > SETTING_MAX ||
            !setting_good(s->shape, text)) {
            error_hint(e, "--set %s=VALUE", name);
            return error_set(e, -EINVAL, "the setting \"%s\" must be %s", name,
                             shape_text(s->shape));
        }
    }
    for (const struct setting *s = settings_of[kind]; s->name; s++) {
        if (!s->needed || json_object_get(settings, s->name))
            continue;
        error_set(e, -EINVAL, "a secret of kind %s needs the setting \"%s\"",
                  secret_kind_names[kind], s->name);
        error_hint(e, "--set %s=VALUE: %s", s->name, shape_text(s->shape));
        return -EINVAL;
    }
    return 0;
}

int settings_read(const struct keeper_item *i, json_t **ret, struct error *e)
{
    const char *text = i->settings && i->settings[0] ? i->settings : "{}";
    struct document *d = NULL;
    if (i->kind >= SECRET_KIND_COUNT)
        return error_set(e, -EINVAL, "a secret of a kind that is none");
    /* document_parse() would take YAML, too */
    if (text[strspn(text, " \t\r\n")] != '{')
        return error_set(e, -EINVAL, "the settings of a secret are an object of texts");
    int r = document_parse("settings", text, strlen(text), &d, e);
    if (r < 0)
        return r;
    json_t *root = json_incref((json_t *)document_root(d));
    document_free(d);
    r = json_is_object(root)
            ? check_settings(i->kind, root, e)
            : error_set(e, -EINVAL, "the settings of a secret are an object of texts");
    if (r == 0)
        *ret = root;
    else
        json_decref(root);
    return r;
}

const char *setting_text(const json_t *settings, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(settings, name));
    return text ? text : otherwise;
}
