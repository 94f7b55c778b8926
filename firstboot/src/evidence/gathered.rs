//! The evidence of one machine, gathered without the network.

use std::cell::OnceCell;

use super::command_line::CommandLine;
use super::disks::{self, Disk};
use super::smbios::{self, Field};
use crate::host::root::Root;

/// The evidence. Disks are looked for only when a sign needs them: that may mean waiting for their drivers.
pub struct Evidence {
    root: Root,
    /// The kernel command line.
    pub command_line: CommandLine,
    fields: Vec<(Field, String)>,
    disks: OnceCell<Vec<Disk>>,
    /// The identity of the only disk that counts, if not all of them do.
    bound_to: Option<Option<String>>,
}

impl Evidence {
    /// The evidence of the machine with its files below `root`.
    pub fn of(root: &Root) -> Self {
        Self {
            root: root.clone(),
            command_line: CommandLine::of(root),
            fields: smbios::fields(root),
            disks: OnceCell::new(),
            bound_to: None,
        }
    }

    /// Only the disk with this identity counts; none for no disk at all.
    pub fn with_only_disk(self, identity: Option<String>) -> Self {
        Self { bound_to: Some(identity), ..self }
    }

    /// Whether the machine keeps to the disk that it joined with.
    pub fn is_bound_to_disk(&self) -> bool {
        matches!(self.bound_to, Some(Some(_)))
    }

    /// The machine's files.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// A field of the firmware's tables.
    pub fn field(&self, field: Field) -> Option<&str> {
        self.fields.iter().find(|(each, _)| *each == field).map(|(_, text)| text.as_str())
    }

    /// Whether a field is this text, in any case of letters: the same firmware is written in several ways.
    pub fn field_is(&self, field: Field, expected: &str) -> bool {
        self.field(field).is_some_and(|text| text.eq_ignore_ascii_case(expected))
    }

    /// Strings that the operator put into the firmware's tables (type 11).
    pub fn oem_strings(&self) -> Vec<Vec<u8>> {
        smbios::oem_strings(&self.root)
    }

    /// All disks whose file system has a label.
    pub fn all_disks(&self) -> &[Disk] {
        self.disks.get_or_init(|| match &self.bound_to {
            Some(None) => Vec::new(),
            Some(Some(identity)) => {
                let mut disks = disks::find(&self.root);
                disks.retain(|disk| disk.identity == *identity);
                disks
            }
            None => disks::find(&self.root),
        })
    }

    /// The disks with the label `label` in lower or upper case, by device.
    pub fn disks(&self, label: &str) -> Vec<&Disk> {
        self.all_disks().iter().filter(|disk| disk.label(label).is_some()).collect()
    }
}
