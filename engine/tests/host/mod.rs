// SPDX-License-Identifier: Apache-2.0
//! What the tests share: a host that remembers what it was asked, guests made on the spot, and tasks run to their end.
//! Its HTTP and keyvalue are in net.rs.
#![allow(dead_code)]

use ambit_engine::abi::*;
use ambit_engine::config;
use ambit_engine::runtime::*;
use ambit_engine::task::*;
use std::ffi::{CString, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

pub mod net;

// ---- a host ------------------------------------------------------------------------------------------------------------------------

#[derive(Default)]
pub struct TestHost {
    pub calls: Vec<String>,
    /// Ends the guest at the call of this name.
    pub end_at: Option<&'static str>,
    pub limit: Option<(c_int, u64)>,
    pub operations: Vec<u64>,
    pub cancelled: Vec<u64>,
    pub slices: u32,
    pub end_slice: bool,
    pub wait_ready: bool,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    pub permit: usize,
    pub open: i32,
    pub file: Vec<u8>,
    pub write_answer: c_int,
    pub log: Vec<String>,
    pub now: u64,
    pub net: net::Net,
}

pub static WAKES: AtomicU32 = AtomicU32::new(0);

pub fn me<'a>(host: *mut c_void) -> &'a mut TestHost {
    unsafe { &mut *host.cast::<TestHost>() }
}

pub fn text(b: AmbitBytes) -> String {
    String::from_utf8_lossy(unsafe { b.slice() }).into_owned()
}

pub unsafe extern "C" fn woken(_: *mut c_void) {
    WAKES.fetch_add(1, Ordering::SeqCst);
}
pub unsafe extern "C" fn enter(h: *mut c_void, call: AmbitCall) -> c_int {
    let name = ambit_engine::calls::NAMES[call as usize].trim_end_matches('\0');
    me(h).calls.push(name.into());
    c_int::from(me(h).end_at == Some(name))
}
pub unsafe extern "C" fn slice(h: *mut c_void) -> c_int {
    me(h).slices += 1;
    if me(h).end_slice { AMBIT_SLICE_END } else { AMBIT_SLICE_YIELD }
}
pub unsafe extern "C" fn limit(h: *mut c_void, which: c_int, asked: u64) {
    assert!(me(h).limit.is_none(), "one limit ends a guest");
    me(h).limit = Some((which, asked));
}
pub unsafe extern "C" fn wait(h: *mut c_void, _: u32, _: bool, op: u64) -> c_int {
    me(h).operations.push(op);
    if me(h).wait_ready { AMBIT_READY } else { AMBIT_PENDING }
}
pub unsafe extern "C" fn wait_until(h: *mut c_void, ns: u64, op: u64) -> c_int {
    if me(h).now >= ns {
        return AMBIT_READY;
    }
    me(h).operations.push(op);
    AMBIT_PENDING
}
pub unsafe extern "C" fn cancel(h: *mut c_void, op: u64) {
    me(h).cancelled.push(op);
}
pub unsafe extern "C" fn pairs(_: *mut c_void, ret: *mut *const AmbitPair, n: *mut usize) {
    unsafe {
        *ret = null();
        *n = 0;
    }
}
pub unsafe extern "C" fn arguments(_: *mut c_void, ret: *mut *const AmbitBytes, n: *mut usize) {
    unsafe {
        *ret = null();
        *n = 0;
    }
}
pub unsafe extern "C" fn none(_: *mut c_void, _: *mut AmbitBytes) -> bool {
    false
}
pub unsafe extern "C" fn stdio(h: *mut c_void, which: u32) -> u32 {
    me(h).open += 1;
    which
}
pub unsafe extern "C" fn terminal(_: *mut c_void, _: u32) -> bool {
    false
}
pub unsafe extern "C" fn stream_read(h: *mut c_void, id: u32, into: *mut u8, size: usize, n: *mut usize) -> c_int {
    if id >= net::FIRST {
        return net::read(h, id, into, size, n);
    }
    let size = size.min(me(h).input.len());
    for (i, b) in me(h).input.drain(..size).enumerate() {
        unsafe { into.add(i).write(b) };
    }
    unsafe { *n = size };
    AMBIT_STREAM_OK
}
pub unsafe extern "C" fn check_write(h: *mut c_void, _: u32, n: *mut usize) -> c_int {
    unsafe { *n = me(h).permit };
    AMBIT_STREAM_OK
}
pub unsafe extern "C" fn stream_write(h: *mut c_void, id: u32, bytes: *const u8, size: usize) -> c_int {
    if id >= net::FIRST {
        return net::write(h, id, bytes, size);
    }
    me(h).output.extend_from_slice(unsafe { std::slice::from_raw_parts(bytes, size) });
    AMBIT_STREAM_OK
}
pub unsafe extern "C" fn flush(_: *mut c_void, _: u32) -> c_int {
    AMBIT_STREAM_OK
}
pub unsafe extern "C" fn stream_error(_: *mut c_void, _: u32) -> AmbitBytes {
    AmbitBytes::EMPTY
}
pub unsafe extern "C" fn handle_drop(h: *mut c_void, _: u32) {
    me(h).open -= 1;
}
pub unsafe extern "C" fn clock(h: *mut c_void) -> u64 {
    me(h).now
}
pub unsafe extern "C" fn wall(_: *mut c_void) -> i64 {
    5_000_000_007
}
pub unsafe extern "C" fn random(_: *mut c_void, _: bool, into: *mut u8, size: usize) {
    unsafe { into.write_bytes(9, size) };
}
pub unsafe extern "C" fn fs_root(h: *mut c_void) -> u32 {
    me(h).open += 1;
    0
}
pub unsafe extern "C" fn fs_kind(_: *mut c_void, fd: u32) -> u32 {
    if fd == 0 { 3 } else { 6 }
}
pub unsafe extern "C" fn fs_open_at(h: *mut c_void, _: u32, _: bool, path: AmbitBytes, _: u32, _: u32, ret: *mut u32) -> c_int {
    match text(path).as_str() {
        "file" => {
            me(h).open += 1;
            unsafe { *ret = 1 };
            0
        }
        "forbidden" => 1,
        "end" => -1,
        _ => 21,
    }
}
pub unsafe extern "C" fn fs_stat(h: *mut c_void, _: u32, ret: *mut AmbitFsStat) -> c_int {
    let s = AmbitFsStat { r#type: 6, size: me(h).file.len() as u64, identity: [7, 8], modified_ns: 5, ..AmbitFsStat::default() };
    unsafe { ret.write(s) };
    0
}
pub unsafe extern "C" fn fs_stat_at(h: *mut c_void, _: u32, _: bool, _: AmbitBytes, ret: *mut AmbitFsStat) -> c_int {
    unsafe { fs_stat(h, 0, ret) }
}
pub unsafe extern "C" fn fs_times(_: *mut c_void, _: u32, _: *const AmbitFsTimes) -> c_int {
    0
}
pub unsafe extern "C" fn fs_times_at(_: *mut c_void, _: u32, _: bool, _: AmbitBytes, _: *const AmbitFsTimes) -> c_int {
    0
}
pub unsafe extern "C" fn fs_read(h: *mut c_void, _: u32, offset: u64, into: *mut u8, size: usize, n: *mut usize) -> c_int {
    let rest = me(h).file.get(offset as usize..).unwrap_or(&[]);
    let size = size.min(rest.len());
    unsafe {
        into.copy_from(rest.as_ptr(), size);
        *n = size;
    }
    0
}
pub unsafe extern "C" fn fs_write(h: *mut c_void, _: u32, offset: u64, bytes: *const u8, size: usize, n: *mut usize) -> c_int {
    if me(h).write_answer != 0 {
        return me(h).write_answer;
    }
    let size = size.min(3); // short writes
    let bytes = unsafe { std::slice::from_raw_parts(bytes, size) };
    let file = &mut me(h).file;
    let end = offset as usize + size;
    file.resize(file.len().max(end), 0);
    file[offset as usize..end].copy_from_slice(bytes);
    unsafe { *n = size };
    0
}
pub unsafe extern "C" fn fs_append(h: *mut c_void, fd: u32, bytes: *const u8, size: usize, n: *mut usize) -> c_int {
    let end = me(h).file.len() as u64;
    unsafe { fs_write(h, fd, end, bytes, size, n) }
}
pub unsafe extern "C" fn fs_set_size(_: *mut c_void, _: u32, _: u64) -> c_int {
    0
}
pub unsafe extern "C" fn fs_sync(_: *mut c_void, _: u32, _: bool) -> c_int {
    0
}
pub unsafe extern "C" fn fs_path(_: *mut c_void, _: u32, _: AmbitBytes) -> c_int {
    1
}
pub unsafe extern "C" fn fs_rename(_: *mut c_void, _: u32, _: AmbitBytes, _: u32, _: AmbitBytes) -> c_int {
    37
}
pub unsafe extern "C" fn fs_link(_: *mut c_void, _: u32, _: bool, _: AmbitBytes, _: u32, _: AmbitBytes) -> c_int {
    1
}
pub unsafe extern "C" fn fs_symlink(_: *mut c_void, _: u32, _: AmbitBytes, _: AmbitBytes) -> c_int {
    1
}
pub unsafe extern "C" fn fs_readlink(_: *mut c_void, _: u32, _: AmbitBytes, _: *mut AmbitBytes) -> c_int {
    1
}
pub unsafe extern "C" fn fs_list(h: *mut c_void, _: u32, ret: *mut u32) -> c_int {
    me(h).open += 1;
    unsafe { *ret = 3 };
    0
}
pub unsafe extern "C" fn fs_next(_: *mut c_void, _: u32, _: *mut u32, _: *mut AmbitBytes, end: *mut bool) -> c_int {
    unsafe { *end = true };
    0
}
pub unsafe extern "C" fn fs_same(_: *mut c_void, a: u32, b: u32) -> bool {
    a == b
}
pub unsafe extern "C" fn config_get(_: *mut c_void, _: AmbitBytes, _: *mut AmbitBytes) -> bool {
    false
}
pub unsafe extern "C" fn log(h: *mut c_void, level: u32, context: AmbitBytes, message: AmbitBytes) {
    me(h).log.push(format!("{level} {} {}", text(context), text(message)));
}

pub static VTBL: AmbitHostVtbl = AmbitHostVtbl {
    size: size_of::<AmbitHostVtbl>() as u32,
    enter,
    slice,
    limit,
    wait,
    wait_until,
    cancel,
    environment: pairs,
    arguments,
    initial_cwd: none,
    stdio,
    stdio_is_terminal: terminal,
    stream_read,
    stream_check_write: check_write,
    stream_write,
    stream_flush: flush,
    stream_error,
    stream_drop: handle_drop,
    monotonic_now: clock,
    monotonic_resolution: clock,
    wall_now: wall,
    wall_resolution: clock,
    random,
    fs_root,
    fs_drop: handle_drop,
    fs_type: fs_kind,
    fs_flags: fs_kind,
    fs_open_at,
    fs_stat,
    fs_stat_at,
    fs_set_times: fs_times,
    fs_set_times_at: fs_times_at,
    fs_read,
    fs_write,
    fs_append,
    fs_set_size,
    fs_sync,
    fs_create_directory_at: fs_path,
    fs_remove_directory_at: fs_path,
    fs_unlink_file_at: fs_path,
    fs_rename_at: fs_rename,
    fs_link_at: fs_link,
    fs_symlink_at: fs_symlink,
    fs_readlink_at: fs_readlink,
    fs_list,
    fs_listing_next: fs_next,
    fs_listing_drop: handle_drop,
    fs_same_object: fs_same,
    http_body_new: net::http_body_new,
    http_body_finish: net::http_body_finish,
    http_body_abandon: net::http_body_abandon,
    http_body_unsent: net::http_body_unsent,
    http_send: net::http_send,
    http_response: net::http_response,
    http_trailers: net::http_trailers,
    http_discard: net::http_discard,
    http_drop: net::http_drop,
    http_stream_error: net::http_stream_error,
    http_respond: net::http_respond,
    http_fail: net::http_fail,
    kv_open: net::kv_open,
    kv_drop: handle_drop,
    kv_get: net::kv_get,
    kv_set: net::kv_set,
    kv_delete: net::kv_delete,
    kv_exists: net::kv_exists,
    kv_list: net::kv_list,
    kv_increment: net::kv_increment,
    kv_set_many: net::kv_set_many,
    kv_error: net::kv_error,
    config_get,
    config_all: pairs,
    log,
};

// ---- guests ------------------------------------------------------------------------------------------------------------------------

/// A component of a core module and the world it is for; interfaces come from /wit.
pub fn guest(world: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).expect("the vendored WIT");
    let package = resolve.push_str("test.wit", &format!("package t:t; {world}")).expect("the test's WIT");
    let world = resolve.packages[package].worlds["w"];
    encoded(&resolve, world, core)
}

/// The same with interfaces of another folder, whose own package has the world.
pub fn guest_of(folder: &std::path::Path, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).unwrap_or_else(|e| panic!("{e:?}"));
    let world = resolve.packages[package].worlds["w"];
    encoded(&resolve, world, core)
}

fn encoded(resolve: &Resolve, world: WorldId, core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap_or_else(|e| panic!("{e}"));
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).expect("embedded");
    ComponentEncoder::default().module(&module).expect("a module").encode().unwrap_or_else(|e| panic!("{e:?}"))
}

pub fn machine_code(component: &[u8]) -> Vec<u8> {
    let engine = wasmtime::Engine::new(&config::shared(config::Role::Compile)).expect("a compiler");
    engine.precompile_component(component).unwrap_or_else(|e| panic!("{e:?}"))
}

pub unsafe extern "C" fn collect(context: *mut c_void, bytes: *const u8, size: usize) {
    let bytes = unsafe { std::slice::from_raw_parts(bytes, size) };
    unsafe { &mut *context.cast::<Vec<u8>>() }.extend_from_slice(bytes);
}

pub struct Machine(pub *mut AmbitEngine);

impl Machine {
    pub fn new() -> Machine {
        let config = AmbitEngineConfig {
            instances: 4,
            memory_max_bytes: 1 << 30,
            table_elements_max: 60_000,
            core_instances_max: 300,
            ticker: true,
            epoch_us: 1000,
        };
        let (mut e, mut message) = (null_mut(), Vec::<u8>::new());
        let r = unsafe { ambit_engine_new(&config, &mut e, Some(collect), (&raw mut message).cast()) };
        assert_eq!(r, 0, "{}", String::from_utf8_lossy(&message));
        Machine(e)
    }

    pub fn load_code(&self, code: &[u8]) -> Result<*mut AmbitComponent, (c_int, String)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ambit-runtime-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, code).expect("a temporary file");
        let name = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
        let (mut c, mut message) = (null_mut(), Vec::<u8>::new());
        let r = unsafe { ambit_component_load(self.0, name.as_ptr(), &mut c, Some(collect), (&raw mut message).cast()) };
        std::fs::remove_file(&path).expect("removed");
        if r == 0 { Ok(c) } else { Err((r, String::from_utf8_lossy(&message).into_owned())) }
    }

    pub fn load(&self, component: &[u8]) -> *mut AmbitComponent {
        self.load_code(&machine_code(component)).unwrap_or_else(|(r, m)| panic!("{r}: {m}"))
    }
}

#[derive(Debug)]
pub struct Done {
    pub outcome: c_int,
    pub status: i32,
    pub message: String,
    pub values: String,
}

pub const CONFIG: AmbitTaskConfig =
    AmbitTaskConfig { memory_bytes: 16 << 20, handles: 100, hostcall_bytes: 1 << 20, waker: Some(woken), waker_context: null_mut() };

pub fn task(c: *mut AmbitComponent, h: &mut TestHost, name: &str, arguments: &[&str]) -> *mut AmbitTask {
    let arguments: Vec<_> = arguments.iter().map(|a| AmbitBytes::of(a.as_bytes())).collect();
    let h = std::ptr::from_mut(h).cast();
    unsafe { ambit_task_new(c, &CONFIG, &VTBL, h, AmbitBytes::of(name.as_bytes()), arguments.as_ptr(), arguments.len()) }
}

pub fn finish(t: *mut AmbitTask) -> Done {
    let begun = std::time::Instant::now();
    while unsafe { ambit_task_poll(t) } != AMBIT_POLL_DONE {
        assert!(begun.elapsed().as_secs() < 20, "a task that does not end");
    }
    let mut r = unsafe { std::mem::zeroed::<AmbitResult>() };
    unsafe { ambit_task_result(t, &mut r) };
    let done = Done { outcome: r.outcome, status: r.status, message: text(r.message), values: text(r.values) };
    unsafe { ambit_task_free(t) };
    done
}

pub fn run(c: *mut AmbitComponent, h: &mut TestHost, name: &str, arguments: &[&str]) -> Done {
    let done = finish(task(c, h, name, arguments));
    assert_eq!(h.open, 0, "every handle was given back");
    done
}

