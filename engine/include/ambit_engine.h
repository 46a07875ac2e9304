/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine boundary: C's only door to Wasmtime. The crate behind it is mechanism without policy: it runs guest code, and every
 * effect a guest asks for is a call through `struct ambit_host_vtbl`, implemented in C. It opens no file, socket or clock and
 * reads no environment variable of its own (Wasmtime itself creates memfds and opens /proc/self/pagemap when an engine is made).
 *
 * THE POLLING CONTRACT
 *  1. C owns the loop. ambit_task_poll() runs the guest until it finishes, is parked on a host operation, or has used up its time
 *     slice (one epoch). It never blocks.
 *  2. A task belongs to one thread at a time; only ambit_task_wake(), ambit_operation_complete() and ambit_engine_tick() may be called
 *     from elsewhere.
 *  3. The waker passed at creation may fire inside ambit_task_poll(): it may only enqueue. Never poll or free a task from the waker
 *     or from a vtbl function of the same task.
 *  4. A host operation that must wait has an id (slot and generation in one u64), chosen by the engine and given to vtbl->wait().
 *     C answers AMBIT_READY at once, or AMBIT_PENDING and later calls ambit_operation_complete(task, id) exactly once, or sees
 *     vtbl->cancel(id), after which it must not complete it (a late completion is ignored: the generation differs).
 *     Readiness is level-triggered: the engine asks wait() again for the same handle, and the answer must be of that moment.
 *  5. Buffers are the host's. Pointers in vtbl calls are valid for the duration of that call; no guest pointer survives a park.
 *     Bytes that C returns by pointer stay valid until the next vtbl call of that task.
 *  6. ambit_task_free() at any time is cancellation: it resumes the fiber to unwind it, cancels operations and drops handles, all
 *     through vtbl calls, so the host context outlives the task.
 *  7. When vtbl->enter() or vtbl->slice() answers non-zero, or a limit is hit, the guest ends with a trap it cannot catch; the
 *     result is AMBIT_OUTCOME_ENDED and the reason is what C stored.
 *
 * Signatures here are compared with the Rust side by a test (engine/tests/header.rs).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AMBIT_ENGINE_ABI 1

/* Text or bytes, not NUL-terminated. */
struct ambit_bytes { const uint8_t *data; size_t size; };

/* Growing output, filled by the engine through a C callback, so that each side frees what it allocated. */
typedef void (*ambit_sink)(void *context, const uint8_t *bytes, size_t size);

/* ---- compiling: called in the compiler room only ---------------------------------------------------------------------------- */

enum ambit_kind {
    AMBIT_KIND_UNKNOWN, AMBIT_KIND_COMPONENT, AMBIT_KIND_MODULE, AMBIT_KIND_WAT /* text of either */,
    AMBIT_KIND_MACHINE_CODE /* a .cwasm */, AMBIT_KIND_ELF, AMBIT_KIND_SCRIPT /* starts with #! */,
};
/* By the first bytes only; the full parse happens in ambit_compile. Safe in any room: looks at no more than 4 KiB. */
enum ambit_kind ambit_kind_of(const uint8_t *bytes, size_t size);

enum ambit_compile_status {
    AMBIT_COMPILE_OK = 0,
    AMBIT_COMPILE_MALFORMED = 1,     /* not valid WebAssembly, or uses a proposal that is off; text says which and where */
    AMBIT_COMPILE_UNSUPPORTED = 2,   /* valid, but something Ambit does not run: WASI 0.3, unknown WASI snapshot, no entry point … */
    AMBIT_COMPILE_FAILED = 3,        /* the compiler gave up */
};
/* Text or binary, module or component → machine code and a description. A core module with WASI 0.1 imports is adapted (command
 * adapter when it exports _start, reactor else). With `describe_only` no machine code is made.
 * `description` receives one JSON object:
 *   { "kind": "component"|"module", "adapted": bool, "wit": "<WIT text of the component's world>", "size": n,
 *     "imports": [ {"name": "wasi:cli/environment@0.2.3", "functions": ["get-environment", …]} … ],
 *     "exports": [ the same ], "command": bool /<exports wasi:cli/run, any 0.2.x>/ ,
 *     "serves": bool /<exports wasi:http/incoming-handler>/ , "producers": {…},
 *     "limits": {"memories": n, "memory_min": bytes, "tables": n, "core_instances": n} }
 * plus, for people: "kind" and "wit" of each import and export, "cut": [what was left out because the whole passed 512 KiB],
 * "wit_error": why WIT cannot tell the types. Names are hostile: escape them where they are shown.
 * `message` receives "why\nwhat to do", one line each, for a person, when the status is not 0. */
enum ambit_compile_status ambit_compile(const uint8_t *bytes, size_t size, bool describe_only,
                                        ambit_sink code, void *code_context,
                                        ambit_sink description, void *description_context,
                                        ambit_sink message, void *message_context);
/* What machine code depends on: engine version, configuration, target and CPU features. 32 bytes that are part of a cache key.
 * Cheap (no engine with a pool is made). */
void ambit_compatibility(uint8_t ret_key[32]);
/* "wasmtime 48.0.8" */
const char *ambit_engine_version(void);

/* ---- running ------------------------------------------------------------------------------------------------------------------- */

struct ambit_engine;
struct ambit_component;
struct ambit_task;

struct ambit_engine_config {
    uint32_t instances;            /* component instances alive at once in this process */
    uint64_t memory_max_bytes;     /* of one linear memory; at most 4 GiB */
    uint32_t table_elements_max;
    uint32_t core_instances_max;   /* per component instance */
    bool ticker;                   /* start the one thread that advances epochs; tests call ambit_engine_tick() instead */
    uint32_t epoch_us;             /* with ticker */
};
/* Must be called before the jail closes and before the process becomes non-dumpable. 0, or −1 and a message. */
int ambit_engine_new(const struct ambit_engine_config *config, struct ambit_engine **ret, ambit_sink message, void *message_context);
void ambit_engine_free(struct ambit_engine *e); /* after its components and tasks */
void ambit_engine_tick(struct ambit_engine *e);
uint64_t ambit_engine_epochs(const struct ambit_engine *e); /* ticks since the start */

/* Maps machine code that our own compiler room made (unsafe for any other bytes: native code). `path` is opened once, e.g.
 * /proc/self/fd/N. Then links it: baseline interfaces always; wasi:config, wasi:logging, wasi:http, wasi:keyvalue always too (each call asks C); anything else
 * is refused here, at the start: −2 and the names of the missing imports, one per line. −1: other faults, −3: made by another
 * version or for another CPU (recompile). */
int ambit_component_load(struct ambit_engine *e, const char *path, struct ambit_component **ret, ambit_sink message, void *message_context);
void ambit_component_free(struct ambit_component *c);

enum ambit_wait { AMBIT_PENDING = 0, AMBIT_READY = 1 };
/* What a stream call answers besides an enum fs error: */
enum ambit_stream_status { AMBIT_STREAM_OK = 0, AMBIT_STREAM_CLOSED = 1, AMBIT_STREAM_FAILED = 2 /* the text comes from stream_error() */, AMBIT_STREAM_END = 3 /* end the guest */ };
enum ambit_slice { AMBIT_SLICE_YIELD = 0, AMBIT_SLICE_END = 1 };
enum ambit_limit { AMBIT_LIMIT_MEMORY = 1, AMBIT_LIMIT_HANDLES = 2, AMBIT_LIMIT_INSTANCES = 3, AMBIT_LIMIT_HOSTCALL_BYTES = 4 };

/* One per WASI function, for counting and messages; ambit_call_name() gives "wasi:filesystem/types#[method]descriptor.open-at". */
typedef uint32_t ambit_call;
uint32_t ambit_call_count(void);
const char *ambit_call_name(ambit_call call);

struct ambit_fs_stat { uint32_t type; uint64_t links, size; int64_t accessed_ns, modified_ns, changed_ns; uint64_t identity[2]; };
struct ambit_fs_times { uint32_t accessed, modified; /* 0 keep, 1 now, 2 set */ int64_t accessed_ns, modified_ns; };
struct ambit_pair { struct ambit_bytes key, value; };

/* wasi:http's error-code in the order of the WIT, from 1 (enum http_error of src/wire/http.h); 0 = none. What a variant carries besides:
 * `text` (DNS-error's rcode text, internal-error, field names), `number` (sizes, alert id, info-code), UINT64_MAX = none. */
struct ambit_http_error { uint32_t code; struct ambit_bytes text; uint64_t number; };
struct ambit_http_request {
    struct ambit_bytes method;      /* "GET" … as it goes on the wire */
    uint32_t scheme;                /* 0 none (incoming only), 1 http, 2 https */
    struct ambit_bytes authority;   /* size 0 = none */
    struct ambit_bytes target;      /* path with query; size 0 = none */
    const struct ambit_pair *headers; size_t header_count; /* names in lower case, in order, one pair per value */
    uint64_t connect_timeout_ns, first_byte_timeout_ns, between_bytes_timeout_ns; /* UINT64_MAX = not set */
};
struct ambit_http_response { uint32_t status; const struct ambit_pair *headers; size_t header_count; };
enum ambit_kv_error { AMBIT_KV_NO_SUCH_STORE = 1, AMBIT_KV_ACCESS_DENIED = 2, AMBIT_KV_OTHER = 3 };

/*
 * Everything a guest can cause. `host` is the task's context. Handles are the host's own small integers; the engine keeps them inside
 * its resource table, never shows them to the guest, and calls the matching drop exactly once.
 * fs_* answer 0, a wasi:filesystem error-code + 1, or < 0 to end the guest.
 */
struct ambit_host_vtbl {
    uint32_t size; /* sizeof(struct ambit_host_vtbl): checked at task creation */

    /* Before every host call. 0: go on; else the guest ends. */
    int (*enter)(void *host, ambit_call call);
    /* At the end of a time slice (an epoch passed). */
    enum ambit_slice (*slice)(void *host);
    /* A limit of struct ambit_task_config was hit; the guest ends. `asked` is the total that would have been. */
    void (*limit)(void *host, enum ambit_limit which, uint64_t asked);

    /* operations */
    enum ambit_wait (*wait)(void *host, uint32_t handle, bool for_write, uint64_t operation); /* a stream */
    enum ambit_wait (*wait_until)(void *host, uint64_t monotonic_ns, uint64_t operation);     /* a timer, in the guest's monotonic clock */
    void (*cancel)(void *host, uint64_t operation);

    /* wasi:cli */
    void (*environment)(void *host, const struct ambit_pair **ret, size_t *ret_count);
    void (*arguments)(void *host, const struct ambit_bytes **ret, size_t *ret_count);
    bool (*initial_cwd)(void *host, struct ambit_bytes *ret);
    /* 0 stdin, 1 stdout, 2 stderr → a stream handle (a fresh one each call). */
    uint32_t (*stdio)(void *host, uint32_t which);
    bool (*stdio_is_terminal)(void *host, uint32_t which);

    /* streams: stdio here; files through fs_stream_* below; bodies of HTTP, see http_* */
    enum ambit_stream_status (*stream_read)(void *host, uint32_t stream, uint8_t *into, size_t size, size_t *ret_size); /* 0 bytes: nothing now */
    enum ambit_stream_status (*stream_check_write)(void *host, uint32_t stream, size_t *ret_size);               /* 0: nothing now */
    enum ambit_stream_status (*stream_write)(void *host, uint32_t stream, const uint8_t *bytes, size_t size);    /* all of it, within check_write's permit */
    enum ambit_stream_status (*stream_flush)(void *host, uint32_t stream);
    struct ambit_bytes (*stream_error)(void *host, uint32_t stream);
    void (*stream_drop)(void *host, uint32_t stream);

    /* wasi:clocks: the guest's clocks, real or fixed */
    uint64_t (*monotonic_now)(void *host);
    uint64_t (*monotonic_resolution)(void *host);
    int64_t (*wall_now)(void *host); /* ns since 1970 */
    uint64_t (*wall_resolution)(void *host);
    /* wasi:random */
    void (*random)(void *host, bool secure, uint8_t *into, size_t size);

    /* wasi:filesystem; `descriptor` handles */
    uint32_t (*fs_root)(void *host); /* a fresh handle of "/", the one preopen */
    void (*fs_drop)(void *host, uint32_t descriptor);
    uint32_t (*fs_type)(void *host, uint32_t descriptor);
    uint32_t (*fs_flags)(void *host, uint32_t descriptor); /* wasi descriptor-flags bits */
    int (*fs_open_at)(void *host, uint32_t at, bool follow, struct ambit_bytes path, uint32_t open_flags, uint32_t descriptor_flags, uint32_t *ret);
    int (*fs_stat)(void *host, uint32_t descriptor, struct ambit_fs_stat *ret);
    int (*fs_stat_at)(void *host, uint32_t at, bool follow, struct ambit_bytes path, struct ambit_fs_stat *ret);
    int (*fs_set_times)(void *host, uint32_t descriptor, const struct ambit_fs_times *t);
    int (*fs_set_times_at)(void *host, uint32_t at, bool follow, struct ambit_bytes path, const struct ambit_fs_times *t);
    int (*fs_read)(void *host, uint32_t descriptor, uint64_t offset, uint8_t *into, size_t size, size_t *ret_size);
    int (*fs_write)(void *host, uint32_t descriptor, uint64_t offset, const uint8_t *bytes, size_t size, size_t *ret_size);
    int (*fs_append)(void *host, uint32_t descriptor, const uint8_t *bytes, size_t size, size_t *ret_size);
    int (*fs_set_size)(void *host, uint32_t descriptor, uint64_t size);
    int (*fs_sync)(void *host, uint32_t descriptor, bool data_only);
    int (*fs_create_directory_at)(void *host, uint32_t at, struct ambit_bytes path);
    int (*fs_remove_directory_at)(void *host, uint32_t at, struct ambit_bytes path);
    int (*fs_unlink_file_at)(void *host, uint32_t at, struct ambit_bytes path);
    int (*fs_rename_at)(void *host, uint32_t from_at, struct ambit_bytes from, uint32_t to_at, struct ambit_bytes to);
    int (*fs_link_at)(void *host, uint32_t from_at, bool follow, struct ambit_bytes from, uint32_t to_at, struct ambit_bytes to);
    int (*fs_symlink_at)(void *host, uint32_t at, struct ambit_bytes target, struct ambit_bytes path);
    int (*fs_readlink_at)(void *host, uint32_t at, struct ambit_bytes path, struct ambit_bytes *ret_target);
    int (*fs_list)(void *host, uint32_t descriptor, uint32_t *ret_listing);
    int (*fs_listing_next)(void *host, uint32_t listing, uint32_t *ret_type, struct ambit_bytes *ret_name, bool *ret_end);
    void (*fs_listing_drop)(void *host, uint32_t listing);
    bool (*fs_same_object)(void *host, uint32_t a, uint32_t b);

    /*
     * wasi:http. An exchange is one request and its response: outgoing (the guest asks) or incoming (the guest is asked, see
     * ambit_task_new_request). Its handle is a stream too: stream_read(), wait(…, false) and stream_error() read the body that comes in (the
     * response of an outgoing exchange, the request of an incoming one); stream_drop() is never called with it.
     * A body is what the guest writes: its handle takes stream_check_write(), stream_write(), stream_flush(), wait(…, true), stream_error();
     * no stream_drop() either. It has two ends, each over exactly once, in any order; the handle is valid until both are:
     *   its writer's:  http_body_finish() or http_body_abandon(); no stream call comes after it;
     *   its message's: http_send() or http_respond() with it, whatever they answer (an error: it will not be sent), or http_body_unsent().
     * A body whose message is not sent answers AMBIT_STREAM_CLOSED. It may be written and finished before its message is sent.
     * Syntax, forbidden headers, content-length and the order of calls are the engine's: no more bytes than declared are written, and
     * finish comes with exactly that many. What is allowed, limits and the wire are C's.
     * int answers: 0 ok, 1 an error in `ret_error`, < 0 ends the guest. Texts of errors: valid until the next call.
     */
    /* A body to be written; content_length as its message declares it (in its headers, too), UINT64_MAX = not. 0 = no handle left (the
     * limit was told). */
    uint32_t (*http_body_new)(void *host, uint64_t content_length);
    int (*http_body_finish)(void *host, uint32_t body, const struct ambit_pair *trailers, size_t count, struct ambit_http_error *ret_error);
    void (*http_body_abandon)(void *host, uint32_t body); /* dropped unfinished: the peer must see a broken message */
    void (*http_body_unsent)(void *host, uint32_t body);  /* its request or response was dropped: nobody will send it */
    /* Sends a request; body 0 = none (headers then declare no content-length but 0). `scheme` is 1 or 2, `target` begins with "/". */
    int (*http_send)(void *host, const struct ambit_http_request *request, uint32_t body, uint32_t *ret_exchange, struct ambit_http_error *ret_error);
    /* The response's head of an outgoing exchange. PENDING: wait(exchange, false). READY: ret_error->code is not 0 when it failed. Taken
     * once, asked as often as the guest likes before. */
    enum ambit_wait (*http_response)(void *host, uint32_t exchange, struct ambit_http_response *ret, struct ambit_http_error *ret_error);
    /* After the incoming body's end, or instead of it: from the first call on nobody reads the body, what was not read of it is thrown
     * away, and wait(exchange, false) means the trailers. PENDING, or READY, again and again with the same answer: fields (count 0:
     * none came), or ret_error->code is not 0. */
    enum ambit_wait (*http_trailers)(void *host, uint32_t exchange, const struct ambit_pair **ret, size_t *ret_count, struct ambit_http_error *ret_error);
    /* The rest of the incoming body is not wanted. Only of an incoming exchange, at most once, perhaps when the body is over; an outgoing
     * one is dropped instead. */
    void (*http_discard)(void *host, uint32_t exchange);
    /* Outgoing: the guest keeps nothing of the response; cancels what is not over (a request body that is still written sees
     * AMBIT_STREAM_CLOSED). Incoming: at the end of the task, after its bodies' writers are over; a response that was given and whose body
     * is finished goes on. */
    void (*http_drop)(void *host, uint32_t exchange);
    /* After AMBIT_STREAM_FAILED of an exchange or a body: which error it was; false = none of HTTP's. */
    bool (*http_stream_error)(void *host, uint32_t stream, struct ambit_http_error *ret_error);
    /* Answers an incoming exchange, at most one of the two, at most once: with a response (body 0 = an empty one, whatever content-length
     * the headers declare: as a HEAD request wants it), or with an error. When http_respond() answers 1, http_fail() follows with that error. */
    int (*http_respond)(void *host, uint32_t exchange, const struct ambit_http_response *response, uint32_t body, struct ambit_http_error *ret_error);
    int (*http_fail)(void *host, uint32_t exchange, const struct ambit_http_error *error);

    /* wasi:keyvalue@0.2.0-draft, the one that wasmtime 48 has (store, atomics, batch). 0, enum ambit_kv_error, or < 0 to end the
     * guest. Texts of OTHER by kv_error(). */
    int (*kv_open)(void *host, struct ambit_bytes name, uint32_t *ret_bucket);
    void (*kv_drop)(void *host, uint32_t bucket);
    int (*kv_get)(void *host, uint32_t bucket, struct ambit_bytes key, bool *ret_found, struct ambit_bytes *ret_value);
    int (*kv_set)(void *host, uint32_t bucket, struct ambit_bytes key, struct ambit_bytes value);
    int (*kv_delete)(void *host, uint32_t bucket, struct ambit_bytes key);
    int (*kv_exists)(void *host, uint32_t bucket, struct ambit_bytes key, bool *ret);
    /* Keys after `cursor` (0 = from the start), in an order of their own; ret_cursor 0 = that was all. */
    int (*kv_list)(void *host, uint32_t bucket, uint64_t cursor, const struct ambit_bytes **ret_keys, size_t *ret_count, uint64_t *ret_cursor);
    /* Values that count are decimal texts, as wasmtime's: no value counts as "0"; no number or an overflow is OTHER. */
    int (*kv_increment)(void *host, uint32_t bucket, struct ambit_bytes key, uint64_t delta, uint64_t *ret);
    /* All or nothing, as one call: nothing is changed unless every key is allowed. value.data NULL = delete. */
    int (*kv_set_many)(void *host, uint32_t bucket, const struct ambit_pair *pairs, size_t count);
    struct ambit_bytes (*kv_error)(void *host);

    /* wasi:config/store */
    bool (*config_get)(void *host, struct ambit_bytes key, struct ambit_bytes *ret);
    void (*config_all)(void *host, const struct ambit_pair **ret, size_t *ret_count);
    /* wasi:logging */
    void (*log)(void *host, uint32_t level, struct ambit_bytes context, struct ambit_bytes message);
};

struct ambit_task_config {
    uint64_t memory_bytes;  /* summed over linear memories and tables (8 bytes an element) of all instances, and HTTP heads kept for the guest */
    uint32_t handles;       /* component handles of all tables, and resources behind them */
    uint64_t hostcall_bytes;/* copied into or out of the guest by one host call */
    void (*waker)(void *waker_context);
    void *waker_context;
};

enum ambit_poll { AMBIT_POLL_DONE = 0, AMBIT_POLL_PARKED = 1 /* wait for the waker */, AMBIT_POLL_SLICE = 2 /* poll again when it is its turn */ };
enum ambit_outcome {
    AMBIT_OUTCOME_EXIT = 0,   /* returned or called exit; `status` is its code */
    AMBIT_OUTCOME_TRAP = 1,   /* `message` says which */
    AMBIT_OUTCOME_ENDED = 2,  /* by enter, slice, limit or a negative fs answer */
    AMBIT_OUTCOME_FAULT = 3,  /* could not be started: pool exhausted, no such export … `message` */
};
struct ambit_result {
    enum ambit_outcome outcome;
    int32_t status;                   /* of invoke: 1 when the function answered err(…), else 0 */
    struct ambit_bytes message;       /* owned by the task */
    struct ambit_bytes values;        /* of invoke: the results in WAVE text, owned by the task */
    uint64_t memory_peak_bytes, slices;
};

/* A fresh instance that will run wasi:cli/run (`invoke` empty), or an exported function: "name" or "namespace:package/interface#name"
 * with arguments in WAVE text ("[1, 2]", `"text"`, …). Nothing of the guest runs before the first poll. NULL only for lack of memory
 * or a vtbl of the wrong size. */
struct ambit_task *ambit_task_new(struct ambit_component *c, const struct ambit_task_config *config, const struct ambit_host_vtbl *vtbl, void *host,
                                  struct ambit_bytes invoke, const struct ambit_bytes *invoke_args, size_t invoke_arg_count);
/* A fresh instance that will answer one request: its wasi:http/incoming-handler. `exchange` is the host's handle of it, from here on the
 * engine's to drop; `request` is copied (its time-outs are not looked at). The task is done when the handler has returned; whether it
 * answered, C knows. NULL also when the component does not export the handler; with NULL the exchange stays the caller's. */
struct ambit_task *ambit_task_new_request(struct ambit_component *c, const struct ambit_task_config *config, const struct ambit_host_vtbl *vtbl, void *host,
                                          const struct ambit_http_request *request, uint32_t exchange);
bool ambit_component_serves(const struct ambit_component *c); /* exports wasi:http/incoming-handler */
enum ambit_poll ambit_task_poll(struct ambit_task *t);
void ambit_task_wake(struct ambit_task *t);
void ambit_operation_complete(struct ambit_task *t, uint64_t operation);
void ambit_task_result(const struct ambit_task *t, struct ambit_result *ret); /* after DONE */
uint64_t ambit_task_memory(const struct ambit_task *t); /* bytes now */
void ambit_task_free(struct ambit_task *t);

#ifdef __cplusplus
}
#endif
