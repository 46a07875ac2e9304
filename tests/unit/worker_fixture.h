/* SPDX-License-Identifier: Apache-2.0 */
/* A guest with grants, streams and a loop, and somebody who listens to what it reports: for the
 * worker's unit tests. */
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/stub_engine.h"
#include "tests/unit/test.h"
#include "worker/host/host.h"

#define HEARD_MAX 8

struct fixture {
    struct loop loop;
    struct run_start start;
    struct grant_rules *rules;
    uint64_t expires_ns;
    struct guest *guest;
    const struct ambit_host_vtbl *v;
    /* what was reported */
    unsigned denials, logs;
    char operations[HEARD_MAX][64], resources[HEARD_MAX][64], yaml[HEARD_MAX][512];
    char last_log[256];
    uint32_t last_level;
};

/* The next guest is a template for those that answer requests. */
__attribute__((unused)) static bool fixture_serves;

__attribute__((unused)) static int hear_denial(void *context, const struct run_denial *d)
{
    struct fixture *f = context;
    if (f->denials < HEARD_MAX) {
        snprintf(f->operations[f->denials], sizeof(f->operations[0]), "%s", d->operation);
        snprintf(f->resources[f->denials], sizeof(f->resources[0]), "%s", d->resource);
        snprintf(f->yaml[f->denials], sizeof(f->yaml[0]), "%s", d->grant_yaml);
    }
    f->denials++;
    return 0;
}

__attribute__((unused)) static int hear_log(void *context, uint32_t level, struct ambit_bytes topic,
                                            struct ambit_bytes message)
{
    struct fixture *f = context;
    f->logs++;
    f->last_level = level;
    snprintf(f->last_log, sizeof(f->last_log), "%.*s: %.*s", (int)topic.size,
             (const char *)topic.data, (int)message.size, (const char *)message.data);
    return 0;
}

__attribute__((unused)) static struct ambit_bytes bytes(const char *text)
{
    return (struct ambit_bytes){ (const uint8_t *)text, strlen(text) };
}

/* `grants`: YAML of the whole file after "version: 1". Descriptors are taken; -1 = none. 0 or < 0,
 * which frees all. */
__attribute__((unused)) static int fixture_try(struct fixture *f, const char *grants, int in,
                                               int out, int err)
{
    char text[2048];
    struct grant_set *set = NULL;
    int mount_fds[8];
    memset(mount_fds, -1, sizeof(mount_fds));
    *f = (struct fixture){ .v = &host_vtbl, .loop = { .epoll = -1, .timer_fd = -1 } };
    static char *args[] = { (char *)"program", (char *)"script", (char *)"one", (char *)"two" };
    f->start = (struct run_start){
        .args = args, .arg_count = 4, .program_args = 2, .cwd = (char *)"/work"
    };
    snprintf(text, sizeof(text), "version: 1\n%s", grants);
    struct guest_config config = {
        .start = &f->start,
        .stdio = { in, out, err },
        .mount_fds = mount_fds,
        .report = { .context = f, .denial = hear_denial, .log = hear_log },
        .serves = fixture_serves,
    };
    int status = grant_set_parse("test", "/", text, strlen(text), &set, NULL);
    if (status == 0)
        status = grant_rules_new(set, "/nowhere", &f->rules, NULL);
    if (status == 0) {
        f->expires_ns = set->expires_ns;
        status = loop_init(&f->loop, -1, NULL, NULL, NULL);
    }
    grant_set_free(set);
    config.rules = f->rules;
    if (status == 0) {
        status = guest_new(&f->loop, &config, &f->guest, NULL);
    } else {
        for (int i = 0; i < 3; i++)
            fd_close(config.stdio[i]);
    }
    return status;
}

__attribute__((unused)) static void fixture_close(struct fixture *f)
{
    guest_free(f->guest);
    loop_done(&f->loop);
    grant_rules_free(f->rules);
}

__attribute__((unused)) static void fixture_open_with(struct fixture *f, const char *grants, int in,
                                                      int out, int err)
{
    struct error e = ERROR_INIT;
    struct grant_set *set = NULL;
    char text[2048];
    snprintf(text, sizeof(text), "version: 1\n%s", grants);
    if (grant_set_parse("test", "/", text, strlen(text), &set, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what); /* the test's own mistake, told in words */
    grant_set_free(set);
    CHECK_EQ(fixture_try(f, grants, in, out, err), 0);
}

__attribute__((unused)) static void fixture_open(struct fixture *f, const char *grants)
{
    fixture_open_with(f, grants, -1, -1, -1);
}

__attribute__((unused)) static void
fixture_run(struct fixture *f, enum ambit_poll (*guest)(struct ambit_task *), void *test)
{
    struct error e = ERROR_INIT;
    stub_guest = guest;
    stub_guest_test = test;
    CHECK_EQ(guest_start(f->guest, NULL, f->expires_ns, &e), 0);
    CHECK_EQ(loop_run(&f->loop, &e), 0);
    CHECK(f->guest->finished);
    CHECK_EQ(f->loop.operation_count, 0);
    CHECK_EQ(f->loop.heap_count, 0);
}
