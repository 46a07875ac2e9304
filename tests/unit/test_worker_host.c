/* SPDX-License-Identifier: Apache-2.0 */
/* worker/host/: what stands behind each interface, with a grant, without one, and after it expired.
 * The vtbl is called directly. */
#include "base/clock.h"
#include "tests/unit/worker_fixture.h"

/* ---- random ---- */

/* RFC 8439, appendix A.1, vectors 1 and 2: key, nonce and counter of zeros, then counter 1. */
static const uint8_t rfc_keystream[128] = {
    0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28,
    0xbd, 0xd2, 0x19, 0xb8, 0xa0, 0x8d, 0xed, 0x1a, 0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7,
    0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37,
    0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86,
    0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a, 0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d,
    0xcb, 0x0f, 0x29, 0xa0, 0x48, 0xe3, 0x65, 0x69, 0x12, 0xc6, 0x53, 0x3e, 0x32, 0xee, 0x7a, 0xed,
    0x29, 0xb7, 0x21, 0x76, 0x9c, 0xe6, 0x4e, 0x43, 0xd5, 0x71, 0x33, 0xb0, 0x74, 0xd8, 0x39, 0xd5,
    0x31, 0xed, 0x1f, 0x28, 0x51, 0x0a, 0xfb, 0x45, 0xac, 0xe1, 0x0a, 0x1f, 0x4b, 0x79, 0x4d, 0x6f,
};

TEST(chacha_is_that_of_the_rfc)
{
    static const uint8_t key[32];
    struct chacha c;
    uint8_t got[128];
    chacha_init(&c, key);
    chacha_read(&c, got, sizeof(got));
    CHECK(!memcmp(got, rfc_keystream, sizeof(got)));
}

TEST(chunks_do_not_matter)
{
    static const uint8_t key[32];
    static const size_t parts[] = { 1, 0, 2, 61, 63, 1 };
    struct chacha c;
    uint8_t got[128], *at = got;
    chacha_init(&c, key);
    for (size_t i = 0; i < ARRAY_SIZE(parts); at += parts[i++])
        chacha_read(&c, at, parts[i]);
    CHECK_EQ(at - got, 128);
    CHECK(!memcmp(got, rfc_keystream, sizeof(got)));
}

TEST(a_seed_repeats)
{
    struct fixture f, other;
    uint8_t one[100], two[100], key_one[32], key_two[32];
    fixture_open(&f, "grants:\n  - random: a seed\n");
    fixture_open(&other, "grants:\n  - random: a seed\n");
    f.v->random(f.guest, true, one, 100);
    other.v->random(other.guest, true, two, 37);
    other.v->random(other.guest, false, two + 37, 63);
    CHECK(!memcmp(one, two, 100));
    CHECK_EQ(f.denials, 0);
    CHECK_EQ(f.guest->uses[0].count, 1);
    CHECK_EQ(f.guest->uses[0].bytes_read, 100);
    CHECK_EQ(host_random_identity_key(f.guest, key_one), 0);
    CHECK_EQ(host_random_identity_key(other.guest, key_two), 0);
    CHECK(!memcmp(key_one, key_two, 32));
    CHECK(memcmp(key_one, one, 32) != 0);
    fixture_close(&f);
    fixture_close(&other);
    fixture_open(&f, "grants:\n  - random: another seed\n");
    f.v->random(f.guest, true, two, 100);
    CHECK(memcmp(one, two, 100) != 0);
    fixture_close(&f);
}

TEST(real_random_does_not_repeat)
{
    struct fixture f;
    uint8_t one[32] = { 0 }, two[32] = { 0 };
    fixture_open(&f, "grants:\n  - random: real\n");
    f.v->random(f.guest, true, one, 32);
    f.v->random(f.guest, false, two, 32);
    CHECK(memcmp(one, two, 32) != 0);
    CHECK_EQ(f.denials, 0);
    fixture_close(&f);
}

TEST(random_without_a_grant)
{
    struct fixture f;
    uint8_t one[16], two[16];
    /* SHA-256 of nothing as ChaCha20 key */
    fixture_open(&f, "grants: []\n");
    f.v->random(f.guest, true, one, 16);
    f.v->random(f.guest, true, two, 16);
    CHECK(memcmp(one, two, 16) != 0);
    CHECK_EQ(f.denials, 1);
    CHECK_HAS(f.yaml[0], "random: real");
    CHECK_EQ(f.guest->denials->total, 2);
    fixture_close(&f);
    fixture_open(&f, "grants: []\n");
    f.v->random(f.guest, true, two, 16);
    CHECK(!memcmp(one, two, 16));
    fixture_close(&f);
}

/* ---- clock ---- */

TEST(a_fixed_clock_counts_readings)
{
    struct fixture f;
    fixture_open(&f, "grants:\n  - clock: 2026-01-01T00:00:00Z\n");
    CHECK_EQ(f.v->wall_now(f.guest), INT64_C(1767225600000000000));
    for (int i = 0; i < 5; i++)
        CHECK_EQ(f.v->monotonic_now(f.guest), i * 1000);
    CHECK_EQ(f.v->wall_now(f.guest), INT64_C(1767225600000000000));
    CHECK_EQ(f.v->monotonic_resolution(f.guest), 1000);
    CHECK_EQ(f.denials, 0);
    CHECK_EQ(f.guest->uses[0].count, 7);
    fixture_close(&f);
}

TEST(no_clock)
{
    struct fixture f;
    fixture_open(&f, "grants: []\n");
    CHECK_EQ(f.v->wall_now(f.guest), 0);
    CHECK_EQ(f.v->monotonic_now(f.guest), 0);
    CHECK_EQ(f.v->monotonic_now(f.guest), 1000);
    CHECK_EQ(f.denials, 2); /* two clocks; the third reading is a repeat */
    CHECK_EQ(f.guest->denials->total, 3);
    CHECK_STR(f.resources[0], "wall");
    CHECK_HAS(f.yaml[0], "clock: real");
    fixture_close(&f);
}

TEST(a_real_clock)
{
    struct fixture f;
    fixture_open(&f, "grants:\n  - clock: real\n");
    uint64_t first = f.v->monotonic_now(f.guest), second = f.v->monotonic_now(f.guest);
    CHECK(second >= first);
    CHECK(first < 60 * NS_PER_S); /* of the run, not of the machine */
    int64_t now = clock_real_ns();
    CHECK(f.v->wall_now(f.guest) - now < (int64_t)(60 * NS_PER_S) && f.v->wall_now(f.guest) >= now);
    CHECK_EQ(f.denials, 0);
    guest_revoke(f.guest, GRANT_EXPIRED);
    uint64_t third = f.v->monotonic_now(f.guest);
    CHECK(third >= second);
    CHECK_EQ(f.v->monotonic_now(f.guest), third + 1000);
    CHECK_EQ(f.v->wall_now(f.guest), 0);
    CHECK_EQ(f.denials, 2);
    CHECK_STR(f.yaml[0], ""); /* no grant brings it back */
    fixture_close(&f);
}

/* ---- environment, arguments, config, log ---- */

TEST(environment_is_what_was_granted)
{
    struct fixture f;
    const struct ambit_pair *pairs;
    size_t count;
    fixture_open(&f, "grants:\n  - env: { LANG: C.UTF-8 }\n  - env: { A: b }\n");
    f.v->environment(f.guest, &pairs, &count);
    CHECK_EQ(count, 2);
    CHECK(pairs[0].key.size == 4 && !memcmp(pairs[0].key.data, "LANG", 4));
    CHECK(pairs[1].value.size == 1 && pairs[1].value.data[0] == 'b');
    guest_revoke(f.guest, GRANT_REVOKED);
    f.v->environment(f.guest, &pairs, &count);
    CHECK_EQ(count, 0);
    CHECK_EQ(f.denials, 1);
    fixture_close(&f);
    fixture_open(&f, "grants: []\n");
    f.v->environment(f.guest, &pairs, &count);
    CHECK_EQ(count, 0);
    CHECK_EQ(f.denials, 0);
    fixture_close(&f);
}

static void check_arguments(const char *grants, const char *expected)
{
    struct fixture f;
    const struct ambit_bytes *args;
    size_t count;
    char got[128] = "";
    fixture_open(&f, grants);
    f.v->arguments(f.guest, &args, &count);
    for (size_t i = 0; i < count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ", (int)args[i].size,
                 (const char *)args[i].data);
    CHECK_STR(got, expected);
    CHECK_EQ(f.denials, *expected ? 0 : 1);
    fixture_close(&f);
}

TEST(arguments)
{
    check_arguments("grants:\n  - args: given\n", "program script one two ");
    check_arguments("grants:\n  - args: [x, y, z]\n", "program script x y z ");
    check_arguments("grants: []\n", "");
}

TEST(config_gives_granted_keys)
{
    struct fixture f;
    struct ambit_bytes value;
    const struct ambit_pair *pairs;
    size_t count;
    fixture_open(&f, "grants:\n  - config: { color: blue }\n");
    CHECK(f.v->config_get(f.guest, bytes("color"), &value));
    CHECK(value.size == 4 && !memcmp(value.data, "blue", 4));
    CHECK(!f.v->config_get(f.guest, bytes("colour"), &value));
    CHECK_EQ(f.denials, 1);
    CHECK_STR(f.resources[0], "colour");
    CHECK_HAS(f.yaml[0], "colour");
    CHECK(
        !f.v->config_get(f.guest, (struct ambit_bytes){ (const uint8_t *)"color\0x", 7 }, &value));
    f.v->config_all(f.guest, &pairs, &count);
    CHECK_EQ(count, 1);
    guest_revoke(f.guest, GRANT_EXPIRED);
    CHECK(!f.v->config_get(f.guest, bytes("color"), &value));
    f.v->config_all(f.guest, &pairs, &count);
    CHECK_EQ(count, 0);
    fixture_close(&f);
}

TEST(log_levels_and_rate)
{
    struct fixture f;
    fixture_open(&f, "grants:\n  - log: [info, error]\n");
    f.v->log(f.guest, LOG_INFO, bytes("topic"), bytes("hello"));
    CHECK_EQ(f.logs, 1);
    CHECK_STR(f.last_log, "topic: hello");
    f.v->log(f.guest, LOG_DEBUG, bytes("topic"), bytes("hidden"));
    CHECK_EQ(f.logs, 1);
    CHECK_EQ(f.denials, 1);
    CHECK_STR(f.resources[0], "debug");
    CHECK_HAS(f.yaml[0], "debug");
    for (int i = 0; i < 100000; i++)
        f.v->log(f.guest, LOG_ERROR, bytes("t"), bytes("flood"));
    CHECK(f.logs < 10000);
    host_log_finish(f.guest);
    CHECK_HAS(f.last_log, "dropped");
    CHECK_EQ(f.last_level, LOG_WARN);
    fixture_close(&f);
}

TEST(long_log_lines_are_cut)
{
    struct fixture f;
    char *line = mem_zalloc(1 << 20);
    CHECK(line != NULL);
    memset(line, 'x', (1 << 20) - 1);
    fixture_open(&f, "grants:\n  - log: [info]\n");
    f.v->log(f.guest, LOG_INFO, bytes(line), bytes(line));
    CHECK_EQ(f.logs, 1);
    CHECK_EQ(strlen(f.last_log), sizeof(f.last_log) - 1);
    mem_free(line);
    fixture_close(&f);
}

/* ---- files ---- */

TEST(files_by_handles)
{
    struct fixture f;
    struct ambit_fs_stat st;
    uint32_t file = 0, folder, listing, type;
    struct ambit_bytes name;
    uint8_t got[16];
    size_t size;
    bool end;
    fixture_open(&f, "grants:\n  - fs: /tmp\n    from: memory\n    allow: rw\n");
    uint32_t root = f.v->fs_root(f.guest);
    CHECK(root != 0);
    CHECK_EQ(f.v->fs_type(f.guest, root), VFS_TYPE_DIRECTORY);
    CHECK_EQ(f.v->fs_open_at(f.guest, root, true, bytes("tmp/a"), VFS_O_CREATE, 3, &file), 0);
    CHECK_EQ(f.v->fs_flags(f.guest, file), 3);
    CHECK_EQ(f.v->fs_write(f.guest, file, 0, (const uint8_t *)"hello", 5, &size), 0);
    CHECK_EQ(size, 5);
    CHECK_EQ(f.v->fs_read(f.guest, file, 1, got, sizeof(got), &size), 0);
    CHECK(size == 4 && !memcmp(got, "ello", 4));
    CHECK_EQ(f.v->fs_stat(f.guest, file, &st), 0);
    CHECK(st.type == VFS_TYPE_REGULAR && st.size == 5);
    CHECK(f.v->fs_same_object(f.guest, file, file));
    CHECK_EQ(f.v->fs_open_at(f.guest, root, true, bytes("tmp"), VFS_O_DIRECTORY, 1, &folder), 0);
    CHECK_EQ(f.v->fs_list(f.guest, folder, &listing), 0);
    CHECK_EQ(f.v->fs_listing_next(f.guest, listing, &type, &name, &end), 0);
    CHECK(!end && type == VFS_TYPE_REGULAR && name.size == 1 && name.data[0] == 'a');
    CHECK_EQ(f.v->fs_listing_next(f.guest, listing, &type, &name, &end), 0);
    CHECK(end);
    f.v->fs_listing_drop(f.guest, listing);
    CHECK_EQ(f.denials, 0);
    CHECK_EQ(f.v->fs_stat_at(f.guest, root, true, bytes("etc/passwd"), &st), VFS_NO_ENTRY);
    CHECK_EQ(f.denials, 1);
    CHECK_STR(f.resources[0], "/etc/passwd");
    CHECK_HAS(f.yaml[0], "fs: /etc");
    CHECK(f.guest->uses[0].bytes_written == 5 && f.guest->uses[0].bytes_read == 4);
    guest_revoke(f.guest, GRANT_EXPIRED);
    CHECK(f.v->fs_read(f.guest, file, 0, got, sizeof(got), &size) > 0);
    CHECK(!f.guest->ended);
    fixture_close(&f);
}

TEST(a_wrong_handle_ends_the_guest)
{
    struct fixture f;
    struct ambit_fs_stat st;
    size_t size;
    uint8_t byte;
    fixture_open(&f, "grants: []\n");
    uint32_t stream = f.v->stdio(f.guest, 0);
    CHECK(f.v->fs_stat(f.guest, stream, &st) < 0);
    CHECK(f.guest->ended);
    CHECK_EQ(f.guest->done.end, RUN_END_FAULT);
    CHECK(f.v->enter(f.guest, 0) != 0);
    CHECK_EQ(f.v->stream_read(f.guest, stream, &byte, 1, &size), AMBIT_STREAM_END);
    f.v->stream_drop(f.guest, stream); /* drops go on */
    CHECK_EQ(f.guest->handles.live, 0);
    fixture_close(&f);
}

TEST(handles_have_a_limit)
{
    struct fixture f;
    uint32_t handle = 0;
    int opened = 0, status = 0;
    fixture_open(
        &f, "limits: { handles: 20 }\ngrants:\n  - fs: /tmp\n    from: memory\n    allow: rw\n");
    uint32_t root = f.v->fs_root(f.guest);
    while (opened < 100 &&
           (status = f.v->fs_open_at(f.guest, root, true, bytes("tmp"), 0, 1, &handle)) == 0)
        opened++;
    CHECK(status < 0);
    CHECK_EQ(opened, 19);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_HANDLES);
    CHECK_EQ(f.guest->handles.peak, 20);
    fixture_close(&f);
    fixture_open(&f, "limits: { handles: 20 }\ngrants: []\n");
    for (int i = 0; i < 21; i++)
        handle = f.v->stdio(f.guest, 1);
    CHECK_EQ(handle, 0);
    CHECK_EQ(f.guest->done.limit, RUN_LIMIT_HANDLES);
    fixture_close(&f);
}

TEST_MAIN()
