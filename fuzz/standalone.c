/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target without a fuzzer, for the ordinary test suite: runs every file of the folders
 * named, then the same files with single bits and bytes changed, cut and joined by a generator with
 * a fixed seed. A broken law aborts, and the file and the change are on standard error by then.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX (4u << 20)
#define CHANGES 400

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Changes `bytes` in place; gives the new size, at most the old one. */
static size_t change(uint8_t *bytes, size_t size)
{
    for (uint64_t times = 1 + next_random() % 4; times && size; times--) {
        size_t at = next_random() % size;
        size_t other = next_random() % size, length = next_random() % (size - MAX(at, other)) + 1;
        switch (next_random() % 5) {
        case 0:
            bytes[at] ^= (uint8_t)(1 << next_random() % 8);
            break;
        case 1:
            bytes[at] = (uint8_t)next_random();
            break;
        case 2:
            bytes[at] = next_random() % 2 ? 0xff : 0;
            break;
        case 3:
            size = at;
            break;
        default:
            memmove(bytes + at, bytes + other, length);
        }
    }
    return size;
}

static int run_file(const char *path)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(FILE_MAX);
    struct error e = ERROR_INIT;
    if (file_read(path, &text, &e) < 0) {
        fprintf(stderr, "%s\n", e.what);
        return 1;
    }
    CLEANUP(mem_freep) uint8_t *bytes = mem_alloc(text.size);
    if (!bytes)
        return 1;
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput((const uint8_t *)buf_cstr(&text), text.size);
    for (int i = 0; i < CHANGES; i++) {
        if (text.size)
            memcpy(bytes, text.data, text.size);
        LLVMFuzzerTestOneInput(bytes, change(bytes, text.size));
    }
    return 0;
}

static int run_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort), failed = 0, files = 0;
    if (count < 0) {
        perror(path);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        CLEANUP(mem_freep) char *file = mem_printf("%s/%s", path, entries[i]->d_name);
        if (file && entries[i]->d_name[0] != '.') {
            failed |= run_file(file);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    printf("%s %s: %d files, each with %d changes\n", failed || !files ? "not ok" : "ok", path,
           files, CHANGES);
    return failed || !files;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    long before = mem_live();
    for (int i = 1; i < argc; i++)
        failed |= run_folder(argv[i]);
    if (mem_live() != before) {
        printf("not ok: %ld blocks leaked\n", mem_live() - before);
        failed = 1;
    }
    return failed;
}
