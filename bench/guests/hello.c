/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of `ambit serve` and `wasmtime serve` that does as little as an answer needs: "hello\n" to
 * every request. No libc, the canonical ABI by hand (RET is where results come). tests/guests/http/build
 * makes a component of it.
 */
typedef unsigned char u8;
typedef unsigned u32;
typedef unsigned long long u64;
typedef int i32;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define HTTP "wasi:http/types@0.2.12"
#define STREAMS "wasi:io/streams@0.2.12"
IMPORT(HTTP, "[constructor]fields") i32 fields_new(void);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(i32);
IMPORT(HTTP, "[constructor]outgoing-response") i32 response_new(i32);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(i32, void *);
IMPORT(HTTP, "[method]outgoing-body.write") void body_write(i32, void *);
IMPORT(HTTP, "[static]outgoing-body.finish") void body_finish(i32, i32, i32, void *);
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(i32, i32, i32, i32, u64, i32, i32, i32, i32);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void stream_write(i32, const void *, u32, void *);
IMPORT(STREAMS, "[resource-drop]output-stream") void stream_drop(i32);

static u8 ret[64] __attribute__((aligned(8)));
static u8 heap[1024] __attribute__((aligned(16)));
static u32 heap_used;

/* For what comes as a list: nothing here asks for any, but the ABI wants one. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, u32 old_size, u32 align,
                                                                u32 size)
{
    u32 at = (heap_used + 15) & ~15u;
    if (size > sizeof heap - at)
        __builtin_trap();
    heap_used = at + size;
    return heap + at;
}

/* What the tool runs before it takes the snapshot. */
__attribute__((export_name("ready"))) i32 ready(void)
{
    return 0;
}

/* A result's second word; the first says whether there is one. */
static i32 got(void)
{
    if (ret[0] != 0)
        __builtin_trap();
    return *(i32 *)(ret + 4);
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.12#handle"))) void handle(i32 request,
                                                                                     i32 outparam)
{
    request_drop(request);
    i32 response = response_new(fields_new());
    response_body(response, ret);
    i32 body = got();
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    body_write(body, ret);
    i32 stream = got();
    stream_write(stream, "hello\n", 6, ret);
    (void)got();
    stream_drop(stream);
    body_finish(body, 0, 0, ret);
    (void)got();
}
