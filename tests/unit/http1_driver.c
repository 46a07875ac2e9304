/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads inputs from standard input, each a little-endian u32 length and that many bytes, and prints
 * what the codec reads in each, a line per input: for tests/interop/http1_differential.py.
 *
 *     http1_driver request|response [--lenient FAULT]      (--lenient: with test hooks only)
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/http1_reading.h"
#include "wire/http1_hooks.h"

static bool set_lenient(const char *name)
{
#ifdef AMBIT_TEST_HOOKS
    for (enum http1_fault f = 1; f < HTTP1_FAULT_COUNT; f++)
        if (strcmp(http1_fault_name(f), name) == 0) {
            http1_lenient |= UINT64_C(1) << f;
            return true;
        }
#endif
    fprintf(stderr, "http1_driver: cannot overlook %s\n", name);
    return false;
}

static void read_one(enum http1_side side, struct bytes input)
{
    static struct http1_parser p;
    CLEANUP(reading_done) struct reading r = READING_INIT;
    http1_init(&p, side, NULL);
    reading_of(&r, &p, input, reading_whole, NULL);
    puts(buf_cstr(&r.line));
}

int main(int argc, char **argv)
{
    if (argc < 2 || (argc == 4 && !set_lenient(argv[3])))
        return 2;
    enum http1_side side = strcmp(argv[1], "response") == 0 ? HTTP1_RESPONSE : HTTP1_REQUEST;
    uint8_t header[4];
    while (fread(header, 1, sizeof header, stdin) == sizeof header) {
        struct cursor c = cursor_of(header, sizeof header);
        size_t size = cursor_u32(&c);
        CLEANUP(mem_freep) uint8_t *data = mem_alloc(size + 1);
        if (!data || fread(data, 1, size, stdin) != size)
            return 1;
        read_one(side, (struct bytes){ data, size });
    }
    return 0;
}
