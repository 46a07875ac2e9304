/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: a large heap, many small blocks, blocks that grow and move; the sums show whether every byte stayed what it was. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    size_t large = 64u << 20;
    unsigned char *block = malloc(large);
    if (block == NULL) {
        puts("no memory for 64 MiB");
        return 1;
    }
    for (size_t i = 0; i < large; i += 4096)
        block[i] = (unsigned char)(i >> 12);
    memset(block + large / 2, 0x5a, 1 << 20);
    memmove(block + 1000, block, 32u << 20);
    uint64_t sum = 0;
    for (size_t i = 0; i < large; i += 1000)
        sum = sum * 33 + block[i];
    printf("64 MiB: %016llx\n", (unsigned long long)sum);
    free(block);

    uint64_t zeroes = 0, *clean = calloc(1 << 20, sizeof(*clean));
    for (size_t i = 0; clean != NULL && i < 1 << 20; i++)
        zeroes |= clean[i];
    printf("calloc: %d\n", clean != NULL && zeroes == 0);
    free(clean);

    enum { COUNT = 20000 };
    static unsigned char *small[COUNT];
    for (int round = 0; round < 5; round++)
        for (unsigned i = 0; i < COUNT; i++) {
            size_t size = 1 + (i * 2654435761u + (unsigned)round * 40503u) % 700;
            small[i] = realloc(small[i], size);
            if (small[i] == NULL) {
                puts("no memory for a small block");
                return 1;
            }
            memset(small[i], (int)i, size);
        }
    sum = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        sum = sum * 31 + small[i][0];
        free(small[i]);
    }
    printf("small: %016llx\n", (unsigned long long)sum);

    size_t size = 16, count = 0;
    char *grown = malloc(size);
    while (size < 8u << 20) {
        while (count < size)
            grown[count] = (char)(count * 13), count++;
        grown = realloc(grown, size *= 2);
    }
    sum = 0;
    for (size_t i = 0; i < count; i++)
        sum = sum * 31 + (unsigned char)grown[i];
    printf("grown: %016llx\n", (unsigned long long)sum);
    free(grown);
    void *volatile refused = malloc(SIZE_MAX - 4096); /* volatile, or the compiler takes it for granted */
    void *aligned = aligned_alloc(4096, 8192);
    printf("aligned: %d, too much: %d\n", aligned != NULL && (uintptr_t)aligned % 4096 == 0, refused == NULL);
    free(aligned);
    return 0;
}
