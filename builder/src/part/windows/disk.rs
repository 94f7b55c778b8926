//! The disk: an EFI system partition, Microsoft's reserved partition, and Windows on NTFS.
//!
//! Sizes and order are those that Microsoft documents ("UEFI/GPT-based hard drive partitions").

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::Path;

use contract::gpt::SECTOR;
use uuid::Uuid;

use super::WindowsImage;
use crate::assembly::{Image, WindowsRelease};
use crate::definition::plan::{Arch, BootManager};
use crate::determinism;
use crate::disk_space;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::format::bcd::Store;
use crate::format::fat32::Item;
use crate::format::gpt::{Layout, Request};
use crate::format::ntfs::{self, Volume};
use crate::format::wim::{Wim, find_in};
use crate::part::disk::{Disk, partitioned};
use crate::part::esp::Esp;
use crate::part::work::Work;
use crate::size::MIB;
use crate::sparse;
use crate::tree::Body;

const ESP: &str = "EFI system partition";
const RESERVED: &str = "Microsoft reserved partition";
const WINDOWS: &str = "Windows";

/// Microsoft's reserved partition, and its size.
const RESERVED_TYPE: &str = "e3c9e316-0b5c-4db8-817d-f92df00215ae";
const RESERVED_SIZE: u64 = 16 * MIB;
/// A partition with data: Windows.
const DATA_TYPE: &str = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7";

/// The folders that the boot manager needs, and where they are below `EFI\Microsoft\Boot`.
const BOOT_FOLDERS: [(&str, &str); 3] = [("EFI", ""), ("Fonts", "Fonts"), ("Resources", "Resources")];

/// Folders whose files, without [`NEWER`] in their names, replace those of the same name: what `bcdboot
/// /bootex` takes, and Microsoft's script `Make2023BootableMedia.ps1`.
const NEWER_BOOT_FOLDERS: [(&str, &str); 2] = [("EFI_EX", ""), ("Fonts_EX", "Fonts")];

/// The newer boot manager.
const NEWER_BOOT_MANAGER: &str = r"\Windows\Boot\EFI_EX\bootmgfw_EX.efi";

/// What the name of a file that "Windows UEFI CA 2023" signed has before its ending.
const NEWER: &str = "_EX";

/// The program that starts the hypervisor, if the image has that feature.
const HYPERVISOR: &str = r"\windows\system32\hvix64.exe";

/// Writes the disk into the scratch folder.
///
/// # Errors
/// When a size of the definition does not work, or the image has no boot manager.
pub(in crate::part) fn make(
    image: &Image<'_>,
    work: &Work<'_>,
    release: &WindowsRelease,
    windows: &WindowsImage,
) -> Result<Disk> {
    let layout = layout(image)?;
    let esp = esp(image, work, release, windows, &layout)?;
    let _step = work.progress.step("writing the disk");
    let (path, mut file) = partitioned(work, &layout)?;
    let place = |label| layout.get(label).ok_or_else(|| Error::new(ErrorKind::Internal, "no such partition"));
    let (on_esp, on_windows) = (place(ESP)?, place(WINDOWS)?);
    esp.write(&file, on_esp.offset, on_esp.size, layout.sector_size)?;
    let volume = volume(image, work, windows, on_windows.offset, on_windows.size)?;
    let from = File::open(&volume).at("opening", &volume)?;
    file.seek(SeekFrom::Start(on_windows.offset)).at("writing", &path)?;
    sparse::copy_range(&from, 0..on_windows.size, &mut file).at("copying Windows to", &path)?;
    fs::remove_file(&volume).at("removing", &volume)?;
    Ok(Disk { path, layout: Some(layout) })
}

fn layout(image: &Image<'_>) -> Result<Layout> {
    let plan = &image.plan.disk;
    for (key, size, least) in [("esp", plan.esp, 100 * MIB), ("windows", plan.windows, ntfs::MINIMUM)] {
        if size < least || !size.is_multiple_of(MIB) {
            let message = format!("disk.{key} of {size} bytes is too small, or not whole MiB");
            return Err(Error::new(ErrorKind::Definition, message)
                .help(format!("set disk.{key} to at least {} MiB", least / MIB)));
        }
    }
    let request = |label, kind, size| {
        let guid = determinism::uuid(&image.identity, label);
        Request { label, kind, guid, size, flags: 0 }
    };
    let requests = vec![
        request(ESP, contract::partition_type::ESP, plan.esp),
        request(RESERVED, RESERVED_TYPE, RESERVED_SIZE),
        request(WINDOWS, DATA_TYPE, plan.windows),
    ];
    Ok(Layout::new(determinism::uuid(&image.identity, "disk"), plan.sector_size, requests))
}

/// The volume with Windows, in a file of its own.
fn volume(
    image: &Image<'_>,
    work: &Work<'_>,
    windows: &WindowsImage,
    offset: u64,
    size: u64,
) -> Result<std::path::PathBuf> {
    work.record_tool("mkntfs", &ntfs::version()?);
    let path = work.scratch.join("windows.ntfs");
    let [a, b, c, d, e, f, g, h, ..] = *determinism::uuid(&image.identity, "ntfs").as_bytes();
    let serial = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let (start, label, epoch) = (offset / SECTOR, WINDOWS, image.epoch);
    Volume { path: &path, size, start, label, serial, epoch }.make()?;
    let wim = Wim { path: &windows.wim, title: "the image" };
    wim.apply(&path, epoch).map_err(|error| match error.kind() {
        ErrorKind::Io if !disk_space::is_missed_at(&path) => error.other_help("set disk.windows to more"),
        _ => error,
    })?;
    ntfs::set_rights(&path, &windows.added, epoch, work.scratch)?;
    Ok(path)
}

/// The EFI system partition: the boot manager out of the image, twice, and its store.
fn esp(
    image: &Image<'_>,
    work: &Work<'_>,
    release: &WindowsRelease,
    windows: &WindowsImage,
    layout: &Layout,
) -> Result<Esp> {
    let wim = Wim { path: &windows.wim, title: &release.title };
    let paths = wim.paths(1)?;
    let is_there = |path: &str| paths.iter().any(|one| one.eq_ignore_ascii_case(path));
    let mut items = boot_files(&wim, release, &BOOT_FOLDERS, &work.scratch.join("boot"))?;
    if image.plan.disk.boot_manager == BootManager::Ca2023 {
        if !is_there(NEWER_BOOT_MANAGER) {
            return Err(no_newer_boot_manager(release));
        }
        let folders = NEWER_BOOT_FOLDERS.into_iter();
        let folders: Vec<_> =
            folders.filter(|(name, _)| is_there(&format!(r"\Windows\Boot\{name}"))).collect();
        let newer = boot_files(&wim, release, &folders, &work.scratch.join("newer-boot"))?;
        let newer: Vec<Item> = newer.into_iter().filter_map(without_mark).collect();
        check_newer(&newer, release)?;
        newer.into_iter().for_each(|item| replace(&mut items, item));
    }
    let manager = items.iter().find(is_manager).ok_or_else(|| no_boot_manager(release))?;
    let name = match image.plan.arch {
        Arch::Amd64 => "BOOTX64.EFI",
        Arch::Arm64 => "BOOTAA64.EFI",
    };
    // The place that firmware tries without being told.
    let fallback = Item { path: format!("EFI/Boot/{name}"), body: manager.body.clone() };
    let guid = |label: &str| layout.get(label).map_or(Uuid::nil(), |partition| partition.guid);
    let store = Store {
        disk: layout.guid,
        esp: guid(ESP),
        windows: guid(WINDOWS),
        entry: determinism::uuid(&image.identity, "boot entry"),
        title: &release.product,
        hypervisor: is_there(HYPERVISOR),
        epoch: image.epoch,
    };
    items.push(fallback);
    items.push(Item { path: "EFI/Microsoft/Boot/BCD".to_owned(), body: Body::inline(store.make()?) });
    Ok(Esp::of(image, items))
}

/// The files of folders below `\Windows\Boot`, which come into the folder `to` of this machine first.
fn boot_files(
    wim: &Wim<'_>,
    release: &WindowsRelease,
    folders: &[(&str, &str)],
    to: &Path,
) -> Result<Vec<Item>> {
    fs::create_dir(to).at("creating", to)?;
    let paths: Vec<_> = folders.iter().map(|(name, _)| format!("/Windows/Boot/{name}")).collect();
    wim.extract(1, &paths.iter().map(String::as_str).collect::<Vec<_>>(), to)?;
    let mut items = Vec::new();
    for (name, place) in folders {
        let from = find_in(to, name).ok_or_else(|| no_boot_manager(release))?;
        let place = format!("EFI/Microsoft/Boot/{place}");
        add_folder(&from, place.trim_end_matches('/'), &mut items)?;
    }
    Ok(items)
}

fn is_manager(item: &&Item) -> bool {
    item.path.eq_ignore_ascii_case("EFI/Microsoft/Boot/bootmgfw.efi")
}

/// `bootmgfw_EX.efi` as `bootmgfw.efi`; nothing for a file without the mark.
fn without_mark(item: Item) -> Option<Item> {
    let (folder, name) = item.path.rsplit_once('/')?;
    let (stem, ending) = name.split_once('.')?;
    let at = stem.len().checked_sub(NEWER.len()).filter(|at| *at > 0)?;
    let is_marked = stem.get(at..)?.eq_ignore_ascii_case(NEWER);
    is_marked.then(|| Item { path: format!("{folder}/{}.{ending}", &stem[..at]), body: item.body.clone() })
}

/// The manager must be among them, and no name twice.
fn check_newer(items: &[Item], release: &WindowsRelease) -> Result<()> {
    let mut names = BTreeSet::new();
    let twice = items.iter().find(|item| !names.insert(item.path.to_ascii_lowercase()));
    if let Some(Item { path, .. }) = twice {
        let message = format!("{} has two files in \\Windows\\Boot that are {path}", release.title);
        return Err(
            Error::new(ErrorKind::Archive, message).help("take an image of Windows as Microsoft made it")
        );
    }
    items.iter().find(is_manager).map(drop).ok_or_else(|| no_newer_boot_manager(release))
}

fn no_newer_boot_manager(release: &WindowsRelease) -> Error {
    let message = format!("{} has no file {NEWER_BOOT_MANAGER}", release.title);
    Error::new(ErrorKind::Archive, message)
        .help("install newer updates in the base, or leave out disk.boot-manager")
}

/// Adds a file, in place of one of the same name.
fn replace(items: &mut Vec<Item>, item: Item) {
    match items.iter_mut().find(|old| old.path.eq_ignore_ascii_case(&item.path)) {
        Some(old) => old.body = item.body,
        None => items.push(item),
    }
}

fn no_boot_manager(release: &WindowsRelease) -> Error {
    let message = format!("{} has no \\Windows\\Boot\\EFI\\bootmgfw.efi", release.title);
    Error::new(ErrorKind::Archive, message).help("take an image of Windows that boots by UEFI")
}

/// Everything in the folder `from`, in the order of names.
fn add_folder(from: &Path, to: &str, items: &mut Vec<Item>) -> Result<()> {
    let entries = fs::read_dir(from).at("reading", from)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .at("reading", from)?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = format!("{to}/{name}");
        if path.is_dir() {
            add_folder(&path, &to, items)?;
        } else {
            items.push(Item { path: to, body: Body::whole(&path).at("reading", &path)? });
        }
    }
    Ok(())
}
