// SPDX-License-Identifier: Apache-2.0
//! wasi:http: errors, options of requests, and sending one. Resources of our own, in four files:
//!
//! ```text
//!   http_fields.rs     fields: heads and trailers
//!   http_message.rs    the four messages, the response that may come, the place where a response goes
//!   http_body.rs       bodies both ways, trailers
//!   http_syntax.rs     what a guest may say in a head
//! ```
//!
//! Who owns what: C's handle of an outgoing exchange (`Exchange`) moves with what the guest keeps of the response: future → response → body →
//! trailers; dropped there, it is dropped in C. The handle of an incoming exchange is the task's (`Host::incoming`), because a response is
//! still written when request and outparam are gone. A body that is written has two ends, `Written` in the resource and `Attached` in its
//! message, each of which tells C once. Streams of bodies are children of their body in the resource table, and own nothing.
//!
//! Where the WIT's text is silent this is as Wasmtime 48 behaves, and in one place where it is not: headers outlive their message instead of
//! making its drop trap (docs/decisions/012).

use super::bindings::wasi::http::outgoing_handler;
use super::bindings::wasi::http::types::{self, DnsErrorPayload, ErrorCode, FieldSizePayload, Method, Scheme, TlsAlertReceivedPayload};
use super::http_message::{FutureResponse, OutgoingRequest};
use super::http_syntax::whole_target;
use super::{http_fields::HeaderError, text};
use crate::abi::*;
use crate::calls;
use crate::host::Host;
use crate::shared::{Ended, Shared};
use std::sync::Arc;
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime::{Error, Result};
use wasmtime_wasi_io::streams::StreamError;

pub enum HttpError {
    Code(ErrorCode),
    Trap(Error),
}

pub type HttpResult<T> = std::result::Result<T, HttpError>;

impl From<Ended> for HttpError {
    fn from(ended: Ended) -> HttpError {
        HttpError::Trap(ended.into())
    }
}

impl From<ResourceTableError> for HttpError {
    fn from(error: ResourceTableError) -> HttpError {
        HttpError::Trap(error.into())
    }
}

impl From<ErrorCode> for HttpError {
    fn from(code: ErrorCode) -> HttpError {
        HttpError::Code(code)
    }
}

// ---- exchanges ---------------------------------------------------------------------------------------------------------------------

/// C's handle of an outgoing exchange.
pub struct Exchange {
    pub shared: Arc<Shared>,
    pub id: u32,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // SAFETY: C's function with C's context, on the task's thread; the handle is given back once.
        unsafe { (self.shared.vtbl().http_drop)(self.shared.host(), self.id) }
    }
}

// ---- errors ------------------------------------------------------------------------------------------------------------------------

fn some_text(bytes: AmbitBytes) -> Option<String> {
    (bytes.size > 0).then(|| text(bytes))
}

fn number<T: TryFrom<u64>>(number: u64) -> Option<T> {
    if number == u64::MAX { None } else { T::try_from(number).ok() }
}

/// What C said. A code that does not exist is an internal error.
pub fn error_code(error: &AmbitHttpError) -> ErrorCode {
    use ErrorCode::*;
    let field = || FieldSizePayload { field_name: some_text(error.text), field_size: number(error.number) };
    match error.code {
        1 => DnsTimeout,
        2 => DnsError(DnsErrorPayload { rcode: some_text(error.text), info_code: number(error.number) }),
        3 => DestinationNotFound,
        4 => DestinationUnavailable,
        5 => DestinationIpProhibited,
        6 => DestinationIpUnroutable,
        7 => ConnectionRefused,
        8 => ConnectionTerminated,
        9 => ConnectionTimeout,
        10 => ConnectionReadTimeout,
        11 => ConnectionWriteTimeout,
        12 => ConnectionLimitReached,
        13 => TlsProtocolError,
        14 => TlsCertificateError,
        15 => TlsAlertReceived(TlsAlertReceivedPayload { alert_id: number(error.number), alert_message: some_text(error.text) }),
        16 => HttpRequestDenied,
        17 => HttpRequestLengthRequired,
        18 => HttpRequestBodySize(number(error.number)),
        19 => HttpRequestMethodInvalid,
        20 => HttpRequestUriInvalid,
        21 => HttpRequestUriTooLong,
        22 => HttpRequestHeaderSectionSize(number(error.number)),
        23 => HttpRequestHeaderSize((error.text.size > 0 || error.number != u64::MAX).then(field)),
        24 => HttpRequestTrailerSectionSize(number(error.number)),
        25 => HttpRequestTrailerSize(field()),
        26 => HttpResponseIncomplete,
        27 => HttpResponseHeaderSectionSize(number(error.number)),
        28 => HttpResponseHeaderSize(field()),
        29 => HttpResponseBodySize(number(error.number)),
        30 => HttpResponseTrailerSectionSize(number(error.number)),
        31 => HttpResponseTrailerSize(field()),
        32 => HttpResponseTransferCoding(some_text(error.text)),
        33 => HttpResponseContentCoding(some_text(error.text)),
        34 => HttpResponseTimeout,
        35 => HttpUpgradeFailed,
        36 => HttpProtocolError,
        37 => LoopDetected,
        38 => ConfigurationError,
        _ => InternalError(some_text(error.text)),
    }
}

/// For C; the text lives in `code`.
pub fn error_for_c(code: &ErrorCode) -> AmbitHttpError {
    use ErrorCode::*;
    type Parts<'a> = (u32, Option<&'a String>, Option<u64>);
    let field = |n: u32, f: &FieldSizePayload| -> AmbitHttpError { for_c((n, f.field_name.as_ref(), f.field_size.map(u64::from))) };
    fn for_c((code, text, number): Parts<'_>) -> AmbitHttpError {
        let text = text.map_or(AmbitBytes::EMPTY, |t| AmbitBytes::of(t.as_bytes()));
        AmbitHttpError { code, text, number: number.unwrap_or(u64::MAX) }
    }
    for_c(match code {
        DnsTimeout => (1, None, None),
        DnsError(d) => (2, d.rcode.as_ref(), d.info_code.map(u64::from)),
        DestinationNotFound => (3, None, None),
        DestinationUnavailable => (4, None, None),
        DestinationIpProhibited => (5, None, None),
        DestinationIpUnroutable => (6, None, None),
        ConnectionRefused => (7, None, None),
        ConnectionTerminated => (8, None, None),
        ConnectionTimeout => (9, None, None),
        ConnectionReadTimeout => (10, None, None),
        ConnectionWriteTimeout => (11, None, None),
        ConnectionLimitReached => (12, None, None),
        TlsProtocolError => (13, None, None),
        TlsCertificateError => (14, None, None),
        TlsAlertReceived(t) => (15, t.alert_message.as_ref(), t.alert_id.map(u64::from)),
        HttpRequestDenied => (16, None, None),
        HttpRequestLengthRequired => (17, None, None),
        HttpRequestBodySize(n) => (18, None, *n),
        HttpRequestMethodInvalid => (19, None, None),
        HttpRequestUriInvalid => (20, None, None),
        HttpRequestUriTooLong => (21, None, None),
        HttpRequestHeaderSectionSize(n) => (22, None, n.map(u64::from)),
        HttpRequestHeaderSize(Some(f)) => return field(23, f),
        HttpRequestHeaderSize(None) => (23, None, None),
        HttpRequestTrailerSectionSize(n) => (24, None, n.map(u64::from)),
        HttpRequestTrailerSize(f) => return field(25, f),
        HttpResponseIncomplete => (26, None, None),
        HttpResponseHeaderSectionSize(n) => (27, None, n.map(u64::from)),
        HttpResponseHeaderSize(f) => return field(28, f),
        HttpResponseBodySize(n) => (29, None, *n),
        HttpResponseTrailerSectionSize(n) => (30, None, n.map(u64::from)),
        HttpResponseTrailerSize(f) => return field(31, f),
        HttpResponseTransferCoding(t) => (32, t.as_ref(), None),
        HttpResponseContentCoding(t) => (33, t.as_ref(), None),
        HttpResponseTimeout => (34, None, None),
        HttpUpgradeFailed => (35, None, None),
        HttpProtocolError => (36, None, None),
        LoopDetected => (37, None, None),
        ConfigurationError => (38, None, None),
        InternalError(t) => (39, t.as_ref(), None),
    })
}

/// An answer of C: 0, 1 with an error, or the end of the guest.
pub fn answered(shared: &Shared, answer: i32, error: &AmbitHttpError) -> HttpResult<()> {
    match answer {
        0 => Ok(()),
        1.. => Err(error_code(error).into()),
        _ => Err(shared.end().into()),
    }
}

/// After AMBIT_STREAM_FAILED of an exchange or a body. The guest can ask for the code with http-error-code.
pub fn stream_error(shared: &Shared, stream: u32) -> Option<StreamError> {
    let mut error = AmbitHttpError::NONE;
    // SAFETY: C's function with C's context; the text is copied at once.
    let is_http = unsafe { (shared.vtbl().http_stream_error)(shared.host(), stream, &mut error) };
    is_http.then(|| StreamError::LastOperationFailed(error_code(&error).into()))
}

// ---- the interfaces ----------------------------------------------------------------------------------------------------------------

impl types::Host for Host {
    fn convert_error_code(&mut self, error: HttpError) -> Result<ErrorCode> {
        match error {
            HttpError::Code(code) => Ok(code),
            HttpError::Trap(error) => Err(error),
        }
    }

    fn convert_header_error(&mut self, error: HeaderError) -> Result<types::HeaderError> {
        match error {
            HeaderError::Refused(refusal) => Ok(refusal),
            HeaderError::Trap(error) => Err(error),
        }
    }

    fn http_error_code(&mut self, error: Resource<Error>) -> Result<Option<ErrorCode>> {
        self.enter(calls::HTTP_HTTP_ERROR_CODE)?;
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().cloned())
    }
}

/// Nanoseconds each.
#[derive(Clone, Copy, Default)]
pub struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
}

impl types::HostRequestOptions for Host {
    fn new(&mut self) -> Result<Resource<RequestOptions>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_NEW)?;
        Ok(self.table.push(RequestOptions::default())?)
    }

    fn connect_timeout(&mut self, options: Resource<RequestOptions>) -> Result<Option<u64>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_CONNECT_TIMEOUT)?;
        Ok(self.table.get(&options)?.connect)
    }

    fn set_connect_timeout(&mut self, options: Resource<RequestOptions>, ns: Option<u64>) -> Result<std::result::Result<(), ()>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_SET_CONNECT_TIMEOUT)?;
        self.table.get_mut(&options)?.connect = ns;
        Ok(Ok(()))
    }

    fn first_byte_timeout(&mut self, options: Resource<RequestOptions>) -> Result<Option<u64>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_FIRST_BYTE_TIMEOUT)?;
        Ok(self.table.get(&options)?.first_byte)
    }

    fn set_first_byte_timeout(&mut self, options: Resource<RequestOptions>, ns: Option<u64>) -> Result<std::result::Result<(), ()>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_SET_FIRST_BYTE_TIMEOUT)?;
        self.table.get_mut(&options)?.first_byte = ns;
        Ok(Ok(()))
    }

    fn between_bytes_timeout(&mut self, options: Resource<RequestOptions>) -> Result<Option<u64>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_BETWEEN_BYTES_TIMEOUT)?;
        Ok(self.table.get(&options)?.between_bytes)
    }

    fn set_between_bytes_timeout(&mut self, options: Resource<RequestOptions>, ns: Option<u64>) -> Result<std::result::Result<(), ()>> {
        self.enter(calls::HTTP_REQUEST_OPTIONS_SET_BETWEEN_BYTES_TIMEOUT)?;
        self.table.get_mut(&options)?.between_bytes = ns;
        Ok(Ok(()))
    }

    fn drop(&mut self, options: Resource<RequestOptions>) -> Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}

pub fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

/// 1 or 2 for C. Without one it is https, as in Wasmtime.
fn scheme_number(scheme: Option<&Scheme>) -> Option<u32> {
    match scheme {
        None | Some(Scheme::Https) => Some(2),
        Some(Scheme::Http) => Some(1),
        Some(Scheme::Other(name)) if name.eq_ignore_ascii_case("https") => Some(2),
        Some(Scheme::Other(name)) if name.eq_ignore_ascii_case("http") => Some(1),
        Some(Scheme::Other(_)) => None,
    }
}

impl outgoing_handler::Host for Host {
    fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> HttpResult<Resource<FutureResponse>> {
        self.enter(calls::HTTP_OUTGOING_HANDLER_HANDLE)?;
        // Owned by this call, whatever comes of it.
        let options = match options {
            Some(options) => self.table.delete(options)?,
            None => RequestOptions::default(),
        };
        let mut request = self.table.delete(request)?;
        if request.body.is_none() && request.rows.content_length().is_some_and(|n| n != 0) {
            return Err(ErrorCode::HttpRequestBodySize(Some(0)).into());
        }
        let Some(scheme) = scheme_number(request.scheme.as_ref()) else {
            return Err(ErrorCode::HttpProtocolError.into());
        };
        let Some(authority) = request.authority.as_deref() else {
            return Err(ErrorCode::HttpRequestUriInvalid.into());
        };
        let target = whole_target(request.target.as_deref().unwrap_or(""));
        let headers = request.rows.pairs();
        let for_c = AmbitHttpRequest {
            method: AmbitBytes::of(method_name(&request.method).as_bytes()),
            scheme,
            authority: AmbitBytes::of(authority.as_bytes()),
            target: AmbitBytes::of(target.as_bytes()),
            headers: headers.as_ptr(),
            header_count: headers.len(),
            connect_timeout_ns: options.connect.unwrap_or(u64::MAX),
            first_byte_timeout_ns: options.first_byte.unwrap_or(u64::MAX),
            between_bytes_timeout_ns: options.between_bytes.unwrap_or(u64::MAX),
        };
        let body = request.body.take().map_or(0, |b| b.send());
        let (mut id, mut error) = (0, AmbitHttpError::NONE);
        let shared = self.shared.clone();
        // SAFETY: C's function with C's context; texts and pairs live through the call.
        let answer = unsafe { (shared.vtbl().http_send)(shared.host(), &for_c, body, &mut id, &mut error) };
        answered(&shared, answer, &error)?;
        Ok(self.table.push(FutureResponse::new(Exchange { shared, id }))?)
    }
}
