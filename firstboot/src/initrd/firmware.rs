//! Asks the firmware from which disk it booted this kernel.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::mount::{MsFlags, umount};

use super::boot_option::{self, Location};
use super::{console, mounts};
use crate::paths;

/// The largest variable that is read.
const LARGEST: u64 = 64 * 1024;
/// The vendor of the variables of the UEFI specification.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The disk from which the firmware booted, if it is known.
pub fn boot_disk() -> Option<Location> {
    let folder = Path::new(paths::EFI_VARIABLES);
    if !folder.exists() {
        return None;
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(failure) = mounts::attach("efivarfs", folder, "efivarfs", flags, "") {
        console::say(&failure.to_string());
        return None;
    }
    let disk = current(folder);
    let _ = umount(folder);
    disk
}

/// The same on a running system, which has the variables in their place.
pub fn booted_from() -> Option<Location> {
    current(Path::new(paths::EFI_VARIABLES))
}

fn current(folder: &Path) -> Option<Location> {
    let number = boot_option::number(&variable(folder, "BootCurrent")?)?;
    boot_option::disk(&variable(folder, &format!("Boot{number:04X}"))?)
}

fn variable(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let file = File::open(folder.join(format!("{name}-{VENDOR}"))).ok()?;
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initrd::boot_option::Hop;
    use std::fs;

    #[test]
    fn the_option_that_booted_counts_among_all() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(format!("{name}-{VENDOR}")), bytes).unwrap();
        };
        let option = |device: u8| {
            let begin =
                b"\x07\0\0\0\x01\0\0\0\x16\0d\0\0\0\x02\x01\x0c\0\xd0\x41\x03\x0a\0\0\0\0\x01\x01\x06\0\0";
            [begin.as_slice(), &[device, 0x7f, 0xff, 4, 0]].concat()
        };
        write("Boot0001", &option(3));
        write("Boot000A", &option(4));
        assert_eq!(current(folder.path()), None, "BootCurrent is missing");
        write("BootCurrent", b"\x06\0\0\0\x0a\0");
        let found = current(folder.path()).unwrap();
        assert_eq!(found.controller, [Hop::Root(0), Hop::Function { device: 4, function: 0 }]);
        write("BootCurrent", b"\x06\0\0\0\x02\0");
        assert_eq!(current(folder.path()), None, "its option is missing");
    }
}
