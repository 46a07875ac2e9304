// SPDX-License-Identifier: Apache-2.0
//! A core module becomes a component: by its own component-type sections (what language bindings embed), by the adapter of WASI 0.1,
//! or both. The adapters are those of the engine's version, inside this binary.

use std::borrow::Cow;
use std::collections::BTreeSet;

use wasi_preview1_component_adapter_provider as provider;
use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::ComponentEncoder;

use super::{Refusal, quoted};

/// A component, and what it was before.
pub struct Adapted<'a> {
    pub component: Cow<'a, [u8]>,
    pub module: bool,
    /// Whether the WASI 0.1 adapter is in it.
    pub adapted: bool,
}

const WASI_01: &str = provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
/// Names in a message.
const NAMES_SHOWN: usize = 5;

struct Shape {
    imports: BTreeSet<String>,
    start: bool,
    typed: bool,
}

fn shape_of(module: &[u8]) -> Result<Shape, Refusal> {
    let mut shape = Shape { imports: BTreeSet::new(), start: false, typed: false };
    let broken = |e: wasmparser::BinaryReaderError| Refusal::malformed(format!("not valid WebAssembly: {e}"));
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(broken)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    shape.imports.insert(import.map_err(broken)?.module.to_owned());
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(broken)?;
                    shape.start |= export.name == "_start" && export.kind == ExternalKind::Func;
                }
            }
            Payload::CustomSection(section) => shape.typed |= section.name().starts_with("component-type"),
            _ => {}
        }
    }
    Ok(shape)
}

/// Import modules by which well-known toolchains give themselves away.
fn foreign(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "wasi_unstable" => (
            "it is built for snapshot 0 of WASI (wasi_unstable, 2019)",
            "build it again with a toolchain from 2020 or later (target wasm32-wasip1)",
        ),
        "wasi" => ("it starts threads (wasi-threads), which components do not have", "build it without threads: target wasm32-wasip1"),
        "wasix_32v1" | "wasix_64v1" => ("it is built for WASIX, which only Wasmer has", "build it for WASI: target wasm32-wasip1"),
        "gojs" | "go" => ("it is Go for a browser (GOOS=js)", "build it with GOOS=wasip1 GOARCH=wasm go build"),
        "wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" => {
            ("it is Rust for a browser (wasm-bindgen)", "build it with --target wasm32-wasip1 or wasm32-wasip2")
        }
        "a" | "asyncify" => ("it is built for a JavaScript host (Emscripten, minified)", "build it as -sSTANDALONE_WASM, or with wasi-libc"),
        "env" => (
            "it imports functions of a host of its own (\"env\": Emscripten, a plug-in, or a forgotten library)",
            "link the missing functions into it, or build it with wasi-libc (target wasm32-wasip1)",
        ),
        _ => return None,
    })
}

fn check_imports(shape: &Shape) -> Result<(), Refusal> {
    // A typed module names its interfaces like "wasi:cli/stdin@0.2.0" or "$root"; the encoder checks those against its types.
    let unknown: Vec<&String> = shape
        .imports
        .iter()
        .filter(|name| *name != WASI_01 && !(shape.typed && (name.contains(':') || name.starts_with('$') || name.starts_with('['))))
        .collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    if shape.imports.contains("wasi_unstable") || unknown.len() == 1 {
        let name = if shape.imports.contains("wasi_unstable") { "wasi_unstable" } else { first.as_str() };
        if let Some((why, hint)) = foreign(name) {
            return Err(Refusal::unsupported(why, hint));
        }
    }
    let names: Vec<String> = unknown.iter().take(NAMES_SHOWN).map(|n| quoted(n)).collect();
    let more = if unknown.len() > NAMES_SHOWN { format!(" and {} more", unknown.len() - NAMES_SHOWN) } else { String::new() };
    Err(Refusal::unsupported(
        format!("the module imports {}{more}, which no part of WASI provides", names.join(", ")),
        "build it for WASI (target wasm32-wasip1 or wasm32-wasip2), with everything else linked in",
    ))
}

/// A component that runs `_start` of a module without imports, around a stand-in for that module (its first section). The
/// adapter would want a memory, which such a module need not have, and would ask for half of WASI.
const PLAIN: &str = r#"(component
  (core module $main (func (export "_start")))
  (core instance $main (instantiate $main))
  (core module $shim (import "main" "_start" (func)) (func (export "run") (result i32) call 0 i32.const 0))
  (core instance $shim (instantiate $shim (with "main" (instance $main))))
  (func $run (result (result)) (canon lift (core func $shim "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
pub(super) const HEADER_SIZE: usize = 8;
const CORE_MODULE_SECTION: u8 = 1;

pub(super) fn leb128(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// PLAIN with `module` in the stand-in's place.
fn plain(module: &[u8]) -> Result<Vec<u8>, Refusal> {
    let ours = || Refusal::new(super::Status::Failed, "the frame for a plain module is broken", "this is a fault of Ambit: please report it");
    let frame = wat::parse_str(PLAIN).map_err(|_| ours())?;
    let [CORE_MODULE_SECTION, stand_in @ 0..0x80] = frame[HEADER_SIZE..HEADER_SIZE + 2] else { return Err(ours()) };
    let mut component = Vec::with_capacity(module.len() + frame.len());
    component.extend_from_slice(&frame[..HEADER_SIZE]);
    component.push(CORE_MODULE_SECTION);
    leb128(module.len(), &mut component);
    component.extend_from_slice(module);
    component.extend_from_slice(&frame[HEADER_SIZE + 2 + usize::from(stand_in)..]);
    super::validate(&component).map_err(|_| {
        Refusal::unsupported("the module's function _start takes or returns something", "build it as a command: _start takes and returns nothing")
    })?;
    Ok(component)
}

/// The component, and whether the WASI 0.1 adapter is in it.
pub fn adapt(module: &[u8]) -> Result<(Vec<u8>, bool), Refusal> {
    let shape = shape_of(module)?;
    check_imports(&shape)?;
    let needs_adapter = shape.start || shape.imports.contains(WASI_01);
    if !shape.start && !shape.typed {
        return Err(Refusal::unsupported(
            "the module has no entry point: it exports no function _start, and no component types say what else could be called",
            "build it as a command (with a main function), or as a component",
        ));
    }
    if shape.imports.is_empty() && !shape.typed {
        return Ok((plain(module)?, false));
    }
    let adapter = if shape.start { provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER } else { provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER };
    let kept = super::exit::keep_codes(module, WASI_01);
    let module = kept.as_deref().unwrap_or(module);
    let apart = if needs_adapter && shape.start { super::memory::keep_apart(module, adapter, WASI_01) } else { None };
    let (module, adapter) = apart.as_ref().map_or((module, adapter), |(m, a)| (m.as_slice(), a.as_slice()));
    let encode = || {
        let mut encoder = ComponentEncoder::default().validate(false).module(module)?;
        if needs_adapter {
            encoder = encoder.adapter(WASI_01, adapter)?;
        }
        encoder.encode()
    };
    let component = encode().map_err(|error| {
        Refusal::unsupported(
            format!("the module cannot be adapted to a component: {error:#}"),
            "build it again with a current toolchain for wasm32-wasip1 (its memory must be exported as \"memory\")",
        )
    })?;
    Ok((component, needs_adapter))
}
