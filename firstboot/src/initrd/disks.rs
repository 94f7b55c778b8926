//! Finds the root and `/var` by partition type (Discoverable Partitions Specification), without udev.

use crate::paths;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::console;
use super::failure::{Failure, Result};
use super::gpt::{self, Partition, Table};
use super::modules::Hardware;
use contract::partition_type;

/// Devices that never contain a root: loops, memory disks, optical and floppy drives (which are slow to
/// answer).
const IGNORED: &[&str] = &["loop", "ram", "zram", "sr", "fd", "nbd"];

/// The first and the last pause between two scans. Pauses double in between.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for a second disk with the same partitions, because some buses find their disks one by
/// one.
const SETTLE: Duration = Duration::from_millis(100);

/// A whole disk.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The kernel's name ("vda").
    pub name: String,
    /// Bytes per sector.
    pub sector: u64,
    /// Number of sectors.
    pub sectors: u64,
    /// The partition table, or why there is none.
    pub table: std::result::Result<Table, String>,
}

/// The disk to boot from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The disk.
    pub disk: Disk,
    /// Number of the root partition.
    pub root: u32,
    /// Number of the `/var` partition.
    pub var: u32,
}

/// Waits until exactly one disk has a root and a var partition, and loads modules for hardware that appears.
pub fn wait(arguments: &Arguments, hardware: &mut Hardware) -> Result<Found> {
    let deadline = Instant::now() + arguments.timeout;
    let mut seen_since = None;
    let mut pause = FIRST_PAUSE;
    loop {
        hardware.load();
        let disks = scan();
        let late = Instant::now() >= deadline;
        match choose(&disks, arguments.root.as_deref()) {
            Choice::One(found) => {
                let seen = seen_since.get_or_insert_with(Instant::now).elapsed();
                if is_final(seen, late, hardware.is_busy()) {
                    return Ok(found);
                }
                pause = FIRST_PAUSE;
            }
            Choice::Several(names) => return Err(ambiguous(&names, arguments.root.as_deref())),
            Choice::None if late => return Err(nothing_found(&disks, arguments)),
            Choice::None => seen_since = None,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Whether a choice may stand, `seen` for this long: once every driver has finished its search, so that the
/// result does not depend on which of two disks is faster. Another disk may hold the same identifiers, which
/// follow from the image.
fn is_final(seen: Duration, is_late: bool, is_busy: bool) -> bool {
    seen >= SETTLE && (is_late || !is_busy)
}

/// The result of reading all partition tables.
#[derive(Debug)]
enum Choice {
    None,
    One(Found),
    /// Descriptions of the candidates for the root.
    Several(Vec<String>),
}

/// The rule: the root is the only root partition (or the only one with the identifier `root`) on a disk that
/// also has a var partition.
fn choose(disks: &[Disk], root: Option<&str>) -> Choice {
    let mut candidates = Vec::new();
    for disk in disks {
        let Ok(table) = &disk.table else { continue };
        let Some(var) = of_kind(table, partition_type::VAR).next() else { continue };
        for partition in
            of_kind(table, partition_type::ROOT).filter(|partition| root.is_none_or(|id| partition.id == id))
        {
            candidates.push((disk, partition, var.number));
        }
    }
    match candidates[..] {
        [] => Choice::None,
        [(disk, root, var)] => Choice::One(Found { disk: disk.clone(), root: root.number, var }),
        _ => Choice::Several(
            candidates
                .iter()
                .map(|(disk, root, _)| format!("{} {}", disk.name, describe_partition(root)))
                .collect(),
        ),
    }
}

fn of_kind<'a>(table: &'a Table, kind: &'a str) -> impl Iterator<Item = &'a Partition> {
    table.partitions.iter().filter(move |partition| partition.kind == kind)
}

fn ambiguous(names: &[String], root: Option<&str>) -> Failure {
    let failure = Failure::new(format!("several partitions could be the root: {}", names.join(", ")));
    match root {
        None => failure
            .line("help: name one on the kernel command line: root=PARTUUID=…, or detach the other disk"),
        Some(id) => failure.line(format!("help: all have the identifier {id}: detach the copy")),
    }
}

fn nothing_found(disks: &[Disk], arguments: &Arguments) -> Failure {
    let which = arguments.root.as_ref().map(|id| format!(" and identifier {id}")).unwrap_or_default();
    let seconds = arguments.timeout.as_secs();
    let wanted = format!(
        "a disk with a root partition (type {}{which}) and a var partition (type {})",
        partition_type::ROOT,
        partition_type::VAR
    );
    let mut failure =
        Failure::new(format!("no root found in {seconds} s")).line(format!("looked for {wanted}"));
    if disks.is_empty() {
        failure = failure.line("found no disk: the kernel has no driver for it in this initrd, or it is slow (kiln.timeout=SECONDS)");
    }
    for disk in disks {
        failure = failure.line(describe(disk));
    }
    failure
}

fn describe(disk: &Disk) -> String {
    let mib = disk.sectors.saturating_mul(disk.sector) >> 20;
    let what = match &disk.table {
        Err(why) => why.clone(),
        Ok(table) if table.partitions.is_empty() => "no partitions".to_owned(),
        Ok(table) => table.partitions.iter().map(describe_partition).collect::<Vec<_>>().join(", "),
    };
    format!("found disk {} of {mib} MiB: {what}", disk.name)
}

/// Number, kind and identifier.
fn describe_partition(partition: &Partition) -> String {
    let kind = match partition.kind.as_str() {
        partition_type::ROOT => "root",
        partition_type::VAR => "var",
        partition_type::ESP => "ESP",
        other => other,
    };
    format!("{} {kind} {}", partition.number, partition.id)
}

/// All disks, sorted by name.
fn scan() -> Vec<Disk> {
    let Ok(entries) = fs::read_dir(paths::BLOCK) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| {
        !IGNORED
            .iter()
            .any(|ignored| name.trim_end_matches(|c: char| c.is_ascii_digit()) == *ignored)
    });
    names.sort();
    names.iter().filter_map(|name| look_at(name)).collect()
}

fn look_at(name: &str) -> Option<Disk> {
    let folder = Path::new(paths::BLOCK).join(name);
    let sector = number_in(&folder.join("queue/logical_block_size"))?;
    // The kernel counts in units of 512 bytes, for any sector size.
    let sectors = number_in(&folder.join("size"))?.checked_mul(512)? / sector.max(1);
    if sectors == 0 {
        return None;
    }
    let table = File::open(node(name)).map_err(|error| format!("cannot be opened: {error}"));
    let table = table.and_then(|mut file| gpt::read(&mut file, sector, sectors));
    Some(Disk { name: name.to_owned(), sector, sectors, table })
}

fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The device of the disk or partition with the kernel's name `name`, in which `!` means `/`.
pub fn node(name: &str) -> PathBuf {
    Path::new(paths::DEV).join(name.replace('!', "/"))
}

impl Disk {
    /// The device of partition `number`, if the kernel knows it.
    pub fn partition(&self, number: u32) -> Option<PathBuf> {
        let entries = fs::read_dir(Path::new(paths::BLOCK).join(&self.name)).ok()?;
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut own = folders.filter(|path| number_in(&path.join("partition")) == Some(u64::from(number)));
        own.next()?.file_name()?.to_str().map(node).filter(|path| path.exists())
    }

    /// The device of partition `number`. Waits until the kernel has created it.
    pub fn wait_for_partition(&self, number: u32, timeout: Duration) -> Result<PathBuf> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(path) = self.partition(number) {
                return Ok(path);
            }
            if Instant::now() >= deadline {
                let failure =
                    Failure::new(format!("the kernel shows no partition {number} of {}", self.name));
                return Err(failure.line(describe(self)));
            }
            std::thread::sleep(FIRST_PAUSE);
        }
    }
}

/// Prints which disk is used.
pub fn announce(found: &Found) {
    console::say(&format!(
        "root is partition {} of {}, var is partition {}",
        found.root, found.disk.name, found.var
    ));
}

#[cfg(test)]
#[path = "disks_tests.rs"]
mod tests;
