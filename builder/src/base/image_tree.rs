//! What every base does to the tree of a finished root.

use crate::tree::{Entry, Tree};

/// Where the kernel's file systems are mounted, with their permission bits.
const MOUNT_POINTS: [(&str, u32); 4] = [("dev", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555)];

/// Makes the tree of a finished root an image's: with the kernel's mount points, and without access control
/// lists, which a read-only root cannot keep. The only ones are those that systemd-tmpfiles sets on the
/// journal's folder, and it sets them again at every boot.
pub(super) fn finish(mut tree: Tree) -> Tree {
    for (path, mode) in MOUNT_POINTS {
        tree.insert(path, Entry::directory(mode));
    }
    for entry in tree.entries.values_mut() {
        entry.xattrs.retain(|name, _| !name.starts_with("system.posix_acl_"));
    }
    tree
}
