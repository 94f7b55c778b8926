//! The EFI system partition: systemd-boot and one boot entry.
//!
//! ```text
//! EFI/BOOT/BOOTX64.EFI           systemd-boot, at the path that firmware tries without being told
//! loader/loader.conf             boot at once, no editing of the command line at the console
//! loader/entries/<name>.conf     Type #1 entry of the Boot Loader Specification
//! kiln/<kernel>/linux, initrd    the files that the entry names
//! ```

use std::fs::File;
use std::path::Path;

use contract::gpt::SECTOR;

use crate::assembly::Image;
use crate::definition::plan::Arch;
use crate::determinism;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::fat32::{Item, Volume};
use crate::part::kernel::Kernel;
use crate::size::MIB;
use crate::tree::Body;

/// The content of the partition, ready to be written into its place on a disk.
#[derive(Debug)]
pub struct Esp {
    items: Vec<Item>,
    id: u32,
    epoch: u64,
}

/// A file system of its own, as long as `esp` needs, written into the new file `path`.
///
/// # Errors
/// [`ErrorKind::Io`].
pub fn alone(esp: &Esp, path: &Path) -> Result<()> {
    let mut volume = esp.volume(0, Volume::MINIMUM, SECTOR);
    // A larger volume has larger tables, so the need is asked for again.
    while let (Some(needed), Some(capacity)) = (volume.needed(&esp.items), volume.capacity()) {
        if needed <= capacity {
            break;
        }
        volume.size = (volume.size + (needed - capacity) + MIB).next_multiple_of(MIB);
    }
    let file = File::create(path).at("creating", path)?;
    file.set_len(volume.size).at("enlarging", path)?;
    volume.write(&file, &esp.items).at("writing", path)
}

/// The content of the partition. `command_line` goes into the boot entry.
///
/// # Errors
/// When the tree has no boot loader.
pub fn make(image: &Image<'_>, kernel: Kernel<'_>, initrd: &Path, command_line: &str) -> Result<Esp> {
    Ok(Esp::of(image, items(image, kernel, initrd, command_line)?))
}

impl Esp {
    /// A partition with these files.
    pub(super) fn of(image: &Image<'_>, items: Vec<Item>) -> Self {
        let [a, b, c, d, ..] = *determinism::uuid(&image.identity, "esp file system").as_bytes();
        Self { items, id: u32::from_be_bytes([a, b, c, d]), epoch: image.epoch }
    }

    fn volume(&self, offset: u64, size: u64, sector: u64) -> Volume {
        Volume { offset, size, sector, id: self.id, label: *b"ESP        ", epoch: self.epoch }
    }

    /// Writes the partition into `size` bytes of `file` from `offset` on, all zero before. The disk has
    /// sectors of `sector` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Definition`] when the content does not fit; names `disk.esp`.
    pub fn write(&self, file: &File, offset: u64, size: u64, sector: u64) -> Result<()> {
        let volume = self.volume(offset, size, sector);
        check_fit(&volume, &self.items)?;
        volume.write(file, &self.items).at("writing", "the EFI system partition")
    }
}

fn items(image: &Image<'_>, kernel: Kernel<'_>, initrd: &Path, command_line: &str) -> Result<Vec<Item>> {
    let name = &image.plan.name;
    let folder = folder(kernel);
    let (loader, loader_name) = match image.plan.arch {
        Arch::Amd64 => ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "BOOTX64.EFI"),
        Arch::Arm64 => ("usr/lib/systemd/boot/efi/systemd-bootaa64.efi", "BOOTAA64.EFI"),
    };
    let loader = image.tree().file(loader).ok_or_else(|| {
        Error::new(ErrorKind::Definition, format!("the image has no {loader}"))
            .help(image.packages.add_boot_loader())
    })?;
    let initrd =
        Body::Slice { file: initrd.into(), offset: 0, len: initrd.metadata().at("reading", initrd)?.len() };
    let entry = entry(name, kernel.version, &folder, command_line);
    let item = |path: String, body| Item { path, body };
    Ok(vec![
        item(format!("EFI/BOOT/{loader_name}"), loader.clone()),
        item("loader/loader.conf".to_owned(), Body::inline(*b"timeout 0\neditor no\nconsole-mode keep\n")),
        item(format!("loader/entries/{name}.conf"), Body::inline(entry.into_bytes())),
        item(format!("{folder}/linux"), kernel.body.clone()),
        item(format!("{folder}/initrd"), initrd),
    ])
}

/// The folder with the files `linux` and `initrd`.
pub fn folder(kernel: Kernel<'_>) -> String {
    format!("kiln/{}", kernel.version)
}

/// A Type #1 entry (<https://uapi-group.org/specifications/specs/boot_loader_specification/>).
fn entry(name: &str, kernel: &str, folder: &str, command_line: &str) -> String {
    format!(
        "title {name}\nversion {kernel}\nsort-key {name}\nlinux /{folder}/linux\ninitrd /{folder}/initrd\noptions {command_line}\n"
    )
}

fn check_fit(volume: &Volume, items: &[Item]) -> Result<()> {
    let error = |message: String, least: u64| {
        Err(Error::new(ErrorKind::Definition, message)
            .help(format!("set disk.esp to at least {} MiB", least / MIB)))
    };
    let size = volume.size / MIB;
    let (Some(needed), Some(capacity)) = (volume.needed(items), volume.capacity()) else {
        let least = Volume::minimum(volume.sector);
        return error(format!("disk.esp is {size} MiB: too small for FAT32"), least);
    };
    if needed <= capacity {
        return Ok(());
    }
    // A larger volume has larger tables: eight bytes for a cluster of at least 512.
    let more = (needed - capacity) + (needed - capacity) / 64 + MIB;
    error(
        format!("kernel, initrd and boot loader do not fit into disk.esp of {size} MiB"),
        volume.size + more.next_multiple_of(MIB),
    )
}
