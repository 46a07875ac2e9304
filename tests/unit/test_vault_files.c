/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the vault, and what keys and values are read from: who may read them, what a crash leaves, what a
 * command may do. What is in a vault is keeper's (test_keeper_vault.c).
 */
#include "test.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "control/source.h"
#include "control/vault.h"
#include "wire/keeper.h"

static char home[64];

/* A state folder and a configuration folder of its own for each test. */
static void place(void)
{
    (void)snprintf(home, sizeof(home), "/tmp/ambit-vault-XXXXXX");
    CHECK(mkdtemp(home) != NULL);
    CLEANUP(mem_freep) char *state = mem_printf("%s/state", home);
    CLEANUP(mem_freep) char *config = mem_printf("%s/config", home);
    CHECK_EQ(setenv("AMBIT_STATE_DIR", state, 1), 0);
    CHECK_EQ(setenv("XDG_CONFIG_HOME", config, 1), 0);
    CHECK_EQ(unsetenv("AMBIT_VAULT_KEY"), 0);
    CHECK_EQ(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static char *path(const char *rest)
{
    char *p = mem_printf("%s/%s", home, rest);
    CHECK(p != NULL);
    return p;
}

static void clear(void)
{
    CLEANUP(mem_freep) char *command = mem_printf("rm -rf '%s'", home);
    CHECK_EQ(system(command), 0);
}

static void put(const char *name, const char *text, unsigned mode)
{
    CLEANUP(mem_freep) char *at = path(name);
    CLEANUP(fd_closep) int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(file_write_fd(fd, text, strlen(text), NULL), 0);
    CHECK_EQ(fchmod(fd, mode), 0);
}

static void holds(int fd, const char *text)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(1 << 20);
    CHECK_EQ(file_read_fd(fd, &got, NULL), 0);
    CHECK_STR(buf_cstr(&got), text);
}

static void replace(struct vault_files *v, const char *text, uint64_t epoch)
{
    CLEANUP(fd_closep) int fd = file_memfd("new", text, strlen(text), false, NULL);
    CHECK(fd >= 0);
    CHECK_EQ(vault_replace(v, fd, (uint32_t)strlen(text), epoch, NULL), 0);
}

static unsigned mode_of(const char *name)
{
    CLEANUP(mem_freep) char *at = path(name);
    struct stat st;
    CHECK_EQ(stat(at, &st), 0);
    return st.st_mode & 07777;
}

TEST(made_read_replaced)
{
    struct vault_files *v = NULL;
    struct error e = ERROR_INIT;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, &e), -ENOENT);
    CHECK(strstr(e.hint, "ambit secret set") != NULL);
    CHECK_EQ(vault_open(NULL, VAULT_CHANGE, &v, NULL), -ENOENT);
    CLEANUP(mem_freep) char *key = path("config/ambit/vault.key");
    CHECK(access(key, F_OK) < 0); /* looking makes no key */

    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    CHECK(!vault_exists(v));
    CHECK_EQ(vault_epoch(v), 0);
    CHECK_STR(vault_key_kind(v), "file");
    holds(vault_fd(v, NULL), "");
    struct stat st;
    CHECK_EQ(fstat(vault_key_fd(v, NULL), &st), 0);
    CHECK_EQ(st.st_size, VAULT_KEY_SIZE);
    CHECK_EQ(mode_of("config/ambit/vault.key"), 0600);
    CHECK_EQ(mode_of("state/vault"), 0700);
    replace(v, "first", 1);
    vault_close(v);
    CHECK_EQ(mode_of("state/vault/vault"), 0600);

    /* A reader keeps what it opened, and holds nobody up. */
    struct vault_files *reader = NULL;
    CHECK_EQ(vault_open(NULL, VAULT_READ, &reader, NULL), 0);
    CHECK_EQ(vault_open(NULL, VAULT_CHANGE, &v, NULL), 0);
    CHECK_EQ(vault_epoch(v), 1);
    replace(v, "second", 2);
    holds(vault_fd(v, NULL), "second");
    vault_close(v);
    holds(vault_fd(reader, NULL), "first");
    holds(vault_fd(reader, NULL), "first");
    CHECK_EQ(vault_epoch(reader), 1);
    vault_close(reader);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &reader, NULL), 0);
    CHECK_EQ(vault_epoch(reader), 2);
    vault_close(reader);
    clear();
}

TEST(one_change_at_a_time)
{
    struct vault_files *v = NULL;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    CLEANUP(mem_freep) char *lock = path("state/vault/lock");
    CLEANUP(fd_closep) int fd = open(lock, O_RDWR | O_CLOEXEC);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), -1);
    replace(v, "x", 1);
    vault_close(v);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_EQ(flock(fd, LOCK_UN), 0);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), 0);
    CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
    vault_close(v);
    clear();
}

TEST(leftovers_go_and_the_vault_stays)
{
    struct vault_files *v = NULL;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "old", 1);
    vault_close(v);
    put("state/vault/.tmp-0123456789abcdef", "half", 0600); /* somebody was killed */
    CHECK_EQ(vault_open(NULL, VAULT_CHANGE, &v, NULL), 0);
    CLEANUP(mem_freep) char *left = path("state/vault/.tmp-0123456789abcdef");
    CHECK(access(left, F_OK) < 0);
    holds(vault_fd(v, NULL), "old");
    vault_close(v);
    clear();
}

/* Each is refused; the same with mode 0600 is taken. */
TEST(files_that_others_can_read)
{
    struct error e = ERROR_INIT;
    int fd = -1;
    place();
    put("s", "a value of sixteen", 0640);
    CLEANUP(mem_freep) char *at = path("s");
    CHECK_EQ(vault_source("tok", SECRET_FILE, at, &fd, &e), -EPERM);
    CHECK(strstr(e.what, "the secret tok: others can read") != NULL);
    CHECK(strncmp(e.hint, "chmod 600 ", 10) == 0);
    CHECK_EQ(chmod(at, 0604), 0);
    CHECK_EQ(vault_source("tok", SECRET_FILE, at, &fd, NULL), -EPERM);
    CHECK_EQ(chmod(at, 0620), 0);
    CHECK_EQ(vault_source("tok", SECRET_FILE, at, &fd, NULL), -EPERM);
    CHECK_EQ(chmod(at, 0600), 0);
    CHECK_EQ(vault_source("tok", SECRET_FILE, at, &fd, NULL), 0);
    holds(fd, "a value of sixteen");
    fd_closep(&fd);

    CLEANUP(mem_freep) char *link = path("link");
    CHECK_EQ(symlink(at, link), 0);
    CHECK_EQ(vault_source("tok", SECRET_FILE, link, &fd, NULL), -EPERM);
    CLEANUP(mem_freep) char *fifo = path("fifo");
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    CHECK_EQ(vault_source("tok", SECRET_FILE, fifo, &fd, NULL), -EPERM);
    CHECK_EQ(vault_source("tok", SECRET_FILE, home, &fd, NULL), -EPERM);
    CHECK_EQ(vault_source("tok", SECRET_FILE, "relative", &fd, NULL), -EINVAL);
    CLEANUP(mem_freep) char *gone = path("gone");
    CHECK_EQ(vault_source("tok", SECRET_FILE, gone, &fd, NULL), -ENOENT);
    if (geteuid() == 0) {
        CHECK_EQ(chown(at, 12345, 12345), 0);
        CHECK_EQ(vault_source("tok", SECRET_FILE, at, &fd, NULL), -EPERM);
    }
    clear();
}

TEST(keys_that_others_can_read)
{
    struct vault_files *v = NULL;
    struct error e = ERROR_INIT;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "x", 1);
    vault_close(v);
    CLEANUP(mem_freep) char *key = path("config/ambit/vault.key");
    CHECK_EQ(chmod(key, 0644), 0);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), 0);
    CHECK_EQ(vault_key_fd(v, &e), -EPERM);
    CHECK(strncmp(e.hint, "chmod 600 ", 10) == 0);
    CHECK_EQ(chmod(key, 0600), 0);
    CHECK(vault_key_fd(v, NULL) >= 0);
    /* A key that is gone is not made anew: it would open nothing. */
    CHECK_EQ(unlink(key), 0);
    error_clear(&e);
    CHECK_EQ(vault_key_fd(v, &e), -ENOENT);
    CHECK(e.hint[0] != '\0');
    vault_close(v);
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    CHECK_EQ(vault_key_fd(v, NULL), -ENOENT);
    vault_close(v);
    clear();
}

TEST(vault_that_others_can_read)
{
    struct vault_files *v = NULL;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "x", 1);
    vault_close(v);
    CLEANUP(mem_freep) char *vault = path("state/vault/vault");
    CHECK_EQ(chmod(vault, 0660), 0);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), -EPERM);
    CHECK_EQ(chmod(vault, 0600), 0);
    CLEANUP(mem_freep) char *moved = path("moved");
    CHECK_EQ(rename(vault, moved), 0);
    CHECK_EQ(symlink(moved, vault), 0);
    CHECK(vault_open(NULL, VAULT_READ, &v, NULL) < 0);
    clear();
}

TEST(key_sources)
{
    static const char *const wrong[] = { "env:KEY",      "file",
                                         "command:",     "credential:../x",
                                         "passphrase:x", "0123456789abcdef0123456789abcdef" };
    struct vault_files *v = NULL;
    struct error e = ERROR_INIT;
    place();
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        error_clear(&e);
        CHECK_EQ(vault_open(wrong[i], VAULT_MAKE, &v, &e), -EINVAL);
    }
    CHECK_EQ(vault_open("credential:key", VAULT_MAKE, &v, NULL), -ENOENT);

    CHECK_EQ(setenv("AMBIT_VAULT_KEY", "command:printf 'a key'; printf 'told' >&2", 1), 0);
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    CHECK_STR(vault_key_kind(v), "command");
    holds(vault_key_fd(v, NULL), "a key");
    vault_close(v);

    put("key", "a credential", 0440);
    CHECK_EQ(setenv("CREDENTIALS_DIRECTORY", home, 1), 0);
    CHECK_EQ(vault_open("credential:key", VAULT_MAKE, &v, NULL), 0); /* a flag is stronger */
    CHECK_STR(vault_key_kind(v), "credential");
    if (geteuid() == 0)
        holds(vault_key_fd(v, NULL), "a credential");
    else
        CHECK_EQ(vault_key_fd(v, NULL), -EPERM);
    CLEANUP(mem_freep) char *at = path("key");
    CHECK_EQ(chmod(at, 0444), 0);
    CHECK_EQ(vault_key_fd(v, NULL), -EPERM);
    vault_close(v);
    clear();
}

/* A vault of another state folder has its own number, though the key is the same. */
TEST(an_epoch_for_each_state_folder)
{
    struct vault_files *v = NULL;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "x", 7);
    vault_close(v);
    CLEANUP(mem_freep) char *other = path("other");
    CHECK_EQ(setenv("AMBIT_STATE_DIR", other, 1), 0);
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    CHECK_EQ(vault_epoch(v), 0);
    replace(v, "y", 1);
    CHECK_EQ(vault_epoch(v), 1);
    vault_close(v);
    clear();
}

/* The file that says which vault is the newest: whoever can write it has an older one believed. */
TEST(epochs_of_others)
{
    static const char *const wrong[] = { "",        "0\n",    "-1\n",
                                         "+7\n",    " 7\n",   "7",
                                         "7 \n",    "7\nx",   "0x7\n",
                                         "seven\n", "7.0\n",  "07\n",
                                         "\n",      "7\n7\n", "99999999999999999999999999\n" };
    struct vault_files *v = NULL;
    struct error e = ERROR_INIT;
    glob_t found = { 0 };
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "x", 7);
    vault_close(v);
    CLEANUP(mem_freep) char *pattern = path("config/ambit/*.epoch");
    CHECK_EQ(glob(pattern, 0, NULL, &found), 0);
    CHECK_EQ(found.gl_pathc, 1);
    const char *at = found.gl_pathv[0], *name = at + strlen(home) + 1;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        put(name, wrong[i], 0600);
        CHECK_EQ(vault_open(NULL, VAULT_READ, &v, &e), -EBADMSG);
        CHECK(e.hint[0] != '\0');
        error_clear(&e);
    }
    put(name, "7\n", 0620);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, &e), -EPERM);
    CHECK(strstr(e.what, at) != NULL && e.hint[0] != '\0');
    put(name, "7\n", 0602);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), -EPERM);
    put(name, "7\n", 0644); /* it is no secret */
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), 0);
    CHECK_EQ(vault_epoch(v), 7);
    vault_close(v);
    if (geteuid() == 0) {
        CHECK_EQ(chown(at, 12345, 12345), 0);
        CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), -EPERM);
    }
    CHECK_EQ(unlink(at), 0);
    CHECK_EQ(mkfifo(at, 0600), 0);
    CHECK_EQ(vault_open(NULL, VAULT_READ, &v, NULL), -EPERM); /* and waits for nobody */
    globfree(&found);
    clear();
}

TEST(another_key)
{
    struct vault_files *v = NULL, *new_files = NULL;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "x", 1);
    CLEANUP(mem_freep) char *key = mem_printf("file:%s/keys/second", home);
    CHECK_EQ(vault_open_rekey(v, key, &new_files, NULL), 0);
    CHECK(vault_key_fd(new_files, NULL) >= 0);
    CHECK_EQ(mode_of("keys/second"), 0600);
    replace(new_files, "y", 2);
    vault_close(new_files);
    vault_close(v);
    CHECK_EQ(vault_open(key, VAULT_READ, &v, NULL), 0);
    CHECK_EQ(vault_epoch(v), 2);
    holds(vault_fd(v, NULL), "y");
    vault_close(v);
    clear();
}

/* Whoever looks holds nobody up, however long it takes; what is changed then is what is there then. */
TEST(a_look_then_a_change)
{
    struct vault_files *v = NULL, *other = NULL;
    place();
    CLEANUP(mem_freep)
    char *key = mem_printf("command:cd '%s'; echo x >> asked; printf the-key", home);
    CHECK_EQ(vault_open(key, VAULT_MAKE, &v, NULL), 0);
    replace(v, "first", 1);
    vault_close(v);
    CHECK_EQ(vault_open(key, VAULT_LOOK, &v, NULL), 0);
    holds(vault_key_fd(v, NULL), "the-key");
    holds(vault_fd(v, NULL), "first");
    CHECK_EQ(vault_open(key, VAULT_CHANGE, &other, NULL), 0); /* waits for nobody */
    holds(vault_key_fd(other, NULL), "the-key");
    replace(other, "second", 2);
    vault_close(other);
    CHECK_EQ(vault_change(v, NULL), 0);
    CHECK_EQ(vault_epoch(v), 2);
    holds(vault_fd(v, NULL), "second");
    holds(vault_key_fd(v, NULL), "the-key");
    holds(vault_key_fd(v, NULL), "the-key"); /* as often as it is wanted */
    vault_close(v);
    CLEANUP(buf_done) struct buf asked = BUF_INIT(64);
    CLEANUP(mem_freep) char *at = path("asked");
    CHECK_EQ(file_read(at, &asked, NULL), 0);
    CHECK_STR(buf_cstr(&asked), "x\nx\nx\n"); /* made, changed, looked and changed */

    struct error e = ERROR_INIT;
    CLEANUP(mem_freep) char *file = path("state/vault/vault");
    CHECK_EQ(vault_open(NULL, VAULT_LOOK, &v, NULL), 0);
    CHECK_EQ(unlink(file), 0);
    CHECK_EQ(vault_change(v, &e), -ENOENT);
    CHECK(e.hint[0] != '\0');
    vault_close(v);
    clear();
}

TEST(variables_and_commands)
{
    struct error e = ERROR_INIT;
    int fd = -1;
    place();
    CHECK_EQ(setenv("OPERATORS", "value of the operator's", 1), 0);
    CHECK_EQ(vault_source("tok", SECRET_ENVIRONMENT, "OPERATORS", &fd, NULL), 0);
    holds(fd, "value of the operator's");
    fd_closep(&fd);
    CHECK_EQ(vault_source("tok", SECRET_ENVIRONMENT, "NOT_SET", &fd, &e), -ENOENT);
    CHECK(strstr(e.what, "NOT_SET") != NULL && e.hint[0] != '\0');

    CHECK_EQ(vault_source("tok", SECRET_COMMAND, "cat; echo some; echo 'more of it'", &fd, NULL),
             0);
    holds(fd, "some\nmore of it\n"); /* keeper judges it */
    fd_closep(&fd);
    error_clear(&e);
    CHECK_EQ(vault_source("tok", SECRET_COMMAND, "echo tell-nobody; exit 3", &fd, &e), -EACCES);
    CHECK(strstr(e.what, "exit code 3") != NULL && strstr(e.what, "tell-nobody") == NULL);
    CHECK_EQ(vault_source("tok", SECRET_COMMAND, "kill -9 $$", &fd, NULL), -EACCES);
    CHECK_EQ(vault_source("tok", SECRET_COMMAND, "yes", &fd, NULL), -EFBIG); /* ends nowhere */
    CHECK_EQ(vault_source("tok", SECRET_STORED, "", &fd, NULL), -EPROTO);
    CHECK_EQ(vault_source("tok", 99, "", &fd, NULL), -EPROTO);
    CHECK_EQ(fd, -1);
    clear();
}

/* What the command left running is ended with it: the pipe it holds would never end. */
TEST(a_command_leaves_nothing_behind)
{
    int fd = -1;
    place();
    CHECK_EQ(vault_source("tok", SECRET_COMMAND, "sleep 1000 & echo value", &fd, NULL), 0);
    holds(fd, "value\n"); /* to its end: nobody has it open */
    fd_closep(&fd);
    /* Nor one who left the group, who would have keeper wait for ever. */
    CLEANUP(mem_freep)
    char *line = mem_printf("cd '%s'; setsid sh -c 'echo $$ > new; mv new pid; exec sleep 1000' & "
                            "while [ ! -e pid ]; do :; done; echo value",
                            home);
    CHECK_EQ(vault_source("tok", SECRET_COMMAND, line, &fd, NULL), 0);
    holds(fd, "value\n");
    CLEANUP(mem_freep) char *at = path("pid");
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    CHECK_EQ(file_read(at, &text, NULL), 0);
    CHECK_EQ(kill((pid_t)atol(buf_cstr(&text)), SIGKILL), 0); /* it was there all the time */
    fd_closep(&fd);
    clear();
}

TEST(pipes_are_bounded)
{
    CLEANUP(mem_freep) char *bytes = mem_zalloc(SOURCE_SIZE_MAX + 1);
    CLEANUP(fd_closep) int fd = -1;
    CHECK_EQ(source_pipe(bytes, SOURCE_SIZE_MAX + 1, &fd, NULL), -EFBIG);
    CHECK_EQ(source_pipe(bytes, SOURCE_SIZE_MAX, &fd, NULL), 0); /* without a reader */
}

static int open_once(void)
{
    struct vault_files *v = NULL;
    int status = vault_open(NULL, VAULT_CHANGE, &v, NULL);
    if (status == 0 && vault_key_fd(v, NULL) < 0)
        status = -ENOMEM;
    vault_close(v);
    return status;
}

TEST(vault_torture)
{
    struct vault_files *v = NULL;
    place();
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &v, NULL), 0);
    replace(v, "x", 1);
    vault_close(v);
    TORTURE(open_once());
    clear();
}

TEST_MAIN()
