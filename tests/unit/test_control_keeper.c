/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control/keeper.c beside a keeper that says what it likes: the test's own binary is the room, and the lines of
 * work_host are what it does. What control must not do for a keeper that was taken over, and what it does when
 * one dies.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "control/keeper.h"
#include "room/spawn.h"
#include "tests/unit/test.h"

/* ---- the room ---- */

static void say(struct channel *c, uint16_t kind, const struct buf *payload)
{
    if (channel_send(c, kind, payload->data, payload->size, NULL, 0, NULL) < 0)
        _exit(1);
}

static uint16_t hear(struct channel *c, struct buf *payload)
{
    struct frame frame;
    int *fds;
    size_t count;
    if (channel_receive(c, true, &frame, &fds, &count, NULL) != 1)
        _exit(0);
    buf_clear(payload);
    buf_append(payload, frame.payload, frame.size);
    return frame.kind;
}

static void release(struct buf *out, unsigned life, unsigned number, unsigned rule,
                    const char *name)
{
    buf_u32(out, life);
    buf_u64(out, number);
    buf_u32(out, rule);
    buf_string(out, name);
}

/* The first life dies of an admission, the second says that it used it. */
static void play_admitted(struct channel *c, char *memory)
{
    CLEANUP(buf_done) struct buf heard = BUF_INIT(FRAME_MAX), out = BUF_INIT(4096);
    while (hear(c, &heard) != KEEPER_ADMIT)
        ;
    if (memory[0]++ == 0)
        _exit(3);
    struct cursor at = cursor_of(heard.data, heard.size);
    unsigned life = cursor_u32(&at), number = (unsigned)cursor_u64(&at);
    release(&out, life, number, cursor_u32(&at), "tok");
    say(c, KEEPER_USED, &out);
}

static void play(struct channel *c, const char *line, char *memory)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(FRAME_MAX), heard = BUF_INIT(FRAME_MAX);
    char name[64] = "", rest[512] = "";
    unsigned a = 0, b = 0, d = 0;
    if (sscanf(line, "want %63s %u %511[^\n]", name, &a, rest) == 3) {
        buf_string(&out, name);
        buf_u32(&out, a);
        buf_string(&out, rest);
        say(c, KEEPER_WANT, &out);
        while (hear(c, &heard) != KEEPER_SOURCE)
            ;
    } else if (sscanf(line, "ready %u", &a) == 1) {
        buf_u32(&out, a);
        buf_string(&out, "");
        say(c, KEEPER_READY, &out);
    } else if (sscanf(line, "used %u %u %u %63s", &a, &b, &d, name) == 4) {
        release(&out, a, b, d, name);
        say(c, KEEPER_USED, &out);
    } else if (strcmp(line, "vault") == 0) {
        buf_u64(&out, 9);
        buf_u32(&out, 16);
        say(c, KEEPER_VAULT, &out);
    } else if (strcmp(line, "refused") == 0 || strcmp(line, "fault") == 0) {
        buf_string(&out, "what it says");
        buf_string(&out, "");
        say(c, line[0] == 'f' ? KEEPER_FAULT : KEEPER_REFUSED, &out);
    } else if (strcmp(line, "items end") == 0) {
        say(c, KEEPER_ITEMS_END, &out);
    } else if (sscanf(line, "kind %u", &a) == 1) {
        say(c, (uint16_t)a, &out);
    } else if (strcmp(line, "hear") == 0) {
        (void)hear(c, &heard);
    } else if (strcmp(line, "deaf") == 0) {
        while (memory[0]++ == 0) /* its first life */
            (void)pause();
    } else if (strcmp(line, "admitted") == 0) {
        play_admitted(c, memory);
    }
}

static int played(struct channel *c)
{
    struct frame frame;
    struct keeper_start start;
    int *fds;
    size_t count;
    if (channel_receive(c, true, &frame, &fds, &count, NULL) != 1 || frame.kind != KEEPER_START)
        return 1;
    struct cursor at = cursor_of(frame.payload, frame.size);
    if (keeper_start_get(&at, &start, NULL) < 0 || count < 3)
        return 1;
    char *memory = mmap(NULL, KEEPER_STATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0),
         *rest = NULL;
    if (memory == MAP_FAILED)
        return 1;
    for (char *l = strtok_r(start.work_host, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
        play(c, l, memory);
    CLEANUP(buf_done) struct buf heard = BUF_INIT(FRAME_MAX);
    for (;;)
        (void)hear(c, &heard);
}

/* ---- control ---- */

struct world {
    char home[64];
    struct vault_files *vault;
    struct grant_set *grants;
    struct keeper *keeper;
    struct error error;
    unsigned used, back, died;
    uint64_t number;
};

static int on_used(void *context, uint32_t life, uint64_t number, uint32_t rule, const char *name,
                   struct error *e)
{
    struct world *w = context;
    w->used++;
    w->number = number;
    return 0;
}

static int on_back(void *context, struct error *e)
{
    ((struct world *)context)->back++;
    return 0;
}

static int on_died(void *context, const char *why, struct error *e)
{
    ((struct world *)context)->died++;
    return 0;
}

static void open_world(struct world *w)
{
    static const char grants[] =
        "version: 1\ngrants:\n- http: https://a.test\n  set_headers: { x: \"${secret:tok}\" }\n";
    *w = (struct world){ 0 };
    memcpy(w->home, "/tmp/ambit-keeper-XXXXXX", 25);
    CHECK(mkdtemp(w->home) != NULL);
    CLEANUP(mem_freep) char *config = mem_printf("%s/config", w->home);
    CHECK_EQ(setenv("AMBIT_STATE_DIR", w->home, 1), 0);
    CHECK_EQ(setenv("XDG_CONFIG_HOME", config, 1), 0);
    CHECK_EQ(unsetenv("AMBIT_VAULT_KEY"), 0);
    CHECK_EQ(vault_open(NULL, VAULT_MAKE, &w->vault, NULL), 0);
    CLEANUP(fd_closep) int fd = file_memfd("v", "as it was", 9, false, NULL);
    CHECK_EQ(vault_replace(w->vault, fd, 9, 1, NULL), 0);
    CHECK_EQ(grant_set_parse("g", "/", grants, strlen(grants), &w->grants, NULL), 0);
}

static int start(struct world *w, bool with_grants, const char *lines)
{
    const struct keeper_spec spec = {
        .grants = with_grants ? w->grants : NULL,
        .work_host = lines,
        .vault = w->vault,
        .allow_missing = JAIL_NAMESPACES,
        .observer = { .context = w, .used = on_used, .back = on_back, .died = on_died },
    };
    CHECK_EQ(keeper_start(&spec, &w->keeper, NULL), 0);
    return keeper_wait_ready(w->keeper, &w->error);
}

/* Until something is counted, or control ends it. */
static int run_until(struct world *w, const unsigned *count, unsigned wanted)
{
    int status = 0;
    while (status == 0 && (count == NULL || *count < wanted)) {
        struct pollfd p = { .fd = keeper_fd(w->keeper), .events = POLLIN };
        (void)poll(&p, 1, keeper_timeout_ms(w->keeper));
        status = keeper_turn(w->keeper, &w->error);
    }
    return status;
}

/* How control ends it, before it is ready or after. */
static int ends(struct world *w, const char *lines)
{
    int status = start(w, true, lines);
    return status < 0 ? status : run_until(w, NULL, 0);
}

static void close_world(struct world *w)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    CHECK_EQ(file_read_fd(vault_fd(w->vault, NULL), &text, NULL), 0);
    CHECK_STR(buf_cstr(&text), "as it was"); /* nobody asked for another */
    keeper_free(w->keeper);
    vault_close(w->vault);
    grant_set_free(w->grants);
    CLEANUP(mem_freep) char *command = mem_printf("rm -rf '%s'", w->home);
    CHECK_EQ(system(command), 0);
}

/* With the same command again it is run again: so the file is there because it was refused. */
TEST(a_command_is_the_one_of_the_start)
{
    static const char *const others[] = { "want tok 3 touch %s/other", "want tok 1 %s/config",
                                          "want other 3 touch %s/other" };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        struct world w;
        struct stat st;
        open_world(&w);
        CLEANUP(mem_freep) char *other = NULL;
        CLEANUP(buf_done) struct buf lines = BUF_INIT(4096);
        buf_printf(&lines, "want tok 3 touch %s/first\nready 0\n", w.home);
        buf_printf(&lines, "want tok 3 touch %s/first\nused 1 1 0 tok\n", w.home);
        buf_append(&lines, others[i], strcspn(others[i], "%"));
        buf_printf(&lines, "%s%s\n", w.home, strchr(others[i], '%') + 2);
        CHECK_EQ(ends(&w, buf_cstr(&lines)), -EPROTO);
        CHECK_EQ(w.used, 1);
        CLEANUP(mem_freep) char *first = mem_printf("%s/first", w.home);
        other = mem_printf("%s/other", w.home);
        CHECK_EQ(stat(first, &st), 0);
        CHECK(stat(other, &st) < 0);
        close_world(&w);
    }
}

TEST(what_it_may_not_say)
{
    static const char *const before[] = { "ready 256",      "want TOK 3 true",   "want tok 0 x",
                                          "want tok 9 x",   "want other 2 HOME", "vault",
                                          "used 1 1 0 tok", "kind 160",          "kind 999" },
                             *const after[] = { "ready 0",
                                                "vault",
                                                "refused",
                                                "items end",
                                                "used 1 1 1 tok",
                                                "used 1 1 0 ../t",
                                                "used 1 1 0 another",
                                                "kind 161" };
    for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
        struct world w;
        open_world(&w);
        if (start(&w, true, before[i]) >= 0)
            test_fail(__FILE__, __LINE__, "`%s` was taken", before[i]);
        close_world(&w);
    }
    for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
        struct world w;
        CLEANUP(mem_freep) char *lines = mem_printf("ready 0\n%s\n", after[i]);
        open_world(&w);
        if (ends(&w, lines) >= 0)
            test_fail(__FILE__, __LINE__, "`%s` was taken", after[i]);
        close_world(&w);
    }
}

TEST(a_fault_has_three_lines)
{
    struct world w;
    open_world(&w);
    CHECK_EQ(start(&w, true, "fault"), -EKEYREJECTED);
    CHECK_STR(w.error.what, "what it says");
    CHECK_HAS(w.error.hint, "nothing was changed");
    close_world(&w);
}

/* Of a test only the secret that is tested; of a list nothing. */
TEST(secret_asks_for_nothing_else)
{
    struct world w;
    struct error e = ERROR_INIT;
    char *text = NULL;
    open_world(&w);
    CHECK_EQ(start(&w, false, "ready 0\nhear\nwant other 3 true"), 0);
    CHECK_EQ(keeper_test(w.keeper, "tok", &text, &e), -EPROTO);
    close_world(&w);
}

TEST(an_admission_outlives_its_keeper)
{
    struct world w;
    open_world(&w);
    CHECK_EQ(start(&w, true, "ready 0\nadmitted"), 0);
    CHECK_EQ(keeper_admit(w.keeper, 1, 7, 0, NULL), 0);
    CHECK_EQ(run_until(&w, &w.died, 1), 0);
    CHECK_EQ(keeper_fd(w.keeper), -1);
    int fd = -1;
    CHECK_EQ(keeper_client(w.keeper, KEEPER_CLIENT_EGRESS, 1, &fd, NULL), 0);
    CHECK_EQ(fd, -1); /* `back` brings it */
    CHECK_EQ(run_until(&w, &w.used, 1), 0);
    CHECK_EQ(w.number, 7);
    CHECK_EQ(w.back, 1);
    CHECK_EQ(keeper_deaths(w.keeper), 1);
    CHECK_EQ(keeper_client(w.keeper, KEEPER_CLIENT_EGRESS, 1, &fd, NULL), 0);
    CHECK(fd >= 0);
    fd_close(fd);
    keeper_ended(w.keeper, 1, 7);
    keeper_ended(w.keeper, 1, 7); /* once is enough */
    close_world(&w);
}

/* One that takes nothing any more (it was taken over, or hangs) does not have control wait for ever. */
TEST(a_keeper_that_hears_nothing_is_ended)
{
    struct world w;
    open_world(&w);
    CHECK_EQ(start(&w, true, "ready 0\ndeaf\nused 1 1 0 tok"), 0);
    for (uint64_t n = 1; n <= 20000; n++)
        CHECK_EQ(keeper_admit(w.keeper, 1, n, 0, NULL), 0);
    CHECK_EQ(run_until(&w, &w.died, 1), 0);
    CHECK_EQ(run_until(&w, &w.used, 1), 0);
    CHECK_EQ(w.back, 1);
    close_world(&w);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_KEEPER] = played };
    room_dispatch(argc, argv, rooms);
    signal(SIGPIPE, SIG_IGN);
    return test_main(argc, argv);
}
