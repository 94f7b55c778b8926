//! Disks that carry configuration, found by the label of their file system: volumes of Windows with a letter.

pub use super::disk::Disk;
use super::labels::FileSystem;
use crate::error::Result;
use crate::host::media::{self, Volume};
use crate::host::root::Root;

/// All labelled volumes, by letter.
pub fn find(root: &Root) -> Vec<Disk> {
    media::volumes(root).into_iter().filter_map(disk).collect()
}

impl Disk {
    /// Whether it is a disc in a drive. Only the owner of the machine puts discs in, while any disk may be a
    /// tenant's volume.
    pub fn is_optical(&self) -> bool {
        media::is_optical(&self.device)
    }

    /// Shows its files to `read`.
    pub fn with_files<T: Send>(&self, read: impl FnOnce(&Root) -> Result<T> + Send) -> Result<T> {
        read(&Root::at(&self.device))
    }
}

/// A disc is known by its drive, because platforms write these discs anew; any other disk by the number of
/// its file system.
fn disk(volume: Volume) -> Option<Disk> {
    let Volume { root, file_system, label, serial } = volume;
    let kind = match file_system.as_str() {
        "CDFS" => FileSystem::Iso9660,
        "UDF" => FileSystem::Udf,
        name if name.to_ascii_uppercase().contains("FAT") => FileSystem::Vfat,
        _ => return None,
    };
    let letter = root.display();
    let identity = match media::is_optical(&root) {
        true => format!("disc {letter}"),
        false => format!("volume {serial:08x}"),
    };
    Some(Disk { device: root, kind, labels: vec![label], identity })
}
