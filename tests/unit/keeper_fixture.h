/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper room in its real jail; control, egress and an ingress room are the test. A room can be
 * killed and started again with the memory that it left.
 */
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "keeper/keeper.h"
#include "keeper/room.h"
#include "room/spawn.h"
#include "tests/unit/rooms.h"

#define PLAIN_VALUE "ghp_0123456789abcdefghij"
#define OTHER_VALUE "s3cret-of-another-service"
#define WAIT_MS 20000 /* for what must come; nothing is measured by it */

static const uint8_t fixture_key[VAULT_KEY_SIZE] = "the key of the vault of a test";

struct fixture {
    struct room room;
    struct keeper_start start;
    int vault_fd, state_fd, space_fd, key_fd; /* space -1: a run's keeper */
    struct channel *egress, *front;
    /* the last frame that came, from whomever */
    uint16_t kind;
    struct cursor payload;
    uint8_t bytes[FRAME_MAX];
};

static int fixture_memory(const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static int fixture_text(const void *bytes, size_t size)
{
    struct error e = ERROR_INIT;
    int fd = file_memfd("text", bytes, size, false, &e);
    CHECK(fd >= 0);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

__attribute__((unused)) static void fixture_add(struct vault *v, const char *name, uint32_t source,
                                                uint32_t kind, const char *locator,
                                                const char *settings, const char *value)
{
    struct vault_record r = { .item = { .name = mem_strdup(name),
                                        .source = source,
                                        .kind = kind,
                                        .locator = mem_strdup(locator),
                                        .settings = mem_strdup(settings),
                                        .made_s = 1,
                                        .changed_s = 1,
                                        .version = 1 } };
    struct error e = ERROR_INIT;
    CHECK_EQ(secret_copy(&r.value, value, strlen(value)), 0);
    CHECK_EQ(vault_add(v, &r, &e), 0);
}

#define OAUTH_SETTINGS "{\"client_id\":\"me\",\"token_url\":\"https://login.example.com/token\"}"

static void fixture_vault(struct fixture *f)
{
    struct vault v;
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(VAULT_SIZE_MAX);
    CHECK_EQ(vault_new(&v, &e), 0);
    memcpy(v.key, fixture_key, sizeof v.key);
    fixture_add(&v, "github-token", SECRET_STORED, SECRET_PLAIN, "", "{}", PLAIN_VALUE);
    fixture_add(&v, "other", SECRET_STORED, SECRET_PLAIN, "", "{}", OTHER_VALUE);
    fixture_add(&v, "fetched", SECRET_FILE, SECRET_PLAIN, "/run/secret", "{}", "");
    fixture_add(&v, "client", SECRET_STORED, SECRET_OAUTH_CLIENT, "", OAUTH_SETTINGS,
                "the-secret-of-a-client");
    CHECK_EQ(vault_seal(&v, &out, &e), 0);
    f->vault_fd = fixture_text(out.data, out.size);
    vault_done(&v);
}

#define GRANT(host, rest) \
    "{\"http\":\"https://" host "\",\"methods\":[\"GET\",\"POST\"],\"paths\":[\"/a/**\"]," rest "}"
#define BEARER(name) "\"set_headers\":{\"authorization\":\"Bearer ${secret:" name "}\"}"
/* 0: github-token, 1: no secret, 2: twice at most, 3: client, 4: a required header */
#define GRANTS                                                                                                                                 \
    "{\"version\":1,\"grants\":[" GRANT("api.example.com", BEARER("github-token")) "," GRANT(                                                  \
        "free.example.com",                                                                                                                    \
        "\"max_requests\":9") "," GRANT("two.example.com",                                                                                     \
                                        "\"max_requests\":2," BEARER(                                                                          \
                                            "github-token")) "," GRANT("minted.example.com",                                                   \
                                                                       BEARER(                                                                 \
                                                                           "client")) "," GRANT("*.wide.example.com",                          \
                                                                                                "\"require_headers\":{\"x-a\":\"b\"}," BEARER( \
                                                                                                    "other")) "]}"

static void fixture_defaults(struct fixture *f, const char *grants)
{
    *f = (struct fixture){ .space_fd = -1, .key_fd = -1, .vault_fd = -1 };
    f->start = (struct keeper_start){ .grants_json = mem_strdup(grants),
                                      .work_host = mem_strdup("/tmp"),
                                      .expires_ns = NEVER_NS,
                                      .key_kind = mem_strdup("file") };
    f->state_fd = fixture_memory("state", KEEPER_STATE_SIZE);
    fixture_vault(f);
}

/* ---- frames ---- */

static void fixture_send(struct channel *c, uint16_t kind, struct buf *payload, int fd)
{
    struct error e = ERROR_INIT;
    CHECK_EQ(buf_status(payload), 0);
    if (channel_send(c, kind, payload->data, payload->size, &fd, fd >= 0 ? 1 : 0, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    buf_done(payload);
}

/* The next frame; its kind, or 0: the other side has closed. */
static uint16_t fixture_next(struct fixture *f, struct channel *c)
{
    struct frame frame;
    struct error e = ERROR_INIT;
    int *fds;
    size_t fd_count;
    struct pollfd p = { .fd = channel_fd(c), .events = POLLIN };
    for (;;) {
        int status = channel_receive(c, false, &frame, &fds, &fd_count, &e);
        if (status < 0)
            return 0;
        if (status > 0)
            break;
        CHECK_EQ(poll(&p, 1, WAIT_MS), 1);
    }
    memcpy(f->bytes, frame.payload, frame.size);
    f->payload = cursor_of(f->bytes, frame.size);
    return f->kind = frame.kind;
}

/* A string of the last frame; good until the fourth one after it. */
static const char *fixture_string(struct fixture *f)
{
    static char texts[4][4096];
    static unsigned next;
    char *into = texts[next++ % 4];
    size_t size;
    const uint8_t *p = cursor_bytes(&f->payload, &size);
    CHECK(!f->payload.bad && size < sizeof texts[0]);
    memcpy(into, p, size);
    into[size] = '\0';
    return into;
}

/* Is nothing there? What was sent before is handled in its order: an answer to a later ask came. */
__attribute__((unused)) static bool fixture_is_quiet(struct channel *c)
{
    struct pollfd p = { .fd = channel_fd(c), .events = POLLIN };
    return poll(&p, 1, 0) == 0;
}

/* All that control said is handled. */
__attribute__((unused)) static void fixture_settle(struct fixture *f)
{
    struct buf none = BUF_INIT(64);
    fixture_send(f->room.channel, KEEPER_LIST, &none, -1);
    while (fixture_next(f, f->room.channel) != KEEPER_ITEMS_END)
        CHECK(f->kind != 0);
}

/* ---- lives ---- */

static void fixture_spawn(struct fixture *f)
{
    struct error e = ERROR_INIT;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    CLEANUP(fd_closep) int key = f->key_fd >= 0 ? dup(f->key_fd) : fixture_text(fixture_key, 32);
    if (room_spawn(ROOM_KEEPER, rooms_missing(), &f->room, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", e.what);
    CHECK_EQ(lseek(f->vault_fd, 0, SEEK_SET), 0);
    int fds[] = { f->vault_fd, key, f->state_fd, f->space_fd };
    f->start.allow_missing = rooms_missing();
    keeper_start_put(&payload, &f->start);
    CHECK_EQ(channel_send(f->room.channel, KEEPER_START, payload.data, payload.size, fds,
                          f->space_fd >= 0 ? 4 : 3, &e),
             0);
}

/* The answer to START: "" when it is READY, else what it says. */
static const char *fixture_ready(struct fixture *f)
{
    uint16_t kind = fixture_next(f, f->room.channel);
    if (kind == KEEPER_READY) {
        CHECK_EQ(cursor_u32(&f->payload), rooms_missing());
        return "";
    }
    if (kind != KEEPER_FAULT)
        test_fail(__FILE__, __LINE__, "frame %u instead of READY", kind);
    return fixture_string(f);
}

static struct channel *fixture_client(struct fixture *f, enum keeper_client kind, uint32_t life)
{
    struct buf payload = BUF_INIT(64);
    struct channel *c;
    struct error e = ERROR_INIT;
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    buf_u32(&payload, kind);
    buf_u32(&payload, life);
    fixture_send(f->room.channel, KEEPER_CLIENT, &payload, pair[1]);
    close(pair[1]);
    CHECK_EQ(channel_new(pair[0], &c, &e), 0);
    return c;
}

static void fixture_open(struct fixture *f)
{
    fixture_spawn(f);
    CHECK_STR(fixture_ready(f), "");
    f->egress = fixture_client(f, KEEPER_CLIENT_EGRESS, 1);
}

static void fixture_end_room(struct fixture *f)
{
    channel_free(f->egress);
    channel_free(f->front);
    f->egress = f->front = NULL;
    room_end(&f->room);
}

/* Stops it as control does, and looks at how it ended. */
static void fixture_close(struct fixture *f)
{
    struct buf none = BUF_INIT(64);
    struct error e = ERROR_INIT;
    int status = -1;
    if (f->room.pid) {
        fixture_send(f->room.channel, KEEPER_STOP, &none, -1);
        CHECK_EQ(room_wait(&f->room, WAIT_MS, &status, &e), 0);
#ifndef __SANITIZE_ADDRESS__ /* which looks for leaks at the end, with calls that the jail kills for */
        CHECK_EQ(status, 0);
#endif
    }
    fixture_end_room(f);
    keeper_start_done(&f->start);
    fd_close(f->vault_fd);
    fd_close(f->state_fd);
    fd_close(f->space_fd);
    fd_close(f->key_fd);
}

/* ---- what control and egress say ---- */

__attribute__((unused)) static void fixture_admit(struct fixture *f, uint32_t life, uint64_t number,
                                                  uint32_t rule)
{
    struct buf payload = BUF_INIT(64);
    buf_u32(&payload, life);
    buf_u64(&payload, number);
    buf_u32(&payload, rule);
    fixture_send(f->room.channel, KEEPER_ADMIT, &payload, -1);
}

__attribute__((unused)) static void fixture_number(struct fixture *f, uint16_t kind, uint32_t n)
{
    struct buf payload = BUF_INIT(64);
    buf_u32(&payload, n);
    fixture_send(f->room.channel, kind, &payload, -1);
}

__attribute__((unused)) static void fixture_ask(struct fixture *f, uint64_t number, uint32_t rule,
                                                const char *method, const char *url)
{
    struct buf payload = BUF_INIT(FRAME_MAX);
    struct secret_ask a = {
        .number = number, .rule = rule, .method = bytes_of(method), .url = bytes_of(url)
    };
    secret_ask_put(&payload, &a);
    fixture_send(f->egress, SECRET_ASK, &payload, -1);
}

/* The only value of an answer, or "REASON text" of a refusal. */
__attribute__((unused)) static const char *fixture_answer(struct fixture *f, uint64_t number)
{
    static char text[SECRET_TEXT_MAX + 64];
    struct secret_values v;
    struct secret_refused r;
    struct error e = ERROR_INIT;
    uint16_t kind = fixture_next(f, f->egress);
    if (kind == SECRET_VALUES) {
        CHECK_EQ(secret_values_get(&f->payload, &v, &e), 0);
        CHECK_EQ(v.number, number);
        CHECK_EQ(v.count, 1);
        CHECK(v.values[0].scrub && !v.values[0].header);
        snprintf(text, sizeof text, "%.*s", (int)v.values[0].value.size, v.values[0].value.data);
        return text;
    }
    if (kind != SECRET_REFUSED)
        test_fail(__FILE__, __LINE__, "frame %u instead of an answer", kind);
    CHECK_EQ(secret_refused_get(&f->payload, &r, &e), 0);
    CHECK_EQ(r.number, number);
    snprintf(text, sizeof text, "%u %.*s", r.reason, (int)r.text.size, r.text.data);
    return text;
}

/* What control is told of an answer: kind, number, rule and name; why of a refusal. */
__attribute__((unused)) static const char *fixture_told(struct fixture *f, uint16_t kind,
                                                        uint64_t number, const char *name)
{
    CHECK_EQ(fixture_next(f, f->room.channel), kind);
    (void)cursor_u32(&f->payload);
    CHECK_EQ(cursor_u64(&f->payload), number);
    (void)cursor_u32(&f->payload);
    CHECK_STR(fixture_string(f), name);
    const char *why = kind == KEEPER_DENIED ? fixture_string(f) : "";
    CHECK(cursor_finished(&f->payload));
    return why;
}

#define ASK_URL "https://api.example.com/a/b?c=d"
