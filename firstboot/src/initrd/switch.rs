//! Leaves the initrd: frees its memory, makes the real root `/` and becomes its init.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::{chdir, chroot, execv};

use super::arguments::Arguments;
use super::failure::{Context, Result};
use super::{console, mounts};
use contract;

/// RAMFS_MAGIC of linux/magic.h: the initrd's file system if the command line has `root=`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Switches to the real root and starts its init with the kernel's arguments for this process. `keep` stays
/// in memory, because it may contain the root.
pub fn root(arguments: &Arguments, keep: &Path) -> Result<Infallible> {
    let sysroot = Path::new(contract::INITRD_SYSROOT);
    for folder in ["dev", "proc", "sys", "run"] {
        mounts::move_to(&Path::new("/").join(folder), &sysroot.join(folder))?;
    }
    free_memory(keep);
    chdir(sysroot).doing("entering the root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).doing("moving the root to /")?;
    chroot(".").and_then(|()| chdir("/")).doing("entering the root")?;
    console::say(&format!("starting {}", arguments.init));
    let mut words = vec![arguments.init.clone().into_bytes()];
    words.extend(std::env::args_os().skip(1).map(OsStringExt::into_vec));
    let words: Vec<CString> = words.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    execv(&words[0], &words).doing(format!("starting {}", arguments.init))
}

/// Deletes the files of the initrd, which are in memory. Never enters another file system, and never runs on
/// a disk.
fn free_memory(keep: &Path) {
    let in_memory = statfs("/")
        .is_ok_and(|file_system| [RAMFS_MAGIC, TMPFS_MAGIC].contains(&file_system.filesystem_type()));
    if let (true, Ok(root)) = (in_memory, fs::symlink_metadata("/")) {
        remove_below(Path::new("/"), root.dev(), keep);
    }
}

/// A file that cannot be removed only costs a little memory.
fn remove_below(folder: &Path, device: u64, keep: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.dev() != device || path == keep {
            continue;
        }
        if metadata.is_dir() {
            remove_below(&path, device, keep);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_all_but_what_is_kept_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), b"").unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/b/file"), b"").unwrap();
        fs::write(path.join("keep"), b"").unwrap();
        std::os::unix::fs::symlink(outside.path(), path.join("link")).unwrap();
        remove_below(path, fs::metadata(path).unwrap().dev(), &path.join("keep"));
        let left: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["keep"]);
        assert!(outside.path().join("file").exists());
    }

    #[test]
    fn another_file_system_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"").unwrap();
        let other = fs::metadata(folder.path()).unwrap().dev() + 1;
        remove_below(folder.path(), other, Path::new("/keep"));
        assert!(folder.path().join("file").exists());
    }
}
