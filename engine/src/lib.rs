// SPDX-License-Identifier: Apache-2.0
//! Ambit's one door to Wasmtime. Mechanism, no policy, no I/O: the contract is in `include/ambit_engine.h`, the map in `docs/engine.md`.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod compile;
mod config;
