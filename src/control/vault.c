/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See vault.h. A change takes the lock for as long as it lasts, which is as long as keeper works: what a person types
 * is there before. A reader takes it only while it opens: it keeps the file it opened, which a change replaces and
 * never writes into. So a long run does not keep a person from rotating a secret.
 */
#include "control/vault.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "control/source.h"
#include "control/state.h"
#include "wire/keeper.h"

#define NAME "vault"
#define EPOCH_TEXT_MAX 32
#define LEFTOVER ".tmp-"

enum key_kind { KEY_FILE, KEY_COMMAND, KEY_CREDENTIAL, KEY_PASSPHRASE };
static const char *const key_kinds[] = KEEPER_KEY_KINDS;

struct vault_files {
    char *folder;
    int dir_fd, lock_fd;
    int fd; /* the vault as it was; -1: there is none */
    enum key_kind kind;
    char *key; /* path, command, path of the credential; NULL */
    int key_fd, asked_fd;
    bool
        keeps; /* the pipe with what was typed or printed, asked_fd, from which others are copied */
    char *epoch_folder, *epoch_name;
    uint64_t epoch;
    bool fresh; /* nothing was sealed with this key yet: a passphrase is typed twice */
};

static int no_memory(struct error *e)
{
    return error_set(e, -ENOMEM, "no memory for the vault's files");
}

void vault_close(struct vault_files *v)
{
    if (v == NULL)
        return;
    fd_close(v->key_fd);
    fd_close(v->asked_fd);
    fd_close(v->fd);
    fd_close(v->dir_fd);
    fd_close(v->lock_fd);
    mem_free(v->folder);
    mem_free(v->key);
    mem_free(v->epoch_folder);
    mem_free(v->epoch_name);
    mem_free(v);
}

/* ---- which key ---- */

static int key_credential(struct vault_files *v, const char *name, struct error *e)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
        return error_set(e, -EINVAL, "the vault's key: `%s` is not the name of a credential", name);
    if (folder == NULL || folder[0] != '/') {
        error_hint(e, "start ambit as a service with LoadCredential=%s:…", name);
        return error_set(e, -ENOENT, "the vault's key: systemd gave this process no credentials");
    }
    v->kind = KEY_CREDENTIAL;
    v->key = mem_printf("%s/%s", folder, name);
    return v->key ? 0 : no_memory(e);
}

static int key_default(struct vault_files *v, struct error *e)
{
    CLEANUP(mem_freep) char *folder = NULL;
    int status = state_config_path(&folder, e);
    if (status < 0)
        return status;
    v->kind = KEY_FILE;
    v->key = mem_printf("%s/vault.key", folder);
    return v->key ? 0 : no_memory(e);
}

static int key_file(struct vault_files *v, const char *path, struct error *e)
{
    v->kind = KEY_FILE;
    if (path[0] == '/') {
        v->key = mem_strdup(path);
    } else {
        char place[4096];
        if (path[0] == '\0' || getcwd(place, sizeof(place)) == NULL)
            return error_set(e, -EINVAL, "the vault's key: `file:%s` names no file", path);
        v->key = mem_printf("%s/%s", place, path);
    }
    return v->key ? 0 : no_memory(e);
}

static int key_choose(struct vault_files *v, const char *text, struct error *e)
{
    if (text == NULL)
        text = getenv("AMBIT_VAULT_KEY");
    if (text == NULL || text[0] == '\0')
        return key_default(v, e);
    if (strncmp(text, "file:", 5) == 0)
        return key_file(v, text + 5, e);
    if (strncmp(text, "credential:", 11) == 0)
        return key_credential(v, text + 11, e);
    if (strcmp(text, "passphrase") == 0) {
        v->kind = KEY_PASSPHRASE;
        return 0;
    }
    if (strncmp(text, "command:", 8) == 0 && text[8] != '\0') {
        v->kind = KEY_COMMAND;
        v->key = mem_strdup(text + 8);
        return v->key ? 0 : no_memory(e);
    }
    error_hint(e, "write file:PATH, passphrase, credential:NAME or command:LINE");
    return error_set(e, -EINVAL, "the vault's key does not come from `%.60s`", text);
}

/* ---- the epoch ---- */

/* One for each state folder: keys may be shared. */
static int epoch_place(struct vault_files *v, struct error *e)
{
    struct digest digest;
    char text[DIGEST_TEXT_SIZE];
    int status = digest_bytes(v->folder, strlen(v->folder), &digest, e);
    if (status < 0)
        return status;
    digest_text(&digest, text);
    const char *hex = strchr(text, ':') ? strchr(text, ':') + 1 : text;
    v->epoch_name = mem_printf("vault-%.16s.epoch", hex);
    if (v->epoch_name == NULL)
        return no_memory(e);
    if (v->kind != KEY_FILE)
        return state_config_path(&v->epoch_folder, e);
    v->epoch_folder = mem_strdup(v->key);
    if (v->epoch_folder == NULL)
        return no_memory(e);
    char *slash = strrchr(v->epoch_folder, '/');
    slash[slash == v->epoch_folder] = '\0';
    return 0;
}

/* Who can write it can have an older vault believed, or none. */
static int check_mine(int fd, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "cannot look at it");
    if (S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0)
        return 0;
    return error_set(e, -EPERM, "others can write it, or it is no file of yours");
}

static int epoch_parse(const char *text, uint64_t *ret, struct error *e)
{
    char *end = NULL;
    errno = 0;
    unsigned long long epoch = text[0] >= '1' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (epoch == 0 || errno != 0 || strcmp(end, "\n") != 0)
        return error_set(e, -EBADMSG, "it holds no number");
    *ret = epoch;
    return 0;
}

static int epoch_read(struct vault_files *v, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(EPOCH_TEXT_MAX);
    size_t link = 0;
    CLEANUP(fd_closep) int dir = file_open_dir_unlinked(v->epoch_folder, &link);
    v->epoch = 0;
    if (dir < 0)
        return 0; /* no folder, no epoch */
    CLEANUP(fd_closep)
    int fd = openat(dir, v->epoch_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int status = fd < 0 ? error_set_errno(e, errno, "cannot open it") : check_mine(fd, e);
    if (status == 0)
        status = file_read_fd(fd, &text, e);
    if (status == 0)
        status = epoch_parse(buf_cstr(&text), &v->epoch, e);
    if (status < 0) {
        error_prefix(e, "%s/%s", v->epoch_folder, v->epoch_name);
        error_hint(e, "it says which vault is the newest; put it back, or remove it to believe the "
                      "vault as it is");
    }
    return status;
}

static int epoch_write(struct vault_files *v, uint64_t epoch, struct error *e)
{
    char text[EPOCH_TEXT_MAX];
    CLEANUP(fd_closep) int dir = -1;
    size_t link = 0;
    int size = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)epoch);
    dir = file_open_dir_unlinked(v->epoch_folder, &link);
    if (dir == -ENOENT) {
        int status = file_make_private_dir(v->epoch_folder, &dir, e);
        if (status < 0)
            return status;
    }
    if (dir < 0)
        return error_set_errno(e, -dir, "%s cannot be opened", v->epoch_folder);
    int status = file_write_atomic(dir, v->epoch_name, text, (size_t)size, 0600, e);
    if (status < 0)
        return status;
    v->epoch = epoch;
    return fsync(dir) < 0 ? error_set_errno(e, errno, "%s", v->epoch_folder) : 0;
}

/* ---- the folder ---- */

static int lock(struct vault_files *v, int how, struct error *e)
{
    v->lock_fd = openat(v->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (v->lock_fd < 0) {
        error_hint(e, "it is an empty file: remove what is there, %s/lock", v->folder);
        return error_set_errno(e, errno, "the vault's lock in %s cannot be opened", v->folder);
    }
    while (flock(v->lock_fd, how) < 0) {
        if (errno != EINTR)
            return error_set_errno(e, errno, "the vault in %s cannot be locked", v->folder);
    }
    return 0;
}

/* What somebody who was killed left behind; the lock is held. */
static void sweep(int dir_fd)
{
    int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (d == NULL) {
        fd_close(copy);
        return;
    }
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (strncmp(entry->d_name, LEFTOVER, strlen(LEFTOVER)) == 0)
            (void)unlinkat(dir_fd, entry->d_name, 0);
    }
    (void)closedir(d);
}

static int open_vault(struct vault_files *v, struct error *e)
{
    fd_closep(&v->fd);
    v->fd = openat(v->dir_fd, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (v->fd < 0 && errno == ENOENT)
        return 0;
    if (v->fd < 0 || fstat(v->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_hint(e, "what is there was not made by ambit: put the vault back, or remove it");
        return error_set_errno(e, v->fd < 0 ? errno : EINVAL,
                               "the vault %s/" NAME " cannot be opened", v->folder);
    }
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        error_hint(e, "it must be a file of yours: chmod 600 %s/" NAME, v->folder);
        return error_set(e, -EPERM, "the vault %s/" NAME " is open to others", v->folder);
    }
    return 0;
}

static int no_vault(const struct vault_files *v, struct error *e)
{
    error_hint(e, "put the secret there: ambit secret set NAME < FILE");
    return error_set(e, -ENOENT, "there is no vault in %s", v->folder);
}

static int open_folder(struct vault_files *v, struct error *e)
{
    CLEANUP(mem_freep) char *state = NULL;
    int status = state_path(&state, e);
    if (status < 0)
        return status;
    v->folder = mem_printf("%s/vault", state);
    if (v->folder == NULL)
        return no_memory(e);
    return state_open("vault", &v->dir_fd, e);
}

/* ---- a new key file ---- */

static int key_folder(const char *path, int *ret_fd, const char **ret_name, struct error *e)
{
    CLEANUP(mem_freep) char *folder = mem_strdup(path);
    size_t link = 0;
    if (folder == NULL)
        return no_memory(e);
    char *slash = strrchr(folder, '/');
    *ret_name = path + (slash + 1 - folder);
    slash[slash == folder] = '\0';
    *ret_fd = file_open_dir_unlinked(folder, &link);
    if (*ret_fd == -ENOENT)
        return file_make_private_dir(folder, ret_fd, e);
    if (*ret_fd < 0)
        return error_set_errno(e, -*ret_fd, "%s cannot be opened", folder);
    return 0;
}

/* Whole or not at all, and never over one that somebody else made meanwhile. */
static int make_key(const char *path, struct error *e)
{
    uint8_t key[VAULT_KEY_SIZE];
    CLEANUP(fd_closep) int dir = -1;
    const char *name = NULL;
    char temporary[sizeof(LEFTOVER) + 16];
    int status = key_folder(path, &dir, &name, e);
    if (status < 0 || faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return status;
    if (random_bytes(key, sizeof(key)) < 0)
        return error_set(e, -EIO, "no random bytes for the vault's key");
    (void)snprintf(temporary, sizeof(temporary), LEFTOVER "%02x%02x%02x%02x%04x", key[0], key[1],
                   key[2], key[3], (unsigned)getpid() & 0xffff);
    if (random_bytes(key, sizeof(key)) < 0)
        return error_set(e, -EIO, "no random bytes for the vault's key");
    CLEANUP(fd_closep)
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(e, errno, "the vault's key cannot be written to %s", path);
    status = file_write_fd(fd, key, sizeof(key), e);
    mem_wipe(key, sizeof(key));
    if (status == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
        status = error_set_errno(e, errno, "the vault's key cannot be written to %s", path);
    if (status == 0 && linkat(dir, temporary, dir, name, 0) < 0 && errno != EEXIST)
        status = error_set_errno(e, errno, "the vault's key cannot be written to %s", path);
    (void)unlinkat(dir, temporary, 0);
    (void)fsync(dir);
    return status;
}

/* ---- what the key is read from ---- */

static int key_get(struct vault_files *v, int *ret_fd, struct error *e)
{
    static const char what[] = "the vault's key";
    int status = 0;
    switch (v->kind) {
    case KEY_FILE:
        status = source_file(what, v->key, SOURCE_MINE, ret_fd, e);
        if (status == -ENOENT)
            error_hint(e, "a vault opens with the key that sealed it: put that file back, or say "
                          "where it is with --vault-key or AMBIT_VAULT_KEY");
        break;
    case KEY_CREDENTIAL:
        status = source_file(what, v->key, SOURCE_MINE_OR_ROOTS, ret_fd, e);
        break;
    case KEY_COMMAND:
        status = source_command(what, v->key, ret_fd, e);
        break;
    case KEY_PASSPHRASE:
        status =
            source_ask(v->fresh ? "New passphrase of the vault: " : "Passphrase of the vault: ",
                       v->fresh ? "The same again: " : NULL, ret_fd, e);
        if (status < 0)
            error_prefix(e, "%s", what);
        break;
    }
    return status;
}

static bool is_asked(const struct vault_files *v)
{
    return v->kind == KEY_COMMAND || v->kind == KEY_PASSPHRASE;
}

static int ask_ahead(struct vault_files *v, struct error *e)
{
    return is_asked(v) && v->asked_fd < 0 ? key_get(v, &v->asked_fd, e) : 0;
}

/* ---- opening ---- */

static struct vault_files *files_new(void)
{
    struct vault_files *v = mem_zalloc(sizeof(*v));
    if (v != NULL)
        v->dir_fd = v->lock_fd = v->fd = v->key_fd = v->asked_fd = -1;
    return v;
}

/* What is there now: the lock is held. */
static int open_current(struct vault_files *v, enum vault_want want, struct error *e)
{
    int status = open_vault(v, e);
    if (status == 0 && v->fd >= 0)
        status = epoch_read(v, e);
    if (status == 0 && v->fd < 0 && want != VAULT_MAKE)
        status = no_vault(v, e);
    return status;
}

/* Nobody else can change it while somebody thinks about a passphrase, so it is asked for before the lock. */
static int lock_to_change(struct vault_files *v, enum vault_want want, struct error *e)
{
    bool was_fresh = v->fresh;
    int status = ask_ahead(v, e);
    if (status == 0)
        status = lock(v, LOCK_EX, e);
    if (status < 0)
        return status;
    sweep(v->dir_fd);
    status = open_current(v, want, e);
    v->fresh = v->fd < 0;
    if (status == 0 && v->fresh && !was_fresh) {
        error_hint(e, "see what became of it, then say it again");
        status = error_set(e, -ENOENT, "the vault in %s was removed meanwhile", v->folder);
    }
    if (status == 0 && v->fresh && v->kind == KEY_FILE)
        status = make_key(v->key, e);
    return status;
}

static int open_all(struct vault_files *v, const char *key, enum vault_want want, struct error *e)
{
    int status = open_folder(v, e);
    v->keeps = want != VAULT_READ;
    if (status == 0)
        status = key_choose(v, key, e);
    if (status == 0)
        status = epoch_place(v, e);
    if (status == 0)
        status = lock(v, LOCK_SH, e);
    if (status == 0)
        status = open_current(v, want, e);
    fd_closep(&v->lock_fd);
    v->fresh = v->fd < 0;
    return status == 0 && want >= VAULT_CHANGE ? lock_to_change(v, want, e) : status;
}

int vault_change(struct vault_files *v, struct error *e)
{
    return lock_to_change(v, VAULT_CHANGE, e);
}

int vault_open(const char *key, enum vault_want want, struct vault_files **ret, struct error *e)
{
    struct vault_files *v = files_new();
    if (v == NULL)
        return no_memory(e);
    int status = open_all(v, key, want, e);
    if (status < 0) {
        vault_close(v);
        return status;
    }
    *ret = v;
    return 0;
}

int vault_open_rekey(struct vault_files *of, const char *key, struct vault_files **ret,
                     struct error *e)
{
    struct vault_files *v = files_new();
    if (v == NULL)
        return no_memory(e);
    v->fresh = v->keeps = true;
    v->folder = mem_strdup(of->folder);
    v->dir_fd = fcntl(of->dir_fd, F_DUPFD_CLOEXEC, 3);
    int status = v->folder == NULL ? no_memory(e)
                 : v->dir_fd < 0   ? error_set_errno(e, errno, "the vault's folder")
                                   : key_choose(v, key, e);
    if (status == 0)
        status = epoch_place(v, e);
    if (status == 0 && v->kind == KEY_FILE)
        status = make_key(v->key, e);
    if (status == 0)
        status = ask_ahead(v, e);
    if (status < 0) {
        vault_close(v);
        return status;
    }
    *ret = v;
    return 0;
}

bool vault_exists(const struct vault_files *v)
{
    return v->fd >= 0;
}

const char *vault_folder(const struct vault_files *v)
{
    return v->folder;
}

const char *vault_key_kind(const struct vault_files *v)
{
    return key_kinds[v->kind];
}

const char *vault_key_place(const struct vault_files *v)
{
    return is_asked(v) ? NULL : v->key;
}

uint64_t vault_epoch(const struct vault_files *v)
{
    return v->epoch;
}

int vault_fd(struct vault_files *v, struct error *e)
{
    if (v->fd < 0) { /* empty */
        v->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return v->fd < 0 ? error_set_errno(e, errno, "/dev/null") : v->fd;
    }
    if (lseek(v->fd, 0, SEEK_SET) < 0 && errno != ESPIPE)
        return error_set_errno(e, errno, "the vault cannot be read");
    return v->fd;
}

int vault_key_fd(struct vault_files *v, struct error *e)
{
    fd_closep(&v->key_fd);
    int status = v->asked_fd < 0 ? key_get(v, &v->key_fd, e) : 0;
    if (status == 0 && v->keeps && is_asked(v)) {
        if (v->asked_fd < 0)
            v->asked_fd = fd_take(&v->key_fd);
        status = source_pipe_copy(v->asked_fd, &v->key_fd, e);
    }
    return status < 0 ? status : v->key_fd;
}

int vault_replace(struct vault_files *v, int fd, uint32_t size, uint64_t epoch, struct error *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(VAULT_SIZE_MAX);
    uint8_t chunk[16384];
    if (size == 0 || size > VAULT_SIZE_MAX)
        return error_set(e, -EPROTO, "keeper made a vault of a size that cannot be");
    while (bytes.size < size) {
        size_t want = MIN((size_t)size - bytes.size, sizeof(chunk));
        ssize_t got = pread(fd, chunk, want, (off_t)bytes.size);
        if (got <= 0)
            return error_set_errno(e, got < 0 ? errno : EIO, "the new vault cannot be read");
        buf_append(&bytes, chunk, (size_t)got);
        if (buf_status(&bytes) < 0)
            return no_memory(e);
    }
    int status = file_write_atomic(v->dir_fd, NAME, bytes.data, bytes.size, 0600, e);
    if (status == 0 && fsync(v->dir_fd) < 0)
        status = error_set_errno(e, errno, "%s", v->folder);
    if (status == 0)
        status = epoch_write(v, epoch, e);
    if (status == 0)
        status = open_vault(v, e);
    v->fresh = v->fresh && status < 0;
    return status;
}

/* ---- values that are not stored ---- */

int vault_source(const char *name, uint32_t source, const char *locator, int *ret_fd,
                 struct error *e)
{
    CLEANUP(mem_freep) char *what = mem_printf("the secret %s", name);
    if (what == NULL)
        return no_memory(e);
    switch ((enum secret_source)source) {
    case SECRET_FILE:
        return source_file(what, locator, SOURCE_MINE, ret_fd, e);
    case SECRET_ENVIRONMENT:
        return source_variable(what, locator, ret_fd, e);
    case SECRET_COMMAND:
        return source_command(what, locator, ret_fd, e);
    case SECRET_STORED:
    case SECRET_SOURCE_COUNT:
        break;
    }
    return error_set(e, -EPROTO, "keeper wants a value from nowhere");
}
