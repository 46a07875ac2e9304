/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `ambit doctor` share: rows that are printed as text or as JSON. */
#pragma once

#include "cli/cli.h"

enum doctor_state { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_MISSING };
struct doctor_row {
    const char *group, *name;
    enum doctor_state state;
    char *value;        /* what is so */
    const char *stops;  /* a layer: what it stops, or what its lack means */
    const char *remedy; /* when not OK */
    char *remedy_text;  /* the same, made for this machine; or NULL */
    json_t *rooms;      /* an attempt: what came of it in each room; or NULL */
};
struct doctor {
    struct doctor_row rows[128];
    size_t count;
    bool required_missing;
    uint32_t missing_layers; /* enum jail_layer; doctor_look_at_jail() */
};
void doctor_add(struct doctor *d, struct doctor_row row);

/* doctor_jail.c: what restricts user namespaces; */
void doctor_look_at_switches(struct doctor *d);
/* each layer is tried, then each attempt in each room's jail. */
void doctor_look_at_jail(struct doctor *d);
/* doctor_vault.c: is there one, where is its key, does it open. */
void doctor_look_at_vault(struct doctor *d);
#ifdef AMBIT_TEST_HOOKS
bool doctor_test_try(void); /* true: the test wanted one attempt, and it was made */
#endif
/* Prints the table of layers and system calls as Markdown: what docs/jails.md holds. */
int doctor_print_table(void);
