// SPDX-License-Identifier: Apache-2.0
//! wasi:http bodies. One that comes in is read from its exchange; one that goes out has a handle of its own in C.
//!
//! A body that declares its length is counted here: a write that would pass it fails, and finishing it short fails. So C never sees a
//! message whose length lies.

use super::bindings::wasi::http::types::{self, ErrorCode};
use super::http::{Exchange, HttpResult, answered, error_code};
use super::http_fields::{Fields, Rows};
use super::io::{HostInput, HostOutput, Length};
use crate::abi::*;
use crate::calls;
use crate::host::Host;
use crate::shared::{Shared, Until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

// ---- in ----------------------------------------------------------------------------------------------------------------------------

/// The right to read the body of an exchange, and then its trailers.
pub enum Source {
    /// A response's: the exchange ends with it.
    Response(Exchange),
    /// A request's: the exchange is the task's.
    Request(Incoming),
}

pub struct Incoming {
    pub shared: Arc<Shared>,
    pub id: u32,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // SAFETY: C's function with C's context, on the task's thread; said once.
        unsafe { (self.shared.vtbl().http_discard)(self.shared.host(), self.id) }
    }
}

impl Source {
    fn parts(&self) -> (&Arc<Shared>, u32) {
        match self {
            Source::Response(e) => (&e.shared, e.id),
            Source::Request(i) => (&i.shared, i.id),
        }
    }
}

pub struct IncomingBody {
    source: Source,
    taken: bool,
}

impl IncomingBody {
    pub fn new(source: Source) -> IncomingBody {
        IncomingBody { source, taken: false }
    }
}

impl types::HostIncomingBody for Host {
    fn stream(&mut self, body: Resource<IncomingBody>) -> Result<std::result::Result<Resource<DynInputStream>, ()>> {
        self.enter(calls::HTTP_INCOMING_BODY_STREAM)?;
        let there = self.table.get_mut(&body)?;
        if std::mem::replace(&mut there.taken, true) {
            return Ok(Err(()));
        }
        let id = there.source.parts().1;
        let stream: DynInputStream = Box::new(HostInput::of_exchange(self, id));
        Ok(Ok(self.table.push_child(stream, &body)?))
    }

    fn finish(&mut self, body: Resource<IncomingBody>) -> Result<Resource<FutureTrailers>> {
        self.enter(calls::HTTP_INCOMING_BODY_FINISH)?;
        let body = self.table.delete(body)?; // traps while the stream is alive
        Ok(self.table.push(FutureTrailers(Some(body.source)))?)
    }

    fn drop(&mut self, body: Resource<IncomingBody>) -> Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}

/// None: they were taken.
pub struct FutureTrailers(Option<Source>);

enum Trailers {
    Pending,
    Ready(std::result::Result<Option<Arc<Rows>>, ErrorCode>),
}

/// Asks C; `copy` makes rows of what there is.
fn ask(shared: &Shared, id: u32, copy: impl FnOnce(&[AmbitPair]) -> Result<Option<Arc<Rows>>>) -> Result<Trailers> {
    let (mut pairs, mut count, mut error) = (std::ptr::null(), 0, AmbitHttpError::NONE);
    // SAFETY: C's function with C's context.
    let answer = unsafe { (shared.vtbl().http_trailers)(shared.host(), id, &mut pairs, &mut count, &mut error) };
    if answer != AMBIT_READY {
        return Ok(Trailers::Pending);
    }
    if error.code != 0 {
        return Ok(Trailers::Ready(Err(error_code(&error))));
    }
    if count == 0 || pairs.is_null() {
        return Ok(Trailers::Ready(Ok(None)));
    }
    // SAFETY: what C returned is valid until the next call; it is copied at once.
    copy(unsafe { std::slice::from_raw_parts(pairs, count) }).map(|rows| Trailers::Ready(Ok(rows)))
}

#[async_trait]
impl Pollable for FutureTrailers {
    async fn ready(&mut self) {
        let Some(source) = &self.0 else { return };
        let (shared, id) = source.parts();
        if let Ok(Trailers::Pending) = ask(shared, id, |_| Ok(None)) {
            shared.wait(Until::Readable(id)).await;
        }
    }
}

impl types::HostFutureTrailers for Host {
    fn subscribe(&mut self, trailers: Resource<FutureTrailers>) -> Result<Resource<DynPollable>> {
        self.enter(calls::HTTP_FUTURE_TRAILERS_SUBSCRIBE)?;
        subscribe(&mut self.table, trailers)
    }

    fn get(
        &mut self,
        trailers: Resource<FutureTrailers>,
    ) -> Result<Option<std::result::Result<std::result::Result<Option<Resource<Fields>>, ErrorCode>, ()>>> {
        self.enter(calls::HTTP_FUTURE_TRAILERS_GET)?;
        let charge = self.charge();
        let there = self.table.get_mut(&trailers)?;
        let Some(source) = &there.0 else { return Ok(Some(Err(()))) };
        let (shared, id) = source.parts();
        let answer = ask(shared, id, |pairs| Ok(Some(Arc::new(Rows::of_pairs(charge, 0, pairs)?))))?;
        let Trailers::Ready(result) = answer else { return Ok(None) };
        there.0 = None; // nothing more comes: a response's exchange is over
        let rows = match result {
            Ok(rows) => rows,
            Err(code) => return Ok(Some(Ok(Err(code)))),
        };
        let fields = rows.map(|rows| self.table.push(Fields::immutable(&rows))).transpose()?;
        Ok(Some(Ok(Ok(fields))))
    }

    fn drop(&mut self, trailers: Resource<FutureTrailers>) -> Result<()> {
        self.table.delete(trailers)?;
        Ok(())
    }
}

// ---- out ---------------------------------------------------------------------------------------------------------------------------

/// The message's end of a body.
pub struct Attached {
    shared: Arc<Shared>,
    id: u32,
    sent: bool,
}

impl Attached {
    /// The handle, for the one call that sends the message.
    pub fn send(mut self) -> u32 {
        self.sent = true;
        self.id
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.sent {
            // SAFETY: C's function with C's context, on the task's thread; said once.
            unsafe { (self.shared.vtbl().http_body_unsent)(self.shared.host(), self.id) }
        }
    }
}

/// The writer's end: the resource.
pub struct OutgoingBody {
    shared: Arc<Shared>,
    id: u32,
    length: Option<Length>,
    taken: bool,
    finished: bool,
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        if !self.finished {
            // SAFETY: C's function with C's context, on the task's thread; said once.
            unsafe { (self.shared.vtbl().http_body_abandon)(self.shared.host(), self.id) }
        }
    }
}

impl Host {
    /// A body for a message with these headers: what the guest gets, and what the message keeps.
    pub fn new_body(&mut self, rows: &Rows, of_response: bool) -> Result<(OutgoingBody, Attached)> {
        let declared = rows.content_length();
        let shared = &self.shared;
        // SAFETY: C's function with C's context.
        let id = unsafe { (shared.vtbl().http_body_new)(shared.host(), declared.unwrap_or(u64::MAX)) };
        if id == 0 {
            return Err(shared.end().into());
        }
        let length = declared.map(|declared| Length { declared, written: Arc::new(AtomicU64::new(0)), of_response });
        let attached = Attached { shared: shared.clone(), id, sent: false };
        Ok((OutgoingBody { shared: shared.clone(), id, length, taken: false, finished: false }, attached))
    }
}

impl types::HostOutgoingBody for Host {
    fn write(&mut self, body: Resource<OutgoingBody>) -> Result<std::result::Result<Resource<DynOutputStream>, ()>> {
        self.enter(calls::HTTP_OUTGOING_BODY_WRITE)?;
        let there = self.table.get_mut(&body)?;
        if std::mem::replace(&mut there.taken, true) {
            return Ok(Err(()));
        }
        let (id, length) = (there.id, there.length.clone());
        let stream: DynOutputStream = Box::new(HostOutput::of_body(self, id, length));
        Ok(Ok(self.table.push_child(stream, &body)?))
    }

    fn finish(&mut self, body: Resource<OutgoingBody>, trailers: Option<Resource<Fields>>) -> HttpResult<()> {
        self.enter(calls::HTTP_OUTGOING_BODY_FINISH)?;
        let mut body = self.table.delete(body)?; // traps while the stream is alive
        let trailers = trailers.map(|t| self.table.delete(t)).transpose()?.map(Fields::into_rows);
        if let Some(length) = &body.length {
            let written = length.written.load(Ordering::Relaxed);
            if written != length.declared {
                return Err(length.error(written).into()); // and is abandoned
            }
        }
        let pairs = trailers.as_ref().map(|rows| rows.pairs()).unwrap_or_default();
        let mut error = AmbitHttpError::NONE;
        body.finished = true;
        let shared = &body.shared;
        // SAFETY: C's function with C's context; pairs and their texts live through the call.
        let answer = unsafe { (shared.vtbl().http_body_finish)(shared.host(), body.id, pairs.as_ptr(), pairs.len(), &mut error) };
        answered(shared, answer, &error)
    }

    fn drop(&mut self, body: Resource<OutgoingBody>) -> Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}

impl Length {
    /// For a body of which `written` bytes were written, or were to be.
    pub fn error(&self, written: u64) -> ErrorCode {
        if self.of_response { ErrorCode::HttpResponseBodySize(Some(written)) } else { ErrorCode::HttpRequestBodySize(Some(written)) }
    }
}
