//! A file as a read-only block device (loop(4)).

use crate::paths;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::libc;

use super::failure::{Context, Result};

/// LOOP_CTL_GET_FREE of linux/loop.h.
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
/// LOOP_CONFIGURE of linux/loop.h (Linux 5.8).
const LOOP_CONFIGURE: u32 = 0x4c0a;
/// LO_FLAGS_READ_ONLY and LO_FLAGS_AUTOCLEAR of linux/loop.h.
const FLAGS: u32 = 1 | 4;

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

/// A loop device over `image`, which disappears with its last user. The returned file must stay open until
/// the device is mounted.
pub fn attach(image: &Path) -> Result<(PathBuf, File)> {
    let doing = format!("making a block device of {}", image.display());
    let file = File::open(image).doing(&doing)?;
    let control = File::options().read(true).write(true).open(paths::LOOP_CONTROL).doing(&doing)?;
    let path = PathBuf::from(format!("/dev/loop{}", free(&control).doing(&doing)?));
    let device = File::options().read(true).write(true).open(&path).doing(&doing)?;
    configure(&device, &file, image).doing(&doing)?;
    Ok((path, device))
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn free(control: &File) -> nix::Result<i32> {
    // SAFETY: the descriptor is open and the call takes no argument.
    nix::Error::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE.into()) })
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn configure(device: &File, file: &File, image: &Path) -> nix::Result<()> {
    let mut config = LoopConfig {
        file: u32::try_from(file.as_raw_fd()).map_err(|_| nix::Error::EBADF)?,
        block_size: 0,
        places: [0; 5],
        numbers: [0; 3],
        flags: FLAGS,
        file_name: [0; 64],
        crypt_name: [0; 64],
        key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    let name = image.as_os_str().as_encoded_bytes();
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
