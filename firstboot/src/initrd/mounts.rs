//! The mounts of the initrd.

use crate::paths;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::failure::{Context, Result};
use super::{console, grow};
use contract;

/// Where `/var` is mounted while the root's own `/var` is still visible.
pub const VAR: &str = paths::VAR;

/// The file system of `/var`.
#[derive(Debug)]
pub enum Var {
    /// A partition with ext4.
    Partition(PathBuf),
    /// Memory: after a network boot, data is lost at power-off.
    Memory,
}

/// Mounts the kernel's file systems for devices, processes and hardware, and `/run`.
pub fn kernel_file_systems() -> Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // The sizes are systemd's own: what fills these folders must not take the machine's memory.
    attach("devtmpfs", Path::new(paths::DEV), "devtmpfs", MsFlags::MS_NOSUID, "mode=0755,size=4m")?;
    attach("proc", Path::new(paths::PROC), "proc", safe, "")?;
    attach("sysfs", Path::new(paths::SYS), "sysfs", safe, "")?;
    attach(
        "tmpfs",
        Path::new(paths::RUN),
        "tmpfs",
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        "mode=0755,size=20%",
    )
}

/// Mounts `source` at the folder `target`, and creates the folder if it is missing.
pub fn attach(source: &str, target: &Path, kind: &str, flags: MsFlags, options: &str) -> Result<()> {
    let doing = format!("mounting {source} ({kind}) on {}", target.display());
    fs::create_dir_all(target).doing(&doing)?;
    mount(Some(source), target, Some(kind), flags, Some(options))
        .map_err(|error| error.desc())
        .doing(doing)
}

/// Mounts `/var` beside the root and grows it to its partition.
pub fn var(var: &Var) -> Result<()> {
    let target = Path::new(VAR);
    match var {
        Var::Memory => attach("tmpfs", target, "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755"),
        Var::Partition(device) => {
            let mounted = attach(&device.to_string_lossy(), target, "ext4", MsFlags::MS_NOATIME, "");
            mounted.map_err(|failure| {
                failure.line("help: the disk is read-only, or the var partition is damaged or holds no ext4 file system (e2fsck from another system tells)")
            })?;
            if let Err(failure) = grow::file_system(target, device) {
                console::warn(&failure.to_string());
            }
            Ok(())
        }
    }
}

/// Moves `/var` over the root's own `/var`.
pub fn move_var() -> Result<()> {
    move_to(Path::new(VAR), &Path::new(contract::INITRD_SYSROOT).join("var"))
}

/// systemd would unmount `/var` while the overlay over `/etc` still uses it, and report a failure at every
/// shutdown. Its last stage unmounts both in order, so this keeps `/var` out of the earlier stages. If this
/// fails, the only effect is that message.
pub fn keep_until_shutdown() {
    let folder = Path::new(paths::VAR_MOUNT_DROP_INS);
    let text = "[Unit]\nDefaultDependencies=no\n";
    if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join("kiln.conf"), text)) {
        console::warn(&format!("writing below {}: {error}", folder.display()));
    }
}

/// Moves a mount.
pub fn move_to(from: &Path, to: &Path) -> Result<()> {
    let moved = mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>);
    moved.map_err(|error| error.desc()).doing(format!(
        "moving the mount {} to {}",
        from.display(),
        to.display()
    ))
}

/// Makes `/etc` of the root writable. Changes are stored on `/var`.
pub fn etc_overlay() -> Result<()> {
    let sysroot = Path::new(contract::INITRD_SYSROOT);
    let etc = sysroot.join("etc");
    let (upper, work) =
        (sysroot.join("var").join(contract::ETC_UPPER), sysroot.join("var").join(contract::ETC_WORK));
    for folder in [&upper, &work] {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
        made.doing(format!("creating {}", folder.display()))?;
    }
    // An index or copied metadata would bind the upper side to one build of the root below it.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=on",
        etc.display(),
        upper.display(),
        work.display()
    );
    attach("overlay", &etc, "overlay", MsFlags::MS_NOATIME, &options)
}
