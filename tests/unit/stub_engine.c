/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine without Wasm: everything of ambit_engine.h, for unit tests and for builds under the
 * sanitizers, which Wasmtime's signal handling does not go together with. "Compiling" copies the
 * bytes, and a guest is a C function (stub_engine.h).
 */
#include "tests/unit/stub_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ambit_engine {
    uint64_t epochs;
};
struct ambit_component {
    int unused;
};

enum ambit_poll (*stub_guest)(struct ambit_task *t);
void *stub_guest_test;
bool stub_no_task;
bool stub_serves;

enum ambit_kind ambit_kind_of(const uint8_t *bytes, size_t size)
{
    static const uint8_t component[8] = { 0, 'a', 's', 'm', 13, 0, 1, 0 },
                         module[8] = { 0, 'a', 's', 'm', 1, 0, 0, 0 };
    if (size >= 8 && !memcmp(bytes, component, 8))
        return AMBIT_KIND_COMPONENT;
    if (size >= 8 && !memcmp(bytes, module, 8))
        return AMBIT_KIND_MODULE;
    if (size >= 4 && !memcmp(bytes, "\177ELF", 4))
        return AMBIT_KIND_ELF;
    if (size >= 2 && !memcmp(bytes, "#!", 2))
        return AMBIT_KIND_SCRIPT;
    return size && bytes[0] == '(' ? AMBIT_KIND_WAT : AMBIT_KIND_UNKNOWN;
}

enum ambit_compile_status ambit_compile(const uint8_t *bytes, size_t size, bool describe_only,
                                        ambit_sink code, void *code_context, ambit_sink description,
                                        void *description_context, ambit_sink message,
                                        void *message_context)
{
    static const char about[] =
        "{\"kind\":\"component\",\"adapted\":false,\"wit\":\"\",\"size\":0,"
        "\"imports\":[],\"exports\":[],"
        "\"command\":true,\"serves\":false,\"producers\":{},\"limits\":{\"memories\":0,"
        "\"memory_min\":0,\"tables\":0,"
        "\"core_instances\":0}}";
    enum ambit_kind kind = ambit_kind_of(bytes, size);
    if (kind != AMBIT_KIND_COMPONENT && kind != AMBIT_KIND_MODULE && kind != AMBIT_KIND_WAT) {
        static const char why[] = "not WebAssembly";
        message(message_context, (const uint8_t *)why, sizeof(why) - 1);
        return AMBIT_COMPILE_MALFORMED;
    }
    if (!describe_only)
        code(code_context, bytes, size);
    description(description_context, (const uint8_t *)about, sizeof(about) - 1);
    return AMBIT_COMPILE_OK;
}

void ambit_compatibility(uint8_t ret_key[32])
{
    memset(ret_key, 0x5b, 32);
}

const char *ambit_engine_version(void)
{
    return "stub 0";
}

int ambit_engine_new(const struct ambit_engine_config *config, struct ambit_engine **ret,
                     ambit_sink message, void *message_context)
{
    *ret = calloc(1, sizeof(**ret));
    return *ret ? 0 : -1;
}

void ambit_engine_free(struct ambit_engine *e)
{
    free(e);
}

void ambit_engine_tick(struct ambit_engine *e)
{
    e->epochs++;
}

uint64_t ambit_engine_epochs(const struct ambit_engine *e)
{
    return e->epochs;
}

int ambit_component_load(struct ambit_engine *e, const char *path, struct ambit_component **ret,
                         ambit_sink message, void *message_context)
{
    *ret = calloc(1, sizeof(**ret));
    return *ret ? 0 : -1;
}

void ambit_component_free(struct ambit_component *c)
{
    free(c);
}

uint32_t ambit_call_count(void)
{
    return 1;
}

const char *ambit_call_name(ambit_call call)
{
    return "stub:stub/stub#call";
}

struct ambit_task *ambit_task_new(struct ambit_component *c, const struct ambit_task_config *config,
                                  const struct ambit_host_vtbl *vtbl, void *host,
                                  struct ambit_bytes invoke, const struct ambit_bytes *invoke_args,
                                  size_t invoke_arg_count)
{
    struct ambit_task *t =
        stub_no_task || vtbl->size != sizeof(*vtbl) ? NULL : calloc(1, sizeof(*t));
    if (t)
        *t = (struct ambit_task){
            .vtbl = vtbl, .host = host, .config = *config, .test = stub_guest_test
        };
    return t;
}

static void keep(char *to, size_t size, struct ambit_bytes text)
{
    size_t n = text.size < size - 1 ? text.size : size - 1;
    if (n)
        memcpy(to, text.data, n);
    to[n] = 0;
}

struct ambit_task *ambit_task_new_request(struct ambit_component *c,
                                          const struct ambit_task_config *config,
                                          const struct ambit_host_vtbl *vtbl, void *host,
                                          const struct ambit_http_request *request,
                                          uint32_t exchange)
{
    struct ambit_task *t = NULL;
    if (stub_serves)
        t = ambit_task_new(c, config, vtbl, host, (struct ambit_bytes){ 0 }, NULL, 0);
    if (!t)
        return NULL;
    t->is_request = true;
    t->exchange = exchange;
    keep(t->method, sizeof(t->method), request->method);
    keep(t->target, sizeof(t->target), request->target);
    return t;
}

bool ambit_component_serves(const struct ambit_component *c)
{
    return stub_serves;
}

/* As the engine drops what the guest left: a request's exchange is the task's to give back. */
static void drop_exchange(struct ambit_task *t)
{
    if (t->is_request)
        t->vtbl->http_drop(t->host, t->exchange);
    t->is_request = false;
}

static enum ambit_poll hello(struct ambit_task *t)
{
    if (t->vtbl->enter(t->host, 0) == 0) {
        uint32_t out = t->vtbl->stdio(t->host, 1);
        size_t permit = 0;
        if (t->vtbl->stream_check_write(t->host, out, &permit) == AMBIT_STREAM_OK && permit >= 5)
            (void)t->vtbl->stream_write(t->host, out, (const uint8_t *)"stub\n", 5);
        t->vtbl->stream_drop(t->host, out);
    }
    return AMBIT_POLL_DONE;
}

enum ambit_poll ambit_task_poll(struct ambit_task *t)
{
    enum ambit_poll p;
    t->polls++;
    p = stub_guest ? stub_guest(t) : hello(t);
    if (p == AMBIT_POLL_DONE)
        drop_exchange(t);
    return p;
}

void ambit_task_wake(struct ambit_task *t)
{
    t->config.waker(t->config.waker_context);
}

void ambit_operation_complete(struct ambit_task *t, uint64_t operation)
{
    if (t->completed < sizeof(t->completed_ids) / sizeof(t->completed_ids[0]))
        t->completed_ids[t->completed] = operation;
    t->completed++;
    ambit_task_wake(t);
}

void ambit_task_result(const struct ambit_task *t, struct ambit_result *ret)
{
    *ret = t->result;
}

uint64_t ambit_task_memory(const struct ambit_task *t)
{
    return 65536;
}

void ambit_task_free(struct ambit_task *t)
{
    if (t)
        drop_exchange(t);
    free(t);
}
