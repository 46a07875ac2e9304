/* SPDX-License-Identifier: Apache-2.0 */
/* What keeper.c and keeper_vault.c share. Nobody else includes it. */
#pragma once

#include "control/decider.h"
#include "control/keeper.h"

struct admitted {
    struct admitted *next;
    uint64_t number;
    uint32_t life, rule;
    bool used;
};

/* What keeper said once of a secret that is not stored. It says so at its start, when nothing but the vault has
 * been in it; a keeper that was taken over later cannot make control run or read something else. */
struct pinned {
    struct pinned *next;
    char *name, *locator;
    uint32_t source;
};

/* Of `ambit secret`: one at a time. */
enum answer { ANSWER_NONE, ANSWER_WANTED, ANSWER_GIVEN, ANSWER_REFUSED };
struct question {
    enum answer answer;
    uint16_t kind;
    const char *name; /* TEST */
    struct vault_files *into;
    int (*each)(void *context, const struct keeper_item *i);
    void *context;
    char *text; /* TESTED */
    struct error refusal;
};

struct keeper {
    struct keeper_start start;
    struct keeper_observer observer;
    struct vault_files *vault; /* borrowed */
    int state_fd, change_fd, null_fd;
    char *ca;
    struct decider d;
    struct admitted *admitted;
    size_t admitted_count;
    struct pinned *pinned;
    struct question question;

    bool was_ready;
    struct error source_error;
};

void keeper_wait_a_while(struct keeper *k); /* for a frame, or until keeper_turn() is wanted */
