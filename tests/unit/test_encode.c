/* SPDX-License-Identifier: Apache-2.0 */
/* base/encode.c: beside OpenSSL's, and RFC 4648's vectors. */
#include "base/encode.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/digest.h"
#include "tests/unit/test.h"

TEST(every_digit_and_nothing_else)
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                      hex[] = "0123456789abcdef";
    for (int c = 0; c < 256; c++) {
        const char *digit = c ? strchr(base64, c) : NULL;
        const char *low = c ? strchr(hex, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
        CHECK_EQ(base64_value((uint8_t)c), digit ? digit - base64 : -1);
        CHECK_EQ(hex_value((uint8_t)c), low ? low - hex : -1);
    }
}

TEST(base64url)
{
    static const struct {
        const char *text, *wanted;
    } rows[] = { { "", "" },
                 { "f", "Zg" },
                 { "fo", "Zm8" },
                 { "foo", "Zm9v" },
                 { "foob", "Zm9vYg" },
                 { "fooba", "Zm9vYmE" },
                 { "foobar", "Zm9vYmFy" },
                 { "\xfb\xff", "-_8" } };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(64);
        base64url_put(&out, (const uint8_t *)rows[i].text, strlen(rows[i].text));
        CHECK_STR(buf_cstr(&out), rows[i].wanted);
    }
}

TEST(base64url_beside_openssl)
{
    uint8_t bytes[64], theirs[128];
    CHECK_EQ(random_bytes(bytes, sizeof bytes), 0);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(128);
        base64url_put(&out, bytes, size);
        int count = EVP_EncodeBlock(theirs, bytes, (int)size);
        while (count > 0 && theirs[count - 1] == '=')
            count--;
        CHECK_EQ(out.size, (size_t)count);
        for (size_t i = 0; i < out.size; i++)
            CHECK_EQ(out.data[i], theirs[i] == '+' ? '-' : theirs[i] == '/' ? '_' : theirs[i]);
    }
}

TEST(hex_and_escapes)
{
    char text[7];
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    hex_text((const uint8_t *)"\x00\xaf\xff", 3, text);
    CHECK_STR(text, "00afff");
    for (const char *at = "aZ9 ~/\x80"; *at; at++)
        percent_put(&out, (uint8_t)*at, "-._~");
    percent_put(&out, 0, "-._~");
    CHECK_STR(buf_cstr(&out), "aZ9%20~%2F%80%00");
}

int main(int argc, char **argv)
{
    return test_main(argc, argv);
}
