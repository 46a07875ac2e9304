/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, pollables, clocks, random numbers, arguments: functions for the run-time library.
 *
 * Handles travel through JavaScript as plain numbers; only the library (runtime/) ever sees them, a script cannot reach `native`.
 * Whoever took a handle drops it, children (pollables) before parents (streams). */
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define WRITE_MAX 4096 /* of blocking-write-and-flush */

static handle standard[3];

void io_start(void)
{
    standard[0] = wasi_stdin();
    standard[1] = wasi_stdout();
    standard[2] = wasi_stderr();
}

static void stream_error_done(const struct result *r)
{
    if (r->tag == 1 && r->u.stream.kind == 0)
        wasi_error_drop(r->u.stream.error);
}

bool io_write_all(int stream, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        struct result r;
        uint32_t n = size < WRITE_MAX ? (uint32_t)size : WRITE_MAX;
        wasi_blocking_write(standard[stream], at, n, &r);
        if (r.tag == 1) {
            stream_error_done(&r);
            return false;
        }
        at += n;
        size -= n;
    }
    return true;
}

JSValue io_take_bytes(JSContext *ctx, struct list *list)
{
    JSValue v = JS_NewUint8ArrayCopy(ctx, list->data, list->size);
    free(list->data);
    return v;
}

JSValue io_take_text(JSContext *ctx, struct list *list)
{
    JSValue v = JS_NewStringLen(ctx, list->data, list->size);
    free(list->data);
    return v;
}

int input_get(JSContext *ctx, JSValueConst value, struct input *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (JS_IsString(value)) {
        ret->text = JS_ToCStringLen(ctx, &ret->size, value);
        ret->data = (const uint8_t *)ret->text;
        return ret->text != NULL ? 0 : -1;
    }
    ret->data = JS_GetUint8Array(ctx, &ret->size, value);
    if (ret->data == NULL && JS_HasException(ctx))
        return -1;
    return 0;
}

void input_done(JSContext *ctx, struct input *input)
{
    if (input->text != NULL)
        JS_FreeCString(ctx, input->text);
}

static int arg_handle(JSContext *ctx, JSValueConst v, handle *ret)
{
    return JS_ToInt32(ctx, ret, v);
}

/* print(stream, text or bytes) → whether somebody reads it */
static JSValue io_print(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct input in;
    int32_t stream;
    if (JS_ToInt32(ctx, &stream, argv[0]) < 0 || input_get(ctx, argv[1], &in) < 0)
        return JS_EXCEPTION;
    bool read = (stream == 1 || stream == 2) && io_write_all(stream, in.data, in.size);
    input_done(ctx, &in);
    return JS_NewBool(ctx, read);
}

/* stdin() → handle of the stream, which the library must not drop */
static JSValue io_stdin(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    return JS_NewInt32(ctx, standard[0]);
}

/* Bytes; null at the end; a string that says why it failed; or -code of an HTTP error. */
static JSValue read_answer(JSContext *ctx, struct result *r)
{
    if (r->tag == 0)
        return io_take_bytes(ctx, &r->u.list);
    if (r->u.stream.kind == 1)
        return JS_NULL;
    struct http_result code;
    struct list text;
    wasi_http_error_code(r->u.stream.error, &code);
    if (code.tag == 1) {
        if (code.u.error.code == 38 && code.u.error.there)
            free(code.u.error.text.data);
        wasi_error_drop(r->u.stream.error);
        return JS_NewInt32(ctx, -1 - code.u.error.code);
    }
    wasi_error_text(r->u.stream.error, &text);
    wasi_error_drop(r->u.stream.error);
    return io_take_text(ctx, &text);
}

/* read(stream, size, wait) */
static JSValue io_read(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    handle h;
    double size;
    struct result r;
    if (arg_handle(ctx, argv[0], &h) < 0 || JS_ToFloat64(ctx, &size, argv[1]) < 0)
        return JS_EXCEPTION;
    if (JS_ToBool(ctx, argv[2]))
        wasi_blocking_read(h, (uint64_t)size, &r);
    else
        wasi_read(h, (uint64_t)size, &r);
    return read_answer(ctx, &r);
}

/* write(stream, bytes, offset) → how many were taken (0: wait for the stream), null when it is closed, or as read */
static JSValue io_write(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    handle h;
    uint32_t at;
    struct input in;
    struct result64 may;
    struct result r;
    if (arg_handle(ctx, argv[0], &h) < 0 || JS_ToUint32(ctx, &at, argv[2]) < 0 ||
        input_get(ctx, argv[1], &in) < 0)
        return JS_EXCEPTION;
    wasi_check_write(h, &may);
    if (may.tag == 1) {
        input_done(ctx, &in);
        r.tag = 1;
        r.u.stream.kind = may.u.stream.kind;
        r.u.stream.error = may.u.stream.error;
        return read_answer(ctx, &r);
    }
    size_t n = at < in.size ? in.size - at : 0;
    n = n < may.u.value ? n : (size_t)may.u.value;
    if (n > 0) {
        wasi_write(h, in.data + at, (uint32_t)n, &r);
        if (r.tag == 0)
            wasi_flush(h, &r);
    }
    input_done(ctx, &in);
    if (n > 0 && r.tag == 1)
        return read_answer(ctx, &r);
    return JS_NewInt64(ctx, (int64_t)n);
}

/* poll(array of pollables) → array of indices that are ready */
static JSValue io_poll(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    int64_t count;
    struct list ready;
    if (JS_GetLength(ctx, argv[0], &count) < 0)
        return JS_EXCEPTION;
    if (count == 0)
        return JS_NewArray(ctx);
    handle *handles = js_malloc(ctx, (size_t)count * sizeof(handle));
    if (handles == NULL)
        return JS_EXCEPTION;
    for (int64_t i = 0; i < count; i++) {
        JSValue v = JS_GetPropertyInt64(ctx, argv[0], i);
        if (JS_ToInt32(ctx, &handles[i], v) < 0) {
            js_free(ctx, handles);
            return JS_EXCEPTION;
        }
    }
    wasi_poll(handles, (uint32_t)count, &ready);
    js_free(ctx, handles);
    JSValue array = JS_NewArray(ctx);
    const uint32_t *indices = ready.data;
    for (uint32_t i = 0; i < ready.size; i++)
        JS_SetPropertyUint32(ctx, array, i, JS_NewUint32(ctx, indices[i]));
    free(ready.data);
    return array;
}

enum { SUBSCRIBE_INPUT, SUBSCRIBE_OUTPUT, SUBSCRIBE_FUTURE };
static JSValue io_subscribe(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv,
                            int kind)
{
    handle h;
    if (arg_handle(ctx, argv[0], &h) < 0)
        return JS_EXCEPTION;
    return JS_NewInt32(ctx, kind == SUBSCRIBE_INPUT    ? wasi_input_subscribe(h)
                            : kind == SUBSCRIBE_OUTPUT ? wasi_output_subscribe(h)
                                                       : wasi_future_subscribe(h));
}

enum { DROP_POLLABLE, DROP_INPUT, DROP_OUTPUT };
static JSValue io_drop(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int kind)
{
    static void (*const drops[])(handle) = {
        [DROP_POLLABLE] = wasi_pollable_drop,
        [DROP_INPUT] = wasi_input_drop,
        [DROP_OUTPUT] = wasi_output_drop,
    };
    handle h;
    if (arg_handle(ctx, argv[0], &h) < 0)
        return JS_EXCEPTION;
    drops[kind](h);
    return JS_UNDEFINED;
}

/* after(milliseconds) → pollable */
static JSValue io_after(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    double ms;
    if (JS_ToFloat64(ctx, &ms, argv[0]) < 0)
        return JS_EXCEPTION;
    return JS_NewInt32(ctx, wasi_after(ms > 0 ? (uint64_t)(ms * 1e6) : 0));
}

/* now() → nanoseconds of the monotonic clock, a BigInt */
static JSValue io_now(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    return JS_NewBigUint64(ctx, wasi_monotonic());
}

/* nowMs() → milliseconds of the monotonic clock */
static JSValue io_now_ms(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    return JS_NewFloat64(ctx, (double)wasi_monotonic() / 1e6);
}

static JSValue io_random(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    uint32_t size;
    struct list list;
    if (JS_ToUint32(ctx, &size, argv[0]) < 0)
        return JS_EXCEPTION;
    wasi_random(size, &list);
    return io_take_bytes(ctx, &list);
}

/* Math.random: xorshift128+, seeded in each run (QuickJS's own state is part of the snapshot). */
static JSValue io_math_random(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    static uint64_t state[2];
    if (state[0] == 0 && state[1] == 0) {
        struct list list;
        wasi_random(sizeof(state), &list);
        memcpy(state, list.data, list.size < sizeof(state) ? list.size : sizeof(state));
        free(list.data);
        state[0] |= 1;
    }
    uint64_t a = state[0], b = state[1];
    state[0] = b;
    a ^= a << 23;
    state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return JS_NewFloat64(ctx, (double)((state[1] + b) >> 11) / 9007199254740992.0);
}

static JSValue take_list(JSContext *ctx, struct list *list, uint32_t width)
{
    JSValue array = JS_NewArray(ctx);
    struct list *items = list->data;
    for (uint32_t i = 0; i < list->size * width; i++)
        JS_SetPropertyUint32(ctx, array, i, io_take_text(ctx, &items[i]));
    free(list->data);
    return array;
}

static JSValue io_args(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct list list;
    wasi_arguments(&list);
    return take_list(ctx, &list, 1);
}

/* env() → name, value, name, value … */
static JSValue io_env(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct list list;
    wasi_environment(&list);
    return take_list(ctx, &list, 2);
}

static JSValue io_cwd(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct optional_list cwd;
    wasi_initial_cwd(&cwd);
    return cwd.there ? io_take_text(ctx, &cwd.list) : JS_NewString(ctx, "/");
}

static JSValue io_exit(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    int32_t code;
    if (JS_ToInt32(ctx, &code, argv[0]) < 0)
        return JS_EXCEPTION;
    wasi_exit(code & 0xff);
    return JS_UNDEFINED;
}

/* utf8(bytes, lossless) → string, invalid bytes replaced as the Encoding Standard says; null when lossless and invalid */
static const uint8_t *sequence_end(const uint8_t *at, const uint8_t *end, bool *ret_valid)
{
    uint8_t lead = *at++, low = 0x80, high = 0xbf;
    int more = lead >= 0xc2 && lead <= 0xdf   ? 1
               : (lead & 0xf0) == 0xe0        ? 2
               : lead >= 0xf0 && lead <= 0xf4 ? 3
                                              : 0;
    low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : low;
    high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : high;
    *ret_valid = lead < 0x80;
    for (int i = 0; i < more; i++, at++, low = 0x80, high = 0xbf) {
        if (at == end || *at < low || *at > high)
            return at;
        *ret_valid = i + 1 == more;
    }
    return at;
}

static JSValue io_utf8(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct input in;
    if (input_get(ctx, argv[0], &in) < 0)
        return JS_EXCEPTION;
    const uint8_t *at = in.data, *end = in.data + in.size;
    size_t bad = 0;
    for (bool valid; at < end;) {
        at = sequence_end(at, end, &valid);
        bad += !valid;
    }
    if (bad == 0 || JS_ToBool(ctx, argv[1]))
        return bad == 0 ? JS_NewStringLen(ctx, (const char *)in.data, in.size) : JS_NULL;
    char *fixed = js_malloc(ctx, in.size + bad * 3), *to = fixed;
    if (fixed == NULL)
        return JS_EXCEPTION;
    for (at = in.data; at < end;) {
        bool valid;
        const uint8_t *next = sequence_end(at, end, &valid);
        size_t n = valid ? (size_t)(next - at) : 3;
        memcpy(to, valid ? (const char *)at : "\xef\xbf\xbd", n);
        to += n;
        at = next;
    }
    JSValue v = JS_NewStringLen(ctx, fixed, (size_t)(to - fixed));
    js_free(ctx, fixed);
    return v;
}

/* bytes(string) → Uint8Array of UTF-8; lone surrogates become U+FFFD */
static JSValue io_bytes(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    size_t size;
    const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
    if (text == NULL)
        return JS_EXCEPTION;
    JSValue v = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, size);
    JS_FreeCString(ctx, text);
    return v;
}

/* promise(p) → [0 pending, 1 fulfilled, 2 rejected; the result] */
static JSValue io_promise(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    JSPromiseStateEnum state = JS_PromiseState(ctx, argv[0]);
    const JSValue values[] = {
        JS_NewInt32(ctx, state == JS_PROMISE_FULFILLED  ? 1
                         : state == JS_PROMISE_REJECTED ? 2
                                                        : 0),
        state == JS_PROMISE_FULFILLED || state == JS_PROMISE_REJECTED
            ? JS_PromiseResult(ctx, argv[0])
            : JS_UNDEFINED,
    };
    return JS_NewArrayFrom(ctx, COUNT_OF(values), values);
}

static JSValue run_job(JSContext *ctx, int argc, JSValueConst *argv)
{
    return JS_Call(ctx, argv[0], JS_UNDEFINED, 0, NULL);
}

/* enqueue(function): a microtask */
static JSValue io_enqueue(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    return JS_EnqueueJob(ctx, run_job, 1, argv) < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

static JSValue io_gc(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    JS_RunGC(JS_GetRuntime(ctx));
    return JS_UNDEFINED;
}

static JSValue io_version(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    return JS_NewString(ctx, JS_GetVersion());
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("promise", 1, io_promise),
    JS_CFUNC_DEF("enqueue", 1, io_enqueue),
    JS_CFUNC_DEF("gc", 0, io_gc),
    JS_CFUNC_DEF("version", 0, io_version),
    JS_CFUNC_DEF("print", 2, io_print),
    JS_CFUNC_DEF("stdin", 0, io_stdin),
    JS_CFUNC_DEF("read", 3, io_read),
    JS_CFUNC_DEF("write", 3, io_write),
    JS_CFUNC_DEF("poll", 1, io_poll),
    JS_CFUNC_MAGIC_DEF("subscribeInput", 1, io_subscribe, SUBSCRIBE_INPUT),
    JS_CFUNC_MAGIC_DEF("subscribeOutput", 1, io_subscribe, SUBSCRIBE_OUTPUT),
    JS_CFUNC_MAGIC_DEF("subscribeFuture", 1, io_subscribe, SUBSCRIBE_FUTURE),
    JS_CFUNC_MAGIC_DEF("dropPollable", 1, io_drop, DROP_POLLABLE),
    JS_CFUNC_MAGIC_DEF("dropInput", 1, io_drop, DROP_INPUT),
    JS_CFUNC_MAGIC_DEF("dropOutput", 1, io_drop, DROP_OUTPUT),
    JS_CFUNC_DEF("after", 1, io_after),
    JS_CFUNC_DEF("now", 0, io_now),
    JS_CFUNC_DEF("nowMs", 0, io_now_ms),
    JS_CFUNC_DEF("random", 1, io_random),
    JS_CFUNC_DEF("mathRandom", 0, io_math_random),
    JS_CFUNC_DEF("args", 0, io_args),
    JS_CFUNC_DEF("env", 0, io_env),
    JS_CFUNC_DEF("cwd", 0, io_cwd),
    JS_CFUNC_DEF("exit", 1, io_exit),
    JS_CFUNC_DEF("utf8", 2, io_utf8),
    JS_CFUNC_DEF("bytes", 1, io_bytes),
};

int io_install(JSContext *ctx, JSValue native)
{
    return JS_SetPropertyFunctionList(ctx, native, functions, COUNT_OF(functions));
}
