// SPDX-License-Identifier: Apache-2.0
//! What is refused and why; what a description says; and that no damaged file makes the compiler panic.

use ambit_engine::compile::{Kind, Status, compile, compatibility, kind_of};
use serde_json::Value;

/// A component with an interface import, a resource, a memory and an export: every section kind that damage can hit.
const COMPONENT: &str = r#"(component
  (import "wasi:io/error@0.2.3" (instance (export "error" (type (sub resource)))))
  (import "acme:tools/log@1.0.0" (instance $log (export "put" (func (param "text" string)))))
  (core module $memory (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
  (core instance $memory (instantiate $memory))
  (core func $put (canon lower (func $log "put") (memory $memory "memory")))
  (core module $main
    (import "memory" "memory" (memory 2)) (import "log" "put" (func $put (param i32 i32)))
    (table 3 funcref)
    (func (export "run") (result i32) (call $put (i32.const 0) (i32.const 4)) i32.const 0)
    (data (i32.const 0) "text"))
  (core instance $main (instantiate $main (with "memory" (instance $memory))
    (with "log" (instance (export "put" (func $put))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.3" (instance $exports)))"#;

/// A command of WASI 0.1.
const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 8) "\10\00\00\00\03\00\00\00hi\n")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))"#;

fn describe(bytes: &[u8]) -> Value {
    let made = compile(bytes, true).unwrap_or_else(|r| panic!("refused: {}", r.message()));
    assert!(made.code.is_none());
    serde_json::from_str(&made.description).expect("a description is JSON")
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect()
}

fn kinds() {
    let table: [(&[u8], Kind); 16] = [
        (b"", Kind::Unknown),
        (b"\0asm", Kind::Module),
        (b"\0asm\x01\0\0\0", Kind::Module),
        (b"\0asm\x0d\0\x01\0", Kind::Component),
        (b"\x7fELF\x02\x01\x01\0", Kind::Elf),
        (b"\x7fELF\x02\x01\x01\xc8", Kind::MachineCode),
        (b"#!/bin/sh\n", Kind::Script),
        (b"(module)", Kind::Wat),
        (b"\xef\xbb\xbf  ;; words\n(; a (; nested ;) one ;)\n( component )", Kind::Wat),
        (b"(func)", Kind::Wat),
        (b"(lambda)", Kind::Unknown),
        (b"(; never closed", Kind::Unknown),
        (b"(;;)(;)", Kind::Unknown),
        (b";; no end of line", Kind::Unknown),
        (b"print('x')", Kind::Unknown),
        (b"(", Kind::Unknown),
    ];
    for (bytes, kind) in table {
        assert_eq!(kind_of(bytes), kind, "{:?}", bytes.escape_ascii().to_string());
    }
}

fn refusals_name_the_reason() {
    use Status::{Malformed, Unsupported};
    let table: [(&str, Status, &str); 24] = [
        ("", Malformed, "empty"),
        ("hello", Malformed, "no WebAssembly"),
        ("#!/bin/sh\n", Unsupported, "script"),
        ("\x7fELF\x02\x01\x01\0", Unsupported, "native ELF"),
        ("\0asm\x02\0\0\0", Malformed, "version"),
        ("\0asm", Malformed, "byte 4"),
        ("(module\n  (func $x foo))", Malformed, "line 2, column 12"),
        ("(module (func (export \"_start\") i32.const 1))", Malformed, "at byte"),
        ("(module (memory i64 1) (func (export \"_start\")))", Malformed, "switched off: memory64"),
        ("(module (memory 1 1 shared) (func (export \"_start\")))", Malformed, "switched off: threads"),
        ("(module (import \"wasi_unstable\" \"fd_write\" (func)) (func (export \"_start\")))", Unsupported, "snapshot 0"),
        ("(module (import \"env\" \"x\" (func)) (func (export \"_start\")))", Unsupported, "\"env\""),
        ("(module (import \"gojs\" \"x\" (func)) (func (export \"_start\")))", Unsupported, "Go for a browser"),
        ("(module (import \"__wbindgen_placeholder__\" \"x\" (func)))", Unsupported, "wasm-bindgen"),
        ("(module (import \"wasix_32v1\" \"x\" (func)))", Unsupported, "WASIX"),
        ("(module (import \"wasi\" \"thread-spawn\" (func)))", Unsupported, "threads"),
        ("(module (import \"a\\1b[31m\" \"x\" (func)) (import \"b\" \"x\" (func)))", Unsupported, "\"a\u{fffd}[31m\", \"b\""),
        ("(module (func (export \"add\") (param i32) (result i32) local.get 0))", Unsupported, "no entry point"),
        ("(module (func (export \"_start\") (param i32)))", Unsupported, "_start takes or returns"),
        ("(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i64))) (memory (export \"memory\") 1) (func (export \"_start\")))", Unsupported, "proc_exit"),
        ("(component (import \"wasi:cli/run@0.3.0\" (instance (export \"f\" (func)))))", Unsupported, "WASI 0.3"),
        ("(component (import \"wasi:cli/run@0.2.0-rc-2023-11-10\" (instance (export \"f\" (func)))))", Unsupported, "draft of WASI"),
        ("(component (type $t (future u32)) (import \"f\" (func (param \"a\" $t))))", Unsupported, "WASI 0.3"),
        ("(component (import \"f\" (func async)))", Unsupported, "WASI 0.3"),
    ];
    for (bytes, status, part) in table {
        for describe_only in [true, false] {
            let refusal = compile(bytes.as_bytes(), describe_only).expect_err(bytes);
            let message = refusal.message();
            assert_eq!(refusal.status, status, "{bytes}: {message}");
            assert!(refusal.why.contains(part), "{bytes}: {message}");
            let lines: Vec<&str> = message.lines().collect();
            assert!(lines.len() == 2 && lines.iter().all(|l| !l.is_empty()), "why and hint, one line each: {message}");
            assert!(!message.chars().any(|c| c.is_control() && c != '\n'), "{message:?}");
        }
    }
    let cwasm = b"\x7fELF\x02\x01\x01\xc8\0\0\0\0\0\0\0\0";
    assert!(compile(cwasm, true).expect_err("machine code").why.contains(".cwasm"));
}

fn a_component_is_described() {
    let d = describe(COMPONENT.as_bytes());
    assert_eq!((&d["kind"], &d["adapted"], &d["command"]), (&"component".into(), &false.into(), &true.into()));
    assert_eq!(names(&d["imports"]), ["wasi:io/error@0.2.3", "acme:tools/log@1.0.0"]);
    assert_eq!(d["imports"][1]["functions"], serde_json::json!(["put"]));
    assert!(d["imports"][1]["wit"].as_str().unwrap().contains("put: func(text: string);"));
    assert_eq!(names(&d["exports"]), ["wasi:cli/run@0.2.3"]);
    assert!(d["wit"].as_str().unwrap().contains("import acme:tools/log@1.0.0;"));
    assert_eq!(d["limits"], serde_json::json!({"memories": 1, "memory_min": 131072, "tables": 1, "core_instances": 2}));
    assert!(d.get("wit_error").is_none() && d.get("cut").is_none());
}

fn modules_become_commands() {
    let d = describe(MODULE.as_bytes());
    assert_eq!((&d["kind"], &d["adapted"], &d["command"]), (&"module".into(), &true.into(), &true.into()));
    assert!(names(&d["imports"]).iter().all(|n| n.starts_with("wasi:")), "{d}");
    // Without imports nothing of WASI is needed, and no memory either.
    for plain in ["(module (func (export \"_start\")))", "(module (memory (export \"memory\") 1) (func (export \"_start\")))"] {
        let d = describe(plain.as_bytes());
        assert_eq!((&d["adapted"], &d["command"], &d["imports"]), (&false.into(), &true.into(), &serde_json::json!([])));
    }
    // A module of more than 127 and of more than 16,383 bytes: the length of the section grows.
    for size in [200, 20_000] {
        let text = format!("(module (func (export \"_start\")) (memory 1) (data \"{}\"))", "x".repeat(size));
        assert_eq!(describe(text.as_bytes())["command"], true);
    }
}

fn a_component_without_run_is_no_command() {
    assert_eq!(describe(b"(component)")["command"], false);
    assert_eq!(describe(b"(component)")["serves"], false);
    let handler = COMPONENT.replace("wasi:cli/run@0.2.3", "wasi:http/incoming-handler@0.2.3");
    let d = describe(handler.as_bytes());
    assert_eq!((&d["command"], &d["serves"]), (&false.into(), &true.into()));
    let other = COMPONENT.replace("wasi:cli/run@0.2.3", "acme:cli/run@0.2.3");
    assert_eq!(describe(other.as_bytes())["command"], false);
}

fn text_and_binary_give_the_same_code() {
    let binary = wat::parse_str(COMPONENT).unwrap();
    let a = compile(&binary, false).unwrap();
    let b = compile(COMPONENT.as_bytes(), false).unwrap();
    assert_eq!(a.description, b.description);
    assert!(a.code.is_some() && a.code == b.code, "compiling repeats byte for byte");
}

/// Hostile names: a description stays bounded JSON.
fn large_descriptions_are_cut() {
    let mut text = String::from("(component (import \"a:b/c\" (instance");
    for n in 0..4000 {
        text.push_str(&format!("(export \"f{n}-{}\" (func (param \"{}\" string)))", "x".repeat(100), "y".repeat(100)));
    }
    text.push_str(")))");
    let made = compile(text.as_bytes(), true).unwrap();
    assert!(made.description.len() <= 512 * 1024, "{}", made.description.len());
    let d: Value = serde_json::from_str(&made.description).unwrap();
    assert_eq!(d["cut"][0], "wit");
    assert_eq!(names(&d["imports"]), ["a:b/c"]);

    let many: String = (0..1001).map(|n| format!("(import \"f{n}\" (func))")).collect();
    let refusal = compile(format!("(component {many})").as_bytes(), true).expect_err("too many imports");
    assert_eq!(refusal.status, Status::Unsupported);
}

/// Damaged files are refused or run as what they became, never a panic (in production a panic is the end of the room, and an
/// error too; but each one would be a message that explains nothing).
fn damage_never_panics() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for text in [COMPONENT, MODULE] {
        let binary = wat::parse_str(text).unwrap();
        for end in (0..binary.len()).step_by(7) {
            assert!(compile(&binary[..end], true).is_err() || end >= 8, "cut at {end}");
        }
        let mut kept = 0;
        for _ in 0..6000 {
            let mut damaged = binary.clone();
            for _ in 0..1 + random() % 3 {
                let at = random() % damaged.len();
                damaged[at] ^= 1 << (random() % 8);
            }
            kept += usize::from(compile(&damaged, random() % 16 != 0).is_ok());
        }
        assert!(kept > 0, "some damage is harmless (a name, a datum): else this test damages too much to reach the code");
    }
}

fn the_key_repeats_and_names_the_engine() {
    assert_eq!(compatibility(), compatibility());
    assert_ne!(compatibility(), [0; 32]);
    // SAFETY: a static text with its NUL.
    let version = unsafe { std::ffi::CStr::from_ptr(ambit_engine::compile::ambit_engine_version()) }.to_str().unwrap();
    let number = version.strip_prefix("wasmtime ").unwrap();
    assert!(include_str!("../Cargo.toml").contains(&format!("wasmtime = {{ version = \"={number}\"")), "{version}");
}

fn main() {
    let tests: [(&str, fn()); 9] = [
        ("kinds", kinds),
        ("refusals_name_the_reason", refusals_name_the_reason),
        ("a_component_is_described", a_component_is_described),
        ("modules_become_commands", modules_become_commands),
        ("a_component_without_run_is_no_command", a_component_without_run_is_no_command),
        ("text_and_binary_give_the_same_code", text_and_binary_give_the_same_code),
        ("large_descriptions_are_cut", large_descriptions_are_cut),
        ("damage_never_panics", damage_never_panics),
        ("the_key_repeats_and_names_the_engine", the_key_repeats_and_names_the_engine),
    ];
    for (name, test) in tests {
        test();
        println!("ok {name}");
    }
}
