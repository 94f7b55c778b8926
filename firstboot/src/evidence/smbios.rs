//! The firmware's description of the machine: fields of the SMBIOS tables (DMTF DSP0134).

pub use crate::host::firmware::{oem_strings, text};
use crate::host::root::Root;

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

/// All fields by their names in Linux, which are those of files in /sys/class/dmi/id.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;

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
