// SPDX-License-Identifier: Apache-2.0
//! Tasks: one guest instance each, polled by C. The contract is at the top of `ambit_engine.h`.
//!
//! The future owns everything of Wasmtime's: Store, instance, call. It is made here, polled only by `ambit_task_poll`, and dropped when it
//! is done or when the task is freed; dropping it while it is parked resumes its fiber to unwind it, which runs cancel and drop functions
//! of the vtbl.

use crate::abi::*;
use crate::host::{Charge, Host, Limits};
use crate::invoke;
use crate::outcome::Outcome;
use crate::runtime::AmbitComponent;
use crate::shared::{Ended, Shared};
use crate::wasi::{Exchange, Head, Incoming, IncomingRequest, Outparam};
use std::ffi::c_int;
use std::ffi::c_void;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Resource, Val};
use wasmtime::{Store, UpdateDeadline};

pub struct AmbitTask {
    shared: Arc<Shared>,
    waker: Waker,
    /// None when it is done.
    future: Option<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    outcome: Outcome,
}

/// What is to be called.
enum Entry {
    Run(Option<ComponentExportIndex>),
    Invoke { component: Component, name: String, arguments: Vec<String> },
    /// The request's head; an error when it did not fit the task's memory.
    Handle { function: ComponentExportIndex, head: Result<Head, Ended>, exchange: Exchange },
}

struct Start {
    pre: InstancePre<Host>,
    entry: Entry,
    shared: Arc<Shared>,
    handles: u32,
    hostcall_bytes: u64,
    limits: Limits,
}

impl Start {
    async fn go(self) -> Outcome {
        let Start { pre, entry, shared, handles, hostcall_bytes, limits } = self;
        let host = Host::new(shared.clone(), handles, hostcall_bytes, limits);
        let mut store = Store::new(pre.engine(), host);
        store.limiter(|host| host);
        store.set_max_component_handles(handles as usize);
        store.set_hostcall_fuel(usize::try_from(hostcall_bytes).unwrap_or(usize::MAX));
        store.set_epoch_deadline(1);
        let at_epoch = shared.clone();
        store.epoch_deadline_callback(move |_| Ok(epoch(&at_epoch)));

        let mut running = false;
        let outcome = match entry {
            Entry::Run(Some(run)) => run_command(&pre, &mut store, &run, &mut running).await,
            Entry::Run(None) => {
                return Outcome::fault("the component exports no wasi:cli/run; name a function to call".into());
            }
            Entry::Invoke { component, name, arguments } => {
                match invoke::prepare(pre.engine(), &component, &name, &arguments) {
                    Ok(call) => call_function(&pre, &mut store, call, &mut running).await,
                    Err(text) => return Outcome::fault(text),
                }
            }
            Entry::Handle { function, head, exchange } => {
                let id = exchange.id;
                store.data_mut().incoming = Some(exchange);
                match head {
                    Ok(head) => handle_request(&pre, &mut store, &function, (head, id), &mut running).await,
                    Err(ended) => Err(ended.into()),
                }
            }
        };
        outcome.unwrap_or_else(|error| Outcome::of_error(&shared, &error, handles, hostcall_bytes, running))
    }
}

/// At the end of a time slice: C decides whether the guest goes on when it is its turn again.
fn epoch(shared: &Shared) -> UpdateDeadline {
    // SAFETY: C's function with C's context, on the task's thread.
    if unsafe { (shared.vtbl().slice)(shared.host()) } == AMBIT_SLICE_YIELD {
        shared.slice_ends();
        UpdateDeadline::Yield(1)
    } else {
        shared.end();
        UpdateDeadline::Interrupt
    }
}

async fn run_command(
    pre: &InstancePre<Host>,
    store: &mut Store<Host>,
    run: &ComponentExportIndex,
    running: &mut bool,
) -> wasmtime::Result<Outcome> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run)?;
    *running = true;
    let (result,) = run.call_async(&mut *store, ()).await?;
    Ok(Outcome::exit(i32::from(result.is_err()), String::new()))
}

async fn handle_request(
    pre: &InstancePre<Host>,
    store: &mut Store<Host>,
    function: &ComponentExportIndex,
    (head, exchange): (Head, u32),
    running: &mut bool,
) -> wasmtime::Result<Outcome> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let host = store.data_mut();
    let body = Incoming { shared: host.shared.clone(), id: exchange };
    let request = host.table.push(IncomingRequest::new(head, body))?;
    let outparam = host.table.push(Outparam(exchange))?;
    let handle = instance.get_typed_func::<(Resource<IncomingRequest>, Resource<Outparam>), ()>(&mut *store, function)?;
    *running = true;
    handle.call_async(&mut *store, (request, outparam)).await?;
    Ok(Outcome::exit(0, String::new()))
}

async fn call_function(
    pre: &InstancePre<Host>,
    store: &mut Store<Host>,
    call: invoke::Call,
    running: &mut bool,
) -> wasmtime::Result<Outcome> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let Some(function) = instance.get_func(&mut *store, call.function) else {
        return Ok(Outcome::fault("the export is not a function".into()));
    };
    *running = true;
    let mut results = vec![Val::Bool(false); call.results];
    function.call_async(&mut *store, &call.arguments, &mut results).await?;
    let failed = matches!(results.first(), Some(Val::Result(Err(_))));
    Ok(match invoke::results_text(&results) {
        Ok(text) => Outcome::exit(i32::from(failed), text),
        Err(text) => Outcome::fault(text),
    })
}

fn texts(bytes: &[AmbitBytes]) -> Vec<String> {
    // SAFETY: C's texts are valid for the call; they are copied.
    bytes.iter().map(|b| String::from_utf8_lossy(unsafe { b.slice() }).into_owned()).collect()
}

/// # Safety
/// By the contract in the header: `vtbl` is complete, and it and `host` outlive the task.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_new(
    c: *mut AmbitComponent,
    config: *const AmbitTaskConfig,
    vtbl: *const AmbitHostVtbl,
    host: *mut c_void,
    invoke: AmbitBytes,
    invoke_args: *const AmbitBytes,
    invoke_arg_count: usize,
) -> *mut AmbitTask {
    // SAFETY: by the contract. `size` is the first field: it is there whatever the rest is.
    let (c, config, size) = unsafe { (&*c, &*config, (*vtbl).size) };
    if size as usize != size_of::<AmbitHostVtbl>() {
        return std::ptr::null_mut();
    }
    let shared = Arc::new(Shared::new(vtbl, host, config));
    let entry = if invoke.size == 0 {
        Entry::Run(c.run)
    } else {
        let arguments = if invoke_arg_count == 0 || invoke_args.is_null() {
            Vec::new()
        } else {
            // SAFETY: by the contract.
            texts(unsafe { std::slice::from_raw_parts(invoke_args, invoke_arg_count) })
        };
        let name = texts(&[invoke]).remove(0);
        Entry::Invoke { component: c.component.clone(), name, arguments }
    };
    begin(c, config, shared, entry)
}

fn begin(c: &AmbitComponent, config: &AmbitTaskConfig, shared: Arc<Shared>, entry: Entry) -> *mut AmbitTask {
    let start = Start {
        pre: c.pre.clone(),
        entry,
        shared: shared.clone(),
        handles: config.handles,
        hostcall_bytes: config.hostcall_bytes,
        limits: limits(c, config),
    };
    let task = AmbitTask {
        waker: Waker::from(shared.clone()),
        shared,
        future: Some(Box::pin(start.go())),
        outcome: Outcome::fault(String::new()),
    };
    Box::into_raw(Box::new(task))
}

fn limits(c: &AmbitComponent, config: &AmbitTaskConfig) -> Limits {
    Limits {
        memory_bytes: config.memory_bytes,
        pool_memory: c.memory_max_bytes,
        pool_elements: c.table_elements_max,
        added: 0,
    }
}

/// # Safety
/// By the contract in the header: `vtbl` is complete, and it and `host` outlive the task.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_new_request(
    c: *mut AmbitComponent,
    config: *const AmbitTaskConfig,
    vtbl: *const AmbitHostVtbl,
    host: *mut c_void,
    request: *const AmbitHttpRequest,
    exchange: u32,
) -> *mut AmbitTask {
    // SAFETY: by the contract. `size` is the first field: it is there whatever the rest is.
    let (c, config, size) = unsafe { (&*c, &*config, (*vtbl).size) };
    let Some(function) = c.handle else { return std::ptr::null_mut() };
    if size as usize != size_of::<AmbitHostVtbl>() {
        return std::ptr::null_mut();
    }
    let shared = Arc::new(Shared::new(vtbl, host, config));
    // SAFETY: by the contract.
    let head = unsafe { Head::copy(Charge::new(&shared, config.memory_bytes), &*request) };
    let entry = Entry::Handle { function, head, exchange: Exchange { shared: shared.clone(), id: exchange } };
    begin(c, config, shared, entry)
}

/// # Safety
/// `t` is a task, polled by one thread at a time and not from its own callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_poll(t: *mut AmbitTask) -> c_int {
    // SAFETY: by the contract.
    let AmbitTask { shared, waker, future, outcome } = unsafe { &mut *t };
    let Some(running) = future else { return AMBIT_POLL_DONE };
    shared.poll_begins();
    match running.as_mut().poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => {
            *outcome = result;
            *future = None;
            shared.close();
            AMBIT_POLL_DONE
        }
        Poll::Pending => {
            if shared.poll_ends() {
                AMBIT_POLL_SLICE
            } else {
                AMBIT_POLL_PARKED
            }
        }
    }
}

/// Any thread.
///
/// # Safety
/// `t` is a task.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_wake(t: *mut AmbitTask) {
    // SAFETY: by the contract; `shared` is never replaced, and what is called on it is made for any thread.
    unsafe { &(*t).shared }.wake_up();
}

/// Any thread.
///
/// # Safety
/// `t` is a task.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_operation_complete(t: *mut AmbitTask, operation: u64) {
    // SAFETY: as for ambit_task_wake.
    unsafe { &(*t).shared }.complete(operation);
}

/// # Safety
/// `t` is a task that is done; `ret` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_result(t: *const AmbitTask, ret: *mut AmbitResult) {
    // SAFETY: by the contract.
    let t = unsafe { &*t };
    let result = AmbitResult {
        outcome: t.outcome.outcome,
        status: t.outcome.status,
        message: AmbitBytes::of(t.outcome.message.as_bytes()),
        values: AmbitBytes::of(t.outcome.values.as_bytes()),
        memory_peak_bytes: t.shared.memory_peak.load(Ordering::Relaxed),
        slices: t.shared.slices.load(Ordering::Relaxed),
    };
    // SAFETY: by the contract.
    unsafe { ret.write(result) }
}

/// # Safety
/// `t` is a task.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_memory(t: *const AmbitTask) -> u64 {
    // SAFETY: by the contract.
    let t = unsafe { &*t };
    if t.future.is_some() { t.shared.memory_now.load(Ordering::Relaxed) } else { 0 }
}

/// # Safety
/// `t` is NULL or a task that is not used after this; not called from its own callbacks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ambit_task_free(t: *mut AmbitTask) {
    if t.is_null() {
        return;
    }
    // SAFETY: made by ambit_task_new, given back once.
    let mut t = unsafe { Box::from_raw(t) };
    t.shared.close();
    t.future = None; // unwinds the guest; cancel and drop functions run here
}
