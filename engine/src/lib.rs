// SPDX-License-Identifier: Apache-2.0
//! Ambit's one door to Wasmtime. Mechanism, no policy, no I/O: the contract is in `include/ambit_engine.h`, the map in `docs/engine.md`.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod abi;
pub mod calls;
pub mod compile;
pub mod config;
mod host;
mod invoke;
mod link;
mod outcome;
pub mod runtime;
mod shared;
pub mod task;
mod wasi;
