// SPDX-License-Identifier: Apache-2.0
//! A host's functions of HTTP and keyvalue for tests whose guests do not use them: whoever calls one finds out.

use ambit_engine::abi::*;
use std::ffi::{c_int, c_void};

macro_rules! unused {
    ($($name:ident($($arg:ty),*) -> $ret:ty;)*) => {
        $(pub unsafe extern "C" fn $name(_: *mut c_void, $(_: $arg),*) -> $ret {
            panic!(concat!(stringify!($name), " is called by no guest here"))
        })*
    };
}

unused! {
    http_body_new(u64) -> u32;
    http_body_finish(u32, *const AmbitPair, usize, *mut AmbitHttpError) -> c_int;
    http_send(*const AmbitHttpRequest, u32, *mut u32, *mut AmbitHttpError) -> c_int;
    http_response(u32, *mut AmbitHttpResponse, *mut AmbitHttpError) -> c_int;
    http_trailers(u32, *mut *const AmbitPair, *mut usize, *mut AmbitHttpError) -> c_int;
    http_stream_error(u32, *mut AmbitHttpError) -> bool;
    http_respond(u32, *const AmbitHttpResponse, u32, *mut AmbitHttpError) -> c_int;
    http_fail(u32, *const AmbitHttpError) -> c_int;
    handle(u32) -> ();
    kv_open(AmbitBytes, *mut u32) -> c_int;
    kv_get(u32, AmbitBytes, *mut bool, *mut AmbitBytes) -> c_int;
    kv_set(u32, AmbitBytes, AmbitBytes) -> c_int;
    kv_delete(u32, AmbitBytes) -> c_int;
    kv_exists(u32, AmbitBytes, *mut bool) -> c_int;
    kv_list(u32, u64, *mut *const AmbitBytes, *mut usize, *mut u64) -> c_int;
    kv_increment(u32, AmbitBytes, u64, *mut u64) -> c_int;
    kv_set_many(u32, *const AmbitPair, usize) -> c_int;
    kv_error() -> AmbitBytes;
}
