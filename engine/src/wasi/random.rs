// SPDX-License-Identifier: Apache-2.0
//! wasi:random. C decides whether bytes come from the kernel or from a seed.

use super::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::abi::AMBIT_LIMIT_HOSTCALL_BYTES;
use crate::calls;
use crate::host::Host;
use wasmtime::Result;

impl Host {
    fn random_into(&self, secure: bool, into: *mut u8, size: usize) {
        // SAFETY: C's function with C's context; `into` has `size` writable bytes.
        unsafe { (self.shared.vtbl().random)(self.shared.host(), secure, into, size) }
    }

    /// Exactly `size` bytes, as the interface promises; so a size over the cap cannot be answered and ends the guest.
    fn random_bytes(&self, secure: bool, size: u64) -> Result<Vec<u8>> {
        if size > self.hostcall_bytes {
            return Err(self.shared.limit(AMBIT_LIMIT_HOSTCALL_BYTES, size).into());
        }
        let mut bytes = vec![0; usize::try_from(size)?];
        self.random_into(secure, bytes.as_mut_ptr(), bytes.len());
        Ok(bytes)
    }

    fn random_u64(&self, secure: bool) -> u64 {
        let mut bytes = [0; 8];
        self.random_into(secure, bytes.as_mut_ptr(), bytes.len());
        u64::from_le_bytes(bytes)
    }
}

impl random::Host for Host {
    fn get_random_bytes(&mut self, size: u64) -> Result<Vec<u8>> {
        self.enter(calls::RANDOM_GET_RANDOM_BYTES)?;
        self.random_bytes(true, size)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        self.enter(calls::RANDOM_GET_RANDOM_U64)?;
        Ok(self.random_u64(true))
    }
}

impl insecure::Host for Host {
    fn get_insecure_random_bytes(&mut self, size: u64) -> Result<Vec<u8>> {
        self.enter(calls::RANDOM_INSECURE_GET_INSECURE_RANDOM_BYTES)?;
        self.random_bytes(false, size)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.enter(calls::RANDOM_INSECURE_GET_INSECURE_RANDOM_U64)?;
        Ok(self.random_u64(false))
    }
}

impl insecure_seed::Host for Host {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        self.enter(calls::RANDOM_INSECURE_SEED_INSECURE_SEED)?;
        Ok((self.random_u64(false), self.random_u64(false)))
    }
}
