//! Reads disks once. They are mounted read-only and `nosuid,nodev,noexec,nosymfollow` in the mount namespace
//! of one thread, which ends with the thread. No other program sees their files. A disk that an installation
//! has written is changed in the same way.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::command;
use crate::error::{Context, ErrorKind, Failure, Result};
use crate::paths;

/// Time for the kernel's drivers to find devices.
const SETTLE: Duration = Duration::from_secs(10);
/// A link on a foreign disk must not lead to files of this machine. Kernels before 5.10 ignore the flag.
const NO_LINKS: MsFlags = MsFlags::from_bits_retain(nix::libc::MS_NOSYMFOLLOW);

/// Waits until the drivers have found the devices. Without udev, it does not wait.
pub fn settle() {
    let _ = command::run("udevadm", &["settle", "--timeout=9"], SETTLE);
}

/// Mounts `device`, a file system of this `kind`, and passes its folder to `read`.
pub fn with_files<T: Send>(
    device: &Path,
    kind: &str,
    options: Option<&str>,
    read: impl FnOnce(&Path) -> Result<T> + Send,
) -> Result<T> {
    in_a_thread(|| {
        mount_privately(device, kind, options, MsFlags::MS_RDONLY)
            .map_err(|error| unmounted(device, kind, error))?;
        read(Path::new(paths::RUN))
    })
}

/// The same, to change the files. They are on the device when this returns.
pub fn change_files(
    device: &Path,
    kind: &str,
    options: Option<&str>,
    change: impl FnOnce(&Path) -> Result<()> + Send,
) -> Result<()> {
    in_a_thread(|| {
        mount_privately(device, kind, options, MsFlags::empty())
            .map_err(|error| unmounted(device, kind, error))?;
        let folder = Path::new(paths::RUN);
        change(folder)?;
        let doing = format!("unmounting {}", device.display());
        let opened = File::open(folder).doing(&doing)?;
        nix::unistd::syncfs(&opened).doing(&doing)?;
        drop(opened);
        umount(folder).doing(doing)
    })
}

fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|_| {
            Err(Failure::new(ErrorKind::Internal, "the thread that mounts a disk panicked"))
        })
    })
}

fn unmounted(device: &Path, kind: &str, error: nix::Error) -> Failure {
    let device = device.display();
    let failure = Failure::new(ErrorKind::Source, format!("mounting {device} ({kind}): {}", error.desc()));
    match error {
        nix::Error::ENODEV => failure
            .help(format!("the kernel of this image has no module for {kind}: use another file system")),
        _ => failure,
    }
}

fn mount_privately(device: &Path, kind: &str, options: Option<&str>, mode: MsFlags) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount::<str, str, str, str>(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
    let flags = mode | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | NO_LINKS;
    // This folder exists on every machine, and the mount is visible only to this thread.
    mount(Some(device), paths::RUN, Some(kind), flags, options)
}
