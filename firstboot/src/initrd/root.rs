//! The root file system: from a partition, or from memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::MsFlags;

use super::disks::{self, Found};
use super::failure::Result;
use super::{console, grow, loops, mounts};
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
            let (device, _open) = loops::attach(image)?;
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

fn mount_device(device: &Path) -> Result<()> {
    let target = Path::new(contract::INITRD_SYSROOT);
    let mounted = mounts::attach(&device.to_string_lossy(), target, KIND, MsFlags::MS_RDONLY, "");
    mounted.map_err(|failure| failure.line("help: the root is damaged: write the image anew"))
}
