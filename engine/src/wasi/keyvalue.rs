// SPDX-License-Identifier: Apache-2.0
//! wasi:keyvalue (draft): store, atomics and batch. Buckets and what is in them are C's.

use super::bindings::wasi::keyvalue::{atomics, batch, store};
use super::text;
use crate::abi::*;
use crate::calls;
use crate::host::Host;
use crate::shared::{Ended, Shared};
use std::sync::Arc;
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime::{Error, Result};

pub enum KvError {
    Refused(store::Error),
    Trap(Error),
}

type KvResult<T> = std::result::Result<T, KvError>;

impl From<Ended> for KvError {
    fn from(ended: Ended) -> KvError {
        KvError::Trap(ended.into())
    }
}

impl From<ResourceTableError> for KvError {
    fn from(error: ResourceTableError) -> KvError {
        KvError::Trap(error.into())
    }
}

/// C's handle, given back once.
pub struct Bucket {
    shared: Arc<Shared>,
    id: u32,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // SAFETY: C's function with C's context, on the task's thread.
        unsafe { (self.shared.vtbl().kv_drop)(self.shared.host(), self.id) }
    }
}

fn answered(shared: &Shared, answer: i32) -> KvResult<()> {
    Err(KvError::Refused(match answer {
        0 => return Ok(()),
        AMBIT_KV_NO_SUCH_STORE => store::Error::NoSuchStore,
        AMBIT_KV_ACCESS_DENIED => store::Error::AccessDenied,
        // SAFETY: C's function with C's context; the text is copied at once.
        AMBIT_KV_OTHER.. => store::Error::Other(text(unsafe { (shared.vtbl().kv_error)(shared.host()) })),
        _ => return Err(shared.end().into()),
    }))
}

impl Host {
    fn bucket(&self, bucket: &Resource<Bucket>) -> KvResult<u32> {
        Ok(self.table.get(bucket)?.id)
    }

    /// What one call copies into the guest, `before` included.
    fn copied(&self, before: u64, more: usize) -> KvResult<u64> {
        let total = before.saturating_add(more as u64);
        if total > self.hostcall_bytes {
            return Err(self.shared.limit(AMBIT_LIMIT_HOSTCALL_BYTES, total).into());
        }
        Ok(total)
    }

    /// The value of one key. `copied` counts over the keys of a call.
    fn value(&self, id: u32, key: &str, copied: &mut u64) -> KvResult<Option<Vec<u8>>> {
        let (mut found, mut value) = (false, AmbitBytes::EMPTY);
        let s = &self.shared;
        // SAFETY: C's function with C's context; `key` lives through the call.
        answered(s, unsafe { (s.vtbl().kv_get)(s.host(), id, AmbitBytes::of(key.as_bytes()), &mut found, &mut value) })?;
        if !found {
            return Ok(None);
        }
        *copied = self.copied(*copied, value.size)?;
        // SAFETY: what C returned is valid until the next call; it is copied at once.
        Ok(Some(unsafe { value.slice() }.to_vec()))
    }

    fn change(&self, id: u32, pairs: &[AmbitPair]) -> KvResult<()> {
        let s = &self.shared;
        // SAFETY: C's function with C's context; the caller keeps the texts.
        answered(s, unsafe { (s.vtbl().kv_set_many)(s.host(), id, pairs.as_ptr(), pairs.len()) })
    }
}

impl store::Host for Host {
    fn open(&mut self, identifier: String) -> KvResult<Resource<Bucket>> {
        self.enter(calls::KEYVALUE_OPEN)?;
        let mut id = 0;
        let s = &self.shared;
        // SAFETY: C's function with C's context; the text lives through the call.
        answered(s, unsafe { (s.vtbl().kv_open)(s.host(), AmbitBytes::of(identifier.as_bytes()), &mut id) })?;
        let bucket = Bucket { shared: s.clone(), id };
        Ok(self.table.push(bucket)?)
    }

    fn convert_error(&mut self, error: KvError) -> Result<store::Error> {
        match error {
            KvError::Refused(error) => Ok(error),
            KvError::Trap(error) => Err(error),
        }
    }
}

impl store::HostBucket for Host {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<Option<Vec<u8>>> {
        self.enter(calls::KEYVALUE_BUCKET_GET)?;
        self.value(self.bucket(&bucket)?, &key, &mut 0)
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> KvResult<()> {
        self.enter(calls::KEYVALUE_BUCKET_SET)?;
        let (id, s) = (self.bucket(&bucket)?, &self.shared);
        let (key, value) = (AmbitBytes::of(key.as_bytes()), AmbitBytes::of(&value));
        // SAFETY: C's function with C's context; key and value live through the call.
        answered(s, unsafe { (s.vtbl().kv_set)(s.host(), id, key, value) })
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<()> {
        self.enter(calls::KEYVALUE_BUCKET_DELETE)?;
        let (id, s) = (self.bucket(&bucket)?, &self.shared);
        // SAFETY: C's function with C's context; `key` lives through the call.
        answered(s, unsafe { (s.vtbl().kv_delete)(s.host(), id, AmbitBytes::of(key.as_bytes())) })
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> KvResult<bool> {
        self.enter(calls::KEYVALUE_BUCKET_EXISTS)?;
        let (id, s) = (self.bucket(&bucket)?, &self.shared);
        let mut found = false;
        // SAFETY: C's function with C's context; `key` lives through the call.
        answered(s, unsafe { (s.vtbl().kv_exists)(s.host(), id, AmbitBytes::of(key.as_bytes()), &mut found) })?;
        Ok(found)
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> KvResult<store::KeyResponse> {
        self.enter(calls::KEYVALUE_BUCKET_LIST_KEYS)?;
        let (id, s) = (self.bucket(&bucket)?, &self.shared);
        let (mut keys, mut count, mut next) = (std::ptr::null(), 0, 0);
        // SAFETY: C's function with C's context.
        answered(s, unsafe { (s.vtbl().kv_list)(s.host(), id, cursor.unwrap_or(0), &mut keys, &mut count, &mut next) })?;
        let keys: &[AmbitBytes] = if count == 0 || keys.is_null() {
            &[]
        } else {
            // SAFETY: what C returned is valid until the next call; it is copied at once.
            unsafe { std::slice::from_raw_parts(keys, count) }
        };
        self.copied(0, keys.iter().map(|k| k.size).sum())?;
        Ok(store::KeyResponse { keys: keys.iter().map(|k| text(*k)).collect(), cursor: (next != 0).then_some(next) })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Host {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> KvResult<u64> {
        self.enter(calls::KEYVALUE_INCREMENT)?;
        let (id, s) = (self.bucket(&bucket)?, &self.shared);
        let mut now = 0;
        // SAFETY: C's function with C's context; `key` lives through the call.
        answered(s, unsafe { (s.vtbl().kv_increment)(s.host(), id, AmbitBytes::of(key.as_bytes()), delta, &mut now) })?;
        Ok(now)
    }
}

impl batch::Host for Host {
    fn get_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> KvResult<Vec<Option<(String, Vec<u8>)>>> {
        self.enter(calls::KEYVALUE_GET_MANY)?;
        let id = self.bucket(&bucket)?;
        let mut copied = 0;
        let one = |key: String| -> KvResult<Option<(String, Vec<u8>)>> {
            let value = self.value(id, &key, &mut copied)?;
            Ok(value.map(|value| (key, value)))
        };
        keys.into_iter().map(one).collect()
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> KvResult<()> {
        self.enter(calls::KEYVALUE_SET_MANY)?;
        let id = self.bucket(&bucket)?;
        let for_c = |(key, value): &(String, Vec<u8>)| AmbitPair { key: AmbitBytes::of(key.as_bytes()), value: AmbitBytes::of(value) };
        self.change(id, &pairs.iter().map(for_c).collect::<Vec<_>>())
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> KvResult<()> {
        self.enter(calls::KEYVALUE_DELETE_MANY)?;
        let id = self.bucket(&bucket)?;
        let for_c = |key: &String| AmbitPair { key: AmbitBytes::of(key.as_bytes()), value: AmbitBytes::EMPTY };
        self.change(id, &keys.iter().map(for_c).collect::<Vec<_>>())
    }
}
