/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ambit's side of the in-process benchmarks: the real engine and the worker's own host code (grants,
 * accounts, filesystem, streams), without rooms around them. bench/twin does the same through
 * Wasmtime's own API; bench/run starts both in turn and compares. Each command prints one JSON object.
 *
 *   compile FILE CODE             machine code for the commands below
 *   instantiate CODE COUNT        a fresh instance, its call and its end: the engine alone
 *   guest CODE COUNT DIR [ARG…]   the same as the worker does it: streams, clocks, files, accounts
 *   calls CODE CALLS DIR          one guest that makes CALLS host calls
 *   parked CODE COUNT             COUNT guests that wait: memory, mappings, time to start each
 *   decide COUNT                  a decision about a path, with 1, 10, … up to COUNT grants
 *
 * Everything here lives as long as the process: nothing is freed that the measurement does not free.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "worker/host/host.h"

#define EPOCH_US 10000
#define WARM 3

struct bench {
    struct ambit_engine *engine;
    struct ambit_component *component;
    struct loop loop;
    struct grant_rules *rules;
    struct run_start start;
    const char *folder;
};

__attribute__((noreturn)) PRINTF_LIKE(1, 2) static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("ambit_bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void into_buf(void *context, const uint8_t *bytes, size_t size)
{
    buf_append(context, bytes, size);
}

static void into_nothing(void *context, const uint8_t *bytes, size_t size)
{
}

static size_t number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || n == 0 || n > 100000000)
        fail("%s is no count", text);
    return (size_t)n;
}

/* ---- figures ---- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t *samples(size_t count)
{
    uint64_t *s = mem_array(count, sizeof(*s));
    if (!s)
        fail("no memory");
    return s;
}

/* Sorts, and prints `"name": {…}` of nanoseconds. */
static void print_samples(const char *name, uint64_t *s, size_t count)
{
    qsort(s, count, sizeof(*s), by_size);
    printf("\"%s\": {\"count\": %zu, \"min\": %llu, \"p25\": %llu, \"p50\": %llu, \"p90\": %llu, "
           "\"p99\": %llu, \"max\": %llu}",
           name, count, (unsigned long long)s[0], (unsigned long long)s[count / 4],
           (unsigned long long)s[count / 2], (unsigned long long)s[count * 9 / 10],
           (unsigned long long)s[count * 99 / 100], (unsigned long long)s[count - 1]);
}

/* ---- the engine ---- */

static void make_engine(struct bench *b, const struct ambit_engine_config *config)
{
    CLEANUP(buf_done) struct buf message = BUF_INIT(1 << 16);
    if (ambit_engine_new(config, &b->engine, into_buf, &message) < 0)
        fail("no engine: %s", buf_cstr(&message));
}

static void load(struct bench *b, const char *path)
{
    CLEANUP(buf_done) struct buf message = BUF_INIT(1 << 16);
    uint64_t began = clock_monotonic_ns();
    if (ambit_component_load(b->engine, path, &b->component, into_buf, &message) < 0)
        fail("%s: %s", path, buf_cstr(&message));
    printf("\"load_ns\": %llu, ", (unsigned long long)(clock_monotonic_ns() - began));
}

/* As the worker makes it (worker.c), for a few instances. */
static void open_bench(struct bench *b, const char *code)
{
    struct ambit_engine_config config = {
        .instances = 4,
        .memory_max_bytes = UINT64_C(4) << 30,
        .table_elements_max = 1u << 18,
        .core_instances_max = 512,
        .ticker = true,
        .epoch_us = EPOCH_US,
    };
    uint64_t began = clock_monotonic_ns();
    make_engine(b, &config);
    printf("\"engine_ns\": %llu, ", (unsigned long long)(clock_monotonic_ns() - began));
    load(b, code);
}

static void compile(const char *from, const char *to)
{
    CLEANUP(buf_done) struct buf code = BUF_INIT(512u << 20);
    CLEANUP(buf_done) struct buf message = BUF_INIT(1 << 16);
    FILE *in = fopen(from, "rb");
    struct stat st;
    if (!in || fstat(fileno(in), &st) < 0)
        fail("%s cannot be read", from);
    uint8_t *bytes = mem_alloc((size_t)st.st_size + 1);
    size_t size = bytes ? fread(bytes, 1, (size_t)st.st_size, in) : 0;
    fclose(in);
    if (ambit_compile(bytes, size, false, into_buf, &code, into_nothing, NULL, into_buf,
                      &message) != AMBIT_COMPILE_OK)
        fail("%s: %s", from, buf_cstr(&message));
    FILE *out = fopen(to, "wb");
    if (buf_status(&code) < 0 || !out || fwrite(code.data, 1, code.size, out) != code.size ||
        fclose(out) != 0)
        fail("%s cannot be written", to);
    printf("\"code_bytes\": %zu", code.size);
    mem_free(bytes);
}

/* ---- the engine alone ---- */

static enum ambit_slice go_on(void *host)
{
    return AMBIT_SLICE_YIELD;
}

static void no_limit(void *host, enum ambit_limit which, uint64_t asked)
{
}

static void run_alone(struct bench *b, const struct ambit_host_vtbl *v)
{
    struct ambit_task_config config = { .memory_bytes = 256u << 20,
                                        .handles = 1024,
                                        .hostcall_bytes = 128u << 20 };
    struct ambit_task *t =
        ambit_task_new(b->component, &config, v, b, (struct ambit_bytes){ 0 }, NULL, 0);
    if (!t)
        fail("no task");
    while (ambit_task_poll(t) == AMBIT_POLL_SLICE)
        ;
    struct ambit_result r;
    ambit_task_result(t, &r);
    if (r.outcome != AMBIT_OUTCOME_EXIT)
        fail("the guest failed: %.*s", (int)r.message.size, (const char *)r.message.data);
    ambit_task_free(t);
}

static void instantiate(struct bench *b, size_t count)
{
    struct ambit_host_vtbl v = host_vtbl;
    v.slice = go_on;
    v.limit = no_limit;
    uint64_t *ns = samples(count);
    for (size_t i = 0; i < count / 10 + WARM; i++)
        run_alone(b, &v);
    uint64_t cpu = clock_process_cpu_ns();
    for (size_t i = 0; i < count; i++) {
        uint64_t began = clock_monotonic_ns();
        run_alone(b, &v);
        ns[i] = clock_monotonic_ns() - began;
    }
    printf("\"cpu_ns\": %llu, ",
           (unsigned long long)((clock_process_cpu_ns() - cpu) / count));
    print_samples("wall_ns", ns, count);
}

/* ---- guests ---- */

static int hear_denial(void *context, const struct run_denial *d)
{
    fail("denied: %s %s", d->operation, d->resource);
}

static int hear_log(void *context, uint32_t level, struct ambit_bytes topic,
                    struct ambit_bytes message)
{
    return 0;
}

/* Rules for a folder at "/" and standard streams, or for neither (10,000 guests have no 40,000 descriptors),
 * and the real clock. */
static void set_grants(struct bench *b, const char *folder, char **args, size_t arg_count)
{
    struct error e = ERROR_INIT;
    CLEANUP(grant_set_freep) struct grant_set *set = NULL;
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(1 << 16);
    buf_printf(&yaml, "version: 1\n"
                      "limits: {memory: 1GiB, cpu: 24h, wall: 24h, hostcalls: 1000000000000, "
                      "output: 1GiB}\n"
                      "grants:\n");
    if (folder)
        buf_printf(&yaml, "  - {fs: /, from: {dir: %s}, allow: ro}\n", folder);
    buf_printf(&yaml, "  - {clock: real}\n  - {random: real}\n  - {args: given}\n"
                      "  - {stdio: [stdin, stdout, stderr]}\n");
    if (grant_set_parse("bench", "/", buf_cstr(&yaml), yaml.size, &set, &e) < 0 ||
        grant_rules_new(set, "/", &b->rules, &e) < 0 ||
        loop_init(&b->loop, -1, NULL, NULL, &e) < 0)
        fail("%s", e.what);
    b->folder = folder;
    b->start = (struct run_start){ .args = args,
                                   .arg_count = arg_count,
                                   .program_args = (uint32_t)arg_count,
                                   .cwd = (char *)"/" };
}

static int open_or_fail(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        fail("%s cannot be opened", path);
    return fd;
}

static struct guest *start_guest(struct bench *b)
{
    struct error e = ERROR_INIT;
    struct guest *g = NULL;
    int mount = b->folder ? open_or_fail(b->folder, O_RDONLY | O_DIRECTORY) : -1;
    struct guest_config config = {
        .rules = b->rules,
        .start = &b->start,
        .stdio = { b->folder ? open_or_fail("/dev/null", O_RDONLY) : -1,
                   b->folder ? open_or_fail("/dev/null", O_WRONLY) : -1,
                   b->folder ? open_or_fail("/dev/null", O_WRONLY) : -1 },
        .mount_fds = &mount,
        .report = { .context = b, .denial = hear_denial, .log = hear_log },
    };
    if (guest_new(&b->loop, &config, &g, &e) < 0 ||
        guest_start(g, b->component, GRANT_UNSET, &e) < 0)
        fail("%s", e.what);
    return g;
}

static void run_guest(struct bench *b)
{
    struct error e = ERROR_INIT;
    struct guest *g = start_guest(b);
    if (loop_run(&b->loop, &e) < 0)
        fail("%s", e.what);
    if (g->done.end != RUN_END_EXIT || g->done.status != 0)
        fail("the guest failed: end %u, status %d: %s", g->done.end, g->done.status,
             g->message ? g->message : "");
    guest_free(g);
}

static void guests(struct bench *b, size_t count)
{
    uint64_t *ns = samples(count);
    for (size_t i = 0; i < count / 10 + WARM; i++)
        run_guest(b);
    uint64_t cpu = clock_process_cpu_ns();
    for (size_t i = 0; i < count; i++) {
        uint64_t began = clock_monotonic_ns();
        run_guest(b);
        ns[i] = clock_monotonic_ns() - began;
    }
    printf("\"cpu_ns\": %llu, ",
           (unsigned long long)((clock_process_cpu_ns() - cpu) / count));
    print_samples("wall_ns", ns, count);
}

/* Nanoseconds of one call, as the guest sees it; five guests. */
static void calls(struct bench *b, size_t count)
{
    enum { ROUNDS = 5 };
    uint64_t *wall = samples(ROUNDS), *cpu = samples(ROUNDS);
    run_guest(b);
    for (size_t i = 0; i < ROUNDS; i++) {
        uint64_t cpu_began = clock_thread_cpu_ns(), began = clock_monotonic_ns();
        run_guest(b);
        wall[i] = (clock_monotonic_ns() - began) * 1000 / count;
        cpu[i] = (clock_thread_cpu_ns() - cpu_began) * 1000 / count;
    }
    print_samples("wall_ps", wall, ROUNDS);
    printf(", ");
    print_samples("cpu_ps", cpu, ROUNDS);
}

/* ---- parked ---- */

struct footprint {
    size_t resident_kib, mappings;
};

static struct footprint look(void)
{
    struct footprint f = { 0 };
    char line[512];
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof(line), status))
        if (!strncmp(line, "VmRSS:", 6))
            f.resident_kib = strtoul(line + 6, NULL, 10);
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        f.mappings += strchr(line, '\n') != NULL;
    if (!status || !maps)
        fail("/proc/self cannot be read");
    fclose(status);
    fclose(maps);
    return f;
}

/* One turn of every guest that has one: after it the new guest waits. */
static void let_it_park(struct bench *b)
{
    for (struct guest *g; (g = b->loop.queue_first) != NULL;) {
        loop_dequeue(&b->loop, g);
        guest_turn(g);
    }
}

/* One core instance, table and memory each: as many as a process can have mappings for. */
static void parked(struct bench *b, const char *code, size_t count)
{
    struct ambit_engine_config config = {
        .instances = (uint32_t)count + 1,
        .memory_max_bytes = 64u << 20,
        .table_elements_max = 1024,
        .core_instances_max = 1,
        .ticker = true,
        .epoch_us = EPOCH_US,
    };
    make_engine(b, &config);
    load(b, code);
    set_grants(b, NULL, NULL, 0);
    size_t tenth = MAX(count / 10, (size_t)1);
    uint64_t *ns = samples(count), *first = samples(tenth), *last = samples(tenth);
    struct footprint before = look();
    for (size_t i = 0; i < count; i++) {
        uint64_t began = clock_monotonic_ns();
        struct guest *g = start_guest(b);
        let_it_park(b);
        ns[i] = clock_monotonic_ns() - began;
        if (g->finished || !g->operations)
            fail("guest %zu does not wait: %s", i, g->message ? g->message : "");
    }
    struct footprint after = look();
    memcpy(first, ns, tenth * sizeof(*first));
    memcpy(last, ns + count - tenth, tenth * sizeof(*last));
    printf("\"parked\": %zu, \"resident_bytes_each\": %zu, \"mappings_each\": %.2f, ", count,
           (after.resident_kib - before.resident_kib) * 1024 / count,
           (double)(after.mappings - before.mappings) / (double)count);
    print_samples("start_ns", ns, count);
    printf(", ");
    print_samples("first_tenth_ns", first, tenth);
    printf(", ");
    print_samples("last_tenth_ns", last, tenth);
}

/* ---- decisions ---- */

static struct grant_rules *rules_of(size_t count)
{
    struct error e = ERROR_INIT;
    CLEANUP(grant_set_freep) struct grant_set *set = NULL;
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(1 << 20);
    struct grant_rules *rules = NULL;
    buf_printf(&yaml, "version: 1\ngrants:\n");
    for (size_t i = 0; i < count; i++)
        buf_printf(&yaml,
                   "  - {fs: /work, from: {dir: /srv}, allow: [read], "
                   "paths: [\"part%zu/src/**/*.c\"]}\n",
                   i);
    if (grant_set_parse("bench", "/", buf_cstr(&yaml), yaml.size, &set, &e) < 0 ||
        grant_rules_new(set, "/", &rules, &e) < 0)
        fail("%s", e.what);
    return rules;
}

/* The path that only the last grant covers. */
static void decide(size_t most)
{
    enum { ROUNDS = 200, EACH = 200 };
    uint64_t *ps = samples(ROUNDS);
    const char *between = "";
    printf("\"decide\": [");
    for (size_t count = 1; count <= most; count *= 10) {
        struct grant_rules *rules = rules_of(count);
        char path[64];
        snprintf(path, sizeof(path), "part%zu/src/engine/host/files.c", count - 1);
        for (size_t i = 0; i < ROUNDS; i++) {
            uint64_t began = clock_monotonic_ns();
            for (size_t k = 0; k < EACH; k++)
                if (grant_decide_fs(rules, 0, path, strlen(path), FS_READ).reason !=
                    GRANT_ALLOWED)
                    fail("%s is not allowed", path);
            ps[i] = (clock_monotonic_ns() - began) * 1000 / EACH;
        }
        printf("%s{\"grants\": %zu, ", between, count);
        print_samples("wall_ps", ps, ROUNDS);
        printf("}");
        between = ", ";
        grant_rules_free(rules);
    }
    printf("]");
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    const char *command = argc > 1 ? argv[1] : "";
    printf("{\"engine\": \"%s\", \"ambit\": \"%s\", ", ambit_engine_version(), AMBIT_VERSION);
    if (!strcmp(command, "compile") && argc == 4) {
        compile(argv[2], argv[3]);
    } else if (!strcmp(command, "instantiate") && argc == 4) {
        open_bench(&b, argv[2]);
        instantiate(&b, number(argv[3]));
    } else if (!strcmp(command, "guest") && argc >= 5) {
        open_bench(&b, argv[2]);
        set_grants(&b, argv[4], argv + 5, (size_t)argc - 5);
        guests(&b, number(argv[3]));
    } else if (!strcmp(command, "calls") && argc == 5) {
        open_bench(&b, argv[2]);
        set_grants(&b, argv[4], NULL, 0);
        calls(&b, number(argv[3]));
    } else if (!strcmp(command, "parked") && argc == 4) {
        parked(&b, argv[2], number(argv[3]));
    } else if (!strcmp(command, "decide") && argc == 3) {
        decide(number(argv[2]));
    } else {
        fail("see the top of bench/ambit_bench.c");
    }
    printf("}\n");
    return fflush(stdout) == 0 ? 0 : 1;
}
