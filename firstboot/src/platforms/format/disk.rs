//! Disks with a label, and the user data on them.

use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::Evidence;
use crate::evidence::disks::Disk;
use crate::host::root::Root;
use crate::platforms::platform::{PlatformData, ReadContext};

/// The one disk with a label, in lower or upper case. Of several the only disc counts; without one, nothing
/// says which disk is meant.
pub(crate) fn only_disk(context: &ReadContext, label: &str) -> Result<Disk> {
    only_one(context.evidence, &[label])
}

/// The same for a disk that may have any of these labels.
pub(crate) fn only_disk_of(context: &ReadContext, labels: &[&str]) -> Result<Disk> {
    only_one(context.evidence, labels)
}

fn only_one(evidence: &Evidence, labels: &[&str]) -> Result<Disk> {
    let has_one = |disk: &&Disk| labels.iter().any(|label| disk.label(label).is_some());
    let disks: Vec<&Disk> = evidence.all_disks().iter().filter(has_one).collect();
    let label = labels.join(" or ");
    let discs: Vec<&&Disk> = disks.iter().filter(|disk| disk.is_optical()).collect();
    if let [disc] = discs[..] {
        return Ok((*disc).clone());
    }
    match disks.as_slice() {
        [disk] => Ok((*disk).clone()),
        [] => Err(Failure::new(ErrorKind::Source, format!("no disk has the label {label}"))
            .help("attach it, or unpin the platform")),
        disks => {
            let names: Vec<String> = disks.iter().map(|disk| disk.device.display().to_string()).collect();
            let message = format!("several disks have the label {label}: {}", names.join(", "));
            Err(Failure::new(ErrorKind::Source, message)
                .help("detach all but one, or attach the machine's own as a CD-ROM"))
        }
    }
}

/// Reads the platform's data from `disk`. Its user data remembers the disk.
pub(crate) fn read(
    disk: &Disk,
    read: impl FnOnce(&Root) -> Result<PlatformData> + Send,
) -> Result<PlatformData> {
    let mut data = disk.with_files(read)?;
    if let Some(user_data) = &mut data.user_data {
        user_data.disk = Some(disk.identity.clone());
    }
    Ok(data)
}

/// The user data in the file `path`, with the signature beside it; messages call it `name`.
pub(crate) fn user_data(root: &Root, path: &str, name: &str) -> Result<Option<UserData>> {
    let Some(document) = Document::read_file(&root.path(path))? else { return Ok(None) };
    let signature = Document::read_file(&root.path(format!("{path}.minisig")))?;
    let signature = signature.map(|text| String::from_utf8_lossy(text.bytes()).into_owned());
    Ok(UserData::new(document, name).map(|user_data| UserData { signature, ..user_data }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::disks;
    use crate::host::root::Root;

    #[test]
    fn a_disc_counts_before_disks_with_its_label_and_two_disks_are_an_error() {
        for (devices, expected) in [
            (vec!["sdb"], Some("sdb")),
            (vec!["sda", "sr0"], Some("sr0")),
            (vec!["sda", "sdb"], None),
            (vec!["sr0", "sr1"], None),
            (vec![], None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::at(folder.path());
            for name in &devices {
                disks::add(&root, name, "cidata");
            }
            let found = only_one(&Evidence::of(&root), &["cidata"]).ok();
            let expected = expected.map(|name| root.path(format!("/dev/{name}")));
            assert_eq!(found.map(|disk| disk.device), expected, "{devices:?}");
        }
    }
}
