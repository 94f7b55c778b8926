//! The root file system: from a partition, or from memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::MsFlags;

use super::disks::{self, Found};
use super::failure::{Context, Failure, Result};
use super::{console, grow, mounts};
use crate::host::loops::{self, Window};
use contract;

/// The root's file system type.
const KIND: &str = "squashfs";

/// The devices of a disk that is ready to be mounted.
#[derive(Debug)]
pub struct Devices {
    /// Root.
    pub root: PathBuf,
    /// `/var`.
    pub var: PathBuf,
}

/// The location of the root.
#[derive(Debug)]
pub enum Root<'a> {
    /// A partition.
    Partition(PathBuf),
    /// A file in the initrd.
    Memory(&'a Path),
}

/// Mounts the root, read-only.
pub fn mount(root: &Root<'_>) -> Result<()> {
    match root {
        Root::Partition(device) => mount_device(device),
        Root::Memory(image) => {
            console::say(&format!("root is {}, var is in memory", image.display()));
            complete(image)?;
            let doing = format!("making a block device of {}", image.display());
            let file = File::open(image).doing(&doing)?;
            let (device, _open) =
                loops::attach(&file, image.as_os_str().as_encoded_bytes(), Window::Whole).doing(&doing)?;
            mount_device(&device)
        }
    }
}

/// Repairs and grows the partition table if needed. A disk that cannot be written boots unchanged.
pub fn prepare_disk(found: &Found, timeout: Duration) -> Result<Devices> {
    disks::announce(found);
    grow::repair(&found.disk)?;
    let root = found.disk.wait_for_partition(found.root, timeout)?;
    let var = found.disk.wait_for_partition(found.var, timeout)?;
    if let Err(failure) = grow::partition(found) {
        console::warn(&failure.to_string());
    }
    Ok(Devices { root, var })
}

/// The kernel goes on when the memory ends while it unpacks the initrd. Then the root is shorter than it
/// says.
fn complete(image: &Path) -> Result<()> {
    let doing = format!("reading {}", image.display());
    let file = File::open(image).doing(&doing)?;
    let has = file.metadata().doing(&doing)?.len();
    let mut bytes_used = [0; 8];
    // Of squashfs's superblock. A root without one is told by the mount.
    let wants = file.read_exact_at(&mut bytes_used, 40).map_or(0, |()| u64::from_le_bytes(bytes_used));
    if has > 0 && has >= wants {
        return Ok(());
    }
    let failure =
        Failure::new(format!("the root in memory is incomplete: {} of {} MiB", has >> 20, wants >> 20));
    Err(failure
        .line("help: not enough memory for a network boot: give the machine 2 GiB, or boot from a disk"))
}

fn mount_device(device: &Path) -> Result<()> {
    let target = Path::new(contract::INITRD_SYSROOT);
    let mounted = mounts::attach(&device.to_string_lossy(), target, KIND, MsFlags::MS_RDONLY, "");
    mounted.map_err(|failure| failure.line("help: the root is damaged: write the image anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_memory_had_no_room_for_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("root");
        let mut bytes = vec![0; 4096];
        bytes[40..48].copy_from_slice(&4096u64.to_le_bytes());
        std::fs::write(&image, &bytes).unwrap();
        complete(&image).unwrap();
        for length in [2048, 0] {
            std::fs::write(&image, &bytes[..length]).unwrap();
            let failure = complete(&image).unwrap_err().to_string();
            assert!(failure.contains("not enough memory"), "{failure}");
        }
    }
}
