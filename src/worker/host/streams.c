/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams by handle: the engine knows one kind of stream, here are several. A handle's kind says
 * which class answers; what has no class is no stream, which is a bug of the engine.
 */
#include <string.h>

#include "worker/host/host.h"

static const struct stream_class *const classes[HANDLE_KIND_COUNT] = {
    [HANDLE_STREAM] = &stdio_class,
    [HANDLE_LINES] = &lines_class,
    [HANDLE_EXCHANGE] = &exchange_class,
    [HANDLE_BODY] = &body_class,
};

static const struct stream_class *find(struct guest *g, uint32_t handle, void **ret_object)
{
    return classes[handles_any(&g->handles, handle, ret_object)];
}

/* The stream behind a handle, unless the guest is at its end or the handle is nobody's. */
static const struct stream_class *stream_of(struct guest *g, uint32_t handle, void **ret_object)
{
    if (g->ended)
        return NULL;
    const struct stream_class *class = find(g, handle, ret_object);
    if (!class)
        guest_fault(g, -EBADF, "a stream handle that is not open");
    return class;
}

enum ambit_wait host_wait(void *host, uint32_t handle, bool for_write, uint64_t operation)
{
    struct guest *g = host;
    void *object;
    const struct stream_class *class = g->ended ? NULL : find(g, handle, &object);
    return class ? class->wait(g, object, for_write, operation) : AMBIT_READY;
}

enum ambit_stream_status host_stream_read(void *host, uint32_t stream, uint8_t *into, size_t size,
                                          size_t *ret_size)
{
    void *object;
    const struct stream_class *class = stream_of(host, stream, &object);
    *ret_size = 0;
    return class ? class->read(host, object, into, size, ret_size) : AMBIT_STREAM_END;
}

enum ambit_stream_status host_stream_check_write(void *host, uint32_t stream, size_t *ret_size)
{
    void *object;
    const struct stream_class *class = stream_of(host, stream, &object);
    *ret_size = 0;
    return class ? class->check_write(host, object, ret_size) : AMBIT_STREAM_END;
}

enum ambit_stream_status host_stream_write(void *host, uint32_t stream, const uint8_t *bytes,
                                           size_t size)
{
    void *object;
    const struct stream_class *class = stream_of(host, stream, &object);
    return class ? class->write(host, object, bytes, size) : AMBIT_STREAM_END;
}

enum ambit_stream_status host_stream_flush(void *host, uint32_t stream)
{
    void *object;
    const struct stream_class *class = stream_of(host, stream, &object);
    return class ? class->flush(host, object) : AMBIT_STREAM_END;
}

struct ambit_bytes host_stream_error(void *host, uint32_t stream)
{
    void *object;
    const struct stream_class *class = find(host, stream, &object);
    return class ? class->error(host, object) : (struct ambit_bytes){ (const uint8_t *)"", 0 };
}

void host_stream_drop(void *host, uint32_t stream)
{
    struct guest *g = host;
    if (!handles_remove(&g->handles, HANDLE_STREAM, stream))
        handles_remove(&g->handles, HANDLE_LINES, stream);
}

uint32_t host_give_handle(struct guest *g, enum handle_kind kind, void *object)
{
    uint32_t handle = 0;
    int status = handles_add(&g->handles, kind, object, &handle);
    if (status > 0)
        guest_end(g, RUN_END_LIMIT, RUN_LIMIT_HANDLES, "more than %zu handles", g->handles.max);
    else if (status < 0)
        guest_fault(g, status, "opening a handle");
    return status == 0 ? handle : 0;
}

static void close_object(void *context, enum handle_kind kind, void *object)
{
    fs_close(kind, object);
    http_close(kind, object);
}

void host_close_all(struct guest *g)
{
    http_end(g);
    handles_each(&g->handles, close_object, NULL);
}
