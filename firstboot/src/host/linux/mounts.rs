//! The mounts of the machine (proc_pid_mountinfo(5)).

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::paths;

/// How a file system is unmounted (umount(2)).
pub use nix::mount::MntFlags as UnmountFlags;

/// The mounts, in the format of `/proc/self/mountinfo`.
pub fn table() -> Result<String> {
    fs::read_to_string(paths::MOUNTS).doing("reading /proc/self/mountinfo")
}

/// Unmounts the file system at this path.
pub fn unmount(path: &Path, flags: UnmountFlags) -> Result<()> {
    let unmounted = nix::mount::umount2(path, flags | UnmountFlags::UMOUNT_NOFOLLOW);
    unmounted.doing(format!("unmounting {}", path.display()))
}

/// The mount points below a folder, deepest first. If several are at one path, the topmost comes first.
pub fn mounts_below(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let mut below: Vec<_> =
        points(mountinfo).filter(|point| point.starts_with(folder) && point != folder).collect();
    below.reverse();
    below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    below
}

/// Whether something is mounted at the folder.
pub fn is_mount_point(mountinfo: &str, folder: &Path) -> bool {
    points(mountinfo).any(|point| point == folder)
}

fn points(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped)
}

/// The kernel writes white space and backslashes as three octal digits.
pub(crate) fn unescaped(point: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = point.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(out).into()
}
