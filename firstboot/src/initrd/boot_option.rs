//! The disk that a boot option of the firmware names (UEFI specification 2.10, §3.1.3 and §10.3): reads what
//! firmware, hypervisors and earlier systems wrote.

use contract::gpt::guid;

/// A place on the machine's buses: a way from the root to a controller, and a unit of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The steps to the controller.
    pub controller: Vec<Hop>,
    /// The unit of the controller, if it has several and the name of the unit is known.
    pub unit: Option<Unit>,
}

/// A step to a controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// A root of PCI, by its ACPI `_UID`.
    Root(u32),
    /// A function of PCI.
    Function {
        /// The device.
        device: u8,
        /// Its function.
        function: u8,
    },
    /// A channel of Hyper-V's bus, by its GUID in lower case.
    Channel(String),
}

/// A unit of a controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// SCSI.
    Scsi {
        /// The target.
        target: u32,
        /// The logical unit.
        lun: u32,
    },
    /// SATA, counted from 0.
    Port(u32),
    /// NVMe.
    Namespace(u32),
}

/// The ACPI identifiers of roots of PCI: PNP0A03 and PNP0A08.
const PCI_ROOTS: &[u32] = &[0x0a03_41d0, 0x0a08_41d0];
/// The vendor node of a channel: 9b17e5a2-0891-42dd-b653-80b5c22809ba.
const CHANNEL: [u8; 16] = *b"\xa2\xe5\x17\x9b\x91\x08\xdd\x42\xb6\x53\x80\xb5\xc2\x28\x09\xba";

const HARDWARE: u8 = 1;
const ACPI: u8 = 2;
const MESSAGING: u8 = 3;
const MEDIA: u8 = 4;
const OPTICAL: u8 = 2;

/// The disk of a variable `Boot####` as efivarfs shows it: attributes first. None if the option is not for a
/// disk, or finds it by a partition identifier, which copies of a disk have, too.
pub fn disk(variable: &[u8]) -> Option<Location> {
    let length = usize::from(u16::from_le_bytes(array(variable, 8)?));
    let description = variable.get(10..)?;
    let end = description.chunks_exact(2).position(|unit| unit == [0, 0])?;
    let path = description.get((end + 1) * 2..)?.get(..length)?;
    location(path)
}

/// The number in the variable `BootCurrent`.
pub fn number(variable: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(array(variable, 4)?))
}

fn location(path: &[u8]) -> Option<Location> {
    let mut location = Location { controller: Vec::new(), unit: None };
    for (kind, subtype, data) in Nodes(path) {
        match (kind, subtype) {
            (ACPI, 1) if PCI_ROOTS.contains(&number_at(data, 0)?) => {
                location.controller.push(Hop::Root(number_at(data, 4)?));
            }
            (ACPI, _) => {}
            (HARDWARE, 1) => {
                let [function, device] = array(data, 0)?;
                location.controller.push(Hop::Function { device, function });
            }
            (HARDWARE, 4) if array(data, 0)? == CHANNEL => {
                location.controller.push(Hop::Channel(guid(data.get(32..48)?)));
            }
            (HARDWARE, _) => {}
            (MESSAGING, subtype) => location.unit = unit(subtype, data)?,
            (MEDIA, OPTICAL) => return None,
            // A partition or a file on the disk.
            _ => break,
        }
    }
    let begins = matches!(location.controller.first(), Some(Hop::Root(_) | Hop::Channel(_)));
    let is_controller = !matches!(location.controller.last(), Some(Hop::Root(_)));
    (begins && is_controller).then_some(location)
}

/// The unit that a messaging node names; the outer option is none if it does not lead to a disk.
fn unit(subtype: u8, data: &[u8]) -> Option<Option<Unit>> {
    let short = |at| Some(u32::from(u16::from_le_bytes(array(data, at)?)));
    Some(match subtype {
        2 => Some(Unit::Scsi { target: short(0)?, lun: short(2)? }),
        18 => Some(Unit::Port(short(0)?)),
        23 => Some(Unit::Namespace(number_at(data, 0)?)),
        // ATAPI, vendor's (SAS), SAS, UFS, SD, eMMC: the controller is enough.
        1 | 10 | 22 | 25 | 26 | 29 => None,
        _ => return None,
    })
}

/// The nodes of a device path: type, subtype and data.
struct Nodes<'a>(&'a [u8]);

impl<'a> Iterator for Nodes<'a> {
    type Item = (u8, u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, subtype, low, high] = array(self.0, 0)?;
        let (node, rest) = self.0.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
        self.0 = rest;
        Some((kind, subtype, node.get(4..)?))
    }
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn array<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<[u8; LENGTH]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
#[path = "boot_option_tests.rs"]
mod tests;
