// SPDX-License-Identifier: Apache-2.0
//! The peer of bench/ambit_bench.c: the same guests through Wasmtime's own Rust API and wasmtime-wasi, in the configuration that
//! Ambit's engine has (the same file) and from the same machine code (`ambit_bench compile`), with the same clock around the same
//! steps. Each command prints one JSON object.
//!
//!   instantiate CODE COUNT        InstancePre, a store, an instance, its call, its end; asynchronous, since time slices need that
//!   instantiate-sync CODE COUNT   the same on the caller's stack, without time slices
//!   guest CODE COUNT DIR [ARG…]   the same with a WasiCtx of its own
//!   calls CODE CALLS DIR          one guest that makes CALLS host calls

#[path = "../../../engine/src/config.rs"]
#[allow(dead_code)]
mod config;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store, bail, format_err};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

const EPOCH: Duration = Duration::from_micros(10_000);
const WARM: usize = 3;

struct Host {
    table: ResourceTable,
    wasi: WasiCtx,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A poll loop: what Ambit's C does. Nothing here waits for anything.
struct Nobody(AtomicU64);

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Nobody(AtomicU64::new(0))));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
    }
}

fn clock_ns(clock: i32) -> u64 {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, into: *mut Timespec) -> i32;
    }
    let mut t = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `t` is a struct timespec of x86-64 Linux.
    unsafe { clock_gettime(clock, &mut t) };
    t.seconds as u64 * 1_000_000_000 + t.nanoseconds as u64
}

const PROCESS_CPU: i32 = 2;
const THREAD_CPU: i32 = 3;

fn print_samples(name: &str, samples: &mut [u64]) {
    samples.sort_unstable();
    let n = samples.len();
    print!(
        "\"{name}\": {{\"count\": {n}, \"min\": {}, \"p25\": {}, \"p50\": {}, \"p90\": {}, \"p99\": {}, \"max\": {}}}",
        samples[0],
        samples[n / 4],
        samples[n / 2],
        samples[n * 9 / 10],
        samples[n * 99 / 100],
        samples[n - 1]
    );
}

fn number(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => bail!("{text} is no count"),
    }
}

/// As Ambit's worker makes it (src/worker/worker.c), for a few instances, with a ticker.
fn open(code: &str) -> Result<(Engine, Component, ComponentExportIndex)> {
    let began = Instant::now();
    let pool = config::Pool {
        instances: 4,
        memory_max_bytes: 4 << 30,
        table_elements_max: 1 << 18,
        core_instances_max: 512,
    };
    let engine = Engine::new(&config::runtime(&pool)?)?;
    print!("\"engine_ns\": {}, ", began.elapsed().as_nanos());
    let ticking = engine.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(EPOCH);
            ticking.increment_epoch();
        }
    });
    let began = Instant::now();
    // SAFETY: made by Ambit's own compiler.
    let component = unsafe { Component::deserialize_file(&engine, code) }?;
    print!("\"load_ns\": {}, ", began.elapsed().as_nanos());
    let run = component
        .get_export_index(None, "wasi:cli/run@0.2.12")
        .and_then(|interface| component.get_export_index(Some(&interface), "run"))
        .ok_or_else(|| format_err!("no wasi:cli/run"))?;
    Ok((engine, component, run))
}

async fn call<T: Send>(pre: &InstancePre<T>, run: &ComponentExportIndex, mut store: Store<T>) -> Result<()> {
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let instance = pre.instantiate_async(&mut store).await?;
    let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut store, run)?;
    match run.call_async(&mut store, ()).await?.0 {
        Ok(()) => Ok(()),
        Err(()) => bail!("the guest failed"),
    }
}

fn call_sync(pre: &InstancePre<()>, run: &ComponentExportIndex) -> Result<()> {
    let mut store = Store::new(pre.engine(), ());
    store.set_epoch_deadline(1 << 40);
    let instance = pre.instantiate(&mut store)?;
    let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut store, run)?;
    match run.call(&mut store, ())?.0 {
        Ok(()) => Ok(()),
        Err(()) => bail!("the guest failed"),
    }
}

fn measure(count: usize, mut once: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..count / 10 + WARM {
        once()?;
    }
    let mut wall = Vec::with_capacity(count);
    let cpu = clock_ns(PROCESS_CPU);
    for _ in 0..count {
        let began = Instant::now();
        once()?;
        wall.push(began.elapsed().as_nanos() as u64);
    }
    print!("\"cpu_ns\": {}, ", (clock_ns(PROCESS_CPU) - cpu) / count as u64);
    print_samples("wall_ns", &mut wall);
    Ok(())
}

/// A guest with wasmtime-wasi around it: the folder at "/", real clocks, nothing else. File operations run on the calling thread, as
/// in the wasmtime command and as in Ambit; the default (a thread pool) is several times slower.
fn host(folder: &str, args: &[String]) -> Result<Host> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_blocking_current_thread(true);
    wasi.args(args);
    wasi.preopened_dir(folder, "/", FsPerms::ReadOnly)?;
    Ok(Host { table: ResourceTable::new(), wasi: wasi.build() })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    print!("{{\"engine\": \"wasmtime 48.0.8\", ");
    match words.as_slice() {
        ["instantiate", code, count] => {
            let (engine, component, run) = open(code)?;
            let pre = Linker::<()>::new(&engine).instantiate_pre(&component)?;
            measure(number(count)?, || poll_on(call(&pre, &run, Store::new(&engine, ()))))?;
        }
        ["instantiate-sync", code, count] => {
            let (engine, component, run) = open(code)?;
            let pre = Linker::<()>::new(&engine).instantiate_pre(&component)?;
            measure(number(count)?, || call_sync(&pre, &run))?;
        }
        ["guest", code, count, folder, ..] => {
            let (engine, component, run) = open(code)?;
            let (pre, runtime) = prepare(&engine, &component)?;
            let guest_args = &args[4..];
            measure(number(count)?, || runtime.block_on(call(&pre, &run, Store::new(&engine, host(folder, guest_args)?))))?;
        }
        ["calls", code, count, folder] => {
            let (engine, component, run) = open(code)?;
            let (pre, runtime) = prepare(&engine, &component)?;
            let count = number(count)? as u64;
            let (mut wall, mut cpu) = (Vec::new(), Vec::new());
            for round in 0..6 {
                let (cpu_began, began) = (clock_ns(THREAD_CPU), Instant::now());
                runtime.block_on(call(&pre, &run, Store::new(&engine, host(folder, &[])?)))?;
                if round > 0 {
                    wall.push(began.elapsed().as_nanos() as u64 * 1000 / count);
                    cpu.push((clock_ns(THREAD_CPU) - cpu_began) * 1000 / count);
                }
            }
            print_samples("wall_ps", &mut wall);
            print!(", ");
            print_samples("cpu_ps", &mut cpu);
        }
        _ => bail!("see the top of bench/twin/src/main.rs"),
    }
    println!("}}");
    Ok(())
}

fn prepare(engine: &Engine, component: &Component) -> Result<(InstancePre<Host>, tokio::runtime::Runtime)> {
    let mut linker = Linker::<Host>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((linker.instantiate_pre(component)?, runtime))
}
