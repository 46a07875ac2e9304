// SPDX-License-Identifier: Apache-2.0
//! wasi:logging/logging (draft).

use super::bindings::wasi::logging::logging::{self, Level};
use crate::abi::AmbitBytes;
use crate::calls;
use crate::host::Host;
use wasmtime::Result;

impl logging::Host for Host {
    fn log(&mut self, level: Level, context: String, message: String) -> Result<()> {
        self.enter(calls::LOGGING_LOG)?;
        let (context, message) = (AmbitBytes::of(context.as_bytes()), AmbitBytes::of(message.as_bytes()));
        // SAFETY: C's function with C's context; both texts live through the call.
        unsafe { (self.shared.vtbl().log)(self.shared.host(), level as u32, context, message) }
        Ok(())
    }
}
