// SPDX-License-Identifier: Apache-2.0
//! A number for every WASI function that a guest can call. `tests/calls.rs` compares the list with the vendored WIT.

macro_rules! calls {
    ($($id:ident $name:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u32)]
        enum Index { $($id),* }
        $(pub const $id: u32 = Index::$id as u32;)*
        /// By number. NUL-terminated, for C.
        pub const NAMES: &[&str] = &[$(concat!($name, "\0")),*];
    };
}

include!("calls.in");

/// Whether the engine has `function` of `interface` (without version): what a component may import.
pub fn knows(interface: &str, function: &str) -> bool {
    NAMES.iter().any(|n| {
        n.strip_suffix('\0')
            .and_then(|n| n.strip_prefix(interface))
            .and_then(|n| n.strip_prefix('#'))
            .is_some_and(|n| n == function)
    })
}

/// Number of calls a guest can make.
#[unsafe(no_mangle)]
pub extern "C" fn ambit_call_count() -> u32 {
    NAMES.len() as u32
}

/// NULL for a number that does not exist.
#[unsafe(no_mangle)]
pub extern "C" fn ambit_call_name(call: crate::abi::AmbitCall) -> *const std::ffi::c_char {
    NAMES.get(call as usize).map_or(std::ptr::null(), |n| n.as_ptr().cast())
}
