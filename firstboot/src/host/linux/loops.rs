//! A file, or a part of one, as a block device (loop(4)).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::libc;

use crate::paths;

/// LOOP_CTL_GET_FREE of linux/loop.h.
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
/// LOOP_CONFIGURE of linux/loop.h (Linux 5.8).
const LOOP_CONFIGURE: u32 = 0x4c0a;
/// LO_FLAGS_READ_ONLY of linux/loop.h.
const READ_ONLY: u32 = 1;
/// LO_FLAGS_AUTOCLEAR of linux/loop.h.
const AUTOCLEAR: u32 = 4;
/// Other programs may take the device that the kernel has just named.
const TRIES: usize = 20;

/// `struct loop_config` of linux/loop.h, its `struct loop_info64` spelled out.
#[repr(C)]
struct LoopConfig {
    file: u32,
    block_size: u32,
    /// lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit
    places: [u64; 5],
    /// lo_number, lo_encrypt_type, lo_encrypt_key_size
    numbers: [u32; 3],
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// The part of a file that a device shows.
#[derive(Debug, Clone, Copy)]
pub enum Window {
    /// All of it, read-only.
    Whole,
    /// These bytes, to be changed: the first one, and how many.
    Part(u64, u64),
}

/// A loop device over `file`, which disappears with its last user. The returned file must stay open until
/// the device is mounted.
pub fn attach(file: &File, name: &[u8], window: Window) -> io::Result<(PathBuf, File)> {
    let control = File::options().read(true).write(true).open(paths::LOOP_CONTROL)?;
    let mut tries = 0;
    loop {
        let path = PathBuf::from(format!("/dev/loop{}", free(&control)?));
        let device = File::options().read(true).write(true).open(&path)?;
        match configure(&device, file, name, window) {
            Err(nix::Error::EBUSY) if tries < TRIES => tries += 1,
            configured => return configured.map(|()| (path, device)).map_err(io::Error::from),
        }
    }
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn free(control: &File) -> nix::Result<i32> {
    // SAFETY: the descriptor is open and the call takes no argument.
    nix::Error::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE.into()) })
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn configure(device: &File, file: &File, name: &[u8], window: Window) -> nix::Result<()> {
    let (places, flags) = match window {
        Window::Whole => ([0; 5], READ_ONLY | AUTOCLEAR),
        Window::Part(offset, length) => ([0, 0, 0, offset, length], AUTOCLEAR),
    };
    let mut config = LoopConfig {
        file: u32::try_from(file.as_raw_fd()).map_err(|_| nix::Error::EBADF)?,
        block_size: 0,
        places,
        numbers: [0; 3],
        flags,
        file_name: [0; 64],
        crypt_name: [0; 64],
        key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    let shown = name.len().min(config.file_name.len() - 1);
    config.file_name[..shown].copy_from_slice(&name[..shown]);
    // SAFETY: the descriptors are open, and the structure is laid out as the kernel expects and outlives the
    // call.
    nix::Error::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE.into(), &raw const config) })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_as_long_as_the_kernels() {
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
