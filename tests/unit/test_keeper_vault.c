/* SPDX-License-Identifier: Apache-2.0 */
/*
 * src/keeper and its vault, in its jail: how it starts and what it says when it cannot, values that
 * are fetched, and what `ambit secret` asks. And each defence of the releases, left open: then what it
 * stops happens.
 */
#include <sys/stat.h>

#include "tests/unit/keeper_fixture.h"

static void put_item(struct buf *payload, const char *name, uint32_t source, uint32_t kind,
                     const char *locator, const char *settings)
{
    struct keeper_item i = { .name = (char *)name,
                             .source = source,
                             .kind = kind,
                             .locator = (char *)locator,
                             .settings = (char *)settings };
    keeper_item_put(payload, &i);
}

/* Its own answer's frame, whatever it is. */
static uint16_t set_fd(struct fixture *f, const char *name, int fd)
{
    struct buf payload = BUF_INIT(FRAME_MAX);
    put_item(&payload, name, SECRET_STORED, SECRET_PLAIN, "", "");
    fixture_send(f->room.channel, KEEPER_SET, &payload, fd);
    return fixture_next(f, f->room.channel);
}

static uint16_t set_bytes(struct fixture *f, const char *name, const void *value, size_t size)
{
    CLEANUP(fd_closep) int fd = fixture_text(value, size);
    return set_fd(f, name, fd);
}

static uint16_t set(struct fixture *f, const char *name, const char *value)
{
    return set_bytes(f, name, value, strlen(value));
}

static uint16_t say(struct fixture *f, uint16_t kind, const char *name)
{
    struct buf payload = BUF_INIT(FRAME_MAX);
    buf_string(&payload, name);
    fixture_send(f->room.channel, kind, &payload, -1);
    return fixture_next(f, f->room.channel);
}

/* Takes what VAULT says as control does: the new vault in place of the old. */
static uint64_t take_vault(struct fixture *f)
{
    CHECK_EQ(f->kind, KEEPER_VAULT);
    uint64_t epoch = cursor_u64(&f->payload);
    uint32_t size = cursor_u32(&f->payload);
    CHECK(cursor_finished(&f->payload) && size <= VAULT_SIZE_MAX);
    uint8_t *at = mmap(NULL, VAULT_SIZE_MAX, PROT_READ, MAP_SHARED, f->space_fd, 0);
    CHECK(at != MAP_FAILED);
    close(f->vault_fd);
    f->vault_fd = fixture_text(at, size);
    munmap(at, VAULT_SIZE_MAX);
    f->start.epoch = epoch;
    return epoch;
}

static void fixture_secrets(struct fixture *f)
{
    fixture_defaults(f, "");
    f->space_fd = fixture_memory("space", VAULT_SIZE_MAX);
    fixture_spawn(f);
    CHECK_STR(fixture_ready(f), "");
}

/* In another process that has nothing of the one before but the vault. */
static void start_again(struct fixture *f)
{
    fixture_end_room(f);
    close(f->state_fd);
    f->state_fd = fixture_memory("state", KEEPER_STATE_SIZE);
    fixture_spawn(f);
}

static void refused_with(struct fixture *f, const char *what)
{
    CHECK_EQ(f->kind, KEEPER_REFUSED);
    CHECK_HAS(fixture_string(f), what);
}

/* ---- `ambit secret` ---- */

TEST(a_secret_is_set_listed_rotated_tested_and_removed)
{
    struct fixture f;
    struct keeper_item i;
    struct error e = ERROR_INIT;
    struct buf none = BUF_INIT(64);
    fixture_secrets(&f);
    CHECK_EQ(set(&f, "new", "a-value-of-24-bytes-....\n"), KEEPER_VAULT);
    CHECK_EQ(take_vault(&f), 2);
    CHECK_EQ(set(&f, "new", "another-value-of-it...\r\n"), KEEPER_VAULT);
    CHECK_EQ(take_vault(&f), 3);
    start_again(&f);
    CHECK_STR(fixture_ready(&f), "");
    fixture_send(f.room.channel, KEEPER_LIST, &none, -1);
    unsigned count = 0;
    while (fixture_next(&f, f.room.channel) == KEEPER_ITEM) {
        CHECK_EQ(keeper_item_get(&f.payload, &i, &e), 0);
        count++;
        if (strcmp(i.name, "new") == 0) {
            CHECK_EQ(i.version, 2);
            CHECK_EQ(i.size, 32); /* of 22 */
            CHECK(i.made_s > 1 && i.changed_s >= i.made_s);
        }
        keeper_item_done(&i);
    }
    CHECK_EQ(f.kind, KEEPER_ITEMS_END);
    CHECK_EQ(count, 5);
    CHECK_EQ(say(&f, KEEPER_TEST, "new"), KEEPER_TESTED);
    CHECK_STR(fixture_string(&f), "22 bytes, stored in the vault");
    CHECK_EQ(say(&f, KEEPER_REMOVE, "new"), KEEPER_VAULT);
    CHECK_EQ(take_vault(&f), 4);
    (void)say(&f, KEEPER_REMOVE, "new");
    refused_with(&f, "there is no secret new");
    (void)say(&f, KEEPER_TEST, "new");
    refused_with(&f, "there is no secret new");
    start_again(&f);
    CHECK_STR(fixture_ready(&f), "");
    (void)say(&f, KEEPER_TEST, "new");
    refused_with(&f, "there is no secret new");
    fixture_close(&f);
}

TEST(values_that_no_header_can_hold_are_refused)
{
    static const struct {
        const char *value;
        size_t size;
    } rows[] = { { "0123456789abcde", 15 },
                 { "", 0 },
                 { "0123456789abcdef\r\nx: y", 22 },
                 { "0123456789abcdef\n\n", 18 },
                 { "0123456789abc\0def", 17 },
                 { "0123456789abc def", 17 },
                 { "0123456789abc\tdef", 17 },
                 { "0123456789abc\x7f"
                   "def",
                   17 },
                 { "0123456789abcd\xc3\xa9", 16 } };
    struct fixture f;
    char large[SECRET_VALUE_MAX + 1], *huge = mem_zalloc(SECRET_SOURCE_MAX + 64);
    fixture_secrets(&f);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CHECK_EQ(set_bytes(&f, "bad", rows[i].value, rows[i].size), KEEPER_REFUSED);
        const char *what = fixture_string(&f);
        CHECK(what[0] && !strstr(what, "0123") && !strstr(fixture_string(&f), "0123"));
    }
    memset(large, 'x', sizeof large);
    memset(huge, 'x', SECRET_SOURCE_MAX + 64);
    (void)set_bytes(&f, "bad", large, sizeof large);
    refused_with(&f, "4096");
    (void)set_bytes(&f, "bad", huge, SECRET_SOURCE_MAX + 64);
    refused_with(&f, "larger than any can be");
    CHECK_EQ(set_bytes(&f, "good", large, SECRET_VALUE_MAX), KEEPER_VAULT);
    CHECK_EQ(set(&f, "good", "0123456789abcdef"), KEEPER_VAULT);
    (void)set(&f, "Bad", "0123456789abcdef");
    refused_with(&f, "cannot be the name");
    CHECK_EQ(say(&f, KEEPER_TEST, "bad"), KEEPER_REFUSED);
    mem_free(huge);
    fixture_close(&f);
}

TEST(settings_of_a_kind_are_checked_when_it_is_set)
{
    struct fixture f;
    struct buf payload = BUF_INIT(FRAME_MAX);
    fixture_secrets(&f);
    put_item(&payload, "bad", SECRET_FILE, SECRET_OAUTH_CLIENT, "/run/x", "{\"client\":\"me\"}");
    fixture_send(f.room.channel, KEEPER_SET, &payload, -1);
    CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_REFUSED);
    put_item(&payload, "good", SECRET_FILE, SECRET_OAUTH_CLIENT, "/run/x", OAUTH_SETTINGS);
    fixture_send(f.room.channel, KEEPER_SET, &payload, -1);
    CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_VAULT);
    fixture_close(&f);
}

/* A pipe that somebody holds open must not hold up the room. */
TEST(a_value_may_come_in_pieces)
{
    struct fixture f;
    struct buf payload = BUF_INIT(FRAME_MAX);
    int ends[2];
    fixture_secrets(&f);
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    put_item(&payload, "piped", SECRET_STORED, SECRET_PLAIN, "", "");
    fixture_send(f.room.channel, KEEPER_SET, &payload, ends[0]);
    close(ends[0]);
    CHECK_EQ(write(ends[1], "01234567", 8), 8);
    fixture_settle(&f); /* it answers others meanwhile */
    (void)set(&f, "other", "0123456789abcdef");
    refused_with(&f, "another request is under way");
    CHECK_EQ(write(ends[1], "89abcdef", 8), 8);
    close(ends[1]);
    CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_VAULT);
    fixture_close(&f);
}

TEST(a_keeper_of_a_run_changes_no_vault)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    (void)set(&f, "new", "0123456789abcdef");
    refused_with(&f, "not to change it");
    (void)say(&f, KEEPER_REMOVE, "github-token");
    refused_with(&f, "not to change it");
    fixture_close(&f);
}

static uint16_t rekey(struct fixture *f, const char *kind, const char *text)
{
    struct buf payload = BUF_INIT(64);
    CLEANUP(fd_closep) int fd = fixture_text(text, strlen(text));
    buf_string(&payload, kind);
    fixture_send(f->room.channel, KEEPER_REKEY, &payload, fd);
    return fixture_next(f, f->room.channel);
}

TEST(a_vault_gets_another_key)
{
    struct fixture f;
    fixture_secrets(&f);
    (void)rekey(&f, "passphrase", "short");
    refused_with(&f, "fewer than 8 bytes");
    CHECK_EQ(rekey(&f, "passphrase", "correct horse battery\nmore"), KEEPER_VAULT);
    CHECK_EQ(take_vault(&f), 2);
    start_again(&f); /* with the old one */
    CHECK_HAS(fixture_ready(&f), "the key does not open this vault");
    mem_free(f.start.key_kind);
    f.start.key_kind = mem_strdup("passphrase");
    f.key_fd = fixture_text("correct horse battery\n", 22);
    start_again(&f);
    CHECK_STR(fixture_ready(&f), "");
    CHECK_EQ(say(&f, KEEPER_TEST, "github-token"), KEEPER_TESTED);
    /* Killed and started again with the memory that it left, it asks nobody. */
    fixture_end_room(&f);
    close(f.key_fd);
    f.key_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    fixture_spawn(&f);
    CHECK_STR(fixture_ready(&f), "");
    fixture_close(&f);
}

TEST(the_first_vault_is_made)
{
    struct fixture f;
    fixture_defaults(&f, "");
    close(f.vault_fd);
    f.vault_fd = fixture_text("", 0);
    f.space_fd = fixture_memory("space", VAULT_SIZE_MAX);
    fixture_spawn(&f);
    CHECK_HAS(fixture_ready(&f), "there is no vault");
    f.start.flags = KEEPER_NEW_VAULT;
    fixture_end_room(&f);
    fixture_spawn(&f);
    CHECK_STR(fixture_ready(&f), "");
    CHECK_EQ(set(&f, "first", "0123456789abcdef"), KEEPER_VAULT);
    CHECK_EQ(take_vault(&f), 1);
    start_again(&f);
    CHECK_STR(fixture_ready(&f), "");
    CHECK_EQ(say(&f, KEEPER_TEST, "first"), KEEPER_TESTED);
    /* One that was there and is empty now was not made by nobody. */
    close(f.vault_fd);
    f.vault_fd = fixture_text("", 0);
    start_again(&f);
    CHECK_HAS(fixture_ready(&f), "was not before");
    fixture_end_room(&f);
    fixture_close(&f);
}

/* ---- starting ---- */

static void faults(struct fixture *f, const char *what, const char *hint)
{
    fixture_spawn(f);
    CHECK_HAS(fixture_ready(f), what);
    CHECK_HAS(fixture_string(f), hint);
    CHECK_EQ(fixture_next(f, f->room.channel), 0);
    fixture_end_room(f);
}

static void set_vault(struct fixture *f, const void *bytes, size_t size)
{
    close(f->vault_fd);
    f->vault_fd = fixture_text(bytes, size);
}

TEST(a_damaged_vault_is_a_clear_error)
{
    struct fixture f;
    struct buf whole = BUF_INIT(VAULT_SIZE_MAX);
    struct error e = ERROR_INIT;
    fixture_defaults(&f, GRANTS);
    CHECK_EQ(file_read_fd(f.vault_fd, &whole, &e), 0);
    set_vault(&f, whole.data, whole.size / 2);
    faults(&f, "the vault is cut short", "put back a whole copy");
    set_vault(&f, "something else that lies there", 30);
    faults(&f, "no vault", "");
    whole.data[whole.size - 20] ^= 1;
    set_vault(&f, whole.data, whole.size);
    faults(&f, "somebody has changed the vault", "put back a copy");
    whole.data[whole.size - 20] ^= 1;
    set_vault(&f, whole.data, whole.size);
    f.key_fd = fixture_text("another key of 32 bytes, of whom", 32);
    faults(&f, "another key, or a vault of another installation", "--vault-key");
    close(f.key_fd);
    f.key_fd = fixture_text("no key", 6);
    faults(&f, "is no key", "32 random bytes");
    close(f.key_fd);
    f.key_fd = -1;
    f.start.epoch = 2;
    faults(&f, "an older vault was put back", "newest vault");
    f.start.epoch = 1;
    fixture_spawn(&f);
    CHECK_STR(fixture_ready(&f), "");
    buf_done(&whole);
    fixture_close(&f);
}

TEST(a_secret_that_is_not_there_is_named)
{
    struct fixture f;
    fixture_defaults(&f,
                     "{\"version\":1,\"grants\":[" GRANT("a.example.com", BEARER("missing")) "]}");
    faults(&f, "the vault has no secret of that name", "ambit secret set missing");
    fixture_close(&f);
}

#define FETCHED "{\"version\":1,\"grants\":[" GRANT("a.example.com", BEARER("fetched")) "]}"
#define FETCHED_URL "https://a.example.com/a/b"

static void wanted(struct fixture *f)
{
    CHECK_EQ(fixture_next(f, f->room.channel), KEEPER_WANT);
    CHECK_STR(fixture_string(f), "fetched");
    CHECK_EQ(cursor_u32(&f->payload), SECRET_FILE);
    CHECK_STR(fixture_string(f), "/run/secret");
}

static void source(struct fixture *f, const char *name, const char *value, const char *failure)
{
    struct buf payload = BUF_INIT(1024);
    CLEANUP(fd_closep) int fd = failure[0] ? -1 : fixture_text(value, strlen(value));
    buf_string(&payload, name);
    buf_string(&payload, failure);
    fixture_send(f->room.channel, KEEPER_SOURCE, &payload, fd);
}

TEST(a_value_is_fetched_before_ready)
{
    struct fixture f;
    fixture_defaults(&f, FETCHED);
    fixture_spawn(&f);
    wanted(&f);
    source(&f, "fetched", "a-value-from-a-file\n", "");
    CHECK_STR(fixture_ready(&f), "");
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 1);
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", FETCHED_URL);
    CHECK_STR(fixture_answer(&f, 1), "a-value-from-a-file");
    fixture_end_room(&f);
    fixture_spawn(&f);
    wanted(&f);
    source(&f, "fetched", "", "others can read /run/secret");
    CHECK_HAS(fixture_ready(&f), "others can read /run/secret");
    fixture_end_room(&f);
    fixture_spawn(&f);
    wanted(&f);
    source(&f, "fetched", "too short", "");
    CHECK_HAS(fixture_ready(&f), "shorter than 16 bytes");
    fixture_end_room(&f);
    fixture_spawn(&f);
    wanted(&f);
    source(&f, "other", "a-value-of-another", ""); /* which nobody asked for */
    CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_FAULT);
    fixture_end_room(&f);
    fixture_close(&f);
}

TEST(a_grant_that_is_added_brings_its_secret)
{
    struct fixture f;
    struct buf payload = BUF_INIT(FRAME_MAX);
    fixture_defaults(&f, GRANTS);
    f.start.more = 2;
    fixture_open(&f);
    fixture_ask(&f, 7, 5, "GET", FETCHED_URL); /* egress was told of the grant first */
    buf_u32(&payload, 5);
    buf_string(&payload, FETCHED);
    fixture_send(f.room.channel, KEEPER_GRANT, &payload, -1);
    wanted(&f);
    fixture_admit(&f, 1, 1, 5);
    fixture_ask(&f, 1, 5, "GET", FETCHED_URL); /* waits for it */
    source(&f, "fetched", "a-value-from-a-file\n", "");
    CHECK_STR(fixture_answer(&f, 1), "a-value-from-a-file");
    (void)fixture_told(&f, KEEPER_USED, 1, "fetched");
    fixture_admit(&f, 1, 7, 5);
    CHECK_STR(fixture_answer(&f, 7), "a-value-from-a-file");
    (void)fixture_told(&f, KEEPER_USED, 7, "fetched");
    buf_u32(&payload, 6);
    buf_string(&payload,
               "{\"version\":1,\"grants\":[" GRANT("b.example.com", BEARER("missing")) "]}");
    fixture_send(f.room.channel, KEEPER_GRANT, &payload, -1);
    fixture_admit(&f, 1, 2, 6);
    fixture_settle(&f);
    fixture_ask(&f, 2, 6, "GET", "https://b.example.com/a/b");
    CHECK_HAS(fixture_answer(&f, 2), "the vault has no secret of that name");
    fixture_close(&f);
}

/* Certificates alone: there is no vault, and none is asked for. */
TEST(a_proxy_without_secrets_needs_no_vault)
{
    struct fixture f;
    fixture_defaults(
        &f, "{\"version\":1,\"grants\":[" GRANT("a.example.com", "\"max_requests\":1") "]}");
    f.start.flags = KEEPER_CERTIFICATES | KEEPER_NO_VAULT;
    mem_free(f.start.key_kind);
    f.start.key_kind = mem_strdup("");
    fixture_open(&f);
    (void)say(&f, KEEPER_TEST, "github-token");
    refused_with(&f, "there is no secret");
    fixture_close(&f);
}

/* ---- each defence, left open ---- */

#ifdef AMBIT_TEST_HOOKS
TEST(control_nothing_but_the_decision_stops_another_host)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    f.start.test_skip = KEEPER_SKIP_DECISION;
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "DELETE", "https://evil.example.net/");
    CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    fixture_close(&f);
}

TEST(control_nothing_but_the_admission_stops_what_is_not_recorded)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    f.start.test_skip = KEEPER_SKIP_ADMISSION;
    fixture_open(&f);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    fixture_close(&f);
}

TEST(control_nothing_else_stops_a_second_time)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    f.start.test_skip = KEEPER_SKIP_ONCE;
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    for (int i = 0; i < 2; i++) {
        fixture_ask(&f, 1, 0, "GET", ASK_URL);
        CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    }
    fixture_close(&f);
}

TEST(control_nothing_but_the_count_stops_a_third)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    f.start.test_skip = KEEPER_SKIP_COUNT;
    fixture_open(&f);
    for (uint64_t i = 1; i <= 3; i++) {
        fixture_admit(&f, 1, i, 2);
        fixture_ask(&f, i, 2, "GET", "https://two.example.com/a/b");
        CHECK_STR(fixture_answer(&f, i), PLAIN_VALUE);
    }
    fixture_close(&f);
}

TEST(control_nothing_but_suspending_stops_an_echo)
{
    struct fixture f;
    struct buf payload = BUF_INIT(64);
    fixture_defaults(&f, GRANTS);
    f.start.test_skip = KEEPER_SKIP_ECHOES;
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    for (int i = 0; i < 4; i++) {
        buf_string(&payload, "github-token");
        fixture_send(f.egress, SECRET_ECHOED, &payload, -1);
    }
    fixture_admit(&f, 1, 2, 0);
    fixture_ask(&f, 2, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 2), PLAIN_VALUE);
    fixture_close(&f);
}

TEST(control_nothing_but_the_epoch_stops_an_older_vault)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    f.start.test_skip = KEEPER_SKIP_EPOCH;
    f.start.epoch = 9;
    fixture_open(&f);
    fixture_close(&f);
}
#endif

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_KEEPER] = keeper_room_main };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
