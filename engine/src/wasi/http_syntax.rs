// SPDX-License-Identifier: Apache-2.0
//! What a guest may say in a head: RFC 9110 tokens and values, RFC 3986 targets and authorities, and which names are not the guest's.
//!
//! This is syntax alone. Which host a name is, and whether it may be reached, is decided in C on its own canonical form.

/// Connection management and framing belong to the rooms that speak HTTP; Host is the authority. Wasmtime's list, and te.
const FORBIDDEN: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "host",
    "http2-settings",
];

/// As long as the longest target of the `http` crate, which Wasmtime reads requests with.
const TARGET_MAX: usize = 65534;
/// A host name has at most 253 bytes; the rest is for a port and for what is refused later with a better reason.
const AUTHORITY_MAX: usize = 1024;
const SCHEME_MAX: usize = 64;
const NAME_MAX: usize = 65535;

/// Of a name in lower case.
pub fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|f| f.as_bytes() == name)
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A field name or a method.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && text.iter().all(|b| is_token_byte(*b))
}

/// Visible ASCII, space, tab, and bytes above (obs-text).
pub fn is_value(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f))
}

/// Without the space around it.
pub fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Empty, or a path that begins with "/", or a query alone; ASCII without space, quotes, "#" and angle brackets.
pub fn is_target(text: &str) -> bool {
    let begins = matches!(text.as_bytes().first(), None | Some(b'/' | b'?'));
    begins && text.len() <= TARGET_MAX && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>".contains(&b))
}

/// The target as it goes on the wire.
pub fn whole_target(text: &str) -> String {
    if text.starts_with('/') { text.into() } else { format!("/{text}") }
}

pub fn is_scheme(text: &str) -> bool {
    text.len() <= SCHEME_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&b)
}

/// [user "@"] host [":" port].
pub fn is_authority(text: &str) -> bool {
    if text.is_empty() || text.len() > AUTHORITY_MAX {
        return false;
    }
    let rest = match text.rsplit_once('@') {
        Some((user, rest)) if user.bytes().all(|b| is_name_byte(b) || b == b':') => rest,
        Some(_) => return false,
        None => text,
    };
    let (host_ok, port) = if let Some(literal) = rest.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else { return false };
        let address_ok = !address.is_empty() && address.bytes().all(|b| is_name_byte(b) || b == b':');
        match port.strip_prefix(':') {
            Some(port) => (address_ok, port),
            None => (address_ok && port.is_empty(), ""),
        }
    } else {
        let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
        (!host.is_empty() && host.bytes().all(is_name_byte), port)
    };
    host_ok && port.bytes().all(|b| b.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
}
