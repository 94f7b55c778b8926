//! Hives of an image, with the changes that its Windows has left in their log files.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::format::hive::Hive;
use crate::format::wim::Wim;

/// The folder of the hives.
const CONFIG: &str = r"Windows\System32\config";
/// The endings of a hive's log files.
const LOGS: [&str; 2] = [".LOG1", ".LOG2"];

/// Where the hive `name` is in an image.
pub fn path_of(name: &str) -> String {
    format!("{CONFIG}\\{name}")
}

/// Where its log files are, which belong to the hive as it was.
pub fn logs_of(name: &str) -> [String; 2] {
    LOGS.map(|ending| format!("{CONFIG}\\{name}{ending}"))
}

/// The hive and its log files.
pub fn files_of(name: &str) -> impl Iterator<Item = String> {
    std::iter::once(path_of(name)).chain(logs_of(name))
}

/// The hive `name`, whose files `read` reads by their paths; `title` is the image, for messages.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is missing or broken, or its changes are not in its log files.
pub(super) fn hive(
    name: &str,
    title: &str,
    read: impl Fn(&str) -> Result<Option<Vec<u8>>>,
    epoch: u64,
) -> Result<Hive> {
    let missing = || Error::new(ErrorKind::Archive, format!("{title}: it has no hive {name}"));
    let bytes = read(&path_of(name))?.ok_or_else(missing)?;
    let mut logs = Vec::new();
    if Hive::is_dirty(&bytes) {
        for path in logs_of(name) {
            logs.extend(read(&path)?);
        }
    }
    Hive::recover(bytes, &logs, epoch).map_err(|error| error.context(format!("{title}: {name}")))
}

/// The hive `name` of an image in a WIM. `scratch` is a folder for a while.
///
/// # Errors
/// [`ErrorKind::Archive`] if it is missing or broken, or its changes are not in its log files.
pub fn of_wim(wim: &Wim<'_>, index: u32, name: &str, scratch: &Path, epoch: u64) -> Result<Hive> {
    let read = |path: &str| {
        // Of log files alone it is not known whether they are there.
        let is_there = || -> Result<bool> {
            Ok(wim
                .paths(index)?
                .iter()
                .any(|other| other.trim_start_matches('\\').eq_ignore_ascii_case(path)))
        };
        if path != path_of(name) && !is_there()? {
            return Ok(None);
        }
        wim.read(index, path, scratch)
    };
    hive(name, wim.title, read, epoch)
}
