// SPDX-License-Identifier: Apache-2.0
//! Exit codes of WASI 0.1 modules. The adapter ends a guest with `wasi:cli/exit#exit`, which knows success and failure only, so that 7
//! would become 1. A module's import of `proc_exit` is therefore renamed to `wasi:cli/exit#exit-with-code`, which has the same core
//! type and takes the low eight bits as a process does, and the module says so in a component-type section of its own.

use wasmparser::{CompositeInnerType, ImportSectionReader, Imports, Parser, Payload, TypeRef, ValType};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::adapt::{HEADER_SIZE, leb128};

const IMPORT_SECTION: u8 = 2;
const EXIT_INTERFACE: &str = "wasi:cli/exit@0.2.12";
const EXIT_FUNCTION: &str = "exit-with-code";
/// As in wit/deps/cli.wit, so that it is one interface with that of the adapter.
const WORLD: &str = "package ambit:exit;
world codes { import wasi:cli/exit@0.2.12; }
package wasi:cli@0.2.12 { interface exit { exit: func(status: result); exit-with-code: func(status-code: u8); } }";

/// The module with its exit codes kept; None when it never calls `proc_exit`, or calls something else of that name.
pub fn keep_codes(module: &[u8], wasi_01: &str) -> Option<Vec<u8>> {
    let mut simple = Vec::new(); // per type: is it (i32) -> ()?
    let mut before = HEADER_SIZE; // where the section before ends
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.ok()?;
        let section_end = payload.as_section().map(|(_, range)| range.end);
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    simple.extend(group.ok()?.into_types().map(|ty| match ty.composite_type.inner {
                        CompositeInnerType::Func(f) => f.params() == [ValType::I32] && f.results().is_empty(),
                        _ => false,
                    }));
                }
            }
            Payload::ImportSection(section) => {
                let is_simple = |ty: u32| simple.get(ty as usize) == Some(&true);
                let end = section.range().end;
                let body = renamed_imports(module, section, wasi_01, is_simple)?;
                let mut out = Vec::with_capacity(module.len() + 1024);
                out.extend_from_slice(&module[..before]);
                out.push(IMPORT_SECTION);
                leb128(body.len(), &mut out);
                out.extend_from_slice(&body);
                out.extend_from_slice(&module[end..]);
                return with_type(out);
            }
            _ => {}
        }
        before = section_end.unwrap_or(before);
    }
    None
}

/// The contents of an import section with `proc_exit` under its new name; None when it is not there.
fn renamed_imports(module: &[u8], section: ImportSectionReader, wasi_01: &str, is_simple: impl Fn(u32) -> bool) -> Option<Vec<u8>> {
    let (start, end, count) = (section.range().start, section.range().end, section.count());
    let items: Vec<(usize, Imports)> = section.into_iter_with_offsets().collect::<Result<_, _>>().ok()?;
    let mut body = Vec::with_capacity(end - start + 64);
    let mut renamed = false;
    leb128(count as usize, &mut body);
    for (i, (at, item)) in items.iter().enumerate() {
        let Imports::Single(_, import) = item else { return None };
        match import.ty {
            TypeRef::Func(ty) if import.module == wasi_01 && import.name == "proc_exit" && is_simple(ty) => {
                for name in [EXIT_INTERFACE, EXIT_FUNCTION] {
                    leb128(name.len(), &mut body);
                    body.extend_from_slice(name.as_bytes());
                }
                body.push(0); // a function
                leb128(ty as usize, &mut body);
                renamed = true;
            }
            _ => body.extend_from_slice(&module[*at..items.get(i + 1).map_or(end, |(next, _)| *next)]),
        }
    }
    renamed.then_some(body)
}

/// The module, saying that it imports the interface.
fn with_type(mut module: Vec<u8>) -> Option<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit.wit", WORLD).ok()?;
    let world = resolve.select_world(&[package], Some("codes")).ok()?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).ok()?;
    Some(module)
}
