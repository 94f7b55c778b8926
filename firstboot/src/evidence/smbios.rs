//! The firmware's description of the machine: the SMBIOS tables, as the kernel shows them below /sys
//! (DMTF DSP0134; <https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-firmware-dmi-entries>).

use std::fs;

use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// Longest structure that is read: type 11 with many strings.
const LONGEST: u64 = 64 * 1024;
/// Structures of type 11 that are read.
const MOST: usize = 64;

/// A field of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Type 1: manufacturer.
    SysVendor,
    /// Type 1: product name.
    ProductName,
    /// Type 1: version.
    ProductVersion,
    /// Type 1: serial number; root only.
    ProductSerial,
    /// Type 1: UUID; root only.
    ProductUuid,
    /// Type 2: manufacturer.
    BoardVendor,
    /// Type 2: product.
    BoardName,
    /// Type 2: serial number; root only.
    BoardSerial,
    /// Type 3: asset tag.
    ChassisAssetTag,
    /// Type 0: vendor of the firmware.
    BiosVendor,
}

/// All fields with their files in /sys/class/dmi/id.
pub const FIELDS: &[(Field, &str)] = &[
    (Field::SysVendor, "sys_vendor"),
    (Field::ProductName, "product_name"),
    (Field::ProductVersion, "product_version"),
    (Field::ProductSerial, "product_serial"),
    (Field::ProductUuid, "product_uuid"),
    (Field::BoardVendor, "board_vendor"),
    (Field::BoardName, "board_name"),
    (Field::BoardSerial, "board_serial"),
    (Field::ChassisAssetTag, "chassis_asset_tag"),
    (Field::BiosVendor, "bios_vendor"),
];

impl Field {
    /// The kernel's name of it.
    pub fn name(self) -> &'static str {
        FIELDS.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }
}

/// All fields, trimmed; absent and empty ones are left out.
pub fn fields(root: &Root) -> Vec<(Field, String)> {
    FIELDS.iter().filter_map(|(field, name)| Some((*field, text(root, name)?))).collect()
}

/// The kernel's file `name`, trimmed; none when it is absent or empty.
pub fn text(root: &Root, name: &str) -> Option<String> {
    let bytes = files::read(&root.path(paths::smbios(name)), 4096).ok()??;
    let text = String::from_utf8_lossy(&bytes)
        .trim_matches(|edge: char| edge.is_whitespace() || edge == '\0')
        .to_owned();
    (!text.is_empty()).then_some(text)
}

/// Strings that the operator gave a virtual machine: those of all structures of type 11, in their order.
pub fn oem_strings(root: &Root) -> Vec<Vec<u8>> {
    let raw = |number: usize| files::read(&root.path(paths::oem_strings(number)), LONGEST).ok().flatten();
    if fs::metadata(root.path(paths::SMBIOS_ENTRIES)).is_err() {
        return Vec::new();
    }
    (0..MOST).map_while(raw).flat_map(|structure| strings(&structure)).collect()
}

/// The strings behind the formatted part of a structure: each ends with a NUL, the last with two (DSP0134,
/// section 6.1.3). A truncated structure has the strings that are there.
pub fn strings(structure: &[u8]) -> Vec<Vec<u8>> {
    let formatted = structure.get(1).map_or(4, |length| usize::from(*length).max(4));
    let area = structure.get(formatted..).unwrap_or_default();
    area.split(|byte| *byte == 0)
        .take_while(|string| !string.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_trimmed_and_blanks_are_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        for (name, text) in [("sys_vendor", "Amazon EC2  \n"), ("product_name", " \n"), ("unknown", "x")] {
            files::write(&root.path(format!("/sys/class/dmi/id/{name}")), text.as_bytes(), 0o444).unwrap();
        }
        assert_eq!(fields(&root), [(Field::SysVendor, "Amazon EC2".to_owned())]);
        assert_eq!(Field::ChassisAssetTag.name(), "chassis_asset_tag");
    }

    #[test]
    fn strings_follow_the_formatted_part() {
        for (structure, expected) in [
            (&b"\x0b\x05\x00\x00\x02one\0two\0\0"[..], vec!["one", "two"]),
            (b"\x0b\x05\x00\x00\x00\0\0", vec![]),
            (b"\x0b\x05\x00\x00\x01cut", vec!["cut"]),
            (b"\x0b\xff\x00", vec![]),
            (b"\x0b", vec![]),
            (b"", vec![]),
        ] {
            assert_eq!(
                strings(structure),
                expected.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn all_structures_of_type_11_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert!(oem_strings(&root).is_empty());
        for (number, text) in [(0, "a"), (1, "b")] {
            let bytes = [b"\x0b\x05\x00\x00\x01", text.as_bytes(), b"\0\0"].concat();
            files::write(&root.path(format!("/sys/firmware/dmi/entries/11-{number}/raw")), &bytes, 0o400)
                .unwrap();
        }
        assert_eq!(oem_strings(&root), [b"a".to_vec(), b"b".to_vec()]);
    }
}
