/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit doctor` on the vault: is there one, where does its key come from, is that a file that only
 * its owner reads, and does it open. That is tried as `ambit secret ls` does it, in a keeper room;
 * names and values are not told. What a person would type, or a command would print, is not asked for; and nobody who
 * wants to know what is missing here has said that the vault may be opened without it.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/doctor.h"
#include "control/keeper.h"
#include "control/source.h"
#include "control/state.h"
#include "control/vault.h"

static void add(struct doctor *d, const char *name, enum doctor_state state, char *value,
                const char *hint)
{
    doctor_add(d, (struct doctor_row){ .group = "vault",
                                       .name = name,
                                       .state = state,
                                       .value = value,
                                       .remedy_text = hint && *hint ? mem_strdup(hint) : NULL });
}

static void add_error(struct doctor *d, const char *name, const struct error *e)
{
    add(d, name, DOCTOR_NOTE, mem_strdup(e->what), e->hint);
}

/* Only looked at: to open it would be to make its folder. */
static bool is_there(struct doctor *d)
{
    CLEANUP(mem_freep) char *state = NULL;
    struct error e = ERROR_INIT;
    struct stat st;
    if (state_path(&state, &e) < 0)
        return false; /* the state folder's row says why */
    CLEANUP(mem_freep) char *path = mem_printf("%s/vault/vault", state);
    if (path && (lstat(path, &st) == 0 || errno != ENOENT))
        return true;
    add(d, "vault", DOCTOR_OK, mem_printf("none in %s/vault", state), NULL);
    return false;
}

/* Can it be had without a person or a command? */
static bool look_at_key(struct doctor *d, const struct vault_files *v)
{
    const char *kind = vault_key_kind(v), *place = vault_key_place(v);
    struct error e = ERROR_INIT;
    CLEANUP(fd_closep) int fd = -1;
    bool credential = strcmp(kind, "credential") == 0;
    if (!credential && strcmp(kind, "file") != 0) {
        /* A command line may hold what is nobody's business. */
        add(d, "key", DOCTOR_OK, mem_printf("%s: it is not asked for here", kind), NULL);
        return false;
    }
    struct stat st;
    if (source_file("the vault's key", place, credential ? SOURCE_MINE_OR_ROOTS : SOURCE_MINE, &fd,
                    &e) < 0 ||
        fstat(fd, &st) < 0) {
        add_error(d, "key", &e);
        return false;
    }
    add(d, "key", DOCTOR_OK,
        mem_printf("%s %s, mode %03o", kind, place, (unsigned)st.st_mode & 0777), NULL);
    return true;
}

struct counts {
    size_t secrets, stored;
};

static int count_one(void *context, const struct keeper_item *i)
{
    struct counts *n = context;
    n->secrets++;
    n->stored += i->source == SECRET_STORED;
    return 0;
}

static void look_inside(struct doctor *d, struct vault_files *v)
{
    CLEANUP(keeper_freep) struct keeper *keeper = NULL;
    struct error e = ERROR_INIT;
    struct counts n = { 0 };
    const struct keeper_spec spec = { .vault = v };
    int status = keeper_start(&spec, &keeper, &e);
    if (status == 0)
        status = keeper_wait_ready(keeper, &e);
    if (status == 0)
        status = keeper_list(keeper, count_one, &n, &e);
    if (status < 0)
        add_error(d, "opens", &e);
    else
        add(d, "opens", DOCTOR_OK,
            mem_printf("%zu secret%s, %zu of them stored in it", n.secrets,
                       n.secrets == 1 ? "" : "s", n.stored),
            NULL);
}

void doctor_look_at_vault(struct doctor *d)
{
    CLEANUP(vault_closep) struct vault_files *v = NULL;
    struct error e = ERROR_INIT;
    if (!is_there(d))
        return;
    if (vault_open(NULL, VAULT_READ, &v, &e) < 0) {
        add_error(d, "vault", &e);
        return;
    }
    add(d, "vault", DOCTOR_OK,
        mem_printf("in %s, epoch %llu", vault_folder(v), (unsigned long long)vault_epoch(v)), NULL);
    if (!look_at_key(d, v))
        add(d, "opens", DOCTOR_NOTE, mem_strdup("not tried without its key"),
            "ambit secret ls opens it");
    else if (d->missing_layers)
        add(d, "opens", DOCTOR_NOTE, mem_strdup("not tried without layers of keeper's jail"),
            "ambit secret ls opens it, with --allow-missing-jail for each of them");
    else
        look_inside(d, v);
}
