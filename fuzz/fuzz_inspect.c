/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit inspect` of any bytes, as the compiler room does it: the engine's description, without
 * machine code. Laws: it answers, and the same twice; an answer is OK with a description that is one
 * JSON object within its bound and names its kind, or a reason in words; what the first bytes say
 * about the kind never depends on more than 4 KiB.
 *
 * Coverage guides it into the Rust parsers too: scripts/fuzz builds the engine with counters.
 */
#include <string.h>

#include "ambit_engine.h"
#include "base/json.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (256u << 10)
#define DESCRIPTION_MAX (1u << 20)

static void into_buf(void *context, const uint8_t *bytes, size_t size)
{
    buf_append(context, bytes, size);
}

static enum ambit_compile_status describe(const uint8_t *data, size_t size, struct buf *description,
                                          struct buf *message)
{
    CLEANUP(buf_done) struct buf code = BUF_INIT(1);
    enum ambit_compile_status status =
        ambit_compile(data, size, true, into_buf, &code, into_buf, description, into_buf, message);
    ASSERT(code.size == 0 && code.failed == 0);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    enum ambit_kind kind = ambit_kind_of(data, size);
    ASSERT(size <= 4096 || ambit_kind_of(data, 4096) == kind);
    CLEANUP(buf_done) struct buf first = BUF_INIT(DESCRIPTION_MAX);
    CLEANUP(buf_done) struct buf second = BUF_INIT(DESCRIPTION_MAX);
    CLEANUP(buf_done) struct buf why = BUF_INIT(DESCRIPTION_MAX);
    CLEANUP(buf_done) struct buf again = BUF_INIT(DESCRIPTION_MAX);
    enum ambit_compile_status status = describe(data, size, &first, &why);
    ASSERT(describe(data, size, &second, &again) == status);
    ASSERT(buf_status(&first) == 0 && buf_status(&why) == 0);
    ASSERT(first.size == second.size &&
           (first.size == 0 || memcmp(first.data, second.data, first.size) == 0));
    if (status != AMBIT_COMPILE_OK) {
        ASSERT(why.size > 0);
        return 0;
    }
    json_t *object = json_loadb((const char *)first.data, first.size, JSON_REJECT_DUPLICATES, NULL);
    ASSERT(json_is_object(object));
    const char *name = json_string_value(json_object_get(object, "kind"));
    ASSERT(name && (strcmp(name, "component") == 0 || strcmp(name, "module") == 0));
    json_decref(object);
    return 0;
}
