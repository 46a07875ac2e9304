// SPDX-License-Identifier: Apache-2.0
//! wasi:filesystem. Descriptors are C's handles; streams of a file are Rust objects over fs_read, fs_write and fs_append with an offset
//! of their own. A descriptor's handle is given back when the descriptor and every stream made from it are gone.

use super::bindings::wasi::filesystem::{preopens, types};
use super::clocks::{datetime, nanoseconds};
use super::io::filled;
use crate::abi::*;
use crate::calls;
use crate::host::Host;
use crate::shared::{Ended, Shared};
use std::sync::Arc;
use types::{ErrorCode, NewTimestamp};
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime::{Error, Result};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, InputStream, OutputStream, StreamError, StreamResult};

/// An error code for the guest, or the guest's end.
pub enum FsError {
    Code(ErrorCode),
    Trap(Error),
}

pub type FsResult<T> = std::result::Result<T, FsError>;

impl From<Ended> for FsError {
    fn from(ended: Ended) -> FsError {
        FsError::Trap(ended.into())
    }
}

impl From<ResourceTableError> for FsError {
    fn from(error: ResourceTableError) -> FsError {
        FsError::Trap(error.into())
    }
}

/// In the order of the WIT: C answers a place in this list plus one.
const CODES: [ErrorCode; 37] = [
    ErrorCode::Access,
    ErrorCode::WouldBlock,
    ErrorCode::Already,
    ErrorCode::BadDescriptor,
    ErrorCode::Busy,
    ErrorCode::Deadlock,
    ErrorCode::Quota,
    ErrorCode::Exist,
    ErrorCode::FileTooLarge,
    ErrorCode::IllegalByteSequence,
    ErrorCode::InProgress,
    ErrorCode::Interrupted,
    ErrorCode::Invalid,
    ErrorCode::Io,
    ErrorCode::IsDirectory,
    ErrorCode::Loop,
    ErrorCode::TooManyLinks,
    ErrorCode::MessageSize,
    ErrorCode::NameTooLong,
    ErrorCode::NoDevice,
    ErrorCode::NoEntry,
    ErrorCode::NoLock,
    ErrorCode::InsufficientMemory,
    ErrorCode::InsufficientSpace,
    ErrorCode::NotDirectory,
    ErrorCode::NotEmpty,
    ErrorCode::NotRecoverable,
    ErrorCode::Unsupported,
    ErrorCode::NoTty,
    ErrorCode::NoSuchDevice,
    ErrorCode::Overflow,
    ErrorCode::NotPermitted,
    ErrorCode::Pipe,
    ErrorCode::ReadOnly,
    ErrorCode::InvalidSeek,
    ErrorCode::TextFileBusy,
    ErrorCode::CrossDevice,
];

/// C's answer: 0, an error code plus one, or the guest's end.
fn check(shared: &Shared, answer: i32) -> FsResult<()> {
    match answer {
        0 => Ok(()),
        n if n < 0 => Err(shared.end().into()),
        n => Err(FsError::Code(CODES.get(n as usize - 1).copied().unwrap_or(ErrorCode::Io))),
    }
}

/// The same, for a stream: the code travels as an error that filesystem-error-code finds again.
fn check_stream(shared: &Shared, answer: i32) -> StreamResult<()> {
    check(shared, answer).map_err(|e| match e {
        FsError::Code(code) => StreamError::LastOperationFailed(Error::new(code)),
        FsError::Trap(error) => StreamError::Trap(error),
    })
}

// ---- resources ---------------------------------------------------------------------------------------------------------------------

struct Handle {
    shared: Arc<Shared>,
    descriptor: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: C's function with C's context, on the task's thread; the handle is given back once.
        unsafe { (self.shared.vtbl().fs_drop)(self.shared.host(), self.descriptor) }
    }
}

pub struct Descriptor(Arc<Handle>);

impl Descriptor {
    fn new(shared: &Arc<Shared>, descriptor: u32) -> Descriptor {
        Descriptor(Arc::new(Handle { shared: shared.clone(), descriptor }))
    }
}

pub struct Listing {
    shared: Arc<Shared>,
    listing: u32,
    over: bool,
}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: C's function with C's context, on the task's thread; the handle is given back once.
        unsafe { (self.shared.vtbl().fs_listing_drop)(self.shared.host(), self.listing) }
    }
}

struct FileInput {
    file: Arc<Handle>,
    offset: u64,
    most: usize,
    closed: bool,
}

#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {} // a file is always ready
}

#[async_trait]
impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        let size = size.min(self.most);
        if size == 0 {
            return Ok(Bytes::new());
        }
        let f = &self.file;
        let bytes = filled(size, |into, written| {
            // SAFETY: C's function with C's context; `into` has `size` writable bytes.
            let answer = unsafe {
                (f.shared.vtbl().fs_read)(f.shared.host(), f.descriptor, self.offset, into, size, written)
            };
            check_stream(&f.shared, answer)
        });
        if !matches!(&bytes, Ok(bytes) if !bytes.is_empty()) {
            self.closed = true;
        }
        let bytes = bytes?;
        if bytes.is_empty() {
            return Err(StreamError::Closed);
        }
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        Ok(bytes.into())
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.read(size)
    }
}

struct FileOutput {
    file: Arc<Handle>,
    /// Where the next byte goes; none: at the end.
    offset: Option<u64>,
    most: usize,
    closed: bool,
}

impl FileOutput {
    fn write_all(&mut self, mut bytes: &[u8]) -> StreamResult<()> {
        let f = &self.file;
        while !bytes.is_empty() {
            let mut written = 0;
            // SAFETY: C's functions with C's context; the bytes live through the call.
            let answer = unsafe {
                let (vtbl, host) = (f.shared.vtbl(), f.shared.host());
                match self.offset {
                    Some(offset) => (vtbl.fs_write)(host, f.descriptor, offset, bytes.as_ptr(), bytes.len(), &mut written),
                    None => (vtbl.fs_append)(host, f.descriptor, bytes.as_ptr(), bytes.len(), &mut written),
                }
            };
            check_stream(&f.shared, answer)?;
            if written == 0 || written > bytes.len() {
                return Err(StreamError::LastOperationFailed(Error::new(ErrorCode::Io)));
            }
            bytes = &bytes[written..];
            if let Some(offset) = &mut self.offset {
                *offset = offset.saturating_add(written as u64);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {} // a file is always ready
}

#[async_trait]
impl OutputStream for FileOutput {
    fn check_write(&mut self) -> StreamResult<usize> {
        if self.closed { Err(StreamError::Closed) } else { Ok(self.most) }
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        if bytes.len() > self.most {
            return Err(StreamError::trap("write exceeded what check-write permitted"));
        }
        let done = self.write_all(&bytes);
        self.closed = done.is_err();
        done
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write(bytes)
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        self.check_write()
    }
}

// ---- translation -------------------------------------------------------------------------------------------------------------------

fn kind(t: u32) -> types::DescriptorType {
    use types::DescriptorType::*;
    const KINDS: [types::DescriptorType; 8] =
        [Unknown, BlockDevice, CharacterDevice, Directory, Fifo, SymbolicLink, RegularFile, Socket];
    KINDS.get(t as usize).copied().unwrap_or(Unknown)
}

fn stat_of(s: &AmbitFsStat) -> types::DescriptorStat {
    let time = |ns: i64| u64::try_from(ns).ok().map(datetime); // before 1970 cannot be said
    types::DescriptorStat {
        type_: kind(s.r#type),
        link_count: s.links,
        size: s.size,
        data_access_timestamp: time(s.accessed_ns),
        data_modification_timestamp: time(s.modified_ns),
        status_change_timestamp: time(s.changed_ns),
    }
}

fn times(accessed: NewTimestamp, modified: NewTimestamp) -> AmbitFsTimes {
    let one = |t| match t {
        NewTimestamp::NoChange => (0, 0),
        NewTimestamp::Now => (1, 0),
        NewTimestamp::Timestamp(t) => (2, nanoseconds(t)),
    };
    let ((accessed, accessed_ns), (modified, modified_ns)) = (one(accessed), one(modified));
    AmbitFsTimes { accessed, modified, accessed_ns, modified_ns }
}

fn follow(flags: types::PathFlags) -> bool {
    flags.contains(types::PathFlags::SYMLINK_FOLLOW)
}

/// Who an object is, not how it stands: wasi-libc and the preview1 adapter make `st_ino` of it, so it must not change when the object
/// does. Mixed (murmur3's finaliser), so that the host's inode and device numbers are not shown as they are.
fn hash_of(s: &AmbitFsStat) -> types::MetadataHashValue {
    let mix = |mut x: u64| {
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    };
    let fold = |seed: u64| s.identity.iter().fold(seed, |h, part| mix(h.wrapping_add(*part)));
    types::MetadataHashValue { lower: fold(0x9e37_79b9_7f4a_7c15), upper: fold(0xd1b5_4a32_d192_ed03) }
}

type Fd<'a> = &'a Resource<Descriptor>;

impl Host {
    fn handle(&self, fd: Fd) -> FsResult<u32> {
        Ok(self.table.get(fd)?.0.descriptor)
    }

    /// What every function of a descriptor starts with.
    #[inline]
    fn enter_fs(&self, call: AmbitCall, fd: Fd) -> FsResult<u32> {
        self.enter(call)?;
        self.handle(fd)
    }

    fn fs<R>(&self, f: impl FnOnce(&AmbitHostVtbl, *mut std::ffi::c_void) -> (i32, R)) -> FsResult<R> {
        let (answer, value) = f(self.shared.vtbl(), self.shared.host());
        check(&self.shared, answer)?;
        Ok(value)
    }

    fn stat_handle(&self, fd: u32) -> FsResult<AmbitFsStat> {
        let mut s = AmbitFsStat::default();
        // SAFETY: C's function with C's context.
        self.fs(|v, h| (unsafe { (v.fs_stat)(h, fd, &mut s) }, ()))?;
        Ok(s)
    }

    fn stat_path(&self, fd: u32, flags: types::PathFlags, path: &str) -> FsResult<AmbitFsStat> {
        let mut s = AmbitFsStat::default();
        let path = AmbitBytes::of(path.as_bytes());
        // SAFETY: C's function with C's context; the path lives through the call.
        self.fs(|v, h| (unsafe { (v.fs_stat_at)(h, fd, follow(flags), path, &mut s) }, ()))?;
        Ok(s)
    }
}

// ---- the interfaces ----------------------------------------------------------------------------------------------------------------

impl preopens::Host for Host {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        self.enter(calls::FILESYSTEM_PREOPENS_GET_DIRECTORIES)?;
        // SAFETY: C's function with C's context.
        let root = unsafe { (self.shared.vtbl().fs_root)(self.shared.host()) };
        let root = Descriptor::new(&self.shared, root);
        Ok(vec![(self.table.push(root)?, "/".to_string())])
    }
}

impl types::Host for Host {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        match error {
            FsError::Code(code) => Ok(code),
            FsError::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(&mut self, error: Resource<Error>) -> Result<Option<ErrorCode>> {
        self.enter(calls::FILESYSTEM_TYPES_FILESYSTEM_ERROR_CODE)?;
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }
}

impl types::HostDescriptor for Host {
    fn read_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynInputStream>> {
        self.enter(calls::FILESYSTEM_TYPES_DESCRIPTOR_READ_VIA_STREAM)?;
        let file = self.table.get(&fd)?.0.clone();
        let stream = FileInput { file, offset, most: self.clamp(u64::MAX), closed: false };
        Ok(self.table.push(Box::new(stream) as DynInputStream)?)
    }

    fn write_via_stream(&mut self, fd: Resource<Descriptor>, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.enter(calls::FILESYSTEM_TYPES_DESCRIPTOR_WRITE_VIA_STREAM)?;
        self.output_stream(&fd, Some(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        self.enter(calls::FILESYSTEM_TYPES_DESCRIPTOR_APPEND_VIA_STREAM)?;
        self.output_stream(&fd, None)
    }

    /// Advice is not promised to do anything; here it does nothing.
    fn advise(&mut self, fd: Resource<Descriptor>, _: u64, _: u64, _: types::Advice) -> FsResult<()> {
        self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_ADVISE, &fd)?;
        Ok(())
    }

    fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_SYNC_DATA, &fd)?;
        // SAFETY: C's function with C's context.
        self.fs(|v, h| (unsafe { (v.fs_sync)(h, fd, true) }, ()))
    }

    fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<types::DescriptorFlags> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_GET_FLAGS, &fd)?;
        // SAFETY: C's function with C's context.
        let bits = unsafe { (self.shared.vtbl().fs_flags)(self.shared.host(), fd) };
        Ok(flags_of(bits))
    }

    fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<types::DescriptorType> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_GET_TYPE, &fd)?;
        // SAFETY: C's function with C's context.
        Ok(kind(unsafe { (self.shared.vtbl().fs_type)(self.shared.host(), fd) }))
    }

    fn set_size(&mut self, fd: Resource<Descriptor>, size: u64) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_SET_SIZE, &fd)?;
        // SAFETY: C's function with C's context.
        self.fs(|v, h| (unsafe { (v.fs_set_size)(h, fd, size) }, ()))
    }

    fn set_times(&mut self, fd: Resource<Descriptor>, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_SET_TIMES, &fd)?;
        let t = times(accessed, modified);
        // SAFETY: C's function with C's context.
        self.fs(|v, h| (unsafe { (v.fs_set_times)(h, fd, &t) }, ()))
    }

    fn read(&mut self, fd: Resource<Descriptor>, size: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_READ, &fd)?;
        let size = self.clamp(size);
        let bytes = filled(size, |into, written| {
            // SAFETY: C's function with C's context; `into` has `size` writable bytes.
            self.fs(|v, h| (unsafe { (v.fs_read)(h, fd, offset, into, size, written) }, ()))
        })?;
        let end = bytes.is_empty() && size > 0;
        Ok((bytes, end))
    }

    fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_WRITE, &fd)?;
        let mut written = 0;
        // SAFETY: C's function with C's context; the bytes live through the call.
        self.fs(|v, h| (unsafe { (v.fs_write)(h, fd, offset, bytes.as_ptr(), bytes.len(), &mut written) }, ()))?;
        Ok(written as u64)
    }

    fn read_directory(&mut self, fd: Resource<Descriptor>) -> FsResult<Resource<Listing>> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_READ_DIRECTORY, &fd)?;
        let mut listing = 0;
        // SAFETY: C's function with C's context.
        self.fs(|v, h| (unsafe { (v.fs_list)(h, fd, &mut listing) }, ()))?;
        let listing = Listing { shared: self.shared.clone(), listing, over: false };
        Ok(self.table.push(listing)?)
    }

    fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_SYNC, &fd)?;
        // SAFETY: C's function with C's context.
        self.fs(|v, h| (unsafe { (v.fs_sync)(h, fd, false) }, ()))
    }

    fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_CREATE_DIRECTORY_AT, &fd)?;
        let path = AmbitBytes::of(path.as_bytes());
        // SAFETY: C's function with C's context; the path lives through the call.
        self.fs(|v, h| (unsafe { (v.fs_create_directory_at)(h, fd, path) }, ()))
    }

    fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<types::DescriptorStat> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_STAT, &fd)?;
        Ok(stat_of(&self.stat_handle(fd)?))
    }

    fn stat_at(&mut self, fd: Resource<Descriptor>, flags: types::PathFlags, path: String) -> FsResult<types::DescriptorStat> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_STAT_AT, &fd)?;
        Ok(stat_of(&self.stat_path(fd, flags, &path)?))
    }

    fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_SET_TIMES_AT, &fd)?;
        let t = times(accessed, modified);
        let path = AmbitBytes::of(path.as_bytes());
        // SAFETY: C's function with C's context; path and times live through the call.
        self.fs(|v, h| (unsafe { (v.fs_set_times_at)(h, fd, follow(flags), path, &t) }, ()))
    }

    fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        from: String,
        to_fd: Resource<Descriptor>,
        to: String,
    ) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_LINK_AT, &fd)?;
        let to_fd = self.handle(&to_fd)?;
        let (from, to) = (AmbitBytes::of(from.as_bytes()), AmbitBytes::of(to.as_bytes()));
        // SAFETY: C's function with C's context; both paths live through the call.
        self.fs(|v, h| (unsafe { (v.fs_link_at)(h, fd, follow(flags), from, to_fd, to) }, ()))
    }

    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: types::PathFlags,
        path: String,
        open: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_OPEN_AT, &fd)?;
        let (open, flags) = (open_bits(open), flag_bits(flags));
        let path = AmbitBytes::of(path.as_bytes());
        let mut opened = 0;
        // SAFETY: C's function with C's context; the path lives through the call.
        self.fs(|v, h| (unsafe { (v.fs_open_at)(h, fd, follow(path_flags), path, open, flags, &mut opened) }, ()))?;
        let opened = Descriptor::new(&self.shared, opened);
        Ok(self.table.push(opened)?)
    }

    fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_READLINK_AT, &fd)?;
        let path = AmbitBytes::of(path.as_bytes());
        let mut target = AmbitBytes::EMPTY;
        // SAFETY: C's function with C's context; the path lives through the call.
        self.fs(|v, h| (unsafe { (v.fs_readlink_at)(h, fd, path, &mut target) }, ()))?;
        // SAFETY: C keeps the bytes until the next vtbl call.
        utf8(unsafe { target.slice() })
    }

    fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_REMOVE_DIRECTORY_AT, &fd)?;
        let path = AmbitBytes::of(path.as_bytes());
        // SAFETY: C's function with C's context; the path lives through the call.
        self.fs(|v, h| (unsafe { (v.fs_remove_directory_at)(h, fd, path) }, ()))
    }

    fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        from: String,
        to_fd: Resource<Descriptor>,
        to: String,
    ) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_RENAME_AT, &fd)?;
        let to_fd = self.handle(&to_fd)?;
        let (from, to) = (AmbitBytes::of(from.as_bytes()), AmbitBytes::of(to.as_bytes()));
        // SAFETY: C's function with C's context; both paths live through the call.
        self.fs(|v, h| (unsafe { (v.fs_rename_at)(h, fd, from, to_fd, to) }, ()))
    }

    fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_SYMLINK_AT, &fd)?;
        let (target, path) = (AmbitBytes::of(target.as_bytes()), AmbitBytes::of(path.as_bytes()));
        // SAFETY: C's function with C's context; both texts live through the call.
        self.fs(|v, h| (unsafe { (v.fs_symlink_at)(h, fd, target, path) }, ()))
    }

    fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_UNLINK_FILE_AT, &fd)?;
        let path = AmbitBytes::of(path.as_bytes());
        // SAFETY: C's function with C's context; the path lives through the call.
        self.fs(|v, h| (unsafe { (v.fs_unlink_file_at)(h, fd, path) }, ()))
    }

    fn is_same_object(&mut self, a: Resource<Descriptor>, b: Resource<Descriptor>) -> Result<bool> {
        self.enter(calls::FILESYSTEM_TYPES_DESCRIPTOR_IS_SAME_OBJECT)?;
        let (a, b) = (self.table.get(&a)?.0.descriptor, self.table.get(&b)?.0.descriptor);
        // SAFETY: C's function with C's context.
        Ok(unsafe { (self.shared.vtbl().fs_same_object)(self.shared.host(), a, b) })
    }

    fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<types::MetadataHashValue> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_METADATA_HASH, &fd)?;
        Ok(hash_of(&self.stat_handle(fd)?))
    }

    fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        let fd = self.enter_fs(calls::FILESYSTEM_TYPES_DESCRIPTOR_METADATA_HASH_AT, &fd)?;
        Ok(hash_of(&self.stat_path(fd, flags, &path)?))
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

impl Host {
    fn output_stream(&mut self, fd: Fd, offset: Option<u64>) -> FsResult<Resource<DynOutputStream>> {
        let file = self.table.get(fd)?.0.clone();
        let stream = FileOutput { file, offset, most: self.clamp(u64::MAX), closed: false };
        Ok(self.table.push(Box::new(stream) as DynOutputStream)?)
    }
}

impl types::HostDirectoryEntryStream for Host {
    fn read_directory_entry(&mut self, listing: Resource<Listing>) -> FsResult<Option<types::DirectoryEntry>> {
        self.enter(calls::FILESYSTEM_TYPES_DIRECTORY_ENTRY_STREAM_READ_DIRECTORY_ENTRY)?;
        let l = self.table.get_mut(&listing)?;
        if l.over {
            return Ok(None);
        }
        let (mut type_, mut name, mut end) = (0, AmbitBytes::EMPTY, false);
        // SAFETY: C's function with C's context.
        let answer = unsafe {
            (l.shared.vtbl().fs_listing_next)(l.shared.host(), l.listing, &mut type_, &mut name, &mut end)
        };
        check(&l.shared, answer)?;
        if end {
            l.over = true;
            return Ok(None);
        }
        // SAFETY: C keeps the bytes until the next vtbl call.
        let name = utf8(unsafe { name.slice() })?;
        Ok(Some(types::DirectoryEntry { type_: kind(type_), name }))
    }

    fn drop(&mut self, listing: Resource<Listing>) -> Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}

fn utf8(bytes: &[u8]) -> FsResult<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(FsError::Code(ErrorCode::IllegalByteSequence)),
    }
}

// WIT flags as numbers: bit n is the n-th name of the WIT, whatever the bindings do inside.

const DESCRIPTOR_FLAGS: [types::DescriptorFlags; 6] = [
    types::DescriptorFlags::READ,
    types::DescriptorFlags::WRITE,
    types::DescriptorFlags::FILE_INTEGRITY_SYNC,
    types::DescriptorFlags::DATA_INTEGRITY_SYNC,
    types::DescriptorFlags::REQUESTED_WRITE_SYNC,
    types::DescriptorFlags::MUTATE_DIRECTORY,
];

const OPEN_FLAGS: [types::OpenFlags; 4] =
    [types::OpenFlags::CREATE, types::OpenFlags::DIRECTORY, types::OpenFlags::EXCLUSIVE, types::OpenFlags::TRUNCATE];

fn flag_bits(flags: types::DescriptorFlags) -> u32 {
    (0..).zip(DESCRIPTOR_FLAGS).filter(|(_, f)| flags.contains(*f)).fold(0, |bits, (n, _)| bits | 1 << n)
}

fn open_bits(flags: types::OpenFlags) -> u32 {
    (0..).zip(OPEN_FLAGS).filter(|(_, f)| flags.contains(*f)).fold(0, |bits, (n, _)| bits | 1 << n)
}

fn flags_of(bits: u32) -> types::DescriptorFlags {
    let mut flags = types::DescriptorFlags::empty();
    for (n, f) in (0..).zip(DESCRIPTOR_FLAGS) {
        if bits & (1 << n) != 0 {
            flags |= f;
        }
    }
    flags
}
