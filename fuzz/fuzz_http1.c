/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 codec on any bytes, as requests and as responses. Laws: how the bytes are cut changes
 * nothing of what is read; what was read, printed, reads the same, and printed again is the same
 * bytes; names and values that were read are valid; a fault is for good.
 *
 * The first byte picks the side, what the response answers, and the limits; the second the cut.
 */
#include "tests/unit/http1_reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (256u << 10)

static const struct http1_limits small = { 400, 100, 5 };

static void read_all(struct reading *r, uint8_t how, struct bytes data, size_t step, uint64_t seed)
{
    struct http1_parser p;
    http1_init(&p, how & 1 ? HTTP1_RESPONSE : HTTP1_REQUEST, how & 2 ? &small : NULL);
    if (how & 4)
        http1_expect(&p, bytes_of(how & 8 ? "HEAD" : "CONNECT"));
    if (seed)
        reading_of(r, &p, data, reading_random, &seed);
    else
        reading_of(r, &p, data, reading_steps, &step);
    ASSERT(buf_status(&r->detail) == 0);
}

static void check_same(const struct buf *a, const struct buf *b)
{
    ASSERT(a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return 0;
    uint8_t how = data[0];
    struct bytes input = { data + 2, size - 2 };
    CLEANUP(reading_done) struct reading whole = READING_INIT;
    CLEANUP(reading_done) struct reading cut = READING_INIT;
    CLEANUP(reading_done) struct reading random = READING_INIT;
    read_all(&whole, how, input, SIZE_MAX / 2, 0);
    if (input.size < 4096) { /* each piece is a copy of what is held */
        read_all(&cut, how, input, (size_t)data[1] % 64 + 1, 0);
        check_same(&whole.detail, &cut.detail);
        check_same(&whole.again, &cut.again);
    }
    read_all(&random, how, input, 0, (uint64_t)data[1] + 1);
    check_same(&whole.detail, &random.detail);
    /* Limits count bytes, and the printer's differ from those that came. */
    if (whole.fault || !whole.all_1_1 || (how & 2) || whole.again.size > 60000)
        return 0;
    CLEANUP(reading_done) struct reading again = READING_INIT;
    read_all(&again, how, (struct bytes){ whole.again.data, whole.again.size }, SIZE_MAX / 2, 0);
    check_same(&whole.detail, &again.detail);
    check_same(&whole.again, &again.again);
    return 0;
}
