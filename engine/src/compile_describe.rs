// SPDX-License-Identifier: Apache-2.0
//! What a component wants and offers: the JSON description that goes beside its machine code, so that no other room parses Wasm.
//!
//! Names come from the file and are hostile: JSON escapes them, counts and the whole text are bounded, and what had to go is said in
//! "cut". A valid component whose types WIT cannot express still has its names listed, with the reason in "wit_error".

use serde_json::{Map, Value, json};
use wasmparser::{ComponentExternalKind, Instance, Parser, Payload, ProducersSectionReader};
use wit_component::{DecodedWasm, OutputToString, WitPrinter};
use wit_parser::{InterfaceId, PackageId, Resolve, WorldId, WorldItem};

use super::adapt::Adapted;
use super::{Refusal, WASI_03, WASI_03_HINT, quoted};

/// So that description and message fit one frame between rooms (wire/frame.h) with room to spare.
pub const DESCRIPTION_MAX: usize = 512 * 1024;
const FUNCTIONS_MAX: usize = 2000;
const ITEMS_MAX: usize = 1000;
const PRODUCERS_MAX: usize = 64;
const WASM_PAGE: u64 = 65536;

/// What one pass over the binary finds, nested modules and components included.
#[derive(Default)]
struct Survey {
    imports: Vec<String>,
    exports: Vec<String>,
    memories: u64,
    memory_min: u64,
    tables: u64,
    core_instances: u64,
    producers: Map<String, Value>,
    producers_seen: usize,
}

impl Survey {
    fn producers(&mut self, section: &wasmparser::CustomSectionReader<'_>) -> Result<(), wasmparser::BinaryReaderError> {
        let wasmparser::KnownCustom::Producers(reader) = section.as_known() else { return Ok(()) };
        let reader: ProducersSectionReader<'_> = reader;
        for field in reader {
            let field = field?;
            for value in field.values {
                let value = value?;
                self.producers_seen += 1;
                if self.producers_seen > PRODUCERS_MAX {
                    return Ok(());
                }
                let text = Value::from(cut(format!("{} {}", value.name, value.version).trim()));
                let known = self.producers.entry(cut(field.name)).or_insert_with(|| json!([]));
                if let Some(list) = known.as_array_mut()
                    && !list.contains(&text)
                {
                    list.push(text);
                }
            }
        }
        Ok(())
    }

    fn of(component: &[u8]) -> Result<Survey, wasmparser::BinaryReaderError> {
        let mut survey = Survey::default();
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        survey.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export?;
                        if export.kind != ComponentExternalKind::Type {
                            survey.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        survey.memories += 1;
                        survey.memory_min = survey.memory_min.saturating_add(memory.initial.saturating_mul(WASM_PAGE));
                    }
                }
                Payload::TableSection(section) => survey.tables += u64::from(section.count()),
                Payload::InstanceSection(section) => {
                    for instance in section {
                        survey.core_instances += u64::from(matches!(instance?, Instance::Instantiate { .. }));
                    }
                }
                // A malformed producers section is no reason to refuse: it is a comment.
                Payload::CustomSection(section) => drop(survey.producers(&section)),
                _ => {}
            }
        }
        Ok(survey)
    }
}

/// At most 200 characters of a hostile text.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// "wasi:cli/run@0.2.3" → ("wasi:cli/run", Some("0.2.3")).
fn split_version(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (name, None),
    }
}

fn wasi_version(name: &str) -> Option<(u64, u64, bool)> {
    let (path, version) = split_version(name);
    if !path.starts_with("wasi:") {
        return None;
    }
    let (numbers, prerelease) = match version?.split_once(['-', '+']) {
        Some((numbers, _)) => (numbers, version?.contains('-')),
        None => (version?, false),
    };
    let mut parts = numbers.split('.').map(|p| p.parse::<u64>().ok());
    Some((parts.next()??, parts.next()??, prerelease))
}

fn check_versions(survey: &Survey) -> Result<(), Refusal> {
    for name in survey.imports.iter().chain(&survey.exports) {
        let Some((major, minor, prerelease)) = wasi_version(name) else { continue };
        if (major, minor) >= (0, 3) {
            return Err(Refusal::unsupported(format!("{} {WASI_03}", quoted(name)), WASI_03_HINT));
        }
        let (path, _) = split_version(name);
        let released = ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:filesystem/", "wasi:random/", "wasi:sockets/", "wasi:http/"];
        if prerelease && released.iter().any(|p| path.starts_with(p)) {
            return Err(Refusal::unsupported(
                format!("{} is a draft of WASI from before its release", quoted(name)),
                "build it again with a toolchain of 2024 or later, for WASI 0.2.0 or a later 0.2",
            ));
        }
    }
    Ok(())
}

/// wasi:cli/run of any 0.2.
fn is_run(name: &str) -> bool {
    is_of_02(name, "wasi:cli/run")
}

/// wasi:http/incoming-handler of any 0.2.
fn is_handler(name: &str) -> bool {
    is_of_02(name, "wasi:http/incoming-handler")
}

fn is_of_02(name: &str, interface: &str) -> bool {
    split_version(name).0 == interface && matches!(wasi_version(name), Some((0, 2, false)))
}

fn interface_wit(resolve: &Resolve, id: InterfaceId) -> String {
    let mut printer = WitPrinter::new(OutputToString::default());
    printer.emit_docs(false);
    match printer.print_interface(resolve, id) {
        Ok(()) => printer.output.to_string(),
        Err(_) => String::new(),
    }
}

fn item(resolve: &Resolve, key: String, item: &WorldItem) -> Value {
    match item {
        WorldItem::Interface { id, .. } => {
            let functions: Vec<&String> = resolve.interfaces[*id].functions.keys().take(FUNCTIONS_MAX).collect();
            json!({"name": key, "kind": "interface", "functions": functions, "wit": interface_wit(resolve, *id)})
        }
        WorldItem::Function(function) => json!({"name": key, "kind": "function", "functions": [function.name]}),
        WorldItem::Type { .. } => json!({"name": key, "kind": "type", "functions": []}),
    }
}

fn key_name(resolve: &Resolve, key: &wit_parser::WorldKey) -> String {
    match key {
        wit_parser::WorldKey::Name(name) => name.clone(),
        wit_parser::WorldKey::Interface(id) => resolve.id_of(*id).unwrap_or_else(|| "(interface without a name)".into()),
    }
}

fn world_wit(resolve: &Resolve, world: WorldId) -> Result<String, String> {
    let main = resolve.worlds[world].package.ok_or("the world is in no package")?;
    let nested: Vec<PackageId> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != main).collect();
    let mut printer = WitPrinter::new(OutputToString::default());
    printer.emit_docs(false);
    printer.print(resolve, main, &nested).map_err(|e| format!("{e:#}"))?;
    Ok(printer.output.to_string())
}

struct World {
    imports: Vec<Value>,
    exports: Vec<Value>,
    wit: String,
}

fn decode(component: &[u8]) -> Result<World, String> {
    let (resolve, id) = match wit_component::decode(component).map_err(|e| format!("{e:#}"))? {
        DecodedWasm::Component(resolve, id) => (resolve, id),
        DecodedWasm::WitPackage(..) => return Err("the file is an encoded WIT package, not a component".into()),
    };
    let world = &resolve.worlds[id];
    let list = |items: &wit_parser::IndexMap<wit_parser::WorldKey, WorldItem>| {
        items.iter().take(ITEMS_MAX).map(|(k, i)| item(&resolve, key_name(&resolve, k), i)).collect()
    };
    Ok(World { imports: list(&world.imports), exports: list(&world.exports), wit: world_wit(&resolve, id)? })
}

/// Names alone, where WIT cannot express the component.
fn bare(names: &[String]) -> Vec<Value> {
    names.iter().take(ITEMS_MAX).map(|n| json!({"name": n, "kind": "unknown", "functions": []})).collect()
}

/// The object as text of at most DESCRIPTION_MAX bytes: what is large and not needed to run goes first.
fn bounded(mut object: Map<String, Value>) -> Result<String, Refusal> {
    for step in 0.. {
        let text = Value::Object(object.clone()).to_string();
        if text.len() <= DESCRIPTION_MAX {
            return Ok(text);
        }
        let lists = |object: &mut Map<String, Value>, field: &str, empty: Value| {
            for list in ["imports", "exports"] {
                let items = object.get_mut(list).and_then(Value::as_array_mut);
                for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
                    item.insert(field.into(), empty.clone());
                }
            }
        };
        let what = match step {
            0 => {
                object.insert("wit".into(), json!(""));
                "wit"
            }
            1 => {
                lists(&mut object, "wit", json!(""));
                "the interfaces' wit"
            }
            2 => {
                lists(&mut object, "functions", json!([]));
                "function names"
            }
            _ => break,
        };
        let note = object.entry("cut").or_insert_with(|| json!([]));
        if let Some(notes) = note.as_array_mut() {
            notes.push(json!(what));
        }
    }
    Err(Refusal::unsupported("its imports and exports are larger than any real component's", "split the component"))
}

pub fn describe(made: &Adapted<'_>) -> Result<String, Refusal> {
    let survey = Survey::of(&made.component).map_err(|e| Refusal::malformed(format!("not valid WebAssembly: {e}")))?;
    check_versions(&survey)?;
    if survey.imports.len() > ITEMS_MAX || survey.exports.len() > ITEMS_MAX {
        return Err(Refusal::unsupported(format!("it has more than {ITEMS_MAX} imports or exports"), "split the component"));
    }
    let (world, wit_error) = match decode(&made.component) {
        Ok(world) => (world, None),
        Err(error) => (World { imports: bare(&survey.imports), exports: bare(&survey.exports), wit: String::new() }, Some(cut(&error))),
    };
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.into(), value);
    put("kind", json!(if made.module { "module" } else { "component" }));
    put("adapted", json!(made.adapted));
    put("command", json!(survey.exports.iter().any(|n| is_run(n))));
    put("serves", json!(survey.exports.iter().any(|n| is_handler(n))));
    put("size", json!(made.component.len()));
    put("imports", Value::Array(world.imports));
    put("exports", Value::Array(world.exports));
    put("producers", Value::Object(survey.producers));
    put(
        "limits",
        json!({"memories": survey.memories, "memory_min": survey.memory_min, "tables": survey.tables, "core_instances": survey.core_instances}),
    );
    put("wit", json!(world.wit));
    if let Some(error) = wit_error {
        put("wit_error", json!(error));
    }
    bounded(object)
}
