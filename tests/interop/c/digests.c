/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: SHA-256 (FIPS 180-4) of every file below the folder in argv[1], sorted by name, as sha256sum prints them. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct sha256 {
    uint32_t h[8];
    uint64_t bytes;
    unsigned char block[64];
};

static uint32_t k[64];

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* The first 32 bits of the fractional parts of cube roots of the first 64 primes, by integers only. */
static uint32_t fraction_of_root(uint32_t prime, int cube)
{
    unsigned __int128 low = 0, high = (unsigned __int128)1 << 36, target = (unsigned __int128)prime << (cube ? 96 : 64);
    while (high - low > 1) {
        unsigned __int128 middle = (low + high) / 2, power = middle * middle;
        if (cube)
            power *= middle;
        if (power <= target)
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

static void start(struct sha256 *s)
{
    int found = 0;
    memset(s, 0, sizeof(*s));
    for (uint32_t p = 2; found < 64; p++) {
        int prime = 1;
        for (uint32_t d = 2; d * d <= p; d++)
            prime &= p % d != 0;
        if (!prime)
            continue;
        if (found < 8)
            s->h[found] = fraction_of_root(p, 0);
        k[found++] = fraction_of_root(p, 1);
    }
}

static void compress(struct sha256 *s)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)s->block[i * 4] << 24 | (uint32_t)s->block[i * 4 + 1] << 16 | (uint32_t)s->block[i * 4 + 2] << 8 | s->block[i * 4 + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, s->h, sizeof(v));
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        uint32_t b = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += a;
        v[0] = a + b;
    }
    for (int i = 0; i < 8; i++)
        s->h[i] += v[i];
}

static void add(struct sha256 *s, const unsigned char *data, size_t size)
{
    for (; size > 0; data++, size--) {
        s->block[s->bytes++ % 64] = *data;
        if (s->bytes % 64 == 0)
            compress(s);
    }
}

static void finish(struct sha256 *s)
{
    uint64_t bits = s->bytes * 8;
    add(s, (const unsigned char *)"\x80", 1);
    while (s->bytes % 64 != 56)
        add(s, (const unsigned char *)"", 1);
    for (int i = 56; i >= 0; i -= 8)
        add(s, &(unsigned char){ (unsigned char)(bits >> i) }, 1);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int one(const char *path)
{
    static unsigned char buffer[65536];
    struct sha256 s;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return 1;
    start(&s);
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), f)) > 0;)
        add(&s, buffer, n);
    int bad = ferror(f);
    fclose(f);
    finish(&s);
    for (int i = 0; i < 8; i++)
        printf("%08x", s.h[i]);
    printf("  %s\n", path);
    return bad;
}

static int walk(const char *folder)
{
    char *names[4096], path[4096];
    size_t count = 0;
    int bad = 0;
    DIR *d = opendir(folder);
    if (d == NULL)
        return 1;
    for (struct dirent *e; (e = readdir(d)) != NULL && count < 4096;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            names[count++] = strdup(e->d_name);
    closedir(d);
    qsort(names, count, sizeof(names[0]), by_name);
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        free(names[i]);
        if (lstat(path, &st) < 0)
            bad = 1;
        else if (S_ISDIR(st.st_mode))
            bad |= walk(path);
        else if (S_ISREG(st.st_mode))
            bad |= one(path);
    }
    return bad;
}

int main(int argc, char **argv)
{
    return argc == 2 ? walk(argv[1]) : 2;
}
