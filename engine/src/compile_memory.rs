// SPDX-License-Identifier: Apache-2.0
//! A WASI 0.1 module's memory stays its own.
//!
//! The adapter lives in the module's memory: it grows that memory by a page for its stack before the module starts, and by a page for
//! its state at the first call. Allocators that take the memory for theirs alone write into those pages: Go's runtime, which expects
//! what it grows to begin where its heap ends, and the allocator of wasi-libc before 2023, which takes everything up to `memory.size`.
//! The result is a guest that computes something else.
//!
//! So the adapter's pages are kept above everything that the module can see. In the module `memory.size` answers without them, and
//! `memory.grow` moves them up, by a function `MOVE` that is added to the adapter and imported by the module:
//!
//! ```text
//!   before   | module's pages | stack | state |
//!   grow 2   | module's pages | new   | new   | stack | state |      the new ones are zero; the old size is the answer
//! ```
//!
//! Moving is safe because no adapter code runs meanwhile and its pages hold no address of theirs: descriptors are handles, and what
//! points into them (arguments, names, lists) lives for one call. tests/interop shows it with Go and wasi-libc.
//!
//! A module that exports `cabi_realloc` gives the adapter its memory itself and is left as it is. Before `_start` is called (in a start
//! section) the adapter has no pages yet, and its functions cannot be called.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    Instruction, Module, SectionId, TypeSection, ValType,
};
use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};

const MOVE: &str = "ambit_move";
const START: &str = "_start";
/// Pages that the adapter adds at most.
const ADAPTER_PAGES: u64 = 2;
const MAX_PAGES: u64 = 65536;
const PAGE_BITS: i32 = 16;

type Parsed<T> = Result<T, Error<Infallible>>;

/// What is there before anything is added.
#[derive(Default)]
struct Survey {
    types: u32,
    imported_functions: u32,
    functions: u32,
    globals: u32,
    global_section: bool,
    imported_memory: bool,
    memory: Option<u32>,
    start: Option<u32>,
    allocates: bool,
}

fn survey(module: &[u8]) -> Option<Survey> {
    let mut s = Survey::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                for group in section {
                    s.types += u32::try_from(group.ok()?.types().len()).ok()?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    match import.ok()?.ty {
                        TypeRef::Func(_) => s.imported_functions += 1,
                        TypeRef::Global(_) => s.globals += 1,
                        TypeRef::Memory(_) => s.imported_memory = true,
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => s.functions = section.count(),
            Payload::GlobalSection(section) => {
                s.globals += section.count();
                s.global_section = true;
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    match (export.name, export.kind) {
                        ("memory", ExternalKind::Memory) => s.memory = Some(export.index),
                        (START, ExternalKind::Func) => s.start = Some(export.index),
                        (name, _) => s.allocates |= name.starts_with("cabi_realloc"),
                    }
                }
            }
            _ => {}
        }
    }
    Some(s)
}

/// Function indices move up by one behind the imports, where MOVE is added; what else is added stands at the end of its section.
struct Guest<'a> {
    s: Survey,
    wasi_01: &'a str,
    memory: u32,
    start: u32,
}

impl Guest<'_> {
    fn type_of_move(&self) -> u32 {
        self.s.types
    }

    fn first_added(&self) -> u32 {
        self.s.imported_functions + 1 + self.s.functions
    }

    fn size(&self) -> u32 {
        self.first_added()
    }

    fn grow(&self) -> u32 {
        self.first_added() + 1
    }

    fn started(&self) -> u32 {
        self.s.globals
    }

    fn add_started(globals: &mut GlobalSection) {
        globals.global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(0));
    }

    /// Pages of the adapter, after moving them up by what `pages` pushes.
    fn adapter_pages(&self, f: &mut Function, pages: &Instruction) {
        f.instruction(&Instruction::GlobalGet(self.started()));
        f.instruction(&Instruction::If(BlockType::Result(ValType::I32)));
        f.instruction(pages);
        f.instruction(&Instruction::Call(self.s.imported_functions));
        f.instruction(&Instruction::Else);
        f.instruction(&Instruction::I32Const(0));
        f.instruction(&Instruction::End);
    }

    fn body_of_size(&self) -> Function {
        let mut f = Function::new([]);
        f.instruction(&Instruction::MemorySize(self.memory));
        self.adapter_pages(&mut f, &Instruction::I32Const(0));
        f.instruction(&Instruction::I32Sub);
        f.instruction(&Instruction::End);
        f
    }

    fn body_of_grow(&self) -> Function {
        let mut f = Function::new([(1, ValType::I32)]);
        f.instruction(&Instruction::LocalGet(0));
        f.instruction(&Instruction::MemoryGrow(self.memory));
        f.instruction(&Instruction::LocalTee(1));
        f.instruction(&Instruction::I32Const(-1));
        f.instruction(&Instruction::I32Eq);
        f.instruction(&Instruction::If(BlockType::Empty));
        f.instruction(&Instruction::I32Const(-1));
        f.instruction(&Instruction::Return);
        f.instruction(&Instruction::End);
        f.instruction(&Instruction::LocalGet(1));
        self.adapter_pages(&mut f, &Instruction::LocalGet(0));
        f.instruction(&Instruction::I32Sub);
        f.instruction(&Instruction::End);
        f
    }

    fn body_of_start(&self) -> Function {
        let mut f = Function::new([]);
        f.instruction(&Instruction::I32Const(1));
        f.instruction(&Instruction::GlobalSet(self.started()));
        f.instruction(&Instruction::Call(self.start));
        f.instruction(&Instruction::End);
        f
    }
}

impl Reencode for Guest<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Parsed<u32> {
        Ok(if function < self.s.imported_functions { function } else { function + 1 })
    }

    fn parse_type_section(&mut self, types: &mut TypeSection, section: wasmparser::TypeSectionReader<'_>) -> Parsed<()> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([], [ValType::I32]);
        types.ty().function([], []);
        Ok(())
    }

    fn parse_import_section(&mut self, imports: &mut ImportSection, section: wasmparser::ImportSectionReader<'_>) -> Parsed<()> {
        utils::parse_import_section(self, imports, section)?;
        imports.import(self.wasi_01, MOVE, EntityType::Function(self.type_of_move()));
        Ok(())
    }

    fn parse_function_section(&mut self, functions: &mut FunctionSection, section: wasmparser::FunctionSectionReader<'_>) -> Parsed<()> {
        utils::parse_function_section(self, functions, section)?;
        let of_move = self.type_of_move();
        functions.function(of_move + 1).function(of_move).function(of_move + 2);
        Ok(())
    }

    /// A declared maximum leaves room for the adapter's pages.
    fn memory_type(&mut self, memory: wasmparser::MemoryType) -> Parsed<wasm_encoder::MemoryType> {
        let mut memory = utils::memory_type(self, memory);
        memory.maximum = memory.maximum.map(|pages| (pages + ADAPTER_PAGES).min(MAX_PAGES));
        Ok(memory)
    }

    fn parse_global_section(&mut self, globals: &mut GlobalSection, section: wasmparser::GlobalSectionReader<'_>) -> Parsed<()> {
        utils::parse_global_section(self, globals, section)?;
        Guest::add_started(globals);
        Ok(())
    }

    fn intersperse_section_hook(&mut self, module: &mut Module, _: Option<SectionId>, before: Option<SectionId>) -> Parsed<()> {
        // The first section that must stand behind the globals; a module with `_start` has exports.
        if before == Some(SectionId::Export) && !self.s.global_section {
            let mut globals = GlobalSection::new();
            Guest::add_started(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }

    fn parse_export(&mut self, exports: &mut ExportSection, export: wasmparser::Export<'_>) -> Parsed<()> {
        if export.name == START {
            exports.export(START, ExportKind::Func, self.first_added() + 2);
            return Ok(());
        }
        utils::parse_export(self, exports, export)
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: wasmparser::CodeSectionReader<'_>) -> Parsed<()> {
        utils::parse_code_section(self, code, section)?;
        code.function(&self.body_of_size()).function(&self.body_of_grow()).function(&self.body_of_start());
        Ok(())
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Parsed<Instruction<'a>> {
        match operator {
            Operator::MemorySize { mem } if mem == self.memory => Ok(Instruction::Call(self.size())),
            Operator::MemoryGrow { mem } if mem == self.memory => Ok(Instruction::Call(self.grow())),
            other => utils::instruction(self, other),
        }
    }
}

/// The adapter with MOVE. Its globals are the first two, by its own name section: stack pointer, address of the state (0: none yet).
struct Adapter {
    s: Survey,
}

const STACK_POINTER: u32 = 0;
const STATE: u32 = 1;

impl Adapter {
    fn body_of_move() -> Function {
        use Instruction as I;
        let (pages, used, from) = (0, 1, 2);
        let bytes = |f: &mut Function, local| {
            f.instruction(&I::LocalGet(local)).instruction(&I::I32Const(PAGE_BITS)).instruction(&I::I32Shl);
        };
        let raise = |f: &mut Function, global| {
            f.instruction(&I::GlobalGet(global));
            bytes(f, pages);
            f.instruction(&I::I32Add).instruction(&I::GlobalSet(global));
        };
        let mut f = Function::new([(2, ValType::I32)]);
        // used = 1 + (state != 0)
        f.instruction(&I::I32Const(1)).instruction(&I::GlobalGet(STATE)).instruction(&I::I32Const(0)).instruction(&I::I32Ne);
        f.instruction(&I::I32Add).instruction(&I::LocalSet(used));
        f.instruction(&I::LocalGet(pages)).instruction(&I::If(BlockType::Empty));
        // from = (size - pages - used) << 16
        f.instruction(&I::MemorySize(0)).instruction(&I::LocalGet(pages)).instruction(&I::I32Sub);
        f.instruction(&I::LocalGet(used)).instruction(&I::I32Sub);
        f.instruction(&I::I32Const(PAGE_BITS)).instruction(&I::I32Shl).instruction(&I::LocalSet(from));
        // copy up, then clear what was left
        f.instruction(&I::LocalGet(from));
        bytes(&mut f, pages);
        f.instruction(&I::I32Add).instruction(&I::LocalGet(from));
        bytes(&mut f, used);
        f.instruction(&I::MemoryCopy { src_mem: 0, dst_mem: 0 });
        f.instruction(&I::LocalGet(from)).instruction(&I::I32Const(0));
        f.instruction(&I::LocalGet(pages)).instruction(&I::LocalGet(used));
        f.instruction(&I::LocalGet(pages)).instruction(&I::LocalGet(used)).instruction(&I::I32LtU).instruction(&I::Select);
        f.instruction(&I::I32Const(PAGE_BITS)).instruction(&I::I32Shl).instruction(&I::MemoryFill(0));
        raise(&mut f, STACK_POINTER);
        f.instruction(&I::GlobalGet(STATE)).instruction(&I::If(BlockType::Empty));
        raise(&mut f, STATE);
        f.instruction(&I::End).instruction(&I::End);
        f.instruction(&I::LocalGet(used)).instruction(&I::End);
        f
    }
}

impl Reencode for Adapter {
    type Error = Infallible;

    fn parse_type_section(&mut self, types: &mut TypeSection, section: wasmparser::TypeSectionReader<'_>) -> Parsed<()> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32], [ValType::I32]);
        Ok(())
    }

    fn parse_function_section(&mut self, functions: &mut FunctionSection, section: wasmparser::FunctionSectionReader<'_>) -> Parsed<()> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.s.types);
        Ok(())
    }

    fn parse_export_section(&mut self, exports: &mut ExportSection, section: wasmparser::ExportSectionReader<'_>) -> Parsed<()> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(MOVE, ExportKind::Func, self.s.imported_functions + self.s.functions);
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: wasmparser::CodeSectionReader<'_>) -> Parsed<()> {
        utils::parse_code_section(self, code, section)?;
        code.function(&Adapter::body_of_move());
        Ok(())
    }
}

/// The adapter's globals are those that `body_of_move` takes them for.
fn globals_are_known(adapter: &[u8]) -> bool {
    let mut found = 0;
    for payload in Parser::new(0).parse_all(adapter) {
        let Ok(Payload::CustomSection(section)) = payload else { continue };
        let wasmparser::KnownCustom::Name(names) = section.as_known() else { continue };
        for name in names {
            let Ok(wasmparser::Name::Global(map)) = name else { continue };
            for naming in map.into_iter().flatten() {
                found += u32::from((naming.index, naming.name) == (STACK_POINTER, "__stack_pointer"));
                found += u32::from((naming.index, naming.name) == (STATE, "internal_state_ptr"));
            }
        }
    }
    found == 2
}

/// The module and the adapter, changed so that the adapter's pages are out of the module's sight; None when the module has no use for
/// it: it gives memory to the adapter itself, or has none of its own.
pub fn keep_apart(module: &[u8], adapter: &[u8], wasi_01: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let s = survey(module)?;
    let (Some(memory), Some(start)) = (s.memory, s.start) else { return None };
    if s.allocates || s.imported_memory || s.imported_functions == 0 || start < s.imported_functions || !globals_are_known(adapter) {
        return None;
    }
    let (mut changed, mut host) = (Module::new(), Module::new());
    let mut guest = Guest { s, wasi_01, memory, start: start + 1 };
    guest.parse_core_module(&mut changed, Parser::new(0), module).ok()?;
    Adapter { s: survey(adapter)? }.parse_core_module(&mut host, Parser::new(0), adapter).ok()?;
    Some((changed.finish(), host.finish()))
}
