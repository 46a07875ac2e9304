/* SPDX-License-Identifier: Apache-2.0 */
/* See encode.h. Compared, not looked up in tables: keys are read with it, and what a table touches depends on them. */
#include "base/encode.h"

#include <string.h>

#include "base/mem.h"

static bool is_between(uint8_t c, char first, char last)
{
    return c >= (uint8_t)first && c <= (uint8_t)last;
}

int hex_value(uint8_t c)
{
    if (is_between(c, '0', '9'))
        return c - '0';
    c |= 0x20;
    return is_between(c, 'a', 'f') ? c - 'a' + 10 : -1;
}

int base64_value(uint8_t c)
{
    if (is_between(c, 'A', 'Z'))
        return c - 'A';
    if (is_between(c, 'a', 'z'))
        return c - 'a' + 26;
    if (is_between(c, '0', '9'))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

void hex_text(const uint8_t *bytes, size_t size, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[2 * size] = '\0';
}

void base64url_put(struct buf *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = MIN(size - i, (size_t)3);
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        for (size_t k = 0; k <= left; k++)
            buf_putc(out, digits[three >> (18 - 6 * k) & 63]);
    }
}

void percent_put(struct buf *out, uint8_t c, const char *plain)
{
    if (is_between(c, '0', '9') || is_between(c | 0x20, 'a', 'z') || (c && strchr(plain, c)))
        buf_putc(out, (char)c);
    else
        buf_printf(out, "%%%02X", c);
}
