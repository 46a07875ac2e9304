/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command. A room's main runs before anything else looks at the command line: the same binary
 * plays every room, and a room reads neither flags nor environment.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "compiler/compiler.h"
#include "egress/egress.h"
#include "ingress/ingress.h"
#include "keeper/keeper.h"
#include "room/spawn.h"
#include "worker/worker.h"

static const room_main rooms[ROOM_ROLE_COUNT] = {
    [ROOM_WORKER] = worker_room_main, [ROOM_COMPILER] = compiler_room_main,
    [ROOM_EGRESS] = egress_room_main, [ROOM_INGRESS] = ingress_room_main,
    [ROOM_KEEPER] = keeper_room_main,
};

static int unknown_verb(const char *word)
{
    struct error e = ERROR_INIT;
    const char *names[64];
    size_t count;
    const struct help_verb *verbs = help_verbs(&count);

    count = MIN(count, ARRAY_SIZE(names));
    for (size_t i = 0; i < count; i++)
        names[i] = verbs[i].name;
    const char *near = cli_nearest(word, names, count);
    error_set(&e, -EINVAL, "there is no verb \"%s\"", word);
    if (near != NULL)
        error_hint(&e, "did you mean: ambit %s? (all verbs: ambit help)", near);
    else if (strchr(word, '.') != NULL || strchr(word, '/') != NULL)
        error_hint(&e, "to run a file: ambit run %s", word);
    else
        error_hint(&e, "all verbs: ambit help");
    return cli_fail(NULL, CLI_USAGE, &e, "ambit %s: this command line is not understood", word);
}

static int overview(enum cli_exit code)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 20);
    help_put_overview(&out);
    int r = cli_put(&out);
    return r != CLI_OK ? r : (int)code;
}

/* A caller may have closed 0, 1 or 2: without this the next file we open would become a standard
 * stream. */
static bool standard_streams_open(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_NOCTTY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    fd_close(fd);
    return fd >= 0;
}

int main(int argc, char **argv)
{
    int r = room_dispatch(argc, argv, rooms);
    if (r != 0)
        return r;
    if (!standard_streams_open())
        return CLI_INTERNAL;
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write */
    if (argc < 2)
        return overview(CLI_USAGE);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
        help_put_version(&out);
        return cli_put(&out);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return overview(CLI_OK);
    const struct help_verb *v = help_verb_find(argv[1]);
    if (v == NULL)
        return unknown_verb(argv[1]);
    return v->main(argc - 1, argv + 1);
}
