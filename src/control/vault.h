/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the vault and its key lie. Control opens the files and hands descriptors to keeper; it never
 * holds a key or a value.
 *
 *     $STATE/vault/vault        sealed records, 0600, replaced whole (keeper made the bytes)
 *     vault-….epoch             the number of the newest vault, so that an older one that was put back is seen:
 *                               beside a key file, else in $XDG_CONFIG_HOME/ambit; one for each state folder
 *
 * The key comes from --vault-key or AMBIT_VAULT_KEY, never from a project's files:
 *     file:PATH        32 bytes, or their base64; yours and 0600 at most, not through a symbolic link
 *     passphrase       asked on the controlling terminal, without echo
 *     credential:NAME  a systemd credential ($CREDENTIALS_DIRECTORY/NAME)
 *     command:LINE     /bin/sh -c LINE; the first line of its output, base64
 *     nothing          file:$XDG_CONFIG_HOME/ambit/vault.key, made by the first `ambit secret set`
 */
#pragma once

#include "base/error.h"

struct vault_files;

enum vault_want {
    VAULT_READ,
    VAULT_LOOK,   /* to read, and perhaps to change afterwards: vault_change() */
    VAULT_CHANGE, /* the one that is there */
    VAULT_MAKE    /* the folder, the key file and an empty vault where there is none */
};
/* -ENOENT with a hint when there is no vault (but for VAULT_MAKE). `key` may be NULL: AMBIT_VAULT_KEY, or the default.
 * To read, the vault is as it was now, whatever is set meanwhile; to change it, nobody else can while this lives.
 * What a person types, or a command prints, is there before anybody else has to wait. */
int vault_open(const char *key, enum vault_want want, struct vault_files **ret,
               struct error *e) MUST_CHECK;
/* From now on nobody else can change it; it is what it is now, whoever changed it since it was opened. A passphrase
 * is not asked again, a command not run again. */
int vault_change(struct vault_files *v, struct error *e) MUST_CHECK;
void vault_close(struct vault_files *v);
static inline void vault_closep(struct vault_files **v)
{
    vault_close(*v);
}
/* The files of a vault that is open, with another key, which is asked for now, and made where a key file is named that
 * is not there. Borrows `of`, which must live longer. */
int vault_open_rekey(struct vault_files *of, const char *key, struct vault_files **ret,
                     struct error *e) MUST_CHECK;
/* Is there a vault (or, to be changed, was there one when it was opened)? */
bool vault_exists(const struct vault_files *v);
/* Its folder, for a person. */
const char *vault_folder(const struct vault_files *v);
/* Descriptors to hand over, borrowed; positions at the start. */
int vault_fd(struct vault_files *v, struct error *e) MUST_CHECK;
/* Runs the command, asks, …: once, unless it is to be read only. */
int vault_key_fd(struct vault_files *v, struct error *e) MUST_CHECK;
const char *vault_key_kind(const struct vault_files *v);  /* for struct keeper_start */
const char *vault_key_place(const struct vault_files *v); /* path of a file or credential; NULL */
uint64_t vault_epoch(const struct vault_files *v);
/* Writes the whole new vault from a memfd, then its epoch: in this order, so that a crash between leaves a vault that opens. */
int vault_replace(struct vault_files *v, int fd, uint32_t size, uint64_t epoch,
                  struct error *e) MUST_CHECK;
/* The value of a secret that is not stored: a descriptor to hand over. -EPERM: others can read the file, it is not yours … */
int vault_source(const char *name, uint32_t source, const char *locator, int *ret_fd,
                 struct error *e) MUST_CHECK;
