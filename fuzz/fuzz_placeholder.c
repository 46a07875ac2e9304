/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of fields with placeholders, and sets of them, on any bytes. Laws: what is filled has none of
 * them any more as it is; a value without one comes out as it went in; a second time changes nothing.
 */
#include <string.h>

#include "base/mem.h"
#include "egress/placeholder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKEN PLACEHOLDER_PREFIX "a_0123456789abcdef"
#define INPUT_MAX 8192

static struct bytes value_of(void *context, const char *name)
{
    return bytes_of("-value-");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct placeholder one = { (char *)"a", (char *)TOKEN };
    struct bytes in = { data, size };
    if (size > INPUT_MAX)
        return 0;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4 * INPUT_MAX), again = BUF_INIT(4 * INPUT_MAX);
    int filled = placeholder_fill(in, &one, 1, value_of, NULL, &out);
    struct bytes first = { out.data, out.size };
    ASSERT(filled >= 0);
    ASSERT(filled > 0 || bytes_equal(first, in));
    if (first.size > 0)
        ASSERT(!memmem(first.data, first.size, TOKEN, strlen(TOKEN)));
    ASSERT(placeholder_fill(first, &one, 1, value_of, NULL, &again) == 0);
    ASSERT(bytes_equal(first, (struct bytes){ again.data, again.size }));
    CLEANUP(mem_freep) char *text = mem_strndup((const char *)data, size);
    struct placeholder *all = NULL;
    size_t count = 0;
    if (text && placeholders_parse(text, &all, &count, NULL) == 0)
        placeholders_free(all, count);
    return 0;
}
