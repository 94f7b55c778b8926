//! Copies the image's files in `/var` to the empty partition, once.
//!
//! The marker is written last and flushed. After a power cut the copy starts again and overwrites the first
//! one.

use std::ffi::{CStr, CString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use nix::libc;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::console;
use super::failure::{Context, Failure, Result};
use contract;

/// Copies everything below `from` into `to`, unless this was done before.
pub fn once(from: &Path, to: &Path) -> Result<()> {
    let marker = to.join(contract::VAR_POPULATED);
    if marker.exists() {
        return Ok(());
    }
    if from.is_dir() {
        copy_folder(from, to)?;
    }
    finish(to, &marker).doing("marking /var as filled")?;
    console::say("filled /var with what the image ships");
    Ok(())
}

/// The marker reaches the disk only after everything else.
fn finish(to: &Path, marker: &Path) -> io::Result<()> {
    if let Some(folder) = marker.parent() {
        fs::create_dir_all(folder)?;
    }
    nix::unistd::syncfs(File::open(to)?)?;
    File::create(marker)?.sync_all()?;
    nix::unistd::syncfs(File::open(to)?)?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {}", from.display());
    let mut names = fs::read_dir(from)
        .doing(doing())?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>();
    names.iter_mut().for_each(|names| names.sort());
    for name in names.doing(doing())? {
        copy(&from.join(&name), &to.join(&name))?;
    }
    let metadata = fs::symlink_metadata(from).doing(doing())?;
    copy_metadata(from, to, &metadata).doing(doing())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {}", from.display());
    let metadata = fs::symlink_metadata(from).doing(doing())?;
    let kind = metadata.file_type();
    let there = fs::symlink_metadata(to).ok();
    if let Some(there) = there.filter(|there| !(there.is_dir() && kind.is_dir())) {
        remove(to, &there).doing(doing())?;
    }
    if kind.is_dir() {
        fs::create_dir(to)
            .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
            .doing(doing())?;
        return copy_folder(from, to);
    }
    let made = if kind.is_symlink() {
        fs::read_link(from).and_then(|target| symlink(target, to))
    } else if kind.is_file() {
        fs::copy(from, to).map(drop)
    } else {
        return Err(Failure::new(format!("{} is neither a file nor a folder nor a link", from.display())));
    };
    made.and_then(|()| copy_metadata(from, to, &metadata)).doing(doing())
}

fn remove(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The owner must be set first, because changing it clears setuid and capabilities.
fn copy_metadata(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    if !metadata.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    copy_attributes(from, to)?;
    let (accessed, modified) = (
        TimeSpec::new(metadata.atime(), metadata.atime_nsec()),
        TimeSpec::new(metadata.mtime(), metadata.mtime_nsec()),
    );
    utimensat(nix::fcntl::AT_FDCWD, to, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (CString::new(from.as_os_str().as_bytes())?, CString::new(to.as_os_str().as_bytes())?);
    let names = match filled(|buffer, len| list_attributes(&from, buffer, len)) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        names => names?,
    };
    for name in names.split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(io::Error::other)?;
        let value = filled(|buffer, len| read_attribute(&from, name, buffer, len))?;
        write_attribute(&to, name, &value)?;
    }
    Ok(())
}

/// Calls the function twice: for the length, then for the bytes.
fn filled(call: impl Fn(*mut libc::c_void, usize) -> isize) -> io::Result<Vec<u8>> {
    let checked = |len: isize| usize::try_from(len).map_err(|_| io::Error::last_os_error());
    let mut bytes = vec![0u8; checked(call(std::ptr::null_mut(), 0))?];
    if !bytes.is_empty() {
        let len = checked(call(bytes.as_mut_ptr().cast(), bytes.len()))?;
        bytes.truncate(len);
    }
    Ok(bytes)
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn list_attributes(path: &CStr, buffer: *mut libc::c_void, len: usize) -> isize {
    // SAFETY: `filled` passes a buffer of `len` bytes, or none with a length of zero.
    unsafe { libc::llistxattr(path.as_ptr(), buffer.cast(), len) }
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn read_attribute(path: &CStr, name: &CStr, buffer: *mut libc::c_void, len: usize) -> isize {
    // SAFETY: `filled` passes a buffer of `len` bytes, or none with a length of zero.
    unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer, len) }
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn write_attribute(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length belong to one slice.
    let done =
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    nix::Error::result(done)?;
    Ok(())
}

#[cfg(test)]
#[path = "populate_tests.rs"]
mod tests;
