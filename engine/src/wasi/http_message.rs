// SPDX-License-Identifier: Apache-2.0
//! wasi:http messages: requests and responses in both directions, the response that may come, and the place where a response goes.

use super::bindings::wasi::http::types::{self, ErrorCode, Method, Scheme};
use super::http::{Exchange, HttpError, HttpResult, error_code, error_for_c, method_name};
use super::http_body::{Attached, Incoming, IncomingBody, OutgoingBody, Source};
use super::http_fields::{Fields, Rows, Span};
use super::http_syntax::{is_authority, is_scheme, is_target, is_token};
use crate::abi::*;
use crate::calls;
use crate::host::{Charge, Host};
use crate::shared::{Ended, Until};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

type Plain<T> = std::result::Result<T, ()>;

// ---- a request that came in --------------------------------------------------------------------------------------------------------

/// Its head, as C told it: texts and rows in one buffer.
pub struct Head {
    rows: Arc<Rows>,
    method: Span,
    authority: Span,
    target: Span,
    scheme: u32,
}

impl Head {
    /// # Safety
    /// What `r` points to is valid for the call.
    pub unsafe fn copy(charge: Charge, r: &AmbitHttpRequest) -> std::result::Result<Head, Ended> {
        let pairs: &[AmbitPair] = if r.header_count == 0 || r.headers.is_null() {
            &[]
        } else {
            // SAFETY: passed on to the caller.
            unsafe { std::slice::from_raw_parts(r.headers, r.header_count) }
        };
        // SAFETY: passed on to the caller.
        let (method, authority, target) = unsafe { (r.method.slice(), r.authority.slice(), r.target.slice()) };
        let mut rows = Rows::of_pairs(charge, method.len() + authority.len() + target.len(), pairs)?;
        let (method, authority, target) = (rows.text(method), rows.text(authority), rows.text(target));
        Ok(Head { rows: Arc::new(rows), method, authority, target, scheme: r.scheme })
    }

    fn some(&self, span: Span) -> Option<String> {
        let text = self.rows.at(span);
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

pub struct IncomingRequest {
    head: Head,
    /// None: consumed.
    body: Option<Incoming>,
}

impl IncomingRequest {
    pub fn new(head: Head, body: Incoming) -> IncomingRequest {
        IncomingRequest { head, body: Some(body) }
    }
}

fn method_of(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"DELETE" => Method::Delete,
        b"CONNECT" => Method::Connect,
        b"OPTIONS" => Method::Options,
        b"TRACE" => Method::Trace,
        b"PATCH" => Method::Patch,
        other => Method::Other(String::from_utf8_lossy(other).into_owned()),
    }
}

impl types::HostIncomingRequest for Host {
    fn method(&mut self, request: Resource<IncomingRequest>) -> Result<Method> {
        self.enter(calls::HTTP_INCOMING_REQUEST_METHOD)?;
        let head = &self.table.get(&request)?.head;
        Ok(method_of(head.rows.at(head.method)))
    }

    fn path_with_query(&mut self, request: Resource<IncomingRequest>) -> Result<Option<String>> {
        self.enter(calls::HTTP_INCOMING_REQUEST_PATH_WITH_QUERY)?;
        let head = &self.table.get(&request)?.head;
        Ok(head.some(head.target))
    }

    fn scheme(&mut self, request: Resource<IncomingRequest>) -> Result<Option<Scheme>> {
        self.enter(calls::HTTP_INCOMING_REQUEST_SCHEME)?;
        Ok(match self.table.get(&request)?.head.scheme {
            1 => Some(Scheme::Http),
            2 => Some(Scheme::Https),
            _ => None,
        })
    }

    fn authority(&mut self, request: Resource<IncomingRequest>) -> Result<Option<String>> {
        self.enter(calls::HTTP_INCOMING_REQUEST_AUTHORITY)?;
        let head = &self.table.get(&request)?.head;
        Ok(head.some(head.authority))
    }

    fn headers(&mut self, request: Resource<IncomingRequest>) -> Result<Resource<Fields>> {
        self.enter(calls::HTTP_INCOMING_REQUEST_HEADERS)?;
        let fields = Fields::immutable(&self.table.get(&request)?.head.rows);
        Ok(self.table.push(fields)?)
    }

    fn consume(&mut self, request: Resource<IncomingRequest>) -> Result<Plain<Resource<IncomingBody>>> {
        self.enter(calls::HTTP_INCOMING_REQUEST_CONSUME)?;
        let Some(body) = self.table.get_mut(&request)?.body.take() else { return Ok(Err(())) };
        Ok(Ok(self.table.push(IncomingBody::new(Source::Request(body)))?))
    }

    fn drop(&mut self, request: Resource<IncomingRequest>) -> Result<()> {
        self.table.delete(request)?;
        Ok(())
    }
}

// ---- a request that goes out -------------------------------------------------------------------------------------------------------

pub struct OutgoingRequest {
    pub method: Method,
    pub scheme: Option<Scheme>,
    pub authority: Option<String>,
    pub target: Option<String>,
    pub rows: Arc<Rows>,
    /// Some once the guest took it; a second one is refused.
    pub body: Option<Attached>,
    /// For the texts.
    charge: Charge,
}

impl types::HostOutgoingRequest for Host {
    fn new(&mut self, headers: Resource<Fields>) -> Result<Resource<OutgoingRequest>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_NEW)?;
        let rows = self.table.delete(headers)?.into_rows();
        let charge = self.charge();
        let request = OutgoingRequest { method: Method::Get, scheme: None, authority: None, target: None, rows, body: None, charge };
        Ok(self.table.push(request)?)
    }

    fn body(&mut self, request: Resource<OutgoingRequest>) -> Result<Plain<Resource<OutgoingBody>>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_BODY)?;
        let there = self.table.get(&request)?;
        if there.body.is_some() {
            return Ok(Err(()));
        }
        let rows = there.rows.clone();
        let (body, attached) = self.new_body(&rows, false)?;
        self.table.get_mut(&request)?.body = Some(attached);
        Ok(Ok(self.table.push(body)?))
    }

    fn method(&mut self, request: Resource<OutgoingRequest>) -> Result<Method> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_METHOD)?;
        Ok(self.table.get(&request)?.method.clone())
    }

    fn set_method(&mut self, request: Resource<OutgoingRequest>, method: Method) -> Result<Plain<()>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_SET_METHOD)?;
        let there = self.table.get_mut(&request)?;
        if !is_token(method_name(&method).as_bytes()) {
            return Ok(Err(()));
        }
        there.charge.more(method_name(&method).len() as u64)?;
        there.method = method;
        Ok(Ok(()))
    }

    fn path_with_query(&mut self, request: Resource<OutgoingRequest>) -> Result<Option<String>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_PATH_WITH_QUERY)?;
        Ok(self.table.get(&request)?.target.clone())
    }

    fn set_path_with_query(&mut self, request: Resource<OutgoingRequest>, target: Option<String>) -> Result<Plain<()>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_SET_PATH_WITH_QUERY)?;
        let there = self.table.get_mut(&request)?;
        if target.as_deref().is_some_and(|t| !is_target(t)) {
            return Ok(Err(()));
        }
        there.charge.more(target.as_ref().map_or(0, |t| t.len() as u64))?;
        there.target = target;
        Ok(Ok(()))
    }

    fn scheme(&mut self, request: Resource<OutgoingRequest>) -> Result<Option<Scheme>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_SCHEME)?;
        Ok(self.table.get(&request)?.scheme.clone())
    }

    fn set_scheme(&mut self, request: Resource<OutgoingRequest>, scheme: Option<Scheme>) -> Result<Plain<()>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_SET_SCHEME)?;
        let there = self.table.get_mut(&request)?;
        if let Some(Scheme::Other(name)) = &scheme
            && !is_scheme(name)
        {
            return Ok(Err(()));
        }
        there.scheme = scheme;
        Ok(Ok(()))
    }

    fn authority(&mut self, request: Resource<OutgoingRequest>) -> Result<Option<String>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_AUTHORITY)?;
        Ok(self.table.get(&request)?.authority.clone())
    }

    fn set_authority(&mut self, request: Resource<OutgoingRequest>, authority: Option<String>) -> Result<Plain<()>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_SET_AUTHORITY)?;
        let there = self.table.get_mut(&request)?;
        if authority.as_deref().is_some_and(|a| !is_authority(a)) {
            return Ok(Err(()));
        }
        there.authority = authority;
        Ok(Ok(()))
    }

    fn headers(&mut self, request: Resource<OutgoingRequest>) -> Result<Resource<Fields>> {
        self.enter(calls::HTTP_OUTGOING_REQUEST_HEADERS)?;
        let fields = Fields::immutable(&self.table.get(&request)?.rows);
        Ok(self.table.push(fields)?)
    }

    fn drop(&mut self, request: Resource<OutgoingRequest>) -> Result<()> {
        self.table.delete(request)?;
        Ok(())
    }
}

// ---- a response that comes in ------------------------------------------------------------------------------------------------------

/// None: taken.
pub struct FutureResponse(Option<Exchange>);

impl FutureResponse {
    pub fn new(exchange: Exchange) -> FutureResponse {
        FutureResponse(Some(exchange))
    }
}

#[async_trait]
impl Pollable for FutureResponse {
    async fn ready(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.shared.wait(Until::Readable(exchange.id)).await;
        }
    }
}

pub struct IncomingResponse {
    status: u16,
    rows: Arc<Rows>,
    /// None: consumed.
    body: Option<Exchange>,
}

impl types::HostFutureIncomingResponse for Host {
    fn subscribe(&mut self, future: Resource<FutureResponse>) -> Result<Resource<DynPollable>> {
        self.enter(calls::HTTP_FUTURE_INCOMING_RESPONSE_SUBSCRIBE)?;
        subscribe(&mut self.table, future)
    }

    fn get(
        &mut self,
        future: Resource<FutureResponse>,
    ) -> Result<Option<Plain<std::result::Result<Resource<IncomingResponse>, ErrorCode>>>> {
        self.enter(calls::HTTP_FUTURE_INCOMING_RESPONSE_GET)?;
        let charge = self.charge();
        let there = self.table.get_mut(&future)?;
        let Some(exchange) = &there.0 else { return Ok(Some(Err(()))) };
        let mut head = AmbitHttpResponse { status: 0, headers: std::ptr::null(), header_count: 0 };
        let mut error = AmbitHttpError::NONE;
        let shared = &exchange.shared;
        // SAFETY: C's function with C's context.
        let answer = unsafe { (shared.vtbl().http_response)(shared.host(), exchange.id, &mut head, &mut error) };
        if answer != AMBIT_READY {
            return Ok(None);
        }
        if error.code != 0 {
            let code = error_code(&error); // before the next call: the texts are C's
            there.0 = None;
            return Ok(Some(Ok(Err(code))));
        }
        let pairs: &[AmbitPair] = if head.header_count == 0 || head.headers.is_null() {
            &[]
        } else {
            // SAFETY: what C returned is valid until the next call; it is copied at once.
            unsafe { std::slice::from_raw_parts(head.headers, head.header_count) }
        };
        let rows = Arc::new(Rows::of_pairs(charge, 0, pairs)?);
        let response = IncomingResponse { status: head.status as u16, rows, body: there.0.take() };
        Ok(Some(Ok(Ok(self.table.push(response)?))))
    }

    fn drop(&mut self, future: Resource<FutureResponse>) -> Result<()> {
        self.table.delete(future)?;
        Ok(())
    }
}

impl types::HostIncomingResponse for Host {
    fn status(&mut self, response: Resource<IncomingResponse>) -> Result<u16> {
        self.enter(calls::HTTP_INCOMING_RESPONSE_STATUS)?;
        Ok(self.table.get(&response)?.status)
    }

    fn headers(&mut self, response: Resource<IncomingResponse>) -> Result<Resource<Fields>> {
        self.enter(calls::HTTP_INCOMING_RESPONSE_HEADERS)?;
        let fields = Fields::immutable(&self.table.get(&response)?.rows);
        Ok(self.table.push(fields)?)
    }

    fn consume(&mut self, response: Resource<IncomingResponse>) -> Result<Plain<Resource<IncomingBody>>> {
        self.enter(calls::HTTP_INCOMING_RESPONSE_CONSUME)?;
        let Some(exchange) = self.table.get_mut(&response)?.body.take() else { return Ok(Err(())) };
        Ok(Ok(self.table.push(IncomingBody::new(Source::Response(exchange)))?))
    }

    fn drop(&mut self, response: Resource<IncomingResponse>) -> Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

// ---- a response that goes out ------------------------------------------------------------------------------------------------------

pub struct OutgoingResponse {
    status: u16,
    rows: Arc<Rows>,
    /// Some once the guest took it.
    body: Option<Attached>,
}

impl types::HostOutgoingResponse for Host {
    fn new(&mut self, headers: Resource<Fields>) -> Result<Resource<OutgoingResponse>> {
        self.enter(calls::HTTP_OUTGOING_RESPONSE_NEW)?;
        let rows = self.table.delete(headers)?.into_rows();
        Ok(self.table.push(OutgoingResponse { status: 200, rows, body: None })?)
    }

    fn status_code(&mut self, response: Resource<OutgoingResponse>) -> Result<u16> {
        self.enter(calls::HTTP_OUTGOING_RESPONSE_STATUS_CODE)?;
        Ok(self.table.get(&response)?.status)
    }

    fn set_status_code(&mut self, response: Resource<OutgoingResponse>, status: u16) -> Result<Plain<()>> {
        self.enter(calls::HTTP_OUTGOING_RESPONSE_SET_STATUS_CODE)?;
        let there = self.table.get_mut(&response)?;
        if !(100..1000).contains(&status) {
            return Ok(Err(()));
        }
        there.status = status;
        Ok(Ok(()))
    }

    fn headers(&mut self, response: Resource<OutgoingResponse>) -> Result<Resource<Fields>> {
        self.enter(calls::HTTP_OUTGOING_RESPONSE_HEADERS)?;
        let fields = Fields::immutable(&self.table.get(&response)?.rows);
        Ok(self.table.push(fields)?)
    }

    fn body(&mut self, response: Resource<OutgoingResponse>) -> Result<Plain<Resource<OutgoingBody>>> {
        self.enter(calls::HTTP_OUTGOING_RESPONSE_BODY)?;
        let there = self.table.get(&response)?;
        if there.body.is_some() {
            return Ok(Err(()));
        }
        let rows = there.rows.clone();
        let (body, attached) = self.new_body(&rows, true)?;
        self.table.get_mut(&response)?.body = Some(attached);
        Ok(Ok(self.table.push(body)?))
    }

    fn drop(&mut self, response: Resource<OutgoingResponse>) -> Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

/// The place where the response goes: C's handle of the incoming exchange, which the task owns. Dropping it says nothing: that nothing was
/// answered C sees when the task is done.
pub struct Outparam(pub u32);

impl Host {
    fn respond(&mut self, exchange: u32, mut response: OutgoingResponse) -> HttpResult<()> {
        let headers = response.rows.pairs();
        let head = AmbitHttpResponse { status: u32::from(response.status), headers: headers.as_ptr(), header_count: headers.len() };
        let body = response.body.take().map_or(0, Attached::send);
        let mut error = AmbitHttpError::NONE;
        let shared = &self.shared;
        // SAFETY: C's function with C's context; texts and pairs live through the call.
        let answer = unsafe { (shared.vtbl().http_respond)(shared.host(), exchange, &head, body, &mut error) };
        super::http::answered(shared, answer, &error)
    }

    fn fail(&self, exchange: u32, code: &ErrorCode) -> Result<()> {
        let error = error_for_c(code);
        // SAFETY: C's function with C's context; the text lives through the call.
        let answer = unsafe { (self.shared.vtbl().http_fail)(self.shared.host(), exchange, &error) };
        if answer < 0 { Err(self.shared.end().into()) } else { Ok(()) }
    }
}

impl types::HostResponseOutparam for Host {
    /// Unstable, not linked.
    fn send_informational(&mut self, _: Resource<Outparam>, _: u16, _: Resource<Fields>) -> HttpResult<()> {
        Err(ErrorCode::InternalError(None).into())
    }

    fn set(&mut self, outparam: Resource<Outparam>, response: std::result::Result<Resource<OutgoingResponse>, ErrorCode>) -> Result<()> {
        self.enter(calls::HTTP_RESPONSE_OUTPARAM_SET)?;
        let Outparam(exchange) = self.table.delete(outparam)?;
        let code = match response {
            Ok(response) => {
                let response = self.table.delete(response)?;
                match self.respond(exchange, response) {
                    Ok(()) => return Ok(()),
                    Err(HttpError::Trap(error)) => return Err(error),
                    Err(HttpError::Code(code)) => code,
                }
            }
            Err(code) => code,
        };
        self.fail(exchange, &code)
    }

    fn drop(&mut self, outparam: Resource<Outparam>) -> Result<()> {
        self.table.delete(outparam)?;
        Ok(())
    }
}
