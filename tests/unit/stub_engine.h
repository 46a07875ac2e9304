/* SPDX-License-Identifier: Apache-2.0 */
/* The stub engine's controls: a test writes its guest as a C function. See stub_engine.c. */
#pragma once

#include "ambit_engine.h"

struct ambit_task {
    const struct ambit_host_vtbl *vtbl;
    void *host;
    struct ambit_task_config config;
    struct ambit_result result; /* what ambit_task_result gives */
    unsigned polls, completed;  /* polls so far; operations completed so far */
    uint64_t completed_ids[16]; /* the first of them */
    void *test;                 /* the test's own */
    bool is_request; /* made by ambit_task_new_request: its exchange, and a copy of its head */
    uint32_t exchange;
    char method[16], target[256];
};

/* The guest: called for each poll. NULL: it writes "stub\n" to stdout and exits with 0. */
extern enum ambit_poll (*stub_guest)(struct ambit_task *t);
extern void *stub_guest_test; /* the next task's `test` */
extern bool stub_no_task;     /* ambit_task_new and _new_request answer NULL */
extern bool stub_serves;      /* components export wasi:http/incoming-handler */
