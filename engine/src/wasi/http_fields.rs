// SPDX-License-Identifier: Apache-2.0
//! wasi:http `fields`: what a head or trailers are made of.
//!
//! All names and values of one message lie in one buffer (`Rows`), beside a list of where each begins: a request that comes in is copied
//! once, and becomes strings of the guest only when the guest asks. A `fields` shares its rows with the message it came from or went into
//! until somebody changes them, so that a copy for the guest costs one reference.
//!
//! Invariants
//! - A row made by the guest is a token in lower case and a value that HTTP can carry; a row that came in was checked by C.
//! - No row has a forbidden name: those are refused from the guest and left out of what comes in.
//! - Rows of one name are neighbours, in the order in which they were added.
//! - At most one content-length, which is a number.
//! - What rows cost is charged to the task's memory before it is allocated, and released with them.

use super::bindings::wasi::http::types::{self, HeaderError as Refusal};
use super::http_syntax::{is_forbidden, is_token, is_value, trimmed};
use crate::abi::{AmbitBytes, AmbitPair};
use crate::calls;
use crate::host::{Charge, Host};
use crate::shared::Ended;
use std::ops::Range;
use std::sync::Arc;
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime::{Error, Result, format_err};

/// Of one `fields`, by Wasmtime's count: names and values, and what a name and a value cost beside their bytes.
const SIZE_MAX: usize = 128 << 10;
const NAME_COST: usize = 32;
const VALUE_COST: usize = 40;
pub const CONTENT_LENGTH: &str = "content-length";

pub enum HeaderError {
    Refused(Refusal),
    Trap(Error),
}

pub type HeaderResult<T> = std::result::Result<T, HeaderError>;

impl From<Ended> for HeaderError {
    fn from(ended: Ended) -> HeaderError {
        HeaderError::Trap(ended.into())
    }
}

impl From<ResourceTableError> for HeaderError {
    fn from(error: ResourceTableError) -> HeaderError {
        HeaderError::Trap(error.into())
    }
}

impl From<Refusal> for HeaderError {
    fn from(refusal: Refusal) -> HeaderError {
        HeaderError::Refused(refusal)
    }
}

/// Where a text lies in the buffer. Heads are far smaller than 4 GiB.
#[derive(Clone, Copy)]
pub struct Span {
    from: u32,
    size: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.from as usize..self.from as usize + self.size as usize
    }
}

#[derive(Clone, Copy)]
struct Row {
    name: Span,
    value: Span,
}

#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// By Wasmtime's count.
    cost: usize,
}

pub struct Rows {
    table: Table,
    charge: Charge,
}

impl Table {
    fn with_capacity(bytes: usize, rows: usize) -> Table {
        Table { bytes: Vec::with_capacity(bytes), rows: Vec::with_capacity(rows), cost: 0 }
    }

    fn text(&mut self, text: &[u8]) -> Span {
        let span = Span { from: self.bytes.len() as u32, size: text.len() as u32 };
        self.bytes.extend_from_slice(text);
        span
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    fn first(&self, name: &[u8]) -> Option<usize> {
        self.rows.iter().position(|r| self.at(r.name) == name)
    }

    /// After the rows of the same name, or at the end.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        match self.rows.iter().rposition(|r| self.at(r.name) == name) {
            Some(n) => self.insert(n + 1, self.rows[n].name, value),
            None => {
                let name = self.name(name);
                self.insert(self.rows.len(), name, value);
            }
        }
    }

    fn name(&mut self, name: &[u8]) -> Span {
        self.cost += name.len() + NAME_COST;
        self.text(name)
    }

    fn insert(&mut self, at: usize, name: Span, value: &[u8]) {
        self.cost += value.len() + VALUE_COST;
        let row = Row { name, value: self.text(value) };
        self.rows.insert(at, row);
    }

    /// What a copy costs in memory.
    fn size(&self) -> u64 {
        (self.bytes.len() + self.rows.len() * size_of::<Row>()) as u64
    }

    /// A copy without the rows of `but`.
    fn copy(&self, but: Option<&str>) -> Table {
        let mut made = Table::with_capacity(self.bytes.len(), self.rows.len());
        let mut last: Option<(u32, Span)> = None;
        for row in &self.rows {
            if but.is_some_and(|b| self.at(row.name) == b.as_bytes()) {
                continue;
            }
            let name = match last {
                Some((from, span)) if from == row.name.from => span,
                _ => made.name(self.at(row.name)),
            };
            last = Some((row.name.from, name));
            made.insert(made.rows.len(), name, self.at(row.value));
        }
        made
    }
}

impl Rows {
    fn empty(charge: Charge) -> Rows {
        Rows { table: Table::default(), charge }
    }

    /// The pairs of C but for forbidden names, and room for `extra` bytes of texts.
    pub fn of_pairs(mut charge: Charge, extra: usize, pairs: &[AmbitPair]) -> std::result::Result<Rows, Ended> {
        let size = extra + pairs.iter().map(|p| p.key.size + p.value.size).sum::<usize>();
        charge.more((size + pairs.len() * size_of::<Row>()) as u64)?;
        let mut table = Table::with_capacity(size, pairs.len());
        for pair in pairs {
            // SAFETY: C's texts are valid for the call; they are copied.
            let (name, value) = unsafe { (pair.key.slice(), pair.value.slice()) };
            if !is_forbidden(name) {
                table.add(name, value);
            }
        }
        Ok(Rows { table, charge })
    }

    /// Keeps a text that is no row.
    pub fn text(&mut self, text: &[u8]) -> Span {
        self.table.text(text)
    }

    pub fn at(&self, span: Span) -> &[u8] {
        self.table.at(span)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table.rows.iter().map(|r| (self.at(r.name), self.at(r.value)))
    }

    pub fn content_length(&self) -> Option<u64> {
        let row = self.table.rows[self.table.first(CONTENT_LENGTH.as_bytes())?];
        std::str::from_utf8(self.at(row.value)).ok()?.parse().ok()
    }

    /// As C takes them. Space around a value is the guest's own and no part of it on the wire.
    pub fn pairs(&self) -> Vec<AmbitPair> {
        self.iter().map(|(name, value)| AmbitPair { key: AmbitBytes::of(name), value: AmbitBytes::of(trimmed(value)) }).collect()
    }
}

/// The resource.
pub struct Fields {
    rows: Arc<Rows>,
    mutable: bool,
}

impl Fields {
    pub fn immutable(rows: &Arc<Rows>) -> Fields {
        Fields { rows: rows.clone(), mutable: false }
    }

    fn empty(charge: Charge) -> Fields {
        Fields { rows: Arc::new(Rows::empty(charge)), mutable: true }
    }

    pub fn into_rows(self) -> Arc<Rows> {
        self.rows
    }

    fn mutable(&self) -> HeaderResult<()> {
        if self.mutable { Ok(()) } else { Err(Refusal::Immutable.into()) }
    }

    /// Rows that nobody else has, without those of `but`.
    fn own(&mut self, but: Option<&str>) -> std::result::Result<&mut Rows, Ended> {
        if Arc::get_mut(&mut self.rows).is_none() || but.is_some() {
            let mut charge = self.rows.charge.fresh();
            charge.more(self.rows.table.size())?;
            self.rows = Arc::new(Rows { table: self.rows.table.copy(but), charge });
        }
        Ok(Arc::get_mut(&mut self.rows).expect("made above when somebody else had them"))
    }

    fn add(&mut self, name: &str, value: &[u8]) -> HeaderResult<()> {
        if name == CONTENT_LENGTH && self.rows.table.first(name.as_bytes()).is_some() {
            return Err(Refusal::InvalidSyntax.into());
        }
        self.mutable()?;
        let rows = self.own(None)?;
        rows.charge.more((name.len() + value.len() + size_of::<Row>()) as u64)?;
        rows.table.add(name.as_bytes(), value);
        within_limit(&rows.table)
    }

    fn remove(&mut self, name: &str) -> HeaderResult<()> {
        if self.rows.table.first(name.as_bytes()).is_some() {
            self.own(Some(name))?;
        }
        Ok(())
    }

    /// In the place of the ones that were there.
    fn replace(&mut self, name: &str, values: &[Vec<u8>]) -> HeaderResult<()> {
        let place = self.rows.table.first(name.as_bytes());
        self.remove(name)?;
        if values.is_empty() {
            return Ok(());
        }
        let rows = self.own(None)?;
        let size = values.iter().map(|v| v.len() + size_of::<Row>()).sum::<usize>();
        rows.charge.more((name.len() + size) as u64)?;
        let span = rows.table.name(name.as_bytes());
        let place = place.unwrap_or(rows.table.rows.len());
        for (n, value) in values.iter().enumerate() {
            rows.table.insert(place + n, span, value);
        }
        within_limit(&rows.table)
    }
}

fn within_limit(table: &Table) -> HeaderResult<()> {
    if table.cost > SIZE_MAX {
        return Err(HeaderError::Trap(format_err!("total size of fields exceeds limit")));
    }
    Ok(())
}

/// A name as it is kept.
fn name_of(mut name: String) -> HeaderResult<String> {
    if !is_token(name.as_bytes()) {
        return Err(Refusal::InvalidSyntax.into());
    }
    name.make_ascii_lowercase();
    if is_forbidden(name.as_bytes()) {
        return Err(Refusal::Forbidden.into());
    }
    Ok(name)
}

/// A value as it is kept.
fn value_of(name: &str, value: Vec<u8>) -> HeaderResult<Vec<u8>> {
    if name == CONTENT_LENGTH {
        let digits = std::str::from_utf8(&value).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        let number: Option<u64> = digits.and_then(|t| t.parse().ok());
        return number.map(|n| n.to_string().into_bytes()).ok_or(Refusal::InvalidSyntax.into());
    }
    if is_value(&value) { Ok(value) } else { Err(Refusal::InvalidSyntax.into()) }
}

impl types::HostFields for Host {
    fn new(&mut self) -> Result<Resource<Fields>> {
        self.enter(calls::HTTP_FIELDS_NEW)?;
        let charge = self.charge();
        Ok(self.table.push(Fields::empty(charge))?)
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Resource<Fields>> {
        self.enter(calls::HTTP_FIELDS_FROM_LIST)?;
        let mut fields = Fields::empty(self.charge());
        for (name, value) in entries {
            let name = name_of(name)?;
            let value = value_of(&name, value)?;
            fields.add(&name, &value)?;
        }
        Ok(self.table.push(fields)?)
    }

    fn get(&mut self, fields: Resource<Fields>, mut name: String) -> Result<Vec<Vec<u8>>> {
        self.enter(calls::HTTP_FIELDS_GET)?;
        name.make_ascii_lowercase();
        let rows = &self.table.get(&fields)?.rows;
        Ok(rows.iter().filter(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value.to_vec()).collect())
    }

    fn has(&mut self, fields: Resource<Fields>, mut name: String) -> Result<bool> {
        self.enter(calls::HTTP_FIELDS_HAS)?;
        name.make_ascii_lowercase();
        Ok(self.table.get(&fields)?.rows.table.first(name.as_bytes()).is_some())
    }

    fn set(&mut self, fields: Resource<Fields>, name: String, values: Vec<Vec<u8>>) -> HeaderResult<()> {
        self.enter(calls::HTTP_FIELDS_SET)?;
        let name = name_of(name)?;
        let fields = self.table.get_mut(&fields)?;
        fields.mutable()?;
        if name == CONTENT_LENGTH && values.len() > 1 {
            return Err(Refusal::InvalidSyntax.into());
        }
        let values = values.into_iter().map(|v| value_of(&name, v)).collect::<HeaderResult<Vec<_>>>()?;
        fields.replace(&name, &values)
    }

    fn delete(&mut self, fields: Resource<Fields>, name: String) -> HeaderResult<()> {
        self.enter(calls::HTTP_FIELDS_DELETE)?;
        let name = name_of(name)?;
        let fields = self.table.get_mut(&fields)?;
        fields.mutable()?;
        fields.remove(&name)
    }

    fn append(&mut self, fields: Resource<Fields>, name: String, value: Vec<u8>) -> HeaderResult<()> {
        self.enter(calls::HTTP_FIELDS_APPEND)?;
        let name = name_of(name)?;
        let value = value_of(&name, value)?;
        self.table.get_mut(&fields)?.add(&name, &value)
    }

    fn entries(&mut self, fields: Resource<Fields>) -> Result<Vec<(String, Vec<u8>)>> {
        self.enter(calls::HTTP_FIELDS_ENTRIES)?;
        let rows = &self.table.get(&fields)?.rows;
        Ok(rows.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect())
    }

    fn clone(&mut self, fields: Resource<Fields>) -> Result<Resource<Fields>> {
        self.enter(calls::HTTP_FIELDS_CLONE)?;
        let rows = self.table.get(&fields)?.rows.clone();
        Ok(self.table.push(Fields { rows, mutable: true })?)
    }

    fn drop(&mut self, fields: Resource<Fields>) -> Result<()> {
        self.table.delete(fields)?;
        Ok(())
    }
}
