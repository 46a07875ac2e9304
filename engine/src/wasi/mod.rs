// SPDX-License-Identifier: Apache-2.0
//! WASI 0.2, one file per package. Each implements the traits that `bindgen!` makes from `/wit` on [`Host`], and each function is: ask C
//! (`enter`), translate, call C, translate back. No file decides anything.
//!
//! To add a package: its WIT under `/wit/deps`, an import in `/wit/world.wit`, its calls in `calls.in`, its
//! functions in the vtbl, a file here, a line in [`add_to_linker`]. What can wait is listed as `async` below; everything else is a plain
//! function and costs no future.

use crate::host::Host;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

mod cli;
pub use cli::Exit;
mod clocks;
mod config;
mod filesystem;
mod http;
mod http_body;
mod http_fields;
mod http_message;
mod http_syntax;
pub use http::Exchange;
pub use http_body::Incoming;
pub use http_message::{Head, IncomingRequest, Outparam};
mod io;
mod keyvalue;
mod logging;
mod random;
mod sockets;

pub mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "ambit:engine/guest",
        imports: { default: trappable },
        require_store_data_send: true,
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => super::filesystem::FsError,
            "wasi:sockets/network.error-code" => super::sockets::SocketError,
            "wasi:http/types.error-code" => super::http::HttpError,
            "wasi:http/types.header-error" => super::http_fields::HeaderError,
            "wasi:keyvalue/store.error" => super::keyvalue::KvError,
        },
        with: {
            // Streams, pollables and errors are those of wasmtime-wasi-io; the traits are implemented in io.rs.
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll,
            "wasi:io/streams": wasmtime_wasi_io::bindings::wasi::io::streams,

            "wasi:cli/terminal-input.terminal-input": super::cli::Terminal,
            "wasi:cli/terminal-output.terminal-output": super::cli::Terminal,
            "wasi:filesystem/types.descriptor": super::filesystem::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::filesystem::Listing,
            "wasi:sockets/network.network": super::sockets::Network,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": super::sockets::Never,
            "wasi:sockets/tcp.tcp-socket": super::sockets::Never,
            "wasi:sockets/udp.udp-socket": super::sockets::Never,
            "wasi:sockets/udp.incoming-datagram-stream": super::sockets::Never,
            "wasi:sockets/udp.outgoing-datagram-stream": super::sockets::Never,
            "wasi:http/types.fields": super::http_fields::Fields,
            "wasi:http/types.incoming-request": super::http_message::IncomingRequest,
            "wasi:http/types.outgoing-request": super::http_message::OutgoingRequest,
            "wasi:http/types.request-options": super::http::RequestOptions,
            "wasi:http/types.response-outparam": super::http_message::Outparam,
            "wasi:http/types.incoming-response": super::http_message::IncomingResponse,
            "wasi:http/types.incoming-body": super::http_body::IncomingBody,
            "wasi:http/types.future-trailers": super::http_body::FutureTrailers,
            "wasi:http/types.outgoing-response": super::http_message::OutgoingResponse,
            "wasi:http/types.outgoing-body": super::http_body::OutgoingBody,
            "wasi:http/types.future-incoming-response": super::http_message::FutureResponse,
            "wasi:keyvalue/store.bucket": super::keyvalue::Bucket,
        },
    });
}

/// Resources by name, other names of theirs included; their functions are in `calls`.
pub const RESOURCES: &[&str] = &[
    "terminal-input",
    "terminal-output",
    "error",
    "pollable",
    "input-stream",
    "output-stream",
    "descriptor",
    "directory-entry-stream",
    "network",
    "resolve-address-stream",
    "tcp-socket",
    "udp-socket",
    "incoming-datagram-stream",
    "outgoing-datagram-stream",
    "fields",
    "headers",
    "trailers",
    "io-error",
    "incoming-request",
    "outgoing-request",
    "request-options",
    "response-outparam",
    "incoming-response",
    "incoming-body",
    "future-trailers",
    "outgoing-response",
    "outgoing-body",
    "future-incoming-response",
    "bucket",
];

/// Versions the linker has, by package.
pub const VERSIONS: &[(&str, &str)] = &[
    ("wasi:cli", "0.2.12"),
    ("wasi:clocks", "0.2.12"),
    ("wasi:filesystem", "0.2.12"),
    ("wasi:io", "0.2.12"),
    ("wasi:random", "0.2.12"),
    ("wasi:sockets", "0.2.12"),
    ("wasi:http", "0.2.12"),
    ("wasi:keyvalue", "0.2.0-draft"),
    ("wasi:config", "0.2.0-rc.1"),
    ("wasi:logging", "0.1.0-draft"),
];

pub fn add_to_linker(l: &mut Linker<Host>) -> Result<()> {
    use bindings::wasi;
    use wasmtime_wasi_io::bindings::wasi::io as wasi_io;
    macro_rules! add {
        ($($path:path),* $(,)?) => {{
            $({
                use $path as interface;
                interface::add_to_linker::<Host, HasSelf<Host>>(l, |h| h)?;
            })*
        }};
    }
    add!(
        wasi_io::error,
        wasi_io::poll,
        wasi_io::streams,
        wasi::cli::environment,
        wasi::cli::exit,
        wasi::cli::stdin,
        wasi::cli::stdout,
        wasi::cli::stderr,
        wasi::cli::terminal_input,
        wasi::cli::terminal_output,
        wasi::cli::terminal_stdin,
        wasi::cli::terminal_stdout,
        wasi::cli::terminal_stderr,
        wasi::clocks::monotonic_clock,
        wasi::clocks::wall_clock,
        wasi::random::random,
        wasi::random::insecure,
        wasi::random::insecure_seed,
        wasi::filesystem::types,
        wasi::filesystem::preopens,
        wasi::sockets::instance_network,
        wasi::sockets::ip_name_lookup,
        wasi::sockets::tcp,
        wasi::sockets::tcp_create_socket,
        wasi::sockets::udp,
        wasi::sockets::udp_create_socket,
        wasi::http::outgoing_handler,
        wasi::keyvalue::store,
        wasi::keyvalue::atomics,
        wasi::keyvalue::batch,
        wasi::config::store,
        wasi::logging::logging,
    );
    // Its one function (network-error-code) is unstable and not linked, so binding it takes options.
    let options = wasi::sockets::network::LinkOptions::default();
    wasi::sockets::network::add_to_linker::<Host, HasSelf<Host>>(l, &options, |h| h)?;
    // One function (send-informational) is unstable and not linked.
    let options = wasi::http::types::LinkOptions::default();
    wasi::http::types::add_to_linker::<Host, HasSelf<Host>>(l, &options, |h| h)?;
    Ok(())
}

/// C's text for the guest. What is not UTF-8 cannot be said in the component model; it arrives with replacement characters.
pub(crate) fn text(bytes: crate::abi::AmbitBytes) -> String {
    // SAFETY: bytes that C returns stay valid until the next vtbl call of the task; they are copied before that.
    String::from_utf8_lossy(unsafe { bytes.slice() }).into_owned()
}

/// Pairs that C returned.
///
/// # Safety
/// `pairs` points to `count` pairs valid until the next vtbl call (or `count` is 0).
pub(crate) unsafe fn pairs(pairs: *const crate::abi::AmbitPair, count: usize) -> Vec<(String, String)> {
    if count == 0 || pairs.is_null() {
        return Vec::new();
    }
    // SAFETY: passed on to the caller.
    let pairs = unsafe { std::slice::from_raw_parts(pairs, count) };
    pairs.iter().map(|p| (text(p.key), text(p.value))).collect()
}
