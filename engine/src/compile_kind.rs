// SPDX-License-Identifier: Apache-2.0
//! What a file is, by its first bytes only. Cheap and total, so that any room may ask before it starts a compiler.

use super::{Refusal, Status};

/// `enum ambit_kind`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unknown = 0,
    Component = 1,
    Module = 2,
    Wat = 3,
    MachineCode = 4,
    Elf = 5,
    Script = 6,
}

/// No more than this is looked at.
pub const LOOK_MAX: usize = 4096;
/// e_ident[EI_OSABI] of Wasmtime's compiled files.
const ELFOSABI_WASMTIME: u8 = 200;

pub fn kind_of(bytes: &[u8]) -> Kind {
    let bytes = &bytes[..bytes.len().min(LOOK_MAX)];
    if bytes.starts_with(b"\0asm") {
        // Version (u16) and layer (u16). A version that nobody knows is left to the validator, which says so.
        return if bytes.get(6..8) == Some(&[1, 0]) { Kind::Component } else { Kind::Module };
    }
    if bytes.starts_with(b"\x7fELF") {
        return if bytes.get(7) == Some(&ELFOSABI_WASMTIME) { Kind::MachineCode } else { Kind::Elf };
    }
    if bytes.starts_with(b"#!") {
        return Kind::Script;
    }
    if is_wat(bytes) { Kind::Wat } else { Kind::Unknown }
}

/// The first token after white space, comments and annotations is `(` and the word of a module or component, or of a field where
/// `(module` is left out.
fn is_wat(bytes: &[u8]) -> bool {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    loop {
        rest = rest.trim_ascii_start();
        if rest.starts_with(b";;") {
            match rest.iter().position(|b| *b == b'\n') {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        } else if rest.starts_with(b"(;") {
            match after_block_comment(rest) {
                Some(after) => rest = after,
                None => return false,
            }
        } else {
            break;
        }
    }
    let Some(rest) = rest.strip_prefix(b"(") else { return false };
    let rest = rest.trim_ascii_start();
    let word = rest.split(|b| !b.is_ascii_alphabetic()).next().unwrap_or(b"");
    let words: [&[u8]; 14] = [
        b"module", b"component", b"func", b"memory", b"import", b"export", b"type", b"table", b"global", b"start", b"elem",
        b"data", b"rec", b"tag",
    ];
    words.contains(&word)
}

/// Block comments nest.
fn after_block_comment(text: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut at) = (0usize, 0usize);
    while at < text.len() {
        match text.get(at..at + 2) {
            Some(b"(;") => (depth, at) = (depth + 1, at + 2),
            Some(b";)") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return text.get(at..);
        }
    }
    None
}

/// Why a file of this kind is not compiled.
pub fn refusal(kind: Kind, bytes: &[u8]) -> Refusal {
    match kind {
        Kind::MachineCode => Refusal::unsupported(
            "this is machine code that Wasmtime made (a .cwasm file); running foreign machine code would bypass the sandbox",
            "give the .wasm file it was made from: Ambit compiles and caches it itself",
        ),
        Kind::Elf => Refusal::unsupported(
            "this is a native ELF program, and Ambit runs WebAssembly and Python scripts",
            "build the program for wasm32-wasip1 or wasm32-wasip2",
        ),
        Kind::Script => Refusal::unsupported(
            "this is a script that starts with #!, and a shell or other native interpreter would need the whole machine",
            "rewrite it in Python (FILE.py runs on the Python that ships), or build what it calls for wasm32-wasip1",
        ),
        _ if bytes.is_empty() => Refusal::new(Status::Malformed, "the file is empty", "give a component, a module, WebAssembly text or a .py script"),
        _ => Refusal::new(
            Status::Malformed,
            "this is no WebAssembly: the file starts neither like a binary (\\0asm) nor like text of it",
            "give a component, a WASI 0.1 module, a .wat text or a .py script",
        ),
    }
}
