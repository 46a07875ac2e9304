/* SPDX-License-Identifier: Apache-2.0 */
/* src/keeper in its jail: what it releases, and all that it does not. */
#include "tests/unit/keeper_fixture.h"

static void refused_only(struct fixture *f, uint64_t number, enum grant_reason reason)
{
    char begin[16];
    const char *answer = fixture_answer(f, number);
    snprintf(begin, sizeof begin, "%u ", reason);
    if (strncmp(answer, begin, strlen(begin)) != 0)
        test_fail(__FILE__, __LINE__, "\"%s\", not reason %u", answer, reason);
}

/* And control is told. */
static void refused_for(struct fixture *f, uint64_t number, enum grant_reason reason)
{
    refused_only(f, number, reason);
    CHECK_EQ(fixture_next(f, f->room.channel), KEEPER_DENIED);
}

TEST(an_admitted_request_gets_its_secret_once)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_spawn(&f);
    CHECK_STR(fixture_ready(&f), "");
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 1);
    /* admitted first, asked then; and the other way round */
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    (void)fixture_told(&f, KEEPER_USED, 1, "github-token");
    fixture_ask(&f, 2, 0, "POST", ASK_URL);
    fixture_admit(&f, 1, 2, 0);
    CHECK_STR(fixture_answer(&f, 2), PLAIN_VALUE);
    (void)fixture_told(&f, KEEPER_USED, 2, "github-token");
    /* once */
    fixture_ask(&f, 2, 0, "POST", ASK_URL);
    CHECK_HAS(fixture_answer(&f, 2), "given its secrets once");
    CHECK_HAS(fixture_told(&f, KEEPER_DENIED, 2, "github-token"), "once");
    fixture_close(&f);
}

TEST(nothing_is_released_without_its_admission)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_ask(&f, 5, 0, "GET", ASK_URL);
    fixture_admit(&f, 1, 6, 0); /* another number */
    fixture_admit(&f, 2, 5, 0); /* another life */
    fixture_settle(&f);
    /* An answer to this one came: nothing came to the one before it. */
    fixture_ask(&f, 6, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 6), PLAIN_VALUE);
    (void)fixture_told(&f, KEEPER_USED, 6, "github-token");
    CHECK(fixture_is_quiet(f.egress));
    /* under another rule */
    fixture_admit(&f, 1, 5, 2);
    CHECK_HAS(fixture_answer(&f, 5), "recorded under another rule");
    fixture_close(&f);
}

TEST(a_request_that_ended_is_void)
{
    struct fixture f;
    struct buf payload = BUF_INIT(64);
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    buf_u32(&payload, 1);
    buf_u64(&payload, 1);
    fixture_send(f.room.channel, KEEPER_ENDED, &payload, -1);
    fixture_admit(&f, 1, 2, 0);
    fixture_ask(&f, 2, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 2), PLAIN_VALUE);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    fixture_admit(&f, 1, 3, 0);
    fixture_ask(&f, 3, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 3), PLAIN_VALUE);
    CHECK(fixture_is_quiet(f.egress));
    fixture_close(&f);
}

TEST(keeper_decides_by_its_own_grants)
{
    static const struct {
        uint32_t rule;
        const char *method, *url;
        enum grant_reason reason;
    } rows[] = {
        { 0, "DELETE", ASK_URL, GRANT_NO_METHOD },
        { 0, "GET", "https://api.example.com/b", GRANT_NO_PATH },
        { 0, "GET", "https://evil.example.com/a/b", GRANT_NO_GRANT },
        { 0, "GET", "https://api.example.com.evil.example/a/b", GRANT_NO_GRANT },
        { 0, "GET", "http://api.example.com/a/b", GRANT_NO_GRANT },
        { 0, "GET", "https://api.example.com:8443/a/b", GRANT_NO_GRANT },
        { 0, "GET", "https://two.example.com/a/b", GRANT_NO_PATH },   /* of another rule */
        { 1, "GET", "https://free.example.com/a/b", GRANT_NO_GRANT }, /* names no secret */
        { 0, "GET", "https://API.example.com/a/b", GRANT_MALFORMED },
        { 0, "GET", "https://api.example.com:443/a/b", GRANT_MALFORMED },
        { 0, "GET", "https://api.example.com/a/../a/b", GRANT_MALFORMED },
        { 0, "GET", "https://api.example.com/a/..%2fb", GRANT_MALFORMED },
        { 0, "GET", "https://me@api.example.com/a/b", GRANT_MALFORMED },
        { 0, "GET", "api.example.com/a/b", GRANT_MALFORMED },
        { 4, "GET", "https://wide.example.com/a/b", GRANT_NO_GRANT },
    };
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        fixture_admit(&f, 1, i + 1, rows[i].rule);
        fixture_ask(&f, i + 1, rows[i].rule, rows[i].method, rows[i].url);
        refused_for(&f, i + 1, rows[i].reason);
    }
    /* A required header is egress's to see. */
    fixture_admit(&f, 1, 100, 4);
    fixture_ask(&f, 100, 4, "GET", "https://x.y.wide.example.com/a/b");
    CHECK_STR(fixture_answer(&f, 100), OTHER_VALUE);
    fixture_close(&f);
}

TEST(what_is_revoked_or_over_releases_nothing)
{
    struct fixture f;
    struct buf payload = BUF_INIT(64);
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_ask(&f, 1, 0, "GET", ASK_URL); /* waits */
    fixture_admit(&f, 1, 2, 0);
    fixture_number(&f, KEEPER_REVOKE, 0);
    refused_for(&f, 1, GRANT_REVOKED);
    fixture_ask(&f, 2, 0, "GET", ASK_URL);
    refused_for(&f, 2, GRANT_REVOKED);
    fixture_ask(&f, 3, 2, "GET", "https://two.example.com/a/b");
    buf_u64(&payload, 1); /* long ago */
    fixture_send(f.room.channel, KEEPER_EXPIRE, &payload, -1);
    refused_for(&f, 3, GRANT_EXPIRED);
    fixture_close(&f);
}

/* Control tells a keeper that comes back at once what was revoked, behind its START. */
TEST(what_was_revoked_before_it_came_back_stays_so)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_spawn(&f);
    fixture_number(&f, KEEPER_REVOKE, 0);
    fixture_number(&f, KEEPER_REVOKE, 2);
    CHECK_STR(fixture_ready(&f), "");
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 1);
    fixture_settle(&f);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    refused_for(&f, 1, GRANT_REVOKED);
    fixture_number(&f, KEEPER_REVOKE, RULES_ALL);
    fixture_settle(&f);
    fixture_ask(&f, 2, 4, "GET", "https://x.wide.example.com/a/b");
    refused_for(&f, 2, GRANT_REVOKED);
    fixture_close(&f);
}

TEST(a_grant_that_ends_ends_what_waits)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    f.start.expires_ns = clock_monotonic_ns() + 300 * NS_PER_MS;
    fixture_open(&f);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    refused_for(&f, 1, GRANT_EXPIRED);
    fixture_close(&f);
}

#define TWO_URL "https://two.example.com/a/b"

static void releases(struct fixture *f, uint32_t life, uint64_t number)
{
    fixture_admit(f, life, number, 2);
    fixture_ask(f, number, 2, "GET", TWO_URL);
    CHECK_STR(fixture_answer(f, number), PLAIN_VALUE);
    (void)fixture_told(f, KEEPER_USED, number, "github-token");
}

TEST(counts_outlive_egress_and_keeper)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    releases(&f, 1, 1);
    channel_free(f.egress);
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 2);
    releases(&f, 2, 1);
    fixture_end_room(&f); /* SIGKILL */
    fixture_open(&f);
    fixture_admit(&f, 1, 3, 2);
    fixture_ask(&f, 3, 2, "GET", TWO_URL);
    refused_for(&f, 3, GRANT_TOO_MANY);
    fixture_close(&f);
}

TEST(an_admission_is_taken_once_over_all_lives)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    fixture_end_room(&f);
    fixture_open(&f); /* egress is of the same life, and control admits again */
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    refused_for(&f, 1, GRANT_SECRET);
    fixture_close(&f);
}

static void echo(struct fixture *f, const char *name)
{
    struct buf payload = BUF_INIT(64);
    buf_string(&payload, name);
    fixture_send(f->egress, SECRET_ECHOED, &payload, -1);
}

TEST(a_secret_that_answers_show_is_suspended_for_good)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    releases(&f, 1, 8);
    echo(&f, "github-token");
    echo(&f, "github-token");
    fixture_ask(&f, 1, 1, "GET", "https://free.example.com/a/b");
    refused_for(&f, 1, GRANT_NO_GRANT); /* so the echoes were counted */
    fixture_end_room(&f);               /* and what was counted is not lost */
    fixture_open(&f);
    fixture_ask(&f, 9, 0, "GET", ASK_URL);
    echo(&f, "github-token");
    CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_SUSPENDED);
    CHECK_STR(fixture_string(&f), "github-token");
    fixture_admit(&f, 1, 9, 0);
    refused_for(&f, 9, GRANT_SECRET);
    fixture_end_room(&f);
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    CHECK_HAS(fixture_answer(&f, 1), "suspended");
    CHECK_HAS(fixture_told(&f, KEEPER_DENIED, 1, "github-token"), "suspended");
    /* Another secret is not. */
    fixture_admit(&f, 1, 2, 4);
    fixture_ask(&f, 2, 4, "GET", "https://x.wide.example.com/a/b");
    CHECK_STR(fixture_answer(&f, 2), OTHER_VALUE);
    fixture_close(&f);
}

/* The channel is closed; the room lives on, and takes another. */
static void loses_its_channel(struct fixture *f)
{
    CHECK_EQ(fixture_next(f, f->egress), 0);
    static uint32_t life = 1;
    channel_free(f->egress);
    f->egress = fixture_client(f, KEEPER_CLIENT_EGRESS, ++life);
    fixture_admit(f, life, 1, 0);
    fixture_ask(f, 1, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(f, 1), PLAIN_VALUE);
    CHECK_EQ(fixture_next(f, f->room.channel), KEEPER_USED);
}

TEST(a_client_that_breaks_the_protocol_loses_its_channel)
{
    static const uint16_t kinds[] = { SECRET_ASK,  SECRET_MINTED, SECRET_ECHOED, SECRET_VALUES,
                                      KEEPER_STOP, KEEPER_SET,    LEAF_ASK,      0 };
    struct fixture f;
    struct buf payload = BUF_INIT(64);
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        buf_u32(&payload, 3);
        fixture_send(f.egress, kinds[i], &payload, -1);
        loses_its_channel(&f);
    }
    echo(&f, "never-heard-of");
    loses_its_channel(&f);
    echo(&f, "other"); /* a grant names it, and egress never had it: it cannot have it suspended */
    loses_its_channel(&f);
    fixture_ask(&f, 3, 0, "GET", ASK_URL);
    fixture_ask(&f, 3, 0, "GET", ASK_URL);
    loses_its_channel(&f);
    fixture_ask(&f, 0, 0, "GET", ASK_URL);
    loses_its_channel(&f);
    fixture_ask(&f, 3, 5, "GET", ASK_URL); /* a rule that there cannot be */
    loses_its_channel(&f);
    fixture_ask(&f, 3, GRANT_NO_RULE, "GET", ASK_URL);
    loses_its_channel(&f);
    buf_u32(&payload, 3);
    fixture_send(f.egress, SECRET_ASK, &payload, f.state_fd); /* a descriptor */
    loses_its_channel(&f);
    fixture_close(&f);
}

TEST(another_life_of_egress_has_nothing_of_the_one_before)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 2, 0, "GET", ASK_URL);
    struct channel *old = f.egress;
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 2);
    CHECK_EQ(fixture_next(&f, old), 0);
    channel_free(old);
    fixture_admit(&f, 2, 3, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL); /* admitted in the life before */
    fixture_ask(&f, 3, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 3), PLAIN_VALUE);
    CHECK(fixture_is_quiet(f.egress));
    fixture_close(&f);
}

TEST(what_waits_is_bounded)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    for (uint64_t i = 1; i <= ASKS_MAX; i++)
        fixture_ask(&f, i, 0, "GET", ASK_URL);
    fixture_ask(&f, ASKS_MAX + 1, 0, "GET", ASK_URL);
    CHECK_HAS(fixture_answer(&f, ASKS_MAX + 1), "too many requests wait");
    CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_DENIED);
    /* Of too many admissions the oldest are void. */
    channel_free(f.egress);
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 2);
    for (uint64_t i = 1; i <= ADMITTED_MAX + 1; i++)
        fixture_admit(&f, 2, i, 0);
    fixture_settle(&f);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    fixture_ask(&f, 2, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 2), PLAIN_VALUE);
    CHECK(fixture_is_quiet(f.egress));
    fixture_close(&f);
}

/* An escaped egress asks under rules that may come, which control knows nothing of yet. */
TEST(asks_under_a_rule_that_is_not_there_yet)
{
    struct fixture f;
    struct buf payload = BUF_INIT(64);
    fixture_defaults(&f, GRANTS);
    f.start.more = 1;
    fixture_open(&f);
    for (uint64_t i = 1; i <= ASKS_MAX + 1; i++)
        fixture_ask(&f, i, 5, "GET", ASK_URL);
    CHECK_HAS(fixture_answer(&f, ASKS_MAX + 1), "too many requests wait");
    /* Control is not told of it: it would take keeper for a liar. */
    fixture_send(f.room.channel, KEEPER_LIST, &payload, -1);
    while (fixture_next(&f, f.room.channel) != KEEPER_ITEMS_END)
        CHECK_EQ(f.kind, KEEPER_ITEM);
    /* What waits for a grant that never comes ends with the grants; keeper does not spin on it. */
    buf_u64(&payload, 1);
    fixture_send(f.room.channel, KEEPER_EXPIRE, &payload, -1);
    for (uint64_t i = 1; i <= ASKS_MAX; i++)
        refused_only(&f, i, GRANT_EXPIRED);
    fixture_ask(&f, 1, 5, "GET", ASK_URL);
    refused_only(&f, 1, GRANT_EXPIRED);
    CHECK(fixture_is_quiet(f.room.channel));
    fixture_close(&f);
}

/* ---- escaped code in the room as it is started, with its descriptors and its own limits ---- */

#ifdef AMBIT_TEST_HOOKS
static void escaped(const char *attempt, const char *word, uint32_t skip, const char *wanted)
{
    struct fixture f;
    char text[512];
    int status = 0;
    fixture_defaults(&f, GRANTS);
    mem_free(f.start.work_host);
    f.start.work_host = mem_printf("play\n%s\n%s", attempt, word);
    f.start.test_skip = KEEPER_PROBE | skip;
    fixture_spawn(&f);
    text[0] = '\0';
    if (fixture_next(&f, f.room.channel) == KEEPER_FAULT)
        snprintf(text, sizeof text, "%s", fixture_string(&f));
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    CHECK_EQ(room_wait(&f.room, WAIT_MS, &status, NULL), 0);
    room_status_text(status, &why);
    if (!text[0])
        snprintf(text, sizeof text, "%s", buf_cstr(&why));
    if (!strstr(text, wanted))
        test_fail(__FILE__, __LINE__, "%s: %s", attempt, text);
    fixture_close(&f);
}

TEST(what_an_escaped_keeper_cannot_do)
{
    static const struct {
        const char *attempt, *word, *stopped;
    } rows[] = {
        { "open-absolute", "/etc/passwd", "refused" },
        { "proc-self-mem", "", "refused" },
        { "exec", "", "system call outside its list" },
        { "fork", "", "system call outside its list" },
        { "map-code", "", "system call outside its list" },
        { "fill-memfd", "", "system call outside its list" },
        { "netlink-socket", "", "system call outside its list" },
        { "connect-unix", "/nowhere", "system call outside its list" },
        { "descriptors", "", "refused" },
#ifndef __SANITIZE_ADDRESS__ /* which reserves more than any limit */
        { "fill-memory", "", "refused" },
#endif
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        escaped(rows[i].attempt, rows[i].word, 0, rows[i].stopped);
    const uint32_t all =
        JAIL_LANDLOCK | JAIL_SECCOMP | JAIL_RLIMITS | JAIL_NO_NEW_PRIVILEGES | JAIL_MOUNT_NAMESPACE;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        escaped(rows[i].attempt, rows[i].word, all,
                strcmp(rows[i].attempt, "exec") == 0           ? "exit code 77"
                : strcmp(rows[i].attempt, "connect-unix") == 0 ? "No such file"
                                                               : "succeeded");
}

#endif

/* ---- minting ---- */

#define MINTED_URL "https://minted.example.com/a/b"

static uint64_t mint_asked(struct fixture *f)
{
    struct secret_mint m;
    struct error e = ERROR_INIT;
    CHECK_EQ(fixture_next(f, f->egress), SECRET_MINT);
    CHECK_EQ(secret_mint_get(&f->payload, &m, &e), 0);
    CHECK(bytes_are(m.url, "https://login.example.com/token"));
    CHECK(bytes_are(m.name, "client"));
    return m.mint;
}

static void minted(struct fixture *f, uint64_t mint, const char *token, const char *failure)
{
    struct buf payload = BUF_INIT(FRAME_MAX);
    struct secret_minted m = { .mint = mint, .status = 200, .failure = bytes_of(failure) };
    m.values[0] = bytes_of(token);
    m.expires_s = token[0] ? (uint64_t)(clock_real_ns() / (int64_t)NS_PER_S) + 3600 : 0;
    secret_minted_put(&payload, &m);
    fixture_send(f->egress, SECRET_MINTED, &payload, -1);
}

TEST(a_token_is_minted_once_for_all_that_wait)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    for (uint64_t i = 1; i <= 3; i++) {
        fixture_ask(&f, i, 3, "GET", MINTED_URL);
        fixture_admit(&f, 1, i, 3);
    }
    uint64_t mint = mint_asked(&f);
    minted(&f, mint, "a-token-of-an-hour-0123", "");
    for (uint64_t i = 1; i <= 3; i++) {
        CHECK_STR(fixture_answer(&f, i), "a-token-of-an-hour-0123");
        (void)fixture_told(&f, KEEPER_USED, i, "client");
    }
    fixture_admit(&f, 1, 4, 3);
    fixture_ask(&f, 4, 3, "GET", MINTED_URL);
    CHECK_STR(fixture_answer(&f, 4), "a-token-of-an-hour-0123");
    minted(&f, mint, "a-token-that-comes-late-1", ""); /* and is nothing */
    fixture_admit(&f, 1, 5, 3);
    fixture_ask(&f, 5, 3, "GET", MINTED_URL);
    CHECK_STR(fixture_answer(&f, 5), "a-token-of-an-hour-0123");
    fixture_close(&f);
}

TEST(a_token_that_cannot_be_had_is_not_asked_for_at_once_again)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 3);
    fixture_ask(&f, 1, 3, "GET", MINTED_URL);
    minted(&f, mint_asked(&f), "", "invalid_client");
    CHECK_HAS(fixture_answer(&f, 1), "invalid_client");
    fixture_admit(&f, 1, 2, 3);
    fixture_ask(&f, 2, 3, "GET", MINTED_URL);
    CHECK_HAS(fixture_answer(&f, 2), "invalid_client");
    minted(&f, 77, "a-token-of-an-hour-0123", ""); /* nobody asked for it */
    CHECK_EQ(fixture_next(&f, f.egress), 0);
    /* A life of egress that ended with it under way: the next is asked. */
    channel_free(f.egress);
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 2);
    fixture_close(&f);
}

#ifdef AMBIT_TEST_HOOKS
/* The time is the same in the product, but 30 s. Egress has a shorter one of its own: this is about one that was taken over. */
TEST(an_egress_that_never_answers_a_mint)
{
    for (int soon = 1; soon >= 0; soon--) {
        struct fixture f;
        fixture_defaults(&f, GRANTS);
        f.start.test_skip = soon ? KEEPER_SOON : 0;
        fixture_open(&f);
        fixture_admit(&f, 1, 1, 3);
        fixture_ask(&f, 1, 3, "GET", MINTED_URL);
        uint64_t mint = mint_asked(&f);
        if (soon) {
            CHECK_HAS(fixture_answer(&f, 1), "the token server did not answer within 30 seconds");
            minted(&f, mint, "a-token-that-comes-late-1", ""); /* and is nothing */
            fixture_admit(&f, 1, 2, 3);
            fixture_ask(&f, 2, 3, "GET", MINTED_URL);
            CHECK_HAS(fixture_answer(&f, 2), "did not answer");
        } else { /* the control: it waits, and takes what comes in time */
            struct pollfd p = { .fd = channel_fd(f.egress), .events = POLLIN };
            CHECK_EQ(poll(&p, 1, 1500), 0);
            minted(&f, mint, "a-token-of-an-hour-0123", "");
            CHECK_STR(fixture_answer(&f, 1), "a-token-of-an-hour-0123");
        }
        fixture_close(&f);
    }
}
#endif

TEST(a_mint_of_a_life_that_ended_is_begun_again)
{
    struct fixture f;
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    fixture_admit(&f, 1, 1, 3);
    fixture_ask(&f, 1, 3, "GET", MINTED_URL);
    uint64_t first = mint_asked(&f);
    channel_free(f.egress);
    f.egress = fixture_client(&f, KEEPER_CLIENT_EGRESS, 2);
    fixture_admit(&f, 2, 1, 3);
    fixture_ask(&f, 1, 3, "GET", MINTED_URL);
    uint64_t second = mint_asked(&f);
    CHECK(second != first);
    minted(&f, first, "a-token-that-comes-late-1", "");
    minted(&f, second, "a-token-of-an-hour-0123", "");
    CHECK_STR(fixture_answer(&f, 1), "a-token-of-an-hour-0123");
    fixture_close(&f);
}

/* Answers that are more than what a socket and a queue take: none is lost, and none makes the room give up. */
TEST(a_token_for_all_that_can_wait_comes_to_all)
{
    struct fixture f;
    char token[SECRET_TOKEN_MAX + 1];
    memset(token, 't', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    fixture_defaults(&f, GRANTS);
    fixture_open(&f);
    for (uint64_t i = 1; i <= ADMITTED_MAX; i++)
        fixture_admit(&f, 1, i, 3);
    fixture_settle(&f);
    for (uint64_t i = 1; i <= ADMITTED_MAX; i++)
        fixture_ask(&f, i, 3, "GET", MINTED_URL);
    minted(&f, mint_asked(&f), token, "");
    for (uint64_t i = 1; i <= ADMITTED_MAX; i++) {
        struct secret_values v;
        struct error e = ERROR_INIT;
        CHECK_EQ(fixture_next(&f, f.egress), SECRET_VALUES);
        CHECK_EQ(secret_values_get(&f.payload, &v, &e), 0);
        CHECK_EQ(v.number, i);
        CHECK_EQ(v.values[0].value.size, SECRET_TOKEN_MAX);
        CHECK_EQ(fixture_next(&f, f.room.channel), KEEPER_USED);
    }
    fixture_close(&f);
}

/* ---- certificates ---- */

static void leaf_ask(struct fixture *f, uint64_t number, const char *host, uint16_t port)
{
    struct buf payload = BUF_INIT(1024);
    struct leaf_ask a = { .number = number, .host = bytes_of(host), .port = port };
    leaf_ask_put(&payload, &a);
    fixture_send(f->front, LEAF_ASK, &payload, -1);
}

static void leaf_refused(struct fixture *f, uint64_t number, const char *host, uint16_t port,
                         enum grant_reason reason, const char *grant)
{
    struct leaf_refused r;
    struct error e = ERROR_INIT;
    char text[LEAF_GRANT_MAX + 1];
    leaf_ask(f, number, host, port);
    CHECK_EQ(fixture_next(f, f->front), LEAF_REFUSED);
    CHECK_EQ(leaf_refused_get(&f->payload, &r, &e), 0);
    CHECK_EQ(r.number, number);
    CHECK_EQ(r.reason, reason);
    snprintf(text, sizeof text, "%.*s", (int)r.grant.size, r.grant.data);
    if (grant[0])
        CHECK_HAS(text, grant);
    else
        CHECK_STR(text, "");
}

static void leaf_given(struct fixture *f, uint64_t number, const char *host, uint16_t port)
{
    struct leaf_given g;
    struct error e = ERROR_INIT;
    leaf_ask(f, number, host, port);
    CHECK_EQ(fixture_next(f, f->front), LEAF_GIVEN);
    CHECK_EQ(leaf_given_get(&f->payload, &g, &e), 0);
    CHECK_EQ(g.number, number);
    CHECK(g.until_ns > clock_monotonic_ns());
}

TEST(leaves_are_made_for_granted_hosts_alone)
{
    struct fixture f;
    char pem[4096];
    fixture_defaults(&f, GRANTS);
    f.start.flags = KEEPER_CERTIFICATES;
    fixture_open(&f);
    snprintf(pem, sizeof pem, "%s", fixture_string(&f));
    CHECK_HAS(pem, "BEGIN CERTIFICATE");
    CHECK(!strstr(pem, "PRIVATE"));
    f.front = fixture_client(&f, KEEPER_CLIENT_INGRESS, 0);
    leaf_given(&f, 1, "api.example.com", 443);
    leaf_given(&f, 2, "x.y.wide.example.com", 443);
    leaf_refused(&f, 3, "wide.example.com", 443, GRANT_NO_GRANT, "https://wide.example.com");
    leaf_refused(&f, 4, "api.example.com", 8443, GRANT_NO_GRANT,
                 "https://api.example.com:8443\n  methods: [GET]\n");
    leaf_refused(&f, 5, "API.example.com", 443, GRANT_MALFORMED, "");
    leaf_refused(&f, 6, "api.example.com:443", 443, GRANT_MALFORMED, "");
    leaf_refused(&f, 7, "2130706433", 443, GRANT_MALFORMED, "");
    fixture_number(&f, KEEPER_REVOKE, 0);
    fixture_settle(&f);
    leaf_refused(&f, 8, "api.example.com", 443, GRANT_REVOKED, "");
    leaf_given(&f, 9, "free.example.com", 443);
    /* The same CA in its next life. */
    fixture_end_room(&f);
    fixture_open(&f);
    CHECK_STR(fixture_string(&f), pem);
    fixture_close(&f);
}

TEST(a_front_that_breaks_the_protocol_is_alone_with_that)
{
    struct fixture f;
    struct buf payload = BUF_INIT(64);
    fixture_defaults(&f, GRANTS);
    f.start.flags = KEEPER_CERTIFICATES;
    fixture_open(&f);
    f.front = fixture_client(&f, KEEPER_CLIENT_INGRESS, 0);
    struct channel *other = fixture_client(&f, KEEPER_CLIENT_INGRESS, 1);
    fixture_send(other, SECRET_ASK, &payload, -1);
    CHECK_EQ(fixture_next(&f, other), 0);
    channel_free(other);
    leaf_given(&f, 1, "api.example.com", 443);
    fixture_close(&f);
}

TEST(a_flood_of_leaves_holds_up_no_release)
{
    struct fixture f;
    struct channel *fronts[4];
    struct leaf_ask a = { .number = 1, .host = bytes_of("api.example.com"), .port = 443 };
    fixture_defaults(&f, GRANTS);
    f.start.flags = KEEPER_CERTIFICATES;
    fixture_open(&f);
    for (uint32_t i = 0; i < ARRAY_SIZE(fronts); i++) {
        fronts[i] = fixture_client(&f, KEEPER_CLIENT_INGRESS, i);
        for (int k = 0; k < 200; k++) {
            struct buf payload = BUF_INIT(1024);
            leaf_ask_put(&payload, &a);
            fixture_send(fronts[i], LEAF_ASK, &payload, -1);
        }
    }
    fixture_admit(&f, 1, 1, 0);
    fixture_ask(&f, 1, 0, "GET", ASK_URL);
    CHECK_STR(fixture_answer(&f, 1), PLAIN_VALUE);
    for (uint32_t i = 0; i < ARRAY_SIZE(fronts); i++) {
        for (int k = 0; k < 200; k++)
            CHECK_EQ(fixture_next(&f, fronts[i]), LEAF_GIVEN);
        channel_free(fronts[i]);
    }
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_KEEPER] = keeper_room_main };
    room_dispatch(argc, argv, rooms);
    return test_main(argc, argv);
}
