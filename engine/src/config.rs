// SPDX-License-Identifier: Apache-2.0
//! The one place where Wasmtime's `Config` is made.
//!
//! Machine code is made in the compiler room and mapped in a worker, and Wasmtime refuses to map code whose tunables or WebAssembly
//! features differ from those of the engine that loads it. So both rooms start from [`shared`]; what only one of them needs (the pool,
//! the absence of a compiler) is added on top and is not part of the compatibility key.
//!
//! Choices made for repeatability (a run with a fixed clock and a seeded random source repeats byte for byte):
//! - `relaxed_simd_deterministic(true)`: otherwise relaxed SIMD answers depend on the CPU. Costs nothing that is not relaxed SIMD.
//! - NaN canonicalisation stays off: on one architecture the bits of a NaN are a function of the machine code alone, and the machine code
//!   is part of the receipt; canonicalising would cost a compare and a select after every float operation. So NaN bits repeat on one
//!   architecture, not across two.
//! - No shared memory and no threads: nothing in a guest races.

use wasmtime::{Config, PoolingAllocationConfig, Result};

/// Who asks for the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Makes machine code, never runs it.
    Compile,
    /// Runs machine code, has no compiler.
    Run,
}

/// Stack of a guest. CPython stops its own recursion by the stack in linear memory; its frames here are many times as large, and
/// must fit until it does (tests/system/test_python.py). Pages that are not touched cost nothing.
/// The fiber's stack must hold it and the host calls made from its deepest point.
const GUEST_STACK: usize = 8 << 20;
const FIBER_STACK: usize = 9 << 20;

/// Everything that decides what machine code looks like.
pub fn shared(role: Role) -> Config {
    let mut c = Config::new();

    // Proposals. On: what WebAssembly 3 has and the toolchains of WASI 0.2 emit (componentize-py, componentize-js, Go, C, Rust).
    c.wasm_simd(true);
    c.wasm_relaxed_simd(true);
    c.relaxed_simd_deterministic(true);
    c.wasm_bulk_memory(true);
    c.wasm_multi_value(true);
    c.wasm_multi_memory(true);
    c.wasm_tail_call(true);
    c.wasm_extended_const(true);
    c.wasm_component_model(true);
    // Off: what nothing we run needs and what would widen the surface. (Garbage collection and exceptions are not compiled into this build.)
    c.wasm_threads(false);
    c.shared_memory(false);
    c.wasm_memory64(false);
    c.wasm_custom_page_sizes(false);
    c.wasm_wide_arithmetic(false);
    // WASI 0.3 gets an engine of its own: with concurrency support on, a 0.2 call is 40 % slower (measured).
    c.concurrency_support(false);

    // Tunables.
    c.epoch_interruption(true);
    c.memory_init_cow(true);
    c.table_lazy_init(true);
    c.max_wasm_stack(GUEST_STACK);
    c.async_stack_size(FIBER_STACK);
    // Backtraces walk frame pointers; unwind tables would be registered at every load. Function names are kept, offsets are not.
    c.native_unwind_info(false);
    c.generate_address_map(false);
    // The default reads WASMTIME_BACKTRACE_DETAILS from the environment.
    c.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);

    if role == Role::Run {
        c.enable_compiler(false);
    }
    c
}

/// How large the pool is made.
pub struct Pool {
    pub instances: u32,
    pub memory_max_bytes: u64,
    pub table_elements_max: u32,
    pub core_instances_max: u32,
}

/// The runtime's configuration: shared plus a pool that is reserved once and reused.
pub fn runtime(pool: &Pool) -> Result<Config> {
    let mut c = shared(Role::Run);
    let instances = pool.instances.max(1);
    let core = pool.core_instances_max.max(1);
    let tables = core.min(TABLES_PER_INSTANCE);
    let memories = core.min(MEMORIES_PER_INSTANCE);

    let mut p = PoolingAllocationConfig::new();
    p.total_component_instances(instances);
    p.total_core_instances(instances.saturating_mul(core));
    p.max_core_instances_per_component(core);
    p.max_tables_per_component(tables);
    p.total_tables(instances.saturating_mul(tables));
    p.max_memories_per_component(memories);
    p.total_memories(instances.saturating_mul(memories).min(MEMORIES_TOTAL).max(instances));
    p.total_stacks(instances);
    p.max_tables_per_module(tables);
    // A module with several memories is one that the compiler takes (wasm_multi_memory above).
    p.max_memories_per_module(memories);
    p.table_elements(pool.table_elements_max as usize);
    p.max_memory_size(usize::try_from(pool.memory_max_bytes)?);
    p.max_component_instance_size(INSTANCE_SIZE);
    p.max_core_instance_size(INSTANCE_SIZE);
    // Slots remember whose image they hold (affinity), and keep what is hot instead of giving it back at every drop.
    p.max_unused_warm_slots(instances);
    p.linear_memory_keep_resident(KEEP_RESIDENT);
    p.table_keep_resident(KEEP_RESIDENT);
    // Asks the kernel which pages a guest dirtied. Needs /proc/self/pagemap at the engine's birth: before Landlock, and dumpable.
    p.pagemap_scan(wasmtime::Enabled::Auto);
    c.allocation_strategy(p);
    Ok(c)
}

/// A Python component has 50 tables over about 300 core instances.
const TABLES_PER_INSTANCE: u32 = 64;
/// wit-component output has one; a composition one for each part.
const MEMORIES_PER_INSTANCE: u32 = 8;
/// Each slot reserves 4 GiB and guards; half of the address space is left to everything else.
const MEMORIES_TOTAL: u32 = 16_000;
const INSTANCE_SIZE: usize = 1 << 20;
const KEEP_RESIDENT: usize = 64 << 10;
