//! Repairs a damaged partition table and grows `/var` to the size of the disk: the table, the kernel's view
//! of the partition, the file system.
//!
//! The init does this itself instead of systemd-repart: it needs no package in the image and is finished
//! before anything is mounted.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::libc;

use super::console;
use super::disks::{Disk, Found, node};
use super::failure::{Context, Result};
use contract::gpt::Write;

/// Restores the primary table from the backup, because the kernel reads partitions only from the primary.
pub fn repair(disk: &Disk) -> Result<()> {
    let writes = disk.table.as_ref().map(|table| table.repair(disk.sectors)).unwrap_or_default();
    if writes.is_empty() {
        return Ok(());
    }
    console::warn(&format!("the partition table of {} is damaged: restoring it from its backup", disk.name));
    let file = open(disk)?;
    write(&file, &writes).doing(format!("restoring the partition table of {}", disk.name))?;
    reread(&file).doing(format!("reading the partitions of {} again", disk.name))
}

/// Enlarges the var partition if it is the last one and the disk has room after it. One of the two tables is
/// valid at every moment, because the backup is on the disk before the primary is changed.
pub fn partition(found: &Found) -> Result<()> {
    let Ok(mut table) = found.disk.table.clone() else { return Ok(()) };
    let sectors = found.disk.sectors;
    let Some(last) = table.enlarge(found.var, sectors) else { return Ok(()) };
    let file = open(&found.disk)?;
    let doing = format!("writing the partition table of {}", found.disk.name);
    write(&file, &table.backup(sectors)).doing(&doing)?;
    write(&file, &table.primary(sectors)).doing(&doing)?;
    write(&file, table.protection(sectors).as_slice()).doing(&doing)?;
    let first = table
        .partitions
        .iter()
        .find(|partition| partition.number == found.var)
        .map_or(0, |partition| partition.first);
    let (start, length) = (first * found.disk.sector, (last + 1 - first) * found.disk.sector);
    resize(&file, found.var, start, length)
        .doing(format!("telling the kernel the new size of partition {}", found.var))?;
    console::say(&format!("var partition enlarged to {} MiB", length >> 20));
    Ok(())
}

/// Grows the mounted ext4 file system to the size of its device. Does nothing if it has that size already.
pub fn file_system(mounted: &Path, device: &Path) -> Result<()> {
    let doing = format!("growing the file system on {}", device.display());
    let mut disk = File::open(device).doing(&doing)?;
    let mut superblock = [0; 1024];
    disk.read_exact_at(&mut superblock, 1024).doing(&doing)?;
    let (block, blocks) = ext4_size(&superblock);
    let room = disk.seek(SeekFrom::End(0)).doing(&doing)? / block;
    if blocks >= room {
        return Ok(());
    }
    grow_ext4(&File::open(mounted).doing(&doing)?, room).doing(&doing)
}

/// Bytes per block and number of blocks of an ext4 file system (the kernel's
/// Documentation/filesystems/ext4/super.rst).
fn ext4_size(superblock: &[u8; 1024]) -> (u64, u64) {
    let number = |at: usize| u32::from_le_bytes(superblock[at..at + 4].try_into().expect("four bytes"));
    (1024 << number(0x18).min(6), u64::from(number(0x150)) << 32 | u64::from(number(0x4)))
}

fn open(disk: &Disk) -> Result<File> {
    let path = node(&disk.name);
    File::options()
        .read(true)
        .write(true)
        .open(&path)
        .doing(format!("opening {} for writing", path.display()))
}

/// Writes in order, and flushes each write before the next.
fn write(file: &File, writes: &[Write]) -> std::io::Result<()> {
    for Write { offset, bytes } in writes {
        file.write_all_at(bytes, *offset)?;
        file.sync_all()?;
    }
    Ok(())
}

/// `struct blkpg_partition` of linux/blkpg.h.
#[repr(C)]
struct BlkpgPartition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
struct BlkpgArgument {
    operation: libc::c_int,
    flags: libc::c_int,
    data_len: libc::c_int,
    data: *mut BlkpgPartition,
}

/// BLKPG of linux/blkpg.h, `_IO(0x12, 105)`.
const BLKPG: u32 = 0x1269;
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;
/// BLKRRPART of linux/fs.h, `_IO(0x12, 95)`.
const BLKRRPART: u32 = 0x125f;
/// EXT4_IOC_RESIZE_FS of the kernel's fs/ext4/ext4.h, `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: u32 = 0x4008_6610;

/// `start` and `length` in bytes.
#[allow(unsafe_code)] // a system call that std and nix do not offer
fn resize(disk: &File, number: u32, start: u64, length: u64) -> nix::Result<()> {
    let too_big = |_| nix::Error::EOVERFLOW;
    let mut partition = BlkpgPartition {
        start: start.try_into().map_err(too_big)?,
        length: length.try_into().map_err(too_big)?,
        number: number.try_into().map_err(too_big)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let data_len = size_of::<BlkpgPartition>() as libc::c_int;
    let argument =
        BlkpgArgument { operation: BLKPG_RESIZE_PARTITION, flags: 0, data_len, data: &raw mut partition };
    // SAFETY: the descriptor is open, and both structures are laid out as the kernel expects and outlive the
    // call.
    nix::Error::result(unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG.into(), &raw const argument) }).map(drop)
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn reread(disk: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open and the call takes no argument.
    nix::Error::result(unsafe { libc::ioctl(disk.as_raw_fd(), BLKRRPART.into()) }).map(drop)
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn grow_ext4(mounted: &File, blocks: u64) -> nix::Result<()> {
    // SAFETY: the descriptor is open and the kernel reads eight bytes from a number that outlives the call.
    nix::Error::result(unsafe {
        libc::ioctl(mounted.as_raw_fd(), EXT4_IOC_RESIZE_FS.into(), &raw const blocks)
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_size_of_a_file_system() {
        let mut superblock = [0; 1024];
        superblock[0x4..0x8].copy_from_slice(&65536u32.to_le_bytes());
        superblock[0x18] = 2;
        assert_eq!(ext4_size(&superblock), (4096, 65536));
        superblock[0x150] = 1;
        assert_eq!(ext4_size(&superblock), (4096, 65536 + (1 << 32)));
        assert_eq!(ext4_size(&[0xff; 1024]).0, 65536, "nonsense does not overflow");
    }

    #[test]
    fn structures_are_as_long_as_the_kernels() {
        assert_eq!(size_of::<BlkpgPartition>(), 152);
        assert_eq!(size_of::<BlkpgArgument>(), 24);
    }
}
