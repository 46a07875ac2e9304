/* SPDX-License-Identifier: Apache-2.0 */
/* base/digest.c against FIPS 180-2 and RFC 4231, and the text form; base/clock.c's ids. */
#include "base/digest.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "tests/unit/test.h"

static const char abc[] = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char empty[] =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(sha256)
{
    struct digest d;
    char text[DIGEST_TEXT_SIZE];
    CHECK_EQ(digest_bytes("abc", 3, &d, NULL), 0);
    digest_text(&d, text);
    CHECK_STR(text, abc);
    CHECK_EQ(digest_bytes(NULL, 0, &d, NULL), 0);
    digest_text(&d, text);
    CHECK_STR(text, empty);
}

TEST(pieces_and_descriptors_agree)
{
    size_t size = 700000;
    CLEANUP(mem_freep) uint8_t *bytes = mem_zalloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    struct digest whole, pieces, descriptor;
    CHECK_EQ(digest_bytes(bytes, size, &whole, NULL), 0);
    struct digest_stream s;
    CHECK_EQ(digest_begin(&s, NULL), 0);
    for (size_t at = 0; at < size; at += 999)
        CHECK_EQ(digest_update(&s, bytes + at, MIN(size - at, (size_t)999), NULL), 0);
    CHECK_EQ(digest_finish(&s, &pieces, NULL), 0);
    digest_done(&s);
    digest_done(&s);
    CLEANUP(fd_closep) int fd = file_memfd("test", bytes, size, true, NULL);
    CHECK(fd >= 0);
    CHECK_EQ(lseek(fd, 5, SEEK_SET), 5);
    CHECK_EQ(digest_fd(fd, &descriptor, NULL), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5);
    CHECK(digest_equal(&whole, &pieces));
    CHECK(digest_equal(&whole, &descriptor));
    whole.bytes[31] ^= 1;
    CHECK(!digest_equal(&whole, &pieces));
    CHECK(digest_fd(-1, &whole, NULL) < 0);
}

TEST(hmac)
{
    static const struct {
        const char *key;
        size_t key_size;
        const char *data, *text;
    } cases[] = {
        { "Jefe", 4, "what do ya want for nothing?",
          "sha256:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b", 20,
          "Hi There", "sha256:b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    };
    struct digest d;
    char text[DIGEST_TEXT_SIZE], key[131];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_EQ(digest_hmac(cases[i].key, cases[i].key_size, cases[i].data, strlen(cases[i].data),
                             &d, NULL),
                 0);
        digest_text(&d, text);
        CHECK_STR(text, cases[i].text);
    }
    memset(key, 0xaa, sizeof key); /* longer than a block */
    static const char data[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    CHECK_EQ(digest_hmac(key, sizeof key, data, sizeof data - 1, &d, NULL), 0);
    digest_text(&d, text);
    CHECK_STR(text, "sha256:60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(text_form)
{
    struct digest d, back;
    char text[DIGEST_TEXT_SIZE];
    CHECK_EQ(digest_parse(abc, &d), 0);
    digest_text(&d, text);
    CHECK_STR(text, abc);
    static const char *const bad[] = {
        "",
        "sha256:",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015add",
        "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_EQ(digest_parse(bad[i], &back), -EINVAL);
}

TEST(ids)
{
    char a[ID_TEXT_SIZE], b[ID_TEXT_SIZE];
    CHECK_EQ(id_new(a), 0);
    CHECK_EQ(id_new(b), 0);
    CHECK(id_valid(a) && id_valid(b));
    CHECK(strcmp(a, b) != 0);
    CHECK(strncmp(a, b, 6) <= 0); /* the same or a later time */
    static const char *const bad[] = { "",
                                       "01ARZ3NDEKTSV4RRFFQ69G5FA",
                                       "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
                                       "81ARZ3NDEKTSV4RRFFQ69G5FAV",
                                       "01ARZ3NDEKTSV4RRFFQ69G5FAU",
                                       "01arz3ndektsv4rrffq69g5fav" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!id_valid(bad[i]));
    CHECK(id_valid("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
}

TEST_MAIN()
