/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control's side of the keeper room (src/keeper, docs/secrets.md): opens the vault and what its key is read from,
 * hands both over without looking, starts the room, fetches values that are not stored, connects the rooms
 * that may ask it, and starts it again when it dies.
 *
 *     keeper_start(&spec, &k, e)               spawned; works beside whatever comes next
 *     keeper_wait_ready(k, e)                  the vault is open, every secret of the grants is there
 *     keeper_client(k, kind, life, &fd, e)     a channel for egress or ingress; send fd there, close it
 *     loop: poll(keeper_fd(k), keeper_timeout_ms(k)); keeper_turn(k, e)
 *     keeper_admit(k, life, number, rule, e)   egress's intent is in the receipt
 *     keeper_ended(k, life, number)            its exchange is over
 *
 * A room that dies is started again after a pause that doubles (20 ms to 2 s), with the memory it left
 * (a memfd that control keeps and never reads: vault key, CA, what was suspended and counted), so that a
 * passphrase is asked once and a proxy's clients go on trusting its CA; `back` tells whoever has clients to make new ones.
 *
 * The room is not believed: its frames are bounded and typed by a gate.
 */
#pragma once

#include "control/vault.h"
#include "grant/grant.h"
#include "wire/keeper.h"

struct keeper;

/* All may be NULL but `back` where there are clients. < 0 is a fault that keeper_turn() forwards. */
struct keeper_observer {
    void *context;
    int (*back)(void *context,
                struct error *e); /* started again: make the clients' channels anew */
    int (*ready)(void *context, uint32_t missing, struct error *e);
    int (*used)(void *context, uint32_t life, uint64_t number, uint32_t rule, const char *name,
                struct error *e);
    int (*denied)(void *context, uint32_t life, uint64_t number, uint32_t rule, const char *name,
                  const char *why, struct error *e);
    int (*suspended)(void *context, const char *name, const char *why, struct error *e);
    int (*died)(void *context, const char *why, struct error *e);
};
struct keeper_spec {
    const struct grant_set *grants; /* NULL: none (ambit secret) */
    const char *work_host;
    struct vault_files *vault; /* borrowed; NULL: certificates only */
    bool new_vault;            /* make one where there is none */
    bool certificates;
    uint32_t more; /* grants that keeper_grant() may add */
    uint32_t allow_missing, test_skip;
    struct keeper_observer observer;
};
/* Is one needed: does a grant name a secret? */
bool keeper_needed(const struct grant_set *s);
int keeper_start(const struct keeper_spec *spec, struct keeper **ret, struct error *e) MUST_CHECK;
/* Until READY or its fault (wrong key, a damaged vault, a secret that is not there …), answering WANTs. */
int keeper_wait_ready(struct keeper *k, struct error *e) MUST_CHECK;
/* Of an error of the above: did keeper fail, or this machine? Else what it was given cannot be: a key, a vault, a secret. */
bool keeper_failed(const struct error *e);
void keeper_free(struct keeper *k);
static inline void keeper_freep(struct keeper **k)
{
    keeper_free(*k);
}
const char *keeper_ca(const struct keeper *k); /* PEM; "" = none */
int keeper_client(struct keeper *k, enum keeper_client kind, uint32_t life, int *ret_fd,
                  struct error *e) MUST_CHECK;
int keeper_fd(const struct keeper *k);         /* for POLLIN; -1 while it is dead */
int keeper_timeout_ms(const struct keeper *k); /* until keeper_turn() is wanted; -1 = for ever */
int keeper_turn(struct keeper *k, struct error *e) MUST_CHECK;
int keeper_admit(struct keeper *k, uint32_t life, uint64_t number, uint32_t rule,
                 struct error *e) MUST_CHECK;
void keeper_ended(struct keeper *k, uint32_t life, uint64_t number);
int keeper_grant(struct keeper *k, const struct grant_set *one, struct error *e) MUST_CHECK;
int keeper_revoke(struct keeper *k, uint32_t rule, struct error *e) MUST_CHECK;
int keeper_expires(struct keeper *k, uint64_t expires_ns, struct error *e) MUST_CHECK;
unsigned keeper_deaths(const struct keeper *k);

/* `ambit secret`: one request, its answer. A refusal (-EPERM, -ENOENT, -EINVAL …) is in `e` with its hint, and nothing
 * has changed. `value_fd` -1: none. What changes the vault has written it when these return. */
int keeper_set(struct keeper *k, const struct keeper_item *item, int value_fd,
               struct error *e) MUST_CHECK;
int keeper_remove(struct keeper *k, const char *name, struct error *e) MUST_CHECK;
int keeper_list(struct keeper *k, int (*each)(void *context, const struct keeper_item *i),
                void *context, struct error *e) MUST_CHECK;
int keeper_test(struct keeper *k, const char *name, char **ret_text, struct error *e) MUST_CHECK;
int keeper_rekey(struct keeper *k, struct vault_files *with_new_key, struct error *e) MUST_CHECK;
