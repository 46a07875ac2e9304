// SPDX-License-Identifier: Apache-2.0
//! HTTP and keyvalue of the test host: answers as it was told to, writes down each call, and checks that every handle has one life.

use super::{me, text};
use ambit_engine::abi::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{c_int, c_void};
use std::ptr::null;

/// Handles of HTTP begin here, streams are below.
pub const FIRST: u32 = 100;
type Pairs = &'static [(&'static str, &'static str)];

#[derive(Default)]
pub struct Net {
    /// One line a call.
    pub log: Vec<String>,
    next: u32,
    /// How often a response or trailers are not there yet.
    pub pending: u32,
    pub status: u32,
    pub headers: Pairs,
    pub trailers: Pairs,
    /// Comes in.
    pub body: Vec<u8>,
    /// Error codes, 0 = none, < 0: ends the guest.
    pub send_answer: c_int,
    pub response_error: u32,
    pub read_error: u32,
    pub trailers_error: u32,
    pub write_error: u32,
    pub finish_answer: c_int,
    pub respond_answer: c_int,
    /// No body can be made.
    pub no_body: bool,
    pairs: Vec<AmbitPair>,
    /// Whether writer and message are still there.
    bodies: BTreeMap<u32, (bool, bool)>,
    exchanges: BTreeSet<u32>,
    pub keys: BTreeMap<String, Vec<u8>>,
    names: Vec<AmbitBytes>,
    pub kv_answer: c_int,
}

const WHY: &[u8] = b"why";

impl Net {
    fn say(&mut self, line: String) {
        self.log.push(line);
    }

    fn handle(&mut self) -> u32 {
        self.next += 1;
        FIRST - 1 + self.next
    }

    /// An exchange that comes in.
    pub fn incoming(&mut self) -> u32 {
        let id = self.handle();
        self.exchanges.insert(id);
        id
    }

    /// Every body lost both ends, every exchange is dropped.
    pub fn settled(&self) -> bool {
        self.bodies.is_empty() && self.exchanges.is_empty()
    }

    fn writer_over(&mut self, id: u32) {
        let body = self.bodies.get_mut(&id).expect("a body");
        assert!(std::mem::replace(&mut body.0, false), "the writer of {id} is over once");
        self.bodies.retain(|_, b| b.0 || b.1);
    }

    fn message_over(&mut self, id: u32) {
        if id == 0 {
            return;
        }
        let body = self.bodies.get_mut(&id).expect("a body");
        assert!(std::mem::replace(&mut body.1, false), "the message of {id} is over once");
        self.bodies.retain(|_, b| b.0 || b.1);
    }

    fn store(&mut self, pairs: Pairs) -> (*const AmbitPair, usize) {
        self.pairs = pairs.iter().map(|(k, v)| AmbitPair { key: AmbitBytes::of(k.as_bytes()), value: AmbitBytes::of(v.as_bytes()) }).collect();
        (if pairs.is_empty() { null() } else { self.pairs.as_ptr() }, pairs.len())
    }
}

fn error(code: u32) -> AmbitHttpError {
    AmbitHttpError { code, text: AmbitBytes::of(WHY), number: 7 }
}

fn shown(pairs: *const AmbitPair, count: usize) -> String {
    let pairs = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(pairs, count) } };
    let pairs: Vec<_> = pairs.iter().map(|p| format!("{}: {}", text(p.key), text(p.value))).collect();
    format!("[{}]", pairs.join(", "))
}

pub fn read(h: *mut c_void, id: u32, into: *mut u8, size: usize, n: *mut usize) -> c_int {
    let net = &mut me(h).net;
    assert!(net.exchanges.contains(&id), "reads of a live exchange");
    if net.body.is_empty() {
        return if net.read_error != 0 { AMBIT_STREAM_FAILED } else { AMBIT_STREAM_CLOSED };
    }
    let size = size.min(net.body.len());
    for (i, b) in net.body.drain(..size).enumerate() {
        unsafe { into.add(i).write(b) };
    }
    unsafe { *n = size };
    AMBIT_STREAM_OK
}

pub fn write(h: *mut c_void, id: u32, bytes: *const u8, size: usize) -> c_int {
    let net = &mut me(h).net;
    assert!(net.bodies.get(&id).is_some_and(|b| b.0), "writes to a body that is open");
    if net.write_error != 0 {
        return AMBIT_STREAM_FAILED;
    }
    let bytes = String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(bytes, size) });
    net.say(format!("write {id} {bytes}"));
    AMBIT_STREAM_OK
}

pub unsafe extern "C" fn http_body_new(h: *mut c_void, length: u64) -> u32 {
    let net = &mut me(h).net;
    if net.no_body {
        return 0;
    }
    let id = net.handle();
    net.bodies.insert(id, (true, true));
    net.say(if length == u64::MAX { format!("body {id}") } else { format!("body {id} of {length}") });
    id
}
pub unsafe extern "C" fn http_body_finish(h: *mut c_void, id: u32, pairs: *const AmbitPair, n: usize, ret: *mut AmbitHttpError) -> c_int {
    let net = &mut me(h).net;
    net.writer_over(id);
    net.say(format!("finish {id} {}", shown(pairs, n)));
    unsafe { *ret = error(net.finish_answer.max(0) as u32) };
    net.finish_answer.min(1)
}
pub unsafe extern "C" fn http_body_abandon(h: *mut c_void, id: u32) {
    me(h).net.writer_over(id);
    me(h).net.say(format!("abandon {id}"));
}
pub unsafe extern "C" fn http_body_unsent(h: *mut c_void, id: u32) {
    me(h).net.message_over(id);
    me(h).net.say(format!("unsent {id}"));
}
pub unsafe extern "C" fn http_send(h: *mut c_void, r: *const AmbitHttpRequest, body: u32, exchange: *mut u32, ret: *mut AmbitHttpError) -> c_int {
    let (net, r) = (&mut me(h).net, unsafe { &*r });
    net.message_over(body);
    let times = [r.connect_timeout_ns, r.first_byte_timeout_ns, r.between_bytes_timeout_ns];
    let times = if times == [u64::MAX; 3] { String::new() } else { format!(" {times:?}") };
    let scheme = ["?", "http", "https"][r.scheme as usize];
    let headers = shown(r.headers, r.header_count);
    net.say(format!("send {} {scheme}://{}{} {headers} {body}{times}", text(r.method), text(r.authority), text(r.target)));
    if net.send_answer != 0 {
        unsafe { *ret = error(net.send_answer.max(0) as u32) };
        return net.send_answer.min(1);
    }
    unsafe { *exchange = net.incoming() };
    0
}
pub unsafe extern "C" fn http_response(h: *mut c_void, id: u32, ret: *mut AmbitHttpResponse, ret_error: *mut AmbitHttpError) -> c_int {
    let net = &mut me(h).net;
    assert!(net.exchanges.contains(&id));
    if net.pending > 0 {
        net.pending -= 1;
        return AMBIT_PENDING;
    }
    net.say(format!("response {id}"));
    let (headers, header_count) = net.store(net.headers);
    unsafe {
        *ret = AmbitHttpResponse { status: net.status, headers, header_count };
        *ret_error = error(net.response_error);
    }
    AMBIT_READY
}
pub unsafe extern "C" fn http_trailers(h: *mut c_void, id: u32, ret: *mut *const AmbitPair, n: *mut usize, ret_error: *mut AmbitHttpError) -> c_int {
    let net = &mut me(h).net;
    assert!(net.exchanges.contains(&id));
    if net.pending > 0 {
        net.pending -= 1;
        return AMBIT_PENDING;
    }
    net.say(format!("trailers {id}"));
    let (pairs, count) = net.store(net.trailers);
    unsafe { (*ret, *n, *ret_error) = (pairs, count, error(net.trailers_error)) };
    AMBIT_READY
}
pub unsafe extern "C" fn http_discard(h: *mut c_void, id: u32) {
    assert!(me(h).net.exchanges.contains(&id), "discarded while it lives");
    me(h).net.say(format!("discard {id}"));
}
pub unsafe extern "C" fn http_drop(h: *mut c_void, id: u32) {
    assert!(me(h).net.exchanges.remove(&id), "an exchange is dropped once");
    me(h).net.say(format!("drop {id}"));
}
pub unsafe extern "C" fn http_stream_error(h: *mut c_void, id: u32, ret: *mut AmbitHttpError) -> bool {
    let net = &me(h).net;
    let code = if net.bodies.contains_key(&id) { net.write_error } else { net.read_error };
    unsafe { *ret = error(code) };
    code != 99 // an error that is none of HTTP's
}
pub unsafe extern "C" fn http_respond(h: *mut c_void, id: u32, r: *const AmbitHttpResponse, body: u32, ret: *mut AmbitHttpError) -> c_int {
    let (net, r) = (&mut me(h).net, unsafe { &*r });
    assert!(net.exchanges.contains(&id));
    net.message_over(body);
    net.say(format!("respond {id} {} {} {body}", r.status, shown(r.headers, r.header_count)));
    unsafe { *ret = error(net.respond_answer.max(0) as u32) };
    net.respond_answer.min(1)
}
pub unsafe extern "C" fn http_fail(h: *mut c_void, id: u32, e: *const AmbitHttpError) -> c_int {
    let e = unsafe { &*e };
    let number = if e.number == u64::MAX { String::new() } else { format!(" {}", e.number) };
    me(h).net.say(format!("fail {id} {} {:?}{number}", e.code, text(e.text)));
    0
}

pub unsafe extern "C" fn kv_open(h: *mut c_void, name: AmbitBytes, ret: *mut u32) -> c_int {
    let net = &mut me(h).net;
    net.say(format!("open {:?}", text(name)));
    if net.kv_answer == 0 {
        me(h).open += 1;
        unsafe { *ret = 3 };
    }
    me(h).net.kv_answer
}
pub unsafe extern "C" fn kv_get(h: *mut c_void, _: u32, key: AmbitBytes, found: *mut bool, ret: *mut AmbitBytes) -> c_int {
    let value = me(h).net.keys.get(&text(key));
    unsafe { *found = value.is_some() };
    if let Some(value) = value {
        unsafe { *ret = AmbitBytes::of(value) };
    }
    me(h).net.kv_answer
}
pub unsafe extern "C" fn kv_set(h: *mut c_void, _: u32, key: AmbitBytes, value: AmbitBytes) -> c_int {
    assert!(!value.data.is_null(), "NULL deletes");
    me(h).net.keys.insert(text(key), unsafe { value.slice() }.to_vec());
    me(h).net.kv_answer
}
pub unsafe extern "C" fn kv_delete(h: *mut c_void, _: u32, key: AmbitBytes) -> c_int {
    me(h).net.keys.remove(&text(key));
    me(h).net.kv_answer
}
pub unsafe extern "C" fn kv_exists(h: *mut c_void, _: u32, key: AmbitBytes, ret: *mut bool) -> c_int {
    unsafe { *ret = me(h).net.keys.contains_key(&text(key)) };
    me(h).net.kv_answer
}
/// A page has one key: the cursor counts.
pub unsafe extern "C" fn kv_list(h: *mut c_void, _: u32, from: u64, ret: *mut *const AmbitBytes, n: *mut usize, next: *mut u64) -> c_int {
    let net = &mut me(h).net;
    net.names = net.keys.keys().skip(from as usize).take(1).map(|k| AmbitBytes::of(k.as_bytes())).collect();
    let more = net.keys.len() as u64 > from + 1;
    unsafe { (*ret, *n, *next) = (net.names.as_ptr(), net.names.len(), if more { from + 1 } else { 0 }) };
    net.kv_answer
}
pub unsafe extern "C" fn kv_increment(h: *mut c_void, _: u32, key: AmbitBytes, delta: u64, ret: *mut u64) -> c_int {
    let value = me(h).net.keys.entry(text(key)).or_insert(b"0".to_vec());
    let now = String::from_utf8_lossy(value).parse::<u64>().expect("a number") + delta;
    *value = now.to_string().into_bytes();
    unsafe { *ret = now };
    me(h).net.kv_answer
}
pub unsafe extern "C" fn kv_set_many(h: *mut c_void, _: u32, pairs: *const AmbitPair, n: usize) -> c_int {
    let pairs = if n == 0 { &[] } else { unsafe { std::slice::from_raw_parts(pairs, n) } };
    for p in pairs {
        if p.value.data.is_null() {
            me(h).net.keys.remove(&text(p.key));
        } else {
            me(h).net.keys.insert(text(p.key), unsafe { p.value.slice() }.to_vec());
        }
    }
    me(h).net.kv_answer
}
pub unsafe extern "C" fn kv_error(_: *mut c_void) -> AmbitBytes {
    AmbitBytes::of(WHY)
}
