/* SPDX-License-Identifier: Apache-2.0 */
/* ambit cache ls|gc|verify: what is compiled and kept, what goes, and whether it is whole. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "control/cache.h"

#define OUTPUT_MAX (64u << 20)

static void show_progress(void *context, const char *stage, uint64_t elapsed_ns)
{
    bool *shown = context;
    if (elapsed_ns < NS_PER_S || !isatty(STDERR_FILENO))
        return;
    (void)dprintf(STDERR_FILENO, "\r%s: %u s ", stage, (unsigned)(elapsed_ns / NS_PER_S));
    *shown = true;
}

static json_t *item_json(const struct cache_item *item)
{
    char digest[DIGEST_TEXT_SIZE];
    CLEANUP(buf_done) struct buf made = BUF_INIT(64);
    CLEANUP(buf_done) struct buf used = BUF_INIT(64);
    json_t *value = json_object();

    digest_text(&item->component, digest);
    text_put_timestamp(&made, item->made_ns);
    text_put_timestamp(&used, item->used_ns);
    json_object_set_new(value, "key", json_string(item->key));
    json_object_set_new(value, "bytes", json_integer((json_int_t)item->bytes));
    json_object_set_new(value, "used", json_string(buf_cstr(&used)));
    json_object_set_new(value, "bad", item->bad ? json_string_of(item->why) : json_false());
    if (item->bad)
        return value;
    json_object_set_new(value, "component", json_string(digest));
    json_object_set_new(value, "component_bytes", json_integer((json_int_t)item->component_size));
    json_object_set_new(value, "code_bytes", json_integer((json_int_t)item->code_size));
    json_object_set_new(value, "made", json_string(buf_cstr(&made)));
    json_object_set_new(value, "current", json_boolean(item->current));
    return value;
}

static int put_list_json(const struct cache_list *list, const char *evicted_name, size_t evicted)
{
    CLEANUP(json_freep) json_t *value = json_object();
    json_t *entries = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(entries, item_json(&list->items[i]));
    json_object_set_new(value, "entries", entries);
    json_object_set_new(value, "bytes", json_integer((json_int_t)list->bytes));
    if (evicted_name != NULL)
        json_object_set_new(value, evicted_name, json_integer((json_int_t)evicted));
    return cli_put_json(value);
}

static void put_item(struct buf *out, const struct cache_item *item)
{
    char digest[DIGEST_TEXT_SIZE];
    uint64_t age = (uint64_t)MAX(clock_real_ns() - item->used_ns, INT64_C(0));
    digest_text(&item->component, digest);
    if (item->bad) {
        buf_printf(out, "%.16s  bad: ", item->key);
        cli_escaped(out, item->why);
        buf_putc(out, '\n');
        return;
    }
    buf_printf(out, "%s  component ", digest);
    text_put_size_human(out, item->component_size);
    if (item->code_size > 0) {
        buf_puts(out, ", code ");
        text_put_size_human(out, item->code_size);
    } else {
        buf_puts(out, ", described only");
    }
    buf_puts(out, ", used ");
    /* Kept to the minute. */
    if (age < 60 * NS_PER_S)
        buf_puts(out, "just now");
    else
        text_put_duration_human(out, age - age % (60 * NS_PER_S));
    buf_printf(out, "%s%s\n", age < 60 * NS_PER_S ? "" : " ago",
               item->current ? "" : "; made by another version");
}

static void put_total(struct buf *out, const struct cache_list *list)
{
    buf_printf(out, "%zu %s, ", list->count, list->count == 1 ? "entry" : "entries");
    text_put_size_human(out, list->bytes);
    buf_puts(out, "; at most ");
    text_put_size(out, CACHE_MAX_BYTES_DEFAULT);
    buf_puts(out, " is kept\n");
}

static int verb_ls(const struct cli *cli, struct cache *c)
{
    struct error e = ERROR_INIT;
    CLEANUP(cache_list_done) struct cache_list list = { 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    int r = cache_list(c, false, NULL, NULL, &list, &e);
    if (r < 0)
        return cli_fail(cli, CLI_INTERNAL, &e, "cannot list the code cache");
    if (cli->json)
        return put_list_json(&list, NULL, 0);
    for (size_t i = 0; i < list.count; i++)
        put_item(&out, &list.items[i]);
    put_total(&out, &list);
    return cli_put(&out);
}

static int verb_gc(const struct cli *cli, struct cache *c, uint64_t max_bytes)
{
    struct error e = ERROR_INIT;
    size_t removed;
    uint64_t freed;
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    int r = cache_gc(c, max_bytes, NULL, &removed, &freed, &e);
    if (r < 0)
        return cli_fail(cli, CLI_INTERNAL, &e, "cannot clean the code cache");
    if (cli->json) {
        CLEANUP(json_freep) json_t *value = json_object();
        json_object_set_new(value, "removed", json_integer((json_int_t)removed));
        json_object_set_new(value, "freed_bytes", json_integer((json_int_t)freed));
        return cli_put_json(value);
    }
    buf_printf(&out, "%zu %s removed, ", removed,
               removed == 1 ? "file or entry" : "files or entries");
    text_put_size_human(&out, freed);
    buf_puts(&out, " freed\n");
    return cli_put(&out);
}

/* Hashes everything; what is not what was stored is removed, and the exit code says that there was
 * some. */
static int verb_verify(const struct cli *cli, struct cache *c)
{
    struct error e = ERROR_INIT;
    CLEANUP(cache_list_done) struct cache_list list = { 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_MAX);
    bool shown = false;
    size_t bad = 0;
    int r = cache_list(c, true, show_progress, &shown, &list, &e);
    if (shown)
        (void)dprintf(STDERR_FILENO, "\r\033[K");
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        if (!list.items[i].bad)
            continue;
        bad++;
        put_item(&out, &list.items[i]);
        r = cache_evict(c, list.items[i].key, &e);
    }
    if (r < 0)
        return cli_fail(cli, CLI_INTERNAL, &e, "cannot verify the code cache");
    if (cli->json) {
        r = put_list_json(&list, "removed", bad);
    } else {
        buf_printf(&out, "%zu of %zu %s whole", list.count - bad, list.count,
                   list.count == 1 ? "entry is" : "entries are");
        buf_puts(&out, bad > 0 ? "; the others are removed and will be compiled again\n" : "\n");
        r = cli_put(&out);
    }
    return r != CLI_OK ? r : bad > 0 ? CLI_NO : CLI_OK;
}

int cli_cache(int argc, char **argv)
{
    static const char *const words[] = { "ls", "gc", "verify" };
    struct error e = ERROR_INIT;
    struct cli cli = { .verb = help_verb_find("cache") };
    CLEANUP(cache_freep) struct cache *c = NULL;
    const char *word = NULL;
    uint64_t max_bytes = CACHE_MAX_BYTES_DEFAULT;
    bool max_given = false;
    int r;

    while ((r = cli_next(&cli, argc, argv, &e)) == CLI_FLAG || r == CLI_WORD) {
        if (r == CLI_WORD && word != NULL) {
            r = error_set(&e, -EINVAL, "unexpected word \"%s\"", cli.value);
        } else if (r == CLI_WORD) {
            word = cli.value;
        } else if (cli_is(&cli, "json")) {
            cli.json = true;
        } else if (cli_is(&cli, "max")) {
            max_given = true;
            if (text_parse_size(cli.value, &max_bytes, &e) < 0)
                r = -EINVAL;
        }
        if (r < 0)
            break;
    }
    if (r == CLI_HELP)
        return CLI_OK;
    if (r == 0 && word == NULL)
        r = error_set(&e, -EINVAL, "what with the cache? ls, gc or verify");
    for (size_t i = 0; r == 0 && i <= ARRAY_SIZE(words); i++) {
        if (i == ARRAY_SIZE(words))
            r = error_set(&e, -EINVAL, "there is no \"cache %s\"; there are ls, gc and verify",
                          word);
        else if (strcmp(word, words[i]) == 0)
            break;
    }
    if (r == 0 && max_given && strcmp(word, "gc") != 0)
        r = error_set(&e, -EINVAL, "--max goes with gc only");
    if (r < 0)
        return cli_usage(&cli, &e);
    if (cache_open(0, &c, &e) < 0)
        return cli_fail(&cli, CLI_INTERNAL, &e, "cannot open the code cache");
    if (strcmp(word, "ls") == 0)
        return verb_ls(&cli, c);
    return strcmp(word, "gc") == 0 ? verb_gc(&cli, c, max_bytes) : verb_verify(&cli, c);
}
