/* SPDX-License-Identifier: Apache-2.0 */
/* WASI 0.2 as core functions: the canonical ABI of wit/deps, by hand, for what this component uses.
 *
 * A function whose result does not fit into one value writes it to `ret`, laid out as the canonical ABI says; the layouts that are
 * used are the structs below, and static assertions hold their offsets. Lists and strings that come back are allocated with
 * cabi_realloc, that is malloc: the caller frees them. A handle that is returned is owned; one that is passed is borrowed unless
 * the name is a constructor, `finish`, `handle` or a drop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WASI(interface, name) \
    __attribute__((import_module("wasi:" interface "@0.2.12"), import_name(name)))

typedef int32_t handle;

struct list {
    void *data;
    uint32_t size;
};
struct pair { /* tuple<string, string> */
    struct list name, value;
};
struct optional_list {
    uint8_t there;
    uint8_t pad[3];
    struct list list;
};

/* result<u32-or-list, small>: `tag` 1 is an error, whose code is the first byte of the payload. */
struct result {
    uint8_t tag, code; /* `code` here only for result<_, error> without payload */
    uint8_t pad[2];
    union {
        handle handle;
        uint8_t error;
        struct list list;
        struct {
            struct list list;
            uint8_t end;
        } read;
        struct { /* stream-error: 0 failed, with an error resource; 1 closed */
            uint8_t kind;
            handle error;
        } stream;
        struct { /* option<directory-entry> */
            uint8_t there;
            uint8_t pad[3];
            uint8_t entry_type;
            uint8_t pad2[3];
            struct list name;
        } entry;
    } u;
};
struct result64 { /* result<u64, …> */
    uint8_t tag;
    uint8_t pad[7];
    union {
        uint64_t value;
        uint8_t error;
        struct {
            uint8_t kind;
            handle error;
        } stream;
    } u;
};
struct datetime {
    uint64_t seconds;
    uint32_t nanoseconds;
};
struct optional_datetime {
    uint8_t there;
    uint8_t pad[7];
    struct datetime at;
};
struct stat_result {
    uint8_t tag;
    uint8_t pad[7];
    uint8_t type; /* or the error */
    uint8_t pad2[7];
    uint64_t links, size;
    struct optional_datetime accessed, modified, changed;
};
struct http_error {
    uint8_t code;
    uint8_t pad[7];
    uint8_t there; /* internal-error(option<string>) */
    uint8_t pad2[3];
    struct list text;
    uint8_t rest[12];
};
struct http_result { /* result<handle, error-code> */
    uint8_t tag;
    uint8_t pad[7];
    union {
        handle handle;
        struct http_error error;
    } u;
};
struct http_got { /* option<result<result<incoming-response, error-code>>> */
    uint8_t there;
    uint8_t pad[7];
    uint8_t outer;
    uint8_t pad2[7];
    struct http_result inner;
};
_Static_assert(offsetof(struct result, u.handle) == 4, "canonical ABI");
_Static_assert(offsetof(struct result, u.stream.error) == 8, "canonical ABI");
_Static_assert(offsetof(struct result, u.read.end) == 12, "canonical ABI");
_Static_assert(offsetof(struct result, u.entry.entry_type) == 8, "canonical ABI");
_Static_assert(offsetof(struct result, u.entry.name) == 12, "canonical ABI");
_Static_assert(offsetof(struct result64, u.stream.error) == 12, "canonical ABI");
_Static_assert(offsetof(struct stat_result, accessed) == 32, "canonical ABI");
_Static_assert(offsetof(struct stat_result, modified.at) == 64, "canonical ABI");
_Static_assert(sizeof(struct stat_result) == 104, "canonical ABI");
_Static_assert(offsetof(struct http_error, text) == 12, "canonical ABI");
_Static_assert(sizeof(struct http_error) == 32, "canonical ABI");
_Static_assert(offsetof(struct http_got, inner.u) == 24, "canonical ABI");

/* ---- cli ---- */
WASI("cli/environment", "get-environment") void wasi_environment(struct list *ret);
WASI("cli/environment", "get-arguments") void wasi_arguments(struct list *ret);
WASI("cli/environment", "initial-cwd") void wasi_initial_cwd(struct optional_list *ret);
WASI("cli/exit", "exit-with-code") void wasi_exit(int32_t code);
WASI("cli/stdin", "get-stdin") handle wasi_stdin(void);
WASI("cli/stdout", "get-stdout") handle wasi_stdout(void);
WASI("cli/stderr", "get-stderr") handle wasi_stderr(void);

/* ---- clocks, random ---- */
WASI("clocks/monotonic-clock", "now") uint64_t wasi_monotonic(void);
WASI("clocks/monotonic-clock", "subscribe-duration") handle wasi_after(uint64_t nanoseconds);
WASI("clocks/wall-clock", "now") void wasi_wall(struct datetime *ret);
WASI("random/random", "get-random-bytes") void wasi_random(uint64_t size, struct list *ret);

/* ---- io ---- */
WASI("io/poll", "poll")
void wasi_poll(const handle *pollables, uint32_t count, struct list *ret);
WASI("io/poll", "[resource-drop]pollable") void wasi_pollable_drop(handle h);
WASI("io/error", "[method]error.to-debug-string")
void wasi_error_text(handle h, struct list *ret);
WASI("io/error", "[resource-drop]error") void wasi_error_drop(handle h);
WASI("io/streams", "[method]input-stream.read")
void wasi_read(handle h, uint64_t size, struct result *ret);
WASI("io/streams", "[method]input-stream.blocking-read")
void wasi_blocking_read(handle h, uint64_t size, struct result *ret);
WASI("io/streams", "[method]input-stream.subscribe") handle wasi_input_subscribe(handle h);
WASI("io/streams", "[resource-drop]input-stream") void wasi_input_drop(handle h);
WASI("io/streams", "[method]output-stream.check-write")
void wasi_check_write(handle h, struct result64 *ret);
WASI("io/streams", "[method]output-stream.write")
void wasi_write(handle h, const void *data, uint32_t size, struct result *ret);
WASI("io/streams", "[method]output-stream.flush") void wasi_flush(handle h, struct result *ret);
WASI("io/streams", "[method]output-stream.blocking-flush")
void wasi_blocking_flush(handle h, struct result *ret);
WASI("io/streams", "[method]output-stream.blocking-write-and-flush")
void wasi_blocking_write(handle h, const void *data, uint32_t size, struct result *ret);
WASI("io/streams", "[method]output-stream.subscribe") handle wasi_output_subscribe(handle h);
WASI("io/streams", "[resource-drop]output-stream") void wasi_output_drop(handle h);

/* ---- filesystem ---- */
#define PATH handle dir, const char *path, uint32_t path_size
WASI("filesystem/preopens", "get-directories") void wasi_preopens(struct list *ret);
WASI("filesystem/types", "[resource-drop]descriptor") void wasi_descriptor_drop(handle h);
WASI("filesystem/types", "[method]descriptor.open-at")
void wasi_open(handle dir, int32_t follow, const char *path, uint32_t path_size, int32_t how,
               int32_t flags, struct result *ret);
WASI("filesystem/types", "[method]descriptor.read")
void wasi_pread(handle h, uint64_t size, uint64_t at, struct result *ret);
WASI("filesystem/types", "[method]descriptor.write")
void wasi_pwrite(handle h, const void *data, uint32_t size, uint64_t at, struct result64 *ret);
WASI("filesystem/types", "[method]descriptor.append-via-stream")
void wasi_append(handle h, struct result *ret);
WASI("filesystem/types", "[method]descriptor.stat")
void wasi_stat(handle h, struct stat_result *ret);
WASI("filesystem/types", "[method]descriptor.stat-at")
void wasi_stat_at(handle dir, int32_t follow, const char *path, uint32_t path_size,
                  struct stat_result *ret);
WASI("filesystem/types", "[method]descriptor.set-size")
void wasi_set_size(handle h, uint64_t size, struct result *ret);
WASI("filesystem/types", "[method]descriptor.create-directory-at")
void wasi_mkdir(PATH, struct result *ret);
WASI("filesystem/types", "[method]descriptor.remove-directory-at")
void wasi_rmdir(PATH, struct result *ret);
WASI("filesystem/types", "[method]descriptor.unlink-file-at")
void wasi_unlink(PATH, struct result *ret);
WASI("filesystem/types", "[method]descriptor.rename-at")
void wasi_rename(PATH, handle to_dir, const char *to, uint32_t to_size, struct result *ret);
WASI("filesystem/types", "[method]descriptor.readlink-at")
void wasi_readlink(PATH, struct result *ret);
WASI("filesystem/types", "[method]descriptor.read-directory")
void wasi_read_directory(handle h, struct result *ret);
WASI("filesystem/types", "[method]directory-entry-stream.read-directory-entry")
void wasi_read_entry(handle h, struct result *ret);
WASI("filesystem/types", "[resource-drop]directory-entry-stream") void wasi_entries_drop(handle h);

/* ---- http ---- */
WASI("http/types", "[static]fields.from-list")
void wasi_fields_from_list(const struct pair *pairs, uint32_t count, struct result *ret);
WASI("http/types", "[method]fields.entries") void wasi_fields_entries(handle h, struct list *ret);
WASI("http/types", "[resource-drop]fields") void wasi_fields_drop(handle h);
WASI("http/types", "[constructor]outgoing-request") handle wasi_request(handle fields);
WASI("http/types", "[method]outgoing-request.set-method")
int32_t wasi_request_method(handle h, int32_t kind, const char *text, uint32_t size);
WASI("http/types", "[method]outgoing-request.set-path-with-query")
int32_t wasi_request_path(handle h, int32_t there, const char *text, uint32_t size);
WASI("http/types", "[method]outgoing-request.set-scheme")
int32_t wasi_request_scheme(handle h, int32_t there, int32_t kind, const char *text, uint32_t size);
WASI("http/types", "[method]outgoing-request.set-authority")
int32_t wasi_request_authority(handle h, int32_t there, const char *text, uint32_t size);
WASI("http/types", "[method]outgoing-request.body")
void wasi_request_body(handle h, struct result *ret);
WASI("http/types", "[resource-drop]outgoing-request") void wasi_request_drop(handle h);
WASI("http/types", "[method]outgoing-body.write")
void wasi_body_write(handle h, struct result *ret);
WASI("http/types", "[static]outgoing-body.finish")
void wasi_body_finish(handle h, int32_t there, handle trailers, struct http_result *ret);
WASI("http/types", "[resource-drop]outgoing-body") void wasi_body_drop(handle h);
WASI("http/outgoing-handler", "handle")
void wasi_http_send(handle request, int32_t there, handle options, struct http_result *ret);
WASI("http/types", "[method]future-incoming-response.subscribe")
handle wasi_future_subscribe(handle h);
WASI("http/types", "[method]future-incoming-response.get")
void wasi_future_get(handle h, struct http_got *ret);
WASI("http/types", "[resource-drop]future-incoming-response") void wasi_future_drop(handle h);
WASI("http/types", "[method]incoming-response.status") int32_t wasi_response_status(handle h);
WASI("http/types", "[method]incoming-response.headers") handle wasi_response_headers(handle h);
WASI("http/types", "[method]incoming-response.consume")
void wasi_response_consume(handle h, struct result *ret);
WASI("http/types", "[resource-drop]incoming-response") void wasi_response_drop(handle h);
WASI("http/types", "[method]incoming-body.stream")
void wasi_incoming_stream(handle h, struct result *ret);
WASI("http/types", "[resource-drop]incoming-body") void wasi_incoming_drop(handle h);
WASI("http/types", "http-error-code")
void wasi_http_error_code(handle error, struct http_result *ret); /* option<error-code> */
