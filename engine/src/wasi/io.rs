// SPDX-License-Identifier: Apache-2.0
//! wasi:io on wasmtime-wasi-io: its traits and resource types, its bookkeeping of pollables, our counting before every call and our
//! streams behind it. A stream here is one that C owns (standard streams, bodies of HTTP); files are in filesystem.rs.
//!
//! A blocking call first tries, then waits: one call to C when there is something to do at once. If C says "ready" and then has nothing,
//! the guest gives way (its slice ends) instead of asking in a loop.

use crate::abi::*;
use crate::calls;
use crate::host::{CHUNK, Host};
use crate::shared::{Shared, Until};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Result, format_err};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bindings::wasi::io::{error, poll, streams};
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::{DynPollable, Pollable};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, InputStream, OutputStream, StreamError, StreamResult};

/// blocking-write-and-flush takes no more, by its definition.
const BLOCKING_WRITE_MAX: u64 = 4096;

// ---- streams that C owns -----------------------------------------------------------------------------------------------------------

/// C's handle.
struct Handle {
    shared: Arc<Shared>,
    stream: u32,
    /// The exchange or the body of HTTP whose bytes these are: that resource drops the handle. Others are dropped here, exactly once.
    http: bool,
    /// How much one call may copy.
    most: usize,
}

impl Handle {
    fn new(host: &Host, stream: u32, http: bool) -> Handle {
        Handle { shared: host.shared.clone(), stream, http, most: host.clamp(u64::MAX) }
    }

    fn status(&self, status: i32) -> StreamResult<()> {
        match status {
            AMBIT_STREAM_OK => Ok(()),
            AMBIT_STREAM_CLOSED => Err(StreamError::Closed),
            AMBIT_STREAM_FAILED => {
                if self.http && let Some(error) = super::http::stream_error(&self.shared, self.stream) {
                    return Err(error);
                }
                // SAFETY: C's function with C's context; the text is copied at once.
                let text = unsafe { (self.shared.vtbl().stream_error)(self.shared.host(), self.stream) };
                Err(StreamError::LastOperationFailed(format_err!("{}", super::text(text))))
            }
            _ => Err(StreamError::Trap(self.shared.end().into())),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.http {
            // SAFETY: C's function with C's context, on the task's thread; the handle is given back once.
            unsafe { (self.shared.vtbl().stream_drop)(self.shared.host(), self.stream) }
        }
    }
}

/// Runs `fill` on `size` bytes of fresh memory and keeps what it says it wrote.
pub fn filled<E>(size: usize, fill: impl FnOnce(*mut u8, &mut usize) -> std::result::Result<(), E>) -> std::result::Result<Vec<u8>, E> {
    let mut bytes: Vec<u8> = Vec::with_capacity(size);
    let spare: &mut [MaybeUninit<u8>] = bytes.spare_capacity_mut();
    let mut written = 0;
    fill(spare.as_mut_ptr().cast(), &mut written)?;
    assert!(written <= size, "the host wrote past the buffer it was given");
    // SAFETY: `fill` wrote that many bytes, and they fit.
    unsafe { bytes.set_len(written) };
    Ok(bytes)
}

pub struct HostInput(Handle);

impl HostInput {
    pub fn new(host: &Host, stream: u32) -> HostInput {
        HostInput(Handle::new(host, stream, false))
    }

    pub fn of_exchange(host: &Host, exchange: u32) -> HostInput {
        HostInput(Handle::new(host, exchange, true))
    }
}

#[async_trait]
impl Pollable for HostInput {
    async fn ready(&mut self) {
        self.0.shared.wait(Until::Readable(self.0.stream)).await
    }
}

#[async_trait]
impl InputStream for HostInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let h = &self.0;
        let size = size.min(h.most);
        if size == 0 {
            return Ok(Bytes::new());
        }
        let bytes = filled(size, |into, written| {
            // SAFETY: C's function with C's context; `into` has `size` writable bytes.
            h.status(unsafe { (h.shared.vtbl().stream_read)(h.shared.host(), h.stream, into, size, written) })
        })?;
        Ok(bytes.into())
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut asked = false;
        loop {
            let bytes = self.read(size)?;
            if !bytes.is_empty() || size == 0 {
                return Ok(bytes);
            }
            if asked {
                self.0.shared.give_way().await;
            }
            self.ready().await;
            asked = true;
        }
    }
}

/// What a body of HTTP declares, and what was written of it.
#[derive(Clone)]
pub struct Length {
    pub declared: u64,
    pub written: Arc<AtomicU64>,
    pub of_response: bool,
}

pub struct HostOutput {
    handle: Handle,
    length: Option<Length>,
    /// What the last check-write permitted and no write has used.
    permit: usize,
}

impl HostOutput {
    pub fn new(host: &Host, stream: u32) -> HostOutput {
        HostOutput { handle: Handle::new(host, stream, false), length: None, permit: 0 }
    }

    pub fn of_body(host: &Host, body: u32, length: Option<Length>) -> HostOutput {
        HostOutput { handle: Handle::new(host, body, true), length, permit: 0 }
    }

    /// Before `size` bytes of a body are written.
    fn count(&self, size: usize) -> StreamResult<()> {
        let Some(length) = &self.length else { return Ok(()) };
        let written = length.written.fetch_add(size as u64, Ordering::Relaxed).saturating_add(size as u64);
        if written > length.declared {
            return Err(StreamError::LastOperationFailed(length.error(written).into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for HostOutput {
    async fn ready(&mut self) {
        self.handle.shared.wait(Until::Writable(self.handle.stream)).await
    }
}

#[async_trait]
impl OutputStream for HostOutput {
    fn check_write(&mut self) -> StreamResult<usize> {
        let h = &self.handle;
        let mut size = 0;
        // SAFETY: C's function with C's context.
        h.status(unsafe { (h.shared.vtbl().stream_check_write)(h.shared.host(), h.stream, &mut size) })?;
        self.permit = size.min(h.most);
        Ok(self.permit)
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.permit {
            return Err(StreamError::trap("write exceeded what check-write permitted"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.count(bytes.len())?;
        self.permit -= bytes.len();
        let h = &self.handle;
        // SAFETY: C's function with C's context; the bytes live through the call.
        h.status(unsafe { (h.shared.vtbl().stream_write)(h.shared.host(), h.stream, bytes.as_ptr(), bytes.len()) })
    }

    fn flush(&mut self) -> StreamResult<()> {
        let h = &self.handle;
        // SAFETY: C's function with C's context.
        h.status(unsafe { (h.shared.vtbl().stream_flush)(h.shared.host(), h.stream) })
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        let mut asked = false;
        loop {
            let permit = self.check_write()?;
            if permit > 0 {
                return Ok(permit);
            }
            if asked {
                self.handle.shared.give_way().await;
            }
            self.ready().await;
            asked = true;
        }
    }
}

// ---- the interfaces ----------------------------------------------------------------------------------------------------------------

impl error::Host for Host {}

impl error::HostError for Host {
    fn drop(&mut self, error: Resource<error::Error>) -> Result<()> {
        self.table.delete(error)?;
        Ok(())
    }

    fn to_debug_string(&mut self, error: Resource<error::Error>) -> Result<String> {
        self.enter(calls::IO_ERROR_ERROR_TO_DEBUG_STRING)?;
        Ok(self.table.get(&error)?.to_string())
    }
}

impl poll::Host for Host {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        self.enter(calls::IO_POLL_POLL)?;
        poll::Host::poll(&mut self.table, pollables).await
    }
}

impl poll::HostPollable for Host {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        self.enter(calls::IO_POLL_POLLABLE_BLOCK)?;
        poll::HostPollable::block(&mut self.table, pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        self.enter(calls::IO_POLL_POLLABLE_READY)?;
        poll::HostPollable::ready(&mut self.table, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl streams::Host for Host {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<streams::StreamError> {
        streams::Host::convert_stream_error(&mut self.table, error)
    }
}

impl Host {
    /// Counts the call and hands out the table, where wasmtime-wasi-io does the rest.
    fn io(&mut self, call: AmbitCall) -> StreamResult<&mut ResourceTable> {
        self.enter(call).map_err(|ended| StreamError::Trap(ended.into()))?;
        Ok(&mut self.table)
    }

    /// A length that wasmtime-wasi-io may allocate for.
    fn most(&self, size: u64) -> u64 {
        self.clamp(size) as u64
    }
}

impl streams::HostInputStream for Host {
    fn read(&mut self, stream: Resource<DynInputStream>, size: u64) -> StreamResult<Vec<u8>> {
        let size = self.most(size);
        streams::HostInputStream::read(self.io(calls::IO_STREAMS_INPUT_STREAM_READ)?, stream, size)
    }

    async fn blocking_read(&mut self, stream: Resource<DynInputStream>, size: u64) -> StreamResult<Vec<u8>> {
        let size = self.most(size);
        let table = self.io(calls::IO_STREAMS_INPUT_STREAM_BLOCKING_READ)?;
        streams::HostInputStream::blocking_read(table, stream, size).await
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, size: u64) -> StreamResult<u64> {
        let size = self.most(size);
        streams::HostInputStream::skip(self.io(calls::IO_STREAMS_INPUT_STREAM_SKIP)?, stream, size)
    }

    async fn blocking_skip(&mut self, stream: Resource<DynInputStream>, size: u64) -> StreamResult<u64> {
        let size = self.most(size);
        let table = self.io(calls::IO_STREAMS_INPUT_STREAM_BLOCKING_SKIP)?;
        streams::HostInputStream::blocking_skip(table, stream, size).await
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> Result<Resource<DynPollable>> {
        self.enter(calls::IO_STREAMS_INPUT_STREAM_SUBSCRIBE)?;
        streams::HostInputStream::subscribe(&mut self.table, stream)
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> Result<()> {
        streams::HostInputStream::drop(&mut self.table, stream).await
    }
}

impl streams::HostOutputStream for Host {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(self.io(calls::IO_STREAMS_OUTPUT_STREAM_CHECK_WRITE)?, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        streams::HostOutputStream::write(self.io(calls::IO_STREAMS_OUTPUT_STREAM_WRITE)?, stream, bytes)
    }

    async fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        let table = self.io(calls::IO_STREAMS_OUTPUT_STREAM_BLOCKING_WRITE_AND_FLUSH)?;
        streams::HostOutputStream::blocking_write_and_flush(table, stream, bytes).await
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(self.io(calls::IO_STREAMS_OUTPUT_STREAM_FLUSH)?, stream)
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        let table = self.io(calls::IO_STREAMS_OUTPUT_STREAM_BLOCKING_FLUSH)?;
        streams::HostOutputStream::blocking_flush(table, stream).await
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> Result<Resource<DynPollable>> {
        self.enter(calls::IO_STREAMS_OUTPUT_STREAM_SUBSCRIBE)?;
        streams::HostOutputStream::subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, size: u64) -> StreamResult<()> {
        let table = self.io(calls::IO_STREAMS_OUTPUT_STREAM_WRITE_ZEROES)?;
        if size > CHUNK as u64 {
            return Err(StreamError::trap("write-zeroes exceeded what check-write permitted"));
        }
        streams::HostOutputStream::write_zeroes(table, stream, size)
    }

    async fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, size: u64) -> StreamResult<()> {
        let table = self.io(calls::IO_STREAMS_OUTPUT_STREAM_BLOCKING_WRITE_ZEROES_AND_FLUSH)?;
        if size > BLOCKING_WRITE_MAX {
            return Err(StreamError::trap("blocking-write-zeroes-and-flush takes at most 4096"));
        }
        streams::HostOutputStream::blocking_write_zeroes_and_flush(table, stream, size).await
    }

    fn splice(
        &mut self,
        output: Resource<DynOutputStream>,
        input: Resource<DynInputStream>,
        size: u64,
    ) -> StreamResult<u64> {
        let size = self.most(size);
        let table = self.io(calls::IO_STREAMS_OUTPUT_STREAM_SPLICE)?;
        streams::HostOutputStream::splice(table, output, input, size)
    }

    async fn blocking_splice(
        &mut self,
        output: Resource<DynOutputStream>,
        input: Resource<DynInputStream>,
        size: u64,
    ) -> StreamResult<u64> {
        let size = self.most(size);
        let table = self.io(calls::IO_STREAMS_OUTPUT_STREAM_BLOCKING_SPLICE)?;
        streams::HostOutputStream::blocking_splice(table, output, input, size).await
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> Result<()> {
        streams::HostOutputStream::drop(&mut self.table, stream).await
    }
}
