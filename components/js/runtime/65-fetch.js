// SPDX-License-Identifier: Apache-2.0
// Headers, Request, Response and fetch (Fetch Standard, as far as a program without a page has use for it) over wasi:http.
//
// One exchange is one request to the host, which decides it against the grants. A redirect is followed here, as a new exchange: decided
// anew, at most 20 times. Bodies stream both ways: a request body is written while the host takes it, a response body is read when the
// script asks for it. Contents that are compressed stay so, and none are asked for.

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function headerName(name) {
  name = `${name}`;
  if (!TOKEN.test(name)) throw new TypeError(`Headers: ${quoteString(name)} is an invalid header name.`);
  return name.toLowerCase();
}
const BLANK = "\t\n\r ";
function headerValue(value) {
  value = `${value}`;
  if (BLANK.includes(value.at(0) ?? "x") || BLANK.includes(value.at(-1) ?? "x")) value = value.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (/[\0\r\n\u0100-\uffff]/.test(value)) throw new TypeError(`Headers: ${quoteString(value)} is an invalid header value.`);
  return value;
}

class Headers {
  #map = new Map(); // name → value, or an array for set-cookie
  #frozen = false;
  constructor(init) {
    if (init === undefined) return;
    if (init === null || typeof init !== "object") throw new TypeError("Headers: the argument must be an object or an iterable of pairs");
    const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
    for (const pair of pairs) {
      const [name, value, ...rest] = pair;
      if (value === undefined && pair.length < 2 || rest.length > 0) throw new TypeError("Headers: each pair must have a name and a value");
      this.append(name, value);
    }
  }
  static freeze(headers) { headers.#frozen = true; return headers; }
  // What the host read was checked there: names and values in turn.
  static ofHost(fields) {
    const headers = new Headers();
    for (let i = 0; i < fields.length; i += 2) headers.#add(fields[i].toLowerCase(), latin1Text(fields[i + 1]));
    return headers;
  }
  #change() { if (this.#frozen) throw new TypeError("immutable"); }
  append(name, value) {
    name = headerName(name);
    value = headerValue(value);
    this.#change();
    this.#add(name, value);
  }
  #add(name, value) {
    const had = this.#map.get(name);
    if (name === "set-cookie") this.#map.set(name, [...(had ?? []), value]);
    else this.#map.set(name, had === undefined ? value : `${had}, ${value}`);
  }
  set(name, value) {
    name = headerName(name);
    value = headerValue(value);
    this.#change();
    this.#map.set(name, name === "set-cookie" ? [value] : value);
  }
  get(name) {
    const got = this.#map.get(headerName(name));
    return got === undefined ? null : Array.isArray(got) ? got.join(", ") : got;
  }
  has(name) { return this.#map.has(headerName(name)); }
  delete(name) { name = headerName(name); this.#change(); this.#map.delete(name); }
  getSetCookie() { return [...(this.#map.get("set-cookie") ?? [])]; }
  *entries() {
    for (const name of [...this.#map.keys()].sort()) {
      const value = this.#map.get(name);
      if (Array.isArray(value)) for (const v of value) yield [name, v];
      else yield [name, value];
    }
  }
  *keys() { for (const [n] of this.entries()) yield n; }
  *values() { for (const [, v] of this.entries()) yield v; }
  [Symbol.iterator]() { return this.entries(); }
  forEach(callback, that) { for (const [n, v] of this.entries()) apply(callback, that, [v, n, this]); }
  get [Symbol.toStringTag]() { return "Headers"; }
  [customInspect](depth, options) { return `Headers ${inspect(Object.fromEntries([...this.keys()].map((n) => [n, this.get(n)])), options)}`; }
}
const headersFreeze = Headers.freeze, headersOfHost = Headers.ofHost;
delete Headers.freeze;
delete Headers.ofHost;

// ---- bodies ----

// What a body is: { stream(), bytes (or null when it can be read once only), type }.
function bodyOf(value) {
  if (value === null || value === undefined) return null;
  let bytes = null, type = null;
  if (value instanceof ReadableStream) {
    if (value.locked || readableCore(value).disturbed) throw new TypeError("Response body object should not be disturbed or locked");
    return { stream: value, bytes: null, type: null };
  }
  if (value instanceof URLSearchParams) [bytes, type] = [encodeText(value.toString()), "application/x-www-form-urlencoded;charset=UTF-8"];
  else if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) bytes = asBytes(value).slice();
  else if (typeof value === "object" && typeof value[Symbol.asyncIterator] === "function") return { stream: ReadableStream.from(value), bytes: null, type: null };
  else [bytes, type] = [encodeText(`${value}`), "text/plain;charset=UTF-8"];
  const stream = new ReadableStream({ start(c) {
    if (bytes.length > 0) c.enqueue(bytes);
    c.close();
  } });
  return { stream, bytes, type };
}

async function collect(stream) {
  const reader = stream.getReader(), chunks = [];
  let size = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    if (!(value instanceof Uint8Array)) throw new TypeError("Received non-Uint8Array chunk");
    chunks.push(value);
    size += value.length;
  }
  if (chunks.length === 1) return chunks[0];
  const all = new Uint8Array(size);
  let at = 0;
  for (const c of chunks) {
    all.set(c, at);
    at += c.length;
  }
  return all;
}

class Body {
  #body = null;
  static set(object, body) { object.#body = body; }
  static of(object) { return object.#body; }
  get body() { return this.#body === null ? null : this.#body.stream; }
  get bodyUsed() { return this.#body !== null && readableCore(this.#body.stream).disturbed; }
  async #consume() {
    if (this.#body === null) return new Uint8Array(0);
    if (this.bodyUsed || this.#body.stream.locked) throw new TypeError("Body is unusable: Body has already been read");
    return collect(this.#body.stream);
  }
  async text() { return new TextDecoder().decode(await this.#consume()); }
  async json() { return JSON.parse(new TextDecoder().decode(await this.#consume())); }
  async bytes() { return this.#consume(); }
  async arrayBuffer() {
    const bytes = await this.#consume();
    return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
  }
}
const bodySet = Body.set, bodyGet = Body.of;
delete Body.set;
delete Body.of;

function cloneBody(object, copy) {
  const body = bodyGet(object);
  if (body === null) return;
  if (object.bodyUsed || body.stream.locked) throw new TypeError("Body has already been consumed");
  const [a, b] = body.stream.tee();
  bodySet(object, { ...body, stream: a });
  bodySet(copy, { ...body, stream: b });
}

// ---- Request and Response ----

const METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];

class Request extends Body {
  #url; #method; #headers; #signal; #redirect;
  constructor(input, init = {}) {
    super();
    const from = input instanceof Request ? input : null;
    this.#url = from ? from.#url : new URL(`${input}`);
    if (this.#url.username !== "" || this.#url.password !== "")
      throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${this.#url.href}`);
    let method = init.method === undefined ? from?.method ?? "GET" : `${init.method}`;
    if (!TOKEN.test(method)) throw new TypeError(`'${method}' is not a valid HTTP method.`);
    if (/^(connect|trace|track)$/i.test(method)) throw new TypeError(`'${method}' HTTP method is unsupported.`);
    if (METHODS.includes(method.toUpperCase())) method = method.toUpperCase();
    this.#method = method;
    this.#headers = new Headers(init.headers ?? from?.headers);
    this.#redirect = init.redirect ?? from?.redirect ?? "follow";
    if (!["follow", "error", "manual"].includes(this.#redirect)) throw new TypeError(`Request constructor: ${this.#redirect} is not an accepted type. Expected one of follow, manual, error.`);
    this.#signal = init.signal ?? from?.signal ?? new AbortController().signal;
    if (!(this.#signal instanceof AbortSignal)) throw new TypeError("Failed to construct 'Request': member signal is not of type AbortSignal.");
    const body = init.body !== undefined ? bodyOf(init.body) : from ? bodyGet(from) : null;
    if (body !== null && (method === "GET" || method === "HEAD")) throw new TypeError("Request with GET/HEAD method cannot have body.");
    if (body !== null && init.body !== undefined && body.bytes === null && init.duplex !== "half") throw new TypeError("RequestInit: duplex option is required when sending a body.");
    if (body?.type && !this.#headers.has("content-type")) this.#headers.set("content-type", body.type);
    bodySet(this, body);
  }
  static url(request) { return request.#url; }
  get url() { return this.#url.href; }
  get method() { return this.#method; }
  get headers() { return this.#headers; }
  get signal() { return this.#signal; }
  get redirect() { return this.#redirect; }
  get duplex() { return "half"; }
  clone() {
    const copy = new Request(this.#url.href, { method: this.#method, headers: this.#headers, redirect: this.#redirect, signal: this.#signal });
    cloneBody(this, copy);
    return copy;
  }
  get [Symbol.toStringTag]() { return "Request"; }
}

const requestUrl = Request.url; // nobody changes it
delete Request.url;

const REASONS = { nullBody: [101, 103, 204, 205, 304], redirect: [301, 302, 303, 307, 308] };

class Response extends Body {
  #status; #statusText; #headers; #url = ""; #redirected = false; #type = "default";
  constructor(body = null, init = {}) {
    super();
    this.#status = init.status === undefined ? 200 : Number(init.status);
    if (!Number.isInteger(this.#status) || this.#status < 200 || this.#status > 599) throw new RangeError('init["status"] must be in the range of 200 to 599, inclusive.');
    this.#statusText = init.statusText === undefined ? "" : `${init.statusText}`;
    this.#headers = new Headers(init.headers);
    const made = bodyOf(body);
    if (made !== null && REASONS.nullBody.includes(this.#status)) throw new TypeError(`Response constructor: Invalid response status code ${this.#status}`);
    if (made?.type && !this.#headers.has("content-type")) this.#headers.set("content-type", made.type);
    bodySet(this, made);
  }
  static of(status, headers, body, url, redirected) {
    const r = new Response();
    r.#status = status;
    r.#headers = headersFreeze(headers);
    r.#url = url;
    r.#redirected = redirected;
    r.#type = "basic";
    bodySet(r, body);
    return r;
  }
  static json(data, init = {}) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("Value is not JSON serializable");
    const headers = new Headers(init.headers);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return new Response(text, { ...init, headers });
  }
  static error() {
    const r = new Response();
    r.#status = 0;
    r.#type = "error";
    return r;
  }
  static redirect(url, status = 302) {
    if (!REASONS.redirect.includes(status)) throw new RangeError(`Invalid status code ${status}`);
    return new Response(null, { status, headers: { location: new URL(url).href } });
  }
  get status() { return this.#status; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get statusText() { return this.#statusText; }
  get headers() { return this.#headers; }
  get url() { return this.#url; }
  get redirected() { return this.#redirected; }
  get type() { return this.#type; }
  clone() {
    const copy = new Response();
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#headers = new Headers(this.#headers);
    copy.#url = this.#url;
    copy.#redirected = this.#redirected;
    copy.#type = this.#type;
    cloneBody(this, copy);
    return copy;
  }
  get [Symbol.toStringTag]() { return "Response"; }
  [customInspect](depth, options) {
    return `Response ${inspect({ status: this.status, statusText: this.statusText, headers: this.headers, body: this.body, bodyUsed: this.bodyUsed,
      ok: this.ok, redirected: this.redirected, type: this.type, url: this.url }, options)}`;
  }
}
const responseOf = Response.of;
delete Response.of;

// ---- one exchange ----

// The error codes of wasi:http in its order: Node's code where it has one, and words.
const HTTP_ERRORS = [
  ["ENOTFOUND", "the name was not resolved in time"], ["ENOTFOUND", "the name cannot be resolved"], ["ENOTFOUND", "the destination was not found"],
  ["EHOSTUNREACH", "the destination is not available"], ["EACCES", "the destination's address is not allowed"],
  ["EHOSTUNREACH", "the destination's address cannot be reached"], ["ECONNREFUSED", "the connection was refused"],
  ["ECONNRESET", "the connection was ended by the other side"], ["UND_ERR_CONNECT_TIMEOUT", "the connection was not made in time"],
  ["UND_ERR_BODY_TIMEOUT", "nothing more came in time"], ["UND_ERR_BODY_TIMEOUT", "nothing more was taken in time"],
  ["EAGAIN", "too many connections"], ["EPROTO", "TLS failed"], ["CERT_UNTRUSTED", "the certificate cannot be trusted"],
  ["EPROTO", "TLS failed: the other side sent an alert"], ["EACCES", "the request is not granted"], ["EPROTO", "the request needs a length"],
  ["UND_ERR_REQ_CONTENT_LENGTH_MISMATCH", "the request's body does not have the length it was said to have, or is too large"],
  ["EINVAL", "the method is not allowed"], ["ERR_INVALID_URL", "the address is not one"], ["ERR_INVALID_URL", "the address is too long"],
  ["UND_ERR_HEADERS_OVERFLOW", "the request's headers are too large"], ["UND_ERR_HEADERS_OVERFLOW", "a header of the request is too large"],
  ["EPROTO", "the request's trailers are too large"], ["EPROTO", "a trailer of the request is too large"],
  ["UND_ERR_SOCKET", "the response is incomplete"], ["UND_ERR_HEADERS_OVERFLOW", "the response's headers are too large"],
  ["UND_ERR_HEADERS_OVERFLOW", "a header of the response is too large"], ["UND_ERR_RES_EXCEEDED_MAX_SIZE", "the response is too large"],
  ["EPROTO", "the response's trailers are too large"], ["EPROTO", "a trailer of the response is too large"],
  ["EPROTO", "the response's transfer coding is not known"], ["EPROTO", "the response's content coding is not known"],
  ["UND_ERR_HEADERS_TIMEOUT", "no response came in time"], ["EPROTO", "the upgrade failed"], ["EPROTO", "the other side does not speak HTTP"],
  ["ELOOP", "the request goes in a circle"], ["EINVAL", "the host is not configured for it"], ["EIO", "an internal error"],
];

function networkError(message, cause) { return new TypeError(message, cause === undefined ? undefined : { cause }); }

function hostError(answer, url) {
  if (typeof answer === "string") return coded(new Error(answer), "EIO");
  const [code, text] = HTTP_ERRORS[-1 - answer] ?? ["EIO", "an unknown error"];
  return coded(new Error(`${code}: ${text}, ${url.origin}`), code, { hostname: url.hostname });
}

function dropSent(x) {
  if (x.out !== null) native.dropOutput(x.out);
  x.out = null;
  if (x.body !== null) native.dropBody(x.body);
  x.body = null;
}

function dropAnswer(x) {
  if (x.input !== null) {
    native.dropInput(x.input);
    native.dropIncoming(x.incoming);
    native.dropResponse(x.response);
    native.dropFuture(x.future);
    answersOpen--;
  } else if (x.future !== null) native.dropFuture(x.future);
  x.input = x.future = null;
}

// Writes the request's body while the host takes it. An end of the stream on the host's side is no error here: the response says more.
async function sendBody(x, source, bytes) {
  const reader = bytes === null && source !== null ? source.getReader() : null;
  try {
    for (;;) {
      const { value, done } = reader !== null ? await reader.read() : { value: bytes, done: bytes === null };
      if (done || x.ended) break;
      if (!(value instanceof Uint8Array)) throw new TypeError("Received non-Uint8Array chunk");
      for (let at = 0; at < value.length && x.out !== null;) {
        const took = native.write(x.out, value, at);
        if (typeof took !== "number" || took < 0) {
          dropSent(x);
          await reader?.cancel();
          return;
        }
        at += took;
        if (took === 0) await wait(native.subscribeOutput(x.out), x.writing);
      }
      bytes = null;
      if (reader === null) break;
    }
  } catch (error) {
    x.failed = error;
    dropSent(x);
    x.waiting.now?.();
    return;
  }
  if (x.out === null) return;
  native.dropOutput(x.out);
  x.out = null;
  const body = x.body;
  x.body = null;
  native.httpFinish(body);
}

// Handles that nothing can reach any more are dropped when the stream over them is collected. Handles are scarcer than memory, so
// a collection is asked for when many answers are open, and again when they have doubled.
let answersOpen = 0, collectAt = 64;
function collectAnswers() {
  if (answersOpen < collectAt) return null;
  native.gc();
  return new Promise((resolve) => timerFunctions.setImmediate(() => {
    collectAt = Math.max(64, 2 * answersOpen);
    resolve();
  }));
}
const abandoned = new FinalizationRegistry((x) => { x.writing.now?.(); x.waiting.now?.(); dropSent(x); dropAnswer(x); });

function answerStream(x, url, signal) {
  const stream = new ReadableStream({
    async pull(controller) {
      while (x.input !== null) {
        const got = native.read(x.input, 65536, false);
        if (got === null) {
          dropAnswer(x);
          x.stop();
          controller.close();
          return;
        }
        if (!(got instanceof Uint8Array)) {
          dropAnswer(x);
          x.stop();
          throw networkError("terminated", hostError(got, url));
        }
        if (got.length > 0) {
          controller.enqueue(got);
          return;
        }
        await wait(native.subscribeInput(x.input), x.waiting);
      }
    },
    cancel() {
      x.ended = true;
      x.waiting.now?.();
      x.stop();
      dropAnswer(x);
    },
  }, { highWaterMark: 0 });
  // What stream, reader and controller hold in common. The registry holds x, so x must not hold it.
  const weak = new WeakRef(readableCore(stream));
  abandoned.register(readableCore(stream), x, x);
  x.onabort = (reason) => {
    x.waiting.now?.();
    dropAnswer(x);
    const still = weak.deref();
    if (still !== undefined) readableError(still, reason);
  };
  return stream;
}

// One request and the head of its answer: { status, headers, body }.
async function exchange(url, method, headers, body, signal) {
  await collectAnswers();
  const flat = [...headers.entries()].flat();
  if (!headers.has("accept")) flat.push("accept", "*/*");
  if (!headers.has("user-agent")) flat.push("user-agent", "ambit");
  const known = body === null ? (method === "POST" || method === "PUT" || method === "PATCH" ? 0 : -1) : body.bytes === null ? -1 : body.bytes.length;
  if (known >= 0 && !headers.has("content-length")) flat.push("content-length", `${known}`);
  const [request, out, stream] = native.httpRequest([method, url.protocol.slice(0, -1), url.host, `${url.pathname}${url.search}`], flat,
    known !== -1 || body !== null);
  const x = { out: stream, body: out, future: null, input: null, waiting: {}, writing: {}, failed: null, ended: false, onabort: null };
  const sent = native.httpSend(request);
  if (typeof sent === "string" || sent < 0) {
    dropSent(x);
    throw networkError("fetch failed", hostError(sent, url));
  }
  x.future = sent;
  let aborted = null;
  const abort = () => {
    aborted = { reason: signal.reason };
    x.ended = true;
    x.writing.now?.();
    dropSent(x);
    if (x.onabort !== null) x.onabort(signal.reason);
    else x.waiting.now?.();
  };
  x.stop = () => { signal.removeEventListener("abort", abort); abandoned.unregister(x); };
  signal.addEventListener("abort", abort, { once: true });
  sendBody(x, body?.stream ?? null, body?.bytes ?? null);
  let answer;
  while ((answer = native.httpAnswer(x.future)) === undefined && aborted === null && x.failed === null)
    await wait(native.subscribeFuture(x.future), x.waiting);
  if (aborted !== null || x.failed !== null || !Array.isArray(answer)) {
    if (Array.isArray(answer)) {
      [, , x.response, x.incoming, x.input] = answer;
      answersOpen++;
    }
    x.ended = true;
    x.writing.now?.();
    x.stop();
    dropAnswer(x);
    dropSent(x);
    if (aborted !== null) throw aborted.reason;
    if (x.failed !== null) throw networkError("fetch failed", x.failed);
    throw networkError("fetch failed", hostError(answer, url));
  }
  const [status, fields] = answer;
  [, , x.response, x.incoming, x.input] = answer;
  answersOpen++;
  return { status, headers: headersOfHost(fields), stream: answerStream(x, url, signal) };
}

// ---- fetch ----

const REDIRECTS_MAX = 20;

function redirectTarget(url, headers) {
  const location = headers.get("location");
  if (location === null) return null;
  const target = URL.parse(location, url);
  if (target === null || !/^https?:$/.test(target.protocol)) throw networkError("fetch failed", new Error("URL scheme must be a HTTP(S) scheme"));
  if (target.username !== "" || target.password !== "") throw networkError("fetch failed", new Error("URL must not include credentials"));
  if (target.hash === "") target.hash = url.hash;
  return target;
}

async function fetch(input, init = {}) {
  const request = new Request(input, init ?? {});
  const signal = request.signal;
  signal.throwIfAborted();
  let url = requestUrl(request), method = request.method, body = bodyGet(request);
  const headers = new Headers(request.headers);
  if (!/^https?:$/.test(url.protocol)) throw networkError("fetch failed", new Error("unknown scheme"));
  for (let hops = 0; ; hops++) {
    const { status, headers: got, stream } = await exchange(url, method, headers, body, signal);
    const target = REASONS.redirect.includes(status) && request.redirect !== "manual" ? redirectTarget(url, got) : null;
    if (target === null) {
      const empty = method === "HEAD" || REASONS.nullBody.includes(status);
      if (empty) await stream.cancel();
      return responseOf(status, got, empty ? null : { stream, bytes: null, type: null }, url.href.replace(/#.*$/s, ""), hops > 0);
    }
    await stream.cancel();
    if (request.redirect === "error") throw networkError("fetch failed", new Error("unexpected redirect"));
    if (hops === REDIRECTS_MAX) throw networkError("fetch failed", new Error("redirect count exceeded"));
    if ((status === 303 && method !== "GET" && method !== "HEAD") || ((status === 301 || status === 302) && method === "POST")) {
      method = "GET";
      body = null;
      for (const name of ["content-encoding", "content-language", "content-location", "content-type", "content-length"]) headers.delete(name);
    } else if (body !== null && body.bytes === null) throw networkError("fetch failed", new Error("a request whose body is a stream cannot be redirected"));
    if (target.origin !== url.origin) for (const name of ["authorization", "proxy-authorization", "cookie", "host"]) headers.delete(name);
    url = target;
  }
}
define(globals, { Headers, Request, Response, fetch });
