// SPDX-License-Identifier: Apache-2.0
//! Has every stable function of the vendored WIT a number, and every number a function?

use ambit_engine::calls::NAMES;
use std::collections::BTreeSet;
use wit_parser::{Resolve, Stability, WorldItem};

fn main() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).expect("the vendored WIT");
    let world = resolve.packages[package].worlds["guest"];
    let mut wit = BTreeSet::new();
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else { panic!("the world imports interfaces only") };
        let interface = &resolve.interfaces[*id];
        let of = &resolve.packages[interface.package.expect("a package")].name;
        let name = format!("{}:{}/{}", of.namespace, of.name, interface.name.as_deref().expect("a name"));
        for function in interface.functions.values() {
            if !matches!(function.stability, Stability::Unstable { .. }) {
                wit.insert(format!("{name}#{}", function.name));
            }
        }
    }
    let ours: BTreeSet<String> = NAMES.iter().map(|n| n.trim_end_matches('\0').to_string()).collect();
    assert_eq!(ours.len(), NAMES.len(), "a name twice");
    let missing: Vec<_> = wit.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&wit).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:?}, surplus {surplus:?}");
    assert!(wit.len() > 100, "the WIT was read");
    println!("ok {} calls", wit.len());
}
