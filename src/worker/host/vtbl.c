/* SPDX-License-Identifier: Apache-2.0 */
/* The table the engine calls, and what belongs to no class. */
#include "worker/host/host.h"

enum ambit_wait host_wait_until(void *host, uint64_t monotonic_ns, uint64_t operation)
{
    struct guest *g = host;
    return g->ended ? AMBIT_READY : host_clock_wait_until(g, monotonic_ns, operation);
}

void host_cancel(void *host, uint64_t operation)
{
    struct guest *g = host;
    operation_cancel(g->loop, g, operation);
}

const struct ambit_host_vtbl host_vtbl = {
    .size = sizeof(struct ambit_host_vtbl),
    .enter = host_enter,
    .slice = host_slice,
    .limit = host_limit,
    .wait = host_wait,
    .wait_until = host_wait_until,
    .cancel = host_cancel,
    .environment = host_environment,
    .arguments = host_arguments,
    .initial_cwd = host_initial_cwd,
    .stdio = host_stdio,
    .stdio_is_terminal = host_stdio_is_terminal,
    .stream_read = host_stream_read,
    .stream_check_write = host_stream_check_write,
    .stream_write = host_stream_write,
    .stream_flush = host_stream_flush,
    .stream_error = host_stream_error,
    .stream_drop = host_stream_drop,
    .monotonic_now = host_monotonic_now,
    .monotonic_resolution = host_monotonic_resolution,
    .wall_now = host_wall_now,
    .wall_resolution = host_wall_resolution,
    .random = host_random,
    .fs_root = host_fs_root,
    .fs_drop = host_fs_drop,
    .fs_type = host_fs_type,
    .fs_flags = host_fs_flags,
    .fs_open_at = host_fs_open_at,
    .fs_stat = host_fs_stat,
    .fs_stat_at = host_fs_stat_at,
    .fs_set_times = host_fs_set_times,
    .fs_set_times_at = host_fs_set_times_at,
    .fs_read = host_fs_read,
    .fs_write = host_fs_write,
    .fs_append = host_fs_append,
    .fs_set_size = host_fs_set_size,
    .fs_sync = host_fs_sync,
    .fs_create_directory_at = host_fs_create_directory_at,
    .fs_remove_directory_at = host_fs_remove_directory_at,
    .fs_unlink_file_at = host_fs_unlink_file_at,
    .fs_rename_at = host_fs_rename_at,
    .fs_link_at = host_fs_link_at,
    .fs_symlink_at = host_fs_symlink_at,
    .fs_readlink_at = host_fs_readlink_at,
    .fs_list = host_fs_list,
    .fs_listing_next = host_fs_listing_next,
    .fs_listing_drop = host_fs_listing_drop,
    .fs_same_object = host_fs_same_object,
    .http_body_new = host_http_body_new,
    .http_body_finish = host_http_body_finish,
    .http_body_abandon = host_http_body_abandon,
    .http_body_unsent = host_http_body_unsent,
    .http_send = host_http_send,
    .http_response = host_http_response,
    .http_trailers = host_http_trailers,
    .http_discard = host_http_discard,
    .http_drop = host_http_drop,
    .http_stream_error = host_http_stream_error,
    .http_respond = host_http_respond,
    .http_fail = host_http_fail,
    .kv_open = host_kv_open,
    .kv_drop = host_kv_drop,
    .kv_get = host_kv_get,
    .kv_set = host_kv_set,
    .kv_delete = host_kv_delete,
    .kv_exists = host_kv_exists,
    .kv_list = host_kv_list,
    .kv_increment = host_kv_increment,
    .kv_set_many = host_kv_set_many,
    .kv_error = host_kv_error,
    .config_get = host_config_get,
    .config_all = host_config_all,
    .log = host_log,
};
