// SPDX-License-Identifier: Apache-2.0
//! Compiling: text or binary, module or component, in; machine code and a description out.
//!
//! This is the largest surface of Ambit that sees raw hostile bytes, so all of it runs in the compiler
//! room: one shot, jailed, with limits on CPU and address space. Nothing here is trusted with more than that.
//! Whatever it panics on ends the room, which its caller reports as "the compiler gave up".
//!
//! The way of the bytes: kind by the first bytes (`kind`) → text to binary → validation with the proposals that
//! the engine has → a core module becomes a component (`adapt`) → imports, exports and WIT (`describe`) →
//! machine code, by the same `Config` that the worker loads it with (crate::config).
//!
//! A refusal has two texts: why, and what a person can do about it. They leave as "why\nhint".

#[path = "compile_adapt.rs"]
mod adapt;
#[path = "compile_describe.rs"]
mod describe;
#[path = "compile_exit.rs"]
mod exit;
#[path = "compile_kind.rs"]
mod kind;
#[path = "compile_memory.rs"]
mod memory;

use std::borrow::Cow;
use std::ffi::{c_char, c_void};
use std::hash::{DefaultHasher, Hash, Hasher};

use wasmparser::{Validator, WasmFeatures};
use wasmtime::Engine;

use crate::config;

pub use kind::{Kind, kind_of};

/// `enum ambit_compile_status`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    Malformed = 1,
    Unsupported = 2,
    Failed = 3,
}

/// Why a file is not run, and what to do.
#[derive(Debug)]
pub struct Refusal {
    pub status: Status,
    pub why: String,
    pub hint: String,
}

impl Refusal {
    fn new(status: Status, why: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal { status, why: why.into(), hint: hint.into() }
    }
    fn malformed(why: impl Into<String>) -> Refusal {
        Refusal::new(Status::Malformed, why, "the file is damaged or is not what its name says: build or download it again")
    }
    fn unsupported(why: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal::new(Status::Unsupported, why, hint)
    }
    /// "why\nhint", each on one line and of bounded size.
    pub fn message(&self) -> String {
        format!("{}\n{}", one_line(&self.why), one_line(&self.hint))
    }
}

#[derive(Debug)]
pub struct Compiled {
    /// One JSON object, see ambit_engine.h.
    pub description: String,
    /// None when only a description was asked for.
    pub code: Option<Vec<u8>>,
}

const MESSAGE_MAX: usize = 2000;
const NAME_MAX: usize = 80;

/// Line breaks and their indentation become one blank; cut at MESSAGE_MAX bytes.
fn one_line(text: &str) -> String {
    let mut joined = String::new();
    for word in text.split_whitespace() {
        if joined.len() + word.len() + 1 > MESSAGE_MAX {
            joined.push_str(" …");
            break;
        }
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

/// A name out of a hostile file, for a message: cut, and without control characters. Whoever prints a message escapes it (text_escape),
/// so that nothing is escaped twice.
fn quoted(name: &str) -> String {
    let mut text: String = name.chars().take(NAME_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(NAME_MAX).is_some() {
        text.push('…');
    }
    format!("\"{text}\"")
}

/// The proposals that are on. The engine's own validation follows and has the last word; this one comes first because its
/// messages carry offsets and because decoding below must never see an invalid file.
fn features() -> WasmFeatures {
    let off = WasmFeatures::GC
        | WasmFeatures::GC_TYPES
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::CM_ASYNC;
    (WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL) & !off
}

const WASI_03: &str = "is WASI 0.3 (asynchronous component types), which Ambit does not run yet";
const WASI_03_HINT: &str = "build it for WASI 0.2 (target wasm32-wasip2, or a world whose wasi: packages are at 0.2.x)";

fn validate(bytes: &[u8]) -> Result<(), Refusal> {
    let Err(error) = Validator::new_with_features(features()).validate_all(bytes) else {
        return Ok(());
    };
    let why = format!("{} (at byte {} of the binary)", error.message(), error.offset());
    let with = |more| Validator::new_with_features(features() | more).validate_all(bytes).is_ok();
    let asynchronous = WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS
        | WasmFeatures::CM_ERROR_CONTEXT;
    if with(asynchronous) {
        return Err(Refusal::unsupported(format!("this component {WASI_03}: {why}"), WASI_03_HINT));
    }
    if with(WasmFeatures::all()) {
        return Err(Refusal::new(
            Status::Malformed,
            format!("it uses a WebAssembly proposal that is switched off: {why}"),
            "build it without threads, 64-bit memories, garbage collection, exceptions and experimental proposals",
        ));
    }
    Err(Refusal::malformed(format!("not valid WebAssembly: {why}")))
}

/// Text becomes binary. `wat` prints an error over several lines with the source below; the place is enough.
fn assemble(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let text = std::str::from_utf8(text).map_err(|e| {
        Refusal::malformed(format!("WebAssembly text must be UTF-8, and byte {} is not", e.valid_up_to()))
    })?;
    wat::parse_str(text).map_err(|error| {
        let full = error.to_string();
        let mut lines = full.lines();
        let what = lines.next().unwrap_or("not WebAssembly text");
        let place = lines.find_map(|l| l.trim_start().strip_prefix("--> ").map(str::to_owned));
        let place = place.as_deref().and_then(|p| p.strip_prefix("<anon>:")).and_then(|p| p.split_once(':'));
        let why = match place {
            Some((line, column)) => format!("line {line}, column {column}: {what}"),
            None => what.to_owned(),
        };
        Refusal::new(Status::Malformed, why, "correct the WebAssembly text at that place")
    })
}

/// Bytes of any kind become a validated component binary.
fn component_of(bytes: &[u8]) -> Result<adapt::Adapted<'_>, Refusal> {
    let binary: Cow<[u8]> = match kind_of(bytes) {
        Kind::Component | Kind::Module => Cow::Borrowed(bytes),
        Kind::Wat => Cow::Owned(assemble(bytes)?),
        other => return Err(kind::refusal(other, bytes)),
    };
    validate(&binary)?;
    if kind_of(&binary) == Kind::Component {
        return Ok(adapt::Adapted { component: binary, module: false, adapted: false });
    }
    let (component, adapted) = adapt::adapt(&binary)?;
    validate(&component)?;
    Ok(adapt::Adapted { component: Cow::Owned(component), module: true, adapted })
}

fn machine_code(component: &[u8]) -> Result<Vec<u8>, Refusal> {
    let engine = Engine::new(&config::shared(config::Role::Compile)).map_err(|e| {
        Refusal::new(Status::Failed, format!("the compiler could not be set up: {e:#}"), "see ambit doctor for what this machine lacks")
    })?;
    engine.precompile_component(component).map_err(|error| {
        let why = format!("{error:#}");
        match error.downcast_ref::<wasmparser::BinaryReaderError>() {
            Some(_) => Refusal::malformed(format!("not valid WebAssembly for this engine: {why}")),
            None => Refusal::new(
                Status::Failed,
                format!("the compiler gave up: {why}"),
                "the component goes beyond what the engine takes; split or shrink its functions",
            ),
        }
    })
}

/// The whole of it, for Rust callers (tests).
pub fn compile(bytes: &[u8], describe_only: bool) -> Result<Compiled, Refusal> {
    let made = component_of(bytes)?;
    let description = describe::describe(&made)?;
    let code = if describe_only { None } else { Some(machine_code(&made.component)?) };
    Ok(Compiled { description, code })
}

/// `ambit_sink`.
pub type Sink = Option<unsafe extern "C" fn(context: *mut c_void, bytes: *const u8, size: usize)>;

fn pour(sink: Sink, context: *mut c_void, bytes: &[u8]) {
    if let Some(sink) = sink {
        // SAFETY: the header's contract: a sink takes its own context and bytes that are valid during the call.
        unsafe { sink(context, bytes.as_ptr(), bytes.len()) }
    }
}

/// # Safety
/// `bytes` points at `size` readable bytes (or `size` is 0).
unsafe fn borrowed<'a>(bytes: *const u8, size: usize) -> &'a [u8] {
    if bytes.is_null() || size == 0 {
        return &[];
    }
    // SAFETY: passed on to the caller.
    unsafe { std::slice::from_raw_parts(bytes, size) }
}

/// # Safety
/// See `struct ambit_bytes` in ambit_engine.h: `bytes` points at `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_kind_of(bytes: *const u8, size: usize) -> u32 {
    // SAFETY: the caller's contract.
    kind_of(unsafe { borrowed(bytes, size.min(kind::LOOK_MAX)) }) as u32
}

/// # Safety
/// `bytes` points at `size` bytes; each sink may be called with its context until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_compile(
    bytes: *const u8,
    size: usize,
    describe_only: bool,
    code: Sink,
    code_context: *mut c_void,
    description: Sink,
    description_context: *mut c_void,
    message: Sink,
    message_context: *mut c_void,
) -> u32 {
    // A panic's text may quote hostile names and would go to the person's terminal: its place in our source is enough.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        eprintln!("ambit: the compiler met an assertion at {place}");
    }));
    // SAFETY: the caller's contract.
    match compile(unsafe { borrowed(bytes, size) }, describe_only) {
        Ok(made) => {
            pour(description, description_context, made.description.as_bytes());
            if let Some(machine_code) = made.code {
                pour(code, code_context, &machine_code);
            }
            Status::Ok as u32
        }
        Err(refusal) => {
            pour(message, message_context, refusal.message().as_bytes());
            refusal.status as u32
        }
    }
}

/// FNV-1a over the sources that turn bytes into a cache entry, at build time: a changed adapter or description makes new entries
/// without anybody remembering to count a version up.
const SOURCES: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hash = fnv1a(hash, include_bytes!("compile.rs"));
    hash = fnv1a(hash, include_bytes!("compile_adapt.rs"));
    hash = fnv1a(hash, include_bytes!("compile_describe.rs"));
    hash = fnv1a(hash, include_bytes!("compile_exit.rs"));
    hash = fnv1a(hash, include_bytes!("compile_kind.rs"));
    hash = fnv1a(hash, include_bytes!("compile_memory.rs"));
    fnv1a(hash, include_bytes!("config.rs"))
};

const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

/// Four SipHash values over the engine's own compatibility hash and everything of ours that a cache entry depends on. The inputs
/// are ours alone, so that a keyed or cryptographic hash is not needed: only the owner of the machine could aim at it.
pub fn compatibility() -> [u8; 32] {
    let mut key = [0; 32];
    let engine = Engine::new(&config::shared(config::Role::Compile));
    for (lane, part) in key.chunks_exact_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (lane, VERSION, SOURCES).hash(&mut hasher);
        if let Ok(engine) = &engine {
            engine.precompile_compatibility_hash().hash(&mut hasher);
        }
        part.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    key
}

/// # Safety
/// `ret_key` points at 32 writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_compatibility(ret_key: *mut u8) {
    let key = compatibility();
    // SAFETY: the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(key.as_ptr(), ret_key, key.len()) }
}

/// Kept equal to Cargo.toml's pinned version by a test (engine/tests/compile.rs).
const VERSION: &str = "wasmtime 48.0.8\0";

#[unsafe(no_mangle)]
pub extern "C" fn ambit_engine_version() -> *const c_char {
    VERSION.as_ptr().cast()
}
