// SPDX-License-Identifier: Apache-2.0
//! How a task ended: from Wasmtime's error to what C is told.

use crate::abi::*;
use crate::shared::{Ended, Shared};
use crate::wasi::Exit;
use std::fmt::Write;
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

pub struct Outcome {
    pub outcome: i32,
    pub status: i32,
    pub message: String,
    pub values: String,
}

/// Names of functions are the guest's and can be of any length; a message is for a person.
const NAME_MAX: usize = 200;
const FRAMES_MAX: usize = 20;
const MESSAGE_MAX: usize = 8 << 10;

impl Outcome {
    pub fn exit(status: i32, values: String) -> Outcome {
        Outcome { outcome: AMBIT_OUTCOME_EXIT, status, message: String::new(), values }
    }

    pub fn fault(mut message: String) -> Outcome {
        cut(&mut message, MESSAGE_MAX);
        Outcome { outcome: AMBIT_OUTCOME_FAULT, status: 0, message, values: String::new() }
    }

    fn ended() -> Outcome {
        Outcome { outcome: AMBIT_OUTCOME_ENDED, status: 0, message: String::new(), values: String::new() }
    }

    /// `running`: code of the guest had been entered, so what is not a fault of ours is its trap.
    pub fn of_error(shared: &Shared, error: &Error, handles: u32, hostcall_bytes: u64, running: bool) -> Outcome {
        if shared.was_ended() || find::<Ended>(error).is_some() || find::<Trap>(error) == Some(&Trap::Interrupt) {
            return Outcome::ended();
        }
        if let Some(Exit(status)) = find::<Exit>(error) {
            return Outcome::exit(*status, String::new());
        }
        if is_handle_limit(error) {
            shared.limit(AMBIT_LIMIT_HANDLES, u64::from(handles) + 1);
            return Outcome::ended();
        }
        if says(error, "fuel allocated for hostcalls has been exhausted") {
            shared.limit(AMBIT_LIMIT_HOSTCALL_BYTES, hostcall_bytes.saturating_add(1));
            return Outcome::ended();
        }
        // A start function runs while the instance is made: what it met is the guest's trap, and shows by its frames.
        let in_guest = running || error.downcast_ref::<WasmBacktrace>().is_some() || find::<Trap>(error).is_some();
        if find::<PoolConcurrencyLimitError>(error).is_some() || !in_guest {
            return Outcome::fault(format!("{error:#}"));
        }
        Outcome { outcome: AMBIT_OUTCOME_TRAP, status: 0, message: trap_message(error), values: String::new() }
    }
}

fn find<E: std::error::Error + Send + Sync + 'static>(error: &Error) -> Option<&E> {
    error.downcast_ref::<E>().or_else(|| error.chain().find_map(|e| e.downcast_ref::<E>()))
}

/// Wasmtime has no type for these two; the version is pinned and `tests/runtime.rs` trips both.
fn says(error: &Error, text: &str) -> bool {
    error.chain().any(|e| e.to_string().contains(text))
}

fn is_handle_limit(error: &Error) -> bool {
    matches!(find::<ResourceTableError>(error), Some(ResourceTableError::Full))
        || says(error, "store handle limit exceeded")
}

/// "unreachable …" and, below it, where: innermost frame first.
fn trap_message(error: &Error) -> String {
    let mut message = match find::<Trap>(error) {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        let frames = trace.frames();
        for frame in frames.iter().take(FRAMES_MAX) {
            let mut name = match frame.func_name() {
                Some(name) => name.to_owned(),
                None => format!("function {}", frame.func_index()),
            };
            cut(&mut name, NAME_MAX);
            let _ = write!(message, "\n  at {name}"); // writing to a String cannot fail
        }
        if frames.len() > FRAMES_MAX {
            let _ = write!(message, "\n  and {} more", frames.len() - FRAMES_MAX);
        }
    }
    cut(&mut message, MESSAGE_MAX);
    message
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}
