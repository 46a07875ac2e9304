/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind a guest's interfaces, one file per capability class. Each file fills its
 * functions into one table (host_vtbl); `host` is always a struct guest. Contracts of the
 * functions: ambit_engine.h.
 */
#pragma once

#include <sys/types.h>

#include "worker/guest.h"

extern const struct ambit_host_vtbl host_vtbl;

/* guest.c: accounts and limits */
int host_enter(void *host, ambit_call call);
enum ambit_slice host_slice(void *host);
void host_limit(void *host, enum ambit_limit which, uint64_t asked);

/* vtbl.c */
enum ambit_wait host_wait_until(void *host, uint64_t monotonic_ns, uint64_t operation);
void host_cancel(void *host, uint64_t operation);

/*
 * streams.c: what can be behind a stream handle, one class for each kind of object. The guest is not
 * at its end when these are called; sizes that are given back are 0 before. A class that cannot read
 * (write) answers FAILED with a text.
 */
struct stream_class {
    enum ambit_stream_status (*read)(struct guest *g, void *object, uint8_t *into, size_t size,
                                     size_t *ret_size);
    enum ambit_stream_status (*check_write)(struct guest *g, void *object, size_t *ret_size);
    enum ambit_stream_status (*write)(struct guest *g, void *object, const uint8_t *bytes,
                                      size_t size);
    enum ambit_stream_status (*flush)(struct guest *g, void *object);
    struct ambit_bytes (*error)(struct guest *g, void *object); /* also at the guest's end */
    /* READY when the next call can say more than "nothing now". */
    enum ambit_wait (*wait)(struct guest *g, void *object, bool for_write, uint64_t operation);
};
extern const struct stream_class stdio_class, lines_class, exchange_class, body_class;
enum ambit_wait host_wait(void *host, uint32_t handle, bool for_write, uint64_t operation);
enum ambit_stream_status host_stream_read(void *host, uint32_t stream, uint8_t *into, size_t size,
                                          size_t *ret_size);
enum ambit_stream_status host_stream_check_write(void *host, uint32_t stream, size_t *ret_size);
enum ambit_stream_status host_stream_write(void *host, uint32_t stream, const uint8_t *bytes,
                                           size_t size);
enum ambit_stream_status host_stream_flush(void *host, uint32_t stream);
struct ambit_bytes host_stream_error(void *host, uint32_t stream);
void host_stream_drop(void *host, uint32_t stream);
/* Gives an object a handle; 0 = there is none left, or no memory: the guest ends. */
uint32_t host_give_handle(struct guest *g, enum handle_kind kind, void *object);
void host_close_all(struct guest *g); /* whatever the guest left open */

/* environment.c */
int host_environment_init(struct guest *g, struct error *e) MUST_CHECK;
void host_environment_done(struct guest *g);
void host_environment(void *host, const struct ambit_pair **ret, size_t *ret_count);
void host_arguments(void *host, const struct ambit_bytes **ret, size_t *ret_count);
bool host_initial_cwd(void *host, struct ambit_bytes *ret);

/* stdio.c. Takes the descriptors. Before the jail closes: pipes and terminals are opened again. */
int streams_init(struct guest *g, const int fds[STREAM_COUNT], struct error *e) MUST_CHECK;
void streams_done(struct guest *g);
/* Tries to write what is held; true when nothing is left or nobody will take it. */
bool stream_drain(struct stream *s);
bool stream_may_block(const struct stream *s);
/* One write that does not block: bytes taken, or -errno. */
ssize_t stream_write_some(const struct stream *s, const uint8_t *bytes, size_t size);
uint32_t host_stdio(void *host, uint32_t which);
bool host_stdio_is_terminal(void *host, uint32_t which);

/* lines.c */
uint32_t lines_open(struct guest *g, uint32_t which);
void lines_finish(struct guest *g);       /* the guest has ended: so has its line */
void lines_flush(struct guest *template); /* writes what waits, as far as it goes */
void lines_writable(struct guest *template, struct watch *w);
void lines_done(struct guest *template);

/* clock.c */
void host_clock_init(struct guest *g);
uint64_t host_monotonic_now(void *host);
uint64_t host_monotonic_resolution(void *host);
int64_t host_wall_now(void *host);
uint64_t host_wall_resolution(void *host);
/* The guest's wall clock for the host's own needs (times of files): no denial, no count. */
int64_t host_clock_wall_ns(void *guest);
enum ambit_wait host_clock_wait_until(struct guest *g, uint64_t monotonic_ns, uint64_t operation);
/* A frozen clock jumps to the earliest time that a parked guest waits for; that operation is
 * complete. */
bool host_clock_jump(struct guest *g);
void host_clock_freeze(struct guest *g);

/* random.c */
int host_random_init(struct guest *g, struct error *e) MUST_CHECK;
void host_random_done(struct guest *g);
void host_random(void *host, bool secure, uint8_t *into, size_t size);
/* A key of the run for names that must repeat when the run does: from the seed,
 * else from the host. */
int host_random_identity_key(struct guest *g, uint8_t ret_key[32]) MUST_CHECK;

/* fs.c */
void fs_close(enum handle_kind kind, void *object);
void fs_audit_denied(void *guest, const char *operation, const char *path, uint32_t verbs,
                     struct grant_decision d);
bool fs_audit_ask(void *guest, const char *operation, const char *path, uint32_t verbs,
                  struct grant_decision d);
void fs_audit_used(void *guest, uint32_t rule, uint32_t verbs, uint64_t bytes_read,
                   uint64_t bytes_written);
uint32_t host_fs_root(void *host);
void host_fs_drop(void *host, uint32_t descriptor);
uint32_t host_fs_type(void *host, uint32_t descriptor);
uint32_t host_fs_flags(void *host, uint32_t descriptor);
int host_fs_open_at(void *host, uint32_t at, bool follow, struct ambit_bytes path,
                    uint32_t open_flags, uint32_t descriptor_flags, uint32_t *ret);
int host_fs_stat(void *host, uint32_t descriptor, struct ambit_fs_stat *ret);
int host_fs_stat_at(void *host, uint32_t at, bool follow, struct ambit_bytes path,
                    struct ambit_fs_stat *ret);
int host_fs_set_times(void *host, uint32_t descriptor, const struct ambit_fs_times *t);
int host_fs_set_times_at(void *host, uint32_t at, bool follow, struct ambit_bytes path,
                         const struct ambit_fs_times *t);
int host_fs_read(void *host, uint32_t descriptor, uint64_t offset, uint8_t *into, size_t size,
                 size_t *ret_size);
int host_fs_write(void *host, uint32_t descriptor, uint64_t offset, const uint8_t *bytes,
                  size_t size, size_t *ret_size);
int host_fs_append(void *host, uint32_t descriptor, const uint8_t *bytes, size_t size,
                   size_t *ret_size);
int host_fs_set_size(void *host, uint32_t descriptor, uint64_t size);
int host_fs_sync(void *host, uint32_t descriptor, bool data_only);
int host_fs_create_directory_at(void *host, uint32_t at, struct ambit_bytes path);
int host_fs_remove_directory_at(void *host, uint32_t at, struct ambit_bytes path);
int host_fs_unlink_file_at(void *host, uint32_t at, struct ambit_bytes path);
int host_fs_rename_at(void *host, uint32_t from_at, struct ambit_bytes from, uint32_t to_at,
                      struct ambit_bytes to);
int host_fs_link_at(void *host, uint32_t from_at, bool follow, struct ambit_bytes from,
                    uint32_t to_at, struct ambit_bytes to);
int host_fs_symlink_at(void *host, uint32_t at, struct ambit_bytes target, struct ambit_bytes path);
int host_fs_readlink_at(void *host, uint32_t at, struct ambit_bytes path,
                        struct ambit_bytes *ret_target);
int host_fs_list(void *host, uint32_t descriptor, uint32_t *ret_listing);
int host_fs_listing_next(void *host, uint32_t listing, uint32_t *ret_type,
                         struct ambit_bytes *ret_name, bool *ret_end);
void host_fs_listing_drop(void *host, uint32_t listing);
bool host_fs_same_object(void *host, uint32_t a, uint32_t b);

/* http.c */
void http_close(enum handle_kind kind, void *object); /* an exchange or a body that was left */
void http_end(struct guest *g); /* the guest is freed: what it has under way is aborted */
void http_pairs_to_fields(const struct ambit_pair *pairs, size_t count, struct http_field *ret);
/* For a peer of exchanges that guests ask for. */
void http_refused(void *context, struct exchange *x, const struct http_failure *f);
uint32_t host_http_body_new(void *host, uint64_t content_length);
int host_http_body_finish(void *host, uint32_t body, const struct ambit_pair *trailers,
                          size_t count, struct ambit_http_error *ret_error);
void host_http_body_abandon(void *host, uint32_t body);
void host_http_body_unsent(void *host, uint32_t body);
int host_http_send(void *host, const struct ambit_http_request *request, uint32_t body,
                   uint32_t *ret_exchange, struct ambit_http_error *ret_error);
enum ambit_wait host_http_response(void *host, uint32_t exchange, struct ambit_http_response *ret,
                                   struct ambit_http_error *ret_error);
enum ambit_wait host_http_trailers(void *host, uint32_t exchange, const struct ambit_pair **ret,
                                   size_t *ret_count, struct ambit_http_error *ret_error);
void host_http_discard(void *host, uint32_t exchange);
void host_http_drop(void *host, uint32_t exchange);
bool host_http_stream_error(void *host, uint32_t stream, struct ambit_http_error *ret_error);
int host_http_respond(void *host, uint32_t exchange, const struct ambit_http_response *response,
                      uint32_t body, struct ambit_http_error *ret_error);
int host_http_fail(void *host, uint32_t exchange, const struct ambit_http_error *error);

/* keyvalue.c */
int host_kv_open(void *host, struct ambit_bytes name, uint32_t *ret_bucket);
void host_kv_drop(void *host, uint32_t bucket);
int host_kv_get(void *host, uint32_t bucket, struct ambit_bytes key, bool *ret_found,
                struct ambit_bytes *ret_value);
int host_kv_set(void *host, uint32_t bucket, struct ambit_bytes key, struct ambit_bytes value);
int host_kv_delete(void *host, uint32_t bucket, struct ambit_bytes key);
int host_kv_exists(void *host, uint32_t bucket, struct ambit_bytes key, bool *ret);
int host_kv_list(void *host, uint32_t bucket, uint64_t cursor, const struct ambit_bytes **ret_keys,
                 size_t *ret_count, uint64_t *ret_cursor);
int host_kv_increment(void *host, uint32_t bucket, struct ambit_bytes key, uint64_t delta,
                      uint64_t *ret);
int host_kv_set_many(void *host, uint32_t bucket, const struct ambit_pair *pairs, size_t count);
struct ambit_bytes host_kv_error(void *host);

/* config.c */
int host_config_init(struct guest *g, struct error *e) MUST_CHECK;
void host_config_done(struct guest *g);
bool host_config_get(void *host, struct ambit_bytes key, struct ambit_bytes *ret);
void host_config_all(void *host, const struct ambit_pair **ret, size_t *ret_count);

/* log.c */
void host_log_init(struct guest *g);
void host_log(void *host, uint32_t level, struct ambit_bytes context, struct ambit_bytes message);
/* Says in the log how many lines were left out, when some were. */
void host_log_finish(struct guest *g);

/* Finds the calls that ask for a network; then, at each host call: record it if it is one of them. */
void host_network_prepare(struct guest *g);
void host_network_asked(struct guest *g, ambit_call call);
