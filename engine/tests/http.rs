// SPDX-License-Identifier: Apache-2.0
//! wasi:http and wasi:keyvalue through the C functions. A guest is a few lines of WAT around the imports below; it checks what it is told and
//! exits with the number of the check that failed. The host writes down what it was asked, in order.

use ambit_engine::abi::*;
use ambit_engine::runtime::*;
use ambit_engine::task::*;
use std::io::Write;
use std::ptr::null;

mod host;
use host::*;

// ---- guests ------------------------------------------------------------------------------------------------------------------------

const IMPORTS: &str = r#"
    types [constructor]fields $fields.new (result i32)
    types [static]fields.from-list $fields.from (param i32 i32 i32)
    types [method]fields.get $fields.get (param i32 i32 i32 i32)
    types [method]fields.has $fields.has (param i32 i32 i32) (result i32)
    types [method]fields.set $fields.set (param i32 i32 i32 i32 i32 i32)
    types [method]fields.delete $fields.delete (param i32 i32 i32 i32)
    types [method]fields.append $fields.append (param i32 i32 i32 i32 i32 i32)
    types [method]fields.entries $fields.entries (param i32 i32)
    types [method]fields.clone $fields.clone (param i32) (result i32)
    types [resource-drop]fields $fields.drop (param i32)
    types [method]incoming-request.method $in.method (param i32 i32)
    types [method]incoming-request.path-with-query $in.path (param i32 i32)
    types [method]incoming-request.scheme $in.scheme (param i32 i32)
    types [method]incoming-request.authority $in.authority (param i32 i32)
    types [method]incoming-request.headers $in.headers (param i32) (result i32)
    types [method]incoming-request.consume $in.consume (param i32 i32)
    types [resource-drop]incoming-request $in.drop (param i32)
    types [constructor]outgoing-request $req.new (param i32) (result i32)
    types [method]outgoing-request.body $req.body (param i32 i32)
    types [method]outgoing-request.set-method $req.method (param i32 i32 i32 i32) (result i32)
    types [method]outgoing-request.set-path-with-query $req.path (param i32 i32 i32 i32) (result i32)
    types [method]outgoing-request.set-scheme $req.scheme (param i32 i32 i32 i32 i32) (result i32)
    types [method]outgoing-request.set-authority $req.authority (param i32 i32 i32 i32) (result i32)
    types [method]outgoing-request.headers $req.headers (param i32) (result i32)
    types [resource-drop]outgoing-request $req.drop (param i32)
    types [constructor]request-options $opt.new (result i32)
    types [method]request-options.set-connect-timeout $opt.connect (param i32 i32 i64) (result i32)
    types [method]request-options.between-bytes-timeout $opt.between (param i32 i32)
    types [static]response-outparam.set $outparam.set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)
    types [resource-drop]response-outparam $outparam.drop (param i32)
    types [method]incoming-response.status $res.status (param i32) (result i32)
    types [method]incoming-response.headers $res.headers (param i32) (result i32)
    types [method]incoming-response.consume $res.consume (param i32 i32)
    types [resource-drop]incoming-response $res.drop (param i32)
    types [method]incoming-body.stream $body.stream (param i32 i32)
    types [static]incoming-body.finish $body.finish (param i32) (result i32)
    types [resource-drop]incoming-body $body.drop (param i32)
    types [method]future-trailers.subscribe $trailers.subscribe (param i32) (result i32)
    types [method]future-trailers.get $trailers.get (param i32 i32)
    types [constructor]outgoing-response $resp.new (param i32) (result i32)
    types [method]outgoing-response.set-status-code $resp.status (param i32 i32) (result i32)
    types [method]outgoing-response.body $resp.body (param i32 i32)
    types [resource-drop]outgoing-response $resp.drop (param i32)
    types [method]outgoing-body.write $out.write (param i32 i32)
    types [static]outgoing-body.finish $out.finish (param i32 i32 i32 i32)
    types [resource-drop]outgoing-body $out.drop (param i32)
    types [method]future-incoming-response.subscribe $future.subscribe (param i32) (result i32)
    types [method]future-incoming-response.get $future.get (param i32 i32)
    types [resource-drop]future-incoming-response $future.drop (param i32)
    types http-error-code $error.code (param i32 i32)
    outgoing-handler handle $send (param i32 i32 i32 i32)
    streams [method]input-stream.blocking-read $read (param i32 i64 i32)
    streams [resource-drop]input-stream $input.drop (param i32)
    streams [method]output-stream.blocking-write-and-flush $write (param i32 i32 i32 i32)
    streams [resource-drop]output-stream $output.drop (param i32)
    poll [method]pollable.block $block (param i32)
    poll [resource-drop]pollable $pollable.drop (param i32)
    exit exit-with-code $exit (param i32)
    store open $kv.open (param i32 i32 i32)
    store [method]bucket.get $kv.get (param i32 i32 i32 i32)
    store [method]bucket.set $kv.set (param i32 i32 i32 i32 i32 i32)
    store [method]bucket.exists $kv.exists (param i32 i32 i32 i32)
    store [method]bucket.delete $kv.delete (param i32 i32 i32 i32)
    store [method]bucket.list-keys $kv.list (param i32 i32 i64 i32)
    store [resource-drop]bucket $kv.drop (param i32)
    atomics increment $kv.increment (param i32 i32 i32 i64 i32)
    batch set-many $kv.set-many (param i32 i32 i32 i32)
    batch get-many $kv.get-many (param i32 i32 i32 i32)
    batch delete-many $kv.delete-many (param i32 i32 i32 i32)
"#;

const INTERFACES: [(&str, &str); 8] = [
    ("types", "wasi:http/types@0.2.12"),
    ("outgoing-handler", "wasi:http/outgoing-handler@0.2.12"),
    ("streams", "wasi:io/streams@0.2.12"),
    ("poll", "wasi:io/poll@0.2.12"),
    ("exit", "wasi:cli/exit@0.2.12"),
    ("store", "wasi:keyvalue/store@0.2.0-draft"),
    ("atomics", "wasi:keyvalue/atomics@0.2.0-draft"),
    ("batch", "wasi:keyvalue/batch@0.2.0-draft"),
];

/// In the text of a guest: 'text' is pointer and length of a constant; b[4] and w[4] are a byte and a word of the last answer, which RET
/// points to; (check X) ends the guest unless X; (set $x Y) and $x are locals.
fn core(serves: bool, steps: &str) -> String {
    let mut imports = String::new();
    for line in IMPORTS.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next().expect("four words");
        let (short, name, alias, signature) = (next(), next(), next(), next());
        if alias != "$exit" && !steps.contains(&format!("(do {alias} ")) && !steps.contains(&format!("(do {alias})")) {
            continue; // a fresh instance pays for each import
        }
        let interface = INTERFACES.iter().find(|i| i.0 == short).expect("an interface").1;
        imports += &format!("(import \"{interface}\" \"{name}\" (func {alias} {signature}))\n");
    }
    let (mut data, mut text, mut at) = (String::new(), String::new(), 4096);
    for (n, part) in steps.split('\'').enumerate() {
        if n % 2 == 0 {
            text += part;
        } else {
            let size = part.len() - 2 * part.matches('\\').count(); // \0a is one byte
            text += &format!("(i32.const {at}) (i32.const {size})");
            data += part;
            at += size;
        }
    }
    for n in 0..64 {
        text = text.replace(&format!("b[{n}]"), &format!("(i32.load8_u offset={n} (i32.const 256))"));
        text = text.replace(&format!("w[{n}]"), &format!("(i32.load offset={n} (i32.const 256))"));
    }
    text = text.replace("RET", "(i32.const 256)").replace("(set ", "(local.set ").replace("(is ", "(i32.eq ").replace("#", "i32.const ");
    for name in ["$a", "$b", "$c", "$d", "$e"] {
        text = text.replace(&format!("{name}?"), &format!("(local.get {name})"));
    }
    let mut numbered = String::new();
    for (n, part) in text.split("(check ").enumerate() {
        numbered += &if n == 0 { part.to_string() } else { format!("(call $check (i32.const {n}) {part}") };
    }
    let numbered = numbered.replace("(do ", "(call ");
    let locals = "(local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $e i32)";
    let export = if serves {
        format!("(func (export \"wasi:http/incoming-handler@0.2.12#handle\") (param $request i32) (param $outparam i32) {locals} {numbered})")
    } else {
        format!("(func (export \"wasi:cli/run@0.2.12#run\") (result i32) {locals} {numbered} (i32.const 0))")
    };
    format!(
        r#"(module {imports}
            (memory (export "memory") 4)
            (data (i32.const 4096) "{data}")
            (global $next (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $check (param i32 i32) (if (i32.eqz (local.get 1)) (then (call $exit (local.get 0)) unreachable)))
            {export})"#
    )
}

fn component(serves: bool, steps: &str) -> Vec<u8> {
    let imports: String = INTERFACES.iter().map(|i| format!("import {};", i.1)).collect();
    let export = if serves { "wasi:http/incoming-handler@0.2.12" } else { "wasi:cli/run@0.2.12" };
    guest(&format!("world w {{ {imports} export {export}; }}"), &core(serves, steps))
}

fn host() -> TestHost {
    let mut h = TestHost { permit: 1 << 16, wait_ready: true, ..TestHost::default() };
    h.net.status = 200;
    h
}

fn outgoing(m: &Machine, h: &mut TestHost, steps: &str) -> Done {
    let c = m.load(&component(false, steps));
    assert!(!unsafe { ambit_component_serves(c) });
    let done = run(c, h, "", &[]);
    unsafe { ambit_component_free(c) };
    assert!(h.net.settled(), "handles of HTTP are given back: {:?}", h.net.log);
    done
}

fn pair(name: &'static str, value: &'static str) -> AmbitPair {
    AmbitPair { key: AmbitBytes::of(name.as_bytes()), value: AmbitBytes::of(value.as_bytes()) }
}

fn request(c: *mut AmbitComponent, h: &mut TestHost, config: &AmbitTaskConfig) -> *mut AmbitTask {
    let pairs = [pair("x-a", "1"), pair("host", "hidden"), pair("x-b", "2"), pair("x-a", "3")];
    let r = AmbitHttpRequest {
        method: AmbitBytes::of(b"POST"),
        scheme: 1,
        authority: AmbitBytes::of(b"me.example:8080"),
        target: AmbitBytes::of(b"/p?q"),
        headers: pairs.as_ptr(),
        header_count: pairs.len(),
        connect_timeout_ns: 0,
        first_byte_timeout_ns: 0,
        between_bytes_timeout_ns: 0,
    };
    let exchange = h.net.incoming();
    unsafe { ambit_task_new_request(c, config, &VTBL, std::ptr::from_mut(h).cast(), &r, exchange) }
}

fn incoming(m: &Machine, h: &mut TestHost, steps: &str) -> Done {
    let c = m.load(&component(true, steps));
    assert!(unsafe { ambit_component_serves(c) });
    let done = finish(request(c, h, &CONFIG));
    unsafe { ambit_component_free(c) };
    assert!(h.net.settled(), "handles of HTTP are given back: {:?}", h.net.log);
    done
}

fn exits(done: &Done, log: &TestHost) {
    assert_eq!((done.outcome, done.status), (AMBIT_OUTCOME_EXIT, 0), "check {}: {done:?} {:?}", done.status, log.net.log);
}

fn traps(done: &Done, why: &str) {
    assert!(done.outcome == AMBIT_OUTCOME_TRAP && done.message.contains(why), "{done:?}");
}

/// A request to https://a.example/x with its body in $b and itself in $a.
const REQUEST: &str = "
    (set $a (do $req.new (do $fields.new)))
    (check (i32.eqz (do $req.method $a? (#2) (#0) (#0))))
    (check (i32.eqz (do $req.authority $a? (#1) 'a.example')))
    (check (i32.eqz (do $req.path $a? (#1) '/x')))
    (do $req.body $a? RET) (check (i32.eqz b[0])) (set $b w[4])
    (do $req.body $a? RET) (check b[0])";
const SEND: &str = "(do $send $a? (#0) (#0) RET) (check (i32.eqz b[0])) (set $c w[8])";
const WRITE: &str = "(do $out.write $b? RET) (check (i32.eqz b[0])) (set $d w[4])
    (do $write $d? 'hello' RET) (check (i32.eqz b[0])) (do $output.drop $d?)";
const FINISH: &str = "(do $out.finish $b? (#0) (#0) RET) (check (i32.eqz b[0]))";

fn fields_rules(m: &Machine) {
    let mut h = host();
    let done = outgoing(m, &mut h, "
        (set $a (do $fields.new))
        ;; names are one whatever their case, and kept in lower case
        (do $fields.append $a? 'X-One' '1' RET) (check (i32.eqz b[0]))
        (do $fields.append $a? 'y' '2' RET) (check (i32.eqz b[0]))
        (do $fields.append $a? 'x-one' '3' RET) (check (i32.eqz b[0]))
        (check (do $fields.has $a? 'x-ONE'))
        (do $fields.get $a? 'X-oNe' RET) (check (is w[4] (#2)))
        (do $fields.entries $a? RET) (check (is w[4] (#3)))
        (check (is (i32.load8_u (i32.load w[0])) (#120))) (check (is (i32.load offset=4 w[0]) (#5)))
        (check (is (i32.load8_u (i32.load offset=16 w[0])) (#120))) ;; neighbours
        ;; syntax, forbidden, immutable
        (do $fields.append $a? 'a b' '1' RET) (check b[0]) (check (i32.eqz b[1]))
        (do $fields.append $a? '' '1' RET) (check b[0]) (check (i32.eqz b[1]))
        (do $fields.append $a? 'a' '\\0d\\0aevil: 1' RET) (check b[0]) (check (i32.eqz b[1]))
        (do $fields.append $a? 'Transfer-Encoding' 'chunked' RET) (check b[0]) (check (is b[1] (#1)))
        (do $fields.append $a? 'host' 'x' RET) (check b[0]) (check (is b[1] (#1)))
        (do $fields.delete $a? 'connection' RET) (check b[0]) (check (is b[1] (#1)))
        (check (i32.eqz (do $fields.has $a? 'a b')))
        (do $fields.get $a? 'none' RET) (check (i32.eqz w[4]))
        ;; one content-length, a number
        (do $fields.append $a? 'content-length' '+5' RET) (check b[0])
        (do $fields.append $a? 'content-length' '' RET) (check b[0])
        (do $fields.append $a? 'content-length' '99999999999999999999' RET) (check b[0])
        (do $fields.append $a? 'content-length' '005' RET) (check (i32.eqz b[0]))
        (do $fields.append $a? 'content-length' '5' RET) (check b[0])
        (do $fields.get $a? 'content-length' RET) (check (is (i32.load offset=4 w[0]) (#1)))
        ;; a copy is for the guest alone; delete takes all
        (set $b (do $fields.clone $a?))
        (do $fields.delete $b? 'X-ONE' RET) (check (i32.eqz b[0]))
        (check (i32.eqz (do $fields.has $b? 'x-one')))
        (check (do $fields.has $a? 'x-one'))
        (do $fields.set $b? 'y' (#0) (#0) RET) (check (i32.eqz b[0]))
        (check (i32.eqz (do $fields.has $b? 'y')))
        ;; set takes the place
        (i32.store (#512) (#4096)) (i32.store (#516) (#3))
        (do $fields.set $a? 'X-One' (#512) (#1) RET) (check (i32.eqz b[0]))
        (do $fields.entries $a? RET) (check (is w[4] (#3))) (check (is (i32.load offset=4 w[0]) (#5)))
        ;; those of a request are immutable
        (set $c (do $req.new $a?))
        (set $d (do $req.headers $c?))
        (do $fields.append $d? 'z' '1' RET) (check b[0]) (check (is b[1] (#2)))
        (do $fields.delete $d? 'y' RET) (check b[0]) (check (is b[1] (#2)))
        (do $fields.set $d? 'y' (#0) (#0) RET) (check b[0]) (check (is b[1] (#2)))
        ;; a message may go before its headers
        (do $req.drop $c?) (check (do $fields.has $d? 'y')) (do $fields.drop $d?)");
    exits(&done, &h);

    // Without a bound of its own it would be the memory's.
    let forever = "(set $a (do $fields.new)) (loop $l (do $fields.append $a? 'n' 'vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv' RET) (br $l))";
    let mut h = host();
    traps(&outgoing(m, &mut h, forever), "total size of fields");
    // Many of them are the task's memory.
    let many = "(set $e (#0)) (loop $m (set $a (do $fields.new)) (set $b (#0))
        (loop $l (do $fields.append $a? 'n' 'vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv' RET)
            (set $b (i32.add $b? (#1))) (br_if $l (i32.lt_u $b? (#1000)))) (br $m))";
    let c = m.load(&component(false, many));
    let mut h = host();
    let config = AmbitTaskConfig { memory_bytes: 1 << 20, ..CONFIG };
    let t = unsafe { ambit_task_new(c, &config, &VTBL, (&raw mut h).cast(), AmbitBytes::EMPTY, null(), 0) };
    assert_eq!(finish(t).outcome, AMBIT_OUTCOME_ENDED);
    assert!(h.limit.is_some_and(|l| l.0 == AMBIT_LIMIT_MEMORY), "{:?}", h.limit);
    unsafe { ambit_component_free(c) };
}

fn a_request_and_its_response(m: &Machine) {
    let mut h = host();
    (h.net.headers, h.net.trailers, h.net.body) = (&[("x-r", "1"), ("connection", "close")], &[("t", "2")], b"body".to_vec());
    h.net.pending = 1;
    let steps = [REQUEST, SEND, WRITE, FINISH, "
        (do $future.get $c? RET) (check (i32.eqz b[0])) ;; not there yet
        (set $e (do $future.subscribe $c?)) (do $block $e?) (do $pollable.drop $e?)
        (do $future.get $c? RET) (check b[0]) (check (i32.eqz b[8])) (check (i32.eqz b[16])) (set $a w[24])
        (do $future.get $c? RET) (check b[0]) (check b[8]) ;; taken
        (check (is (do $res.status $a?) (#200)))
        (set $b (do $res.headers $a?)) (check (do $fields.has $b? 'x-r')) (check (i32.eqz (do $fields.has $b? 'connection')))
        (do $res.consume $a? RET) (check (i32.eqz b[0])) (set $b w[4])
        (do $res.consume $a? RET) (check b[0])
        (do $body.stream $b? RET) (check (i32.eqz b[0])) (set $d w[4])
        (do $body.stream $b? RET) (check b[0])
        (do $read $d? (i64.const 99) RET) (check (i32.eqz b[0])) (check (is w[8] (#4)))
        (do $read $d? (i64.const 99) RET) (check b[0]) (check (is b[4] (#1))) ;; closed
        (do $input.drop $d?)
        (set $e (do $body.finish $b?))
        (do $trailers.get $e? RET) (check b[0]) (check (i32.eqz b[8])) (check (i32.eqz b[16])) (check b[24])
        (check (do $fields.has w[28] 't'))
        (do $trailers.get $e? RET) (check b[0]) (check b[8])"]
    .concat();
    exits(&outgoing(m, &mut h, &steps), &h);
    let log = ["body 100", "send POST https://a.example/x [] 100", "write 100 hello", "finish 100 []", "response 101", "trailers 101", "drop 101"];
    assert_eq!(h.net.log, log);

    // Written and finished before it is sent, with options and trailers; the response is thrown away.
    let mut h = host();
    let steps = [REQUEST, WRITE, "
        (set $d (do $fields.new)) (do $fields.append $d? 'T' ' 1 ' RET)
        (do $out.finish $b? (#1) $d? RET) (check (i32.eqz b[0]))
        (check (i32.eqz (do $req.scheme $a? (#1) (#0) (#0) (#0))))
        (set $e (do $opt.new)) (do $opt.between $e? RET) (check (i32.eqz b[0]))
        (check (i32.eqz (do $opt.connect $e? (#1) (i64.const 5))))
        (do $send $a? (#1) $e? RET) (check (i32.eqz b[0])) (do $future.drop w[8])"]
    .concat();
    exits(&outgoing(m, &mut h, &steps), &h);
    let send = format!("send POST http://a.example/x [] 100 {:?}", [5, u64::MAX, u64::MAX]);
    assert_eq!(h.net.log, ["body 100", "write 100 hello", "finish 100 [t: 1]", send.as_str(), "drop 101"]);
}

fn requests_that_fail(m: &Machine) {
    // Refused when it is sent: by C, for what it says, for what it lacks.
    let refused = |answer: i32, steps: &str, code: u32, log: &[&str]| {
        let mut h = host();
        h.net.send_answer = answer;
        let steps = format!("(set $a (do $req.new (do $fields.new))) {steps} (do $send $a? (#0) (#0) RET) (check b[0]) (check (is b[8] (#{})))", code - 1);
        exits(&outgoing(m, &mut h, &steps), &h);
        assert_eq!(h.net.log, log);
    };
    let named = "(drop (do $req.authority $a? (#1) 'b'))";
    refused(16, named, 16, &["send GET https://b/ [] 0"]);
    refused(0, "", 20, &[]);
    refused(0, &format!("{named} (check (i32.eqz (do $req.scheme $a? (#1) (#2) 'ftp')))"), 36, &[]);
    let long = "(set $b (do $fields.new)) (do $fields.append $b? 'content-length' '3' RET) (set $a (do $req.new $b?))";
    refused(0, &format!("{long} {named}"), 18, &[]);

    // C ends the guest.
    let mut h = host();
    h.net.send_answer = -1;
    let done = outgoing(m, &mut h, &[REQUEST, SEND].concat());
    assert_eq!((done.outcome, h.net.log.last().map(String::as_str)), (AMBIT_OUTCOME_ENDED, Some("abandon 100")), "{:?}", h.net.log);

    // What cannot be said.
    let mut h = host();
    let done = outgoing(m, &mut h, "
        (set $a (do $req.new (do $fields.new)))
        (check (do $req.method $a? (#9) 'A B')) (check (do $req.method $a? (#9) '')) (check (i32.eqz (do $req.method $a? (#9) 'PURGE')))
        (check (do $req.path $a? (#1) 'http://other/')) (check (do $req.path $a? (#1) '/a b')) (check (do $req.path $a? (#1) '/\\0d\\0a'))
        (check (do $req.path $a? (#1) '/#f')) (check (i32.eqz (do $req.path $a? (#1) '?q'))) (check (i32.eqz (do $req.path $a? (#0) (#0) (#0))))
        (check (do $req.authority $a? (#1) '')) (check (do $req.authority $a? (#1) 'a/b')) (check (do $req.authority $a? (#1) 'a:b'))
        (check (do $req.authority $a? (#1) 'a:70000')) (check (do $req.authority $a? (#1) '[::1')) (check (do $req.authority $a? (#1) 'a\\0a'))
        (check (i32.eqz (do $req.authority $a? (#1) '[::1]:80')))
        (check (do $req.scheme $a? (#1) (#2) '1x')) (check (do $req.scheme $a? (#1) (#2) ''))
        (do $send $a? (#0) (#0) RET) (check (i32.eqz b[0]))");
    exits(&done, &h);
    assert_eq!(h.net.log[0], "send PURGE https://[::1]:80/ [] 0");

    // It fails later: the head, the body, the trailers.
    let mut h = host();
    h.net.response_error = 7;
    let get = "(do $future.get $c? RET) (check b[0]) (check (i32.eqz b[8]))";
    let done = outgoing(m, &mut h, &[REQUEST, SEND, get, "(check b[16]) (check (is b[24] (#6)))"].concat());
    exits(&done, &h);
    // $b is still open: given back at the end, after the exchange that failed.
    assert_eq!(h.net.log[2..], ["response 101", "drop 101", "abandon 100"]);

    for (error, how) in [(8, "(check b[0]) (check (is b[8] (#7)))"), (99, "(check (i32.eqz b[0]))")] {
        let mut h = host();
        (h.net.read_error, h.net.trailers_error) = (error, 26);
        let steps = [REQUEST, SEND, FINISH, get, "
            (do $res.consume w[24] RET) (set $b w[4]) (do $body.stream $b? RET) (set $d w[4])
            (do $read $d? (i64.const 9) RET) (check b[0]) (check (i32.eqz b[4]))
            (do $error.code w[8] RET)", how, "
            (do $input.drop $d?) (set $e (do $body.finish $b?))
            (do $trailers.get $e? RET) (check b[0]) (check (i32.eqz b[8])) (check b[16]) (check (is b[24] (#25)))"]
        .concat();
        exits(&outgoing(m, &mut h, &steps), &h);
    }
}

fn bodies_that_lie(m: &Machine) {
    // Five bytes of three; two writes that fit would be fine.
    let declared = |n: &str| {
        format!("(set $c (do $fields.new)) (do $fields.append $c? 'content-length' '{n}' RET) (set $a (do $req.new $c?))
            (drop (do $req.authority $a? (#1) 'a')) (do $req.body $a? RET) (set $b w[4]) (do $out.write $b? RET) (set $d w[4])")
    };
    let mut h = host();
    let steps = declared("3") + "
        (do $write $d? 'hello' RET) (check b[0]) (check (i32.eqz b[4]))
        (do $error.code w[8] RET) (check b[0]) (check (is b[8] (#17))) (check (is w[24] (#5)))
        (do $output.drop $d?)
        (do $out.finish $b? (#0) (#0) RET) (check b[0]) (check (is b[8] (#17)))";
    exits(&outgoing(m, &mut h, &steps), &h);
    assert_eq!(h.net.log, ["body 100 of 3", "abandon 100", "unsent 100"]);

    let mut h = host();
    let steps = declared("6") + "(do $write $d? 'hello' RET) (check (i32.eqz b[0])) (do $output.drop $d?)
        (do $out.finish $b? (#0) (#0) RET) (check b[0])";
    exits(&outgoing(m, &mut h, &steps), &h);
    let mut h = host();
    let steps = declared("5") + "(do $write $d? 'hello' RET) (check (i32.eqz b[0])) (do $output.drop $d?)
        (do $out.finish $b? (#0) (#0) RET) (check (i32.eqz b[0])) (do $req.drop $a?)";
    exits(&outgoing(m, &mut h, &steps), &h);
    assert_eq!(h.net.log, ["body 100 of 5", "write 100 hello", "finish 100 []", "unsent 100"]);

    // Finished with its stream alive; used after it was finished; dropped twice.
    let mut h = host();
    traps(&outgoing(m, &mut h, &[REQUEST, "(do $out.write $b? RET)", FINISH].concat()), "has children");
    let mut h = host();
    traps(&outgoing(m, &mut h, &[REQUEST, WRITE, FINISH, "(do $write $d? 'x' RET)"].concat()), "unknown handle");
    let mut h = host();
    traps(&outgoing(m, &mut h, &[REQUEST, WRITE, FINISH, "(do $out.drop $b?)"].concat()), "unknown handle");
    // No handle is left; finishing fails; writing fails.
    let mut h = host();
    h.net.no_body = true;
    assert_eq!(outgoing(m, &mut h, REQUEST).outcome, AMBIT_OUTCOME_ENDED);
    let mut h = host();
    h.net.finish_answer = 8;
    exits(&outgoing(m, &mut h, &[REQUEST, SEND, "(do $out.finish $b? (#0) (#0) RET) (check b[0]) (check (is b[8] (#7)))"].concat()), &h);
    let mut h = host();
    h.net.write_error = 11;
    let steps = [REQUEST, SEND, "(do $out.write $b? RET) (set $d w[4]) (do $write $d? 'x' RET) (check b[0]) (check (i32.eqz b[4]))
        (do $error.code w[8] RET) (check b[0]) (check (is b[8] (#10)))"].concat();
    exits(&outgoing(m, &mut h, &steps), &h);
}

const ANSWER: &str = "(set $a (do $resp.new (do $fields.new))) (check (i32.eqz (do $resp.status $a? (#201))))
    (check (do $resp.status $a? (#99))) (check (do $resp.status $a? (#1000)))
    (do $resp.body $a? RET) (check (i32.eqz b[0])) (set $b w[4]) (do $resp.body $a? RET) (check b[0])";
const SET: &str = "(do $outparam.set (local.get $outparam) (#0) $a? (#0) (i64.const 0) (#0) (#0) (#0) (#0))";

fn a_request_is_answered(m: &Machine) {
    let mut h = host();
    (h.net.body, h.net.trailers) = (b"in".to_vec(), &[]);
    let look = "
        (set $e (local.get $request))
        (do $in.method $e? RET) (check (is b[0] (#2)))
        (do $in.path $e? RET) (check b[0]) (check (is w[8] (#4)))
        (do $in.scheme $e? RET) (check b[0]) (check (i32.eqz b[4]))
        (do $in.authority $e? RET) (check b[0]) (check (is w[8] (#15)))
        (set $a (do $in.headers $e?))
        (do $fields.entries $a? RET) (check (is w[4] (#3))) ;; without host
        (do $fields.append $a? 'z' '1' RET) (check b[0]) (check (is b[1] (#2)))
        (do $in.consume $e? RET) (check (i32.eqz b[0])) (set $c w[4])
        (do $in.consume $e? RET) (check b[0]) (do $in.drop $e?)
        (do $body.stream $c? RET) (set $d w[4]) (do $read $d? (i64.const 9) RET) (check (is w[8] (#2))) (do $input.drop $d?)
        (set $e (do $body.finish $c?)) (set $a (do $trailers.subscribe $e?)) (do $block $a?) (do $pollable.drop $a?)
        (do $trailers.get $e? RET) (check b[0]) (check (i32.eqz b[16])) (check (i32.eqz b[24]))";
    exits(&incoming(m, &mut h, &[look, ANSWER, SET, WRITE, FINISH].concat()), &h);
    let log = ["trailers 100", "trailers 100", "discard 100", "body 101", "respond 100 201 [] 101", "write 101 hello", "finish 101 []", "drop 100"];
    assert_eq!(h.net.log, log);

    // Body first; an empty one; nothing of the request is looked at.
    let mut h = host();
    exits(&incoming(m, &mut h, &[ANSWER, WRITE, FINISH, SET].concat()), &h);
    assert_eq!(h.net.log, ["body 101", "write 101 hello", "finish 101 []", "respond 100 201 [] 101", "discard 100", "drop 100"]);
    let mut h = host();
    exits(&incoming(m, &mut h, &["(set $a (do $resp.new (do $fields.new)))", SET].concat()), &h);
    assert_eq!(h.net.log, ["respond 100 200 [] 0", "discard 100", "drop 100"]);
}

fn answers_that_fail(m: &Machine) {
    // An error with what it carries.
    let mut h = host();
    let fail = "(do $outparam.set (local.get $outparam) (#1) (#38) (#1) (i64.extend_i32_u (#4096)) (#3) (#0) (#0) (#0)) (drop (do $fields.has (#0) 'why'))";
    assert_eq!(incoming(m, &mut h, fail).outcome, AMBIT_OUTCOME_TRAP);
    assert_eq!(h.net.log[0], "fail 100 39 \"why\"");
    let mut h = host();
    exits(&incoming(m, &mut h, "(do $outparam.set (local.get $outparam) (#1) (#17) (#1) (i64.const 77) (#0) (#0) (#0) (#0))"), &h);
    assert_eq!(h.net.log[0], "fail 100 18 \"\" 77");
    // C will not send the response.
    let mut h = host();
    h.net.respond_answer = 27;
    exits(&incoming(m, &mut h, &[ANSWER, SET].concat()), &h);
    assert_eq!(h.net.log[1..3], ["respond 100 201 [] 101", "fail 100 27 \"\" 7"]);
    // Answered twice, dropped, never.
    let mut h = host();
    traps(&incoming(m, &mut h, &[ANSWER, SET, "(do $outparam.drop (local.get $outparam))"].concat()), "unknown handle");
    let mut h = host();
    exits(&incoming(m, &mut h, "(do $outparam.drop (local.get $outparam))"), &h);
    assert_eq!(h.net.log, ["discard 100", "drop 100"]);
    let mut h = host();
    exits(&incoming(m, &mut h, ""), &h);
    assert_eq!(h.net.log, ["discard 100", "drop 100"]);
    // A response that is dropped, and one whose body is.
    let mut h = host();
    exits(&incoming(m, &mut h, &[ANSWER, WRITE, "(do $resp.drop $a?)"].concat()), &h);
    assert_eq!(h.net.log[2], "unsent 101");
    let mut h = host();
    exits(&incoming(m, &mut h, &[ANSWER, "(do $out.drop $b?)", SET].concat()), &h);
    assert_eq!(h.net.log[1..3], ["abandon 101", "respond 100 201 [] 101"]);
    // The stream is held at the end, and a trap in the middle: all is given back.
    let mut h = host();
    exits(&incoming(m, &mut h, &[ANSWER, SET, "(do $out.write $b? RET)"].concat()), &h);
    assert!(h.net.log.contains(&"abandon 101".to_string()) && h.net.log.last().is_some_and(|l| l == "drop 100"), "{:?}", h.net.log);
    let mut h = host();
    traps(&incoming(m, &mut h, &[ANSWER, SET, WRITE, "unreachable"].concat()), "unreachable");
    assert_eq!(h.net.log.last().map(String::as_str), Some("drop 100"));
    // A finish with the stream alive.
    let mut h = host();
    let steps = "(do $in.consume (local.get $request) RET) (set $c w[4]) (do $body.stream $c? RET) (drop (do $body.finish $c?))";
    traps(&incoming(m, &mut h, steps), "has children");
}

fn tasks_of_requests(m: &Machine) {
    let c = m.load(&component(true, &[ANSWER, SET].concat()));
    // Freed before and while it waits.
    let mut h = host();
    let t = request(c, &mut h, &CONFIG);
    assert!(h.calls.is_empty(), "nothing of the guest ran");
    unsafe { ambit_task_free(t) };
    assert_eq!(h.net.log, ["drop 100"]);
    let waits = m.load(&component(true, "(do $in.consume (local.get $request) RET) (set $a (do $body.finish w[4])) (do $block (do $trailers.subscribe $a?))"));
    let mut h = host();
    (h.wait_ready, h.net.pending) = (false, u32::MAX);
    let t = request(waits, &mut h, &CONFIG);
    assert_eq!(unsafe { ambit_task_poll(t) }, AMBIT_POLL_PARKED);
    unsafe { ambit_task_free(t) };
    assert!(h.net.settled() && h.cancelled == h.operations && h.cancelled.len() == 1, "{:?} {:?}", h.cancelled, h.net.log);
    // A head that does not fit.
    let mut h = host();
    let done = finish(request(c, &mut h, &AmbitTaskConfig { memory_bytes: 10, ..CONFIG }));
    assert_eq!((done.outcome, h.limit.map(|l| l.0), h.net.settled()), (AMBIT_OUTCOME_ENDED, Some(AMBIT_LIMIT_MEMORY), true));
    // Few handles.
    let mut h = host();
    let done = finish(request(c, &mut h, &AmbitTaskConfig { handles: 3, ..CONFIG }));
    assert_eq!((done.outcome, h.limit, h.net.settled()), (AMBIT_OUTCOME_ENDED, Some((AMBIT_LIMIT_HANDLES, 4)), true));
    // enter() ends it.
    let mut h = host();
    h.end_at = Some("wasi:http/types#[static]response-outparam.set");
    let done = finish(request(c, &mut h, &CONFIG));
    assert_eq!((done.outcome, h.net.settled()), (AMBIT_OUTCOME_ENDED, true));
    // A command answers no request.
    let command = m.load(&component(false, ""));
    let mut h = host();
    assert!(request(command, &mut h, &CONFIG).is_null());
    for c in [c, waits, command] {
        unsafe { ambit_component_free(c) };
    }
}

/// The vendored WIT as if it were an older one.
fn older(version: &str, serves: bool, steps: &str) -> Vec<u8> {
    let folder = std::env::temp_dir().join(format!("ambit-wit-{}-{version}-{serves}", std::process::id()));
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/deps");
    std::fs::create_dir_all(folder.join("deps/keyvalue")).expect("a folder");
    let copy = |name: &str| {
        let text = std::fs::read_to_string(format!("{from}/{name}")).expect("WIT");
        let lines: Vec<_> = text.lines().filter(|l| !l.contains("@since(") && !l.contains("@deprecated(")).collect();
        std::fs::write(folder.join("deps").join(name), lines.join("\n").replace("0.2.12", version)).expect("written");
    };
    for name in ["cli", "clocks", "filesystem", "http", "io", "random", "sockets", "keyvalue/store", "keyvalue/atomic", "keyvalue/batch", "keyvalue/watch", "keyvalue/world"] {
        copy(&format!("{name}.wit"));
    }
    let imports: String = INTERFACES.iter().map(|i| format!("import {};", i.1)).collect();
    let export = if serves { "wasi:http/incoming-handler@0.2.12" } else { "wasi:cli/run@0.2.12" };
    std::fs::write(folder.join("w.wit"), format!("package t:t; world w {{ {imports} export {export}; }}").replace("0.2.12", version)).expect("written");
    let made = guest_of(&folder, &core(serves, steps).replace("0.2.12", version));
    std::fs::remove_dir_all(&folder).expect("removed");
    made
}

fn older_versions_link(m: &Machine) {
    for version in ["0.2.0", "0.2.3", "0.2.9"] {
        let c = m.load(&older(version, true, &[ANSWER, SET, WRITE, FINISH].concat()));
        let mut h = host();
        assert!(unsafe { ambit_component_serves(c) });
        exits(&finish(request(c, &mut h, &CONFIG)), &h);
        assert!(h.net.settled() && h.net.log.len() == 6, "{:?}", h.net.log);
        unsafe { ambit_component_free(c) };
        let c = m.load(&older(version, false, &[REQUEST, SEND, WRITE, FINISH].concat()));
        let mut h = host();
        exits(&run(c, &mut h, "", &[]), &h);
        unsafe { ambit_component_free(c) };
    }
}

fn keyvalue(m: &Machine) {
    let open = "(do $kv.open 'b' RET) (check (i32.eqz b[0])) (set $a w[4])";
    let mut h = host();
    let steps = [open, "
        (do $kv.get $a? 'k' RET) (check (i32.eqz b[0])) (check (i32.eqz b[4]))
        (do $kv.set $a? 'k' 'vvv' RET) (check (i32.eqz b[0]))
        (do $kv.set $a? 'e' '' RET) (check (i32.eqz b[0]))
        (do $kv.get $a? 'k' RET) (check (i32.eqz b[0])) (check b[4]) (check (is w[12] (#3)))
        (do $kv.get $a? 'e' RET) (check b[4]) (check (i32.eqz w[12]))
        (do $kv.exists $a? 'k' RET) (check (i32.eqz b[0])) (check b[4])
        (do $kv.increment $a? 'n' (i64.const 5) RET) (check (i32.eqz b[0])) (check (is w[8] (#5)))
        (do $kv.increment $a? 'n' (i64.const 6) RET) (check (is w[8] (#11)))
        (do $kv.list $a? (#0) (i64.const 0) RET) (check (i32.eqz b[0])) (check (is w[12] (#1))) (check b[16]) (check (is w[24] (#1)))
        (do $kv.list $a? (#1) (i64.const 2) RET) (check (is w[12] (#1))) (check (i32.eqz b[16]))
        (do $kv.delete $a? 'k' RET) (check (i32.eqz b[0]))
        (do $kv.exists $a? 'k' RET) (check (i32.eqz b[4]))
        (i32.store (#512) (#4096)) (i32.store (#516) (#1)) (i32.store (#520) (#4096)) (i32.store (#524) (#2))
        (do $kv.set-many $a? (#512) (#1) RET) (check (i32.eqz b[0]))
        (do $kv.get-many $a? (#512) (#2) RET) (check (i32.eqz b[0])) (check (is w[8] (#2)))
        (check (i32.load8_u w[4])) (check (i32.eqz (i32.load8_u offset=20 w[4])))
        (do $kv.delete-many $a? (#512) (#1) RET) (check (i32.eqz b[0]))
        (do $kv.drop $a?)"].concat();
    exits(&outgoing(m, &mut h, &steps), &h);
    let left: Vec<_> = h.net.keys.keys().map(String::as_str).collect();
    assert_eq!(left, ["e", "n"]);

    for (answer, how) in [(1, "(check (is b[4] (#0)))"), (2, "(check (is b[4] (#1)))"), (3, "(check (is b[4] (#2))) (check (is w[12] (#3)))")] {
        let mut h = host();
        h.net.kv_answer = answer;
        exits(&outgoing(m, &mut h, &["(do $kv.open 'x' RET) (check b[0])", how].concat()), &h);
    }
    let mut h = host();
    h.net.kv_answer = -1;
    assert_eq!(outgoing(m, &mut h, open).outcome, AMBIT_OUTCOME_ENDED);
    // More than one call may copy.
    let mut h = host();
    h.net.keys.insert("b".into(), vec![0; 2 << 20]);
    let done = outgoing(m, &mut h, &[open, "(do $kv.get $a? 'b' RET)"].concat());
    assert_eq!((done.outcome, h.limit.map(|l| l.0)), (AMBIT_OUTCOME_ENDED, Some(AMBIT_LIMIT_HOSTCALL_BYTES)));
}

fn main() {
    let only = std::env::args().nth(1);
    if only.as_deref() == Some("component") {
        // For tests and measurements elsewhere: answers 201 with "hello", and looks at nothing.
        std::io::stdout().write_all(&component(true, &[ANSWER, SET, WRITE, FINISH].concat())).expect("written");
        return;
    }
    let m = Machine::new();
    let tests: [(&str, fn(&Machine)); 9] = [
        ("fields_rules", fields_rules),
        ("a_request_and_its_response", a_request_and_its_response),
        ("requests_that_fail", requests_that_fail),
        ("bodies_that_lie", bodies_that_lie),
        ("a_request_is_answered", a_request_is_answered),
        ("answers_that_fail", answers_that_fail),
        ("tasks_of_requests", tasks_of_requests),
        ("older_versions_link", older_versions_link),
        ("keyvalue", keyvalue),
    ];
    for (name, test) in tests {
        if only.as_deref().is_none_or(|o| o == name) {
            test(&m);
            println!("ok {name}");
        }
    }
    unsafe { ambit_engine_free(m.0) };
}
