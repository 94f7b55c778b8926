//! The boot entry of an installed system: a variable `Boot####` and its place in `BootOrder` (UEFI
//! specification 2.10, §3.1). A machine without it finds the system too, by the path that removable media
//! have, unless an older entry comes first.

use contract::gpt::{self, Table};
use contract::partition_type;

use crate::error::{ErrorKind, Failure, Result};
use crate::host::efi;
use crate::host::root::Root;

/// How the descriptions of our entries begin.
const PREFIX: &str = "Kiln ";
/// The variable with the order of entries.
const ORDER: &str = "BootOrder";
/// The path of a boot loader that needs no entry (§3.5.1.1).
#[cfg(target_arch = "x86_64")]
const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";
#[cfg(target_arch = "aarch64")]
const LOADER: &str = r"\EFI\BOOT\BOOTAA64.EFI";
/// LOAD_OPTION_ACTIVE (§3.1.3).
const ACTIVE: u32 = 1;
/// A node of media, and its kinds: a partition, a path on it (§10.3.5).
const MEDIA: u8 = 4;
const PARTITION: u8 = 1;
const FILE: u8 = 4;
/// GPT, and an identifier that is a GUID.
const BY_GUID: [u8; 2] = [2, 2];
/// The end of a path (§10.3.1).
const END: [u8; 4] = [0x7f, 0xff, 4, 0];

/// Makes the image `name` on the disk with this table the first to be booted. False on a machine without
/// UEFI, or if the image has no boot loader for it.
pub fn make(root: &Root, table: &Table, name: &str) -> Result<bool> {
    let Some(option) = option(table, name).filter(|_| efi::is_there(root)) else { return Ok(false) };
    let entries = efi::names(root, "Boot");
    let numbers: Vec<u16> = entries.iter().filter_map(|entry| number(entry)).collect();
    let ours = |number: &u16| {
        let content = efi::read(root, &variable(*number)).ok().flatten().unwrap_or_default();
        description(&content).is_some_and(|description| description.starts_with(PREFIX))
    };
    let number = numbers
        .iter()
        .copied()
        .find(ours)
        .or_else(|| (0..=u16::MAX).find(|free| !numbers.contains(free)));
    let number =
        number.ok_or_else(|| Failure::new(ErrorKind::Host, "the firmware has no free boot entry"))?;
    // A new one would lose all other entries, so one that cannot be read stays.
    let order =
        efi::read(root, ORDER).map_err(|failure| failure.doing("reading the order of boot entries"))?;
    efi::write(root, &variable(number), &option)?;
    efi::write(root, ORDER, &first(number, &order.unwrap_or_default()))?;
    Ok(true)
}

fn variable(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// The number of `Boot0001`.
fn number(variable: &str) -> Option<u16> {
    let digits = variable.strip_prefix("Boot").filter(|digits| digits.len() == 4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// The order with this number in front.
fn first(number: u16, order: &[u8]) -> Vec<u8> {
    let (own, others) = (number.to_le_bytes(), order.chunks_exact(2));
    own.into_iter().chain(others.filter(|other| *other != own).flatten().copied()).collect()
}

/// The text of an entry.
fn description(content: &[u8]) -> Option<String> {
    let units = content.get(6..)?.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).ok()
}

/// EFI_LOAD_OPTION (§3.1.3): attributes, length of the path, description, path.
fn option(table: &Table, name: &str) -> Option<Vec<u8>> {
    let esp = table.partitions.iter().find(|partition| partition.kind == partition_type::ESP)?;
    let mut place = esp.number.to_le_bytes().to_vec();
    place.extend(esp.first.to_le_bytes());
    place.extend((esp.last + 1 - esp.first).to_le_bytes());
    place.extend(gpt::guid_bytes(&esp.id)?);
    place.extend(BY_GUID);
    let path = [node(PARTITION, &place)?, node(FILE, &utf16(LOADER))?, END.to_vec()].concat();
    let mut option = ACTIVE.to_le_bytes().to_vec();
    option.extend(u16::try_from(path.len()).ok()?.to_le_bytes());
    option.extend(utf16(&format!("{PREFIX}{name}")));
    option.extend(path);
    Some(option)
}

fn node(kind: u8, data: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(data.len() + 4).ok()?.to_le_bytes();
    Some([&[MEDIA, kind, length[0], length[1]], data].concat())
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use contract::gpt::Partition;

    const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

    fn table() -> Table {
        Table::of(vec![Partition {
            number: 2,
            kind: partition_type::ESP.to_owned(),
            id: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
            first: 2048,
            last: 206_847,
        }])
    }

    #[test]
    fn an_entry_names_the_partition_and_the_loader() {
        let option = option(&table(), "n1").unwrap();
        assert_eq!(description(&option).as_deref(), Some("Kiln n1"));
        let path = usize::from(u16::from_le_bytes([option[4], option[5]]));
        let path = &option[option.len() - path..];
        assert_eq!(path[..8], [4, 1, 42, 0, 2, 0, 0, 0]);
        assert_eq!(path[8..24], [2048u64.to_le_bytes(), 204_800u64.to_le_bytes()].concat());
        assert_eq!(gpt::guid(&path[24..40]), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(path[40..42], [2, 2]);
        let file = &path[42..path.len() - 4];
        assert_eq!((file[0], file[1], usize::from(file[2])), (4, 4, file.len()));
        assert_eq!(path[path.len() - 4..], END);
        assert_eq!(option_of_no_esp(), None);
    }

    fn option_of_no_esp() -> Option<Vec<u8>> {
        option(&Table::of(Vec::new()), "n1")
    }

    #[test]
    fn an_entry_comes_first_and_replaces_that_of_an_earlier_installation() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        assert_eq!(make(&root, &table(), "n1"), Ok(false), "no UEFI");
        let path = |name: &str| root.path(format!("/sys/firmware/efi/efivars/{name}-{VENDOR}"));
        let entry = |text: &str| [&[7, 0, 0, 0, 1, 0, 0, 0, 0, 0], &utf16(text)[..]].concat();
        files::write(&path("Boot0000"), &entry("UEFI PXEv4"), 0o644).unwrap();
        files::write(&path("BootOrder"), &[7, 0, 0, 0, 0, 0, 9, 0], 0o644).unwrap();
        assert_eq!(make(&root, &table(), "n1"), Ok(true));
        let read = |name: &str| std::fs::read(path(name)).unwrap();
        assert_eq!(read("BootOrder"), [7, 0, 0, 0, 1, 0, 0, 0, 9, 0]);
        assert_eq!(read("Boot0001")[..8], [7, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(make(&root, &table(), "n2"), Ok(true));
        assert_eq!(read("BootOrder"), [7, 0, 0, 0, 1, 0, 0, 0, 9, 0]);
        assert_eq!(description(&read("Boot0001")[4..]).as_deref(), Some("Kiln n2"));
        assert!(!path("Boot0002").exists());

        // What the kernel does not give would be lost with the other entries.
        std::fs::remove_file(path("BootOrder")).unwrap();
        std::fs::create_dir(path("BootOrder")).unwrap();
        let before = read("Boot0001");
        assert!(make(&root, &table(), "n3").unwrap_err().to_string().contains("order"));
        assert_eq!(read("Boot0001"), before);
    }
}
