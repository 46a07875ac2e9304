// SPDX-License-Identifier: Apache-2.0
//! Calling an exported function by name, with arguments and results in WAVE text.

use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, Val};

/// A function and its arguments, checked against its type before any of the guest's code runs.
pub struct Call {
    pub function: ComponentExportIndex,
    pub arguments: Vec<Val>,
    pub results: usize,
}

/// Finds `name` ("function", or "namespace:package/interface#function", the version of the interface may be left out) and parses the
/// arguments. An error is a text for a person.
pub fn prepare(engine: &Engine, component: &Component, name: &str, arguments: &[String]) -> Result<Call, String> {
    let found = match name.split_once('#') {
        Some((interface, function)) => find_in_interface(engine, component, interface, function),
        None => find(component, None, name),
    };
    let Some((function, ty)) = found else {
        return Err(format!("the component exports no function \"{name}\"; {}", exports(engine, component)));
    };
    let parameters: Vec<_> = ty.params().collect();
    if parameters.len() != arguments.len() {
        let names: Vec<_> = parameters.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "\"{name}\" takes {} argument(s) ({}), {} given",
            parameters.len(),
            names.join(", "),
            arguments.len()
        ));
    }
    let mut values = Vec::with_capacity(arguments.len());
    for ((parameter, ty), text) in parameters.iter().zip(arguments) {
        let value = Val::from_wave(ty, text)
            .map_err(|error| format!("argument \"{parameter}\" of \"{name}\" is not WAVE text of its type: {error:#}"))?;
        values.push(value);
    }
    Ok(Call { function, arguments: values, results: ty.results().len() })
}

fn find(
    component: &Component,
    interface: Option<&ComponentExportIndex>,
    name: &str,
) -> Option<(ComponentExportIndex, ComponentFunc)> {
    match component.get_export(interface, name)? {
        (ComponentItem::ComponentFunc(ty), index) => Some((index, ty)),
        _ => None,
    }
}

fn find_in_interface(
    engine: &Engine,
    component: &Component,
    interface: &str,
    function: &str,
) -> Option<(ComponentExportIndex, ComponentFunc)> {
    if let Some(index) = component.get_export_index(None, interface) {
        return find(component, Some(&index), function);
    }
    // Without a version: the one interface of that name, if there is one only.
    let ty = component.component_type();
    let mut candidates = ty.exports(engine).map(|(name, _)| name).filter(|name| {
        name.strip_prefix(interface).is_some_and(|rest| rest.starts_with('@'))
    });
    match (candidates.next(), candidates.next()) {
        (Some(name), None) => find(component, Some(&component.get_export_index(None, name)?), function),
        _ => None,
    }
}

/// What there is to call, for the person who asked for something else.
fn exports(engine: &Engine, component: &Component) -> String {
    let mut names = Vec::new();
    let ty = component.component_type();
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => names.push(name.to_owned()),
            ComponentItem::ComponentInstance(instance) => {
                for (function, item) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(_) = item.ty {
                        names.push(format!("{name}#{function}"));
                    }
                }
            }
            _ => {}
        }
    }
    if names.is_empty() { "it exports none".into() } else { format!("it exports: {}", names.join(", ")) }
}

/// The results, one per line.
pub fn results_text(results: &[Val]) -> Result<String, String> {
    let lines: Result<Vec<_>, _> = results.iter().map(Val::to_wave).collect();
    lines.map(|l| l.join("\n")).map_err(|error| format!("the result cannot be written as WAVE text: {error:#}"))
}
