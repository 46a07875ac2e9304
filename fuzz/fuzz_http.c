/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of the frames of exchanges, on any bytes. Laws: a payload that is taken, put again, is
 * the same bytes; what was taken could be put on a wire as it is: valid names and values, no
 * character that ends a line.
 */
#include <string.h>

#include "base/mem.h"
#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (256u << 10)

static struct http_field fields[HTTP_FIELDS_MAX];

static void check_bytes(struct bytes b, const uint8_t *data, size_t size)
{
    ASSERT(b.size == 0 || (b.data >= data && b.data + b.size <= data + size));
    ASSERT(b.size == 0 || (!memchr(b.data, '\n', b.size) && !memchr(b.data, '\r', b.size) &&
                           !memchr(b.data, '\0', b.size)));
}

static void check_fields(size_t count, const uint8_t *data, size_t size)
{
    ASSERT(count <= HTTP_FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        ASSERT(http1_field_valid(&fields[i]));
        check_bytes(fields[i].name, data, size);
        check_bytes(fields[i].value, data, size);
    }
}

static void check_same(const struct buf *out, const uint8_t *data, size_t size)
{
    ASSERT(out->size == size && memcmp(out->data, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    CLEANUP(buf_done) struct buf out = BUF_INIT(2 * INPUT_MAX);
    struct cursor c = cursor_of(data, size);
    struct http_request request;
    if (http_request_get(&c, fields, &request, NULL) == 0) {
        check_bytes(request.method, data, size);
        check_bytes(request.target, data, size);
        check_bytes(request.authority, data, size);
        check_bytes(request.peer, data, size);
        check_fields(request.field_count, data, size);
        http_request_put(&out, &request);
        check_same(&out, data, size);
    }
    struct http_response response;
    c = cursor_of(data, size);
    if (http_response_get(&c, fields, &response, NULL) == 0) {
        check_fields(response.field_count, data, size);
        buf_clear(&out);
        http_response_put(&out, &response);
        check_same(&out, data, size);
    }
    size_t count;
    c = cursor_of(data, size);
    if (http_fields_get(&c, fields, &count, NULL) == 0) {
        check_fields(count, data, size);
        buf_clear(&out);
        http_fields_put(&out, fields, count);
        check_same(&out, data, size);
    }
    struct http_failure failure;
    c = cursor_of(data, size);
    if (http_failure_get(&c, &failure, NULL) == 0) {
        ASSERT(http_error_name(failure.error));
        check_bytes(failure.address, data, size);
        buf_clear(&out);
        http_failure_put(&out, &failure);
        check_same(&out, data, size);
    }
    return 0;
}
