// SPDX-License-Identifier: Apache-2.0
//! wasi:config/store (draft): values a grant names.

use super::bindings::wasi::config::store;
use super::{pairs, text};
use crate::abi::AmbitBytes;
use crate::calls;
use crate::host::Host;
use wasmtime::Result;

impl store::Host for Host {
    fn get(&mut self, key: String) -> Result<std::result::Result<Option<String>, store::Error>> {
        self.enter(calls::CONFIG_STORE_GET)?;
        let mut value = AmbitBytes::EMPTY;
        // SAFETY: C's function with C's context; `key` lives through the call.
        let found = unsafe {
            (self.shared.vtbl().config_get)(self.shared.host(), AmbitBytes::of(key.as_bytes()), &mut value)
        };
        Ok(Ok(found.then(|| text(value))))
    }

    fn get_all(&mut self) -> Result<std::result::Result<Vec<(String, String)>, store::Error>> {
        self.enter(calls::CONFIG_STORE_GET_ALL)?;
        let (mut all, mut count) = (std::ptr::null(), 0);
        // SAFETY: C's function with C's context; what it returns is copied at once.
        let all = unsafe {
            (self.shared.vtbl().config_all)(self.shared.host(), &mut all, &mut count);
            pairs(all, count)
        };
        Ok(Ok(all))
    }
}
