/* SPDX-License-Identifier: Apache-2.0 */
/* What keeper.c and keeper_vault.c share. Nobody else includes it. */
#pragma once

#include "control/keeper.h"
#include "control/restart.h"

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_OVER };

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
    struct grant_set *grants;
    size_t rule_count, rule_max;
    bool *revoked;
    bool all_revoked;
    struct admitted *admitted;
    size_t admitted_count;
    struct pinned *pinned;
    struct question question;

    struct room room;
    bool alive, ready, was_ready, fault;
    struct frame_gate gate;
    struct error fault_text, source_error;
    struct restart restart;
    unsigned deaths;
};

int keeper_send(struct keeper *k, uint16_t kind, const struct buf *payload, const int *fds,
                size_t fd_count, struct error *e) MUST_CHECK;
/* The room may have died a moment ago: keeper_turn() sees to that. */
int keeper_unless_dead(int status, struct error *e) MUST_CHECK;
void keeper_wait_a_while(struct keeper *k); /* for a frame, or until keeper_turn() is wanted */
