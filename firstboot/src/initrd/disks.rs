//! Finds the root and `/var` by partition type (Discoverable Partitions Specification), without udev.

use crate::paths;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::boot_option::Location;
use super::console;
use super::failure::{Failure, Result};
use super::modules::Hardware;
use super::place::{self, Place};
use contract::gpt::{self, Partition, Table};
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
    /// Where it hangs.
    pub place: Place,
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

/// Waits until a disk has a root and a var partition, and loads modules for hardware that appears.
/// `boot_disk` is the disk from which the firmware booted, if it is known.
pub fn wait(arguments: &Arguments, hardware: &mut Hardware, boot_disk: Option<&Location>) -> Result<Found> {
    let deadline = Instant::now() + arguments.timeout;
    let mut seen_since = None;
    let mut pause = FIRST_PAUSE;
    loop {
        hardware.load();
        let disks = scan();
        let late = Instant::now() >= deadline;
        let candidates = candidates(&disks, arguments.root.as_deref());
        if candidates.is_empty() {
            if late {
                return Err(nothing_found(&disks, arguments));
            }
            seen_since = None;
        } else {
            let seen = seen_since.get_or_insert_with(Instant::now).elapsed();
            let is_busy = hardware.is_busy() || is_awaited(boot_disk, &disks, Path::new(paths::BUSES));
            if is_final(seen, late, is_busy) {
                return choose(&candidates, boot_disk)
                    .ok_or_else(|| ambiguous(&candidates, arguments.root.as_deref()));
            }
            pause = FIRST_PAUSE;
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

/// Whether the controller from which the firmware booted still shows no disk.
fn is_awaited(boot_disk: Option<&Location>, disks: &[Disk], buses: &Path) -> bool {
    boot_disk.is_some_and(|location| {
        !disks.iter().any(|disk| disk.place.is_at(location)) && place::has_controller(buses, location)
    })
}

/// A partition that could be the root: one with the root type (and the identifier `root`) on a disk that also
/// has a var partition.
#[derive(Debug, Clone, Copy)]
struct Candidate<'a> {
    disk: &'a Disk,
    root: &'a Partition,
    var: u32,
}

fn candidates<'a>(disks: &'a [Disk], root: Option<&str>) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for disk in disks {
        let Ok(table) = &disk.table else { continue };
        let Some(var) = of_kind(table, partition_type::VAR).next() else { continue };
        let roots =
            of_kind(table, partition_type::ROOT).filter(|partition| root.is_none_or(|id| partition.id == id));
        candidates.extend(roots.map(|root| Candidate { disk, root, var: var.number }));
    }
    candidates
}

/// The rule: the disk from which the firmware booted; else one that is built in rather than removable or in
/// the network; else the first one, if all hang on controllers of one kind.
fn choose(candidates: &[Candidate<'_>], boot_disk: Option<&Location>) -> Option<Found> {
    let mut left = candidates.to_vec();
    let mut reason = "only that one is built in";
    if let Some(location) = boot_disk {
        if narrow(&mut left, |disk| disk.place.is_at(location)) {
            narrow(&mut left, |disk| disk.place.is_unit(location));
            reason = "the firmware booted from it";
        } else {
            console::say("the disk from which the firmware booted holds no root for this image");
        }
    }
    narrow(&mut left, |disk| !disk.place.is_loose);
    if left.len() > 1 {
        left = vec![first(&left)?];
        reason = "it is the first one";
    }
    let chosen = left.first()?;
    if candidates.len() > 1 {
        let names = describe_candidates(candidates);
        console::warn(&format!(
            "several disks could be the root: {names}. {} is taken: {reason}",
            chosen.disk.name
        ));
    }
    Some(Found { disk: chosen.disk.clone(), root: chosen.root.number, var: chosen.var })
}

/// Leaves those that `fits` accepts, if there are any. Returns whether there are.
fn narrow(candidates: &mut Vec<Candidate<'_>>, fits: impl Fn(&Disk) -> bool) -> bool {
    let is_any = candidates.iter().any(|candidate| fits(candidate.disk));
    if is_any {
        candidates.retain(|candidate| fits(candidate.disk));
    }
    is_any
}

/// The first one in the machine's order, which has a meaning only among controllers of one kind on one bus.
fn first<'a>(candidates: &[Candidate<'a>]) -> Option<Candidate<'a>> {
    let kind = |candidate: &Candidate<'a>| {
        let place = &candidate.disk.place;
        let name = candidate.disk.name.split(|c: char| c.is_ascii_digit()).next()?;
        let kind = name.get(..2)?;
        Some((place.hops.first()?, place.driver.as_str(), kind))
    };
    let order = |candidate: &Candidate<'a>| (&candidate.disk.place.hops, &candidate.disk.place.units);
    let mut sorted = candidates.to_vec();
    sorted.sort_by(|one, other| order(one).cmp(&order(other)));
    let (one, rest) = sorted.split_first()?;
    let is_comparable = kind(one).is_some() && rest.iter().all(|other| kind(other) == kind(one));
    let is_alone = rest.iter().all(|other| order(other) != order(one));
    (is_comparable && is_alone).then_some(*one)
}

fn describe_candidates(candidates: &[Candidate<'_>]) -> String {
    let describe =
        |candidate: &Candidate<'_>| format!("{} {}", candidate.disk.name, describe_partition(candidate.root));
    candidates.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn of_kind<'a>(table: &'a Table, kind: &'a str) -> impl Iterator<Item = &'a Partition> {
    table.partitions.iter().filter(move |partition| partition.kind == kind)
}

fn ambiguous(candidates: &[Candidate<'_>], root: Option<&str>) -> Failure {
    let failure =
        Failure::new(format!("several partitions could be the root: {}", describe_candidates(candidates)))
            .line("the firmware does not say from which disk it booted, and the disks have no order");
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
    let sector = place::number::<u64>(&folder.join("queue/logical_block_size"))?;
    // The kernel counts in units of 512 bytes, for any sector size.
    let sectors = place::number::<u64>(&folder.join("size"))?.checked_mul(512)? / sector.max(1);
    if sectors == 0 {
        return None;
    }
    let table = File::open(node(name)).map_err(|error| format!("cannot be opened: {error}"));
    let table = table.and_then(|mut file| gpt::read(&mut file, sector, sectors));
    Some(Disk { name: name.to_owned(), sector, sectors, table, place: Place::of(&folder) })
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
        let mut own = folders.filter(|path| place::number(&path.join("partition")) == Some(number));
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
