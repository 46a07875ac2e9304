// SPDX-License-Identifier: Apache-2.0
//! Engines and components, as C sees them. An engine owns the pool, the linker and the ticker; a component is mapped machine code that is
//! type-checked and linked once, so that an instance costs microseconds.

use crate::abi::*;
use crate::config::{self, Pool};
use crate::host::Host;
use crate::link;
use crate::wasi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

pub struct AmbitEngine {
    engine: Engine,
    linker: Linker<Host>,
    ticks: Arc<AtomicU64>,
    ticker: Option<Ticker>,
    /// What the pool gives to one memory and one table.
    pub memory_max_bytes: u64,
    pub table_elements_max: u64,
}

/// The only thread of this crate: a guest that spins cannot advance its own epoch.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Ticker {
    fn start(engine: Engine, ticks: Arc<AtomicU64>, period: Duration) -> std::io::Result<Ticker> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the one thread this crate may have")]
        let thread = std::thread::Builder::new().name("ambit-ticker".into()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                std::thread::park_timeout(period);
                ticks.fetch_add(1, Ordering::Relaxed);
                engine.increment_epoch();
            }
        })?;
        Ok(Ticker { stop, thread })
    }

    fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // It cannot have panicked: a panic aborts the process.
        let _ = self.thread.join();
    }
}

impl AmbitEngine {
    fn new(config: &AmbitEngineConfig) -> wasmtime::Result<AmbitEngine> {
        let pool = Pool {
            instances: config.instances,
            memory_max_bytes: config.memory_max_bytes,
            table_elements_max: config.table_elements_max,
            core_instances_max: config.core_instances_max,
        };
        let engine = Engine::new(&config::runtime(&pool)?)?;
        let mut linker = Linker::new(&engine);
        wasi::add_to_linker(&mut linker)?;
        let ticks = Arc::new(AtomicU64::new(0));
        let ticker = if config.ticker {
            let period = Duration::from_micros(u64::from(config.epoch_us.max(1)));
            Some(Ticker::start(engine.clone(), ticks.clone(), period)?)
        } else {
            None
        };
        Ok(AmbitEngine {
            engine,
            linker,
            ticks,
            ticker,
            memory_max_bytes: config.memory_max_bytes,
            table_elements_max: u64::from(config.table_elements_max),
        })
    }
}

pub struct AmbitComponent {
    pub component: Component,
    pub pre: InstancePre<Host>,
    /// `run` of wasi:cli/run, any 0.2.x; none in a component that only exports functions.
    pub run: Option<ComponentExportIndex>,
    /// `handle` of wasi:http/incoming-handler, any 0.2.x.
    pub handle: Option<ComponentExportIndex>,
    pub memory_max_bytes: u64,
    pub table_elements_max: u64,
}

/// Why a component cannot be loaded: the number C gets, and a text.
struct Refusal(c_int, String);

const FAULT: c_int = -1;
const MISSING_IMPORTS: c_int = -2;
const RECOMPILE: c_int = -3;

impl AmbitComponent {
    /// # Safety
    /// The file is machine code of our own compiler and does not change while it is mapped.
    unsafe fn load(e: &AmbitEngine, path: &str) -> Result<AmbitComponent, Refusal> {
        // SAFETY: passed on to the caller.
        let component = unsafe { Component::deserialize_file(&e.engine, path) }.map_err(|error| {
            let text = format!("{error:#}");
            Refusal(if is_other_version(&text) { RECOMPILE } else { FAULT }, text)
        })?;
        let missing = link::missing_imports(&e.engine, &component);
        if !missing.is_empty() {
            return Err(Refusal(MISSING_IMPORTS, missing));
        }
        let pre = e.linker.instantiate_pre(&component).map_err(|error| Refusal(FAULT, format!("{error:#}")))?;
        let find = |interface: &str, function: &str| {
            let interface = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&interface), function)
        };
        let run = find("wasi:cli/run@0.2.12", "run");
        let handle = find("wasi:http/incoming-handler@0.2.12", "handle");
        Ok(AmbitComponent {
            component,
            pre,
            run,
            handle,
            memory_max_bytes: e.memory_max_bytes,
            table_elements_max: e.table_elements_max,
        })
    }
}

/// Wasmtime tells by text only that code was made by another version, with other settings or for another CPU (engine/serialization.rs;
/// `tests/runtime.rs` has a file of each kind).
fn is_other_version(text: &str) -> bool {
    ["Module was compiled", "compilation settings of module", "mismatched version in engine section", "was compiled for"]
        .iter()
        .any(|t| text.contains(t))
}

/// # Safety
/// By the contract in the header: pointers are valid, `message` accepts `message_context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_engine_new(
    config: *const AmbitEngineConfig,
    ret: *mut *mut AmbitEngine,
    message: AmbitSink,
    message_context: *mut c_void,
) -> c_int {
    // SAFETY: by the contract.
    match AmbitEngine::new(unsafe { &*config }) {
        Ok(engine) => {
            // SAFETY: by the contract.
            unsafe { *ret = Box::into_raw(Box::new(engine)) };
            0
        }
        Err(error) => {
            // SAFETY: by the contract.
            unsafe { pour(message, message_context, format!("{error:#}").as_bytes()) };
            FAULT
        }
    }
}

/// # Safety
/// `e` is NULL or an engine that is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_engine_free(e: *mut AmbitEngine) {
    if e.is_null() {
        return;
    }
    // SAFETY: made by ambit_engine_new, given back once.
    let mut e = unsafe { Box::from_raw(e) };
    if let Some(ticker) = e.ticker.take() {
        ticker.end();
    }
}

/// # Safety
/// `e` is an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_engine_tick(e: *mut AmbitEngine) {
    // SAFETY: by the contract; only atomics are touched, so another thread may do the same.
    let e = unsafe { &*e };
    e.ticks.fetch_add(1, Ordering::Relaxed);
    e.engine.increment_epoch();
}

/// # Safety
/// `e` is an engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_engine_epochs(e: *const AmbitEngine) -> u64 {
    // SAFETY: by the contract.
    unsafe { &*e }.ticks.load(Ordering::Relaxed)
}

/// # Safety
/// `path` is machine code that our own compiler made; the rest by the contract in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_component_load(
    e: *mut AmbitEngine,
    path: *const c_char,
    ret: *mut *mut AmbitComponent,
    message: AmbitSink,
    message_context: *mut c_void,
) -> c_int {
    // SAFETY: by the contract.
    let (e, path) = unsafe { (&*e, CStr::from_ptr(path)) };
    let loaded = match path.to_str() {
        // SAFETY: by the contract.
        Ok(path) => unsafe { AmbitComponent::load(e, path) },
        Err(_) => Err(Refusal(FAULT, "the path is not UTF-8".into())),
    };
    match loaded {
        Ok(component) => {
            // SAFETY: by the contract.
            unsafe { *ret = Box::into_raw(Box::new(component)) };
            0
        }
        Err(Refusal(number, text)) => {
            // SAFETY: by the contract.
            unsafe { pour(message, message_context, text.as_bytes()) };
            number
        }
    }
}

/// # Safety
/// `c` is a component.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_component_serves(c: *const AmbitComponent) -> bool {
    // SAFETY: by the contract.
    unsafe { &*c }.handle.is_some()
}

/// # Safety
/// `c` is NULL or a component that is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_component_free(c: *mut AmbitComponent) {
    if !c.is_null() {
        // SAFETY: made by ambit_component_load, given back once.
        drop(unsafe { Box::from_raw(c) });
    }
}
