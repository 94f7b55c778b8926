//! The place of a disk in the machine, as the kernel shows it in sysfs.

use std::fs;
use std::path::{Component, Path};
use std::str::FromStr;

use super::boot_option::{Hop, Location, Unit};

/// The buses of controllers that the firmware can name.
const BUSES: &[&str] = &["pci", "vmbus"];
/// Beginnings of folders above disks that come and go, or lie elsewhere.
const LOOSE: &[&str] = &["usb", "virtual", "session", "rport-", "rbd"];

/// The place of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The steps to the controller.
    pub hops: Vec<Hop>,
    /// The names of the unit.
    pub units: Vec<Unit>,
    /// The driver of the controller, which tells one kind of controller from another.
    pub driver: String,
    /// Whether the disk is removable, or in the network.
    pub is_loose: bool,
}

impl Place {
    /// The place of the disk with this folder in sysfs.
    pub fn of(folder: &Path) -> Self {
        let folder = fs::canonicalize(folder).unwrap_or_default();
        let names = names(&folder);
        let is_below = |begin: &str| names.iter().any(|name| name.starts_with(begin));
        Self {
            hops: hops(&folder),
            units: units(&folder),
            driver: driver(&folder),
            is_loose: LOOSE.iter().any(|begin| is_below(begin))
                || number(&folder.join("removable")) == Some(1_u32),
        }
    }

    /// Whether the disk hangs on the controller of `location`.
    pub fn is_at(&self, location: &Location) -> bool {
        self.hops.starts_with(&location.controller)
    }

    /// Whether the disk is the unit of `location`.
    pub fn is_unit(&self, location: &Location) -> bool {
        location.unit.as_ref().is_none_or(|unit| self.units.contains(unit))
    }
}

/// Whether the machine with these `buses` has the controller of `location`.
pub fn has_controller(buses: &Path, location: &Location) -> bool {
    let folders = BUSES.iter().map(|bus| buses.join(bus).join("devices"));
    let devices = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    devices
        .filter_map(|device| fs::canonicalize(device.path()).ok())
        .any(|folder| hops(&folder) == location.controller)
}

fn names(folder: &Path) -> Vec<&str> {
    let name = |part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    };
    folder.components().filter_map(name).collect()
}

/// The folders from the outermost to this one.
fn above(folder: &Path) -> Vec<&Path> {
    let mut folders: Vec<&Path> = folder.ancestors().collect();
    folders.reverse();
    folders
}

/// The steps to the controller. A root below another controller is that one's own invention.
fn hops(folder: &Path) -> Vec<Hop> {
    let mut hops = Vec::new();
    for folder in above(folder) {
        hops.extend(match hop(folder) {
            Some(Hop::Root(_)) if !hops.is_empty() => None,
            hop => hop,
        });
    }
    hops
}

fn hop(folder: &Path) -> Option<Hop> {
    let name = folder.file_name()?.to_str()?;
    if let Some((_domain, _bus)) = name.strip_prefix("pci").and_then(|numbers| numbers.split_once(':')) {
        return Some(Hop::Root(number(&folder.join("firmware_node/uid")).unwrap_or(0)));
    }
    let is_guid = name.len() == 36 && name.bytes().filter(|byte| *byte == b'-').count() == 4;
    if is_guid {
        return Some(Hop::Channel(name.to_ascii_lowercase()));
    }
    let (device, function) = name.rsplit_once(':')?.1.split_once('.')?;
    let hexadecimal = |text| u8::from_str_radix(text, 16).ok();
    Some(Hop::Function { device: hexadecimal(device)?, function: hexadecimal(function)? })
}

fn units(folder: &Path) -> Vec<Unit> {
    let mut units: Vec<Unit> = above(folder).into_iter().filter_map(unit).collect();
    units.extend(number(&folder.join("nsid")).map(Unit::Namespace));
    units
}

/// A port of SATA (`ata3`), which the kernel counts from 1, or an address of SCSI (`2:0:1:0`).
fn unit(folder: &Path) -> Option<Unit> {
    let name = folder.file_name()?.to_str()?;
    if name.starts_with("ata") {
        let port: u32 = number(&folder.join("ata_port").join(name).join("port_no"))?;
        return port.checked_sub(1).map(Unit::Port);
    }
    let mut numbers = name.split(':').map(|number| number.parse::<u32>().ok());
    match [numbers.next(), numbers.next(), numbers.next(), numbers.next(), numbers.next()] {
        [Some(_), Some(_), Some(Some(target)), Some(Some(lun)), None] => Some(Unit::Scsi { target, lun }),
        _ => None,
    }
}

/// The driver of the innermost controller on the way to the disk.
fn driver(folder: &Path) -> String {
    let controller = folder.ancestors().find(|folder| hop(folder).is_some());
    let link = controller.and_then(|controller| fs::read_link(controller.join("driver")).ok());
    let name = link.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.unwrap_or_default().to_owned()
}

/// The number in a file of sysfs.
pub(super) fn number<N: FromStr>(path: &Path) -> Option<N> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
