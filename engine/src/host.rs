// SPDX-License-Identifier: Apache-2.0
//! The Store's data: resources of the guest, and the limits that Wasmtime asks about.

use crate::abi::*;
use crate::shared::{Ended, Shared};
use crate::wasi::Exchange;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};

/// A host call never copies more than this at once, whatever the cap of the task is: a guest that asks for 4 GiB of a ten-byte file must
/// not make us allocate 4 GiB. Short answers are allowed wherever this is used.
pub const CHUNK: usize = 1 << 20;

/// Wasmtime keeps a table element in one pointer.
const TABLE_ELEMENT: u64 = 8;

pub struct Host {
    pub table: ResourceTable,
    pub shared: Arc<Shared>,
    /// Bytes that one host call may copy.
    pub hostcall_bytes: u64,
    limits: Limits,
    /// C's handle of the request that the task answers. After the table: what is in it may still speak of the exchange.
    pub incoming: Option<Exchange>,
}

/// What one memory can ever hold.
const ADDRESS_SPACE: u64 = 1 << 32;

/// Memory that the engine keeps for the guest (heads of HTTP): part of the task's, given back when this is dropped.
pub struct Charge {
    shared: Arc<Shared>,
    limit: u64,
    bytes: u64,
}

impl Charge {
    pub fn new(shared: &Arc<Shared>, limit: u64) -> Charge {
        Charge { shared: shared.clone(), limit, bytes: 0 }
    }

    /// Of the same task, still empty.
    pub fn fresh(&self) -> Charge {
        Charge::new(&self.shared, self.limit)
    }

    /// Before `bytes` more are allocated.
    pub fn more(&mut self, bytes: u64) -> std::result::Result<(), Ended> {
        let total = self.shared.memory_now.load(Ordering::Relaxed).saturating_add(bytes);
        if total > self.limit {
            return Err(self.shared.limit(AMBIT_LIMIT_MEMORY, total));
        }
        self.bytes += bytes;
        self.shared.memory_now.store(total, Ordering::Relaxed);
        self.shared.memory_peak.fetch_max(total, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shared.memory_now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pub struct Limits {
    pub memory_bytes: u64,
    /// What the pool gives to one memory and one table: a smaller `maximum` is the guest's own.
    pub pool_memory: u64,
    pub pool_elements: u64,
    /// What the last permitted growth added, in case it fails.
    pub added: u64,
}

impl Host {
    pub fn new(shared: Arc<Shared>, handles: u32, hostcall_bytes: u64, limits: Limits) -> Host {
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles as usize);
        Host { table, shared, hostcall_bytes, limits, incoming: None }
    }

    /// Before every host call: C counts it, and may end the guest.
    #[inline]
    pub fn enter(&self, call: AmbitCall) -> std::result::Result<(), Ended> {
        self.shared.enter(call)
    }

    /// Still empty.
    pub fn charge(&self) -> Charge {
        Charge::new(&self.shared, self.limits.memory_bytes)
    }

    /// How many bytes to read when the guest asks for `size` and takes fewer.
    #[inline]
    pub fn clamp(&self, size: u64) -> usize {
        size.min(self.hostcall_bytes).min(CHUNK as u64) as usize
    }

    fn grow(&mut self, current: u64, desired: u64, maximum: Option<u64>, pool: u64, unit: u64) -> Result<bool> {
        if maximum.is_some_and(|m| desired > m && m < pool) {
            return Ok(false); // the guest's own maximum: an ordinary failed growth
        }
        let added = desired.saturating_sub(current).saturating_mul(unit);
        let total = self.shared.memory_now.load(Ordering::Relaxed).saturating_add(added);
        if total > self.limits.memory_bytes {
            return Err(self.shared.limit(AMBIT_LIMIT_MEMORY, total).into());
        }
        if maximum.is_some_and(|m| desired > m) {
            return Ok(false);
        }
        self.limits.added = added;
        self.shared.memory_now.store(total, Ordering::Relaxed);
        self.shared.memory_peak.fetch_max(total, Ordering::Relaxed);
        Ok(true)
    }

    fn grow_failed(&mut self) {
        let added = std::mem::take(&mut self.limits.added);
        self.shared.memory_now.fetch_sub(added, Ordering::Relaxed);
    }
}

/// Sums all linear memories and tables of all instances in the Store.
impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if desired as u64 > ADDRESS_SPACE {
            return Ok(false); // no limit of ours: programs ask for more than 32 bits can name to see that it fails
        }
        let pool = self.limits.pool_memory;
        self.grow(current as u64, desired as u64, maximum.map(|m| m as u64), pool, 1)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        self.grow_failed();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let pool = self.limits.pool_elements;
        self.grow(current as u64, desired as u64, maximum.map(|m| m as u64), pool, TABLE_ELEMENT)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        self.grow_failed();
        Ok(())
    }
}
