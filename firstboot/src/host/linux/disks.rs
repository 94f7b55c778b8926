//! The machine's whole disks: what tells one from another, and a disk that is open to be overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::libc;

use super::loops::{self, Window};
use super::media;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// Devices that are never installed on: they are in memory, made of other disks or of files, or hold discs.
const IGNORED: &[&str] = &["loop", "ram", "zram", "sr", "fd", "nbd", "dm-", "md", "mtdblock", "rbd", "drbd"];
/// Limit on what sysfs and udev say about a disk.
const LONGEST: u64 = 16 * 1024;
/// Bytes that are zeroed by one call, so that the machine can be stopped in between.
const ZEROED_AT_ONCE: u64 = 256 << 20;

/// A whole disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/vda`
    pub path: PathBuf,
    /// udev's links to it below /dev/disk.
    pub links: Vec<PathBuf>,
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector: u64,
    /// Its model, as the disk says.
    pub model: String,
    /// Its serial number, as sysfs and udev write it.
    pub serials: Vec<String>,
    /// Its world wide name, as sysfs and udev write it.
    pub wwns: Vec<String>,
    /// nvme, virtio, usb, ata or scsi; another one is other.
    pub bus: &'static str,
    /// Whether it can be taken out.
    pub is_removable: bool,
    /// Why it cannot be overwritten.
    pub unusable: Option<String>,
}

impl Disk {
    /// Its names in /dev/disk/by-id, and those that udev would make where it has not.
    pub fn ids(&self) -> Vec<String> {
        let by_id = Path::new(paths::DISK_LINKS).join("by-id");
        let links = self.links.iter().filter_map(|link| link.strip_prefix(&by_id).ok()?.to_str());
        let mut ids: Vec<String> = links.map(str::to_owned).collect();
        let blanks = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("_");
        let model = blanks(&self.model);
        for serial in self.serials.iter().map(|serial| blanks(serial)) {
            match (self.bus, model.as_str()) {
                ("virtio", _) => ids.push(format!("virtio-{serial}")),
                (bus @ ("nvme" | "ata"), model) if !model.is_empty() => {
                    ids.push(format!("{bus}-{model}_{serial}"));
                }
                _ => {}
            }
        }
        let prefix = if self.bus == "nvme" { "nvme" } else { "wwn" };
        ids.extend(self.wwns.iter().map(|wwn| format!("{prefix}-{wwn}")));
        different(ids)
    }

    /// Whether the path is its device or one of its links.
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path || self.links.iter().any(|link| link == path)
    }
}

/// The machine's disks, by name.
pub fn list(root: &Root) -> Vec<Disk> {
    if root.is_machine() {
        media::settle();
    }
    let links = links(root);
    let names = root.list(paths::BLOCK);
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    names
        .filter(|name| !IGNORED.iter().any(|ignored| name.starts_with(ignored)))
        .filter_map(|name| look_at(root, name, &links))
        .collect()
}

/// The links below /dev/disk, each with the name of its device.
fn links(root: &Root) -> Vec<(PathBuf, PathBuf)> {
    let folders = root.list(paths::DISK_LINKS);
    let links = folders.iter().flat_map(|folder| root.list(folder));
    let target = |link: PathBuf| {
        let target = fs::read_link(root.entry(&link)).ok()?;
        Some((link, target.file_name()?.into()))
    };
    links.filter_map(target).collect()
}

fn look_at(root: &Root, name: &str, links: &[(PathBuf, PathBuf)]) -> Option<Disk> {
    let folder = fs::canonicalize(root.path(Path::new(paths::BLOCK).join(name))).ok()?;
    let text = |file: &str| text(&folder.join(file));
    let number = |file: &str| text(file)?.parse::<u64>().ok();
    // A path of a multipath NVMe disk, and the parts of a card that hold its boot loader.
    if number("hidden") == Some(1) || (name.starts_with("mmcblk") && name.contains("boot")) {
        return None;
    }
    // The kernel counts in units of 512 bytes, for any sector size.
    let size = number("size")?.checked_mul(512).filter(|size| *size > 0)?;
    let udev = text("dev").and_then(|number| udev(root, &number)).unwrap_or_default();
    let path = Path::new(paths::DEV).join(name.replace('!', "/"));
    let serials =
        [text("serial"), text("device/serial"), page_80(&folder), udev_value(&udev, "ID_SERIAL_SHORT")];
    let wwns = [
        text("wwid"),
        text("device/wwid"),
        udev_value(&udev, "ID_WWN"),
        udev_value(&udev, "ID_WWN_WITH_EXTENSION"),
    ];
    Some(Disk {
        links: links
            .iter()
            .filter(|(_, device)| device == Path::new(name))
            .map(|(link, _)| link.clone())
            .collect(),
        size,
        sector: number("queue/logical_block_size").unwrap_or(512),
        model: text("device/model").or_else(|| udev_value(&udev, "ID_MODEL")).unwrap_or_default(),
        serials: different(serials.into_iter().flatten()),
        wwns: different(wwns.into_iter().flatten().map(|wwn| spelled(&wwn))),
        bus: bus(name, &folder),
        is_removable: number("removable") == Some(1),
        unusable: unusable(root, &path, &folder),
        path,
    })
}

fn text(path: &Path) -> Option<String> {
    line_of(&bytes(path)?)
}

/// The serial number of a SCSI disk, behind the four bytes of the page's head (SPC-4, 7.8.15).
fn page_80(folder: &Path) -> Option<String> {
    line_of(bytes(&folder.join("device/vpd_pg80"))?.get(4..)?)
}

/// What udev knows about a device, by its number.
fn udev(root: &Root, number: &str) -> Option<String> {
    let bytes = bytes(&root.path(Path::new(paths::UDEV_DATA).join(format!("b{number}"))))?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn bytes(path: &Path) -> Option<Vec<u8>> {
    files::read(path, LONGEST).ok().flatten()
}

fn line_of(bytes: &[u8]) -> Option<String> {
    let text = crate::text::one_line(&String::from_utf8_lossy(bytes)).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn udev_value(data: &str, key: &str) -> Option<String> {
    let value = data
        .lines()
        .find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))?;
    Some(crate::text::one_line(value)).filter(|value| !value.is_empty())
}

/// The kernel writes `naa.5000…` for the name that udev and vendors write as `0x5000…`.
fn spelled(wwn: &str) -> String {
    wwn.strip_prefix("naa.").map_or_else(|| wwn.to_owned(), |number| format!("0x{number}"))
}

/// Each value once, in their order.
fn different(values: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// The bus, by the folders on the way to the disk.
fn bus(name: &str, folder: &Path) -> &'static str {
    let has = |begin: &str| {
        let mut parts = folder.iter().filter_map(|part| part.to_str()?.strip_prefix(begin));
        parts.any(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    if has("usb") {
        "usb"
    } else if name.starts_with("nvme") {
        "nvme"
    } else if name.starts_with("vd") {
        "virtio"
    } else if has("ata") {
        "ata"
    } else if name.starts_with("sd") {
        "scsi"
    } else {
        "other"
    }
}

fn unusable(root: &Root, path: &Path, folder: &Path) -> Option<String> {
    if text(&folder.join("ro")).as_deref() == Some("1") {
        return Some("it is read-only".to_owned());
    }
    let mut holders = fs::read_dir(folder.join("holders")).into_iter().flatten().flatten();
    if let Some(holder) = holders.next() {
        return Some(format!("it is a part of {}", holder.file_name().display()));
    }
    if !root.is_machine() {
        return None;
    }
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_EXCL.bits()).open(path);
    match opened {
        Ok(_) => None,
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Some("it is mounted or in use".to_owned()),
        Err(error) => Some(format!("it cannot be opened: {}", crate::error::plain(&error))),
    }
}

/// A disk that nobody else uses, open to be overwritten; or a file in its place.
#[derive(Debug)]
pub struct Device {
    file: File,
    path: PathBuf,
    is_block: bool,
    /// Bytes.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector: u64,
}

impl Device {
    /// Opens a disk, or a file that stands for one.
    pub fn open(path: &Path) -> Result<Self> {
        let doing = || format!("opening {} to overwrite it", path.display());
        let is_block = fs::metadata(path).doing(doing())?.file_type().is_block_device();
        let flags = if is_block { OFlag::O_EXCL.bits() } else { 0 };
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = match file {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                let message = format!("{}: it is mounted, or another program uses it", doing());
                return Err(Failure::new(ErrorKind::Host, message));
            }
            file => file.doing(doing())?,
        };
        let size = (&file).seek(SeekFrom::End(0)).doing(doing())?;
        let sector = if is_block { sector(&file).doing(doing())? } else { 512 };
        Ok(Self { file, path: path.to_owned(), is_block, size, sector })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `bytes` from `offset` on.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Writes `bytes` at `offset`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes `length` bytes at `offset` zero, by the disk's own command where it has one.
    pub fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let length = (end - at).min(ZEROED_AT_ONCE);
            if self.zero_quickly(at, length).is_err() {
                let zeros = vec![0; length.min(1 << 20) as usize];
                let mut done = 0;
                while done < length {
                    let piece = (length - done).min(zeros.len() as u64);
                    self.write_at(at + done, &zeros[..piece as usize])?;
                    done += piece;
                }
            }
            at += length;
        }
        Ok(())
    }

    fn zero_quickly(&self, offset: u64, length: u64) -> nix::Result<()> {
        if self.is_block {
            return zero_out(&self.file, offset, length);
        }
        let number = |number: u64| i64::try_from(number).map_err(|_| nix::Error::EOVERFLOW);
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&self.file, hole, number(offset)?, number(length)?)
    }

    /// Waits until everything that was written is on the disk.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Drops what the kernel remembers of it, so that the disk itself is read.
    pub fn forget(&self) -> io::Result<()> {
        self.flush()?;
        if self.is_block {
            return forget_buffers(&self.file).map_err(io::Error::from);
        }
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(io::Error::from)
    }

    /// Mounts the ext4 file system at `offset` of `length` bytes where only `change` sees it. The kernel need
    /// not know the partition yet.
    pub fn change_files(
        &self,
        offset: u64,
        length: u64,
        change: impl FnOnce(&Path) -> Result<()> + Send,
    ) -> Result<()> {
        let name = self.path.as_os_str().as_encoded_bytes();
        let (device, _open) = loops::attach(&self.file, name, Window::Part(offset, length))
            .doing(format!("making a block device of a part of {}", self.path.display()))?;
        // The installed system does the rest of an initialization, when nobody waits for it.
        media::change_files(&device, "ext4", Some("noinit_itable"), change)?;
        self.flush().doing(format!("writing to {}", self.path.display()))
    }
}

/// BLKSSZGET of linux/fs.h, `_IO(0x12, 104)`.
const BLKSSZGET: u32 = 0x1268;
/// BLKFLSBUF of linux/fs.h, `_IO(0x12, 97)`.
const BLKFLSBUF: u32 = 0x1261;
/// BLKZEROOUT of linux/fs.h, `_IO(0x12, 127)`.
const BLKZEROOUT: u32 = 0x127f;

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn sector(disk: &File) -> nix::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open and the kernel writes one int to a place that outlives the call.
    nix::Error::result(unsafe { libc::ioctl(disk.as_raw_fd(), BLKSSZGET.into(), &raw mut bytes) })?;
    u64::try_from(bytes).map_err(|_| nix::Error::EINVAL)
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn forget_buffers(disk: &File) -> nix::Result<()> {
    // SAFETY: the descriptor is open and the call takes no argument.
    nix::Error::result(unsafe { libc::ioctl(disk.as_raw_fd(), BLKFLSBUF.into(), 0) }).map(drop)
}

#[allow(unsafe_code)] // a system call that std and nix do not offer
fn zero_out(disk: &File, offset: u64, length: u64) -> nix::Result<()> {
    let range = [offset, length];
    // SAFETY: the descriptor is open and the kernel reads two numbers that outlive the call.
    nix::Error::result(unsafe { libc::ioctl(disk.as_raw_fd(), BLKZEROOUT.into(), range.as_ptr()) }).map(drop)
}

#[cfg(test)]
#[path = "disks_tests.rs"]
mod tests;
