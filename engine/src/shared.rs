// SPDX-License-Identifier: Apache-2.0
//! What a task and its Store both need, outside the Store: the way to C, the slots of waiting operations, the waker and the counters.
//!
//! A task is one boxed future that owns the Store. Everything that outlives or overlaps it (streams in the resource table, the waker in
//! C's hands, ambit_operation_complete from another thread) holds an `Arc<Shared>` instead.
//!
//! Invariants
//! - The vtbl and the host context outlive the task (polling contract 6). `Shared` calls them only on the thread that polls or frees the
//!   task, never with `slots` locked: C may complete an operation from inside `wait`.
//! - A slot is `Waiting` from before `wait` is asked until its future is dropped or sees `Done`. Releasing a slot raises its generation,
//!   so a completion that comes late names nobody.
//! - The waker never polls: it moves `wake` on and calls C at most once between two polls.

use crate::abi::*;
use std::ffi::c_void;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake};

/// The guest is to end: C said so, or a limit was hit. Cannot be caught by the guest; the reason is what C stored.
#[derive(Debug)]
pub struct Ended;

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ended by the host")
    }
}

impl std::error::Error for Ended {}

/// How the waker stands. The order is IDLE → POLLING → (IDLE | WOKEN → IDLE).
const IDLE: u8 = 0;
/// C was told; nothing more to say until the next poll.
const NOTIFIED: u8 = 1;
const POLLING: u8 = 2;
/// Somebody woke the task while it was being polled: poll again, without a call to C.
const WOKEN: u8 = 3;
/// The task is being freed: nobody may hear of it any more.
const CLOSED: u8 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Free,
    Waiting,
    Done,
}

struct Slot {
    generation: u32,
    state: SlotState,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

pub struct Shared {
    vtbl: *const AmbitHostVtbl,
    host: *mut c_void,
    waker: Option<unsafe extern "C" fn(*mut c_void)>,
    waker_context: *mut c_void,
    wake: AtomicU8,
    slots: Mutex<Slots>,
    /// The last `Pending` was the end of a time slice, not a wait.
    slice_over: AtomicBool,
    /// One of C's answers, or a limit, ends this guest.
    ended: AtomicBool,
    pub slices: AtomicU64,
    pub memory_now: AtomicU64,
    pub memory_peak: AtomicU64,
}

// SAFETY: the pointers are C's. vtbl is read-only; host is passed to vtbl functions only on the thread that owns the task at that moment
// (contract 2); the waker is by contract callable from any thread. All else is atomic or behind the mutex.
unsafe impl Send for Shared {}
// SAFETY: as above; `&Shared` on another thread reaches only `wake_up` and `complete`, which use atomics, the mutex and the waker.
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new(vtbl: *const AmbitHostVtbl, host: *mut c_void, config: &AmbitTaskConfig) -> Shared {
        Shared {
            vtbl,
            host,
            waker: config.waker,
            waker_context: config.waker_context,
            wake: AtomicU8::new(IDLE),
            slots: Mutex::new(Slots::default()),
            slice_over: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            slices: AtomicU64::new(0),
            memory_now: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
        }
    }

    /// The function table. Calls through it need `unsafe`; they are sound when made with [`Shared::host`] on the task's thread.
    #[inline]
    pub fn vtbl(&self) -> &AmbitHostVtbl {
        // SAFETY: outlives the task, see the top of this file.
        unsafe { &*self.vtbl }
    }

    #[inline]
    pub fn host(&self) -> *mut c_void {
        self.host
    }

    /// Before every host call.
    #[inline]
    pub fn enter(&self, call: AmbitCall) -> Result<(), Ended> {
        // SAFETY: C's function with C's context, on the task's thread.
        if unsafe { (self.vtbl().enter)(self.host, call) } == 0 { Ok(()) } else { Err(self.end()) }
    }

    /// Marks the guest as ended by C.
    #[cold]
    pub fn end(&self) -> Ended {
        self.ended.store(true, Ordering::Relaxed);
        Ended
    }

    /// Tells C which limit was hit and ends the guest.
    #[cold]
    pub fn limit(&self, which: i32, asked: u64) -> Ended {
        // SAFETY: C's function with C's context, on the task's thread.
        unsafe { (self.vtbl().limit)(self.host, which, asked) };
        self.end()
    }

    pub fn was_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    // ---- the waker -----------------------------------------------------------------------------------------------------------------

    /// Any thread. Calls C's waker once, unless the task is being polled (then that poll answers "poll again").
    pub fn wake_up(&self) {
        loop {
            let (from, to) = match self.wake.load(Ordering::SeqCst) {
                IDLE => (IDLE, NOTIFIED),
                POLLING => (POLLING, WOKEN),
                _ => return,
            };
            if self.wake.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                if let (IDLE, Some(waker)) = (from, self.waker) {
                    // SAFETY: C's function with the context given for it; callable from any thread.
                    unsafe { waker(self.waker_context) }
                }
                return;
            }
        }
    }

    pub fn poll_begins(&self) {
        self.wake.store(POLLING, Ordering::SeqCst);
        self.slice_over.store(false, Ordering::Relaxed);
    }

    /// Whether the task wants to be polled again at once: its slice ended, or what it waits for came during the poll.
    pub fn poll_ends(&self) -> bool {
        let woken = self.wake.swap(IDLE, Ordering::SeqCst) == WOKEN;
        woken || self.slice_over.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        self.wake.store(CLOSED, Ordering::SeqCst);
    }

    /// An epoch passed in the guest, or host code wants to give way: the coming `Pending` is a slice's end.
    pub fn slice_ends(&self) {
        self.slice_over.store(true, Ordering::Relaxed);
        self.slices.fetch_add(1, Ordering::Relaxed);
    }

    // ---- operations ----------------------------------------------------------------------------------------------------------------

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // A panic aborts the process, so poison cannot be seen.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> u64 {
        let mut s = self.lock();
        let index = match s.free.pop() {
            Some(index) => index,
            None => {
                // Bounded by the handles a guest may hold: every waiting operation belongs to one.
                s.slots.push(Slot { generation: 1, state: SlotState::Free });
                (s.slots.len() - 1) as u32
            }
        };
        let slot = &mut s.slots[index as usize];
        slot.state = SlotState::Waiting;
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    /// Frees the slot; whether it was still waiting.
    fn release(&self, operation: u64) -> bool {
        let mut s = self.lock();
        let index = operation as u32;
        let slot = &mut s.slots[index as usize];
        let waiting = slot.state == SlotState::Waiting;
        slot.state = SlotState::Free;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        s.free.push(index);
        waiting
    }

    fn is_done(&self, operation: u64) -> bool {
        self.lock().slots[operation as u32 as usize].state == SlotState::Done
    }

    /// Any thread. Unknown, late and repeated ids are ignored.
    pub fn complete(&self, operation: u64) {
        let mut s = self.lock();
        let Some(slot) = s.slots.get_mut(operation as u32 as usize) else { return };
        if u64::from(slot.generation) != operation >> 32 || slot.state != SlotState::Waiting {
            return;
        }
        slot.state = SlotState::Done;
        drop(s);
        self.wake_up();
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_up();
    }
}

/// What an operation waits for.
#[derive(Clone, Copy)]
pub enum Until {
    Readable(u32),
    Writable(u32),
    Time(u64),
}

/// A host operation that must wait. Asks C when it is first polled; cancels when it is dropped unanswered.
pub struct Operation<'a> {
    shared: &'a Shared,
    until: Until,
    id: Option<u64>,
}

impl Shared {
    pub fn wait(&self, until: Until) -> Operation<'_> {
        Operation { shared: self, until, id: None }
    }

    /// Gives way once: the poll ends with AMBIT_POLL_SLICE.
    pub fn give_way(&self) -> GiveWay<'_> {
        GiveWay { shared: self, given: false }
    }
}

impl Future for Operation<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared;
        if let Some(id) = self.id {
            if !shared.is_done(id) {
                return Poll::Pending;
            }
            self.id = None;
            shared.release(id);
            return Poll::Ready(());
        }
        let id = shared.begin();
        let (vtbl, host) = (shared.vtbl(), shared.host());
        // SAFETY: C's functions with C's context, on the task's thread, the slots unlocked.
        let answer = unsafe {
            match self.until {
                Until::Readable(handle) => (vtbl.wait)(host, handle, false, id),
                Until::Writable(handle) => (vtbl.wait)(host, handle, true, id),
                Until::Time(ns) => (vtbl.wait_until)(host, ns, id),
            }
        };
        if answer == AMBIT_READY || shared.is_done(id) {
            shared.release(id);
            return Poll::Ready(());
        }
        self.id = Some(id);
        Poll::Pending
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && self.shared.release(id)
        {
            // SAFETY: C's function with C's context, on the task's thread.
            unsafe { (self.shared.vtbl().cancel)(self.shared.host(), id) }
        }
    }
}

pub struct GiveWay<'a> {
    shared: &'a Shared,
    given: bool,
}

impl Future for GiveWay<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.given {
            return Poll::Ready(());
        }
        self.given = true;
        self.shared.slice_ends();
        Poll::Pending
    }
}
