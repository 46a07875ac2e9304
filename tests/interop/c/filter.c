/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: standard input to standard output, as a filter does: numbers lines, counts words, turns letters; a checksum at the end. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    uint32_t crc = 0xffffffffu;
    unsigned long lines = 0, words = 0, bytes = 0;
    int in_word = 0, at_start = 1;
    char unbuffered[1];

    if (argc > 1) { /* byte by byte through read(2) and write(2) */
        ssize_t n;
        while ((n = read(0, unbuffered, 1)) == 1)
            if (write(1, unbuffered, 1) != 1)
                return 2;
        return n < 0;
    }
    for (int c; (c = getchar()) != EOF; bytes++) {
        crc ^= (uint32_t)c;
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        if (at_start)
            printf("%6lu  ", lines + 1);
        at_start = c == '\n';
        lines += c == '\n';
        words += !isspace(c) && !in_word;
        in_word = !isspace(c);
        if (isalpha(c) && c < 128)
            c = (tolower(c) - 'a' + 13) % 26 + (isupper(c) ? 'A' : 'a');
        putchar(c);
    }
    printf("\n%lu lines, %lu words, %lu bytes, crc32 %08x\n", lines, words, bytes, ~crc);
    return ferror(stdin) || fflush(stdout) != 0;
}
