// SPDX-License-Identifier: Apache-2.0
//! Build tool, never part of the command: makes a component of a core module that components/js/build compiled.
//!
//!   component CORE.wasm WIT-FOLDER WORLD INIT OUT.wasm
//!
//! 1. *Snapshot.* Runs the module's export INIT in an engine where every import traps, and writes the memory it leaves into the
//!    module's data segments: whatever INIT prepared is there when a run starts. The module must keep its state in memory alone (its
//!    one mutable global is the stack pointer, which is back where it was when INIT returns), so nothing else is carried over.
//! 2. *Component.* Embeds the types of WORLD and encodes the component, validated. No adapter: the module imports WASI 0.2 by its
//!    canonical names.
//!
//! It is an example of the engine crate because everything it needs is compiled for that crate already.

use std::process::ExitCode;

use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module, RawSection};
use wasmparser::{Parser, Payload};
use wasmtime::{Config, Engine, Linker, Store};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PAGE: usize = 65536;
/// Zeros that a segment may hold before it is cut in two: a new segment costs about this many bytes.
const GAP: usize = 64;

/// The memory after INIT.
fn image_of(module: &[u8], init: &str) -> Result<Vec<u8>> {
    let engine = Engine::new(&Config::new())?;
    let module = wasmtime::Module::new(&engine, module)?;
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&module)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let status = instance.get_typed_func::<(), i32>(&mut store, init)?.call(&mut store, ())?;
    let memory = instance.get_memory(&mut store, "memory").ok_or("the module exports no memory")?;
    if status != 0 {
        // A module may say why: the address of a text that ends with a zero.
        let at = instance.get_typed_func::<(), i32>(&mut store, "ambit_error").and_then(|f| f.call(&mut store, ())).unwrap_or(0);
        let text = memory.data(&store).get(at as usize..).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
        return Err(format!("{init} failed with {status}: {}", String::from_utf8_lossy(text)).into());
    }
    Ok(memory.data(&store).to_vec())
}

/// Segments for what is not zero.
fn segments(image: &[u8]) -> DataSection {
    let mut data = DataSection::new();
    let mut at = 0;
    while let Some(start) = image[at..].iter().position(|b| *b != 0).map(|n| at + n) {
        let (mut end, mut scan) = (start + 1, start + 1);
        while scan < image.len() && scan - end < GAP {
            scan += 1;
            if image[scan - 1] != 0 {
                end = scan;
            }
        }
        data.active(0, &ConstExpr::i32_const(start as i32), image[start..end].iter().copied());
        at = end;
    }
    data
}

fn with_image(module: &[u8], image: &[u8]) -> Result<Vec<u8>> {
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::MemorySection(section) => {
                let memory = section.into_iter().next().ok_or("the module has no memory")??;
                let mut memories = MemorySection::new();
                memories.memory(MemoryType {
                    minimum: (image.len() / PAGE) as u64,
                    maximum: memory.maximum,
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
                out.section(&memories);
            }
            Payload::DataSection(_) => {
                out.section(&segments(image));
            }
            Payload::DataCountSection { .. } => return Err("the module has passive data; compile it without bulk memory".into()),
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    out.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    Ok(out.finish())
}

fn make(arguments: &[String]) -> Result<()> {
    let [core, wit, world, init, out] = arguments else {
        return Err("use: component CORE.wasm WIT-FOLDER WORLD INIT OUT.wasm".into());
    };
    let module = std::fs::read(core)?;
    let image = image_of(&module, init)?;
    let mut module = with_image(&module, &image)?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    std::fs::write(out, component)?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match make(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("component: {error:?}");
            ExitCode::FAILURE
        }
    }
}
