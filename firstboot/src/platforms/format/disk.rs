//! Disks with a label, and the user data on them.

use std::path::Path;

use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::disks::Disk;
use crate::platforms::platform::{PlatformData, ReadContext};

/// The one disk with a label, in lower or upper case. Several are an error: nothing says which one is meant.
pub(crate) fn only_disk(context: &ReadContext, label: &str) -> Result<Disk> {
    match context.evidence.disks(label).as_slice() {
        [disk] => Ok((*disk).clone()),
        [] => Err(Failure::new(ErrorKind::Source, format!("no disk has the label {label}"))
            .help("attach it, or unpin the platform")),
        disks => {
            let names: Vec<String> = disks.iter().map(|disk| disk.device.display().to_string()).collect();
            let message = format!("several disks have the label {label}: {}", names.join(", "));
            Err(Failure::new(ErrorKind::Source, message).help("detach all but one"))
        }
    }
}

/// Reads the platform's data from `disk`. Its user data remembers the disk.
pub(crate) fn read(
    disk: &Disk,
    read: impl FnOnce(&Path) -> Result<PlatformData> + Send,
) -> Result<PlatformData> {
    let mut data = disk.with_files(read)?;
    if let Some(user_data) = &mut data.user_data {
        user_data.disk = Some(disk.identity.clone());
    }
    Ok(data)
}

/// The user data in the file `name`, with the signature beside it.
pub(crate) fn user_data(folder: &Path, name: &str, device: &str) -> Result<Option<UserData>> {
    let Some(document) = Document::read_file(&folder.join(name))? else { return Ok(None) };
    let signature = Document::read_file(&folder.join(format!("{name}.minisig")))?;
    let signature = signature.map(|text| String::from_utf8_lossy(text.bytes()).into_owned());
    Ok(UserData::new(document, format!("{device}: {name}"))
        .map(|user_data| UserData { signature, ..user_data }))
}
