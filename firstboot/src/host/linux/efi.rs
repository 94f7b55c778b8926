//! Variables of the firmware (efivarfs). Each begins with four bytes of attributes.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::error::{Context, ErrorKind, Failure, Result};
use crate::host::files;
use crate::host::root::Root;
use crate::paths;

/// The vendor of the variables of the UEFI specification.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The largest variable that is read.
const LARGEST: u64 = 64 * 1024;
/// Kept when the machine is off, and seen by the boot loader and the system (UEFI specification 2.10, §8.2).
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];

/// Whether the firmware is UEFI and shows its variables.
pub fn is_there(root: &Root) -> bool {
    !root.list(paths::EFI_VARIABLES).is_empty()
}

/// The content of a variable of the specification, without its attributes; none if it is not there.
pub fn read(root: &Root, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(bytes) = files::read(&path(root, name), LARGEST)? else { return Ok(None) };
    let content = bytes.get(ATTRIBUTES.len()..);
    let content =
        content.ok_or_else(|| Failure::new(ErrorKind::Host, format!("the variable {name} is cut off")))?;
    Ok(Some(content.to_vec()))
}

/// The names of the variables of the specification that begin with `begin`.
pub fn names(root: &Root, begin: &str) -> Vec<String> {
    let all = root.list(paths::EFI_VARIABLES);
    let names = all
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(VENDOR)?.strip_suffix('-'));
    names.filter(|name| name.starts_with(begin)).map(str::to_owned).collect()
}

/// Sets a variable of the specification. The kernel takes it in one call, or not at all.
pub fn write(root: &Root, name: &str, content: &[u8]) -> Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path(root, name));
    let written = opened.and_then(|mut file| file.write_all(&[&ATTRIBUTES, content].concat()));
    written.doing(format!("setting the firmware's variable {name}"))
}

fn path(root: &Root, name: &str) -> PathBuf {
    root.path(PathBuf::from(paths::EFI_VARIABLES).join(format!("{name}-{VENDOR}")))
}
