// SPDX-License-Identifier: Apache-2.0
//! The engine through its C functions, with guests made on the spot (core WAT plus a WIT world) and a host that remembers what it was asked.

use ambit_engine::abi::*;
use ambit_engine::config;
use ambit_engine::runtime::*;
use ambit_engine::task::*;
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering;

mod host;
use host::*;

// ---- guests ------------------------------------------------------------------------------------------------------------------------

/// Imports `now` of a clock of version `v`, exports `run` of the same version, and calls the one from the other.
fn versioned(v: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (import "wasi:clocks/monotonic-clock@{v}" (instance $clock (export "now" (func (result u64)))))
            (core func $now (canon lower (func $clock "now")))
            (core module $m (import "c" "now" (func $now (result i64))) (func (export "run") (result i32) (drop (call $now)) (i32.const 0)))
            (core instance $i (instantiate $m (with "c" (instance (export "now" (func $now))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $out (export "run" (func $run)))
            (export "wasi:cli/run@{v}" (instance $out)))"#
    ))
    .expect("WAT")
}

// ---- tests -------------------------------------------------------------------------------------------------------------------------

fn versions_match(m: &Machine) {
    for v in ["0.2.0", "0.2.3", "0.2.10", "0.2.12"] {
        let c = m.load(&versioned(v));
        let mut h = TestHost::default();
        let done = run(c, &mut h, "", &[]);
        assert_eq!((done.outcome, done.status), (AMBIT_OUTCOME_EXIT, 0), "{v}: {done:?}");
        assert_eq!(h.calls, ["wasi:clocks/monotonic-clock#now"]);
        unsafe { ambit_component_free(c) };
    }
    for v in ["0.3.0", "0.2.0-rc-2023-11-10", "1.0.0"] {
        let (r, text) = m.load_code(&machine_code(&versioned(v))).expect_err(v);
        assert_eq!((r, text.as_str()), (-2, format!("wasi:clocks/monotonic-clock@{v}\n").as_str()));
    }
}

fn unknown_imports_are_named(m: &Machine) {
    let component = wat::parse_str(
        r#"(component
            (import "wasi:nn/inference@0.2.0" (instance (export "compute" (func))))
            (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64))) (export "dice" (func))))
            (import "acme:billing/customers" (instance (export "fetch" (func))))
            (import "plain" (func)))"#,
    )
    .expect("WAT");
    let (r, text) = m.load_code(&machine_code(&component)).expect_err("refused");
    assert_eq!(r, -2);
    let names = "wasi:nn/inference@0.2.0\nwasi:random/random@0.2.0#dice\nacme:billing/customers\nplain\n";
    assert_eq!(text, names);
    // A known function of another type is a fault with its reason.
    let component =
        wat::parse_str(r#"(component (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u32))))))"#)
            .expect("WAT");
    let (r, text) = m.load_code(&machine_code(&component)).expect_err("refused");
    assert!(r == -1 && text.contains("get-random-u64"), "{r} {text}");
}

fn other_code_is_told_apart(m: &Machine) {
    let component = wat::parse_str("(component)").expect("WAT");
    let mut other = config::shared(config::Role::Compile);
    other.epoch_interruption(false);
    let code = wasmtime::Engine::new(&other).and_then(|e| e.precompile_component(&component)).expect("code");
    let (r, text) = m.load_code(&code).expect_err("other settings");
    assert_eq!(r, -3, "{text}");
    let mut other = config::shared(config::Role::Compile);
    other.module_version(wasmtime::ModuleVersionStrategy::Custom("48.0.7".into())).expect("a version");
    let code = wasmtime::Engine::new(&other).and_then(|e| e.precompile_component(&component)).expect("code");
    let (r, text) = m.load_code(&code).expect_err("other version");
    assert_eq!(r, -3, "{text}");
    for broken in [&b""[..], b"\0asm\x0d\0\x01\0", b"\x7fELF", b"#!/bin/sh\n"] {
        let (r, _) = m.load_code(broken).expect_err("not machine code");
        assert_eq!(r, -1);
    }
}

fn functions_are_called_by_name(m: &Machine) {
    let interface = "interface sums { add: func(a: u32, b: u32) -> u32; } world w { export sums; export fail: func() -> result<_, string>; }";
    let core = r#"(module (memory (export "memory") 1) (data (i32.const 0) "\01\00\00\00\10\00\00\00\02\00\00\00no")
        (data (i32.const 16) "no")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "t:t/sums#add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "fail") (result i32) (i32.const 0)))"#;
    let component = guest(interface, core);
    let c = m.load(&component);
    let mut h = TestHost::default();
    let done = run(c, &mut h, "t:t/sums#add", &["40", "2"]);
    assert_eq!((done.outcome, done.status, done.values.as_str()), (AMBIT_OUTCOME_EXIT, 0, "42"), "{done:?}");
    let done = run(c, &mut h, "fail", &[]);
    assert_eq!((done.outcome, done.status, done.values.as_str()), (AMBIT_OUTCOME_EXIT, 1, "err(\"no\")"), "{done:?}");
    for (name, arguments, expected) in [
        ("", &[][..], "no wasi:cli/run"),
        ("sub", &[], "it exports: fail, t:t/sums#add"),
        ("t:t/sums#sub", &["1"], "it exports: fail, t:t/sums#add"),
        ("t:t/sums#add", &["1"], "takes 2 argument(s) (a, b), 1 given"),
        ("t:t/sums#add", &["1", "-1"], "argument \"b\""),
        ("t:t/sums#add", &["1", "\"x"], "argument \"b\""),
        ("t:t/sums#add#", &["1", "2"], "it exports"),
    ] {
        let done = run(c, &mut h, name, arguments);
        assert_eq!(done.outcome, AMBIT_OUTCOME_FAULT, "{name}: {done:?}");
        assert!(done.message.contains(expected), "{name}: {done:?}");
    }
    unsafe { ambit_component_free(c) };
    let old = wat::parse_str(
        r#"(component (core module $m (func (export "f") (result i32) (i32.const 5))) (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "f")))
            (instance $x (export "f" (func $f))) (export "a:b/c@1.2.3" (instance $x)))"#,
    )
    .expect("WAT");
    let c = m.load(&old);
    for name in ["a:b/c#f", "a:b/c@1.2.3#f"] {
        assert_eq!(run(c, &mut h, name, &[]).values, "5", "{name}");
    }
    unsafe { ambit_component_free(c) };
}

const FS_WORLD: &str = "world w {
    import wasi:filesystem/preopens@0.2.12; import wasi:filesystem/types@0.2.12; import wasi:io/streams@0.2.12; import wasi:io/poll@0.2.12;
    import wasi:cli/stdin@0.2.12; import wasi:cli/stdout@0.2.12; import wasi:cli/exit@0.2.12; import wasi:random/random@0.2.12;
    import wasi:sockets/instance-network@0.2.12; import wasi:sockets/tcp-create-socket@0.2.12; import wasi:sockets/udp-create-socket@0.2.12;
    import wasi:sockets/ip-name-lookup@0.2.12; import wasi:logging/logging@0.1.0-draft; import wasi:clocks/monotonic-clock@0.2.12;
    export test: func(which: u32) -> u32; }";

/// One guest for many tests: `test(which)`. Results of host functions land at 1024.
fn workshop() -> Vec<u8> {
    let core = r#"(module
        (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $dirs (param i32)))
        (import "wasi:filesystem/types@0.2.12" "[method]descriptor.open-at" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
        (import "wasi:filesystem/types@0.2.12" "[method]descriptor.read-via-stream" (func $rvs (param i32 i64 i32)))
        (import "wasi:filesystem/types@0.2.12" "[method]descriptor.write-via-stream" (func $wvs (param i32 i64 i32)))
        (import "wasi:filesystem/types@0.2.12" "[method]descriptor.append-via-stream" (func $avs (param i32 i32)))
        (import "wasi:filesystem/types@0.2.12" "[method]descriptor.metadata-hash" (func $hash (param i32 i32)))
        (import "wasi:filesystem/types@0.2.12" "filesystem-error-code" (func $code (param i32 i32)))
        (import "wasi:filesystem/types@0.2.12" "[resource-drop]descriptor" (func $fdrop (param i32)))
        (import "wasi:io/streams@0.2.12" "[method]input-stream.blocking-read" (func $bread (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.12" "[method]input-stream.read" (func $read (param i32 i64 i32)))
        (import "wasi:io/streams@0.2.12" "[method]input-stream.subscribe" (func $sub (param i32) (result i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush" (func $bwrite (param i32 i32 i32 i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.check-write" (func $check (param i32 i32)))
        (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.12" "poll" (func $poll (param i32 i32 i32)))
        (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $timer (param i64) (result i32)))
        (import "wasi:cli/stdin@0.2.12" "get-stdin" (func $stdin (result i32)))
        (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
        (import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))
        (import "wasi:random/random@0.2.12" "get-random-bytes" (func $random (param i64 i32)))
        (import "wasi:sockets/instance-network@0.2.12" "instance-network" (func $network (result i32)))
        (import "wasi:sockets/tcp-create-socket@0.2.12" "create-tcp-socket" (func $tcp (param i32 i32)))
        (import "wasi:sockets/udp-create-socket@0.2.12" "create-udp-socket" (func $udp (param i32 i32)))
        (import "wasi:sockets/ip-name-lookup@0.2.12" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))
        (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
        (memory (export "memory") 4)
        (global $top (mut i32) (i32.const 65536))
        (data (i32.const 16) "file") (data (i32.const 32) "forbidden") (data (i32.const 48) "nothing") (data (i32.const 64) "end")
        (data (i32.const 80) "0123456789")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
                (then (drop (memory.grow (i32.const 17)))))
            (local.get $at))
        (func $root (result i32) (call $dirs (i32.const 1024)) (i32.load (i32.load (i32.const 1024))))
        (func $at (param $path i32) (param $len i32) (result i32) ;; the error code + 1, or 0 and the descriptor at 1028
            (call $open (call $root) (i32.const 0) (local.get $path) (local.get $len) (i32.const 0) (i32.const 1) (i32.const 1024))
            (if (result i32) (i32.load8_u (i32.const 1024)) (then (i32.add (i32.load8_u (i32.const 1028)) (i32.const 1))) (else (i32.const 0))))
        (func $file (result i32) (drop (call $at (i32.const 16) (i32.const 4))) (i32.load (i32.const 1028)))
        (func (export "test") (param $which i32) (result i32) (local $s i32) (local $n i32)
            ;; 0..3: open a path
            (if (i32.eq (local.get $which) (i32.const 0)) (then (return (call $at (i32.const 16) (i32.const 4)))))
            (if (i32.eq (local.get $which) (i32.const 1)) (then (return (call $at (i32.const 32) (i32.const 9)))))
            (if (i32.eq (local.get $which) (i32.const 2)) (then (return (call $at (i32.const 48) (i32.const 7)))))
            (if (i32.eq (local.get $which) (i32.const 3)) (then (return (call $at (i32.const 64) (i32.const 3)))))
            ;; 4: read the file from offset 2 in pieces of 3, drop the descriptor first, sum of the bytes
            (if (i32.eq (local.get $which) (i32.const 4)) (then
                (local.set $s (call $file))
                (call $rvs (local.get $s) (i64.const 2) (i32.const 1024))
                (call $fdrop (local.get $s))
                (local.set $s (i32.load (i32.const 1028)))
                (loop $more
                    (call $bread (local.get $s) (i64.const 3) (i32.const 1024))
                    (if (i32.eqz (i32.load8_u (i32.const 1024))) (then
                        (local.set $n (i32.add (local.get $n) (i32.load (i32.const 1032))))
                        (br $more))))
                (return (i32.add (i32.mul (local.get $n) (i32.const 100)) (i32.load8_u (i32.const 1028)))))) ;; n bytes, then 1 = closed
            ;; 5: write ten bytes at offset 1 with check-write and write; 6: append
            (if (i32.eq (local.get $which) (i32.const 5)) (then
                (call $wvs (call $file) (i64.const 1) (i32.const 1024))
                (local.set $s (i32.load (i32.const 1028)))
                (call $check (local.get $s) (i32.const 1024))
                (call $write (local.get $s) (i32.const 80) (i32.const 10) (i32.const 1024))
                (return (i32.load8_u (i32.const 1024)))))
            (if (i32.eq (local.get $which) (i32.const 6)) (then
                (call $avs (call $file) (i32.const 1024))
                (call $bwrite (i32.load (i32.const 1028)) (i32.const 80) (i32.const 10) (i32.const 1024))
                (return (i32.load8_u (i32.const 1024)))))
            ;; 7: a write that fails: which error code does filesystem-error-code find (+1)?
            (if (i32.eq (local.get $which) (i32.const 7)) (then
                (call $wvs (call $file) (i64.const 0) (i32.const 1024))
                (call $bwrite (i32.load (i32.const 1028)) (i32.const 80) (i32.const 10) (i32.const 1024))
                (if (i32.load8_u (i32.const 1028)) (then (return (i32.const 0)))) ;; closed instead of failed
                (call $code (i32.load (i32.const 1032)) (i32.const 1040))
                (return (i32.mul (i32.load8_u (i32.const 1040)) (i32.add (i32.load8_u (i32.const 1041)) (i32.const 1))))))
            ;; 8: exit 77
            (if (i32.eq (local.get $which) (i32.const 8)) (then (call $exit (i32.const 77))))
            ;; 9: random over the cap; 10: within
            (if (i32.eq (local.get $which) (i32.const 9)) (then (call $random (i64.const 0x7fffffff) (i32.const 1024))))
            (if (i32.eq (local.get $which) (i32.const 10)) (then
                (call $random (i64.const 1048576) (i32.const 1024)) (return (i32.load (i32.const 1028)))))
            ;; 11: leak handles
            (if (i32.eq (local.get $which) (i32.const 11)) (then (loop (drop (call $stdout)) (br 0))))
            ;; 12: sockets: three refusals, each 1 + the code
            (if (i32.eq (local.get $which) (i32.const 12)) (then
                (call $tcp (i32.const 0) (i32.const 1024))
                (call $udp (i32.const 1) (i32.const 1032))
                (call $resolve (call $network) (i32.const 16) (i32.const 4) (i32.const 1040))
                (return (i32.add (i32.mul (i32.load8_u (i32.const 1028)) (i32.const 100)) (i32.add
                    (i32.mul (i32.load8_u (i32.const 1036)) (i32.const 10)) (i32.load8_u (i32.const 1044)))))))
            ;; 13: a blocking read of standard input: how many bytes
            (if (i32.eq (local.get $which) (i32.const 13)) (then
                (call $bread (call $stdin) (i64.const 100) (i32.const 1024)) (return (i32.load (i32.const 1032)))))
            ;; 14: poll standard input and a timer of 5 ns: which (1, 2 or 3)
            (if (i32.eq (local.get $which) (i32.const 14)) (then
                (i32.store (i32.const 1100) (call $sub (call $stdin)))
                (i32.store (i32.const 1104) (call $timer (i64.const 5)))
                (call $poll (i32.const 1100) (i32.const 2) (i32.const 1024))
                (return (i32.add (i32.mul (i32.load (i32.const 1028)) (i32.const 10)) (i32.load (i32.load (i32.const 1024)))))))
            ;; 15: write more than check-write permits
            (if (i32.eq (local.get $which) (i32.const 15)) (then
                (local.set $s (call $stdout))
                (call $check (local.get $s) (i32.const 1024))
                (call $write (local.get $s) (i32.const 80) (i32.const 10) (i32.const 1024))))
            ;; 16: a list of 2 MiB + into the host
            (if (i32.eq (local.get $which) (i32.const 16)) (then
                (drop (memory.grow (i32.const 64)))
                (call $write (call $stdout) (i32.const 0) (i32.const 2097152) (i32.const 1024))))
            ;; 17: a pointer past the end of memory
            (if (i32.eq (local.get $which) (i32.const 17)) (then
                (call $write (call $stdout) (i32.const 0xfffffff0) (i32.const 0x20) (i32.const 1024))))
            ;; 18: a handle that does not exist; 19: one that was dropped
            (if (i32.eq (local.get $which) (i32.const 18)) (then (call $block (i32.const 12345))))
            (if (i32.eq (local.get $which) (i32.const 19)) (then
                (local.set $s (call $file)) (call $fdrop (local.get $s)) (call $fdrop (local.get $s))))
            ;; 20: log
            (if (i32.eq (local.get $which) (i32.const 20)) (then
                (call $log (i32.const 3) (i32.const 16) (i32.const 4) (i32.const 80) (i32.const 10))))
            ;; 21: recurse
            (if (i32.eq (local.get $which) (i32.const 21)) (then (call $deeper)))
            ;; 22: spin
            (if (i32.eq (local.get $which) (i32.const 22)) (then (loop (br 0))))
            ;; 23: is the hash of a file one of its identity?
            (if (i32.eq (local.get $which) (i32.const 23)) (then
                (call $hash (call $file) (i32.const 1024))
                (return (i32.wrap_i64 (i64.load (i32.const 1032))))))
            (i32.const 0))
        (func $deeper (call $deeper)))"#;
    guest(FS_WORLD, core)
}

fn workshop_tests(m: &Machine) {
    let c = m.load(&workshop());
    let with = |h: &mut TestHost, which: u32| run(c, h, "test", &[&which.to_string()]);
    let value = |h: &mut TestHost, which: u32| {
        let done = with(h, which);
        assert_eq!(done.outcome, AMBIT_OUTCOME_EXIT, "{which}: {done:?}");
        done.values.parse::<u32>().expect("a number")
    };
    let host = || TestHost { permit: 4096, ..TestHost::default() };

    let mut h = host();
    assert_eq!([value(&mut h, 0), value(&mut h, 1), value(&mut h, 2)], [0, 1, 21]);
    let done = with(&mut h, 3);
    assert_eq!(done.outcome, AMBIT_OUTCOME_ENDED, "a negative answer ends: {done:?}");

    let mut h = TestHost { file: (0..12).collect(), ..host() };
    assert_eq!(value(&mut h, 4), 1001, "ten bytes after the first two, then closed");
    let mut h = TestHost { file: vec![b'x'; 3], ..host() };
    assert_eq!(value(&mut h, 5), 0);
    assert_eq!(h.file, b"x0123456789", "all of it, though the host writes three bytes at a time");
    assert_eq!(value(&mut h, 6), 0);
    assert_eq!(h.file, b"x01234567890123456789");
    let mut h = TestHost { write_answer: 7, ..host() };
    assert_eq!(value(&mut h, 7), 7, "quota, found again behind the stream's error");

    let done = with(&mut host(), 8);
    assert_eq!((done.outcome, done.status), (AMBIT_OUTCOME_EXIT, 77));

    let mut h = host();
    let done = with(&mut h, 9);
    assert_eq!((done.outcome, h.limit), (AMBIT_OUTCOME_ENDED, Some((AMBIT_LIMIT_HOSTCALL_BYTES, 0x7fff_ffff))), "{done:?}");
    assert_eq!(value(&mut host(), 10), 1 << 20);
    let mut h = host();
    let done = with(&mut h, 11);
    assert_eq!((done.outcome, h.limit.map(|l| l.0)), (AMBIT_OUTCOME_ENDED, Some(AMBIT_LIMIT_HANDLES)), "{done:?}");
    let mut h = host();
    let done = with(&mut h, 16);
    assert_eq!((done.outcome, h.limit.map(|l| l.0)), (AMBIT_OUTCOME_ENDED, Some(AMBIT_LIMIT_HOSTCALL_BYTES)), "{done:?}");

    assert_eq!(value(&mut host(), 12), 111, "access-denied three times");

    for which in [15, 17, 18, 19, 21] {
        let mut h = TestHost { permit: 9, ..host() };
        let done = with(&mut h, which);
        assert_eq!((done.outcome, h.limit), (AMBIT_OUTCOME_TRAP, None), "{which}: {done:?}");
        assert!(!done.message.is_empty() && h.output.is_empty(), "{which}: {done:?}");
    }

    let mut h = host();
    with(&mut h, 20);
    assert_eq!(h.log, ["3 file 0123456789"]);
    let mut h = TestHost { file: vec![1], ..host() };
    let first = value(&mut h, 23);
    h.file.push(2);
    assert_eq!(value(&mut h, 23), first, "a change of the file does not change who it is");

    // Ended by enter, and by slice.
    let mut h = TestHost { end_at: Some("wasi:cli/stdout#get-stdout"), ..host() };
    assert_eq!(with(&mut h, 11).outcome, AMBIT_OUTCOME_ENDED);
    assert_eq!(h.calls, ["wasi:cli/stdout#get-stdout"]);
    let mut h = TestHost { end_slice: true, ..host() };
    assert_eq!((with(&mut h, 22).outcome, h.slices), (AMBIT_OUTCOME_ENDED, 1));

    waiting(c, host);
    unsafe { ambit_component_free(c) };
}

fn waiting(c: *mut AmbitComponent, host: impl Fn() -> TestHost) {
    let poll = |t| loop {
        match unsafe { ambit_task_poll(t) } {
            AMBIT_POLL_SLICE => {}
            other => return other,
        }
    };
    // Parked, completed from another thread, woken once, late and wrong completions ignored.
    let mut h = host();
    let t = task(c, &mut h, "test", &["13"]);
    assert_eq!(poll(t), AMBIT_POLL_PARKED);
    let op = *h.operations.last().expect("a wait");
    WAKES.store(0, Ordering::SeqCst);
    unsafe {
        ambit_operation_complete(t, op ^ (1 << 32));
        ambit_operation_complete(t, op | 0xffff);
        ambit_operation_complete(t, u64::MAX);
    }
    assert_eq!(WAKES.load(Ordering::SeqCst), 0);
    h.input = b"seven..".to_vec();
    let address = t as usize;
    std::thread::scope(|s| {
        s.spawn(move || unsafe {
            ambit_operation_complete(address as *mut AmbitTask, op);
            ambit_operation_complete(address as *mut AmbitTask, op);
            ambit_task_wake(address as *mut AmbitTask);
        });
    });
    assert_eq!(WAKES.load(Ordering::SeqCst), 1);
    let done = finish(t);
    assert_eq!((done.values.as_str(), h.cancelled.len(), h.open), ("7", 0, 0), "{done:?}");

    // "Ready", and then nothing: the guest gives way instead of asking in a loop.
    let mut h = TestHost { wait_ready: true, ..host() };
    let t = task(c, &mut h, "test", &["13"]);
    for _ in 0..10 {
        assert_eq!(unsafe { ambit_task_poll(t) }, AMBIT_POLL_SLICE);
    }
    assert!(h.operations.len() < 30);
    unsafe { ambit_task_free(t) };
    assert_eq!(h.open, 0);

    // Two at once: the timer fires, the other is cancelled.
    let mut h = host();
    let t = task(c, &mut h, "test", &["14"]);
    assert_eq!(poll(t), AMBIT_POLL_PARKED);
    let (stdin, timer) = (h.operations[0], h.operations[1]);
    unsafe { ambit_operation_complete(t, timer) };
    let done = finish(t);
    assert_eq!((done.values.as_str(), h.cancelled.as_slice()), ("11", &[stdin][..]), "one ready, number 1: {done:?}");
    assert_eq!(h.open, 0);

    // Freed while parked: both cancelled, nothing left; and so 10,000 times, in a pool of four.
    for _ in 0..10_000 {
        let mut h = host();
        let t = task(c, &mut h, "test", &["14"]);
        assert_eq!(poll(t), AMBIT_POLL_PARKED);
        unsafe { ambit_task_free(t) };
        assert_eq!((h.cancelled.len(), h.open), (2, 0));
    }

    // Freed before the first poll: nothing was asked.
    let mut h = host();
    unsafe { ambit_task_free(task(c, &mut h, "test", &["14"])) };
    assert!(h.calls.is_empty());

    // A full pool is a fault of that task alone.
    let mut hosts: Vec<_> = (0..5).map(|_| host()).collect();
    let tasks: Vec<_> = hosts.iter_mut().map(|h| task(c, h, "test", &["13"])).collect();
    let polls: Vec<_> = tasks.iter().map(|t| poll(*t)).collect();
    assert_eq!(polls[..4], [AMBIT_POLL_PARKED; 4]);
    assert_eq!(polls[4], AMBIT_POLL_DONE);
    for (i, t) in tasks.into_iter().enumerate() {
        if i == 4 {
            let done = finish(t);
            assert_eq!(done.outcome, AMBIT_OUTCOME_FAULT, "{done:?}");
        } else {
            unsafe { ambit_task_free(t) };
        }
    }

    // A vtbl of another size is refused.
    let other = AmbitHostVtbl { size: 8, ..VTBL };
    let t = unsafe { ambit_task_new(c, &CONFIG, &other, null_mut(), AmbitBytes::EMPTY, null(), 0) };
    assert!(t.is_null());
}

/// Handles made without the host: `resource.new` in a loop.
fn handles_inside_the_guest(m: &Machine) {
    let component = wat::parse_str(
        r#"(component
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core module $m (import "r" "new" (func $new (param i32) (result i32))) (func (export "f") (loop (drop (call $new (i32.const 1))) (br 0))))
            (core instance $i (instantiate $m (with "r" (instance (export "new" (func $new))))))
            (func (export "f") (canon lift (core func $i "f"))))"#,
    )
    .expect("WAT");
    let c = m.load(&component);
    let mut h = TestHost::default();
    let done = run(c, &mut h, "f", &[]);
    assert_eq!((done.outcome, h.limit), (AMBIT_OUTCOME_ENDED, Some((AMBIT_LIMIT_HANDLES, 101))), "{done:?}");
    unsafe { ambit_component_free(c) };
}

/// Memories and tables are summed over instances; a maximum of the guest's own is an ordinary failure.
fn memory_is_summed(m: &Machine) {
    let many = |what: &str, count: usize| {
        let instances: String = (0..count).map(|i| format!("(core instance $i{i} (instantiate $m))")).collect();
        wat::parse_str(format!(
            r#"(component (core module $m {what} (func (export "f") (result i32) (i32.const 1))) {instances}
                (func (export "f") (result u32) (canon lift (core func $i0 "f"))))"#
        ))
        .expect("WAT")
    };
    // 8 memories of 2 MiB fit 16 MiB exactly; nothing more does.
    for (what, count, fits) in [
        ("(memory 32)", 8, true),
        ("(memory 33)", 8, false),
        ("(table 50000 funcref)", 40, true),
        ("(table 50000 funcref)", 42, false), // 42 × 50,000 × 8 bytes > 16 MiB
    ] {
        let c = m.load(&many(what, count));
        let mut h = TestHost::default();
        let done = run(c, &mut h, "f", &[]);
        let expected = if fits { (AMBIT_OUTCOME_EXIT, None) } else { (AMBIT_OUTCOME_ENDED, Some(AMBIT_LIMIT_MEMORY)) };
        assert_eq!((done.outcome, h.limit.map(|l| l.0)), expected, "{what} × {count}: {done:?}");
        unsafe { ambit_component_free(c) };
    }
    let grow = |what: &str, grow: &str| {
        wat::parse_str(format!(
            r#"(component (core module $m {what} (func (export "f") (result i32) {grow})) (core instance $i (instantiate $m))
                (func (export "f") (result s32) (canon lift (core func $i "f"))))"#
        ))
        .expect("WAT")
    };
    for (what, how, expected) in [
        ("(memory 1 4)", "(memory.grow (i32.const 60000))", Some("-1")),
        ("(memory 1)", "(memory.grow (i32.const 10))", Some("1")),
        ("(memory 1)", "(memory.grow (i32.const 60000))", None),
        ("(table 1 5 funcref)", "(table.grow (ref.null func) (i32.const 0x7fffffff))", Some("-1")),
        ("(table 1 funcref)", "(table.grow (ref.null func) (i32.const 100000))", Some("-1")), // the pool's table is full before the limit
        ("(table 1 funcref)", "(table.grow (ref.null func) (i32.const 0x7fffffff))", None),
    ] {
        let c = m.load(&grow(what, how));
        let mut h = TestHost::default();
        let done = run(c, &mut h, "f", &[]);
        match expected {
            Some(value) => assert_eq!((done.outcome, done.values.as_str(), h.limit), (AMBIT_OUTCOME_EXIT, value, None), "{what} {how}: {done:?}"),
            None => assert_eq!((done.outcome, h.limit.map(|l| l.0)), (AMBIT_OUTCOME_ENDED, Some(AMBIT_LIMIT_MEMORY)), "{what} {how}: {done:?}"),
        }
        unsafe { ambit_component_free(c) };
    }
}

fn main() {
    let only = std::env::args().nth(1);
    let m = Machine::new();
    let tests: [(&str, fn(&Machine)); 7] = [
        ("versions_match", versions_match),
        ("unknown_imports_are_named", unknown_imports_are_named),
        ("other_code_is_told_apart", other_code_is_told_apart),
        ("functions_are_called_by_name", functions_are_called_by_name),
        ("workshop", workshop_tests),
        ("handles_inside_the_guest", handles_inside_the_guest),
        ("memory_is_summed", memory_is_summed),
    ];
    for (name, test) in tests {
        if only.as_deref().is_none_or(|o| o == name) {
            test(&m);
            println!("ok {name}");
        }
    }
    unsafe { ambit_engine_free(m.0) };
}
