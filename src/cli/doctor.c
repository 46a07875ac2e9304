/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit doctor`: what this machine offers, what is enforced right now, what is missing, why that
 * matters and what to do. Everything is found out by trying, never from a version number. The
 * answer is built once as rows and printed as text or as JSON.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ambit_engine.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/doctor.h"
#include "control/cache.h"
#include "control/state.h"
#include "control/target.h"
#include "grant/grant.h"
#include "room/jail.h"

#define MAPPINGS_PER_SANDBOX 5  /* measured: docs/performance.md */
#define MAPPINGS_OF_WORKER 2000 /* engine, libraries, pool bookkeeping: kept free */

static void doctor_done(struct doctor *d)
{
    for (size_t i = 0; i < d->count; i++) {
        mem_free(d->rows[i].value);
        mem_free(d->rows[i].remedy_text);
        json_decref(d->rows[i].rooms);
    }
}

void doctor_add(struct doctor *d, struct doctor_row row)
{
    ASSERT(d->count < ARRAY_SIZE(d->rows));
    d->rows[d->count++] = row;
}

/* ---- machine ---- */

static uint64_t read_number(const char *path)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct error e = ERROR_INIT;
    return file_read(path, &text, &e) == 0 ? strtoull(buf_cstr(&text), NULL, 10) : 0;
}

static void look_at_machine(struct doctor *d)
{
    struct utsname u;
    if (uname(&u) == 0)
        doctor_add(d, (struct doctor_row){ "machine", "kernel", DOCTOR_OK,
                                           mem_printf("%s %s %s", u.sysname, u.release, u.machine),
                                           NULL, NULL });
    doctor_add(d,
               (struct doctor_row){ "machine", "processors", DOCTOR_OK,
                                    mem_printf("%ld", sysconf(_SC_NPROCESSORS_ONLN)), NULL, NULL });
#ifdef __x86_64__
    __builtin_cpu_init();
    doctor_add(d, (struct doctor_row){
                      "machine", "CPU features", DOCTOR_OK,
                      mem_printf("%s%s%s%s%s", __builtin_cpu_supports("sse4.2") ? "sse4.2 " : "",
                                 __builtin_cpu_supports("avx") ? "avx " : "",
                                 __builtin_cpu_supports("avx2") ? "avx2 " : "",
                                 __builtin_cpu_supports("bmi2") ? "bmi2 " : "",
                                 __builtin_cpu_supports("avx512f") ? "avx512f" : ""),
                      NULL, NULL });
#endif
    uint64_t maps = read_number("/proc/sys/vm/max_map_count");
    uint64_t parked =
        maps > MAPPINGS_OF_WORKER ? (maps - MAPPINGS_OF_WORKER) / MAPPINGS_PER_SANDBOX : 0;
    doctor_add(d, (struct doctor_row){
                      "machine", "vm.max_map_count", parked >= 10000 ? DOCTOR_OK : DOCTOR_NOTE,
                      mem_printf("%llu: about %llu waiting sandboxes in one process",
                                 (unsigned long long)maps, (unsigned long long)parked),
                      NULL, "sysctl -w vm.max_map_count=1048576 for more" });
}

/* ---- Ambit ---- */

static void look_at_component(struct doctor *d, enum target_language language)
{
    const struct target_language_facts *facts = &target_languages[language];
    struct error e = ERROR_INIT;
    struct stat st;
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(8192);

    bool found = target_find_component(language, getenv(facts->variable), &path, &e) == 0 &&
                 stat(path, &st) == 0;
    if (found) {
        buf_printf(&text, "%s, ", path);
        text_put_size_human(&text, (uint64_t)st.st_size);
    } else {
        buf_puts(&text, path != NULL ? path : "not installed");
    }
    bool python = language == TARGET_PYTHON;
    doctor_add(
        d,
        (struct doctor_row){
            "ambit", python ? "Python component" : "JavaScript component",
            found ? DOCTOR_OK : DOCTOR_NOTE, mem_strdup(buf_cstr(&text)), NULL,
            python
                ? "make (in Ambit's folder) builds it; or AMBIT_PYTHON_COMPONENT=/path/python.wasm"
                : "make (in Ambit's folder) builds it; or AMBIT_JS_COMPONENT=/path/js.wasm" });
}

static void look_at_state(struct doctor *d)
{
    struct error e = ERROR_INIT;
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(cache_freep) struct cache *cache = NULL;
    struct cache_list list = { 0 };
    bool found = state_path(&path, &e) == 0;
    int fd = -1;

    bool usable = found && state_open("", &fd, &e) == 0;
    fd_close(fd);
    doctor_add(d, (struct doctor_row){ "ambit", "state folder", usable ? DOCTOR_OK : DOCTOR_MISSING,
                                       mem_strdup(usable ? path : e.what), NULL,
                                       "AMBIT_STATE_DIR=/a/folder/of/yours" });
    d->required_missing |= !usable;
    if (!usable)
        return;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    error_clear(&e);
    bool listed =
        cache_open(0, &cache, &e) == 0 && cache_list(cache, false, NULL, NULL, &list, &e) == 0;
    if (listed) {
        text_put_size_human(&text, list.bytes);
        buf_printf(&text, " in %zu entries", list.count);
    } else {
        buf_puts(&text, e.what);
    }
    cache_list_done(&list);
    doctor_add(d, (struct doctor_row){ "ambit", "cache", listed ? DOCTOR_OK : DOCTOR_NOTE,
                                       mem_strdup(buf_cstr(&text)), NULL,
                                       "ambit cache verify; ambit cache gc" });
}

static void look_at_ambit(struct doctor *d)
{
    const struct grant_limits *l = &grant_limits_default;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);

    doctor_add(d, (struct doctor_row){ "ambit", "engine", DOCTOR_OK,
                                       mem_strdup(ambit_engine_version()), NULL, NULL });
    look_at_component(d, TARGET_PYTHON);
    look_at_component(d, TARGET_JAVASCRIPT);
    look_at_state(d);
    buf_puts(&text, "memory ");
    text_put_size(&text, l->memory_bytes);
    buf_puts(&text, ", cpu ");
    text_put_duration(&text, l->cpu_ns);
    buf_puts(&text, ", wall ");
    text_put_duration(&text, l->wall_ns);
    buf_printf(&text, ", handles %llu, output ", (unsigned long long)l->handles);
    text_put_size(&text, l->output_bytes);
    buf_printf(&text, ", hostcalls %llu", (unsigned long long)l->hostcalls);
    doctor_add(d, (struct doctor_row){ "ambit", "default limits", DOCTOR_OK,
                                       mem_strdup(buf_cstr(&text)), NULL, NULL });
#ifdef AMBIT_TEST_HOOKS
    doctor_add(d, (struct doctor_row){
                      "ambit", "test hooks", DOCTOR_NOTE,
                      mem_strdup("this is a test build: its defences can be switched off"), NULL,
                      "never use it for anything but Ambit's own tests" });
#endif
}

/* ---- printing ---- */

static const char *remedy_of(const struct doctor_row *r)
{
    return r->remedy_text != NULL ? r->remedy_text : r->remedy;
}

static void put_way_on(struct buf *out, const struct doctor *d)
{
    buf_puts(out, "\nRuns do not start here.");
    if (d->missing_layers)
        buf_puts(out, " To go on without these layers, knowing what they stop:\n  ambit run");
    for (size_t i = 0; i < JAIL_LAYER_COUNT; i++)
        if (d->missing_layers & jail_layer(i)->layer)
            buf_printf(out, " --allow-missing-jail=%s", jail_layer_name(jail_layer(i)->layer));
    buf_puts(out, d->missing_layers ? " …\n" : "\n");
}

static int print_text(const struct doctor *d)
{
    static const char *const marks[] = { "ok     ", "note   ", "MISSING" };
    static const char *const colours[] = { "\033[32m", "\033[33m", "\033[1;31m" };
    CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 20);
    bool colour = cli_colour(STDOUT_FILENO);
    const char *group = "";

    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_row *r = &d->rows[i];
        if (strcmp(group, r->group) != 0)
            buf_printf(&out, "%s%s\n", i == 0 ? "" : "\n", r->group);
        group = r->group;
        buf_printf(&out, "  %s%s%s  %-18s ", colour ? colours[r->state] : "", marks[r->state],
                   colour ? "\033[0m" : "", r->name);
        cli_escaped(&out, r->value);
        if (r->stops != NULL)
            buf_printf(&out, "; %s: %s", r->state == DOCTOR_OK ? "stops" : "it would stop",
                       r->stops);
        buf_putc(&out, '\n');
        if (r->state != DOCTOR_OK && remedy_of(r) != NULL)
            buf_printf(&out, "           do: %s\n", remedy_of(r));
    }
    if (d->required_missing)
        put_way_on(&out, d);
    else
        buf_puts(&out, "\nEverything that is required works.\n");
    return cli_put(&out);
}

static int print_json(const struct doctor *d)
{
    static const char *const states[] = { "ok", "note", "missing" };
    CLEANUP(json_freep) json_t *out = json_object();
    json_t *rows = json_array();

    json_object_set_new(out, "ok", json_boolean(!d->required_missing));
    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_row *r = &d->rows[i];
        json_t *row = json_object();
        json_object_set_new(row, "group", json_string(r->group));
        json_object_set_new(row, "name", json_string(r->name));
        json_object_set_new(row, "state", json_string(states[r->state]));
        json_object_set_new(row, "value",
                            r->value != NULL ? json_string_of(r->value) : json_null());
        if (r->stops != NULL)
            json_object_set_new(row, "stops", json_string(r->stops));
        if (r->rooms != NULL)
            json_object_set(row, "rooms", r->rooms);
        if (r->state != DOCTOR_OK && remedy_of(r) != NULL)
            json_object_set_new(row, "do", json_string(remedy_of(r)));
        json_array_append_new(rows, row);
    }
    json_object_set_new(out, "checks", rows);
    return cli_put_json(out);
}

int cli_doctor(int argc, char **argv)
{
    struct cli c = { .verb = help_verb_find("doctor") };
    struct error e = ERROR_INIT;
    CLEANUP(doctor_done) struct doctor d = { .count = 0 };
    int item;

    bool table = false;
    while ((item = cli_next(&c, argc, argv, &e)) == CLI_FLAG) {
        if (cli_is(&c, "table"))
            table = true;
        else
            c.json = true;
    }
    if (item == CLI_HELP)
        return CLI_OK;
    if (item == CLI_WORD)
        error_set(&e, -EINVAL, "doctor takes no argument: \"%s\"", c.value);
    if (item != CLI_END)
        return cli_usage(&c, &e);
    if (table)
        return doctor_print_table();
#ifdef AMBIT_TEST_HOOKS
    if (doctor_test_try())
        return CLI_OK;
#endif
    doctor_look_at_jail(&d);
    look_at_machine(&d);
    doctor_look_at_switches(&d);
    look_at_ambit(&d);
    doctor_look_at_vault(&d);
    int code = c.json ? print_json(&d) : print_text(&d);
    return code != CLI_OK ? code : d.required_missing ? CLI_NO : CLI_OK;
}
