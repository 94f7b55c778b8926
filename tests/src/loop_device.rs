//! A file as a block device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::workspace;

/// A loop device, which cannot be written to.
#[derive(Debug)]
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Attaches the file; none where this user may not, or no device is free.
    pub fn attach(image: &Path) -> Option<Self> {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--read-only"])
            .arg(image)
            .output()
            .ok()?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then(|| Self(path.into()))
    }

    /// `/dev/loop0`
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // One that stays attached costs nothing but a number.
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// Whether this user may mount disks.
pub fn can_mount() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let folder = workspace::scratch();
        let image = folder.path().join("image");
        let made = fs::File::create(&image).and_then(|file| file.set_len(1 << 20));
        // Root of a user namespace may attach one, but not mount it.
        let numbers = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let is_everybody = numbers.split_whitespace().last() == Some("4294967295");
        made.is_ok() && workspace::is_root() && is_everybody && LoopDevice::attach(&image).is_some()
    })
}
