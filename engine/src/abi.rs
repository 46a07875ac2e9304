// SPDX-License-Identifier: Apache-2.0
//! The types of `include/ambit_engine.h`, in Rust. `tests/header.rs` compares both sides: names and order of fields, sizes, offsets,
//! constants and signatures.

use std::ffi::{c_int, c_void};

/// Text or bytes that belong to the other side, valid for the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AmbitBytes {
    pub data: *const u8,
    pub size: usize,
}

impl AmbitBytes {
    pub const EMPTY: AmbitBytes = AmbitBytes { data: std::ptr::null(), size: 0 };

    pub fn of(bytes: &[u8]) -> AmbitBytes {
        AmbitBytes { data: bytes.as_ptr(), size: bytes.len() }
    }

    /// # Safety
    /// `data` points to `size` readable bytes (or `size` is 0) that nobody changes while `'a` lasts.
    pub unsafe fn slice<'a>(self) -> &'a [u8] {
        if self.size == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }
}

pub type AmbitSink = Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, size: usize)>;

/// Gives `text` to the other side, if it listens.
///
/// # Safety
/// `sink` is a C function that accepts `context`.
pub unsafe fn pour(sink: AmbitSink, context: *mut c_void, bytes: &[u8]) {
    if let Some(sink) = sink {
        // SAFETY: passed on to the caller.
        unsafe { sink(context, bytes.as_ptr(), bytes.len()) }
    }
}

#[repr(C)]
pub struct AmbitEngineConfig {
    pub instances: u32,
    pub memory_max_bytes: u64,
    pub table_elements_max: u32,
    pub core_instances_max: u32,
    pub ticker: bool,
    pub epoch_us: u32,
}

// The C side's enums, as the C compiler passes them. Values that come *from* C are plain integers here: an enum would make an
// unexpected number undefined behaviour.
pub const AMBIT_PENDING: c_int = 0;
pub const AMBIT_READY: c_int = 1;
pub const AMBIT_STREAM_OK: c_int = 0;
pub const AMBIT_STREAM_CLOSED: c_int = 1;
pub const AMBIT_STREAM_FAILED: c_int = 2;
pub const AMBIT_STREAM_END: c_int = 3;
pub const AMBIT_SLICE_YIELD: c_int = 0;
pub const AMBIT_SLICE_END: c_int = 1;
pub const AMBIT_LIMIT_MEMORY: c_int = 1;
pub const AMBIT_LIMIT_HANDLES: c_int = 2;
pub const AMBIT_LIMIT_INSTANCES: c_int = 3;
pub const AMBIT_LIMIT_HOSTCALL_BYTES: c_int = 4;
pub const AMBIT_POLL_DONE: c_int = 0;
pub const AMBIT_POLL_PARKED: c_int = 1;
pub const AMBIT_POLL_SLICE: c_int = 2;
pub const AMBIT_OUTCOME_EXIT: c_int = 0;
pub const AMBIT_OUTCOME_TRAP: c_int = 1;
pub const AMBIT_OUTCOME_ENDED: c_int = 2;
pub const AMBIT_OUTCOME_FAULT: c_int = 3;
pub const AMBIT_KV_NO_SUCH_STORE: c_int = 1;
pub const AMBIT_KV_ACCESS_DENIED: c_int = 2;
pub const AMBIT_KV_OTHER: c_int = 3;

pub type AmbitCall = u32;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct AmbitFsStat {
    pub r#type: u32,
    pub links: u64,
    pub size: u64,
    pub accessed_ns: i64,
    pub modified_ns: i64,
    pub changed_ns: i64,
    pub identity: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct AmbitFsTimes {
    pub accessed: u32,
    pub modified: u32,
    pub accessed_ns: i64,
    pub modified_ns: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AmbitPair {
    pub key: AmbitBytes,
    pub value: AmbitBytes,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AmbitHttpError {
    pub code: u32,
    pub text: AmbitBytes,
    pub number: u64,
}

impl AmbitHttpError {
    pub const NONE: AmbitHttpError = AmbitHttpError { code: 0, text: AmbitBytes::EMPTY, number: u64::MAX };
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AmbitHttpRequest {
    pub method: AmbitBytes,
    pub scheme: u32,
    pub authority: AmbitBytes,
    pub target: AmbitBytes,
    pub headers: *const AmbitPair,
    pub header_count: usize,
    pub connect_timeout_ns: u64,
    pub first_byte_timeout_ns: u64,
    pub between_bytes_timeout_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct AmbitHttpResponse {
    pub status: u32,
    pub headers: *const AmbitPair,
    pub header_count: usize,
}

/// Everything a guest can cause. Function pointers are never null: C fills the whole table (checked where a task is made).
#[repr(C)]
pub struct AmbitHostVtbl {
    pub size: u32,
    pub enter: unsafe extern "C" fn(host: *mut c_void, call: AmbitCall) -> c_int,
    pub slice: unsafe extern "C" fn(host: *mut c_void) -> c_int,
    pub limit: unsafe extern "C" fn(host: *mut c_void, which: c_int, asked: u64),
    pub wait: unsafe extern "C" fn(host: *mut c_void, handle: u32, for_write: bool, operation: u64) -> c_int,
    pub wait_until: unsafe extern "C" fn(host: *mut c_void, monotonic_ns: u64, operation: u64) -> c_int,
    pub cancel: unsafe extern "C" fn(host: *mut c_void, operation: u64),
    pub environment: unsafe extern "C" fn(host: *mut c_void, ret: *mut *const AmbitPair, ret_count: *mut usize),
    pub arguments: unsafe extern "C" fn(host: *mut c_void, ret: *mut *const AmbitBytes, ret_count: *mut usize),
    pub initial_cwd: unsafe extern "C" fn(host: *mut c_void, ret: *mut AmbitBytes) -> bool,
    pub stdio: unsafe extern "C" fn(host: *mut c_void, which: u32) -> u32,
    pub stdio_is_terminal: unsafe extern "C" fn(host: *mut c_void, which: u32) -> bool,
    pub stream_read:
        unsafe extern "C" fn(host: *mut c_void, stream: u32, into: *mut u8, size: usize, ret_size: *mut usize) -> c_int,
    pub stream_check_write: unsafe extern "C" fn(host: *mut c_void, stream: u32, ret_size: *mut usize) -> c_int,
    pub stream_write: unsafe extern "C" fn(host: *mut c_void, stream: u32, bytes: *const u8, size: usize) -> c_int,
    pub stream_flush: unsafe extern "C" fn(host: *mut c_void, stream: u32) -> c_int,
    pub stream_error: unsafe extern "C" fn(host: *mut c_void, stream: u32) -> AmbitBytes,
    pub stream_drop: unsafe extern "C" fn(host: *mut c_void, stream: u32),
    pub monotonic_now: unsafe extern "C" fn(host: *mut c_void) -> u64,
    pub monotonic_resolution: unsafe extern "C" fn(host: *mut c_void) -> u64,
    pub wall_now: unsafe extern "C" fn(host: *mut c_void) -> i64,
    pub wall_resolution: unsafe extern "C" fn(host: *mut c_void) -> u64,
    pub random: unsafe extern "C" fn(host: *mut c_void, secure: bool, into: *mut u8, size: usize),
    pub fs_root: unsafe extern "C" fn(host: *mut c_void) -> u32,
    pub fs_drop: unsafe extern "C" fn(host: *mut c_void, descriptor: u32),
    pub fs_type: unsafe extern "C" fn(host: *mut c_void, descriptor: u32) -> u32,
    pub fs_flags: unsafe extern "C" fn(host: *mut c_void, descriptor: u32) -> u32,
    pub fs_open_at: unsafe extern "C" fn(
        host: *mut c_void,
        at: u32,
        follow: bool,
        path: AmbitBytes,
        open_flags: u32,
        descriptor_flags: u32,
        ret: *mut u32,
    ) -> c_int,
    pub fs_stat: unsafe extern "C" fn(host: *mut c_void, descriptor: u32, ret: *mut AmbitFsStat) -> c_int,
    pub fs_stat_at:
        unsafe extern "C" fn(host: *mut c_void, at: u32, follow: bool, path: AmbitBytes, ret: *mut AmbitFsStat) -> c_int,
    pub fs_set_times: unsafe extern "C" fn(host: *mut c_void, descriptor: u32, t: *const AmbitFsTimes) -> c_int,
    pub fs_set_times_at:
        unsafe extern "C" fn(host: *mut c_void, at: u32, follow: bool, path: AmbitBytes, t: *const AmbitFsTimes) -> c_int,
    pub fs_read: unsafe extern "C" fn(
        host: *mut c_void,
        descriptor: u32,
        offset: u64,
        into: *mut u8,
        size: usize,
        ret_size: *mut usize,
    ) -> c_int,
    pub fs_write: unsafe extern "C" fn(
        host: *mut c_void,
        descriptor: u32,
        offset: u64,
        bytes: *const u8,
        size: usize,
        ret_size: *mut usize,
    ) -> c_int,
    pub fs_append: unsafe extern "C" fn(
        host: *mut c_void,
        descriptor: u32,
        bytes: *const u8,
        size: usize,
        ret_size: *mut usize,
    ) -> c_int,
    pub fs_set_size: unsafe extern "C" fn(host: *mut c_void, descriptor: u32, size: u64) -> c_int,
    pub fs_sync: unsafe extern "C" fn(host: *mut c_void, descriptor: u32, data_only: bool) -> c_int,
    pub fs_create_directory_at: unsafe extern "C" fn(host: *mut c_void, at: u32, path: AmbitBytes) -> c_int,
    pub fs_remove_directory_at: unsafe extern "C" fn(host: *mut c_void, at: u32, path: AmbitBytes) -> c_int,
    pub fs_unlink_file_at: unsafe extern "C" fn(host: *mut c_void, at: u32, path: AmbitBytes) -> c_int,
    pub fs_rename_at:
        unsafe extern "C" fn(host: *mut c_void, from_at: u32, from: AmbitBytes, to_at: u32, to: AmbitBytes) -> c_int,
    pub fs_link_at: unsafe extern "C" fn(
        host: *mut c_void,
        from_at: u32,
        follow: bool,
        from: AmbitBytes,
        to_at: u32,
        to: AmbitBytes,
    ) -> c_int,
    pub fs_symlink_at: unsafe extern "C" fn(host: *mut c_void, at: u32, target: AmbitBytes, path: AmbitBytes) -> c_int,
    pub fs_readlink_at:
        unsafe extern "C" fn(host: *mut c_void, at: u32, path: AmbitBytes, ret_target: *mut AmbitBytes) -> c_int,
    pub fs_list: unsafe extern "C" fn(host: *mut c_void, descriptor: u32, ret_listing: *mut u32) -> c_int,
    pub fs_listing_next: unsafe extern "C" fn(
        host: *mut c_void,
        listing: u32,
        ret_type: *mut u32,
        ret_name: *mut AmbitBytes,
        ret_end: *mut bool,
    ) -> c_int,
    pub fs_listing_drop: unsafe extern "C" fn(host: *mut c_void, listing: u32),
    pub fs_same_object: unsafe extern "C" fn(host: *mut c_void, a: u32, b: u32) -> bool,
    pub http_body_new: unsafe extern "C" fn(host: *mut c_void, content_length: u64) -> u32,
    pub http_body_finish: unsafe extern "C" fn(
        host: *mut c_void,
        body: u32,
        trailers: *const AmbitPair,
        count: usize,
        ret_error: *mut AmbitHttpError,
    ) -> c_int,
    pub http_body_abandon: unsafe extern "C" fn(host: *mut c_void, body: u32),
    pub http_body_unsent: unsafe extern "C" fn(host: *mut c_void, body: u32),
    pub http_send: unsafe extern "C" fn(
        host: *mut c_void,
        request: *const AmbitHttpRequest,
        body: u32,
        ret_exchange: *mut u32,
        ret_error: *mut AmbitHttpError,
    ) -> c_int,
    pub http_response: unsafe extern "C" fn(
        host: *mut c_void,
        exchange: u32,
        ret: *mut AmbitHttpResponse,
        ret_error: *mut AmbitHttpError,
    ) -> c_int,
    pub http_trailers: unsafe extern "C" fn(
        host: *mut c_void,
        exchange: u32,
        ret: *mut *const AmbitPair,
        ret_count: *mut usize,
        ret_error: *mut AmbitHttpError,
    ) -> c_int,
    pub http_discard: unsafe extern "C" fn(host: *mut c_void, exchange: u32),
    pub http_drop: unsafe extern "C" fn(host: *mut c_void, exchange: u32),
    pub http_stream_error: unsafe extern "C" fn(host: *mut c_void, stream: u32, ret_error: *mut AmbitHttpError) -> bool,
    pub http_respond: unsafe extern "C" fn(
        host: *mut c_void,
        exchange: u32,
        response: *const AmbitHttpResponse,
        body: u32,
        ret_error: *mut AmbitHttpError,
    ) -> c_int,
    pub http_fail: unsafe extern "C" fn(host: *mut c_void, exchange: u32, error: *const AmbitHttpError) -> c_int,
    pub kv_open: unsafe extern "C" fn(host: *mut c_void, name: AmbitBytes, ret_bucket: *mut u32) -> c_int,
    pub kv_drop: unsafe extern "C" fn(host: *mut c_void, bucket: u32),
    pub kv_get: unsafe extern "C" fn(
        host: *mut c_void,
        bucket: u32,
        key: AmbitBytes,
        ret_found: *mut bool,
        ret_value: *mut AmbitBytes,
    ) -> c_int,
    pub kv_set: unsafe extern "C" fn(host: *mut c_void, bucket: u32, key: AmbitBytes, value: AmbitBytes) -> c_int,
    pub kv_delete: unsafe extern "C" fn(host: *mut c_void, bucket: u32, key: AmbitBytes) -> c_int,
    pub kv_exists: unsafe extern "C" fn(host: *mut c_void, bucket: u32, key: AmbitBytes, ret: *mut bool) -> c_int,
    pub kv_list: unsafe extern "C" fn(
        host: *mut c_void,
        bucket: u32,
        cursor: u64,
        ret_keys: *mut *const AmbitBytes,
        ret_count: *mut usize,
        ret_cursor: *mut u64,
    ) -> c_int,
    pub kv_increment:
        unsafe extern "C" fn(host: *mut c_void, bucket: u32, key: AmbitBytes, delta: u64, ret: *mut u64) -> c_int,
    pub kv_set_many:
        unsafe extern "C" fn(host: *mut c_void, bucket: u32, pairs: *const AmbitPair, count: usize) -> c_int,
    pub kv_error: unsafe extern "C" fn(host: *mut c_void) -> AmbitBytes,
    pub config_get: unsafe extern "C" fn(host: *mut c_void, key: AmbitBytes, ret: *mut AmbitBytes) -> bool,
    pub config_all: unsafe extern "C" fn(host: *mut c_void, ret: *mut *const AmbitPair, ret_count: *mut usize),
    pub log: unsafe extern "C" fn(host: *mut c_void, level: u32, context: AmbitBytes, message: AmbitBytes),
}

#[repr(C)]
pub struct AmbitTaskConfig {
    pub memory_bytes: u64,
    pub handles: u32,
    pub hostcall_bytes: u64,
    pub waker: Option<unsafe extern "C" fn(waker_context: *mut c_void)>,
    pub waker_context: *mut c_void,
}

#[repr(C)]
pub struct AmbitResult {
    pub outcome: c_int,
    pub status: i32,
    pub message: AmbitBytes,
    pub values: AmbitBytes,
    pub memory_peak_bytes: u64,
    pub slices: u64,
}
