/* SPDX-License-Identifier: Apache-2.0 */
/* wasi:http for `fetch` in the run-time library: the steps of one exchange, each a function over handles.
 *
 * An error of the host is -1 - code of wasi:http's error-code, or, for an internal error that has one, its text. Children are
 * dropped before parents: pollable, stream, body, response. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum { ERROR_INTERNAL = 38 };

static JSValue error_of(JSContext *ctx, struct http_error *e)
{
    if (e->code == ERROR_INTERNAL && e->there)
        return io_take_text(ctx, &e->text);
    return JS_NewInt32(ctx, -1 - e->code);
}

/* A host that refuses a part of a request has no code for it: the library says which part. */
static JSValue refused(JSContext *ctx, const char *what)
{
    JS_ThrowTypeError(ctx, "%s", what);
    return JS_EXCEPTION;
}

/* ---- request ---- */

/* The strings of an array [name, value, name, value …]; the pointers are JavaScript's until strings_done. */
struct strings {
    struct list *items;
    uint32_t count;
};

static void strings_done(JSContext *ctx, struct strings *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        JS_FreeCString(ctx, s->items[i].data);
    js_free(ctx, s->items);
}

static int strings_get(JSContext *ctx, JSValueConst array, struct strings *s)
{
    int64_t count;
    memset(s, 0, sizeof(*s));
    if (JS_GetLength(ctx, array, &count) < 0)
        return -1;
    s->items = js_mallocz(ctx, (size_t)(count + 1) * sizeof(struct list));
    if (s->items == NULL)
        return -1;
    for (int64_t i = 0; i < count; i++) {
        size_t size;
        JSValue v = JS_GetPropertyInt64(ctx, array, i);
        s->items[i].data = (void *)JS_ToCStringLen(ctx, &size, v);
        s->items[i].size = (uint32_t)size;
        JS_FreeValue(ctx, v);
        if (s->items[i].data == NULL) {
            strings_done(ctx, s);
            return -1;
        }
        s->count++;
    }
    return 0;
}

static int method_kind(const struct list *method)
{
    static const char *const names[] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                         "CONNECT", "OPTIONS", "TRACE", "PATCH" };
    for (int i = 0; i < (int)COUNT_OF(names); i++)
        if (strlen(names[i]) == method->size && memcmp(names[i], method->data, method->size) == 0)
            return i;
    return COUNT_OF(names);
}

/* What was refused, or NULL. */
static const char *request_fill(handle request, const struct list *of)
{
    const struct list *method = &of[0], *scheme = &of[1], *authority = &of[2], *path = &of[3];
    if (wasi_request_method(request, method_kind(method), method->data, method->size) != 0)
        return "the method is not one that HTTP allows";
    if (wasi_request_scheme(request, 1, scheme->size == 5, NULL, 0) != 0)
        return "the scheme is not one that HTTP allows";
    if (wasi_request_authority(request, 1, authority->data, authority->size) != 0)
        return "the host is not one that HTTP allows";
    if (wasi_request_path(request, 1, path->data, path->size) != 0)
        return "the path is not one that HTTP allows";
    return NULL;
}

/* (parts, fields, whether it has a body) → [request, outgoing body, its stream]; without a body the
 * last two are null, and none goes over the wire, not even an empty one in chunks. */
static JSValue http_request(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct strings parts, fields;
    struct result r, body, stream;
    if (strings_get(ctx, argv[0], &parts) < 0)
        return JS_EXCEPTION;
    if (strings_get(ctx, argv[1], &fields) < 0) {
        strings_done(ctx, &parts);
        return JS_EXCEPTION;
    }
    const char *why = NULL;
    handle request = 0;
    wasi_fields_from_list((const struct pair *)fields.items, fields.count / 2, &r);
    if (r.tag == 1) {
        why = r.u.error == 1 ? "a header is forbidden" : "a header is not one that HTTP allows";
    } else {
        request = wasi_request(r.u.handle);
        why = parts.count == 4 ? request_fill(request, parts.items) : "parts are missing";
        if (why != NULL)
            wasi_request_drop(request);
    }
    strings_done(ctx, &parts);
    strings_done(ctx, &fields);
    if (why != NULL)
        return refused(ctx, why);
    if (!JS_ToBool(ctx, argv[2])) {
        const JSValue alone[] = { JS_NewInt32(ctx, request), JS_NULL, JS_NULL };
        return JS_NewArrayFrom(ctx, COUNT_OF(alone), alone);
    }
    wasi_request_body(request, &body);
    wasi_body_write(body.u.handle, &stream);
    const JSValue values[] = { JS_NewInt32(ctx, request), JS_NewInt32(ctx, body.u.handle),
                               JS_NewInt32(ctx, stream.u.handle) };
    return JS_NewArrayFrom(ctx, COUNT_OF(values), values);
}

/* send(request) → future; takes the request */
static JSValue http_send(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    handle request;
    struct http_result r;
    if (JS_ToInt32(ctx, &request, argv[0]) < 0)
        return JS_EXCEPTION;
    wasi_http_send(request, 0, 0, &r);
    return r.tag == 1 ? error_of(ctx, &r.u.error) : JS_NewInt32(ctx, r.u.handle);
}

/* finish(body): ends a request body; its stream is dropped already */
static JSValue http_finish(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    handle body;
    struct http_result r;
    if (JS_ToInt32(ctx, &body, argv[0]) < 0)
        return JS_EXCEPTION;
    wasi_body_finish(body, 0, 0, &r);
    return r.tag == 1 ? error_of(ctx, &r.u.error) : JS_NewInt32(ctx, 0);
}

/* ---- response ---- */

static JSValue fields_of(JSContext *ctx, handle fields)
{
    struct list list;
    wasi_fields_entries(fields, &list);
    wasi_fields_drop(fields);
    struct pair *pairs = list.data;
    JSValue array = JS_NewArray(ctx);
    for (uint32_t i = 0; i < list.size; i++) {
        JS_SetPropertyUint32(ctx, array, 2 * i, io_take_text(ctx, &pairs[i].name));
        JS_SetPropertyUint32(ctx, array, 2 * i + 1, io_take_bytes(ctx, &pairs[i].value));
    }
    free(list.data);
    return array;
}

/* answer(future) → undefined (not yet), an error, or [status, fields, response, body, stream]; the future stays */
static JSValue http_answer(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    handle future;
    struct http_got got;
    struct result body, stream;
    if (JS_ToInt32(ctx, &future, argv[0]) < 0)
        return JS_EXCEPTION;
    wasi_future_get(future, &got);
    if (!got.there)
        return JS_UNDEFINED;
    if (got.outer == 1)
        return JS_NewString(ctx, "the answer was taken already");
    if (got.inner.tag == 1)
        return error_of(ctx, &got.inner.u.error);
    handle response = got.inner.u.handle;
    int32_t status = wasi_response_status(response);
    JSValue fields = fields_of(ctx, wasi_response_headers(response));
    wasi_response_consume(response, &body);
    wasi_incoming_stream(body.u.handle, &stream);
    const JSValue values[] = { JS_NewInt32(ctx, status), fields, JS_NewInt32(ctx, response),
                               JS_NewInt32(ctx, body.u.handle), JS_NewInt32(ctx, stream.u.handle) };
    return JS_NewArrayFrom(ctx, COUNT_OF(values), values);
}

enum { DROP_REQUEST, DROP_BODY, DROP_FUTURE, DROP_RESPONSE, DROP_INCOMING };
static JSValue http_drop(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int kind)
{
    static void (*const drops[])(handle) = {
        [DROP_REQUEST] = wasi_request_drop,   [DROP_BODY] = wasi_body_drop,
        [DROP_FUTURE] = wasi_future_drop,     [DROP_RESPONSE] = wasi_response_drop,
        [DROP_INCOMING] = wasi_incoming_drop,
    };
    handle h;
    if (JS_ToInt32(ctx, &h, argv[0]) < 0)
        return JS_EXCEPTION;
    drops[kind](h);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("httpRequest", 3, http_request),
    JS_CFUNC_DEF("httpSend", 1, http_send),
    JS_CFUNC_DEF("httpFinish", 1, http_finish),
    JS_CFUNC_DEF("httpAnswer", 1, http_answer),
    JS_CFUNC_MAGIC_DEF("dropRequest", 1, http_drop, DROP_REQUEST),
    JS_CFUNC_MAGIC_DEF("dropBody", 1, http_drop, DROP_BODY),
    JS_CFUNC_MAGIC_DEF("dropFuture", 1, http_drop, DROP_FUTURE),
    JS_CFUNC_MAGIC_DEF("dropResponse", 1, http_drop, DROP_RESPONSE),
    JS_CFUNC_MAGIC_DEF("dropIncoming", 1, http_drop, DROP_INCOMING),
};

int http_install(JSContext *ctx, JSValue native)
{
    return JS_SetPropertyFunctionList(ctx, native, functions, COUNT_OF(functions));
}
