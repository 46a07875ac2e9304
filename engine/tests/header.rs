// SPDX-License-Identifier: Apache-2.0
//! Is `ambit_engine.h` what the Rust side implements? Three comparisons, each with a control that must go red:
//! - signatures: every `ambit_*` prototype and every vtbl entry, in order, against the `extern "C"` items of the sources, by text;
//! - layouts: sizes and offsets of every struct, by a C file of `_Static_assert`s that the C compiler judges;
//! - constants: every enumerator of the runtime's enums.
//!
//! The header is written in a plain subset of C (no nested structs, no macros in declarations), which is all that the parser here reads.

use ambit_engine::abi::*;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::process::Command;

const SOURCES: [&str; 5] = ["src/calls.rs", "src/compile.rs", "src/runtime.rs", "src/task.rs", "src/abi.rs"];

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find("*/").expect("comment ends");
        rest = &rest[at + end + 2..];
    }
    out.push_str(rest);
    out.lines().map(|l| l.split("//").next().unwrap_or("")).filter(|l| !l.trim_start().starts_with('#')).collect::<Vec<_>>().join(" ")
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// "name" → ("return type", parameter types), types in one spelling.
type Signatures = BTreeMap<String, (String, Vec<String>)>;

// ---- C -----------------------------------------------------------------------------------------------------------------------------

/// `const struct ambit_pair **ret` → `const struct ambit_pair**`; with `named` the last word is a name.
fn c_type(text: &str, named: bool) -> String {
    let text = text.trim();
    let (text, array) = match text.split_once('[') {
        Some((t, _)) => (t, "*"),
        None => (text, ""),
    };
    let stars = "*".repeat(text.matches('*').count());
    let mut words: Vec<&str> = text.split(|c: char| c == '*' || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
    if named && words.len() > 1 {
        words.pop();
    }
    let mut base = words.join(" ");
    if base.starts_with("enum ") {
        base = "int".into();
    }
    base + &stars + array
}

fn c_parameters(text: &str) -> Vec<String> {
    match text.trim() {
        "" | "void" => Vec::new(),
        text => text.split(',').map(|p| c_type(p, true)).collect(),
    }
}

fn c_functions(header: &str) -> Signatures {
    let mut found = Signatures::new();
    for statement in header.split([';', '{', '}']) {
        let statement = squeeze(statement);
        let Some((head, tail)) = statement.split_once('(') else { continue };
        let Some(name) = head.split(|c: char| !c.is_alphanumeric() && c != '_').next_back() else { continue };
        if !name.starts_with("ambit_") || head.contains("typedef") || tail.starts_with('*') {
            continue;
        }
        let returns = c_type(head.strip_suffix(name).expect("ends with its name"), false);
        found.insert(name.into(), (returns, c_parameters(tail.trim_end_matches(')'))));
    }
    found
}

/// Fields of `struct name`, in order: (field, its declaration).
fn c_fields(header: &str, name: &str) -> Vec<(String, String)> {
    let start = header.find(&format!("struct {name} {{")).unwrap_or_else(|| panic!("struct {name} in the header"));
    let body = &header[header[start..].find('{').map(|n| start + n + 1).expect("body")..];
    let body = &body[..body.find('}').expect("body ends")];
    let mut fields = Vec::new();
    for declaration in body.split(';').map(squeeze).filter(|d| !d.is_empty()) {
        if let Some((returns, rest)) = declaration.split_once("(*") {
            let (name, _) = rest.split_once(')').expect("pointer's name");
            fields.push((name.to_string(), format!("{returns}(*{rest}")));
            continue;
        }
        for one in declaration.split(',') {
            let name = one.split('[').next().unwrap_or("").split(|c: char| !c.is_alphanumeric() && c != '_').next_back().unwrap_or("");
            fields.push((name.to_string(), declaration.clone()));
        }
    }
    fields
}

fn c_vtbl(header: &str) -> Vec<(String, (String, Vec<String>))> {
    c_fields(header, "ambit_host_vtbl")
        .into_iter()
        .filter_map(|(name, declaration)| {
            let (returns, rest) = declaration.split_once("(*")?;
            let (_, parameters) = rest.split_once(")(")?;
            Some((name, (c_type(returns, false), c_parameters(parameters.trim_end_matches(')')))))
        })
        .collect()
}

fn c_constants(header: &str) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    let mut rest = header;
    while let Some(at) = rest.find("enum ambit_") {
        rest = &rest[at + 5..];
        let Some(open) = rest.find('{') else { break };
        if rest[..open].contains([';', '(', ',']) {
            continue;
        }
        let body = &rest[open + 1..open + rest[open..].find('}').expect("enum ends")];
        let mut next = 0;
        for one in body.split(',').map(squeeze).filter(|e| !e.is_empty()) {
            let (name, value) = match one.split_once('=') {
                Some((name, value)) => (name.trim().to_string(), value.trim().parse().expect("a number")),
                None => (one, next),
            };
            next = value + 1;
            found.insert(name, value);
        }
    }
    found
}

// ---- Rust --------------------------------------------------------------------------------------------------------------------------

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn rust_type(text: &str) -> String {
    let text = text.trim();
    if let Some(of) = text.strip_prefix("*mut ") {
        return rust_type(of) + "*";
    }
    if let Some(of) = text.strip_prefix("*const ") {
        return format!("const {}*", rust_type(of));
    }
    match text.rsplit("::").next().unwrap_or(text) {
        "" | "()" => "void".into(),
        "c_void" => "void".into(),
        "c_int" => "int".into(),
        "c_char" => "char".into(),
        "usize" => "size_t".into(),
        "bool" => "bool".into(),
        "Sink" | "AmbitSink" => "ambit_sink".into(),
        "AmbitCall" => "ambit_call".into(),
        t if t.starts_with("Ambit") => format!("struct {}", snake(t)),
        t => match (t.as_bytes().first(), t.get(1..)) {
            (Some(b'u'), Some(bits)) => format!("uint{bits}_t"),
            (Some(b'i'), Some(bits)) => format!("int{bits}_t"),
            _ => t.to_string(),
        },
    }
}

/// After `fn name(` or `fn(`: parameters up to the closing parenthesis, and what follows `->`.
fn rust_signature(rest: &str) -> (String, Vec<String>) {
    let close = rest.find(')').expect("parameters end");
    let parameters =
        rest[..close].split(',').filter(|p| !p.trim().is_empty()).map(|p| rust_type(p.split_once(':').map_or(p, |(_, t)| t))).collect();
    let after = rest[close + 1..].trim_start();
    let returns = match after.strip_prefix("->") {
        Some(t) => rust_type(t.split([',', '{', '}']).next().unwrap_or("")),
        None => "void".into(),
    };
    (returns, parameters)
}

fn rust_functions() -> Signatures {
    let mut found = Signatures::new();
    for source in SOURCES {
        let text = squeeze(&without_comments(&read(source)));
        let mut rest = text.as_str();
        while let Some(at) = rest.find("extern \"C\" fn ambit_") {
            rest = &rest[at + "extern \"C\" fn ".len()..];
            let open = rest.find('(').expect("parameters");
            found.insert(rest[..open].to_string(), rust_signature(&rest[open + 1..]));
        }
    }
    found
}

fn rust_vtbl() -> Vec<(String, (String, Vec<String>))> {
    let text = squeeze(&without_comments(&read("src/abi.rs")));
    let start = text.find("pub struct AmbitHostVtbl {").expect("the vtbl");
    let text = &text[start..];
    let text = &text[..text.find('}').expect("it ends")];
    let mut found = Vec::new();
    for field in text.split("pub ").filter(|f| f.contains("extern \"C\" fn(")) {
        let (name, rest) = field.split_once(": unsafe extern \"C\" fn(").expect("a function");
        found.push((name.to_string(), rust_signature(rest)));
    }
    found
}

// ---- comparing ---------------------------------------------------------------------------------------------------------------------

/// C returns an enum where Rust may say u32: the same register, the same bits.
fn same(c: &(String, Vec<String>), rust: &(String, Vec<String>)) -> bool {
    let one = |c: &str, r: &str| c == r || (c == "int" && r == "uint32_t");
    one(&c.0, &rust.0) && c.1.len() == rust.1.len() && c.1.iter().zip(&rust.1).all(|(c, r)| one(c, r))
}

fn differences(header: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (c, rust) = (c_functions(header), rust_functions());
    for name in c.keys().chain(rust.keys().filter(|n| !c.contains_key(*n))) {
        match (c.get(name), rust.get(name)) {
            (Some(c), Some(rust)) if same(c, rust) => {}
            (c, rust) => wrong.push(format!("{name}: header {c:?}, Rust {rust:?}")),
        }
    }
    let (c, rust) = (c_vtbl(header), rust_vtbl());
    if c.len() != rust.len() {
        wrong.push(format!("vtbl: {} functions in the header, {} in Rust", c.len(), rust.len()));
    }
    for (c, rust) in c.iter().zip(&rust) {
        if c.0 != rust.0 || !same(&c.1, &rust.1) {
            wrong.push(format!("vtbl: header {c:?}, Rust {rust:?}"));
        }
    }
    let constants = c_constants(header);
    let abi = squeeze(&read("src/abi.rs"));
    for (name, value) in &constants {
        let runtime = ["AMBIT_PENDING", "AMBIT_READY", "AMBIT_STREAM_", "AMBIT_SLICE_", "AMBIT_LIMIT_", "AMBIT_POLL_", "AMBIT_OUTCOME_", "AMBIT_KV_"];
        if runtime.iter().any(|p| name.starts_with(p)) && !abi.contains(&format!("pub const {name}: c_int = {value};")) {
            wrong.push(format!("{name} = {value} is not in abi.rs"));
        }
    }
    wrong
}

/// (C name, size, [(field, offset)]).
type Layout = (&'static str, usize, Vec<(&'static str, usize)>);

macro_rules! layout {
    ($c:literal $rust:ident { $($field:ident),* }) => {
        ($c, size_of::<$rust>(), vec![$((stringify!($field).trim_start_matches("r#"), offset_of!($rust, $field))),*])
    };
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!("ambit_bytes" AmbitBytes { data, size }),
        layout!("ambit_pair" AmbitPair { key, value }),
        layout!("ambit_engine_config" AmbitEngineConfig {
            instances, memory_max_bytes, table_elements_max, core_instances_max, ticker, epoch_us
        }),
        layout!("ambit_fs_stat" AmbitFsStat { r#type, links, size, accessed_ns, modified_ns, changed_ns, identity }),
        layout!("ambit_fs_times" AmbitFsTimes { accessed, modified, accessed_ns, modified_ns }),
        layout!("ambit_http_error" AmbitHttpError { code, text, number }),
        layout!("ambit_http_request" AmbitHttpRequest {
            method, scheme, authority, target, headers, header_count, connect_timeout_ns, first_byte_timeout_ns,
            between_bytes_timeout_ns
        }),
        layout!("ambit_http_response" AmbitHttpResponse { status, headers, header_count }),
        layout!("ambit_task_config" AmbitTaskConfig { memory_bytes, handles, hostcall_bytes, waker, waker_context }),
        layout!("ambit_result" AmbitResult { outcome, status, message, values, memory_peak_bytes, slices }),
        layout!("ambit_host_vtbl" AmbitHostVtbl {
            size, enter, slice, limit, wait, wait_until, cancel, environment, arguments, initial_cwd, stdio, stdio_is_terminal,
            stream_read, stream_check_write, stream_write, stream_flush, stream_error, stream_drop, monotonic_now,
            monotonic_resolution, wall_now, wall_resolution, random, fs_root, fs_drop, fs_type, fs_flags, fs_open_at, fs_stat,
            fs_stat_at, fs_set_times, fs_set_times_at, fs_read, fs_write, fs_append, fs_set_size, fs_sync, fs_create_directory_at,
            fs_remove_directory_at, fs_unlink_file_at, fs_rename_at, fs_link_at, fs_symlink_at, fs_readlink_at, fs_list,
            fs_listing_next, fs_listing_drop, fs_same_object, http_body_new, http_body_finish, http_body_abandon, http_body_unsent, http_send,
            http_response, http_trailers, http_discard, http_drop, http_stream_error, http_respond, http_fail, kv_open, kv_drop,
            kv_get, kv_set, kv_delete, kv_exists, kv_list, kv_increment, kv_set_many, kv_error, config_get, config_all, log
        }),
    ]
}

/// Whether the C compiler agrees. `shift` is added to one offset, for the control.
fn compiler_agrees(header: &str, shift: usize) -> bool {
    let mut c = String::from("#include \"ambit_engine.h\"\n");
    for (name, size, fields) in layouts() {
        let declared: Vec<String> = c_fields(header, name).into_iter().map(|(f, _)| f).collect();
        let ours: Vec<&str> = fields.iter().map(|(f, _)| *f).collect();
        assert_eq!(declared, ours, "fields of struct {name}");
        c += &format!("_Static_assert(sizeof(struct {name}) == {size}, \"size of {name}\");\n");
        for (field, offset) in fields {
            let offset = if (name, field) == ("ambit_fs_stat", "size") { offset + shift } else { offset };
            c += &format!("_Static_assert(offsetof(struct {name}, {field}) == {offset}, \"{name}.{field}\");\n");
        }
    }
    let directory = std::env::temp_dir().join(format!("ambit-header-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a temporary folder");
    let file = directory.join("layout.c");
    std::fs::write(&file, c).expect("a temporary file");
    let include = format!("{}/include", env!("CARGO_MANIFEST_DIR"));
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let out = Command::new(cc).args(["-std=c11", "-fsyntax-only", "-I", &include]).arg(&file).output().expect("a C compiler");
    std::fs::remove_dir_all(&directory).expect("removed");
    if !out.status.success() && shift == 0 {
        eprint!("{}", String::from_utf8_lossy(&out.stderr));
    }
    out.status.success()
}

fn main() {
    let raw = read("include/ambit_engine.h");
    let header = squeeze(&without_comments(&raw));

    let wrong = differences(&header);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(c_functions(&header).len() >= 20 && c_vtbl(&header).len() == 72, "the parser saw the header");
    println!("ok signatures");

    assert!(compiler_agrees(&header, 0));
    println!("ok layouts");

    for (from, to) in [
        ("uint64_t monotonic_ns, uint64_t operation", "uint64_t operation"),
        ("bool (*initial_cwd)(void *host, struct ambit_bytes *ret)", "bool (*initial_cwd)(void *host, const struct ambit_bytes *ret)"),
        ("uint64_t ambit_task_memory(", "uint32_t ambit_task_memory("),
        ("AMBIT_LIMIT_HANDLES = 2", "AMBIT_LIMIT_HANDLES = 5"),
        ("void (*fs_drop)(void *host, uint32_t descriptor);", ""),
    ] {
        assert!(header.contains(from), "{from}");
        assert!(!differences(&header.replace(from, to)).is_empty(), "not noticed: {to}");
    }
    assert!(!compiler_agrees(&header, 8), "a wrong offset is not noticed");
    println!("ok controls");
}
