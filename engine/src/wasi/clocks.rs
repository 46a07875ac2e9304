// SPDX-License-Identifier: Apache-2.0
//! wasi:clocks. C decides whether a clock is real or fixed; timers are in the guest's monotonic clock.

use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use crate::calls;
use crate::host::Host;
use crate::shared::{Shared, Until};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

const NS: u64 = 1_000_000_000;

pub fn datetime(ns: u64) -> wall_clock::Datetime {
    wall_clock::Datetime { seconds: ns / NS, nanoseconds: (ns % NS) as u32 }
}

/// Nanoseconds since 1970, as far as an i64 reaches (the year 2262).
pub fn nanoseconds(t: wall_clock::Datetime) -> i64 {
    let ns = t.seconds.saturating_mul(NS).saturating_add(u64::from(t.nanoseconds));
    i64::try_from(ns).unwrap_or(i64::MAX)
}

impl wall_clock::Host for Host {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        self.enter(calls::CLOCKS_WALL_CLOCK_NOW)?;
        // SAFETY: C's function with C's context.
        let ns = unsafe { (self.shared.vtbl().wall_now)(self.shared.host()) };
        Ok(datetime(u64::try_from(ns).unwrap_or(0)))
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        self.enter(calls::CLOCKS_WALL_CLOCK_RESOLUTION)?;
        // SAFETY: C's function with C's context.
        Ok(datetime(unsafe { (self.shared.vtbl().wall_resolution)(self.shared.host()) }))
    }
}

impl monotonic_clock::Host for Host {
    fn now(&mut self) -> Result<u64> {
        self.enter(calls::CLOCKS_MONOTONIC_CLOCK_NOW)?;
        Ok(self.monotonic_now())
    }

    fn resolution(&mut self) -> Result<u64> {
        self.enter(calls::CLOCKS_MONOTONIC_CLOCK_RESOLUTION)?;
        // SAFETY: C's function with C's context.
        Ok(unsafe { (self.shared.vtbl().monotonic_resolution)(self.shared.host()) })
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        self.enter(calls::CLOCKS_MONOTONIC_CLOCK_SUBSCRIBE_INSTANT)?;
        self.timer(when)
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        self.enter(calls::CLOCKS_MONOTONIC_CLOCK_SUBSCRIBE_DURATION)?;
        let when = self.monotonic_now().saturating_add(duration);
        self.timer(when)
    }
}

impl Host {
    fn monotonic_now(&self) -> u64 {
        // SAFETY: C's function with C's context.
        unsafe { (self.shared.vtbl().monotonic_now)(self.shared.host()) }
    }

    fn timer(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let timer = self.table.push(Timer { shared: self.shared.clone(), when })?;
        subscribe(&mut self.table, timer)
    }
}

struct Timer {
    shared: Arc<Shared>,
    when: u64,
}

#[async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        self.shared.wait(Until::Time(self.when)).await
    }
}
