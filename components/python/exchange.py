# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange over wasi:http: a request that goes out, its body, the response that comes back.

Nothing here knows http.client: `wire.py` stands between. An `Exchange` owns its handles and gives them back in the order that WASI
wants, children before parents, also when nobody closes it. Errors are what a script would get from sockets, so that what it
catches natively it catches here (`error_of`); a refusal by Ambit is a PermissionError whose text says so.

Time-outs are those of a socket: each wait has its own. The host is told them as well, because only it can tell connecting from
answering; it has the first word, the clock here the last.
"""

import errno
import http.client
import socket
import ssl

from wit_world.imports import monotonic_clock, outgoing_handler, poll, streams, types
from componentize_py_types import Err, Ok

DENIED = ("denied by Ambit: no http grant of this run allows {method} {url}; `ambit run` prints the smallest grant that does "
          "(--net 'METHOD URL', or a grant of class http)")
PROHIBITED = ("denied by Ambit: {host} resolves to an address that is not public; the http grant must name it under `addresses`")
CHUNK = 64 << 10

# What only a server that was reached can cause: these come with the response, not with the request.
ANSWERED = (types.ErrorCode_ConnectionTerminated, types.ErrorCode_ConnectionReadTimeout, types.ErrorCode_HttpResponseTimeout,
            types.ErrorCode_HttpResponseIncomplete, types.ErrorCode_HttpResponseHeaderSectionSize,
            types.ErrorCode_HttpResponseHeaderSize, types.ErrorCode_HttpResponseBodySize,
            types.ErrorCode_HttpResponseTrailerSectionSize, types.ErrorCode_HttpResponseTrailerSize,
            types.ErrorCode_HttpResponseTransferCoding, types.ErrorCode_HttpResponseContentCoding,
            types.ErrorCode_HttpProtocolError)
# The body ended before its end.
CUT_SHORT = (types.ErrorCode_ConnectionTerminated, types.ErrorCode_HttpResponseIncomplete, types.ErrorCode_HttpProtocolError)
TIMEOUTS = (types.ErrorCode_ConnectionTimeout, types.ErrorCode_ConnectionReadTimeout, types.ErrorCode_ConnectionWriteTimeout,
            types.ErrorCode_HttpResponseTimeout)
METHODS = {name: getattr(types, "Method_" + name.title()) for name in
           ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")}


def drop(handle):
    if handle is not None and handle.finalizer.alive:  # the bindings' own exit handler drops what is left when a script ends
        handle.__exit__(None, None, None)


def timed_out():
    return TimeoutError("timed out")


def wait(seconds, *sources):
    """Waits until one of `sources` (things with subscribe()) has something; False when `seconds` passed before. None = for ever."""
    pollables = [s.subscribe() for s in sources]
    try:
        if seconds is not None:
            pollables.append(monotonic_clock.subscribe_duration(max(0, int(seconds * 1e9))))
        ready = poll.poll(pollables)
        return any(i < len(sources) for i in ready)
    finally:
        for p in pollables:
            drop(p)


def words(code):
    """HttpRequestUriInvalid → "HTTP request URI invalid"."""
    name = type(code).__name__.partition("_")[2]
    text = "".join(" " + c.lower() if c.isupper() else c for c in name).strip()
    return text.replace("http", "HTTP").replace("uri", "URI").replace("tls", "TLS").replace("dns", "DNS").replace(" ip ", " IP ")


def dns_error(_code, _about):
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def certificate_error(_code, about):
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed ({about['host']})")
    error.reason, error.library = "CERTIFICATE_VERIFY_FAILED", "SSL"
    return error


def tls_error(code, _about):
    alert = getattr(getattr(code, "value", None), "alert_message", None)
    return ssl.SSLError(1, f"[SSL] {alert or words(code)}")


def os_error(number, text=None):
    def make(code, _about):
        return OSError(number, text or words(code))  # OSError picks the subclass: ConnectionRefusedError, PermissionError …
    return make


def too_large(code, _about):
    return OSError(errno.EFBIG, f"{words(code)}: larger than the grant or a limit of Ambit allows")


def other_error(code, _about):
    text = getattr(code, "value", None)
    return OSError(errno.EIO, f"{words(code)}: {text}" if isinstance(text, str) else words(code))


ERRORS = {
    types.ErrorCode_DnsTimeout: lambda *_: socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    types.ErrorCode_DnsError: dns_error,
    types.ErrorCode_DestinationNotFound: dns_error,
    types.ErrorCode_DestinationUnavailable: os_error(errno.EHOSTUNREACH, "No route to host"),
    types.ErrorCode_DestinationIpUnroutable: os_error(errno.ENETUNREACH, "Network is unreachable"),
    types.ErrorCode_DestinationIpProhibited: lambda _, about: PermissionError(errno.EACCES, PROHIBITED.format(**about)),
    types.ErrorCode_HttpRequestDenied: lambda _, about: PermissionError(errno.EACCES, DENIED.format(**about)),
    types.ErrorCode_ConnectionRefused: os_error(errno.ECONNREFUSED, "Connection refused"),
    types.ErrorCode_ConnectionTerminated: lambda *_: http.client.RemoteDisconnected("Remote end closed connection without response"),
    types.ErrorCode_HttpResponseIncomplete: lambda *_: http.client.RemoteDisconnected("Remote end closed connection without response"),
    types.ErrorCode_HttpProtocolError: lambda *_: http.client.BadStatusLine("the answer is not HTTP"),
    types.ErrorCode_HttpResponseTransferCoding: lambda code, _: http.client.UnknownTransferEncoding(code.value),
    types.ErrorCode_TlsProtocolError: tls_error,
    types.ErrorCode_TlsAlertReceived: tls_error,
    types.ErrorCode_TlsCertificateError: certificate_error,
    types.ErrorCode_HttpRequestUriInvalid: lambda _, about: http.client.InvalidURL(f"{about['url']!r} is not a valid URL"),
    types.ErrorCode_HttpRequestUriTooLong: os_error(errno.EMSGSIZE),
    types.ErrorCode_HttpRequestBodySize: too_large,
    types.ErrorCode_HttpRequestHeaderSize: too_large,
    types.ErrorCode_HttpRequestHeaderSectionSize: too_large,
    types.ErrorCode_HttpResponseBodySize: too_large,
    types.ErrorCode_HttpResponseHeaderSize: too_large,
    types.ErrorCode_HttpResponseHeaderSectionSize: too_large,
}


def error_of(code, about):
    """What a script catches for this error code; `about`: method, url and host."""
    if isinstance(code, TIMEOUTS):
        return timed_out()
    return ERRORS.get(type(code), other_error)(code, about)


def make_headers(fields, url):
    headers = types.Fields()
    for name, value in fields:
        try:
            headers.append(name, value)
        except Err as e:
            if isinstance(e.value, types.HeaderError_InvalidSyntax):
                raise ValueError(f"Invalid header {name!r}: {value!r}") from None
            raise PermissionError(errno.EACCES, f"denied by Ambit: a sandboxed program does not choose the header {name!r} ({url})") from None
    return headers


class Exchange:
    """From the request's head on. `timeout`: seconds of each wait, or None."""

    def __init__(self, method, secure, authority, target, fields, has_body, timeout):
        self.timeout = timeout
        url = f"{'https' if secure else 'http'}://{authority}{target}"
        self.about = {"method": method, "url": url.partition("?")[0], "host": authority}
        self.future = self.answer = self.body = self.stream = self.sink = self.sending = None
        self.status, self.fields, self.answered = None, [], False
        self.failure = None  # raised when the response is asked for; the host may have it before it has sent anything
        self.request(method, secure, authority, target, fields, has_body)

    def request(self, method, secure, authority, target, fields, has_body):
        request = types.OutgoingRequest(make_headers(fields, self.about["url"]))
        try:
            request.set_method(METHODS[method]() if method in METHODS else types.Method_Other(method))
            request.set_scheme(types.Scheme_Https() if secure else types.Scheme_Http())
            request.set_authority(authority)
            request.set_path_with_query(target)
        except Err:
            drop(request)
            raise http.client.InvalidURL(f"{method} {self.about['url']!r} is not a request that HTTP can carry") from None
        self.sending = request.body()
        if has_body:
            self.sink = self.sending.write()
        try:
            self.future = outgoing_handler.handle(request, self.options())
        except Err as e:
            self.close()
            self.failure = error_of(e.value, self.about)
            if not isinstance(e.value, ANSWERED):
                raise self.failure from None

    def options(self):
        if self.timeout is None:
            return None
        options = types.RequestOptions()
        duration = max(1, int(self.timeout * 1e9))
        for put in (options.set_connect_timeout, options.set_first_byte_timeout, options.set_between_bytes_timeout):
            try:
                put(duration)
            except Err:
                pass  # a host that does not offer it; the waits here have the same time-out
        return options

    # ---- the request's body

    def write(self, data):
        """All of `data`, as fast as the other side takes it."""
        view = memoryview(data)
        while view and self.sink is not None:
            try:
                size = min(self.sink.check_write(), len(view), CHUNK)
                if size:
                    self.sink.write(bytes(view[:size]))
            except Err:
                self.unwritable()
            view = view[size:]
            if not size and not wait(self.timeout, self.sink):
                raise timed_out()

    def unwritable(self):
        """The body is not wanted any more: an error that came before the response says why."""
        if self.arrive() and self.failure is not None:
            raise self.failure
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def finish(self):
        """The request is whole. Waits for the response's head: WASI has no connection that could fail before. What goes wrong
        before a server answers is raised here, as natively; the rest when the response is asked for."""
        if self.sending is None:
            return
        if self.sink is not None:
            self.flush()
        sending, self.sending = self.sending, None
        try:
            types.OutgoingBody.finish(sending, None)
        except Err as e:
            raise error_of(e.value, self.about) from None
        if not self.arrive(wait_for_it=True):
            self.failure = timed_out()
        elif self.failure is not None and not self.answered:
            raise self.failure

    def flush(self):
        """What was written must have left before the stream may be dropped."""
        try:
            self.sink.flush()
            while self.sink.check_write() == 0:
                if not wait(self.timeout, self.sink):
                    raise timed_out()
        except Err:
            pass  # a server may answer before it has read everything; what is wrong comes with the response
        drop(self.sink)
        self.sink = None

    # ---- the response

    def arrive(self, wait_for_it=False):
        """Takes the response's head, or the failure in its place; False when there is none (yet)."""
        # Connecting and answering have the time-out each, and the host tells them apart; this clock only catches a host that does not.
        patience = None if self.timeout is None else 2 * self.timeout + 1
        if wait_for_it and not wait(patience, self.future):
            return False
        result = self.future.get()
        if result is None:
            return False
        self.answered = True
        inner = result.value
        if isinstance(inner, Ok):
            self.take(inner.value)
        else:
            self.answered = isinstance(inner.value, ANSWERED)
            self.failure = error_of(inner.value, self.about)
        return True

    def take(self, answer):
        self.answer = answer
        self.status = answer.status()
        headers = answer.headers()
        self.fields = headers.entries()
        drop(headers)
        self.body = answer.consume()
        self.stream = self.body.stream()

    def read(self, size):
        """Up to `size` bytes of the body, b"" at its end; raises EOFError where it was cut short."""
        if self.stream is None:
            return b""
        try:
            while True:
                data = self.stream.read(size) if self.timeout is not None else self.stream.blocking_read(size)
                if data:
                    return data
                if self.timeout is not None and not wait(self.timeout, self.stream):
                    raise timed_out()
        except Err as e:
            return self.ended(e.value)

    def ended(self, error):
        if isinstance(error, streams.StreamError_Closed):
            return b""
        code = types.http_error_code(error.value)
        text = error.value.to_debug_string()
        drop(error.value)
        if code is None and "timeout" in text:  # the wasmtime CLI has no code for what happens to a body
            raise timed_out()
        if code is None or isinstance(code, CUT_SHORT):
            raise EOFError(text)
        raise error_of(code, self.about)

    def close(self):
        for name in ("sink", "sending", "stream", "body", "answer", "future"):
            handle, self.__dict__[name] = self.__dict__.get(name), None
            drop(handle)

    def __del__(self):
        self.close()
