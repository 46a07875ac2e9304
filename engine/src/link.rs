// SPDX-License-Identifier: Apache-2.0
//! What a component asks for, beside what the engine has.

use crate::calls;
use crate::wasi::{RESOURCES, VERSIONS};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

/// Imports the engine does not have, one per line, in the component's order; empty when it can be linked.
pub fn missing_imports(engine: &Engine, component: &Component) -> String {
    let mut missing = String::new();
    let mut miss = |name: &str| {
        missing.push_str(name);
        missing.push('\n');
    };
    let ty = component.component_type();
    for (name, item) in ty.imports(engine) {
        let item = match item.ty {
            ComponentItem::ComponentInstance(instance) => instance,
            ComponentItem::Type(_) => continue, // a name for a type, nothing to supply
            _ => {
                miss(name);
                continue;
            }
        };
        let (interface, version) = match name.split_once('@') {
            Some((interface, version)) => (interface, Some(version)),
            None => (name, None),
        };
        let has_version = has(interface, version);
        if item.exports(engine).len() == 0 && !has_version {
            continue; // an empty interface asks for nothing
        }
        let mut needs = item.exports(engine).filter_map(|(function, e)| match e.ty {
            ComponentItem::Type(_) => None,
            ComponentItem::ComponentFunc(_) => Some((function, calls::knows(interface, function))),
            // An interface that only uses a resource of another lists it too; by name is enough, since instantiate_pre links for real.
            ComponentItem::Resource(_) => Some((function, RESOURCES.contains(&function))),
            _ => Some((function, false)),
        });
        if !has_version {
            // An interface of types alone links with nothing behind it.
            if needs.next().is_some() {
                miss(name);
            }
            continue;
        }
        for (function, known) in needs {
            if !known {
                miss(&format!("{name}#{function}"));
            }
        }
    }
    missing
}

/// Whether a package of this name and a compatible version is linked: the rule of Wasmtime's linker (same major and minor below 1.0,
/// pre-releases exactly), except that a 0.2.x newer than ours is looked at function by function.
fn has(interface: &str, version: Option<&str>) -> bool {
    let Some((package, _)) = interface.split_once('/') else { return false };
    let Some((_, ours)) = VERSIONS.iter().find(|(p, _)| *p == package) else { return false };
    let Some(version) = version else { return false };
    if version == *ours {
        return true;
    }
    let line = |v: &str| -> Option<(u64, u64)> {
        let mut parts = v.split('.');
        let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || patch.parse::<u64>().is_err() {
            return None; // a pre-release
        }
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    match (line(version), line(ours)) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => false,
    }
}
