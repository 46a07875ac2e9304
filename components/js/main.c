/* SPDX-License-Identifier: Apache-2.0 */
/* JavaScript that ships with Ambit: QuickJS-ng, a run-time library in JavaScript (runtime/), and WASI 0.2 below it.
 *
 * Two lives. `ambit_snapshot` runs once, while the component is built: it makes the context and evaluates the run-time library; the
 * memory it leaves becomes the module's data (engine/tools/component.rs). So nothing of the build may stay behind there: no clock,
 * no random number, no handle; every import traps, and `host_running` is false. `run` is what happens at run time: take the handles
 * of this run, let the library import the script, then turn the loop: promise jobs until there are none, one turn of the library
 * (timers, streams, ticks), again, until nothing is alive.
 *
 * The library hands back its `hooks`, the only functions C calls; it hands the script nothing of `native`. Script and library share
 * one context, so a script can break what the library uses (prototypes): that breaks the script, never the sandbox, which is outside. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Of the stack in linear memory (linked with 2 MiB): beyond it, JavaScript gets a RangeError. The engine's own stack (8 MiB) must
 * hold the same depth (stack.awk); tests/system/test_javascript.py goes there. */
#define STACK_MAX (1900u << 10)
#define GC_THRESHOLD (8u << 20)

extern const char runtime_source[];
extern const unsigned runtime_size;

bool host_running;
static JSRuntime *rt;
static JSContext *ctx;
static JSValue hooks;

/* ---- hooks ---- */

static JSValue hook(const char *name, int argc, JSValueConst *argv)
{
    JSValue function = JS_GetPropertyStr(ctx, hooks, name);
    JSValue v = JS_Call(ctx, function, JS_UNDEFINED, argc, argv);
    JS_FreeValue(ctx, function);
    return v;
}

static _Noreturn void end(int code)
{
    wasi_exit(code);
    __builtin_trap();
}

static _Noreturn void give_up(void)
{
    static const char message[] =
        "js: the script ended in an error that could not be shown: memory or stack is used up\n";
    io_write_all(2, message, sizeof(message) - 1);
    end(1);
}

/* The exception that nobody caught: the library shows it and leaves. */
static void fatal(void)
{
    JSValue error = JS_GetException(ctx);
    JSValue v = hook("fatal", 1, &error);
    if (JS_IsException(v))
        give_up();
    JS_FreeValue(ctx, v);
    JS_FreeValue(ctx, error);
}

static void rejected(JSContext *c, JSValueConst promise, JSValueConst reason, bool handled,
                     void *opaque)
{
    JSValueConst args[] = { promise, reason, JS_NewBool(c, handled) };
    (void)opaque;
    JSValue v = hook("rejected", 3, args);
    if (JS_IsException(v))
        JS_FreeValue(c, JS_GetException(c));
    JS_FreeValue(c, v);
}

/* ---- modules ---- */

static char *module_name(JSContext *c, const char *base, const char *name, void *opaque)
{
    JSValue args[] = { JS_NewString(c, base), JS_NewString(c, name) };
    (void)opaque;
    JSValue v = hook("resolve", 2, args);
    JS_FreeValue(c, args[0]);
    JS_FreeValue(c, args[1]);
    const char *text = JS_IsException(v) ? NULL : JS_ToCString(c, v);
    char *copy = text != NULL ? js_strdup(c, text) : NULL;
    if (text != NULL)
        JS_FreeCString(c, text);
    JS_FreeValue(c, v);
    return copy;
}

static int names_of(JSContext *c, JSValueConst object, JSPropertyEnum **ret, uint32_t *count)
{
    return JS_GetOwnPropertyNames(c, ret, count, object, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY);
}

static int object_init(JSContext *c, JSModuleDef *m)
{
    JSValue object = JS_GetModulePrivateValue(c, m);
    JSPropertyEnum *names;
    uint32_t count;
    int r = names_of(c, object, &names, &count);
    if (r == 0) {
        for (uint32_t i = 0; i < count; i++) {
            const char *name = JS_AtomToCString(c, names[i].atom);
            JS_SetModuleExport(c, m, name, JS_GetProperty(c, object, names[i].atom));
            JS_FreeCString(c, name);
        }
        JS_FreePropertyEnum(c, names, count);
    }
    JS_FreeValue(c, object);
    return r;
}

/* A module whose exports are the properties of an object; takes the object. */
static JSModuleDef *object_module(JSContext *c, const char *name, JSValue object)
{
    JSPropertyEnum *names;
    uint32_t count;
    if (JS_IsException(object) || names_of(c, object, &names, &count) < 0)
        return NULL;
    JSModuleDef *m = JS_NewCModule(c, name, object_init);
    for (uint32_t i = 0; m != NULL && i < count; i++) {
        const char *export = JS_AtomToCString(c, names[i].atom);
        JS_AddModuleExport(c, m, export);
        JS_FreeCString(c, export);
    }
    JS_FreePropertyEnum(c, names, count);
    if (m != NULL)
        JS_SetModulePrivateValue(c, m, object);
    else
        JS_FreeValue(c, object);
    return m;
}

static JSModuleDef *source_module(JSContext *c, const char *name)
{
    size_t size;
    char *source = fs_load(c, name, &size);
    JSValue path = JS_NewString(c, name);
    JSModuleDef *m = NULL;
    if (source == NULL) {
        if (!JS_HasException(c)) /* the hook throws what Node would */
            JS_FreeValue(c, hook("unreadable", 1, &path));
        JS_FreeValue(c, path);
        return NULL;
    }
    JSValue v = JS_Eval(c, source, size, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    free(source);
    if (!JS_IsException(v)) {
        m = JS_VALUE_GET_PTR(v);
        JSValue args[] = { JS_GetImportMeta(c, m), path };
        JS_FreeValue(c, hook("meta", 2, args));
        JS_FreeValue(c, args[0]);
        JS_FreeValue(c, v); /* the context keeps the module */
    }
    JS_FreeValue(c, path);
    return m;
}

static JSModuleDef *module_load(JSContext *c, const char *name, void *opaque,
                                JSValueConst attributes)
{
    (void)opaque;
    JSValue args[] = { JS_NewString(c, name), JS_DupValue(c, attributes) };
    JSValue object = hook("object", 2, args); /* of a built-in or JSON module, or null */
    JS_FreeValue(c, args[0]);
    JS_FreeValue(c, args[1]);
    return JS_IsNull(object) ? source_module(c, name) : object_module(c, name, object);
}

/* ---- the two lives ---- */

void __wasm_call_ctors(void);

/* Where the build finds the text of what went wrong. */
__attribute__((export_name("ambit_error"))) const char *ambit_error(void);
static const char *error_text = "";
const char *ambit_error(void)
{
    return error_text;
}

static int build_error(int status)
{
    JSValue error = JS_GetException(ctx), stack = JS_GetPropertyStr(ctx, error, "stack");
    const char *text = JS_ToCString(ctx, error), *where = JS_ToCString(ctx, stack);
    static char both[4096];
    strncpy(both, text != NULL ? text : "?", sizeof(both) / 2);
    strncat(both, where != NULL ? where : "", sizeof(both) / 2 - 1);
    error_text = both;
    return status;
}

__attribute__((export_name("ambit_snapshot"))) int ambit_snapshot(void)
{
    __wasm_call_ctors();
    rt = JS_NewRuntime();
    if (rt == NULL)
        return 1;
    JS_SetMaxStackSize(rt, STACK_MAX);
    JS_UpdateStackTop(rt);
    ctx = JS_NewContext(rt);
    if (ctx == NULL)
        return 2;
    JSValue native = JS_NewObject(ctx);
    if (io_install(ctx, native) < 0 || fs_install(ctx, native) < 0 ||
        http_install(ctx, native) < 0 || digest_install(ctx, native) < 0)
        return 3;
    JSValue library =
        JS_Eval(ctx, runtime_source, runtime_size, "ambit:runtime", JS_EVAL_TYPE_GLOBAL);
    if (JS_IsException(library))
        return build_error(4);
    hooks = JS_Call(ctx, library, JS_UNDEFINED, 1, &native);
    if (JS_IsException(hooks))
        return build_error(5);
    JS_FreeValue(ctx, library);
    JS_FreeValue(ctx, native);
    JS_SetModuleLoaderFunc2(rt, module_name, module_load, NULL, NULL);
    JS_SetHostPromiseRejectionTracker(rt, rejected, NULL);
    JS_RunGC(rt);
    JS_SetGCThreshold(rt, GC_THRESHOLD);
    return 0;
}

static void jobs(void)
{
    JSContext *c;
    int r;
    while ((r = JS_ExecutePendingJob(rt, &c)) != 0)
        if (r < 0)
            fatal();
}

__attribute__((export_name("wasi:cli/run@0.2.12#run"))) int run(void)
{
    host_running = true;
    JS_UpdateStackTop(rt);
    io_start();
    fs_start();
    JSValue v = hook("start", 0, NULL);
    for (bool alive = true; alive;) {
        if (JS_IsException(v))
            fatal();
        JS_FreeValue(ctx, v);
        jobs();
        v = hook("turn", 0, NULL);
        alive = JS_IsException(v) || JS_ToBool(ctx, v);
    }
    v = hook("finish", 0, NULL);
    if (JS_IsException(v))
        fatal();
    int32_t code = JS_VALUE_GET_INT(v);
    if (code != 0)
        end(code & 0xff);
    return 0;
}
