/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scrubber on any bytes. Laws: how the bytes are cut changes nothing of what comes out; as many
 * come out as went in, each as it was or '*'; how many are out depends on how many went in alone; a value
 * that the bytes hold as it is never comes out.
 *
 * The first byte picks the cut, the next 16 are the value (made visible).
 */
#include <string.h>

#include "base/mem.h"
#include "egress/scrub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define VALUE_SIZE 16
#define INPUT_MAX (64u << 10)

static void scrubbed(struct bytes value, struct bytes in, size_t step, struct buf *out)
{
    struct scrub *s = NULL;
    ASSERT(scrub_new(&value, 1, UINT64_C(0x9e3779b97f4a7c15), &s, NULL) == 0);
    for (size_t at = 0; at < in.size; at += step) {
        size_t some = MIN(step, in.size - at);
        scrub_push(s, (struct bytes){ in.data + at, some }, out);
        size_t came = at + some, held = scrub_held(s);
        ASSERT(out->size == (came > held ? came - held : 0));
    }
    scrub_end(s, out);
    ASSERT(out->size == in.size);
    scrub_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t value[VALUE_SIZE];
    if (size < 1 + VALUE_SIZE || size > INPUT_MAX)
        return 0;
    for (size_t i = 0; i < VALUE_SIZE; i++)
        value[i] = (uint8_t)('!' + data[1 + i] % 94);
    CLEANUP(buf_done) struct buf whole = BUF_INIT(2 * INPUT_MAX), cut = BUF_INIT(2 * INPUT_MAX);
    struct bytes v = { value, VALUE_SIZE }, in = { data + 1, size - 1 };
    scrubbed(v, in, in.size, &whole);
    scrubbed(v, in, 1 + data[0] % 64, &cut);
    ASSERT(memcmp(whole.data, cut.data, in.size) == 0);
    for (size_t i = 0; i < in.size; i++)
        ASSERT(whole.data[i] == in.data[i] || whole.data[i] == '*');
    for (size_t i = 0; i + VALUE_SIZE <= in.size; i++)
        ASSERT(memcmp(whole.data + i, value, VALUE_SIZE) != 0 || memchr(value, '*', VALUE_SIZE));
    return 0;
}
